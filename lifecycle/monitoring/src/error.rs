//! What can go wrong with monitoring.

use rondo_core::evaluation::Task;
use rondo_core::{Code, Explain};

/// An error of monitoring.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] rondo_store::Error),
    /// A table cannot be read or compared.
    #[error(transparent)]
    Table(#[from] rondo_table::TableError),
    /// A check cannot be asked of live inputs.
    #[error("check the inputs: {reason}")]
    Check {
        /// Why not.
        reason: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// A prediction, or its truth, is none of the task that the model is declared to have.
    #[error(
        "score the model `{model}`, a {}: the prediction `{prediction}` of version {version} {problem}",
        noun(*task)
    )]
    Task {
        /// The model.
        model: String,
        /// What it is declared to predict.
        task: Task,
        /// The prediction's id.
        prediction: String,
        /// The version that answered.
        version: u32,
        /// What it is instead.
        problem: String,
    },
    /// The reference of a model version cannot be read.
    #[error("read the reference of model `{model}` version {version}")]
    Reference {
        /// The model.
        model: String,
        /// The version.
        version: u32,
        /// Why not.
        source: serde_json::Error,
    },
}

const fn noun(task: Task) -> &'static str {
    match task {
        Task::Binary => "binary task",
        Task::Multiclass => "task of several classes",
        Task::Regression => "regression",
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            Self::Store(error) => error.code(),
            Self::Table(error) => error.code(),
            Self::Check { .. } | Self::Task { .. } => Code::ProjectInvalid,
            Self::Reference { .. } => Code::Corrupt,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Store(error) => error.hints(),
            Self::Table(error) => error.hints(),
            Self::Check { hint, .. } => hint.iter().cloned().collect(),
            Self::Task { model, .. } => {
                vec![format!("`models.{model}.task` in rondo.yaml has to be what the version predicts")]
            }
            Self::Reference { .. } => Vec::new(),
        }
    }
}
