//! What a run is made of: which steps, in which order, with which parameters and dataset versions; and of
//! each step, once its inputs are known, its key.
//!
//! Nothing is executed here. Environments are locked where the plan is for a run, because a key needs the
//! lock; for a forecast they are only looked up.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondo_core::handoff::DatasetVersion;
use rondo_core::ports::{Builtin, Surroundings};
use rondo_core::run::Link;
use rondo_core::tree::{Entry, Mode, Tree};
use rondo_core::{Digest, reference, suggest};
use rondo_project::condition::{Condition, ConditionError, Fact, Name};
use rondo_project::lock::Lock;
use rondo_project::project::{Isolation, Project, SqlSource, Step, Work};
use rondo_project::substitute::{self, Values};
use rondo_store::Store;
use serde_json::Value;

use crate::environment::Environments;
use crate::environment::kind::Kind;
use crate::environment::lock::EnvironmentLock;
use crate::execute::outputs::file_name;
use crate::graph::{Graph, Node, Source};
use crate::key::KeyParts;
use crate::packages::{self, SQL};
use crate::platform::platform;
use crate::request::{Place, RunRequest};
use crate::sweep::forecast;
use crate::{Error, code, lock};

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
    /// The environments.
    pub environments: Environments,
    /// What `rondo.lock` pins.
    pub locked: Lock,
    /// Whether environments may be locked anew, or only looked up.
    pub locks: bool,
    builtins: Vec<Arc<dyn Builtin>>,
    platform: String,
}

/// What a node is to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// No part of it.
    Out,
    /// What a wanted step needs.
    Needed,
    /// Asked for.
    Wanted,
    /// Not run, whatever its key says: what it made last is used (`--only`).
    Kept,
}

/// What goes into a node, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// What is known, by local name in the order of the file.
    pub links: Vec<Link>,
    /// The listings of the folders that gather the outputs of a matrix: no step has stored them.
    pub listings: Vec<Tree>,
    /// What is not known before another step has run: local name and reference.
    pub unknown: Vec<(String, String)>,
}

/// Whether a step's condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// It does, or there is none.
    Yes,
    /// It does not.
    No,
    /// It depends on an input that is not known yet: `inputs.NAME.size`.
    Unknown(String),
}

