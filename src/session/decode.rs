//! The decode loop of one answer: plain steps, or rounds that check drafts, several of them in a submit and two submits in
//! flight, so that the device never waits for the host. How far rounds come is known only when they are read back; until then
//! the loop keeps to what is possible at the most.

use super::Session;
use super::flights::{FLIGHTS, Flights, MAX_STEPS};
use super::run::Run;
use super::speculate::Drafts;
use crate::error::Result;
use crate::gpu::ReadBack;
use crate::kernels::{PROGRESS_BYTES, Place, Progress};
use crate::model::decoder::{Drafter, ROUND_COLUMNS};

/// Bytes read back for a submit at most: it copies what those before it may still be writing, too.
pub(super) const READ_BACK_BYTES: u64 = PROGRESS_BYTES + (FLIGHTS * MAX_STEPS) as u64 * ROUND_COLUMNS as u64 * 4;

/// What a submit runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Steps that choose a token each.
    Steps,
    /// Rounds that choose one to `ROUND_COLUMNS` tokens each.
    Rounds,
}

impl Kind {
    /// Tokens of a step at the most.
    fn most(self) -> usize {
        match self {
            Self::Steps => 1,
            Self::Rounds => ROUND_COLUMNS as usize,
        }
    }
}

/// A submit whose outcome is not read yet.
pub(super) struct Flight {
    pub(super) kind: Kind,
    pub(super) n_steps: usize,
    /// Whether it looks for drafts.
    pub(super) looks_up: bool,
    /// The position of the first id it reads back.
    pub(super) first: usize,
    /// How many it reads back.
    pub(super) n_ids: usize,
}

impl Flight {
    /// Tokens at the most.
    fn most(&self) -> usize {
        self.n_steps * self.kind.most()
    }
}

/// Where an answer stands, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Front {
    /// Where the next token stands at the least, when all that is in flight has come.
    floor: usize,
    /// The same at the most.
    ceiling: usize,
    /// One past the last token.
    last: usize,
}

impl Front {
    /// What to submit next, `n_steps` of it if there is room; nothing where it is better to hear first how far the device is.
    fn plan(&self, n_steps: usize, wants_rounds: bool) -> Option<(Kind, usize)> {
        let room = self.last - self.ceiling;
        if wants_rounds {
            let n = n_steps.min(room / Kind::Rounds.most());
            if n > 0 {
                return Some((Kind::Rounds, n));
            }
            if self.floor + Kind::Rounds.most() <= self.last {
                return None;
            }
        }
        let n = n_steps.min(room);
        (n > 0).then_some((Kind::Steps, n))
    }
}

impl Session {
    /// Writes an answer after its first token. What was computed past its end is dropped.
    pub(super) async fn decode(&self, run: &mut Run<'_>, mut drafts: Drafts<'_>) -> Result<()> {
        let last = run.next().position + run.n_left();
        let mut flights = Flights::new(self.read_latency);
        loop {
            while run.answer.finish.is_none() && flights.has_room() {
                let next = run.next().position;
                let floor = next + flights.n_flying();
                let ceiling = next + flights.flying().map(Flight::most).sum::<usize>();
                let front = Front { floor, ceiling, last };
                let Some((kind, n_steps)) = front.plan(flights.n_steps(), drafts.wants_rounds()) else { break };
                let n_ids = ceiling + n_steps * kind.most() - next;
                let looks_up = drafts.looks_up(kind, n_steps);
                let flight = Flight { kind, n_steps, looks_up, first: next, n_ids };
                let to = &self.read_backs[flights.read_back()];
                self.launch(run.slot, &flight, ceiling, drafts.drafter(), to)?;
                flights.launch(n_steps, PROGRESS_BYTES + n_ids as u64 * 4, flight);
            }
            let Some((flight, bytes)) = flights.land(&self.gpu, &self.read_backs).await? else { return Ok(()) };
            let (progress, ids) = bytes.split_at(PROGRESS_BYTES as usize);
            let (progress, ids) = (Progress::read(progress), bytemuck::pod_collect_to_vec::<u8, u32>(ids));
            let known = run.next().position;
            run.progress = progress;
            for id in &ids[known - flight.first..=progress.position - flight.first] {
                run.push(*id, None)?;
            }
            drafts.hear(&flight, known, &progress, flights.seconds_per_step());
        }
    }

    /// Submits `flight`, whose first token stands at `next` at the latest.
    fn launch(
        &self,
        slot: usize,
        flight: &Flight,
        next: usize,
        drafter: Option<&Drafter>,
        to: &ReadBack,
    ) -> Result<()> {
        let mut runs = match flight.kind {
            Kind::Steps => self.decoder.step_runs(next, flight.n_steps)?,
            Kind::Rounds => self.decoder.round_runs(next, flight.n_steps, drafter)?,
        };
        if flight.kind == Kind::Steps && flight.looks_up {
            runs.push(self.decoder.count_run()?);
        }
        let first = Place { slot, position: flight.first };
        self.decoder.advance(&self.gpu, &runs, first, flight.n_ids, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: usize = ROUND_COLUMNS as usize;

    fn plan(floor: usize, ceiling: usize, last: usize, n_steps: usize, wants_rounds: bool) -> Option<(Kind, usize)> {
        Front { floor, ceiling, last }.plan(n_steps, wants_rounds)
    }

    #[test]
    fn nothing_passes_the_last_token() {
        assert_eq!(plan(10, 10, 100, 3, false), Some((Kind::Steps, 3)));
        assert_eq!(plan(98, 98, 100, 3, false), Some((Kind::Steps, 2)));
        assert_eq!(plan(100, 100, 100, 3, false), None);
        assert_eq!(plan(10, 10, 100, 3, true), Some((Kind::Rounds, 3)));
        assert_eq!(plan(10, 10, 10 + 2 * ROUND, 3, true), Some((Kind::Rounds, 2)));
        assert_eq!(plan(10, 10, 9 + ROUND, 9, true), Some((Kind::Steps, ROUND - 1)));
    }

    #[test]
    fn where_a_round_might_still_fit_the_loop_waits() {
        let last = 10 + ROUND;
        assert_eq!(plan(10, 11, last, 3, true), None);
        assert_eq!(plan(11, 11, last, 1, true), Some((Kind::Steps, 1)));
        assert_eq!(plan(10, last, last, 1, false), None);
    }
}
