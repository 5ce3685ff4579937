"""Train the small sentiment classifier by distillation from teacher.py's model.

    export TRICE_SHARED=../shared
    python models/sentiment/teacher.py
    python models/sentiment/train.py --seconds 600
    python models/sentiment/export.py && python models/sentiment/check.py

Vocabulary: pieces of MiniLM's vocabulary that the texts use, filled up in
MiniLM's order. Word embeddings begin as a PCA of MiniLM's. Texts: the UCI
training sentences, variants of them (words exchanged for neighbours in MiniLM's
embedding, masked words, joined halves) and unlabelled sentences of Tatoeba and
TinyStories, all labelled by the teacher. The held-out tenth is only measured at
the end. Writes $TRICE_WORK/{vocab.txt,student.pt}.
"""
import argparse
import collections
import math
import random
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from common import CONTEXT, MINILM, SPECIALS, VOCAB, WORK, load_split, unlabelled, wordpiece
from teacher import accuracy, logits_of


def student_config(vocab):
    return BertConfig(vocab_size=vocab, hidden_size=128, num_hidden_layers=3, num_attention_heads=4,
                      intermediate_size=512, max_position_embeddings=CONTEXT, type_vocab_size=2,
                      hidden_act="gelu", layer_norm_eps=1e-12, num_labels=2)


def choose_vocab(tok, texts):
    count = collections.Counter()
    for ids in tok(texts)["input_ids"]:
        count.update(ids)
    by_id = sorted(tok.get_vocab().items(), key=lambda kv: kv[1])
    plain = [(p, i) for p, i in by_id if not p.startswith("[unused") and p not in SPECIALS]
    single = lambda p: len(p.removeprefix("##")) == 1 and (p[-1].isascii() or count[tok.get_vocab()[p]] > 0)
    keep = [p for p, i in plain if single(p)]
    rest = sorted((x for x in plain if x[0] not in set(keep)), key=lambda x: (-count[x[1]], x[1]))
    return SPECIALS + keep + [p for p, _ in rest[:VOCAB - len(SPECIALS) - len(keep)]]


def pca_embedding(tok, vocab, width):
    rows = load_file(MINILM / "model.safetensors")["embeddings.word_embeddings.weight"].float()
    rows = rows[[tok.get_vocab()[p] for p in vocab]]
    rows = rows - rows.mean(0)
    _, _, v = torch.linalg.svd(rows, full_matrices=False)
    out = rows @ v[:width].T
    return out * (0.05 / out.std())


