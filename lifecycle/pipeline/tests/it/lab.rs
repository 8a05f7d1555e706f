//! A project in a folder of its own, its store, and somebody who watches.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use rondo_core::handoff::DatasetVersion;
use rondo_core::journal::Because;
use rondo_core::ports::{Builtin, Clock, Event, Progress, TrackingAccess};
use rondo_core::{Digest, RunId, Timestamp};
use rondo_pipeline::packages::git::GitPackages;
use rondo_pipeline::request::Outcome;
use rondo_pipeline::run::heal::Remotes;
use rondo_pipeline::shared::Shared;
use rondo_pipeline::{Error, RunReport, RunRequest, Runner};
use rondo_project::builtins::{Builtins, Field, FieldKind, Package, Remote};
use rondo_project::check;
use rondo_project::files::Folder;
use rondo_store::Store;
use rondo_store::objects::Take;
use tokio::sync::watch;

pub struct Lab {
    _folder: tempfile::TempDir,
    pub root: PathBuf,
    pub store: Store,
    pub events: Arc<Events>,
    pub tracking: Arc<Tracking>,
    pub builtins: Vec<Arc<dyn Builtin>>,
    pub shared: Option<Arc<Shared>>,
    pub remotes: Option<Remotes>,
    clock: Arc<Ticking>,
}

/// A clock that goes on by a second at each look.
pub struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.fetch_add(1000, Ordering::Relaxed))
    }
}

#[derive(Default)]
pub struct Events(pub Mutex<Vec<Event>>);

impl Progress for Events {
    fn report(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Events {
    /// What was told beside the steps' beginnings and ends.
    pub fn notes(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        let note = |event: &Event| match event {
            Event::Note { message, .. } => Some(message.clone()),
            _ => None,
        };
        events.iter().filter_map(note).collect()
    }
}

/// Remembers who was let in and who was shown out.
#[derive(Default)]
pub struct Tracking(pub Mutex<BTreeMap<RunId, bool>>);

impl TrackingAccess for Tracking {
    fn admit(&self, run: RunId, experiment: &str) -> BTreeMap<String, String> {
        self.0.lock().unwrap().insert(run, true);
        let variables = [("MLFLOW_RUN_ID", run.hex()), ("MLFLOW_EXPERIMENT_NAME", experiment.to_owned())];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn dismiss(&self, run: RunId) {
        self.0.lock().unwrap().insert(run, false);
    }
}

impl Lab {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("project");
        Self::at(folder, root).await
    }

    pub async fn at(folder: tempfile::TempDir, root: PathBuf) -> Self {
        fs::create_dir_all(&root).unwrap();
        let store = Store::open(&root.join(".rondo")).await.unwrap();
        Self {
            _folder: folder,
            root,
            store,
            events: Arc::default(),
            tracking: Arc::default(),
            builtins: Vec::new(),
            shared: None,
            remotes: None,
            clock: Arc::new(Ticking(AtomicI64::new(1_700_000_000_000))),
        }
    }

    pub fn write(&self, path: &str, text: &str) {
        let place = self.root.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    /// How often a step has written a line to its counter, a file beside the project.
    pub fn count(&self, name: &str) -> usize {
        fs::read_to_string(self.root.join("..").join(name)).map_or(0, |text| text.lines().count())
    }

    pub async fn add_data(&self, name: &str, text: &str) -> Digest {
        let place = self.root.join("..").join(format!("incoming-{name}"));
        fs::write(&place, text).unwrap();
        let stored = self.store.objects().put_path(&place, Take::Keep).unwrap();
        let version = DatasetVersion {
            origin: rondo_core::handoff::Origin::default(),
            dataset: name.to_owned(),
            digest: stored.digest,
            folder: false,
            size: stored.size,
            files: 1,
            rows: Some(text.lines().count() as u64),
            columns: Vec::new(),
            profile: None,
            source: format!("{name}.csv"),
            parent: None,
            added: self.clock.now(),
        };
        self.store.meta().add_dataset_version(&version, Because::new("ada", "test")).await.unwrap();
        stored.digest
    }

    /// A runner of the project as its file stands now.
    pub fn runner(&self) -> Runner {
        let packages = self.builtins.iter().map(|builtin| {
            let any = |name: &&str| Field::optional(name, FieldKind::Any, "");
            Package::builtin(builtin.name(), builtin.parameters().iter().map(any).collect())
        });
        let remote: Arc<dyn Remote> = Arc::new(GitPackages {
            cache: self.root.join("../cache"),
            project: self.root.clone(),
            host: std::env::vars().collect(),
        });
        let builtins = Builtins { packages: packages.collect(), remote: Some(remote), ..Builtins::default() };
        let source = self.read("rondo.yaml");
        let project = check::check(&source, "rondo.yaml", &Folder::new(&self.root), &builtins);
        let project = project.unwrap_or_else(|faults| panic!("{faults:#?}"));
        Runner {
            store: self.store.clone(),
            project: Arc::new(project),
            root: self.root.clone(),
            tools: tools(),
            builtins: self.builtins.clone(),
            tracking: self.tracking.clone(),
            progress: self.events.clone(),
            clock: self.clock.clone(),
            host_env: std::env::vars().collect(),
            shared: self.shared.clone(),
            remotes: self.remotes.clone(),
        }
    }

    pub async fn try_run(&self, request: RunRequest) -> Result<RunReport, Error> {
        let (_never, cancel) = watch::channel(false);
        let request = RunRequest { user: "ada".into(), started_by: "user".into(), ..request };
        self.runner().run(request, cancel).await
    }

    pub async fn run_with(&self, request: RunRequest) -> RunReport {
        self.try_run(request).await.unwrap()
    }

    pub async fn run(&self) -> RunReport {
        self.run_with(RunRequest::default()).await
    }
}

/// Tools are shared by the tests of a machine, as they are by projects.
fn tools() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools")
}

/// What became of the steps, as `fetch:ran train:cached`.
pub fn outcomes(report: &RunReport) -> String {
    let steps = report.steps.iter().map(|step| format!("{}:{}", step.name, step.outcome.text()));
    steps.collect::<Vec<_>>().join(" ")
}

pub fn all_good(report: &RunReport) -> bool {
    report.steps.iter().all(|step| matches!(step.outcome, Outcome::Ran | Outcome::Cached))
}

pub fn params(entries: &[(&str, serde_json::Value)]) -> BTreeMap<String, serde_json::Value> {
    entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}
