//! Approvals meet the requests that wait for them.
//!
//! An approved promotion has moved its alias already; endpoints follow it by themselves. What is left is to
//! say so in the retraining request that made the version.

use rondo_core::Timestamp;
use rondo_core::handoff::RequestState;
use rondo_registry::approval::{self, Approval, Decision};
use rondo_store::Store;

use super::Error;

/// A word about a version.
#[derive(Debug, Clone)]
pub struct Word<'w> {
    /// The model.
    pub model: &'w str,
    /// The version.
    pub version: i64,
    /// Who says it.
    pub by: &'w str,
    /// Why.
    pub why: &'w str,
}

/// Approves a version.
///
/// # Errors
/// As [`approval::approve`].
pub async fn approve(store: &Store, word: Word<'_>, force: bool, at: Timestamp) -> Result<Approval, Error> {
    let of = (word.model, word.version);
    let approved = approval::approve(store, of, word.by, word.why, force, at).await?;
    settle(store, &approved).await?;
    Ok(approved)
}

/// Rejects a version.
///
/// # Errors
/// As [`approval::reject`].
pub async fn reject(store: &Store, word: Word<'_>, at: Timestamp) -> Result<Approval, Error> {
    let rejected = approval::reject(store, (word.model, word.version), word.by, word.why, at).await?;
    settle(store, &rejected).await?;
    Ok(rejected)
}

/// Ends the request that waited for this.
async fn settle(store: &Store, approval: &Approval) -> Result<(), Error> {
    let id = approval.evidence.get("request").and_then(serde_json::Value::as_str);
    let requests = store.meta().requests(&approval.model).await?;
    let waiting = requests
        .into_iter()
        .find(|request| Some(request.id.as_str()) == id && request.state == RequestState::Pending);
    let Some(mut request) = waiting else { return Ok(()) };
    let Approval { version, by, why, .. } = approval;
    let approved = approval.decision == Decision::Approved;
    request.state = if approved { RequestState::Promoted } else { RequestState::Kept };
    request.outcome = Some(if approved {
        format!("version {version} is champion now: approved by {by}: {why}")
    } else {
        format!("version {version} was rejected by {by}: {why}")
    });
    Ok(store.meta().update_request(&request).await?)
}
