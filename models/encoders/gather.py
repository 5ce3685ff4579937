"""Gather what the training reads into one folder that can travel.

    python models/encoders/gather.py --wordnet DIR OUT

DIR holds WordNet 3.0's data.noun, data.verb, data.adj and data.adv (Debian's
wordnet-base). Writes OUT/corpus.json.xz (unlabelled English), OUT/tasks.json.xz
(labelled, with what is held out), OUT/tokenizer.json (pieces of MiniLM's that the
texts use) and OUT/minilm (the teacher). Only data whose licence lets models
trained on it be given away goes into the corpus; a text equal to a held-out one
is dropped.
"""
import argparse
import collections
import csv
import json
import lzma
import os
import pathlib
import re
import shutil

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer, models, processors

SHARED = pathlib.Path(os.environ.get("TRICE_SHARED", "../shared"))
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCAB = 7680
SENTENCE = re.compile(r"(?<=[.!?])[\"']?\s+")


def read(path):
    return (SHARED / "data" / path).read_text(encoding="utf8")


def key(text):
    return " ".join(text.lower().split())


def detokenized(text):
    """Treebank spacing ("wo n't , really") to ordinary English."""
    text = re.sub(r" (n't|'s|'re|'ve|'ll|'d|'m)\b", r"\1", text)
    text = re.sub(r"\s+([,.!?;:)])", r"\1", text).replace("( ", "(").replace("-lrb- ", "(").replace(" -rrb-", ")")
    return text.replace("`` ", '"').replace(" ''", '"')


def uci():
    """(train, held out): lines 10, 20, 30, ... of each file are held out."""
    train, held = [], []
    for name in ("amazon_cells", "imdb", "yelp"):
        lines = [line for line in read(f"uci-sentences/{name}_labelled.txt").split("\n") if line]
        for number, line in enumerate(lines, 1):
            text, label = line.rsplit("\t", 1)
            (held if number % 10 == 0 else train).append([text.strip(), int(label)])
    return train, held


def sst2(part):
    return [[line[2:].strip(), int(line[0])] for line in read(f"sst2/stsa.binary.{part}").split("\n") if line]


def banking(part):
    return [[row["text"].strip(), row["category"]] for row in csv.DictReader(read(f"banking77/{part}.csv").splitlines())]


def tasks():
    clinc = json.loads(read("clinc150/data_full.json"))
    names = sorted({label for _, label in clinc["train"]} | set(json.loads(read("banking77/categories.json"))))
    number = {name: n for n, name in enumerate(names)}
    numbered = lambda rows: [[text, number[label]] for text, label in rows]
    train, held = uci()
    film = sst2("train")
    return {
        "intent": {
            "labels": names,
            "train": numbered(clinc["train"] + banking("train")),
            "held": {"clinc150 val": numbered(clinc["val"]), "clinc150 test": numbered(clinc["test"]),
                     "banking77 test": numbered(banking("test"))},
            "own": {"clinc150": sorted({number[l] for _, l in clinc["train"]}),
                    "banking77": sorted({number[l] for _, l in banking("train")})},
        },
        "sentiment": {
            "labels": ["NEGATIVE", "POSITIVE"], "train": train,
            "held": {"uci": held, "sst2 dev": sst2("dev")},
        },
        "sentiment-sst": {
            "labels": ["NEGATIVE", "POSITIVE"], "train": train + film + [[detokenized(t), l] for t, l in film],
            "held": {"uci": held, "sst2 dev": sst2("dev")},
        },
    }


def wordnet(folder):
    """Definitions with their words in front, and example sentences."""
    texts = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text(encoding="latin-1").split("\n"):
            if not line or line.startswith(" ") or "|" not in line:
                continue
            fields, gloss = line.split("|", 1)
            fields = fields.split()
            words = [fields[4 + 2 * i].split("(")[0].replace("_", " ") for i in range(int(fields[3], 16))]
            for n, piece in enumerate(re.split(r";\s*(?=\")", gloss.strip())):
                piece = piece.strip().strip('"').strip()
                if len(piece) > 3:
                    texts.append(piece if n else f"{words[0]}: {piece}")
            texts.extend(word for word in words if len(word) > 2)
    return texts


def corpus(folder):
    """Unlabelled texts of each source; paragraphs stay whole beside their sentences."""
    wiki = read("wikitext2/valid.txt") + read("wikitext2/test.txt")
    wiki = wiki.replace(" @-@ ", "-").replace(" @,@ ", ",").replace(" @.@ ", ".").replace("<unk>", "something")
    wiki = [detokenized(line.strip()) for line in wiki.split("\n") if len(line) > 60 and not line.startswith(" =")]
    stories = [s.strip() for s in read("tinystories/tinystories_train_head_2MiB.txt").split("<|endoftext|>")]
    stories = [p for story in stories for p in story.split("\n") if len(p) > 30]
    plays = [" ".join(s.split("\n")[1:]) for s in read("tinyshakespeare/input.txt").split("\n\n")]
    tweets = [" ".join(line.split("\t")[0] for line in part.split("\n"))
              for part in re.split(r"\n\s*\n", read("wnut17/wnut17train.conll"))]
    tasks = [json.loads(line) for name in ("seed_tasks", "user_oriented_instructions")
             for line in read(f"instructions/{name}.jsonl").split("\n") if line]
    prompts = [text for task in tasks for text in
               [task["instruction"]] + [x[k][:600] for x in task["instances"][:2] for k in ("input", "output")]]
    halves = lambda texts: texts + [s for t in texts for s in SENTENCE.split(t)]
    return {
        "wordnet": wordnet(folder),
        "tatoeba": [row.split("\t")[0] for row in read("tatoeba-cmn-eng/cmn.txt").split("\n") if "\t" in row],
        "wikitext2": halves(wiki),
        "tinystories": halves(stories),
        "tinyshakespeare": plays,
        "wnut17": [detokenized(t) for t in tweets],
        "instructions": halves(prompts),
        "clinc150": [t for t, _ in json.loads(read("clinc150/data_full.json"))["train"]],
        "banking77": [t for t, _ in banking("train")],
        "uci": [t for t, _ in uci()[0]],
    }


