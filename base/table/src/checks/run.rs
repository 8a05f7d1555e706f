//! Evaluating a suite: one pass over the columns that its rules name, and a second one over single columns
//! where a rule asks for it (outliers, which are told by the spread of all; the values of failing rows).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{Field, Schema};
use rondo_core::Timestamp;
use rondo_core::signature::{Column, ColumnType};
use serde_json::Value;

use super::column::{Bins, Facts, SetSeen, Table as Contingency, Wants};
use super::conclude;
use super::keyed::Keyed;
use super::report::{CheckReport, RuleResult};
use super::rows::{RowCheck, Tally, View};
use super::rule::{Bounds, Other, OutlierMethod, Partition, Rule, RuleKind, Slices, Statistic, Suite};
use super::slices;
use crate::error::{Result, TableError};
use crate::profile::{Profile, Profiler};
use crate::read::{self, ReadOptions, TableReader};
use crate::records::value_of;

/// Record batches, one after the other.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<RecordBatch>> + 'a>;

/// A table that can be read more than once.
pub trait Table {
    /// Its columns.
    fn columns(&self) -> &[Column];

    /// Its rows.
    fn rows(&self) -> u64;

    /// Its batches with these columns, from the first.
    ///
    /// # Errors
    /// When it cannot be read.
    fn batches(&self, names: &[&str]) -> Result<Batches<'_>>;
}

/// A file or folder.
#[derive(Debug)]
pub struct FileTable {
    options: ReadOptions,
    path: std::path::PathBuf,
    columns: Vec<Column>,
    rows: u64,
    /// What the first look has opened, for the first who reads.
    opened: std::sync::Mutex<Option<TableReader>>,
}

impl FileTable {
    /// Of a reader that has not been read from, and the options that it was opened with.
    pub fn new(reader: TableReader, options: ReadOptions) -> Self {
        Self {
            options,
            path: reader.path().to_owned(),
            columns: reader.columns().to_vec(),
            rows: reader.rows(),
            opened: std::sync::Mutex::new(Some(reader)),
        }
    }

    /// Opens a file or folder.
    ///
    /// # Errors
    /// When it is no table.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self> {
        Ok(Self::new(read::open_with(path, options)?, options.clone()))
    }
}

impl Table for FileTable {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn batches(&self, names: &[&str]) -> Result<Batches<'_>> {
        let opened = self.opened.lock().ok().and_then(|mut opened| opened.take());
        let reader = match opened {
            Some(reader) => reader,
            None => read::open_with(&self.path, &self.options)?,
        };
        Ok(Box::new(reader.select(names)?))
    }
}

/// Batches that are in memory, all of the same columns.
#[derive(Debug)]
pub struct MemoryTable {
    columns: Vec<Column>,
    batches: Vec<RecordBatch>,
}

impl MemoryTable {
    /// Of batches of any types.
    ///
    /// # Errors
    /// When a value has no canonical form.
    pub fn new(columns: Vec<Column>, batches: &[RecordBatch]) -> Result<Self> {
        let batches = batches.iter().map(read::canonical).collect::<Result<_>>()?;
        Ok(Self { columns, batches })
    }
}

impl Table for MemoryTable {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| batch.num_rows() as u64).sum()
    }

    fn batches(&self, names: &[&str]) -> Result<Batches<'_>> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(Box::new(self.batches.iter().map(move |batch| only(batch, &names, None))))
    }
}

/// Another table, or its profile.
pub enum Opened {
    /// A table.
    Table(Box<dyn Table>),
    /// A profile, of which drift can be told.
    Profile(Box<Profile>),
}

/// What lies beyond the table: other tables, and an engine for SQL.
pub trait Beyond {
    /// Another table.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn open(&self, other: &Other) -> Result<Opened, String>;

    /// The rows of a statement in which the checked table is called `data`.
    ///
    /// # Errors
    /// Why there are none, in words.
    fn sql(&self, query: &str, tables: &BTreeMap<String, Other>) -> Result<Opened, String>;
}

