//! One search under way: which trials there were, which is next, what came of them. It knows no clock, disk
//! or process, so that it can be tried out a thousand times a second.

use std::collections::{BTreeMap, HashSet, VecDeque};

use rondo_core::sweep::{Sweep, Trial, TrialState};
use rondo_project::project::{Strategy, Sweep as Wanted};
use serde_json::Value;

use super::halving::{Behind, Halving};
use super::seed::Stream;
use super::space::{self, Axis, Point};
use super::tpe::{Outcome, Seen};
use super::{grid, random, tpe};

/// How often a point that was tried before is drawn again before all others are looked through.
const DRAWS: u32 = 100;

/// So many points are looked through; of a larger space there is always one that was not drawn before.
const COUNTED: u64 = 100_000;

/// A search.
pub struct Study {
    /// What there was so far.
    pub record: Sweep,
    strategy: Strategy,
    max_failed: u32,
    axes: Vec<Axis>,
    /// The combinations of a grid that are left, by their places.
    grid: VecDeque<u64>,
    /// The trials of an earlier sweep that are gone through first.
    again: VecDeque<(u32, BTreeMap<String, Value>)>,
    tried: HashSet<Vec<u64>>,
    next: u32,
    halving: Option<Halving>,
}

impl Study {
    /// A search that has not begun.
    pub fn new(wanted: &Wanted) -> Self {
        let space = space::dimensions(wanted);
        let axes: Vec<Axis> = space.iter().map(|dimension| Axis::of(&dimension.domain)).collect();
        let seed = wanted.seed.unwrap_or(0);
        let most = wanted.trials.unwrap_or(u32::MAX);
        let (grid, limit) = match wanted.strategy {
            Strategy::Grid => {
                let order = grid::order(&axes, most, seed);
                let count = u32::try_from(order.len()).unwrap_or(u32::MAX);
                (order.into(), count)
            }
            Strategy::Random | Strategy::Tpe => (VecDeque::new(), most),
        };
        let record = Sweep {
            strategy: strategy(wanted.strategy).to_owned(),
            metric: wanted.metric.clone(),
            maximize: wanted.maximize,
            seed,
            limit,
            pruning: wanted.prune.map(|rule| {
                format!("successive halving from step {}, one of {} goes on", rule.min_steps, rule.factor)
            }),
            space,
            ..Sweep::default()
        };
        Self {
            record,
            strategy: wanted.strategy,
            max_failed: wanted.max_failed,
            axes,
            grid,
            again: VecDeque::new(),
            tried: HashSet::new(),
            next: 1,
            halving: wanted.prune.map(|rule| Halving::new(rule, wanted.maximize)),
        }
    }

    /// Takes over the trials of an earlier sweep. What was stopped stays so; all others are gone through
    /// again with their numbers and values, where what ended well is found in the cache.
    pub fn adopt(&mut self, trials: &[Trial]) {
        let limit = self.record.limit;
        for trial in trials.iter().filter(|trial| trial.number <= limit) {
            let Some(point) = space::point(&self.record.space, &trial.values) else { continue };
            if !self.tried.insert(space::mark(&point)) {
                continue;
            }
            self.next = self.next.max(trial.number.saturating_add(1));
            if trial.state == TrialState::Pruned {
                self.record.put(Trial { seconds: 0.0, ..trial.clone() });
            } else {
                self.again.push_back((trial.number, trial.values.clone()));
            }
        }
    }

    /// Goes through these trials again, with their numbers and values, and through no others: what another
    /// search found out is not found out again.
    pub fn repeat(&mut self, trials: &[Trial]) {
        self.again = trials.iter().map(|trial| (trial.number, trial.values.clone())).collect();
        self.record.limit = u32::try_from(trials.len()).unwrap_or(u32::MAX);
        self.record.pruning = None;
        (self.next, self.halving) = (u32::MAX, None);
    }

    /// How many trials are gone through again.
    pub fn waiting(&self) -> usize {
        self.again.len()
    }

    /// The next trial, which is under way from now on; nothing where there is none.
    pub fn start(&mut self) -> Option<Trial> {
        if self.has_failed() {
            return None;
        }
        let (number, values) = match self.again.pop_front() {
            Some(again) => again,
            None => self.new_trial()?,
        };
        let (state, value, step, run, key, cause) = (TrialState::Running, None, None, None, None, None);
        let trial = Trial { number, values, state, value, step, run, key, cause, seconds: 0.0 };
        self.record.put(trial.clone());
        Some(trial)
    }

    /// Whether there may be a next trial.
    pub fn may_start(&self) -> bool {
        let more = self.next <= self.record.limit && self.record.early.is_none();
        !self.has_failed() && (more || !self.again.is_empty())
    }

