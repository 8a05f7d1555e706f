//! What can go wrong where the stages meet: mostly what went wrong in a stage.

use std::path::{Path, PathBuf};

use rondo_core::ports::PortError;
use rondo_core::{Code, Explain, Objection};
use rondo_project::quote;

/// An error of the platform.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An error of a stage, as it is.
    #[error(transparent)]
    Stage(Inner),
    /// A file cannot be read or written.
    #[error("{action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Something that was named does not exist.
    #[error("find {kind} `{name}`")]
    NotFound {
        /// What it is.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Its line in the table of codes.
        code: Code,
        /// What to do.
        hint: Option<String>,
    },
    /// A prediction's id that several endpoints have answered with.
    #[error("find one prediction `{id}`: the endpoints {} have answered with it", listed(endpoints))]
    SeveralEndpoints {
        /// The id.
        id: String,
        /// The endpoints.
        endpoints: Vec<String>,
    },
    /// Something is not as it has to be.
    #[error("{message}")]
    Invalid {
        /// Its line in the table of codes.
        code: Code,
        /// What is the matter.
        message: String,
    },
}

/// An error of a stage, behind its port.
#[derive(Debug)]
pub struct Inner(PortError);

impl std::fmt::Display for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Inner {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Error {
    /// An error with a file or folder.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// An error from the other side of a port.
    pub fn port(error: PortError) -> Self {
        Self::Stage(Inner(error))
    }

    /// The error of a stage itself, where it is of this type.
    pub fn stage<E: std::error::Error + 'static>(&self) -> Option<&E> {
        match self {
            Self::Stage(Inner(error)) => {
                let error: &(dyn std::error::Error + 'static) = &**error;
                error.downcast_ref()
            }
            Self::Io { .. }
            | Self::NotFound { .. }
            | Self::SeveralEndpoints { .. }
            | Self::Invalid { .. } => None,
        }
    }

    /// A thing that does not exist.
    pub fn not_found(kind: &'static str, name: &str, code: Code) -> Self {
        Self::NotFound { kind, name: name.to_owned(), code, hint: None }
    }
}

macro_rules! from_stage {
    ($($stage:ty),* $(,)?) => {
        $(impl From<$stage> for Error {
            fn from(error: $stage) -> Self {
                Self::port(Box::new(error))
            }
        })*
    };
}

from_stage!(
    rondo_store::Error,
    rondo_table::TableError,
    rondo_data::Error,
    rondo_pipeline::Error,
    rondo_remote::Error,
    rondo_notebook::Error,
    rondo_tracking::Error,
    rondo_registry::Error,
    rondo_serving::Error,
    rondo_monitoring::Error,
    crate::http::server::ListenError,
    crate::presence::UpAlready,
);

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            Self::Stage(Inner(error)) => error.code(),
            Self::Io { .. } => Code::Io,
            Self::SeveralEndpoints { .. } => Code::Usage,
            Self::NotFound { code, .. } | Self::Invalid { code, .. } => *code,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Stage(Inner(error)) => error.hints(),
            Self::NotFound { hint, .. } => hint.clone().into_iter().collect(),
            Self::SeveralEndpoints { id, endpoints } => {
                let endpoint = endpoints.first().map_or("ENDPOINT", String::as_str);
                vec![format!("say which: rondo trace {} --endpoint {endpoint}", quote::word(id))]
            }
            Self::Io { .. } | Self::Invalid { .. } => Vec::new(),
        }
    }

    fn objections(&self) -> Vec<Objection> {
        match self {
            Self::Stage(Inner(error)) => error.objections(),
            Self::Io { .. }
            | Self::NotFound { .. }
            | Self::SeveralEndpoints { .. }
            | Self::Invalid { .. } => Vec::new(),
        }
    }
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_in_a_hint_is_one_word_of_a_shell() {
        let (id, endpoints) = ("it's; $(x)".to_owned(), vec!["one".to_owned(), "two".to_owned()]);
        let error = Error::SeveralEndpoints { id, endpoints };
        assert_eq!(error.hints(), [r"say which: rondo trace 'it'\''s; $(x)' --endpoint one"]);
    }
}
