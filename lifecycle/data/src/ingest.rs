//! Taking data in: from fetched files to a version of a dataset.
//!
//! In this order: hash, check, profile, store, and only then one transaction that adds the version and
//! moves `dataset/<name>@latest` to it. Data that break a check change nothing. Content that is the
//! latest version already makes no new one.
//!
//! A dataset of one file is replaced whole. A dataset that is a folder may grow by parts: the new version
//! is the old listing and one file more; neither the old parts' bytes nor their checks and profiles are
//! touched again, since both are remembered by the digest of the file.

use std::path::{Path, PathBuf};

use rondo_core::handoff::DatasetVersion;
use rondo_core::id::is_name;
use rondo_core::journal::Because;
use rondo_core::ports::Event;
use rondo_core::signature::Column;
use rondo_core::{Digest, Timestamp};
use rondo_project::project;
use rondo_store::meta::journal::Expect;
use rondo_store::objects::{Stored, Take};
use rondo_table::profile::Profile;
use rondo_table::read::ReadOptions;
use serde::Serialize;
use serde_json::json;

use crate::check::{FileReport, Suite};
use crate::fetch::{Content, Fetched, Fetcher, blocking};
use crate::listing::{Leaf, Listing, leaf_of};
use crate::parts::{Part, parts_of};
use crate::versions::Datasets;
use crate::{Error, Source, table};

/// How often an addition starts again because somebody else was faster.
const ATTEMPTS: u32 = 8;

/// What is to be taken in, and under which conditions.
#[derive(Debug, Clone)]
pub struct Intake {
    /// The dataset's name.
    pub dataset: String,
    /// Where it comes from.
    pub source: Source,
    /// What it must satisfy.
    pub suite: Suite,
    /// How its files are read.
    pub options: ReadOptions,
    /// How its rows arrive over time, where they do.
    pub parts: Option<project::Parts>,
    /// Who adds it, and why.
    pub because: Because,
}

/// What became of an addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// There is a new version.
    Added,
    /// The content is the latest version already; nothing was done.
    Unchanged,
    /// The content is an earlier version, which is the latest again.
    Returned,
}

/// The result of an addition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Added {
    /// What became of it.
    pub outcome: Outcome,
    /// The version that is the latest now.
    pub version: DatasetVersion,
    /// The part that was added, of a dataset that grows by parts.
    pub part: Option<String>,
    /// What the checks said, for each file that was checked now.
    pub checked: Vec<FileReport>,
}

/// One file on its way in.
struct Incoming {
    name: String,
    path: PathBuf,
    leaf: Leaf,
}

impl Intake {
    /// What a project declares of a dataset.
    ///
    /// # Errors
    /// When its source, format or checks cannot be understood.
    pub fn declared(name: &str, dataset: &project::Dataset, because: Because) -> Result<Self, Error> {
        if !is_name(name) {
            return Err(Error::Name { kind: "dataset", name: name.to_owned() });
        }
        Ok(Self {
            dataset: name.to_owned(),
            source: Source::parse(&dataset.source)?,
            suite: Suite::parse(&format!("dataset `{name}`"), &dataset.checks)?,
            options: table::options(dataset.format.as_deref())?,
            parts: dataset.parts.clone(),
            because,
        })
    }

    /// A dataset without checks, from a source.
    ///
    /// # Errors
    /// When the name cannot be a dataset's, or the source cannot be understood.
    pub fn plain(name: &str, source: &str, because: Because) -> Result<Self, Error> {
        let dataset = project::Dataset {
            source: source.to_owned(),
            format: None,
            time: None,
            parts: None,
            checks: Vec::new(),
            description: None,
        };
        Self::declared(name, &dataset, because)
    }
}

impl Datasets {
    /// Fetches a dataset and takes it in: whole, or, where it is declared in parts, part by part in the
    /// order of time, those that end by `until` (all where absent). One version for each addition.
    ///
    /// # Errors
    /// As [`Fetcher::fetch`] and [`Datasets::add`]; parts before one that is refused stay added.
    pub async fn bring(
        &self,
        fetcher: &Fetcher,
        intake: &Intake,
        root: &Path,
        until: Option<Timestamp>,
    ) -> Result<Vec<Added>, Error> {
        let fetched = fetcher.fetch(&intake.source, root).await?;
        let added = match &intake.parts {
            None => vec![self.add(intake, &fetched).await?],
            Some(parts) => {
                let mut added = Vec::new();
                for part in parts_of(&fetched, parts, fetcher.cache()).await? {
                    if until.is_none_or(|until| part.until <= until) {
                        added.push(self.add_part(intake, &part, &fetched.source).await?);
                    }
                }
                added
            }
        };
        self.remember_source(intake, root).await?;
        Ok(added)
    }

