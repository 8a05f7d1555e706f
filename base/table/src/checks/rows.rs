//! Rules that are decided row by row.

use std::cmp::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use jsonschema::Validator;
use regex::Regex;
use rondo_core::signature::ColumnType;
use serde_json::Value;

use super::dates::{Form, is_date};
use super::keys::{self, KeyMap, KeySet};
use super::layout::{Layout, Named};
use super::parse::regex_of;
use super::report::Sample;
use super::rule::{Bounds, Missing, Parse, Patterns, Rule, RuleKind};
use crate::decimal::Decimal;
use crate::exact;
use crate::moment::{self, Moment, MomentType};
use crate::records::value_of;

/// Offending values that are kept.
pub(super) const SAMPLED: usize = 10;
/// Different texts whose answer is remembered, of rules that are slow to ask.
const REMEMBERED: usize = 4096;

/// Some rows of a batch.
pub(super) struct View<'a> {
    /// The rows, with at least the columns that are looked at.
    pub(super) batch: &'a Named<'a>,
    /// The number of the first row of the batch that they were taken from.
    pub(super) first: u64,
    /// Which rows of that batch they are; all, where absent.
    pub(super) chosen: Option<&'a [u32]>,
}

impl View<'_> {
    /// The number in the table of a row of the view, counted from 1.
    pub(super) fn number(&self, row: usize) -> u64 {
        match self.chosen {
            None => self.first + row as u64,
            Some(chosen) => self.first + chosen.get(row).map_or(0, |row| u64::from(*row)),
        }
    }

    fn array(&self, name: &str) -> Option<&ArrayRef> {
        self.batch.array(name)
    }

    pub(super) fn arrays(&self, names: &[String]) -> Vec<&ArrayRef> {
        names.iter().filter_map(|name| self.array(name)).collect()
    }
}

/// How many values were looked at and how many did not pass.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) looked_at: u64,
    pub(super) missing: u64,
    pub(super) unexpected: u64,
    /// So many row numbers are kept.
    pub(super) keep: usize,
    pub(super) rows: Vec<u64>,
    pub(super) sample: Vec<Sample>,
}

impl Tally {
    pub(super) fn keeping(keep: usize) -> Self {
        Self { keep: keep.max(SAMPLED), ..Self::default() }
    }

    pub(super) fn fail(&mut self, row: u64, value: impl FnOnce() -> Value) {
        self.unexpected += 1;
        if self.rows.len() < self.keep {
            self.rows.push(row);
            if self.sample.len() < SAMPLED {
                self.sample.push(Sample { row, key: None, value: value() });
            }
        }
    }

    /// Whether enough values passed.
    pub(super) fn passes(&self, mostly: f64) -> bool {
        let passed = self.looked_at - self.unexpected;
        // The tolerance is for shares such as 0.97 that have no exact binary form.
        self.looked_at == 0 || passed as f64 / self.looked_at as f64 >= mostly - 1e-12
    }
}

/// A value by its place in an order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranked {
    number: f64,
    /// With the scale, where the number may be that of several values.
    digits: Option<(i8, i128)>,
}

impl Ranked {
    fn order(&self, other: &Self) -> Option<Ordering> {
        match (self.digits, other.digits) {
            (Some((scale, a)), Some((same, b))) if scale == same => Some(a.cmp(&b)),
            _ => self.number.partial_cmp(&other.number),
        }
    }
}

/// A rule made ready for the columns' types.
#[derive(Debug)]
pub(super) enum RowCheck {
    Nulls { wanted: bool },
    Set { set: KeySet, wanted: bool },
    Range(Bounds),
    Regex { regexes: Vec<Regex>, all: bool, wanted: bool, known: KeyMap<bool> },
    Length(Bounds),
    Order { rising: bool, strict: bool, last: Option<Ranked> },
    Parses(Parse),
    Form(Form),
    Json(Box<Validator>),
    Greater { other: String, or_equal: bool, missing: Missing },
    Equal { other: String, missing: Missing },
    Pairs { set: KeySet, missing: Missing },
    Sum { total: f64, missing: Missing },
    Differ { missing: Missing },
}

/// The validator of a JSON schema; it fetches nothing.
pub(super) fn validator(schema: &Value) -> Result<Validator, String> {
    jsonschema::validator_for(schema).map_err(|error| error.to_string())
}

