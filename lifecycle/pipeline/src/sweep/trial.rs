//! One trial: a node of its own with a step of its own, run like any step, watched while it runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rondo_core::ports::Event;
use rondo_core::run::Link;
use rondo_core::sweep::{Sweep, Trial, TrialState};
use rondo_core::{RunId, suggest};
use rondo_project::project::{Step, Sweep as Wanted, Work};
use rondo_store::Store;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::halving::Behind;
use super::study::Study;
use crate::Error;
use crate::cache::{self, Answer};
use crate::execute::process::cancelled;
use crate::execute::step;
use crate::graph::Node;
use crate::plan::Keyed;
use crate::run::claim::claim;
use crate::run::heal::heal;
use crate::run::machine::{Amounts, Permit};
use crate::run::schedule;
use crate::run::session::Session;
use crate::worktree::lock;

/// How long another's claim is waited for before the place on the machine is given back meanwhile.
const PATIENCE: Duration = Duration::from_millis(20);

/// What a node knows that is a trial.
#[derive(Debug)]
pub struct AsTrial {
    /// The name of the node whose sweep it belongs to.
    pub of: String,
    /// The sweep's run.
    pub parent: RunId,
    /// Its own run.
    pub run: RunId,
    /// What it is in the sweep's record.
    pub trial: Trial,
    /// The metric that it has to log.
    pub metric: String,
    /// Becomes true when it is to stop.
    pub stop: watch::Receiver<bool>,
    /// Why it fell behind, once it has.
    pub behind: OnceLock<String>,
}

/// What all trials of a sweep share.
pub struct Around<'a> {
    /// The run that goes on.
    pub session: &'a Session,
    /// The node that is swept.
    pub node: &'a Node,
    /// Its step.
    pub step: &'a Step,
    /// What is searched.
    pub wanted: &'a Wanted,
    /// What goes into it.
    pub inputs: &'a [Link],
    /// The sweep's run.
    pub run: RunId,
    /// Whether what is in the cache counts.
    pub cached: bool,
    /// The search.
    pub study: Mutex<Study>,
    /// Goes up when something was written to the store; none where nobody is judged.
    pub changes: Option<watch::Receiver<u64>>,
    /// Whether the step's code was edited while a trial ran.
    pub edited: AtomicBool,
}

/// A trial that has ended.
pub struct Ended {
    /// Its record.
    pub trial: Trial,
    /// What it made.
    pub outputs: Vec<Link>,
    /// What is told of how it failed, if it did.
    pub failing: Failing,
}

/// What is told of a failed trial beside its cause.
#[derive(Default)]
pub struct Failing {
    /// The last lines of its log.
    pub tail: Vec<String>,
    /// What to do about it.
    pub hints: Vec<String>,
    /// Whether what it reads is damaged in the store.
    pub damaged: bool,
}

