//! `/api/v1/experiments`: the experiments, and the columns that a table of their runs can have.

use axum::Json;
use axum::extract::{Path, State};
use rondo_store::meta::columns::Kind;
use rondo_store::meta::search::{Condition, Room};
use rondo_tracking::Tracking;
use rondo_tracking::compare;
use rondo_tracking::tracking::Search;
use serde::{Deserialize, Serialize};

use super::access::On::Experiment as AnExperiment;
use super::access::Rule::{Listed, Read};
use super::access::routes::get;
use super::access::{Caller, Routes};
use super::problem::{Answer, Asked};

/// The routes.
pub fn routes() -> Routes<Tracking> {
    Routes::new()
        .route("/api/v1/experiments", get(Listed(AnExperiment), list))
        .route("/api/v1/experiments/{id}/columns", get(Read(AnExperiment), columns))
}

/// Which experiments.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Which {
    filter: String,
    limit: Option<i64>,
    page: String,
}

/// A page of experiments.
#[derive(Debug, Serialize)]
pub struct Experiments {
    experiments: Vec<Experiment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page: Option<String>,
}

/// An experiment.
#[derive(Debug, Serialize)]
pub struct Experiment {
    id: String,
    name: String,
    created: i64,
    updated: i64,
    tags: std::collections::BTreeMap<String, String>,
}

/// The experiments that match, those changed last first.
///
/// # Errors
/// When the filter or the page cannot be understood.
pub async fn list(
    State(tracking): State<Tracking>,
    caller: Caller,
    Asked(which): Asked<Which>,
) -> Answer<Json<Experiments>> {
    let search = Search {
        filter: which.filter,
        max_results: which.limit,
        page_token: which.page,
        seen: caller.narrowed(Room::Experiments, Condition::default()),
        ..Search::default()
    };
    let found = tracking.search_experiments(&search).await?;
    let experiments = found.items.into_iter().map(|experiment| Experiment {
        id: experiment.id.to_string(),
        name: experiment.name,
        created: experiment.created.millis(),
        updated: experiment.updated.millis(),
        tags: experiment.tags,
    });
    Ok(Json(Experiments { experiments: experiments.collect(), next_page: found.next_page_token }))
}

/// Which columns.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    kind: compare::Kind,
    #[serde(default)]
    containing: String,
    #[serde(default)]
    after: String,
    #[serde(default = "page")]
    limit: i64,
}

const fn page() -> i64 {
    100
}

/// A page of columns.
#[derive(Debug, Serialize)]
pub struct Columns {
    columns: Vec<Column>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// How many of the newest runs were looked at, at most.
    looked_at: i64,
}

/// A key, and on how many of those runs it stands.
#[derive(Debug, Serialize)]
pub struct Column {
    key: String,
    runs: i64,
}

/// The metrics, parameters or tags that an experiment's newest runs have, by key.
///
/// # Errors
/// When there is no such experiment, or the page is out of bounds.
pub async fn columns(
    State(tracking): State<Tracking>,
    caller: Caller,
    Path(id): Path<String>,
    Asked(wanted): Asked<Wanted>,
) -> Answer<Json<Columns>> {
    caller.experiment(&id)?;
    let kind = match wanted.kind {
        compare::Kind::Metric => Kind::Metric,
        compare::Kind::Param => Kind::Param,
        compare::Kind::Tag => Kind::Tag,
    };
    let found = tracking.columns(&id, kind, &wanted.containing, &wanted.after, wanted.limit).await?;
    let columns = found.columns.into_iter().map(|column| Column { key: column.key, runs: column.runs });
    Ok(Json(Columns { columns: columns.collect(), next: found.next, looked_at: found.looked_at }))
}
