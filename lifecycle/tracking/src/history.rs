//! The series of a metric, whole, in pages or thinned out for a chart.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use rondo_store::meta::metrics::Point;
use rondo_store::meta::search::Scalar;

use crate::tracking::Found;
use crate::{Error, Tracking, page};

/// Points of a page, at most.
pub const PAGE_MAX: u32 = 25_000;

impl Tracking {
    /// The points of a metric by time, step and value: all, or a page of them.
    ///
    /// # Errors
    /// When there is no such run, or the page token is none of this series.
    pub async fn history(
        &self,
        id: &str,
        key: &str,
        max_results: Option<i64>,
        page_token: &str,
    ) -> Result<Found<Point>, Error> {
        let run = self.run_row(id).await?.id;
        let after = page::place(page_token)?.as_deref().map(read_place).transpose()?;
        let mut points = self.meta().metric_history(run, key).await?;
        points.sort_by(in_time);
        if let Some(after) = after {
            let from = points.partition_point(|point| in_time(point, &after).is_le());
            points.drain(..from);
        }
        if max_results.is_none() && page_token.is_empty() {
            return Ok(Found { items: points, next_page_token: None });
        }
        let size = page::size(max_results.map(|size| size.min(i64::from(PAGE_MAX))), PAGE_MAX, PAGE_MAX)?;
        let more = points.len() > size as usize;
        points.truncate(size as usize);
        let next_page_token = points.last().filter(|_| more).map(place_of);
        Ok(Found { items: points, next_page_token })
    }

    /// The points of a metric of several runs between two steps, thinned out to so many steps. The steps
    /// are chosen over all runs together, so that lines can be compared; the first and the last step of
    /// each run are among them. A run that is not here has no points.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sampled_histories(
        &self,
        ids: &[String],
        key: &str,
        steps: std::ops::RangeInclusive<i64>,
        at_most: usize,
    ) -> Result<Vec<(String, Vec<Point>)>, Error> {
        let mut series = Vec::with_capacity(ids.len());
        let mut all = BTreeSet::new();
        let mut ends = BTreeSet::new();
        for id in ids {
            let mut points = match id.parse() {
                Ok(run) => self.meta().metric_history(run, key).await?,
                Err(_) => Vec::new(),
            };
            points.sort_by(|a, b| a.step.cmp(&b.step).then_with(|| in_time(a, b)));
            ends.extend(points.first().map(|point| point.step));
            ends.extend(points.last().map(|point| point.step));
            points.retain(|point| steps.contains(&point.step));
            all.extend(points.iter().map(|point| point.step));
            series.push((id.clone(), points));
        }
        let mut chosen = thin(all.into_iter().collect(), at_most);
        chosen.extend(ends);
        for (_, points) in &mut series {
            points.retain(|point| chosen.contains(&point.step));
        }
        Ok(series)
    }
}

fn in_time(a: &Point, b: &Point) -> Ordering {
    (a.timestamp, a.step).cmp(&(b.timestamp, b.step)).then(a.value.total_cmp(&b.value))
}

fn place_of(point: &Point) -> String {
    page::token(&[Scalar::Int(point.timestamp), Scalar::Int(point.step), Scalar::Real(point.value)])
}

fn read_place(place: &[Scalar]) -> Result<Point, Error> {
    match place {
        [Scalar::Int(timestamp), Scalar::Int(step), Scalar::Real(value)] => {
            Ok(Point { timestamp: *timestamp, step: *step, value: *value })
        }
        _ => Err(page::foreign()),
    }
}

/// So many steps at even distances, and the last.
fn thin(steps: Vec<i64>, at_most: usize) -> BTreeSet<i64> {
    let count = steps.len();
    if count <= at_most {
        return steps.into_iter().collect();
    }
    let even = (0..at_most).filter_map(|i| steps.get(i * count / at_most).copied());
    even.chain(steps.last().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::NewRun;
    use crate::tracking::fixture::tracking;
    use rondo_store::meta::metrics::Batch;

    #[tokio::test]
    async fn pages_of_a_series_join_to_the_whole() {
        let (_folder, tracking) = tracking().await;
        let run = NewRun { experiment: "0".into(), ..NewRun::default() };
        let id = tracking.create_run(run).await.unwrap().row.id.hex();
        for batch in 0..3 {
            let metrics = (0..700).map(|i| {
                let step = batch * 700 + i;
                ("m".to_owned(), Point { timestamp: 1, step, value: step as f64 })
            });
            tracking.log_batch(&id, Batch { metrics: metrics.collect(), ..Batch::default() }).await.unwrap();
        }
        let whole = tracking.history(&id, "m", None, "").await.unwrap().items;
        assert_eq!(whole.len(), 2100);
        let mut joined = Vec::new();
        let mut token = String::new();
        loop {
            let found = tracking.history(&id, "m", Some(999), &token).await.unwrap();
            joined.extend(found.items);
            match found.next_page_token {
                Some(next) => token = next,
                None => break,
            }
        }
        assert_eq!(joined, whole);
        assert!(tracking.history(&id, "m", Some(10), "nonsense").await.is_err());
    }

    #[tokio::test]
    async fn a_late_point_of_an_early_time_does_not_move_the_pages() {
        let (_folder, tracking) = tracking().await;
        let run = NewRun { experiment: "0".into(), ..NewRun::default() };
        let id = tracking.create_run(run).await.unwrap().row.id.hex();
        let log = |timestamp| {
            let point = Point { timestamp, step: 0, value: 0.0 };
            tracking.log_metric(&id, "m".to_owned(), point)
        };
        for timestamp in [10, 20, 30, 40] {
            log(timestamp).await.unwrap();
        }
        let first = tracking.history(&id, "m", Some(2), "").await.unwrap();
        log(5).await.unwrap();
        let token = first.next_page_token.unwrap();
        let second = tracking.history(&id, "m", Some(2), &token).await.unwrap();
        let times = second.items.iter().map(|point| point.timestamp).collect::<Vec<_>>();
        assert_eq!((times, second.next_page_token), (vec![30, 40], None));
    }

    #[test]
    fn thinning_keeps_both_ends() {
        let steps: Vec<i64> = (0..1000).collect();
        let thinned = thin(steps.clone(), 7);
        assert_eq!(thinned.len(), 8);
        assert_eq!((thinned.first(), thinned.last()), (Some(&0), Some(&999)));
        assert_eq!(thin((0..10).collect(), 5).into_iter().collect::<Vec<_>>(), [0, 2, 4, 6, 8, 9]);
        assert_eq!(thin(steps.clone(), 1000), steps.into_iter().collect());
    }
}
