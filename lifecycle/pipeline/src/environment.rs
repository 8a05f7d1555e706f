//! Environments: what a step's process finds around it.
//!
//! An environment's identity is the digest of its lock: a text that names every package with its version
//! and hashes, and the minor version of the interpreter. The same requirements lock to the same text again
//! without a network, because the text is remembered ([`lock`]); the environment itself is a folder named
//! by the digest, made once ([`provision`]).
//!
//! Each [`kind`] has a module for what is its own: [`python`] by uv, [`r`] and its packages as the machine has
//! them, [`conda`], container images ([`image`]), root file systems ([`rootfs`]), [`nix`], and [`tools`] of the
//! host. Interpreters are never downloaded: one that is on the machine is chosen.

pub mod conda;
pub mod host;
pub mod image;
mod index;
pub mod kind;
pub mod lock;
mod nix;
pub mod provision;
mod python;
pub(crate) mod r;
pub mod rootfs;
mod tools;
mod uv;
mod version;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondo_core::Digest;
use rondo_core::ports::Progress;
use rondo_project::project::{Environment, Project, Requirements};
use rondo_store::{Objects, Store};
use tokio::sync::{Mutex, OnceCell, watch};

use crate::Error;
use crate::code::inside;
use crate::packages::FilePackage;
use kind::{Kind, Wanted, What};
use lock::EnvironmentLock;
use provision::Provisioned;
use uv::Uv;

/// The environments of a project, each locked and provisioned at most once.
pub struct Environments {
    store: Store,
    root: PathBuf,
    tools: PathBuf,
    host: BTreeMap<String, String>,
    progress: Arc<dyn Progress>,
    /// Lock digests that `rondo.lock` pins, by environment.
    pins: BTreeMap<String, Digest>,
    cancel: watch::Receiver<bool>,
    uv: OnceCell<Uv>,
    rooms: Mutex<HashMap<String, Arc<Room>>>,
}

/// What is known of one environment.
#[derive(Default)]
struct Room {
    lock: OnceCell<Arc<EnvironmentLock>>,
    made: OnceCell<Provisioned>,
}

/// What environments are made from.
pub struct Making {
    /// The store: locks and environments lie in its folder.
    pub store: Store,
    /// The project's folder.
    pub root: PathBuf,
    /// Where `uv` is installed if the machine has none; may be shared by projects.
    pub tools: PathBuf,
    /// The environment variables that Rondo was started with.
    pub host: BTreeMap<String, String>,
    /// Who watches.
    pub progress: Arc<dyn Progress>,
    /// Lock digests that `rondo.lock` pins, by environment.
    pub pins: BTreeMap<String, Digest>,
    /// Becomes true when everything should stop.
    pub cancel: watch::Receiver<bool>,
}

impl Environments {
    /// None of them made yet.
    pub fn new(making: Making) -> Self {
        let Making { store, root, tools, host, progress, pins, cancel } = making;
        Self {
            store,
            root,
            tools,
            host,
            progress,
            pins,
            cancel,
            uv: OnceCell::new(),
            rooms: Mutex::default(),
        }
    }

    /// The lock of a declared environment: pinned, remembered, or resolved now.
    ///
    /// # Errors
    /// When it is of a kind that cannot be made, its requirements cannot be read, no interpreter fits, or
    /// `uv` cannot resolve it.
    pub async fn lock(&self, project: &Project, name: &str) -> Result<Arc<EnvironmentLock>, Error> {
        let room = self.room(name).await;
        let lock = room.lock.get_or_try_init(|| async {
            let wanted = self.declared(project, name)?;
            self.locked(&wanted).await.map(Arc::new)
        });
        lock.await.cloned()
    }

    /// The lock of the environment that a package brings along.
    ///
    /// # Errors
    /// As [`Environments::lock`].
    pub async fn package_lock(&self, package: &FilePackage) -> Result<Arc<EnvironmentLock>, Error> {
        let room = self.room(package.environment).await;
        let lock = room.lock.get_or_try_init(|| async {
            let wanted = Wanted::python(package.environment, package.python, package.requirements);
            self.locked(&wanted).await.map(Arc::new)
        });
        lock.await.cloned()
    }

    /// The lock of a declared environment, where it is pinned or remembered; nothing is resolved.
    ///
    /// # Errors
    /// When it is of a kind that cannot be made, or its requirements cannot be read.
    pub fn known_lock(&self, project: &Project, name: &str) -> Result<Option<Arc<EnvironmentLock>>, Error> {
        Ok(self.known(&self.declared(project, name)?).map(Arc::new))
    }

    /// The lock of the environment that a package brings along, where it is pinned or remembered.
    pub fn known_package_lock(&self, package: &FilePackage) -> Option<Arc<EnvironmentLock>> {
        let wanted = Wanted::python(package.environment, package.python, package.requirements);
        self.known(&wanted).map(Arc::new)
    }

