//! What a rule is: the columns, what is expected of them, of which rows, how strictly.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use rondo_core::Span;
use rondo_core::signature::ColumnType;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::condition::Condition;
use crate::decimal::Decimal;
use crate::error::{Result, TableError};
use crate::moment::Moment;

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
    /// What it is called, where its writer has given it a name.
    pub name: Option<String>,
    /// The columns it is about: none (the table), one, or several.
    pub columns: Vec<String>,
    /// What is expected.
    pub kind: RuleKind,
    /// The share of values that must pass, 0 to 1.
    pub mostly: f64,
    /// What a failure means.
    pub severity: Severity,
    /// Only of the rows for which this holds.
    pub condition: Option<Condition>,
    /// Of the rows of each value of a column by themselves.
    pub slices: Option<Slices>,
    /// Which rows with missing values are not looked at, of rules about several columns.
    pub missing: Missing,
    /// The rule as it was written.
    pub(super) source: Value,
}

impl Rule {
    /// The column, of a rule about one.
    pub fn column(&self) -> Option<&str> {
        match self.columns.as_slice() {
            [column] => Some(column),
            _ => None,
        }
    }

    /// Every column that has to be there for it.
    pub fn needs(&self) -> Vec<&str> {
        let mut needs: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        match &self.kind {
            RuleKind::GreaterThan { other, .. }
            | RuleKind::EqualTo { other }
            | RuleKind::Association { other, .. } => needs.push(other),
            _ => {}
        }
        if let Some(condition) = &self.condition {
            needs.extend(condition.columns());
        }
        needs.extend(self.slices.iter().map(|slices| slices.column.as_str()));
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

/// What a failure of a rule means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The table is not accepted.
    #[default]
    Error,
    /// It is said and no more.
    Warning,
    /// It is noted.
    Info,
}

impl Severity {
    /// The word.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// A rule for each value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slices {
    /// The column.
    pub column: String,
    /// Values with fewer rows are taken together.
    pub min_rows: u64,
    /// So many values, the most frequent, stand alone at most.
    pub most: usize,
}

/// Which rows of a rule about several columns are not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Those without any of the values.
    All,
    /// Those that lack one of the values.
    Any,
    /// None: what is missing is looked at.
    Never,
}

/// One end of a range of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// A number.
    Number(f64),
    /// A number of more digits than one of floating point tells from its neighbours.
    Exact(Decimal),
    /// A moment.
    Moment(Moment),
}

impl Limit {
    /// The limit on the scale of the column's values: moments are compared on theirs.
    pub(super) fn value(self) -> f64 {
        match self {
            Self::Number(number) => number,
            Self::Exact(number) => number.nearest(),
            Self::Moment(moment) => moment.scale(),
        }
    }

    fn decimal(self) -> Option<Decimal> {
        match self {
            Self::Number(number) => Decimal::of_number(number),
            Self::Exact(number) => Some(number),
            Self::Moment(moment) => Some(Decimal::moment(moment.0)),
        }
    }

    /// How a floating-point number lies to it.
    fn order(self, value: f64) -> Option<Ordering> {
        match (value.partial_cmp(&self.value())?, self) {
            (Ordering::Equal, Self::Exact(limit)) => Some(Decimal::of_number(value)?.cmp(&limit)),
            (order, _) => Some(order),
        }
    }
}

/// A range.
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
        self.holds(|limit| limit.order(value), self.min, self.max)
    }

    /// The same range, for values that are told to their last digit.
    pub(super) fn exactly(&self) -> Exactly {
        let end = |limit: Limit| (limit.value(), limit.decimal());
        Exactly { bounds: *self, min: self.min.map(end), max: self.max.map(end) }
    }

    /// Whether what lies so to both ends lies inside.
    fn holds<T>(&self, order: impl Fn(T) -> Option<Ordering>, min: Option<T>, max: Option<T>) -> bool {
        let inside = |order: Option<Ordering>, side: Ordering, strict: bool| {
            order.is_some_and(|order| order == side || !strict && order.is_eq())
        };
        min.is_none_or(|min| inside(order(min), Ordering::Greater, self.strict_min))
            && max.is_none_or(|max| inside(order(max), Ordering::Less, self.strict_max))
    }

    /// From one number to another.
    pub(super) fn numbers(min: f64, max: f64, strict: bool) -> Self {
        Self {
            min: Some(Limit::Number(min)),
            max: Some(Limit::Number(max)),
            strict_min: strict,
            strict_max: strict,
        }
    }
}

