//! Evaluating a suite in one pass.

use std::collections::BTreeSet;
use std::path::Path;

use arrow_array::RecordBatch;
use rondo_core::signature::{Column, ColumnType};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rows::{RowCheck, Tally};
use super::rule::{Rule, RuleKind, Severity, Statistic, Suite};
use super::unique::UniqueCheck;
use crate::error::{Result, TableError};
use crate::profile::{ColumnProfile, Profile, Profiler};
use crate::read::{self, TableReader};

/// What a suite says of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Whether every rule of severity `error` holds.
    pub passed: bool,
    /// Rows of the table.
    pub rows: u64,
    /// Each rule, in the order of the suite.
    pub rules: Vec<RuleResult>,
}

impl CheckReport {
    /// The rules that do not hold, warnings included.
    pub fn failures(&self) -> impl Iterator<Item = &RuleResult> {
        self.rules.iter().filter(|rule| !rule.passed)
    }
}

/// What came of one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleResult {
    /// The rule in words: `carrier: in_set AA, B6`.
    pub rule: String,
    /// The name of the check.
    pub check: String,
    /// The column or columns, none of a rule about the table.
    pub columns: Vec<String>,
    /// What a failure means.
    pub severity: Severity,
    /// Whether it holds.
    pub passed: bool,
    /// The number, type or names that were compared, where the rule is about one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub observed: Option<Value>,
    /// Values that were looked at.
    pub rows: u64,
    /// Of which did not pass.
    pub unexpected_count: u64,
    /// The same in per cent; 0 when none was looked at.
    pub unexpected_percent: f64,
    /// The first of them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub sample: Vec<Sample>,
    /// Why it could not be decided, and the like.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

impl RuleResult {
    /// What is wrong, in one line; of a rule that holds, that it does.
    pub fn message(&self) -> String {
        let mut parts = Vec::new();
        if self.unexpected_count > 0 {
            parts.push(format!(
                "{} of {} values ({:.2} %)",
                self.unexpected_count, self.rows, self.unexpected_percent
            ));
        }
        if let Some(observed) = &self.observed {
            parts.push(format!(
                "found {}",
                observed.as_str().map_or_else(|| observed.to_string(), str::to_owned)
            ));
        }
        parts.extend(self.note.clone());
        if parts.is_empty() {
            parts.push(if self.passed { "holds".into() } else { "does not hold".into() });
        }
        parts.join("; ")
    }
}

/// An offending value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The row, counted from 1; of a CSV without line breaks in fields it stands one line further down.
    pub row: u64,
    /// The value, or the values of all columns of the rule.
    pub value: Value,
}

/// Checks all that a reader still has.
///
/// # Errors
/// When the table cannot be read, or has too many different rows for `unique`.
pub fn evaluate(suite: &Suite, reader: TableReader) -> Result<CheckReport> {
    let mut runner = Runner::new(suite, reader.columns());
    let needed: Vec<String> = runner.needed.iter().cloned().collect();
    if needed.is_empty() {
        runner.rows = reader.rows();
        return runner.finish();
    }
    let names: Vec<&str> = needed.iter().map(String::as_str).collect();
    for batch in reader.select(&names)? {
        runner.update(&batch?)?;
    }
    runner.finish()
}

/// Checks a file or folder.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_path(suite: &Suite, path: &Path) -> Result<CheckReport> {
    evaluate(suite, read::open(path)?)
}

/// Takes a table batch by batch and gives the report in the end.
pub struct Runner {
    rules: Vec<(Rule, State)>,
    /// The columns that have to be read.
    needed: BTreeSet<String>,
    /// For the rules that are decided on a whole column.
    profiler: Option<Profiler>,
    columns: Vec<Column>,
    rows: u64,
}

