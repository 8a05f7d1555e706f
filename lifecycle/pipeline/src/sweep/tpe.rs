//! The tree-structured Parzen estimator (Bergstra et al. 2011), with Optuna's defaults: the first ten
//! trials at random; then the best tenth (at most 25) of the trials are one density and the others another,
//! and of 24 points drawn from the first the one is tried where the first is greatest beside the second.
//!
//! A density has a kernel for each trial and one that covers the whole space. A kernel of a number is a
//! normal distribution cut off at the ends, as wide as it is far to the neighbours; of a choice it is that
//! choice with a little of all others. All parameters of a kernel belong together, so that what only works
//! in company is found.

use statrs::function::erf::{erfc, erfc_inv};

use super::random;
use super::seed::Stream;
use super::space::{Axis, Point};

/// How many trials are made at random first.
const AT_RANDOM: usize = 10;
/// How many points are drawn, of which one is tried.
const DRAWN: usize = 24;
/// The best are at most this many.
const MOST_BEST: usize = 25;
/// How many of the newest trials count fully; those before them less and less.
const FULL: usize = 25;

/// What is known of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// What it tried.
    pub point: Point,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a trial, where less is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// It ended with that.
    Ended(f64),
    /// It was stopped at that step with that.
    Stopped(i64, f64),
    /// It is under way: nothing near it should be tried meanwhile.
    Running,
}

/// The next point to try, where these are the trials in the order of their numbers.
pub fn propose(axes: &[Axis], seen: &[Seen], stream: &mut Stream) -> Point {
    let over = seen.iter().filter(|seen| seen.outcome != Outcome::Running).count();
    if over < AT_RANDOM {
        return random::propose(axes, stream);
    }
    let (best, others) = split(seen, over.div_ceil(10).min(MOST_BEST));
    let (good, bad) = (Density::of(axes, &best), Density::of(axes, &others));
    let drawn = (0..DRAWN).map(|_| good.draw(axes, stream));
    let rated = drawn.map(|point| (good.at(axes, &point) - bad.at(axes, &point), point));
    // Of equal ones the first; what is no number is never better.
    let chosen = rated.reduce(|best, next| if next.0 > best.0 { next } else { best });
    chosen.map_or_else(|| random::propose(axes, stream), |(_, point)| point)
}

/// The best so many, and the others, each in the order of their numbers.
fn split(seen: &[Seen], best: usize) -> (Vec<&Point>, Vec<&Point>) {
    let rank = |seen: &Seen| match seen.outcome {
        Outcome::Ended(loss) => (0, 0, loss),
        // Who came further was better; at the same step the value decides.
        Outcome::Stopped(step, loss) => (1, step.saturating_neg(), loss),
        Outcome::Running => (2, 0, 0.0),
    };
    let mut order: Vec<usize> = (0..seen.len()).collect();
    let rank = |place: &usize| seen.get(*place).map_or((3, 0, f64::NAN), rank);
    order.sort_by(|a, b| {
        let (a, b) = (rank(a), rank(b));
        let losses = a.2.is_nan().cmp(&b.2.is_nan()).then(a.2.total_cmp(&b.2));
        (a.0, a.1).cmp(&(b.0, b.1)).then(losses)
    });
    let chosen: std::collections::HashSet<usize> = order.into_iter().take(best).collect();
    let part = |wanted: bool| {
        let of = seen.iter().enumerate().filter(move |(at, _)| chosen.contains(at) == wanted);
        of.map(|(_, seen)| &seen.point).collect::<Vec<_>>()
    };
    (part.clone()(true), part(false))
}

/// A density over the whole space: for each kernel its share, and for each axis what it looks like there.
struct Density {
    shares: Vec<f64>,
    kernels: Vec<Kernels>,
}

/// What the kernels look like on one axis.
enum Kernels {
    /// Normal distributions on the scale of the axis.
    Normal(Vec<Normal>),
    /// For each kernel the probability of each choice.
    Choice(Vec<Vec<f64>>),
}

/// A normal distribution that is cut off at the ends of its axis.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Normal {
    middle: f64,
    width: f64,
    /// The logarithm of the share of it that lies between the ends.
    within: f64,
}

