//! The door of the pipeline: what the application makes once and asks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rondo_core::RunId;
use rondo_core::ports::{Builtin, Clock, Progress, TrackingAccess};
use rondo_core::run::RunState;
use rondo_core::sweep::TrialState;
use rondo_project::lock::Lock;
use rondo_project::project::Project;
use rondo_store::Store;
use serde_json::Value;
use tokio::sync::watch;

use crate::environment::provision::Provisioned;
use crate::environment::{Environments, Making};
use crate::execute::confine;
use crate::execute::process::cancelled;
use crate::plan::Planner;
use crate::request::{Outcome, Place, Plan, RunReport, RunRequest, StepReport, Why};
use crate::run::heal::Remotes;
use crate::run::machine::{Amounts, Machine};
use crate::run::session::{self, Session};
use crate::run::{control, schedule};
use crate::shared::Shared;
use crate::sql::DuckDb;
use crate::worktree::WorkTree;
use crate::{Error, lacking, lock, made, why};

/// Runs the steps of one project. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    /// The store; its folder also holds environments and work folders.
    pub store: Store,
    /// The checked project.
    pub project: Arc<Project>,
    /// The folder of `rondo.yaml`.
    pub root: PathBuf,
    /// Where `uv` is installed if the machine has none; may be shared by projects.
    pub tools: PathBuf,
    /// The packages in Rust.
    pub builtins: Vec<Arc<dyn Builtin>>,
    /// The way to the tracking server.
    pub tracking: Arc<dyn TrackingAccess>,
    /// Who watches.
    pub progress: Arc<dyn Progress>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The variables that Rondo was started with.
    pub host_env: BTreeMap<String, String>,
    /// The cache that the team shares, where there is one.
    pub shared: Option<Arc<Shared>>,
    /// The remotes of the project, from which what is damaged here is fetched.
    pub remotes: Option<Remotes>,
}

impl Runner {
    /// Runs what is asked for. A step that fails is told in the report ([`RunReport::failure`]), not as an
    /// error. Stops when `cancel` becomes true.
    ///
    /// # Errors
    /// When the request cannot be planned (and then nothing has been run or written), when `rondo.lock`
    /// was to be kept and does not agree, when the store or the disk refuses, and
    /// [`Error::Interrupted`].
    pub async fn run(&self, request: RunRequest, cancel: watch::Receiver<bool>) -> Result<RunReport, Error> {
        let began = Instant::now();
        session::clean(self).await?;
        let mut planner = Box::pin(self.draft(&request, cancel.clone())).await?;
        versioned(&planner)?;
        lacking::check(self, &planner, &request).await?;
        planner.locks = true;
        if request.locked {
            refuse(lock::differences_before(&planner).await?)?;
        }
        made::check(&self.store, &planner, &request).await?;
        let place = request.place;
        let worktree = (place == Place::WorkTree)
            .then(|| WorkTree::open(&self.root, self.store.root(), self.store.objects().clone()))
            .map(Arc::new);
        let machine = Machine::new(amounts(&request));
        let hold = request.locked;
        let session = Box::pin(Session::begin(self, request, planner, machine, worktree, cancel)).await?;
        let (run, session) = (session.run, Arc::new(session));
        let result = self.through(&session, place, hold).await;
        let (state, cause) = match &result {
            Ok(steps) => match failed(steps) {
                Some(cause) => (RunState::Failed, Some(cause)),
                None => (RunState::Finished, None),
            },
            Err(Error::Interrupted) => (RunState::Killed, Some("it was interrupted".to_owned())),
            Err(error) => (RunState::Failed, Some(error.to_string())),
        };
        // What only makes an earlier run again is given to nobody.
        let shared = self.shared.as_ref().filter(|_| session.request.again.is_none());
        let mut given = Ok(());
        if let (Some(shared), Ok(steps)) = (shared, &result) {
            let made = steps.iter().filter(|step| step.outcome == Outcome::Ran);
            let made = made.filter_map(|step| step.key.zip(step.run));
            // A trial that ended well stands for itself, whatever became of its sweep.
            let sweeps = steps.iter().filter_map(|step| step.sweep.as_ref());
            let trials = sweeps.flat_map(|sweep| &sweep.trials);
            let trials = trials.filter(|trial| trial.state == TrialState::Finished);
            let made: Vec<_> = made.chain(trials.filter_map(|trial| trial.key.zip(trial.run))).collect();
            let mut cancel = session.cancel.clone();
            given = tokio::select! {
                given = shared.give(&self.store, &made) => given.map(drop),
                () = cancelled(&mut cancel) => Ok(()),
            };
        }
        let datasets = session.detail().inputs;
        match Arc::try_unwrap(session) {
            Ok(session) => session.end(state, cause).await?,
            Err(_) => return Err(Error::Task { reason: "a step is still under way".to_owned() }),
        }
        let steps = result?;
        given?;
        Ok(RunReport { run, steps, datasets, seconds: began.elapsed().as_secs_f64() })
    }

    async fn through(
        &self,
        session: &Arc<Session>,
        place: Place,
        hold: bool,
    ) -> Result<Vec<StepReport>, Error> {
        confine::announce(session);
        let steps = schedule::all(session).await?;
        if session.is_cancelled() && steps.iter().any(|step| !step.outcome.is_good()) {
            return Err(Error::Interrupted);
        }
        if hold {
            refuse(lock::differences_after(&session.planner, &steps))?;
        } else if place == Place::WorkTree {
            lock::update(self.store.root(), &session.planner, &steps).await?;
        }
        Ok(steps)
    }

