//! Speculation over one answer: where its drafts come from, and whether they are worth a round now. A model for drafts is
//! loaded and kept in step here.

use super::decode::{Flight, Kind};
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

/// Plain steps that a round takes as long as, where it is not known yet: on a GPU little more than one, on software adapters,
/// where arithmetic is dear, up to two, and more where drawing takes most of the time.
const STEPS_PER_ROUND: f64 = 2.0;

/// Measured times count with one part in so many, and as no more than twice what they were: the host is interrupted at times.
const SMOOTHING: f64 = 4.0;

/// Plain tokens between lookups that only tell whether the text repeats itself: what a lookup costs is less than a dispatch or
/// two, but more than nothing to a small model.
const TOKENS_PER_LOOKUP: usize = 4;

/// Plain tokens after rounds that were not worth it, before drafts are tried again: at first, and at the most. They double
/// from failure to failure, so that a text that repeats nothing loses little.
const PAUSE: (usize, usize) = (8, 64);

/// Where the drafts of an answer come from.
pub(super) enum Drafts<'a> {
    /// There are none.
    None,
    /// From its own text.
    Lookup(Echoes<'a>),
    /// From another model.
    Model(&'a Draft),
}

/// Whether a text has lately repeated itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echoes<'a> {
    /// How long steps and rounds have taken so far, in this answer and those before it.
    paces: &'a Cell<Paces>,
    /// The last lookup found something.
    found: bool,
    /// Plain tokens submitted since.
    unseen: usize,
    /// Plain tokens to come before the next try.
    wait: usize,
    /// How many there were at the last failure.
    pause: usize,
}

/// Seconds of a step, smoothed.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    n_heard: usize,
    seconds: f64,
}

/// Seconds of a plain step and of a round.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Paces {
    steps: Pace,
    rounds: Pace,
}

impl Pace {
    fn hear(&mut self, seconds: f64) {
        match self.n_heard {
            // Some drivers compile a shader when it first runs.
            0 => {}
            1 => self.seconds = seconds,
            _ => self.seconds += (seconds.min(2.0 * self.seconds) - self.seconds) / SMOOTHING,
        }
        self.n_heard += 1;
    }
}

impl Paces {
    fn hear(&mut self, kind: Kind, seconds: f64) {
        match kind {
            Kind::Steps => self.steps.hear(seconds),
            Kind::Rounds => self.rounds.hear(seconds),
        }
    }

    fn steps_per_round(&self) -> f64 {
        if self.steps.seconds > 0.0 && self.rounds.seconds > 0.0 {
            return self.rounds.seconds / self.steps.seconds;
        }
        STEPS_PER_ROUND
    }
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

    /// Whether the `n_steps` of `kind` that are submitted next look for drafts: rounds do, plain steps now and then, to know
    /// whether there are any.
    pub(super) fn looks_up(&mut self, kind: Kind, n_steps: usize) -> bool {
        match self {
            Self::Lookup(echoes) => kind == Kind::Rounds || echoes.looks_up(n_steps),
            Self::None | Self::Model(_) => false,
        }
    }

    /// Who writes them, if not the text.
    pub(super) fn drafter(&self) -> Option<&Drafter> {
        if let Self::Model(draft) = self { Some(&draft.drafter) } else { None }
    }

    /// Hears how far a submit came that began when the next token stood at `next`, and how long each of its steps took.
    pub(super) fn hear(&mut self, flight: &Flight, next: usize, progress: &Progress, seconds_per_step: f64) {
        let Flight { kind, n_steps, looks_up, .. } = *flight;
        match self {
            Self::None => {}
            Self::Lookup(echoes) => {
                if looks_up {
                    echoes.found = progress.n_found > 0;
                }
                echoes.hear(kind, n_steps, progress.position + 1 - next, seconds_per_step);
            }
            Self::Model(draft) if kind == Kind::Rounds => draft.n_cached.set(progress.position - 1),
            Self::Model(_) => {}
        }
    }
}

impl<'a> Echoes<'a> {
    /// Of a new answer, whose first tokens tell whether it repeats its prompt.
    fn new(paces: &'a Cell<Paces>) -> Self {
        Self { paces, found: false, unseen: TOKENS_PER_LOOKUP, wait: 0, pause: 0 }
    }

    fn looks_up(&mut self, n_steps: usize) -> bool {
        self.unseen += n_steps;
        let looks = self.wait == 0 && self.unseen >= TOKENS_PER_LOOKUP;
        if looks {
            self.unseen = 0;
        }
        looks
    }