/// A range whose ends are made ready to be compared with many values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exactly {
    bounds: Bounds,
    min: Option<(f64, Option<Decimal>)>,
    max: Option<(f64, Option<Decimal>)>,
}

impl Exactly {
    /// Whether a value lies inside, by its nearest number, and by all its digits where that is the limit's too.
    pub(super) fn contains(&self, number: f64, value: impl Fn() -> Option<Decimal>) -> bool {
        let order = |(nearest, limit): (f64, Option<Decimal>)| {
            let order = number.partial_cmp(&nearest)?;
            let digits = || Some(value()?.cmp(&limit?));
            Some(order.then_with(|| digits().unwrap_or(order)))
        };
        self.bounds.holds(order, self.min, self.max)
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
    /// The median.
    Median,
    /// The standard deviation with divisor n − 1.
    Std,
    /// The sum.
    Sum,
    /// How many values differ.
    DistinctCount,
    /// How many values differ, of all that are there.
    DistinctShare,
    /// The share of rows with a value.
    NotNullShare,
}

/// What lies between two values of a quantile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interpolation {
    /// The nearer one.
    #[default]
    Nearest,
    /// The point between them.
    Linear,
    /// The lower one.
    Lower,
    /// The higher one.
    Higher,
    /// Half-way.
    Midpoint,
}

/// What a text can be read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parse {
    /// An ISO 8601 moment.
    Timestamp,
    /// A day or moment in one of the usual ways to write one.
    Date,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A JSON value.
    Json,
}

/// Regular expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns {
    /// The expressions.
    pub list: Vec<String>,
    /// Whether all of them count and not any one.
    pub all: bool,
}

/// Another table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Other {
    /// A dataset of the project.
    Dataset(String),
    /// A file, from where the suite stands.
    Path(String),
}

/// How outliers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutlierMethod {
    /// By Tukey's fences: so many interquartile ranges from the quartiles.
    Iqr,
    /// By distance from the mean in standard deviations.
    Std,
}

