"""Quantize $TRICE_WORK/student.pt and write models/sentiment.gguf.

    python models/sentiment/export.py [--out FILE]

Arch "bert" with llama.cpp's tensor names: Q8_0 for embedding and matrices,
float32 for norms, biases, positions, token types and the classifier.
"""
import argparse

import gguf
import torch

from common import CONTEXT, HERE, LABELS, SPECIALS, WORK

NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
    "pooler.dense": "cls",
    "classifier": "cls.output",
}
FLOAT = ("position_embd.weight", "token_types.weight", "cls.output.weight")


def gguf_name(name):
    """Hugging Face tensor name to llama.cpp's."""
    stem, kind = name.removeprefix("bert.").rsplit(".", 1)
    if stem.startswith("encoder.layer."):
        _, _, i, part = stem.split(".", 3)
        return f"blk.{i}.{NAMES[part]}.{kind}"
    return f"{NAMES[stem]}.{kind}"


def gguf_token(piece):
    """llama.cpp's WordPiece: no ##, a low line mark in front of a word's first piece."""
    if piece in SPECIALS:
        return piece
    return piece[2:] if piece.startswith("##") and len(piece) > 2 else "\u2581" + piece


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--out", default=str(HERE.parent / "sentiment.gguf"))
    a = a.parse_args()
    state = torch.load(WORK / "student.pt")
    vocab = (WORK / "vocab.txt").read_text(encoding="utf8").rstrip("\n").split("\n")
    tokens = [gguf_token(p) for p in vocab]
    assert len(set(tokens)) == len(vocab)
    kinds = {"[UNK]": gguf.TokenType.UNKNOWN} | {s: gguf.TokenType.CONTROL for s in SPECIALS if s != "[UNK]"}

    w = gguf.GGUFWriter(a.out, "bert")
    w.add_name("Trice Sentiment")
    w.add_description("Small sentiment classifier of Trice, trained on the UCI sentiment sentences")
    w.add_license("apache-2.0")
    w.add_context_length(CONTEXT)
    w.add_embedding_length(128)
    w.add_block_count(3)
    w.add_feed_forward_length(512)
    w.add_head_count(4)
    w.add_layer_norm_eps(1e-12)
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType.CLS)
    w.add_classifier_output_labels(LABELS)
    w.add_vocab_size(len(vocab))
    w.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_tokenizer_model("bert")
    w.add_tokenizer_pre("default")
    w.add_token_list(tokens)
    w.add_token_types([kinds.get(p, gguf.TokenType.NORMAL) for p in vocab])
    w.add_token_type_count(2)
    w.add_bos_token_id(vocab.index("[CLS]"))
    w.add_eos_token_id(vocab.index("[SEP]"))
    w.add_unk_token_id(vocab.index("[UNK]"))
    w.add_sep_token_id(vocab.index("[SEP]"))
    w.add_pad_token_id(vocab.index("[PAD]"))
    w.add_mask_token_id(vocab.index("[MASK]"))
    w.add_uint32("tokenizer.ggml.cls_token_id", vocab.index("[CLS]"))
    w.add_add_bos_token(True)
    w.add_add_eos_token(True)
    for name, tensor in state.items():
        if name.endswith("position_ids"):
            continue
        target, data = gguf_name(name), tensor.float().contiguous().numpy()
        if data.ndim == 1 or target in FLOAT:
            w.add_tensor(target, data)
        else:
            q = gguf.GGMLQuantizationType.Q8_0
            w.add_tensor(target, gguf.quants.quantize(data, q), raw_dtype=q)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    main()
