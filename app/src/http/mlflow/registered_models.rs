//! `registered-models/*`

use axum::Json;
use axum::extract::State;
use rondo_registry::protect::{self, Mover};
use rondo_store::meta::access::Subject;
use rondo_store::meta::registered::Tagged;
use rondo_store::meta::search::{Comparison, Condition, Field, Query, Room, Scalar, Test};
use rondo_tracking::{filter, limits, page};
use serde::Serialize;
use serde_json::{Value, json};

use super::MlflowState;
use super::args::Args;
use super::model_versions::{number, stage};
use super::refusal::{Answer, Refusal};
use super::show_registry::{ModelShown, VersionShown, listed, model, newest, version};
use crate::http::access::Caller;

/// The tag in which clients keep the text of a prompt.
const PROMPT_TEXT: &str = "mlflow.prompt.text";

#[derive(Serialize)]
pub(super) struct One {
    registered_model: ModelShown,
}

async fn one(state: &MlflowState, name: &str) -> Answer<Json<One>> {
    let found = state.tracking.meta().registered_model(name).await.map_err(|error| named(error, name))?;
    Ok(Json(One { registered_model: model(state, found).await? }))
}

/// An error of the store in the words that clients look for.
pub(super) fn named(error: rondo_store::Error, name: &str) -> Refusal {
    match error {
        rondo_store::Error::NotFound { code: rondo_core::Code::ModelNotFound, .. } => {
            Refusal::missing(format!("Registered Model with name={name} not found"))
        }
        rondo_store::Error::Exists { code: rondo_core::Code::ModelExists, name, .. } => {
            Refusal::exists(format!("Registered Model (name={name}) already exists."))
        }
        other => other.into(),
    }
}

/// What it means that a model or prompt cannot be made. They have their names in common.
async fn taken(
    state: &MlflowState,
    error: rondo_store::Error,
    name: &str,
    new_prompt: bool,
) -> Answer<Refusal> {
    if !matches!(&error, rondo_store::Error::Exists { code: rondo_core::Code::ModelExists, .. }) {
        return Ok(named(error, name));
    }
    let word = |prompt| if prompt { "Prompt" } else { "Registered Model" };
    let known = state.tracking.meta().registered_model(name).await.map_err(|error| named(error, name))?;
    let (new, old) = (word(new_prompt), word(known.tags.contains_key(filter::PROMPT)));
    if new == old {
        return Ok(Refusal::exists(format!("{new} (name={name}) already exists.")));
    }
    Ok(Refusal::exists(format!(
        "Tried to create a {} with name '{name}', but the name is already taken by a {}. MLflow does not allow \
         creating a model and a prompt with the same name.",
        new.to_lowercase(),
        old.to_lowercase()
    )))
}

fn check_name(name: &str, argument: &str) -> Answer<()> {
    if name.trim().is_empty() {
        return Err(Refusal::invalid(format!("Missing value for required parameter '{argument}'.")));
    }
    if name.contains(['/', ':']) {
        return Err(Refusal::invalid(format!(
            "Invalid model name '{name}'. Names cannot contain '/' or ':'."
        )));
    }
    if name.chars().any(char::is_control) {
        return Err(Refusal::invalid("Invalid model name. Names cannot contain control characters."));
    }
    limits::unique("name", name)?;
    Ok(limits::length("name", name, limits::MODEL_NAME)?)
}

/// The tags of a model or version.
pub(super) fn tags(args: &Args) -> Answer<Vec<(String, String)>> {
    let tags = args.pairs("tags")?;
    for (key, value) in &tags {
        check_tag(key, value)?;
    }
    Ok(tags)
}

/// Refuses a tag that is out of bounds.
pub(super) fn check_tag(key: &str, value: &str) -> Answer<()> {
    limits::tag_name(key)?;
    let long = limits::length("value", value, limits::MODEL_TAG_VALUE);
    if long.is_err() && key == PROMPT_TEXT {
        let limit = limits::MODEL_TAG_VALUE;
        return Err(Refusal::invalid(format!("Prompt text exceeds max length of {limit} characters.")));
    }
    Ok(long?)
}

