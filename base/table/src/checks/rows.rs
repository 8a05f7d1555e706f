//! Rules that are decided value by value.

use std::collections::HashSet;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use regex::Regex;
use rondo_core::signature::ColumnType;
use serde_json::Value;

use super::rule::{Bounds, Parse, Rule, RuleKind};
use super::run::Sample;
use crate::moment;
use crate::records::value_of;

/// Offending values that are kept.
const SAMPLED: usize = 10;

/// How many values were looked at and how many did not pass.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) looked_at: u64,
    pub(super) unexpected: u64,
    pub(super) sample: Vec<Sample>,
}

impl Tally {
    pub(super) fn fail(&mut self, row: u64, value: impl FnOnce() -> Value) {
        self.unexpected += 1;
        if self.sample.len() < SAMPLED {
            self.sample.push(Sample { row, value: value() });
        }
    }

    /// Whether enough values passed.
    pub(super) fn passes(&self, mostly: f64) -> bool {
        let passed = self.looked_at - self.unexpected;
        // The tolerance is for shares such as 0.97 that have no exact binary form.
        self.looked_at == 0 || passed as f64 / self.looked_at as f64 >= mostly - 1e-12
    }
}

/// A rule made ready for a column's type.
pub(super) enum RowCheck {
    Nulls { wanted: bool },
    Texts { set: HashSet<String>, wanted: bool },
    Numbers { set: HashSet<u64>, wanted: bool },
    Range(Bounds),
    Regex { regex: Regex, wanted: bool },
    Length(Bounds),
    Order { rising: bool, strict: bool, last: Option<f64> },
    Greater { other: String, or_equal: bool },
    Parses(Parse),
}

impl RowCheck {
    /// The check of a rule on a column of this type; a reason when they do not fit together; nothing when
    /// the rule is not decided value by value.
    pub(super) fn of(rule: &Rule, column_type: ColumnType) -> Option<Result<Self, String>> {
        let ordered = column_type.is_numeric() || column_type == ColumnType::Timestamp;
        let text = column_type == ColumnType::String;
        let needs = |fits: bool, check: Self| {
            let reason = format!(
                "the column is {}, for which `{}` means nothing",
                column_type.text(),
                rule.kind.name()
            );
            if fits { Ok(check) } else { Err(reason) }
        };
        Some(match &rule.kind {
            RuleKind::NotNull => Ok(Self::Nulls { wanted: false }),
            RuleKind::Null => Ok(Self::Nulls { wanted: true }),
            RuleKind::InSet(values) => set(values, column_type, true),
            RuleKind::NotInSet(values) => set(values, column_type, false),
            RuleKind::Between(bounds) => needs(ordered, Self::Range(*bounds)),
            RuleKind::Matches(regex) => pattern(regex, true).and_then(|check| needs(text, check)),
            RuleKind::NotMatches(regex) => pattern(regex, false).and_then(|check| needs(text, check)),
            RuleKind::Length(bounds) => needs(text, Self::Length(*bounds)),
            RuleKind::Increasing { strict } => {
                needs(ordered, Self::Order { rising: true, strict: *strict, last: None })
            }
            RuleKind::Decreasing { strict } => {
                needs(ordered, Self::Order { rising: false, strict: *strict, last: None })
            }
            RuleKind::GreaterThan { other, or_equal } => {
                needs(ordered, Self::Greater { other: other.clone(), or_equal: *or_equal })
            }
            RuleKind::ParsesAs(parse) => Ok(Self::Parses(*parse)),
            RuleKind::Unique
            | RuleKind::Type(_)
            | RuleKind::Aggregate(_, _)
            | RuleKind::DistinctInSet(_)
            | RuleKind::DistinctEqualSet(_)
            | RuleKind::DistinctContainsSet(_)
            | RuleKind::Exists
            | RuleKind::Columns { .. }
            | RuleKind::Rows(_) => return None,
        })
    }

