//! Evaluating a suite: one pass over the columns that its rules name, and a second one over single columns
//! where a rule asks for it (outliers, which are told by the spread of all; the values of failing rows).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use arrow_array::ArrayRef;
use rondo_core::Timestamp;
use serde_json::Value;

use super::beside::Beside;
use super::column::{Facts, Wants};
use super::conclude;
use super::condition::Condition;
use super::layout::{Layout, Named};
use super::prepare::{self, State, prepare, window};
use super::report::{CheckReport, RuleResult};
use super::rows::{RowCheck, Tally, View};
use super::rule::{Rule, RuleKind, Slices, Suite};
use super::slices;
use super::tables::{Alone, Beyond, FileTable, Table, only};
use crate::error::Result;
use crate::read::ReadOptions;
use crate::records::value_of;

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

/// Which rows: those of a condition, of a slicing's slice.
type Chosen = (Option<usize>, Option<(usize, usize)>);

/// Rules that are asked of the same rows.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) condition: Option<usize>,
    pub(super) slice: Option<(usize, usize)>,
    pub(super) entries: Vec<Entry>,
    /// What is gathered of columns, together for all rules.
    wants: BTreeMap<String, Wants>,
    pub(super) facts: BTreeMap<String, Facts>,
    pub(super) rows: u64,
}

pub(super) struct Entry {
    pub(super) rule: usize,
    pass: u8,
    pub(super) state: State,
}

struct Run<'s> {
    rules: &'s [Rule],
    columns: Layout<'s>,
    conditions: Vec<Condition>,
    slicings: Vec<(Slices, slices::Found)>,
    lanes: Vec<Lane>,
    /// Where the lane of a condition and slice stands.
    places: HashMap<Chosen, usize>,
    keep: usize,
}

impl<'s> Run<'s> {
    fn new(suite: &'s Suite, table: &'s dyn Table, context: &Context<'_>) -> Result<Self> {
        let mut run = Self {
            rules: &suite.rules,
            columns: Layout::new(table.columns()),
            conditions: Vec::new(),
            slicings: Vec::new(),
            lanes: Vec::new(),
            places: HashMap::new(),
            keep: context.keep,
        };
        for (index, rule) in suite.rules.iter().enumerate() {
            run.add(index, rule, table)?;
        }
        let columns = &run.columns;
        for lane in &mut run.lanes {
            let wants = std::mem::take(&mut lane.wants).into_iter();
            lane.facts = wants
                .filter_map(|(name, wants)| {
                    let column_type = columns.type_of(&name)?;
                    Some((name, Facts::new(column_type, wants)))
                })
                .collect();
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
            self.lane(condition, None).take(index, rule, first);
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
            self.lane(condition, None).take(index, rule, first);
            return Ok(());
        }
        for place in 0..many {
            let state = prepare(rule, &self.columns, self.keep);
            self.lane(condition, Some((at, place))).take(index, rule, state);
        }
        Ok(())
    }

    fn lane(&mut self, condition: Option<usize>, slice: Option<(usize, usize)>) -> &mut Lane {
        let at = *self.places.entry((condition, slice)).or_insert_with(|| {
            self.lanes.push(Lane { condition, slice, ..Lane::default() });
            self.lanes.len() - 1
        });
        // The index was found or pushed just now.
        &mut self.lanes[at]
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
            self.update(&Named::new(&batch), first, pass, &lane_columns)?;
            first += batch.num_rows() as u64;
        }
        Ok(())
    }

    fn update(
        &mut self,
        batch: &Named<'_>,
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
            let (part, named);
            let view = match rows {
                None => View { batch, first, chosen: None },
                Some(rows) => {
                    part = only(batch, columns, Some(rows))?;
                    named = Named::new(&part);
                    View { batch: &named, first, chosen: Some(rows) }
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
        let mut beside = Beside::of(self.rules);
        let names: Vec<Vec<String>> = self.slicings.into_iter().map(|(_, found)| found.names).collect();
        let mut results: Vec<(usize, RuleResult)> = Vec::new();
        for mut lane in self.lanes {
            let slice = lane.slice.and_then(|(at, place)| names.get(at)?.get(place).cloned());
            for entry in std::mem::take(&mut lane.entries) {
                let Some(rule) = self.rules.get(entry.rule) else { continue };
                let result = conclude::conclude(
                    rule,
                    entry.state,
                    &mut lane,
                    slice.as_deref(),
                    table,
                    &mut beside,
                    context,
                )?;
                results.push((entry.rule, result));
            }
        }
        // Lanes are in the order of their first rule; results are in that of the suite.
        results.sort_by_key(|(rule, _)| *rule);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }
}

impl Lane {
    /// Takes a rule, and has what it wants of its column gathered.
    fn take(&mut self, index: usize, rule: &Rule, state: State) {
        if matches!(state, State::Facts | State::Spread)
            && let Some(name) = rule.column()
            && let Some(wants) = prepare::wants(&rule.kind)
        {
            let known = self.wants.entry(name.to_owned()).or_default();
            *known = known.with(wants);
        }
        self.entries.push(Entry { rule: index, pass: 1, state });
    }

    fn update(&mut self, rules: &[Rule], view: &View<'_>, pass: u8) -> Result<()> {
        if pass == 1 {
            self.rows += view.batch.num_rows() as u64;
            for (name, facts) in &mut self.facts {
                if let Some(array) = view.batch.array(name) {
                    facts.update(array)?;
                }
            }
        }
        for entry in self.entries.iter_mut().filter(|entry| entry.pass == pass) {
            let Some(rule) = rules.get(entry.rule) else { continue };
            let array = rule.columns.first().and_then(|name| view.batch.array(name));
            match (&mut entry.state, array) {
                (State::Rows { check, tally, .. }, _) => check.update(&rule.columns, view, tally),
                (State::Keyed(keyed) | State::References(keyed), _) => {
                    keyed.update(&rule.columns, rule.missing, view)?;
                }
                (State::Set(seen), Some(array)) => seen.update(array),
                (State::Bins(bins), Some(array)) => bins.update(array),
                (State::Contingency(table), Some(array)) => {
                    if let RuleKind::Association { other, .. } = &rule.kind
                        && let Some(second) = view.batch.array(other)
                    {
                        table.update(array, second);
                    }
                }
                (State::Profile(profiler), _) => {
                    profiler.update(&only(view.batch, &rule.columns, None)?)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The rows of each slice, of some rows of a batch.
fn split(batch: &Named<'_>, by: &Slices, found: &slices::Found, rows: Option<&[u32]>) -> Vec<Vec<u32>> {
    let mut parts = vec![Vec::new(); found.names.len()];
    let Some(array) = batch.array(&by.column) else { return parts };
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
        let named = Named::new(&batch);
        for result in results.iter_mut().filter(|result| open(result)) {
            let arrays: Vec<&ArrayRef> = result.columns.iter().filter_map(|name| named.array(name)).collect();
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
