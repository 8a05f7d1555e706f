//! Models that clients of the tracking protocol logged: a name, a status and files of their own.

use std::collections::{BTreeMap, HashMap};

use rondo_core::{Code, RunId, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::metrics::{Point, point, stored};
use super::script::Script;
use super::search::{Page, Query, Room};
use super::{Meta, decode, encode};
use crate::Error;

/// A logged model.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedModel {
    /// `m-` and 32 hex characters.
    pub id: String,
    /// The experiment it is filed under.
    pub experiment: i64,
    /// The run that logged it.
    pub run: Option<String>,
    /// Its name; not unique.
    pub name: String,
    /// `PENDING`, `READY` or `UPLOAD_FAILED`.
    pub status: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// Whether it has been deleted (softly).
    pub deleted: bool,
    /// The rest.
    pub record: LoggedModelRecord,
}

/// What of a logged model is never searched by SQL alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedModelRecord {
    /// What the client calls its type, such as `agent`.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub model_type: String,
}

/// A point of a metric that was measured of a logged model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelMetric {
    /// The model.
    pub model: String,
    /// The run whose series it is in.
    pub run: RunId,
    /// The metric.
    pub key: String,
    /// The dataset's name; empty for none.
    pub dataset_name: String,
    /// The dataset's digest; empty for none.
    pub dataset_digest: String,
    /// The point.
    pub point: Point,
}

/// What was logged of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelFacts {
    /// Parameters.
    pub params: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Metrics: every point, in the order in which they were logged.
    pub metrics: Vec<ModelMetric>,
}

const TAG: &str = "INSERT INTO logged_model_tag (model, key, value) VALUES ($1, $2, $3)
     ON CONFLICT (model, key) DO UPDATE SET value = excluded.value";
/// Written once: another value gives no row back.
const PARAM: &str = "INSERT INTO logged_model_param (model, key, value) VALUES ($1, $2, $3)
     ON CONFLICT (model, key) DO UPDATE SET value = excluded.value WHERE value = excluded.value RETURNING key";

