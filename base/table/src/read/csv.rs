//! Delimited text: the delimiter is sniffed, the types come from every row.
//!
//! A first line `sep=;` is Excel's: it says what the delimiter is and is no part of the table.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema, SchemaRef};
use csv::{ReaderBuilder, StringRecord};
use rondo_core::signature::{Column, ColumnType};

use super::canonical::arrow_type;
use super::infer::{self, Inferred};
use super::numerals::Numerals;
use super::text::{self, Bound, Bounded};
use super::{BATCH_ROWS, Batches, Layout, Part, PartColumn, ReadOptions};
use crate::error::{Result, TableError};
use crate::moment::{self, MomentBuilder};

/// How the file separates its fields, and their names.
pub(super) struct Dialect {
    delimiter: u8,
    /// So many lines come before the table.
    skip: u32,
    names: Vec<String>,
}

const DELIMITERS: [u8; 4] = *b",\t;|";
/// How much of a file is looked at to find its delimiter.
const SNIFFED_BYTES: u64 = 64 * 1024;

/// Reads the whole file once: names, types, rows, and every fault of its form.
pub(super) fn scan(path: &Path, options: &ReadOptions) -> Result<Part> {
    let said = said(path, options)?;
    let skip = options.skip.saturating_add(u32::from(said.is_some()));
    let options = &ReadOptions { skip, ..options.clone() };
    let delimiter = match options.delimiter.or(said) {
        Some(delimiter) => delimiter,
        None => sniff(path, options)?,
    };
    let mut lines = Lines::open(path, delimiter, options)?;
    let mut record = StringRecord::new();
    if !lines.read(&mut record)? {
        return Err(TableError::EmptyFile { path: path.to_owned() });
    }
    let names = names(&record, options.header);
    let mut columns = Columns::new(path, &names, options)?;
    let mut rows = 0;
    let mut more = if options.header { lines.read(&mut record)? } else { true };
    while more {
        rows += 1;
        columns.observe(&record, || lines.line_of(&record))?;
        more = lines.read(&mut record)?;
    }
    let columns = columns.parts();
    let layout = Layout::Csv(Dialect { delimiter, skip, names });
    Ok(Part { path: path.to_owned(), layout, columns, rows })
}

/// What is known of the columns while the rows go by.
pub(super) struct Columns<'a> {
    path: &'a Path,
    names: &'a [String],
    options: &'a ReadOptions,
    numerals: Numerals,
    inferred: Vec<Inferred>,
    /// The types that are declared.
    fixed: Vec<Option<ColumnType>>,
    nullable: Vec<bool>,
}

impl<'a> Columns<'a> {
    pub(super) fn new(path: &'a Path, names: &'a [String], options: &'a ReadOptions) -> Result<Self> {
        let places = super::places(names.iter().map(String::as_str));
        if let Some(column) = options.types.keys().find(|column| !places.contains_key(column.as_str())) {
            let known = names.iter().map(String::as_str);
            return Err(TableError::no_column(column, format!("`{}`", path.display()), known));
        }
        let fixed: Vec<Option<ColumnType>> = names
            .iter()
            .map(|name| match options.verbatim {
                true => Some(ColumnType::String),
                false => options.types.get(name).copied(),
            })
            .collect();
        let inferred = fixed.iter().map(|fixed| fixed.map_or(Inferred::Empty, Inferred::Known)).collect();
        let nullable = vec![false; names.len()];
        Ok(Self { path, names, options, numerals: Numerals::of(options), inferred, fixed, nullable })
    }

    /// Takes one row into account; `line` says where it is, for what does not fit.
    pub(super) fn observe(&mut self, record: &StringRecord, line: impl Fn() -> u64) -> Result<()> {
        let columns = self.inferred.iter_mut().zip(&mut self.nullable).zip(&self.fixed);
        for ((index, text), ((inferred, nullable), fixed)) in record.iter().enumerate().zip(columns) {
            if is_null(text, &self.options.null_words) {
                *nullable = true;
            } else if let Some(fixed) = fixed {
                if !infer::fits(&self.numerals.plain(text, *fixed), *fixed) {
                    let column = self.names.get(index).map_or("", String::as_str);
                    let reason = misfit(text, column, *fixed);
                    return Err(TableError::line(self.path, line(), reason));
                }
            } else if self.numerals.is_plain() {
                *inferred = inferred.observe(text);
            } else {
                *inferred = inferred.observe(&self.numerals.plain(text, ColumnType::Number));
            }
        }
        Ok(())
    }

    pub(super) fn parts(self) -> Vec<PartColumn> {
        let known = self.names.iter().zip(self.inferred).zip(self.nullable);
        known
            .map(|((name, inferred), nullable)| PartColumn {
                name: name.clone(),
                inferred,
                carried: None,
                nullable,
            })
            .collect()
    }
}

/// A value that is not of the type that its column is declared to have.
pub(super) fn misfit(text: &str, column: &str, column_type: ColumnType) -> String {
    let shown: String = text.chars().take(40).collect();
    format!("`{shown}` in column `{column}` is no {}, which `types` says it is", column_type.text())
}

