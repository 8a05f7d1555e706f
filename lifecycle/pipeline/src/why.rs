//! Forecasts: what a run would do, and why.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rondo_core::Digest;
use rondo_core::run::{Link, RunKind, RunRow, RunState};
use rondo_project::project::Range;
use rondo_store::Store;
use rondo_store::meta::cache::Cached;

use crate::cache::{self, Answer};
use crate::graph::Node;
use crate::plan::{Holds, Keyed, Planner, Role};
use crate::request::{Change, Forecast, Plan, PlannedStep, RunRequest, Why};
use crate::sweep::forecast;
use crate::{Error, again};

/// How many earlier runs are looked through for the last one of a step.
const LOOK_BACK: i64 = 200;

/// How many of a step's newest runs are looked through for one that failed.
const FEW: i64 = 20;

/// One step's forecast with what it rests on.
struct Foreseen {
    step: PlannedStep,
    keyed: Option<Keyed>,
    /// The inputs that are not known before another step has run: local name and reference.
    unknown: Vec<(String, String)>,
}

/// Begins the reason of a step that no earlier run stands for.
const NO_RUN: &str = "no earlier run has this key";

/// How many changes stand in the one line of a step.
const SHORT: usize = 3;

/// What a run would do.
///
/// # Errors
/// When code cannot be read or the store cannot be read.
pub async fn plan(store: &Store, planner: &Planner, request: &RunRequest) -> Result<Plan, Error> {
    let foreseen = Foresight::new(store, planner, request).await?.all().await?;
    Ok(Plan { steps: foreseen.into_iter().map(|foreseen| foreseen.step).collect() })
}

/// The same, with what has changed since the last run of each step that would run.
///
/// # Errors
/// As [`plan`].
pub async fn explained(store: &Store, planner: &Planner, request: &RunRequest) -> Result<Plan, Error> {
    let foresight = Foresight::new(store, planner, request).await?;
    let past = Past::new(store, foresight.experiment).await?;
    let mut steps = Vec::new();
    for foreseen in foresight.all().await? {
        let last = if foreseen.may_run() { past.last_used(&foreseen.step.name).await? } else { None };
        let reason = foreseen.reason(last.as_ref(), &foreseen.changes(last.as_ref()));
        steps.push(PlannedStep { reason, ..foreseen.step });
    }
    Ok(Plan { steps })
}

impl Foreseen {
    const fn may_run(&self) -> bool {
        matches!(self.step.forecast, Forecast::Runs | Forecast::Waits)
    }

    /// What differs from the run that the step stood for last.
    fn changes(&self, last: Option<&RunRow>) -> Vec<Change> {
        match (last, &self.keyed) {
            (Some(last), Some(keyed)) => changes(&last.detail.key_parts, &keyed.parts),
            (Some(_) | None, _) => Vec::new(),
        }
    }

    /// The output that an input waits for, where a change is only that.
    fn waits(&self, change: &Change) -> Option<&str> {
        let local = change.part.strip_prefix("input.")?;
        self.unknown.iter().find(|(name, _)| name == local).map(|(_, of)| of.as_str())
    }

    /// Why, in one line: the cause instead of its effect on the key.
    fn reason(&self, last: Option<&RunRow>, changes: &[Change]) -> String {
        let reason = &self.step.reason;
        let known: Vec<&Change> = changes.iter().filter(|change| self.waits(change).is_none()).collect();
        let mut said: Vec<String> = known.iter().take(SHORT).filter_map(|change| told(change, "")).collect();
        if known.len() > SHORT {
            said.push(format!("and {} more", known.len() - SHORT));
        }
        let said = said.join("; ");
        match (self.step.forecast, reason.strip_prefix(NO_RUN)) {
            (Forecast::Runs, Some(rest)) if last.is_none() => format!("it has not run before{rest}"),
            (Forecast::Runs, Some(rest)) if !said.is_empty() => format!("{said}{rest}"),
            (Forecast::Waits, _) if !said.is_empty() => format!("{reason}; {said}"),
            _ => reason.clone(),
        }
    }
}

