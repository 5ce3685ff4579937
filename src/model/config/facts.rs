//! Look-ups of facts in a GGUF's metadata or a `config.json`, checked.

use super::Shape;
use super::architecture::{Architecture, Kind, Role, unknown};
use crate::error::{Error, Result};
use crate::format::checkpoint::Config;
use crate::format::{Checkpoint, Value};
use crate::kernels::matmul::Activation;
use serde_json::Value as Json;
use std::sync::LazyLock;

/// Limits a hyperparameter must keep; hostile files ask for more (see the design's RELIABILITY, section 4).
const MAX_LAYERS: u64 = 512;
const MAX_HEADS: u64 = 1_024;
const MAX_DIM: u64 = 1 << 17;
const MAX_VOCAB: u64 = 1 << 20;
pub(super) const MAX_CONTEXT: u64 = 1 << 21;

/// Other names of `config.json`'s keys, by family: GPT-2's, DistilBERT's, and of those that came later.
const ALIASES: &[(&str, &[&str])] = &[
    ("hidden_size", &["n_embd", "dim"]),
    ("num_hidden_layers", &["n_layer", "n_layers"]),
    ("num_attention_heads", &["n_head", "n_heads"]),
    ("max_position_embeddings", &["n_positions"]),
    ("intermediate_size", &["n_inner", "hidden_dim"]),
    ("layer_norm_eps", &["layer_norm_epsilon", "norm_epsilon", "norm_eps"]),
    ("hidden_act", &["activation_function", "activation", "hidden_activation"]),
    ("partial_rotary_factor", &["rotary_pct", "rotary_emb_fraction"]),
    ("rope_theta", &["rotary_emb_base", "global_rope_theta"]),
    ("rope_local_base_freq", &["local_rope_theta"]),
    ("sliding_window", &["local_attention"]),
    ("sliding_window_pattern", &["global_attn_every_n_layers"]),
];

/// What `Gemma3TextConfig` of transformers says where a `config.json` does not; its bases of rotations stand in `rotation.rs`, since
/// there are two ways to say them.
static GEMMA3: LazyLock<Json> = LazyLock::new(|| {
    serde_json::json!({
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-6, "query_pre_attn_scalar": 256, "sliding_window": 4096, "hidden_size": 2304,
        "num_hidden_layers": 26, "intermediate_size": 9216,
    })
});

/// A fact as a file states it.
#[derive(Clone, Copy)]
pub(super) enum Fact<'a> {
    Gguf(&'a Value),
    Json(&'a Json),
}

impl<'a> Fact<'a> {
    fn uint(self) -> Option<u64> {
        match self {
            // One value per layer, the same for all.
            Self::Gguf(Value::Ints(values)) if values.iter().all(|value| *value == values[0]) => {
                values.first().and_then(|value| u64::try_from(*value).ok())
            }
            Self::Gguf(Value::U64(value)) => Some(*value),
            Self::Gguf(Value::I64(value)) => u64::try_from(*value).ok(),
            Self::Gguf(_) => None,
            Self::Json(json) => json.as_u64(),
        }
    }

    fn float(self) -> Option<f64> {
        match self {
            Self::Gguf(Value::F64(value)) => Some(*value),
            Self::Gguf(_) => self.uint().map(|value| value as f64),
            Self::Json(json) => json.as_f64(),
        }
    }

    fn bool(self) -> Option<bool> {
        match self {
            Self::Gguf(Value::Bool(value)) => Some(*value),
            Self::Gguf(_) => None,
            Self::Json(json) => json.as_bool(),
        }
    }

    fn text(self) -> Option<&'a str> {
        match self {
            Self::Gguf(Value::String(value)) => Some(value),
            Self::Gguf(_) => None,
            Self::Json(json) => json.as_str(),
        }
    }
}

/// One look-up for both kinds of file; keys are GGUF's without the architecture, then `config.json`'s. An absent fact may
/// have a default, one of the wrong kind is an error.
pub(super) struct Facts<'a> {
    pub(super) file: &'a str,
    /// As the file names it: what its keys begin with.
    name: String,
    pub(super) architecture: &'static Architecture,
    pub(super) config: &'a Config,
    json: Option<&'a Json>,
}

