//! Hyperparameters and architecture facts as data, from a GGUF's metadata or a `config.json`, each range-checked before use.

use super::rope::Scaling;
use crate::error::{Error, Result};
use crate::format::checkpoint::Config;
use crate::format::{Checkpoint, Value};
use crate::kernels::attention::Rope;
use crate::kernels::elementwise::Pooling;
use serde_json::Value as Json;

/// Limits a hyperparameter must keep; hostile files ask for more (see the design's RELIABILITY, section 4).
const MAX_LAYERS: u64 = 512;
const MAX_HEADS: u64 = 1_024;
const MAX_DIM: u64 = 1 << 17;
const MAX_VOCAB: u64 = 1 << 20;
const MAX_CONTEXT: u64 = 1 << 21;
const MAX_ROPE_THETA: f64 = 1e9;

/// Which of the two forward passes a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Causal: chats, continues text.
    Decoder,
    /// Bidirectional: embeds, classifies.
    Encoder,
}

/// What both kinds have.
#[derive(Clone, Debug)]
pub struct Shape {
    /// `llama`, `qwen2`, `bert`.
    pub architecture: String,
    /// Layers.
    pub n_layers: u32,
    /// Width of the residual stream.
    pub dim: u32,
    /// Query heads.
    pub n_heads: u32,
    /// Key and value heads.
    pub n_kv_heads: u32,
    /// Values per head.
    pub head_dim: u32,
    /// Width of the feed-forward layer.
    pub ffn_dim: u32,
    /// Rows of the embedding.
    pub vocab_size: u32,
    /// Tokens of context the model was made for.
    pub context_len: u32,
    /// Epsilon of the norms.
    pub norm_eps: f32,
}

/// A decoder of the Llama family.
#[derive(Clone, Debug)]
pub struct DecoderConfig {
    /// Sizes.
    pub shape: Shape,
    /// Order of the rotated pairs.
    pub rope: Rope,
    /// Base of the rotation's wavelengths.
    pub rope_theta: f64,
    /// How rotations are stretched for longer contexts.
    pub rope_scaling: Scaling,
}

/// An encoder of the BERT family.
#[derive(Clone, Debug)]
pub struct EncoderConfig {
    /// Sizes.
    pub shape: Shape,
    /// Tokens of a text at most; longer ones are cut.
    pub max_tokens: u32,
    /// How the model means its token vectors to become one.
    pub pooling: Pooling,
    /// Names of the head's classes; empty where there is no head.
    pub labels: Vec<String>,
}

