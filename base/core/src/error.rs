//! The one table of error codes.
//!
//! Every error of every crate has a [`Code`]; a code has a [`Kind`]; and the kind alone decides the exit
//! code, the HTTP status and whether trying again makes sense. Nothing is classified by its text.

use std::error::Error as StdError;

/// What sort of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A fault of Rondo, or of the machine under it.
    Internal,
    /// What was asked for, or a file that was given, is not valid.
    Invalid,
    /// A thing that was named does not exist.
    NotFound,
    /// The thing exists already, or somebody else is changing it.
    Conflict,
    /// Not allowed.
    Denied,
    /// The work was done and its verdict is negative: a check, gate, drift test or reproduction.
    Verdict,
    /// What is kept is not what it was any more.
    Damaged,
    /// A step's own command failed.
    StepFailed,
    /// Something that is needed cannot be reached just now.
    Unavailable,
    /// Stopped by the user.
    Interrupted,
}

impl Kind {
    /// The exit code of the process: a documented promise.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Invalid => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::Denied => 5,
            Self::Verdict | Self::Damaged => 6,
            Self::StepFailed => 7,
            Self::Unavailable => 8,
            Self::Interrupted => 130,
        }
    }

    /// The HTTP status of the answer.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Internal | Self::Damaged => 500,
            Self::Invalid => 400,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Denied => 403,
            Self::Verdict | Self::StepFailed => 422,
            Self::Unavailable => 503,
            Self::Interrupted => 499,
        }
    }

    /// Whether the same call may succeed later without a change by the caller.
    pub const fn retryable(self) -> bool {
        match self {
            Self::Unavailable => true,
            Self::Internal
            | Self::Invalid
            | Self::NotFound
            | Self::Conflict
            | Self::Denied
            | Self::Verdict
            | Self::Damaged
            | Self::StepFailed
            | Self::Interrupted => false,
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $kind:ident;)*) => {
        /// The name of an error, the same on the command line, over HTTP and in the docs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The stable text, such as `dataset-not-found`; also the anchor in the reference.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What sort of error it is.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)* }
            }
        }
    };
}

codes! {
    /// A fault of Rondo itself.
    Internal = "internal", Internal;
    /// Reading or writing a file failed.
    Io = "io", Internal;
    /// The metadata database failed.
    Database = "database", Internal;
    /// Stored bytes are not what their digest says.
    Corrupt = "corrupt", Damaged;
    /// The disk is full.
    DiskFull = "disk-full", Unavailable;
    /// The command line cannot be understood.
    Usage = "usage", Invalid;
    /// The project file has faults.
    ProjectInvalid = "project-invalid", Invalid;
    /// No project file here or above.
    ProjectNotFound = "project-not-found", NotFound;
    /// A value is out of its range or of the wrong form.
    ValueInvalid = "value-invalid", Invalid;
    /// A table cannot be read.
    TableInvalid = "table-invalid", Invalid;
    /// A column that was named is not in the table.
    ColumnNotFound = "column-not-found", NotFound;
    /// A source cannot be understood.
    SourceInvalid = "source-invalid", Invalid;
    /// A source cannot be reached.
    SourceUnavailable = "source-unavailable", Unavailable;
    /// A source has no such file.
    SourceNotFound = "source-not-found", NotFound;
    /// No such dataset or version.
    DatasetNotFound = "dataset-not-found", NotFound;
    /// A statement of SQL that the engine refuses.
    SqlInvalid = "sql-invalid", Invalid;
    /// A statement of SQL that came to a bad end.
    SqlFailed = "sql-failed", StepFailed;
    /// Rows for testing are known from training, or give the answer away.
    LeakageFound = "leakage-found", Verdict;
    /// The data break their checks.
    ChecksFailed = "checks-failed", Verdict;
    /// Files that are in no version would be lost.
    FilesInTheWay = "files-in-the-way", Conflict;
    /// Objects that versions need are missing or damaged.
    DataBroken = "data-broken", Verdict;
    /// Sources are not what their latest versions were made of, or not what the lock pins.
    DataChanged = "data-changed", Verdict;
    /// No such object.
    ObjectNotFound = "object-not-found", NotFound;
    /// A remote's address cannot be understood, or what lies there.
    RemoteInvalid = "remote-invalid", Invalid;
    /// A remote cannot be reached.
    RemoteUnavailable = "remote-unavailable", Unavailable;
    /// A remote does not let us.
    RemoteDenied = "remote-denied", Denied;
    /// No such ref.
    RefNotFound = "ref-not-found", NotFound;
    /// A ref was moved by somebody else.
    RefMoved = "ref-moved", Conflict;
    /// No such step, or one that cannot be run.
    StepNotFound = "step-not-found", NotFound;
    /// A step's command failed or left out a declared output.
    StepFailed = "step-failed", StepFailed;
    /// A run is not under way on this machine, or does not stop.
    RunUnreachable = "run-unreachable", Unavailable;
    /// An environment cannot be made.
    EnvironmentFailed = "environment-failed", Unavailable;
    /// The lock file does not agree and `--locked` was given.
    LockChanged = "lock-changed", Conflict;
    /// No such package.
    PackageNotFound = "package-not-found", NotFound;
    /// A package cannot be used as it stands.
    PackageInvalid = "package-invalid", Invalid;
    /// A notebook cannot be read.
    NotebookInvalid = "notebook-invalid", Invalid;
    /// No kernel of that name.
    KernelNotFound = "kernel-not-found", NotFound;
    /// A notebook's parameter is unknown or of the wrong type.
    NotebookParameter = "notebook-parameter", Invalid;
    /// A cell of a notebook raised an error.
    NotebookFailed = "notebook-failed", StepFailed;
    /// The kernel died or did not start.
    KernelDied = "kernel-died", StepFailed;
    /// No such experiment.
    ExperimentNotFound = "experiment-not-found", NotFound;
    /// An experiment of that name exists.
    ExperimentExists = "experiment-exists", Conflict;
    /// No such run.
    RunNotFound = "run-not-found", NotFound;
    /// A parameter that was logged before with another value.
    ParameterChanged = "parameter-changed", Invalid;
    /// A search filter cannot be understood.
    FilterInvalid = "filter-invalid", Invalid;
    /// No such model.
    ModelNotFound = "model-not-found", NotFound;
    /// A model of that name exists.
    ModelExists = "model-exists", Conflict;
    /// No such model version.
    VersionNotFound = "version-not-found", NotFound;
    /// No such alias.
    AliasNotFound = "alias-not-found", NotFound;
    /// Something else needs it: it cannot be deleted.
    Needed = "needed", Conflict;
    /// No such webhook.
    WebhookNotFound = "webhook-not-found", NotFound;
    /// A webhook's receiver is one that must not be reached.
    WebhookRefused = "webhook-refused", Invalid;
    /// A version waits for its approval.
    ApprovalMissing = "approval-missing", Denied;
    /// A gate refused a promotion.
    GateRefused = "gate-refused", Verdict;
    /// A model file cannot be run by any engine.
    ModelInvalid = "model-invalid", Invalid;
    /// A request does not fit the model's signature.
    RequestInvalid = "request-invalid", Invalid;
    /// No such deployment.
    DeploymentNotFound = "deployment-not-found", NotFound;
    /// More requests than can be held.
    Overloaded = "overloaded", Unavailable;
    /// Requests to an endpoint were not answered.
    EndpointFailed = "endpoint-failed", Unavailable;
    /// No such prediction.
    PredictionNotFound = "prediction-not-found", NotFound;
    /// Two different truths or predictions for one id.
    PredictionConflict = "prediction-conflict", Conflict;
    /// Drift or an objective crossed.
    DriftFound = "drift-found", Verdict;
    /// A run made again gave other digests.
    NotReproduced = "not-reproduced", Verdict;
    /// A run cannot be made again: something that it was made from is not to be had.
    NotRepeatable = "not-repeatable", Verdict;
    /// Another process holds what is needed.
    Busy = "busy", Unavailable;
    /// No backup is in that folder.
    BackupNotFound = "backup-not-found", NotFound;
    /// The folder that a store should be made in is in use.
    StoreExists = "store-exists", Conflict;
    /// Not everything of another store could be brought in or written out.
    ImportIncomplete = "import-incomplete", Verdict;
    /// Not allowed.
    Denied = "denied", Denied;
    /// No such user.
    UserNotFound = "user-not-found", NotFound;
    /// A user of that name exists.
    UserExists = "user-exists", Conflict;
    /// The last administrator would be gone.
    LastAdmin = "last-admin", Conflict;
    /// No such token.
    TokenNotFound = "token-not-found", NotFound;
    /// No such permission was given.
    PermissionNotFound = "permission-not-found", NotFound;
    /// No such app.
    AppNotFound = "app-not-found", NotFound;
    /// An app does not answer just now, or no process has it.
    AppUnavailable = "app-unavailable", Unavailable;
    /// Stopped by the user.
    Interrupted = "interrupted", Interrupted;
    /// A port or address cannot be listened on.
    ListenFailed = "listen-failed", Unavailable;
}

