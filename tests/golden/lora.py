#!/usr/bin/env python3
"""Writes lora.json: results of tiny models under LoRA adapters by peft, for tests/it.

As decoders.json and encoders.json, and `adapter`: adapter_config.json, the tensors of adapter_model.safetensors, and what a GGUF
adapter of the same weights holds.
"""
import os
import re
import tempfile

import peft
import torch
from safetensors.numpy import load_file, save_file

import decoders
import encoders
import to_gguf
from hashed import write

# What peft writes of training and of places.
IRRELEVANT = {"auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "lora_dropout", "peft_version", "runtime_config",
              "init_lora_weights", "corda_config", "eva_config", "loftq_config", "megatron_config", "megatron_core", "qalora_group_size"}


class Adapter:
    """Over the models of `folder`: weights of both matrices by hash, with the model's salt."""

    def __init__(self, folder, config, **options):
        self.folder, self.config = folder, config
        self.place = tempfile.TemporaryDirectory()
        self.options = dict(r=4, lora_alpha=8) | options
        peft.get_peft_model(folder.load(0), peft.LoraConfig(**self.options)).save_pretrained(self.place.name)
        self.shapes = {name: list(value.shape) for name, value in load_file(self._file("adapter_model.safetensors")).items()}

    def _file(self, name):
        return os.path.join(self.place.name, name)

    def load(self, salt):
        model = self.folder.load(salt)
        save_file({name: self.folder.weights.fill(name, shape) for name, shape in self.shapes.items()}, self._file("adapter_model.safetensors"))
        return peft.PeftModel.from_pretrained(model, self.place.name).double().eval()

    def described(self, rename=lambda name: name):
        saved = peft.LoraConfig.from_pretrained(self.place.name).to_dict()
        kept = {key: sorted(value) if isinstance(value, set) else value for key, value in saved.items() if key not in IRRELEVANT and value}
        described = {"config": kept, "tensors": self.shapes}
        # llama.cpp multiplies by alpha / rank, whatever the adapter was trained with.
        return described if self.options.get("use_rslora") else described | {"gguf": self.gguf(rename)}

    def gguf(self, rename):
        """B has the order of the rows of W; A the order of its columns, which no architecture here changes."""
        arch = to_gguf.metadata(self.config)["general.architecture"]
        metadata = {"general.architecture": arch, "general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": float(self.options["lora_alpha"])}
        tensors = []
        for name in self.shapes:
            base, matrix = re.fullmatch(r"base_model\.model\.(.*)\.lora_([AB])\.weight", name).groups()
            [[ours, operation, _]] = to_gguf.tensors(self.config, [f"{base}.weight"], rename)[:1]
            tensors.append([f"{ours}.lora_{matrix.lower()}", operation if matrix == "B" else "same", [name]])
        return {"metadata": metadata, "tensors": tensors}


class Decoder(decoders.Case):
    def run(self, **options):
        config = self.config()
        folder = decoders.Folder(getattr(decoders.hf, self.kind), config, decoders.Weights(), self.edit)
        adapter = Adapter(folder, config, target_modules=["q_proj", "v_proj", "down_proj"], **options)
        tokens, logits = self.search(adapter.load, config)
        return dict(name=self.name, weights=folder.weights.described(), context=self.context, config=folder.config, tensors=folder.shapes,
                    gguf=to_gguf.file(config, folder.shapes), adapter=adapter.described(), prompt=self.prompt(config), tokens=tokens,
                    logits=decoders.pack(logits))


class Encoder(encoders.Case):
    def run(self):
        kind = getattr(encoders.hf, self.kind)
        config = kind.config_class(**self.sizes)
        folder = encoders.Folder(kind, config, encoders.Weights(), self.edit)
        adapter = Adapter(folder, config, target_modules=["query", "value"])
        model = adapter.load(0)
        return dict(name=self.name, task=self.task, weights=folder.weights.described(), config=folder.config, tensors=folder.shapes,
                    gguf=to_gguf.file(config, folder.shapes, self.rename, self.extra(config)), adapter=adapter.described(self.rename),
                    texts=[self.text(model, config, n) for n in encoders.LENGTHS])


LLAMA = ("LlamaForCausalLM", decoders.sizes(48, 2, 4, 2, 101), dict(rope_theta=10000.0))

if __name__ == "__main__":
    write("lora.json", [
        Decoder("llama, adapter", *LLAMA).run(),
        Decoder("llama, adapter scaled by rank's root", *LLAMA).run(use_rslora=True),
        Encoder("bert, adapter", "BertForSequenceClassification", encoders.sizes(48, 2, 4, 62, **encoders.MOODS), gguf={}).run(),
    ])
