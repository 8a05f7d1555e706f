//! The metrics that Rondo computes by itself: their names, which way is better, and of what they are.
//!
//! The one list that the project file's objectives, the sweeps' goals, the gates and the reports agree on.
//! What computes them lives with the stage that has the numbers; a metric that a step logs for itself
//! needs no place here.

use serde::{Deserialize, Serialize};

use crate::evaluation::Task;
use crate::suggest;

/// Which way a metric gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// More is better: an objective sets `min`.
    Higher,
    /// Less is better: an objective sets `max`.
    Lower,
    /// Neither end is better by itself: an objective may set both.
    Neither,
}

/// What a metric is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// A model's scores beside the truth; may be taken by slice.
    Quality,
    /// Differences between groups; needs the column that makes them (`by`).
    Fairness,
    /// The answering of requests.
    Serving,
    /// The requests' values and the predictions, without the truth.
    Input,
}

/// One line of the list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnownMetric {
    /// The name, as objectives and records write it.
    pub name: &'static str,
    /// Which way is better.
    pub direction: Direction,
    /// What it is a number of.
    pub subject: Subject,
    /// The tasks it makes sense for; empty for all.
    pub tasks: &'static [Task],
    /// The least and the greatest value it can take.
    pub range: (f64, f64),
    /// One sentence for people.
    pub doc: &'static str,
}

impl KnownMetric {
    /// Whether it makes sense for a task.
    pub fn fits(&self, task: Task) -> bool {
        self.tasks.is_empty() || self.tasks.contains(&task)
    }
}

const BINARY: &[Task] = &[Task::Binary];
const CLASSES: &[Task] = &[Task::Binary, Task::Multiclass];
const MULTICLASS: &[Task] = &[Task::Multiclass];
const REGRESSION: &[Task] = &[Task::Regression];
const ANY: &[Task] = &[];
const INFINITY: f64 = f64::INFINITY;

const fn metric(
    name: &'static str,
    direction: Direction,
    subject: Subject,
    tasks: &'static [Task],
    range: (f64, f64),
    doc: &'static str,
) -> KnownMetric {
    KnownMetric { name, direction, subject, tasks, range, doc }
}

use Direction::{Higher, Lower, Neither};
use Subject::{Fairness, Input, Quality, Serving};

