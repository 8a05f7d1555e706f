//! Which step runs when: each as soon as all that it needs has ended well. Steps wait for events, not for
//! a clock; what is ready is known by counting, so that a step costs the same in a graph of any size.
//!
//! Nobody waits for the end of a step that went well to be on the disk: it gets there in one commit with the
//! row of the step that begins next, and so before that one's process. Only then is the step told as done.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rondo_core::ports::Event;
use rondo_core::run::Link;
use rondo_core::{Digest, Explain};
use rondo_project::project::{Backoff, Step};
use rondo_store::meta::cache::Ending;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::claim::{Claim, claim};
use super::heal::heal;
use super::machine::Amounts;
use super::session::Session;
use crate::cache::{self, Answer};
use crate::execute::checkout;
use crate::execute::outputs::{chain, variable};
use crate::execute::process::cancelled;
use crate::execute::step::{self, Attempt};
use crate::graph::Node;
use crate::plan::{Holds, Inputs, Keyed, Role};
use crate::request::{Outcome, StepReport};
use crate::{Error, sweep, why};

/// How the variables of parameters begin.
const PARAM: &str = "RONDO_PARAM_";

/// How long the end of a step waits for another step to begin before it is written alone.
const LAG: Duration = Duration::from_millis(5);

/// A step that has come to its end.
struct Done {
    report: StepReport,
    /// Its end, where that is not on the disk yet, and the claim that lasts until then.
    recording: Option<(Ending, Option<Claim>)>,
}

impl From<StepReport> for Done {
    fn from(report: StepReport) -> Self {
        Self { report, recording: None }
    }
}

/// Lets all steps of a run come to their end. The reports stand in the order of the plan.
///
/// # Errors
/// When the store refuses to note what became of a step.
pub async fn all(session: &Arc<Session>) -> Result<Vec<StepReport>, Error> {
    // A task beside those of the steps: one that waits elsewhere is woken across threads for each of them.
    let session = session.clone();
    let mut task = JoinSet::new();
    task.spawn(async move { through_all(&session).await });
    task.join_next().await.ok_or_else(|| Error::Task { reason: "it was not begun".to_owned() })??
}

async fn through_all(session: &Arc<Session>) -> Result<Vec<StepReport>, Error> {
    let planner = &session.planner;
    let in_run = |place: &&usize| planner.role(**place) != Role::Out;
    // How many of the nodes that each one needs have not ended.
    let mut unmet: Vec<usize> = vec![0; planner.graph.nodes().len()];
    let mut ready: VecDeque<usize> = VecDeque::new();
    for (place, node) in planner.nodes() {
        let needs = node.needs.iter().filter(in_run).count();
        if let Some(slot) = unmet.get_mut(place) {
            *slot = needs;
        }
        if needs == 0 {
            ready.push_back(place);
        }
    }
    let mut tasks = JoinSet::new();
    let result = unfolded(session, unmet, ready, &mut tasks).await;
    // Where the store refused, no step goes on by itself.
    tasks.shutdown().await;
    result
}

