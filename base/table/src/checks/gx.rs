//! Expectations by their standard names, as Great Expectations 1.x writes them, become compact rules.
//!
//! `{ type: expect_column_values_to_be_between, kwargs: { column: a, min_value: 0 } }`, or the name as a
//! key of its own with its arguments below. What the arguments mean is what they mean there; where the two
//! have different defaults (rows with missing values in rules about several columns) the standard name
//! brings its own.

use serde_json::{Map, Value, json};

/// An expectation as it was written.
#[derive(Debug)]
pub(super) struct Expectation {
    name: String,
    /// Its arguments and what stands beside them.
    arguments: Map<String, Value>,
}

/// Why it cannot be a rule.
#[derive(Debug)]
pub(super) enum Fault {
    /// No such expectation.
    Unknown(String),
    /// Its arguments do not fit.
    Invalid(String),
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self::Invalid(reason)
    }
}

const SQL: &str = "unexpected_rows_expectation";

/// The standard names with the compact check of each.
const TABLE: [(&str, &str); 54] = [
    ("expect_column_distinct_values_to_be_in_set", "distinct_in_set"),
    ("expect_column_distinct_values_to_contain_set", "distinct_contains_set"),
    ("expect_column_distinct_values_to_equal_set", "distinct_equal_set"),
    ("expect_column_kl_divergence_to_be_less_than", "divergence"),
    ("expect_column_max_to_be_between", "max"),
    ("expect_column_mean_to_be_between", "mean"),
    ("expect_column_median_to_be_between", "median"),
    ("expect_column_min_to_be_between", "min"),
    ("expect_column_most_common_value_to_be_in_set", "most_common"),
    ("expect_column_pair_cramers_phi_value_to_be_less_than", "association"),
    ("expect_column_pair_values_a_to_be_greater_than_b", "greater_than"),
    ("expect_column_pair_values_to_be_equal", "equal_to"),
    ("expect_column_pair_values_to_be_in_set", "pairs_in_set"),
    ("expect_column_proportion_of_non_null_values_to_be_between", "not_null_share"),
    ("expect_column_proportion_of_unique_values_to_be_between", "distinct_share"),
    ("expect_column_quantile_values_to_be_between", "quantiles"),
    ("expect_column_stdev_to_be_between", "std"),
    ("expect_column_sum_to_be_between", "sum"),
    ("expect_column_to_exist", "exists"),
    ("expect_column_type_to_be", "type"),
    ("expect_column_unique_value_count_to_be_between", "distinct_count"),
    ("expect_column_value_lengths_to_be_between", "length"),
    ("expect_column_value_lengths_to_equal", "length"),
    ("expect_column_value_z_scores_to_be_less_than", "z_score"),
    ("expect_column_values_to_be_between", "between"),
    ("expect_column_values_to_be_dateutil_parseable", "parses_as"),
    ("expect_column_values_to_be_decreasing", "decreasing"),
    ("expect_column_values_to_be_in_set", "in_set"),
    ("expect_column_values_to_be_in_type_list", "type"),
    ("expect_column_values_to_be_increasing", "increasing"),
    ("expect_column_values_to_be_json_parseable", "parses_as"),
    ("expect_column_values_to_be_null", "null"),
    ("expect_column_values_to_be_of_type", "type"),
    ("expect_column_values_to_be_unique", "unique"),
    ("expect_column_values_to_match_json_schema", "json_schema"),
    ("expect_column_values_to_match_like_pattern", "matches"),
    ("expect_column_values_to_match_like_pattern_list", "matches"),
    ("expect_column_values_to_match_regex", "matches"),
    ("expect_column_values_to_match_regex_list", "matches"),
    ("expect_column_values_to_match_strftime_format", "format"),
    ("expect_column_values_to_not_be_in_set", "not_in_set"),
    ("expect_column_values_to_not_be_null", "not_null"),
    ("expect_column_values_to_not_be_outliers", "not_outliers"),
    ("expect_column_values_to_not_match_like_pattern", "not_matches"),
    ("expect_column_values_to_not_match_like_pattern_list", "not_matches"),
    ("expect_column_values_to_not_match_regex", "not_matches"),
    ("expect_column_values_to_not_match_regex_list", "not_matches"),
    ("expect_compound_columns_to_be_unique", "unique"),
    ("expect_multicolumn_sum_to_equal", "sums_to"),
    ("expect_select_column_values_to_be_unique_within_record", "differ"),
    ("expect_table_column_count_to_be_between", "column_count"),
    ("expect_table_column_count_to_equal", "column_count"),
    ("expect_table_columns_to_match_ordered_list", "columns"),
    ("expect_table_columns_to_match_set", "columns"),
];

