"""Fine-tune MiniLM on a task and let it label texts for the student.

    python models/encoders/teacher.py intent|sentiment|sentiment-sst [--share 0.58]

Several MiniLMs are trained one after another, as many as the time allows; their
mean logits are the labels. Writes WORK/NAME.labels.pt.
"""
import argparse
import random

import numpy as np
import torch
import torch.nn.functional as F

import bert
from common import CONTEXT, DEADLINE, DEVICE, WORK, Clock, accuracy, apply, autocast, elapsed, say, step
from texts import DATA, SMOKE, Ids, Variants, batches, encode, read, tokenizers

EPOCHS = {"intent": 8, "sentiment": 5, "sentiment-sst": 3}
RATE = {"intent": 2e-4, "sentiment": 6e-5, "sentiment-sst": 8e-5}
ROWS = {"intent": 128, "sentiment": 32, "sentiment-sst": 64}


def fine_tuned(name, ids, rows, labels, classes, seed):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    w = bert.minilm(DATA / "minilm.safetensors", DEVICE)
    w |= {"classifier.weight": 0.02 * torch.randn(classes, bert.WIDTH, device=DEVICE), "classifier.bias": torch.zeros(classes, device=DEVICE)}
    parameters = [t.requires_grad_() for t in w.values()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.01, fused=DEVICE == "cuda")
    total = EPOCHS[name] * (len(rows) // ROWS[name] + 1)
    clock = Clock(10, 0.06 * total, total)
    for _ in range(EPOCHS[name]):
        for part in batches(ids.length, rows, 10**9, 8 if SMOKE else ROWS[name], rng):
            with autocast():
                out = bert.logits(w, *ids.batch(part), drop=0.1)
            loss = F.cross_entropy(out, labels[torch.from_numpy(part).to(DEVICE)], label_smoothing=0.05)
            step(optimizer, loss, RATE[name] * clock.factor(), parameters)
            if SMOKE:
                break
    return {n: t.detach() for n, t in w.items()}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("name", choices=list(EPOCHS))
    a.add_argument("--share", type=float, default=0.58, help="of the deadline, until labelling ends")
    a.add_argument("--members", type=int, default=1 if SMOKE else 3)
    a = a.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    task, sources = read("tasks.json.xz")["tasks"][a.name], read("corpus.json.xz")
    train, extra = task["train"], []
    if SMOKE:
        train = train[::len(train) // 40]
    if a.name != "intent":
        rng = random.Random(2)
        glosses = [t for t in sources["wordnet"] if t.count(" ") >= 4 and ":" not in t]
        extra = sources["tatoeba"] + rng.sample(sources["tinystories"], 20_000) + rng.sample(glosses, 20_000)
        extra = extra[::2000] if SMOKE else extra
    texts = [t for t, _ in train]
    count = 40 if SMOKE else {"intent": 250_000, "sentiment": 100_000, "sentiment-sst": 160_000}[a.name]
    (big, small), place = encode(texts + extra, Variants(texts, long=0), count, CONTEXT, 2 if SMOKE else 4)
    big.to(DEVICE)
    rows, hard = place[:len(train)], torch.full((len(big.length),), -1)
    hard[torch.from_numpy(rows)] = torch.tensor([label for _, label in train])
    labels = hard.to(DEVICE)
    say(f"{a.name}: {len(train)} labelled texts, {len(big.length) - len(train)} others")

    judged = {kind: part[:4] if SMOKE else part for kind, part in task["held"].items()}
    held = {kind: Ids.encoded(tokenizers(CONTEXT)[0], [t for t, _ in part]).to(DEVICE) for kind, part in judged.items()}
    soft, scores, begin = 0, {kind: 0 for kind in held}, elapsed()
    for member in range(a.members):
        if member and elapsed() + 1.3 * (elapsed() - begin) / member > a.share * DEADLINE:
            break
        w = fine_tuned(a.name, big, rows, labels, len(task["labels"]), member)
        with autocast():
            run = lambda ids: apply(lambda i, m: bert.logits(w, i, m), ids)
            soft = soft + run(big)
            scores = {kind: scores[kind] + run(ids) for kind, ids in held.items()}
        say(f"{a.name} teacher of {member + 1}:", {kind: round(100 * accuracy(s, judged[kind]), 2) for kind, s in scores.items()})
        torch.save({"flat": small.flat, "length": small.length, "soft": (soft / (member + 1)).half().cpu(), "hard": hard},
                   WORK / f"{a.name}.labels.pt")


if __name__ == "__main__":
    main()
