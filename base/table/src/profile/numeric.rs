//! The profile of a column of numbers (and of moments, as milliseconds with a fraction).
//!
//! Up to [`EXACT_VALUES`] different values are kept with their counts, so that a small or discrete column
//! has an exact profile: quantiles, histograms and drift have no error at all. Beyond that the counts
//! are poured into three summaries of constant size: distinct values, quantiles, histogram.

mod stored;

use arrow_buffer::NullBuffer;

use super::hash::FastMap;
use super::histogram::Histogram;
use super::moments::{Moments, extremes};
use super::order::{Calendar, Order};
use super::sketch::{DistinctBuilder, DistinctSketch, QuantileBuilder, QuantileSketch};
use super::spread;
use super::told::{TellingBuilder, Told};
use super::{Distinct, EXACT_VALUES};

/// Values are looked at in runs of this length whatever the batches are, so that the same values in the
/// same order give the same profile to the last bit.
const CHUNK: usize = 4096;

/// The profile of a column's finite numbers.
#[derive(Debug, Clone)]
pub struct NumericProfile {
    /// Count, sum, extremes, mean and central moments.
    pub moments: Moments,
    /// Infinite values: counted here and in nothing else.
    pub infinite: u64,
    /// How many are zero.
    pub zeros: u64,
    /// In which order they come, where that was asked for and there are any.
    pub order: Option<Order>,
    /// Of moments: on which days and in which hours, where that was asked for.
    pub calendar: Option<Calendar>,
    /// Whether a number here may stand for several values of the column.
    pub(super) rounded: bool,
    /// Where it may: what tells those apart, which profiles of old do not have.
    pub(super) told: Option<Told>,
    values: Values,
}

/// What is known of the distribution.
#[derive(Debug, Clone)]
enum Values {
    /// Every value with its count, in order.
    Exact(Vec<(f64, u64)>),
    /// Three summaries.
    Sketched(Box<Sketched>),
}

#[derive(Debug, Clone)]
struct Sketched {
    distinct: DistinctSketch,
    quantiles: QuantileSketch,
    histogram: Histogram,
}

impl Sketched {
    fn of(values: &[(f64, u64)]) -> Result<Self, String> {
        Live::pour(values.iter().copied())?.finish(None)
    }
}

impl NumericProfile {
    /// How many values differ.
    pub fn distinct(&self) -> Distinct {
        if let Some(told) = &self.told {
            return told.distinct(self.moments.count);
        }
        match &self.values {
            Values::Exact(values) => Distinct { count: values.len() as u64, exact: true },
            Values::Sketched(sketched) => {
                let estimate = sketched.distinct.estimate().clamp(EXACT_VALUES as u64, self.moments.count);
                Distinct { count: estimate, exact: false }
            }
        }
    }

    /// Every value with its count, in order, while there are few enough to know them all.
    pub fn exact_values(&self) -> Option<&[(f64, u64)]> {
        match &self.values {
            Values::Exact(values) => Some(values),
            Values::Sketched(_) => None,
        }
    }

