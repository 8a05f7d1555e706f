//! Rows of a known shape into a Parquet file, one cell after the other: what a query of a database gives.
//!
//! Types are kept as they are: decimals exactly, moments to the microsecond with or without a zone, bytes
//! as bytes. A value that does not fit its column is an error that names it, never a null. The same rows
//! give the same file, and memory does not grow with them.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder,
    StringBuilder, TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::error::{Result, TableError};
use crate::moment;
use crate::read::BATCH_ROWS;
use crate::write::ParquetWriter;

/// Text and bytes of a batch, before it is written although it has few rows.
const BATCH_BYTES: usize = 16 << 20;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Boolean,
    /// Whole numbers of 64 bits.
    Integer,
    /// Whole numbers from 0 of 64 bits.
    Unsigned,
    /// Floating point.
    Number,
    /// Exact decimals: digits in all (at most 38), and of those behind the point.
    Decimal(u8, u8),
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// Days.
    Date,
    /// Moments to the microsecond; whether they are moments everywhere (UTC) or only what a clock showed.
    Moment(bool),
}

impl Kind {
    fn arrow(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Unsigned => DataType::UInt64,
            Self::Number => DataType::Float64,
            Self::Decimal(precision, scale) => {
                DataType::Decimal128(precision, i8::try_from(scale).unwrap_or(0))
            }
            Self::Text => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Moment(zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.then(|| "UTC".into())),
        }
    }

    /// Its name, for messages.
    fn name(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::Integer => "a whole number of 64 bits",
            Self::Unsigned => "a whole number from 0 of 64 bits",
            Self::Number => "a number",
            Self::Decimal(..) => "a decimal of the column's digits",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Date => "a day of a calendar",
            Self::Moment(_) => "a moment of a calendar",
        }
    }
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// None.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Text; of a column of another type, that type's usual way of writing.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// A Parquet file that is being filled.
pub struct Rows {
    writer: ParquetWriter,
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
    done: u64,
}

struct Column {
    name: String,
    kind: Kind,
    values: Values,
}

enum Values {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Unsigned(UInt64Builder),
    Number(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Moment(TimestampMicrosecondBuilder),
}

impl Rows {
    /// Begins a file that stands at `path` after [`Rows::finish`].
    ///
    /// # Errors
    /// When two columns have one name, a decimal has more than 38 digits, or the folder cannot be written.
    pub fn create(path: &Path, columns: &[(String, Kind)]) -> Result<Self> {
        let mut seen = std::collections::HashSet::new();
        if let Some((name, _)) = columns.iter().find(|(name, _)| !seen.insert(name)) {
            return Err(TableError::DuplicateColumn { path: path.to_owned(), column: name.clone() });
        }
        let fields: Vec<Field> =
            columns.iter().map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let columns = columns.iter().map(|(name, kind)| {
            Ok(Column { name: name.clone(), kind: *kind, values: Values::new(name, *kind)? })
        });
        let columns = columns.collect::<Result<_>>()?;
        let writer = ParquetWriter::create(path, Arc::clone(&schema))?;
        Ok(Self { writer, schema, columns, rows: 0, bytes: 0, done: 0 })
    }

    /// The rows so far.
    pub fn rows(&self) -> u64 {
        self.done + self.rows as u64
    }

    /// The bytes that are in the file by now.
    pub fn written(&self) -> u64 {
        self.writer.written()
    }

    /// Gives a column its value in the row at hand; each column gets one a row.
    ///
    /// # Errors
    /// When the value does not fit the column.
    pub fn push(&mut self, column: usize, cell: Cell<'_>) -> Result<()> {
        let row = self.rows() + 1;
        let Some(column) = self.columns.get_mut(column) else { return Ok(()) };
        self.bytes += match cell {
            Cell::Text(text) => text.len(),
            Cell::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        if column.values.push(column.kind, cell).is_some() {
            return Ok(());
        }
        let shown = match cell {
            Cell::Null => "null".to_owned(),
            Cell::Boolean(value) => value.to_string(),
            Cell::Integer(value) => value.to_string(),
            Cell::Number(value) => value.to_string(),
            Cell::Text(text) => text.chars().take(40).collect(),
            Cell::Bytes(bytes) => format!("{} bytes", bytes.len()),
        };
        Err(TableError::Misfit { column: column.name.clone(), row, shown, wanted: column.kind.name() })
    }

    /// Ends the row at hand.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn end_row(&mut self) -> Result<()> {
        self.rows += 1;
        if self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(|column| column.values.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| TableError::Batch { what: "join the columns", reason: error.to_string() })?;
        self.done += self.rows as u64;
        (self.rows, self.bytes) = (0, 0);
        self.writer.write(&batch)?;
        self.writer.relieve()
    }

