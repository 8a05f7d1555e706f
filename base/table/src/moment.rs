//! Moments: the one unit in which tables hold them, and a fast reader of ISO 8601 as tables have it.
//!
//! A table's moment is a whole number of microseconds since 1970-01-01T00:00:00Z: what databases, Parquet and
//! pandas keep. Nanoseconds are cut to them, and a moment that 64 bits cannot hold (292,000 years from 1970) is
//! the outermost that they can. Where moments are computed with as numbers (profiles, bounds) they are
//! milliseconds with a fraction: exact to the microsecond until the year 2248, and the same numbers that
//! profiles have always kept.
//!
//! The reader accepts `2013-04-01`, `2013-04-01T05:15`, with seconds, fractions and a zone (`Z` or `+02:00`), a
//! blank or `T` between; without a zone the moment is UTC. A subset of what [`rondo_core::Timestamp`] reads, and
//! equal to it where both do; it is its own code because a table has millions of them. It guesses at
//! nothing else: `04/01/2013` may be two days.

use std::fmt;
use std::sync::Arc;

use arrow_array::{PrimitiveArray, builder::PrimitiveBuilder, types::TimestampMicrosecondType};
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, SecondsFormat, Utc};
use rondo_core::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The arrow type of a table's moments.
pub type MomentType = TimestampMicrosecondType;
/// An array of moments.
pub type MomentArray = PrimitiveArray<MomentType>;
/// Its builder.
pub(crate) type MomentBuilder = PrimitiveBuilder<MomentType>;

/// So many of a moment's unit are a millisecond.
const MILLI: i64 = 1000;
const SECOND: i64 = 1000 * MILLI;
/// So many microseconds from 1970 all moments are told apart as milliseconds with a fraction.
const FINE: u64 = 8_796_093_022_207_000;
/// So many of a moment's unit are a day.
pub(crate) const DAY: i64 = 86_400 * SECOND;

/// The arrow type of a column of moments.
pub(crate) fn data_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

/// So many of a moment's unit are one of another unit; nanoseconds are finer.
pub(crate) const fn per(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => SECOND,
        TimeUnit::Millisecond => MILLI,
        TimeUnit::Microsecond | TimeUnit::Nanosecond => 1,
    }
}

/// A moment of a table: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub i64);

impl Moment {
    /// Of milliseconds with a fraction, the scale on which moments are computed with.
    pub fn of_scale(millis: f64) -> Self {
        // The fraction by itself, lest their product be rounded before. What is beyond 64 bits becomes the
        // outermost, NaN the beginning.
        let fraction = ((millis - millis.floor()) * MILLI as f64).round() as i64;
        Self((millis.floor() as i64).saturating_mul(MILLI).saturating_add(fraction))
    }

    /// On the scale on which moments are computed with: milliseconds, with a fraction.
    #[inline]
    pub fn scale(self) -> f64 {
        self.0 as f64 / MILLI as f64
    }

    /// Whether it is rounded on that scale, so far away as it is.
    #[inline]
    pub(crate) fn rounds(self) -> bool {
        self.0.unsigned_abs() > FINE && Self::of_scale(self.scale()) != self
    }

    /// The same, rounded down to a millisecond.
    pub const fn timestamp(self) -> Timestamp {
        Timestamp(self.0.div_euclid(MILLI))
    }

    /// As RFC 3339 in UTC, with milliseconds or microseconds where there are any.
    pub fn rfc3339(self) -> String {
        let format = match (self.0.rem_euclid(SECOND), self.0.rem_euclid(MILLI)) {
            (0, _) => SecondsFormat::Secs,
            (_, 0) => SecondsFormat::Millis,
            _ => SecondsFormat::Micros,
        };
        match DateTime::<Utc>::from_timestamp_micros(self.0) {
            Some(moment) => moment.to_rfc3339_opts(format, true),
            None => format!("{}us", self.0),
        }
    }

    /// The day alone, `2013-04-01`, in UTC.
    pub fn day(self) -> String {
        self.timestamp().day()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match parse(&text) {
            Some(micros) => Ok(Self(micros)),
            None => {
                let moment: Timestamp = text.parse().map_err(serde::de::Error::custom)?;
                Ok(Self(moment.millis().saturating_mul(MILLI)))
            }
        }
    }
}

/// The moment in microseconds since 1970-01-01T00:00:00Z, or nothing when the text is no moment.
pub fn parse(text: &str) -> Option<i64> {
    read(text.as_bytes(), zone)
}

/// The same, as databases write it: the zone may be hours alone (`+00`).
pub(crate) fn parse_written(text: &str) -> Option<i64> {
    read(text.as_bytes(), |bytes| match bytes {
        [sign @ (b'+' | b'-'), a, b] => zone(&[*sign, *a, *b, b':', b'0', b'0']),
        other => zone(other),
    })
}

