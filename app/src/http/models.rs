//! `/api/v1/models`: all that is known of a model's version, and the model's journal.

use axum::Json;
use axum::extract::{Path, State};
use rondo_registry::log::{self, Line};
use rondo_store::meta::access::Subject;
use rondo_tracking::Tracking;
use serde::Serialize;

use super::access::On::Model;
use super::access::Rule::Read;
use super::access::routes::get;
use super::access::{Caller, Routes};
use super::problem::Answer;
use crate::platform::dossier::{self, Dossier};

/// The routes.
pub fn routes() -> Routes<Tracking> {
    Routes::new()
        .route("/api/v1/models/{name}/versions/{version}", get(Read(Model), version))
        .route("/api/v1/models/{name}/journal", get(Read(Model), journal))
}

/// A version by its number or an alias, whoever made it.
///
/// # Errors
/// When there is no such model, version or alias.
pub async fn version(
    State(tracking): State<Tracking>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
) -> Answer<Json<Dossier>> {
    caller.model(&name)?;
    let found = dossier::find(tracking.store(), &name, Some(&version)).await?;
    let mut told = dossier::dossier(tracking.store(), found).await?;
    let mut homes: Vec<i64> = told.run.iter().map(|run| run.experiment).collect();
    if let Some(logged) = &told.logged_model {
        homes.extend(tracking.meta().logged_model(logged).await?.map(|logged| logged.experiment));
    }
    if homes.into_iter().any(|home| !caller.sees(&Subject::Experiment(home))) {
        told.withhold();
    }
    Ok(Json(told))
}

/// The lines of a journal.
#[derive(Debug, Serialize)]
pub struct Journal {
    journal: Vec<Line>,
}

/// Every move of a model's aliases, stages, approvals and protections, newest first.
///
/// # Errors
/// When there is no such model.
pub async fn journal(
    State(tracking): State<Tracking>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Json<Journal>> {
    caller.model(&name)?;
    Ok(Json(Journal { journal: log::log(tracking.store(), &name).await? }))
}
