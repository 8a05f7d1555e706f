//! Workbooks of Excel (`.xlsx`, `.xlsb`) and OpenDocument (`.ods`): one sheet is a table.
//!
//! The old binary workbooks (`.xls`) are not read: what they claim to hold cannot be bounded before memory
//! is taken for it.
//!
//! A sheet is read whole: none has more than a million rows. Numbers that are all whole are integers, since
//! a workbook knows no others; what a cell shows by its format alone is not seen, but moments are. What a
//! workbook claims to hold is bounded first ([`bounds`]).

mod bounds;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use bounds::Kind;
use calamine::{CellErrorType, Data, ExcelDateTime, Ods, Range, Reader, Sheets, Xlsb, Xlsx};
use rondo_core::signature::{Column, ColumnType};

use super::canonical::arrow_type;
use super::csv::{ColumnBuilder, is_null, misfit};
use super::infer::{self, Inferred};
use super::{BATCH_ROWS, Batches, Layout, Part, PartColumn, ReadOptions, parquet, places};
use crate::error::{Result, TableError};
use crate::moment;

/// Reads the sheet once: names, types, rows.
pub(super) fn scan(path: &Path, options: &ReadOptions) -> Result<Part> {
    let range = range(path, options)?;
    let names = names(path, &range, options)?;
    let places = places(names.iter().map(String::as_str));
    if let Some(column) = options.types.keys().find(|column| !places.contains_key(column.as_str())) {
        let known = names.iter().map(String::as_str);
        return Err(TableError::no_column(column, format!("`{}`", path.display()), known));
    }
    let mut columns: Vec<PartColumn> = names
        .into_iter()
        .map(|name| {
            let inferred = options.types.get(&name).map_or(Inferred::Empty, |kind| Inferred::Known(*kind));
            PartColumn { name, inferred, carried: None, nullable: false }
        })
        .collect();
    let mut rows = 0;
    for (row, cells) in body(&range, options) {
        rows += 1;
        for (at, column) in columns.iter_mut().enumerate() {
            let cell = cells.get(at).unwrap_or(&Data::Empty);
            match value(cell, options) {
                Err(reason) => return Err(at_cell(path, &range, row, at, reason)),
                Ok(None) => column.nullable = true,
                Ok(Some(value)) => match options.types.get(&column.name) {
                    Some(kind) => {
                        if !infer::fits(&value.text(*kind), *kind) {
                            let reason = misfit(&value.text(*kind), &column.name, *kind);
                            return Err(at_cell(path, &range, row, at, reason));
                        }
                    }
                    None => column.inferred = column.inferred.widen(value.kind()),
                },
            }
        }
    }
    Ok(Part { path: path.to_owned(), layout: Layout::Sheet, columns, rows })
}

/// The batches of the wanted columns, with the types that the table has settled on.
pub(super) fn batches(path: &Path, wanted: &[Column], options: &ReadOptions) -> Result<Batches> {
    let range = range(path, options)?;
    let names = names(path, &range, options)?;
    let places = places(names.iter().map(String::as_str));
    let columns: Vec<(usize, &Column)> =
        wanted.iter().filter_map(|column| Some((*places.get(column.name.as_str())?, column))).collect();
    let fields: Vec<Field> =
        columns.iter().map(|(_, c)| Field::new(&c.name, arrow_type(c.column_type), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let mut batches = Vec::new();
    let rows: Vec<(usize, &[Data])> = body(&range, options).collect();
    for chunk in rows.chunks(BATCH_ROWS) {
        let mut builders: Vec<ColumnBuilder> =
            columns.iter().map(|(_, column)| ColumnBuilder::new(column.column_type)).collect();
        for (row, cells) in chunk {
            for ((at, column), builder) in columns.iter().zip(&mut builders) {
                let cell = cells.get(*at).unwrap_or(&Data::Empty);
                match value(cell, options) {
                    Ok(Some(value)) if builder.push(&value.text(column.column_type)) => {}
                    Ok(None) => builder.push_null(),
                    Ok(Some(_)) => {
                        let reason = "the file changed while it was read".to_owned();
                        return Err(at_cell(path, &range, *row, *at, reason));
                    }
                    Err(reason) => return Err(at_cell(path, &range, *row, *at, reason)),
                }
            }
        }
        let arrays = builders.iter_mut().map(ColumnBuilder::finish).collect();
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(chunk.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options)
            .map_err(|error| TableError::Batch { what: "join the columns", reason: error.to_string() });
        batches.push(batch);
    }
    Ok(Box::new(batches.into_iter()))
}

/// What a cell holds.
enum Held<'a> {
    Text(&'a str),
    Number(f64),
    Truth(bool),
    Moment(i64),
}

impl Held<'_> {
    fn kind(&self) -> Inferred {
        Inferred::Known(match self {
            Self::Text(_) => ColumnType::String,
            Self::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => ColumnType::Integer,
            Self::Number(_) => ColumnType::Number,
            Self::Truth(_) => ColumnType::Boolean,
            Self::Moment(_) => ColumnType::Timestamp,
        })
    }

    /// Its text, as a column of some type reads it.
    fn text(&self, wanted: ColumnType) -> String {
        match self {
            Self::Text(text) => (*text).to_owned(),
            Self::Number(number)
                if wanted != ColumnType::Number && number.fract() == 0.0 && number.abs() < 9e15 =>
            {
                format!("{number:.0}")
            }
            Self::Number(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
            Self::Moment(micros) => moment::Moment(*micros).rfc3339(),
        }
    }
}

fn value<'a>(cell: &'a Data, options: &ReadOptions) -> Result<Option<Held<'a>>, String> {
    Ok(match cell {
        Data::Empty | Data::Error(CellErrorType::NA) => None,
        Data::Error(error) => return Err(format!("the cell holds the error {error}")),
        Data::String(text) if is_null(text, &options.null_words) => None,
        Data::String(text) | Data::DurationIso(text) => Some(Held::Text(text)),
        Data::Int(number) => Some(Held::Number(*number as f64)),
        Data::Float(number) if number.is_nan() => None,
        Data::Float(number) => Some(Held::Number(*number)),
        Data::Bool(truth) => Some(Held::Truth(*truth)),
        Data::DateTimeIso(text) => Some(match moment::parse(text) {
            Some(micros) => Held::Moment(micros),
            None => Held::Text(text),
        }),
        Data::DateTime(moment) if moment.is_duration() => Some(Held::Number(moment.as_f64())),
        Data::DateTime(moment) => Some(Held::Moment(micros(moment))),
    })
}

