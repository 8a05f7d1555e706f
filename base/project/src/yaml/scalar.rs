//! What a plain scalar is in the core schema of YAML 1.2 (section 10.3.2).

use std::ops::RangeInclusive;

use super::Value;

/// The whole numbers that are kept to the last digit, as JSON keeps them: those of 64 bits, with a sign or without.
pub(super) const EXACT: RangeInclusive<i128> = i64::MIN as i128..=u64::MAX as i128;

/// What an unquoted text stands for.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "null" | "Null" | "NULL" | "~" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Some(number) = int(text) {
        return Value::Int(number);
    }
    float(text).map_or(Value::Text, Value::Float)
}

/// A decimal, `0o` octal or `0x` hexadecimal whole number, where it is one of [`EXACT`].
pub(super) fn int(text: &str) -> Option<i128> {
    whole(text)?.filter(|number| EXACT.contains(number))
}

/// Whether a text is a whole number that nothing here keeps to the last digit.
pub(super) fn is_beyond(text: &str) -> bool {
    whole(text).is_some() && int(text).is_none()
}

/// A whole number: nothing within where even 128 bits do not hold it.
fn whole(text: &str) -> Option<Option<i128>> {
    if let Some(digits) = text.strip_prefix("0o") {
        return (!digits.is_empty() && digits.bytes().all(|b| (b'0'..=b'7').contains(&b)))
            .then(|| i128::from_str_radix(digits, 8).ok());
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| i128::from_str_radix(digits, 16).ok());
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())
}

/// A decimal number with a point or an exponent, a whole number beyond 64 bits, `.inf` or `.nan`.
pub(super) fn float(text: &str) -> Option<f64> {
    let (sign, body) = match text.strip_prefix('-') {
        Some(body) => (-1.0, body),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    match body {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if body.len() == text.len() => return Some(f64::NAN),
        _ => {}
    }
    let begins = body.starts_with(|c: char| c.is_ascii_digit())
        || body.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let allowed = body.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    (begins && allowed).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_words_of_yaml_1_2_are_special() {
        for text in
            ["no", "yes", "on", "off", "y", "1_000", "0b1", "1e", "--1", "1.2.3", "1h", ".", "e5", "infinity"]
        {
            assert_eq!(resolve(text), Value::Text, "{text}");
        }
        assert_eq!(resolve("~"), Value::Null);
        assert_eq!(resolve("True"), Value::Bool(true));
        assert_eq!(resolve("-12"), Value::Int(-12));
        assert_eq!(resolve("0x1F"), Value::Int(31));
        assert_eq!(resolve("0o17"), Value::Int(15));
        assert_eq!(resolve("010"), Value::Int(10));
        assert_eq!(resolve("1e3"), Value::Float(1000.0));
        assert_eq!(resolve(".5"), Value::Float(0.5));
        assert_eq!(resolve("12345678901234567890"), Value::Int(12_345_678_901_234_567_890));
        assert_eq!(resolve("-9223372036854775808"), Value::Int(i64::MIN.into()));
        for text in ["18446744073709551616", "-9223372036854775809", "0xFFFFFFFFFFFFFFFFF", &"9".repeat(60)] {
            assert!(is_beyond(text), "{text}");
        }
        for text in ["18446744073709551615", "1e30", "99999999999999999999.0", "0x", "word"] {
            assert!(!is_beyond(text), "{text}");
        }
        assert_eq!(resolve("-.inf"), Value::Float(f64::NEG_INFINITY));
    }
}
