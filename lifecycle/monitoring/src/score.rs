//! Performance: predictions with their ground truth, measured as the model's task asks, by the functions that
//! `evaluate` measures with.

use std::collections::HashMap;

use rondo_core::evaluation::{Evaluation, Task};
use rondo_core::handoff::Observation;
use rondo_core::label::Label;
use rondo_core::objective::Objective;
use rondo_table::metrics::{Classified, Pooling, evaluate_binary, evaluate_multiclass, evaluate_regression};
use serde_json::Value;

use crate::assess::Row;
use crate::error::Error;

/// How rows with ground truth are scored: what the model declares.
#[derive(Debug, Clone, PartialEq)]
pub struct Scoring {
    /// The model.
    pub model: String,
    /// What it predicts.
    pub task: Task,
    /// Score at or above which the positive class is predicted.
    pub threshold: f64,
    /// The columns to slice by.
    pub slices: Vec<String>,
    /// Those of them whose groups are compared.
    pub fairness: Vec<String>,
    /// Among how many of the likeliest classes the true one counts for the top-k accuracy.
    pub top_k: usize,
    /// Which slices are too small to stand alone.
    pub pooling: Pooling,
    /// The objectives that are judged, each with its number: its place on the canvas.
    pub objectives: Vec<(usize, Objective)>,
}

impl Scoring {
    /// The fault of a prediction, or its truth, that is none of this task.
    fn mismatch(&self, observation: &Observation, problem: String) -> Error {
        Error::Task {
            model: self.model.clone(),
            task: self.task,
            prediction: observation.prediction_id.chars().take(60).collect(),
            version: observation.version,
            problem,
        }
    }
}

/// A prediction whose truth is known.
type Labelled<'a> = (&'a Observation, &'a Label);
/// The columns to slice by, with a value for each row.
type Slices<'a> = [(&'a str, &'a [Option<String>])];

/// Scores the rows with ground truth.
///
/// # Errors
/// When an answer or its truth is none of the task ([`Error::Task`]).
pub fn score(scoring: &Scoring, rows: &[Row]) -> Result<Evaluation, Error> {
    let labelled: Vec<Labelled<'_>> =
        rows.iter().filter_map(|row| Some((&row.observation, row.label.as_ref()?))).collect();
    let sliced: Vec<(&str, Vec<Option<String>>)> = scoring
        .slices
        .iter()
        .map(|column| {
            let values = labelled.iter().map(|(observation, _)| text(observation.inputs.get(column)));
            (column.as_str(), values.collect())
        })
        .collect();
    let slices: Vec<(&str, &[Option<String>])> =
        sliced.iter().map(|(column, values)| (*column, values.as_slice())).collect();
    match scoring.task {
        Task::Binary => of_two_classes(scoring, &labelled, &slices),
        Task::Multiclass => of_several_classes(scoring, &labelled, &slices),
        Task::Regression => of_numbers(scoring, &labelled, &slices),
    }
}

