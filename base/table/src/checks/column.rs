//! What rules about a whole column gather, and nothing that no rule asks for.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use rondo_core::signature::ColumnType;
use serde_json::{Value, json};

use super::keys::{self, Key, KeyMap};
use super::rows::{missing_count, visit_numbers};
use super::rule::{Interpolation, Partition};
use super::spill::DistinctKeys;
use crate::decimal::Decimal;
use crate::error::Result;
use crate::profile::{ColumnProfile, Moments, NumericProfile, Profiler};
use crate::records::value_of;

/// Up to so many numbers of a column are kept for exact quantiles (16 MB); beyond, a t-digest has them.
const EXACT_NUMBERS: usize = 2_000_000;
/// Up to so many different values are counted one by one.
const COUNTED: usize = 100_000;

/// What is wanted of a column.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wants {
    pub(super) moments: bool,
    pub(super) ends: bool,
    pub(super) quantiles: bool,
    pub(super) distinct: bool,
    pub(super) counts: bool,
}

impl Wants {
    /// What either wants.
    pub(super) const fn with(self, other: Self) -> Self {
        Self {
            moments: self.moments || other.moments,
            ends: self.ends || other.ends,
            quantiles: self.quantiles || other.quantiles,
            distinct: self.distinct || other.distinct,
            counts: self.counts || other.counts,
        }
    }
}

/// What has been gathered of a column.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) column_type: ColumnType,
    pub(super) count: u64,
    pub(super) missing: u64,
    pub(super) moments: Option<Moments>,
    ends: Option<Ends>,
    quantiles: Option<Numbers>,
    distinct: Option<Distinct>,
    counts: Option<Counts>,
    chunk: Vec<f64>,
}

/// The least and the greatest value, each with its nearest number.
#[derive(Debug, Default)]
struct Ends {
    least: Option<(f64, Decimal)>,
    greatest: Option<(f64, Decimal)>,
}

impl Ends {
    fn update(&mut self, array: &ArrayRef) {
        if array.data_type() == &DataType::Float64 {
            return;
        }
        visit_numbers(array, |row, number| {
            // Almost no number is beyond those before it.
            let further = |end: &mut Option<(f64, Decimal)>, side: Ordering| {
                let order = end.map(|(nearest, _)| number.total_cmp(&nearest));
                if order.is_some_and(|order| order != side && order.is_ne()) {
                    return;
                }
                let Some(value) = Decimal::at(array, row) else { return };
                if end.is_none_or(|(_, known)| value.cmp(&known) == side) {
                    *end = Some((number, value));
                }
            };
            further(&mut self.least, Ordering::Less);
            further(&mut self.greatest, Ordering::Greater);
        });
    }
}

#[derive(Debug)]
enum Distinct {
    Keys(DistinctKeys),
    Count(u64),
}

#[derive(Debug)]
enum Numbers {
    Exact(Vec<f64>),
    Sketched(Box<Profiler>),
    Finished(Box<NumericProfile>),
    None,
}

impl Facts {
    pub(super) fn new(column_type: ColumnType, wants: Wants) -> Self {
        Self {
            column_type,
            count: 0,
            missing: 0,
            moments: wants.moments.then(Moments::default),
            ends: wants.ends.then(Ends::default),
            quantiles: wants.quantiles.then(|| Numbers::Exact(Vec::new())),
            distinct: wants.distinct.then(|| Distinct::Keys(DistinctKeys::new())),
            counts: wants.counts.then(Counts::default),
            chunk: Vec::new(),
        }
    }

