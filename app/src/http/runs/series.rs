//! `GET /api/v1/runs/{id}/series`.

use axum::Json;
use axum::extract::{Path, State};
use rondo_tracking::Tracking;
use rondo_tracking::series::{Axis, Series};
use serde::Deserialize;

use crate::http::access::Caller;
use crate::http::problem::{Answer, Asked};

/// Which series, and how fine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    metric: String,
    #[serde(default)]
    axis: Axis,
    from: Option<i64>,
    to: Option<i64>,
    #[serde(default = "points")]
    points: usize,
}

const fn points() -> usize {
    1_000
}

/// A metric in buckets: the least, the greatest and the last value of each.
///
/// # Errors
/// When there is no such run, or there would be no bucket or too many.
pub async fn series(
    State(tracking): State<Tracking>,
    caller: Caller,
    Path(id): Path<String>,
    Asked(asked): Asked<Wanted>,
) -> Answer<Json<Series>> {
    caller.run(&id).await?;
    let range = asked.from.unwrap_or(i64::MIN)..=asked.to.unwrap_or(i64::MAX);
    Ok(Json(tracking.series(&id, &asked.metric, asked.axis, range, asked.points).await?))
}
