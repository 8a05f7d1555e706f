//! Readers: a file or folder becomes a stream of record batches.
//!
//! Whatever the format, a batch has only these arrow types, so that nothing further in has to tell forty
//! types apart: `Int64`, `Float64`, `Boolean`, `Utf8` and `Timestamp(µs, UTC)`; anything else (lists,
//! structs, bytes, durations) is carried as it is and has the type [`ColumnType::Other`]. Unsigned 64-bit
//! and decimal columns become floating point, but for readers that compare values ([`crate::exact`]).
//!
//! Text formats are read twice: the first pass settles the types from every row, counts the rows and
//! finds ragged rows and bad UTF-8 before anything is handed out; the second reads the values. A folder
//! is one table: its files in the order of their names. Columns that are integers in one file and
//! numbers in another are numbers; a column that a file lacks is an error.

mod canonical;
mod csv;
mod infer;
mod ipc;
mod json;
mod numerals;
mod options;
pub(crate) mod original;
mod parquet;
mod sheet;
mod source;
mod text;

pub use options::{OPTIONS, ReadOptions};
pub(crate) use parquet::{Builder, builder, guarded};
pub use source::Source;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema, SchemaRef};
use rondo_core::signature::{Column, ColumnType};

use crate::error::{Result, TableError};
use crate::exact::is_exact;
pub(crate) use canonical::arrow_type;
pub(crate) use infer::Inferred;
pub(crate) use json::type_of;

/// Rows of a batch; the last one of a file may have fewer.
pub const BATCH_ROWS: usize = 16_384;

/// The texts that stand for a missing value in CSV and TSV.
pub const NULL_WORDS: [&str; 8] = ["", "NA", "N/A", "<NA>", "NaN", "nan", "null", "NULL"];

/// How a file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Delimited text with a header.
    Csv,
    /// JSON objects: one a line, or one array of them.
    Json,
    /// An Arrow file (Feather of version 2) or stream.
    Arrow,
    /// A workbook of Excel or OpenDocument.
    Excel,
}

impl Format {
    /// The format that a file's ending tells, in lower case and without the dot.
    pub fn of_ending(ending: &str) -> Option<Self> {
        Some(match ending {
            "parquet" | "pq" => Self::Parquet,
            "csv" | "tsv" | "tab" => Self::Csv,
            "json" | "jsonl" | "ndjson" => Self::Json,
            "arrow" | "arrows" | "feather" | "ipc" => Self::Arrow,
            "xlsx" | "xlsm" | "xlsb" | "xls" | "ods" => Self::Excel,
            _ => return None,
        })
    }
}

/// What the first look at a file has found.
struct Part {
    path: PathBuf,
    layout: Layout,
    columns: Vec<PartColumn>,
    rows: u64,
}

/// What is needed to read a file a second time.
enum Layout {
    Parquet,
    Csv(csv::Dialect),
    Json,
    Arrow,
    Sheet,
}

struct PartColumn {
    name: String,
    inferred: Inferred,
    /// Of [`ColumnType::Other`]: the type that is carried.
    carried: Option<arrow_schema::DataType>,
    nullable: bool,
}

/// The batches of one file, in the order of its own columns.
pub(crate) type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A table being read: an iterator of record batches, all of one schema.
pub struct TableReader {
    path: PathBuf,
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: u64,
    parts: VecDeque<Part>,
    options: ReadOptions,
    current: Option<(PathBuf, Batches)>,
    failed: bool,
    /// Whether texts may come with keys.
    keys: bool,
    /// Whether numbers that floating point does not tell apart come as they are.
    exact: bool,
}

/// Opens a file or a folder of files of the same columns.
///
/// # Errors
/// When there is no such file, it is no table, or (text formats) a row is broken: file and line are named.
pub fn open(path: &Path) -> Result<TableReader> {
    open_with(path, &ReadOptions::default())
}

/// As [`open`], with options.
///
/// # Errors
/// As [`open`].
pub fn open_with(path: &Path, options: &ReadOptions) -> Result<TableReader> {
    let mut parts = VecDeque::new();
    for file in files_of(path, options)? {
        parts.push_back(scan(&file, options)?);
    }
    let columns = unify(&parts)?;
    let fields: Vec<Field> =
        columns.iter().map(|(column, carried)| field(column, carried.as_ref())).collect();
    Ok(TableReader {
        path: path.to_owned(),
        schema: Arc::new(Schema::new(fields)),
        columns: columns.into_iter().map(|(column, _)| column).collect(),
        rows: parts.iter().fold(0, |rows, part| rows.saturating_add(part.rows)),
        parts,
        options: options.clone(),
        current: None,
        failed: false,
        keys: false,
        exact: false,
    })
}

