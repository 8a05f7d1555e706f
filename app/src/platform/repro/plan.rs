//! What a run was made from, found again: its steps, its code, its environments, its inputs. Whatever is
//! missing is a reason why the run cannot be repeated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rondo_core::RunId;
use rondo_core::run::{Link, RunKind, RunRow, RunState};
use rondo_core::sweep::{Trial, TrialState};
use rondo_pipeline::again::source::{Source, Wanted};
use rondo_pipeline::again::{Again, source};
use rondo_pipeline::compare::{Finding, Kind};
use rondo_pipeline::git::Commit;
use rondo_pipeline::{Place, RunReport, RunRequest, why};
use rondo_project::check::check;
use rondo_project::files::Folder;
use tokio::sync::watch;

use super::{Reproduction, chain};
use crate::platform::{Error, PROJECT_FILE, Platform, builtins};

/// A run that can be made again.
pub(super) struct Ready {
    /// The project as it was, with the store of today.
    pub platform: Arc<Platform>,
    /// What to ask of it.
    pub request: RunRequest,
    /// The runs of steps and trials whose outputs were recorded.
    pub recorded: Vec<RunRow>,
    source: Source,
    elsewhere: Mutex<Option<Arc<Platform>>>,
}

/// A trial that is made again.
struct TrialAgain {
    /// The step that is swept.
    of: String,
    trial: Trial,
    /// Its run, under the name that it has in this sweep.
    row: RunRow,
}

/// What was made, and where.
pub(super) struct Made {
    pub report: RunReport,
    pub root: PathBuf,
}

impl Ready {
    /// The same project at another path.
    pub async fn elsewhere(&self) -> Result<Arc<Platform>, Error> {
        let known = self.elsewhere.lock().ok().and_then(|known| known.clone());
        if let Some(known) = known {
            return Ok(known);
        }
        let folder = self.source.elsewhere()?;
        let made = self
            .platform
            .at(&folder)?
            .map_err(|message| Error::Invalid { code: rondo_core::Code::ProjectInvalid, message })?;
        let made = Arc::new(made);
        if let Ok(mut known) = self.elsewhere.lock() {
            *known = Some(made.clone());
        }
        Ok(made)
    }
}

impl Platform {
    /// Finds what a run was made from; nothing, with the reasons noted, where that is not to be had.
    pub(super) async fn ready(
        &self,
        run: &RunRow,
        found: &mut Reproduction,
        cancel: watch::Receiver<bool>,
    ) -> Result<Option<Ready>, Error> {
        let (steps, trials) = self.recorded(run, found).await?;
        if !found.reasons.is_empty() {
            return Ok(None);
        }
        let whole = &self.pipeline_of(run).await?;
        let wanted = wanted(whole, &steps);
        let source = Source::lay_out(self.store(), self.root(), &self.config().environment, &wanted).await?;
        if source.from_commit {
            found.source = "commit";
        } else {
            found.notes.push(source_note(&wanted));
        }
        let lost =
            |path: &String| format!("code `{path}`, as it was then, was not committed and is not stored");
        found.reasons.extend(source.missing.iter().map(lost));
        if !found.reasons.is_empty() {
            return Ok(None);
        }
        let platform = match self.at(&source.folder())? {
            Ok(platform) => Arc::new(platform),
            Err(message) => {
                found.reasons.push(message);
                return Ok(None);
            }
        };
        let request = self.request(run, whole, &platform, (&steps, &trials), &wanted);
        match platform.key_differences(&request, &steps, cancel).await? {
            Ok(differences) => found.reasons.extend(differences),
            Err(reason) => found.reasons.push(reason),
        }
        if !found.reasons.is_empty() {
            return Ok(None);
        }
        // Of a trial that is asked for by itself, what its sweep made is not looked at.
        let asked = |row: &RunRow| run.detail.trial.is_none() || row.detail.trial.is_some();
        let recorded = steps.into_iter().chain(trials.into_iter().map(|trial| trial.row));
        let recorded = recorded.filter(asked).collect();
        Ok(Some(Ready { platform, request, recorded, source, elsewhere: Mutex::default() }))
    }

    /// The run of the pipeline that a run belongs to; itself where it belongs to none.
    async fn pipeline_of(&self, run: &RunRow) -> Result<RunRow, Error> {
        let mut row = run.clone();
        while let Some(parent) = row.parent.filter(|_| row.kind == RunKind::Step) {
            match self.store().meta().run(parent).await? {
                Some(parent) => row = parent,
                None => break,
            }
        }
        Ok(row)
    }

