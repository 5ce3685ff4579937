//! `cargo xtask bench`: the speed of this machine on shapes that everybody can measure.

use crate::{serve, shell};
use anyhow::Result;
use std::process::{Command, ExitCode};

/// Random weights at real shapes need no download; the built-in models are what the page starts with.
const MODELS: [&str; 5] = ["random:15m", "random:135m", "random:minilm", "builtin:stories", "builtin:sentiment"];

/// Runs `trice bench` on each model with `arguments`; one that fails does not keep the next from running.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    shell::heading("The program");
    let trice = serve::build_program()?;
    let mut failed = Vec::new();
    for model in MODELS {
        shell::heading(model);
        let mut bench = Command::new(&trice);
        bench.args(["bench", model]).args(arguments);
        if let Err(error) = shell::run(&mut bench, "measuring prompt and generation speed") {
            eprintln!("error: {error:#}");
            failed.push(model);
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}
