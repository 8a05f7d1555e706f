//! Registered models as clients of the tracking protocol see them: every version, also those that no
//! pipeline made, with what people wrote on them.
//!
//! A version that a client made is a record of another shape than the registry's [`ModelVersion`]
//! (`"origin": "mlflow"`); [`super::models`] leaves those out, and what is here shows both. Aliases are refs
//! to either.

use std::collections::{BTreeMap, HashMap};

use rondo_core::journal::Because;
use rondo_core::reference::alias as alias_ref;
use rondo_core::{Code, Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::journal::{Expect, canonical, move_ref, put_record};
use super::models::next_version;
use super::search::{Page, Query, Room};
use super::{Meta, decode, encode};
use crate::Error;

const CLIENT_VERSION: &str = "client model version";

/// A registered model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredModel {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// What people say of it.
    pub description: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Aliases with the digests of the versions that they point to.
    pub aliases: BTreeMap<String, Digest>,
}

/// A version of a registered model, whoever made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// The model's name.
    pub model: String,
    /// Its number.
    pub number: i64,
    /// The digest of its record: what an alias points to.
    pub digest: Digest,
    /// The run that made it.
    pub run: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// Its record.
    pub record: Value,
    /// What people say of it.
    pub description: String,
    /// MLflow's stage: `None`, `Staging`, `Production` or `Archived`.
    pub stage: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

impl Version {
    /// What a client said when it made the version; nothing where a pipeline registered it.
    pub fn of_client(&self) -> Option<ClientVersion> {
        serde_json::from_value(self.record.clone()).ok()
    }
}

/// What a client says of a version that it makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientVersion {
    /// Where its files are, in the client's words.
    pub source: String,
    /// The root of its files, where the source is the name of something else that has them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub location: Option<String>,
    /// The run that made it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<String>,
    /// The logged model that it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model_id: Option<String>,
    /// A link that the client gave.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run_link: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user: Option<String>,
}

/// What has tags in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tagged {
    /// A model.
    Model(String),
    /// A version of a model.
    Version(String, i64),
}

#[derive(Default, Serialize, Deserialize)]
struct ModelRecord {
    #[serde(skip_serializing_if = "String::is_empty", default)]
    description: String,
}

