//! The pipeline meets the tracking server: every run listens on loopback for its own steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use rondo_core::RunId;
use rondo_core::ports::{Scorer, TrackingAccess};
use rondo_pipeline::{Plan, RunReport, RunRequest, Runner, Why};
use rondo_serving::scorer::FileScorer;
use tokio::sync::watch;

use super::{Error, Platform, builtins};
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
        let state = MlflowState::new(store, clock, door);
        let server = bound.serve(mlflow::router(state));
        let report = Box::pin(self.runner(Arc::new(access)).run(request, cancel)).await;
        server.stop().await;
        Ok(report?)
    }

    /// What a run would do, without doing it.
    ///
    /// # Errors
    /// As [`Runner::plan`].
    pub async fn plan(&self, request: &RunRequest) -> Result<Plan, Error> {
        Ok(Box::pin(self.runner(Arc::new(Closed)).plan(request)).await?)
    }

    /// Why a step would run, or would not.
    ///
    /// # Errors
    /// As [`Runner::why`].
    pub async fn why(&self, step: &str) -> Result<Why, Error> {
        Ok(Box::pin(self.runner(Arc::new(Closed)).why(step)).await?)
    }

    /// What scores rows with a stored model.
    pub fn scorer(&self) -> Arc<dyn Scorer> {
        let objects = self.store().objects().clone();
        Arc::new(FileScorer::new(Arc::new(move |digest| objects.path(digest))))
    }

    fn runner(&self, tracking: Arc<dyn TrackingAccess>) -> Runner {
        let builtins = builtins::in_rust(self.config(), self.scorer());
        Runner {
            store: self.store().clone(),
            project: self.project().clone(),
            root: self.root().to_owned(),
            tools: self.config().cache.join("tools"),
            builtins,
            tracking,
            progress: self.progress().clone(),
            clock: self.clock().clone(),
            host_env: self.config().environment.clone(),
        }
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
