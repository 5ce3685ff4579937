"""Say how good a built-in model's file is on held-out texts, by running trice on it.

    python models/encoders/measure.py embed|intent|sentiment [--file FILE.gguf] [--trice PROGRAM]

Of vectors: their cosine to MiniLM's (computed with torch), how often a question finds its paragraph of XQuAD, and what a
linear classifier on them gets right, beside what it gets right on MiniLM's.
"""
import argparse
import csv
import json
import pathlib
import subprocess
import tempfile

import numpy as np
import torch

import bert
import data
from common import DEVICE, Ids, apply, autocast, fitted
from vocabulary import minilm_tokenizer

MODELS = pathlib.Path(__file__).resolve().parent.parent


def minilm_vectors(texts):
    w = bert.minilm(data.MINILM / "model.safetensors", DEVICE)
    with autocast():
        return apply(lambda *x: bert.vectors(w, *x), Ids(minilm_tokenizer(), texts, 256)).cpu()


def trice_vectors(trice, file, texts):
    with tempfile.TemporaryDirectory() as folder:
        at = pathlib.Path(folder)
        (at / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf8")
        subprocess.run([trice, "embed", file, "--normalize", "--quiet", "--file", at / "in.jsonl", "-o", at / "out.jsonl"], check=True)
        rows = [json.loads(line) for line in (at / "out.jsonl").read_text(encoding="utf8").splitlines()]
    return torch.tensor(np.array([row["embedding"] for row in rows], dtype=np.float32))


def linear_head(train, labels, test, answers):
    """Of `test`, % that a linear classifier fitted to `train` gets right."""
    weight, bias = fitted(10 * train, torch.tensor(labels), 1e-4)
    return 100 * ((10 * test @ weight.T + bias).argmax(-1) == torch.tensor(answers)).float().mean().item()


def measure_vectors(vectors_of):
    """Says what vectors are worth; returns those of some texts."""
    contexts, questions = data.xquad()
    paragraphs, asked = vectors_of(contexts), vectors_of([q for q, _ in questions])
    top = (asked @ paragraphs.T).topk(5).indices == torch.tensor([n for _, n in questions])[:, None]
    print(f"  XQuAD, {len(questions)} questions, {len(contexts)} paragraphs: {100 * top[:, 0].float().mean():.2f} % first, "
          f"{100 * top.any(1).float().mean():.2f} % among five")
    for name, (train, test) in {
        "clinc150": (data.clinc("train"), data.clinc("test")),
        "banking77": (data.banking("train"), data.banking("test")),
        "uci sentences": data.uci(),
    }.items():
        names = sorted({label for _, label in train})
        number = lambda rows: [names.index(label) for _, label in rows]
        vectors = [vectors_of([text for text, _ in rows]) for rows in (train, test)]
        print(f"  linear head on {name}: {linear_head(vectors[0], number(train), vectors[1], number(test)):.2f} % of {len(test)}", flush=True)
    return {"XQuAD questions": asked, "XQuAD paragraphs": paragraphs, "AG News headlines": vectors_of(data.news()),
            "SST-2 dev": vectors_of([text for text, _ in data.sst2()])}


def held_of(name):
    """{name of a held-out set: rows of (text, label)}."""
    if name == "intent":
        return {"clinc150 test": data.clinc("test"), "banking77 test": data.banking("test")}
    said = lambda rows: [(text, ["NEGATIVE", "POSITIVE"][label]) for text, label in rows]
    return {"uci": said(data.uci()[1]), "sst2 dev": said(data.sst2())}


def measure_labels(trice, file, name):
    for kind, rows in held_of(name).items():
        with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf8", newline="") as table:
            csv.writer(table).writerows([("text", "label")] + rows)
            table.flush()
            subprocess.run([trice, "classify", file, "--quiet", "--test", table.name], check=True)
        print(f"  which is {kind}", flush=True)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("name", choices=["embed", "intent", "sentiment"])
    a.add_argument("--file", default=None)
    a.add_argument("--trice", default="trice")
    a = a.parse_args()
    file = a.file or str(MODELS / f"{a.name}.gguf")
    print(file)
    if a.name != "embed":
        return measure_labels(a.trice, file, a.name)
    ours = measure_vectors(lambda texts: trice_vectors(a.trice, file, texts))
    print("MiniLM, torch, bf16 matmuls")
    theirs = measure_vectors(minilm_vectors)
    for kind, vectors in ours.items():
        print(f"cosine to MiniLM on {len(vectors)} {kind}: {(vectors * theirs[kind]).sum(-1).mean():.4f}")


if __name__ == "__main__":
    main()
