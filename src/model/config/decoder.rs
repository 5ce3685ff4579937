//! A decoder's hyperparameters: what differs between architectures is data, and one forward pass reads it.

use super::Shape;
use super::architecture::{DecoderFacts, NormType, Windows};
use super::facts::{Fact, Facts};
use super::rotation::Rotation;
use crate::error::{Error, Result};
use crate::format::{Checkpoint, Value};
use crate::kernels::attention::{NO_WINDOW, Rope};
use crate::kernels::matmul::Activation;
use serde_json::Value as Json;

/// A decoder.
#[derive(Clone, Debug)]
pub struct DecoderConfig {
    /// Sizes.
    pub shape: Shape,
    /// What its norms are.
    pub norm: NormType,
    /// What is added to the norms' weights as they are stored.
    pub norm_offset: f32,
    /// The feed-forward layer's function.
    pub activation: Activation,
    /// Whether attention and feed-forward layer both begin from the stream before the layer.
    pub is_parallel: bool,
    /// What differs from layer to layer.
    pub layers: Vec<LayerConfig>,
    /// What layers rotate by.
    pub rotations: Vec<Rotation>,
    /// Factor of q·k.
    pub attention_scale: f32,
    /// Bound of attention's scores.
    pub attention_softcap: Option<f32>,
    /// Bound of the logits.
    pub logit_softcap: Option<f32>,
    /// Factor of the logits.
    pub logit_scale: f32,
    /// Factor of the embedding.
    pub embedding_scale: f32,
    /// Factor of what a layer half adds to the stream.
    pub residual_scale: f32,
}

/// What one layer differs in from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerConfig {
    /// How q and k are rotated.
    pub rope: Rope,
    /// Which of the model's rotations.
    pub rotation: usize,
    /// Positions that a query sees, itself included; `NO_WINDOW` for all.
    pub window: u32,
}

impl DecoderConfig {
    /// Reads and checks a decoder's hyperparameters.
    ///
    /// # Errors
    /// `Format` for what is missing or out of range, `Unsupported` for an architecture or a part of one that does not run.
    pub fn new(checkpoint: &Checkpoint) -> Result<Self> {
        let facts = Facts::new(checkpoint)?;
        let Some(known) = &facts.architecture.decoder else {
            let what = format!("writing text with {}: it is an encoder, which classifies and embeds", facts.file);
            return Err(Error::unsupported(what));
        };
        if facts.find_uint("expert_count", "num_local_experts")?.is_some_and(|n| n > 0) {
            return Err(Error::unsupported(format!("the mixture of experts of {}", facts.file)));
        }
        let shape = facts.shape(
            checkpoint,
            match known.norm {
                NormType::Rms => ("attention.layer_norm_rms_epsilon", "rms_norm_eps"),
                NormType::Layer => ("attention.layer_norm_epsilon", "layer_norm_eps"),
            },
        )?;
        let windows = windows(&facts, known, &shape)?;
        let mut rotations = vec![Rotation::global(&facts, &shape)?];
        if known.is_gemma && windows.iter().any(|window| *window != NO_WINDOW) && has_local_rotation(&facts) {
            rotations.push(Rotation::local(&facts, &shape)?);
        }
        let rope = rope(&facts, known, checkpoint, &shape)?;
        let is_rotated = rotated_layers(&facts, known, &shape)?;
        let layers = windows.iter().zip(is_rotated).map(|(&window, is_rotated)| LayerConfig {
            rope: if is_rotated { rope } else { Rope::None },
            rotation: if window == NO_WINDOW { 0 } else { rotations.len() - 1 },
            window,
        });
        let scale = attention_scale(&facts, &shape)?;
        let softcap = |gguf: &str, json: &str, default: Option<f64>| -> Result<Option<f32>> {
            let has_one = facts.find(gguf, json).is_some() || default.is_some();
            if has_one { Ok(Some(facts.float(gguf, json, default, 1e6)? as f32)) } else { Ok(None) }
        };
        // What llama.cpp takes where a Gemma 2 file is silent.
        let gemma2 = |bound: f64| (facts.is_gguf() && facts.architecture.name == "gemma2").then_some(bound);
        let embedding_scale = if known.is_gemma { f64::from(shape.dim).sqrt() } else { 1.0 };
        Ok(Self {
            norm: known.norm,
            norm_offset: if known.is_gemma && !facts.is_gguf() { 1.0 } else { 0.0 },
            activation: facts.activation(known.activation)?,
            is_parallel: facts
                .find_bool("use_parallel_residual", "use_parallel_residual")?
                .unwrap_or(known.is_parallel),
            layers: layers.collect(),
            attention_scale: scale,
            attention_softcap: softcap("attn_logit_softcapping", "attn_logit_softcapping", gemma2(50.0))?,
            logit_softcap: softcap("final_logit_softcapping", "final_logit_softcapping", gemma2(30.0))?,
            logit_scale: 1.0 / facts.factor("logit_scale", "logits_scaling", 1.0)?,
            embedding_scale: facts.factor("embedding_scale", "embedding_multiplier", embedding_scale)?,
            residual_scale: facts.factor("residual_scale", "residual_multiplier", 1.0)?,
            rotations,
            shape,
        })
    }
}

