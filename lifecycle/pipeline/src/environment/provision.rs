//! Making an environment: resolving its lock, and the folder that the lock describes.
//!
//! The folder is named by the lock's digest and is complete when its stamp, written last, is there. One
//! process at a time makes it. What a process that died has left without a stamp is removed and made again.

use std::fs;
use std::path::{Path, PathBuf};

use rondo_core::Digest;
use rondo_core::ports::Event;
use serde::Serialize;

use super::Environments;
use super::lock::{EnvironmentLock, Wanted, subject};
use super::uv::{Said, Uv, exclusive, last_lines};
use crate::Error;
use crate::worktree::scratch;

/// An environment that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provisioned {
    /// Its name.
    pub name: String,
    /// The digest of its lock.
    pub lock: Digest,
    /// Its folder.
    pub folder: PathBuf,
    /// The folder of its programs: comes first in the `PATH`.
    pub bin: PathBuf,
    /// Its interpreter.
    pub python: PathBuf,
    /// The interpreter's minor version.
    pub version: String,
    /// Its packages with their versions.
    pub packages: Vec<(String, String)>,
}

impl Environments {
    /// Whether an environment is made, or could be with what is on this machine. Asks `uv` only where
    /// there is one already: a lock whose steps are all cached needs no environment at all.
    pub(super) async fn is_usable(&self, lock: &EnvironmentLock) -> bool {
        if self.stamp(lock).exists() || !Uv::is_present(&self.tools, &self.host) {
            return true;
        }
        match self.uv().await {
            Ok(uv) => interpreter(uv, self, &lock.python).await.is_ok_and(|found| found.is_some()),
            Err(_) => true,
        }
    }

    /// Resolves what is wanted against the package index.
    pub(super) async fn resolve(&self, wanted: &Wanted) -> Result<EnvironmentLock, Error> {
        let uv = self.uv().await?;
        let name = &wanted.name;
        self.started(name, "choosing package versions");
        let missing = || Error::PythonMissing { environment: name.clone(), wanted: wanted.python.clone() };
        let python = interpreter(uv, self, &wanted.python).await?.ok_or_else(missing)?;
        let version = minor_version(uv, self, &python).await?.ok_or_else(missing)?;
        let resolved = if wanted.requirements.is_empty() {
            String::new()
        } else {
            let scratch = scratch(self.store.root())?;
            let folder = tempfile::tempdir_in(&scratch).map_err(Error::io("write in", &scratch))?;
            let (input, output) = (folder.path().join("requirements.txt"), folder.path().join("lock.txt"));
            fs::write(&input, format!("{}\n", wanted.requirements)).map_err(Error::io("write", &input))?;
            let (from, to) = (input.to_string_lossy(), output.to_string_lossy());
            let arguments = [
                "pip",
                "compile",
                "--quiet",
                "--universal",
                "--generate-hashes",
                "--no-header",
                "--no-annotate",
                "--python",
                &python,
                "--python-version",
                &version,
                "--output-file",
                &to,
                &from,
            ];
            let said = uv.call(&self.root, &arguments).await?;
            self.check(name, "lock", &said)?;
            fs::read_to_string(&output).map_err(Error::io("read", &output))?
        };
        let lock = EnvironmentLock::new(wanted, &version, &resolved);
        self.ended(name, &format!("locked: {} packages for Python {version}", lock.packages().len()));
        Ok(lock)
    }

    /// The environment's folder, made where it is missing.
    pub(super) async fn make(&self, lock: &EnvironmentLock) -> Result<Provisioned, Error> {
        let folder = self.folder(lock);
        let provisioned = Provisioned {
            name: lock.name.clone(),
            lock: lock.digest,
            bin: folder.join("bin"),
            python: folder.join("bin/python"),
            version: lock.python.clone(),
            packages: lock.packages(),
            folder,
        };
        if self.stamp(lock).exists() {
            return Ok(provisioned);
        }
        let envs = self.store.root().join("envs");
        fs::create_dir_all(&envs).map_err(Error::io("make", &envs))?;
        let mut cancel = self.cancel.clone();
        let _only_one = exclusive(envs.join(format!("{}.lock", lock.digest)), &mut cancel).await?;
        if self.stamp(lock).exists() {
            return Ok(provisioned);
        }
        if provisioned.folder.exists() {
            fs::remove_dir_all(&provisioned.folder).map_err(Error::io("remove", &provisioned.folder))?;
        }
        self.fill(lock, &provisioned).await?;
        fs::write(self.stamp(lock), lock.text.as_bytes()).map_err(Error::io("write", &self.stamp(lock)))?;
        Ok(provisioned)
    }