    /// The value below which a share of all values lies, interpolated linearly between two values as
    /// numpy does by default; exact or from the t-digest. Nothing when there are no values.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let values = match &self.values {
            Values::Exact(values) => values,
            Values::Sketched(sketched) => return sketched.quantiles.quantile(share),
        };
        let position = share.clamp(0.0, 1.0) * self.moments.count.checked_sub(1)? as f64;
        let (low, high) = (position.floor() as u64, position.ceil() as u64);
        let mut seen = 0;
        let mut below = None;
        for (value, count) in values {
            seen += count;
            if below.is_none() && low < seen {
                below = Some(*value);
            }
            if high < seen {
                let below = below?;
                let part = position - low as f64;
                return Some(if part > 0.0 { below + (value - below) * part } else { below });
            }
        }
        None
    }

    /// How many values lie in each of the half-open bins between ascending edges (the last bin includes
    /// its upper edge); exact or interpolated. One entry fewer than there are edges.
    pub fn bin(&self, edges: &[f64]) -> Vec<f64> {
        let bins = edges.len().saturating_sub(1);
        let mut counts = vec![0.0; bins];
        let (Some(first), Some(last)) = (edges.first(), edges.last()) else { return counts };
        match &self.values {
            Values::Exact(values) => {
                for (value, count) in values {
                    if value < first || value > last {
                        continue;
                    }
                    let at = edges.partition_point(|edge| edge <= value).saturating_sub(1);
                    if let Some(slot) = counts.get_mut(at.min(bins.saturating_sub(1))) {
                        *slot += *count as f64;
                    }
                }
            }
            Values::Sketched(sketched) => {
                let up_to = |edge: f64| self.below(&sketched.histogram, edge);
                for (slot, edge) in counts.iter_mut().zip(edges.windows(2)) {
                    if let [low, high] = edge {
                        let high = if high == last {
                            self.up_to_last(&sketched.histogram, *high)
                        } else {
                            up_to(*high)
                        };
                        *slot = (high - up_to(*low)).max(0.0);
                    }
                }
            }
        }
        counts
    }

    /// How many are less than zero.
    pub fn negatives(&self) -> u64 {
        match &self.values {
            Values::Exact(values) => {
                values.iter().take_while(|(value, _)| *value < 0.0).map(|(_, count)| count).sum()
            }
            // A bin begins at zero, so that this is no estimate.
            Values::Sketched(sketched) => self.below(&sketched.histogram, 0.0) as u64,
        }
    }

    /// The widest gap between two neighbouring values, and whether it is exact: of very many values it is
    /// the widest run of empty bins, and may be wider by up to two of them.
    pub fn widest_gap(&self) -> Option<(f64, f64, bool)> {
        match &self.values {
            Values::Exact(values) => values
                .windows(2)
                .filter_map(|pair| match pair {
                    [a, b] => Some((a.0, b.0, true)),
                    _ => None,
                })
                .max_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0))),
            Values::Sketched(sketched) => sketched.histogram.widest_gap().map(|(from, to)| (from, to, false)),
        }
    }

    /// The most frequent values with their counts, most frequent first, while there are few enough to
    /// know them all.
    pub fn top(&self, most: usize) -> Vec<(f64, u64)> {
        let mut values = self.exact_values().unwrap_or_default().to_vec();
        values.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.total_cmp(&b.0)));
        values.truncate(most);
        values
    }

    fn below(&self, histogram: &Histogram, edge: f64) -> f64 {
        if edge <= self.moments.min {
            0.0
        } else if edge > self.moments.max {
            self.moments.count as f64
        } else {
            histogram.below(edge)
        }
    }

    fn up_to_last(&self, histogram: &Histogram, edge: f64) -> f64 {
        if edge >= self.moments.max { self.moments.count as f64 } else { self.below(histogram, edge) }
    }

    /// The share of values no greater than `x`; exact or from the t-digest.
    pub fn share_up_to(&self, x: f64) -> f64 {
        if self.moments.count == 0 || x < self.moments.min {
            return 0.0;
        }
        if x >= self.moments.max {
            return 1.0;
        }
        match &self.values {
            Values::Exact(values) => {
                let counted: u64 =
                    values.iter().take_while(|(value, _)| *value <= x).map(|(_, count)| count).sum();
                counted as f64 / self.moments.count as f64
            }
            Values::Sketched(sketched) => sketched.quantiles.share_up_to(x),
        }
    }

    /// Ascending points between which the distribution is known no better: all values, or a thousand
    /// quantiles.
    pub fn support(&self) -> Vec<f64> {
        match &self.values {
            Values::Exact(values) => values.iter().map(|(value, _)| *value).collect(),
            Values::Sketched(_) => {
                let mut points: Vec<f64> =
                    (0..=1000).filter_map(|step| self.quantile(f64::from(step) / 1000.0)).collect();
                points.dedup();
                points
            }
        }
    }

    /// The profile of both columns together.
    pub(super) fn merge(&self, other: &Self) -> Result<Self, String> {
        let moments = self.moments.merge(&other.moments);
        if self.moments.count.checked_add(other.moments.count).is_none() {
            return Err("too many values".into());
        }
        let values = match (&self.values, &other.values) {
            (Values::Exact(a), Values::Exact(b)) => {
                let merged = merge_counts(a, b);
                if merged.len() > EXACT_VALUES {
                    Values::Sketched(Box::new(Sketched::of(&merged)?))
                } else {
                    Values::Exact(merged)
                }
            }
            (Values::Sketched(_), Values::Exact(few)) if few.is_empty() => self.values.clone(),
            (Values::Exact(few), Values::Sketched(_)) if few.is_empty() => other.values.clone(),
            (Values::Sketched(a), Values::Exact(b)) => merge_sketched(a, &Sketched::of(b)?, &moments)?,
            (Values::Exact(a), Values::Sketched(b)) => merge_sketched(&Sketched::of(a)?, b, &moments)?,
            (Values::Sketched(a), Values::Sketched(b)) => merge_sketched(a, b, &moments)?,
        };
        Ok(Self {
            moments,
            infinite: self.infinite + other.infinite,
            zeros: self.zeros + other.zeros,
            order: joined(self.order, other.order, (self, other), |a, b| a.merge(b)),
            calendar: joined(self.calendar, other.calendar, (self, other), |a, b| a.merge(b)),
            rounded: self.rounded || other.rounded,
            told: self.merge_told(other)?,
            values,
        })
    }

    fn merge_told(&self, other: &Self) -> Result<Option<Told>, String> {
        if self.told.is_none() && other.told.is_none() {
            return Ok(None);
        }
        self.telling().zip(other.telling()).map(|(a, b)| a.merge(b)).transpose()
    }

    /// What tells its values apart, unless that is not known.
    fn telling(&self) -> Option<Told> {
        let of_numbers = || match &self.values {
            Values::Exact(values) => {
                let mut words: Vec<u64> = values.iter().map(|(value, _)| value.to_bits()).collect();
                words.sort_unstable();
                Told::Few(words)
            }
            Values::Sketched(sketched) => Told::Many(sketched.distinct.clone()),
        };
        self.told.clone().or_else(|| (!self.rounded).then(of_numbers))
    }
}

