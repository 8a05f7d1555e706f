//! The lock of an environment: its identity as a text.
//!
//! ```text
//! # Environment lock 1, made by rondo with uv: do not edit.
//! # requirements: <digest of what is wanted>
//! # python: 3.11
//! duckdb==1.5.6 \
//!     --hash=sha256:…
//! ```
//!
//! The text is an object of the store, which `rondo.lock` pins by its digest, and lies under its
//! environment's name in `locks/` of the store's folder, so that the same requirements give it again. It
//! lies beside `rondo.lock`, too: who checks the project out has the lock without a network.

use std::fs;
use std::path::{Path, PathBuf};

use rondo_core::Digest;
use rondo_core::ports::Event;
use rondo_project::lock::LOCKS_FOLDER;

use super::Environments;
use super::kind::{Kind, Wanted};
use crate::Error;
use crate::code::inside;
use crate::worktree::write_atomically;

/// How deep requirement files may include each other.
const DEPTH: usize = 8;

/// The first line of a lock.
fn header(kind: Kind) -> String {
    format!("# Environment lock 1, made by rondo with {}: do not edit.", kind.maker())
}

/// Lines without comments, blank ones and spaces around them.
pub(super) fn plain_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(without_comment).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

fn without_comment(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') { "" } else { line.split(" #").next().unwrap_or("").trim() }
}

/// Reads a requirements file of a project; files that it includes (`-r other.txt`) are put in their place.
///
/// # Errors
/// When a file cannot be read, leaves the project, or includes itself.
pub fn read_requirements(root: &Path, path: &str) -> Result<String, Error> {
    read_included(root, path, 0)
}

fn read_included(root: &Path, path: &str, depth: usize) -> Result<String, Error> {
    let refuse = |why: &str| std::io::Error::new(std::io::ErrorKind::InvalidInput, why.to_owned());
    let place = inside(root, path)
        .ok_or_else(|| Error::io("read", Path::new(path))(refuse("it lies outside the project")))?;
    if depth > DEPTH {
        return Err(Error::io("read", &place)(refuse("requirement files include each other in a circle")));
    }
    let text = fs::read_to_string(&place).map_err(Error::io("read", &place))?;
    let mut lines = Vec::new();
    for line in text.lines().map(without_comment) {
        match line.strip_prefix("-r ").or_else(|| line.strip_prefix("--requirement ")) {
            Some(other) => {
                let folder = Path::new(path).parent().unwrap_or(Path::new(""));
                lines.push(read_included(root, &folder.join(other.trim()).to_string_lossy(), depth + 1)?);
            }
            None => lines.push(line.to_owned()),
        }
    }
    Ok(lines.join("\n"))
}

/// A locked environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentLock {
    /// The environment's name; no part of its identity.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// The digest of the text: the environment's identity.
    pub digest: Digest,
    /// The whole text.
    pub text: String,
    /// Of Python its minor version, such as `3.11`; of the others what [`Kind::versioned`] says.
    pub version: String,
    /// The digest of what was wanted.
    pub wanted: Digest,
}

impl EnvironmentLock {
    /// From a version and what was resolved, a line each.
    pub fn new(wanted: &Wanted, version: &str, resolved: &str) -> Self {
        let kind = wanted.what.kind();
        let body: Vec<&str> = resolved.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let mut text = format!(
            "{}\n# requirements: {}\n# {}: {version}\n",
            header(kind),
            wanted.digest,
            kind.versioned()
        );
        for line in body {
            text.push_str(line);
            text.push('\n');
        }
        Self {
            name: wanted.name.clone(),
            kind,
            digest: Digest::of(text.as_bytes()),
            version: version.to_owned(),
            wanted: wanted.digest,
            text,
        }
    }

    /// Reads a lock's text; nothing where it is none.
    pub fn parse(name: &str, text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let first = lines.next()?;
        let kind = Kind::ALL.into_iter().find(|kind| first == header(*kind))?;
        let wanted = lines.next()?.strip_prefix("# requirements: ")?.parse().ok()?;
        let version = lines.next()?.strip_prefix("# ")?.strip_prefix(kind.versioned())?;
        let version = version.strip_prefix(": ")?.to_owned();
        let digest = Digest::of(text.as_bytes());
        Some(Self { name: name.to_owned(), kind, digest, text: text.to_owned(), version, wanted })
    }

