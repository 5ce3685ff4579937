//! From classes of tokens to entities: pure, and as transformers' token-classification pipeline has it.

use super::scores::largest;
use crate::error::{Error, Result};
use std::ops::Range;

/// The class of tokens that are nothing.
const OUTSIDE: &str = "O";

/// How classes of tokens become entities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// They do not: each token is one.
    None,
    /// Neighbours of one class are one entity.
    #[default]
    Simple,
    /// As `Simple`, of words instead of tokens: a word is what its first token is.
    First,
    /// A word is what the mean of its tokens' probabilities says.
    Average,
    /// A word is what its surest token is.
    Max,
}

impl Aggregation {
    /// By transformers' word for it.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "none" => Ok(Self::None),
            "simple" => Ok(Self::Simple),
            "first" => Ok(Self::First),
            "average" => Ok(Self::Average),
            "max" => Ok(Self::Max),
            other => {
                Err(Error::invalid(format!("aggregation must be none, simple, first, average or max, not {other:?}")))
            }
        }
    }
}

/// A token with the probabilities of all classes.
pub(super) struct Tag {
    pub(super) scores: Vec<f32>,
    /// Which token, the special ones counted.
    pub(super) index: usize,
    /// As the vocabulary spells it.
    pub(super) word: String,
    /// Its bytes in the text.
    pub(super) place: Range<usize>,
    /// Whether it continues the word before.
    pub(super) continues: bool,
}

/// A token, a word or a group of them with its class.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub(super) label: String,
    pub(super) score: f32,
    /// Which token, or the first of them.
    pub(super) index: usize,
    pub(super) word: String,
    pub(super) place: Range<usize>,
}

/// The entities among `tags`; `join` makes words of tokens, and a text of words.
pub(super) fn entities(
    tags: &[Tag],
    aggregation: Aggregation,
    labels: &[String],
    join: &dyn Fn(Vec<String>) -> String,
) -> Vec<Found> {
    let label = |i: usize| labels.get(i).cloned().unwrap_or_default();
    let found: Vec<Found> = match aggregation {
        Aggregation::None | Aggregation::Simple => tags.iter().map(|tag| token(tag, &label)).collect(),
        Aggregation::First | Aggregation::Average | Aggregation::Max => {
            tags.chunk_by(|_, next| next.continues).map(|tags| word(tags, aggregation, &label, join)).collect()
        }
    };
    let grouped = match aggregation {
        Aggregation::None => found,
        _ => found.chunk_by(|last, next| goes_on(&last.label, &next.label)).map(|words| group(words, join)).collect(),
    };
    grouped.into_iter().filter(|entity| entity.label != OUTSIDE).collect()
}

fn token(tag: &Tag, label: &dyn Fn(usize) -> String) -> Found {
    let best = largest(&tag.scores);
    let (index, word, place) = (tag.index, tag.word.clone(), tag.place.clone());
    Found { label: label(best), score: tag.scores[best], index, word, place }
}

/// One class for all tokens of a word.
fn word(
    tags: &[Tag],
    aggregation: Aggregation,
    label: &dyn Fn(usize) -> String,
    join: &dyn Fn(Vec<String>) -> String,
) -> Found {
    let scores = match aggregation {
        Aggregation::Average => mean(tags),
        Aggregation::Max => {
            let surest: Vec<f32> = tags.iter().map(|tag| tag.scores[largest(&tag.scores)]).collect();
            tags[largest(&surest)].scores.clone()
        }
        Aggregation::None | Aggregation::Simple | Aggregation::First => tags[0].scores.clone(),
    };
    let best = largest(&scores);
    let (index, place) = (tags[0].index, tags[0].place.start..tags[tags.len() - 1].place.end);
    let word = join(tags.iter().map(|tag| tag.word.clone()).collect());
    Found { label: label(best), score: scores[best], index, word, place }
}

