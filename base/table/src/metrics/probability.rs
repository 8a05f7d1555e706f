//! How good the probabilities are: log loss, Brier score, calibration.

use super::interval::{self, Mean};

/// Probabilities are kept this far from 0 and 1, as scikit-learn does: the distance of 1 to the next
/// number.
const EPSILON: f64 = f64::EPSILON;

const CALIBRATION_BINS: usize = 10;

/// The mean negative log-likelihood of the labels, natural logarithm; nothing when there are no rows.
pub fn log_loss(scores: &[f64], labels: &[bool]) -> Option<Mean> {
    let losses: Vec<f64> = scores
        .iter()
        .zip(labels)
        .map(|(score, label)| {
            let probability = if *label { *score } else { 1.0 - score };
            -probability.clamp(EPSILON, 1.0 - EPSILON).ln()
        })
        .collect();
    interval::mean(&losses)
}

/// The mean squared difference of probability and label (Brier, 1950); nothing when there are no rows.
pub fn brier(scores: &[f64], labels: &[bool]) -> Option<Mean> {
    let losses: Vec<f64> = scores
        .iter()
        .zip(labels)
        .map(|(score, label)| {
            let error = score - f64::from(u8::from(*label));
            error * error
        })
        .collect();
    interval::mean(&losses)
}

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CalibrationBin {
    /// Rows whose score falls into the bin.
    pub rows: u64,
    /// Their mean score.
    pub score: f64,
    /// The share of them that is positive.
    pub positive: f64,
}

/// Ten bins of equal width over 0..1; a bin includes its lower edge, the last one also 1.
pub fn calibration(scores: &[f64], labels: &[bool]) -> Vec<CalibrationBin> {
    let mut bins = vec![CalibrationBin::default(); CALIBRATION_BINS];
    for (score, label) in scores.iter().zip(labels) {
        let at = (score * CALIBRATION_BINS as f64) as usize;
        if let Some(bin) = bins.get_mut(at.min(CALIBRATION_BINS - 1)) {
            bin.rows += 1;
            bin.score += score;
            bin.positive += f64::from(u8::from(*label));
        }
    }
    for bin in bins.iter_mut().filter(|bin| bin.rows > 0) {
        bin.score /= bin.rows as f64;
        bin.positive /= bin.rows as f64;
    }
    bins
}

/// The expected calibration error (Naeini, Cooper, Hauskrecht 2015) of the positive class: the mean of
/// |mean score − share of positives| over the bins, weighted by their rows; nothing when there are none.
pub fn ece(scores: &[f64], labels: &[bool]) -> Option<f64> {
    if scores.is_empty() {
        return None;
    }
    let gaps =
        calibration(scores, labels).into_iter().map(|bin| (bin.score - bin.positive).abs() * bin.rows as f64);
    Some(gaps.sum::<f64>() / scores.len() as f64)
}