/// Nothing lies beyond.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Beyond for Alone {
    fn open(&self, other: &Other) -> Result<Opened, String> {
        Err(format!("`{other}` is not known here"))
    }

    fn sql(&self, _: &str, _: &BTreeMap<String, Other>) -> Result<Opened, String> {
        Err("there is no engine for SQL here".to_owned())
    }
}

/// What a suite is evaluated with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The time, for `fresh`.
    pub now: Timestamp,
    /// The numbers of so many failing rows of each rule are kept.
    pub keep: usize,
    /// What lies beyond the table.
    pub beyond: &'a dyn Beyond,
}

impl Default for Context<'_> {
    fn default() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = since.ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or_default();
        Self { now: Timestamp(now), keep: 0, beyond: &Alone }
    }
}

/// Checks a table.
///
/// # Errors
/// When it cannot be read, or the temporary files of a large one cannot be written.
pub fn evaluate(suite: &Suite, table: &dyn Table, context: &Context<'_>) -> Result<CheckReport> {
    let mut run = Run::new(suite, table, context)?;
    run.pass(table, 1)?;
    run.later()?;
    if run.has(2) {
        run.pass(table, 2)?;
    }
    let rows = table.rows();
    let mut results = run.finish(table, context)?;
    fill(&mut results, table)?;
    Ok(CheckReport::of(rows, results))
}

/// Checks a file or folder by itself.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_path(suite: &Suite, path: &Path) -> Result<CheckReport> {
    evaluate(suite, &FileTable::open(path, &ReadOptions::default())?, &Context::default())
}

/// Rules that are asked of the same rows.
pub(super) struct Lane {
    pub(super) condition: Option<usize>,
    pub(super) slice: Option<(usize, usize)>,
    pub(super) entries: Vec<Entry>,
    pub(super) facts: BTreeMap<String, Facts>,
    pub(super) rows: u64,
}

pub(super) struct Entry {
    pub(super) rule: usize,
    pass: u8,
    pub(super) state: State,
}

/// What is gathered for a rule.
pub(super) enum State {
    /// Decided without reading.
    Decided { passed: bool, observed: Option<Value>, note: Option<String> },
    /// Decided row by row.
    Rows { check: RowCheck, tally: Tally, note: Option<String> },
    /// Decided by all values together.
    Keyed(Keyed),
    /// The same, looked up in another table.
    References(Keyed),
    /// Decided from what was gathered of the column.
    Facts,
    /// Decided by the spread of the column, then row by row.
    Spread,
    /// Which values occur.
    Set(SetSeen),
    /// Counts between edges.
    Bins(Bins),
    /// Two columns together.
    Contingency(Contingency),
    /// The column's profile.
    Profile(Box<Profiler>),
    /// The number of rows.
    Count,
    /// Decided in the end, beyond the table.
    Beyond,
}

struct Run<'s> {
    rules: &'s [Rule],
    columns: Vec<Column>,
    conditions: Vec<super::condition::Condition>,
    slicings: Vec<(Slices, slices::Found)>,
    lanes: Vec<Lane>,
    keep: usize,
}

impl<'s> Run<'s> {
    fn new(suite: &'s Suite, table: &dyn Table, context: &Context<'_>) -> Result<Self> {
        let mut run = Self {
            rules: &suite.rules,
            columns: table.columns().to_vec(),
            conditions: Vec::new(),
            slicings: Vec::new(),
            lanes: Vec::new(),
            keep: context.keep,
        };
        for (index, rule) in suite.rules.iter().enumerate() {
            run.add(index, rule, table)?;
        }
        Ok(run)
    }

