//! From the map that people write to a [`Rule`]: here what goes with any check, in [`argument`] what stands after its
//! name.

mod argument;

use argument::Argument;
use regex::Regex;
use serde_json::{Map, Value};

use super::condition::Condition;
use super::gx;
use super::rule::{Missing, Rule, RuleKind, Severity, Slices};
use crate::error::{Result, TableError};

const NAMES: [&str; 48] = [
    "not_null",
    "null",
    "unique",
    "in_set",
    "not_in_set",
    "between",
    "matches",
    "not_matches",
    "length",
    "type",
    "increasing",
    "decreasing",
    "min",
    "max",
    "mean",
    "median",
    "std",
    "sum",
    "quantile",
    "quantiles",
    "distinct_count",
    "distinct_share",
    "not_null_share",
    "distinct_in_set",
    "distinct_equal_set",
    "distinct_contains_set",
    "most_common",
    "exists",
    "columns",
    "column_count",
    "rows",
    "greater_than",
    "equal_to",
    "pairs_in_set",
    "sums_to",
    "differ",
    "parses_as",
    "format",
    "json_schema",
    "z_score",
    "not_outliers",
    "divergence",
    "drift",
    "association",
    "fresh",
    "references",
    "rows_equal",
    "same_schema",
];

/// The check whose name is one letter from many others: kept apart from the list that is searched for typos.
const SQL: &str = "sql";

/// What a rule of any kind may have beside its check.
const COMMON: [&str; 8] = ["name", "column", "columns", "mostly", "severity", "where", "by", "ignore_row_if"];

/// With fewer rows a slice does not stand alone.
const SLICE_ROWS: u64 = 30;
/// So many slices stand alone at most.
const SLICES: u64 = 50;

/// The name of every check.
pub fn names() -> Vec<&'static str> {
    NAMES.into_iter().chain([SQL]).collect()
}

/// The keys that a rule may have in the compact form: what goes with any check, then the checks.
pub fn keys() -> Vec<&'static str> {
    COMMON.into_iter().chain(names()).collect()
}

impl Rule {
    /// Reads a rule from its map: in the compact form, or as Great Expectations writes it.
    ///
    /// # Errors
    /// When the check is unknown (with the nearest known one), or its parts are missing or do not fit.
    pub fn parse(value: &Value) -> Result<Self> {
        let written = Written { value };
        if let Some(expectation) = gx::expectation(value) {
            let compact = expectation.and_then(|found| gx::compact(&found)).map_err(|fault| match fault {
                gx::Fault::Unknown(name) => {
                    let nearest = rondo_core::suggest::nearest(&name, gx::names());
                    TableError::CheckUnknown { name, nearest }
                }
                gx::Fault::Invalid(reason) => written.fault(reason),
            })?;
            let rule = Self::compact(&compact).map_err(|error| match error {
                TableError::CheckInvalid { reason, .. } => written.fault(reason),
                other => other,
            })?;
            return Ok(Self { source: value.clone(), ..rule });
        }
        Self::compact(value)
    }

    fn compact(value: &Value) -> Result<Self> {
        let rule = Written { value };
        let map = value
            .as_object()
            .ok_or_else(|| rule.fault("a map such as { column: x, not_null: true } is expected"))?;
        let (name, argument) = rule.name(map)?;
        // `unique: [a, b]` names its columns by itself.
        let named = if name == "unique" { texts(argument).filter(|names| !names.is_empty()) } else { None };
        let columns = match named.clone() {
            Some(names) if map.get("column").or(map.get("columns")).is_none() => names,
            Some(_) => return Err(rule.fault("either `unique: [...]` or `column`, not both")),
            None => rule.columns(map, name)?,
        };
        let argument = if named.is_some() { &Value::Bool(true) } else { argument };
        let mostly = rule.mostly(map, argument)?;
        let severity = rule.severity(map, argument)?;
        let condition = map.get("where").map(Condition::of_json).transpose();
        let condition = condition.map_err(|why| rule.fault(why))?;
        let slices = map.get("by").map(|by| rule.slices(by)).transpose()?;
        let missing = rule.missing(map, name)?;
        let kind = Argument { rule: &rule, name, value: argument }.kind()?;
        if let RuleKind::References { columns: there, .. } = &kind
            && there.len() != columns.len()
        {
            return Err(rule.fault("`references` needs as many columns there as there are here"));
        }
        let whole = RuleKind::about_table(name) && name != "rows" || matches!(kind, RuleKind::Exists { .. });
        if whole && (condition.is_some() || slices.is_some()) {
            return Err(rule.fault(format!("`{name}` takes neither `where` nor `by`")));
        }
        let name = match map.get("name") {
            None => None,
            Some(Value::String(name)) if !name.trim().is_empty() => Some(name.clone()),
            Some(_) => return Err(rule.fault("`name` is a text")),
        };
        let source = value.clone();
        Ok(Self { name, columns, kind, mostly, severity, condition, slices, missing, source })
    }
}

/// How many columns a check is about.
enum Count {
    None,
    One,
    Two,
    Any,
}

fn count(name: &str) -> Count {
    match name {
        name if RuleKind::about_table(name) => Count::None,
        "unique" | "references" => Count::Any,
        "pairs_in_set" => Count::Two,
        "sums_to" | "differ" => Count::Any,
        _ => Count::One,
    }
}

