"""Shared pieces of the story model: paths, data split, tokenizer, the network.

Nothing to run here; see train.py. Paths: TRICE_SHARED (default ../shared, read
only) and TRICE_WORK (default /tmp/trice-stories, samples and checkpoints).
"""
import math
import os
import pathlib

import torch
import torch.nn.functional as F
from torch import nn

SHARED = pathlib.Path(os.environ.get("TRICE_SHARED", "../shared"))
WORK = pathlib.Path(os.environ.get("TRICE_WORK", "/tmp/trice-stories"))
HERE = pathlib.Path(__file__).resolve().parent
STORIES = SHARED / "data/tinystories/tinystories_train_head_2MiB.txt"

HEAD_DOCS = 60  # what `trice perplexity --max-docs 60` reads; never trained on
TAIL_DOCS = 116  # a second held-out part, about 5 %
EOT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VOCAB = 2048

CONFIG = dict(dim=256, ffn=768, layers=4, heads=8, kv_heads=4, context=512,
              eps=1e-5, theta=10000.0, vocab=VOCAB)


def load_split():
    """Stories as (head held out, train, tail held out); the cut last one is dropped."""
    docs = STORIES.read_text(encoding="utf8").split(EOT)
    docs = [d.strip() for d in docs][:-1]
    head, tail = docs[:HEAD_DOCS], docs[-TAIL_DOCS:]
    held = set(head) | set(tail)
    train = [d for d in docs[HEAD_DOCS:-TAIL_DOCS] if d and d not in held]
    return head, train, tail


def load_samples(held_out):
    """Sampled stories, without repeats and without any held-out story."""
    seen = set(held_out)
    out = []
    for path in sorted(WORK.glob("samples-*.txt")):
        for doc in path.read_text(encoding="utf8").split(EOT):
            doc = doc.strip()
            if doc and doc not in seen:
                seen.add(doc)
                out.append(doc)
    return out


def load_tokenizer():
    from tokenizers import Tokenizer
    return Tokenizer.from_file(str(WORK / "tokenizer.json"))


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.kv = c["heads"], c["kv_heads"]
        self.hd = c["dim"] // c["heads"]
        self.q = nn.Linear(c["dim"], self.heads * self.hd, bias=False)
        self.k = nn.Linear(c["dim"], self.kv * self.hd, bias=False)
        self.v = nn.Linear(c["dim"], self.kv * self.hd, bias=False)
        self.o = nn.Linear(self.heads * self.hd, c["dim"], bias=False)

    def forward(self, x, cos, sin):
        b, n, _ = x.shape
        split = lambda t, h: t.view(b, n, h, self.hd).transpose(1, 2)
        q, k, v = split(self.q(x), self.heads), split(self.k(x), self.kv), split(self.v(x), self.kv)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        group = self.heads // self.kv
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(y.transpose(1, 2).reshape(b, n, -1))


def rotate(x, cos, sin):
    """Half-split RoPE (Hugging Face layout); export.py permutes for GGUF."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.attn_norm = nn.RMSNorm(c["dim"], eps=c["eps"])
        self.attn = Attention(c)
        self.ffn_norm = nn.RMSNorm(c["dim"], eps=c["eps"])
        self.gate = nn.Linear(c["dim"], c["ffn"], bias=False)
        self.up = nn.Linear(c["dim"], c["ffn"], bias=False)
        self.down = nn.Linear(c["ffn"], c["dim"], bias=False)

    def forward(self, x, cos, sin):
        x = x + self.attn(self.attn_norm(x), cos, sin)
        h = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    """The Llama network with tied embedding."""

    def __init__(self, c=CONFIG):
        super().__init__()
        self.c = c
        self.embed = nn.Embedding(c["vocab"], c["dim"])
        self.blocks = nn.ModuleList(Block(c) for _ in range(c["layers"]))
        self.norm = nn.RMSNorm(c["dim"], eps=c["eps"])
        hd = c["dim"] // c["heads"]
        freq = c["theta"] ** (-torch.arange(0, hd, 2).double() / hd)
        angle = torch.arange(c["context"]).double()[:, None] * freq
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                std = 0.02 / math.sqrt(2 * c["layers"]) if name.endswith(("o.weight", "down.weight")) else 0.02
                nn.init.normal_(p, std=std if name != "embed.weight" else 0.02)

    def hidden(self, ids):
        n = ids.shape[1]
        cos, sin = self.cos[:n], self.sin[:n]
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.norm(x)

    def forward(self, ids):
        return F.linear(self.hidden(ids), self.embed.weight)


@torch.no_grad()
def perplexity(model, tokenizer, docs, context=512):
    """(sum_nll, tokens, ppl): each document begins with BOS and is cut at `context`."""
    model.eval()
    bos = tokenizer.token_to_id(EOT)
    nll, count = 0.0, 0
    for doc in docs:
        ids = torch.tensor([([bos] + tokenizer.encode(doc).ids)[:context]])
        logits = model(ids[:, :-1])[0]
        nll += F.cross_entropy(logits.double(), ids[0, 1:], reduction="sum").item()
        count += ids.shape[1] - 1
    model.train()
    return nll, count, math.exp(nll / count)
