//! Evaluation: a model's scores beside the truth, overall, by slice and between groups.
//!
//! One specification serves the `evaluate` package in a pipeline, the gate and the monitor, so that the
//! same numbers are compared everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rondo_core::evaluation::{Evaluation, Task};
use rondo_core::label::Label;
use rondo_core::objective::Objective;
use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, PortError, RowsToScore, Scored, Scorer};
use rondo_core::{Objection, Timestamp, suggest};
use rondo_project::project::Model;
use rondo_store::Objects;
use rondo_table::columns;
use rondo_table::metrics::{
    Classified, Pooling, evaluate_binary, evaluate_multiclass, evaluate_regression, likeliest,
};
use rondo_table::read::{ReadOptions, Source};
use serde_json::Value;

use crate::error::Error;

/// Probability at or above which the positive class is predicted where no threshold is declared.
const THRESHOLD: f64 = 0.5;

/// Among how many of the likeliest classes the true one counts where nothing is declared, as scikit-learn
/// has it.
const TOP_K: usize = 2;

/// What is declared of a binary task only.
const OF_BINARY: [&str; 4] = ["positive", "threshold", "fairness", "min_positives"];

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
    /// The labels of the model's classes in its order, where it does not know them itself.
    pub classes: Vec<String>,
    /// Among how many of the likeliest classes the true one counts for the top-k accuracy.
    pub top_k: usize,
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
            classes: Vec::new(),
            top_k: TOP_K,
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
            Some("multiclass") => Task::Multiclass,
            Some("regression") => Task::Regression,
            Some(other) => {
                return Err(Error::With(format!("task `{other}` is not binary, multiclass or regression")));
            }
        };
        let refused = OF_BINARY.iter().find(|key| with.get(**key).is_some_and(|value| !value.is_null()));
        if let Some(key) = refused.filter(|_| task == Task::Multiclass) {
            return Err(Error::With(format!("`{key}` has no meaning for a task of several classes")));
        }
        Ok(Self {
            task,
            target: text("target").ok_or_else(|| Error::With("`target` is missing".to_owned()))?,
            positive: with.get("positive").cloned(),
            threshold: with.get("threshold").and_then(Value::as_f64).unwrap_or(THRESHOLD),
            slices,
            fairness,
            time: text("time"),
            classes: labels_of(with),
            top_k: with.get("top_k").and_then(Value::as_u64).map_or(TOP_K, |k| k as usize).max(1),
            pooling: Pooling { min_rows: count("min_rows"), min_positives: count("min_positives") },
        })
    }
}

/// The declared classes, numbers as they are written.
pub(crate) fn labels_of(with: &BTreeMap<String, Value>) -> Vec<String> {
    let label = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    with.get("classes").and_then(Value::as_array).into_iter().flatten().map(label).collect()
}

/// Evaluates what a model says of each row of a table, in its order. Rows without a label are left out.
///
/// # Errors
/// When the table cannot be read, lacks a column, or the scores are not one a row; of a task of several
/// classes when the probabilities are not one a class, or a label is none of the classes.
pub fn evaluate<'a>(rows: impl Into<Source<'a>>, scored: &Scored, spec: &Spec) -> Result<Evaluation, Error> {
    let rows: Source<'a> = rows.into();
    let (mut evaluation, labelled) = match spec.task {
        Task::Multiclass => of_classes(rows, scored, spec),
        task @ (Task::Binary | Task::Regression) if !task.fits(scored.classes.len()) => {
            let (word, classes) = (task.word(), &scored.classes);
            Err(Error::With(format!(
                "`task: {word}` is not what the model predicts: it has {} classes, {}",
                classes.len(),
                classes.join(", ")
            )))
        }
        Task::Binary | Task::Regression => of_scores(rows, &scored.scores, spec),
    }?;
    if let Some(time) = &spec.time {
        let times = columns::timestamps(rows, time)?;
        let known = || labelled.iter().filter_map(|row| times.get(*row).copied().flatten());
        evaluation.from = known().min().map(Timestamp);
        evaluation.until = known().max().map(Timestamp);
    }
    Ok(evaluation)
}

