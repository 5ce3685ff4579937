//! Submits of decode steps whose tokens are not read back yet: a few at once, so that the device never waits for the host, each
//! of so many steps that waiting for one hides behind the next. Knows no model and no answer.

use crate::error::Result;
use crate::gpu::{Gpu, ReadBack};
use std::collections::VecDeque;
use web_time::Instant;

/// Submits in flight: while the host waits for one, the device works on the next.
pub(super) const FLIGHTS: usize = 2;

/// Steps of a submit at most: what is computed after an end token is thrown away.
pub(super) const MAX_STEPS: usize = 16;

/// A submit under way.
struct Flight<T> {
    n_steps: usize,
    n_bytes: u64,
    launched: Instant,
    about: T,
}

/// Submits under way, each with what its bytes are about.
pub(super) struct Flights<T> {
    flying: VecDeque<Flight<T>>,
    n_launched: usize,
    /// Seconds from submitting to reading, on an idle device.
    latency: f64,
    n_steps: usize,
    /// What a step of the last one took.
    seconds_per_step: f64,
    /// When the last one came back.
    landed: Option<Instant>,
}

impl<T> Flights<T> {
    /// None yet.
    pub(super) fn new(latency: f64) -> Self {
        Self { flying: VecDeque::new(), n_launched: 0, latency, n_steps: 1, seconds_per_step: 0.0, landed: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.flying.len() < FLIGHTS
    }

    /// Steps of all that are under way.
    pub(super) fn n_flying(&self) -> usize {
        self.flying.iter().map(|flight| flight.n_steps).sum()
    }

    /// What they are about.
    pub(super) fn flying(&self) -> impl Iterator<Item = &T> {
        self.flying.iter().map(|flight| &flight.about)
    }

    /// Seconds that a step took of the last that landed.
    pub(super) fn seconds_per_step(&self) -> f64 {
        self.seconds_per_step
    }

    /// How many steps the next should have.
    pub(super) fn n_steps(&self) -> usize {
        self.n_steps
    }

    /// Which of `FLIGHTS` read-backs the next is to fill.
    pub(super) fn read_back(&self) -> usize {
        self.n_launched % FLIGHTS
    }

    /// Notes that the next was submitted: `n_steps` steps, of which `n_bytes` are read back.
    pub(super) fn launch(&mut self, n_steps: usize, n_bytes: u64, about: T) {
        self.flying.push_back(Flight { n_steps, n_bytes, launched: Instant::now(), about });
        self.n_launched += 1;
    }

    /// Waits for the first that was submitted, if there is one: what it is about, and its bytes.
    pub(super) async fn land(&mut self, gpu: &Gpu, read_backs: &[ReadBack; FLIGHTS]) -> Result<Option<(T, Vec<u8>)>> {
        let at = (self.n_launched - self.flying.len()) % FLIGHTS;
        let Some(flight) = self.flying.pop_front() else { return Ok(None) };
        let bytes = gpu.fetch(&read_backs[at], flight.n_bytes).await?;
        let now = Instant::now();
        // The device began with it when it had it, and was done with the one before.
        let began = self.landed.map_or(flight.launched, |landed| landed.max(flight.launched));
        self.seconds_per_step = (now - began).as_secs_f64() / flight.n_steps as f64;
        self.n_steps = steps_for(self.latency, self.seconds_per_step);
        self.landed = Some(now);
        Ok(Some((flight.about, bytes)))
    }
}

/// Steps that take the device as long as a read-back takes the host.
fn steps_for(latency: f64, seconds_per_step: f64) -> usize {
    ((latency / seconds_per_step).ceil() as usize).clamp(1, MAX_STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_as_many_as_hide_a_read_back() {
        for (latency, seconds, wanted) in [
            (1e-4, 1e-2, 1),
            (1e-2, 1e-2, 1),
            (1e-2, 4e-3, 3),
            (0.1, 1e-3, MAX_STEPS),
            (1e-3, 0.0, MAX_STEPS),
            (0.0, 0.0, 1),
        ] {
            assert_eq!(steps_for(latency, seconds), wanted, "{latency} {seconds}");
        }
    }
}
