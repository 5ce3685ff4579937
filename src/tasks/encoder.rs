//! An encoder with its tokenizer, and texts run in batches. Knows no task.

use super::{Long, Pooling};
use crate::error::{Error, Result};
use crate::format::{Checkpoint, TensorInfo};
use crate::gpu::Gpu;
use crate::model::config::{EncoderConfig, HeadOf};
use crate::model::encoder::{Encoder, MAX_TEXTS, Output, Text};
use crate::session::{Cancel, LoadOptions, ModelInfo, Progress, check_vocabulary, compiling, reading};
use crate::text::{Framed, Tokenizer};
use std::rc::Rc;
use web_time::Instant;

/// `[CLS]`, one token of text, `[SEP]`.
const MIN_CONTEXT: usize = 3;

/// Token ids as the encoder runs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) ids: Vec<u32>,
    /// Tokens from here on are of the second type.
    pub(super) second: usize,
    /// Which tokens scores of tokens are asked about; none means all.
    pub(super) asked: Option<Vec<usize>>,
}

impl From<Framed> for Input {
    fn from(Framed { ids, second, .. }: Framed) -> Self {
        Self { ids, second, asked: None }
    }
}

impl<'a> From<&'a Input> for Text<'a> {
    fn from(input: &'a Input) -> Self {
        Self { ids: &input.ids, second: input.second, asked: input.asked.as_deref() }
    }
}

impl Input {
    /// Rows of results.
    fn n_rows(&self, output: Output) -> usize {
        match (output, &self.asked) {
            (Output::TokenLogits, Some(asked)) => asked.len(),
            (Output::TokenLogits, None) => self.ids.len(),
            (Output::Embedding(..) | Output::Logits, _) => 1,
        }
    }
}

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

    /// What the head is about; none without one.
    pub fn head(&self) -> Option<HeadOf> {
        self.encoder.head()
    }

    /// Its hyperparameters.
    pub(super) fn config(&self) -> &EncoderConfig {
        self.encoder.config()
    }

    /// Token ids of `text` with the special ones around it, cut to the model's context.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let batch = self.read(&[text], Long::Truncate)?;
        Ok(batch.inputs.into_iter().flat_map(|input| input.ids).collect())
    }

    /// The raw outputs of a head about texts, one row per text.
    pub async fn logits(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let batch = self.read(texts, Long::Truncate)?;
        self.run_texts(&batch.inputs, Output::Logits).await
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

    /// One row per text.
    pub(super) async fn run_texts(&mut self, inputs: &[Input], output: Output) -> Result<Vec<Vec<f32>>> {
        Ok(self.run(inputs, output).await?.into_iter().flatten().collect())
    }

    /// The rows of results of each input. Batches are full, without padding, and hold inputs of like length: columns whose
    /// attention takes as long lie beside each other.
    pub(super) async fn run(&mut self, inputs: &[Input], output: Output) -> Result<Vec<Vec<Vec<f32>>>> {
        inputs.iter().try_for_each(|input| self.check_ids(&input.ids))?;
        let mut by_len: Vec<usize> = (0..inputs.len()).collect();
        by_len.sort_by_key(|i| inputs[*i].ids.len());
        let limits = (self.encoder.batch_len(), self.encoder.rows_len(output)?);
        let mut results = vec![Vec::new(); inputs.len()];
        let mut rest = &by_len[..];
        while !rest.is_empty() {
            self.cancel.check()?;
            let sizes = rest.iter().map(|i| (inputs[*i].ids.len(), inputs[*i].n_rows(output)));
            let (now, later) = rest.split_at(batch(sizes, limits));
            let texts: Vec<Text<'_>> = now.iter().map(|i| Text::from(&inputs[*i])).collect();
            let mut rows = self.encoder.run(&self.gpu, &texts, output).await?.into_iter();
            for i in now {
                results[*i] = rows.by_ref().take(inputs[*i].n_rows(output)).collect();
            }
            rest = later;
        }
        let is_broken = |rows: &Vec<Vec<f32>>| rows.iter().flatten().any(|value| !value.is_finite());
        match results.iter().position(is_broken) {
            Some(i) => Err(Error::Gpu {
                during: "running an encoder",
                reason: format!("the outputs for text {i} are not numbers: broken weights, or a driver's fault"),
            }),
            None => Ok(results),
        }
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

/// How many inputs of these numbers of tokens and rows fit a batch.
fn batch(sizes: impl Iterator<Item = (usize, usize)>, (most_tokens, most_rows): (usize, usize)) -> usize {
    let (mut n_tokens, mut n_rows) = (0, 0);
    let fit = sizes.take(MAX_TEXTS).take_while(|(tokens, rows)| {
        n_tokens += tokens;
        n_rows += rows;
        n_tokens <= most_tokens && n_rows <= most_rows
    });
    fit.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::{MAX_TEXTS, batch};

    #[test]
    fn batches_fill_up_and_never_stall() {
        let sizes = [(4, 1), (4, 1), (4, 1), (99, 1)];
        assert_eq!(batch(sizes.into_iter(), (8, 64)), 2);
        assert_eq!(batch(sizes.into_iter(), (99, 1)), 1);
        assert_eq!(batch(sizes[3..].iter().copied(), (8, 64)), 1);
        assert_eq!(batch([(1, 1); 100].into_iter(), (1024, 1024)), MAX_TEXTS);
    }
}
