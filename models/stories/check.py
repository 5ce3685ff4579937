"""Check models/stories.gguf and write models/stories.reference.json.

    python models/stories/check.py

Reads the file with the gguf reader only, dequantizes, and compares a separate
numpy forward (interleaved RoPE, float64) with the torch network (half-split
RoPE, float64). The reference ids and the perplexities come from that torch
network in float64; $TRICE_WORK is not read.
"""
import argparse
import hashlib
import json

import gguf
import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from common import HERE, Llama, load_split, perplexity

PROMPTS = ["Once upon a time", "One day, Tom and Lily", "The little dog was sad because"]


def read(path):
    """(metadata, {name: float64 array}, {name: type}) of a GGUF file."""
    r = gguf.GGUFReader(path)
    meta = {k: f.contents() for k, f in r.fields.items()}
    data = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64) for t in r.tensors}
    return meta, data, {t.name: t.tensor_type.name for t in r.tensors}


def tokenizer_of(meta):
    tokens, types = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    merges = [tuple(m.split(" ")) for m in meta["tokenizer.ggml.merges"]]
    tok = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(t, special=True) for t, k in zip(tokens, types) if k == 3])
    return tok


def torch_model(meta, data):
    k = lambda name: meta["llama." + name]
    c = dict(dim=k("embedding_length"), ffn=k("feed_forward_length"), layers=k("block_count"),
             heads=k("attention.head_count"), kv_heads=k("attention.head_count_kv"),
             context=k("context_length"), eps=k("attention.layer_norm_rms_epsilon"),
             theta=k("rope.freq_base"), vocab=len(meta["tokenizer.ggml.tokens"]))
    back = lambda w, h: w.reshape(h, w.shape[0] // h // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)
    names = {"attn.q": "attn_q", "attn.k": "attn_k", "attn.v": "attn_v", "attn.o": "attn_output",
             "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down",
             "attn_norm": "attn_norm", "ffn_norm": "ffn_norm"}
    state = {"embed.weight": data["token_embd.weight"], "norm.weight": data["output_norm.weight"]}
    for i in range(c["layers"]):
        for ours, theirs in names.items():
            w = data[f"blk.{i}.{theirs}.weight"]
            if theirs == "attn_q":
                w = back(w, c["heads"])
            if theirs == "attn_k":
                w = back(w, c["kv_heads"])
            state[f"blocks.{i}.{ours}.weight"] = w
    model = Llama(c).double()
    model.load_state_dict({n: torch.from_numpy(np.ascontiguousarray(w)) for n, w in state.items()})
    freq = c["theta"] ** (-torch.arange(0, c["dim"] // c["heads"], 2).double() / (c["dim"] // c["heads"]))
    angle = torch.arange(c["context"]).double()[:, None] * freq
    model.cos, model.sin = angle.cos(), angle.sin()
    return model.eval()


def numpy_logits(meta, w, ids):
    """Straight from the GGUF layout: pairs (2i, 2i+1) rotate together."""
    H, K = meta["llama.attention.head_count"], meta["llama.attention.head_count_kv"]
    D, eps = meta["llama.embedding_length"], meta["llama.attention.layer_norm_rms_epsilon"]
    hd, n = D // H, len(ids)
    norm = lambda x, g: x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * g
    angle = np.arange(n)[:, None] * meta["llama.rope.freq_base"] ** (-np.arange(0, hd, 2) / hd)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]

    def rope(x):
        out = np.empty_like(x)
        out[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
        out[..., 1::2] = x[..., 1::2] * cos + x[..., 0::2] * sin
        return out

    x = w["token_embd.weight"][ids]
    mask = np.triu(np.full((n, n), -np.inf), 1)
    for i in range(meta["llama.block_count"]):
        g = lambda name: w[f"blk.{i}.{name}.weight"]
        h = norm(x, g("attn_norm"))
        q = rope((h @ g("attn_q").T).reshape(n, H, hd))
        k = rope((h @ g("attn_k").T).reshape(n, K, hd)).repeat(H // K, 1)
        v = (h @ g("attn_v").T).reshape(n, K, hd).repeat(H // K, 1)
        s = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(hd) + mask
        s = np.exp(s - s.max(-1, keepdims=True))
        s /= s.sum(-1, keepdims=True)
        x = x + np.einsum("hqk,khd->qhd", s, v).reshape(n, -1) @ g("attn_output").T
        h = norm(x, g("ffn_norm"))
        a = h @ g("ffn_gate").T
        x = x + (a / (1 + np.exp(-a)) * (h @ g("ffn_up").T)) @ g("ffn_down").T
    return norm(x, w["output_norm.weight"]) @ w["token_embd.weight"].T


@torch.no_grad()
def greedy(model, ids, steps, eos):
    """(new ids, smallest top-2 gap); stops before `eos`."""
    ids, new, gap = list(ids), [], float("inf")
    while len(new) < steps:
        top = model(torch.tensor([ids]))[0, -1].topk(2)
        gap = min(gap, (top.values[0] - top.values[1]).item())
        if top.indices[0].item() == eos:
            break
        new.append(top.indices[0].item())
        ids.append(new[-1])
    return new, gap


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--gguf", default=str(HERE.parent / "stories.gguf"))
    a.add_argument("--out", default=str(HERE.parent / "stories.reference.json"))
    a.add_argument("--brief", action="store_true", help="only sizes and perplexity of the head")
    a = a.parse_args()
    meta, data, types = read(a.gguf)
    tok, model = tokenizer_of(meta), torch_model(meta, data)
    bos = meta["tokenizer.ggml.bos_token_id"]
    blob = open(a.gguf, "rb").read()
    print(a.gguf, len(blob), "bytes", {t: list(types.values()).count(t) for t in set(types.values())})

    ids = [bos] + tok.encode(PROMPTS[0] + ", there was a little fish.").ids
    with torch.no_grad():
        there = model(torch.tensor([ids]))[0].numpy()
    far = np.abs(there - numpy_logits(meta, data, ids)).max()
    print(f"largest logit difference, numpy on the GGUF layout against torch: {far:.2e}")
    assert far < 1e-9
    sample = "Zoë said: “naïve café” 🐟\n\t1234 <x>"
    assert tok.decode(tok.encode(sample).ids) == sample

    head, _, tail = load_split()
    nll, count, ppl = perplexity(model, tok, head)
    print(f"head: sum_nll {nll:.4f}  tokens {count}  ppl {ppl:.4f}")
    if a.brief:
        return
    tail_nll, tail_count, tail_ppl = perplexity(model, tok, tail)
    print(f"tail: sum_nll {tail_nll:.4f}  tokens {tail_count}  ppl {tail_ppl:.4f}")
    cases = []
    for prompt in PROMPTS:
        ids = [bos] + tok.encode(prompt).ids
        with torch.no_grad():
            first = model(torch.tensor([ids]))[0, -1]
        new, gap = greedy(model, ids, 60, bos)
        cases.append(dict(prompt=prompt, prompt_ids=ids, greedy_ids=new, smallest_top2_gap=round(gap, 6),
                          first_step_logits_first8=[round(v, 6) for v in first[:8].tolist()],
                          text=tok.decode(ids + new)))
        print(f"{gap:.4f}  {cases[-1]['text']!r}")
    texts = ["Hello, world!", "I'm  here\n\nand you're not.", sample, "<|im_start|>user\nhi<|im_end|>"]
    json.dump(dict(
        note="torch float64 on the dequantized weights of stories.gguf; prompt ids begin with BOS; "
             "greedy ids hold no end token; perplexity: each story stripped, BOS in front, cut at 512 ids",
        sha256=hashlib.sha256(blob).hexdigest(), bytes=len(blob), cases=cases,
        tokenizer=[dict(text=t, ids=tok.encode(t).ids) for t in texts],
        tinystories_first60=dict(sum_nll=round(nll, 4), tokens=count, ppl=round(ppl, 4)),
        tinystories_last116=dict(sum_nll=round(tail_nll, 4), tokens=tail_count, ppl=round(tail_ppl, 4)),
    ), open(a.out, "w", encoding="utf8"), indent=1, ensure_ascii=False)


if __name__ == "__main__":
    main()
