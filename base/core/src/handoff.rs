//! What one stage of the lifecycle hands to the next, in order. Read this page first.
//!
//! ```text
//! data ─ DatasetVersion ─▶ pipeline ─ StepInputs ─▶ (your code) ─ RunRecord ─▶ tracking
//!   ▲                                                                             │
//!   │                                                                      ModelCandidate
//! RetrainRequest                                                                  ▼
//!   │                                                                          registry
//! monitoring ◀─ Observation ─ serving ◀─ Deployment ─ (refs) ◀─ ModelVersion ─────┘
//! ```
//!
//! They are plain records: no stage imports another, each only reads and writes these.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::evaluation::{Evaluation, Task};
use crate::label::Label;
use crate::objective::Verdict;
use crate::run::{Code, Link, RunRow};
use crate::signature::{Column, Signature};
use crate::{Digest, RunId, Timestamp};

/// Data → pipeline: one immutable version of a dataset. Its identity is the digest of its content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetVersion {
    /// The dataset's name in the project.
    pub dataset: String,
    /// The content: of a file its bytes, of a folder its listing.
    pub digest: Digest,
    /// Whether the content is a folder.
    pub folder: bool,
    /// Bytes.
    pub size: u64,
    /// Files.
    pub files: u64,
    /// Rows, where it is a table.
    pub rows: Option<u64>,
    /// Columns, where it is a table.
    pub columns: Vec<Column>,
    /// Its profile, as a stored object.
    pub profile: Option<Digest>,
    /// Where it was read from, without credentials.
    pub source: String,
    /// The version before it.
    pub parent: Option<Digest>,
    /// When it was added, by the wall clock.
    pub added: Timestamp,
    /// What else is known of where it is from, and how its files are read.
    #[serde(default, skip_serializing_if = "Origin::is_empty")]
    pub origin: Origin,
}

/// Part of a dataset version: in what state its source was read, and how the bytes become rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// When the source was read, where that was over the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<Timestamp>,
    /// The source's own name for its state: an `ETag`, or a digest of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// When the source was last changed, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// By which query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The declared format, where the names of the files do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The declared ways of reading (`read:`), as they were written.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub read: Map<String, Value>,
}

impl Origin {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the same bytes become the same rows.
    pub fn reads_as(&self, other: &Self) -> bool {
        self.format == other.format && self.read == other.read
    }
}

/// Pipeline → a step's process: everything it gets, also as the JSON file named by `RONDO_STEP_FILE`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepInputs {
    /// The project's name.
    pub project: String,
    /// The step's name.
    pub step: String,
    /// The step's own run.
    pub run: RunId,
    /// The step's key.
    pub key: Digest,
    /// Parameters with their values.
    pub params: BTreeMap<String, Value>,
    /// Absolute paths of the inputs, by local name.
    pub inputs: BTreeMap<String, PathBuf>,
    /// How those inputs are read that are datasets with declared ways of reading (`read:`), by local name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub read: BTreeMap<String, Map<String, Value>>,
    /// Absolute paths at which the outputs have to appear.
    pub outputs: BTreeMap<String, PathBuf>,
    /// A declared JSON file of metrics that is read into the run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metrics: Option<PathBuf>,
}

/// Pipeline and user code → tracking: one run with all that was logged on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The row.
    #[serde(flatten)]
    pub row: RunRow,
    /// Parameters as text, as MLflow keeps them.
    pub params: BTreeMap<String, String>,
    /// The latest value of each metric.
    pub metrics: BTreeMap<String, f64>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// Tracking → registry: a model that a run made and that wants to become a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCandidate {
    /// The model's name in the project.
    pub model: String,
    /// The model's file.
    pub file: Link,
    /// The step run that made it.
    pub run: RunId,
    /// The pipeline run above it.
    pub pipeline_run: RunId,
    /// What it predicts.
    pub task: Task,
    /// The label's column.
    pub target: String,
    /// The label of the positive class, where it was declared.
    pub positive: Option<String>,
    /// Score at or above which the positive class is predicted.
    pub threshold: Option<f64>,
    /// What goes in and comes out.
    pub signature: Signature,
    /// How it scored on rows it was not trained on.
    pub evaluation: Evaluation,
    /// The champion on the same rows, where there is one.
    pub champion: Option<Evaluation>,
    /// The profile of the training data: the monitor's default reference.
    pub reference: Option<Digest>,
    /// The latest event time among the training rows; what comes after is unseen.
    pub trained_until: Option<Timestamp>,
}

