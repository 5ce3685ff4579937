//! `cargo xtask`: sets the machine up, then runs, tests, packs or measures Trice. It needs nothing but a Rust toolchain
//! and git beforehand, says what it does and why, and does nothing twice.

mod bench;
mod clients;
mod drivers;
mod machine;
mod npm;
mod page_tests;
mod peers;
mod serve;
mod shell;
mod site;
mod tally;
mod tests;

use anyhow::{Context, Result, bail};
use machine::Consent;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND [--yes] [-- ARGUMENTS]

  run     set the machine up, build the program and the page, serve the page on http://127.0.0.1:8080
          (ARGUMENTS go to `trice serve`, as in `cargo xtask run -- --port 9000`)
  test    set the machine up and run every test: tools, native, each Vulkan driver, the page in Chromium
  web     build the static site into dist/site and the npm package into dist/npm
          --dev: faster to build, larger and slower to run
  bench   measure speed on this machine (ARGUMENTS go to `trice bench`, as in `cargo xtask bench -- -r 3`)
          --peers: compare with llama.cpp, wllama and transformers.js on the same files, in turn
          --only WORD: only rows that hold it (may be repeated); --json FILE: the rows as JSON too;
          --rounds N: turns of each program, default 3

  --yes   install missing system packages without asking (so does CI=true)
";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Request {
    command: String,
    consent: Consent,
    profile: site::Profile,
    /// `bench --peers`.
    peers: Option<peers::Options>,
    /// What stands after `--`.
    rest: Vec<String>,
}

impl Request {
    /// Reads the words after `cargo xtask`; none when they ask for help.
    fn parse(words: impl IntoIterator<Item = String>) -> Result<Option<Self>> {
        let mut request = Self {
            command: String::new(),
            consent: Consent::Ask,
            profile: site::Profile::Web,
            peers: None,
            rest: Vec::new(),
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--yes" | "-y" => request.consent = Consent::Given,
                "--dev" => request.profile = site::Profile::Dev,
                "--peers" => request.peers = Some(peers::Options::default()),
                "--only" | "--json" | "--rounds" => {
                    let options =
                        request.peers.as_mut().with_context(|| format!("`{word}` belongs behind `--peers`"))?;
                    options.set(&word, words.next().with_context(|| format!("`{word}` wants a value"))?)?;
                }
                "--" => request.rest = words.by_ref().collect(),
                "help" | "--help" | "-h" => return Ok(None),
                "run" | "test" | "web" | "bench" if request.command.is_empty() => request.command = word,
                _ => bail!("unexpected argument `{word}`\n\n{USAGE}"),
            }
        }
        if request.profile == site::Profile::Dev && request.command != "web" {
            bail!("`--dev` belongs to `cargo xtask web`\n\n{USAGE}");
        }
        if request.peers.is_some() && (request.command != "bench" || !request.rest.is_empty()) {
            bail!("`--peers` belongs to `cargo xtask bench`, without arguments for `trice bench`\n\n{USAGE}");
        }
        Ok((!request.command.is_empty()).then_some(request))
    }
}

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<ExitCode> {
    let Some(mut request) = Request::parse(std::env::args().skip(1))? else {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        request.consent = Consent::Given;
    }
    enter_repository()?;
    match request.command.as_str() {
        "run" => serve::run(&request.rest),
        "test" => tests::run(request.consent),
        "bench" => match &request.peers {
            Some(options) => peers::run(options, request.consent),
            None => bench::run(&request.rest),
        },
        _ => site::build_all(request.profile).map(|()| ExitCode::SUCCESS),
    }
}

/// Makes the repository's root the working directory: cargo names xtask's own folder in the environment.
fn enter_repository() -> Result<()> {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").context("start this as `cargo xtask …`")?;
    let root = Path::new(&own).parent().context("xtask's folder has no parent")?;
    std::env::set_current_dir(root).with_context(|| format!("cannot enter {}", root.display()))
}

#[cfg(test)]
mod request_tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Request>> {
        Request::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn reads_options_on_either_side_of_the_command() {
        let request = parse("--yes run -- --port 9000").unwrap().unwrap();
        assert_eq!((request.command.as_str(), request.consent), ("run", Consent::Given));
        assert_eq!(request.rest, ["--port", "9000"]);
        assert_eq!(parse("web --dev").unwrap().unwrap().profile, site::Profile::Dev);
    }

    #[test]
    fn reads_what_is_compared() {
        let request =
            parse("bench --peers --only native --only tg16 --rounds 1 --json rows.json --yes").unwrap().unwrap();
        let only = vec!["native".into(), "tg16".into()];
        assert_eq!(request.peers, Some(peers::Options { only, json: Some("rows.json".into()), rounds: 1 }));
        assert_eq!(parse("bench").unwrap().unwrap().peers, None);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let peers = ["test --peers", "bench --only tg", "bench --peers --rounds 0", "bench --peers -- -r 3"];
        for line in ["walk", "run web", "run --port 9000", "test --dev"].into_iter().chain(peers) {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn nothing_or_help_asks_for_help() {
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse("run --help").unwrap(), None);
    }
}
