//! The bytes of rows: where one ends and the next begins.

use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};

/// Longer rows are refused: no text is, and a forgotten quote would read the whole file.
const MAX_ROW_BYTES: usize = 16 << 20;

/// What is read from the system at once. A pipe holds as much.
const BUFFER_BYTES: usize = 64 << 10;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Where rows end.
enum Split {
    Lines,
    /// At line ends outside quotes.
    Csv(Box<csv_core::Reader>),
}

/// Reads fields between `delimiter`s. Rows end at line feeds alone: what may stand before one is taken off with it.
pub(super) fn csv_reader(delimiter: u8) -> csv_core::Reader {
    csv_core::ReaderBuilder::new().delimiter(delimiter).terminator(csv_core::Terminator::Any(b'\n')).build()
}

impl Split {
    /// A row begins.
    fn begin(&mut self) {
        if let Self::Csv(reader) = self {
            reader.reset();
        }
    }

    /// Whether the row that `lines` of a text belong to ends with its last line: asked of one line after the other.
    fn ends(&mut self, line: &[u8]) -> bool {
        let Self::Csv(reader) = self else { return true };
        let (mut rest, mut fields, mut ends) = (line, [0; 1024], [0; 64]);
        while !rest.is_empty() {
            let (result, n_read, _, _) = reader.read_record(rest, &mut fields, &mut ends);
            if result == csv_core::ReadRecordResult::Record {
                return true;
            }
            rest = &rest[n_read..];
        }
        false
    }

    /// Whether there is no row in it. A field of spaces is one.
    fn is_blank(&self, row: &[u8]) -> bool {
        match self {
            Self::Lines => row.iter().all(u8::is_ascii_whitespace),
            Self::Csv(_) => trimmed(row).is_empty(),
        }
    }
}

/// The rows of a stream or a file.
pub struct RawRows {
    /// What errors call it.
    name: String,
    input: BufReader<Box<dyn Read>>,
    split: Split,
    /// Rows that were read to find out what is in them, and will be given out; each with the bytes read up to its end.
    ahead: VecDeque<(Vec<u8>, u64)>,
    /// Bytes read so far.
    n_read: u64,
    /// Bytes up to the end of the row given out last.
    n_bytes: u64,
    has_bom: bool,
    /// Whether the row read last ended as rows do, and not because the input did.
    is_whole: bool,
}

impl RawRows {
    /// Lines, or rows of fields between delimiters. Takes off the mark that some programs begin a file with.
    pub fn new(name: String, input: Box<dyn Read>, delimiter: Option<u8>) -> Result<Self> {
        let split = delimiter.map_or(Split::Lines, |delimiter| Split::Csv(Box::new(csv_reader(delimiter))));
        let input = BufReader::with_capacity(BUFFER_BYTES, input);
        let mut rows =
            Self { name, input, split, ahead: VecDeque::new(), n_read: 0, n_bytes: 0, has_bom: false, is_whole: true };
        let start = rows.input.fill_buf().map_err(|error| Error::io(&rows.name, error))?;
        if start.starts_with(b"\xFF\xFE") || start.starts_with(b"\xFE\xFF") {
            return Err(Error::unsupported(format!("{} in UTF-16: save it as UTF-8", rows.name)));
        }
        if start.contains(&0) {
            return Err(Error::format(&rows.name, "there are zero bytes in it, so it is no text"));
        }
        if start.starts_with(BOM) {
            rows.input.consume(BOM.len());
            (rows.n_read, rows.n_bytes) = (BOM.len() as u64, BOM.len() as u64);
            rows.has_bom = true;
        }
        Ok(rows)
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands before the first row.
    pub fn mark(&self) -> &'static [u8] {
        if self.has_bom { BOM } else { b"" }
    }

    /// Bytes up to the end of the row given out last; at the end, all.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Whether a row may be there already, so that asking for it does not wait.
    pub(super) fn has_more(&self) -> bool {
        !self.ahead.is_empty() || self.has_line()
    }

    fn has_line(&self) -> bool {
        self.input.buffer().contains(&b'\n')
    }

