//! What one feature alone tells of the target: the predictive power score of a model of one column.
//!
//! The model is the simplest there is: the column in bins (32 of equal frequency, or its values where they
//! are few or texts), in each bin the commonest label or the median. It is fitted on rows for training and
//! scored on others. The score is that of van der Schans and Wetschoreck's PPS, as in Deepchecks: of labels
//! the weighted F1, of numbers the mean absolute error, put between what a guess without the feature reaches
//! (0) and perfection (1). Where Deepchecks grows a tree, here are bins: the scores agree to a few hundredths.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow_array::RecordBatch;
use serde::Serialize;
use serde_json::{Value, json};

use super::known::hash_of;
use super::scan::{Roles, Tested, Trained, percent};
use super::{ColumnEffect, Finding, Severity, Thresholds};
use crate::columns::number_of;
use crate::metrics::roc;
use crate::records;
use crate::rowdiff::cells::Form;

/// Bins of a number.
const BINS: usize = 32;
/// A whole-numbered target with more values than this is a number, not a label.
const LABELS: usize = 30;
/// With fewer rows nothing can be said.
const LEAST: usize = 20;

/// How the target is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// As a label.
    Classification,
    /// As a number.
    Regression,
}

/// Some rows of a table, by column: numbers as they are, texts as hashes.
#[derive(Default)]
pub(super) struct Sample {
    columns: BTreeMap<usize, Cells>,
    rows: Vec<u64>,
}

enum Cells {
    Numbers(Vec<Option<f64>>),
    Texts(Vec<Option<u64>>),
}

impl Sample {
    pub(super) fn new(roles: &Roles) -> Self {
        let mut columns = BTreeMap::new();
        if roles.target.is_some() {
            for index in roles.features.iter().copied().chain(roles.target).chain(roles.key().iter().copied())
            {
                let cells = match roles.form(index) {
                    Form::Integer | Form::Number | Form::Boolean | Form::Moment => Cells::Numbers(Vec::new()),
                    Form::Text => Cells::Texts(Vec::new()),
                };
                columns.insert(index, cells);
            }
        }
        Self { columns, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, _roles: &Roles, batch: &RecordBatch, row: usize, number: u64) {
        if self.columns.is_empty() {
            return;
        }
        self.rows.push(number);
        for (index, cells) in &mut self.columns {
            let Some(array) = batch.columns().get(*index) else { continue };
            match cells {
                Cells::Numbers(numbers) => numbers.push(number_of(array, row)),
                Cells::Texts(texts) => {
                    texts.push(records::text_of(array, row).map(|text| hash_of(text.as_bytes())));
                }
            }
        }
    }

    /// Whether a column has more values than labels have.
    pub(super) fn is_many(&self, index: usize) -> bool {
        match self.columns.get(&index) {
            Some(Cells::Numbers(numbers)) => {
                let seen: HashSet<u64> = numbers.iter().flatten().map(|value| value.to_bits()).collect();
                seen.len() > LABELS
            }
            Some(Cells::Texts(_)) | None => false,
        }
    }
}

/// What the features tell.
pub(super) struct Power {
    index: Option<usize>,
    /// Nothing where there are too few rows to say.
    test: Option<f64>,
    train: Option<f64>,
    detail: BTreeMap<&'static str, Value>,
}

/// Measures every feature and key; nothing where no target is named or there are too few rows.
pub(super) fn measure(roles: &Roles, known: &Trained, tested: &Tested) -> (Option<Task>, Vec<Power>) {
    let Some(target) = roles.target else { return (None, Vec::new()) };
    let (train, test) = (&known.scored, &tested.scored);
    let (Some(labels), Some(truth)) = (train.columns.get(&target), test.columns.get(&target)) else {
        return (None, Vec::new());
    };
    let task = match labels {
        Cells::Texts(_) => Task::Classification,
        Cells::Numbers(_) if roles.form(target) == Form::Number || train.is_many(target) => Task::Regression,
        Cells::Numbers(_) => Task::Classification,
    };
    let goal = Goal { task, train: values(labels), test: values(truth) };
    let mut powers = Vec::new();
    for index in roles.features.iter().chain(roles.key()) {
        let (Some(fit), Some(score)) = (train.columns.get(index), test.columns.get(index)) else { continue };
        powers.push(goal.power(Some(*index), fit, score));
    }
    let order = Cells::Numbers(train.rows.iter().map(|row| Some(*row as f64)).collect());
    powers.push(goal.power(None, &order, &Cells::Numbers(Vec::new())));
    (Some(task), powers)
}

/// The values of a target: numbers, or the bits of hashes as numbers that are only told apart.
fn values(cells: &Cells) -> Vec<Option<f64>> {
    match cells {
        Cells::Numbers(numbers) => numbers.clone(),
        Cells::Texts(texts) => {
            let mut codes: HashMap<u64, f64> = HashMap::new();
            // The same text has the same code in both tables: a part of its hash that a double holds.
            texts
                .iter()
                .map(|text| text.map(|hash| *codes.entry(hash).or_insert((hash >> 12) as f64)))
                .collect()
        }
    }
}

struct Goal {
    task: Task,
    train: Vec<Option<f64>>,
    test: Vec<Option<f64>>,
}

impl Goal {
    fn power(&self, index: Option<usize>, fit: &Cells, score: &Cells) -> Power {
        let bins = Bins::of(fit);
        let of = |cells: &Cells| match cells {
            Cells::Numbers(numbers) => numbers.iter().map(|value| bins.number(*value)).collect::<Vec<u64>>(),
            Cells::Texts(texts) => texts.iter().map(|value| value.map_or(0, |hash| hash | 1)).collect(),
        };
        let (fit_bins, score_bins) = (of(fit), of(score));
        // Of training alone: every other row fits, the rest is scored.
        let half = |odd: usize| {
            let pairs = fit_bins.iter().zip(&self.train).skip(odd).step_by(2);
            pairs.filter_map(|(bin, label)| Some((*bin, (*label)?))).collect::<Vec<_>>()
        };
        let pairs = |bins: &[u64], labels: &[Option<f64>]| -> Vec<(u64, f64)> {
            bins.iter().zip(labels).filter_map(|(bin, label)| Some((*bin, (*label)?))).collect()
        };
        let (train, test) = (pairs(&fit_bins, &self.train), pairs(&score_bins, &self.test));
        let mut detail = BTreeMap::new();
        if self.task == Task::Classification {
            let codes: Vec<u64> = train.iter().map(|(_, label)| label.to_bits()).collect();
            let bins: Vec<u64> = train.iter().map(|(bin, _)| *bin).collect();
            detail.insert("mutual_information", json!(mutual_information(&bins, &codes)));
            if let Some(auc) = self.auc(fit) {
                detail.insert("auc", json!(auc));
            }
        }
        Power {
            index,
            test: score_of(self.task, &train, &test),
            train: score_of(self.task, &half(0), &half(1)),
            detail,
        }
    }

