//! `cargo xtask test`: every test, on every driver, in the browser; then how many of each kind ran.

use crate::drivers::Driver;
use crate::machine::Consent;
use crate::shell::{self, cargo};
use crate::tally::{CargoReader, Tally};
use crate::{clients, drivers, machine, npm, page_tests, site};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

/// GPU tests carry this in their module's name, so that they can be run again on another driver.
const GPU_TESTS: &str = "gpu_";

/// Of those, what is about the host or about memory: commands and requests, the architectures against transformers, tables of texts, hundreds
/// of texts by every task, cuts of texts, answers by grammars, with drafts and many at once, matrices of a gigabyte. The kernels that they run are
/// other tests' matter, and software drivers are slow: each command compiles its model's shaders anew.
const ONE_DRIVER_TESTS: [&str; 15] = [
    "cli::",
    "clients::",
    "server::",
    "quantize::",
    "files::",
    "gpu_golden",
    "gpu_context",
    "gpu_wide",
    "gpu_resumed",
    "gpu_choices",
    "gpu_grammar",
    "gpu_chat_tasks",
    "gpu_batch::answers_together",
    "gpu_speculate",
    "gpu_tasks",
];

/// Sets the machine up and runs everything. A kind of test that fails does not keep the next from running.
pub(crate) fn run(consent: Consent) -> Result<ExitCode> {
    shell::heading("Setting the machine up");
    machine::ensure_wasm_target()?;
    machine::ensure_test_programs(consent)?;
    clients::install()?;

    shell::heading("Building the tests");
    shell::run(
        cargo().args(["test", "--package", "trice", "--package", "trice-markdown", "--no-run"]),
        "everything native, once",
    )?;

    let mut report = Report::default();
    shell::heading("Tests of these tools");
    let tools = run_cargo_tests(cargo().args(["test", "--package", "xtask", "--", "--show-output"]), "xtask itself")?;
    report.add("tools", tools.tally(|_| true));
    native(&mut report)?;

    shell::heading("The page in Chromium");
    // A page that cannot be built is a failed test, not a reason to hide the counts of all the others.
    let page = site::build_site(site::Profile::Dev).and_then(|site| {
        npm::build(&site)?;
        page_tests::run(&site)
    });
    report.add(
        "chromium",
        page.unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            Tally { failed: 1, ..Tally::default() }
        }),
    );
    Ok(report.finish())
}

/// All tests on the first driver, then the GPU tests again on each of the others.
fn native(report: &mut Report) -> Result<()> {
    let trice = shell::target_dir()?.join("debug").join(format!("trice{}", std::env::consts::EXE_SUFFIX));
    let drivers = drivers::to_test(&trice);
    let Some((first, others)) = drivers.split_first() else { bail!("no GPU driver to test on") };

    shell::heading(&format!("Native tests, those that need a GPU on {}", first.name));
    let mut command = cargo();
    first.apply(&mut command);
    command.args([
        "test",
        "--package",
        "trice",
        "--package",
        "trice-markdown",
        "--no-fail-fast",
        "--",
        "--show-output",
    ]);
    let ran = run_cargo_tests(&mut command, "formats, text, shader contract, kernels, models, command line, server")?;
    report.add("native", ran.tally(|name| !name.contains(GPU_TESTS)));
    report.add(&first.name, ran.tally(|name| name.contains(GPU_TESTS)));

    for driver in others {
        gpu_tests(driver, report)?;
    }
    if cfg!(target_os = "linux") && !drivers.iter().any(|driver| driver.name == "swiftshader") {
        eprintln!(
            "error: this Chromium brings no vk_swiftshader_icd.json: install Debian's `chromium` or Google Chrome"
        );
        report.add("swiftshader", Tally::default());
    }
    Ok(())
}

fn gpu_tests(driver: &Driver, report: &mut Report) -> Result<()> {
    shell::heading(&format!("GPU tests on {}", driver.name));
    let mut command = cargo();
    driver.apply(&mut command);
    command.args(["test", "--package", "trice", "--test", "it", "--", "--show-output", GPU_TESTS]);
    command.args(ONE_DRIVER_TESTS.iter().flat_map(|name| ["--skip", name]));
    let ran = run_cargo_tests(&mut command, "the same kernels and models on another driver")?;
    report.add(&driver.name, ran.tally(|_| true));
    Ok(())
}

/// Runs `cargo test`, shows what matters of its output and counts.
fn run_cargo_tests(command: &mut Command, why: &str) -> Result<CargoReader> {
    shell::announce(command, why);
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut reader = CargoReader::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("cannot read cargo's output")?;
        let line = String::from_utf8_lossy(&line);
        if reader.read(line.trim_end_matches('\r')) {
            println!("{line}");
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        reader.fail_unless_counted();
    }
    Ok(reader)
}

/// The counts of each kind of test, in the order they ran.
#[derive(Default)]
struct Report {
    parts: Vec<(String, Tally)>,
}

impl Report {
    fn add(&mut self, name: &str, tally: Tally) {
        self.parts.push((name.into(), tally));
    }

    /// Prints the summary; the total is the last line. A kind of which nothing ran counts as a failure.
    fn finish(&self) -> ExitCode {
        shell::heading("Summary");
        let mut total = Tally::default();
        for (name, tally) in &self.parts {
            let note = if tally.is_empty() { " (nothing ran: that is a failure)" } else { "" };
            println!("{name}: {tally}{note}");
            for skipped in &tally.skipped {
                println!("  skipped {skipped}");
            }
            total.add(tally);
        }
        println!("{total}");
        let is_good = total.failed == 0 && self.parts.iter().all(|(_, tally)| !tally.is_empty());
        if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