    pub(super) fn update(&mut self, array: &ArrayRef) -> Result<()> {
        let missing = missing_count(array) as u64;
        self.missing += missing;
        self.count += array.len() as u64 - missing;
        if self.moments.is_some() || self.quantiles.is_some() {
            self.chunk.clear();
            visit_numbers(array, |_, value| self.chunk.push(value));
        }
        if let Some(moments) = &mut self.moments {
            *moments = moments.merge(&Moments::of(&self.chunk));
        }
        if let Some(ends) = &mut self.ends {
            ends.update(array);
        }
        if let Some(numbers) = &mut self.quantiles {
            numbers.extend(&self.chunk)?;
        }
        if let Some(Distinct::Keys(distinct)) = &mut self.distinct {
            let mut failed = Ok(());
            keys::visit(array, |_, key| {
                if failed.is_ok() {
                    failed = distinct.push(key);
                }
            });
            failed?;
        }
        if let Some(counts) = &mut self.counts {
            counts.update(array);
        }
        Ok(())
    }

    /// The least value, or the greatest, to its last digit; nothing of floating-point numbers, which are that.
    pub(super) fn end(&self, greatest: bool) -> Option<Decimal> {
        let ends = self.ends.as_ref()?;
        let (_, value) = if greatest { ends.greatest } else { ends.least }?;
        Some(value)
    }

    /// How many values differ, when all have come.
    pub(super) fn distinct_count(&mut self) -> Result<Option<u64>> {
        let count = match self.distinct.take() {
            None => return Ok(None),
            Some(Distinct::Count(count)) => count,
            Some(Distinct::Keys(keys)) => keys.count()?,
        };
        self.distinct = Some(Distinct::Count(count));
        Ok(Some(count))
    }

    pub(super) fn counts(&self) -> Option<&Counts> {
        self.counts.as_ref()
    }

    /// Quantiles, and whether they are exact; nothing of no values.
    pub(super) fn quantiles(&mut self, at: &[f64], how: Interpolation) -> Result<Option<(Vec<f64>, bool)>> {
        let Some(numbers) = &mut self.quantiles else { return Ok(None) };
        numbers.finish()?;
        Ok(match numbers {
            Numbers::Exact(values) => {
                let found: Option<Vec<f64>> = at.iter().map(|at| exact_quantile(values, *at, how)).collect();
                found.map(|found| (found, true))
            }
            Numbers::Finished(numeric) => {
                let found: Option<Vec<f64>> = at.iter().map(|at| numeric.quantile(*at)).collect();
                found.map(|found| (found, false))
            }
            Numbers::Sketched(_) | Numbers::None => None,
        })
    }
}

impl Numbers {
    fn extend(&mut self, chunk: &[f64]) -> Result<()> {
        match self {
            Self::Exact(values) if values.len() + chunk.len() <= EXACT_NUMBERS => {
                values.extend_from_slice(chunk);
            }
            Self::Exact(values) => {
                let mut profiler = Profiler::new(&[number_column()]);
                for part in values.chunks(1 << 14).chain([chunk]) {
                    profiler.update(&number_batch(part)?)?;
                }
                *self = Self::Sketched(Box::new(profiler));
            }
            Self::Sketched(profiler) => profiler.update(&number_batch(chunk)?)?,
            Self::Finished(_) | Self::None => {}
        }
        Ok(())
    }

    /// Ends the sketch, when all values have come.
    fn finish(&mut self) -> Result<()> {
        *self = match std::mem::replace(self, Self::None) {
            Self::Sketched(profiler) => {
                let column = profiler.finish()?.columns.pop();
                column.and_then(|column| column.numeric).map_or(Self::None, |n| Self::Finished(Box::new(n)))
            }
            other => other,
        };
        Ok(())
    }
}

fn number_column() -> rondo_core::signature::Column {
    rondo_core::signature::Column { name: "x".into(), column_type: ColumnType::Number, nullable: true }
}

fn number_batch(values: &[f64]) -> Result<arrow_array::RecordBatch> {
    let array: ArrayRef = std::sync::Arc::new(arrow_array::Float64Array::from(values.to_vec()));
    arrow_array::RecordBatch::try_from_iter([("x", array)])
        .map_err(|error| crate::TableError::Batch { what: "gather numbers", reason: error.to_string() })
}

