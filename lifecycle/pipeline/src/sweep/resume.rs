//! What an earlier sweep has done already: one that was killed, that failed, or that was to have fewer
//! trials.
//!
//! Sweeps whose trials mean the same share a *study*: the parts of the key without the number of trials.

use std::collections::BTreeMap;

use rondo_core::run::{RunKind, RunState};
use rondo_core::sweep::{Sweep, Trial, TrialState};
use rondo_core::{Digest, RunId, canonical};
use rondo_store::Store;
use serde_json::json;

use super::trial::last;
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
    let Some(mut sweep) = row.detail.sweep else { return Ok(Vec::new()) };
    complete(store, row.id, &mut sweep).await?;
    Ok(sweep.trials)
}

/// Takes into a sweep's record what the rows of its trials say and the record does not: it is written less
/// often than they are, and a process that was killed has perhaps not written it again.
///
/// # Errors
/// When the store cannot be read.
pub async fn complete(store: &Store, run: RunId, sweep: &mut Sweep) -> Result<(), Error> {
    // The tries of one trial in the order in which they began.
    for child in store.meta().children(run).await? {
        let Some(trial) = child.detail.trial else { continue };
        let open = |known: &Trial| {
            matches!(known.state, TrialState::Running | TrialState::Killed | TrialState::Failed)
        };
        let known = sweep.trials.binary_search_by_key(&trial.number, |known| known.number).ok();
        if known.and_then(|at| sweep.trials.get(at)).is_some_and(|known| !open(known)) {
            continue;
        }
        let state = match child.state {
            RunState::Finished => TrialState::Finished,
            RunState::Failed => TrialState::Failed,
            RunState::Killed if trial.state == TrialState::Pruned => TrialState::Pruned,
            RunState::Killed | RunState::Running | RunState::Scheduled => TrialState::Running,
        };
        let (step, value) = match state {
            TrialState::Finished | TrialState::Pruned => last(store, child.id, &sweep.metric).await?.unzip(),
            _ => (None, None),
        };
        let cause = child.detail.exit.and_then(|exit| exit.cause);
        let cause = cause.filter(|_| matches!(state, TrialState::Pruned | TrialState::Failed));
        let seconds = child.ended.map_or(0.0, |ended| (ended - child.started).0.max(0) as f64 / 1000.0);
        sweep.put(Trial { state, value, step, cause, seconds, run: Some(child.id), ..*trial });
    }
    Ok(())
}
