//! MLflow's store of files, an `mlruns/` folder, read only.
//!
//! ```text
//! EXP/meta.yaml  tags/K  datasets/ID/meta.yaml
//! EXP/RUN/{meta.yaml, params/K, tags/K, metrics/K, inputs/ID/meta.yaml, outputs/ID/meta.yaml, artifacts/}
//! EXP/models/m-ID/{meta.yaml, params/K, tags/K, metrics/K, artifacts/}
//! models/NAME/{meta.yaml, tags/K, aliases/A, version-N/{meta.yaml, tags/K}}
//! .trash/EXP/…
//! ```
//!
//! A key with slashes is a path. Symbolic links are not followed, and no path is made of what a file says
//! unless it is one plain name. A file that cannot be read is a fault of what it belongs to; the rest is
//! read.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use rondo_project::yaml::{self, Node};
use rondo_store::foreign::{
    DELETED_STAGE, Experiment, LoggedModel, Model, ModelMetric, Outline, Pairs, Run, RunInput, Series, Trace,
    Version, Webhook, model_status,
};
use rondo_store::meta::metrics::Point;

use super::report::Kind;
use super::{Fault, Source, roots};
use crate::Error;

const META: &str = "meta.yaml";
const TRASH: &str = ".trash";
const MODELS: &str = "models";
/// Folders of an experiment that are no runs.
const RESERVED: [&str; 4] = ["tags", "datasets", "traces", MODELS];
/// Runs or logged models of a page.
const PAGE: usize = 256;
/// The longest value of a parameter or tag that is read, in bytes.
const VALUE_MAX: u64 = 16 << 20;

/// MLflow's status words by their numbers.
const STATUS: [&str; 6] = ["RUNNING", "RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"];

/// A store of files.
pub struct Mlruns {
    root: PathBuf,
    /// The folders of experiments that can be read, with their ids.
    experiments: Vec<(String, PathBuf)>,
    runs: VecDeque<(String, PathBuf)>,
    models: VecDeque<(String, PathBuf)>,
    faults: Vec<Fault>,
}

impl Mlruns {
    /// Opens it.
    ///
    /// # Errors
    /// When the folder cannot be read or has nothing of a store of MLflow's.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let root = path.canonicalize().map_err(Error::io("open", path))?;
        let mut store = Self {
            root,
            experiments: Vec::new(),
            runs: VecDeque::new(),
            models: VecDeque::new(),
            faults: Vec::new(),
        };
        let places = [store.root.clone(), store.root.join(TRASH)];
        for place in &places {
            for (id, folder) in folders(place) {
                if id != MODELS && id != TRASH && folder.join(META).exists() {
                    store.experiments.push((id, folder));
                }
            }
        }
        if store.experiments.is_empty() && !store.root.join(MODELS).is_dir() {
            let reason = "is no folder of MLflow's: it has neither `EXPERIMENT/meta.yaml` nor `models/`";
            return Err(Error::NotAStore { path: path.display().to_string(), reason: reason.to_owned() });
        }
        for (id, folder) in &store.experiments {
            for (name, run) in folders(folder) {
                if !RESERVED.contains(&name.as_str()) && run.join(META).exists() {
                    store.runs.push_back((id.clone(), run));
                }
            }
            for (_, model) in folders(&folder.join(MODELS)) {
                if model.join(META).exists() {
                    store.models.push_back((id.clone(), model));
                }
            }
        }
        Ok(store)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn fault(&mut self, kind: Kind, path: &Path, reason: String) {
        let name = path.strip_prefix(&self.root).unwrap_or(path).display().to_string();
        self.faults.push(Fault { kind, name, reason });
    }

