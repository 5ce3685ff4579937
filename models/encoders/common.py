"""What the training steps share: the clock, batches of ragged texts, saving.

Nothing to run here. TRICE_WORK takes what the steps make. A GPU is used where there is one.
"""
import json
import math
import os
import pathlib
import time

import numpy as np
import torch
from safetensors.torch import save_file

WORK = pathlib.Path(os.environ.get("TRICE_WORK", "/tmp/trice-encoders"))
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
START = time.time()


def elapsed():
    return time.time() - START


def say(*words):
    print(f"[{elapsed():6.1f} s]", *words, flush=True)


def autocast():
    return torch.autocast(DEVICE, torch.bfloat16)


class Clock:
    """Counts steps until `seconds` have passed; gives the learning rate's factor: warm-up, then a cosine to 1 %."""

    def __init__(self, seconds, warmup):
        self.begin, self.seconds, self.warmup, self.step = elapsed(), seconds, warmup, 0

    def done(self):
        return min(1.0, (elapsed() - self.begin) / self.seconds)

    def factor(self):
        self.step += 1
        return min(1.0, self.step / self.warmup) * max(0.01, 0.5 + 0.5 * math.cos(math.pi * self.done()))


def step(optimizer, loss, rate, parameters):
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()


class Ids:
    """Ragged token ids: one flat array, where each text begins and how long it is."""

    def __init__(self, tokenizer, texts, context):
        rows = [e.ids if len(e.ids) <= context else e.ids[:context - 1] + e.ids[-1:] for e in tokenizer.encode_batch(texts)]
        self.length = np.array([len(r) for r in rows], dtype=np.int64)
        self.begin = np.concatenate([[0], np.cumsum(self.length)[:-1]])
        self.flat = np.fromiter((i for r in rows for i in r), dtype=np.int64, count=self.length.sum())

    def batch(self, rows):
        """(ids, mask) [texts, longest] of texts `rows`, padded with 0."""
        at = np.arange(self.length[rows].max())
        mask = at < self.length[rows, None]
        ids = self.flat[(self.begin[rows, None] + at).clip(max=len(self.flat) - 1)] * mask
        return torch.from_numpy(ids).to(DEVICE), torch.from_numpy(mask).to(DEVICE)


def batches(length, rows, tokens, rng):
    """`rows` in random batches of texts of like length, of about `tokens` ids with padding."""
    order = rows[np.argsort(length[rows] + 2 * rng.random(len(rows)))]
    out, at = [], 0
    while at < len(order):
        some = length[order[at:at + tokens // 2]]
        longest = np.maximum.accumulate(some)
        size = max(1, int((longest * np.arange(1, len(some) + 1) <= tokens).sum()))
        out.append(order[at:at + size])
        at += size
    return [out[i] for i in rng.permutation(len(out))]


@torch.no_grad()
def apply(function, ids, tokens=8192):
    """function(ids, mask) of every text, in order."""
    parts = batches(ids.length, np.arange(len(ids.length)), tokens, np.random.default_rng(0))
    out = torch.cat([function(*ids.batch(rows)).float() for rows in parts])
    back = torch.empty_like(out)
    back[torch.from_numpy(np.concatenate(parts)).to(DEVICE)] = out
    return back


def fitted(x, labels, decay):
    """(weight, bias) of the linear classifier that fits rows `x` [texts, width] best, but for `decay` times its weight squared."""
    weight = torch.zeros(int(labels.max()) + 1, x.shape[1], device=x.device, requires_grad=True)
    bias = torch.zeros(len(weight), device=x.device, requires_grad=True)
    fit = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        fit.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ weight.T + bias, labels) + decay * weight.square().sum()
        loss.backward()
        return loss
    fit.step(closure)
    return weight.detach(), bias.detach()


def save(name, tensors, config, prefix=""):
    """A Hugging Face folder WORK/name, in half precision."""
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file({prefix * (not n.startswith("classifier")) + n: t.half().contiguous().cpu() for n, t in tensors.items()},
              folder / "model.safetensors", metadata={"format": "pt"})
    pieces, width = tensors["embeddings.word_embeddings.weight"].shape
    context = len(tensors["embeddings.position_embeddings.weight"])
    (folder / "config.json").write_text(json.dumps({
        "model_type": "bert", "vocab_size": pieces, "hidden_size": width,
        "num_hidden_layers": sum(n.endswith("intermediate.dense.weight") for n in tensors), "num_attention_heads": 12,
        "intermediate_size": len(tensors["encoder.layer.0.intermediate.dense.weight"]),
        "max_position_embeddings": context, "type_vocab_size": 2,
        "hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 0} | config, indent=1))
    (folder / "tokenizer.json").write_bytes((WORK / "tokenizer.json").read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "BertTokenizer", "do_lower_case": True, "unk_token": "[UNK]", "sep_token": "[SEP]",
        "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]", "model_max_length": context}))
    return folder