fn mean(tags: &[Tag]) -> Vec<f32> {
    let n = tags.len() as f32;
    (0..tags[0].scores.len()).map(|i| tags.iter().map(|tag| tag.scores[i]).sum::<f32>() / n).collect()
}

/// Neighbours of one class as an entity, whose name is without `B-` or `I-`.
fn group(found: &[Found], join: &dyn Fn(Vec<String>) -> String) -> Found {
    let (first, last) = (&found[0], &found[found.len() - 1]);
    let score = found.iter().map(|found| found.score).sum::<f32>() / found.len() as f32;
    let label = first.label.split_once('-').map_or(first.label.as_str(), |(_, class)| class).to_owned();
    let word = join(found.iter().map(|found| found.word.clone()).collect());
    Found { label, score, index: first.index, word, place: first.place.start..last.place.end }
}

/// Whether `next` belongs to the entity that `last` ends: it is of the same class and begins none.
fn goes_on(last: &str, next: &str) -> bool {
    let class = |label: &str| label.strip_prefix("B-").or_else(|| label.strip_prefix("I-")).unwrap_or(label).to_owned();
    class(last) == class(next) && !next.starts_with("B-")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `New York ##ers love I`: of `O, B-LOC, I-LOC, B-PER`.
    fn tags() -> Vec<Tag> {
        let tag = |index, word: &str, place, continues, scores: [f32; 4]| Tag {
            scores: scores.to_vec(),
            index,
            word: word.into(),
            place,
            continues,
        };
        vec![
            tag(1, "New", 0..3, false, [0.1, 0.7, 0.1, 0.1]),
            tag(2, "York", 4..8, false, [0.2, 0.0, 0.6, 0.2]),
            tag(3, "##ers", 8..11, true, [0.05, 0.0, 0.05, 0.9]),
            tag(4, "love", 12..16, false, [0.9, 0.0, 0.1, 0.0]),
            tag(5, "I", 17..18, false, [0.0, 0.6, 0.4, 0.0]),
        ]
    }

    fn found(aggregation: Aggregation) -> Vec<(String, f32, Range<usize>)> {
        let labels = ["O", "B-LOC", "I-LOC", "B-PER"].map(str::to_owned);
        let found = entities(&tags(), aggregation, &labels, &|words| words.join(" ").replace(" ##", ""));
        found.into_iter().map(|found| (format!("{} {}", found.label, found.word), found.score, found.place)).collect()
    }

    #[test]
    fn words_are_what_the_aggregation_says() {
        let named = |aggregation| found(aggregation).into_iter().map(|(name, ..)| name).collect::<Vec<_>>();
        assert_eq!(named(Aggregation::None), ["B-LOC New", "I-LOC York", "B-PER ##ers", "B-LOC I"]);
        assert_eq!(named(Aggregation::Simple), ["LOC New York", "PER ##ers", "LOC I"]);
        assert_eq!(named(Aggregation::First), ["LOC New Yorkers", "LOC I"]);
        assert_eq!(named(Aggregation::Average), ["LOC New", "PER Yorkers", "LOC I"]);
        assert_eq!(named(Aggregation::Max), ["LOC New", "PER Yorkers", "LOC I"]);
    }

    #[test]
    fn a_groups_score_is_the_mean_and_its_place_reaches_to_its_end() {
        let (_, score, place) = found(Aggregation::First).swap_remove(0);
        assert!((score - 0.65).abs() < 1e-6);
        assert_eq!(place, 0..11);
        assert!((found(Aggregation::Average)[1].1 - 0.55).abs() < 1e-6);
    }

    #[test]
    fn names_without_a_prefix_are_one_class() {
        assert!(goes_on("PER", "PER") && goes_on("B-PER", "I-PER") && goes_on("I-PER", "PER"));
        assert!(!goes_on("I-PER", "B-PER") && !goes_on("I-PER", "I-LOC"));
    }
}
