//! Toy models of two layers with seeded random weights, right by default and wrong wherever a test wants them to be.

use super::gguf_writer::GgufWriter;
use super::gpu::open_bytes;
use super::reference::noise;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::rc::Rc;
use trice::format::{Checkpoint, DType, blocks};
use trice::hub::ModelFiles;
use trice::source::{MemorySource, Source};

pub const DIM: u64 = 64;
pub const FFN_DIM: u64 = 256;
pub const N_LAYERS: u32 = 2;
pub const CONTEXT: u32 = 64;
const KV_DIM: u64 = 32;

/// A metadata value.
#[derive(Clone)]
pub enum Meta {
    Uint(u32),
    Float(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Ints(Vec<i32>),
}

/// A tensor: type, shape, file bytes.
type Tensor = (DType, Vec<u64>, Vec<u8>);

/// A model as it will stand in a file.
#[derive(Clone)]
pub struct Toy {
    pub meta: BTreeMap<String, Meta>,
    pub tensors: BTreeMap<String, Tensor>,
}

/// The printable characters that stand for the 256 bytes in a byte-level vocabulary.
fn byte_tokens() -> Vec<String> {
    let is_plain = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut stand_ins = 256..;
    let char_of = |byte| if is_plain(byte) { byte } else { stand_ins.next().unwrap() };
    (0..256).map(char_of).map(|code| char::from_u32(code).unwrap().to_string()).collect()
}

/// 256 bytes, a merged token, a begin and an end token.
pub fn decoder_tokens() -> Vec<String> {
    let mut tokens = byte_tokens();
    tokens.extend(["th", "<|begin|>", "<|end|>"].map(str::to_owned));
    tokens
}

/// Special tokens, then letters that begin a word, then letters that continue one.
fn encoder_tokens() -> Vec<String> {
    let specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let begin = ('a'..='z').map(|letter| format!("\u{2581}{letter}"));
    specials.into_iter().chain(begin).chain(('a'..='z').map(String::from)).collect()
}

impl Toy {
    fn new(architecture: &str, sizes: &[(&str, u32)]) -> Self {
        let toy = Self { meta: BTreeMap::new(), tensors: BTreeMap::new() };
        let toy = toy.set("general.architecture", Meta::Text(architecture.to_owned()));
        sizes.iter().fold(toy, |toy, (key, value)| toy.set(&format!("{architecture}.{key}"), Meta::Uint(*value)))
    }

    /// A decoder with a byte-level vocabulary: grouped heads, a head of its own.
    pub fn llama() -> Self {
        let mut toy = Self::new(
            "llama",
            &[
                ("block_count", N_LAYERS),
                ("context_length", CONTEXT),
                ("embedding_length", DIM as u32),
                ("feed_forward_length", FFN_DIM as u32),
                ("attention.head_count", 4),
                ("attention.head_count_kv", 2),
            ],
        );
        let tokens = decoder_tokens();
        let kinds = (0..tokens.len()).map(|id| if id > 256 { 3 } else { 1 }).collect();
        let n_tokens = tokens.len() as u64;
        for (key, value) in [
            ("llama.attention.layer_norm_rms_epsilon", Meta::Float(1e-5)),
            ("llama.rope.freq_base", Meta::Float(10_000.0)),
            ("tokenizer.ggml.model", Meta::Text("gpt2".to_owned())),
            ("tokenizer.ggml.pre", Meta::Text("gpt-2".to_owned())),
            ("tokenizer.ggml.tokens", Meta::Texts(tokens)),
            ("tokenizer.ggml.token_type", Meta::Ints(kinds)),
            ("tokenizer.ggml.merges", Meta::Texts(vec!["t h".to_owned()])),
            ("tokenizer.ggml.bos_token_id", Meta::Uint(257)),
            ("tokenizer.ggml.eos_token_id", Meta::Uint(258)),
        ] {
            toy = toy.set(key, value);
        }
        toy = toy.random("token_embd.weight", &[n_tokens, DIM]).random("output.weight", &[n_tokens, DIM]);
        toy = toy.random("output_norm.weight", &[DIM]);
        for layer in 0..N_LAYERS {
            for (name, shape) in [
                ("attn_norm", &[DIM][..]),
                ("attn_q", &[DIM, DIM]),
                ("attn_k", &[KV_DIM, DIM]),
                ("attn_v", &[KV_DIM, DIM]),
                ("attn_output", &[DIM, DIM]),
                ("ffn_norm", &[DIM]),
                ("ffn_gate", &[FFN_DIM, DIM]),
                ("ffn_up", &[FFN_DIM, DIM]),
                ("ffn_down", &[DIM, FFN_DIM]),
            ] {
                toy = toy.random(&format!("blk.{layer}.{name}.weight"), shape);
            }
        }
        toy
    }