    /// What stands below its first lines.
    pub fn body(&self) -> impl Iterator<Item = &str> {
        self.text.lines().skip(3)
    }

    /// The packages and their versions.
    pub fn packages(&self) -> Vec<(String, String)> {
        let one = |line: &str| match self.kind {
            Kind::Conda => conda_package(line),
            Kind::Python | Kind::R | Kind::Host => {
                let (name, rest) = line.split_once("==")?;
                let version = rest.split([' ', ';', '\\']).next()?;
                Some((name.trim().to_owned(), version.to_owned()))
            }
            Kind::Image | Kind::Rootfs | Kind::Nix => None,
        };
        self.body().filter(|line| !line.starts_with(['#', ' ', '-', '@'])).filter_map(one).collect()
    }
}

/// The package of an address such as `https://…/numpy-2.1.0-py312h1_0.conda#md5`.
fn conda_package(line: &str) -> Option<(String, String)> {
    let file = line.split('#').next()?.rsplit('/').next()?;
    let stem = file.strip_suffix(".conda").or_else(|| file.strip_suffix(".tar.bz2"))?;
    let (rest, _build) = stem.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    Some((name.to_owned(), version.to_owned()))
}

impl Environments {
    /// The lock of what is wanted: the one that `rondo.lock` pins where it fits, else the remembered one,
    /// else a new one.
    pub(super) async fn locked(&self, wanted: &Wanted) -> Result<EnvironmentLock, Error> {
        let known = [self.pinned(wanted), self.remembered(wanted)];
        for lock in known.into_iter().flatten() {
            let Some(reason) = self.unusable(wanted, &lock).await? else {
                self.remember(&lock)?;
                return Ok(lock);
            };
            let message = format!("{reason}: locking anew");
            self.progress.report(Event::Note { subject: subject(&wanted.name), message });
        }
        let lock = self.resolve(wanted).await?;
        self.remember(&lock)?;
        Ok(lock)
    }

    /// The lock that fits what is wanted, without a look at the machine.
    pub(super) fn known(&self, wanted: &Wanted) -> Option<EnvironmentLock> {
        self.pinned(wanted).or_else(|| self.remembered(wanted))
    }

    fn pinned(&self, wanted: &Wanted) -> Option<EnvironmentLock> {
        let digest = *self.pins.get(&wanted.name)?;
        let held = self.store.objects().read(digest).ok();
        let text = held.or_else(|| self.beside(&wanted.name, digest))?;
        let text = String::from_utf8(text).ok()?;
        EnvironmentLock::parse(&wanted.name, &text).filter(|lock| lock.wanted == wanted.digest)
    }

    /// The text of a pinned lock that lies beside `rondo.lock`, as in a fresh clone.
    fn beside(&self, name: &str, digest: Digest) -> Option<Vec<u8>> {
        let text = fs::read(text_at(&self.root, name)).ok()?;
        (Digest::of(&text) == digest).then_some(text)
    }

    fn remembered(&self, wanted: &Wanted) -> Option<EnvironmentLock> {
        let text = fs::read_to_string(self.remembered_at(&wanted.name, wanted.digest)).ok()?;
        EnvironmentLock::parse(&wanted.name, &text).filter(|lock| lock.wanted == wanted.digest)
    }

    fn remembered_at(&self, name: &str, wanted: Digest) -> PathBuf {
        self.store.root().join("locks").join(format!("{name}-{}.txt", wanted.short()))
    }

    fn remember(&self, lock: &EnvironmentLock) -> Result<(), Error> {
        self.store.objects().put_bytes(lock.text.as_bytes())?;
        let place = self.remembered_at(&lock.name, lock.wanted);
        if fs::read(&place).is_ok_and(|text| text == lock.text.as_bytes()) {
            return Ok(());
        }
        write_atomically(self.store.root(), &place, lock.text.as_bytes())
    }
}

