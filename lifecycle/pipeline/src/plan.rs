//! What a run is made of: which steps, in which order, with which parameters and dataset versions; and of
//! each step, once its inputs are known, its key.
//!
//! `roles` has which nodes of the graph a request means, `inputs` what goes into one, and `keyed` its key.
//! Nothing is executed here. Environments are locked where the plan is for a run, because a key needs the
//! lock; for a forecast they are only looked up.

mod inputs;
mod keyed;
mod roles;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondo_core::handoff::DatasetVersion;
use rondo_core::ports::{Builtin, Surroundings};
use rondo_core::{Digest, reference, suggest};
use rondo_project::imports::Modules;
use rondo_project::lock::Lock;
use rondo_project::project::{Project, SqlSource, Step, Work};
use rondo_project::substitute;
use rondo_store::Store;
use serde_json::Value;

use crate::environment::Environments;
use crate::environment::kind::Kind;
use crate::environment::lock::EnvironmentLock;
use crate::graph::{Graph, Node, Source};
use crate::packages;
use crate::platform::platform;
use crate::request::{Place, RunRequest};
use crate::{Error, lock};

pub(crate) use inputs::dataset_link;
pub use inputs::{Holds, Inputs};
pub use keyed::Keyed;
pub use roles::Role;
use roles::roles;

/// A run's steps and what they are given from outside.
pub struct Planner {
    /// The project.
    pub project: Arc<Project>,
    /// Its folder.
    pub root: PathBuf,
    /// All steps of the project, each combination of a matrix by itself.
    pub graph: Graph,
    /// The nodes of this run, each after what it needs.
    pub order: Vec<usize>,
    /// What each node of the graph is to this run.
    roles: Vec<Role>,
    /// The words that the run was asked for with; none: everything.
    pub targets: Vec<String>,
    /// All parameters with the values of this run.
    pub params: BTreeMap<String, Value>,
    /// The dataset versions that the steps read.
    pub datasets: BTreeMap<String, DatasetVersion>,
    /// The datasets that they read and that have no version yet.
    pub unversioned: Vec<String>,
    /// The environments.
    pub environments: Environments,
    /// What `rondo.lock` pins.
    pub locked: Lock,
    /// Whether environments may be locked anew, or only looked up, as at first.
    pub locks: bool,
    builtins: Vec<Arc<dyn Builtin>>,
    modules: Modules,
    platform: String,
}

