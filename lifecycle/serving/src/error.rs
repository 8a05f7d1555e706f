//! What can go wrong in serving: a model that no engine can run, a request that does not fit it, a
//! prediction that contradicts an earlier one, a log that cannot be written.

use std::io;
use std::path::PathBuf;

use rondo_core::evaluation::Task;
use rondo_core::label::Label;
use rondo_core::{Code, Digest, Explain};

/// The result of serving's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why serving could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no model, or one that is damaged or too large.
    #[error("not a usable ONNX model: {reason}")]
    NotAModel {
        /// What is wrong with it.
        reason: String,
    },
    /// No engine knows an operator of the model.
    #[error("the model's node `{node}` needs the operator `{op}`, which no engine here has")]
    UnsupportedOperator {
        /// The operator with its domain.
        op: String,
        /// The node's name, or its place.
        node: String,
        /// The operators that there are.
        supported: String,
    },
    /// A node of the graph cannot be run as it stands.
    #[error("the model's node `{node}` ({op}) cannot be run: {reason}")]
    NodeInvalid {
        /// The operator.
        op: String,
        /// The node's name, or its place.
        node: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The model's inputs or outputs are not those of a tabular model.
    #[error("the model cannot be served: {reason}")]
    ModelShape {
        /// What is wrong with it.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// The label declared as positive is none of the model's classes.
    #[error("`{positive}` is not a class of the model: its classes are {classes}")]
    PositiveUnknown {
        /// The declared label.
        positive: String,
        /// The model's labels, quoted.
        classes: String,
    },
    /// The file's bytes are not those that were registered.
    #[error("the model file `{path}` has the digest {found}, but {expected} was deployed")]
    DigestMismatch {
        /// The file.
        path: PathBuf,
        /// The digest that was registered.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// No file for a model's digest.
    #[error("the model {digest} is not in the store")]
    ModelMissing {
        /// The digest asked for.
        digest: Digest,
    },
    /// The request's form is not one of those that are understood.
    #[error("the request cannot be understood: {reason}")]
    RequestForm {
        /// What is wrong with it.
        reason: String,
    },
    /// A request has more than it may have.
    #[error("the request has {found} {what}, and {limit} are allowed")]
    RequestTooLarge {
        /// Of what there is too much.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much is allowed.
        limit: usize,
    },
    /// A row has a column that the model does not know.
    #[error("row {row} has the column `{column}`, which the model does not know")]
    ColumnUnknown {
        /// The row, counted from 0.
        row: usize,
        /// The column, as it was sent.
        column: String,
        /// The nearest known column.
        nearest: Option<String>,
    },
    /// A row lacks a column that the model cannot do without.
    #[error("row {row} has no value for `{column}`, which the model cannot do without")]
    ColumnMissing {
        /// The row, counted from 0.
        row: usize,
        /// The column.
        column: String,
    },
    /// A value is not of its column's type.
    #[error("row {row} has {found} for `{column}`, which takes {expected}")]
    ValueType {
        /// The row, counted from 0.
        row: usize,
        /// The column.
        column: String,
        /// What the column takes.
        expected: &'static str,
        /// What was sent.
        found: String,
    },
    /// An operator of the model cannot take the values of a request.
    #[error("the model cannot take these values: {reason} (at its node `{node}`, {op})")]
    ValuesRefused {
        /// The operator.
        op: String,
        /// The node's name, or its place.
        node: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The model answers a row with no number.
    #[error("the model gives row {row} no score: it cannot do without one of the values that are missing")]
    NoScore {
        /// The row, counted from 0.
        row: usize,
    },
    /// A table's column cannot be given to the model.
    #[error("the column `{column}` of `{path}` cannot be given to the model: {reason}")]
    TableColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A Parquet file cannot be read or written.
    #[error("cannot use `{path}` as Parquet: {reason}")]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A model that predicts something else than was declared.
    #[error("the model is declared as `task: {}`, and it {found}", declared.word())]
    TaskMismatch {
        /// What was declared.
        declared: Task,
        /// What it predicts.
        found: String,
        /// The task that it has.
        task: Task,
    },
    /// No endpoint of that name.
    #[error("no deployment `{name}`")]
    DeploymentNotFound {
        /// The name asked for.
        name: String,
        /// The nearest name there is.
        nearest: Option<String>,
    },
    /// A name that cannot be a folder's.
    #[error("`{name}` cannot name a deployment")]
    DeploymentName {
        /// The name.
        name: String,
    },
    /// A prediction id that was answered before for other inputs.
    #[error("the prediction `{id}` was answered before for other inputs")]
    PredictionConflict {
        /// The prediction's id.
        id: String,
    },
    /// A prediction id that cannot be kept.
    #[error("a prediction id has to be a text of 1 to {limit} bytes, and this one has {found}")]
    PredictionId {
        /// Bytes that it has.
        found: usize,
        /// Bytes that it may have.
        limit: usize,
    },
    /// Another label for a prediction whose ground truth is known.
    #[error("the prediction `{id}` has the ground truth {known}, and {given} was given now")]
    TruthConflict {
        /// The prediction's id.
        id: String,
        /// The label that is kept.
        known: Label,
        /// The label given now.
        given: Label,
    },
    /// A label that the model cannot predict.
    #[error("the ground truth of `{id}` {reason}")]
    TruthInvalid {
        /// The prediction's id.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process writes this log.
    #[error("another process writes the prediction log in `{path}`")]
    LogBusy {
        /// The log's folder.
        path: PathBuf,
    },
    /// A file of the log is not what it says it is.
    #[error("`{path}` is not a segment of a prediction log")]
    NotASegment {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("no space left to {doing} `{path}`")]
    DiskFull {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot {doing} `{path}`")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A fault of Rondo's own.
    #[error("serving: {reason}")]
    Internal {
        /// What went wrong.
        reason: String,
    },
}

impl Error {
    /// An input or output error, told apart from a full disk.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        if source.kind() == io::ErrorKind::StorageFull {
            return Self::DiskFull { doing, path };
        }
        Self::Io { doing, path, source }
    }

    /// A file that is not a model.
    pub(crate) fn not_a_model(reason: impl Into<String>) -> Self {
        Self::NotAModel { reason: reason.into() }
    }

    /// A request of a form that is not understood.
    pub(crate) fn form(reason: impl Into<String>) -> Self {
        Self::RequestForm { reason: reason.into() }
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            Self::NotAModel { .. }
            | Self::UnsupportedOperator { .. }
            | Self::NodeInvalid { .. }
            | Self::ModelShape { .. }
            | Self::TaskMismatch { .. }
            | Self::PositiveUnknown { .. } => Code::ModelInvalid,
            Self::DigestMismatch { .. } | Self::NotASegment { .. } => Code::Corrupt,
            Self::ModelMissing { .. } => Code::ObjectNotFound,
            Self::RequestForm { .. }
            | Self::RequestTooLarge { .. }
            | Self::ColumnUnknown { .. }
            | Self::ColumnMissing { .. }
            | Self::ValueType { .. }
            | Self::ValuesRefused { .. }
            | Self::NoScore { .. }
            | Self::PredictionId { .. }
            | Self::TruthInvalid { .. } => Code::RequestInvalid,
            Self::TableColumn { .. } | Self::Table { .. } => Code::TableInvalid,
            Self::DeploymentNotFound { .. } => Code::DeploymentNotFound,
            Self::DeploymentName { .. } => Code::ValueInvalid,
            Self::PredictionConflict { .. } | Self::TruthConflict { .. } => Code::PredictionConflict,
            Self::LogBusy { .. } => Code::Busy,
            Self::DiskFull { .. } => Code::DiskFull,
            Self::Io { .. } => Code::Io,
            Self::Internal { .. } => Code::Internal,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::UnsupportedOperator { supported, .. } => vec![
                "export the model without this operator (skl2onnx: `options={'zipmap': False}`)".to_owned(),
                format!("operators that can be run: {supported}"),
            ],
            Self::ModelShape { hint, .. } => vec![hint.clone()],
            Self::TaskMismatch { task, .. } => vec![format!("set `task: {}` of the model", task.word())],
            Self::PositiveUnknown { .. } => vec!["set `positive:` of the model to one of them".to_owned()],
            Self::DigestMismatch { .. } => vec!["check the store: `rondo data verify`".to_owned()],
            Self::RequestForm { .. } => {
                vec!["send one record as a JSON object: `{\"records\": [{\"column\": value}]}`".to_owned()]
            }
            Self::RequestTooLarge { .. } => vec!["send it in several requests".to_owned()],
            Self::ColumnUnknown { nearest: Some(nearest), .. }
            | Self::DeploymentNotFound { nearest: Some(nearest), .. } => {
                vec![format!("did you mean `{nearest}`?")]
            }
            Self::PredictionConflict { .. } => vec!["give each prediction an id of its own".to_owned()],
            Self::DeploymentName { .. } => {
                vec!["a name is a letter, then letters, digits, `_` or `-`".to_owned()]
            }
            Self::LogBusy { .. } => {
                vec!["send it to the running server instead, or stop that one".to_owned()]
            }
            Self::NotAModel { .. }
            | Self::NodeInvalid { .. }
            | Self::ModelMissing { .. }
            | Self::ColumnUnknown { nearest: None, .. }
            | Self::ColumnMissing { .. }
            | Self::ValueType { .. }
            | Self::ValuesRefused { .. }
            | Self::NoScore { .. }
            | Self::TableColumn { .. }
            | Self::Table { .. }
            | Self::DeploymentNotFound { nearest: None, .. }
            | Self::PredictionId { .. }
            | Self::TruthConflict { .. }
            | Self::TruthInvalid { .. }
            | Self::NotASegment { .. }
            | Self::DiskFull { .. }
            | Self::Io { .. }
            | Self::Internal { .. } => Vec::new(),
        }
    }
}
