//! Count, mean and the second and third central moments, in one pass and mergeable.
//!
//! Each chunk is summed around its own mean, and chunks are joined by the pairwise formulas of Chan,
//! Golub and LeVeque (1979) with the third moment of Pébay (2008), so that no large sum of squares ever
//! cancels.

use serde::{Deserialize, Serialize};

use super::wide::wide;

/// The first three moments of finite numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// How many numbers.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least; 0 when there are none.
    pub min: f64,
    /// The greatest; 0 when there are none.
    pub max: f64,
    /// Their mean; 0 when there are none.
    pub mean: f64,
    /// The sum of squared differences from the mean.
    pub m2: f64,
    /// The sum of cubed differences from the mean.
    pub m3: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self { count: 0, sum: 0.0, min: 0.0, max: 0.0, mean: 0.0, m2: 0.0, m3: 0.0 }
    }
}

impl Moments {
    /// The moments of finite numbers.
    pub fn of(values: &[f64]) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let sum = sum(values);
        let mean = sum / values.len() as f64;
        let (m2, m3) = central(values, mean);
        let (min, max) = extremes(values);
        Self { count: values.len() as u64, sum, min, max, mean, m2, m3 }
    }

    /// The moments of both taken together.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        if self.count == 0 {
            return *other;
        }
        if other.count == 0 {
            return *self;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let n = a + b;
        let delta = other.mean - self.mean;
        Self {
            count: self.count + other.count,
            sum: self.sum + other.sum,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            mean: self.mean + delta * b / n,
            m2: self.m2 + other.m2 + delta * delta * a * b / n,
            m3: self.m3
                + other.m3
                + delta * delta * delta * a * b * (a - b) / (n * n)
                + 3.0 * delta * (a * other.m2 - b * self.m2) / n,
        }
    }

    /// The standard deviation with divisor n − 1; 0 of fewer than two numbers.
    pub fn std(&self) -> f64 {
        if self.count < 2 { 0.0 } else { (self.m2.max(0.0) / (self.count - 1) as f64).sqrt() }
    }

    /// The standard deviation with divisor n.
    pub fn population_std(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.m2.max(0.0) / self.count as f64).sqrt() }
    }

    /// The skewness g1 = m3 / m2^(3/2) of the moments with divisor n; 0 of equal numbers.
    pub fn skewness(&self) -> f64 {
        let std = self.population_std();
        if std > 0.0 { self.m3 / self.count as f64 / (std * std * std) } else { 0.0 }
    }
}

wide! {
    /// The least and the greatest of finite numbers.
    pub(super) fn extremes(values: &[f64]) -> (f64, f64) {
        let less = |a: f64, b: f64| if b < a { b } else { a };
        let more = |a: f64, b: f64| if b > a { b } else { a };
        let (mut min, mut max) = ([f64::INFINITY; 8], [f64::NEG_INFINITY; 8]);
        let mut chunks = values.chunks_exact(8);
        for chunk in &mut chunks {
            for ((min, max), value) in min.iter_mut().zip(&mut max).zip(chunk) {
                *min = less(*min, *value);
                *max = more(*max, *value);
            }
        }
        let rest = chunks.remainder();
        let min = min.iter().chain(rest).copied().fold(f64::INFINITY, less);
        let max = max.iter().chain(rest).copied().fold(f64::NEG_INFINITY, more);
        (min, max)
    }
}

wide! {
    /// A sum in eight lanes: the compiler may use vector registers, and errors grow more slowly.
    fn sum(values: &[f64]) -> f64 {
        let mut sums = [0.0; 8];
        let mut chunks = values.chunks_exact(8);
        for chunk in &mut chunks {
            for (sum, value) in sums.iter_mut().zip(chunk) {
                *sum += value;
            }
        }
        let rest: f64 = chunks.remainder().iter().sum();
        sums.iter().sum::<f64>() + rest
    }
}

wide! {
    /// The sums of squared and of cubed differences from the mean, each in eight lanes.
    fn central(values: &[f64], mean: f64) -> (f64, f64) {
        let (mut squares, mut cubes) = ([0.0; 8], [0.0; 8]);
        let mut chunks = values.chunks_exact(8);
        for chunk in &mut chunks {
            for ((square, cube), value) in squares.iter_mut().zip(&mut cubes).zip(chunk) {
                let difference = value - mean;
                let squared = difference * difference;
                *square += squared;
                *cube += squared * difference;
            }
        }
        let rest = chunks.remainder().iter().map(|value| value - mean);
        let (square, cube) = rest.fold((0.0, 0.0), |(square, cube), difference| {
            (square + difference * difference, cube + difference * difference * difference)
        });
        (squares.iter().sum::<f64>() + square, cubes.iter().sum::<f64>() + cube)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_those_of_scipy() {
        // x = numpy.array([1, 2, 2, 5, 9.5, -3]) + 1e6; x.std(ddof=1), scipy.stats.skew(x)
        let values: Vec<f64> = [1.0, 2.0, 2.0, 5.0, 9.5, -3.0].iter().map(|x| x + 1e6).collect();
        let moments = Moments::of(&values);
        assert_eq!((moments.min, moments.max), (999_997.0, 1_000_009.5));
        assert!((moments.mean - 1_000_002.75).abs() < 1e-9);
        assert!((moments.std() - 4.192_254_763_250_917).abs() < 1e-9, "{}", moments.std());
        assert!((moments.skewness() - 0.364_633_560_801_819_1).abs() < 1e-9, "{}", moments.skewness());
    }

    proptest! {
        #[test]
        fn merged_moments_are_those_of_the_whole(values in prop::collection::vec(-1e6..1e6_f64, 0..200), cut in 0_usize..200) {
            let cut = cut.min(values.len());
            let whole = Moments::of(&values);
            let merged = Moments::of(&values[..cut]).merge(&Moments::of(&values[cut..]));
            prop_assert_eq!(whole.count, merged.count);
            prop_assert_eq!((whole.min, whole.max), (merged.min, merged.max));
            prop_assert!((whole.mean - merged.mean).abs() <= 1e-9 * whole.std().max(1.0));
            prop_assert!((whole.std() - merged.std()).abs() <= 1e-9 * whole.std().max(1.0));
            prop_assert!((whole.skewness() - merged.skewness()).abs() <= 1e-6);
        }
    }
}