impl Meta {
    /// Keeps a new logged model.
    ///
    /// # Errors
    /// When its experiment does not exist or the database refuses.
    pub async fn create_logged_model(
        &self,
        model: &LoggedModel,
        params: Vec<(String, String)>,
        tags: Vec<(String, String)>,
    ) -> Result<(), Error> {
        let record = encode("logged model", &model.id, &model.record)?;
        let model = model.clone();
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO logged_model (id, experiment, run, name, status, created, updated, record)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                )
                .bind(&model.id)
                .bind(model.experiment)
                .bind(&model.run)
                .bind(&model.name)
                .bind(&model.status)
                .bind(model.created.millis())
                .bind(model.updated.millis())
                .bind(&record)
                .execute(&mut *conn)
                .await?;
                log_params(conn, &model.id, &params).await?;
                set_tags(conn, &model.id, &tags).await
            })
        })
        .await
    }

    /// A logged model, deleted or not.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn logged_model(&self, id: &str) -> Result<Option<LoggedModel>, Error> {
        let row = sqlx::query("SELECT * FROM logged_model WHERE id = $1")
            .bind(id)
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Changes a logged model's status, or deletes it; what is `None` stays.
    ///
    /// # Errors
    /// When there is none or the database refuses.
    pub async fn update_logged_model(
        &self,
        id: &str,
        status: Option<String>,
        deleted: Option<bool>,
        at: Timestamp,
    ) -> Result<(), Error> {
        let id = id.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let updated = sqlx::query(
                    "UPDATE logged_model SET status = COALESCE($2, status), deleted = COALESCE($3, deleted),
                     updated = $4 WHERE id = $1",
                )
                .bind(&id)
                .bind(&status)
                .bind(deleted)
                .bind(at.millis())
                .execute(conn)
                .await?;
                if updated.rows_affected() == 1 { Ok(()) } else { Err(missing(&id)) }
            })
        })
        .await
    }

    /// Sets tags of a logged model.
    ///
    /// # Errors
    /// When there is none or the database refuses.
    pub async fn tag_logged_model(&self, id: &str, tags: Vec<(String, String)>) -> Result<(), Error> {
        let id = id.to_owned();
        self.write(move |conn| Box::pin(async move { set_tags(conn, &id, &tags).await })).await
    }

    /// Sets a tag of a logged model to what follows from the value that it has, in one transaction; where
    /// nothing follows it stays as it is.
    ///
    /// # Errors
    /// When there is none or the database refuses.
    pub async fn amend_logged_model_tag(
        &self,
        id: &str,
        key: &str,
        amend: impl FnOnce(Option<&str>) -> Option<String> + Send + 'static,
    ) -> Result<(), Error> {
        let (id, key) = (id.to_owned(), key.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                let row = sqlx::query("SELECT value FROM logged_model_tag WHERE model = $1 AND key = $2")
                    .bind(&id)
                    .bind(&key)
                    .fetch_optional(&mut *conn)
                    .await?;
                let known: Option<String> = row.map(|row| row.try_get("value")).transpose()?;
                match amend(known.as_deref()) {
                    Some(value) => set_tags(conn, &id, &[(key, value)]).await,
                    None => Ok(()),
                }
            })
        })
        .await
    }

    /// Takes a tag of a logged model away; whether it was there.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn untag_logged_model(&self, id: &str, key: &str) -> Result<bool, Error> {
        let (id, key) = (id.to_owned(), key.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                let gone = sqlx::query("DELETE FROM logged_model_tag WHERE model = $1 AND key = $2")
                    .bind(&id)
                    .bind(&key)
                    .execute(conn)
                    .await?;
                Ok(gone.rows_affected() == 1)
            })
        })
        .await
    }

    /// Logs parameters of a logged model. One that stands with the same value is left.
    ///
    /// # Errors
    /// When there is no such model, one stands with another value, or the database refuses; then none is
    /// logged.
    pub async fn log_model_params(&self, id: &str, params: Vec<(String, String)>) -> Result<(), Error> {
        let id = id.to_owned();
        self.write(move |conn| Box::pin(async move { log_params(conn, &id, &params).await })).await
    }

    /// What was logged of each of these models; every one of them is in the answer.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn model_facts(&self, ids: &[String]) -> Result<HashMap<String, ModelFacts>, Error> {
        let mut facts: HashMap<String, ModelFacts> =
            ids.iter().map(|id| (id.clone(), ModelFacts::default())).collect();
        let list = encode("logged models", "list", &ids)?;
        let rows = sqlx::query(
            "SELECT model, key, value FROM logged_model_param WHERE model IN (SELECT value FROM json_each($1))",
        )
        .bind(&list)
        .fetch_all(self.readers())
        .await?;
        for row in &rows {
            let of = facts.entry(row.try_get("model")?).or_default();
            of.params.insert(row.try_get("key")?, row.try_get("value")?);
        }
        let rows = sqlx::query(
            "SELECT model, key, value FROM logged_model_tag WHERE model IN (SELECT value FROM json_each($1))",
        )
        .bind(&list)
        .fetch_all(self.readers())
        .await?;
        for row in &rows {
            let of = facts.entry(row.try_get("model")?).or_default();
            of.tags.insert(row.try_get("key")?, row.try_get("value")?);
        }
        let rows = sqlx::query(
            "SELECT * FROM logged_model_metric WHERE model IN (SELECT value FROM json_each($1)) ORDER BY seq",
        )
        .bind(&list)
        .fetch_all(self.readers())
        .await?;
        for row in &rows {
            let metric = ModelMetric {
                model: row.try_get("model")?,
                run: super::cache::parse_run(row.try_get("run")?)?,
                key: row.try_get("key")?,
                dataset_name: row.try_get("dataset_name")?,
                dataset_digest: row.try_get("dataset_digest")?,
                point: point(row)?,
            };
            facts.entry(metric.model.clone()).or_default().metrics.push(metric);
        }
        Ok(facts)
    }

    /// How many of the first of these models have no more than so many points of metrics together.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn models_within(&self, ids: &[String], points: u64) -> Result<usize, Error> {
        let rows = sqlx::query(
            "SELECT model, COUNT(*) AS points FROM logged_model_metric
             WHERE model IN (SELECT value FROM json_each($1)) GROUP BY model",
        )
        .bind(encode("logged models", "list", &ids)?)
        .fetch_all(self.readers())
        .await?;
        let mut counts: HashMap<&str, i64> = HashMap::with_capacity(rows.len());
        for row in &rows {
            counts.insert(row.try_get("model")?, row.try_get("points")?);
        }
        let mut sum = 0_u64;
        let fits = |id: &&String| {
            sum = sum.saturating_add(counts.get(id.as_str()).map_or(0, |count| count.unsigned_abs()));
            sum <= points
        };
        Ok(ids.iter().take_while(fits).count())
    }

    /// Logged models that match, a page of them. Nothing when the page's start does not belong to this
    /// order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn search_logged_models(&self, query: &Query) -> Result<Option<Page<LoggedModel>>, Error> {
        self.search(Room::LoggedModels, query, read).await
    }

    /// That the first of these logged models that there is not is missing; nothing where all are there. An
    /// empty text is no model.
    pub(super) async fn missing_model(&self, ids: impl Iterator<Item = &str>) -> Option<Error> {
        for id in ids.filter(|id| !id.is_empty()) {
            match self.logged_model(id).await {
                Ok(Some(_)) => {}
                Ok(None) => return Some(missing(id)),
                Err(error) => return Some(error),
            }
        }
        None
    }
}

