//! Backups: a store as of one moment, in a folder that holds many such moments.
//!
//! ```text
//! BACKUP/
//!   objects/ab/cdef…          every object that some snapshot needs, once
//!   snapshots/<time>.json     what belongs to a moment: the database and other files by digest
//! ```
//!
//! The database is copied as of one moment while others go on writing; objects never change, so that
//! those which it names can be copied after it. A snapshot's file is written last: until it is there, the
//! snapshot is not. The next backup into the same folder copies what is new, and what is damaged there.
//! Everything is verified by its digest while it is copied, either way. What is not finished lies in folders
//! that are locked (`scratch`): those of a killed process go with the next backup or restore.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use rondo_core::ports::{Event, Progress};
use rondo_core::{Code, Digest, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Row, SqliteConnection};

use crate::lock::Lock;
use crate::meta::marks::marks;
use crate::scratch::{self, Scratch};
use crate::{Error, Objects, Store};

const FORMAT: u32 = 2;
const METADATA: &str = "metadata.db";

/// How the folder of a store begins that is being restored, beside the place that it is for.
const UNFINISHED: &str = ".rondo-restore-";

/// A store at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    format: u32,
    /// When.
    pub at: Timestamp,
    /// The version of Rondo that wrote it.
    pub rondo: String,
    /// The database.
    pub metadata: Digest,
    /// Files beside it, by their path in the store's folder.
    pub files: Vec<(String, Digest)>,
    /// How many objects it has.
    pub objects: u64,
    /// Digests in the database that the store had no object of: keys of steps are among them, and objects
    /// that were swept before.
    #[serde(rename = "missing")]
    absent: Absent,
    /// Objects whose bytes were not what their digest says: they are not in the backup.
    pub corrupt: Vec<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Absent {
    Named(Vec<Digest>),
    /// All that the first format says of them.
    Counted(u64),
}

impl Snapshot {
    /// Those of some digests without an object that it had one of. Where it only counted those that it had
    /// none of, all are lost if there are more of them now.
    fn lost(&self, mut unknown: Vec<Digest>) -> Vec<Digest> {
        match &self.absent {
            Absent::Named(absent) => {
                let known: HashSet<&Digest> = absent.iter().chain(&self.corrupt).collect();
                unknown.retain(|digest| !known.contains(digest));
            }
            Absent::Counted(absent) if unknown.len() as u64 <= absent + self.corrupt.len() as u64 => {
                unknown.clear();
            }
            Absent::Counted(_) => {}
        }
        unknown.sort_unstable();
        unknown
    }
}

/// How many objects an error names beside the first.
const NAMED: usize = 4;

/// What of a snapshot is not in its backup as it was saved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Objects that are not there any more.
    pub missing: Vec<Digest>,
    /// Objects whose bytes are not what their digest says.
    pub damaged: Vec<Digest>,
}

impl Damage {
    /// Whether all is whole.
    pub const fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.damaged.is_empty()
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (what, digests) in [("missing", &self.missing), ("damaged", &self.damaged)] {
            if let [first, rest @ ..] = digests.as_slice() {
                write!(f, "{between}{} {what}: {first}", digests.len())?;
                rest.iter().take(NAMED).try_for_each(|digest| write!(f, ", {digest}"))?;
                if rest.len() > NAMED {
                    write!(f, " and {} more (--dry-run --json names all)", rest.len() - NAMED)?;
                }
                between = "; ";
            }
        }
        Ok(())
    }
}

/// What came of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The snapshot's name.
    pub name: String,
    /// The snapshot.
    pub snapshot: Snapshot,
    /// How many objects the backup did not have yet.
    pub copied: u64,
    /// How many objects took the place of damaged ones in the backup.
    pub mended: u64,
}

/// A folder of snapshots.
pub struct Backup {
    root: PathBuf,
    objects: Objects,
}