    /// The parts of a dataset that is declared in parts, in the order of time, without adding them.
    ///
    /// # Errors
    /// As [`Fetcher::fetch`], and when it is not declared in parts or cannot be split.
    pub async fn parts(&self, fetcher: &Fetcher, intake: &Intake, root: &Path) -> Result<Vec<Part>, Error> {
        let Some(parts) = &intake.parts else {
            let dataset = intake.dataset.clone();
            return Err(Error::Shape { dataset, found: "one whole", expected: "in parts" });
        };
        let fetched = fetcher.fetch(&intake.source, root).await?;
        parts_of(&fetched, parts, fetcher.cache()).await
    }

    /// Takes fetched files in as a whole: the next version is what they are.
    ///
    /// # Errors
    /// When a check fails (then nothing has changed), a file is no table although it should be, or the
    /// store refuses.
    pub async fn add(&self, intake: &Intake, fetched: &Fetched) -> Result<Added, Error> {
        let files = fetched.files();
        let folder = matches!(fetched.content, Content::Folder(_));
        let (listing, incoming) = blocking(move || {
            let listing = Listing::of_files(&files)?;
            let incoming: Vec<Incoming> = files
                .into_iter()
                .filter_map(|(name, path)| {
                    let leaf = *listing.files().get(&name)?;
                    Some(Incoming { name, path, leaf })
                })
                .collect();
            Ok((listing, incoming))
        })
        .await?;
        for _ in 0..ATTEMPTS {
            let previous = self.latest(&intake.dataset).await?;
            let draft = Draft { intake, previous: previous.as_ref(), listing: &listing, folder, part: None };
            match self.add_draft(&draft, &incoming, &fetched.source).await {
                Err(Error::Store(rondo_store::Error::RefMoved { .. })) => {}
                result => return result,
            }
        }
        Err(self.moved(&intake.dataset))
    }

    /// Takes one more part in: the next version is the latest one and this file, or the latest with this
    /// file in the place of the part of its name.
    ///
    /// # Errors
    /// As [`Datasets::add`], and when the dataset is a single file.
    pub async fn add_part(&self, intake: &Intake, part: &Part, source: &str) -> Result<Added, Error> {
        let path = part.path.clone();
        let leaf = blocking(move || leaf_of(&path)).await?;
        for _ in 0..ATTEMPTS {
            let previous = self.latest(&intake.dataset).await?;
            let mut listing = match &previous {
                Some(version) if version.folder => Listing::read(self.store.objects(), version.digest)?,
                Some(_) => {
                    let dataset = intake.dataset.clone();
                    return Err(Error::Shape {
                        dataset,
                        found: "a single file",
                        expected: "a folder of parts",
                    });
                }
                None => Listing::default(),
            };
            listing.insert(&part.name, leaf);
            let incoming = [Incoming { name: part.name.clone(), path: part.path.clone(), leaf }];
            let name = Some(part.name.as_str());
            let draft =
                Draft { intake, previous: previous.as_ref(), listing: &listing, folder: true, part: name };
            match self.add_draft(&draft, &incoming, source).await {
                Err(Error::Store(rondo_store::Error::RefMoved { .. })) => {}
                result => return result,
            }
        }
        Err(self.moved(&intake.dataset))
    }

    /// What to do with content that is a version already, where it is.
    async fn known(&self, draft: &Draft<'_>) -> Result<Option<Added>, Error> {
        let Draft { intake, previous, part, .. } = draft;
        let part = part.map(str::to_owned);
        let digest = address(draft.listing, draft.folder)?.digest;
        if let Some(version) = previous.filter(|version| version.digest == digest) {
            let version = version.clone();
            return Ok(Some(Added { outcome: Outcome::Unchanged, version, part, checked: Vec::new() }));
        }
        let Some(version) = self.store.meta().dataset_version(&intake.dataset, digest).await? else {
            return Ok(None);
        };
        let name = rondo_core::reference::dataset(&intake.dataset);
        let because = intake.because.clone();
        self.store
            .meta()
            .move_ref(&name, expected(*previous), Some(digest), because, self.clock.now())
            .await?;
        Ok(Some(Added { outcome: Outcome::Returned, version, part, checked: Vec::new() }))
    }

    async fn add_draft(
        &self,
        draft: &Draft<'_>,
        incoming: &[Incoming],
        source: &str,
    ) -> Result<Added, Error> {
        if let Some(added) = self.known(draft).await? {
            return Ok(added);
        }
        let subject = draft.intake.dataset.clone();
        let what = draft.part.map_or_else(|| "the data".to_owned(), |part| format!("`{part}`"));
        self.progress
            .report(Event::Started { subject: subject.clone(), message: format!("checking {what}") });
        let result = self.add_checked(draft, incoming, source).await;
        let message = match &result {
            Ok(added) => match added.version.rows {
                Some(rows) => format!("added {what}: {rows} rows in {} files", added.version.files),
                None => format!("added {what}: {} files", added.version.files),
            },
            Err(error) => error.to_string(),
        };
        self.progress.report(Event::Ended { subject, ok: result.is_ok(), message });
        result
    }

