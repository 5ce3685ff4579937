#!/usr/bin/env python3
"""A Q4_0 GGUF file of the Llama family as ONNX, so that transformers.js can be timed on the very same weights.

    pip install gguf numpy onnx
    python3 llama_onnx.py MODEL.gguf OUT        # OUT/config.json, OUT/onnx/model_q4.onnx

The graph is the one that transformers.js's published chat models have: 4-bit and 8-bit MatMulNBits on the file's own
blocks, grouped query attention with the rotation inside, fused norms. Only the last token reaches the head, as in Trice.
"""
import json
import os
import sys

import gguf
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BLOCK = 32


class Graph:
    """Nodes and weights in the order they are added."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def weight(self, name, array):
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, op, inputs, outputs, **attributes):
        domain = "com.microsoft" if op in CONTRIB else ""
        self.nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], domain=domain, **attributes))
        return outputs[0]


CONTRIB = {"MatMulNBits", "GroupQueryAttention", "SkipSimplifiedLayerNormalization"}


def quantized(graph, tensor, x, y):
    """`y = x · tensorᵀ`, with the file's blocks: unsigned weights around a zero point of 8 or 128, one scale a block."""
    rows, blocks = int(tensor.shape[1]), int(tensor.shape[0]) // BLOCK
    raw = np.asarray(tensor.data).reshape(rows, blocks, -1)
    scales = raw[:, :, :2].copy().view(np.float16).astype(np.float32)
    if tensor.tensor_type == gguf.GGMLQuantizationType.Q4_0:
        # GGUF pairs weight i with i + 16 in a byte; ONNX pairs neighbours.
        levels = np.concatenate([raw[:, :, 2:] & 15, raw[:, :, 2:] >> 4], axis=2)
        bits, packed = 4, levels[:, :, 0::2] | (levels[:, :, 1::2] << 4)
    elif tensor.tensor_type == gguf.GGMLQuantizationType.Q8_0:
        bits, packed = 8, raw[:, :, 2:] ^ 128
    else:
        sys.exit(f"{tensor.name}: {tensor.tensor_type.name} has no counterpart; Q4_0 and Q8_0 have")
    inputs = [x, graph.weight(f"{y}.q", packed), graph.weight(f"{y}.scales", scales.reshape(-1))]
    shape = {"K": blocks * BLOCK, "N": rows, "bits": bits, "block_size": BLOCK, "accuracy_level": 4}
    return graph.node("MatMulNBits", inputs, [y], **shape)


