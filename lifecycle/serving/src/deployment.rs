//! Deployments: endpoints, the model that answers at each, and how it is exchanged under way.
//!
//! An endpoint has one live model at any moment. A swap loads the new model, checks that its bytes are
//! those that were registered, warms it up, and only then puts it in place; requests under way finish on
//! the old one, so that none fails. Answers are idempotent by prediction id: a second request with the
//! same id and inputs gets the first one's answer and leaves no second trace. A shadow (the challenger)
//! scores the same rows on a thread of its own and is logged as `<name>.shadow`; nobody waits for it.
//!
//! [`Deployments::predict`] computes on the calling thread and, unless the endpoint's log is durable,
//! never waits for a disk. It knows nothing of HTTP.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use rondo_core::evaluation::Task;
use rondo_core::handoff::Deployment;
use rondo_core::ports::Clock;
use rondo_core::signature::Signature;
use rondo_core::suggest::nearest;
use rondo_core::{Explain, Kind, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::log::PredictionLog;
use crate::metrics::{Counters, Exposed, Numbers, exposition};
use crate::request::Request;
use answer::Identified;
use shadow::{ShadowWork, Shadows};

pub mod answer;
pub mod live;
mod shadow;

pub use answer::{Answer, try_out};
pub use live::{Candidate, LiveModel, LogPolicy};

/// What came of a swap.
#[derive(Debug, Clone, PartialEq)]
pub struct Swapped {
    /// What answered before.
    pub before: Option<Deployment>,
    /// What answers now.
    pub now: Deployment,
}

/// An endpoint at a moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// What answers.
    pub deployment: Deployment,
    /// What is tried beside it.
    pub shadow: Option<Deployment>,
    /// The engine that runs it.
    pub engine: &'static str,
    /// What it predicts.
    pub task: Task,
    /// What requests have to fit.
    pub signature: Signature,
    /// Score at or above which the positive class is predicted.
    pub threshold: Option<f64>,
    /// What it has counted.
    pub numbers: Numbers,
}

/// An endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    live: RwLock<Arc<LiveModel>>,
    shadow: RwLock<Option<Arc<LiveModel>>>,
    pub(crate) counters: Counters,
}

/// All endpoints of a process.
pub struct Deployments {
    endpoints: RwLock<BTreeMap<String, Arc<Endpoint>>>,
    /// Swaps go one at a time, so that the last one called is the one that stays.
    swapping: Mutex<()>,
    log: Arc<PredictionLog>,
    clock: Arc<dyn Clock>,
    shadows: Shadows,
}

impl std::fmt::Debug for Deployments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deployments").field("endpoints", &self.names()).finish_non_exhaustive()
    }
}

impl Deployments {
    /// No endpoints yet.
    ///
    /// # Errors
    /// When the shadows' thread cannot be started.
    pub fn new(log: Arc<PredictionLog>, clock: Arc<dyn Clock>) -> Result<Self> {
        let shadows = Shadows::start(Arc::clone(&log), Arc::clone(&clock))?;
        Ok(Self { endpoints: RwLock::default(), swapping: Mutex::new(()), log, clock, shadows })
    }

    /// The log of all endpoints.
    pub const fn log(&self) -> &Arc<PredictionLog> {
        &self.log
    }

