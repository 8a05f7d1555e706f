//! The record of a sweep: what was searched, and what came of each trial.
//!
//! It stands on the row of the sweep's own run and grows while trials end. How the next trial is chosen is
//! the pipeline's; how a sweep is drawn is the application's; both speak of it in these words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Digest, RunId};

/// A search over parameters, as far as it has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// How the next trial is chosen: `grid`, `random`, `tpe`.
    pub strategy: String,
    /// The metric that decides.
    pub metric: String,
    /// Whether more of it is better.
    pub maximize: bool,
    /// The seed of the choices.
    pub seed: u64,
    /// How many trials there may be.
    pub limit: u32,
    /// How trials that fall behind are stopped, in words; none are where absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pruning: Option<String>,
    /// What is searched, in the order of the file.
    pub space: Vec<Dimension>,
    /// The digest of all that the trials' results depend on but their number: sweeps that share it go on
    /// where the one before stopped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub study: Option<Digest>,
    /// The trials by number.
    pub trials: Vec<Trial>,
    /// The number of the best of those that ended well.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub best: Option<u32>,
    /// Why it ended before its last trial, where it did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub early: Option<String>,
}

/// One parameter that is searched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dimension {
    /// The parameter.
    pub name: String,
    /// The values it may take.
    #[serde(flatten)]
    pub domain: Domain,
}

/// The values that a searched parameter may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Domain {
    /// Whole numbers, both ends included.
    Int {
        /// The least.
        low: i64,
        /// The greatest.
        high: i64,
        /// From one to the next.
        step: i64,
        /// Whether it is searched on a logarithmic scale.
        log: bool,
    },
    /// Real numbers, both ends included.
    Float {
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
        /// From one to the next; absent: all between.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        step: Option<f64>,
        /// Whether it is searched on a logarithmic scale.
        log: bool,
    },
    /// One of these.
    Choice {
        /// The values.
        values: Vec<Value>,
    },
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Which one it is, from 1.
    pub number: u32,
    /// The values that it was given, by parameter.
    pub values: BTreeMap<String, Value>,
    /// Where it is.
    pub state: TrialState,
    /// The metric, as it was last reported.
    #[serde(skip_serializing_if = "Option::is_none", default, with = "crate::number::optional")]
    pub value: Option<f64>,
    /// The step at which that was reported.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub step: Option<i64>,
    /// The run that made it, now or earlier; of a failed one its last try.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<RunId>,
    /// Its key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<Digest>,
    /// Why it was stopped or has failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
    /// Wall-clock seconds that it took in this sweep.
    #[serde(default)]
    pub seconds: f64,
}

/// Where a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrialState {
    /// Under way.
    Running,
    /// It was executed and ended well.
    Finished,
    /// An earlier run stands for it.
    Cached,
    /// It fell behind and was stopped.
    Pruned,
    /// It failed, at every try.
    Failed,
    /// It was under way when its sweep was stopped; a sweep that goes on there tries it again.
    Killed,
}

impl TrialState {
    /// The word in records and messages.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Cached => "cached",
            Self::Pruned => "pruned",
            Self::Failed => "failed",
            Self::Killed => "killed",
        }
    }

    /// Whether it came to its end and has outputs.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Finished | Self::Cached)
    }
}

impl Sweep {
    /// The trial of that number.
    pub fn trial(&self, number: u32) -> Option<&Trial> {
        self.trials
            .binary_search_by_key(&number, |trial| trial.number)
            .ok()
            .and_then(|at| self.trials.get(at))
    }

    /// Puts a trial in its place; one of the same number goes.
    pub fn put(&mut self, trial: Trial) {
        match self.trials.binary_search_by_key(&trial.number, |known| known.number) {
            Ok(at) => {
                if let Some(known) = self.trials.get_mut(at) {
                    *known = trial;
                }
            }
            Err(at) => self.trials.insert(at, trial),
        }
        self.best = self.best_now();
    }

    /// Says of the trials that are under way that they go on no more: the sweep has ended.
    pub fn close(&mut self) {
        for trial in self.trials.iter_mut().filter(|trial| trial.state == TrialState::Running) {
            trial.state = TrialState::Killed;
        }
    }

    /// Whether a value is better than another.
    pub fn is_better(&self, value: f64, than: f64) -> bool {
        if self.maximize { value > than } else { value < than }
    }

    /// The best trial of those that ended well; of equal ones the first.
    pub fn best(&self) -> Option<&Trial> {
        self.best.and_then(|number| self.trial(number))
    }

    fn best_now(&self) -> Option<u32> {
        let mut best: Option<(u32, f64)> = None;
        for trial in self.trials.iter().filter(|trial| trial.state.is_good()) {
            let Some(value) = trial.value.filter(|value| !value.is_nan()) else { continue };
            if best.is_none_or(|(_, known)| self.is_better(value, known)) {
                best = Some((trial.number, value));
            }
        }
        best.map(|(number, _)| number)
    }

    /// How many trials came to that.
    pub fn count(&self, state: TrialState) -> usize {
        self.trials.iter().filter(|trial| trial.state == state).count()
    }

