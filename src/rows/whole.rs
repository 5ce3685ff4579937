//! A table that is whole in memory, such as one dropped on a page: any of its rows can be asked for, and the result is written at
//! once.

use super::columns::{Outcome, Text, Wanted, label_columns};
use super::format::Format;
use super::table::{RowWriter, TableOptions, TextTable};
use crate::error::{Error, Result};
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

/// Larger tables do not fit beside what is made of them.
const MAX_BYTES: u64 = 128 << 20;

/// A table, and where its rows are.
pub struct WholeTable {
    format: Format,
    bytes: Rc<[u8]>,
    table: TextTable,
    writer: RowWriter,
    /// Each with its line end.
    rows: Vec<Range<usize>>,
}

/// A row to look at.
pub struct WholeRow {
    /// Its text, or why it has none.
    pub text: Text,
    /// What stands there, for those that have no text.
    pub line: String,
}

impl WholeTable {
    /// Finds the rows of a table that will get a label and a score. The format is told by the name's extension; the column of
    /// texts is `column`, or else the one that looks most like it.
    ///
    /// # Errors
    /// `Format`, `Invalid`, `Unsupported` or `Limit`, naming the table.
    pub fn open(name: &str, bytes: &[u8], column: Option<&str>, has_header: bool) -> Result<Self> {
        let format = Format::of(Path::new(name));
        if format == Format::Parquet {
            return Err(Error::unsupported(format!("{name} in a page: `trice classify --file` reads Parquet")));
        }
        Self::check_size(name, bytes.len() as u64)?;
        let bytes: Rc<[u8]> = bytes.into();
        let wanted = Wanted::texts(column).or_longest();
        let options = TableOptions { format, has_header, wanted, results: Some(label_columns()), is_live: false };
        let mut table = TextTable::open(name, Box::new(Cursor::new(bytes.clone())), options)?;
        let writer = table.writer().ok_or_else(|| Error::invalid("a table without columns of results"))?;
        let mut rows = Vec::new();
        while let Some(len) = table.next_len()? {
            let end = table.n_bytes() as usize;
            rows.push(end - len..end);
        }
        Ok(Self { format, bytes, table, writer, rows })
    }

    /// Whether a table of so many bytes can be opened, before they are read.
    ///
    /// # Errors
    /// `Limit`, with what to do instead.
    pub fn check_size(name: &str, n_bytes: u64) -> Result<()> {
        if n_bytes <= MAX_BYTES {
            return Ok(());
        }
        let what = format!("{name} in a page (`trice classify --file` reads files of any size), bytes");
        Err(Error::Limit { what, needed: n_bytes, available: MAX_BYTES })
    }

    /// How rows stand in it.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The columns that may hold the texts; none of lines.
    pub fn columns(&self) -> &[String] {
        self.table.columns()
    }

    /// Which of them does.
    pub fn column(&self) -> Option<&str> {
        self.table.column()
    }

    /// How many rows there are.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// Rows of a range, as far as there are any.
    pub fn rows(&self, range: Range<usize>) -> impl Iterator<Item = WholeRow> {
        let n = self.n_rows();
        let rows = &self.rows[range.start.min(n)..range.end.clamp(range.start.min(n), n)];
        rows.iter().map(|row| {
            let row = &self.bytes[row.clone()];
            let (text, _) = self.table.parse(row);
            let line = if text.is_err() { String::from_utf8_lossy(row).trim().to_owned() } else { String::new() };
            WholeRow { text, line }
        })
    }

