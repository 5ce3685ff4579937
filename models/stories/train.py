"""Train the story model.

    export TRICE_SHARED=../shared
    python models/stories/sample.py --seconds 170 --seed 1
    python models/stories/sample.py --seconds 480 --seed 2 --temperature 0.8 --top-p 0.95
    python models/stories/tokenizer.py
    python models/stories/train.py --seconds 2640
    python models/stories/export.py && python models/stories/check.py

Each batch row is one document, BOS ... EOS; rows of like length share a batch.
Batches are drawn from the real stories (share --real) and the sampled ones.
Muon for the matrices, AdamW for embedding and norms; the learning rate follows
a cosine over the wall-clock budget, so the run ends on time on any machine.
bf16 matmuls, float32 weights. Writes $TRICE_WORK/model.pt.
"""
import argparse
import math
import random
import time

import torch
import torch.nn.functional as F

from common import EOT, WORK, Llama, load_samples, load_split, load_tokenizer, perplexity


def encode(tok, docs, cut):
    eot = tok.token_to_id(EOT)
    return [([eot] + e.ids + [eot])[:cut + 1] for e in tok.encode_batch(docs)]


def batches(docs, budget, rng):
    """Endless batches of about `budget` tokens, rows of like length, padded with -1."""
    while True:
        rng.shuffle(docs)
        for at in range(0, len(docs), 1024):
            pool = sorted(docs[at:at + 1024], key=len)
            out, rows = [], []
            for d in pool:
                if rows and (len(rows) + 1) * len(d) > budget:
                    out.append(rows)
                    rows = []
                rows.append(d)
            out.append(rows)
            rng.shuffle(out)
            for rows in out:
                ids = torch.full((len(rows), max(map(len, rows))), -1)
                for r, d in zip(ids, rows):
                    r[:len(d)] = torch.tensor(d)
                yield ids


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--seconds", type=float, default=2640)
    a.add_argument("--batch", type=int, default=4096, help="tokens per step")
    a.add_argument("--real", type=float, default=0.4, help="share of batches from real stories")
    a.add_argument("--lr", type=float, default=0.02, help="peak rate of Muon")
    a.add_argument("--adam-lr", type=float, default=0.003)
    a.add_argument("--threads", type=int, default=1)
    a.add_argument("--no-compile", action="store_true")
    a = a.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(7)
    rng = random.Random(7)

    tok = load_tokenizer()
    head, train, tail = load_split()
    model = Llama()
    real = encode(tok, train, model.c["context"])
    sampled = encode(tok, load_samples(head + tail), model.c["context"])
    count = lambda docs: sum(map(len, docs)) / 1e6
    print(f"{sum(p.numel() for p in model.parameters())} parameters; {len(real)} real documents, "
          f"{count(real):.2f} M tokens; {len(sampled)} sampled, {count(sampled):.2f} M", flush=True)
    sources = [batches(real, a.batch, rng), batches(sampled, a.batch, rng)]

    matrices = [p for p in model.blocks.parameters() if p.dim() == 2]
    others = [model.embed.weight] + [p for p in model.parameters() if p.dim() == 1]
    optimizers = [torch.optim.Muon(matrices, lr=a.lr, weight_decay=0.05, momentum=0.95),
                  torch.optim.AdamW(others, lr=a.adam_lr, betas=(0.9, 0.95), weight_decay=0.0)]
    peaks = [a.lr, a.adam_lr]

    def loss_of(ids):
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(ids[:, :-1].clamp(min=0))
        target = ids[:, 1:].reshape(-1)
        return F.cross_entropy(logits.float().view(-1, logits.shape[-1]), target, ignore_index=-1)

    compiled = loss_of if a.no_compile else torch.compile(loss_of, dynamic=True)
    if not a.no_compile:  # compile outside the time budget
        for _ in range(3):
            compiled(next(sources[1])).backward()
        model.zero_grad()

    begin = last = time.time()
    step = tokens = 0
    mean = [0.0, 0.0]
    while (done := (time.time() - begin) / a.seconds) < 1:
        scale = min(1.0, (step + 1) / 60) * (0.5 + 0.5 * math.cos(math.pi * done))
        for optimizer, peak in zip(optimizers, peaks):
            optimizer.param_groups[0]["lr"] = peak * max(scale, 0.01)
        which = 0 if rng.random() < a.real else 1
        ids = next(sources[which])
        loss = compiled(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        tokens += int((ids[:, 1:] >= 0).sum())
        mean[which] = loss.item() if step < 20 else 0.95 * mean[which] + 0.05 * loss.item()
        if time.time() - last > 150:
            last = time.time()
            ppl = perplexity(model, tok, tail)[2]
            print(f"{done:5.2f}  step {step}  {tokens / 1e6:.2f} M tokens  loss real {mean[0]:.3f} "
                  f"sampled {mean[1]:.3f}  held-out tail ppl {ppl:.3f}", flush=True)
            torch.save(model.state_dict(), WORK / "model.pt")
    torch.save(model.state_dict(), WORK / "model.pt")
    for name, docs in (("head", head), ("tail", tail)):
        nll, n, ppl = perplexity(model, tok, docs)
        print(f"float32 {name}: sum_nll {nll:.4f}  tokens {n}  ppl {ppl:.4f}", flush=True)
    print(f"{step} steps, {tokens} tokens, {time.time() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
