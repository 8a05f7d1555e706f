//! Forecasts: what a run would do, and why.

use std::collections::{BTreeMap, BTreeSet};

use rondo_core::run::{RunKind, RunRow, RunState};
use rondo_project::project::is_target;
use rondo_store::Store;

use crate::Error;
use crate::cache::{self, Answer};
use crate::plan::{Keyed, Made, Planner};
use crate::request::{Change, Forecast, Plan, PlannedStep, Why};

/// How many earlier runs are looked through for the last one of a step.
const LOOK_BACK: i64 = 200;

/// One step's forecast with what it rests on.
struct Foreseen {
    step: PlannedStep,
    keyed: Option<Keyed>,
    /// The inputs that are not known before another step has run: local name and reference.
    unknown: Vec<(String, String)>,
}

/// What a run would do.
///
/// # Errors
/// When code cannot be read or the store cannot be read.
pub async fn plan(store: &Store, planner: &Planner, force: bool) -> Result<Plan, Error> {
    let foreseen = foresee(store, planner, force).await?;
    Ok(Plan { steps: foreseen.into_iter().map(|foreseen| foreseen.step).collect() })
}

async fn foresee(store: &Store, planner: &Planner, force: bool) -> Result<Vec<Foreseen>, Error> {
    let mut made = Made::new();
    let mut skipped: BTreeSet<&str> = BTreeSet::new();
    let mut all = Vec::new();
    for (name, step) in planner.steps() {
        let needs: Vec<String> = planner.project.needs(name).into_iter().map(str::to_owned).collect();
        let mut foreseen = Foreseen {
            step: PlannedStep {
                name: name.to_owned(),
                needs,
                forecast: Forecast::Skipped,
                key: None,
                reason: "its condition does not hold".to_owned(),
            },
            keyed: None,
            unknown: Vec::new(),
        };
        let needs = planner.project.needs(name);
        if let Some(need) = needs.iter().find(|need| skipped.contains(*need)) {
            foreseen.step.reason = format!("`{need}`, which it needs, is left out");
            skipped.insert(name);
        } else if !planner.holds(name, step)? {
            skipped.insert(name);
        } else {
            let inputs = planner.inputs(step, &made);
            let known: BTreeSet<&str> = inputs.iter().map(|link| link.name.as_str()).collect();
            let missing = step.inputs.iter().filter(|(local, _)| !known.contains(local));
            foreseen.unknown = missing.map(|(local, of)| (local.to_owned(), of.to_string())).collect();
            let keyed = planner.key(name, inputs).await?;
            let forced = force
                && (planner.targets.is_empty()
                    || planner.targets.iter().any(|target| is_target(name, target)));
            if forced {
                (foreseen.step.forecast, foreseen.step.reason) = (Forecast::Runs, "it is forced".to_owned());
            } else if let Some((_, of)) = foreseen.unknown.first() {
                foreseen.step.forecast = Forecast::Waits;
                foreseen.step.reason = format!("it depends on `{of}`, which would be made anew");
            } else if !step.cache {
                (foreseen.step.forecast, foreseen.step.reason) =
                    (Forecast::Runs, "`cache: false`".to_owned());
            } else {
                let (forecast, reason) = match cache::ask(store, step, keyed.key).await? {
                    Answer::Hit { run, outputs } => {
                        made.insert(name.to_owned(), outputs);
                        (Forecast::Cached(run), format!("run {} stands for it", run.short()))
                    }
                    Answer::Gone { run, .. } => (
                        Forecast::Runs,
                        format!("what run {} made is not in the store any more", run.short()),
                    ),
                    Answer::Miss => (Forecast::Runs, "no earlier run has this key".to_owned()),
                };
                (foreseen.step.forecast, foreseen.step.reason) = (forecast, reason);
            }
            foreseen.step.key = foreseen.unknown.is_empty().then_some(keyed.key);
            foreseen.keyed = Some(keyed);
        }
        all.push(foreseen);
    }
    Ok(all)
}

