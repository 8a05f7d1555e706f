//! The work tree: putting outputs under their declared paths, and knowing cheaply that they are there.
//!
//! What was checked out is remembered with a fingerprint of its files (size, times, inode). An equal
//! fingerprint lets hashing be skipped; it never decides anything by itself: a fingerprint that could have
//! been taken within the same tick of the clock as a write is not kept, and what differs is hashed.
//!
//! What lies at an output's path and came there by somebody's hand is not thrown away: it is set aside.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use rondo_core::run::Link;
use rondo_core::{Digest, Timestamp};
use rondo_store::Objects;
use rondo_store::objects::sweep_half_made;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::code::inside;

/// A file changed less than this long before its fingerprint was taken is hashed again: clocks tick.
const TICK_NANOS: i128 = 50_000_000;

/// The file of what is remembered, in the store's folder.
const MEMORY: &str = "worktree.json";

/// The folder, in the store's, of what lay where an output was put.
const ASIDE: &str = "replaced";

/// What is remembered of one checked-out path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    digest: Digest,
    /// None where it was taken too soon after a write.
    fingerprint: Option<Digest>,
    taken: i128,
}

/// What became of an output in the work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It was there.
    There,
    /// It was put there.
    Put,
    /// It was put there instead of something that no run has put there, or that was changed since; that lies
    /// here now.
    Instead(PathBuf),
}

/// The work tree of a project.
pub struct WorkTree {
    root: PathBuf,
    store: PathBuf,
    objects: Objects,
    known: Mutex<(BTreeMap<String, Remembered>, bool)>,
    /// The folders that were looked through for what a killed process has left.
    swept: Mutex<HashSet<PathBuf>>,
}

impl WorkTree {
    /// The tree in a project's folder; what it remembers lies in the store's folder.
    pub fn open(root: &Path, store: &Path, objects: Objects) -> Self {
        let memory = store.join(MEMORY);
        // A memory that cannot be read is only a slower start.
        let known =
            fs::read(&memory).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self {
            root: root.to_owned(),
            store: store.to_owned(),
            objects,
            known: Mutex::new((known, false)),
            swept: Mutex::default(),
        }
    }

    /// Puts an output under its declared path, unless exactly that is there already. What a run had put there
    /// gives way, for it is in the store; all else is set aside.
    ///
    /// # Errors
    /// When the path leaves the project, the object is not in the store, or the disk refuses.
    pub fn place(&self, output: &Link, path: &str) -> Result<Placed, Error> {
        let outside = || std::io::Error::new(std::io::ErrorKind::InvalidInput, "it lies outside the project");
        let place = inside(&self.root, path).ok_or_else(|| Error::io("write", Path::new(path))(outside()))?;
        let fingerprint = fingerprint(&place);
        let mut placed = Placed::Put;
        if let Some((now, newest)) = fingerprint {
            let runs = !output.executable || is_executable(&place);
            if runs && self.is_known(path, output.digest, now) {
                return Ok(Placed::There);
            }
            if let Ok(there) = Objects::digest_path(&place) {
                let same = there.digest == output.digest;
                if same && runs {
                    self.remember(path, output.digest, now, newest);
                    return Ok(Placed::There);
                }
                if !same && (!self.has_placed(path) || !self.objects.holds(there.digest, there.folder)) {
                    placed = Placed::Instead(self.set_aside(&place, path)?);
                }
            }
        }
        self.sweep(&place);
        self.objects.check_out(output.digest, output.mode(), &place)?;
        if let Some((now, newest)) = self::fingerprint(&place) {
            self.remember(path, output.digest, now, newest);
        }
        Ok(placed)
    }