    /// The llama, made to write `script` after any text and then to end: a token each, with its type as GGUF counts them (3: special, 4:
    /// added). Its layers add nothing, so that the last token alone says what is next.
    pub fn parrot(script: &[(&str, i32)]) -> Self {
        let mut tokens = decoder_tokens();
        let mut kinds: Vec<i32> = (0..tokens.len()).map(|id| if id > 256 { 3 } else { 1 }).collect();
        let (first, end) = (tokens.len(), tokens.len() - 1);
        tokens.extend(script.iter().map(|(text, _)| (*text).to_owned()));
        kinds.extend(script.iter().map(|(_, kind)| *kind));
        let dim = DIM as usize;
        let (mut embedding, mut head) = (vec![0.0; tokens.len() * dim], vec![0.0; tokens.len() * dim]);
        for id in 0..tokens.len() {
            // How much of the script is written when this token was the last.
            let n_written = (id + 1).saturating_sub(first);
            embedding[id * dim + n_written] = 1.0;
        }
        for n_written in 0..=script.len() {
            let next = if n_written < script.len() { first + n_written } else { end };
            head[next * dim + n_written] = 1.0;
        }
        let n_tokens = tokens.len() as u64;
        let toy = Self::llama().weights("token_embd.weight", DType::F32, &[n_tokens, DIM], &embedding);
        let toy = toy.weights("output.weight", DType::F32, &[n_tokens, DIM], &head);
        let silent = |toy: Self, name: &str, cols: u64| {
            toy.weights(name, DType::F32, &[DIM, cols], &vec![0.0; (DIM * cols) as usize])
        };
        let toy = (0..N_LAYERS).fold(toy, |toy, layer| {
            let toy = silent(toy, &format!("blk.{layer}.attn_output.weight"), DIM);
            silent(toy, &format!("blk.{layer}.ffn_down.weight"), FFN_DIM)
        });
        let toy = toy.set("tokenizer.ggml.tokens", Meta::Texts(tokens));
        toy.set("tokenizer.ggml.token_type", Meta::Ints(kinds))
    }

    /// An encoder without a head over a vocabulary of letters.
    pub fn bert() -> Self {
        let mut toy = Self::new(
            "bert",
            &[
                ("block_count", N_LAYERS),
                ("context_length", CONTEXT),
                ("embedding_length", DIM as u32),
                ("feed_forward_length", FFN_DIM as u32),
                ("attention.head_count", 4),
                ("pooling_type", 1),
            ],
        );
        let tokens = encoder_tokens();
        let n_tokens = tokens.len() as u64;
        for (key, value) in [
            ("bert.attention.layer_norm_epsilon", Meta::Float(1e-12)),
            ("tokenizer.ggml.model", Meta::Text("bert".to_owned())),
            ("tokenizer.ggml.tokens", Meta::Texts(tokens)),
            ("tokenizer.ggml.cls_token_id", Meta::Uint(2)),
            ("tokenizer.ggml.seperator_token_id", Meta::Uint(3)),
        ] {
            toy = toy.set(key, value);
        }
        toy = toy.random("token_embd.weight", &[n_tokens, DIM]).random("token_types.weight", &[2, DIM]);
        toy = toy.random("position_embd.weight", &[u64::from(CONTEXT), DIM]).norm("token_embd_norm");
        for layer in 0..N_LAYERS {
            for (name, rows, cols) in [
                ("attn_q", DIM, DIM),
                ("attn_k", DIM, DIM),
                ("attn_v", DIM, DIM),
                ("attn_output", DIM, DIM),
                ("ffn_up", FFN_DIM, DIM),
                ("ffn_down", DIM, FFN_DIM),
            ] {
                toy = toy.random(&format!("blk.{layer}.{name}.weight"), &[rows, cols]);
                toy = toy.random(&format!("blk.{layer}.{name}.bias"), &[rows]);
            }
            toy = toy.norm(&format!("blk.{layer}.attn_output_norm")).norm(&format!("blk.{layer}.layer_output_norm"));
        }
        toy
    }

    /// The bert with a head of `n` labels on its first token.
    pub fn classifier(n: u64) -> Self {
        Self::bert().random("cls.output.weight", &[n, DIM])
    }

    pub fn set(mut self, key: &str, value: Meta) -> Self {
        self.meta.insert(key.to_owned(), value);
        self
    }

    pub fn uint(self, key: &str, value: u32) -> Self {
        self.set(key, Meta::Uint(value))
    }

    pub fn float(self, key: &str, value: f32) -> Self {
        self.set(key, Meta::Float(value))
    }

    pub fn text(self, key: &str, value: &str) -> Self {
        self.set(key, Meta::Text(value.to_owned()))
    }