    /// Completes the file; how many rows it has.
    ///
    /// # Errors
    /// When the disk is full; then whatever stood at the path is unchanged.
    pub fn finish(mut self) -> Result<u64> {
        if self.rows > 0 {
            self.flush()?;
        }
        self.writer.finish()
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows")
            .field("schema", &self.schema)
            .field("rows", &self.rows())
            .finish_non_exhaustive()
    }
}

impl Values {
    fn new(name: &str, kind: Kind) -> Result<Self> {
        Ok(match kind {
            Kind::Boolean => Self::Boolean(BooleanBuilder::new()),
            Kind::Integer => Self::Integer(Int64Builder::new()),
            Kind::Unsigned => Self::Unsigned(UInt64Builder::new()),
            Kind::Number => Self::Number(Float64Builder::new()),
            Kind::Decimal(precision, scale) => {
                let scale = i8::try_from(scale).unwrap_or(i8::MAX);
                let builder = Decimal128Builder::new().with_precision_and_scale(precision, scale);
                Self::Decimal(builder.map_err(|error| TableError::Batch {
                    what: "make a column of decimals",
                    reason: format!("`{name}`: {error}"),
                })?)
            }
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Bytes => Self::Bytes(BinaryBuilder::new()),
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::Moment(zone) => {
                let builder = TimestampMicrosecondBuilder::new();
                Self::Moment(builder.with_timezone_opt(zone.then_some("UTC")))
            }
        })
    }

