//! What every command needs: where results and notes go, and which GPU to use.

use super::args::Global;
use super::tuned::open_gpu;
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};
use std::rc::Rc;
use trice::gpu::Gpu;

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The global flags, read once.
pub(crate) struct Context {
    pub(crate) output: Output,
    device: Option<String>,
    variants: Vec<String>,
    quiet: bool,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Self {
            output: if global.json { Output::Json } else { Output::Text },
            // An empty TRICE_DEVICE is the usual way to unset it for one command.
            device: global.device.filter(|device| !device.is_empty()),
            variants: global.variants,
            quiet: global.quiet,
        }
    }

    /// The adapter asked for by `--device`.
    pub(crate) fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// The shaders forced by `--variant`.
    pub(crate) fn variants(&self) -> &[String] {
        &self.variants
    }

    /// Opens the GPU asked for.
    pub(crate) async fn open_gpu(&self) -> trice::Result<Rc<Gpu>> {
        Ok(Rc::new(open_gpu(self.device(), &self.variants).await?))
    }

    /// Whether progress bars are of use to anyone.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Says something on stderr, unless `-q`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Prints one JSON object on a line of its own.
    pub(crate) fn print_json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let line = serde_json::to_string(value)?;
        self.print(&line)
    }

    /// Prints one line of result.
    pub(crate) fn print(&self, line: &str) -> anyhow::Result<()> {
        writeln!(io::stdout(), "{line}")?;
        Ok(())
    }
}

/// `1536` as `1.5 KiB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
