//! Whether everything that versions need is in the store and is what its name says.

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rondo_core::Digest;
use rondo_core::handoff::DatasetVersion;
use rondo_core::ports::Event;
use rondo_core::tree::{Listing, Mode};
use serde::Serialize;

use crate::Error;
use crate::place::pace;
use crate::versions::Datasets;

const SUBJECT: &str = "verify";

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// It is not there.
    Missing,
    /// Its bytes are others.
    Corrupted,
    /// It cannot be read.
    Unreadable,
}

/// Who needs an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The dataset.
    pub dataset: String,
    /// The version, counted from 1.
    pub version: usize,
    /// The path in it; of a single file, and of what is about the whole, empty.
    pub path: String,
}

/// An object that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The object.
    pub digest: Digest,
    /// What is wrong.
    pub fault: Fault,
    /// All that needs it.
    pub needed_by: Vec<Need>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Versions that were looked at.
    pub versions: usize,
    /// Objects.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Those that are broken.
    pub broken: Vec<Broken>,
}

/// A version with its number.
type Numbered = (usize, DatasetVersion);

impl Datasets {
    /// Reads every object that the versions of these datasets need (of all, where none is named).
    ///
    /// # Errors
    /// When there is no such dataset, or the metadata cannot be read.
    pub async fn verify(&self, datasets: &[String]) -> Result<Report, Error> {
        let names = if datasets.is_empty() { self.store.meta().datasets().await? } else { datasets.to_vec() };
        let mut versions: Vec<Numbered> = Vec::new();
        for name in &names {
            let of_it = self.store.meta().numbered_versions(name).await?;
            if of_it.is_empty() {
                return Err(self.unknown(name).await?);
            }
            versions.extend(of_it);
        }
        let datasets = self.clone();
        crate::fetch::blocking(move || Ok(datasets.verify_versions(&versions))).await
    }

    pub(crate) fn verify_versions(&self, versions: &[Numbered]) -> Report {
        let mut faults: HashMap<Digest, Fault> = HashMap::new();
        let mut files: HashMap<Digest, u64> = HashMap::new();
        let mut opened = HashSet::new();
        for (_, version) in versions {
            files.extend(version.profile.map(|profile| (profile, 0)));
            if version.folder {
                self.listings(version.digest, &mut opened, &mut files, &mut faults);
            } else {
                files.insert(version.digest, version.size);
            }
        }
        let objects = files.len() + opened.len();
        let bytes = files.values().sum();
        let mut list: Vec<(Digest, u64)> = files.into_iter().collect();
        // In the order of their places on the disk.
        list.sort_unstable();
        faults.extend(self.read_all(&list, bytes));
        let message = format!("{} of {objects} objects are broken", faults.len());
        self.progress.report(Event::Ended { subject: SUBJECT.to_owned(), ok: faults.is_empty(), message });
        let mut broken: Vec<Broken> = Vec::new();
        if !faults.is_empty() {
            let needs = self.needs(versions, &faults);
            broken.extend(faults.into_iter().map(|(digest, fault)| {
                let needed_by = needs.get(&digest).cloned().unwrap_or_default();
                Broken { digest, fault, needed_by }
            }));
            broken.sort_by_key(|broken| broken.digest);
        }
        Report { versions: versions.len(), objects, bytes, broken }
    }

    /// Opens a folder's listings and all below, each once.
    fn listings(
        &self,
        folder: Digest,
        opened: &mut HashSet<Digest>,
        files: &mut HashMap<Digest, u64>,
        faults: &mut HashMap<Digest, Fault>,
    ) {
        let mut open = vec![folder];
        while let Some(digest) = open.pop() {
            if !opened.insert(digest) {
                continue;
            }
            match self.listing(digest) {
                Err(fault) => drop(faults.insert(digest, fault)),
                Ok(Listing::Parts(parts)) => open.extend(parts.into_iter().map(|part| part.digest)),
                Ok(Listing::Whole(tree)) => {
                    for entry in tree.entries() {
                        match entry.mode {
                            Mode::Folder => open.push(entry.digest),
                            Mode::File | Mode::Executable => drop(files.insert(entry.digest, entry.size)),
                        }
                    }
                }
            }
        }
    }

    fn listing(&self, digest: Digest) -> Result<Listing, Fault> {
        let bytes = self.store.objects().read(digest).map_err(|error| fault_of(&error))?;
        Listing::decode(&bytes).map_err(|_| Fault::Corrupted)
    }

    /// Reads files with as many threads as there are cores; what is wrong with which.
    fn read_all(&self, files: &[(Digest, u64)], total: u64) -> Vec<(Digest, Fault)> {
        let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
        let since = Instant::now();
        let state = Mutex::new((Vec::new(), since));
        let objects = self.store.objects();
        let message = format!("reading {} files", files.len());
        self.progress.report(Event::Started { subject: SUBJECT.to_owned(), message });
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((digest, size)) = files.get(index) else { return };
                let fault = match objects.verify(*digest) {
                    Ok(true) => None,
                    Ok(false) => Some(Fault::Corrupted),
                    Err(error) => Some(fault_of(&error)),
                };
                let bytes = done.fetch_add(*size, Ordering::Relaxed) + size;
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                state.0.extend(fault.map(|fault| (*digest, fault)));
                if state.1.elapsed() > Duration::from_millis(200) {
                    state.1 = Instant::now();
                    self.progress.report(Event::Advanced {
                        subject: SUBJECT.to_owned(),
                        done: index as u64 + 1,
                        total: Some(files.len() as u64),
                        message: format!("files: {}", pace(bytes, total, since.elapsed())),
                    });
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(files.len().max(1));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
        state.into_inner().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Who needs what is broken.
    fn needs(&self, versions: &[Numbered], faults: &HashMap<Digest, Fault>) -> HashMap<Digest, Vec<Need>> {
        let mut needs: HashMap<Digest, Vec<Need>> = HashMap::new();
        for (number, version) in versions {
            let need = |path: String| Need { dataset: version.dataset.clone(), version: *number, path };
            for digest in version.profile.iter().chain([&version.digest]).filter(|d| faults.contains_key(d)) {
                needs.entry(*digest).or_default().push(need(String::new()));
            }
            let mut open = vec![(version.digest, String::new())];
            while let Some((digest, prefix)) = open.pop().filter(|_| version.folder) {
                match self.listing(digest) {
                    Err(_) => {}
                    Ok(Listing::Parts(parts)) => {
                        for part in parts {
                            if faults.contains_key(&part.digest) {
                                needs.entry(part.digest).or_default().push(need(prefix.clone()));
                            }
                            open.push((part.digest, prefix.clone()));
                        }
                    }
                    Ok(Listing::Whole(tree)) => {
                        for entry in tree.entries() {
                            let path = format!("{prefix}{}", entry.name);
                            if faults.contains_key(&entry.digest) {
                                needs.entry(entry.digest).or_default().push(need(path.clone()));
                            }
                            if entry.mode == Mode::Folder {
                                open.push((entry.digest, format!("{path}/")));
                            }
                        }
                    }
                }
            }
        }
        needs
    }
}

fn fault_of(error: &rondo_store::Error) -> Fault {
    match error {
        rondo_store::Error::ObjectNotFound(_) => Fault::Missing,
        rondo_store::Error::Corrupt { .. } => Fault::Corrupted,
        _ => Fault::Unreadable,
    }
}
