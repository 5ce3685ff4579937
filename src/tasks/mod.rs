//! Text tasks. Over an encoder: embeddings, and labels from a head or by similarity. Over a decoder: choices by likelihood, and what a
//! chat model is told to do.

pub mod chat;
pub mod choices;

use crate::error::{Error, Result};
use crate::format::{Checkpoint, TensorInfo};
use crate::gpu::Gpu;
use crate::model::config::{EncoderConfig, HeadOf};
use crate::model::encoder::{Encoder, MAX_TEXTS, Output};
use crate::session::{Cancel, LoadOptions, ModelInfo, Progress, check_vocabulary, compiling, reading};
use crate::text::Tokenizer;
use serde::Serialize;
use std::rc::Rc;
use web_time::Instant;

pub use crate::kernels::elementwise::{Pooling, Scaling};

/// A label and its probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelScore {
    /// The label's name.
    pub label: String,
    /// In 0..=1.
    pub score: f32,
}

/// How texts are classified.
#[derive(Clone, Debug, Default)]
pub struct ClassifyOptions {
    /// Own labels, compared by embedding similarity; empty means the model's head.
    pub labels: Vec<String>,
    /// Sentence around an own label, `{}` standing for it; none means `This text is about {}.`
    pub template: Option<String>,
    /// Each label judged alone instead of one among all.
    pub multi_label: bool,
}

/// `[CLS]`, one token of text, `[SEP]`.
const MIN_CONTEXT: usize = 3;

/// What stands around an own label when nothing else is asked for.
const TEMPLATE: &str = "This text is about {}.";

/// Cosines are multiplied by this before the softmax over labels: the scale sentence-transformers trains with.
const COSINE_SCALE: f32 = 20.0;

/// An encoder with its tokenizer and head.
pub struct TextEncoder {
    gpu: Rc<Gpu>,
    encoder: Encoder,
    tokenizer: Tokenizer,
    info: ModelInfo,
    cancel: Cancel,
}

impl TextEncoder {
    /// Loads an encoder onto the GPU, streaming.
    pub async fn load(
        gpu: &Rc<Gpu>,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let start = Instant::now();
        if options.context_len.is_some_and(|len| len < MIN_CONTEXT) {
            return Err(Error::invalid(format!("a context holds {MIN_CONTEXT} tokens at least")));
        }
        gpu.begin("loading a model")?;
        let shape = EncoderConfig::new(checkpoint).await?.shape;
        let tokenizer = Tokenizer::from_checkpoint(checkpoint).await?;
        check_vocabulary(checkpoint, &tokenizer, shape.vocab_size)?;
        let loading = Encoder::load(gpu, checkpoint).await?;
        let loading = loading.read(&mut reading(checkpoint, &options.cancel, progress)).await?;
        let encoder = loading.finish(&mut compiling(&options.cancel, progress)).await?;
        let most = encoder.batch_len().min(encoder.config().max_tokens as usize);
        let context_len = options.context_len.unwrap_or(most).min(most);
        let info = ModelInfo::new(checkpoint, &shape, context_len, start.elapsed());
        let mut this = Self { gpu: gpu.clone(), encoder, tokenizer, info, cancel: options.cancel.clone() };
        this.check_labels()?;
        Ok(this)
    }

    /// A head whose labels have no names calls them `LABEL_i`, as transformers does.
    fn check_labels(&mut self) -> Result<()> {
        let is_named = self.encoder.head().is_some_and(|head| head != HeadOf::Mask);
        let Some(n_labels) = self.encoder.n_labels().filter(|_| is_named) else { return Ok(()) };
        let labels = labels_of(&self.info.name, u64::from(n_labels), self.encoder.config().labels.clone())?;
        self.encoder.set_labels(labels);
        Ok(())
    }

    /// Adds (or replaces) a linear head from a safetensors file: `classifier.weight (k, dim)`, `classifier.bias (k)`, on
    /// mean-pooled normalized embeddings; label names from its metadata's `labels` (JSON list or comma-separated), else `LABEL_i`.
    pub async fn load_head(&mut self, head: &Checkpoint) -> Result<()> {
        let labels = head.safetensors_metadata().get("labels").map(|text| {
            serde_json::from_str(text)
                .unwrap_or_else(|_| text.split(',').map(|label| label.trim().to_owned()).collect())
        });
        // Before the weights: a head that is refused leaves the old one.
        let n_labels = head.tensor("cls.output.weight").map_or(0, TensorInfo::rows);
        let labels = labels_of(head.name(), n_labels, labels.unwrap_or_default())?;
        self.encoder.load_head(&self.gpu, head, labels).await
    }

