//! `GET /api/v1/runs/{id}/sweep`, and the same as a page.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Html;
use rondo_core::Code;
use rondo_tracking::Tracking;

use crate::http::access::Caller;
use crate::http::problem::{Answer, Problem};
use crate::report::sweep::{View, page};

/// A sweep: its parameters as axes, and its trials as lines. The run is the sweep's or one of its trials'.
///
/// # Errors
/// When there is no such run, or it belongs to no sweep.
pub async fn sweep(
    State(tracking): State<Tracking>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<View>> {
    Ok(Json(view(&tracking, &caller, &id).await?))
}

/// The same as a page that needs nothing else.
///
/// # Errors
/// As [`sweep`].
pub async fn page(
    State(tracking): State<Tracking>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Html<String>> {
    Ok(Html(page::render(&view(&tracking, &caller, &id).await?)))
}

async fn view(tracking: &Tracking, caller: &Caller, id: &str) -> Answer<View> {
    caller.run(id).await?;
    let mut row = tracking.run_row(id).await?;
    if let Some(parent) = row.parent.filter(|_| row.detail.trial.is_some()) {
        // A trial's code may have turned to another experiment than its sweep's.
        caller.run(&parent.hex()).await?;
        row = tracking.run_row(&parent.hex()).await?;
    }
    let missing = || Problem::new(Code::RunNotFound, format!("run `{id}` belongs to no sweep"));
    let sweep = row.detail.sweep.as_ref().ok_or_else(missing)?;
    Ok(View::new(row.id, row.step.as_deref().unwrap_or(&row.name), row.state, sweep))
}
