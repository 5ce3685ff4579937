//! The formats that tables come in.

use clap::ValueEnum;
use std::path::Path;

/// How rows stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A text per line
    Lines,
    /// Fields between commas, a header first
    Csv,
    /// Fields between tabs, a header first
    Tsv,
    /// A JSON object per line
    Jsonl,
    /// Apache Parquet
    Parquet,
}

impl Format {
    /// By the extension of a file; lines, where it says nothing.
    pub(super) fn of(path: &Path) -> Self {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("csv") => Self::Csv,
            Some("tsv" | "tab") => Self::Tsv,
            Some("jsonl" | "ndjson" | "json") => Self::Jsonl,
            Some("parquet" | "pq") => Self::Parquet,
            _ => Self::Lines,
        }
    }
}
