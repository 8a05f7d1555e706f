//! Rows of a table, chosen by their number, into other files: what a split or a balanced sample writes.
//!
//! Rows keep their order. Written as Parquet, or as CSV where the path says so. From text to CSV every field
//! stays as it is written: codes keep their zeros, numbers their digits, words for what is missing stay words. From
//! Parquet or Arrow to Parquet every column keeps its type, and the schema its metadata.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, UInt32Array};
use arrow_schema::{Field, Schema, SchemaRef};

use crate::error::{Result, TableError};
use crate::read::{self, Batches, Source, TableReader, original};
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
        let Some(delimiter) = delimiter(path) else {
            return Ok(Self::Parquet(Box::new(ParquetWriter::create(path, schema)?)));
        };
        let file = File::create(path).map_err(|error| TableError::io(path, error))?;
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

/// The delimiter of a file that is to be text by its name; nothing of any other.
fn delimiter(path: &Path) -> Option<u8> {
    let name = path.to_string_lossy().to_lowercase();
    match (name.ends_with(".csv"), name.ends_with(".tsv")) {
        (true, _) => Some(b','),
        (_, true) => Some(b'\t'),
        _ => None,
    }
}

/// Opens what is to be written to a file: from text to text with every field as it stands, from typed to typed
/// with every column's own type.
fn opened(source: Source<'_>, file: &Path) -> Result<(SchemaRef, Batches)> {
    let reader = if delimiter(file).is_none() {
        if let Some(original) = original::open(source)? {
            return Ok(original);
        }
        source.open()?
    } else if source.is_text()? {
        read::open_with(source.path, &source.options.verbatim())?
    } else {
        source.open()?
    };
    Ok((reader.schema(), Box::new(reader)))
}

/// Writes each row to the file of its part; a part without a file is left out. How many rows each has got.
///
/// # Errors
/// When the table cannot be read, or a file cannot be written.
pub fn by_part<'a>(source: impl Into<Source<'a>>, parts: &[u8], files: &[Option<&Path>]) -> Result<Vec<u64>> {
    write(source, files, |row, file| u32::from(parts.get(row).is_some_and(|part| usize::from(*part) == file)))
}

/// Writes each row to each file as often as `times` of the row's and the file's number says.
///
/// # Errors
/// As [`by_part`].
pub fn write<'a>(
    source: impl Into<Source<'a>>,
    files: &[Option<&Path>],
    times: impl Fn(usize, usize) -> u32,
) -> Result<Vec<u64>> {
    let source = source.into();
    let mut counts = vec![0_u64; files.len()];
    // Texts and typed files get what is read in different ways.
    for text in [false, true] {
        let chosen: Vec<(usize, &Path)> = files
            .iter()
            .enumerate()
            .filter_map(|(number, file)| Some((number, (*file)?)))
            .filter(|(_, file)| delimiter(file).is_some() == text)
            .collect();
        let Some((_, first)) = chosen.first() else { continue };
        let (schema, batches) = opened(source, first)?;
        let mut writers = Vec::with_capacity(chosen.len());
        for (number, file) in &chosen {
            writers.push((*number, TableWriter::create(file, schema.clone())?));
        }
        let mut first = 0;
        for batch in batches {
            let batch = batch?;
            for (number, writer) in &mut writers {
                let taken = taken(&batch, |row| times(first + row, *number))?;
                if let Some(count) = counts.get_mut(*number) {
                    *count += taken.num_rows() as u64;
                }
                writer.write(&taken)?;
            }
            first += batch.num_rows();
        }
        for (_, writer) in writers {
            writer.finish()?;
        }
    }
    Ok(counts)
}

/// The numbers of a column, one a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Whole ones.
    Whole(Vec<Option<i64>>),
    /// Any.
    Real(Vec<Option<f64>>),
}

impl Numbers {
    fn array(self) -> ArrayRef {
        match self {
            Self::Whole(values) => Arc::new(Int64Array::from(values)),
            Self::Real(values) => Arc::new(Float64Array::from(values)),
        }
    }
}

