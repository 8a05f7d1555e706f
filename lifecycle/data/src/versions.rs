//! The versions of datasets: which there are, and what a person means by naming one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rondo_core::handoff::DatasetVersion;
use rondo_core::journal::JournalEntry;
use rondo_core::ports::{Clock, Progress};
use rondo_core::{Digest, reference, suggest};
use rondo_store::Store;
use rondo_table::profile::Profile;
use serde::Serialize;

use crate::Error;

/// The datasets of a store. The other rooms of this crate give it its verbs. Cheap to clone.
#[derive(Clone)]
pub struct Datasets {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) progress: Arc<dyn Progress>,
}

/// One line of a dataset's history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogEntry {
    /// When, who, why.
    #[serde(flatten)]
    pub entry: JournalEntry,
    /// The version that is the latest since.
    pub version: Option<DatasetVersion>,
    /// Which version that is, counted from 1 in the order in which they were first added.
    pub number: Option<usize>,
    /// Its tags.
    pub tags: Vec<String>,
}

impl Datasets {
    /// The datasets of a store.
    pub fn new(store: Store, clock: Arc<dyn Clock>, progress: Arc<dyn Progress>) -> Self {
        Self { store, clock, progress }
    }

    /// The store.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The version that `dataset/<name>@latest` points to, where there is one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn latest(&self, dataset: &str) -> Result<Option<DatasetVersion>, Error> {
        match self.store.meta().target(&reference::dataset(dataset)).await? {
            Some(digest) => Ok(self.store.meta().dataset_version(dataset, digest).await?),
            None => Ok(None),
        }
    }

    /// A version by what people call it: `latest`, `previous`, a tag, its number from 1, or the beginning
    /// (six characters or more) of its digest.
    ///
    /// # Errors
    /// When there is no such dataset or version, or several begin so.
    pub async fn version(&self, dataset: &str, called: &str) -> Result<DatasetVersion, Error> {
        let numbered = self.store.meta().numbered_versions(dataset).await?;
        if numbered.is_empty() {
            return Err(self.unknown(dataset).await?);
        }
        let versions: Vec<&DatasetVersion> = numbered.iter().map(|(_, version)| version).collect();
        let not_found = || Error::VersionNotFound { dataset: dataset.to_owned(), version: called.to_owned() };
        let by_digest = |digest: Digest| versions.iter().copied().find(|version| version.digest == digest);
        let latest = self.store.meta().target(&reference::dataset(dataset)).await?.and_then(by_digest);
        let found = match called {
            "" | "latest" => latest,
            "previous" => latest.and_then(|latest| latest.parent).and_then(by_digest),
            tag => self.store.meta().target(&reference::tag(dataset, tag)).await?.and_then(by_digest),
        };
        let by_number = || {
            let wanted: usize = called.parse().ok()?;
            numbered.iter().find(|(number, _)| *number == wanted).map(|(_, version)| version)
        };
        let by_prefix = || {
            let hex = called.len() >= 6 && called.bytes().all(|byte| byte.is_ascii_hexdigit());
            let lower = called.to_lowercase();
            let mut matching =
                versions.iter().copied().filter(|version| hex && version.digest.hex().starts_with(&lower));
            match (matching.next(), matching.next()) {
                (Some(only), None) => Some(only),
                (None | Some(_), _) => None,
            }
        };
        found.or_else(by_number).or_else(by_prefix).cloned().ok_or_else(not_found)
    }

    /// What became of a dataset, newest first, with the reasons.
    ///
    /// # Errors
    /// When there is no such dataset.
    pub async fn log(&self, dataset: &str, limit: i64) -> Result<Vec<LogEntry>, Error> {
        let versions = self.store.meta().numbered_versions(dataset).await?;
        if versions.is_empty() {
            return Err(self.unknown(dataset).await?);
        }
        let mut tags: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        for tag in self.tags(Some(dataset)).await? {
            tags.entry(tag.digest).or_default().push(tag.tag);
        }
        let journal = self.store.meta().journal(&reference::dataset(dataset), limit).await?;
        Ok(journal
            .into_iter()
            .map(|entry| {
                let found = versions.iter().find(|(_, version)| Some(version.digest) == entry.to);
                let tags = entry.to.and_then(|to| tags.get(&to)).cloned().unwrap_or_default();
                let (number, version) = found.cloned().unzip();
                LogEntry { entry, version, number, tags }
            })
            .collect())
    }

    /// The profile of a version, where it is a table.
    ///
    /// # Errors
    /// When it is not in the store or cannot be read.
    pub async fn profile_of(&self, version: &DatasetVersion) -> Result<Option<Profile>, Error> {
        match version.profile {
            Some(digest) => Ok(Some(self.stored_profile(digest).await?)),
            None => Ok(None),
        }
    }

    /// A folder for what is needed on the way and is worth nothing after.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.store.root().join("scratch")
    }

    pub(crate) async fn stored_profile(&self, digest: Digest) -> Result<Profile, Error> {
        let objects = self.store.objects().clone();
        crate::fetch::blocking(move || {
            let bytes = objects.read(digest)?;
            Ok(Profile::from_json(&String::from_utf8_lossy(&bytes))?)
        })
        .await
    }

    pub(crate) async fn unknown(&self, dataset: &str) -> Result<Error, Error> {
        let names = self.store.meta().datasets().await?;
        let near = suggest::nearest(dataset, names.iter().map(String::as_str)).map(str::to_owned);
        Ok(Error::DatasetNotFound { name: dataset.to_owned(), near })
    }
}
