//! `/api/v1/models`: all that is known of a model's version, the word of who approves it, and the model's
//! journal.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use rondo_core::Code;
use rondo_registry::approval::Approval;
use rondo_registry::log::{self, Line};
use rondo_store::meta::access::Subject;
use rondo_tracking::Tracking;
use serde::{Deserialize, Serialize};

use super::access::On::Model;
use super::access::Rule::{Manage, Read};
use super::access::routes::{get, post};
use super::access::{Caller, Routes};
use super::problem::{Answer, Problem, said as heard};
use crate::platform::approvals::{self, Word};
use crate::platform::dossier::{self, Dossier};

/// The routes.
pub fn routes() -> Routes<Tracking> {
    Routes::new()
        .route("/api/v1/models/{name}/versions/{version}", get(Read(Model), version))
        .route("/api/v1/models/{name}/versions/{version}/approve", post(Manage(Model), approve))
        .route("/api/v1/models/{name}/versions/{version}/reject", post(Manage(Model), reject))
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

/// What is said of a version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// Why, in one sentence, for the journal.
    why: String,
    /// To approve it although its gate does not pass.
    #[serde(default)]
    force: bool,
}

impl Said {
    fn why(&self) -> Answer<&str> {
        let why = self.why.trim();
        if why.is_empty() {
            return Err(Problem::new(Code::RequestInvalid, "say why in `why`: the journal keeps it"));
        }
        Ok(why)
    }
}

/// The decision, as `rondo models approve --json` prints it.
#[derive(Debug, Serialize)]
pub struct Decided {
    approval: Approval,
}

/// Approves a version that waits for it: its promotion goes on.
///
/// # Errors
/// When there is no such version, its gate does not pass, or the alias has moved since it was judged; with
/// `force` where the server does not ask who is calling.
pub async fn approve(
    State(tracking): State<Tracking>,
    caller: Caller,
    Path((model, version)): Path<(String, i64)>,
    said: Result<Json<Said>, JsonRejection>,
) -> Answer<Json<Decided>> {
    caller.model(&model)?;
    let said = heard(said)?;
    if said.force && caller.is_anyone() {
        let message = "nobody is known on this server who could answer for passing over a gate: use `rondo \
                       models approve --force`, or a server with users";
        return Err(Problem::new(Code::Denied, message));
    }
    let word = Word { model: &model, version, by: &caller.name(), why: said.why()? };
    let approval = approvals::approve(tracking.store(), word, said.force, tracking.now()).await?;
    Ok(Json(Decided { approval }))
}

/// Rejects a version: no protected alias goes to it.
///
/// # Errors
/// When there is no such version.
pub async fn reject(
    State(tracking): State<Tracking>,
    caller: Caller,
    Path((model, version)): Path<(String, i64)>,
    said: Result<Json<Said>, JsonRejection>,
) -> Answer<Json<Decided>> {
    caller.model(&model)?;
    let said = heard(said)?;
    let word = Word { model: &model, version, by: &caller.name(), why: said.why()? };
    let approval = approvals::reject(tracking.store(), word, tracking.now()).await?;
    Ok(Json(Decided { approval }))
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