fn read(bytes: &[u8], zone_of: impl Fn(&[u8]) -> Option<i64>) -> Option<i64> {
    let (year, month, day) = (digits(bytes, 0, 4)?, digits(bytes, 5, 2)?, digits(bytes, 8, 2)?);
    if *bytes.get(4)? != b'-' || *bytes.get(7)? != b'-' {
        return None;
    }
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    // Four digits of a year are far within 64 bits.
    let midnight = days_from_civil(year, month, day) * DAY;
    let Some(separator) = bytes.get(10) else { return Some(midnight) };
    if !matches!(separator, b'T' | b't' | b' ') || *bytes.get(13)? != b':' {
        return None;
    }
    let (hour, minute) = (digits(bytes, 11, 2)?, digits(bytes, 14, 2)?);
    let mut at = 16;
    let mut second = 0;
    let mut micros = 0;
    if bytes.get(at) == Some(&b':') {
        second = digits(bytes, at + 1, 2)?;
        at += 3;
        if bytes.get(at) == Some(&b'.') {
            let fraction = bytes.get(at + 1..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if fraction == 0 || fraction > 9 {
                return None;
            }
            let kept = fraction.min(6);
            micros = digits(bytes, at + 1, kept)? * 10_i64.pow(6 - kept as u32);
            at += 1 + fraction;
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let zone = zone_of(bytes.get(at..)?)?;
    Some(midnight + ((hour * 60 + minute) * 60 + second) * SECOND + micros - zone)
}

/// The offset of `Z`, `+02:00` or nothing at all.
fn zone(bytes: &[u8]) -> Option<i64> {
    match bytes {
        [] | [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (digits(bytes, 1, 2)?, digits(bytes, 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = (hours * 60 + minutes) * 60 * SECOND;
            Some(if *sign == b'-' { -offset } else { offset })
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

    use super::*;

    fn millis(text: &str) -> Option<i64> {
        parse(text).map(|micros| Moment(micros).timestamp().millis())
    }

    #[test]
    fn usual_forms_are_read() {
        assert_eq!(parse("1970-01-01"), Some(0));
        assert_eq!(parse("2013-01-01T10:00:00Z"), Some(1_357_034_400_000_000));
        assert_eq!(parse("2013-01-01 10:00:00.5"), Some(1_357_034_400_500_000));
        assert_eq!(parse("2013-01-01T12:00:00.000001+02:00"), Some(1_357_034_400_000_001));
        assert_eq!(parse("2012-02-29"), Some(1_330_473_600_000_000));
        // Nanoseconds are cut.
        assert_eq!(parse("1969-12-31T23:59:59.999999999Z"), Some(-1));
        assert_eq!(
            (parse("2013-01-01 10:00:00+00"), parse_written("1970-01-01 02:00:00+02")),
            (None, Some(0))
        );
    }

    #[test]
    fn other_texts_are_no_moments() {
        for text in ["", "2013", "2013-13-01", "2013-02-29", "01/02/2013", "2013-01-01T25:00", "20130101"] {
            assert_eq!(parse(text), None, "{text}");
        }
        for text in ["2013-01-01T10:00:00 Z", "2013-01-01T10:00:00.", "2013-01-01é", "2013-01-01x10:00"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn as_many_digits_are_shown_as_there_are() {
        let shown = |text| Moment(parse(text).unwrap()).rfc3339();
        assert_eq!(shown("2024-01-01 00:00:00"), "2024-01-01T00:00:00Z");
        assert_eq!(shown("2024-01-01 00:00:00.123"), "2024-01-01T00:00:00.123Z");
        assert_eq!(shown("2024-01-01 00:00:00.123456"), "2024-01-01T00:00:00.123456Z");
        assert_eq!(shown("1969-12-31 23:59:59.9999995"), "1969-12-31T23:59:59.999999Z");
        assert_eq!(Moment(i64::MAX).rfc3339(), format!("{}us", i64::MAX));
        assert_eq!(Moment(1).day(), "1970-01-01");
    }

    proptest! {
        #[test]
        fn agrees_with_the_words_of_core(millis in -60_000_000_000_000_i64..60_000_000_000_000) {
            let text = Timestamp(millis).rfc3339();
            prop_assert_eq!(parse(&text), Some(millis * 1000));
            prop_assert_eq!(Moment(millis * 1000).rfc3339(), text);
        }

        #[test]
        fn what_is_shown_is_read(micros in -60_000_000_000_000_000_i64..250_000_000_000_000_000) {
            let moment = Moment(micros);
            prop_assert_eq!(parse(&moment.rfc3339()), Some(micros));
            let json = serde_json::to_string(&moment).unwrap();
            prop_assert_eq!(serde_json::from_str::<Moment>(&json).unwrap(), moment);
        }

        #[test]
        fn numbers_tell_microseconds_apart(micros in -8_796_093_022_207_000_i64..8_796_093_022_207_000) {
            prop_assert_eq!(Moment::of_scale(Moment(micros).scale()), Moment(micros));
            prop_assert!(Moment(micros).scale() < Moment(micros + 1).scale());
        }

        #[test]
        fn what_is_read_is_what_core_reads(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?") {
            if let (Some(millis), Ok(moment)) = (millis(&text), text.parse::<Timestamp>()) {
                prop_assert_eq!(Timestamp(millis), moment);
            }
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            parse(&text);
            parse_written(&text);
        }
    }
}
