//! What can go wrong with the registry.

use rondo_core::ports::PortError;
use rondo_core::{Code, Explain};
use rondo_project::quote::word;

/// An error of the registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] rondo_store::Error),
    /// The rows cannot be read.
    #[error(transparent)]
    Table(#[from] rondo_table::TableError),
    /// The model cannot score the rows.
    #[error("score the rows: {0}")]
    Score(PortError),
    /// A column that the evaluation needs is missing or of another kind.
    #[error("evaluate by column `{column}`: {problem}")]
    Column {
        /// The column.
        column: String,
        /// What is the matter with it.
        problem: String,
    },
    /// A `with:` block of the `evaluate` package that cannot be used.
    #[error("evaluate: {0}")]
    With(String),
    /// What the `package-model` package cannot do.
    #[error("package-model: {0}")]
    Package(String),
    /// A result file cannot be read or written.
    #[error("{action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// No such version, or no earlier one to go back to.
    #[error("model `{model}` has no {what}")]
    NoVersion {
        /// The model.
        model: String,
        /// What was looked for.
        what: String,
    },
    /// The gate did not pass.
    #[error("model `{model}` version {version} does not pass its gate: {reason}")]
    Refused {
        /// The model.
        model: String,
        /// The version.
        version: i64,
        /// The rule that failed.
        reason: String,
    },
    /// The gate of a version that should be approved did not pass.
    #[error("approve model `{model}` version {version}: it does not pass its gate: {reason}")]
    Unworthy {
        /// The model.
        model: String,
        /// The version.
        version: i64,
        /// The rule that failed.
        reason: String,
    },
    /// A version that waits for its approval, or was rejected.
    #[error("model `{model}` version {version} is not approved")]
    Unapproved {
        /// The model.
        model: String,
        /// The version.
        version: i64,
    },
    /// A protected alias.
    #[error("alias `{alias}` of model `{model}` stays where it is: {reason}")]
    Protected {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
        /// Where it should have gone.
        version: Option<i64>,
        /// What keeps it.
        reason: String,
    },
    /// A version that something uses.
    #[error("model `{model}` version {version} is needed by {by}")]
    InUse {
        /// The model.
        model: String,
        /// The version.
        version: i64,
        /// What needs it.
        by: String,
    },
    /// A webhook's name that cannot be taken.
    #[error(
        "webhook name `{name}` is invalid: it must begin and end with a letter or digit, have at most 63 characters, and none but letters, digits, dots, underscores and hyphens"
    )]
    WebhookName {
        /// The name, shortened.
        name: String,
    },
    /// A webhook's URL that cannot be taken.
    #[error(transparent)]
    WebhookUrl(crate::webhooks::target::UrlFault),
    /// No such event.
    #[error("there is no event `{event}`")]
    WebhookEvent {
        /// What was asked for.
        event: String,
    },
    /// A webhook's secret cannot be sealed or opened.
    #[error("a webhook's secret cannot be read with the key `webhook.key` of this store")]
    WebhookSecret,
    /// Nothing can be sent.
    #[error("set up the sending of webhooks")]
    WebhookClient(reqwest::Error),
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            Self::Store(error) => error.code(),
            Self::Table(error) => error.code(),
            Self::Score(error) => error.code(),
            Self::Column { .. } => Code::ColumnNotFound,
            Self::With(_) | Self::Package(_) => Code::ValueInvalid,
            Self::Io { .. } => Code::Io,
            Self::NoVersion { .. } => Code::VersionNotFound,
            Self::Refused { .. } | Self::Unworthy { .. } => Code::GateRefused,
            Self::Unapproved { .. } => Code::ApprovalMissing,
            Self::Protected { .. } => Code::Denied,
            Self::InUse { .. } => Code::Needed,
            Self::WebhookName { .. } | Self::WebhookEvent { .. } => Code::ValueInvalid,
            Self::WebhookUrl(_) => Code::WebhookRefused,
            Self::WebhookSecret => Code::Corrupt,
            Self::WebhookClient(_) => Code::Internal,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Store(error) => error.hints(),
            Self::Table(error) => error.hints(),
            Self::Score(error) => error.hints(),
            Self::NoVersion { model, .. } => vec![format!("rondo models show {}", word(model))],
            Self::Refused { model, version, .. } => {
                vec![format!("rondo models promote {} {version} --force --why \"…\"", word(model))]
            }
            Self::Unworthy { model, version, .. } => {
                vec![format!("rondo models approve {}/{version} --force --why \"…\"", word(model))]
            }
            Self::Unapproved { model, version } => {
                vec![format!("rondo models approve {}/{version} --why \"…\"", word(model))]
            }
            Self::Protected { model, version: Some(version), .. } => {
                vec![format!("rondo models approve {}/{version} --why \"…\"", word(model))]
            }
            Self::Protected { model, alias, version: None, .. } => {
                vec![format!("rondo models protect {} --alias {} --off", word(model), word(alias))]
            }
            Self::InUse { model, .. } => {
                vec![format!("rondo models promote {} VERSION puts another in its place", word(model))]
            }
            Self::WebhookUrl(_) => {
                vec!["a private receiver has to be let in: rondo server --webhook-allow HOST".to_owned()]
            }
            Self::WebhookSecret => vec!["set the webhook's secret again".to_owned()],
            Self::Column { .. }
            | Self::With(_)
            | Self::Package(_)
            | Self::Io { .. }
            | Self::WebhookName { .. }
            | Self::WebhookEvent { .. }
            | Self::WebhookClient(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_in_a_hint_is_one_word_of_a_shell() {
        let error = Error::Unapproved { model: "my model".to_owned(), version: 3 };
        assert_eq!(error.hints(), ["rondo models approve 'my model'/3 --why \"…\""]);
    }
}
