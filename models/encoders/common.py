"""What the training steps share: the clock, the device, saving, measuring.

Nothing to run here; run.sh runs the steps. TRICE_DATA is gather.py's folder,
TRICE_WORK takes intermediate results; START (Unix time) and DEADLINE_S set the
clock, of which each step gets a share.
"""
import json
import math
import os
import pathlib
import time

import numpy as np
import torch
from safetensors.torch import save_file

from texts import DATA, SMOKE

WORK = pathlib.Path(os.environ.get("TRICE_WORK", "/tmp/trice-encoders"))
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
START = float(os.environ.get("START", time.time()))
DEADLINE = float(os.environ.get("DEADLINE_S", 210))
torch.backends.cuda.enable_cudnn_sdp(False)  # it would plan anew for every shape of batch
CONTEXT = 128  # ids of a text to classify


def elapsed():
    return time.time() - START


def say(*words):
    print(f"[{elapsed():5.1f} s]", *words, flush=True)


def autocast():
    return torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda")


class Clock:
    """Training until a share of the deadline has passed; gives the learning rate's factor."""

    def __init__(self, share, warmup, most=math.inf):
        self.begin, self.end = elapsed(), share * DEADLINE
        self.warmup, self.most, self.step = warmup, 4 if SMOKE else most, 0

    def done(self):
        passed = (elapsed() - self.begin) / max(1e-3, self.end - self.begin)
        return min(1.0, max(passed, self.step / self.most))

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


@torch.no_grad()
def apply(function, ids, tokens=65536 if DEVICE == "cuda" else 4096):
    """function(ids, mask) of every text, in order, in batches of like length."""
    order = np.argsort(ids.length, kind="stable")
    out, at = [], 0
    while at < len(order):
        size = max(1, tokens // int(ids.length[order[min(at + 4096, len(order)) - 1]]))
        rows = order[at:at + min(size, 4096)]
        out.append(function(*ids.batch(rows)))
        at += len(rows)
    out = torch.cat(out)
    back = torch.empty_like(out)
    back[torch.from_numpy(order).to(out.device)] = out
    return back


def accuracy(logits, rows):
    return (logits.argmax(-1).cpu() == torch.tensor([label for _, label in rows])).float().mean().item()


def save(name, tensors, config, prefix=""):
    """A Hugging Face folder WORK/name, in half precision."""
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file({prefix * (not n.startswith("classifier")) + n: t.half().contiguous().cpu() for n, t in tensors.items()},
              folder / "model.safetensors", metadata={"format": "pt"})
    pieces, width = tensors["embeddings.word_embeddings.weight"].shape
    (folder / "config.json").write_text(json.dumps({
        "model_type": "bert", "vocab_size": pieces, "hidden_size": width,
        "num_hidden_layers": sum(n.endswith("intermediate.dense.weight") for n in tensors), "num_attention_heads": 12,
        "intermediate_size": len(tensors["encoder.layer.0.intermediate.dense.weight"]),
        "max_position_embeddings": len(tensors["embeddings.position_embeddings.weight"]), "type_vocab_size": 2,
        "hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 0} | config, indent=1))
    (folder / "tokenizer.json").write_bytes((DATA / "tokenizer.json").read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "BertTokenizer", "do_lower_case": True, "unk_token": "[UNK]", "sep_token": "[SEP]",
        "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]",
        "model_max_length": len(tensors["embeddings.position_embeddings.weight"])}))
    return folder