    /// The device it is loaded on.
    pub fn gpu(&self) -> &Rc<Gpu> {
        &self.gpu
    }

    /// Gives the calls from now on another flag, in place of the one it was loaded with: it stops `embed`, `classify` and
    /// the like between their batches, with `Cancelled`. A flag that is set stays set: each request wants its own.
    pub fn set_cancel(&mut self, cancel: Cancel) {
        self.cancel = cancel;
    }

    /// How many texts of `n_tokens` tokens are run at once.
    pub(crate) fn texts_per_batch(&self, n_tokens: usize) -> usize {
        (self.encoder.batch_len() / n_tokens.max(1)).clamp(1, MAX_TEXTS)
    }

    /// The model itself, for measuring it.
    pub(crate) fn encoder(&mut self) -> &mut Encoder {
        &mut self.encoder
    }

    /// What is loaded.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The labels of a head that is about texts, in order; empty when the model has none.
    pub fn labels(&self) -> &[String] {
        match self.encoder.head() {
            Some(HeadOf::Text(_)) => &self.encoder.config().labels,
            _ => &[],
        }
    }

    /// The model's own pooling.
    pub fn pooling(&self) -> Pooling {
        self.encoder.config().pooling
    }

    /// Token ids of `text` with the special ones around it, cut to the model's context (the last special one kept).
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.tokenizer.encode_document(text)?;
        if ids.is_empty() {
            return Err(Error::invalid("the text is empty"));
        }
        if ids.len() > self.info.context_len {
            let last = ids[ids.len() - 1];
            ids.truncate(self.info.context_len);
            ids[self.info.context_len - 1] = last;
        }
        Ok(ids)
    }

    /// One vector per text; `pooling` none means the model's own.
    pub async fn embed(&mut self, texts: &[&str], pooling: Option<Pooling>, scaling: Scaling) -> Result<Vec<Vec<f32>>> {
        let pooling = pooling.unwrap_or(self.pooling());
        self.run(texts, Output::Embedding(pooling, scaling)).await
    }

    /// The head's raw outputs, one row per text.
    pub async fn logits(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        self.run(texts, Output::Logits).await
    }

    /// As `embed`, of texts that are token ids already.
    pub async fn embed_ids(
        &mut self,
        texts: &[Vec<u32>],
        pooling: Option<Pooling>,
        scaling: Scaling,
    ) -> Result<Vec<Vec<f32>>> {
        let pooling = pooling.unwrap_or(self.pooling());
        self.run_ids(texts, Output::Embedding(pooling, scaling)).await
    }

    async fn run(&mut self, texts: &[&str], output: Output) -> Result<Vec<Vec<f32>>> {
        let ids = texts.iter().map(|text| self.encode(text)).collect::<Result<Vec<_>>>()?;
        self.run_ids(&ids, output).await
    }

    fn check_ids(&self, ids: &[u32]) -> Result<()> {
        if ids.is_empty() {
            return Err(Error::invalid("the text is empty"));
        }
        if ids.len() > self.info.context_len {
            let (needed, available) = (ids.len() as u64, self.info.context_len as u64);
            return Err(Error::Limit { what: "tokens of context for a text".into(), needed, available });
        }
        match ids.iter().find(|id| **id as usize >= self.info.vocab_size) {
            Some(id) => Err(Error::invalid(format!("token id {id}: the vocabulary has {}", self.info.vocab_size))),
            None => Ok(()),
        }
    }

    /// One row per text, in batches that fill the encoder without padding.
    async fn run_ids(&mut self, ids: &[Vec<u32>], output: Output) -> Result<Vec<Vec<f32>>> {
        ids.iter().try_for_each(|ids| self.check_ids(ids))?;
        let mut rows = Vec::with_capacity(ids.len());
        let mut rest = ids;
        while !rest.is_empty() {
            self.cancel.check()?;
            let n = batch(rest, self.encoder.batch_len());
            let (now, later) = rest.split_at(n);
            let now: Vec<&[u32]> = now.iter().map(Vec::as_slice).collect();
            rows.extend(self.encoder.run(&self.gpu, &now, output).await?);
            rest = later;
        }
        match rows.iter().position(|row| row.iter().any(|value| !value.is_finite())) {
            Some(i) => Err(Error::Gpu {
                during: "running an encoder",
                reason: format!("the outputs for text {i} are not numbers: broken weights, or a driver's fault"),
            }),
            None => Ok(rows),
        }
    }

    /// Labels with scores, best first, one list per text.
    ///
    /// # Errors
    /// `Invalid` when there are neither own labels nor a head.
    pub async fn classify(&mut self, texts: &[&str], options: &ClassifyOptions) -> Result<Vec<Vec<LabelScore>>> {
        let (labels, scores) = if options.labels.is_empty() {
            if self.labels().is_empty() {
                let what = format!("{} has no classification head: give own labels", self.info.name);
                return Err(Error::invalid(what));
            }
            let logits = self.logits(texts).await?;
            let squash = if options.multi_label { sigmoid } else { softmax };
            (self.labels().to_vec(), logits.iter().map(|row| squash(row)).collect::<Vec<_>>())
        } else {
            (options.labels.clone(), self.similarities(texts, options).await?)
        };
        Ok(scores.into_iter().map(|row| ranked(&labels, &row)).collect())
    }

    /// Cosine of each text with each label's sentence, softmaxed over the labels; negative cosines cut off instead where
    /// each label is judged alone.
    async fn similarities(&mut self, texts: &[&str], options: &ClassifyOptions) -> Result<Vec<Vec<f32>>> {
        let template = options.template.as_deref().unwrap_or(TEMPLATE);
        if !template.contains("{}") {
            return Err(Error::invalid(format!("the template must hold {{}} where the label goes, not {template:?}")));
        }
        let sentences: Vec<String> = options.labels.iter().map(|label| template.replace("{}", label)).collect();
        let sentences: Vec<&str> = sentences.iter().map(String::as_str).collect();
        let labels = self.embed(&sentences, None, Scaling::Unit).await?;
        let texts = self.embed(texts, None, Scaling::Unit).await?;
        let cosine = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        Ok(texts
            .iter()
            .map(|text| {
                let cosines: Vec<f32> = labels.iter().map(|label| cosine(text, label)).collect();
                if options.multi_label {
                    cosines.iter().map(|cosine| cosine.clamp(0.0, 1.0)).collect()
                } else {
                    softmax(&cosines.iter().map(|cosine| cosine * COSINE_SCALE).collect::<Vec<_>>())
                }
            })
            .collect())
    }
}

