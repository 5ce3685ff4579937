"""Write models/NAME.reference.json: ids and results of some texts, by Hugging Face's BERT on the file's dequantized weights.

    python models/encoders/check.py embed|intent|sentiment

Reads models/NAME.gguf with the gguf reader only.
"""
import argparse
import hashlib
import json
import pathlib

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel

HERE = pathlib.Path(__file__).resolve().parent.parent
TEXTS = {
    "embed": [
        "A dog runs across the field.",
        "The puppy is running over the meadow.",
        "How do I reset my password?",
        "I cannot log in to my account",
        "Interest rates rose by a quarter of a point.",
        "The central bank made borrowing dearer.",
        "Who wrote Hamlet?",
        "Hamlet is a tragedy by William Shakespeare, written around 1600.",
        "Café très agréable, naïve staff \U0001f642",
        "ok",
        "The mitochondrion is the powerhouse of the cell, or so every pupil is told; what it does is make adenosine triphosphate.",
        "It rained all day, so we stayed in and played chess.",
    ],
    "sentiment": [
        "I loved every minute of this film.",
        "The food was cold and the waiter was rude.",
        "Works great, and the battery lasts all day.",
        "Broke after two days. Do not buy it!",
        "It was not bad at all.",
        "I would not recommend this place to anyone.",
        "Nothing special, but it does what it should.",
        "An unforgettable performance; the best movie I have seen this year.",
        "What a waste of money and time...",
        "The soup was delicious, but the service was terribly slow.",
        "Café très agréable, naïve staff \U0001f642",
        "Terrible.",
    ],
    "intent": [
        "what's the weather like in boston tomorrow",
        "set an alarm for seven in the morning",
        "My card still hasn't arrived after two weeks, what should I do?",
        "how much money is in my savings account",
        "translate good morning into french",
        "Why was I charged a fee for using an ATM?",
        "play some jazz",
        "can you book a table for four at eight",
        "I forgot my PIN and now the card is blocked",
        "what is the exchange rate between dollars and euros",
        "tell me a joke",
        "Someone used my card to pay for things that I never bought!",
    ],
}
NAMES = {
    "embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm",
    "encoder.layer.": "blk.", "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm",
    "pooler.dense": "cls", "classifier": "cls.output", "bert.": "",
}


def gguf_name(name):
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    return name


def tokenizer_of(tokens):
    """llama.cpp's tokens (\u2581 before a word's first piece) to a WordPiece tokenizer."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [t if t in specials else t[1:] if t.startswith("\u2581") else "##" + t for t in tokens]
    ids = {piece: n for n, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    return tokenizer


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("name", choices=list(TEXTS))
    a = a.parse_args()
    path = HERE / f"{a.name}.gguf"
    reader = gguf.GGUFReader(path)
    meta = {k: f.contents() for k, f in reader.fields.items()}
    data = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32) for t in reader.tensors}
    types = [t.tensor_type.name for t in reader.tensors]
    print(path, path.stat().st_size, "bytes", {t: types.count(t) for t in sorted(set(types))},
          sum(t.size for t in data.values()), "parameters")
    key = lambda name: meta["bert." + name]
    labels = meta.get("bert.classifier.output_labels", [])
    config = BertConfig(
        vocab_size=len(meta["tokenizer.ggml.tokens"]), hidden_size=key("embedding_length"),
        num_hidden_layers=key("block_count"), num_attention_heads=key("attention.head_count"),
        intermediate_size=key("feed_forward_length"), max_position_embeddings=key("context_length"),
        type_vocab_size=2, hidden_act="gelu", layer_norm_eps=key("attention.layer_norm_epsilon"), num_labels=len(labels))
    model = BertForSequenceClassification(config) if labels else BertModel(config, add_pooling_layer=False)
    model.load_state_dict({n: torch.from_numpy(data[gguf_name(n)].copy()) for n in model.state_dict()})
    model.eval()
    tokenizer = tokenizer_of(meta["tokenizer.ggml.tokens"])

    def result(ids):
        with torch.inference_mode():
            out = model(input_ids=torch.tensor([ids]))
        if labels:
            best = out.logits[0].argmax()
            return {"logits": numbers(out.logits[0]), "label": labels[best]}
        return {"vector": numbers(torch.nn.functional.normalize(out.last_hidden_state[0].mean(0), dim=0))}

    numbers = lambda values: [round(v, 6) for v in values.tolist()]
    cases = [{"text": text, "ids": tokenizer.encode(text).ids} for text in TEXTS[a.name]]
    cases = [case | result(case["ids"]) for case in cases]
    for case in cases:
        print(case.get("label", len(case["ids"])), "|", case["text"])
    head = {"note": "Hugging Face's BERT, float32, on the dequantized weights" + ("" if labels else "; vectors: the mean state, of length 1"),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size, "labels": labels}
    lines = ",\n".join("  " + json.dumps(case, ensure_ascii=False) for case in cases)
    text = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}") + f',\n "cases": [\n{lines}\n ]\n}}\n'
    json.loads(text)
    (HERE / f"{a.name}.reference.json").write_text(text, encoding="utf8")


if __name__ == "__main__":
    main()
