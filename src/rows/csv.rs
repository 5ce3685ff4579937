//! Fields between commas or tabs. Results stand in further fields of the row. Rows come out with as many fields as the header,
//! whatever they had.

use super::columns::{Added, Outcome, Text, Wanted, find_column};
use super::lines::fields;
use super::raw::{csv_reader, line_end, trimmed};
use super::table::TextFormat;
use crate::error::Result;
use csv::{QuoteStyle, Terminator, WriterBuilder};
use csv_core::ReadRecordResult;
use std::cell::RefCell;

pub(super) struct Csv {
    delimiter: u8,
    reader: RefCell<csv_core::Reader>,
    /// The header as it stood, with its line end; none where the file has none.
    header: Option<Vec<u8>>,
    columns: Vec<String>,
    /// Which column holds the texts.
    text: usize,
}

/// The fields of a row.
struct Record {
    fields: Vec<Vec<u8>>,
    /// Whether all quotes are closed.
    is_closed: bool,
}

impl Csv {
    /// By the header; where there is none, by the first of the `first` rows, and columns are called 1, 2, ….
    pub(super) fn open(
        table: &str,
        delimiter: u8,
        header: Option<Vec<u8>>,
        first: &[&[u8]],
        wanted: Wanted<'_>,
    ) -> Result<Self> {
        let mut reader = csv_reader(delimiter);
        let columns: Vec<String> = match &header {
            Some(header) => {
                let names = record(&mut reader, trimmed(header)).fields;
                names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
            }
            None => {
                let n = first.first().map_or(0, |row| record(&mut reader, row).fields.len());
                (1..=n).map(|i| i.to_string()).collect()
            }
        };
        let text = find_column(table, wanted, &columns, || lengths(&mut reader, first, columns.len()))?;
        Ok(Self { delimiter, reader: RefCell::new(reader), header, columns, text })
    }

    /// Why the row has not the columns of the table.
    fn fault(&self, record: &Record) -> Option<String> {
        let (found, wanted) = (record.fields.len(), self.columns.len());
        if !record.is_closed {
            Some("a quote is opened and not closed".to_owned())
        } else if found != wanted {
            Some(format!("fields: {wanted} wanted and {found} found"))
        } else {
            None
        }
    }

    /// A row that has not the columns of the table, made to have them: missing fields are empty, and the last one holds what
    /// there is too much.
    fn mended(&self, mut record: Record) -> Vec<u8> {
        let n = self.columns.len();
        if record.fields.len() > n {
            let rest = record.fields.split_off(n - 1);
            record.fields.push(rest.join(&self.delimiter));
        }
        record.fields.resize(n, Vec::new());
        self.joined(&record.fields)
    }

    /// Fields as they stand in a row, without a line end.
    fn joined<F: AsRef<[u8]>>(&self, fields: &[F]) -> Vec<u8> {
        let mut builder = WriterBuilder::new();
        builder.delimiter(self.delimiter).quote_style(QuoteStyle::Necessary).terminator(Terminator::Any(b'\n'));
        let mut writer = builder.from_writer(Vec::new());
        // Writing to memory does not fail.
        let _ = writer.write_record(fields);
        let mut row = writer.into_inner().unwrap_or_default();
        row.pop();
        row
    }
}

/// The fields of a row that stands alone.
fn record(reader: &mut csv_core::Reader, row: &[u8]) -> Record {
    reader.reset();
    let line = [row, b"\n"].concat();
    let mut bytes = vec![0; line.len()];
    // A field is a byte long at least, with its delimiter.
    let mut ends = vec![0; line.len() + 1];
    let (result, _, n_bytes, n_ends) = reader.read_record(&line, &mut bytes, &mut ends);
    let is_closed = result == ReadRecordResult::Record;
    ends.truncate(n_ends);
    if !is_closed {
        // The line end that was given to it went into the field.
        ends.push(n_bytes - 1);
    }
    let mut start = 0;
    let fields = ends.iter().map(|end| bytes[std::mem::replace(&mut start, *end)..*end].to_vec()).collect();
    Record { fields, is_closed }
}

/// Bytes of each of `n` columns in all of the rows.
fn lengths(reader: &mut csv_core::Reader, rows: &[&[u8]], n: usize) -> Vec<usize> {
    let mut lengths = vec![0; n];
    for row in rows {
        let fields = record(reader, row).fields;
        lengths.iter_mut().zip(&fields).for_each(|(length, field)| *length += field.len());
    }
    lengths
}

impl TextFormat for Csv {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn column(&self) -> Option<&str> {
        Some(&self.columns[self.text])
    }

    fn parse(&self, row: &[u8]) -> (Text, Vec<u8>) {
        let record = record(&mut self.reader.borrow_mut(), row);
        if let Some(fault) = self.fault(&record) {
            return (Err(fault), self.mended(record));
        }
        let text = std::str::from_utf8(&record.fields[self.text]).map(str::to_owned);
        (text.map_err(|_| format!("column {} is not UTF-8", self.columns[self.text])), row.to_vec())
    }

    fn header(&self, added: &Added) -> Option<Vec<u8>> {
        let header = self.header.as_ref()?;
        let names: Vec<&str> = added.names().collect();
        Some([trimmed(header), &[self.delimiter], &self.joined(&names), line_end(header)].concat())
    }

    fn add(&self, row: &mut Vec<u8>, added: &Added, outcome: &Outcome) -> Result<()> {
        row.push(self.delimiter);
        row.extend(self.joined(&fields(added, outcome)?));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str]) -> Csv {
        let columns = columns.iter().map(ToString::to_string).collect();
        Csv { delimiter: b',', reader: RefCell::new(csv_reader(b',')), header: None, columns, text: 1 }
    }

    fn parsed(row: &str) -> (Text, String) {
        let (text, kept) = table(&["id", "text"]).parse(row.as_bytes());
        (text, String::from_utf8(kept).unwrap())
    }

    #[test]
    fn a_good_row_stays_as_it_is() {
        assert_eq!(parsed(r#"1,"a ""b"", c""#), (Ok(r#"a "b", c"#.to_owned()), r#"1,"a ""b"", c""#.to_owned()));
        assert_eq!(parsed("\"1\", plain"), (Ok(" plain".to_owned()), "\"1\", plain".to_owned()));
        assert_eq!(parsed("1,"), (Ok(String::new()), "1,".to_owned()));
    }

    #[test]
    fn a_row_with_other_fields_is_made_to_fit() {
        let kept = |row| parsed(row).1;
        assert_eq!(kept("1"), "1,");
        assert_eq!(kept("1,a,b,c"), r#"1,"a,b,c""#);
        assert_eq!(kept("1,\"a,\nb"), "1,\"a,\nb\"");
        for row in ["1", "1,a,b", "1,\"a"] {
            assert!(parsed(row).0.is_err(), "{row}");
        }
    }

    #[test]
    fn rows_end_outside_of_quotes() {
        use super::super::raw::RawRows;
        let text = "id,text\r\n\r\n1,\"a\r\nb\"\n2,c";
        let mut rows = RawRows::new("t.csv".to_owned(), Box::new(text.as_bytes()), Some(b',')).unwrap();
        let mut next = || rows.next_row().unwrap().map(|row| String::from_utf8(row).unwrap());
        assert_eq!(next().as_deref(), Some("id,text\r\n"));
        assert_eq!(next().as_deref(), Some("1,\"a\r\nb\"\n"));
        assert_eq!(next().as_deref(), Some("2,c"));
        assert_eq!(next(), None);
    }
}
