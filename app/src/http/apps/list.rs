//! `/api/v1/apps`: the apps and how they stand; to start, stop and restart one.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rondo_core::Code;

use crate::apps::control::Verb;
use crate::apps::status::Status;
use crate::http::AppState;
use crate::http::problem::{Answer, Problem};

/// The apps with their state.
pub async fn list(State(state): State<AppState>) -> Json<Vec<Status>> {
    Json(state.apps.all().iter().map(|app| app.status()).collect())
}

/// Asks something of an app: it is done soon.
///
/// # Errors
/// When there is no such app, or nothing of that kind can be asked.
pub async fn tell(
    State(state): State<AppState>,
    Path((name, verb)): Path<(String, String)>,
) -> Answer<(StatusCode, Json<Status>)> {
    let not_found = || {
        let name: String = name.chars().take(80).collect();
        Problem::new(Code::AppNotFound, format!("find app `{name}`"))
    };
    let app = state.apps.find(&name).ok_or_else(not_found)?;
    let verb = Verb::parse(&verb).ok_or_else(|| {
        Problem::new(Code::RequestInvalid, "an app can be told to `start`, `stop` or `restart`")
    })?;
    state.apps.tell(&name, verb);
    Ok((StatusCode::ACCEPTED, Json(app.status())))
}
