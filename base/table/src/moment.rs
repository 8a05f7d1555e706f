//! Moments in text: a fast reader of ISO 8601 as tables have it.
//!
//! Accepts `2013-04-01`, `2013-04-01T05:15`, with seconds, fractions and a zone (`Z` or `+02:00`), a blank
//! or `T` between; without a zone the moment is UTC. A subset of what [`rondo_core::Timestamp`] reads, and
//! equal to it where both do; it is its own code because a table has millions of them. It guesses at
//! nothing else: `04/01/2013` may be two days.

/// The moment in milliseconds since 1970-01-01T00:00:00Z, or nothing when the text is no moment.
pub fn parse_millis(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    parse(bytes, zone_millis).map(|(millis, _)| millis)
}

/// The moment in microseconds, as databases write it: the zone may be hours alone (`+00`).
pub(crate) fn parse_micros(text: &str) -> Option<i64> {
    let short = |bytes: &[u8]| match bytes {
        [sign @ (b'+' | b'-'), a, b] => zone_millis(&[*sign, *a, *b, b':', b'0', b'0']),
        other => zone_millis(other),
    };
    let (millis, micros) = parse(text.as_bytes(), short)?;
    millis.checked_mul(1000)?.checked_add(micros)
}

/// Milliseconds, and the microseconds that are left of them.
fn parse(bytes: &[u8], zone_of: impl Fn(&[u8]) -> Option<i64>) -> Option<(i64, i64)> {
    let (year, month, day) = (digits(bytes, 0, 4)?, digits(bytes, 5, 2)?, digits(bytes, 8, 2)?);
    if *bytes.get(4)? != b'-' || *bytes.get(7)? != b'-' {
        return None;
    }
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let midnight = days_from_civil(year, month, day) * 86_400_000;
    let Some(separator) = bytes.get(10) else { return Some((midnight, 0)) };
    if !matches!(separator, b'T' | b't' | b' ') || *bytes.get(13)? != b':' {
        return None;
    }
    let (hour, minute) = (digits(bytes, 11, 2)?, digits(bytes, 14, 2)?);
    let mut at = 16;
    let mut second = 0;
    let (mut millis, mut micros) = (0, 0);
    if bytes.get(at) == Some(&b':') {
        second = digits(bytes, at + 1, 2)?;
        at += 3;
        if bytes.get(at) == Some(&b'.') {
            let fraction = bytes.get(at + 1..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if fraction == 0 || fraction > 9 {
                return None;
            }
            let kept = fraction.min(3);
            millis = digits(bytes, at + 1, kept)? * 10_i64.pow(3 - kept as u32);
            let finer = fraction.clamp(3, 6) - 3;
            if finer > 0 {
                micros = digits(bytes, at + 4, finer)? * 10_i64.pow(3 - finer as u32);
            }
            at += 1 + fraction;
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let zone = zone_of(bytes.get(at..)?)?;
    Some((midnight + ((hour * 60 + minute) * 60 + second) * 1000 + millis - zone, micros))
}

/// The offset of `Z`, `+02:00` or nothing at all.
fn zone_millis(bytes: &[u8]) -> Option<i64> {
    match bytes {
        [] | [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (digits(bytes, 1, 2)?, digits(bytes, 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let millis = (hours * 60 + minutes) * 60_000;
            Some(if *sign == b'-' { -millis } else { millis })
        }
        _ => None,
    }
}

fn digits(bytes: &[u8], from: usize, count: usize) -> Option<i64> {
    let mut number = 0_i64;
    for byte in bytes.get(from..from + count)? {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(byte - b'0');
    }
    Some(number)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Hinnant, "chrono-compatible low-level date
/// algorithms": years begin in March, so that the leap day comes last).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rondo_core::Timestamp;

    use super::*;

    #[test]
    fn usual_forms_are_read() {
        assert_eq!(parse_millis("1970-01-01"), Some(0));
        assert_eq!(parse_millis("2013-01-01T10:00:00Z"), Some(1_357_034_400_000));
        assert_eq!(parse_millis("2013-01-01 10:00:00.5"), Some(1_357_034_400_500));
        assert_eq!(parse_millis("2013-01-01T12:00:00+02:00"), Some(1_357_034_400_000));
        assert_eq!(parse_millis("2012-02-29"), Some(1_330_473_600_000));
    }

    #[test]
    fn other_texts_are_no_moments() {
        for text in ["", "2013", "2013-13-01", "2013-02-29", "01/02/2013", "2013-01-01T25:00", "20130101"] {
            assert_eq!(parse_millis(text), None, "{text}");
        }
        for text in ["2013-01-01T10:00:00 Z", "2013-01-01T10:00:00.", "2013-01-01é", "2013-01-01x10:00"] {
            assert_eq!(parse_millis(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_words_of_core(millis in -60_000_000_000_000_i64..60_000_000_000_000) {
            let text = Timestamp(millis).rfc3339();
            prop_assert_eq!(parse_millis(&text), Some(millis));
        }

        #[test]
        fn what_is_read_is_what_core_reads(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?") {
            if let (Some(millis), Ok(moment)) = (parse_millis(&text), text.parse::<Timestamp>()) {
                prop_assert_eq!(Timestamp(millis), moment);
            }
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            parse_millis(&text);
        }
    }
}