impl Backup {
    /// Opens a folder for backups, making it where it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(root: &Path) -> Result<Self, Error> {
        let snapshots = root.join("snapshots");
        fs::create_dir_all(&snapshots).map_err(Error::io("make", &snapshots))?;
        Ok(Self { root: root.to_owned(), objects: Objects::open(&root.join("objects"))? })
    }

    /// Opens a folder that has backups.
    ///
    /// # Errors
    /// When it has none.
    pub fn open(root: &Path) -> Result<Self, Error> {
        if root.join("snapshots").is_dir() { Self::create(root) } else { Err(none_in(root)) }
    }

    /// The names of the snapshots, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let folder = self.root.join("snapshots");
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            let name = entry.map_err(Error::io("read", &folder))?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(".json")).map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A snapshot by its name; without one the newest.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn snapshot(&self, name: Option<&str>) -> Result<(String, Snapshot), Error> {
        let names = self.names()?;
        let name = match name {
            Some(name) if names.iter().any(|known| known == name) => name.to_owned(),
            Some(name) => {
                return Err(Error::SnapshotNotFound { path: self.root.clone(), name: name.to_owned() });
            }
            None => names.into_iter().next_back().ok_or_else(|| none_in(&self.root))?,
        };
        let path = self.root.join("snapshots").join(format!("{name}.json"));
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let snapshot: Snapshot = crate::meta::decode("snapshot", &name, &text)?;
        if snapshot.format > FORMAT {
            let (found, known) = (i64::from(snapshot.format), i64::from(FORMAT));
            return Err(Error::Newer { path, found, known });
        }
        Ok((name, snapshot))
    }

    /// Adds a snapshot of a store that goes on being used. Files beside the database are those below
    /// `folders`, paths in the store's folder, each read when it is its turn.
    ///
    /// # Errors
    /// When another process cleans up or backs up that store, or something cannot be read or written.
    pub async fn save(
        &self,
        store: &Store,
        folders: &[&str],
        at: Timestamp,
        progress: &dyn Progress,
    ) -> Result<Saved, Error> {
        let _alone = Lock::take(store.root())?;
        let scratch = self.objects.scratch()?;
        let copy = scratch.path().join(METADATA);
        store.meta().copy_to(&copy).await?;
        let mut named = marks(&mut read_only(&copy).await?).await?;
        let metadata = put_prefix(&self.objects, &copy)?.ok_or_else(|| none_in(&self.root))?;
        let mut absent = store.objects().close_over(&mut named)?;
        absent.sort_unstable();
        for digest in &absent {
            named.remove(digest);
        }
        let mut snapshot = Snapshot {
            format: FORMAT,
            at,
            rondo: env!("CARGO_PKG_VERSION").to_owned(),
            metadata,
            files: Vec::new(),
            objects: named.len() as u64,
            absent: Absent::Named(absent),
            corrupt: Vec::new(),
        };
        let (mut copied, mut mended) = (0, 0);
        for (done, digest) in (0_u64..).zip(&named) {
            let was_there = self.objects.path(*digest).is_some();
            match self.objects.fetch(store.objects(), *digest) {
                Ok(false) => {}
                Ok(true) if was_there => mended += 1,
                Ok(true) => copied += 1,
                Err(Error::Corrupt { .. }) => snapshot.corrupt.push(*digest),
                Err(error) => return Err(error),
            }
            advance(progress, done, snapshot.objects);
        }
        for folder in folders {
            self.save_files(store.root(), Path::new(folder), &mut snapshot.files)?;
        }
        let name = at.rfc3339().replace(':', "-");
        self.write_snapshot(&name, &snapshot)?;
        Ok(Saved { name, snapshot, copied, mended })
    }

    /// Adds the files below a folder. Files that vanish meanwhile are passed over: whoever removes one has
    /// put what was in it somewhere that comes later.
    fn save_files(&self, root: &Path, below: &Path, files: &mut Vec<(String, Digest)>) -> Result<(), Error> {
        let folder = root.join(below);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("read", &folder)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &folder))?;
            let kind = entry.file_type().map_err(Error::io("read", &entry.path()))?;
            names.push((entry.file_name(), kind.is_dir(), kind.is_file()));
        }
        names.sort();
        for (name, is_folder, is_file) in names {
            let path = below.join(name);
            if is_folder {
                self.save_files(root, &path, files)?;
            } else if is_file && let Some(digest) = put_prefix(&self.objects, &root.join(&path))? {
                let path = path.to_str().ok_or_else(|| Error::Special { path: path.clone() })?;
                files.push((path.to_owned(), digest));
            }
        }
        Ok(())
    }

    fn write_snapshot(&self, name: &str, snapshot: &Snapshot) -> Result<(), Error> {
        let folder = self.root.join("snapshots");
        let path = folder.join(format!("{name}.json"));
        let text = crate::meta::encode("snapshot", name, snapshot)?;
        let mut file = self.objects.incoming()?;
        io::Write::write_all(&mut file, text.as_bytes()).map_err(Error::io("write", &path))?;
        file.as_file().sync_all().map_err(Error::io("sync", &path))?;
        file.persist(&path).map_err(|error| Error::io("write", &path)(error.error))?;
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(Error::io("sync", &folder))
    }

    /// Reads everything that a snapshot has and compares it with its digest.
    ///
    /// # Errors
    /// When the backup cannot be read.
    pub async fn verify(&self, snapshot: &Snapshot, progress: &dyn Progress) -> Result<Damage, Error> {
        let mut damage = Damage::default();
        self.look(snapshot.metadata, &mut damage)?;
        // Without its database nobody knows what else it has.
        if !damage.is_empty() {
            return Ok(damage);
        }
        let metadata = self.objects.require(snapshot.metadata)?;
        let (mut held, lost) = self.held(snapshot, &metadata).await?;
        damage.missing = lost;
        held.extend(snapshot.files.iter().map(|(_, digest)| *digest));
        let total = held.len() as u64;
        for (done, digest) in (0_u64..).zip(&held) {
            self.look(*digest, &mut damage)?;
            advance(progress, done, total);
        }
        damage.missing.sort_unstable();
        damage.damaged.sort_unstable();
        Ok(damage)
    }

    fn look(&self, digest: Digest, damage: &mut Damage) -> Result<(), Error> {
        match self.objects.verify(digest) {
            Ok(true) => {}
            Ok(false) => {
                self.objects.forget(digest);
                damage.damaged.push(digest);
            }
            Err(Error::ObjectNotFound(_)) => damage.missing.push(digest),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The objects that a snapshot has by its database, and those that it had and that are not here.
    async fn held(
        &self,
        snapshot: &Snapshot,
        metadata: &Path,
    ) -> Result<(HashSet<Digest>, Vec<Digest>), Error> {
        let mut held = marks(&mut read_only(metadata).await?).await?;
        if let Absent::Named(absent) = &snapshot.absent {
            for digest in absent {
                held.remove(digest);
            }
        }
        let unknown = self.objects.close_over(&mut held)?;
        for digest in &unknown {
            held.remove(digest);
        }
        Ok((held, snapshot.lost(unknown)))
    }

    /// The error that says what of a snapshot is not here as it was saved.
    pub fn not_whole(&self, damage: Damage) -> Error {
        Error::BackupDamaged { path: self.root.clone(), damage }
    }

    /// Makes a store of a snapshot, in a folder that is not there yet or empty. The folder appears whole
    /// or not at all.
    ///
    /// # Errors
    /// When the folder is in use, or something is missing, corrupt or cannot be written.
    pub async fn restore(
        &self,
        snapshot: &Snapshot,
        data: &Path,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let in_use = fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_some());
        if in_use || data.is_file() {
            let name = data.display().to_string();
            return Err(Error::Exists { kind: "store", name, code: Code::StoreExists });
        }
        let above = data.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(above).map_err(Error::io("make", above))?;
        scratch::sweep(above, UNFINISHED)?;
        let fresh = Scratch::within(above, UNFINISHED)?;
        self.fill(snapshot, fresh.path(), progress).await.map_err(|error| match error {
            Error::Corrupt { digest, .. } => {
                self.objects.forget(digest);
                self.not_whole(Damage { damaged: vec![digest], ..Damage::default() })
            }
            Error::ObjectNotFound(digest) => {
                self.not_whole(Damage { missing: vec![digest], ..Damage::default() })
            }
            other => other,
        })?;
        if data.is_dir() {
            fs::remove_dir(data).map_err(Error::io("replace", data))?;
        }
        fs::rename(fresh.path(), data).map_err(Error::io("make", data))?;
        File::open(above).and_then(|folder| folder.sync_all()).map_err(Error::io("sync", above))
    }

    async fn fill(&self, snapshot: &Snapshot, folder: &Path, progress: &dyn Progress) -> Result<(), Error> {
        let objects = Objects::open(&folder.join("objects"))?;
        let metadata = folder.join(METADATA);
        self.copy_out(snapshot.metadata, &metadata)?;
        check(&metadata).await?;
        let (held, lost) = self.held(snapshot, &metadata).await?;
        if !lost.is_empty() {
            return Err(self.not_whole(Damage { missing: lost, ..Damage::default() }));
        }
        let total = held.len() as u64;
        for (done, digest) in (0_u64..).zip(&held) {
            objects.fetch(&self.objects, *digest)?;
            advance(progress, done, total);
        }
        for (path, digest) in &snapshot.files {
            let relative = Path::new(path);
            if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(Error::Special { path: relative.to_owned() });
            }
            self.copy_out(*digest, &folder.join(relative))?;
        }
        Ok(())
    }

    fn copy_out(&self, digest: Digest, place: &Path) -> Result<(), Error> {
        let folder = place.parent().unwrap_or(place);
        fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
        if !self.objects.verify(digest)? {
            return Err(Error::Corrupt { digest, found: digest });
        }
        let object = self.objects.require(digest)?;
        let mut from = File::open(&object).map_err(Error::io("open", &object))?;
        let mut to = File::create(place).map_err(Error::io("write", place))?;
        io::copy(&mut from, &mut to).map_err(Error::io("write", place))?;
        to.sync_all().map_err(Error::io("sync", place))
    }
}

