//! Rows of JSON as a batch: what a service has received, put into columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow_schema::{Field, Schema};
use rondo_core::signature::{Column, ColumnType};
use serde_json::{Map, Value};

use crate::error::{Result, TableError};
use crate::moment;
use crate::read::{Inferred, arrow_type, type_of};

/// The columns of rows: those that are known, and behind them what else the rows have, in the order in which
/// it appears. A known column keeps its type as long as every value fits it; any other type is the one that a
/// file of these records would have.
pub fn columns(known: &[Column], rows: &[&Map<String, Value>]) -> Vec<Column> {
    let mut found: Vec<(String, Inferred)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for column in known {
        places.insert(&column.name, found.len());
        found.push((column.name.clone(), Inferred::Known(column.column_type)));
    }
    for (name, value) in rows.iter().flat_map(|row| row.iter()) {
        let at = *places.entry(name).or_insert_with(|| {
            found.push((name.clone(), Inferred::Empty));
            found.len() - 1
        });
        let Some((_, inferred)) = found.get_mut(at) else { continue };
        let fits = matches!(*inferred, Inferred::Known(column_type) if fits(value, column_type));
        if !fits && !value.is_null() {
            *inferred = inferred.widen(Inferred::Known(type_of(value)));
        }
    }
    let column = |(name, inferred): (String, Inferred)| Column {
        name,
        column_type: inferred.column_type(),
        nullable: true,
    };
    found.into_iter().map(column).collect()
}

/// Whether a value is one of a column of this type.
fn fits(value: &Value, column_type: ColumnType) -> bool {
    match column_type {
        ColumnType::Integer => integer(value).is_some(),
        ColumnType::Number => number(value).is_some(),
        ColumnType::Boolean => value.is_boolean(),
        ColumnType::String | ColumnType::Other => true,
        ColumnType::Timestamp => value.as_str().and_then(moment::parse).is_some(),
    }
}

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
            let micros = values.map(|value| value.and_then(Value::as_str).and_then(moment::parse));
            Arc::new(micros.collect::<moment::MomentArray>().with_timezone("UTC"))
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

    #[test]
    fn a_known_column_keeps_its_type_until_a_value_does_not_fit() {
        let column = |name: &str, column_type| Column { name: name.into(), column_type, nullable: false };
        let known = [
            column("whole", ColumnType::Integer),
            column("n", ColumnType::Number),
            column("at", ColumnType::Timestamp),
            column("absent", ColumnType::Boolean),
        ];
        let types = |rows: &[Value]| -> Vec<String> {
            let maps: Vec<&Map<String, Value>> = rows.iter().filter_map(Value::as_object).collect();
            columns(&known, &maps).iter().map(|c| format!("{} {}", c.name, c.column_type.text())).collect()
        };
        let good =
            [json!({"whole": 3.0, "n": 1, "at": "2024-01-01", "x": 1}), json!({"whole": null, "x": 2.5})];
        let expected = ["whole integer", "n number", "at timestamp", "absent boolean", "x number"];
        assert_eq!(types(&good), expected);
        let bad = [json!({"whole": 3.5, "n": "many", "at": "soon", "y": true})];
        let expected = ["whole number", "n string", "at string", "absent boolean", "y boolean"];
        assert_eq!(types(&bad), expected);
        assert_eq!(types(&[]).len(), 4);
    }
}
