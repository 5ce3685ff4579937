//! A decode step for several sequences: a column of each slot at work, the weights read once for all of them.

use super::{Decoder, Programs, Scratch, Step, fitting, split_counts};
use crate::error::{Error, Result};
use crate::gpu::tensor::Columns;
use crate::gpu::{Buffer, Compiler, CopyOut, CopyWithin, Gpu, Program, ReadBack};
use crate::kernels::attention::{Splits, split_len};
use crate::kernels::sample::{SAMPLING_BYTES, sample, write_sampling};
use crate::kernels::{ColumnsAre, MAX_SLOTS, Pass, Place, STATE_BYTES, write_slots_state};
use crate::text::SamplingParams;

/// What steps for several sequences need.
pub(super) struct Batches {
    /// Where each column stands.
    state: Buffer,
    /// How each column's tokens are chosen.
    sampling: Buffer,
    /// The fewest columns first.
    pub(super) widths: Vec<Width>,
}

/// Steps with up to `n_columns` columns, the first for short contexts, the last for all of it.
pub(super) struct Width {
    n_columns: usize,
    pub(super) logits: Columns,
    steps: Vec<Step>,
}

/// Columns that steps are recorded for, where there are `n_slots` slots: whole tiles, few enough to compile them all.
fn widths(n_slots: usize) -> impl Iterator<Item = u32> {
    [2, 4, MAX_SLOTS as u32]
        .into_iter()
        .filter(move |width| n_slots > 1 && *width as usize <= n_slots.next_power_of_two())
}

impl Decoder {
    /// Sequences that may be run at once.
    pub fn n_slots(&self) -> usize {
        self.n_slots
    }

    /// Makes slot `to` hold what `from` holds: keys, values, history.
    pub fn copy_slot(&self, gpu: &Gpu, from: usize, to: usize) -> Result<()> {
        let history = self.history_offset(Place { slot: 1, position: 0 });
        let mut copies = vec![CopyWithin {
            buffer: &self.history,
            from: from as u64 * history,
            to: to as u64 * history,
            n_bytes: history,
        }];
        for layer in 0..self.layers.len() {
            let (heads, kv) = self.cache.layer(layer);
            let (theirs, ours) = (kv.slot_bytes(heads, from as u64), kv.slot_bytes(heads, to as u64));
            for ((from, n_bytes), (to, _)) in theirs.into_iter().zip(ours) {
                copies.extend([&kv.k, &kv.v].map(|buffer| CopyWithin { buffer, from, to, n_bytes }));
            }
        }
        self.cache.copied(from, to);
        gpu.copy_within(&copies)
    }

    /// Records the steps for several sequences and begins to compile them; none where there is one slot.
    pub(super) fn compile_batches(&self, compiler: &mut Compiler<'_>) -> Result<Option<Batches>> {
        if self.n_slots == 1 {
            return Ok(None);
        }
        let gpu = compiler.gpu();
        let split_len = split_len(&gpu.choices());
        let state = gpu.uniform("state of slots", STATE_BYTES);
        let mut batches =
            Batches { state, sampling: gpu.uniform("sampling of slots", SAMPLING_BYTES), widths: Vec::new() };
        for n_columns in widths(self.n_slots) {
            let mut scratch = Scratch::new(gpu, &self.config, &self.heads, n_columns)?;
            let logits = Columns::new(gpu, "logits of slots", n_columns, self.config.shape.vocab_size)?;
            let mut steps = Vec::new();
            for n_splits in std::iter::once(1).chain(split_counts(self.heads.context_len, split_len)) {
                scratch.splits = Splits::new(gpu, &self.heads, n_columns, n_splits)?;
                let mut rec = self.recording(gpu);
                let (state, columns) = (&batches.state, ColumnsAre::Slots);
                let mut pass = Pass { rec: &mut rec, state, columns, vectors: &self.vectors };
                self.slots_step(&mut pass, &scratch, &logits, &batches.sampling);
                let program = compiler.program(&rec)?;
                steps.push(Step { n_positions: (n_splits * split_len) as usize, program });
            }
            batches.widths.push(Width { n_columns: n_columns as usize, logits, steps });
        }
        Ok(Some(batches))
    }

