//! A pipeline run that is under way: what its steps share.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rondo_core::ports::{Clock, Event, Progress, TrackingAccess};
use rondo_core::run::{Code, RunDetail, RunState, StepOutcome};
use rondo_core::{Digest, RunId};
use rondo_project::project::Project;
use rondo_store::Store;
use rondo_store::meta::cache::Cached;
use rondo_store::meta::runs::RunChange;
use rondo_store::objects::Stored;
use tokio::sync::{OnceCell, watch};

use super::control::{self, Listener};
use super::heal::Remotes;
use super::machine::Machine;
use super::recover::{LEASE, WorkFolder, lease_name};
use super::{record, recover};
use crate::cache;
use crate::environment::host::{find_program, search_path};
use crate::execute::folders::Folders;
use crate::execute::guard::Hold;
use crate::execute::outputs::chain;
use crate::execute::process::{self, Command};
use crate::git::{self, Commit};
use crate::graph::Node;
use crate::isolation;
use crate::plan::{Inputs, Planner, dataset_link};
use crate::request::{Outcome, RunRequest, StepReport};
use crate::runner::Runner;
use crate::shared::Shared;
use crate::worktree::{WorkTree, lock};
use crate::{Error, again};

/// How long what became of steps may wait to be written: their own rows say it too, and one row that grows
/// with every step would cost the square of their number.
const WRITTEN: Duration = Duration::from_millis(500);

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
    /// The cache that the team shares.
    pub shared: Option<Arc<Shared>>,
    /// The remotes of the project.
    pub remotes: Option<Remotes>,
    /// What the cache was known to hold when the run began.
    pub known: HashMap<Digest, Cached>,
    /// What became of each node of the graph, by its place.
    reports: Box<[OnceLock<StepReport>]>,
    /// Of which nodes whoever watches was told that they have ended.
    told: Mutex<Box<[bool]>>,
    _listener: Listener,
    _guard: Hold,
    folder: WorkFolder,
    /// The folders in it that steps have left.
    pub folders: Folders,
    /// What a step that says nothing has said.
    nothing: OnceLock<Stored>,
    heartbeat: tokio::task::JoinHandle<()>,
    commit: OnceCell<Commit>,
    /// The project file in the store, by its name.
    source: BTreeMap<String, Digest>,
    host_tools: OnceCell<Option<Digest>>,
    /// The shell of the search path that steps have mostly.
    shell: OnceLock<(String, PathBuf)>,
    isolation: OnceLock<isolation::Machine>,
    /// How often the kernel had ended a process for lack of memory when the first step began.
    out_of_memory: OnceLock<Option<u64>>,
    outcomes: Mutex<Outcomes>,
}

