//! From the map that people write to a [`Rule`].

use std::collections::BTreeMap;

use regex::Regex;
use rondo_core::Span;
use rondo_core::signature::ColumnType;
use serde_json::{Map, Value};

use super::condition::Condition;
use super::gx;
use super::rule::{
    Bounds, Interpolation, Limit, Missing, Other, OutlierMethod, Parse, Partition, Patterns, Rule, RuleKind,
    Severity, Slices, Statistic,
};
use crate::error::{Result, TableError};
use crate::moment;

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
            "differ" => self.flag(RuleKind::Differ),
            "exists" => self.exists(),
            "in_set" => Ok(RuleKind::InSet(self.set()?)),
            "not_in_set" => Ok(RuleKind::NotInSet(self.set()?)),
            "distinct_in_set" => Ok(RuleKind::DistinctInSet(self.set()?)),
            "distinct_equal_set" => Ok(RuleKind::DistinctEqualSet(self.set()?)),
            "distinct_contains_set" => Ok(RuleKind::DistinctContainsSet(self.set()?)),
            "between" => Ok(RuleKind::Between(self.bounds()?)),
            "length" => Ok(RuleKind::Length(self.bounds()?)),
            "rows" => Ok(RuleKind::Rows(self.bounds()?)),
            "column_count" => Ok(RuleKind::ColumnCount(self.bounds()?)),
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
            "quantile" => {
                Ok(RuleKind::Quantiles(vec![(self.share("at")?, self.bounds()?)], self.interpolation()?))
            }
            "quantiles" => self.quantiles(),
            "distinct_count" => aggregate(Statistic::DistinctCount),
            "distinct_share" => aggregate(Statistic::DistinctShare),
            "not_null_share" => aggregate(Statistic::NotNullShare),
            "most_common" => Ok(RuleKind::MostCommon { values: self.set()?, ties: self.switch("ties")? }),
            "columns" => self.table_columns(),
            "greater_than" => self.greater_than(),
            "equal_to" => self.only_column().map(|other| RuleKind::EqualTo { other }),
            "pairs_in_set" => self.pairs(),
            "sums_to" => self.number("value").map(RuleKind::SumsTo),
            "parses_as" => self.parses_as(),
            "format" => self.format(),
            "json_schema" => self.json_schema(),
            "z_score" => Ok(RuleKind::ZScore {
                max: self.number("max")?.abs(),
                double_sided: self.value.get("double_sided").is_none() || self.switch("double_sided")?,
            }),
            "not_outliers" => self.outliers(),
            "divergence" => self.divergence(),
            "drift" => self.drift(),
            "association" => self.association(),
            "fresh" => self.fresh(),
            "references" => self.references(),
            "rows_equal" => self.other(self.value, &[]).map(RuleKind::RowsEqual),
            "same_schema" => self.other(self.value, &[]).map(RuleKind::SameSchema),
            "sql" => self.sql(),
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
                self.only(map, if self.name == "most_common" { &["values", "ties"] } else { &["values"] })?;
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
                let also: &[&str] = if self.name == "quantile" { &["at", "interpolation"] } else { &[] };
                let keys = [&["min", "max", "strict_min", "strict_max"], also].concat();
                self.only(map, &keys)?;
                let bounds = Bounds {
                    min: self.end(map.get("min"))?,
                    max: self.end(map.get("max"))?,
                    strict_min: self.switch("strict_min")?,
                    strict_max: self.switch("strict_max")?,
                };
                // Both ends left open in so many words: a suite that only wants the number.
                if map.contains_key("min") && map.contains_key("max") && bounds == Bounds::default() {
                    return Ok(bounds);
                }
                bounds
            }
            Value::Array(ends) => match ends.as_slice() {
                [min, max] => {
                    Bounds { min: self.end(Some(min))?, max: self.end(Some(max))?, ..Bounds::default() }
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

    /// An end that may be left open.
    fn end(&self, value: Option<&Value>) -> Result<Option<Limit>> {
        value.filter(|value| !value.is_null()).map(|value| self.limit(value)).transpose()
    }

    fn limit(&self, value: &Value) -> Result<Limit> {
        match value {
            Value::String(text) => moment::parse_millis(text).map(Limit::Moment),
            other => match other.as_i64().filter(|number| number.unsigned_abs() >= 1 << 53) {
                Some(number) => Some(Limit::Whole(number)),
                None => other.as_f64().map(Limit::Number),
            },
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

    fn regex(&self) -> Result<Patterns> {
        let (list, all) = match self.value {
            Value::Object(map) => {
                self.only(map, &["regex", "all", "like", "escape"])?;
                match (map.get("regex"), map.get("like")) {
                    (Some(regex), None) => (one_or_more(regex), self.switch("all")?),
                    (None, Some(like)) => {
                        let escape = map.get("escape").and_then(Value::as_str).and_then(|s| s.chars().next());
                        let regex = |text: &String| like_regex(text, escape);
                        let list = one_or_more(like).map(|list| list.iter().map(regex).collect());
                        (list, self.switch("all")?)
                    }
                    _ => (None, false),
                }
            }
            list => (one_or_more(list), false),
        };
        let list = list
            .filter(|list| !list.is_empty())
            .ok_or_else(|| self.fault(format!("`{}` needs a regular expression", self.name)))?;
        for text in &list {
            if let Err(error) = regex_of(text) {
                let why = last_line(&error.to_string()).to_owned();
                return Err(self.fault(format!("`{text}` is no regular expression: {why}")));
            }
        }
        Ok(Patterns { list, all })
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
        let (list, ordered, exact) = match self.value {
            Value::Object(map) => {
                self.only(map, &["set", "ordered", "exact"])?;
                let exact = map.get("exact").is_none() || self.switch("exact")?;
                (map.get("set").and_then(texts), self.switch("ordered")?, exact)
            }
            list => (texts(list), false, true),
        };
        let names = list.ok_or_else(|| self.fault("`columns` needs a list of names"))?;
        Ok(RuleKind::Columns { names, ordered, exact })
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
            Some("date") => Parse::Date,
            Some("integer") => Parse::Integer,
            Some("number") => Parse::Number,
            Some("json") => Parse::Json,
            Some(_) | None => {
                return Err(self.fault("`parses_as` is timestamp, date, integer, number or json"));
            }
        };
        Ok(RuleKind::ParsesAs(parse))
    }

    fn number(&self, key: &str) -> Result<f64> {
        let number = self.value.as_f64().or_else(|| self.value.get(key)?.as_f64());
        number.ok_or_else(|| self.fault(format!("`{}` needs a number", self.name)))
    }

    fn optional_number(&self, key: &str) -> Result<Option<f64>> {
        match self.value.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| self.fault(format!("`{key}` is a number"))),
        }
    }

    fn exists(&self) -> Result<RuleKind> {
        match self.value {
            Value::Object(map) => {
                self.only(map, &["index"])?;
                let index = map.get("index").filter(|index| !index.is_null());
                let number = |index: &Value| {
                    index.as_u64().ok_or_else(|| self.fault("`index` is a place, counted from 0"))
                };
                Ok(RuleKind::Exists { index: index.map(number).transpose()? })
            }
            _ => self.flag(RuleKind::Exists { index: None }),
        }
    }

    fn interpolation(&self) -> Result<Interpolation> {
        match self.value.get("interpolation").map(Value::as_str) {
            None | Some(Some("nearest")) => Ok(Interpolation::Nearest),
            Some(Some("linear")) => Ok(Interpolation::Linear),
            Some(Some("lower")) => Ok(Interpolation::Lower),
            Some(Some("higher")) => Ok(Interpolation::Higher),
            Some(Some("midpoint")) => Ok(Interpolation::Midpoint),
            Some(_) => Err(self.fault("`interpolation` is nearest, linear, lower, higher or midpoint")),
        }
    }

    /// `{ 0.25: [0, 3], 0.75: { min: 5 } }`.
    fn quantiles(&self) -> Result<RuleKind> {
        let needed = || self.fault("`quantiles` is a map such as { 0.25: [0, 3], 0.75: { min: 5 } }");
        let map = self.value.as_object().ok_or_else(needed)?;
        let mut list = Vec::new();
        for (at, bounds) in map {
            if matches!(at.as_str(), "interpolation" | "severity") {
                continue;
            }
            let at: f64 = at.parse().map_err(|_| needed())?;
            if !(0.0..=1.0).contains(&at) {
                return Err(needed());
            }
            let bounds = Argument { rule: self.rule, name: "quantile", value: bounds }.bounds()?;
            list.push((at, bounds));
        }
        if list.is_empty() { Err(needed()) } else { Ok(RuleKind::Quantiles(list, self.interpolation()?)) }
    }

    fn only_column(&self) -> Result<String> {
        let other = self.value.as_str().or_else(|| self.value.get("column")?.as_str());
        if let Value::Object(map) = self.value {
            self.only(map, &["column"])?;
        }
        other
            .map(str::to_owned)
            .ok_or_else(|| self.fault(format!("`{}` needs the name of another column", self.name)))
    }

    fn pairs(&self) -> Result<RuleKind> {
        let list = self.value.as_array().or_else(|| self.value.get("values")?.as_array());
        let pair = |value: &Value| match value.as_array().map(Vec::as_slice) {
            Some([a, b]) => Some((a.clone(), b.clone())),
            _ => None,
        };
        list.filter(|list| !list.is_empty())
            .and_then(|list| list.iter().map(pair).collect())
            .map(RuleKind::PairsInSet)
            .ok_or_else(|| self.fault("`pairs_in_set` needs a list of pairs such as [[a, 1], [b, 2]]"))
    }

    fn format(&self) -> Result<RuleKind> {
        if let Value::Object(map) = self.value {
            self.only(map, &["format"])?;
        }
        let format = self.value.as_str().or_else(|| self.value.get("format")?.as_str());
        let format = format.ok_or_else(|| self.fault("`format` needs a form such as \"%Y-%m-%d\""))?;
        match super::dates::Form::new(format) {
            Ok(_) => Ok(RuleKind::Format(format.to_owned())),
            Err(why) => Err(self.fault(why)),
        }
    }

    fn json_schema(&self) -> Result<RuleKind> {
        let schema = match self.value.get("schema") {
            Some(schema) if schema.is_object() => schema,
            _ => self.value,
        };
        if !schema.is_object() {
            return Err(self.fault("`json_schema` needs a schema"));
        }
        match super::rows::validator(schema) {
            Ok(_) => Ok(RuleKind::JsonSchema(schema.clone())),
            Err(why) => Err(self.fault(format!("the schema is not valid: {why}"))),
        }
    }

    fn outliers(&self) -> Result<RuleKind> {
        if let Value::Object(map) = self.value {
            self.only(map, &["method", "multiplier"])?;
        }
        let method = match self.value.get("method").map(Value::as_str) {
            None | Some(Some("iqr")) => OutlierMethod::Iqr,
            Some(Some("std")) => OutlierMethod::Std,
            Some(_) => return Err(self.fault("`method` is iqr or std")),
        };
        let multiplier = self.optional_number("multiplier")?;
        let multiplier = multiplier.unwrap_or(if method == OutlierMethod::Iqr { 1.5 } else { 3.0 });
        if multiplier < 0.0 {
            return Err(self.fault("`multiplier` is not below 0"));
        }
        Ok(RuleKind::NotOutliers { method, multiplier })
    }

    fn divergence(&self) -> Result<RuleKind> {
        let map = self.value.as_object().ok_or_else(|| self.fault("`divergence` needs a partition"))?;
        self.only(
            map,
            &["values", "bins", "weights", "tail_weights", "max", "tail_holdout", "internal_holdout"],
        )?;
        let holdout = |key: &str| match self.optional_number(key)? {
            None => Ok(0.0),
            Some(share) if (0.0..=1.0).contains(&share) => Ok(share),
            Some(_) => Err(self.fault(format!("`{key}` is a share between 0 and 1"))),
        };
        let (tail_holdout, internal_holdout) = (holdout("tail_holdout")?, holdout("internal_holdout")?);
        let partition = self.partition(map)?;
        let invalid = match &partition {
            Partition::Values(_) if internal_holdout > 0.0 => "`internal_holdout` is for bins only",
            Partition::Bins { tails: Some(_), .. } if tail_holdout > 0.0 => {
                "either `tail_weights` or `tail_holdout`, not both"
            }
            _ => "",
        };
        if !invalid.is_empty() {
            return Err(self.fault(invalid));
        }
        let max = self.optional_number("max")?;
        Ok(RuleKind::Divergence { partition, max, tail_holdout, internal_holdout })
    }

    fn partition(&self, map: &Map<String, Value>) -> Result<Partition> {
        let numbers = |key: &str| {
            let list = map.get(key)?.as_array()?;
            list.iter().map(edge).collect::<Option<Vec<f64>>>().filter(|list| !list.is_empty())
        };
        let weights = numbers("weights").ok_or_else(|| self.fault("`divergence` needs `weights`"))?;
        let sound = weights.iter().all(|weight| (0.0..=1.0).contains(weight));
        let tails = match numbers("tail_weights").as_deref() {
            Some([below, above]) => Some((*below, *above)),
            None => None,
            Some(_) => return Err(self.fault("`tail_weights` are two shares")),
        };
        let total: f64 = weights.iter().sum::<f64>() + tails.map_or(0.0, |(below, above)| below + above);
        if !sound || (total - 1.0).abs() > 1e-3 {
            return Err(self.fault("`weights` are shares that add up to 1"));
        }
        match (map.get("values").and_then(Value::as_array), numbers("bins")) {
            (Some(values), None) if values.len() == weights.len() => {
                Ok(Partition::Values(values.iter().cloned().zip(weights).collect()))
            }
            (None, Some(edges))
                if edges.len() == weights.len() + 1
                    && edges.windows(2).all(|pair| matches!(pair, [a, b] if a < b)) =>
            {
                Ok(Partition::Bins { edges, weights, tails })
            }
            _ => Err(self.fault(
                "`divergence` needs as many `values` as weights, or ascending `bins`, one more than weights",
            )),
        }
    }

    fn drift(&self) -> Result<RuleKind> {
        let reference = self.other(self.value, &["method", "max"])?;
        let method = match self.value.get("method") {
            None | Some(Value::Null) => None,
            Some(word) => Some(serde_json::from_value(word.clone()).map_err(|_| {
                self.fault("`method` is jensen_shannon, wasserstein, population_stability, kolmogorov_smirnov, l_infinity, new_categories or null_share")
            })?),
        };
        Ok(RuleKind::Drift { reference, method, max: self.optional_number("max")? })
    }

    fn association(&self) -> Result<RuleKind> {
        if let Value::Object(map) = self.value {
            self.only(map, &["column", "max"])?;
        }
        let other = self.value.get("column").and_then(Value::as_str);
        let other = other.ok_or_else(|| self.fault("`association` needs the name of another `column`"))?;
        let max = self.optional_number("max")?.unwrap_or(0.1);
        Ok(RuleKind::Association { other: other.to_owned(), max })
    }

    fn fresh(&self) -> Result<RuleKind> {
        let within = self.value.as_str().or_else(|| self.value.get("within")?.as_str());
        let within: Option<Span> = within.and_then(|text| text.parse().ok());
        within
            .filter(|within| within.millis() > 0)
            .map(RuleKind::Fresh)
            .ok_or_else(|| self.fault("`fresh` needs a length of time such as 1d or 6h"))
    }

    fn references(&self) -> Result<RuleKind> {
        let table = self.other(self.value, &["column", "columns"])?;
        let columns = self.value.get("columns").or_else(|| self.value.get("column"));
        let columns = columns
            .and_then(one_or_more)
            .filter(|columns| !columns.is_empty())
            .ok_or_else(|| self.fault("`references` needs the `column` there"))?;
        Ok(RuleKind::References { table, columns })
    }

    /// `{ dataset: airports }` or `{ path: airports.csv }`; a bare name is a dataset.
    fn other(&self, value: &Value, also: &[&str]) -> Result<Other> {
        let needed = || self.fault(format!("`{}` needs another table: a `dataset` or a `path`", self.name));
        match value {
            Value::String(name) if also.is_empty() => Ok(Other::Dataset(name.clone())),
            Value::Object(map) => {
                self.only(map, &[&["dataset", "path"], also].concat())?;
                match (map.get("dataset").map(Value::as_str), map.get("path").map(Value::as_str)) {
                    (Some(Some(name)), None) => Ok(Other::Dataset(name.to_owned())),
                    (None, Some(Some(path))) => Ok(Other::Path(path.to_owned())),
                    _ => Err(needed()),
                }
            }
            _ => Err(needed()),
        }
    }

    fn sql(&self) -> Result<RuleKind> {
        let (query, tables) = match self.value {
            Value::String(query) => (Some(query.as_str()), None),
            Value::Object(map) => {
                self.only(map, &["query", "tables"])?;
                (map.get("query").and_then(Value::as_str), map.get("tables"))
            }
            _ => (None, None),
        };
        let query = query.filter(|query| !query.trim().is_empty());
        let query = query.ok_or_else(|| self.fault("`sql` needs a statement that must give no row"))?;
        let mut named = BTreeMap::new();
        if let Some(tables) = tables {
            let tables =
                tables.as_object().ok_or_else(|| self.fault("`tables` is a map of names to tables"))?;
            for (name, table) in tables {
                named.insert(name.clone(), self.other(table, &[])?);
            }
        }
        Ok(RuleKind::Sql { query: query.to_owned(), tables: named })
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn one_or_more(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        list => texts(list),
    }
}

/// An edge of a bin: JSON has no infinity, so that a text says it.
fn edge(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "inf" | "infinity" | ".inf" => Some(f64::INFINITY),
            "-inf" | "-infinity" | "-.inf" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        number => number.as_f64(),
    }
}

/// The regular expression of an SQL pattern: `%` is any text, `_` any character.
fn like_regex(pattern: &str, escape: Option<char>) -> String {
    let mut regex = String::from("(?s)^");
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            letter if Some(letter) == escape => {
                let literal = letters.next().unwrap_or(letter);
                regex.push_str(&regex::escape(&literal.to_string()));
            }
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            letter => regex.push_str(&regex::escape(&letter.to_string())),
        }
    }
    regex.push('$');
    regex
}

/// A regular expression of a bounded size; matching takes time linear in the text.
pub(super) fn regex_of(text: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(text).size_limit(4 << 20).build()
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}
