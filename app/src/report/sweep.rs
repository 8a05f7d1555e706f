//! A sweep for people and pages: its parameters as axes, its trials as lines, and which of them was best.
//!
//! [`View`] is what `/api/v1` answers and what is drawn ([`page`]); [`text`] is the table of a terminal.

pub mod page;

use std::collections::BTreeMap;

use rondo_core::run::RunState;
use rondo_core::sweep::{Dimension, Domain, Sweep, Trial, TrialState};
use rondo_core::{RunId, number};
use rondo_pipeline::sweep::trial::brief;
use serde::Serialize;
use serde_json::Value;

use crate::cli::output::table;

/// In the order in which they are told.
const STATES: [TrialState; 6] = [
    TrialState::Finished,
    TrialState::Cached,
    TrialState::Pruned,
    TrialState::Failed,
    TrialState::Killed,
    TrialState::Running,
];

/// Where a sweep is.
#[derive(Debug, Clone, Serialize)]
pub struct View {
    /// The sweep's run.
    pub run: RunId,
    /// The step that was swept.
    pub step: String,
    /// Where its run is.
    pub state: RunState,
    /// How the next trial was chosen.
    pub strategy: String,
    /// The metric that decided.
    pub metric: String,
    /// `maximize` or `minimize`.
    pub goal: &'static str,
    /// The seed of the choices.
    pub seed: u64,
    /// How many trials there may be.
    pub limit: u32,
    /// How trials that fell behind were stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruning: Option<String>,
    /// Why it ended before its last trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early: Option<String>,
    /// The number of the best trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<u32>,
    /// How many trials came to what.
    pub counts: BTreeMap<&'static str, usize>,
    /// The parameters in the order of the file, and last the metric.
    pub dimensions: Vec<Axis>,
    /// The trials by number.
    pub trials: Vec<Line>,
}

/// One axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Axis {
    /// The parameter or metric.
    pub name: String,
    /// `int`, `float`, `choice` or `metric`.
    pub kind: &'static str,
    /// `linear`, `log` or `category`.
    pub scale: &'static str,
    /// The least and the greatest, where they are numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// From one to the next, where not all between are searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
    /// The choices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<Value>>,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Its number.
    pub number: u32,
    /// What came of it.
    pub state: TrialState,
    /// What it tried.
    pub values: BTreeMap<String, Value>,
    /// The metric.
    #[serde(serialize_with = "number::optional::serialize")]
    pub value: Option<f64>,
    /// The best value of all trials up to it that ended well.
    pub best: Option<f64>,
    /// The step at which the metric was last reported.
    pub step: Option<i64>,
    /// Where it lies on each axis, from 0 to 1; nothing where it has no value there.
    pub positions: Vec<Option<f64>>,
    /// The run that made it.
    pub run: Option<RunId>,
    /// Why it was stopped or has failed.
    pub cause: Option<String>,
    /// Seconds that it took in this sweep.
    pub seconds: f64,
}

impl View {
    /// The view of a sweep that is on the row of this run.
    pub fn new(run: RunId, step: &str, state: RunState, sweep: &Sweep) -> Self {
        let mut dimensions: Vec<Axis> = sweep.space.iter().map(axis).collect();
        dimensions.push(metric(sweep));
        let mut best: Option<f64> = None;
        let mut trials = Vec::with_capacity(sweep.trials.len());
        for trial in &sweep.trials {
            let good = trial.value.filter(|value| trial.state.is_good() && value.is_finite());
            if let Some(value) = good.filter(|value| best.is_none_or(|best| sweep.is_better(*value, best))) {
                best = Some(value);
            }
            trials.push(line(trial, &dimensions, best));
        }
        let counts = STATES.map(|state| (state.text(), sweep.count(state)));
        Self {
            run,
            step: step.to_owned(),
            state,
            strategy: sweep.strategy.clone(),
            metric: sweep.metric.clone(),
            goal: if sweep.maximize { "maximize" } else { "minimize" },
            seed: sweep.seed,
            limit: sweep.limit,
            pruning: sweep.pruning.clone(),
            early: sweep.early.clone(),
            best: sweep.best,
            counts: counts.into_iter().filter(|(_, count)| *count > 0).collect(),
            dimensions,
            trials,
        }
    }

    /// What came of the trials, as `12 finished, 3 pruned`.
    pub fn counted(&self) -> String {
        let of = |state: TrialState| Some(format!("{} {}", self.counts.get(state.text())?, state.text()));
        STATES.into_iter().filter_map(of).collect::<Vec<_>>().join(", ")
    }
}