enum State {
    /// Decided without reading: why it fails, or nothing.
    Decided {
        passed: bool,
        observed: Option<Value>,
        note: Option<String>,
    },
    Rows {
        check: RowCheck,
        tally: Tally,
    },
    Unique {
        check: UniqueCheck,
        tally: Tally,
    },
    /// Decided from the column's profile.
    Whole,
    /// Decided from the number of rows.
    Count,
}

impl Runner {
    /// For tables of these columns.
    pub fn new(suite: &Suite, columns: &[Column]) -> Self {
        let mut needed = BTreeSet::new();
        let mut profiled = BTreeSet::new();
        let mut rules = Vec::with_capacity(suite.rules.len());
        for rule in &suite.rules {
            let state = prepare(rule, columns);
            match &state {
                State::Decided { .. } | State::Count => {}
                State::Rows { .. } | State::Unique { .. } => {
                    needed.extend(rule.needs().into_iter().map(str::to_owned))
                }
                State::Whole => {
                    needed.extend(rule.columns.iter().cloned());
                    profiled.extend(rule.columns.iter().cloned());
                }
            }
            rules.push((rule.clone(), state));
        }
        let profiled: Vec<Column> =
            columns.iter().filter(|column| profiled.contains(&column.name)).cloned().collect();
        let profiler = (!profiled.is_empty()).then(|| Profiler::new(&profiled));
        Self { rules, needed, profiler, columns: columns.to_vec(), rows: 0 }
    }

