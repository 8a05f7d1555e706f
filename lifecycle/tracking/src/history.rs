//! The series of a metric, whole, in pages or thinned out for a chart.

use rondo_core::RunId;
use rondo_store::meta::metrics::Point;
use rondo_store::meta::search::Scalar;

use crate::tracking::Found;
use crate::{Error, Tracking, page};

/// Points of a page, at most.
pub const PAGE_MAX: u32 = 25_000;

impl Tracking {
    /// The points of a metric in the order of arrival: all, or a page of them.
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
        let points = self.meta().metric_history(run, key).await?;
        if max_results.is_none() && page_token.is_empty() {
            return Ok(Found { items: points, next_page_token: None });
        }
        let size = page::size(max_results.map(|size| size.min(i64::from(PAGE_MAX))), PAGE_MAX, PAGE_MAX)?;
        let from = match page::place(page_token)?.as_deref() {
            None => 0,
            Some([Scalar::Int(from)]) => usize::try_from(*from).map_err(|_| page::foreign())?,
            Some(_) => return Err(page::foreign()),
        };
        // The series only grows at its end, so that a count is a place.
        let to = from.saturating_add(size as usize);
        let next =
            i64::try_from(to).ok().filter(|_| to < points.len()).map(|to| page::token(&[Scalar::Int(to)]));
        Ok(Found {
            items: points.into_iter().skip(from).take(size as usize).collect(),
            next_page_token: next,
        })
    }

    /// At most so many points of a metric, by step, between two steps: the first and the last and those
    /// at even distances between.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sampled_history(
        &self,
        run: RunId,
        key: &str,
        steps: std::ops::RangeInclusive<i64>,
        at_most: usize,
    ) -> Result<Vec<Point>, Error> {
        let mut points = self.meta().metric_history(run, key).await?;
        points.retain(|point| steps.contains(&point.step));
        points.sort_by_key(|point| (point.step, point.timestamp));
        Ok(thin(points, at_most))
    }
}

/// So many of the items at most: the first, the last and those at even distances between.
fn thin<T: Clone>(items: Vec<T>, at_most: usize) -> Vec<T> {
    let count = items.len();
    if count <= at_most || at_most < 2 {
        return items.into_iter().take(at_most).collect();
    }
    (0..at_most).filter_map(|i| items.get(i * (count - 1) / (at_most - 1)).cloned()).collect()
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

    #[test]
    fn thinning_keeps_both_ends() {
        let items: Vec<i32> = (0..1000).collect();
        let thinned = thin(items.clone(), 7);
        assert_eq!((thinned.len(), thinned[0], thinned[6]), (7, 0, 999));
        assert_eq!(thin(items.clone(), 1000), items);
        assert!(thin(items, 0).is_empty());
    }
}
