//! Experiments. Number 0, `Default`, always exists; a project's experiment has the project's name.

use std::collections::BTreeMap;

use rondo_core::{Code, Timestamp};
use rusqlite::{OptionalExtension, ToSql};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::Meta;
use super::access::{Maker, Subject, give_to_maker};
use crate::Error;

/// The root of the artifacts that the server keeps itself.
pub const PROXY: &str = "mlflow-artifacts:";

/// An experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Experiment {
    /// Counted up from 0.
    pub id: i64,
    /// Unique, also among the deleted.
    pub name: String,
    /// Where the artifacts of its runs go, as MLflow clients see it.
    pub artifact_location: String,
    /// Whether it has been deleted (softly).
    pub deleted: bool,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

impl Meta {
    /// Makes experiment 0, `Default`, where it is missing.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn ensure_default_experiment(&self, at: Timestamp) -> Result<(), Error> {
        self.ensure_default_experiment_under(PROXY, at).await
    }

    /// The same, with its artifacts under a root of the operator's.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn ensure_default_experiment_under(&self, root: &str, at: Timestamp) -> Result<(), Error> {
        if self.experiment(0).await?.is_some() {
            return Ok(());
        }
        let location = format!("{root}/0");
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO experiment (id, name, artifact_location, created, updated)
                     VALUES (0, 'Default', $2, $1, $1) ON CONFLICT DO NOTHING",
                )
                .bind(at.millis())
                .bind(&location)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Makes an experiment. Without a location its artifacts go to `mlflow-artifacts:/<id>`.
    ///
    /// # Errors
    /// When one of that name exists, deleted or not, or the database refuses.
    pub async fn create_experiment(
        &self,
        name: &str,
        artifact_location: Option<&str>,
        tags: BTreeMap<String, String>,
        at: Timestamp,
    ) -> Result<i64, Error> {
        self.create_experiment_under(None, name, artifact_location, PROXY, tags, at).await
    }

    /// Makes an experiment, on which its maker may do everything. Without a location its artifacts go to
    /// `<root>/<id>`.
    ///
    /// # Errors
    /// When one of that name exists, deleted or not, or the database refuses.
    pub async fn create_experiment_under(
        &self,
        maker: Option<Maker>,
        name: &str,
        artifact_location: Option<&str>,
        root: &str,
        tags: BTreeMap<String, String>,
        at: Timestamp,
    ) -> Result<i64, Error> {
        let (name, root) = (name.to_owned(), root.to_owned());
        let location = artifact_location.map(str::to_owned);
        self.write(move |conn| {
            Box::pin(async move {
                let row = sqlx::query(
                    "INSERT INTO experiment (id, name, artifact_location, created, updated)
                     SELECT MAX(COALESCE(MAX(id), 0), 0) + 1, $1, '', $2, $2 FROM experiment WHERE TRUE
                     ON CONFLICT (name) DO NOTHING RETURNING id",
                )
                .bind(&name)
                .bind(at.millis())
                .fetch_optional(&mut *conn)
                .await?;
                let Some(row) = row else {
                    return Err(Error::Exists { kind: "experiment", name, code: Code::ExperimentExists });
                };
                let id: i64 = row.try_get("id")?;
                sqlx::query("UPDATE experiment SET artifact_location = $2 WHERE id = $1")
                    .bind(id)
                    .bind(location.unwrap_or_else(|| format!("{root}/{id}")))
                    .execute(&mut *conn)
                    .await?;
                for (key, value) in &tags {
                    set_tag(conn, id, key, value).await?;
                }
                give_to_maker(conn, maker.as_ref(), &Subject::Experiment(id), at).await?;
                Ok(id)
            })
        })
        .await
    }

    /// The experiment of a name, made where it is missing (and not deleted).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn ensure_experiment(&self, name: &str, at: Timestamp) -> Result<i64, Error> {
        if let Some(experiment) = self.experiment_by_name(name).await? {
            return Ok(experiment.id);
        }
        match self.create_experiment(name, None, BTreeMap::new(), at).await {
            // Another process made it in the meantime.
            Err(Error::Exists { .. }) => {
                let found = self.experiment_by_name(name).await?;
                found.map(|experiment| experiment.id).ok_or_else(|| missing(name))
            }
            made => made,
        }
    }

    /// An experiment by its number.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn experiment(&self, id: i64) -> Result<Option<Experiment>, Error> {
        self.find_experiment("SELECT * FROM experiment WHERE id = ?1", &id)
    }

    /// An experiment by its name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn experiment_by_name(&self, name: &str) -> Result<Option<Experiment>, Error> {
        self.find_experiment("SELECT * FROM experiment WHERE name = ?1", &name)
    }

    /// All experiments, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn experiments(&self) -> Result<Vec<Experiment>, Error> {
        let rows = sqlx::query("SELECT * FROM experiment ORDER BY updated DESC, id DESC")
            .fetch_all(self.readers())
            .await?;
        let mut experiments: Vec<Experiment> = rows.iter().map(read).collect::<Result<_, _>>()?;
        let tags = sqlx::query("SELECT experiment, key, value FROM experiment_tag")
            .fetch_all(self.readers())
            .await?;
        let mut by_id: BTreeMap<i64, BTreeMap<String, String>> = BTreeMap::new();
        for row in &tags {
            let of = by_id.entry(row.try_get("experiment")?).or_default();
            of.insert(row.try_get("key")?, row.try_get("value")?);
        }
        for experiment in &mut experiments {
            experiment.tags = by_id.remove(&experiment.id).unwrap_or_default();
        }
        Ok(experiments)
    }

    /// Renames an experiment, deletes it or brings it back; what is `None` stays.
    ///
    /// # Errors
    /// When it does not exist, the new name is taken, or the database refuses.
    pub async fn update_experiment(
        &self,
        id: i64,
        name: Option<String>,
        deleted: Option<bool>,
        at: Timestamp,
    ) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                let updated = sqlx::query(
                    "UPDATE OR IGNORE experiment SET name = COALESCE($2, name),
                     deleted = COALESCE($3, deleted), updated = $4 WHERE id = $1",
                )
                .bind(id)
                .bind(&name)
                .bind(deleted)
                .bind(at.millis())
                .execute(&mut *conn)
                .await?;
                if updated.rows_affected() == 1 {
                    return Ok(());
                }
                let known =
                    sqlx::query("SELECT 1 FROM experiment WHERE id = $1").bind(id).fetch_optional(conn);
                match (known.await?, name) {
                    (Some(_), Some(name)) => {
                        Err(Error::Exists { kind: "experiment", name, code: Code::ExperimentExists })
                    }
                    (Some(_), None) | (None, _) => Err(missing(&id.to_string())),
                }
            })
        })
        .await
    }

    /// Sets a tag of an experiment, or takes it away.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn tag_experiment(&self, id: i64, key: &str, value: Option<&str>) -> Result<bool, Error> {
        let (key, value) = (key.to_owned(), value.map(str::to_owned));
        self.write(move |conn| {
            Box::pin(async move {
                let Some(value) = value else {
                    let gone = sqlx::query("DELETE FROM experiment_tag WHERE experiment = $1 AND key = $2")
                        .bind(id)
                        .bind(&key)
                        .execute(conn)
                        .await?;
                    return Ok(gone.rows_affected() == 1);
                };
                set_tag(conn, id, &key, &value).await?;
                Ok(true)
            })
        })
        .await
    }

    fn find_experiment(&self, query: &str, key: &dyn ToSql) -> Result<Option<Experiment>, Error> {
        self.finder().glance(|connection| {
            let found = connection.prepare_cached(query)?.query_row([key], |row| {
                Ok(Experiment {
                    id: row.get("id")?,
                    name: row.get("name")?,
                    artifact_location: row.get("artifact_location")?,
                    deleted: row.get("deleted")?,
                    created: Timestamp(row.get("created")?),
                    updated: Timestamp(row.get("updated")?),
                    tags: BTreeMap::new(),
                })
            });
            let Some(experiment) = found.optional()? else { return Ok(None) };
            let tags = "SELECT key, value FROM experiment_tag WHERE experiment = ?1";
            let mut tags = connection.prepare_cached(tags)?;
            let tags = tags.query_map([experiment.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(Some(Experiment { tags: tags.collect::<rusqlite::Result<_>>()?, ..experiment }))
        })
    }

    /// Deletes an experiment (softly) with its runs and logged models, or brings them back.
    ///
    /// # Errors
    /// When it does not exist or the database refuses.
    pub async fn delete_experiment(&self, id: i64, deleted: bool, at: Timestamp) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                let updated = sqlx::query("UPDATE experiment SET deleted = $2, updated = $3 WHERE id = $1")
                    .bind(id)
                    .bind(deleted)
                    .bind(at.millis())
                    .execute(&mut *conn)
                    .await?;
                if updated.rows_affected() != 1 {
                    return Err(missing(&id.to_string()));
                }
                // What was deleted by itself before keeps its own time.
                sqlx::query(
                    "UPDATE run SET deleted = $2, deleted_at = $3 WHERE experiment = $1 AND deleted <> $2",
                )
                    .bind(id)
                    .bind(deleted)
                    .bind(deleted.then_some(at.millis()))
                    .execute(&mut *conn)
                    .await?;
                sqlx::query(
                    "UPDATE logged_model SET deleted = $2, updated = $3 WHERE experiment = $1 AND deleted <> $2",
                )
                    .bind(id)
                    .bind(deleted)
                    .bind(at.millis())
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
    }
}

fn missing(name: &str) -> Error {
    Error::NotFound { kind: "experiment", name: name.to_owned(), code: Code::ExperimentNotFound }
}

async fn set_tag(conn: &mut SqliteConnection, id: i64, key: &str, value: &str) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO experiment_tag (experiment, key, value) VALUES ($1, $2, $3)
         ON CONFLICT (experiment, key) DO UPDATE SET value = excluded.value",
    )
    .bind(id)
    .bind(key)
    .bind(value)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) fn read(row: &SqliteRow) -> Result<Experiment, Error> {
    Ok(Experiment {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        artifact_location: row.try_get("artifact_location")?,
        deleted: row.try_get("deleted")?,
        created: Timestamp(row.try_get("created")?),
        updated: Timestamp(row.try_get("updated")?),
        tags: BTreeMap::new(),
    })
}
