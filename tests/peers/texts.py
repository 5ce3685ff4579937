#!/usr/bin/env python3
"""Vectors of real texts by Trice's server and by sentence-transformers (torch on the CPU), in turn on the same texts.

    pip install torch sentence-transformers
    python3 tests/peers/texts.py TRICE SHARED [--many 512] [--one 64] [--rounds 5]

TRICE is the program, SHARED the folder of shared material; which device Trice takes is its own choice (VK_ICD_FILENAMES names a
driver). Prints a line per kind of texts, program and way: texts and tokens per second (special tokens counted, padding not), medians
of the rounds, and the least cosine to torch's vectors.
"""
import argparse
import base64
import csv
import http.client
import json
import re
import statistics
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer


class Trice:
    """`trice serve` on loopback; vectors travel as base64, as the official clients ask for them."""

    name = "trice"

    def __init__(self, program, model):
        command = [program, "serve", model, "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        address = next(match for line in self.process.stdout if (match := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
        self.port = int(address[1])
        threading.Thread(target=self.process.stdout.read, daemon=True).start()  # its log must not fill the pipe

    def embed(self, texts):
        body = json.dumps({"input": texts, "encoding_format": "base64"})
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("POST", "/v1/embeddings", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        data = json.loads(answer.read())
        connection.close()
        if answer.status != 200:
            raise SystemExit(f"trice: {data}")
        return np.stack([np.frombuffer(base64.b64decode(row["embedding"]), np.float32) for row in data["data"]])

    def close(self):
        self.process.terminate()
        self.process.wait()


class Torch:
    """It sorts by length and pads within batches of 32."""

    name = "sentence-transformers"

    def __init__(self, model):
        self.model = SentenceTransformer(model, device="cpu", model_kwargs={"dtype": torch.float32})  # faster there than the file's F16

    def embed(self, texts):
        return self.model.encode(texts, batch_size=32, show_progress_bar=False)

    def close(self):
        pass


def texts_of(shared):
    sst2 = (shared / "data/sst2/stsa.binary.dev").read_text(encoding="utf-8").split("\n")
    with open(shared / "data/ag_news/test.csv", encoding="utf-8", newline="") as file:
        news = [f"{title} {text}" for _, title, text in csv.reader(file)]
    return {"sst2": [line[2:] for line in sst2 if line], "ag_news": news}


def spread(texts, n):
    step = max(1, len(texts) // n)
    return texts[::step][:n]


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("trice")
    a.add_argument("shared", type=Path)
    a.add_argument("--many", type=int, default=512)
    a.add_argument("--one", type=int, default=64)
    a.add_argument("--rounds", type=int, default=5)
    a = a.parse_args()
    model = str(a.shared / "models/all-MiniLM-L6-v2")
    entrants = [Torch(model), Trice(a.trice, model)]
    tokenizer = entrants[0].model.tokenizer
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    for kind, texts in texts_of(a.shared).items():
        for n, at_once in (a.many, a.many), (a.one, 1):
            now = spread(texts, n)
            parts = [now[i : i + at_once] for i in range(0, n, at_once)]
            tokens = sum(min(len(ids), 256) for ids in tokenizer(now)["input_ids"])
            seconds = {entrant.name: [] for entrant in entrants}
            vectors = {}
            for number in range(a.rounds + 1):
                for entrant in entrants:
                    begin = time.perf_counter()
                    vectors[entrant.name] = np.concatenate([entrant.embed(part) for part in parts])
                    if number:  # the first round warms up
                        seconds[entrant.name].append(time.perf_counter() - begin)
            torchs = statistics.median(seconds[entrants[0].name])
            for entrant in entrants:
                took = statistics.median(seconds[entrant.name])
                ours, theirs = vectors[entrant.name], vectors[entrants[0].name]
                cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
                print(json.dumps({
                    "kind": kind, "batch": at_once, "program": entrant.name, "texts": n, "tokens": tokens,
                    "texts_per_s": round(n / took, 1), "tokens_per_s": round(tokens / took), "speed_to_torch": round(torchs / took, 3),
                    "cosine": round(float(cosine.min()), 5),
                }), flush=True)
    for entrant in entrants:
        entrant.close()


if __name__ == "__main__":
    main()
