//! Rounds of speculative decoding: a few drafts are checked in one step, as columns beside the last token, and those that the
//! model would have chosen itself are kept. All of it on the GPU: the host hears afterwards how far it came.

use super::{Decoder, Drafter, Programs, Scratch, Speculation, Step, fitting, split_counts};
use crate::error::{Error, Result};
use crate::gpu::tensor::Columns;
use crate::gpu::{Compiler, Program, Run};
use crate::kernels::Pass;
use crate::kernels::attention::{Splits, split_len};
use crate::kernels::sample::sample;
use crate::kernels::speculate::{Lookup, accept, lookup};

/// Columns of a round, the last token and its drafts: a tile of the products, whose weights are read once. More of them are
/// right too seldom to be worth their arithmetic where that is dear.
pub const ROUND_COLUMNS: u32 = 4;

/// Drafts of a round.
pub(super) const MAX_DRAFTS: u32 = ROUND_COLUMNS - 1;

/// Columns of a drafter's first step: the last token, and the one before it, which it has not run where all its drafts were
/// right.
const FIRST_COLUMNS: u32 = 2;

/// What a decoder needs for its part in rounds.
pub(super) enum Rounds {
    /// It checks drafts.
    Checks {
        /// Finds drafts in the text for the next step.
        lookup: Program,
        /// Counts them, for the host to know whether rounds are worth it.
        count: Program,
        /// The last token and its drafts through all layers and the head, then what is right of them appended.
        checks: Vec<Step>,
    },
    /// It writes drafts: the first step of a round, which catches up.
    Drafts(Vec<Step>),
}

impl Decoder {
    /// Compiles what its part in speculation needs.
    pub(super) fn compile_rounds(&self, compiler: &mut Compiler<'_>) -> Result<Option<Rounds>> {
        let gpu = compiler.gpu();
        let context_len = self.heads.context_len;
        Ok(match self.speculation {
            Speculation::None => None,
            Speculation::Drafts => {
                let first = |pass: &mut Pass<'_>, s: &Scratch| self.decode_step(pass, s);
                Some(Rounds::Drafts(self.compile_steps(compiler, FIRST_COLUMNS, first)?))
            }
            Speculation::Checks => {
                let mut look = |purpose| {
                    let recording =
                        self.record(gpu, |this, pass| lookup(pass, &this.history, context_len, MAX_DRAFTS, purpose));
                    compiler.program(&recording)
                };
                let (apply, count) = (look(Lookup::Apply)?, look(Lookup::Count)?);
                let logits = Columns::new(gpu, "logits of drafts", ROUND_COLUMNS, self.config.shape.vocab_size)?;
                let check = |pass: &mut Pass<'_>, s: &Scratch| self.check_drafts(pass, s, &logits);
                Some(Rounds::Checks {
                    lookup: apply,
                    count,
                    checks: self.compile_steps(compiler, ROUND_COLUMNS, check)?,
                })
            }
        })
    }

    /// What `body` records over `n_columns` neighbours, once for short contexts and once for each longer kind.
    fn compile_steps(
        &self,
        compiler: &mut Compiler<'_>,
        n_columns: u32,
        body: impl Fn(&mut Pass<'_>, &Scratch),
    ) -> Result<Vec<Step>> {
        let gpu = compiler.gpu();
        let split_len = split_len(&gpu.choices());
        let mut scratch = Scratch::new(gpu, &self.config, &self.heads, n_columns)?;
        let mut steps = Vec::new();
        for n_splits in std::iter::once(1).chain(split_counts(self.heads.context_len, split_len)) {
            scratch.splits = Splits::new(gpu, &self.heads, n_columns, n_splits)?;
            let recording = self.record(gpu, |_, pass| body(pass, &scratch));
            let program = compiler.program(&recording)?;
            steps.push(Step { n_positions: (n_splits * split_len) as usize, program });
        }
        Ok(steps)
    }

    /// The last token and its drafts through all layers and the head; the tokens chosen behind them appended while they are
    /// what was drafted.
    fn check_drafts(&self, pass: &mut Pass<'_>, s: &Scratch, logits: &Columns) {
        self.forward(pass, s);
        self.heads(pass, s, logits);
        sample(pass, &self.sampling, logits, &self.history, self.heads.context_len);
        accept(pass, &self.history, self.heads.context_len);
    }

    /// Whether it was loaded to check drafts.
    pub fn checks_drafts(&self) -> bool {
        self.speculation == Speculation::Checks
    }

    fn rounds(&self) -> Result<&Rounds> {
        let Programs { rounds, .. } = self.programs()?;
        rounds.as_ref().ok_or_else(|| Error::invalid("a model that was not loaded for speculation has no part in it"))
    }

    /// `n` rounds, the first of which chooses the token at `next` at the latest, with drafts from its own text or from a
    /// drafter. The state then stands between `n` and `n` · `ROUND_COLUMNS` tokens further; that must be within the context.
    pub fn round_runs<'a>(&'a self, next: usize, n: usize, drafter: Option<&'a Drafter>) -> Result<Vec<Run<'a>>> {
        let Rounds::Checks { lookup, checks, .. } = self.rounds()? else {
            return Err(Error::invalid("a drafter checks no drafts"));
        };
        let mut runs = Vec::new();
        for next in (next..).step_by(ROUND_COLUMNS as usize).take(n) {
            match drafter {
                None => runs.push(lookup.whole()),
                Some(drafter) => runs.extend(drafter.runs(next)?),
            }
            runs.push(fitting(checks, next + MAX_DRAFTS as usize)?.whole());
        }
        Ok(runs)
    }

    /// Counts the drafts that a lookup would find now.
    pub fn count_run(&self) -> Result<Run<'_>> {
        match self.rounds()? {
            Rounds::Checks { count, .. } => Ok(count.whole()),
            Rounds::Drafts(_) => Err(Error::invalid("a drafter checks no drafts")),
        }
    }

    /// The steps that write a round's drafts: the first catches up, the others are plain ones. The token at `next` is the
    /// first draft, at the latest.
    pub(super) fn draft_runs(&self, next: usize) -> Result<Vec<Run<'_>>> {
        let Rounds::Drafts(first) = self.rounds()? else {
            return Err(Error::invalid("a decoder that checks drafts writes none"));
        };
        let mut runs = vec![fitting(first, next)?.whole()];
        runs.extend(self.step_runs(next + 1, MAX_DRAFTS as usize - 1)?);
        Ok(runs)
    }
}
