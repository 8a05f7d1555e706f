//! Registered models as clients of the tracking protocol see them: every version, also those that no
//! pipeline made, with what people wrote on them.
//!
//! A version that a client made is a record of another shape than the registry's [`ModelVersion`]
//! (`"origin": "mlflow"`); [`super::models`] leaves those out, and what is here shows both. Aliases are refs
//! to either.

pub mod aliases;
pub(super) mod events;
mod tags;
mod versions;

use std::collections::{BTreeMap, HashMap};

use rondo_core::journal::Because;
use rondo_core::{Code, Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

pub(super) use versions::CLIENT_VERSION;

use super::access::{Maker, Subject, give_to_maker};
use super::search::{Page, Query, Room};
use super::{Meta, decode, encode};
use crate::Error;

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
pub(super) struct ModelRecord {
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(super) description: String,
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
        self.create_model_for(None, name, description, tags, at).await
    }

    /// Makes a registered model, on which its maker may do everything.
    ///
    /// # Errors
    /// When one of that name exists, there is no such user, or the database refuses.
    pub async fn create_model_for(
        &self,
        maker: Option<Maker>,
        name: &str,
        description: &str,
        tags: Vec<(String, String)>,
        at: Timestamp,
    ) -> Result<(), Error> {
        let record = encode("model", name, &ModelRecord { description: description.to_owned() })?;
        let (name, description) = (name.to_owned(), description.to_owned());
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
                    tags::set_tag(conn, &Tagged::Model(name.clone()), key, value).await?;
                }
                give_to_maker(conn, maker.as_ref(), &Subject::Model(name.clone()), at).await?;
                events::model_created(conn, &name, &tags, &description, at).await
            })
        })
        .await?;
        self.ring();
        Ok(())
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

    /// Renames a registered model, with its versions and aliases. To give it its own name changes its times
    /// alone.
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
                let taken = sqlx::query("SELECT 1 FROM model WHERE name = $1 AND name <> $2")
                    .bind(&to)
                    .bind(&name)
                    .fetch_optional(&mut *conn)
                    .await?;
                if taken.is_some() {
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
                sqlx::query("UPDATE model_version SET updated = $2 WHERE model = $1")
                    .bind(&to)
                    .bind(at.millis())
                    .execute(&mut *conn)
                    .await?;
                if name == to {
                    return Ok(());
                }
                sqlx::query("UPDATE setting SET name = 'model/' || $2 || '/versions' WHERE name = 'model/' || $1 || '/versions'")
                    .bind(&name)
                    .bind(&to)
                    .execute(&mut *conn)
                    .await?;
                aliases::rename_refs(conn, &name, &to, &because, at).await
            })
        })
        .await?;
        self.ring();
        Ok(())
    }

    /// Deletes a registered model with its versions and aliases. Its numbers are not used again.
    ///
    /// # Errors
    /// When there is none or the database refuses.
    pub async fn delete_model(&self, name: &str, because: Because, at: Timestamp) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                aliases::drop_refs(conn, &name, &because, at).await?;
                sqlx::query("DELETE FROM model_version WHERE model = $1")
                    .bind(&name)
                    .execute(&mut *conn)
                    .await?;
                let gone = sqlx::query("DELETE FROM model WHERE name = $1").bind(&name).execute(conn).await?;
                if gone.rows_affected() == 1 { Ok(()) } else { Err(missing(&name)) }
            })
        })
        .await?;
        self.ring();
        Ok(())
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
}

async fn touch(conn: &mut SqliteConnection, model: &str, at: Timestamp) -> Result<(), Error> {
    sqlx::query("UPDATE model SET updated = $2 WHERE name = $1")
        .bind(model)
        .bind(at.millis())
        .execute(conn)
        .await?;
    Ok(())
}

fn missing(name: &str) -> Error {
    Error::NotFound { kind: "registered model", name: name.to_owned(), code: Code::ModelNotFound }
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

#[cfg(test)]
mod tests;
