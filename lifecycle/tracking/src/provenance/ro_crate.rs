//! A Workflow Run RO-Crate: a folder with the project file, the code, the inputs and the outputs of a run,
//! and `ro-crate-metadata.json`, which says what is what (RO-Crate 1.1; Workflow Run Crate 0.5, of a single
//! step's or a client's run Process Run Crate 0.5).
//!
//! Files are linked out of the store where the file system can do that, so that a crate costs little more
//! than its names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rondo_core::Digest;
use rondo_core::run::{Link, RunKind, RunRow, RunState};
use rondo_core::tree::Mode;
use rondo_store::Objects;
use serde_json::{Map, Value, json};

use super::{PROJECT_FILE, Provenance, VERSION, escaped, uuid};
use crate::Error;

/// The name of the file that makes a folder a crate.
pub const METADATA: &str = "ro-crate-metadata.json";

/// What is said where nobody has said under what licence it is.
pub const NO_LICENCE: &str = "https://choosealicense.com/no-permission/";

const PROCESS: &str = "https://w3id.org/ro/wfrun/process/0.5";
const WORKFLOW: &str = "https://w3id.org/ro/wfrun/workflow/0.5";
const WORKFLOW_CRATE: &str = "https://w3id.org/workflowhub/workflow-ro-crate/1.0";
const ENGINE: &str = "#rondo";

/// Writes a crate to a folder, which must be empty or not there. How many files it holds.
///
/// # Errors
/// When the folder cannot be written or is in use, or something is not in the store any more.
pub fn write(known: &Provenance, objects: &Objects, target: &Path, licence: &str) -> Result<usize, Error> {
    let target = crate::export::vacant(target, false)?;
    let draft = target.with_file_name(format!(
        ".{}.{}.partial",
        target.file_name().unwrap_or_default().display(),
        std::process::id()
    ));
    let mut made = Crate {
        known,
        objects,
        folder: draft.clone(),
        entities: BTreeMap::new(),
        parts: Vec::new(),
        files: 0,
    };
    let written = made.all(licence);
    if written.is_err() {
        // What was begun is of no use; the error says what matters.
        let _ = std::fs::remove_dir_all(&draft);
    }
    written?;
    if target.exists() {
        std::fs::remove_dir(&target).map_err(Error::io("replace", &target))?;
    }
    std::fs::rename(&draft, &target).map_err(Error::io("make", &target))?;
    Ok(made.files)
}

struct Crate<'a> {
    known: &'a Provenance,
    objects: &'a Objects,
    folder: PathBuf,
    /// By their id.
    entities: BTreeMap<String, Value>,
    /// The files and folders, in the order in which they came.
    parts: Vec<String>,
    files: usize,
}

fn reference(id: &str) -> Value {
    json!({ "@id": id })
}

fn references<'a>(ids: impl IntoIterator<Item = &'a String>) -> Vec<Value> {
    ids.into_iter().map(|id| reference(id)).collect()
}