/// Starts what is ready, and what becomes so, until everything has ended.
async fn unfolded(
    session: &Arc<Session>,
    mut unmet: Vec<usize>,
    mut ready: VecDeque<usize>,
    tasks: &mut JoinSet<(usize, Done)>,
) -> Result<Vec<StepReport>, Error> {
    let planner = &session.planner;
    let mut places: HashMap<Id, usize> = HashMap::new();
    let mut recordings = FuturesUnordered::new();
    loop {
        let mut ended: Vec<(usize, Done)> = Vec::new();
        while let Some(place) = ready.pop_front() {
            let Some(node) = planner.graph.node(place) else { continue };
            match left_out(session, node) {
                Some(cause) => ended.push((place, skipped(&node.name, cause).into())),
                None => {
                    let session = session.clone();
                    let task = tasks.spawn(async move { (place, Box::pin(one(&session, place)).await) });
                    places.insert(task.id(), place);
                }
            }
        }
        if ended.is_empty() {
            tokio::select! {
                biased;
                Some((place, recorded)) = recordings.next() => {
                    recorded?;
                    session.report(place).into_iter().for_each(|report| session.tell(place, report));
                }
                Some(joined) = tasks.join_next_with_id() => match joined {
                    Ok((id, done)) => {
                        places.remove(&id);
                        ended.push(done);
                    }
                    Err(error) => ended.extend(panicked(session, &mut places, &error)),
                },
                else => break,
            }
        }
        for (place, Done { report, recording }) in ended {
            if report.outcome == Outcome::Failed && !session.request.keep_going {
                session.halted.store(true, Ordering::Relaxed);
            }
            session.note(&report).await?;
            session.finished(place, report);
            for waiting in planner.graph.node(place).into_iter().flat_map(|node| &node.dependents) {
                let Some(left) = unmet.get_mut(*waiting).filter(|left| **left > 0) else { continue };
                *left -= 1;
                if *left == 0 {
                    ready.push_back(*waiting);
                }
            }
            let lag = if ready.is_empty() && tasks.is_empty() { Duration::ZERO } else { LAG };
            recordings.extend(recording.map(|(ending, claim)| async move {
                let recorded = ending.written(lag).await;
                drop(claim);
                (place, recorded)
            }));
        }
    }
    Ok(planner.order.iter().filter_map(|place| session.report(*place).cloned()).collect())
}

/// Why a node whose needs have ended is not started.
fn left_out(session: &Session, node: &Node) -> Option<String> {
    let reports = node.needs.iter().filter_map(|need| session.report(*need));
    let mut bad = reports.filter(|report| !report.outcome.is_good());
    if let Some(report) = bad.next() {
        return Some(format!("`{}`, which it needs, {}", report.name, report.outcome.text()));
    }
    obstacle(session)
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
        hints: Vec::new(),
        damaged: false,
        unequal: Vec::new(),
        sweep: None,
    }
}

fn panicked(session: &Session, places: &mut HashMap<Id, usize>, error: &JoinError) -> Option<(usize, Done)> {
    let place = places.remove(&error.id())?;
    let name = session.planner.graph.node(place).map_or("", |node| node.name.as_str());
    let report = skipped(name, format!("a task of the pipeline ended unexpectedly: {error}"));
    Some((place, StepReport { outcome: Outcome::Failed, ..report }.into()))
}

/// One step from its inputs to its end.
async fn one(session: &Session, place: usize) -> Done {
    let began = Instant::now();
    let Some(node) = session.planner.graph.node(place) else {
        return skipped("", "it is no step of the project".to_owned()).into();
    };
    let through = match session.planner.role(place) {
        Role::Kept => kept(session, node).await.map(Done::from),
        Role::Needed | Role::Wanted | Role::Out => through(session, place, node).await,
    };
    let mut done = through.unwrap_or_else(|error| {
        let hints = error.hints();
        StepReport { outcome: Outcome::Failed, hints, ..skipped(&node.name, chain(&error)) }.into()
    });
    done.report.seconds = began.elapsed().as_secs_f64();
    if done.recording.is_none() {
        session.tell(place, &done.report);
    }
    done
}

/// Hints for a step that asked for parameters of the project which it does not take: its last words name
/// their variables.
fn untaken(session: &Session, node: &Node, step: &Step, keyed: &Keyed, tail: &[String]) -> Vec<String> {
    if step.packaged.is_some() || !tail.iter().any(|line| line.contains(PARAM)) {
        return Vec::new();
    }
    let is_named = |name: &&String| {
        let wanted = format!("{PARAM}{}", variable(name));
        let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let ends = |line: &String| line.split(wanted.as_str()).skip(1).any(|rest| !rest.starts_with(goes_on));
        !keyed.params.contains_key(*name) && tail.iter().any(ends)
    };
    let named: Vec<&str> = session.planner.params.keys().filter(is_named).map(String::as_str).collect();
    let mut all: Vec<&str> = step.params.iter().map(String::as_str).chain(named.iter().copied()).collect();
    all.dedup();
    let add = || format!("add `params: [{}]` to step `{}`", all.join(", "), node.owner());
    (!named.is_empty()).then(add).into_iter().collect()
}

