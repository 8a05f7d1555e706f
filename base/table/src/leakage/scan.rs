//! One look at each table: what training knows, and what of it testing shows again.

use std::collections::{BTreeMap, HashSet};

use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, RecordBatch, cast::AsArray};
use rondo_core::signature::Column;
use serde_json::{Map, Value, json};

use super::known::{Known, hash_of};
use super::power::Sample;
use super::{ColumnEffect, Finding, Options, SCORED, Severity, State};
use crate::columns::moments_of;
use crate::error::{Result, TableError};
use crate::moment::{Moment, MomentType};
use crate::read::TableReader;
use crate::records;
use crate::rowdiff::cells::{Form, encode};
use crate::split::mixed;

/// So many categories of a column are remembered; one with more is no category.
const CATEGORIES: usize = 1000;

/// What each column is for.
pub(super) struct Roles {
    /// All that both tables have and can be compared, in training's order.
    columns: Vec<(String, Form)>,
    /// The features' places among them.
    pub(super) features: Vec<usize>,
    pub(super) target: Option<usize>,
    time: Option<usize>,
    group: Option<usize>,
    key: Vec<usize>,
    /// Features that are moments.
    moments: Vec<usize>,
    /// Features that are texts, without the group.
    texts: Vec<usize>,
}

impl Roles {
    pub(super) fn new(train: &TableReader, test: &TableReader, options: &Options) -> Result<Self> {
        let type_in = |reader: &TableReader, name: &str| {
            reader.columns().iter().find(|column| column.name == name).map(|column| column.column_type)
        };
        let mut columns: Vec<(String, Form)> = Vec::new();
        for Column { name, column_type, .. } in train.columns() {
            let form = type_in(test, name).and_then(|other| Form::of(*column_type, other));
            if let Some(form) = form.filter(|_| !options.ignore.contains(name)) {
                columns.push((name.clone(), form));
            }
        }
        let place = |name: &String| -> Result<usize> {
            let lost = |reader: &TableReader| {
                let known = reader.columns().iter().map(|column| column.name.as_str());
                TableError::no_column(name, format!("`{}`", reader.path().display()), known)
            };
            columns
                .iter()
                .position(|(known, _)| known == name)
                .ok_or_else(|| if type_in(train, name).is_none() { lost(train) } else { lost(test) })
        };
        let named = |name: &Option<String>| name.as_ref().map(place).transpose();
        let (target, time, group) = (named(&options.target)?, named(&options.time)?, named(&options.group)?);
        let key = options.key.iter().map(place).collect::<Result<Vec<_>>>()?;
        let role = |index: &usize| Some(*index) == target || Some(*index) == time || key.contains(index);
        let features: Vec<usize> = (0..columns.len()).filter(|index| !role(index)).collect();
        let of = |form: Form| {
            let is = |index: &usize| columns.get(*index).is_some_and(|(_, known)| *known == form);
            features.iter().copied().filter(is).collect::<Vec<usize>>()
        };
        let (moments, mut texts) = (of(Form::Moment), of(Form::Text));
        // That a group is new to testing is what it is for.
        texts.retain(|index| Some(*index) != group);
        Ok(Self { features, target, time, group, key, moments, texts, columns })
    }

    pub(super) fn name(&self, index: usize) -> &str {
        self.columns.get(index).map_or("", |(name, _)| name)
    }

    pub(super) fn key(&self) -> &[usize] {
        &self.key
    }

    pub(super) fn form(&self, index: usize) -> Form {
        self.columns.get(index).map_or(Form::Text, |(_, form)| *form)
    }

    fn select(&self, reader: TableReader) -> Result<TableReader> {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        Ok(reader.select(&names)?.exactly())
    }

    /// The hash of some of a row's cells.
    fn hash(&self, batch: &RecordBatch, row: usize, of: &[usize], bytes: &mut Vec<u8>) -> u64 {
        bytes.clear();
        for index in of {
            if let Some(array) = batch.columns().get(*index) {
                encode(array, row, self.form(*index), bytes);
            }
        }
        hash_of(bytes)
    }

