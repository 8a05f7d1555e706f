//! Taking data in: from fetched files to a version of a dataset.
//!
//! In this order: store (each file is read once for it), check, profile, and only then one transaction that adds the version and
//! moves `dataset/<name>@latest` to it. Data that break a check change nothing. Content that is the
//! latest version already makes no new one.
//!
//! A dataset of one file is replaced whole. A dataset that is a folder may grow by parts: the new version
//! is the old listing and one file more; neither the old parts' bytes nor their checks and profiles are
//! touched again, since both are remembered by the digest of the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rondo_core::handoff::{DatasetVersion, Origin};
use rondo_core::id::is_name;
use rondo_core::journal::Because;
use rondo_core::ports::Event;
use rondo_core::signature::Column;
use rondo_core::tree::Mode;
use rondo_core::{Digest, Timestamp};
use rondo_project::project;
use rondo_store::meta::journal::Expect;
use rondo_store::objects::{Stamp, Stored, Take};
use rondo_store::scan::Index;
use rondo_table::profile::Profile;
use rondo_table::read::ReadOptions;
use serde::Serialize;
use serde_json::json;

use crate::check::{FileReport, Suite};
use crate::fetch::{Bounds, Content, Fetched, Fetcher, blocking};
use crate::listing::{Leaf, Listing, leaf_of};
use crate::parts::{Part, parts_of};
use crate::place::{Look, Looker, Place};
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
    /// The declared format and ways of reading, as they were written.
    pub origin: Origin,
    /// How much the source may be, and how long it may take.
    pub bounds: Bounds,
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
    /// The content is the latest version already, and is read in another way than before.
    Reread,
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