pub(super) async fn create(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<One>> {
    let (name, description) = (args.required("name")?, args.text("description")?.unwrap_or_default());
    check_name(&name, "name")?;
    let (tags, now) = (tags(&args)?, state.tracking.now());
    let new_prompt = tags.iter().any(|(key, _)| key == filter::PROMPT);
    let made = state.tracking.meta().create_model_for(caller.maker(), &name, &description, tags, now).await;
    if let Err(error) = made {
        return Err(taken(&state, error, &name, new_prompt).await?);
    }
    caller.made(Subject::Model(name.clone())).await?;
    caller.changed(&name, None, "registered model made").await?;
    one(&state, &name).await
}

pub(super) async fn get(State(state): State<MlflowState>, caller: Caller, args: Args) -> Answer<Json<One>> {
    let name = args.required("name")?;
    caller.model(&name)?;
    one(&state, &name).await
}

pub(super) async fn update(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<One>> {
    let (name, description) = (args.required("name")?, args.text("description")?.unwrap_or_default());
    caller.model(&name)?;
    let updated = state.tracking.meta().describe_model(&name, &description, state.tracking.now()).await;
    updated.map_err(|error| named(error, &name))?;
    caller.changed(&name, None, "description set").await?;
    one(&state, &name).await
}

/// Refuses to take away what a pipeline registered: predictions and lineage refer to it by name.
async fn is_clients(state: &MlflowState, name: &str, action: &str) -> Answer<()> {
    if state.tracking.meta().model_versions(name).await?.is_empty() {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "Registered Model with name={name} cannot be {action}: a pipeline registers its versions, and their lineage \
         refers to it"
    )))
}

