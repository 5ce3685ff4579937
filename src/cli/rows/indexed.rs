//! `--json`: a line `{"index": …}` for each row, whatever format it came from, with its results and nothing else of it.

use super::text_writer::Sink;
use super::{Reader, Writer};
use std::fs::File;
use std::io;
use std::path::Path;
use trice::rows::{Added, Column, Outcome, RawRows, add_keys};

pub(super) struct IndexedWriter {
    sink: Sink,
    added: Added,
    n_before: u64,
    n_rows: u64,
}

impl IndexedWriter {
    pub(super) fn new(sink: Sink, columns: Vec<Column>) -> anyhow::Result<Self> {
        Ok(Self { sink, added: Added::beside("", columns, &[])?, n_before: 0, n_rows: 0 })
    }

    /// Goes on behind the last whole line of `path`. Lines hold nothing of the rows to compare.
    pub(super) fn resume(path: &Path, reader: &mut impl Reader, columns: Vec<Column>) -> anyhow::Result<Self> {
        let (n_before, end) = count(path)?;
        reader.skip(n_before)?;
        let new = Self::new(Sink::file(path, end)?, columns)?;
        Ok(Self { n_before, n_rows: n_before, ..new })
    }
}

/// How many lines are whole, and where the last of them ends.
fn count(path: &Path) -> anyhow::Result<(u64, u64)> {
    let name = path.display().to_string();
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        file => file.map_err(|error| trice::Error::io(&name, error))?,
    };
    let mut rows = RawRows::new(name, Box::new(file), None)?;
    let (mut n_rows, mut end) = (0, 0);
    while let Some(row) = rows.next_row()? {
        let start = format!("{{\"index\":{n_rows},").into_bytes();
        // A line that was cut off may lack a part of that.
        if !row.starts_with(&start) && (rows.is_whole() || !start.starts_with(&row)) {
            let what = format!("--resume: line {} of {} is not the result of row {n_rows}", n_rows + 1, rows.name());
            return Err(trice::Error::invalid(what).into());
        }
        if rows.is_whole() {
            (n_rows, end) = (n_rows + 1, rows.n_bytes());
        }
    }
    Ok((n_rows, end))
}

impl<K> Writer<K> for IndexedWriter {
    fn is_on_screen(&self) -> bool {
        self.sink.is_on_screen()
    }

    fn n_before(&self) -> u64 {
        self.n_before
    }

    fn write(&mut self, _: K, outcomes: &[Outcome]) -> anyhow::Result<()> {
        let mut lines = Vec::new();
        for outcome in outcomes {
            let mut line = format!("{{\"index\":{}", self.n_rows).into_bytes();
            add_keys(&mut line, &self.added, outcome)?;
            lines.extend(line);
            lines.push(b'\n');
            self.n_rows += 1;
        }
        self.sink.write(&lines)
    }

    fn suspend(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}
