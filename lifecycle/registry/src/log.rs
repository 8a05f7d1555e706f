//! The journal of a model: every move of its aliases, stages, approvals and protections, in words.

use rondo_core::journal::JournalEntry;
use rondo_core::{Digest, RunId, Timestamp, reference};
use rondo_store::Store;
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;

/// What a line is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// An alias.
    Alias(String),
    /// MLflow's stage of a version.
    Stage(i64),
    /// What was decided about a version.
    Approval(i64),
    /// The protection of an alias.
    Protection(String),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Alias(alias) => write!(f, "@{alias}"),
            Self::Stage(version) => write!(f, "stage of {version}"),
            Self::Approval(version) => write!(f, "approval of {version}"),
            Self::Protection(alias) => write!(f, "protection of @{alias}"),
        }
    }
}

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Its number: what `rollback --to` takes.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What moved.
    pub subject: Subject,
    /// What it was before: a version's number, a stage, a decision.
    pub from: Option<String>,
    /// What it is since.
    pub to: Option<String>,
    /// Who moved it.
    pub actor: String,
    /// Why.
    pub why: String,
    /// The run that led to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// The journal of a model, newest first.
///
/// # Errors
/// When there is no such model or the store cannot be read.
pub async fn log(store: &Store, model: &str) -> Result<Vec<Line>, Error> {
    store.meta().registered_model(model).await?;
    let versions = store.meta().versions(model).await?;
    let mut lines = Vec::new();
    for prefix in [
        reference::alias(model, ""),
        reference::stage(model, ""),
        reference::approval(model, ""),
        reference::protection(model, ""),
    ] {
        for entry in store.meta().journal(&prefix, i64::MAX).await? {
            let Some(subject) = subject(model, &entry.name) else { continue };
            let mut ends = [None, None];
            for (end, target) in ends.iter_mut().zip([entry.from, entry.to]) {
                let Some(target) = target else { continue };
                let number = versions.iter().find(|version| version.digest == target);
                *end = Some(match number {
                    Some(version) => version.number.to_string(),
                    None => words(store, target).await?,
                });
            }
            let [from, to] = ends;
            let JournalEntry { seq, at, because, .. } = entry;
            let (actor, why, run) = (because.actor, because.why, because.run);
            lines.push(Line { seq, at, subject, from, to, actor, why, run });
        }
    }
    lines.sort_by_key(|line| std::cmp::Reverse(line.seq));
    Ok(lines)
}

/// What a ref of a model is; nothing where it is another model's.
pub(crate) fn subject(model: &str, name: &str) -> Option<Subject> {
    let rest = |prefix: String| name.strip_prefix(&prefix).filter(|rest| !rest.contains(['@', '/']));
    if let Some(alias) = rest(reference::alias(model, "")) {
        return Some(Subject::Alias(alias.to_owned()));
    }
    if let Some(alias) = rest(reference::protection(model, "")) {
        return Some(Subject::Protection(alias.to_owned()));
    }
    if let Some(version) = rest(reference::stage(model, "")) {
        return Some(Subject::Stage(version.parse().ok()?));
    }
    Some(Subject::Approval(rest(reference::approval(model, ""))?.parse().ok()?))
}

/// A record in a word.
async fn words(store: &Store, address: Digest) -> Result<String, Error> {
    let record: Value = store.meta().record("journal's target", address).await?;
    let text = |key: &str| record.get(key).and_then(Value::as_str).map(str::to_owned);
    // A version that was deleted still has its record.
    let number = record.get("version").and_then(Value::as_i64).map(|version| version.to_string());
    let word = text("stage").or_else(|| text("decision")).or_else(|| text("by")).or(number);
    Ok(word.unwrap_or_else(|| address.short()))
}