impl RowCheck {
    /// The check of a rule on columns of these types; a reason when they do not fit together; nothing when
    /// the rule is not decided row by row.
    pub(super) fn of(rule: &Rule, columns: &Layout<'_>) -> Option<Result<Self, String>> {
        let type_of = |name: &str| columns.type_of(name);
        let first = rule.columns.first().and_then(|name| type_of(name)).unwrap_or(ColumnType::Other);
        let is_ordered =
            |column_type: ColumnType| column_type.is_numeric() || column_type == ColumnType::Timestamp;
        let text = first == ColumnType::String;
        let refused = |found: ColumnType| {
            format!("the column is {}, for which `{}` means nothing", found.text(), rule.kind.name())
        };
        let needs = |fits: bool, check: Self| if fits { Ok(check) } else { Err(refused(first)) };
        let missing = rule.missing;
        Some(match &rule.kind {
            RuleKind::NotNull => Ok(Self::Nulls { wanted: false }),
            RuleKind::Null => Ok(Self::Nulls { wanted: true }),
            RuleKind::InSet(values) => set(values, first).map(|set| Self::Set { set, wanted: true }),
            RuleKind::NotInSet(values) => set(values, first).map(|set| Self::Set { set, wanted: false }),
            RuleKind::Between(bounds) => needs(is_ordered(first), Self::Range(*bounds)),
            RuleKind::Matches(patterns) => regexes(patterns, true).and_then(|check| needs(text, check)),
            RuleKind::NotMatches(patterns) => regexes(patterns, false).and_then(|check| needs(text, check)),
            RuleKind::Length(bounds) => needs(text, Self::Length(*bounds)),
            RuleKind::Increasing { strict } => {
                needs(is_ordered(first), Self::Order { rising: true, strict: *strict, last: None })
            }
            RuleKind::Decreasing { strict } => {
                needs(is_ordered(first), Self::Order { rising: false, strict: *strict, last: None })
            }
            RuleKind::ParsesAs(parse) => Ok(Self::Parses(*parse)),
            RuleKind::Format(form) => Form::new(form).and_then(|form| needs(text, Self::Form(form))),
            RuleKind::JsonSchema(schema) => {
                validator(schema).and_then(|validator| needs(text, Self::Json(Box::new(validator))))
            }
            RuleKind::GreaterThan { other, or_equal } => {
                let second = type_of(other).unwrap_or(ColumnType::Other);
                let alike = comparable(first, second) && first != ColumnType::Boolean;
                needs(alike, Self::Greater { other: other.clone(), or_equal: *or_equal, missing })
            }
            RuleKind::EqualTo { other } => {
                let second = type_of(other).unwrap_or(ColumnType::Other);
                needs(comparable(first, second), Self::Equal { other: other.clone(), missing })
            }
            RuleKind::PairsInSet(pairs) => {
                let second = rule.columns.get(1).and_then(|name| type_of(name)).unwrap_or(ColumnType::Other);
                Self::pairs(pairs, first, second, missing)
            }
            RuleKind::SumsTo(total) => {
                let odd = rule.columns.iter().filter_map(|name| type_of(name)).find(|t| !t.is_numeric());
                odd.map_or(Ok(Self::Sum { total: *total, missing }), |found| Err(refused(found)))
            }
            RuleKind::Differ => Ok(Self::Differ { missing }),
            _ => return None,
        })
    }

    fn pairs(
        pairs: &[(Value, Value)],
        first: ColumnType,
        second: ColumnType,
        missing: Missing,
    ) -> Result<Self, String> {
        let mut set = KeySet::default();
        for (a, b) in pairs {
            let mut both = Vec::new();
            for (value, column_type) in [(a, first), (b, second)] {
                let key = keys::of_value(value, column_type);
                if key.is_none() && !value.is_null() {
                    return Err(format!("the column is {}, which {value} is not", column_type.text()));
                }
                both.push(key);
            }
            set.insert(keys::several(both.into_iter()));
        }
        Ok(Self::Pairs { set, missing })
    }