fn one_a_row(labels: usize, scores: usize, spec: &Spec) -> Result<(), Error> {
    if labels == scores {
        return Ok(());
    }
    let problem = format!("{labels} labels for {scores} scores");
    Err(Error::Column { column: spec.target.clone(), problem })
}

/// A column with its values, one a row.
type Column = (String, Vec<Option<String>>);

/// The columns to slice by, of the rows that are labelled.
fn sliced(rows: Source<'_>, spec: &Spec, labelled: &[usize]) -> Result<Vec<Column>, Error> {
    let column = |column: &String| {
        let values = columns::strings(rows, column)?;
        let taken = labelled.iter().map(|row| values.get(*row).cloned().flatten());
        Ok((column.clone(), taken.collect()))
    };
    spec.slices.iter().map(column).collect()
}

fn borrowed(sliced: &[Column]) -> Vec<(&str, &[Option<String>])> {
    sliced.iter().map(|(column, values)| (column.as_str(), values.as_slice())).collect()
}

/// The evaluation by one score a row, and the rows that are labelled.
fn of_scores(rows: Source<'_>, scores: &[f64], spec: &Spec) -> Result<(Evaluation, Vec<usize>), Error> {
    let labels = labels(rows, spec)?;
    one_a_row(labels.len(), scores.len(), spec)?;
    let labelled: Vec<usize> = (0..labels.len()).filter(|row| labels[*row].is_some()).collect();
    let sliced = sliced(rows, spec, &labelled)?;
    let slices = borrowed(&sliced);
    let scores: Vec<f64> = labelled.iter().map(|row| scores[*row]).collect();
    let labels: Vec<f64> = labelled.iter().filter_map(|row| labels[*row]).collect();
    let fairness: Vec<&str> = spec.fairness.iter().map(String::as_str).collect();
    let evaluation = if spec.task == Task::Regression {
        evaluate_regression(&scores, &labels, &slices, spec.pooling)?
    } else {
        evaluate_binary(&scores, &labels, spec.threshold, &slices, &fairness, spec.pooling)?
    };
    Ok((evaluation, labelled))
}

/// The evaluation by the probabilities of all classes, and the rows that are labelled.
fn of_classes(rows: Source<'_>, scored: &Scored, spec: &Spec) -> Result<(Evaluation, Vec<usize>), Error> {
    let labels = columns::strings(rows, &spec.target)?;
    one_a_row(labels.len(), scored.scores.len(), spec)?;
    let width = scored.classes.len();
    if width == 0 || scored.probabilities.len() != width.saturating_mul(labels.len()) {
        return Err(Error::With("the model gives no probability for each class: is it a regression?".into()));
    }
    let classes = if spec.classes.is_empty() { &scored.classes } else { &spec.classes };
    if classes.len() != width {
        return Err(Error::With(format!(
            "the model gives {width} probabilities a row, and `classes` names {}: {}",
            classes.len(),
            classes.join(", ")
        )));
    }
    let known: BTreeSet<&String> = classes.iter().collect();
    if known.len() != width {
        return Err(Error::With(format!("a class stands twice among {}", classes.join(", "))));
    }
    let (mut labelled, mut actual) = (Vec::new(), Vec::new());
    let (mut predicted, mut probabilities) = (Vec::new(), Vec::new());
    for (row, values) in scored.probabilities.chunks_exact(width).enumerate() {
        let Some(label) = labels.get(row).and_then(Option::as_deref) else { continue };
        labelled.push(row);
        actual.push(Label::from(label).place(classes).ok_or_else(|| Error::Column {
            column: spec.target.clone(),
            problem: format!("`{label}` is none of the model's {width} classes: {}", classes.join(", ")),
        })?);
        predicted.push(likeliest(values));
        probabilities.extend_from_slice(values);
    }
    let sliced = sliced(rows, spec, &labelled)?;
    let rows = Classified {
        labels: classes,
        predicted: &predicted,
        probabilities: Some(&probabilities),
        actual: &actual,
        top_k: spec.top_k,
    };
    Ok((evaluate_multiclass(rows, &borrowed(&sliced), spec.pooling)?, labelled))
}

