//! `metrics/*`

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::MlflowState;
use super::args::Args;
use super::refusal::{Answer, Refusal};
use super::show::MetricShown;
use crate::http::access::Caller;

/// Runs of one request for charts.
const RUNS: usize = 100;
/// Points of one run in a chart.
const POINTS: i64 = 2500;

#[derive(Serialize)]
pub(super) struct Series {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<MetricShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

pub(super) async fn history(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Series>> {
    let (id, key) = (args.run_id()?, args.required("metric_key")?);
    caller.run(&id).await?;
    let token = args.text("page_token")?.unwrap_or_default();
    let found = state.tracking.history(&id, &key, args.int("max_results")?, &token).await?;
    let metrics = found.items.into_iter().map(|point| MetricShown::new(key.clone(), point, Some(id.clone())));
    Ok(Json(Series { metrics: metrics.collect(), next_page_token: found.next_page_token }))
}

/// The series of one metric of several runs, whole.
pub(super) async fn history_bulk(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Series>> {
    let (ids, key) = (runs(&args, "run_id")?, args.required("metric_key")?);
    let most = args.int("max_results")?.unwrap_or(25_000).clamp(1, 25_000) as usize;
    let mut metrics: Vec<MetricShown> = Vec::new();
    for id in ids {
        caller.run(&id).await?;
        let run = state.tracking.run_row(&id).await?.id;
        let points = state.tracking.meta().metric_history(run, &key).await?;
        let left = most.saturating_sub(metrics.len());
        metrics.extend(
            points.into_iter().take(left).map(|point| MetricShown::new(key.clone(), point, Some(id.clone()))),
        );
    }
    Ok(Json(Series { metrics, next_page_token: None }))
}

/// The series of one metric of several runs, thinned out for a chart.
pub(super) async fn history_bulk_interval(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Series>> {
    let (ids, key) = (runs(&args, "run_ids")?, args.required("metric_key")?);
    let most = args.int("max_results")?.unwrap_or(320);
    if !(1..=POINTS).contains(&most) {
        return Err(Refusal::invalid(format!(
            "max_results must be from 1 to {POINTS}, but got value {most}"
        )));
    }
    let (start, end) = (args.int("start_step")?, args.int("end_step")?);
    let steps = match (start, end) {
        (Some(start), Some(end)) if start > end => {
            return Err(Refusal::invalid("end_step must be greater than start_step"));
        }
        (Some(start), Some(end)) => start..=end,
        (None, None) => i64::MIN..=i64::MAX,
        (Some(_), None) | (None, Some(_)) => {
            return Err(Refusal::invalid(
                "If either start step or end step are specified, both must be specified.",
            ));
        }
    };
    let mut metrics = Vec::new();
    for id in ids {
        caller.run(&id).await?;
        let run = state.tracking.run_row(&id).await?.id;
        let points = state.tracking.sampled_history(run, &key, steps.clone(), most as usize).await?;
        metrics
            .extend(points.into_iter().map(|point| MetricShown::new(key.clone(), point, Some(id.clone()))));
    }
    Ok(Json(Series { metrics, next_page_token: None }))
}

fn runs(args: &Args, name: &str) -> Answer<Vec<String>> {
    let ids = args.texts(name)?;
    if ids.is_empty() {
        args.required(name)?;
    }
    if ids.len() > RUNS {
        let message = format!("GetMetricHistoryBulk request cannot specify more than {RUNS} run_ids.");
        return Err(Refusal::invalid(message));
    }
    Ok(ids)
}
