//! What is asked of the pipeline, and what it answers.

use std::collections::BTreeMap;

use rondo_core::run::Link;
use rondo_core::sweep::Sweep;
use rondo_core::{Code, Digest, RunId};
use serde::Serialize;
use serde_json::Value;

use crate::Error;
use crate::again::Again;

/// Where a run's outputs appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In the store, and under their declared paths in the work tree; `rondo.lock` is brought up to date.
    /// For what a person starts.
    #[default]
    WorkTree,
    /// In the store alone: neither the work tree nor `rondo.lock` is touched. For what a trigger starts.
    Detached,
}

/// A run that is wanted.
#[derive(Debug, Clone, Default)]
pub struct RunRequest {
    /// The steps wanted; what they need runs with them. Empty: all steps.
    pub targets: Vec<String>,
    /// Steps to begin with: they and what depends on them are wanted; with targets, what lies between.
    pub from: Vec<String>,
    /// Runs the wanted steps alone: what they need is taken as it was last made.
    pub only: bool,
    /// Parameters that differ from the project's.
    pub params: BTreeMap<String, Value>,
    /// Dataset versions to use instead of the newest, by dataset.
    pub pins: BTreeMap<String, Digest>,
    /// Why it is started: `user`, or the id of the retraining request.
    pub started_by: String,
    /// Where its outputs appear.
    pub place: Place,
    /// Runs the targets (all steps, where none is named) even if an earlier run could stand for them.
    pub force: bool,
    /// Uses what `rondo.lock` pins, and fails where the result would change it.
    pub locked: bool,
    /// Goes on with what does not depend on a step that failed.
    pub keep_going: bool,
    /// How many cores steps may have at once; absent: the machine's.
    pub jobs: Option<u32>,
    /// How much there is of resources that the project has names of its own for; of others there is one.
    pub resources: BTreeMap<String, u32>,
    /// Shows the log of the run that stands for a step, where one does.
    pub replay: bool,
    /// Where it makes an earlier run again: what that one was made from.
    pub again: Option<Again>,
    /// Who starts it.
    pub user: String,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was executed and ended well.
    Ran,
    /// An earlier run stands for it.
    Cached,
    /// It was executed and failed, at every try.
    Failed,
    /// It was not started: a step that it needs did not end well, its condition does not hold, or the run
    /// was stopped.
    Skipped,
}

impl Outcome {
    /// The word in records and messages.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Cached => "cached",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// Whether there are outputs to go on with.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Ran | Self::Cached)
    }
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// The step.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The run that made the outputs, now or earlier; of a failed step its last try.
    pub run: Option<RunId>,
    /// Its key, where its inputs came to be known.
    pub key: Option<Digest>,
    /// What went in.
    pub inputs: Vec<Link>,
    /// What came out.
    pub outputs: Vec<Link>,
    /// Wall-clock seconds that it took.
    pub seconds: f64,
    /// Why it failed or was skipped, in words.
    pub cause: Option<String>,
    /// The last lines of its output, where it failed.
    pub tail: Vec<String>,
    /// What may help, where that can be told from how it failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// Whether it failed because what it reads is damaged in the store.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
    /// Outputs that the same key gave with other content before, here or by `rondo.lock`: the step is not
    /// deterministic.
    pub unequal: Vec<String>,
    /// Of a sweep: what was searched, and what came of each trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Box<Sweep>>,
}

impl StepReport {
    /// The output of that name.
    pub fn output(&self, name: &str) -> Option<&Link> {
        self.outputs.iter().find(|link| link.name == name)
    }
}

/// A run that has ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    /// The pipeline run.
    pub run: RunId,
    /// The steps in the order of the plan.
    pub steps: Vec<StepReport>,
    /// The dataset versions that were read.
    pub datasets: Vec<Link>,
    /// Wall-clock seconds that it took.
    pub seconds: f64,
}

impl RunReport {
    /// The step of that name.
    pub fn step(&self, name: &str) -> Option<&StepReport> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// How many steps came to that.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.steps.iter().filter(|step| step.outcome == outcome).count()
    }

    /// The first failure as an error; none where every step ended well or was left out by its condition.
    pub fn failure(&self) -> Option<Error> {
        let failed = self.steps.iter().find(|step| step.outcome == Outcome::Failed)?;
        let cause = failed.cause.clone().unwrap_or_else(|| "no cause is known".to_owned());
        let code = if failed.damaged { Code::Corrupt } else { Code::StepFailed };
        Some(Error::StepFailed { step: failed.name.clone(), cause, run: failed.run, code })
    }
}

/// What a run would do, without doing it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The steps in the order in which they could run.
    pub steps: Vec<PlannedStep>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedStep {
    /// The step.
    pub name: String,
    /// The steps that it waits for.
    pub needs: Vec<String>,
    /// What would become of it.
    pub forecast: Forecast,
    /// Its key, where its inputs are known.
    pub key: Option<Digest>,
    /// Why, in one line.
    pub reason: String,
}

/// What would become of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "run")]
pub enum Forecast {
    /// It would run.
    Runs,
    /// This earlier run would stand for it.
    Cached(RunId),
    /// It waits for a step that would run: whether it runs depends on whether that one's outputs change.
    Waits,
    /// It is not looked at: what it made last is used, by this run.
    Kept(RunId),
    /// Its condition does not hold.
    Skipped,
}

/// Why a step would run, or would not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Why {
    /// The step.
    pub step: String,
    /// What would become of it.
    pub forecast: Forecast,
    /// Why, in one line.
    pub reason: String,
    /// The run that it is compared with: the one whose outputs were last used.
    pub last: Option<RunId>,
    /// What its key is made of and what differs from that run.
    pub changes: Vec<Change>,
    /// The same for people, a sentence a line.
    pub lines: Vec<String>,
}

impl Why {
    /// Whether the step would run for certain.
    pub const fn would_run(&self) -> bool {
        matches!(self.forecast, Forecast::Runs)
    }
}

/// A part of a step's key that differs from an earlier run's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The part, such as `param.seed`, `input.train` or `code.train.py`.
    pub part: String,
    /// What it was; absent: the part is new.
    pub old: Option<String>,
    /// What it is; absent: the part is gone, or not known before another step has run.
    pub new: Option<String>,
}
