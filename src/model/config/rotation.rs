//! How q and k are rotated, as files say it.

use super::Shape;
use super::facts::Facts;
use crate::error::{Error, Result};
use crate::format::{Checkpoint, gguf};
use crate::kernels::attention::{NO_WINDOW, Rope};
use crate::model::rope::{Scaling, Yarn};
use serde_json::{Map, Value as Json};

const MAX_ROPE_THETA: f64 = 1e9;

/// What gives a table of angles.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotation {
    /// Base of the rotation's wavelengths.
    pub theta: f64,
    /// How rotations are stretched for longer contexts.
    pub scaling: Scaling,
}

/// A table that `config.json` may have for each kind of layer: transformers 5's `rope_parameters`.
const LOCAL: &str = "sliding_attention";
const GLOBAL: &str = "full_attention";

/// The base of layers that see a window, where nothing is said of it.
const LOCAL_THETA: f64 = 10_000.0;

impl Rotation {
    /// What a model's layers rotate by: one for all, or a second for layers that see a window (Gemma 3, ModernBERT).
    pub(super) fn all(facts: &Facts<'_>, shape: &Shape, windows: &[u32]) -> Result<Vec<Self>> {
        let mut all = vec![Self::global(facts, shape)?];
        let has_local = matches!(facts.architecture.name, "gemma3" | "modern-bert");
        if has_local && windows.iter().any(|window| *window != NO_WINDOW) {
            all.push(Self::local(facts, shape)?);
        }
        Ok(all)
    }

    /// What layers that see everything rotate by.
    fn global(facts: &Facts<'_>, shape: &Shape) -> Result<Self> {
        // Transformers 5 moved the base into rope_parameters.
        let theta = facts.float("rope.freq_base", "rope_theta", nested_theta(facts, GLOBAL)?, MAX_ROPE_THETA)?;
        Ok(Self { theta, scaling: scaling(facts, shape, GLOBAL)? })
    }

    /// What layers that see a window rotate by, of architectures where that is another base.
    fn local(facts: &Facts<'_>, shape: &Shape) -> Result<Self> {
        let nested = if parameters(facts, LOCAL).is_some() { nested_theta(facts, LOCAL)? } else { Some(LOCAL_THETA) };
        let theta = facts.float("rope.freq_base_swa", "rope_local_base_freq", nested, MAX_ROPE_THETA)?;
        let scaling = match parameters(facts, LOCAL) {
            Some(json) => json_scaling(facts, shape, json).map_err(|error| blamed(facts, error))?,
            None => Scaling::None,
        };
        Ok(Self { theta, scaling })
    }
}

/// How q and k are rotated where they are.
pub(super) fn rope(facts: &Facts<'_>, checkpoint: &Checkpoint, shape: &Shape) -> Result<Rope> {
    if checkpoint.tensor("position_embd.weight").is_some() {
        return Ok(Rope::None);
    }
    let nested = facts.json("rope_parameters").and_then(|json| json.get("partial_rotary_factor"));
    let share = facts.find_float("", "partial_rotary_factor")?.or(nested.and_then(Json::as_f64));
    let of_share = share.map(|share| (share * f64::from(shape.head_dim)) as u64);
    let rotated = facts.find_uint("rope.dimension_count", "")?.or(of_share).unwrap_or(u64::from(shape.head_dim));
    let is_permuted = facts.is_gguf() && gguf::permutes_heads(facts.architecture.name);
    match rotated {
        all if all == u64::from(shape.head_dim) => Ok(if is_permuted { Rope::Interleaved } else { Rope::Neox }),
        part if part > 0 && part < u64::from(shape.head_dim) && part.is_multiple_of(4) && !is_permuted => {
            Ok(Rope::NeoxPart { rotated: part as u32 })
        }
        other => Err(Error::unsupported(format!(
            "rotating {other} of {} values of a head of {}: all of them, or a multiple of 4, was wanted",
            shape.head_dim, facts.file
        ))),
    }
}

/// `rope_parameters` of a kind of layer, where each kind has its own.
fn parameters<'a>(facts: &Facts<'a>, layers: &str) -> Option<&'a Map<String, Json>> {
    facts.json("rope_parameters")?.get(layers)?.as_object()
}

fn nested_theta(facts: &Facts<'_>, layers: &str) -> Result<Option<f64>> {
    let all = facts.json("rope_parameters").and_then(Json::as_object);
    match parameters(facts, layers).or(all).and_then(|json| json.get("rope_theta")) {
        Some(json) => json.as_f64().map(Some).ok_or_else(|| facts.wrong("rope_theta is no number".into())),
        None if facts.architecture.name == "gemma3" => Ok(Some(if layers == GLOBAL { 1e6 } else { LOCAL_THETA })),
        None => Ok(Some(10_000.0)),
    }
}

/// Sizes that make no sense are the file's fault.
fn blamed(facts: &Facts<'_>, error: Error) -> Error {
    match error {
        Error::Invalid { what } => facts.wrong(what),
        other => other,
    }
}

fn scaling(facts: &Facts<'_>, shape: &Shape, layers: &str) -> Result<Scaling> {
    let found = if facts.is_gguf() {
        gguf_scaling(facts, shape)
    } else if let Some(json) = parameters(facts, layers) {
        json_scaling(facts, shape, json)
    } else {
        match facts.json("rope_scaling").or_else(|| facts.json("rope_parameters")) {
            None => Ok(Scaling::None),
            Some(Json::Object(json)) => json_scaling(facts, shape, json),
            Some(_) => Err(facts.wrong("rope_scaling is no object".into())),
        }
    };
    found.map_err(|error| blamed(facts, error))
}

