//! What has changed between two versions of a dataset, or between any two tables: columns, rows, bytes,
//! files, and how far each column's distribution has moved. It is told from the listings and the stored
//! profiles; no data are read again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rondo_core::handoff::DatasetVersion;
use rondo_core::signature::{Column, ColumnType};
use rondo_core::{Digest, Timestamp};
use rondo_table::drift::{self, DriftReport};
use rondo_table::likeness;
use rondo_table::profile::Profile;
use serde::Serialize;

use crate::listing::{Leaf, Listing};
use crate::versions::Datasets;
use crate::{Error, table};

/// Columns at least so alike are taken for one that was renamed.
const ALIKE: f64 = 0.95;

/// One of the two sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// The content.
    pub digest: Digest,
    /// When it was added.
    pub added: Timestamp,
    /// Bytes.
    pub size: u64,
    /// Files.
    pub files: u64,
    /// Rows, where it is a table.
    pub rows: Option<u64>,
}

/// A change of the columns.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum SchemaChange {
    /// A column has come.
    Added {
        /// The column.
        column: String,
        /// Its type.
        #[serde(rename = "type")]
        column_type: ColumnType,
    },
    /// A column has gone.
    Removed {
        /// The column.
        column: String,
        /// Its type.
        #[serde(rename = "type")]
        column_type: ColumnType,
    },
    /// A column has another type.
    Type {
        /// The column.
        column: String,
        /// The type before.
        from: ColumnType,
        /// The type now.
        to: ColumnType,
    },
    /// A column has gone and one that is very much like it has come.
    Renamed {
        /// The name before.
        from: String,
        /// The name now.
        to: String,
        /// How alike they are, from 0 to 1.
        likeness: f64,
    },
    /// The columns that both have stand in another order.
    Reordered {
        /// They, in the order of now.
        columns: Vec<String>,
    },
    /// A column has missing values and had none, or the other way round.
    Nullable {
        /// The column.
        column: String,
        /// Whether it has missing values now.
        now: bool,
    },
}

/// Changes of files, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FileChanges {
    /// Only in the second.
    pub added: Vec<String>,
    /// Only in the first.
    pub removed: Vec<String>,
    /// In both, with other content or permissions.
    pub changed: Vec<String>,
    /// Only the name is another.
    pub renamed: Vec<Renamed>,
    /// How many are the same.
    pub same: usize,
}

/// A file that has moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Renamed {
    /// Its path before.
    pub from: String,
    /// Its path now.
    pub to: String,
}

impl FileChanges {
    /// Of files that are not the same on both sides, in the order of their paths. One that has gone while
    /// one of the same content has come was renamed; an empty file is nobody's twin.
    pub fn of(sides: impl IntoIterator<Item = (String, Option<Leaf>, Option<Leaf>)>) -> Self {
        let mut changes = Self::default();
        let mut come: Vec<(String, Leaf)> = Vec::new();
        let mut gone: HashMap<Digest, Vec<String>> = HashMap::new();
        let mut left = Vec::new();
        for (path, before, after) in sides {
            match (before, after) {
                (Some(_), Some(_)) => changes.changed.push(path),
                (Some(before), None) if before.size > 0 => gone.entry(before.digest).or_default().push(path),
                (Some(_), None) => left.push(path),
                (None, Some(after)) => come.push((path, after)),
                (None, None) => {}
            }
        }
        gone.values_mut().for_each(|paths| paths.reverse());
        for (to, after) in come {
            match gone.get_mut(&after.digest).and_then(Vec::pop) {
                Some(from) => changes.renamed.push(Renamed { from, to }),
                None => changes.added.push(to),
            }
        }
        left.extend(gone.into_values().flatten());
        left.sort();
        changes.removed = left;
        changes
    }
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// The dataset.
    pub dataset: String,
    /// Before.
    pub from: Side,
    /// After.
    pub to: Side,
    /// Of the columns.
    pub schema: Vec<SchemaChange>,
    /// Of the files.
    pub files: FileChanges,
    /// How far each column that both have has moved; absent where one of them is no table.
    pub drift: Option<DriftReport>,
    /// What the drift is between.
    pub compared: Compared,
}

/// What is compared for drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// All rows before and all rows after.
    Wholes,
    /// Where files have only come: all rows before and the rows of the new files. So one new month shows
    /// even beside many old ones.
    NewFiles,
}

impl Diff {
    /// Whether both are the same.
    pub fn is_empty(&self) -> bool {
        self.from.digest == self.to.digest
    }
}