fn axis(dimension: &Dimension) -> Axis {
    let scale = |log: &bool| if *log { "log" } else { "linear" };
    let (kind, scale, range, step, values) = match &dimension.domain {
        Domain::Int { low, high, step, log } => {
            ("int", scale(log), Some([*low as f64, *high as f64]), Some(*step as f64), None)
        }
        Domain::Float { low, high, step, log } => ("float", scale(log), Some([*low, *high]), *step, None),
        Domain::Choice { values } => ("choice", "category", None, None, Some(values.clone())),
    };
    Axis { name: dimension.name.clone(), kind, scale, range, step, values }
}

fn metric(sweep: &Sweep) -> Axis {
    let values = sweep.trials.iter().filter_map(|trial| trial.value).filter(|value| value.is_finite());
    let range = values.fold(None, |range: Option<[f64; 2]>, value| {
        Some(range.map_or([value, value], |[low, high]| [low.min(value), high.max(value)]))
    });
    let name = sweep.metric.clone();
    Axis { name, kind: "metric", scale: "linear", range, step: None, values: None }
}

fn line(trial: &Trial, axes: &[Axis], best: Option<f64>) -> Line {
    let at = |axis: &Axis| {
        if axis.kind == "metric" {
            return axis.place(&Value::from(trial.value?));
        }
        axis.place(trial.values.get(&axis.name)?)
    };
    Line {
        number: trial.number,
        state: trial.state,
        values: trial.values.clone(),
        value: trial.value,
        best,
        step: trial.step,
        positions: axes.iter().map(at).collect(),
        run: trial.run,
        cause: trial.cause.clone(),
        seconds: trial.seconds,
    }
}

impl Axis {
    /// Where a value lies, from 0 to 1.
    pub fn place(&self, value: &Value) -> Option<f64> {
        if let Some(values) = &self.values {
            let at = values.iter().position(|known| known == value)?;
            return Some(if values.len() < 2 { 0.5 } else { at as f64 / (values.len() - 1) as f64 });
        }
        let [low, high] = self.range?;
        let scaled = |number: f64| if self.scale == "log" { number.ln() } else { number };
        let part = (scaled(value.as_f64()?) - scaled(low)) / (scaled(high) - scaled(low));
        Some(if low == high { 0.5 } else { part }).filter(|part| part.is_finite())
    }
}

/// The trials as a table, the best first, at most so many of them; and what it comes to.
pub fn text(step: &str, sweep: &Sweep, most: usize) -> String {
    let mut head = ["", "trial", "state"].map(String::from).to_vec();
    head.push(sweep.metric.clone());
    head.extend(sweep.space.iter().map(|dimension| dimension.name.clone()));
    head.extend(["seconds", "run", ""].map(String::from));
    let mut rows = vec![head];
    let ranked = sweep.ranked();
    for trial in ranked.iter().take(most) {
        let value = |value: Option<&Value>| value.map_or_else(|| "–".to_owned(), brief);
        let mut row = vec![
            if sweep.best == Some(trial.number) { "*" } else { "" }.to_owned(),
            trial.number.to_string(),
            state(trial),
            trial.value.map_or_else(|| "–".to_owned(), figure),
        ];
        row.extend(sweep.space.iter().map(|dimension| value(trial.values.get(&dimension.name))));
        row.push(format!("{:.1}", trial.seconds));
        row.push(trial.run.map_or_else(|| "–".to_owned(), |run| run.short()));
        row.push(trial.cause.as_deref().unwrap_or("").lines().next().unwrap_or("").to_owned());
        rows.push(row);
    }
    let mut text = table(&rows);
    if ranked.len() > most {
        text.push_str(&format!("… {} more: rondo pipeline sweep {step} --all\n", ranked.len() - most));
    }
    text.push_str(&summary(step, sweep));
    text
}

/// A metric's value, with six digits behind the point where these say it.
pub(super) fn figure(value: f64) -> String {
    if value == 0.0 || (1e-4..1e9).contains(&value.abs()) {
        return format!("{value:.6}");
    }
    brief(&number::json(value))
}

/// How a trial stands; one that was pruned with how far it came, by which those are ranked.
fn state(trial: &Trial) -> String {
    match trial.step.filter(|_| trial.state == TrialState::Pruned) {
        Some(step) => format!("{} at {step}", trial.state.text()),
        None => trial.state.text().to_owned(),
    }
}

