//! A pipeline run that is under way: what its steps share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rondo_core::ports::{Clock, Progress, TrackingAccess};
use rondo_core::run::{Code, RunDetail, RunState, StepOutcome};
use rondo_core::{Digest, RunId};
use rondo_store::Store;
use rondo_store::meta::runs::RunChange;
use tokio::sync::{OnceCell, watch};

use super::machine::Machine;
use super::recover::{LEASE, WorkFolder, lease_name};
use super::{record, recover};
use crate::Error;
use crate::environment::host::{find_program, search_path};
use crate::execute::outputs::chain;
use crate::execute::process::{self, Command};
use crate::git::{self, Commit};
use crate::plan::{Planner, dataset_link};
use crate::request::{Outcome, RunRequest, StepReport};
use crate::runner::Runner;
use crate::worktree::{WorkTree, lock};

/// How often the lease is renewed.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A run under way.
pub struct Session {
    /// The store.
    pub store: Store,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Who watches.
    pub progress: Arc<dyn Progress>,
    /// The way to the tracking server.
    pub tracking: Arc<dyn TrackingAccess>,
    /// The variables that Rondo was started with.
    pub host: BTreeMap<String, String>,
    /// What was asked.
    pub request: RunRequest,
    /// What there is to do.
    pub planner: Planner,
    /// The run.
    pub run: RunId,
    /// Its experiment.
    pub experiment: i64,
    /// Becomes true when everything should stop.
    pub cancel: watch::Receiver<bool>,
    /// What of the machine is free.
    pub machine: Machine,
    /// Where outputs are checked out; nowhere in a detached run.
    pub worktree: Option<Arc<WorkTree>>,
    /// No step is started any more: one has failed.
    pub halted: AtomicBool,
    folder: WorkFolder,
    heartbeat: tokio::task::JoinHandle<()>,
    commit: OnceCell<Commit>,
    host_tools: OnceCell<Option<Digest>>,
    outcomes: Mutex<BTreeMap<String, StepOutcome>>,
}

impl Session {
    /// Begins a run: its work folder, its lease, its row.
    ///
    /// # Errors
    /// When the disk or the store refuses.
    pub async fn begin(
        runner: &Runner,
        request: RunRequest,
        planner: Planner,
        machine: Machine,
        worktree: Option<Arc<WorkTree>>,
        cancel: watch::Receiver<bool>,
    ) -> Result<Self, Error> {
        let now = runner.clock.now();
        let experiment = runner.store.meta().ensure_experiment(&planner.project.name, now).await?;
        let run = RunId::random();
        let folder = WorkFolder::make(&runner.store, run)?;
        let holder = format!("process {}", std::process::id());
        runner.store.meta().lease(&lease_name(run), &holder, now, LEASE).await?;
        let heartbeat = tokio::spawn(beat(runner.store.clone(), runner.clock.clone(), run, holder));
        let session = Self {
            store: runner.store.clone(),
            clock: runner.clock.clone(),
            progress: runner.progress.clone(),
            tracking: runner.tracking.clone(),
            host: runner.host_env.clone(),
            request,
            planner,
            run,
            experiment,
            cancel,
            machine,
            worktree,
            halted: AtomicBool::new(false),
            folder,
            heartbeat,
            commit: OnceCell::new(),
            host_tools: OnceCell::new(),
            outcomes: Mutex::default(),
        };
        record::begin_pipeline(&session, now).await?;
        Ok(session)
    }

    /// What is known of the pipeline run so far.
    pub fn detail(&self) -> RunDetail {
        let commit = self.commit.get().cloned().unwrap_or_default();
        RunDetail {
            attempt: 1,
            inputs: self.planner.datasets.values().map(dataset_link).collect(),
            code: Code { commit: commit.id, dirty: commit.dirty, files: BTreeMap::new() },
            platform: crate::platform::platform(),
            params: self.planner.params.clone(),
            steps: lock(&self.outcomes).clone(),
            started_by: self.request.started_by.clone(),
            ..RunDetail::default()
        }
    }