/// Those about rows of the table.
const ROWS: [(&str, &str); 4] = [
    ("expect_table_row_count_to_be_between", "rows"),
    ("expect_table_row_count_to_equal", "rows"),
    ("expect_table_row_count_to_equal_other_table", "rows_equal"),
    (SQL, "sql"),
];

/// What an expectation has that a rule does not need.
const IGNORED: [&str; 13] = [
    "batch_id",
    "table",
    "meta",
    "notes",
    "id",
    "description",
    "result_format",
    "catch_exceptions",
    "rendered_content",
    "expectation_context",
    "condition_parser",
    "windows",
    "success_on_last_run",
];

/// Every standard name.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().chain(&ROWS).map(|(name, _)| *name)
}

pub(super) fn is_name(key: &str) -> bool {
    key.starts_with("expect_") || key == SQL
}

/// The expectation that a map is, where it is one.
pub(super) fn expectation(value: &Value) -> Option<Result<Expectation, Fault>> {
    let map = value.as_object()?;
    let named = map.get("type").or_else(|| map.get("expectation_type")).and_then(Value::as_str);
    if let Some(name) = named.filter(|name| is_name(name)) {
        let mut arguments = Map::new();
        for (key, value) in map {
            match (key.as_str(), value) {
                ("type" | "expectation_type", _) => {}
                ("kwargs", Value::Object(kwargs)) => arguments.extend(kwargs.clone()),
                ("kwargs", Value::Null) => {}
                ("kwargs", _) => return Some(Err(Fault::Invalid("`kwargs` is a map".into()))),
                (key, value) => drop(arguments.insert(key.to_owned(), value.clone())),
            }
        }
        return Some(Ok(Expectation { name: name.to_owned(), arguments }));
    }
    let (name, argument) = map.iter().find(|(key, _)| is_name(key))?;
    let mut arguments: Map<String, Value> =
        map.iter().filter(|(key, _)| *key != name).map(|(key, value)| (key.clone(), value.clone())).collect();
    match argument {
        Value::Object(inner) => arguments.extend(inner.clone()),
        Value::Null | Value::Bool(true) => {}
        _ => return Some(Err(Fault::Invalid(format!("`{name}` takes a map of its arguments")))),
    }
    Some(Ok(Expectation { name: name.clone(), arguments }))
}

/// The compact rule of an expectation.
pub(super) fn compact(expectation: &Expectation) -> Result<Value, Fault> {
    let name = expectation.name.as_str();
    let check = TABLE.iter().chain(&ROWS).find(|(known, _)| *known == name).map(|(_, check)| *check);
    let check = check.ok_or_else(|| Fault::Unknown(name.to_owned()))?;
    let mut given = Given { name, left: expectation.arguments.clone() };
    for (key, value) in &given.left {
        if value.get("$PARAMETER").is_some() {
            return Err(Fault::Invalid(format!(
                "`{key}` is a parameter of a suite, whose value is not known"
            )));
        }
    }
    let mut rule = Map::new();
    for (from, to) in [
        ("mostly", "mostly"),
        ("severity", "severity"),
        ("row_condition", "where"),
        ("where", "where"),
        ("by", "by"),
        ("name", "name"),
        ("column", "column"),
        ("column_A", "column"),
        ("ignore_row_if", "ignore_row_if"),
    ] {
        if let Some(value) = given.take(from) {
            rule.insert(to.to_owned(), value);
        }
    }
    if let Some(columns) = given.take("column_list").or_else(|| given.take("columns")) {
        let key = if name == "expect_table_columns_to_match_ordered_list" { "list" } else { "columns" };
        rule.insert(key.to_owned(), columns);
    }
    let argument = given.argument(check, &mut rule)?;
    rule.insert(check.to_owned(), argument);
    for key in IGNORED {
        given.left.remove(key);
    }
    match given.left.keys().next() {
        Some(key) => Err(Fault::Invalid(format!("`{name}` knows no `{key}`"))),
        None => Ok(Value::Object(rule)),
    }
}

struct Given<'a> {
    name: &'a str,
    left: Map<String, Value>,
}

