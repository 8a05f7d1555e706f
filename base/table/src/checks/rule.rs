//! What a rule is.

use std::fmt;

use rondo_core::signature::ColumnType;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Result, TableError};

/// An ordered list of rules.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Suite {
    /// The rules.
    pub rules: Vec<Rule>,
}

impl Suite {
    /// Reads a list of rules; every fault in one go, each with its place in the list counted from 0.
    ///
    /// # Errors
    /// The faults, when there are any; a single one with place 0 when it is no list.
    pub fn parse(list: &Value) -> Result<Self, Vec<(usize, TableError)>> {
        let Value::Array(items) = list else {
            let reason = "a list of checks is expected".to_owned();
            return Err(vec![(0, TableError::CheckInvalid { check: list.to_string(), reason })]);
        };
        let mut rules = Vec::with_capacity(items.len());
        let mut faults = Vec::new();
        for (at, item) in items.iter().enumerate() {
            match Rule::parse(item) {
                Ok(rule) => rules.push(rule),
                Err(fault) => faults.push((at, fault)),
            }
        }
        if faults.is_empty() { Ok(Self { rules }) } else { Err(faults) }
    }
}

/// One expectation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Rule {
    /// The columns it is about: none (the table), one, or several for `unique`.
    pub columns: Vec<String>,
    /// What is expected.
    pub kind: RuleKind,
    /// The share of values that must pass, 0 to 1.
    pub mostly: f64,
    /// What a failure means.
    pub severity: Severity,
    /// The rule as it was written.
    source: Value,
}

impl Rule {
    pub(super) fn new(
        columns: Vec<String>,
        kind: RuleKind,
        mostly: f64,
        severity: Severity,
        source: Value,
    ) -> Self {
        Self { columns, kind, mostly, severity, source }
    }

    /// The column, of a rule about one.
    pub fn column(&self) -> Option<&str> {
        match self.columns.as_slice() {
            [column] => Some(column),
            _ => None,
        }
    }

    /// Every column that has to be read for it.
    pub fn needs(&self) -> Vec<&str> {
        let mut needs: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        if let RuleKind::GreaterThan { other, .. } = &self.kind {
            needs.push(other);
        }
        needs
    }
}

impl TryFrom<Value> for Rule {
    type Error = TableError;

    fn try_from(value: Value) -> Result<Self> {
        Self::parse(&value)
    }
}

impl From<Rule> for Value {
    fn from(rule: Rule) -> Self {
        rule.source
    }
}

impl fmt::Display for Rule {
    /// For people: `carrier: in_set AA, B6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.columns.is_empty() {
            write!(f, "{}: ", self.columns.join(", "))?;
        }
        write!(f, "{}", self.kind)?;
        if self.mostly < 1.0 {
            write!(f, " for {} %", self.mostly * 100.0)?;
        }
        Ok(())
    }
}

/// What a failure of a rule means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The table is not accepted.
    #[default]
    Error,
    /// It is said and no more.
    Warning,
}

/// One end of a range of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// A number.
    Number(f64),
    /// A moment, in milliseconds.
    Moment(i64),
}

impl Limit {
    /// The limit on the scale of the column's values: moments are compared as milliseconds.
    pub(super) fn value(self) -> f64 {
        match self {
            Self::Number(number) => number,
            Self::Moment(millis) => millis as f64,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Moment(millis) => write!(f, "{}", rondo_core::Timestamp(*millis)),
        }
    }
}

/// A range with at least one end.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bounds {
    /// The least allowed.
    pub min: Option<Limit>,
    /// The greatest allowed.
    pub max: Option<Limit>,
    /// Whether `min` itself is excluded.
    pub strict_min: bool,
    /// Whether `max` itself is excluded.
    pub strict_max: bool,
}

impl Bounds {
    /// Whether a value lies inside.
    pub fn contains(&self, value: f64) -> bool {
        let above = self
            .min
            .is_none_or(|min| if self.strict_min { value > min.value() } else { value >= min.value() });
        let below = self
            .max
            .is_none_or(|max| if self.strict_max { value < max.value() } else { value <= max.value() });
        above && below
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let above = if self.strict_min { ">" } else { "≥" };
        let below = if self.strict_max { "<" } else { "≤" };
        match (self.min, self.max) {
            (Some(min), Some(max)) => write!(f, "{above} {min} and {below} {max}"),
            (Some(min), None) => write!(f, "{above} {min}"),
            (None, Some(max)) => write!(f, "{below} {max}"),
            (None, None) => f.write_str("anything"),
        }
    }
}

/// A number computed from a whole column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The mean.
    Mean,
    /// The median; estimated beyond 10,000 different values.
    Median,
    /// The standard deviation with divisor n − 1.
    Std,
    /// The sum.
    Sum,
    /// A quantile; estimated beyond 10,000 different values.
    Quantile(f64),
    /// How many values differ; estimated beyond 10,000.
    DistinctCount,
}

impl fmt::Display for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Min => f.write_str("min"),
            Self::Max => f.write_str("max"),
            Self::Mean => f.write_str("mean"),
            Self::Median => f.write_str("median"),
            Self::Std => f.write_str("std"),
            Self::Sum => f.write_str("sum"),
            Self::Quantile(at) => write!(f, "quantile {at}"),
            Self::DistinctCount => f.write_str("distinct_count"),
        }
    }
}

