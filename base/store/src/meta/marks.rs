//! Marks: every digest that stands anywhere in the metadata.
//!
//! What a table means by its texts is not asked: whatever looks like a digest is taken for one. So a table
//! that is added later is counted without a line here, and a mistake errs on the side of keeping.
//!
//! A few things are known better. A version of a dataset that was dropped holds nothing, and none holds the
//! one before it. A line of the
//! journal about a dataset's refs says where they were, and the versions themselves hold what is there. And
//! what is remembered of a file (its profile, the checks that it passed) is held by the file, see
//! [`Meta::file_notes`].

use std::collections::HashSet;

use futures::TryStreamExt;
use rondo_core::handoff::DatasetVersion;
use rondo_core::{Digest, reference};
use sqlx::{Connection, Row, SqliteConnection};

use super::{Meta, encode};
use crate::Error;

/// Columns that name the owner of a row.
const OWNERS: [&str; 4] = ["id", "run", "owner", "model"];

/// How the names of settings begin in which something of a file is remembered.
const OF_FILES: &str = "data/";

/// A version of a dataset by its name and content.
pub type VersionId = (String, Digest);

/// Which versions of datasets count.
#[derive(Debug, Clone, Copy)]
pub enum Versions<'a> {
    /// All that are there.
    All,
    /// All but these.
    But(&'a HashSet<VersionId>),
    /// None: only what else names a version holds it.
    None,
}

/// What is remembered of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileNote {
    /// The name of the setting.
    pub name: String,
    /// The file.
    pub file: Digest,
    /// The object that holds what is remembered, where it is more than a word.
    pub object: Option<Digest>,
}

impl Meta {
    /// The digests in all tables, as of one moment, but for rows that belong to an owner who is passed
    /// over and versions that do not count.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn marks(
        &self,
        passed_over: impl Fn(&str) -> bool + Send + Sync,
        versions: Versions<'_>,
    ) -> Result<HashSet<Digest>, Error> {
        let mut connection = self.readers().acquire().await?;
        named(&mut connection, passed_over, versions, false).await
    }

    /// What is remembered of files: each is worth keeping as long as its file is.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn file_notes(&self) -> Result<Vec<FileNote>, Error> {
        let rows = sqlx::query("SELECT name, value FROM setting WHERE substr(name, 1, $2) = $1")
            .bind(OF_FILES)
            .bind(OF_FILES.len() as i64)
            .fetch_all(self.readers())
            .await?;
        let mut notes = Vec::new();
        for row in rows {
            let (name, value): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let (file, object) = (digests(&name).next(), digests(&value).next());
            notes.extend(file.map(|file| FileNote { name, file, object }));
        }
        Ok(notes)
    }

    /// Forgets what was remembered of files.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_file_notes(&self, names: Vec<String>) -> Result<(), Error> {
        for group in names.chunks(500) {
            let group = encode("settings", "of files", &group)?;
            let work = self.write(move |conn| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM setting WHERE name IN (SELECT value FROM json_each($1))")
                        .bind(&group)
                        .execute(conn)
                        .await?;
                    Ok(())
                })
            });
            work.await?;
        }
        Ok(())
    }
}

/// The digests in all tables of a database, as of one moment.
pub(crate) async fn marks(connection: &mut SqliteConnection) -> Result<HashSet<Digest>, Error> {
    named(connection, |_| false, Versions::All, true).await
}