/// Why a step would run, or would not.
///
/// # Errors
/// When there is no such step, or code or the store cannot be read.
pub async fn why(
    store: &Store,
    planner: &Planner,
    experiment: Option<i64>,
    step: &str,
) -> Result<Why, Error> {
    planner.step(step)?;
    let foreseen = foresee(store, planner, false).await?;
    let Some(foreseen) = foreseen.into_iter().find(|foreseen| foreseen.step.name == step) else {
        return Err(Error::StepNotFound { name: step.to_owned(), near: None });
    };
    let last = match experiment {
        Some(experiment) => last_used(store, experiment, step).await?,
        None => None,
    };
    let changes = match (&last, &foreseen.keyed) {
        (Some(last), Some(keyed)) => changes(&last.detail.key_parts, &keyed.parts),
        (Some(_) | None, _) => Vec::new(),
    };
    let lines = lines(&foreseen, last.as_ref(), &changes);
    Ok(Why {
        step: step.to_owned(),
        forecast: foreseen.step.forecast,
        last: last.map(|row| row.id),
        changes,
        lines,
    })
}

/// The run whose outputs the step last stood for: what the newest pipeline run recorded, else the newest
/// finished run of the step.
async fn last_used(store: &Store, experiment: i64, step: &str) -> Result<Option<RunRow>, Error> {
    for row in store.meta().runs_of_kind(RunKind::Pipeline, None, LOOK_BACK).await? {
        if row.experiment != experiment {
            continue;
        }
        let used =
            row.detail.steps.get(step).filter(|used| matches!(used.outcome.as_str(), "ran" | "cached"));
        if let Some(run) = used.and_then(|used| used.run) {
            return Ok(store.meta().run(run).await?);
        }
    }
    let rows = store.meta().runs_of_kind(RunKind::Step, Some(step), LOOK_BACK).await?;
    Ok(rows.into_iter().find(|row| row.experiment == experiment && row.state == RunState::Finished))
}

/// The parts that differ.
pub fn changes(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Change> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |name: &String| {
        let (old, new) = (old.get(name).cloned(), new.get(name).cloned());
        (old != new).then(|| Change { part: name.clone(), old, new })
    };
    names.into_iter().filter_map(change).collect()
}

fn lines(foreseen: &Foreseen, last: Option<&RunRow>, changes: &[Change]) -> Vec<String> {
    let name = &foreseen.step.name;
    let mut lines = vec![match &foreseen.step.forecast {
        Forecast::Runs => format!("`{name}` would run: {}", foreseen.step.reason),
        Forecast::Cached(_) => format!("`{name}` would not run: {}", foreseen.step.reason),
        Forecast::Waits => format!("`{name}` may run: {}", foreseen.step.reason),
        Forecast::Skipped => format!("`{name}` is left out: {}", foreseen.step.reason),
    }];
    let Some(last) = last else {
        if matches!(foreseen.step.forecast, Forecast::Runs | Forecast::Waits) {
            lines.push("it has not run before".to_owned());
        }
        return lines;
    };
    let waits = |change: &Change| {
        let local = change.part.strip_prefix("input.")?;
        foreseen.unknown.iter().find(|(name, _)| name == local).map(|(_, of)| of)
    };
    let since = format!("since run {} of {}", last.id.short(), last.started.rfc3339());
    for change in changes {
        lines.push(match (waits(change), &change.old, &change.new) {
            (Some(of), _, _) => format!("{} is not known before `{of}` is made", described(&change.part)),
            (None, Some(old), Some(new)) => {
                format!("{} changed {since}: {} → {}", described(&change.part), shown(old), shown(new))
            }
            (None, None, Some(new)) => format!("{} is new {since}: {}", described(&change.part), shown(new)),
            (None, Some(old), None) => format!("{} is gone {since}: {}", described(&change.part), shown(old)),
            (None, None, None) => continue,
        });
    }
    if changes.is_empty() && !matches!(foreseen.step.forecast, Forecast::Skipped) {
        lines.push(format!("nothing that it depends on has changed {since}"));
    }
    lines
}

/// A part's name for people.
fn described(part: &str) -> String {
    match part.split_once('.') {
        Some(("param", name)) => format!("parameter `{name}`"),
        Some(("input", name)) => format!("input `{name}`"),
        Some(("code", path)) => format!("code `{path}`"),
        Some(("definition", what)) => match what.split_once('.') {
            Some(("output", name)) => format!("the file name of output `{name}`"),
            Some(("with", name)) => format!("`{name}` in its `with:`"),
            _ => format!("its {what}"),
        },
        _ => format!("its {part}"),
    }
}

fn shown(value: &str) -> String {
    let digest = value.strip_prefix("blake3:").unwrap_or(value);
    match digest.get(..12) {
        Some(short) if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            short.to_owned()
        }
        Some(_) | None => format!("`{value}`"),
    }
}
