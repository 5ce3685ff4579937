//! One transformer layer of an encoder: attention, then a feed-forward layer, each added to the stream. Norms stand before the
//! halves, or after what they are added to: the tensors say where.

use super::{Encoder, Scratch, norm_style};
use crate::error::Result;
use crate::kernels::Pass;
use crate::kernels::attention::{Qkv, Score, Scores, Span, Splits, attention};
use crate::kernels::matmul::{Activation, Residual};
use crate::model::config::{EncoderConfig, EncoderLayer};
use crate::model::layers::{FeedForward, Input, Linear, Loader, Norm, qkv_names};

/// One layer's weights.
#[derive(Debug)]
pub(super) struct Layer {
    config: EncoderLayer,
    attn_norm: Option<Norm>,
    qkv: Linear,
    attn_output: Linear,
    attn_output_norm: Option<Norm>,
    ffn_norm: Option<Norm>,
    ffn: FeedForward,
    layer_output_norm: Option<Norm>,
}

impl Layer {
    pub(super) fn load(loader: &mut Loader<'_>, config: &EncoderConfig, i: u32) -> Result<Self> {
        let (shape, dim, style) = (&config.shape, config.shape.dim, norm_style(config));
        let layer = config.layers[i as usize];
        let scope = |part: &str| format!("blk.{i}.{part}");
        let ffn_norm = Norm::find(loader, &scope("ffn_norm"), dim, style)?;
        let is_pre_normed = ffn_norm.is_some();
        let after = |loader: &mut Loader<'_>, part: &str| match is_pre_normed {
            true => Ok(None),
            false => Norm::load(loader, &scope(part), dim, style).map(Some),
        };
        let qkv = qkv_names(loader, i);
        Ok(Self {
            config: layer,
            // The first layer's input is normed already.
            attn_norm: match i {
                0 => Norm::find(loader, &scope("attn_norm"), dim, style)?,
                _ if is_pre_normed => Some(Norm::load(loader, &scope("attn_norm"), dim, style)?),
                _ => None,
            },
            qkv: Linear::load_qkv(loader, &qkv, (shape.qkv_dim(), dim), layer.rope, shape.head_dim)?,
            attn_output: Linear::load(loader, &[scope("attn_output.weight")], dim, dim)?,
            attn_output_norm: after(loader, "attn_output_norm")?,
            ffn_norm,
            ffn: FeedForward::load(loader, i, shape)?,
            layer_output_norm: after(loader, "layer_output_norm")?,
        })
    }
}

impl Encoder {
    /// The residual stream `s.x` through a layer, in place.
    pub(super) fn layer(&self, pass: &mut Pass<'_>, s: &Scratch, i: usize) {
        let layer = &self.layers[i];
        let EncoderLayer { rope, rotation, window } = layer.config;
        let heads = self.heads(s.x.n_columns);
        // Positions are the batch's columns: rotations by them differ by as much as by those in the text.
        let angles = &self.angles[rotation];
        let qkv = Qkv { heads: &heads, rope, norm: None, angles, q: &s.q, cache: &s.cache, staged: None };
        let x = Input::perhaps_normed(pass, layer.attn_norm.as_ref(), &s.x, &s.normed);
        layer.qkv.record_qkv(pass, x, qkv, &s.qkv);
        let score = self.relative.as_ref().map_or(Score::Plain, Score::Relative);
        let scores = Scores { window, score, ..Scores::plain(&heads, Span::Segment(&self.spans)) };
        attention(pass, &heads, &scores, &s.q, &s.cache, &Splits::NONE, &s.attended);
        let residual = Some(Residual::new(&s.x));
        layer.attn_output.record(pass, Input::new(&s.attended), &s.x_next, Activation::Identity, residual);
        let (stream, to) = match &layer.attn_output_norm {
            Some(norm) => {
                norm.record(pass, &s.x_next, None, &s.x);
                (&s.x, &s.x_next)
            }
            None => (&s.x_next, &s.x),
        };
        let x = Input::perhaps_normed(pass, layer.ffn_norm.as_ref(), stream, &s.normed);
        let down = layer.ffn.record(pass, x, self.config.activation, &s.gate_up, &s.hidden);
        down.record(pass, Input::new(&s.hidden), to, Activation::Identity, Some(Residual::new(stream)));
        if let Some(norm) = &layer.layer_output_norm {
            norm.record(pass, to, None, stream);
        }
    }
}