/// A table of a version that is being made, as it can be read.
#[derive(Debug, Clone)]
struct Table {
    path: PathBuf,
    leaf: Leaf,
    /// Under which stamp it was hashed, where it lies outside of the store.
    stamp: Option<Stamp>,
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
            source: Source::parse(&dataset.source)?.asked(dataset.query.as_deref())?,
            suite: Suite::parse(&format!("dataset `{name}`"), &dataset.checks)?,
            options: table::options_of(dataset.format.as_deref(), &dataset.read)?,
            origin: Origin {
                format: dataset.format.clone(),
                read: dataset.read.clone(),
                ..Origin::default()
            },
            bounds: Bounds {
                size: dataset.max_size,
                time: dataset.timeout.map(|timeout| Duration::from_millis(timeout.0.unsigned_abs())),
            },
            parts: dataset.parts.clone(),
            because,
        })
    }

    /// A dataset without checks, from a source.
    ///
    /// # Errors
    /// When the name cannot be a dataset's, or the source cannot be understood.
    pub fn plain(name: &str, source: &str, because: Because) -> Result<Self, Error> {
        let dataset = project::Dataset { source: source.to_owned(), ..project::Dataset::default() };
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
        let place = {
            let (source, root) = (intake.source.clone(), root.to_owned());
            blocking(move || Place::of(&source, &root)).await?
        };
        fetcher.measure(&intake.source, root).await?;
        let Some(parts) = &intake.parts else {
            if let Some(place) = place.as_ref().filter(|place| place.plain) {
                let from = From { source: &intake.source.to_string(), origin: &Origin::default() };
                return Ok(vec![self.add_place(intake, place, from, true).await?]);
            }
            let mut fetched = fetcher.fetch(&intake.source, root).await?;
            if place.is_none() {
                fetched.origin.fetched = Some(self.clock.now());
                return Ok(vec![self.add_fetched(intake, &fetched).await?]);
            }
            let added = self.add(intake, &fetched).await?;
            self.remember(intake, place.as_ref(), added.version.digest).await;
            return Ok(vec![added]);
        };
        let fetched = fetcher.fetch(&intake.source, root).await?;
        let mut added = Vec::new();
        for part in parts_of(&fetched, parts, fetcher.cache()).await? {
            if until.is_none_or(|until| part.until <= until) {
                added.push(self.add_part(intake, &part, &fetched.source).await?);
            }
        }
        if let Some(version) = self.latest(&intake.dataset).await? {
            self.remember(intake, place.as_ref(), version.digest).await;
        }
        Ok(added)
    }

    /// Remembers how a source lies here that a version was made of, where its files are not the version.
    async fn remember(&self, intake: &Intake, place: Option<&Place>, version: Digest) {
        let Some(place) = place.cloned() else { return };
        let looker = self.looker(intake, true);
        let remembered = match looker.index().await {
            // What it says is stored is not: it is of files that only led to a version.
            Ok((index, _)) => {
                let look =
                    move || looker.look(&place, (index, false), false)?.remember(&looker, Some(version));
                blocking(look).await
            }
            Err(error) => Err(error),
        };
        self.hinted(intake, remembered);
    }

    /// What was seen is only a hint: that it cannot be kept is said, and takes nothing back of a version
    /// that was added.
    fn hinted(&self, intake: &Intake, remembered: Result<(), Error>) {
        if let Err(error) = remembered {
            let message = format!("what was seen cannot be remembered, so it is read again: {error}");
            self.progress.report(Event::Note { subject: intake.dataset.clone(), message });
        }
    }

    /// What looks at files for a dataset.
    pub(crate) fn looker(&self, intake: &Intake, remembered: bool) -> Looker {
        let (store, progress) = (self.store.clone(), self.progress.clone());
        Looker { store, progress, dataset: intake.dataset.clone(), remembered }
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

    /// Takes a fetched file in: the next version is what it is.
    ///
    /// # Errors
    /// When a check fails (then nothing has changed), a file is no table although it should be, or the
    /// store refuses.
    pub async fn add(&self, intake: &Intake, fetched: &Fetched) -> Result<Added, Error> {
        let from = From { source: &fetched.source, origin: &fetched.origin };
        match &fetched.content {
            Content::File(path) => self.add_place(intake, &Place::file(path), from, false).await,
            Content::Folder(_) => {
                let dataset = intake.dataset.clone();
                Err(Error::Shape { dataset, found: "a folder", expected: "one file" })
            }
        }
    }

    /// Takes in what came over the network and lies in the cache: what is there unchanged is not read again.
    async fn add_fetched(&self, intake: &Intake, fetched: &Fetched) -> Result<Added, Error> {
        let from = From { source: &fetched.source, origin: &fetched.origin };
        match (&fetched.content, &fetched.root) {
            (Content::Folder(_), Some(root)) => self.add_place(intake, &Place::file(root), from, true).await,
            (Content::File(path), _) => self.add_place(intake, &Place::file(path), from, true).await,
            (Content::Folder(_), None) => self.add(intake, fetched).await,
        }
    }

    /// Takes in what lies at a place: it is stored as it is read, and nothing that has not changed is
    /// read. `remembered`: what was seen is kept for the next time.
    async fn add_place(
        &self,
        intake: &Intake,
        place: &Place,
        from: From<'_>,
        remembered: bool,
    ) -> Result<Added, Error> {
        let source = from.source;
        let looker = self.looker(intake, remembered);
        let known = looker.index().await?;
        self.progress.report(Event::Started {
            subject: intake.dataset.clone(),
            message: format!("looking at `{source}`"),
        });
        match self.add_looked(intake, place, from, &looker, known).await {
            // A version that this one rested on went while it was made: what it needs is looked for again.
            Err(Error::Store(rondo_store::Error::VersionDropped { .. })) => {
                let (index, _) = looker.index().await?;
                self.add_looked(intake, place, from, &looker, (index, false)).await
            }
            added => added,
        }
    }

    async fn add_looked(
        &self,
        intake: &Intake,
        place: &Place,
        from: From<'_>,
        looker: &Looker,
        known: (Option<Index>, bool),
    ) -> Result<Added, Error> {
        let rests = known.0.as_ref().filter(|_| known.1).and_then(|index| index.version);
        let looked = self.look(looker, intake, place.clone(), known).await;
        let (look, tables) = match looked {
            Ok(looked) => looked,
            Err(error) => return Err(self.failed(intake, error)),
        };
        if look.stored.files == 0 && place.glob.is_some() {
            return Err(Error::SourceNotFound {
                what: format!("{}: no file matches", from.source),
                near: None,
            });
        }
        let mut draft = Draft {
            intake,
            stored: look.stored,
            tables: &tables,
            part: None,
            checked: None,
            rests: rests.into_iter().collect(),
        };
        let mut look = look;
        if !intake.suite.is_empty() {
            let checked = self.checked_first(looker, look, &draft).await;
            (look, draft.checked) = checked.map_err(|error| self.failed(intake, error))?;
            if draft.checked.is_none() {
                // It is a version already, so it was not stored again.
                draft.rests.push(draft.stored.digest);
            }
        }
        let added = self.add_drafted(&draft, from).await?;
        let (version, looker) = (Some(added.version.digest), looker.clone());
        self.hinted(intake, blocking(move || look.remember(&looker, version)).await);
        Ok(added)
    }

    /// Says that it went wrong.
    fn failed(&self, intake: &Intake, error: Error) -> Error {
        let (subject, message) = (intake.dataset.clone(), error.to_string());
        self.progress.report(Event::Ended { subject, ok: false, message });
        error
    }

    /// Checks content that is no version yet, and stores it where it passes: what is refused is not kept.
    async fn checked_first(
        &self,
        looker: &Looker,
        mut look: Look,
        draft: &Draft<'_>,
    ) -> Result<(Look, Option<Vec<FileReport>>), Error> {
        let known = self.store.meta().dataset_version(&looker.dataset, draft.stored.digest).await?;
        if known.is_some() {
            return Ok((look, None));
        }
        let checked = self.check_incoming(draft).await?;
        let looker = looker.clone();
        let look = blocking(move || look.store(&looker).map(|()| look)).await?;
        Ok((look, Some(checked)))
    }

    async fn look(
        &self,
        looker: &Looker,
        intake: &Intake,
        place: Place,
        known: (Option<Index>, bool),
    ) -> Result<(Look, BTreeMap<String, Table>), Error> {
        let (looker, options) = (looker.clone(), intake.options.clone());
        // What has checks is not kept before it has passed them.
        let store = intake.suite.is_empty();
        blocking(move || {
            let look = looker.look(&place, known, store)?;
            let is_table = |path: &str| table::is_table(path, &options);
            let mut tables = BTreeMap::new();
            for file in look.scan.files(look.index.as_ref(), &is_table)? {
                let mode = if file.executable { Mode::Executable } else { Mode::File };
                let leaf = Leaf { mode, size: file.size, digest: file.digest };
                let path = look.scan.root.join(&file.path);
                tables.insert(file.path, Table { path, leaf, stamp: Some(file.stamp) });
            }
            Ok((look, tables))
        })
        .await
    }

    /// Makes a version of what is stored, as often as somebody else is faster.
    async fn add_drafted(&self, draft: &Draft<'_>, from: From<'_>) -> Result<Added, Error> {
        for _ in 0..ATTEMPTS {
            let previous = self.latest(&draft.intake.dataset).await?;
            match self.add_draft(draft, previous.as_ref(), from).await {
                Err(Error::Store(rondo_store::Error::RefMoved { .. })) => {}
                result => return result,
            }
        }
        Err(self.moved(&draft.intake.dataset))
    }

    /// Takes one more part in: the next version is the latest one and this file, or the latest with this
    /// file in the place of the part of its name.
    ///
    /// # Errors
    /// As [`Datasets::add`], and when the dataset is a single file.
    pub async fn add_part(&self, intake: &Intake, part: &Part, source: &str) -> Result<Added, Error> {
        let (path, objects) = (part.path.clone(), self.store.objects().clone());
        let leaf = blocking(move || {
            let leaf = leaf_of(&path)?;
            if objects.put_path(&path, Take::Keep)?.digest == leaf.digest {
                Ok(leaf)
            } else {
                Err(Error::Changed { path })
            }
        })
        .await?;
        for _ in 0..ATTEMPTS {
            let previous = self.latest(&intake.dataset).await?;
            let (stored, tables) = self.grown(intake, part, leaf, previous.as_ref()).await?;
            let (part, rests) = (Some(part.name.as_str()), Vec::new());
            let draft = Draft { intake, stored, tables: &tables, part, checked: None, rests };
            match self.add_draft(&draft, previous.as_ref(), From { source, origin: &Origin::default() }).await
            {
                Err(Error::Store(rondo_store::Error::RefMoved { .. })) => {}
                result => return result,
            }
        }
        Err(self.moved(&intake.dataset))
    }

    /// The latest version with one part more, stored, and its tables.
    async fn grown(
        &self,
        intake: &Intake,
        part: &Part,
        leaf: Leaf,
        previous: Option<&DatasetVersion>,
    ) -> Result<(Stored, BTreeMap<String, Table>), Error> {
        if previous.is_some_and(|version| !version.folder) {
            let dataset = intake.dataset.clone();
            return Err(Error::Shape { dataset, found: "a single file", expected: "a folder of parts" });
        }
        let (objects, options, part) = (self.store.objects().clone(), intake.options.clone(), part.clone());
        let previous = previous.map(|version| version.digest);
        blocking(move || {
            let mut listing = match previous {
                Some(digest) => Listing::read(&objects, digest)?,
                None => Listing::default(),
            };
            listing.insert(&part.name, leaf);
            let mut tables = BTreeMap::new();
            for (name, leaf) in listing.files().iter().filter(|(name, _)| table::is_table(name, &options)) {
                let path =
                    if *name == part.name { part.path.clone() } else { objects.require(leaf.digest)? };
                tables.insert(name.clone(), Table { path, leaf: *leaf, stamp: None });
            }
            Ok((listing.store(&objects)?, tables))
        })
        .await
    }

    /// What to do with content that is a version already, where it is.
    async fn known(
        &self,
        draft: &Draft<'_>,
        previous: Option<&DatasetVersion>,
    ) -> Result<Option<Added>, Error> {
        let Draft { intake, part, .. } = draft;
        let part = part.map(str::to_owned);
        let digest = draft.stored.digest;
        if self.reread(draft).await?.is_some() {
            return Ok(None);
        }
        if let Some(version) = previous.filter(|version| version.digest == digest) {
            let version = version.clone();
            return Ok(Some(Added { outcome: Outcome::Unchanged, version, part, checked: Vec::new() }));
        }
        let Some(version) = self.store.meta().dataset_version(&intake.dataset, digest).await? else {
            return Ok(None);
        };
        let name = rondo_core::reference::dataset(&intake.dataset);
        let because = intake.because.clone();
        let (version_id, now) = ((intake.dataset.as_str(), digest), self.clock.now());
        self.store.meta().point_at_version(&name, expected(previous), version_id, because, now).await?;
        Ok(Some(Added { outcome: Outcome::Returned, version, part, checked: Vec::new() }))
    }

    /// The version that this content is already, where it is to be read in another way.
    async fn reread(&self, draft: &Draft<'_>) -> Result<Option<DatasetVersion>, Error> {
        let Draft { intake, stored, .. } = draft;
        let known = self.store.meta().dataset_version(&intake.dataset, stored.digest).await?;
        Ok(known.filter(|version| !version.origin.reads_as(&intake.origin)))
    }

    async fn add_draft(
        &self,
        draft: &Draft<'_>,
        previous: Option<&DatasetVersion>,
        from: From<'_>,
    ) -> Result<Added, Error> {
        let known = self.known(draft, previous).await;
        if let Some(added) = known? {
            let message = format!("unchanged: {} files", added.version.files);
            self.progress.report(Event::Ended { subject: draft.intake.dataset.clone(), ok: true, message });
            return Ok(added);
        }
        let subject = draft.intake.dataset.clone();
        let what = draft.part.map_or_else(|| "the data".to_owned(), |part| format!("`{part}`"));
        self.progress
            .report(Event::Started { subject: subject.clone(), message: format!("checking {what}") });
        let result = self.add_checked(draft, previous, from).await;
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
        previous: Option<&DatasetVersion>,
        from: From<'_>,
    ) -> Result<Added, Error> {
        let (intake, stored) = (draft.intake, draft.stored);
        let checked = match &draft.checked {
            Some(checked) => checked.clone(),
            None => self.check_incoming(draft).await?,
        };
        let profile = self.profile_draft(draft, previous).await?;
        draft.is_steady()?;
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
            source: from.source.to_owned(),
            parent: previous.map(|version| version.digest),
            added: self.clock.now(),
            origin: Origin {
                format: intake.origin.format.clone(),
                read: intake.origin.read.clone(),
                ..from.origin.clone()
            },
        };
        let mut because = intake.because.clone();
        if because.evidence.is_null() {
            because.evidence = json!({
                "rows": rows, "files": stored.files, "part": draft.part,
                "checks": intake.suite.len(), "warnings": checked.iter().map(FileReport::warnings).sum::<usize>(),
            });
        }
        let part = draft.part.map(str::to_owned);
        if let Some(known) = self.reread(draft).await? {
            let origin = Origin { format: version.origin.format, read: version.origin.read, ..known.origin };
            let version =
                DatasetVersion { rows, columns: version.columns, profile: version.profile, origin, ..known };
            let at = self.clock.now();
            self.store.meta().reread_dataset_version(&version, expected(previous), because, at).await?;
            return Ok(Added { outcome: Outcome::Reread, version, part, checked });
        }
        let after = expected(previous);
        self.store.meta().add_dataset_version_after(&version, after, &draft.rests, because).await?;
        Ok(Added { outcome: Outcome::Added, version, part, checked })
    }

    /// Checks what comes in, file by file, and then, where rules ask for it, the whole.
    async fn check_incoming(&self, draft: &Draft<'_>) -> Result<Vec<FileReport>, Error> {
        let intake = draft.intake;
        if intake.suite.is_empty() {
            return Ok(Vec::new());
        }
        let mut reports = Vec::new();
        let tables: Vec<(&String, &Table)> = draft.incoming().collect();
        if tables.is_empty() {
            return Err(Error::NoTable { dataset: intake.dataset.clone() });
        }
        let total = tables.len() as u64;
        for (done, (name, file)) in tables.into_iter().enumerate() {
            let key = table::passed_key(name, intake.suite.digest(), file.leaf.digest, &intake.options);
            let lasting = intake.suite.is_lasting();
            if lasting && self.store.meta().setting(&key).await?.is_some() {
                continue;
            }
            let (suite, options) = (intake.suite.clone(), intake.options.clone());
            let (called, path) = (name.clone(), file.path.clone());
            let report = blocking(move || suite.check_file(&called, &path, &options)).await?;
            if report.passed() && lasting {
                self.store.meta().set_setting(&key, "passed").await?;
            }
            reports.push(report);
            self.progress.report(Event::Advanced {
                subject: intake.dataset.clone(),
                done: done as u64 + 1,
                total: Some(total),
                message: format!("checked `{name}`"),
            });
        }
        if intake.suite.has_whole() {
            reports.push(self.check_whole(draft).await?);
        }
        if reports.iter().all(FileReport::passed) {
            return Ok(reports);
        }
        reports.retain(|report| !report.passed());
        Err(Error::ChecksFailed { dataset: intake.dataset.clone(), reports })
    }

    /// Checks all parts as one table, the new ones where they lie and the old ones in the store.
    async fn check_whole(&self, draft: &Draft<'_>) -> Result<FileReport, Error> {
        let intake = draft.intake;
        let paths: Vec<(String, PathBuf)> =
            draft.tables.iter().map(|(name, table)| (name.clone(), table.path.clone())).collect();
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
        previous: Option<&DatasetVersion>,
    ) -> Result<Option<Profile>, Error> {
        if let (Some(previous), Some(part)) = (previous, draft.part)
            && let Some(file) = draft.tables.get(part)
        {
            // Merged in the order of the names, as if all were merged anew, so that the profile depends on
            // the content and not on its history.
            let last = draft.tables.keys().next_back().is_some_and(|name| name == part);
            let grown = draft.stored.files == previous.files + 1;
            // A profile that was made by another way of reading says nothing of this one.
            let alike = previous.origin.reads_as(&draft.intake.origin);
            if let Some(digest) = previous.profile.filter(|_| last && grown && alike)
                && let Some(new) = self.file_profile(draft.intake, part, file).await?
                && let Ok(old) = self.stored_profile(digest).await
            {
                return Ok(Some(old.merge(&new)?));
            }
        }
        let mut whole: Option<Profile> = None;
        for (name, file) in draft.tables {
            if let Some(profile) = self.file_profile(draft.intake, name, file).await? {
                whole = Some(match whole {
                    Some(whole) => whole.merge(&profile)?,
                    None => profile,
                });
            }
        }
        Ok(whole)
    }

    /// The profile of one file, remembered by its digest; nothing for what is no table.
    async fn file_profile(
        &self,
        intake: &Intake,
        name: &str,
        file: &Table,
    ) -> Result<Option<Profile>, Error> {
        let key = table::profile_key(name, file.leaf.digest, &intake.options);
        if let Some(known) = self.store.meta().setting(&key).await? {
            // A note that leads nowhere, or to a profile of an older form, is made anew.
            if let Ok(digest) = known.parse()
                && let Ok(profile) = self.stored_profile(digest).await
            {
                return Ok(Some(profile));
            }
        }
        let (name, path, options) = (name.to_owned(), file.path.clone(), intake.options.clone());
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

    fn moved(&self, dataset: &str) -> Error {
        Error::Store(rondo_store::Error::RefMoved {
            name: rondo_core::reference::dataset(dataset),
            expected: "the version it was".to_owned(),
            found: "another each time".to_owned(),
        })
    }
}

