//! A suite asked of a stored profile: what can be told without reading a row.
//!
//! Only what the profile says exactly counts. A rule that it can only estimate, or that does not hold, so
//! that its rows are wanted, sends the whole suite to the data: nobody gets an answer of two kinds.

use rondo_core::signature::{Column, ColumnType};

use super::conclude;
use super::keys;
use super::layout::Layout;
use super::report::{CheckReport, RuleResult};
use super::rows::Tally;
use super::rule::{Bounds, Interpolation, Rule, RuleKind, Statistic, Suite};
use crate::profile::{ColumnProfile, Profile};

/// The report, where the profile decides every rule of the suite and all of them hold.
pub fn evaluate_profile(suite: &Suite, profile: &Profile) -> Option<CheckReport> {
    let columns = columns_of(profile);
    let layout = Layout::new(&columns);
    let results: Vec<RuleResult> = suite
        .rules
        .iter()
        .map(|rule| decide(rule, profile, &layout).filter(|result| result.passed))
        .collect::<Option<_>>()?;
    Some(CheckReport { from_profile: true, ..CheckReport::of(profile.rows, results) })
}

/// The rules of a suite that a profile alone cannot decide.
pub fn undecided<'a>(suite: &'a Suite, profile: &Profile) -> Vec<&'a Rule> {
    let columns = columns_of(profile);
    let layout = Layout::new(&columns);
    suite.rules.iter().filter(|rule| decide(rule, profile, &layout).is_none()).collect()
}

/// The report of a profile for whose data nobody can be asked: every rule that it decides, and every other
/// one as not decided, which does not pass.
pub fn evaluate_profile_alone(suite: &Suite, profile: &Profile) -> CheckReport {
    let columns = columns_of(profile);
    let layout = Layout::new(&columns);
    let results = suite.rules.iter().map(|rule| {
        decide(rule, profile, &layout).unwrap_or_else(|| {
            let mut result = RuleResult::of(rule, None);
            result.passed = false;
            result.note = Some("a profile does not tell: the data are needed".to_owned());
            result
        })
    });
    let results: Vec<RuleResult> = results.collect();
    CheckReport { from_profile: true, ..CheckReport::of(profile.rows, results) }
}

/// The columns of a profile as those of a table.
fn columns_of(profile: &Profile) -> Vec<Column> {
    let column = |column: &ColumnProfile| Column {
        name: column.name.clone(),
        column_type: column.column_type,
        nullable: true,
    };
    profile.columns.iter().map(column).collect()
}

/// What the profile says of a rule, exactly; nothing where it does not.
fn decide(rule: &Rule, profile: &Profile, layout: &Layout<'_>) -> Option<RuleResult> {
    if rule.condition.is_some() || rule.slices.is_some() {
        return None;
    }
    let mut result = RuleResult::of(rule, None);
    match &rule.kind {
        RuleKind::Rows(bounds) => {
            result.rows = profile.rows;
            result.observed = Some(profile.rows.into());
            result.passed = bounds.contains(profile.rows as f64);
            return Some(result);
        }
        RuleKind::Columns { .. } | RuleKind::ColumnCount(_) | RuleKind::Exists { .. } | RuleKind::Type(_) => {
            return super::prepare::decided(rule, layout);
        }
        _ => {}
    }
    let column = profile.columns.get(layout.place(rule.column()?)?)?;
    let counts_only = matches!(
        rule.kind,
        RuleKind::NotNull | RuleKind::Null | RuleKind::Aggregate(Statistic::NotNullShare, _)
    );
    let distinct =
        matches!(rule.kind, RuleKind::Aggregate(Statistic::DistinctCount | Statistic::DistinctShare, _));
    // A profile keeps no infinite numbers, and of those that share their nearest number only how many differ.
    let infinite = column.numeric.as_ref().is_some_and(|numeric| numeric.infinite > 0);
    if !counts_only && (infinite || column.rounds() && !distinct) {
        return None;
    }
    (result.rows, result.missing) = (column.count, column.nulls);
    match &rule.kind {
        RuleKind::NotNull => counted(&mut result, rule, profile.rows, column.nulls),
        RuleKind::Null => counted(&mut result, rule, profile.rows, column.count),
        RuleKind::Between(bounds) => between(&mut result, rule, column, bounds)?,
        RuleKind::Length(bounds) => {
            let texts = column.category.as_ref().filter(|_| column.column_type == ColumnType::String)?;
            let (min, max) = (texts.lengths.min as f64, texts.lengths.max as f64);
            if column.count > 0 && !(bounds.contains(min) && bounds.contains(max)) {
                return None;
            }
            counted(&mut result, rule, column.count, 0);
        }
        RuleKind::InSet(values) => outside(&mut result, rule, column, values, true)?,
        RuleKind::NotInSet(values) => outside(&mut result, rule, column, values, false)?,
        RuleKind::Aggregate(statistic, bounds) => {
            let value = aggregate(*statistic, column)?;
            result.passed = bounds.contains(value);
            let moment = column.column_type == ColumnType::Timestamp;
            result.observed = Some(conclude::shown(value, *statistic, moment));
        }
        RuleKind::Quantiles(list, Interpolation::Linear) => {
            let numeric = column.numeric.as_ref().filter(|numeric| numeric.exact_values().is_some())?;
            let values: Vec<f64> = list.iter().map(|(at, _)| numeric.quantile(*at)).collect::<Option<_>>()?;
            let moment = column.column_type == ColumnType::Timestamp;
            conclude::quantiles(list, &values, moment, &mut result);
        }
        RuleKind::DistinctInSet(values) => {
            outside(&mut result, rule, column, values, true)?;
            // The set of values counts, not how often each occurs.
            result.passed = result.unexpected_count == 0;
            (result.rows, result.missing) = (0, 0);
        }
        _ => return None,
    }
    Some(result)
}