    /// Puts a version at its endpoint, which is made if there is none. Until the new model is loaded and
    /// warm the old one answers; on an error it stays.
    ///
    /// # Errors
    /// As [`LiveModel::load`], or when the name cannot be an endpoint's.
    pub fn swap(&self, candidate: Candidate) -> Result<Swapped> {
        let name = candidate.deployment.name.clone();
        if !rondo_core::id::is_name(&name) {
            return Err(Error::DeploymentName { name });
        }
        let _one_at_a_time = self.swapping.lock().unwrap_or_else(PoisonError::into_inner);
        let live = Arc::new(LiveModel::load(candidate)?);
        let now = live.deployment.clone();
        if let Some(endpoint) = self.find(&name) {
            // The old model is dropped after the lock: by the last request that still uses it.
            let before = {
                let mut slot = endpoint.live.write().unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut *slot, live)
            };
            return Ok(Swapped { before: Some(before.deployment.clone()), now });
        }
        let endpoint =
            Endpoint { live: RwLock::new(live), shadow: RwLock::new(None), counters: Counters::default() };
        self.endpoints.write().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::new(endpoint));
        Ok(Swapped { before: None, now })
    }

    /// Lets a version score beside the one that answers. What it does not know of a row it leaves alone.
    ///
    /// # Errors
    /// As [`LiveModel::load`], or when there is no such endpoint.
    pub fn shadow(&self, mut candidate: Candidate) -> Result<()> {
        candidate.form.ignore_unknown = true;
        let endpoint = self.endpoint(&candidate.deployment.name)?;
        let shadow = Arc::new(LiveModel::load(candidate)?);
        *endpoint.shadow.write().unwrap_or_else(PoisonError::into_inner) = Some(shadow);
        Ok(())
    }

    /// Ends an endpoint's shadow.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub fn end_shadow(&self, name: &str) -> Result<()> {
        let endpoint = self.endpoint(name)?;
        *endpoint.shadow.write().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Takes an endpoint away; requests under way finish.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub fn remove(&self, name: &str) -> Result<()> {
        let removed = self.endpoints.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        removed.map(|_| ()).ok_or_else(|| self.no_such(name))
    }

    /// The names of all endpoints.
    pub fn names(&self) -> Vec<String> {
        self.endpoints.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The model that answers at an endpoint now.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub fn live(&self, name: &str) -> Result<Arc<LiveModel>> {
        Ok(self.endpoint(name)?.live())
    }

    fn find(&self, name: &str) -> Option<Arc<Endpoint>> {
        self.endpoints.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn endpoint(&self, name: &str) -> Result<Arc<Endpoint>> {
        self.find(name).ok_or_else(|| self.no_such(name))
    }

    fn no_such(&self, name: &str) -> Error {
        let names = self.names();
        let nearest = nearest(name, names.iter().map(String::as_str)).map(str::to_owned);
        Error::DeploymentNotFound { name: name.chars().take(100).collect(), nearest }
    }

    /// Answers a request's body.
    ///
    /// # Errors
    /// When there is no such endpoint, the body does not fit its model, or an id was answered before for
    /// other inputs.
    pub fn predict(&self, name: &str, body: Value) -> Result<Vec<Answer>> {
        self.predict_with(name, |live| live.read(body))
    }

    /// Answers a request's body, given as JSON text.
    ///
    /// # Errors
    /// As [`Self::predict`], or when it is not JSON.
    pub fn predict_bytes(&self, name: &str, body: &[u8]) -> Result<Vec<Answer>> {
        self.predict_with(name, |live| live.read_bytes(body))
    }

    /// Answers a request that is read for the model that will answer it, whatever its form.
    ///
    /// # Errors
    /// As [`Self::predict`], or when it cannot be read.
    pub fn predict_with(
        &self,
        name: &str,
        read: impl FnOnce(&LiveModel) -> Result<Request>,
    ) -> Result<Vec<Answer>> {
        let started = Instant::now();
        let endpoint = self.endpoint(name)?;
        // One model for the whole request, whatever is swapped meanwhile.
        let live = endpoint.live();
        let received = self.clock.now();
        let answered =
            read(&live).and_then(|request| answer::answer(&live, &self.log, request, received, started));
        let counters = &endpoint.counters;
        match answered {
            Ok(answered) => {
                counters.answered.fetch_add(1, Ordering::Relaxed);
                counters.rows.fetch_add(answered.answers.len() as u64, Ordering::Relaxed);
                counters.repeated.fetch_add(answered.repeated as u64, Ordering::Relaxed);
                counters.latency.record(started.elapsed());
                self.shadow_too(&endpoint, answered.scored, received);
                Ok(answered.answers)
            }
            Err(error) => {
                refusal(counters, error.code().kind()).fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Hands the rows that were just scored to the shadow, where there is one.
    fn shadow_too(&self, endpoint: &Arc<Endpoint>, rows: Vec<Identified>, received: Timestamp) {
        let shadow = endpoint.shadow.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(model) = shadow.filter(|_| !rows.is_empty()) else { return };
        let count = rows.len() as u64;
        let work = ShadowWork { endpoint: Arc::clone(endpoint), model, rows, received };
        if !self.shadows.hand_over(work) {
            endpoint.counters.shadow_dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Waits until the shadows have scored everything handed to them.
    pub fn drain_shadows(&self) {
        self.shadows.drain();
    }

    /// Every endpoint with what it has counted.
    pub fn status(&self) -> Vec<Status> {
        let endpoints: Vec<Arc<Endpoint>> =
            self.endpoints.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        endpoints.iter().map(|endpoint| endpoint.status()).collect()
    }

    /// One endpoint with what it has counted.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub fn status_of(&self, name: &str) -> Result<Status> {
        Ok(self.endpoint(name)?.status())
    }

    /// What all endpoints have counted, in Prometheus's text format.
    pub fn prometheus(&self) -> String {
        let endpoints: Vec<(String, Arc<Endpoint>)> = self
            .endpoints
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(name, endpoint)| (name.clone(), Arc::clone(endpoint)))
            .collect();
        let lives: Vec<Arc<LiveModel>> = endpoints.iter().map(|(_, endpoint)| endpoint.live()).collect();
        let exposed: Vec<Exposed<'_>> = endpoints
            .iter()
            .zip(&lives)
            .map(|((name, endpoint), live)| Exposed {
                deployment: name,
                model: &live.deployment.model,
                version: live.deployment.version,
                counters: &endpoint.counters,
            })
            .collect();
        exposition(&exposed, self.log.dropped())
    }
}

impl Endpoint {
    fn live(&self) -> Arc<LiveModel> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn status(&self) -> Status {
        let live = self.live();
        let shadow = self.shadow.read().unwrap_or_else(PoisonError::into_inner).clone();
        Status {
            deployment: live.deployment.clone(),
            shadow: shadow.map(|shadow| shadow.deployment.clone()),
            engine: live.engine.name(),
            task: live.engine.task(),
            signature: live.signature().clone(),
            threshold: live.threshold,
            numbers: self.counters.numbers(),
        }
    }
}

/// The counter of requests that got no answer: the caller's fault or ours.
const fn refusal(counters: &Counters, kind: Kind) -> &AtomicU64 {
    match kind {
        Kind::Invalid | Kind::Conflict | Kind::NotFound | Kind::Denied => &counters.refused,
        Kind::Internal
        | Kind::Verdict
        | Kind::Damaged
        | Kind::StepFailed
        | Kind::Unavailable
        | Kind::Interrupted => &counters.failed,
    }
}