/// Who does a step's work.
#[derive(Clone)]
pub enum Doer<'a> {
    /// The shell.
    Shell(&'a str),
    /// The `sql` package.
    Sql(&'a SqlSource),
    /// A package in Rust, with its `with:` block.
    Builtin(Arc<dyn Builtin>, BTreeMap<String, Value>),
}

impl Planner {
    /// Plans a request.
    ///
    /// # Errors
    /// When it names what does not exist, or a version of a dataset that is pinned is not there.
    pub async fn new(
        project: Arc<Project>,
        root: &Path,
        store: &Store,
        builtins: Vec<Arc<dyn Builtin>>,
        environments: Environments,
        request: &RunRequest,
        locked: Lock,
    ) -> Result<Self, Error> {
        let mut pins = BTreeMap::new();
        if request.place == Place::WorkTree {
            // What the lock pins and the store has not is an error only where the lock must hold.
            for (name, digest) in lock::datasets(&locked) {
                if request.locked || store.meta().dataset_version(&name, digest).await?.is_some() {
                    pins.insert(name, digest);
                }
            }
        }
        pins.extend(request.pins.clone());
        let params = params(&project, &request.params)?;
        let graph = Graph::new(&project)?;
        let roles = roles(&project, &graph, request)?;
        let place = |(place, role): (usize, &Role)| (*role != Role::Out).then_some(place);
        let order: Vec<usize> = roles.iter().enumerate().filter_map(place).collect();
        // What only earlier runs have read is no input of this one.
        let is_read = |place: &usize| roles.get(*place) != Some(&Role::Kept);
        let read: Vec<usize> = order.iter().copied().filter(is_read).collect();
        let (datasets, unversioned) = datasets(store, &graph, &read, &pins).await?;
        Ok(Self {
            graph,
            order,
            roles,
            targets: request.targets.iter().chain(&request.from).cloned().collect(),
            params,
            datasets,
            unversioned,
            environments,
            locked,
            locks: false,
            builtins,
            modules: Modules::new(root),
            platform: platform(),
            root: root.to_owned(),
            project,
        })
    }

    /// What the steps of this run ask for and cannot be.
    pub fn faults(&self) -> Vec<Error> {
        let mut seen = HashSet::new();
        let mut is_checked = |place, node: &Node| seen.insert(node.step) && self.role(place) != Role::Kept;
        let nodes = self.nodes().filter(|(place, node)| is_checked(*place, node));
        nodes.filter_map(|(_, node)| self.check(node).err()).collect()
    }

    /// The nodes of this run with their places, in order.
    pub fn nodes(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.order.iter().filter_map(|place| Some((*place, self.graph.node(*place)?)))
    }

    /// What a node is to this run.
    pub fn role(&self, place: usize) -> Role {
        self.roles.get(place).copied().unwrap_or(Role::Out)
    }

    /// The name of a node's step in the file, and its definition.
    ///
    /// # Errors
    /// When the node is of another project.
    pub fn definition(&self, node: &Node) -> Result<(&str, &Step), Error> {
        node.definition(&self.project)
            .ok_or_else(|| Error::StepNotFound { name: node.name.clone(), near: None })
    }

    /// The definition of a node's step.
    ///
    /// # Errors
    /// When the node is of another project.
    pub fn step(&self, node: &Node) -> Result<&Step, Error> {
        self.definition(node).map(|(_, step)| step)
    }

    /// Who does a step's work.
    ///
    /// # Errors
    /// When its package is not known.
    pub fn doer<'a>(&self, name: &str, step: &'a Step) -> Result<Doer<'a>, Error> {
        match &step.work {
            Work::Run { command } => Ok(Doer::Shell(command)),
            Work::Sql { source } => Ok(Doer::Sql(source)),
            Work::Uses { package, with } => {
                let found = self.builtins.iter().find(|builtin| builtin.name() == package);
                let with = with.iter().map(|(key, value)| (key.to_owned(), value.clone())).collect();
                found.map(|builtin| Doer::Builtin(builtin.clone(), with)).ok_or_else(|| {
                    Error::PackageNotFound {
                        step: name.to_owned(),
                        package: package.clone(),
                        near: suggest::nearest(package, self.builtins.iter().map(|b| b.name()))
                            .map(str::to_owned),
                    }
                })
            }
        }
    }

    async fn environment(&self, step: &Step) -> Result<Wants, Error> {
        let brings = packages::brought_by(&step.work);
        let lock = match (&step.environment, brings) {
            (Some(name), _) if self.locks => Some(self.environments.lock(&self.project, name).await?),
            (Some(name), _) => self.environments.known_lock(&self.project, name)?,
            (None, Some(package)) if self.locks => Some(self.environments.package_lock(package).await?),
            (None, Some(package)) => self.environments.known_package_lock(package),
            (None, None) => return Ok(Wants::Host),
        };
        Ok(lock.map_or(Wants::Unlocked, Wants::Locked))
    }

    /// The lock of the environment that a step runs in; none for the host's.
    ///
    /// # Errors
    /// When it cannot be locked.
    pub async fn environment_lock(&self, step: &Step) -> Result<Option<Arc<EnvironmentLock>>, Error> {
        match self.environment(step).await? {
            Wants::Locked(lock) => Ok(Some(lock)),
            Wants::Host | Wants::Unlocked => Ok(None),
        }
    }

    /// Where a step will run, without locking anything.
    fn surroundings(&self, step: &Step) -> Result<Surroundings, Error> {
        let Some(name) = &step.environment else { return Ok(Surroundings::Host) };
        let lock = self.environments.known_lock(&self.project, name)?;
        let lock = lock.filter(|lock| lock.kind == Kind::Python);
        let packages = |lock: &EnvironmentLock| lock.packages().into_iter().map(|(name, _)| name).collect();
        Ok(lock.map_or(Surroundings::Unknown, |lock| Surroundings::Python(name.clone(), packages(&lock))))
    }

    /// A `with:` block with this run's parameters, so that they are checked too; what a sweep will choose, and
    /// all else that is not known yet, stays an expression.
    fn filled(&self, node: &Node, step: &Step, with: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
        let params = self.used_params(node, step);
        let is_swept = |name: &str| step.sweep.as_ref().is_some_and(|sweep| sweep.over.contains(name));
        let known = |name: &str| params.get(name).filter(|_| !is_swept(name)).cloned();
        with.into_iter().map(|(key, value)| (key, substitute::bound(&value, &known))).collect()
    }

    fn check(&self, node: &Node) -> Result<(), Error> {
        let (name, step) = self.definition(node)?;
        let unknown = node.inputs.iter().map(|(local, source)| (local.clone(), self.reference(source)));
        self.holds(node, &Inputs { unknown: unknown.collect(), ..Inputs::default() })?;
        if let Doer::Builtin(builtin, with) = self.doer(name, step)? {
            let with = self.filled(node, step, with);
            let root = step.packaged.as_ref().map(|packaged| self.root.join(&packaged.folder));
            let root = root.as_deref().unwrap_or(&self.root);
            let mut faults = builtin.check(root, &with);
            if faults.is_empty() {
                faults = builtin.lacks(root, &with, &self.surroundings(step)?);
            }
            if !faults.is_empty() {
                let package = builtin.name().to_owned();
                return Err(Error::PackageRefused { step: name.to_owned(), package, faults });
            }
        }
        Ok(())
    }
}

