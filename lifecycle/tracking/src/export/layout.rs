//! MLflow's layout of files, written: which name becomes which path, and which field stands where.
//!
//! It is the mirror of [`crate::import::mlruns`], which reads it and draws it.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use rondo_core::Digest;
use rondo_core::run::RunState;
use rondo_store::meta::artifacts::Artifact;
use rondo_store::meta::experiments::Experiment;
use rondo_store::meta::logged_models::ModelMetric;
use rondo_store::meta::metrics::Point;
use rondo_store::meta::registered::{RegisteredModel, Version};
use serde_json::Value as Json;

use super::yaml::{self, Value};
use crate::Error;
use crate::artifacts::clean;
use crate::import::Kind;
use crate::logged_models::Logged;
use crate::runs::Run;

/// A folder of MLflow's that is being written.
pub(super) struct Folder {
    /// Where it is written.
    draft: PathBuf,
    /// Where it will be: what its files say of each other.
    place: PathBuf,
    dry_run: bool,
    /// The folders of deleted experiments, which lie apart.
    deleted: std::collections::HashSet<i64>,
}

/// A registered model with its versions, each with its source and the place that it stands for.
pub(super) struct Model {
    pub(super) registered: RegisteredModel,
    pub(super) versions: Vec<(Version, (String, String))>,
    pub(super) aliases: Vec<(String, i64)>,
}

/// What was written with a thing, and what could not be.
#[derive(Default)]
pub(super) struct Written {
    pub(super) many: Vec<(Kind, u64)>,
    pub(super) left_out: Vec<(Kind, String, String)>,
}

impl Written {
    fn add(&mut self, kind: Kind, written: bool) {
        self.many.push((kind, u64::from(written)));
    }
}

impl Folder {
    pub(super) fn new(draft: PathBuf, place: PathBuf, dry_run: bool) -> Self {
        Self { draft, place, dry_run, deleted: std::collections::HashSet::new() }
    }

    /// Where the files of a run or logged model will be.
    pub(super) fn artifacts_at(&self, experiment: i64, owner: &str, path: &str) -> String {
        let mut place = self.place.join(experiment.to_string());
        if owner.starts_with("m-") {
            place.push("models");
        }
        place.push(owner);
        place.push("artifacts");
        if !path.is_empty() {
            place.push(path);
        }
        place.display().to_string()
    }

    fn of_experiment(&self, id: i64) -> PathBuf {
        let base = if self.deleted.contains(&id) { self.draft.join(".trash") } else { self.draft.clone() };
        base.join(id.to_string())
    }

    pub(super) fn experiment(&mut self, experiment: &Experiment) -> Result<Written, Error> {
        if experiment.deleted {
            self.deleted.insert(experiment.id);
        }
        let (id, folder) = (experiment.id.to_string(), self.of_experiment(experiment.id));
        let location = self.place.join(&id).display().to_string();
        self.meta(
            &folder,
            &[
                ("artifact_location", Value::Text(&location)),
                ("creation_time", Value::Int(experiment.created.millis())),
                ("experiment_id", Value::Text(&id)),
                ("last_update_time", Value::Int(experiment.updated.millis())),
                ("lifecycle_stage", Value::Text(stage(experiment.deleted))),
                ("name", Value::Text(&experiment.name)),
            ],
        )?;
        let mut written = Written::default();
        self.pairs(&mut written, Kind::Experiments, &folder.join("tags"), &experiment.tags)?;
        // They are part of the experiment, and not counted.
        written.many.clear();
        Ok(written)
    }

