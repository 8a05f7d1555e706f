//! What an earlier sweep has done already: one that was killed, that failed, or that was to have fewer
//! trials.
//!
//! Sweeps whose trials mean the same share a *study*: the parts of the key without the number of trials.

use std::collections::BTreeMap;

use rondo_core::run::{RunKind, RunState};
use rondo_core::sweep::{Trial, TrialState};
use rondo_core::{Digest, canonical};
use rondo_store::Store;
use serde_json::json;

use crate::{Error, again};

/// The part of a sweep's key that says how many trials there may be.
pub const TRIALS: &str = "sweep.trials";

/// How many earlier runs of a step are looked through.
const LOOK_BACK: i64 = 200;

/// The study of a sweep with these parts of its key.
pub fn study(parts: &BTreeMap<String, String>) -> Digest {
    let parts: BTreeMap<&String, &String> = parts.iter().filter(|(name, _)| *name != TRIALS).collect();
    // Maps of texts always have a JSON text.
    let text = canonical::to_string(&json!({ "rondo sweep": 1, "parts": parts })).unwrap_or_default();
    Digest::of(text.as_bytes())
}

/// The trials of the newest sweep of a study, by number; those of runs that make others again do not count.
///
/// # Errors
/// When the store cannot be read.
pub async fn earlier(store: &Store, experiment: i64, name: &str, study: Digest) -> Result<Vec<Trial>, Error> {
    let rows = store.meta().runs_of_kind(RunKind::Step, Some(name), LOOK_BACK).await?;
    let of_study = |row: &rondo_core::run::RunRow| {
        let own = row.detail.sweep.as_ref().and_then(|sweep| sweep.study);
        row.experiment == experiment && own == Some(study) && !again::is_again(&row.detail)
    };
    let Some(row) = rows.into_iter().find(of_study) else { return Ok(Vec::new()) };
    let recorded = row.detail.sweep.map(|sweep| sweep.trials).unwrap_or_default();
    let mut trials: BTreeMap<u32, Trial> = recorded.into_iter().map(|trial| (trial.number, trial)).collect();
    // A process that was killed has written its trials' own rows, and perhaps not all of them on the
    // sweep's.
    for child in store.meta().children(row.id).await? {
        let Some(mut trial) = child.detail.trial.map(|trial| *trial) else { continue };
        let pruned = trial.state == TrialState::Pruned && child.state == RunState::Killed;
        let open = |known: &Trial| matches!(known.state, TrialState::Running | TrialState::Killed);
        let known = trials.get(&trial.number).is_some_and(|known| !open(known));
        if known {
            continue;
        }
        trial.state = if pruned { TrialState::Pruned } else { TrialState::Running };
        trial.run = Some(child.id);
        trial.cause = child.detail.exit.and_then(|exit| exit.cause).filter(|_| pruned);
        trials.insert(trial.number, trial);
    }
    Ok(trials.into_values().collect())
}
