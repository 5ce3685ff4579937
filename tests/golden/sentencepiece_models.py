#!/usr/bin/env python3
"""Writes sentencepiece_models.json: small SentencePiece vocabularies, as a GGUF file would hold them, and what
SentencePiece itself makes of texts, for tests/it/text/gguf_kinds.rs.

    pip install sentencepiece==0.2.3 protobuf
    python3 sentencepiece_models.py > sentencepiece_models.json

The models are trained on this project's own documents as they stand, so that another day gives another vocabulary.
"""
import io
import json
import pathlib
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

ROOT = pathlib.Path(__file__).parents[2]
CORPUS = [line for name in ["README.md", "docs/ARCHITECTURE.md", "CONTRIBUTING.md"]
          for line in (ROOT / name).read_text().splitlines() if line.strip()]
SPACES = ["▁" * n for n in range(2, 9)]
# Full-width letters become plain ones, ligatures are taken apart, tabs and line ends become spaces.
RULES = "FF21\t41\nFF22\t42\nFB01\t66 69\n9\t20\nA\t20\n65 301\tE9\n"
MODELS = {
    "llama": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False),
    "gemma": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                  add_dummy_prefix=False, split_digits=True, user_defined_symbols=["\n", "\n\n", "\n\n\n", *SPACES, "<table>"]),
    "t5": dict(model_type="unigram", rules=RULES),
    "xlm": dict(model_type="unigram", normalization_rule_name="identity", byte_fallback=True, add_dummy_prefix=False,
                remove_extra_whitespaces=False),
}
TEXTS = [
    "", " ", "  ", "a", " a", "a ", "Hello, world!", " Hello  world ", "three   spaces     five", "line\nbreaks\n\n\n and\ttabs\t",
    "The tokens of a model are read once.", "kernels kernels kernelskernels", "3.14159 and 1,234,567", "Zoë naïve façade e\u0301",
    "ＡＢ ﬁne", "我想在 GPU 上运行", "🫠 🚀 (normal) 😶‍🌫️", "<s>not</s> <unk> <pad>special<table>x", "<0x41>\x00\x07",
    "▁already▁spelled", "don't WE'LL y'all", "    indented\n        more\n", "\u00a0no-break\u3000wide", "==== ---- ____ ::::",
]


def train(options):
    options = dict(options)
    rules = options.pop("rules", None)
    with tempfile.TemporaryDirectory() as folder:
        if rules:
            path = pathlib.Path(folder) / "rules.tsv"
            path.write_text(rules)
            options["normalization_rule_tsv"] = str(path)
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS), model_writer=model, vocab_size=700, pad_id=3, character_coverage=0.999,
            hard_vocab_limit=False, num_threads=1, minloglevel=2, **options)
    return model.getvalue()


def token(piece):
    """User-defined pieces stand in a GGUF file as they stand in the text."""
    return piece.piece.replace("▁", " ") if piece.type == 4 else piece.piece


def golden(name, options):
    data = train(options)
    proto = sentencepiece_model_pb2.ModelProto.FromString(data)
    processor = sentencepiece.SentencePieceProcessor(model_proto=data)
    spec = proto.normalizer_spec
    return dict(
        name=name, model={"bpe": "llama", "unigram": "t5"}[options["model_type"]],
        tokens=[token(piece) for piece in proto.pieces], scores=[piece.score for piece in proto.pieces],
        types=[piece.type for piece in proto.pieces], unknown=processor.unk_id(), add_space_prefix=spec.add_dummy_prefix,
        remove_extra_whitespaces=spec.remove_extra_whitespaces, charsmap=list(spec.precompiled_charsmap),
        cases=[dict(text=text, ids=processor.encode(text)) for text in TEXTS])


print("[" + ",\n".join(json.dumps(golden(*entry), ensure_ascii=False) for entry in MODELS.items()) + "]")