impl<'a> Facts<'a> {
    /// Names the architecture of `checkpoint`; `Unsupported` where it is none of the table's.
    pub(super) fn new(checkpoint: &'a Checkpoint) -> Result<Self> {
        let (file, config) = (checkpoint.name(), checkpoint.config());
        if checkpoint.is_adapter() {
            return Err(Error::unsupported(format!(
                "{file} by itself: it is an adapter, to be laid on its model (--lora)"
            )));
        }
        let (key, json) = match config {
            Config::Gguf(_) => ("general.architecture", None),
            // The text model of one that also sees.
            Config::HuggingFace(json) => ("model_type of config.json", Some(json.get("text_config").unwrap_or(json))),
        };
        let found = match config {
            Config::Gguf(metadata) => metadata.0.get("general.architecture").map(Fact::Gguf),
            Config::HuggingFace(_) => {
                json.and_then(|json| json.get("model_type")).filter(|kind| !kind.is_null()).map(Fact::Json)
            }
        };
        let Some(found) = found else {
            return Err(Error::format(file, format!("an architecture wanted, but {key} is missing")));
        };
        let name = found.text().ok_or_else(|| Error::format(file, format!("{key} is no text")))?;
        let architecture = Architecture::find(name, json.is_none()).ok_or_else(|| unknown(name, file))?;
        Ok(Self { file, name: name.to_owned(), architecture, config, json })
    }

    pub(super) fn wrong(&self, reason: String) -> Error {
        Error::format(self.file, reason)
    }

    pub(super) fn gguf(&self, key: &str) -> String {
        if key.starts_with("general.") || key.starts_with("tokenizer.") {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    pub(super) fn is_gguf(&self) -> bool {
        matches!(self.config, Config::Gguf(_))
    }

    pub(super) fn json(&self, key: &str) -> Option<&'a Json> {
        let json = self.json?;
        let aliases = ALIASES.iter().find(|(name, _)| *name == key).map_or(&[][..], |(_, others)| others);
        let mut names = std::iter::once(&key).chain(aliases);
        let said = names.find_map(|name| json.get(name).filter(|value| !value.is_null()));
        // Folders of Gemma 3 leave out what the class has by default.
        said.or_else(|| if self.architecture.name == "gemma3" { GEMMA3.get(key) } else { None })
    }

    pub(super) fn find(&self, gguf: &str, json: &str) -> Option<Fact<'a>> {
        match self.config {
            Config::Gguf(metadata) => metadata.0.get(&self.gguf(gguf)).map(Fact::Gguf),
            Config::HuggingFace(_) => self.json(json).map(Fact::Json),
        }
    }

    pub(super) fn find_as<T>(
        &self,
        (gguf, json): (&str, &str),
        what: &str,
        read: impl Fn(Fact<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(fact) = self.find(gguf, json) else { return Ok(None) };
        let value = read(fact);
        value.map(Some).ok_or_else(|| self.wrong(format!("{} is no {what}", self.key(gguf, json))))
    }

    pub(super) fn find_uint(&self, gguf: &str, json: &str) -> Result<Option<u64>> {
        self.find_as((gguf, json), "whole number", Fact::uint)
    }

    pub(super) fn find_float(&self, gguf: &str, json: &str) -> Result<Option<f64>> {
        self.find_as((gguf, json), "number", Fact::float)
    }

    pub(super) fn find_text(&self, gguf: &str, json: &str) -> Result<Option<&'a str>> {
        self.find_as((gguf, json), "text", Fact::text)
    }

    pub(super) fn key(&self, gguf: &str, json: &str) -> String {
        if self.is_gguf() { self.gguf(gguf) } else { json.to_owned() }
    }

    /// A required integer in `1..=max`.
    pub(super) fn uint(&self, gguf: &str, json: &str, max: u64) -> Result<u32> {
        let key = self.key(gguf, json);
        let Some(value) = self.find_uint(gguf, json)? else {
            return Err(self.wrong(format!("{key} is missing")));
        };
        self.in_range(&key, value, max)
    }

    pub(super) fn in_range(&self, key: &str, value: u64, max: u64) -> Result<u32> {
        if !(1..=max).contains(&value) {
            return Err(self.wrong(format!("{key} is {value}, 1 to {max} was wanted")));
        }
        Ok(value as u32)
    }

    /// A float strictly between 0 and `max`.
    pub(super) fn float(&self, gguf: &str, json: &str, default: Option<f64>, max: f64) -> Result<f64> {
        let key = self.key(gguf, json);
        let Some(value) = self.find_float(gguf, json)?.or(default) else {
            return Err(self.wrong(format!("{key} is missing")));
        };
        if !(value > 0.0 && value < max) {
            return Err(self.wrong(format!("{key} is {value}, more than 0 and less than {max} was wanted")));
        }
        Ok(value)
    }

