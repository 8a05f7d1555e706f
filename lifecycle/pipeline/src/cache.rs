//! When an earlier run can stand for a step: its key is known, and all that it made is still in the store.

use std::collections::HashMap;

use rondo_core::run::Link;
use rondo_core::{Digest, RunId};
use rondo_project::project::Step;
use rondo_store::Store;
use rondo_store::meta::cache::Cached;

use crate::Error;
use crate::plan::Planner;

/// What the cache says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This run made these outputs.
    Hit {
        /// The run.
        run: RunId,
        /// Its outputs.
        outputs: Vec<Link>,
    },
    /// A run is known, but not everything that it made is in the store any more.
    Gone {
        /// The run.
        run: RunId,
        /// What it made.
        outputs: Vec<Link>,
    },
    /// No run had this key.
    Miss,
}

impl Answer {
    /// What the key gave before.
    pub fn outputs(&self) -> &[Link] {
        match self {
            Self::Hit { outputs, .. } | Self::Gone { outputs, .. } => outputs,
            Self::Miss => &[],
        }
    }
}

/// Asks the cache for a key; `loaded` is what was read before for many.
///
/// # Errors
/// When the store cannot be read.
pub async fn ask(
    store: &Store,
    loaded: &HashMap<Digest, Cached>,
    step: &Step,
    key: Digest,
) -> Result<Answer, Error> {
    match loaded.get(&key).cloned() {
        Some(cached) => Ok(judge(store, step, cached)),
        None => look(store, step, key).await,
    }
}

/// Asks the cache for a key, as it is now.
///
/// # Errors
/// When the store cannot be read.
pub async fn look(store: &Store, step: &Step, key: Digest) -> Result<Answer, Error> {
    let cached = store.meta().cached(key).await?;
    Ok(cached.map_or(Answer::Miss, |cached| judge(store, step, cached)))
}

/// What `rondo.lock` names is mostly what will be asked for: it is read in one go.
///
/// # Errors
/// When the store cannot be read.
pub async fn load(store: &Store, planner: &Planner) -> Result<HashMap<Digest, Cached>, Error> {
    let locked = &planner.locked.steps;
    let keys = planner.nodes().filter_map(|(_, node)| Some(locked.get(&node.name)?.key));
    let keys: Vec<Digest> = keys.collect();
    if keys.is_empty() { Ok(HashMap::new()) } else { Ok(store.meta().cached_of(&keys).await?) }
}

/// Whether what is known of a key can stand for a step: all that it declares is there and in the store.
pub fn judge(store: &Store, step: &Step, cached: Cached) -> Answer {
    let made = |name: &str| cached.outputs.iter().any(|link| link.name == name);
    let same = cached.outputs.len() == step.outputs.len() && step.outputs.names().all(made);
    let held = || cached.outputs.iter().all(|link| store.objects().holds(link.digest, link.folder));
    if same && held() {
        Answer::Hit { run: cached.run, outputs: cached.outputs }
    } else {
        Answer::Gone { run: cached.run, outputs: cached.outputs }
    }
}
