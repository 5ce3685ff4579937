//! A small decoder that writes drafts for a large one. Ids go from history to history on the GPU; where drafts were wrong, its
//! cache rewinds with the position.

use super::Decoder;
use super::rounds::MAX_DRAFTS;
use crate::error::Result;
use crate::gpu::{Gpu, Program, Run};
use crate::kernels::speculate::{History, adopt};
use crate::text::SamplingParams;

/// A decoder that writes drafts, tied to the one that checks them.
pub struct Drafter {
    decoder: Decoder,
    /// Brings what the checker has chosen to the drafter.
    ask: Program,
    /// Brings the drafts to the checker.
    tell: Program,
}

impl Drafter {
    /// Ties `decoder`, loaded to draft and compiled, to `checker`, loaded to check drafts. Both have room for the same context.
    pub async fn new(gpu: &Gpu, decoder: Decoder, checker: &Decoder) -> Result<Self> {
        let copy = async |from: &Decoder, to: &Decoder, n| {
            let recording = to.record(gpu, |to, pass| {
                adopt(pass, &from.history_by_state(), &to.history, to.heads.context_len, n);
            });
            gpu.program(&recording, &mut |_, _| {}).await
        };
        let (ask, tell) = (copy(checker, &decoder, 1).await?, copy(&decoder, checker, MAX_DRAFTS).await?);
        Ok(Self { decoder, ask, tell })
    }

    /// What writes drafts from `next` on, at the latest, and makes the checker's next step about them.
    pub(super) fn runs(&self, next: usize) -> Result<Vec<Run<'_>>> {
        let mut runs = vec![self.ask.whole()];
        runs.extend(self.decoder.draft_runs(next)?);
        runs.push(self.tell.whole());
        Ok(runs)
    }

    /// Columns of a chunk of `prefill`.
    pub fn chunk_len(&self) -> usize {
        self.decoder.chunk_len()
    }

    /// Runs at most `chunk_len` tokens of a prompt at positions from `first`.
    pub fn prefill(&self, gpu: &Gpu, first: usize, tokens: &[u32]) -> Result<()> {
        self.decoder.prefill(gpu, first, tokens)
    }

    /// Drafts are chosen as the checker chooses: with the noise of the same seed and position, both draw alike.
    pub fn set_sampling(&self, gpu: &Gpu, sampling: &SamplingParams) {
        self.decoder.set_sampling(gpu, sampling);
    }
}

impl Decoder {
    /// Its history with the state that says where it ends.
    fn history_by_state(&self) -> History<'_> {
        History { ids: &self.history, state: &self.state, context_len: self.heads.context_len }
    }
}