    /// Moves what lies at a place out of the way; where it is then.
    fn set_aside(&self, place: &Path, path: &str) -> Result<PathBuf, Error> {
        let named = |end: &str| path.trim_end_matches('/').to_owned() + end;
        let moment = Timestamp(i64::try_from(now_nanos() / 1_000_000).unwrap_or(i64::MAX));
        let moment = moment.rfc3339().replace(':', "-");
        let aside = self.store.join(ASIDE).join(&moment).join(named(""));
        let folder = aside.parent().unwrap_or(&self.store);
        fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
        match fs::rename(place, &aside) {
            Ok(()) => Ok(aside),
            Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
                // What is on another disk stays there.
                let beside = self.root.join(named(&format!(".{ASIDE}-{moment}")));
                fs::rename(place, &beside).map_err(Error::io("move aside", place))?;
                Ok(beside)
            }
            Err(error) => Err(Error::io("move aside", place)(error)),
        }
    }

    /// Removes what killed processes have left in a place's folder, once for each folder: a folder may hold
    /// thousands of outputs.
    fn sweep(&self, place: &Path) {
        let Some(folder) = place.parent() else { return };
        if lock(&self.swept).insert(folder.to_owned()) {
            sweep_half_made(folder);
        }
    }

    /// Writes down what was learnt, where anything was.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self) -> Result<(), Error> {
        let mut known = lock(&self.known);
        if !known.1 {
            return Ok(());
        }
        let text = serde_json::to_vec(&known.0).unwrap_or_default();
        write_atomically(&self.store, &self.store.join(MEMORY), &text)?;
        known.1 = false;
        Ok(())
    }

    fn is_known(&self, path: &str, digest: Digest, fingerprint: Digest) -> bool {
        let known = lock(&self.known);
        let is_same = |known: &Remembered| known.digest == digest && known.fingerprint == Some(fingerprint);
        known.0.get(path).is_some_and(is_same)
    }

    /// Whether a run has put something under a path.
    fn has_placed(&self, path: &str) -> bool {
        lock(&self.known).0.contains_key(path)
    }

    fn remember(&self, path: &str, digest: Digest, fingerprint: Digest, newest: i128) {
        let taken = now_nanos();
        let mut known = lock(&self.known);
        let fingerprint = (taken - newest >= TICK_NANOS).then_some(fingerprint);
        known.0.insert(path.to_owned(), Remembered { digest, fingerprint, taken });
        known.1 = true;
    }
}

/// A lock whose holder panicked still guards a whole value here: each change is one assignment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Whether there is a file with the owner's execute bit.
pub(crate) fn is_executable(place: &Path) -> bool {
    fs::metadata(place).is_ok_and(|there| there.is_file() && there.permissions().mode() & 0o100 != 0)
}

/// Sizes, times and inodes of all files below a path, and the newest of the times; nothing where it cannot
/// be read.
fn fingerprint(place: &Path) -> Option<(Digest, i128)> {
    let mut text = String::new();
    let mut newest = 0;
    walk(place, &mut text, &mut newest)?;
    Some((Digest::of(text.as_bytes()), newest))
}

fn walk(place: &Path, text: &mut String, newest: &mut i128) -> Option<()> {
    let metadata = fs::metadata(place).ok()?;
    let nanos = |seconds: i64, part: i64| i128::from(seconds) * 1_000_000_000 + i128::from(part);
    let (modified, changed) =
        (nanos(metadata.mtime(), metadata.mtime_nsec()), nanos(metadata.ctime(), metadata.ctime_nsec()));
    *newest = (*newest).max(modified).max(changed);
    let name = place.to_string_lossy();
    text.push_str(&format!(
        "{name}\0{}\0{modified}\0{changed}\0{}\0{}\0{:o}\n",
        metadata.len(),
        metadata.ino(),
        metadata.dev(),
        metadata.mode()
    ));
    if metadata.is_dir() {
        let mut names: Vec<PathBuf> = fs::read_dir(place)
            .ok()?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .ok()?;
        names.sort();
        for inner in names {
            walk(&inner, text, newest)?;
        }
    }
    Some(())
}

fn now_nanos() -> i128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(now.as_nanos()).unwrap_or(i128::MAX)
}

/// Writes a file so that nobody ever sees half of it. It grows in the store's folder, where what a killed
/// process leaves is found and removed; beside its place only where that is another disk.
pub(crate) fn write_atomically(store: &Path, place: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = place.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
    let grown = |within: &Path| -> Result<tempfile::NamedTempFile, Error> {
        let mut file = tempfile::NamedTempFile::new_in(within).map_err(Error::io("write in", within))?;
        file.write_all(bytes).map_err(Error::io("write", place))?;
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644))
            .map_err(Error::io("write", place))?;
        file.as_file().sync_all().map_err(Error::io("sync", place))?;
        Ok(file)
    };
    match grown(&scratch(store)?)?.persist(place) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::CrossesDevices => {
            grown(folder)?.persist(place).map(drop).map_err(|error| Error::io("write", place)(error.error))
        }
        Err(error) => Err(Error::io("write", place)(error.error)),
    }
}

