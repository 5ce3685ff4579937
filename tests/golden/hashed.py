"""What the goldens' scripts share: weights that are a hash, folders of tiny models, and how results are written down.

Weights are a hash of (salt, tensor name, index), made alike in Rust (tests/common/hashed.rs), so that only configs, names and
results are stored.
"""
import base64
import json
import os
import tempfile

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file

transformers.utils.logging.disable_progress_bar()

# What a config.json says of training, generation and files, and nothing of the forward pass.
IRRELEVANT = {"transformers_version", "dtype", "use_cache", "initializer_range", "initializer_cutoff_factor", "pretraining_tp",
              "attention_dropout", "hidden_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob", "resid_pdrop", "embd_pdrop",
              "attn_pdrop", "residual_dropout", "embedding_dropout", "mlp_dropout", "dropout", "seq_classif_dropout", "qa_dropout",
              "classifier_dropout", "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type",
              "summary_use_proj", "sinusoidal_pos_embds", "is_decoder", "add_cross_attention", "deterministic_flash_attn",
              "sparse_pred_ignore_index", "sparse_prediction", "cross_attention_hidden_size", "reorder_and_upcast_attn"}


def is_norm(name):
    return name.endswith(".weight") and ("norm" in name.lower() or ".ln_" in name or "emb_ln" in name)


class Weights:
    """Weights by hash, uniform in -scale..scale; norms around `norm_center`."""

    def __init__(self, scale=0.25, norm_center=1.0):
        self.salt, self.scale, self.norm_center = 0, scale, norm_center

    def described(self):
        return dict(salt=self.salt, scale=self.scale, norm_center=self.norm_center)

    def fill(self, name, shape):
        """FNV-1a of salt and name, then splitmix64 of (hash + index)."""
        seed = 0xCBF29CE484222325
        for byte in f"{self.salt}:{name}".encode():
            seed = ((seed ^ byte) * 0x100000001B3) & (2**64 - 1)
        with np.errstate(over="ignore"):
            z = np.uint64(seed) + (np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
        unit = (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24) * 2 - 1
        center = self.norm_center if is_norm(name) else 0.0
        return (unit * np.float32(self.scale) + np.float32(center)).reshape(shape)


def by_older_names(saved, sizes, published):
    """config.json as models on the hub have it: rotation in keys of its own, types of layers by a rule."""
    by_rule = {"rope_parameters", "layer_types"} - sizes.keys() - published.keys()
    return {key: value for key, value in saved.items() if key not in by_rule} | published


class Folder:
    """A model's folder as `save_pretrained` writes it, then with `edit`ed config and weights by hash."""

    def __init__(self, kind, config, weights, edit=lambda config: config):
        self.kind, self.weights = kind, weights
        self.place = tempfile.TemporaryDirectory()
        self.path = self.place.name
        kind(config).float().save_pretrained(self.path)
        self.shapes = {name: list(value.shape) for name, value in load_file(self._file("model.safetensors")).items()}
        with open(self._file("config.json")) as file:
            config = {key: value for key, value in json.load(file).items() if key not in IRRELEVANT}
        self.config = edit(config)
        with open(self._file("config.json"), "w") as file:
            json.dump(self.config, file)

    def _file(self, name):
        return os.path.join(self.path, name)

    def load(self, salt):
        """The model with the weights of `salt`, computing in f64."""
        self.weights.salt = salt
        weights = {name: self.weights.fill(name, shape) for name, shape in self.shapes.items()}
        save_file(weights, self._file("model.safetensors"), metadata={"format": "pt"})
        loaded, info = self.kind.from_pretrained(self.path, dtype=torch.float64, attn_implementation="eager",
                                                 output_loading_info=True)
        wrong = {key: value for key, value in info.items() if value}
        assert not wrong, wrong
        return loaded.eval()


def pack(rows):
    """f32 as base64."""
    return base64.b64encode(np.asarray(rows, dtype="<f4").tobytes()).decode()


def write(path, cases):
    """One line per case."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), path), "w") as file:
        lines = [json.dumps(case, separators=(",", ":")) for case in cases]
        file.write("[\n" + ",\n".join(lines) + "\n]\n")
