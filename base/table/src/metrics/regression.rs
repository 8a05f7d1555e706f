//! How far predicted numbers are from the true ones.

use super::interval::{self, Mean};

fn errors<'a>(predictions: &'a [f64], targets: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
    predictions.iter().zip(targets).map(|(prediction, target)| prediction - target)
}

/// The root of the mean squared error, its interval that of the mean squared error; nothing when there
/// are no rows.
pub fn rmse(predictions: &[f64], targets: &[f64]) -> Option<Mean> {
    let squares: Vec<f64> = errors(predictions, targets).map(|error| error * error).collect();
    let mean = interval::mean(&squares)?;
    Some(Mean {
        value: mean.value.sqrt(),
        interval: mean.interval.map(|(low, high)| (low.max(0.0).sqrt(), high.sqrt())),
    })
}

/// The mean absolute error; nothing when there are no rows.
pub fn mae(predictions: &[f64], targets: &[f64]) -> Option<Mean> {
    let sizes: Vec<f64> = errors(predictions, targets).map(f64::abs).collect();
    interval::mean(&sizes)
}

/// The share of the targets' variance that is explained; nothing when they do not vary.
pub fn r2(predictions: &[f64], targets: &[f64]) -> Option<f64> {
    let mean = interval::mean(targets)?.value;
    let total: f64 = targets.iter().map(|target| (target - mean) * (target - mean)).sum();
    let left: f64 = errors(predictions, targets).map(|error| error * error).sum();
    (total > 0.0).then(|| 1.0 - left / total)
}

/// The mean absolute error relative to the target (0.1 is 10 %); nothing when a target is zero.
pub fn mape(predictions: &[f64], targets: &[f64]) -> Option<Mean> {
    if targets.contains(&0.0) {
        return None;
    }
    let shares: Vec<f64> =
        errors(predictions, targets).zip(targets).map(|(error, target)| (error / target).abs()).collect();
    interval::mean(&shares)
}
