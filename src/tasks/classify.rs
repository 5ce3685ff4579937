//! Labels of texts: the model's own by its head, or the caller's (`zero_shot.rs`).

use super::encoder::TextEncoder;
use super::scores::{sigmoid, softmax};
use super::{Explain, Explanation, Long, Reading};
use crate::error::{Error, Result};
use crate::model::config::Scores;
use crate::model::encoder::Output;
use serde::Serialize;

/// A label and how well it fits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelScore {
    /// The label's name.
    pub label: String,
    /// A probability; of a head that learnt quantities, the quantity.
    pub score: f32,
}

/// How texts are classified.
#[derive(Clone, Debug, Default)]
pub struct ClassifyOptions {
    /// Own labels, judged by a head that knows entailment or else by the likeness of vectors; empty means the model's head.
    pub labels: Vec<String>,
    /// Sentence around an own label, `{}` standing for it; none means `This example is {}.` for entailment, as transformers has
    /// it, and `This text is about {}.` for likeness.
    pub template: Option<String>,
    /// Each label judged alone instead of one among all.
    pub multi_label: bool,
    /// What becomes of long texts.
    pub long: Long,
    /// Say why, too: each text is judged again without each of its words, and each word alone.
    pub explain: Option<Explain>,
}

/// A text's labels, best first. Of several windows scores are the means of theirs, each counting as often as it has tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Classified {
    /// Best first.
    pub labels: Vec<LabelScore>,
    /// How the text was read.
    #[serde(flatten)]
    pub reading: Reading,
    /// Why, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

impl TextEncoder {
    /// Labels with scores, one list per text.
    ///
    /// # Errors
    /// `Invalid` when there are neither own labels nor a head, or when a label is to be explained that is none of them.
    pub async fn classify(&mut self, texts: &[&str], options: &ClassifyOptions) -> Result<Vec<Classified>> {
        let mut results = self.label(texts, options).await?;
        if let Some(explain) = &options.explain {
            explain.add(texts, &mut results, async |texts| self.label(texts, options).await).await?;
        }
        Ok(results)
    }

    async fn label(&mut self, texts: &[&str], options: &ClassifyOptions) -> Result<Vec<Classified>> {
        let (labels, scored) = match options.labels.is_empty() {
            true => (self.own_labels()?, self.by_head(texts, options).await?),
            false => (options.labels.clone(), self.by_own_labels(texts, options).await?),
        };
        let result =
            |(row, reading): (Vec<f32>, _)| Classified { labels: ranked(&labels, &row), reading, explanation: None };
        Ok(scored.into_iter().map(result).collect())
    }

    fn own_labels(&self) -> Result<Vec<String>> {
        match self.labels() {
            [] => Err(Error::invalid(format!("{} has no classification head: give own labels", self.info().name))),
            labels => Ok(labels.to_vec()),
        }
    }

    /// Scores of the head's classes, as its file says or else as transformers decides: one class is judged alone.
    async fn by_head(&mut self, texts: &[&str], options: &ClassifyOptions) -> Result<Vec<(Vec<f32>, Reading)>> {
        let scores = match self.config().head.scores {
            _ if options.multi_label => Scores::Sigmoid,
            None if self.labels().len() == 1 => Scores::Sigmoid,
            said => said.unwrap_or(Scores::Softmax),
        };
        let batch = self.read(texts, options.long)?;
        let mut rows = self.run_texts(&batch.inputs, Output::Logits).await?;
        for row in &mut rows {
            match scores {
                Scores::Softmax => *row = softmax(row),
                Scores::Sigmoid => row.iter_mut().for_each(|logit| *logit = sigmoid(*logit)),
                Scores::Raw => {}
            }
        }
        Ok(batch.pool(rows))
    }
}

/// Labels by falling scores.
pub(super) fn ranked(labels: &[String], scores: &[f32]) -> Vec<LabelScore> {
    let pairs = labels.iter().zip(scores);
    let mut ranked: Vec<_> = pairs.map(|(label, score)| LabelScore { label: label.clone(), score: *score }).collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
    ranked
}
