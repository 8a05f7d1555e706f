//! Cells as bytes and back: a short form that is the same for the same value, whichever table it is from.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use rondo_core::signature::ColumnType;
use serde_json::{Map, Value};

use crate::exact::{self, Exact};
use crate::moment::{Moment, MomentType};
use crate::records;

/// In which form the values of a column are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As whole numbers.
    Integer,
    /// As numbers.
    Number,
    /// As truth values.
    Boolean,
    /// As text.
    Text,
    /// As moments.
    Moment,
}

impl Form {
    /// Of a column that has these types in the two tables; nothing where one is only carried. Types that do
    /// not fit together are compared as they print.
    pub(crate) fn of(before: ColumnType, after: ColumnType) -> Option<Self> {
        use ColumnType::{Boolean, Integer, Number, Other, String, Timestamp};
        match (before, after) {
            (Other, _) | (_, Other) => None,
            (Integer, Integer) => Some(Self::Integer),
            (Integer | Number, Integer | Number) => Some(Self::Number),
            (Boolean, Boolean) => Some(Self::Boolean),
            (Timestamp, Timestamp) => Some(Self::Moment),
            (String | Integer | Number | Boolean | Timestamp, _) => Some(Self::Text),
        }
    }
}

/// The mark of a number that is written by its digits.
const DIGITS: u8 = 2;

/// The columns that are compared.
pub(super) struct Layout {
    pub(super) key: Vec<(String, Form)>,
    pub(super) values: Vec<(String, Form)>,
    /// Whether whole rows are their keys.
    pub(super) whole: bool,
}

impl Layout {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.key.iter().chain(&self.values).map(|(name, _)| name.as_str())
    }

    /// Writes a row of a batch that has these columns in this order: where its key ends.
    pub(super) fn encode(&self, columns: &[ArrayRef], row: usize, bytes: &mut Vec<u8>) -> usize {
        let mut columns = columns.iter();
        for ((_, form), array) in self.key.iter().zip(&mut columns) {
            encode(array, row, *form, bytes);
        }
        let mut end = bytes.len();
        for ((_, form), array) in self.values.iter().zip(columns) {
            encode(array, row, *form, bytes);
        }
        if self.whole {
            end = bytes.len();
        }
        end
    }

    /// The cells beside the key.
    pub(super) fn cells(&self, mut bytes: &[u8]) -> Vec<Value> {
        self.values.iter().map(|(_, form)| decode(&mut bytes, *form)).collect()
    }

    pub(super) fn key_row(&self, mut bytes: &[u8]) -> Map<String, Value> {
        self.key.iter().map(|(name, form)| (name.clone(), decode(&mut bytes, *form))).collect()
    }

    /// A whole row.
    pub(super) fn row(&self, key: &[u8], values: &[u8]) -> Map<String, Value> {
        let mut row = self.key_row(key);
        let mut rest = if self.whole { key } else { values };
        row.extend(self.values.iter().map(|(name, form)| (name.clone(), decode(&mut rest, *form))));
        row
    }
}

/// Adds one cell to the bytes.
pub(crate) fn encode(array: &ArrayRef, row: usize, form: Form, bytes: &mut Vec<u8>) {
    if row >= array.len() || array.is_null(row) {
        return bytes.push(0);
    }
    match (form, array.data_type()) {
        (Form::Integer, DataType::Int64) => fixed(bytes, array.as_primitive::<Int64Type>().value(row)),
        (Form::Number, DataType::Int64) => {
            told(bytes, exact::whole(array.as_primitive::<Int64Type>().value(row).into()));
        }
        (Form::Number, DataType::Float64) => number(bytes, array.as_primitive::<Float64Type>().value(row)),
        (Form::Boolean, DataType::Boolean) => fixed(bytes, i64::from(array.as_boolean().value(row))),
        (Form::Moment, DataType::Timestamp(_, _)) => {
            fixed(bytes, array.as_primitive::<MomentType>().value(row));
        }
        (Form::Number, _) => match exact::value(array, row) {
            Some(value) => told(bytes, value),
            None => bytes.push(0),
        },
        _ => match records::text_of(array, row) {
            Some(text) => spelt(bytes, 1, &text),
            None => bytes.push(0),
        },
    }
}

