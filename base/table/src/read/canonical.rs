//! From the forty types of arrow to the five that the rest of the crate knows.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, LargeStringArray, RecordBatch, StringArray, new_null_array};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use rondo_core::signature::ColumnType;

use super::parquet::broken;
use crate::error::{Result, TableError};
use crate::exact::is_exact;
use crate::moment::{self, MomentArray};
use crate::records::text_of;

/// Whole numbers below it are exact as numbers of 64 bits.
const EXACT: u128 = 1 << 53;
/// Powers of ten up to this one are exact, too.
const POWERS: i8 = 22;

/// The arrow type of a column's values in every batch.
pub(crate) fn arrow_type(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::String | ColumnType::Other => DataType::Utf8,
        ColumnType::Timestamp => moment::data_type(),
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
    convert(batch, path, |_| false)
}

/// The same, but numbers that floating point does not tell apart stay what they are.
pub(crate) fn batch_exact(batch: &RecordBatch, path: &Path) -> Result<RecordBatch> {
    convert(batch, path, |array| is_exact(array.data_type()))
}

/// The same, and texts with keys stay that.
pub(crate) fn batch_exact_with_keys(batch: &RecordBatch, path: &Path) -> Result<RecordBatch> {
    convert(batch, path, |array| is_exact(array.data_type()) || has_keys(array))
}

/// The same, but texts with keys stay that.
pub(crate) fn batch_with_keys(batch: &RecordBatch, path: &Path) -> Result<RecordBatch> {
    convert(batch, path, has_keys)
}

/// Whether an array has texts with 32-bit keys.
pub(super) fn has_keys(array: &ArrayRef) -> bool {
    matches!(array.data_type(), DataType::Dictionary(keys, texts)
        if **keys == DataType::Int32 && **texts == DataType::Utf8)
        // A key may lead to a missing text: then the keys do not say what is missing.
        && array.as_any_dictionary_opt().is_some_and(|keyed| keyed.values().null_count() == 0)
}

fn convert(batch: &RecordBatch, path: &Path, stays: impl Fn(&ArrayRef) -> bool) -> Result<RecordBatch> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut arrays = Vec::with_capacity(batch.num_columns());
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let array = if stays(array) { Arc::clone(array) } else { canonical(array, path)? };
        fields.push(Field::new(field.name(), array.data_type().clone(), true));
        arrays.push(array);
    }
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|error| TableError::Batch { what: "join the columns", reason: error.to_string() })
}

/// An array of any type as one of the canonical types.
fn canonical(array: &ArrayRef, path: &Path) -> Result<ArrayRef> {
    let data_type = array.data_type();
    // Such a column is carried as it is, a dictionary of such values too.
    if column_type(data_type) == ColumnType::Other {
        return Ok(Arc::clone(array));
    }
    Ok(match data_type {
        DataType::Int8 => integers::<Int8Type>(array),
        DataType::Int16 => integers::<Int16Type>(array),
        DataType::Int32 => integers::<Int32Type>(array),
        DataType::UInt8 => integers::<UInt8Type>(array),
        DataType::UInt16 => integers::<UInt16Type>(array),
        DataType::UInt32 => integers::<UInt32Type>(array),
        DataType::UInt64 => numbers::<UInt64Type>(array, |value| value as f64),
        DataType::Float16 => numbers::<Float16Type>(array, f64::from),
        DataType::Float32 => numbers::<Float32Type>(array, f64::from),
        DataType::Decimal32(_, scale) => decimals::<Decimal32Type>(array, *scale, |value| Some(value.into())),
        DataType::Decimal64(_, scale) => decimals::<Decimal64Type>(array, *scale, |value| Some(value.into())),
        DataType::Decimal128(_, scale) => decimals::<Decimal128Type>(array, *scale, Some),
        DataType::Decimal256(_, scale) => decimals::<Decimal256Type>(array, *scale, |value| value.to_i128()),
        DataType::LargeUtf8 => Arc::new(short(array.as_string::<i64>()).ok_or_else(|| too_long(path))?),
        DataType::Utf8View => Arc::new(texts(array.as_string_view().iter()).ok_or_else(|| too_long(path))?),
        DataType::Null => new_null_array(&DataType::Utf8, array.len()),
        DataType::Timestamp(unit, _) => of_unit(array, *unit),
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>();
            moments(days.unary(|day| i64::from(day).saturating_mul(moment::DAY)))
        }
        DataType::Date64 => {
            let millis = array.as_primitive::<Date64Type>();
            moments(millis.unary(|value| value.saturating_mul(moment::per(TimeUnit::Millisecond))))
        }
        DataType::Dictionary(_, _) => {
            let keyed = array.as_any_dictionary();
            let values = canonical(keyed.values(), path)?;
            arrow_select::take::take(&values, keyed.keys(), None)
                .map_err(|error| broken(path, &error.to_string()))?
        }
        // What is canonical already.
        _ => Arc::clone(array),
    })
}

fn integers<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &ArrayRef) -> ArrayRef {
    Arc::new(array.as_primitive::<T>().unary::<_, Int64Type>(Into::into))
}