    /// Looks at the values of one batch, whose first row has this number.
    pub(super) fn update(&mut self, array: &ArrayRef, batch: &RecordBatch, first: u64, tally: &mut Tally) {
        let number = |row: usize| first + row as u64;
        match self {
            Self::Nulls { wanted } => {
                tally.looked_at += array.len() as u64;
                for row in 0..array.len() {
                    if is_missing(array, row) != *wanted {
                        tally.fail(number(row), || value_of(array, row));
                    }
                }
            }
            Self::Texts { set, wanted } => {
                tally.looked_at += visit_texts(
                    array,
                    |row, text| (set.contains(text) != *wanted).then_some(row),
                    |row| tally_fail(tally, array, row, first),
                );
            }
            Self::Numbers { set, wanted } => {
                tally.looked_at += visit_numbers(
                    array,
                    |row, value| (set.contains(&(value + 0.0).to_bits()) != *wanted).then_some(row),
                    |row| tally_fail(tally, array, row, first),
                );
            }
            Self::Range(bounds) => {
                tally.looked_at += visit_numbers(
                    array,
                    |row, value| (!bounds.contains(value)).then_some(row),
                    |row| tally_fail(tally, array, row, first),
                );
            }
            Self::Regex { regex, wanted } => {
                tally.looked_at += visit_texts(
                    array,
                    |row, text| (regex.is_match(text) != *wanted).then_some(row),
                    |row| tally_fail(tally, array, row, first),
                );
            }
            Self::Length(bounds) => {
                tally.looked_at += visit_texts(
                    array,
                    |row, text| (!bounds.contains(text.chars().count() as f64)).then_some(row),
                    |row| tally_fail(tally, array, row, first),
                );
            }
            Self::Order { rising, strict, last } => {
                tally.looked_at += visit_numbers(
                    array,
                    |row, value| {
                        let previous = last.replace(value)?;
                        let step = if *rising { value - previous } else { previous - value };
                        let holds = if *strict { step > 0.0 } else { step >= 0.0 };
                        (!holds).then_some(row)
                    },
                    |row| tally_fail(tally, array, row, first),
                );
            }
            Self::Greater { other, or_equal } => {
                let Some(second) = batch.column_by_name(other) else { return };
                for row in 0..array.len() {
                    let (Some(a), Some(b)) = (number_at(array, row), number_at(second, row)) else {
                        continue;
                    };
                    tally.looked_at += 1;
                    if !(a > b || *or_equal && a == b) {
                        tally.fail(number(row), || {
                            Value::Array(vec![value_of(array, row), value_of(second, row)])
                        });
                    }
                }
            }
            Self::Parses(parse) => {
                if array.data_type() == &DataType::Utf8 {
                    tally.looked_at += visit_texts(
                        array,
                        |row, text| (!parses(*parse, text)).then_some(row),
                        |row| {
                            tally_fail(tally, array, row, first);
                        },
                    );
                } else {
                    // What has a type of its own has been read as such.
                    let fits = typed_as(*parse, array.data_type());
                    for row in (0..array.len()).filter(|row| !is_missing(array, *row)) {
                        tally.looked_at += 1;
                        if !fits {
                            tally.fail(number(row), || value_of(array, row));
                        }
                    }
                }
            }
        }
    }
}

fn tally_fail(tally: &mut Tally, array: &ArrayRef, row: usize, first: u64) {
    tally.fail(first + row as u64, || value_of(array, row));
}

fn set(values: &[Value], column_type: ColumnType, wanted: bool) -> Result<RowCheck, String> {
    match column_type {
        ColumnType::String | ColumnType::Boolean => {
            let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Ok(RowCheck::Texts { set: values.iter().map(word).collect(), wanted })
        }
        ColumnType::Integer | ColumnType::Number => {
            let set: Option<HashSet<u64>> =
                values.iter().map(|value| value.as_f64().map(|number| (number + 0.0).to_bits())).collect();
            set.map(|set| RowCheck::Numbers { set, wanted }).ok_or_else(|| {
                format!("the column is {}, but not all values of the set are", column_type.text())
            })
        }
        ColumnType::Timestamp => {
            let set: Option<HashSet<u64>> = values
                .iter()
                .map(|value| {
                    value.as_str().and_then(moment::parse_millis).map(|millis| (millis as f64).to_bits())
                })
                .collect();
            set.map(|set| RowCheck::Numbers { set, wanted })
                .ok_or_else(|| "the column is timestamp, but not all values of the set are".to_owned())
        }
        ColumnType::Other => Err("the column's type is only carried".into()),
    }
}

