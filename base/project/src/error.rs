//! What can go wrong with the project file and its lock file.

use rondo_core::{Code, Explain};

use crate::fault::{self, Fault};

/// An error of this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// There is no project file.
    #[error("no `{file}` here")]
    NoProject {
        /// Its name.
        file: String,
    },
    /// The file cannot be read, or is not UTF-8 text.
    #[error("`{file}` cannot be read as UTF-8 text")]
    Unreadable {
        /// Its name.
        file: String,
    },
    /// The file has faults.
    #[error("`{file}` has {}", count(.faults.len()))]
    Invalid {
        /// Its name.
        file: String,
        /// Its text, to show the faulty lines.
        source_text: String,
        /// The faults in the order of their places.
        faults: Vec<Fault>,
    },
    /// An entry of that name is there already.
    #[error("`{section}:` has an entry `{name}` already")]
    NameTaken {
        /// The section.
        section: String,
        /// The name.
        name: String,
    },
    /// A text that cannot be a name.
    #[error("`{name}` cannot be a name")]
    BadName {
        /// The text.
        name: String,
    },
    /// The text is written in a way that cannot be added to.
    #[error("nothing can be added to `{section}:` as it is written")]
    NotEditable {
        /// The section.
        section: String,
    },
}

fn count(faults: usize) -> String {
    if faults == 1 { "a fault".into() } else { format!("{faults} faults") }
}

impl Error {
    /// The faults as text, each with its line; empty for other errors.
    pub fn report(&self) -> String {
        match self {
            Self::Invalid { file, source_text, faults } => fault::render(file, source_text, faults),
            Self::NoProject { .. }
            | Self::Unreadable { .. }
            | Self::NameTaken { .. }
            | Self::BadName { .. }
            | Self::NotEditable { .. } => String::new(),
        }
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            Self::NoProject { .. } => Code::ProjectNotFound,
            Self::Unreadable { .. } | Self::Invalid { .. } | Self::NotEditable { .. } => Code::ProjectInvalid,
            Self::NameTaken { .. } | Self::BadName { .. } => Code::ValueInvalid,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoProject { .. } => vec!["start one here: `rondo new .`".into()],
            Self::NameTaken { name, .. } => vec![format!("choose another: `--name {name}2`")],
            Self::BadName { .. } => {
                vec!["choose one: `--name NAME`, a letter, then letters, digits, `_` or `-`".into()]
            }
            Self::NotEditable { section } => {
                vec![format!("write `{section}:` as a block, one entry a line, or add the entry by hand")]
            }
            Self::Unreadable { .. } | Self::Invalid { .. } => Vec::new(),
        }
    }
}