impl Datasets {
    /// What has changed from one version of a dataset to another, both as [`Datasets::version`] calls
    /// them; `None`: from the one before the latest, to the latest.
    ///
    /// # Errors
    /// When there is no such version, or it cannot be read.
    pub async fn diff(&self, dataset: &str, from: Option<&str>, to: Option<&str>) -> Result<Diff, Error> {
        let to = self.version(dataset, to.unwrap_or("latest")).await?;
        let from = match (from, to.parent) {
            (Some(called), _) => self.version(dataset, called).await?,
            (None, Some(parent)) => self.version(dataset, &parent.hex()).await?,
            (None, None) => {
                return Err(Error::VersionNotFound {
                    dataset: dataset.to_owned(),
                    version: "previous".to_owned(),
                });
            }
        };
        self.diff_versions(&from, &to).await
    }

    /// What has changed from one version to another.
    ///
    /// # Errors
    /// When a listing or profile cannot be read.
    pub async fn diff_versions(&self, from: &DatasetVersion, to: &DatasetVersion) -> Result<Diff, Error> {
        let files = self.changed_files(from, to).await?;
        let (after, compared) = match self.new_files(to, &files).await? {
            Some(profile) => (Some(profile), Compared::NewFiles),
            None => (self.profile_of(to).await?, Compared::Wholes),
        };
        let before = self.profile_of(from).await?;
        let mut schema = schema_changes(&from.columns, &to.columns);
        if let (Some(before), Some(whole)) = (&before, self.profile_of(to).await?) {
            schema = with_renamed(schema, before, &whole);
        }
        let drift = match (before, after) {
            (Some(before), Some(after)) => Some(compare(&before, &after)),
            (_, _) => None,
        };
        Ok(Diff {
            dataset: to.dataset.clone(),
            from: side(from),
            to: side(to),
            schema,
            files,
            drift,
            compared,
        })
    }

    async fn changed_files(&self, from: &DatasetVersion, to: &DatasetVersion) -> Result<FileChanges, Error> {
        if !from.folder || !to.folder {
            return Ok(file_changes(&self.files_of(from)?, &self.files_of(to)?));
        }
        let (objects, from, to, files) = (self.store.objects().clone(), from.digest, to.digest, to.files);
        crate::fetch::blocking(move || {
            let changes = objects.changes(from, to)?;
            let sides = changes
                .into_iter()
                .map(|change| (change.path, change.before.map(Leaf::from), change.after.map(Leaf::from)));
            let mut changes = FileChanges::of(sides);
            let other = changes.added.len() + changes.changed.len() + changes.renamed.len();
            changes.same = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(other);
            Ok(changes)
        })
        .await
    }

    /// The profile of the files that have come, where files have only come and theirs are remembered.
    async fn new_files(&self, to: &DatasetVersion, changes: &FileChanges) -> Result<Option<Profile>, Error> {
        if changes.added.is_empty() || changes.same == 0 {
            return Ok(None);
        }
        if !changes.removed.is_empty() || !changes.changed.is_empty() || !changes.renamed.is_empty() {
            return Ok(None);
        }
        let files = self.files_of(to)?;
        let options = table::options(None)?;
        let mut merged: Option<Profile> = None;
        for name in changes.added.iter().filter(|name| table::is_table(name, &options)) {
            let Some(leaf) = files.get(name) else { return Ok(None) };
            let key = table::profile_key(name, leaf.digest, &options);
            let Some(digest) = self.store.meta().setting(&key).await?.and_then(|text| text.parse().ok())
            else {
                return Ok(None);
            };
            let profile = self.stored_profile(digest).await?;
            merged = Some(match merged {
                Some(merged) => merged.merge(&profile)?,
                None => profile,
            });
        }
        Ok(merged)
    }

    /// The files of a version by path; a single file by the dataset's name.
    ///
    /// # Errors
    /// When its listing is not in the store.
    pub fn files_of(&self, version: &DatasetVersion) -> Result<BTreeMap<String, Leaf>, Error> {
        if version.folder {
            return Ok(Listing::read(self.store.objects(), version.digest)?.files().clone());
        }
        let mode = rondo_core::tree::Mode::File;
        let leaf = Leaf { mode, size: version.size, digest: version.digest };
        Ok(BTreeMap::from([(version.dataset.clone(), leaf)]))
    }
}

/// How far the columns that both profiles have, with one type, have moved.
pub fn compare(before: &Profile, after: &Profile) -> DriftReport {
    drift::compare(before, after, &drift::DriftOptions::default())
}

fn side(version: &DatasetVersion) -> Side {
    Side {
        digest: version.digest,
        added: version.added,
        size: version.size,
        files: version.files,
        rows: version.rows,
    }
}

