"""Sample training stories from TinyStories-656K with a batched, KV-cached sampler.

    python models/stories/sample.py --seconds 700 --seed 1

Every row of the batch starts at BOS and begins a new story as soon as one ends;
unfinished stories are dropped. Writes $TRICE_WORK/samples-SEED.txt, stories
separated by <|endoftext|>. Sampling: temperature, then top-p within the top 64.
"""
import argparse
import time

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from common import EOT, SHARED, WORK

FOLDER = SHARED / "models/TinyStories-656K"
BOS, END = 1, 2
HEADS, KV, HD, LAYERS, EPS = 8, 4, 16, 2, 1e-6


def norm(x, w):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * w


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def round_of_stories(w, rows, slots, temperature, top_p):
    """One pass of `slots` steps over `rows` rows; returns the finished stories' ids."""
    emb = w["lm_head.weight"]
    cache = [[torch.zeros(rows * KV, slots, HD) for _ in "kv"] for _ in range(LAYERS)]
    freq = 10000.0 ** (-torch.arange(0, HD, 2) / HD)
    start = torch.zeros(rows, dtype=torch.long)
    token = torch.full((rows,), BOS)
    path = torch.zeros(rows, slots, dtype=torch.long)
    done = []
    for t in range(slots):
        cos, sin = (t * freq).cos(), (t * freq).sin()
        mask = torch.where(torch.arange(t + 1)[None] < start[:, None], -1e9, 0.0)
        mask = mask.repeat_interleave(KV, 0)[:, None]
        x = emb[token]
        for i in range(LAYERS):
            g = lambda name: w[f"model.layers.{i}.{name}.weight"]
            h = norm(x, g("input_layernorm"))
            q = rotate((h @ g("self_attn.q_proj").T).view(rows, HEADS, HD), cos, sin)
            k = rotate((h @ g("self_attn.k_proj").T).view(rows, KV, HD), cos, sin)
            ck, cv = cache[i]
            ck[:, t] = k.reshape(rows * KV, HD)
            cv[:, t] = (h @ g("self_attn.v_proj").T).view(rows * KV, HD)
            q = q.reshape(rows * KV, HEADS // KV, HD)
            s = torch.bmm(q, ck[:, :t + 1].transpose(1, 2)) / HD**0.5 + mask
            y = torch.bmm(s.softmax(-1), cv[:, :t + 1]).reshape(rows, HEADS * HD)
            x = x + y @ g("self_attn.o_proj").T
            h = norm(x, g("post_attention_layernorm"))
            h = torch.nn.functional.silu(h @ g("mlp.gate_proj").T) * (h @ g("mlp.up_proj").T)
            x = x + h @ g("mlp.down_proj").T
        logits = norm(x, w["model.norm.weight"]) @ emb.T / temperature
        best, index = logits.topk(64, -1)
        p = best.softmax(-1)
        p[p.cumsum(-1) - p > top_p] = 0
        token = index.gather(1, torch.multinomial(p, 1))[:, 0]
        ended = token == END
        for r in ended.nonzero()[:, 0].tolist():
            done.append(path[r, start[r]:t].tolist())
            start[r] = t + 1
        token[ended] = BOS
        path[:, t] = token
    return done


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--seconds", type=float, default=700)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--rows", type=int, default=256)
    a.add_argument("--slots", type=int, default=768)
    a.add_argument("--temperature", type=float, default=0.95)
    a.add_argument("--top-p", type=float, default=0.98)
    a.add_argument("--threads", type=int, default=1)
    a = a.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    WORK.mkdir(parents=True, exist_ok=True)
    w = load_file(FOLDER / "model.safetensors")
    tok = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    begin, stories, size = time.time(), 0, 0
    with open(WORK / f"samples-{a.seed}.txt", "w", encoding="utf8") as out, torch.inference_mode():
        while time.time() - begin < a.seconds:
            for ids in round_of_stories(w, a.rows, a.slots, a.temperature, a.top_p):
                text = tok.decode(ids, skip_special_tokens=True)
                text = text.replace("<|end_story|>", "").strip()
                if len(text) < 200 or "\ufffd" in text:
                    continue
                out.write(text + "\n" + EOT + "\n")
                stories, size = stories + 1, size + len(text)
            out.flush()
            print(f"{time.time() - begin:6.0f} s  {stories} stories  {size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