    /// Whether a row has no value in any of these columns: such rows are not the same, nor is it a label.
    fn is_missing(&self, batch: &RecordBatch, row: usize, of: &[usize]) -> bool {
        let is_nan = |array: &ArrayRef| {
            array.as_primitive_opt::<Float64Type>().is_some_and(|numbers| numbers.value(row).is_nan())
        };
        let mut arrays = of.iter().filter_map(|index| batch.columns().get(*index));
        arrays.all(|array| array.is_null(row) || is_nan(array))
    }

    /// Whether the rows' times are moments, and no numbers of whatever is counted.
    fn has_moments(&self) -> bool {
        self.time.is_some_and(|time| matches!(self.form(time), Form::Moment | Form::Text))
    }

    /// The moment of each row of a batch; of a column of numbers the numbers.
    fn times(&self, batch: &RecordBatch) -> Option<Vec<Option<i64>>> {
        moments_of(batch.columns().get(self.time?)?)
    }

    /// All places but the key's: what a duplicate is told by beside its key.
    fn sample(&self) -> Vec<usize> {
        self.features.iter().copied().chain(self.target).collect()
    }
}

/// What training knows.
#[derive(Default)]
pub(super) struct Trained {
    pub(super) rows: u64,
    whole: Known,
    sample: Known,
    features: Known,
    keys: Known,
    groups: Known,
    times: Known,
    last: Option<i64>,
    labels: Known,
    categories: BTreeMap<usize, Option<HashSet<String>>>,
    future: BTreeMap<usize, u64>,
    pub(super) scored: Sample,
}

/// Reads the rows for training.
pub(super) fn train(reader: TableReader, roles: &Roles) -> Result<Trained> {
    let mut known = Trained { scored: Sample::new(roles), ..Trained::default() };
    known.categories = roles.texts.iter().map(|index| (*index, Some(HashSet::new()))).collect();
    let (all, sample) = ((0..roles.columns.len()).collect::<Vec<_>>(), roles.sample());
    let total = reader.rows();
    let mut bytes = Vec::new();
    for batch in roles.select(reader)? {
        let batch = batch?;
        let times = roles.times(&batch);
        for row in 0..batch.num_rows() {
            known.whole.add(roles.hash(&batch, row, &all, &mut bytes));
            known.sample.add(roles.hash(&batch, row, &sample, &mut bytes));
            let has = |of: &[usize]| !roles.is_missing(&batch, row, of);
            if let Some(target) = roles.target.filter(|target| has(&[*target])) {
                known.features.add(roles.hash(&batch, row, &roles.features, &mut bytes));
                known.labels.add(roles.hash(&batch, row, &[target], &mut bytes));
            }
            if !roles.key.is_empty() && has(&roles.key) {
                known.keys.add(roles.hash(&batch, row, &roles.key, &mut bytes));
            }
            if let Some(group) = roles.group.filter(|group| has(&[*group])) {
                known.groups.add(roles.hash(&batch, row, &[group], &mut bytes));
            }
            if let Some(time) = times.as_ref().and_then(|times| times.get(row).copied().flatten()) {
                known.last = known.last.max(Some(time));
                known.times.add(time.cast_unsigned());
            }
            if chosen(known.rows, total) {
                known.scored.add(roles, &batch, row, known.rows);
            }
            known.rows += 1;
        }
        for (index, seen) in &mut known.categories {
            remember(&batch, *index, seen);
        }
        later(roles, &batch, times.as_deref(), &mut known.future);
    }
    for set in [
        &mut known.whole,
        &mut known.sample,
        &mut known.features,
        &mut known.keys,
        &mut known.groups,
        &mut known.times,
        &mut known.labels,
    ] {
        set.ready();
    }
    Ok(known)
}

/// Whether a row is one of those that are scored.
fn chosen(row: u64, total: u64) -> bool {
    total <= SCORED || mixed(7, row) % total < SCORED
}

