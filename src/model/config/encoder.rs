//! An encoder's hyperparameters.

use super::Shape;
use super::architecture::Role;
use super::facts::{Facts, MAX_CONTEXT};
use super::rotation::{Rotation, rope};
use super::windows::windows;
use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::format::checkpoint::Config;
use crate::kernels::attention::{NO_WINDOW, Rope};
use crate::kernels::elementwise::Pooling;
use crate::kernels::matmul::Activation;
use serde_json::Value as Json;

/// Epsilon of the norms where a file does not say: DistilBERT's folders do not.
const BERT_EPS: f64 = 1e-12;

/// An encoder.
#[derive(Clone, Debug)]
pub struct EncoderConfig {
    /// Sizes.
    pub shape: Shape,
    /// The feed-forward layer's function.
    pub activation: Activation,
    /// What differs from layer to layer.
    pub layers: Vec<EncoderLayer>,
    /// What layers rotate by.
    pub rotations: Vec<Rotation>,
    /// Row of the first token in the table of positions.
    pub first_position: u32,
    /// Tokens of a text at most; longer ones are cut.
    pub max_tokens: u32,
    /// How the model means its token vectors to become one.
    pub pooling: Pooling,
    /// What its head is about, where it has one.
    pub head: HeadConfig,
    /// Names of the head's classes; empty where there is no head.
    pub labels: Vec<String>,
}

/// What one layer differs in from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderLayer {
    /// How q and k are rotated.
    pub rope: Rope,
    /// Which of the model's rotations.
    pub rotation: usize,
    /// Tokens this far away or further are not seen; `NO_WINDOW` where all are.
    pub window: u32,
}

/// What a head says something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadOf {
    /// A text, by one vector of it.
    Text(Pooling),
    /// Each token: its class.
    Token,
    /// Each token: whether an answer begins there, and whether it ends there.
    Answer,
    /// A token that is hidden: which of the vocabulary it is.
    Mask,
}

/// A head, where there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadConfig {
    /// What it is about.
    pub of: HeadOf,
    /// The function of its dense layer.
    pub activation: Activation,
    /// What its outputs become, where the file says.
    pub scores: Option<Scores>,
    /// What the one output of a head that ranks becomes.
    pub ranking: Scores,
}

/// What the outputs of a head about texts become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scores {
    /// Probabilities of classes of which one holds.
    Softmax,
    /// Probabilities of classes each of which may hold.
    Sigmoid,
    /// Themselves: quantities that were learnt.
    Raw,
}

impl EncoderConfig {
    /// Reads and checks an encoder's hyperparameters.
    ///
    /// # Errors
    /// `Format` for what is missing or out of range, `Unsupported` for an architecture or a part of one that does not run.
    pub async fn new(checkpoint: &Checkpoint) -> Result<Self> {
        let facts = Facts::new(checkpoint)?;
        let Role::Encoder(known) = &facts.architecture.role else {
            let what = format!("vectors and labels from {}: it is a decoder, which writes text", facts.file);
            return Err(Error::unsupported(what));
        };
        let activation = facts.activation(known.activation)?;
        refuse_variants(&facts)?;
        refuse_modules(checkpoint).await?;
        let mut shape = facts.shape(checkpoint, ("attention.layer_norm_epsilon", "layer_norm_eps", BERT_EPS))?;
        if shape.n_kv_heads != shape.n_heads || shape.n_heads * shape.head_dim != shape.dim {
            let (n, kv, head_dim, dim) = (shape.n_heads, shape.n_kv_heads, shape.head_dim, shape.dim);
            let what = format!("{n} heads and {kv} kv heads of {head_dim} values in an encoder of width {dim}");
            return Err(Error::unsupported(what));
        }
        let first_position = first_position(&facts)?;
        shape.context_len = shape.context_len.saturating_sub(first_position).max(1);
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
        let windows = windows(&facts, known.windows, shape.n_layers)?;
        let rope = rope(&facts, checkpoint, &shape)?;
        let rotations = Rotation::all(&facts, &shape, &windows)?;
        let layers = windows.iter().map(|&window| match window {
            NO_WINDOW => EncoderLayer { rope, rotation: 0, window },
            // A window is as wide as all that is seen, on both sides.
            width => EncoderLayer { rope, rotation: rotations.len() - 1, window: width / 2 + 1 },
        });
        let layers = layers.collect();
        let head = head(&facts, activation, pooling)?;
        Ok(Self { shape, activation, layers, rotations, first_position, max_tokens, pooling, head, labels })
    }
}

/// Variants that a `config.json` may ask for and that do not run.
fn refuse_variants(facts: &Facts<'_>) -> Result<()> {
    let name = facts.architecture.name;
    if let Some(kind) = facts.find_text("", "position_embedding_type")?.filter(|kind| *kind != "absolute") {
        return Err(Error::unsupported(format!("{kind} positions in a {name} model")));
    }
    let unwanted = [("prenorm", "norms before its halves"), ("rotary_emb_interleaved", "interleaved rotations")];
    for (key, what) in unwanted {
        if facts.find_bool("", key)? == Some(true) {
            return Err(Error::unsupported(format!("{what} in a {name} model ({key})")));
        }
    }
    Ok(())
}

