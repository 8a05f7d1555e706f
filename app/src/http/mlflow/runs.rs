//! `runs/*`

use axum::extract::State;
use axum::{Extension, Json};
use rondo_core::run::{RunKind, RunState};
use rondo_store::meta::logged_models::ModelMetric;
use rondo_store::meta::metrics::{Batch, Point};
use rondo_tracking::limits;
use rondo_tracking::runs::{NewRun, RunUpdate};
use rondo_tracking::tracking::Search;
use serde::Serialize;
use serde_json::{Value, json};

use super::MlflowState;
use super::access::Caller;
use super::args::{Args, missing};
use super::refusal::{Answer, Refusal};
use super::show::{Info, RunShown};

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
    Extension(caller): Extension<Caller>,
    args: Args,
) -> Answer<Json<One>> {
    let new = NewRun {
        experiment: args.text("experiment_id")?.filter(|id| !id.is_empty()).unwrap_or_else(|| "0".to_owned()),
        user: args.text("user_id")?.unwrap_or_default(),
        name: args.text("run_name")?,
        started: args.int("start_time")?.filter(|started| *started != 0),
        tags: args.pairs("tags")?,
        adopted_by: caller.step().map(super::access::Step::run),
    };
    Ok(Json(One { run: RunShown::begun(state.tracking.create_run(new).await?) }))
}

