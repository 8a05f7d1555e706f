//! Marks: every digest that stands anywhere in the metadata.
//!
//! What a table means by its texts is not asked: whatever looks like a digest is taken for one. So a table
//! that is added later is counted without a line here, and a mistake errs on the side of keeping.

use std::collections::HashSet;

use futures::TryStreamExt;
use rondo_core::Digest;
use sqlx::{Connection, Row, SqliteConnection};

use super::Meta;
use crate::Error;

/// Columns that name the owner of a row.
const OWNERS: [&str; 4] = ["id", "run", "owner", "model"];

impl Meta {
    /// The digests in all tables, as of one moment, but for rows that belong to an owner who is passed
    /// over.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn marks(
        &self,
        passed_over: impl Fn(&str) -> bool + Send + Sync,
    ) -> Result<HashSet<Digest>, Error> {
        let mut connection = self.readers().acquire().await?;
        marks(&mut connection, passed_over).await
    }
}

/// The digests in all tables of a database, as of one moment.
pub(crate) async fn marks(
    connection: &mut SqliteConnection,
    passed_over: impl Fn(&str) -> bool + Send + Sync,
) -> Result<HashSet<Digest>, Error> {
    let mut marks = HashSet::new();
    let mut moment = connection.begin().await?;
    let tables = sqlx::query(
        "SELECT t.name AS table_name, c.name AS column_name FROM sqlite_master t
         JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND c.type = 'TEXT'
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
    for (table, columns) in columns {
        let names: Vec<String> = columns.iter().map(|name| format!("\"{name}\"")).collect();
        // Names of this store's own tables and columns.
        let text = sqlx::AssertSqlSafe(format!("SELECT {} FROM \"{table}\"", names.join(", ")));
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
            for text in texts.iter().flatten() {
                marks.extend(digests(text));
            }
        }
    }
    moment.rollback().await?;
    Ok(marks)
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