/// The categories of a batch; nothing any more once there are too many.
fn remember(batch: &RecordBatch, index: usize, seen: &mut Option<HashSet<String>>) {
    let (Some(array), Some(set)) = (batch.columns().get(index), seen.as_mut()) else { return };
    for row in 0..array.len() {
        if let Some(text) = records::text_of(array, row)
            && !set.contains(&text)
        {
            set.insert(text);
            if set.len() > CATEGORIES {
                *seen = None;
                return;
            }
        }
    }
}

/// Counts the cells whose moment is later than their row's.
fn later(
    roles: &Roles,
    batch: &RecordBatch,
    times: Option<&[Option<i64>]>,
    counts: &mut BTreeMap<usize, u64>,
) {
    let Some(times) = times.filter(|_| roles.has_moments()) else { return };
    for index in &roles.moments {
        let Some(array) = batch.columns().get(*index) else { continue };
        let Some(moments) = array.as_primitive_opt::<MomentType>() else { continue };
        let late = moments
            .iter()
            .zip(times)
            .filter(|(moment, time)| moment.zip(**time).is_some_and(|(moment, time)| moment > time));
        *counts.entry(*index).or_default() += late.count() as u64;
    }
}

/// What testing shows of it.
#[derive(Default)]
pub(super) struct Tested {
    pub(super) rows: u64,
    whole: Count,
    sample: Count,
    conflicts: Count,
    keys: Count,
    groups: Count,
    same_time: Count,
    earlier: Count,
    first: Option<i64>,
    labels: Count,
    new: BTreeMap<usize, (u64, Vec<String>)>,
    future: BTreeMap<usize, u64>,
    pub(super) scored: Sample,
}

/// How many rows, and some of them.
#[derive(Default)]
struct Count {
    rows: u64,
    samples: Vec<Map<String, Value>>,
}

impl Count {
    fn add(&mut self, roles: &Roles, batch: &RecordBatch, row: usize, number: u64, most: usize) {
        self.rows += 1;
        if self.samples.len() < most {
            let mut sample = Map::from_iter([("row".to_owned(), json!(number + 1))]);
            let cells = roles.columns.iter().zip(batch.columns());
            sample.extend(cells.map(|((name, _), array)| (name.clone(), records::value_of(array, row))));
            self.samples.push(sample);
        }
    }
}

/// Reads the rows for testing.
pub(super) fn test(reader: TableReader, roles: &Roles, known: &Trained, options: &Options) -> Result<Tested> {
    let mut tested = Tested { scored: Sample::new(roles), ..Tested::default() };
    let (all, sample) = ((0..roles.columns.len()).collect::<Vec<_>>(), roles.sample());
    let total = reader.rows();
    let mut bytes = Vec::new();
    for batch in roles.select(reader)? {
        let batch = batch?;
        let times = roles.times(&batch);
        for row in 0..batch.num_rows() {
            let mut hash = |of: &[usize]| roles.hash(&batch, row, of, &mut bytes);
            let has = |of: &[usize]| !roles.is_missing(&batch, row, of);
            let number = tested.rows;
            let note = |count: &mut Count| count.add(roles, &batch, row, number, options.samples);
            if known.whole.has(hash(&all)) {
                note(&mut tested.whole);
            }
            let is_known = known.sample.has(hash(&sample));
            if is_known {
                note(&mut tested.sample);
            }
            if let Some(target) = roles.target.filter(|target| has(&[*target])) {
                if !is_known && known.features.has(hash(&roles.features)) {
                    note(&mut tested.conflicts);
                }
                if !known.labels.has(hash(&[target])) {
                    note(&mut tested.labels);
                }
            }
            if !roles.key.is_empty() && has(&roles.key) && known.keys.has(hash(&roles.key)) {
                note(&mut tested.keys);
            }
            if let Some(group) = roles.group
                && has(&[group])
                && known.groups.has(hash(&[group]))
            {
                note(&mut tested.groups);
            }
            if let Some(time) = times.as_ref().and_then(|times| times.get(row).copied().flatten()) {
                tested.first = Some(tested.first.map_or(time, |first| first.min(time)));
                if known.last.is_some_and(|last| time < last) {
                    note(&mut tested.earlier);
                }
                if known.times.has(time.cast_unsigned()) {
                    note(&mut tested.same_time);
                }
            }
            if chosen(tested.rows, total) {
                tested.scored.add(roles, &batch, row, tested.rows);
            }
            tested.rows += 1;
        }
        for (index, seen) in &known.categories {
            let (Some(array), Some(seen)) = (batch.columns().get(*index), seen) else { continue };
            for text in (0..array.len()).filter_map(|row| records::text_of(array, row)) {
                if !seen.contains(&text) {
                    let (count, examples) = tested.new.entry(*index).or_default();
                    *count += 1;
                    if examples.len() < 10 && !examples.contains(&text) {
                        examples.push(text);
                    }
                }
            }
        }
        later(roles, &batch, times.as_deref(), &mut tested.future);
    }
    Ok(tested)
}