fn labels(rows: Source<'_>, spec: &Spec) -> Result<Vec<Option<f64>>, Error> {
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
        let (model, local, path) = inputs(call)?;
        let digest = Objects::digest_path(model)?.digest;
        let options = ReadOptions::of_input(&call.step.read, local)?;
        let rows = Source { path, options: &options };
        let features = features(&call.with, rows, &spec.target)?;
        let asked = RowsToScore {
            path,
            read: call.step.read.get(local),
            columns: &features,
            classes: spec.task == Task::Multiclass,
        };
        let scored = self.scorer.score(digest, asked).await.map_err(Error::Score)?;
        let mut evaluation = evaluate(rows, &scored, &spec)?;
        evaluation.model = Some(digest);
        evaluation.data = Some(Objects::digest_path(path)?.digest);
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
///
/// # Errors
/// When the rows cannot be read, or lack a column that is named.
pub fn features(
    with: &BTreeMap<String, Value>,
    rows: Source<'_>,
    target: &str,
) -> Result<Vec<String>, Error> {
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

/// The model's file, and the table with its local name, among the inputs: the model is the one named
/// `model`, or with that ending; the table is the other.
fn inputs(call: &BuiltinCall) -> Result<(&Path, &str, &Path), Error> {
    let is_model =
        |name: &str, path: &Path| name == "model" || path.extension().is_some_and(|ending| ending == "onnx");
    let (models, tables): (Vec<_>, Vec<_>) =
        call.step.inputs.iter().partition(|(name, path)| is_model(name, path));
    match (models.as_slice(), tables.as_slice()) {
        ([(_, model)], [(local, table)]) => Ok((model, local, table)),
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
            "classes",
            "top_k",
            "min_rows",
            "min_positives",
        ]
    }

    fn code_files(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        Vec::new()
    }

    fn check(&self, _root: &Path, with: &BTreeMap<String, Value>) -> Vec<Objection> {
        Spec::of_with(with).err().map(|error| error.to_string().into()).into_iter().collect()
    }

    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError> {
        self.work(&call).await.map_err(|error| Box::new(error) as PortError)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(with: Value) -> Result<Spec, Error> {
        let Value::Object(with) = with else { panic!("a mapping") };
        Spec::of_with(&with.into_iter().collect())
    }

    fn rows(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn scored(classes: &[&str]) -> Scored {
        let probabilities = vec![0.8, 0.1, 0.1, 0.2, 0.7, 0.1, 0.3, 0.3, 0.4, 0.5, 0.4, 0.1];
        let classes = classes.iter().map(|class| (*class).to_owned()).collect();
        Scored { scores: vec![0.8, 0.7, 0.4, 0.5], classes, probabilities }
    }

    #[test]
    fn labels_of_several_classes_may_be_texts_or_whole_numbers_with_gaps() {
        let (_folder, path) = rows("kind,town\na,X\nb,X\nc,Y\n,Y\n");
        let with = json!({ "target": "kind", "task": "multiclass", "slices": ["town"] });
        let found = evaluate(&path, &scored(&["a", "b", "c"]), &spec(with).unwrap()).unwrap();
        assert_eq!((found.rows, found.value("accuracy"), found.value("f1_macro")), (3, Some(1.0), Some(1.0)));
        assert_eq!(found.slices.len(), 2);
        let (_folder, path) = rows("kind\n5\n6\n7\n6\n");
        let with = json!({ "target": "kind", "task": "multiclass" });
        let found = evaluate(&path, &scored(&["5", "6", "7"]), &spec(with).unwrap()).unwrap();
        assert_eq!(found.value("accuracy"), Some(0.75));
        assert_eq!(found.confusion.unwrap().counts, [[1, 0, 0], [1, 1, 0], [0, 0, 1]]);
        let (_folder, path) = rows("kind\n5.0\n6.0\n7.0\n6.0\n");
        let with = json!({ "target": "kind", "task": "multiclass", "classes": [5, 6, 7], "top_k": 1 });
        let found = evaluate(&path, &scored(&["0", "1", "2"]), &spec(with).unwrap()).unwrap();
        assert_eq!((found.value("accuracy"), found.value("top_k_accuracy")), (Some(0.75), Some(0.75)));
    }

    #[test]
    fn classes_that_do_not_fit_the_labels_or_the_probabilities_are_told() {
        let (_folder, path) = rows("kind\na\nb\nc\nd\n");
        let told = |with: Value, scored: &Scored| {
            evaluate(&path, scored, &spec(with).unwrap()).unwrap_err().to_string()
        };
        let plain = json!({ "target": "kind", "task": "multiclass" });
        assert_eq!(
            told(plain.clone(), &scored(&["a", "b", "c"])),
            "evaluate by column `kind`: `d` is none of the model's 3 classes: a, b, c"
        );
        let four = json!({ "target": "kind", "task": "multiclass", "classes": ["a", "b", "c", "d"] });
        assert_eq!(
            told(four, &scored(&["a", "b", "c"])),
            "evaluate: the model gives 3 probabilities a row, and `classes` names 4: a, b, c, d"
        );
        assert!(told(plain.clone(), &scored(&[])).contains("no probability for each class"));
        assert!(told(plain.clone(), &scored(&["a", "b", "b"])).contains("stands twice"));
        let more = Scored { scores: vec![0.5; 3], ..scored(&["a", "b", "c"]) };
        assert!(told(plain, &more).contains("4 labels for 3 scores"));
        for task in ["binary", "regression"] {
            assert_eq!(
                told(json!({ "target": "kind", "task": task }), &scored(&["a", "b", "c"])),
                format!("evaluate: `task: {task}` is not what the model predicts: it has 3 classes, a, b, c")
            );
        }
        let refused = spec(json!({ "target": "kind", "task": "multiclass", "threshold": 0.3 })).unwrap_err();
        assert_eq!(refused.to_string(), "evaluate: `threshold` has no meaning for a task of several classes");
    }

    #[test]
    fn a_binary_evaluation_has_no_word_of_several_classes() {
        let (_folder, path) = rows("late\n1\n0\n1\n");
        let scored = Scored { scores: vec![0.9, 0.2, 0.6], ..Scored::default() };
        let found = evaluate(&path, &scored, &spec(json!({ "target": "late" })).unwrap()).unwrap();
        let text = serde_json::to_string(&found).unwrap();
        assert!(!text.contains("confusion") && !text.contains("macro"), "{text}");
        assert_eq!((found.value("roc_auc"), found.positives), (Some(1.0), Some(2)));
    }

    #[test]
    fn rows_are_read_as_their_dataset_declares() {
        let (_folder, path) = rows("kind;size\n05;1,5\n06;2,5\n");
        let read = json!({ "decimal": ",", "types": { "kind": "string" } });
        let options = ReadOptions::default().with(read.as_object().unwrap()).unwrap();
        let scored = Scored {
            scores: vec![0.9, 0.9],
            classes: vec!["05".to_owned(), "06".to_owned()],
            probabilities: vec![0.9, 0.1, 0.1, 0.9],
        };
        let rows = Source { path: &path, options: &options };
        let with = json!({ "target": "kind", "task": "multiclass", "slices": ["size"] });
        let found = evaluate(rows, &scored, &spec(with).unwrap()).unwrap();
        assert_eq!((found.value("accuracy"), found.slices[0].value.as_str()), (Some(1.0), "1.5"));
    }
}
