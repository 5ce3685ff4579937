//! Vectors of texts.

use super::encoder::{Input, TextEncoder};
use super::{Long, Pooling, Reading, Scaling};
use crate::error::Result;
use crate::model::encoder::Output;
use serde::Serialize;

/// How texts become vectors.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbedOptions {
    /// How token vectors become one; none means as the model does.
    pub pooling: Option<Pooling>,
    /// Each vector scaled to length 1.
    pub normalize: bool,
    /// What becomes of long texts.
    pub long: Long,
}

/// A text's vector. Of several windows it is the mean of theirs, each counting as often as it has tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Embedded {
    /// `(dim)`.
    pub embedding: Vec<f32>,
    /// How the text was read.
    #[serde(flatten)]
    pub reading: Reading,
}

impl TextEncoder {
    /// One vector per text, of its beginning where it is longer than the context; `pooling` none means the model's own.
    pub async fn embed(&mut self, texts: &[&str], pooling: Option<Pooling>, scaling: Scaling) -> Result<Vec<Vec<f32>>> {
        let options = EmbedOptions { pooling, normalize: scaling == Scaling::Unit, ..EmbedOptions::default() };
        let embedded = self.embed_texts(texts, &options).await?;
        Ok(embedded.into_iter().map(|text| text.embedding).collect())
    }

    /// One vector per text, and how each was read.
    pub async fn embed_texts(&mut self, texts: &[&str], options: &EmbedOptions) -> Result<Vec<Embedded>> {
        let scaling = if options.normalize { Scaling::Unit } else { Scaling::Raw };
        let batch = self.read(texts, options.long)?;
        let output = Output::Embedding(options.pooling.unwrap_or(self.pooling()), scaling);
        let rows = self.run_texts(&batch.inputs, output).await?;
        let embedded = batch.pool(rows).into_iter().map(|(mut embedding, reading)| {
            if options.normalize && reading.windows.is_some() {
                normalize(&mut embedding);
            }
            Embedded { embedding, reading }
        });
        Ok(embedded.collect())
    }

    /// As `embed`, of texts that are token ids already.
    pub async fn embed_ids(
        &mut self,
        texts: &[Vec<u32>],
        pooling: Option<Pooling>,
        scaling: Scaling,
    ) -> Result<Vec<Vec<f32>>> {
        let output = Output::Embedding(pooling.unwrap_or(self.pooling()), scaling);
        let input = |ids: &Vec<u32>| Input { ids: ids.clone(), second: ids.len(), asked: None };
        self.run_texts(&texts.iter().map(input).collect::<Vec<_>>(), output).await
    }
}

fn normalize(vector: &mut [f32]) {
    let length = dot(vector, vector).sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
}

/// Of vectors of length 1: their cosine.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
