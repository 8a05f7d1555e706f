//! What follows from a decision at one threshold: the four counts and their ratios.

use serde::{Deserialize, Serialize};

/// The confusion matrix of a binary decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confusion {
    /// Positive, and said to be.
    pub true_positives: u64,
    /// Negative, but said to be positive.
    pub false_positives: u64,
    /// Negative, and said to be.
    pub true_negatives: u64,
    /// Positive, but said to be negative.
    pub false_negatives: u64,
}

/// A share as its two counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Of the rows that count.
    pub part: u64,
    /// The rows that count.
    pub of: u64,
}

impl Share {
    /// The share; nothing of no rows.
    pub fn value(self) -> Option<f64> {
        (self.of > 0).then(|| self.part as f64 / self.of as f64)
    }
}

impl Confusion {
    /// Decides for the positive class where the score is at least the threshold.
    pub fn at(threshold: f64, scores: &[f64], labels: &[bool]) -> Self {
        let mut counts = Self::default();
        for (score, label) in scores.iter().zip(labels) {
            match (*score >= threshold, label) {
                (true, true) => counts.true_positives += 1,
                (true, false) => counts.false_positives += 1,
                (false, false) => counts.true_negatives += 1,
                (false, true) => counts.false_negatives += 1,
            }
        }
        counts
    }

    /// All rows.
    pub fn rows(&self) -> u64 {
        self.positives() + self.negatives()
    }

    /// Rows that are positive.
    pub fn positives(&self) -> u64 {
        self.true_positives + self.false_negatives
    }

    /// Rows that are negative.
    pub fn negatives(&self) -> u64 {
        self.false_positives + self.true_negatives
    }

    /// The share of rows decided right.
    pub fn accuracy(&self) -> Share {
        Share { part: self.true_positives + self.true_negatives, of: self.rows() }
    }

    /// The share of those said to be positive that are.
    pub fn precision(&self) -> Share {
        Share { part: self.true_positives, of: self.true_positives + self.false_positives }
    }

    /// The share of the positive ones that are said to be: the true positive rate.
    pub fn recall(&self) -> Share {
        Share { part: self.true_positives, of: self.positives() }
    }

    /// The share of the negative ones that are said to be positive.
    pub fn false_positive_rate(&self) -> Share {
        Share { part: self.false_positives, of: self.negatives() }
    }

    /// The share of all that is said to be positive.
    pub fn selection_rate(&self) -> Share {
        Share { part: self.true_positives + self.false_positives, of: self.rows() }
    }

    /// The harmonic mean of precision and recall; nothing when there is neither a positive row nor one
    /// said to be.
    pub fn f1(&self) -> Option<f64> {
        let of = 2 * self.true_positives + self.false_positives + self.false_negatives;
        (of > 0).then(|| 2.0 * self.true_positives as f64 / of as f64)
    }

    /// Matthews' correlation coefficient (1975); nothing when a class or a decision does not occur.
    pub fn mcc(&self) -> Option<f64> {
        let [tp, fp, tn, fn_] =
            [self.true_positives, self.false_positives, self.true_negatives, self.false_negatives]
                .map(|count| count as f64);
        let of = ((tp + fp) * (tp + fn_) * (tn + fp) * (tn + fn_)).sqrt();
        (of > 0.0).then(|| (tp * tn - fp * fn_) / of)
    }
}