    fn hear(&mut self, kind: Kind, n_steps: usize, n_tokens: usize, seconds_per_step: f64) {
        let mut paces = self.paces.get();
        paces.hear(kind, seconds_per_step);
        self.paces.set(paces);
        match kind {
            Kind::Steps => self.wait = self.wait.saturating_sub(n_steps),
            Kind::Rounds if n_tokens as f64 >= paces.steps_per_round() * n_steps as f64 => self.pause = 0,
            Kind::Rounds => {
                self.pause = (2 * self.pause).clamp(PAUSE.0, PAUSE.1);
                self.wait = self.pause;
                self.found = false;
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
        let loading = Decoder::load(&self.gpu, checkpoint, room).await?;
        let loading = loading.read(&mut reading(checkpoint, &options.cancel, progress)).await?;
        let decoder = loading.finish(&mut compiling(&options.cancel, progress)).await?;
        let drafter = Drafter::new(&self.gpu, decoder, &self.decoder).await?;
        self.draft = Some(Draft { drafter, n_cached: Cell::new(0) });
        Ok(())
    }

    /// Where the drafts of a request come from.
    pub(super) fn drafts(&self, run: &Run<'_>) -> Drafts<'_> {
        match &self.draft {
            _ if !run.speculates => Drafts::None,
            Some(draft) => Drafts::Model(draft),
            None => Drafts::Lookup(Echoes::new(&self.paces)),
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
            if first == run.text.len() || run.answer.finish.is_some() {
                break;
            }
            let end = run.text.len().min(first + drafter.chunk_len());
            drafter.prefill(&self.gpu, first, &run.text[first..end])?;
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

    /// Hears a submit of one step of `kind` that looked up where it may, found `n_found` and gave `n_tokens` in `seconds`.
    fn hear(drafts: &mut Drafts<'_>, kind: Kind, n_tokens: usize, n_found: usize, seconds: f64) {
        let looks_up = drafts.looks_up(kind, 1);
        let flight = Flight { kind, n_steps: 1, looks_up, first: 0, n_ids: 0 };
        let progress = Progress { position: 99 + n_tokens, n_found, ..Progress::default() };
        drafts.hear(&flight, 100, &progress, seconds);
    }

    #[test]
    fn rounds_begin_with_an_echo_and_pause_when_they_fail() {
        let paces = Cell::default();
        let mut drafts = Drafts::Lookup(Echoes::new(&paces));
        assert!(!drafts.wants_rounds());
        hear(&mut drafts, Kind::Steps, 1, 3, 1.0);
        assert!(drafts.wants_rounds());
        hear(&mut drafts, Kind::Rounds, 2, 3, 9.0);
        assert!(drafts.wants_rounds(), "worth it, as far as is known");
        for pause in [8, 16, 32, 64, 64] {
            hear(&mut drafts, Kind::Rounds, 1, 3, 2.0);
            // After the pause a lookup must find something again.
            for _ in 0..=pause {
                assert!(!drafts.wants_rounds(), "pause {pause}");
                hear(&mut drafts, Kind::Steps, 1, 3, 1.0);
            }
            assert!(drafts.wants_rounds(), "pause {pause}");
        }
        hear(&mut drafts, Kind::Rounds, 2, 3, 2.0);
        assert!(drafts.wants_rounds(), "two tokens in the time of two");
        hear(&mut drafts, Kind::Rounds, 1, 3, 2.0);
        for _ in 0..=PAUSE.0 {
            hear(&mut drafts, Kind::Steps, 1, 3, 1.0);
        }
        assert!(drafts.wants_rounds(), "a success forgives");
    }

    #[test]
    fn rounds_are_worth_what_the_device_takes_for_them() {
        let mut paces = Paces::default();
        for (step, round) in [(50.0, 90.0), (1.0, 3.0)] {
            assert!((paces.steps_per_round() - STEPS_PER_ROUND).abs() < 1e-9, "not known yet");
            paces.hear(Kind::Steps, step);
            paces.hear(Kind::Rounds, round);
        }
        assert!((paces.steps_per_round() - 3.0).abs() < 1e-9, "the first of each is not counted");
        paces.hear(Kind::Rounds, 1000.0);
        assert!((paces.steps_per_round() - 3.75).abs() < 1e-9, "an interruption counts little");
    }

    #[test]
    fn plain_steps_look_up_now_and_then() {
        let paces = Cell::default();
        let mut drafts = Drafts::Lookup(Echoes::new(&paces));
        let looks: Vec<bool> = (0..9).map(|_| drafts.looks_up(Kind::Steps, 1)).collect();
        assert_eq!(looks, [true, false, false, false, true, false, false, false, true]);
        assert!(drafts.looks_up(Kind::Rounds, 1) && drafts.looks_up(Kind::Steps, 16));
        assert!(!Drafts::None.looks_up(Kind::Steps, 16));
    }
}
