//! A step's key: the digest of everything that its result may depend on, part by part.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rondo_core::Digest;
use rondo_core::run::Link;
use rondo_project::project::{Isolation, SqlSource, Step, Work};
use rondo_project::substitute::{self, Values};
use serde_json::Value;

use super::{Doer, Planner, Wants, sql_threads};
use crate::environment::lock::EnvironmentLock;
use crate::execute::outputs::file_name;
use crate::graph::Node;
use crate::key::KeyParts;
use crate::packages::{self, SQL};
use crate::sweep::forecast;
use crate::{Error, code};

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

impl Planner {
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
            if link.executable {
                parts.value(format!("mode.{}", link.name), &Value::from("executable"));
            }
        }
        for (local, read) in self.readings(node) {
            parts.value(format!("read.{local}"), &Value::Object(read));
        }
        let paths = self.code(node, name, step)?;
        for path in &paths {
            let path = code::relative(&self.root, path);
            if let Some(output) = made_by(node, step, &path) {
                return Err(Error::OutputIsCode { step: name.to_owned(), output, path });
            }
        }
        let mut code = code::digests(&self.root, name, &paths)?;
        for (path, digest) in self.modules(step, &paths) {
            code.entry(path).or_insert(digest);
        }
        // What the step itself makes in a folder of its code is none.
        code.retain(|path, _| made_by(node, step, path).is_none());
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

    /// The modules of the project that a step's Python imports, from the files that are named as its code and
    /// what its command runs by name.
    fn modules(&self, step: &Step, paths: &[String]) -> BTreeMap<String, Digest> {
        let mut found = match &step.work {
            Work::Run { command } if step.packaged.is_none() => self.modules.of_command(command),
            Work::Run { .. } | Work::Sql { .. } | Work::Uses { .. } => BTreeMap::new(),
        };
        for path in paths {
            found.extend(self.modules.of_file(&code::relative(&self.root, path)));
        }
        found
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
}

/// The output (or the file of metrics) of a step that is at a path of the project, or around it.
fn made_by(node: &Node, step: &Step, path: &str) -> Option<String> {
    let mut made = step.outputs.values().chain(&step.metrics).map(|declared| node.path(declared));
    made.find(|made| Path::new(path).starts_with(made.trim_start_matches("./").trim_end_matches('/')))
}
