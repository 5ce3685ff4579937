"""Shared pieces of the sentiment model: paths, data split, extra text, vocabulary.

Nothing to run here; see train.py. Paths: TRICE_SHARED (default ../shared, read
only) and TRICE_WORK (default /tmp/trice-sentiment, checkpoints).
"""
import os
import pathlib
import random
import re

SHARED = pathlib.Path(os.environ.get("TRICE_SHARED", "../shared"))
WORK = pathlib.Path(os.environ.get("TRICE_WORK", "/tmp/trice-sentiment"))
HERE = pathlib.Path(__file__).resolve().parent
MINILM = SHARED / "models/all-MiniLM-L6-v2"

LABELS = ["NEGATIVE", "POSITIVE"]
FILES = ["amazon_cells", "imdb", "yelp"]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCAB = 8000
CONTEXT = 128


def load_split():
    """(train, held out) as (text, label): lines 10, 20, 30, ... of each file are held out.

    A training sentence equal to a held-out one (but for case and space) is dropped.
    """
    train, held = [], []
    for name in FILES:
        raw = (SHARED / f"data/uci-sentences/{name}_labelled.txt").read_text(encoding="utf8")
        lines = [line for line in raw.split("\n") if line]
        for number, line in enumerate(lines, 1):
            text, label = line.rsplit("\t", 1)
            (held if number % 10 == 0 else train).append((text.strip(), int(label)))
    key = lambda text: " ".join(text.lower().split())
    known = {key(text) for text, _ in held}
    return [(t, l) for t, l in train if key(t) not in known], held


def unlabelled(tatoeba=16000, stories=9000):
    """English sentences of Tatoeba and of TinyStories, shuffled with a fixed seed."""
    rng = random.Random(3)
    rows = (SHARED / "data/tatoeba-cmn-eng/cmn.txt").read_text(encoding="utf8").split("\n")
    first = sorted({row.split("\t")[0] for row in rows if "\t" in row})
    text = (SHARED / "data/tinystories/tinystories_train_head_2MiB.txt").read_text(encoding="utf8")
    second = sorted({s.strip() for s in re.split(r"(?<=[.!?\"])\s+|<\|endoftext\|>", text) if 20 < len(s) < 200})
    return rng.sample(first, min(tatoeba, len(first))) + rng.sample(second, min(stories, len(second)))


def wordpiece(vocab):
    """A BERT uncased tokenizer over `vocab` (a list of pieces), [CLS] text [SEP]."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    ids = {piece: i for i, piece in enumerate(vocab)}
    tok = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tok.add_special_tokens(SPECIALS)
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    tok.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])])
    tok.enable_truncation(CONTEXT)
    return tok
