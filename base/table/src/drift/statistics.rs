//! The statistics of drift, each of plain shares or counts.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};

/// The Jensen-Shannon distance of two distributions over the same bins: the root of the divergence with
/// logarithms to base 2, so that it lies between 0 and 1 (Endres and Schindelin, 2003; what NannyML and
/// scipy with `base=2` compute).
pub fn jensen_shannon(reference: &[f64], current: &[f64]) -> f64 {
    let term = |p: f64, middle: f64| if p > 0.0 { p * (p / middle).log2() } else { 0.0 };
    let divergence: f64 = reference
        .iter()
        .zip(current)
        .map(|(p, q)| {
            let middle = f64::midpoint(*p, *q);
            term(*p, middle) + term(*q, middle)
        })
        .sum::<f64>()
        / 2.0;
    divergence.max(0.0).sqrt()
}

/// The population stability index Σ (q − p) ln(q / p) (Siddiqi, 2006). A share of zero counts as 0.0001,
/// as Evidently has it.
pub fn psi(reference: &[f64], current: &[f64]) -> f64 {
    reference
        .iter()
        .zip(current)
        .map(|(p, q)| {
            let (p, q) = (p.max(1e-4), q.max(1e-4));
            (q - p) * (q / p).ln()
        })
        .sum()
}

/// The largest difference of two shares of the same category.
pub fn l_infinity(reference: &[f64], current: &[f64]) -> f64 {
    reference.iter().zip(current).map(|(p, q)| (p - q).abs()).fold(0.0, f64::max)
}

/// The two-sided p-value of the two-sample Kolmogorov-Smirnov statistic `d`: the limiting distribution
/// with Stephens' (1970) correction for finite samples.
pub fn kolmogorov_smirnov_p(d: f64, first: f64, second: f64) -> f64 {
    let n = (first * second / (first + second)).sqrt();
    kolmogorov_survival((n + 0.12 + 0.11 / n) * d)
}

/// 1 − K(x) of Kolmogorov's distribution, by the series that converges fast on either side.
fn kolmogorov_survival(x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let survival = if x < 1.18 {
        let step = std::f64::consts::PI * std::f64::consts::PI / (8.0 * x * x);
        let sum: f64 = [1.0, 9.0, 25.0, 49.0].iter().map(|odd| (-step * odd).exp()).sum();
        1.0 - (2.0 * std::f64::consts::PI).sqrt() / x * sum
    } else {
        let term = |j: f64| (-2.0 * j * j * x * x).exp();
        2.0 * (term(1.0) - term(2.0) + term(3.0) - term(4.0))
    };
    survival.clamp(0.0, 1.0)
}

/// The p-value of the chi-squared test that two rows of counts have the same distribution (Pearson, with
/// Yates' correction for two categories, as scipy's `chi2_contingency` has it).
pub fn chi_squared_p(reference: &[f64], current: &[f64]) -> f64 {
    let columns: Vec<(f64, f64)> =
        reference.iter().copied().zip(current.iter().copied()).filter(|(a, b)| a + b > 0.0).collect();
    let (first, second) = columns.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    if columns.len() < 2 || first == 0.0 || second == 0.0 {
        return 1.0;
    }
    let all = first + second;
    let term = |observed: f64, expected: f64| {
        let distance = (observed - expected).abs();
        let distance = if columns.len() == 2 { distance - distance.min(0.5) } else { distance };
        distance * distance / expected
    };
    let statistic: f64 =
        columns.iter().map(|(a, b)| term(*a, (a + b) * first / all) + term(*b, (a + b) * second / all)).sum();
    ChiSquared::new((columns.len() - 1) as f64).map_or(1.0, |distribution| distribution.sf(statistic))
}

/// The two-sided p-value that two shares are equal: the pooled z test of two proportions.
pub fn two_proportions_p(first: u64, of_first: u64, second: u64, of_second: u64) -> f64 {
    let (n, m) = (of_first as f64, of_second as f64);
    let pooled = (first as f64 + second as f64) / (n + m);
    let error = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    if error.is_nan() || error <= 0.0 {
        return 1.0;
    }
    let z = (second as f64 / m - first as f64 / n) / error;
    (2.0 * Normal::standard().sf(z.abs())).min(1.0)
}

/// P-values adjusted for their number by Benjamini and Hochberg (1995): those below α have a false
/// discovery rate of at most α.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*b].total_cmp(&p_values[*a]));
    let count = p_values.len() as f64;
    let mut adjusted = vec![1.0; p_values.len()];
    let mut least: f64 = 1.0;
    for (at, index) in order.into_iter().enumerate() {
        least = least.min(p_values[index] * count / (count - at as f64));
        adjusted[index] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, within: f64) {
        assert!((found - expected).abs() <= within * expected.abs(), "{found} is not {expected}");
    }

    const REFERENCE: [f64; 5] = [400.0, 350.0, 200.0, 50.0, 0.0];
    const CURRENT: [f64; 5] = [300.0, 300.0, 250.0, 0.0, 40.0];

    #[test]
    fn statistics_of_categories_are_those_of_scipy() {
        let (p, q) = (REFERENCE.map(|count| count / 1000.0), CURRENT.map(|count| count / 890.0));
        // scipy.spatial.distance.jensenshannon(p, q, base=2)
        near(jensen_shannon(&p, &q), 0.23330474034304374, 1e-12);
        near(l_infinity(&p, &q), 0.08089887640449439, 1e-12);
        // scipy.stats.chi2_contingency([reference, current])
        near(chi_squared_p(&REFERENCE, &CURRENT), 2.307211271970056e-22, 1e-6);
        near(chi_squared_p(&[500.0, 500.0], &[460.0, 540.0]), 0.08089265412686582, 1e-9);
        assert_eq!(chi_squared_p(&[5.0], &[9.0]), 1.0);
    }

    #[test]
    fn p_values_are_those_of_scipy() {
        // scipy.stats.kstwobign.sf
        for (x, p) in [
            (0.3, 0.9999906941986655),
            (0.8, 0.5441424115741981),
            (1.0, 0.26999967167735456),
            (1.5, 0.022217962616525127),
            (2.5, 7.453306344157342e-06),
        ] {
            near(kolmogorov_survival(x), p, 1e-9);
        }
        // z = (25/900 - 10/1000) / sqrt(p (1-p) (1/1000 + 1/900)); 2 * scipy.stats.norm.sf(z)
        near(two_proportions_p(10, 1000, 25, 900), 0.0040095140708343606, 1e-9);
        assert_eq!(two_proportions_p(0, 10, 0, 10), 1.0);
        assert_eq!(two_proportions_p(0, 0, 0, 0), 1.0);
    }

    #[test]
    fn adjusted_p_values_are_those_of_scipy() {
        // scipy.stats.false_discovery_control(p)
        let p = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216];
        let expected = [0.01, 0.04, 0.084, 0.084, 0.084, 0.1, 0.10571428571428572, 0.216, 0.216, 0.216];
        for (found, expected) in benjamini_hochberg(&p).into_iter().zip(expected) {
            near(found, expected, 1e-12);
        }
        assert!(benjamini_hochberg(&[]).is_empty());
    }

    #[test]
    fn zero_shares_do_not_break_the_index() {
        // ln(0.5/1e-4) * (0.5 - 1e-4) twice
        near(psi(&[0.5, 0.5, 0.0], &[0.5, 0.0, 0.5]), 2.0 * 0.4999 * (0.5_f64 / 1e-4).ln(), 1e-12);
        assert_eq!(jensen_shannon(&[1.0, 0.0], &[0.0, 1.0]), 1.0);
    }
}
