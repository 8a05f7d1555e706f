//! `metrics/*`

use axum::extract::State;
use axum::response::Response;
use rondo_store::meta::metrics::Series;

use super::MlflowState;
use super::args::Args;
use super::points::List;
use super::refusal::{Answer, Refusal};

/// Runs of one request for charts.
const RUNS: usize = 100;
/// Points of one run in a chart.
const POINTS: i64 = 2500;

pub(super) async fn history(State(state): State<MlflowState>, args: Args) -> Answer<Response> {
    let (id, key) = (args.run_id()?, args.required("metric_key")?);
    let token = args.text("page_token")?.unwrap_or_default();
    let page = state.tracking.history(&id, &key, args.int("max_results")?, &token).await?;
    let mut list = List::default();
    list.add(None, &key, &page.series, page.range);
    Ok(list.close(page.next_page_token.as_deref()))
}

/// The series of one metric of several runs, whole.
pub(super) async fn history_bulk(State(state): State<MlflowState>, args: Args) -> Answer<Response> {
    let (ids, key) = (runs(&args, "run_id")?, args.required("metric_key")?);
    let mut left = args.int("max_results")?.unwrap_or(25_000).clamp(1, 25_000) as usize;
    let mut list = List::default();
    for id in ids {
        let run = state.tracking.run_row(&id).await?.id;
        let series = state.tracking.meta().metric_series(run, &key).await?;
        let count = series.points.len().min(left);
        left -= count;
        list.add(Some(&id), &key, &series, 0..count);
    }
    Ok(list.close(None))
}

/// The series of one metric of several runs, thinned out for a chart.
pub(super) async fn history_bulk_interval(State(state): State<MlflowState>, args: Args) -> Answer<Response> {
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
    let mut list = List::default();
    for id in ids {
        let run = state.tracking.run_row(&id).await?.id;
        let points = state.tracking.sampled_history(run, &key, steps.clone(), most as usize).await?;
        let all = 0..points.len();
        list.add(Some(&id), &key, &Series { points, contexts: Vec::new() }, all);
    }
    Ok(list.close(None))
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
