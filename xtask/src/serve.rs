//! `cargo xtask run`: builds the program and the page and serves the page.

use crate::shell::{self, cargo};
use crate::{machine, site};
use anyhow::{Context, Result};
use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Sets the machine up, builds, and becomes `trice serve`.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    shell::heading("Setting the machine up");
    machine::ensure_wasm_target()?;
    machine::note_missing_vulkan();
    shell::heading("The program");
    let trice = build_program()?;
    shell::heading("The page");
    let site = site::build_site(site::Profile::Web)?;
    shell::heading("Serving");
    let mut serve = Command::new(trice);
    serve.arg("serve").arg("--site").arg(site);
    if has_desktop() {
        serve.arg("--open");
    }
    serve.args(arguments);
    shell::announce(&serve, "serving the page on this machine only; Ctrl-C ends it");
    become_program(serve)
}

/// Builds `trice` with optimizations and returns the program.
pub(crate) fn build_program() -> Result<PathBuf> {
    let mut build = cargo();
    shell::run(
        build.args(["build", "--release", "--package", "trice", "--bin", "trice"]),
        "compiling the native program",
    )?;
    Ok(shell::target_dir()?.join("release").join(format!("trice{}", env::consts::EXE_SUFFIX)))
}

/// Whether a browser can be shown to someone.
fn has_desktop() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_watched = !is_set("CI") && !is_set("SSH_CONNECTION");
    is_watched && (cfg!(any(target_os = "macos", windows)) || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY"))
}

/// Replaces this process, so that signals reach the server itself and the terminal waits for its orderly end.
#[cfg(unix)]
fn become_program(mut command: Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec()).with_context(|| format!("cannot start {}", command.get_program().display()))
}

#[cfg(not(unix))]
fn become_program(mut command: Command) -> Result<ExitCode> {
    let status = command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
