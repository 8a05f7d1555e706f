//! Making an environment: resolving its lock, and the folder that the lock describes. What the kinds have in
//! common is here; each has a module of its own for the rest.
//!
//! The folder is named by the lock's digest and is complete when its stamp, written last, is there. One
//! process at a time makes it. What a process that died has left without a stamp is removed and made again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use rondo_core::Digest;
use rondo_core::ports::Event;
use serde::Serialize;

use super::Environments;
use super::host::{find_program, search_path, tool_variables};
use super::kind::{Kind, Wanted, What};
use super::lock::{EnvironmentLock, subject};
use super::uv::{Said, call, exclusive, last_lines};
use crate::Error;

/// An environment that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provisioned {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// The digest of its lock.
    pub lock: Digest,
    /// Its own folder; not there where it needs none.
    pub folder: PathBuf,
    /// The folder of its programs, where it has one: comes first in the `PATH`.
    pub bin: Option<PathBuf>,
    /// Its Python interpreter, where it has one.
    pub python: Option<PathBuf>,
    /// The version in its lock.
    pub version: String,
    /// Its packages with their versions.
    pub packages: Vec<(String, String)>,
    /// The variables that its programs need.
    pub variables: BTreeMap<String, String>,
    /// The places that it is made of, beside its folder and what belongs to the system.
    pub places: Vec<PathBuf>,
}

impl Provisioned {
    /// An environment as its lock says, with a folder and nothing more.
    pub(super) fn of(lock: &EnvironmentLock, folder: PathBuf) -> Self {
        Self {
            name: lock.name.clone(),
            kind: lock.kind,
            lock: lock.digest,
            folder,
            bin: None,
            python: None,
            version: lock.version.clone(),
            packages: lock.packages(),
            variables: BTreeMap::new(),
            places: Vec::new(),
        }
    }

    /// Whether steps in it have a root file system of their own.
    pub const fn has_root(&self) -> bool {
        matches!(self.kind, Kind::Image | Kind::Rootfs)
    }
}

impl Environments {
    /// Why a lock cannot be used on this machine; nothing where it can.
    ///
    /// # Errors
    /// When the machine cannot be asked.
    pub(super) async fn unusable(
        &self,
        wanted: &Wanted,
        lock: &EnvironmentLock,
    ) -> Result<Option<String>, Error> {
        Ok(match &wanted.what {
            What::Python { .. } => (!self.is_usable(lock).await)
                .then(|| format!("was locked to Python {}, which is not on this machine", lock.version)),
            What::R { .. } => self.r_has_changed(wanted, lock).await?,
            What::Host { tools } => self.tools_have_changed(wanted, tools, lock).await?,
            What::Conda { .. } | What::Image { .. } | What::Rootfs { .. } | What::Nix { .. } => None,
        })
    }

    /// Resolves what is wanted.
    pub(super) async fn resolve(&self, wanted: &Wanted) -> Result<EnvironmentLock, Error> {
        match &wanted.what {
            What::Python { python, requirements, project } => {
                self.resolve_python(wanted, python, requirements, project.as_deref()).await
            }
            What::R { r, packages } => self.resolve_r(wanted, r, packages).await,
            What::Conda { file } => self.resolve_conda(wanted, file).await,
            What::Image { image } => self.resolve_image(wanted, image).await,
            What::Rootfs { archive, .. } => {
                let digest = self.keep_archive(archive)?;
                Ok(EnvironmentLock::new(wanted, &digest.hex(), ""))
            }
            What::Nix { file, .. } => self.resolve_nix(wanted, file).await,
            What::Host { tools } => self.resolve_host(wanted, tools).await,
        }
    }

    /// The environment of a lock, made where it is missing.
    pub(super) async fn make(&self, lock: &EnvironmentLock) -> Result<Provisioned, Error> {
        match lock.kind {
            Kind::Python => self.make_python(lock).await,
            Kind::R => self.make_r(lock).await,
            Kind::Conda => self.make_conda(lock).await,
            Kind::Image => self.make_image(lock).await,
            Kind::Rootfs => self.make_rootfs(lock).await,
            Kind::Nix => self.make_nix(lock).await,
            Kind::Host => Ok(Provisioned::of(lock, self.folder(lock))),
        }
    }

    /// The folder of a lock, filled by `fill` where it is not complete. One process at a time fills it.
    pub(super) async fn once(
        &self,
        lock: &EnvironmentLock,
        fill: impl AsyncFnOnce(&Path) -> Result<(), Error>,
    ) -> Result<PathBuf, Error> {
        let folder = self.folder(lock);
        if self.stamp(lock).exists() {
            return Ok(folder);
        }
        let envs = self.store.root().join("envs");
        fs::create_dir_all(&envs).map_err(Error::io("make", &envs))?;
        let mut cancel = self.cancel.clone();
        let _only_one = exclusive(envs.join(format!("{}.lock", lock.digest)), &mut cancel).await?;
        if self.stamp(lock).exists() {
            return Ok(folder);
        }
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
        }
        fill(&folder).await?;
        fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
        fs::write(self.stamp(lock), lock.text.as_bytes()).map_err(Error::io("write", &self.stamp(lock)))?;
        self.ended(&lock.name, "ready");
        Ok(folder)
    }

    /// Whether the environment of a lock is there already.
    pub fn is_made(&self, lock: &EnvironmentLock) -> bool {
        self.stamp(lock).exists()
    }

    pub(super) fn folder(&self, lock: &EnvironmentLock) -> PathBuf {
        self.store.root().join("envs").join(lock.digest.hex())
    }

    pub(super) fn stamp(&self, lock: &EnvironmentLock) -> PathBuf {
        self.folder(lock).join(".complete")
    }

    /// A program of the host, called as every tool here is.
    pub(super) async fn host_call(&self, program: &Path, arguments: &[&str]) -> Result<Said, Error> {
        let arguments = arguments.iter().map(OsString::from).collect();
        call(program, arguments, &self.root, &tool_variables(&self.host), &self.cancel).await
    }

    /// The program of the host of that name.
    pub(super) fn host_program(&self, name: &str) -> Option<PathBuf> {
        find_program(name, search_path(&self.host))
    }

    pub(super) fn check(&self, name: &str, action: &'static str, said: &Said) -> Result<(), Error> {
        if said.ok {
            return Ok(());
        }
        Err(self.failed(name, action, last_lines(&said.text)))
    }

    /// Reports that an environment could not be locked or made.
    pub(super) fn failed(&self, name: &str, action: &'static str, reason: String) -> Error {
        let failed = match action {
            "lock" => "not locked",
            _ => "not made",
        };
        self.progress.report(Event::Ended { subject: subject(name), ok: false, message: failed.into() });
        Error::EnvironmentFailed { environment: name.to_owned(), action, reason }
    }

    pub(super) fn started(&self, name: &str, message: &str) {
        self.progress.report(Event::Started { subject: subject(name), message: message.to_owned() });
    }

    pub(super) fn ended(&self, name: &str, message: &str) {
        self.progress.report(Event::Ended { subject: subject(name), ok: true, message: message.to_owned() });
    }
}
