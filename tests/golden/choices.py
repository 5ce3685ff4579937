#!/usr/bin/env python3
"""Writes choices.json: log-likelihoods of continuations by torch, for tests/it/gpu_choices.rs.

    pip install -r requirements.txt
    python3 choices.py

The models are those of decoders.json, by name. Per case: 30 ids of a prompt, six continuations of 1 to 6 ids, and the sum over the
ids of each of ln p behind the prompt and the ids before it.
"""
import json
import os

import torch

from decoders import CASES, Folder, Weights, hf
from hashed import write

NAMES = ["llama", "mistral, window", "qwen3", "gemma2", "gpt2", "granite", "phi"]
N_PROMPT = 30
# Choices nearer to each other than this would test the rounding.
MIN_GAP = 1e-3


def salts():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "decoders.json")) as file:
        return {case["name"]: case["weights"]["salt"] for case in json.load(file)}


@torch.no_grad()
def run(case, salt):
    config = case.config()
    center = 0.0 if config.model_type.startswith("gemma") else 1.0
    model = Folder(getattr(hf, case.kind), config, Weights(case.scale, center), case.edit).load(salt)
    prompt = [(i * 29 + 13) % config.vocab_size for i in range(N_PROMPT)]
    choices = [[(i * 17 + n * 31 + 5) % config.vocab_size for i in range(n)] for n in range(1, 7)]
    sums = []
    for choice in choices:
        logprobs = model(torch.tensor([prompt + choice]), use_cache=False).logits[0].log_softmax(-1)
        sums.append(sum(float(logprobs[N_PROMPT - 1 + i, id]) for i, id in enumerate(choice)))
    for values in (sums, [value / len(choice) for value, choice in zip(sums, choices)]):
        ordered = sorted(values)
        assert min(b - a for a, b in zip(ordered, ordered[1:])) > MIN_GAP, (case.name, values)
    return dict(name=case.name, prompt=prompt, choices=choices, log_likelihoods=sums)


if __name__ == "__main__":
    known = salts()
    write("choices.json", [run(case, known[case.name]) for case in CASES if case.name in NAMES])
