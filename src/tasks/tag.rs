//! Named entities and other classes of tokens, grouped as transformers' token-classification pipeline does.

use super::encoder::TextEncoder;
use super::entities::{Aggregation, Found, Tag, entities};
use super::offsets::Offsets;
use super::reading::{Windows, tokens};
use super::scores::softmax;
use super::{Long, Reading, Unit};
use crate::error::{Error, Result};
use crate::model::config::HeadOf;
use crate::model::encoder::Output;
use crate::text::{Framed, Span};
use serde::Serialize;
use std::ops::Range;

/// How texts are tagged.
#[derive(Clone, Copy, Debug)]
pub struct TagOptions {
    /// How tokens become entities.
    pub aggregation: Aggregation,
    /// What becomes of long texts.
    pub long: Long,
    /// Tokens that neighbouring windows share, so that an entity at an edge stands whole in one of them.
    pub stride: usize,
    /// What places are counted in.
    pub unit: Unit,
}

impl Default for TagOptions {
    fn default() -> Self {
        Self { aggregation: Aggregation::Simple, long: Long::Truncate, stride: 64, unit: Unit::Characters }
    }
}

/// A piece of a text and its class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entity {
    /// The class of a token, `B-` and `I-` included; only without aggregation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// The class of a group; only with aggregation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_group: Option<String>,
    /// Its probability; of a group, the mean.
    pub score: f32,
    /// Which token, the special ones counted; only without aggregation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// As the tokenizer spells it; the text itself stands at `start..end`.
    pub word: String,
    /// Where it begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// A text's entities in their order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tagged {
    /// By where they begin.
    pub entities: Vec<Entity>,
    /// How the text was read.
    #[serde(flatten)]
    pub reading: Reading,
}

impl Entity {
    fn new(found: Found, options: &TagOptions, offsets: &Offsets) -> Self {
        let Range { start, end } = offsets.of(&found.place);
        let is_token = options.aggregation == Aggregation::None;
        let (entity, entity_group) = if is_token { (Some(found.label), None) } else { (None, Some(found.label)) };
        let index = is_token.then_some(found.index);
        Self { entity, entity_group, score: found.score, index, word: found.word, start, end }
    }
}

impl TextEncoder {
    /// Entities of each text.
    ///
    /// # Errors
    /// `Unsupported` when the model has no head of tokens.
    pub async fn tag(&mut self, texts: &[&str], options: &TagOptions) -> Result<Vec<Tagged>> {
        if self.head() != Some(HeadOf::Token) {
            return Err(Error::unsupported(format!("entities from {}: it has no head of tokens", self.info().name)));
        }
        let room = (self.room(None)?, options.stride);
        if options.long == Long::Windows && options.stride >= room.0 {
            let (stride, most) = (options.stride, room.0 - 1);
            return Err(Error::invalid(format!("windows may share {most} tokens at most, not {stride}")));
        }
        let (mut inputs, mut read) = (Vec::new(), Vec::with_capacity(texts.len()));
        for text in texts {
            let spans = self.tokenizer().encode_words(text)?;
            let ids: Vec<u32> = spans.iter().map(|span| span.id).collect();
            let Windows { ranges, mut reading } = Windows::of(&ids, room, options.long, self.tokenizer().unknown());
            let frames: Vec<Framed> =
                ranges.iter().map(|range| self.tokenizer().frame(&ids[range.clone()], None)).collect();
            let begin = frames.first().map_or(0, |frame| frame.begins[0]);
            let first = inputs.len();
            inputs.extend(frames.into_iter().map(Into::into));
            reading.tokens = tokens(&inputs[first..]);
            read.push((spans, ranges, begin, reading));
        }
        let mut rows = self.run(&inputs, Output::TokenLogits).await?.into_iter();
        let tagged = texts.iter().zip(read).map(|(text, (spans, ranges, begin, reading))| {
            let offsets = Offsets::new(text, options.unit);
            let n_windows = ranges.len();
            let windows = ranges.into_iter().zip(rows.by_ref().take(n_windows));
            let entities = windows.flat_map(|(range, logits)| {
                let tags = self.tags(text, &spans[range], &logits, begin);
                let join = |words| self.tokenizer().join(words);
                entities(&tags, options.aggregation, &self.config().labels, &join)
            });
            let mut entities: Vec<Entity> = entities.map(|found| Entity::new(found, options, &offsets)).collect();
            if n_windows > 1 {
                entities = without_overlaps(entities);
            }
            Tagged { entities, reading }
        });
        Ok(tagged.collect())
    }

    /// The tokens of a window; their first stands at `begin` among `logits`.
    fn tags(&self, text: &str, spans: &[Span], logits: &[Vec<f32>], begin: usize) -> Vec<Tag> {
        let tokenizer = self.tokenizer();
        let tag = |(i, span): (usize, &Span)| {
            let slice = text.get(span.bytes.clone()).unwrap_or("");
            let spelled = tokenizer.token(span.id).unwrap_or_default();
            let is_unknown = Some(span.id) == tokenizer.unknown();
            let continues = match tokenizer.marks_continuations() {
                _ if is_unknown => false,
                // transformers' way of seeing that a token is spelled with a prefix.
                true => spelled.chars().count() != slice.chars().count(),
                false => has_no_space_before(text, span.bytes.start),
            };
            let word = if is_unknown { slice.to_owned() } else { spelled };
            Tag { scores: softmax(&logits[begin + i]), index: begin + i, word, place: span.bytes.clone(), continues }
        };
        spans.iter().enumerate().map(tag).collect()
    }
}

/// Whether a token that begins here goes on where another ended: no space stands before it or at its beginning.
fn has_no_space_before(text: &str, start: usize) -> bool {
    let (Some(before), Some(after)) = (text.get(..start), text.get(start..)) else { return false };
    before.chars().next_back().is_some_and(|last| last != ' ') && !after.starts_with(' ')
}

/// Of entities that windows saw both, the longer one; of equally long ones the surer.
fn without_overlaps(mut entities: Vec<Entity>) -> Vec<Entity> {
    entities.sort_by_key(|entity| entity.start);
    let mut kept: Vec<Entity> = Vec::with_capacity(entities.len());
    for entity in entities {
        match kept.last_mut().filter(|last| entity.start < last.end) {
            None => kept.push(entity),
            Some(last) => {
                let rank = |entity: &Entity| (entity.end - entity.start, entity.score);
                if rank(&entity) > rank(last) {
                    *last = entity;
                }
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(range: Range<usize>, score: f32) -> Entity {
        Entity {
            entity: None,
            entity_group: Some("X".into()),
            score,
            index: None,
            word: String::new(),
            start: range.start,
            end: range.end,
        }
    }

    #[test]
    fn of_overlapping_entities_the_longer_and_surer_is_kept() {
        let seen =
            vec![entity(8..12, 0.9), entity(0..4, 0.5), entity(0..6, 0.4), entity(9..13, 0.95), entity(13..14, 0.1)];
        let kept: Vec<_> = without_overlaps(seen).iter().map(|e| (e.start, e.end)).collect();
        assert_eq!(kept, [(0, 6), (9, 13), (13, 14)]);
    }
}
