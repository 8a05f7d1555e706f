//! Confidence intervals at 95 %.

/// The 97.5 % quantile of the normal distribution.
pub const Z95: f64 = 1.959_963_984_540_054;

/// The score interval of a share (Wilson, 1927): inside 0..1 and sensible for small counts. Nothing when
/// there are no trials.
pub fn wilson(successes: u64, trials: u64) -> Option<(f64, f64)> {
    if trials == 0 {
        return None;
    }
    let n = trials as f64;
    let share = successes as f64 / n;
    let z2 = Z95 * Z95;
    let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z95 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    let low = if successes == 0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if successes == trials { 1.0 } else { (centre + half).min(1.0) };
    Some((low, high))
}

/// A mean of independent terms with its interval by the normal approximation, from the terms' own
/// spread (divisor n − 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// Lower and upper end; absent of fewer than two terms.
    pub interval: Option<(f64, f64)>,
}

/// The mean of some terms; nothing when there are none.
pub fn mean(terms: &[f64]) -> Option<Mean> {
    if terms.is_empty() {
        return None;
    }
    let n = terms.len() as f64;
    let value = terms.iter().sum::<f64>() / n;
    let interval = (terms.len() > 1).then(|| {
        let squares: f64 = terms.iter().map(|term| (term - value) * (term - value)).sum();
        let half = Z95 * (squares / (n - 1.0) / n).sqrt();
        (value - half, value + half)
    });
    Some(Mean { value, interval })
}
