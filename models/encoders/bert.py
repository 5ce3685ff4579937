"""BERT as functions over a dict of tensors, and a student whose matrices are rounded to Q4_0 as it learns.

Nothing to run here. Names are Hugging Face's, without "bert." in front.
"""
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

WIDTH, HEADS, FEED, LAYERS = 384, 12, 1152, (0, 1, 3, 5)  # which of MiniLM's six layers the student begins as


def hidden(w, ids, mask, drop=0.0):
    """Last states [texts, ids, width]."""
    norm = lambda x, name: F.layer_norm(x, x.shape[-1:], w[name + ".LayerNorm.weight"], w[name + ".LayerNorm.bias"], 1e-12)
    linear = lambda x, name: F.linear(x, w[name + ".weight"], w[name + ".bias"])
    split = lambda x: x.unflatten(-1, (HEADS, -1)).transpose(1, 2)
    x = F.embedding(ids, w["embeddings.word_embeddings.weight"]) + w["embeddings.position_embeddings.weight"][:ids.shape[1]]
    x = F.dropout(norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings"), drop)
    for i in range(layers(w)):
        at = f"encoder.layer.{i}."
        q, k, v = (split(linear(x, f"{at}attention.self.{part}")) for part in ("query", "key", "value"))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        y = linear(y.transpose(1, 2).flatten(2), at + "attention.output.dense")
        x = norm(x + F.dropout(y, drop), at + "attention.output")
        y = linear(F.gelu(linear(x, at + "intermediate.dense")), at + "output.dense")
        x = norm(x + F.dropout(y, drop), at + "output")
    return x


def layers(w):
    return sum(name.endswith("intermediate.dense.weight") for name in w)


def mean(states, mask):
    """The mean over a text's states, of length 1."""
    return F.normalize((states.float() * mask[..., None]).sum(1), dim=-1)


def vectors(w, ids, mask):
    return mean(hidden(w, ids, mask), mask)


def pooled(w, ids, mask, drop=0.0):
    """The first state through the pooler: what a classifier sees."""
    x = hidden(w, ids, mask, drop)[:, 0]
    return F.dropout(torch.tanh(F.linear(x, w["pooler.dense.weight"], w["pooler.dense.bias"])), drop)


def logits(w, ids, mask, drop=0.0):
    """Class logits."""
    return F.linear(pooled(w, ids, mask, drop), w["classifier.weight"], w["classifier.bias"]).float()


def minilm(path, device):
    return {n: t.to(device).float() for n, t in load_file(path).items() if not n.endswith("position_ids")}


def student_of(teacher, pieces, context):
    """MiniLM with fewer layers, pieces and positions, and the feed-forward neurons of the largest weights."""
    out = {}
    for name, t in teacher.items():
        if not name.startswith("encoder."):
            out[name] = t
    out["embeddings.word_embeddings.weight"] = out["embeddings.word_embeddings.weight"][pieces]
    out["embeddings.position_embeddings.weight"] = out["embeddings.position_embeddings.weight"][:context]
    for i, layer in enumerate(LAYERS):
        part = {n.removeprefix(f"encoder.layer.{layer}."): t for n, t in teacher.items() if n.startswith(f"encoder.layer.{layer}.")}
        up, down = part["intermediate.dense.weight"], part["output.dense.weight"]
        best = (up.norm(dim=1) * down.norm(dim=0)).topk(FEED).indices.sort().values
        part["intermediate.dense.weight"], part["output.dense.weight"] = up[best], down[:, best]
        part["intermediate.dense.bias"] = part["intermediate.dense.bias"][best]
        out |= {f"encoder.layer.{i}.{n}": t for n, t in part.items()}
    return {n: t.clone() for n, t in out.items()}


def rounded_q4_0(x):
    """What GGUF's Q4_0 makes of blocks of 32: the value of largest magnitude becomes -8 steps of a 16-bit scale."""
    blocks = x.reshape(-1, 32)
    low, high = blocks.aminmax(dim=1, keepdim=True)
    scale = torch.where(-low >= high, low, high) / -8
    steps = blocks * torch.where(scale == 0, 0, 1 / scale)
    return steps.add_(0.5).floor_().clamp_(-8, 7).mul_(scale.half().float()).view_as(x)


def is_rounded(name):
    return name.endswith(".weight") and "LayerNorm" not in name and not any(
        part in name for part in ("position", "token_type", "classifier"))


class Student:
    """Trained tensors: all matrices that will be rounded in one flat parameter, the others each alone."""

    def __init__(self, tensors):
        self.shapes = {n: t.shape for n, t in tensors.items() if is_rounded(n)}
        self.flat = torch.cat([tensors[n].flatten() for n in self.shapes]).detach().float().requires_grad_()
        self.rest = {n: t.detach().float().clone().requires_grad_() for n, t in tensors.items() if n not in self.shapes}
        self.rounds = False

    def parameters(self):
        return [self.flat, *self.rest.values()]

    def tensors(self):
        """Of the forward pass: rounded, where it rounds, with the gradient of what was not."""
        flat = self.flat
        if self.rounds:
            flat = flat + (rounded_q4_0(self.flat.detach()) - self.flat.detach())
        parts = flat.split([s.numel() for s in self.shapes.values()])
        return {n: p.view(s) for (n, s), p in zip(self.shapes.items(), parts)} | self.rest

    @torch.no_grad()
    def copy(self):
        """Tensors to save; where it rounds, matrices lie on Q4_0's steps, so that rounding them again changes nothing."""
        return {n: t.detach().clone() for n, t in self.tensors().items()}
