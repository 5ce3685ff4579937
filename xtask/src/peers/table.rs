//! The table: as Markdown for people, as JSON for programs.

use crate::shell;
use serde_json::{Value, json};
use std::fmt::{self, Write};
use std::process::Command;
use std::{env, fs};

/// Tokens per second, one figure a round, or why there are none.
pub(super) type Outcome = Result<Vec<f64>, String>;

/// One comparison.
pub(super) struct Row {
    /// `native llvmpipe`.
    pub(super) place: String,
    pub(super) model: String,
    pub(super) test: String,
    pub(super) trice: Outcome,
    pub(super) peer: &'static str,
    pub(super) theirs: Outcome,
}

impl Row {
    /// Trice's speed over the peer's.
    pub(super) fn ratio(&self) -> Option<f64> {
        Some(median(self.trice.as_ref().ok()?)? / median(self.theirs.as_ref().ok()?)?)
    }
}

/// The middle of `values`, or the mean of the two in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    Some(if sorted.len() % 2 == 1 { upper } else { (sorted[half - 1] + upper) / 2.0 })
}

/// Three digits, as many as such a measurement is good for; of large numbers all before the point.
pub(super) fn number(value: f64) -> String {
    let digits = if value < 1.0 { 3 } else { 2usize.saturating_sub(value.log10() as usize) };
    format!("{value:.digits$}")
}

/// The rows as a Markdown table, with the reasons of what could not start below it.
pub(super) fn markdown(rows: &[Row]) -> String {
    let header = ["where", "model", "test", "trice", "peer", "its speed", "trice ÷ peer"].map(String::from);
    let mut reasons = Vec::new();
    let mut cells = vec![header];
    for row in rows {
        let ours = cell(&row.trice, &mut reasons);
        let theirs = cell(&row.theirs, &mut reasons);
        let ratio = row.ratio().map_or("-".into(), number);
        cells.push([row.place.clone(), row.model.clone(), row.test.clone(), ours, row.peer.into(), theirs, ratio]);
    }
    let mut text = aligned(&cells);
    for (i, reason) in reasons.iter().enumerate() {
        let _ = write!(text, "\n({}) {reason}", i + 1);
    }
    if !reasons.is_empty() {
        text.push('\n');
    }
    text
}

/// A median; of what could not start, the number of its reason.
fn cell(outcome: &Outcome, reasons: &mut Vec<String>) -> String {
    let reason = match outcome.as_deref().map(median) {
        Ok(Some(median)) => return number(median),
        Ok(None) => "it was never started",
        Err(reason) => reason,
    };
    let known = reasons.iter().position(|known| known == reason);
    let i = known.unwrap_or_else(|| {
        reasons.push(reason.into());
        reasons.len() - 1
    });
    format!("cannot start ({})", i + 1)
}

/// Columns of equal width; the first line is the header.
fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for (i, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if i == 0 {
            widths.iter().for_each(|width| text.push_str(&format!("|{}", "-".repeat(width + 2))));
            text.push_str("|\n");
        }
    }
    text
}

/// All rows with all runs.
pub(super) fn json(conditions: &Conditions, rows: &[Row]) -> Value {
    let runs = |outcome: &Outcome| {
        json!({ "median": outcome.as_deref().ok().and_then(median), "runs": outcome.as_ref().ok(),
                                           "cannot_start": outcome.as_ref().err() })
    };
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({ "where": row.place, "model": row.model, "test": row.test, "trice": runs(&row.trice),
                    "peer": row.peer, "theirs": runs(&row.theirs), "ratio": row.ratio() })
        })
        .collect();
    let Conditions { cpu, cores, load, commit } = conditions;
    json!({ "cpu": cpu, "cores": cores, "load": load, "commit": commit, "unit": "tokens/s", "rows": rows })
}

/// What the figures were measured under.
pub(super) struct Conditions {
    cpu: String,
    cores: usize,
    pub(super) load: String,
    commit: String,
}

impl Conditions {
    pub(super) fn now() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").ok().and_then(|text| Some(text.split(' ').next()?.to_owned()));
        let commit = shell::output(Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]));
        Self {
            cpu: cpu_name(&cpuinfo).unwrap_or(env::consts::ARCH).into(),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
            load: load.map_or("load average unknown".into(), |load| format!("load average {load}")),
            commit: commit.map_or("unknown".into(), |commit| commit.trim().into()),
        }
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} cores, {}, commit {}", self.cpu, self.cores, self.load, self.commit)
    }
}

/// The first processor's name in Linux's list of them.
fn cpu_name(cpuinfo: &str) -> Option<&str> {
    let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.trim() == "model name").map(|(_, name)| name.trim())
}

#[cfg(test)]
mod table_tests {
    use super::*;

    fn row(theirs: Outcome) -> Row {
        let (place, model, test) = ("native llvmpipe".into(), "15m Q4_0".into(), "tg16".into());
        Row { place, model, test, trice: Ok(vec![40.0, 30.0, 20.0]), peer: "llama.cpp CPU", theirs }
    }

    #[test]
    fn shows_medians_and_their_ratio() {
        let text = markdown(&[row(Ok(vec![10.0, 14.0]))]);
        let line = text.lines().last().unwrap();
        assert_eq!(line, "| native llvmpipe | 15m Q4_0 | tg16 | 30.0  | llama.cpp CPU | 12.0      | 2.50         |");
    }

    #[test]
    fn what_cannot_start_has_its_reason_below_once() {
        let rows = [row(Err("no f16".into())), row(Err("no f16".into())), row(Ok(Vec::new()))];
        let text = markdown(&rows);
        assert_eq!(text.matches("| cannot start (1) | -").count(), 2);
        assert!(text.ends_with("\n(1) no f16\n(2) it was never started\n"), "{text}");
        assert_eq!(json(&Conditions::now(), &rows)["rows"][0]["theirs"]["cannot_start"], "no f16");
    }

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!([1469.4, 331.6, 37.46, 2.218, 0.0812].map(number), ["1469", "332", "37.5", "2.22", "0.081"]);
    }

    #[test]
    fn finds_the_cpu() {
        assert_eq!(cpu_name("processor\t: 0\nmodel name\t: AMD EPYC\n"), Some("AMD EPYC"));
        assert_eq!(cpu_name(""), None);
    }
}