impl Around<'_> {
    fn at(&self, trial: &Trial, run: RunId, stop: watch::Receiver<bool>) -> Node {
        let node = self.node;
        let (of, parent, behind) = (node.name.clone(), self.run, OnceLock::new());
        let (params, metric) = (trial.values.clone(), self.wanted.metric.clone());
        Node {
            name: format!("{}@{}", node.name, trial.number),
            step: node.step,
            inputs: node.inputs.clone(),
            matrix: node.matrix.clone(),
            needs: Vec::new(),
            dependents: Vec::new(),
            params,
            trial: Some(Arc::new(AsTrial { of, parent, run, trial: trial.clone(), metric, stop, behind })),
        }
    }

    /// Runs a trial to its end. `permit` is its share of the machine.
    ///
    /// # Errors
    /// When the store or the disk refuses; a trial that fails is no error. Nothing where everything stops.
    pub async fn run(&self, trial: Trial, mut permit: Option<Permit<'_>>) -> Result<Option<Ended>, Error> {
        let began = Instant::now();
        let session = self.session;
        let step = given(self.step, self.wanted, &trial.values);
        let (_never, stop) = watch::channel(false);
        let node = self.at(&trial, RunId::random(), stop);
        let (name, _) = session.planner.definition(self.node)?;
        let keyed = session.planner.key_of(&node, name, &step, self.inputs.to_vec()).await?;
        let trial = Trial { key: Some(keyed.key), ..trial };
        let ended = |mut ended: Ended| {
            ended.trial.seconds = began.elapsed().as_secs_f64();
            Some(ended)
        };
        if let Some(known) = self.known(&step, &keyed, &trial).await? {
            return Ok(ended(known));
        }
        let mut cancel = session.cancel.clone();
        let waiting = claim(&session.store, keyed.key, &mut cancel, || {});
        tokio::pin!(waiting);
        let claimed = tokio::select! {
            biased;
            claimed = &mut waiting => claimed?,
            () = tokio::time::sleep(PATIENCE) => {
                // Whoever makes it may be waiting for this very share of the machine.
                permit = None;
                waiting.await?
            }
        };
        let Some(_claim) = claimed else { return Ok(None) };
        // Somebody may have made it between the first look and the claim.
        if let Some(known) = self.known(&step, &keyed, &trial).await? {
            return Ok(ended(known));
        }
        if let Some(known) = self.elsewhere(&node, &step, &keyed, &trial).await? {
            return Ok(ended(known));
        }
        Ok(self.tried(&step, &keyed, trial, permit).await?.and_then(ended))
    }

    /// The run that stands for a trial, where one does that has reported the metric.
    async fn known(&self, step: &Step, keyed: &Keyed, trial: &Trial) -> Result<Option<Ended>, Error> {
        if !self.cached {
            return Ok(None);
        }
        let store = &self.session.store;
        let subject = format!("{}@{}", self.node.name, trial.number);
        let mut answer = cache::look(store, step, keyed.key).await?;
        if answer.damage().is_some() && heal(self.session, &subject, answer.outputs()).await? {
            answer = cache::look(store, step, keyed.key).await?;
        }
        if let Some(damage) = answer.damage() {
            let message = format!("{damage}: run again");
            self.session.progress.report(Event::Note { subject, message });
        }
        let Answer::Hit { run, outputs } = answer else { return Ok(None) };
        let Some((at, value)) = last(store, run, &self.wanted.metric).await? else { return Ok(None) };
        self.measure(trial.number, run).await?;
        let trial = Trial { run: Some(run), value: Some(value), step: Some(at), ..trial.clone() };
        if value.is_nan() {
            let cause = Some(no_number(&self.wanted.metric));
            let trial = Trial { state: TrialState::Failed, cause, ..trial };
            return Ok(Some(Ended { trial, outputs, failing: Failing::default() }));
        }
        let trial = Trial { state: TrialState::Cached, ..trial };
        Ok(Some(Ended { trial, outputs, failing: Failing::default() }))
    }

    /// The same in the cache that the team shares.
    async fn elsewhere(
        &self,
        node: &Node,
        step: &Step,
        keyed: &Keyed,
        trial: &Trial,
    ) -> Result<Option<Ended>, Error> {
        let session = self.session;
        let Some(shared) = session.shared.as_ref().filter(|_| self.cached) else { return Ok(None) };
        let mut cancel = session.cancel.clone();
        let found = tokio::select! {
            found = shared.find(&session.store, session.experiment, &node.name, keyed.key) => found?,
            () = cancelled(&mut cancel) => None,
        };
        match found {
            Some(_) => self.known(step, keyed, trial).await,
            None => Ok(None),
        }
    }

    /// Lets others be judged by what a run reported that is over.
    pub async fn measure(&self, trial: u32, run: RunId) -> Result<(), Error> {
        if self.changes.is_some() {
            let reported = reported(&self.session.store, run, &self.wanted.metric).await?;
            lock(&self.study).measure(trial, &reported);
        }
        Ok(())
    }

    /// Tries it until it ends well, is stopped or may not be tried again.
    async fn tried(
        &self,
        step: &Step,
        keyed: &Keyed,
        trial: Trial,
        mut permit: Option<Permit<'_>>,
    ) -> Result<Option<Ended>, Error> {
        let session = self.session;
        let mut number = 1;
        loop {
            let held = match permit.take() {
                Some(held) => held,
                None => session.machine.acquire(Amounts::wanted(&step.resources)).await,
            };
            if session.is_cancelled() {
                return Ok(None);
            }
            let (told, stop) = watch::channel(false);
            let run = RunId::random();
            let node = self.at(&trial, run, stop);
            let attempt = Box::pin(step::attempt(session, &node, step, keyed, number, &held.cards));
            let mut attempt = self.watched(&node, run, &told, attempt).await?;
            // What the sweep goes by is on the disk.
            attempt.recorded().await?;
            self.edited.fetch_or(attempt.edited, Ordering::Relaxed);
            drop(held);
            let trial = Trial { run: Some(run), ..trial.clone() };
            if attempt.ok {
                return Ok(Some(self.good(trial, run, attempt.outputs).await?));
            }
            if session.is_cancelled() {
                return Ok(None);
            }
            if let Some(cause) = node.trial.as_ref().and_then(|trial| trial.behind.get()) {
                let reported = last(&session.store, run, &self.wanted.metric).await?;
                let (state, cause) = (TrialState::Pruned, Some(cause.clone()));
                let (step, value) = reported.unzip();
                let trial = Trial { state, cause, value, step, ..trial };
                return Ok(Some(Ended { trial, outputs: Vec::new(), failing: Failing::default() }));
            }
            if attempt.damaged.is_some() || number > step.retries {
                let reported = last(&session.store, run, &self.wanted.metric).await?;
                let (step, value) = reported.filter(|(_, value)| value.is_nan()).unzip();
                let (state, cause) = (TrialState::Failed, attempt.cause);
                let trial = Trial { state, cause, value, step, ..trial };
                let damaged = attempt.damaged.is_some();
                let failing = Failing { tail: attempt.tail, hints: attempt.hints, damaged };
                return Ok(Some(Ended { trial, outputs: Vec::new(), failing }));
            }
            let mut cancel = session.cancel.clone();
            tokio::select! {
                () = tokio::time::sleep(schedule::rest(&step.backoff, number, rand::random())) => {}
                () = cancelled(&mut cancel) => return Ok(None),
            }
            number += 1;
        }
    }

    /// A try that ended well, which only one does that has a value.
    async fn good(&self, trial: Trial, run: RunId, outputs: Vec<Link>) -> Result<Ended, Error> {
        self.measure(trial.number, run).await?;
        let (step, value) = last(&self.session.store, run, &self.wanted.metric).await?.unzip();
        let trial = Trial { state: TrialState::Finished, value, step, ..trial };
        Ok(Ended { trial, outputs, failing: Failing::default() })
    }

    /// Waits for a try; stops it when everything stops, or when it has fallen behind.
    async fn watched<T>(
        &self,
        node: &Node,
        run: RunId,
        told: &watch::Sender<bool>,
        attempt: impl Future<Output = T>,
    ) -> T {
        let mut cancel = self.session.cancel.clone();
        let mut changes = self.changes.clone();
        tokio::pin!(attempt);
        loop {
            let stopped = *told.borrow();
            tokio::select! {
                ended = &mut attempt => return ended,
                () = cancelled(&mut cancel), if !stopped => drop(told.send(true)),
                more = changed(&mut changes), if !stopped => {
                    if !more {
                        changes = None;
                        continue;
                    }
                    // What cannot be read now is read at the next change.
                    let Ok(Some(behind)) = self.judge(node, run).await else { continue };
                    if let Some(trial) = &node.trial {
                        // It falls behind once.
                        let _ = trial.behind.set(reason(&self.wanted.metric, &behind));
                        let _ = told.send(true);
                    }
                }
            }
        }
    }

    async fn judge(&self, node: &Node, run: RunId) -> Result<Option<Behind>, Error> {
        let Some(number) = node.trial.as_ref().map(|trial| trial.trial.number) else { return Ok(None) };
        let (store, metric) = (&self.session.store, &self.wanted.metric);
        let Some(rung) = lock(&self.study).rung(number) else { return Ok(None) };
        // Only who has come to a rung has its series read.
        match last(store, run, metric).await? {
            Some((step, _)) if u64::try_from(step).is_ok_and(|step| step >= rung) => {}
            Some(_) | None => return Ok(None),
        }
        let reported = reported(store, run, metric).await?;
        Ok(lock(&self.study).judge(number, &reported))
    }
}