def rotations(config):
    """Cosines and sines, `(context, head_dim / 2)`."""
    half = config["head_dim"] // 2
    frequencies = config["rope_theta"] ** (-np.arange(half) / half)
    angles = np.outer(np.arange(config["max_position_embeddings"]), frequencies)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def build(tensors, config):
    graph = Graph()
    eps = config["rms_norm_eps"]
    norm = lambda name: graph.weight(name, np.asarray(tensors[name].data, np.float32))
    table = gguf.dequantize(tensors["token_embd.weight"].data, tensors["token_embd.weight"].tensor_type)
    cos, sin = rotations(config)
    cos, sin = graph.weight("cos", cos), graph.weight("sin", sin)

    # Lengths, from the mask: all tokens so far, and the place of the last.
    axis, one = graph.weight("axis", np.array([1])), graph.weight("one", np.array([1]))
    n_valid = graph.node("ReduceSum", ["attention_mask", axis], ["n_valid"], keepdims=1)
    last = graph.node("Sub", [n_valid, one], ["last"])
    seqlens = graph.node("Cast", [last], ["seqlens"], to=TensorProto.INT32)
    shape = graph.node("Shape", ["attention_mask"], ["mask_shape"])
    length = graph.node("Gather", [shape, graph.weight("second", np.array(1))], ["length"])
    total = graph.node("Cast", [length], ["total"], to=TensorProto.INT32)

    h = graph.node("Gather", [graph.weight("embedding", table), "input_ids"], ["embedded"])
    x = graph.node("SimplifiedLayerNormalization", [h, norm("blk.0.attn_norm.weight")], ["normed"], epsilon=eps, axis=-1)
    for i in range(config["num_hidden_layers"]):
        name = lambda part: f"blk.{i}.{part}"
        matmul = lambda part, x: quantized(graph, tensors[name(f"{part}.weight")], x, name(part))

        def add_and_norm(part, weight):
            outputs = [name(f"{part}.normed"), "", "", name(f"{part}.sum")]
            graph.node("SkipSimplifiedLayerNormalization", [h, name(part), norm(weight)], outputs, epsilon=eps)
            return outputs[0], outputs[3]

        q, k, v = (matmul(f"attn_{part}", x) for part in "qkv")
        past = [f"past_key_values.{i}.key", f"past_key_values.{i}.value"]
        outputs = [name("attention"), f"present.{i}.key", f"present.{i}.value"]
        heads = {"num_heads": config["num_attention_heads"], "kv_num_heads": config["num_key_value_heads"]}
        inputs = [q, k, v, *past, seqlens, total, cos, sin]
        graph.node("GroupQueryAttention", inputs, outputs, **heads, do_rotary=1, rotary_interleaved=1)
        matmul("attn_output", outputs[0])
        x, h = add_and_norm("attn_output", name("ffn_norm.weight"))
        gate, up = matmul("ffn_gate", x), matmul("ffn_up", x)
        sigmoid = graph.node("Sigmoid", [gate], [name("sigmoid")])
        silu = graph.node("Mul", [gate, sigmoid], [name("silu")])
        graph.node("Mul", [silu, up], [name("gated")])
        matmul("ffn_down", name("gated"))
        is_last = i + 1 == config["num_hidden_layers"]
        x, h = add_and_norm("ffn_down", "output_norm.weight" if is_last else f"blk.{i + 1}.attn_norm.weight")

    ends = [graph.weight(f"from_{n}", np.array([n])) for n in (-1, np.iinfo(np.int64).max)]
    x = graph.node("Slice", [x, *ends, axis], ["last_hidden"])
    head = tensors.get("output.weight", tensors["token_embd.weight"])
    quantized(graph, head, x, "logits")
    return graph


def values(config):
    """The graph's inputs and outputs, by the names that transformers.js looks for."""
    info = helper.make_tensor_value_info
    cache = ["batch_size", config["num_key_value_heads"], "past_sequence_length", config["head_dim"]]
    layers = [(i, part) for i in range(config["num_hidden_layers"]) for part in ("key", "value")]
    inputs = [info("input_ids", TensorProto.INT64, ["batch_size", "n"]), info("attention_mask", TensorProto.INT64, ["batch_size", "all"])]
    inputs += [info(f"past_key_values.{i}.{part}", TensorProto.FLOAT, cache) for i, part in layers]
    outputs = [info("logits", TensorProto.FLOAT, ["batch_size", 1, config["vocab_size"]])]
    outputs += [info(f"present.{i}.{part}", TensorProto.FLOAT, cache) for i, part in layers]
    return inputs, outputs


def main(path, out):
    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    field = lambda name: reader.fields[f"llama.{name}"].contents()
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": field("embedding_length"),
        "intermediate_size": field("feed_forward_length"),
        "num_hidden_layers": field("block_count"),
        "num_attention_heads": field("attention.head_count"),
        "num_key_value_heads": field("attention.head_count_kv"),
        "head_dim": field("embedding_length") // field("attention.head_count"),
        "max_position_embeddings": min(field("context_length"), 2048),
        "rms_norm_eps": field("attention.layer_norm_rms_epsilon"),
        "rope_theta": field("rope.freq_base"),
        "vocab_size": int(tensors["token_embd.weight"].shape[1]),
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    graph = build(tensors, config)
    inputs, outputs = values(config)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph(graph.nodes, "llama", inputs, outputs, graph.weights), opset_imports=opsets)
    model.ir_version = 10
    os.makedirs(os.path.join(out, "onnx"), exist_ok=True)
    with open(os.path.join(out, "config.json"), "w") as file:
        json.dump(config, file, indent=2)
    onnx.save(model, os.path.join(out, "onnx", "model_q4.onnx"))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