    /// Adds the rows of a batch, which has at least the columns that the rules name.
    ///
    /// # Errors
    /// When the batch lacks a column or has one of another type, or there are too many different rows for
    /// `unique`.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = read::canonical(batch)?;
        for name in &self.needed {
            if batch.column_by_name(name).is_none() {
                let schema = batch.schema();
                let known = schema.fields().iter().map(|field| field.name().as_str());
                return Err(TableError::no_column(name, "the batch".into(), known));
            }
        }
        if let Some(profiler) = &mut self.profiler {
            profiler.update(&batch)?;
        }
        let first = self.rows + 1;
        for (rule, state) in &mut self.rules {
            match state {
                State::Decided { .. } | State::Whole | State::Count => {}
                State::Rows { check, tally } => {
                    if let Some(array) = rule.column().and_then(|column| batch.column_by_name(column)) {
                        check.update(array, &batch, first, tally);
                    }
                }
                State::Unique { check, tally } => check.update(&batch, first, tally)?,
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// The report on all that came.
    ///
    /// # Errors
    /// When a sketch cannot be made.
    pub fn finish(self) -> Result<CheckReport> {
        let profile = self.profiler.map(Profiler::finish).transpose()?;
        let rules: Vec<RuleResult> = self
            .rules
            .into_iter()
            .map(|(rule, state)| conclude(&rule, state, self.rows, profile.as_ref(), &self.columns))
            .collect();
        let passed = rules.iter().all(|rule| rule.passed || rule.severity == Severity::Warning);
        Ok(CheckReport { passed, rows: self.rows, rules })
    }
}

/// What a rule becomes for a table of these columns.
fn prepare(rule: &Rule, columns: &[Column]) -> State {
    let failed = |note: String| State::Decided { passed: false, observed: None, note: Some(note) };
    if matches!(rule.kind, RuleKind::Rows(_)) {
        return State::Count;
    }
    if let RuleKind::Columns { names, ordered } = &rule.kind {
        return table_columns(names, *ordered, columns);
    }
    for name in rule.needs() {
        if !columns.iter().any(|column| column.name == name) {
            let nearest =
                rondo_core::suggest::nearest(name, columns.iter().map(|column| column.name.as_str()));
            let hint = nearest.map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"));
            return failed(format!("there is no column `{name}`{hint}"));
        }
    }
    if rule.kind == RuleKind::Unique {
        return State::Unique { check: UniqueCheck::new(&rule.columns), tally: Tally::default() };
    }
    let column = columns.iter().find(|column| Some(column.name.as_str()) == rule.column());
    let Some(column) = column else { return failed("the rule names no column".into()) };
    match &rule.kind {
        RuleKind::Exists => State::Decided { passed: true, observed: None, note: None },
        RuleKind::Type(types) => State::Decided {
            passed: types.contains(&column.column_type),
            observed: Some(column.column_type.text().into()),
            note: None,
        },
        RuleKind::Aggregate(statistic, _)
            if *statistic != Statistic::DistinctCount
                && !(column.column_type.is_numeric() || column.column_type == ColumnType::Timestamp) =>
        {
            failed(format!(
                "the column is {}, for which `{}` means nothing",
                column.column_type.text(),
                rule.kind.name()
            ))
        }
        _ => match RowCheck::of(rule, column.column_type) {
            Some(Ok(check)) => State::Rows { check, tally: Tally::default() },
            Some(Err(note)) => failed(note),
            None => State::Whole,
        },
    }
}

fn table_columns(names: &[String], ordered: bool, columns: &[Column]) -> State {
    let found: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let missing: Vec<&str> = names.iter().map(String::as_str).filter(|name| !found.contains(name)).collect();
    let extra: Vec<&str> =
        found.iter().copied().filter(|name| !names.iter().any(|known| known == name)).collect();
    let mut notes = Vec::new();
    if !missing.is_empty() {
        notes.push(format!("missing: {}", missing.join(", ")));
    }
    if !extra.is_empty() {
        notes.push(format!("unexpected: {}", extra.join(", ")));
    }
    if notes.is_empty() && ordered && found != names {
        notes.push("the order is another".into());
    }
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    State::Decided { passed: note.is_none(), observed: Some(found.into()), note }
}

fn conclude(
    rule: &Rule,
    state: State,
    rows: u64,
    profile: Option<&Profile>,
    columns: &[Column],
) -> RuleResult {
    let mut result = RuleResult {
        rule: rule.to_string(),
        check: rule.kind.name().to_owned(),
        columns: rule.columns.clone(),
        severity: rule.severity,
        passed: true,
        observed: None,
        rows: 0,
        unexpected_count: 0,
        unexpected_percent: 0.0,
        sample: Vec::new(),
        note: None,
    };
    match state {
        State::Decided { passed, observed, note } => {
            (result.passed, result.observed, result.note) = (passed, observed, note);
        }
        State::Rows { tally, .. } | State::Unique { tally, .. } => {
            result.passed = tally.passes(rule.mostly);
            result.rows = tally.looked_at;
            result.unexpected_count = tally.unexpected;
            if tally.looked_at > 0 {
                result.unexpected_percent = tally.unexpected as f64 * 100.0 / tally.looked_at as f64;
            } else {
                result.note = Some("no values to look at".into());
            }
            result.sample = tally.sample;
        }
        State::Count => {
            result.rows = rows;
            result.observed = Some(rows.into());
            if let RuleKind::Rows(bounds) = &rule.kind {
                result.passed = bounds.contains(rows as f64);
            }
        }
        State::Whole => {
            let column = rule.column().and_then(|name| profile.and_then(|profile| profile.column(name)));
            let moment = columns.iter().any(|column| {
                Some(column.name.as_str()) == rule.column() && column.column_type == ColumnType::Timestamp
            });
            if let Some(column) = column {
                result.rows = column.count;
                conclude_whole(&rule.kind, column, moment, &mut result);
            }
        }
    }
    result
}

/// Rules on a whole column, from its profile.
fn conclude_whole(kind: &RuleKind, column: &ColumnProfile, moment: bool, result: &mut RuleResult) {
    match kind {
        RuleKind::Aggregate(statistic, bounds) => match aggregate(*statistic, column) {
            None => {
                result.passed = false;
                result.note = Some("there are no values to compute it from".into());
            }
            Some((value, exact)) => {
                result.passed = bounds.contains(value);
                let is_moment = moment
                    && matches!(
                        statistic,
                        Statistic::Min
                            | Statistic::Max
                            | Statistic::Mean
                            | Statistic::Median
                            | Statistic::Quantile(_)
                    );
                result.observed = Some(if is_moment {
                    rondo_core::Timestamp(value as i64).rfc3339().into()
                } else if *statistic == Statistic::DistinctCount {
                    (value as u64).into()
                } else {
                    value.into()
                });
                result.note = (!exact).then(|| "an estimate".to_owned());
            }
        },
        RuleKind::DistinctInSet(wanted) => distinct(wanted, column, true, false, result),
        RuleKind::DistinctEqualSet(wanted) => distinct(wanted, column, true, true, result),
        RuleKind::DistinctContainsSet(wanted) => distinct(wanted, column, false, true, result),
        _ => {}
    }
}

/// A statistic of the column and whether it is exact; nothing when there are no values.
fn aggregate(statistic: Statistic, column: &ColumnProfile) -> Option<(f64, bool)> {
    if statistic == Statistic::DistinctCount {
        return column.distinct().map(|distinct| (distinct.count as f64, distinct.exact));
    }
    let numeric = column.numeric.as_ref().filter(|numeric| numeric.moments.count > 0)?;
    let exact = numeric.exact_values().is_some();
    match statistic {
        Statistic::Min => Some((numeric.moments.min, true)),
        Statistic::Max => Some((numeric.moments.max, true)),
        Statistic::Mean => Some((numeric.moments.mean, true)),
        Statistic::Std => Some((numeric.moments.std(), true)),
        Statistic::Sum => Some((numeric.moments.sum, true)),
        Statistic::Median => numeric.quantile(0.5).map(|value| (value, exact)),
        Statistic::Quantile(at) => numeric.quantile(at).map(|value| (value, exact)),
        Statistic::DistinctCount => None,
    }
}

/// Compares the set of a column's values with another: none outside, none lacking, or both.
fn distinct(wanted: &[Value], column: &ColumnProfile, no_others: bool, all: bool, result: &mut RuleResult) {
    let Some(found) = distinct_texts(column) else {
        result.passed = false;
        result.note = Some("there are too many different values to know them all".into());
        return;
    };
    let wanted: BTreeSet<String> =
        wanted.iter().filter_map(|value| text_for(value, column.column_type)).collect();
    let name = |values: Vec<&String>| {
        let more = values.len().saturating_sub(5);
        let mut words: Vec<&str> = values.iter().take(5).map(|value| value.as_str()).collect();
        let rest = format!("{more} more");
        if more > 0 {
            words.push(&rest);
        }
        words.join(", ")
    };
    let mut notes = Vec::new();
    let others: Vec<&String> = found.difference(&wanted).collect();
    if no_others && !others.is_empty() {
        notes.push(format!("unexpected: {}", name(others)));
    }
    let lacking: Vec<&String> = wanted.difference(&found).collect();
    if all && !lacking.is_empty() {
        notes.push(format!("missing: {}", name(lacking)));
    }
    result.passed = notes.is_empty();
    result.note = (!notes.is_empty()).then(|| notes.join("; "));
}

fn distinct_texts(column: &ColumnProfile) -> Option<BTreeSet<String>> {
    match (&column.numeric, &column.category) {
        (Some(numeric), _) => {
            Some(numeric.exact_values()?.iter().map(|(value, _)| value.to_string()).collect())
        }
        (None, Some(category)) => Some(category.counts()?.keys().cloned().collect()),
        (None, None) => None,
    }
}

/// A wanted value in the form of [`distinct_texts`].
fn text_for(value: &Value, column_type: ColumnType) -> Option<String> {
    match column_type {
        ColumnType::Integer | ColumnType::Number => value.as_f64().map(|number| (number + 0.0).to_string()),
        ColumnType::Timestamp => {
            value.as_str().and_then(crate::moment::parse_millis).map(|millis| (millis as f64).to_string())
        }
        ColumnType::Boolean | ColumnType::String | ColumnType::Other => {
            Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        }
    }
}