pub(super) async fn get(
    State(state): State<MlflowState>,
    Extension(caller): Extension<Caller>,
    args: Args,
) -> Answer<Json<One>> {
    let run = state.tracking.run(&args.run_id()?).await?;
    let chosen = caller.step().filter(|step| step.run() == run.row.id && !run.row.state.ended());
    let chosen = chosen.and_then(super::access::Step::chosen);
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
    Extension(caller): Extension<Caller>,
    args: Args,
) -> Answer<Json<Updated>> {
    let id = args.run_id()?;
    let (status, ended) = (status(&args)?, args.int("end_time")?);
    let row = state.tracking.run_row(&id).await?;
    let own = caller.step().filter(|step| step.run() == row.id && !row.state.ended());
    let chosen = own.and_then(super::access::Step::chosen);
    let experiment = chosen.filter(|_| status == Some(RunState::Running));
    let update = RunUpdate { status, ended, name: args.text("run_name")?, experiment };
    let row = state.tracking.update_run(&id, update).await?;
    let location = state.tracking.experiment(&row.experiment.to_string()).await?.artifact_location;
    let mut run_info = Info::new(&row, rondo_tracking::artifacts::run_root(&location, row.id));
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

pub(super) async fn delete(State(state): State<MlflowState>, args: Args) -> Answer<Json<Value>> {
    state.tracking.delete_run(&args.run_id()?, true).await?;
    Ok(Json(json!({})))
}

pub(super) async fn restore(State(state): State<MlflowState>, args: Args) -> Answer<Json<Value>> {
    state.tracking.delete_run(&args.run_id()?, false).await?;
    Ok(Json(json!({})))
}

pub(super) async fn log_metric(State(state): State<MlflowState>, args: Args) -> Answer<Json<Value>> {
    let id = args.run_id()?;
    log_metrics(&state, &id, Batch::default(), vec![metric(&args, str::to_owned)?], true).await
}

/// A metric, and the logged model that it is of where it is of one.
struct Measured {
    key: String,
    point: Point,
    model: Option<String>,
    dataset_name: String,
    dataset_digest: String,
}

/// Reads a metric; `place` says what its fields are called where they are complained of.
fn metric(args: &Args, place: impl Fn(&str) -> String) -> Answer<Measured> {
    let there = |field: &str| match args.says(field) && args.text(field).ok().flatten().as_deref() != Some("")
    {
        true => Ok(()),
        false => Err(missing(&place(field))),
    };
    let key = args.given("key").map_err(|_| args.wrong("key", &place("key")))?;
    let key = key.ok_or_else(|| missing(&place("key")))?;
    there("value")?;
    let value = args.float("value").map_err(|_| args.wrong("value", &place("value")))?;
    there("timestamp")?;
    let whole = |field: &str| args.int(field).map_err(|_| args.wrong(field, &place(field)));
    let (timestamp, step) = (whole("timestamp")?, whole("step")?.unwrap_or_default());
    let timestamp = timestamp.ok_or_else(|| missing(&place("timestamp")))?;
    Ok(Measured {
        key,
        point: Point { timestamp, step, value },
        model: args.given("model_id")?,
        dataset_name: args.maybe("dataset_name")?,
        dataset_digest: args.maybe("dataset_digest")?,
    })
}

/// Logs a batch with these metrics; those that are of a logged model are kept there too.
async fn log_metrics(
    state: &MlflowState,
    id: &str,
    mut batch: Batch,
    metrics: Vec<Measured>,
    alone: bool,
) -> Answer<Json<Value>> {
    batch.metrics = metrics.iter().map(|metric| (metric.key.clone(), metric.point)).collect();
    let run = match alone {
        true => state.tracking.log_one(id, batch).await?,
        false => state.tracking.log_batch(id, batch).await.map_err(changed)?,
    };
    let of_model = |metric: Measured| {
        let Measured { key, point, model, dataset_name, dataset_digest } = metric;
        Some(ModelMetric { model: model?, run, key, dataset_name, dataset_digest, point })
    };
    let of_models: Vec<ModelMetric> = metrics.into_iter().filter_map(of_model).collect();
    if !of_models.is_empty() {
        state.tracking.meta().log_model_metrics(of_models).await?;
    }
    Ok(Json(json!({})))
}

/// A batch tells of a changed parameter in other words than a request for one does.
fn changed(error: rondo_tracking::Error) -> Refusal {
    match error {
        rondo_tracking::Error::Store(rondo_store::Error::ParameterChanged { run, key, old, new }) => {
            Refusal::invalid(format!(
                "Changing param values is not allowed. Params were already logged='[{{'key': '{key}', 'old_value': \
                 '{old}', 'new_value': '{new}'}}]' for run ID='{run}'."
            ))
        }
        error => error.into(),
    }
}

pub(super) async fn log_param(State(state): State<MlflowState>, args: Args) -> Answer<Json<Value>> {
    let (id, key, value) = (args.run_id()?, args.required("key")?, args.maybe("value")?);
    state.tracking.log_one(&id, Batch { params: vec![(key, value)], ..Batch::default() }).await?;
    Ok(Json(json!({})))
}

pub(super) async fn set_tag(State(state): State<MlflowState>, args: Args) -> Answer<Json<Value>> {
    let (id, key, value) = (args.run_id()?, args.required("key")?, args.maybe("value")?);
    state.tracking.log_one(&id, Batch { tags: vec![(key, value)], ..Batch::default() }).await?;
    Ok(Json(json!({})))
}

pub(super) async fn delete_tag(State(state): State<MlflowState>, args: Args) -> Answer<Json<Value>> {
    let id = args.run_id()?;
    state.tracking.untag_run(&id, &args.required("key")?).await?;
    Ok(Json(json!({})))
}

pub(super) async fn log_batch(State(state): State<MlflowState>, args: Args) -> Answer<Json<Value>> {
    let id = args.run_id()?;
    let metrics = args.objects("metrics")?;
    let batch = Batch { metrics: Vec::new(), params: args.pairs("params")?, tags: args.pairs("tags")? };
    limits::batch(metrics.len(), batch.params.len(), batch.tags.len()).map_err(Refusal::from)?;
    let read = |(index, args): (usize, &Args)| metric(args, |field| format!("metrics[{index}].{field}"));
    let metrics = metrics.iter().enumerate().map(read).collect::<Answer<_>>()?;
    log_metrics(&state, &id, batch, metrics, false).await
}

pub(super) async fn log_inputs(State(state): State<MlflowState>, args: Args) -> Answer<Json<Value>> {
    let id = args.run_id()?;
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

pub(super) async fn log_outputs(State(state): State<MlflowState>, args: Args) -> Answer<Json<Value>> {
    let id = args.run_id()?;
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
pub(super) async fn log_model(State(state): State<MlflowState>, args: Args) -> Answer<Json<Value>> {
    const HISTORY: &str = "mlflow.log-model.history";
    let (id, model) = (args.run_id()?, args.required("model_json")?);
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

#[derive(Serialize)]
pub(super) struct Many {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<RunShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

pub(super) async fn search(State(state): State<MlflowState>, args: Args) -> Answer<Json<Many>> {
    let search = Search {
        filter: args.text("filter")?.unwrap_or_default(),
        order_by: args.texts("order_by")?,
        max_results: args.int("max_results")?,
        page_token: args.text("page_token")?.unwrap_or_default(),
        view: args.view("run_view_type")?,
    };
    let found = state.tracking.search_runs(&args.texts("experiment_ids")?, &search).await?;
    let runs = found.items.into_iter().map(Into::into).collect();
    Ok(Json(Many { runs, next_page_token: found.next_page_token }))
}
