//! What an encoder says of its texts or tokens: one vector of each, through a head where there is one.

use super::{Encoder, Output, Scratch, norm_style};
use crate::error::{Error, Result};
use crate::gpu::tensor::Columns;
use crate::gpu::{Gpu, Recording};
use crate::kernels::elementwise::{Pooling, Scaling, pool};
use crate::kernels::matmul::Activation;
use crate::kernels::{ColumnsAre, Pass};
use crate::model::config::{EncoderConfig, HeadConfig, HeadOf};
use crate::model::layers::{Input, Linear, Loader, Norm};

/// Where scores come from.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) of: HeadOf,
    scaling: Scaling,
    /// A dense layer and its function: BERT's pooler, for one.
    dense: Option<(Linear, Activation)>,
    norm: Option<Norm>,
    classifier: Linear,
}

impl Head {
    /// The checkpoint's head, where it has one.
    pub(super) fn load(loader: &mut Loader<'_>, config: &EncoderConfig, words: &Linear) -> Result<Option<Self>> {
        let (dim, style) = (config.shape.dim, norm_style(config));
        let HeadConfig { of, activation, .. } = config.head;
        let classifier = match loader.checkpoint.tensor("cls.output.weight") {
            _ if of == HeadOf::Mask => {
                // Some files hold such a head's name and not the head: they embed.
                if !loader.has("mlm.output.bias") {
                    return Ok(None);
                }
                Linear::tied(loader, &words.weights, "mlm.output.bias")?
            }
            None => return Ok(None),
            Some(info) => {
                let n_labels = info.rows() as u32;
                Linear::load(loader, &["cls.output.weight".to_owned()], n_labels, dim)?
            }
        };
        let scope = if of == HeadOf::Mask && loader.has("mlm.weight") { "mlm" } else { "cls" };
        let norm = Norm::find(loader, &format!("{scope}.norm"), dim, style)?;
        // A pooler that is left over beside a head of tokens is no part of it: a dense layer of tokens is normed.
        let is_part = !matches!(of, HeadOf::Token | HeadOf::Answer) || norm.is_some();
        let name = format!("{scope}.weight");
        let dense = match is_part && loader.has(&name) {
            true => Some((Linear::load(loader, &[name], dim, dim)?, activation)),
            false => None,
        };
        Ok(Some(Self { of, scaling: Scaling::Raw, dense, norm, classifier }))
    }

    /// A linear head on mean-pooled vectors of length 1.
    pub(super) fn linear(classifier: Linear) -> Self {
        Self { of: HeadOf::Text(Pooling::Mean), scaling: Scaling::Unit, dense: None, norm: None, classifier }
    }

    pub(super) fn n_labels(&self) -> u32 {
        self.classifier.weights.n_rows
    }

    /// How columns become one vector: a token's is itself.
    fn pooling(&self) -> Pooling {
        match self.of {
            HeadOf::Text(pooling) => pooling,
            HeadOf::Token | HeadOf::Answer | HeadOf::Mask => Pooling::Cls,
        }
    }
}

impl Encoder {
    /// The residual stream `x` → one column per text or token asked about.
    pub(super) fn finish(
        &self,
        gpu: &Gpu,
        rec: &mut Recording,
        (s, x): (&Scratch, &Columns),
        output: Output,
    ) -> Result<Columns> {
        let vectors = self.head_vectors.as_ref().unwrap_or(&self.vectors);
        let mut pass = Pass { rec, state: &self.texts_state, columns: ColumnsAre::Sequence, vectors };
        if let Output::Embedding(pooling, scaling) = output {
            pool(&mut pass, pooling, scaling, &self.texts, x, &s.pooled);
            return Ok(s.pooled.clone());
        }
        let head = self.head.as_ref().ok_or_else(|| Error::unsupported("scores from a model that has no head"))?;
        pool(&mut pass, head.pooling(), head.scaling, &self.texts, x, &s.pooled);
        let mut from = &s.pooled;
        if let Some((dense, activation)) = &head.dense {
            dense.record(&mut pass, Input::new(from), &s.dense, *activation, None);
            from = &s.dense;
        }
        if let Some(norm) = &head.norm {
            let to = if head.dense.is_some() { &s.pooled } else { &s.dense };
            norm.record(&mut pass, from, None, to);
            from = to;
        }
        let logits = Columns::new(gpu, "scores of a head", s.pooled.n_columns, head.n_labels())?;
        head.classifier.record(&mut pass, Input::new(from), &logits, Activation::Identity, None);
        Ok(logits)
    }
}
