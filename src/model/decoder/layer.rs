//! One transformer layer of a decoder: attention, then a feed-forward layer, each added to the stream. Which norms stand before
//! and after them, and whether the feed-forward layer has a gate, its tensors say.

use super::{Decoder, Scratch};
use crate::error::Result;
use crate::gpu::Line;
use crate::gpu::tensor::Columns;
use crate::kernels::Pass;
use crate::kernels::attention::{HeadNorm, Qkv, Scores, Span, attention};
use crate::kernels::matmul::{Activation, Residual};
use crate::model::config::{DecoderConfig, LayerConfig};
use crate::model::layers::{Input, Linear, Loader, Norm, NormStyle, find_head_norm};

/// One layer's weights.
#[derive(Debug)]
pub(super) struct Layer {
    config: LayerConfig,
    attn_norm: Option<Norm>,
    qkv: Linear,
    head_norm: Option<HeadNorm>,
    attn_output: Linear,
    attn_post_norm: Option<Norm>,
    ffn_norm: Option<Norm>,
    ffn: FeedForward,
    ffn_post_norm: Option<Norm>,
    /// Both halves begin from the stream before the layer.
    is_parallel: bool,
}

/// The feed-forward layer's products.
#[derive(Debug)]
enum FeedForward {
    /// down·(activate(gate·x)·(up·x)), arXiv 2002.05202.
    Gated { gate_up: Linear, down: Linear },
    /// down·activate(up·x).
    Plain { up: Linear, down: Linear },
}

/// What norms inside layers are.
pub(super) fn norm_style(config: &DecoderConfig) -> NormStyle {
    let line = Line { factor: 1.0, offset: config.norm_offset };
    NormStyle { kind: config.norm, eps: config.shape.norm_eps, line }
}

impl Layer {
    pub(super) fn load(loader: &mut Loader<'_>, config: &DecoderConfig, i: u32) -> Result<Self> {
        let shape = &config.shape;
        let (dim, style) = (shape.dim, norm_style(config));
        let scope = |part: &str| format!("blk.{i}.{part}");
        let weights = |parts: &[&str]| -> Vec<String> { parts.iter().map(|part| scope(part) + ".weight").collect() };
        let layer = config.layers[i as usize];
        let is_fused = loader.has(&weights(&["attn_qkv"])[0]);
        let qkv = if is_fused { weights(&["attn_qkv"]) } else { weights(&["attn_q", "attn_k", "attn_v"]) };
        let qkv_shape = (shape.qkv_dim(), dim);
        let head_norm = find_head_norm(loader, &format!("blk.{i}"), shape, style)?;
        let attn_norm = Norm::find(loader, &scope("attn_norm"), dim, style)?;
        let attn_post_norm = Norm::find(loader, &scope("post_attention_norm"), dim, style)?;
        let own_ffn_norm = Norm::find(loader, &scope("ffn_norm"), dim, style)?;
        // Halves that share a norm share what is normed.
        let shares_norm = own_ffn_norm.is_none() && attn_post_norm.is_none();
        Ok(Self {
            config: layer,
            qkv: match head_norm {
                // Rotated after the norm, by another kernel.
                Some(_) => Linear::load(loader, &qkv, qkv_shape.0, qkv_shape.1)?,
                None => Linear::load_qkv(loader, &qkv, qkv_shape, layer.rope, shape.head_dim)?,
            },
            head_norm,
            attn_output: Linear::load(loader, &weights(&["attn_output"]), dim, shape.q_dim())?,
            ffn_norm: if shares_norm { attn_norm } else { own_ffn_norm },
            ffn: FeedForward::load(loader, &weights, config)?,
            ffn_post_norm: Norm::find(loader, &scope("post_ffw_norm"), dim, style)?,
            is_parallel: config.is_parallel || shares_norm,
            attn_norm,
            attn_post_norm,
        })
    }
}

