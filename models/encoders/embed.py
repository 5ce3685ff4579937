"""Distil MiniLM's sentence vectors into the student: builtin:embed, and the start of the classifiers.

    python models/encoders/embed.py [--share 0.6] [--variants 1400000]

The student begins as a cut MiniLM, and learns to give MiniLM's vector for every
text of the corpus and for variants of them. In the second half its matrices are
rounded to Q4_0 in every step. Writes WORK/encoder.pt and the folder WORK/embed.
"""
import argparse
import os

import numpy as np
import torch
import torch.nn.functional as F

import bert
from common import DEVICE, WORK, Clock, apply, autocast, elapsed, save, say, step
from texts import DATA, SMOKE, Ids, Variants, batches, encode, read, tokenizers

CONTEXT, TOKENS, ROWS, RATE = 256, 49152, 2048, 6e-4


def probe(train, labels, test, answers):
    """Accuracy in % of a linear classifier fitted to the vectors `train`."""
    labels, answers = (torch.tensor(x, device=train.device) for x in (labels, answers))
    w = torch.zeros(int(labels.max()) + 1, train.shape[1], device=train.device, requires_grad=True)
    b = torch.zeros(len(w), device=train.device, requires_grad=True)
    fit = torch.optim.LBFGS([w, b], max_iter=2 if SMOKE else 150, line_search_fn="strong_wolfe")

    def closure():
        fit.zero_grad()
        loss = F.cross_entropy(train @ w.T * 10 + b, labels) + 1e-4 * (w * w).sum()
        loss.backward()
        return loss
    fit.step(closure)
    return 100 * ((test @ w.T * 10 + b).argmax(-1) == answers).float().mean().item()


def measure(name, vectors_of, tasks, judged, reference=None):
    """Says how good `vectors_of(texts)` is; returns its vectors of the judged texts."""
    limit = 12 if SMOKE else None
    got = {kind: vectors_of([t if isinstance(t, str) else t[0] for t in texts[:limit]]) for kind, texts in judged.items()}
    gold = torch.tensor([n for _, n in judged["questions"][:limit]], device=DEVICE)
    top = (got["questions"] @ got["contexts"].T).topk(5).indices == gold[:, None]
    say(f"{name}: xquad contexts found first {100 * top[:, 0].float().mean():.2f} %, among five {100 * top.any(1).float().mean():.2f} %")
    for kind, vectors in (reference or {}).items():
        say(f"{name}: cosine to MiniLM on {kind}: {(got[kind] * vectors).sum(-1).mean():.4f}")
    for data, task, test in (("clinc150", "intent", "clinc150 test"), ("banking77", "intent", "banking77 test"),
                             ("uci", "sentiment", "uci")):
        own = set(tasks[task].get("own", {}).get(data, [0, 1]))
        train, held = [r for r in tasks[task]["train"] if r[1] in own][:limit], tasks[task]["held"][test][:limit]
        score = probe(vectors_of([t for t, _ in train]), [l for _, l in train], vectors_of([t for t, _ in held]), [l for _, l in held])
        say(f"{name}: linear head on {data}, all training texts: {score:.2f} %")
    return got


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--share", type=float, default=0.6, help="of the deadline, until training ends")
    a.add_argument("--variants", type=int, default=60 if SMOKE else 1_400_000)
    a = a.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    sources, given = read("corpus.json.xz"), read("tasks.json.xz")
    texts = [t for source in sources.values() for t in source]
    if SMOKE:
        texts = texts[::8000]
    long = [t for t in texts if t.count(" ") >= 3]
    workers = max(1, (os.cpu_count() or 2) - 4)
    (big, small), place = encode(texts, Variants(long), a.variants, CONTEXT, workers)
    say(f"{len(texts)} texts and {len(small.length) - len(texts)} variants, {big.length.sum()} and {small.length.sum()} ids")

    teacher = bert.minilm(DATA / "minilm.safetensors", DEVICE)
    pair = tokenizers(CONTEXT)
    pieces = [pair[0].token_to_id(pair[1].id_to_token(n)) for n in range(pair[1].get_vocab_size())]
    student = bert.Student(bert.student_of(teacher, pieces, CONTEXT))
    big.to(DEVICE), small.to(DEVICE)

    def vectors_with(w, tokenizer):
        def of(texts):
            with autocast():
                return apply(lambda ids, mask: bert.vectors(w, ids, mask), Ids.encoded(tokenizer, texts).to(DEVICE))
        return of

    with autocast():
        wanted = apply(lambda ids, mask: bert.vectors(teacher, ids, mask).half(), big)
    say("labelled by MiniLM")
    reference = measure("MiniLM", vectors_with(teacher, pair[0]), given["tasks"], given["judged"])

    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=DEVICE == "cuda")
    pool = np.concatenate([np.arange(len(small.length)), place])  # real texts count twice
    clock, epoch, saved, mean = Clock(a.share, 300), 0, elapsed(), torch.zeros(2, device=DEVICE)
    while clock.done() < 1:
        for rows in batches(small.length, pool, 256 if SMOKE else TOKENS, ROWS, rng):
            student.rounds = clock.done() > 0.5
            with autocast():
                got = bert.vectors(student.tensors(), *small.batch(rows))
            want = wanted[torch.from_numpy(rows).to(DEVICE)].float()
            far = 1 - (got * want).sum(-1).mean()
            pairs = F.mse_loss(got @ got.T, want @ want.T)
            step(optimizer, far + 10 * pairs, RATE * clock.factor(), student.parameters())
            mean = mean.lerp(torch.stack([far.detach(), pairs.detach()]), 0.01)
            if clock.step % 500 == 0:
                say(f"epoch {epoch} step {clock.step}: 1 - cosine {mean[0]:.4f}, of pairs {mean[1]:.5f}, rounded {student.rounds}")
            if elapsed() - saved > 30:
                torch.save(student.final(), WORK / "encoder.pt")
                saved = elapsed()
            if clock.done() >= 1:
                break
        epoch += 1
    say(f"trained {clock.step} steps, {epoch} epochs")
    final = student.final()
    torch.save(final, WORK / "encoder.pt")
    kept = {n: t for n, t in final.items() if not n.startswith("pooler")}
    folder = save("embed", kept, {"architectures": ["BertModel"]})
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling/config.json").write_text('{"word_embedding_dimension": 384, "pooling_mode_mean_tokens": true}')
    (folder / "modules.json").write_text('[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}, '
                                         '{"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}, '
                                         '{"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]')
    measure("embed", vectors_with(kept, pair[1]), given["tasks"], given["judged"], reference)


if __name__ == "__main__":
    main()