/// What environment a step runs in.
enum Wants {
    Host,
    Unlocked,
    Locked(Arc<EnvironmentLock>),
}

/// How many threads SQL may use: one, unless the step declares more cores. The number is part of the key,
/// because sums of fractions depend on it.
pub(crate) fn sql_threads(step: &Step) -> u32 {
    // A number of cores that the project file allows fits.
    step.resources.cpus.map_or(1, |cpus| cpus.clamp(1.0, 1024.0) as u32)
}

/// Whether an environment's name is that of a built-in package.
pub(crate) fn is_package_environment(name: &str) -> bool {
    packages::ALL.iter().any(|package| name == package.environment)
}

fn params(project: &Project, overrides: &BTreeMap<String, Value>) -> Result<BTreeMap<String, Value>, Error> {
    let mut params: BTreeMap<String, Value> =
        project.params.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
    for (name, value) in overrides {
        let Some(own) = params.get_mut(name) else {
            let near = suggest::nearest(name, project.params.names()).map(str::to_owned);
            return Err(Error::ParameterNotFound { name: name.clone(), near });
        };
        let (expected, found) = (kind(own), kind(value));
        if expected != found && !own.is_null() {
            return Err(Error::ParameterType { name: name.clone(), expected, found });
        }
        own.clone_from(value);
    }
    Ok(params)
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// The versions of the datasets that these nodes read: pinned, else the newest; and those that have none.
async fn datasets(
    store: &Store,
    graph: &Graph,
    order: &[usize],
    pins: &BTreeMap<String, Digest>,
) -> Result<(BTreeMap<String, DatasetVersion>, Vec<String>), Error> {
    let sources = order.iter().filter_map(|place| graph.node(*place)).flat_map(|node| &node.inputs);
    let names: BTreeSet<&String> = sources
        .filter_map(|(_, source)| match source {
            Source::Data(dataset) => Some(dataset),
            Source::Output { .. } | Source::Each { .. } => None,
        })
        .collect();
    let (mut datasets, mut unversioned) = (BTreeMap::new(), Vec::new());
    for name in names {
        let digest = match pins.get(name) {
            Some(digest) => Some(*digest),
            None => store.meta().target(&reference::dataset(name)).await?,
        };
        let Some(digest) = digest else {
            unversioned.push(name.clone());
            continue;
        };
        let version = store.meta().dataset_version(name, digest).await?;
        let version = version.ok_or_else(|| Error::VersionMissing { dataset: name.clone(), digest })?;
        datasets.insert(name.clone(), version);
    }
    Ok((datasets, unversioned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn overrides_need_a_known_name_and_the_same_type() {
        let mut project = Project { name: "p".into(), ..Project::default() };
        project.params.insert("seed", json!(7));
        project.params.insert("until", json!(null));
        let with = |name: &str, value: Value| params(&project, &[(name.to_owned(), value)].into());
        assert_eq!(with("seed", json!(0.5)).unwrap()["seed"], json!(0.5));
        assert_eq!(with("until", json!("2013-04-01")).unwrap()["until"], json!("2013-04-01"));
        let error = with("sed", json!(1)).unwrap_err();
        assert!(matches!(error, Error::ParameterNotFound { near: Some(near), .. } if near == "seed"));
        let error = with("seed", json!("x")).unwrap_err();
        assert_eq!(error.to_string(), "parameter `seed` is a number in the project, not a text");
    }
}
