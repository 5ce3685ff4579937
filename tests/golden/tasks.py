#!/usr/bin/env python3
"""Writes tasks.json: what transformers' pipelines say of real texts, for tests/it/gpu_tasks.rs, and tokenizers.json, which they read.

    python3 tasks.py [part of a case's name]...       cases that are not asked for, or that this transformers cannot run, stay as they are
    python3 tasks.py --tokenizers                     trains the tiny tokenizers anew

Models are tiny ones with weights by hash (hashed.py), and MiniLM's from the folder beside the checkout; texts come from there too.
transformers has no pipeline for question answering since version 5: run `answer` with 4.57.
"""
import json
import os
import sys
import tempfile
from pathlib import Path

import tokenizers as tk
import torch
import transformers as hf

from encoders import labels, roberta, sizes
from hashed import Folder, Weights, pack

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("TRICE_SHARED", HERE.parents[1].parent / "shared"))
N_TEXTS = 200
AGGREGATIONS = ["none", "simple", "first", "average", "max"]
LABELS = ["a film", "a person", "a place"]


# Texts: by the same rules in tests/it/gpu_tasks/texts.rs.

def sst2(n=N_TEXTS):
    lines = (SHARED / "data/sst2/stsa.binary.dev").read_text(encoding="utf8").split("\n")
    return [line[2:] for line in lines if line][:n]


def wnut17(n=N_TEXTS):
    blocks = (SHARED / "data/wnut17/emerging.dev.conll").read_text(encoding="utf8").split("\n\n")
    texts = [" ".join(line.split("\t")[0] for line in block.split("\n") if line.strip()) for block in blocks]
    return [text for text in texts if text.strip()][:n]


def xquad(language, n):
    """(question, context): the first question about each paragraph."""
    data = json.loads((SHARED / f"data/xquad/xquad.{language}.json").read_text(encoding="utf8"))["data"]
    paragraphs = [paragraph for article in data for paragraph in article["paragraphs"]]
    return [(paragraph["qas"][0]["question"], paragraph["context"]) for paragraph in paragraphs][:n]


def queries():
    """(query, documents): a question and the beginnings of five paragraphs, the first of them its own."""
    pairs = xquad("en", N_TEXTS)
    return [(question, [pairs[(i + j) % len(pairs)][1][:200] for j in range(5)]) for i, (question, _) in enumerate(pairs)]


def hidden(mask):
    """The middle word is hidden; of every tenth text the first one too."""
    texts = []
    for i, text in enumerate(sst2()):
        words = text.split(" ")
        words[len(words) // 2] = mask
        if i % 10 == 0:
            words[0] = mask
        texts.append(" ".join(words))
    return texts


# Tokenizers.

def trained():
    texts = sst2(872) + wnut17(1000) + [context for _, context in xquad("de", 60)]
    bert = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    fair = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    piece = tk.Tokenizer(tk.models.WordPiece(unk_token="[UNK]"))
    piece.normalizer, piece.pre_tokenizer = tk.normalizers.BertNormalizer(), tk.pre_tokenizers.BertPreTokenizer()
    piece.train_from_iterator(texts, tk.trainers.WordPieceTrainer(vocab_size=600, special_tokens=bert, limit_alphabet=120, show_progress=False))
    piece.decoder = tk.decoders.WordPiece()
    piece.post_processor = tk.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    byte = tk.Tokenizer(tk.models.BPE())
    byte.pre_tokenizer, byte.decoder = tk.pre_tokenizers.ByteLevel(add_prefix_space=False), tk.decoders.ByteLevel()
    alphabet = tk.pre_tokenizers.ByteLevel.alphabet()
    byte.train_from_iterator(texts, tk.trainers.BpeTrainer(vocab_size=600, special_tokens=fair[:4], initial_alphabet=alphabet, show_progress=False))
    byte.add_special_tokens([tk.AddedToken("<mask>", lstrip=True, special=True)])
    byte.post_processor = tk.processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    gram = tk.Tokenizer(tk.models.Unigram())
    gram.pre_tokenizer, gram.decoder = tk.pre_tokenizers.Metaspace(), tk.decoders.Metaspace()
    gram.train_from_iterator(texts, tk.trainers.UnigramTrainer(vocab_size=400, special_tokens=fair, unk_token="<unk>", show_progress=False))
    gram.post_processor = tk.processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return {"word pieces": json.loads(piece.to_str()), "bytes": json.loads(byte.to_str()), "unigrams": json.loads(gram.to_str())}


def tokenizers():
    path = HERE / "tokenizers.json"
    if "--tokenizers" in sys.argv or not path.exists():
        lines = [f"{json.dumps(name)}:{json.dumps(file, separators=(',', ':'))}" for name, file in trained().items()]
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return json.loads(path.read_text())


def marks(kind):
    names = ["pad", "unk", "cls", "sep", "mask"]
    texts = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] if kind == "word pieces" else ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    return {f"{name}_token": text for name, text in zip(names, texts)}