/// RoBERTa and MPNet count positions from behind the padding's id; converters cut those rows off.
fn first_position(facts: &Facts<'_>) -> Result<u32> {
    let kind = facts.find_text("", "model_type")?.unwrap_or("");
    if !matches!(kind, "roberta" | "xlm-roberta" | "camembert" | "mpnet") {
        return Ok(0);
    }
    Ok(facts.find_uint("", "pad_token_id")?.unwrap_or(1).min(MAX_CONTEXT) as u32 + 1)
}

/// sentence-transformers' `modules.json`: layers behind the pooling do not run.
async fn refuse_modules(checkpoint: &Checkpoint) -> Result<()> {
    let name = "modules.json";
    let Some(text) = checkpoint.side_text(name).await? else { return Ok(()) };
    let json: Json =
        serde_json::from_slice(&text).map_err(|error| Error::format(name, format!("JSON wanted: {error}")))?;
    let kinds = json.as_array().into_iter().flatten().filter_map(|module| module.get("type").and_then(Json::as_str));
    let known = ["Transformer", "Pooling", "Normalize"];
    match kinds.filter_map(|kind| kind.rsplit('.').next()).find(|kind| !known.contains(kind)) {
        Some(kind) => {
            Err(Error::unsupported(format!("a module {kind} behind {}: {} run", checkpoint.name(), known.join(", "))))
        }
        None => Ok(()),
    }
}

/// What a head is about: by the class that a folder names; of texts in a GGUF.
fn head(facts: &Facts<'_>, activation: Activation, pooling: Pooling) -> Result<HeadConfig> {
    let class = facts.json("architectures").and_then(|list| list.get(0)).and_then(Json::as_str).unwrap_or("");
    let is_modern = facts.architecture.name == "modern-bert";
    let of = match class.rsplit_once("For").map_or("", |(_, task)| task) {
        "TokenClassification" => HeadOf::Token,
        "QuestionAnswering" => HeadOf::Answer,
        "MaskedLM" | "PreTraining" => HeadOf::Mask,
        "MultipleChoice" => {
            let known = "heads of classes, of tokens, of answers and of hidden tokens run";
            return Err(Error::unsupported(format!("{class}: {known}")));
        }
        _ if is_modern && facts.is_gguf() => HeadOf::Text(pooling),
        _ => match facts.find_text("", "classifier_pooling")? {
            Some("mean") => HeadOf::Text(Pooling::Mean),
            _ => HeadOf::Text(Pooling::Cls),
        },
    };
    let is_distilled = facts.find_text("", "model_type")? == Some("distilbert");
    let activation = match of {
        HeadOf::Mask => activation,
        _ if is_modern => Activation::Gelu,
        _ if is_distilled => Activation::Relu,
        _ => Activation::Tanh,
    };
    Ok(HeadConfig { of, activation, scores: scores(facts)?, ranking: ranking(facts) })
}

/// transformers' `problem_type`.
fn scores(facts: &Facts<'_>) -> Result<Option<Scores>> {
    Ok(match facts.find_text("", "problem_type")? {
        Some("regression") => Some(Scores::Raw),
        Some("multi_label_classification") => Some(Scores::Sigmoid),
        // What heads without a word do.
        _ => None,
    })
}

/// sentence-transformers' function behind a cross-encoder: a sigmoid unless the file names another, which leaves the order as it is.
fn ranking(facts: &Facts<'_>) -> Scores {
    let newer = facts.json("sentence_transformers").and_then(|object| object.get("activation_fn"));
    let named = newer.or_else(|| facts.json("sbert_ce_default_activation_function")).and_then(Json::as_str);
    match named {
        Some(name) if !name.ends_with("Sigmoid") => Scores::Raw,
        _ => Scores::Sigmoid,
    }
}

fn gguf_pooling(kind: Option<u64>) -> Result<Pooling> {
    match kind {
        None | Some(0 | 1) => Ok(Pooling::Mean),
        // A reranker's score is the head's, of the first token.
        Some(2 | 4) => Ok(Pooling::Cls),
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
    let modes = json.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    let on: Vec<&str> = modes.filter(|key| key.starts_with("pooling_mode_") && is_on(key)).collect();
    match on[..] {
        ["pooling_mode_cls_token"] => Ok(Pooling::Cls),
        ["pooling_mode_lasttoken"] => Ok(Pooling::Last),
        ["pooling_mode_mean_tokens"] | [] => Ok(Pooling::Mean),
        _ => Err(Error::unsupported(format!(
            "pooling by {} in {}: the mean, the first and the last token run",
            on.join(" and "),
            checkpoint.name()
        ))),
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
