//! Why a text gets a label: each word's part in it, found by judging the text without the word ("Understanding Neural Networks
//! through Representation Erasure", arXiv 1612.08220) and the word without the text. Works on texts, and so for whatever judges them.

use super::offsets::Offsets;
use super::{Classified, LabelScore, Unit};
use crate::error::{Error, Result};
use serde::Serialize;
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation as _;

/// Of a text with more words neighbours are left out together, so that it is judged this often at most.
const MAX_PARTS: usize = 128;

/// What is to be explained.
#[derive(Clone, Debug, Default)]
pub struct Explain {
    /// Of these labels; none means each text's best.
    pub label: Option<String>,
    /// What places in the text are counted in.
    pub unit: Unit,
}

/// What each word of a text does for a label.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The label.
    pub label: String,
    /// In the order of the text, which they cover but for its spaces.
    pub words: Vec<WordScore>,
}

/// A word (of long texts several), with the punctuation marks as words of their own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WordScore {
    /// As it stands in the text.
    pub word: String,
    /// Where it begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// What it adds to the label's score, below zero what it takes: the mean of what the text loses without the word and of what the
    /// word alone has above no text at all. These are the first and the last of the steps that a Shapley value is the mean of; the last
    /// by itself is near zero for each of two words that say the same.
    pub score: f32,
}

impl Explain {
    /// Adds to each text's result why; `judge` labels texts as they were labelled.
    pub(super) async fn add(
        &self,
        texts: &[&str],
        results: &mut [Classified],
        mut judge: impl AsyncFnMut(&[&str]) -> Result<Vec<Classified>>,
    ) -> Result<()> {
        for (text, result) in texts.iter().zip(results) {
            let parts = parts(text, MAX_PARTS);
            let shortened: Vec<String> = parts.iter().map(|part| without(text, part)).collect();
            let alone = parts.iter().map(|part| &text[part.clone()]);
            let judged: Vec<&str> = shortened.iter().map(String::as_str).chain(alone).chain([""]).collect();
            let label = self.label.as_deref().or(result.labels.first().map(|best| best.label.as_str()));
            let label = label.unwrap_or_default().to_owned();
            let whole = score_of(&label, &result.labels)?;
            let scores =
                judge(&judged).await?.iter().map(|one| score_of(&label, &one.labels)).collect::<Result<Vec<f32>>>()?;
            let (without, alone) = scores.split_at(parts.len());
            let nothing = scores[scores.len() - 1];
            let offsets = Offsets::new(text, self.unit);
            let word = |(part, (without, alone)): (Range<usize>, (&f32, &f32))| {
                let Range { start, end } = offsets.of(&part);
                let score = ((whole - without) + (alone - nothing)) / 2.0;
                WordScore { word: text[part].to_owned(), start, end, score }
            };
            let words = parts.into_iter().zip(without.iter().zip(alone)).map(word).collect();
            result.explanation = Some(Explanation { label, words });
        }
        Ok(())
    }
}

fn score_of(label: &str, labels: &[LabelScore]) -> Result<f32> {
    let found = labels.iter().find(|one| one.label == label).map(|one| one.score);
    found.ok_or_else(|| {
        let names: Vec<&str> = labels.iter().map(|one| one.label.as_str()).collect();
        Error::invalid(format!("explaining the label {label:?}: the labels are {}", names.join(", ")))
    })
}

/// The words of a text as byte ranges, by Unicode's word boundaries (UAX 29); runs of neighbours where they would be above `most`.
fn parts(text: &str, most: usize) -> Vec<Range<usize>> {
    let words = text.split_word_bound_indices().filter(|(_, word)| !word.trim().is_empty());
    let words: Vec<Range<usize>> = words.map(|(start, word)| start..start + word.len()).collect();
    let run = words.len().div_ceil(most).max(1);
    words.chunks(run).map(|words| words[0].start..words[words.len() - 1].end).collect()
}

fn without(text: &str, part: &Range<usize>) -> String {
    [&text[..part.start], &text[part.end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_falls_into_words_and_marks() {
        let words =
            |text: &'static str, most| parts(text, most).into_iter().map(|part| &text[part]).collect::<Vec<_>>();
        assert_eq!(words("Don't  go, 3.5 times!", 99), ["Don't", "go", ",", "3.5", "times", "!"]);
        assert_eq!(words("不好。", 99), ["不", "好", "。"]);
        assert_eq!(words("a b c d e", 2), ["a b c", "d e"]);
        assert!(words(" \n", 9).is_empty());
        assert_eq!(without("a b c", &(2..3)), "a  c");
    }

    #[test]
    fn words_get_the_mean_of_their_first_and_last_step() {
        // Judges a text by how many "good" and "bad" are in it, but no higher than one "good" makes it.
        let judge = async |texts: &[&str]| -> Result<Vec<Classified>> {
            let share =
                |text: &str| (text.matches("good").count().min(1) as f32 - text.matches("bad").count() as f32) / 2.0;
            let labels = |text: &str| {
                [("NO", -share(text)), ("YES", share(text))]
                    .map(|(label, score)| LabelScore { label: label.into(), score })
            };
            let mut results: Vec<_> =
                texts.iter().map(|text| Classified { labels: labels(text).into(), ..Classified::default() }).collect();
            results.iter_mut().for_each(|result| result.labels.sort_by(|a, b| b.score.total_cmp(&a.score)));
            Ok(results)
        };
        let texts = ["a good 😀 good"];
        let mut results = pollster::block_on(judge(&texts)).unwrap();
        let explain = Explain { label: None, unit: Unit::Utf16 };
        pollster::block_on(explain.add(&texts, &mut results, judge)).unwrap();
        let Explanation { label, words } = results[0].explanation.clone().unwrap();
        let scores: Vec<f32> = words.iter().map(|word| word.score).collect();
        assert_eq!((label.as_str(), scores), ("YES", vec![0.0, 0.25, 0.0, 0.25]));
        assert_eq!((words[3].word.as_str(), words[3].start, words[3].end), ("good", 10, 14));
        let wrong = Explain { label: Some("MAYBE".into()), unit: Unit::Utf16 };
        let error = pollster::block_on(wrong.add(&texts, &mut results, judge)).unwrap_err().to_string();
        assert!(error.contains("MAYBE") && error.contains("YES, NO"), "{error}");
    }
}
