//! The formats that tables come in.

use std::path::Path;

/// How rows stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Format {
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
    pub fn of(path: &Path) -> Self {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("csv") => Self::Csv,
            Some("tsv" | "tab") => Self::Tsv,
            Some("jsonl" | "ndjson" | "json") => Self::Jsonl,
            Some("parquet" | "pq") => Self::Parquet,
            _ => Self::Lines,
        }
    }

    /// What programs call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    /// What stands between fields, where there are any.
    pub fn delimiter(self) -> Option<u8> {
        match self {
            Self::Csv => Some(b','),
            Self::Tsv => Some(b'\t'),
            Self::Lines | Self::Jsonl | Self::Parquet => None,
        }
    }
}
