//! Evaluation: a model's scores beside the truth, overall, by slice and between groups.
//!
//! One specification serves the `evaluate` package in a pipeline, the gate and the monitor, so that the
//! same numbers are compared everywhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rondo_core::Timestamp;
use rondo_core::evaluation::{Evaluation, Task};
use rondo_core::objective::Objective;
use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, PortError, Scorer};
use rondo_core::suggest;
use rondo_project::project::Model;
use rondo_store::Objects;
use rondo_table::columns;
use rondo_table::metrics::{Pooling, evaluate_binary, evaluate_regression};
use serde_json::Value;

use crate::error::Error;

/// Probability at or above which the positive class is predicted where no threshold is declared.
const THRESHOLD: f64 = 0.5;

/// What is measured, of which columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// What the model predicts.
    pub task: Task,
    /// The label's column.
    pub target: String,
    /// The label's value that counts as positive; absent: 1.
    pub positive: Option<Value>,
    /// Score at or above which the positive class is predicted.
    pub threshold: f64,
    /// The columns to slice by.
    pub slices: Vec<String>,
    /// Those of them whose groups are compared.
    pub fairness: Vec<String>,
    /// The column of the event time.
    pub time: Option<String>,
    /// Which slices are too small to stand alone.
    pub pooling: Pooling,
}

impl Spec {
    /// What a declared model and the objectives ask for.
    pub fn of_model(model: &Model, objectives: &[Objective]) -> Self {
        let mut slices = model.slices.clone();
        let mut fairness: Vec<String> = Vec::new();
        for objective in objectives {
            for column in objective.slice.iter().chain(&objective.by) {
                if !slices.contains(column) {
                    slices.push(column.clone());
                }
            }
            if let Some(by) = objective.by.as_ref().filter(|by| !fairness.contains(by)) {
                fairness.push(by.clone());
            }
        }
        let sliced = || objectives.iter().filter(|o| o.slice.is_some() || o.by.is_some());
        let pooling = Pooling {
            min_rows: sliced().map(|objective| objective.min_rows).max().unwrap_or(0),
            min_positives: sliced().map(|objective| objective.min_positives).max().unwrap_or(0),
        };
        Self {
            task: model.task,
            target: model.target.clone(),
            positive: model.positive.clone(),
            threshold: model.threshold.unwrap_or(THRESHOLD),
            slices,
            fairness,
            time: model.time.clone(),
            pooling,
        }
    }

    fn of_with(with: &BTreeMap<String, Value>) -> Result<Self, Error> {
        let text = |key: &str| with.get(key).and_then(Value::as_str).map(str::to_owned);
        let texts = |key: &str| -> Vec<String> {
            let items = with.get(key).and_then(Value::as_array);
            items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let count = |key: &str| with.get(key).and_then(Value::as_u64).unwrap_or(0);
        let fairness = texts("fairness");
        let mut slices = texts("slices");
        slices.extend(fairness.iter().filter(|column| !slices.contains(column)).cloned().collect::<Vec<_>>());
        let task = match text("task").as_deref() {
            None | Some("binary") => Task::Binary,
            Some("regression") => Task::Regression,
            Some(other) => return Err(Error::With(format!("task `{other}` is not binary or regression"))),
        };
        Ok(Self {
            task,
            target: text("target").ok_or_else(|| Error::With("`target` is missing".to_owned()))?,
            positive: with.get("positive").cloned(),
            threshold: with.get("threshold").and_then(Value::as_f64).unwrap_or(THRESHOLD),
            slices,
            fairness,
            time: text("time"),
            pooling: Pooling { min_rows: count("min_rows"), min_positives: count("min_positives") },
        })
    }
}

/// Evaluates scores, one for each row of a table, in its order. Rows without a label are left out.
///
/// # Errors
/// When the table cannot be read, lacks a column, or the scores are not one a row.
pub fn evaluate(rows: &Path, scores: &[f64], spec: &Spec) -> Result<Evaluation, Error> {
    let labels = labels(rows, spec)?;
    if labels.len() != scores.len() {
        let problem = format!("{} labels for {} scores", labels.len(), scores.len());
        return Err(Error::Column { column: spec.target.clone(), problem });
    }
    let labelled: Vec<usize> = (0..labels.len()).filter(|row| labels[*row].is_some()).collect();
    let take = |values: &[Option<String>]| -> Vec<Option<String>> {
        labelled.iter().map(|row| values[*row].clone()).collect()
    };
    let mut sliced: Vec<(&str, Vec<Option<String>>)> = Vec::new();
    for column in &spec.slices {
        sliced.push((column, take(&columns::strings(rows, column)?)));
    }
    let slices: Vec<(&str, &[Option<String>])> =
        sliced.iter().map(|(column, values)| (*column, values.as_slice())).collect();
    let scores: Vec<f64> = labelled.iter().map(|row| scores[*row]).collect();
    let labels: Vec<f64> = labelled.iter().filter_map(|row| labels[*row]).collect();
    let fairness: Vec<&str> = spec.fairness.iter().map(String::as_str).collect();
    let mut evaluation = match spec.task {
        Task::Binary => evaluate_binary(&scores, &labels, spec.threshold, &slices, &fairness, spec.pooling)?,
        Task::Regression => evaluate_regression(&scores, &labels, &slices, spec.pooling)?,
        Task::Multiclass => {
            return Err(Error::With("models of several classes are not evaluated yet".to_owned()));
        }
    };
    if let Some(time) = &spec.time {
        let times = columns::timestamps(rows, time)?;
        let known = || labelled.iter().filter_map(|row| times.get(*row).copied().flatten());
        evaluation.from = known().min().map(Timestamp);
        evaluation.until = known().max().map(Timestamp);
    }
    Ok(evaluation)
}

fn labels(rows: &Path, spec: &Spec) -> Result<Vec<Option<f64>>, Error> {
    match &spec.positive {
        Some(Value::String(positive)) => {
            let values = columns::strings(rows, &spec.target)?;
            Ok(values.into_iter().map(|value| value.map(|v| f64::from(u8::from(v == *positive)))).collect())
        }
        Some(positive) if spec.task == Task::Binary => {
            let positive = positive.as_f64().or_else(|| positive.as_bool().map(f64::from)).unwrap_or(1.0);
            let values = columns::f64s(rows, &spec.target)?;
            #[expect(clippy::float_cmp, reason = "class labels are exact")]
            let label = |value: f64| f64::from(u8::from(value == positive));
            Ok(values.into_iter().map(|value| value.map(label)).collect())
        }
        Some(_) | None => Ok(columns::f64s(rows, &spec.target)?),
    }
}

/// The built-in package `evaluate`: a model and labelled rows in, metrics and an evaluation out.
pub struct EvaluatePackage {
    scorer: Arc<dyn Scorer>,
}

impl EvaluatePackage {
    /// With whatever scores.
    pub fn new(scorer: Arc<dyn Scorer>) -> Self {
        Self { scorer }
    }