    /// What a reading gave; where it failed, a fault of this kind.
    fn told<T>(&mut self, kind: Kind, path: &Path, read: Result<T, String>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(reason) => {
                self.fault(kind, path, reason);
                None
            }
        }
    }

    fn pairs(&mut self, kind: Kind, folder: &Path) -> Pairs {
        let mut pairs = Pairs::new();
        for (key, path) in self.keys(kind, folder) {
            let value = value(&path);
            pairs.extend(self.told(kind, &path, value).map(|value| (key, value)));
        }
        pairs
    }

    /// The files below a folder by their paths in it.
    fn keys(&mut self, kind: Kind, folder: &Path) -> Vec<(String, PathBuf)> {
        if !is_folder(folder) {
            return Vec::new();
        }
        let listing = roots::list(folder);
        for (name, reason) in listing.refused {
            self.fault(kind, &folder.join(name), reason);
        }
        listing.files.into_iter().map(|(key, path, _)| (key, path)).collect()
    }

    fn run(&mut self, experiment: &str, folder: &Path) -> Result<Run, String> {
        let meta = Meta::read(folder)?;
        let id = meta.text("run_id").or_else(|| meta.text("run_uuid")).unwrap_or_default();
        if folder.file_name().is_none_or(|name| name != id.as_str()) {
            return Err(format!("its {META} is of run `{id}`"));
        }
        let status = meta.int("status").and_then(|number| STATUS.get(usize::try_from(number).ok()?));
        let (mut metrics, mut points) = (Vec::new(), 0);
        for (key, path) in self.keys(Kind::MetricPoints, &folder.join("metrics")) {
            let lines = lines(&path);
            points += self.told(Kind::MetricPoints, &path, lines).unwrap_or_default();
            metrics.push(key);
        }
        Ok(Run {
            id,
            experiment: experiment.to_owned(),
            name: meta.text("run_name").or_else(|| meta.text("name")).unwrap_or_default(),
            user: meta.text("user_id").unwrap_or_default(),
            status: (*status.unwrap_or(&STATUS[0])).to_owned(),
            started: meta.int("start_time").unwrap_or_default(),
            ended: meta.int("end_time"),
            deleted: meta.deleted(),
            artifact_uri: meta.text("artifact_uri").unwrap_or_default(),
            folder: Some(folder.join("artifacts")),
            params: self.pairs(Kind::Params, &folder.join("params")),
            tags: self.pairs(Kind::Tags, &folder.join("tags")),
            inputs: self.inputs(folder),
            metrics,
            points,
        })
    }

    fn inputs(&mut self, run: &Path) -> Vec<RunInput> {
        let mut inputs = Vec::new();
        for (name, folder) in folders(&run.join("inputs")).into_iter().chain(folders(&run.join("outputs"))) {
            let read = Meta::read(&folder).and_then(|meta| {
                let source = meta.text("source_id").unwrap_or_default();
                match meta.text("source_type").as_deref() {
                    Some("DATASET") => dataset(run, &source, &meta.pairs("tags")),
                    Some("RUN_OUTPUT") => {
                        Ok(RunInput::model_output(&name, meta.int("step").unwrap_or_default()))
                    }
                    Some("MODEL" | "RUN_INPUT") => Ok(RunInput::model_input(&source)),
                    other => {
                        Err(format!("its source is of an unknown type: `{}`", other.unwrap_or_default()))
                    }
                }
            });
            inputs.extend(self.told(Kind::Inputs, &folder, read));
        }
        inputs
    }

    fn logged_model(&mut self, experiment: &str, folder: &Path) -> Result<LoggedModel, String> {
        let meta = Meta::read(folder)?;
        let id = meta.text("model_id").unwrap_or_default();
        if folder.file_name().is_none_or(|name| name != id.as_str()) {
            return Err(format!("its {META} is of logged model `{id}`"));
        }
        let mut metrics = Vec::new();
        for (key, path) in self.keys(Kind::LoggedModels, &folder.join("metrics")) {
            let mut faults = Vec::new();
            let read = each_line(&path, |number, line| match model_metric(&key, line) {
                Some(metric) => metrics.push(metric),
                None => faults.push(number),
            });
            self.told(Kind::LoggedModels, &path, read);
            for number in faults {
                self.fault(Kind::LoggedModels, &path, format!("line {number} is no point of a metric"));
            }
        }
        Ok(LoggedModel {
            id,
            experiment: experiment.to_owned(),
            run: meta.text("source_run_id").filter(|run| !run.is_empty()),
            name: meta.text("name").unwrap_or_default(),
            status: model_status(meta.int("status").unwrap_or_default()).to_owned(),
            model_type: meta.text("model_type").unwrap_or_default(),
            created: meta.int("creation_timestamp").unwrap_or_default(),
            updated: meta.int("last_updated_timestamp").unwrap_or_default(),
            deleted: meta.deleted(),
            artifact_uri: meta.text("artifact_location").unwrap_or_default(),
            folder: Some(folder.join("artifacts")),
            params: self.pairs(Kind::LoggedModels, &folder.join("params")),
            tags: self.pairs(Kind::LoggedModels, &folder.join("tags")),
            metrics,
        })
    }

    fn model(&mut self, folder: &Path) -> Result<Model, String> {
        let meta = Meta::read(folder)?;
        let name = meta.text("name").unwrap_or_default();
        let created = meta.int("creation_timestamp").unwrap_or_default();
        let mut model = Model {
            name,
            created,
            updated: meta.int("last_updated_timestamp").unwrap_or(created),
            description: meta.text("description").unwrap_or_default(),
            tags: self.pairs(Kind::RegisteredModels, &folder.join("tags")),
            ..Model::default()
        };
        for (alias, path) in self.keys(Kind::Aliases, &folder.join("aliases")) {
            let read = value(&path)
                .and_then(|text| text.trim().parse().map_err(|_| format!("`{}` is no version", text.trim())));
            model.aliases.extend(self.told(Kind::Aliases, &path, read).map(|number| (alias, number)));
        }
        for (name, folder) in folders(folder) {
            let Some(number) = name.strip_prefix("version-").and_then(|number| number.parse().ok()) else {
                continue;
            };
            model.last = model.last.max(number);
            let read = self.version(number, &folder);
            model.versions.extend(self.told(Kind::ModelVersions, &folder, read).flatten());
        }
        model.versions.sort_by_key(|version| version.number);
        Ok(model)
    }

    /// A version; nothing where it is deleted.
    fn version(&mut self, number: i64, folder: &Path) -> Result<Option<Version>, String> {
        let meta = Meta::read(folder)?;
        let stage = meta.text("current_stage").unwrap_or_else(|| "None".to_owned());
        if stage == DELETED_STAGE {
            return Ok(None);
        }
        let given = |field: &str| meta.text(field).filter(|text| !text.is_empty());
        let created = meta.int("creation_timestamp").unwrap_or_default();
        Ok(Some(Version {
            number,
            created,
            updated: meta.int("last_updated_timestamp").unwrap_or(created),
            description: meta.text("description").unwrap_or_default(),
            user: given("user_id"),
            stage,
            source: meta.text("source").unwrap_or_default(),
            storage: given("storage_location"),
            run: given("run_id"),
            run_link: given("run_link"),
            model_id: given("model_id"),
            tags: self.pairs(Kind::ModelVersions, &folder.join("tags")),
        }))
    }

    fn series(&mut self, key: String, path: &Path) -> Series {
        let (mut points, mut faults) = (Vec::new(), Vec::new());
        let read = each_line(path, |number, line| match point(line) {
            Some(point) => points.push(point),
            None => faults.push(number),
        });
        self.told(Kind::MetricPoints, path, read);
        for number in faults {
            self.fault(Kind::MetricPoints, path, format!("line {number} is no point of a metric"));
        }
        Series { key, points }
    }
}