    pub(super) fn kind(&self) -> Kind {
        match self.architecture.role {
            Role::Decoder(_) => Kind::Decoder,
            Role::Encoder(_) => Kind::Encoder,
        }
    }

    /// A truth value, where the file has it.
    pub(super) fn find_bool(&self, gguf: &str, json: &str) -> Result<Option<bool>> {
        self.find_as((gguf, json), "truth value", Fact::bool)
    }

    /// A positive factor, or `default`.
    pub(super) fn factor(&self, gguf: &str, json: &str, default: f64) -> Result<f32> {
        Ok(self.float(gguf, json, Some(default), 1e6)? as f32)
    }

    /// The feed-forward layer's function by the file's name of it, or `default`.
    pub(super) fn activation(&self, default: Activation) -> Result<Activation> {
        match self.find_text("hidden_act", "hidden_act")? {
            None => Ok(default),
            // Gemma's first files say gelu and mean the one by tanh.
            Some("gelu") if default == Activation::GeluTanh && self.name.starts_with("gemma") => Ok(default),
            Some("silu" | "swish" | "swiglu") => Ok(Activation::Silu),
            Some("gelu") => Ok(Activation::Gelu),
            Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Ok(Activation::GeluTanh),
            Some("relu") => Ok(Activation::Relu),
            Some(other) => Err(Error::unsupported(format!(
                "activation {other} of {}: silu, gelu, gelu_new, gelu_pytorch_tanh and relu run",
                self.file
            ))),
        }
    }

    /// Sizes; `eps` are the keys of the norms' epsilon, and what it is where they are missing.
    pub(super) fn shape(&self, checkpoint: &Checkpoint, eps: (&str, &str, f64)) -> Result<Shape> {
        let dim = self.uint("embedding_length", "hidden_size", MAX_DIM)?;
        let n_heads = self.uint("attention.head_count", "num_attention_heads", MAX_HEADS)?;
        let kv_keys = ("attention.head_count_kv", "num_key_value_heads");
        let n_kv_heads = match self.find_uint(kv_keys.0, kv_keys.1)? {
            Some(value) => self.in_range(&self.key(kv_keys.0, kv_keys.1), value, u64::from(n_heads))?,
            None => n_heads,
        };
        if !n_heads.is_multiple_of(n_kv_heads) {
            return Err(self.wrong(format!("{n_kv_heads} kv heads do not divide {n_heads} heads")));
        }
        let head_dim = match self.find_uint("attention.key_length", "head_dim")? {
            Some(value) => self.in_range("head_dim", value, 1_024)?,
            None if dim.is_multiple_of(n_heads) => dim / n_heads,
            None => return Err(self.wrong(format!("{n_heads} heads do not divide a width of {dim}"))),
        };
        if !head_dim.is_multiple_of(4) || head_dim > 256 {
            return Err(Error::unsupported(format!(
                "heads of {head_dim} values (a multiple of 4 up to 256 was wanted)"
            )));
        }
        let vocab_size = embedding_rows(checkpoint)?;
        // GPT-2's folders need not say.
        let ffn_keys = ("feed_forward_length", "intermediate_size");
        let ffn_dim = match self.find(ffn_keys.0, ffn_keys.1) {
            None if self.architecture.name == "gpt2" => 4 * dim,
            _ => self.uint(ffn_keys.0, ffn_keys.1, MAX_DIM * 4)?,
        };
        Ok(Shape {
            architecture: self.architecture.name.to_owned(),
            n_layers: self.uint("block_count", "num_hidden_layers", MAX_LAYERS)?,
            dim,
            n_heads,
            n_kv_heads,
            head_dim,
            ffn_dim,
            vocab_size: self.in_range("rows of the embedding", vocab_size, MAX_VOCAB)?,
            context_len: self.uint("context_length", "max_position_embeddings", MAX_CONTEXT)?,
            norm_eps: self.float(eps.0, eps.1, Some(eps.2), 1.0)? as f32,
        })
    }
}

/// Rows of the embedding, or of the head where the two are one tensor under the head's name.
fn embedding_rows(checkpoint: &Checkpoint) -> Result<u64> {
    let embedding = checkpoint.tensor("token_embd.weight").or_else(|| checkpoint.tensor("output.weight"));
    embedding
        .map(crate::format::TensorInfo::rows)
        .ok_or_else(|| Error::format(checkpoint.name(), "tensor token_embd.weight is missing"))
}