/// What became of the steps so far, and when that was last written down.
#[derive(Default)]
struct Outcomes {
    steps: BTreeMap<String, StepOutcome>,
    written: Option<Instant>,
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
        let store = runner.store.clone();
        let experiment = store.meta().ensure_experiment(&planner.project.name, now).await?;
        let known = cache::load(&store, &planner).await?;
        let source = kept(&store, &planner.project);
        let run = RunId::random();
        let folder = WorkFolder::make(&store, run)?;
        let listener = control::listen(folder.path(), cancel)?;
        let holder = format!("process {}", std::process::id());
        let heartbeat = tokio::spawn(beat(store.clone(), runner.clock.clone(), run, holder.clone()));
        let session = Self {
            clock: runner.clock.clone(),
            progress: runner.progress.clone(),
            tracking: runner.tracking.clone(),
            host: runner.host_env.clone(),
            request,
            reports: planner.graph.nodes().iter().map(|_| OnceLock::new()).collect(),
            told: Mutex::new(planner.graph.nodes().iter().map(|_| false).collect()),
            planner,
            run,
            experiment,
            cancel: listener.cancelled.clone(),
            machine,
            worktree,
            halted: AtomicBool::new(false),
            known,
            shared: runner.shared.clone(),
            remotes: runner.remotes.clone(),
            _listener: listener,
            _guard: Hold::on(folder.path()),
            nothing: OnceLock::new(),
            folder,
            folders: Folders::default(),
            heartbeat,
            commit: OnceCell::new(),
            source,
            host_tools: OnceCell::new(),
            shell: OnceLock::new(),
            isolation: OnceLock::new(),
            out_of_memory: OnceLock::new(),
            outcomes: Mutex::default(),
            store,
        };
        let lease = session.store.meta().lease_with_next(&lease_name(run), &holder, now, LEASE);
        record::begin_pipeline(&session, now).await?;
        lease.written().await?;
        Ok(session)
    }

    /// What is known of the pipeline run so far.
    pub fn detail(&self) -> RunDetail {
        let commit = self.commit.get().cloned().unwrap_or_default();
        RunDetail {
            attempt: 1,
            inputs: self.planner.datasets.values().map(dataset_link).collect(),
            code: Code { commit: commit.id, dirty: commit.dirty, files: self.source.clone() },
            platform: crate::platform::platform(),
            params: self.planner.params.clone(),
            steps: lock(&self.outcomes).steps.clone(),
            started_by: self.request.started_by.clone(),
            ..RunDetail::default()
        }
    }

    /// What this machine can do to isolate steps, asked once and only where a step wants it.
    pub fn isolation(&self) -> &isolation::Machine {
        self.isolation.get_or_init(|| isolation::Machine::probe(search_path(&self.host)))
    }

    /// The commit of the project, asked for once and only when a step runs.
    pub async fn commit(&self) -> &Commit {
        self.commit
            .get_or_init(|| async {
                match &self.request.again {
                    Some(again) => again.commit.clone(),
                    None => git::commit(&self.planner.root, &self.host).await,
                }
            })
            .await
    }

    /// Puts a step's code into the store, so that a run can be made again when it has changed and was not
    /// committed. What is there already costs a look.
    pub async fn keep_code(&self, code: &BTreeMap<String, Digest>) {
        let kept = again::source::keep(self.store.objects(), &self.planner.root, code);
        // What cannot be kept fails no step: the run may then not be made again, which is said then.
        if let Err(error) = kept {
            tracing::warn!("keep the code of run {}: {}", self.run, chain(&error));
        }
    }

    /// What the host's tools are, as an object: recorded for steps that declare no environment.
    pub async fn host_tools(&self) -> Option<Digest> {
        *self.host_tools.get_or_init(|| self.look_at_host()).await
    }

    /// An empty log, stored once.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn nothing(&self) -> Result<Stored, rondo_store::Error> {
        match self.nothing.get() {
            Some(stored) => Ok(*stored),
            None => {
                let stored = self.store.objects().put_bytes(b"")?;
                Ok(*self.nothing.get_or_init(|| stored))
            }
        }
    }

    /// The shell in a search path, looked up once for those that have the same.
    pub fn shell(&self, path: &str) -> PathBuf {
        let look = || find_program("sh", path).unwrap_or_else(|| "/bin/sh".into());
        let (known, shell) = self.shell.get_or_init(|| (path.to_owned(), look()));
        if known == path { shell.clone() } else { look() }
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
            mark: None,
        };
        let mut said = Vec::new();
        let mut take = |bytes: &[u8]| said.extend_from_slice(bytes);
        let limit = Some(Duration::from_secs(20));
        process::run(&command, limit, &mut self.cancel.clone(), &mut take).await.ok()?;
        String::from_utf8_lossy(&said).lines().next().map(|line| line.trim().to_owned())
    }

    /// The folder of a node in this run.
    pub fn folder(&self, node: &Node) -> PathBuf {
        self.folder.path().join(node.folder())
    }

    /// What became of a node, once it has ended.
    pub fn report(&self, place: usize) -> Option<&StepReport> {
        self.reports.get(place)?.get()
    }

    /// Keeps what became of a node.
    pub fn finished(&self, place: usize, report: StepReport) {
        if let Some(slot) = self.reports.get(place) {
            // A node ends once.
            let _ = slot.set(report);
        }
    }

    /// Tells whoever watches what became of a node, once.
    pub fn tell(&self, place: usize, report: &StepReport) {
        // Held while it is told: who comes second may go on only after that.
        let mut told = lock(&self.told);
        let Some(told) = told.get_mut(place).filter(|told| !**told) else { return };
        *told = true;
        let message = match (&report.outcome, &report.cause) {
            (Outcome::Cached, None) => "cached".to_owned(),
            (Outcome::Ran, _) => "done".to_owned(),
            (Outcome::Skipped, cause) => format!("skipped: {}", cause.clone().unwrap_or_default()),
            (Outcome::Cached | Outcome::Failed, cause) => cause.clone().unwrap_or_default(),
        };
        let ok = report.outcome != Outcome::Failed;
        self.progress.report(Event::Ended { subject: report.name.clone(), ok, message });
    }

    /// Tells that a node begins, after the ends of all that it needs: they are on the disk since its own row
    /// is.
    pub fn tell_begun(&self, node: &Node, message: &str) {
        for need in &node.needs {
            self.report(*need).into_iter().for_each(|report| self.tell(*need, report));
        }
        self.progress.report(Event::Started { subject: node.name.clone(), message: message.to_owned() });
    }

    /// What goes into a node whose needs have ended.
    pub fn inputs(&self, node: &Node) -> Inputs {
        self.planner.inputs(node, |place, output| self.report(place)?.output(output).cloned())
    }

    /// Notes how often the kernel has ended a process for lack of memory up to now, once.
    pub fn watch_memory(&self) {
        self.out_of_memory.get_or_init(out_of_memory);
    }

    /// Whether the kernel has ended a process for lack of memory since the first step began; nothing where
    /// the system does not say.
    pub fn ran_out_of_memory(&self) -> Option<bool> {
        Some(out_of_memory()? > (*self.out_of_memory.get()?)?)
    }

    /// Whether somebody wants everything to stop.
    pub fn is_cancelled(&self) -> bool {
        *self.cancel.borrow()
    }

    /// Notes what became of a step; it is written soon, at the latest at the end.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn note(&self, report: &StepReport) -> Result<(), Error> {
        let outcome =
            StepOutcome { run: report.run, outcome: report.outcome.text().to_owned(), key: report.key };
        let due = {
            let mut outcomes = lock(&self.outcomes);
            outcomes.steps.insert(report.name.clone(), outcome);
            let news = matches!(report.outcome, Outcome::Ran | Outcome::Failed);
            let due = news && outcomes.written.is_none_or(|written| written.elapsed() > WRITTEN);
            if due {
                outcomes.written = Some(Instant::now());
            }
            due
        };
        if due {
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
        let commit = detail.code.commit.clone();
        let tagged = async {
            let Some(commit) = commit else { return Ok(()) };
            let tag = ("mlflow.source.git.commit".to_owned(), commit);
            Ok::<_, Error>(self.store.meta().set_run_tags(self.run, vec![tag]).await?)
        };
        let holder = format!("process {}", std::process::id());
        let released = self.store.meta().release_with_next(&lease_name(self.run), &holder);
        let frozen = record::ended(state, detail, self.clock.now());
        // Its process has nothing else to do.
        let ended = async { Ok::<_, Error>(self.store.meta().end_run(self.run, frozen).await?) };
        tokio::try_join!(tagged, ended)?;
        released.written().await?;
        self.folder.remove();
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

/// Puts the project file, as it was when it was checked, into the store. What cannot be kept fails no run: that may
/// then not be made again, which is said then.
fn kept(store: &Store, project: &Project) -> BTreeMap<String, Digest> {
    let kept = store.objects().put_bytes(project.text.as_bytes());
    let kept = kept.inspect_err(|error| tracing::warn!("keep the project file: {}", chain(error)));
    kept.map(|kept| (again::source::PROJECT_FILE.to_owned(), kept.digest)).into_iter().collect()
}

/// The kernel's count.
fn out_of_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
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
    recover::recover(&runner.store, &runner.host_env, runner.clock.now()).await
}
