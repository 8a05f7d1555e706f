//! Artifacts: which object is at which path of a run or a logged model.
//!
//! An overwritten or deleted artifact is a new row, and the newest counts. An owner is whatever has a tree
//! of its own; what the owners are is not known here.

use rondo_core::{Code, Digest, Timestamp};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::Meta;
use crate::Error;

/// A file among a run's or a logged model's artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its path, with slashes, relative to the owner's root.
    pub path: String,
    /// The object; of a plain file what its bytes were when it was put there.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// When it was put there.
    pub at: Timestamp,
    /// Of a plain file, that lies elsewhere than among the objects: when it was last changed, in
    /// nanoseconds since the epoch.
    pub modified: Option<i64>,
}

impl Meta {
    /// Puts a file among the artifacts of an owner (a run's or logged model's id).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_artifact(
        &self,
        owner: &str,
        path: &str,
        digest: Digest,
        size: u64,
        at: Timestamp,
    ) -> Result<(), Error> {
        let path = path.to_owned();
        self.record_artifact(owner, Artifact { path, digest, size, at, modified: None }).await
    }

    /// The same, also for what lies as a plain file.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn record_artifact(&self, owner: &str, artifact: Artifact) -> Result<(), Error> {
        let owner = owner.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO run_artifact (owner, path, digest, size, at, modified)
                     VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(&owner)
                .bind(&artifact.path)
                .bind(artifact.digest.hex())
                .bind(i64::try_from(artifact.size).unwrap_or(i64::MAX))
                .bind(artifact.at.millis())
                .bind(artifact.modified)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Takes a file, or all files of a folder, away from an owner's artifacts, all at once; how many there
    /// were.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete_artifacts(&self, owner: &str, path: &str, at: Timestamp) -> Result<usize, Error> {
        let (owner, path) = (owner.to_owned(), path.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                let (from, to) = below(&path);
                let gone = sqlx::query(
                    "INSERT INTO run_artifact (owner, path, digest, size, at)
                     SELECT owner, path, NULL, 0, $5 FROM run_artifact WHERE seq IN
                     (SELECT MAX(seq) FROM run_artifact WHERE owner = $1
                      AND (path = $2 OR (path >= $3 AND path < $4)) GROUP BY path)
                     AND digest IS NOT NULL",
                )
                .bind(&owner)
                .bind(&path)
                .bind(&from)
                .bind(&to)
                .bind(at.millis())
                .execute(conn)
                .await?;
                Ok(usize::try_from(gone.rows_affected()).unwrap_or(usize::MAX))
            })
        })
        .await
    }

    /// All artifacts of an owner, by path.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn artifacts(&self, owner: &str) -> Result<Vec<Artifact>, Error> {
        self.artifacts_below(owner, "").await
    }

    /// The artifacts of an owner in a folder and in those within it, by path.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn artifacts_below(&self, owner: &str, folder: &str) -> Result<Vec<Artifact>, Error> {
        let (from, to) = below(folder);
        let rows = sqlx::query(
            "SELECT path, digest, size, at, modified FROM run_artifact WHERE seq IN
             (SELECT MAX(seq) FROM run_artifact WHERE owner = $1 AND path >= $2 AND path < $3 GROUP BY path)
             AND digest IS NOT NULL ORDER BY path",
        )
        .bind(owner)
        .bind(from)
        .bind(to)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(read).collect()
    }

    /// One artifact of an owner.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn artifact(&self, owner: &str, path: &str) -> Result<Option<Artifact>, Error> {
        let row = sqlx::query(
            "SELECT path, digest, size, at, modified FROM run_artifact WHERE owner = $1 AND path = $2
             ORDER BY seq DESC LIMIT 1",
        )
        .bind(owner)
        .bind(path)
        .fetch_optional(self.readers())
        .await?;
        match row {
            Some(row) if row.try_get::<Option<String>, _>("digest")?.is_some() => Ok(Some(read(&row)?)),
            Some(_) | None => Ok(None),
        }
    }
}

/// Between which texts the paths below a folder are: `0` follows the slash.
fn below(folder: &str) -> (String, String) {
    match folder {
        "" => (String::new(), char::MAX.to_string()),
        folder => (format!("{folder}/"), format!("{folder}0")),
    }
}

fn read(row: &SqliteRow) -> Result<Artifact, Error> {
    let digest: String = row.try_get("digest")?;
    let size: i64 = row.try_get("size")?;
    let path: String = row.try_get("path")?;
    let corrupt = || Error::NotFound { kind: "artifact", name: path.clone(), code: Code::Corrupt };
    Ok(Artifact {
        digest: digest.parse().map_err(|_| corrupt())?,
        size: u64::try_from(size).map_err(|_| corrupt())?,
        at: Timestamp(row.try_get("at")?),
        modified: row.try_get("modified")?,
        path,
    })
}
