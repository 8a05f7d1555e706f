//! Steps: each has a token, and with it one identity, that of its own run.
//!
//! The client in a step's process takes `MLFLOW_RUN_ID` for its first `start_run`, ends that run when it
//! sees fit, may go on with runs of its own, and may turn to another experiment. Rondo's step goes on all
//! the while. What is remembered here is what makes both true; it ends with the step.
//!
//! A step's token opens no more than its work needs: it reads, it writes in its own experiments (its run's,
//! and those that its client made or turned to), adds to the registry, and deletes nothing there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use rondo_core::access::Right;
use rondo_core::ports::TrackingAccess;
use rondo_core::{Digest, RunId};
use rondo_store::meta::access::Subject;

/// What a step's token begins with.
pub(super) const PREFIX: &str = "rondo-step-";

/// A step that is under way.
#[derive(Debug)]
pub struct Step {
    run: RunId,
    home: OnceLock<i64>,
    turned_to: Mutex<TurnedTo>,
}

/// The experiments that a step's client has turned to.
#[derive(Debug, Default)]
struct TurnedTo {
    last: Option<i64>,
    all: HashSet<i64>,
}

impl Step {
    /// Its own run.
    pub const fn run(&self) -> RunId {
        self.run
    }

    /// The experiment that its client last looked up by name. The client insists that the run it was
    /// given be filed under the experiment that it turned to, so that is what it is told.
    pub fn chosen(&self) -> Option<i64> {
        self.lock().last
    }

    /// Its client has looked up an experiment by name.
    pub fn choose(&self, experiment: i64) {
        let mut turned_to = self.lock();
        turned_to.last = Some(experiment);
        turned_to.all.insert(experiment);
    }

    /// The experiment that its run was filed under when it first called.
    pub(super) const fn home(&self) -> &OnceLock<i64> {
        &self.home
    }

    /// What its token opens.
    pub(super) fn may(&self, right: Right, subject: &Subject) -> bool {
        match (right, subject) {
            // A client that says no experiment writes to `Default`.
            (Right::Read, _) | (Right::Edit, Subject::Model(_) | Subject::Experiment(0)) => true,
            (Right::Edit | Right::Delete, Subject::Experiment(id)) => {
                self.home.get() == Some(id) || self.lock().all.contains(id)
            }
            (Right::Delete, Subject::Model(_)) | (Right::Manage, _) => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, TurnedTo> {
        // Whoever panicked has left at worst an experiment that is remembered and not the last.
        self.turned_to.lock().unwrap_or_else(PoisonError::into_inner)
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
        let token = format!("{PREFIX}{}", hex::encode(random));
        let step = Arc::new(Step { run, home: OnceLock::new(), turned_to: Mutex::default() });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steps_token_opens_what_its_work_needs_and_no_more() {
        let step = Step { run: RunId::random(), home: OnceLock::new(), turned_to: Mutex::default() };
        step.home.get_or_init(|| 3);
        step.choose(5);
        let may = |right, id| step.may(right, &Subject::Experiment(id));
        for id in [3, 5] {
            assert!(may(Right::Read, id) && may(Right::Edit, id) && may(Right::Delete, id));
            assert!(!may(Right::Manage, id));
        }
        assert!(
            may(Right::Read, 7) && !may(Right::Edit, 7) && !may(Right::Delete, 7),
            "another's experiment"
        );
        assert!(may(Right::Edit, 0) && !may(Right::Delete, 0), "Default is everybody's");
        let model = Subject::Model("m".to_owned());
        assert!(step.may(Right::Read, &model) && step.may(Right::Edit, &model));
        assert!(!step.may(Right::Delete, &model) && !step.may(Right::Manage, &model));
    }
}
