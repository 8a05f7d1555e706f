//! Leakage: what rows for testing have from training that a model will not have where it is used.
//!
//! Each check has the name that Deepchecks gives it, where it has one, and the size of an effect with the
//! threshold that it is held against. Both tables are read once. Of the rows for training three hashes of
//! eight bytes are kept for each row, and as many more as there are keys and groups; what a single feature
//! tells of the target is measured on at most [`SCORED`] rows of either table.
//!
//! It does not look into a model, and it cannot see leakage that only several columns have together.

mod known;
mod power;
mod scan;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Result;
pub use power::{Task, mutual_information};

/// So many rows of a table are looked at to measure what a feature tells of the target.
pub const SCORED: u64 = 100_000;

/// What is known of the tables.
#[derive(Debug, Clone)]
pub struct Options {
    /// The column that is predicted.
    pub target: Option<String>,
    /// The column of the rows' time.
    pub time: Option<String>,
    /// The column of a group that has to stay in one of the tables, such as a patient.
    pub group: Option<String>,
    /// The columns that say which row is which; no features.
    pub key: Vec<String>,
    /// Columns that are not looked at.
    pub ignore: Vec<String>,
    /// So many offending rows are kept of each check.
    pub samples: usize,
    /// What is held against what.
    pub thresholds: Thresholds,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            target: None,
            time: None,
            group: None,
            key: Vec::new(),
            ignore: Vec::new(),
            samples: 5,
            thresholds: Thresholds::default(),
        }
    }
}

/// The greatest effects that are let pass; those of Deepchecks where it has the check.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// The share of test rows that training has too.
    pub duplicates: f64,
    /// The share of test rows with features that training has under another target.
    pub conflicts: f64,
    /// What one feature may tell of the target (0 to 1).
    pub feature: f64,
    /// By how much that may differ between training and testing.
    pub feature_change: f64,
    /// What a key or the rows' order may tell of the target.
    pub identifier: f64,
    /// The share of test rows with a category that training lacks.
    pub new_category: f64,
    /// Test rows for each training row: at least.
    pub least_size: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            duplicates: 0.05,
            conflicts: 0.05,
            feature: 0.8,
            feature_change: 0.2,
            identifier: 0.2,
            new_category: 0.01,
            least_size: 0.01,
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The test says too much of the model: not to be gone on with.
    Error,
    /// Worth a look.
    Warning,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing, or less than the threshold.
    Passed,
    /// More than the threshold.
    Failed,
    /// It could not be looked at, as `what` says.
    Skipped,
}

/// A check and what it found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Its name.
    pub check: &'static str,
    /// How bad it would be.
    pub severity: Severity,
    /// What came of it.
    pub state: State,
    /// The size of the effect: the greatest of the columns' where it looks at columns.
    pub effect: f64,
    /// The greatest that is let pass.
    pub threshold: f64,
    /// What was found, in words.
    pub what: String,
    /// The columns that it is about, the greatest effect first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnEffect>,
    /// Some of the rows that it is about, with `row`, their number in the table of the test from 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Map<String, Value>>,
}

/// The effect in one column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnEffect {
    /// The column.
    pub column: String,
    /// Its size.
    pub effect: f64,
    /// Other measures and examples, by name.
    pub detail: BTreeMap<&'static str, Value>,
}

/// What there is to say of two tables.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Rows for training.
    pub train_rows: u64,
    /// Rows for testing.
    pub test_rows: u64,
    /// How the target is predicted, where one is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Every check.
    pub checks: Vec<Finding>,
    /// Whether no check that matters has failed.
    pub passed: bool,
}

impl Report {
    /// The checks that have failed so badly.
    pub fn failed(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.checks.iter().filter(move |check| check.state == State::Failed && check.severity == severity)
    }

    /// A check by name.
    pub fn check(&self, name: &str) -> Option<&Finding> {
        self.checks.iter().find(|check| check.check == name)
    }
}

/// Looks for leakage between two files or folders.
///
/// # Errors
/// When one cannot be read, or a named column is not in both.
pub fn find(train: &Path, test: &Path, options: &Options) -> Result<Report> {
    find_between(crate::read::open(train)?, crate::read::open(test)?, options)
}

/// The same between two tables that are open.
///
/// # Errors
/// As [`find`].
pub fn find_between(
    train: crate::read::TableReader,
    test: crate::read::TableReader,
    options: &Options,
) -> Result<Report> {
    let roles = scan::Roles::new(&train, &test, options)?;
    let trained = scan::train(train, &roles)?;
    let tested = scan::test(test, &roles, &trained, options)?;
    let (task, powers) = power::measure(&roles, &trained, &tested);
    let mut checks = scan::findings(&roles, &trained, &tested, options);
    checks.extend(power::findings(&roles, task, powers, &options.thresholds));
    let passed =
        !checks.iter().any(|check| check.state == State::Failed && check.severity == Severity::Error);
    Ok(Report { train_rows: trained.rows, test_rows: tested.rows, task, checks, passed })
}

impl Finding {
    /// A check whose effect is held against a threshold.
    fn judged(
        check: &'static str,
        severity: Severity,
        effect: f64,
        threshold: f64,
        what: impl Into<String>,
    ) -> Self {
        let state = if effect > threshold { State::Failed } else { State::Passed };
        let (columns, samples) = (Vec::new(), Vec::new());
        Self { check, severity, state, effect, threshold, what: what.into(), columns, samples }
    }

    /// A check that could not be looked at.
    fn skipped(check: &'static str, severity: Severity, why: impl Into<String>) -> Self {
        Self { state: State::Skipped, ..Self::judged(check, severity, 0.0, 0.0, why) }
    }

    fn with_columns(mut self, mut columns: Vec<ColumnEffect>) -> Self {
        columns.sort_by(|a, b| b.effect.total_cmp(&a.effect));
        self.columns = columns;
        self
    }

    fn with_samples(mut self, samples: Vec<Map<String, Value>>) -> Self {
        self.samples = samples;
        self
    }
}

#[cfg(test)]
mod tests;