impl TableReader {
    /// Lets texts that a Parquet file keeps by keys come as they are: as `Dictionary(Int32, Utf8)`.
    pub(crate) fn with_keys(mut self) -> Self {
        self.keys = true;
        self
    }

    /// Lets columns of numbers that floating point does not tell apart come as they are: as `UInt64` or a
    /// decimal; and whole numbers of one part beside numbers of another as `Int64`.
    pub(crate) fn exactly(mut self) -> Self {
        self.exact = true;
        self
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The columns, by name and type.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The arrow schema of every batch.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// All rows of the table, counted when it was opened; reading does not change it.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Keeps only these columns, in this order; of Parquet the others are not even decoded.
    ///
    /// # Errors
    /// When one of them is not in the table.
    pub fn select(mut self, names: &[&str]) -> Result<Self> {
        let mut columns = Vec::with_capacity(names.len());
        let mut fields = Vec::with_capacity(names.len());
        let places = places(self.columns.iter().map(|column| column.name.as_str()));
        for name in names {
            let Some(&index) = places.get(name) else {
                let known = self.columns.iter().map(|column| column.name.as_str());
                return Err(TableError::no_column(name, format!("`{}`", self.path.display()), known));
            };
            columns.push(self.columns[index].clone());
            fields.push(self.schema.field(index).clone());
        }
        self.columns = columns;
        self.schema = Arc::new(Schema::new(fields));
        Ok(self)
    }

    fn open_part(&self, part: &Part) -> Result<Batches> {
        let wanted: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        match &part.layout {
            Layout::Parquet => parquet::batches(&part.path, &wanted, self.keys, self.exact),
            Layout::Csv(dialect) => csv::batches(&part.path, dialect, &self.columns, &self.options),
            Layout::Json => json::batches(&part.path, &self.columns, &self.options),
            Layout::Arrow => ipc::batches(&part.path, &wanted, self.exact),
            Layout::Sheet => sheet::batches(&part.path, &self.columns, &self.options),
        }
    }

    /// The columns of a part's batch in the order and with the types of the table.
    fn conform(&self, path: &Path, batch: &RecordBatch) -> Result<RecordBatch> {
        let found = batch.schema_ref();
        let places = places(found.fields().iter().map(|field| field.name().as_str()));
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        // Which types come is seen in each batch, then.
        let kept = self.keys || self.exact;
        let mut fields = Vec::with_capacity(if kept { self.columns.len() } else { 0 });
        for (column, field) in self.columns.iter().zip(self.schema.fields()) {
            let array = places.get(column.name.as_str()).map(|place| batch.column(*place));
            let array = array.ok_or_else(|| TableError::PartColumn {
                path: path.to_owned(),
                column: column.name.clone(),
                other: self.path.clone(),
            })?;
            let keyed =
                self.keys && *field.data_type() == arrow_schema::DataType::Utf8 && canonical::has_keys(array);
            let exact = self.exact
                && column.column_type == ColumnType::Number
                && (is_exact(array.data_type()) || *array.data_type() == arrow_schema::DataType::Int64);
            let array = if keyed || exact {
                Arc::clone(array)
            } else {
                canonical::widen(array, field.data_type(), path)?
            };
            if kept {
                fields.push(Field::new(field.name(), array.data_type().clone(), true));
            }
            arrays.push(array);
        }
        let schema = if kept { Arc::new(Schema::new(fields)) } else { self.schema() };
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(schema, arrays, &options)
            .map_err(|error| TableError::Batch { what: "join the columns", reason: error.to_string() })
    }

    fn step(&mut self) -> Option<Result<RecordBatch>> {
        loop {
            if self.current.is_none() {
                let part = self.parts.pop_front()?;
                match self.open_part(&part) {
                    Ok(batches) => self.current = Some((part.path, batches)),
                    Err(error) => return Some(Err(error)),
                }
            }
            let (path, batches) = self.current.as_mut()?;
            match batches.next() {
                Some(Ok(batch)) => {
                    let path = path.clone();
                    return Some(self.conform(&path, &batch));
                }
                Some(Err(error)) => return Some(Err(error)),
                None => self.current = None,
            }
        }
    }
}

impl Iterator for TableReader {
    type Item = Result<RecordBatch>;

