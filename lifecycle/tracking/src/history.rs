//! The series of a metric, whole, in pages or thinned out for a chart.

use std::collections::BTreeSet;

use rondo_store::meta::metrics::{Place, Point, Series};
use rondo_store::meta::search::Scalar;

use crate::{Error, Tracking, page};

/// Points of a page, at most.
pub const PAGE_MAX: u32 = 25_000;

/// Some points of a series.
#[derive(Debug, Clone)]
pub struct Page {
    /// They.
    pub series: Series,
    /// The token of the next page, where more comes.
    pub next_page_token: Option<String>,
}

impl Tracking {
    /// The points of a metric by (timestamp, step, value): all, or a page of them.
    ///
    /// # Errors
    /// When there is no such run, or the page token is none of this series.
    pub async fn history(
        &self,
        id: &str,
        key: &str,
        max_results: Option<i64>,
        page_token: &str,
    ) -> Result<Page, Error> {
        let run = self.run_row(id).await?.id;
        let size = match max_results {
            None if page_token.is_empty() => usize::MAX,
            asked => {
                page::size(asked.map(|size| size.min(i64::from(PAGE_MAX))), PAGE_MAX, PAGE_MAX)? as usize
            }
        };
        let after = match page::place(page_token)?.as_deref() {
            None => None,
            Some(
                [
                    Scalar::Int(timestamp),
                    Scalar::Int(step),
                    Scalar::Real(value),
                    Scalar::Int(chunk),
                    Scalar::Int(ordered),
                ],
            ) => {
                let point = Point { timestamp: *timestamp, step: *step, value: *value };
                Some(Place { point, chunk: *chunk, ordered: *ordered })
            }
            Some(_) => return Err(page::foreign()),
        };
        let page = self.meta().metric_page(run, key, after, size).await?;
        let token = |Place { point, chunk, ordered }: Place| {
            let [timestamp, step, chunk, ordered] =
                [point.timestamp, point.step, chunk, ordered].map(Scalar::Int);
            page::token(&[timestamp, step, Scalar::Real(point.value), chunk, ordered])
        };
        Ok(Page { series: page.series, next_page_token: page.next.map(token) })
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
            points.sort_by(|a, b| a.step.cmp(&b.step).then_with(|| a.order(b)));
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
        let whole = tracking.history(&id, "m", None, "").await.unwrap().series.points;
        assert_eq!(whole.len(), 2100);
        let mut joined = Vec::new();
        let mut token = String::new();
        loop {
            let found = tracking.history(&id, "m", Some(999), &token).await.unwrap();
            joined.extend_from_slice(&found.series.points);
            match found.next_page_token {
                Some(next) => token = next,
                None => break,
            }
        }
        assert_eq!(joined, whole);
        assert!(tracking.history(&id, "m", Some(10), "nonsense").await.is_err());
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