/// A forecast that is being made, wave by wave: the cache is asked once for all steps that depend on
/// equally many others.
struct Foresight<'a> {
    store: &'a Store,
    planner: &'a Planner,
    request: &'a RunRequest,
    experiment: Option<i64>,
    loaded: HashMap<Digest, Cached>,
    /// What the nodes that are known so far make, by place.
    made: Vec<Option<Vec<Link>>>,
    left_out: Vec<bool>,
}

impl<'a> Foresight<'a> {
    async fn new(store: &'a Store, planner: &'a Planner, request: &'a RunRequest) -> Result<Self, Error> {
        let experiment = store.meta().experiment_by_name(&planner.project.name).await?;
        let nodes = planner.graph.nodes().len();
        Ok(Self {
            store,
            planner,
            request,
            experiment: experiment.map(|experiment| experiment.id),
            loaded: cache::load(store, planner).await?,
            made: vec![None; nodes],
            left_out: vec![false; nodes],
        })
    }

    async fn all(mut self) -> Result<Vec<Foreseen>, Error> {
        let mut found: BTreeMap<usize, Foreseen> = BTreeMap::new();
        for wave in self.waves() {
            let (mut asked, mut looked) = (Vec::new(), Vec::with_capacity(wave.len()));
            for (place, node) in wave {
                let mut foreseen = self.look(place, node).await?;
                if foreseen.step.forecast == Forecast::Runs && foreseen.step.reason.is_empty() {
                    asked.extend(foreseen.step.key.filter(|key| !self.loaded.contains_key(key)));
                }
                foreseen.step.needs = self.needs(node);
                looked.push((place, foreseen));
            }
            if !asked.is_empty() {
                self.loaded.extend(self.store.meta().cached_of(&asked).await?);
            }
            for (_, foreseen) in looked.iter_mut().filter(|(_, foreseen)| foreseen.step.reason.is_empty()) {
                self.judge(foreseen).await?;
            }
            found.extend(looked);
        }
        Ok(found.into_values().collect())
    }

