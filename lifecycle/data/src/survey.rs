//! Whether what versions need is in a remote and is what its name says; and sending anew what is not.

use rondo_core::Digest;
use rondo_core::handoff::DatasetVersion;
use rondo_remote::{Need, Remote, Spoilt};
use serde::Serialize;

use crate::remote::needs;
use crate::{Datasets, Error};

/// What was found in a remote.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RemoteReport {
    /// The remote.
    pub remote: String,
    /// Versions that it has a record of, of the datasets that were asked for.
    pub versions: usize,
    /// Packs.
    pub packs: u64,
    /// Objects and chunks in them.
    pub objects: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Objects and chunks that cannot be had there, now.
    pub broken: Vec<Spoilt>,
    /// Versions of which something cannot be had there, now.
    pub lacking: Vec<(String, Digest)>,
    /// How many objects and chunks could not be had, and can.
    pub healed: usize,
    /// Bytes that were sent for it.
    pub sent: u64,
}

impl Datasets {
    /// Reads all that a remote holds. With `heal` what is not whole there and is here is sent again.
    ///
    /// # Errors
    /// When there is no remote, it cannot be reached, or has no such dataset.
    pub async fn verify_remote(
        &self,
        remote: &Remote,
        datasets: &[String],
        heal: bool,
    ) -> Result<RemoteReport, Error> {
        remote.exists().await?;
        let versions = self.noted_versions(remote, datasets).await?;
        let survey = remote.survey(true, &*self.progress).await?;
        let mut report = RemoteReport {
            remote: remote.address(),
            versions: versions.len(),
            packs: survey.packs,
            objects: survey.blobs,
            bytes: survey.bytes,
            broken: survey.spoilt.clone(),
            lacking: Vec::new(),
            healed: 0,
            sent: 0,
        };
        let has = |index: &rondo_remote::Index, need: &Need| match need.folder {
            true => index.has_folder(need.digest),
            false => index.has_file(need.digest),
        };
        let whole = |index: &rondo_remote::Index, version: &DatasetVersion| {
            needs(version).all(|need| has(index, &need))
        };
        let also: Vec<Need> = versions
            .iter()
            .filter(|version| !whole(&survey.index, version))
            .flat_map(needs)
            .filter(|need| !has(&survey.index, need))
            .collect();
        if !heal || survey.is_sound() && also.is_empty() {
            let lacking = versions.iter().filter(|version| !whole(&survey.index, version));
            report.lacking = lacking.map(|version| (version.dataset.clone(), version.digest)).collect();
            return Ok(report);
        }
        report.sent = remote.mend(self.store.objects(), survey, &also, &*self.progress).await?.sent;
        let index = remote.index().await?;
        let before = report.broken.len();
        report.broken.retain(|one| !index.has_file(one.digest));
        report.healed = before - report.broken.len();
        let lacking = versions.iter().filter(|version| !whole(&index, version));
        report.lacking = lacking.map(|version| (version.dataset.clone(), version.digest)).collect();
        Ok(report)
    }

    /// The versions that a remote has a record of.
    async fn noted_versions(
        &self,
        remote: &Remote,
        datasets: &[String],
    ) -> Result<Vec<DatasetVersion>, Error> {
        let mut versions = Vec::new();
        for name in remote.notes("dataset").await? {
            let Some((dataset, Ok(digest))) = name.split_once('/').map(|(name, hex)| (name, hex.parse()))
            else {
                continue;
            };
            if datasets.is_empty() || datasets.iter().any(|wanted| wanted == dataset) {
                versions.push(self.noted(remote, dataset, digest).await?);
            }
        }
        let unknown = datasets.iter().find(|name| !versions.iter().any(|version| version.dataset == **name));
        match unknown {
            Some(name) => Err(Error::DatasetNotFound { name: name.clone(), near: None }),
            None => Ok(versions),
        }
    }
}