/// A fact as a file states it.
#[derive(Clone, Copy)]
enum Fact<'a> {
    Gguf(&'a Value),
    Json(&'a Json),
}

impl<'a> Fact<'a> {
    fn uint(self) -> Option<u64> {
        match self {
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
struct Facts<'a> {
    file: &'a str,
    architecture: String,
    config: &'a Config,
}

impl<'a> Facts<'a> {
    fn new(checkpoint: &'a Checkpoint) -> Result<Self> {
        let mut facts = Self { file: checkpoint.name(), architecture: String::new(), config: checkpoint.config() };
        let Some(architecture) = facts.find_text("general.architecture", "model_type")? else {
            let key = facts.key("general.architecture", "model_type of config.json");
            return Err(facts.wrong(format!("an architecture wanted, but {key} is missing")));
        };
        facts.architecture = architecture.to_owned();
        Ok(facts)
    }

    fn wrong(&self, reason: String) -> Error {
        Error::format(self.file, reason)
    }

    fn gguf(&self, key: &str) -> String {
        if key.starts_with("general.") || key.starts_with("tokenizer.") {
            key.to_owned()
        } else {
            format!("{}.{key}", self.architecture)
        }
    }

    fn is_gguf(&self) -> bool {
        matches!(self.config, Config::Gguf(_))
    }

    fn json(&self, key: &str) -> Option<&'a Json> {
        match self.config {
            Config::Gguf(_) => None,
            Config::HuggingFace(json) => json.get(key).filter(|value| !value.is_null()),
        }
    }

    fn find(&self, gguf: &str, json: &str) -> Option<Fact<'a>> {
        match self.config {
            Config::Gguf(metadata) => metadata.0.get(&self.gguf(gguf)).map(Fact::Gguf),
            Config::HuggingFace(_) => self.json(json).map(Fact::Json),
        }
    }

    fn find_as<T>(
        &self,
        (gguf, json): (&str, &str),
        what: &str,
        read: impl Fn(Fact<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(fact) = self.find(gguf, json) else { return Ok(None) };
        let value = read(fact);
        value.map(Some).ok_or_else(|| self.wrong(format!("{} is no {what}", self.key(gguf, json))))
    }

    fn find_uint(&self, gguf: &str, json: &str) -> Result<Option<u64>> {
        self.find_as((gguf, json), "whole number", Fact::uint)
    }

    fn find_float(&self, gguf: &str, json: &str) -> Result<Option<f64>> {
        self.find_as((gguf, json), "number", Fact::float)
    }

    fn find_text(&self, gguf: &str, json: &str) -> Result<Option<&'a str>> {
        self.find_as((gguf, json), "text", Fact::text)
    }

    fn key(&self, gguf: &str, json: &str) -> String {
        if self.is_gguf() { self.gguf(gguf) } else { json.to_owned() }
    }

    /// A required integer in `1..=max`.
    fn uint(&self, gguf: &str, json: &str, max: u64) -> Result<u32> {
        let key = self.key(gguf, json);
        let Some(value) = self.find_uint(gguf, json)? else {
            return Err(self.wrong(format!("{key} is missing")));
        };
        self.in_range(&key, value, max)
    }

    fn in_range(&self, key: &str, value: u64, max: u64) -> Result<u32> {
        if !(1..=max).contains(&value) {
            return Err(self.wrong(format!("{key} is {value}, 1 to {max} was wanted")));
        }
        Ok(value as u32)
    }

    /// A float strictly between 0 and `max`.
    fn float(&self, gguf: &str, json: &str, default: Option<f64>, max: f64) -> Result<f64> {
        let key = self.key(gguf, json);
        let Some(value) = self.find_float(gguf, json)?.or(default) else {
            return Err(self.wrong(format!("{key} is missing")));
        };
        if !(value > 0.0 && value < max) {
            return Err(self.wrong(format!("{key} is {value}, more than 0 and less than {max} was wanted")));
        }
        Ok(value)
    }

    fn kind(&self) -> Result<Kind> {
        match self.architecture.as_str() {
            "llama" | "qwen2" => Ok(Kind::Decoder),
            "bert" => Ok(Kind::Encoder),
            other => {
                Err(Error::unsupported(format!("architecture {other} of {} (llama, qwen2 and bert run)", self.file)))
            }
        }
    }

    /// The one activation that a forward pass has.
    fn check_activation(&self, wanted: &str) -> Result<()> {
        match self.find_text("hidden_act", "hidden_act")? {
            Some(found) if found != wanted => {
                Err(Error::unsupported(format!("activation {found} in a {} model", self.architecture)))
            }
            _ => Ok(()),
        }
    }

    fn shape(&self, checkpoint: &Checkpoint, eps: (&str, &str)) -> Result<Shape> {
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
        Ok(Shape {
            architecture: self.architecture.clone(),
            n_layers: self.uint("block_count", "num_hidden_layers", MAX_LAYERS)?,
            dim,
            n_heads,
            n_kv_heads,
            head_dim,
            ffn_dim: self.uint("feed_forward_length", "intermediate_size", MAX_DIM * 4)?,
            vocab_size: self.in_range("rows of the embedding", vocab_size, MAX_VOCAB)?,
            context_len: self.uint("context_length", "max_position_embeddings", MAX_CONTEXT)?,
            norm_eps: self.float(eps.0, eps.1, Some(1e-5), 1.0)? as f32,
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

/// Whether `checkpoint` is a decoder or an encoder.
///
/// # Errors
/// `Unsupported` for an architecture Trice does not run, naming it and those it does.
pub fn kind(checkpoint: &Checkpoint) -> Result<Kind> {
    Facts::new(checkpoint)?.kind()
}

impl DecoderConfig {
    /// Reads and checks a decoder's hyperparameters.
    pub fn new(checkpoint: &Checkpoint) -> Result<Self> {
        let facts = Facts::new(checkpoint)?;
        if facts.kind()? != Kind::Decoder {
            let what = format!("writing text with {}: it is an encoder, which classifies and embeds", facts.file);
            return Err(Error::unsupported(what));
        }
        if facts.find_uint("expert_count", "num_local_experts")?.is_some_and(|n| n > 0) {
            return Err(Error::unsupported(format!("the mixture of experts of {}", facts.file)));
        }
        facts.check_activation("silu")?;
        let shape = facts.shape(checkpoint, ("attention.layer_norm_rms_epsilon", "rms_norm_eps"))?;
        let rotated = facts.find_uint("rope.dimension_count", "")?.unwrap_or(u64::from(shape.head_dim));
        if rotated != u64::from(shape.head_dim) {
            let what = format!("rotating {rotated} of {} values of a head", shape.head_dim);
            return Err(Error::unsupported(what));
        }
        if facts.json("use_sliding_window").and_then(Json::as_bool) == Some(true) {
            return Err(Error::unsupported("sliding-window attention"));
        }
        // llama.cpp's converter permutes q and k of `llama` models; all other files keep Hugging Face's order.
        let is_permuted = facts.is_gguf() && shape.architecture == "llama";
        Ok(Self {
            rope: if is_permuted { Rope::Interleaved } else { Rope::Neox },
            rope_theta: rope_theta(&facts)?,
            rope_scaling: rope_scaling(&facts, &shape)?,
            shape,
        })
    }
}

fn rope_theta(facts: &Facts<'_>) -> Result<f64> {
    // transformers 5 moved it into rope_parameters.
    let nested = match facts.json("rope_parameters").and_then(|json| json.get("rope_theta")) {
        Some(json) => Some(json.as_f64().ok_or_else(|| facts.wrong("rope_theta is no number".into()))?),
        None => None,
    };
    facts.float("rope.freq_base", "rope_theta", nested.or(Some(10_000.0)), MAX_ROPE_THETA)
}

/// Sizes that make no sense are the file's fault.
fn rope_scaling(facts: &Facts<'_>, shape: &Shape) -> Result<Scaling> {
    let scaling = if facts.is_gguf() { gguf_scaling(facts, shape) } else { json_scaling(facts, shape) };
    scaling.map_err(|error| match error {
        Error::Invalid { what } => facts.wrong(what),
        other => other,
    })
}

fn gguf_scaling(facts: &Facts<'_>, shape: &Shape) -> Result<Scaling> {
    let factor = facts.find_float("rope.scaling.factor", "")?.unwrap_or(1.0);
    let original = facts.find_uint("rope.scaling.original_context_length", "")?;
    match facts.find_text("rope.scaling.type", "")? {
        None | Some("none") => Ok(Scaling::None),
        Some("linear") => Scaling::linear(factor),
        Some("yarn") => Scaling::yarn(factor, original.unwrap_or(u64::from(shape.context_len))),
        Some(other) => Err(Error::unsupported(format!("rope scaling {other}"))),
    }
}

fn json_scaling(facts: &Facts<'_>, shape: &Shape) -> Result<Scaling> {
    let json = match facts.json("rope_scaling").or_else(|| facts.json("rope_parameters")) {
        None => return Ok(Scaling::None),
        Some(Json::Object(json)) => json,
        Some(_) => return Err(facts.wrong("rope_scaling is no object".into())),
    };
    let number = |key: &str, default: f64| match json.get(key).filter(|value| !value.is_null()) {
        None => Ok(default),
        Some(value) => value.as_f64().ok_or_else(|| facts.wrong(format!("{key} of rope_scaling is no number"))),
    };
    let kind = match json.get("rope_type").or_else(|| json.get("type")) {
        None => "default",
        Some(kind) => kind.as_str().ok_or_else(|| facts.wrong("the type of rope_scaling is no text".into()))?,
    };
    let original = number("original_max_position_embeddings", f64::from(shape.context_len))?;
    match kind {
        "default" => Ok(Scaling::None),
        "linear" => Scaling::linear(number("factor", 1.0)?),
        "yarn" => Scaling::yarn(number("factor", 1.0)?, original as u64),
        "llama3" => Scaling::llama3(
            number("factor", 8.0)?,
            number("low_freq_factor", 1.0)?,
            number("high_freq_factor", 4.0)?,
            original,
        ),
        other => Err(Error::unsupported(format!("rope scaling {other}"))),
    }
}

impl EncoderConfig {
    /// Reads and checks an encoder's hyperparameters.
    pub async fn new(checkpoint: &Checkpoint) -> Result<Self> {
        let facts = Facts::new(checkpoint)?;
        if facts.kind()? != Kind::Encoder {
            let what = format!("vectors and labels from {}: it is a decoder, which writes text", facts.file);
            return Err(Error::unsupported(what));
        }
        facts.check_activation("gelu")?;
        if let Some(kind) = facts.find_text("", "position_embedding_type")?.filter(|kind| *kind != "absolute") {
            return Err(Error::unsupported(format!("{kind} positions in a {} model", facts.architecture)));
        }
        let shape = facts.shape(checkpoint, ("attention.layer_norm_epsilon", "layer_norm_eps"))?;
        if shape.n_kv_heads != shape.n_heads || shape.n_heads * shape.head_dim != shape.dim {
            let (n, kv, head_dim, dim) = (shape.n_heads, shape.n_kv_heads, shape.head_dim, shape.dim);
            let what = format!("{n} heads and {kv} kv heads of {head_dim} values in an encoder of width {dim}");
            return Err(Error::unsupported(what));
        }
        if let Some(class) = facts.json("architectures").and_then(|list| list.get(0)).and_then(Json::as_str) {
            let other_heads = ["ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice"];
            if other_heads.iter().any(|head| class.ends_with(head)) {
                return Err(Error::unsupported(format!("{class}: of the heads, ForSequenceClassification runs")));
            }
        }
        let max_tokens = match folder_max_tokens(checkpoint).await? {
            Some(most) => shape.context_len.min(most),
            None => shape.context_len,
        };
        let (pooling, labels) = match facts.config {
            Config::Gguf(metadata) => {
                let labels = metadata.strings(&facts.gguf("classifier.output_labels"));
                let pooling = gguf_pooling(facts.find_uint("pooling_type", "")?)?;
                (pooling, labels.map(<[String]>::to_vec).unwrap_or_default())
            }
            Config::HuggingFace(_) => (folder_pooling(checkpoint).await?, json_labels(&facts)),
        };
        Ok(Self { shape, max_tokens, pooling, labels })
    }
}

fn gguf_pooling(kind: Option<u64>) -> Result<Pooling> {
    match kind {
        None | Some(0 | 1) => Ok(Pooling::Mean),
        Some(2) => Ok(Pooling::Cls),
        Some(3) => Ok(Pooling::Last),
        Some(other) => Err(Error::unsupported(format!("pooling type {other}"))),
    }
}

/// `max_seq_length` of sentence-transformers' `sentence_bert_config.json`: how long the texts were that the model learnt to
/// embed, where that is less than it has positions for.
async fn folder_max_tokens(checkpoint: &Checkpoint) -> Result<Option<u32>> {
    let name = "sentence_bert_config.json";
    let Some(text) = checkpoint.side_text(name).await? else { return Ok(None) };
    let json: Json =
        serde_json::from_slice(&text).map_err(|error| Error::format(name, format!("JSON wanted: {error}")))?;
    match json.get("max_seq_length") {
        None | Some(Json::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(most @ 2..=MAX_CONTEXT) => Ok(Some(most as u32)),
            _ => Err(Error::format(name, format!("max_seq_length is {value}, 2 to {MAX_CONTEXT} was wanted"))),
        },
    }
}

/// sentence-transformers' `1_Pooling/config.json`; mean where there is none.
async fn folder_pooling(checkpoint: &Checkpoint) -> Result<Pooling> {
    let Some(text) = checkpoint.side_text("1_Pooling/config.json").await? else { return Ok(Pooling::Mean) };
    let json: Json = serde_json::from_slice(&text)
        .map_err(|error| Error::format("1_Pooling/config.json", format!("JSON wanted: {error}")))?;
    let is_on = |key: &str| json.get(key).and_then(Json::as_bool) == Some(true);
    if is_on("pooling_mode_cls_token") {
        Ok(Pooling::Cls)
    } else if is_on("pooling_mode_lasttoken") {
        Ok(Pooling::Last)
    } else {
        Ok(Pooling::Mean)
    }
}

/// `id2label` in the order of its ids.
fn json_labels(facts: &Facts<'_>) -> Vec<String> {
    let Some(Json::Object(map)) = facts.json("id2label") else { return Vec::new() };
    let mut labels: Vec<(u64, String)> =
        map.iter().filter_map(|(id, label)| Some((id.parse().ok()?, label.as_str()?.to_owned()))).collect();
    labels.sort();
    labels.into_iter().map(|(_, label)| label).collect()
}
