//! `random:SHAPE[:QUANT]`: models of real shapes with seeded random weights, for benchmarks, tests and the page's probe
//! before a download. Weights are made as they are read, so that no model is ever whole in memory. Their names and
//! types are those that llama.cpp's own mixes would have.

mod vocab;
mod weights;

use super::checkpoint::{Checkpoint, Config};
use super::mix::Mix;
use super::view::View;
use super::{DType, Metadata, TensorInfo, Value};
use crate::error::{Error, Result};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use weights::{Fill, RandomSource};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Decoder,
    Encoder,
}

/// Hyperparameters of a model that someone has trained.
struct Shape {
    name: &'static str,
    kind: Kind,
    dim: u64,
    n_layers: u64,
    n_heads: u64,
    n_kv_heads: u64,
    ffn_dim: u64,
    vocab_size: u64,
    context_len: u64,
    /// The head is the embedding.
    is_tied: bool,
}

const fn decoder(name: &'static str, [dim, n_layers, n_heads, n_kv_heads, ffn_dim, vocab_size]: [u64; 6]) -> Shape {
    let (kind, context_len, is_tied) = (Kind::Decoder, 8192, true);
    Shape { name, kind, dim, n_layers, n_heads, n_kv_heads, ffn_dim, vocab_size, context_len, is_tied }
}

const WIDE: Shape = decoder("wide", [2048, 1, 32, 8, 2048, 262_144]);

const SHAPES: &[Shape] = &[
    // llama2.c's two story models (the first also with a vocabulary as large as Gemma's), SmolLM2-135M, Llama-3.2-1B,
    // one layer of that with a vocabulary as large as Gemma's, its head the embedding or apart; all-MiniLM-L6-v2
    decoder("15m", [288, 6, 6, 6, 768, 32_000]),
    decoder("15m-256k", [288, 6, 6, 6, 768, 262_144]),
    decoder("110m", [768, 12, 12, 12, 2048, 32_000]),
    decoder("135m", [576, 30, 9, 3, 1536, 49_152]),
    decoder("1b", [2048, 16, 32, 8, 8192, 49_152]),
    WIDE,
    Shape { name: "wide-untied", is_tied: false, ..WIDE },
    Shape {
        name: "minilm",
        kind: Kind::Encoder,
        dim: 384,
        n_layers: 6,
        n_heads: 12,
        n_kv_heads: 12,
        ffn_dim: 1536,
        vocab_size: 30_522,
        context_len: 512,
        is_tied: true,
    },
];

impl Checkpoint {
    /// A model without files: `SHAPE[:QUANT]`, with or without `random:` before it.
    pub fn random(spec: &str) -> Result<Self> {
        let (shape, mix) = parse(spec)?;
        let mut tensors = BTreeMap::new();
        let mut source = RandomSource::new(format!("random:{}", shape.name));
        for (name, shape, dtype, fill) in describe(shape, mix) {
            let n_bytes = shape.iter().rev().skip(1).fold(dtype.row_bytes(shape[shape.len() - 1]), |bytes, dim| {
                bytes.and_then(|bytes| bytes.checked_mul(*dim))
            });
            let Some(n_bytes) = n_bytes else {
                return Err(Error::unsupported(format!("tensor {name} of shape {shape:?} in {}", dtype.name())));
            };
            let offset = source.add(dtype, fill, n_bytes);
            tensors
                .insert(name.clone(), TensorInfo { name, dtype, shape, file: 0, offset, n_bytes, view: View::AsFiled });
        }
        Ok(Self {
            name: format!("random:{}", spec.trim_start_matches("random:")),
            config: Config::Gguf(metadata(shape)),
            files: vec![Rc::new(source)],
            side: BTreeMap::new(),
            tensors,
            safetensors_metadata: HashMap::new(),
            filed: HashMap::new(),
            importance: HashMap::new(),
            adapters: Vec::new(),
            n_adapters: 0,
            transposed: RefCell::default(),
        })
    }
}

fn parse(spec: &str) -> Result<(&'static Shape, Mix)> {
    let given = spec.strip_prefix("random:").unwrap_or(spec);
    let (name, quant) = given.split_once(':').map_or((given, None), |(name, quant)| (name, Some(quant)));
    let Some(shape) = SHAPES.iter().find(|shape| shape.name.eq_ignore_ascii_case(name)) else {
        let names: Vec<&str> = SHAPES.iter().map(|shape| shape.name).collect();
        return Err(Error::invalid(format!("a random model's shape of {} wanted, found {name:?}", names.join(", "))));
    };
    let default = if shape.kind == Kind::Decoder { "Q4_0" } else { "F16" };
    Ok((shape, Mix::from_name(quant.unwrap_or(default))?))
}

