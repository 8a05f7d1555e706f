//! Differences between groups at one threshold, by the definitions of Fairlearn.
//!
//! Each is the greatest less the least of a rate over the groups, so that noise in small groups can only
//! widen it: leave out the groups that are too small to tell.

use super::threshold::{Confusion, Share};

/// The greatest less the least of a rate; nothing with fewer than two groups that have one.
fn spread(groups: &[Confusion], rate: impl Fn(&Confusion) -> Share) -> Option<f64> {
    let rates: Vec<f64> = groups.iter().filter_map(|group| rate(group).value()).collect();
    if rates.len() < 2 {
        return None;
    }
    let (low, high) = rates
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), rate| (low.min(*rate), high.max(*rate)));
    Some(high - low)
}

/// The spread of the shares said to be positive.
pub fn demographic_parity_difference(groups: &[Confusion]) -> Option<f64> {
    spread(groups, Confusion::selection_rate)
}

/// The spread of the true positive rates.
pub fn equal_opportunity_difference(groups: &[Confusion]) -> Option<f64> {
    spread(groups, Confusion::recall)
}

/// The larger of the spreads of true and false positive rates.
pub fn equalized_odds_difference(groups: &[Confusion]) -> Option<f64> {
    let of_positives = spread(groups, Confusion::recall)?;
    let of_negatives = spread(groups, Confusion::false_positive_rate)?;
    Some(of_positives.max(of_negatives))
}
