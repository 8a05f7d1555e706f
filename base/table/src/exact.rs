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

use crate::moment::{Moment, MomentType};

/// Whole numbers below it are told apart by their nearest numbers.
const WHOLE: u64 = 1 << 53;
/// Decimals of fewer digits are told apart by their nearest numbers.
const SHORT: u128 = 1_000_000_000_000_000;
/// A number is written with fewer digits than this has.
const LONG: u128 = 100_000_000_000_000_000;
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
        DataType::Decimal32(_, scale) => (*scale, array.as_primitive::<Decimal32Type>().value(row).into()),
        DataType::Decimal64(_, scale) => (*scale, array.as_primitive::<Decimal64Type>().value(row).into()),
        DataType::Decimal128(_, scale) => (*scale, array.as_primitive::<Decimal128Type>().value(row)),
        DataType::Decimal256(_, scale) => {
            (*scale, array.as_primitive::<Decimal256Type>().value(row).to_i128()?)
        }
        _ => return None,
    })
}

/// The first row with a value for which its nearest number may not stand alone.
pub(crate) fn first_shared(array: &ArrayRef) -> Option<usize> {
    fn first<T>(array: &ArrayRef, values: &[T], shares: impl Fn(&T) -> bool) -> Option<usize> {
        (0..).zip(values).find(|(row, value)| shares(value) && array.is_valid(*row)).map(|(row, _)| row)
    }
    match array.data_type() {
        DataType::Int64 => {
            first(array, array.as_primitive::<Int64Type>().values(), |value| value.unsigned_abs() >= WHOLE)
        }
        DataType::UInt64 => first(array, array.as_primitive::<UInt64Type>().values(), |value| {
            *value >= WHOLE && is_shared(whole((*value).into()))
        }),
        DataType::Timestamp(_, _) => {
            first(array, array.as_primitive::<MomentType>().values(), |value| Moment(*value).rounds())
        }
        // Few digits are told without a look at their number.
        other if is_exact(other) => (0..array.len()).find(|row| {
            !digits(array, *row).is_some_and(|(scale, digits)| is_short(digits, scale))
                && value(array, *row).is_some_and(is_shared)
        }),
        _ => None,
    }
}

fn is_shared(value: Exact) -> bool {
    matches!(value, Exact::Digits(_))
}

/// Adds, for each value that is there, a word by which it is told from all others: the bits of its nearest
/// number where that stands for it alone. Profiles keep these words.
pub(crate) fn words_into(array: &ArrayRef, words: &mut Vec<u64>) {
    match array.data_type() {
        DataType::Int64 => {
            words.extend(
                array.as_primitive::<Int64Type>().iter().flatten().map(|value| word_of_whole(value.into())),
            );
        }
        DataType::UInt64 => {
            words.extend(
                array.as_primitive::<UInt64Type>().iter().flatten().map(|value| word_of_whole(value.into())),
            );
        }
        DataType::Timestamp(_, _) => {
            let moments = array.as_primitive::<MomentType>().iter().flatten().map(Moment);
            words.extend(moments.map(|moment| match moment.rounds() {
                true => mixed(moment.0.into(), i8::MIN),
                false => moment.scale().to_bits(),
            }));
        }
        _ => words.extend((0..array.len()).filter_map(|row| word(array, row))),
    }
}

fn word_of_whole(value: i128) -> u64 {
    let nearest = value as f64;
    if nearest as i128 == value { nearest.to_bits() } else { mixed(value, 0) }
}

/// The word of a decimal; of one with many digits without spelling it.
fn word(array: &ArrayRef, row: usize) -> Option<u64> {
    if let Some((scale, digits)) = digits(array, row)
        && !is_short(digits, scale)
        && let (digits, scale) = stripped(digits, scale)
        && (scale == 0 || scale > 0 && digits.unsigned_abs() >= LONG)
    {
        return Some(if scale == 0 { word_of_whole(digits) } else { mixed(digits, scale) });
    }
    Some(match value(array, row)? {
        Exact::Number(number) => number.to_bits(),
        Exact::Digits(text) => word_of_text(&text),
    })
}

fn word_of_text(text: &str) -> u64 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    match (format!("{whole}{part}").parse(), i8::try_from(part.len())) {
        (Ok(digits), Ok(scale)) => mixed(digits, scale),
        // Of more digits than 128 bits hold.
        _ => text.bytes().fold(0, |word, byte| mixed(word.into(), byte as i8)),
    }
}

/// Digits and a scale as a word of which every bit depends on all of them.
fn mixed(digits: i128, scale: i8) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |word: u64| {
        let product = u128::from(word) * u128::from(MULTIPLIER);
        (product as u64) ^ (product >> 64) as u64
    };
    let (low, high) = (digits as u64, (digits >> 64) as u64);
    let mut word = fold(low ^ 0xd6e8_feb8_6659_fd93);
    word = fold(word ^ high.rotate_left(32) ^ u64::from(scale as u8));
    fold(word ^ (word >> 32))
}

/// Digits and their scale without zeros behind the point that say nothing.
fn stripped(mut digits: i128, mut scale: i8) -> (i128, i8) {
    while scale > 0 && digits % 10 == 0 {
        digits /= 10;
        scale -= 1;
    }
    (digits, scale)
}

fn is_short(digits: i128, scale: i8) -> bool {
    digits.unsigned_abs() < SHORT && SCALES.contains(&scale)
}

/// A whole number.
pub(crate) fn whole(value: i128) -> Exact {
    let nearest = value as f64;
    if nearest as i128 == value { Exact::Number(nearest) } else { Exact::Digits(value.to_string()) }
}

fn decimal(digits: i128, scale: i8, text: impl Fn() -> String) -> Exact {
    if is_short(digits, scale) {
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
        fn words_are_equal_where_values_are(digits in any::<i64>(), step in 0_i128..3, scale in 0_i8..20, zeros in 0_u32..4, power in 0_u32..19) {
            let word = |digits: i128, scale: i8| {
                let array = Decimal128Array::from(vec![digits]).with_precision_and_scale(38, scale).unwrap();
                let mut words = Vec::new();
                words_into(&(Arc::new(array) as ArrayRef), &mut words);
                words[0]
            };
            let digits = i128::from(digits) / 10_i128.pow(power);
            prop_assert_eq!(word(digits, scale) == word(digits + step, scale), step == 0);
            prop_assert_eq!(word(digits, scale), word(digits * 10_i128.pow(zeros), scale + zeros as i8));
            let spelt = match of(digits, scale) {
                Exact::Number(number) => number.to_bits(),
                Exact::Digits(text) => word_of_text(&text),
            };
            prop_assert_eq!(word(digits, scale), spelt);
            let whole: ArrayRef = Arc::new(arrow_array::Int64Array::from(vec![digits as i64]));
            let mut words = Vec::new();
            words_into(&whole, &mut words);
            prop_assert_eq!(word(digits, 0), words[0]);
        }

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
