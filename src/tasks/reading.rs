//! How a text is read: which of its tokens the encoder sees, in how many windows, and what is said of that in results.

use super::encoder::{Input, TextEncoder};
use super::scores::weighted_mean;
use crate::error::{Error, Result};
use serde::Serialize;
use std::ops::Range;

/// What becomes of a text that is longer than the context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Long {
    /// Its beginning is read.
    #[default]
    Truncate,
    /// It is read in windows, and what they give becomes one result.
    Windows,
}

/// A larger share of unknown tokens than this makes a result doubtful.
pub const MAX_UNKNOWN_SHARE: f32 = 0.2;

/// How a text was read. In JSON only what is out of the ordinary is said.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Reading {
    /// Tokens read, the special ones included.
    #[serde(skip)]
    pub tokens: usize,
    /// Tokens left out at the text's end.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped_tokens: usize,
    /// Windows, where they are more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<usize>,
    /// Share of the text's tokens that the vocabulary does not have, where it is above `MAX_UNKNOWN_SHARE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_share: Option<f32>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// A text's windows, and what is to be said of them.
pub(super) struct Windows {
    /// Ranges of its tokens, the first of which is read even of an empty text.
    pub(super) ranges: Vec<Range<usize>>,
    pub(super) reading: Reading,
}

impl Windows {
    /// Of a text of these ids, `room` of which fit one window; neighbours share `overlap`.
    pub(super) fn of(ids: &[u32], (room, overlap): (usize, usize), long: Long, unknown: Option<u32>) -> Self {
        let mut ranges = split(ids.len(), room, overlap);
        if long == Long::Truncate {
            ranges.truncate(1);
        }
        let read = ranges.last().map_or(0, |last| last.end);
        let n_unknown = ids[..read].iter().filter(|id| Some(**id) == unknown).count();
        let share = n_unknown as f32 / read.max(1) as f32;
        let reading = Reading {
            tokens: 0,
            dropped_tokens: ids.len() - read,
            windows: (ranges.len() > 1).then_some(ranges.len()),
            unknown_share: (share > MAX_UNKNOWN_SHARE).then_some(share),
        };
        Self { ranges, reading }
    }
}

/// Windows of `room` tokens over `len`, each beginning `room - overlap` behind the one before, until one reaches the end.
fn split(len: usize, room: usize, overlap: usize) -> Vec<Range<usize>> {
    let first = 0..len.min(room);
    let mut ranges = vec![first];
    let step = room.saturating_sub(overlap).max(1);
    while let Some(last) = ranges.last().filter(|last| last.end < len) {
        let start = last.start + step;
        ranges.push(start..len.min(start + room));
    }
    ranges
}

/// Texts as windows: what the encoder runs, and which of it belongs to which text.
pub(super) struct Batch {
    pub(super) inputs: Vec<Input>,
    /// Per text: how many of `inputs`, and how it was read.
    pub(super) texts: Vec<(usize, Reading)>,
}

impl Batch {
    /// The first of every `n` inputs.
    pub(super) fn every(self, n: usize) -> Self {
        Self { inputs: self.inputs.into_iter().step_by(n).collect(), ..self }
    }

    /// One row per text out of one row per input: windows count as often as they have tokens.
    pub(super) fn pool(self, rows: Vec<Vec<f32>>) -> Vec<(Vec<f32>, Reading)> {
        let mut rest = rows.into_iter().zip(self.inputs.iter().map(|input| input.ids.len()));
        let mut next = |n: usize| match n {
            1 => rest.next().map(|(row, _)| row).unwrap_or_default(),
            _ => weighted_mean(rest.by_ref().take(n)),
        };
        self.texts.into_iter().map(|(n, reading)| (next(n), reading)).collect()
    }
}

impl TextEncoder {
    /// Tokens of a text that fit the context beside the special ones, and beside `others` of another text.
    pub(super) fn room(&self, others: Option<usize>) -> Result<usize> {
        let taken = self.tokenizer().frame_len(others.is_some()) + others.unwrap_or(0);
        match self.info().context_len.checked_sub(taken) {
            Some(room @ 1..) => Ok(room),
            _ => Err(Error::Limit {
                what: "tokens of context for a text beside another and special tokens".into(),
                needed: taken as u64 + 1,
                available: self.info().context_len as u64,
            }),
        }
    }

    /// Texts alone, each with the special tokens around it.
    pub(super) fn read(&self, texts: &[&str], long: Long) -> Result<Batch> {
        let mut batch = Batch { inputs: Vec::with_capacity(texts.len()), texts: Vec::with_capacity(texts.len()) };
        let room = self.room(None)?;
        for text in texts {
            let ids = self.tokenizer().encode_text(text)?;
            let Windows { ranges, mut reading } = Windows::of(&ids, (room, 0), long, self.tokenizer().unknown());
            batch.inputs.extend(ranges.iter().map(|range| self.tokenizer().frame(&ids[range.clone()], None).into()));
            reading.tokens = tokens(&batch.inputs[batch.inputs.len() - ranges.len()..]);
            batch.texts.push((ranges.len(), reading));
        }
        Ok(batch)
    }
}

/// Tokens of all these inputs.
pub(super) fn tokens(inputs: &[Input]) -> usize {
    inputs.iter().map(|input| input.ids.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_a_text_and_share_what_was_asked() {
        assert_eq!(split(10, 4, 1), [0..4, 3..7, 6..10]);
        assert_eq!(split(11, 4, 1), [0..4, 3..7, 6..10, 9..11]);
        assert_eq!((split(4, 4, 1).len(), split(0, 4, 1).len()), (1, 1));
        // An overlap as wide as the window still goes on.
        assert_eq!(split(5, 3, 3), [0..3, 1..4, 2..5]);
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_said() {
        let ids = [7, 1, 7, 7, 7, 7];
        let read = |long, unknown| Windows::of(&ids, (4, 0), long, unknown).reading;
        assert_eq!(serde_json::to_string(&read(Long::Truncate, None)).unwrap(), r#"{"dropped_tokens":2}"#);
        assert_eq!(read(Long::Truncate, Some(1)).unknown_share, Some(0.25));
        let windows = read(Long::Windows, Some(1));
        assert_eq!((windows.dropped_tokens, windows.windows, windows.unknown_share), (0, Some(2), None));
    }
}