/// A part of both profiles; one without a value need not have it.
fn joined<T>(
    a: Option<T>,
    b: Option<T>,
    (first, second): (&NumericProfile, &NumericProfile),
    join: impl Fn(&T, &T) -> T,
) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(join(&a, &b)),
        (Some(one), None) if second.moments.count == 0 => Some(one),
        (None, Some(one)) if first.moments.count == 0 => Some(one),
        _ => None,
    }
}

fn merge_sketched(a: &Sketched, b: &Sketched, moments: &Moments) -> Result<Values, String> {
    Ok(Values::Sketched(Box::new(Sketched {
        distinct: a.distinct.merge(&b.distinct)?,
        quantiles: a.quantiles.merge(&b.quantiles)?,
        histogram: a.histogram.merge(&b.histogram, moments.min, moments.max),
    })))
}

fn merge_counts(a: &[(f64, u64)], b: &[(f64, u64)]) -> Vec<(f64, u64)> {
    let mut merged: Vec<(f64, u64)> = a.iter().chain(b).copied().collect();
    merged.sort_by(|x, y| x.0.total_cmp(&y.0));
    merged.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    merged
}

/// Takes a column's values as they come.
#[derive(Debug)]
pub(super) struct NumericBuilder {
    pending: Vec<f64>,
    moments: Moments,
    infinite: u64,
    zeros: u64,
    /// What to say of the order; nothing where it was not asked for.
    order: Option<Option<Order>>,
    calendar: Option<Calendar>,
    /// From the first value on that may share its number with another.
    telling: Option<TellingBuilder>,
    state: State,
}

#[derive(Debug)]
enum State {
    Exact(FastMap<u64, u64>),
    Live(Box<Live>),
}

#[derive(Debug)]
struct Live {
    /// Until values are told apart, who then count them.
    distinct: Option<DistinctBuilder>,
    quantiles: QuantileBuilder,
    histogram: Histogram,
    /// What has not come to the first two yet.
    waiting: Vec<f64>,
}