impl Crate<'_> {
    fn all(&mut self, licence: &str) -> Result<(), Error> {
        std::fs::create_dir_all(&self.folder).map_err(Error::io("make", &self.folder))?;
        let workflow = self.workflow()?;
        for (path, digest) in self.known.code() {
            let is_project = path == PROJECT_FILE;
            if !is_project && !path.starts_with("package/") && self.objects.path(digest).is_some() {
                let place = format!("code/{path}");
                self.file(&place, digest, Mode::File, json!({ "name": path }))?;
            }
        }
        let mut actions = Vec::new();
        let pipeline = self.known.run.kind == RunKind::Pipeline;
        let steps: Vec<RunRow> = self.known.steps.clone();
        let mut sources = Vec::new();
        for row in &steps {
            let action = self.step(row)?;
            sources.extend(row.detail.inputs.clone());
            actions.push(action);
        }
        if pipeline {
            let tool = workflow.clone().unwrap_or_else(|| ENGINE.to_owned());
            actions.insert(0, self.pipeline(&tool)?);
        }
        self.engine();
        self.root(licence, workflow.as_deref(), &actions);
        let mut graph: Vec<Value> = Vec::new();
        // The descriptor and the root come first, as readers expect them.
        for first in [METADATA, "./"] {
            graph.extend(self.entities.remove(first));
        }
        graph.extend(std::mem::take(&mut self.entities).into_values());
        let text = json!({
            "@context": "https://w3id.org/ro/crate/1.1/context",
            "@graph": graph,
        });
        let place = self.folder.join(METADATA);
        let text = serde_json::to_string_pretty(&text).unwrap_or_default();
        std::fs::write(&place, text + "\n").map_err(Error::io("write", &place))?;
        self.files += 1;
        Ok(())
    }

    /// Adds an entity: its id, its type and what else is known. The id is given back.
    fn entity(&mut self, id: &str, kind: Value, rest: Value) -> String {
        let mut entity = Map::new();
        entity.insert("@id".to_owned(), id.into());
        entity.insert("@type".to_owned(), kind);
        if let Value::Object(rest) = rest {
            entity.extend(rest.into_iter().filter(|(_, value)| !value.is_null()));
        }
        self.entities.entry(id.to_owned()).or_insert(Value::Object(entity));
        id.to_owned()
    }

    /// Puts a file or folder into the crate.
    fn file(&mut self, path: &str, digest: Digest, mode: Mode, rest: Value) -> Result<String, Error> {
        let identifier = Value::from(format!("blake3:{digest}"));
        let folder = mode == Mode::Folder;
        let name = |path: &str| if folder { format!("{}/", escaped(path)) } else { escaped(path) };
        let of = |id: &str| self.entities.get(id).map(|entity| entity.get("identifier") == Some(&identifier));
        // Two steps may have been given different versions of what has one name.
        let path = match of(&name(path)) {
            Some(false) => format!("{path}-{}", digest.short()),
            Some(true) | None => path.to_owned(),
        };
        let id = name(&path);
        if self.entities.contains_key(&id) {
            return Ok(id);
        }
        self.objects.check_out(digest, mode, &self.folder.join(&path))?;
        self.files += 1;
        let mut known = json!({ "identifier": identifier });
        if let (Value::Object(known), Value::Object(rest)) = (&mut known, rest) {
            known.extend(rest);
        }
        let kind = if folder { "Dataset" } else { "File" };
        let id = self.entity(&id, kind.into(), known);
        self.parts.push(id.clone());
        Ok(id)
    }

    /// The project file as the workflow; nothing where the run has not kept it or is a single step's.
    fn workflow(&mut self) -> Result<Option<String>, Error> {
        let row = &self.known.run;
        let digest = row.detail.code.files.get(PROJECT_FILE).copied();
        let Some(digest) =
            digest.filter(|digest| row.kind == RunKind::Pipeline && self.objects.path(*digest).is_some())
        else {
            return Ok(None);
        };
        let place = self.folder.join(PROJECT_FILE);
        self.objects.check_out(digest, Mode::File, &place)?;
        self.files += 1;
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for (name, value) in &row.detail.params {
            let kind = match value {
                Value::Bool(_) => "Boolean",
                Value::Number(number) if number.is_f64() => "Float",
                Value::Number(_) => "Integer",
                Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => "Text",
            };
            inputs.push(self.parameter(&format!("param-{name}"), name, kind, Some(parameter_id(name))));
        }
        let sources: Vec<String> = self.known.sources().into_keys().map(str::to_owned).collect();
        for source in sources {
            inputs.push(self.parameter(&format!("input-{source}"), &source, "File", None));
        }
        let made: Vec<String> = self
            .known
            .steps
            .iter()
            .flat_map(|row| &row.detail.outputs)
            .map(|link| link.reference.clone())
            .collect();
        for output in made {
            outputs.push(self.parameter(&format!("output-{output}"), &output, "File", None));
        }
        let rest = json!({
            "name": format!("pipeline of {}", self.known.project),
            "programmingLanguage": reference(ENGINE),
            "identifier": format!("blake3:{digest}"),
            "version": self.known.commit(),
            "input": references(&inputs),
            "output": references(&outputs),
        });
        let kind = json!(["File", "SoftwareSourceCode", "ComputationalWorkflow"]);
        let id = self.entity(PROJECT_FILE, kind, rest);
        self.parts.push(id.clone());
        Ok(Some(id))
    }

    fn parameter(&mut self, id: &str, name: &str, kind: &str, example: Option<String>) -> String {
        let profile = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE";
        let profile = self.entity(
            profile,
            "CreativeWork".into(),
            json!({ "name": "FormalParameter", "version": "1.0-RELEASE" }),
        );
        let rest = json!({
            "name": name, "additionalType": kind, "conformsTo": reference(&profile),
            "workExample": example.map(|example| reference(&example)),
        });
        self.entity(&format!("#{}", escaped(id)), "FormalParameter".into(), rest)
    }

    fn values(&mut self, row: &RunRow) -> Vec<String> {
        let params: Vec<(String, Value)> = row.detail.params.clone().into_iter().collect();
        let each = |(name, value): (String, Value)| {
            let formal = format!("#{}", escaped(&format!("param-{name}")));
            let of = self.entities.contains_key(&formal).then(|| reference(&formal));
            let value = if value.is_string() || value.is_number() || value.is_boolean() {
                value
            } else {
                value.to_string().into()
            };
            // A step of an earlier run may have had another value.
            let usual = parameter_id(&name);
            let known = self.entities.get(&usual).map(|entity| entity.get("value") == Some(&value));
            let id = if known == Some(false) { format!("{usual}-{}", row.id.short()) } else { usual };
            let rest = json!({ "name": name, "value": value, "exampleOfWork": of });
            self.entity(&id, "PropertyValue".into(), rest)
        };
        params.into_iter().map(each).collect()
    }

    /// An input or output as a part of the crate.
    fn link(&mut self, folder: &str, link: &Link, formal: &str) -> Result<Option<String>, Error> {
        if !self.objects.holds(link.digest, link.folder) {
            return Ok(None);
        }
        let formal = format!("#{}", escaped(formal));
        let of = self.entities.contains_key(&formal).then(|| reference(&formal));
        let dataset = self.known.datasets.get(&link.digest);
        let rest = json!({
            "name": link.reference, "contentSize": (!link.folder).then(|| link.size.to_string()),
            "exampleOfWork": of, "isBasedOn": dataset.map(|version| version.source.clone()),
        });
        let path = format!("{folder}/{}", place(link));
        let id = self.file(&path, link.digest, link.mode(), rest)?;
        if let Some(Value::Object(formal)) = self.entities.get_mut(&formal) {
            formal.insert("workExample".to_owned(), reference(&id));
        }
        Ok(Some(id))
    }

    fn step(&mut self, row: &RunRow) -> Result<String, Error> {
        let name = row.step.clone().unwrap_or_else(|| row.name.clone());
        let mut objects = Vec::new();
        for link in &row.detail.inputs {
            // What another of these steps made lies among the outputs.
            let made = self
                .known
                .steps
                .iter()
                .flat_map(|row| &row.detail.outputs)
                .any(|out| out.digest == link.digest);
            let folder = if made { "outputs" } else { "inputs" };
            objects.extend(self.link(folder, link, &format!("input-{}", link.reference))?);
        }
        objects.extend(self.values(row));
        let mut results = Vec::new();
        for link in &row.detail.outputs {
            results.extend(self.link("outputs", link, &format!("output-{}", link.reference))?);
        }
        let code: Vec<String> = row
            .detail
            .code
            .files
            .keys()
            .map(|path| escaped(&format!("code/{path}")))
            .filter(|id| self.entities.contains_key(id))
            .collect();
        let tool = format!("#step-{}", escaped(&name));
        let about = json!({
            "name": name, "softwareVersion": row.detail.key.map(|key| key.hex()),
            "description": format!("step `{name}` of project `{}`", self.known.project),
            "hasPart": (!code.is_empty()).then(|| references(&code)),
        });
        let tool = self.entity(&tool, "SoftwareApplication".into(), about);
        Ok(self.action(row, &name, &tool, &objects, &results))
    }

    fn pipeline(&mut self, tool: &str) -> Result<String, Error> {
        let row = self.known.run.clone();
        let mut objects = self.values(&row);
        let sources: Vec<Link> = self.known.sources().into_values().cloned().collect();
        for link in &sources {
            objects.extend(self.link("inputs", link, &format!("input-{}", link.reference))?);
        }
        let outputs: Vec<Link> =
            self.known.steps.iter().flat_map(|row| &row.detail.outputs).cloned().collect();
        let mut results = Vec::new();
        for link in &outputs {
            results.extend(self.link("outputs", link, &format!("output-{}", link.reference))?);
        }
        let name = format!("run of {}", self.known.project);
        Ok(self.action(&row, &name, tool, &objects, &results))
    }

    fn action(
        &mut self,
        row: &RunRow,
        name: &str,
        tool: &str,
        objects: &[String],
        results: &[String],
    ) -> String {
        let agent = format!("#user-{}", escaped(&row.user));
        let agent = self.entity(&agent, "Person".into(), json!({ "name": row.user }));
        let status = match row.state {
            RunState::Finished => Some("http://schema.org/CompletedActionStatus"),
            RunState::Failed | RunState::Killed => Some("http://schema.org/FailedActionStatus"),
            RunState::Scheduled | RunState::Running => None,
        };
        let cause = row.detail.exit.as_ref().and_then(|exit| exit.cause.clone());
        let rest = json!({
            "name": name, "description": format!("run {}", row.id),
            "instrument": reference(tool), "agent": reference(&agent),
            "startTime": row.started.rfc3339(), "endTime": row.ended.map(|ended| ended.rfc3339()),
            "object": references(objects), "result": references(results),
            "actionStatus": status.map(reference), "error": cause,
        });
        self.entity(&format!("#{}", uuid(row.id)), "CreateAction".into(), rest)
    }

    fn engine(&mut self) {
        let rest = json!({
            "name": "Rondo", "softwareVersion": VERSION, "version": VERSION,
            "alternateName": "the language of rondo.yaml",
        });
        self.entity(ENGINE, json!(["ComputerLanguage", "SoftwareApplication"]), rest);
    }

    fn root(&mut self, licence: &str, workflow: Option<&str>, actions: &[String]) {
        let run = &self.known.run;
        let mut profiles = vec![(PROCESS, "Process Run Crate", "0.5")];
        let mut standards = vec![reference("https://w3id.org/ro/crate/1.1")];
        if workflow.is_some() {
            profiles.push((WORKFLOW, "Workflow Run Crate", "0.5"));
            profiles.push((WORKFLOW_CRATE, "Workflow RO-Crate", "1.0"));
            standards.push(reference(WORKFLOW_CRATE));
        }
        let named: Vec<String> = profiles
            .into_iter()
            .map(|(id, name, version)| {
                self.entity(id, "CreativeWork".into(), json!({ "name": name, "version": version }))
            })
            .collect();
        let at = run.ended.unwrap_or(run.started).rfc3339();
        let said = json!({ "name": "licence", "description": "the licence under which this may be used" });
        let licence = self.entity(licence, "CreativeWork".into(), said);
        let mentioned = references(actions);
        let rest = json!({
            "name": format!("run {} of {}", run.id.short(), self.known.project),
            "description": self.known.description.clone().unwrap_or_else(|| {
                format!("What run {} of project {} was made from, and what it made", run.id, self.known.project)
            }),
            "datePublished": at,
            "license": reference(&licence),
            "conformsTo": references(&named),
            "mainEntity": workflow.map(reference),
            "hasPart": references(&self.parts.clone()),
            "mentions": mentioned,
        });
        self.entity("./", "Dataset".into(), rest);
        let about = json!({ "about": reference("./"), "conformsTo": standards });
        self.entity(METADATA, "CreativeWork".into(), about);
    }
}

/// The path of an input or output: what made it, then its name, which may be an artifact's path with dots
/// of its own.
fn place(link: &Link) -> String {
    let artifact = link.reference.strip_suffix(&link.name).and_then(|of| of.strip_suffix('.'));
    match artifact.map(|of| (of, link.name.as_str())).or_else(|| link.reference.rsplit_once('.')) {
        Some((of, name)) => format!("{of}/{name}"),
        None => link.reference.clone(),
    }
}

fn parameter_id(name: &str) -> String {
    format!("#value-{}", escaped(name))
}