    /// Whether the row read last is all there.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Looks at the next rows, at most `n` of them: of a stream those that have come.
    pub(super) fn look_ahead(&mut self, n: usize, is_live: bool) -> Result<impl Iterator<Item = &[u8]>> {
        while self.ahead.len() < n {
            let would_wait = is_live && !self.ahead.is_empty() && !self.has_line();
            match if would_wait { None } else { self.read()? } {
                Some(row) => self.ahead.push_back((row, self.n_read)),
                None => break,
            }
        }
        Ok(self.ahead.iter().map(|(row, _)| trimmed(row)))
    }

    /// The next row with its line end; blank lines are none.
    pub fn next_row(&mut self) -> Result<Option<Vec<u8>>> {
        if let Some((row, end)) = self.ahead.pop_front() {
            self.n_bytes = end;
            return Ok(Some(row));
        }
        let row = self.read()?;
        self.n_bytes = self.n_read;
        Ok(row)
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let mut row = Vec::new();
            self.split.begin();
            let mut is_ended = false;
            while !is_ended {
                let start = row.len();
                self.read_line(&mut row).map_err(|error| Error::io(&self.name, error))?;
                is_ended = self.split.ends(&row[start..]) || trimmed(&row).is_empty();
                if row.len() == start {
                    break;
                }
            }
            self.n_read += row.len() as u64;
            self.is_whole = is_ended && row.ends_with(b"\n");
            if row.is_empty() {
                return Ok(None);
            }
            if !self.split.is_blank(&row) {
                return Ok(Some(row));
            }
        }
    }

    /// Adds the next line, its end with it.
    fn read_line(&mut self, row: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let buffer = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            let end = buffer.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
            let n = end.unwrap_or(buffer.len());
            row.extend_from_slice(&buffer[..n]);
            self.input.consume(n);
            if row.len() > MAX_ROW_BYTES {
                let what = format!("the row at byte {} is longer than {} MiB", self.n_read, MAX_ROW_BYTES >> 20);
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            if end.is_some() || n == 0 {
                return Ok(());
            }
        }
    }
}

/// A row without its line end.
pub fn trimmed(row: &[u8]) -> &[u8] {
    let row = row.strip_suffix(b"\n").unwrap_or(row);
    row.strip_suffix(b"\r").unwrap_or(row)
}

/// A row's line end; one that lacks it gets the usual one.
pub(super) fn line_end(row: &[u8]) -> &'static [u8] {
    if row.ends_with(b"\r\n") { b"\r\n" } else { b"\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: Vec<u8>) -> Result<RawRows> {
        RawRows::new("t.txt".to_owned(), Box::new(io::Cursor::new(text)), None)
    }

    #[test]
    fn a_row_has_a_longest_length() {
        let line = |n: usize| [b"short\n".to_vec(), vec![b'a'; n - 1], b"\nshort".to_vec()].concat();
        let mut long = rows(line(MAX_ROW_BYTES)).unwrap();
        let lengths: Vec<usize> = std::iter::from_fn(|| long.next_row().unwrap()).map(|row| row.len()).collect();
        assert_eq!(lengths, [6, MAX_ROW_BYTES, 5]);
        let mut longer = rows(line(MAX_ROW_BYTES + 1)).unwrap();
        assert!(longer.next_row().unwrap().is_some());
        let error = longer.next_row().unwrap_err().to_string();
        assert!(error.contains("t.txt") && error.contains("byte 6"), "{error}");
    }

    #[test]
    fn a_row_is_whole_with_its_line_end_alone() {
        let mut lines = rows(b"one\n\n \ntwo".to_vec()).unwrap();
        assert_eq!((lines.next_row().unwrap().as_deref(), lines.is_whole()), (Some(&b"one\n"[..]), true));
        assert_eq!(lines.n_bytes(), 4);
        assert_eq!((lines.next_row().unwrap().as_deref(), lines.is_whole()), (Some(&b"two"[..]), false));
        assert_eq!((lines.next_row().unwrap(), lines.n_bytes()), (None, 10));
    }
}
