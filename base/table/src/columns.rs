//! Single columns of a file as plain vectors, one entry a row, in the order of the rows.
//!
//! For what needs a whole column at once: scores, labels, keys, event times. Of Parquet only the named
//! column is decoded. A table that should be looked at as a whole is better streamed through
//! [`crate::read`].

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use rondo_core::signature::{Column, ColumnType};

use crate::error::{Result, TableError};
use crate::exact;
use crate::moment::{self, Moment, MomentType};
use crate::read::{Source, TableReader};
use crate::records::text_of;

/// A column as numbers: integers and numbers as they are, booleans as 0 and 1, NaN as missing.
///
/// # Errors
/// When the file cannot be read, has no such column, or the column is text or moments.
pub fn f64s<'a>(path: impl Into<Source<'a>>, name: &str) -> Result<Vec<Option<f64>>> {
    collect(path, name, "a number", numbers_into)
}

/// A column as text: strings as they are, other values as they print (moments as RFC 3339).
///
/// # Errors
/// When the file cannot be read or has no such column.
pub fn strings<'a>(path: impl Into<Source<'a>>, name: &str) -> Result<Vec<Option<String>>> {
    collect(path, name, "a plain value", |array, values| {
        if !is_plain(array.data_type()) {
            return false;
        }
        values.extend((0..array.len()).map(|row| text_of(array, row)));
        true
    })
}

/// A column as moments in milliseconds since 1970 (UTC), rounded down; text is parsed, integers are milliseconds.
///
/// # Errors
/// When the file cannot be read, has no such column, or it holds something that is no moment.
pub fn timestamps<'a>(path: impl Into<Source<'a>>, name: &str) -> Result<Vec<Option<i64>>> {
    collect(path, name, "a timestamp", |array, values| {
        moments_into(array, values, |micros| Moment(micros).timestamp().millis())
    })
}

/// A column as moments by which rows can be put in order: as they are, to the microsecond; text is parsed,
/// integers are taken as they are.
///
/// # Errors
/// As [`timestamps`].
pub(crate) fn moments<'a>(path: impl Into<Source<'a>>, name: &str) -> Result<Vec<Option<i64>>> {
    collect(path, name, "a timestamp", |array, values| moments_into(array, values, |micros| micros))
}

/// Several columns as numbers in one pass: one vector a name, as [`f64s`].
///
/// # Errors
/// As [`f64s`].
pub fn f64s_of<'a>(path: impl Into<Source<'a>>, names: &[&str]) -> Result<Vec<Vec<Option<f64>>>> {
    let reader = path.into().open()?.select(names)?;
    let columns = reader.columns().to_vec();
    let mut all: Vec<Vec<Option<f64>>> = names.iter().map(|_| Vec::new()).collect();
    for batch in reader {
        let batch = batch?;
        for ((array, values), column) in batch.columns().iter().zip(&mut all).zip(&columns) {
            if !numbers_into(array, values) {
                return Err(wrong_type(column, "a number"));
            }
        }
    }
    Ok(all)
}

/// The names and types of a file's columns.
///
/// # Errors
/// When the file cannot be read.
pub fn describe<'a>(path: impl Into<Source<'a>>) -> Result<Vec<Column>> {
    Ok(path.into().open()?.columns().to_vec())
}

/// A batch's column as numbers, as [`f64s`]; nothing when it is missing or no number.
pub fn batch_f64s(batch: &RecordBatch, name: &str) -> Option<Vec<Option<f64>>> {
    let mut values = Vec::with_capacity(batch.num_rows());
    numbers_into(batch.column_by_name(name)?, &mut values).then_some(values)
}

fn collect<'a, T>(
    path: impl Into<Source<'a>>,
    name: &str,
    wanted: &'static str,
    mut into: impl FnMut(&ArrayRef, &mut Vec<T>) -> bool,
) -> Result<Vec<T>> {
    let reader: TableReader = path.into().open()?.select(&[name])?;
    let column = reader.columns().first().cloned();
    let mut values = Vec::new();
    for batch in reader {
        let batch = batch?;
        for array in batch.columns() {
            if !into(array, &mut values)
                && let Some(column) = &column
            {
                return Err(wrong_type(column, wanted));
            }
        }
    }
    Ok(values)
}