impl Given<'_> {
    /// An argument that is there and not null.
    fn take(&mut self, key: &str) -> Option<Value> {
        self.left.remove(key).filter(|value| !value.is_null())
    }

    fn need(&mut self, key: &str) -> Result<Value, Fault> {
        let name = self.name;
        self.take(key).ok_or_else(|| Fault::Invalid(format!("`{name}` needs `{key}`")))
    }

    fn bounds(&mut self) -> Value {
        let mut bounds = Map::new();
        for (from, to) in [("min_value", "min"), ("max_value", "max")] {
            bounds.insert(to.to_owned(), self.take(from).unwrap_or(Value::Null));
        }
        for strict in ["strict_min", "strict_max"] {
            if let Some(value) = self.take(strict) {
                bounds.insert(strict.to_owned(), value);
            }
        }
        Value::Object(bounds)
    }

    fn argument(&mut self, check: &str, rule: &mut Map<String, Value>) -> Result<Value, Fault> {
        let default = |rule: &mut Map<String, Value>, word: &str| {
            rule.entry("ignore_row_if").or_insert_with(|| word.into());
        };
        let yes = Value::Bool(true);
        Ok(match (self.name, check) {
            (_, "not_null" | "null") => yes,
            (_, "unique" | "differ") => {
                default(rule, "all_values_are_missing");
                yes
            }
            (_, "exists") => match self.take("column_index") {
                Some(index) => json!({ "index": index }),
                None => yes,
            },
            (
                _,
                "in_set" | "not_in_set" | "distinct_in_set" | "distinct_contains_set" | "distinct_equal_set",
            ) => {
                let values = self.need("value_set")?;
                rule.remove("ignore_row_if");
                values
            }
            (_, "most_common") => {
                json!({ "values": self.need("value_set")?, "ties": self.take("ties_okay").unwrap_or(Value::Bool(false)) })
            }
            ("expect_column_value_lengths_to_equal", _)
            | ("expect_table_row_count_to_equal", _)
            | ("expect_table_column_count_to_equal", _) => self.need("value")?,
            (_, "increasing" | "decreasing") => {
                self.take("parse_strings_as_datetimes");
                json!({ "strict": self.take("strictly").unwrap_or(Value::Bool(false)) })
            }
            ("expect_column_values_to_be_dateutil_parseable", _) => "date".into(),
            ("expect_column_values_to_be_json_parseable", _) => "json".into(),
            (_, "json_schema") => json!({ "schema": self.need("json_schema")? }),
            (_, "format") => self.need("strftime_format")?,
            (_, "matches" | "not_matches") => self.patterns()?,
            (_, "type") => self.types()?,
            (_, "quantiles") => self.quantiles()?,
            (_, "z_score") => {
                json!({ "max": self.need("threshold")?, "double_sided": self.take("double_sided").unwrap_or(yes) })
            }
            (_, "not_outliers") => {
                json!({ "method": self.take("method").unwrap_or("iqr".into()), "multiplier": self.take("multiplier").unwrap_or(json!(1.5)) })
            }
            (_, "greater_than") => {
                default(rule, "both_values_are_missing");
                json!({ "column": self.need("column_B")?, "or_equal": self.take("or_equal").unwrap_or(Value::Bool(false)) })
            }
            (_, "equal_to") => {
                default(rule, "both_values_are_missing");
                self.need("column_B")?
            }
            (_, "pairs_in_set") => {
                default(rule, "both_values_are_missing");
                let pair = [rule.remove("column").unwrap_or_default(), self.need("column_B")?];
                rule.insert("columns".into(), pair.to_vec().into());
                self.need("value_pairs_set")?
            }
            (_, "association") => {
                for unused in ["bins_A", "bins_B", "n_bins_A", "n_bins_B"] {
                    if self.take(unused).is_some() {
                        return Err(Fault::Invalid(format!(
                            "`{unused}` is not known: bin the columns first"
                        )));
                    }
                }
                json!({ "column": self.need("column_B")?, "max": self.take("threshold").unwrap_or(json!(0.1)) })
            }
            (_, "sums_to") => {
                default(rule, "all_values_are_missing");
                self.need("sum_total")?
            }
            (_, "divergence") => self.divergence()?,
            ("expect_table_columns_to_match_ordered_list", _) => {
                json!({ "set": rule.remove("list").unwrap_or_default(), "ordered": true })
            }
            (_, "columns") => {
                json!({ "set": self.need("column_set")?, "exact": self.take("exact_match").unwrap_or(yes) })
            }
            (_, "rows_equal") => self.need("other_table_name")?,
            (_, "sql") => self.need("unexpected_rows_query")?,
            _ => self.bounds(),
        })
    }

    fn patterns(&mut self) -> Result<Value, Fault> {
        // Of a list any one is meant, unless it says so; that none of a list matches is `any` inside out.
        let all = self.take("match_on").is_some_and(|word| word == "all");
        let escape = self.take("escape");
        if self.name.contains("like_pattern") {
            let like = match self.take("like_pattern") {
                Some(like) => like,
                None => self.need("like_pattern_list")?,
            };
            let mut argument = json!({ "like": like, "all": all });
            if let (Some(escape), Some(map)) = (escape, argument.as_object_mut()) {
                map.insert("escape".into(), escape);
            }
            return Ok(argument);
        }
        let regex = match self.take("regex") {
            Some(regex) => regex,
            None => self.need("regex_list")?,
        };
        Ok(json!({ "regex": regex, "all": all }))
    }

    fn types(&mut self) -> Result<Value, Fault> {
        let list = match self.take("type_list") {
            Some(Value::Array(list)) => list,
            Some(_) => return Err(Fault::Invalid("`type_list` is a list".into())),
            None => vec![self.need("type_")?],
        };
        let mut words = Vec::new();
        for word in &list {
            let word = word.as_str().ok_or_else(|| Fault::Invalid("a type is a word".into()))?;
            let types = type_words(word)
                .ok_or_else(|| Fault::Invalid(format!("`{word}` is no type that is known here")))?;
            words.extend(types.iter().map(|word| Value::from(*word)));
        }
        words.dedup();
        Ok(Value::Array(words))
    }

    fn quantiles(&mut self) -> Result<Value, Fault> {
        let ranges = self.need("quantile_ranges")?;
        let list = |key: &str| ranges.get(key).and_then(Value::as_array);
        let (Some(at), Some(bounds)) = (list("quantiles"), list("value_ranges")) else {
            return Err(Fault::Invalid("`quantile_ranges` has `quantiles` and `value_ranges`".into()));
        };
        if at.len() != bounds.len() {
            return Err(Fault::Invalid("there are not as many `value_ranges` as `quantiles`".into()));
        }
        let mut map: Map<String, Value> =
            at.iter().zip(bounds).map(|(at, bounds)| (at.to_string(), bounds.clone())).collect();
        if let Some(Value::String(word)) = self.take("allow_relative_error") {
            map.insert("interpolation".into(), word.into());
        }
        Ok(Value::Object(map))
    }

    fn divergence(&mut self) -> Result<Value, Fault> {
        let Value::Object(mut map) = self.need("partition_object")? else {
            return Err(Fault::Invalid("`partition_object` is a map".into()));
        };
        if self.take("bucketize_data") == Some(Value::Bool(false)) && map.contains_key("bins") {
            return Err(Fault::Invalid("bins need `bucketize_data`".into()));
        }
        for (from, to) in [
            ("threshold", "max"),
            ("tail_weight_holdout", "tail_holdout"),
            ("internal_weight_holdout", "internal_holdout"),
        ] {
            if let Some(value) = self.take(from) {
                map.insert(to.into(), value);
            }
        }
        self.take("min_value");
        self.take("max_value");
        Ok(Value::Object(map))
    }
}

