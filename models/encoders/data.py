"""The texts that the training reads, and what is held out of it to be measured.

Nothing to run here. TRICE_SHARED is the shared read-only material, TRICE_WORDNET the folder of WordNet 3.0's data.noun,
data.verb, data.adj and data.adv (Debian's wordnet-base). Only data whose licence lets models trained on it be given
away is trained on; SST-2, XQuAD and AG News are read to measure only.
"""
import csv
import json
import os
import pathlib
import re

SHARED = pathlib.Path(os.environ.get("TRICE_SHARED", "../shared"))
WORDNET = pathlib.Path(os.environ.get("TRICE_WORDNET", "/usr/share/wordnet"))
MINILM = SHARED / "models/all-MiniLM-L6-v2"
SENTENCE = re.compile(r"(?<=[.!?])[\"']?\s+")


def read(path):
    return (SHARED / "data" / path).read_text(encoding="utf8")


def key(text):
    """By which two texts count as the same."""
    return " ".join(text.lower().split())


def detokenized(text):
    """Treebank spacing ("wo n't , really") to ordinary English."""
    text = re.sub(r" (n't|'s|'re|'ve|'ll|'d|'m)\b", r"\1", text)
    text = re.sub(r"\s+([,.!?;:)])", r"\1", text).replace("( ", "(").replace("-lrb- ", "(").replace(" -rrb-", ")")
    return text.replace("`` ", '"').replace(" ''", '"')


def uci():
    """(train, held out), rows of (text, label): lines 10, 20, 30, ... of each file are held out."""
    train, held = [], []
    for name in ("amazon_cells", "imdb", "yelp"):
        lines = [line for line in read(f"uci-sentences/{name}_labelled.txt").split("\n") if line]
        for number, line in enumerate(lines, 1):
            text, label = line.rsplit("\t", 1)
            (held if number % 10 == 0 else train).append((text.strip(), int(label)))
    return train, held


def sst2():
    """The 872 sentences of the dev set, to be measured."""
    return [(line[2:].strip(), int(line[0])) for line in read("sst2/stsa.binary.dev").split("\n") if line]


def banking(part):
    return [(row["text"].strip(), row["category"]) for row in csv.DictReader(read(f"banking77/{part}.csv").splitlines())]


def clinc(part):
    return [(text.strip(), label) for text, label in json.loads(read("clinc150/data_full.json"))[part]]


def xquad():
    """(contexts, rows of (question, the number of its context))."""
    contexts, questions = [], []
    for page in json.loads(read("xquad/xquad.en.json"))["data"]:
        for paragraph in page["paragraphs"]:
            questions += [(q["question"], len(contexts)) for q in paragraph["qas"]]
            contexts.append(paragraph["context"])
    return contexts, questions


def news():
    """Every fourth headline of AG News' test set, to be measured."""
    return [row[1] for row in csv.reader(read("ag_news/test.csv").splitlines())][::4]


def intents():
    """(labels, training rows, {name of a held-out set: rows}); a row is (text, number of its label). Both sets know exchange_rate."""
    labels = sorted({label for _, label in clinc("train") + banking("train")})
    numbered = lambda rows: [(text, labels.index(label)) for text, label in rows]
    taken = held_out()
    train = [row for row in numbered(clinc("train") + banking("train")) if key(row[0]) not in taken]
    return labels, train, {"clinc150 test": numbered(clinc("test")), "banking77 test": numbered(banking("test"))}


def held_out():
    """Keys of every text that is measured on: none is trained on."""
    contexts, questions = xquad()
    rows = uci()[1] + clinc("val") + clinc("test") + banking("test") + questions
    return {key(text) for text in [t for t, _ in rows] + contexts + news()}


def wordnet():
    """Definitions with their word in front, example sentences, and the words alone."""
    texts = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (WORDNET / f"data.{part}").read_text(encoding="latin-1").split("\n"):
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


def corpus():
    """English texts without labels, {source: texts}, none of them held out; paragraphs stay whole beside their sentences."""
    wiki = read("wikitext2/valid.txt") + read("wikitext2/test.txt")
    wiki = wiki.replace(" @-@ ", "-").replace(" @,@ ", ",").replace(" @.@ ", ".").replace("<unk>", "something")
    wiki = [detokenized(line.strip()) for line in wiki.split("\n") if len(line) > 60 and not line.startswith(" =")]
    stories = [s.strip() for s in read("tinystories/tinystories_train_head_2MiB.txt").split("<|endoftext|>")]
    stories = [p for story in stories for p in story.split("\n") if len(p) > 30]
    plays = [" ".join(s.split("\n")[1:]) for s in read("tinyshakespeare/input.txt").split("\n\n")]
    tweets = [" ".join(line.split("\t")[0] for line in part.split("\n"))
              for part in re.split(r"\n\s*\n", read("wnut17/wnut17train.conll"))]
    given = [json.loads(line) for name in ("seed_tasks", "user_oriented_instructions")
             for line in read(f"instructions/{name}.jsonl").split("\n") if line]
    prompts = [text for task in given for text in
               [task["instruction"]] + [x[k][:600] for x in task["instances"][:2] for k in ("input", "output")]]
    halves = lambda texts: texts + [s for t in texts for s in SENTENCE.split(t)]
    sources = {
        "wordnet": wordnet(),
        "tatoeba": [row.split("\t")[0] for row in read("tatoeba-cmn-eng/cmn.txt").split("\n") if "\t" in row],
        "wikitext2": halves(wiki),
        "tinystories": halves(stories),
        "tinyshakespeare": plays,
        "wnut17": [detokenized(t) for t in tweets],
        "instructions": halves(prompts),
        "clinc150": [t for t, _ in clinc("train")],
        "banking77": [t for t, _ in banking("train")],
        "uci": [t for t, _ in uci()[0]],
    }
    seen = held_out()
    for name, texts in sources.items():
        new = {key(t): t for t in texts if t.strip() and key(t) not in seen}
        seen |= new.keys()
        sources[name] = list(new.values())
    return sources