/// Where what comes in is from.
#[derive(Clone, Copy)]
struct From<'a> {
    /// The source, as it may be shown.
    source: &'a str,
    /// In what state it was read.
    origin: &'a Origin,
}

/// A version that is being made: its content is in the store, and nothing names it yet.
struct Draft<'a> {
    intake: &'a Intake,
    stored: Stored,
    /// All files that are tables.
    tables: &'a BTreeMap<String, Table>,
    part: Option<&'a str>,
    /// What the checks said, where they were run before it was stored.
    checked: Option<Vec<FileReport>>,
    /// Versions by which some of it was known to be stored.
    rests: Vec<Digest>,
}

impl Draft<'_> {
    /// The tables that come in now.
    fn incoming(&self) -> impl Iterator<Item = (&String, &Table)> {
        self.tables.iter().filter(|(name, _)| self.part.is_none_or(|part| part == name.as_str()))
    }

    /// Whether what was checked and profiled is what was stored.
    fn is_steady(&self) -> Result<(), Error> {
        for table in self.tables.values() {
            let Some(stamp) = table.stamp else { continue };
            let now = std::fs::metadata(&table.path).map_err(Error::io("read", &table.path))?;
            // Its times alone may move: counting an object as new touches a file that is one with it.
            if Stamp::of(&now) != stamp && leaf_of(&table.path)?.digest != table.leaf.digest {
                return Err(Error::Changed { path: table.path.clone() });
            }
        }
        Ok(())
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
