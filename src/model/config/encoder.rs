//! An encoder's hyperparameters.

use super::Shape;
use super::architecture::Kind;
use super::facts::{Facts, MAX_CONTEXT};
use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::format::checkpoint::Config;
use crate::kernels::elementwise::Pooling;
use crate::kernels::matmul::Activation;
use serde_json::Value as Json;

/// An encoder of the BERT family.
#[derive(Clone, Debug)]
pub struct EncoderConfig {
    /// Sizes.
    pub shape: Shape,
    /// The feed-forward layer's function.
    pub activation: Activation,
    /// Tokens of a text at most; longer ones are cut.
    pub max_tokens: u32,
    /// How the model means its token vectors to become one.
    pub pooling: Pooling,
    /// Names of the head's classes; empty where there is no head.
    pub labels: Vec<String>,
}

impl EncoderConfig {
    /// Reads and checks an encoder's hyperparameters.
    pub async fn new(checkpoint: &Checkpoint) -> Result<Self> {
        let facts = Facts::new(checkpoint)?;
        if facts.kind() != Kind::Encoder {
            let what = format!("vectors and labels from {}: it is a decoder, which writes text", facts.file);
            return Err(Error::unsupported(what));
        }
        let activation = facts.activation(Activation::Gelu)?;
        if let Some(kind) = facts.find_text("", "position_embedding_type")?.filter(|kind| *kind != "absolute") {
            return Err(Error::unsupported(format!("{kind} positions in a {} model", facts.architecture.name)));
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
        Ok(Self { shape, activation, max_tokens, pooling, labels })
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
