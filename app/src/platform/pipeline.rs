//! The pipeline meets the tracking server: every run listens on loopback for its own steps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rondo_core::RunId;
use rondo_core::ports::{Scorer, TrackingAccess};
use rondo_core::run::RunRow;
use rondo_pipeline::environment::provision::Provisioned;
use rondo_pipeline::request::Change;
use rondo_pipeline::{Plan, RunReport, RunRequest, Runner, Why};
use rondo_serving::scorer::FileScorer;
use serde_json::Value;
use tokio::sync::watch;

use super::{Error, Platform, builtins};
use crate::http::access::steps::StepAccess;
use crate::http::access::{Admission, Door, Mode};
use crate::http::mlflow::{self, MlflowState};
use crate::http::server::Server;

impl Platform {
    /// Runs the pipeline. Its steps reach a tracking server on loopback, each with a token of its own,
    /// for as long as the run lasts.
    ///
    /// # Errors
    /// As [`Runner::run`], or when no port can be listened on.
    pub async fn run(&self, request: RunRequest, cancel: watch::Receiver<bool>) -> Result<RunReport, Error> {
        let bound = Server::bind("127.0.0.1:0").await?;
        let (store, clock) = (self.store().clone(), self.clock().clone());
        let door = Door::new(&store, clock.clone(), Admission::new(Mode::StepsOnly));
        let access = door.steps(&bound.url());
        let begin = move || bound.serve(mlflow::router(MlflowState::new(store, clock, door)));
        let tracking =
            Arc::new(OnDemand { access, begin: Mutex::new(Some(Box::new(begin))), server: Mutex::default() });
        let runner = Runner { shared: self.shared().await?, ..self.runner(tracking.clone()) };
        let report = Box::pin(runner.run(request, cancel)).await;
        let server = tracking.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            server.stop().await;
        }
        Ok(report?)
    }

    /// Makes the environment of that name: locked, provisioned, ready to be used.
    ///
    /// # Errors
    /// As [`Runner::environment`].
    pub async fn environment(&self, name: &str) -> Result<Provisioned, Error> {
        let (_never, cancel) = watch::channel(false);
        Ok(self.runner(Arc::new(Closed)).environment(name, cancel).await?)
    }

    /// What a run would do, without doing it.
    ///
    /// # Errors
    /// As [`Runner::plan`].
    pub async fn plan(&self, request: &RunRequest) -> Result<Plan, Error> {
        Ok(Box::pin(self.runner(Arc::new(Closed)).plan(request)).await?)
    }

    /// Why a step would run, or would not, with these parameters; of every step where none is named.
    ///
    /// # Errors
    /// As [`Runner::why_with`].
    pub async fn why(&self, step: Option<&str>, params: BTreeMap<String, Value>) -> Result<Vec<Why>, Error> {
        Ok(Box::pin(self.runner(Arc::new(Closed)).why_with(step, params)).await?)
    }

    /// What the keys of a run that is made again would differ in from those recorded, by step.
    ///
    /// # Errors
    /// As [`Runner::differences`].
    pub async fn keys_again(
        &self,
        request: &RunRequest,
        recorded: &[RunRow],
        cancel: watch::Receiver<bool>,
    ) -> Result<BTreeMap<String, Vec<Change>>, Error> {
        Ok(Box::pin(self.runner(Arc::new(Closed)).differences(request, recorded, cancel)).await?)
    }

    /// Tells a run that is under way to stop; whether a process of this machine was told.
    ///
    /// # Errors
    /// As [`Runner::cancel`].
    pub fn cancel(&self, run: RunId) -> Result<bool, Error> {
        Ok(self.runner(Arc::new(Closed)).cancel(run)?)
    }

    /// Ends runs whose process is gone.
    ///
    /// # Errors
    /// As [`Runner::recover`].
    pub async fn recover(&self) -> Result<Vec<RunId>, Error> {
        Ok(self.runner(Arc::new(Closed)).recover().await?)
    }

    /// What scores rows with a stored model.
    pub fn scorer(&self) -> Arc<dyn Scorer> {
        let objects = self.store().objects().clone();
        Arc::new(FileScorer::new(Arc::new(move |digest| objects.path(digest))))
    }

    /// A runner for what runs no step.
    pub(super) fn idle_runner(&self) -> Runner {
        self.runner(Arc::new(Closed))
    }

    fn runner(&self, tracking: Arc<dyn TrackingAccess>) -> Runner {
        let builtins = builtins::in_rust(self.config(), self.scorer(), self.sql_engine());
        Runner { builtins, tracking, ..self.bare_runner() }
    }

    /// A runner without packages, for what the packages themselves ask of one.
    pub(super) fn bare_runner(&self) -> Runner {
        Runner {
            store: self.store().clone(),
            project: self.project().clone(),
            root: self.root().to_owned(),
            tools: self.config().cache.join("tools"),
            builtins: Vec::new(),
            tracking: Arc::new(Closed),
            progress: self.progress().clone(),
            clock: self.clock().clone(),
            host_env: self.config().environment.clone(),
            shared: None,
            remotes: Some(self.healers()),
        }
    }
}

/// A tracking server that begins to answer when the first step is let in: a run whose steps are all up to
/// date needs none.
struct OnDemand {
    access: StepAccess,
    begin: Mutex<Option<Begin>>,
    server: Mutex<Option<Server>>,
}

type Begin = Box<dyn FnOnce() -> Server + Send>;

impl TrackingAccess for OnDemand {
    fn admit(&self, run: RunId, experiment: &str) -> BTreeMap<String, String> {
        let begin = self.begin.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(begin) = begin {
            *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(begin());
        }
        self.access.admit(run, experiment)
    }

    fn dismiss(&self, run: RunId) {
        self.access.dismiss(run);
    }
}

/// No way to a tracking server: for what runs nothing.
struct Closed;

impl TrackingAccess for Closed {
    fn admit(&self, _run: RunId, _experiment: &str) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn dismiss(&self, _run: RunId) {}
}
