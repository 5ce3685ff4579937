"""Distil MiniLM's sentence vectors into the student: builtin:embed, and the start of the classifiers.

    python models/encoders/embed.py [--seconds 2130]
    python models/encoders/embed.py --again [--seconds 840]    goes on from WORK/encoder.pt, the texts in another order

The student begins as a cut MiniLM and learns to give MiniLM's vector for every text of the corpus, the likenesses of
the texts of a batch and, where both tokenizers cut a text alike, MiniLM's last states. MiniLM reads each batch as it
comes. In the last two fifths of the time matrices are rounded to Q4_0 in every step. Writes WORK/tokenizer.json, WORK/encoder.pt
and the folder WORK/embed.
"""
import argparse

import numpy as np
import torch
import torch.nn.functional as F

import bert
import data
from common import DEVICE, WORK, Clock, Ids, apply, autocast, batches, elapsed, save, say, step
from vocabulary import minilm_tokenizer, small_tokenizer

CONTEXT, TOKENS, RATE = 256, 4096, 5e-4
POOLING = {
    "1_Pooling/config.json": '{"word_embedding_dimension": 384, "pooling_mode_mean_tokens": true}',
    "modules.json": '[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}, '
                    '{"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}, '
                    '{"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]',
}


def cut_alike(big, small, pieces):
    """Of which texts both tokenizers make the same pieces."""
    alike = big.length == small.length
    for n in np.flatnonzero(alike):
        at, to, length = small.begin[n], big.begin[n], small.length[n]
        alike[n] = (pieces[small.flat[at:at + length]] == big.flat[to:to + length]).all()
    return alike


def losses(student, teacher, small, big, alike, rows):
    """(1 - cosine, squared error of likenesses, relative squared error of last states) of a batch."""
    with autocast():
        ids, mask = small.batch(rows)
        states = bert.hidden(student, ids, mask)
        with torch.no_grad():
            wanted_ids, wanted_mask = big.batch(rows)
            wanted_states = bert.hidden(teacher, wanted_ids, wanted_mask)
    got, want = bert.mean(states, mask), bert.mean(wanted_states, wanted_mask)
    same = torch.from_numpy(alike[rows]).to(DEVICE)
    longest = int((mask & same[:, None]).any(0).sum())
    near = (mask & same[:, None])[:, :longest]
    a, b = states[:, :longest][near].float(), wanted_states[:, :longest][near].float()
    of_states = (a - b).square().sum() / b.square().sum().clamp(min=1)
    return 1 - (got * want).sum(-1).mean(), F.mse_loss(got @ got.T, want @ want.T), of_states


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--seconds", type=float, default=2130)
    a.add_argument("--again", action="store_true")
    a = a.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2 if a.again else 1)
    sources = data.corpus()
    big_tokenizer = minilm_tokenizer()
    own_tokenizer = small_tokenizer(big_tokenizer, sources)
    own_tokenizer.save(str(WORK / "tokenizer.json"))
    pieces = np.array([big_tokenizer.token_to_id(own_tokenizer.id_to_token(n)) for n in range(own_tokenizer.get_vocab_size())])
    texts = [t for source in sources.values() for t in source]
    big, small = (Ids(tokenizer, texts, CONTEXT) for tokenizer in (big_tokenizer, own_tokenizer))
    alike = cut_alike(big, small, pieces)
    say({name: len(texts) for name, texts in sources.items()})
    say(f"{len(texts)} texts, {small.length.sum()} ids, {100 * alike.mean():.1f} % of the texts cut alike")

    teacher = bert.minilm(data.MINILM / "model.safetensors", DEVICE)
    begun = torch.load(WORK / "encoder.pt", map_location=DEVICE) if a.again else bert.student_of(teacher, pieces, CONTEXT)
    student = bert.Student(begun)
    teacher = {name: t.bfloat16() for name, t in teacher.items()}
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    clock, epoch, saved, means = Clock(a.seconds, 100), 0, elapsed(), None
    while clock.done() < 1:
        for rows in batches(small.length, np.arange(len(texts)), TOKENS, rng):
            student.rounds = clock.done() > 0.6
            parts = torch.stack(losses(student.tensors(), teacher, small, big, alike, rows))
            step(optimizer, parts @ parts.new_tensor([2.0, 10.0, 0.5]), RATE * clock.factor(), student.parameters())
            means = parts.detach() if means is None else means.lerp(parts.detach(), 0.02)
            if clock.step % 20 == 0:
                say(f"epoch {epoch} step {clock.step}: 1 - cosine {means[0]:.4f}, of pairs {means[1]:.5f}, "
                    f"of states {means[2]:.4f}, rounded {student.rounds}")
            if elapsed() - saved > 300:
                torch.save(student.copy(), WORK / "encoder.pt")
                saved = elapsed()
            if clock.done() >= 1:
                break
        epoch += 1
    student.rounds = True
    final = student.copy()
    torch.save(final, WORK / "encoder.pt")
    folder = save("embed", {n: t for n, t in final.items() if not n.startswith("pooler")}, {"architectures": ["BertModel"]})
    (folder / "1_Pooling").mkdir(exist_ok=True)
    for name, text in POOLING.items():
        (folder / name).write_text(text)
    say(f"trained {clock.step} steps, {epoch} epochs")
    held = [t for t, _ in data.xquad()[1]] + data.news()
    vectors = lambda w, tokenizer: apply(lambda *x: bert.vectors(w, *x), Ids(tokenizer, held, CONTEXT))
    with autocast():
        cosines = (vectors(final, own_tokenizer) * vectors(teacher, big_tokenizer)).sum(-1)
    say(f"cosine to MiniLM on {len(held)} held-out questions and headlines: {cosines.mean():.4f}")


if __name__ == "__main__":
    main()
