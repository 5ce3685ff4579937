//! A decoder's hyperparameters: what differs between architectures is data, and one forward pass reads it.

use super::Shape;
use super::architecture::{DecoderFacts, Halves, NormType, Role};
use super::facts::Facts;
use super::rotation::{Rotation, rope};
use super::windows::windows;
use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::kernels::attention::{NO_WINDOW, Rope};
use crate::kernels::matmul::Activation;

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
    /// Whether one norm then stands before both.
    pub shares_norm: bool,
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
        let Role::Decoder(known) = &facts.architecture.role else {
            let what = format!("writing text with {}: it is an encoder, which classifies and embeds", facts.file);
            return Err(Error::unsupported(what));
        };
        refuse_variants(&facts)?;
        if facts.find_uint("expert_count", "num_local_experts")?.is_some_and(|n| n > 0) {
            return Err(Error::unsupported(format!("the mixture of experts of {}", facts.file)));
        }
        let shape = facts.shape(
            checkpoint,
            match known.norm {
                NormType::Rms => ("attention.layer_norm_rms_epsilon", "rms_norm_eps", 1e-5),
                NormType::Layer => ("attention.layer_norm_epsilon", "layer_norm_eps", 1e-5),
            },
        )?;
        let windows = windows(&facts, known.windows, shape.n_layers)?;
        let rotations = Rotation::all(&facts, &shape, &windows)?;
        let rope = rope(&facts, checkpoint, &shape)?;
        let is_rotated = rotated_layers(&facts, known, &shape)?;
        let layers = windows.iter().zip(is_rotated).map(|(&window, is_rotated)| LayerConfig {
            rope: if is_rotated { rope } else { Rope::None },
            rotation: if window == NO_WINDOW { 0 } else { rotations.len() - 1 },
            window,
        });
        // GPT-NeoX's word alone: converters wrote it into files of others, whose tensors say otherwise.
        let said = match known.halves {
            Halves::Parallel => facts.find_bool("use_parallel_residual", "use_parallel_residual")?,
            Halves::Serial | Halves::ByNorms => None,
        };
        let shares_norm = known.halves == Halves::ByNorms && checkpoint.tensor("blk.0.ffn_norm.weight").is_none();
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
            is_parallel: said.unwrap_or(known.halves == Halves::Parallel) || shares_norm,
            shares_norm,
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

/// Variants that a `config.json` may ask for and that do not run.
fn refuse_variants(facts: &Facts<'_>) -> Result<()> {
    for (key, unwanted) in [("scale_attn_weights", false), ("scale_attn_by_inverse_layer_idx", true)] {
        if facts.find_bool("", key)? == Some(unwanted) {
            return Err(Error::unsupported(format!("{key} {unwanted} of {}", facts.file)));
        }
    }
    Ok(())
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
