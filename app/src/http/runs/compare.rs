//! `GET /api/v1/runs/compare`.

use axum::Json;
use axum::extract::State;
use rondo_tracking::Tracking;
use rondo_tracking::compare::Row;
use serde::Serialize;

use super::all;
use crate::http::access::Caller;
use crate::http::problem::{Answer, Asked};

/// Runs side by side.
#[derive(Debug, Serialize)]
pub struct Comparison {
    runs: Vec<Head>,
    rows: Vec<Row>,
}

/// A run at the head of its column.
#[derive(Debug, Serialize)]
pub struct Head {
    id: String,
    name: String,
    experiment: String,
    status: &'static str,
    started: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<i64>,
}

/// Compares runs: `run` as often as wanted.
///
/// # Errors
/// When one of them does not exist, or there are none or too many.
pub async fn compare(
    State(tracking): State<Tracking>,
    caller: Caller,
    Asked(asked): Asked<Vec<(String, String)>>,
) -> Answer<Json<Comparison>> {
    let wanted = all(&asked, "run");
    caller.runs(&wanted).await?;
    let (runs, rows) = tracking.compare(&wanted).await?;
    let heads = runs.iter().map(|run| Head {
        id: run.row.id.hex(),
        name: run.row.name.clone(),
        experiment: run.row.experiment.to_string(),
        status: run.row.state.status(),
        started: run.row.started.millis(),
        ended: run.row.ended.map(rondo_core::Timestamp::millis),
    });
    Ok(Json(Comparison { runs: heads.collect(), rows }))
}
