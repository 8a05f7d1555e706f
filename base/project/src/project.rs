//! The checked project: what the rest of Rondo works with.
//!
//! Every name in it has been looked up, every reference leads somewhere, every number is in its range:
//! [`crate::check::check`] makes a `Project` only from a file without faults. The text itself, with its
//! places, is another type ([`crate::yaml::Node`]); nothing here remembers lines or columns.
//!
//! The types serialise (declaration order kept, absent things left out), so that a step's canonical JSON
//! can be part of its cache key.
//!
//! Here are the whole, the canvas and the data. The rooms are those of [`crate::shape`]: what makes things
//! (`pipeline`), what lives after training (`live`), what is shared (`team`).

mod live;
mod pipeline;
mod team;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use rondo_core::Span;
use rondo_core::objective::Objective;
use serde::Serialize;
use serde_json::Value;

use crate::ordered::Ordered;

pub use live::{
    App, Audience, Care, Cause, Drift, Endpoint, Gate, LiveChecks, Model, ModelAlias, Monitor, PredictionLog,
    SuiteOf, Then, Trigger,
};
pub use pipeline::{
    Backoff, Environment, Isolation, Packaged, Prune, Range, Reference, Reproducible, Requirements,
    Resources, SqlSource, Step, Strategy, Sweep, Work,
};
pub use team::{SharedCache, Trust};

/// A whole project, in the order of the lifecycle.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Project {
    /// The project file that all this was read from.
    #[serde(skip)]
    pub text: Arc<str>,
    /// Its name: also the experiment's.
    pub name: String,
    /// The business problem.
    pub canvas: Canvas,
    /// Datasets by name.
    pub data: Ordered<Dataset>,
    /// Environments by name.
    pub environments: Ordered<Environment>,
    /// The folders of the packages of files that steps use, by what they are pinned under.
    #[serde(skip)]
    pub packages: Ordered<PathBuf>,
    /// How strongly steps are kept to what they declare, where they do not say it themselves.
    pub isolation: Isolation,
    /// Parameters: scalars, or lists of scalars.
    pub params: Ordered<Value>,
    /// Steps by name. They make no cycle.
    pub steps: Ordered<Step>,
    /// Models by name.
    pub models: Ordered<Model>,
    /// Endpoints by name.
    pub serve: Ordered<Endpoint>,
    /// Monitors by name.
    pub monitor: Ordered<Monitor>,
    /// What starts runs by itself.
    pub triggers: Vec<Trigger>,
    /// Apps by name.
    pub apps: Ordered<App>,
    /// Addresses of remotes by name.
    pub remotes: Ordered<String>,
    /// The cache of steps that the team shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<SharedCache>,
    /// What the file says that has no effect yet, each with its place, for people.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// The business problem: the fields of an ML canvas, and its numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Canvas {
    /// What it is worth, to whom.
    pub value: Option<String>,
    /// The decision that a prediction leads to.
    pub decision: Option<String>,
    /// What is predicted.
    pub prediction: Option<String>,
    /// Who is concerned.
    pub stakeholders: Vec<String>,
    /// What is known when a prediction is asked for.
    pub inputs: Vec<String>,
    /// What comes out.
    pub output: Option<String>,
    /// How it is used, step by step.
    pub process: Vec<String>,
    /// Where the data come from.
    pub data_sources: Vec<String>,
    /// What may go wrong for whom.
    pub harms: Vec<String>,
    /// The numbers: gates of promotions and alarms of monitors.
    pub objectives: Vec<Objective>,
}

/// A dataset: where it comes from and what it must satisfy.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Dataset {
    /// A path, glob, folder (`flights/`) or address (`https:`, `s3:`, `pypi:` and the like), as written.
    pub source: String,
    /// The format, where the source's name does not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The column of the event time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// How the rows arrive over time, where they do: one part after another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<Parts>,
    /// How its files are read, as written; the data stage gives it its meaning.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub read: serde_json::Map<String, Value>,
    /// Of a database: what is asked of it, as text or the path of a file `.sql`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Where its labels are: `path` (the folders' names) or the path of a table or an export.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// How much may be downloaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// How long a download or query may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// The expectations, each a mapping as written; the data stage gives them their meaning.
    pub checks: Vec<Value>,
    /// The columns that say which row is which.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub key: Vec<String>,
    /// What people have written down of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasheet: Option<Datasheet>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What people have written down of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Datasheet {
    /// In a Markdown file of the project.
    File(String),
    /// The answers by `part.question`.
    Answers(std::collections::BTreeMap<String, String>),
}

/// A dataset that arrives in parts: one file a month in a folder, say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parts {
    /// How long a part is.
    pub by: Period,
    /// The column whose time decides which part a row belongs to; of a folder, the files' names do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
}

/// The length of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// A calendar day.
    Day,
    /// A week from Monday.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
}

/// Whether a target means a step: its name, or that of the workflow it is part of.
pub fn is_target(step: &str, target: &str) -> bool {
    step.strip_prefix(target).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Project {
    /// Whether a name means a step, or a workflow of steps.
    pub fn has_target(&self, name: &str) -> bool {
        self.steps.names().any(|step| is_target(step, name))
    }

    /// The steps that a step waits for, each once, in the order of its inputs.
    pub fn needs<'a>(&'a self, step: &str) -> Vec<&'a str> {
        let mut needs: Vec<&str> = Vec::new();
        for reference in self.steps.get(step).into_iter().flat_map(|step| step.inputs.values()) {
            if let Some(name) = reference.step().filter(|name| !needs.contains(name)) {
                needs.push(name);
            }
        }
        needs
    }

    /// The targets and all that they need, each after what it needs; all steps when none is named.
    /// Names that are no step are left out.
    pub fn order<'a>(&'a self, targets: &[&str]) -> Vec<&'a str> {
        let mut order: Vec<&str> = Vec::new();
        let mut placed: HashSet<&str> = HashSet::new();
        let wanted: HashSet<&str> = targets.iter().copied().collect();
        // A list of (step, whether its needs are done) instead of recursion: chains may be long.
        let mut open: Vec<(&str, bool)> = self
            .steps
            .names()
            .filter(|name| wanted.is_empty() || wanted.iter().any(|target| is_target(name, target)))
            .map(|name| (name, false))
            .collect();
        open.reverse();
        while let Some((name, ready)) = open.pop() {
            if placed.contains(name) {
                continue;
            }
            if ready {
                placed.insert(name);
                order.push(name);
                continue;
            }
            open.push((name, true));
            open.extend(self.needs(name).into_iter().rev().map(|need| (need, false)));
        }
        order
    }
}
