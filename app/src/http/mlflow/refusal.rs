//! A refused request, in the form and with the codes that MLflow's clients know.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rondo_core::{Code, Explain, Kind};
use rondo_tracking::Error;
use serde_json::json;

use crate::http::access::Denied;
use crate::http::access::caller::NotLetIn;

/// What a handler answers.
pub(super) type Answer<T> = Result<T, Refusal>;

/// A refused request.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

pub(super) const INVALID: &str = "INVALID_PARAMETER_VALUE";
const MISSING: &str = "RESOURCE_DOES_NOT_EXIST";

impl Refusal {
    /// The request itself is at fault.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: INVALID, message: message.into() }
    }

    /// The request itself is at fault, in a way that has no parameter's name.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self { code: "BAD_REQUEST", ..Self::invalid(message) }
    }

    /// What was named is not there.
    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: MISSING, message: message.into() }
    }

    /// What should be made is there. MLflow answers 400 and not 409.
    pub(super) fn exists(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "RESOURCE_ALREADY_EXISTS", message: message.into() }
    }

    /// Whoever asks, may not.
    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, code: "PERMISSION_DENIED", message: message.into() }
    }

    /// This server has no such endpoint as it was started.
    pub(super) fn no_endpoint(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "ENDPOINT_NOT_FOUND", message: message.into() }
    }

    /// The body is longer than the route takes.
    pub(super) fn too_long() -> Self {
        let message = "The request body is longer than this endpoint takes";
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, code: INVALID, message: message.into() }
    }

    /// What is needed for an answer cannot be reached.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, "TEMPORARILY_UNAVAILABLE");
        Self { status, code, message: message.into() }
    }

    /// What it says, for an answer that has several.
    pub(super) fn into_message(self) -> String {
        self.message
    }

    /// A fault that is not the client's. Its cause is for the log, not for the wire.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: "INTERNAL_ERROR", message: message.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error_code": self.code, "message": self.message });
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Denied> for Refusal {
    fn from(_: Denied) -> Self {
        let message = "Permission denied".to_owned();
        Self { status: StatusCode::FORBIDDEN, code: "PERMISSION_DENIED", message }
    }
}

