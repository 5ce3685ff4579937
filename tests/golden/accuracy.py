#!/usr/bin/env python3
"""Accuracy of `trice classify` on the labelled sets beside the checkout; prints a line per set.

    python3 accuracy.py [TRICE] [SHARED]     defaults: target/release/trice, $TRICE_SHARED or ../shared
"""
import json, os, subprocess, sys, tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRICE = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/release/trice")
SHARED = Path(sys.argv[2] if len(sys.argv) > 2 else os.environ.get("TRICE_SHARED", ROOT.parent / "shared"))
MODELS, DATA = SHARED / "models", SHARED / "data"


def numbered(path):
    """Lines of `label text`, the label one digit."""
    lines = [line for line in path.read_text(encoding="utf8").split("\n") if line]
    return [line[2:].strip() for line in lines], [int(line[0]) for line in lines]


def held_out():
    """Every tenth line of the UCI sentences: what builtin:sentiment never saw."""
    texts, labels = [], []
    for name in ("amazon_cells", "imdb", "yelp"):
        lines = (DATA / f"uci-sentences/{name}_labelled.txt").read_text(encoding="utf8").split("\n")
        for line in [line for line in lines if line.strip()][9::10]:
            text, label = line.rsplit("\t", 1)
            texts.append(" ".join(text.split()))
            labels.append(int(label))
    return texts, labels


def measure(name, model, names, texts, labels):
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf8") as file:
        file.write("\n".join(texts) + "\n")
        file.flush()
        out = subprocess.run([TRICE, "classify", *model, "--file", file.name, "--json"], check=True, stdout=subprocess.PIPE)
    rows = [json.loads(line) for line in out.stdout.splitlines()]
    assert len(rows) == len(labels), f"{len(rows)} answers to {len(labels)} texts"
    right = sum(names.index(row["labels"][0]["label"]) == labels[row["index"]] for row in rows)
    print(f"{name}: {right} of {len(rows)}, {100 * right / len(rows):.2f} %", flush=True)


minilm, heads = str(MODELS / "all-MiniLM-L6-v2"), MODELS / "minilm-heads"
sst2, trec = numbered(DATA / "sst2/stsa.binary.dev"), numbered(DATA / "trec/TREC.test.all")
numbers = [f"LABEL_{i}" for i in range(6)]
measure("builtin:sentiment, held-out UCI sentences", ["builtin:sentiment"], ["NEGATIVE", "POSITIVE"], *held_out())
measure("minilm-sst2, SST-2 dev", [str(MODELS / "minilm-sst2")], ["NEGATIVE", "POSITIVE"], *sst2)
measure("MiniLM with the sst2 head, SST-2 dev", [minilm, "--head", str(heads / "sst2.safetensors")], numbers, *sst2)
measure("MiniLM with the trec6 head, TREC test", [minilm, "--head", str(heads / "trec6.safetensors")], numbers, *trec)
