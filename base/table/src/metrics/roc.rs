//! The area under the ROC curve, exact, with DeLong's variance; two models on the same rows; average
//! precision.
//!
//! DeLong, DeLong, Clarke-Pearson (1988), computed through midranks as Sun and Xu (2014) show: sorting
//! instead of comparing every pair, ties counted half.

use statrs::distribution::{ContinuousCDF, Normal};

use super::interval::Z95;

/// An area under the ROC curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Auc {
    /// The area: the probability that a positive row scores above a negative one, ties counting half.
    pub value: f64,
    /// Lower and upper end of the interval; absent with fewer than two rows of a class.
    pub interval: Option<(f64, f64)>,
}

/// Two models' areas on the same rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The area of the first.
    pub first: f64,
    /// The area of the second.
    pub second: f64,
    /// First minus second.
    pub difference: f64,
    /// Lower end of the difference's interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Two-sided, of no difference.
    pub p_value: f64,
}

/// The share of pairs won, for each positive row and for each negative row.
struct Placements {
    positives: Vec<f64>,
    negatives: Vec<f64>,
}

impl Placements {
    /// Nothing when a class is missing, or there is not one label a score.
    fn of(scores: &[f64], labels: &[bool]) -> Option<Self> {
        if scores.len() != labels.len() {
            return None;
        }
        let ranks = midranks(scores);
        let class = |wanted: bool| -> Vec<usize> {
            labels.iter().enumerate().filter(|(_, label)| **label == wanted).map(|(row, _)| row).collect()
        };
        let (ones, zeros) = (class(true), class(false));
        if ones.is_empty() || zeros.is_empty() {
            return None;
        }
        let (m, n) = (ones.len() as f64, zeros.len() as f64);
        // A row's rank among all less its rank in its own class: how many of the other class it beats.
        let beaten = |rows: &[usize]| -> Vec<f64> {
            let own: Vec<f64> = rows.iter().map(|row| scores[*row]).collect();
            rows.iter().zip(midranks(&own)).map(|(row, own)| ranks[*row] - own).collect()
        };
        Some(Self {
            positives: beaten(&ones).into_iter().map(|count| count / n).collect(),
            negatives: beaten(&zeros).into_iter().map(|count| 1.0 - count / m).collect(),
        })
    }

    fn area(&self) -> f64 {
        self.positives.iter().sum::<f64>() / self.positives.len() as f64
    }
}

/// Ranks from 1, equal values sharing the mean of theirs.
fn midranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let value = values[order[start]];
        let ties = order[start..].iter().take_while(|row| values[**row] == value).count().max(1);
        let rank = start as f64 + (ties as f64 + 1.0) / 2.0;
        for row in &order[start..start + ties] {
            ranks[*row] = rank;
        }
        start += ties;
    }
    ranks
}

/// The variance of a mean; nothing of fewer than two terms.
fn variance_of_mean(terms: &[f64]) -> Option<f64> {
    if terms.len() < 2 {
        return None;
    }
    let n = terms.len() as f64;
    let mean = terms.iter().sum::<f64>() / n;
    Some(terms.iter().map(|term| (term - mean) * (term - mean)).sum::<f64>() / (n - 1.0) / n)
}

/// The area under the ROC curve; nothing when one class is missing. One score and one label a row, no
/// score NaN.
pub fn auc(scores: &[f64], labels: &[bool]) -> Option<Auc> {
    let placements = Placements::of(scores, labels)?;
    let value = placements.area();
    let variance = variance_of_mean(&placements.positives).zip(variance_of_mean(&placements.negatives));
    let interval = variance.map(|(positives, negatives)| {
        let half = Z95 * (positives + negatives).sqrt();
        ((value - half).max(0.0), (value + half).min(1.0))
    });
    Some(Auc { value, interval })
}

/// Compares two models' scores of the same rows; nothing with fewer than two rows of a class.
pub fn compare(first: &[f64], second: &[f64], labels: &[bool]) -> Option<Comparison> {
    if first.len() != second.len() {
        return None;
    }
    let (a, b) = (Placements::of(first, labels)?, Placements::of(second, labels)?);
    let minus = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
    // The variance of the difference, covariance included, is that of the differences of placements.
    let variance = variance_of_mean(&minus(&a.positives, &b.positives))?
        + variance_of_mean(&minus(&a.negatives, &b.negatives))?;
    let (first, second) = (a.area(), b.area());
    let difference = first - second;
    let error = variance.sqrt();
    let p_value = if error > 0.0 {
        Normal::standard().sf((difference / error).abs()) * 2.0
    } else if difference == 0.0 {
        1.0
    } else {
        0.0
    };
    let (low, high) = (difference - Z95 * error, difference + Z95 * error);
    Some(Comparison { first, second, difference, low, high, p_value })
}

/// The average precision, Σ (Rₙ − Rₙ₋₁) Pₙ over the thresholds, equal scores being one threshold (the
/// definition of scikit-learn); nothing without a positive row.
pub fn average_precision(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let positives = labels.iter().filter(|label| **label).count() as f64;
    if positives == 0.0 {
        return None;
    }
    let mut rows: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut area, mut recall, mut hits, mut seen) = (0.0, 0.0, 0.0, 0.0);
    for (at, (score, label)) in rows.iter().enumerate() {
        seen += 1.0;
        hits += f64::from(u8::from(*label));
        let last_of_ties = rows.get(at + 1).is_none_or(|next| next.0 != *score);
        if last_of_ties {
            area += (hits / positives - recall) * (hits / seen);
            recall = hits / positives;
        }
    }
    Some(area)
}