fn share(count: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { count as f64 / of as f64 }
}

/// Of what was seen, the checks that need no model of the target.
pub(super) fn findings(roles: &Roles, known: &Trained, tested: &Tested, options: &Options) -> Vec<Finding> {
    use Severity::{Error, Warning};
    let limits = &options.thresholds;
    let rows = tested.rows;
    let of = |count: u64| format!("{count} of {rows} test rows ({})", percent(share(count, rows)));
    let mut found = Vec::new();

    let ratio = share(rows, known.rows);
    let mut size = Finding::judged(
        "datasets_size_comparison",
        Warning,
        ratio,
        limits.least_size,
        format!("{rows} test rows for {} training rows", known.rows),
    );
    size.state = if ratio < limits.least_size || rows > known.rows { State::Failed } else { State::Passed };
    found.push(size);

    let what = format!(
        "{} are in training too{}; {} with every column",
        of(tested.sample.rows),
        if roles.key.is_empty() { "" } else { ", but for the key" },
        tested.whole.rows
    );
    let effect = share(tested.sample.rows, rows);
    let mix = Finding::judged("train_test_samples_mix", Error, effect, limits.duplicates, what);
    found.push(mix.with_samples(tested.sample.samples.clone()));

    found.push(match roles.target {
        None => Finding::skipped("conflicting_labels", Warning, "no target is named"),
        Some(_) => {
            let count = tested.conflicts.rows;
            let what = format!("{} have the features of a training row with another target", of(count));
            let effect = share(count, rows);
            Finding::judged("conflicting_labels", Warning, effect, limits.conflicts, what)
                .with_samples(tested.conflicts.samples.clone())
        }
    });
    found.push(if roles.key.is_empty() {
        Finding::skipped("index_train_test_leakage", Error, "no key is named")
    } else {
        let what = format!("{} have a key that is in training", of(tested.keys.rows));
        Finding::judged("index_train_test_leakage", Error, share(tested.keys.rows, rows), 0.0, what)
            .with_samples(tested.keys.samples.clone())
    });
    found.push(match roles.group {
        None => Finding::skipped("group_train_test_leakage", Error, "no group is named"),
        Some(group) => {
            let what =
                format!("{} are of a `{}` that is in training", of(tested.groups.rows), roles.name(group));
            Finding::judged("group_train_test_leakage", Error, share(tested.groups.rows, rows), 0.0, what)
                .with_samples(tested.groups.samples.clone())
        }
    });
    found.extend(times(roles, known, tested));
    found.push(future(roles, known, tested));

    found.push(match roles.target {
        None => Finding::skipped("new_label_train_test", Error, "no target is named"),
        Some(target) if roles.form(target) == Form::Number => {
            Finding::skipped("new_label_train_test", Error, "the target is a number")
        }
        Some(target) if tested.scored.is_many(target) => {
            Finding::skipped("new_label_train_test", Error, "the target has too many values to be a label")
        }
        Some(_) => {
            let what = format!("{} have a label that training lacks", of(tested.labels.rows));
            Finding::judged("new_label_train_test", Error, share(tested.labels.rows, rows), 0.0, what)
                .with_samples(tested.labels.samples.clone())
        }
    });
    let columns: Vec<ColumnEffect> = tested
        .new
        .iter()
        .map(|(index, (count, examples))| ColumnEffect {
            column: roles.name(*index).to_owned(),
            effect: share(*count, rows),
            detail: BTreeMap::from([("rows", json!(count)), ("examples", json!(examples))]),
        })
        .collect();
    let most = columns.iter().map(|column| column.effect).fold(0.0, f64::max);
    let what = match columns.len() {
        0 => "no category that training lacks".to_owned(),
        count => format!("{count} columns have categories that training lacks"),
    };
    found.push(
        Finding::judged("new_category_train_test", Warning, most, limits.new_category, what)
            .with_columns(columns),
    );
    found
}

