//! The journal: every move of a ref, for ever.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Digest, RunId, Timestamp};

/// Who or what moved something, and why: what a caller must say to change a ref.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Because {
    /// A user's name, or `rondo` for what a trigger does.
    pub actor: String,
    /// One sentence.
    pub why: String,
    /// The run that led to it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<RunId>,
    /// The numbers behind it (verdicts, scores), as JSON.
    #[serde(skip_serializing_if = "Value::is_null", default)]
    pub evidence: Value,
}

impl Because {
    /// A reason without a run or numbers.
    pub fn new(actor: &str, why: &str) -> Self {
        Self { actor: actor.to_owned(), why: why.to_owned(), run: None, evidence: Value::Null }
    }

    /// The same, by this run.
    pub fn by_run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    /// The same, with numbers.
    pub fn with_evidence(mut self, evidence: Value) -> Self {
        self.evidence = evidence;
        self
    }
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Counted up without gaps being reused.
    pub seq: i64,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// The ref that moved, such as `model/delay@champion`.
    pub name: String,
    /// What it pointed to before; nothing when it was made.
    pub from: Option<Digest>,
    /// What it points to since; nothing when it was deleted.
    pub to: Option<Digest>,
    /// Who, why, by which run.
    #[serde(flatten)]
    pub because: Because,
}