impl Source for Mlruns {
    async fn outline(&mut self) -> Result<Outline, Error> {
        let traces = self.experiments.iter().map(|(_, folder)| folders(&folder.join("traces")).len() as u64);
        Ok(Outline { runs: self.runs.len() as u64, traces: traces.sum() })
    }

    async fn experiments(&mut self) -> Result<Vec<Experiment>, Error> {
        let mut experiments = Vec::new();
        for (id, folder) in self.experiments.clone() {
            let read = Meta::read(&folder);
            let Some(meta) = self.told(Kind::Experiments, &folder, read) else { continue };
            let created = meta.int("creation_time").unwrap_or_default();
            experiments.push(Experiment {
                name: meta.text("name").unwrap_or_else(|| id.clone()),
                artifact_location: meta.text("artifact_location").unwrap_or_default(),
                deleted: meta.deleted(),
                created,
                updated: meta.int("last_update_time").unwrap_or(created),
                tags: self.pairs(Kind::Experiments, &folder.join("tags")),
                id,
            });
        }
        Ok(experiments)
    }

    async fn runs(&mut self) -> Result<Vec<Run>, Error> {
        let mut page = Vec::new();
        while page.len() < PAGE {
            let Some((experiment, folder)) = self.runs.pop_front() else { break };
            let read = self.run(&experiment, &folder);
            page.extend(self.told(Kind::Runs, &folder, read));
        }
        Ok(page)
    }

