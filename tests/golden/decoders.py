#!/usr/bin/env python3
"""Writes decoders.json: logits of tiny decoders by torch and transformers, for tests/it/gpu_golden.rs.

    pip install -r requirements.txt
    python3 decoders.py [part of a case's name]...

Per case: config.json, the tensors of model.safetensors, what a GGUF of the same model holds, 70 ids of a prompt, 10 ids that follow
greedily, and the logits behind the prompt and behind each of the ten: (11, vocabulary) f32.
"""
import copy
import sys

import torch
import transformers as hf

import to_gguf
from hashed import Folder, Weights, by_older_names, pack, write

N_PROMPT, N_TOKENS = 70, 10
# Steps whose best two logits are closer than this would test the rounding.
MIN_GAP = 5e-3
# Of the ten, this many differ.
MIN_TOKENS = 3
MAX_SALTS = 40

LONG = dict(type="longrope", long_factor=[1.0, 1.5, 2.5, 4.0, 6.0, 8.0], short_factor=[1.0, 1.05, 1.1, 1.3, 1.5, 2.0])


class Case:
    """`sizes` and `published` go to the class; the latter stand in config.json as models on the hub have them, or, `as_saved`, as
    this transformers writes them. `gguf`: keys of the metadata that llama.cpp's converter leaves out though they exist, None for one that
    older files lack; no dict where files have no way to say it. `context`: positions that the model is loaded for. `scale`: of the weights."""

    def __init__(self, name, kind, sizes, published={}, gguf={}, as_saved=False, context=128, scale=0.25):
        self.name, self.kind, self.sizes, self.as_saved, self.context = name, kind, sizes, as_saved, context
        self.published, self.gguf, self.scale = published, gguf, scale

    def config(self):
        return getattr(hf, self.kind).config_class(**copy.deepcopy(self.sizes | self.published))

    def edit(self, saved):
        return saved if self.as_saved else by_older_names(saved, self.sizes, self.published)

    def run(self):
        config = self.config()
        # Gemma multiplies by 1 + w.
        center = 0.0 if config.model_type.startswith("gemma") else 1.0
        folder = Folder(getattr(hf, self.kind), config, Weights(self.scale, center), self.edit)
        tokens, logits = self.search(folder.load, config)
        case = dict(name=self.name, weights=folder.weights.described(), context=self.context, config=folder.config, tensors=folder.shapes)
        if self.gguf is not None:
            case["gguf"] = to_gguf.file(config, folder.shapes, extra=self.gguf)
        return case | dict(prompt=self.prompt(config), tokens=tokens, logits=pack(logits))

    def search(self, load, config):
        """Tokens and logits of the first salt under which the model's choices are clear and various."""
        for salt in range(MAX_SALTS):
            tokens, logits, gap = self.decode(load(salt), config)
            if gap > MIN_GAP and len(set(tokens)) >= MIN_TOKENS:
                print(f"{self.name}: salt {salt}, gap {gap:.4f}, logits ±{logits.abs().max():.2f}, tokens {tokens}", file=sys.stderr)
                return tokens, logits
        raise SystemExit(f"{self.name}: no salt gives clear and various steps")

    def prompt(self, config):
        return [(i * 37 + 11) % config.vocab_size for i in range(N_PROMPT)]

    @torch.no_grad()
    def decode(self, model, config):
        saved = model.config
        assert saved.rope_parameters == config.rope_parameters if hasattr(config, "rope_parameters") else True, saved.rope_parameters
        assert getattr(saved, "layer_types", None) == getattr(config, "layer_types", None), saved.layer_types
        # Dynamic rotations follow the longest text seen: here one that fills the context.
        model(torch.zeros(1, self.context, dtype=torch.long))
        ids, rows = self.prompt(config), []
        for _ in range(N_TOKENS + 1):
            rows.append(model(torch.tensor([ids]), use_cache=False).logits[0, -1])
            ids.append(int(rows[-1].argmax()))
        rows = torch.stack(rows)
        best = rows.topk(2).values
        return ids[N_PROMPT:-1], rows, float((best[:, 0] - best[:, 1]).min())


def sizes(hidden, layers, heads, kv_heads, vocab, ffn=100, tied=False, **more):
    given = dict(hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, vocab_size=vocab, intermediate_size=ffn,
                 max_position_embeddings=128, tie_word_embeddings=tied, bos_token_id=0, eos_token_id=1, pad_token_id=0)
    return given | (dict(num_key_value_heads=kv_heads) if kv_heads else {}) | more