impl From<NotLetIn> for Refusal {
    fn from(error: NotLetIn) -> Self {
        match error {
            NotLetIn::Denied(denied) => denied.into(),
            NotLetIn::Store(error) => error.into(),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::ExperimentId { id } => {
                Self::invalid(format!("Invalid experiment ID '{id}'. Experiment ID must be a valid integer."))
            }
            Error::ExperimentNotFound { id } => Self::missing(format!("No Experiment with id={id} exists")),
            Error::ExperimentNameNotFound { name } => {
                Self::missing(format!("Could not find experiment with name '{name}'"))
            }
            Error::ExperimentExists { name, deleted: false } => {
                Self::exists(format!("Experiment(name={name}) already exists."))
            }
            Error::ExperimentExists { name, deleted: true } => Self::exists(format!(
                "Experiment(name={name}) already exists in deleted state. You can restore the experiment, or \
                 choose another name."
            )),
            Error::ExperimentDeleted { id } => Self::invalid(format!(
                "The experiment {id} must be in the 'active' state. Current state is deleted."
            )),
            Error::RunNotFound { id } => Self::missing(format!("Run with id={id} not found")),
            Error::RunDeleted { id } => Self::invalid(format!(
                "The run {id} must be in the 'active' state. Current state is deleted."
            )),
            Error::TagNotFound { key, owner } => Self::missing(format!("No tag with name: {key} in {owner}")),
            Error::ModelTagNotFound { key, model } => {
                Self::missing(format!("No tag with key '{key}' found for model with ID '{model}'."))
            }
            Error::LoggedModelNotFound { id } => {
                Self::missing(format!("Logged model with ID '{id}' not found."))
            }
            Error::TraceNotFound { id } => Self::missing(format!("Trace with ID '{id}' not found.")),
            Error::TraceTagNotFound { key, id } => {
                Self::missing(format!("No trace tag with key '{key}' for trace with ID '{id}'"))
            }
            Error::TraceIncomplete { id } => Self::missing(format!(
                "Trace with ID {id} is not fully exported yet, please try again later."
            )),
            Error::SpansElsewhere { id } => {
                Self::missing(format!("Trace data of trace with ID '{id}' not stored in tracking store"))
            }
            Error::TooManyLinks { found, limit } => Self::invalid(format!(
                "Cannot link more than {limit} traces to a run in a single request. Provided {found} traces."
            )),
            Error::AssessmentKind { given, kept } => Self::invalid(format!(
                "Cannot update {given} value on {} assessment.",
                if kept == "feedback" { "a Feedback" } else { "an Expectation" }
            )),
            Error::AssessmentNotFound { id, trace } => {
                Self::missing(format!("Assessment with ID '{id}' not found for trace '{trace}'"))
            }
            Error::Invalid { what, value, reason } if what == "alias" => {
                Self::invalid(format!("Invalid alias name: '{value}'. {reason}"))
            }
            Error::Invalid { what, value, reason } if what == "model name" => {
                Self::invalid(format!("Invalid model name ('{value}') provided. {reason}"))
            }
            Error::Invalid { what, value, reason } if what == "max_results" => {
                Self::invalid(format!("Invalid value {value} for parameter 'max_results' supplied. {reason}"))
            }
            Error::Invalid { what, value, reason } if what == "artifact_location" => {
                Self::invalid(match value.starts_with("runs:") {
                    true => format!("Artifact location cannot be a runs:/ URI. Given: '{value}'"),
                    false => format!("Invalid artifact_location: '{value}'. {reason}"),
                })
            }
            Error::Invalid { what, value, reason } => {
                // A number stands as it is, a text as JSON has it.
                let shown = match value.parse::<i64>() {
                    Ok(number) if what != "name" && what != "key" => number.to_string(),
                    Ok(_) | Err(_) => serde_json::Value::String(value).to_string(),
                };
                Self::invalid(format!("Invalid value {shown} for parameter '{what}' supplied: {reason}"))
            }
            Error::TooLong { what, limit } => {
                Self::invalid(format!("'{what}' exceeds the maximum length of {limit} characters"))
            }
            Error::Repeated { key } => Self::invalid(format!(
                "Duplicate parameter keys have been submitted: ['{key}']. Please ensure the request contains only one \
                 param value per param key."
            )),
            Error::ReservedAlias { alias } if alias.eq_ignore_ascii_case("latest") => {
                Self::invalid("'latest' alias name (case insensitive) is reserved.")
            }
            Error::ReservedAlias { alias } => {
                Self::invalid(format!("Version alias name '{alias}' is reserved."))
            }
            Error::TwoNames { name, tag } => Self::invalid(format!(
                "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values \
                 (run_name='{name}', mlflow.runName='{tag}')."
            )),
            Error::TooMany { what, found, limit } => Self::invalid(format!(
                "A batch logging request can contain at most {limit} {what}. Got {found} {what}. Please split up {what} \
                 across multiple requests and try again."
            )),
            Error::PageToken { reason } => Self::invalid(format!("Invalid page token, {reason}")),
            // Without the path: MLflow's clients and tests know these two words.
            Error::Path { .. } => Self::invalid("Invalid path"),
            Error::NobodysPath { path } => {
                Self::invalid(format!("Invalid path: {path} is nobody's: no such run or logged model"))
            }
            Error::ArtifactNotFound { path } => Self::missing(format!("No such artifact: '{path}'")),
            Error::Selection { .. } => Self::invalid(format!("{}.", capitalised(&error.to_string()))),
            Error::Prompt { .. } | Error::OtherSearch { .. } => {
                Self::invalid(capitalised(&error.to_string()))
            }
            // The last two are of imports and exports, which no request asks for.
            Error::StepRun { .. }
            | Error::Filter { .. }
            | Error::OutsideRoots { .. }
            | Error::Elsewhere { .. }
            | Error::Registered { .. }
            | Error::NotAStore { .. }
            | Error::NoProvenance { .. }
            | Error::Io { .. } => Self::invalid(capitalised(&error.to_string())),
        }
    }
}

impl From<rondo_registry::Error> for Refusal {
    fn from(error: rondo_registry::Error) -> Self {
        match error {
            rondo_registry::Error::Store(error) => error.into(),
            other => Self::explained(&other),
        }
    }
}

impl From<rondo_store::Error> for Refusal {
    fn from(error: rondo_store::Error) -> Self {
        if let rondo_store::Error::ParameterChanged { run, key, old, new } = &error {
            return Self::invalid(format!(
                "Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}' \
                 for run ID='{run}'. Attempted logging new value '{new}'."
            ));
        }
        if let rondo_store::Error::ModelParameterChanged { model, key, old, new } = &error {
            return Self::invalid(format!(
                "Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}' \
                 for model ID='{model}'. Attempted logging new value '{new}'."
            ));
        }
        if let rondo_store::Error::TraceElsewhere { id } = &error {
            return Self::invalid(format!("Trace with ID '{id}' already exists in another experiment."));
        }
        match error.code() {
            Code::ExperimentExists | Code::ModelExists => Self::exists(capitalised(&error.to_string())),
            _ => Self::explained(&error),
        }
    }
}

impl Refusal {
    /// An error by its kind, with what there is to do about it.
    fn explained(error: &dyn Explain) -> Self {
        let hints: String = error.hints().iter().map(|hint| format!(". Hint: {hint}")).collect();
        let message = format!("{}{hints}", capitalised(&error.to_string()));
        match error.code().kind() {
            Kind::NotFound => Self::missing(message),
            Kind::Invalid | Kind::Verdict | Kind::StepFailed => Self::invalid(message),
            Kind::Conflict => Self { status: StatusCode::CONFLICT, code: "ABORTED", message },
            Kind::Denied => Self::denied(message),
            Kind::Unavailable | Kind::Interrupted => {
                Self { status: StatusCode::SERVICE_UNAVAILABLE, code: "TEMPORARILY_UNAVAILABLE", message }
            }
            Kind::Internal | Kind::Damaged => Self::internal(message),
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
