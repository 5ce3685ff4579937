"""Train a classifier of intents from the distilled encoder: builtin:intent.

    python models/encoders/intent.py [--seconds 600]

Learns the labels of CLINC150 and Banking77 together. Towards the end matrices are rounded to Q4_0 in every step, and
last of all the classifier is fitted to what the encoder then makes of the texts. Reads WORK/tokenizer.json and
WORK/encoder.pt, writes the folder WORK/intent.
"""
import argparse

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import bert
import data
from common import DEVICE, WORK, Clock, Ids, apply, autocast, batches, fitted, save, say, step

CONTEXT, TOKENS, RATE = 128, 2048, 5e-4


def accuracy(w, tokenizer, rows):
    with autocast():
        out = apply(lambda *x: bert.logits(w, *x), Ids(tokenizer, [text for text, _ in rows], CONTEXT))
    return 100 * (out.argmax(-1).cpu().numpy() == [label for _, label in rows]).mean()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--seconds", type=float, default=600)
    a = a.parse_args()
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    names, rows, held = data.intents()
    labels = torch.tensor([label for _, label in rows], device=DEVICE)
    tokenizer = Tokenizer.from_file(str(WORK / "tokenizer.json"))
    ids = Ids(tokenizer, [text for text, _ in rows], CONTEXT)
    say(f"{len(names)} labels, {len(rows)} texts, {ids.length.sum()} ids")

    w = torch.load(WORK / "encoder.pt", map_location=DEVICE)
    w["embeddings.position_embeddings.weight"] = w["embeddings.position_embeddings.weight"][:CONTEXT]
    student = bert.Student(w | {"classifier.weight": 0.02 * torch.randn(len(names), bert.WIDTH, device=DEVICE),
                                "classifier.bias": torch.zeros(len(names), device=DEVICE)})
    optimizer = torch.optim.AdamW(student.parameters(), betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    clock, epoch, mean = Clock(a.seconds, 50), 0, None
    while clock.done() < 1:
        for part in batches(ids.length, np.arange(len(rows)), TOKENS, rng):
            student.rounds = clock.done() > 0.7
            with autocast():
                out = bert.logits(student.tensors(), *ids.batch(part), drop=0.1)
            loss = F.cross_entropy(out, labels[part], label_smoothing=0.05)
            step(optimizer, loss, RATE * clock.factor(), student.parameters())
            mean = loss.detach() if mean is None else mean.lerp(loss.detach(), 0.05)
            if clock.step % 20 == 0:
                say(f"epoch {epoch} step {clock.step}, {100 * clock.done():.0f} % of the time: loss {mean:.4f}, rounded {student.rounds}")
            if clock.done() >= 1:
                break
        epoch += 1
    student.rounds = True
    final = student.copy()
    with autocast():
        seen = apply(lambda *x: bert.pooled(final, *x), ids)
    final["classifier.weight"], final["classifier.bias"] = fitted(seen, labels, 1e-4)
    save("intent", final, {"architectures": ["BertForSequenceClassification"], "id2label": dict(enumerate(names)),
                           "label2id": {label: n for n, label in enumerate(names)}}, prefix="bert.")
    say(f"trained {clock.step} steps:", {kind: round(accuracy(final, tokenizer, part), 2) for kind, part in held.items()})


if __name__ == "__main__":
    main()
