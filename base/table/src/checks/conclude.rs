//! From what was gathered to the result of a rule.

use std::collections::BTreeMap;

use rondo_core::Span;
use rondo_core::signature::{Column, ColumnType};
use serde_json::{Value, json};

use super::beside::Beside;
use super::column::{self, Facts, SetSeen};
use super::keyed::Keyed;
use super::keys;
use super::prepare::State;
use super::report::{RuleResult, Sample};
use super::rows::{SAMPLED, Tally, is_missing};
use super::rule::{Interpolation, Partition, Rule, RuleKind, Statistic};
use super::run::{Context, Lane};
use super::show::listed;
use super::spill::DistinctKeys;
use super::tables::{Opened, Table};
use crate::decimal::Decimal;
use crate::error::Result;
use crate::exact::digits_shown;
use crate::moment::Moment;
use crate::records::value_of;

/// What is said of a number that a sketch gave.
pub(super) const ESTIMATE: &str = "an estimate: its rank is off by half a per cent at most";

impl RuleResult {
    /// The result of a rule that holds.
    pub(super) fn of(rule: &Rule, slice: Option<&str>) -> Self {
        let mut words = rule.to_string();
        if let Some(slice) = slice {
            words.push_str(&format!(" [{slice}]"));
        }
        Self {
            rule: words,
            name: rule.name.clone(),
            check: rule.kind.name().to_owned(),
            columns: rule.columns.clone(),
            expected: rule.expected(),
            slice: slice.map(str::to_owned),
            severity: rule.severity,
            passed: true,
            observed: None,
            rows: 0,
            missing: 0,
            unexpected_count: 0,
            unexpected_percent: 0.0,
            sample: Vec::new(),
            note: None,
            failing: Vec::new(),
        }
    }

    pub(super) fn fail(&mut self, note: impl Into<String>) {
        self.passed = false;
        self.note = Some(note.into());
    }

    pub(super) fn tally(&mut self, tally: Tally, mostly: f64) {
        self.passed = tally.passes(mostly);
        self.rows = tally.looked_at;
        self.missing = tally.missing;
        self.unexpected_count = tally.unexpected;
        if tally.looked_at > 0 {
            self.unexpected_percent = tally.unexpected as f64 * 100.0 / tally.looked_at as f64;
        } else if self.note.is_none() {
            self.note = Some("no values to look at".into());
        }
        self.sample = tally.sample;
        self.failing = tally.rows;
    }
}

/// The result of a rule.
pub(super) fn conclude<'s>(
    rule: &'s Rule,
    state: State,
    lane: &mut Lane,
    slice: Option<&str>,
    table: &dyn Table,
    beside: &mut Beside<'s>,
    context: &Context<'_>,
) -> Result<RuleResult> {
    let mut result = RuleResult::of(rule, slice);
    match state {
        State::Decided { passed, observed, note } => {
            (result.passed, result.observed, result.note) = (passed, observed, note);
        }
        State::Rows { tally, note, .. } => {
            result.note = note;
            result.tally(tally, rule.mostly);
        }
        State::Keyed(keyed) => result.tally(keyed.duplicates(context.keep)?, rule.mostly),
        State::References(keyed) => references(rule, keyed, &mut result, context)?,
        State::Count => {
            result.rows = lane.rows;
            result.observed = Some(lane.rows.into());
            if let RuleKind::Rows(bounds) = &rule.kind {
                result.passed = bounds.contains(lane.rows as f64);
            }
        }
        State::Facts | State::Spread => {
            if let Some(facts) = rule.column().and_then(|name| lane.facts.get_mut(name)) {
                (result.rows, result.missing) = (facts.count, facts.missing);
                of_facts(&rule.kind, facts, &mut result, context)?;
            }
        }
        State::Set(seen) => of_set(&rule.kind, &seen, &mut result),
        State::Bins(bins) => {
            if let RuleKind::Divergence { partition, max, tail_holdout, internal_holdout } = &rule.kind {
                let found = bins.divergence(partition, *tail_holdout, *internal_holdout);
                divergence(found, *max, &mut result);
            }
        }
        State::Contingency(found) => {
            if let RuleKind::Association { max, .. } = &rule.kind {
                match found.phi() {
                    Some(phi) => {
                        result.observed = Some(json!(phi));
                        result.passed = phi <= *max;
                    }
                    None => result.fail("there are too many different pairs of values to count them"),
                }
            }
        }
        State::Profile(profiler) => beside.drift(rule, *profiler, &mut result, context)?,
        State::Beyond => beyond(rule, table, &mut result, context)?,
    }
    Ok(result)
}

