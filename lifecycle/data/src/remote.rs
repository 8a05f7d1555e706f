//! Versions that travel: to a remote, and from there to another machine.
//!
//! A version in a remote is a note with its record and the objects that it names; it may be that of any
//! machine, since its identity is its content. Which version is the latest is each store's own matter: what
//! is pulled becomes it, with a line in the journal that says from where.

use std::collections::BTreeMap;

use bytes::Bytes;
use rondo_core::handoff::DatasetVersion;
use rondo_core::journal::Because;
use rondo_core::{Digest, id, suggest};
use rondo_remote::{Need, Pulled, Pushed, Remote};
use serde::Serialize;

use crate::{Datasets, Error};

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PushReport {
    /// The remote.
    pub remote: String,
    /// The versions that are there now.
    pub versions: Vec<DatasetVersion>,
    /// Files and listings that it lacked.
    pub objects: u64,
    /// Their bytes.
    pub size: u64,
    /// Bytes that were sent.
    pub sent: u64,
}

/// What became of a pull.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PullReport {
    /// The remote.
    pub remote: String,
    /// The versions that are here now, each with whether it was new here.
    pub versions: Vec<Arrived>,
    /// Files and listings that were lacking here.
    pub objects: u64,
    /// Bytes that came.
    pub received: u64,
}

/// A version after a pull.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Arrived {
    /// The version.
    pub version: DatasetVersion,
    /// Whether this store did not know it.
    pub new: bool,
}

impl Datasets {
    /// Sends versions, with their profiles, to a remote.
    ///
    /// # Errors
    /// When an object of one is not here, or the remote refuses.
    pub async fn push(&self, remote: &Remote, versions: &[DatasetVersion]) -> Result<PushReport, Error> {
        let needs: Vec<Need> = versions.iter().flat_map(needs).collect();
        let Pushed { objects, size, sent, .. } =
            remote.push(self.store.objects(), &needs, &*self.progress).await?;
        for version in versions {
            let text = serde_json::json!(version).to_string();
            remote.keep(&place(&version.dataset, version.digest), text).await?;
        }
        Ok(PushReport { remote: remote.address(), versions: versions.to_vec(), objects, size, sent })
    }

    /// Fetches versions of a remote: of each dataset the one that is pinned, or the newest that is there.
    ///
    /// # Errors
    /// When the remote has none, lacks an object of one, or cannot be reached.
    pub async fn pull(
        &self,
        remote: &Remote,
        wanted: &BTreeMap<String, Option<Digest>>,
        actor: &str,
    ) -> Result<PullReport, Error> {
        let mut found = Vec::new();
        for (dataset, pin) in wanted {
            found.push(match pin {
                Some(digest) => self.noted(remote, dataset, *digest).await?,
                None => self.newest(remote, dataset).await?,
            });
        }
        let needs: Vec<Need> = found.iter().flat_map(needs).collect();
        let Pulled { objects, received } = remote.pull(self.store.objects(), &needs, &*self.progress).await?;
        let mut versions = Vec::new();
        for version in found {
            let known = self.store.meta().dataset_version(&version.dataset, version.digest).await?;
            let latest = self.latest(&version.dataset).await?.map(|latest| latest.digest);
            if known.is_none() || latest != Some(version.digest) {
                let because = Because::new(actor, &format!("pulled from {}", remote.address()));
                self.store.meta().add_dataset_version_at(&version, because, self.clock.now()).await?;
            }
            versions.push(Arrived { new: known.is_none(), version });
        }
        Ok(PullReport { remote: remote.address(), versions, objects, received })
    }

    async fn noted(&self, remote: &Remote, dataset: &str, digest: Digest) -> Result<DatasetVersion, Error> {
        let name = place(dataset, digest);
        match remote.note(&name).await? {
            Some(text) => read(&text, dataset, digest)
                .ok_or_else(|| remote.corrupt(name, "it is no record of that version").into()),
            None => Err(Error::VersionNotFound { dataset: dataset.to_owned(), version: digest.short() }),
        }
    }

    async fn newest(&self, remote: &Remote, dataset: &str) -> Result<DatasetVersion, Error> {
        let mut newest: Option<DatasetVersion> = None;
        for name in remote.notes(&format!("dataset/{dataset}")).await? {
            let Ok(digest) = name.parse() else { continue };
            let version = self.noted(remote, dataset, digest).await?;
            if newest.as_ref().is_none_or(|known| known.added <= version.added) {
                newest = Some(version);
            }
        }
        match newest {
            Some(version) => Ok(version),
            None => {
                let names = remote.notes("dataset").await?;
                let names = names.iter().filter_map(|name| name.split('/').next());
                let near = suggest::nearest(dataset, names).map(str::to_owned);
                Err(Error::DatasetNotFound { name: dataset.to_owned(), near })
            }
        }
    }
}

fn needs(version: &DatasetVersion) -> impl Iterator<Item = Need> + use<> {
    let content = Need { digest: version.digest, folder: version.folder };
    [content].into_iter().chain(version.profile.map(Need::file))
}

fn place(dataset: &str, digest: Digest) -> String {
    format!("dataset/{dataset}/{}", digest.hex())
}

/// The record in a note, where it is of this version.
fn read(text: &Bytes, dataset: &str, digest: Digest) -> Option<DatasetVersion> {
    let version: DatasetVersion = serde_json::from_slice(text).ok()?;
    (version.dataset == dataset && version.digest == digest && id::is_name(dataset)).then_some(version)
}