/// What a step made last, whatever its key says now.
async fn kept(session: &Session, node: &Node) -> Result<StepReport, Error> {
    let step = session.planner.step(node)?;
    let last = why::last_used(&session.store, session.experiment, &node.name).await?;
    let held = |link: &Link| session.store.objects().holds(link.digest, link.folder);
    let declared = |row: &rondo_core::run::RunRow| {
        let outputs = &row.detail.outputs;
        step.outputs.names().all(|name| outputs.iter().any(|link| link.name == name && held(link)))
    };
    let Some(row) = last.filter(declared) else {
        let wanted = session.planner.targets.join(", ");
        return Err(Error::NeverMade { step: wanted, need: node.name.clone() });
    };
    let cause = format!("kept as run {} made it", row.id.short());
    Ok(StepReport {
        outcome: Outcome::Cached,
        run: Some(row.id),
        outputs: row.detail.outputs,
        ..skipped(&node.name, cause)
    })
}

async fn through(session: &Session, place: usize, node: &Node) -> Result<Done, Error> {
    let planner = &session.planner;
    let step = planner.step(node)?;
    let inputs = match session.request.again.as_ref().and_then(|again| again.given(&node.name)) {
        Some(links) => Inputs { links, ..Inputs::default() },
        None => session.inputs(node),
    };
    if planner.holds(node, &inputs)? != Holds::Yes {
        return Ok(skipped(&node.name, "its condition does not hold".to_owned()).into());
    }
    let Inputs { links, listings, .. } = inputs;
    for listing in listings {
        session.store.objects().put_tree(&listing)?;
    }
    let keyed = planner.key(node, links).await?;
    let report = StepReport {
        outcome: Outcome::Cached,
        key: Some(keyed.key),
        inputs: keyed.inputs.clone(),
        cause: None,
        ..skipped(&node.name, String::new())
    };
    let forced = session.request.force && planner.role(place) == Role::Wanted;
    if !step.cache || session.request.again.is_some() {
        return make(session, node, step, &keyed, Answer::Miss, report, None).await;
    }
    let known = cache::ask(&session.store, &session.known, step, keyed.key).await?;
    if let (Answer::Hit { run, outputs }, false) = (&known, forced) {
        return Ok(stands(session, node, step, *run, outputs, report).await?.into());
    }
    let waits = || {
        let message = "another run makes it: waiting for that".to_owned();
        session.progress.report(Event::Note { subject: node.name.clone(), message });
    };
    let Some(claim) = claim(&session.store, keyed.key, &mut session.cancel.clone(), waits).await? else {
        return Ok(skipped(&node.name, "the run was interrupted".to_owned()).into());
    };
    let before = match &known {
        Answer::Hit { run, .. } | Answer::Gone { run, .. } => Some(*run),
        Answer::Miss => None,
    };
    // Somebody may have made it between the first look and the claim.
    let known = cache::look(&session.store, step, keyed.key).await?;
    // Where it is forced, only what was made meanwhile stands for it.
    if let Answer::Hit { run, outputs } = &known
        && (!forced || Some(*run) != before)
    {
        return Ok(stands(session, node, step, *run, outputs, report).await?.into());
    }
    if !forced && let Answer::Hit { run, outputs } = elsewhere(session, node, step, keyed.key, &known).await?
    {
        return Ok(stands(session, node, step, run, &outputs, report).await?.into());
    }
    if let (Some(damage), false) = (known.damage(), forced) {
        let message = format!("{damage}: run again");
        session.progress.report(Event::Note { subject: node.name.clone(), message });
    }
    make(session, node, step, &keyed, known, report, Some(claim)).await
}

