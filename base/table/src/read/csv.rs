//! Delimited text: the delimiter is sniffed, the types come from every row.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampMillisecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema, SchemaRef};
use csv::{Reader, ReaderBuilder, StringRecord};
use rondo_core::signature::{Column, ColumnType};

use super::canonical::arrow_type;
use super::infer::{self, Inferred};
use super::{BATCH_ROWS, Batches, Layout, Part, PartColumn, ReadOptions};
use crate::error::{Result, TableError};
use crate::moment;

/// How the file separates its fields, and their names.
pub(super) struct Dialect {
    delimiter: u8,
    names: Vec<String>,
}

const DELIMITERS: [u8; 4] = *b",\t;|";
/// How much of a file is looked at to find its delimiter.
const SNIFFED_BYTES: u64 = 64 * 1024;

/// Reads the whole file once: names, types, rows, and every fault of its form.
pub(super) fn scan(path: &Path, options: &ReadOptions) -> Result<Part> {
    let delimiter = match options.delimiter {
        Some(delimiter) => delimiter,
        None => sniff(path)?,
    };
    let mut reader = open(path, delimiter)?;
    let mut record = StringRecord::new();
    if !read(&mut reader, &mut record, path)? {
        return Err(TableError::EmptyFile { path: path.to_owned() });
    }
    let names = names(&record, options.header);
    let mut inferred = vec![Inferred::Empty; names.len()];
    let mut nullable = vec![false; names.len()];
    let mut rows = 0;
    let mut more = if options.header { read(&mut reader, &mut record, path)? } else { true };
    while more {
        rows += 1;
        for ((text, inferred), nullable) in record.iter().zip(&mut inferred).zip(&mut nullable) {
            if is_null(text, &options.null_words) {
                *nullable = true;
            } else {
                *inferred = inferred.observe(text);
            }
        }
        more = read(&mut reader, &mut record, path)?;
    }
    let columns = names
        .iter()
        .zip(inferred)
        .zip(nullable)
        .map(|((name, inferred), nullable)| PartColumn {
            name: name.clone(),
            inferred,
            carried: None,
            nullable,
        })
        .collect();
    let layout = Layout::Csv(Dialect { delimiter, names });
    Ok(Part { path: path.to_owned(), layout, columns, rows })
}

/// The batches of the wanted columns, with the types that the table has settled on.
pub(super) fn batches(
    path: &Path,
    dialect: &Dialect,
    wanted: &[Column],
    options: &ReadOptions,
) -> Result<Batches> {
    let mut reader = open(path, dialect.delimiter)?;
    let mut record = StringRecord::new();
    if options.header {
        read(&mut reader, &mut record, path)?;
    }
    let columns: Vec<(usize, Column)> = wanted
        .iter()
        .filter_map(|column| {
            let index = dialect.names.iter().position(|name| *name == column.name)?;
            Some((index, column.clone()))
        })
        .collect();
    let fields: Vec<Field> = columns
        .iter()
        .map(|(_, column)| Field::new(&column.name, arrow_type(column.column_type), true))
        .collect();
    Ok(Box::new(CsvBatches {
        path: path.to_owned(),
        reader,
        record,
        columns,
        schema: Arc::new(Schema::new(fields)),
        null_words: options.null_words.clone(),
        ended: false,
    }))
}

struct CsvBatches {
    path: PathBuf,
    reader: Reader<BufReader<File>>,
    record: StringRecord,
    columns: Vec<(usize, Column)>,
    schema: SchemaRef,
    null_words: Vec<String>,
    ended: bool,
}

impl CsvBatches {
    fn read_batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut builders: Vec<ColumnBuilder> =
            self.columns.iter().map(|(_, column)| ColumnBuilder::new(column.column_type)).collect();
        let mut rows = 0;
        while rows < BATCH_ROWS {
            if !read(&mut self.reader, &mut self.record, &self.path)? {
                self.ended = true;
                break;
            }
            for ((index, column), builder) in self.columns.iter().zip(&mut builders) {
                let text = self.record.get(*index).unwrap_or_default();
                if is_null(text, &self.null_words) {
                    builder.push_null();
                } else if !builder.push(text) {
                    let line = self.record.position().map_or(0, |position| line_of(&self.path, position));
                    let reason = format!(
                        "`{text}` in column `{}` is no {}: the file changed while it was read",
                        column.name,
                        column.column_type.text()
                    );
                    return Err(TableError::line(&self.path, line, reason));
                }
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays = builders.iter_mut().map(ColumnBuilder::finish).collect();
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map(Some)
            .map_err(|error| TableError::Batch { what: "join the columns", reason: error.to_string() })
    }
}

impl Iterator for CsvBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let result = self.read_batch();
        self.ended |= result.is_err();
        result.transpose()
    }
}

/// Collects the values of one column of a batch from text.
pub(super) enum ColumnBuilder {
    Integer(Int64Builder),
    Number(Float64Builder),
    Boolean(BooleanBuilder),
    Text(StringBuilder),
    Moment(TimestampMillisecondBuilder),
}

