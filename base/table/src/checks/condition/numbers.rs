//! Numbers in a condition, told to their last digit.
//!
//! Their nearest floating-point numbers decide almost every comparison, since rounding keeps the order; digits
//! are looked at where these are the same. Sums, differences and products of whole numbers, decimals and moments
//! are exact; what has a number of floating point in it, and every quotient, is computed as such.

use std::cmp::Ordering;

use arrow_array::ArrayRef;
use arrow_schema::DataType;

use crate::checks::rows::numbers;
use crate::decimal::Decimal;
use crate::exact;

/// Whole numbers below it are computed with exactly in floating point.
const WHOLE: f64 = (1_u64 << 53) as f64;

/// The numbers of an operand, one for each row.
pub(super) enum Numbers<'a> {
    /// Of floating point.
    Floating(Vec<Option<f64>>),
    /// Whole ones that are their nearest numbers.
    Whole(Vec<Option<f64>>),
    /// Those of a column whose nearest numbers may be those of others, too.
    Column(Vec<Option<f64>>, &'a ArrayRef),
    /// What was computed.
    Computed(Vec<Option<Decimal>>),
    /// The same for all rows.
    Literal(Literal),
}

/// A number that is written in a condition, or a moment on the scale on which it is a number.
#[derive(Clone, Copy)]
pub(super) struct Literal {
    nearest: f64,
    digits: Decimal,
    /// Whether it is what its nearest number stands for.
    alone: bool,
}

impl From<Decimal> for Literal {
    fn from(digits: Decimal) -> Self {
        let nearest = digits.nearest();
        Self { nearest, digits, alone: Decimal::of_number(nearest) == Some(digits) }
    }
}

impl<'a> Numbers<'a> {
    /// Those of a column of numbers or moments.
    pub(super) fn of(array: &'a ArrayRef) -> Self {
        match array.data_type() {
            DataType::Float64 => Self::Floating(numbers(array)),
            DataType::Int64 | DataType::UInt64 if exact::first_shared(array).is_none() => {
                Self::Whole(numbers(array))
            }
            _ => Self::Column(numbers(array), array),
        }
    }

    /// Whether they are moments.
    pub(super) fn are_moments(&self) -> bool {
        matches!(self, Self::Column(_, array) if matches!(array.data_type(), DataType::Timestamp(_, _)))
    }

    fn nearest(&self, row: usize) -> Option<f64> {
        match self {
            Self::Floating(values) | Self::Whole(values) | Self::Column(values, _) => {
                values.get(row).copied().flatten()
            }
            Self::Computed(values) => values.get(row).copied().flatten().map(|value| value.nearest()),
            Self::Literal(literal) => Some(literal.nearest),
        }
    }

    fn digits(&self, row: usize) -> Option<Decimal> {
        match self {
            Self::Floating(_) | Self::Whole(_) => Decimal::of_number(self.nearest(row)?),
            Self::Column(_, array) => Decimal::at(array, row),
            Self::Computed(values) => values.get(row).copied().flatten(),
            Self::Literal(literal) => Some(literal.digits),
        }
    }

    /// How the number of a row lies to another one's; nothing where one of them is missing.
    pub(super) fn order(&self, other: &Self, row: usize) -> Option<Ordering> {
        let exactly = || Some(self.digits(row)?.cmp(&other.digits(row)?));
        if matches!(self, Self::Computed(_)) || matches!(other, Self::Computed(_)) {
            return exactly().or_else(|| self.nearest(row)?.partial_cmp(&other.nearest(row)?));
        }
        let nearest = self.nearest(row)?;
        let order = nearest.partial_cmp(&other.nearest(row)?)?;
        if order.is_ne() || self.is_told_from(other, nearest) {
            return Some(order);
        }
        Some(exactly().unwrap_or(order))
    }

    /// Whether the two are the same where their nearest numbers are.
    fn is_told_from(&self, other: &Self, nearest: f64) -> bool {
        match (self, other) {
            (Self::Floating(_) | Self::Whole(_), Self::Floating(_) | Self::Whole(_)) => true,
            // A fraction is written with as many digits as one likes.
            (Self::Literal(literal), Self::Floating(_)) | (Self::Floating(_), Self::Literal(literal)) => {
                literal.alone || nearest.fract() != 0.0
            }
            (Self::Literal(literal), Self::Whole(_)) | (Self::Whole(_), Self::Literal(literal)) => {
                literal.alone
            }
            _ => false,
        }
    }

    /// Both, put together row by row.
    pub(super) fn joined(&self, sign: char, other: &Self, rows: usize) -> Self {
        let floating = |row: usize| {
            let (a, b) = (self.nearest(row)?, other.nearest(row)?);
            let value = match sign {
                '+' => a + b,
                '-' => a - b,
                '*' => a * b,
                _ => a / b,
            };
            Some(value).filter(|value| !value.is_nan())
        };
        let is_floating = |numbers: &Self| matches!(numbers, Self::Floating(_));
        if sign == '/' || is_floating(self) || is_floating(other) {
            return Self::Floating((0..rows).map(floating).collect());
        }
        if self.are_whole() && other.are_whole() {
            let values: Vec<Option<f64>> = (0..rows).map(floating).collect();
            if values.iter().flatten().all(|value| value.abs() < WHOLE) {
                return Self::Whole(values);
            }
        }
        let exact = |row: usize| {
            let (a, b) = (self.digits(row)?, other.digits(row)?);
            let value = match sign {
                '+' => a.plus(b),
                '-' => a.plus(-b),
                _ => a.times(b),
            };
            // What has no room for its digits.
            value.or_else(|| Decimal::of_number(floating(row)?))
        };
        Self::Computed((0..rows).map(exact).collect())
    }

    fn are_whole(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Literal(literal) => literal.alone && literal.nearest.fract() == 0.0,
            _ => false,
        }
    }
}
