//! Numbers to their last digit, of whatever type: for limits, where the nearest floating-point number is the
//! same on both sides.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Neg;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal256Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::i256;
use arrow_schema::DataType;

use crate::exact;

/// The scale of moments, which are milliseconds with a fraction where they are numbers.
const MOMENTS: i16 = 3;
/// Whole numbers below it are written with all their digits.
const WIDE: f64 = 1e38;

/// Digits, of which so many as the scale says stand behind the point.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    digits: i256,
    scale: i16,
}

impl Decimal {
    /// A whole number.
    pub(crate) fn whole(value: i128) -> Self {
        Self { digits: i256::from_i128(value), scale: 0 }
    }

    /// A moment, on the scale on which it is a number.
    pub(crate) fn moment(micros: i64) -> Self {
        Self { digits: i256::from_i128(micros.into()), scale: MOMENTS }
    }

    /// What is written as digits with a point and an exponent, up to 76 of them.
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let spelt = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !spelt(whole.strip_prefix(['-', '+']).unwrap_or(whole)) || !spelt(part) {
            return None;
        }
        let digits = format!("{}{part}", whole.strip_prefix('+').unwrap_or(whole));
        let scale = i16::try_from(part.len()).ok()?.checked_sub(exponent.parse().ok()?)?;
        Some(Self { digits: i256::from_string(&digits)?, scale })
    }

    /// What a number stands for: itself where it is whole, otherwise what it is written as.
    pub fn of_number(number: f64) -> Option<Self> {
        if number.fract() == 0.0 && number.abs() < WIDE {
            return Some(Self::whole(number as i128));
        }
        Self::parse(&format!("{number:e}"))
    }

    /// The number or moment in a row; nothing of other values, and where there is none.
    pub(crate) fn at(array: &ArrayRef, row: usize) -> Option<Self> {
        if row >= array.len() || array.is_null(row) {
            return None;
        }
        match array.data_type() {
            DataType::Float64 => Self::of_number(array.as_primitive::<Float64Type>().value(row)),
            DataType::Decimal256(_, scale) => Some(Self {
                digits: array.as_primitive::<Decimal256Type>().value(row),
                scale: (*scale).into(),
            }),
            DataType::Timestamp(_, _) => {
                exact::digits(array, row).map(|(_, micros)| Self { scale: MOMENTS, ..Self::whole(micros) })
            }
            _ => exact::digits(array, row)
                .map(|(scale, digits)| Self { scale: scale.into(), ..Self::whole(digits) }),
        }
    }

    /// The sum, unless there is no room for its digits.
    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let raised = |one: Self| raised(one.digits, one.scale.abs_diff(scale));
        Some(Self { digits: raised(self)?.checked_add(raised(other)?)?, scale })
    }

    /// The product, unless there is no room for its digits.
    pub(crate) fn times(self, other: Self) -> Option<Self> {
        let digits = self.digits.checked_mul(other.digits)?;
        Some(Self { digits, scale: self.scale.checked_add(other.scale)? })
    }

    /// The floating-point number nearest to it.
    pub fn nearest(&self) -> f64 {
        format!("{}e{}", self.digits, -i32::from(self.scale)).parse().unwrap_or(f64::NAN)
    }
}

/// The digits with zeros behind them, unless there is no room for so many.
fn raised(digits: i256, zeros: u16) -> Option<i256> {
    if digits == i256::ZERO {
        return Some(digits);
    }
    digits.checked_mul(i256::from_i128(10).checked_pow(zeros.into())?)
}

impl Neg for Decimal {
    type Output = Self;

    fn neg(self) -> Self {
        Self { digits: self.digits.wrapping_neg(), ..self }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let zeros = self.scale.abs_diff(other.scale);
        match self.scale.cmp(&other.scale) {
            Ordering::Equal => self.digits.cmp(&other.digits),
            // What has no room is further from zero than all that has.
            Ordering::Less => raised(self.digits, zeros)
                .map_or(self.digits.cmp(&i256::ZERO), |digits| digits.cmp(&other.digits)),
            Ordering::Greater => other.cmp(self).reverse(),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Decimal {}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(scale) = usize::try_from(self.scale) else {
            return write!(f, "{}e{}", self.digits, -i32::from(self.scale));
        };
        let digits = self.digits.to_string();
        let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, part) = padded.split_at_checked(padded.len() - scale).unwrap_or((digits, ""));
        let part = part.trim_end_matches('0');
        write!(f, "{sign}{whole}{}{part}", if part.is_empty() { "" } else { "." })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_shown_and_compared_to_the_last_digit() {
        let of = |text: &str| Decimal::parse(text).unwrap();
        for (text, shown) in [
            ("0.10", "0.1"),
            ("-0.05", "-0.05"),
            ("+7", "7"),
            (".5", "0.5"),
            ("12e-1", "1.2"),
            ("18446744073709551615", "18446744073709551615"),
            ("3e2", "3e2"),
        ] {
            assert_eq!(of(text).to_string(), shown);
        }
        assert!(of("18446744073709551615") > of("18446744073709551614.99999"));
        assert!(of("1e300") > of("99999999999999999999999999999999999999.9"));
        assert!(of("-1e300") < of("1e-300") && of("0") < of("1e-300") && of("0e9") == of("0.00"));
        assert!(Decimal::of_number(0.1) == Some(of("0.10")) && of("0.1").nearest() == 0.1);
        for text in ["", "-", "x", "1.2.3", "1e", "1e99999999", "NaN", "inf", "--1", "1-"] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
        assert!(Decimal::of_number(f64::NAN).is_none() && Decimal::of_number(f64::INFINITY).is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_a_decimal_or_refused(text in "[-+0-9.eE]{0,90}") {
            if let Some(decimal) = Decimal::parse(&text) {
                prop_assert_eq!(decimal.cmp(&decimal), Ordering::Equal);
                let _ = decimal.to_string();
            }
        }

        #[test]
        fn the_order_is_that_of_the_numbers(a in any::<i64>(), b in any::<i64>(), x in -5_i16..20, y in -5_i16..20) {
            let (a, b) = (format!("{a}e{x}"), format!("{b}e{y}"));
            let order = Decimal::parse(&a).unwrap().cmp(&Decimal::parse(&b).unwrap());
            let numbers = a.parse::<f64>().unwrap().total_cmp(&b.parse::<f64>().unwrap());
            prop_assert!(numbers.is_eq() || numbers == order);
        }
    }
}