impl ColumnBuilder {
    pub(super) fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Integer => Self::Integer(Int64Builder::new()),
            ColumnType::Number => Self::Number(Float64Builder::new()),
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::String | ColumnType::Other => Self::Text(StringBuilder::new()),
            ColumnType::Timestamp => Self::Moment(TimestampMillisecondBuilder::new().with_timezone("UTC")),
        }
    }

    pub(super) fn push_null(&mut self) {
        match self {
            Self::Integer(builder) => builder.append_null(),
            Self::Number(builder) => builder.append_null(),
            Self::Boolean(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Moment(builder) => builder.append_null(),
        }
    }

    /// Takes one value; false when it has another type.
    pub(super) fn push(&mut self, text: &str) -> bool {
        match self {
            Self::Integer(builder) => infer::integer(text).map(|value| builder.append_value(value)),
            Self::Number(builder) => infer::number(text).map(|value| builder.append_value(value)),
            Self::Boolean(builder) => infer::boolean(text).map(|value| builder.append_value(value)),
            Self::Text(builder) => {
                builder.append_value(text);
                Some(())
            }
            Self::Moment(builder) => {
                moment::parse_millis(text.trim()).map(|value| builder.append_value(value))
            }
        }
        .is_some()
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Number(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Moment(builder) => Arc::new(builder.finish()),
        }
    }
}

fn open(path: &Path, delimiter: u8) -> Result<Reader<BufReader<File>>> {
    let file = File::open(path).map_err(|error| TableError::io(path, error))?;
    Ok(ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(BufReader::new(file)))
}

/// The next record; false at the end.
fn read(reader: &mut Reader<BufReader<File>>, record: &mut StringRecord, path: &Path) -> Result<bool> {
    reader.read_record(record).map_err(|error| {
        let line = error.position().map_or(0, |position| line_of(path, position));
        match error.into_kind() {
            csv::ErrorKind::Io(source) => TableError::io(path, source),
            csv::ErrorKind::Utf8 { err, .. } => {
                TableError::line(path, line, format!("field {} is not UTF-8", err.field() + 1))
            }
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                TableError::line(path, line, format!("{len} fields, but the first line has {expected_len}"))
            }
            _ => TableError::line(path, line, "the line cannot be read"),
        }
    })
}

/// The line on which a record begins: the reader's own position is that before the empty lines it skips.
fn line_of(path: &Path, position: &csv::Position) -> u64 {
    let skipped = || -> std::io::Result<u64> {
        let mut file = BufReader::new(File::open(path)?);
        file.seek(SeekFrom::Start(position.byte()))?;
        let mut lines = 0;
        for byte in file.bytes() {
            match byte? {
                b'\n' => lines += 1,
                b'\r' => {}
                _ => break,
            }
        }
        Ok(lines)
    };
    position.line() + skipped().unwrap_or(0)
}

fn names(record: &StringRecord, header: bool) -> Vec<String> {
    record
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let name = if index == 0 { name.trim_start_matches('\u{feff}') } else { name };
            if header && !name.is_empty() { name.to_owned() } else { format!("column_{}", index + 1) }
        })
        .collect()
}

fn is_null(text: &str, words: &[String]) -> bool {
    // No null word is long: most values are told apart by their length alone.
    text.is_empty() && words.iter().any(String::is_empty)
        || text.len() <= 8 && !text.is_empty() && words.iter().any(|word| word == text)
        || text.len() > 8 && words.iter().any(|word| word.len() > 8 && word == text)
}

/// The delimiter that splits the first lines into the same number of fields, the more the better.
fn sniff(path: &Path) -> Result<u8> {
    let by_name = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("tsv") || ending.eq_ignore_ascii_case("tab"));
    if by_name {
        return Ok(b'\t');
    }
    let mut head = Vec::new();
    let file = File::open(path).map_err(|error| TableError::io(path, error))?;
    file.take(SNIFFED_BYTES).read_to_end(&mut head).map_err(|error| TableError::io(path, error))?;
    let whole = (head.len() as u64) < SNIFFED_BYTES;
    let mut best = (b',', 1);
    for delimiter in DELIMITERS {
        let fields = fields_with(&head, delimiter, whole);
        if fields > best.1 {
            best = (delimiter, fields);
        }
    }
    Ok(best.0)
}

/// How many fields the lines have with a delimiter; 0 when they do not agree.
fn fields_with(head: &[u8], delimiter: u8, whole: bool) -> usize {
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(head);
    let mut record = csv::ByteRecord::new();
    let mut counts = Vec::new();
    while counts.len() < 100 && reader.read_byte_record(&mut record).unwrap_or(false) {
        counts.push(record.len());
    }
    if !whole && counts.len() < 100 {
        // The last line may be cut.
        counts.pop();
    }
    let Some(first) = counts.first().copied() else { return 0 };
    let agreeing = counts.iter().filter(|count| **count == first).count();
    // One ragged line is the file's fault, to be reported with its number, and not the delimiter's.
    if agreeing * 10 >= counts.len() * 9 { first } else { 0 }
}