/// The batches of the wanted columns, with the types that the table has settled on.
pub(super) fn batches(
    path: &Path,
    dialect: &Dialect,
    wanted: &[Column],
    options: &ReadOptions,
) -> Result<Batches> {
    let options = &ReadOptions { skip: dialect.skip, ..options.clone() };
    let mut lines = Lines::open(path, dialect.delimiter, options)?;
    let mut record = StringRecord::new();
    if options.header {
        lines.read(&mut record)?;
    }
    let places = super::places(dialect.names.iter().map(String::as_str));
    let columns: Vec<(usize, Column)> = wanted
        .iter()
        .filter_map(|column| Some((*places.get(column.name.as_str())?, column.clone())))
        .collect();
    let fields: Vec<Field> = columns
        .iter()
        .map(|(_, column)| Field::new(&column.name, arrow_type(column.column_type), true))
        .collect();
    Ok(Box::new(CsvBatches {
        path: path.to_owned(),
        lines,
        record,
        columns,
        schema: Arc::new(Schema::new(fields)),
        null_words: options.null_words.clone(),
        numerals: Numerals::of(options),
        ended: false,
    }))
}

struct CsvBatches {
    path: PathBuf,
    lines: Lines,
    record: StringRecord,
    columns: Vec<(usize, Column)>,
    schema: SchemaRef,
    null_words: Vec<String>,
    numerals: Numerals,
    ended: bool,
}

impl CsvBatches {
    fn read_batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut builders: Vec<ColumnBuilder> =
            self.columns.iter().map(|(_, column)| ColumnBuilder::new(column.column_type)).collect();
        let mut rows = 0;
        while rows < BATCH_ROWS {
            if !self.lines.read(&mut self.record)? {
                self.ended = true;
                break;
            }
            for ((index, column), builder) in self.columns.iter().zip(&mut builders) {
                let text = self.record.get(*index).unwrap_or_default();
                if is_null(text, &self.null_words) {
                    builder.push_null();
                    continue;
                }
                let fitted = if self.numerals.is_plain() {
                    builder.push(text)
                } else {
                    builder.push(&self.numerals.plain(text, column.column_type))
                };
                if !fitted {
                    let line = self.lines.line_of(&self.record);
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
    Moment(MomentBuilder),
}

impl ColumnBuilder {
    pub(super) fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Integer => Self::Integer(Int64Builder::new()),
            ColumnType::Number => Self::Number(Float64Builder::new()),
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::String | ColumnType::Other => Self::Text(StringBuilder::new()),
            ColumnType::Timestamp => Self::Moment(MomentBuilder::new().with_timezone("UTC")),
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
            Self::Moment(builder) => moment::parse(text.trim()).map(|value| builder.append_value(value)),
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

/// An input whose last line has its end, where the file gives it none: a quote that is open there takes it in,
/// as it would the line behind.
struct Ended<R> {
    input: R,
    last: u8,
}

impl<R> Ended<R> {
    fn new(input: R) -> Self {
        Self { input, last: b'\n' }
    }
}

impl<R: Read> Read for Ended<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(out)?;
        let is_end = count == 0 && self.last != b'\n';
        if is_end && let Some(first) = out.first_mut() {
            (*first, self.last) = (b'\n', b'\n');
            return Ok(1);
        }
        if let Some(last) = count.checked_sub(1).and_then(|last| out.get(last)) {
            self.last = *last;
        }
        Ok(count)
    }
}

/// The records of a file, one after the other.
struct Lines {
    path: PathBuf,
    delimiter: u8,
    options: ReadOptions,
    reader: csv::Reader<Ended<Bounded>>,
    bound: Bound,
    /// Where the last record begins, where it ends in a field of several lines.
    long: Option<csv::Position>,
}

impl Lines {
    fn open(path: &Path, delimiter: u8, options: &ReadOptions) -> Result<Self> {
        let (input, bound) = Bounded::new(text::open(path, options)?);
        let reader = builder(delimiter, options).buffer_capacity(64 * 1024).from_reader(Ended::new(input));
        Ok(Self { path: path.to_owned(), delimiter, options: options.clone(), reader, bound, long: None })
    }

    /// The next record; false at the end.
    fn read(&mut self, record: &mut StringRecord) -> Result<bool> {
        let more = self.reader.read_record(record).map_err(|error| self.fault(error))?;
        self.bound.reset();
        if more {
            let last = record.len().checked_sub(1).and_then(|last| record.get(last));
            let is_long = last.is_some_and(|last| last.contains('\n'));
            self.long = record.position().filter(|_| is_long).cloned();
        } else if let Some(at) = self.long.take()
            && self.is_open(&at)?
        {
            let line = line_of(&self.path, &at, &self.options);
            return Err(TableError::line(&self.path, line, "a quote is not closed before the file ends"));
        }
        Ok(more)
    }

    /// Whether the last record, which begins here, ends only because the file does: then what is put behind it
    /// is a part of it.
    fn is_open(&self, at: &csv::Position) -> Result<bool> {
        let path = self.path.as_path();
        let mut input = text::open(path, &self.options)?;
        let mut rest = Vec::new();
        std::io::copy(&mut (&mut input).take(at.byte()), &mut std::io::sink())
            .and_then(|_| input.take(text::LONGEST_RECORD * 2).read_to_end(&mut rest))
            .map_err(|error| text::fault(path, at.line(), error))?;
        rest.extend_from_slice(b"\n0");
        let mut reader = builder(self.delimiter, &self.options).flexible(true).from_reader(rest.as_slice());
        Ok(reader.byte_records().count() < 2)
    }

    fn fault(&self, error: csv::Error) -> TableError {
        let path = self.path.as_path();
        let line = error.position().unwrap_or(self.reader.position()).clone();
        let line = line_of(path, &line, &self.options);
        match error.into_kind() {
            csv::ErrorKind::Io(source) => text::fault(path, line, source),
            csv::ErrorKind::Utf8 { .. } => text::not_utf8(path, &self.options, line),
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                TableError::Ragged { path: path.to_owned(), line, found: len, expected: expected_len }
            }
            _ => TableError::line(path, line, "the line cannot be read"),
        }
    }

    /// The line on which a record begins.
    fn line_of(&self, record: &StringRecord) -> u64 {
        record.position().map_or(0, |position| line_of(&self.path, position, &self.options))
    }
}

fn builder(delimiter: u8, options: &ReadOptions) -> ReaderBuilder {
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).delimiter(delimiter).escape(options.escape).comment(options.comment);
    match options.quote {
        Some(quote) => builder.quote(quote),
        None => builder.quoting(false),
    };
    builder
}