/// A quantile as pandas has it, by selection: the values are put into another order.
fn exact_quantile(values: &mut [f64], at: f64, how: Interpolation) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let position = at.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (position.floor(), position.ceil());
    let pick = |values: &mut [f64], index: f64| {
        let (_, value, _) = values.select_nth_unstable_by((index as usize).min(last), f64::total_cmp);
        *value
    };
    Some(match how {
        // numpy rounds half to even.
        Interpolation::Nearest => pick(values, position.round_ties_even()),
        Interpolation::Lower => pick(values, low),
        Interpolation::Higher => pick(values, high),
        Interpolation::Midpoint => {
            let below = pick(values, low);
            below + (pick(values, high) - below) / 2.0
        }
        Interpolation::Linear => {
            let below = pick(values, low);
            if high > low { below + (pick(values, high) - below) * (position - low) } else { below }
        }
    })
}

/// How often each value occurs, while there are not too many.
#[derive(Debug, Default)]
pub(super) struct Counts {
    counts: KeyMap<(u64, Value)>,
    overflown: bool,
}

impl Counts {
    fn update(&mut self, array: &ArrayRef) {
        if self.overflown {
            return;
        }
        keys::visit(array, |row, key| {
            if self.overflown {
                return;
            }
            self.counts.entry(key).or_insert_with(|| (0, value_of(array, row))).0 += 1;
            if self.counts.len() > COUNTED {
                self.overflown = true;
                self.counts = KeyMap::default();
            }
        });
    }

    /// The values with their counts, unless there were too many.
    pub(super) fn known(&self) -> Option<&KeyMap<(u64, Value)>> {
        (!self.overflown).then_some(&self.counts)
    }

    /// The commonest values, in the order of their text.
    pub(super) fn commonest(&self) -> Option<Vec<(Key, Value)>> {
        let known = self.known()?;
        let most = known.values().map(|(count, _)| *count).max().unwrap_or(0);
        let mut found: Vec<(Key, Value)> = known
            .iter()
            .filter(|(_, (count, _))| *count == most)
            .map(|(key, (_, value))| (*key, value.clone()))
            .collect();
        found.sort_by_key(|(_, value)| value.to_string());
        Some(found)
    }
}

/// Which values of a set occur, and which others.
#[derive(Debug)]
pub(super) struct SetSeen {
    wanted: KeyMap<(Value, bool)>,
    others: KeyMap<Value>,
    many: bool,
}

/// Other values that are kept to be named.
const OTHERS: usize = 1_000;

impl SetSeen {
    /// A reason when a value can be none of the column's.
    pub(super) fn new(values: &[Value], column_type: ColumnType) -> Result<Self, String> {
        let mut wanted = KeyMap::default();
        for value in values {
            let key = keys::of_value(value, column_type).ok_or_else(|| {
                format!("the column is {}, but not all values of the set are", column_type.text())
            })?;
            wanted.insert(key, (value.clone(), false));
        }
        Ok(Self { wanted, others: KeyMap::default(), many: false })
    }

    pub(super) fn update(&mut self, array: &ArrayRef) {
        keys::visit(array, |row, key| match self.wanted.get_mut(&key) {
            Some((_, seen)) => *seen = true,
            None if self.others.len() < OTHERS => {
                self.others.entry(key).or_insert_with(|| value_of(array, row));
            }
            None => self.many |= !self.others.contains_key(&key),
        });
    }

    /// Other values, and whether there are more.
    pub(super) fn others(&self) -> (Vec<&Value>, bool) {
        (self.others.values().collect(), self.many)
    }

    pub(super) fn lacking(&self) -> Vec<&Value> {
        self.wanted.values().filter(|(_, seen)| !seen).map(|(value, _)| value).collect()
    }
}

/// Counts of numbers in bins between edges.
#[derive(Debug)]
pub(super) struct Bins {
    edges: Vec<f64>,
    counts: Vec<u64>,
    below: u64,
    above: u64,
}

