//! Numbers that a floating-point number of 64 bits cannot tell from their neighbours: unsigned and signed whole
//! numbers beyond 2⁵³ and decimals of many digits.
//!
//! Where values are computed with they are floating point. Where it counts whether two are equal (keys,
//! repeated rows, comparisons, leakage) tables hand them out in their own type ([`crate::read::TableReader`]),
//! and this says of each value whether its nearest number stands for it alone. A whole number is its nearest
//! number where the two are equal; any other decimal where the number, written as short as it can be, is the
//! decimal: so `0.1` is the same in either type. No two values share a number, then; the rest is told by its
//! digits.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, Int64Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use serde_json::Value;

use crate::moment::MomentType;

/// Decimals of fewer digits are told apart by their nearest numbers.
const SHORT: u128 = 1_000_000_000_000_000;
/// Scales up to this one are within what a number reaches with so many digits.
const SCALES: std::ops::RangeInclusive<i8> = 0..=38;

/// A value of a column of numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Exact {
    /// Its nearest number stands for it alone.
    Number(f64),
    /// Its digits, without zeros that say nothing.
    Digits(String),
}

/// Whether arrays of this type are handed out as they are where equality counts.
pub(crate) fn is_exact(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::UInt64
            | DataType::Decimal32(_, _)
            | DataType::Decimal64(_, _)
            | DataType::Decimal128(_, _)
            | DataType::Decimal256(_, _)
    )
}

/// The value in a row of an array of such a type; nothing of another, of a missing value, or beyond the end.
pub(crate) fn value(array: &ArrayRef, row: usize) -> Option<Exact> {
    if row >= array.len() || array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::UInt64 => whole(array.as_primitive::<UInt64Type>().value(row).into()),
        DataType::Decimal32(_, scale) => {
            let digits = array.as_primitive::<Decimal32Type>().value(row);
            decimal(i128::from(digits), *scale, || Decimal32Type::format_decimal(digits, u8::MAX, *scale))
        }
        DataType::Decimal64(_, scale) => {
            let digits = array.as_primitive::<Decimal64Type>().value(row);
            decimal(i128::from(digits), *scale, || Decimal64Type::format_decimal(digits, u8::MAX, *scale))
        }
        DataType::Decimal128(_, scale) => {
            let digits = array.as_primitive::<Decimal128Type>().value(row);
            decimal(digits, *scale, || Decimal128Type::format_decimal(digits, u8::MAX, *scale))
        }
        DataType::Decimal256(_, scale) => {
            let digits = array.as_primitive::<Decimal256Type>().value(row);
            let text = || Decimal256Type::format_decimal(digits, u8::MAX, *scale);
            decimal(digits.to_i128().unwrap_or(i128::MAX), *scale, text)
        }
        _ => return None,
    })
}

/// The digits in a row of an array whose values may share a number, with the power of ten that divides them.
pub(crate) fn digits(array: &ArrayRef, row: usize) -> Option<(i8, i128)> {
    if row >= array.len() || array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Int64 => (0, array.as_primitive::<Int64Type>().value(row).into()),
        DataType::Timestamp(_, _) => (0, array.as_primitive::<MomentType>().value(row).into()),
        DataType::UInt64 => (0, array.as_primitive::<UInt64Type>().value(row).into()),
        DataType::Decimal64(_, scale) => (*scale, array.as_primitive::<Decimal64Type>().value(row).into()),
        DataType::Decimal128(_, scale) => (*scale, array.as_primitive::<Decimal128Type>().value(row)),
        DataType::Decimal256(_, scale) => {
            (*scale, array.as_primitive::<Decimal256Type>().value(row).to_i128()?)
        }
        _ => return None,
    })
}

/// A whole number.
pub(crate) fn whole(value: i128) -> Exact {
    let nearest = value as f64;
    if nearest as i128 == value { Exact::Number(nearest) } else { Exact::Digits(value.to_string()) }
}

fn decimal(digits: i128, scale: i8, text: impl Fn() -> String) -> Exact {
    if digits.unsigned_abs() < SHORT && SCALES.contains(&scale) {
        // What has so few digits is what its nearest number is written as.
        return Exact::Number(short(digits, scale).unwrap_or_else(|| text().parse().unwrap_or(f64::NAN)));
    }
    of_text(&text())
}