    /// The nodes of the plan by how long the longest way to them is.
    fn waves(&self) -> Vec<Vec<(usize, &'a Node)>> {
        let mut depths = vec![0_usize; self.made.len()];
        let mut waves: Vec<Vec<(usize, &'a Node)>> = Vec::new();
        for (place, node) in self.planner.nodes() {
            let depth = |need: &usize| depths.get(*need).map_or(0, |depth| depth + 1);
            let own = node.needs.iter().map(depth).max().unwrap_or(0);
            if let Some(slot) = depths.get_mut(place) {
                *slot = own;
            }
            if waves.len() <= own {
                waves.resize_with(own + 1, Vec::new);
            }
            if let Some(wave) = waves.get_mut(own) {
                wave.push((place, node));
            }
        }
        waves
    }

    fn needs(&self, node: &Node) -> Vec<String> {
        let name = |need: &usize| Some(self.planner.graph.node(*need)?.name.clone());
        node.needs.iter().filter_map(name).collect()
    }

    /// What can be said of a node without the cache. An empty reason: the cache has to be asked.
    async fn look(&mut self, place: usize, node: &Node) -> Result<Foreseen, Error> {
        let planner = self.planner;
        let mut foreseen = Foreseen {
            step: PlannedStep {
                name: node.name.clone(),
                needs: Vec::new(),
                forecast: Forecast::Skipped,
                key: None,
                reason: "its condition does not hold".to_owned(),
            },
            keyed: None,
            unknown: Vec::new(),
        };
        let is_out = |need: &&usize| self.left_out.get(**need).copied().unwrap_or(false);
        if let Some(need) = node.needs.iter().find(is_out).and_then(|need| planner.graph.node(*need)) {
            foreseen.step.reason = format!("`{}`, which it needs, is left out", need.name);
            self.leave_out(place);
            return Ok(foreseen);
        }
        if planner.role(place) == Role::Kept {
            self.keep(place, node, &mut foreseen.step).await?;
            return Ok(foreseen);
        }
        let made = |place: usize, output: &str| {
            let links = self.made.get(place)?.as_ref()?;
            links.iter().find(|link| link.name == output).cloned()
        };
        let inputs = planner.inputs(node, made);
        foreseen.unknown.clone_from(&inputs.unknown);
        let holds = planner.holds(node, &inputs)?;
        if holds == Holds::No {
            self.leave_out(place);
            return Ok(foreseen);
        }
        let keyed = planner.key(node, inputs.links).await?;
        let step = planner.step(node)?;
        let forced = self.request.force && planner.role(place) == Role::Wanted;
        (foreseen.step.forecast, foreseen.step.reason) = match (holds, foreseen.unknown.first()) {
            (Holds::Unknown(name), _) => {
                (Forecast::Waits, format!("its condition asks for `{name}`, which is not known yet"))
            }
            _ if forced => (Forecast::Runs, "it is forced".to_owned()),
            (_, Some((_, of))) if of.starts_with("data.") => {
                (Forecast::Waits, format!("it reads `{of}`, which has no version yet: a run adds it first"))
            }
            (_, Some((_, of))) => {
                (Forecast::Waits, format!("it depends on `{of}`, which would be made anew"))
            }
            (_, None) if !step.cache => (Forecast::Runs, "`cache: false`".to_owned()),
            (_, None) => (Forecast::Runs, String::new()),
        };
        foreseen.step.key = foreseen.unknown.is_empty().then_some(keyed.key);
        foreseen.keyed = Some(keyed);
        Ok(foreseen)
    }

    fn leave_out(&mut self, place: usize) {
        if let Some(slot) = self.left_out.get_mut(place) {
            *slot = true;
        }
    }

    /// A node that is not run whatever its key says.
    async fn keep(&mut self, place: usize, node: &Node, step: &mut PlannedStep) -> Result<(), Error> {
        let last = match self.experiment {
            Some(experiment) => last_used(self.store, experiment, &node.name).await?,
            None => None,
        };
        let Some(last) = last else {
            step.reason = "it was never made, and is not asked for: the run would fail".to_owned();
            return Ok(());
        };
        step.forecast = Forecast::Kept(last.id);
        step.reason = format!("kept as run {} made it", last.id.short());
        if let Some(slot) = self.made.get_mut(place) {
            *slot = Some(last.detail.outputs);
        }
        Ok(())
    }

    /// Why no run stands for a key.
    async fn missed(&self, step: &str, key: Digest) -> Result<String, Error> {
        let failed = match self.experiment {
            Some(experiment) => last_failed(self.store, experiment, step, None).await?,
            None => None,
        };
        Ok(match failed.filter(|run| run.detail.key == Some(key)) {
            Some(run) => format!("run {} has this key and did not end well", run.id.short()),
            None => NO_RUN.to_owned(),
        })
    }

    /// What the cache says of a node.
    async fn judge(&mut self, foreseen: &mut Foreseen) -> Result<(), Error> {
        let planner = self.planner;
        let node = planner.graph.place(&foreseen.step.name);
        let Some((place, node, key)) =
            node.and_then(|place| Some((place, planner.graph.node(place)?, foreseen.step.key?)))
        else {
            return Ok(());
        };
        let step = planner.step(node)?;
        let answer = match self.loaded.get(&key).cloned() {
            Some(cached) => cache::judge(self.store, step, cached).await?,
            None => Answer::Miss,
        };
        let damage = answer.damage();
        (foreseen.step.forecast, foreseen.step.reason) = match answer {
            Answer::Hit { run, outputs } => {
                if let Some(slot) = self.made.get_mut(place) {
                    *slot = Some(outputs);
                }
                (Forecast::Cached(run), format!("run {} stands for it", run.short()))
            }
            Answer::Gone { run, .. } => {
                let gone = || format!("what run {} made is not in the store any more", run.short());
                (Forecast::Runs, damage.unwrap_or_else(gone))
            }
            Answer::Miss => (Forecast::Runs, self.missed(&node.name, key).await?),
        };
        if foreseen.step.forecast == Forecast::Runs
            && let Some(keyed) = &foreseen.keyed
            && let Some(sweep) =
                forecast::reason(self.store, self.experiment, &node.name, step, keyed).await?
        {
            foreseen.step.reason.push_str(&format!("; {sweep}"));
        }
        Ok(())
    }
}

/// Why steps would run, or would not: of a step with a matrix, each of its combinations that is meant; of
/// every step where none is named.
///
/// # Errors
/// When there is no such step, or code or the store cannot be read.
pub async fn why(
    store: &Store,
    planner: &Planner,
    request: &RunRequest,
    word: Option<&str>,
) -> Result<Vec<Why>, Error> {
    let wanted = word.map(|word| planner.graph.find(&planner.project, word)).transpose()?;
    let is_wanted = |name: &str| match (&wanted, planner.graph.place(name)) {
        (Some(wanted), place) => place.is_some_and(|place| wanted.contains(&place)),
        (None, _) => true,
    };
    let foresight = Foresight::new(store, planner, request).await?;
    let past = Past::new(store, foresight.experiment).await?;
    let mut answers = Vec::new();
    for foreseen in foresight.all().await? {
        if !is_wanted(&foreseen.step.name) {
            continue;
        }
        let last = past.last_used(&foreseen.step.name).await?;
        let changes = foreseen.changes(last.as_ref());
        let failed = match past.experiment {
            Some(experiment) => last_failed(store, experiment, &foreseen.step.name, last.as_ref()).await?,
            None => None,
        };
        let lines = lines(&foreseen, last.as_ref(), failed.as_ref(), &changes);
        answers.push(Why {
            reason: foreseen.reason(last.as_ref(), &changes),
            step: foreseen.step.name.clone(),
            forecast: foreseen.step.forecast,
            last: last.map(|row| row.id),
            changes,
            lines,
        });
    }
    Ok(answers)
}

/// The run whose outputs the step last stood for: what the newest pipeline run recorded, else the newest
/// finished run of the step.
///
/// # Errors
/// When the store cannot be read.
pub async fn last_used(store: &Store, experiment: i64, step: &str) -> Result<Option<RunRow>, Error> {
    Past::new(store, Some(experiment)).await?.last_used(step).await
}

/// The newest pipeline runs of a project, read once for all steps that are asked for.
struct Past<'a> {
    store: &'a Store,
    experiment: Option<i64>,
    pipelines: Vec<RunRow>,
}