    /// The next batch; after an error there are none.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.step();
        self.failed = matches!(item, Some(Err(_)));
        item
    }
}

impl std::fmt::Debug for TableReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableReader")
            .field("path", &self.path)
            .field("columns", &self.columns)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// The columns of an arrow schema whose batches did not come from a [`TableReader`].
pub fn columns_of(schema: &Schema) -> Vec<Column> {
    schema
        .fields()
        .iter()
        .map(|field| Column {
            name: field.name().clone(),
            column_type: canonical::column_type(field.data_type()),
            nullable: field.is_nullable(),
        })
        .collect()
}

/// A batch with the canonical types, from one of any types.
///
/// # Errors
/// When a value cannot be converted.
pub fn canonical(batch: &RecordBatch) -> Result<RecordBatch> {
    canonical::batch(batch, Path::new("batch"))
}

/// The same, but texts with 32-bit keys keep them.
pub(crate) fn canonical_with_keys(batch: &RecordBatch) -> Result<RecordBatch> {
    canonical::batch_with_keys(batch, Path::new("batch"))
}

fn files_of(path: &Path, options: &ReadOptions) -> Result<Vec<PathBuf>> {
    let metadata = fs::metadata(path).map_err(|error| TableError::io(path, error))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| TableError::io(path, error))? {
        let file = entry.map_err(|error| TableError::io(path, error))?.path();
        let hidden = file.file_name().is_none_or(|name| {
            let name = name.to_string_lossy();
            name.starts_with('.') || name.starts_with('_')
        });
        let known = options.format.is_some() || format_by_name(&file).is_some();
        if !hidden && known && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(TableError::EmptyFolder { path: path.to_owned() });
    }
    Ok(files)
}

/// The format of a file: as it is said to be, as its name says, or as its first bytes do.
fn format_of(path: &Path, options: &ReadOptions) -> Result<Format> {
    match options.format.or_else(|| format_by_name(path)) {
        Some(format) => Ok(format),
        None => format_by_content(path),
    }
}

fn format_by_name(path: &Path) -> Option<Format> {
    Format::of_ending(&path.extension()?.to_string_lossy().to_ascii_lowercase())
}

/// Whether a file, or every file of a folder, is delimited text.
pub fn is_delimited(path: &Path, options: &ReadOptions) -> bool {
    let delimited = |file: &PathBuf| matches!(format_of(file, options), Ok(Format::Csv));
    files_of(path, options).is_ok_and(|files| files.iter().all(delimited))
}

/// Whether the first line of a file of delimited text says the delimiter for Excel: `sep=;`.
pub fn says_delimiter(path: &Path) -> bool {
    csv::said(path, &ReadOptions::default()).is_ok_and(|mark| mark.is_some())
}

/// Whether a file says by its first bytes that it is UTF-16.
pub fn is_utf16(path: &Path) -> bool {
    let mut head = Vec::with_capacity(3);
    let read = File::open(path).and_then(|file| file.take(3).read_to_end(&mut head));
    read.is_ok() && text::is_utf16(&head)
}

/// The format from the first bytes, for files whose names do not say.
fn format_by_content(path: &Path) -> Result<Format> {
    let mut head = Vec::with_capacity(512);
    let file = File::open(path).map_err(|error| TableError::io(path, error))?;
    file.take(512).read_to_end(&mut head).map_err(|error| TableError::io(path, error))?;
    let refuse = |found| Err(TableError::Format { path: path.to_owned(), found });
    if head.starts_with(b"PAR1") {
        return Ok(Format::Parquet);
    }
    if ipc::is_arrow(&head) {
        return Ok(Format::Arrow);
    }
    if head.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) {
        return Ok(Format::Excel);
    }
    if head.starts_with(b"PK\x03\x04") {
        return refuse("a zip archive");
    }
    if text::is_utf16(&head) {
        return Ok(Format::Csv);
    }
    if head.starts_with(b"\x1f\x8b") {
        return refuse("gzip-compressed");
    }
    if head.starts_with(b"SQLite format 3") {
        return refuse("an SQLite database");
    }
    if head.contains(&0) {
        return refuse("a binary file");
    }
    match head.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{' | b'[') => Ok(Format::Json),
        Some(_) | None => Ok(Format::Csv),
    }
}

