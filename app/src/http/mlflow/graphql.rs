//! `/graphql`: what MLflow's pages ask for in one request.
//!
//! Each field is the REST handler of the same name, with the same rights, asked for the same arguments; here
//! they are put together and cut to what was asked for. Names are in camel case, long numbers are texts, and
//! an error is told beside the data with status 200, all as MLflow's server does. What one query may ask for
//! is bounded, see [`query`].

mod query;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use super::MlflowState;
use super::args::Args;
use super::refusal::{Answer, Refusal};
use super::{artifacts, experiments, metrics, model_versions, runs};
use crate::http::access::Caller;
use query::Field;

/// An answer of one handler, at most: what pages show of a run is far less.
const MOST: usize = 8 << 20;

pub(super) async fn answer(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    // What is asked is looked at field by field; to be let in is to see nothing yet.
    caller.seen(Vec::new());
    let failed = |reason: String| Json(json!({ "data": null, "errors": [reason] }));
    let text = args.required("query")?;
    let variables = args.object("variables")?.map(Args::into_map).unwrap_or_default();
    let operation = match query::read(&text, args.given("operationName")?.as_deref(), &variables) {
        Ok(operation) => operation,
        Err(reason) => return Ok(failed(reason)),
    };
    let (mut data, mut errors) = (Map::new(), Vec::new());
    for field in operation.fields {
        let value = match resolved(&state, &caller, operation.mutation, &field).await {
            Ok(found) => shown(&field, Some(&found)),
            Err(refusal) => {
                errors.push(refusal.into_message());
                Value::Null
            }
        };
        data.insert(field.shown, value);
    }
    let errors = if errors.is_empty() { Value::Null } else { json!(errors) };
    Ok(Json(json!({ "data": data, "errors": errors })))
}

async fn resolved(state: &MlflowState, caller: &Caller, mutation: bool, field: &Field) -> Answer<Value> {
    let asked = || {
        let input = field.arguments.get("input").and_then(Value::as_object).cloned().unwrap_or_default();
        Args::of(input.into_iter().map(|(name, value)| (snake(&name), value)).collect())
    };
    let (here, caller) = (State(state.clone()), caller.clone());
    match (mutation, field.name.as_str()) {
        (false, "test") | (true, "testMutation") => {
            Ok(json!({ "output": field.arguments.get("inputString") }))
        }
        (false, "mlflowGetExperiment") => plain(experiments::get(here, caller, asked()).await?),
        (false, "mlflowGetRun") => run(state, caller, asked(), field).await,
        (false, "mlflowListArtifacts") => plain(artifacts::list::of_run(here, caller, asked()).await?),
        (false, "mlflowGetMetricHistoryBulkInterval") => {
            read(metrics::history_bulk_interval(here, caller, asked()).await?).await
        }
        (false, "mlflowSearchModelVersions") => plain(model_versions::search(here, caller, asked()).await?),
        (_, "mlflowSearchRuns") => read(runs::search(here, caller, asked()).await?).await,
        (true, "mlflowSearchDatasets") => plain(experiments::search_datasets(here, caller, asked()).await?),
        (_, other) => {
            let (kind, name) =
                (if mutation { "Mutation" } else { "Query" }, other.chars().take(100).collect::<String>());
            Err(Refusal::invalid(format!("Cannot query field '{name}' on type '{kind}'.")))
        }
    }
}

/// A run, and what is asked of its experiment and its versions.
async fn run(state: &MlflowState, caller: Caller, asked: Args, field: &Field) -> Answer<Value> {
    let mut found = plain(runs::get(State(state.clone()), caller.clone(), asked).await?)?;
    let wants = |name: &str| field.inner.iter().flat_map(|run| &run.inner).any(|inner| inner.name == name);
    let of = |found: &Value, name: &str| found["run"]["info"][name].as_str().unwrap_or_default().to_owned();
    if wants("experiment") {
        let asked =
            Args::of(Map::from_iter([("experiment_id".to_owned(), json!(of(&found, "experiment_id")))]));
        let experiment = plain(experiments::get(State(state.clone()), caller.clone(), asked).await?)?;
        found["run"]["experiment"] = experiment["experiment"].clone();
    }
    if wants("modelVersions") {
        // An id has no quotes in it.
        let filter = format!("run_id = '{}'", of(&found, "run_id"));
        let asked = Args::of(Map::from_iter([("filter".to_owned(), Value::String(filter))]));
        let versions = plain(model_versions::search(State(state.clone()), caller, asked).await?)?;
        found["run"]["model_versions"] = versions["model_versions"].clone();
    }
    Ok(found)
}

fn plain<T: serde::Serialize>(Json(answer): Json<T>) -> Answer<Value> {
    serde_json::to_value(answer).map_err(|_| Refusal::internal("The answer could not be written"))
}

/// The JSON of an answer that was put together as text.
async fn read(answer: impl IntoResponse) -> Answer<Value> {
    let body = axum::body::to_bytes(answer.into_response().into_body(), MOST).await;
    let body = body.map_err(|_| Refusal::invalid("The answer is too long: ask for less"))?;
    serde_json::from_slice(&body).map_err(|_| Refusal::internal("The answer could not be read"))
}

/// What is shown of a value for a field. What is not there is what the protocol says that it is then.
fn shown(field: &Field, value: Option<&Value>) -> Value {
    match value.filter(|value| !value.is_null()) {
        Some(Value::Array(items)) => items.iter().map(|item| shown(field, Some(item))).collect(),
        Some(Value::Object(map)) => {
            let inner = field.inner.iter();
            inner.map(|inner| (inner.shown.clone(), shown(inner, map.get(&snake(&inner.name))))).collect()
        }
        // Of numbers only a metric's value is no count or time.
        Some(Value::Number(number)) if field.name != "value" => Value::String(number.to_string()),
        Some(Value::String(text)) if field.name == "value" && text == "NaN" => Value::Null,
        Some(other) => other.clone(),
        None => match field.name.as_str() {
            "files" | "runs" | "metrics" | "params" | "tags" | "datasetSummaries" | "modelVersions" => {
                json!([])
            }
            "isDir" => Value::Bool(false),
            "fileSize" => json!("0"),
            "context" => json!(""),
            _ => Value::Null,
        },
    }
}

/// `modelVersions` as `model_versions`.
fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
