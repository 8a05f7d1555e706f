//! Ranges of RFC 9110: which bytes of a file are asked for.

use axum::http::{HeaderMap, header};

/// More ranges than these in one request are no reader's: the whole file is the answer.
const MOST: usize = 32;

/// Which bytes are asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All, also where the range cannot be understood.
    Whole,
    /// From a first to a last one, once or more often.
    Parts(Vec<(u64, u64)>),
    /// Only such as there are not.
    Nothing,
}

/// Which bytes a request asks for, of a file of this size with this tag and date.
pub(super) fn asked(headers: &HeaderMap, size: u64, tag: &str, modified: &str) -> Asked {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    // Who goes on with what it has of a file wants all of it if that is another one by now.
    if text(header::IF_RANGE).is_some_and(|known| known.trim() != tag && known.trim() != modified) {
        return Asked::Whole;
    }
    let Some(ranges) = text(header::RANGE).and_then(|text| {
        let (unit, ranges) = text.split_once('=')?;
        unit.trim().eq_ignore_ascii_case("bytes").then_some(ranges)
    }) else {
        return Asked::Whole;
    };
    let mut parts = Vec::new();
    for range in ranges.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        match ends(range, size) {
            None => return Asked::Whole,
            Some(part) => parts.push(part),
        }
    }
    if parts.is_empty() || parts.len() > MOST {
        return Asked::Whole;
    }
    parts.retain(|(first, last)| *first < size && first <= last);
    let total = parts.iter().try_fold(0, |sum: u64, (first, last)| sum.checked_add(last - first + 1));
    match total {
        Some(0) => Asked::Nothing,
        // Ranges that lie over each other would make an answer longer than the file.
        Some(total) if total <= size || parts.len() == 1 => Asked::Parts(parts),
        Some(_) | None => Asked::Whole,
    }
}

/// The first and the last byte of one range; nothing where it cannot be understood.
fn ends(range: &str, size: u64) -> Option<(u64, u64)> {
    // What has more digits than a number can have is beyond the end of every file.
    let number = |text: &str| {
        let text = text.trim();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let end = size.saturating_sub(1);
    match range.split_once('-')? {
        ("", count) => match number(count)? {
            0 => Some((size, end)),
            count => Some((size.saturating_sub(count), end)),
        },
        (first, "") => Some((number(first)?, end)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| (first, last.min(end)))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(size: u64, text: &str) -> Asked {
        let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_str(text).unwrap())]);
        asked(&headers, size, "\"t\"", "now")
    }

    #[test]
    fn ranges_are_those_of_the_standard() {
        let part = |first, last| Asked::Parts(vec![(first, last)]);
        assert_eq!(of(10, "bytes=0-3"), part(0, 3));
        assert_eq!(of(10, "Bytes=4-"), part(4, 9));
        assert_eq!(of(10, "bytes=-3"), part(7, 9));
        assert_eq!(of(10, "bytes=-30"), part(0, 9));
        assert_eq!(of(10, "bytes=5-99"), part(5, 9));
        assert_eq!(of(10, "bytes=0-0, 2-3 ,-1"), Asked::Parts(vec![(0, 0), (2, 3), (9, 9)]));
        assert_eq!(of(10, "bytes=50-60,2-3"), part(2, 3));
        for nothing in ["bytes=10-", "bytes=-0", "bytes=10-11,20-", "bytes=99999999999999999999999-"] {
            assert_eq!(of(10, nothing), Asked::Nothing, "{nothing}");
        }
        for odd in
            ["lines=0-1", "bytes=b-a", "bytes=5-2", "bytes", "bytes=", "bytes=-", "bytes=0-1,x", "bytes=+1-2"]
        {
            assert_eq!(of(10, odd), Asked::Whole, "{odd}");
        }
        assert_eq!(of(0, "bytes=-5"), Asked::Nothing);
        assert_eq!(of(0, "bytes=0-"), Asked::Nothing);
    }

    #[test]
    fn an_answer_is_never_longer_than_the_file() {
        assert_eq!(of(10, "bytes=0-,0-,0-"), Asked::Whole);
        assert_eq!(of(1000, &format!("bytes={}", vec!["0-0"; 33].join(","))), Asked::Whole);
    }

    #[test]
    fn a_part_of_another_version_is_not_given() {
        let headers = |known: &'static str| {
            HeaderMap::from_iter([
                (header::RANGE, HeaderValue::from_static("bytes=0-1")),
                (header::IF_RANGE, HeaderValue::from_static(known)),
            ])
        };
        assert_eq!(asked(&headers("\"t\""), 10, "\"t\"", "now"), Asked::Parts(vec![(0, 1)]));
        assert_eq!(asked(&headers("now"), 10, "\"t\"", "now"), Asked::Parts(vec![(0, 1)]));
        assert_eq!(asked(&headers("\"old\""), 10, "\"t\"", "now"), Asked::Whole);
    }
}
