//! `logged-models/*`

use axum::Json;
use axum::extract::State;
use rondo_store::meta::search::Scope;
use rondo_tracking::logged_models::{NewModel, ScopedOrder};
use rondo_tracking::tracking::Search;
use serde::Serialize;
use serde_json::{Value, json};

use super::MlflowState;
use super::args::{Args, InPath, missing};
use super::artifacts::list::{Listing, listing};
use super::refusal::{Answer, Refusal};
use super::show::LoggedShown;
use crate::http::access::Caller;

/// The names of a logged model's states, by their numbers.
const STATUSES: &[(&str, i64)] =
    &[("LOGGED_MODEL_PENDING", 1), ("LOGGED_MODEL_READY", 2), ("LOGGED_MODEL_UPLOAD_FAILED", 3)];

#[derive(Serialize)]
pub(super) struct One {
    model: LoggedShown,
}

pub(super) async fn create(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<One>> {
    let new = NewModel {
        experiment: args.required("experiment_id")?,
        name: args.text("name")?,
        model_type: args.text("model_type")?.unwrap_or_default(),
        run: args.text("source_run_id")?.filter(|run| !run.is_empty()),
        params: args.pairs("params")?,
        tags: args.pairs("tags")?,
    };
    caller.experiment(&new.experiment)?;
    if let Some(run) = &new.run {
        caller.run(run).await?;
    }
    Ok(Json(One { model: state.tracking.create_logged_model(new).await?.into() }))
}

pub(super) async fn get(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(id): InPath<String>,
    args: Args,
) -> Answer<Json<One>> {
    caller.logged_model(&id).await?;
    let model = match args.flag("allow_deleted")?.unwrap_or(false) {
        true => state.tracking.logged_model_or_deleted(&id).await?,
        false => state.tracking.logged_model(&id).await?,
    };
    Ok(Json(One { model: model.into() }))
}

pub(super) async fn finalize(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(id): InPath<String>,
    args: Args,
) -> Answer<Json<One>> {
    caller.logged_model(&id).await?;
    let status = args.enumeration("status", STATUSES)?.ok_or_else(|| missing("status"))?;
    let word = match status {
        1 => "PENDING",
        2 => "READY",
        _ => "UPLOAD_FAILED",
    };
    Ok(Json(One { model: state.tracking.finish_logged_model(&id, word).await?.into() }))
}

pub(super) async fn delete(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(id): InPath<String>,
) -> Answer<Json<Value>> {
    caller.logged_model(&id).await?;
    state.tracking.delete_logged_model(&id).await?;
    Ok(Json(json!({})))
}

pub(super) async fn set_tags(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(id): InPath<String>,
    args: Args,
) -> Answer<Json<Value>> {
    caller.logged_model(&id).await?;
    state.tracking.tag_logged_model(&id, args.pairs("tags")?).await?;
    Ok(Json(json!({})))
}

pub(super) async fn delete_tag(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath((id, key)): InPath<(String, String)>,
) -> Answer<Json<Value>> {
    caller.logged_model(&id).await?;
    state.tracking.untag_logged_model(&id, &key).await?;
    Ok(Json(json!({})))
}

pub(super) async fn log_params(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(id): InPath<String>,
    args: Args,
) -> Answer<Json<Value>> {
    caller.logged_model(&id).await?;
    state.tracking.log_model_params(&id, args.pairs("params")?).await?;
    Ok(Json(json!({})))
}

pub(super) async fn list_artifacts(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(id): InPath<String>,
    args: Args,
) -> Answer<Json<Listing>> {
    caller.logged_model(&id).await?;
    let model = state.tracking.logged_model(&id).await?;
    let path = args.text("artifact_directory_path")?.unwrap_or_default();
    let place = model.place(&state.tracking, &path)?;
    Ok(Json(listing(&state, &place, Some(model.artifact_uri), false).await?))
}

#[derive(Serialize)]
pub(super) struct Many {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    models: Vec<LoggedShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

pub(super) async fn search(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Many>> {
    let mut order = Vec::new();
    for key in args.objects("order_by")? {
        order.push(ScopedOrder {
            field: key.required("field_name")?,
            ascending: key.flag("ascending")?.unwrap_or(true),
            scope: scope(&key)?,
        });
    }
    let mut scopes = Vec::new();
    for dataset in args.objects("datasets")? {
        let named = scope(&dataset)?.filter(|scope| scope.name.is_some());
        let unnamed = || Refusal::invalid("`dataset_name` in the `datasets` clause must be specified.");
        scopes.push(named.ok_or_else(unnamed)?);
    }
    let search = Search {
        filter: args.text("filter")?.unwrap_or_default(),
        // Nothing and zero are one to clients of this route.
        max_results: args.int("max_results")?.filter(|most| *most != 0),
        page_token: args.text("page_token")?.unwrap_or_default(),
        ..Search::default()
    };
    let experiments = args.experiments("experiment_ids")?;
    if !args.says("experiment_ids") {
        return Err(missing("experiment_ids"));
    }
    let experiments = caller.seen(experiments);
    let found = state.tracking.search_logged_models(&experiments, &search, &order, &scopes).await?;
    let models = found.items.into_iter().map(Into::into).collect();
    Ok(Json(Many { models, next_page_token: found.next_page_token }))
}

fn scope(args: &Args) -> Answer<Option<Scope>> {
    let digest = args.text("dataset_digest")?.filter(|digest| !digest.is_empty());
    let name = args.text("dataset_name")?.filter(|name| !name.is_empty());
    Ok((name.is_some() || digest.is_some()).then_some(Scope { name, digest }))
}