impl<'a> Past<'a> {
    async fn new(store: &'a Store, experiment: Option<i64>) -> Result<Self, Error> {
        let mut pipelines = match experiment {
            Some(_) => store.meta().runs_of_kind(RunKind::Pipeline, None, LOOK_BACK).await?,
            None => Vec::new(),
        };
        pipelines.retain(|row| Some(row.experiment) == experiment && !again::is_again(&row.detail));
        Ok(Self { store, experiment, pipelines })
    }

    async fn last_used(&self, step: &str) -> Result<Option<RunRow>, Error> {
        let Some(experiment) = self.experiment else { return Ok(None) };
        for row in &self.pipelines {
            let used =
                row.detail.steps.get(step).filter(|used| matches!(used.outcome.as_str(), "ran" | "cached"));
            if let Some(run) = used.and_then(|used| used.run) {
                return Ok(self.store.meta().run(run).await?);
            }
        }
        let rows = self.store.meta().runs_of_kind(RunKind::Step, Some(step), LOOK_BACK).await?;
        let counts = |row: &RunRow| row.state == RunState::Finished && !again::is_again(&row.detail);
        Ok(rows.into_iter().find(|row| row.experiment == experiment && counts(row)))
    }
}

/// The newest run of a step, where it has failed and is newer than the one whose outputs it stood for.
async fn last_failed(
    store: &Store,
    experiment: i64,
    step: &str,
    last: Option<&RunRow>,
) -> Result<Option<RunRow>, Error> {
    let rows = store.meta().runs_of_kind(RunKind::Step, Some(step), FEW).await?;
    let own =
        |row: &RunRow| row.experiment == experiment && row.state.ended() && !again::is_again(&row.detail);
    let newest = rows.into_iter().find(own).filter(|row| row.state != RunState::Finished);
    Ok(newest.filter(|row| last.is_none_or(|last| last.started < row.started)))
}