    pub fn without(mut self, key: &str) -> Self {
        assert!(self.meta.remove(key).is_some() || self.tensors.remove(key).is_some(), "{key} is not there");
        self
    }

    /// Weights around 0 for matrices, around 1 for vectors, seeded by the tensor's name.
    fn random(self, name: &str, shape: &[u64]) -> Self {
        let seed = name.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte));
        let n: u64 = shape.iter().product();
        let weights = noise(seed, n as usize);
        let weights: Vec<f32> = match shape.len() {
            1 => weights.iter().map(|w| 1.0 + w / 4.0).collect(),
            _ => weights.iter().map(|w| w / 4.0).collect(),
        };
        self.weights(name, DType::F32, shape, &weights)
    }

    fn norm(self, name: &str) -> Self {
        self.random(&format!("{name}.weight"), &[DIM]).random(&format!("{name}.bias"), &[DIM])
    }

    /// Replaces a tensor, rounding `weights` to `dtype`.
    pub fn weights(self, name: &str, dtype: DType, shape: &[u64], weights: &[f32]) -> Self {
        self.tensor(name, dtype, shape, blocks::quantize(dtype, weights, None).unwrap())
    }

    /// Replaces a tensor by file bytes.
    pub fn tensor(mut self, name: &str, dtype: DType, shape: &[u64], bytes: Vec<u8>) -> Self {
        self.tensors.insert(name.to_owned(), (dtype, shape.to_vec(), bytes));
        self
    }

    /// Replaces bytes of a tensor from `at`.
    pub fn patch(mut self, name: &str, at: usize, bytes: &[u8]) -> Self {
        self.tensors.get_mut(name).unwrap().2[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// As a GGUF.
    pub fn gguf(&self) -> Vec<u8> {
        let writer = self.meta.iter().fold(GgufWriter::default(), |writer, (key, value)| match value {
            Meta::Uint(value) => writer.uint(key, *value),
            Meta::Float(value) => writer.float(key, *value),
            Meta::Bool(value) => writer.bool(key, *value),
            Meta::Text(value) => writer.string(key, value),
            Meta::Texts(values) => writer.strings(key, values),
            Meta::Ints(values) => writer.ints(key, values),
        });
        let add = |writer: GgufWriter, (name, (dtype, shape, bytes)): (&String, &Tensor)| {
            writer.tensor(name, *dtype, shape, bytes)
        };
        self.tensors.iter().fold(writer, add).finish()
    }

    pub fn open(&self) -> Checkpoint {
        open_bytes("toy.gguf", self.gguf())
    }

    /// A llama as a Hugging Face folder with this `config.json`.
    pub fn open_folder(&self, config: &Value) -> Checkpoint {
        let file = |name: &str, bytes: Vec<u8>| -> Rc<dyn Source> { Rc::new(MemorySource::new(name, bytes)) };
        let side = [("config.json", config.to_string()), ("tokenizer.json", tokenizer_json().to_string())];
        let side = side.map(|(name, text)| (name.to_owned(), file(name, text.into_bytes()))).into();
        let weights = vec![file("model.safetensors", self.safetensors())];
        pollster::block_on(Checkpoint::open(ModelFiles { name: "toy".to_owned(), weights, side })).unwrap()
    }

    /// A file of the weights, all F32, by Hugging Face's names for a llama.
    fn safetensors(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, (_, shape, bytes))| {
            let shape = shape.iter().map(|n| *n as usize).collect();
            (llama_name(name), safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, bytes).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }
}

fn llama_name(name: &str) -> String {
    let (prefix, part) = match name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((layer, part)) => (format!("model.layers.{layer}."), part),
        None => (String::new(), name),
    };
    let stem = match part.strip_suffix(".weight").unwrap() {
        "token_embd" => "model.embed_tokens",
        "output_norm" => "model.norm",
        "output" => "lm_head",
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "ffn_norm" => "post_attention_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        other => other,
    };
    format!("{prefix}{stem}.weight")
}

/// The `config.json` of the llama.
pub fn llama_config() -> Value {
    json!({
        "model_type": "llama", "hidden_size": DIM, "intermediate_size": FFN_DIM, "num_hidden_layers": N_LAYERS,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "bos_token_id": 257, "eos_token_id": 258,
    })
}

fn tokenizer_json() -> Value {
    let tokens = decoder_tokens();
    let vocab: serde_json::Map<String, Value> =
        tokens.iter().enumerate().map(|(id, text)| (text.clone(), json!(id))).collect();
    let added = |id: usize| json!({"id": id, "content": tokens[id], "special": true});
    json!({
        "version": "1.0", "added_tokens": [added(257), added(258)], "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": ["t h"]},
    })
}
