//! When an earlier run can stand for a step: its key is known, and all that it made is still in the store and
//! what it was.

use std::collections::HashMap;

use rondo_core::run::Link;
use rondo_core::{Digest, RunId};
use rondo_project::project::Step;
use rondo_store::meta::cache::Cached;
use rondo_store::{Objects, Store};

use crate::Error;
use crate::execute::outputs::are_few;
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
    /// A run is known, but not everything that it made is in the store any more, or as it made it.
    Gone {
        /// The run.
        run: RunId,
        /// What it made.
        outputs: Vec<Link>,
        /// The names of those that are damaged.
        damaged: Vec<String>,
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

    /// That what a run made is damaged, in words; nothing where it is not.
    pub fn damage(&self) -> Option<String> {
        let Self::Gone { damaged, .. } = self else { return None };
        let (noun, verb) = if damaged.len() == 1 { ("output", "is") } else { ("outputs", "are") };
        let names = damaged.join("`, `");
        (!names.is_empty()).then(|| format!("{noun} `{names}` of the cached run {verb} damaged in the store"))
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
        Some(cached) => judge(store, step, cached).await,
        None => look(store, step, key).await,
    }
}

/// Asks the cache for a key, as it is now.
///
/// # Errors
/// When the store cannot be read.
pub async fn look(store: &Store, step: &Step, key: Digest) -> Result<Answer, Error> {
    match store.meta().cached(key).await? {
        Some(cached) => judge(store, step, cached).await,
        None => Ok(Answer::Miss),
    }
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

/// Whether what is known of a key can stand for a step: all that it declares is there, in the store and what
/// it was.
///
/// # Errors
/// When the task that looks comes to a bad end.
pub async fn judge(store: &Store, step: &Step, cached: Cached) -> Result<Answer, Error> {
    let Cached { run, outputs, .. } = cached;
    let made = |name: &str| outputs.iter().any(|link| link.name == name);
    let same = outputs.len() == step.outputs.len() && step.outputs.names().all(made);
    let state = if same { state(store, &outputs).await? } else { State::Missing };
    Ok(match state {
        State::Whole => Answer::Hit { run, outputs },
        State::Damaged(damaged) => Answer::Gone { run, outputs, damaged },
        State::Missing => Answer::Gone { run, outputs, damaged: Vec::new() },
    })
}

/// How outputs are in the store.
enum State {
    Whole,
    /// The names of those that are damaged.
    Damaged(Vec<String>),
    Missing,
}

async fn state(store: &Store, outputs: &[Link]) -> Result<State, Error> {
    if are_few(outputs) {
        return Ok(look_at(store.objects(), outputs));
    }
    let (objects, outputs) = (store.objects().clone(), outputs.to_vec());
    Ok(tokio::task::spawn_blocking(move || look_at(&objects, &outputs)).await?)
}

fn look_at(objects: &Objects, outputs: &[Link]) -> State {
    let mut damaged = Vec::new();
    for link in outputs {
        match objects.damage(link.digest, link.folder) {
            Ok(found) if found.is_empty() => {}
            Ok(_) => damaged.push(link.name.clone()),
            Err(_) => return State::Missing,
        }
    }
    if damaged.is_empty() { State::Whole } else { State::Damaged(damaged) }
}
