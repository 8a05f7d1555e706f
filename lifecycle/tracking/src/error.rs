//! What can go wrong in tracking.

use rondo_core::{Code, Explain};

/// An error of tracking.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] rondo_store::Error),
    /// No such experiment.
    #[error("no experiment with id `{id}` exists")]
    ExperimentNotFound {
        /// What was asked for.
        id: String,
    },
    /// No such experiment.
    #[error("no experiment with name `{name}` exists")]
    ExperimentNameNotFound {
        /// What was asked for.
        name: String,
    },
    /// The name is taken.
    #[error("experiment `{name}` exists already{}", if *deleted { ", deleted: restore it" } else { "" })]
    ExperimentExists {
        /// The name.
        name: String,
        /// Whether the one that has it is deleted.
        deleted: bool,
    },
    /// The experiment is deleted.
    #[error("experiment `{id}` is deleted")]
    ExperimentDeleted {
        /// Its id.
        id: i64,
    },
    /// No such run.
    #[error("run `{id}` does not exist")]
    RunNotFound {
        /// What was asked for.
        id: String,
    },
    /// The run is deleted.
    #[error("run `{id}` is deleted")]
    RunDeleted {
        /// Its id.
        id: String,
    },
    /// A step's run is the pipeline's to change.
    #[error("run `{id}` belongs to a step that is under way: it cannot be {action}")]
    StepRun {
        /// Its id.
        id: String,
        /// What was tried, such as `deleted`.
        action: &'static str,
    },
    /// No such tag.
    #[error("no tag `{key}` in {owner}")]
    TagNotFound {
        /// The tag.
        key: String,
        /// On what.
        owner: String,
    },
    /// No such tag of a logged model.
    #[error("no tag `{key}` of logged model `{model}`")]
    ModelTagNotFound {
        /// The tag.
        key: String,
        /// The model's id.
        model: String,
    },
    /// No such logged model.
    #[error("logged model `{id}` does not exist")]
    LoggedModelNotFound {
        /// What was asked for.
        id: String,
    },
    /// No such trace.
    #[error("trace `{id}` does not exist")]
    TraceNotFound {
        /// What was asked for.
        id: String,
    },
    /// No such tag on a trace.
    #[error("no tag `{key}` on trace `{id}`")]
    TraceTagNotFound {
        /// The tag.
        key: String,
        /// The trace.
        id: String,
    },
    /// Spans of a trace are on their way still, or were lost by its client.
    #[error("spans of trace `{id}` are missing")]
    TraceIncomplete {
        /// Its id.
        id: String,
    },
    /// A trace's spans are in a file of its artifacts.
    #[error("spans of trace `{id}` are among its artifacts")]
    SpansElsewhere {
        /// Its id.
        id: String,
    },
    /// It is not said, or said in two ways, which traces are meant.
    #[error("{reason}")]
    Selection {
        /// What is wrong.
        reason: &'static str,
    },
    /// Too many traces for one run at once.
    #[error("cannot link more than {limit} traces to a run in a single request: there are {found}")]
    TooManyLinks {
        /// How many there were.
        found: usize,
        /// How many may be.
        limit: usize,
    },
    /// An assessment keeps its kind.
    #[error("cannot update {given} value on a {kept} assessment")]
    AssessmentKind {
        /// Of which kind the new value is.
        given: String,
        /// Of which kind the assessment is.
        kept: String,
    },
    /// No such assessment.
    #[error("assessment `{id}` of trace `{trace}` does not exist")]
    AssessmentNotFound {
        /// What was asked for.
        id: String,
        /// The trace.
        trace: String,
    },
    /// A value is not what it should be.
    #[error("invalid {what} `{value}`: {reason}")]
    Invalid {
        /// What it is, such as `key`; in a batch with its place, such as `metrics[3].name`.
        what: String,
        /// The value, shortened.
        value: String,
        /// What it should be.
        reason: String,
    },
    /// A text has too many characters.
    #[error("`{what}` has more than {limit} characters")]
    TooLong {
        /// What it is, such as `key`; in a batch with its place.
        what: String,
        /// How many there may be.
        limit: usize,
    },
    /// A parameter is given twice in one batch.
    #[error("parameter `{key}` is given twice")]
    Repeated {
        /// Its name.
        key: String,
    },
    /// An alias that would be taken for a version.
    #[error("alias `{alias}` is reserved")]
    ReservedAlias {
        /// The alias.
        alias: String,
    },
    /// The id of an experiment is no number.
    #[error("invalid experiment id `{id}`: it is a whole number")]
    ExperimentId {
        /// What was given.
        id: String,
    },
    /// A name in an argument and another in a tag.
    #[error("the run's name is `{name}` and its tag `mlflow.runName` is `{tag}`: give one of them")]
    TwoNames {
        /// The argument.
        name: String,
        /// The tag.
        tag: String,
    },
    /// Too many of something.
    #[error("{found} {what} in one request: at most {limit} are taken")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there were.
        found: usize,
        /// How many may be.
        limit: usize,
    },
    /// A filter or order cannot be understood.
    #[error("invalid {what} at character {at}: {reason}")]
    Filter {
        /// `filter` or `order`.
        what: &'static str,
        /// Counted from 1.
        at: usize,
        /// What was expected.
        reason: String,
    },
    /// What a filter asks of the prompts of traces cannot be asked.
    #[error("{reason}")]
    Prompt {
        /// What is wrong, and what can be asked.
        reason: String,
    },
    /// A page token of another search.
    #[error("{differs}. Expected: {expected}. Found: {found}")]
    OtherSearch {
        /// What differs.
        differs: &'static str,
        /// What was asked for.
        expected: String,
        /// What the token was given for.
        found: String,
    },
    /// A page token that this search has not given.
    #[error("invalid page token: {reason}")]
    PageToken {
        /// Why.
        reason: &'static str,
    },
    /// A path that leaves its root, or is none.
    #[error("invalid path `{path}`")]
    Path {
        /// The path.
        path: String,
    },
    /// A path that is no run's and no logged model's.
    #[error("path `{path}` is nobody's: no such run or logged model")]
    NobodysPath {
        /// The path.
        path: String,
    },
    /// The files of a registered version.
    #[error("path `{path}` is a registered version's: its files stay as they were registered")]
    Registered {
        /// The path.
        path: String,
    },
    /// Artifacts in a root that this server was not started with.
    #[error("artifacts at `{uri}` are outside of the roots that this server was started with")]
    OutsideRoots {
        /// Their root.
        uri: String,
    },
    /// Artifacts that clients reach themselves.
    #[error("artifacts at `{path}` are not this server's to change or list: clients reach them themselves")]
    Elsewhere {
        /// The path.
        path: String,
    },
    /// A store that cannot be imported or written.
    #[error("`{path}` {reason}")]
    NotAStore {
        /// The path.
        path: String,
        /// What is the matter with it.
        reason: String,
    },
    /// Of a run there is nothing to be said in a form.
    #[error("run `{id}` has no provenance to export: {reason}")]
    NoProvenance {
        /// Its id.
        id: String,
        /// Why not.
        reason: String,
    },
    /// A file or folder of another store cannot be read or written.
    #[error("{action} `{path}`")]
    Io {
        /// What was tried, such as `read`.
        action: &'static str,
        /// On what.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Nothing at a path.
    #[error("no artifact at `{path}`")]
    ArtifactNotFound {
        /// The path.
        path: String,
    },
}