    async fn work(&self, call: &BuiltinCall) -> Result<BuiltinResult, Error> {
        let spec = Spec::of_with(&call.with)?;
        let (model, rows) = inputs(call)?;
        let digest = Objects::digest_path(&model)?.digest;
        let features = features(&call.with, &rows, &spec.target)?;
        let scores = self.scorer.score(digest, &rows, &features).await.map_err(Error::Score)?;
        let mut evaluation = evaluate(&rows, &scores, &spec)?;
        evaluation.model = Some(digest);
        evaluation.data = Some(Objects::digest_path(&rows)?.digest);
        let text =
            serde_json::to_string_pretty(&evaluation).map_err(|error| Error::With(error.to_string()))?;
        for path in call.step.outputs.values() {
            std::fs::write(path, format!("{text}\n")).map_err(|source| Error::Io {
                action: "write",
                path: path.clone(),
                source,
            })?;
        }
        Ok(BuiltinResult { metrics: metrics(&evaluation), artifacts: BTreeMap::new() })
    }
}

/// The columns that a model takes which does not name them: those that are named, else all but the target.
fn features(with: &BTreeMap<String, Value>, rows: &Path, target: &str) -> Result<Vec<String>, Error> {
    let known: Vec<String> = columns::describe(rows)?.into_iter().map(|column| column.name).collect();
    let named = with.get("features").and_then(Value::as_array);
    let named: Vec<&str> = named.into_iter().flatten().filter_map(Value::as_str).collect();
    if named.is_empty() {
        return Ok(known.into_iter().filter(|name| name != target).collect());
    }
    if let Some(name) = named.iter().find(|name| !known.iter().any(|known| known == *name)) {
        let near = suggest::nearest(name, known.iter().map(String::as_str));
        let near = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        return Err(Error::With(format!("the rows have no column `{name}`{near}")));
    }
    Ok(named.into_iter().map(str::to_owned).collect())
}

/// The model's file and the table among the inputs: the model is the one named `model`, or with that
/// ending; the table is the other.
fn inputs(call: &BuiltinCall) -> Result<(PathBuf, PathBuf), Error> {
    let is_model =
        |name: &str, path: &Path| name == "model" || path.extension().is_some_and(|ending| ending == "onnx");
    let (models, tables): (Vec<_>, Vec<_>) =
        call.step.inputs.iter().partition(|(name, path)| is_model(name, path));
    match (models.as_slice(), tables.as_slice()) {
        ([(_, model)], [(_, table)]) => Ok(((*model).clone(), (*table).clone())),
        _ => Err(Error::With(format!(
            "needs two inputs, a model (named `model`) and a table; it has {}",
            call.step.inputs.keys().cloned().collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// The metrics that go on the run: overall, and by slice as `roc_auc.carrier.UA`.
fn metrics(evaluation: &Evaluation) -> BTreeMap<String, f64> {
    let mut metrics: BTreeMap<String, f64> = BTreeMap::new();
    metrics.insert("rows".to_owned(), evaluation.rows as f64);
    for metric in &evaluation.metrics {
        if let Some(value) = metric.value {
            metrics.insert(metric.name.replace(':', "."), value);
        }
    }
    for slice in &evaluation.slices {
        for metric in &slice.metrics {
            if let Some(value) = metric.value {
                metrics.insert(format!("{}.{}.{}", metric.name, slice.column, slice.value), value);
            }
        }
    }
    metrics
}

#[async_trait]
impl Builtin for EvaluatePackage {
    fn name(&self) -> &'static str {
        "evaluate"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &[
            "target",
            "task",
            "features",
            "positive",
            "threshold",
            "slices",
            "fairness",
            "time",
            "min_rows",
            "min_positives",
        ]
    }

    fn code_files(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        Vec::new()
    }

    fn check(&self, _root: &Path, with: &BTreeMap<String, Value>) -> Vec<String> {
        Spec::of_with(with).err().map(|error| error.to_string()).into_iter().collect()
    }

    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError> {
        self.work(&call).await.map_err(|error| Box::new(error) as PortError)
    }
}
