//! Groups that stay whole and labels that keep their shares, both at once.
//!
//! The greedy choice of scikit-learn's `StratifiedGroupKFold`, for parts of any shares: the groups whose labels
//! are least even come first, and each goes to the part in which it disturbs the shares of the labels least.

use std::collections::BTreeMap;

use crate::split::{members, shuffled};

/// The part of each row. Groups of equal unevenness come in an order that the seed decides.
pub(crate) fn parts(
    labels: &[Option<String>],
    groups: &[Option<String>],
    shares: &[f64],
    seed: u64,
) -> Vec<u8> {
    let classes: BTreeMap<&Option<String>, usize> =
        members_of(labels).into_iter().enumerate().map(|(index, label)| (label, index)).collect();
    let groups: Vec<Vec<usize>> = members(groups).into_values().collect();
    let counts: Vec<Vec<f64>> = groups
        .iter()
        .map(|rows| {
            let mut counts = vec![0.0; classes.len()];
            for label in rows.iter().filter_map(|row| labels.get(*row)) {
                if let Some(count) = classes.get(label).and_then(|index| counts.get_mut(*index)) {
                    *count += 1.0;
                }
            }
            counts
        })
        .collect();
    let chosen = choose(&counts, shares, shuffled((0..groups.len()).collect(), seed));
    let mut parts = vec![0; labels.len()];
    for (rows, part) in groups.iter().zip(chosen) {
        for row in rows {
            if let Some(slot) = parts.get_mut(*row) {
                *slot = u8::try_from(part).unwrap_or(u8::MAX);
            }
        }
    }
    parts
}

fn members_of(labels: &[Option<String>]) -> Vec<&Option<String>> {
    let mut different: Vec<&Option<String>> = labels.iter().collect();
    different.sort_unstable();
    different.dedup();
    different
}

/// The part of each group, of the counts of each label in it.
fn choose(counts: &[Vec<f64>], shares: &[f64], mut order: Vec<usize>) -> Vec<usize> {
    let empty = Vec::new();
    let of = |group: usize| counts.get(group).unwrap_or(&empty);
    order.sort_by(|a, b| deviation(of(*b)).total_cmp(&deviation(of(*a))));
    let width = counts.first().map_or(0, Vec::len);
    let totals: Vec<f64> =
        (0..width).map(|label| counts.iter().filter_map(|group| group.get(label)).sum()).collect();
    let mut held = vec![vec![0.0; width]; shares.len()];
    let mut parts = vec![0; counts.len()];
    for group in order {
        let mut best: Option<(f64, f64, usize)> = None;
        for (part, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let uneven = unevenness(&held, of(group), part, &totals, shares);
            let size = held.get(part).map_or(0.0, |held| held.iter().sum::<f64>()) / share;
            let better = best.is_none_or(|(least, smallest, _)| {
                uneven < least - 1e-12 || (uneven < least + 1e-12 && size < smallest)
            });
            if better {
                best = Some((uneven, size, part));
            }
        }
        let part = best.map_or(0, |(_, _, part)| part);
        if let Some(held) = held.get_mut(part) {
            held.iter_mut().zip(of(group)).for_each(|(held, count)| *held += count);
        }
        if let Some(slot) = parts.get_mut(group) {
            *slot = part;
        }
    }
    parts
}

/// The mean over the labels of how far the parts would be from their shares of it, were a group put there.
fn unevenness(held: &[Vec<f64>], group: &[f64], into: usize, totals: &[f64], shares: &[f64]) -> f64 {
    let all: f64 = totals
        .iter()
        .enumerate()
        .map(|(label, total)| {
            let filled: Vec<f64> = held
                .iter()
                .zip(shares)
                .enumerate()
                .filter(|(_, (_, share))| **share > 0.0)
                .map(|(part, (held, share))| {
                    let more = if part == into { group.get(label).copied().unwrap_or(0.0) } else { 0.0 };
                    (held.get(label).copied().unwrap_or(0.0) + more) / (total * share).max(f64::MIN_POSITIVE)
                })
                .collect();
            deviation(&filled)
        })
        .sum();
    all / totals.len().max(1) as f64
}

/// The standard deviation of a few numbers (divisor n).
fn deviation(values: &[f64]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn groups_go_where_scikit_learn_puts_them() {
        // StratifiedGroupKFold(n_splits=3).split of its documentation's rows:
        // groups 1 to 8 with these labels.
        let counts =
            [[2.0, 0.0], [0.0, 2.0], [1.0, 2.0], [1.0, 1.0], [0.0, 2.0], [2.0, 0.0], [1.0, 0.0], [0.0, 3.0]];
        let counts: Vec<Vec<f64>> = counts.iter().map(|counts| counts.to_vec()).collect();
        let third = 1.0 / 3.0;
        assert_eq!(choose(&counts, &[third, third, third], (0..8).collect()), PINNED);
    }

    #[test]
    fn groups_stay_whole_and_labels_keep_their_shares() {
        let labels: Vec<Option<String>> = (0..600).map(|row| Some((row % 10 / 7).to_string())).collect();
        let groups: Vec<Option<String>> = (0..600).map(|row| Some((row / 6 * 7 % 53).to_string())).collect();
        let parts = parts(&labels, &groups, &[0.6, 0.2, 0.2], 3);
        for (_, rows) in members(&groups) {
            let found: BTreeSet<u8> = rows.iter().map(|row| parts[*row]).collect();
            assert_eq!(found.len(), 1);
        }
        for (part, share) in [(0_u8, 0.6), (1, 0.2), (2, 0.2)] {
            for label in ["0", "1"] {
                let of = |wanted: Option<u8>| {
                    let rows = labels.iter().zip(&parts).filter(|(known, found)| {
                        known.as_deref() == Some(label) && wanted.is_none_or(|part| **found == part)
                    });
                    rows.count() as f64
                };
                let got = of(Some(part)) / of(None);
                assert!((got - share).abs() < 0.05, "part {part}, label {label}: {got}");
            }
        }
        assert_ne!(parts, super::parts(&labels, &groups, &[0.6, 0.2, 0.2], 4));
    }

    const PINNED: [usize; 8] = [1, 2, 0, 1, 1, 2, 0, 0];
}
