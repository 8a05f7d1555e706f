//! `/api/v1/requests`: retraining requests that are open.

use axum::Json;
use axum::extract::State;
use rondo_core::handoff::RetrainRequest;

use super::AppState;
use super::problem::Answer;

/// The requests that wait or are being worked on, oldest first.
///
/// # Errors
/// When the store cannot be read.
pub async fn list(State(state): State<AppState>) -> Answer<Json<Vec<RetrainRequest>>> {
    Ok(Json(state.platform.store().meta().open_requests().await?))
}
