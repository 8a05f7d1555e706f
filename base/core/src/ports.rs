//! Where a stage must call rather than hand over: the traits; `app` passes what implements them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::error::{Explain, Objection};
use crate::handoff::StepInputs;
use crate::{Digest, RunId, Timestamp};

/// An error from the other side of a port.
pub type PortError = Box<dyn Explain + Send + Sync>;

/// The wall clock.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// What is going on, for whoever watches: a terminal, a server's event stream, a test.
///
/// Library code reports; it never prints.
pub trait Progress: Send + Sync {
    /// Something began, ended or moved on.
    fn report(&self, event: Event);
}

/// One thing worth showing.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A piece of work began.
    Started {
        /// Whose work, such as a step's name.
        subject: String,
        /// What, in a few words.
        message: String,
    },
    /// A piece of work moved on.
    Advanced {
        /// Whose work.
        subject: String,
        /// How much is done.
        done: u64,
        /// How much there is, where it is known.
        total: Option<u64>,
        /// What, in a few words.
        message: String,
    },
    /// A line of output of a step's process.
    Output {
        /// Whose.
        subject: String,
        /// The line, without its end.
        line: String,
    },
    /// A piece of work ended.
    Ended {
        /// Whose work.
        subject: String,
        /// Whether it ended well.
        ok: bool,
        /// What came of it.
        message: String,
    },
    /// Something to know that is neither.
    Note {
        /// Whose.
        subject: String,
        /// What.
        message: String,
    },
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Progress for Unwatched {
    fn report(&self, _event: Event) {}
}

/// A pipeline's way to the tracking server that its steps speak to.
pub trait TrackingAccess: Send + Sync {
    /// Opens the server to one step: the environment variables that its process gets
    /// (`MLFLOW_TRACKING_URI`, `MLFLOW_TRACKING_TOKEN`, `MLFLOW_RUN_ID`, `MLFLOW_EXPERIMENT_NAME`).
    fn admit(&self, run: RunId, experiment: &str) -> BTreeMap<String, String>;

    /// Closes it again: the step's token is worth nothing from now on.
    fn dismiss(&self, run: RunId);
}

/// What keeps the processes of a step to what the step declares. `own` are places that whoever starts the
/// process has made for it alone.
pub trait Confinement: Send + Sync {
    /// The words of a command, put into whatever confines it.
    fn words(&self, words: Vec<OsString>, own: &[PathBuf]) -> Vec<OsString>;

    /// Readies a command of such words, just before it is started. What it gives is to be kept for as long as
    /// the process runs.
    ///
    /// # Errors
    /// When it cannot be confined; it must not be started then.
    fn ready(&self, command: &mut Command, own: &[PathBuf]) -> io::Result<Box<dyn Send + Sync>>;
}

/// What a package that is built into the binary gets.
#[derive(Clone)]
pub struct BuiltinCall {
    /// Inputs, outputs, parameters, run.
    pub step: StepInputs,
    /// The checked `with:` block, references substituted.
    pub with: BTreeMap<String, Value>,
    /// The project's folder.
    pub root: PathBuf,
    /// A folder of the step's own for what it needs on the way.
    pub scratch: PathBuf,
    /// The bin folder of the step's environment comes first in its `PATH`; its variables otherwise.
    pub environment: BTreeMap<String, String>,
    /// The environment's Python interpreter, where it has one.
    pub python: Option<PathBuf>,
    /// What its programs are to be kept to, where they are.
    pub confinement: Option<Arc<dyn Confinement>>,
    /// Becomes true when it is to stop: what it is told by then is kept, and what it runs may tidy up.
    pub stop: watch::Receiver<bool>,
    /// Who watches.
    pub progress: Arc<dyn Progress>,
}

impl BuiltinCall {
    /// A folder, not made yet, whose files become artifacts of the run however the package ends, and can be
    /// looked at while it runs: what is to be there also when it fails.
    pub fn kept(&self) -> PathBuf {
        Self::kept_below(&self.scratch)
    }

    /// The same of a call with that folder for what it needs on the way.
    pub fn kept_below(scratch: &Path) -> PathBuf {
        scratch.join("kept")
    }

    /// A JSON file, not made yet, of metrics that are put on the run of a package that fails: what was
    /// measured until then.
    pub fn measured(&self) -> PathBuf {
        self.scratch.join("measured.json")
    }
}

