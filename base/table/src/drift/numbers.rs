//! Drift of a column of numbers.

use rondo_core::signature::ColumnType;

use super::statistics::{self, jensen_shannon};
use super::{DriftOptions, Finding, Method, categories};
use crate::profile::summary::even_edges;
use crate::profile::{ColumnProfile, NumericProfile};

/// A reference with no more values than this is compared value by value, as NannyML does.
const FEW_VALUES: usize = 50;
/// A standard deviation below this counts as this, as Evidently has it.
const LEAST_STD: f64 = 0.001;

/// All findings on the distribution of the values; both columns have some.
pub(super) fn compare(
    column: &ColumnProfile,
    reference: &NumericProfile,
    current: &NumericProfile,
    options: &DriftOptions,
) -> Vec<Finding> {
    let (ks, ks_p, wasserstein) = distances(reference, current);
    let detail = moved(reference, current);
    let by_value = by_value(reference, current);
    let (distance, p_value) = match &by_value {
        Some((p, q)) => {
            let p_value = statistics::chi_squared_p(p, q);
            (jensen_shannon(&shares(p), &shares(q)), p_value)
        }
        None => (binned(column.column_type, reference, current), ks_p),
    };
    let spread = reference.moments.population_std().max(LEAST_STD);
    let deciles = deciles(reference, current);
    vec![
        Finding {
            method: Method::JensenShannon,
            statistic: distance,
            threshold: Some(options.jensen_shannon),
            p_value: Some(p_value),
            detail: detail.clone(),
        },
        Finding {
            method: Method::Wasserstein,
            statistic: finite(wasserstein / spread),
            threshold: Some(options.wasserstein),
            p_value: Some(p_value),
            detail: detail.clone(),
        },
        Finding {
            method: Method::PopulationStability,
            statistic: deciles,
            threshold: None,
            p_value: None,
            detail: detail.clone(),
        },
        Finding {
            method: Method::KolmogorovSmirnov,
            statistic: ks,
            threshold: None,
            p_value: Some(ks_p),
            detail,
        },
    ]
}

/// A distance that is too large for a number is the largest there is: JSON has no infinity.
const fn finite(distance: f64) -> f64 {
    if distance.is_finite() { distance } else { f64::MAX }
}

/// Counts by value where the reference has few: its values in order, and one more entry for all others.
fn by_value(reference: &NumericProfile, current: &NumericProfile) -> Option<(Vec<f64>, Vec<f64>)> {
    let values = reference.exact_values()?;
    let few = values.len() <= FEW_VALUES && values.len() as f64 <= 0.1 * reference.moments.count as f64;
    let now = current.exact_values().filter(|_| few)?;
    let mut p: Vec<f64> = values.iter().map(|(_, count)| *count as f64).collect();
    let mut q: Vec<f64> = values
        .iter()
        .map(|(value, _)| {
            let found = now.binary_search_by(|(other, _)| other.total_cmp(value));
            found.ok().and_then(|at| now.get(at)).map_or(0.0, |(_, count)| *count as f64)
        })
        .collect();
    p.push(0.0);
    q.push(current.moments.count as f64 - q.iter().sum::<f64>());
    Some((p, q))
}

fn shares(counts: &[f64]) -> Vec<f64> {
    let all: f64 = counts.iter().sum();
    counts.iter().map(|count| if all > 0.0 { count / all } else { 0.0 }).collect()
}

/// The Jensen-Shannon distance over bins of the reference alone, what lies outside being one more bin
/// (NannyML's definition: a stored reference needs no look at the current data to be binned).
fn binned(column_type: ColumnType, reference: &NumericProfile, current: &NumericProfile) -> f64 {
    let edges = doane_edges(column_type, reference);
    let shares = |profile: &NumericProfile| -> Vec<f64> {
        let count = profile.moments.count as f64;
        let mut shares: Vec<f64> = profile.bin(&edges).into_iter().map(|inside| inside / count).collect();
        shares.push((1.0 - shares.iter().sum::<f64>()).max(0.0));
        shares
    };
    jensen_shannon(&shares(reference), &shares(current))
}

