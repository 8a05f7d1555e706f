//! A histogram whose bins are powers of two wide and begin at whole multiples of their width.
//!
//! The width follows from the least and the greatest value alone, and wider bins are exact unions of
//! narrower ones. So the counts do not depend on the order of the values, and the histogram of merged
//! parts *is* that of the whole. Between 1,024 and 2,048 bins span the range; counts in bins of other
//! edges (equal-width ones of another profile) are interpolated inside single bins.

use serde::{Deserialize, Serialize};

use super::wide::wide;

const MAX_BINS: i64 = 2048;
/// Values are placed in pieces of this length.
const PIECE: usize = 1024;
/// Added to a number and taken off again it leaves the nearest whole number, and by itself the last bits
/// of the sum are that.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// Of numbers so far from zero it does not.
const NEAREST: i64 = 1 << 51;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// The width of a bin is two to this power.
    exponent: i32,
    /// The first bin begins at this multiple of the width.
    first: i64,
    counts: Vec<u64>,
}

/// The exponent of the narrowest bins of which at most [`MAX_BINS`] hold all values of the range, with
/// indices small enough to be exact.
fn exponent_for(min: f64, max: f64) -> i32 {
    let largest = min.abs().max(max.abs());
    let mut exponent = (exponent_of(max - min) - 11).max(exponent_of(largest) - 51).clamp(-1000, 1014);
    while exponent < 1014 && index(max, exponent) - index(min, exponent) >= MAX_BINS {
        exponent += 1;
    }
    exponent
}

/// The e of 2^e ≤ x < 2^(e+1); far below all others for 0.
fn exponent_of(value: f64) -> i32 {
    let bits = ((value.to_bits() >> 52) & 0x7ff) as i32;
    // An overflowing range counts as the widest.
    if bits == 0 { -1100 } else { (bits - 1023).min(1023) }
}

fn index(value: f64, exponent: i32) -> i64 {
    scaled(value, power(-exponent))
}

/// The bin of a value, counted from zero, by the inverse of the bins' width.
fn scaled(value: f64, scale: f64) -> i64 {
    let position = value * scale;
    // A negative value too small beside the width is still below zero.
    if position == 0.0 && value < 0.0 {
        return -1;
    }
    // Rounded down: without vector instructions of later processors a call otherwise.
    let whole = position as i64;
    whole.saturating_sub(i64::from((whole as f64) > position))
}

fn power(exponent: i32) -> f64 {
    2.0_f64.powi(exponent)
}

wide! {
    /// The bins of values, counted from the first, where all are near enough to zero.
    fn find_places(values: &[f64], exponent: i32, first: i64, places: &mut [u16]) {
        let (width, scale, first) = (power(exponent), power(-exponent), first as f64);
        for (place, value) in places.iter_mut().zip(values) {
            let nearest = value * scale + ROUND - ROUND;
            // One that was rounded up, if only from a value too small beside the width, is one less.
            let above = if nearest * width > *value { 1.0 } else { 0.0 };
            *place = (nearest - above - first + ROUND).to_bits() as u16;
        }
    }
}

impl Histogram {
    /// An empty histogram for values of a range (which may grow later).
    pub fn new(min: f64, max: f64) -> Self {
        let exponent = exponent_for(min, max);
        let first = index(min, exponent);
        let bins = usize::try_from(index(max, exponent) - first + 1).unwrap_or(1);
        Self { exponent, first, counts: vec![0; bins] }
    }

    /// Makes room for values of a range that includes all so far.
    fn extend(&mut self, min: f64, max: f64) {
        let end = self.first + self.counts.len() as i64;
        if index(min, self.exponent) >= self.first && index(max, self.exponent) < end {
            return;
        }
        let low = self.low().min(min);
        let high = max.max((end - 1) as f64 * power(self.exponent));
        let mut wider = Self::new(low, high);
        if wider.exponent < self.exponent {
            wider = Self::with_exponent(self.exponent, low, high);
        }
        wider.add_all(self);
        *self = wider;
    }

    fn with_exponent(exponent: i32, low: f64, high: f64) -> Self {
        let first = index(low, exponent);
        let bins = usize::try_from(index(high, exponent) - first + 1).unwrap_or(1);
        Self { exponent, first, counts: vec![0; bins] }
    }

    /// Adds the counts of one with bins as wide or narrower, whose range lies inside.
    fn add_all(&mut self, other: &Self) {
        let shift = (self.exponent - other.exponent).clamp(0, 62) as u32;
        for (offset, count) in other.counts.iter().enumerate() {
            let at = ((other.first + offset as i64) >> shift) - self.first;
            if let Some(slot) = usize::try_from(at).ok().and_then(|at| self.counts.get_mut(at)) {
                *slot += count;
            }
        }
    }

