//! Chance that is the same everywhere and for ever: the numbers of a trial come from the sweep's seed and
//! the trial's number alone, so that a sweep which was killed goes on with the proposals it would have made.
//!
//! SplitMix64 (Steele, Lea and Flood 2014). No library's generator: theirs may change with a version.

/// A stream of numbers.
#[derive(Debug, Clone)]
pub struct Stream(u64);

impl Stream {
    /// The stream of a trial.
    pub fn of(seed: u64, trial: u32) -> Self {
        let mut stream = Self(seed);
        let mixed = stream.next() ^ u64::from(trial).wrapping_mul(0xd134_2543_de82_ef95);
        Self(mixed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to but not including 1.
    pub const fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number below another; 0 below 0.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_trial_are_pinned_and_differ_from_trial_to_trial() {
        let mut stream = Stream::of(7, 1);
        let first: Vec<u64> = (0..2).map(|_| stream.next()).collect();
        assert_eq!(first, Stream::of(7, 1).take(2));
        assert_ne!(first, Stream::of(7, 2).take(2));
        assert_ne!(first, Stream::of(8, 1).take(2));
        assert_eq!(Stream(0).next(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn all_numbers_below_come_about_equally_often() {
        let mut stream = Stream::of(0, 0);
        let mut counts = [0_u32; 5];
        for _ in 0..5000 {
            counts[usize::try_from(stream.below(5)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        let units: Vec<f64> = (0..1000).map(|_| stream.unit()).collect();
        assert!(units.iter().all(|unit| (0.0..1.0).contains(unit)));
        assert!((units.iter().sum::<f64>() / 1000.0 - 0.5).abs() < 0.05);
    }

    impl Stream {
        fn take(mut self, count: usize) -> Vec<u64> {
            (0..count).map(|_| self.next()).collect()
        }
    }
}
