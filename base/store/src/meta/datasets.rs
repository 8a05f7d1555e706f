//! Dataset versions, in the order in which they were added.

use rondo_core::handoff::DatasetVersion;
use rondo_core::journal::Because;
use rondo_core::{Digest, Timestamp, reference};
use sqlx::Row;

use super::journal::{Expect, move_ref};
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
        self.add_dataset_version_after(version, Expect::Anything, because).await
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
        self.add_moving(version, Expect::Anything, because, at).await
    }

    /// The same for a version that was made from another: only while the ref is what the caller took it
    /// to be.
    ///
    /// # Errors
    /// When the ref has moved, and then nothing was added; or the database refuses.
    pub async fn add_dataset_version_after(
        &self,
        version: &DatasetVersion,
        expect: Expect,
        because: Because,
    ) -> Result<bool, Error> {
        self.add_moving(version, expect, because, version.added).await
    }

    /// Replaces what is known of a version whose content is now read in another way, and moves the ref to it.
    ///
    /// # Errors
    /// When the ref has moved, and then nothing has changed; or the database refuses.
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
        expect: Expect,
        because: Because,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let record = encode("dataset version", &version.dataset, version)?;
        let version = version.clone();
        self.write(move |conn| {
            Box::pin(async move {
                let added = sqlx::query(
                    "INSERT INTO dataset_version (dataset, seq, digest, record)
                     SELECT $1, COALESCE(MAX(seq), 0) + 1, $2, $3 FROM dataset_version WHERE dataset = $1
                     ON CONFLICT (dataset, digest) DO NOTHING",
                )
                .bind(&version.dataset)
                .bind(version.digest.hex())
                .bind(&record)
                .execute(&mut *conn)
                .await?;
                let name = reference::dataset(&version.dataset);
                move_ref(conn, &name, expect, Some(version.digest), &because, at).await?;
                Ok(added.rows_affected() == 1)
            })
        })
        .await
    }

    /// All versions of a dataset, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dataset_versions(&self, dataset: &str) -> Result<Vec<DatasetVersion>, Error> {
        let rows = sqlx::query("SELECT record FROM dataset_version WHERE dataset = $1 ORDER BY seq")
            .bind(dataset)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(|row| decode("dataset version", dataset, row.try_get("record")?)).collect()
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
        let row = sqlx::query("SELECT record FROM dataset_version WHERE dataset = $1 AND digest = $2")
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
        let rows = sqlx::query("SELECT DISTINCT dataset FROM dataset_version ORDER BY dataset")
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(|row| row.try_get("dataset").map_err(Error::from)).collect()
    }
}
