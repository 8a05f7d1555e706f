//! `metrics/*`

use axum::Json;
use axum::extract::State;
use rondo_store::meta::metrics::Point;
use serde::Serialize;

use super::MlflowState;
use super::args::{Args, missing};
use super::refusal::{Answer, Refusal};
use super::show::MetricShown;

/// Runs of one request for charts.
const RUNS: usize = 100;
/// Points of one run in a chart.
const POINTS: i64 = 2500;
/// Points of all runs in one answer.
const HISTORY: i64 = 25_000;

#[derive(Serialize)]
pub(super) struct Series {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<MetricShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// The same where an empty list is shown too.
#[derive(Serialize)]
pub(super) struct Bulk {
    metrics: Vec<MetricShown>,
}

pub(super) async fn history(State(state): State<MlflowState>, args: Args) -> Answer<Json<Series>> {
    let (id, key) = (args.run_id()?, args.required("metric_key")?);
    let token = args.text("page_token")?.unwrap_or_default();
    let found = state.tracking.history(&id, &key, args.int("max_results")?, &token).await?;
    let metrics = found.items.into_iter().map(|point| MetricShown::new(key.clone(), point, None));
    Ok(Json(Series { metrics: metrics.collect(), next_page_token: found.next_page_token }))
}

/// The series of one metric of several runs, whole, one run after the other. A run that is not here has
/// no points.
pub(super) async fn history_bulk(State(state): State<MlflowState>, args: Args) -> Answer<Json<Bulk>> {
    let mut ids = args.texts("run_id")?;
    if ids.is_empty() {
        let message = "GetMetricHistoryBulk request must specify at least one run_id.";
        return Err(Refusal::invalid(message));
    }
    if ids.len() > RUNS {
        let message = format!(
            "GetMetricHistoryBulk request cannot specify more than {RUNS} run_ids. Received {} run_ids.",
            ids.len()
        );
        return Err(Refusal::invalid(message));
    }
    let missing = || Refusal::invalid("GetMetricHistoryBulk request must specify a metric_key.");
    let key = args.text("metric_key")?.ok_or_else(missing)?;
    let most = args.int("max_results")?.unwrap_or(HISTORY).clamp(0, HISTORY) as usize;
    ids.sort();
    ids.dedup();
    let mut metrics: Vec<MetricShown> = Vec::new();
    for id in ids {
        let points = match state.tracking.history(&id, &key, None, "").await {
            Err(rondo_tracking::Error::RunNotFound { .. }) => Vec::new(),
            found => found?.items,
        };
        let left = most.saturating_sub(metrics.len());
        metrics.extend(shown(points.into_iter().take(left), &key, &id));
    }
    Ok(Json(Bulk { metrics }))
}

/// The series of one metric of several runs, thinned out for a chart.
pub(super) async fn history_bulk_interval(
    State(state): State<MlflowState>,
    args: Args,
) -> Answer<Json<Series>> {
    let ids = args.texts("run_ids")?;
    if ids.is_empty() {
        return Err(missing("run_ids"));
    }
    if ids.len() > RUNS {
        return Err(Refusal::invalid(format!(
            "GetMetricHistoryBulkInterval request must specify at most {RUNS} run_ids. Received {} run_ids. See the \
             API docs for more information about request parameters.",
            ids.len()
        )));
    }
    let key = args.required("metric_key")?;
    let (start, end) = (args.int("start_step")?, args.int("end_step")?);
    let most = args.int("max_results")?.unwrap_or(POINTS);
    if !(1..=POINTS).contains(&most) {
        return Err(Refusal::invalid(format!(
            "max_results must be between 1 and {POINTS}. See the API docs for more information about request \
             parameters."
        )));
    }
    let steps = match (start, end) {
        (Some(start), Some(end)) if start > end => {
            return Err(Refusal::invalid(format!(
                "end_step must be greater than start_step. Found start_step={start} and end_step={end}."
            )));
        }
        (Some(start), Some(end)) => start..=end,
        (None, None) => i64::MIN..=i64::MAX,
        (Some(_), None) | (None, Some(_)) => {
            return Err(Refusal::invalid(
                "If either start step or end step are specified, both must be specified.",
            ));
        }
    };
    let found = state.tracking.sampled_histories(&ids, &key, steps, most as usize).await?;
    let metrics = found.into_iter().flat_map(|(id, points)| shown(points.into_iter(), &key, &id));
    Ok(Json(Series { metrics: metrics.collect(), next_page_token: None }))
}

fn shown(points: impl Iterator<Item = Point>, key: &str, run: &str) -> Vec<MetricShown> {
    points.map(|point| MetricShown::new(key.to_owned(), point, Some(run.to_owned()))).collect()
}
