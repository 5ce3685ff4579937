//! From what the command line says of a table to its rows, and where they go.

use super::indexed::IndexedWriter;
#[cfg(feature = "tables")]
use super::parquet::ParquetReader;
#[cfg(feature = "tables")]
use super::parquet_parts::{self, Parts};
use super::text_reader::TextReader;
use super::text_writer::{Sink, TextWriter};
use super::{Reader, Task, run};
use crate::cli::Usage;
use crate::cli::args::RowsArgs;
use crate::cli::context::{Context, Output};
use crate::cli::interrupt::Interrupt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use trice::rows::{Added, Column, Format, TableOptions, Text, TextTable, Wanted};

/// A table that is asked for, and what will be added to it.
pub(crate) struct Rows {
    args: RowsArgs,
    columns: Vec<Column>,
    /// None of a stream yet, which may show its first row late.
    table: Option<Table>,
}

/// A table, and how columns are added to it; not, where results are written without it.
enum Table {
    Text(TextReader),
    #[cfg(feature = "tables")]
    Parquet(ParquetReader, Option<Added>),
}

impl Rows {
    /// Opens the table, to which `columns` will be added, and looks at its first rows. Writes nothing yet.
    pub(crate) fn open(context: &Context, args: RowsArgs, columns: Vec<Column>) -> anyhow::Result<Self> {
        check(&args)?;
        let is_stream = args.path().is_none_or(|path| fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()));
        let is_late = is_stream && args.format() != Format::Parquet;
        let table = if is_late { None } else { Some(open_table(context, &args, &columns)?) };
        Ok(Self { args, columns, table })
    }

    /// Takes all rows through `task`.
    pub(crate) async fn run(
        self,
        context: &Context,
        task: &mut impl Task,
        interrupt: &Interrupt,
    ) -> anyhow::Result<()> {
        // What fails on any text is no fault of a row's.
        task.run(&["a"]).await?;
        // Nothing is written until the first window, so Ctrl-C may leave at once.
        interrupt.disarm();
        let table = self.table.map_or_else(|| open_table(context, &self.args, &self.columns), Ok)?;
        let out = self.args.output.as_deref();
        let resumed = out.filter(|_| self.args.resume);
        let (tally, ended) = match table {
            Table::Text(mut reader) => match reader.table.writer() {
                Some(rows) => {
                    let mut writer = match resumed {
                        Some(out) => TextWriter::resume(out, &mut reader.table, rows)?,
                        None => TextWriter::new(sink(out)?, rows)?,
                    };
                    run(context, &mut reader, &mut writer, task, interrupt).await
                }
                None => {
                    let mut writer = indexed(out, resumed, &mut reader, self.columns)?;
                    run(context, &mut reader, &mut writer, task, interrupt).await
                }
            },
            #[cfg(feature = "tables")]
            Table::Parquet(mut reader, Some(added)) => {
                let mut writer = match resumed {
                    Some(out) => Parts::resume(out, &mut reader, added)?,
                    None => Parts::new(out.unwrap_or(Path::new("")), &reader, added)?,
                };
                run(context, &mut reader, &mut writer, task, interrupt).await
            }
            #[cfg(feature = "tables")]
            Table::Parquet(mut reader, None) => {
                let mut writer = indexed(out, resumed, &mut reader, self.columns)?;
                run(context, &mut reader, &mut writer, task, interrupt).await
            }
        };
        tally.note(context, out, ended.is_ok());
        ended
    }
}

impl RowsArgs {
    /// A column of a file, all of it at once: what each row has there, or why it has nothing.
    pub(crate) fn read_column(&self, wanted: Wanted<'_>) -> anyhow::Result<Vec<Text>> {
        check(self)?;
        let table = match self.format() {
            Format::Parquet => open_parquet(self, wanted, None)?,
            format => open_text(format, self, wanted, None)?,
        };
        match table {
            Table::Text(mut reader) => read_all(&mut reader),
            #[cfg(feature = "tables")]
            Table::Parquet(mut reader, _) => read_all(&mut reader),
        }
    }
}

fn read_all(reader: &mut impl Reader) -> anyhow::Result<Vec<Text>> {
    let mut texts = Vec::new();
    loop {
        let window = reader.read()?.texts;
        if window.is_empty() {
            return Ok(texts);
        }
        texts.extend(window);
    }
}

impl Table {
    fn added(&self) -> Option<&Added> {
        match self {
            Self::Text(reader) => reader.table.added(),
            #[cfg(feature = "tables")]
            Self::Parquet(_, added) => added.as_ref(),
        }
    }
}

impl RowsArgs {
    /// The file to read; none is stdin.
    fn path(&self) -> Option<&Path> {
        self.file.as_deref().filter(|file| file.as_os_str() != "-")
    }

    fn format(&self) -> Format {
        self.format.unwrap_or_else(|| self.path().map_or(Format::Lines, Format::of))
    }
}

