//! Where each dataset stands: its latest version, and whether its source has changed since.
//!
//! Only what lies on this machine is looked at, and of that only what has another size, time or inode than
//! when it was seen last is read. No network is used unless that is wished ([`Datasets::remote_status`]). That a file was seen and is still the same may be
//! remembered, so that it is not read the next time either; nothing else is written.

use std::path::Path;

use rondo_core::handoff::{DatasetVersion, Origin};
use rondo_core::journal::JournalEntry;
use rondo_core::{Digest, reference};
use rondo_store::scan::Difference;
use serde::Serialize;

use crate::diff::FileChanges;
use crate::fetch::{Fetcher, blocking};
use crate::ingest::Intake;
use crate::place::{Look, Looker, Place};
use crate::versions::Datasets;
use crate::{Error, Source};

/// So many changed files are named.
const NAMED: usize = 10;

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
        /// How many have come.
        added: usize,
        /// How many have gone.
        removed: usize,
        /// How many have other content.
        changed: usize,
        /// How many have another name.
        renamed: usize,
        /// The version of the dataset that the files are, where they are another one.
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<Digest>,
    },
    /// It is not there any more.
    Missing,
    /// The declared source is not the one that the latest version came from.
    Another,
    /// It is elsewhere and was not asked.
    Remote,
    /// It is elsewhere, was asked, and did not answer.
    Unreachable {
        /// Why not.
        reason: String,
    },
    /// It is elsewhere and in another state than when the latest version was added.
    Moved {
        /// The state that it was in then, where that is known.
        before: Option<String>,
        /// The state that it is in now.
        now: Option<String>,
    },
    /// It is to be read in another way than the latest version was.
    Reread,
    /// Nothing has been added yet.
    New,
}

/// A version as people call it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Called {
    /// Its content.
    pub digest: Digest,
    /// Which it is, counted from 1 in the order in which versions were first added.
    pub number: usize,
    /// Its tags.
    pub tags: Vec<String>,
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
    /// What the files are where they are not the latest version but another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub here: Option<Called>,
    /// The last move of its ref: when, who, why, with rows and checks as evidence.
    pub last: Option<JournalEntry>,
}

impl Datasets {
    /// Where a dataset stands.
    ///
    /// # Errors
    /// When the store or a file of the source cannot be read.
    pub async fn status(&self, intake: &Intake, root: &Path) -> Result<DatasetStatus, Error> {
        let meta = self.store.meta();
        let latest = self.latest(&intake.dataset).await?;
        let numbered = meta.numbered_versions(&intake.dataset).await?;
        let last = meta.journal(&reference::dataset(&intake.dataset), 1).await?.into_iter().next();
        let source_state = match &latest {
            None => SourceState::New,
            Some(version) => self.state_since(intake, root, version).await?,
        };
        let here = match source_state {
            SourceState::Changed { version: Some(here), .. } => {
                let found = numbered.iter().find(|(_, version)| version.digest == here);
                let number = found.map(|(number, _)| *number);
                let tags = self.tags(Some(&intake.dataset)).await?.into_iter();
                let tags = tags.filter(|tag| tag.digest == here).map(|tag| tag.tag).collect();
                number.map(|number| Called { digest: here, number, tags })
            }
            _ => None,
        };
        Ok(DatasetStatus {
            dataset: intake.dataset.clone(),
            source: intake.source.to_string(),
            checks: intake.suite.len(),
            latest,
            versions: numbered.len(),
            source_state,
            here,
            last,
        })
    }

    /// The same, with sources that are elsewhere asked whether they have changed: one question each. What a
    /// database would answer is only known by asking it the whole query, which is not done.
    ///
    /// # Errors
    /// As [`Datasets::status`]. That a source cannot be reached is told of it and no error.
    pub async fn remote_status(
        &self,
        fetcher: &Fetcher,
        intake: &Intake,
        root: &Path,
    ) -> Result<DatasetStatus, Error> {
        let mut status = self.status(intake, root).await?;
        let latest = status.latest.as_ref().map(|version| &version.origin);
        if let (SourceState::Remote, Some(origin)) = (&status.source_state, latest) {
            status.source_state = match fetcher.state(&intake.source, root).await {
                Ok(Some(now)) => compared(origin, &now),
                Ok(None) => asked_otherwise(fetcher, intake, origin, root).await?,
                Err(Error::SourceNotFound { .. }) => SourceState::Missing,
                Err(error) => SourceState::Unreachable { reason: error.to_string() },
            };
        }
        Ok(status)
    }

    /// Whether the source is what a version was made of.
    ///
    /// # Errors
    /// As [`Datasets::status`].
    pub async fn state_since(
        &self,
        intake: &Intake,
        root: &Path,
        version: &DatasetVersion,
    ) -> Result<SourceState, Error> {
        if version.source != intake.source.to_string() {
            return Ok(SourceState::Another);
        }
        if !version.origin.reads_as(&intake.origin) {
            return Ok(SourceState::Reread);
        }
        self.source_state(intake, root, version).await
    }

