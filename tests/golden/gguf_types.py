#!/usr/bin/env python3
"""Writes the fixture of tests/it/format.rs: every tensor type that Trice reads, and what PyPI's `gguf` decodes it to.

    pip install -r requirements.txt
    python3 gguf_types.py          # rewrites gguf_types.gguf and gguf_types.f32 beside this script

The tensors are named after their types, 5 x 512 each. The floats, the legacy types and MXFP4 are quantized from the F32
tensor by `gguf`; the others, for which it has no quantizer, are random bits with small scales. `gguf_types.f32` holds
the decoded tensors (little-endian f32) in the order of the file.
"""
import os

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS, COLS = 5, 512
# In the order of Trice's own table.
TYPES = [
    *(T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1),
    *(T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K, T.IQ4_NL, T.IQ4_XS, T.MXFP4),
]
# Types of random blocks: where each keeps its f16 scale (and minimum).
RANDOM = {T.Q2_K: (80, 82), T.Q3_K: (108,), T.Q4_K: (0, 2), T.Q5_K: (0, 2), T.Q6_K: (208,), T.IQ4_NL: (0,), T.IQ4_XS: (0,)}


def f32_weights(rng):
    """Ordinary weights, and blocks that rounding may get wrong."""
    w = rng.standard_normal((ROWS, COLS), np.float32)
    w[1, :32] = 0  # scale 0
    w[1, 32:64] = np.linspace(-8, 8, 32)  # a tie between the extremes; many halves
    w[1, 64:96] = np.arange(32) % 2 - 0.5  # one magnitude, both signs
    w[1, 96:128] = 3.25  # no spread: Q5_1's scale is 0
    w[1, 128:160] *= 1e-6  # scales that are subnormal in f16
    w[1, 160:192] *= 1e4
    w[1, 192:224] = np.abs(w[1, 192:224])
    return w


def random_blocks(rng, kind):
    n_weights, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (ROWS * COLS // n_weights, size), np.uint8)
    for at in RANDOM[kind]:
        scale = rng.uniform(1e-5, 1e-3, (len(blocks), 1)).astype(np.float16)
        blocks[:, at : at + 2] = scale.view(np.uint8)
    return blocks.reshape(ROWS, -1)


def main():
    rng = np.random.default_rng(0)
    weights = f32_weights(rng)
    writer = gguf.GGUFWriter(os.path.join(HERE, "gguf_types.gguf"), "llama")
    decoded = []
    for kind in TYPES:
        data = random_blocks(rng, kind) if kind in RANDOM else gguf.quantize(weights, kind)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        decoded.append(gguf.dequantize(data, kind).astype("<f4"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    np.concatenate(decoded).tofile(os.path.join(HERE, "gguf_types.f32"))


if __name__ == "__main__":
    main()
