//! From the map that people write to a [`Rule`].

use regex::Regex;
use rondo_core::signature::ColumnType;
use serde_json::{Map, Value};

use super::rule::{Bounds, Limit, Parse, Rule, RuleKind, Severity, Statistic};
use crate::error::{Result, TableError};
use crate::moment;

const NAMES: [&str; 28] = [
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
    "distinct_count",
    "distinct_in_set",
    "distinct_equal_set",
    "distinct_contains_set",
    "exists",
    "columns",
    "rows",
    "greater_than",
    "parses_as",
];

/// The name of every check.
pub fn names() -> &'static [&'static str] {
    &NAMES
}

impl Rule {
    /// Reads a rule from its map.
    ///
    /// # Errors
    /// When the check is unknown (with the nearest known one), or its parts are missing or do not fit.
    pub fn parse(value: &Value) -> Result<Self> {
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
        let kind = Argument { rule: &rule, name, value: argument }.kind()?;
        Ok(Self::new(columns, kind, mostly, severity, value.clone()))
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
            if matches!(key.as_str(), "column" | "mostly" | "severity") {
                continue;
            }
            match NAMES.iter().find(|name| *name == key) {
                Some(name) => found.push((name, argument)),
                None => {
                    let known = NAMES.into_iter().chain(["column", "columns", "mostly", "severity"]);
                    let nearest = rondo_core::suggest::nearest(key, known);
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
        let about_table = matches!(name, "rows" | "columns");
        match (map.get("column"), map.get("columns").filter(|_| name != "columns")) {
            (None, None) if about_table => Ok(Vec::new()),
            (None, None) => Err(self.fault(format!("`{name}` needs a `column`"))),
            (Some(_), _) | (_, Some(_)) if about_table => {
                Err(self.fault(format!("`{name}` is about the table and takes no column")))
            }
            (Some(column), None) => column
                .as_str()
                .map(|column| vec![column.to_owned()])
                .ok_or_else(|| self.fault("`column` is a name")),
            (None, Some(columns)) if name == "unique" => {
                let names = texts(columns).filter(|names| !names.is_empty());
                names.ok_or_else(|| self.fault("`columns` is a list of names"))
            }
            (None, Some(_)) => Err(self.fault(format!("`{name}` takes one `column`"))),
            (Some(_), Some(_)) => Err(self.fault("either `column` or `columns`, not both")),
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
                Some("error") => Ok(Severity::Error),
                Some("warning") => Ok(Severity::Warning),
                Some(_) | None => Err(self.fault("`severity` is error or warning")),
            },
        }
    }
}

/// What stands after the name of the check.
struct Argument<'a> {
    rule: &'a Written<'a>,
    name: &'static str,
    value: &'a Value,
}

