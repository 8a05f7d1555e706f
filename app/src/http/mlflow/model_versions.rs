//! `model-versions/*`

use axum::Json;
use axum::extract::State;
use rondo_core::access::Right;
use rondo_core::handoff::ModelVersion;
use rondo_store::meta::registered::{ClientVersion, Tagged, Version};
use rondo_store::meta::search::{Query, Room};
use rondo_tracking::{filter, page};
use serde::Serialize;
use serde_json::{Value, json};

use super::MlflowState;
use super::args::Args;
use super::refusal::{Answer, Refusal};
use super::registered_models::{check_tag, named, tags, without_prompts};
use super::show_registry::{VersionShown, version};
use super::sources::{self, Owner};
use crate::http::access::Caller;
use crate::platform::version_files;

const STAGES: [&str; 4] = ["None", "Staging", "Production", "Archived"];

#[derive(Serialize)]
pub(super) struct One {
    model_version: VersionShown,
}

async fn one(state: &MlflowState, name: &str, number: i64) -> Answer<Json<One>> {
    let found = find(state, name, number).await?;
    let aliases = state.tracking.meta().model_aliases(name).await?;
    Ok(Json(One { model_version: version(state, found, &aliases).await? }))
}

/// A stage, in whatever case it is written.
pub(super) fn stage(asked: &str) -> Answer<&'static str> {
    let known = STAGES.into_iter().find(|stage| stage.eq_ignore_ascii_case(asked));
    known.ok_or_else(|| {
        let stages = STAGES.join(", ");
        Refusal::invalid(format!("Invalid Model Version stage: {asked}. Value must be one of {stages}."))
    })
}

/// A version's number.
pub(super) fn number(args: &Args) -> Answer<i64> {
    let text = args.required("version")?;
    if let Ok(number) = text.trim().parse() {
        return Ok(number);
    }
    Err(Refusal::invalid(format!("Parameter 'version' must be an integer, got '{text}'.")))
}

/// A version that exists.
pub(super) async fn find(state: &MlflowState, name: &str, number: i64) -> Answer<Version> {
    match state.tracking.meta().version(name, number).await {
        Err(rondo_store::Error::NotFound { .. }) => {
            Err(Refusal::missing(format!("Model Version (name={name}, version={number}) not found")))
        }
        found => Ok(found?),
    }
}

