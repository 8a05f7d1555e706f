//! Numbers as they are written in other countries: `1.234,50`, `1 234.5`, `1'234`.

use std::borrow::Cow;

use rondo_core::signature::ColumnType;

use super::ReadOptions;

/// The marks in a file's numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numerals {
    decimal: u8,
    thousands: Option<u8>,
}

/// A text that is no number, in the place of one that would be one if its marks were others.
const NONE: &str = "-";

impl Numerals {
    pub(super) fn of(options: &ReadOptions) -> Self {
        Self { decimal: options.decimal, thousands: options.thousands }
    }

    /// Whether numbers are written as programs do.
    pub(super) fn is_plain(self) -> bool {
        self.decimal == b'.' && self.thousands.is_none()
    }

    /// A value of a column of some type as programs write it; texts stay as they are.
    pub(super) fn plain(self, text: &str, column_type: ColumnType) -> Cow<'_, str> {
        if self.is_plain() || matches!(column_type, ColumnType::String | ColumnType::Other) {
            return Cow::Borrowed(text);
        }
        let trimmed = text.trim();
        let mark = |byte: u8| byte == self.decimal || Some(byte) == self.thousands || byte == b'.';
        let (mantissa, exponent) = trimmed.split_once(['e', 'E']).unwrap_or((trimmed, "0"));
        let mantissa = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
        let numeric = mantissa.bytes().any(|byte| byte.is_ascii_digit())
            && mantissa.bytes().all(|byte| byte.is_ascii_digit() || mark(byte))
            && exponent.parse::<i32>().is_ok();
        if !numeric || !mantissa.bytes().any(mark) {
            return Cow::Borrowed(text);
        }
        self.converted(trimmed).map_or(Cow::Borrowed(NONE), Cow::Owned)
    }

    fn converted(self, text: &str) -> Option<String> {
        let (whole, decimals) = match text.split_once(char::from(self.decimal)) {
            Some((whole, decimals)) => (whole, Some(decimals)),
            None => (text, None),
        };
        if decimals.is_some_and(|decimals| {
            decimals.bytes().any(|byte| !byte.is_ascii_digit() && !matches!(byte, b'e' | b'E' | b'+' | b'-'))
        }) {
            return None;
        }
        let mut plain = match self.thousands.map(char::from) {
            Some(mark) if whole.contains(mark) => {
                let mut groups = whole.split(mark);
                let first = groups.next()?.trim_start_matches(['+', '-']);
                if first.is_empty() || first.len() > 3 || !groups.all(|group| group.len() == 3) {
                    return None;
                }
                whole.replace(mark, "")
            }
            Some(_) | None => whole.to_owned(),
        };
        if plain.contains(['.', ',']) {
            return None;
        }
        if let Some(decimals) = decimals {
            plain.push('.');
            plain.push_str(decimals);
        }
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn german(text: &str) -> String {
        let numerals = Numerals { decimal: b',', thousands: Some(b'.') };
        numerals.plain(text, ColumnType::Number).into_owned()
    }

    #[test]
    fn numbers_lose_their_marks_and_nothing_else_does() {
        for (text, plain) in [
            ("1,5", "1.5"),
            ("-1.234,50", "-1234.50"),
            ("1.234.567", "1234567"),
            ("12", "12"),
            ("1,5e-3", "1.5e-3"),
            ("2013-01-01", "2013-01-01"),
            ("10:00:00,5", "10:00:00,5"),
            ("word", "word"),
            ("a,b", "a,b"),
        ] {
            assert_eq!(german(text), plain, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_number_is_none() {
        for text in ["1.5", "1.23", "01.02.2013", "1,2,3", "1.2345", ".5.", "1.234.5"] {
            assert_eq!(german(text), NONE, "{text}");
        }
        let only_decimal = Numerals { decimal: b',', thousands: None };
        assert_eq!(only_decimal.plain("1.500", ColumnType::Number), NONE);
        assert_eq!(only_decimal.plain("1.500", ColumnType::String), "1.500");
        assert_eq!(only_decimal.plain(".,", ColumnType::Number), ".,");
    }
}
