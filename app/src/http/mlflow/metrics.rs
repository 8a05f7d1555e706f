//! `metrics/*`

use axum::extract::State;
use axum::response::Response;
use rondo_store::meta::metrics::Series;

use super::MlflowState;
use super::args::{Args, missing};
use super::points::List;
use super::refusal::{Answer, Refusal};
use crate::http::access::caller::Sight;
use crate::http::access::{Caller, Denied};

/// Runs of one request for charts.
const RUNS: usize = 100;
/// Points of one run in a chart.
const POINTS: i64 = 2500;
/// Points of all runs in one answer.
const HISTORY: i64 = 25_000;

pub(super) async fn history(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Response> {
    let (id, key) = (args.run_id()?, args.required("metric_key")?);
    caller.run(&id).await?;
    let token = args.text("page_token")?.unwrap_or_default();
    let mut list = List::default();
    let page = match state.tracking.history(&id, &key, args.int("max_results")?, &token).await {
        // A run that is not here has no points. Who may not see every run is not told which there are.
        Err(rondo_tracking::Error::RunNotFound { .. }) if caller.sight_of_experiments() == Sight::All => {
            return Ok(list.close(None));
        }
        Err(rondo_tracking::Error::RunNotFound { .. }) => return Err(Denied.into()),
        page => page?,
    };
    list.add(None, &key, &page.series, 0..page.series.points.len());
    Ok(list.close(page.next_page_token.as_deref()))
}

/// The series of one metric of several runs, whole, one run after the other. A run that is not here has
/// no points.
pub(super) async fn history_bulk(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Response> {
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
    let mut left = args.int("max_results")?.unwrap_or(HISTORY).clamp(0, HISTORY) as usize;
    ids.sort();
    ids.dedup();
    caller.runs(&ids).await?;
    let mut list = List::there();
    for id in ids {
        let series = match state.tracking.history(&id, &key, None, "").await {
            Err(rondo_tracking::Error::RunNotFound { .. }) => continue,
            found => found?.series,
        };
        let count = series.points.len().min(left);
        left -= count;
        list.add(Some(&id), &key, &series, 0..count);
    }
    Ok(list.close(None))
}

/// The series of one metric of several runs, thinned out for a chart.
pub(super) async fn history_bulk_interval(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Response> {
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
    caller.runs(&ids).await?;
    let mut list = List::default();
    for (id, points) in state.tracking.sampled_histories(&ids, &key, steps, most as usize).await? {
        let all = 0..points.len();
        list.add(Some(&id), &key, &Series { points, contexts: Vec::new() }, all);
    }
    Ok(list.close(None))
}
