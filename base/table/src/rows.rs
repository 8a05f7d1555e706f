//! Rows of JSON as a batch: what a service has received, put into columns.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
    TimestampMillisecondArray,
};
use arrow_schema::{Field, Schema};
use rondo_core::signature::{Column, ColumnType};
use serde_json::{Map, Value};

use crate::error::{Result, TableError};
use crate::moment;
use crate::read::arrow_type;

/// The rows as one batch with these columns. A value that is absent, null or not of the column's type is
/// missing; what a row has beside the columns is left out.
///
/// # Errors
/// When the columns cannot make a batch (a name twice).
pub fn batch(columns: &[Column], rows: &[&Map<String, Value>]) -> Result<RecordBatch> {
    let fields: Vec<Field> =
        columns.iter().map(|column| Field::new(&column.name, arrow_type(column.column_type), true)).collect();
    let arrays: Vec<ArrayRef> = columns.iter().map(|column| array(column, rows)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|error| TableError::Batch { what: "join the columns", reason: error.to_string() })
}

fn array(column: &Column, rows: &[&Map<String, Value>]) -> ArrayRef {
    let values = rows.iter().map(|row| row.get(&column.name).filter(|value| !value.is_null()));
    match column.column_type {
        ColumnType::Integer => Arc::new(values.map(|value| value.and_then(integer)).collect::<Int64Array>()),
        ColumnType::Number => Arc::new(values.map(|value| value.and_then(number)).collect::<Float64Array>()),
        ColumnType::Boolean => {
            Arc::new(values.map(|value| value.and_then(Value::as_bool)).collect::<BooleanArray>())
        }
        ColumnType::String | ColumnType::Other => {
            Arc::new(values.map(|value| value.map(text)).collect::<StringArray>())
        }
        ColumnType::Timestamp => {
            let millis = values.map(|value| value.and_then(Value::as_str).and_then(moment::parse_millis));
            Arc::new(millis.collect::<TimestampMillisecondArray>().with_timezone("UTC"))
        }
    }
}

fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let number = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9e15)?;
        Some(number as i64)
    })
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_bool().map(f64::from))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::records;

    #[test]
    fn rows_become_columns_and_back() {
        let column = |name: &str, column_type| Column { name: name.into(), column_type, nullable: true };
        let columns = [
            column("n", ColumnType::Number),
            column("i", ColumnType::Integer),
            column("s", ColumnType::String),
        ];
        let rows = [json!({"n": 1.5, "i": 3.0, "s": "a", "x": 1}), json!({"n": "no", "s": null})];
        let maps: Vec<&Map<String, Value>> = rows.iter().filter_map(Value::as_object).collect();
        let back: Vec<_> = records::of_batch(&batch(&columns, &maps).unwrap()).map(Value::Object).collect();
        assert_eq!(back[0], json!({"n": 1.5, "i": 3, "s": "a"}));
        assert_eq!(back[1], json!({"n": null, "i": null, "s": null}));
    }
}
