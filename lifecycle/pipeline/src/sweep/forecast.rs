//! What a sweep would do, without doing it.

use rondo_core::sweep::TrialState;
use rondo_project::project::{Step, Sweep};
use rondo_store::Store;

use super::resume;
use super::study::{Study, strategy};
use crate::Error;
use crate::key::KeyParts;
use crate::plan::Keyed;

/// What a step would search, and how much of that an earlier sweep has done; nothing of a step without a
/// sweep.
///
/// # Errors
/// When the store cannot be read.
pub async fn reason(
    store: &Store,
    experiment: Option<i64>,
    name: &str,
    step: &Step,
    keyed: &Keyed,
) -> Result<Option<String>, Error> {
    let Some(wanted) = &step.sweep else { return Ok(None) };
    let mut study = Study::new(wanted);
    if let Some(experiment) = experiment.filter(|_| step.cache) {
        let key = resume::study(&keyed.parts);
        let earlier = resume::earlier(store, experiment, name, key).await?;
        study.adopt(&earlier);
        let stopped = study.record.count(TrialState::Pruned);
        let good = earlier.iter().filter(|trial| trial.state.is_good()).count();
        if good + stopped > 0 {
            let done = (good + stopped).min(usize::try_from(study.record.limit).unwrap_or(usize::MAX));
            return Ok(Some(format!("{}, {done} of them done", plan(&study, wanted))));
        }
    }
    Ok(Some(plan(&study, wanted)))
}

fn plan(study: &Study, wanted: &Sweep) -> String {
    let names: Vec<&str> = wanted.over.names().collect();
    let goal = if wanted.maximize { "maximize" } else { "minimize" };
    let pruning = if wanted.prune.is_some() { ", pruned" } else { "" };
    format!(
        "sweep ({}{pruning}) of up to {} trials over `{}` to {goal} `{}`",
        strategy(wanted.strategy),
        study.record.limit,
        names.join("`, `"),
        wanted.metric
    )
}

/// Begins the name of a key's part that is a range.
pub const SEARCHED: &str = "sweep.over.";

/// The parts that a sweep adds to its step's key.
pub fn parts(sweep: &Sweep, parts: &mut KeyParts) {
    let goal = if sweep.maximize { "maximize" } else { "minimize" };
    parts.text("sweep.strategy", strategy(sweep.strategy));
    parts.text("sweep.metric", &format!("{goal} {}", sweep.metric));
    parts.text("sweep.seed", &sweep.seed.unwrap_or(0).to_string());
    if let Some(trials) = sweep.trials {
        parts.text(resume::TRIALS, &trials.to_string());
    }
    if let Some(rule) = sweep.prune {
        parts.text("sweep.prune", &format!("from step {} by {}", rule.min_steps, rule.factor));
    }
    for (name, range) in sweep.over.iter() {
        parts.value(format!("{SEARCHED}{name}"), &serde_json::to_value(range).unwrap_or_default());
    }
}
