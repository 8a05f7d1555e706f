//! What has to be gathered for a rule, told by the rule and the columns of the table before a row is read; of
//! outliers, once the spread of their column is known.

use std::collections::HashSet;

use rondo_core::signature::{Column, ColumnType};
use serde_json::Value;

use super::column::{Bins, Facts, SetSeen, Table as Contingency, Wants};
use super::conclude;
use super::keyed::Keyed;
use super::layout::Layout;
use super::report::RuleResult;
use super::rows::{RowCheck, Tally};
use super::rule::{Bounds, Interpolation, OutlierMethod, Partition, Rule, RuleKind, Statistic};
use crate::error::Result;
use crate::profile::Profiler;

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

/// What a rule becomes for a table of these columns.
pub(super) fn prepare(rule: &Rule, columns: &Layout<'_>, keep: usize) -> State {
    let failed = |note: String| State::Decided { passed: false, observed: None, note: Some(note) };
    for name in rule.needs() {
        if !columns.has(name) {
            let hint = columns
                .nearest(name)
                .map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"));
            return failed(format!("there is no column `{name}`{hint}"));
        }
    }
    if let Some(why) = rule.condition.as_ref().and_then(|condition| condition.fault(columns)) {
        return failed(why);
    }
    match &rule.kind {
        RuleKind::Rows(_) => return State::Count,
        RuleKind::Columns { names, ordered, exact } => {
            return table_columns(names, *ordered, *exact, columns.columns());
        }
        RuleKind::ColumnCount(bounds) => {
            let count = columns.columns().len();
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
    let Some(column) = first.and_then(|name| columns.column(name)) else {
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
            let place = columns.place(&column.name);
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
pub(super) fn decided(rule: &Rule, columns: &Layout<'_>) -> Option<RuleResult> {
    match prepare(rule, columns, 0) {
        State::Decided { passed, observed, note } => {
            Some(RuleResult { passed, observed, note, ..RuleResult::of(rule, None) })
        }
        _ => None,
    }
}

fn table_columns(names: &[String], ordered: bool, exact: bool, columns: &[Column]) -> State {
    let found: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let there: HashSet<&str> = found.iter().copied().collect();
    let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
    let missing: Vec<&str> = names.iter().map(String::as_str).filter(|name| !there.contains(name)).collect();
    let extra: Vec<&str> = found.iter().copied().filter(|name| !wanted.contains(name)).collect();
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

/// What a rule wants gathered of its column.
pub(super) fn wants(kind: &RuleKind) -> Option<Wants> {
    let mut wants = Wants::default();
    match kind {
        RuleKind::Aggregate(Statistic::Median, _) | RuleKind::Quantiles(_, _) => wants.quantiles = true,
        RuleKind::Aggregate(Statistic::DistinctCount | Statistic::DistinctShare, _) => wants.distinct = true,
        RuleKind::Aggregate(Statistic::NotNullShare, _) => {}
        RuleKind::Aggregate(Statistic::Min | Statistic::Max, _) => {
            (wants.moments, wants.ends) = (true, true);
        }
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
pub(super) fn window(kind: &RuleKind, facts: &mut Facts) -> Result<(Bounds, Option<String>)> {
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
            match facts.quantiles(&[0.25, 0.75], Interpolation::Linear)? {
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
