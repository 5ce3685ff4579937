//! Writes tables that are text, to a file or to stdout, and finds out how far an earlier run has come.

use super::Writer;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use trice::rows::{KeptRow, Outcome, RawRows, RowWriter, TextTable, trimmed};

/// Where lines go.
pub(super) struct Sink {
    out: Box<dyn Write>,
    /// None of stdout.
    path: Option<PathBuf>,
}

impl Sink {
    pub(super) fn stdout() -> Self {
        Self { out: Box::new(io::stdout()), path: None }
    }

    /// A file that goes on at byte `end`; what stands behind it is cut off.
    pub(super) fn file(path: &Path, end: u64) -> trice::Result<Self> {
        let open = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            // A pipe or a device has no length.
            if file.metadata()?.is_file() {
                file.set_len(end)?;
                file.seek(SeekFrom::Start(end))?;
            }
            Ok(file)
        };
        let file = open().map_err(|error| trice::Error::io(path.display().to_string(), error))?;
        Ok(Self { out: Box::new(file), path: Some(path.to_owned()) })
    }

    pub(super) fn is_on_screen(&self) -> bool {
        self.path.is_none() && io::stdout().is_terminal()
    }

    /// Writes whole lines, and does not hold them back.
    pub(super) fn write(&mut self, lines: &[u8]) -> anyhow::Result<()> {
        let written = self.out.write_all(lines).and_then(|()| self.out.flush());
        // Stdout's errors stay what they are: a closed pipe is none.
        match (&self.path, written) {
            (Some(path), Err(error)) => Err(trice::Error::io(path.display().to_string(), error).into()),
            (_, written) => Ok(written?),
        }
    }
}

/// Writes the rows of a text format.
pub(super) struct TextWriter {
    sink: Sink,
    rows: RowWriter,
    n_before: u64,
}

impl TextWriter {
    /// Writes what stands above the rows.
    pub(super) fn new(mut sink: Sink, rows: RowWriter) -> anyhow::Result<Self> {
        sink.write(rows.head())?;
        Ok(Self { sink, rows, n_before: 0 })
    }

    /// Goes on behind the last whole row of `path`, after comparing all of them with the rows of `table`.
    pub(super) fn resume(path: &Path, table: &mut TextTable, rows: RowWriter) -> anyhow::Result<Self> {
        let Some(old) = Old::open(path, table.delimiter(), rows.head())? else {
            return Self::new(Sink::file(path, 0)?, rows);
        };
        let (n_before, end) = old.compare(table)?;
        Ok(Self { sink: Sink::file(path, end)?, rows, n_before })
    }
}

/// What an earlier run has written.
struct Old {
    rows: RawRows,
}

impl Old {
    /// None where the head is not all there.
    fn open(path: &Path, delimiter: Option<u8>, head: &[u8]) -> anyhow::Result<Option<Self>> {
        let name = path.display().to_string();
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| trice::Error::io(&name, error))?,
        };
        let mut rows = RawRows::new(name, Box::new(file), delimiter)?;
        let mut found = rows.mark().to_vec();
        if found.len() < head.len() {
            found.extend(rows.next_row()?.unwrap_or_default());
        }
        if found == head {
            Ok(Some(Self { rows }))
        } else if head.starts_with(&found) {
            Ok(None)
        } else {
            let what = format!("--resume: the header of {} is another than this command writes", rows.name());
            Err(trice::Error::invalid(what).into())
        }
    }

    /// How many rows are whole, and where the last of them ends. `table` stands behind it then.
    fn compare(mut self, table: &mut TextTable) -> anyhow::Result<(u64, u64)> {
        let (mut n_rows, mut end) = (0, self.rows.n_bytes());
        while let Some(row) = self.rows.next_row()? {
            let (row, is_whole) = (trimmed(&row), self.rows.is_whole());
            let is_same = table.look_ahead()?.is_some_and(|kept| {
                // A row that was cut off may lack a part of what was kept.
                row.starts_with(&kept) || (!is_whole && kept.starts_with(row))
            });
            if !is_same {
                let (out, table, n) = (self.rows.name(), table.name(), n_rows + 1);
                let what = format!("--resume: row {n} of {out} does not come from row {n} of {table}");
                return Err(trice::Error::invalid(what).into());
            }
            if is_whole {
                table.next_row()?;
                (n_rows, end) = (n_rows + 1, self.rows.n_bytes());
            }
        }
        Ok((n_rows, end))
    }
}

impl Writer<Vec<KeptRow>> for TextWriter {
    fn is_on_screen(&self) -> bool {
        self.sink.is_on_screen()
    }

    fn n_before(&self) -> u64 {
        self.n_before
    }

    fn write(&mut self, kept: Vec<KeptRow>, outcomes: &[Outcome]) -> anyhow::Result<()> {
        let mut lines = Vec::new();
        for (row, outcome) in kept.into_iter().zip(outcomes) {
            self.rows.write(&mut lines, row, outcome)?;
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