/// The changes from one list of columns to another: of the first's columns in their order, then what has
/// come.
pub fn schema_changes(from: &[Column], to: &[Column]) -> Vec<SchemaChange> {
    let (old, new) = (by_name(from), by_name(to));
    let mut changes = Vec::new();
    for before in from {
        let column = before.name.clone();
        match new.get(before.name.as_str()) {
            None => changes.push(SchemaChange::Removed { column, column_type: before.column_type }),
            Some(after) if after.column_type != before.column_type => {
                changes.push(SchemaChange::Type { column, from: before.column_type, to: after.column_type });
            }
            Some(after) if after.nullable != before.nullable => {
                changes.push(SchemaChange::Nullable { column, now: after.nullable });
            }
            Some(_) => {}
        }
    }
    for after in to.iter().filter(|after| !old.contains_key(after.name.as_str())) {
        changes.push(SchemaChange::Added { column: after.name.clone(), column_type: after.column_type });
    }
    let common = |of: &[Column], other: &HashMap<&str, &Column>| -> Vec<String> {
        let kept = of.iter().filter(|column| other.contains_key(column.name.as_str()));
        kept.map(|column| column.name.clone()).collect()
    };
    let now = common(to, &old);
    if common(from, &new) != now {
        changes.push(SchemaChange::Reordered { columns: now });
    }
    changes
}

fn by_name(columns: &[Column]) -> HashMap<&str, &Column> {
    columns.iter().map(|column| (column.name.as_str(), column)).collect()
}

/// The same changes, where columns that have gone and come and are very much alike are taken for renamed.
pub fn with_renamed(changes: Vec<SchemaChange>, before: &Profile, after: &Profile) -> Vec<SchemaChange> {
    let mut gone = Vec::new();
    let mut come = Vec::new();
    for change in &changes {
        match change {
            SchemaChange::Removed { column, .. } => gone.push(column.as_str()),
            SchemaChange::Added { column, .. } => come.push(column.as_str()),
            SchemaChange::Type { .. }
            | SchemaChange::Nullable { .. }
            | SchemaChange::Renamed { .. }
            | SchemaChange::Reordered { .. } => {}
        }
    }
    let renamed = likeness::renamed(before, after, &gone, &come, ALIKE);
    let is_one = |column: &str| renamed.iter().any(|(from, to, _)| from == column || to == column);
    let mut rest: Vec<SchemaChange> = changes
        .iter()
        .filter(|change| match change {
            SchemaChange::Removed { column, .. } | SchemaChange::Added { column, .. } => !is_one(column),
            SchemaChange::Type { .. }
            | SchemaChange::Nullable { .. }
            | SchemaChange::Renamed { .. }
            | SchemaChange::Reordered { .. } => true,
        })
        .cloned()
        .collect();
    let told = renamed.iter().map(|(from, to, likeness)| SchemaChange::Renamed {
        from: from.clone(),
        to: to.clone(),
        likeness: *likeness,
    });
    rest.splice(0..0, told);
    rest
}

/// The changes from one folder to another.
pub fn file_changes(from: &BTreeMap<String, Leaf>, to: &BTreeMap<String, Leaf>) -> FileChanges {
    let paths: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let all = paths.len();
    let sides = paths.into_iter().map(|path| (path, from.get(path), to.get(path)));
    let other: Vec<_> = sides
        .filter(|(_, before, after)| before != after)
        .map(|(path, before, after)| (path.clone(), before.copied(), after.copied()))
        .collect();
    let same = all - other.len();
    FileChanges { same, ..FileChanges::of(other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, column_type: ColumnType, nullable: bool) -> Column {
        Column { name: name.to_owned(), column_type, nullable }
    }

    #[test]
    fn columns_that_come_go_and_change_are_told() {
        use ColumnType::{Integer, Number, String};
        let from = [column("a", Integer, false), column("b", String, false), column("c", Number, false)];
        let to = [column("c", Number, true), column("a", Number, false), column("d", String, false)];
        assert_eq!(
            schema_changes(&from, &to),
            [
                SchemaChange::Type { column: "a".into(), from: Integer, to: Number },
                SchemaChange::Removed { column: "b".into(), column_type: String },
                SchemaChange::Nullable { column: "c".into(), now: true },
                SchemaChange::Added { column: "d".into(), column_type: String },
                SchemaChange::Reordered { columns: vec!["c".into(), "a".into()] },
            ]
        );
        assert!(schema_changes(&from, &from).is_empty());
    }

    #[test]
    fn files_that_come_go_and_change_are_told() {
        let leaf = |bytes: &[u8]| Leaf {
            mode: rondo_core::tree::Mode::File,
            size: bytes.len() as u64,
            digest: Digest::of(bytes),
        };
        let from =
            BTreeMap::from([("a".into(), leaf(b"1")), ("b".into(), leaf(b"2")), ("c".into(), leaf(b"3"))]);
        let to =
            BTreeMap::from([("a".into(), leaf(b"1")), ("b".into(), leaf(b"x")), ("d".into(), leaf(b"4"))]);
        let changes = file_changes(&from, &to);
        assert_eq!((changes.added, changes.removed), (vec!["d".to_owned()], vec!["c".to_owned()]));
        assert_eq!((changes.changed, changes.same), (vec!["b".to_owned()], 1));
    }
}
