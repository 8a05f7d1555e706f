//! Taking data in: from fetched files to a version of a dataset.
//!
//! In this order: store (each file is read once for it), check, profile, and only then one transaction that adds the version and
//! moves `dataset/<name>@latest` to it. Data that break a check change nothing. Content that is the
//! latest version already makes no new one.
//!
//! A dataset of one file is replaced whole. A dataset that is a folder may grow by parts: the new version
//! is the old listing and one file more; neither the old parts' bytes nor their checks and profiles are
//! touched again, since both are remembered by the digest of the file.

mod draft;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rondo_core::handoff::{DatasetVersion, Origin};
use rondo_core::id::is_name;
use rondo_core::journal::Because;
use rondo_core::ports::Event;
use rondo_core::tree::Mode;
use rondo_core::{Digest, Timestamp};
use rondo_project::project;
use rondo_store::objects::{Stamp, Stored, Take};
use rondo_store::scan::Index;
use rondo_table::read::ReadOptions;
use serde::Serialize;

use crate::check::{FileReport, Suite};
use crate::fetch::{Bounds, Content, Fetched, Fetcher, blocking, page};
use crate::listing::{Leaf, Listing, leaf_of};
use crate::parts::{Part, parts_of};
use crate::place::{Look, Looker, Place};
use crate::versions::Datasets;
use crate::{Error, Source, table};
use draft::{Draft, From};

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
            suite: Suite::parse(&format!("dataset `{name}`"), &dataset.checks)?.keyed(&dataset.key),
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

    /// Whether one of its files is looked into as a table.
    fn is_table(&self, name: &str) -> bool {
        self.origin.format.as_deref() != Some(table::FILES) && table::is_table(name, &self.options)
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
                let from =
                    From { source: &intake.source.to_string(), origin: &Origin::default(), cached: None };
                return Ok(vec![self.add_place(intake, place, from, true).await?]);
            }
            let mut fetched = fetcher.fetch(&intake.source, root).await?;
            if let (Source::Http { .. }, Content::File(path)) = (&intake.source, &fetched.content)
                && fetched.files().iter().any(|(name, _)| intake.is_table(name))
            {
                page::refuse(path, None, &fetched.source)?;
            }
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
        let cached = match &fetched.content {
            Content::File(path) => Some(path.as_path()).filter(|path| !path.ends_with(&fetched.source)),
            Content::Folder(_) => None,
        };
        let from = From { source: &fetched.source, origin: &fetched.origin, cached };
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
        let cached = match (&fetched.content, &fetched.root) {
            (Content::File(path), _) => Some(path.as_path()),
            (Content::Folder(_), root) => root.as_deref(),
        };
        let from = From { source: &fetched.source, origin: &fetched.origin, cached };
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
        .map_err(|error| from.told(error))
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
            return Err(Error::NoMatch { pattern: from.source.to_owned() });
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
        let (looker, intake) = (looker.clone(), intake.clone());
        // What has checks is not kept before it has passed them.
        let store = intake.suite.is_empty();
        blocking(move || {
            let look = looker.look(&place, known, store)?;
            let is_table = |path: &str| intake.is_table(path);
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
            match self
                .add_draft(
                    &draft,
                    previous.as_ref(),
                    From { source, origin: &Origin::default(), cached: None },
                )
                .await
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
        let (objects, intake, part) = (self.store.objects().clone(), intake.clone(), part.clone());
        let previous = previous.map(|version| version.digest);
        blocking(move || {
            let mut listing = match previous {
                Some(digest) => Listing::read(&objects, digest)?,
                None => Listing::default(),
            };
            listing.insert(&part.name, leaf);
            let mut tables = BTreeMap::new();
            for (name, leaf) in listing.files().iter().filter(|(name, _)| intake.is_table(name)) {
                let path = if *name == part.name { part.path.clone() } else { objects.sound(leaf.digest)? };
                tables.insert(name.clone(), Table { path, leaf: *leaf, stamp: None });
            }
            Ok((listing.store(&objects)?, tables))
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

#[cfg(test)]
mod tests;
