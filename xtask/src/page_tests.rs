//! The page's tests: Node drives a real Chromium over the built site.

use crate::tally::{Tally, tally_tap};
use crate::{drivers, shell};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FOLDER: &str = "tests/web";

/// Runs every `tests/web/*.test.mjs` on the site in `site`.
pub(crate) fn run(site: &Path) -> Result<Tally> {
    install_packages()?;
    let chromium = drivers::chromium().context("no Chromium found")?;
    let tap = shell::target_dir()?.join("page-tests.tap");
    let mut command = Command::new("node");
    command.env("TRICE_CHROMIUM", chromium).env("TRICE_SITE", shell::absolute(site)?);
    // Two files at a time: pages wait as often as they compute.
    command.args(["--test", "--test-concurrency=2"]);
    // For people on the terminal, for counting into a file.
    command.args(["--test-reporter=spec", "--test-reporter-destination=stdout", "--test-reporter=tap"]);
    command.arg(format!("--test-reporter-destination={}", tap.display())).args(test_files()?);
    // What an earlier run left must not be counted as this one's.
    if tap.exists() {
        fs::remove_file(&tap).with_context(|| format!("cannot remove {}", tap.display()))?;
    }
    let outcome = shell::run(&mut command, "chatting and classifying on the page as a person would");
    let mut tally = tally_tap(&fs::read_to_string(&tap).unwrap_or_default());
    if outcome.is_err() && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

/// Whether `node` is there and knows the options used above (18.19, 20.10, 21).
pub(crate) fn node_is_new_enough() -> bool {
    shell::output(Command::new("node").arg("--version")).is_some_and(|version| is_new_enough(&version))
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.trim().trim_start_matches('v').split('.').map_while(|n| n.parse::<u32>().ok());
    matches!((numbers.next(), numbers.next()), (Some(18), Some(19..)) | (Some(20), Some(10..)) | (Some(21..), Some(_)))
}

/// The packages of the page's tests.
pub(crate) fn install_packages() -> Result<()> {
    npm_ci(FOLDER, "the page's tests use a few npm packages")
}

/// `npm ci` in `folder`, unless what the lock file names is already there.
pub(crate) fn npm_ci(folder: &str, why: &str) -> Result<()> {
    if has_packages(Path::new(folder), "package-lock.json") {
        return Ok(());
    }
    let mut npm = npm();
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(folder);
    shell::run(&mut npm, &format!("{why}: installing into {folder}"))
}

/// Whether `folder` has its packages: npm leaves a lock file in `node_modules`, newer than the `wanted` it went by.
pub(crate) fn has_packages(folder: &Path, wanted: &str) -> bool {
    let modified = |file: &str| fs::metadata(folder.join(file)).and_then(|file| file.modified()).ok();
    let installed = modified("node_modules/.package-lock.json");
    installed.is_some() && installed >= modified(wanted)
}

pub(crate) fn npm() -> Command {
    Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
}

fn test_files() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(FOLDER).with_context(|| format!("cannot list {FOLDER}"))?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = files.filter(|file| file.to_string_lossy().ends_with(".test.mjs")).collect();
    files.sort();
    if files.is_empty() {
        bail!("no *.test.mjs in {FOLDER}");
    }
    Ok(files)
}

#[cfg(test)]
mod page_tests_tests {
    use super::is_new_enough;

    #[test]
    fn judges_versions_of_node() {
        assert!(is_new_enough("v18.19.0\n") && is_new_enough("v20.10.0") && is_new_enough("v24.0.0"));
        assert!(
            !is_new_enough("v18.18.0")
                && !is_new_enough("v20.9.0")
                && !is_new_enough("v12.22.9")
                && !is_new_enough("node")
        );
    }
}