impl Live {
    /// The summaries of ascending values with their counts.
    fn pour(values: impl Iterator<Item = (f64, u64)> + Clone) -> Result<Self, String> {
        let min = values.clone().next().map_or(0.0, |(value, _)| value);
        let max = values.clone().last().map_or(0.0, |(value, _)| value);
        let mut distinct = DistinctBuilder::new()?;
        let mut live = Self {
            distinct: None,
            quantiles: QuantileBuilder::new()?,
            histogram: Histogram::new(min, max),
            waiting: Vec::new(),
        };
        for (value, count) in values {
            distinct.add(&[value]);
            live.quantiles.add_many(value, count);
            live.histogram.add_many(value, count);
        }
        live.distinct = Some(distinct);
        Ok(live)
    }

    /// Takes a chunk whose values lie inside `min..=max`, as do all before.
    fn add(&mut self, chunk: &[f64], min: f64, max: f64) -> Result<(), String> {
        self.histogram.add(chunk, min, max);
        self.waiting.extend_from_slice(chunk);
        if self.waiting.len() + CHUNK > spread::MOST { self.sort() } else { Ok(()) }
    }

    /// Hands the values that wait on in their order.
    fn sort(&mut self) -> Result<(), String> {
        spread::sort(&mut self.waiting);
        self.quantiles.add_ascending(&self.waiting)?;
        if let Some(distinct) = &mut self.distinct {
            distinct.add(&self.waiting);
        }
        self.waiting.clear();
        Ok(())
    }

    fn finish(mut self, told: Option<&Told>) -> Result<Sketched, String> {
        self.sort()?;
        let Self { distinct, quantiles, histogram, .. } = self;
        let distinct = match (distinct, told) {
            (_, Some(told)) => told.clone().sketch()?,
            (Some(distinct), None) => distinct.finish(),
            (None, None) => DistinctSketch::new()?,
        };
        Ok(Sketched { distinct, quantiles: quantiles.finish(), histogram })
    }
}

impl NumericBuilder {
    /// For a column whose order, and whose days and hours, are asked for, or not.
    pub(super) fn new(order: bool, calendar: bool) -> Self {
        Self {
            pending: Vec::with_capacity(CHUNK),
            moments: Moments::default(),
            infinite: 0,
            zeros: 0,
            order: order.then_some(None),
            calendar: calendar.then(Calendar::default),
            telling: None,
            state: State::Exact(FastMap::default()),
        }
    }

    /// Whether values are told apart beyond their numbers.
    pub(super) fn tells_apart(&self) -> bool {
        self.telling.is_some()
    }

    /// From now on: so far each number stood for one value alone.
    pub(super) fn tell_apart(&mut self) -> Result<(), String> {
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<u64>>();
        let mut telling = match &mut self.state {
            State::Exact(counts) => TellingBuilder::Few(counts.keys().copied().collect()),
            State::Live(live) => {
                let mut sketch = live.distinct.take().map_or_else(DistinctBuilder::new, Ok)?;
                sketch.add(&live.waiting);
                TellingBuilder::Many(Box::new(sketch))
            }
        };
        telling.add(&bits(&self.pending))?;
        self.telling = Some(telling);
        Ok(())
    }

    /// Takes the words of values that are told apart.
    pub(super) fn tell(&mut self, words: &[u64]) -> Result<(), String> {
        self.telling.as_mut().map_or(Ok(()), |telling| telling.add(words))
    }