fn numbers<T: ArrowPrimitiveType>(array: &ArrayRef, number: impl Fn(T::Native) -> f64) -> ArrayRef {
    Arc::new(array.as_primitive::<T>().unary::<_, Float64Type>(number))
}

/// Decimals as the numbers nearest to them. Where both the digits and the power of ten are exact, their
/// quotient is; the rest goes by the way of its text, which is rounded once, too.
fn decimals<D>(array: &ArrayRef, scale: i8, digits: impl Fn(D::Native) -> Option<i128>) -> ArrayRef
where
    D: DecimalType + ArrowPrimitiveType,
{
    let power = 10_f64.powi(scale.into());
    let plain = (0..=POWERS).contains(&scale);
    numbers::<D>(array, |value| match digits(value) {
        Some(digits) if plain && digits.unsigned_abs() < EXACT => digits as f64 / power,
        // A decimal is always written as a number.
        _ => D::format_decimal(value, u8::MAX, scale).parse().unwrap_or(f64::NAN),
    })
}

/// Texts with places of 64 bits as such with 32: their bytes stay where they are.
fn short(long: &LargeStringArray) -> Option<StringArray> {
    let (first, last) = (*long.value_offsets().first()?, *long.value_offsets().last()?);
    let bytes =
        long.values().slice_with_length(usize::try_from(first).ok()?, usize::try_from(last - first).ok()?);
    let offsets: Option<Vec<i32>> =
        long.value_offsets().iter().map(|offset| i32::try_from(offset - first).ok()).collect();
    StringArray::try_new(OffsetBuffer::new(offsets?.into()), bytes, long.nulls().cloned()).ok()
}

/// Texts one after another, unless they are longer than 32 bits can say.
fn texts<T: AsRef<str>>(values: impl Iterator<Item = Option<T>> + Clone) -> Option<StringArray> {
    let rows = values.clone().count();
    let bytes = values.clone().flatten().map(|text| text.as_ref().len()).sum();
    i32::try_from(bytes).ok()?;
    let mut builder = StringBuilder::with_capacity(rows, bytes);
    values.for_each(|value| builder.append_option(value));
    Some(builder.finish())
}

/// Moments of any unit as those of tables, rounded down; a zone changes how a moment is shown and not which it
/// is, one without a zone is taken as UTC.
fn of_unit(array: &ArrayRef, unit: TimeUnit) -> ArrayRef {
    moments(match unit {
        TimeUnit::Second => {
            array.as_primitive::<TimestampSecondType>().unary(|v| v.saturating_mul(moment::per(unit)))
        }
        TimeUnit::Millisecond => {
            array.as_primitive::<TimestampMillisecondType>().unary(|v| v.saturating_mul(moment::per(unit)))
        }
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().clone(),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().unary(|v| v.div_euclid(1000)),
    })
}

fn moments(moments: MomentArray) -> ArrayRef {
    Arc::new(moments.with_timezone("UTC"))
}

/// An array as the table's type for its column: the same, or a wider one of another part.
pub(super) fn widen(array: &ArrayRef, wanted: &DataType, path: &Path) -> Result<ArrayRef> {
    Ok(match (array.data_type(), wanted) {
        (found, wanted) if found == wanted => Arc::clone(array),
        (DataType::Int64, DataType::Float64) => numbers::<Int64Type>(array, |value| value as f64),
        // A part without a value in the column has no type of its own.
        _ if array.null_count() == array.len() => new_null_array(wanted, array.len()),
        (_, DataType::Utf8) => {
            let values: Vec<Option<String>> = (0..array.len()).map(|row| text_of(array, row)).collect();
            Arc::new(texts(values.iter().map(Option::as_deref)).ok_or_else(|| too_long(path))?)
        }
        (found, wanted) => return Err(broken(path, &format!("a column of {found} is none of {wanted}"))),
    })
}

fn too_long(path: &Path) -> TableError {
    broken(path, "the texts of one batch are longer than 2 GiB")
}

#[cfg(test)]
mod tests {
    use arrow_array::builder::BinaryDictionaryBuilder;
    use arrow_array::types::{Int8Type as Key, UInt16Type as Wide};
    use arrow_array::*;
    use arrow_buffer::i256;
    use proptest::prelude::*;

    use super::*;

    fn of(array: impl Array + 'static) -> ArrayRef {
        let array: ArrayRef = Arc::new(array);
        let known = column_type(array.data_type());
        let read = canonical(&array, Path::new("t")).unwrap();
        assert_eq!((read.len(), read.data_type()), (array.len(), &arrow_type(known)));
        read
    }

    fn shown(array: impl Array + 'static) -> Vec<Option<String>> {
        let read = of(array);
        (0..read.len()).map(|row| text_of(&read, row)).collect()
    }

    fn some<const N: usize>(values: [&str; N]) -> Vec<Option<String>> {
        values.map(|value| (!value.is_empty()).then(|| value.to_owned())).to_vec()
    }