    /// Looks at the rows of a view.
    pub(super) fn update(&mut self, columns: &[String], view: &View<'_>, tally: &mut Tally) {
        let arrays = view.arrays(columns);
        let Some(array) = arrays.first().copied() else { return };
        let fail = |tally: &mut Tally, row: usize| tally.fail(view.number(row), || value_of(array, row));
        match self {
            Self::Nulls { wanted } => {
                tally.looked_at += array.len() as u64;
                let missing = missing_count(array) as u64;
                let bad = if *wanted { array.len() as u64 - missing } else { missing };
                if bad > 0 {
                    for row in (0..array.len()).filter(|row| is_missing(array, *row) != *wanted) {
                        fail(tally, row);
                    }
                }
                return;
            }
            Self::Set { set, wanted } => {
                let mut seen = 0;
                keys::visit(array, |row, key| {
                    seen += 1;
                    if set.contains(&key) != *wanted {
                        fail(tally, row);
                    }
                });
                tally.looked_at += seen;
            }
            Self::Range(bounds) => {
                let bounds = *bounds;
                if !all_inside(array, &bounds, tally) {
                    let exactly = bounds.exactly();
                    let seen = visit_numbers(array, |row, value| {
                        if !exactly.contains(value, || Decimal::at(array, row)) {
                            fail(tally, row);
                        }
                    });
                    tally.looked_at += seen;
                }
            }
            Self::Regex { regexes, all, wanted, known } => {
                let seen = visit_texts(array, |row, text| {
                    let key = keys::text(text);
                    let found = known.get(&key).copied().unwrap_or_else(|| {
                        let is = |regex: &Regex| regex.is_match(text);
                        let found = if *all { regexes.iter().all(is) } else { regexes.iter().any(is) };
                        if known.len() < REMEMBERED {
                            known.insert(key, found);
                        }
                        found
                    });
                    if found != *wanted {
                        fail(tally, row);
                    }
                });
                tally.looked_at += seen;
            }
            Self::Length(bounds) => {
                let bounds = *bounds;
                let seen = visit_texts(array, |row, text| {
                    let length = if text.is_ascii() { text.len() } else { text.chars().count() };
                    if !bounds.contains(length as f64) {
                        fail(tally, row);
                    }
                });
                tally.looked_at += seen;
            }
            Self::Order { rising, strict, last } => {
                let seen = visit_numbers(array, |row, number| {
                    let value = Ranked { number, digits: exact::digits(array, row) };
                    let Some(previous) = last.replace(value) else { return };
                    let order = if *rising { value.order(&previous) } else { previous.order(&value) };
                    if !order.is_some_and(|order| order.is_gt() || !*strict && order.is_eq()) {
                        fail(tally, row);
                    }
                });
                tally.looked_at += seen;
            }
            Self::Parses(parse) => parses_column(*parse, array, view, tally),
            Self::Form(form) => {
                let seen = visit_texts(array, |row, text| {
                    if !form.is_match(text) {
                        fail(tally, row);
                    }
                });
                tally.looked_at += seen;
            }
            Self::Json(validator) => {
                let seen = visit_texts(array, |row, text| {
                    let value: Result<Value, _> = serde_json::from_str(text);
                    if !value.is_ok_and(|value| validator.is_valid(&value)) {
                        fail(tally, row);
                    }
                });
                tally.looked_at += seen;
            }
            Self::Greater { other, or_equal, missing } => {
                let Some(second) = view.array(other) else { return };
                let or_equal = *or_equal;
                let holds = |order: Option<Ordering>| {
                    order.is_some_and(|order| order.is_gt() || or_equal && order.is_eq())
                };
                let numeric = |array: &ArrayRef| array.data_type() == &DataType::Float64;
                if numeric(array) && numeric(second) {
                    let (a, b) = (numbers(array), numbers(second));
                    each_row(&[array, second], *missing, view, tally, |row| {
                        let at = |numbers: &[Option<f64>]| numbers.get(row).copied().flatten();
                        holds(at(&a).zip(at(&b)).and_then(|(a, b)| a.partial_cmp(&b)))
                    });
                } else {
                    each_row(&[array, second], *missing, view, tally, |row| {
                        holds(order_at(array, second, row))
                    });
                }
                return;
            }
            Self::Equal { other, missing } => {
                let Some(second) = view.array(other) else { return };
                each_row(&[array, second], *missing, view, tally, |row| {
                    let (a, b) = (keys::key_at(array, row), keys::key_at(second, row));
                    a.is_some() && a == b
                });
                return;
            }
            Self::Pairs { set, missing } => {
                each_row(&arrays, *missing, view, tally, |row| {
                    set.contains(&keys::several(arrays.iter().map(|array| keys::key_at(array, row))))
                });
                return;
            }
            Self::Sum { total, missing } => {
                let total = *total;
                each_row(&arrays, *missing, view, tally, |row| {
                    let mut sum = Some(0.0);
                    for array in &arrays {
                        sum = sum.zip(number_at(array, row)).map(|(sum, value)| sum + value);
                    }
                    sum.is_some_and(|sum| sum == total)
                });
                return;
            }
            Self::Differ { missing } => {
                each_row(&arrays, *missing, view, tally, |row| {
                    let keys: Vec<_> = arrays.iter().map(|array| keys::key_at(array, row)).collect();
                    keys.iter().enumerate().all(|(at, key)| !keys.iter().skip(at + 1).any(|next| next == key))
                });
                return;
            }
        }
        tally.missing += missing_count(array) as u64;
    }
}