/// Stores the bytes that a file has now; it may be growing. Nothing where it is gone.
fn put_prefix(objects: &Objects, path: &Path) -> Result<Option<Digest>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    Ok(Some(objects.put_reader(file.take(length))?.digest))
}

/// A database that nobody writes.
async fn read_only(path: &Path) -> Result<SqliteConnection, Error> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(true);
    Ok(SqliteConnection::connect_with(&options).await?)
}

/// Looks the database over, and forgets who held a lease: those processes are not here.
async fn check(path: &Path) -> Result<(), Error> {
    let options = SqliteConnectOptions::new().filename(path).foreign_keys(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let verdict: String =
        sqlx::query("PRAGMA integrity_check(1)").fetch_one(&mut connection).await?.try_get(0)?;
    if verdict != "ok" {
        return Err(Error::CorruptDatabase { path: path.to_owned(), reason: verdict });
    }
    sqlx::query("DELETE FROM lease").execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

fn advance(progress: &dyn Progress, done: u64, total: u64) {
    if done.is_multiple_of(256) || done + 1 == total {
        let message = "objects".to_owned();
        let subject = "backup".to_owned();
        progress.report(Event::Advanced { subject, done: done + 1, total: Some(total), message });
    }
}

fn none_in(root: &Path) -> Error {
    Error::NotFound { kind: "backup", name: root.display().to_string(), code: Code::BackupNotFound }
}

#[cfg(test)]
mod tests;
