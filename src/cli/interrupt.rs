//! Ctrl-C: the first one stops the running work, the second leaves at once.

use super::EXIT_INTERRUPTED;
use anyhow::Context as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trice::session::Cancel;

/// The work that Ctrl-C stops. Empty between the answers of an interactive chat.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<Mutex<Option<Cancel>>>);

impl Interrupt {
    /// Takes over Ctrl-C, SIGTERM and SIGHUP for the rest of the process.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let interrupt = Self::default();
        let handler = interrupt.clone();
        ctrlc::set_handler(move || handler.on_signal()).context("taking over Ctrl-C")?;
        Ok(interrupt)
    }

    /// The flag of the work that begins now. A Ctrl-C that came when the work before looked for it no more stops this one.
    pub(crate) fn arm(&self) -> Cancel {
        let mut running = self.running();
        let late = running.take().filter(Cancel::is_cancelled);
        running.insert(late.unwrap_or_default()).clone()
    }

    /// For what cannot be stopped half-way, such as a wait for input: Ctrl-C leaves at once, and so does one that came when the work
    /// before looked for it no more.
    pub(crate) fn disarm(&self) {
        if self.running().take().is_some_and(|cancel| cancel.is_cancelled()) {
            leave();
        }
    }

    /// Between the answers of an interactive chat: a Ctrl-C was for the answer before, the next leaves at once.
    pub(crate) fn rest(&self) {
        *self.running() = None;
    }

    fn on_signal(&self) {
        match self.running().as_ref() {
            Some(cancel) if !cancel.is_cancelled() => cancel.cancel(),
            _ => leave(),
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Cancel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn leave() -> ! {
    std::process::exit(i32::from(EXIT_INTERRUPTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_stops_the_work_that_runs_or_the_next_one() {
        let interrupt = Interrupt::default();
        let first = interrupt.arm();
        assert!(!first.is_cancelled());
        interrupt.on_signal();
        assert!(first.is_cancelled());
        // The first was past looking.
        assert!(interrupt.arm().is_cancelled());
        interrupt.rest();
        assert!(!interrupt.arm().is_cancelled());
    }
}
