//! `rondo.lock`: what a run that a person started pins, and what `--locked` holds it to.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use rondo_core::Digest;
use rondo_project::lock::{LOCK_FILE, LOCKS_FOLDER, Lock, LockedDataset, LockedPackage, LockedStep};

use crate::Error;
use crate::environment::lock::{EnvironmentLock, text_at};
use crate::packages::{folder, git};
use crate::plan::{Planner, is_package_environment};
use crate::request::StepReport;
use crate::worktree::write_atomically;

/// Reads the lock file of a project; an empty lock where there is none.
///
/// # Errors
/// When it cannot be read or has faults.
pub fn read(root: &Path) -> Result<Lock, Error> {
    text(root)?.map_or_else(|| Ok(Lock::default()), |text| parse(&text))
}

fn text(root: &Path) -> Result<Option<String>, Error> {
    let place = root.join(LOCK_FILE);
    match fs::read_to_string(&place) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", &place)(error)),
    }
}

fn parse(text: &str) -> Result<Lock, Error> {
    Lock::parse(text).map_err(|error| {
        let report = error.report();
        Error::LockFile { reason: if report.is_empty() { error.to_string() } else { report } }
    })
}

/// The dataset versions that a lock pins.
pub fn datasets(lock: &Lock) -> BTreeMap<String, Digest> {
    lock.datasets.iter().map(|(name, dataset)| (name.clone(), dataset.digest)).collect()
}

/// What is known to differ from a lock before anything has run: datasets and environments.
///
/// # Errors
/// When an environment cannot be locked.
pub async fn differences_before(planner: &Planner) -> Result<Vec<String>, Error> {
    let lock = &planner.locked;
    let mut differences = Vec::new();
    for (name, version) in &planner.datasets {
        match lock.datasets.get(name).map(|locked| locked.digest) {
            Some(digest) if digest == version.digest => {}
            found => differences.push(differs("dataset", name, found, version.digest)),
        }
    }
    for (name, now) in environments(planner, |_| true).await? {
        match lock.environments.get(&name).copied() {
            Some(locked) if locked == now.digest => {}
            found => differences.push(differs("environment", &name, found, now.digest)),
        }
    }
    for (origin, package) in packages(planner)? {
        match lock.packages.get(&origin) {
            Some(locked) if locked.digest == package.digest => {}
            found => {
                let locked = found.map(|locked| locked.digest);
                differences.push(differs("package", &origin, locked, package.digest));
            }
        }
    }
    Ok(differences)
}

/// The packages of files that the project uses, as they are now.
fn packages(planner: &Planner) -> Result<BTreeMap<String, LockedPackage>, Error> {
    let mut packages = BTreeMap::new();
    for (origin, folder) in planner.project.packages.iter() {
        let digest = folder::digest(&planner.root.join(folder))?;
        let commit = git::commit_of(folder);
        packages.insert(origin.to_owned(), LockedPackage { digest, commit });
    }
    Ok(packages)
}

/// What a run's steps make differ from a lock.
pub fn differences_after(planner: &Planner, steps: &[StepReport]) -> Vec<String> {
    let mut differences = Vec::new();
    for step in steps.iter().filter(|step| step.outcome.is_good()) {
        let locked = planner.locked.steps.get(&step.name);
        for link in &step.outputs {
            match locked.and_then(|locked| locked.outputs.get(&link.name)).copied() {
                Some(digest) if digest == link.digest => {}
                found => differences.push(differs("output", &link.reference, found, link.digest)),
            }
        }
    }
    differences
}

fn differs(what: &str, name: &str, locked: Option<Digest>, now: Digest) -> String {
    match locked {
        Some(locked) => format!("{what} `{name}` is {}, locked is {}", now.short(), locked.short()),
        None => format!("{what} `{name}` is not locked"),
    }
}