impl Normal {
    fn new((low, high): (f64, f64), middle: f64, width: f64) -> Self {
        let within = mass((low - middle) / width, (high - middle) / width).ln();
        Self { middle, width, within }
    }

    /// The share of the whole distribution that lies between two places.
    fn mass(&self, from: f64, to: f64) -> f64 {
        mass((from - self.middle) / self.width, (to - self.middle) / self.width)
    }

    /// The place between the ends below which that share lies.
    fn place(&self, (low, high): (f64, f64), unit: f64) -> f64 {
        let below = 0.5 * erfc(-(low - self.middle) / self.width / std::f64::consts::SQRT_2);
        let share = below + unit * self.mass(low, high);
        let at = -std::f64::consts::SQRT_2 * erfc_inv(2.0 * share);
        if at.is_nan() { self.middle } else { (self.middle + self.width * at).clamp(low, high) }
    }

    /// The logarithm of the density at a number of its axis, or of the share around it that is nearest to it.
    fn log_density(&self, axis: &Axis, number: f64) -> f64 {
        let scaled = |at: f64| if axis.is_log() { at.ln() } else { at };
        match axis {
            // All there is.
            _ if self.width <= 0.0 => 0.0,
            Axis::Stepped { step, .. } => {
                let (from, to) = (scaled(number - step / 2.0), scaled(number + step / 2.0));
                self.mass(from, to).ln() - self.within
            }
            Axis::Continuous { .. } | Axis::Choice(_) => {
                let at = (scaled(number) - self.middle) / self.width;
                -0.5 * at * at - (self.width * (2.0 * std::f64::consts::PI).sqrt()).ln() - self.within
            }
        }
    }
}

impl Density {
    fn of(axes: &[Axis], points: &[&Point]) -> Self {
        let mut shares = weights(points.len());
        // The kernel that covers everything.
        shares.push(1.0);
        let all: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= all);
        let numbers = |axis: usize| points.iter().filter_map(move |point| point.get(axis).copied());
        let kernels = axes.iter().enumerate().map(|(at, axis)| match axis {
            Axis::Choice(count) => Kernels::Choice(choices(*count, numbers(at))),
            Axis::Continuous { .. } | Axis::Stepped { .. } => Kernels::Normal(normals(axis, numbers(at))),
        });
        Self { shares, kernels: kernels.collect() }
    }

    fn draw(&self, axes: &[Axis], stream: &mut Stream) -> Point {
        let kernel = place(&self.shares, stream.unit());
        let number = |(axis, kernels): (&Axis, &Kernels)| match kernels {
            Kernels::Normal(all) => {
                let (ends, unit) = (axis.ends(), stream.unit());
                axis.nearest(all.get(kernel).map_or(ends.0, |normal| normal.place(ends, unit)))
            }
            Kernels::Choice(all) => {
                all.get(kernel).map_or(0.0, |choices| place(choices, stream.unit()) as f64)
            }
        };
        axes.iter().zip(&self.kernels).map(number).collect()
    }

    /// The logarithm of the density at a point.
    fn at(&self, axes: &[Axis], point: &[f64]) -> f64 {
        let mut logs: Vec<f64> = self.shares.iter().map(|share| share.ln()).collect();
        for ((axis, kernels), number) in axes.iter().zip(&self.kernels).zip(point) {
            match kernels {
                Kernels::Normal(all) => {
                    for (log, normal) in logs.iter_mut().zip(all) {
                        *log += normal.log_density(axis, *number);
                    }
                }
                Kernels::Choice(all) => {
                    for (log, choices) in logs.iter_mut().zip(all) {
                        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a place
                        let own = choices.get(*number as usize).copied().unwrap_or(0.0);
                        *log += own.ln();
                    }
                }
            }
        }
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if most == f64::NEG_INFINITY {
            return most;
        }
        most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln()
    }
}