/// What the cache says of a key once what is damaged here is healed as far as can be, and the cache that the team
/// shares is asked.
async fn elsewhere(
    session: &Session,
    node: &Node,
    step: &Step,
    key: Digest,
    known: &Answer,
) -> Result<Answer, Error> {
    let mut cancel = session.cancel.clone();
    let look = async {
        if known.damage().is_some() && heal(session, &node.name, known.outputs()).await? {
            return cache::look(&session.store, step, key).await;
        }
        let Some(shared) = &session.shared else { return Ok(Answer::Miss) };
        match shared.find(&session.store, session.experiment, &node.name, key).await? {
            Some(cached) => cache::judge(&session.store, step, cached).await,
            None => Ok(Answer::Miss),
        }
    };
    tokio::select! {
        found = look => found,
        () = cancelled(&mut cancel) => Ok(Answer::Miss),
    }
}

/// An earlier run stands for a step.
async fn stands(
    session: &Session,
    node: &Node,
    step: &Step,
    run: rondo_core::RunId,
    outputs: &[Link],
    report: StepReport,
) -> Result<StepReport, Error> {
    checkout::place(session, node, step, outputs).await?;
    if session.request.replay {
        replay(session, node, run).await?;
    }
    let sweep = if step.sweep.is_some() { sweep::drive::of_run(session, run).await? } else { None };
    Ok(StepReport { run: Some(run), outputs: outputs.to_vec(), sweep, ..report })
}

/// Shows again what a run said.
async fn replay(session: &Session, node: &Node, run: rondo_core::RunId) -> Result<(), Error> {
    let row = session.store.meta().run(run).await?;
    let Some(log) = row.and_then(|row| row.detail.log) else { return Ok(()) };
    // A log that was cleaned away is no reason to fail.
    let text = session.store.objects().read(log).unwrap_or_default();
    for line in String::from_utf8_lossy(&text).lines() {
        let line = line.rsplit('\r').next().unwrap_or("").to_owned();
        session.progress.report(Event::Output { subject: node.name.clone(), line });
    }
    Ok(())
}

async fn make(
    session: &Session,
    node: &Node,
    step: &Step,
    keyed: &Keyed,
    known: Answer,
    report: StepReport,
    claim: Option<Claim>,
) -> Result<Done, Error> {
    if let Some(wanted) = &step.sweep {
        let report = Box::pin(sweep::drive::make(session, node, step, wanted, keyed, report)).await?;
        return Ok(report.into());
    }
    let Some(mut attempt) = tried(session, node, step, keyed).await? else {
        return Ok(skipped(&node.name, obstacle(session).unwrap_or_default()).into());
    };
    if attempt.ok {
        // What takes its time to be put into the work tree is on the disk as made before that.
        if !checkout::is_at_once(node, step, &attempt.outputs) {
            attempt.recorded().await?;
        }
        if let Err(error) = checkout::place(session, node, step, &attempt.outputs).await {
            attempt.recorded().await?;
            return Err(error);
        }
    }
    let unequal = unequal(session, node, step, keyed, &known, &attempt);
    let mut hints = attempt.hints;
    hints.extend(untaken(session, node, step, keyed, &attempt.tail));
    let report = StepReport {
        outcome: if attempt.ok { Outcome::Ran } else { Outcome::Failed },
        run: Some(attempt.run),
        key: report.key.filter(|_| !attempt.edited),
        unequal,
        hints,
        damaged: attempt.damaged.is_some(),
        outputs: attempt.outputs,
        cause: attempt.cause,
        tail: attempt.tail,
        ..report
    };
    Ok(Done { report, recording: attempt.ending.map(|ending| (ending, claim)) })
}