    async fn add_checked(
        &self,
        draft: &Draft<'_>,
        incoming: &[Incoming],
        source: &str,
    ) -> Result<Added, Error> {
        let intake = draft.intake;
        let checked = self.check_incoming(draft, incoming).await?;
        let profile = self.profile_draft(draft, incoming).await?;
        let stored = self.keep(draft, incoming).await?;
        let profile_digest = match &profile {
            Some(profile) => Some(self.keep_profile(profile).await?),
            None => None,
        };
        let rows = profile.as_ref().map(|profile| profile.rows);
        let version = DatasetVersion {
            dataset: intake.dataset.clone(),
            digest: stored.digest,
            folder: stored.folder,
            size: stored.size,
            files: stored.files,
            rows,
            columns: profile.as_ref().map(columns_of).unwrap_or_default(),
            profile: profile_digest,
            source: source.to_owned(),
            parent: draft.previous.map(|version| version.digest),
            added: self.clock.now(),
        };
        let mut because = intake.because.clone();
        if because.evidence.is_null() {
            because.evidence = json!({
                "rows": rows, "files": stored.files, "part": draft.part,
                "checks": intake.suite.len(), "warnings": checked.iter().map(FileReport::warnings).sum::<usize>(),
            });
        }
        self.store.meta().add_dataset_version_after(&version, expected(draft.previous), because).await?;
        let part = draft.part.map(str::to_owned);
        Ok(Added { outcome: Outcome::Added, version, part, checked })
    }

    /// Checks what comes in, file by file, and then, where rules ask for it, the whole.
    async fn check_incoming(
        &self,
        draft: &Draft<'_>,
        incoming: &[Incoming],
    ) -> Result<Vec<FileReport>, Error> {
        let intake = draft.intake;
        if intake.suite.is_empty() {
            return Ok(Vec::new());
        }
        let mut reports = Vec::new();
        let tables: Vec<&Incoming> =
            incoming.iter().filter(|file| table::is_table(&file.name, &intake.options)).collect();
        if tables.is_empty() {
            return Err(Error::NoTable { dataset: intake.dataset.clone() });
        }
        let total = tables.len() as u64;
        for (done, file) in tables.iter().enumerate() {
            let key = table::passed_key(&file.name, intake.suite.digest(), file.leaf.digest, &intake.options);
            if self.store.meta().setting(&key).await?.is_some() {
                continue;
            }
            let (suite, options) = (intake.suite.clone(), intake.options.clone());
            let (name, path) = (file.name.clone(), file.path.clone());
            let report = blocking(move || suite.check_file(&name, &path, &options)).await?;
            if report.passed() {
                self.store.meta().set_setting(&key, "passed").await?;
            }
            reports.push(report);
            self.progress.report(Event::Advanced {
                subject: intake.dataset.clone(),
                done: done as u64 + 1,
                total: Some(total),
                message: format!("checked `{}`", file.name),
            });
        }
        if intake.suite.has_whole() {
            reports.push(self.check_whole(draft, incoming).await?);
        }
        if reports.iter().all(FileReport::passed) {
            return Ok(reports);
        }
        reports.retain(|report| !report.passed());
        Err(Error::ChecksFailed { dataset: intake.dataset.clone(), reports })
    }

    /// Checks all parts as one table, the new ones where they lie and the old ones in the store.
    async fn check_whole(&self, draft: &Draft<'_>, incoming: &[Incoming]) -> Result<FileReport, Error> {
        let intake = draft.intake;
        let mut paths = Vec::new();
        for (name, leaf) in draft.listing.files() {
            if !table::is_table(name, &intake.options) {
                continue;
            }
            let path = match incoming.iter().find(|file| file.name == *name) {
                Some(file) => file.path.clone(),
                None => self.store.objects().require(leaf.digest)?,
            };
            paths.push((name.clone(), path));
        }
        let (suite, options) = (intake.suite.clone(), intake.options.clone());
        let (what, scratch) = (intake.dataset.clone(), self.scratch());
        blocking(move || {
            let folder = table::folder_of_links(&paths, &scratch)?;
            suite.check_whole(&what, folder.path(), &options)
        })
        .await
    }

