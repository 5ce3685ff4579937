//! Text tasks over an encoder: embeddings, and labels from a head or by similarity.

use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::gpu::Gpu;
use crate::session::{LoadOptions, ModelInfo, Progress};
use crate::text::Tokenizer;
use serde::Serialize;
use std::rc::Rc;

pub use crate::kernels::elementwise::Pooling;

/// A label and its probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelScore {
    /// The label's name.
    pub label: String,
    /// Its probability, or its similarity softmaxed over the labels.
    pub score: f32,
}

/// How texts are classified.
#[derive(Clone, Debug, Default)]
pub struct ClassifyOptions {
    /// Own labels, compared by embedding similarity; empty means the model's head.
    pub labels: Vec<String>,
    /// Sentence around an own label, `{}` standing for it; none means `This text is about {}.`
    pub template: Option<String>,
    /// Each label judged alone (sigmoid) instead of one among all (softmax).
    pub multi_label: bool,
}

/// An encoder with its tokenizer and head.
pub struct TextEncoder {
    _private: Rc<()>,
}

impl TextEncoder {
    /// Loads an encoder onto the GPU, streaming.
    pub async fn load(
        gpu: &Rc<Gpu>,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let _ = (gpu, checkpoint, options, progress);
        Err(Error::unsupported("encoders (under construction)"))
    }

    /// Adds (or replaces) a linear head from a safetensors file: `classifier.weight (k, dim)`, `classifier.bias (k)`, on
    /// mean-pooled normalized embeddings; label names from its metadata, else `LABEL_i`.
    pub async fn load_head(&mut self, head: &Checkpoint) -> Result<()> {
        let _ = head;
        Err(Error::Cancelled)
    }

    /// What is loaded.
    pub fn info(&self) -> &ModelInfo {
        unreachable!()
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        unreachable!()
    }

    /// The head's labels in order; empty when the model has no head.
    pub fn labels(&self) -> &[String] {
        &[]
    }

    /// One vector per text; `pooling` none means the model's own.
    pub async fn embed(&mut self, texts: &[&str], pooling: Option<Pooling>, normalize: bool) -> Result<Vec<Vec<f32>>> {
        let _ = (texts, pooling, normalize);
        Err(Error::Cancelled)
    }

    /// The head's raw outputs, one row per text.
    pub async fn logits(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let _ = texts;
        Err(Error::Cancelled)
    }

    /// Labels with scores, best first, one list per text.
    pub async fn classify(&mut self, texts: &[&str], options: &ClassifyOptions) -> Result<Vec<Vec<LabelScore>>> {
        let _ = (texts, options);
        Err(Error::Cancelled)
    }
}