type Description = (String, Vec<u64>, DType, Fill);

/// Every tensor of a model, in the order of its file.
fn describe(shape: &Shape, mix: Mix) -> Vec<Description> {
    let mut out = Vec::new();
    let dim = shape.dim;
    let matrix = |name: &str, rows: u64, cols: u64| {
        (format!("{name}.weight"), vec![rows, cols], mix.dtype_of(name, cols, shape.n_layers), Fill::Random)
    };
    out.push(matrix("token_embd", shape.vocab_size, dim));
    if !shape.is_tied {
        out.push(matrix("output", shape.vocab_size, dim));
    }
    match shape.kind {
        Kind::Decoder => out.push(constant("output_norm.weight", dim, 1.0)),
        Kind::Encoder => {
            out.push(("position_embd.weight".to_owned(), vec![shape.context_len, dim], DType::F32, Fill::Random));
            out.push(("token_types.weight".to_owned(), vec![2, dim], DType::F32, Fill::Random));
            out.extend(layer_norm("token_embd_norm", dim));
        }
    }
    let kv_dim = dim / shape.n_heads * shape.n_kv_heads;
    let attention = [("attn_q", dim, dim), ("attn_k", kv_dim, dim), ("attn_v", kv_dim, dim), ("attn_output", dim, dim)];
    let mlp = [("ffn_gate", shape.ffn_dim, dim), ("ffn_up", shape.ffn_dim, dim), ("ffn_down", dim, shape.ffn_dim)];
    for layer in 0..shape.n_layers {
        let block = |name: &str| format!("blk.{layer}.{name}");
        let matrices = attention.iter().chain(mlp.iter().skip(usize::from(shape.kind == Kind::Encoder)));
        for &(name, rows, cols) in matrices {
            out.push(matrix(&block(name), rows, cols));
            if shape.kind == Kind::Encoder {
                out.push(constant(&format!("{}.bias", block(name)), rows, 0.0));
            }
        }
        match shape.kind {
            Kind::Decoder => {
                out.push(constant(&block("attn_norm.weight"), dim, 1.0));
                out.push(constant(&block("ffn_norm.weight"), dim, 1.0));
            }
            Kind::Encoder => {
                out.extend(layer_norm(&block("attn_output_norm"), dim));
                out.extend(layer_norm(&block("layer_output_norm"), dim));
            }
        }
    }
    out
}

fn constant(name: &str, len: u64, value: f32) -> Description {
    (name.to_owned(), vec![len], DType::F32, Fill::Constant(value))
}

fn layer_norm(name: &str, len: u64) -> [Description; 2] {
    [constant(&format!("{name}.weight"), len, 1.0), constant(&format!("{name}.bias"), len, 0.0)]
}

