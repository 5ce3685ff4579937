#!/usr/bin/env python3
"""Writes encoders.json: results of tiny encoders by torch and transformers, for tests/it/gpu_golden/encoders.rs.

    python3 encoders.py [part of a case's name]...

Per case: config.json and other side files, the tensors of model.safetensors, what a GGUF of the same model holds, and two texts, each
run alone: ids, ids of types where the case has them, and f32 `output` by the case's task:
embedding (4, dim): hidden states of the first, the middle and the last token, then the mean of all; sequence (1, labels); token
(tokens, labels); answer (tokens, start and end); mask (3, vocabulary): of the first, the middle and the last token.
"""
import copy
import sys

import torch
import transformers as hf

import to_gguf
from hashed import Folder, Weights, by_older_names, pack, write

LENGTHS = [9, 23]
POOLING = {"mean": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
           "cls": {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}}
POOLING_TYPES = {"mean": 1, "cls": 2}
TASKS = {"Model": "embedding", "ForSequenceClassification": "sequence", "ForTokenClassification": "token",
         "ForQuestionAnswering": "answer", "ForMaskedLM": "mask"}
PREFIXES = ("bert.", "distilbert.", "roberta.", "model.")


class Case:
    """As `decoders.Case`; `pooling` as sentence-transformers says it; `types`: texts are pairs; `hub`: what stands in config.json
    instead of everything else but architectures and model_type."""

    def __init__(self, name, kind, sizes, published={}, gguf=None, as_saved=False, pooling=None, types=False, hub=None):
        self.name, self.kind, self.sizes, self.published, self.gguf = name, kind, sizes, published, gguf
        self.as_saved, self.pooling, self.types, self.hub = as_saved, pooling, types, hub
        self.task = next(task for suffix, task in TASKS.items() if kind.endswith(suffix))

    def edit(self, saved):
        return saved if self.as_saved else by_older_names(saved, self.sizes, self.published)

    def run(self):
        kind = getattr(hf, self.kind)
        config = kind.config_class(**copy.deepcopy(self.sizes | self.published))
        folder = Folder(kind, config, Weights(), self.edit)
        model = folder.load(0)
        assert getattr(model.config, "rope_parameters", None) == getattr(config, "rope_parameters", None), model.config.rope_parameters
        assert getattr(model.config, "layer_types", None) == getattr(config, "layer_types", None), model.config.layer_types
        case = dict(name=self.name, task=self.task, weights=folder.weights.described(), config=self.shown(folder.config), tensors=folder.shapes)
        if self.pooling:
            case["side"] = {"1_Pooling/config.json": {"word_embedding_dimension": config.hidden_size} | POOLING[self.pooling]}
        if self.gguf is not None:
            case["gguf"] = to_gguf.file(config, folder.shapes, self.rename, self.extra(config))
        print(f"{self.name}: {self.task}", file=sys.stderr)
        return case | {"texts": [self.text(model, config, n) for n in LENGTHS]}

    def shown(self, config):
        return config if self.hub is None else {key: config[key] for key in ("architectures", "model_type")} | self.hub

    def extra(self, config):
        labels = dict(config.id2label)
        named = {"classifier.output_labels": [labels[i] for i in range(len(labels))]} if self.task == "sequence" else {}
        pooled = {"pooling_type": POOLING_TYPES[self.pooling]} if self.pooling else {}
        return {"attention.causal": False} | pooled | named | self.gguf

    def rename(self, name):
        """By the map's names. The pooler and the head of a classifier are one thing there; embeddings need none."""
        name = next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)
        if name.startswith("pooler.dense"):
            return name.replace("pooler.dense", "classifier.dense") if self.task == "sequence" else None
        return name.replace("classifier.", "classifier.out_proj.") if name in ("classifier.weight", "classifier.bias") else name

    @torch.no_grad()
    def text(self, model, config, n):
        # Ids of special tokens are below 5: padding would be skipped by some.
        ids = [(i * 31 + n) % (config.vocab_size - 5) + 5 for i in range(n)]
        types = [int(i > n // 3) for i in range(n)] if self.types else None
        given = {"input_ids": torch.tensor([ids])} | ({"token_type_ids": torch.tensor([types])} if types else {})
        result = self.result(model(**given), [0, n // 2, n - 1])
        return {"ids": ids} | ({"types": types} if types else {}) | {"output": pack(result)}

    def result(self, out, places):
        match self.task:
            case "embedding":
                hidden = out.last_hidden_state[0]
                return torch.cat([hidden[places], hidden.mean(0, keepdim=True)])
            case "answer":
                return torch.stack([out.start_logits[0], out.end_logits[0]], dim=1)
            case "mask":
                return out.logits[0][places]
            case _:
                return out.logits if self.task == "sequence" else out.logits[0]


def sizes(hidden, layers, heads, vocab, ffn=100, **more):
    return dict(hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, vocab_size=vocab, intermediate_size=ffn,
                max_position_embeddings=40) | more


def distil(dim, layers, heads, vocab, **more):
    return dict(dim=dim, n_layers=layers, n_heads=heads, hidden_dim=100, vocab_size=vocab, max_position_embeddings=40) | more


def roberta(*args, **more):
    return sizes(*args, **more) | dict(max_position_embeddings=42, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2)


def modern(layers, vocab, **more):
    ids = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
    return sizes(48, layers, 4, vocab, ffn=76, norm_eps=1e-5, local_attention=8) | ids | more


def labels(*names):
    return dict(id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)})


TAGS = labels("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
MOODS = labels("negative", "neutral", "positive")
GLOBAL = dict(global_rope_theta=160000.0, local_rope_theta=10000.0, global_attn_every_n_layers=3)
SHORTER = {"context_length": 40}
NOMIC = dict(activation_function="swiglu", causal=False, layer_norm_epsilon=1e-12, max_trained_positions=2048, mlp_fc1_bias=False,
             mlp_fc2_bias=False, n_embd=48, n_head=4, n_inner=100, n_layer=2, n_positions=40, pad_vocab_size_multiple=64, prenorm=False,
             qkv_proj_bias=False, rotary_emb_base=1000, rotary_emb_fraction=1.0, rotary_emb_interleaved=False, rotary_emb_scale_base=None,
             type_vocab_size=2, use_rms_norm=False, vocab_size=71)

CASES = [
    Case("bert, mean pooling", "BertModel", sizes(48, 2, 4, 60), gguf={}, pooling="mean"),
    Case("bert, first token", "BertModel", sizes(60, 3, 5, 61, hidden_act="gelu"), gguf={}, pooling="cls"),
    Case("bert, sequence", "BertForSequenceClassification", sizes(48, 2, 6, 62, **MOODS), gguf={}),
    Case("bert, pair", "BertForSequenceClassification", sizes(48, 2, 3, 63, **labels("relevance")), types=True),
    Case("bert, token", "BertForTokenClassification", sizes(48, 2, 4, 64, **TAGS)),
    Case("bert, answer", "BertForQuestionAnswering", sizes(60, 2, 3, 65), types=True),
    Case("bert, mask", "BertForMaskedLM", sizes(48, 2, 4, 66)),
    Case("distilbert", "DistilBertModel", distil(48, 2, 4, 67), gguf={}, pooling="mean"),
    Case("distilbert, sequence", "DistilBertForSequenceClassification", distil(60, 2, 5, 68, **labels("NEGATIVE", "POSITIVE"))),
    Case("roberta", "RobertaModel", roberta(48, 2, 4, 69), gguf=SHORTER, pooling="mean"),
    Case("roberta, sequence", "RobertaForSequenceClassification", roberta(48, 2, 6, 70, **MOODS), gguf=SHORTER),
    Case("roberta, token", "RobertaForTokenClassification", roberta(60, 2, 3, 72, **TAGS)),
    Case("roberta, mask", "RobertaForMaskedLM", roberta(48, 2, 4, 73)),
    Case("xlm-roberta", "XLMRobertaModel", roberta(60, 2, 5, 74), gguf=SHORTER, pooling="cls"),
    Case("xlm-roberta, sequence", "XLMRobertaForSequenceClassification", roberta(48, 3, 4, 75, **labels("relevance")), gguf=SHORTER),
    Case("mpnet", "MPNetModel", roberta(48, 2, 4, 76) | dict(relative_attention_num_buckets=32), pooling="mean"),
    Case("mpnet, sequence", "MPNetForSequenceClassification", roberta(60, 2, 3, 77, **MOODS) | dict(relative_attention_num_buckets=32)),
    Case("modernbert", "ModernBertModel", modern(4, 78), GLOBAL, gguf={"attention.sliding_window_pattern": 3}, pooling="mean"),
    Case("modernbert, as saved", "ModernBertModel", modern(4, 79, attention_bias=True, mlp_bias=True, norm_bias=True), GLOBAL, as_saved=True, pooling="cls"),
    Case("modernbert, sequence", "ModernBertForSequenceClassification", modern(4, 80, classifier_pooling="mean", **MOODS), GLOBAL,
         gguf={"attention.sliding_window_pattern": 3, "pooling_type": 1}),
    Case("modernbert, mask", "ModernBertForMaskedLM", modern(5, 81), GLOBAL),
    Case("nomic-bert", "NomicBertModel", sizes(48, 2, 4, 71), dict(rope_theta=1000.0), gguf={}, pooling="mean", hub=NOMIC),
    Case("nomic-bert, as saved", "NomicBertModel", sizes(60, 3, 5, 82), dict(rope_theta=10000.0), as_saved=True, pooling="mean"),
]

if __name__ == "__main__":
    write("encoders.json", [case.run() for case in CASES if not sys.argv[1:] or any(part in case.name for part in sys.argv[1:])])
