//! Writing Parquet: the same batches give the same bytes, and a file is there whole or not at all.
//!
//! A file is written beside its final place under a temporary name, synced, renamed over it, and the
//! folder synced; a crash leaves the old file or the new one.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use tempfile::NamedTempFile;

use crate::error::{Result, TableError};

/// Rows of a row group: what a reader decodes at once.
const ROW_GROUP_ROWS: usize = 1 << 20;

/// Bytes of a row group that is ended before it has so many rows.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// A Parquet file that is being written.
pub struct ParquetWriter {
    path: PathBuf,
    writer: ArrowWriter<BufWriter<NamedTempFile>>,
    rows: u64,
}

impl ParquetWriter {
    /// Begins a file, to stand at `path` once [`ParquetWriter::finish`] has been called.
    ///
    /// # Errors
    /// When the folder cannot be written to or a type of the schema has no Parquet form.
    pub fn create(path: &Path, schema: SchemaRef) -> Result<Self> {
        let temporary = temporary(folder(path)).map_err(|error| TableError::io(path, error))?;
        // Beside the schema in Arrow's own form, where other readers look for it.
        let mut metadata: Vec<KeyValue> =
            schema.metadata().iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
        metadata.sort_by(|a, b| a.key.cmp(&b.key));
        let properties = WriterProperties::builder()
            .set_key_value_metadata((!metadata.is_empty()).then_some(metadata))
            .set_compression(Compression::SNAPPY)
            // No version: the bytes stay the same over releases of this program.
            .set_created_by("rondo".to_owned())
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(BufWriter::new(temporary), schema, Some(properties))
            .map_err(|error| refused(path, &error))?;
        Ok(Self { path: path.to_owned(), writer, rows: 0 })
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// When its columns are not those of the schema, or the disk is full.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(|error| refused(&self.path, &error))?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Ends a row group whose columns have become large, so that memory does not grow with wide rows.
    ///
    /// # Errors
    /// When the disk is full.
    pub(crate) fn relieve(&mut self) -> Result<()> {
        if self.writer.in_progress_size() < ROW_GROUP_BYTES {
            return Ok(());
        }
        self.writer.flush().map_err(|error| refused(&self.path, &error))
    }

    /// The bytes that are in the file by now; those of the row group at hand come when it ends.
    pub fn written(&self) -> u64 {
        self.writer.bytes_written() as u64
    }

    /// Completes the file, puts it in its place and returns the number of its rows.
    ///
    /// # Errors
    /// When the file system refuses; then whatever stood at the path is unchanged.
    pub fn finish(self) -> Result<u64> {
        let Self { path, writer, rows } = self;
        let io = |error| TableError::io(&path, error);
        let buffered = writer.into_inner().map_err(|error| refused(&path, &error))?;
        let temporary = buffered.into_inner().map_err(|error| io(error.into_error()))?;
        temporary.as_file().sync_all().map_err(io)?;
        temporary.persist(&path).map_err(|error| io(error.error))?;
        sync_folder(folder(&path)).map_err(io)?;
        Ok(rows)
    }
}

impl std::fmt::Debug for ParquetWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetWriter")
            .field("path", &self.path)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// Writes batches to a Parquet file and returns the number of rows.
///
/// # Errors
/// When a batch is an error itself, does not fit the schema, or the file cannot be written; then there
/// is no new file.
pub fn parquet(
    path: &Path,
    schema: SchemaRef,
    batches: impl IntoIterator<Item = Result<RecordBatch>>,
) -> Result<u64> {
    let mut writer = ParquetWriter::create(path, schema)?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    writer.finish()
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

fn refused(path: &Path, error: &parquet::errors::ParquetError) -> TableError {
    TableError::Io { path: path.to_owned(), source: std::io::Error::other(error.to_string()) }
}

/// A temporary file with the permissions of any other file: as a rule they are for their owner alone.
fn temporary(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".rondo-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened for syncing.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int64Array, StringArray};
    use arrow_schema::{DataType, Field, Schema};

    use super::*;
    use crate::read;

    fn batch() -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("x", DataType::Float64, true),
            Field::new("s", DataType::Utf8, true),
        ]);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(Int64Array::from(vec![1, 2])),
                Arc::new(Float64Array::from(vec![Some(0.5), None])),
                Arc::new(StringArray::from(vec![Some("a"), None])),
            ],
        )
        .unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_the_bytes_are_stable() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one.parquet"), dir.path().join("two.parquet"));
        for path in [&one, &two] {
            assert_eq!(parquet(path, batch().schema(), [Ok(batch())]).unwrap(), 2);
        }
        assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
        let read: Vec<RecordBatch> = read::open(&one).unwrap().map(Result::unwrap).collect();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].columns(), batch().columns());
    }

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        std::fs::write(&path, b"before").unwrap();
        let broken = TableError::EmptyFolder { path: path.clone() };
        assert!(parquet(&path, batch().schema(), [Ok(batch()), Err(broken)]).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