    /// How well a number alone orders two labels, whichever way round.
    fn auc(&self, fit: &Cells) -> Option<f64> {
        let Cells::Numbers(numbers) = fit else { return None };
        let labels: HashSet<u64> = self.train.iter().flatten().map(|label| label.to_bits()).collect();
        let first = labels.iter().min().filter(|_| labels.len() == 2)?;
        let pairs = numbers.iter().zip(&self.train).filter_map(|(value, label)| Some(((*value)?, (*label)?)));
        let (scores, positive): (Vec<f64>, Vec<bool>) =
            pairs.map(|(value, label)| (value, label.to_bits() != *first)).unzip();
        let auc = roc::auc(&scores, &positive)?.value;
        Some(auc.max(1.0 - auc))
    }
}

/// The bins of a number: its values where they are few, else of equal frequency.
struct Bins {
    edges: Vec<f64>,
    few: bool,
}

impl Bins {
    fn of(cells: &Cells) -> Self {
        let Cells::Numbers(numbers) = cells else { return Self { edges: Vec::new(), few: true } };
        let mut sorted: Vec<f64> = numbers.iter().flatten().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut distinct = sorted.clone();
        distinct.dedup();
        if distinct.len() <= 2 * BINS {
            return Self { edges: Vec::new(), few: true };
        }
        let edge = |bin: usize| sorted.get(bin * sorted.len() / BINS).copied();
        let mut edges: Vec<f64> = (1..BINS).filter_map(edge).collect();
        edges.dedup();
        Self { edges, few: false }
    }

