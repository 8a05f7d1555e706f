//! One try of a step: a row, a folder, a process (or a package in Rust), and what came of it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rondo_core::ports::{Event, TrackingAccess};
use rondo_core::run::{Code, Exit, Link, RunDetail, RunState};
use rondo_core::sweep::TrialState;
use rondo_core::{Digest, RunId};
use rondo_project::project::{Step, Work};
use rondo_project::substitute::{self, Values};
use rondo_store::meta::cache::Ending;
use serde_json::Value;

use super::bench::{self, Bench};
use super::cause::failed_by;
use super::outputs::{self, chain};
use super::{confine, keep, work};
use crate::graph::Node;
use crate::isolation::Level;
use crate::plan::Keyed;
use crate::run::heal::heal;
use crate::run::record;
use crate::run::session::Session;
use crate::sweep::trial::unmeasured;
use crate::{Error, code};

/// What came of one try.
pub struct Attempt {
    /// Its run.
    pub run: RunId,
    /// Whether it ended well.
    pub ok: bool,
    /// Whether its code was edited meanwhile, so that its key does not say what made this.
    pub edited: bool,
    /// What it made.
    pub outputs: Vec<Link>,
    /// Why it failed.
    pub cause: Option<String>,
    /// What to do about it.
    pub hints: Vec<String>,
    /// The last lines of its log.
    pub tail: Vec<String>,
    /// What of its inputs is damaged, where it was not started for that.
    pub damaged: Option<Error>,
    /// Its end, where that is not on the disk yet.
    pub ending: Option<Ending>,
}

impl Attempt {
    /// Waits until its end is on the disk.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn recorded(&mut self) -> Result<(), Error> {
        match self.ending.take() {
            Some(ending) => Ok(ending.written(Duration::ZERO).await?),
            None => Ok(()),
        }
    }
}

/// What one try made and how it ended; where it failed, how it ended.
type Through = Result<(Vec<Link>, Exit), Exit>;

/// Tries a node once. `cards` are the numbers of the graphics cards that it may use.
///
/// # Errors
/// When the disk or the store refuses; a step that fails is no error.
pub async fn attempt(
    session: &Session,
    node: &Node,
    step: &Step,
    keyed: &Keyed,
    number: u32,
    cards: &[u32],
) -> Result<Attempt, Error> {
    session.watch_memory();
    let id = node.trial.as_ref().map_or_else(RunId::random, |trial| trial.run);
    let mut detail = first_detail(session, step, keyed, number).await;
    if let Some(trial) = &node.trial {
        detail.params.extend(trial.trial.values.clone());
        detail.trial = Some(Box::new(trial.trial.clone()));
    }
    let given = notebook_parameters(session, node, step);
    record::begin_step(session, id, node, &detail, &given, keyed.environment.is_some()).await?;
    let _admitted = Admitted { tracking: session.tracking.as_ref(), id };
    let mut damaged = None;
    let ended = match furnished(session, node, step, keyed, id, cards).await {
        Ok(bench) => {
            let ended = within(session, node, step, keyed, &bench).await;
            let ended = unspoilt(session, node, &bench, ended).unwrap_or_else(|error| Err(failed_by(&error)));
            let log = keep::log(session, node, &bench);
            let ended = explained(session, node, &bench, ended, log.as_ref(), &mut detail);
            // What the step made that nobody declared goes. A folder that something may still use, hidden by a
            // confinement or left by a try that was stopped, is not another's.
            if ended.is_ok() && bench.confined.get().is_none() {
                session.folders.give_back(bench.folder);
            } else {
                drop(fs::remove_dir_all(&bench.folder));
            }
            (ended, log)
        }
        Err(error) => {
            let ended = (Err(failed_by(&error)), None);
            damaged = Some(error).filter(|error| matches!(error, Error::InputDamaged { .. }));
            ended
        }
    };
    let attempt = finish(session, id, node, step, keyed, detail, ended).await?;
    Ok(Attempt { damaged, ..attempt })
}

/// The bench of a try. Where what it reads is damaged here and whole in a remote, it comes from there first.
async fn furnished(
    session: &Session,
    node: &Node,
    step: &Step,
    keyed: &Keyed,
    id: RunId,
    cards: &[u32],
) -> Result<Bench, Error> {
    match bench::make(session, node, step, keyed, id, cards) {
        Err(Error::InputDamaged { .. }) if heal(session, &node.name, &keyed.inputs).await? => {
            bench::make(session, node, step, keyed, id, cards)
        }
        made => made,
    }
}