/// The header that a file of this model would have.
fn metadata(shape: &Shape) -> Metadata {
    let (architecture, norm_eps) = match shape.kind {
        Kind::Decoder => ("llama", ("attention.layer_norm_rms_epsilon", 1e-5)),
        Kind::Encoder => ("bert", ("attention.layer_norm_epsilon", 1e-12)),
    };
    let mut keys = HashMap::from([
        ("general.architecture".to_owned(), Value::String(architecture.to_owned())),
        ("general.name".to_owned(), Value::String(format!("random {}", shape.name))),
    ]);
    let mut set = |key: &str, value: Value| keys.insert(format!("{architecture}.{key}"), value);
    set("block_count", Value::U64(shape.n_layers));
    set("context_length", Value::U64(shape.context_len));
    set("embedding_length", Value::U64(shape.dim));
    set("feed_forward_length", Value::U64(shape.ffn_dim));
    set("attention.head_count", Value::U64(shape.n_heads));
    set("vocab_size", Value::U64(shape.vocab_size));
    set(norm_eps.0, Value::F64(norm_eps.1));
    match shape.kind {
        Kind::Decoder => {
            set("attention.head_count_kv", Value::U64(shape.n_kv_heads));
            set("rope.dimension_count", Value::U64(shape.dim / shape.n_heads));
            set("rope.freq_base", Value::F64(10_000.0));
            keys.extend(vocab::byte_level(shape.vocab_size));
        }
        Kind::Encoder => {
            set("attention.causal", Value::Bool(false));
            // llama.cpp's number for the mean
            set("pooling_type", Value::U64(1));
            keys.extend(vocab::word_piece(shape.vocab_size));
        }
    }
    Metadata(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(checkpoint: &Checkpoint, name: &str, first_row: u64, n_rows: u64) -> Vec<u8> {
        let tensor = checkpoint.tensor(name).unwrap();
        pollster::block_on(checkpoint.read_rows(tensor, first_row, n_rows)).unwrap()
    }

    #[test]
    fn any_range_of_any_type_reads_the_same_bytes() {
        for dtype in DType::all() {
            let checkpoint = Checkpoint::random(&format!("random:110m:{}", dtype.name())).unwrap();
            let tensor = checkpoint.tensor("blk.1.attn_q.weight").unwrap();
            assert_eq!(tensor.dtype, dtype);
            let whole = read(&checkpoint, "blk.1.attn_q.weight", 0, 768);
            let again = Checkpoint::random(&format!("110m:{}", dtype.name())).unwrap();
            assert_eq!(read(&again, "blk.1.attn_q.weight", 8, 5), whole[whole.len() / 96..][..whole.len() / 768 * 5]);
            assert_ne!(read(&checkpoint, "blk.2.attn_q.weight", 0, 768), whole);
            // A range that begins and ends inside blocks and crosses tensors.
            let file = &checkpoint.files[0];
            let start = tensor.offset + tensor.n_bytes - 777;
            let end = pollster::block_on(file.read(start, 2000)).unwrap();
            assert_eq!(end[..777], whole[whole.len() - 777..]);
        }
    }

    #[test]
    fn weights_are_finite_and_near_their_spread() {
        for dtype in DType::all() {
            let checkpoint = Checkpoint::random(&format!("110m:{}", dtype.name())).unwrap();
            let weights = super::super::blocks::dequantize(dtype, &read(&checkpoint, "blk.0.ffn_up.weight", 0, 512));
            let n = weights.len() as f64;
            let mean = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / n;
            let spread = (weights.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>() / n).sqrt();
            assert!(mean.abs() < 3e-3 && (0.01..0.04).contains(&spread), "{}: {mean} {spread}", dtype.name());
        }
    }

    #[test]
    fn shapes_have_their_known_sizes() {
        let n_params = |spec| Checkpoint::random(spec).unwrap().n_params();
        assert_eq!(n_params("135m"), 134_515_008);
        assert_eq!(n_params("15m"), 15_191_712);
        assert_eq!(n_params("minilm"), 22_565_376);
        // The sizes that the peers' own files of these mixes have.
        let sizes = [
            ("15m", 13_166_208),
            ("15m:Q4_K_M", 13_923_072),
            ("15m:Q6_K", 15_830_784),
            ("15m:Q8_0", 16_152_192),
            ("15m:F16", 30_390_912),
        ];
        for (spec, n_bytes) in sizes {
            assert_eq!(Checkpoint::random(spec).unwrap().weight_bytes(), n_bytes, "{spec}");
        }
        let mix = Checkpoint::random("random:1b:q4_k_m").unwrap();
        assert_eq!(mix.tensor("token_embd.weight").unwrap().dtype, DType::Q6_K);
        assert_eq!(mix.tensor("blk.0.ffn_down.weight").unwrap().dtype, DType::Q6_K);
        assert_eq!(mix.tensor("blk.3.ffn_down.weight").unwrap().dtype, DType::Q4_K);
    }

    #[test]
    fn vocabularies_are_whole_and_unique() {
        for shape in SHAPES {
            let Config::Gguf(metadata) = Checkpoint::random(shape.name).unwrap().config else { unreachable!() };
            let tokens = metadata.strings("tokenizer.ggml.tokens").unwrap();
            let unique: std::collections::HashSet<&String> = tokens.iter().collect();
            assert_eq!((tokens.len() as u64, unique.len()), (shape.vocab_size, tokens.len()));
            assert_eq!(metadata.ints("tokenizer.ggml.token_type").unwrap().len(), tokens.len());
        }
    }

    #[test]
    fn refuses_unknown_shapes_and_types() {
        for spec in ["", "random:", "7b", "15m:Q9_0", "15m:Q4_0:x"] {
            assert!(matches!(Checkpoint::random(spec), Err(Error::Invalid { .. })), "{spec:?}");
        }
    }
}