/// What the type words of Python, pandas, numpy, Spark and SQL are here.
fn type_words(word: &str) -> Option<&'static [&'static str]> {
    let lower = word.to_ascii_lowercase();
    let bare = lower.split(['(', '[']).next().unwrap_or_default().trim();
    Some(match bare {
        "int" | "int8" | "int16" | "int32" | "int64" | "uint8" | "uint16" | "uint32" | "integer"
        | "bigint" | "smallint" | "tinyint" | "long" | "longtype" | "integertype" | "shorttype" | "int_" => {
            &["integer"]
        }
        "float" | "float16" | "float32" | "float64" | "float_" | "double" | "doubletype" | "floattype"
        | "real" | "numeric" | "decimal" | "decimaltype" | "number" | "uint64" | "double_precision"
        | "double precision" => &["number"],
        "str" | "string" | "string_" | "stringtype" | "text" | "varchar" | "char" | "nvarchar"
        | "category" | "stringdtype" => &["string"],
        "object" => &["string", "other"],
        "bool" | "boolean" | "booleantype" | "bool_" => &["boolean"],
        "datetime64" | "datetime" | "datetime.datetime" | "date" | "datetype" | "timestamp"
        | "timestamptype" | "timestamp_ntz" | "timestamptz" => &["timestamp"],
        "list" | "dict" | "arraytype" | "maptype" | "structtype" | "bytes" | "binarytype" => &["other"],
        _ => return None,
    })
}
