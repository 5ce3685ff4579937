#!/usr/bin/env python3
"""Writes tiny_models.json: logits of tiny random models by torch and transformers, for tests/it/gpu_golden.rs.

    pip install -r requirements.txt     # here: torch, transformers, numpy
    python3 tiny_models.py > tiny_models.json

Weights are a hash of (tensor name, index), made alike in Rust, so only configs and expected logits are stored.
"""
import json
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

SIZES = dict(hidden_size=48, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
             vocab_size=160, max_position_embeddings=256, rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=1)
LLAMA3 = dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64)
MODELS = {
    "llama, tied": (LlamaForCausalLM, LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "llama, untied, llama3 scaling": (LlamaForCausalLM, LlamaConfig(**SIZES, tie_word_embeddings=False, rope_scaling=LLAMA3, rope_theta=5e5)),
    "llama, linear scaling, head_dim 16": (LlamaForCausalLM, LlamaConfig(**SIZES, head_dim=16, rope_scaling=dict(rope_type="linear", factor=2.0))),
    "qwen2, bias, tied": (Qwen2ForCausalLM, Qwen2Config(**SIZES, tie_word_embeddings=True, rope_theta=1e6)),
    "qwen2, yarn": (Qwen2ForCausalLM, Qwen2Config(**SIZES, tie_word_embeddings=False, rope_scaling=YARN)),
}
KEPT = ["model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "head_dim", "vocab_size", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings"]


def fill(name, shape):
    """FNV-1a of the name, then splitmix64 of (hash + index): uniform in -0.15..0.15; norms around 1."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & (2**64 - 1)
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + (np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    unit = (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24) * 2 - 1
    return torch.from_numpy((unit * np.float32(0.15) + np.float32(1.0 if "norm" in name else 0.0)).reshape(shape))


def run(kind, config):
    config._attn_implementation = "eager"
    model = kind(config).float().eval()
    tied = config.tie_word_embeddings
    tensors = {name: tuple(value.shape) for name, value in model.state_dict().items() if not (tied and name == "lm_head.weight")}
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(fill(name, tuple(value.shape)))
        prompt = [(i * 37 + 11) % config.vocab_size for i in range(70)]
        ids, steps = list(prompt), []
        for _ in range(10):
            logits = model(torch.tensor([ids])).logits[0, -1].double()
            steps.append([round(float(v), 6) for v in logits])
            ids.append(int(logits.argmax()))
    kept = {key: getattr(config, key) for key in KEPT if getattr(config, key, None) is not None}
    rope = dict(config.rope_parameters)
    kept["rope_theta"] = rope.pop("rope_theta")
    kept["rope_scaling"] = rope if rope.get("rope_type", "default") != "default" else None
    return dict(config=kept, tensors=tensors, prompt=prompt, tokens=ids[70:], logits=[steps[0], steps[-1]])


print(json.dumps({name: run(*model) for name, model in MODELS.items()}, separators=(",", ":")))