    fn new_trial(&mut self) -> Option<(u32, BTreeMap<String, Value>)> {
        if self.next > self.record.limit || self.record.early.is_some() {
            return None;
        }
        let number = self.next;
        let Some(point) = self.propose(number) else {
            let count = self.tried.len();
            self.record.early = Some(format!("all {count} combinations were tried"));
            return None;
        };
        self.next = number.saturating_add(1);
        self.tried.insert(space::mark(&point));
        Some((number, space::values(&self.record.space, &point)))
    }

    /// A point that was not tried before.
    fn propose(&mut self, number: u32) -> Option<Point> {
        let all = space::count(&self.axes).filter(|count| *count <= COUNTED);
        if all.is_some_and(|all| self.tried.len() as u64 >= all) {
            return None;
        }
        let mut stream = Stream::of(self.record.seed, number);
        match self.strategy {
            Strategy::Grid => {
                // What a trial of an earlier sweep has taken is passed over.
                while let Some(place) = self.grid.pop_front() {
                    let point = space::at(&self.axes, place);
                    if self.is_new(&point) {
                        return Some(point);
                    }
                }
                return None;
            }
            Strategy::Random => {
                if let Some(point) = self.unseen(|stream| random::propose(&self.axes, stream), &mut stream) {
                    return Some(point);
                }
            }
            Strategy::Tpe => {
                let seen = self.seen();
                let next = |stream: &mut Stream| tpe::propose(&self.axes, &seen, stream);
                if let Some(point) = self.unseen(next, &mut stream) {
                    return Some(point);
                }
            }
        }
        let Some(all) = all else {
            // Nowhere near what it likes is anything new.
            return self.unseen(|stream| random::propose(&self.axes, stream), &mut stream);
        };
        let left: Vec<u64> = (0..all).filter(|place| self.is_new(&space::at(&self.axes, *place))).collect();
        let chosen = usize::try_from(stream.below(left.len() as u64)).ok()?;
        left.get(chosen).map(|place| space::at(&self.axes, *place))
    }

    fn unseen(&self, next: impl Fn(&mut Stream) -> Point, stream: &mut Stream) -> Option<Point> {
        (0..DRAWS).map(|_| next(stream)).find(|point| self.is_new(point))
    }

    fn is_new(&self, point: &[f64]) -> bool {
        // Through the values and back, as the trials of an earlier sweep came.
        let values = space::values(&self.record.space, point);
        let point = space::point(&self.record.space, &values).unwrap_or_else(|| point.to_vec());
        !self.tried.contains(&space::mark(&point))
    }

    /// What is known of the trials, where less is better.
    fn seen(&self) -> Vec<Seen> {
        let loss = |value: f64| if self.record.maximize { -value } else { value };
        let seen = |trial: &Trial| {
            let point = space::point(&self.record.space, &trial.values)?;
            let outcome = match (trial.state, trial.value) {
                (TrialState::Running, _) => Outcome::Running,
                (TrialState::Finished | TrialState::Cached, Some(value)) => Outcome::Ended(loss(value)),
                (TrialState::Pruned, Some(value)) => Outcome::Stopped(trial.step.unwrap_or(0), loss(value)),
                (TrialState::Finished | TrialState::Cached | TrialState::Pruned, None)
                | (TrialState::Failed | TrialState::Killed, _) => return None,
            };
            Some(Seen { point, outcome })
        };
        self.record.trials.iter().filter_map(seen).collect()
    }

    /// Takes what came of a trial.
    pub fn end(&mut self, trial: Trial) {
        self.record.put(trial);
    }

    /// Whether more trials have failed than may.
    pub fn has_failed(&self) -> bool {
        self.record.count(TrialState::Failed) > usize::try_from(self.max_failed).unwrap_or(usize::MAX)
    }

    /// How many trials may fail.
    pub const fn max_failed(&self) -> u32 {
        self.max_failed
    }

    /// Whether trials that fall behind are stopped.
    pub const fn prunes(&self) -> bool {
        self.halving.is_some()
    }

    /// The step that a trial has to reach to be judged next.
    pub fn rung(&self, trial: u32) -> Option<u64> {
        self.halving.as_ref()?.next(trial)
    }

    /// Whether a trial that has reported that is behind.
    pub fn judge(&mut self, trial: u32, reported: &[(i64, f64)]) -> Option<Behind> {
        self.halving.as_mut()?.judge(trial, reported)
    }

    /// Lets others be judged by what a trial has reported that is over.
    pub fn measure(&mut self, trial: u32, reported: &[(i64, f64)]) {
        if let Some(halving) = &mut self.halving {
            halving.take(trial, reported);
        }
    }
}

/// A strategy's word.
pub const fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Grid => "grid",
        Strategy::Random => "random",
        Strategy::Tpe => "tpe",
    }
}

#[cfg(test)]
mod tests {
    use rondo_project::ordered::Ordered;
    use rondo_project::project::Range;
    use serde_json::json;

    use super::*;

