//! Rows of a table, chosen by their number, into other files: what a split or a balanced sample writes.
//!
//! One pass; rows keep their order. Written as Parquet, or as CSV where the path says so.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::error::{Result, TableError};
use crate::read;
use crate::records;
use crate::write::ParquetWriter;

/// A table that is being written, in the form that its path's ending names.
pub enum TableWriter {
    /// Parquet.
    Parquet(Box<ParquetWriter>),
    /// CSV with a header.
    Csv {
        /// Where it will stand.
        path: PathBuf,
        /// The lines.
        lines: Box<csv::Writer<BufWriter<File>>>,
    },
}

impl TableWriter {
    /// Begins a table.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path, schema: SchemaRef) -> Result<Self> {
        let name = path.to_string_lossy().to_lowercase();
        if !name.ends_with(".csv") && !name.ends_with(".tsv") {
            return Ok(Self::Parquet(Box::new(ParquetWriter::create(path, schema)?)));
        }
        let file = File::create(path).map_err(|error| TableError::io(path, error))?;
        let delimiter = if name.ends_with(".tsv") { b'\t' } else { b',' };
        let mut lines = csv::WriterBuilder::new().delimiter(delimiter).from_writer(BufWriter::new(file));
        let header = schema.fields().iter().map(|field| field.name().as_str());
        lines.write_record(header).map_err(|error| refused(path, error))?;
        Ok(Self::Csv { path: path.to_owned(), lines: Box::new(lines) })
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Parquet(writer) => writer.write(batch),
            Self::Csv { path, lines } => {
                for row in 0..batch.num_rows() {
                    let cells = batch.columns().iter().map(|array| records::text_of(array, row));
                    let cells = cells.map(Option::unwrap_or_default);
                    lines.write_record(cells.collect::<Vec<_>>()).map_err(|error| refused(path, error))?;
                }
                Ok(())
            }
        }
    }

    /// Completes the file.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(self) -> Result<()> {
        match self {
            Self::Parquet(writer) => writer.finish().map(drop),
            Self::Csv { path, lines } => {
                let io = |error: std::io::Error| TableError::io(&path, error);
                let mut file = lines.into_inner().map_err(|error| io(error.into_error()))?;
                file.flush().map_err(io)?;
                file.get_ref().sync_all().map_err(io)
            }
        }
    }
}

fn refused(path: &Path, error: csv::Error) -> TableError {
    TableError::io(path, std::io::Error::other(error.to_string()))
}

/// Writes each row to the file of its part; a part without a file is left out. How many rows each has got.
///
/// # Errors
/// When the table cannot be read, or a file cannot be written.
pub fn by_part(path: &Path, parts: &[u8], files: &[Option<&Path>]) -> Result<Vec<u64>> {
    let counts = write(path, files, |row, file| {
        u32::from(parts.get(row).is_some_and(|part| usize::from(*part) == file))
    })?;
    Ok(counts)
}

/// Writes each row to each file as often as `times` of the row's and the file's number says.
///
/// # Errors
/// As [`by_part`].
pub fn write(path: &Path, files: &[Option<&Path>], times: impl Fn(usize, usize) -> u32) -> Result<Vec<u64>> {
    let reader = read::open(path)?;
    let schema = reader.schema();
    let mut writers = Vec::with_capacity(files.len());
    for file in files {
        writers.push(file.map(|file| TableWriter::create(file, schema.clone())).transpose()?);
    }
    let mut counts = vec![0_u64; files.len()];
    let mut first = 0;
    for batch in reader {
        let batch = batch?;
        for (number, (writer, count)) in writers.iter_mut().zip(&mut counts).enumerate() {
            let Some(writer) = writer else { continue };
            let taken = taken(&batch, |row| times(first + row, number))?;
            *count += taken.num_rows() as u64;
            writer.write(&taken)?;
        }
        first += batch.num_rows();
    }
    for writer in writers.into_iter().flatten() {
        writer.finish()?;
    }
    Ok(counts)
}

/// Writes the table with one more column of numbers.
///
/// # Errors
/// As [`by_part`], or when the table has such a column.
pub fn with_column(path: &Path, file: &Path, name: &str, value: impl Fn(usize) -> f64) -> Result<u64> {
    let reader = read::open(path)?;
    if reader.columns().iter().any(|column| column.name == name) {
        return Err(TableError::DuplicateColumn { path: path.to_owned(), column: name.to_owned() });
    }
    let mut fields: Vec<Field> =
        reader.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new(name, DataType::Float64, true));
    let schema = Arc::new(Schema::new(fields));
    let mut writer = TableWriter::create(file, schema.clone())?;
    let mut first = 0;
    for batch in reader {
        let batch = batch?;
        let values: Float64Array = (first..first + batch.num_rows()).map(|row| Some(value(row))).collect();
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        columns.push(Arc::new(values));
        let whole = RecordBatch::try_new(schema.clone(), columns).map_err(|error| joined(&error))?;
        writer.write(&whole)?;
        first += batch.num_rows();
    }
    writer.finish()?;
    Ok(first as u64)
}