/// Asks something of each row that is looked at.
fn each_row(
    arrays: &[&ArrayRef],
    missing: Missing,
    view: &View<'_>,
    tally: &mut Tally,
    holds: impl Fn(usize) -> bool,
) {
    let whole = arrays.iter().all(|array| missing_count(array) == 0);
    for row in 0..view.batch.num_rows() {
        let lacks = |array: &&ArrayRef| is_missing(array, row);
        let left_out = match missing {
            Missing::All => !whole && arrays.iter().all(lacks),
            Missing::Any => !whole && arrays.iter().any(lacks),
            Missing::Never => false,
        };
        if left_out {
            tally.missing += 1;
            continue;
        }
        tally.looked_at += 1;
        if !holds(row) {
            tally.fail(view.number(row), || {
                Value::Array(arrays.iter().map(|array| value_of(array, row)).collect())
            });
        }
    }
}

/// Whether values of two columns can be compared.
fn comparable(a: ColumnType, b: ColumnType) -> bool {
    a != ColumnType::Other && (a == b || a.is_numeric() && b.is_numeric())
}

fn order_at(a: &ArrayRef, b: &ArrayRef, row: usize) -> Option<Ordering> {
    if is_missing(a, row) || is_missing(b, row) {
        return None;
    }
    match (a.data_type(), b.data_type()) {
        (DataType::Utf8, DataType::Utf8) => {
            Some(a.as_string::<i32>().value(row).cmp(b.as_string::<i32>().value(row)))
        }
        (DataType::Int64, DataType::Int64) => {
            Some(a.as_primitive::<Int64Type>().value(row).cmp(&b.as_primitive::<Int64Type>().value(row)))
        }
        _ => {
            let order = number_at(a, row)?.partial_cmp(&number_at(b, row)?)?;
            let digits = || Some(Decimal::at(a, row)?.cmp(&Decimal::at(b, row)?));
            Some(order.then_with(|| digits().unwrap_or(order)))
        }
    }
}

/// The keys of a rule's set; a reason when a value can be none of the column's.
pub(super) fn set(values: &[Value], column_type: ColumnType) -> Result<KeySet, String> {
    if column_type == ColumnType::Other {
        return Err("the column's type is only carried".into());
    }
    let keys: Option<KeySet> = values.iter().map(|value| keys::of_value(value, column_type)).collect();
    keys.ok_or_else(|| format!("the column is {}, but not all values of the set are", column_type.text()))
}

fn regexes(patterns: &Patterns, wanted: bool) -> Result<RowCheck, String> {
    let regexes: Result<Vec<Regex>, _> = patterns.list.iter().map(|text| regex_of(text)).collect();
    let regexes = regexes.map_err(|error| error.to_string())?;
    Ok(RowCheck::Regex { regexes, all: patterns.all, wanted, known: KeyMap::default() })
}

fn parses_column(parse: Parse, array: &ArrayRef, view: &View<'_>, tally: &mut Tally) {
    if array.data_type() == &DataType::Utf8 {
        let seen = visit_texts(array, |row, text| {
            if !parses(parse, text) {
                tally.fail(view.number(row), || value_of(array, row));
            }
        });
        tally.looked_at += seen;
        return;
    }
    // What has a type of its own has been read as such.
    let number = matches!(array.data_type(), DataType::Int64 | DataType::Float64)
        || exact::is_exact(array.data_type());
    let fits = match parse {
        Parse::Timestamp | Parse::Date => matches!(array.data_type(), DataType::Timestamp(_, _)),
        Parse::Integer => matches!(array.data_type(), DataType::Int64),
        Parse::Number => number,
        Parse::Json => number || matches!(array.data_type(), DataType::Boolean),
    };
    for row in (0..array.len()).filter(|row| !is_missing(array, *row)) {
        tally.looked_at += 1;
        if !fits {
            tally.fail(view.number(row), || value_of(array, row));
        }
    }
}