    fn wanted(strategy: Strategy, trials: Option<u32>, over: &[(&str, Range)]) -> Wanted {
        let over: Ordered<Range> =
            over.iter().map(|(name, range)| ((*name).to_owned(), range.clone())).collect();
        let (seed, prune) = (Some(3), None);
        Wanted {
            strategy,
            trials,
            over,
            metric: "m".into(),
            maximize: false,
            seed,
            prune,
            max_failed: 1,
            own: Vec::new(),
        }
    }

    fn int(low: i64, high: i64) -> Range {
        Range::Int { low, high, step: 1, log: false }
    }

    /// Runs a study to its end, one trial after the other; the number of trials that may run before it is
    /// killed.
    fn through(study: &mut Study, most: usize) -> Vec<BTreeMap<String, Value>> {
        let mut all = Vec::new();
        while all.len() < most {
            let Some(trial) = study.start() else { break };
            all.push(trial.values.clone());
            let value = trial.values["x"].as_f64().map(|x| (x - 3.2).powi(2));
            study.end(Trial { state: TrialState::Finished, value, ..trial });
        }
        all
    }

    #[test]
    fn a_space_that_is_exhausted_ends_the_search_early() {
        for strategy in [Strategy::Random, Strategy::Tpe] {
            let over = [("x", int(1, 7)), ("kind", Range::Choice(vec![json!("a"), json!("b"), json!("a")]))];
            let mut study = Study::new(&wanted(strategy, Some(100), &over));
            let all = through(&mut study, usize::MAX);
            assert_eq!(all.len(), 14);
            let distinct: HashSet<String> = all.iter().map(|values| json!(values).to_string()).collect();
            assert_eq!(distinct.len(), 14);
            assert_eq!(study.record.early.as_deref(), Some("all 14 combinations were tried"));
            assert!(!study.may_start());
        }
    }

    #[test]
    fn a_search_that_was_killed_goes_on_with_the_trials_that_it_would_have_made() {
        for strategy in [Strategy::Grid, Strategy::Random, Strategy::Tpe] {
            let over = [("x", int(1, 1000)), ("y", int(0, 3))];
            let wanted = wanted(strategy, Some(30), &over);
            let whole = through(&mut Study::new(&wanted), usize::MAX);
            let mut killed = Study::new(&wanted);
            through(&mut killed, 17);
            // One more was under way.
            killed.start().unwrap();
            let mut again = Study::new(&wanted);
            again.adopt(&killed.record.trials);
            assert_eq!(again.waiting(), 18);
            assert_eq!(through(&mut again, usize::MAX), whole, "{strategy:?}");
            // With more trials it goes on where it ended.
            let mut more = Study::new(&Wanted { trials: Some(33), ..wanted });
            more.adopt(&again.record.trials);
            let all = through(&mut more, usize::MAX);
            assert_eq!((all.len(), more.record.trials.len()), (33, 33));
            if strategy != Strategy::Grid {
                assert_eq!(all[..30], whole);
            }
        }
    }

    #[test]
    fn what_was_stopped_is_not_tried_again_and_what_lies_outside_is_forgotten() {
        let mut study = Study::new(&wanted(Strategy::Random, Some(5), &[("x", int(1, 100))]));
        let stopped = study.start().unwrap();
        let mut old = Study::new(&wanted(Strategy::Random, Some(5), &[("x", int(1, 100))]));
        let outside = Trial { number: 2, values: [("x".to_owned(), json!(101))].into(), ..stopped.clone() };
        let stopped = Trial { state: TrialState::Pruned, value: Some(1.0), step: Some(4), ..stopped };
        old.adopt(&[stopped.clone(), outside]);
        let rest = through(&mut old, usize::MAX);
        assert_eq!(rest.len(), 4);
        assert!(rest.iter().all(|values| *values != stopped.values));
        assert_eq!(old.record.count(TrialState::Pruned), 1);
        assert_eq!(old.record.trials.iter().map(|trial| trial.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_grid_of_which_a_part_was_tried_is_completed() {
        let over = [("x", int(1, 9))];
        let mut part = Study::new(&wanted(Strategy::Grid, Some(4), &over));
        through(&mut part, usize::MAX);
        let mut whole = Study::new(&wanted(Strategy::Grid, None, &over));
        whole.adopt(&part.record.trials);
        let all = through(&mut whole, usize::MAX);
        let distinct: HashSet<String> = all.iter().map(|values| json!(values).to_string()).collect();
        assert_eq!((all.len(), distinct.len(), whole.record.early), (9, 9, None));
    }

    #[test]
    fn too_many_failures_end_it() {
        let mut study = Study::new(&wanted(Strategy::Grid, None, &[("x", int(1, 9))]));
        for _ in 0..2 {
            assert!(study.may_start());
            let trial = study.start().unwrap();
            study.end(Trial { state: TrialState::Failed, ..trial });
        }
        assert!(study.has_failed() && !study.may_start() && study.start().is_none());
    }
}
