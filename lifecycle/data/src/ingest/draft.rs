//! A version that is being made: what it is already, its checks, its profile, and the one transaction that
//! adds it. Where its content comes from is the room above's business.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::future::ready;
use std::path::{Path, PathBuf};

use rondo_core::handoff::{DatasetVersion, Origin};
use rondo_core::ports::Event;
use rondo_core::{Code, Digest, Explain};
use rondo_store::meta::journal::Expect;
use rondo_store::objects::{Stamp, Stored};
use rondo_table::TableError;
use rondo_table::profile::Profile;
use serde_json::json;

use super::{Added, Intake, Outcome, Table};
use crate::check::FileReport;
use crate::fetch::blocking;
use crate::listing::leaf_of;
use crate::profile::commas;
use crate::versions::Datasets;
use crate::{Error, table};

impl Datasets {
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

    pub(super) async fn add_draft(
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
        let profile = match self.profile_draft(draft, previous).await {
            // What has checks, or is declared as one table that grows, has to be a table; and what was one
            // does not become mere files because a file of it is broken.
            Err(Error::Table(error)) if error.code() == Code::TableInvalid && intake.parts.is_none() => {
                let error = from.called(error);
                if previous.is_some_and(|version| !version.columns.is_empty()) {
                    let dataset = intake.dataset.clone();
                    return Err(Error::NoLongerTable { dataset, why: Box::new(error) });
                }
                if !intake.suite.is_empty() {
                    return Err(Error::Table(error));
                }
                self.told_no_table(intake, &error);
                None
            }
            profile => profile?,
        };
        draft.is_steady()?;
        self.told_commas(draft, ready(profile.as_ref())).await;
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
            columns: profile.as_ref().map(Profile::schema).unwrap_or_default(),
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
    pub(super) async fn check_incoming(&self, draft: &Draft<'_>) -> Result<Vec<FileReport>, Error> {
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
        // What is text may have been meant as numbers, which the rules do not say.
        let profile = async { self.profile_draft(draft, None).await.ok().flatten() };
        self.told_commas(draft, profile).await;
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
                return Ok(Some(old.merge(&new).map_err(|error| table::in_file(part, error))?));
            }
        }
        let mut whole: Option<Profile> = None;
        for (name, file) in draft.tables {
            if let Some(profile) = self.file_profile(draft.intake, name, file).await? {
                whole = Some(match whole {
                    Some(whole) => whole.merge(&profile).map_err(|error| table::in_file(name, error))?,
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

    /// Says why what looks like a table has no profile: it is versioned all the same, as files.
    fn told_no_table(&self, intake: &Intake, error: &TableError) {
        let why = match error {
            TableError::ProfileMismatch { reason } => format!("its tables are not one: {reason}"),
            other => other.to_string(),
        };
        let mut message = format!("versioned as files, without a profile: {why}");
        for hint in error.hints() {
            message.push_str(&format!("; {hint}"));
        }
        message.push_str("; `format: files` beside its source says so for good");
        self.progress.report(Event::Note { subject: intake.dataset.clone(), message });
    }

    /// Says which columns are text because their numbers have a comma.
    async fn told_commas<P: Borrow<Profile>>(
        &self,
        draft: &Draft<'_>,
        profile: impl Future<Output = Option<P>>,
    ) {
        let intake = draft.intake;
        let tables = draft.tables.iter().map(|(name, table)| (name.as_str(), table.path.as_path()));
        if let Some(found) = commas::of_tables(tables, &intake.options, profile).await {
            let message = found.to_string();
            self.progress.report(Event::Note { subject: intake.dataset.clone(), message });
        }
    }

    async fn keep_profile(&self, profile: &Profile) -> Result<Digest, Error> {
        let text = profile.to_json()?;
        let objects = self.store.objects().clone();
        blocking(move || Ok(objects.put_bytes(text.as_bytes())?.digest)).await
    }
}

/// Where what comes in is from.
#[derive(Clone, Copy)]
pub(super) struct From<'a> {
    /// The source, as it may be shown.
    pub(super) source: &'a str,
    /// In what state it was read.
    pub(super) origin: &'a Origin,
    /// The file or folder in the cache that it lies in, which nobody knows.
    pub(super) cached: Option<&'a Path>,
}

impl From<'_> {
    /// The error of a file under the name that people know: one in the cache is a part of the source.
    fn called(&self, error: TableError) -> TableError {
        let inside = self.cached.and_then(|cached| error.path()?.strip_prefix(cached).ok());
        let known = inside.map(|inside| match inside.to_string_lossy() {
            whole if whole.is_empty() => PathBuf::from(self.source),
            inside => PathBuf::from(format!("{}/{inside}", self.source)),
        });
        match known {
            Some(known) => error.called(&known),
            None => error,
        }
    }

    /// The same of any error.
    pub(super) fn told(&self, error: Error) -> Error {
        match error {
            Error::Table(error) => Error::Table(self.called(error)),
            other => other,
        }
    }
}

/// A version that is being made: its content is in the store, and nothing names it yet.
pub(super) struct Draft<'a> {
    pub(super) intake: &'a Intake,
    pub(super) stored: Stored,
    /// All files that are tables.
    pub(super) tables: &'a BTreeMap<String, Table>,
    pub(super) part: Option<&'a str>,
    /// What the checks said, where they were run before it was stored.
    pub(super) checked: Option<Vec<FileReport>>,
    /// Versions by which some of it was known to be stored.
    pub(super) rests: Vec<Digest>,
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
