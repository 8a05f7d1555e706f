//! Rules in words: `carrier: in_set AA, B6 where origin = 'JFK'`.

use std::fmt;

use serde_json::Value;

use super::rule::{
    Bounds, Interpolation, Limit, Other, OutlierMethod, Parse, Partition, Patterns, Rule, RuleKind,
};

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.columns.is_empty() {
            write!(f, "{}: ", self.columns.join(", "))?;
        }
        write!(f, "{}", self.expected())
    }
}

impl Rule {
    /// What is expected, without the columns.
    pub fn expected(&self) -> String {
        let mut text = self.kind.to_string();
        if self.mostly < 1.0 {
            text.push_str(&format!(" for {} %", self.mostly * 100.0));
        }
        if let Some(condition) = &self.condition {
            text.push_str(&format!(" where {condition}"));
        }
        text
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Exact(number) => write!(f, "{number}"),
            Self::Moment(moment) => write!(f, "{moment}"),
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let above = if self.strict_min { ">" } else { "≥" };
        let below = if self.strict_max { "<" } else { "≤" };
        match (self.min, self.max) {
            (Some(min), Some(max)) if min == max && !self.strict_min && !self.strict_max => {
                write!(f, "= {min}")
            }
            (Some(min), Some(max)) => write!(f, "{above} {min} and {below} {max}"),
            (Some(min), None) => write!(f, "{above} {min}"),
            (None, Some(max)) => write!(f, "{below} {max}"),
            (None, None) => f.write_str("anything"),
        }
    }
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dataset(name) | Self::Path(name) => f.write_str(name),
        }
    }
}

impl Interpolation {
    /// The word.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Linear => "linear",
            Self::Lower => "lower",
            Self::Higher => "higher",
            Self::Midpoint => "midpoint",
        }
    }
}

impl Parse {
    /// The word.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.list.join(if self.all { " and " } else { " or " }))
    }
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::NotNull | Self::Null | Self::Unique | Self::Differ | Self::Exists { index: None } => {
                f.write_str(name)
            }
            Self::Exists { index: Some(index) } => write!(f, "{name} at place {index}"),
            Self::InSet(values)
            | Self::NotInSet(values)
            | Self::DistinctInSet(values)
            | Self::DistinctEqualSet(values)
            | Self::DistinctContainsSet(values)
            | Self::MostCommon { values, .. } => write!(f, "{name} {}", listed(values)),
            Self::Between(bounds)
            | Self::Length(bounds)
            | Self::Rows(bounds)
            | Self::ColumnCount(bounds)
            | Self::Aggregate(_, bounds) => write!(f, "{name} {bounds}"),
            Self::Quantiles(list, _) => {
                let words: Vec<String> = list.iter().map(|(at, bounds)| format!("{at} {bounds}")).collect();
                write!(f, "{name} {}", words.join("; "))
            }
            Self::Matches(patterns) | Self::NotMatches(patterns) => write!(f, "{name} {patterns}"),
            Self::Type(types) => {
                let words: Vec<&str> = types.iter().map(|column_type| column_type.text()).collect();
                write!(f, "{name} {}", words.join(" or "))
            }
            Self::Increasing { strict } | Self::Decreasing { strict } => {
                write!(f, "{}{name}", if *strict { "strictly " } else { "" })
            }
            Self::Columns { names, ordered, exact } => {
                let more = match (ordered, exact) {
                    (true, _) => " in this order",
                    (false, true) => "",
                    (false, false) => " at least",
                };
                write!(f, "{name} {}{more}", names.join(", "))
            }
            Self::GreaterThan { other, or_equal } => {
                write!(f, "greater than {}{other}", if *or_equal { "or equal to " } else { "" })
            }
            Self::EqualTo { other } => write!(f, "equal to {other}"),
            Self::PairsInSet(pairs) => {
                let pairs: Vec<Value> =
                    pairs.iter().map(|(a, b)| Value::Array(vec![a.clone(), b.clone()])).collect();
                write!(f, "{name} {}", listed(&pairs))
            }
            Self::SumsTo(total) => write!(f, "sums to {total}"),
            Self::ParsesAs(parse) => write!(f, "{name} {}", parse.text()),
            Self::Format(format) => write!(f, "{name} {format}"),
            Self::JsonSchema(_) => f.write_str(name),
            Self::ZScore { max, double_sided } => {
                let size = if *double_sided { "|z|" } else { "z" };
                write!(f, "{size} < {max}")
            }
            Self::NotOutliers { method, multiplier } => {
                let method = match method {
                    OutlierMethod::Iqr => "interquartile ranges",
                    OutlierMethod::Std => "standard deviations",
                };
                write!(f, "not outliers by {multiplier} {method}")
            }
            Self::Divergence { partition, max, .. } => {
                let parts = match partition {
                    Partition::Values(values) => format!("{} values", values.len()),
                    Partition::Bins { weights, .. } => format!("{} bins", weights.len()),
                };
                match max {
                    Some(max) => write!(f, "{name} from {parts} ≤ {max}"),
                    None => write!(f, "{name} from {parts}"),
                }
            }
            Self::Drift { reference, method, max } => {
                write!(f, "no drift from {reference}")?;
                if let Some(method) = method {
                    write!(f, " by {}", method.text())?;
                }
                max.map_or(Ok(()), |max| write!(f, " ≥ {max}"))
            }
            Self::Association { other, max } => write!(f, "phi with {other} ≤ {max}"),
            Self::Fresh(within) => write!(f, "{name} within {within}"),
            Self::References { table, columns } => {
                write!(f, "{name} {table}({})", columns.join(", "))
            }
            Self::RowsEqual(other) | Self::SameSchema(other) => write!(f, "{name} {other}"),
            Self::Sql { query, .. } => {
                let line = query.split_whitespace().collect::<Vec<_>>().join(" ");
                let short: String = line.chars().take(80).collect();
                let more = if short.len() < line.len() { "…" } else { "" };
                write!(f, "no row from {short}{more}")
            }
        }
    }
}

/// The first values of a set, and how many more there are.
pub(super) fn listed(values: &[Value]) -> String {
    const SHOWN: usize = 8;
    let mut words: Vec<String> = values.iter().take(SHOWN).map(word).collect();
    if values.len() > SHOWN {
        words.push(format!("… {} more", values.len() - SHOWN));
    }
    words.join(", ")
}

/// A value without the quotes of JSON.
pub(super) fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
