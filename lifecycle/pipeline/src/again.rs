//! A run that is made again: from the inputs, code and environment that an earlier run recorded, detached,
//! without the cache, and, where that is asked for, in other surroundings.
//!
//! What makes this possible is written while a run goes on: the digests of what went into each step, its
//! key by parts, the lock of its environment, and its code in the store. [`source`] lays the project out as
//! it was; [`vary`] says what surroundings there are; whether what came out is the same is judged by
//! [`crate::compare`].

pub mod source;
pub mod vary;

use std::collections::BTreeMap;

use rondo_core::run::{Link, RunDetail, RunRow};
use rondo_core::sweep::Trial;
use rondo_core::{RunId, suggest};

use crate::git::Commit;
use crate::plan::{Planner, Role};
use crate::request::{Change, RunRequest};
use crate::runner::Runner;
use crate::{Error, why};

/// The tag on a run that makes another again: that one's id.
pub const OF: &str = "rondo.repro.of";

/// How the reason of such a run begins.
const REASON: &str = "repro of ";

/// What a run that makes another again is made from.
#[derive(Debug, Clone)]
pub struct Again {
    /// The run that is made again.
    pub of: RunId,
    /// What goes into steps, by step: what was recorded, instead of what this run makes.
    pub inputs: BTreeMap<String, Vec<Link>>,
    /// The trials of sweeps that are made again, by step: these with their values, and no others.
    pub trials: BTreeMap<String, Vec<Trial>>,
    /// Variables that every step finds changed.
    pub variables: BTreeMap<String, String>,
    /// The commit that the code is of.
    pub commit: Commit,
}

impl Again {
    /// What goes into a step, where it is given.
    pub(crate) fn given(&self, step: &str) -> Option<Vec<Link>> {
        self.inputs.get(step).cloned()
    }

    /// What to give as the reason of such a run.
    pub fn reason(of: RunId) -> String {
        format!("{REASON}{of}")
    }
}

/// Whether a run was made only to see whether another comes out the same.
pub fn is_again(detail: &RunDetail) -> bool {
    detail.started_by.starts_with(REASON)
}

impl Runner {
    /// What the keys of steps would differ in from those that were recorded, by step; nothing where code,
    /// environment, parameters and inputs are what they were.
    ///
    /// # Errors
    /// When the request cannot be planned: a dataset version, a step or an environment is not to be had.
    pub async fn differences(
        &self,
        request: &RunRequest,
        recorded: &[RunRow],
        cancel: tokio::sync::watch::Receiver<bool>,
    ) -> Result<BTreeMap<String, Vec<Change>>, Error> {
        let planner: Planner = Box::pin(self.planner(request, cancel)).await?;
        let given = |name: &str| request.again.as_ref().and_then(|again| again.given(name));
        let mut differences = BTreeMap::new();
        for row in recorded {
            let Some(name) = &row.step else { continue };
            let wanted = planner.nodes().find(|(place, node)| {
                node.name == *name && matches!(planner.role(*place), Role::Wanted | Role::Needed)
            });
            let Some((_, node)) = wanted else {
                let known = planner.graph.nodes().iter().map(|node| node.name.as_str());
                let near = suggest::nearest(name, known).map(str::to_owned);
                return Err(Error::StepNotFound { name: name.clone(), near });
            };
            // Of a step whose inputs are made again, nothing can be said before they are.
            let Some(links) = given(name) else { continue };
            let keyed = planner.key(node, links).await?;
            let changes = why::changes(&row.detail.key_parts, &keyed.parts);
            if !changes.is_empty() {
                differences.insert(name.clone(), changes);
            }
        }
        Ok(differences)
    }
}