/// How a confined step ended, with the undeclared files that it was refused: a part of why it failed, or said
/// where it went on without them.
fn explained(
    session: &Session,
    node: &Node,
    bench: &Bench,
    ended: Through,
    log: Option<&(Digest, Vec<String>)>,
    detail: &mut RunDetail,
) -> Through {
    let Some(confined) = bench.confined.get() else { return ended };
    // What a step that went well says last is no complaint.
    let tail = log.map(|(_, tail)| tail.as_slice()).filter(|_| ended.is_err()).unwrap_or_default();
    let ended = ended.map_err(|mut exit| {
        if confined.lacks_network(tail) {
            exit.hints.push(format!("`network: true` at step `{}` lets it use the network", node.name));
        }
        exit
    });
    let refused = confined.refused(tail);
    if refused.is_empty() {
        return ended;
    }
    let said = confined.told(&refused, &node.name);
    detail.refused = refused.all();
    ended
        .map_err(|exit| {
            let cause = exit.cause.as_ref().map_or_else(|| said.clone(), |cause| format!("{cause}; {said}"));
            Exit { cause: Some(cause), ..exit }
        })
        .inspect(|_| {
            let message = format!("it was refused what it asked for, and went on: {said}");
            session.progress.report(Event::Note { subject: node.name.clone(), message });
        })
}

/// Looks whether what the step was to read only is still there and the same; if not, the step has failed.
fn unspoilt(session: &Session, node: &Node, bench: &Bench, ended: Through) -> Result<Through, Error> {
    let mut spoilt = Vec::new();
    for (name, lent) in &bench.lent {
        if !session.store.objects().take_back(lent)?.is_empty() {
            spoilt.push(name.as_str());
        }
    }
    if spoilt.is_empty() {
        return Ok(ended);
    }
    let exit = match ended {
        Ok((_, exit)) | Err(exit) => exit,
    };
    let names = spoilt.join("`, `");
    let cause = format!(
        "it changed or removed its input `{names}`, which is only to be read: copy it first; what made it \
         runs again next time"
    );
    tracing::warn!("step {} spoilt its input {names}", node.name);
    Ok(Err(Exit { cause: Some(cause), ..exit }))
}

async fn finish(
    session: &Session,
    id: RunId,
    node: &Node,
    step: &Step,
    keyed: &Keyed,
    mut detail: RunDetail,
    (ended, log): (Through, Option<(Digest, Vec<String>)>),
) -> Result<Attempt, Error> {
    let (log, tail) = log.unzip();
    detail.log = log;
    let (ok, outputs, exit) = match ended {
        Ok((outputs, exit)) => (true, outputs, exit),
        Err(exit) => (false, Vec::new(), exit),
    };
    let behind = node.trial.as_ref().and_then(|trial| trial.behind.get()).filter(|_| !ok);
    let state = match (ok, session.is_cancelled() || behind.is_some()) {
        (true, _) => RunState::Finished,
        (false, true) => RunState::Killed,
        (false, false) => RunState::Failed,
    };
    let cause = behind.cloned().or_else(|| exit.cause.clone());
    let hints = exit.hints.clone();
    let exit = Exit { cause: cause.clone(), ..exit };
    if let Some(trial) = detail.trial.as_mut().filter(|_| behind.is_some()) {
        trial.state = TrialState::Pruned;
    }
    detail.outputs.clone_from(&outputs);
    detail.exit = Some(exit);
    let now = session.clock.now();
    let edited = ok && is_edited(session, node, step, keyed);
    let kept = ok && !edited && step.cache && session.request.again.is_none();
    let kept = kept && !confine::is_unheld(session, step, keyed, &detail);
    let ending = if kept {
        Some(record::end_kept(&session.store, id, detail, keyed.key, &node.name, now)?)
    } else {
        record::end(&session.store, id, state, detail, now).await?;
        None
    };
    let tail = if ok { Vec::new() } else { tail.unwrap_or_default() };
    Ok(Attempt { run: id, ok, edited, outputs, cause, hints, tail, damaged: None, ending })
}