impl Bins {
    pub(super) fn new(edges: &[f64]) -> Self {
        Self { edges: edges.to_vec(), counts: vec![0; edges.len().saturating_sub(1)], below: 0, above: 0 }
    }

    pub(super) fn update(&mut self, array: &ArrayRef) {
        let (Some(first), Some(last)) = (self.edges.first().copied(), self.edges.last().copied()) else {
            return;
        };
        visit_numbers(array, |_, value| {
            if value < first {
                self.below += 1;
            } else if value > last {
                self.above += 1;
            } else {
                let at = self.edges.partition_point(|edge| *edge <= value).saturating_sub(1);
                let at = at.min(self.counts.len().saturating_sub(1));
                if let Some(slot) = self.counts.get_mut(at) {
                    *slot += 1;
                }
            }
        });
    }

    /// The divergence of what was found from the weights, as Great Expectations has it.
    pub(super) fn divergence(&self, partition: &Partition, tail_holdout: f64, internal_holdout: f64) -> f64 {
        let Partition::Bins { weights, tails, .. } = partition else { return f64::NAN };
        let total = (self.counts.iter().sum::<u64>() + self.below + self.above) as f64;
        let share = |count: u64| count as f64 / total;
        let mut expected: Vec<f64> =
            weights.iter().map(|weight| weight * (1.0 - tail_holdout - internal_holdout)).collect();
        let zeros = expected.iter().filter(|weight| **weight == 0.0).count();
        if internal_holdout > 0.0 && zeros > 0 {
            for weight in expected.iter_mut().filter(|weight| **weight == 0.0) {
                *weight = internal_holdout / zeros as f64;
            }
        }
        let observed = self.counts.iter().map(|count| share(*count));
        let mut pairs: Vec<(f64, f64)> = observed.zip(expected).collect();
        let open_below = self.edges.first() == Some(&f64::NEG_INFINITY);
        let open_above = self.edges.last() == Some(&f64::INFINITY);
        // A tail that no bin reaches to: its weight, or its part of what is held out.
        let (below, above) = match (tails, open_below, open_above) {
            (Some((below, above)), _, _) => (Some(*below), Some(*above)),
            (None, true, true) => (None, None),
            (None, true, false) => (None, Some(tail_holdout)),
            (None, false, true) => (Some(tail_holdout), None),
            (None, false, false) => (Some(tail_holdout / 2.0), Some(tail_holdout / 2.0)),
        };
        pairs.extend(below.map(|expected| (share(self.below), expected)));
        pairs.extend(above.map(|expected| (share(self.above), expected)));
        entropy(&pairs)
    }
}

/// The divergence of counts of values from their weights.
pub(super) fn values_divergence(
    counts: &KeyMap<(u64, Value)>,
    wanted: &[(Value, f64)],
    column_type: ColumnType,
    tail_holdout: f64,
) -> f64 {
    let total: u64 = counts.values().map(|(count, _)| *count).sum();
    let mut left: BTreeMap<Key, u64> = counts.iter().map(|(key, (count, _))| (*key, *count)).collect();
    let mut pairs = Vec::new();
    for (value, weight) in wanted {
        let found = keys::of_value(value, column_type).and_then(|key| left.remove(&key)).unwrap_or(0);
        pairs.push((found as f64 / total as f64, *weight));
    }
    if !left.is_empty() {
        for (_, weight) in &mut pairs {
            *weight *= 1.0 - tail_holdout;
        }
        let each = tail_holdout / left.len() as f64;
        pairs.extend(left.values().map(|count| (*count as f64 / total as f64, each)));
    }
    entropy(&pairs)
}

/// The sum of p log(p/q) in nats, both sides brought to a sum of 1 as scipy's `entropy` does.
fn entropy(pairs: &[(f64, f64)]) -> f64 {
    let (p_sum, q_sum) = pairs.iter().fold((0.0, 0.0), |(p, q), pair| (p + pair.0, q + pair.1));
    let term = |(p, q): &(f64, f64)| {
        let (p, q) = (p / p_sum, q / q_sum);
        if p == 0.0 {
            0.0
        } else if q == 0.0 {
            f64::INFINITY
        } else {
            p * (p / q).ln()
        }
    };
    pairs.iter().map(term).sum()
}