/// What a sweep comes to, in one line.
pub fn summary(step: &str, sweep: &Sweep) -> String {
    let counts = STATES.map(|state| (sweep.count(state), state.text()));
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"))
        .collect();
    let best = match sweep.best().map(|best| (best, best.value)) {
        Some((best, Some(value))) => {
            format!("; best {} {} by trial {}", sweep.metric, figure(value), best.number)
        }
        _ => "; no best yet".to_owned(),
    };
    let early = sweep.early.as_ref().map(|early| format!("; {early}")).unwrap_or_default();
    format!("sweep of {step}: {}{best}{early}\n", counts.join(", "))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A sweep with a trial of each kind.
    pub fn example() -> Sweep {
        let dimension = |name: &str, domain| Dimension { name: name.to_owned(), domain };
        let mut sweep = Sweep {
            strategy: "tpe".into(),
            metric: "auc".into(),
            maximize: true,
            limit: 9,
            space: vec![
                dimension("rate", Domain::Float { low: 0.01, high: 1.0, step: None, log: true }),
                dimension("depth", Domain::Int { low: 2, high: 6, step: 1, log: false }),
                dimension("kind", Domain::Choice { values: vec![json!("a<b"), json!("c")] }),
            ],
            ..Sweep::default()
        };
        let kinds = [
            (TrialState::Finished, Some(0.7)),
            (TrialState::Pruned, Some(0.5)),
            (TrialState::Failed, None),
            (TrialState::Cached, Some(0.9)),
            (TrialState::Running, None),
        ];
        for (number, (state, value)) in (1..).zip(kinds) {
            let values = [("rate", json!(0.1)), ("depth", json!(number + 1)), ("kind", json!("c"))];
            let values = values.map(|(name, value)| (name.to_owned(), value)).into();
            let cause = (state == TrialState::Failed).then(|| "it exited with code 3\nand more".to_owned());
            let (step, run, key, seconds) = (None, None, None, 1.0);
            sweep.put(Trial { number, values, state, value, step, run, key, cause, seconds });
        }
        sweep
    }

    #[test]
    fn lines_lie_where_their_values_are() {
        let view = View::new(RunId::random(), "train", RunState::Finished, &example());
        let kinds: Vec<&str> = view.dimensions.iter().map(|axis| axis.kind).collect();
        assert_eq!(kinds, ["float", "int", "choice", "metric"]);
        let round = |at: &Option<f64>| at.map(|at| (at * 100.0).round() / 100.0);
        let positions: Vec<Option<f64>> = view.trials[0].positions.iter().map(round).collect();
        assert_eq!(positions, [Some(0.5), Some(0.0), Some(1.0), Some(0.5)]);
        assert_eq!(view.trials[2].positions[3], None);
        let best: Vec<Option<f64>> = view.trials.iter().map(|line| line.best).collect();
        assert_eq!(best, [Some(0.7), Some(0.7), Some(0.7), Some(0.9), Some(0.9)]);
        assert_eq!(view.counted(), "1 finished, 1 cached, 1 pruned, 1 failed, 1 running");
        let one = Axis { range: Some([3.0, 3.0]), ..view.dimensions[1].clone() };
        assert_eq!(one.place(&json!(3)), Some(0.5));
    }

    #[test]
    fn values_beyond_the_usual_are_short_and_those_that_are_no_numbers_are_texts_in_json() {
        let mut sweep = example();
        for (number, value) in [(1, f64::MAX), (2, 3e-9), (3, f64::NAN)] {
            let trial = sweep.trial(number).unwrap().clone();
            sweep.put(Trial { value: Some(value), ..trial });
        }
        let view = View::new(RunId::random(), "train", RunState::Finished, &sweep);
        let trials = serde_json::to_value(&view.trials).unwrap();
        assert_eq!(trials[2]["value"], "NaN");
        assert_eq!((&trials[3]["value"], &trials[4]["value"]), (&json!(0.9), &json!(null)));
        let shown = text("train", &sweep, 9);
        assert!(
            shown.contains(" 1.798e308 ") && shown.contains(" 3.000e-9 ") && shown.contains(" NaN "),
            "{shown}"
        );
        assert!(shown.contains(" 0.900000 ") && shown.contains("best auc 1.798e308 by trial 1"), "{shown}");
        let again: Sweep = serde_json::from_value(serde_json::to_value(&sweep).unwrap()).unwrap();
        assert!(again.trial(3).unwrap().value.unwrap().is_nan());
    }

    #[test]
    fn the_table_has_the_best_first_and_says_what_is_left_out() {
        let shown = text("train", &example(), 2);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].contains("trial") && lines[0].contains("rate"));
        assert!(lines[1].starts_with("*") && lines[1].contains("0.900000") && lines[1].contains("cached"));
        assert_eq!(lines[3], "… 3 more: rondo pipeline sweep train --all");
        assert_eq!(
            lines[4],
            "sweep of train: 1 finished, 1 cached, 1 pruned, 1 failed, 1 running; best auc 0.900000 by trial 4"
        );
        assert!(text("train", &example(), 9).contains("it exited with code 3\n"));
        let mut sweep = example();
        for trial in &mut sweep.trials {
            (trial.state, trial.step) =
                (TrialState::Pruned, [None, Some(4), Some(16)][trial.number as usize % 3]);
        }
        let shown = text("train", &sweep, 9);
        let at = |word: &str| shown.find(word).unwrap();
        assert!(at("pruned at 16") < at("pruned at 4"), "{shown}");
    }
}
