//! Running other programs: what is run is printed with the reason for it, and cargo's own variables are kept out.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Prints the title of the next part of the work.
pub(crate) fn heading(title: &str) {
    println!("\n== {title}");
}

/// Prints what is about to happen and why, and the command itself.
pub(crate) fn announce(command: &Command, why: &str) {
    println!("-> {why}\n   $ {}", as_typed(command));
}

/// Runs `command` on this terminal and fails unless it succeeds.
pub(crate) fn run(command: &mut Command, why: &str) -> Result<()> {
    announce(command, why);
    let status = command.status().with_context(|| format!("cannot start `{}`", as_typed(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", as_typed(command));
    }
    Ok(())
}

/// What `command` prints, or none when it cannot be started or fails. Its errors are not shown.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A cargo command without the variables that `cargo run` set for xtask itself: build scripts watch some of them (ring's
/// does) and would build again on every change between `cargo xtask test` and a plain `cargo test`.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if ours.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&*name);
        }
    }
    command
}

/// What `cargo metadata` says about this workspace.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let text = output(cargo().args(["metadata", "--format-version", "1", "--no-deps", "--offline"]))
        .context("`cargo metadata` failed")?;
    serde_json::from_str(&text).context("`cargo metadata` printed something else than JSON")
}

/// The folder that holds what cargo builds.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let folder = metadata()?["target_directory"].as_str().map(PathBuf::from);
    folder.context("`cargo metadata` names no target directory")
}

/// The first of `names` that is a program on PATH.
pub(crate) fn find_program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let places = names.iter().flat_map(|name| {
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        folders.iter().map(move |folder| folder.join(&file))
    });
    places.into_iter().find(|place| place.is_file())
}

/// The command as one would type it: its environment, program and arguments.
fn as_typed(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut words: Vec<String> =
        set.map(|(name, value)| format!("{}={}", name.to_string_lossy(), quoted(value))).collect();
    words.push(quoted(command.get_program()));
    words.extend(command.get_args().map(quoted));
    words.join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.into_owned() } else { format!("'{word}'") }
}

/// `path` as seen from the root of the file system: programs started elsewhere get it.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("no absolute path for {}", path.display()))
}

#[cfg(test)]
mod shell_tests {
    use super::*;

    #[test]
    fn shows_a_command_as_typed() {
        let mut command = Command::new("node");
        command.env("SHOTS", "/tmp/a b").env_remove("CI").args(["--test", ""]);
        assert_eq!(as_typed(&command), "SHOTS='/tmp/a b' node --test ''");
    }
}