/// A step whose inputs are known.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// Its key.
    pub key: Digest,
    /// The parts of the key.
    pub parts: BTreeMap<String, String>,
    /// What goes in, by local name in the order of the file.
    pub inputs: Vec<Link>,
    /// The parameters that reach it.
    pub params: BTreeMap<String, Value>,
    /// Its code.
    pub code: BTreeMap<String, Digest>,
    /// Its environment; none: the host's.
    pub environment: Option<Arc<EnvironmentLock>>,
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
    /// When it names what does not exist, a dataset that is read has no version, or a step uses what
    /// cannot be run.
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
        let datasets = datasets(store, &graph, &read, &pins).await?;
        let planner = Self {
            graph,
            order,
            roles,
            targets: request.targets.iter().chain(&request.from).cloned().collect(),
            params,
            datasets,
            environments,
            locked,
            locks: true,
            builtins,
            platform: platform(),
            root: root.to_owned(),
            project,
        };
        let mut seen = HashSet::new();
        for (place, node) in planner.nodes() {
            if seen.insert(node.step) && planner.role(place) != Role::Kept {
                planner.check(node)?;
            }
        }
        Ok(planner)
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

    /// Whether a node's condition holds.
    ///
    /// # Errors
    /// When the condition cannot be read, names what has no value, or is neither true nor false.
    pub fn holds(&self, node: &Node, inputs: &Inputs) -> Result<Holds, Error> {
        let step = self.step(node)?;
        let Some(text) = &step.when else { return Ok(Holds::Yes) };
        let wrong = |source: ConditionError| Error::Condition {
            step: node.name.clone(),
            text: text.clone(),
            reason: source.to_string(),
        };
        let condition = Condition::parse(text).map_err(wrong)?;
        let unknown: Vec<String> = condition
            .names()
            .into_iter()
            .filter_map(|name| match name {
                Name::Input(local, _) if inputs.unknown.iter().any(|(name, _)| name == local) => {
                    Some(name.to_string())
                }
                Name::Input(..) | Name::Param(_) | Name::Matrix(_) => None,
            })
            .collect();
        match condition.holds(&|name| self.fact(node, inputs, name)) {
            Ok(true) => Ok(Holds::Yes),
            Ok(false) => Ok(Holds::No),
            Err(ConditionError::Unknown(name)) if unknown.contains(&name) => Ok(Holds::Unknown(name)),
            Err(error) => Err(wrong(error)),
        }
    }

    fn fact(&self, node: &Node, inputs: &Inputs, name: &Name) -> Option<Value> {
        match name {
            Name::Param(name) => self.params.get(name).cloned(),
            Name::Matrix(name) => {
                node.matrix.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
            }
            Name::Input(local, fact) => {
                let link = inputs.links.iter().find(|link| link.name == *local)?;
                Some(match fact {
                    Fact::Size => Value::from(link.size),
                    Fact::Digest => Value::from(link.digest.hex()),
                    Fact::Rows => {
                        let dataset = link.reference.strip_prefix("data.")?;
                        Value::from(self.datasets.get(dataset)?.rows?)
                    }
                })
            }
        }
    }

    /// What goes into a node, where `made` says what another node has made.
    pub fn inputs(&self, node: &Node, made: impl Fn(usize, &str) -> Option<Link>) -> Inputs {
        let mut inputs = Inputs::default();
        for (local, source) in &node.inputs {
            let link = match source {
                Source::Data(dataset) => self.datasets.get(dataset).map(dataset_link),
                Source::Output { node, output } => made(*node, output),
                Source::Each { entries, output } => {
                    self.gathered(entries, output, &made).map(|(link, tree)| {
                        inputs.listings.push(tree);
                        link
                    })
                }
            };
            match link {
                Some(link) => inputs.links.push(Link { name: local.clone(), ..link }),
                None => inputs.unknown.push((local.clone(), self.reference(source))),
            }
        }
        inputs
    }

    /// The outputs of the combinations of a matrix as one folder.
    fn gathered(
        &self,
        nodes: &[(String, usize)],
        output: &str,
        made: &impl Fn(usize, &str) -> Option<Link>,
    ) -> Option<(Link, Tree)> {
        let mut entries = Vec::with_capacity(nodes.len());
        for (name, place) in nodes {
            let link = made(*place, output)?;
            let name = self.gathered_name(name, self.graph.node(*place)?, output)?;
            let mode = if link.folder { Mode::Folder } else { Mode::File };
            entries.push(Entry { mode, size: link.size, digest: link.digest, name });
        }
        let tree = Tree::new(entries).ok()?;
        let (_, first) = nodes.first()?;
        let (step, _) = self.definition(self.graph.node(*first)?).ok()?;
        let link = Link {
            name: output.to_owned(),
            reference: format!("{step}.{output}"),
            digest: tree.digest(),
            size: tree.size(),
            folder: true,
        };
        Some((link, tree))
    }

    /// The name of one combination's output in the folder that gathers them: with the ending of its path.
    pub fn gathered_name(&self, label: &str, node: &Node, output: &str) -> Option<String> {
        let path = self.step(node).ok()?.outputs.get(output)?;
        let ending = if path.ends_with('/') { "" } else { file_ending(path) };
        Some(format!("{label}{ending}"))
    }

    /// How an input's source is written.
    fn reference(&self, source: &Source) -> String {
        let name = |place: usize| self.graph.node(place).map_or("", |node| node.name.as_str());
        match source {
            Source::Data(dataset) => format!("data.{dataset}"),
            Source::Output { node, output } => format!("{}.{output}", name(*node)),
            Source::Each { entries, output } => {
                let step = entries.first().map_or("", |(_, place)| name(*place));
                format!("{}.{output}", step.split('[').next().unwrap_or(step))
            }
        }
    }

    /// A node's key and all that it is made of.
    ///
    /// # Errors
    /// When its code cannot be read or its environment cannot be locked.
    pub async fn key(&self, node: &Node, inputs: Vec<Link>) -> Result<Keyed, Error> {
        let (name, step) = self.definition(node)?;
        self.key_of(node, name, step, inputs).await
    }

    /// The key of a node whose step is another than the project's: of a trial.
    ///
    /// # Errors
    /// As [`Planner::key`].
    pub async fn key_of(
        &self,
        node: &Node,
        name: &str,
        step: &Step,
        inputs: Vec<Link>,
    ) -> Result<Keyed, Error> {
        let mut parts = KeyParts::new();
        let mut params = self.used_params(node, step);
        if let Some(sweep) = &step.sweep {
            // What it tries is no part of what it is.
            params.retain(|name, _| !sweep.over.contains(name));
            forecast::parts(sweep, &mut parts);
        }
        for (name, value) in &params {
            parts.value(format!("param.{name}"), value);
        }
        for (name, value) in &node.matrix {
            parts.value(format!("matrix.{name}"), value);
        }
        for link in &inputs {
            parts.digest(format!("input.{}", link.name), link.digest);
        }
        let mut code = code::digests(&self.root, name, &self.code(node, name, step)?)?;
        code.extend(self.package_code(step)?);
        for (path, digest) in &code {
            parts.digest(format!("code.{path}"), *digest);
        }
        self.define(name, step, &mut parts)?;
        let environment = self.environment(step).await?;
        match &environment {
            Wants::Host => parts.text("environment", "host"),
            Wants::Unlocked => parts.text("environment", "not locked yet"),
            Wants::Locked(lock) => parts.digest("environment", lock.digest),
        }
        parts.text("platform", &self.platform);
        // What was made without it may depend on what nobody declared, and does not stand for what was not.
        if step.isolation.unwrap_or(self.project.isolation) != Isolation::None {
            parts.text("isolation", if step.network == Some(true) { "but for the network" } else { "whole" });
        }
        let environment = match environment {
            Wants::Locked(lock) => Some(lock),
            Wants::Host | Wants::Unlocked => None,
        };
        Ok(Keyed { key: parts.key(), parts: parts.into_parts(), inputs, params, code, environment })
    }

    /// The part of a step's definition that its result may depend on: not how often it is tried, what it
    /// is described as, or where its outputs are checked out.
    fn define(&self, name: &str, step: &Step, parts: &mut KeyParts) -> Result<(), Error> {
        match self.doer(name, step)? {
            Doer::Shell(command) => parts.text("definition.command", command),
            Doer::Sql(source) => {
                if let SqlSource::Text(sql) = source {
                    parts.text("definition.sql", sql);
                }
                parts.text("package", &SQL.version());
                parts.text("definition.threads", &sql_threads(step).to_string());
            }
            Doer::Builtin(builtin, with) => {
                parts.text("package", &format!("{} {}", builtin.name(), builtin.version()));
                for (key, value) in &with {
                    parts.value(format!("definition.with.{key}"), value);
                }
            }
        }
        if let Some(packaged) = &step.packaged {
            parts.text("package.from", &format!("{} {}", packaged.name, packaged.version));
            for (name, variable) in packaged.secrets.iter() {
                parts.text(format!("secret.{name}"), variable);
            }
        }
        for (output, path) in step.outputs.iter() {
            let slash = if path.ends_with('/') { "/" } else { "" };
            parts.text(format!("definition.output.{output}"), &format!("{}{slash}", file_name(path)));
        }
        if let Some(metrics) = &step.metrics {
            parts.text("definition.metrics", metrics);
        }
        Ok(())
    }

    /// The parameters that reach a step: the project's, or those of the package that it comes from.
    pub(crate) fn used_params(&self, node: &Node, step: &Step) -> BTreeMap<String, Value> {
        if let Some(packaged) = &step.packaged {
            return packages::params::of(packaged, &self.params_of(node), &node.values());
        }
        let own = |name: &String| node.params.get(name).or_else(|| self.params.get(name)).cloned();
        step.params.iter().filter_map(|name| Some((name.clone(), own(name)?))).collect()
    }

    /// The project's parameters as a node has them.
    fn params_of(&self, node: &Node) -> Cow<'_, BTreeMap<String, Value>> {
        if node.params.is_empty() {
            return Cow::Borrowed(&self.params);
        }
        let mut params = self.params.clone();
        for (name, value) in &node.params {
            if let Some(own) = params.get_mut(name) {
                own.clone_from(value);
            }
        }
        Cow::Owned(params)
    }

    fn code(&self, node: &Node, name: &str, step: &Step) -> Result<Vec<String>, Error> {
        let mut paths = step.code.clone();
        if step.packaged.is_some() {
            // The package's own files are its code; the project's are those that it is given.
            return Ok(self.project_files(node, step));
        }
        match self.doer(name, step)? {
            Doer::Shell(_) | Doer::Sql(SqlSource::Text(_)) => {}
            Doer::Sql(SqlSource::File(path)) => paths.push(path.clone()),
            Doer::Builtin(builtin, with) => {
                let (nothing, matrix) = (BTreeMap::new(), node.values());
                let (matrix, params) = (Some(&matrix), self.params_of(node));
                let values = Values { params: &params, inputs: &nothing, outputs: &nothing, matrix };
                let filled = |(key, value): (String, Value)| {
                    // What names an input or output cannot be filled in yet; no code file does.
                    let value = substitute::value(&value, &values).unwrap_or(value);
                    (key, value)
                };
                let with = with.into_iter().map(filled).collect();
                let files = builtin.code_files(&self.root, &with);
                paths.extend(files.iter().map(|path| path.to_string_lossy().into_owned()));
            }
        }
        Ok(paths)
    }

    /// The files of the project that a package is given.
    fn project_files(&self, node: &Node, step: &Step) -> Vec<String> {
        let params = self.used_params(node, step);
        let files = step.packaged.iter().flat_map(|packaged| &packaged.files);
        files.filter_map(|name| Some(params.get(name)?.as_str()?.to_owned())).collect()
    }

    /// The files of the package that a step comes from.
    fn package_code(&self, step: &Step) -> Result<BTreeMap<String, Digest>, Error> {
        let Some(packaged) = &step.packaged else { return Ok(BTreeMap::new()) };
        packages::folder::code(&self.root.join(&packaged.folder))
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

    fn check(&self, node: &Node) -> Result<(), Error> {
        let (name, step) = self.definition(node)?;
        let unknown = node.inputs.iter().map(|(local, source)| (local.clone(), self.reference(source)));
        self.holds(node, &Inputs { unknown: unknown.collect(), ..Inputs::default() })?;
        if let Doer::Builtin(builtin, with) = self.doer(name, step)? {
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
    packages::ALL.iter().any(|package| name == format!("{}-package", package.name))
}

/// A dataset version as something that goes into a run.
pub(crate) fn dataset_link(version: &DatasetVersion) -> Link {
    Link {
        name: version.dataset.clone(),
        reference: format!("data.{}", version.dataset),
        digest: version.digest,
        size: version.size,
        folder: version.folder,
    }
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

/// What each node of a graph is to a run.
fn roles(project: &Project, graph: &Graph, request: &RunRequest) -> Result<Vec<Role>, Error> {
    let mut roles = vec![Role::Out; graph.nodes().len()];
    let mut set = |places: &[usize], role: Role| {
        for place in places {
            if let Some(slot) = roles.get_mut(*place) {
                *slot = role;
            }
        }
    };
    let mut wanted = Vec::new();
    for word in &request.targets {
        wanted.extend(graph.find(project, word)?);
    }
    let mut from = Vec::new();
    for word in &request.from {
        from.extend(graph.find(project, word)?);
    }
    let after = graph.with_dependents(&from);
    match (request.targets.is_empty(), request.from.is_empty()) {
        (true, true) => wanted = (0..graph.nodes().len()).collect(),
        (true, false) => wanted = after,
        (false, true) => {}
        // From one step to another: what lies between.
        (false, false) => {
            let before = graph.with_needs(&wanted);
            wanted = before.into_iter().filter(|place| after.binary_search(place).is_ok()).collect();
            if wanted.is_empty() {
                let what = format!("`--from {}`: it does not depend on that", request.from.join(" "));
                return Err(Error::Unsupported { step: request.targets.join(", "), what });
            }
        }
    }
    let needed = graph.with_needs(&wanted);
    set(&needed, if request.only { Role::Kept } else { Role::Needed });
    set(&wanted, Role::Wanted);
    if request.only {
        // What the kept ones were made of does not matter.
        let is_wanted: HashSet<usize> = wanted.iter().copied().collect();
        let direct: HashSet<usize> = wanted
            .iter()
            .filter_map(|place| graph.node(*place))
            .filter(|node| !is_given(request, node))
            .flat_map(|node| node.needs.iter().copied())
            .collect();
        let far: Vec<usize> = needed
            .into_iter()
            .filter(|place| !is_wanted.contains(place) && !direct.contains(place))
            .collect();
        set(&far, Role::Out);
    }
    Ok(roles)
}

/// Whether what goes into a node is given with the request.
fn is_given(request: &RunRequest, node: &Node) -> bool {
    request.again.as_ref().is_some_and(|again| again.inputs.contains_key(&node.name))
}

/// The ending of a file's name with its point; empty where it has none.
fn file_ending(path: &str) -> &str {
    let file = file_name(path);
    match file.rfind('.') {
        Some(at) if at > 0 => file.get(at..).unwrap_or(""),
        Some(_) | None => "",
    }
}

/// The versions of the datasets that these nodes read: pinned, else the newest.
async fn datasets(
    store: &Store,
    graph: &Graph,
    order: &[usize],
    pins: &BTreeMap<String, Digest>,
) -> Result<BTreeMap<String, DatasetVersion>, Error> {
    let sources = order.iter().filter_map(|place| graph.node(*place)).flat_map(|node| &node.inputs);
    let names: BTreeSet<&String> = sources
        .filter_map(|(_, source)| match source {
            Source::Data(dataset) => Some(dataset),
            Source::Output { .. } | Source::Each { .. } => None,
        })
        .collect();
    let mut datasets = BTreeMap::new();
    for name in names {
        let digest = match pins.get(name) {
            Some(digest) => *digest,
            None => {
                let missing = || Error::DatasetMissing { dataset: name.clone() };
                store.meta().target(&reference::dataset(name)).await?.ok_or_else(missing)?
            }
        };
        let version = store.meta().dataset_version(name, digest).await?;
        let version = version.ok_or_else(|| Error::VersionMissing { dataset: name.clone(), digest })?;
        datasets.insert(name.clone(), version);
    }
    Ok(datasets)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn overrides_need_a_known_name_and_the_same_type() {
        let mut project = Project { name: "p".into(), ..empty() };
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

    fn empty() -> Project {
        Project {
            isolation: Default::default(),
            name: String::new(),
            canvas: Default::default(),
            data: Default::default(),
            environments: Default::default(),
            packages: Default::default(),
            params: Default::default(),
            steps: Default::default(),
            models: Default::default(),
            serve: Default::default(),
            monitor: Default::default(),
            triggers: Vec::new(),
            apps: Default::default(),
            remotes: Default::default(),
            cache: None,
        }
    }
}