def tokenizer(kind, file, max_length, has_types):
    """As transformers loads it from a folder; `has_types`: the second text of a pair is of another type."""
    if kind == "bytes":
        marked = marks(kind) | {"mask_token": tk.AddedToken("<mask>", lstrip=True, special=True)}
    else:
        marked = marks(kind)
    inner = tk.Tokenizer.from_str(json.dumps(file))
    made = hf.PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=max_length, padding_side="right", **marked)
    made.model_input_names = ["input_ids", *(["token_type_ids"] if has_types else []), "attention_mask"]
    return made


# What pipelines say, per text.

class Said:
    def classify(self, pipe, **options):
        names = [pipe.model.config.id2label[i] for i in range(pipe.model.config.num_labels)]
        def scores(text):
            found = {entry["label"]: entry["score"] for entry in pipe(text, top_k=None, truncation=True, **options)}
            return [found[name] for name in names]
        return {"labels": names, "scores": pack([scores(text) for text in sst2()])}

    def zero_shot(self, pipe, multi_label):
        def scores(text):
            found = pipe(text, LABELS, multi_label=multi_label)
            return [dict(zip(found["labels"], found["scores"]))[label] for label in LABELS]
        return {"labels": LABELS, "multi_label": multi_label, "scores": pack([scores(text) for text in sst2()])}

    def tag(self, pipe, aggregations, n=N_TEXTS, stride=None, max_length=None):
        said = {}
        if max_length is not None:
            pipe.tokenizer.model_max_length = max_length
        texts = wnut17(n) if stride is None else [context for _, context in xquad("en", n)]
        windows = {} if stride is None else {"stride": stride}
        given, _, _ = pipe._sanitize_parameters(**windows, aggregation_strategy="simple")
        # A text's outputs are the same for all aggregations.
        outputs = [[pipe.forward(part) for part in pipe.preprocess(text, **given)] for text in texts]
        for aggregation in aggregations:
            _, _, asked = pipe._sanitize_parameters(aggregation_strategy=aggregation)
            found = [pipe.postprocess(output, **asked) for output in outputs]
            spans = [[[e.get("entity_group", e.get("entity")), e["start"], e["end"], e["word"]] for e in text] for text in found]
            said[aggregation] = {"entities": spans, "scores": pack([e["score"] for text in found for e in text])}
        return {"stride": stride, "context": max_length, "aggregations": said}

    def answer(self, pipe, language, n, top, **options):
        found = [pipe(question=question, context=context, top_k=top, **options) for question, context in xquad(language, n)]
        found = [answers if isinstance(answers, list) else [answers] for answers in found]
        spans = [[[answer["start"], answer["end"]] for answer in answers] for answers in found]
        scores = pack([answer["score"] for answers in found for answer in answers])
        return {"language": language, "top": top, "options": options, "answers": spans, "scores": scores}

    def rank(self, pipe):
        """sentence-transformers' CrossEncoder: the sigmoid of the one score."""
        def scores(query, documents):
            return [pipe({"text": query, "text_pair": document}, top_k=1, truncation=True)[0]["score"] for document in documents]
        return {"scores": pack([scores(*query) for query in queries()])}

    def fill(self, pipe):
        texts = hidden(pipe.tokenizer.mask_token)
        found = [said if isinstance(said[0], list) else [said] for said in (pipe(text, top_k=3) for text in texts)]
        tokens = [[[[f["token"], f["token_str"], f["sequence"]] for f in place] for place in text] for text in found]
        # What a text reads like with a word in it is stored of the first twenty only.
        tokens = [[[entry[: 3 if i < 20 else 2] for entry in place] for place in text] for i, text in enumerate(tokens)]
        return {"tokens": tokens, "scores": pack([f["score"] for text in found for place in text for f in place])}

    def embed(self, pipe):
        return {"vectors": pack([torch.tensor(pipe(text, truncation=True)[0]).mean(0).tolist() for text in sst2()])}


TASKS = {"classify": "text-classification", "zero_shot": "zero-shot-classification", "tag": "token-classification",
         "answer": "question-answering", "rank": "text-classification", "fill": "fill-mask", "embed": "feature-extraction"}


class Case:
    """A tiny model of this class and kind of tokenizer, or a folder of SHARED; what of `Said` is asked, and how."""

    def __init__(self, name, task, model, config=None, kind=None, **asked):
        self.name, self.task, self.model, self.config, self.kind, self.asked = name, task, model, config, kind, asked

    def run(self, files):
        case = dict(name=self.name, task=self.task)
        if self.kind is None:
            case |= {"model": self.model}
            path = SHARED / self.model
            model = hf.AutoConfig.from_pretrained(path).architectures[0]
            model = getattr(hf, model).from_pretrained(path, dtype=torch.float64, attn_implementation="eager").eval()
            reader = hf.AutoTokenizer.from_pretrained(path)
        else:
            config = getattr(hf, self.model).config_class(**self.config)
            folder = Folder(getattr(hf, self.model), config, Weights())
            model = folder.load(0)
            model.config.problem_type = config.problem_type
            reader = tokenizer(self.kind, files[self.kind], 512, self.model.startswith("Bert"))
            case |= dict(weights=folder.weights.described(), config=folder.config, tensors=folder.shapes, tokenizer=self.kind,
                         marks=marks(self.kind))
        pipe = hf.pipeline(TASKS[self.task], model=model, tokenizer=reader, device="cpu")
        with torch.no_grad():
            said = getattr(Said(), self.task)(pipe, **self.asked)
        print(f"{self.name}: transformers {hf.__version__}", file=sys.stderr)
        return case | {"transformers": hf.__version__, "said": said}