fn of_facts(
    kind: &RuleKind,
    facts: &mut Facts,
    result: &mut RuleResult,
    context: &Context<'_>,
) -> Result<()> {
    let moment = facts.column_type == ColumnType::Timestamp;
    match kind {
        RuleKind::Aggregate(statistic, bounds) => match aggregate(*statistic, facts)? {
            Some((value, exact)) => {
                let end = match statistic {
                    Statistic::Min => facts.end(false),
                    Statistic::Max => facts.end(true),
                    _ => None,
                };
                result.passed = match end {
                    Some(end) => bounds.exactly().contains(value, || Some(end)),
                    None => bounds.contains(value),
                };
                result.observed =
                    Some(match end.filter(|end| !moment && Decimal::of_number(value) != Some(*end)) {
                        Some(end) => digits_shown(end.to_string()),
                        None => shown(value, *statistic, moment),
                    });
                result.note = (!exact).then(|| ESTIMATE.to_owned());
            }
            None => result.fail("there are no values to compute it from"),
        },
        RuleKind::Quantiles(list, how) => {
            let at: Vec<f64> = list.iter().map(|(at, _)| *at).collect();
            match facts.quantiles(&at, *how)? {
                Some((values, exact)) => {
                    quantiles(list, &values, moment, result);
                    result.note = (!exact).then(|| ESTIMATE.to_owned());
                }
                None => result.fail("there are no values to compute it from"),
            }
        }
        RuleKind::MostCommon { values, ties } => match facts.counts().and_then(column::Counts::commonest) {
            None => result.fail("there are too many different values to count them"),
            Some(found) => {
                let wanted: Vec<_> =
                    values.iter().filter_map(|value| keys::of_value(value, facts.column_type)).collect();
                let inside = found.iter().filter(|(key, _)| wanted.contains(key)).count();
                result.passed = if *ties { inside > 0 } else { found.len() == 1 && inside == 1 };
                result.observed = Some(found.into_iter().take(20).map(|(_, value)| value).collect());
            }
        },
        RuleKind::Divergence { partition: Partition::Values(wanted), max, tail_holdout, .. } => {
            match facts.counts().and_then(column::Counts::known) {
                None => result.fail("there are too many different values to count them"),
                Some(counts) => {
                    let found = column::values_divergence(counts, wanted, facts.column_type, *tail_holdout);
                    divergence(found, *max, result);
                }
            }
        }
        RuleKind::Fresh(within) => match facts.moments.filter(|moments| moments.count > 0) {
            None => result.fail("there are no moments"),
            Some(moments) => {
                let newest = Moment::of_scale(moments.max).timestamp();
                result.passed = context.now - newest <= *within;
                result.observed = Some(newest.rfc3339().into());
                let age = context.now - newest;
                result.note = Some(if age.millis() < 0 {
                    "newer than now".to_owned()
                } else {
                    format!("{} old", roughly(age))
                });
            }
        },
        _ => {}
    }
    Ok(())
}

/// A span in the largest unit of which it has two.
fn roughly(span: Span) -> String {
    const UNITS: [(i64, &str); 3] = [(86_400_000, "days"), (3_600_000, "hours"), (60_000, "minutes")];
    let found = UNITS.iter().find(|(unit, _)| span.millis() >= 2 * unit);
    found.map_or_else(
        || format!("{} seconds", span.millis() / 1000),
        |(unit, name)| format!("{} {name}", span.millis() / unit),
    )
}

