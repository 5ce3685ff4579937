//! Answers that stand in a context, found as transformers' question-answering pipeline finds them: long contexts in windows that
//! overlap, answers widened to whole words, scores of the same answer added up.

use super::encoder::TextEncoder;
use super::offsets::Offsets;
use super::reading::{Windows, tokens};
use super::scores::softmax;
use super::{Long, Reading, Unit};
use crate::error::{Error, Result};
use crate::model::config::HeadOf;
use crate::model::encoder::Output;
use crate::text::Span;
use serde::Serialize;
use std::ops::Range;

/// How questions are answered.
#[derive(Clone, Copy, Debug)]
pub struct AnswerOptions {
    /// Answers at most.
    pub top: usize,
    /// Tokens of an answer at most.
    pub max_answer_len: usize,
    /// Tokens of a window at most, question and special ones included; no more than the model's context.
    pub max_len: usize,
    /// Tokens of the context that neighbouring windows share; none means 128, or half of `max_len`.
    pub stride: Option<usize>,
    /// Whether "there is no answer" is one of the answers: an empty one.
    pub no_answer: bool,
    /// What places are counted in.
    pub unit: Unit,
}

impl Default for AnswerOptions {
    fn default() -> Self {
        Self { top: 1, max_answer_len: 15, max_len: 384, stride: None, no_answer: false, unit: Unit::Characters }
    }
}

/// A piece of the context.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The sum over windows of how probable it is that it is the answer.
    pub score: f32,
    /// Where it begins in the context.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// What stands there.
    pub answer: String,
}

/// A question's answers, best first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answered {
    /// Best first.
    pub answers: Vec<Answer>,
    /// How the context was read.
    #[serde(flatten)]
    pub reading: Reading,
}

/// A window of the context with the probabilities that an answer begins and ends at each of its tokens.
struct Scored<'a> {
    spans: &'a [Span],
    starts: Vec<f32>,
    ends: Vec<f32>,
    /// That there is no answer.
    nothing: f32,
}

/// A piece of the context before it has a text: bytes.
struct Candidate {
    place: Range<usize>,
    score: f32,
}

impl TextEncoder {
    /// Answers to `question` out of `context`.
    ///
    /// # Errors
    /// `Unsupported` when the model has no head of answers; `Limit` when the question leaves no room for the context.
    pub async fn answer(&mut self, question: &str, context: &str, options: &AnswerOptions) -> Result<Answered> {
        if self.head() != Some(HeadOf::Answer) {
            return Err(Error::unsupported(format!("answers from {}: it has no head of answers", self.info().name)));
        }
        if question.trim().is_empty() || context.trim().is_empty() {
            return Err(Error::invalid("a question and a context are wanted, neither of them empty"));
        }
        let question = self.tokenizer().encode_text(question)?;
        let spans = self.tokenizer().encode_words(context)?;
        let ids: Vec<u32> = spans.iter().map(|span| span.id).collect();
        let room = self.answer_room(question.len(), options)?;
        let Windows { ranges, mut reading } = Windows::of(&ids, room, Long::Windows, self.tokenizer().unknown());
        let frames = ranges.iter().map(|range| self.tokenizer().frame(&question, Some(&ids[range.clone()])));
        let (begins, inputs): (Vec<_>, Vec<_>) = frames.map(|frame| (frame.begins[1], frame.into())).unzip();
        reading.tokens = tokens(&inputs);
        let rows = self.run(&inputs, Output::TokenLogits).await?;
        let windows = ranges.iter().zip(&begins).zip(&rows);
        let scored: Vec<Scored<'_>> =
            windows.map(|((range, begin), rows)| Scored::new(&spans[range.clone()], *begin, rows)).collect();
        let answers = answers(&scored, context, options);
        Ok(Answered { answers, reading })
    }

    /// Tokens of the context in a window, and how many of them the next window shares.
    fn answer_room(&self, question: usize, options: &AnswerOptions) -> Result<(usize, usize)> {
        let max_len = options.max_len.min(self.info().context_len);
        let overlap = options.stride.unwrap_or((max_len / 2).min(128));
        let taken = question + self.tokenizer().frame_len(true);
        match max_len.checked_sub(taken) {
            Some(room) if room > overlap => Ok((room, overlap)),
            _ => Err(Error::Limit {
                what: format!("tokens of a window for a question of {question} and {overlap} that windows share"),
                needed: (taken + overlap + 1) as u64,
                available: max_len as u64,
            }),
        }
    }
}

impl<'a> Scored<'a> {
    /// Rows are `(start, end)` of each token. An answer is in the context or is the first token, which means there is none.
    fn new(spans: &'a [Span], begin: usize, rows: &[Vec<f32>]) -> Self {
        let of = |which: usize| {
            let asked = std::iter::once(&rows[0]).chain(&rows[begin..begin + spans.len()]);
            softmax(&asked.map(|row| row[which]).collect::<Vec<_>>())
        };
        let (mut starts, mut ends) = (of(0), of(1));
        let nothing = starts.remove(0) * ends.remove(0);
        Self { spans, starts, ends, nothing }
    }

    /// The `n` best pieces of at most `max_len` tokens, best first, as ranges of tokens.
    fn best(&self, n: usize, max_len: usize) -> Vec<(Range<usize>, f32)> {
        let len = self.spans.len();
        let to = |start: usize| start..len.min(start + max_len);
        let pieces = (0..len).flat_map(|start| to(start).map(move |end| (start, end)));
        let mut pieces: Vec<_> =
            pieces.map(|(start, end)| (start..end + 1, self.starts[start] * self.ends[end])).collect();
        pieces.sort_by(|a, b| b.1.total_cmp(&a.1));
        pieces.truncate(n);
        pieces
    }

    /// The bytes of a range of tokens, widened to the whole words that stand in this window.
    fn whole_words(&self, tokens: &Range<usize>) -> Range<usize> {
        let (first, last) = (&self.spans[tokens.start], &self.spans[tokens.end - 1]);
        let of_word =
            |span: &Span| span.word.map(|word| self.spans.iter().filter(move |other| other.word == Some(word)));
        match (of_word(first).and_then(|mut word| word.next()), of_word(last).and_then(Iterator::last)) {
            (Some(first), Some(last)) => first.bytes.start..last.bytes.end,
            _ => first.bytes.start..last.bytes.end,
        }
    }
}

/// The answers of all windows together.
fn answers(windows: &[Scored<'_>], context: &str, options: &AnswerOptions) -> Vec<Answer> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let text = |place: &Range<usize>| context.get(place.clone()).unwrap_or("");
    for window in windows {
        // Some become the same when they are widened.
        for (tokens, score) in window.best(options.top * 2 + 10, options.max_answer_len) {
            let place = window.whole_words(&tokens);
            let wanted = text(&place).to_lowercase();
            match candidates.iter_mut().find(|candidate| text(&candidate.place).to_lowercase() == wanted) {
                Some(candidate) => candidate.score += score,
                None => candidates.push(Candidate { place, score }),
            }
        }
    }
    if options.no_answer {
        let score = windows.iter().map(|window| window.nothing).fold(f32::INFINITY, f32::min);
        candidates.push(Candidate { place: 0..0, score });
    }
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(options.top);
    let offsets = Offsets::new(context, options.unit);
    let answer = |Candidate { place, score }: &Candidate| {
        let Range { start, end } = offsets.of(place);
        Answer { score: *score, start, end, answer: text(place).to_owned() }
    };
    candidates.iter().map(answer).collect()
}
