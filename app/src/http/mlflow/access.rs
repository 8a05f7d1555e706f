//! Steps: each has a token, and with it one identity, that of its own run.
//!
//! The client in a step's process takes `MLFLOW_RUN_ID` for its first `start_run`, ends that run when it
//! sees fit, may go on with runs of its own, and may turn to another experiment. Rondo's step goes on all
//! the while. What is remembered here is what makes both true; it ends with the step.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rondo_core::ports::TrackingAccess;
use rondo_core::{Digest, RunId};

/// A step that is under way.
#[derive(Debug)]
pub(super) struct Step {
    run: RunId,
    chosen: Mutex<Option<i64>>,
}

impl Step {
    /// Its own run.
    pub(super) const fn run(&self) -> RunId {
        self.run
    }

    /// The experiment that its client last looked up by name. The client insists that the run it was
    /// given be filed under the experiment that it turned to, so that is what it is told.
    pub(super) fn chosen(&self) -> Option<i64> {
        *self.lock()
    }

    /// Its client has looked up an experiment by name.
    pub(super) fn choose(&self, experiment: i64) {
        *self.lock() = Some(experiment);
    }

    fn lock(&self) -> MutexGuard<'_, Option<i64>> {
        // One word is written at once: whoever panicked has left nothing half done.
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The steps that are let in. Tokens are kept as digests, so that looking one up tells nothing by its time.
#[derive(Debug, Default)]
pub(super) struct Steps {
    by_token: RwLock<HashMap<Digest, Arc<Step>>>,
}

impl Steps {
    /// The step of a token.
    pub(super) fn find(&self, token: &str) -> Option<Arc<Step>> {
        let steps = self.by_token.read().unwrap_or_else(PoisonError::into_inner);
        steps.get(&Digest::of(token.as_bytes())).cloned()
    }
}

/// Who is calling.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// Somebody who was let in without a token.
    Anyone,
    /// A step's code.
    Step(Arc<Step>),
}

impl Caller {
    /// The step, where one is calling.
    pub(super) fn step(&self) -> Option<&Step> {
        match self {
            Self::Anyone => None,
            Self::Step(step) => Some(step),
        }
    }
}

/// Lets a pipeline's steps in, each for as long as it runs.
#[derive(Debug, Clone)]
pub struct StepAccess {
    steps: Arc<Steps>,
    url: String,
}

impl StepAccess {
    pub(super) fn new(steps: Arc<Steps>, url: &str) -> Self {
        Self { steps, url: url.trim_end_matches('/').to_owned() }
    }
}

impl TrackingAccess for StepAccess {
    fn admit(&self, run: RunId, experiment: &str) -> BTreeMap<String, String> {
        let random: [u8; 32] = rand::random();
        let token = format!("rondo-step-{}", hex::encode(random));
        let step = Arc::new(Step { run, chosen: Mutex::new(None) });
        let mut steps = self.steps.by_token.write().unwrap_or_else(PoisonError::into_inner);
        steps.insert(Digest::of(token.as_bytes()), step);
        BTreeMap::from([
            ("MLFLOW_TRACKING_URI".to_owned(), self.url.clone()),
            ("MLFLOW_TRACKING_TOKEN".to_owned(), token),
            ("MLFLOW_RUN_ID".to_owned(), run.hex()),
            ("MLFLOW_EXPERIMENT_NAME".to_owned(), experiment.to_owned()),
        ])
    }

    fn dismiss(&self, run: RunId) {
        let mut steps = self.steps.by_token.write().unwrap_or_else(PoisonError::into_inner);
        steps.retain(|_, step| step.run != run);
    }
}
