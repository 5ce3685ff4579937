"""What a GGUF of a tiny model holds: metadata and tensors under the names and in the order of values that llama.cpp's files have.

Tensors are [name, op, [Hugging Face's names]], or [name, "values", [numbers]] for those that come from the config. Ops:
same; transpose; add_one; permute:H (rows of each of H heads, halves interleaved); qkv:H (rows of (head, q k v, d) to (q k v, head,
d)); stack (vectors to a matrix); rows:A (from row A on).
"""
import math
import re

import gguf
from gguf import MODEL_ARCH, Keys

ARCHITECTURES = {
    "llama": MODEL_ARCH.LLAMA, "mistral": MODEL_ARCH.LLAMA, "qwen2": MODEL_ARCH.QWEN2, "qwen3": MODEL_ARCH.QWEN3,
    "gemma": MODEL_ARCH.GEMMA, "gemma2": MODEL_ARCH.GEMMA2, "gemma3_text": MODEL_ARCH.GEMMA3, "phi": MODEL_ARCH.PHI2,
    "phi3": MODEL_ARCH.PHI3, "smollm3": MODEL_ARCH.SMOLLM3, "olmo2": MODEL_ARCH.OLMO2, "stablelm": MODEL_ARCH.STABLELM,
    "granite": MODEL_ARCH.GRANITE, "gpt2": MODEL_ARCH.GPT2, "gpt_neox": MODEL_ARCH.GPTNEOX, "starcoder2": MODEL_ARCH.STARCODER2,
    "bert": MODEL_ARCH.BERT, "distilbert": MODEL_ARCH.BERT, "roberta": MODEL_ARCH.BERT, "xlm-roberta": MODEL_ARCH.BERT,
    "modernbert": MODEL_ARCH.MODERN_BERT, "nomic_bert": MODEL_ARCH.NOMIC_BERT,
}
# Their files turn q and k for rotations of neighbouring values.
PERMUTED = ("llama", "mistral", "granite", "smollm3")
# The first name that a config has is meant.
SIZES = [
    (Keys.LLM.CONTEXT_LENGTH, ["max_position_embeddings", "n_positions"]),
    (Keys.LLM.EMBEDDING_LENGTH, ["hidden_size"]),
    (Keys.LLM.BLOCK_COUNT, ["num_hidden_layers"]),
    (Keys.Attention.HEAD_COUNT, ["num_attention_heads"]),
    (Keys.Attention.HEAD_COUNT_KV, ["num_key_value_heads"]),
]
EPSILONS = [
    (Keys.Attention.LAYERNORM_RMS_EPS, ["rms_norm_eps"]),
    (Keys.Attention.LAYERNORM_EPS, ["layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"]),
]


def first(config, names):
    return next((value for name in names if (value := getattr(config, name, None)) is not None), None)


def rope_parameters(config, layers="full_attention"):
    rope = getattr(config, "rope_parameters", None) or {}
    return rope.get(layers) or ({} if layers == "sliding_attention" else rope)


def head_dim(config):
    return first(config, ["head_dim"]) or config.hidden_size // config.num_attention_heads


def feed_forward_length(config):
    if config.model_type == "gpt2":
        return config.n_inner or 4 * config.n_embd
    return first(config, ["intermediate_size", "hidden_dim"])


def rope_metadata(config):
    """Base and scaling; factors by frequency are tensors."""
    rope = rope_parameters(config)
    meta = {}
    if config.model_type not in ("gemma", "gemma2", "stablelm", "gpt_neox", "phi") and "rope_theta" in rope:
        meta[Keys.Rope.FREQ_BASE] = float(rope["rope_theta"])
    local = rope_parameters(config, "sliding_attention")
    if "rope_theta" in local:
        meta[Keys.Rope.FREQ_BASE_SWA] = float(local["rope_theta"])
    kind = rope.get("rope_type", "default")
    if kind in ("linear", "yarn"):
        meta |= {Keys.Rope.SCALING_TYPE: kind, Keys.Rope.SCALING_FACTOR: float(rope["factor"])}
    if kind == "yarn":
        meta[Keys.Rope.SCALING_ORIG_CTX_LEN] = rope["original_max_position_embeddings"]
        for key, names in [(Keys.Rope.SCALING_YARN_ATTN_FACTOR, ["attention_factor"]), (Keys.Rope.SCALING_YARN_BETA_FAST, ["beta_fast"]),
                           (Keys.Rope.SCALING_YARN_BETA_SLOW, ["beta_slow"])]:
            meta |= {key: float(rope[name]) for name in names if rope.get(name) is not None}
    if config.model_type == "phi3":
        original = rope.get("original_max_position_embeddings", config.original_max_position_embeddings)
        meta[Keys.Rope.SCALING_ORIG_CTX_LEN] = original
        if kind == "longrope":
            scale = config.max_position_embeddings / original
            factor = math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0
            meta |= {Keys.Rope.SCALING_TYPE: kind, Keys.Rope.SCALING_ATTN_FACTOR: factor}
    return meta


def rotated(config):
    """Values of a head that rotate, for the architectures whose files say so."""
    share = rope_parameters(config).get("partial_rotary_factor", 1.0)
    if config.model_type in ("stablelm", "gpt_neox", "phi", "phi3"):
        return {Keys.Rope.DIMENSION_COUNT: int(share * head_dim(config))}
    return {Keys.Rope.DIMENSION_COUNT: head_dim(config)} if config.model_type in PERMUTED else {}


