//! Promotion and rollback: moving an alias, with its line in the journal.

use rondo_core::journal::Because;
use rondo_core::{Timestamp, reference};
use rondo_store::Store;
use rondo_store::meta::journal::Expect;
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;
use crate::log::{Subject, subject};

/// The alias of the version that serves.
pub const CHAMPION: &str = "champion";

/// The alias of the version that was made last and does not serve.
pub const CHALLENGER: &str = "challenger";

/// Points an alias at a version; whether it moved.
///
/// `expect` is the record that the alias was seen to point to when the decision was made: if somebody has
/// moved it since, nothing happens.
///
/// # Errors
/// When the alias has moved in the meantime, the version does not exist, or the store refuses.
pub async fn promote(
    store: &Store,
    (model, alias): (&str, &str),
    version: i64,
    expect: Expect,
    because: Because,
    at: Timestamp,
) -> Result<bool, Error> {
    Ok(store.meta().point_alias((model, alias), version, expect, because, at).await?.changed)
}

/// What was rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolledBack {
    /// What moved.
    pub subject: Subject,
    /// The version or stage that it is again; nothing where it is taken away.
    pub to: Option<String>,
}

/// Points an alias back at what it pointed to before its last move.
///
/// # Errors
/// When there is nothing to go back to, its version is gone, or the store refuses.
pub async fn roll_back(
    store: &Store,
    (model, alias): (&str, &str),
    because: Because,
    at: Timestamp,
) -> Result<RolledBack, Error> {
    let name = reference::alias(model, alias);
    let nothing = || Error::NoVersion { model: model.to_owned(), what: format!("earlier `{alias}`") };
    let now = store.meta().target(&name).await?;
    let journal = store.meta().journal(&name, i64::MAX).await?;
    let last = journal.iter().find(|entry| entry.name == name && entry.to == now).ok_or_else(nothing)?;
    let before = last.from.ok_or_else(nothing)?;
    let number = number_of(store, model, before).await?;
    let expect = now.map_or(Expect::Absent, Expect::At);
    store.meta().point_alias((model, alias), number, expect, because, at).await?;
    Ok(RolledBack { subject: Subject::Alias(alias.to_owned()), to: Some(number.to_string()) })
}

/// Puts an alias or a stage back to what it was right after a line of the model's journal.
///
/// # Errors
/// When the model has no such line, its version is gone, or the store refuses.
pub async fn roll_back_to(
    store: &Store,
    model: &str,
    seq: i64,
    because: Because,
    at: Timestamp,
) -> Result<RolledBack, Error> {
    let nothing = || Error::NoVersion {
        model: model.to_owned(),
        what: format!("move of an alias or stage with the number {seq} in its journal"),
    };
    let line = store.meta().journal_line(seq).await?.ok_or_else(nothing)?;
    let subject = subject(model, &line.name).ok_or_else(nothing)?;
    let to = match (&subject, line.to) {
        (Subject::Alias(alias), Some(target)) => {
            let number = number_of(store, model, target).await?;
            store.meta().point_alias((model, alias), number, Expect::Anything, because, at).await?;
            Some(number.to_string())
        }
        (Subject::Alias(_), None) => {
            store.meta().move_ref(&line.name, Expect::Anything, None, because, at).await?;
            None
        }
        (Subject::Stage(version), target) => {
            let record: Value = match target {
                Some(target) => store.meta().record("stage", target).await?,
                None => Value::Null,
            };
            let stage = record.get("stage").and_then(Value::as_str).unwrap_or("None").to_owned();
            store.meta().set_stage(model, *version, &stage, false, because, at).await?;
            Some(stage)
        }
        (Subject::Approval(_) | Subject::Protection(_), _) => return Err(nothing()),
    };
    Ok(RolledBack { subject, to })
}

/// The version that a record is, as long as it is there.
async fn number_of(store: &Store, model: &str, target: rondo_core::Digest) -> Result<i64, Error> {
    let versions = store.meta().versions(model).await?;
    let found = versions.iter().find(|version| version.digest == target);
    found.map(|version| version.number).ok_or_else(|| Error::NoVersion {
        model: model.to_owned(),
        what: "such version any more: the one that it would go back to was deleted".to_owned(),
    })
}