/// What came of a built-in package.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BuiltinResult {
    /// Metrics to put on the step's run.
    pub metrics: BTreeMap<String, f64>,
    /// Files to keep as the run's artifacts, by their path among the artifacts.
    pub artifacts: BTreeMap<String, PathBuf>,
}

/// Where a step will run, as far as it is known before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Surroundings {
    /// In what the machine has.
    Host,
    /// In a Python environment of this name with these packages.
    Python(String, BTreeSet<String>),
    /// In the environment of this name, which is made and has this Python interpreter, if any.
    Made(String, Option<PathBuf>),
    /// In an environment of another kind, or one that is not locked yet.
    Unknown,
}

/// A package that is built into the binary: `papermill`, `evaluate`.
#[async_trait]
pub trait Builtin: Send + Sync {
    /// The name after `uses:`.
    fn name(&self) -> &'static str;

    /// Something that changes whenever its results may: part of the step's key.
    fn version(&self) -> &'static str;

    /// The names allowed in its `with:` block.
    fn parameters(&self) -> &'static [&'static str];

    /// Those among them that are commands for a shell: values are quoted when they are put into them.
    fn commands(&self) -> &'static [&'static str] {
        &[]
    }

    /// Files named in the `with:` block that are code, and files of the project that those name: part of the
    /// step's key.
    fn code_files(&self, root: &Path, with: &BTreeMap<String, Value>) -> Vec<PathBuf>;

    /// Faults of a `with:` block that can be told before anything runs.
    fn check(&self, root: &Path, with: &BTreeMap<String, Value>) -> Vec<Objection>;

    /// Faults that depend on where the step will run, told before anything runs too.
    fn lacks(&self, _root: &Path, _with: &BTreeMap<String, Value>, _place: &Surroundings) -> Vec<Objection> {
        Vec::new()
    }

    /// Whether it depends on what is in its environment, once that is made, whether something is lacking.
    fn asks_made(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> bool {
        false
    }

    /// Whether it ends by itself soon after it was told to stop. One that does not is dropped at once.
    fn stops(&self) -> bool {
        false
    }

    /// Does the work.
    ///
    /// # Errors
    /// When the step has failed; outputs that exist by then are not taken.
    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError>;
}

/// Rows that a model should score.
#[derive(Debug, Clone, Copy)]
pub struct RowsToScore<'a> {
    /// The table's file or folder.
    pub path: &'a Path,
    /// How it is read, where that was declared (`read:`).
    pub read: Option<&'a Map<String, Value>>,
    /// What a model that takes one matrix and does not name its columns takes, where there are some.
    pub columns: &'a [String],
    /// Whether the probabilities of all classes are wanted.
    pub classes: bool,
}

impl<'a> RowsToScore<'a> {
    /// The rows of a file that is read by its defaults, for their scores alone.
    pub fn of(path: &'a Path) -> Self {
        Self { path, read: None, columns: &[], classes: false }
    }
}

/// What a model says of rows, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scored {
    /// The score of each row: of a binary task the probability of the positive class.
    pub scores: Vec<f64>,
    /// The labels of the model's classes, in its order; none of a regression.
    pub classes: Vec<String>,
    /// Row after row the probability of each class, where they were wanted; none of a regression.
    pub probabilities: Vec<f64>,
}

/// Scores rows with a model's file: what evaluation and the registry ask of serving.
#[async_trait]
pub trait Scorer: Send + Sync {
    /// What the model says of each row of a table.
    ///
    /// # Errors
    /// When no engine can run the model, or the columns do not fit it.
    async fn score(&self, model: Digest, rows: RowsToScore<'_>) -> Result<Scored, PortError>;
}

/// Runs SQL over tables that lie in files: what checks ask of whatever engine the project has.
///
/// The statement is a single `SELECT`. Each name is a table for it: a Parquet, CSV, JSON Lines or Arrow file
/// or a folder of Parquet files. Nothing else of the machine is readable for the statement.
#[async_trait]
pub trait SqlEngine: Send + Sync {
    /// Writes the result's rows to `output` as Parquet.
    ///
    /// # Errors
    /// When there is no engine (with a hint how to get one), or the statement is refused; the message is the
    /// engine's.
    async fn query(
        &self,
        statement: &str,
        tables: &BTreeMap<String, PathBuf>,
        output: &Path,
    ) -> Result<(), PortError>;
}
