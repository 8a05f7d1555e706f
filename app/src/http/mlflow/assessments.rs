//! `traces/*/assessments/*`

use axum::Json;
use axum::extract::State;
use rondo_core::Timestamp;
use rondo_store::meta::assessments::AssessmentRecord;
use rondo_tracking::assessments::{AssessmentChange, NewAssessment};
use serde_json::{Map, Value, json};

use super::MlflowState;
use super::args::{Args, InPath, wrong};
use super::refusal::{Answer, Refusal};
use super::show_traces as show;
use crate::http::access::Caller;

/// What an assessment's value is called, and what it may say.
const KINDS: [(&str, &[&str]); 3] = [
    ("feedback", &["value", "error"]),
    ("expectation", &["value", "serialized_value"]),
    ("issue", &["issue_name"]),
];
const UNSPECIFIED: &str = "SOURCE_TYPE_UNSPECIFIED";

pub(super) async fn create(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath(trace): InPath<String>,
    args: Args,
) -> Answer<Json<Value>> {
    caller.trace(&trace).await?;
    let given = args.object("assessment")?.ok_or_else(|| super::args::missing("assessment"))?;
    let made = state.tracking.assess(&trace, read(&given)?).await?;
    Ok(Json(json!({ "assessment": show::assessment(made) })))
}

pub(super) async fn get(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath((trace, id)): InPath<(String, String)>,
) -> Answer<Json<Value>> {
    caller.trace(&trace).await?;
    let found = state.tracking.assessment(&trace, &id).await?;
    Ok(Json(json!({ "assessment": show::assessment(found) })))
}

pub(super) async fn update(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath((trace, id)): InPath<(String, String)>,
    args: Args,
) -> Answer<Json<Value>> {
    caller.trace(&trace).await?;
    let given = args.object("assessment")?.ok_or_else(|| super::args::missing("assessment"))?;
    let mask = args.required("update_mask")?;
    let mut change = AssessmentChange::default();
    for path in mask.split(',') {
        // The protocol's JSON writes the names of its fields in camel case here.
        match path.trim() {
            "assessment_name" | "assessmentName" => change.name = Some(given.required("assessment_name")?),
            "feedback" | "expectation" => change.value = Some(value(&given)?),
            "rationale" => change.rationale = given.text("rationale")?,
            "metadata" => change.metadata = Some(texts(&given, "metadata")?),
            "valid" => change.valid = given.flag("valid")?,
            _ => return Err(wrong("update_mask", &Value::String(mask.clone()))),
        }
    }
    let changed = state.tracking.change_assessment(&trace, &id, change).await?;
    Ok(Json(json!({ "assessment": show::assessment(changed) })))
}

pub(super) async fn delete(
    State(state): State<MlflowState>,
    caller: Caller,
    InPath((trace, id)): InPath<(String, String)>,
) -> Answer<Json<Value>> {
    caller.trace(&trace).await?;
    state.tracking.delete_assessment(&trace, &id).await?;
    Ok(Json(json!({})))
}

/// An assessment as a client gives it.
pub(super) fn read(given: &Args) -> Answer<NewAssessment> {
    let (kind, value) = value(given)?;
    let source = given.object("source")?.map(Args::into_map).unwrap_or_default();
    let some = |name: &str| Ok::<_, Refusal>(given.text(name)?.filter(|text| !text.is_empty()));
    Ok(NewAssessment {
        id: some("assessment_id")?,
        name: given.required("assessment_name")?,
        kind,
        created: moment(given, "create_time")?,
        updated: moment(given, "last_update_time")?,
        valid: given.flag("valid")?.unwrap_or(true),
        record: AssessmentRecord {
            source: checked(source)?,
            value,
            rationale: some("rationale")?,
            metadata: texts(given, "metadata")?,
            span: some("span_id")?,
            overrides: some("overrides")?,
        },
    })
}

/// Which kind of value, and the value with what belongs to it.
fn value(given: &Args) -> Answer<(String, Map<String, Value>)> {
    for (kind, fields) in KINDS {
        let Some(value) = given.object(kind)? else { continue };
        let mut value = value.into_map();
        value.retain(|field, _| fields.contains(&field.as_str()));
        // Where clients before 3.0 put it.
        if let (Some(error), "feedback") = (given.object("error")?, kind) {
            value.entry("error").or_insert_with(|| Value::Object(error.into_map()));
        }
        return Ok((kind.to_owned(), value));
    }
    let message = "Exactly one of `feedback`, `expectation` or `issue` should be specified in an assessment.";
    Err(Refusal::invalid(message))
}

fn checked(mut source: Map<String, Value>) -> Answer<Map<String, Value>> {
    source.retain(|field, _| matches!(field.as_str(), "source_type" | "source_id"));
    let kind = source.entry("source_type").or_insert(Value::Null);
    if !matches!(kind.as_str(), Some("HUMAN" | "LLM_JUDGE" | "CODE")) {
        *kind = Value::from(UNSPECIFIED);
    }
    if let Some(other) = source.get("source_id").filter(|id| !id.is_string()) {
        return Err(wrong("source_id", other));
    }
    Ok(source)
}

pub(super) fn moment(given: &Args, name: &str) -> Answer<Option<i64>> {
    let Some(text) = given.text(name)? else { return Ok(None) };
    let read = text.parse::<Timestamp>().map_err(|_| wrong(name, &Value::String(text)))?;
    Ok(Some(read.millis()))
}

/// A map of texts.
fn texts(given: &Args, name: &str) -> Answer<Map<String, Value>> {
    let map = given.object(name)?.map(Args::into_map).unwrap_or_default();
    match map.values().find(|value| !value.is_string()) {
        Some(other) => Err(wrong(name, other)),
        None => Ok(map),
    }
}