/// Where the text of an environment's lock lies in a project, for Git.
pub(crate) fn text_at(root: &Path, name: &str) -> PathBuf {
    root.join(LOCKS_FOLDER).join(format!("{name}.txt"))
}

/// An environment as the subject of what is reported.
pub(super) fn subject(name: &str) -> String {
    format!("environment {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_reads_back_and_lists_its_packages() {
        let wanted = Wanted::python("py", ">=3.10", "duckdb");
        let resolved = "duckdb==1.5.6 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\ncolorama==0.4 ; sys_platform == 'win32' \\\n    --hash=sha256:cc\n";
        let lock = EnvironmentLock::new(&wanted, "3.11", resolved);
        assert_eq!(EnvironmentLock::parse("py", &lock.text).unwrap(), lock);
        assert_eq!(lock.packages(), [("duckdb".into(), "1.5.6".into()), ("colorama".into(), "0.4".into())]);
        assert_eq!(lock.digest.hex(), "e9bdd40421ad2ed23d95e48151f68ff4956abe891171dbef24fca54a07f983b1");
        let header = header(Kind::Python);
        for text in ["", "duckdb==1", &header, &format!("{header}\n# requirements: x\n# python: 3\n")] {
            assert_eq!(EnvironmentLock::parse("py", text), None);
        }
    }

    #[tokio::test]
    async fn a_fresh_clone_has_its_locks_from_beside_the_lock_file() {
        let (root, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let wanted = Wanted::python("py", ">=3.10", "nowhere-to-be-had");
        let lock = EnvironmentLock::new(&wanted, "3.11", "nowhere-to-be-had==7\n");
        let store = rondo_store::Store::open(folder.path()).await.unwrap();
        let environments = |pin| {
            Environments::new(super::super::Making {
                store: store.clone(),
                root: root.path().to_owned(),
                tools: folder.path().to_owned(),
                host: Default::default(),
                progress: std::sync::Arc::new(rondo_core::ports::Unwatched),
                pins: [("py".to_owned(), pin)].into(),
                cancel: tokio::sync::watch::channel(false).1,
            })
        };
        assert_eq!(environments(lock.digest).known(&wanted), None);
        let place = text_at(root.path(), "py");
        fs::create_dir(place.parent().unwrap()).unwrap();
        fs::write(&place, &lock.text).unwrap();
        assert_eq!(environments(lock.digest).known(&wanted), Some(lock.clone()));
        // What was edited, or is another than the lock file says, is none.
        fs::write(&place, lock.text.replace("==7", "==8")).unwrap();
        assert_eq!(environments(lock.digest).known(&wanted), None);
    }

    #[test]
    fn locks_of_other_kinds_read_back_too() {
        let file = "dependencies: [numpy]".to_owned();
        let wanted = Wanted::new("c", super::super::kind::What::Conda { file });
        let resolved = "@EXPLICIT\nhttps://c.example/linux-64/numpy-2.1.0-py312h1_0.conda#0a1b\nfile:///c/noarch/x-y-1.0-0.tar.bz2\n";
        let lock = EnvironmentLock::new(&wanted, "linux-x86_64", resolved);
        assert_eq!(EnvironmentLock::parse("c", &lock.text).unwrap(), lock);
        assert_eq!(lock.packages(), [("numpy".into(), "2.1.0".into()), ("x-y".into(), "1.0".into())]);
        assert_eq!(lock.kind, Kind::Conda);
    }

    #[test]
    fn included_requirement_files_are_put_in_and_circles_are_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("r")).unwrap();
        fs::write(root.path().join("r/all.txt"), "-r base.txt\nb\n").unwrap();
        fs::write(root.path().join("r/base.txt"), "a\n").unwrap();
        fs::write(root.path().join("circle.txt"), "-r circle.txt\n").unwrap();
        assert_eq!(read_requirements(root.path(), "r/all.txt").unwrap(), "a\nb");
        assert!(read_requirements(root.path(), "circle.txt").is_err());
        assert!(read_requirements(root.path(), "../x.txt").is_err());
    }
}
