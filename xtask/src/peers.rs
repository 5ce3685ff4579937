//! `cargo xtask bench --peers`: Trice and its peers, in turn, on the same files of one machine, as one table.
//!
//! The peers' harnesses are not ours and stay outside this repository, in `peers` of the folder `TRICE_SHARED` (default
//! `../shared`). They and what they need are set up under `target/peers`, once.

mod contest;
mod harness;
mod table;
mod workshop;

use crate::machine::Consent;
use crate::{drivers, serve, shell};
use anyhow::{Context, Result, bail};
use contest::{Contest, Subject};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use table::{Conditions, Outcome, Row};
use workshop::Workshop;

/// What the command line says about this comparison.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// Only rows that hold all of these words.
    pub(crate) only: Vec<String>,
    /// A file that also gets all rows.
    pub(crate) json: Option<PathBuf>,
    /// How often each program has its turn.
    pub(crate) rounds: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { only: Vec::new(), json: None, rounds: 3 }
    }
}

impl Options {
    /// Takes `--only WORD`, `--json FILE` or `--rounds N`.
    pub(crate) fn set(&mut self, name: &str, value: String) -> Result<()> {
        match name {
            "--only" => self.only.push(value),
            "--json" => self.json = Some(value.into()),
            _ => {
                let rounds = value.parse().ok().filter(|rounds| *rounds > 0);
                self.rounds = rounds.with_context(|| format!("`{name}` wants a number above 0, not `{value}`"))?;
            }
        }
        Ok(())
    }
}

/// Sets the peers up, lets all take turns, and prints the table.
pub(crate) fn run(options: &Options, consent: Consent) -> Result<ExitCode> {
    shell::heading("The program");
    let trice = serve::build_program()?;
    let mut contests = contest::all(&drivers::to_test(&trice));
    let names: Vec<String> = contests.iter().flat_map(Contest::names).collect();
    contests.iter_mut().for_each(|contest| contest.keep(&options.only));
    contests.retain(|contest| !contest.rows.is_empty());
    if contests.is_empty() {
        bail!("no row holds {}; the rows are\n  {}", options.only.join(" and "), names.join("\n  "));
    }

    shell::heading("Setting the peers up");
    let mut workshop = Workshop::new(trice, consent)?;
    let ready: Vec<(Contest, Vec<Entrant>)> = contests
        .into_iter()
        .map(|contest| {
            let entrants = contest.subjects().into_iter().map(|subject| Entrant::new(subject, &contest, &mut workshop));
            let entrants = entrants.collect();
            (contest, entrants)
        })
        .collect();

    let before = Conditions::now();
    let mut rows = Vec::new();
    for (contest, mut entrants) in ready {
        let names: Vec<String> = entrants.iter().map(|entrant| entrant.subject.to_string()).collect();
        shell::heading(&format!("{}: {}", contest.model, names.join(", ")));
        take_turns(&contest, &mut entrants, options.rounds);
        rows.extend(contest.rows.iter().map(|(ours, peer, test)| {
            let runs = |subject: &Subject| outcome(&entrants, subject, *test as usize);
            Row {
                place: ours.place(),
                model: contest.model.to_string(),
                test: contest.counts.name(*test),
                trice: runs(ours),
                peer: peer.name(),
                theirs: runs(peer),
            }
        }));
    }

    shell::heading("Tokens per second");
    println!("{before}\nMedians; rounds: {}, in each of which every program ran once, in turn.\n", options.rounds);
    print!("{}", table::markdown(&rows));
    println!("\nAfterwards: {}", Conditions::now().load);
    if let Some(file) = &options.json {
        let json = serde_json::to_string_pretty(&table::json(&before, &rows))?;
        fs::write(file, json + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    // Without a single ratio there was no comparison.
    let is_compared = rows.iter().any(|row| row.ratio().is_some());
    Ok(if is_compared { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A program that takes part: ready to start, or the reason why not.
struct Entrant {
    subject: Subject,
    command: Result<Command, String>,
    /// Tokens per second by test; one number a round.
    rates: [Vec<f64>; 2],
}

impl Entrant {
    fn new(subject: Subject, contest: &Contest, workshop: &mut Workshop) -> Self {
        let command = harness::command(&subject, &contest.model, contest.counts, workshop);
        Self { subject, command, rates: Default::default() }
    }

    /// One launch. A program that failed is not started again.
    fn take_turn(&mut self, contest: &Contest, is_first: bool) {
        let Ok(command) = &mut self.command else { return };
        if is_first {
            shell::announce(command, &format!("measuring {}", self.subject));
        }
        let rates = harness::launch(command).and_then(|line| harness::rates(&self.subject, contest.counts, &line));
        match rates {
            Ok(rates) => {
                let shown =
                    rates.iter().map(|(test, rate)| format!("{} {}", contest.counts.name(*test), table::number(*rate)));
                println!("   {}: {}", self.subject, shown.collect::<Vec<_>>().join(", "));
                rates.into_iter().for_each(|(test, rate)| self.rates[test as usize].push(rate));
            }
            Err(reason) => {
                println!("   {}: cannot start: {reason}", self.subject);
                self.command = Err(reason);
            }
        }
    }
}

/// A B C A B C …, so that what else the machine does hits all alike.
fn take_turns(contest: &Contest, entrants: &mut [Entrant], rounds: usize) {
    for round in 0..rounds {
        for entrant in &mut *entrants {
            entrant.take_turn(contest, round == 0);
        }
    }
}

fn outcome(entrants: &[Entrant], subject: &Subject, test: usize) -> Outcome {
    match entrants.iter().find(|entrant| entrant.subject == *subject) {
        Some(Entrant { command: Ok(_), rates, .. }) => Ok(rates[test].clone()),
        Some(Entrant { command: Err(reason), .. }) => Err(reason.clone()),
        None => Err("it did not take part".into()),
    }
}