    /// Puts a rule into its lanes.
    fn add(&mut self, index: usize, rule: &Rule, table: &dyn Table) -> Result<()> {
        let first = prepare(rule, &self.columns, self.keep);
        let decided = matches!(first, State::Decided { .. });
        let condition = match &rule.condition {
            Some(condition) if !decided => {
                let known = self.conditions.iter().position(|known| known == condition);
                Some(known.unwrap_or_else(|| {
                    self.conditions.push(condition.clone());
                    self.conditions.len() - 1
                }))
            }
            _ => None,
        };
        let Some(slicing) = rule.slices.as_ref().filter(|_| !decided) else {
            self.lane(condition, None).entries.push(Entry { rule: index, pass: 1, state: first });
            self.want(condition, None, rule);
            return Ok(());
        };
        let known = self.slicings.iter().position(|(known, _)| known == slicing);
        let at = match known {
            Some(at) => at,
            None => {
                self.slicings.push((slicing.clone(), slices::find(slicing, table)?));
                self.slicings.len() - 1
            }
        };
        let many = self.slicings.get(at).map_or(0, |(_, found)| found.names.len());
        if many == 0 {
            // Of a table without rows there are no slices: the rule is asked of the whole.
            self.lane(condition, None).entries.push(Entry { rule: index, pass: 1, state: first });
            self.want(condition, None, rule);
            return Ok(());
        }
        for place in 0..many {
            let state = prepare(rule, &self.columns, self.keep);
            self.lane(condition, Some((at, place))).entries.push(Entry { rule: index, pass: 1, state });
            self.want(condition, Some((at, place)), rule);
        }
        Ok(())
    }

    fn lane(&mut self, condition: Option<usize>, slice: Option<(usize, usize)>) -> &mut Lane {
        let known = self.lanes.iter().position(|lane| lane.condition == condition && lane.slice == slice);
        let at = known.unwrap_or_else(|| {
            let lane = Lane { condition, slice, entries: Vec::new(), facts: BTreeMap::new(), rows: 0 };
            self.lanes.push(lane);
            self.lanes.len() - 1
        });
        // The index was found or pushed just now.
        &mut self.lanes[at]
    }

    /// Has what a rule wants of its column gathered in its lane.
    fn want(&mut self, condition: Option<usize>, slice: Option<(usize, usize)>, rule: &Rule) {
        let Some(name) = rule.column() else { return };
        let Some(column) = self.columns.iter().find(|column| column.name == name) else { return };
        let column_type = column.column_type;
        let wants = wants(&rule.kind);
        let Some(wants) = wants else { return };
        let all: Wants = self
            .rules
            .iter()
            .filter(|other| other.column() == Some(name))
            .filter(|other| other.condition == rule.condition && other.slices == rule.slices)
            .filter_map(|other| self::wants(&other.kind))
            .fold(wants, |a, b| Wants {
                moments: a.moments || b.moments,
                quantiles: a.quantiles || b.quantiles,
                distinct: a.distinct || b.distinct,
                counts: a.counts || b.counts,
            });
        let lane = self.lane(condition, slice);
        let waits =
            lane.entries.last().is_some_and(|entry| matches!(entry.state, State::Facts | State::Spread));
        if waits && !lane.facts.contains_key(name) {
            lane.facts.insert(name.to_owned(), Facts::new(column_type, all));
        }
    }

    fn has(&self, pass: u8) -> bool {
        self.lanes.iter().any(|lane| lane.entries.iter().any(|entry| entry.pass == pass))
    }

