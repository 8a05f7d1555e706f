//! Series for charts: a metric of any length as a bounded number of buckets.
//!
//! The range of the x axis is cut into buckets of equal width; each keeps its least, greatest and last
//! value. So a chart of a thousand buckets shows every spike of a series of a million points, which
//! picking points at even distances does not.

use std::ops::RangeInclusive;

use rondo_store::meta::metrics::Point;
use serde::Serialize;

use crate::{Error, Tracking, limits};

/// Buckets of a series, at most.
pub const BUCKETS_MAX: usize = 10_000;

/// What a series is drawn over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    /// The client's own count.
    #[default]
    Step,
    /// The client's clock, milliseconds since the epoch.
    Time,
}

/// A metric in buckets, in columns of equal length; one entry is one bucket that has points.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Series {
    /// How many points the range has.
    pub points: usize,
    /// The step of the bucket's last point.
    pub step: Vec<i64>,
    /// The time of the bucket's last point.
    pub time: Vec<i64>,
    /// The least value; nothing where none is a finite number.
    pub min: Vec<Option<f64>>,
    /// The greatest value; nothing where none is a finite number.
    pub max: Vec<Option<f64>>,
    /// The last value; nothing where it is no finite number.
    pub last: Vec<Option<f64>>,
    /// How many points the bucket has.
    pub count: Vec<u64>,
    /// How many of them are no finite numbers.
    pub not_finite: Vec<u64>,
}

impl Tracking {
    /// A metric of a run in at most so many buckets, between two places of the axis.
    ///
    /// # Errors
    /// When there is no such run, or there would be no bucket or too many.
    pub async fn series(
        &self,
        run: &str,
        key: &str,
        axis: Axis,
        range: RangeInclusive<i64>,
        buckets: usize,
    ) -> Result<Series, Error> {
        if buckets == 0 || buckets > BUCKETS_MAX {
            let reason = format!("it must be from 1 to {BUCKETS_MAX}");
            return Err(limits::invalid("points", &buckets.to_string(), &reason));
        }
        let id = self.run_row(run).await?.id;
        let points = self.meta().metric_history(id, key).await?;
        Ok(bucketed(points, axis, range, buckets))
    }
}

/// Sorts points into buckets of equal width.
pub fn bucketed(mut points: Vec<Point>, axis: Axis, range: RangeInclusive<i64>, buckets: usize) -> Series {
    let place = |point: &Point| match axis {
        Axis::Step => point.step,
        Axis::Time => point.timestamp,
    };
    points.retain(|point| range.contains(&place(point)));
    // Stable: what came later stands later where the place is the same.
    points.sort_by_key(place);
    let (Some(first), Some(last)) = (points.first().map(place), points.last().map(place)) else {
        return Series::default();
    };
    let width = i128::from(last) - i128::from(first) + 1;
    let bucket = |point: &Point| (i128::from(place(point)) - i128::from(first)) * buckets as i128 / width;
    let mut series = Series { points: points.len(), ..Series::default() };
    for of_bucket in points.chunk_by(|a, b| bucket(a) == bucket(b)) {
        series.push(of_bucket);
    }
    series
}

impl Series {
    fn push(&mut self, points: &[Point]) {
        let Some(last) = points.last() else { return };
        let finite = || points.iter().map(|point| point.value).filter(|value| value.is_finite());
        self.step.push(last.step);
        self.time.push(last.timestamp);
        self.min.push(finite().reduce(f64::min));
        self.max.push(finite().reduce(f64::max));
        self.last.push(Some(last.value).filter(|value| value.is_finite()));
        self.count.push(points.len() as u64);
        self.not_finite.push((points.len() - finite().count()) as u64);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(step: i64, value: f64) -> Point {
        Point { timestamp: step * 10, step, value }
    }

    #[test]
    fn a_spike_is_seen_however_few_buckets_there_are() {
        let points = (0..1_000_000).map(|step| point(step, if step == 123_456 { 99.0 } else { 1.0 }));
        let series = bucketed(points.collect(), Axis::Step, i64::MIN..=i64::MAX, 100);
        assert_eq!((series.points, series.step.len()), (1_000_000, 100));
        assert_eq!(series.max.iter().flatten().copied().fold(0.0, f64::max), 99.0);
        assert_eq!(series.max.iter().filter(|max| **max == Some(99.0)).count(), 1);
        assert_eq!(series.step.last(), Some(&999_999));
    }

    #[test]
    fn what_is_no_number_is_counted_and_hides_nothing() {
        let points = vec![point(0, f64::NAN), point(0, 2.0), point(1, f64::INFINITY)];
        let series = bucketed(points, Axis::Time, i64::MIN..=i64::MAX, 2);
        assert_eq!(series.min, [Some(2.0), None]);
        assert_eq!(series.last, [Some(2.0), None]);
        assert_eq!(series.not_finite, [1, 1]);
    }

    #[test]
    fn a_range_of_all_numbers_has_a_width() {
        let points = vec![
            point(0, 1.0),
            Point { step: i64::MIN, ..point(0, 2.0) },
            Point { step: i64::MAX, ..point(0, 3.0) },
        ];
        let series = bucketed(points, Axis::Step, i64::MIN..=i64::MAX, 10);
        assert_eq!(series.last, [Some(2.0), Some(1.0), Some(3.0)]);
        assert_eq!(bucketed(Vec::new(), Axis::Step, 0..=1, 5), Series::default());
    }

    proptest! {
        #[test]
        fn buckets_hold_every_point_of_the_range_once(
            steps in proptest::collection::vec((-50i64..50, -1e6f64..1e6), 0..200),
            from in -60i64..60, buckets in 1usize..40,
        ) {
            let points: Vec<Point> = steps.iter().map(|(step, value)| point(*step, *value)).collect();
            let inside: Vec<f64> = points.iter().filter(|p| p.step >= from).map(|p| p.value).collect();
            let series = bucketed(points, Axis::Step, from..=i64::MAX, buckets);
            prop_assert!(series.step.len() <= buckets);
            prop_assert_eq!(series.count.iter().sum::<u64>() as usize, inside.len());
            let least = series.min.iter().flatten().copied().reduce(f64::min);
            prop_assert_eq!(least, inside.iter().copied().reduce(f64::min));
            prop_assert!(series.step.is_sorted());
        }
    }
}