/// Waits for a change; false where there will be none any more, never where nobody asked for them.
async fn changed(changes: &mut Option<watch::Receiver<u64>>) -> bool {
    match changes {
        Some(changes) => changes.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

/// Why a run that went well so far is a failed trial: it has logged no number by which it could be judged. It is
/// asked before the run ends, so that the run fails as its trial does.
pub async fn unmeasured(store: &Store, run: RunId, metric: &str) -> Result<Option<String>, Error> {
    match last(store, run, metric).await? {
        Some((_, value)) => Ok(value.is_nan().then(|| no_number(metric))),
        None => missing(store, run, metric).await.map(Some),
    }
}

fn no_number(metric: &str) -> String {
    format!("its `{metric}` is not a number")
}

fn reason(metric: &str, behind: &Behind) -> String {
    let Behind { step, value, needed, of } = behind;
    format!(
        "pruned: at step {step} its `{metric}` was {value:.6}, of {of} trials one needs {needed:.6} to go on"
    )
}

/// The step with a trial's values in the place of its own.
fn given(step: &Step, wanted: &Wanted, values: &BTreeMap<String, Value>) -> Step {
    let mut step = step.clone();
    step.sweep = None;
    for (name, value) in values {
        if let Some(packaged) = &mut step.packaged {
            if packaged.params.contains(name) || wanted.own.contains(name) {
                packaged.params.insert(name.clone(), value.clone());
            }
        } else if let Work::Uses { with, .. } = &mut step.work
            && wanted.own.contains(name)
        {
            let mut parameters =
                with.get("parameters").cloned().unwrap_or_else(|| Value::Object(Default::default()));
            if let Some(parameters) = parameters.as_object_mut() {
                parameters.insert(name.clone(), value.clone());
            }
            with.insert("parameters", parameters);
        }
    }
    step
}

/// The newest value of a metric, with its step.
pub(super) async fn last(store: &Store, run: RunId, metric: &str) -> Result<Option<(i64, f64)>, Error> {
    let latest = store.meta().latest_metrics(run).await?;
    let own = latest.into_iter().filter(|latest| latest.key == metric);
    // What was measured of a model or on a dataset is taken only where nothing else was.
    let own = own.min_by_key(|latest| latest.context.is_some());
    Ok(own.map(|latest| (latest.point.step, latest.point.value)))
}

/// All that was reported of a metric, in the order of time.
async fn reported(store: &Store, run: RunId, metric: &str) -> Result<Vec<(i64, f64)>, Error> {
    let points = store.meta().metric_history(run, metric).await?;
    Ok(points.into_iter().map(|point| (point.step, point.value)).collect())
}

async fn missing(store: &Store, run: RunId, metric: &str) -> Result<String, Error> {
    let latest = store.meta().latest_metrics(run).await?;
    let names = || latest.iter().map(|latest| latest.key.as_str());
    let near = suggest::nearest(metric, names());
    let hint = match (near, names().next()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, Some(_)) => format!("it logged `{}`", names().take(5).collect::<Vec<_>>().join("`, `")),
        (None, None) => "it logged none at all".to_owned(),
    };
    Ok(format!("it logged no metric `{metric}`: {hint}"))
}

/// The tags of a trial's run.
pub fn tags(trial: &AsTrial) -> [(String, String); 2] {
    [
        ("rondo.sweep".to_owned(), trial.parent.hex()),
        ("rondo.trial".to_owned(), trial.trial.number.to_string()),
    ]
}

/// A trial's values for people: `depth=3, rate=0.1`, in the order of the space.
pub fn shown(sweep: &Sweep, trial: &Trial) -> String {
    let value = |name: &str| trial.values.get(name).map(|value| format!("{name}={}", brief(value)));
    let all = sweep.space.iter().filter_map(|dimension| value(&dimension.name));
    all.collect::<Vec<_>>().join(", ")
}

/// A value in a few letters.
pub fn brief(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => short(number.as_f64().unwrap_or(f64::NAN)),
        other => other.to_string(),
    }
}

/// A number with four digits that count.
fn short(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e9).contains(&size) {
        return format!("{number:.3e}");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 0 and 7
    let digits = if size == 0.0 { 0 } else { (3.0 - size.log10().floor()).clamp(0.0, 7.0) as usize };
    let text = format!("{number:.digits$}");
    if digits == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_shown_in_a_few_letters() {
        for (value, expected) in [
            (json!(0.043_151_23), "0.04315"),
            (json!(0.1), "0.1"),
            (json!(0.0), "0"),
            (json!(-12.0), "-12"),
            (json!(1234.56), "1235"),
            (json!(123_400.0), "123400"),
            (json!(1.234_567e-5), "1.235e-5"),
            (json!(7), "7"),
            (json!("a b"), "a b"),
            (json!(true), "true"),
        ] {
            assert_eq!(brief(&value), expected);
        }
    }
}