const KNOWN: &[KnownMetric] = &[
    metric(
        "roc_auc",
        Higher,
        Quality,
        BINARY,
        (0.0, 1.0),
        "probability that a positive row scores above a negative one",
    ),
    metric("pr_auc", Higher, Quality, BINARY, (0.0, 1.0), "average precision over all thresholds"),
    metric("log_loss", Lower, Quality, CLASSES, (0.0, INFINITY), "mean negative log-likelihood of the truth"),
    metric("brier", Lower, Quality, BINARY, (0.0, 1.0), "mean squared error of the probabilities"),
    metric(
        "ece",
        Lower,
        Quality,
        BINARY,
        (0.0, 1.0),
        "expected calibration error over ten bins of equal width",
    ),
    metric("accuracy", Higher, Quality, CLASSES, (0.0, 1.0), "share of rows predicted right"),
    metric(
        "precision",
        Higher,
        Quality,
        BINARY,
        (0.0, 1.0),
        "share of the rows predicted positive that are positive",
    ),
    metric(
        "recall",
        Higher,
        Quality,
        BINARY,
        (0.0, 1.0),
        "share of the positive rows that are predicted positive",
    ),
    metric("f1", Higher, Quality, BINARY, (0.0, 1.0), "harmonic mean of precision and recall"),
    metric("mcc", Higher, Quality, BINARY, (-1.0, 1.0), "Matthews correlation coefficient"),
    metric("selection_rate", Neither, Quality, BINARY, (0.0, 1.0), "share of rows predicted positive"),
    metric(
        "balanced_accuracy",
        Higher,
        Quality,
        MULTICLASS,
        (0.0, 1.0),
        "mean of the recalls of the classes",
    ),
    metric(
        "precision_macro",
        Higher,
        Quality,
        MULTICLASS,
        (0.0, 1.0),
        "mean of the precisions of the classes",
    ),
    metric(
        "precision_weighted",
        Higher,
        Quality,
        MULTICLASS,
        (0.0, 1.0),
        "mean of the precisions of the classes, weighted by their rows",
    ),
    metric(
        "recall_macro",
        Higher,
        Quality,
        MULTICLASS,
        (0.0, 1.0),
        "mean of the recalls of the classes, those only predicted included",
    ),
    metric(
        "recall_weighted",
        Higher,
        Quality,
        MULTICLASS,
        (0.0, 1.0),
        "mean of the recalls of the classes, weighted by their rows",
    ),
    metric("f1_macro", Higher, Quality, MULTICLASS, (0.0, 1.0), "mean of the F1 scores of the classes"),
    metric(
        "f1_weighted",
        Higher,
        Quality,
        MULTICLASS,
        (0.0, 1.0),
        "mean of the F1 scores of the classes, weighted by their rows",
    ),
    metric(
        "roc_auc_ovr",
        Higher,
        Quality,
        MULTICLASS,
        (0.0, 1.0),
        "mean over the classes of the ROC AUC of each against the rest",
    ),
    metric(
        "top_k_accuracy",
        Higher,
        Quality,
        MULTICLASS,
        (0.0, 1.0),
        "share of rows whose class is among the k likeliest",
    ),
    metric("rmse", Lower, Quality, REGRESSION, (0.0, INFINITY), "root of the mean squared error"),
    metric("mae", Lower, Quality, REGRESSION, (0.0, INFINITY), "mean absolute error"),
    metric(
        "r2",
        Higher,
        Quality,
        REGRESSION,
        (f64::NEG_INFINITY, 1.0),
        "share of the target's variance that is explained",
    ),
    metric("mape", Lower, Quality, REGRESSION, (0.0, INFINITY), "mean absolute error relative to the truth"),
    metric(
        "equalized_odds_difference",
        Lower,
        Fairness,
        BINARY,
        (0.0, 1.0),
        "larger of the spreads of true and false positive rates between groups",
    ),
    metric(
        "demographic_parity_difference",
        Lower,
        Fairness,
        BINARY,
        (0.0, 1.0),
        "spread of the selection rates between groups",
    ),
    metric(
        "equal_opportunity_difference",
        Lower,
        Fairness,
        BINARY,
        (0.0, 1.0),
        "spread of the true positive rates between groups",
    ),
    metric(
        "latency_p50_ms",
        Lower,
        Serving,
        ANY,
        (0.0, INFINITY),
        "median time to answer a request, milliseconds",
    ),
    metric(
        "latency_p95_ms",
        Lower,
        Serving,
        ANY,
        (0.0, INFINITY),
        "time within which 95 % of requests are answered, milliseconds",
    ),
    metric(
        "latency_p99_ms",
        Lower,
        Serving,
        ANY,
        (0.0, INFINITY),
        "time within which 99 % of requests are answered, milliseconds",
    ),
    metric("error_rate", Lower, Serving, ANY, (0.0, 1.0), "share of requests that failed"),
    metric("requests_per_second", Neither, Serving, ANY, (0.0, INFINITY), "requests answered in a second"),
    metric("null_rate", Lower, Input, ANY, (0.0, 1.0), "share of the requests' values that are missing"),
    metric(
        "drift_share",
        Lower,
        Input,
        ANY,
        (0.0, 1.0),
        "share of the columns that drifted from the reference",
    ),
    metric("mean_prediction", Neither, Input, ANY, (f64::NEG_INFINITY, INFINITY), "mean of the predictions"),
];

/// Every metric of the list, in the order in which reports show them.
pub fn known() -> &'static [KnownMetric] {
    KNOWN
}

/// A metric by its name; of a fairness metric also with its column, `equalized_odds_difference:carrier`.
pub fn find(name: &str) -> Option<&'static KnownMetric> {
    let (base, column) = match name.split_once(':') {
        Some((base, column)) => (base, Some(column)),
        None => (name, None),
    };
    let found = KNOWN.iter().find(|metric| metric.name == base)?;
    match column {
        None => Some(found),
        Some(column) => (found.subject == Fairness && !column.is_empty()).then_some(found),
    }
}

/// The known name nearest to one that is unknown.
pub fn nearest(name: &str) -> Option<&'static str> {
    suggest::nearest(name, KNOWN.iter().map(|metric| metric.name))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_words() {
        let mut seen = HashSet::new();
        for metric in known() {
            assert!(seen.insert(metric.name), "{} stands twice", metric.name);
            assert!(metric.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
            assert!(metric.range.0 < metric.range.1);
        }
    }

    #[test]
    fn only_fairness_metrics_carry_a_column() {
        assert_eq!(find("roc_auc").map(|m| m.direction), Some(Higher));
        assert!(find("equalized_odds_difference:carrier").is_some());
        assert!(find("equalized_odds_difference:").is_none());
        assert!(find("roc_auc:carrier").is_none());
        assert!(find("auroc").is_none());
        assert_eq!(nearest("roc_aux"), Some("roc_auc"));
    }

    #[test]
    fn metrics_know_their_tasks() {
        assert!(find("roc_auc").is_some_and(|m| m.fits(Task::Binary) && !m.fits(Task::Regression)));
        assert!(find("latency_p99_ms").is_some_and(|m| m.fits(Task::Regression)));
    }
}