/// Whether a step's code is not what its key says any more, and said then: of a trial, its sweep says it. A
/// package's files are copied when the step begins, which may be long after its key was made.
pub(crate) fn is_edited(session: &Session, node: &Node, step: &Step, keyed: &Keyed) -> bool {
    let root = &session.planner.root;
    let place = |path: &str| match (&step.packaged, path.strip_prefix("package/")) {
        (Some(packaged), Some(inner)) => root.join(&packaged.folder).join(inner),
        _ => root.join(path),
    };
    let Some(path) = code::changed(&keyed.code, place) else { return false };
    if node.trial.is_none() {
        let message = format!("`{path}` was edited while it ran: no later run takes what it made");
        session.progress.report(Event::Note { subject: node.name.clone(), message });
    }
    true
}

/// Closes the tracking server to a step again, however its try ends.
struct Admitted<'a> {
    tracking: &'a dyn TrackingAccess,
    id: RunId,
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.tracking.dismiss(self.id);
    }
}

pub(crate) async fn first_detail(session: &Session, step: &Step, keyed: &Keyed, number: u32) -> RunDetail {
    let commit = session.commit().await;
    session.keep_code(&keyed.code).await;
    let environment = match &keyed.environment {
        Some(lock) => Some((lock.name.clone(), lock.digest)),
        None => session.host_tools().await.map(|digest| ("host".to_owned(), digest)),
    };
    let kind = keyed.environment.as_ref().map(|lock| lock.kind);
    let level = confine::level(session, step, kind).ok().filter(|level| *level != Level::None);
    let isolation = level.map(|level| level.text().to_owned());
    RunDetail {
        key: Some(keyed.key),
        key_parts: keyed.parts.clone(),
        attempt: number,
        inputs: keyed.inputs.clone(),
        code: Code { commit: commit.id.clone(), dirty: commit.dirty, files: keyed.code.clone() },
        environment,
        isolation,
        platform: crate::platform::platform(),
        params: keyed.params.clone(),
        started_by: session.request.started_by.clone(),
        ..RunDetail::default()
    }
}

/// The `parameters:` of a package's `with:` block with their values: what a notebook is run with.
fn notebook_parameters(session: &Session, node: &Node, step: &Step) -> Value {
    let Work::Uses { with, .. } = &step.work else { return Value::Null };
    let (nothing, matrix) = (BTreeMap::new(), node.values());
    let params = session.planner.used_params(node, step);
    let values = Values { params: &params, inputs: &nothing, outputs: &nothing, matrix: Some(&matrix) };
    let parameters = with.get("parameters").and_then(Value::as_object).into_iter().flatten();
    // Those that name a file of this try are left out: they say nothing about the run.
    let filled =
        parameters.filter_map(|(name, value)| Some((name.clone(), substitute::value(value, &values).ok()?)));
    Value::Object(filled.collect())
}

/// The way through one try. What fails gives how it ended.
async fn within(session: &Session, node: &Node, step: &Step, keyed: &Keyed, bench: &Bench) -> Through {
    let told = |error: Error| failed_by(&error);
    let environment = match &keyed.environment {
        Some(lock) => {
            let environment = session.planner.environments.provision(lock).await.map_err(told)?;
            record::running(session, bench.contract.run).await.map_err(told)?;
            Some(environment)
        }
        None => None,
    };
    session.tell_begun(node, "running");
    let worked = work::work(session, node, step, keyed, bench, environment.as_ref()).await?;
    if worked.exit.cause.is_some() {
        return Err(worked.exit);
    }
    let exit = worked.exit.clone();
    let with_cause = |cause: String| Exit { cause: Some(cause), ..exit.clone() };
    confine::held(step, bench, &worked.artifacts).map_err(with_cause)?;
    keep::metrics(session, step, bench, worked.metrics).await.map_err(with_cause)?;
    if let Some(trial) = &node.trial {
        let unmeasured = unmeasured(&session.store, bench.contract.run, &trial.metric);
        if let Some(cause) = unmeasured.await.map_err(|error| with_cause(chain(&error)))? {
            return Err(with_cause(cause));
        }
    }
    keep::artifacts(session, bench, worked.artifacts).await.map_err(|error| with_cause(chain(&error)))?;
    let objects = session.store.objects().clone();
    let owner = node.owner().to_owned();
    let (declared, places) = (step.outputs.clone(), bench.contract.outputs.clone());
    let small = outputs::are_small(&places);
    let collect = move || outputs::collect(&objects, &owner, &declared, &places);
    let collected = if small { Ok(collect()) } else { tokio::task::spawn_blocking(collect).await };
    let links = collected.map_err(|error| with_cause(error.to_string()))?.map_err(with_cause)?;
    Ok((links, worked.exit))
}
