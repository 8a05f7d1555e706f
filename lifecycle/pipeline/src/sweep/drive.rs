//! A sweep from its first row to its last: trials start as the machine has room for them, each with what the
//! ones before have taught, and the best of them becomes what the step has made.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rondo_core::ports::Event;
use rondo_core::run::{Exit, Link, RunDetail, RunState};
use rondo_core::sweep::{Sweep, Trial, TrialState};
use rondo_core::{Explain, RunId};
use rondo_project::project::{Step, Sweep as Wanted};
use rondo_store::meta::metrics::{Batch, Point};
use rondo_store::meta::runs::RunChange;
use serde_json::Value;
use tokio::time::Instant;

use super::resume;
use super::study::Study;
use super::trial::{Around, Ended, Failing, brief, shown};
use crate::Error;
use crate::execute::process::cancelled;
use crate::execute::{checkout, confine, step};
use crate::graph::Node;
use crate::plan::{Keyed, Role};
use crate::request::{Outcome, StepReport};
use crate::run::machine::{Amounts, Permit};
use crate::run::record;
use crate::run::session::Session;
use crate::worktree::lock;

/// How long what came of trials may wait to be written on the sweep's row: their own rows say it too.
const WRITTEN: Duration = Duration::from_millis(500);

/// What the sweep's row says of its trials.
struct Row<'a> {
    around: &'a Around<'a>,
    detail: &'a mut RunDetail,
    /// When it was written last.
    written: Instant,
    /// Whether trials have begun or ended since.
    behind: bool,
}

impl Row<'_> {
    /// Comes when it is to be written; never as long as it says all there is.
    async fn due(&self) {
        match self.behind {
            true => tokio::time::sleep_until(self.written + WRITTEN).await,
            false => std::future::pending().await,
        }
    }

    async fn write(&mut self) -> Result<(), Error> {
        (self.written, self.behind) = (Instant::now(), false);
        self.detail.sweep = Some(Box::new(lock(&self.around.study).record.clone()));
        let change = RunChange { detail: Some(self.detail.clone()), ..RunChange::default() };
        Ok(self.around.session.store.meta().update_run(self.around.run, change).await?)
    }
}

/// What a sweep's trials came to.
#[derive(Default)]
struct Made {
    /// The best so far, and its outputs; those of all others are in the cache.
    best: Option<(u32, Vec<Link>)>,
    /// What is told of the one that failed last.
    failing: Failing,
}

/// Runs a step's sweep.
///
/// # Errors
/// When the store or the disk refuses; a sweep that fails is no error.
pub async fn make(
    session: &Session,
    node: &Node,
    step: &Step,
    wanted: &Wanted,
    keyed: &Keyed,
    report: StepReport,
) -> Result<StepReport, Error> {
    let place = session.planner.graph.place(&node.name);
    let forced =
        session.request.force && place.map(|place| session.planner.role(place)) == Some(Role::Wanted);
    // What is made again is made: nothing stands for it, and it stands for nothing.
    let cached = step.cache && !forced && session.request.again.is_none();
    let mut study = Study::new(wanted);
    study.record.study = Some(resume::study(&keyed.parts));
    if cached && let Some(study_key) = study.record.study {
        let earlier = resume::earlier(&session.store, session.experiment, &node.name, study_key).await?;
        study.adopt(&earlier);
    }
    if let Some(trials) = session.request.again.as_ref().and_then(|again| again.trials.get(&node.name)) {
        study.repeat(trials);
    }
    let run = RunId::random();
    let detail = RunDetail {
        sweep: Some(Box::new(study.record.clone())),
        ..step::first_detail(session, step, keyed, 1).await
    };
    record::begin_step(session, run, node, &detail, &Value::Null, false).await?;
    session.store.meta().set_run_tags(run, tags(&study.record)).await?;
    session.tell_begun(node, &begun(&study));
    let changes = if study.prunes() { Some(session.store.meta().changes().await?) } else { None };
    let stopped: Vec<Trial> = study.record.trials.clone();
    let inputs = &keyed.inputs;
    let study = Mutex::new(study);
    let edited = AtomicBool::new(false);
    let around = Around { session, node, step, wanted, inputs, run, cached, study, changes, edited };
    for (trial, run) in stopped.iter().filter_map(|trial| Some((trial.number, trial.run?))) {
        around.measure(trial, run).await?;
    }
    let mut detail = detail;
    let ended = trials(&around, &mut detail).await;
    finish(&around, step, keyed, detail, ended, report).await
}