    async fn fill(&self, lock: &EnvironmentLock, provisioned: &Provisioned) -> Result<(), Error> {
        let uv = self.uv().await?;
        let name = &lock.name;
        let packages = provisioned.packages.len();
        self.started(name, &format!("making it: {packages} packages, Python {}", lock.python));
        let missing = || Error::PythonMissing { environment: name.clone(), wanted: lock.python.clone() };
        let python = interpreter(uv, self, &lock.python).await?.ok_or_else(missing)?;
        let folder = provisioned.folder.to_string_lossy();
        let said =
            uv.call(&self.root, &["venv", "--quiet", "--no-project", "--python", &python, &folder]).await?;
        self.check(name, "provision", &said)?;
        if packages > 0 {
            let text = provisioned.folder.join("rondo.lock.txt");
            fs::write(&text, &lock.text).map_err(Error::io("write", &text))?;
            let (of, from) = (provisioned.python.to_string_lossy(), text.to_string_lossy());
            let said = uv
                .call(&self.root, &["pip", "sync", "--quiet", "--require-hashes", "--python", &of, &from])
                .await?;
            self.check(name, "provision", &said)?;
        }
        self.ended(name, "ready");
        Ok(())
    }

    async fn uv(&self) -> Result<&Uv, Error> {
        self.uv
            .get_or_try_init(|| {
                Uv::locate(&self.tools, &self.host, self.progress.as_ref(), self.cancel.clone())
            })
            .await
    }

    fn folder(&self, lock: &EnvironmentLock) -> PathBuf {
        self.store.root().join("envs").join(lock.digest.hex())
    }

    fn stamp(&self, lock: &EnvironmentLock) -> PathBuf {
        self.folder(lock).join(".complete")
    }

    fn check(&self, name: &str, action: &'static str, said: &Said) -> Result<(), Error> {
        if said.ok {
            return Ok(());
        }
        let failed = match action {
            "lock" => "not locked",
            _ => "not made",
        };
        self.progress.report(Event::Ended { subject: subject(name), ok: false, message: failed.into() });
        Err(Error::EnvironmentFailed { environment: name.to_owned(), action, reason: last_lines(&said.text) })
    }

    fn started(&self, name: &str, message: &str) {
        self.progress.report(Event::Started { subject: subject(name), message: message.to_owned() });
    }

    fn ended(&self, name: &str, message: &str) {
        self.progress.report(Event::Ended { subject: subject(name), ok: true, message: message.to_owned() });
    }
}

/// An interpreter on this machine of a wanted version; nothing where there is none.
async fn interpreter(uv: &Uv, environments: &Environments, wanted: &str) -> Result<Option<String>, Error> {
    let said = uv.call(&environments.root, &["python", "find", "--no-project", "--system", wanted]).await?;
    let path = said.text.lines().map(str::trim).find(|line| line.starts_with('/')).map(str::to_owned);
    Ok(path.filter(|_| said.ok))
}

/// The minor version of an interpreter, such as `3.11`.
async fn minor_version(uv: &Uv, environments: &Environments, python: &str) -> Result<Option<String>, Error> {
    let program = "import sys; print('%d.%d' % sys.version_info[:2])";
    let said = uv.call_program(Path::new(python), &environments.root, &["-c", program]).await?;
    let version = said.text.lines().map(str::trim).find(|line| is_version(line)).map(str::to_owned);
    Ok(version.filter(|_| said.ok))
}

fn is_version(text: &str) -> bool {
    text.split_once('.').is_some_and(|(major, minor)| {
        [major, minor].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    })
}
