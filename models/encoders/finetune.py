"""Train a classifier from the distilled encoder on what its teachers labelled.

    python models/encoders/finetune.py intent|sentiment|sentiment-sst [--share 0.88]

The loss is KL to the teachers' mean logits at temperature 2 and, on labelled
texts, cross-entropy. Matrices are rounded to Q4_0 in every step. Reads
WORK/encoder.pt and WORK/NAME.labels.pt, writes the folder WORK/NAME.
"""
import argparse

import numpy as np
import torch
import torch.nn.functional as F

import bert
from common import CONTEXT, DEVICE, WORK, Clock, accuracy, apply, autocast, save, say, step
from texts import SMOKE, Ids, batches, read, tokenizers

TOKENS, ROWS, RATE, HEAT = 8192, 512, 3e-4, 2.0


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("name")
    a.add_argument("--share", type=float, default=0.88, help="of the deadline, until training ends")
    a = a.parse_args()
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    task = read("tasks.json.xz")["tasks"][a.name]
    given = torch.load(WORK / f"{a.name}.labels.pt", map_location=DEVICE, weights_only=False)
    ids, soft, hard = Ids(given["flat"], given["length"]).to(DEVICE), given["soft"], given["hard"]
    w = torch.load(WORK / "encoder.pt", map_location=DEVICE)
    w["embeddings.position_embeddings.weight"] = w["embeddings.position_embeddings.weight"][:CONTEXT]
    classes = len(task["labels"])
    w |= {"classifier.weight": 0.02 * torch.randn(classes, bert.WIDTH, device=DEVICE), "classifier.bias": torch.zeros(classes, device=DEVICE)}
    student = bert.Student(w)
    student.rounds = True
    optimizer = torch.optim.AdamW(student.parameters(), betas=(0.9, 0.98), weight_decay=0.01, fused=DEVICE == "cuda")
    labelled = np.flatnonzero(hard.cpu().numpy() >= 0)
    pool = np.concatenate([np.arange(len(ids.length))] + [labelled] * max(1, len(ids.length) // (3 * len(labelled))))
    clock, mean = Clock(a.share, 100), torch.zeros((), device=DEVICE)
    while clock.done() < 1:
        for rows in batches(ids.length, pool, TOKENS, 4 if SMOKE else ROWS, rng):
            with autocast():
                out = bert.logits(student.tensors(), *ids.batch(rows), drop=0.05)
            rows = torch.from_numpy(rows).to(DEVICE)
            loss = F.kl_div(F.log_softmax(out / HEAT, -1), F.log_softmax(soft[rows].float() / HEAT, -1),
                            reduction="batchmean", log_target=True) * HEAT * HEAT
            known = hard[rows] >= 0
            loss = loss + 0.3 * (F.cross_entropy(out, hard[rows].clamp(min=0), reduction="none") * known).mean()
            step(optimizer, loss, RATE * clock.factor(), student.parameters())
            mean = mean.lerp(loss.detach(), 0.01)
            if clock.step % 500 == 0:
                say(f"{a.name} step {clock.step}: loss {mean:.4f}")
            if clock.done() >= 1:
                break
    final = student.final()
    save(a.name, final, {"architectures": ["BertForSequenceClassification"], "id2label": dict(enumerate(task["labels"])),
                         "label2id": {label: n for n, label in enumerate(task["labels"])}}, prefix="bert.")
    say(f"{a.name}: trained {clock.step} steps")
    for kind, rows in task["held"].items():
        rows = rows[:8] if SMOKE else rows
        out = apply(lambda i, m: bert.logits(final, i, m), Ids.encoded(tokenizers(CONTEXT)[1], [t for t, _ in rows]).to(DEVICE))
        say(f"{a.name}: {kind}: {100 * accuracy(out, rows):.2f} %")
        own = next((labels for data, labels in task.get("own", {}).items() if kind.startswith(data)), None)
        if own:
            apart = torch.full_like(out, float("-inf"))
            apart[:, own] = out[:, own]
            say(f"{a.name}: {kind}, its own labels only: {100 * accuracy(apart, rows):.2f} %")


if __name__ == "__main__":
    main()