fn micros(moment: &ExcelDateTime) -> i64 {
    let (year, month, day, hour, minute, second, milli) = moment.to_ymd_hms_milli();
    let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}");
    moment::parse(&text).unwrap_or_default()
}

/// The rows under the names, with their places in the range; a row without a value ends nothing and is
/// passed over.
fn body<'a>(range: &'a Range<Data>, options: &ReadOptions) -> impl Iterator<Item = (usize, &'a [Data])> {
    let first = options.skip as usize + usize::from(options.header);
    range.rows().enumerate().skip(first).filter(|(_, cells)| cells.iter().any(|cell| *cell != Data::Empty))
}

fn names(path: &Path, range: &Range<Data>, options: &ReadOptions) -> Result<Vec<String>> {
    let Some(head) = range.rows().nth(options.skip as usize) else {
        return Err(TableError::EmptyFile { path: path.to_owned() });
    };
    Ok(head
        .iter()
        .enumerate()
        .map(|(index, cell)| {
            match value(cell, &ReadOptions { null_words: Vec::new(), ..ReadOptions::default() }) {
                Ok(Some(held)) if options.header && !held.text(ColumnType::String).is_empty() => {
                    held.text(ColumnType::String)
                }
                Ok(_) | Err(_) => format!("column_{}", index + 1),
            }
        })
        .collect())
}

/// The wanted sheet; the first that holds something where none is named.
fn range(path: &Path, options: &ReadOptions) -> Result<Range<Data>> {
    let mut book = open(path)?;
    let sheets = book.sheet_names();
    if let Some(wanted) = &options.sheet {
        if !sheets.contains(wanted) {
            let near = rondo_core::suggest::nearest(wanted, sheets.iter().map(String::as_str));
            let near = near.map(str::to_owned);
            return Err(TableError::Sheet { path: path.to_owned(), sheet: wanted.clone(), sheets, near });
        }
        bounds::extent(path, &mut book, wanted)?;
        return guarded(path, || book.worksheet_range(wanted));
    }
    for sheet in &sheets {
        bounds::extent(path, &mut book, sheet)?;
        let range = guarded(path, || book.worksheet_range(sheet))?;
        if !range.is_empty() {
            return Ok(range);
        }
    }
    Err(TableError::EmptyFile { path: path.to_owned() })
}

/// Opens a workbook by what it is, whatever it is called.
fn open(path: &Path) -> Result<Sheets<BufReader<File>>> {
    let file = || File::open(path).map_err(|error| TableError::io(path, error));
    let mut head = Vec::new();
    file()?.take(8).read_to_end(&mut head).map_err(|error| TableError::io(path, error))?;
    if head.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) {
        return Err(TableError::OldWorkbook { path: path.to_owned() });
    }
    let kind = bounds::unpacked(path)?;
    let reader = BufReader::new(file()?);
    match kind {
        // What is no archive is told by the reader.
        Kind::Xlsx => guarded(path, || Xlsx::new(reader)).map(Sheets::Xlsx),
        Kind::Xlsb => guarded(path, || Xlsb::new(reader)).map(Sheets::Xlsb),
        Kind::Ods => {
            // The reader lays out every sheet at once, so that the bounds come before it.
            bounds::repeated(path)?;
            guarded(path, || Ods::new(reader)).map(Sheets::Ods)
        }
    }
}

/// A fault in one cell, named as a spreadsheet names it.
fn at_cell(path: &Path, range: &Range<Data>, row: usize, column: usize, reason: String) -> TableError {
    let (top, left) = range.start().unwrap_or_default();
    let (row, mut column) = (row as u64 + u64::from(top) + 1, column as u64 + u64::from(left) + 1);
    let mut letters = Vec::new();
    while column > 0 {
        letters.insert(0, char::from(b'A' + ((column - 1) % 26) as u8));
        column = (column - 1) / 26;
    }
    let cell = format!("{}{row}", letters.into_iter().collect::<String>());
    TableError::Cell { path: path.to_owned(), cell, reason }
}

fn guarded<T, E: std::fmt::Display>(path: &Path, decode: impl FnOnce() -> Result<T, E>) -> Result<T> {
    parquet::guarded(path, decode).map_err(|error| match error {
        TableError::Parquet { path, reason } => TableError::Unreadable { path, kind: "workbook", reason },
        other => other,
    })
}