    /// Refuses what cannot be locked here for certain: without an interpreter that fits, R with its packages, the
    /// host's tools that are named, or the program that makes the environment. Nothing is fetched.
    ///
    /// # Errors
    /// What is missing.
    pub async fn foresee(&self, project: &Project, name: &str) -> Result<(), Error> {
        let wanted = self.declared(project, name)?;
        let known = self.known(&wanted);
        match (&wanted.what, &known) {
            (What::Python { python, .. }, None) => self.require_interpreter(name, python).await,
            (What::Python { python, .. }, Some(lock)) if !self.is_usable(lock).await => {
                self.require_interpreter(name, python).await
            }
            // What the machine has is compared with the lock before each run, and costs no more than that.
            (What::R { .. } | What::Host { .. }, _) => self.lock(project, name).await.map(drop),
            (_, None) => self.require_maker(&wanted),
            (_, Some(_)) => Ok(()),
        }
    }

    /// Refuses an environment that has still to be made, without the program that makes it.
    ///
    /// # Errors
    /// [`Error::ToolMissing`].
    pub fn foresee_making(&self, project: &Project, name: &str) -> Result<(), Error> {
        let wanted = self.declared(project, name)?;
        let is_made = |lock: EnvironmentLock| match lock.kind {
            // Every process in one is started by the engine.
            Kind::Image => false,
            Kind::Nix => Path::new(&lock.version).exists(),
            Kind::Python | Kind::R | Kind::Conda | Kind::Rootfs | Kind::Host => self.is_made(&lock),
        };
        if self.known(&wanted).is_some_and(is_made) { Ok(()) } else { self.require_maker(&wanted) }
    }

    /// Refuses an environment whose maker is a program that is not there.
    fn require_maker(&self, wanted: &Wanted) -> Result<(), Error> {
        match &wanted.what {
            What::Conda { .. } => self.conda(&wanted.name).map(drop),
            What::Image { .. } => self.engine(&wanted.name).map(drop),
            What::Nix { file, .. } => self.nix(&wanted.name, file).map(drop),
            What::Python { .. } | What::R { .. } | What::Rootfs { .. } | What::Host { .. } => Ok(()),
        }
    }

    /// The environment of a lock, made where it is missing.
    ///
    /// # Errors
    /// When the interpreter is gone, a package cannot be fetched, or the disk refuses.
    pub async fn provision(&self, lock: &EnvironmentLock) -> Result<Provisioned, Error> {
        let room = self.room(&lock.name).await;
        room.made.get_or_try_init(|| self.make(lock)).await.cloned()
    }

    async fn room(&self, name: &str) -> Arc<Room> {
        self.rooms.lock().await.entry(name.to_owned()).or_default().clone()
    }

    fn declared(&self, project: &Project, name: &str) -> Result<Wanted, Error> {
        let environment = project
            .environments
            .get(name)
            .ok_or_else(|| Error::EnvironmentNotFound { environment: name.to_owned() })?;
        let what = match environment {
            Environment::Python { python, requirements } => {
                return self.python_wanted(name, python, requirements);
            }
            Environment::R { r, packages } => What::R { r: r.clone(), packages: packages.clone() },
            Environment::Conda { conda, channels } => What::Conda {
                file: match conda {
                    Requirements::File(path) => self.text(path)?,
                    Requirements::List(items) => conda::environment_file(items, channels),
                },
            },
            Environment::Image { image } => What::Image { image: image.clone() },
            Environment::Rootfs { rootfs } => {
                let archive = self.file(rootfs)?;
                What::Rootfs { digest: Objects::digest_path(&archive)?.digest, archive }
            }
            Environment::Nix { nix } => {
                let file = self.file(nix)?;
                What::Nix { digest: nix::digest(&file)?, file }
            }
            Environment::Host { host } => What::Host { tools: host.clone() },
        };
        Ok(Wanted::new(name, what))
    }

    fn python_wanted(&self, name: &str, python: &str, requirements: &Requirements) -> Result<Wanted, Error> {
        Ok(match requirements {
            Requirements::File(path) if is_pyproject(path) => {
                let python = kind::python_version(python);
                let (requirements, project) = (self.text(path)?, Some(self.file(path)?));
                Wanted::new(name, What::Python { python, requirements, project })
            }
            Requirements::File(path) => {
                Wanted::python(name, python, &lock::read_requirements(&self.root, path)?)
            }
            Requirements::List(items) => Wanted::python(name, python, &items.join("\n")),
        })
    }

    /// A file of the project.
    fn file(&self, path: &str) -> Result<PathBuf, Error> {
        let outside = || std::io::Error::new(std::io::ErrorKind::InvalidInput, "it lies outside the project");
        inside(&self.root, path).ok_or_else(|| Error::io("read", Path::new(path))(outside()))
    }

    fn text(&self, path: &str) -> Result<String, Error> {
        let place = self.file(path)?;
        std::fs::read_to_string(&place).map_err(Error::io("read", &place))
    }
}

fn is_pyproject(path: &str) -> bool {
    Path::new(path).file_name().is_some_and(|name| name == "pyproject.toml")
}