/// The names of `n_labels` rows: one each, or `LABEL_i` where there are none.
fn labels_of(file: &str, n_labels: u64, labels: Vec<String>) -> Result<Vec<String>> {
    if labels.is_empty() {
        return Ok((0..n_labels).map(|i| format!("LABEL_{i}")).collect());
    }
    if labels.len() as u64 != n_labels {
        return Err(Error::format(file, format!("{} labels are named, the head has {n_labels} rows", labels.len())));
    }
    Ok(labels)
}

/// How many of `texts` fit a batch of `batch_len` ids.
fn batch(texts: &[Vec<u32>], batch_len: usize) -> usize {
    let mut n_tokens = 0;
    let fit = texts.iter().take(MAX_TEXTS).take_while(|ids| {
        n_tokens += ids.len();
        n_tokens <= batch_len
    });
    fit.count().max(1)
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f32> = logits.iter().map(|logit| (logit - best).exp()).collect();
    let sum: f32 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}

fn sigmoid(logits: &[f32]) -> Vec<f32> {
    logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect()
}

fn ranked(labels: &[String], scores: &[f32]) -> Vec<LabelScore> {
    let pairs = labels.iter().zip(scores);
    let mut ranked: Vec<_> = pairs.map(|(label, score)| LabelScore { label: label.clone(), score: *score }).collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
    ranked
}

#[cfg(test)]
mod tests {
    use super::{batch, softmax};

    #[test]
    fn batches_fill_up_and_never_stall() {
        let texts: Vec<Vec<u32>> = [4, 4, 4, 99].map(|n| vec![0; n]).into();
        assert_eq!(batch(&texts, 8), 2);
        assert_eq!(batch(&texts[3..], 8), 1);
        assert_eq!(batch(&vec![vec![0]; 100], 1024), super::MAX_TEXTS);
    }

    #[test]
    fn softmax_sums_to_one() {
        let sum: f32 = softmax(&[1000.0, 999.0, -1000.0]).iter().sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }
}
