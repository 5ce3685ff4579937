//! A table and what is common to its formats: rows come out with their texts, and go back with results behind them.

use super::columns::{Added, Column, Outcome, Text, Wanted};
use super::csv::Csv;
use super::format::Format;
use super::jsonl::{Jsonl, Keys};
use super::lines::Lines;
use super::raw::{RawRows, line_end, trimmed};
use crate::error::{Error, Result};
use std::io::Read;
use std::rc::Rc;

/// Rows that tell which columns there are, and whether texts are where they are looked for.
const FIRST_ROWS: usize = 256;

/// What is known of a format once the head of a table has been read.
pub(super) trait TextFormat {
    /// The columns that may hold the texts.
    fn columns(&self) -> &[String];

    /// Which of them does; none of lines.
    fn column(&self) -> Option<&str>;

    /// The text of a row (without its line end), and the row as it is written again: results can be written behind it.
    fn parse(&self, row: &[u8]) -> (Text, Vec<u8>);

    /// What stands above the rows, with its line end.
    fn header(&self, added: &Added) -> Option<Vec<u8>>;

    /// Writes results behind a row.
    fn add(&self, row: &mut Vec<u8>, added: &Added, outcome: &Outcome) -> Result<()>;
}

/// How a table is read, and what will be added to it.
pub struct TableOptions<'a> {
    /// How rows stand in it.
    pub format: Format,
    /// Whether CSV and TSV begin with the names of their columns.
    pub has_header: bool,
    /// The column to read.
    pub wanted: Wanted<'a>,
    /// Columns of results; none where rows will not be written again.
    pub results: Option<Vec<Column>>,
    /// Whether rows come when they come, so that looking ahead must not wait.
    pub is_live: bool,
}

/// A row that will be written again.
pub struct KeptRow {
    /// The row, so that results can be written behind it.
    pub bytes: Vec<u8>,
    line_end: &'static [u8],
}

/// A table whose head has been read.
pub struct TextTable {
    raw: RawRows,
    format: Rc<dyn TextFormat>,
    delimiter: Option<u8>,
    added: Option<Added>,
    is_live: bool,
}

impl TextTable {
    /// Reads the head of the table `name` and looks at its first rows.
    ///
    /// # Errors
    /// `Invalid` where there is no row or no telling which column is wanted; `Format` where no first row of a file has a text.
    pub fn open(name: &str, input: Box<dyn Read>, options: TableOptions<'_>) -> Result<Self> {
        let TableOptions { format, has_header, wanted, results, is_live } = options;
        let delimiter = format.delimiter();
        let mut raw = RawRows::new(name.to_owned(), input, delimiter)?;
        let header = if delimiter.is_some() && has_header { raw.next_row()? } else { None };
        let first: Vec<&[u8]> = raw.look_ahead(FIRST_ROWS, is_live)?.collect();
        if first.is_empty() {
            return Err(Error::invalid(format!("there is no text in {name}")));
        }
        let beside = |own: &[String]| results.map(|results| Added::beside(name, results, own)).transpose();
        let (format, added): (Rc<dyn TextFormat>, _) = match (format, delimiter) {
            (Format::Parquet, _) => {
                return Err(Error::unsupported(format!("{name} as text: Parquet is none")));
            }
            (_, Some(delimiter)) => {
                let csv = Csv::open(name, delimiter, header, &first, wanted)?;
                let added = beside(csv.columns())?;
                (Rc::new(csv), added)
            }
            (Format::Jsonl, _) => {
                let keys = Keys::of(&first);
                let added = beside(&keys.all)?;
                (Rc::new(Jsonl::open(name, keys, wanted, added.as_ref())?), added)
            }
            _ => (Rc::new(Lines), beside(&[])?),
        };
        if !is_live {
            check_first(name, &*format, &first)?;
        }
        Ok(Self { raw, format, delimiter, added, is_live })
    }

    /// What errors call the table.
    pub fn name(&self) -> &str {
        self.raw.name()
    }

    /// What stands between fields, where there are any.
    pub fn delimiter(&self) -> Option<u8> {
        self.delimiter
    }

    /// The columns that may hold the texts; none of lines.
    pub fn columns(&self) -> &[String] {
        self.format.columns()
    }

    /// Which of them does.
    pub fn column(&self) -> Option<&str> {
        self.format.column()
    }

    /// The columns that rows will get.
    pub fn added(&self) -> Option<&Added> {
        self.added.as_ref()
    }

    /// What writes the rows again; none where no columns were asked for.
    pub fn writer(&self) -> Option<RowWriter> {
        let added = self.added.clone()?;
        let head = [self.raw.mark(), &self.format.header(&added).unwrap_or_default()].concat();
        Some(RowWriter { format: self.format.clone(), added, head })
    }

    /// The next row.
    pub fn next_row(&mut self) -> Result<Option<(Text, KeptRow)>> {
        Ok(self.raw.next_row()?.map(|row| self.parse(&row)))
    }

    /// A row with its line end as its text and what is kept of it.
    pub(super) fn parse(&self, row: &[u8]) -> (Text, KeptRow) {
        let (text, bytes) = self.format.parse(trimmed(row));
        (not_empty(text), KeptRow { bytes, line_end: line_end(row) })
    }

    /// How many bytes the next row has with its line end; it ends where `n_bytes` are.
    pub(super) fn next_len(&mut self) -> Result<Option<usize>> {
        Ok(self.raw.next_row()?.map(|row| row.len()))
    }

    /// What will be kept of the next row.
    pub fn look_ahead(&mut self) -> Result<Option<Vec<u8>>> {
        let row = self.raw.look_ahead(1, self.is_live)?.next();
        Ok(row.map(|row| self.format.parse(row).1))
    }

    /// Leaves out `n` rows.
    pub fn skip(&mut self, n: u64) -> Result<()> {
        for _ in 0..n {
            self.raw.next_row()?;
        }
        Ok(())
    }

    /// Whether somebody may be waiting for an answer before the next row comes.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// Whether asking for a row would wait for it.
    pub fn would_wait(&self) -> bool {
        self.is_live && !self.raw.has_more()
    }

    /// Bytes up to the end of the row given out last; at the end, all.
    pub fn n_bytes(&self) -> u64 {
        self.raw.n_bytes()
    }
}

/// Writes the rows of a table with their results.
pub struct RowWriter {
    format: Rc<dyn TextFormat>,
    added: Added,
    head: Vec<u8>,
}

impl RowWriter {
    /// What stands before the first row: the mark that the table began with, and the header.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Adds a row with its results and its line end to `out`.
    pub fn write(&self, out: &mut Vec<u8>, row: KeptRow, outcome: &Outcome) -> Result<()> {
        let KeptRow { mut bytes, line_end } = row;
        self.format.add(&mut bytes, &self.added, outcome)?;
        out.extend(bytes);
        out.extend_from_slice(line_end);
        Ok(())
    }
}

/// A text of spaces is none.
pub fn not_empty(text: Text) -> Text {
    match text {
        Ok(text) if text.trim().is_empty() => Err("the text is empty".to_owned()),
        text => text,
    }
}

/// A file whose first rows are all bad is of another format, or its texts stand elsewhere.
fn check_first(name: &str, format: &dyn TextFormat, first: &[&[u8]]) -> Result<()> {
    let reasons: Option<Vec<String>> = first.iter().map(|row| not_empty(format.parse(row).0).err()).collect();
    match reasons {
        Some(reasons) => {
            let (n, reason) = (first.len(), &reasons[0]);
            Err(Error::format(name, format!("none of the first rows ({n}) has a text; row 1: {reason}")))
        }
        None => Ok(()),
    }
}