    /// The columns that a lane needs in a pass.
    fn lane_columns(&self, lane: &Lane, pass: u8) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for entry in &lane.entries {
            if entry.pass != pass
                || matches!(entry.state, State::Decided { .. } | State::Count | State::Beyond)
            {
                continue;
            }
            let Some(rule) = self.rules.get(entry.rule) else { continue };
            names.extend(rule.columns.iter().cloned());
            match &rule.kind {
                RuleKind::GreaterThan { other, .. }
                | RuleKind::EqualTo { other }
                | RuleKind::Association { other, .. } => drop(names.insert(other.clone())),
                _ => {}
            }
        }
        names
    }

    fn pass(&mut self, table: &dyn Table, pass: u8) -> Result<()> {
        let mut needed: BTreeSet<String> = BTreeSet::new();
        let mut lane_columns = Vec::new();
        for lane in &self.lanes {
            let columns = self.lane_columns(lane, pass);
            let active = lane.entries.iter().any(|entry| {
                entry.pass == pass && !matches!(entry.state, State::Decided { .. } | State::Beyond)
            });
            // Rows are counted by reading only where some are left out.
            let reads = active && (lane.condition.is_some() || lane.slice.is_some() || !columns.is_empty());
            if reads {
                needed.extend(columns.iter().cloned());
                let condition = lane.condition.and_then(|at| self.conditions.get(at));
                needed.extend(condition.iter().flat_map(|condition| condition.columns()).map(str::to_owned));
                let slicing = lane.slice.and_then(|(at, _)| self.slicings.get(at));
                needed.extend(slicing.map(|(slices, _)| slices.column.clone()));
            } else if pass == 1 {
                lane_columns.push(None);
                continue;
            }
            lane_columns.push(reads.then(|| columns.into_iter().collect::<Vec<String>>()));
        }
        for (lane, columns) in self.lanes.iter_mut().zip(&lane_columns) {
            if columns.is_none() && pass == 1 {
                lane.rows = table.rows();
            }
        }
        if needed.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = needed.iter().map(String::as_str).collect();
        let mut first = 1;
        for batch in table.batches(&names)? {
            let batch = batch?;
            self.update(&batch, first, pass, &lane_columns)?;
            first += batch.num_rows() as u64;
        }
        Ok(())
    }

    fn update(
        &mut self,
        batch: &RecordBatch,
        first: u64,
        pass: u8,
        lane_columns: &[Option<Vec<String>>],
    ) -> Result<()> {
        let chosen: Vec<Vec<u32>> = self.conditions.iter().map(|condition| condition.select(batch)).collect();
        // Of each condition and slicing that a lane has: the rows of each slice.
        let mut sliced: BTreeMap<(Option<usize>, usize), Vec<Vec<u32>>> = BTreeMap::new();
        for lane in &self.lanes {
            let Some((slicing, _)) = lane.slice else { continue };
            sliced.entry((lane.condition, slicing)).or_insert_with(|| {
                let rows = lane.condition.and_then(|at| chosen.get(at)).map(Vec::as_slice);
                self.slicings.get(slicing).map_or_else(Vec::new, |(by, found)| split(batch, by, found, rows))
            });
        }
        for (lane, columns) in self.lanes.iter_mut().zip(lane_columns) {
            let Some(columns) = columns else { continue };
            let rows: Option<&[u32]> = match (lane.slice, lane.condition) {
                (Some((slicing, place)), condition) => {
                    let found = sliced.get(&(condition, slicing)).and_then(|rows| rows.get(place));
                    Some(found.map_or(&[], Vec::as_slice))
                }
                (None, Some(at)) => chosen.get(at).map(Vec::as_slice),
                (None, None) => None,
            };
            let part;
            let view = match rows {
                None => View { batch, first, chosen: None },
                Some(rows) => {
                    part = only(batch, columns, Some(rows))?;
                    View { batch: &part, first, chosen: Some(rows) }
                }
            };
            lane.update(self.rules, &view, pass)?;
        }
        Ok(())
    }

    /// Turns rules that wait for the spread of their column into rules about rows.
    fn later(&mut self) -> Result<()> {
        for lane in &mut self.lanes {
            let facts = &mut lane.facts;
            for entry in &mut lane.entries {
                if !matches!(entry.state, State::Spread) {
                    continue;
                }
                let Some(rule) = self.rules.get(entry.rule) else { continue };
                let Some(facts) = rule.column().and_then(|name| facts.get_mut(name)) else { continue };
                let (bounds, note) = window(&rule.kind, facts)?;
                entry.state =
                    State::Rows { check: RowCheck::Range(bounds), tally: Tally::keeping(self.keep), note };
                entry.pass = 2;
            }
        }
        Ok(())
    }

    fn finish(self, table: &dyn Table, context: &Context<'_>) -> Result<Vec<RuleResult>> {
        let names: Vec<Vec<String>> = self.slicings.into_iter().map(|(_, found)| found.names).collect();
        let mut results: Vec<(usize, RuleResult)> = Vec::new();
        for mut lane in self.lanes {
            let slice = lane.slice.and_then(|(at, place)| names.get(at)?.get(place).cloned());
            for entry in std::mem::take(&mut lane.entries) {
                let Some(rule) = self.rules.get(entry.rule) else { continue };
                let result =
                    conclude::conclude(rule, entry.state, &mut lane, slice.as_deref(), table, context)?;
                results.push((entry.rule, result));
            }
        }
        // Lanes are in the order of their first rule; results are in that of the suite.
        results.sort_by_key(|(rule, _)| *rule);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }
}