/// The store's folder for files that are about to be something else.
pub(crate) fn scratch(store: &Path) -> Result<PathBuf, Error> {
    let folder = store.join("scratch");
    fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use rondo_store::objects::Take;

    use super::*;

    fn tree() -> (tempfile::TempDir, Objects, Link) {
        let root = tempfile::tempdir().unwrap();
        let objects = Objects::open(&root.path().join("objects")).unwrap();
        let source = root.path().join("made");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("a"), "a").unwrap();
        let stored = objects.put_path(&source, Take::Keep).unwrap();
        let link = Link {
            name: "raw".into(),
            reference: "fetch.raw".into(),
            digest: stored.digest,
            size: stored.size,
            folder: true,
            executable: false,
        };
        (root, objects, link)
    }

    #[test]
    fn what_is_there_already_is_left_and_what_was_changed_is_put_back() {
        let (root, objects, link) = tree();
        let tree = WorkTree::open(root.path(), root.path(), objects.clone());
        assert_eq!(tree.place(&link, "out/raw/").unwrap(), Placed::Put);
        assert_eq!(tree.place(&link, "out/raw/").unwrap(), Placed::There);
        std::thread::sleep(std::time::Duration::from_millis(60));
        assert_eq!(tree.place(&link, "out/raw/").unwrap(), Placed::There);
        tree.save().unwrap();
        let again = WorkTree::open(root.path(), root.path(), objects);
        assert!(again.is_known(
            "out/raw/",
            link.digest,
            fingerprint(&root.path().join("out/raw/")).unwrap().0
        ));
        let file = root.path().join("out/raw/a");
        fs::remove_file(&file).unwrap();
        fs::write(&file, "b").unwrap();
        // Left by a process that is long gone; and by one that is alive.
        fs::create_dir(root.path().join("out/.raw.2147483646.new")).unwrap();
        fs::create_dir(root.path().join(format!("out/.raw.{}.new.txt", std::process::id()))).unwrap();
        let Placed::Instead(aside) = again.place(&link, "out/raw/").unwrap() else { panic!("it is lost") };
        assert_eq!(fs::read_to_string(&file).unwrap(), "a");
        assert_eq!(fs::read_to_string(aside.join("a")).unwrap(), "b");
        assert_eq!(fs::read_dir(root.path().join("out")).unwrap().count(), 2);
        assert!(again.place(&link, "../raw/").is_err());
    }

    #[test]
    fn what_is_executable_is_so_in_the_work_tree_also_where_its_bytes_lie_there() {
        let (root, objects, link) = tree();
        let stored = objects.put_bytes(b"#!/bin/sh\n").unwrap();
        let link = Link { digest: stored.digest, folder: false, ..link };
        let tree = WorkTree::open(root.path(), root.path(), objects);
        assert_eq!(tree.place(&link, "bin/tool").unwrap(), Placed::Put);
        assert!(!is_executable(&root.path().join("bin/tool")));
        let link = Link { executable: true, ..link };
        assert_eq!(tree.place(&link, "bin/tool").unwrap(), Placed::Put);
        assert!(is_executable(&root.path().join("bin/tool")));
        assert_eq!(tree.place(&link, "bin/tool").unwrap(), Placed::There);
    }

    #[test]
    fn what_no_run_has_put_there_is_set_aside_also_where_the_store_has_it() {
        let (root, objects, link) = tree();
        let (place, mine) = (root.path().join("reports"), root.path().join("reports/mine.md"));
        fs::create_dir(&place).unwrap();
        fs::write(&mine, "mine").unwrap();
        objects.put_path(&place, Take::Keep).unwrap();
        let tree = WorkTree::open(root.path(), root.path(), objects.clone());
        let Placed::Instead(aside) = tree.place(&link, "reports/").unwrap() else { panic!("it is lost") };
        assert!(!mine.exists() && fs::read_to_string(aside.join("mine.md")).unwrap() == "mine");
        // What a run has put there, a moment ago, gives way to what another has made.
        let made = root.path().join("other");
        fs::create_dir(&made).unwrap();
        fs::write(made.join("b"), "b").unwrap();
        let other = objects.put_path(&made, Take::Keep).unwrap();
        let other = Link { digest: other.digest, ..link };
        assert_eq!(tree.place(&other, "reports/").unwrap(), Placed::Put);
    }
}