fn tags(record: &Sweep) -> Vec<(String, String)> {
    let goal = if record.maximize { "maximize" } else { "minimize" };
    let tags = [
        ("rondo.sweep.strategy", record.strategy.clone()),
        ("rondo.sweep.metric", record.metric.clone()),
        ("rondo.sweep.goal", goal.to_owned()),
    ];
    tags.map(|(key, value)| (key.to_owned(), value)).into()
}

fn begun(study: &Study) -> String {
    let record = &study.record;
    let names: Vec<&str> = record.space.iter().map(|dimension| dimension.name.as_str()).collect();
    let earlier = match (study.waiting(), record.trials.len()) {
        (0, 0) => String::new(),
        (again, stopped) => format!(", going on with {} of an earlier sweep", again + stopped),
    };
    format!("sweep: {}, up to {} trials over {}{earlier}", record.strategy, record.limit, names.join(", "))
}

/// A share of the machine that is waited for.
type Share<'a> = Pin<Box<dyn Future<Output = Permit<'a>> + Send + 'a>>;

/// Lets trials run until there are no more. What those made that ended well.
async fn trials(around: &Around<'_>, detail: &mut RunDetail) -> Result<Made, Error> {
    let session = around.session;
    let mut cancel = session.cancel.clone();
    let mut made = Made::default();
    let mut running = FuturesUnordered::new();
    let mut share: Option<Share<'_>> = None;
    let mut row = Row { around, detail, written: Instant::now(), behind: false };
    loop {
        let more = !session.is_cancelled() && lock(&around.study).may_start();
        if more && share.is_none() {
            share = Some(Box::pin(session.machine.acquire(Amounts::wanted(&around.step.resources))));
        }
        if !more {
            share = None;
        }
        if share.is_none() && running.is_empty() {
            return Ok(made);
        }
        let waits = async {
            match &mut share {
                Some(share) => share.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            permit = waits => {
                share = None;
                // Only now: what has ended meanwhile has its say.
                let trial = lock(&around.study).start();
                if let Some(trial) = trial {
                    running.push(Box::pin(run(around, trial, permit)));
                    row.behind = true;
                }
            }
            Some(ended) = running.next(), if !running.is_empty() => {
                if let Some(ended) = ended? {
                    told(around, &ended).await?;
                    keep(around, &mut made, ended);
                    row.behind = true;
                }
            }
            () = row.due() => row.write().await?,
            () = cancelled(&mut cancel), if more => {}
        }
    }
}

async fn run(around: &Around<'_>, trial: Trial, permit: Permit<'_>) -> Result<Option<Ended>, Error> {
    let begun = trial.clone();
    match Box::pin(around.run(trial, Some(permit))).await {
        Ok(ended) => Ok(ended),
        // What keeps one trial from running (its notebook takes no such value) is no fault of the others.
        Err(
            error @ (Error::Expression { .. } | Error::PackageRefused { .. } | Error::CodeMissing { .. }),
        ) => {
            let cause = Some(crate::execute::outputs::chain(&error));
            let trial = Trial { state: TrialState::Failed, cause, ..begun };
            let failing = Failing { hints: error.hints(), ..Failing::default() };
            Ok(Some(Ended { trial, outputs: Vec::new(), failing }))
        }
        Err(error) => Err(error),
    }
}

fn keep(around: &Around<'_>, made: &mut Made, ended: Ended) {
    let best = lock(&around.study).record.best;
    if best == Some(ended.trial.number) {
        made.best = Some((ended.trial.number, ended.outputs));
    } else if ended.trial.state == TrialState::Failed {
        made.failing = ended.failing;
    }
}

/// Takes what came of a trial: into the search, onto its run, to whoever watches.
async fn told(around: &Around<'_>, ended: &Ended) -> Result<(), Error> {
    let trial = &ended.trial;
    let (record, session) = {
        let mut study = lock(&around.study);
        study.end(trial.clone());
        (study.record.clone(), around.session)
    };
    if trial.state != TrialState::Cached
        && let Some(run) = trial.run
    {
        let mut tags = vec![("rondo.trial.outcome".to_owned(), trial.state.text().to_owned())];
        tags.extend(trial.cause.clone().map(|cause| ("rondo.trial.cause".to_owned(), cause)));
        session.store.meta().set_run_tags(run, tags).await?;
    }
    let ok = trial.state != TrialState::Failed;
    let subject = format!("{}@{}", around.node.name, trial.number);
    session.progress.report(Event::Ended { subject, ok, message: said(&record, trial) });
    let done = record.trials.iter().filter(|trial| trial.state != TrialState::Running).count();
    session.progress.report(Event::Advanced {
        subject: around.node.name.clone(),
        done: done as u64,
        total: Some(u64::from(record.limit)),
        message: best(&record).unwrap_or_else(|| "trials".to_owned()),
    });
    Ok(())
}

/// A trial's end in one line.
fn said(record: &Sweep, trial: &Trial) -> String {
    let shown = shown(record, trial);
    let came = match (trial.state, trial.value, &trial.cause) {
        (TrialState::Pruned | TrialState::Failed, _, Some(cause)) => cause.clone(),
        (state, Some(value), _) => {
            let value = format!("{} {}", record.metric, brief(&Value::from(value)));
            if state == TrialState::Cached { format!("{value}, cached") } else { value }
        }
        (state, None, _) => state.text().to_owned(),
    };
    let best = match best(record) {
        Some(_) if record.best == Some(trial.number) => " · the best so far".to_owned(),
        Some(best) => format!(" · {best}"),
        None => String::new(),
    };
    format!("{came} ({shown}){best}")
}

fn best(record: &Sweep) -> Option<String> {
    let best = record.best()?;
    Some(format!("best {} by trial {}", brief(&Value::from(best.value?)), best.number))
}

/// Ends the sweep's run; the report of the step.
async fn finish(
    around: &Around<'_>,
    step: &Step,
    keyed: &Keyed,
    mut detail: RunDetail,
    ended: Result<Made, Error>,
    report: StepReport,
) -> Result<StepReport, Error> {
    let Around { session, node, run, .. } = around;
    let (session, run) = (*session, *run);
    let (failed, most, mut record) = {
        let study = lock(&around.study);
        (study.has_failed(), study.max_failed(), study.record.clone())
    };
    record.close();
    let made = ended.as_ref().ok().and_then(|made| made.best.as_ref());
    let made = made.filter(|(number, _)| record.best == Some(*number)).map(|(_, links)| links);
    let cause = match (&ended, made) {
        (Err(error), _) => Some(crate::execute::outputs::chain(error)),
        (Ok(_), _) if session.is_cancelled() => Some("it was interrupted".to_owned()),
        (Ok(_), _) if failed => Some(too_many(&record, most)),
        (Ok(_), None) => Some(none_good(&record)),
        (Ok(_), Some(_)) => None,
    };
    // The best trial's outputs are the step's own from here on.
    let own = |link: &Link| Link { reference: format!("{}.{}", node.name, link.name), ..link.clone() };
    let outputs: Vec<Link> = made.filter(|_| cause.is_none()).into_iter().flatten().map(own).collect();
    detail.outputs.clone_from(&outputs);
    detail.sweep = Some(Box::new(record.clone()));
    let hints = match &ended {
        Ok(made) if cause.is_some() => made.failing.hints.clone(),
        Ok(_) => Vec::new(),
        Err(error) => error.hints(),
    };
    detail.exit = Some(Exit { cause: cause.clone(), hints, ..Exit::default() });
    let state = match &cause {
        None => RunState::Finished,
        Some(_) if session.is_cancelled() => RunState::Killed,
        Some(_) => RunState::Failed,
    };
    let now = session.clock.now();
    if let (None, Some(best)) = (&cause, record.best()) {
        detail.params.extend(best.values.clone());
        let batch = of_best(session, best).await?;
        session.store.meta().log_batch(run, batch).await?;
    }
    // What was edited and is as it was again is none the less what some trial did not run with.
    let edited = around.edited.load(Ordering::Relaxed);
    let edited = cause.is_none() && (step::is_edited(session, node, step, keyed) || edited);
    let kept = cause.is_none() && !edited && step.cache && session.request.again.is_none();
    let kept = kept && !confine::is_unheld(session, step, keyed, &detail);
    if kept {
        let ending = record::end_kept(&session.store, run, detail, keyed.key, &node.name, now)?;
        ending.written(Duration::ZERO).await?;
    } else {
        record::end(&session.store, run, state, detail, now).await?;
    }
    let Failing { tail, hints, damaged } = ended?.failing;
    if let Some(early) = &record.early {
        let message = format!("the sweep ended early: {early}");
        session.progress.report(Event::Note { subject: node.name.clone(), message });
    }
    let key = report.key.filter(|_| !edited);
    let (report, sweep) = (StepReport { run: Some(run), key, ..report }, Some(Box::new(record)));
    if cause.is_some() {
        return Ok(StepReport { outcome: Outcome::Failed, cause, sweep, tail, hints, damaged, ..report });
    }
    checkout::place(session, node, step, &outputs).await?;
    Ok(StepReport { outcome: Outcome::Ran, outputs, sweep, ..report })
}

/// What the best trial was given and came to, for the sweep's own run.
async fn of_best(session: &Session, best: &Trial) -> Result<Batch, Error> {
    let params = best.values.iter().map(|(name, value)| (name.clone(), record::text(value)));
    let mut tags = vec![("rondo.sweep.best".to_owned(), best.number.to_string())];
    let mut metrics: Vec<(String, Point)> = Vec::new();
    if let Some(run) = best.run {
        tags.push(("rondo.sweep.best_run".to_owned(), run.hex()));
        let latest = session.store.meta().latest_metrics(run).await?;
        metrics.extend(latest.into_iter().map(|latest| (latest.key, latest.point)));
    }
    Ok(Batch { params: params.collect(), tags, metrics, ..Batch::default() })
}

fn too_many(record: &Sweep, most: u32) -> String {
    let failed = record.count(TrialState::Failed);
    let last = record.trials.iter().rev().find(|trial| trial.state == TrialState::Failed);
    let cause = last.and_then(|trial| Some(format!("; trial {}: {}", trial.number, trial.cause.as_ref()?)));
    let trials = if failed == 1 { "trial" } else { "trials" };
    format!("{failed} {trials} failed, and `max_failed` is {most}{}", cause.unwrap_or_default())
}

fn none_good(record: &Sweep) -> String {
    let counts = [TrialState::Pruned, TrialState::Failed].map(|state| (record.count(state), state.text()));
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, text)| format!("{count} {text}"))
        .collect();
    let last = record.trials.iter().rev().find_map(|trial| trial.cause.as_ref());
    let last = last.map(|cause| format!("; the last: {cause}")).unwrap_or_default();
    format!("no trial ended well ({}){last}", counts.join(", "))
}

/// The record of an earlier sweep that stands for a step.
///
/// # Errors
/// When the store cannot be read.
pub async fn of_run(session: &Session, run: RunId) -> Result<Option<Box<Sweep>>, Error> {
    Ok(session.store.meta().run(run).await?.and_then(|row| row.detail.sweep))
}
