//! Dataset versions, in the order in which they were added.

use rondo_core::handoff::DatasetVersion;
use rondo_core::journal::Because;
use rondo_core::{Digest, Timestamp, reference};
use sqlx::{Row, SqliteConnection};

use super::journal::{Expect, Moved, move_ref};
use super::{Meta, decode, encode};
use crate::Error;

impl Meta {
    /// Adds a version and moves `dataset/<name>@latest` to it, both or neither. Content that is a version
    /// already is not added again; the ref moves back to it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn add_dataset_version(
        &self,
        version: &DatasetVersion,
        because: Because,
    ) -> Result<bool, Error> {
        self.add_dataset_version_after(version, Expect::Anything, &[], because).await
    }

    /// The same for a version that was made earlier and elsewhere: the ref moves now.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn add_dataset_version_at(
        &self,
        version: &DatasetVersion,
        because: Because,
        at: Timestamp,
    ) -> Result<bool, Error> {
        self.add_moving(version, Some(Expect::Anything), &[], because, at).await
    }

    /// The same without moving the ref: for a version that has another name.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn add_dataset_version_aside(&self, version: &DatasetVersion) -> Result<bool, Error> {
        self.add_moving(version, None, &[], Because::new("rondo", ""), version.added).await
    }

    /// The same for a version that was made from another: only while the ref is what the caller took it
    /// to be, and the versions are there that it `rests` on. The caller took it from those that objects are
    /// in the store, and has neither stored nor counted them anew.
    ///
    /// # Errors
    /// When the ref has moved or such a version was dropped, and then nothing was added; or the database
    /// refuses.
    pub async fn add_dataset_version_after(
        &self,
        version: &DatasetVersion,
        expect: Expect,
        rests: &[Digest],
        because: Because,
    ) -> Result<bool, Error> {
        self.add_moving(version, Some(expect), rests, because, version.added).await
    }

    /// Replaces what is known of a version whose content is now read in another way, and moves the ref to it.
    ///
    /// # Errors
    /// When the ref has moved or the version was dropped, and then nothing has changed; or the database refuses.
    pub async fn reread_dataset_version(
        &self,
        version: &DatasetVersion,
        expect: Expect,
        because: Because,
        at: Timestamp,
    ) -> Result<(), Error> {
        let record = encode("dataset version", &version.dataset, version)?;
        let version = version.clone();
        self.write(move |conn| {
            Box::pin(async move {
                is_there(conn, &version.dataset, version.digest).await?;
                sqlx::query("UPDATE dataset_version SET record = $1 WHERE dataset = $2 AND digest = $3")
                    .bind(&record)
                    .bind(&version.dataset)
                    .bind(version.digest.hex())
                    .execute(&mut *conn)
                    .await?;
                let name = reference::dataset(&version.dataset);
                move_ref(conn, &name, expect, Some(version.digest), &because, at).await?;
                Ok(())
            })
        })
        .await
    }

    async fn add_moving(
        &self,
        version: &DatasetVersion,
        expect: Option<Expect>,
        rests: &[Digest],
        because: Because,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let rests = rests.to_vec();
        let record = encode("dataset version", &version.dataset, version)?;
        let version = version.clone();
        self.write(move |conn| {
            Box::pin(async move {
                for rest in rests {
                    is_there(conn, &version.dataset, rest).await?;
                }
                let added = sqlx::query(
                    "INSERT INTO dataset_version (dataset, seq, digest, record)
                     SELECT $1, COALESCE(MAX(seq), 0) + 1, $2, $3 FROM dataset_version WHERE dataset = $1
                     ON CONFLICT (dataset, digest) DO UPDATE SET dropped = NULL, record = excluded.record
                     WHERE dropped IS NOT NULL",
                )
                .bind(&version.dataset)
                .bind(version.digest.hex())
                .bind(&record)
                .execute(&mut *conn)
                .await?;
                if let Some(expect) = expect {
                    let name = reference::dataset(&version.dataset);
                    move_ref(conn, &name, expect, Some(version.digest), &because, at).await?;
                }
                Ok(added.rows_affected() == 1)
            })
        })
        .await
    }

    /// Moves a ref of a dataset to a version, as long as that is there.
    ///
    /// # Errors
    /// When the version was dropped or the ref is not what the caller took it to be, and then nothing has
    /// changed; or the database refuses.
    pub async fn point_at_version(
        &self,
        name: &str,
        expect: Expect,
        (dataset, digest): (&str, Digest),
        because: Because,
        at: Timestamp,
    ) -> Result<Moved, Error> {
        let (name, dataset) = (name.to_owned(), dataset.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                is_there(conn, &dataset, digest).await?;
                move_ref(conn, &name, expect, Some(digest), &because, at).await
            })
        })
        .await
    }

    /// All versions of a dataset, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dataset_versions(&self, dataset: &str) -> Result<Vec<DatasetVersion>, Error> {
        Ok(self.numbered_versions(dataset).await?.into_iter().map(|(_, version)| version).collect())
    }

    /// The same, each with its number, counted from 1 in the order in which they were first added. The
    /// numbers of versions that were dropped are nobody's.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn numbered_versions(&self, dataset: &str) -> Result<Vec<(usize, DatasetVersion)>, Error> {
        let rows = sqlx::query(
            "SELECT seq, record FROM dataset_version WHERE dataset = $1 AND dropped IS NULL ORDER BY seq",
        )
        .bind(dataset)
        .fetch_all(self.readers())
        .await?;
        let numbered = |row: &sqlx::sqlite::SqliteRow| {
            let number: i64 = row.try_get("seq")?;
            let version = decode("dataset version", dataset, row.try_get("record")?)?;
            Ok((usize::try_from(number).unwrap_or_default(), version))
        };
        rows.iter().map(numbered).collect()
    }

    /// One version of a dataset by its content.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dataset_version(
        &self,
        dataset: &str,
        digest: Digest,
    ) -> Result<Option<DatasetVersion>, Error> {
        let row = sqlx::query(
            "SELECT record FROM dataset_version WHERE dataset = $1 AND digest = $2 AND dropped IS NULL",
        )
        .bind(dataset)
        .bind(digest.hex())
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| decode("dataset version", dataset, row.try_get("record")?)).transpose()
    }

    /// The names of all datasets.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn datasets(&self) -> Result<Vec<String>, Error> {
        let rows = sqlx::query(
            "SELECT DISTINCT dataset FROM dataset_version WHERE dropped IS NULL ORDER BY dataset",
        )
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(|row| row.try_get("dataset").map_err(Error::from)).collect()
    }
}

/// Refuses a version that was dropped.
async fn is_there(conn: &mut SqliteConnection, dataset: &str, digest: Digest) -> Result<(), Error> {
    let there =
        sqlx::query("SELECT 1 FROM dataset_version WHERE dataset = $1 AND digest = $2 AND dropped IS NULL")
            .bind(dataset)
            .bind(digest.hex())
            .fetch_optional(conn)
            .await?;
    match there {
        Some(_) => Ok(()),
        None => Err(Error::VersionDropped { dataset: dataset.to_owned(), digest }),
    }
}
