//! What makes things: environments, steps with what they refer to and need, and the searches over parameters.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rondo_core::Span;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::ordered::Ordered;
use crate::package::Package;

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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

impl fmt::Display for Range {
    /// As the project file has it: `{ int: [1, 12] }`, `{ float: [0.001, 1], log: true }`, `["a", "b"]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = |log: &bool| if *log { ", log: true" } else { "" };
        match self {
            Self::Int { low, high, step: 1, log: scale } => {
                write!(f, "{{ int: [{low}, {high}]{} }}", log(scale))
            }
            Self::Int { low, high, step, log: scale } => {
                write!(f, "{{ int: [{low}, {high}], step: {step}{} }}", log(scale))
            }
            Self::Float { low, high, step, log: scale } => {
                write!(f, "{{ float: [{}, {}]", Short(*low), Short(*high))?;
                if let Some(step) = step {
                    write!(f, ", step: {}", Short(*step))?;
                }
                write!(f, "{} }}", log(scale))
            }
            Self::Choice(values) => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                write!(f, "[{}]", values.join(", "))
            }
        }
    }
}

/// A number as people write it: `1`, `0.001`, `1e-7`.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:?}", self.0);
        f.write_str(text.strip_suffix(".0").unwrap_or(&text))
    }
}