    /// The last id of every column's history through all layers and the head, the next one appended.
    fn slots_step(&self, pass: &mut Pass<'_>, s: &Scratch, logits: &Columns, sampling: &Buffer) {
        self.forward(pass, s);
        self.heads(pass, s, logits);
        sample(pass, sampling, logits, &self.history, self.heads.context_len);
    }

    pub(super) fn batches(&self) -> Result<&Batches> {
        let Programs { batches, .. } = self.programs()?;
        batches.as_ref().ok_or_else(|| Error::invalid("a model loaded for one sequence at a time runs no more"))
    }

    /// Makes the next steps about these columns: where the last token of each stands, and how its next ones are chosen.
    pub fn set_slots(&self, gpu: &Gpu, columns: &[(Place, SamplingParams)]) -> Result<()> {
        let Batches { state, sampling, .. } = self.batches()?;
        let places: Vec<Place> = columns.iter().map(|(place, _)| *place).collect();
        write_slots_state(gpu, state, &places);
        for i in 0..MAX_SLOTS {
            // Idle columns choose as well, for nobody: in the quickest way.
            let wanted = columns.get(i).map_or_else(SamplingParams::default, |(_, wanted)| *wanted);
            write_sampling(gpu, sampling, i, &wanted);
        }
        Ok(())
    }

    /// `n_steps` steps in one submit, for columns whose last tokens stand at `places`: those that were set, or where the steps
    /// since then have left them. Their new tokens are copied to `to`, `n_steps` of each column in turn.
    pub fn decode_slots(&self, gpu: &Gpu, places: &[Place], n_steps: usize, to: &ReadBack) -> Result<()> {
        let (_, width) = self.width(places.len())?;
        self.wrote_slots(places, n_steps);
        let runs: Result<Vec<_>> = (0..n_steps).map(|i| Ok(width.step(places, i)?.whole())).collect();
        gpu.submit_runs(&runs?, &self.slots_copies(places, n_steps, to))
    }

    /// The steps for `n` columns, and which of the widths that is.
    pub(super) fn width(&self, n: usize) -> Result<(usize, &Width)> {
        let Batches { widths, .. } = self.batches()?;
        let found = widths.iter().enumerate().find(|(_, width)| n <= width.n_columns);
        found.ok_or_else(|| Error::Limit {
            what: "sequences in one step".into(),
            needed: n as u64,
            available: self.n_slots as u64,
        })
    }

    /// Hears that `n_steps` steps write behind `places`.
    pub(super) fn wrote_slots(&self, places: &[Place], n_steps: usize) {
        places.iter().for_each(|place| self.cache.wrote(place.slot, place.position, place.position + n_steps));
    }

    /// Copies of the `n_steps` tokens behind each of `places`, in turn, to `to`.
    pub(super) fn slots_copies<'a>(&'a self, places: &[Place], n_steps: usize, to: &'a ReadBack) -> Vec<CopyOut<'a>> {
        let next = |place: &Place| Place { position: place.position + 1, ..*place };
        let copy = |(i, place)| self.history_copy(next(place), n_steps, to, i * n_steps);
        places.iter().enumerate().map(copy).collect()
    }

    /// Dispatches of one step for several sequences in short contexts.
    pub fn dispatches_per_step(&self) -> u32 {
        let first = || Some(self.batches().ok()?.widths.first()?.steps.first()?.program.n_dispatches());
        first().map_or(0, |n| n as u32)
    }
}

impl Width {
    /// The step that runs the tokens `i` positions behind `places`.
    pub(super) fn step(&self, places: &[Place], i: usize) -> Result<&Program> {
        let n_positions = places.iter().map(|place| place.position + 1).max().unwrap_or(1);
        fitting(&self.steps, n_positions + i)
    }
}

#[cfg(test)]
mod tests {
    use super::widths;

    #[test]
    fn every_number_of_sequences_has_its_steps() {
        let all = |n| widths(n).collect::<Vec<_>>();
        assert_eq!((all(1), all(2), all(3)), (vec![], vec![2], vec![2, 4]));
        assert_eq!((all(4), all(5), all(8)), (vec![2, 4], vec![2, 4, 8], vec![2, 4, 8]));
    }
}
