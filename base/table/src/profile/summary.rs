//! What people look at of a profile: a few numbers a column, a small histogram, the commonest values.
//!
//! Plain and small whatever the data: for terminals, pages and reports. It cannot be merged; the
//! [`Profile`] can.

use rondo_core::Timestamp;
use rondo_core::signature::ColumnType;
use serde::{Deserialize, Serialize};

use super::{ColumnProfile, Distinct, Profile};

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
    pub moments: Option<(Timestamp, Timestamp)>,
    /// Of texts and truth values: the commonest with their counts.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub top: Vec<(String, u64)>,
    /// Of texts: the shortest, the mean and the longest, in characters.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lengths: Option<(u64, f64, u64)>,
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
    /// The quantiles at 5, 25, 50, 75 and 95 %.
    pub quantiles: [f64; 5],
    /// How many are zero.
    pub zeros: u64,
    /// How many are infinite; they are in none of the other numbers.
    pub infinite: u64,
    /// Counts in bins of equal width from the least to the greatest.
    pub histogram: Vec<f64>,
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
                    quantiles: [0.05, 0.25, 0.5, 0.75, 0.95]
                        .map(|share| numeric.quantile(share).unwrap_or(numeric.moments.mean)),
                    zeros: numeric.zeros,
                    infinite: numeric.infinite,
                    histogram: numeric.bin(&edges),
                }
            }),
            moments: numeric.filter(|_| moment).map(|numeric| {
                (Timestamp(numeric.moments.min as i64), Timestamp(numeric.moments.max as i64))
            }),
            top: self
                .category
                .iter()
                .flat_map(|category| category.top(TOP))
                .map(|(value, count)| (value.to_owned(), count))
                .collect(),
            lengths: texts.map(|texts| {
                let mean = texts.lengths.sum as f64 / texts.count as f64;
                (texts.lengths.min, mean, texts.lengths.max)
            }),
            constant: self.is_constant(),
            id_like: self.is_id_like(),
        }
    }
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