/// How often the values of two columns occur together.
#[derive(Debug, Default)]
pub(super) struct Table {
    together: KeyMap<(Key, Key, u64)>,
    overflown: bool,
}

impl Table {
    pub(super) fn update(&mut self, first: &ArrayRef, second: &ArrayRef) {
        if self.overflown {
            return;
        }
        keys::visit(first, |row, a| {
            let Some(b) = keys::key_at(second, row) else { return };
            if self.overflown {
                return;
            }
            let key = keys::several([Some(a), Some(b)].into_iter());
            self.together.entry(key).or_insert((a, b, 0)).2 += 1;
            self.overflown = self.together.len() > COUNTED;
        });
    }

    /// Cramér's phi: the square root of chi-squared over the number of rows and the lesser degree of freedom.
    pub(super) fn phi(&self) -> Option<f64> {
        if self.overflown {
            return None;
        }
        let (mut rows, mut columns): (BTreeMap<Key, f64>, BTreeMap<Key, f64>) = Default::default();
        let mut total = 0.0;
        for (a, b, count) in self.together.values() {
            *rows.entry(*a).or_default() += *count as f64;
            *columns.entry(*b).or_default() += *count as f64;
            total += *count as f64;
        }
        let least = rows.len().min(columns.len());
        if least < 2 || total == 0.0 {
            return Some(0.0);
        }
        // Σ (o − e)²/e over all cells is n·(Σ o²/(r·c) − 1), which only needs the cells that occur.
        let mut cells: Vec<&(Key, Key, u64)> = self.together.values().collect();
        cells.sort_unstable();
        let sum: f64 = cells
            .iter()
            .filter_map(|(a, b, count)| {
                let count = *count as f64;
                Some(count * count / (rows.get(a)? * columns.get(b)?))
            })
            .sum();
        Some(((sum - 1.0).max(0.0) / (least - 1) as f64).sqrt())
    }
}

/// What two columns' profiles say of drift.
pub(super) fn drift(
    reference: &ColumnProfile,
    current: &ColumnProfile,
    rows: (u64, u64),
    method: Option<crate::drift::Method>,
    max: Option<f64>,
) -> (bool, Option<Value>, Option<String>) {
    use crate::drift::{DriftOptions, Method, compare};
    use crate::profile::Profile;
    let mut options = DriftOptions::default();
    match (method, max) {
        (Some(Method::JensenShannon) | None, Some(max)) => options.jensen_shannon = max,
        (Some(Method::Wasserstein), Some(max)) => options.wasserstein = max,
        (Some(Method::LInfinity), Some(max)) => options.l_infinity = max,
        (Some(Method::NewCategories), Some(max)) => options.new_categories = max,
        (Some(Method::NullShare), Some(max)) => options.null_share = max,
        _ => {}
    }
    let alone = |column: &ColumnProfile, rows| Profile::of_columns(rows, vec![column.clone()]);
    let report = compare(&alone(reference, rows.0), &alone(current, rows.1), &options);
    let Some(column) = report.columns.first() else {
        return (false, None, Some("the reference has no such column".into()));
    };
    let shown = match method {
        Some(method) => column.comparisons.iter().find(|drift| drift.method == method),
        None => column.main(),
    };
    let observed = shown.map(|drift| json!(drift.statistic));
    let words = shown.map(|drift| format!("{}: {}", drift.method.text(), drift.detail));
    let passed = match (method, shown, max) {
        (Some(_), Some(drift), Some(max)) => drift.statistic < max,
        (Some(_), Some(drift), None) => !drift.drifted,
        (Some(_), None, _) => true,
        (None, _, _) => !column.drifted,
    };
    (passed, observed, words.or_else(|| column.note.clone()))
}