/// How much each of so many trials counts.
fn weights(count: usize) -> Vec<f64> {
    let ramp = count.saturating_sub(FULL);
    let first = 1.0 / count.max(1) as f64;
    let along = |at: usize| {
        let part = if ramp > 1 { at as f64 / (ramp - 1) as f64 } else { 0.0 };
        first + (1.0 - first) * part
    };
    (0..ramp).map(along).chain((ramp..count).map(|_| 1.0)).collect()
}

fn choices(count: usize, numbers: impl Iterator<Item = f64>) -> Vec<Vec<f64>> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // places of choices
    let chosen: Vec<usize> = numbers.map(|number| number as usize).collect();
    let kernels = chosen.len() + 1;
    let little = 1.0 / kernels as f64;
    let all = 1.0 + little * count as f64;
    let own = |chosen: &usize| {
        (0..count).map(|at| (little + f64::from(u8::from(at == *chosen))) / all).collect::<Vec<f64>>()
    };
    let even = vec![1.0 / count.max(1) as f64; count];
    chosen.iter().map(own).chain([even]).collect()
}

/// Each trial's kernel, and the one that covers everything.
fn normals(axis: &Axis, numbers: impl Iterator<Item = f64>) -> Vec<Normal> {
    let (low, high) = axis.ends();
    let middles: Vec<f64> = numbers.map(|number| if axis.is_log() { number.ln() } else { number }).collect();
    let mut order: Vec<(usize, f64)> = middles.iter().copied().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let range = high - low;
    let narrowest = range / (2.0 + middles.len() as f64).min(100.0);
    let ends = (low, high);
    let mut kernels = vec![Normal::new(ends, 0.5 * (low + high), range); middles.len() + 1];
    for (at, (place, middle)) in order.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| order.get(at)).map(|(_, other)| middle - other);
        let after = order.get(at + 1).map(|(_, other)| other - middle);
        let width = match (before, after) {
            (Some(before), Some(after)) => before.max(after),
            // The outermost are as wide as it is far to the one neighbour.
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => (middle - low).max(high - middle),
        };
        if let Some(kernel) = kernels.get_mut(*place) {
            *kernel = Normal::new(ends, *middle, width.clamp(narrowest, range));
        }
    }
    kernels
}

/// Where in a row of shares that make 1 a number from 0 to 1 falls.
fn place(shares: &[f64], unit: f64) -> usize {
    let mut sum = 0.0;
    let found = shares.iter().position(|share| {
        sum += share;
        unit < sum
    });
    found.unwrap_or_else(|| shares.len().saturating_sub(1))
}