    /// Takes a value; nothing when it does not fit.
    fn push(&mut self, kind: Kind, cell: Cell<'_>) -> Option<()> {
        match (self, cell) {
            (Self::Boolean(values), Cell::Null) => values.append_null(),
            (Self::Boolean(values), Cell::Boolean(value)) => values.append_value(value),
            (Self::Boolean(values), Cell::Integer(value @ (0 | 1))) => values.append_value(value == 1),
            (Self::Boolean(values), Cell::Text(text)) => values.append_value(match text {
                "t" | "true" | "1" => true,
                "f" | "false" | "0" => false,
                _ => return None,
            }),
            (Self::Integer(values), Cell::Null) => values.append_null(),
            (Self::Integer(values), Cell::Integer(value)) => values.append_value(value),
            (Self::Integer(values), Cell::Text(text)) => values.append_value(text.parse().ok()?),
            (Self::Unsigned(values), Cell::Null) => values.append_null(),
            (Self::Unsigned(values), Cell::Integer(value)) => values.append_value(u64::try_from(value).ok()?),
            (Self::Unsigned(values), Cell::Text(text)) => values.append_value(text.parse().ok()?),
            (Self::Number(values), Cell::Null) => values.append_null(),
            (Self::Number(values), Cell::Number(value)) => values.append_value(value),
            (Self::Number(values), Cell::Integer(value)) => values.append_value(value as f64),
            (Self::Number(values), Cell::Text(text)) => values.append_value(text.parse().ok()?),
            (Self::Decimal(values), Cell::Null) => values.append_null(),
            (Self::Decimal(values), Cell::Text(text)) => values.append_value(decimal(text, kind)?),
            (Self::Text(values), Cell::Null) => values.append_null(),
            (Self::Text(values), Cell::Text(text)) => values.append_value(text),
            (Self::Text(values), Cell::Integer(value)) => values.append_value(value.to_string()),
            (Self::Text(values), Cell::Number(value)) => values.append_value(value.to_string()),
            (Self::Text(values), Cell::Boolean(value)) => values.append_value(value.to_string()),
            (Self::Bytes(values), Cell::Null) => values.append_null(),
            (Self::Bytes(values), Cell::Bytes(bytes)) => values.append_value(bytes),
            (Self::Date(values), Cell::Null) => values.append_null(),
            (Self::Date(values), Cell::Text(text)) => {
                let days = moment::parse_written(text)?.div_euclid(moment::DAY);
                values.append_value(i32::try_from(days).ok()?);
            }
            (Self::Moment(values), Cell::Null) => values.append_null(),
            (Self::Moment(values), Cell::Text(text)) => values.append_value(moment::parse_written(text)?),
            _ => return None,
        }
        Some(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(values) => Arc::new(values.finish()),
            Self::Integer(values) => Arc::new(values.finish()),
            Self::Unsigned(values) => Arc::new(values.finish()),
            Self::Number(values) => Arc::new(values.finish()),
            Self::Decimal(values) => Arc::new(values.finish()),
            Self::Text(values) => Arc::new(values.finish()),
            Self::Bytes(values) => Arc::new(values.finish()),
            Self::Date(values) => Arc::new(values.finish()),
            Self::Moment(values) => Arc::new(values.finish()),
        }
    }
}

/// A decimal in units of its column's last digit; nothing where it has more digits than that.
fn decimal(text: &str, kind: Kind) -> Option<i128> {
    let Kind::Decimal(precision, scale) = kind else { return None };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() && fraction.is_empty() || fraction.len() > usize::from(scale) {
        return None;
    }
    let mut value: i128 = 0;
    let zeros = std::iter::repeat_n(b'0', usize::from(scale) - fraction.len());
    for digit in whole.bytes().chain(fraction.bytes()).chain(zeros) {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let most = 10_i128.checked_pow(u32::from(precision))?;
    (value < most).then_some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::records;

    #[test]
    fn every_kind_is_kept_and_the_file_is_the_same_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let columns = [
            ("b", Kind::Boolean),
            ("i", Kind::Integer),
            ("u", Kind::Unsigned),
            ("n", Kind::Number),
            ("d", Kind::Decimal(38, 10)),
            ("t", Kind::Text),
            ("day", Kind::Date),
            ("at", Kind::Moment(true)),
            ("clock", Kind::Moment(false)),
        ];
        let columns: Vec<(String, Kind)> = columns.map(|(name, kind)| (name.to_owned(), kind)).to_vec();
        let texts = [
            "t",
            "-5",
            "18446744073709551615",
            "1e3",
            "-12345678901234567890.0625",
            "x",
            "1969-12-31",
            "2013-01-01 10:00:00.123456+00",
            "2013-01-01 10:00:00",
        ];
        let write = |name: &str| {
            let path = dir.path().join(name);
            let mut rows = Rows::create(&path, &columns).unwrap();
            for (index, text) in texts.iter().enumerate() {
                rows.push(index, Cell::Text(text)).unwrap();
            }
            rows.end_row().unwrap();
            (0..texts.len()).for_each(|index| rows.push(index, Cell::Null).unwrap());
            rows.end_row().unwrap();
            assert_eq!(rows.finish().unwrap(), 2);
            std::fs::read(path).unwrap()
        };
        assert_eq!(write("a.parquet"), write("b.parquet"));
        let rows: Vec<_> =
            records::open(&dir.path().join("a.parquet")).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            serde_json::to_string(&rows[0]).unwrap(),
            r#"{"b":true,"i":-5,"u":1.8446744073709552e+19,"n":1000.0,"d":-1.2345678901234567e+19,"t":"x","day":"1969-12-31T00:00:00Z","at":"2013-01-01T10:00:00.123456Z","clock":"2013-01-01T10:00:00Z"}"#
        );
        assert!(rows[1].values().all(serde_json::Value::is_null));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let columns = [("d".to_owned(), Kind::Decimal(4, 2)), ("at".to_owned(), Kind::Moment(true))];
        let mut rows = Rows::create(&dir.path().join("t.parquet"), &columns).unwrap();
        for text in ["123.45", "NaN", "1.234", "", ".", "1e2"] {
            assert!(rows.push(0, Cell::Text(text)).is_err(), "{text}");
        }
        let error = rows.push(1, Cell::Text("infinity")).unwrap_err().to_string();
        assert_eq!(error, "row 1: `infinity` in column `at` is not a moment of a calendar");
        let twice = [("a".to_owned(), Kind::Text), ("a".to_owned(), Kind::Text)];
        assert!(Rows::create(&dir.path().join("t.parquet"), &twice).is_err());
        let deep = [("a".to_owned(), Kind::Decimal(60, 2))];
        assert!(Rows::create(&dir.path().join("t.parquet"), &deep).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "only the one that is being written");
    }

    proptest! {
        #[test]
        fn decimals_are_exact(value in -999_999_999_999_i64..999_999_999_999, scale in 0_u8..9) {
            let unit = 10_i64.pow(u32::from(scale));
            let sign = if value < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{:0width$}", value.abs() / unit, value.abs() % unit, width = usize::from(scale));
            prop_assert_eq!(decimal(text.trim_end_matches('.'), Kind::Decimal(18, scale)), Some(i128::from(value)));
        }
    }
}