impl Meta {
    /// Makes a registered model.
    ///
    /// # Errors
    /// When one of that name exists or the database refuses.
    pub async fn create_model(
        &self,
        name: &str,
        description: &str,
        tags: Vec<(String, String)>,
        at: Timestamp,
    ) -> Result<(), Error> {
        let record = encode("model", name, &ModelRecord { description: description.to_owned() })?;
        let name = name.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let made = sqlx::query(
                    "INSERT INTO model (name, created, updated, record) VALUES ($1, $2, $2, $3)
                     ON CONFLICT (name) DO NOTHING",
                )
                .bind(&name)
                .bind(at.millis())
                .bind(&record)
                .execute(&mut *conn)
                .await?;
                if made.rows_affected() == 0 {
                    return Err(Error::Exists { kind: "registered model", name, code: Code::ModelExists });
                }
                for (key, value) in &tags {
                    set_tag(conn, &Tagged::Model(name.clone()), key, value).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// A registered model.
    ///
    /// # Errors
    /// When there is none or the database cannot be read.
    pub async fn registered_model(&self, name: &str) -> Result<RegisteredModel, Error> {
        let row = sqlx::query("SELECT * FROM model WHERE name = $1")
            .bind(name)
            .fetch_optional(self.readers())
            .await?
            .ok_or_else(|| missing(name))?;
        let mut models = self.with_model_tags(vec![read_model(&row)?]).await?;
        models.pop().ok_or_else(|| missing(name))
    }

    /// Sets what people say of a registered model.
    ///
    /// # Errors
    /// When there is none or the database refuses.
    pub async fn describe_model(&self, name: &str, description: &str, at: Timestamp) -> Result<(), Error> {
        let record = encode("model", name, &ModelRecord { description: description.to_owned() })?;
        let name = name.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let updated = sqlx::query("UPDATE model SET record = $2, updated = $3 WHERE name = $1")
                    .bind(&name)
                    .bind(&record)
                    .bind(at.millis())
                    .execute(conn)
                    .await?;
                if updated.rows_affected() == 1 { Ok(()) } else { Err(missing(&name)) }
            })
        })
        .await
    }

    /// Renames a registered model, with its versions and aliases.
    ///
    /// # Errors
    /// When there is none, the new name is taken, or the database refuses.
    pub async fn rename_model(
        &self,
        name: &str,
        to: &str,
        because: Because,
        at: Timestamp,
    ) -> Result<(), Error> {
        let (name, to) = (name.to_owned(), to.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                let taken = sqlx::query("SELECT 1 FROM model WHERE name = $1").bind(&to).fetch_optional(&mut *conn);
                if taken.await?.is_some() {
                    return Err(Error::Exists { kind: "registered model", name: to, code: Code::ModelExists });
                }
                let updated = sqlx::query("UPDATE model SET name = $2, updated = $3 WHERE name = $1")
                    .bind(&name)
                    .bind(&to)
                    .bind(at.millis())
                    .execute(&mut *conn)
                    .await?;
                if updated.rows_affected() == 0 {
                    return Err(missing(&name));
                }
                sqlx::query("UPDATE setting SET name = 'model/' || $2 || '/versions' WHERE name = 'model/' || $1 || '/versions'")
                    .bind(&name)
                    .bind(&to)
                    .execute(&mut *conn)
                    .await?;
                for (alias, target) in aliases_of(conn, &name).await? {
                    move_ref(conn, &alias_ref(&name, &alias), Expect::Anything, None, &because, at).await?;
                    move_ref(conn, &alias_ref(&to, &alias), Expect::Anything, Some(target), &because, at).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Deletes a registered model with its versions and aliases. Its numbers are not used again.
    ///
    /// # Errors
    /// When there is none or the database refuses.
    pub async fn delete_model(&self, name: &str, because: Because, at: Timestamp) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                for (alias, _) in aliases_of(conn, &name).await? {
                    move_ref(conn, &alias_ref(&name, &alias), Expect::Anything, None, &because, at).await?;
                }
                sqlx::query("DELETE FROM model_version WHERE model = $1")
                    .bind(&name)
                    .execute(&mut *conn)
                    .await?;
                let gone = sqlx::query("DELETE FROM model WHERE name = $1").bind(&name).execute(conn).await?;
                if gone.rows_affected() == 1 { Ok(()) } else { Err(missing(&name)) }
            })
        })
        .await
    }

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
                Ok(number)
            })
        })
        .await
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

    /// Writes on a version: what people say of it, or its stage; what is `None` stays. With `archive` the
    /// other versions of that stage become `Archived`.
    ///
    /// # Errors
    /// When there is none or the database refuses.
    pub async fn note_version(
        &self,
        model: &str,
        number: i64,
        description: Option<String>,
        stage: Option<String>,
        archive: bool,
        at: Timestamp,
    ) -> Result<(), Error> {
        let model = model.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let known =
                    sqlx::query("UPDATE model_version SET updated = $3 WHERE model = $1 AND version = $2")
                        .bind(&model)
                        .bind(number)
                        .bind(at.millis())
                        .execute(&mut *conn)
                        .await?;
                if known.rows_affected() == 0 {
                    return Err(no_version(&model, number));
                }
                if archive {
                    sqlx::query(
                        "UPDATE model_version_note SET stage = 'Archived' WHERE model = $1 AND stage = $2",
                    )
                    .bind(&model)
                    .bind(&stage)
                    .execute(&mut *conn)
                    .await?;
                }
                // What is said of a version is its own; its stage is a matter of its model.
                if stage.is_some() {
                    touch(conn, &model, at).await?;
                }
                note(conn, &model, number, description.as_deref(), stage.as_deref()).await
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
                touch(conn, &model, at).await
            })
        })
        .await
    }

    /// Sets a tag of a model or version, or takes it away.
    ///
    /// # Errors
    /// When there is no such model or version, or the database refuses.
    pub async fn tag_registered(
        &self,
        what: Tagged,
        key: &str,
        value: Option<&str>,
        at: Timestamp,
    ) -> Result<(), Error> {
        let (key, value) = (key.to_owned(), value.map(str::to_owned));
        self.write(move |conn| {
            Box::pin(async move {
                match value {
                    Some(value) => set_tag(conn, &what, &key, &value).await?,
                    None => unset_tag(conn, &what, &key).await?,
                }
                let (Tagged::Model(model) | Tagged::Version(model, _)) = &what;
                touch(conn, model, at).await
            })
        })
        .await
    }

    /// Registered models that match, a page of them. Nothing when the page's start does not belong to this
    /// order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn search_models(&self, query: &Query) -> Result<Option<Page<RegisteredModel>>, Error> {
        let Some(page) = self.search(Room::Models, query, read_model).await? else { return Ok(None) };
        Ok(Some(Page { items: self.with_model_tags(page.items).await?, next: page.next }))
    }

    /// Versions that match, a page of them. Nothing when the page's start does not belong to this order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn search_versions(&self, query: &Query) -> Result<Option<Page<Version>>, Error> {
        let Some(page) = self.search(Room::Versions, query, read_version).await? else { return Ok(None) };
        Ok(Some(Page { items: self.with_notes(page.items).await?, next: page.next }))
    }

    async fn with_model_tags(&self, mut models: Vec<RegisteredModel>) -> Result<Vec<RegisteredModel>, Error> {
        let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        let list = encode("models", "list", &names)?;
        let rows = sqlx::query(
            "SELECT model, key, value FROM model_tag WHERE model IN (SELECT value FROM json_each($1))",
        )
        .bind(&list)
        .fetch_all(self.readers())
        .await?;
        let mut tags: HashMap<String, BTreeMap<String, String>> = HashMap::new();
        for row in &rows {
            let of = tags.entry(row.try_get("model")?).or_default();
            of.insert(row.try_get("key")?, row.try_get("value")?);
        }
        for model in &mut models {
            model.tags = tags.remove(&model.name).unwrap_or_default();
            model.aliases = self.model_aliases(&model.name).await?;
        }
        Ok(models)
    }

    /// The aliases of a model with the digests of the versions that they point to.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn model_aliases(&self, model: &str) -> Result<BTreeMap<String, Digest>, Error> {
        let prefix = alias_ref(model, "");
        let refs = self.refs(&prefix).await?.into_iter();
        let alias = |(name, target): (String, Digest)| Some((name.strip_prefix(&prefix)?.to_owned(), target));
        // A model's own name may have an @ in it; an alias may not.
        Ok(refs.filter_map(alias).filter(|(alias, _)| !alias.contains('@')).collect())
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

