//! One request under way in a slot: how much of its prompt is read, what it has answered, what is left of both where the context
//! was full, and what its slot holds afterwards.

use super::answer::{Answer, OnPiece};
use super::overflow::Overflow;
use super::request::{GenerateOptions, Generation, StepLogprobs, Timings};
use super::{Session, checked_token};
use crate::error::Result;
use crate::gpu::{Gpu, Traffic};
use crate::kernels::{Place, Progress};
use std::time::Duration;
use web_time::Instant;

/// A request under way.
pub(super) struct Run<'a> {
    gpu: &'a Gpu,
    context_len: usize,
    pub(super) slot: usize,
    /// The prompt, as it was read at first.
    prompt: Vec<u32>,
    /// Tokens that the slot held before.
    reused: usize,
    /// Tokens to be read before the first that is new: those that the slot held before are not among them.
    n_to_read: usize,
    /// Tokens of the answer that were there before.
    n_answered: usize,
    /// What is read before the next token: the prompt and what was answered before; after a shift what is left of them.
    pub(super) text: Vec<u32>,
    /// Tokens of the answer that are read with the text, or gone.
    n_in_text: usize,
    /// Tokens of the text that the slot holds now.
    n_read: usize,
    /// Tokens left out of prompt and answer.
    n_dropped: usize,
    pub(super) answer: Answer<'a>,
    /// Whether drafts are checked for it.
    pub(super) speculates: bool,
    /// How far the device said it had come since the text was read.
    pub(super) progress: Progress,
    /// Drafts checked before that, and those among them that were right.
    drafts_before: (usize, usize),
    start: Instant,
    /// When the first token came, after `start`.
    first_token: Option<Duration>,
    /// What had passed between host and device by then.
    traffic: Traffic,
}

impl Run<'_> {
    /// Whether the slot holds the whole text.
    pub(super) fn has_read(&self) -> bool {
        self.n_read == self.text.len()
    }

    /// Whether the decode loop goes on with it.
    pub(super) fn is_writing(&self) -> bool {
        self.first_token.is_some() && self.has_read() && self.answer.finish.is_none()
    }

    /// Whether there is no position left for an answer that has not ended.
    pub(super) fn is_full(&self) -> bool {
        self.is_writing() && self.next().position == self.context_len
    }

    /// Where its next token will stand.
    pub(super) fn next(&self) -> Place {
        Place { slot: self.slot, position: self.text.len() + self.answer.tokens.len() - self.n_in_text }
    }

    /// Tokens that it may still write without a shift.
    pub(super) fn n_left(&self) -> usize {
        (self.answer.max_tokens - self.answer.tokens.len()).min(self.context_len - self.next().position)
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
        self.answer.push(id, logprobs)
    }
}

