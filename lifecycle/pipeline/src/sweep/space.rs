//! The space that is searched, as numbers: a point has one number for each parameter, which is the value
//! itself or the place of a choice.

use std::collections::BTreeMap;

use rondo_core::sweep::{Dimension, Domain};
use rondo_project::project::{Range, Sweep};
use serde_json::Value;

/// One number for each parameter.
pub type Point = Vec<f64>;

/// How the numbers of one parameter lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Axis {
    /// All between two ends.
    Continuous {
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
        /// Whether it is searched on a logarithmic scale.
        log: bool,
    },
    /// At equal distances from the least.
    Stepped {
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
        /// From one to the next.
        step: f64,
        /// Whether it is searched on a logarithmic scale.
        log: bool,
    },
    /// So many choices.
    Choice(usize),
}

/// What a sweep searches, as its record says it.
pub fn dimensions(sweep: &Sweep) -> Vec<Dimension> {
    let domain = |range: &Range| match range {
        Range::Int { low, high, step, log } => Domain::Int { low: *low, high: *high, step: *step, log: *log },
        Range::Float { low, high, step, log } => {
            Domain::Float { low: *low, high: *high, step: *step, log: *log }
        }
        Range::Choice(values) => Domain::Choice { values: distinct(values) },
    };
    sweep
        .over
        .iter()
        .map(|(name, range)| Dimension { name: name.to_owned(), domain: domain(range) })
        .collect()
}

/// A value that stands twice is one choice.
fn distinct(values: &[Value]) -> Vec<Value> {
    let mut distinct: Vec<Value> = Vec::with_capacity(values.len());
    for value in values {
        if !distinct.contains(value) {
            distinct.push(value.clone());
        }
    }
    distinct
}

impl Axis {
    /// The axis of a domain.
    pub fn of(domain: &Domain) -> Self {
        match domain {
            // The checker lets no number in that has no float of its own.
            Domain::Int { low, high, step, log } => {
                Self::Stepped { low: *low as f64, high: *high as f64, step: *step as f64, log: *log }
            }
            Domain::Float { low, high, step: Some(step), log } => {
                Self::Stepped { low: *low, high: *high, step: *step, log: *log }
            }
            Domain::Float { low, high, step: None, log } => {
                Self::Continuous { low: *low, high: *high, log: *log }
            }
            Domain::Choice { values } => Self::Choice(values.len()),
        }
    }

    /// How many numbers there are, where they can be counted.
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Continuous { low, high, .. } => (low == high).then_some(1),
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a float's cast saturates
            Self::Stepped { low, high, step, .. } => {
                Some((((high - low) / step).round().max(0.0) as u64).saturating_add(1))
            }
            Self::Choice(count) => Some(*count as u64),
        }
    }

    /// The number at a place, counted from the least.
    pub fn at(&self, place: u64) -> f64 {
        match self {
            Self::Continuous { low, .. } => *low,
            Self::Stepped { low, high, step, .. } => (low + place as f64 * step).min(*high),
            Self::Choice(_) => place as f64,
        }
    }

    /// Where the numbers end on the scale on which they are searched: half a step further than the last.
    pub fn ends(&self) -> (f64, f64) {
        let (low, high, log) = match *self {
            Self::Continuous { low, high, log } => (low, high, log),
            Self::Stepped { low, high, step, log } => (low - step / 2.0, high + step / 2.0, log),
            Self::Choice(count) => (0.0, count as f64, false),
        };
        if log { (low.ln(), high.ln()) } else { (low, high) }
    }

    /// Whether it is searched on a logarithmic scale.
    pub const fn is_log(&self) -> bool {
        match self {
            Self::Continuous { log, .. } | Self::Stepped { log, .. } => *log,
            Self::Choice(_) => false,
        }
    }

    /// The number of this axis that is nearest to a place on the scale on which it is searched.
    pub fn nearest(&self, scaled: f64) -> f64 {
        let value = if self.is_log() { scaled.exp() } else { scaled };
        match *self {
            Self::Continuous { low, high, .. } => value.clamp(low, high),
            Self::Stepped { low, high, step, .. } => {
                (low + ((value - low) / step).round() * step).clamp(low, high)
            }
            Self::Choice(count) => value.floor().clamp(0.0, count.saturating_sub(1) as f64),
        }
    }
}

/// How many points there are, where they can be counted.
pub fn count(axes: &[Axis]) -> Option<u64> {
    axes.iter().try_fold(1_u64, |all, axis| all.checked_mul(axis.count()?))
}

/// The point at a place of all of them in order, the last axis moving quickest.
pub fn at(axes: &[Axis], place: u64) -> Point {
    let mut left = place;
    let mut point: Point = axes
        .iter()
        .rev()
        .map(|axis| {
            let count = axis.count().unwrap_or(1).max(1);
            let own = left % count;
            left /= count;
            axis.at(own)
        })
        .collect();
    point.reverse();
    point
}

