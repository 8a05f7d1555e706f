//! The checked project: what the rest of Rondo works with.
//!
//! Every name in it has been looked up, every reference leads somewhere, every number is in its range:
//! [`crate::check::check`] makes a `Project` only from a file without faults. The text itself, with its
//! places, is another type ([`crate::yaml::Node`]); nothing here remembers lines or columns.
//!
//! The types serialise (declaration order kept, absent things left out), so that a step's canonical JSON
//! can be part of its cache key.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rondo_core::Span;
use rondo_core::evaluation::Task;
use rondo_core::objective::Objective;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::ordered::Ordered;
use crate::package::Package;

/// A whole project, in the order of the lifecycle.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Project {
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
}

/// A cache of steps that lies in a remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SharedCache {
    /// The name of the remote.
    pub remote: String,
    /// Branches whose steps every branch may take.
    pub from: Vec<String>,
    /// Who may give.
    pub trust: Vec<Trust>,
}

/// A key that is trusted to sign steps of some branches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trust {
    /// The public key: `ed25519:` and 64 hex digits.
    pub key: String,
    /// Branches, in which `*` stands for anything but a branch that another key names in full.
    pub branches: Vec<String>,
}

impl SharedCache {
    /// Whether a key is trusted to sign steps of a branch.
    pub fn trusts(&self, key: &str, branch: &str) -> bool {
        let named = |trust: &Trust| trust.branches.iter().any(|pattern| pattern == branch);
        let of_key = || self.trust.iter().filter(|trust| trust.key == key);
        if self.trust.iter().any(named) {
            return of_key().any(named);
        }
        of_key().flat_map(|trust| &trust.branches).any(|pattern| covers(pattern, branch))
    }
}

/// Whether a pattern, in which `*` stands for any text, is of a name.
fn covers(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(name) = name.strip_prefix(head).and_then(|name| name.strip_suffix(tail)) else { return false };
    let mut name = Some(name);
    for part in middle.split('*') {
        name = name.and_then(|name| name.split_once(part)).map(|(_, after)| after);
    }
    name.is_some()
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

/// What a step's process finds around it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Python with packages, provisioned and locked with uv.
    Python {
        /// The version wanted, such as `>=3.10`.
        python: String,
        /// What is installed.
        requirements: Requirements,
    },
    /// R with packages.
    R {
        /// The version wanted, such as `4`.
        r: String,
        /// What is installed.
        packages: Vec<String>,
    },
    /// An environment of conda, mamba or micromamba.
    Conda {
        /// Its `environment.yml`, or what is installed.
        conda: Requirements,
        /// Where packages come from, beside a list.
        channels: Vec<String>,
    },
    /// A container image.
    Image {
        /// Its name with registry and tag or digest.
        image: String,
    },
    /// A root file system of its own.
    Rootfs {
        /// A tar file of the project.
        rootfs: String,
    },
    /// What a Nix expression builds.
    Nix {
        /// The expression's file: a flake where it is called `flake.nix`.
        nix: String,
    },
    /// The host's own tools, recorded.
    Host {
        /// Their names.
        host: Vec<String>,
    },
}

/// How strongly a step is kept to what it declares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Not at all.
    #[default]
    None,
    /// By rules of the kernel for files and ports.
    Landlock,
    /// By a file system and a network of its own.
    Bubblewrap,
    /// As strongly as the machine can.
    Auto,
}

impl Isolation {
    /// The word in the project file.
    pub const fn text(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Landlock => "landlock",
            Self::Bubblewrap => "bubblewrap",
            Self::Auto => "auto",
        }
    }

    /// The level of that word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::None, Self::Landlock, Self::Bubblewrap, Self::Auto]
            .into_iter()
            .find(|level| level.text() == word)
    }
}

/// Python packages.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Requirements {
    /// Named in a file of pip's form, relative to the project.
    File(String),
    /// Named in `rondo.yaml` itself, each as pip would take it; may be empty.
    List(Vec<String>),
}

/// One step of the pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// What it does.
    pub work: Work,
    /// What goes in, by local name.
    pub inputs: Ordered<Reference>,
    /// What comes out: name to path, relative to the project; a folder's path ends in `/`.
    pub outputs: Ordered<String>,
    /// The parameters that reach it: those it declares and those its expressions name, sorted.
    pub params: Vec<String>,
    /// Its environment; absent: the one Rondo itself was started in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// How strongly it is kept to what it declares; absent: as the project says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Whether it may use the network where it is isolated, where that is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<bool>,
    /// A JSON file of metrics that is read into the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// A search over parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
    /// How often it is tried again after a failure.
    pub retries: u32,
    /// How long it rests before it is tried again.
    pub backoff: Backoff,
    /// How long it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// A condition; the step is skipped where it does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Runs once for each combination of these values.
    #[serde(skip_serializing_if = "Ordered::is_empty")]
    pub matrix: Ordered<Vec<Value>>,
    /// What it needs of the machine.
    pub resources: Resources,
    /// Whether an earlier run with the same key may stand for it.
    pub cache: bool,
    /// Files and folders that are code and part of its key: the declared ones, and the scripts of the
    /// project that its command surely runs. A file of SQL and a notebook are named in `work`.
    pub code: Vec<String>,
    /// Whether equal keys give equal outputs, where that is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deterministic: Option<bool>,
    /// How near outputs have to come when a run is made again, where that is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reproducible: Option<Reproducible>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The package it uses, while the file is being checked; afterwards the package has taken its place.
    #[serde(skip)]
    pub used: Option<Arc<Package>>,
    /// Where it comes from, where that is a package's folder: then `work` speaks of that folder's files and
    /// of the package's parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packaged: Option<Packaged>,
}