    pub(super) fn run(
        &self,
        run: &Run,
        series: &[(String, Vec<Point>)],
        files: &[(Artifact, PathBuf)],
    ) -> Result<Written, Error> {
        let row = &run.row;
        let (id, experiment) = (row.id.hex(), row.experiment.to_string());
        let folder = self.of_experiment(row.experiment).join(&id);
        let uri = self.artifacts_at(row.experiment, &id, "");
        let optional =
            |time: Option<rondo_core::Timestamp>| time.map_or(Value::Null, |t| Value::Int(t.millis()));
        let mut fields = vec![
            ("artifact_uri", Value::Text(&uri)),
            ("end_time", optional(row.ended)),
            ("entry_point_name", Value::Text("")),
            ("experiment_id", Value::Text(&experiment)),
            ("lifecycle_stage", Value::Text(stage(row.deleted))),
            ("run_id", Value::Text(&id)),
            ("run_name", Value::Text(&row.name)),
            ("source_name", Value::Text("")),
            ("source_type", Value::Int(4)),
            ("source_version", Value::Text("")),
            ("start_time", Value::Int(row.started.millis())),
            ("status", Value::Int(status(row.state))),
            ("tags", Value::Nothing),
            ("user_id", Value::Text(&row.user)),
        ];
        if row.deleted {
            fields.push(("deleted_time", Value::Int(row.ended.unwrap_or(row.started).millis())));
        }
        self.meta(&folder, &fields)?;
        let mut written = Written::default();
        for name in ["params", "tags", "metrics", "artifacts"] {
            self.make(&folder.join(name))?;
        }
        self.pairs(&mut written, Kind::Params, &folder.join("params"), &run.facts.params)?;
        self.pairs(&mut written, Kind::Tags, &folder.join("tags"), &run.facts.tags)?;
        for (key, points) in series {
            let lines = points.iter().map(|p| format!("{} {} {}\n", p.timestamp, number(p.value), p.step));
            let whole = self.put(&mut written, Kind::MetricPoints, &folder.join("metrics"), key, lines)?;
            written.many.push((Kind::MetricPoints, if whole { points.len() as u64 } else { 0 }));
        }
        self.inputs(&mut written, run, &folder)?;
        self.artifacts(&mut written, &folder.join("artifacts"), files)?;
        Ok(written)
    }

    fn inputs(&self, written: &mut Written, run: &Run, folder: &Path) -> Result<(), Error> {
        let of = |kind: &str| run.facts.inputs.get(kind).map(Vec::as_slice).unwrap_or_default();
        for record in of("dataset") {
            let dataset = record.get("dataset").unwrap_or(&Json::Null);
            let field = |name: &str| dataset.get(name).and_then(Json::as_str);
            let (name, digest) = (field("name").unwrap_or_default(), field("digest").unwrap_or_default());
            let id = hash(&format!("{name}\n{digest}"));
            let names = ["digest", "name", "profile", "schema", "source", "source_type"];
            let fields = names.map(|name| (name, Value::from(field(name))));
            self.meta(&self.of_experiment(run.row.experiment).join("datasets").join(&id), &fields)?;
            let tags = record.get("tags").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
            let text =
                |tag: &Json, name: &str| tag.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
            let tags: Vec<_> = tags.iter().map(|tag| (text(tag, "key"), text(tag, "value"))).collect();
            let input = folder.join("inputs").join(hash(&format!("{id}\n{}", run.row.id)));
            self.link(&input, "DATASET", "RUN", &id, &tags, None)?;
            written.add(Kind::Inputs, true);
        }
        for (kind, place, source, destination) in [
            ("model_input", "inputs", "MODEL", "RUN"),
            ("model_output", "outputs", "RUN_OUTPUT", "MODEL_OUTPUT"),
        ] {
            for record in of(kind) {
                let model = record.get("model_id").and_then(Json::as_str).unwrap_or_default();
                if !plain(model) {
                    let reason = "its id cannot be a file's name".to_owned();
                    written.left_out.push((Kind::Inputs, model.to_owned(), reason));
                    continue;
                }
                let output = kind == "model_output";
                let step = record.get("step").and_then(Json::as_i64).filter(|_| output);
                let name = if output { model.to_owned() } else { hash(&format!("{model}\n{}", run.row.id)) };
                let step = step.or(output.then_some(0));
                self.link(&folder.join(place).join(name), source, destination, model, &[], step)?;
                written.add(Kind::Inputs, true);
            }
        }
        Ok(())
    }

    fn link(
        &self,
        folder: &Path,
        source: &str,
        destination: &str,
        id: &str,
        tags: &[(String, String)],
        step: Option<i64>,
    ) -> Result<(), Error> {
        let mut fields = vec![
            ("destination_id", Value::Text(id)),
            ("destination_type", Value::Text(destination)),
            ("source_id", Value::Text(id)),
            ("source_type", Value::Text(source)),
            ("tags", Value::Map(tags)),
        ];
        fields.extend(step.map(|step| ("step", Value::Int(step))));
        self.meta(folder, &fields)
    }