/// A point's values by parameter.
pub fn values(space: &[Dimension], point: &[f64]) -> BTreeMap<String, Value> {
    let each = space.iter().zip(point);
    each.map(|(dimension, number)| (dimension.name.clone(), value(&dimension.domain, *number))).collect()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // whole numbers within bounds
fn value(domain: &Domain, number: f64) -> Value {
    match domain {
        Domain::Int { .. } => Value::from(number.round() as i64),
        Domain::Float { step: None, .. } => Value::from(number),
        // A step of 0.1 gives 0.3 and not 0.30000000000000004.
        Domain::Float { step: Some(_), .. } => {
            Value::from(format!("{number:.12e}").parse::<f64>().unwrap_or(number))
        }
        Domain::Choice { values } => values.get(number as usize).cloned().unwrap_or_default(),
    }
}

/// The point that values stand for; nothing where they lie outside the space.
pub fn point(space: &[Dimension], values: &BTreeMap<String, Value>) -> Option<Point> {
    space
        .iter()
        .map(|dimension| {
            let value = values.get(&dimension.name).filter(|value| dimension.domain.holds(value))?;
            match &dimension.domain {
                Domain::Choice { values } => {
                    values.iter().position(|known| known == value).map(|at| at as f64)
                }
                Domain::Int { .. } | Domain::Float { .. } => value.as_f64(),
            }
        })
        .collect()
}

/// What makes two points the same.
pub fn mark(point: &[f64]) -> Vec<u64> {
    // -0 and 0 are one value.
    point.iter().map(|number| (number + 0.0).to_bits()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    pub fn axes(space: &[Dimension]) -> Vec<Axis> {
        space.iter().map(|dimension| Axis::of(&dimension.domain)).collect()
    }

    fn domain() -> impl Strategy<Value = Domain> {
        let int = (-50_i64..50, 0_i64..40, 1_i64..7).prop_map(|(low, steps, step)| Domain::Int {
            low,
            high: low + steps * step,
            step,
            log: false,
        });
        let log = (1_i64..50, 0_i64..5000).prop_map(|(low, more)| Domain::Int {
            low,
            high: low + more,
            step: 1,
            log: true,
        });
        let float = (-5.0..5.0_f64, 0.0..9.0_f64).prop_map(|(low, more)| Domain::Float {
            low,
            high: low + more,
            step: None,
            log: false,
        });
        let scale = (1e-6..1.0_f64, 0.0..9.0_f64).prop_map(|(low, more)| Domain::Float {
            low,
            high: low + more,
            step: None,
            log: true,
        });
        let stepped = (-5_i32..5, 0_i32..20, 1_i32..9).prop_map(|(low, steps, step)| {
            let step = f64::from(step) / 10.0;
            let low = f64::from(low) / 10.0;
            Domain::Float { low, high: low + f64::from(steps) * step, step: Some(step), log: false }
        });
        let choice =
            (1_usize..6).prop_map(|count| Domain::Choice { values: (0..count).map(|n| json!(n)).collect() });
        prop_oneof![int, log, float, scale, stepped, choice]
    }

    /// Any space of one to three parameters.
    pub fn spaces() -> impl Strategy<Value = Vec<Dimension>> {
        prop::collection::vec(domain(), 1..4).prop_map(|domains| {
            let named = |(at, domain)| Dimension { name: format!("p{at}"), domain };
            domains.into_iter().enumerate().map(named).collect()
        })
    }

    proptest! {
        #[test]
        fn every_place_is_a_point_of_its_own_and_reads_back(space in spaces(), place in 0_u64..1000) {
            let axes = axes(&space);
            if let Some(count) = count(&axes) {
                let place = place % count;
                let point = at(&axes, place);
                let values = values(&space, &point);
                let back = self::point(&space, &values).unwrap();
                for (a, b) in point.iter().zip(&back) {
                    prop_assert!((a - b).abs() < 1e-9, "{point:?} {back:?}");
                }
                if count > 1 {
                    prop_assert_ne!(mark(&point), mark(&at(&axes, (place + 1) % count)));
                }
            }
        }

        #[test]
        fn whatever_is_nearest_lies_within(space in spaces(), at in -100.0..100.0_f64) {
            for dimension in &space {
                let axis = Axis::of(&dimension.domain);
                prop_assert!(dimension.domain.holds(&value(&dimension.domain, axis.nearest(at))));
            }
        }
    }

    #[test]
    fn steps_of_a_tenth_are_written_as_people_write_them() {
        let domain = Domain::Float { low: 0.0, high: 1.0, step: Some(0.1), log: false };
        assert_eq!(value(&domain, Axis::of(&domain).at(3)), json!(0.3));
    }
}