fn scan(path: &Path, options: &ReadOptions) -> Result<Part> {
    let part = match format_of(path, options)? {
        Format::Parquet => parquet::scan(path)?,
        Format::Csv => csv::scan(path, options)?,
        Format::Json => json::scan(path, options)?,
        Format::Arrow => ipc::scan(path)?,
        Format::Excel => sheet::scan(path, options)?,
    };
    let mut seen = HashSet::new();
    for column in &part.columns {
        if !seen.insert(column.name.as_str()) {
            return Err(TableError::DuplicateColumn { path: path.to_owned(), column: column.name.clone() });
        }
    }
    Ok(part)
}

/// The columns of the whole table: those of the first part, each with the widest type of all parts.
fn unify(parts: &VecDeque<Part>) -> Result<Vec<(Column, Option<arrow_schema::DataType>)>> {
    let Some(first) = parts.front() else { return Ok(Vec::new()) };
    let mut unified: Vec<PartColumn> = first
        .columns
        .iter()
        .map(|column| PartColumn {
            name: column.name.clone(),
            inferred: column.inferred,
            carried: column.carried.clone(),
            nullable: column.nullable,
        })
        .collect();
    for part in parts.iter().skip(1) {
        let mut by_name: HashMap<&str, &PartColumn> =
            part.columns.iter().map(|column| (column.name.as_str(), column)).collect();
        for column in &mut unified {
            let Some(found) = by_name.remove(column.name.as_str()) else {
                return Err(missing(&part.path, &column.name, &first.path));
            };
            widen_column(column, found, part, first)?;
        }
        if let Some(extra) = part.columns.iter().find(|column| by_name.contains_key(column.name.as_str())) {
            return Err(missing(&first.path, &extra.name, &part.path));
        }
    }
    Ok(unified
        .into_iter()
        .map(|column| {
            let column_type = column.inferred.column_type();
            (Column { name: column.name, column_type, nullable: column.nullable }, column.carried)
        })
        .collect())
}

/// Where each name stands; of equal ones the first.
pub(crate) fn places<'a>(names: impl IntoIterator<Item = &'a str>) -> HashMap<&'a str, usize> {
    let mut places = HashMap::new();
    for (place, name) in names.into_iter().enumerate() {
        places.entry(name).or_insert(place);
    }
    places
}

/// The columns of several files of text as those of one table; nothing where they are not of the same names.
pub fn joint(files: &[Vec<Column>]) -> Option<Vec<Column>> {
    let mut joint = files.first()?.clone();
    for file in files.iter().skip(1) {
        if file.len() != joint.len() {
            return None;
        }
        for column in &mut joint {
            let found = file.iter().find(|found| found.name == column.name)?;
            let widest = Inferred::Known(column.column_type).widen(Inferred::Known(found.column_type));
            column.column_type = widest.column_type();
            column.nullable |= found.nullable;
        }
    }
    Some(joint)
}

fn missing(path: &Path, column: &str, other: &Path) -> TableError {
    TableError::PartColumn { path: path.to_owned(), column: column.to_owned(), other: other.to_owned() }
}

fn widen_column(column: &mut PartColumn, found: &PartColumn, part: &Part, first: &Part) -> Result<()> {
    let widened = column.inferred.widen(found.inferred);
    let text = |part: &Part| !matches!(part.layout, Layout::Parquet | Layout::Arrow);
    // Text files have no types of their own: what does not fit together is text. A typed file means what
    // it says, so that only integers and numbers, or a column without a value, may differ.
    let typed_clash = !(text(part) && text(first))
        && widened.column_type() == ColumnType::String
        && column.inferred.column_type() != found.inferred.column_type();
    if typed_clash || column.carried != found.carried {
        return Err(TableError::PartType {
            path: part.path.clone(),
            column: column.name.clone(),
            found: found.inferred.column_type(),
            expected: column.inferred.column_type(),
            other: first.path.clone(),
        });
    }
    column.inferred = widened;
    column.nullable |= found.nullable;
    Ok(())
}

fn field(column: &Column, carried: Option<&arrow_schema::DataType>) -> Field {
    let data_type = carried.cloned().unwrap_or_else(|| arrow_type(column.column_type));
    Field::new(&column.name, data_type, true)
}

#[cfg(test)]
mod tests;