fn pattern(regex: &str, wanted: bool) -> Result<RowCheck, String> {
    Regex::new(regex).map(|regex| RowCheck::Regex { regex, wanted }).map_err(|error| error.to_string())
}

fn parses(parse: Parse, text: &str) -> bool {
    match parse {
        Parse::Timestamp => moment::parse_millis(text.trim()).is_some(),
        Parse::Integer => text.trim().parse::<i64>().is_ok(),
        Parse::Number => text.trim().parse::<f64>().is_ok(),
        Parse::Json => serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
    }
}

fn typed_as(parse: Parse, data_type: &DataType) -> bool {
    match parse {
        Parse::Timestamp => matches!(data_type, DataType::Timestamp(_, _)),
        Parse::Integer => matches!(data_type, DataType::Int64),
        Parse::Number => matches!(data_type, DataType::Int64 | DataType::Float64),
        Parse::Json => matches!(data_type, DataType::Int64 | DataType::Float64 | DataType::Boolean),
    }
}

/// Whether a row has no value; NaN is none.
pub(super) fn is_missing(array: &ArrayRef, row: usize) -> bool {
    array.is_null(row)
        || array.data_type() == &DataType::Float64 && array.as_primitive::<Float64Type>().value(row).is_nan()
}

fn number_at(array: &ArrayRef, row: usize) -> Option<f64> {
    if is_missing(array, row) {
        return None;
    }
    match array.data_type() {
        DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(row) as f64),
        DataType::Float64 => Some(array.as_primitive::<Float64Type>().value(row)),
        DataType::Timestamp(_, _) => Some(array.as_primitive::<TimestampMillisecondType>().value(row) as f64),
        _ => None,
    }
}

/// Runs a test over the values that are there, hands the failing rows on, and counts the values.
fn visit<T>(
    values: impl Iterator<Item = Option<T>>,
    mut test: impl FnMut(usize, T) -> Option<usize>,
    mut fail: impl FnMut(usize),
) -> u64 {
    let mut count = 0;
    for (row, value) in values.enumerate() {
        if let Some(value) = value {
            count += 1;
            if let Some(row) = test(row, value) {
                fail(row);
            }
        }
    }
    count
}

fn visit_numbers(
    array: &ArrayRef,
    test: impl FnMut(usize, f64) -> Option<usize>,
    fail: impl FnMut(usize),
) -> u64 {
    match array.data_type() {
        DataType::Int64 => {
            let array = array.as_primitive::<Int64Type>();
            visit(array.iter().map(|value| value.map(|value| value as f64)), test, fail)
        }
        DataType::Float64 => {
            let array = array.as_primitive::<Float64Type>();
            visit(array.iter().map(|value| value.filter(|value| !value.is_nan())), test, fail)
        }
        DataType::Timestamp(_, _) => {
            let array = array.as_primitive::<TimestampMillisecondType>();
            visit(array.iter().map(|value| value.map(|value| value as f64)), test, fail)
        }
        _ => 0,
    }
}

fn visit_texts(
    array: &ArrayRef,
    test: impl FnMut(usize, &str) -> Option<usize>,
    fail: impl FnMut(usize),
) -> u64 {
    match array.data_type() {
        DataType::Utf8 => visit(array.as_string::<i32>().iter(), test, fail),
        DataType::Boolean => {
            let array = array.as_boolean();
            visit(
                array.iter().map(|value| value.map(|value| if value { "true" } else { "false" })),
                test,
                fail,
            )
        }
        _ => 0,
    }
}
