"""Quantize $TRICE_WORK/model.pt and write models/stories.gguf.

    python models/stories/export.py [--ffn Q5_1] [--rest Q8_0] [--out FILE]

Arch "llama": q and k rows are permuted from half-split to interleaved RoPE, as
llama.cpp's converter does. Embedding and attention take --rest, feed-forward
takes --ffn, norms stay float32.
"""
import argparse
import json

import gguf
import torch

from common import CONFIG, EOT, HERE, IM_END, IM_START, WORK

# Plain story text, no markup: user and assistant messages follow one another, so
# that the model goes on from where the talk stands. System messages are left out.
TEMPLATE = (
    "{{- bos_token -}}"
    "{%- for message in messages if message['role'] in ['user', 'assistant'] -%}"
    "{{- message['content'] | trim -}}"
    "{%- if not loop.last %}{{ ' ' }}{% endif -%}"
    "{%- endfor -%}"
)


def permute(w, heads):
    """Half-split rows (0, hd/2, 1, ...) to interleaved pairs: llama.cpp LlamaModel.permute."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def tensors(state, c):
    """(GGUF name, float32 numpy array, "ffn" | "rest" | "norm")."""
    get = lambda name: state[name].float().numpy()
    yield "token_embd.weight", get("embed.weight"), "rest"
    for i in range(c["layers"]):
        src, dst = f"blocks.{i}.", f"blk.{i}."
        yield dst + "attn_norm.weight", get(src + "attn_norm.weight"), "norm"
        yield dst + "attn_q.weight", permute(get(src + "attn.q.weight"), c["heads"]), "rest"
        yield dst + "attn_k.weight", permute(get(src + "attn.k.weight"), c["kv_heads"]), "rest"
        yield dst + "attn_v.weight", get(src + "attn.v.weight"), "rest"
        yield dst + "attn_output.weight", get(src + "attn.o.weight"), "rest"
        yield dst + "ffn_norm.weight", get(src + "ffn_norm.weight"), "norm"
        for name in ("gate", "up", "down"):
            yield dst + f"ffn_{name}.weight", get(src + name + ".weight"), "ffn"
    yield "output_norm.weight", get("norm.weight"), "norm"


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--ffn", default="Q5_1")
    a.add_argument("--rest", default="Q8_0")
    a.add_argument("--out", default=str(HERE.parent / "stories.gguf"))
    a = a.parse_args()
    c = CONFIG
    state = torch.load(WORK / "model.pt")
    bpe = json.loads((WORK / "tokenizer.json").read_text(encoding="utf8"))["model"]
    tokens = [t for t, _ in sorted(bpe["vocab"].items(), key=lambda kv: kv[1])]
    special = {EOT, IM_START, IM_END}

    w = gguf.GGUFWriter(a.out, "llama")
    w.add_name("Trice Stories")
    w.add_description("Small story model of Trice, trained on TinyStories and sampled stories")
    w.add_license("apache-2.0")
    w.add_context_length(c["context"])
    w.add_embedding_length(c["dim"])
    w.add_block_count(c["layers"])
    w.add_feed_forward_length(c["ffn"])
    w.add_head_count(c["heads"])
    w.add_head_count_kv(c["kv_heads"])
    w.add_rope_dimension_count(c["dim"] // c["heads"])
    w.add_rope_freq_base(c["theta"])
    w.add_layer_norm_rms_eps(c["eps"])
    w.add_vocab_size(c["vocab"])
    w.add_file_type(gguf.LlamaFileType[f"MOSTLY_{a.ffn}"])
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens])
    w.add_token_merges([" ".join(m) for m in bpe["merges"]])
    w.add_bos_token_id(tokens.index(EOT))
    w.add_eos_token_id(tokens.index(EOT))
    w.add_add_bos_token(True)
    w.add_add_space_prefix(False)
    w.add_chat_template(TEMPLATE)
    for name, data, kind in tensors(state, c):
        if kind == "norm":
            w.add_tensor(name, data)
        else:
            qtype = gguf.GGMLQuantizationType[a.ffn if kind == "ffn" else a.rest]
            w.add_tensor(name, gguf.quants.quantize(data, qtype), raw_dtype=qtype)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    main()