    /// The trials of a sweep that can be made again: those that ended well.
    async fn trials(
        &self,
        sweep: &RunRow,
        only: Option<RunId>,
        found: &mut Reproduction,
    ) -> Result<Vec<TrialAgain>, Error> {
        let step = sweep.step.clone().unwrap_or_else(|| sweep.name.clone());
        let record = sweep.detail.sweep.as_deref();
        let mut trials = Vec::new();
        let mut left = BTreeMap::new();
        for trial in record.into_iter().flat_map(|record| &record.trials) {
            let wanted = only.is_none_or(|only| trial.run == Some(only));
            let Some(run) = trial.run.filter(|_| wanted) else { continue };
            if !matches!(trial.state, TrialState::Finished | TrialState::Cached) {
                *left.entry(trial.state.text()).or_insert(0_usize) += 1;
                continue;
            }
            match self.store().meta().run(run).await? {
                Some(row) => {
                    // Another sweep, or a plain step, may have made it; its files lay in its pipeline's folder.
                    let parent = Some(self.pipeline_of(&row).await?.id);
                    let name = Some(format!("{step}@{}", trial.number));
                    let row = RunRow { parent, step: name, ..row };
                    trials.push(TrialAgain { of: step.clone(), trial: trial.clone(), row });
                }
                None => *left.entry("removed").or_insert(0) += 1,
            }
        }
        if !left.is_empty() {
            let left: Vec<String> = left.iter().map(|(state, count)| format!("{count} {state}")).collect();
            found.notes.push(format!("trials of `{step}` that are not made again: {}", left.join(", ")));
        }
        Ok(trials)
    }

    /// The runs of the steps that are to be made again, and the trials of those that are sweeps.
    async fn recorded(
        &self,
        run: &RunRow,
        found: &mut Reproduction,
    ) -> Result<(Vec<RunRow>, Vec<TrialAgain>), Error> {
        let steps = self.recorded_steps(run, found).await?;
        let only = run.detail.trial.is_some().then_some(run.id);
        let mut trials = Vec::new();
        for sweep in steps.iter().filter(|row| row.detail.sweep.is_some()) {
            trials.extend(self.trials(sweep, only, found).await?);
        }
        if only.is_some() && trials.is_empty() && found.reasons.is_empty() {
            found.reasons.push("its sweep does not say that it ended well".to_owned());
        }
        Ok((steps, trials))
    }

    async fn recorded_steps(&self, run: &RunRow, found: &mut Reproduction) -> Result<Vec<RunRow>, Error> {
        if run.kind == RunKind::Client {
            found.reasons.push("a client of the tracking server made it: no step says how".to_owned());
            return Ok(Vec::new());
        }
        if run.state != RunState::Finished {
            let state = run.state.status().to_lowercase();
            found.reasons.push(format!("it did not end well: it is {state}"));
            return Ok(Vec::new());
        }
        if run.detail.trial.is_some() {
            let sweep = match run.parent {
                Some(parent) => self.store().meta().run(parent).await?,
                None => None,
            };
            let sweep = sweep.filter(|sweep| sweep.detail.sweep.is_some());
            if sweep.is_none() {
                found.reasons.push("the run of its sweep is not here".to_owned());
            }
            return Ok(sweep.into_iter().collect());
        }
        let mut recorded = Vec::new();
        let mut kept = Vec::new();
        if run.kind == RunKind::Step {
            recorded.push(run.clone());
        }
        for (step, outcome) in &run.detail.steps {
            let Some(id) = outcome.run.filter(|_| matches!(outcome.outcome.as_str(), "ran" | "cached"))
            else {
                continue;
            };
            // What was kept as it was (`--only`) was neither made nor asked for: it is what others were given.
            if outcome.key.is_none() {
                kept.push(format!("{step}."));
                continue;
            }
            match self.store().meta().run(id).await? {
                Some(row) => recorded.push(RunRow { step: Some(step.clone()), ..row }),
                None => found.reasons.push(format!("run {} of step `{step}` was removed", id.short())),
            }
        }
        if recorded.is_empty() && found.reasons.is_empty() {
            found.reasons.push("no step of it made anything".to_owned());
        }
        let alone = run.kind == RunKind::Step;
        let given = |link: &&Link| alone || kept.iter().any(|step| link.reference.starts_with(step));
        for link in recorded.iter().flat_map(|row| &row.detail.inputs).filter(given) {
            if !self.store().objects().holds(link.digest, link.folder) {
                let what = format!("input `{}` ({}, {})", link.name, link.reference, link.digest.short());
                found.reasons.push(format!("{what} is not in the store any more"));
            }
        }
        Ok(recorded)
    }

