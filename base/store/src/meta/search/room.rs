//! The rooms: where each keeps its attributes, and the tables of keys and values beside it.
//!
//! SQL that only SQLite has: `json_extract`.

use super::sql::Key;
use super::{Attribute, Room};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Real,
    Text,
}

/// A table of keys and values beside a room's own.
pub(crate) struct Side {
    pub(super) table: &'static str,
    /// What joins a row `x` of it to the row `r` that is searched.
    pub(super) join: &'static str,
    /// Whether a key has one row at most.
    pub(super) single: bool,
}

impl Room {
    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::Runs => "run",
            Self::Experiments => "experiment",
            Self::LoggedModels => "logged_model",
            Self::Models => "model",
            Self::Versions => "model_version",
        }
    }

    pub(super) const fn experiment(self) -> Option<&'static str> {
        match self {
            Self::Runs | Self::LoggedModels => Some("r.experiment"),
            Self::Experiments => Some("r.id"),
            Self::Models | Self::Versions => None,
        }
    }

    pub(super) const fn deletes_softly(self) -> bool {
        match self {
            Self::Runs | Self::Experiments | Self::LoggedModels => true,
            Self::Models | Self::Versions => false,
        }
    }

    /// The expression of an attribute, where the room has it.
    pub(super) const fn column(self, attribute: Attribute) -> Option<(&'static str, Kind)> {
        use Attribute as A;
        match self {
            Self::Runs => match attribute {
                A::Id => Some(("r.id", Kind::Text)),
                A::Name => Some(("r.name", Kind::Text)),
                A::User => Some((
                    "COALESCE((SELECT t.value FROM run_tag t WHERE t.run = r.id AND t.key = 'mlflow.user'), r.user_name)",
                    Kind::Text,
                )),
                A::Status => Some(("r.state", Kind::Text)),
                A::ArtifactUri => Some((
                    "((SELECT e.artifact_location FROM experiment e WHERE e.id = r.experiment) || '/' || r.id || '/artifacts')",
                    Kind::Text,
                )),
                A::Started | A::Created => Some(("r.started", Kind::Int)),
                A::Ended => Some(("r.ended", Kind::Int)),
                A::Parent => Some((
                    "COALESCE((SELECT t.value FROM run_tag t WHERE t.run = r.id AND t.key = 'mlflow.parentRunId'), r.parent)",
                    Kind::Text,
                )),
                A::Updated | A::Type | A::SourceRun | A::Number | A::Source => None,
            },
            Self::Experiments => match attribute {
                A::Id => Some(("CAST(r.id AS TEXT)", Kind::Text)),
                A::Name => Some(("r.name", Kind::Text)),
                A::Created => Some(("r.created", Kind::Int)),
                A::Updated => Some(("r.updated", Kind::Int)),
                A::ArtifactUri => Some(("r.artifact_location", Kind::Text)),
                A::User
                | A::Status
                | A::Started
                | A::Ended
                | A::Parent
                | A::Type
                | A::SourceRun
                | A::Number
                | A::Source => None,
            },
            Self::LoggedModels => match attribute {
                A::Id => Some(("r.id", Kind::Text)),
                A::Name => Some(("r.name", Kind::Text)),
                A::Status => Some(("r.status", Kind::Text)),
                A::Created => Some(("r.created", Kind::Int)),
                A::Updated => Some(("r.updated", Kind::Int)),
                A::Type => Some(("json_extract(r.record, '$.model_type')", Kind::Text)),
                A::SourceRun => Some(("r.run", Kind::Text)),
                A::User | A::ArtifactUri | A::Started | A::Ended | A::Parent | A::Number | A::Source => None,
            },
            Self::Models => match attribute {
                A::Id | A::Name => Some(("r.name", Kind::Text)),
                A::Created => Some(("r.created", Kind::Int)),
                A::Updated => Some(("r.updated", Kind::Int)),
                A::User
                | A::Status
                | A::ArtifactUri
                | A::Started
                | A::Ended
                | A::Parent
                | A::Type
                | A::SourceRun
                | A::Number
                | A::Source => None,
            },
            Self::Versions => match attribute {
                A::Name => Some(("r.model", Kind::Text)),
                A::Number => Some(("r.version", Kind::Int)),
                A::Created => Some(("r.created", Kind::Int)),
                A::Updated => Some(("r.updated", Kind::Int)),
                A::SourceRun => Some(("r.run", Kind::Text)),
                A::Source => Some(("json_extract(r.record, '$.source')", Kind::Text)),
                A::Id
                | A::User
                | A::Status
                | A::ArtifactUri
                | A::Started
                | A::Ended
                | A::Parent
                | A::Type => None,
            },
        }
    }

    /// Whether a row without a value for an attribute has the empty text there, to filters and orders.
    pub(super) const fn blank(self, attribute: Attribute) -> bool {
        match self {
            Self::LoggedModels => matches!(attribute, Attribute::Type | Attribute::SourceRun),
            Self::Versions => matches!(attribute, Attribute::SourceRun),
            Self::Runs | Self::Experiments | Self::Models => false,
        }
    }

    /// Whether values of an attribute are numbers; nothing where the room lacks it.
    pub fn is_number(self, attribute: Attribute) -> Option<bool> {
        self.column(attribute).map(|(_, kind)| kind != Kind::Text)
    }

    pub(super) const fn tags(self) -> Side {
        match self {
            Self::Runs => Side { table: "run_tag", join: "x.run = r.id", single: true },
            Self::Experiments => Side { table: "experiment_tag", join: "x.experiment = r.id", single: true },
            Self::LoggedModels => Side { table: "logged_model_tag", join: "x.model = r.id", single: true },
            Self::Models => Side { table: "model_tag", join: "x.model = r.name", single: true },
            Self::Versions => Side {
                table: "model_version_tag",
                join: "x.model = r.model AND x.version = r.version",
                single: true,
            },
        }
    }

    pub(super) const fn params(self) -> Option<Side> {
        match self {
            Self::Runs => Some(Side { table: "run_param", join: "x.run = r.id", single: true }),
            Self::LoggedModels => {
                Some(Side { table: "logged_model_param", join: "x.model = r.id", single: true })
            }
            Self::Experiments | Self::Models | Self::Versions => None,
        }
    }

    pub(super) const fn metrics(self) -> Option<Side> {
        match self {
            Self::Runs => Some(Side { table: "metric_latest", join: "x.run = r.id", single: true }),
            Self::LoggedModels => {
                Some(Side { table: "logged_model_metric", join: "x.model = r.id", single: false })
            }
            Self::Experiments | Self::Models | Self::Versions => None,
        }
    }

    /// The order that ends every order: total, so that pages neither overlap nor leave gaps. What a room is
    /// sorted by when nobody asks is for some not what breaks the ties of an order that was `asked` for.
    pub(super) fn own_order(self, asked: bool) -> Vec<Key> {
        let key =
            |sql: &str, kind, descending| Key { sql: sql.to_owned(), kind, descending, constant: false };
        match self {
            Self::Runs => vec![key("r.started", Kind::Int, true), key("r.id", Kind::Text, false)],
            Self::Experiments if asked => vec![key("r.id", Kind::Int, true)],
            Self::Experiments => vec![key("r.created", Kind::Int, true), key("r.id", Kind::Int, false)],
            Self::LoggedModels => vec![key("r.created", Kind::Int, true), key("r.id", Kind::Text, false)],
            Self::Models => vec![key("r.name", Kind::Text, false)],
            Self::Versions => {
                let mut keys = vec![key("r.model", Kind::Text, false), key("r.version", Kind::Int, true)];
                if !asked {
                    keys.insert(0, key("r.updated", Kind::Int, true));
                }
                keys
            }
        }
    }
}
