//! An answer as it grows: ids to text, log-probabilities, stop strings, the reasons to end. Knows no GPU.

use super::request::{Cancel, FinishReason, GenerateOptions, Piece, StepLogprobs, TokenLogprob};
use crate::error::Result;
use crate::text::grammar::Constraint;
use crate::text::{StopFinder, TextStream, Tokenizer};
use std::ops::ControlFlow;

/// Log-probabilities of the chosen `id` and the `top` best, from all logits, before any sampling transform.
pub(super) fn step_logprobs(tokenizer: &Tokenizer, logits: &[f32], id: u32, top: usize) -> StepLogprobs {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - best).exp()).sum();
    let logprob = |id: u32| (f64::from(logits[id as usize] - best) - sum.ln()) as f32;
    // A grammar leaves some tokens no probability at all.
    let mut ids: Vec<u32> = (0..logits.len() as u32).filter(|id| logits[*id as usize] > f32::NEG_INFINITY).collect();
    ids.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));
    ids.truncate(top);
    let bytes = |id: u32| tokenizer.piece(id).to_vec();
    let top = ids.into_iter().map(|id| TokenLogprob { id, bytes: bytes(id), logprob: logprob(id) }).collect();
    StepLogprobs { id, bytes: bytes(id), logprob: logprob(id), top }
}

/// Who hears the pieces of an answer; `ControlFlow::Break` cancels it.
pub type OnPiece<'a> = Box<dyn FnMut(Piece<'_>) -> ControlFlow<()> + 'a>;

/// An answer as it grows: ids to text, stop strings, the reasons to end.
pub(super) struct Answer<'a> {
    tokenizer: &'a Tokenizer,
    stream: TextStream<'a>,
    stops: StopFinder,
    /// What it must become, and how far it is.
    constraint: Option<Constraint>,
    cancel: Cancel,
    ignore_end: bool,
    pub(super) max_tokens: usize,
    on_piece: OnPiece<'a>,
    pub(super) tokens: Vec<u32>,
    text: String,
    logprobs: Option<Vec<StepLogprobs>>,
    pub(super) finish: Option<FinishReason>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(
        tokenizer: &'a Tokenizer,
        options: &GenerateOptions,
        constraint: Option<Constraint>,
        max_tokens: usize,
        on_piece: OnPiece<'a>,
    ) -> Self {
        let stream = match options.spells_marks {
            true => TextStream::spelling_marks(tokenizer),
            false => TextStream::continuing(tokenizer),
        };
        Self {
            tokenizer,
            stream,
            stops: StopFinder::new(&options.stop),
            constraint,
            cancel: options.cancel.clone(),
            ignore_end: options.ignore_end,
            max_tokens,
            on_piece,
            tokens: Vec::new(),
            text: String::new(),
            logprobs: options.logprobs.map(|_| Vec::new()),
            finish: (max_tokens == 0).then_some(FinishReason::Length),
        }
    }

    /// Takes tokens that were handed out before: they count and are text, but nobody hears of them again.
    pub(super) fn recall(&mut self, ids: &[u32]) -> Result<()> {
        let on_piece = std::mem::replace(&mut self.on_piece, Box::new(|_| ControlFlow::Continue(())));
        let taken = ids.iter().try_for_each(|id| self.push(*id, None));
        self.on_piece = on_piece;
        taken
    }

    /// Ends here once someone has asked for that.
    pub(super) fn hear_cancel(&mut self) {
        if self.cancel.is_cancelled() {
            self.finish.get_or_insert(FinishReason::Cancelled);
        }
    }

    /// The tokens that may come next, a bit each, where not all may.
    pub(super) fn allowed(&mut self) -> Result<Option<Vec<u32>>> {
        self.constraint.as_mut().map(Constraint::mask).transpose()
    }

    /// Whether it has to become something.
    pub(super) fn is_constrained(&self) -> bool {
        self.constraint.is_some()
    }

    /// Takes the next token; does nothing once the answer has ended.
    pub(super) fn push(&mut self, id: u32, logprobs: Option<StepLogprobs>) -> Result<()> {
        self.hear_cancel();
        if self.finish.is_some() {
            return Ok(());
        }
        if !self.ignore_end && self.tokenizer.is_end(id) {
            self.finish = Some(FinishReason::Stop);
            return Ok(());
        }
        if let Some(constraint) = &mut self.constraint {
            constraint.take(id)?;
        }
        self.tokens.push(id);
        let emit = self.stops.push(&self.stream.push(id));
        if emit.stopped || self.constraint.as_ref().is_some_and(Constraint::is_complete) {
            self.finish = Some(FinishReason::Stop);
        } else if self.tokens.len() == self.max_tokens {
            self.finish = Some(FinishReason::Length);
        }
        self.hand_out(&emit.text, &[id], logprobs);
        Ok(())
    }

    fn hand_out(&mut self, text: &str, tokens: &[u32], logprobs: Option<StepLogprobs>) {
        self.text.push_str(text);
        let piece = Piece { text, tokens, logprobs: logprobs.as_slice() };
        if (self.on_piece)(piece).is_break() {
            self.finish.get_or_insert(FinishReason::Cancelled);
        }
        if let Some(all) = &mut self.logprobs {
            all.extend(logprobs);
        }
    }

    /// Hands out what was held back and gives the whole answer.
    pub(super) fn finish(mut self) -> (Vec<u32>, String, FinishReason, Option<Vec<StepLogprobs>>) {
        let tail = self.stream.finish();
        let emit = self.stops.push(&tail);
        let rest = emit.text + &if emit.stopped { String::new() } else { self.stops.finish() };
        if !rest.is_empty() {
            self.hand_out(&rest, &[], None);
        }
        (self.tokens, self.text, self.finish.unwrap_or(FinishReason::Length), self.logprobs)
    }
}