    /// The table with what came of its rows behind them: as many rows as there are `outcomes`. Rows without a text keep the
    /// reason why.
    ///
    /// # Errors
    /// `Invalid` for more outcomes than rows.
    pub fn written(&self, outcomes: &[Outcome]) -> Result<Vec<u8>> {
        if outcomes.len() > self.n_rows() {
            let (n, wanted, name) = (outcomes.len(), self.n_rows(), self.table.name());
            return Err(Error::invalid(format!("{name} has {wanted} rows: {n} results are too many")));
        }
        let mut out = self.writer.head().to_vec();
        for (row, outcome) in self.rows.iter().zip(outcomes) {
            let (text, kept) = self.table.parse(&self.bytes[row.clone()]);
            match text {
                Ok(_) => self.writer.write(&mut out, kept, outcome)?,
                Err(reason) => self.writer.write(&mut out, kept, &Err(reason))?,
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::columns::label_cells;
    use super::*;

    fn open(name: &str, text: &str) -> Result<WholeTable> {
        WholeTable::open(name, text.as_bytes(), None, true)
    }

    fn error(name: &str, text: &str) -> String {
        open(name, text).err().unwrap().to_string()
    }

    #[test]
    fn rows_are_found_between_blank_lines_and_written_as_they_were() {
        let table = open("t.csv", "\u{FEFF}id,text\r\n\r\n1,\"a\nb\"\r\n2\n3,c").unwrap();
        let texts: Vec<Text> = table.rows(0..9).map(|row| row.text).collect();
        let fault = "fields: 2 wanted and 1 found".to_owned();
        assert_eq!(texts, [Ok("a\nb".to_owned()), Err(fault.clone()), Ok("c".to_owned())]);
        assert_eq!(table.rows(1..2).map(|row| row.line).collect::<Vec<_>>(), ["2"]);
        for (start, end) in [(2, 1), (5, 2), (7, 9)] {
            assert_eq!(table.rows(start..end).count(), 0, "{start}..{end}");
        }
        let label = |label: &str| Ok(label_cells(label.to_owned(), 0.5));
        // A row without a text gets no label, whatever is said of it.
        let written = table.written(&[label("x"), label("y"), Err("too odd".to_owned())]).unwrap();
        let wanted = format!("\u{FEFF}id,text,label,score,error\r\n1,\"a\nb\",x,0.5,\r\n2,,,,{fault}\n3,c,,,too odd\n");
        assert_eq!(String::from_utf8(written).unwrap(), wanted);
        // A part of it is a table that `--resume` goes on with.
        let part = String::from_utf8(table.written(&[label("x")]).unwrap()).unwrap();
        assert!(wanted.starts_with(&part) && part.ends_with("x,0.5,\r\n"), "{part}");
        assert!(table.written(&vec![label("x"); 4]).is_err());
    }

    #[test]
    fn columns_are_guessed_chosen_and_numbered() {
        let text = "a,b\n1,quite long\n2,longer still\n";
        let table = open("t.csv", text).unwrap();
        assert_eq!((table.columns(), table.column()), (&["a".to_owned(), "b".to_owned()][..], Some("b")));
        let chosen = WholeTable::open("t.csv", text.as_bytes(), Some("a"), true).unwrap();
        assert_eq!((chosen.column(), chosen.n_rows()), (Some("a"), 2));
        let numbered = WholeTable::open("t.csv", text.as_bytes(), None, false).unwrap();
        assert_eq!((numbered.column(), numbered.n_rows()), (Some("2"), 3));
        let keys = open("t.jsonl", "{\"id\":\"1\",\"note\":\"long enough\",\"n\":3}\n").unwrap();
        assert_eq!((keys.columns().len(), keys.column()), (2, Some("note")));
        let lines = open("t.txt", "one\ntwo").unwrap();
        assert_eq!((lines.columns().len(), lines.column(), lines.n_rows()), (0, None, 2));
    }

    #[test]
    fn what_is_no_table_is_named_with_its_reason() {
        assert!(error("empty.csv", "").contains("there is no text in empty.csv"));
        assert!(error("head.csv", "id,text\n").contains("there is no text in head.csv"));
        assert!(error("n.jsonl", "{\"n\":1}\n{\"n\":2}\n").contains("n is not a string"));
        assert!(error("t.parquet", "PAR1").contains("trice classify --file"));
        assert!(error("picture.txt", "\u{89}PNG\r\n\0\0\0\rIHDR").contains("picture.txt"));
        assert!(WholeTable::check_size("long.txt", MAX_BYTES).is_ok());
        let long = WholeTable::check_size("long.txt", MAX_BYTES + 1).unwrap_err();
        assert!(matches!(long, Error::Limit { .. }), "{long}");
    }
}
