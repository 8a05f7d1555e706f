//! Records as MLflow's clients read them: unset fields and empty lists are left out.

use std::sync::Arc;

use rondo_core::run::{RunRow, RunState};
use rondo_store::meta::experiments::Experiment;
use rondo_store::meta::metrics::{Context, Latest, Point};
use rondo_tracking::listing::ListedRun;
use rondo_tracking::logged_models::Logged;
use rondo_tracking::runs::Run;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// A number of a metric: NaN as text, infinities as the greatest finite numbers.
pub(super) struct Number(pub(super) f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_nan() {
            serializer.serialize_str("NaN")
        } else {
            serializer.serialize_f64(self.0.clamp(f64::MIN, f64::MAX))
        }
    }
}

#[derive(Serialize)]
pub(super) struct Pair {
    key: String,
    value: String,
}

/// A map as a list of keys and values.
pub(super) fn pairs(map: impl IntoIterator<Item = (String, String)>) -> Vec<Pair> {
    map.into_iter().map(|(key, value)| Pair { key, value }).collect()
}

const fn stage(deleted: bool) -> &'static str {
    if deleted { "deleted" } else { "active" }
}

#[derive(Serialize)]
pub(super) struct ExperimentShown {
    experiment_id: String,
    name: String,
    artifact_location: String,
    lifecycle_stage: &'static str,
    last_update_time: i64,
    creation_time: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Pair>,
}

impl From<Experiment> for ExperimentShown {
    fn from(experiment: Experiment) -> Self {
        Self {
            experiment_id: experiment.id.to_string(),
            name: experiment.name,
            artifact_location: experiment.artifact_location,
            lifecycle_stage: stage(experiment.deleted),
            last_update_time: experiment.updated.millis(),
            creation_time: experiment.created.millis(),
            tags: pairs(experiment.tags),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Info {
    run_id: String,
    run_uuid: String,
    run_name: String,
    pub(super) experiment_id: String,
    user_id: String,
    pub(super) status: &'static str,
    start_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end_time: Option<i64>,
    artifact_uri: String,
    lifecycle_stage: &'static str,
}

impl Info {
    pub(super) fn new(row: &RunRow, artifact_uri: String) -> Self {
        Self {
            run_id: row.id.hex(),
            run_uuid: row.id.hex(),
            run_name: row.name.clone(),
            experiment_id: row.experiment.to_string(),
            user_id: row.user.clone(),
            status: row.state.status(),
            start_time: row.started.millis(),
            end_time: row.ended.map(|ended| ended.millis()),
            artifact_uri,
            lifecycle_stage: stage(row.deleted),
        }
    }
}

impl Info {
    /// Of a run in a list.
    pub(super) fn listed(run: &ListedRun) -> Self {
        let ListedRun { run, artifact_uri } = run;
        Self {
            run_id: run.id.clone(),
            run_uuid: run.id.clone(),
            run_name: run.name.clone(),
            experiment_id: run.experiment.to_string(),
            user_id: run.user.clone(),
            status: RunState::from_status(&run.status).unwrap_or(RunState::Running).status(),
            start_time: run.started,
            end_time: run.ended,
            artifact_uri: artifact_uri.clone(),
            lifecycle_stage: stage(run.deleted),
        }
    }
}

#[derive(Serialize)]
pub(super) struct MetricShown {
    key: String,
    value: Number,
    timestamp: i64,
    step: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    dataset_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    dataset_digest: String,
}

impl MetricShown {
    pub(super) fn new(key: String, point: Point, run_id: Option<String>) -> Self {
        let Point { timestamp, step, value } = point;
        let value = Number(value);
        let (model_id, dataset_name, dataset_digest) = (None, String::new(), String::new());
        Self { key, value, timestamp, step, run_id, model_id, dataset_name, dataset_digest }
    }
}

impl From<Latest> for MetricShown {
    fn from(latest: Latest) -> Self {
        let shown = Self::new(latest.key, latest.point, None);
        let Some(context) = latest.context else { return shown };
        let Context { model, dataset_name, dataset_digest } = Arc::unwrap_or_clone(context);
        Self {
            model_id: Some(model).filter(|model| !model.is_empty()),
            dataset_name,
            dataset_digest,
            ..shown
        }
    }
}

#[derive(Serialize)]
struct Data {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<MetricShown>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    params: Vec<Pair>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Pair>,
}

#[derive(Serialize)]
struct Inputs {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dataset_inputs: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_inputs: Vec<Value>,
}

#[derive(Serialize)]
struct Outputs {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_outputs: Vec<Value>,
}

#[derive(Serialize)]
pub(super) struct RunShown {
    pub(super) info: Info,
    data: Data,
    inputs: Inputs,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<Outputs>,
}

impl RunShown {
    /// As it is answered to who made it: a run that begins has no outputs yet.
    pub(super) fn begun(run: Run) -> Self {
        Self { outputs: None, ..run.into() }
    }
}

impl From<Run> for RunShown {
    fn from(run: Run) -> Self {
        let mut facts = run.facts;
        let mut inputs = |kind: &str| facts.inputs.remove(kind).unwrap_or_default();
        let dataset_inputs = inputs("dataset")
            .into_iter()
            .map(|mut record| {
                // Kept beside for searches; not a field of the wire.
                record.as_object_mut().map(|fields| fields.remove("context"));
                record
            })
            .collect();
        let (model_inputs, model_outputs) = (inputs("model_input"), inputs("model_output"));
        let metrics = facts.metrics.into_iter().map(MetricShown::from);
        Self {
            info: Info::new(&run.row, run.artifact_uri),
            data: Data { metrics: metrics.collect(), params: pairs(facts.params), tags: pairs(facts.tags) },
            inputs: Inputs { dataset_inputs, model_inputs },
            outputs: Some(Outputs { model_outputs }),
        }
    }
}

#[derive(Serialize)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) is_dir: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_size: Option<u64>,
}

#[derive(Serialize)]
struct LoggedInfo {
    model_id: String,
    experiment_id: String,
    name: String,
    creation_timestamp_ms: i64,
    last_updated_timestamp_ms: i64,
    artifact_uri: String,
    status: String,
    model_type: String,
    source_run_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Pair>,
}

#[derive(Serialize)]
struct LoggedData {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    params: Vec<Pair>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<MetricShown>,
}

#[derive(Serialize)]
pub(super) struct LoggedShown {
    info: LoggedInfo,
    data: LoggedData,
}

impl From<Logged> for LoggedShown {
    fn from(model: Logged) -> Self {
        let Logged { row, artifact_uri, facts } = model;
        let metrics = facts.metrics.into_iter().map(|metric| MetricShown {
            model_id: Some(metric.model),
            dataset_name: metric.dataset_name,
            dataset_digest: metric.dataset_digest,
            ..MetricShown::new(metric.key, metric.point, Some(metric.run.hex()))
        });
        Self {
            data: LoggedData { params: pairs(facts.params), metrics: metrics.collect() },
            info: LoggedInfo {
                model_id: row.id,
                experiment_id: row.experiment.to_string(),
                name: row.name,
                creation_timestamp_ms: row.created.millis(),
                last_updated_timestamp_ms: row.updated.millis(),
                artifact_uri,
                status: format!("LOGGED_MODEL_{}", row.status),
                model_type: row.record.model_type,
                source_run_id: row.run.unwrap_or_default(),
                tags: pairs(facts.tags),
            },
        }
    }
}