/// The line on which a record begins: the reader's own position is that before the empty lines and the
/// comments that it passes over, and knows nothing of the lines that were skipped.
fn line_of(path: &Path, position: &csv::Position, options: &ReadOptions) -> u64 {
    let passed = || -> Option<u64> {
        let mut input = text::open(path, options).ok()?;
        std::io::copy(&mut (&mut input).take(position.byte()), &mut std::io::sink()).ok()?;
        let (mut lines, mut in_comment) = (0, false);
        for byte in std::io::BufReader::new(input).bytes() {
            match byte.ok()? {
                b'\n' => (lines, in_comment) = (lines + 1, false),
                _ if in_comment => {}
                b'\r' => {}
                byte if Some(byte) == options.comment => in_comment = true,
                _ => break,
            }
        }
        Some(lines)
    };
    position.line() + u64::from(options.skip) + passed().unwrap_or(0)
}

pub(super) fn names(record: &StringRecord, header: bool) -> Vec<String> {
    record
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let name = if index == 0 { name.trim_start_matches('\u{feff}') } else { name };
            if header && !name.is_empty() { name.to_owned() } else { format!("column_{}", index + 1) }
        })
        .collect()
}

pub(super) fn is_null(text: &str, words: &[String]) -> bool {
    // No null word is long: most values are told apart by their length alone.
    text.is_empty() && words.iter().any(String::is_empty)
        || text.len() <= 8 && !text.is_empty() && words.iter().any(|word| word == text)
        || text.len() > 8 && words.iter().any(|word| word.len() > 8 && word == text)
}

/// The delimiter that the first line says for Excel: `sep=;`.
pub(super) fn said(path: &Path, options: &ReadOptions) -> Result<Option<u8>> {
    let mut head = Vec::new();
    text::open(path, options)?
        .take(b"sep=;\r\n".len() as u64)
        .read_to_end(&mut head)
        .map_err(|error| text::fault(path, 1, error))?;
    let (word, rest) = head.split_at_checked(4).unwrap_or_default();
    Ok(match rest {
        [mark, b'\n' | b'\r', ..] | [mark] if word.eq_ignore_ascii_case(b"sep=") => {
            let taken = |mark: &u8| mark.is_ascii_alphanumeric() || matches!(mark, b'"' | b'\r' | b'\n');
            Some(*mark).filter(|mark| mark.is_ascii() && !taken(mark))
        }
        _ => None,
    })
}

/// The delimiter that splits the first lines into the same number of fields, the more the better.
fn sniff(path: &Path, options: &ReadOptions) -> Result<u8> {
    let by_name = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("tsv") || ending.eq_ignore_ascii_case("tab"));
    if by_name {
        return Ok(b'\t');
    }
    let mut head = Vec::new();
    let input = text::open(path, options)?;
    input.take(SNIFFED_BYTES).read_to_end(&mut head).map_err(|error| text::fault(path, 1, error))?;
    let whole = (head.len() as u64) < SNIFFED_BYTES;
    let mut best = (b',', 1);
    for delimiter in DELIMITERS {
        let taken = [options.comment, options.quote, options.thousands, Some(options.decimal)];
        if taken.contains(&Some(delimiter)) {
            continue;
        }
        let fields = fields_with(&head, delimiter, whole, options);
        if fields > best.1 {
            best = (delimiter, fields);
        }
    }
    Ok(best.0)
}

/// How many fields the lines have with a delimiter; 0 when they do not agree.
fn fields_with(head: &[u8], delimiter: u8, whole: bool, options: &ReadOptions) -> usize {
    let mut reader = builder(delimiter, options).flexible(true).from_reader(head);
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
