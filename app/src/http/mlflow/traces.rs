//! `traces/*`, of the protocol's third version and of the second, and `get-trace-artifact`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use rondo_core::Timestamp;
use rondo_core::access::Right;
use rondo_store::meta::traces::SOURCE_RUN;
use rondo_tracking::Error;
use rondo_tracking::artifacts;
use rondo_tracking::traces::{Doomed, NewTrace, Told};
use rondo_tracking::tracking::Search;
use serde_json::{Value, json};

use super::MlflowState;
use super::args::{Args, InPath, missing, wrong};
use super::assessments::{moment, read as assessment};
use super::refusal::Answer;
use super::show_traces as show;
use crate::http::access::Caller;

/// The file in which a trace's spans are, where they are not kept as spans.
const FILE: &str = "traces.json";

pub(super) async fn start(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let trace = args.object("trace")?.ok_or_else(|| missing("trace"))?;
    let info = trace.object("trace_info")?.ok_or_else(|| missing("trace_info"))?;
    let location = info.object("trace_location")?.ok_or_else(|| missing("trace_location"))?;
    let experiment = location.object("mlflow_experiment")?.ok_or_else(|| missing("mlflow_experiment"))?;
    let (id, filed) = (info.required("trace_id")?, experiment.required("experiment_id")?);
    caller.experiment(&filed)?;
    // One that is there is taken from where it is filed.
    caller.trace(&id).await?;
    let duration = match info.text("execution_duration")? {
        None => None,
        Some(text) => {
            Some(show::millis(&text).ok_or_else(|| wrong("execution_duration", &Value::String(text)))?)
        }
    };
    let new = NewTrace {
        id,
        experiment: filed,
        started: Timestamp(moment(&info, "request_time")?.unwrap_or_default()),
        duration,
        state: state_of(&info, "state")?,
        client_request: info.text("client_request_id")?,
        request_preview: info.text("request_preview")?,
        response_preview: info.text("response_preview")?,
        tags: texts(&info, "tags")?,
        metadata: texts(&info, "trace_metadata")?,
    };
    if let Some(run) = new.metadata.get(SOURCE_RUN) {
        caller.run(run).await?;
    }
    let mut assessments = Vec::new();
    for given in info.objects("assessments")? {
        assessments.push(state.tracking.new_assessment(&new.id, assessment(&given)?)?);
    }
    let told = state.tracking.start_trace(new, assessments).await?;
    Ok(Json(json!({ "trace": { "trace_info": show::info(told) } })))
}

pub(super) async fn info(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(id): InPath<String>,
) -> Answer<Json<Value>> {
    caller.trace(&id).await?;
    let told = state.tracking.trace(&id).await?;
    Ok(Json(json!({ "trace": { "trace_info": show::info(told) } })))
}

pub(super) async fn get(State(state): State<MlflowState>, caller: Caller, args: Args) -> Answer<Json<Value>> {
    let partial = args.flag("allow_partial")?.unwrap_or(false);
    let id = args.required("trace_id")?;
    caller.trace(&id).await?;
    let whole = state.tracking.whole_trace(&id, partial).await?;
    Ok(Json(json!({ "trace": show::whole(whole) })))
}

pub(super) async fn batch_get(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let ids = ids(&args, "trace_ids")?;
    caller.traces(&ids).await?;
    let whole = state.tracking.whole_traces(&ids).await?;
    Ok(Json(listed("traces", whole.into_iter().map(show::whole).collect(), None)))
}

pub(super) async fn batch_get_infos(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let ids = ids(&args, "trace_ids")?;
    caller.traces(&ids).await?;
    let told = state.tracking.traces(&ids).await?;
    Ok(Json(listed("trace_infos", told.into_iter().map(show::info).collect(), None)))
}

pub(super) async fn search(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let locations = args.objects("locations")?;
    if locations.is_empty() {
        return Err(missing("locations"));
    }
    let mut experiments = Vec::new();
    for location in locations {
        if let Some(experiment) = location.object("mlflow_experiment")? {
            experiments.extend(experiment.text("experiment_id")?);
        }
    }
    let (found, next) = found(&state, &caller.seen(experiments), &args).await?;
    Ok(Json(listed("traces", found.into_iter().map(show::info).collect(), next)))
}

async fn found(
    state: &MlflowState,
    experiments: &[String],
    args: &Args,
) -> Answer<(Vec<Told>, Option<String>)> {
    let search = Search {
        filter: args.text("filter")?.unwrap_or_default(),
        order_by: args.texts("order_by")?,
        max_results: args.int("max_results")?,
        page_token: args.text("page_token")?.unwrap_or_default(),
        ..Search::default()
    };
    let found = state.tracking.search_traces(experiments, &search).await?;
    Ok((found.items, found.next_page_token))
}

pub(super) async fn delete(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let experiment = args.required("experiment_id")?;
    caller.experiment(&experiment)?;
    let doomed = Doomed {
        ids: args.texts("request_ids")?,
        until: args.int("max_timestamp_millis")?,
        limit: args.int("max_traces")?,
    };
    let gone = state.tracking.delete_traces(&experiment, doomed).await?;
    Ok(Json(json!({ "traces_deleted": gone })))
}

pub(super) async fn set_tag(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(id): InPath<String>,
    args: Args,
) -> Answer<Json<Value>> {
    caller.trace(&id).await?;
    let value = args.text("value")?.unwrap_or_default();
    state.tracking.tag_trace(&id, &args.required("key")?, &value).await?;
    Ok(Json(json!({})))
}