    async fn history(&mut self, run: &Run) -> Result<Vec<Series>, Error> {
        let Some(folder) = run.folder.as_deref().and_then(Path::parent) else { return Ok(Vec::new()) };
        let folder = folder.join("metrics");
        // The names were listed from this very folder.
        Ok(run.metrics.iter().map(|key| self.series(key.clone(), &folder.join(key))).collect())
    }

    async fn logged_models(&mut self) -> Result<Vec<LoggedModel>, Error> {
        let mut page = Vec::new();
        while page.len() < PAGE {
            let Some((experiment, folder)) = self.models.pop_front() else { break };
            let read = self.logged_model(&experiment, &folder);
            page.extend(self.told(Kind::LoggedModels, &folder, read));
        }
        Ok(page)
    }

    async fn models(&mut self) -> Result<Vec<Model>, Error> {
        let mut models = Vec::new();
        for (_, folder) in folders(&self.root.join(MODELS)) {
            if folder.join(META).exists() {
                let read = self.model(&folder);
                models.extend(self.told(Kind::RegisteredModels, &folder, read));
            }
        }
        Ok(models)
    }

    /// Traces of a folder of files are not read.
    async fn traces(&mut self) -> Result<Vec<Trace>, Error> {
        Ok(Vec::new())
    }

    /// A folder of files has none.
    async fn webhooks(&mut self) -> Result<Vec<Webhook>, Error> {
        Ok(Vec::new())
    }

    fn faults(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.faults)
    }
}

/// The fields of a `meta.yaml`.
struct Meta(Node);

impl Meta {
    fn read(folder: &Path) -> Result<Self, String> {
        let text = value(&folder.join(META)).map_err(|reason| format!("{META}: {reason}"))?;
        let parsed = yaml::parse(&text);
        if let Some(fault) = parsed.faults.first() {
            return Err(format!("{META}, line {}: {}", fault.place.line, fault.message));
        }
        let root = parsed.root.filter(|root| root.map().is_some());
        root.map(Self).ok_or_else(|| format!("{META} holds no fields"))
    }

    fn text(&self, field: &str) -> Option<String> {
        self.0.get(field).filter(|node| node.is_scalar()).map(|node| node.raw.clone())
    }

    fn int(&self, field: &str) -> Option<i64> {
        let node = self.0.get(field)?;
        node.int().or_else(|| node.raw.parse().ok())
    }

    fn pairs(&self, field: &str) -> Pairs {
        let entries = self.0.get(field).and_then(Node::map).unwrap_or_default();
        entries.iter().map(|entry| (entry.key.clone(), entry.value.raw.clone())).collect()
    }

    fn deleted(&self) -> bool {
        self.text("lifecycle_stage").is_some_and(|stage| stage == "deleted")
    }
}