/// How a run failed, in words.
fn failure(run: &RunRow) -> String {
    let cause = run.detail.exit.as_ref().and_then(|exit| exit.cause.as_deref());
    let how = if run.state == RunState::Killed { "was ended" } else { "failed" };
    format!(
        "run {} of {} {how}: {}",
        run.id.short(),
        run.started.rfc3339(),
        cause.unwrap_or("no cause is known")
    )
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

fn lines(
    foreseen: &Foreseen,
    last: Option<&RunRow>,
    failed: Option<&RunRow>,
    changes: &[Change],
) -> Vec<String> {
    let name = &foreseen.step.name;
    let mut lines = vec![match &foreseen.step.forecast {
        Forecast::Runs => format!("`{name}` would run: {}", foreseen.step.reason),
        Forecast::Cached(_) => format!("`{name}` would not run: {}", foreseen.step.reason),
        Forecast::Waits => format!("`{name}` may run: {}", foreseen.step.reason),
        Forecast::Kept(_) => format!("`{name}` would not run: {}", foreseen.step.reason),
        Forecast::Skipped => format!("`{name}` is left out: {}", foreseen.step.reason),
    }];
    let would = matches!(foreseen.step.forecast, Forecast::Runs | Forecast::Waits);
    if let Some(failed) = failed.filter(|_| would) {
        lines.push(failure(failed));
    }
    let Some(last) = last else {
        match failed {
            None if would => lines.push("it has not run before".to_owned()),
            Some(_) if would => lines.push("it has not ended well before".to_owned()),
            Some(_) | None => {}
        }
        return lines;
    };
    let since = format!(" since run {} of {}", last.id.short(), last.started.rfc3339());
    for change in changes {
        lines.extend(match foreseen.waits(change) {
            Some(of) => Some(format!("{} is not known before `{of}` is made", described(&change.part))),
            None => told(change, &since),
        });
    }
    if changes.is_empty() && !matches!(foreseen.step.forecast, Forecast::Skipped) {
        lines.push(format!("nothing that it depends on has changed{since}"));
    }
    lines
}

/// A change in words.
fn told(change: &Change, since: &str) -> Option<String> {
    let part = described(&change.part);
    let shown = |value: &String| match change.part.strip_prefix(forecast::SEARCHED) {
        Some(_) => searched(value).unwrap_or_else(|| shown(value)),
        None => shown(value),
    };
    Some(match (&change.old, &change.new) {
        (Some(old), Some(new)) => format!("{part} changed{since}: {} → {}", shown(old), shown(new)),
        (None, Some(new)) => format!("{part} is new{since}: {}", shown(new)),
        (Some(old), None) => format!("{part} is gone{since}: {}", shown(old)),
        (None, None) => return None,
    })
}

/// A key's part, as it is named to people.
pub fn described(part: &str) -> String {
    match part.split_once('.') {
        Some(("param", name)) => format!("parameter `{name}`"),
        Some(("matrix", name)) => format!("`{name}` of its matrix"),
        Some(("input", name)) => format!("input `{name}`"),
        Some(("mode", name)) => format!("the mode of input `{name}`"),
        Some(("sweep", what)) => match what.strip_prefix("over.") {
            Some(name) => format!("the range of `{name}` in its sweep"),
            None => format!("`{what}` of its sweep"),
        },
        Some(("code", path)) => format!("code `{path}`"),
        Some(("definition", what)) => match what.split_once('.') {
            Some(("output", name)) => format!("the file name of output `{name}`"),
            Some(("with", name)) => format!("`{name}` in its `with:`"),
            _ => format!("its {what}"),
        },
        _ => format!("its {part}"),
    }
}

/// A range that is searched, as the project file has it.
fn searched(value: &str) -> Option<String> {
    let range: Range = serde_json::from_str(value).ok()?;
    Some(format!("`{range}`"))
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
