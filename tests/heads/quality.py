#!/usr/bin/env python3
"""How well heads learnt from examples label real texts: each data set's training part is learnt from, its test part examined.

    python3 tests/heads/quality.py TRICE SHARED MODEL      # TRICE: the program; SHARED: the folder of shared material; MODEL: an encoder

Prints a line per data set. Numbers stand in docs/TASKS.md. Of CLINC150 the in-scope texts are taken; of the UCI sentences every fifth
is examined.
"""
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

TRICE, SHARED, MODEL = sys.argv[1], Path(sys.argv[2]) / "data", sys.argv[3]


def first_word(path):
    """Lines of a label, a space and a text."""
    return [line.split(" ", 1)[::-1] for line in path.read_text(encoding="latin-1").splitlines() if " " in line]


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return [[row["text"], row["category"]] for row in csv.DictReader(file)]


def uci():
    rows = []
    for path in sorted((SHARED / "uci-sentences").glob("*_labelled.txt")):
        rows += [line.rsplit("\t", 1) for line in path.read_text(encoding="utf-8").split("\n") if "\t" in line]
    return [row for i, row in enumerate(rows) if i % 5], rows[::5]


def data_sets():
    clinc = json.loads((SHARED / "clinc150/data_full.json").read_text(encoding="utf-8"))
    yield "banking77", table(SHARED / "banking77/train.csv"), table(SHARED / "banking77/test.csv")
    yield "clinc150, in scope", clinc["train"] + clinc["val"], clinc["test"]
    yield "trec, 6 classes", first_word(SHARED / "trec/TREC.train.all"), first_word(SHARED / "trec/TREC.test.all")
    yield "sst2 dev", first_word(SHARED / "sst2/stsa.binary.train"), first_word(SHARED / "sst2/stsa.binary.dev")
    yield "uci-sentences", *uci()


def main():
    for name, train, test in data_sets():
        with tempfile.TemporaryDirectory() as folder:
            paths = {}
            for part, rows in (("train", train), ("test", test)):
                paths[part] = str(Path(folder) / f"{part}.csv")
                with open(paths[part], "w", newline="", encoding="utf-8") as file:
                    csv.writer(file).writerows([["text", "label"], *rows])
            command = [TRICE, "classify", MODEL, "--train", paths["train"], "--test", paths["test"], "--json", "-q"]
            done = subprocess.run([*command, "-o", str(Path(folder) / "head.safetensors")], capture_output=True, text=True, check=True)
        learnt, examined = map(json.loads, done.stdout.splitlines())
        held_out = 100 * learnt["held_out"]["accuracy"]
        print(
            f"{name}: {learnt['labels']} labels, {learnt['examples']} examples in {learnt['seconds']:.1f} s, held out {held_out:.2f} %, "
            f"test {100 * examined['accuracy']:.2f} % ({examined['right']} of {examined['examples']}), macro F1 {examined['macro_f1']:.4f}",
            flush=True,
        )


main()