    /// Takes values; none of them is NaN.
    pub(super) fn extend(&mut self, values: impl Iterator<Item = f64>) -> Result<(), String> {
        for value in values {
            if value.is_infinite() {
                self.infinite += 1;
                continue;
            }
            // Negative zero is zero.
            self.pending.push(value + 0.0);
            if self.pending.len() == CHUNK {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Takes values without gaps, and says how many of them were NaN and were left out.
    pub(super) fn extend_slice(&mut self, mut values: &[f64]) -> Result<u64, String> {
        let mut nan = 0;
        while !values.is_empty() {
            let (part, rest) = values.split_at(values.len().min(CHUNK - self.pending.len()));
            values = rest;
            if part.iter().all(|value| value.is_finite()) {
                // Negative zero is zero.
                self.pending.extend(part.iter().map(|value| value + 0.0));
                if self.pending.len() == CHUNK {
                    self.flush()?;
                }
            } else {
                nan += part.iter().filter(|value| value.is_nan()).count() as u64;
                self.extend(part.iter().copied().filter(|value| !value.is_nan()))?;
            }
        }
        Ok(nan)
    }

    /// The same of values of which some are missing.
    pub(super) fn extend_where(&mut self, values: &[f64], nulls: &NullBuffer) -> Result<u64, String> {
        let mut nan = 0;
        let (mut kept, mut count) = ([0.0; CHUNK], 0);
        for (part, there) in values.chunks(64).zip(nulls.inner().bit_chunks().iter_padded()) {
            // Each is put down, and the next one over it unless it is there: which ones are is no branch.
            for (bit, value) in part.iter().enumerate() {
                kept[count % CHUNK] = *value;
                count += (there >> bit & 1) as usize;
            }
            if count > CHUNK - 64 {
                nan += self.extend_slice(kept.get(..count).unwrap_or_default())?;
                count = 0;
            }
        }
        Ok(nan + self.extend_slice(kept.get(..count).unwrap_or_default())?)
    }

    fn flush(&mut self) -> Result<(), String> {
        let chunk = std::mem::take(&mut self.pending);
        self.moments = self.moments.merge(&Moments::of(&chunk));
        self.zeros += chunk.iter().filter(|value| **value == 0.0).count() as u64;
        if let Some(order) = &mut self.order {
            Order::add(order, &chunk);
        }
        if let Some(calendar) = &mut self.calendar {
            calendar.add(&chunk);
        }
        match &mut self.state {
            State::Exact(counts) => {
                count_into(counts, &chunk);
                if counts.len() > EXACT_VALUES {
                    let mut live = Live::pour(sorted(counts).into_iter())?;
                    live.distinct = live.distinct.filter(|_| self.telling.is_none());
                    self.state = State::Live(Box::new(live));
                }
            }
            State::Live(live) => live.add(&chunk, self.moments.min, self.moments.max)?,
        }
        self.pending = chunk;
        self.pending.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<NumericProfile, String> {
        self.flush()?;
        let rounded = self.telling.is_some();
        let told = self.telling.map(TellingBuilder::finish);
        let values = match self.state {
            State::Exact(counts) => Values::Exact(sorted(&counts)),
            State::Live(live) => Values::Sketched(Box::new(live.finish(told.as_ref())?)),
        };
        Ok(NumericProfile {
            moments: self.moments,
            infinite: self.infinite,
            zeros: self.zeros,
            order: self.order.flatten(),
            calendar: self.calendar,
            rounded,
            told,
            values,
        })
    }
}

/// Counts values; whole numbers that are near to each other are looked up once a chunk.
fn count_into(counts: &mut FastMap<u64, u64>, chunk: &[f64]) {
    const NEAR: usize = 1024;
    let (min, max) = extremes(chunk);
    let mut found = [0_u64; NEAR];
    let near = max - min < NEAR as f64 && min.abs() < 1e15;
    let whole = near
        && chunk.iter().all(|value| {
            let above = (value - min) as usize;
            found[above % NEAR] += 1;
            min + above as f64 == *value
        });
    if !whole {
        return chunk.iter().for_each(|value| *counts.entry(value.to_bits()).or_insert(0) += 1);
    }
    for (above, count) in found.iter().enumerate().filter(|(_, count)| **count > 0) {
        *counts.entry((min + above as f64 + 0.0).to_bits()).or_insert(0) += count;
    }
}

fn sorted(counts: &FastMap<u64, u64>) -> Vec<(f64, u64)> {
    let mut values: Vec<(f64, u64)> =
        counts.iter().map(|(bits, count)| (f64::from_bits(*bits), *count)).collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    values
}
