//! In which order numbers come, and when in the week and the day moments are.

use serde::{Deserialize, Serialize};

/// Whether the finite values of a column ascend or descend from row to row.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The first value.
    pub first: f64,
    /// The last one.
    pub last: f64,
    /// Whether no value is less than the one before.
    pub ascending: bool,
    /// Whether no value is greater than the one before.
    pub descending: bool,
}

impl Order {
    /// Takes the values that come next.
    pub(super) fn add(order: &mut Option<Self>, values: &[f64]) {
        let (Some(first), Some(last)) = (values.first(), values.last()) else { return };
        let known =
            order.get_or_insert(Self { first: *first, last: *first, ascending: true, descending: true });
        if known.ascending {
            known.ascending = known.last <= *first && values.is_sorted();
        }
        if known.descending {
            known.descending = known.last >= *first && values.is_sorted_by(|a, b| a >= b);
        }
        known.last = *last;
    }

    /// Of both, the values of `other` after those of `self`.
    pub(super) fn merge(&self, other: &Self) -> Self {
        Self {
            first: self.first,
            last: other.last,
            ascending: self.ascending && other.ascending && self.last <= other.first,
            descending: self.descending && other.descending && self.last >= other.first,
        }
    }
}

/// How many moments are on each day of the week and in each hour of the day, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Calendar {
    /// From Monday to Sunday.
    pub weekdays: [u64; 7],
    /// From midnight on.
    pub hours: [u64; 24],
}

const HOUR: i64 = 3_600_000;

impl Calendar {
    /// Takes moments as milliseconds since 1970.
    pub(super) fn add(&mut self, moments: &[f64]) {
        for moment in moments {
            let hours = (*moment as i64).div_euclid(HOUR);
            // 1970 began on a Thursday.
            let weekday = (hours.div_euclid(24) + 3).rem_euclid(7) as usize;
            if let Some(count) = self.weekdays.get_mut(weekday) {
                *count += 1;
            }
            if let Some(count) = self.hours.get_mut(hours.rem_euclid(24) as usize) {
                *count += 1;
            }
        }
    }

    /// Of both.
    pub(super) fn merge(&self, other: &Self) -> Self {
        let mut merged = *self;
        let pairs = merged.weekdays.iter_mut().zip(&other.weekdays);
        for (here, there) in pairs.chain(merged.hours.iter_mut().zip(&other.hours)) {
            *here = here.saturating_add(*there);
        }
        merged
    }

    /// Whether it can be of this many moments.
    pub(super) fn is_sound(&self, count: u64) -> bool {
        let total = |counts: &[u64]| counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
        total(&self.weekdays) == Some(count) && total(&self.hours) == Some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_hours_are_those_of_the_calendar() {
        let mut calendar = Calendar::default();
        // 1970-01-01T00:00 (Thursday), 2013-01-01T05:15 (Tuesday), 1969-12-31T23:00 (Wednesday)
        calendar.add(&[0.0, 1_357_017_300_000.0, -3_600_000.0]);
        assert_eq!(calendar.weekdays, [0, 1, 1, 1, 0, 0, 0]);
        assert_eq!((calendar.hours[0], calendar.hours[5], calendar.hours[23]), (1, 1, 1));
        assert!(calendar.is_sound(3) && !calendar.is_sound(2));
        assert_eq!(calendar.merge(&calendar).weekdays[1], 2);
    }

    #[test]
    fn order_is_that_of_the_whole() {
        let of = |parts: &[&[f64]]| {
            let mut order = None;
            parts.iter().for_each(|part| Order::add(&mut order, part));
            order.map(|order| (order.ascending, order.descending))
        };
        assert_eq!(of(&[&[1.0, 2.0], &[2.0, 3.0]]), Some((true, false)));
        assert_eq!(of(&[&[1.0, 2.0], &[1.5]]), Some((false, false)));
        assert_eq!(of(&[&[3.0], &[], &[2.0]]), Some((false, true)));
        assert_eq!(of(&[]), None);
    }
}
