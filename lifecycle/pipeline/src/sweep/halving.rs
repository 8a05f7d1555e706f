//! Successive halving: a trial that is behind at a rung is stopped.
//!
//! The asynchronous form (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning"), in the
//! way of Optuna's pruner: a process cannot be laid aside and taken up again, so a trial is judged when it
//! reaches a rung, against all that have reached it so far, and goes on or is stopped. The rungs are at
//! `min_steps`, `min_steps · factor`, `min_steps · factor²` and so on; one of `factor` goes on; the first
//! `factor - 1` that come need only be the best so far.

use std::collections::BTreeMap;

use rondo_project::project::Prune;

/// What came at the rungs so far.
#[derive(Debug, Clone)]
pub struct Halving {
    rule: Prune,
    maximize: bool,
    /// At each rung the value of each trial that has reached it.
    rungs: Vec<BTreeMap<u32, f64>>,
}

/// Why a trial is to be stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct Behind {
    /// The rung's step.
    pub step: u64,
    /// What the trial had there.
    pub value: f64,
    /// What it needed to go on.
    pub needed: f64,
    /// How many had reached the rung, itself among them.
    pub of: usize,
}

impl Halving {
    /// Nothing has come yet.
    pub const fn new(rule: Prune, maximize: bool) -> Self {
        Self { rule, maximize, rungs: Vec::new() }
    }

    /// The step of a rung; nothing where that is beyond all numbers.
    pub fn step(&self, rung: usize) -> Option<u64> {
        let power = u64::from(self.rule.factor).checked_pow(u32::try_from(rung).ok()?)?;
        u64::from(self.rule.min_steps).checked_mul(power)
    }

    /// The step that a trial has to reach to be judged next.
    pub fn next(&self, trial: u32) -> Option<u64> {
        self.step(self.passed(trial))
    }

    fn passed(&self, trial: u32) -> usize {
        self.rungs.iter().take_while(|rung| rung.contains_key(&trial)).count()
    }

    /// Takes what a trial has reported so far, as (step, value), and says whether it is behind at a rung
    /// that it has reached meanwhile.
    pub fn judge(&mut self, trial: u32, reported: &[(i64, f64)]) -> Option<Behind> {
        let mut by_step: Vec<(i64, f64)> = reported.to_vec();
        // Of many at one step the last counts: the sorting keeps their order.
        by_step.sort_by_key(|(step, _)| *step);
        for rung in self.passed(trial).. {
            let step = self.step(rung)?;
            let reached = by_step.iter().position(|(at, _)| u64::try_from(*at).is_ok_and(|at| at >= step))?;
            let at = by_step.get(reached).map(|(at, _)| *at);
            let same = by_step.iter().skip(reached).take_while(|(own, _)| Some(*own) == at);
            let value = same.last().map(|(_, value)| *value)?;
            if self.rungs.len() <= rung {
                self.rungs.resize_with(rung + 1, BTreeMap::new);
            }
            let others = self.rungs.get_mut(rung)?;
            others.insert(trial, value);
            let (needed, of) = needed(others.values().copied(), self.rule.factor, self.maximize);
            let ahead = if self.maximize { value >= needed } else { value <= needed };
            if !ahead {
                return Some(Behind { step, value, needed, of });
            }
        }
        None
    }

    /// Takes what a trial has reported that is over: it is not judged, but others are judged by it.
    pub fn take(&mut self, trial: u32, reported: &[(i64, f64)]) {
        // Each judgement enters one rung at least, or none is left to enter.
        while self.judge(trial, reported).is_some() {}
    }
}

