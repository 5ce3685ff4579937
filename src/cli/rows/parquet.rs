//! Parquet files: reading them a window at a time, and the columns of results.

use super::{Done, Reader, WINDOW, Window};
use arrow_array::cast::AsArray as _;
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, Float32Array, ListArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use std::fmt::Display;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trice::rows::{Added, Cell, Kind, Outcome, Text, Wanted, find_column, not_empty};

/// Reads the rows of a file.
pub(super) struct ParquetReader {
    pub(super) path: PathBuf,
    /// The columns of the file.
    pub(super) schema: SchemaRef,
    /// Which of them holds the texts.
    text: usize,
    batches: ParquetRecordBatchReader,
    n_done: u64,
    n_rows: u64,
}

impl ParquetReader {
    pub(super) fn open(path: &Path, column: Wanted<'_>) -> anyhow::Result<Self> {
        let builder = builder(path)?;
        let schema = builder.schema().clone();
        let text = column_of_texts(&path.display().to_string(), &schema, column)?;
        let n_rows = builder.metadata().file_metadata().num_rows().unsigned_abs();
        let batches = builder.with_batch_size(WINDOW).build().map_err(|error| wrong(path, error))?;
        Ok(Self { path: path.to_owned(), schema, text, batches, n_done: 0, n_rows })
    }

    pub(super) fn columns(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    pub(super) fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Leaves out the rows of `other`, a file with further columns, after comparing them; false where they differ.
    pub(super) fn skip_same(&mut self, other: &Path) -> anyhow::Result<bool> {
        let own: Vec<usize> = (0..self.schema.fields().len()).collect();
        let theirs = builder(other)?;
        let n_rows = theirs.metadata().file_metadata().num_rows().unsigned_abs();
        if theirs.schema().fields().len() < own.len() || self.n_done + n_rows > self.n_rows {
            return Ok(false);
        }
        let mut theirs = theirs.with_batch_size(WINDOW).build().map_err(|error| wrong(other, error))?;
        let mut ours = batches(&self.path, self.n_done, Some(n_rows))?;
        while let Some(batch) = next(other, &mut theirs)? {
            let batch = batch.project(&own).map_err(|error| wrong(other, error))?;
            if next(&self.path, &mut ours)?.is_none_or(|own| own.columns() != batch.columns()) {
                return Ok(false);
            }
        }
        self.skip(n_rows)?;
        Ok(true)
    }
}

/// Rows from `offset` on.
fn batches(path: &Path, offset: u64, limit: Option<u64>) -> trice::Result<ParquetRecordBatchReader> {
    let mut builder = builder(path)?.with_batch_size(WINDOW).with_offset(offset as usize);
    if let Some(limit) = limit {
        builder = builder.with_limit(limit as usize);
    }
    builder.build().map_err(|error| wrong(path, error))
}

fn builder(path: &Path) -> trice::Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(|error| trice::Error::io(path.display().to_string(), error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| wrong(path, error))?;
    let mut columns = builder.metadata().row_groups().iter().flat_map(|group| group.columns());
    let other = |compression| matches!(compression, Compression::BROTLI(_) | Compression::LZO);
    match columns.find(|column| other(column.compression())) {
        Some(column) => {
            let what = format!("{} compressed as {:?}", path.display(), column.compression());
            Err(trice::Error::unsupported(what))
        }
        None => Ok(builder),
    }
}

fn next(path: &Path, batches: &mut ParquetRecordBatchReader) -> trice::Result<Option<RecordBatch>> {
    batches.next().transpose().map_err(|error| wrong(path, error))
}

/// What the libraries say of a file.
pub(super) fn wrong(path: &Path, error: impl Display) -> trice::Error {
    trice::Error::format(path.display().to_string(), error.to_string())
}

fn column_of_texts(table: &str, schema: &Schema, wanted: Wanted<'_>) -> anyhow::Result<usize> {
    let names: Vec<String> =
        schema.fields().iter().filter(|field| is_text(field.data_type())).map(|field| field.name().clone()).collect();
    let name = &names[find_column(table, wanted, &names, Vec::new)?];
    Ok(schema.index_of(name)?)
}

fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The strings of a column of texts.
fn strings(array: &dyn Array) -> Vec<Option<String>> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    match array.data_type() {
        DataType::LargeUtf8 => array.as_string::<i64>().iter().map(owned).collect(),
        DataType::Utf8View => array.as_string_view().iter().map(owned).collect(),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let values = strings(dictionary.values());
            if values.is_empty() {
                return vec![None; array.len()];
            }
            let keys = dictionary.normalized_keys();
            keys.into_iter().enumerate().map(|(i, key)| values[key].clone().filter(|_| array.is_valid(i))).collect()
        }
        _ => array.as_string::<i32>().iter().map(owned).collect(),
    }
}

