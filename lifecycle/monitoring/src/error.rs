//! What can go wrong with monitoring.

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

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            Self::Store(error) => error.code(),
            Self::Table(error) => error.code(),
            Self::Check { .. } => Code::ProjectInvalid,
            Self::Reference { .. } => Code::Corrupt,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Store(error) => error.hints(),
            Self::Table(error) => error.hints(),
            Self::Check { hint, .. } => hint.iter().cloned().collect(),
            Self::Reference { .. } => Vec::new(),
        }
    }
}