/// Bins of equal width, as many as Doane's rule (1976) says, as numpy computes it: bins of whole numbers
/// are at least one wide.
fn doane_edges(column_type: ColumnType, reference: &NumericProfile) -> Vec<f64> {
    let moments = &reference.moments;
    let n = moments.count as f64;
    let range = moments.max - moments.min;
    let mut width = 0.0;
    if moments.count > 2 && moments.population_std() > 0.0 {
        let error = (6.0 * (n - 2.0) / ((n + 1.0) * (n + 3.0))).sqrt();
        width = range / (1.0 + n.log2() + (1.0 + moments.skewness().abs() / error).log2());
    }
    if column_type == ColumnType::Integer && width < 1.0 {
        width = 1.0;
    }
    let bins = if width > 0.0 && range.is_finite() { (range / width).ceil().clamp(1.0, 1000.0) } else { 1.0 };
    even_edges(moments.min, moments.max, bins as u32)
}

/// The population stability index over the tenths of the reference.
fn deciles(reference: &NumericProfile, current: &NumericProfile) -> f64 {
    let mut edges: Vec<f64> =
        (1..10).filter_map(|tenth| reference.quantile(f64::from(tenth) / 10.0)).collect();
    edges.dedup();
    let shares = |profile: &NumericProfile| -> Vec<f64> {
        let mut below = 0.0;
        let mut shares: Vec<f64> = edges
            .iter()
            .map(|edge| {
                let up_to = profile.share_up_to(*edge);
                let share = up_to - below;
                below = up_to;
                share
            })
            .collect();
        shares.push(1.0 - below);
        shares
    };
    statistics::psi(&shares(reference), &shares(current))
}

/// The Kolmogorov-Smirnov statistic with its p-value, and the Wasserstein-1 distance, from both
/// distribution functions: exact where both columns have few enough values to be known exactly.
fn distances(reference: &NumericProfile, current: &NumericProfile) -> (f64, f64, f64) {
    let mut points = reference.support();
    points.extend(current.support());
    points.sort_by(f64::total_cmp);
    points.dedup();
    let (first, second) = (cumulated(reference, &points), cumulated(current, &points));
    let gaps: Vec<f64> = first.iter().zip(&second).map(|(a, b)| (a - b).abs()).collect();
    let ks = gaps.iter().copied().fold(0.0, f64::max).min(1.0);
    // Between two points a known function is flat and an estimated one is taken at the middle.
    let area = points
        .windows(2)
        .zip(&gaps)
        .map(|(pair, gap)| match pair {
            [low, high] => {
                let gap = if exact(reference, current) {
                    *gap
                } else {
                    let middle = f64::midpoint(*low, *high);
                    (reference.share_up_to(middle) - current.share_up_to(middle)).abs()
                };
                // Between far points the way is infinite, and nothing that far is still nothing.
                if gap > 0.0 { gap * (high - low) } else { 0.0 }
            }
            _ => 0.0,
        })
        .sum();
    let p =
        statistics::kolmogorov_smirnov_p(ks, reference.moments.count as f64, current.moments.count as f64);
    (ks, p, area)
}

fn exact(reference: &NumericProfile, current: &NumericProfile) -> bool {
    reference.exact_values().is_some() && current.exact_values().is_some()
}

/// The distribution function at ascending points, in one walk where the values are known.
fn cumulated(profile: &NumericProfile, points: &[f64]) -> Vec<f64> {
    let Some(values) = profile.exact_values() else {
        return points.iter().map(|point| profile.share_up_to(*point)).collect();
    };
    let mut values = values.iter().peekable();
    let mut seen = 0;
    points
        .iter()
        .map(|point| {
            while let Some((_, count)) = values.next_if(|(value, _)| value <= point) {
                seen += count;
            }
            seen as f64 / profile.moments.count as f64
        })
        .collect()
}

/// What moved, in words.
fn moved(reference: &NumericProfile, current: &NumericProfile) -> String {
    let mut parts = vec![format!(
        "mean {} → {}",
        categories::short(reference.moments.mean),
        categories::short(current.moments.mean)
    )];
    if let (Some(before), Some(now)) = (reference.quantile(0.5), current.quantile(0.5)) {
        parts.push(format!("median {} → {}", categories::short(before), categories::short(now)));
    }
    parts.push(format!(
        "standard deviation {} → {}",
        categories::short(reference.moments.std()),
        categories::short(current.moments.std())
    ));
    let (low, high) = (reference.moments.min, reference.moments.max);
    if current.moments.max > high || current.moments.min < low {
        parts.push(format!(
            "range {} to {} → {} to {}",
            categories::short(low),
            categories::short(high),
            categories::short(current.moments.min),
            categories::short(current.moments.max)
        ));
    }
    parts.join(", ")
}
