//! Counting tests from what the test programs print, so that the summary says what really ran.

use std::fmt;

/// How the tests of one kind ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// Name and reason of each.
    pub(crate) skipped: Vec<String>,
}

impl Tally {
    pub(crate) fn is_empty(&self) -> bool {
        self.passed + self.failed == 0
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped.iter().cloned());
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped.len())
    }
}

/// Reads what `cargo test -- --show-output` prints, line by line.
///
/// The output of passed tests is needed (a test that had to skip says `skipped: why` there) but not worth showing, so
/// [`Self::read`] says which lines to show.
#[derive(Debug, Default)]
pub(crate) struct CargoReader {
    /// `(test, outcome)`: `ok`, `FAILED` or `ignored`.
    outcomes: Vec<(String, String)>,
    /// `(test, reason)` from the output of passed tests.
    skips: Vec<(String, String)>,
    /// Inside the output of passed tests: the name of the test that printed it.
    shown_for: Option<String>,
}

impl CargoReader {
    /// Takes the next line; true when it is worth showing.
    pub(crate) fn read(&mut self, line: &str) -> bool {
        match line {
            "successes:" => self.shown_for = Some(String::new()),
            "failures:" => self.shown_for = None,
            _ if line.starts_with("test result:") => self.shown_for = None,
            _ => {}
        }
        if self.shown_for.is_some() {
            self.read_captured(line);
            return false;
        }
        if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) {
            self.outcomes.push((name.trim_end_matches(" - should panic").into(), outcome.into()));
        }
        true
    }

    fn read_captured(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.shown_for = Some(name.into());
        } else if let (Some(reason), Some(test)) = (line.strip_prefix("skipped:"), &self.shown_for) {
            let is_new = self.skips.last().is_none_or(|(name, _)| name != test);
            if is_new {
                self.skips.push((test.clone(), reason.trim().into()));
            }
        }
    }

    /// Called when cargo itself failed: a program that crashed or did not compile leaves no `FAILED` line behind.
    pub(crate) fn fail_unless_counted(&mut self) {
        if !self.outcomes.iter().any(|(_, outcome)| outcome == "FAILED") {
            self.outcomes.push(("a test program that crashed or did not build".into(), "FAILED".into()));
        }
    }

    /// The tests for which `wanted(name)` holds.
    pub(crate) fn tally(&self, wanted: impl Fn(&str) -> bool) -> Tally {
        let mut tally = Tally::default();
        for (name, outcome) in self.outcomes.iter().filter(|(name, _)| wanted(name)) {
            let skip = self.skips.iter().find(|(skipped, _)| skipped == name);
            match (outcome.as_str(), skip) {
                ("ok", Some((_, reason))) => tally.skipped.push(format!("{name}: {reason}")),
                ("ok", None) => tally.passed += 1,
                (other, _) if other.starts_with("ignored") => tally.skipped.push(format!("{name}: {other}")),
                _ => tally.failed += 1,
            }
        }
        tally
    }
}

/// Counts the TAP that `node --test` writes. Its own totals at the end are taken; the names of skipped tests come from
/// the lines above them.
pub(crate) fn tally_tap(tap: &str) -> Tally {
    let total = |name: &str| {
        let lines = tap.lines().rev().filter_map(|line| line.strip_prefix("# ")?.strip_prefix(name));
        lines.filter_map(|count| count.trim().parse::<usize>().ok()).next().unwrap_or(0)
    };
    let skipped = tap.lines().filter_map(|line| {
        let (_, described) = line.trim_start().strip_prefix("ok ")?.split_once(" - ")?;
        let (name, reason) = described.split_once(" # SKIP")?;
        Some(format!("{name}: {}", reason.trim()))
    });
    Tally { passed: total("pass "), failed: total("fail ") + total("cancelled "), skipped: skipped.collect() }
}

#[cfg(test)]
mod tally_tests {
    use super::*;

    const CARGO: &str = "
running 4 tests
test blocks::q4_0 ... ok
test gpu_norm::rms ... ok
test gpu_model::minilm ... ok
test gpu_model::slow ... ignored, takes an hour
test blocks::bad ... FAILED

successes:

---- gpu_model::minilm stdout ----
skipped: TRICE_SHARED is not there
skipped: said twice
test invented ... ok

successes:
    blocks::q4_0

failures:

---- blocks::bad stdout ----
boom

test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
test src/lib.rs - load (line 3) ... ok
";

    fn read(text: &str) -> (CargoReader, Vec<&str>) {
        let mut reader = CargoReader::default();
        let shown = text.lines().filter(|line| reader.read(line)).collect();
        (reader, shown)
    }

    #[test]
    fn counts_cargo_tests_by_kind() {
        let (reader, _) = read(CARGO);
        let gpu = reader.tally(|name| name.contains("gpu_"));
        assert_eq!((gpu.passed, gpu.failed), (1, 0));
        assert_eq!(
            gpu.skipped,
            ["gpu_model::minilm: TRICE_SHARED is not there", "gpu_model::slow: ignored, takes an hour"]
        );
        let rest = reader.tally(|name| !name.contains("gpu_"));
        assert_eq!((rest.passed, rest.failed, rest.skipped.len()), (2, 1, 0));
    }

    #[test]
    fn shows_failures_but_not_what_passed_tests_printed() {
        let (_, shown) = read(CARGO);
        assert!(shown.contains(&"boom") && shown.contains(&"test blocks::bad ... FAILED"));
        assert!(!shown.contains(&"test invented ... ok") && !shown.contains(&"skipped: said twice"));
    }

    #[test]
    fn counts_tap() {
        let tap = "TAP version 13\n    ok 1 - opens\n    ok 2 - golden # SKIP TRICE_SHARED is not there\n\
                   # pass is what we want\n# tests 5\n# pass 3\n# fail 1\n# cancelled 0\n# skipped 1\n";
        let tally = tally_tap(tap);
        assert_eq!((tally.passed, tally.failed), (3, 1));
        assert_eq!(tally.skipped, ["golden: TRICE_SHARED is not there"]);
        assert!(tally_tap("").is_empty());
    }
}