    fn request(
        &self,
        run: &RunRow,
        whole: &RunRow,
        platform: &Self,
        (recorded, trials): (&[RunRow], &[TrialAgain]),
        wanted: &Wanted,
    ) -> RunRequest {
        let mut again: BTreeMap<String, Vec<Trial>> = BTreeMap::new();
        for trial in trials {
            again.entry(trial.of.clone()).or_default().push(trial.trial.clone());
        }
        let held = |row: &&RunRow| {
            row.detail.inputs.iter().all(|link| self.store().objects().holds(link.digest, link.folder))
        };
        // What went into a step and is gone is made again by the step that made it.
        let inputs = recorded
            .iter()
            .filter(held)
            .filter_map(|row| Some((row.step.clone()?, row.detail.inputs.clone())))
            .collect();
        let pins = recorded.iter().flat_map(|row| &row.detail.inputs);
        let pins =
            pins.filter_map(|link| Some((link.reference.strip_prefix("data.")?.to_owned(), link.digest)));
        let dirty = whole.detail.code.dirty;
        let params = whole.detail.params.iter().filter(|(name, _)| platform.project().params.contains(name));
        RunRequest {
            targets: recorded.iter().filter_map(|row| row.step.clone()).collect(),
            only: true,
            params: params.map(|(name, value)| (name.clone(), value.clone())).collect(),
            pins: pins.collect(),
            started_by: Again::reason(run.id),
            place: Place::Detached,
            keep_going: true,
            user: self.config().account(),
            again: Some(Again {
                of: run.id,
                inputs,
                trials: again,
                variables: BTreeMap::new(),
                commit: Commit { id: wanted.commit.clone(), dirty },
            }),
            ..RunRequest::default()
        }
    }

    /// How the steps' keys differ from those recorded, in words; the error is a reason too.
    async fn key_differences(
        &self,
        request: &RunRequest,
        recorded: &[RunRow],
        cancel: watch::Receiver<bool>,
    ) -> Result<Result<Vec<String>, String>, Error> {
        for (dataset, digest) in &request.pins {
            if self.store().meta().dataset_version(dataset, *digest).await?.is_none() {
                let version = digest.short();
                return Ok(Err(format!("version {version} of dataset `{dataset}` was removed")));
            }
        }
        match Box::pin(self.keys_again(request, recorded, cancel)).await {
            Ok(differences) => {
                let told = differences.iter().flat_map(|(step, changes)| {
                    changes.iter().map(move |change| {
                        let part = why::described(&change.part);
                        format!("{part} of step `{step}` is not to be had as it was")
                    })
                });
                Ok(Ok(told.collect()))
            }
            Err(Error::Stage(inner)) => match Error::Stage(inner) {
                error if error.stage().is_some_and(is_ours) => Err(error),
                error => Ok(Err(chain(&error))),
            },
            Err(error) => Err(error),
        }
    }

    /// The same store with a project in another folder; the error says why that folder holds none.
    pub(super) fn at(&self, root: &Path) -> Result<Result<Self, String>, Error> {
        let file = root.join(PROJECT_FILE);
        let source = match std::fs::read_to_string(&file) {
            Ok(source) => source,
            Err(error) => return Ok(Err(format!("the project file of then cannot be read: {error}"))),
        };
        let builtins = builtins::of_project(root, self.config());
        let folder = Folder::new(root);
        let checked = tokio::task::block_in_place(|| check(&source, PROJECT_FILE, &folder, &builtins));
        let project = match checked {
            Ok(project) => Arc::new(project),
            Err(faults) => {
                let first = faults.first().map_or_else(String::new, |fault| format!(": {}", fault.message));
                return Ok(Err(format!(
                    "the project file of then has faults to this version of Rondo{first}"
                )));
            }
        };
        let (arrived, looking, deploying) = (Mutex::default(), Default::default(), Default::default());
        Ok(Ok(Self {
            root: root.to_owned(),
            project,
            store: self.store.clone(),
            config: self.config.clone(),
            clock: self.clock.clone(),
            progress: self.progress.clone(),
            arrived,
            looking,
            deploying,
        }))
    }
}

/// Whether an error says nothing about the run: the store refuses, or somebody wants to stop.
fn is_ours(error: &rondo_pipeline::Error) -> bool {
    matches!(error, rondo_pipeline::Error::Interrupted | rondo_pipeline::Error::Store(_))
}

/// What has to be laid out.
fn wanted(whole: &RunRow, recorded: &[RunRow]) -> Wanted {
    let mut wanted = Wanted {
        commit: whole.detail.code.commit.clone(),
        files: whole.detail.code.files.clone(),
        environments: BTreeMap::new(),
    };
    for row in recorded {
        wanted.commit = wanted.commit.or_else(|| row.detail.code.commit.clone());
        wanted.files.extend(row.detail.code.files.clone());
        // The host's tools are recorded and cannot be pinned.
        wanted.environments.extend(row.detail.environment.clone().filter(|(name, _)| name != "host"));
    }
    wanted
}

fn source_note(wanted: &Wanted) -> String {
    let known = wanted.files.contains_key(source::PROJECT_FILE);
    let how =
        if known { "files that no step declares" } else { "the project file and what no step declares" };
    match &wanted.commit {
        Some(commit) => {
            let short: String = commit.chars().take(12).collect();
            format!("commit {short} is not to be had: {how} are as they are today")
        }
        None => format!("it was made outside of Git: {how} are as they are today"),
    }
}

/// A step that fails in other surroundings.
pub(super) fn failed(cause: &str) -> Finding {
    Finding { kind: Kind::Text, place: String::new(), text: format!("it fails: {cause}"), spread: None }
}