impl Argument<'_> {
    fn fault(&self, reason: impl Into<String>) -> TableError {
        self.rule.fault(reason)
    }

    fn kind(&self) -> Result<RuleKind> {
        let aggregate = |statistic| Ok(RuleKind::Aggregate(statistic, self.bounds()?));
        match self.name {
            "not_null" => self.flag(RuleKind::NotNull),
            "null" => self.flag(RuleKind::Null),
            "unique" => self.flag(RuleKind::Unique),
            "exists" => self.flag(RuleKind::Exists),
            "in_set" => Ok(RuleKind::InSet(self.set()?)),
            "not_in_set" => Ok(RuleKind::NotInSet(self.set()?)),
            "distinct_in_set" => Ok(RuleKind::DistinctInSet(self.set()?)),
            "distinct_equal_set" => Ok(RuleKind::DistinctEqualSet(self.set()?)),
            "distinct_contains_set" => Ok(RuleKind::DistinctContainsSet(self.set()?)),
            "between" => Ok(RuleKind::Between(self.bounds()?)),
            "length" => Ok(RuleKind::Length(self.bounds()?)),
            "rows" => Ok(RuleKind::Rows(self.bounds()?)),
            "matches" => Ok(RuleKind::Matches(self.regex()?)),
            "not_matches" => Ok(RuleKind::NotMatches(self.regex()?)),
            "type" => self.types(),
            "increasing" => Ok(RuleKind::Increasing { strict: self.switch("strict")? }),
            "decreasing" => Ok(RuleKind::Decreasing { strict: self.switch("strict")? }),
            "min" => aggregate(Statistic::Min),
            "max" => aggregate(Statistic::Max),
            "mean" => aggregate(Statistic::Mean),
            "median" => aggregate(Statistic::Median),
            "std" => aggregate(Statistic::Std),
            "sum" => aggregate(Statistic::Sum),
            "quantile" => aggregate(Statistic::Quantile(self.share("at")?)),
            "distinct_count" => aggregate(Statistic::DistinctCount),
            "columns" => self.table_columns(),
            "greater_than" => self.greater_than(),
            "parses_as" => self.parses_as(),
            other => Err(self.fault(format!("`{other}` is not a check"))),
        }
    }

    /// A check without an argument of its own: `true`, nothing, or a map of common ones.
    fn flag(&self, kind: RuleKind) -> Result<RuleKind> {
        match self.value {
            Value::Null | Value::Bool(true) => Ok(kind),
            Value::Object(map) => {
                self.only(map, &[])?;
                Ok(kind)
            }
            _ => Err(self.fault(format!("`{}` takes true, or {{ mostly: … }}", self.name))),
        }
    }

    /// Refuses keys that mean nothing here.
    fn only(&self, map: &Map<String, Value>, keys: &[&str]) -> Result<()> {
        let known = |key: &str| keys.contains(&key) || matches!(key, "mostly" | "severity");
        match map.keys().find(|key| !known(key)) {
            None => Ok(()),
            Some(key) => {
                let mut all = keys.to_vec();
                all.push("mostly");
                Err(self.fault(format!("`{}` knows no `{key}`; it takes {}", self.name, all.join(", "))))
            }
        }
    }

    fn set(&self) -> Result<Vec<Value>> {
        let list = match self.value {
            Value::Array(values) => Some(values),
            Value::Object(map) => {
                self.only(map, &["values"])?;
                map.get("values").and_then(Value::as_array)
            }
            _ => None,
        };
        let values = list.filter(|values| {
            !values.is_empty()
                && values.iter().all(|value| value.is_string() || value.is_number() || value.is_boolean())
        });
        values.cloned().ok_or_else(|| self.fault(format!("`{}` needs a list of values", self.name)))
    }

    fn bounds(&self) -> Result<Bounds> {
        let needed = || self.fault(format!("`{}` needs a `min`, a `max` or both", self.name));
        let bounds = match self.value {
            Value::Object(map) => {
                let also: &[&str] = if self.name == "quantile" { &["at"] } else { &[] };
                let keys = [&["min", "max", "strict_min", "strict_max"], also].concat();
                self.only(map, &keys)?;
                Bounds {
                    min: map.get("min").map(|value| self.limit(value)).transpose()?,
                    max: map.get("max").map(|value| self.limit(value)).transpose()?,
                    strict_min: self.switch("strict_min")?,
                    strict_max: self.switch("strict_max")?,
                }
            }
            Value::Array(ends) => match ends.as_slice() {
                [min, max] => {
                    Bounds { min: Some(self.limit(min)?), max: Some(self.limit(max)?), ..Bounds::default() }
                }
                _ => return Err(needed()),
            },
            value if value.is_number() => {
                let exactly = Some(self.limit(value)?);
                Bounds { min: exactly, max: exactly, ..Bounds::default() }
            }
            _ => return Err(needed()),
        };
        match (bounds.min, bounds.max) {
            (None, None) => Err(needed()),
            (Some(min), Some(max)) if min.value() > max.value() => {
                Err(self.fault(format!("`min` {min} is above `max` {max}")))
            }
            _ => Ok(bounds),
        }
    }

    fn limit(&self, value: &Value) -> Result<Limit> {
        match value {
            Value::String(text) => moment::parse_millis(text).map(Limit::Moment),
            other => other.as_f64().map(Limit::Number),
        }
        .ok_or_else(|| self.fault(format!("{value} is neither a number nor a moment such as \"2013-01-01\"")))
    }

    fn switch(&self, key: &str) -> Result<bool> {
        match self.value.get(key) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.fault(format!("`{key}` is true or false"))),
        }
    }

    fn share(&self, key: &str) -> Result<f64> {
        let share = self.value.get(key).and_then(Value::as_f64).filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| self.fault(format!("`{}` needs `{key}`, a share between 0 and 1", self.name)))
    }

    fn regex(&self) -> Result<String> {
        let text = match self.value {
            Value::String(text) => Some(text.as_str()),
            Value::Object(map) => {
                self.only(map, &["regex"])?;
                map.get("regex").and_then(Value::as_str)
            }
            _ => None,
        };
        let text = text.ok_or_else(|| self.fault(format!("`{}` needs a regular expression", self.name)))?;
        match Regex::new(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => {
                Err(self
                    .fault(format!("`{text}` is no regular expression: {}", last_line(&error.to_string()))))
            }
        }
    }

    fn types(&self) -> Result<RuleKind> {
        let words = match self.value {
            Value::String(word) => Some(vec![word.clone()]),
            list => texts(list),
        };
        let types: Option<Vec<ColumnType>> = words.filter(|words| !words.is_empty()).and_then(|words| {
            words.iter().map(|word| serde_json::from_value(word.as_str().into()).ok()).collect()
        });
        types.map(RuleKind::Type).ok_or_else(|| {
            self.fault("`type` is one or more of integer, number, boolean, string, timestamp, other")
        })
    }

    fn table_columns(&self) -> Result<RuleKind> {
        let (list, ordered) = match self.value {
            Value::Object(map) => {
                self.only(map, &["set", "ordered"])?;
                (map.get("set").and_then(texts), self.switch("ordered")?)
            }
            list => (texts(list), false),
        };
        let names = list.ok_or_else(|| self.fault("`columns` needs a list of names"))?;
        Ok(RuleKind::Columns { names, ordered })
    }

    fn greater_than(&self) -> Result<RuleKind> {
        let (other, or_equal) = match self.value {
            Value::String(other) => (Some(other.as_str()), false),
            Value::Object(map) => {
                self.only(map, &["column", "or_equal"])?;
                (map.get("column").and_then(Value::as_str), self.switch("or_equal")?)
            }
            _ => (None, false),
        };
        let other = other.ok_or_else(|| self.fault("`greater_than` needs the name of another column"))?;
        Ok(RuleKind::GreaterThan { other: other.to_owned(), or_equal })
    }

    fn parses_as(&self) -> Result<RuleKind> {
        let word = match self.value {
            Value::Object(map) => {
                self.only(map, &["type"])?;
                map.get("type").and_then(Value::as_str)
            }
            other => other.as_str(),
        };
        let parse = match word {
            Some("timestamp") => Parse::Timestamp,
            Some("integer") => Parse::Integer,
            Some("number") => Parse::Number,
            Some("json") => Parse::Json,
            Some(_) | None => return Err(self.fault("`parses_as` is timestamp, integer, number or json")),
        };
        Ok(RuleKind::ParsesAs(parse))
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}