/// The factor of q·k: 1/√head_dim unless the file says another.
fn attention_scale(facts: &Facts<'_>, shape: &Shape) -> Result<f32> {
    let mut width = f64::from(shape.head_dim);
    if let Some(found) = facts.find_float("", "query_pre_attn_scalar")? {
        width = found;
    } else if facts.is_gguf() && matches!((facts.architecture.name, shape.n_layers), ("gemma2", 46) | ("gemma3", 62)) {
        // The 27B ones, whose files do not say it.
        width = f64::from(shape.dim) / f64::from(shape.n_heads);
    }
    facts.factor("attention.scale", "attention_multiplier", 1.0 / width.sqrt())
}

/// Whether layers that see a window rotate by a base of their own: Gemma 3's do.
fn has_local_rotation(facts: &Facts<'_>) -> bool {
    facts.architecture.name == "gemma3"
}

/// How q and k are rotated where they are.
fn rope(facts: &Facts<'_>, known: &DecoderFacts, checkpoint: &Checkpoint, shape: &Shape) -> Result<Rope> {
    if checkpoint.tensor("position_embd.weight").is_some() {
        return Ok(Rope::None);
    }
    let nested = facts.json("rope_parameters").and_then(|json| json.get("partial_rotary_factor"));
    let share = facts.find_float("", "partial_rotary_factor")?.or(nested.and_then(Json::as_f64));
    let of_share = share.map(|share| (share * f64::from(shape.head_dim)) as u64);
    let rotated = facts.find_uint("rope.dimension_count", "")?.or(of_share).unwrap_or(u64::from(shape.head_dim));
    let is_permuted = facts.is_gguf() && known.is_permuted;
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

/// Which layers rotate.
fn rotated_layers(facts: &Facts<'_>, known: &DecoderFacts, shape: &Shape) -> Result<Vec<bool>> {
    let n = shape.n_layers as usize;
    if let Some(list) = facts.json("no_rope_layers") {
        // 1 where a layer rotates, whatever the name says.
        let list: Option<Vec<bool>> =
            list.as_array().and_then(|list| list.iter().map(|value| value.as_u64().map(|value| value > 0)).collect());
        return list
            .filter(|list| list.len() == n)
            .ok_or_else(|| facts.wrong(format!("no_rope_layers is no list of {n} numbers")));
    }
    let every = facts.find_uint("", "no_rope_layer_interval")?.or(known.unrotated.map(u64::from)).unwrap_or(u64::MAX);
    Ok((1..=n as u64).map(|i| !i.is_multiple_of(every.max(1))).collect())
}

/// What each layer sees: how many positions, or `NO_WINDOW`.
fn windows(facts: &Facts<'_>, known: &DecoderFacts, shape: &Shape) -> Result<Vec<u32>> {
    let n = shape.n_layers;
    let all = vec![NO_WINDOW; n as usize];
    if facts.find_bool("", "use_sliding_window")? == Some(false) {
        return Ok(all);
    }
    let Some(window) = facts.find_uint("attention.sliding_window", "sliding_window")?.filter(|window| *window > 0)
    else {
        return Ok(all);
    };
    let window = u32::try_from(window).unwrap_or(NO_WINDOW);
    let has_window = windowed_layers(facts, known, n)?;
    Ok(has_window.into_iter().map(|has_window| if has_window { window } else { NO_WINDOW }).collect())
}

/// Which layers see the window only: as the file lists them, or by a rule.
fn windowed_layers(facts: &Facts<'_>, known: &DecoderFacts, n: u32) -> Result<Vec<bool>> {
    let of_length = |list: Vec<bool>, key: &str| {
        let found = list.len();
        let wrong = || facts.wrong(format!("{key} lists {found} layers, {n} were wanted"));
        if found == n as usize { Ok(list) } else { Err(wrong()) }
    };
    if let Some(list) = facts.json("layer_types") {
        let kinds: Option<Vec<&str>> = list.as_array().and_then(|list| list.iter().map(Json::as_str).collect());
        let kinds = kinds.ok_or_else(|| facts.wrong("layer_types is no list of texts".into()))?;
        if let Some(other) = kinds.iter().find(|kind| !matches!(**kind, "sliding_attention" | "full_attention")) {
            return Err(Error::unsupported(format!(
                "layers of type {other} in {}: full_attention and sliding_attention run",
                facts.file
            )));
        }
        return of_length(kinds.iter().map(|kind| *kind == "sliding_attention").collect(), "layer_types");
    }
    let (gguf, json) = ("attention.sliding_window_pattern", "sliding_window_pattern");
    if let Some(Fact::Gguf(Value::Bools(list))) = facts.find(gguf, json) {
        return of_length(list.clone(), gguf);
    }
    let rule = match (facts.find_uint(gguf, json)?, known.windows) {
        (Some(every), _) => Windows::AllBut(every.try_into().unwrap_or(u32::MAX)),
        (None, rule) => rule,
    };
    let first = facts.find_uint("", "max_window_layers")?.unwrap_or(0);
    Ok((0..n)
        .map(|i| match rule {
            Windows::All => true,
            Windows::AllBut(every) => !(i + 1).is_multiple_of(every.max(1)),
            Windows::Upper => u64::from(i) >= first,
        })
        .collect())
}