async fn named(
    connection: &mut SqliteConnection,
    passed_over: impl Fn(&str) -> bool + Send + Sync,
    versions: Versions<'_>,
    of_files: bool,
) -> Result<HashSet<Digest>, Error> {
    let mut marks = HashSet::new();
    let mut moment = connection.begin().await?;
    let tables = sqlx::query(
        "SELECT t.name AS table_name, c.name AS column_name FROM sqlite_master t
         JOIN pragma_table_info(t.name) c WHERE t.type = 'table'
         AND (c.type = 'TEXT' OR t.name = 'dataset_version' AND c.name = 'dropped')
         AND t.name NOT LIKE 'sqlite_%' ORDER BY t.name, c.cid",
    )
    .fetch_all(&mut *moment)
    .await?;
    let mut columns: Vec<(String, Vec<String>)> = Vec::new();
    for row in &tables {
        let (table, column): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        match columns.last_mut() {
            Some((last, of)) if *last == table => of.push(column),
            Some(_) | None => columns.push((table, vec![column])),
        }
    }
    for (table, mut columns) in columns {
        if table == "dataset_version" && matches!(versions, Versions::None) {
            continue;
        }
        // A snapshot of an earlier format has no such column, and nothing was dropped in it.
        let only = match columns.iter().position(|name| table == "dataset_version" && name == "dropped") {
            Some(place) => {
                columns.remove(place);
                " WHERE dropped IS NULL"
            }
            None => "",
        };
        let names: Vec<String> = columns.iter().map(|name| format!("\"{name}\"")).collect();
        // Names of this store's own tables and columns.
        let text = sqlx::AssertSqlSafe(format!("SELECT {} FROM \"{table}\"{only}", names.join(", ")));
        let mut rows = sqlx::query(text).fetch(&mut *moment);
        while let Some(row) = rows.try_next().await? {
            let mut texts: Vec<Option<String>> = Vec::with_capacity(columns.len());
            for index in 0..columns.len() {
                texts.push(row.try_get_unchecked(index)?);
            }
            let owned = |(name, text): (&String, &Option<String>)| {
                OWNERS.contains(&name.as_str()) && text.as_deref().is_some_and(&passed_over)
            };
            if columns.iter().zip(&texts).any(owned) {
                continue;
            }
            let text_of = |wanted: &str| {
                let place = columns.iter().position(|name| name == wanted)?;
                texts.get(place)?.as_deref()
            };
            let holds = |column: &str| match table.as_str() {
                "dataset_version" => !is_passed_over(versions, text_of("dataset"), text_of("digest")),
                "journal" if matches!(column, "from_target" | "to_target") => {
                    !text_of("name").is_some_and(reference::is_of_dataset)
                }
                "setting" => of_files || !text_of("name").is_some_and(|name| name.starts_with(OF_FILES)),
                _ => true,
            };
            for (column, text) in columns.iter().zip(&texts) {
                let Some(text) = text.as_deref().filter(|_| holds(column)) else { continue };
                if table == "dataset_version" && column == "record" {
                    marks.extend(held_by(text));
                } else {
                    marks.extend(digests(text));
                }
            }
        }
    }
    moment.rollback().await?;
    Ok(marks)
}

/// What the record of a version of a dataset holds: all that it names but the version before it.
pub fn held_by(record: &str) -> Vec<Digest> {
    match serde_json::from_str::<DatasetVersion>(record) {
        Ok(version) => [version.digest].into_iter().chain(version.profile).collect(),
        // One that cannot be read holds whatever it may name.
        Err(_) => digests(record).collect(),
    }
}

fn is_passed_over(versions: Versions<'_>, dataset: Option<&str>, digest: Option<&str>) -> bool {
    let Versions::But(passed) = versions else { return false };
    let digest = digest.and_then(|digest| digest.parse().ok());
    dataset.zip(digest).is_some_and(|(dataset, digest)| passed.contains(&(dataset.to_owned(), digest)))
}

/// The digests in a text.
pub fn digests(text: &str) -> impl Iterator<Item = Digest> + '_ {
    hex_words(text, 64).filter_map(|word| word.parse().ok())
}

/// The words of lower-case hex digits in a text that have exactly this length.
pub fn hex_words(text: &str, length: usize) -> impl Iterator<Item = &str> {
    text.split(|c: char| !matches!(c, '0'..='9' | 'a'..='f')).filter(move |word| word.len() == length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_of_hex_are_digests() {
        let digest = Digest::of(b"x").hex();
        let text = format!(r#"{{"a":"{digest}","b":"x{digest}","c":"{digest}00"}} blake3:{digest}"#);
        assert_eq!(digests(&text).count(), 3);
        assert_eq!(digests(&digest[1..]).count(), 0);
    }
}
