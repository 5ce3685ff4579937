//! Ctrl-C: the first one stops the running work, the second leaves at once.

use super::EXIT_INTERRUPTED;
use anyhow::Context as _;
use std::sync::{Arc, Mutex, PoisonError};
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

    /// A new flag for the work that begins now.
    pub(crate) fn arm(&self) -> Cancel {
        let cancel = Cancel::default();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(cancel.clone());
        cancel
    }

    /// For work that cannot be stopped half-way: Ctrl-C leaves at once.
    pub(crate) fn disarm(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn on_signal(&self) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match running.as_ref() {
            Some(cancel) if !cancel.is_cancelled() => cancel.cancel(),
            _ => std::process::exit(i32::from(EXIT_INTERRUPTED)),
        }
    }
}
