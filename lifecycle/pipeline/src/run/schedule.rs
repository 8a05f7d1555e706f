//! Which step runs when: each as soon as all that it needs has ended well. Steps wait for events, not for
//! a clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rondo_core::ports::Event;
use rondo_core::run::Link;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::machine::Amounts;
use super::session::Session;
use crate::Error;
use crate::cache::{self, Answer};
use crate::execute::outputs::chain;
use crate::execute::step::{self, Attempt};
use crate::plan::{Keyed, Made};
use crate::request::{Outcome, StepReport};

/// Lets all steps of a run come to their end. The reports stand in the order of the plan.
///
/// # Errors
/// When the store refuses to note what became of a step.
pub async fn all(session: &Arc<Session>) -> Result<Vec<StepReport>, Error> {
    let mut waiting: Vec<String> = session.planner.order.clone();
    let mut done: BTreeMap<String, StepReport> = BTreeMap::new();
    let mut tasks: JoinSet<StepReport> = JoinSet::new();
    let mut names: HashMap<Id, String> = HashMap::new();
    loop {
        // One pass is enough: a step stands after all that it needs.
        for name in std::mem::take(&mut waiting) {
            match readiness(session, &name, &done) {
                Readiness::Waits => waiting.push(name),
                Readiness::LeftOut(cause) => {
                    let report = skipped(&name, cause);
                    session.note(&report).await?;
                    done.insert(name, report);
                }
                Readiness::Ready => {
                    let made =
                        done.iter().map(|(name, report)| (name.clone(), report.outputs.clone())).collect();
                    let (session, step) = (session.clone(), name.clone());
                    let task = tasks.spawn(async move { Box::pin(one(&session, &step, &made)).await });
                    names.insert(task.id(), name);
                }
            }
        }
        let Some(ended) = tasks.join_next_with_id().await else { break };
        let report = match ended {
            Ok((_, report)) => report,
            Err(error) => panicked(&names, &error),
        };
        if report.outcome == Outcome::Failed && !session.request.keep_going {
            session.halted.store(true, Ordering::Relaxed);
        }
        session.note(&report).await?;
        done.insert(report.name.clone(), report);
    }
    Ok(session.planner.order.iter().filter_map(|name| done.remove(name)).collect())
}

enum Readiness {
    Ready,
    Waits,
    LeftOut(String),
}

fn readiness(session: &Session, name: &str, done: &BTreeMap<String, StepReport>) -> Readiness {
    for need in session.planner.project.needs(name) {
        match done.get(need) {
            None => return Readiness::Waits,
            Some(report) if !report.outcome.is_good() => {
                return Readiness::LeftOut(format!("`{need}`, which it needs, {}", report.outcome.text()));
            }
            Some(_) => {}
        }
    }
    if let Some(cause) = obstacle(session) {
        return Readiness::LeftOut(cause);
    }
    // That the condition can be told was checked when the run was planned.
    let holds = session.planner.step(name).and_then(|step| session.planner.holds(name, step)).unwrap_or(true);
    if holds { Readiness::Ready } else { Readiness::LeftOut("its condition does not hold".to_owned()) }
}

fn obstacle(session: &Session) -> Option<String> {
    if session.is_cancelled() {
        Some("the run was interrupted".to_owned())
    } else if session.halted.load(Ordering::Relaxed) {
        Some("another step failed".to_owned())
    } else {
        None
    }
}

fn skipped(name: &str, cause: String) -> StepReport {
    StepReport {
        name: name.to_owned(),
        outcome: Outcome::Skipped,
        run: None,
        key: None,
        inputs: Vec::new(),
        outputs: Vec::new(),
        seconds: 0.0,
        cause: Some(cause),
        tail: Vec::new(),
        unequal: Vec::new(),
    }
}

fn panicked(names: &HashMap<Id, String>, error: &JoinError) -> StepReport {
    let name = names.get(&error.id()).cloned().unwrap_or_default();
    let report = skipped(&name, format!("a task of the pipeline ended unexpectedly: {error}"));
    StepReport { outcome: Outcome::Failed, ..report }
}