    async fn source_state(
        &self,
        intake: &Intake,
        root: &Path,
        latest: &DatasetVersion,
    ) -> Result<SourceState, Error> {
        match &intake.source {
            // An exact version of a package never changes.
            Source::PyPi { .. } | Source::Http { sha256: Some(_), .. } => return Ok(SourceState::Unchanged),
            Source::Http { sha256: None, .. } => return Ok(SourceState::Remote),
            Source::Bucket { .. } | Source::Database { .. } => return Ok(SourceState::Remote),
            Source::Path(_) | Source::Glob(_) => {}
        }
        let (source, root) = (intake.source.clone(), root.to_owned());
        let place = match blocking(move || Place::of(&source, &root)).await {
            Ok(Some(place)) => Place { plain: place.plain && intake.parts.is_none(), ..place },
            Ok(None) => return Ok(SourceState::Remote),
            Err(Error::SourceNotFound { .. }) => return Ok(SourceState::Missing),
            Err(error) => return Err(error),
        };
        let looker = self.looker(intake, true);
        let known = looker.index().await?;
        let (datasets, latest) = (self.clone(), latest.clone());
        let mut state = blocking(move || {
            let look = looker.look(&place, known, false)?;
            datasets.judge(&look, &looker, &place, &latest)
        })
        .await?;
        if let SourceState::Changed { version, .. } = &mut state
            && let Some(digest) = *version
            && self.store.meta().dataset_version(&intake.dataset, digest).await?.is_none()
        {
            *version = None;
        }
        Ok(state)
    }

    fn judge(
        &self,
        look: &Look,
        looker: &Looker,
        place: &Place,
        latest: &DatasetVersion,
    ) -> Result<SourceState, Error> {
        let of_latest = look.index.as_ref().filter(|index| index.version == Some(latest.digest));
        let as_before = of_latest.is_some_and(|index| index.digest == look.stored.digest);
        if as_before || place.plain && look.stored.digest == latest.digest {
            // A hint that cannot be written is made again.
            let _ = look.remember(looker, Some(latest.digest));
            return Ok(SourceState::Unchanged);
        }
        let changes = match of_latest.and_then(|index| look.scan.changes(index)) {
            Some(differences) => FileChanges::of(differences.into_iter().map(sides)),
            None if place.plain => self.changes_since(look, latest)?,
            None => {
                let name = place.path.file_name().map(|name| name.to_string_lossy().into_owned());
                FileChanges { changed: name.into_iter().collect(), ..FileChanges::default() }
            }
        };
        let of_another = look.index.as_ref().filter(|index| index.digest == look.stored.digest);
        let plain = place.plain.then_some(look.stored.digest);
        Ok(state(&changes, plain.or_else(|| of_another.and_then(|index| index.version))))
    }

    /// What has changed since a version, where nothing was remembered of it.
    fn changes_since(&self, look: &Look, latest: &DatasetVersion) -> Result<FileChanges, Error> {
        let before = self.files_of(latest)?;
        let mut now = std::collections::BTreeMap::new();
        for file in look.scan.files(look.index.as_ref(), &|_| true)? {
            let name = if latest.folder { file.path.clone() } else { latest.dataset.clone() };
            now.insert(name, crate::listing::Leaf::from(&file));
        }
        Ok(crate::diff::file_changes(&before, &now))
    }
}

/// What can be said of two states of one source.
fn compared(before: &Origin, now: &Origin) -> SourceState {
    let same = match (&before.state, &now.state) {
        (Some(before), Some(now)) => before == now,
        // Without a name for its state a server's word on the time has to do, and without that nothing does.
        _ => before.modified.is_some() && before.modified == now.modified,
    };
    let told = |origin: &Origin| origin.state.clone().or_else(|| origin.modified.clone());
    match (same, told(before), told(now)) {
        (true, ..) => SourceState::Unchanged,
        (false, _, None) => SourceState::Remote,
        (false, before, now) => SourceState::Moved { before, now },
    }
}

/// Of a database only whether it is asked the same.
async fn asked_otherwise(
    fetcher: &Fetcher,
    intake: &Intake,
    origin: &Origin,
    root: &Path,
) -> Result<SourceState, Error> {
    let Source::Database { query: Some(query), .. } = &intake.source else { return Ok(SourceState::Remote) };
    let sql = fetcher.sql(query, root).await?;
    Ok(if origin.query.as_deref() == Some(sql.as_str()) { SourceState::Remote } else { SourceState::Another })
}

fn sides(difference: Difference) -> (String, Option<crate::listing::Leaf>, Option<crate::listing::Leaf>) {
    let leaf = |file: &Option<rondo_store::scan::SeenFile>| file.as_ref().map(crate::listing::Leaf::from);
    let (before, after) = (leaf(&difference.before), leaf(&difference.after));
    let path = difference.after.or(difference.before).map_or_else(String::new, |file| file.path);
    (path, before, after)
}

fn state(changes: &FileChanges, version: Option<Digest>) -> SourceState {
    let renamed = changes.renamed.iter().map(|renamed| &renamed.to);
    let mut files: Vec<String> = changes
        .changed
        .iter()
        .chain(&changes.added)
        .chain(&changes.removed)
        .chain(renamed)
        .cloned()
        .collect();
    files.sort();
    files.truncate(NAMED);
    SourceState::Changed {
        files,
        added: changes.added.len(),
        removed: changes.removed.len(),
        changed: changes.changed.len(),
        renamed: changes.renamed.len(),
        version,
    }
}
