//! Writes Parquet. Such a file can be read once its end is written and not before, so rows go to parts first, each a file of
//! its own in the folder `OUT.parts`; `--resume` goes on behind the last whole one. In the end the parts are joined, row
//! group by row group without being decoded, and go.

use super::parquet::{ParquetReader, joined, with_results, wrong};
use super::{Reader as _, Writer};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trice::rows::{Added, Outcome};

/// What a killed run loses at most, and the size of row groups.
const PART_ROWS: usize = 16_384;

pub(super) struct Parts {
    out: PathBuf,
    folder: PathBuf,
    schema: SchemaRef,
    added: Added,
    n_parts: usize,
    n_before: u64,
    /// The part being written, under a name that says so.
    open: Option<ArrowWriter<File>>,
    /// Whether an earlier run has joined them.
    is_joined: bool,
}

impl Parts {
    pub(super) fn new(out: &Path, reader: &ParquetReader, added: Added) -> trice::Result<Self> {
        let folder = folder(out);
        fs::create_dir_all(&folder).map_err(|error| at(&folder, error))?;
        let schema = with_results(&reader.schema, &added);
        let out = out.to_owned();
        Ok(Self { out, folder, schema, added, n_parts: 0, n_before: 0, open: None, is_joined: false })
    }

    /// Goes on behind the last whole part, after comparing the rows of all parts with those of `reader`.
    pub(super) fn resume(out: &Path, reader: &mut ParquetReader, added: Added) -> anyhow::Result<Self> {
        let mut parts = Self::new(out, reader, added)?;
        if out.exists() {
            skip(reader, out)?;
            if reader.done().done != reader.n_rows() {
                let (out, table) = (out.display(), reader.path.display());
                return Err(
                    trice::Error::invalid(format!("--resume: {out} is whole but has fewer rows than {table}")).into()
                );
            }
            parts.is_joined = true;
        }
        while !parts.is_joined && parts.part(parts.n_parts).exists() {
            skip(reader, &parts.part(parts.n_parts))?;
            parts.n_parts += 1;
        }
        parts.n_before = reader.done().done;
        Ok(parts)
    }

    fn part(&self, i: usize) -> PathBuf {
        self.folder.join(format!("{i:06}.parquet"))
    }

    /// The name of what is not whole yet.
    fn unfinished(&self) -> PathBuf {
        self.folder.join("unfinished.parquet")
    }

    fn close(&mut self) -> trice::Result<()> {
        let Some(part) = self.open.take() else { return Ok(()) };
        let path = self.unfinished();
        part.close().map_err(|error| wrong(&path, error))?;
        fs::rename(&path, self.part(self.n_parts)).map_err(|error| at(&path, error))?;
        self.n_parts += 1;
        Ok(())
    }

    /// All parts as one file under the name asked for.
    fn join(&self) -> trice::Result<()> {
        let path = self.unfinished();
        let parts: Vec<PathBuf> = (0..self.n_parts).map(|i| self.part(i)).collect();
        join(&parts, &path)?;
        fs::rename(&path, &self.out).map_err(|error| at(&path, error))
    }

    /// Takes away the parts, and the folder if nobody has put anything else there.
    fn clear(&self) {
        let _ = fs::remove_file(self.unfinished());
        for path in (0..).map(|i| self.part(i)).take_while(|path| path.exists()) {
            let _ = fs::remove_file(path);
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Where the parts of `out` are.
pub(super) fn folder(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".parts");
    PathBuf::from(name)
}

fn skip(reader: &mut ParquetReader, part: &Path) -> anyhow::Result<()> {
    if reader.skip_same(part)? {
        return Ok(());
    }
    let (part, table) = (part.display(), reader.path.display());
    Err(trice::Error::invalid(format!("--resume: {part} does not come from the rows of {table}")).into())
}

fn at(path: &Path, error: io::Error) -> trice::Error {
    trice::Error::io(path.display().to_string(), error)
}

fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder().set_compression(Compression::SNAPPY)
}

/// Writes the row groups of `parts`, which have the same columns, into one file.
fn join(parts: &[PathBuf], out: &Path) -> trice::Result<()> {
    let open = |path: &Path| -> trice::Result<_> {
        let file = File::open(path).map_err(|error| at(path, error))?;
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).map_err(|error| wrong(path, error))?;
        Ok((file, metadata))
    };
    let mut writer = None;
    for path in parts {
        let (file, metadata) = open(path)?;
        let writer = match &mut writer {
            Some(writer) => writer,
            none => {
                let metadata = metadata.file_metadata();
                // The Arrow types of columns, and what other programs have noted.
                let properties = properties().set_key_value_metadata(metadata.key_value_metadata().cloned()).build();
                let out = File::create(out).map_err(|error| at(out, error))?;
                let new =
                    SerializedFileWriter::new(out, metadata.schema_descr().root_schema_ptr(), Arc::new(properties));
                none.insert(new.map_err(|error| wrong(path, error))?)
            }
        };
        append(writer, &file, metadata.row_groups()).map_err(|error| wrong(path, error))?;
    }
    writer.map_or(Ok(()), |writer| writer.close().map(|_| ())).map_err(|error| wrong(out, error))
}

fn append(
    writer: &mut SerializedFileWriter<File>,
    file: &File,
    groups: &[RowGroupMetaData],
) -> Result<(), ParquetError> {
    for group in groups {
        let mut to = writer.next_row_group()?;
        for column in group.columns() {
            let close = ColumnCloseResult {
                bytes_written: column.compressed_size().unsigned_abs(),
                rows_written: group.num_rows().unsigned_abs(),
                metadata: column.clone(),
                bloom_filter: None,
                column_index: None,
                offset_index: None,
            };
            to.append_column(file, close)?;
        }
        to.close()?;
    }
    Ok(())
}

impl Writer<RecordBatch> for Parts {
    fn is_on_screen(&self) -> bool {
        false
    }

    fn n_before(&self) -> u64 {
        self.n_before
    }

    fn write(&mut self, kept: RecordBatch, outcomes: &[Outcome]) -> anyhow::Result<()> {
        let rows = joined(&kept, &self.schema, &self.added, outcomes)?;
        let path = self.unfinished();
        let part = match &mut self.open {
            Some(part) => part,
            none => {
                let file = File::create(&path).map_err(|error| at(&path, error))?;
                let part = ArrowWriter::try_new(file, self.schema.clone(), Some(properties().build()));
                none.insert(part.map_err(|error| wrong(&path, error))?)
            }
        };
        part.write(&rows).map_err(|error| wrong(&path, error))?;
        if part.in_progress_rows() >= PART_ROWS {
            self.close()?;
        }
        Ok(())
    }

    fn suspend(&mut self) -> anyhow::Result<()> {
        self.close()?;
        if self.n_parts == 0 {
            self.clear();
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.close()?;
        if !self.is_joined {
            self.join()?;
        }
        self.clear();
        Ok(())
    }
}