    /// What a run would do. Nothing is executed, and no environment is locked anew.
    ///
    /// # Errors
    /// When the request cannot be planned or the store cannot be read.
    pub async fn plan(&self, request: &RunRequest) -> Result<Plan, Error> {
        let planner = Box::pin(self.forecaster(request)).await?;
        why::explained(&self.store, &planner, request).await
    }

    /// Why a step would run, or would not, with the project's own parameters and the newest data. Of a step
    /// with a matrix, an answer for each combination.
    ///
    /// # Errors
    /// When there is no such step, it cannot be planned, or the store cannot be read.
    pub async fn why(&self, step: &str) -> Result<Vec<Why>, Error> {
        self.why_with(Some(step), BTreeMap::new()).await
    }

    /// The same with other parameters; of every step where none is named.
    ///
    /// # Errors
    /// As [`Runner::why`], and when a parameter is not known or of another kind.
    pub async fn why_with(
        &self,
        step: Option<&str>,
        params: BTreeMap<String, Value>,
    ) -> Result<Vec<Why>, Error> {
        let targets = step.map(str::to_owned).into_iter().collect();
        let request = RunRequest { targets, params, ..RunRequest::default() };
        let planner = Box::pin(self.forecaster(&request)).await?;
        why::why(&self.store, &planner, &request, step).await
    }

    /// Tells a run that is under way in any process of this machine to stop. Whether it was told: false where
    /// no process has it under way.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn cancel(&self, run: RunId) -> Result<bool, Error> {
        control::cancel(&self.store, run)
    }

    /// Makes the environment of that name: locked, provisioned, ready to be used.
    ///
    /// # Errors
    /// When it is not declared, or cannot be locked or made.
    pub async fn environment(&self, name: &str, cancel: watch::Receiver<bool>) -> Result<Provisioned, Error> {
        let environments = self.environments(&lock::read(&self.root)?, cancel);
        let lock = environments.lock(&self.project, name).await?;
        environments.provision(&lock).await
    }

    /// Ends runs whose process is gone and removes what they left. Every run does so first; a server may
    /// want it at its start.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn recover(&self) -> Result<Vec<RunId>, Error> {
        session::clean(self).await
    }

    /// What answers SQL that is asked by hand or by a check.
    ///
    /// # Errors
    /// When the lock file cannot be read.
    pub fn sql(&self, cancel: watch::Receiver<bool>) -> Result<DuckDb, Error> {
        Ok(DuckDb::new(self.making(&lock::read(&self.root)?, cancel)))
    }

    async fn forecaster(&self, request: &RunRequest) -> Result<Planner, Error> {
        let (_never, cancel) = watch::channel(false);
        let planner = self.draft(request, cancel).await?;
        Error::all(planner.faults())?;
        Ok(planner)
    }

    pub(crate) async fn planner(
        &self,
        request: &RunRequest,
        cancel: watch::Receiver<bool>,
    ) -> Result<Planner, Error> {
        let mut planner = self.draft(request, cancel).await?;
        versioned(&planner)?;
        Error::all(planner.faults())?;
        planner.locks = true;
        Ok(planner)
    }

    /// A plan whose faults nobody has asked for yet.
    async fn draft(&self, request: &RunRequest, cancel: watch::Receiver<bool>) -> Result<Planner, Error> {
        let locked = lock::read(&self.root)?;
        let environments = self.environments(&locked, cancel);
        let (project, builtins) = (self.project.clone(), self.builtins.clone());
        Planner::new(project, &self.root, &self.store, builtins, environments, request, locked).await
    }

    fn environments(&self, locked: &Lock, cancel: watch::Receiver<bool>) -> Environments {
        Environments::new(self.making(locked, cancel))
    }

    fn making(&self, locked: &Lock, cancel: watch::Receiver<bool>) -> Making {
        Making {
            store: self.store.clone(),
            root: self.root.clone(),
            tools: self.tools.clone(),
            host: self.host_env.clone(),
            progress: self.progress.clone(),
            pins: locked.environments.clone(),
            cancel,
        }
    }
}

/// Nothing is read that has no version.
fn versioned(planner: &Planner) -> Result<(), Error> {
    let missing =
        planner.unversioned.iter().map(|dataset| Error::DatasetMissing { dataset: dataset.clone() });
    Error::all(missing.collect())
}

/// What steps may use at once.
fn amounts(request: &RunRequest) -> Amounts {
    let machine = Amounts::of_this_machine();
    let cpus = request.jobs.map_or(machine.cpus, f64::from);
    Amounts { cpus, custom: request.resources.clone(), ..machine }
}

fn refuse(differences: Vec<String>) -> Result<(), Error> {
    if differences.is_empty() { Ok(()) } else { Err(Error::LockChanged { differences }) }
}

/// Which steps failed, in words; nothing where none did.
fn failed(steps: &[StepReport]) -> Option<String> {
    let failed = steps.iter().filter(|step| step.outcome == Outcome::Failed).map(|step| step.name.as_str());
    let failed: Vec<&str> = failed.collect();
    (!failed.is_empty()).then(|| format!("failed: {}", failed.join(", ")))
}