    /// The trials with the best first; those that did not come to their end after those that did.
    pub fn ranked(&self) -> Vec<&Trial> {
        let order = |trial: &Trial| match trial.state {
            TrialState::Finished | TrialState::Cached => 0,
            TrialState::Running => 1,
            TrialState::Pruned => 2,
            TrialState::Failed => 3,
            TrialState::Killed => 4,
        };
        let loss = |trial: &Trial| {
            let value = trial.value.unwrap_or(f64::NAN);
            if self.maximize { -value } else { value }
        };
        let mut ranked: Vec<&Trial> = self.trials.iter().collect();
        ranked.sort_by(|a, b| {
            let further = b.step.cmp(&a.step);
            let further = if a.state == TrialState::Pruned { further } else { std::cmp::Ordering::Equal };
            order(a).cmp(&order(b)).then(further).then(total(loss(a), loss(b))).then(a.number.cmp(&b.number))
        });
        ranked
    }
}

/// Numbers in order, with what is no number last whatever its sign.
fn total(a: f64, b: f64) -> std::cmp::Ordering {
    a.is_nan().cmp(&b.is_nan()).then(a.total_cmp(&b))
}

impl Domain {
    /// Whether a value is one of those that it holds.
    pub fn holds(&self, value: &Value) -> bool {
        let on = |value: f64, low: f64, step: f64| {
            let steps = (value - low) / step;
            (steps - steps.round()).abs() < 1e-6
        };
        match self {
            Self::Int { low, high, step, .. } => value.as_i64().is_some_and(|value| {
                (low..=high).contains(&&value) && (value - low).checked_rem(*step) == Some(0)
            }),
            Self::Float { low, high, step, .. } => value.as_f64().is_some_and(|value| {
                // Steps of a tenth do not add up to the last digit.
                let little = step.map_or(0.0, |step| step * 1e-6);
                (low - little..=high + little).contains(&value)
                    && step.is_none_or(|step| on(value, *low, step))
            }),
            Self::Choice { values } => values.contains(value),
        }
    }

    /// How many values there are, where they can be counted.
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Int { low, high, step, .. } => {
                let steps = high.checked_sub(*low)?.checked_div(*step)?;
                u64::try_from(steps).ok()?.checked_add(1)
            }
            Self::Float { low, high, .. } if low == high => Some(1),
            Self::Float { step: None, .. } => None,
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a float's cast saturates
            Self::Float { low, high, step: Some(step), .. } => {
                Some((((high - low) / step + 1e-9).floor().max(0.0) as u64).saturating_add(1))
            }
            Self::Choice { values } => Some(values.len() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn trial(number: u32, state: TrialState, value: Option<f64>) -> Trial {
        let (run, key, cause, step) = (None, None, None, None);
        Trial { number, values: BTreeMap::new(), state, value, step, run, key, cause, seconds: 0.0 }
    }

    #[test]
    fn the_best_is_the_first_of_those_that_ended_well() {
        let mut sweep = Sweep { maximize: true, ..Sweep::default() };
        for (number, state, value) in [
            (3, TrialState::Cached, Some(0.8)),
            (1, TrialState::Finished, Some(0.7)),
            (2, TrialState::Pruned, Some(0.9)),
            (5, TrialState::Finished, Some(f64::NAN)),
            (4, TrialState::Finished, Some(0.8)),
            (6, TrialState::Failed, None),
        ] {
            sweep.put(trial(number, state, value));
        }
        assert_eq!(sweep.best, Some(3));
        let ranked: Vec<u32> = sweep.ranked().iter().map(|trial| trial.number).collect();
        assert_eq!(ranked, [3, 4, 1, 5, 2, 6]);
        sweep.put(trial(7, TrialState::Running, None));
        sweep.close();
        assert_eq!((sweep.count(TrialState::Running), sweep.count(TrialState::Killed)), (0, 1));
        assert_eq!(sweep.count(TrialState::Finished), 3);
        sweep.maximize = false;
        sweep.put(trial(4, TrialState::Finished, Some(0.1)));
        assert_eq!((sweep.best, sweep.trials.len()), (Some(4), 7));
    }

    #[test]
    fn domains_count_and_hold_their_values() {
        let int = Domain::Int { low: 2, high: 9, step: 3, log: false };
        assert_eq!(int.count(), Some(3));
        assert!(int.holds(&json!(8)) && !int.holds(&json!(9)) && !int.holds(&json!("8")));
        let float = Domain::Float { low: 0.0, high: 1.0, step: Some(0.1), log: false };
        assert_eq!(float.count(), Some(11));
        assert!(float.holds(&json!(0.3)) && !float.holds(&json!(0.35)) && !float.holds(&json!(1.1)));
        assert_eq!(Domain::Float { low: 0.1, high: 1.0, step: None, log: true }.count(), None);
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        let mut sweep = Sweep { strategy: "tpe".into(), metric: "auc".into(), ..Sweep::default() };
        let domain = Domain::Float { low: 0.1, high: 1.0, step: None, log: true };
        sweep.space.push(Dimension { name: "rate".into(), domain });
        sweep.put(trial(1, TrialState::Finished, Some(0.5)));
        let text = serde_json::to_string(&sweep).unwrap();
        assert!(text.contains(r#""name":"rate","kind":"float""#), "{text}");
        assert_eq!(serde_json::from_str::<Sweep>(&text).unwrap(), sweep);
    }
}
