"""Texts for the training: variants of them, and their ids on the device.

Nothing to run here. Variants are made and tokenized by worker processes, which
must be started before the GPU is touched.
"""
import json
import lzma
import multiprocessing
import os
import pathlib
import random
import re

import numpy as np
import torch
from tokenizers import Tokenizer

DATA = pathlib.Path(os.environ.get("TRICE_DATA", "."))
SMOKE = os.environ.get("SMOKE") == "1"
WORD = re.compile(r"\w+|[^\w\s]")


def read(name):
    with lzma.open(DATA / name, "rt", encoding="utf8") as file:
        return json.load(file)


class Variants:
    """Texts like the given ones: words exchanged for neighbours, left out or shuffled; parts cut off and joined."""

    def __init__(self, texts, long=0.03):
        table = read("neighbours.json.xz")
        self.words, self.near = table["words"], dict(zip(table["words"], table["near"]))
        self.texts, self.long = texts, long

    def exchanged(self, word, rng):
        near = self.near.get(word)
        if near is None:
            return word
        return rng.choice(self.words) if rng.random() < 0.15 else self.words[rng.choice(near)]

    def one(self, rng):
        own = WORD.findall(rng.choice(self.texts).lower())
        kind = rng.random()
        if kind < self.long:
            while len(own) < rng.randint(40, 180):
                own += WORD.findall(rng.choice(self.texts).lower())
        elif kind < 0.25:
            other = WORD.findall(rng.choice(self.texts).lower())
            own = own[:rng.randint(1, len(own))] + other[rng.randrange(len(other)):]
        chance = rng.choice([0.0, 0.1, 0.2, 0.35])
        drop = rng.choice([0.0, 0.0, 0.1])
        own = [self.exchanged(w, rng) if rng.random() < chance else w for w in own if rng.random() >= drop]
        if len(own) > 6 and rng.random() < 0.25:
            at = rng.randrange(len(own) - 4)
            own = own[at:at + rng.randint(4, len(own))]
        return " ".join(own) or "nothing"

    def many(self, seed, count):
        rng = random.Random(seed)
        return [self.one(rng) for _ in range(count)]


class Ids:
    """Ragged token ids: one flat array, where each text begins and how long it is."""

    def __init__(self, flat, length):
        self.length = length
        self.begin = np.concatenate([[0], np.cumsum(length)[:-1]])
        self.flat = flat

    @classmethod
    def encoded(cls, tokenizer, texts):
        rows = [e.ids for e in tokenizer.encode_batch(texts)]
        length = np.array([len(r) for r in rows], dtype=np.int64)
        return cls(np.fromiter((i for r in rows for i in r), dtype=np.int32, count=length.sum()), length)

    @classmethod
    def joined(cls, parts):
        return cls(np.concatenate([p.flat for p in parts]), np.concatenate([p.length for p in parts]))

    def to(self, device):
        self.device = device
        self.on_device = [torch.from_numpy(x).to(device) for x in (self.flat, self.begin, self.length)]
        return self

    def batch(self, rows):
        """(ids, mask) of texts `rows`, padded with 0 to the longest."""
        flat, begin, length = self.on_device
        step = torch.arange(int(self.length[rows].max()), device=self.device)
        rows = torch.from_numpy(rows).to(self.device)
        mask = step < length[rows, None]
        return (flat[(begin[rows, None] + step).clamp(max=len(flat) - 1)] * mask).long(), mask


def tokenizers(context):
    """(MiniLM's, the small one), cut at `context` ids."""
    pair = [Tokenizer.from_file(str(DATA / name)) for name in ("minilm-tokenizer.json", "tokenizer.json")]
    for tokenizer in pair:
        tokenizer.enable_truncation(context)
    return pair


def encode(texts, variants, count, context, workers):
    """[Ids of MiniLM, Ids of the small model] of `texts` and of `count` variants, and where in them each of `texts` is."""
    global _part
    pair = tokenizers(context)
    parts = [list(range(n, len(texts), workers)) for n in range(workers)]

    def _part(n):
        own = [texts[i] for i in parts[n]] + variants.many(n, count // workers)
        return [Ids.encoded(tokenizer, own) for tokenizer in pair]

    with multiprocessing.get_context("fork").Pool(workers) as pool:  # forked, so that texts need not be sent
        done = pool.map(_work, range(workers), chunksize=1)
    place, at = np.empty(len(texts), dtype=np.int64), 0
    for part, (ids, _) in zip(parts, done):
        place[part] = at + np.arange(len(part))
        at += len(ids.length)
    return [Ids.joined([d[k] for d in done]) for k in range(2)], place


def _work(n):
    return _part(n)


def batches(length, rows, tokens, limit, rng):
    """`rows` in random batches of texts of like length: at most `limit` texts and about `tokens` ids with padding."""
    order = rows[np.argsort(length[rows] + 2 * rng.random(len(rows)))]
    out, at = [], 0
    while at < len(order):
        longest = length[order[at:at + limit]].max()
        size = int(max(1, min(limit, tokens // longest)))
        out.append(order[at:at + size])
        at += size
    return [out[i] for i in rng.permutation(len(out))]
