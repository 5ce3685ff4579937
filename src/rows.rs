//! Tables of texts that are text themselves (lines, CSV, JSONL): rows are read, and written again byte for byte with columns of
//! results behind them. Knows neither tasks nor files: bytes come from any reader.

mod columns;
mod csv;
mod format;
mod jsonl;
mod lines;
mod raw;
mod table;
mod whole;

pub use columns::{Added, Cell, Column, Kind, Outcome, Text, Wanted, find_column, label_cells, label_columns};
pub use format::Format;
pub use jsonl::add_keys;
pub use raw::{RawRows, trimmed};
pub use table::{KeptRow, RowWriter, TableOptions, TextTable, not_empty};
pub use whole::{WholeRow, WholeTable};
