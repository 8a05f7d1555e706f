//! Versions of registered models, whoever made them, with what people write on them.

use std::collections::{BTreeMap, HashMap};

use rondo_core::journal::Because;
use rondo_core::reference::{alias as alias_ref, approval as approval_ref, stage as stage_ref};
use rondo_core::{Code, Timestamp};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::aliases::aliases_of;
use super::tags::set_tag;
use super::{ClientVersion, Tagged, Version, events, missing, touch};
use crate::Error;
use crate::meta::journal::{Expect, canonical, move_ref, put_record};
use crate::meta::models::next_version;
use crate::meta::search::{Page, Query, Room};
use crate::meta::{Meta, decode, encode};

pub(in crate::meta) const CLIENT_VERSION: &str = "client model version";

/// The kind of record a stage is.
pub const STAGE: &str = "stage";

/// The stage of a version that has none.
pub const NO_STAGE: &str = "None";

impl Meta {
    /// Makes a version from what a client says, with the next number of its model; answers the number.
    ///
    /// # Errors
    /// When the model does not exist or the database refuses.
    pub async fn create_client_version(
        &self,
        model: &str,
        version: ClientVersion,
        description: &str,
        tags: Vec<(String, String)>,
        at: Timestamp,
    ) -> Result<i64, Error> {
        let (model, description) = (model.to_owned(), description.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                let known = sqlx::query("UPDATE model SET updated = $2 WHERE name = $1")
                    .bind(&model)
                    .bind(at.millis())
                    .execute(&mut *conn)
                    .await?;
                if known.rows_affected() == 0 {
                    return Err(missing(&model));
                }
                let number = next_version(conn, &model).await?;
                let mut record = json!({ "origin": "mlflow", "model": model, "version": number });
                if let (Value::Object(record), Ok(Value::Object(said))) =
                    (&mut record, serde_json::to_value(&version))
                {
                    record.extend(said);
                }
                let body = canonical(CLIENT_VERSION, &record)?;
                let address = put_record(conn, CLIENT_VERSION, &body).await?;
                sqlx::query(
                    "INSERT INTO model_version (model, version, digest, run, created, updated, record)
                     VALUES ($1, $2, $3, $4, $5, $5, $6)",
                )
                .bind(&model)
                .bind(number)
                .bind(address.hex())
                .bind(&version.run)
                .bind(at.millis())
                .bind(&body)
                .execute(&mut *conn)
                .await?;
                if !description.is_empty() {
                    note(conn, &model, number, Some(&description), None).await?;
                }
                for (key, value) in &tags {
                    set_tag(conn, &Tagged::Version(model.clone(), number), key, value).await?;
                }
                events::version_created(conn, &model, number, &version, &tags, &description, at).await?;
                Ok(number)
            })
        })
        .await
        .inspect(|_| self.ring())
    }

    /// A version, whoever made it.
    ///
    /// # Errors
    /// When there is none or the database cannot be read.
    pub async fn version(&self, model: &str, number: i64) -> Result<Version, Error> {
        let row = sqlx::query("SELECT * FROM model_version WHERE model = $1 AND version = $2")
            .bind(model)
            .bind(number)
            .fetch_optional(self.readers())
            .await?
            .ok_or_else(|| no_version(model, number))?;
        let mut versions = self.with_notes(vec![read_version(&row)?]).await?;
        versions.pop().ok_or_else(|| no_version(model, number))
    }

    /// All versions of a model, whoever made them, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn versions(&self, model: &str) -> Result<Vec<Version>, Error> {
        let rows = sqlx::query("SELECT * FROM model_version WHERE model = $1 ORDER BY version")
            .bind(model)
            .fetch_all(self.readers())
            .await?;
        self.with_notes(rows.iter().map(read_version).collect::<Result<_, _>>()?).await
    }

    /// Sets what people say of a version.
    ///
    /// # Errors
    /// When there is none or the database refuses.
    pub async fn describe_version(
        &self,
        model: &str,
        number: i64,
        description: &str,
        at: Timestamp,
    ) -> Result<(), Error> {
        let (model, description) = (model.to_owned(), description.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                // What is said of a version is its own, and no change of its model.
                set_updated(conn, &model, number, at).await?;
                note(conn, &model, number, Some(&description), None).await
            })
        })
        .await
    }

    /// Sets a version's stage, with its line in the journal. With `archive` the other versions of that stage
    /// become `Archived`.
    ///
    /// # Errors
    /// When there is none or the database refuses.
    pub async fn set_stage(
        &self,
        model: &str,
        number: i64,
        stage: &str,
        archive: bool,
        because: Because,
        at: Timestamp,
    ) -> Result<(), Error> {
        let (model, stage) = (model.to_owned(), stage.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                if archive {
                    let others = sqlx::query(
                        "SELECT version FROM model_version_note
                         WHERE model = $1 AND stage = $2 AND version <> $3 ORDER BY version",
                    )
                    .bind(&model)
                    .bind(&stage)
                    .bind(number)
                    .fetch_all(&mut *conn)
                    .await?;
                    for row in &others {
                        enter(conn, &model, row.try_get("version")?, "Archived", &because, at).await?;
                    }
                }
                enter(conn, &model, number, &stage, &because, at).await
            })
        })
        .await
    }

    /// Deletes a version with the aliases that point to it. Its number is not used again.
    ///
    /// # Errors
    /// When there is none or the database refuses.
    pub async fn delete_version(
        &self,
        model: &str,
        number: i64,
        because: Because,
        at: Timestamp,
    ) -> Result<(), Error> {
        let model = model.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let row = sqlx::query(
                    "DELETE FROM model_version WHERE model = $1 AND version = $2 RETURNING digest",
                )
                .bind(&model)
                .bind(number)
                .fetch_optional(&mut *conn)
                .await?
                .ok_or_else(|| no_version(&model, number))?;
                let digest: String = row.try_get("digest")?;
                for (alias, target) in aliases_of(conn, &model).await? {
                    if target.hex() == digest {
                        move_ref(conn, &alias_ref(&model, &alias), Expect::Anything, None, &because, at)
                            .await?;
                    }
                }
                let own = number.to_string();
                for name in [stage_ref(&model, &own), approval_ref(&model, &own)] {
                    move_ref(conn, &name, Expect::Anything, None, &because, at).await?;
                }
                touch(conn, &model, at).await
            })
        })
        .await?;
        self.ring();
        Ok(())
    }

    /// Versions that match, a page of them. Nothing when the page's start does not belong to this order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn search_versions(&self, query: &Query) -> Result<Option<Page<Version>>, Error> {
        let Some(page) = self.search(Room::Versions, query, read_version).await? else { return Ok(None) };
        Ok(Some(Page { items: self.with_notes(page.items).await?, next: page.next }))
    }

    async fn with_notes(&self, mut versions: Vec<Version>) -> Result<Vec<Version>, Error> {
        let mut names: Vec<&str> = versions.iter().map(|version| version.model.as_str()).collect();
        names.dedup();
        let list = encode("models", "list", &names)?;
        let notes = sqlx::query(
            "SELECT model, version, description, stage FROM model_version_note
             WHERE model IN (SELECT value FROM json_each($1))",
        )
        .bind(&list)
        .fetch_all(self.readers())
        .await?;
        let tags = sqlx::query(
            "SELECT model, version, key, value FROM model_version_tag
             WHERE model IN (SELECT value FROM json_each($1))",
        )
        .bind(&list)
        .fetch_all(self.readers())
        .await?;
        let mut by_key: HashMap<(String, i64), &mut Version> = HashMap::new();
        for version in &mut versions {
            by_key.insert((version.model.clone(), version.number), version);
        }
        for row in &notes {
            if let Some(version) = by_key.get_mut(&(row.try_get("model")?, row.try_get("version")?)) {
                version.description = row.try_get("description")?;
                version.stage = row.try_get("stage")?;
            }
        }
        for row in &tags {
            if let Some(version) = by_key.get_mut(&(row.try_get("model")?, row.try_get("version")?)) {
                version.tags.insert(row.try_get("key")?, row.try_get("value")?);
            }
        }
        Ok(versions)
    }
}