/// Writes a table once more, in the form that the second path's ending names.
///
/// # Errors
/// As [`by_part`].
pub fn copy(path: &Path, file: &Path) -> Result<u64> {
    let reader = read::open(path)?;
    let rows = reader.rows();
    let mut writer = TableWriter::create(file, reader.schema())?;
    for batch in reader {
        writer.write(&batch?)?;
    }
    writer.finish()?;
    Ok(rows)
}

/// Writes a table as delimited text with a header to wherever it should go.
///
/// # Errors
/// When the table cannot be read or the place takes no more.
pub fn csv(reader: read::TableReader, out: &mut dyn Write, delimiter: u8) -> Result<u64> {
    let place = Path::new("the output");
    let mut lines = csv::WriterBuilder::new().delimiter(delimiter).from_writer(out);
    let header: Vec<String> = reader.columns().iter().map(|column| column.name.clone()).collect();
    lines.write_record(&header).map_err(|error| refused(place, error))?;
    let mut rows = 0;
    for batch in reader {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|array| records::text_of(array, row).unwrap_or_default());
            lines.write_record(cells.collect::<Vec<_>>()).map_err(|error| refused(place, error))?;
        }
        rows += batch.num_rows() as u64;
    }
    lines.flush().map_err(|error| TableError::io(place, error))?;
    Ok(rows)
}

/// Writes columns of numbers as a table: for what a package has measured.
///
/// # Errors
/// When the columns are not equally long, or the file cannot be written.
pub fn from_numbers(file: &Path, columns: Vec<(String, Vec<Option<f64>>)>) -> Result<()> {
    let fields = columns.iter().map(|(name, _)| Field::new(name, DataType::Float64, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, values)| Arc::new(Float64Array::from(values)) as ArrayRef);
    let batch = RecordBatch::try_new(schema.clone(), arrays.collect()).map_err(|error| joined(&error))?;
    let mut writer = TableWriter::create(file, schema)?;
    writer.write(&batch)?;
    writer.finish()
}

fn joined(error: &arrow_schema::ArrowError) -> TableError {
    TableError::Batch { what: "join the columns", reason: error.to_string() }
}

/// The rows of a batch, each as often as it is wanted.
fn taken(batch: &RecordBatch, times: impl Fn(usize) -> u32) -> Result<RecordBatch> {
    let counts: Vec<u32> = (0..batch.num_rows()).map(times).collect();
    let failed = |error: arrow_schema::ArrowError| TableError::Batch {
        what: "choose rows",
        reason: error.to_string(),
    };
    if counts.iter().all(|count| *count <= 1) {
        let mask: BooleanArray = counts.iter().map(|count| Some(*count == 1)).collect();
        return arrow_select::filter::filter_record_batch(batch, &mask).map_err(failed);
    }
    let indices: UInt32Array = counts
        .iter()
        .enumerate()
        .flat_map(|(row, count)| std::iter::repeat_n(u32::try_from(row).unwrap_or(u32::MAX), *count as usize))
        .map(Some)
        .collect();
    arrow_select::take::take_record_batch(batch, &indices).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_where_they_are_sent_and_keep_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("in.csv"), "n,s\n1,a\n2,\"b,c\"\n3,\n").unwrap();
        let (one, two) = (at("one.csv"), at("two.parquet"));
        let counts = by_part(&at("in.csv"), &[0, 1, 0], &[Some(&one), Some(&two)]).unwrap();
        assert_eq!(counts, [2, 1]);
        assert_eq!(std::fs::read_to_string(&one).unwrap(), "n,s\n1,a\n3,\n");
        assert_eq!(read::open(&two).unwrap().rows(), 1);
        write(&at("in.csv"), &[Some(&one)], |row, _| if row == 1 { 2 } else { 0 }).unwrap();
        assert_eq!(std::fs::read_to_string(&one).unwrap(), "n,s\n2,\"b,c\"\n2,\"b,c\"\n");
        assert_eq!(with_column(&at("in.csv"), &one, "w", |row| row as f64 / 2.0).unwrap(), 3);
        assert_eq!(std::fs::read_to_string(&one).unwrap(), "n,s,w\n1,a,0.0\n2,\"b,c\",0.5\n3,,1.0\n");
        assert!(with_column(&at("in.csv"), &one, "n", |_| 0.0).is_err());
    }
}
