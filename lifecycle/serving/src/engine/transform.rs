//! What comes after the sum: the post-transforms of ONNX-ML's classifiers and regressors.
//!
//! Formulas as in the operator pages of the ONNX specification (`post_transform`). Computed in 64 bits.

/// How raw scores become what is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostTransform {
    /// As they are.
    None,
    /// 1 / (1 + e^-x), each by itself.
    Logistic,
    /// e^x over the sum of e^x.
    Softmax,
    /// As softmax, but scores of zero stay zero.
    SoftmaxZero,
    /// The quantile of the normal distribution, each by itself.
    Probit,
}

impl PostTransform {
    /// By its name in a model file.
    pub fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"NONE" => Self::None,
            b"LOGISTIC" => Self::Logistic,
            b"SOFTMAX" => Self::Softmax,
            b"SOFTMAX_ZERO" => Self::SoftmaxZero,
            b"PROBIT" => Self::Probit,
            _ => return None,
        })
    }

    /// By its number in `TreeEnsemble` of operator set 5.
    pub const fn numbered(number: i64) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::Softmax,
            2 => Self::Logistic,
            3 => Self::SoftmaxZero,
            4 => Self::Probit,
            _ => return None,
        })
    }

    /// Transforms the scores of one row.
    pub fn apply(self, scores: &mut [f64]) {
        match self {
            Self::None => {}
            Self::Logistic => scores.iter_mut().for_each(|score| *score = logistic(*score)),
            Self::Softmax => softmax(scores),
            Self::SoftmaxZero => softmax_zero(scores),
            Self::Probit => scores.iter_mut().for_each(|score| *score = probit(*score)),
        }
    }

    /// Both classes' scores from the one that a binary model gives.
    ///
    /// `from_share` says that the raw score is a share of votes (all weights are positive and nothing is
    /// transformed): the other class then has the rest.
    pub fn both_classes(self, score: f64, from_share: bool) -> [f64; 2] {
        match self {
            Self::None if from_share => [1.0 - score, score],
            Self::None => [-score, score],
            Self::Logistic => [logistic(-score), logistic(score)],
            Self::Softmax | Self::SoftmaxZero => {
                let mut both = [-score, score];
                self.apply(&mut both);
                both
            }
            Self::Probit => [probit(1.0 - score), probit(score)],
        }
    }
}

/// 1 / (1 + e^-x), without overflow.
pub fn logistic(x: f64) -> f64 {
    let v = 1.0 / (1.0 + (-x.abs()).exp());
    if x < 0.0 { 1.0 - v } else { v }
}

/// e^x over the sum of e^x, in place.
pub fn softmax(scores: &mut [f64]) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in &mut *scores {
        *score = (*score - largest).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

fn softmax_zero(scores: &mut [f64]) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // As the reference implementations have it: what is (almost) zero is scaled like e^0, not dropped.
    let rest = (-largest).exp();
    let mut sum = 0.0;
    for score in &mut *scores {
        *score = if score.abs() > 1e-7 { (*score - largest).exp() } else { *score * rest };
        sum += *score;
    }
    if sum != 0.0 {
        for score in scores {
            *score /= sum;
        }
    }
}

/// The quantile of the standard normal distribution (Acklam's rational approximation, relative error
/// below 1.2e-9).
pub fn probit(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.38357751867269e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 5] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 4] = [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416];
    let poly = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |q: f64| poly(&C, q) / (poly(&D, q) * q + 1.0);
    if p.is_nan() || !(0.0..=1.0).contains(&p) {
        f64::NAN
    } else if p == 0.0 {
        f64::NEG_INFINITY
    } else if p == 1.0 {
        f64::INFINITY
    } else if p < 0.02425 {
        tail((-2.0 * p.ln()).sqrt())
    } else if p > 1.0 - 0.02425 {
        -tail((-2.0 * (1.0 - p).ln()).sqrt())
    } else {
        let q = p - 0.5;
        let r = q * q;
        poly(&A, r) * q / (poly(&B, r) * r + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logistic_is_symmetric_and_never_overflows() {
        assert_eq!(logistic(0.0), 0.5);
        assert!((logistic(2.0) + logistic(-2.0) - 1.0).abs() < 1e-15);
        assert_eq!(logistic(1e6), 1.0);
        assert_eq!(logistic(-1e6), 0.0);
        assert!(logistic(f64::NAN).is_nan());
    }

    #[test]
    fn softmax_sums_to_one_even_for_large_scores() {
        let mut scores = [1000.0, 1001.0, 999.0];
        softmax(&mut scores);
        assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(scores[1] > scores[0] && scores[0] > scores[2]);
    }

    #[test]
    fn probit_has_the_known_quantiles() {
        assert!((probit(0.975) - 1.959_963_984_540_054).abs() < 1e-8);
        assert!((probit(0.01) + 2.326_347_874_040_841).abs() < 1e-8);
        assert!(probit(0.5).abs() < 1e-12);
        assert!(probit(1.5).is_nan());
    }

    #[test]
    fn one_score_becomes_two_classes() {
        assert_eq!(PostTransform::None.both_classes(0.25, true), [0.75, 0.25]);
        let [no, yes] = PostTransform::Logistic.both_classes(1.0, false);
        assert!((no + yes - 1.0).abs() < 1e-12 && yes > 0.7);
    }
}
