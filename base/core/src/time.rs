//! Moments and lengths of time.
//!
//! Rondo has two clocks: *event time* (when a thing happened in the world; windows, delays and drift go
//! by it) and the *wall clock* (schedules, leases and the journal go by it, through
//! [`crate::ports::Clock`]). Both are [`Timestamp`]s.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// As RFC 3339 in UTC with milliseconds where there are any: `2013-04-01T05:15:00Z`.
    pub fn rfc3339(self) -> String {
        let format = if self.0.rem_euclid(1000) == 0 { SecondsFormat::Secs } else { SecondsFormat::Millis };
        match DateTime::<Utc>::from_timestamp_millis(self.0) {
            Some(moment) => moment.to_rfc3339_opts(format, true),
            None => format!("{}ms", self.0),
        }
    }

    /// The day alone, `2013-04-01`, in UTC.
    pub fn day(self) -> String {
        DateTime::<Utc>::from_timestamp_millis(self.0)
            .map_or_else(|| format!("{}ms", self.0), |moment| moment.format("%Y-%m-%d").to_string())
    }

    /// The moment rounded down to a whole number of spans since the epoch.
    pub const fn floor_to(self, span: Span) -> Self {
        if span.0 <= 0 { self } else { Self(self.0 - self.0.rem_euclid(span.0)) }
    }
}

/// Why a text is not a moment or a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not a moment.
    #[error("`{0}` is not a moment: expected `2013-04-01`, `2013-04-01T05:15:00` or with a zone")]
    Moment(String),
    /// Not a length of time.
    #[error("`{0}` is not a length of time: expected a number and one of ms, s, m, h, d, w, such as `7d`")]
    Span(String),
}

impl FromStr for Timestamp {
    type Err = TimeError;

    /// Reads RFC 3339, the same without a zone (taken as UTC), with a blank for the `T`, or a day alone.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let text = text.trim();
        if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self(moment.timestamp_millis()));
        }
        for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
            if let Ok(moment) = NaiveDateTime::parse_from_str(text, format) {
                return Ok(Self(moment.and_utc().timestamp_millis()));
            }
        }
        NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()
            .and_then(|day| day.and_hms_opt(0, 0, 0))
            .map(|moment| Self(moment.and_utc().timestamp_millis()))
            .ok_or_else(|| TimeError::Moment(text.to_owned()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A length of time in milliseconds, written `250ms`, `30s`, `15m`, `2h`, `7d` or `4w`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub i64);

impl Span {
    /// So many days of 24 hours.
    pub const fn days(days: i64) -> Self {
        Self(days * 86_400_000)
    }

    /// Milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }
}

const UNITS: [(&str, i64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl FromStr for Span {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let refuse = || TimeError::Span(text.to_owned());
        let digits = text.trim().find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
        let (number, unit) = text.trim().split_at(digits);
        let number: i64 = number.parse().map_err(|_| refuse())?;
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(refuse)?;
        number.checked_mul(*millis).map(Self).ok_or_else(refuse)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, millis) =
            UNITS.iter().skip(1).find(|(_, millis)| self.0 % millis == 0).unwrap_or(&("ms", 1));
        write!(f, "{}{unit}", self.0 / millis)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Sub<Timestamp> for Timestamp {
    type Output = Span;
    fn sub(self, other: Self) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_and_print() {
        let moment: Timestamp = "2013-04-01T05:15:00Z".parse().unwrap();
        assert_eq!(moment.rfc3339(), "2013-04-01T05:15:00Z");
        for text in ["2013-04-01 05:15:00", "2013-04-01T05:15", "2013-04-01T07:15:00+02:00"] {
            assert_eq!(text.parse::<Timestamp>().unwrap(), moment);
        }
        assert_eq!("2013-04-01".parse::<Timestamp>().unwrap().day(), "2013-04-01");
        assert_eq!((moment + Span(1)).rfc3339(), "2013-04-01T05:15:00.001Z");
        assert_eq!(moment.floor_to(Span::days(1)), "2013-04-01".parse().unwrap());
        for text in ["", "yesterday", "2013-13-01", "2013"] {
            assert!(text.parse::<Timestamp>().is_err());
        }
    }

    #[test]
    fn spans_read_and_print() {
        for text in ["7d", "90m", "250ms", "2h", "30s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("2w".parse::<Span>().unwrap(), Span::days(14));
        for text in ["", "7", "d", "7 days", "-1d", "99999999999999999d"] {
            assert!(text.parse::<Span>().is_err());
        }
    }
}