pub(super) async fn delete_tag(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(id): InPath<String>,
    args: Args,
) -> Answer<Json<Value>> {
    caller.trace(&id).await?;
    state.tracking.untag_trace(&id, &args.required("key")?).await?;
    Ok(Json(json!({})))
}

pub(super) async fn link_to_run(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (run, ids) = (args.required("run_id")?, ids(&args, "trace_ids")?);
    caller.run(&run).await?;
    caller.traces_for(Right::Read, &ids).await?;
    state.tracking.link_traces(&run, ids).await?;
    Ok(Json(json!({})))
}

pub(super) async fn link_prompts(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let id = args.required("trace_id")?;
    caller.trace(&id).await?;
    let mut prompts = Vec::new();
    for prompt in args.objects("prompt_versions")? {
        prompts.push((prompt.required("name")?, prompt.required("version")?));
    }
    if prompts.is_empty() {
        return Err(missing("prompt_versions"));
    }
    state.tracking.link_prompts(&id, prompts).await?;
    Ok(Json(json!({})))
}

/// The spans of a trace as a file, or a file that was attached to it.
pub(super) async fn artifact(
    State(state): State<MlflowState>,
    caller: Caller,
    headers: HeaderMap,
    args: Args,
) -> Answer<Response> {
    let id = args.required("request_id")?;
    caller.trace(&id).await?;
    if let Some(path) = args.text("path")?.filter(|path| !path.is_empty()) {
        let path = format!("attachments/{}", artifacts::clean(&path)?);
        let place = state.tracking.place_of_trace(&id, &path).await?;
        return super::artifacts::download::send(&state, &place, &headers).await;
    }
    match state.tracking.whole_trace(&id, true).await {
        Ok(whole) => {
            let spans: Vec<Value> = whole.spans.iter().map(show::span_of_file).collect();
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (header::CONTENT_DISPOSITION, "attachment; filename=traces.json"),
            ];
            Ok((headers, json!({ "spans": spans }).to_string()).into_response())
        }
        Err(Error::SpansElsewhere { id }) => {
            let place = state.tracking.place_of_trace(&id, FILE).await?;
            super::artifacts::download::send(&state, &place, &headers).await
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn old_start(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let experiment = args.required("experiment_id")?;
    caller.experiment(&experiment)?;
    let new = NewTrace {
        experiment,
        started: Timestamp(args.int("timestamp_ms")?.unwrap_or_default()),
        state: "IN_PROGRESS".to_owned(),
        tags: args.pairs("tags")?.into_iter().collect(),
        metadata: args.pairs("request_metadata")?.into_iter().collect(),
        ..NewTrace::default()
    };
    if let Some(run) = new.metadata.get(SOURCE_RUN) {
        caller.run(run).await?;
    }
    let trace = state.tracking.begin_trace(new).await?;
    Ok(Json(json!({ "trace_info": show::old_info(trace) })))
}

pub(super) async fn old_end(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(id): InPath<String>,
    args: Args,
) -> Answer<Json<Value>> {
    caller.trace(&id).await?;
    let ended = args.int("timestamp_ms")?.unwrap_or_default();
    let (tags, metadata) = (args.pairs("tags")?, args.pairs("request_metadata")?);
    let (tags, metadata) = (tags.into_iter().collect(), metadata.into_iter().collect());
    let trace = state.tracking.end_trace(&id, ended, &state_of(&args, "status")?, tags, metadata).await?;
    Ok(Json(json!({ "trace_info": show::old_info(trace) })))
}

pub(super) async fn old_info(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(id): InPath<String>,
) -> Answer<Json<Value>> {
    caller.trace(&id).await?;
    let told = state.tracking.trace(&id).await?;
    Ok(Json(json!({ "trace_info": show::old_info(told.trace) })))
}

pub(super) async fn old_search(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let experiments = caller.seen(ids(&args, "experiment_ids")?);
    let (found, next) = found(&state, &experiments, &args).await?;
    let traces = found.into_iter().map(|told| show::old_info(told.trace)).collect();
    Ok(Json(listed("traces", traces, next)))
}

/// A list, left out where it is empty, and the token of the next page.
fn listed(name: &str, items: Vec<Value>, next: Option<String>) -> Value {
    let mut answer = json!({});
    if !items.is_empty() {
        answer[name] = Value::Array(items);
    }
    if let Some(next) = next {
        answer["next_page_token"] = Value::String(next);
    }
    answer
}

/// A list of ids that must not be empty.
fn ids(args: &Args, name: &str) -> Answer<Vec<String>> {
    let ids = args.texts(name)?;
    if ids.is_empty() { Err(missing(name)) } else { Ok(ids) }
}

/// A map of texts.
fn texts(args: &Args, name: &str) -> Answer<BTreeMap<String, String>> {
    let map = args.object(name)?.map(Args::into_map).unwrap_or_default();
    map.into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            other => Err(wrong(name, &other)),
        })
        .collect()
}

fn state_of(args: &Args, name: &str) -> Answer<String> {
    let Some(state) = args.text(name)? else { return Ok("STATE_UNSPECIFIED".to_owned()) };
    match state.as_str() {
        "OK" | "ERROR" | "IN_PROGRESS" | "STATE_UNSPECIFIED" => Ok(state),
        "TRACE_STATUS_UNSPECIFIED" => Ok("STATE_UNSPECIFIED".to_owned()),
        // A word of a later version of the protocol.
        _ => Ok("STATE_UNSPECIFIED".to_owned()),
    }
}