/// Registry → serving: a registered version. Immutable; aliases are refs that point to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// The model's name.
    pub model: String,
    /// Counted from 1, never used again.
    pub version: u32,
    /// The model's file.
    pub file: Digest,
    /// The step run that made it.
    pub run: RunId,
    /// The pipeline run above it.
    pub pipeline_run: RunId,
    /// What it predicts.
    pub task: Task,
    /// The label's column.
    pub target: String,
    /// The label of the positive class, where it was declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positive: Option<String>,
    /// Score at or above which the positive class is predicted.
    pub threshold: Option<f64>,
    /// What goes in and comes out.
    pub signature: Signature,
    /// How it scored.
    pub evaluation: Evaluation,
    /// What each objective said at its gate.
    pub verdicts: Vec<Verdict>,
    /// Whether its gate passed, the champion of the day considered.
    pub gate_passed: bool,
    /// Why, in one sentence.
    pub gate_reason: String,
    /// The profile of its training data.
    pub reference: Option<Digest>,
    /// The latest event time among its training rows.
    pub trained_until: Option<Timestamp>,
    /// The code, environment and inputs of the run, copied so that the version stands by itself.
    pub lineage: Lineage,
    /// When it was registered, by the wall clock.
    pub created: Timestamp,
}

/// Where a model comes from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The code.
    pub code: Code,
    /// The environment's name and the digest of its lock.
    pub environment: Option<(String, Digest)>,
    /// Parameters of the run.
    pub params: BTreeMap<String, Value>,
    /// The dataset versions that the pipeline run read, with their names.
    pub datasets: Vec<Link>,
    /// The step's own inputs.
    pub inputs: Vec<Link>,
}

/// Registry → serving → monitoring: which version answers at an endpoint since when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// The deployment's name in the project.
    pub name: String,
    /// The model.
    pub model: String,
    /// The version that answers.
    pub version: u32,
    /// The model's file.
    pub file: Digest,
    /// The alias that it follows, such as `champion`.
    pub alias: Option<String>,
    /// Since when, by the wall clock.
    pub since: Timestamp,
}

/// Serving → monitoring: one answered prediction, and later its ground truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The id that the caller gave or was given; a second request with it is answered from the first.
    pub prediction_id: String,
    /// The endpoint.
    pub deployment: String,
    /// The model.
    pub model: String,
    /// The version that answered.
    pub version: u32,
    /// When it happened in the world.
    pub event_time: Timestamp,
    /// When it was answered, by the wall clock.
    pub received: Timestamp,
    /// The features as they were sent.
    pub inputs: Value,
    /// The score: of a binary task the probability of the positive class, of several classes that of the
    /// likeliest one.
    pub score: f64,
    /// The class that was answered, of a classifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Of a task of several classes the probability of each, in the model's order.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub probabilities: Map<String, Value>,
    /// How long the answer took, in milliseconds.
    pub latency_ms: f64,
}

/// Ground truth for a prediction. Acknowledged: on disk before it is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// The prediction it belongs to.
    pub prediction_id: String,
    /// The label.
    pub label: Label,
    /// When it became known in the world.
    pub event_time: Timestamp,
}

/// Where a retraining request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestState {
    /// Waiting for the worker.
    Open,
    /// Being worked on.
    Running,
    /// Done: the new version passes its gate and waits for its approval.
    Pending,
    /// Done: the new version serves.
    Promoted,
    /// Done: the champion stays.
    Kept,
    /// The pipeline failed.
    Failed,
}

/// Monitoring → pipeline: the loop closes. A request to make the model again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetrainRequest {
    /// A name that is the same for the same cause, so that a repeated alert makes no second request.
    pub id: String,
    /// The model.
    pub model: String,
    /// The alert, schedule or person behind it.
    pub cause: String,
    /// Event time up to which labelled data may be used (T).
    pub until: Timestamp,
    /// The steps to run.
    pub targets: Vec<String>,
    /// Parameters that differ from the project's.
    pub params: BTreeMap<String, Value>,
    /// Whether a passing challenger is promoted.
    pub promote: bool,
    /// Where it stands.
    pub state: RequestState,
    /// The pipeline run that served it.
    pub run: Option<RunId>,
    /// What came of it, in one sentence.
    pub outcome: Option<String>,
    /// When it was made, by the wall clock.
    pub created: Timestamp,
}
