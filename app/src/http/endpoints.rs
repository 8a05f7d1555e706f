//! `/api/v1/endpoints`: ask for predictions, tell the truth, move event time on.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use rondo_core::handoff::Truth;
use rondo_core::{Code, Timestamp};
use rondo_serving::deployment::{self, Answer as Prediction, Status};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AppState;
use super::access::Caller;
use super::problem::{Answer, Asked, Problem, said};
use crate::platform::monitor::Observed;

/// The endpoints with what they have counted.
pub async fn list(State(state): State<AppState>, caller: Caller) -> Json<Vec<Status>> {
    let sight = caller.sight_of_models();
    let mut all = state.deployments.status();
    all.retain(|status| sight.holds(&status.deployment.model));
    Json(all)
}

/// Whether the caller may, with the model that an endpoint serves, what the route is for.
fn ask(state: &AppState, caller: &Caller, name: &str) -> Answer<()> {
    let live = state.deployments.live(name)?;
    Ok(caller.model(&live.deployment.model)?)
}

/// How a prediction is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct How {
    /// Only score: log nothing, remember no id.
    #[serde(default)]
    pub dry_run: bool,
}

/// The answer to a request for predictions.
#[derive(Debug, Serialize)]
pub struct Predictions {
    /// One a row, in the order of the rows.
    pub predictions: Vec<Prediction>,
}

/// Answers rows, each with an id, a score and the version that gave it. A row with an id that was answered
/// before gets the same answer again.
///
/// # Errors
/// When there is no such endpoint, the body does not fit the model, or an id was answered before for other
/// inputs.
pub async fn predict(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    Asked(asked): Asked<How>,
    body: Bytes,
) -> Answer<Json<Predictions>> {
    ask(&state, &caller, &name)?;
    if asked.dry_run {
        return Ok(Json(Predictions { predictions: try_out(&state, &name, &body)? }));
    }
    Ok(Json(Predictions { predictions: state.deployments.predict_bytes(&name, &body)? }))
}

fn try_out(state: &AppState, name: &str, body: &[u8]) -> Result<Vec<Prediction>, Problem> {
    let live = state.deployments.live(name)?;
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Problem::new(Code::RequestInvalid, format!("the body is not JSON: {error}")))?;
    Ok(deployment::try_out(&live, live.read(body)?)?)
}

/// Ground truth, as it comes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truths {
    /// One a prediction.
    pub truths: Vec<Truth>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Told {
    /// Truths that are on disk now.
    pub acknowledged: usize,
}

/// Takes ground truth in; the answer comes when it is on disk.
///
/// # Errors
/// When one contradicts an earlier one or is nothing that the model predicts, or the disk refuses; then none is
/// taken.
pub async fn truth(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    body: Result<Json<Truths>, JsonRejection>,
) -> Answer<Json<Told>> {
    ask(&state, &caller, &name)?;
    let live = state.deployments.live(&name)?;
    let truths =
        said(body)?.truths.into_iter().map(|truth| live.resolve(truth)).collect::<Result<Vec<_>, _>>()?;
    let (log, count) = (state.deployments.log().clone(), truths.len());
    blocking(move || log.truth(&name, &truths)).await??;
    Ok(Json(Told { acknowledged: count }))
}

/// How far event time has come.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advance {
    /// No event before this is still to come.
    pub event_time: Timestamp,
}

/// Says that event time has come this far: what was answered is synced, data that have arrived are brought
/// in, and windows that are due are assessed. Call it again while the answer holds a request.
///
/// # Errors
/// When the log or store refuses.
pub async fn advance(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    body: Result<Json<Advance>, JsonRejection>,
) -> Answer<Json<Observed>> {
    ask(&state, &caller, &name)?;
    let Advance { event_time } = said(body)?;
    let log = state.deployments.log().clone();
    blocking(move || log.sync()).await??;
    state.platform.arrive(event_time).await?;
    Ok(Json(state.platform.observe_endpoint(&name, event_time).await?))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Problem::new(Code::Internal, format!("a background task failed: {error}")))
}