    /// A bin has a number of its own; no value is a bin too.
    fn number(&self, value: Option<f64>) -> u64 {
        match value {
            None => u64::MAX,
            Some(value) if self.few => value.to_bits(),
            Some(value) => self.edges.partition_point(|edge| *edge <= value) as u64,
        }
    }
}

/// The score of a model that is fitted on some rows, on others; nothing where they are too few.
fn score_of(task: Task, fit: &[(u64, f64)], test: &[(u64, f64)]) -> Option<f64> {
    if fit.len() < LEAST || test.len() < LEAST {
        return None;
    }
    Some(match task {
        Task::Classification => {
            let all = commonest(fit.iter().map(|(_, label)| label.to_bits()));
            let mut bins: HashMap<u64, Vec<u64>> = HashMap::new();
            fit.iter().for_each(|(bin, label)| bins.entry(*bin).or_default().push(label.to_bits()));
            let said: HashMap<u64, u64> =
                bins.into_iter().map(|(bin, labels)| (bin, commonest(labels.into_iter()))).collect();
            let truth: Vec<u64> = test.iter().map(|(_, label)| label.to_bits()).collect();
            let guess: Vec<u64> = test.iter().map(|(bin, _)| said.get(bin).copied().unwrap_or(all)).collect();
            let plain: Vec<u64> = vec![all; truth.len()];
            let (f1, base) =
                (weighted_f1(&truth, &guess), weighted_f1(&truth, &plain).max(by_chance(&truth)));
            normalised(f1, base)
        }
        Task::Regression => {
            let all = median(fit.iter().map(|(_, value)| *value).collect());
            let mut bins: HashMap<u64, Vec<f64>> = HashMap::new();
            fit.iter().for_each(|(bin, value)| bins.entry(*bin).or_default().push(*value));
            let said: HashMap<u64, f64> =
                bins.into_iter().map(|(bin, values)| (bin, median(values))).collect();
            let error = |guess: &dyn Fn(u64) -> f64| -> f64 {
                test.iter().map(|(bin, value)| (guess(*bin) - value).abs()).sum()
            };
            let (own, base) = (error(&|bin| said.get(&bin).copied().unwrap_or(all)), error(&|_| all));
            if base > 0.0 { (1.0 - own / base).clamp(0.0, 1.0) } else { 0.0 }
        }
    })
}

fn normalised(score: f64, base: f64) -> f64 {
    if base < 1.0 { ((score - base) / (1.0 - base)).clamp(0.0, 1.0) } else { 0.0 }
}

/// What drawing labels by their shares would reach.
fn by_chance(truth: &[u64]) -> f64 {
    let counts = counted(truth.iter().copied());
    counts.values().map(|count| (*count as f64 / truth.len().max(1) as f64).powi(2)).sum()
}

fn counted(labels: impl Iterator<Item = u64>) -> HashMap<u64, u64> {
    let mut counts = HashMap::new();
    labels.for_each(|label| *counts.entry(label).or_default() += 1);
    counts
}

fn commonest(labels: impl Iterator<Item = u64>) -> u64 {
    let counts = counted(labels);
    counts.into_iter().max_by_key(|(label, count)| (*count, std::cmp::Reverse(*label))).map_or(0, |(l, _)| l)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
    if values.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.saturating_sub(1)), at(middle)) }
}

/// The F1 of each label, weighted by how often it is true (scikit-learn's `average="weighted"`).
fn weighted_f1(truth: &[u64], guess: &[u64]) -> f64 {
    let (true_counts, guessed) = (counted(truth.iter().copied()), counted(guess.iter().copied()));
    let hits = counted(truth.iter().zip(guess).filter(|(t, g)| t == g).map(|(t, _)| *t));
    let f1 = |label: &u64, count: u64| {
        let hit = hits.get(label).copied().unwrap_or(0) as f64;
        let all = count as f64 + guessed.get(label).copied().unwrap_or(0) as f64;
        2.0 * hit / all
    };
    true_counts.iter().map(|(label, count)| f1(label, *count) * *count as f64).sum::<f64>()
        / truth.len().max(1) as f64
}