/// Writes the table with one more column of numbers, one for each row.
///
/// # Errors
/// As [`by_part`], or when the table has such a column.
pub fn with_column<'a>(
    source: impl Into<Source<'a>>,
    file: &Path,
    name: &str,
    numbers: Numbers,
) -> Result<u64> {
    let source = source.into();
    let (schema, batches) = opened(source, file)?;
    if schema.fields().iter().any(|field| field.name() == name) {
        return Err(TableError::DuplicateColumn { path: source.path.to_owned(), column: name.to_owned() });
    }
    let values = numbers.array();
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new(name, values.data_type().clone(), true));
    // Others describe the columns in ways of their own, and one more would not be in it; pandas does not mind.
    let metadata = schema.metadata().iter().filter(|(key, _)| *key == "pandas");
    let metadata: HashMap<String, String> =
        metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let mut writer = TableWriter::create(file, schema.clone())?;
    let mut first = 0;
    for batch in batches {
        let batch = batch?;
        if values.len() < first + batch.num_rows() {
            let reason = format!("there are {} numbers and more rows", values.len());
            return Err(TableError::Batch { what: "add a column", reason });
        }
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        columns.push(values.slice(first, batch.num_rows()));
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
pub fn csv(reader: TableReader, out: &mut dyn Write, delimiter: u8) -> Result<u64> {
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
pub fn from_numbers(file: &Path, columns: Vec<(String, Numbers)>) -> Result<()> {
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for (name, numbers) in columns {
        let array = numbers.array();
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(|error| joined(&error))?;
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
mod tests;

#[cfg(test)]
mod text_tests {
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
        let halves = || Numbers::Real([0.0, 0.5, 1.0].map(Some).to_vec());
        assert_eq!(with_column(&at("in.csv"), &one, "w", halves()).unwrap(), 3);
        assert_eq!(std::fs::read_to_string(&one).unwrap(), "n,s,w\n1,a,0.0\n2,\"b,c\",0.5\n3,,1.0\n");
        let whole = Numbers::Whole([1, 2, 3].map(Some).to_vec());
        with_column(&at("in.csv"), &one, "f", whole).unwrap();
        assert_eq!(std::fs::read_to_string(&one).unwrap(), "n,s,f\n1,a,1\n2,\"b,c\",2\n3,,3\n");
        assert!(with_column(&at("in.csv"), &one, "n", halves()).is_err());
        assert!(with_column(&at("in.csv"), &one, "w", Numbers::Real(vec![None])).is_err());
    }

    #[test]
    fn from_text_to_text_every_field_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let text = "zip,agent,day,price,ok,big\n01234,7,2024-01-01,1.10,True,9007199254740993\n\
                    501,007,2024-01-02,NA,FALSE,18446744073709551616\n\" 1\",,n/a,1e3,,-0\n";
        std::fs::write(at("in.csv"), text).unwrap();
        let (csv, parquet, tsv) = (at("one.csv"), at("two.parquet"), at("three.tsv"));
        let counts = by_part(&at("in.csv"), &[0, 0, 0], &[Some(&csv)]).unwrap();
        assert_eq!((counts, std::fs::read_to_string(&csv).unwrap()), (vec![3], text.replace("\" 1\"", " 1")));
        // What is typed gets types; beside it texts stay texts.
        let files = [Some(parquet.as_path()), Some(tsv.as_path())];
        assert_eq!(write(&at("in.csv"), &files, |_, _| 1).unwrap(), [3, 3]);
        let types: Vec<&str> =
            read::open(&parquet).unwrap().columns().iter().map(|column| column.column_type.text()).collect();
        assert_eq!(types, ["string", "string", "string", "number", "boolean", "string"]);
        assert!(std::fs::read_to_string(&tsv).unwrap().contains("501\t007\t2024-01-02\tNA\tFALSE\t1844"));
        // The texts of JSON are not taken for moments either.
        std::fs::write(at("in.json"), "{\"day\": \"2024-01-01\", \"n\": 3, \"u\": 18446744073709551615}")
            .unwrap();
        by_part(&at("in.json"), &[0], &[Some(&csv)]).unwrap();
        assert_eq!(std::fs::read_to_string(&csv).unwrap(), "day,n,u\n2024-01-01,3,18446744073709551615\n");
    }
}