    #[test]
    fn whole_numbers_of_any_width_keep_their_values_and_their_gaps() {
        assert_eq!(shown(Int8Array::from(vec![Some(i8::MIN), None])), some(["-128", ""]));
        assert_eq!(shown(Int16Array::from(vec![Some(i16::MIN), None])), some(["-32768", ""]));
        assert_eq!(shown(Int32Array::from(vec![Some(i32::MIN), None])), some(["-2147483648", ""]));
        assert_eq!(shown(UInt8Array::from(vec![Some(u8::MAX), None])), some(["255", ""]));
        assert_eq!(shown(UInt16Array::from(vec![Some(u16::MAX), None])), some(["65535", ""]));
        assert_eq!(shown(UInt32Array::from(vec![Some(u32::MAX), None])), some(["4294967295", ""]));
        assert_eq!(shown(UInt64Array::from(vec![Some(1 << 63), None])), some(["9.223372036854776e+18", ""]));
        assert_eq!(shown(Float32Array::from(vec![Some(0.25), None])), some(["0.25", ""]));
    }

    #[test]
    fn decimals_are_the_nearest_numbers() {
        let array = Decimal128Array::from(vec![Some(125), None]).with_precision_and_scale(5, 2).unwrap();
        assert_eq!(shown(array), some(["1.25", ""]));
        let array = Decimal32Array::from(vec![-3]).with_precision_and_scale(5, -2).unwrap();
        assert_eq!(shown(array), some(["-300.0"]));
        let array = Decimal64Array::from(vec![7]).with_precision_and_scale(9, 9).unwrap();
        assert_eq!(shown(array), some(["7e-9"]));
        let array = Decimal256Array::from(vec![i256::from_parts(0, 1), i256::from_i128(-15)])
            .with_precision_and_scale(76, 1)
            .unwrap();
        assert_eq!(shown(array), some(["3.402823669209385e+37", "-1.5"]));
    }

    #[test]
    fn texts_of_any_layout_keep_their_values_and_their_gaps() {
        let long = LargeStringArray::from(vec![Some("first"), Some("é"), None, Some(""), Some("last")]);
        let mut expected = some(["é", "", ""]);
        expected[2] = Some(String::new());
        assert_eq!(shown(long.slice(1, 3)), expected);
        assert_eq!(shown(long.slice(5, 0)), some([]));
        let view = StringViewArray::from(vec![Some("a text that is not kept in place"), None, Some("b")]);
        assert_eq!(shown(view.slice(0, 2)), some(["a text that is not kept in place", ""]));
        assert_eq!(shown(NullArray::new(2)), some(["", ""]));
    }

    #[test]
    fn days_and_milliseconds_are_moments() {
        assert_eq!(shown(Date32Array::from(vec![Some(-1), None])), some(["1969-12-31T00:00:00Z", ""]));
        assert_eq!(shown(Date64Array::from(vec![Some(1), None])), some(["1970-01-01T00:00:00.001Z", ""]));
    }

    #[test]
    fn what_has_keys_is_looked_up() {
        let keys = Int8Array::from(vec![Some(1), None, Some(0), Some(2)]);
        let values = Arc::new(StringArray::from(vec![Some("a"), Some("b"), None]));
        assert_eq!(shown(DictionaryArray::<Key>::new(keys, values)), some(["b", "", "a", ""]));
        let keys = UInt16Array::from(vec![1, 0]);
        let values = Arc::new(Date32Array::from(vec![0, 1]));
        let dates = DictionaryArray::<Wide>::new(keys, values);
        assert_eq!(shown(dates), some(["1970-01-02T00:00:00Z", "1970-01-01T00:00:00Z"]));
        let mut bytes = BinaryDictionaryBuilder::<Key>::new();
        bytes.append_value([0xff]);
        let bytes: ArrayRef = Arc::new(bytes.finish());
        assert_eq!(canonical(&bytes, Path::new("t")).unwrap().data_type(), bytes.data_type());
    }

    #[test]
    fn a_part_is_widened_to_what_its_table_has() {
        let widen = |array: ArrayRef, wanted| widen(&array, &arrow_type(wanted), Path::new("t"));
        let whole = || Arc::new(Int64Array::from(vec![Some(1), None]));
        assert_eq!(text_of(&widen(whole(), ColumnType::Number).unwrap(), 0), Some("1.0".to_owned()));
        let text = widen(whole(), ColumnType::String).unwrap();
        assert_eq!((text_of(&text, 0), text_of(&text, 1)), (Some("1".to_owned()), None));
        let empty = widen(of(NullArray::new(2)), ColumnType::Timestamp).unwrap();
        assert_eq!((empty.len(), empty.data_type()), (2, &arrow_type(ColumnType::Timestamp)));
        let text = widen(whole(), ColumnType::Boolean).unwrap_err().to_string();
        assert!(text.ends_with("a column of Int64 is none of Boolean"), "{text}");
    }

    proptest! {
        #[test]
        fn a_decimal_is_rounded_once(digits in any::<i64>(), scale in 0_i8..30) {
            let array = Decimal128Array::from(vec![i128::from(digits)]).with_precision_and_scale(38, scale);
            let read = of(array.unwrap()).as_primitive::<Float64Type>().value(0);
            prop_assert_eq!(read, format!("{digits}e-{scale}").parse::<f64>().unwrap());
        }
    }
}
