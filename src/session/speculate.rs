//! Speculation over one answer: where its drafts come from, and whether they are worth a round now. A model for drafts is
//! loaded and kept in step here.

use super::decode::Kind;
use super::request::{LoadOptions, Progress as LoadProgress};
use super::run::Run;
use super::{CHUNKS_PER_WAIT, Session, check_vocabulary, compiling, reading};
use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::gpu::Gpu;
use crate::kernels::Progress;
use crate::model::config::DecoderConfig;
use crate::model::decoder::{Decoder, Drafter, Room, Speculation};
use crate::text::{SamplingParams, Tokenizer};
use std::cell::Cell;

/// Tokens that rounds must give on average to be worth more than plain steps. On software adapters, where arithmetic is dear,
/// a round of four columns takes as long as 1.8 steps; on a GPU it takes little more than one.
const TOKENS_PER_ROUND: usize = 2;

/// Plain tokens after rounds that were not worth it, before drafts are tried again: at first, and at the most. They double
/// from failure to failure, so that a text that repeats nothing loses little.
const PAUSE: (usize, usize) = (8, 64);

/// Where the drafts of an answer come from.
pub(super) enum Drafts<'a> {
    /// There are none.
    None,
    /// From its own text.
    Lookup(Echoes),
    /// From another model.
    Model(&'a Draft),
}

/// Whether a text has lately repeated itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Echoes {
    /// The last lookup found something.
    found: bool,
    /// Plain tokens to come before the next try.
    wait: usize,
    /// How many there were at the last failure.
    pause: usize,
}

impl Drafts<'_> {
    /// Whether the next submit is to be rounds.
    pub(super) fn wants_rounds(&self) -> bool {
        match self {
            Self::None => false,
            Self::Lookup(echoes) => echoes.found && echoes.wait == 0,
            Self::Model(_) => true,
        }
    }

    /// Whether plain steps are to count what a lookup would find after them.
    pub(super) fn are_looked_up(&self) -> bool {
        matches!(self, Self::Lookup(_))
    }

    /// Who writes them, if not the text.
    pub(super) fn drafter(&self) -> Option<&Drafter> {
        if let Self::Model(draft) = self { Some(&draft.drafter) } else { None }
    }

    /// Hears how far `n_steps` of `kind` came, that began when the next token stood at `next`.
    pub(super) fn hear(&mut self, kind: Kind, n_steps: usize, next: usize, progress: &Progress) {
        match self {
            Self::None => {}
            Self::Lookup(echoes) => echoes.hear(kind, n_steps, progress.position + 1 - next, progress.n_found),
            Self::Model(draft) if kind == Kind::Rounds => draft.n_cached.set(progress.position - 1),
            Self::Model(_) => {}
        }
    }
}

impl Echoes {
    fn hear(&mut self, kind: Kind, n_steps: usize, n_tokens: usize, n_found: usize) {
        self.found = n_found > 0;
        match kind {
            Kind::Steps => self.wait = self.wait.saturating_sub(n_steps),
            Kind::Rounds if n_tokens >= TOKENS_PER_ROUND * n_steps => self.pause = 0,
            Kind::Rounds => {
                self.pause = (2 * self.pause).clamp(PAUSE.0, PAUSE.1);
                self.wait = self.pause;
            }
        }
    }
}

/// A model that drafts for a session's.
pub(super) struct Draft {
    drafter: Drafter,
    /// Positions of the sequence that its cache holds as well.
    n_cached: Cell<usize>,
}

impl Draft {
    /// Drafts are chosen as the session's model chooses.
    pub(super) fn set_sampling(&self, gpu: &Gpu, sampling: &SamplingParams) {
        self.drafter.set_sampling(gpu, sampling);
    }
}