/// A rule as written, for messages.
struct Written<'a> {
    value: &'a Value,
}

impl Written<'_> {
    fn fault(&self, reason: impl Into<String>) -> TableError {
        TableError::CheckInvalid { check: self.value.to_string(), reason: reason.into() }
    }

    /// The one key that is the name of a check, with its argument.
    fn name<'v>(&self, map: &'v Map<String, Value>) -> Result<(&'static str, &'v Value)> {
        let mut found: Vec<(&'static str, &Value)> = Vec::new();
        for (key, argument) in map {
            if COMMON.contains(&key.as_str()) && key != "columns" {
                continue;
            }
            match NAMES.iter().chain([&SQL]).find(|name| *name == key) {
                Some(name) => found.push((name, argument)),
                None => {
                    let nearest = rondo_core::suggest::nearest(key, NAMES.into_iter().chain(COMMON));
                    return Err(TableError::CheckUnknown { name: key.clone(), nearest });
                }
            }
        }
        // `columns` beside another check names the columns of that one.
        if found.len() == 2 {
            found.retain(|(name, _)| *name != "columns");
        }
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(self.fault("it names no check, such as not_null")),
            _ => Err(self.fault("it names more than one check; make it two rules")),
        }
    }

    fn columns(&self, map: &Map<String, Value>, name: &str) -> Result<Vec<String>> {
        let column = map.get("column");
        let columns = map.get("columns").filter(|_| name != "columns");
        let found = match (column, columns) {
            (Some(_), Some(_)) => return Err(self.fault("either `column` or `columns`, not both")),
            (Some(column), None) => match column.as_str() {
                Some(column) => vec![column.to_owned()],
                None => return Err(self.fault("`column` is a name")),
            },
            (None, Some(columns)) => texts(columns)
                .filter(|names| !names.is_empty())
                .ok_or_else(|| self.fault("`columns` is a list of names"))?,
            (None, None) => Vec::new(),
        };
        match (count(name), found.len()) {
            (Count::None, 0) | (Count::One, 1) | (Count::Two, 2) => Ok(found),
            (Count::Any, 1..) => Ok(found),
            (Count::None, _) => Err(self.fault(format!("`{name}` is about the table and takes no column"))),
            (_, 0) => Err(self.fault(format!("`{name}` needs a `column`"))),
            (Count::Two, _) => Err(self.fault(format!("`{name}` needs two `columns`"))),
            (Count::One, _) => Err(self.fault(format!("`{name}` takes one `column`"))),
        }
    }

    fn mostly(&self, map: &Map<String, Value>, argument: &Value) -> Result<f64> {
        let Some(value) = map.get("mostly").or_else(|| argument.get("mostly")) else { return Ok(1.0) };
        value
            .as_f64()
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or_else(|| self.fault("`mostly` is a share between 0 and 1"))
    }

    fn severity(&self, map: &Map<String, Value>, argument: &Value) -> Result<Severity> {
        match map.get("severity").or_else(|| argument.get("severity")) {
            None => Ok(Severity::default()),
            Some(value) => match value.as_str() {
                Some("error" | "critical") => Ok(Severity::Error),
                Some("warning") => Ok(Severity::Warning),
                Some("info") => Ok(Severity::Info),
                Some(_) | None => Err(self.fault("`severity` is error, warning or info")),
            },
        }
    }

    /// Where nothing is said, rows that lack one of the values are not looked at, and of rules about whether
    /// values differ those that lack all.
    fn missing(&self, map: &Map<String, Value>, name: &str) -> Result<Missing> {
        let Some(value) = map.get("ignore_row_if") else {
            return Ok(if matches!(name, "unique" | "differ") { Missing::All } else { Missing::Any });
        };
        match value.as_str() {
            Some("any_value_is_missing" | "either_value_is_missing") => Ok(Missing::Any),
            Some("all_values_are_missing" | "both_values_are_missing") => Ok(Missing::All),
            Some("never") => Ok(Missing::Never),
            Some(_) | None => {
                Err(self.fault("`ignore_row_if` is any_value_is_missing, all_values_are_missing or never"))
            }
        }
    }

    fn slices(&self, by: &Value) -> Result<Slices> {
        let wanted = || self.fault("`by` is a column, or { column: …, min_rows: …, most: … }");
        let number = |key: &str, default: u64| match by.get(key) {
            None => Ok(default),
            Some(value) => value.as_u64().ok_or_else(wanted),
        };
        let column = by.as_str().or_else(|| by.get("column")?.as_str()).ok_or_else(wanted)?;
        if let Some(map) = by.as_object()
            && map.keys().any(|key| !matches!(key.as_str(), "column" | "min_rows" | "most"))
        {
            return Err(wanted());
        }
        let most = number("most", SLICES)?.clamp(1, 500);
        Ok(Slices {
            column: column.to_owned(),
            min_rows: number("min_rows", SLICE_ROWS)?,
            most: usize::try_from(most).unwrap_or(1),
        })
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// A regular expression of a bounded size; matching takes time linear in the text.
pub(super) fn regex_of(text: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(text).size_limit(4 << 20).build()
}