impl Lane {
    fn update(&mut self, rules: &[Rule], view: &View<'_>, pass: u8) -> Result<()> {
        if pass == 1 {
            self.rows += view.batch.num_rows() as u64;
            for (name, facts) in &mut self.facts {
                if let Some(array) = view.batch.column_by_name(name) {
                    facts.update(array)?;
                }
            }
        }
        for entry in self.entries.iter_mut().filter(|entry| entry.pass == pass) {
            let Some(rule) = rules.get(entry.rule) else { continue };
            let array = rule.columns.first().and_then(|name| view.batch.column_by_name(name));
            match (&mut entry.state, array) {
                (State::Rows { check, tally, .. }, _) => check.update(&rule.columns, view, tally),
                (State::Keyed(keyed) | State::References(keyed), _) => {
                    keyed.update(&rule.columns, rule.missing, view)?;
                }
                (State::Set(seen), Some(array)) => seen.update(array),
                (State::Bins(bins), Some(array)) => bins.update(array),
                (State::Contingency(table), Some(array)) => {
                    if let RuleKind::Association { other, .. } = &rule.kind
                        && let Some(second) = view.batch.column_by_name(other)
                    {
                        table.update(array, second);
                    }
                }
                (State::Profile(profiler), _) => profiler.update(view.batch)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// What a rule wants gathered of its column.
fn wants(kind: &RuleKind) -> Option<Wants> {
    let mut wants = Wants::default();
    match kind {
        RuleKind::Aggregate(Statistic::Median, _) | RuleKind::Quantiles(_, _) => wants.quantiles = true,
        RuleKind::Aggregate(Statistic::DistinctCount | Statistic::DistinctShare, _) => wants.distinct = true,
        RuleKind::Aggregate(Statistic::NotNullShare, _) => {}
        RuleKind::Aggregate(_, _) | RuleKind::Fresh(_) | RuleKind::ZScore { .. } => wants.moments = true,
        RuleKind::NotOutliers { method: OutlierMethod::Std, .. } => wants.moments = true,
        RuleKind::NotOutliers { method: OutlierMethod::Iqr, .. } => wants.quantiles = true,
        RuleKind::MostCommon { .. } | RuleKind::Divergence { partition: Partition::Values(_), .. } => {
            wants.counts = true;
        }
        _ => return None,
    }
    Some(wants)
}

/// The range outside of which values are outliers: everything, where there is no spread to tell by.
fn window(kind: &RuleKind, facts: &mut Facts) -> Result<(Bounds, Option<String>)> {
    let none = (Bounds::default(), Some("there is no spread to tell outliers by".to_owned()));
    match kind {
        RuleKind::ZScore { max, double_sided } => {
            let Some(moments) = facts.moments.filter(|moments| moments.count > 1 && moments.std() > 0.0)
            else {
                return Ok(none);
            };
            let reach = max * moments.std();
            let mut bounds = Bounds::numbers(moments.mean - reach, moments.mean + reach, true);
            if !double_sided {
                bounds.min = None;
            }
            Ok((bounds, None))
        }
        RuleKind::NotOutliers { method: OutlierMethod::Std, multiplier } => {
            let Some(moments) = facts.moments.filter(|moments| moments.count > 1) else { return Ok(none) };
            let reach = multiplier * moments.std();
            Ok((Bounds::numbers(moments.mean - reach, moments.mean + reach, reach > 0.0), None))
        }
        RuleKind::NotOutliers { method: OutlierMethod::Iqr, multiplier } => {
            match facts.quantiles(&[0.25, 0.75], super::rule::Interpolation::Linear)? {
                Some((quartiles, exact)) => {
                    let [low, high] = quartiles.as_slice() else { return Ok(none) };
                    let reach = multiplier * (high - low);
                    let note = (!exact).then(|| conclude::ESTIMATE.to_owned());
                    Ok((Bounds::numbers(low - reach, high + reach, false), note))
                }
                None => Ok(none),
            }
        }
        _ => Ok(none),
    }
}

/// What a rule becomes for a table of these columns.
fn prepare(rule: &Rule, columns: &[Column], keep: usize) -> State {
    let failed = |note: String| State::Decided { passed: false, observed: None, note: Some(note) };
    for name in rule.needs() {
        if !columns.iter().any(|column| column.name == name) {
            let nearest =
                rondo_core::suggest::nearest(name, columns.iter().map(|column| column.name.as_str()));
            let hint = nearest.map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"));
            return failed(format!("there is no column `{name}`{hint}"));
        }
    }
    if let Some(why) = rule.condition.as_ref().and_then(|condition| condition.fault(columns)) {
        return failed(why);
    }
    match &rule.kind {
        RuleKind::Rows(_) => return State::Count,
        RuleKind::Columns { names, ordered, exact } => {
            return table_columns(names, *ordered, *exact, columns);
        }
        RuleKind::ColumnCount(bounds) => {
            let count = columns.len();
            return State::Decided {
                passed: bounds.contains(count as f64),
                observed: Some(count.into()),
                note: None,
            };
        }
        RuleKind::RowsEqual(_) | RuleKind::SameSchema(_) | RuleKind::Sql { .. } => return State::Beyond,
        RuleKind::Unique => return State::Keyed(Keyed::new()),
        RuleKind::References { .. } => return State::References(Keyed::new()),
        _ => {}
    }
    let first = rule.columns.first();
    let Some(column) = columns.iter().find(|column| Some(&column.name) == first) else {
        return failed("the rule names no column".into());
    };
    let column_type = column.column_type;
    let numeric = column_type.is_numeric() || column_type == ColumnType::Timestamp;
    let senseless = || {
        failed(format!(
            "the column is {}, for which `{}` means nothing",
            column_type.text(),
            rule.kind.name()
        ))
    };
    let number_rule = match &rule.kind {
        RuleKind::Aggregate(statistic, _) => !matches!(
            statistic,
            Statistic::DistinctCount | Statistic::DistinctShare | Statistic::NotNullShare
        ),
        RuleKind::Quantiles(_, _)
        | RuleKind::ZScore { .. }
        | RuleKind::NotOutliers { .. }
        | RuleKind::Divergence { partition: Partition::Bins { .. }, .. } => true,
        _ => false,
    };
    if number_rule && !numeric
        || matches!(rule.kind, RuleKind::Fresh(_)) && column_type != ColumnType::Timestamp
    {
        return senseless();
    }
    match &rule.kind {
        RuleKind::Exists { index } => {
            let place = columns.iter().position(|known| known.name == column.name);
            let passed = index.is_none_or(|index| place.map(|place| place as u64) == Some(index));
            State::Decided { passed, observed: place.map(Value::from), note: None }
        }
        RuleKind::Type(types) => State::Decided {
            passed: types.contains(&column_type),
            observed: Some(column_type.text().into()),
            note: None,
        },
        RuleKind::ZScore { .. } | RuleKind::NotOutliers { .. } => State::Spread,
        RuleKind::DistinctInSet(values)
        | RuleKind::DistinctEqualSet(values)
        | RuleKind::DistinctContainsSet(values) => match SetSeen::new(values, column_type) {
            Ok(seen) => State::Set(seen),
            Err(note) => failed(note),
        },
        RuleKind::Divergence { partition: Partition::Bins { edges, .. }, .. } => {
            State::Bins(Bins::new(edges))
        }
        RuleKind::Association { .. } => State::Contingency(Contingency::default()),
        RuleKind::Drift { .. } => State::Profile(Box::new(Profiler::new(std::slice::from_ref(column)))),
        _ => match RowCheck::of(rule, columns) {
            Some(Ok(check)) => State::Rows { check, tally: Tally::keeping(keep), note: None },
            Some(Err(note)) => failed(note),
            None => State::Facts,
        },
    }
}

/// The result of a rule that is decided by the columns' names and types alone.
pub(super) fn decided(rule: &Rule, columns: &[Column]) -> Option<RuleResult> {
    match prepare(rule, columns, 0) {
        State::Decided { passed, observed, note } => {
            Some(RuleResult { passed, observed, note, ..RuleResult::of(rule, None) })
        }
        _ => None,
    }
}

fn table_columns(names: &[String], ordered: bool, exact: bool, columns: &[Column]) -> State {
    let found: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let missing: Vec<&str> = names.iter().map(String::as_str).filter(|name| !found.contains(name)).collect();
    let extra: Vec<&str> =
        found.iter().copied().filter(|name| !names.iter().any(|known| known == name)).collect();
    let mut notes = Vec::new();
    if !missing.is_empty() {
        notes.push(format!("missing: {}", missing.join(", ")));
    }
    if !extra.is_empty() && exact {
        notes.push(format!("unexpected: {}", extra.join(", ")));
    }
    if notes.is_empty() && ordered && found != names {
        notes.push("the order is another".into());
    }
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    State::Decided { passed: note.is_none(), observed: Some(found.into()), note }
}

/// The rows of each slice, of some rows of a batch.
fn split(batch: &RecordBatch, by: &Slices, found: &slices::Found, rows: Option<&[u32]>) -> Vec<Vec<u32>> {
    let mut parts = vec![Vec::new(); found.names.len()];
    let Some(array) = batch.column_by_name(&by.column) else { return parts };
    let mut add = |row: u32| {
        if let Some(part) = found.place(array, row as usize).and_then(|place| parts.get_mut(place)) {
            part.push(row);
        }
    };
    match rows {
        Some(rows) => rows.iter().for_each(|row| add(*row)),
        None => (0..batch.num_rows() as u32).for_each(add),
    }
    parts
}

/// Some columns and rows of a batch.
pub(super) fn only(batch: &RecordBatch, names: &[String], rows: Option<&[u32]>) -> Result<RecordBatch> {
    let fault = |error: arrow_schema::ArrowError| TableError::Batch {
        what: "choose rows",
        reason: error.to_string(),
    };
    let chosen = rows.map(|rows| UInt32Array::from(rows.to_vec()));
    let (mut fields, mut arrays): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for name in names {
        let Some(array) = batch.column_by_name(name) else { continue };
        let array = match &chosen {
            Some(chosen) => arrow_select::take::take(array, chosen, None).map_err(fault)?,
            None => Arc::clone(array),
        };
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let count = rows.map_or(batch.num_rows(), <[u32]>::len);
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(fault)
}

/// Looks up the values of sample rows whose numbers alone are known.
fn fill(results: &mut [RuleResult], table: &dyn Table) -> Result<()> {
    let open = |result: &RuleResult| {
        matches!(result.check.as_str(), "unique" | "references") && !result.sample.is_empty()
    };
    let wanted: Vec<&RuleResult> = results.iter().filter(|result| open(result)).collect();
    let Some(last) = wanted.iter().flat_map(|result| &result.sample).map(|sample| sample.row).max() else {
        return Ok(());
    };
    let names: BTreeSet<String> = wanted.iter().flat_map(|result| result.columns.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut first = 1;
    for batch in table.batches(&names)? {
        let batch = batch?;
        let after = first + batch.num_rows() as u64;
        for result in results.iter_mut().filter(|result| open(result)) {
            let arrays: Vec<&ArrayRef> =
                result.columns.iter().filter_map(|name| batch.column_by_name(name)).collect();
            for sample in result.sample.iter_mut().filter(|s| (first..after).contains(&s.row)) {
                let row = usize::try_from(sample.row - first).unwrap_or(usize::MAX);
                sample.value = match arrays.as_slice() {
                    [array] => value_of(array, row),
                    arrays => Value::Array(arrays.iter().map(|array| value_of(array, row)).collect()),
                };
            }
        }
        first = after;
        if first > last {
            break;
        }
    }
    Ok(())
}