/// The environments of some of a plan's steps with their locks.
async fn environments(
    planner: &Planner,
    of: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Arc<EnvironmentLock>>, Error> {
    let mut environments = BTreeMap::new();
    for (_, node) in planner.nodes().filter(|(_, node)| of(&node.name)) {
        let lock = planner.environment_lock(planner.step(node)?).await?;
        environments.extend(lock.map(|lock| (lock.name.clone(), lock)));
    }
    Ok(environments)
}

/// Held by whoever writes the lock file.
fn alone(store: &Path) -> Result<File, Error> {
    let place = store.join("lock.owner");
    let file = File::options().create(true).truncate(false).write(true).open(&place);
    let file = file.map_err(Error::io("make", &place))?;
    file.lock().map_err(Error::io("lock", &place))?;
    Ok(file)
}

/// Writes the texts of the environments' locks that a run has used beside the lock file, and removes those
/// of environments that it does not name any more. Nothing else in that folder is touched.
fn write_texts(
    store: &Path,
    root: &Path,
    lock: &Lock,
    used: &BTreeMap<String, Arc<EnvironmentLock>>,
) -> Result<(), Error> {
    for (name, own) in used {
        let place = text_at(root, name);
        if fs::read(&place).is_ok_and(|text| text == own.text.as_bytes()) {
            continue;
        }
        write_atomically(store, &place, own.text.as_bytes())?;
    }
    let entries = fs::read_dir(root.join(LOCKS_FOLDER)).into_iter().flatten().flatten();
    for place in entries.map(|entry| entry.path()).filter(|place| place.extension() == Some("txt".as_ref())) {
        let name = place.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_ours =
            || fs::read_to_string(&place).is_ok_and(|text| EnvironmentLock::parse(&name, &text).is_some());
        if !lock.environments.contains_key(&name) && is_ours() {
            fs::remove_file(&place).map_err(Error::io("remove", &place))?;
        }
    }
    Ok(())
}

/// Brings the lock file up to date with a run: what the run did not touch stays, what the project does not
/// have any more goes. Written, by way of the store's folder, only where it changes. Whether it was written.
///
/// # Errors
/// When the file has faults or cannot be written.
pub async fn update(store: &Path, planner: &Planner, steps: &[StepReport]) -> Result<bool, Error> {
    let good: HashSet<&str> =
        steps.iter().filter(|step| step.outcome.is_good()).map(|step| step.name.as_str()).collect();
    let used = environments(planner, |name| good.contains(name)).await?;
    // Two runs that end at once do not take each other's lines away.
    let _alone = alone(store)?;
    let ended = Ended { planner, steps, used, packages: packages(planner)? };
    let found = text(&planner.root)?;
    let mut lock = ended.bring_up(planner.locked.clone());
    let mut wanted = lock.text();
    if found.as_ref() != Some(&wanted) {
        // As it is now and not as it was at the start: `rondo data add` may have written in the meantime.
        lock = ended.bring_up(found.as_deref().map_or_else(|| Ok(Lock::default()), parse)?);
        wanted = lock.text();
    }
    write_texts(store, &planner.root, &lock, &ended.used)?;
    if found.as_ref() == Some(&wanted) {
        return Ok(false);
    }
    write_atomically(store, &planner.root.join(LOCK_FILE), wanted.as_bytes())?;
    Ok(true)
}

/// A run that has ended, with what it used.
struct Ended<'a> {
    planner: &'a Planner,
    steps: &'a [StepReport],
    used: BTreeMap<String, Arc<EnvironmentLock>>,
    packages: BTreeMap<String, LockedPackage>,
}

impl Ended<'_> {
    fn bring_up(&self, mut lock: Lock) -> Lock {
        let (planner, project) = (self.planner, &self.planner.project);
        lock.datasets.retain(|name, _| project.data.contains(name));
        lock.environments
            .retain(|name, _| project.environments.contains(name) || is_package_environment(name));
        lock.steps.retain(|name, _| planner.graph.place(name).is_some());
        for (name, version) in &planner.datasets {
            // What was pinned while this run went on with an older version stays.
            if lock.datasets.get(name) == planner.locked.datasets.get(name) {
                let locked = LockedDataset { digest: version.digest, size: version.size, rows: version.rows };
                lock.datasets.insert(name.clone(), locked);
            }
        }
        lock.environments.extend(self.used.iter().map(|(name, lock)| (name.clone(), lock.digest)));
        lock.packages.clone_from(&self.packages);
        for step in self.steps.iter().filter(|step| step.outcome.is_good()) {
            let Some(key) = step.key else { continue };
            let outputs = step.outputs.iter().map(|link| (link.name.clone(), link.digest)).collect();
            lock.steps.insert(step.name.clone(), LockedStep { key, outputs });
        }
        lock
    }
}
