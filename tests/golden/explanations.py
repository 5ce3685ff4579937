#!/usr/bin/env python3
"""Which score of words explains a label best: how much the label's score falls without the words that score highest.

    pip install torch transformers
    python3 tests/golden/explanations.py SHARED [TEXTS]

Judges sentences of SST-2's development set by minilm-sst2, as src/tasks/explain.rs does, and prints for each way of scoring words the
mean fall without the highest tenth, fifth and half of them ("comprehensiveness", ERASER, arXiv 1911.03429).
"""
import random
import sys
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

SHARED, N = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 24
MODEL = SHARED / "models/minilm-sst2"
tokenizer = AutoTokenizer.from_pretrained(MODEL)
model = AutoModelForSequenceClassification.from_pretrained(MODEL).eval()
chance = random.Random(0)


@torch.no_grad()
def scores(texts, label=None):
    """Of `label`, or of all labels of the only text."""
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    found = model(**encoded).logits.softmax(-1)
    return found[0].tolist() if label is None else found[:, label].tolist()


def banzhaf(words, label, n):
    """What a word adds to a random half of the others; each half and the other half are judged."""
    halves = [[chance.random() < 0.5 for _ in words] for _ in range(n // 2)]
    halves += [[not kept for kept in half] for half in halves]
    judged = scores([" ".join(w for w, kept in zip(words, half) if kept) for half in halves], label)
    mean = lambda i, wanted: sum(s for half, s in zip(halves, judged) if half[i] == wanted) / sum(half[i] == wanted for half in halves)
    return [mean(i, True) - mean(i, False) for i in range(len(words))]


def main():
    lines = (SHARED / "data/sst2/stsa.binary.dev").read_text(encoding="utf-8").splitlines()
    falls = {}
    for line in lines[:: len(lines) // N][:N]:
        words = line[2:].split()
        without = lambda left_out: " ".join(w for i, w in enumerate(words) if i not in left_out)
        of_labels = scores([without({})])
        label, n = max(range(len(of_labels)), key=of_labels.__getitem__), len(words)
        whole, nothing = of_labels[label], scores([""], label)[0]
        lost = [whole - s for s in scores([without({i}) for i in range(n)], label)]
        alone = [s - nothing for s in scores(words, label)]
        ways = {
            "lost without it": lost,
            "alone": alone,
            "the mean of both": [(a + b) / 2 for a, b in zip(lost, alone)],
            "Banzhaf, 64 halves": banzhaf(words, label, 64),
            "Banzhaf, 128 halves": banzhaf(words, label, 128),
            "by chance": [chance.random() for _ in words],
        }
        for way, score in ways.items():
            order = sorted(range(n), key=lambda i: -score[i])
            tops = [set(order[: max(1, round(share * n))]) for share in (0.1, 0.2, 0.5)]
            falls.setdefault(way, []).extend(whole - s for s in scores([without(top) for top in tops], label))
    for way, fall in falls.items():
        print(f"{way:20} {sum(fall) / len(fall):.4f}")


main()
