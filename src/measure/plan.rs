//! What a piece of a model's work runs: which programs, from which state, and what each dispatch then has to do.

use crate::error::{Error, Result};
use crate::gpu::{Cost, Extent, Gpu, Program};
use crate::model::decoder::Decoder;
use crate::model::encoder::{MAX_TEXTS, Output, Text};
use crate::tasks::{Scaling, TextEncoder};

/// Decode steps between waits of the host, as the decode loop keeps several in flight.
pub(super) const STEPS: usize = 8;

/// A program as it is run: from which state, and what each of its dispatches then has to do.
pub(super) struct Run<'a> {
    pub(super) program: &'a Program,
    pub(super) costs: Vec<Cost>,
    /// Writes the state.
    pub(super) prepare: Box<dyn Fn() + 'a>,
}

/// Runs in a row that make a phase.
pub(super) struct Plan<'a> {
    pub(super) name: &'static str,
    pub(super) n_tokens: usize,
    pub(super) context: usize,
    pub(super) runs: Vec<Run<'a>>,
    /// How often a real run repeats before the host waits.
    pub(super) n_times: usize,
}

impl Plan<'_> {
    /// What all of it has to do.
    pub(super) fn cost(&self) -> Cost {
        self.runs.iter().flat_map(|run| &run.costs).copied().sum()
    }
}

/// A prompt: its chunks, the head, the first token.
pub(super) fn prefill<'a>(gpu: &'a Gpu, decoder: &'a Decoder, n_tokens: usize) -> Result<Plan<'a>> {
    let mut runs = Vec::new();
    for position in (0..n_tokens).step_by(decoder.chunk_len()) {
        let n = decoder.chunk_len().min(n_tokens - position);
        let extent = Extent::causal(position as u64, n as u64);
        let is_last = position + n == n_tokens;
        let programs = decoder.prompt_programs()?;
        for program in programs.into_iter().take(if is_last { usize::MAX } else { 1 }) {
            let prepare = Box::new(move || decoder.set_state(gpu, position, n));
            runs.push(Run { program, costs: program.costs(&extent), prepare });
        }
    }
    Ok(Plan { name: "prefill", n_tokens, context: 0, runs, n_times: 1 })
}

/// A decode step after `context` tokens.
pub(super) fn decode<'a>(gpu: &'a Gpu, decoder: &'a Decoder, context: usize) -> Result<Plan<'a>> {
    let position = context.saturating_sub(1);
    let program = decoder.step(position + 1)?;
    let costs = program.costs(&Extent::causal(position as u64, 1));
    let run = Run { program, costs, prepare: Box::new(move || decoder.set_state(gpu, position, 1)) };
    Ok(Plan { name: "decode", n_tokens: usize::from(context > 0), context: position, runs: vec![run], n_times: STEPS })
}

/// One batch of `n_texts` texts of `n_tokens` tokens each, written to the device.
pub(super) async fn batch<'a>(
    gpu: &Gpu,
    encoder: &'a mut TextEncoder,
    n_tokens: usize,
    n_texts: usize,
) -> Result<Plan<'a>> {
    let limit = |what: &str, needed: usize, available: usize| {
        let (needed, available) = (needed as u64, available as u64);
        if needed > available { Err(Error::Limit { what: what.into(), needed, available }) } else { Ok(()) }
    };
    limit("tokens of context for a text", n_tokens, encoder.info().context_len)?;
    limit("texts of a batch", n_texts, MAX_TEXTS)?;
    let ids = super::ids(n_tokens, encoder.info().vocab_size);
    let texts = vec![Text::from(ids.as_slice()); n_texts];
    let output = Output::Embedding(encoder.pooling(), Scaling::Unit);
    let run = encoder.encoder().stage(gpu, &texts, output).await?;
    let costs = run.costs(&vec![n_tokens as u64; n_texts]);
    let runs = vec![Run { program: &run.program, costs, prepare: Box::new(|| ()) }];
    Ok(Plan { name: "batch", n_tokens: n_tokens * n_texts, context: 0, runs, n_times: 1 })
}
