//! What lives after training: models, endpoints, monitors, triggers, apps.

use std::fmt;
use std::sync::Arc;

use rondo_core::Span;
use rondo_core::evaluation::Task;
use rondo_core::objective::Objective;
use serde::Serialize;
use serde_json::Value;

use super::pipeline::{Packaged, Reference};
use crate::ordered::Ordered;
use crate::package::Package;

/// A model: declared once, used by evaluation, gate, serving and monitoring alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Model {
    /// The output that holds its file.
    pub from: Reference,
    /// What it predicts.
    pub task: Task,
    /// The label's column.
    pub target: String,
    /// The label's value that counts as positive (binary tasks); absent: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive: Option<Value>,
    /// Score at or above which the positive class is predicted; 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The column of the event time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The column that names a row: joins predictions with their ground truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The columns it is evaluated by.
    pub slices: Vec<String>,
    /// The step whose evaluation the gate judges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<String>,
    /// The metric that challenger and champion are compared by; absent: that of the first objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// What a promotion has to pass; where the file does not say, `objectives` and `beats_champion` (nothing
    /// where the canvas has no objectives).
    pub gate: Vec<Gate>,
    /// Whether the promoted version is refitted on everything.
    pub refit: bool,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// One rule of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Every objective holds.
    Objectives,
    /// It is better than the champion, where there is one.
    BeatsChampion,
    /// An objective may be missed if the champion misses it by more; always beside [`Gate::Objectives`].
    Improves,
    /// Somebody has to approve it.
    Approval,
}

/// A model behind an alias: `delay@champion`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelAlias {
    /// The model.
    pub model: String,
    /// The alias.
    pub alias: String,
}

impl fmt::Display for ModelAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.model, self.alias)
    }
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Endpoint {
    /// What answers.
    pub model: ModelAlias,
    /// What is asked too without its answer being given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ModelAlias>,
    /// What is kept of each prediction.
    pub log: PredictionLog,
}

/// What is kept of predictions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PredictionLog {
    /// The share that is logged, 0 to 1.
    pub sample: f64,
    /// Whether each is on disk before it is answered.
    pub durable: bool,
}

impl Default for PredictionLog {
    fn default() -> Self {
        Self { sample: 1.0, durable: false }
    }
}

/// A monitor of a model's live traffic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Monitor {
    /// The model it watches: that of the endpoint of its name, or the model of its name.
    pub model: String,
    /// The endpoint it watches, where its name is an endpoint's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The length of a window in event time.
    pub window: Span,
    /// How drift is looked for.
    pub drift: Drift,
    /// How late ground truth may come, in event time; absent: performance is not monitored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<Span>,
    /// What a window is compared with; absent: the profile of the answering version's training data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// The objectives looked at: its own, or those of the canvas that a monitor looks at.
    pub objectives: Vec<Objective>,
    /// What the inputs of a window have to be like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<LiveChecks>,
    /// Fewer rows in a window than this: it is not judged.
    pub min_rows: u64,
    /// How long after an alert of drift or of a check the same alert stays silent, in event time. Missed
    /// objectives are never silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cool_down: Option<Span>,
}

/// Checks of live inputs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LiveChecks {
    /// Whose they are.
    pub of: SuiteOf,
    /// The rules as they are written.
    pub rules: Vec<Value>,
}

/// Whose the rules of a suite are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SuiteOf {
    /// The monitor's own.
    Monitor,
    /// Those of a file.
    File(String),
    /// Those of a dataset. They were written for its files: what cannot be asked of live inputs is left out.
    Dataset(String),
}

/// How drift is looked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// `auto`, `off`, or a method's name.
    pub method: String,
    /// The value at which it is an alert; absent: the method's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The columns looked at; empty: all.
    pub columns: Vec<String>,
    /// The columns left out.
    pub ignore: Vec<String>,
}

/// What starts a run by itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trigger {
    /// The cause.
    pub cause: Cause,
    /// The targets; what they need runs with them.
    pub run: Vec<String>,
    /// What follows a run that ended well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<Then>,
    /// How long after one run the next may start; of an alert in event time.
    pub cool_down: Span,
    /// Parameters that differ from the project's.
    pub params: Ordered<Value>,
}

/// The cause of a triggered run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// A cron line of five fields, UTC.
    Schedule(String),
    /// The beginning of an alert's name, such as `delay.drift`.
    Alert(String),
}

impl Cause {
    /// Whether an alert of this name is meant.
    pub fn matches_alert(&self, name: &str) -> bool {
        match self {
            Self::Schedule(_) => false,
            Self::Alert(prefix) => name
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        }
    }
}

/// What follows a triggered run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// The new model is registered.
    Register,
    /// The new model is registered and, if it passes its gate, promoted.
    Promote,
}

/// An app: a step that runs until it is stopped.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct App {
    /// The package, where it uses one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses: Option<String>,
    /// What the package is given.
    pub with: Ordered<Value>,
    /// A command, where it uses no package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// A file or folder that is shown as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
    /// What goes in, by local name.
    pub inputs: Ordered<Reference>,
    /// The models behind an alias that go in, by local name.
    #[serde(skip_serializing_if = "Ordered::is_empty")]
    pub models: Ordered<ModelAlias>,
    /// Its environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// How it is reached and looked after.
    pub care: Care,
    /// How long an old process may finish what is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Span>,
    /// How often in a row it is started again after it died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// The package it uses, while the file is being checked; afterwards the package's command is in `run`.
    #[serde(skip)]
    pub used: Option<Arc<Package>>,
    /// The package that its command is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packaged: Option<Packaged>,
}

/// How an app is reached and looked after: what a package says, and the project otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Care {
    /// The path, below its own, that answers with success once it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// Whether the path that it is reached under is taken away from what it is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strip_path: Option<bool>,
    /// The `Authorization` that requests are passed on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<String>,
    /// Who may use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Audience>,
    /// How long it may take until it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_timeout: Option<Span>,
}

impl Care {
    /// This, and where it is silent the other.
    pub fn or(self, other: &Self) -> Self {
        Self {
            health: self.health.or_else(|| other.health.clone()),
            strip_path: self.strip_path.or(other.strip_path),
            authorization: self.authorization.or_else(|| other.authorization.clone()),
            access: self.access.or(other.access),
            start_timeout: self.start_timeout.or(other.start_timeout),
        }
    }
}

/// Who may use an app, where there are users.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// Whoever may see the server.
    #[default]
    Viewer,
    /// Whoever may add to everything.
    Editor,
    /// Administrators: for what can do everything that the server's own user can.
    Admin,
}
