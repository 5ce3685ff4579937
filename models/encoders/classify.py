"""Train a classifier from the distilled encoder: builtin:intent, builtin:sentiment.

    python models/encoders/classify.py intent [--seconds 700]
    python models/encoders/classify.py sentiment [--seconds 500]

Learns the labels of the labelled texts. Of sentiment there are few: MiniLM is fine-tuned on them first, and the student
also learns what that teacher says of texts without labels. Towards the end matrices are rounded to Q4_0 in every step.
Reads WORK/tokenizer.json and WORK/encoder.pt, writes the folder WORK/NAME.
"""
import argparse
import itertools
import random

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import bert
import data
from common import DEVICE, WORK, Clock, Ids, apply, autocast, batches, save, say, step
from vocabulary import minilm_tokenizer

CONTEXT, HEAT = 128, 2.0
TOKENS = {"intent": 2048, "sentiment": 1024}
RATE = {"intent": 4e-4, "sentiment": 2e-4}


def with_head(w, classes):
    """An encoder and a classifier that knows nothing yet."""
    return w | {"classifier.weight": 0.02 * torch.randn(classes, bert.WIDTH, device=DEVICE),
                "classifier.bias": torch.zeros(classes, device=DEVICE)}


def optimizer_of(parameters):
    return torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.01, fused=True)


def forever(ids, tokens, rng):
    """Batches of rows without end, epoch after epoch."""
    return itertools.chain.from_iterable(batches(ids.length, np.arange(len(ids.length)), tokens, rng) for _ in itertools.count())


def fine_tuned_minilm(ids, labels, classes, rng, epochs=4, tokens=800, rate=5e-5):
    w = with_head(bert.minilm(data.MINILM / "model.safetensors", DEVICE), classes)
    parameters = [t.requires_grad_() for t in w.values()]
    optimizer = optimizer_of(parameters)
    total = epochs * int(ids.length.sum()) // tokens
    for n, rows in enumerate(itertools.islice(forever(ids, tokens, rng), total)):
        with autocast():
            out = bert.logits(w, *ids.batch(rows), drop=0.1)
        step(optimizer, F.cross_entropy(out, labels[rows]), rate * min((n + 1) / 20, 1 - n / total), parameters)
    return {name: t.detach() for name, t in w.items()}


def accuracy(w, tokenizer, rows):
    with autocast():
        out = apply(lambda *x: bert.logits(w, *x), Ids(tokenizer, [t for t, _ in rows], CONTEXT))
    return 100 * (out.argmax(-1).cpu().numpy() == [label for _, label in rows]).mean()


def unlabelled():
    """Texts that are about like what people say of things."""
    sources, rng = data.corpus(), random.Random(2)
    glosses = [t for t in sources["wordnet"] if t.count(" ") >= 3]
    return sources["tatoeba"] + sources["wnut17"] + rng.sample(sources["tinystories"], 10_000) + rng.sample(glosses, 30_000)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("name", choices=list(RATE))
    a.add_argument("--seconds", type=float, default=600)
    a = a.parse_args()
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    names, rows, held = data.task(a.name)
    labels = torch.tensor([label for _, label in rows], device=DEVICE)
    texts = [text for text, _ in rows]
    tokenizer, big_tokenizer = Tokenizer.from_file(str(WORK / "tokenizer.json")), minilm_tokenizer()
    ids = Ids(tokenizer, texts, CONTEXT)
    teacher = None
    if a.name == "sentiment":
        teacher = fine_tuned_minilm(Ids(big_tokenizer, texts, CONTEXT), labels, len(names), rng)
        say("teacher:", {kind: round(accuracy(teacher, big_tokenizer, part), 2) for kind, part in held.items()})
        teacher = {name: t.bfloat16() for name, t in teacher.items()}
        texts = texts + unlabelled()
        big, small = (Ids(some, texts, CONTEXT) for some in (big_tokenizer, tokenizer))
        others = forever(small, 3 * TOKENS[a.name], rng)

    encoder = torch.load(WORK / "encoder.pt", map_location=DEVICE)
    encoder["embeddings.position_embeddings.weight"] = encoder["embeddings.position_embeddings.weight"][:CONTEXT]
    student = bert.Student(with_head(encoder, len(names)))
    optimizer, clock, mean = optimizer_of(student.parameters()), Clock(a.seconds, 50), None
    for rows in forever(ids, TOKENS[a.name], rng):
        student.rounds = clock.done() > 0.5
        w = student.tensors()
        with autocast():
            out = bert.logits(w, *ids.batch(rows), drop=0.1)
        loss = F.cross_entropy(out, labels[rows], label_smoothing=0.05)
        if teacher:
            rows = next(others)
            with autocast(), torch.no_grad():
                wanted = bert.logits(teacher, *big.batch(rows))
            with autocast():
                out = bert.logits(w, *small.batch(rows))
            loss = 0.3 * loss + F.kl_div(F.log_softmax(out / HEAT, -1), F.log_softmax(wanted / HEAT, -1),
                                         reduction="batchmean", log_target=True) * HEAT * HEAT
        step(optimizer, loss, RATE[a.name] * clock.factor(), student.parameters())
        mean = loss.detach() if mean is None else mean.lerp(loss.detach(), 0.05)
        if clock.step % 50 == 0:
            say(f"step {clock.step}, {100 * clock.done():.0f} % of the time: loss {mean:.4f}")
        if clock.done() >= 1:
            break
    student.rounds = True
    final = student.copy()
    save(a.name, final, {"architectures": ["BertForSequenceClassification"], "id2label": dict(enumerate(names)),
                         "label2id": {label: n for n, label in enumerate(names)}}, prefix="bert.")
    say(f"trained {clock.step} steps:", {kind: round(accuracy(final, tokenizer, part), 2) for kind, part in held.items()})


if __name__ == "__main__":
    main()