/// An expected distribution.
#[derive(Debug, Clone, PartialEq)]
pub enum Partition {
    /// Shares of values.
    Values(Vec<(Value, f64)>),
    /// Shares of bins between ascending edges; the last bin includes its upper edge.
    Bins {
        /// One more than there are weights; the outer two may be infinite.
        edges: Vec<f64>,
        /// The shares.
        weights: Vec<f64>,
        /// The shares below and above all edges.
        tails: Option<(f64, f64)>,
    },
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
    /// A match of the regular expressions is found in every value.
    Matches(Patterns),
    /// A match is found in no value.
    NotMatches(Patterns),
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
    /// Quantiles lie in their ranges.
    Quantiles(Vec<(f64, Bounds)>, Interpolation),
    /// The different values are all among these.
    DistinctInSet(Vec<Value>),
    /// The different values are exactly these.
    DistinctEqualSet(Vec<Value>),
    /// All of these occur.
    DistinctContainsSet(Vec<Value>),
    /// The commonest value is one of these.
    MostCommon {
        /// The values.
        values: Vec<Value>,
        /// Whether several may be the commonest.
        ties: bool,
    },
    /// The column exists.
    Exists {
        /// At this place, counted from 0.
        index: Option<u64>,
    },
    /// The table has these columns.
    Columns {
        /// Their names.
        names: Vec<String>,
        /// Whether in this order.
        ordered: bool,
        /// Whether no others.
        exact: bool,
    },
    /// The number of columns lies in the range.
    ColumnCount(Bounds),
    /// The number of rows lies in the range.
    Rows(Bounds),
    /// Every value is greater than that of another column in the same row.
    GreaterThan {
        /// The other column.
        other: String,
        /// Whether they may be equal.
        or_equal: bool,
    },
    /// Every value equals that of another column in the same row.
    EqualTo {
        /// The other column.
        other: String,
    },
    /// The values of two columns are one of these pairs.
    PairsInSet(Vec<(Value, Value)>),
    /// The values of several columns add up to this.
    SumsTo(f64),
    /// The values of several columns differ within each row.
    Differ,
    /// Every text can be read as this.
    ParsesAs(Parse),
    /// Every text is a moment in this form of `strftime`.
    Format(String),
    /// Every text is JSON that this schema holds of.
    JsonSchema(Value),
    /// Every value lies within so many standard deviations of the mean.
    ZScore {
        /// How many.
        max: f64,
        /// Whether below the mean too.
        double_sided: bool,
    },
    /// No value is an outlier.
    NotOutliers {
        /// By this method.
        method: OutlierMethod,
        /// So many spreads away.
        multiplier: f64,
    },
    /// The Kullback-Leibler divergence from an expected distribution is at most this.
    Divergence {
        /// What is expected.
        partition: Partition,
        /// At most.
        max: Option<f64>,
        /// The share that is left for values or tails that are not expected.
        tail_holdout: f64,
        /// The share that is left for bins of no weight.
        internal_holdout: f64,
    },
    /// The column has not drifted from that of another table or profile.
    Drift {
        /// The reference.
        reference: Other,
        /// By this measure; where absent by those of [`crate::drift`].
        method: Option<crate::drift::Method>,
        /// At most, where not the default.
        max: Option<f64>,
    },
    /// Cramér's phi of two columns is at most this.
    Association {
        /// The other column.
        other: String,
        /// At most.
        max: f64,
    },
    /// The newest moment is no older than this.
    Fresh(Span),
    /// Every value occurs in a column of another table.
    References {
        /// The other table.
        table: Other,
        /// Its columns, as many as the rule's.
        columns: Vec<String>,
    },
    /// Another table has as many rows.
    RowsEqual(Other),
    /// Another table has the same columns.
    SameSchema(Other),
    /// A statement gives no row; the table is called `data` in it.
    Sql {
        /// The statement.
        query: String,
        /// Other tables by the names that it gives them.
        tables: BTreeMap<String, Other>,
    },
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
            Self::Aggregate(statistic, _) => statistic.name(),
            Self::Quantiles(list, _) if list.len() == 1 => "quantile",
            Self::Quantiles(_, _) => "quantiles",
            Self::DistinctInSet(_) => "distinct_in_set",
            Self::DistinctEqualSet(_) => "distinct_equal_set",
            Self::DistinctContainsSet(_) => "distinct_contains_set",
            Self::MostCommon { .. } => "most_common",
            Self::Exists { .. } => "exists",
            Self::Columns { .. } => "columns",
            Self::ColumnCount(_) => "column_count",
            Self::Rows(_) => "rows",
            Self::GreaterThan { .. } => "greater_than",
            Self::EqualTo { .. } => "equal_to",
            Self::PairsInSet(_) => "pairs_in_set",
            Self::SumsTo(_) => "sums_to",
            Self::Differ => "differ",
            Self::ParsesAs(_) => "parses_as",
            Self::Format(_) => "format",
            Self::JsonSchema(_) => "json_schema",
            Self::ZScore { .. } => "z_score",
            Self::NotOutliers { .. } => "not_outliers",
            Self::Divergence { .. } => "divergence",
            Self::Drift { .. } => "drift",
            Self::Association { .. } => "association",
            Self::Fresh(_) => "fresh",
            Self::References { .. } => "references",
            Self::RowsEqual(_) => "rows_equal",
            Self::SameSchema(_) => "same_schema",
            Self::Sql { .. } => "sql",
        }
    }

    /// Whether it asks for something other than the table: another one, an engine, the time.
    pub const fn looks_beyond(&self) -> bool {
        matches!(
            self,
            Self::Fresh(_)
                | Self::References { .. }
                | Self::RowsEqual(_)
                | Self::SameSchema(_)
                | Self::Drift { .. }
                | Self::Sql { .. }
        )
    }

    /// Whether it is about the table and names no column.
    pub(super) fn about_table(name: &str) -> bool {
        matches!(name, "rows" | "columns" | "column_count" | "rows_equal" | "same_schema" | "sql")
    }
}

impl Statistic {
    /// The name, as rules write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
            Self::Mean => "mean",
            Self::Median => "median",
            Self::Std => "std",
            Self::Sum => "sum",
            Self::DistinctCount => "distinct_count",
            Self::DistinctShare => "distinct_share",
            Self::NotNullShare => "not_null_share",
        }
    }

    /// Whether it is a value of the column's own kind, so that of moments it is a moment.
    pub(super) const fn is_value(self) -> bool {
        matches!(self, Self::Min | Self::Max | Self::Mean | Self::Median)
    }
}
