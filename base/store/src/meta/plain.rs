//! Plain files that outlive their rows: what a purge leaves on the disk for whoever knows where it lies.
//!
//! The rows of a run, logged model or trace and its place go in one transaction, and a note stays: its id and
//! the location of its experiment. The note goes when the files are gone. So a purge may stop anywhere, and may
//! be done by one who does not know the folder of the plain files. Only what had rows here is noted: files that
//! others have put beside them are theirs.

use sqlx::{Row, SqliteConnection};

use super::purge::Purge;
use super::{Meta, encode};
use crate::Error;

/// What the settings that are notes begin with.
const NOTE: &str = "plain-files/";

impl Meta {
    /// The owners of plain files whose rows are gone, with the location of their experiment. A note on one that
    /// is here is left out, and goes.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn left_behind(&self) -> Result<Vec<(String, String)>, Error> {
        let rows = sqlx::query(
            "SELECT substr(name, length($1) + 1) AS owner, value FROM setting
             WHERE name >= $1 AND name < $1 || '~' ORDER BY name",
        )
        .bind(NOTE)
        .fetch_all(self.readers())
        .await?;
        let mut left = Vec::with_capacity(rows.len());
        for row in &rows {
            let owner: String = row.try_get("owner")?;
            if self.owner_is_here(&owner).await? {
                self.forget_left_behind(&owner).await?;
            } else {
                left.push((owner, row.try_get("value")?));
            }
        }
        Ok(left)
    }

    /// The plain files of an owner are gone.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_left_behind(&self, owner: &str) -> Result<(), Error> {
        let name = format!("{NOTE}{owner}");
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query("DELETE FROM setting WHERE name = $1").bind(&name).execute(conn).await?;
                Ok(())
            })
        })
        .await
    }

    /// How many plain files the purge would leave behind.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn plain_files_of(&self, purge: &Purge) -> Result<u64, Error> {
        let owners: Vec<&String> = purge.runs.iter().chain(&purge.logged_models).collect();
        let row = sqlx::query(
            "SELECT COUNT(*) AS files FROM run_artifact WHERE modified IS NOT NULL AND seq IN
             (SELECT MAX(seq) FROM run_artifact
              WHERE owner IN (SELECT value FROM json_each($1))
              OR owner IN (SELECT id FROM trace WHERE experiment IN (SELECT value FROM json_each($2)))
              GROUP BY owner, path)",
        )
        .bind(encode("purge", "owners", &owners)?)
        .bind(encode("purge", "experiments", &purge.experiments)?)
        .fetch_one(self.readers())
        .await?;
        let files: i64 = row.try_get("files")?;
        Ok(u64::try_from(files).unwrap_or_default())
    }

    async fn owner_is_here(&self, owner: &str) -> Result<bool, Error> {
        let row = sqlx::query(
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM run WHERE id = $1)
             OR EXISTS (SELECT 1 FROM logged_model WHERE id = $1) OR EXISTS (SELECT 1 FROM trace WHERE id = $1)",
        );
        Ok(row.bind(owner).fetch_optional(self.readers()).await?.is_some())
    }
}

/// Notes those of these owners that have plain files; called before their rows go.
pub(super) async fn note(conn: &mut SqliteConnection, owners: &str) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO setting (name, value)
         SELECT $2 || a.owner, e.artifact_location
         FROM (SELECT DISTINCT owner FROM run_artifact
               WHERE owner IN (SELECT value FROM json_each($1)) AND modified IS NOT NULL) a
         JOIN experiment e ON e.id = COALESCE((SELECT experiment FROM run WHERE id = a.owner),
                                              (SELECT experiment FROM logged_model WHERE id = a.owner),
                                              (SELECT experiment FROM trace WHERE id = a.owner))
         WHERE TRUE ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(owners)
    .bind(NOTE)
    .execute(conn)
    .await?;
    Ok(())
}