/// Gives a version a stage.
async fn enter(
    conn: &mut SqliteConnection,
    model: &str,
    number: i64,
    stage: &str,
    because: &Because,
    at: Timestamp,
) -> Result<(), Error> {
    touch_version(conn, model, number, at).await?;
    note(conn, model, number, None, Some(stage)).await?;
    let to = match stage {
        NO_STAGE => None,
        stage => Some(put_record(conn, STAGE, &canonical(STAGE, &json!({ "stage": stage }))?).await?),
    };
    move_ref(conn, &stage_ref(model, &number.to_string()), Expect::Anything, to, because, at).await?;
    Ok(())
}

async fn touch_version(
    conn: &mut SqliteConnection,
    model: &str,
    number: i64,
    at: Timestamp,
) -> Result<(), Error> {
    set_updated(conn, model, number, at).await?;
    touch(conn, model, at).await
}

async fn set_updated(
    conn: &mut SqliteConnection,
    model: &str,
    number: i64,
    at: Timestamp,
) -> Result<(), Error> {
    let known = sqlx::query("UPDATE model_version SET updated = $3 WHERE model = $1 AND version = $2")
        .bind(model)
        .bind(number)
        .bind(at.millis())
        .execute(&mut *conn)
        .await?;
    if known.rows_affected() == 0 {
        return Err(no_version(model, number));
    }
    Ok(())
}

async fn note(
    conn: &mut SqliteConnection,
    model: &str,
    number: i64,
    description: Option<&str>,
    stage: Option<&str>,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO model_version_note (model, version, description, stage)
         VALUES ($1, $2, COALESCE($3, ''), COALESCE($4, 'None'))
         ON CONFLICT (model, version) DO UPDATE SET
         description = COALESCE($3, description), stage = COALESCE($4, stage)",
    )
    .bind(model)
    .bind(number)
    .bind(description)
    .bind(stage)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) fn no_version(model: &str, number: i64) -> Error {
    Error::NotFound { kind: "model version", name: format!("{model} {number}"), code: Code::VersionNotFound }
}

fn read_version(row: &SqliteRow) -> Result<Version, Error> {
    let model: String = row.try_get("model")?;
    let digest: String = row.try_get("digest")?;
    let corrupt = |_| Error::NotFound { kind: "model version", name: model.clone(), code: Code::Corrupt };
    Ok(Version {
        number: row.try_get("version")?,
        digest: digest.parse().map_err(corrupt)?,
        run: row.try_get("run")?,
        created: Timestamp(row.try_get("created")?),
        updated: Timestamp(row.try_get("updated")?),
        record: decode("model version", &model, row.try_get("record")?)?,
        description: String::new(),
        stage: NO_STAGE.to_owned(),
        tags: BTreeMap::new(),
        model,
    })
}