fn spelt(bytes: &mut Vec<u8>, mark: u8, text: &str) {
    bytes.push(mark);
    bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(text.bytes().take(u32::MAX as usize));
}

/// A number that another may be nearest to is told by its digits.
fn told(bytes: &mut Vec<u8>, value: Exact) {
    match value {
        Exact::Number(value) => number(bytes, value),
        Exact::Digits(digits) => spelt(bytes, DIGITS, &digits),
    }
}

fn fixed(bytes: &mut Vec<u8>, value: i64) {
    bytes.push(1);
    bytes.extend(value.to_le_bytes());
}

/// NaN is a missing value, and there is one zero.
fn number(bytes: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return bytes.push(0);
    }
    let value = if value == 0.0 { 0.0 } else { value };
    fixed(bytes, value.to_bits().cast_signed());
}

/// Takes a value off the front. Bytes that were not written here read as nothing.
fn decode(bytes: &mut &[u8], form: Form) -> Value {
    let Some((mark, rest)) = bytes.split_first().filter(|(mark, _)| matches!(**mark, 1 | DIGITS)) else {
        *bytes = bytes.get(1..).unwrap_or_default();
        return Value::Null;
    };
    if form == Form::Text || *mark == DIGITS {
        let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Value::Null };
        let length = (u32::from_le_bytes(*length) as usize).min(rest.len());
        let (text, rest) = rest.split_at(length);
        *bytes = rest;
        let text = String::from_utf8_lossy(text).into_owned();
        return if form == Form::Text { text.into() } else { exact::digits_shown(text) };
    }
    let Some((value, rest)) = rest.split_first_chunk::<8>() else { return Value::Null };
    *bytes = rest;
    let value = i64::from_le_bytes(*value);
    match form {
        Form::Integer => value.into(),
        Form::Number => match f64::from_bits(value.cast_unsigned()) {
            // JSON has no such numbers.
            number if !number.is_finite() => number.to_string().into(),
            number => number.into(),
        },
        Form::Boolean => (value != 0).into(),
        Form::Moment => Moment(value).rfc3339().into(),
        Form::Text => Value::Null,
    }
}

/// Whether two cells of a form are the same; numbers by a share of the greater amount.
pub(super) fn same(a: &Value, b: &Value, form: Form, tolerance: f64) -> bool {
    if a == b {
        return true;
    }
    // What is told by its digits may be nought apart as numbers go.
    if tolerance == 0.0 {
        return false;
    }
    let Some(distance) = distance(a, b, form) else { return false };
    let amount = match (a.as_i64(), b.as_i64(), real(a, form), real(b, form)) {
        (Some(a), Some(b), _, _) => a.unsigned_abs().max(b.unsigned_abs()) as f64,
        (_, _, Some(a), Some(b)) => a.abs().max(b.abs()),
        _ => return false,
    };
    distance <= tolerance * amount
}

/// How far two numbers are apart. Whole ones are not rounded before.
pub(super) fn distance(a: &Value, b: &Value, form: Form) -> Option<f64> {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => Some(a.abs_diff(b) as f64),
        _ => Some((real(a, form)? - real(b, form)?).abs()).filter(|distance| !distance.is_nan()),
    }
}

/// A cell as a number, one that is told by its digits too.
fn real(value: &Value, form: Form) -> Option<f64> {
    let digits =
        || value.as_str().filter(|_| form == Form::Number)?.parse().ok().filter(|n: &f64| n.is_finite());
    value.as_f64().or_else(digits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn great_whole_numbers_and_infinities_are_told_apart() {
        let great = (1_i64 << 53) + 1;
        assert!(!same(&json!(great), &json!(great - 1), Form::Integer, 0.0));
        assert!(same(&json!(great), &json!(great - 1), Form::Integer, 1e-9));
        assert!(!same(&json!(i64::MIN), &json!(i64::MAX), Form::Integer, 0.5));
        assert_eq!(distance(&json!(great), &json!(great - 1), Form::Integer), Some(1.0));
        for number in [f64::INFINITY, f64::NEG_INFINITY] {
            let mut bytes = Vec::new();
            super::number(&mut bytes, number);
            assert_eq!(decode(&mut bytes.as_slice(), Form::Number), json!(number.to_string()));
        }
    }
}