def fair(*args, **more):
    """RoBERTa's sizes with places for 512 tokens."""
    return roberta(*args, **more) | dict(max_position_embeddings=514) | more


def bert(*args, **more):
    return sizes(*args, **more) | dict(max_position_embeddings=512) | more


TAGS = labels("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC-x")
NLI = labels("contradiction", "neutral", "entailment")
NLI_FIRST = labels("Entailment", "not_entailment")
MOODS = labels("negative", "neutral", "positive")

CASES = [
    Case("minilm-sst2", "classify", "models/minilm-sst2"),
    Case("bert, one of three", "classify", "BertForSequenceClassification", bert(48, 2, 4, 600, **MOODS), "word pieces"),
    Case("roberta, several of three", "classify", "RobertaForSequenceClassification",
         fair(48, 2, 4, 601, **MOODS, problem_type="multi_label_classification"), "bytes"),
    Case("xlm-roberta, a quantity", "classify", "XLMRobertaForSequenceClassification",
         fair(48, 2, 4, 400, **labels("stars"), problem_type="regression"), "unigrams"),
    Case("distilbert, one class", "classify", "DistilBertForSequenceClassification",
         dict(dim=48, n_layers=2, n_heads=4, hidden_dim=100, vocab_size=600, max_position_embeddings=512) | labels("toxic"), "word pieces"),
    Case("minilm-wnut17", "tag", "models/minilm-wnut17", aggregations=AGGREGATIONS),
    Case("bert, tags", "tag", "BertForTokenClassification", bert(48, 2, 4, 600, **TAGS), "word pieces", aggregations=["none", "simple"], n=50),
    Case("bert, tags of words", "tag", "BertForTokenClassification", bert(48, 2, 4, 600, **TAGS), "word pieces",
         aggregations=AGGREGATIONS[2:], n=50),
    Case("roberta, tags", "tag", "RobertaForTokenClassification", fair(48, 2, 4, 601, **TAGS), "bytes",
         aggregations=["simple", "first"], n=50),
    Case("xlm-roberta, tags", "tag", "XLMRobertaForTokenClassification", fair(48, 2, 4, 400, **TAGS), "unigrams",
         aggregations=["simple", "average"], n=50),
    Case("minilm-wnut17, long texts", "tag", "models/minilm-wnut17", aggregations=["simple", "max"], n=100, stride=32, max_length=128),
    Case("bert, entailment", "zero_shot", "BertForSequenceClassification", bert(48, 2, 4, 600, **NLI), "word pieces", multi_label=False),
    Case("roberta, entailment first", "zero_shot", "RobertaForSequenceClassification", fair(48, 2, 4, 601, **NLI_FIRST), "bytes",
         multi_label=True),
    Case("bert, answers", "answer", "BertForQuestionAnswering", bert(48, 2, 4, 600), "word pieces", language="en", n=N_TEXTS, top=3),
    Case("roberta, answers or none", "answer", "RobertaForQuestionAnswering", fair(48, 2, 4, 601), "bytes", language="zh", n=N_TEXTS,
         top=2, max_seq_len=200, doc_stride=50, max_answer_len=30, handle_impossible_answer=True),
    Case("bert, relevance", "rank", "BertForSequenceClassification", bert(48, 2, 4, 600, **labels("relevance")), "word pieces"),
    Case("xlm-roberta, relevance", "rank", "XLMRobertaForSequenceClassification", fair(48, 2, 4, 400, **labels("relevance")), "unigrams"),
    Case("bert, hidden words", "fill", "BertForMaskedLM", bert(48, 2, 4, 600), "word pieces"),
    Case("roberta, hidden words", "fill", "RobertaForMaskedLM", fair(48, 2, 4, 601), "bytes"),
    Case("bert, vectors", "embed", "BertModel", bert(24, 2, 3, 600), "word pieces"),
]


def main():
    # Tiny products gain nothing from more.
    torch.set_num_threads(1)
    files = tokenizers()
    path = HERE / "tasks.json"
    before = {case["name"]: case for case in json.loads(path.read_text())} if path.exists() else {}
    asked = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    is_v5 = int(hf.__version__.split(".")[0]) >= 5
    for case in CASES:
        can_run = not (is_v5 and case.task == "answer")
        if can_run and (not asked or any(part in case.name for part in asked)):
            before[case.name] = case.run(files)
            cases = [before[case.name] for case in CASES if case.name in before]
            lines = [json.dumps(case, separators=(",", ":"), ensure_ascii=False) for case in cases]
            path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf8")


if __name__ == "__main__":
    main()