impl Reader for ParquetReader {
    type Kept = RecordBatch;

    fn read(&mut self) -> anyhow::Result<Window<RecordBatch>> {
        let Some(batch) = next(&self.path, &mut self.batches)? else {
            return Ok(Window { texts: Vec::new(), kept: RecordBatch::new_empty(self.schema.clone()) });
        };
        self.n_done += batch.num_rows() as u64;
        let column = self.schema.field(self.text).name();
        let text = |text: Option<String>| -> Text { not_empty(text.ok_or_else(|| format!("{column} is null"))) };
        let texts = strings(batch.column(self.text)).into_iter().map(text).collect();
        Ok(Window { texts, kept: batch })
    }

    fn skip(&mut self, n: u64) -> anyhow::Result<()> {
        self.n_done += n;
        self.batches = batches(&self.path, self.n_done, None)?;
        Ok(())
    }

    fn is_live(&self) -> bool {
        false
    }

    fn done(&self) -> Done {
        Done { done: self.n_done, total: Some(self.n_rows) }
    }
}

/// The columns of a file with those of results behind them.
pub(super) fn with_results(schema: &Schema, added: &Added) -> SchemaRef {
    let field = |name: &str, kind| Arc::new(Field::new(name, kind, true));
    let results = added.columns.iter().map(|column| field(&column.name, data_type(column.kind)));
    let fields = schema.fields().iter().cloned().chain(results).chain([field(&added.error, DataType::Utf8)]);
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text | Kind::Json => DataType::Utf8,
        Kind::Number => DataType::Float32,
        Kind::Numbers => DataType::List(Arc::new(Field::new_list_field(DataType::Float32, true))),
    }
}

/// Rows with their results, as `schema` has them.
pub(super) fn joined(
    batch: &RecordBatch,
    schema: &SchemaRef,
    added: &Added,
    outcomes: &[Outcome],
) -> anyhow::Result<RecordBatch> {
    let mut columns = batch.columns().to_vec();
    for (i, column) in added.columns.iter().enumerate() {
        let cells = outcomes.iter().map(|outcome| outcome.as_ref().ok().and_then(|cells| cells.get(i)));
        columns.push(array(column.kind, cells));
    }
    let errors: StringArray = outcomes.iter().map(|outcome| outcome.as_ref().err()).collect();
    columns.push(Arc::new(errors));
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

/// A column of results; what is of another kind than the column is null.
fn array<'a>(kind: Kind, cells: impl Iterator<Item = Option<&'a Cell>>) -> ArrayRef {
    let text = |cell: Option<&'a Cell>| match cell {
        Some(Cell::Text(text) | Cell::Json(text)) => Some(text.as_str()),
        _ => None,
    };
    let number = |cell: Option<&Cell>| if let Some(Cell::Number(number)) = cell { Some(*number) } else { None };
    let numbers = |cell: Option<&'a Cell>| match cell {
        Some(Cell::Numbers(numbers)) => Some(numbers.iter().map(|number| Some(*number))),
        _ => None,
    };
    match kind {
        Kind::Text | Kind::Json => Arc::new(cells.map(text).collect::<StringArray>()),
        Kind::Number => Arc::new(cells.map(number).collect::<Float32Array>()),
        Kind::Numbers => Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(cells.map(numbers))),
    }
}