/// What every error of Rondo can say of itself beside its message.
pub trait Explain: StdError {
    /// Its line in the table of codes.
    fn code(&self) -> Code;

    /// What to do about it, each something that can be pasted or looked up; empty where nothing is known.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }

    /// What in the project file it is about, where it is about that.
    fn objections(&self) -> Vec<Objection> {
        Vec::new()
    }
}

/// Something that the project file says and that cannot be put to use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Objection {
    /// Where it says so, such as `steps.train.environment`; of a package's objection, within its `with:` block.
    pub path: String,
    /// What is the matter.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl From<String> for Objection {
    fn from(message: String) -> Self {
        Self { message, ..Self::default() }
    }
}

impl std::fmt::Display for Objection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// What an error was caused by, nearest first; what stands in the text of a nearer one already is left out.
pub fn causes(error: &dyn StdError) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !causes.iter().any(|nearer| nearer.contains(&text)) {
            causes.push(text);
        }
        next = cause.source();
    }
    causes
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_cause_that_a_nearer_one_tells_is_not_told_again() {
        #[derive(Debug, thiserror::Error)]
        #[error("{text}")]
        struct Link {
            text: &'static str,
            source: Option<Box<Link>>,
        }
        let texts = ["refused", "connect", "sending request", "HTTP error: sending request", "read it"];
        let chain = texts.into_iter().fold(None, |source, text| Some(Box::new(Link { text, source })));
        let told = causes(chain.unwrap().as_ref());
        assert_eq!(told, ["HTTP error: sending request", "connect", "refused"]);
    }

    #[test]
    fn codes_are_unique_and_well_formed() {
        let mut seen = HashSet::new();
        for code in Code::ALL {
            let text = code.text();
            assert!(seen.insert(text), "{text} stands twice");
            assert!(text.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{text}");
        }
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        assert_eq!(Code::Usage.kind().exit_code(), 2);
        assert_eq!(Code::ChecksFailed.kind().exit_code(), 6);
        assert_eq!(Code::StepFailed.kind().exit_code(), 7);
        assert_eq!(Code::Interrupted.kind().exit_code(), 130);
    }
}
