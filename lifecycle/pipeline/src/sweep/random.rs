//! Random search: each parameter evenly on its scale.

use super::seed::Stream;
use super::space::{Axis, Point};

/// A point anywhere.
pub fn propose(axes: &[Axis], stream: &mut Stream) -> Point {
    axes.iter().map(|axis| number(axis, stream)).collect()
}

fn number(axis: &Axis, stream: &mut Stream) -> f64 {
    match axis.count() {
        // On an even scale each is as likely as the next; on a logarithmic one the ends decide.
        Some(count) if !axis.is_log() => axis.at(stream.below(count)),
        Some(_) | None => {
            let (low, high) = axis.ends();
            axis.nearest(low + (high - low) * stream.unit())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::space::tests::{axes, spaces};
    use super::super::space::{self};
    use super::*;

    proptest! {
        #[test]
        fn every_point_lies_within_the_space(space in spaces(), seed in any::<u64>(), trial in any::<u32>()) {
            let point = propose(&axes(&space), &mut Stream::of(seed, trial));
            let values = space::values(&space, &point);
            prop_assert!(space::point(&space, &values).is_some(), "{values:?}");
        }
    }

    #[test]
    fn a_logarithmic_scale_gives_each_power_its_share() {
        let axis = Axis::Continuous { low: 1e-4, high: 1.0, log: true };
        let mut stream = Stream::of(1, 1);
        let small = (0..1000).filter(|_| number(&axis, &mut stream) < 1e-2).count();
        assert!((450..550).contains(&small), "{small}");
        let axis = Axis::Stepped { low: 1.0, high: 1000.0, step: 1.0, log: true };
        let small = (0..1000).filter(|_| number(&axis, &mut stream) < 32.0).count();
        assert!((450..600).contains(&small), "{small}");
    }
}