/// A dataset that went into a run: what it is stands once in its experiment.
fn dataset(run: &Path, id: &str, tags: &Pairs) -> Result<RunInput, String> {
    if id.is_empty() || id.contains(['/', '\\', '\0']) || id.starts_with('.') {
        return Err(format!("`{id}` cannot be the id of a dataset"));
    }
    let experiment = run.parent().unwrap_or(run);
    let folder = experiment.join("datasets").join(id);
    if !is_folder(&folder) {
        return Err(format!("its dataset `{id}` is missing"));
    }
    let meta = Meta::read(&folder)?;
    let field = |name: &'static str| (name, meta.text(name));
    let fields = ["name", "digest", "source_type", "source", "schema", "profile"].map(field).to_vec();
    Ok(RunInput::dataset(fields, tags))
}

/// The folders in a folder by name, links left out.
fn folders(folder: &Path) -> Vec<(String, PathBuf)> {
    if !is_folder(folder) {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = BTreeMap::new();
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(name) = entry.file_name().into_string()
        {
            found.insert(name, entry.path());
        }
    }
    found.into_iter().collect()
}

/// Whether it is a folder and no link to one.
fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn open(path: &Path) -> Result<File, String> {
    let metadata = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is no plain file".to_owned());
    }
    File::open(path).map_err(|error| error.to_string())
}

fn value(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    open(path)?.take(VALUE_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > VALUE_MAX {
        return Err(format!("it is larger than {} MiB", VALUE_MAX >> 20));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// Calls with each line that is not empty and its number from 1. A line is as long as a point can be: what is
/// longer is given in pieces, none of which is one.
fn each_line(path: &Path, mut each: impl FnMut(u64, &str)) -> Result<(), String> {
    let mut reader = BufReader::new(open(path)?);
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        let count = reader.by_ref().take(1 << 12).read_until(b'\n', &mut line);
        if count.map_err(|error| error.to_string())? == 0 {
            return Ok(());
        }
        number += 1;
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            each(number, text.trim());
        }
    }
}

fn lines(path: &Path) -> Result<u64, String> {
    let mut lines = 0;
    each_line(path, |_, _| lines += 1)?;
    Ok(lines)
}

/// `timestamp value [step [dataset digest]]`.
fn point(line: &str) -> Option<Point> {
    let mut parts = line.split(' ');
    let timestamp = parts.next()?.parse().ok()?;
    let value = parts.next()?.parse().ok()?;
    let step = parts.next().map_or(Some(0), |step| step.parse().ok())?;
    Some(Point { timestamp, step, value })
}

/// `timestamp value step run [dataset digest]`; a dataset's name may have spaces.
fn model_metric(key: &str, line: &str) -> Option<ModelMetric> {
    let parts: Vec<&str> = line.split(' ').collect();
    let [timestamp, value, step, run, rest @ ..] = parts.as_slice() else { return None };
    let value: f64 = value.parse().ok()?;
    let (dataset_name, dataset_digest) = match rest {
        [name @ .., digest] => (name.join(" "), (*digest).to_owned()),
        [] => Default::default(),
    };
    Some(ModelMetric {
        run: (*run).to_owned(),
        key: key.to_owned(),
        dataset_name,
        dataset_digest,
        timestamp: timestamp.parse().ok()?,
        step: step.parse().ok()?,
        value: (!value.is_nan()).then_some(value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_in_every_form_that_mlflow_wrote() {
        let read = |line: &str| point(line).map(|point| (point.timestamp, point.value, point.step));
        assert_eq!(read("12 0.5"), Some((12, 0.5, 0)));
        assert_eq!(read("12 1e-05 7"), Some((12, 1e-5, 7)));
        assert_eq!(read("12 -inf 7 data e04b"), Some((12, f64::NEG_INFINITY, 7)));
        assert!(point("12 nan 1").is_some_and(|point| point.value.is_nan()));
        for line in ["", "12", "x 1", "12 y", "12 1 z", "12,1"] {
            assert_eq!(point(line), None, "{line}");
        }
        let metric = model_metric("acc", "12 0.5 1 run my data e04b").unwrap();
        assert_eq!((metric.dataset_name.as_str(), metric.dataset_digest.as_str()), ("my data", "e04b"));
        assert_eq!(model_metric("acc", "12 0.5 1"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_it_fail(line in ".{0,40}") {
            let _ = (point(&line), model_metric("k", &line));
        }
    }
}