fn counted(result: &mut RuleResult, rule: &Rule, looked_at: u64, unexpected: u64) {
    let missing = result.missing;
    result.tally(Tally { looked_at, unexpected, missing, ..Tally::default() }, rule.mostly);
}

fn between(result: &mut RuleResult, rule: &Rule, column: &ColumnProfile, bounds: &Bounds) -> Option<()> {
    let numeric = column.numeric.as_ref().filter(|numeric| numeric.infinite == 0)?;
    if let Some(values) = numeric.exact_values() {
        let unexpected = values.iter().filter(|(value, _)| !bounds.contains(*value)).map(|(_, count)| count);
        counted(result, rule, column.count, unexpected.sum());
    } else if bounds.contains(numeric.moments.min) && bounds.contains(numeric.moments.max) {
        counted(result, rule, column.count, 0);
    } else {
        return None;
    }
    Some(())
}

fn outside(
    result: &mut RuleResult,
    rule: &Rule,
    column: &ColumnProfile,
    values: &[serde_json::Value],
    wanted: bool,
) -> Option<()> {
    let set = super::rows::set(values, column.column_type).ok()?;
    let unexpected = match (&column.numeric, &column.category) {
        (Some(numeric), _) if numeric.infinite == 0 && column.column_type != ColumnType::Timestamp => {
            let bad = |value: f64| set.contains(&keys::number(value)) != wanted;
            numeric.exact_values()?.iter().filter(|(value, _)| bad(*value)).map(|(_, count)| count).sum()
        }
        (None, Some(category)) if column.column_type == ColumnType::String => {
            let bad = |value: &str| set.contains(&keys::text(value)) != wanted;
            category.counts()?.iter().filter(|(value, _)| bad(value)).map(|(_, count)| count).sum()
        }
        _ => return None,
    };
    counted(result, rule, column.count, unexpected);
    Some(())
}

/// A statistic that the profile has exactly.
fn aggregate(statistic: Statistic, column: &ColumnProfile) -> Option<f64> {
    let exact = column.distinct().filter(|distinct| distinct.exact).map(|distinct| distinct.count as f64);
    let rows = column.count + column.nulls;
    match statistic {
        Statistic::DistinctCount => return exact,
        Statistic::DistinctShare => {
            return exact.filter(|_| column.count > 0).map(|n| n / column.count as f64);
        }
        Statistic::NotNullShare => return (rows > 0).then(|| column.count as f64 / rows as f64),
        _ => {}
    }
    let numeric = column.numeric.as_ref().filter(|numeric| numeric.infinite == 0)?;
    let moments = Some(numeric.moments).filter(|moments| moments.count > 0)?;
    match statistic {
        Statistic::Min => Some(moments.min),
        Statistic::Max => Some(moments.max),
        Statistic::Mean => Some(moments.mean),
        Statistic::Sum => Some(moments.sum),
        Statistic::Std => (moments.count > 1).then(|| moments.std()),
        Statistic::Median if numeric.exact_values().is_some() => numeric.quantile(0.5),
        _ => None,
    }
}
