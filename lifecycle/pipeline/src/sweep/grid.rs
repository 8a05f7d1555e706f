//! Grid search: every combination once.

use super::seed::Stream;
use super::space::{self, Axis};

/// The places of the combinations in the order in which they are tried: that of the file, the last
/// parameter moving quickest; where fewer are wanted than there are, by chance, so that they lie all over.
pub fn order(axes: &[Axis], wanted: u32, seed: u64) -> Vec<u64> {
    let count = space::count(axes).unwrap_or(0);
    let mut places: Vec<u64> = (0..count).collect();
    if u64::from(wanted) < count {
        let mut stream = Stream::of(seed, 0);
        for last in (1..places.len()).rev() {
            let other = usize::try_from(stream.below(last as u64 + 1)).unwrap_or(last);
            places.swap(last, other);
        }
        places.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
    }
    places
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::super::space::tests::{axes, spaces};
    use super::*;

    proptest! {
        #[test]
        fn a_grid_is_complete_and_repeats_nothing(space in spaces(), seed in any::<u64>(), part in 1_u32..50) {
            let axes = axes(&space);
            let Some(count) = space::count(&axes).filter(|count| *count < 5000) else { return Ok(()) };
            let count = u32::try_from(count).unwrap();
            for wanted in [count, u32::MAX, part.min(count)] {
                let order = order(&axes, wanted, seed);
                let points: HashSet<Vec<u64>> =
                    order.iter().map(|place| space::mark(&space::at(&axes, *place))).collect();
                prop_assert_eq!(points.len(), usize::try_from(wanted.min(count)).unwrap());
                prop_assert_eq!(order.len(), points.len());
            }
        }
    }

    #[test]
    fn the_last_parameter_moves_quickest() {
        let axes = [Axis::Choice(2), Axis::Stepped { low: 3.0, high: 7.0, step: 2.0, log: false }];
        let order = order(&axes, u32::MAX, 0);
        let all: Vec<space::Point> = order.iter().map(|place| space::at(&axes, *place)).collect();
        assert_eq!(all, [[0., 3.], [0., 5.], [0., 7.], [1., 3.], [1., 5.], [1., 7.]]);
    }
}
