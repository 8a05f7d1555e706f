//! Protected aliases: those that something serves from, or that a gate stands before.
//!
//! Any client may move an alias, as with MLflow, unless it is protected: then a version has to have passed
//! its gate or to be approved, and the code of a step may not move it at all, since what is judged must not
//! judge itself. A model with a gate in `rondo.yaml` has its champion protected, and every alias that an
//! endpoint follows; where there is no project, `rondo models protect` does it. A person at the command
//! line is no client: what `rondo models` does has rules of its own.

use rondo_core::journal::Because;
use rondo_core::{Timestamp, reference};
use rondo_store::Store;
use rondo_store::meta::journal::{Expect, Target};
use rondo_store::meta::registered::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::approval::{self, Decision};
use crate::error::Error;

const PROTECTION: &str = "protection";

/// Who protects what a project file declares.
pub const PROJECT: &str = "rondo.yaml";

/// Who wants to move an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mover {
    /// A client of the MLflow API.
    Client,
    /// The code of a pipeline's step.
    Step,
}

#[derive(Serialize, Deserialize)]
struct Protection {
    by: String,
}

/// Protects an alias.
///
/// # Errors
/// When the store refuses.
pub async fn protect(
    store: &Store,
    (model, alias): (&str, &str),
    because: Because,
    at: Timestamp,
) -> Result<(), Error> {
    let record = Protection { by: because.actor.clone() };
    let moves = vec![(reference::protection(model, alias), Expect::Anything, Target::Record)];
    Ok(store.meta().decide(PROTECTION, &record, moves, because, at).await?)
}

/// Protects an alias no longer; whether it was protected.
///
/// # Errors
/// When the store refuses.
pub async fn unprotect(
    store: &Store,
    (model, alias): (&str, &str),
    because: Because,
    at: Timestamp,
) -> Result<bool, Error> {
    let name = reference::protection(model, alias);
    Ok(store.meta().move_ref(&name, Expect::Anything, None, because, at).await?.changed)
}

/// The protected aliases of a model, with who protects each.
///
/// # Errors
/// When the store cannot be read.
pub async fn protected(store: &Store, model: &str) -> Result<Vec<(String, String)>, Error> {
    let prefix = reference::protection(model, "");
    let mut aliases = Vec::new();
    for (name, address) in store.meta().refs(&prefix).await? {
        let Some(alias) = name.strip_prefix(&prefix).filter(|alias| !alias.contains('@')) else { continue };
        let record: Protection = store.meta().record(PROTECTION, address).await?;
        aliases.push((alias.to_owned(), record.by));
    }
    Ok(aliases)
}

/// Protects what a project declares, and no longer what it declared before. Writes nothing where nothing
/// has changed.
///
/// # Errors
/// When the store refuses.
pub async fn declare(store: &Store, model: &str, aliases: &[&str], at: Timestamp) -> Result<(), Error> {
    let known = protected(store, model).await?;
    for alias in aliases {
        if !known.iter().any(|(known, _)| known == alias) {
            let because = Because::new(PROJECT, "the project declares a gate");
            protect(store, (model, alias), because, at).await?;
        }
    }
    for (alias, by) in known {
        if by == PROJECT && !aliases.contains(&alias.as_str()) {
            let because = Because::new(PROJECT, "the project declares no gate any more");
            unprotect(store, (model, &alias), because, at).await?;
        }
    }
    Ok(())
}

/// Points an alias at a version for a client, where it may.
///
/// # Errors
/// When it may not, there is no such version, or the store refuses.
pub async fn set_alias(
    store: &Store,
    (model, alias): (&str, &str),
    version: i64,
    mover: Mover,
    because: Because,
    at: Timestamp,
) -> Result<(), Error> {
    let to = store.meta().version(model, version).await?;
    let refuse = |reason: String| Error::Protected {
        model: model.to_owned(),
        alias: alias.to_owned(),
        version: Some(version),
        reason,
    };
    if let Some(reason) = held(store, (model, alias), &to).await? {
        if mover == Mover::Step {
            return Err(refuse("the code of a step may not move it".to_owned()));
        }
        if let Some(unfit) = unfit(store, &to).await? {
            return Err(refuse(format!("{reason}, and version {version} {unfit}")));
        }
    }
    store.meta().point_alias((model, alias), version, Expect::Anything, because, at).await?;
    Ok(())
}

/// Takes an alias away for a client, where it may.
///
/// # Errors
/// When it is protected, or the store refuses.
pub async fn delete_alias(
    store: &Store,
    (model, alias): (&str, &str),
    because: Because,
    at: Timestamp,
) -> Result<(), Error> {
    let name = reference::alias(model, alias);
    if store.meta().target(&name).await?.is_some()
        && protected(store, model).await?.iter().any(|(known, _)| known == alias)
    {
        let reason = "it can be moved, and not be taken away".to_owned();
        let (model, alias) = (model.to_owned(), alias.to_owned());
        return Err(Error::Protected { model, alias, version: None, reason });
    }
    store.meta().move_ref(&name, Expect::Anything, None, because, at).await?;
    Ok(())
}

/// Refuses to delete a version that a protected alias points to, for a client.
///
/// # Errors
/// When one does, or the store cannot be read.
pub async fn require_free(store: &Store, version: &Version) -> Result<(), Error> {
    let aliases = store.meta().model_aliases(&version.model).await?;
    for (alias, _) in protected(store, &version.model).await? {
        if aliases.get(&alias) == Some(&version.digest) {
            return Err(Error::InUse {
                model: version.model.clone(),
                version: version.number,
                by: format!("alias `{alias}`, which is protected"),
            });
        }
    }
    Ok(())
}

/// Why an alias may not be moved at will to a version; nothing where it may.
async fn held(store: &Store, (model, alias): (&str, &str), to: &Version) -> Result<Option<String>, Error> {
    if let Some((_, by)) = protected(store, model).await?.into_iter().find(|(known, _)| known == alias) {
        return Ok(Some(format!("it is protected by {by}")));
    }
    // What a pipeline's version has may be served from, with or without a project beside this store.
    let pipelines = to.of_client().is_some() && store.meta().aliased_version(model, alias).await?.is_some();
    Ok(pipelines.then(|| "it points to a version that a pipeline registered".to_owned()))
}

/// What keeps a version from a protected alias; nothing where it has passed its gate or is approved.
async fn unfit(store: &Store, version: &Version) -> Result<Option<String>, Error> {
    let decided = approval::find(store, &version.model, version.number).await?.map(|found| found.decision);
    Ok(match (decided, version.record.get("gate_passed")) {
        (Some(Decision::Approved), _) => None,
        (Some(Decision::Pending), _) => Some("waits for its approval".to_owned()),
        (Some(Decision::Rejected), _) => Some("was rejected".to_owned()),
        (Some(Decision::Superseded), _) => Some("was not approved".to_owned()),
        (None, Some(Value::Bool(true))) => None,
        (None, Some(_)) => Some("has not passed its gate".to_owned()),
        (None, None) => Some("has no gate's verdict and was not approved".to_owned()),
    })
}