async fn set_tags(conn: &mut SqliteConnection, id: &str, tags: &[(String, String)]) -> Result<(), Error> {
    for (key, value) in tags {
        let set = sqlx::query(TAG).bind(id).bind(key).bind(value).execute(&mut *conn);
        set.await.map_err(|error| no_model(error, id))?;
    }
    Ok(())
}

async fn log_params(conn: &mut SqliteConnection, id: &str, params: &[(String, String)]) -> Result<(), Error> {
    for (key, value) in params {
        let logged = sqlx::query(PARAM).bind(id).bind(key).bind(value).fetch_optional(&mut *conn);
        if logged.await.map_err(|error| no_model(error, id))?.is_some() {
            continue;
        }
        let row = sqlx::query("SELECT value FROM logged_model_param WHERE model = $1 AND key = $2")
            .bind(id)
            .bind(key)
            .fetch_one(&mut *conn)
            .await?;
        let (model, key, old, new) = (id.to_owned(), key.clone(), row.try_get("value")?, value.clone());
        return Err(Error::ModelParameterChanged { model, key, old, new });
    }
    Ok(())
}

/// Adds a point of a logged model's metric to a script; one that is there stands.
pub(super) fn log_model_metric(script: &mut Script, metric: ModelMetric) {
    script.statement(
        "INSERT INTO logged_model_metric (run, model, key, dataset_name, dataset_digest, value, is_nan,
         timestamp, step) VALUES (",
    );
    script.value(metric.run.hex()).sql(", ").value(metric.model).sql(", ").value(metric.key).sql(", ");
    script.value(metric.dataset_name).sql(", ").value(metric.dataset_digest).sql(", ");
    script.value(stored(metric.point.value)).sql(", ").value(metric.point.value.is_nan()).sql(", ");
    script.value(metric.point.timestamp).sql(", ").value(metric.point.step);
    script.sql(") ON CONFLICT DO NOTHING");
}

/// A broken foreign key means that there is no such model.
fn no_model(error: sqlx::Error, id: &str) -> Error {
    let foreign = error.as_database_error().is_some_and(|error| error.is_foreign_key_violation());
    if foreign { missing(id) } else { error.into() }
}

fn missing(id: &str) -> Error {
    Error::NotFound { kind: "logged model", name: id.to_owned(), code: Code::ModelNotFound }
}

fn read(row: &SqliteRow) -> Result<LoggedModel, Error> {
    let id: String = row.try_get("id")?;
    Ok(LoggedModel {
        experiment: row.try_get("experiment")?,
        run: row.try_get("run")?,
        name: row.try_get("name")?,
        status: row.try_get("status")?,
        created: Timestamp(row.try_get("created")?),
        updated: Timestamp(row.try_get("updated")?),
        deleted: row.try_get("deleted")?,
        record: decode("logged model", &id, row.try_get("record")?)?,
        id,
    })
}