fn unknown(kind: &str, file: &str) -> Error {
    let known = "default, linear, dynamic, yarn, llama3 and longrope run";
    Error::unsupported(format!("rope scaling {kind} of {file}: {known}"))
}

fn gguf_scaling(facts: &Facts<'_>, shape: &Shape) -> Result<Scaling> {
    // The oldest files say a linear factor under another name, and no type.
    let old_factor = facts.find_float("rope.scale_linear", "")?;
    let factor = facts.find_float("rope.scaling.factor", "")?.or(old_factor);
    let original = facts.find_uint("rope.scaling.original_context_length", "")?;
    let original_len = original.unwrap_or(u64::from(shape.context_len)) as f64;
    match facts.find_text("rope.scaling.type", "")? {
        // Its factors are tensors: see `decoder::angles`.
        Some("none" | "longrope") => Ok(Scaling::None),
        None => factor.map_or(Ok(Scaling::None), Scaling::linear),
        Some("linear") => Scaling::linear(factor.unwrap_or(1.0)),
        Some("yarn") => {
            let of = |key: &str| facts.find_float(key, "");
            let plain = Yarn::new(factor.unwrap_or(1.0), original_len);
            Scaling::yarn(Yarn {
                beta_fast: of("rope.scaling.yarn_beta_fast")?.unwrap_or(plain.beta_fast),
                beta_slow: of("rope.scaling.yarn_beta_slow")?.unwrap_or(plain.beta_slow),
                magnitude: match of("rope.scaling.yarn_attn_factor")? {
                    Some(magnitude) => magnitude,
                    None => of("rope.scaling.attn_factor")?.unwrap_or(1.0) * plain.magnitude,
                },
                ..plain
            })
        }
        Some(other) => Err(unknown(other, facts.file)),
    }
}

/// The numbers of a `rope_scaling` object.
struct Numbers<'a>(&'a Facts<'a>, &'a Map<String, Json>);

impl Numbers<'_> {
    fn find(&self, key: &str) -> Result<Option<f64>> {
        match self.1.get(key).filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => {
                let number = value.as_f64();
                number.map(Some).ok_or_else(|| self.0.wrong(format!("{key} of rope_scaling is no number")))
            }
        }
    }

    fn or(&self, key: &str, default: f64) -> Result<f64> {
        Ok(self.find(key)?.unwrap_or(default))
    }

    fn list(&self, key: &str) -> Result<Vec<f32>> {
        let numbers = self.1.get(key).and_then(Json::as_array);
        let numbers = numbers.and_then(|list| list.iter().map(|n| n.as_f64().map(|n| n as f32)).collect());
        numbers.ok_or_else(|| self.0.wrong(format!("{key} of rope_scaling is no list of numbers")))
    }
}

fn json_scaling(facts: &Facts<'_>, shape: &Shape, json: &Map<String, Json>) -> Result<Scaling> {
    let numbers = Numbers(facts, json);
    let kind = match json.get("rope_type").or_else(|| json.get("type")) {
        None => "default",
        Some(kind) => kind.as_str().ok_or_else(|| facts.wrong("the type of rope_scaling is no text".into()))?,
    };
    let context_len = f64::from(shape.context_len);
    let outer = facts.find_float("", "original_max_position_embeddings")?;
    let original_len = numbers.find("original_max_position_embeddings")?.or(outer);
    match kind {
        "default" => Ok(Scaling::None),
        "linear" => Scaling::linear(numbers.or("factor", 1.0)?),
        "dynamic" => Scaling::dynamic(numbers.or("factor", 1.0)?, context_len),
        "yarn" => {
            let plain = Yarn::new(numbers.or("factor", 1.0)?, original_len.unwrap_or(context_len));
            Scaling::yarn(Yarn {
                beta_fast: numbers.or("beta_fast", plain.beta_fast)?,
                beta_slow: numbers.or("beta_slow", plain.beta_slow)?,
                magnitude: match (numbers.find("attention_factor")?, numbers.find("mscale")?) {
                    (Some(factor), _) => factor,
                    // DeepSeek's two weights count together or not at all.
                    (None, Some(mscale)) if mscale != 0.0 && numbers.or("mscale_all_dim", 0.0)? != 0.0 => {
                        plain.magnitude_by(mscale) / plain.magnitude_by(numbers.or("mscale_all_dim", 0.0)?)
                    }
                    (None, _) => plain.magnitude,
                },
                is_rounded: json.get("truncate").and_then(Json::as_bool).unwrap_or(true),
                ..plain
            })
        }
        "longrope" | "su" => {
            let factor = match original_len {
                Some(original) => context_len / original,
                None => numbers.or("factor", 1.0)?,
            };
            let original_len = original_len.unwrap_or(context_len);
            let magnitude = numbers.find("attention_factor")?;
            Scaling::long(numbers.list("short_factor")?, numbers.list("long_factor")?, original_len, factor, magnitude)
        }
        "llama3" => Scaling::llama3(
            numbers.or("factor", 8.0)?,
            numbers.or("low_freq_factor", 1.0)?,
            numbers.or("high_freq_factor", 4.0)?,
            original_len.unwrap_or(context_len),
        ),
        other => Err(unknown(other, facts.file)),
    }
}