def variants(tok, texts, per_text, rng):
    """Variants of `texts` to be labelled by the teacher."""
    rows = load_file(MINILM / "model.safetensors")["embeddings.word_embeddings.weight"].float()
    names = [p for p, _ in sorted(tok.get_vocab().items(), key=lambda kv: kv[1])]
    whole = [i for i, p in enumerate(names) if p.isalpha() and p.isascii() and len(p) > 2]
    unit = F.normalize(rows - rows[whole].mean(0), dim=-1)
    place = {names[i]: n for n, i in enumerate(whole)}
    near = {}

    def neighbour(word):
        n = place.get(word)
        if n is None:
            return word
        if n not in near:
            near[n] = (unit[whole] @ unit[whole[n]]).topk(13).indices[1:].tolist()
        return names[whole[rng.choice(near[n])]]

    split = [tok.backend_tokenizer.pre_tokenizer.pre_tokenize_str(
        tok.backend_tokenizer.normalizer.normalize_str(t)) for t in texts]
    words = [[w for w, _ in s] for s in split]
    out = []
    for own in words:
        for n in range(per_text):
            line = list(own)
            if n % 4 == 3:
                other = rng.choice(words)
                line = line[:rng.randint(1, len(line))] + other[rng.randrange(len(other)):]
            chance = rng.choice([0.1, 0.2, 0.35])
            for i, word in enumerate(line):
                u = rng.random()
                line[i] = neighbour(word) if u < chance else "[MASK]" if u < chance + 0.04 else word
            if len(line) > 6 and rng.random() < 0.3:
                at = rng.randrange(len(line) - 4)
                line = line[at:at + rng.randint(4, len(line))]
            out.append(" ".join(line))
    return sorted(set(out))


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--seconds", type=float, default=600)
    a.add_argument("--variants", type=int, default=14, help="variants of each training sentence")
    a.add_argument("--lr", type=float, default=1e-3)
    a.add_argument("--batch", type=int, default=96)
    a = a.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(11)
    rng = random.Random(11)
    train, held = load_split()
    big = AutoTokenizer.from_pretrained(MINILM)
    texts, labels = [t for t, _ in train], [l for _, l in train]
    more, extra = variants(big, texts, a.variants, rng), unlabelled()
    vocab = choose_vocab(big, texts * 5 + extra + more)
    (WORK / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf8")
    small = wordpiece(vocab)

    begin = time.time()
    cached = WORK / "labels.pt"
    if cached.exists() and torch.load(cached)["texts"] == texts + more + extra:
        soft, state = (torch.load(cached)[k] for k in ("soft", "state"))
    else:
        teacher = BertForSequenceClassification.from_pretrained(WORK / "teacher")
        soft, state = logits_of(teacher, big, texts + more + extra)
        torch.save(dict(texts=texts + more + extra, soft=soft, state=state), cached)
    ids = [e.ids for e in small.encode_batch(texts + more + extra)]
    print(f"{len(texts)} training sentences, {len(more)} variants, {len(extra)} unlabelled; vocabulary "
          f"{len(vocab)}; labelled in {time.time() - begin:.0f} s", flush=True)

    model = BertForSequenceClassification(student_config(len(vocab)))
    model.bert.embeddings.word_embeddings.weight.data.copy_(pca_embedding(big, vocab, 128))
    project = torch.nn.Linear(128, state.shape[1])
    params = [*model.parameters(), *project.parameters()]
    optimizer = torch.optim.AdamW(params, lr=a.lr, weight_decay=0.02)
    hard = torch.tensor(labels + [-1] * (len(ids) - len(labels)))
    # 1 epoch: every text once, the true training sentences four times.
    pool = list(range(len(ids))) + list(range(len(texts))) * 3
    begin, step, epoch, mean = time.time(), 0, 0, 0.0
    model.train()
    while time.time() - begin < a.seconds:
        rng.shuffle(pool)
        chunks = [sorted(pool[i:i + 4096], key=lambda n: len(ids[n])) for i in range(0, len(pool), 4096)]
        parts = [c[i:i + a.batch] for c in chunks for i in range(0, len(c), a.batch)]
        rng.shuffle(parts)
        for part in parts:
            done = min(1.0, (time.time() - begin) / a.seconds)
            scale = min(1.0, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * done))
            optimizer.param_groups[0]["lr"] = a.lr * max(scale, 0.005)
            width = max(len(ids[n]) for n in part)
            x = torch.zeros(len(part), width, dtype=torch.long)
            for row, n in zip(x, part):
                row[:len(ids[n])] = torch.tensor(ids[n])
            with torch.autocast("cpu", torch.bfloat16):
                out = model(input_ids=x, attention_mask=(x > 0).long(), output_hidden_states=True)
                far = 1 - F.cosine_similarity(project(out.hidden_states[-1][:, 0]).float(), state[part]).mean()
            logits = out.logits.float()
            loss = F.kl_div(F.log_softmax(logits / 2, -1), F.softmax(soft[part] / 2, -1), reduction="batchmean") * 4 + far
            if (hard[part] >= 0).any():
                loss = loss + 0.3 * F.cross_entropy(logits, hard[part], ignore_index=-1) * (hard[part] >= 0).float().mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            step, mean = step + 1, 0.99 * mean + 0.01 * loss.item()
            if done >= 1:
                break
        epoch += 1
        print(f"epoch {epoch}  step {step}  loss {mean:.4f}  {time.time() - begin:.0f} s", flush=True)
    torch.save(model.state_dict(), WORK / "student.pt")
    model.eval()
    for name, part in (("train", train), ("held out", held)):
        with torch.inference_mode():
            logits = torch.cat([model(input_ids=torch.tensor([small.encode(t).ids])).logits for t, _ in part])
        print(f"{name}: accuracy {accuracy(logits, [l for _, l in part]):.4f}", flush=True)


if __name__ == "__main__":
    main()
