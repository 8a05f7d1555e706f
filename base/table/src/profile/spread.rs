//! Sorts numbers by putting each where it is expected: between the least and the greatest, as far along as
//! its value is. Most columns are spread evenly enough that hardly any has to move then, so that a chunk
//! costs a few passes over it and no comparing of each with a dozen others.
//!
//! The order is that of any other sort. Where many numbers fall on one place they are spread again among
//! themselves, and compared with each other at last.

use std::cell::RefCell;

use super::moments::extremes;
use super::wide::wide;

/// No more are spread at once.
pub(super) const MOST: usize = 16_384;
/// So many are worth spreading.
const LEAST: usize = 256;
/// Up to so many on one place are put right by moving each past its neighbours.
const FEW: u32 = 24;
/// How often what falls on one place is spread again.
const DEPTH: u32 = 3;
/// Added to a number below 2³² the sum's last bits are the nearest whole number.
const WHOLE: f64 = 4_503_599_627_370_496.0;

thread_local! {
    /// One for all columns: it is large, and columns are many.
    static SPREADER: RefCell<Spreader> = RefCell::default();
}

/// Sorts finite numbers, none of them negative zero.
pub(super) fn sort(values: &mut [f64]) {
    SPREADER.with_borrow_mut(|spreader| spreader.sort(values, DEPTH));
}

/// What is needed beside the numbers.
#[derive(Debug, Default)]
struct Spreader {
    /// The place of each.
    places: Vec<u16>,
    /// Where the next one of a place goes.
    next: Vec<u32>,
    spread: Vec<f64>,
}

impl Spreader {
    fn sort(&mut self, values: &mut [f64], depth: u32) {
        let (min, max) = extremes(values);
        let scale = (values.len() as f64 - 1.0) / (max - min);
        // The difference of equal numbers is 0, and that of the greatest is none.
        if depth > 0 && (LEAST..=MOST).contains(&values.len()) && scale.is_finite() && scale > 0.0 {
            for (first, end) in self.spread(values, min, scale) {
                if let Some(part) = values.get_mut(first as usize..end as usize) {
                    self.sort(part, depth - 1);
                }
            }
            settle(values);
        } else if min < max {
            compare(values);
        }
    }

    /// Puts each number where it is expected; gives the places on which there are too many.
    fn spread(&mut self, values: &mut [f64], min: f64, scale: f64) -> Vec<(u32, u32)> {
        let Self { places, next, spread } = self;
        places.resize(values.len(), 0);
        find_places(values, min, scale, places);
        next.clear();
        next.resize(values.len(), 0);
        for place in places.iter() {
            if let Some(count) = next.get_mut(usize::from(*place)) {
                *count += 1;
            }
        }
        let mut crowded = Vec::new();
        let mut sum = 0;
        for next in next.iter_mut() {
            let count = std::mem::replace(next, sum);
            if count > FEW {
                crowded.push((sum, sum + count));
            }
            sum += count;
        }
        spread.resize(values.len(), 0.0);
        for (value, place) in values.iter().zip(places.iter()) {
            let Some(next) = next.get_mut(usize::from(*place)) else { continue };
            if let Some(slot) = spread.get_mut(*next as usize) {
                *slot = *value;
            }
            *next += 1;
        }
        values.copy_from_slice(spread);
        crowded
    }
}

wide! {
    fn find_places(values: &[f64], min: f64, scale: f64, places: &mut [u16]) {
        for (place, value) in places.iter_mut().zip(values) {
            *place = ((value - min) * scale + WHOLE).to_bits() as u16;
        }
    }
}

/// Moves each number before the greater ones ahead of it.
fn settle(values: &mut [f64]) {
    exchange(values);
    for at in 1..values.len() {
        let value = values[at];
        let mut to = at;
        while to > 0 && values[to - 1] > value {
            values[to] = values[to - 1];
            to -= 1;
        }
        values[to] = value;
    }
}

wide! {
    /// Most are one place from theirs, or two. Exchanged in pairs without a branch, hardly any is left of
    /// which a processor could not guess that it stays.
    fn exchange(values: &mut [f64]) {
        for round in 0..4 {
            for pair in values.get_mut(round % 2..).unwrap_or_default().chunks_exact_mut(2) {
                if let [a, b] = pair {
                    let exchanged = *b < *a;
                    (*a, *b) = (if exchanged { *b } else { *a }, if exchanged { *a } else { *b });
                }
            }
        }
    }
}

/// Sorts finite numbers through integers of the same order, which compare faster.
fn compare(values: &mut [f64]) {
    let mut keys: Vec<u64> = values
        .iter()
        .map(|value| {
            let bits = value.to_bits();
            if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
        })
        .collect();
    keys.sort_unstable();
    for (value, key) in values.iter_mut().zip(keys) {
        *value = f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = f64> {
        let wide = any::<f64>().prop_filter("finite", |value| value.is_finite());
        prop_oneof![4 => -1.0..1.0_f64, 2 => (0_i32..9).prop_map(f64::from), 1 => 1e3..1.001e3_f64, 1 => wide]
    }

    fn is_sorted(mut values: Vec<f64>) -> bool {
        let mut expected = values.clone();
        expected.sort_by(f64::total_cmp);
        sort(&mut values);
        values == expected
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_any_other_sort(values in prop::collection::vec(number(), 0..900)) {
            prop_assert!(is_sorted(values.into_iter().map(|value| value + 0.0).collect()));
        }

        #[test]
        fn tails_that_reach_far_do_not_matter(step in 1.0..1e6_f64, power in 1_i32..40, count in 1..=MOST) {
            prop_assert!(is_sorted((0..count).map(|at| (at as f64 * step).sin().powi(power) + 0.0).collect()));
        }
    }

    #[test]
    fn the_greatest_range_is_sorted() {
        let values = (0..1000).map(|at| if at % 3 == 0 { f64::MAX } else { -f64::MAX / f64::from(at) });
        assert!(is_sorted(values.collect()));
    }
}