impl Error {
    /// An error with a file or folder.
    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Io { action, path, source }
    }

    /// The same error about an item of a list: `name` becomes `metrics[3].name`.
    #[must_use]
    pub fn at(mut self, list: &str, index: usize) -> Self {
        if let Self::Invalid { what, .. } | Self::TooLong { what, .. } = &mut self {
            *what = format!("{list}[{index}].{what}");
        }
        self
    }

    /// The same error without the item's place: the client never sent a list.
    #[must_use]
    pub fn alone(mut self) -> Self {
        if let Self::Invalid { what, .. } | Self::TooLong { what, .. } = &mut self
            && let Some((_, name)) = what.split_once("].")
        {
            *what = name.to_owned();
        }
        self
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            Self::Store(error) => error.code(),
            Self::ExperimentNotFound { .. } | Self::ExperimentNameNotFound { .. } => Code::ExperimentNotFound,
            Self::ExperimentExists { .. } => Code::ExperimentExists,
            Self::ExperimentDeleted { .. }
            | Self::RunDeleted { .. }
            | Self::StepRun { .. }
            | Self::Invalid { .. }
            | Self::TooLong { .. }
            | Self::Repeated { .. }
            | Self::ReservedAlias { .. }
            | Self::ExperimentId { .. }
            | Self::TwoNames { .. }
            | Self::TooMany { .. }
            | Self::Selection { .. }
            | Self::TooManyLinks { .. }
            | Self::AssessmentKind { .. }
            | Self::PageToken { .. }
            | Self::OtherSearch { .. }
            | Self::NobodysPath { .. }
            | Self::Registered { .. }
            | Self::OutsideRoots { .. }
            | Self::Elsewhere { .. }
            | Self::Path { .. } => Code::ValueInvalid,
            Self::RunNotFound { .. } => Code::RunNotFound,
            Self::TagNotFound { .. }
            | Self::ModelTagNotFound { .. }
            | Self::ArtifactNotFound { .. }
            | Self::TraceNotFound { .. }
            | Self::TraceTagNotFound { .. }
            | Self::TraceIncomplete { .. }
            | Self::SpansElsewhere { .. }
            | Self::AssessmentNotFound { .. } => Code::ObjectNotFound,
            Self::LoggedModelNotFound { .. } => Code::ModelNotFound,
            Self::Filter { .. } | Self::Prompt { .. } => Code::FilterInvalid,
            Self::NotAStore { .. } => Code::SourceInvalid,
            Self::NoProvenance { .. } => Code::ValueInvalid,
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => Code::SourceNotFound,
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::DiskFull,
                _ => Code::Io,
            },
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Store(error) => error.hints(),
            Self::Filter { what: "filter", .. } => {
                vec!["a filter looks like: metrics.rmse < 1 AND params.model = 'tree'".to_owned()]
            }
            Self::Invalid { what, .. } if what == "artifact root" => {
                vec!["--artifact-root ./artifacts, for clients on this machine, or leave it out".to_owned()]
            }
            Self::Invalid { what, .. } if what == "artifacts destination" => {
                vec!["--artifacts-destination ./artifacts".to_owned()]
            }
            Self::Filter { .. } => vec!["an order looks like: metrics.rmse ASC".to_owned()],
            Self::ExperimentNotFound { .. }
            | Self::ExperimentNameNotFound { .. }
            | Self::ExperimentExists { .. }
            | Self::ExperimentDeleted { .. }
            | Self::RunNotFound { .. }
            | Self::RunDeleted { .. }
            | Self::StepRun { .. }
            | Self::TagNotFound { .. }
            | Self::ModelTagNotFound { .. }
            | Self::LoggedModelNotFound { .. }
            | Self::TraceNotFound { .. }
            | Self::TraceTagNotFound { .. }
            | Self::TraceIncomplete { .. }
            | Self::SpansElsewhere { .. }
            | Self::Selection { .. }
            | Self::TooManyLinks { .. }
            | Self::AssessmentKind { .. }
            | Self::AssessmentNotFound { .. }
            | Self::Invalid { .. }
            | Self::TooLong { .. }
            | Self::Repeated { .. }
            | Self::ReservedAlias { .. }
            | Self::ExperimentId { .. }
            | Self::TwoNames { .. }
            | Self::TooMany { .. }
            | Self::PageToken { .. }
            | Self::OtherSearch { .. }
            | Self::Prompt { .. }
            | Self::Path { .. }
            | Self::NobodysPath { .. }
            | Self::Registered { .. }
            | Self::Elsewhere { .. }
            | Self::NotAStore { .. }
            | Self::NoProvenance { .. }
            | Self::Io { .. }
            | Self::ArtifactNotFound { .. } => Vec::new(),
            Self::OutsideRoots { .. } => {
                vec!["start the server with the --artifact-root that it had then".to_owned()]
            }
        }
    }
}