/// The package that a step comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Packaged {
    /// What it is pinned under: its folder as `./packages/x`, or its address.
    pub origin: String,
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its folder, relative to the project or absolute.
    #[serde(skip)]
    pub folder: PathBuf,
    /// Its parameters, in terms of the project's.
    pub params: Ordered<Value>,
    /// Those of them that name a file of the project.
    pub files: Vec<String>,
    /// The environment variable that each of its secrets is in.
    pub secrets: Ordered<String>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// A command for the shell; may hold expressions.
    Run {
        /// The text.
        command: String,
    },
    /// SQL for the `sql` package.
    Sql {
        /// Where the text is.
        source: SqlSource,
    },
    /// A package.
    Uses {
        /// Its name, or the path of its folder.
        package: String,
        /// What it is given; may hold expressions at any depth.
        with: Ordered<Value>,
    },
}

/// Where SQL text is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SqlSource {
    /// In a file, relative to the project.
    File(String),
    /// In `rondo.yaml` itself.
    Text(String),
}

/// What an input refers to, written `data.flights` or `prepare.train`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A dataset.
    Data {
        /// Its name.
        dataset: String,
    },
    /// An output of a step.
    Output {
        /// The step.
        step: String,
        /// The output's name.
        output: String,
    },
}

impl Reference {
    /// The step that has to run first, where there is one.
    pub fn step(&self) -> Option<&str> {
        match self {
            Self::Data { .. } => None,
            Self::Output { step, .. } => Some(step),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data { dataset } => write!(f, "data.{dataset}"),
            Self::Output { step, output } => write!(f, "{step}.{output}"),
        }
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How long a step rests between its tries: each rest `factor` times the one before, up to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Backoff {
    /// The first rest.
    pub delay: Span,
    /// What each further one is multiplied by.
    pub factor: f64,
    /// The longest.
    pub max_delay: Span,
    /// The share by which each is made shorter or longer by chance, 0 to 1, so that steps which failed
    /// together do not come back together.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { delay: Span(1_000), factor: 2.0, max_delay: Span(60_000), jitter: 0.5 }
    }
}

/// How near the outputs of a step have to come to earlier ones of the same key.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Reproducible {
    /// The greatest relative difference of numbers; nought allows differences of form alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// The same for single outputs.
    pub outputs: Ordered<f64>,
}

impl Reproducible {
    /// What holds for an output; nothing where it has to be the same byte by byte.
    pub fn of(&self, output: &str) -> Option<f64> {
        self.outputs.get(output).copied().or(self.tolerance)
    }
}

/// What a step needs of the machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Resources {
    /// Processor cores; may be a fraction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Memory in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Graphics cards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
    /// Anything else that is scarce, by name: licences, seats, slots of a database.
    #[serde(skip_serializing_if = "Ordered::is_empty")]
    pub custom: Ordered<u32>,
}

/// A search over parameters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sweep {
    /// How the next trial is chosen.
    pub strategy: Strategy,
    /// How many trials; absent for a grid: all combinations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trials: Option<u32>,
    /// What is searched, by parameter.
    pub over: Ordered<Range>,
    /// The metric that decides.
    pub metric: String,
    /// Whether more of it is better.
    pub maximize: bool,
    /// The seed of the choices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// When a trial that falls behind is stopped; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<Prune>,
    /// How many trials may fail before the step does.
    pub max_failed: u32,
    /// The parameters among `over` that are the step's own: its notebook's or its package's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub own: Vec<String>,
}

/// When a trial is stopped: at steps that grow by a factor it must be among the best that came so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Prune {
    /// The step at which it is looked first.
    pub min_steps: u32,
    /// Of how many one goes on; also how much later it is looked again.
    pub factor: u32,
}

impl Default for Prune {
    fn default() -> Self {
        Self { min_steps: 1, factor: 4 }
    }
}

/// How a sweep chooses its next trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Every combination.
    Grid,
    /// At random.
    Random,
    /// Tree-structured Parzen estimator.
    Tpe,
}

/// The values a swept parameter may take.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Range {
    /// Whole numbers, both ends included.
    Int {
        /// The least.
        low: i64,
        /// The greatest.
        high: i64,
        /// From one to the next.
        step: i64,
        /// Whether to search on a logarithmic scale.
        log: bool,
    },
    /// Real numbers, both ends included.
    Float {
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
        /// From one to the next; absent: all between.
        #[serde(skip_serializing_if = "Option::is_none")]
        step: Option<f64>,
        /// Whether to search on a logarithmic scale.
        log: bool,
    },
    /// One of these.
    Choice(Vec<Value>),
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_no_way_to_a_branch_that_another_key_names() {
        let trust = |key: &str, branches: &[&str]| Trust {
            key: key.to_owned(),
            branches: branches.iter().map(|&branch| branch.to_owned()).collect(),
        };
        let cache = SharedCache {
            remote: "team".to_owned(),
            from: vec!["main".to_owned()],
            trust: vec![trust("ci", &["main", "release-*"]), trust("ada", &["*"])],
        };
        assert!(cache.trusts("ci", "main") && cache.trusts("ci", "release-2"));
        assert!(cache.trusts("ada", "idea") && cache.trusts("ada", "release-2"));
        assert!(!cache.trusts("ada", "main") && !cache.trusts("ci", "idea") && !cache.trusts("eve", "idea"));
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name) in
            [("*", ""), ("a*", "a"), ("a*c", "abc"), ("a*b*c", "a1b2c"), ("**", "x"), ("é*", "éa")]
        {
            assert!(covers(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a", "ab"), ("a*a", "a"), ("a*b*c", "acb"), ("*x", "y"), ("", "y")] {
            assert!(!covers(pattern, name), "{pattern} {name}");
        }
    }
}
