//! `runs/*`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use rondo_core::run::{RunKind, RunState};
use rondo_store::meta::logged_models::ModelMetric;
use rondo_store::meta::metrics::{Batch, Point};
use rondo_tracking::runs::{NewRun, RunUpdate};
use rondo_tracking::tracking::Search;
use rondo_tracking::{limits, listing};
use serde::Serialize;
use serde_json::{Value, json};

use super::MlflowState;
use super::args::{Args, wrong};
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
        started: args.int("start_time")?.filter(|started| *started != 0),
        tags: args.pairs("tags")?,
        adopted_by: caller.step().map(Step::run),
    };
    caller.experiment(&new.experiment)?;
    Ok(Json(One { run: state.tracking.create_run(new).await?.into() }))
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
    let row = state.tracking.run_row(&id).await?;
    let own = caller.step().filter(|step| step.run() == row.id && !row.state.ended());
    let chosen = own.and_then(Step::chosen);
    let experiment = chosen.filter(|_| status == Some(RunState::Running));
    let update = RunUpdate { status, ended, name: args.text("run_name")?, experiment };
    let row = state.tracking.update_run(&id, update).await?;
    state.door.moved(row.id);
    let mut run_info = Info::new(&row, state.tracking.run_root(&row).await?);
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
    let Some(text) = args.text("status")? else { return Ok(None) };
    RunState::from_status(&text).map(Some).ok_or_else(|| wrong("status", &Value::String(text)))
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

pub(super) async fn log_metric(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let id = args.run_id()?;
    if args.int("timestamp")?.is_none() {
        args.required("timestamp")?;
    }
    log_metrics(&state, &caller, &id, Batch::default(), std::slice::from_ref(&args)).await
}

/// Logs a batch with these metrics; those that are of a logged model are kept there too.
async fn log_metrics(
    state: &MlflowState,
    caller: &Caller,
    id: &str,
    mut batch: Batch,
    metrics: &[Args],
) -> Answer<Json<Value>> {
    caller.run(id).await?;
    let mut of_models = Vec::new();
    for metric in metrics {
        let (key, value) = (metric.required("key")?, metric.float("value")?);
        let timestamp = metric.int("timestamp")?.unwrap_or_else(|| state.tracking.now().millis());
        let point = Point { timestamp, step: metric.int("step")?.unwrap_or_default(), value };
        if let Some(model) = metric.text("model_id")?.filter(|model| !model.is_empty()) {
            caller.logged_model(&model).await?;
            let dataset_name = metric.text("dataset_name")?.unwrap_or_default();
            let dataset_digest = metric.text("dataset_digest")?.unwrap_or_default();
            of_models.push((model, key.clone(), dataset_name, dataset_digest, point));
        }
        batch.metrics.push((key, point));
    }
    let run = state.tracking.log_batch(id, batch).await?;
    if !of_models.is_empty() {
        let metrics = of_models.into_iter().map(|(model, key, dataset_name, dataset_digest, point)| {
            ModelMetric { model, run, key, dataset_name, dataset_digest, point }
        });
        state.tracking.meta().log_model_metrics(metrics.collect()).await?;
    }
    Ok(Json(json!({})))
}

pub(super) async fn log_param(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (id, key, value) = (args.run_id()?, args.required("key")?, args.present("value")?);
    caller.run(&id).await?;
    state.tracking.log_batch(&id, Batch { params: vec![(key, value)], ..Batch::default() }).await?;
    Ok(Json(json!({})))
}

pub(super) async fn set_tag(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (id, key, value) = (args.run_id()?, args.required("key")?, args.present("value")?);
    caller.run(&id).await?;
    state.tracking.log_batch(&id, Batch { tags: vec![(key, value)], ..Batch::default() }).await?;
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

pub(super) async fn log_batch(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let batch = Batch { metrics: Vec::new(), params: args.pairs("params")?, tags: args.pairs("tags")? };
    let metrics = args.objects("metrics")?;
    limits::batch(metrics.len(), batch.params.len(), batch.tags.len()).map_err(Refusal::from)?;
    log_metrics(&state, &caller, &args.run_id()?, batch, &metrics).await
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
            limits::length("dataset field", &text, limit).map_err(Refusal::from)?;
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
        .map_err(|_| Refusal::invalid("Malformed model info. 'model_json' is no JSON object"))?;
    for field in ["artifact_path", "flavors", "utc_time_created", "run_id"] {
        if model.get(field).is_none() {
            return Err(Refusal::invalid(format!("Model json is missing mandatory field '{field}'")));
        }
    }
    let run = state.tracking.run(&id).await?;
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
    let experiments = caller.seen(args.texts("experiment_ids")?);
    if args.flag("count_only")? == Some(true) {
        let count = state.tracking.count_runs(&experiments, &search).await?;
        return Ok(Json(json!({ "count": count })).into_response());
    }
    let select = listing::select(&args.texts("select")?)?;
    let found = state.tracking.list_runs(&experiments, &search, &select).await?;
    show_runs::page(&found)
}