impl Session {
    /// A request about to begin in a slot that is not `taken`, which from now on holds what is known of the prompt, and
    /// no more.
    pub(super) fn begin<'a>(
        &'a self,
        prompt: &[u32],
        options: &GenerateOptions,
        taken: &[usize],
        on_piece: OnPiece<'a>,
    ) -> Result<Run<'a>> {
        options.sampling.validate()?;
        let constraint = self.constraint(options)?;
        self.check_ids(prompt)?;
        self.check_ids(&options.answered)?;
        let context_len = self.info.context_len;
        let (prompt, dropped_before) = options.overflow.fit(prompt.to_vec(), context_len, options.max_tokens);
        self.check_prompt(&prompt)?;
        let (room, fit) = match options.overflow {
            Overflow::Error | Overflow::TruncateMiddle => (context_len - prompt.len(), Overflow::Error),
            Overflow::Shift => (usize::MAX, Overflow::Shift),
        };
        let max_tokens = options.max_tokens.unwrap_or(room).min(room);
        let mut answer = Answer::new(&self.tokenizer, options, constraint, max_tokens, on_piece);
        answer.recall(&options.answered)?;
        let (text, dropped) = fit.fit([prompt.as_slice(), &answer.tokens].concat(), context_len, None);
        let (slot, reused) = self.prepare_slot(&text, taken)?;
        Ok(Run {
            gpu: &self.gpu,
            context_len,
            slot,
            reused,
            n_to_read: text.len() - reused,
            text,
            prompt,
            n_answered: answer.tokens.len(),
            n_in_text: answer.tokens.len(),
            n_read: reused,
            n_dropped: dropped_before + dropped,
            answer,
            speculates: self.decoder.checks_drafts() && !options.is_stepwise() && !options.without_drafts,
            progress: Progress::default(),
            drafts_before: (0, 0),
            start: Instant::now(),
            first_token: None,
            traffic: self.gpu.traffic(),
        })
    }

    /// Makes room in a full context: what is left of the text is to be read before the answer goes on.
    pub(super) fn shift(&self, run: &mut Run<'_>) {
        let grown = [&run.text, &run.answer.tokens[run.n_in_text..]].concat();
        let (text, n_dropped) = Overflow::Shift.fit(grown, run.context_len, None);
        run.n_read = self.keep_shared(run.slot, &text);
        run.text = text;
        run.n_in_text = run.answer.tokens.len();
        run.n_dropped += n_dropped;
        run.drafts_before.0 += run.progress.n_drafted;
        run.drafts_before.1 += run.progress.n_accepted;
        run.progress = Progress::default();
    }

    /// Submits the next chunk of a text, and behind the last one the logits of the next token.
    pub(super) fn read_chunk(&self, run: &mut Run<'_>) -> Result<()> {
        let end = run.text.len().min(run.n_read + self.decoder.chunk_len());
        let first = Place { slot: run.slot, position: run.n_read };
        let chunk = &run.text[run.n_read..end];
        self.decoder.prefill(&self.gpu, first, chunk)?;
        self.cached.borrow_mut()[run.slot].extend_from_slice(chunk);
        run.n_read = end;
        if run.has_read() { self.decoder.prefill_head(&self.gpu) } else { Ok(()) }
    }

    /// Hands out the rest of an answer; its slot keeps what it holds.
    pub(super) fn end(&self, run: Run<'_>) -> Generation {
        let n_positions = run.next().position;
        let has_read = run.has_read();
        let (tokens, text, finish_reason, logprobs) = run.answer.finish();
        let elapsed = run.start.elapsed();
        let first_token = run.first_token.unwrap_or(elapsed);
        let (now, n_decoded) = (self.gpu.traffic(), tokens.len().saturating_sub(run.n_answered + 1));
        let per_token = |before: u64, after: u64| (after - before) as f64 / n_decoded.max(1) as f64;
        // A prompt may have been cancelled before its end.
        let unread = if run.first_token.is_some() { 0 } else { run.text.len() - run.n_read };
        let prefill_tokens = run.n_to_read - unread;
        let timings = Timings {
            load_ms: self.info.load_ms,
            prefill_ms: first_token.as_secs_f64() * 1e3,
            prefill_tokens,
            cached_tokens: run.reused,
            prefill_tokens_per_s: prefill_tokens as f64 / first_token.as_secs_f64().max(1e-9),
            decode_tokens_per_s: n_decoded as f64 / (elapsed - first_token).as_secs_f64().max(1e-9),
            dispatches_per_token: self.decoder.dispatches_per_token(n_positions),
            submits_per_token: per_token(run.traffic.submits, now.submits),
            read_backs_per_token: per_token(run.traffic.read_backs, now.read_backs),
            drafted_tokens: run.drafts_before.0 + run.progress.n_drafted,
            accepted_tokens: run.drafts_before.1 + run.progress.n_accepted,
        };
        // The last token was chosen but never run.
        if let (true, Some((_, ran))) = (has_read, tokens[run.n_in_text..].split_last()) {
            self.cached.borrow_mut()[run.slot].extend_from_slice(ran);
        }
        let (model, prompt_tokens, dropped_tokens) = (self.info.name.clone(), run.prompt, run.n_dropped);
        Generation { model, prompt_tokens, tokens, text, finish_reason, dropped_tokens, timings, logprobs }
    }
}
