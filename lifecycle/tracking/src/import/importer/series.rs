//! Series of metrics: those of many runs are written together.

use std::collections::HashSet;

use rondo_core::RunId;
use rondo_store::foreign::Series;
use rondo_store::meta::import::ImportedSeries;
use rondo_store::meta::metrics::Point;
use tokio::task::JoinHandle;

use super::{Importer, Incoming, State, finite};
use crate::Error;
use crate::import::{Kind, Source};

/// Points that are held before they are written.
const HELD: usize = 200_000;

/// Series that are being written.
type Writing = JoinHandle<Result<(), rondo_store::Error>>;

/// Waits until what is being written is.
async fn written(writing: &mut Option<Writing>) -> Result<(), Error> {
    match writing.take() {
        Some(writing) => Ok(writing.await.map_err(|_| rondo_store::Error::Closed)??),
        None => Ok(()),
    }
}

impl Importer<'_> {
    pub(super) async fn histories<S: Source>(
        &mut self,
        source: &mut S,
        page: &[Incoming],
    ) -> Result<(), Error> {
        let mut held = Vec::new();
        let mut points = 0;
        let mut writing = None;
        for run in page {
            if run.state == State::Here || self.options.dry_run {
                self.count(Kind::MetricPoints, run.state, run.run.points, run.run.points);
                continue;
            }
            let mut series = source.history(&run.run).await?;
            series.retain(|series| run.run.metrics.contains(&series.key));
            self.faults(source);
            let found: usize = series.iter().map(|series| series.points.len()).sum();
            for point in series.iter_mut().flat_map(|series| &mut series.points) {
                point.value = finite(point.value);
            }
            if run.state == State::Behind {
                self.leave_out_known(run.id, &mut series).await?;
            }
            let new: usize = series.iter().map(|series| series.points.len()).sum();
            let count = self.report.of(Kind::MetricPoints);
            count.found += found as u64;
            count.imported += new as u64;
            count.already_there += (found - new) as u64;
            points += new;
            held.extend(series.into_iter().map(|Series { key, points }| ImportedSeries {
                run: run.id,
                key,
                points,
            }));
            if points >= HELD {
                written(&mut writing).await?;
                writing = Some(self.write(std::mem::take(&mut held)));
                points = 0;
            }
        }
        written(&mut writing).await?;
        written(&mut Some(self.write(held))).await
    }

    /// Writes series while the next ones are read.
    fn write(&self, series: Vec<ImportedSeries>) -> Writing {
        let meta = self.meta().clone();
        tokio::spawn(async move { meta.import_series(series).await })
    }

    async fn leave_out_known(&self, run: RunId, series: &mut [Series]) -> Result<(), Error> {
        let print = |point: &Point| (point.timestamp, point.step, point.value.to_bits());
        for series in series {
            let known = self.meta().metric_history(run, &series.key).await?;
            let known: HashSet<_> = known.iter().map(print).collect();
            series.points.retain(|point| !known.contains(&print(point)));
        }
        Ok(())
    }
}