fn usage(what: impl Into<String>) -> anyhow::Error {
    Usage(what.into()).into()
}

/// Refuses what makes no sense, and whatever would lose a file.
fn check(args: &RowsArgs) -> anyhow::Result<()> {
    let (file, format) = (args.path(), args.format());
    if args.no_header && !matches!(format, Format::Csv | Format::Tsv) {
        return Err(usage("--no-header is about CSV and TSV"));
    }
    if args.column.is_some() && format == Format::Lines {
        return Err(usage("--column: plain lines have no columns (--format says that it is another format)"));
    }
    let Some(out) = &args.output else { return Ok(()) };
    let is_same = |file: &Path| Some(fs::canonicalize(file).ok()? == fs::canonicalize(out).ok()?);
    if file.and_then(is_same) == Some(true) {
        return Err(usage(format!("-o {}: that is the file to read", out.display())));
    }
    // A device may be written to again.
    if out.is_file() && !args.resume {
        return Err(usage(format!("{} is there already: --resume goes on with it; or remove it", out.display())));
    }
    Ok(())
}

/// Reads the head of a table, and says where its columns are called otherwise than usual.
fn open_table(context: &Context, args: &RowsArgs, columns: &[Column]) -> anyhow::Result<Table> {
    let added = (context.output == Output::Text).then(|| columns.to_vec());
    let wanted = Wanted::texts(args.column.as_deref());
    let table = match args.format() {
        Format::Parquet => open_parquet(args, wanted, added)?,
        format => open_text(format, args, wanted, added)?,
    };
    if let Some(added) = table.added().filter(|added| added.is_renamed()) {
        let names: Vec<&str> = added.names().collect();
        context.note(&format!("results are called {}: a column has a plain name already", names.join(", ")));
    }
    Ok(table)
}

/// The bytes of a file or of stdin.
struct Input {
    name: String,
    bytes: Box<dyn Read>,
    total_bytes: Option<u64>,
}

impl Input {
    fn open(file: Option<&Path>) -> trice::Result<Self> {
        let Some(path) = file else {
            return Ok(Self { name: "stdin".to_owned(), bytes: Box::new(io::stdin()), total_bytes: None });
        };
        let name = path.display().to_string();
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            Ok((file, metadata.is_file().then_some(metadata.len())))
        };
        match open() {
            Ok((file, total_bytes)) => Ok(Self { name, bytes: Box::new(file), total_bytes }),
            Err(error) => Err(trice::Error::io(name, error)),
        }
    }
}

fn open_text(
    format: Format,
    args: &RowsArgs,
    wanted: Wanted<'_>,
    results: Option<Vec<Column>>,
) -> anyhow::Result<Table> {
    let Input { name, bytes, total_bytes } = Input::open(args.path())?;
    let options = TableOptions { format, has_header: !args.no_header, wanted, results, is_live: total_bytes.is_none() };
    Ok(Table::Text(TextReader { table: TextTable::open(&name, bytes, options)?, total_bytes }))
}

#[cfg(feature = "tables")]
fn open_parquet(args: &RowsArgs, wanted: Wanted<'_>, columns: Option<Vec<Column>>) -> anyhow::Result<Table> {
    let Some(path) = args.path() else { return Err(usage("Parquet is read from its end: name it with --file")) };
    let reader = ParquetReader::open(path, wanted)?;
    if reader.n_rows() == 0 {
        return Err(usage(format!("there is no text in {}", path.display())));
    }
    let Some(columns) = columns else { return Ok(Table::Parquet(reader, None)) };
    let Some(out) = &args.output else { return Err(usage("Parquet cannot be printed: give -o OUT, or --json")) };
    let parts = parquet_parts::folder(out);
    if parts.exists() && !args.resume {
        let what = format!("{} holds the rows of an earlier run: --resume goes on; or remove it", parts.display());
        return Err(usage(what));
    }
    let added = Added::beside(&path.display().to_string(), columns, &reader.columns())?;
    Ok(Table::Parquet(reader, Some(added)))
}

#[cfg(not(feature = "tables"))]
fn open_parquet(_: &RowsArgs, _: Wanted<'_>, _: Option<Vec<Column>>) -> anyhow::Result<Table> {
    Err(trice::Error::unsupported("Parquet in this build (feature tables)").into())
}

fn sink(out: Option<&Path>) -> trice::Result<Sink> {
    out.map_or_else(|| Ok(Sink::stdout()), |out| Sink::file(out, 0))
}

fn indexed(
    out: Option<&Path>,
    resumed: Option<&Path>,
    reader: &mut impl Reader,
    columns: Vec<Column>,
) -> anyhow::Result<IndexedWriter> {
    match resumed {
        Some(out) => IndexedWriter::resume(out, reader, columns),
        None => IndexedWriter::new(sink(out)?, columns),
    }
}
