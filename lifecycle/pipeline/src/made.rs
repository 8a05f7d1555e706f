//! What a step lacks that only an environment which is made can tell: a kernel that one of its packages brings.
//!
//! Such an environment is made before the first step starts, so that the fault is told with nothing run. It is not
//! made for a step that the cache answers, nor for packages that do not ask.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use rondo_core::ports::{Builtin, Surroundings};
use rondo_store::Store;
use serde_json::Value;

use crate::plan::{Doer, Planner};
use crate::request::Forecast;
use crate::why;
use crate::{Error, RunRequest};

/// A step that asks.
struct Asks {
    node: String,
    step: String,
    environment: String,
    builtin: Arc<dyn Builtin>,
    root: PathBuf,
    with: BTreeMap<String, Value>,
}

/// Looks at the steps that will run.
///
/// # Errors
/// [`Error::PackageRefused`] for each that lacks something; when an environment cannot be locked or made.
pub async fn check(store: &Store, planner: &Planner, request: &RunRequest) -> Result<(), Error> {
    let asking = asking(planner)?;
    if asking.is_empty() {
        return Ok(());
    }
    let plan = why::plan(store, planner, request).await?;
    let runs = plan.steps.iter().filter(|step| matches!(step.forecast, Forecast::Runs | Forecast::Waits));
    let runs: BTreeSet<&str> = runs.map(|step| step.name.as_str()).collect();
    let mut refused = Vec::new();
    for asks in asking.iter().filter(|asks| runs.contains(asks.node.as_str())) {
        let lock = planner.environments.lock(&planner.project, &asks.environment).await?;
        let made = planner.environments.provision(&lock).await?;
        let place = Surroundings::Made(asks.environment.clone(), made.python);
        let faults = asks.builtin.lacks(&asks.root, &asks.with, &place);
        if !faults.is_empty() {
            let package = asks.builtin.name().to_owned();
            refused.push(Error::PackageRefused { step: asks.step.clone(), package, faults });
        }
    }
    Error::all(refused)
}

fn asking(planner: &Planner) -> Result<Vec<Asks>, Error> {
    let mut asking = Vec::new();
    for (_, node) in planner.nodes() {
        let (name, step) = planner.definition(node)?;
        let Some(environment) = step.environment.clone() else { continue };
        let Doer::Builtin(builtin, with) = planner.doer(name, step)? else { continue };
        let folder = step.packaged.as_ref().map(|packaged| planner.root.join(&packaged.folder));
        let root = folder.unwrap_or_else(|| planner.root.clone());
        if builtin.asks_made(&root, &with) {
            let (node, step) = (node.name.clone(), name.to_owned());
            asking.push(Asks { node, step, environment, builtin, root, with });
        }
    }
    Ok(asking)
}