def architecture_metadata(config):
    """What only one architecture has."""
    match config.model_type:
        case "llama" | "mistral" | "smollm3":
            return {Keys.LLM.VOCAB_SIZE: config.vocab_size}
        case "granite":
            return {Keys.LLM.VOCAB_SIZE: config.vocab_size, Keys.Attention.SCALE: float(config.attention_multiplier),
                    Keys.LLM.EMBEDDING_SCALE: float(config.embedding_multiplier), Keys.LLM.RESIDUAL_SCALE: float(config.residual_multiplier),
                    Keys.LLM.LOGIT_SCALE: float(config.logits_scaling)}
        case "gemma2":
            return {Keys.LLM.ATTN_LOGIT_SOFTCAPPING: float(config.attn_logit_softcapping), Keys.Attention.SLIDING_WINDOW: config.sliding_window,
                    Keys.LLM.FINAL_LOGIT_SOFTCAPPING: float(config.final_logit_softcapping)}
        case "gemma3_text":
            return {Keys.Attention.SLIDING_WINDOW: config.sliding_window}
        case "phi3":
            return {Keys.Attention.SLIDING_WINDOW: config.sliding_window or 0}
        case "stablelm" | "gpt_neox":
            # The converter writes true for a StableLM whose config.json does not say it: its norms do.
            is_parallel = config.model_type == "stablelm" or config.use_parallel_residual
            return {Keys.LLM.USE_PARALLEL_RESIDUAL: is_parallel}
        case "modernbert":
            return {Keys.Attention.SLIDING_WINDOW: config.local_attention, Keys.Rope.SCALING_TYPE: "none",
                    Keys.LLM.VOCAB_SIZE: config.vocab_size}
        case _:
            return {}


def metadata(config):
    arch = gguf.MODEL_ARCH_NAMES[ARCHITECTURES[config.model_type]]
    meta = {key: value for key, names in SIZES if (value := first(config, names)) is not None}
    meta[Keys.LLM.FEED_FORWARD_LENGTH] = feed_forward_length(config)
    meta |= {key: float(value) for key, names in EPSILONS if (value := first(config, names)) is not None}
    if config.model_type == "distilbert":
        meta[Keys.Attention.LAYERNORM_EPS] = 1e-12
    if getattr(config, "head_dim", None) is not None and config.model_type != "granite":
        meta |= {Keys.Attention.KEY_LENGTH: config.head_dim, Keys.Attention.VALUE_LENGTH: config.head_dim}
    meta |= rope_metadata(config) | rotated(config) | architecture_metadata(config)
    meta = {key.format(arch=arch): value for key, value in meta.items()}
    return {Keys.General.ARCHITECTURE: arch, Keys.General.FILE_TYPE: 0} | meta


def rope_tensors(config):
    rope = rope_parameters(config)
    match rope.get("rope_type"):
        case "llama3":
            return [["rope_freqs.weight", "values", llama3_factors(rope, head_dim(config))]]
        case "longrope":
            return [[f"rope_factors_{kind}.weight", "values", [float(v) for v in rope[f"{kind}_factor"]]] for kind in ("long", "short")]
        case _:
            return []


def llama3_factors(rope, dim):
    """What each frequency is divided by."""
    low, high, original = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    factors = []
    for i in range(0, dim, 2):
        turns = original * rope["rope_theta"] ** (-i / dim) / (2 * math.pi)
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return factors


def operation(config, name):
    kind = config.model_type
    if kind in PERMUTED and re.search(r"\.q_proj\.", name):
        return f"permute:{config.num_attention_heads}"
    if kind in PERMUTED and re.search(r"\.k_proj\.", name):
        return f"permute:{config.num_key_value_heads}"
    if kind.startswith("gemma") and name.endswith("norm.weight"):
        return "add_one"
    if kind == "gpt2" and re.search(r"\.(c_attn|c_proj|c_fc)\.weight$", name):
        return "transpose"
    if kind == "gpt_neox" and "query_key_value" in name:
        return f"qkv:{config.num_attention_heads}"
    if kind in ("roberta", "xlm-roberta") and name.endswith("position_embeddings.weight"):
        return f"rows:{config.pad_token_id + 1}"
    return "same"


def tensors(config, names, rename=lambda name: name):
    """`rename` gives the name that the map knows, None for a tensor that a GGUF has no place for."""
    arch = ARCHITECTURES[config.model_type]
    by_hf = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    found, stacks = [], {}
    for name in names:
        known = rename(name)
        if known is None:
            continue
        if match := re.fullmatch(r"(.*layernorm)\.norms\.(\d+)\.weight", known):
            stacks.setdefault(match[1] + ".weight", {})[int(match[2])] = name
            continue
        ours = by_hf.get_name(known, try_suffixes=(".weight", ".bias"))
        assert ours, f"{arch}: no name for {name}"
        found.append([ours, operation(config, name), [name]])
    for known, heads in stacks.items():
        found.append([by_hf.get_name(known, try_suffixes=(".weight",)), "stack", [heads[i] for i in range(len(heads))]])
    return found + rope_tensors(config)


def file(config, names, rename=lambda name: name, extra=None):
    """`extra` metadata, without the architecture's name before the key; None takes a key away."""
    meta = metadata(config)
    arch = meta[Keys.General.ARCHITECTURE]
    meta |= {f"{arch}.{key}": value for key, value in (extra or {}).items()}
    return {"metadata": {key: value for key, value in meta.items() if value is not None}, "tensors": tensors(config, names, rename)}
