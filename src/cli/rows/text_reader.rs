//! Reads tables that are text a window at a time.

use super::{Done, Reader, WINDOW, Window};
use trice::rows::{KeptRow, TextTable};

/// A window holds no more than this, so that long rows do not fill the memory.
const WINDOW_BYTES: usize = 4 << 20;

/// A table that is text, of a file or a stream.
pub(super) struct TextReader {
    pub(super) table: TextTable,
    /// Of a file.
    pub(super) total_bytes: Option<u64>,
}

impl Reader for TextReader {
    type Kept = Vec<KeptRow>;

    fn read(&mut self) -> anyhow::Result<Window<Vec<KeptRow>>> {
        let mut window = Window { texts: Vec::new(), kept: Vec::new() };
        let mut n_bytes = 0;
        while window.texts.len() < WINDOW && n_bytes < WINDOW_BYTES {
            if self.table.would_wait() && !window.texts.is_empty() {
                break;
            }
            let Some((text, row)) = self.table.next_row()? else { break };
            n_bytes += row.bytes.len();
            window.texts.push(text);
            window.kept.push(row);
        }
        Ok(window)
    }

    fn skip(&mut self, n: u64) -> anyhow::Result<()> {
        Ok(self.table.skip(n)?)
    }

    fn is_live(&self) -> bool {
        self.table.is_live()
    }

    fn done(&self) -> Done {
        Done { done: self.table.n_bytes(), total: self.total_bytes }
    }
}