    pub(super) fn logged_model(
        &self,
        model: &Logged,
        files: &[(Artifact, PathBuf)],
    ) -> Result<Written, Error> {
        let row = &model.row;
        let mut written = Written::default();
        if !plain(&row.id) {
            let reason = "its id cannot be a file's name".to_owned();
            written.left_out.push((Kind::LoggedModels, row.id.clone(), reason));
            return Ok(written);
        }
        let folder = self.of_experiment(row.experiment).join("models").join(&row.id);
        let (location, experiment) =
            (self.artifacts_at(row.experiment, &row.id, ""), row.experiment.to_string());
        let status = match row.status.as_str() {
            "READY" => 2,
            "UPLOAD_FAILED" => 3,
            _ => 1,
        };
        self.meta(
            &folder,
            &[
                ("artifact_location", Value::Text(&location)),
                ("creation_timestamp", Value::Int(row.created.millis())),
                ("experiment_id", Value::Text(&experiment)),
                ("last_updated_timestamp", Value::Int(row.updated.millis())),
                ("lifecycle_stage", Value::Text(stage(row.deleted))),
                ("model_id", Value::Text(&row.id)),
                ("model_type", Some(row.record.model_type.as_str()).filter(|text| !text.is_empty()).into()),
                ("name", Value::Text(&row.name)),
                ("source_run_id", row.run.as_deref().into()),
                ("status", Value::Int(status)),
                ("status_message", Value::Null),
            ],
        )?;
        for name in ["params", "tags", "metrics", "artifacts"] {
            self.make(&folder.join(name))?;
        }
        self.pairs(&mut written, Kind::LoggedModels, &folder.join("params"), &model.facts.params)?;
        self.pairs(&mut written, Kind::LoggedModels, &folder.join("tags"), &model.facts.tags)?;
        let mut metrics: Vec<&ModelMetric> = model.facts.metrics.iter().collect();
        metrics.sort_by(|a, b| a.key.cmp(&b.key));
        for of_key in metrics.chunk_by(|a, b| a.key == b.key) {
            let Some(first) = of_key.first() else { continue };
            let lines = of_key.iter().map(|metric| model_line(metric));
            self.put(&mut written, Kind::LoggedModels, &folder.join("metrics"), &first.key, lines)?;
        }
        // All of these are part of the model, and not counted.
        written.many.clear();
        self.artifacts(&mut written, &folder.join("artifacts"), files)?;
        Ok(written)
    }

    pub(super) fn registered(&self, model: &Model) -> Result<Written, Error> {
        let registered = &model.registered;
        let mut written = Written::default();
        if !plain(&registered.name) {
            let reason = "its name cannot be a file's".to_owned();
            written.left_out.push((Kind::RegisteredModels, registered.name.clone(), reason));
            return Ok(written);
        }
        let folder = self.draft.join("models").join(&registered.name);
        let aliases: Vec<_> =
            model.aliases.iter().map(|(alias, number)| (alias.clone(), number.to_string())).collect();
        self.meta(
            &folder,
            &[
                ("aliases", Value::Map(&aliases)),
                ("creation_timestamp", Value::Int(registered.created.millis())),
                ("description", Value::Text(&registered.description)),
                ("last_updated_timestamp", Value::Int(registered.updated.millis())),
                ("name", Value::Text(&registered.name)),
            ],
        )?;
        self.pairs(&mut written, Kind::RegisteredModels, &folder.join("tags"), &registered.tags)?;
        written.many.clear();
        for (alias, number) in aliases {
            let lines = std::iter::once(number);
            let put = self.put(&mut written, Kind::Aliases, &folder.join("aliases"), &alias, lines)?;
            written.add(Kind::Aliases, put);
        }
        for (version, (source, storage)) in &model.versions {
            let place = folder.join(format!("version-{}", version.number));
            let said = version.of_client();
            let of = |field: Option<String>| field.filter(|text| !text.is_empty());
            let model_id = said.as_ref().and_then(|said| of(said.model_id.clone()));
            let user = said.as_ref().and_then(|said| of(said.user.clone()));
            let link = said.as_ref().and_then(|said| of(said.run_link.clone()));
            self.meta(
                &place,
                &[
                    ("creation_timestamp", Value::Int(version.created.millis())),
                    ("current_stage", Value::Text(&version.stage)),
                    ("description", Value::Text(&version.description)),
                    ("last_updated_timestamp", Value::Int(version.updated.millis())),
                    ("model_id", model_id.as_deref().into()),
                    ("name", Value::Text(&registered.name)),
                    ("run_id", version.run.as_deref().into()),
                    ("run_link", link.as_deref().into()),
                    ("source", Value::Text(source)),
                    ("status", Value::Text("READY")),
                    ("status_message", Value::Null),
                    ("storage_location", Value::Text(storage)),
                    ("user_id", user.as_deref().into()),
                    ("version", Value::Int(version.number)),
                ],
            )?;
            let mut tags = Written::default();
            self.pairs(&mut tags, Kind::ModelVersions, &place.join("tags"), &version.tags)?;
            written.left_out.extend(tags.left_out);
            written.add(Kind::ModelVersions, true);
        }
        Ok(written)
    }

