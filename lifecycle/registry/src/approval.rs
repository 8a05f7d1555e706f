//! Approvals: where a gate asks for one, a version that passes everything else waits for somebody's word.
//!
//! What was decided about a version is a ref like any other (`approval/<model>/<version>`), so that the
//! journal has who said what, when and why. An approved promotion moves its alias in the same transaction.

use rondo_core::journal::Because;
use rondo_core::{Digest, Timestamp, reference};
use rondo_store::Store;
use rondo_store::meta::journal::{Expect, Target};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;

/// The kind of record an approval is.
const APPROVAL: &str = "approval";

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Nothing yet.
    Pending,
    /// It may serve.
    Approved,
    /// It may not.
    Rejected,
    /// Nothing, and a later version waits instead.
    Superseded,
}

impl Decision {
    /// The word for it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Superseded => "superseded",
        }
    }
}

/// What stands about a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// The model.
    pub model: String,
    /// The version.
    pub version: i64,
    /// What was decided.
    pub decision: Decision,
    /// The alias that moves when it is approved, where the promotion waits for that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub alias: Option<String>,
    /// What that alias pointed to when the version was judged.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seen: Option<Digest>,
    /// What its gate said, and the request behind it.
    #[serde(skip_serializing_if = "Value::is_null", default)]
    pub evidence: Value,
    /// Who decided, or asked.
    pub by: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// What stands about a version; nothing where nobody asked.
///
/// # Errors
/// When the store cannot be read.
pub async fn find(store: &Store, model: &str, version: i64) -> Result<Option<Approval>, Error> {
    let name = reference::approval(model, &version.to_string());
    match store.meta().target(&name).await? {
        Some(address) => Ok(Some(store.meta().record(APPROVAL, address).await?)),
        None => Ok(None),
    }
}

/// Whether a version was approved.
///
/// # Errors
/// When the store cannot be read.
pub async fn is_approved(store: &Store, model: &str, version: i64) -> Result<bool, Error> {
    Ok(find(store, model, version).await?.is_some_and(|found| found.decision == Decision::Approved))
}

/// What waits, of all models or of one, by model and version.
///
/// # Errors
/// When the store cannot be read.
pub async fn pending(store: &Store, model: Option<&str>) -> Result<Vec<Approval>, Error> {
    let prefix = model.map_or_else(|| "approval/".to_owned(), |model| reference::approval(model, ""));
    let mut waiting = Vec::new();
    for (_, address) in store.meta().refs(&prefix).await? {
        let found: Approval = store.meta().record(APPROVAL, address).await?;
        if found.decision == Decision::Pending {
            waiting.push(found);
        }
    }
    waiting.sort_by(|a, b| (&a.model, a.version).cmp(&(&b.model, b.version)));
    Ok(waiting)
}

/// Lets a version wait for its approval. An earlier one of the model that still waits is superseded: it was
/// judged beside a champion that is none any more. What was asked or decided before stands.
///
/// # Errors
/// When the store refuses.
pub async fn ask(store: &Store, asked: Approval, because: Because) -> Result<(), Error> {
    if find(store, &asked.model, asked.version).await?.is_some() {
        return Ok(());
    }
    for earlier in pending(store, Some(&asked.model)).await? {
        let why = format!("version {} waits instead", asked.version);
        let superseded = Approval {
            decision: Decision::Superseded,
            by: asked.by.clone(),
            why: why.clone(),
            at: asked.at,
            ..earlier
        };
        put(store, superseded, Vec::new(), Because::new(&asked.by, &why)).await?;
    }
    put(store, asked, Vec::new(), because).await
}

/// Approves a version, and moves the alias that waited for that. One that nobody asked about is approved
/// too: a client's version has no gate but this. One that its gate refused has to be forced.
///
/// # Errors
/// When there is no such version, its gate refused it, the alias has moved since it was judged, or the
/// store refuses.
pub async fn approve(
    store: &Store,
    (model, version): (&str, i64),
    by: &str,
    why: &str,
    force: bool,
    at: Timestamp,
) -> Result<Approval, Error> {
    let found = store.meta().version(model, version).await?;
    let asked = find(store, model, version).await?;
    let refused = found.record.get("gate_passed") == Some(&Value::Bool(false));
    if refused && !force {
        let reason = found.record.get("gate_reason").and_then(Value::as_str).unwrap_or_default().to_owned();
        return Err(Error::Unworthy { model: model.to_owned(), version, reason });
    }
    let waits = asked.filter(|asked| asked.decision == Decision::Pending);
    let (alias, seen, evidence) =
        waits.map_or((None, None, Value::Null), |asked| (asked.alias, asked.seen, asked.evidence));
    let mut moves = Vec::new();
    if let Some(alias) = &alias {
        let expect = seen.map_or(Expect::Absent, Expect::At);
        moves.push((reference::alias(model, alias), expect, Target::At(found.digest)));
    }
    let approved = Approval {
        model: model.to_owned(),
        version,
        decision: Decision::Approved,
        alias,
        seen,
        evidence: evidence.clone(),
        by: by.to_owned(),
        why: why.to_owned(),
        at,
    };
    let because = Because::new(by, why).with_evidence(evidence);
    put(store, approved.clone(), moves, because).await?;
    Ok(approved)
}

/// Rejects a version: no alias that is protected goes to it.
///
/// # Errors
/// When there is no such version, or the store refuses.
pub async fn reject(
    store: &Store,
    (model, version): (&str, i64),
    by: &str,
    why: &str,
    at: Timestamp,
) -> Result<Approval, Error> {
    store.meta().version(model, version).await?;
    let asked = find(store, model, version).await?;
    let evidence = asked.as_ref().map_or(Value::Null, |asked| asked.evidence.clone());
    let rejected = Approval {
        model: model.to_owned(),
        version,
        decision: Decision::Rejected,
        alias: asked.and_then(|asked| asked.alias),
        seen: None,
        evidence,
        by: by.to_owned(),
        why: why.to_owned(),
        at,
    };
    put(store, rejected.clone(), Vec::new(), Because::new(by, why)).await?;
    Ok(rejected)
}

async fn put(
    store: &Store,
    approval: Approval,
    mut moves: Vec<(String, Expect, Target)>,
    because: Because,
) -> Result<(), Error> {
    let name = reference::approval(&approval.model, &approval.version.to_string());
    moves.push((name, Expect::Anything, Target::Record));
    let at = approval.at;
    Ok(store.meta().decide(APPROVAL, &approval, moves, because, at).await?)
}
