//! Tokens that something else has a say in, such as a grammar: a step stops at the logits, a bitmask over the vocabulary makes
//! the rest impossible, and the sampler chooses from what is left. Steps without masks know nothing of it.

use super::Decoder;
use crate::error::Result;
use crate::gpu::tensor::Columns;
use crate::gpu::{Buffer, Gpu, Program, ReadBack, Recording};
use crate::kernels::sample::{mask, mask_words};
use crate::kernels::{MAX_SLOTS, Place};

/// The masks and what applies them.
pub(super) struct Masks {
    /// A bit per token, `(MAX_SLOTS, mask_words)`.
    allowed: Buffer,
    /// For the logits of one sequence.
    one: Program,
    /// For those of several, by the widths of their steps.
    widths: Vec<Program>,
}

impl Decoder {
    /// The masks, compiled at the first call.
    async fn masks(&self, gpu: &Gpu) -> Result<&Masks> {
        let programs = self.programs()?;
        if let Some(masks) = programs.masks.get() {
            return Ok(masks);
        }
        let n_words = mask_words(self.config.shape.vocab_size);
        let allowed = gpu.buffer("allowed tokens", (MAX_SLOTS * n_words * 4) as u64)?;
        let apply = |logits: &Columns| self.record(gpu, |_, pass| mask(pass, &allowed, logits));
        let one = compile(gpu, &apply(&self.logits)).await?;
        let mut widths = Vec::new();
        for width in programs.batches.iter().flat_map(|batches| &batches.widths) {
            widths.push(compile(gpu, &apply(&width.logits)).await?);
        }
        Ok(programs.masks.get_or_init(|| Masks { allowed, one, widths }))
    }

    /// Words of a mask: token i is bit i % 32 of word i / 32.
    pub fn mask_words(&self) -> usize {
        mask_words(self.config.shape.vocab_size)
    }

    /// Leaves the logits of one sequence the tokens that are `allowed` (`mask_words`).
    pub async fn mask_logits(&self, gpu: &Gpu, allowed: &[u32]) -> Result<()> {
        let masks = self.masks(gpu).await?;
        gpu.write(&masks.allowed, 0, bytemuck::cast_slice(allowed));
        gpu.submit_runs(&[masks.one.whole()], &[])
    }

    /// As `decode_slots`, one step that stops at the logits.
    pub fn decode_slots_to_logits(&self, gpu: &Gpu, places: &[Place]) -> Result<()> {
        let (_, width) = self.width(places.len())?;
        self.wrote_slots(places, 1);
        gpu.submit_runs(&[width.step(places, 0)?.without_last()], &[])
    }

    /// Goes on from there: a token of each column of those that are `allowed` (`(columns, mask_words)`), copied to `to`.
    pub async fn choose_slots(&self, gpu: &Gpu, places: &[Place], allowed: &[u32], to: &ReadBack) -> Result<()> {
        let (at, width) = self.width(places.len())?;
        let masks = self.masks(gpu).await?;
        gpu.write(&masks.allowed, 0, bytemuck::cast_slice(allowed));
        let runs = [masks.widths[at].whole(), width.step(places, 0)?.last()];
        gpu.submit_runs(&runs, &self.slots_copies(places, 1, to))
    }
}

async fn compile(gpu: &Gpu, recording: &Recording) -> Result<Program> {
    gpu.program(recording, &mut |_, _| {}).await
}
