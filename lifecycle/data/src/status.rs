//! Where each dataset stands: its latest version, and whether its source has changed since.
//!
//! Only what lies on this machine is looked at. A file that has the size, time and inode that it had when
//! it was added is taken to be the same; any other is hashed. Nothing is written and no network is used.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rondo_core::handoff::DatasetVersion;
use rondo_core::journal::JournalEntry;
use rondo_core::{Digest, Timestamp, reference};
use rondo_store::Objects;
use serde::{Deserialize, Serialize};

use crate::fetch::{blocking, local_files};
use crate::ingest::Intake;
use crate::versions::Datasets;
use crate::{Error, Source};

/// A file system may give two writes within so many milliseconds one time.
const RACY: i64 = 2000;

/// What can be said of a source since the latest version was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum SourceState {
    /// It is what was added.
    Unchanged,
    /// Files have changed, come or gone.
    Changed {
        /// Which, at most ten.
        files: Vec<String>,
    },
    /// It is not there any more.
    Missing,
    /// The declared source is not the one that the latest version came from.
    Another,
    /// It is elsewhere and was not asked.
    Remote,
    /// Nothing has been added yet.
    New,
}

/// Where a dataset stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatasetStatus {
    /// Its name.
    pub dataset: String,
    /// Where it comes from.
    pub source: String,
    /// How many checks it has.
    pub checks: usize,
    /// The latest version.
    pub latest: Option<DatasetVersion>,
    /// How many versions there are.
    pub versions: usize,
    /// Whether the source has changed since.
    pub source_state: SourceState,
    /// The last move of its ref: when, who, why, with rows and checks as evidence.
    pub last: Option<JournalEntry>,
}

/// What is remembered of a source's files when they are added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Remembered {
    source: String,
    at: Timestamp,
    files: BTreeMap<String, Stamp>,
}

/// A file's stamp: as long as it holds, the content is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    modified: i64,
    nanos: i64,
    inode: u64,
    device: u64,
    digest: Digest,
}

impl Stamp {
    fn of(path: &Path) -> Result<Self, Error> {
        // The stamp first: a change while hashing then shows as another stamp later.
        let metadata = std::fs::metadata(path).map_err(Error::io("read", path))?;
        let digest = Objects::digest_path(path)?.digest;
        Ok(Self {
            size: metadata.size(),
            modified: metadata.mtime(),
            nanos: metadata.mtime_nsec(),
            inode: metadata.ino(),
            device: metadata.dev(),
            digest,
        })
    }

    /// Whether a file is surely what it was at `at`; if not, its bytes decide.
    fn holds(&self, metadata: &Metadata, at: Timestamp) -> bool {
        let modified_ms =
            metadata.mtime().saturating_mul(1000).saturating_add(metadata.mtime_nsec() / 1_000_000);
        self.size == metadata.size()
            && self.modified == metadata.mtime()
            && self.nanos == metadata.mtime_nsec()
            && self.inode == metadata.ino()
            && self.device == metadata.dev()
            && modified_ms.saturating_add(RACY) < at.millis()
    }
}

impl Datasets {
    /// Where a dataset stands.
    ///
    /// # Errors
    /// When the store or a file of the source cannot be read.
    pub async fn status(&self, intake: &Intake, root: &Path) -> Result<DatasetStatus, Error> {
        let meta = self.store.meta();
        let latest = self.latest(&intake.dataset).await?;
        let versions = meta.dataset_versions(&intake.dataset).await?.len();
        let last = meta.journal(&reference::dataset(&intake.dataset), 1).await?.into_iter().next();
        let source_state = match &latest {
            None => SourceState::New,
            Some(version) if version.source != intake.source.to_string() => SourceState::Another,
            Some(_) => self.source_state(intake, root).await?,
        };
        Ok(DatasetStatus {
            dataset: intake.dataset.clone(),
            source: intake.source.to_string(),
            checks: intake.suite.len(),
            latest,
            versions,
            source_state,
            last,
        })
    }

    async fn source_state(&self, intake: &Intake, root: &Path) -> Result<SourceState, Error> {
        match &intake.source {
            // An exact version of a package never changes.
            Source::PyPi { .. } => return Ok(SourceState::Unchanged),
            Source::Http { sha256: Some(_), .. } => return Ok(SourceState::Unchanged),
            Source::Http { sha256: None, .. } => return Ok(SourceState::Remote),
            Source::Path(_) | Source::Glob(_) => {}
        }
        let remembered = match self.store.meta().setting(&key(&intake.dataset)).await? {
            Some(text) => serde_json::from_str::<Remembered>(&text).ok(),
            None => None,
        };
        // Without a note the source was given on the command line as a file of its own.
        let Some(remembered) = remembered else { return Ok(SourceState::Another) };
        let (source, root) = (intake.source.clone(), root.to_owned());
        blocking(move || compare(&source, &root, &remembered)).await
    }

    /// Remembers a local source's files as they are now, for [`Datasets::status`].
    ///
    /// # Errors
    /// When a file or the store cannot be read or written.
    pub async fn remember_source(&self, intake: &Intake, root: &Path) -> Result<(), Error> {
        if !intake.source.is_local() {
            return Ok(());
        }
        let (source, root, at) = (intake.source.clone(), root.to_owned(), self.clock.now());
        let remembered = blocking(move || {
            let mut files = BTreeMap::new();
            for (name, path) in local_files(&source, &root)? {
                files.insert(name, Stamp::of(&path)?);
            }
            Ok(Remembered { source: source.to_string(), at, files })
        })
        .await?;
        let text = serde_json::to_string(&remembered)
            .map_err(|source| Error::Record { what: "note of a source".to_owned(), source })?;
        self.store.meta().set_setting(&key(&intake.dataset), &text).await?;
        Ok(())
    }
}

fn key(dataset: &str) -> String {
    format!("data/source/{dataset}")
}

fn compare(source: &Source, root: &Path, remembered: &Remembered) -> Result<SourceState, Error> {
    if remembered.source != source.to_string() {
        return Ok(SourceState::Another);
    }
    let now: BTreeMap<String, PathBuf> = match local_files(source, root) {
        Ok(files) => files.into_iter().collect(),
        Err(Error::SourceNotFound { .. }) => return Ok(SourceState::Missing),
        Err(error) => return Err(error),
    };
    let mut changed: Vec<String> =
        remembered.files.keys().filter(|name| !now.contains_key(*name)).cloned().collect();
    for (name, path) in &now {
        let same = match remembered.files.get(name) {
            None => false,
            Some(stamp) => {
                let metadata = std::fs::metadata(path).map_err(Error::io("read", path))?;
                stamp.holds(&metadata, remembered.at)
                    || stamp.size == metadata.size() && Objects::digest_path(path)?.digest == stamp.digest
            }
        };
        if !same {
            changed.push(name.clone());
        }
    }
    if changed.is_empty() {
        return Ok(SourceState::Unchanged);
    }
    changed.sort();
    changed.truncate(10);
    Ok(SourceState::Changed { files: changed })
}
