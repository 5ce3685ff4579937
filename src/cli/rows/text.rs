//! Tables that are text: what is common to lines, CSV and JSONL. A row is kept byte for byte, and its results are
//! written behind it.

use super::columns::Added;
use super::raw::{RawRows, line_end};
use super::{Done, Outcome, Reader, Text, WINDOW, Window};
use std::rc::Rc;

/// A window holds no more than this, so that long rows do not fill the memory.
const WINDOW_BYTES: usize = 4 << 20;

/// What is known of a format once the head of a table has been read.
pub(super) trait TextFormat {
    /// The text of a row (without its line end), and the row as it is written again: results can be written behind it.
    fn parse(&self, row: &[u8]) -> (Text, Vec<u8>);

    /// What stands above the rows, with its line end.
    fn header(&self, added: &Added) -> anyhow::Result<Option<Vec<u8>>>;

    /// Writes results behind a row.
    fn add(&self, row: &mut Vec<u8>, added: &Added, outcome: &Outcome) -> anyhow::Result<()>;
}

/// A row that will be written again.
pub(super) struct KeptRow {
    pub(super) bytes: Vec<u8>,
    pub(super) line_end: &'static [u8],
}

/// Reads the rows of a format.
pub(super) struct TextReader {
    pub(super) raw: RawRows,
    pub(super) format: Rc<dyn TextFormat>,
    pub(super) is_live: bool,
    /// Of a file.
    pub(super) total_bytes: Option<u64>,
}

impl TextReader {
    pub(super) fn next(&mut self) -> anyhow::Result<Option<(Text, KeptRow)>> {
        let Some(row) = self.raw.next()? else { return Ok(None) };
        let (text, bytes) = self.format.parse(super::raw::trimmed(&row));
        Ok(Some((not_empty(text), KeptRow { bytes, line_end: line_end(&row) })))
    }

    /// What will be kept of the next row.
    pub(super) fn look_ahead(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let row = self.raw.look_ahead(1, self.is_live)?.next();
        Ok(row.map(|row| self.format.parse(row).1))
    }
}

/// A text of spaces is none.
pub(super) fn not_empty(text: Text) -> Text {
    match text {
        Ok(text) if text.trim().is_empty() => Err("the text is empty".to_owned()),
        text => text,
    }
}

impl Reader for TextReader {
    type Kept = Vec<KeptRow>;

    fn read(&mut self) -> anyhow::Result<Window<Vec<KeptRow>>> {
        let mut window = Window { texts: Vec::new(), kept: Vec::new() };
        let mut n_bytes = 0;
        while window.texts.len() < WINDOW && n_bytes < WINDOW_BYTES {
            let would_wait = self.is_live && !self.raw.has_more();
            if would_wait && !window.texts.is_empty() {
                break;
            }
            let Some((text, row)) = self.next()? else { break };
            n_bytes += row.bytes.len();
            window.texts.push(text);
            window.kept.push(row);
        }
        Ok(window)
    }

    fn skip(&mut self, n: u64) -> anyhow::Result<()> {
        for _ in 0..n {
            self.raw.next()?;
        }
        Ok(())
    }

    fn is_live(&self) -> bool {
        self.is_live
    }

    fn done(&self) -> Done {
        Done { done: self.raw.n_bytes(), total: self.total_bytes }
    }
}
