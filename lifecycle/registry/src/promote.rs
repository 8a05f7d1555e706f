//! Promotion and rollback: moving an alias, with its line in the journal.

use rondo_core::handoff::ModelVersion;
use rondo_core::journal::Because;
use rondo_core::{Digest, Timestamp, reference};
use rondo_store::Store;
use rondo_store::meta::journal::Expect;
use rondo_store::meta::models::MODEL_VERSION;

use crate::error::Error;

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
    model: &str,
    version: u32,
    alias: &str,
    expect: Expect,
    because: Because,
    at: Timestamp,
) -> Result<bool, Error> {
    let (record, _) = store.meta().model_version(model, version).await?;
    let name = reference::alias(model, alias);
    Ok(store.meta().move_ref(&name, expect, Some(record), because, at).await?.changed)
}

/// Points an alias back at what it pointed to before its last move; the version that serves then.
///
/// # Errors
/// When there is nothing to go back to, or the store refuses.
pub async fn roll_back(
    store: &Store,
    model: &str,
    alias: &str,
    because: Because,
    at: Timestamp,
) -> Result<ModelVersion, Error> {
    let name = reference::alias(model, alias);
    let nothing = || Error::NoVersion { model: model.to_owned(), what: format!("earlier `{alias}`") };
    let now = store.meta().target(&name).await?.ok_or_else(nothing)?;
    let journal = store.meta().journal(&name, i64::MAX).await?;
    let before = journal
        .iter()
        .find(|entry| entry.name == name && entry.to == Some(now))
        .and_then(|entry| entry.from)
        .ok_or_else(nothing)?;
    let version: ModelVersion = store.meta().record(MODEL_VERSION, before).await?;
    store.meta().move_ref(&name, Expect::At(now), Some(before), because, at).await?;
    Ok(version)
}

/// The version that an alias points to, with the address of its record.
///
/// # Errors
/// When the alias is not set or the store refuses.
pub async fn aliased(store: &Store, model: &str, alias: &str) -> Result<(Digest, ModelVersion), Error> {
    store
        .meta()
        .aliased_version(model, alias)
        .await?
        .ok_or_else(|| Error::NoVersion { model: model.to_owned(), what: format!("`{alias}`") })
}
