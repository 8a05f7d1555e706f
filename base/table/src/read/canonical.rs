//! From the forty types of arrow to the five that the rest of the crate knows.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch, TimestampMillisecondArray};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use rondo_core::signature::ColumnType;

use crate::error::{Result, TableError};

/// The arrow type of a column's values in every batch.
pub(crate) fn arrow_type(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::String | ColumnType::Other => DataType::Utf8,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
    }
}

/// What a column of any arrow type is to Rondo.
pub(crate) fn column_type(data_type: &DataType) -> ColumnType {
    match data_type {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => ColumnType::Integer,
        DataType::UInt64
        | DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal32(_, _)
        | DataType::Decimal64(_, _)
        | DataType::Decimal128(_, _)
        | DataType::Decimal256(_, _) => ColumnType::Number,
        DataType::Boolean => ColumnType::Boolean,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => ColumnType::String,
        DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64 => ColumnType::Timestamp,
        DataType::Dictionary(_, values) => column_type(values),
        _ => ColumnType::Other,
    }
}

/// A batch of any types as one of the canonical types.
pub(crate) fn batch(batch: &RecordBatch, path: &Path) -> Result<RecordBatch> {
    convert(batch, path, false)
}

/// The same, but texts with keys stay that.
pub(crate) fn batch_with_keys(batch: &RecordBatch, path: &Path) -> Result<RecordBatch> {
    convert(batch, path, true)
}

/// Whether an array has texts with 32-bit keys.
pub(super) fn has_keys(array: &ArrayRef) -> bool {
    matches!(array.data_type(), DataType::Dictionary(keys, texts)
        if **keys == DataType::Int32 && **texts == DataType::Utf8)
        // A key may lead to a missing text: then the keys do not say what is missing.
        && array.as_any_dictionary_opt().is_some_and(|keyed| keyed.values().null_count() == 0)
}

fn convert(batch: &RecordBatch, path: &Path, keys: bool) -> Result<RecordBatch> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut arrays = Vec::with_capacity(batch.num_columns());
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let array = if keys && has_keys(array) { Arc::clone(array) } else { canonical(array, path)? };
        fields.push(Field::new(field.name(), array.data_type().clone(), true));
        arrays.push(array);
    }
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|error| TableError::Batch { what: "join the columns", reason: error.to_string() })
}

/// An array of any type as one of the canonical types.
fn canonical(array: &ArrayRef, path: &Path) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Int64 | DataType::Float64 | DataType::Boolean | DataType::Utf8 => Ok(Arc::clone(array)),
        DataType::Timestamp(unit, _) => Ok(millis(array, *unit)),
        DataType::Date32 | DataType::Date64 => {
            let dates = cast(array, &DataType::Timestamp(TimeUnit::Millisecond, None), path)?;
            Ok(millis(&dates, TimeUnit::Millisecond))
        }
        DataType::Dictionary(_, values) => canonical(&cast(array, values, path)?, path),
        other => match column_type(other) {
            ColumnType::Other => Ok(Arc::clone(array)),
            known => cast(array, &arrow_type(known), path),
        },
    }
}

/// Moments of any unit as UTC milliseconds, rounded down; a zone changes how a moment is shown and not
/// which it is, one without a zone is taken as UTC.
fn millis(array: &ArrayRef, unit: TimeUnit) -> ArrayRef {
    let moments: TimestampMillisecondArray = match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().unary(|v| v.saturating_mul(1000)),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().clone(),
        TimeUnit::Microsecond => {
            array.as_primitive::<TimestampMicrosecondType>().unary(|v| v.div_euclid(1000))
        }
        TimeUnit::Nanosecond => {
            array.as_primitive::<TimestampNanosecondType>().unary(|v| v.div_euclid(1_000_000))
        }
    };
    Arc::new(moments.with_timezone("UTC"))
}

/// An array as the table's type for its column: the same, or a wider one of another part.
pub(super) fn widen(array: &ArrayRef, wanted: &DataType, path: &Path) -> Result<ArrayRef> {
    if array.data_type() == wanted { Ok(Arc::clone(array)) } else { cast(array, wanted, path) }
}

fn cast(array: &ArrayRef, wanted: &DataType, path: &Path) -> Result<ArrayRef> {
    // `safe: false`: a value that does not fit is an error, never a null.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, wanted, &options)
        .map_err(|error| TableError::Parquet { path: path.to_owned(), reason: error.to_string() })
}
