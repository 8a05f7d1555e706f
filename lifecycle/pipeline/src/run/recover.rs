//! What a process that died has left: rows that say it is under way, folders, and processes of steps.
//!
//! A pipeline run holds a lock on a file in its work folder; the kernel lets go of it when the process
//! dies, however it dies. A run of another machine has no such folder here: it holds a lease, renewed
//! while it lives.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rondo_core::run::{RunKind, RunRow};
use rondo_core::{Digest, RunId, Span, Timestamp};
use rondo_process::leftovers;
use rondo_store::Store;
use rondo_store::objects::Take;

use super::record;
use crate::Error;
use crate::builtins::container;
use crate::execute::log;
use crate::logs;

/// The file in a work folder that its owner holds locked. No step can have its name.
const OWNER: &str = ".owner";

/// How long a lease lasts that is not renewed.
pub(super) const LEASE: Span = Span(30_000);

/// A run's work folder, held by this process.
pub struct WorkFolder {
    path: PathBuf,
    /// Its lock ends with it.
    _owner: File,
}

impl WorkFolder {
    /// Makes the folder of a run. It appears under its name only when its owner's lock is held.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn make(store: &Store, run: RunId) -> Result<Self, Error> {
        let mut made = Self::try_make(store, run);
        // Another process's recovery may see the folder in the moment before its lock is held.
        for _ in 0..3 {
            match &made {
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                    made = Self::try_make(store, run);
                }
                Ok(_) | Err(_) => break,
            }
        }
        made
    }

    fn try_make(store: &Store, run: RunId) -> Result<Self, Error> {
        let work = store.root().join("work");
        let (fresh, path) = (work.join(format!(".{run}")), work.join(run.hex()));
        fs::create_dir_all(&fresh).map_err(Error::io("make", &fresh))?;
        let owner = File::create(fresh.join(OWNER)).map_err(Error::io("make", &fresh))?;
        owner.lock().map_err(Error::io("lock", &fresh))?;
        fs::rename(&fresh, &path).map_err(Error::io("make", &path))?;
        Ok(Self { path, _owner: owner })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, when its run's row has ended. A folder that stays because that could not be written is
    /// found by the next start, which ends the row and removes the folder.
    pub fn remove(&self) {
        // What stays behind is removed at the next start.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Ends the runs whose process is gone, and removes what they left, containers too: `host` are the variables
/// that this process was started with. The runs that were ended.
///
/// # Errors
/// When the store refuses.
pub async fn recover(
    store: &Store,
    host: &BTreeMap<String, String>,
    now: Timestamp,
) -> Result<Vec<RunId>, Error> {
    let folders = WorkFolders::look(&store.root().join("work"));
    let mut silent = BTreeSet::new();
    for folder in &folders.dead {
        kill_leftovers(&folder.path);
        for (step, run) in logs::folders(&folder.path) {
            container::remove_left(&step, run, host, &mut silent).await;
        }
    }
    let mut ended = Vec::new();
    let live = store.meta().live_runs().await?;
    // Parents come before their children: they start first.
    for row in live {
        let dead = match (row.kind, row.parent) {
            (RunKind::Pipeline, _) => is_dead(store, &row, &folders, now).await?,
            (RunKind::Step, Some(parent)) => ended.contains(&parent) || is_over(store, parent).await?,
            (RunKind::Client, Some(parent)) => ended.contains(&parent),
            (RunKind::Step | RunKind::Client, None) => false,
        };
        if dead {
            ended.push(row.id);
            let left = folders.dead.iter().find_map(|folder| logs::folder_of(&folder.path, row.id));
            let log = left.and_then(|left| kept_log(store, &left));
            record::killed(store, row, log, now).await?;
        }
    }
    remove_old(&store.root().join("scratch"));
    // Only now: as long as the folder is there, another start finds the run dead too. One that another user
    // has left stays for that one's next start: its run has ended all the same.
    for folder in folders.dead {
        if let Err(error) = fs::remove_dir_all(&folder.path) {
            tracing::warn!("remove {}: {error}", folder.path.display());
        }
    }
    Ok(ended)
}

/// What a step had said whose process is gone. What cannot be read is no reason not to go on.
fn kept_log(store: &Store, folder: &Path) -> Option<Digest> {
    let log = folder.join("log");
    let whole = log::salvage(&log).and_then(|any| Ok(any.then_some(log.canonicalize()?)));
    let kept = whole.ok().flatten().map(|log| store.objects().put_path(&log, Take::Keep));
    kept.and_then(Result::ok).map(|stored| stored.digest)
}

async fn is_dead(store: &Store, row: &RunRow, folders: &WorkFolders, now: Timestamp) -> Result<bool, Error> {
    if folders.alive.contains(&row.id) {
        return Ok(false);
    }
    if folders.dead.iter().any(|folder| folder.run == Some(row.id)) {
        return Ok(true);
    }
    let name = lease_name(row.id);
    Ok(store.meta().lease(&name, "recovery", now, Span(1)).await?)
}

async fn is_over(store: &Store, run: RunId) -> Result<bool, Error> {
    Ok(store.meta().run(run).await?.is_none_or(|row| row.state.ended()))
}

/// The lease of a pipeline run.
pub(super) fn lease_name(run: RunId) -> String {
    format!("run/{run}")
}

struct Folder {
    path: PathBuf,
    run: Option<RunId>,
    /// Held until the folder is removed, so that two starts do not remove it at once.
    _lock: Option<File>,
}

#[derive(Default)]
struct WorkFolders {
    alive: Vec<RunId>,
    dead: Vec<Folder>,
}

impl WorkFolders {
    fn look(work: &Path) -> Self {
        let mut folders = Self::default();
        let Ok(entries) = fs::read_dir(work) else { return folders };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let run: Option<RunId> = name.trim_start_matches('.').parse().ok();
            match File::open(path.join(OWNER)).map(|file| (file.try_lock(), file)) {
                Ok((Ok(()), lock)) => folders.dead.push(Folder { path, run, _lock: Some(lock) }),
                Ok((Err(TryLockError::WouldBlock | TryLockError::Error(_)), _)) => folders.alive.extend(run),
                // Being made this moment, or half made: the next start looks again, unless it is old.
                Err(error) if error.kind() == ErrorKind::NotFound && is_old(&path) => {
                    folders.dead.push(Folder { path, run, _lock: None })
                }
                // What cannot be looked at says nothing; the lease does.
                Err(_) => {}
            }
        }
        folders
    }
}

fn is_old(path: &Path) -> bool {
    is_older(path, Duration::from_secs(60))
}

fn is_older(path: &Path, than: Duration) -> bool {
    let modified = path.symlink_metadata().and_then(|metadata| metadata.modified()).ok();
    modified.and_then(|modified| modified.elapsed().ok()).is_some_and(|age| age > than)
}

/// Removes what killed processes left half written. Nothing there is in use for an hour.
fn remove_old(scratch: &Path) {
    for path in fs::read_dir(scratch).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if is_older(&path, Duration::from_secs(3600)) {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    }
}

/// Kills the processes that belong to a run's steps: they carry its work folder in their environment.
/// Where the system does not show that, nothing is done.
fn kill_leftovers(work: &Path) {
    let marker = format!("RONDO_STEP_FILE={}/", work.to_string_lossy());
    for pid in leftovers::all() {
        let Ok(variables) = fs::read(format!("/proc/{pid}/environ")) else { continue };
        if variables.split(|byte| *byte == 0).any(|variable| variable.starts_with(marker.as_bytes())) {
            // SAFETY: `kill` has no memory effects. That the number was given away between the reading
            // and now would take a whole round of the counter.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn folders_of_the_living_stay_and_those_of_the_dead_go() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).await.unwrap();
        let alive = WorkFolder::make(&store, RunId::random()).unwrap();
        let dead = store.root().join("work").join(RunId::random().hex());
        fs::create_dir_all(dead.join("train/out")).unwrap();
        fs::write(dead.join(OWNER), "").unwrap();
        assert!(recover(&store, &BTreeMap::new(), Timestamp(1)).await.unwrap().is_empty());
        assert!(alive.path().is_dir() && !dead.exists());
    }

    #[test]
    fn a_folder_whose_lock_cannot_be_looked_at_is_not_taken_for_dead() {
        let root = tempfile::tempdir().unwrap();
        let [barred, bare] = [RunId::random(), RunId::random()].map(|run| root.path().join(run.hex()));
        for folder in [&barred, &bare] {
            fs::create_dir(folder).unwrap();
        }
        // Root may open what nobody may; nobody can open a link to itself.
        std::os::unix::fs::symlink(OWNER, barred.join(OWNER)).unwrap();
        for folder in [&barred, &bare] {
            File::open(folder).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        }
        let folders = WorkFolders::look(root.path());
        let dead: Vec<&Path> = folders.dead.iter().map(|folder| folder.path.as_path()).collect();
        assert_eq!(dead, [bare.as_path()]);
        assert!(folders.alive.is_empty());
    }
}
