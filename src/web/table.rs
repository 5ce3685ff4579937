//! A table of texts for the page: its rows out, and the file with their labels behind them. Needs no device and no model.

use super::convert::{from_js, to_js, to_js_error};
use crate::error::{Error, Result};
use crate::rows::{Outcome, WholeRow, WholeTable, label_cells};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;

/// A table that is whole in memory.
#[wasm_bindgen]
pub struct Table(WholeTable);

/// `Table.open`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct TableRequest {
    /// The column of texts; absent, the one that looks most like it.
    column: Option<String>,
    /// Whether CSV and TSV begin with the names of their columns; absent, they do.
    header: Option<bool>,
}

/// What `Table.describe` gives.
#[derive(Serialize)]
struct Description<'a> {
    /// `lines`, `csv`, `tsv` or `jsonl`.
    format: &'static str,
    /// The columns that may hold the texts; none of lines.
    columns: &'a [String],
    column: Option<&'a str>,
    n_rows: usize,
}

/// A row on its way to JS: its text, or the line as it stands and why it has none.
#[derive(Serialize)]
struct RowView {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<WholeRow> for RowView {
    fn from(row: WholeRow) -> Self {
        match row.text {
            Ok(text) => Self { text, error: None },
            Err(reason) => Self { text: row.line, error: Some(reason) },
        }
    }
}

/// What came of a row: a label and its score, or an error.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RowResult {
    label: Option<String>,
    score: Option<f32>,
    error: Option<String>,
}

impl TryFrom<RowResult> for Outcome {
    type Error = Error;

    fn try_from(result: RowResult) -> Result<Self> {
        match (result.label, result.score, result.error) {
            (Some(label), Some(score), None) => Ok(Ok(label_cells(label, score))),
            (None, None, Some(error)) => Ok(Err(error)),
            _ => Err(Error::invalid("a row's result is {label, score} or {error}")),
        }
    }
}

#[wasm_bindgen]
impl Table {
    /// Finds the rows of a file. `options`: `{column?, header?}`.
    pub fn open(name: &str, bytes: &[u8], options: JsValue) -> Result<Self, JsValue> {
        console_error_panic_hook::set_once();
        let request: TableRequest = from_js("options", options).map_err(to_js_error)?;
        let has_header = request.header.unwrap_or(true);
        WholeTable::open(name, bytes, request.column.as_deref(), has_header).map(Self).map_err(to_js_error)
    }

    /// Throws where a file of so many bytes is too large to be opened.
    #[wasm_bindgen(js_name = checkSize)]
    pub fn check_size(name: &str, n_bytes: f64) -> Result<(), JsValue> {
        WholeTable::check_size(name, n_bytes as u64).map_err(to_js_error)
    }

    /// `{format, columns, column, n_rows}`.
    pub fn describe(&self) -> Result<JsValue, JsValue> {
        let (columns, column, n_rows) = (self.0.columns(), self.0.column(), self.0.n_rows());
        to_js(&Description { format: self.0.format().name(), columns, column, n_rows }).map_err(to_js_error)
    }

    /// `{text, error?}` of the rows from `start` up to `end`.
    pub fn rows(&self, start: usize, end: usize) -> Result<JsValue, JsValue> {
        to_js(&self.0.rows(start..end).map(RowView::from).collect::<Vec<_>>()).map_err(to_js_error)
    }

    /// The file with results behind its first rows, and no others: `[{label, score} | {error}]`, as many as are done.
    pub fn save(&self, results: JsValue) -> Result<Vec<u8>, JsValue> {
        self.written(results).map_err(to_js_error)
    }
}

impl Table {
    fn written(&self, results: JsValue) -> Result<Vec<u8>> {
        let results: Vec<RowResult> = from_js("results", results)?;
        let outcomes: Vec<Outcome> = results.into_iter().map(Outcome::try_from).collect::<Result<_>>()?;
        self.0.written(&outcomes)
    }
}