pub(super) async fn create(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<One>> {
    let (name, source) = (args.required("name")?, args.required("source")?);
    caller.model(&name)?;
    let (mut run, model_id) = (args.given("run_id")?, args.given("model_id")?);
    let (run_link, description) = (args.given("run_link")?, args.maybe("description")?);
    let (tags, now) = (tags(&args)?, state.tracking.now());
    let prompt = tags.iter().any(|(key, _)| key == filter::PROMPT);
    let mut location = None;
    let mut model = model_id.clone();
    if let Some(run) = &run {
        caller.run_for(Right::Read, run).await?;
    }
    if prompt {
        sources::check_prompt(&source)?;
    } else {
        let known = {
            let owner = Owner { run: run.as_deref(), model: model_id.as_deref() };
            sources::check(&state, &caller, &source, owner).await?
        };
        location = known.location;
        run = run.or(known.run);
        model = model.or(known.model);
    }
    if let Some(model) = &model {
        caller.logged_model_for(Right::Read, model).await?;
        let logged = state.tracking.logged_model(model).await?;
        run = run.or(logged.row.run);
    }
    let user = caller.user().map(str::to_owned);
    let said = ClientVersion { source, location, run, model_id: model, run_link, user };
    let made = state.tracking.meta().create_client_version(&name, said, &description, tags, now).await;
    let number = made.map_err(|error| named(error, &name))?;
    caller.changed(&name, Some(number), "model version made").await?;
    if let Some(model) = model_id.filter(|_| !prompt) {
        state.tracking.note_registration(&model, &name, number).await?;
    }
    one(&state, &name, number).await
}

/// Where the files of a version are.
pub(super) async fn root(state: &MlflowState, name: &str, number: &str) -> Answer<String> {
    let missing = || Refusal::missing(format!("Model Version (name={name}, version={number}) not found"));
    let mut at = (name.to_owned(), number.parse().map_err(|_| missing())?);
    // A version may be a copy of another, and that one too; never so often that it is a circle.
    for _ in 0..16 {
        let found = find(state, &at.0, at.1).await?;
        let Some(said) = found.of_client() else {
            if let Ok(ours) = serde_json::from_value::<ModelVersion>(found.record.clone())
                && let Some(made) = version_files::make(state.tracking.store(), found.digest, &ours).await?
            {
                return Ok(made);
            }
            // What is no model that an engine here can run: the artifacts of its run.
            return super::show_registry::root_of_run(state, &found.run.unwrap_or_default()).await;
        };
        if let Some(location) = said.location {
            return Ok(location);
        }
        let Some(model) = said.source.strip_prefix("models:/") else { return Ok(said.source) };
        let model = model.trim_start_matches('/');
        if model.starts_with("m-") {
            // A version stays loadable when its logged model is deleted.
            return Ok(state.tracking.model_home(model).await?);
        }
        let (name, number) = model.split_once('/').ok_or_else(missing)?;
        at = (name.to_owned(), number.parse().map_err(|_| missing())?);
    }
    Err(missing())
}

pub(super) async fn get(State(state): State<MlflowState>, caller: Caller, args: Args) -> Answer<Json<One>> {
    let name = args.required("name")?;
    caller.model(&name)?;
    one(&state, &name, number(&args)?).await
}

pub(super) async fn download_uri(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (name, number) = (args.required("name")?, number(&args)?);
    caller.model(&name)?;
    let root = root(&state, &name, &number.to_string()).await?;
    Ok(Json(json!({ "artifact_uri": root })))
}

pub(super) async fn update(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<One>> {
    let (name, number) = (args.required("name")?, number(&args)?);
    caller.model(&name)?;
    find(&state, &name, number).await?;
    let (description, now) = (args.maybe("description")?, state.tracking.now());
    state.tracking.meta().describe_version(&name, number, &description, now).await?;
    caller.changed(&name, Some(number), "description set").await?;
    one(&state, &name, number).await
}

pub(super) async fn transition(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<One>> {
    let (name, number, asked) = (args.required("name")?, number(&args)?, args.required("stage")?);
    caller.model(&name)?;
    let stage = stage(&asked)?;
    let archive = args.flag("archive_existing_versions")?.unwrap_or(false);
    if archive && !matches!(stage, "Staging" | "Production") {
        return Err(Refusal::invalid(format!(
            "Model version transition cannot archive existing model versions because '{asked}' is not an Active stage. \
             Valid stages are ['Staging', 'Production']"
        )));
    }
    find(&state, &name, number).await?;
    let (because, now) = (caller.because("stage set by a client of the MLflow API"), state.tracking.now());
    state.tracking.meta().set_stage(&name, number, stage, archive, because, now).await?;
    one(&state, &name, number).await
}

pub(super) async fn delete(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (name, number) = (args.required("name")?, number(&args)?);
    caller.model(&name)?;
    let found = find(&state, &name, number).await?;
    if found.of_client().is_none() {
        return Err(Refusal::invalid(format!(
            "Model Version (name={name}, version={number}) cannot be deleted: a pipeline registered it, and the lineage \
             of its predictions refers to it"
        )));
    }
    rondo_registry::protect::require_free(state.tracking.store(), &found).await?;
    let because = caller.because("model version deleted");
    state.tracking.meta().delete_version(&name, number, because, state.tracking.now()).await?;
    caller.changed(&name, Some(number), "model version deleted").await?;
    Ok(Json(json!({})))
}

#[derive(Serialize)]
pub(super) struct Many {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_versions: Vec<VersionShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

pub(super) async fn search(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Many>> {
    let text = args.text("filter")?.unwrap_or_default();
    let condition = without_prompts(&text, filter::parse(Room::Versions, &text)?);
    let query = Query {
        filter: caller.narrowed(Room::Versions, condition),
        order: filter::order(Room::Versions, &args.texts("order_by")?)?,
        after: page::place(&args.text("page_token")?.unwrap_or_default())?,
        ..Query::all(Room::Versions, page::size(args.int("max_results")?, 10_000, 200_000)?)
    };
    let found = state.tracking.meta().search_versions(&query).await?.ok_or_else(page::foreign)?;
    let mut aliases = std::collections::HashMap::new();
    let mut model_versions = Vec::with_capacity(found.items.len());
    for item in found.items {
        let of = match aliases.entry(item.model.clone()) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert(state.tracking.meta().model_aliases(&item.model).await?)
            }
        };
        model_versions.push(version(&state, item, of).await?);
    }
    Ok(Json(Many { model_versions, next_page_token: found.next.as_deref().map(page::token) }))
}

pub(super) async fn set_tag(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (name, number) = (args.required("name")?, number(&args)?);
    caller.model(&name)?;
    let (key, value) = (args.required("key")?, args.maybe("value")?);
    check_tag(&key, &value)?;
    find(&state, &name, number).await?;
    let what = Tagged::Version(name.clone(), number);
    state.tracking.meta().tag_registered(what, &key, Some(&value), state.tracking.now()).await?;
    caller.changed(&name, Some(number), &format!("tag {key} set")).await?;
    Ok(Json(json!({})))
}

pub(super) async fn delete_tag(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (name, number, key) = (args.required("name")?, number(&args)?, args.required("key")?);
    caller.model(&name)?;
    find(&state, &name, number).await?;
    let what = Tagged::Version(name.clone(), number);
    state.tracking.meta().tag_registered(what, &key, None, state.tracking.now()).await?;
    caller.changed(&name, Some(number), &format!("tag {key} taken away")).await?;
    Ok(Json(json!({})))
}
