//! The caller's own labels: by a head that knows whether one sentence follows from another (arXiv 1909.00161), as transformers does
//! it, or by the likeness of vectors where there is none.

use super::classify::ClassifyOptions;
use super::embed::dot;
use super::encoder::TextEncoder;
use super::reading::{Batch, Windows, tokens};
use super::scores::softmax;
use super::{EmbedOptions, Long, Reading, Scaling};
use crate::error::{Error, Result};
use crate::model::encoder::Output;

/// What stands around a label that a text may entail.
const HYPOTHESIS: &str = "This example is {}.";

/// What stands around a label that is compared with a text.
const LIKENESS: &str = "This text is about {}.";

/// Cosines are multiplied by this before the softmax over labels: the scale sentence-transformers trains with.
const COSINE_SCALE: f32 = 20.0;

impl TextEncoder {
    /// One score per label and text.
    pub(super) async fn by_own_labels(
        &mut self,
        texts: &[&str],
        options: &ClassifyOptions,
    ) -> Result<Vec<(Vec<f32>, Reading)>> {
        match self.entailment() {
            Some(entailment) => self.by_entailment(texts, options, entailment).await,
            None => self.by_likeness(texts, options).await,
        }
    }

    /// The head's class for "the second text follows from the first"; none of another head.
    fn entailment(&self) -> Option<usize> {
        let labels = self.labels();
        let found = labels.iter().position(|label| label.to_lowercase().starts_with("entail"));
        found.filter(|_| labels.len() > 1)
    }

    /// Each window of a text with each label's sentence behind it.
    async fn by_entailment(
        &mut self,
        texts: &[&str],
        options: &ClassifyOptions,
        entailment: usize,
    ) -> Result<Vec<(Vec<f32>, Reading)>> {
        let sentences = sentences(options, HYPOTHESIS)?;
        let hypotheses = sentences.iter().map(|text| self.tokenizer().encode_text(text)).collect::<Result<Vec<_>>>()?;
        let batch = self.read_with(texts, &hypotheses, options.long)?;
        let logits = self.run_texts(&batch.inputs, Output::Logits).await?;
        let n_classes = self.labels().len();
        // transformers' choice: the first class, or the last where the first is entailment.
        let contradiction = if entailment == 0 { n_classes - 1 } else { 0 };
        let rows = logits.chunks(hypotheses.len()).map(|window| {
            if options.multi_label || hypotheses.len() == 1 {
                window.iter().map(|row| softmax(&[row[contradiction], row[entailment]])[1]).collect()
            } else {
                softmax(&window.iter().map(|row| row[entailment]).collect::<Vec<_>>())
            }
        });
        Ok(batch.every(hypotheses.len()).pool(rows.collect()))
    }

    /// Pairs of every window of the texts with every one of `seconds`: windows one after another, in each the seconds. Texts that
    /// are cut are cut for each of `seconds`; windows are the same for all.
    fn read_with(&self, texts: &[&str], seconds: &[Vec<u32>], long: Long) -> Result<Batch> {
        let mut batch = Batch { inputs: Vec::new(), texts: Vec::with_capacity(texts.len()) };
        let longest = seconds.iter().map(Vec::len).max().unwrap_or(0);
        let narrowest = self.room(Some(longest))?;
        for text in texts {
            let ids = self.tokenizer().encode_text(text)?;
            let Windows { ranges, mut reading } = Windows::of(&ids, (narrowest, 0), long, self.tokenizer().unknown());
            let first = batch.inputs.len();
            for range in &ranges {
                for second in seconds {
                    let end = match long {
                        Long::Truncate => ids.len().min(self.room(Some(second.len()))?),
                        Long::Windows => range.end,
                    };
                    batch.inputs.push(self.tokenizer().frame(&ids[range.start..end], Some(second)).into());
                }
            }
            reading.tokens = tokens(&batch.inputs[first..]);
            batch.texts.push((ranges.len(), reading));
        }
        Ok(batch)
    }

    /// Cosine of each text with each label's sentence, softmaxed over the labels; negative cosines cut off instead where
    /// each label is judged alone.
    async fn by_likeness(&mut self, texts: &[&str], options: &ClassifyOptions) -> Result<Vec<(Vec<f32>, Reading)>> {
        let sentences = sentences(options, LIKENESS)?;
        let sentences: Vec<&str> = sentences.iter().map(String::as_str).collect();
        let labels = self.embed(&sentences, None, Scaling::Unit).await?;
        let unit = EmbedOptions { normalize: true, long: options.long, ..EmbedOptions::default() };
        let texts = self.embed_texts(texts, &unit).await?;
        let scored = texts.into_iter().map(|text| {
            let cosines = labels.iter().map(|label| dot(&text.embedding, label));
            let scores = match options.multi_label {
                true => cosines.map(|cosine| cosine.clamp(0.0, 1.0)).collect(),
                false => softmax(&cosines.map(|cosine| cosine * COSINE_SCALE).collect::<Vec<_>>()),
            };
            (scores, text.reading)
        });
        Ok(scored.collect())
    }
}

/// A sentence per label.
fn sentences(options: &ClassifyOptions, default: &str) -> Result<Vec<String>> {
    let template = options.template.as_deref().unwrap_or(default);
    if !template.contains("{}") {
        return Err(Error::invalid(format!("the template must hold {{}} where the label goes, not {template:?}")));
    }
    Ok(options.labels.iter().map(|label| template.replace("{}", label)).collect())
}
