//! What people look at of a profile: a few numbers a column, a small histogram, the commonest values.
//!
//! Plain and small whatever the data: for terminals, pages and reports. It cannot be merged; the
//! [`Profile`] can.

use rondo_core::signature::ColumnType;
use serde::{Deserialize, Serialize};

use crate::moment::Moment;

use super::{CategoryProfile, ColumnProfile, Distinct, NumericProfile, Profile, TextKind};

/// Bars of a histogram.
const BARS: u32 = 20;
/// Commonest values.
const TOP: usize = 20;

/// A column in a few numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnSummary {
    /// The name.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Rows with a value.
    pub count: u64,
    /// Rows without.
    pub nulls: u64,
    /// Their share.
    pub null_share: f64,
    /// How many values differ.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub distinct: Option<Distinct>,
    /// Of numbers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub numbers: Option<NumberSummary>,
    /// Of moments: the first and the last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub moments: Option<(Moment, Moment)>,
    /// Of moments: when they are.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub times: Option<TimeSummary>,
    /// The commonest values with their counts; of numbers while there are few enough to know them all.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub top: Vec<(String, u64)>,
    /// By how much those counts may be too low.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub top_error: u64,
    /// Of texts: the shortest, the mean and the longest, in characters.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lengths: Option<(u64, f64, u64)>,
    /// Of texts: what they look like.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub texts: Option<TextSummary>,
    /// Whether the values ascend or descend from row to row.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub order: Option<Ordered>,
    /// Whether all rows are alike.
    pub constant: bool,
    /// Whether it looks like a key.
    pub id_like: bool,
}

/// Numbers in a few numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumberSummary {
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation (divisor n − 1).
    pub std: f64,
    /// The sum.
    pub sum: f64,
    /// The skewness g1.
    #[serde(default)]
    pub skewness: f64,
    /// The quantiles at 5, 25, 50, 75 and 95 %.
    pub quantiles: [f64; 5],
    /// How many are zero.
    pub zeros: u64,
    /// How many are less.
    #[serde(default)]
    pub negatives: u64,
    /// How many are infinite; they are in none of the other numbers.
    pub infinite: u64,
    /// Counts in bins of equal width from the least to the greatest.
    pub histogram: Vec<f64>,
}

/// Moments in a few numbers; all in UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimeSummary {
    /// The middle one.
    pub median: Moment,
    /// The widest gap between two, and whether it is exact; otherwise it may be wider by a two-thousandth
    /// of the whole range.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub widest_gap: Option<Gap>,
    /// Counts in bins of equal width from the first to the last.
    pub histogram: Vec<f64>,
    /// From Monday to Sunday; empty where it was not asked for.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub weekdays: Vec<u64>,
    /// From midnight on; empty where it was not asked for.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub hours: Vec<u64>,
}

/// A time without moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Its beginning.
    pub from: Moment,
    /// Its end.
    pub to: Moment,
    /// Whether it is exact.
    pub exact: bool,
}

/// Texts in a few numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextSummary {
    /// Texts without any character.
    pub empty: u64,
    /// Texts of white space alone.
    pub whitespace: u64,
    /// Texts with white space around them.
    pub padded: u64,
    /// Texts with characters beyond ASCII.
    pub non_ascii: u64,
    /// What they read as, the commonest first.
    pub kinds: Vec<(TextKind, u64)>,
    /// What they look like (`a` small letters, `A` capitals, `9` digits), the commonest first.
    pub shapes: Vec<(String, u64)>,
    /// Counts by length in bins of equal width from the shortest to the longest.
    pub lengths: Vec<f64>,
}

/// In which order values come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ordered {
    /// None is less than the one before.
    Ascending,
    /// None is greater than the one before.
    Descending,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Profile {
    /// Each column in a few numbers.
    pub fn summary(&self) -> Vec<ColumnSummary> {
        self.columns.iter().map(ColumnProfile::summary).collect()
    }
}