/// The outputs that the same key gave with other content before: by the cache, or by `rondo.lock`.
fn unequal(
    session: &Session,
    node: &Node,
    step: &Step,
    keyed: &Keyed,
    known: &Answer,
    attempt: &Attempt,
) -> Vec<String> {
    let locked = session.planner.locked.steps.get(&node.name).filter(|locked| locked.key == keyed.key);
    let before = |output: &str| {
        let cached = known.outputs().iter().find(|link| link.name == output).map(|link| link.digest);
        cached.or_else(|| locked?.outputs.get(output).copied())
    };
    let differs =
        |link: &&Link| !attempt.edited && before(&link.name).is_some_and(|digest| digest != link.digest);
    let unequal: Vec<String> = attempt.outputs.iter().filter(differs).map(|link| link.name.clone()).collect();
    if !unequal.is_empty() && step.deterministic != Some(false) {
        let message = format!(
            "it is not deterministic: with the same key, `{}` came out different",
            unequal.join("`, `")
        );
        session.progress.report(Event::Note { subject: node.name.clone(), message });
    }
    unequal
}

/// Tries a step until it ends well or may not be tried again; nothing where it was not even started,
/// because nothing is any more. It holds its share of the machine while it runs, not while it rests.
async fn tried(session: &Session, node: &Node, step: &Step, keyed: &Keyed) -> Result<Option<Attempt>, Error> {
    let mut number = 1;
    let mut last = None;
    loop {
        let attempt = {
            let permit = session.machine.acquire(Amounts::wanted(&step.resources)).await;
            let is_over = if last.is_none() { obstacle(session).is_some() } else { session.is_cancelled() };
            if is_over {
                return Ok(last);
            }
            step::attempt(session, node, step, keyed, number, &permit.cards).await?
        };
        let is_over = attempt.ok || attempt.damaged.is_some() || number > step.retries;
        if is_over || session.is_cancelled() {
            return Ok(Some(attempt));
        }
        let rest = rest(&step.backoff, number, rand::random());
        let cause = attempt.cause.as_deref().unwrap_or("it failed");
        let message = format!("{cause}: trying again in {rest:.1?} ({number} of {})", step.retries);
        session.progress.report(Event::Note { subject: node.name.clone(), message });
        let mut cancel = session.cancel.clone();
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = cancelled(&mut cancel) => return Ok(Some(attempt)),
        }
        last = Some(attempt);
        number += 1;
    }
}

/// How long it is rested after the try of that number, where `chance` is between 0 and 1.
pub(crate) fn rest(backoff: &Backoff, number: u32, chance: f64) -> Duration {
    let seconds = |span: rondo_core::Span| span.millis() as f64 / 1000.0;
    let exponent = i32::try_from(number.saturating_sub(1)).unwrap_or(i32::MAX);
    let grown = seconds(backoff.delay) * backoff.factor.powi(exponent);
    let rest = grown.min(seconds(backoff.max_delay)) * (1.0 + backoff.jitter * (2.0 * chance - 1.0));
    Duration::try_from_secs_f64(rest.max(0.0)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use rondo_core::Span;

    use super::*;

    #[test]
    fn rests_grow_up_to_the_longest_and_vary_by_chance() {
        let backoff = Backoff { delay: Span(100), factor: 2.0, max_delay: Span(500), jitter: 0.5 };
        let middle: Vec<u128> = (1..=5).map(|number| rest(&backoff, number, 0.5).as_millis()).collect();
        assert_eq!(middle, [100, 200, 400, 500, 500]);
        assert_eq!(rest(&backoff, 1, 0.0).as_millis(), 50);
        assert_eq!(rest(&backoff, 9, 1.0).as_millis(), 750);
        let none = Backoff { delay: Span(0), jitter: 0.0, ..backoff };
        assert_eq!(rest(&none, 100, 1.0), Duration::ZERO);
    }
}
