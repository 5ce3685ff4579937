"""The small vocabulary: the pieces of MiniLM's that the corpus uses most.

Nothing to run here.
"""
import collections

from tokenizers import Tokenizer, models, processors

from data import MINILM

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = 8192


def minilm_tokenizer():
    big = Tokenizer.from_file(str(MINILM / "tokenizer.json"))
    big.no_truncation()
    big.no_padding()
    return big


def chosen(big, sources):
    """Pieces in MiniLM's order; each source counts alike, and MiniLM's own order a little. Single letters are all kept."""
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
    best = keep | {p for _, p in rest[:PIECES - len(SPECIALS) - len(keep)]}
    return SPECIALS + [p for _, p in plain if p in best]


def small_tokenizer(big, sources):
    """MiniLM's tokenizer with fewer pieces."""
    ids = {piece: n for n, piece in enumerate(chosen(big, sources))}
    small = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    small.add_special_tokens(SPECIALS)
    small.normalizer, small.pre_tokenizer, small.decoder = big.normalizer, big.pre_tokenizer, big.decoder
    small.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])])
    return small