fn scores(labelled: &[Labelled<'_>]) -> Vec<f64> {
    labelled.iter().map(|(observation, _)| observation.score).collect()
}

fn of_two_classes(
    scoring: &Scoring,
    labelled: &[Labelled<'_>],
    slices: &Slices<'_>,
) -> Result<Evaluation, Error> {
    let label = |(observation, label): &Labelled<'_>| {
        if observation.probabilities.len() > 2 {
            let problem = format!("is one of {} classes", observation.probabilities.len());
            return Err(scoring.mismatch(observation, problem));
        }
        label.number().filter(|number| [0.0, 1.0].contains(number)).ok_or_else(|| {
            scoring.mismatch(observation, format!("has the ground truth `{label}`, which is neither 0 nor 1"))
        })
    };
    let labels = labelled.iter().map(label).collect::<Result<Vec<f64>, Error>>()?;
    let fairness: Vec<&str> = scoring.fairness.iter().map(String::as_str).collect();
    let scores = scores(labelled);
    Ok(evaluate_binary(&scores, &labels, scoring.threshold, slices, &fairness, scoring.pooling)?)
}

fn of_numbers(
    scoring: &Scoring,
    labelled: &[Labelled<'_>],
    slices: &Slices<'_>,
) -> Result<Evaluation, Error> {
    let target = |(observation, label): &Labelled<'_>| {
        if let Some(class) = &observation.label {
            return Err(scoring.mismatch(observation, format!("is the class `{class}`")));
        }
        label.number().ok_or_else(|| {
            scoring.mismatch(observation, format!("has the ground truth `{label}`, which is no number"))
        })
    };
    let targets = labelled.iter().map(target).collect::<Result<Vec<f64>, Error>>()?;
    Ok(evaluate_regression(&scores(labelled), &targets, slices, scoring.pooling)?)
}

/// A class that is true and that no version knew is one of the classes: it is never predicted.
fn of_several_classes(
    scoring: &Scoring,
    labelled: &[Labelled<'_>],
    slices: &Slices<'_>,
) -> Result<Evaluation, Error> {
    let mut classes = Classes::default();
    for class in labelled.iter().flat_map(|(observation, _)| observation.probabilities.keys()) {
        classes.place(class);
    }
    let mut predicted = Vec::with_capacity(labelled.len());
    for (observation, _) in labelled {
        let class = observation.label.as_ref();
        let class =
            class.ok_or_else(|| scoring.mismatch(observation, "is a number and no class".to_owned()))?;
        predicted.push(classes.place(class));
    }
    let actual: Vec<usize> = labelled.iter().map(|(_, label)| classes.of(label)).collect();
    let all_known = labelled.iter().all(|(observation, _)| !observation.probabilities.is_empty());
    let probabilities: Vec<f64> = labelled
        .iter()
        .filter(|_| all_known)
        .flat_map(|(observation, _)| classes.labels.iter().map(|class| probability(observation, class)))
        .collect();
    let rows = Classified {
        labels: &classes.labels,
        predicted: &predicted,
        probabilities: all_known.then_some(&probabilities),
        actual: &actual,
        top_k: scoring.top_k,
    };
    Ok(evaluate_multiclass(rows, slices, scoring.pooling)?)
}

/// The probability of a class; 0 of one that the version does not know.
fn probability(observation: &Observation, class: &str) -> f64 {
    observation.probabilities.get(class).and_then(Value::as_f64).unwrap_or(0.0)
}

/// The classes of a window, in the order of the first version that names them.
#[derive(Default)]
struct Classes {
    labels: Vec<String>,
    places: HashMap<String, usize>,
}

impl Classes {
    /// The place of a class, which is a new one where it is not known.
    fn place(&mut self, class: &str) -> usize {
        if let Some(place) = self.places.get(class) {
            return *place;
        }
        let place = self.labels.len();
        self.labels.push(class.to_owned());
        self.places.insert(class.to_owned(), place);
        place
    }

    /// The place of a true class.
    fn of(&mut self, label: &Label) -> usize {
        label.place(&self.labels).unwrap_or_else(|| self.place(&label.to_string()))
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    //! The constants were computed with scikit-learn 1.9.1 and numpy 2.4.6, from the rows of [`rows`]:
    //!
    //! ```text
    //! i = numpy.arange(300); labels = ["ant", "bee", "cat", "dog"]; y = (i*i*7 + i*3) % 11 % 4
    //! raw = numpy.stack([(i*(7919+97*j) + 13*j) % 1000 + 1 + numpy.where(y == j, 600, 0) for j in range(4)], 1)
    //! p = raw / raw.sum(1, keepdims=True); true = numpy.array(labels)[y]
    //! said = numpy.array(labels)[p.argmax(1)]
    //! precision_score(true, said, average="macro"), log_loss(true, p, labels=labels),
    //! roc_auc_score(true, p, multi_class="ovr", labels=labels), …
    //! ```

    use rondo_core::{Explain, Timestamp};
    use serde_json::{Map, json};

    use super::*;

    const LABELS: [&str; 4] = ["ant", "bee", "cat", "dog"];

    fn scoring(task: Task) -> Scoring {
        Scoring {
            model: "kind".into(),
            task,
            threshold: 0.5,
            slices: vec!["third".into()],
            fairness: Vec::new(),
            top_k: 2,
            pooling: Pooling::default(),
            objectives: Vec::new(),
        }
    }

    fn row(id: u64, said: (f64, Option<&str>, Map<String, Value>), label: Option<Label>) -> Row {
        let (score, class, probabilities) = said;
        let observation = Observation {
            prediction_id: id.to_string(),
            deployment: "kind".into(),
            model: "kind".into(),
            version: 3,
            event_time: Timestamp(id as i64),
            received: Timestamp(0),
            inputs: json!({ "third": id % 3 }),
            score,
            label: class.map(str::to_owned),
            probabilities,
            latency_ms: 1.0,
        };
        Row { observation, label }
    }

    /// Rows of four classes; every fifth has no truth beside those of scikit-learn.
    fn rows() -> Vec<Row> {
        let mut rows = Vec::new();
        for i in 0..300_u64 {
            let y = (i * i * 7 + i * 3) % 11 % 4;
            let raw: Vec<f64> = (0..4_u64)
                .map(|j| (i * (7919 + 97 * j) + 13 * j) % 1000 + 1 + if y == j { 600 } else { 0 })
                .map(|value| value as f64)
                .collect();
            let sum: f64 = raw.iter().sum();
            let shares = raw.iter().map(|value| value / sum);
            let best = (0..4).fold(0, |best, j| if raw[j] > raw[best] { j } else { best });
            let all: Map<String, Value> =
                LABELS.iter().zip(shares).map(|(class, share)| ((*class).to_owned(), share.into())).collect();
            let said = (raw[best] / sum, Some(LABELS[best]), all);
            if i % 5 == 0 {
                rows.push(row(1000 + i, said.clone(), None));
            }
            rows.push(row(i, said, Some(LABELS[y as usize].into())));
        }
        rows
    }

    const OF_CLASSES: [(&str, f64); 8] = [
        ("accuracy", 0.816_666_666_666_666_7),
        ("balanced_accuracy", 0.817_569_443_973_561_2),
        ("precision_macro", 0.803_086_048_281_109_5),
        ("precision_weighted", 0.822_242_567_614_304_6),
        ("recall_macro", 0.817_569_443_973_561_2),
        ("recall_weighted", 0.816_666_666_666_666_7),
        ("f1_macro", 0.808_805_653_564_195_3),
        ("f1_weighted", 0.818_037_879_556_462_3),
    ];
    const OF_PROBABILITIES: [(&str, f64); 2] =
        [("log_loss", 0.874_329_787_161_549), ("roc_auc_ovr", 0.951_863_077_106_909_4)];

    fn check(evaluation: &Evaluation, expected: &[(&str, f64)]) {
        for (name, value) in expected {
            let found = evaluation.value(name).unwrap();
            assert!((found - value).abs() < 1e-12, "{name}: {found} is not {value}");
        }
    }

    #[test]
    fn several_classes_are_scored_as_scikit_learn_does() {
        let found = score(&scoring(Task::Multiclass), &rows()).unwrap();
        check(&found, &OF_CLASSES);
        check(&found, &OF_PROBABILITIES);
        assert_eq!((found.rows, found.positives, found.slices.len()), (300, None, 3));
        let matrix = found.confusion.unwrap();
        assert_eq!(matrix.labels, LABELS);
        assert_eq!(matrix.counts, [[68, 5, 4, 5], [4, 43, 5, 3], [5, 10, 88, 6], [2, 3, 3, 46]]);
        assert!((found.slices[0].metrics[0].value.unwrap() - 0.85).abs() < 1e-12);
    }

    #[test]
    fn the_order_in_which_versions_name_their_classes_changes_nothing() {
        let mut turned = rows();
        for row in turned.iter_mut().skip(1).step_by(2) {
            let all = std::mem::take(&mut row.observation.probabilities);
            row.observation.probabilities = all.into_iter().rev().collect();
        }
        let found = score(&scoring(Task::Multiclass), &turned).unwrap();
        check(&found, &OF_CLASSES);
        check(&found, &OF_PROBABILITIES);
    }

    #[test]
    fn without_the_probabilities_of_all_rows_the_classes_are_scored_alone() {
        let mut rows = rows();
        rows[7].observation.probabilities.clear();
        let found = score(&scoring(Task::Multiclass), &rows).unwrap();
        check(&found, &OF_CLASSES);
        for (name, _) in OF_PROBABILITIES {
            let metric = found.metric(name).unwrap();
            assert!(metric.value.is_none() && metric.note.as_ref().unwrap().contains("not known"));
        }
    }

    #[test]
    fn a_class_may_be_a_number_and_a_true_one_that_no_version_knows_is_a_miss() {
        let said = |class: &'static str| {
            let all = Map::from_iter([("1".into(), 0.4.into()), ("2".into(), 0.6.into())]);
            (0.6, Some(class), all)
        };
        let rows = [
            row(1, said("2"), Some(2.0.into())),
            row(2, said("2"), Some("2.0".into())),
            row(3, said("2"), Some(1.0.into())),
            row(4, said("2"), Some(9.0.into())),
        ];
        let found = score(&scoring(Task::Multiclass), &rows).unwrap();
        assert_eq!(found.value("accuracy"), Some(0.5));
        let matrix = found.confusion.unwrap();
        assert_eq!(matrix.labels, ["1", "2", "9"]);
        assert_eq!(matrix.counts, [[0, 1, 0], [0, 2, 0], [0, 1, 0]]);
    }

    #[test]
    fn each_task_has_its_own_metrics() {
        let plain = |score: f64, class| (score, class, Map::new());
        let binary = [
            row(1, plain(0.9, Some("1")), Some(1.0.into())),
            row(2, plain(0.2, Some("0")), Some(0.0.into())),
        ];
        let found = score(&scoring(Task::Binary), &binary).unwrap();
        assert_eq!((found.value("roc_auc"), found.positives), (Some(1.0), Some(1)));
        let numbers =
            [row(1, plain(9.0, None), Some(10.0.into())), row(2, plain(5.0, None), Some(2.0.into()))];
        let found = score(&scoring(Task::Regression), &numbers).unwrap();
        assert_eq!((found.value("mae"), found.value("accuracy")), (Some(2.0), None));
    }

    #[test]
    fn what_is_none_of_the_task_is_told_with_its_place() {
        let several = rows();
        let number = [row(1, (9.0, None, Map::new()), Some(10.0.into()))];
        let text = [row(1, (9.0, None, Map::new()), Some("ten".into()))];
        let two = [row(1, (0.9, Some("1"), Map::new()), Some(2.0.into()))];
        let told = |task, rows: &[Row]| {
            let error = score(&scoring(task), rows).unwrap_err();
            assert_eq!(error.hints().len(), 1);
            assert!(error.hints()[0].contains("`models.kind.task`"), "{:?}", error.hints());
            error.to_string()
        };
        assert_eq!(
            told(Task::Regression, &several),
            "score the model `kind`, a regression: the prediction `0` of version 3 is the class `ant`"
        );
        assert!(told(Task::Binary, &several).contains("the prediction `0` of version 3 is one of 4 classes"));
        assert!(told(Task::Binary, &two).contains("has the ground truth `2`, which is neither 0 nor 1"));
        assert!(told(Task::Multiclass, &number).contains("is a number and no class"));
        assert!(told(Task::Regression, &text).contains("has the ground truth `ten`, which is no number"));
    }
}