/// The value that one of so many has to have, and how many there are. What is no number is behind all.
fn needed(values: impl Iterator<Item = f64>, factor: u32, maximize: bool) -> (f64, usize) {
    let sign = if maximize { -1.0 } else { 1.0 };
    let mut losses: Vec<f64> = values.map(|value| value * sign).collect();
    losses.sort_by(|a, b| a.is_nan().cmp(&b.is_nan()).then(a.total_cmp(b)));
    let of = losses.len();
    let last = (of / usize::try_from(factor).unwrap_or(usize::MAX)).saturating_sub(1);
    (losses.get(last).copied().unwrap_or(f64::NAN) * sign, of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halving(min_steps: u32, factor: u32, maximize: bool) -> Halving {
        Halving::new(Prune { min_steps, factor }, maximize)
    }

    #[test]
    fn a_worked_example_by_hand() {
        // Rungs at 1, 3 and 9; one of three goes on. Errors, so less is better.
        let mut halving = halving(1, 3, false);
        assert_eq!((halving.step(0), halving.step(2)), (Some(1), Some(9)));
        // The first to come is the best so far, and goes on.
        assert_eq!(halving.judge(1, &[(1, 0.50)]), None);
        // The second is worse than the best of two.
        let behind = Behind { step: 1, value: 0.60, needed: 0.50, of: 2 };
        assert_eq!(halving.judge(2, &[(1, 0.60)]), Some(behind));
        // The third is the best of three; with three, one may go on.
        assert_eq!(halving.judge(3, &[(1, 0.40)]), None);
        // Of four and five still one, of six two.
        assert!(halving.judge(4, &[(1, 0.45)]).is_some());
        assert!(halving.judge(5, &[(1, 0.55)]).is_some());
        assert_eq!(halving.judge(6, &[(1, 0.42)]), None);
        // At the second rung only those that came there count.
        assert_eq!(halving.judge(1, &[(1, 0.50), (2, 0.45), (3, 0.30)]), None);
        let behind = Behind { step: 3, value: 0.31, needed: 0.30, of: 2 };
        assert_eq!(halving.judge(3, &[(1, 0.40), (3, 0.31), (4, 0.1)]), Some(behind));
        assert_eq!(halving.judge(6, &[(1, 0.42), (3, 0.29)]), None);
        assert_eq!((halving.next(1), halving.next(3), halving.next(7)), (Some(9), Some(9), Some(1)));
    }

    #[test]
    fn more_is_better_where_it_is_so_and_ties_go_on() {
        let mut halving = halving(2, 2, true);
        assert_eq!(halving.judge(1, &[(0, 0.9), (1, 0.9)]), None);
        assert_eq!(halving.next(1), Some(2));
        assert_eq!(halving.judge(1, &[(2, 0.7)]), None);
        assert_eq!(halving.judge(2, &[(2, 0.7)]), None);
        assert!(halving.judge(3, &[(2, 0.6)]).is_some());
    }

    #[test]
    fn steps_that_were_left_out_and_numbers_that_are_none() {
        let mut halving = halving(1, 2, false);
        // It reports every fifth step: the first at or after each rung counts, and the last of that step.
        assert_eq!(halving.judge(1, &[(5, 0.5), (5, 0.4), (10, 0.3)]), None);
        assert_eq!(halving.next(1), Some(16));
        let behind = halving.judge(2, &[(5, f64::NAN)]).unwrap();
        assert!(behind.value.is_nan() && (behind.needed - 0.4).abs() < 1e-12);
        // Steps before the first, and none at all.
        assert_eq!(halving.judge(3, &[(-1, 9.0), (0, 9.0)]), None);
        assert_eq!(halving.judge(4, &[]), None);
    }

    #[test]
    fn what_is_over_is_not_judged_but_others_are_by_it() {
        let mut halving = halving(1, 2, false);
        halving.take(1, &[(1, 0.1), (2, 0.9), (4, 0.9)]);
        halving.take(2, &[(1, 0.9), (2, 0.2), (4, 0.1)]);
        assert_eq!(halving.next(2), Some(8));
        assert!(halving.judge(3, &[(1, 0.2)]).is_some());
        assert_eq!(halving.judge(4, &[(1, 0.1)]), None);
        halving.take(5, &[(i64::MAX, 1.0)]);
        assert_eq!(halving.next(5), Some(1 << 63));
    }
}