fn wrong_type(column: &Column, wanted: &'static str) -> TableError {
    TableError::ColumnType { column: column.name.clone(), found: column.column_type, wanted }
}

/// Adds an array's values as numbers; false when they are none.
pub(crate) fn numbers_into(array: &ArrayRef, values: &mut Vec<Option<f64>>) -> bool {
    match array.data_type() {
        DataType::Float64 => values.extend(
            array.as_primitive::<Float64Type>().iter().map(|value| value.filter(|value| !value.is_nan())),
        ),
        DataType::Int64 => {
            values.extend(
                array.as_primitive::<Int64Type>().iter().map(|value| value.map(|value| value as f64)),
            );
        }
        DataType::Boolean => {
            values
                .extend(array.as_boolean().iter().map(|value| value.map(|value| f64::from(u8::from(value)))));
        }
        // A column without any value has no type of its own.
        _ if array.null_count() == array.len() => values.extend((0..array.len()).map(|_| None)),
        _ => return false,
    }
    true
}

/// An array's values as moments, and integers as they are; nothing when they are neither.
pub(crate) fn moments_of(array: &ArrayRef) -> Option<Vec<Option<i64>>> {
    let mut values = Vec::with_capacity(array.len());
    moments_into(array, &mut values, |micros| micros).then_some(values)
}

/// One value as a number; moments as their milliseconds.
pub(crate) fn number_of(array: &ArrayRef, row: usize) -> Option<f64> {
    if row >= array.len() || array.is_null(row) {
        return None;
    }
    let value = match array.data_type() {
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row) as f64,
        DataType::Boolean => f64::from(u8::from(array.as_boolean().value(row))),
        DataType::Timestamp(_, _) => Moment(array.as_primitive::<MomentType>().value(row)).scale(),
        _ => exact::value(array, row)?.nearest(),
    };
    (!value.is_nan()).then_some(value)
}

fn moments_into(array: &ArrayRef, values: &mut Vec<Option<i64>>, unit: impl Fn(i64) -> i64) -> bool {
    match array.data_type() {
        DataType::Timestamp(_, _) => {
            values.extend(array.as_primitive::<MomentType>().iter().map(|moment| moment.map(&unit)));
        }
        DataType::Int64 => values.extend(array.as_primitive::<Int64Type>().iter()),
        DataType::Utf8 => {
            for text in array.as_string::<i32>() {
                match text.map(|text| moment::parse(text.trim()).map(&unit)) {
                    Some(None) => return false,
                    Some(moment) => values.push(moment),
                    None => values.push(None),
                }
            }
        }
        _ => return false,
    }
    true
}

fn is_plain(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int64 | DataType::Float64 | DataType::Boolean | DataType::Utf8 | DataType::Timestamp(_, _)
    )
}

/// Whether a column of this type can be read by [`f64s`].
pub const fn has_numbers(column_type: ColumnType) -> bool {
    matches!(column_type, ColumnType::Integer | ColumnType::Number | ColumnType::Boolean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn columns_come_as_plain_vectors() {
        let (_dir, path) =
            file("x,y,ok,at,name\n1,1.5,true,2013-01-01,a\nNA,,false,2013-01-02 01:00:00,NA\n");
        assert_eq!(f64s(&path, "x").unwrap(), [Some(1.0), None]);
        assert_eq!(f64s(&path, "ok").unwrap(), [Some(1.0), Some(0.0)]);
        assert_eq!(strings(&path, "x").unwrap(), [Some("1".into()), None]);
        assert_eq!(strings(&path, "at").unwrap()[1].as_deref(), Some("2013-01-02T01:00:00Z"));
        assert_eq!(timestamps(&path, "at").unwrap(), [Some(1_356_998_400_000), Some(1_357_088_400_000)]);
        assert_eq!(f64s_of(&path, &["y", "x"]).unwrap(), [[Some(1.5), None], [Some(1.0), None]]);
    }

    #[test]
    fn wrong_names_and_types_are_told() {
        let (_dir, path) = file("carrier,x\nAA,1\n");
        let error = f64s(&path, "carier").unwrap_err();
        assert_eq!(rondo_core::Explain::hints(&error), ["did you mean `carrier`?"]);
        assert_eq!(
            f64s(&path, "carrier").unwrap_err().to_string(),
            "column `carrier` is string, but a number is needed"
        );
        assert!(timestamps(&path, "carrier").is_err());
    }
}