def choose_vocab(big, sources):
    """The pieces that the sources use most, each source counting alike, and a little for MiniLM's own order."""
    share = collections.Counter()
    for texts in sources.values():
        count = collections.Counter(id for e in big.encode_batch(texts, add_special_tokens=False) for id in e.ids)
        total = sum(count.values())
        share.update({id: n / total for id, n in count.items()})
    pieces = [p for p, _ in sorted(big.get_vocab().items(), key=lambda kv: kv[1])]
    plain = [(n, p) for n, p in enumerate(pieces) if not p.startswith("[unused") and p not in SPECIALS]
    single = lambda n, p: len(p.removeprefix("##")) == 1 and (p[-1].isascii() or share[n] > 0)
    keep = {p for n, p in plain if single(n, p)}
    rest = sorted((x for x in plain if x[1] not in keep), key=lambda x: -(share[x[0]] + 0.2 / (x[0] + 1000)))
    best = keep | {p for _, p in rest[:VOCAB - len(SPECIALS) - len(keep)]}
    return SPECIALS + [p for _, p in plain if p in best]


def wordpiece(big, vocab):
    """MiniLM's tokenizer with fewer pieces."""
    ids = {piece: n for n, piece in enumerate(vocab)}
    small = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    small.add_special_tokens(SPECIALS)
    small.normalizer, small.pre_tokenizer, small.decoder = big.normalizer, big.pre_tokenizer, big.decoder
    small.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])])
    return small


def neighbours(big, weights, near=10):
    """The whole words of MiniLM's vocabulary, and of each the indices of the nearest in its embedding."""
    rows = load_file(weights)["embeddings.word_embeddings.weight"].astype(np.float32)
    words = {p: n for p, n in big.get_vocab().items() if p.isalpha() and p.isascii() and len(p) > 2}
    names, unit, out = list(words), rows[list(words.values())], []
    unit -= unit.mean(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for at in range(0, len(names), 1024):
        best = np.argpartition(-(unit[at:at + 1024] @ unit.T), near + 1, axis=1)[:, :near + 1].tolist()
        out += [[n for n in row if n != at + i] for i, row in enumerate(best)]
    return {"words": names, "near": out}


def write(path, value):
    with lzma.open(path, "wt", encoding="utf8", preset=6) as file:
        json.dump(value, file, ensure_ascii=False)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--wordnet", type=pathlib.Path, required=True)
    a.add_argument("out", type=pathlib.Path)
    a = a.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    labelled = tasks()
    contexts, questions = [], []
    for page in json.loads(read("xquad/xquad.en.json"))["data"]:
        for paragraph in page["paragraphs"]:
            questions += [[q["question"], len(contexts)] for q in paragraph["qas"]]
            contexts.append(paragraph["context"])
    news = [row[1] for row in csv.reader(read("ag_news/test.csv").splitlines())][::4]
    judged = {"contexts": contexts, "questions": questions, "ag_news titles": news,
              "sst2 dev": [t for t, _ in sst2("dev")], "banking77 test": [t for t, _ in banking("test")]}
    held = {key(t) for task in labelled.values() for rows in task["held"].values() for t, _ in rows}
    held |= {key(t) for t in contexts + news} | {key(q) for q, _ in questions}
    seen = set(held)
    sources = corpus(a.wordnet)
    for name, texts in sources.items():
        fresh = {key(t): t for t in texts if t.strip() and key(t) not in seen}
        seen |= fresh.keys()
        sources[name] = list(fresh.values())
        print(f"{name}: {len(sources[name])} texts, {sum(map(len, sources[name])) / 1e6:.2f} M characters")
    for task in labelled.values():
        task["train"] = [row for row in task["train"] if key(row[0]) not in held]
    minilm = SHARED / "models/all-MiniLM-L6-v2"
    big = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    big.no_truncation(), big.no_padding()
    big.save(str(a.out / "minilm-tokenizer.json"))
    with open(minilm / "model.safetensors", "rb") as source, lzma.open(a.out / "minilm.safetensors.xz", "wb", preset=1) as out:
        shutil.copyfileobj(source, out)
    wordpiece(big, choose_vocab(big, sources)).save(str(a.out / "tokenizer.json"))
    write(a.out / "neighbours.json.xz", neighbours(big, minilm / "model.safetensors"))
    write(a.out / "corpus.json.xz", sources)
    write(a.out / "tasks.json.xz", {"tasks": labelled, "judged": judged})
    print({name: {"train": len(t["train"]), "labels": len(t["labels"])} for name, t in labelled.items()})


if __name__ == "__main__":
    main()
