//! What stands after the name of a check: the bounds, sets, patterns, columns and tables of a rule.

mod distributions;

use std::collections::BTreeMap;

use rondo_core::Span;
use rondo_core::signature::ColumnType;
use serde_json::{Map, Value};

use super::{Written, regex_of, texts};
use crate::checks::rule::{Bounds, Limit, Other, Parse, Patterns, RuleKind, Statistic};
use crate::decimal::Decimal;
use crate::error::{Result, TableError};
use crate::moment::{self, Moment};

/// What stands after the name of the check.
pub(super) struct Argument<'a> {
    pub(super) rule: &'a Written<'a>,
    pub(super) name: &'static str,
    pub(super) value: &'a Value,
}

impl Argument<'_> {
    fn fault(&self, reason: impl Into<String>) -> TableError {
        self.rule.fault(reason)
    }

    pub(super) fn kind(&self) -> Result<RuleKind> {
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
            Value::String(text) => {
                let moment = moment::parse(text).map(Moment).map(Limit::Moment);
                moment.or_else(|| Decimal::parse(text.trim()).map(Limit::Exact))
            }
            other => {
                let whole = other.as_i64().map(i128::from).or_else(|| other.as_u64().map(i128::from));
                match whole.filter(|number| number.unsigned_abs() >= 1 << 53) {
                    Some(number) => Some(Limit::Exact(Decimal::whole(number))),
                    None => other.as_f64().map(Limit::Number),
                }
            }
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
        match crate::checks::dates::Form::new(format) {
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
        match crate::checks::rows::validator(schema) {
            Ok(_) => Ok(RuleKind::JsonSchema(schema.clone())),
            Err(why) => Err(self.fault(format!("the schema is not valid: {why}"))),
        }
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

fn one_or_more(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        list => texts(list),
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

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}