    /// Counts finite values, all inside `min..=max`, which spans all values so far as well.
    pub fn add(&mut self, values: &[f64], min: f64, max: f64) {
        if values.is_empty() {
            return;
        }
        self.extend(min, max);
        let end = self.first + self.counts.len() as i64;
        if self.first <= -NEAREST || end >= NEAREST {
            let scale = power(-self.exponent);
            for value in values {
                let at = scaled(*value, scale) - self.first;
                if let Some(slot) = self.counts.get_mut(at as usize) {
                    *slot += 1;
                }
            }
            return;
        }
        let mut places = [0_u16; PIECE];
        for piece in values.chunks(PIECE) {
            find_places(piece, self.exponent, self.first, &mut places);
            for place in places.iter().take(piece.len()) {
                if let Some(slot) = self.counts.get_mut(usize::from(*place)) {
                    *slot += 1;
                }
            }
        }
    }

    /// Counts one value many times; it lies inside the range so far.
    pub fn add_many(&mut self, value: f64, count: u64) {
        let at = index(value, self.exponent) - self.first;
        if let Some(slot) = usize::try_from(at).ok().and_then(|at| self.counts.get_mut(at)) {
            *slot += count;
        }
    }

    /// The histogram of both; `min` and `max` span all values of both.
    #[must_use]
    pub fn merge(&self, other: &Self, min: f64, max: f64) -> Self {
        let exponent = exponent_for(min, max).max(self.exponent).max(other.exponent);
        let mut merged = Self::with_exponent(exponent, min, max);
        merged.add_all(self);
        merged.add_all(other);
        merged
    }

    /// The lower edge of the first bin.
    fn low(&self) -> f64 {
        self.first as f64 * power(self.exponent)
    }

    /// How many values are below `x`, values being spread evenly inside each bin.
    pub fn below(&self, x: f64) -> f64 {
        let position = x * power(-self.exponent) - self.first as f64;
        if position <= 0.0 {
            return 0.0;
        }
        let whole = position.floor().min(self.counts.len() as f64) as usize;
        let full: u64 = self.counts.iter().take(whole).sum();
        let part = self.counts.get(whole).map_or(0.0, |count| *count as f64 * (position - whole as f64));
        full as f64 + part
    }

    /// The widest run of empty bins between two that are not: where it begins and where it ends.
    pub(super) fn widest_gap(&self) -> Option<(f64, f64)> {
        let filled: Vec<i64> =
            (0..).zip(&self.counts).filter(|(_, count)| **count > 0).map(|(at, _)| at).collect();
        let (from, to) = filled
            .windows(2)
            .filter_map(|pair| match pair {
                [a, b] if b - a > 1 => Some((a + 1, *b)),
                _ => None,
            })
            .max_by_key(|(from, to)| to - from)?;
        let edge = |at: i64| (self.first + at) as f64 * power(self.exponent);
        Some((edge(from), edge(to)))
    }

    /// Whether it can be what a histogram of this many values is.
    pub(super) fn is_sound(&self, count: u64) -> bool {
        (-1000..=1014).contains(&self.exponent)
            && self.first.unsigned_abs() <= 1 << 53
            && self.counts.len() <= 2 * MAX_BINS as usize
            && self.counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count)) == Some(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64], chunk: usize) -> Histogram {
        let (mut min, mut max) = (values[0], values[0]);
        let mut histogram = Histogram::new(min, max);
        for part in values.chunks(chunk) {
            for value in part {
                (min, max) = (min.min(*value), max.max(*value));
            }
            histogram.add(part, min, max);
        }
        histogram
    }

    /// Without the empty bins at its ends, which do not change what it says.
    fn bare(histogram: &Histogram) -> (i32, Vec<(i64, u64)>) {
        let bins = histogram.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        (histogram.exponent, bins.map(|(at, count)| (histogram.first + at as i64, *count)).collect())
    }

    proptest! {
        #[test]
        fn order_and_parts_do_not_matter(
            values in prop::collection::vec(prop_oneof![-1e3..1e3_f64, -1e-3..1e-3_f64, 1e9..1.001e9_f64, any::<f64>().prop_filter("finite", |x| x.is_finite())], 2..60),
            chunk in 1_usize..20, cut in 1_usize..59,
        ) {
            let whole = of(&values, values.len());
            let mut shuffled = values.clone();
            shuffled.reverse();
            let cut = cut.min(values.len() - 1);
            let (min, max) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
            let merged = of(&values[..cut], 7).merge(&of(&values[cut..], 7), min, max);
            for other in [of(&values, chunk), of(&shuffled, chunk), merged] {
                prop_assert!(other.is_sound(values.len() as u64));
                prop_assert!(other.counts.len() as i64 <= MAX_BINS);
                prop_assert_eq!(bare(&whole), bare(&other));
            }
        }
    }

    #[test]
    fn counts_below_an_edge_are_near() {
        let values: Vec<f64> = (0..10_000).map(|i| f64::from(i) * 0.37 - 500.0).collect();
        let histogram = of(&values, 512);
        for edge in [-500.0, -100.25, 0.0, 1234.5, 3199.63] {
            let exact = values.iter().filter(|value| **value < edge).count() as f64;
            assert!((histogram.below(edge) - exact).abs() <= 6.0, "{edge}");
        }
        assert_eq!((histogram.below(-501.0), histogram.below(1e9)), (0.0, 10_000.0));
    }
}