impl ColumnProfile {
    /// The column in a few numbers.
    pub fn summary(&self) -> ColumnSummary {
        let moment = self.column_type == ColumnType::Timestamp;
        let numeric = self.numeric.as_ref().filter(|numeric| numeric.moments.count > 0);
        let texts =
            self.category.as_ref().filter(|_| self.column_type == ColumnType::String && self.count > 0);
        ColumnSummary {
            name: self.name.clone(),
            column_type: self.column_type,
            count: self.count,
            nulls: self.nulls,
            null_share: self.null_share(),
            distinct: self.distinct(),
            numbers: numeric.filter(|_| !moment).map(|numeric| {
                let edges = even_edges(numeric.moments.min, numeric.moments.max, BARS);
                NumberSummary {
                    min: numeric.moments.min,
                    max: numeric.moments.max,
                    mean: numeric.moments.mean,
                    std: numeric.moments.std(),
                    sum: numeric.moments.sum,
                    skewness: numeric.moments.skewness(),
                    quantiles: [0.05, 0.25, 0.5, 0.75, 0.95]
                        .map(|share| numeric.quantile(share).unwrap_or(numeric.moments.mean)),
                    zeros: numeric.zeros,
                    negatives: numeric.negatives(),
                    infinite: numeric.infinite,
                    histogram: numeric.bin(&edges),
                }
            }),
            moments: numeric.filter(|_| moment).map(|numeric| {
                (Moment::of_scale(numeric.moments.min), Moment::of_scale(numeric.moments.max))
            }),
            times: numeric.filter(|_| moment).map(times),
            top: self.top(),
            top_error: self.category.as_ref().map_or(0, CategoryProfile::top_error),
            lengths: texts.map(|texts| {
                let mean = texts.lengths.sum as f64 / texts.count as f64;
                (texts.lengths.min, mean, texts.lengths.max)
            }),
            texts: texts.and_then(text_summary),
            order: numeric.and_then(|numeric| numeric.order).filter(|_| !self.is_constant()).and_then(
                |order| match (order.ascending, order.descending) {
                    (true, false) => Some(Ordered::Ascending),
                    (false, true) => Some(Ordered::Descending),
                    _ => None,
                },
            ),
            constant: self.is_constant(),
            id_like: self.is_id_like(),
        }
    }

    fn top(&self) -> Vec<(String, u64)> {
        match (&self.category, &self.numeric) {
            (Some(category), _) => {
                category.top(TOP).into_iter().map(|(value, count)| (value.to_owned(), count)).collect()
            }
            (None, Some(numeric)) if self.column_type.is_numeric() => {
                numeric.top(TOP).into_iter().map(|(value, count)| (value.to_string(), count)).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn times(numeric: &NumericProfile) -> TimeSummary {
    let moment = Moment::of_scale;
    let edges = even_edges(numeric.moments.min, numeric.moments.max, BARS);
    TimeSummary {
        median: moment(numeric.quantile(0.5).unwrap_or(numeric.moments.mean)),
        widest_gap: numeric.widest_gap().map(|(from, to, exact)| Gap {
            from: moment(from),
            to: moment(to),
            exact,
        }),
        histogram: numeric.bin(&edges),
        weekdays: numeric.calendar.map_or_else(Vec::new, |calendar| calendar.weekdays.to_vec()),
        hours: numeric.calendar.map_or_else(Vec::new, |calendar| calendar.hours.to_vec()),
    }
}

fn text_summary(texts: &CategoryProfile) -> Option<TextSummary> {
    let forms = texts.forms.as_ref()?;
    let mut kinds: Vec<(TextKind, u64)> = forms.kinds.iter().map(|(kind, count)| (*kind, *count)).collect();
    kinds.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let (shortest, longest) = (texts.lengths.min, texts.lengths.max);
    let bars = longest.saturating_sub(shortest).saturating_add(1).min(u64::from(BARS));
    let mut lengths = vec![0.0; bars as usize];
    for (length, count) in &forms.lengths {
        let at = length.saturating_sub(shortest) as f64 / (longest.saturating_sub(shortest) as f64 + 1.0)
            * bars as f64;
        if let Some(slot) = lengths.get_mut(at as usize) {
            *slot += *count as f64;
        }
    }
    Some(TextSummary {
        empty: forms.empty,
        whitespace: forms.whitespace,
        padded: forms.padded,
        non_ascii: forms.non_ascii,
        kinds,
        shapes: forms
            .top_shapes(TOP / 2)
            .into_iter()
            .map(|(shape, count)| (shape.to_owned(), count))
            .collect(),
        lengths,
    })
}

/// The edges of bins of equal width: one more than bins; a range of no width is widened by a half on
/// both sides, as numpy does.
pub(crate) fn even_edges(min: f64, max: f64, bins: u32) -> Vec<f64> {
    let (min, max) = if min == max { (min - 0.5, max + 0.5) } else { (min, max) };
    let bins = bins.max(1);
    // Halves first: the difference of the two may be too large for a number.
    let step = (max / f64::from(bins)) - (min / f64::from(bins));
    let mut edges: Vec<f64> = (0..bins).map(|bin| min + step * f64::from(bin)).collect();
    edges.push(max);
    edges
}
