"""Check models/sentiment.gguf and write models/sentiment.reference.json.

    python models/sentiment/check.py

Reads the file with the gguf reader only, dequantizes, and compares a separate
numpy forward (float64) with Hugging Face's BertForSequenceClassification
(float32). The reference logits and the accuracy on the held-out tenth come from
the latter; $TRICE_WORK is not read.
"""
import argparse
import hashlib
import json
import math

import gguf
import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

from common import FILES, HERE, LABELS, SPECIALS, load_split, wordpiece
from export import gguf_name

TEXTS = [
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
]
erf = np.vectorize(math.erf)


def read(path):
    r = gguf.GGUFReader(path)
    meta = {k: f.contents() for k, f in r.fields.items()}
    data = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32) for t in r.tensors}
    return meta, data, [t.tensor_type.name for t in r.tensors]


def piece(token):
    """llama.cpp's token back to a WordPiece piece."""
    if token in SPECIALS:
        return token
    return token[1:] if token.startswith("\u2581") else "##" + token


def torch_model(meta, data):
    k = lambda name: meta["bert." + name]
    model = BertForSequenceClassification(BertConfig(
        vocab_size=len(meta["tokenizer.ggml.tokens"]), hidden_size=k("embedding_length"),
        num_hidden_layers=k("block_count"), num_attention_heads=k("attention.head_count"),
        intermediate_size=k("feed_forward_length"), max_position_embeddings=k("context_length"),
        type_vocab_size=2, hidden_act="gelu", layer_norm_eps=k("attention.layer_norm_epsilon"), num_labels=2))
    state = {n: torch.from_numpy(data[gguf_name(n)].copy()) for n in model.state_dict() if "position_ids" not in n}
    model.load_state_dict(state)
    return model.eval()


def numpy_logits(meta, data, ids):
    w = {n: t.astype(np.float64) for n, t in data.items()}
    heads, eps, n = meta["bert.attention.head_count"], meta["bert.attention.layer_norm_epsilon"], len(ids)
    linear = lambda x, name: x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w[name + ".weight"] + w[name + ".bias"]

    x = norm(w["token_embd.weight"][ids] + w["position_embd.weight"][:n] + w["token_types.weight"][0], "token_embd_norm")
    for i in range(meta["bert.block_count"]):
        b = f"blk.{i}."
        q, k, v = (linear(x, b + name).reshape(n, heads, -1) for name in ("attn_q", "attn_k", "attn_v"))
        s = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(q.shape[-1])
        s = np.exp(s - s.max(-1, keepdims=True))
        s /= s.sum(-1, keepdims=True)
        y = linear(np.einsum("hqk,khd->qhd", s, v).reshape(n, -1), b + "attn_output")
        x = norm(x + y, b + "attn_output_norm")
        h = linear(x, b + "ffn_up")
        x = norm(x + linear(0.5 * h * (1 + erf(h / np.sqrt(2))), b + "ffn_down"), b + "layer_output_norm")
    return linear(np.tanh(linear(x[:1], "cls")), "cls.output")[0]


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--gguf", default=str(HERE.parent / "sentiment.gguf"))
    a.add_argument("--out", default=str(HERE.parent / "sentiment.reference.json"))
    a = a.parse_args()
    meta, data, types = read(a.gguf)
    assert meta["bert.classifier.output_labels"] == LABELS
    tok = wordpiece([piece(t) for t in meta["tokenizer.ggml.tokens"]])
    model = torch_model(meta, data)
    blob = open(a.gguf, "rb").read()
    print(a.gguf, len(blob), "bytes", {t: types.count(t) for t in sorted(set(types))})

    def logits(text):
        with torch.inference_mode():
            return model(input_ids=torch.tensor([tok.encode(text).ids])).logits[0]

    cases, far = [], 0.0
    for text in TEXTS:
        ids, out = tok.encode(text).ids, logits(text)
        far = max(far, np.abs(out.numpy() - numpy_logits(meta, data, ids)).max())
        label = LABELS[out.argmax()]
        cases.append(dict(text=text, ids=ids, logits=[round(v, 6) for v in out.tolist()], label=label,
                          score=round(out.softmax(-1).max().item(), 6)))
        print(f"{label} {cases[-1]['score']:.3f}  {text}")
    print(f"largest logit difference, numpy float64 against torch float32: {far:.2e}")
    assert far < 1e-4

    _, held = load_split()
    right = [int(logits(text).argmax() == label) for text, label in held]
    per = len(held) // len(FILES)
    parts = {name: sum(right[i * per:(i + 1) * per]) for i, name in enumerate(FILES)}
    print(f"held-out accuracy {sum(right)} of {len(right)} = {sum(right) / len(right):.4f}  {parts}")
    json.dump(dict(
        note="Hugging Face BertForSequenceClassification, float32, on the dequantized weights of sentiment.gguf; "
             "held out: lines 10, 20, 30, ... of each UCI file; argmax of the logits",
        sha256=hashlib.sha256(blob).hexdigest(), bytes=len(blob), labels=LABELS, cases=cases,
        held_out=dict(right=sum(right), sentences=len(right), accuracy=round(sum(right) / len(right), 4),
                      right_per_file=parts, sentences_per_file=per),
    ), open(a.out, "w", encoding="utf8"), indent=1, ensure_ascii=False)


if __name__ == "__main__":
    main()
