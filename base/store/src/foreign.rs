//! What other programs keep, as plain records: what an import reads, whatever it reads it from.
//!
//! Everything here is as the other store says it, ids as text, times as milliseconds since the epoch. Nothing
//! is checked against this store and nothing is written anywhere; who brings the records in decides what
//! becomes of them. [`mlflow_db`] reads them from a database; other forms are read above this crate.

pub mod mlflow_db;

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use crate::meta::metrics::Point;

pub use mlflow_db::MlflowDb;

/// Keys and values.
pub type Pairs = Vec<(String, String)>;

/// An experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Experiment {
    /// Its id there.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where its runs' artifacts go.
    pub artifact_location: String,
    /// Whether it is deleted.
    pub deleted: bool,
    /// When it was made.
    pub created: i64,
    /// When it was last changed.
    pub updated: i64,
    /// Tags.
    pub tags: Pairs,
}

/// A run without its metrics' series.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// Its experiment's id there.
    pub experiment: String,
    /// Its name.
    pub name: String,
    /// Who ran it.
    pub user: String,
    /// MLflow's status word.
    pub status: String,
    /// When it began.
    pub started: i64,
    /// When it ended.
    pub ended: Option<i64>,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Where its artifacts are.
    pub artifact_uri: String,
    /// A folder beside its record in which its artifacts may be.
    #[serde(skip)]
    pub folder: Option<PathBuf>,
    /// Parameters.
    pub params: Pairs,
    /// Tags.
    pub tags: Pairs,
    /// Datasets and models that went in or came out.
    pub inputs: Vec<RunInput>,
    /// The names of its metrics.
    pub metrics: Vec<String>,
    /// How many points its series have.
    pub points: u64,
}

/// Something that went into a run or came out of it, in the form in which the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunInput {
    /// `dataset`, `model_input` or `model_output`.
    pub kind: &'static str,
    /// Unique in the run and kind.
    pub key: String,
    /// The record.
    pub record: Value,
}

impl RunInput {
    /// A dataset with its fields (`name`, `digest`, `source_type`, `source`, `schema`, `profile`) and tags.
    pub fn dataset(fields: Vec<(&str, Option<String>)>, tags: &[(String, String)]) -> Self {
        let of = |name: &str| {
            let field = fields.iter().find(|(field, _)| *field == name);
            field.and_then(|(_, value)| value.clone()).unwrap_or_default()
        };
        let key = format!("{}/{}", of("digest"), of("name"));
        let context =
            tags.iter().find(|(key, _)| key == "mlflow.data.context").map(|(_, value)| value.clone());
        let set =
            fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?))));
        let mut record = serde_json::Map::from_iter([("dataset".to_owned(), Value::Object(set.collect()))]);
        if !tags.is_empty() {
            let tags = tags.iter().map(|(key, value)| serde_json::json!({ "key": key, "value": value }));
            record.insert("tags".to_owned(), Value::Array(tags.collect()));
        }
        if let Some(context) = context {
            record.insert("context".to_owned(), Value::String(context));
        }
        Self { kind: "dataset", key, record: Value::Object(record) }
    }

    /// A logged model that went in.
    pub fn model_input(model: &str) -> Self {
        let record = serde_json::json!({ "model_id": model });
        Self { kind: "model_input", key: model.to_owned(), record }
    }

    /// A logged model that came out.
    pub fn model_output(model: &str, step: i64) -> Self {
        let record = serde_json::json!({ "model_id": model, "step": step });
        Self { kind: "model_output", key: model.to_owned(), record }
    }
}

/// The series of one metric, in the order of arrival.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The metric.
    pub key: String,
    /// Its points.
    pub points: Vec<Point>,
}

/// A logged model.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LoggedModel {
    /// Its id.
    pub id: String,
    /// Its experiment's id there.
    pub experiment: String,
    /// The run that logged it.
    pub run: Option<String>,
    /// Its name.
    pub name: String,
    /// `PENDING`, `READY` or `UPLOAD_FAILED`.
    pub status: String,
    /// Its type.
    pub model_type: String,
    /// When it was made.
    pub created: i64,
    /// When it was last changed.
    pub updated: i64,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Where its files are.
    pub artifact_uri: String,
    /// A folder beside its record in which its files may be.
    #[serde(skip)]
    pub folder: Option<PathBuf>,
    /// Parameters.
    pub params: Pairs,
    /// Tags.
    pub tags: Pairs,
    /// Metrics.
    pub metrics: Vec<ModelMetric>,
}

