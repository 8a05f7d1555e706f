//! What a suite says of a table.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::rule::Severity;

/// What a suite says of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Whether every rule of severity `error` holds.
    pub passed: bool,
    /// Rows of the table.
    pub rows: u64,
    /// Whether all was told from a stored profile, and no row was read.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub from_profile: bool,
    /// Each rule, in the order of the suite; of a rule with slices one result a slice.
    pub rules: Vec<RuleResult>,
}

impl CheckReport {
    /// The rules that do not hold, whatever their severity.
    pub fn failures(&self) -> impl Iterator<Item = &RuleResult> {
        self.rules.iter().filter(|rule| !rule.passed)
    }

    pub(super) fn of(rows: u64, rules: Vec<RuleResult>) -> Self {
        let passed = rules.iter().all(|rule| rule.passed || rule.severity != Severity::Error);
        Self { passed, rows, from_profile: false, rules }
    }
}

/// What came of one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleResult {
    /// The rule in words: `carrier: in_set AA, B6`.
    pub rule: String,
    /// What its writer calls it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// The name of the check.
    pub check: String,
    /// The column or columns, none of a rule about the table.
    pub columns: Vec<String>,
    /// What is expected, without the columns.
    #[serde(default)]
    pub expected: String,
    /// The rows that it is about: `carrier = AA`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slice: Option<String>,
    /// What a failure means.
    pub severity: Severity,
    /// Whether it holds.
    pub passed: bool,
    /// The number, type or names that were compared, where the rule is about one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub observed: Option<Value>,
    /// Values that were looked at.
    pub rows: u64,
    /// Values that are missing and were not.
    #[serde(default)]
    pub missing: u64,
    /// Of which did not pass.
    pub unexpected_count: u64,
    /// The same in per cent; 0 when none was looked at.
    pub unexpected_percent: f64,
    /// The first of them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub sample: Vec<Sample>,
    /// Why it could not be decided, how exact the number is, and the like.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// The numbers of the first rows that did not pass, as many as were asked for.
    #[serde(skip)]
    pub failing: Vec<u64>,
}

impl RuleResult {
    /// What was found, in a few words.
    pub fn found(&self) -> String {
        let observed = self.observed.as_ref().map(|value| match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => match number.as_f64() {
                Some(value) if !number.is_u64() && !number.is_i64() => short(value),
                _ => number.to_string(),
            },
            other => other.to_string(),
        });
        observed.into_iter().chain(self.note.clone()).collect::<Vec<_>>().join("; ")
    }

    /// What is wrong, in one line; of a rule that holds, that it does.
    pub fn message(&self) -> String {
        let mut parts = Vec::new();
        if self.unexpected_count > 0 {
            let count = self.unexpected_count;
            parts.push(match self.rows {
                0 => format!("{count} rows"),
                rows => format!("{count} of {rows} values ({:.2} %)", self.unexpected_percent),
            });
        }
        if let Some(observed) = &self.observed {
            let text = observed.as_str().map_or_else(|| observed.to_string(), str::to_owned);
            parts.push(format!("found {text}"));
        }
        parts.extend(self.note.clone());
        if parts.is_empty() {
            parts.push(if self.passed { "holds".into() } else { "does not hold".into() });
        }
        parts.join("; ")
    }
}

impl Sample {
    /// The row's key and the value, in one line: `id=17 "UA"`.
    pub fn text(&self) -> String {
        let key = self.key.iter().flatten().map(|(name, value)| format!("{name}={value}"));
        key.chain([self.value.to_string()]).collect::<Vec<_>>().join("  ")
    }
}

/// A number with at most six significant digits.
fn short(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        return format!("{value:.4e}");
    }
    let digits = (5.0 - size.max(1e-4).log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// An offending value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The row, counted from 1; of a CSV without line breaks in fields it stands one line further down.
    pub row: u64,
    /// What the row is told by in its table, where that is not what is looked at: its key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<Map<String, Value>>,
    /// The value, or the values of all columns of the rule.
    pub value: Value,
}
