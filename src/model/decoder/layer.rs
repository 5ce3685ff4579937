//! One transformer layer of a decoder: attention, then a feed-forward layer, each added to the stream. Which norms stand before
//! and after them, and whether the feed-forward layer has a gate, its tensors say.

use super::{Decoder, Scratch};
use crate::error::Result;
use crate::gpu::Line;
use crate::gpu::tensor::Columns;
use crate::kernels::Pass;
use crate::kernels::attention::{HeadNorm, Qkv, Score, Scores, Span, attention};
use crate::kernels::matmul::{Activation, Residual};
use crate::model::config::{DecoderConfig, LayerConfig};
use crate::model::layers::{FeedForward, Input, Linear, Loader, Norm, NormStyle, find_head_norm, qkv_names};

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
        let layer = config.layers[i as usize];
        let (qkv, qkv_shape) = (qkv_names(loader, i), (shape.qkv_dim(), dim));
        let head_norm = find_head_norm(loader, &format!("blk.{i}"), shape, style)?;
        let attn_post_norm = Norm::find(loader, &scope("post_attention_norm"), dim, style)?;
        let ffn_post_norm = Norm::find(loader, &scope("post_ffw_norm"), dim, style)?;
        // OLMo 2 norms after its halves only.
        let mut before = |part: &str, post_norm: Option<Norm>| match post_norm {
            Some(_) => Norm::find(loader, &scope(part), dim, style),
            None => Norm::load(loader, &scope(part), dim, style).map(Some),
        };
        let attn_norm = before("attn_norm", attn_post_norm)?;
        let ffn_norm = if config.shares_norm { attn_norm } else { before("ffn_norm", ffn_post_norm)? };
        Ok(Self {
            config: layer,
            qkv: match head_norm {
                // Rotated after the norm, by another kernel.
                Some(_) => Linear::load(loader, &qkv, qkv_shape.0, qkv_shape.1)?,
                None => Linear::load_qkv(loader, &qkv, qkv_shape, layer.rope, shape.head_dim)?,
            },
            head_norm,
            attn_output: Linear::load(loader, &[scope("attn_output.weight")], dim, shape.q_dim())?,
            ffn_norm,
            ffn: FeedForward::load(loader, i, shape)?,
            ffn_post_norm,
            attn_norm,
            attn_post_norm,
        })
    }
}

impl Decoder {
    /// The residual stream `s.x` through a layer, in place.
    pub(super) fn layer(&self, pass: &mut Pass<'_>, s: &Scratch, i: usize) {
        let (config, layer) = (&self.config, &self.layers[i]);
        let LayerConfig { rope, rotation, window } = layer.config;
        let (heads, cache) = self.cache.layer(i);
        let (norm, angles, staged) = (layer.head_norm, &self.angles[rotation], s.staged.as_ref());
        let qkv = Qkv { heads, rope, norm, angles, q: &s.q, cache, staged };
        let x = Input::perhaps_normed(pass, layer.attn_norm.as_ref(), &s.x, &s.normed);
        layer.qkv.record_qkv(pass, x, qkv, &s.qkv);
        let score = config.attention_softcap.map_or(Score::Plain, Score::SoftCap);
        let scores = Scores { span: Span::Causal, window, scale: config.attention_scale, score };
        attention(pass, heads, &scores, &s.q, cache, &s.splits, &s.attended);
        self.add(pass, &layer.attn_output, &s.attended, layer.attn_post_norm.as_ref(), (&s.x, &s.x_next), s);
        let from = if config.is_parallel { &s.x } else { &s.x_next };
        let x = Input::perhaps_normed(pass, layer.ffn_norm.as_ref(), from, &s.normed);
        let down = layer.ffn.record(pass, x, config.activation, &s.gate_up, &s.gated);
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
            let residual = Residual::Stream { stream, factor: self.config.residual_scale };
            linear.record(pass, Input::new(x), to, Activation::Identity, Some(residual));
        }
    }
}