fn parses(parse: Parse, text: &str) -> bool {
    match parse {
        Parse::Timestamp => moment::parse(text.trim()).is_some(),
        Parse::Date => is_date(text),
        Parse::Integer => text.trim().parse::<i64>().is_ok(),
        Parse::Number => text.trim().parse::<f64>().is_ok(),
        Parse::Json => serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
    }
}

/// Whether a row has no value; NaN is none.
pub(super) fn is_missing(array: &ArrayRef, row: usize) -> bool {
    array.is_null(row)
        || array.data_type() == &DataType::Float64 && array.as_primitive::<Float64Type>().value(row).is_nan()
}

/// How many rows have no value.
pub(super) fn missing_count(array: &ArrayRef) -> usize {
    let nulls = array.null_count();
    if array.data_type() != &DataType::Float64 {
        return nulls;
    }
    let array = array.as_primitive::<Float64Type>();
    if nulls == 0 {
        return array.values().iter().filter(|value| value.is_nan()).count();
    }
    nulls + array.iter().flatten().filter(|value| value.is_nan()).count()
}

pub(super) fn number_at(array: &ArrayRef, row: usize) -> Option<f64> {
    if is_missing(array, row) {
        return None;
    }
    match array.data_type() {
        DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(row) as f64),
        DataType::Float64 => Some(array.as_primitive::<Float64Type>().value(row)),
        DataType::Timestamp(_, _) => Some(Moment(array.as_primitive::<MomentType>().value(row)).scale()),
        _ => exact::value(array, row).map(|value| value.nearest()),
    }
}

/// Every row's number.
pub(super) fn numbers(array: &ArrayRef) -> Vec<Option<f64>> {
    let mut found = vec![None; array.len()];
    visit_numbers(array, |row, value| {
        if let Some(slot) = found.get_mut(row) {
            *slot = Some(value);
        }
    });
    found
}

/// Whether every value lies inside, told without a look at single rows; counts them where it is so.
fn all_inside(array: &ArrayRef, bounds: &Bounds, tally: &mut Tally) -> bool {
    if array.null_count() > 0 || array.data_type() != &DataType::Float64 {
        return false;
    }
    let values = array.as_primitive::<Float64Type>().values();
    let (mut min, mut max, mut nan) = (f64::INFINITY, f64::NEG_INFINITY, false);
    for value in values {
        min = if *value < min { *value } else { min };
        max = if *value > max { *value } else { max };
        nan |= value.is_nan();
    }
    let inside = !nan && !values.is_empty() && bounds.contains(min) && bounds.contains(max);
    if inside {
        tally.looked_at += values.len() as u64;
    }
    inside
}

/// Hands the values that are there on, and counts them.
fn visit<T>(values: impl Iterator<Item = Option<T>>, mut take: impl FnMut(usize, T)) -> u64 {
    let mut count = 0;
    for (row, value) in values.enumerate() {
        if let Some(value) = value {
            count += 1;
            take(row, value);
        }
    }
    count
}

pub(super) fn visit_numbers(array: &ArrayRef, mut take: impl FnMut(usize, f64)) -> u64 {
    match array.data_type() {
        DataType::Int64 => {
            let array = array.as_primitive::<Int64Type>();
            visit(array.iter().map(|value| value.map(|value| value as f64)), take)
        }
        DataType::Float64 => {
            let array = array.as_primitive::<Float64Type>();
            if array.null_count() > 0 {
                return visit(array.iter().map(|value| value.filter(|value| !value.is_nan())), take);
            }
            let mut count = 0;
            for (row, value) in array.values().iter().enumerate() {
                if !value.is_nan() {
                    count += 1;
                    take(row, *value);
                }
            }
            count
        }
        DataType::Timestamp(_, _) => {
            let array = array.as_primitive::<MomentType>();
            visit(array.iter().map(|value| value.map(|value| Moment(value).scale())), take)
        }
        other if exact::is_exact(other) => {
            let values = (0..array.len()).map(|row| exact::value(array, row).map(|value| value.nearest()));
            visit(values, take)
        }
        _ => 0,
    }
}

pub(super) fn visit_texts(array: &ArrayRef, take: impl FnMut(usize, &str)) -> u64 {
    match array.data_type() {
        DataType::Utf8 => visit(array.as_string::<i32>().iter(), take),
        _ => 0,
    }
}