/// The share of a standard normal distribution that lies between two places.
fn mass(from: f64, to: f64) -> f64 {
    let below = |at: f64| 0.5 * erfc(-at / std::f64::consts::SQRT_2);
    // Above the middle, the differences of what lies above are the exact ones.
    if from > 0.0 { below(-from) - below(-to) } else { below(to) - below(from) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::space::tests::{axes, spaces};
    use super::super::space::{self};
    use super::*;

    fn float(low: f64, high: f64) -> Axis {
        Axis::Continuous { low, high, log: false }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_point_lies_within_the_space(
            space in spaces(),
            seed in any::<u64>(),
            losses in prop::collection::vec(prop_oneof![Just(f64::NAN), -1e9..1e9_f64, Just(f64::INFINITY)], 1..40),
        ) {
            let axes = axes(&space);
            let mut seen = Vec::new();
            for (number, loss) in (1..).zip(losses) {
                let point = propose(&axes, &seen, &mut Stream::of(seed, number));
                let values = space::values(&space, &point);
                prop_assert!(space::point(&space, &values).is_some(), "{values:?}");
                let outcome = match number % 5 {
                    0 => Outcome::Stopped(i64::from(number), loss),
                    1 if number > 5 => Outcome::Running,
                    _ => Outcome::Ended(loss),
                };
                seen.push(Seen { point, outcome });
            }
        }
    }

    #[test]
    fn the_best_are_those_that_ended_well_then_those_that_came_furthest() {
        let point = |at: f64| vec![at];
        let outcomes = [
            Outcome::Stopped(9, 0.9),
            Outcome::Ended(0.5),
            Outcome::Running,
            Outcome::Ended(f64::NAN),
            Outcome::Stopped(9, 0.1),
            Outcome::Ended(0.4),
        ];
        let seen: Vec<Seen> =
            (0..).zip(outcomes).map(|(at, outcome)| Seen { point: point(f64::from(at)), outcome }).collect();
        let best = |count: usize| split(&seen, count).0.iter().map(|point| point[0]).collect::<Vec<_>>();
        assert_eq!(best(1), [5.0]);
        assert_eq!(best(2), [1.0, 5.0]);
        assert_eq!(best(4), [1.0, 3.0, 4.0, 5.0]);
        assert_eq!(split(&seen, 4).1, [&point(0.0), &point(2.0)]);
    }

    #[test]
    fn kernels_are_as_wide_as_it_is_far_to_the_neighbours() {
        // By hand, as Optuna 5 computes them: ends 0 and 10, middles 1, 4 and 9, none under 10 / 5.
        let axis = float(0.0, 10.0);
        let kernels = |axis: &Axis, numbers: &[f64]| {
            let normals = normals(axis, numbers.iter().copied());
            normals.iter().map(|normal| (normal.middle, normal.width)).collect::<Vec<_>>()
        };
        assert_eq!(kernels(&axis, &[4.0, 1.0, 9.0]), [(4.0, 5.0), (1.0, 3.0), (9.0, 5.0), (5.0, 10.0)]);
        assert_eq!(kernels(&axis, &[2.0]), [(2.0, 8.0), (5.0, 10.0)]);
        assert!((kernels(&axis, &[5.0, 5.1])[0].1 - 2.5).abs() < 1e-12);
        let stepped = Axis::Stepped { low: 1.0, high: 9.0, step: 2.0, log: false };
        assert_eq!(kernels(&stepped, &[]), [(5.0, 10.0)]);
    }

    #[test]
    fn old_trials_count_less_and_choices_keep_a_chance() {
        assert_eq!(weights(3), [1.0, 1.0, 1.0]);
        let many = weights(28);
        assert_eq!(many.len(), 28);
        assert!((many[0] - 1.0 / 28.0).abs() < 1e-12 && (many[2] - 1.0).abs() < 1e-12);
        let kernels = choices(3, [1.0].into_iter());
        assert!((kernels[0].iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((kernels[0][1] - 1.5 / 2.5).abs() < 1e-12 && (kernels[0][0] - 0.5 / 2.5).abs() < 1e-12);
    }

    #[test]
    fn a_cut_normal_distribution_keeps_within_its_ends_and_its_density_makes_one() {
        let ends = (0.0, 1.0);
        for (middle, width) in [(0.0, 0.01), (1.0, 0.5), (0.3, 10.0)] {
            let normal = Normal::new(ends, middle, width);
            let places: Vec<f64> = (0..=100).map(|at| normal.place(ends, f64::from(at) / 100.0)).collect();
            assert!(places.is_sorted() && places.iter().all(|at| (0.0..=1.0).contains(at)), "{places:?}");
            let steps = 10_000;
            let at = |step: i32| (f64::from(step) + 0.5) / f64::from(steps);
            let sum: f64 = (0..steps).map(|step| normal.log_density(&float(0.0, 1.0), at(step)).exp()).sum();
            assert!((sum / f64::from(steps) - 1.0).abs() < 1e-3, "{middle} {width}: {sum}");
        }
        let axis = Axis::Stepped { low: 1.0, high: 8.0, step: 1.0, log: true };
        let normal = Normal::new(axis.ends(), 1.0, 0.5);
        let sum: f64 = (1..=8).map(|at| normal.log_density(&axis, f64::from(at)).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }

    /// The functions that `bench/sweep/compare.py` gives to Optuna too.
    mod functions {
        use super::*;

        pub struct Function {
            pub name: &'static str,
            pub axes: Vec<Axis>,
            pub loss: fn(&[f64]) -> f64,
            /// What Optuna's TPE and random samplers come to: the median of the best of 60 trials over the
            /// seeds 0 to 19.
            pub optuna: f64,
            pub random: f64,
        }

        pub fn all() -> Vec<Function> {
            let axis = |low, high| Axis::Continuous { low, high, log: false };
            vec![
                Function {
                    name: "sphere",
                    axes: vec![axis(-5.0, 5.0); 4],
                    loss: |x| x.iter().map(|x| (x - 1.0) * (x - 1.0)).sum(),
                    optuna: OPTUNA[0].0,
                    random: OPTUNA[0].1,
                },
                Function {
                    name: "branin",
                    axes: vec![axis(-5.0, 10.0), axis(0.0, 15.0)],
                    loss: |x| {
                        let pi = std::f64::consts::PI;
                        let (a, b) = (x[0], x[1]);
                        let bowl = b - 5.1 / (4.0 * pi * pi) * a * a + 5.0 / pi * a - 6.0;
                        bowl * bowl + 10.0 * (1.0 - 1.0 / (8.0 * pi)) * a.cos() + 10.0
                    },
                    optuna: OPTUNA[1].0,
                    random: OPTUNA[1].1,
                },
                Function {
                    name: "rosenbrock",
                    axes: vec![axis(-2.0, 2.0); 3],
                    loss: |x| {
                        x.windows(2)
                            .map(|pair| {
                                100.0 * (pair[1] - pair[0] * pair[0]).powi(2) + (1.0 - pair[0]).powi(2)
                            })
                            .sum()
                    },
                    optuna: OPTUNA[2].0,
                    random: OPTUNA[2].1,
                },
                Function {
                    name: "mixed",
                    axes: vec![
                        Axis::Continuous { low: 1e-5, high: 1.0, log: true },
                        Axis::Stepped { low: 1.0, high: 16.0, step: 1.0, log: false },
                        Axis::Choice(4),
                        Axis::Stepped { low: 0.0, high: 1.0, step: 0.05, log: false },
                    ],
                    loss: |x| {
                        let rate = (x[0].log10() + 2.0).powi(2);
                        let depth = ((x[1] - 7.0) / 5.0).powi(2);
                        let kind = [0.6, 0.0, 0.9, 0.3][x[2] as usize];
                        rate + depth + kind + (x[3] - 0.35).powi(2) * 2.0
                    },
                    optuna: OPTUNA[3].0,
                    random: OPTUNA[3].1,
                },
            ]
        }

        /// From `bench/sweep/optuna.json`.
        const OPTUNA: [(f64, f64); 4] =
            [(0.28026, 4.08424), (0.49250, 1.06567), (3.00877, 14.27994), (0.05636, 0.37405)];
    }

    const SEEDS: u64 = 20;

    fn median(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        0.5 * (values[middle] + values[(values.len() - 1) / 2])
    }

    fn best_of(
        function: &functions::Function,
        seed: u64,
        next: impl Fn(&[Seen], &mut Stream) -> Point,
    ) -> f64 {
        let mut seen = Vec::new();
        for trial in 1..=60 {
            let point = next(&seen, &mut Stream::of(seed, trial));
            let loss = (function.loss)(&point);
            seen.push(Seen { point, outcome: Outcome::Ended(loss) });
        }
        seen.iter()
            .filter_map(|seen| if let Outcome::Ended(loss) = seen.outcome { Some(loss) } else { None })
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn it_finds_clearly_more_than_chance_and_about_as_much_as_optuna() {
        for function in functions::all() {
            let over = |next: &dyn Fn(&[Seen], &mut Stream) -> Point| {
                median((0..SEEDS).map(|seed| best_of(&function, seed, next)).collect())
            };
            let tpe = over(&|seen, stream| propose(&function.axes, seen, stream));
            let chance = over(&|_, stream| random::propose(&function.axes, stream));
            let said = format!("{}: {tpe:.5}, at random {chance:.5}", function.name);
            assert!(tpe < 0.6 * chance, "{said}");
            // Medians of twenty differ by chance; the same budget has to come to the same kind of value.
            assert!(tpe < 1.6 * function.optuna, "{said}, Optuna {:.5}", function.optuna);
            assert!((0.6..1.6).contains(&(chance / function.random)), "{said}, Optuna's {}", function.random);
        }
    }
}