impl FeedForward {
    fn load(
        loader: &mut Loader<'_>,
        weights: &impl Fn(&[&str]) -> Vec<String>,
        config: &DecoderConfig,
    ) -> Result<Self> {
        let (dim, ffn_dim) = (config.shape.dim, config.shape.ffn_dim);
        let (gate, up, down) = (weights(&["ffn_gate"]), weights(&["ffn_up"]), weights(&["ffn_down"]));
        let up_rows = loader.checkpoint.tensor(&up[0]).map(crate::format::TensorInfo::rows);
        let gate_up = match (loader.has(&gate[0]), up_rows) {
            (true, _) => Some([gate, up.clone()].concat()),
            // Gates and ups are one tensor.
            (false, Some(rows)) if rows == 2 * u64::from(ffn_dim) => Some(up.clone()),
            _ => None,
        };
        let down = Linear::load(loader, &down, dim, ffn_dim)?;
        Ok(match gate_up {
            Some(names) => Self::Gated { gate_up: Linear::load_gated(loader, &names, (2 * ffn_dim, dim))?, down },
            None => Self::Plain { up: Linear::load(loader, &up, ffn_dim, dim)?, down },
        })
    }
}

impl Decoder {
    /// The residual stream `s.x` through a layer, in place.
    pub(super) fn layer(&self, pass: &mut Pass<'_>, s: &Scratch, i: usize) {
        let (config, layer) = (&self.config, &self.layers[i]);
        let LayerConfig { rope, rotation, window } = layer.config;
        let (heads, cache) = (&self.heads, self.cache.layer(i));
        let qkv = Qkv { heads, rope, norm: layer.head_norm, angles: &self.angles[rotation], q: &s.q, cache };
        let x = normed(pass, layer.attn_norm.as_ref(), &s.x, &s.normed);
        layer.qkv.record_qkv(pass, x, qkv, &s.qkv);
        let (scale, softcap) = (config.attention_scale, config.attention_softcap);
        let scores = Scores { span: Span::Causal, window, scale, softcap };
        attention(pass, heads, &scores, &s.q, cache, &s.splits, &s.attended);
        self.add(pass, &layer.attn_output, &s.attended, layer.attn_post_norm.as_ref(), (&s.x, &s.x_next), s);
        let from = if layer.is_parallel { &s.x } else { &s.x_next };
        let x = normed(pass, layer.ffn_norm.as_ref(), from, &s.normed);
        let down = match &layer.ffn {
            FeedForward::Gated { gate_up, down } => {
                gate_up.record_gated(pass, x, config.activation, &s.gate_up, &s.gated);
                down
            }
            FeedForward::Plain { up, down } => {
                up.record(pass, x, &s.gated, config.activation, None);
                down
            }
        };
        self.add(pass, down, &s.gated, layer.ffn_post_norm.as_ref(), (&s.x_next, &s.x), s);
    }

    /// The end of a layer half: `to` = `stream` + `linear`·x, normed where there is a norm.
    fn add(
        &self,
        pass: &mut Pass<'_>,
        linear: &Linear,
        x: &Columns,
        post_norm: Option<&Norm>,
        (stream, to): (&Columns, &Columns),
        s: &Scratch,
    ) {
        if let Some(norm) = post_norm {
            linear.record(pass, Input::new(x), &s.normed, Activation::Identity, None);
            norm.record(pass, &s.normed, Some(stream), to);
        } else {
            let residual = Residual { columns: stream, factor: self.config.residual_scale };
            linear.record(pass, Input::new(x), to, Activation::Identity, Some(residual));
        }
    }
}

/// Columns on their way into a product, normed where there is a norm.
fn normed<'a>(pass: &mut Pass<'_>, norm: Option<&Norm>, columns: &'a Columns, normed: &'a Columns) -> Input<'a> {
    match norm {
        Some(norm) => Input::normed(pass, norm, columns, normed),
        None => Input::new(columns),
    }
}
