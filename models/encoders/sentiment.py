"""Train a classifier of sentiment from the distilled encoder: builtin:sentiment.

    python models/encoders/sentiment.py [--seconds 600]

A quarter of the time fine-tunes MiniLM on the UCI sentences: the teacher. It labels those, variants of them (words exchanged for
neighbours in MiniLM's embedding, words left out, joined halves) and other English sentences; the student learns its logits (KL at
temperature 2) and the true labels. Towards the end matrices are rounded to Q4_0 in every step. Reads WORK/tokenizer.json and
WORK/encoder.pt, writes the folder WORK/sentiment.
"""
import argparse
import random

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import bert
import data
from common import DEVICE, WORK, Clock, Ids, apply, autocast, batches, save, say, step

CONTEXT, TOKENS, HEAT = 128, 2048, 2.0


def with_head(w):
    w["embeddings.position_embeddings.weight"] = w["embeddings.position_embeddings.weight"][:CONTEXT]
    return w | {"classifier.weight": 0.02 * torch.randn(2, bert.WIDTH, device=DEVICE), "classifier.bias": torch.zeros(2, device=DEVICE)}


def accuracy(w, tokenizer, rows):
    with autocast():
        out = apply(lambda *x: bert.logits(w, *x), Ids(tokenizer, [text for text, _ in rows], CONTEXT))
    return round(100 * (out.argmax(-1).cpu().numpy() == [label for _, label in rows]).mean(), 2)


def teacher(rows, tokenizer, seconds, rng):
    """MiniLM, fine-tuned on `rows`."""
    w = with_head(bert.minilm(data.MINILM / "model.safetensors", DEVICE))
    parameters = [t.requires_grad_() for t in w.values()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.01, fused=True)
    ids, labels = Ids(tokenizer, [text for text, _ in rows], CONTEXT), torch.tensor([label for _, label in rows], device=DEVICE)
    clock = Clock(seconds, 20)
    while clock.done() < 1:
        for part in batches(ids.length, np.arange(len(rows)), 1024, rng):
            with autocast():
                out = bert.logits(w, *ids.batch(part), drop=0.1)
            step(optimizer, F.cross_entropy(out, labels[part], label_smoothing=0.05), 1e-4 * clock.factor(), parameters)
            if clock.done() >= 1:
                break
    return {n: t.detach() for n, t in w.items()}


def variants(tokenizer, texts, per_text, rng):
    """Sentences like `texts`, for the teacher to judge: no label stands for them."""
    rows = F.normalize(bert.minilm(data.MINILM / "model.safetensors", "cpu")["embeddings.word_embeddings.weight"], dim=-1)
    ids = {word: i for word, i in tokenizer.get_vocab().items() if word.isalpha() and word.isascii() and len(word) > 2}
    names, whole = list(ids), torch.tensor(list(ids.values()))
    near = {}

    def neighbour(word):
        if word not in ids:
            return word
        if word not in near:
            near[word] = (rows[whole] @ rows[ids[word]]).topk(13).indices[1:].tolist()
        return names[rng.choice(near[word])]

    words = [[word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(t))] for t in texts]
    out = set()
    for own in words:
        for n in range(per_text):
            line = list(own)
            if n % 3 == 2:
                other = rng.choice(words)
                line = line[:rng.randint(1, len(line))] + other[rng.randrange(len(other)):]
            exchanged = rng.choice([0.1, 0.2, 0.35])
            line = [neighbour(word) if rng.random() < exchanged else word for word in line if rng.random() > 0.05]
            out.add(" ".join(line))
    return sorted(out - {""})


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--seconds", type=float, default=600)
    a.add_argument("--variants", type=int, default=7, help="variants of each sentence")
    a.add_argument("--others", type=int, default=4_000, help="sentences of other kinds")
    a = a.parse_args()
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    rows, held = data.uci()
    taken = data.held_out() | {data.key(text) for text, _ in data.sst2()}
    rows = [row for row in rows if data.key(row[0]) not in taken]
    judged = {"uci": held, "sst2 dev": data.sst2()}
    big = Tokenizer.from_file(str(data.MINILM / "tokenizer.json"))
    big.no_padding(), big.no_truncation()
    small = Tokenizer.from_file(str(WORK / "tokenizer.json"))
    best = teacher(rows, big, a.seconds / 4, rng)
    say("teacher:", {kind: accuracy(best, big, part) for kind, part in judged.items()})

    sources = data.corpus()
    others = [t for name in ("tatoeba", "tinystories", "wordnet", "wnut17", "instructions") for t in sources[name] if 4 <= t.count(" ") <= 40]
    own, draw = [text for text, _ in rows], random.Random(2)
    texts = own + [t for t in variants(big, own, a.variants, draw) if data.key(t) not in taken] + draw.sample(others, a.others)
    with autocast():
        soft = apply(lambda *x: bert.logits(best, *x), Ids(big, texts, CONTEXT))
    hard = torch.tensor([label for _, label in rows], device=DEVICE)
    say(f"{len(texts)} texts labelled")

    ids = Ids(small, texts, CONTEXT)
    student = bert.Student(with_head(torch.load(WORK / "encoder.pt", map_location=DEVICE)))
    optimizer = torch.optim.AdamW(student.parameters(), betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    pool = np.concatenate([np.arange(len(texts))] + 2 * [np.arange(len(rows))])  # sentences that judge count three times
    clock, mean = Clock(a.seconds * 0.65, 30), None
    while clock.done() < 1:
        for part in batches(ids.length, pool, TOKENS, rng):
            student.rounds = clock.done() > 0.7
            with autocast():
                out = bert.logits(student.tensors(), *ids.batch(part), drop=0.1).float()
            log = lambda x: F.log_softmax(x / HEAT, -1)
            loss = F.kl_div(log(out), log(soft[part]), reduction="batchmean", log_target=True) * HEAT**2
            known = torch.from_numpy(part < len(rows))
            if known.any():
                loss = loss + 0.3 * F.cross_entropy(out[known], hard[part[known.numpy()]])
            step(optimizer, loss, 3e-4 * clock.factor(), student.parameters())
            mean = loss.detach() if mean is None else mean.lerp(loss.detach(), 0.05)
            if clock.step % 20 == 0:
                say(f"step {clock.step}, {100 * clock.done():.0f} % of the time: loss {mean:.4f}, rounded {student.rounds}")
            if clock.done() >= 1:
                break
    student.rounds = True
    final = student.copy()
    labels = ["NEGATIVE", "POSITIVE"]
    save("sentiment", final, {"architectures": ["BertForSequenceClassification"], "id2label": dict(enumerate(labels)),
                              "label2id": {label: n for n, label in enumerate(labels)}}, prefix="bert.")
    say(f"trained {clock.step} steps:", {kind: accuracy(final, small, part) for kind, part in judged.items()})


if __name__ == "__main__":
    main()