pub(super) async fn rename(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<One>> {
    let (name, to) = (args.required("name")?, args.required("new_name")?);
    caller.model(&name)?;
    check_name(&to, "new_name")?;
    if to != name {
        is_clients(&state, &name, "renamed").await?;
    }
    let because = caller.because("registered model renamed");
    let renamed = state.tracking.meta().rename_model(&name, &to, because, state.tracking.now()).await;
    renamed.map_err(|error| named(error, &name))?;
    state.access_changed().await?;
    caller.changed(&name, None, &format!("renamed to {to}")).await?;
    one(&state, &to).await
}

pub(super) async fn delete(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let name = args.required("name")?;
    caller.model(&name)?;
    is_clients(&state, &name, "deleted").await?;
    for version in state.tracking.meta().versions(&name).await? {
        protect::require_free(state.tracking.store(), &version).await?;
    }
    let because = caller.because("registered model deleted");
    let deleted = state.tracking.meta().delete_model(&name, because, state.tracking.now()).await;
    deleted.map_err(|error| named(error, &name))?;
    state.access_changed().await?;
    caller.changed(&name, None, "registered model deleted").await?;
    Ok(Json(json!({})))
}

#[derive(Serialize)]
pub(super) struct Many {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    registered_models: Vec<ModelShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// Prompts are no models: a search finds them where it asks for them.
pub(super) fn without_prompts(asked: &str, condition: Condition) -> Condition {
    if asked.contains(filter::PROMPT) {
        return condition;
    }
    let yes = Test::Compare(Comparison::Equal, Scalar::Text("true".to_owned()));
    let prompt = Condition::Test(Field::Tag(filter::PROMPT.to_owned()), yes);
    Condition::All(vec![condition, Condition::Not(Box::new(prompt))])
}

pub(super) async fn search(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Many>> {
    let text = args.text("filter")?.unwrap_or_default();
    let condition = without_prompts(&text, filter::parse(Room::Models, &text)?);
    let query = Query {
        filter: caller.narrowed(Room::Models, condition),
        order: filter::order(Room::Models, &args.texts("order_by")?)?,
        after: page::place(&args.text("page_token")?.unwrap_or_default())?,
        ..Query::all(Room::Models, page::size(args.int("max_results")?, 100, 1000)?)
    };
    let found = state.tracking.meta().search_models(&query).await?.ok_or_else(page::foreign)?;
    let mut registered_models = Vec::with_capacity(found.items.len());
    for item in found.items {
        registered_models.push(listed(&state, item).await?);
    }
    Ok(Json(Many { registered_models, next_page_token: found.next.as_deref().map(page::token) }))
}

#[derive(Serialize)]
pub(super) struct Latest {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_versions: Vec<VersionShown>,
}

pub(super) async fn latest(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Latest>> {
    let name = args.required("name")?;
    caller.model(&name)?;
    let found = state.tracking.meta().registered_model(&name).await.map_err(|error| named(error, &name))?;
    let stages = args.texts("stages")?;
    for asked in &stages {
        stage(asked)?;
    }
    let mut model_versions = Vec::new();
    for newest in newest(state.tracking.meta().versions(&name).await?) {
        if stages.is_empty() || stages.iter().any(|stage| stage.eq_ignore_ascii_case(&newest.stage)) {
            model_versions.push(version(&state, newest, &found.aliases).await?);
        }
    }
    Ok(Json(Latest { model_versions }))
}

#[derive(Serialize)]
pub(super) struct Aliased {
    model_version: VersionShown,
}

pub(super) async fn get_alias(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Aliased>> {
    let (name, alias) = (args.required("name")?, args.required("alias")?);
    caller.model(&name)?;
    let meta = state.tracking.meta();
    let found = meta.registered_model(&name).await.map_err(|error| named(error, &name))?;
    let missing = || Refusal::invalid(format!("Registered model alias {alias} not found."));
    let mut versions = meta.versions(&name).await?;
    // Nobody may give this alias, and everybody may ask for it.
    let aliased = if alias.eq_ignore_ascii_case("latest") {
        let none = || Refusal::missing(format!("Latest version not found for model {name}."));
        versions.pop().ok_or_else(none)?
    } else {
        let target = *found.aliases.get(&alias).ok_or_else(missing)?;
        versions.into_iter().find(|version| version.digest == target).ok_or_else(missing)?
    };
    Ok(Json(Aliased { model_version: version(&state, aliased, &found.aliases).await? }))
}

/// Moves an alias, with its line in the journal. A protected one goes only to a version that may serve.
pub(super) async fn set_alias(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (name, alias, number) = (args.required("name")?, args.required("alias")?, number(&args)?);
    caller.model(&name)?;
    limits::alias(&alias)?;
    super::model_versions::find(&state, &name, number).await?;
    let (at, because) = (state.tracking.now(), caller.because("alias set by a client of the MLflow API"));
    let mover = if caller.step().is_some() { Mover::Step } else { Mover::Client };
    protect::set_alias(state.tracking.store(), (&name, &alias), number, mover, because, at).await?;
    Ok(Json(json!({})))
}

pub(super) async fn delete_alias(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (name, alias) = (args.required("name")?, args.required("alias")?);
    caller.model(&name)?;
    let meta = state.tracking.meta();
    meta.registered_model(&name).await.map_err(|error| named(error, &name))?;
    let (at, because) = (state.tracking.now(), caller.because("alias deleted by a client of the MLflow API"));
    protect::delete_alias(state.tracking.store(), (&name, &alias), because, at).await?;
    Ok(Json(json!({})))
}

pub(super) async fn set_tag(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (name, key, value) = (args.required("name")?, args.required("key")?, args.maybe("value")?);
    caller.model(&name)?;
    check_tag(&key, &value)?;
    let what = Tagged::Model(name.clone());
    let tagged = state.tracking.meta().tag_registered(what, &key, Some(&value), state.tracking.now()).await;
    tagged.map_err(|error| named(error, &name))?;
    caller.changed(&name, None, &format!("tag {key} set")).await?;
    Ok(Json(json!({})))
}

pub(super) async fn delete_tag(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (name, key) = (args.required("name")?, args.required("key")?);
    caller.model(&name)?;
    let meta = state.tracking.meta();
    meta.registered_model(&name).await.map_err(|error| named(error, &name))?;
    meta.tag_registered(Tagged::Model(name.clone()), &key, None, state.tracking.now()).await?;
    caller.changed(&name, None, &format!("tag {key} taken away")).await?;
    Ok(Json(json!({})))
}