/// A statistic and whether it is exact; nothing when there are no values.
fn aggregate(statistic: Statistic, facts: &mut Facts) -> Result<Option<(f64, bool)>> {
    let moments = facts.moments;
    let some = moments.filter(|moments| moments.count > 0);
    let exact = |value: Option<f64>| value.map(|value| (value, true));
    Ok(match statistic {
        Statistic::Min => exact(some.map(|moments| moments.min)),
        Statistic::Max => exact(some.map(|moments| moments.max)),
        Statistic::Mean => exact(some.map(|moments| moments.mean)),
        Statistic::Std => exact(some.filter(|moments| moments.count > 1).map(|moments| moments.std())),
        // The sum of nothing is nothing.
        Statistic::Sum => exact(moments.map(|moments| moments.sum)),
        Statistic::Median => facts
            .quantiles(&[0.5], Interpolation::Linear)?
            .and_then(|(values, exact)| values.first().map(|value| (*value, exact))),
        Statistic::DistinctCount => exact(facts.distinct_count()?.map(|count| count as f64)),
        Statistic::DistinctShare => exact(
            facts
                .distinct_count()?
                .map(|n| if facts.count == 0 { 0.0 } else { n as f64 / facts.count as f64 }),
        ),
        Statistic::NotNullShare => {
            let rows = facts.count + facts.missing;
            exact((rows > 0).then(|| facts.count as f64 / rows as f64))
        }
    })
}

/// A statistic as it is shown: a moment as a moment, a count without a point.
pub(super) fn shown(value: f64, statistic: Statistic, moment: bool) -> Value {
    if moment && statistic.is_value() {
        Moment::of_scale(value).rfc3339().into()
    } else if statistic == Statistic::DistinctCount {
        (value as u64).into()
    } else {
        value.into()
    }
}

pub(super) fn quantiles(
    list: &[(f64, super::rule::Bounds)],
    values: &[f64],
    moment: bool,
    result: &mut RuleResult,
) {
    result.passed = list.iter().zip(values).all(|((_, bounds), value)| bounds.contains(*value));
    let show = |value: &f64| shown(*value, Statistic::Median, moment);
    result.observed = match values {
        [one] => Some(show(one)),
        values => Some(values.iter().map(show).collect()),
    };
}

fn divergence(found: f64, max: Option<f64>, result: &mut RuleResult) {
    if found.is_nan() {
        result.fail("there are no values to compute it from");
        return;
    }
    result.passed = max.is_none_or(|max| found <= max);
    if found.is_finite() {
        result.observed = Some(json!(found));
    } else {
        result.note = Some("infinite: a value occurs that has no weight".into());
    }
}

fn of_set(kind: &RuleKind, seen: &SetSeen, result: &mut RuleResult) {
    let (no_others, all) = match kind {
        RuleKind::DistinctInSet(_) => (true, false),
        RuleKind::DistinctEqualSet(_) => (true, true),
        _ => (false, true),
    };
    let name = |values: Vec<&Value>, more: bool| {
        let mut values: Vec<Value> = values.into_iter().cloned().collect();
        values.sort_by_key(|value| value.to_string());
        format!("{}{}", listed(&values), if more { " and others" } else { "" })
    };
    let mut notes = Vec::new();
    let (others, more) = seen.others();
    if no_others && !others.is_empty() {
        notes.push(format!("unexpected: {}", name(others, more)));
    }
    let lacking = seen.lacking();
    if all && !lacking.is_empty() {
        notes.push(format!("missing: {}", name(lacking, false)));
    }
    result.passed = notes.is_empty();
    result.note = (!notes.is_empty()).then(|| notes.join("; "));
}

fn references(rule: &Rule, keyed: Keyed, result: &mut RuleResult, context: &Context<'_>) -> Result<()> {
    let RuleKind::References { table, columns } = &rule.kind else { return Ok(()) };
    let other = match context.beyond.open(table) {
        Ok(Opened::Table(other)) => other,
        Ok(Opened::Profile(_)) => {
            result.fail(format!("`{table}` is a profile, which does not have the values"));
            return Ok(());
        }
        Err(why) => {
            result.fail(why);
            return Ok(());
        }
    };
    if let Some(name) = columns.iter().find(|name| !has(other.columns(), name)) {
        result.fail(format!("there is no column `{name}` in `{table}`"));
        return Ok(());
    }
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut there = DistinctKeys::new();
    for batch in other.batches(&names)? {
        let batch = batch?;
        let arrays: Vec<_> = columns.iter().filter_map(|name| batch.column_by_name(name)).collect();
        let mut failed = Ok(());
        match arrays.as_slice() {
            [array] => keys::visit(array, |_, key| {
                if failed.is_ok() {
                    failed = there.push(key);
                }
            }),
            arrays => {
                for row in 0..batch.num_rows() {
                    if !arrays.iter().all(|array| is_missing(array, row)) {
                        there.push(keys::several(arrays.iter().map(|array| keys::key_at(array, row))))?;
                    }
                }
            }
        }
        failed?;
    }
    result.tally(keyed.not_among(there, context.keep)?, rule.mostly);
    Ok(())
}

