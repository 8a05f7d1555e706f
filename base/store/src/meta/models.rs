//! Registered models and their versions. Aliases are refs: `model/<name>@<alias>`.
//!
//! Only versions that a pipeline registered are here; those that clients of the tracking protocol make
//! stand in the same table with a record of their own shape, see [`super::registered`].

use rondo_core::handoff::ModelVersion;
use rondo_core::{Code, Digest, Timestamp};
use sqlx::{Row, SqliteConnection};

use super::journal::{canonical, put_record};
use super::registered::events::version_registered;
use super::{Meta, decode};
use crate::Error;

/// The kind of record a model version is.
pub const MODEL_VERSION: &str = "model version";

impl Meta {
    /// Registers a version: gives it the next number of its model (making the model where it is missing),
    /// stores it as an immutable record and answers both. A version of the same model and step run is not
    /// registered twice.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn register_version(&self, version: ModelVersion) -> Result<(Digest, ModelVersion), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                let mut version = version;
                let existing = sqlx::query(
                    "SELECT digest, record FROM model_version
                     WHERE model = $1 AND run = $2 AND json_extract(record, '$.origin') IS NULL",
                )
                .bind(&version.model)
                .bind(version.run.hex())
                .fetch_optional(&mut *conn)
                .await?;
                if let Some(row) = existing {
                    let body: String = row.try_get("record")?;
                    return Ok((Digest::of(body.as_bytes()), decode(MODEL_VERSION, &version.model, &body)?));
                }
                let at = version.created.millis();
                sqlx::query(
                    "INSERT INTO model (name, created, updated, record) VALUES ($1, $2, $2, '{}')
                     ON CONFLICT (name) DO UPDATE SET updated = excluded.updated",
                )
                .bind(&version.model)
                .bind(at)
                .execute(&mut *conn)
                .await?;
                let number = next_version(conn, &version.model).await?;
                version.version = u32::try_from(number).unwrap_or(u32::MAX);
                let body = canonical(MODEL_VERSION, &version)?;
                let address = put_record(conn, MODEL_VERSION, &body).await?;
                sqlx::query(
                    "INSERT INTO model_version (model, version, digest, run, created, updated, record)
                     VALUES ($1, $2, $3, $4, $5, $5, $6)",
                )
                .bind(&version.model)
                .bind(number)
                .bind(address.hex())
                .bind(version.run.hex())
                .bind(at)
                .bind(&body)
                .execute(&mut *conn)
                .await?;
                let run = version.run.hex();
                version_registered(conn, &version.model, number, &run, version.created).await?;
                Ok((address, version))
            })
        })
        .await
        .inspect(|_| self.ring())
    }

    /// A version by its number, with the address of its record.
    ///
    /// # Errors
    /// When there is none or the database cannot be read.
    pub async fn model_version(&self, model: &str, version: u32) -> Result<(Digest, ModelVersion), Error> {
        let row = sqlx::query(
            "SELECT record FROM model_version
             WHERE model = $1 AND version = $2 AND json_extract(record, '$.origin') IS NULL",
        )
        .bind(model)
        .bind(i64::from(version))
        .fetch_optional(self.readers())
        .await?;
        let Some(row) = row else {
            let name = format!("{model} {version}");
            return Err(Error::NotFound { kind: MODEL_VERSION, name, code: Code::VersionNotFound });
        };
        let body: String = row.try_get("record")?;
        Ok((Digest::of(body.as_bytes()), decode(MODEL_VERSION, model, &body)?))
    }

    /// The model of the version whose files have this owner: `v-` and the first 32 characters of the address
    /// of its record.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn model_of_files(&self, owner: &str) -> Result<Option<String>, Error> {
        let Some(start) = owner.strip_prefix("v-").filter(|start| start.len() == 32) else { return Ok(None) };
        let row = sqlx::query(
            "SELECT model FROM model_version WHERE digest >= $1 AND digest < $2
             AND json_extract(record, '$.origin') IS NULL LIMIT 1",
        )
        .bind(start)
        .bind(format!("{start}g"))
        .fetch_optional(self.readers())
        .await?;
        Ok(row.map(|row| row.try_get("model")).transpose()?)
    }

    /// All versions of a model, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn model_versions(&self, model: &str) -> Result<Vec<ModelVersion>, Error> {
        let rows = sqlx::query(
            "SELECT record FROM model_version
             WHERE model = $1 AND json_extract(record, '$.origin') IS NULL ORDER BY version",
        )
        .bind(model)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(|row| decode(MODEL_VERSION, model, row.try_get("record")?)).collect()
    }

    /// The version that an alias points to; nothing where it is one that a client made.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn aliased_version(
        &self,
        model: &str,
        alias: &str,
    ) -> Result<Option<(Digest, ModelVersion)>, Error> {
        let Some(address) = self.target(&rondo_core::reference::alias(model, alias)).await? else {
            return Ok(None);
        };
        let record: serde_json::Value = self.record(MODEL_VERSION, address).await?;
        if record.get("origin").is_some() {
            return Ok(None);
        }
        let version = serde_json::from_value(record);
        let version = version.map_err(|source| Error::Record {
            kind: MODEL_VERSION,
            name: model.to_owned(),
            source,
        })?;
        Ok(Some((address, version)))
    }

    /// All registered models with the time of their last change, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn models(&self) -> Result<Vec<(String, Timestamp)>, Error> {
        let rows =
            sqlx::query("SELECT name, updated FROM model ORDER BY name").fetch_all(self.readers()).await?;
        rows.iter().map(|row| Ok((row.try_get("name")?, Timestamp(row.try_get("updated")?)))).collect()
    }
}

/// The next number of a model's versions. Numbers are never used again, also not after one is deleted.
pub(super) async fn next_version(conn: &mut SqliteConnection, model: &str) -> Result<i64, Error> {
    let row = sqlx::query(
        "INSERT INTO setting (name, value)
         SELECT 'model/' || $1 || '/versions', CAST(COALESCE(MAX(version), 0) + 1 AS TEXT)
         FROM model_version WHERE model = $1
         ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(setting.value AS INTEGER) + 1 AS TEXT)
         RETURNING CAST(value AS INTEGER) AS version",
    )
    .bind(model)
    .fetch_one(conn)
    .await?;
    Ok(row.try_get("version")?)
}