    fn artifacts(
        &self,
        written: &mut Written,
        folder: &Path,
        files: &[(Artifact, PathBuf)],
    ) -> Result<(), Error> {
        for (artifact, object) in files {
            let Some(place) = self.below(written, Kind::Artifacts, folder, &artifact.path)? else { continue };
            if !self.dry_run {
                let mut from = File::open(object).map_err(Error::io("open", object))?;
                let mut to = File::create(&place).map_err(Error::io("write", &place))?;
                std::io::copy(&mut from, &mut to).map_err(Error::io("write", &place))?;
            }
            written.add(Kind::Artifacts, true);
        }
        Ok(())
    }

    fn pairs<'a>(
        &self,
        written: &mut Written,
        kind: Kind,
        folder: &Path,
        pairs: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<(), Error> {
        for (key, value) in pairs {
            let put = self.put(written, kind, folder, key, std::iter::once(value.as_str()))?;
            written.add(kind, put);
        }
        Ok(())
    }

    /// Writes a file under a key; whether the key can be one.
    fn put<T: AsRef<str>>(
        &self,
        written: &mut Written,
        kind: Kind,
        folder: &Path,
        key: &str,
        parts: impl Iterator<Item = T>,
    ) -> Result<bool, Error> {
        let Some(place) = self.below(written, kind, folder, key)? else { return Ok(false) };
        if self.dry_run {
            return Ok(true);
        }
        let write = || {
            let mut file = BufWriter::new(File::create(&place)?);
            for part in parts {
                file.write_all(part.as_ref().as_bytes())?;
            }
            file.flush()
        };
        write().map_err(Error::io("write", &place))?;
        Ok(true)
    }

    /// The place of a key below a folder, with the folders above it made; nothing where there is none.
    fn below(
        &self,
        written: &mut Written,
        kind: Kind,
        folder: &Path,
        key: &str,
    ) -> Result<Option<PathBuf>, Error> {
        let mut refuse = |reason: &str| written.left_out.push((kind, key.to_owned(), reason.to_owned()));
        // A part of a path has at most 255 bytes on the file systems that there are.
        let unfit = clean(key).map_or(true, |clean| clean != key || key.is_empty());
        if unfit || key.split('/').any(|part| part.len() > 255) {
            refuse("its name cannot be a file's");
            return Ok(None);
        }
        let place = folder.join(key);
        let mut above = place.ancestors().skip(1).take_while(|above| above.starts_with(folder));
        if place.is_dir() || above.any(Path::is_file) {
            refuse("another is a folder of that name, or a file where this has a folder");
            return Ok(None);
        }
        if let Some(parent) = place.parent() {
            self.make(parent)?;
        }
        Ok(Some(place))
    }

    fn meta(&self, folder: &Path, fields: &[(&str, Value<'_>)]) -> Result<(), Error> {
        if self.dry_run {
            return Ok(());
        }
        self.make(folder)?;
        let place = folder.join("meta.yaml");
        fs::write(&place, yaml::document(fields)).map_err(Error::io("write", &place))
    }

    fn make(&self, folder: &Path) -> Result<(), Error> {
        if self.dry_run {
            return Ok(());
        }
        fs::create_dir_all(folder).map_err(Error::io("make", folder))
    }
}

fn model_line(metric: &ModelMetric) -> String {
    let Point { timestamp, step, value } = metric.point;
    let (run, value) = (metric.run, number(value));
    match metric.dataset_name.as_str() {
        "" => format!("{timestamp} {value} {step} {run}\n"),
        name => format!("{timestamp} {value} {step} {run} {name} {}\n", metric.dataset_digest),
    }
}

/// A number that Python reads back as the same.
fn number(value: f64) -> String {
    if value.is_nan() { "nan".to_owned() } else { format!("{value:?}") }
}

fn hash(text: &str) -> String {
    Digest::of(text.as_bytes()).hex().chars().take(32).collect()
}

/// Whether it is one plain name.
fn plain(name: &str) -> bool {
    !name.contains('/') && !name.is_empty() && name.len() <= 255 && clean(name).is_ok()
}

const fn stage(deleted: bool) -> &'static str {
    if deleted { "deleted" } else { "active" }
}

const fn status(state: RunState) -> i64 {
    match state {
        RunState::Running => 1,
        RunState::Scheduled => 2,
        RunState::Finished => 3,
        RunState::Failed => 4,
        RunState::Killed => 5,
    }
}
