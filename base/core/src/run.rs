//! Runs: the rows that grow while something happens and are frozen at its end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sweep::{Sweep, Trial};
use crate::tree::Mode;
use crate::{Digest, RunId, Timestamp};

/// What a run is a run of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// A whole `rondo run`: the parent of its steps.
    Pipeline,
    /// One executed step, retry or trial.
    Step,
    /// A run that a client of the tracking protocol made.
    Client,
}

impl RunKind {
    /// The word used in storage and messages.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Step => "step",
            Self::Client => "client",
        }
    }
}

/// Rondo's own word for where a run is; MLflow's `status` follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Its row exists, its process does not yet.
    Scheduled,
    /// Under way.
    Running,
    /// Ended well.
    Finished,
    /// Ended badly.
    Failed,
    /// Stopped from outside (cancelled, or found dead at a later start).
    Killed,
}

impl RunState {
    /// MLflow's status word, which is also the stored text.
    pub const fn status(self) -> &'static str {
        match self {
            Self::Scheduled => "SCHEDULED",
            Self::Running => "RUNNING",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
        }
    }

    /// From MLflow's status word.
    pub fn from_status(text: &str) -> Option<Self> {
        [Self::Scheduled, Self::Running, Self::Finished, Self::Failed, Self::Killed]
            .into_iter()
            .find(|state| state.status() == text)
    }

    /// Whether nothing more will happen.
    pub const fn ended(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Killed)
    }
}

/// The code a run was made with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// The Git commit, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub commit: Option<String>,
    /// Whether the work tree differed from it.
    #[serde(default)]
    pub dirty: bool,
    /// The declared code files and their digests, by path relative to the project.
    #[serde(default)]
    pub files: BTreeMap<String, Digest>,
}

/// A file or folder that went into a run or came out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its local name in the step, such as `train`.
    pub name: String,
    /// Where it comes from, such as `prepare.train` or `data.flights`.
    pub reference: String,
    /// What it is.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Whether it is a folder.
    pub folder: bool,
    /// Whether it is a file with the owner's execute bit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

impl Link {
    /// What it is as one name of a folder.
    pub const fn mode(&self) -> Mode {
        match (self.folder, self.executable) {
            (true, _) => Mode::Folder,
            (false, true) => Mode::Executable,
            (false, false) => Mode::File,
        }
    }
}

/// How an ended process ended, and what it took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code, where it exited by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<i32>,
    /// The signal that ended it, where one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signal: Option<i32>,
    /// The cause in words, where it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
    /// What to do about it, where that is known.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub hints: Vec<String>,
    /// User and system CPU seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cpu_seconds: Option<f64>,
    /// Peak resident memory in bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peak_memory: Option<u64>,
}

/// What Rondo knows of a run beside what MLflow's protocol carries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunDetail {
    /// Step key: what the cache is asked with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<Digest>,
    /// The named parts of the key, so that `rondo why` can say which one changed.
    #[serde(default)]
    pub key_parts: BTreeMap<String, String>,
    /// Which try this is, from 1.
    #[serde(default)]
    pub attempt: u32,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit: Option<Exit>,
    /// What went in.
    #[serde(default)]
    pub inputs: Vec<Link>,
    /// What came out.
    #[serde(default)]
    pub outputs: Vec<Link>,
    /// The code.
    #[serde(default)]
    pub code: Code,
    /// The environment's name and the digest of its lock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub environment: Option<(String, Digest)>,
    /// How its processes were kept to what they declared: `landlock` or `bubblewrap`; absent: not at all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub isolation: Option<String>,
    /// The project's files that its processes asked for and were refused, because they are not declared.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub refused: Vec<String>,
    /// Operating system, architecture and C library.
    #[serde(default)]
    pub platform: String,
    /// Parameters as they were used.
    #[serde(default)]
    pub params: BTreeMap<String, Value>,
    /// The whole standard output and error, as an object.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub log: Option<Digest>,
    /// Of a pipeline run: which run made or had made each step's outputs (a cache hit makes no run).
    #[serde(default)]
    pub steps: BTreeMap<String, StepOutcome>,
    /// Why the run was started: `user`, or the id of the retraining request.
    #[serde(default)]
    pub started_by: String,
    /// Of a sweep's run: what was searched, and what came of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sweep: Option<Box<Sweep>>,
    /// Of a trial's run: which trial it is of the sweep above it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trial: Option<Box<Trial>>,
}

/// What became of one step in a pipeline run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepOutcome {
    /// The run that made the outputs, now or earlier.
    pub run: Option<RunId>,
    /// `ran`, `cached`, `failed` or `skipped`.
    pub outcome: String,
    /// The step's key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<Digest>,
}

/// A run's row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// The id, for Rondo and for MLflow clients.
    pub id: RunId,
    /// The experiment it is filed under.
    pub experiment: i64,
    /// What it is a run of.
    pub kind: RunKind,
    /// The run it belongs to.
    pub parent: Option<RunId>,
    /// The name shown to people.
    pub name: String,
    /// The step's name, of a step run.
    pub step: Option<String>,
    /// Where it is.
    pub state: RunState,
    /// Who started it.
    pub user: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Whether it has been deleted (softly).
    pub deleted: bool,
    /// Whether a client took away the tag that the name also is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untagged: bool,
    /// The rest.
    pub detail: RunDetail,
}
