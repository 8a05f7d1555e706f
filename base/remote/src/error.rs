//! What can go wrong with a remote.

use rondo_core::{Code, Digest, Explain};

/// An error of a remote.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that no kind of remote has.
    #[error("`{address}` is no address of a remote: {why}")]
    Address {
        /// As it was written.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// It cannot be reached, or gave up half way.
    #[error("{action} in the remote `{remote}`")]
    Unavailable {
        /// Its address.
        remote: String,
        /// What was tried, such as `write packs/ab`.
        action: String,
        /// Why not.
        source: Box<object_store::Error>,
    },
    /// It does not let us.
    #[error("the remote `{remote}` refuses to {action}")]
    Denied {
        /// Its address.
        remote: String,
        /// What was tried.
        action: String,
        /// Its answer.
        source: Box<object_store::Error>,
    },
    /// Somebody is at what cannot be done at the same time.
    #[error("the remote `{remote}` {why}")]
    Busy {
        /// Its address.
        remote: String,
        /// What goes on there.
        why: &'static str,
    },
    /// It was written by a newer Rondo.
    #[error("the remote `{remote}` has format `{found}`, which this version of rondo does not know")]
    Newer {
        /// Its address.
        remote: String,
        /// Its format.
        found: String,
    },
    /// An object is not there.
    #[error("object {digest} is not in the remote `{remote}`")]
    Missing {
        /// Its address.
        remote: String,
        /// Which.
        digest: Digest,
    },
    /// Bytes that came are not what their name says.
    #[error("`{name}` of the remote `{remote}` is corrupt: {why}")]
    Corrupt {
        /// Its address.
        remote: String,
        /// Which of its files or objects.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Packs that its index lists are lost.
    #[error("{packs} packs that the index of the remote `{remote}` lists are not there, or too short")]
    Damaged {
        /// Its address.
        remote: String,
        /// How many.
        packs: u64,
    },
    /// There is no remote at an address.
    #[error("there is no remote at `{remote}`: nothing was ever pushed there")]
    Nowhere {
        /// The address.
        remote: String,
    },
    /// What is kept of a remote on this machine cannot be read or written.
    #[error("{action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The local store refused.
    #[error(transparent)]
    Store(#[from] rondo_store::Error),
    /// The work was stopped from outside.
    #[error("the transfer was stopped")]
    Stopped,
}

impl Error {
    /// Whether a file of the remote that was asked for is not there.
    pub(crate) fn is_missing_file(&self) -> bool {
        matches!(self, Self::Unavailable { source, .. } if matches!(**source, object_store::Error::NotFound { .. }))
    }

    /// Whether something is not there, or not what it should be, while the remote itself answers.
    pub fn is_spoilt(&self) -> bool {
        self.is_missing_file()
            || matches!(self, Self::Damaged { .. })
            || matches!(self, Self::Corrupt { .. } | Self::Missing { .. })
    }

    pub(crate) fn io(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            Self::Address { .. } => Code::RemoteInvalid,
            Self::Unavailable { .. } | Self::Stopped => Code::RemoteUnavailable,
            Self::Denied { .. } => Code::RemoteDenied,
            Self::Busy { .. } => Code::Busy,
            Self::Newer { .. } => Code::RemoteInvalid,
            Self::Missing { .. } => Code::ObjectNotFound,
            Self::Corrupt { .. } | Self::Damaged { .. } => Code::DataBroken,
            Self::Nowhere { .. } => Code::RemoteInvalid,
            Self::Io { .. } => Code::Io,
            Self::Store(error) => error.code(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Address { .. } => vec![
                "a folder (`/mnt/team`), `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`"
                    .to_owned(),
            ],
            Self::Denied { .. } => {
                vec!["the credentials come from the environment, such as `AWS_ACCESS_KEY_ID`".to_owned()]
            }
            Self::Unavailable { .. } | Self::Stopped => {
                vec!["say it again: what has arrived is not sent a second time".to_owned()]
            }
            Self::Busy { .. } => {
                vec!["say it again in a while: what was killed stands in nobody's way after 15 minutes".to_owned()]
            }
            Self::Newer { .. } => vec!["install a newer rondo".to_owned()],
            Self::Missing { .. } => vec!["push it again from where it is: `rondo data push`".to_owned()],
            Self::Store(error) => error.hints(),
            Self::Corrupt { .. } | Self::Damaged { .. } => {
                vec!["from a clone that has it all: rondo data verify --remote --heal".to_owned()]
            }
            Self::Nowhere { remote } => vec![
                "its name or address may be mistyped".to_owned(),
                format!("to begin one: rondo data push --remote {remote}"),
            ],
            Self::Io { .. } => Vec::new(),
        }
    }
}
