//! One request under way in a slot: how much of its prompt is read, what it has answered, and what its slot holds afterwards.

use super::answer::{Answer, OnPiece};
use super::request::{FinishReason, GenerateOptions, Generation, StepLogprobs, Timings};
use super::{Session, checked_token};
use crate::error::Result;
use crate::gpu::{Gpu, Traffic};
use crate::kernels::{Place, Progress};
use std::time::Duration;
use web_time::Instant;

/// A request under way.
pub(super) struct Run<'a> {
    gpu: &'a Gpu,
    pub(super) slot: usize,
    pub(super) prompt: Vec<u32>,
    /// Prompt tokens that the slot held before.
    reused: usize,
    /// Prompt tokens that it holds now.
    n_read: usize,
    pub(super) answer: Answer<'a>,
    /// Whether drafts are checked for it.
    pub(super) speculates: bool,
    /// How far the device said it had come.
    pub(super) progress: Progress,
    start: Instant,
    /// When the first token came, after `start`.
    first_token: Option<Duration>,
    /// What had passed between host and device by then.
    traffic: Traffic,
}

impl Run<'_> {
    /// Whether the slot holds the whole prompt.
    pub(super) fn has_read(&self) -> bool {
        self.n_read == self.prompt.len()
    }

    /// Whether the decode loop goes on with it.
    pub(super) fn is_writing(&self) -> bool {
        self.first_token.is_some() && self.answer.finish.is_none()
    }

    /// Where its next token will stand.
    pub(super) fn next(&self) -> Place {
        Place { slot: self.slot, position: self.prompt.len() + self.answer.n_tokens() }
    }

    /// Tokens that it may still write.
    pub(super) fn n_left(&self) -> usize {
        self.answer.max_tokens - self.answer.n_tokens()
    }

    /// Takes the sampler's next choice; does nothing once the answer has ended.
    pub(super) fn push(&mut self, id: u32, logprobs: Option<StepLogprobs>) -> Result<()> {
        if self.answer.finish.is_some() {
            return Ok(());
        }
        let id = checked_token(id)?;
        if self.first_token.is_none() {
            self.first_token = Some(self.start.elapsed());
            self.traffic = self.gpu.traffic();
        }
        self.answer.push(id, logprobs);
        Ok(())
    }
}

impl Session {
    /// A request about to begin in `slot`, which from now on holds no more than what it shares with the prompt.
    pub(super) fn begin<'a>(
        &'a self,
        slot: usize,
        prompt: &[u32],
        options: &GenerateOptions,
        on_piece: OnPiece<'a>,
    ) -> Result<Run<'a>> {
        options.sampling.validate()?;
        self.check_prompt(prompt)?;
        let reused = self.reusable(slot, prompt);
        self.cached.borrow_mut()[slot].truncate(reused);
        self.truncate_draft(reused);
        let room = self.info.context_len - prompt.len();
        let max_tokens = options.max_tokens.unwrap_or(room).min(room);
        Ok(Run {
            gpu: &self.gpu,
            slot,
            prompt: prompt.to_vec(),
            reused,
            n_read: reused,
            answer: Answer::new(&self.tokenizer, options, max_tokens, on_piece),
            speculates: self.decoder.checks_drafts() && options.logprobs.is_none() && !options.without_drafts,
            progress: Progress::default(),
            start: Instant::now(),
            first_token: None,
            traffic: self.gpu.traffic(),
        })
    }

    /// How many tokens of `prompt` a slot holds already; the last one is run again for its logits.
    fn reusable(&self, slot: usize, prompt: &[u32]) -> usize {
        let cached = &self.cached.borrow()[slot];
        let same = cached.iter().zip(prompt).take_while(|(held, wanted)| held == wanted).count();
        same.min(prompt.len().saturating_sub(1))
    }

    /// The slot not `taken` that serves `prompt` best: what it spares to read, less what it would lose for others.
    pub(super) fn choose_slot(&self, prompt: &[u32], taken: &[usize]) -> Option<usize> {
        let gain = |slot: &usize| 2 * self.reusable(*slot, prompt) as i64 - self.cached.borrow()[*slot].len() as i64;
        (0..self.decoder.n_slots()).filter(|slot| !taken.contains(slot)).rev().max_by_key(gain)
    }

    /// Submits the next chunk of a prompt, and behind the last one the logits of the first token.
    pub(super) fn read_chunk(&self, run: &mut Run<'_>) -> Result<()> {
        let end = run.prompt.len().min(run.n_read + self.decoder.chunk_len());
        let first = Place { slot: run.slot, position: run.n_read };
        self.decoder.prefill(&self.gpu, first, &run.prompt[run.n_read..end])?;
        run.n_read = end;
        if run.has_read() { self.decoder.prefill_head(&self.gpu) } else { Ok(()) }
    }

    /// Hands out the rest of an answer; its slot keeps what it holds, unless the request was cancelled.
    pub(super) fn end(&self, run: Run<'_>) -> Generation {
        let has_read = run.has_read();
        let (tokens, text, finish_reason, logprobs) = run.answer.finish();
        let elapsed = run.start.elapsed();
        let first_token = run.first_token.unwrap_or(elapsed);
        let (now, n_decoded) = (self.gpu.traffic(), tokens.len().saturating_sub(1));
        let per_token = |before: u64, after: u64| (after - before) as f64 / n_decoded.max(1) as f64;
        let timings = Timings {
            load_ms: self.info.load_ms,
            prefill_ms: first_token.as_secs_f64() * 1e3,
            prefill_tokens_per_s: (run.prompt.len() - run.reused) as f64 / first_token.as_secs_f64().max(1e-9),
            decode_tokens_per_s: n_decoded as f64 / (elapsed - first_token).as_secs_f64().max(1e-9),
            dispatches_per_token: self.decoder.dispatches_per_token(run.prompt.len() + tokens.len()),
            submits_per_token: per_token(run.traffic.submits, now.submits),
            read_backs_per_token: per_token(run.traffic.read_backs, now.read_backs),
            drafted_tokens: run.progress.n_drafted,
            accepted_tokens: run.progress.n_accepted,
        };
        if finish_reason != FinishReason::Cancelled && has_read {
            // The last token was chosen but never run.
            let ran = &tokens[..tokens.len().saturating_sub(1)];
            self.cached.borrow_mut()[run.slot] = [&run.prompt, ran].concat();
        }
        let (model, prompt_tokens) = (self.info.name.clone(), run.prompt);
        Generation { model, prompt_tokens, tokens, text, finish_reason, timings, logprobs }
    }
}