/// The quotient where both the digits and the power of ten are exact.
fn short(digits: i128, scale: i8) -> Option<f64> {
    (scale <= 22).then(|| digits as f64 / 10_f64.powi(scale.into()))
}

fn of_text(text: &str) -> Exact {
    let text = match text.split_once('.') {
        Some((whole, part)) => match part.trim_end_matches('0') {
            "" => Cow::Borrowed(whole),
            part => Cow::Owned(format!("{whole}.{part}")),
        },
        None => Cow::Borrowed(text),
    };
    if let Ok(number) = text.parse::<i128>() {
        return whole(number);
    }
    // A decimal is always written as a number; one beyond 128 bits is told by its digits.
    let nearest: f64 = text.parse().unwrap_or(f64::NAN);
    if text.contains('.') && nearest.to_string() == text {
        Exact::Number(nearest)
    } else {
        Exact::Digits(text.into_owned())
    }
}

impl Exact {
    /// The nearest number.
    pub(crate) fn nearest(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Digits(digits) => digits.parse().unwrap_or(f64::NAN),
        }
    }

    /// As it is shown: digits that JSON's numbers cannot keep as text.
    pub(crate) fn shown(self) -> Value {
        match self {
            Self::Number(number) => number.into(),
            Self::Digits(digits) => digits_shown(digits),
        }
    }
}

/// Digits as a number where it keeps them all.
pub(crate) fn digits_shown(digits: String) -> Value {
    match (digits.parse::<i64>(), digits.parse::<u64>()) {
        (Ok(number), _) => number.into(),
        (_, Ok(number)) => number.into(),
        _ => digits.into(),
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod unit_tests {
    use std::sync::Arc;

    use arrow_array::{Decimal128Array, UInt64Array};
    use proptest::prelude::*;

    use super::*;

    fn of(digits: i128, scale: i8) -> Exact {
        let array = Decimal128Array::from(vec![digits]).with_precision_and_scale(38, scale).unwrap();
        value(&(Arc::new(array) as ArrayRef), 0).unwrap()
    }

    #[test]
    fn a_number_stands_for_one_value_alone() {
        let array: ArrayRef = Arc::new(UInt64Array::from(vec![Some(7), Some(1 << 63), Some(u64::MAX), None]));
        let values: Vec<_> = (0..5).map(|row| value(&array, row)).collect();
        assert_eq!(values[0], Some(Exact::Number(7.0)));
        assert_eq!(values[1], Some(Exact::Number(9_223_372_036_854_775_808.0)));
        assert_eq!(values[2], Some(Exact::Digits("18446744073709551615".into())));
        assert_eq!((&values[3], &values[4]), (&None, &None));
        assert_eq!(values[2].clone().unwrap().shown(), serde_json::json!(u64::MAX));
        assert_eq!(of(10, 2), Exact::Number(0.1));
        assert_eq!(of(123_456_789_012_345_678_901, 3), Exact::Digits("123456789012345678.901".into()));
        assert_eq!(of(100_000_000_000_000_000_000, 18), Exact::Number(100.0));
        assert_eq!(of(9_007_199_254_740_993_000, 3), Exact::Digits("9007199254740993".into()));
        assert_eq!(whole(9_007_199_254_740_993), of(9_007_199_254_740_993_000, 3));
    }

    proptest! {
        #[test]
        fn values_are_equal_where_they_are_the_same(digits in any::<i64>(), step in 0_i128..3, scale in 0_i8..20, zeros in 0_u32..4) {
            let digits = i128::from(digits);
            prop_assert_eq!(of(digits, scale) == of(digits + step, scale), step == 0);
            // Zeros behind change nothing.
            prop_assert_eq!(of(digits, scale), of(digits * 10_i128.pow(zeros), scale + zeros as i8));
        }

        #[test]
        fn a_number_and_the_decimal_that_it_is_written_as_are_the_same(digits in -999_999_999_999_999_i64..999_999_999_999_999, scale in 0_i8..20) {
            let text = Decimal128Type::format_decimal(digits.into(), u8::MAX, scale);
            prop_assert_eq!(of(digits.into(), scale), Exact::Number(text.parse::<f64>().unwrap()));
        }
    }
}
