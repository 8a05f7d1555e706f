//! Points as bytes.
//!
//! A series is kept as frames, one after the other, each what one request logged. A frame is a count with
//! a mark whether a context follows, the context's number, and the points: the step's and the timestamp's
//! difference from the point before (from 0 for the first) as variable-length numbers, and the value's
//! eight bytes, so that every value, NaN with its bits too, comes back as it came. Nothing in a frame
//! refers to another: frames are only ever put at the end.

use super::{Logged, Point};

/// A frame of these points.
pub(in crate::meta) fn frame(points: &[Point], context: i64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + points.len() * 12);
    // An unsigned context: numbers of rows begin with 1.
    let marked = u64::from(context != 0);
    number(&mut bytes, (points.len() as u64) << 1 | marked);
    if marked == 1 {
        number(&mut bytes, zigzag(context));
    }
    let (mut step, mut timestamp) = (0i64, 0i64);
    for point in points {
        number(&mut bytes, zigzag(point.step.wrapping_sub(step)));
        number(&mut bytes, zigzag(point.timestamp.wrapping_sub(timestamp)));
        bytes.extend_from_slice(&point.value.to_le_bytes());
        (step, timestamp) = (point.step, point.timestamp);
    }
    bytes
}

/// The points of frames, added to those that are there; nothing when the bytes are no frames.
pub(super) fn unframe(mut bytes: &[u8], points: &mut Vec<Logged>) -> Option<()> {
    while !bytes.is_empty() {
        let head = take(&mut bytes)?;
        let context = if head & 1 == 1 { unzigzag(take(&mut bytes)?) } else { 0 };
        let (mut step, mut timestamp) = (0i64, 0i64);
        for _ in 0..head >> 1 {
            step = step.wrapping_add(unzigzag(take(&mut bytes)?));
            timestamp = timestamp.wrapping_add(unzigzag(take(&mut bytes)?));
            let (value, rest) = bytes.split_first_chunk::<8>()?;
            bytes = rest;
            let point = Point { timestamp, step, value: f64::from_le_bytes(*value) };
            points.push(Logged { point, context });
        }
    }
    Some(())
}

const fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// Seven bits a byte, the lowest first; the eighth says that more come.
pub(in crate::meta) fn number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// A number as it was put.
pub(in crate::meta) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_come_back_as_they_went(
            frames in prop::collection::vec(
                (prop::collection::vec(any::<(i64, i64, u64)>(), 0..20), any::<i64>()), 0..6),
        ) {
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for (points, context) in frames {
                let point = |(timestamp, step, bits)| Point { timestamp, step, value: f64::from_bits(bits) };
                let points: Vec<Point> = points.into_iter().map(point).collect();
                bytes.extend(frame(&points, context));
                expected.extend(points.iter().map(|p| (p.timestamp, p.step, p.value.to_bits(), context)));
            }
            let mut found = Vec::new();
            prop_assert!(unframe(&bytes, &mut found).is_some());
            let found: Vec<_> = found
                .iter()
                .map(|l| (l.point.timestamp, l.point.step, l.point.value.to_bits(), l.context))
                .collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn bytes_that_are_no_frames_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unframe(&bytes, &mut Vec::new());
        }
    }

    #[test]
    fn an_even_series_takes_ten_bytes_a_point() {
        let points: Vec<Point> =
            (0..1000).map(|i| Point { timestamp: 1_700_000_000_000 + i, step: i, value: 0.5 }).collect();
        assert!(frame(&points, 0).len() < 10_020);
    }
}
