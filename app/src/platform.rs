//! The platform: the stages of one project, composed once.
//!
//! A command and a route that do the same thing call the same method here. What the stages cannot know of
//! each other meets in this folder and nowhere else.

pub mod approvals;
pub mod builtin_files;
pub mod builtins;
pub mod data;
pub mod datasheet;
pub mod declare;
pub mod dossier;
pub mod error;
pub mod models;
pub mod monitor;
pub mod packages;
pub mod pipeline;
pub mod remotes;
pub mod repro;
pub mod retrain;
pub mod serving;
pub mod sql;
pub mod trace;
pub mod version_files;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rondo_core::Timestamp;
use rondo_core::ports::{Clock, Progress};
use rondo_project::check::{check, decode};
use rondo_project::fault::Fault;
use rondo_project::files::Folder;
use rondo_project::project::Project;
use rondo_store::Store;

use crate::config::Config;
pub use error::Error;
pub use remotes::store_settings;

/// The name of the project file.
pub const PROJECT_FILE: &str = "rondo.yaml";

/// One project with its store.
pub struct Platform {
    root: PathBuf,
    project: Arc<Project>,
    store: Store,
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    progress: Arc<dyn Progress>,
    /// Up to which part each dataset was looked for: a part arrives once.
    arrived: Mutex<BTreeMap<String, String>>,
    /// Held while the traffic is looked at, and while endpoints are brought to their aliases.
    looking: tokio::sync::Mutex<()>,
    deploying: tokio::sync::Mutex<()>,
}

/// A project file that was read.
pub enum Opened {
    /// It has no faults.
    Platform(Box<Platform>),
    /// It has.
    Faults {
        /// The file's name.
        file: String,
        /// Its text.
        source: String,
        /// All of them.
        faults: Vec<Fault>,
    },
}

impl Platform {
    /// Reads and checks the project in a folder and opens its store.
    ///
    /// # Errors
    /// When the file cannot be read or the store cannot be opened.
    pub async fn open(
        root: &Path,
        config: Arc<Config>,
        progress: Arc<dyn Progress>,
    ) -> Result<Opened, Error> {
        let file = root.join(PROJECT_FILE);
        let source = match decode(std::fs::read(&file).map_err(Error::io("read", &file))?) {
            Ok(source) => source,
            Err((source, fault)) => {
                return Ok(Opened::Faults { file: PROJECT_FILE.to_owned(), source, faults: vec![*fault] });
            }
        };
        let root = root.canonicalize().map_err(Error::io("open", root))?;
        // A package that has not been fetched yet is fetched here.
        let builtins = builtins::of_project(&root, &config);
        let folder = Folder::new(&root);
        let checked = tokio::task::block_in_place(|| check(&source, PROJECT_FILE, &folder, &builtins));
        let project = match checked {
            Ok(project) => Arc::new(project),
            Err(faults) => {
                return Ok(Opened::Faults { file: PROJECT_FILE.to_owned(), source, faults });
            }
        };
        let store = Store::open(&root.join(".rondo")).await?;
        declare::keep_out_of_git(&root);
        let clock: Arc<dyn Clock> = Arc::new(WallClock);
        store.meta().ensure_default_experiment(clock.now()).await?;
        let (arrived, looking, deploying) = (Mutex::default(), Default::default(), Default::default());
        Ok(Opened::Platform(Box::new(Self {
            root,
            project,
            store,
            config,
            clock,
            progress,
            arrived,
            looking,
            deploying,
        })))
    }

    /// The project for a command that only looks at what the store has of its runs, or stops one. Faults of its
    /// file keep nobody from that: then it is a project of that name with nothing in it, and how many faults
    /// there are is said beside it.
    ///
    /// # Errors
    /// As [`Platform::open`], but for the file's faults.
    pub async fn look(
        root: &Path,
        config: Arc<Config>,
        progress: Arc<dyn Progress>,
    ) -> Result<(Self, usize), Error> {
        let (source, faults) = match Box::pin(Self::open(root, config.clone(), progress.clone())).await? {
            Opened::Platform(platform) => return Ok((*platform, 0)),
            Opened::Faults { source, faults, .. } => (source, faults.len()),
        };
        let root = root.canonicalize().map_err(Error::io("open", root))?;
        let project = Arc::new(bare(&source));
        let store = Store::open(&root.join(".rondo")).await?;
        declare::keep_out_of_git(&root);
        let clock: Arc<dyn Clock> = Arc::new(WallClock);
        store.meta().ensure_default_experiment(clock.now()).await?;
        let (arrived, looking, deploying) = (Mutex::default(), Default::default(), Default::default());
        let platform = Self { root, project, store, config, clock, progress, arrived, looking, deploying };
        Ok((platform, faults))
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The checked project.
    pub const fn project(&self) -> &Arc<Project> {
        &self.project
    }

    /// The store.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// What the environment says.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The wall clock.
    pub const fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    async fn observing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.looking.lock().await
    }

    fn arrived(&self, dataset: &str) -> Option<String> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).get(dataset).cloned()
    }

    fn note_arrival(&self, dataset: &str, part: String) {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).insert(dataset.to_owned(), part);
    }

    /// Who watches.
    pub const fn progress(&self) -> &Arc<dyn Progress> {
        &self.progress
    }
}

/// A project of the name that a file with faults has, as far as it can be read, with nothing in it.
fn bare(source: &str) -> Project {
    let named = |name: &str| {
        let text = format!("project: {name}\n");
        check(&text, PROJECT_FILE, &Folder::new(Path::new("")), &rondo_project::builtins::Builtins::default())
            .ok()
    };
    let root = rondo_project::yaml::parse(source).root;
    let name = root.as_ref().and_then(|root| root.get("project")).map(|node| node.raw.clone());
    name.and_then(|name| named(&name)).or_else(|| named("unnamed")).unwrap_or_default()
}

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