/// A point of a metric of a logged model.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ModelMetric {
    /// The run in whose series it is.
    pub run: String,
    /// The metric.
    pub key: String,
    /// The dataset's name; empty for none.
    pub dataset_name: String,
    /// The dataset's digest; empty for none.
    pub dataset_digest: String,
    /// Client's clock.
    pub timestamp: i64,
    /// The client's count.
    pub step: i64,
    /// The value; NaN is `None`, which JSON can say.
    pub value: Option<f64>,
}

/// A registered model with its versions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: i64,
    /// When it was last changed.
    pub updated: i64,
    /// What people say of it.
    pub description: String,
    /// Tags.
    pub tags: Pairs,
    /// Aliases with the numbers that they point to.
    pub aliases: Vec<(String, i64)>,
    /// Its versions that are not deleted.
    pub versions: Vec<Version>,
    /// The greatest number ever given, deleted ones included.
    pub last: i64,
}

/// A version of a registered model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Version {
    /// Its number.
    pub number: i64,
    /// When it was made.
    pub created: i64,
    /// When it was last changed.
    pub updated: i64,
    /// What people say of it.
    pub description: String,
    /// Who made it.
    pub user: Option<String>,
    /// MLflow's stage.
    pub stage: String,
    /// Where its files are, as the client said.
    pub source: String,
    /// Where they are, as the server resolved it.
    pub storage: Option<String>,
    /// The run that made it.
    pub run: Option<String>,
    /// A link to the run.
    pub run_link: Option<String>,
    /// The logged model that it is.
    pub model_id: Option<String>,
    /// Tags.
    pub tags: Pairs,
}

/// A trace.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Trace {
    /// Its id.
    pub id: String,
    /// Its experiment's id there.
    pub experiment: String,
    /// When it began.
    pub started: i64,
    /// How many milliseconds it took.
    pub duration: Option<i64>,
    /// MLflow's word for its state.
    pub state: String,
    /// The caller's own id.
    pub client_request: Option<String>,
    /// The beginning of what was asked.
    pub request_preview: Option<String>,
    /// The beginning of what was answered.
    pub response_preview: Option<String>,
    /// Tags.
    pub tags: Pairs,
    /// Metadata.
    pub metadata: Pairs,
    /// Its spans, each as the JSON that MLflow writes.
    pub spans: Vec<String>,
    /// What is said of it.
    pub assessments: Vec<Assessment>,
    /// Runs that it is linked to.
    pub runs: Vec<String>,
    /// Names and versions of prompts that it is linked to.
    pub prompts: Pairs,
}

/// What is said of a trace; values and metadata are JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Assessment {
    /// Its id.
    pub id: String,
    /// `feedback`, `expectation` or `issue`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What went wrong where there is no value.
    pub error: Option<String>,
    /// When it was made.
    pub created: i64,
    /// When it was last changed.
    pub updated: i64,
    /// What kind of judge.
    pub source_type: String,
    /// Who.
    pub source: Option<String>,
    /// The span that it is of.
    pub span: Option<String>,
    /// Why.
    pub rationale: Option<String>,
    /// The one that it overrides.
    pub overrides: Option<String>,
    /// Whether it counts.
    pub valid: bool,
    /// More.
    pub metadata: Option<String>,
}

/// A webhook.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What people say of it.
    pub description: String,
    /// Where it is told.
    pub url: String,
    /// Whether it is told anything.
    pub active: bool,
    /// Whether it has a secret, which cannot be read.
    pub sealed: bool,
    /// When it was made.
    pub created: i64,
    /// When it was last changed.
    pub updated: i64,
    /// What it is told of, such as `model_version.created`.
    pub events: Vec<String>,
}

/// How much there is, told without reading all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outline {
    /// Runs.
    pub runs: u64,
    /// Traces.
    pub traces: u64,
}

/// The stage of a version that was deleted.
pub const DELETED_STAGE: &str = "Deleted_Internal";

/// The word for a logged model's status, which MLflow stores as a number.
pub const fn model_status(number: i64) -> &'static str {
    match number {
        2 => "READY",
        3 => "UPLOAD_FAILED",
        _ => "PENDING",
    }
}