    /// The commit of the project, asked for once and only when a step runs.
    pub async fn commit(&self) -> &Commit {
        self.commit.get_or_init(|| git::commit(&self.planner.root, &self.host)).await
    }

    /// What the host's tools are, as an object: recorded for steps that declare no environment.
    pub async fn host_tools(&self) -> Option<Digest> {
        *self.host_tools.get_or_init(|| self.look_at_host()).await
    }

    async fn look_at_host(&self) -> Option<Digest> {
        let path = search_path(&self.host);
        let mut text = format!(
            "# Host environment 1: recorded, not locked.\nplatform: {}\n",
            crate::platform::platform()
        );
        for (name, argument) in [("sh", None), ("python3", Some("--version"))] {
            let Some(program) = find_program(name, path) else { continue };
            let resolved = program.canonicalize().unwrap_or(program.clone());
            let version = match argument {
                Some(argument) => self.version(program, argument).await.unwrap_or_default(),
                None => {
                    resolved.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
                }
            };
            text.push_str(&format!("{name}: {version}\n"));
        }
        self.store.objects().put_bytes(text.as_bytes()).ok().map(|stored| stored.digest)
    }

    async fn version(&self, program: PathBuf, argument: &str) -> Option<String> {
        let command = Command {
            program,
            arguments: vec![argument.into()],
            folder: self.planner.root.clone(),
            variables: crate::environment::host::base_variables(&self.host),
        };
        let mut said = Vec::new();
        let mut take = |bytes: &[u8]| said.extend_from_slice(bytes);
        let limit = Some(Duration::from_secs(20));
        process::run(&command, limit, &mut self.cancel.clone(), &mut take).await.ok()?;
        String::from_utf8_lossy(&said).lines().next().map(|line| line.trim().to_owned())
    }

    /// The folder of a step in this run.
    pub fn folder(&self, step: &str) -> PathBuf {
        self.folder.path().join(step)
    }

    /// Whether somebody wants everything to stop.
    pub fn is_cancelled(&self) -> bool {
        *self.cancel.borrow()
    }

    /// Notes what became of a step. What was executed is written at once; the rest at the end.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn note(&self, report: &StepReport) -> Result<(), Error> {
        let outcome =
            StepOutcome { run: report.run, outcome: report.outcome.text().to_owned(), key: report.key };
        lock(&self.outcomes).insert(report.name.clone(), outcome);
        if matches!(report.outcome, Outcome::Ran | Outcome::Failed) {
            let change = RunChange { detail: Some(self.detail()), ..RunChange::default() };
            self.store.meta().update_run(self.run, change).await?;
        }
        Ok(())
    }

    /// Ends the run: its row, its lease, its folder.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn end(self, state: RunState, cause: Option<String>) -> Result<(), Error> {
        let mut detail = self.detail();
        detail.exit = cause.map(|cause| rondo_core::run::Exit { cause: Some(cause), ..Default::default() });
        if let Some(commit) = &detail.code.commit {
            let tag = ("mlflow.source.git.commit".to_owned(), commit.clone());
            self.store.meta().set_run_tags(self.run, vec![tag]).await?;
        }
        record::end(&self.store, self.run, state, detail, self.clock.now()).await?;
        let holder = format!("process {}", std::process::id());
        self.store.meta().release(&lease_name(self.run), &holder).await?;
        if let Some(worktree) = &self.worktree {
            worktree.save()?;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

async fn beat(store: Store, clock: Arc<dyn Clock>, run: RunId, holder: String) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        if let Err(error) = store.meta().lease(&lease_name(run), &holder, clock.now(), LEASE).await {
            tracing::warn!("renew the lease of run {run}: {}", chain(&error));
        }
    }
}

/// Ends what processes that died have left behind.
///
/// # Errors
/// When the store refuses.
pub async fn clean(runner: &Runner) -> Result<Vec<RunId>, Error> {
    recover::recover(&runner.store, runner.clock.now()).await
}
