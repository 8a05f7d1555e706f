//! Rows as JSON objects, the form in which a prediction request carries them.
//!
//! A missing value and NaN are `null`; moments are RFC 3339 in UTC; an infinity, which JSON has no number
//! for, is `null` as well; values of types that are only carried are `null`.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::exact;
use crate::moment::{Moment, MomentType};
use crate::read::{self, TableReader};

/// The rows of a table, one JSON object each.
#[derive(Debug)]
pub struct Records {
    reader: TableReader,
    names: Vec<Arc<str>>,
    batch: Option<(RecordBatch, usize)>,
}

/// The rows of a file or folder.
///
/// # Errors
/// When it cannot be read.
pub fn open(path: &Path) -> Result<Records> {
    Ok(Records::new(read::open(path)?))
}

impl Records {
    /// The rows that a reader still has.
    pub fn new(reader: TableReader) -> Self {
        let names = reader.columns().iter().map(|column| Arc::from(column.name.as_str())).collect();
        Self { reader, names, batch: None }
    }
}

impl Iterator for Records {
    type Item = Result<Map<String, Value>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((batch, row)) = &mut self.batch
                && *row < batch.num_rows()
            {
                let record = self
                    .names
                    .iter()
                    .zip(batch.columns())
                    .map(|(name, array)| (name.to_string(), value_of(array, *row)))
                    .collect();
                *row += 1;
                return Some(Ok(record));
            }
            match self.reader.next()? {
                Ok(batch) => self.batch = Some((batch, 0)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The rows of one batch of a [`TableReader`].
pub fn of_batch(batch: &RecordBatch) -> impl Iterator<Item = Map<String, Value>> + '_ {
    let schema = batch.schema();
    (0..batch.num_rows()).map(move |row| {
        schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| (field.name().clone(), value_of(array, row)))
            .collect()
    })
}

/// One value of an array of a canonical type; `null` beyond its end.
pub fn value_of(array: &ArrayRef, row: usize) -> Value {
    if row >= array.len() || array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::Timestamp(_, _) => Moment(array.as_primitive::<MomentType>().value(row)).rfc3339().into(),
        _ => exact::value(array, row).map_or(Value::Null, exact::Exact::shown),
    }
}

/// One value as text: strings as they are, whole numbers without a point, moments as RFC 3339.
pub(crate) fn text_of(array: &ArrayRef, row: usize) -> Option<String> {
    match value_of(array, row) {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_objects_with_null_for_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, "a,b,at,s\n1,0.5,2013-01-01T10:00:00Z,x\n,inf,,NA\n").unwrap();
        let rows: Vec<String> =
            open(&path).unwrap().map(|row| serde_json::to_string(&row.unwrap()).unwrap()).collect();
        assert_eq!(
            rows,
            [
                r#"{"a":1,"b":0.5,"at":"2013-01-01T10:00:00Z","s":"x"}"#,
                r#"{"a":null,"b":null,"at":null,"s":null}"#,
            ]
        );
    }
}