/// What a text can be read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parse {
    /// An ISO 8601 moment.
    Timestamp,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A JSON value.
    Json,
}

/// What is expected.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleKind {
    /// Every row has a value.
    NotNull,
    /// No row has a value.
    Null,
    /// No two rows have the same value (of several columns: the same values together).
    Unique,
    /// Every value is one of these.
    InSet(Vec<Value>),
    /// No value is one of these.
    NotInSet(Vec<Value>),
    /// Every value lies in the range.
    Between(Bounds),
    /// A match of the regular expression is found in every value.
    Matches(String),
    /// A match is found in no value.
    NotMatches(String),
    /// The length of every text, in characters, lies in the range.
    Length(Bounds),
    /// The column has one of these types.
    Type(Vec<ColumnType>),
    /// No value is below the one before it; strictly: every one is above.
    Increasing {
        /// Equal neighbours are not allowed.
        strict: bool,
    },
    /// No value is above the one before it; strictly: every one is below.
    Decreasing {
        /// Equal neighbours are not allowed.
        strict: bool,
    },
    /// A number computed from the column lies in the range.
    Aggregate(Statistic, Bounds),
    /// The different values are all among these.
    DistinctInSet(Vec<Value>),
    /// The different values are exactly these.
    DistinctEqualSet(Vec<Value>),
    /// All of these occur.
    DistinctContainsSet(Vec<Value>),
    /// The column exists.
    Exists,
    /// The table has exactly these columns.
    Columns {
        /// Their names.
        names: Vec<String>,
        /// Whether in this order.
        ordered: bool,
    },
    /// The number of rows lies in the range.
    Rows(Bounds),
    /// Every value is greater than that of another column in the same row.
    GreaterThan {
        /// The other column.
        other: String,
        /// Whether they may be equal.
        or_equal: bool,
    },
    /// Every text can be read as this.
    ParsesAs(Parse),
}

impl RuleKind {
    /// The name, as rules write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotNull => "not_null",
            Self::Null => "null",
            Self::Unique => "unique",
            Self::InSet(_) => "in_set",
            Self::NotInSet(_) => "not_in_set",
            Self::Between(_) => "between",
            Self::Matches(_) => "matches",
            Self::NotMatches(_) => "not_matches",
            Self::Length(_) => "length",
            Self::Type(_) => "type",
            Self::Increasing { .. } => "increasing",
            Self::Decreasing { .. } => "decreasing",
            Self::Aggregate(Statistic::Min, _) => "min",
            Self::Aggregate(Statistic::Max, _) => "max",
            Self::Aggregate(Statistic::Mean, _) => "mean",
            Self::Aggregate(Statistic::Median, _) => "median",
            Self::Aggregate(Statistic::Std, _) => "std",
            Self::Aggregate(Statistic::Sum, _) => "sum",
            Self::Aggregate(Statistic::Quantile(_), _) => "quantile",
            Self::Aggregate(Statistic::DistinctCount, _) => "distinct_count",
            Self::DistinctInSet(_) => "distinct_in_set",
            Self::DistinctEqualSet(_) => "distinct_equal_set",
            Self::DistinctContainsSet(_) => "distinct_contains_set",
            Self::Exists => "exists",
            Self::Columns { .. } => "columns",
            Self::Rows(_) => "rows",
            Self::GreaterThan { .. } => "greater_than",
            Self::ParsesAs(_) => "parses_as",
        }
    }
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::NotNull | Self::Null | Self::Unique | Self::Exists => f.write_str(name),
            Self::InSet(values)
            | Self::NotInSet(values)
            | Self::DistinctInSet(values)
            | Self::DistinctEqualSet(values)
            | Self::DistinctContainsSet(values) => write!(f, "{name} {}", listed(values)),
            Self::Between(bounds) | Self::Length(bounds) | Self::Rows(bounds) => write!(f, "{name} {bounds}"),
            Self::Matches(regex) | Self::NotMatches(regex) => write!(f, "{name} {regex}"),
            Self::Type(types) => {
                let words: Vec<&str> = types.iter().map(|column_type| column_type.text()).collect();
                write!(f, "{name} {}", words.join(" or "))
            }
            Self::Increasing { strict } | Self::Decreasing { strict } => {
                write!(f, "{}{name}", if *strict { "strictly " } else { "" })
            }
            Self::Aggregate(statistic, bounds) => write!(f, "{statistic} {bounds}"),
            Self::Columns { names, ordered } => {
                write!(f, "{name} {}{}", names.join(", "), if *ordered { " in this order" } else { "" })
            }
            Self::GreaterThan { other, or_equal } => {
                write!(f, "greater than {}{other}", if *or_equal { "or equal to " } else { "" })
            }
            Self::ParsesAs(parse) => {
                let word = match parse {
                    Parse::Timestamp => "timestamp",
                    Parse::Integer => "integer",
                    Parse::Number => "number",
                    Parse::Json => "json",
                };
                write!(f, "{name} {word}")
            }
        }
    }
}

/// The first values of a set, and how many more there are.
fn listed(values: &[Value]) -> String {
    const SHOWN: usize = 8;
    let mut words: Vec<String> = values
        .iter()
        .take(SHOWN)
        .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        .collect();
    if values.len() > SHOWN {
        words.push(format!("… {} more", values.len() - SHOWN));
    }
    words.join(", ")
}