    /// The profile of the whole: that of the latest version and the new part's, or all parts' merged.
    async fn profile_draft(
        &self,
        draft: &Draft<'_>,
        incoming: &[Incoming],
    ) -> Result<Option<Profile>, Error> {
        if let (Some(previous), Some(part), [file]) = (draft.previous, draft.part, incoming) {
            // Merged in the order of the names, as if all were merged anew, so that the profile depends on
            // the content and not on its history.
            let last = draft.listing.files().keys().next_back().is_some_and(|name| name == part);
            let grown = draft.listing.files().len() as u64 == previous.files + 1;
            if let Some(digest) = previous.profile.filter(|_| last && grown)
                && let Some(new) = self.file_profile(draft.intake, file).await?
                && let Ok(old) = self.stored_profile(digest).await
            {
                return Ok(Some(old.merge(&new)?));
            }
        }
        let mut whole: Option<Profile> = None;
        for (name, leaf) in draft.listing.files() {
            let file = match incoming.iter().find(|file| file.name == *name) {
                Some(file) => Incoming { name: name.clone(), path: file.path.clone(), leaf: *leaf },
                None => {
                    let path = self.store.objects().require(leaf.digest)?;
                    Incoming { name: name.clone(), path, leaf: *leaf }
                }
            };
            if let Some(profile) = self.file_profile(draft.intake, &file).await? {
                whole = Some(match whole {
                    Some(whole) => whole.merge(&profile)?,
                    None => profile,
                });
            }
        }
        Ok(whole)
    }

    /// The profile of one file, remembered by its digest; nothing for what is no table.
    async fn file_profile(&self, intake: &Intake, file: &Incoming) -> Result<Option<Profile>, Error> {
        if !table::is_table(&file.name, &intake.options) {
            return Ok(None);
        }
        let key = table::profile_key(&file.name, file.leaf.digest, &intake.options);
        if let Some(known) = self.store.meta().setting(&key).await? {
            // A note that leads nowhere, or to a profile of an older form, is made anew.
            if let Ok(digest) = known.parse()
                && let Ok(profile) = self.stored_profile(digest).await
            {
                return Ok(Some(profile));
            }
        }
        let (name, path, options) = (file.name.clone(), file.path.clone(), intake.options.clone());
        let profile = blocking(move || table::profile(&name, &path, &options)).await?;
        let digest = self.keep_profile(&profile).await?;
        self.store.meta().set_setting(&key, &digest.hex()).await?;
        Ok(Some(profile))
    }

    async fn keep_profile(&self, profile: &Profile) -> Result<Digest, Error> {
        let text = profile.to_json()?;
        let objects = self.store.objects().clone();
        blocking(move || Ok(objects.put_bytes(text.as_bytes())?.digest)).await
    }

    /// Stores the files, which must be what was checked, and the listing.
    async fn keep(&self, draft: &Draft<'_>, incoming: &[Incoming]) -> Result<Stored, Error> {
        let objects = self.store.objects().clone();
        let files: Vec<(PathBuf, Digest)> =
            incoming.iter().map(|file| (file.path.clone(), file.leaf.digest)).collect();
        let (listing, folder) = (draft.listing.clone(), draft.folder);
        blocking(move || {
            for (path, digest) in files {
                if objects.put_path(&path, Take::Keep)?.digest != digest {
                    return Err(Error::Changed { path });
                }
            }
            if folder { listing.store(&objects) } else { address(&listing, false) }
        })
        .await
    }

    fn moved(&self, dataset: &str) -> Error {
        Error::Store(rondo_store::Error::RefMoved {
            name: rondo_core::reference::dataset(dataset),
            expected: "the version it was".to_owned(),
            found: "another each time".to_owned(),
        })
    }
}

/// A version that is being made.
struct Draft<'a> {
    intake: &'a Intake,
    previous: Option<&'a DatasetVersion>,
    listing: &'a Listing,
    folder: bool,
    part: Option<&'a str>,
}

/// What the content is: of a folder its listing, of a file its bytes.
fn address(listing: &Listing, folder: bool) -> Result<Stored, Error> {
    let mut leaves = listing.files().values();
    match (folder, leaves.next(), leaves.next()) {
        (false, Some(leaf), None) => {
            Ok(Stored { digest: leaf.digest, size: leaf.size, files: 1, folder: false })
        }
        (_, _, _) => listing.stored(),
    }
}

fn expected(previous: Option<&DatasetVersion>) -> Expect {
    previous.map_or(Expect::Absent, |version| Expect::At(version.digest))
}

fn columns_of(profile: &Profile) -> Vec<Column> {
    profile
        .columns
        .iter()
        .map(|column| Column {
            name: column.name.clone(),
            column_type: column.column_type,
            nullable: column.nulls > 0,
        })
        .collect()
}

#[cfg(test)]
mod tests;