fn times(roles: &Roles, known: &Trained, tested: &Tested) -> Vec<Finding> {
    use Severity::{Error, Warning};
    let rows = tested.rows;
    let names = ["date_train_test_leakage_overlap", "date_train_test_leakage_duplicates"];
    let Some(time) = roles.time else {
        return vec![
            Finding::skipped(names[0], Error, "no time is named"),
            Finding::skipped(names[1], Warning, "no time is named"),
        ];
    };
    let (Some(first), Some(last)) = (tested.first, known.last) else {
        let why = format!("`{}` holds no times", roles.name(time));
        return vec![
            Finding::skipped(names[0], Error, why.clone()),
            Finding::skipped(names[1], Warning, why),
        ];
    };
    let said = |count: u64| format!("{count} of {rows} test rows ({})", percent(share(count, rows)));
    let moment = |time: i64| if roles.has_moments() { Moment(time).rfc3339() } else { time.to_string() };
    let overlap = Finding::judged(
        names[0],
        Error,
        share(tested.earlier.rows, rows),
        0.0,
        format!(
            "{} are older than the last training row ({}); testing begins at {}",
            said(tested.earlier.rows),
            moment(last),
            moment(first)
        ),
    );
    let same = Finding::judged(
        names[1],
        Warning,
        share(tested.same_time.rows, rows),
        0.0,
        format!("{} have a time that is in training", said(tested.same_time.rows)),
    );
    vec![
        overlap.with_samples(tested.earlier.samples.clone()),
        same.with_samples(tested.same_time.samples.clone()),
    ]
}

fn future(roles: &Roles, known: &Trained, tested: &Tested) -> Finding {
    const NAME: &str = "future_feature";
    if roles.time.is_none() {
        return Finding::skipped(NAME, Severity::Error, "no time is named");
    }
    if roles.moments.is_empty() {
        return Finding::skipped(NAME, Severity::Error, "no feature is a time");
    }
    if !roles.has_moments() {
        return Finding::skipped(NAME, Severity::Error, "the time is a number");
    }
    let all = known.rows + tested.rows;
    let columns: Vec<ColumnEffect> = roles
        .moments
        .iter()
        .filter_map(|index| {
            let of = |counts: &BTreeMap<usize, u64>| counts.get(index).copied().unwrap_or(0);
            let (train, test) = (of(&known.future), of(&tested.future));
            (train + test > 0).then(|| ColumnEffect {
                column: roles.name(*index).to_owned(),
                effect: share(train + test, all),
                detail: BTreeMap::from([("train_rows", json!(train)), ("test_rows", json!(test))]),
            })
        })
        .collect();
    let most = columns.iter().map(|column| column.effect).fold(0.0, f64::max);
    let names: Vec<String> = columns.iter().map(|column| format!("`{}`", column.column)).collect();
    let what = match names.is_empty() {
        true => "no feature is later than its row's time".to_owned(),
        false => format!("{} later than the row's own time: it was not known then", names.join(", ")),
    };
    Finding::judged(NAME, Severity::Error, most, 0.0, what).with_columns(columns)
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
