//! `runs/*`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use rondo_core::run::{RunKind, RunState};
use rondo_store::meta::batch::Batch;
use rondo_tracking::runs::{NewRun, RunUpdate};
use rondo_tracking::tracking::Search;
use rondo_tracking::{limits, listing};
use serde::Serialize;
use serde_json::{Value, json};

use super::MlflowState;
use super::args::{Args, missing};
use super::refusal::{Answer, Refusal};
use super::show::{Info, RunShown};
use super::show_runs;
use crate::http::access::Caller;
use crate::http::access::steps::Step;

#[derive(Serialize)]
pub(super) struct One {
    run: RunShown,
}

#[derive(Serialize)]
pub(super) struct Updated {
    run_info: Info,
}

pub(super) async fn create(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<One>> {
    let new = NewRun {
        experiment: args.text("experiment_id")?.filter(|id| !id.is_empty()).unwrap_or_else(|| "0".to_owned()),
        user: args.text("user_id")?.unwrap_or_default(),
        name: args.text("run_name")?,
        // Nothing and zero are one to MLflow's server; its clients say when it is.
        started: Some(args.int("start_time")?.unwrap_or_default()),
        tags: args.pairs("tags")?,
        adopted_by: caller.step().map(Step::run),
    };
    caller.experiment(&new.experiment)?;
    Ok(Json(One { run: RunShown::begun(state.tracking.create_run(new).await?) }))
}

pub(super) async fn get(State(state): State<MlflowState>, caller: Caller, args: Args) -> Answer<Json<One>> {
    let id = args.run_id()?;
    caller.run(&id).await?;
    let run = state.tracking.run(&id).await?;
    let chosen = caller.step().filter(|step| step.run() == run.row.id && !run.row.state.ended());
    let chosen = chosen.and_then(Step::chosen);
    let mut run = RunShown::from(run);
    if let Some(experiment) = chosen {
        run.info.experiment_id = experiment.to_string();
    }
    Ok(Json(One { run }))
}

/// Changes a run. A step's run ends with its step: a client that ends it is answered as it asked, and the
/// state stands. When a step's client opens the run, it goes to the experiment that the client turned to.
pub(super) async fn update(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Updated>> {
    let id = args.run_id()?;
    caller.run(&id).await?;
    let (status, ended) = (status(&args)?, args.int("end_time")?);
    let chosen = match caller.step() {
        Some(step) => {
            let row = state.tracking.run_row(&id).await?;
            Some(step).filter(|step| step.run() == row.id && !row.state.ended())
        }
        None => None,
    };
    let chosen = chosen.and_then(Step::chosen);
    let experiment = chosen.filter(|_| status == Some(RunState::Running));
    let update = RunUpdate { status, ended, name: args.text("run_name")?, experiment };
    let (row, artifact_uri) = state.tracking.update_run(&id, update).await?;
    if experiment.is_some() {
        state.door.moved(row.id);
    }
    let mut run_info = Info::new(&row, artifact_uri);
    if let Some(experiment) = chosen {
        run_info.experiment_id = experiment.to_string();
    }
    if row.kind != RunKind::Client {
        run_info.status = status.map_or(run_info.status, RunState::status);
        run_info.end_time = ended.or(run_info.end_time);
    }
    Ok(Json(Updated { run_info }))
}

fn status(args: &Args) -> Answer<Option<RunState>> {
    const WORDS: &[(&str, i64)] =
        &[("RUNNING", 1), ("SCHEDULED", 2), ("FINISHED", 3), ("FAILED", 4), ("KILLED", 5)];
    let Some(number) = args.enumeration("status", WORDS)? else { return Ok(None) };
    let word = WORDS.iter().find(|(_, of)| *of == number).map_or("RUNNING", |(word, _)| word);
    Ok(RunState::from_status(word))
}

pub(super) async fn delete(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let id = args.run_id()?;
    caller.run(&id).await?;
    state.tracking.delete_run(&id, true).await?;
    Ok(Json(json!({})))
}

pub(super) async fn restore(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let id = args.run_id()?;
    caller.run(&id).await?;
    state.tracking.delete_run(&id, false).await?;
    Ok(Json(json!({})))
}

pub(super) async fn log_param(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (id, key, value) = (args.run_id()?, args.required("key")?, args.maybe("value")?);
    caller.run(&id).await?;
    state.tracking.log_one(&id, Batch { params: vec![(key, value)], ..Batch::default() }).await?;
    Ok(Json(json!({})))
}

pub(super) async fn set_tag(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (id, key, value) = (args.run_id()?, args.required("key")?, args.maybe("value")?);
    caller.run(&id).await?;
    state.tracking.log_one(&id, Batch { tags: vec![(key, value)], ..Batch::default() }).await?;
    Ok(Json(json!({})))
}

pub(super) async fn delete_tag(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let id = args.run_id()?;
    caller.run(&id).await?;
    state.tracking.untag_run(&id, &args.required("key")?).await?;
    Ok(Json(json!({})))
}

pub(super) async fn log_inputs(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let id = args.run_id()?;
    caller.run(&id).await?;
    let mut records = Vec::new();
    for input in args.objects("datasets")? {
        let (key, record) = dataset(&input)?;
        records.push(("dataset", key, record));
    }
    for model in args.objects("models")? {
        let model = model.required("model_id")?;
        records.push(("model_input", model.clone(), json!({ "model_id": model })));
    }
    state.tracking.log_inputs(&id, records).await?;
    Ok(Json(json!({})))
}

/// A dataset among the inputs, with its key.
fn dataset(input: &Args) -> Answer<(String, Value)> {
    let dataset = input.object("dataset")?.unwrap_or_else(|| Args::of(serde_json::Map::new()));
    let (name, digest) = (dataset.required("name")?, dataset.required("digest")?);
    let tags = input.pairs("tags")?;
    for (key, value) in &tags {
        limits::length("key", key, limits::INPUT_TAG_KEY).map_err(Refusal::from)?;
        limits::length("value", value, limits::INPUT_TAG_VALUE).map_err(Refusal::from)?;
    }
    let mut shown = serde_json::Map::new();
    for (field, limit) in [
        ("name", limits::DATASET_NAME),
        ("digest", limits::DATASET_DIGEST),
        ("source_type", limits::KEY),
        ("source", limits::DATASET_SOURCE),
        ("schema", limits::DATASET_SCHEMA),
        ("profile", limits::DATASET_PROFILE),
    ] {
        let required = matches!(field, "source_type" | "source");
        let text = if required { Some(dataset.required(field)?) } else { dataset.text(field)? };
        if let Some(text) = text {
            limits::length(field, &text, limit).map_err(Refusal::from)?;
            shown.insert(field.to_owned(), Value::String(text));
        }
    }
    let context = tags.iter().find(|(key, _)| key == "mlflow.data.context").map(|(_, value)| value.clone());
    let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    let mut record = serde_json::Map::from_iter([("dataset".to_owned(), Value::Object(shown))]);
    if !tags.is_empty() {
        record.insert("tags".to_owned(), Value::Array(tags));
    }
    if let Some(context) = context {
        record.insert("context".to_owned(), Value::String(context));
    }
    Ok((format!("{digest}/{name}"), Value::Object(record)))
}

pub(super) async fn log_outputs(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let id = args.run_id()?;
    caller.run(&id).await?;
    if !args.says("models") {
        return Err(missing("models"));
    }
    let mut records = Vec::new();
    for output in args.objects("models")? {
        let (model, step) = (output.required("model_id")?, output.int("step")?.unwrap_or_default());
        records.push(("model_output", model.clone(), json!({ "model_id": model, "step": step })));
    }
    state.tracking.log_inputs(&id, records).await?;
    Ok(Json(json!({})))
}

/// What clients before 3.0 say of a model that they logged: one more entry in a tag.
pub(super) async fn log_model(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    const HISTORY: &str = "mlflow.log-model.history";
    let (id, model) = (args.run_id()?, args.required("model_json")?);
    caller.run(&id).await?;
    let model: Value = serde_json::from_str(&model)
        .map_err(|_| Refusal::invalid(format!("Malformed model info. \n {model} \n is not a valid JSON.")))?;
    let fields = ["artifact_path", "flavors", "utc_time_created", "run_id"];
    let lacking: Vec<&str> = fields.into_iter().filter(|field| model.get(field).is_none()).collect();
    if !lacking.is_empty() {
        let message = format!("Model json is missing mandatory fields: {}", lacking.join(", "));
        return Err(Refusal::invalid(message));
    }
    let run = state.tracking.run(&id).await?;
    if run.row.deleted {
        return Err(rondo_tracking::Error::RunDeleted { id }.into());
    }
    let history = run.facts.tags.get(HISTORY).and_then(|text| serde_json::from_str(text).ok());
    let mut history: Vec<Value> = history.unwrap_or_default();
    history.push(model);
    let tag = (HISTORY.to_owned(), Value::Array(history).to_string());
    state.tracking.meta().set_run_tags(run.row.id, vec![tag]).await?;
    Ok(Json(json!({})))
}

/// Finds runs. Beyond MLflow's own fields a request may say `select` (what to ship of each run) and
/// `count_only` (how many there are, and no more).
pub(super) async fn search(State(state): State<MlflowState>, caller: Caller, args: Args) -> Answer<Response> {
    let search = Search {
        filter: args.text("filter")?.unwrap_or_default(),
        order_by: args.texts("order_by")?,
        max_results: args.int("max_results")?,
        page_token: args.text("page_token")?.unwrap_or_default(),
        view: args.view("run_view_type")?,
        ..Search::default()
    };
    let experiments = caller.seen(args.experiments("experiment_ids")?);
    if args.flag("count_only")? == Some(true) {
        let count = state.tracking.count_runs(&experiments, &search).await?;
        return Ok(Json(json!({ "count": count })).into_response());
    }
    let select = listing::select(&args.texts("select")?)?;
    let found = state.tracking.list_runs(&experiments, &search, &select).await?;
    show_runs::page(&found)
}
