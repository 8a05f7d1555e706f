//! Evaluations: every metric of a task, overall, by slice and between groups, as one record.

use rondo_core::evaluation::{Evaluation, Metric, Slice};

use super::interval::{self, Mean};
use super::slices::{self, Group};
use super::threshold::{Confusion, Share};
use super::{fairness, probability, regression, roc};
use crate::error::{Result, TableError};

/// Which slices are too small to stand alone; together they are the slice `other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pooling {
    /// A slice with fewer rows is pooled.
    pub min_rows: u64,
    /// A slice with fewer positive rows is pooled (binary tasks).
    pub min_positives: u64,
}

const ONE_CLASS: &str = "only one class among the rows";
pub(super) const NO_ROWS: &str = "no rows";
pub(super) const NO_PROBABILITY: &str = "the scores are no probabilities between 0 and 1";

/// Evaluates the scores of a binary task.
///
/// `scores` are probabilities of the positive class, `labels` 0 or 1, one a row; a row is predicted
/// positive where its score is at least `threshold`. `slices` are columns with one value a row; small
/// values are pooled (the pooled slice may still be small). `fairness` names those of the slice columns
/// whose groups are compared; pooled groups take no part. Digests and times are left for the caller.
///
/// # Errors
/// When the lists differ in length, a score is NaN or a label neither 0 nor 1.
pub fn evaluate_binary(
    scores: &[f64],
    labels: &[f64],
    threshold: f64,
    slices: &[(&str, &[Option<String>])],
    fairness: &[&str],
    pooling: Pooling,
) -> Result<Evaluation> {
    same_length("the labels", labels.len(), scores.len())?;
    finite("score", scores)?;
    let labels = classes(labels)?;
    let mut evaluation = Evaluation {
        rows: scores.len() as u64,
        positives: Some(count(&labels)),
        metrics: binary_metrics(scores, &labels, threshold),
        ..Evaluation::default()
    };
    let mut compared: Vec<&str> = Vec::new();
    for (column, values) in slices {
        same_length(&format!("the values of `{column}`"), values.len(), scores.len())?;
        let groups = slices::groups(values, pooling, Some(&labels));
        if fairness.contains(column) {
            compared.push(column);
            evaluation.metrics.extend(fairness_metrics(column, &groups, scores, &labels, threshold));
        }
        for group in groups {
            let (scores, labels) = (group.take(scores), group.take(&labels));
            let metrics = binary_metrics(&scores, &labels, threshold);
            evaluation.slices.push(slice(column, group, Some(count(&labels)), metrics));
        }
    }
    for column in fairness.iter().filter(|column| !compared.contains(column)) {
        for name in FAIRNESS {
            let note = format!("there are no values of `{column}`");
            evaluation.metrics.push(Metric::undefined(&format!("{name}:{column}"), &note));
        }
    }
    Ok(evaluation)
}

/// Evaluates the predictions of a regression, overall and by slice.
///
/// # Errors
/// When the lists differ in length, or a prediction or target is not finite.
pub fn evaluate_regression(
    predictions: &[f64],
    targets: &[f64],
    slices: &[(&str, &[Option<String>])],
    pooling: Pooling,
) -> Result<Evaluation> {
    same_length("the targets", targets.len(), predictions.len())?;
    finite("prediction", predictions)?;
    finite("target", targets)?;
    let mut evaluation = Evaluation {
        rows: predictions.len() as u64,
        metrics: regression_metrics(predictions, targets),
        ..Evaluation::default()
    };
    for (column, values) in slices {
        same_length(&format!("the values of `{column}`"), values.len(), predictions.len())?;
        for group in slices::groups(values, pooling, None) {
            let metrics = regression_metrics(&group.take(predictions), &group.take(targets));
            evaluation.slices.push(slice(column, group, None, metrics));
        }
    }
    Ok(evaluation)
}