/// The mutual information of two labellings by the mean of their entropies (scikit-learn's
/// `normalized_mutual_info_score`), from 0 to 1.
pub fn mutual_information(a: &[u64], b: &[u64]) -> f64 {
    let total = a.len().min(b.len()) as f64;
    if total == 0.0 {
        return 0.0;
    }
    let (ca, cb) = (counted(a.iter().copied()), counted(b.iter().copied()));
    let entropy = |counts: &HashMap<u64, u64>| -> f64 {
        counts.values().map(|count| *count as f64 / total).map(|p| -p * p.ln()).sum()
    };
    let (ha, hb) = (entropy(&ca), entropy(&cb));
    if ha + hb == 0.0 {
        return 1.0;
    }
    let mut joint: HashMap<(u64, u64), u64> = HashMap::new();
    a.iter().zip(b).for_each(|(a, b)| *joint.entry((*a, *b)).or_default() += 1);
    let part = |((a, b), count): (&(u64, u64), &u64)| {
        let of = |counts: &HashMap<u64, u64>, label: &u64| counts.get(label).copied().unwrap_or(1) as f64;
        let count = *count as f64;
        count / total * (count * total / (of(&ca, a) * of(&cb, b))).ln()
    };
    let information: f64 = joint.iter().map(part).sum();
    (2.0 * information / (ha + hb)).clamp(0.0, 1.0)
}

/// The checks of what single columns tell of the target.
pub(super) fn findings(
    roles: &Roles,
    task: Option<Task>,
    powers: Vec<Power>,
    limits: &Thresholds,
) -> Vec<Finding> {
    use Severity::{Error, Warning};
    let names =
        ["feature_label_correlation", "feature_label_correlation_change", "identifier_label_correlation"];
    if task.is_none() {
        return names
            .map(|name| {
                let severity = if name == "feature_label_correlation" { Error } else { Warning };
                Finding::skipped(name, severity, "no target is named")
            })
            .into();
    }
    let (mut features, mut changes, mut identifiers) = (Vec::new(), Vec::new(), Vec::new());
    let mut too_few = [false; 3];
    for power in powers {
        let column = power.index.map_or("(the order of the rows)", |index| roles.name(index)).to_owned();
        match power.index {
            Some(index) if !roles.key().contains(&index) => {
                match (power.train, power.test) {
                    (Some(train), Some(test)) => {
                        let detail = BTreeMap::from([("train", json!(train)), ("test", json!(test))]);
                        let effect = (train - test).abs();
                        changes.push(ColumnEffect { column: column.clone(), effect, detail });
                    }
                    _ => too_few[1] = true,
                }
                match power.test {
                    Some(effect) => features.push(ColumnEffect { column, effect, detail: power.detail }),
                    None => too_few[0] = true,
                }
            }
            Some(_) | None => match power.train {
                Some(effect) => identifiers.push(ColumnEffect { column, effect, detail: power.detail }),
                None => too_few[2] = true,
            },
        }
    }
    let finding = |at: usize, severity, threshold: f64, columns: Vec<ColumnEffect>, words: &str| {
        let name = names[at];
        if columns.is_empty() && too_few[at] {
            return Finding::skipped(name, severity, "too few rows");
        }
        let most = columns.iter().map(|column| column.effect).fold(0.0, f64::max);
        let over: Vec<String> = columns
            .iter()
            .filter(|column| column.effect > threshold)
            .map(|column| format!("`{}` {}", column.column, percent(column.effect)))
            .collect();
        let what = match over.is_empty() {
            true => format!("{words}: at most {}", percent(most)),
            false => format!("{words}: {}", over.join(", ")),
        };
        Finding::judged(name, severity, most, threshold, what).with_columns(columns)
    };
    vec![
        finding(0, Error, limits.feature, features, "what one feature alone tells of the target"),
        finding(1, Warning, limits.feature_change, changes, "what it tells less or more in testing"),
        finding(2, Warning, limits.identifier, identifiers, "what a key or the rows' order tells of it"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn measures_of_labels_are_those_of_scikit_learn() {
        // sklearn.metrics.normalized_mutual_info_score(a, b)
        let (a, b) = ([0, 0, 1, 1, 2, 2, 2, 0], [5, 5, 5, 6, 6, 6, 7, 7]);
        near(mutual_information(&a, &b), NMI);
        near(mutual_information(&a, &a), 1.0);
        // sklearn.metrics.f1_score(a, g, average="weighted")
        near(weighted_f1(&a, &[0, 1, 1, 1, 2, 0, 2, 0]), F1);
        near(median(vec![3.0, 1.0, 2.0, 10.0]), 2.5);
    }

    const NMI: f64 = 0.3987478202411471;
    const F1: f64 = 0.75;
}
