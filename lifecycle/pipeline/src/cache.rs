//! When an earlier run can stand for a step: its key is known, and all that it made is still in the store.

use std::collections::BTreeSet;

use rondo_core::run::Link;
use rondo_core::{Digest, RunId};
use rondo_project::project::Step;
use rondo_store::Store;

use crate::Error;

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

/// Asks the cache for a key.
///
/// # Errors
/// When the store cannot be read.
pub async fn ask(store: &Store, step: &Step, key: Digest) -> Result<Answer, Error> {
    let Some(cached) = store.meta().cached(key).await? else { return Ok(Answer::Miss) };
    let declared: BTreeSet<&str> = step.outputs.names().collect();
    let made: BTreeSet<&str> = cached.outputs.iter().map(|link| link.name.as_str()).collect();
    let held = cached.outputs.iter().all(|link| store.objects().holds(link.digest, link.folder));
    if declared == made && held {
        Ok(Answer::Hit { run: cached.run, outputs: cached.outputs })
    } else {
        Ok(Answer::Gone { run: cached.run, outputs: cached.outputs })
    }
}