/// All metrics of one part of the rows of a binary task, in the order of the list of known ones.
fn binary_metrics(scores: &[f64], labels: &[bool], threshold: f64) -> Vec<Metric> {
    let counts = Confusion::at(threshold, scores, labels);
    let probabilities = scores.iter().all(|score| (0.0..=1.0).contains(score));
    let of_probabilities = |name: &str, value: Option<Mean>| {
        if probabilities { mean(name, value, NO_ROWS) } else { Metric::undefined(name, NO_PROBABILITY) }
    };
    let auc = roc::auc(scores, labels).map(|auc| Mean { value: auc.value, interval: auc.interval });
    let precision = roc::average_precision(scores, labels).filter(|_| counts.negatives() > 0);
    let ece = probability::ece(scores, labels).map(|value| Mean { value, interval: None });
    vec![
        mean("roc_auc", auc, ONE_CLASS),
        plain("pr_auc", precision, ONE_CLASS),
        of_probabilities("log_loss", probability::log_loss(scores, labels)),
        of_probabilities("brier", probability::brier(scores, labels)),
        of_probabilities("ece", ece),
        share("accuracy", counts.accuracy(), NO_ROWS),
        share("precision", counts.precision(), "no row is predicted positive"),
        share("recall", counts.recall(), "no row is positive"),
        plain("f1", counts.f1(), "no row is positive or predicted to be"),
        plain("mcc", counts.mcc(), "only one class among the rows or the predictions"),
        share("selection_rate", counts.selection_rate(), NO_ROWS),
    ]
}

fn regression_metrics(predictions: &[f64], targets: &[f64]) -> Vec<Metric> {
    vec![
        mean("rmse", regression::rmse(predictions, targets), NO_ROWS),
        mean("mae", regression::mae(predictions, targets), NO_ROWS),
        plain("r2", regression::r2(predictions, targets), "the targets do not vary"),
        mean("mape", regression::mape(predictions, targets), "a target is zero, or there are no rows"),
    ]
}

const FAIRNESS: [&str; 3] =
    ["equalized_odds_difference", "demographic_parity_difference", "equal_opportunity_difference"];

fn fairness_metrics(
    column: &str,
    groups: &[Group],
    scores: &[f64],
    labels: &[bool],
    threshold: f64,
) -> Vec<Metric> {
    let counts: Vec<Confusion> = groups
        .iter()
        .filter(|group| !group.is_pooled())
        .map(|group| Confusion::at(threshold, &group.take(scores), &group.take(labels)))
        .collect();
    let values = [
        fairness::equalized_odds_difference(&counts),
        fairness::demographic_parity_difference(&counts),
        fairness::equal_opportunity_difference(&counts),
    ];
    FAIRNESS
        .iter()
        .zip(values)
        .map(|(name, value)| {
            plain(&format!("{name}:{column}"), value, "fewer than two groups are large enough to compare")
        })
        .collect()
}

pub(super) fn slice(column: &str, group: Group, positives: Option<u64>, metrics: Vec<Metric>) -> Slice {
    Slice {
        column: column.to_owned(),
        rows: group.rows.len() as u64,
        positives,
        value: group.value,
        members: group.members,
        metrics,
    }
}

pub(super) fn plain(name: &str, value: Option<f64>, otherwise: &str) -> Metric {
    value.map_or_else(|| Metric::undefined(name, otherwise), |value| Metric::plain(name, value))
}

pub(super) fn mean(name: &str, value: Option<Mean>, otherwise: &str) -> Metric {
    match value {
        None => Metric::undefined(name, otherwise),
        Some(Mean { value, interval: None }) => Metric::plain(name, value),
        Some(Mean { value, interval: Some((low, high)) }) => Metric::with_interval(name, value, low, high),
    }
}

pub(super) fn share(name: &str, share: Share, otherwise: &str) -> Metric {
    let interval = interval::wilson(share.part, share.of);
    mean(name, share.value().map(|value| Mean { value, interval }), otherwise)
}

fn count(labels: &[bool]) -> u64 {
    labels.iter().filter(|label| **label).count() as u64
}

pub(super) fn same_length(what: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        Ok(())
    } else {
        Err(TableError::Lengths { what: what.to_owned(), found, expected })
    }
}

pub(super) fn finite(what: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(TableError::Value {
            what,
            row: at + 1,
            value: values[at],
            expected: "a finite number is needed",
        }),
    }
}

fn classes(labels: &[f64]) -> Result<Vec<bool>> {
    match labels.iter().position(|label| *label != 0.0 && *label != 1.0) {
        None => Ok(labels.iter().map(|label| *label == 1.0).collect()),
        Some(at) => Err(TableError::Value {
            what: "label",
            row: at + 1,
            value: labels[at],
            expected: "0 or 1 is needed",
        }),
    }
}
