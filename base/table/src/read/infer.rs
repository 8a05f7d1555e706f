//! The type of a text column: the narrowest that keeps all its values as they are written.
//!
//! Digits that a number would not give back (`007`, `+49`, more of them than 64 bits hold) are a code, and a
//! column with one of them is text, as DuckDB and readr have it and pandas has not. Where a type is declared,
//! it counts, and such digits are read as the number.

use rondo_core::signature::ColumnType;

use crate::moment;

/// What is known of a column's type so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inferred {
    /// No value yet.
    Empty,
    /// All values have this type.
    Known(ColumnType),
}

impl Inferred {
    /// The type, when there is nothing more to see; a column without a value is text.
    pub(crate) fn column_type(self) -> ColumnType {
        match self {
            Self::Empty => ColumnType::String,
            Self::Known(column_type) => column_type,
        }
    }

    /// The narrowest type that holds both: integers are numbers, everything else is text.
    pub(crate) fn widen(self, other: Self) -> Self {
        match (self, other) {
            (Self::Empty, known) | (known, Self::Empty) => known,
            (Self::Known(a), Self::Known(b)) if a == b => self,
            (Self::Known(a), Self::Known(b)) if a.is_numeric() && b.is_numeric() => {
                Self::Known(ColumnType::Number)
            }
            (Self::Known(_), Self::Known(_)) => Self::Known(ColumnType::String),
        }
    }

    /// Takes one more value into account; `text` is not one of the null words.
    pub(super) fn observe(self, text: &str) -> Self {
        // The common cases test one type only: the one that held so far.
        match self {
            Self::Known(ColumnType::String | ColumnType::Other) => self,
            Self::Known(known) if fits(text, known) && !(known.is_numeric() && is_code(text)) => self,
            Self::Empty | Self::Known(_) => self.widen(Self::Known(narrowest(text))),
        }
    }
}

fn narrowest(text: &str) -> ColumnType {
    [ColumnType::Integer, ColumnType::Number, ColumnType::Boolean, ColumnType::Timestamp]
        .into_iter()
        .find(|column_type| fits(text, *column_type))
        .filter(|found| !(found.is_numeric() && is_code(text)))
        .unwrap_or(ColumnType::String)
}

/// Whether a number is written so that it would not come back as it was: with a zero before other digits, with
/// a plus sign, or as a whole number of more than 64 bits.
fn is_code(text: &str) -> bool {
    match text.trim().as_bytes() {
        [b'+', next, ..] => next.is_ascii_digit() || *next == b'.',
        [b'-', b'0', next, ..] | [b'0', next, ..] => next.is_ascii_digit(),
        // No whole number of 64 bits has more than 19 digits, and none with fewer is too large.
        digits if digits.len() < 19 => false,
        [b'-', digits @ ..] | digits => digits.iter().all(u8::is_ascii_digit) && integer(text).is_none(),
    }
}

pub(super) fn fits(text: &str, column_type: ColumnType) -> bool {
    match column_type {
        ColumnType::Integer => integer(text).is_some(),
        ColumnType::Number => number(text).is_some(),
        ColumnType::Boolean => boolean(text).is_some(),
        ColumnType::Timestamp => moment::parse(text.trim()).is_some(),
        ColumnType::String | ColumnType::Other => true,
    }
}

/// A whole number of 64 bits.
pub(super) fn integer(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// A decimal number, or an infinity by name; `nan` is a null word and no number.
pub(super) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    if plain || text.trim_start_matches(['+', '-']).to_ascii_lowercase().starts_with("inf") {
        return text.parse().ok();
    }
    None
}

/// `true` and `false` in three ways of writing.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.trim() {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> ColumnType {
        values.iter().fold(Inferred::Empty, |inferred, value| inferred.observe(value)).column_type()
    }

    #[test]
    fn types_widen_only_as_far_as_needed() {
        assert_eq!(of(&["1", "-2", " 3"]), ColumnType::Integer);
        assert_eq!(of(&["1", "2.5"]), ColumnType::Number);
        assert_eq!(of(&["1e5", "inf"]), ColumnType::Number);
        assert_eq!(of(&["true", "FALSE"]), ColumnType::Boolean);
        assert_eq!(of(&["2013-01-01", "2013-01-01 05:00:00"]), ColumnType::Timestamp);
        assert_eq!(of(&["1", "x"]), ColumnType::String);
        assert_eq!(of(&["true", "1"]), ColumnType::String);
        assert_eq!(of(&["2013-01-01", "soon"]), ColumnType::String);
        assert_eq!(of(&["Infinite", "e"]), ColumnType::String);
        assert_eq!(of(&[]), ColumnType::String);
    }

    #[test]
    fn digits_that_a_number_would_not_give_back_are_text() {
        for code in ["007", "00", "-01", "00.5", "+5", "+.5", "9223372036854775808", "-99999999999999999999"]
        {
            assert_eq!(of(&[code]), ColumnType::String, "{code}");
            // However late it comes.
            assert_eq!(of(&["1", "2", code]), ColumnType::String, "{code}");
            assert_eq!(of(&["1.5", code, "2"]), ColumnType::String, "{code}");
        }
        assert_eq!(of(&["0", "-0", "9223372036854775807", "-9223372036854775808"]), ColumnType::Integer);
        assert_eq!(of(&["0.5", "-0.5", "0e5", "1e+20", "0.1234567890123456789012"]), ColumnType::Number);
        assert_eq!(of(&["0001-01-01"]), ColumnType::Timestamp);
        assert!(fits("007", ColumnType::Integer), "where it is declared");
    }
}