/// One step from its inputs to its end.
async fn one(session: &Session, name: &str, made: &Made) -> StepReport {
    let began = Instant::now();
    let mut report = match through(session, name, made).await {
        Ok(report) => report,
        Err(error) => StepReport { outcome: Outcome::Failed, ..skipped(name, explained(&error)) },
    };
    report.seconds = began.elapsed().as_secs_f64();
    let message = match (&report.outcome, &report.cause) {
        (Outcome::Cached, _) => "cached".to_owned(),
        (Outcome::Ran, _) => "done".to_owned(),
        (Outcome::Failed | Outcome::Skipped, cause) => cause.clone().unwrap_or_default(),
    };
    let ok = report.outcome != Outcome::Failed;
    session.progress.report(Event::Ended { subject: name.to_owned(), ok, message });
    report
}

/// An error that kept a step from running, with what to do about it.
fn explained(error: &Error) -> String {
    let hints = rondo_core::Explain::hints(error);
    let hint = hints.first().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    format!("{}{hint}", chain(error))
}

async fn through(session: &Session, name: &str, made: &Made) -> Result<StepReport, Error> {
    let planner = &session.planner;
    let step = planner.step(name)?;
    let keyed = planner.key(name, planner.inputs(step, made)).await?;
    let report = StepReport {
        outcome: Outcome::Cached,
        key: Some(keyed.key),
        inputs: keyed.inputs.clone(),
        cause: None,
        ..skipped(name, String::new())
    };
    let named = planner.targets.is_empty()
        || planner.targets.iter().any(|target| rondo_project::project::is_target(name, target));
    let known = if step.cache { cache::ask(&session.store, step, keyed.key).await? } else { Answer::Miss };
    if let (Answer::Hit { run, outputs }, false) = (&known, session.request.force && named) {
        step::check_out(session, step, outputs).await?;
        return Ok(StepReport { run: Some(*run), outputs: outputs.clone(), ..report });
    }
    let _permit = session.machine.acquire(Amounts::wanted(&step.resources)).await;
    if let Some(cause) = obstacle(session) {
        return Ok(skipped(name, cause));
    }
    let attempt = tried(session, name, &keyed).await?;
    if attempt.ok {
        if step.cache {
            let now = session.clock.now();
            session.store.meta().keep_cached(keyed.key, name, attempt.run, &attempt.outputs, now).await?;
        }
        step::check_out(session, step, &attempt.outputs).await?;
    }
    Ok(StepReport {
        outcome: if attempt.ok { Outcome::Ran } else { Outcome::Failed },
        run: Some(attempt.run),
        unequal: unequal(session, name, &keyed, &known, &attempt),
        outputs: attempt.outputs,
        cause: attempt.cause,
        tail: attempt.tail,
        ..report
    })
}

/// The outputs that the same key gave with other content before: by the cache, or by `rondo.lock`.
fn unequal(session: &Session, name: &str, keyed: &Keyed, known: &Answer, attempt: &Attempt) -> Vec<String> {
    let locked = session.planner.locked.steps.get(name).filter(|locked| locked.key == keyed.key);
    let before = |output: &str| {
        let cached = known.outputs().iter().find(|link| link.name == output).map(|link| link.digest);
        cached.or_else(|| locked?.outputs.get(output).copied())
    };
    let differs = |link: &&Link| before(&link.name).is_some_and(|digest| digest != link.digest);
    let unequal: Vec<String> = attempt.outputs.iter().filter(differs).map(|link| link.name.clone()).collect();
    let declared = session.planner.step(name).is_ok_and(|step| step.deterministic == Some(false));
    if !unequal.is_empty() && !declared {
        let message = format!(
            "it is not deterministic: with the same key, `{}` came out different",
            unequal.join("`, `")
        );
        session.progress.report(Event::Note { subject: name.to_owned(), message });
    }
    unequal
}

/// Tries a step until it ends well or may not be tried again.
async fn tried(session: &Session, name: &str, keyed: &Keyed) -> Result<Attempt, Error> {
    let retries = session.planner.step(name)?.retries;
    let mut number = 1;
    loop {
        let attempt = step::attempt(session, name, keyed, number).await?;
        if attempt.ok || session.is_cancelled() || number > retries {
            return Ok(attempt);
        }
        let cause = attempt.cause.as_deref().unwrap_or("it failed");
        let message = format!("{cause}: trying again ({number} of {retries})");
        session.progress.report(Event::Note { subject: name.to_owned(), message });
        number += 1;
    }
}