async fn aliases_of(conn: &mut SqliteConnection, model: &str) -> Result<Vec<(String, Digest)>, Error> {
    let prefix = alias_ref(model, "");
    let rows = sqlx::query("SELECT name, target FROM ref WHERE substr(name, 1, $2) = $1")
        .bind(&prefix)
        .bind(prefix.chars().count() as i64)
        .fetch_all(conn)
        .await?;
    let mut aliases = Vec::new();
    for row in &rows {
        let (name, target): (String, String) = (row.try_get("name")?, row.try_get("target")?);
        if let (Some(alias), Ok(target)) = (name.strip_prefix(&prefix), target.parse())
            && !alias.contains('@')
        {
            aliases.push((alias.to_owned(), target));
        }
    }
    Ok(aliases)
}

async fn touch(conn: &mut SqliteConnection, model: &str, at: Timestamp) -> Result<(), Error> {
    sqlx::query("UPDATE model SET updated = $2 WHERE name = $1")
        .bind(model)
        .bind(at.millis())
        .execute(conn)
        .await?;
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

async fn set_tag(conn: &mut SqliteConnection, what: &Tagged, key: &str, value: &str) -> Result<(), Error> {
    let set = match what {
        Tagged::Model(model) => sqlx::query(
            "INSERT INTO model_tag (model, key, value) VALUES ($1, $2, $3)
             ON CONFLICT (model, key) DO UPDATE SET value = excluded.value",
        )
        .bind(model)
        .bind(key)
        .bind(value),
        Tagged::Version(model, number) => sqlx::query(
            "INSERT INTO model_version_tag (model, key, value, version) VALUES ($1, $2, $3, $4)
             ON CONFLICT (model, version, key) DO UPDATE SET value = excluded.value",
        )
        .bind(model)
        .bind(key)
        .bind(value)
        .bind(number),
    };
    set.execute(conn).await.map_err(|error| {
        let foreign = error.as_database_error().is_some_and(|error| error.is_foreign_key_violation());
        match what {
            Tagged::Model(model) if foreign => missing(model),
            Tagged::Version(model, number) if foreign => no_version(model, *number),
            Tagged::Model(_) | Tagged::Version(..) => error.into(),
        }
    })?;
    Ok(())
}

async fn unset_tag(conn: &mut SqliteConnection, what: &Tagged, key: &str) -> Result<(), Error> {
    match what {
        Tagged::Model(model) => sqlx::query("DELETE FROM model_tag WHERE model = $1 AND key = $2")
            .bind(model)
            .bind(key)
            .execute(conn),
        Tagged::Version(model, number) => {
            sqlx::query("DELETE FROM model_version_tag WHERE model = $1 AND key = $2 AND version = $3")
                .bind(model)
                .bind(key)
                .bind(number)
                .execute(conn)
        }
    }
    .await?;
    Ok(())
}

fn missing(name: &str) -> Error {
    Error::NotFound { kind: "registered model", name: name.to_owned(), code: Code::ModelNotFound }
}

fn no_version(model: &str, number: i64) -> Error {
    Error::NotFound { kind: "model version", name: format!("{model} {number}"), code: Code::VersionNotFound }
}

fn read_model(row: &SqliteRow) -> Result<RegisteredModel, Error> {
    let name: String = row.try_get("name")?;
    let record: ModelRecord = decode("model", &name, row.try_get("record")?)?;
    Ok(RegisteredModel {
        created: Timestamp(row.try_get("created")?),
        updated: Timestamp(row.try_get("updated")?),
        description: record.description,
        tags: BTreeMap::new(),
        aliases: BTreeMap::new(),
        name,
    })
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
        stage: "None".to_owned(),
        tags: BTreeMap::new(),
        model,
    })
}

#[cfg(test)]
mod tests;