fn has(columns: &[Column], name: &str) -> bool {
    columns.iter().any(|column| column.name == name)
}

/// Rules about the table beside another, and rules in SQL.
fn beyond(rule: &Rule, table: &dyn Table, result: &mut RuleResult, context: &Context<'_>) -> Result<()> {
    match &rule.kind {
        RuleKind::RowsEqual(other) => {
            result.rows = table.rows();
            let there = match context.beyond.open(other) {
                Ok(Opened::Table(other)) => other.rows(),
                Ok(Opened::Profile(profile)) => profile.rows,
                Err(why) => {
                    result.fail(why);
                    return Ok(());
                }
            };
            result.passed = there == table.rows();
            result.observed = Some(json!({ "self": table.rows(), "other": there }));
        }
        RuleKind::SameSchema(other) => {
            let there: Vec<(String, ColumnType)> = match context.beyond.open(other) {
                Ok(Opened::Table(other)) => other.columns().iter().map(described).collect(),
                Ok(Opened::Profile(profile)) => {
                    profile.columns.iter().map(|c| (c.name.clone(), c.column_type)).collect()
                }
                Err(why) => {
                    result.fail(why);
                    return Ok(());
                }
            };
            let here: Vec<(String, ColumnType)> = table.columns().iter().map(described).collect();
            let notes = schema_differences(&here, &there);
            result.passed = notes.is_empty();
            result.note = (!notes.is_empty()).then(|| notes.join("; "));
        }
        RuleKind::Sql { query, tables } => {
            let rows = match context.beyond.sql(query, tables) {
                Ok(Opened::Table(rows)) => rows,
                Ok(Opened::Profile(_)) => {
                    result.fail("the statement gave no rows to look at");
                    return Ok(());
                }
                Err(why) => {
                    result.fail(why);
                    return Ok(());
                }
            };
            of_sql(rows.as_ref(), result)?;
        }
        _ => {}
    }
    Ok(())
}

fn described(column: &Column) -> (String, ColumnType) {
    (column.name.clone(), column.column_type)
}

fn schema_differences(here: &[(String, ColumnType)], there: &[(String, ColumnType)]) -> Vec<String> {
    fn by_name(columns: &[(String, ColumnType)]) -> BTreeMap<&str, ColumnType> {
        columns.iter().map(|(name, column_type)| (name.as_str(), *column_type)).collect()
    }
    let (ours, theirs) = (by_name(here), by_name(there));
    let mut notes = Vec::new();
    for (name, column_type) in there {
        match ours.get(name.as_str()) {
            None => notes.push(format!("missing: {name}")),
            Some(found) if found != column_type => {
                notes.push(format!("`{name}` is {}, there {}", found.text(), column_type.text()));
            }
            Some(_) => {}
        }
    }
    let extra = here.iter().filter(|(name, _)| !theirs.contains_key(name.as_str()));
    notes.extend(extra.map(|(name, _)| format!("unexpected: {name}")));
    if notes.is_empty() && here != there {
        notes.push("the order is another".into());
    }
    notes
}

fn of_sql(rows: &dyn Table, result: &mut RuleResult) -> Result<()> {
    result.unexpected_count = rows.rows();
    result.observed = Some(rows.rows().into());
    result.passed = rows.rows() == 0;
    if result.passed {
        return Ok(());
    }
    let names: Vec<&str> = rows.columns().iter().map(|column| column.name.as_str()).collect();
    for batch in rows.batches(&names)? {
        let batch = batch?;
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            if result.sample.len() >= SAMPLED {
                return Ok(());
            }
            let fields = schema.fields().iter().zip(batch.columns());
            let object = fields.map(|(field, array)| (field.name().clone(), value_of(array, row))).collect();
            let number = result.sample.len() as u64 + 1;
            result.sample.push(Sample { row: number, key: None, value: Value::Object(object) });
        }
    }
    Ok(())
}