impl Session {
    /// Has a smaller model with the same vocabulary draft from now on, instead of looking drafts up. The session must be loaded
    /// to speculate; of `options` the cancel flag and the cache's type count.
    ///
    /// # Errors
    /// `Invalid` for a session that does not speculate and for another vocabulary, else as `load`.
    pub async fn draft_with(
        &mut self,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<()> {
        if !self.decoder.checks_drafts() {
            return Err(Error::invalid(format!("{} was not loaded to speculate", self.info.name)));
        }
        let shape = DecoderConfig::new(checkpoint)?.shape;
        let tokenizer = Tokenizer::from_checkpoint(checkpoint).await?;
        check_vocabulary(checkpoint, &tokenizer, shape.vocab_size)?;
        check_same_vocabulary((checkpoint.name(), &tokenizer), (&self.info.name, &self.tokenizer))?;
        let (needed, available) = (self.info.context_len as u64, u64::from(shape.context_len));
        if needed > available {
            let what = format!("tokens of context, by what the draft model {} was made for", checkpoint.name());
            return Err(Error::Limit { what, needed, available });
        }
        let room = Room {
            context_len: self.info.context_len as u32,
            n_slots: 1,
            kv_type: options.kv_type,
            speculation: Speculation::Drafts,
        };
        let mut decoder = {
            let mut on_bytes = reading(checkpoint, &options.cancel, progress);
            Decoder::load(&self.gpu, checkpoint, room, &mut on_bytes).await?
        };
        decoder.compile(&self.gpu, &mut compiling(progress)).await?;
        options.cancel.check()?;
        let drafter = Drafter::new(&self.gpu, decoder, &self.decoder).await?;
        self.draft = Some(Draft { drafter, n_cached: Cell::new(0) });
        Ok(())
    }

    /// Where the drafts of a request come from.
    pub(super) fn drafts(&self, run: &Run<'_>) -> Drafts<'_> {
        match &self.draft {
            _ if !run.speculates => Drafts::None,
            Some(draft) => Drafts::Model(draft),
            None => Drafts::Lookup(Echoes::default()),
        }
    }

    /// Tells the model that drafts, if there is one, that the cache holds no more than `n` positions of what it held.
    pub(super) fn truncate_draft(&self, n: usize) {
        if let Some(draft) = &self.draft {
            draft.n_cached.set(draft.n_cached.get().min(n));
        }
    }

    /// Reads a prompt for the model that drafts, where the request needs it.
    pub(super) async fn read_for_draft(&self, run: &mut Run<'_>) -> Result<()> {
        let Drafts::Model(Draft { drafter, n_cached }) = self.drafts(run) else { return Ok(()) };
        for n_chunks in 1.. {
            run.answer.hear_cancel();
            let first = n_cached.get();
            if first == run.prompt.len() || run.answer.finish.is_some() {
                break;
            }
            let end = run.prompt.len().min(first + drafter.chunk_len());
            drafter.prefill(&self.gpu, first, &run.prompt[first..end])?;
            n_cached.set(end);
            if n_chunks % CHUNKS_PER_WAIT == 0 {
                self.gpu.flush("reading the prompt").await?;
            }
        }
        Ok(())
    }
}

/// Drafts are ids: they mean the same to both models only if the vocabularies are the same.
fn check_same_vocabulary(draft: (&str, &Tokenizer), model: (&str, &Tokenizer)) -> Result<()> {
    let sizes = [draft.1, model.1].map(Tokenizer::vocab_size);
    if sizes[0] != sizes[1] {
        let reason = format!("it has {} tokens, {} has {}", sizes[0], model.0, sizes[1]);
        return Err(Error::invalid(format!("{} cannot draft for {}: {reason}", draft.0, model.0)));
    }
    match (0..sizes[0] as u32).find(|id| draft.1.token(*id) != model.1.token(*id)) {
        Some(id) => {
            let token = |tokenizer: &Tokenizer| tokenizer.token(id).unwrap_or_default();
            let (theirs, ours) = (token(draft.1), token(model.1));
            let reason = format!("token {id} is {theirs:?} there and {ours:?} here");
            Err(Error::invalid(format!("{} cannot draft for {}: {reason}", draft.0, model.0)))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_begin_with_an_echo_and_pause_when_they_fail() {
        let mut echoes = Echoes::default();
        let wants = |echoes: &Echoes| Drafts::Lookup(*echoes).wants_rounds();
        assert!(!wants(&echoes));
        echoes.hear(Kind::Steps, 1, 1, 3);
        assert!(wants(&echoes));
        echoes.hear(Kind::Rounds, 2, 2 * TOKENS_PER_ROUND, 3);
        assert!(wants(&echoes), "worth it");
        for pause in [8, 16, 32, 64, 64] {
            echoes.hear(Kind::Rounds, 1, 1, 3);
            for _ in 0..pause {
                assert!(!wants(&echoes), "pause {pause}");
                echoes.hear(Kind::Steps, 1, 1, 3);
            }
            assert!(wants(&echoes), "pause {pause}");
        }
        echoes.hear(Kind::Rounds, 1, TOKENS_PER_ROUND, 3);
        echoes.hear(Kind::Rounds, 1, 1, 3);
        assert_eq!(echoes.wait, PAUSE.0, "a success forgives");
        echoes.hear(Kind::Steps, 16, 16, 0);
        assert!(!wants(&echoes), "nothing found");
    }
}
