//! Documents in the order in which they answer a query: by a cross-encoder, which reads both together, or by the likeness of their
//! vectors where the model is none.

use super::embed::dot;
use super::encoder::{Input, TextEncoder};
use super::reading::Windows;
use super::scores::sigmoid;
use super::{EmbedOptions, Long, Reading, Scaling};
use crate::error::{Error, Result};
use crate::model::config::Scores;
use crate::model::encoder::Output;
use serde::Serialize;

/// A document's place in the order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranked {
    /// Which document, counted from 0.
    pub index: usize,
    /// A cross-encoder's probability (its raw output, where its file says so); else the cosine.
    pub score: f32,
    /// How the document was read.
    #[serde(flatten)]
    pub reading: Reading,
}

impl TextEncoder {
    /// The documents, best first.
    pub async fn rank(&mut self, query: &str, documents: &[&str]) -> Result<Vec<Ranked>> {
        if query.trim().is_empty() {
            return Err(Error::invalid("the query is empty"));
        }
        // Of several classes none says how well a document answers.
        let mut ranked = match self.labels().len() {
            1 => self.rank_pairs(query, documents).await?,
            _ => self.rank_vectors(query, documents).await?,
        };
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(ranked)
    }

    async fn rank_pairs(&mut self, query: &str, documents: &[&str]) -> Result<Vec<Ranked>> {
        let query = self.tokenizer().encode_text(query)?;
        let room = self.room(Some(0))?;
        let (mut inputs, mut readings) = (Vec::new(), Vec::new());
        for document in documents {
            let ids = self.tokenizer().encode_text(document)?;
            let (of_query, of_document) = longest_first(query.len(), ids.len(), room);
            let unknown = self.tokenizer().unknown();
            let mut reading = Windows::of(&ids, (of_document, 0), Long::Truncate, unknown).reading;
            let input: Input = self.tokenizer().frame(&query[..of_query], Some(&ids[..of_document])).into();
            reading.tokens = input.ids.len();
            inputs.push(input);
            readings.push(reading);
        }
        let rows = self.run_texts(&inputs, Output::Logits).await?;
        let score = |logit: f32| match self.config().head.ranking {
            Scores::Raw => logit,
            Scores::Sigmoid | Scores::Softmax => sigmoid(logit),
        };
        let ranked = rows.iter().zip(readings).enumerate();
        Ok(ranked.map(|(index, (row, reading))| Ranked { index, score: score(row[0]), reading }).collect())
    }

    async fn rank_vectors(&mut self, query: &str, documents: &[&str]) -> Result<Vec<Ranked>> {
        let query = self.embed(&[query], None, Scaling::Unit).await?.swap_remove(0);
        let unit = EmbedOptions { normalize: true, ..EmbedOptions::default() };
        let documents = self.embed_texts(documents, &unit).await?.into_iter().enumerate();
        let ranked =
            documents.map(|(index, text)| Ranked { index, score: dot(&query, &text.embedding), reading: text.reading });
        Ok(ranked.collect())
    }
}

/// How many tokens are left of a pair of `a` and `b` where `room` fit: the longer one loses first, then both.
fn longest_first(a: usize, b: usize, room: usize) -> (usize, usize) {
    if a + b <= room {
        return (a, b);
    }
    let (half, rest) = (room / 2, room - room / 2);
    if a > b { (room - b.min(half), b.min(half)) } else { (a.min(half), (room - a.min(half)).max(rest)) }
}

#[cfg(test)]
mod tests {
    use super::longest_first;

    #[test]
    fn the_longer_text_of_a_pair_is_cut_first() {
        assert_eq!(longest_first(3, 5, 8), (3, 5));
        assert_eq!(longest_first(3, 50, 8), (3, 5));
        assert_eq!(longest_first(50, 3, 8), (5, 3));
        assert_eq!(longest_first(50, 60, 9), (4, 5));
        assert_eq!(longest_first(60, 50, 9), (5, 4));
    }
}