LLAMA3 = dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=8.0, original_max_position_embeddings=64)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32)
OWN_YARN = dict(type="yarn", factor=4.0, original_max_position_embeddings=64, beta_fast=4.0, beta_slow=0.25, attention_factor=1.2)
FIVE_TYPES = ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention", "full_attention"]

CASES = [
    Case("llama", "LlamaForCausalLM", sizes(60, 2, 5, 1, 101, rms_norm_eps=1e-5), dict(rope_theta=10000.0)),
    Case("llama, tied, as saved", "LlamaForCausalLM", sizes(48, 3, 6, 3, 96, ffn=92, tied=True), dict(rope_theta=10000.0), as_saved=True),
    Case("llama, llama3 scaling", "LlamaForCausalLM", sizes(48, 2, 3, 1, 130, tied=True), dict(rope_theta=5e5, rope_scaling=LLAMA3)),
    Case("llama, linear scaling, wide heads", "LlamaForCausalLM", sizes(48, 2, 6, 3, 117, head_dim=16),
         dict(rope_theta=10000.0, rope_scaling=dict(type="linear", factor=2.0)), {"attention.head_count_kv": [3, 3]}),
    Case("llama, yarn", "LlamaForCausalLM", sizes(60, 2, 3, 1, 109), dict(rope_theta=1e4, rope_scaling=YARN)),
    Case("llama, yarn with its own ramp, as saved", "LlamaForCausalLM", sizes(60, 2, 3, 3, 103), dict(rope_theta=1e4, rope_scaling=OWN_YARN), as_saved=True),
    Case("llama, dynamic scaling", "LlamaForCausalLM", sizes(48, 2, 4, 2, 99, max_position_embeddings=32),
         dict(rope_theta=10000.0, rope_scaling=dict(type="dynamic", factor=2.0)), gguf=None, context=96),
    Case("llama, biases", "LlamaForCausalLM", sizes(48, 2, 4, 2, 105, attention_bias=True, mlp_bias=True), dict(rope_theta=10000.0)),
    Case("mistral", "MistralForCausalLM", sizes(48, 2, 4, 2, 111, head_dim=20, sliding_window=None), dict(rope_theta=1e6)),
    Case("mistral, window", "MistralForCausalLM", sizes(60, 3, 5, 1, 97, sliding_window=16), dict(rope_theta=1e4), {"attention.sliding_window": 16}),
    Case("qwen2, tied", "Qwen2ForCausalLM", sizes(48, 2, 6, 2, 160, tied=True, use_sliding_window=False), dict(rope_theta=1e6)),
    Case("qwen2, yarn", "Qwen2ForCausalLM", sizes(48, 2, 4, 2, 113, max_window_layers=2), dict(rope_theta=1e6, rope_scaling=YARN)),
    Case("qwen2, upper layers windowed", "Qwen2ForCausalLM", sizes(48, 4, 4, 1, 93, use_sliding_window=True, sliding_window=16, max_window_layers=2),
         dict(rope_theta=1e4), gguf=None),
    Case("qwen3", "Qwen3ForCausalLM", sizes(48, 2, 6, 3, 121, head_dim=20, tied=True), dict(rope_theta=1e6)),
    Case("qwen3, as saved", "Qwen3ForCausalLM", sizes(60, 3, 4, 1, 95, head_dim=12, attention_bias=True), dict(rope_theta=1e5), as_saved=True),
    Case("gemma", "GemmaForCausalLM", sizes(48, 2, 3, 1, 107, head_dim=20, tied=True), dict(rope_theta=10000.0, hidden_act="gelu"), scale=0.5),
    Case("gemma2", "Gemma2ForCausalLM", sizes(48, 4, 4, 2, 98, head_dim=16, tied=True, sliding_window=16, query_pre_attn_scalar=16,
         attn_logit_softcapping=2.5, final_logit_softcapping=5.0), dict(rope_theta=10000.0)),
    Case("gemma2, its own query scale, as saved", "Gemma2ForCausalLM", sizes(60, 4, 5, 5, 94, ffn=72, head_dim=12, tied=True, sliding_window=16,
         query_pre_attn_scalar=7, attn_logit_softcapping=2.5, final_logit_softcapping=5.0), dict(rope_theta=10000.0),
         {"attention.scale": 7**-0.5}, as_saved=True, scale=0.2),
    Case("gemma3", "Gemma3ForCausalLM", sizes(48, 7, 3, 1, 91, ffn=60, head_dim=20, tied=True, sliding_window=16, query_pre_attn_scalar=20),
         dict(rope_theta=1e6, rope_local_base_freq=1e4, rope_scaling=dict(rope_type="linear", factor=4.0), sliding_window_pattern=6), {"rope.freq_base_swa": None}, scale=0.2),
    Case("gemma3, types of layers, as saved", "Gemma3ForCausalLM", sizes(48, 5, 4, 2, 102, ffn=76, head_dim=12, tied=True, sliding_window=16,
         query_pre_attn_scalar=12, layer_types=FIVE_TYPES), dict(rope_theta=5e4, rope_local_base_freq=1e3),
         {"attention.sliding_window_pattern": [kind == "sliding_attention" for kind in FIVE_TYPES]}, as_saved=True, scale=0.2),
    Case("phi3", "Phi3ForCausalLM", sizes(48, 2, 4, 2, 104), dict(rope_theta=10000.0, original_max_position_embeddings=128)),
    Case("phi3, window", "Phi3ForCausalLM", sizes(60, 2, 5, 5, 92, sliding_window=16), dict(rope_theta=10000.0, original_max_position_embeddings=128)),
    Case("phi3, longrope, long", "Phi3ForCausalLM", sizes(48, 2, 4, 4, 115), dict(rope_theta=10000.0, rope_scaling=LONG, original_max_position_embeddings=32)),
    Case("phi3, longrope, short", "Phi3ForCausalLM", sizes(60, 2, 5, 1, 100), dict(rope_theta=10000.0, rope_scaling=LONG, original_max_position_embeddings=96), context=96),
    Case("phi3, partial rotation, longrope, tied", "Phi3ForCausalLM", sizes(48, 3, 3, 1, 110, tied=True),
         dict(rope_theta=10000.0, rope_scaling=LONG, original_max_position_embeddings=32, partial_rotary_factor=0.75)),
    Case("smollm3", "SmolLM3ForCausalLM", sizes(48, 5, 4, 2, 112, ffn=60, tied=True), dict(rope_theta=1e5)),
    Case("smollm3, chosen layers", "SmolLM3ForCausalLM", sizes(60, 3, 5, 1, 90, no_rope_layers=[0, 1, 1]), dict(rope_theta=1e4), gguf=None),
    Case("olmo2", "Olmo2ForCausalLM", sizes(48, 2, 6, 3, 119), dict(rope_theta=5e5)),
    Case("stablelm, biases", "StableLmForCausalLM", sizes(48, 2, 3, 1, 114, use_qkv_bias=True), dict(rope_theta=1e4, partial_rotary_factor=0.25)),
    Case("stablelm, parallel", "StableLmForCausalLM", sizes(48, 2, 2, 1, 106, use_parallel_residual=True), dict(rope_theta=1e4, partial_rotary_factor=0.5)),
    Case("stablelm, parallel, norms of heads", "StableLmForCausalLM", sizes(48, 3, 4, 2, 89, qk_layernorm=True, use_parallel_residual=True), dict(rope_theta=1e4, partial_rotary_factor=0.4)),
    Case("granite", "GraniteForCausalLM", sizes(48, 2, 4, 2, 116, tied=True, attention_multiplier=0.4, embedding_multiplier=2.5,
         residual_multiplier=0.6, logits_scaling=0.7), dict(rope_theta=1e4)),
    Case("gpt2", "GPT2LMHeadModel", dict(vocab_size=118, n_positions=128, n_embd=60, n_layer=2, n_head=5, bos_token_id=0, eos_token_id=1, pad_token_id=0)),
    Case("gpt2, own width", "GPT2LMHeadModel", dict(vocab_size=87, n_positions=128, n_embd=48, n_layer=3, n_head=4, n_inner=100, bos_token_id=0, eos_token_id=1, pad_token_id=0)),
    Case("gpt_neox, parallel", "GPTNeoXForCausalLM", sizes(48, 2, 3, None, 108, use_parallel_residual=True), dict(rotary_emb_base=10000, rotary_pct=0.25)),
    Case("gpt_neox, sequential", "GPTNeoXForCausalLM", sizes(60, 3, 3, None, 88, use_parallel_residual=False), dict(rotary_emb_base=10000, rotary_pct=0.4)),
    Case("starcoder2", "Starcoder2ForCausalLM", sizes(48, 2, 4, 2, 122, tied=True, sliding_window=None), dict(rope_theta=1e5)),
    Case("starcoder2, window", "Starcoder2ForCausalLM", sizes(60, 2, 5, 1, 86, tied=True, sliding_window=16), dict(rope_theta=1e4), {"attention.sliding_window": 16}),
    Case("phi", "PhiForCausalLM", sizes(60, 2, 3, None, 120, ffn=240), dict(rope_theta=1e4, partial_rotary_factor=0.4)),
]

if __name__ == "__main__":
    write("decoders.json", [case.run() for case in CASES if not sys.argv[1:] or any(part in case.name for part in sys.argv[1:])])
