//! Records of another store, brought in as they are: ids, times and numbers are given, not made.
//!
//! Everything here may be done again: what stands is completed, never doubled. How far an import has come is
//! kept beside what it brings, in the same transaction (see [`Meta::import_marks`]). A deleted run takes
//! everything too.

mod series;
mod traces;

use std::collections::{BTreeMap, HashMap, HashSet};

use rondo_core::journal::Because;
use rondo_core::reference::alias as alias_ref;
use rondo_core::run::RunRow;
use rondo_core::{Digest, RunId, Timestamp};
use serde_json::{Value, json};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::artifacts::Artifact;
use super::dataset_inputs::{DATASET, put_dataset};
use super::experiments::Experiment;
use super::journal::{Expect, canonical, move_ref, put_record};
use super::logged_models::{LoggedModel, ModelMetric, log_model_metric};
use super::registered::{CLIENT_VERSION, ClientVersion, ModelRecord};
use super::script::Script;
use super::{Meta, encode};
use crate::Error;
use crate::foreign::{Pairs, RunInput};
pub use series::ImportedSeries;
pub use traces::ImportedTrace;

/// Rows of one statement: SQLite and PostgreSQL take at least four values each of so many.
const ROWS: usize = 1000;

/// A run with all that is written with its row.
#[derive(Debug, Clone)]
pub struct ImportedRun {
    /// The row.
    pub row: RunRow,
    /// Parameters.
    pub params: Pairs,
    /// Tags.
    pub tags: Pairs,
    /// Inputs and outputs.
    pub inputs: Vec<RunInput>,
}

/// A logged model with all that is written with its row.
#[derive(Debug, Clone)]
pub struct ImportedModel {
    /// The row.
    pub row: LoggedModel,
    /// Parameters.
    pub params: Pairs,
    /// Tags.
    pub tags: Pairs,
}

/// A version of a registered model.
#[derive(Debug, Clone)]
pub struct ImportedVersion {
    /// Its number.
    pub number: i64,
    /// What a client said when it made it.
    pub said: ClientVersion,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// What people say of it.
    pub description: String,
    /// MLflow's stage.
    pub stage: String,
    /// Tags.
    pub tags: Pairs,
}

/// A registered model.
#[derive(Debug, Clone)]
pub struct ImportedRegistered {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// What people say of it.
    pub description: String,
    /// Tags.
    pub tags: Pairs,
    /// Aliases with the numbers that they point to.
    pub aliases: Vec<(String, i64)>,
    /// Its versions.
    pub versions: Vec<ImportedVersion>,
    /// The greatest number ever given: the next is greater.
    pub last: i64,
}

/// What became of a registered model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegisteredOutcome {
    /// Whether the model itself is new.
    pub made: bool,
    /// Versions that are new.
    pub versions: u64,
    /// Numbers that another version has here.
    pub taken: Vec<i64>,
    /// Aliases that were set.
    pub aliases: u64,
    /// Aliases that point to another version here.
    pub elsewhere: Vec<String>,
}

impl Meta {
    /// How far these were brought in, by id: empty where it is under way, else the mark that it ended with.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn import_marks(&self, kind: &str, ids: &[String]) -> Result<HashMap<String, String>, Error> {
        let list = encode("marks", "list", &ids)?;
        let rows = sqlx::query(
            "SELECT id, mark FROM imported WHERE kind = $1 AND id IN (SELECT value FROM json_each($2))",
        )
        .bind(kind)
        .bind(&list)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// Says that these were brought in whole.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn mark_imported(&self, kind: &'static str, marks: Pairs) -> Result<(), Error> {
        self.write(move |conn| Box::pin(async move { mark(conn, kind, &marks).await })).await
    }

    /// Which of these runs are here, deleted or not.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn known_runs(&self, ids: &[RunId]) -> Result<HashSet<RunId>, Error> {
        let hex: Vec<String> = ids.iter().map(RunId::hex).collect();
        let list = encode("runs", "list", &hex)?;
        let rows = sqlx::query("SELECT id FROM run WHERE id IN (SELECT value FROM json_each($1))")
            .bind(&list)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(|row| super::cache::parse_run(row.try_get(0)?)).collect()
    }

    /// Makes an experiment with its id. Where one of that id or name is, nothing happens but that tags that
    /// it has not are added.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn import_experiment(&self, experiment: Experiment) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO experiment (id, name, artifact_location, deleted, created, updated)
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                )
                .bind(experiment.id)
                .bind(&experiment.name)
                .bind(&experiment.artifact_location)
                .bind(experiment.deleted)
                .bind(experiment.created.millis())
                .bind(experiment.updated.millis())
                .execute(&mut *conn)
                .await?;
                for (key, value) in &experiment.tags {
                    sqlx::query(
                        "INSERT INTO experiment_tag (experiment, key, value) VALUES ($1, $2, $3)
                         ON CONFLICT (experiment, key) DO NOTHING",
                    )
                    .bind(experiment.id)
                    .bind(key)
                    .bind(value)
                    .execute(&mut *conn)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Makes runs with their ids, or brings those that are here to what is given; marks them as under way.
    ///
    /// # Errors
    /// When an experiment does not exist or the database refuses; then none is made.
    pub async fn import_runs(&self, runs: Vec<ImportedRun>) -> Result<(), Error> {
        let (mut params, mut tags, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        for run in &runs {
            let id = run.row.id.hex();
            params.extend(owned(&id, &run.params));
            tags.extend(owned(&id, &run.tags));
            marks.push((id, String::new()));
        }
        self.write(move |conn| {
            Box::pin(async move {
                for run in &runs {
                    insert_run(conn, &run.row).await?;
                }
                let keep = "ON CONFLICT (run, key) DO NOTHING";
                insert_rows(conn, "run_param (run, key, value)", &params, keep).await?;
                let set = "ON CONFLICT (run, key) DO UPDATE SET value = excluded.value";
                insert_rows(conn, "run_tag (run, key, value)", &tags, set).await?;
                for run in &runs {
                    for input in &run.inputs {
                        if input.kind == DATASET {
                            put_dataset(conn, run.row.id, &input.key, input.record.clone()).await?;
                            continue;
                        }
                        sqlx::query(
                            "INSERT INTO run_input (run, kind, key, record) VALUES ($1, $2, $3, $4)
                             ON CONFLICT (run, kind, key) DO UPDATE SET record = excluded.record",
                        )
                        .bind(run.row.id.hex())
                        .bind(input.kind)
                        .bind(&input.key)
                        .bind(encode("run input", &input.key, &input.record)?)
                        .execute(&mut *conn)
                        .await?;
                    }
                }
                mark(conn, "run", &marks).await
            })
        })
        .await
    }

    /// Makes logged models with their ids, or brings those that are here to what is given; marks them as
    /// under way.
    ///
    /// # Errors
    /// When an experiment does not exist or the database refuses; then none is made.
    pub async fn import_logged_models(&self, models: Vec<ImportedModel>) -> Result<(), Error> {
        let (mut params, mut tags, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        for model in &models {
            let id = &model.row.id;
            params.extend(owned(id, &model.params));
            tags.extend(owned(id, &model.tags));
            marks.push((id.clone(), String::new()));
        }
        self.write(move |conn| {
            Box::pin(async move {
                for ImportedModel { row, .. } in &models {
                    sqlx::query(
                        "INSERT INTO logged_model (id, experiment, run, name, status, created, updated, deleted,
                         record) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                         ON CONFLICT (id) DO UPDATE SET status = excluded.status, updated = excluded.updated,
                         deleted = excluded.deleted",
                    )
                    .bind(&row.id)
                    .bind(row.experiment)
                    .bind(&row.run)
                    .bind(&row.name)
                    .bind(&row.status)
                    .bind(row.created.millis())
                    .bind(row.updated.millis())
                    .bind(row.deleted)
                    .bind(encode("logged model", &row.id, &row.record)?)
                    .execute(&mut *conn)
                    .await?;
                }
                let set = "ON CONFLICT (model, key) DO UPDATE SET value = excluded.value";
                insert_rows(conn, "logged_model_param (model, key, value)", &params, set).await?;
                insert_rows(conn, "logged_model_tag (model, key, value)", &tags, set).await?;
                mark(conn, "logged model", &marks).await
            })
        })
        .await
    }

    /// Makes a registered model with its versions, or adds to the one that is here the versions, tags and
    /// aliases that it has not. What is here already stays as it is.
    ///
    /// # Errors
    /// When the database refuses; then nothing of it is made.
    pub async fn import_registered(
        &self,
        model: ImportedRegistered,
        because: Because,
        at: Timestamp,
    ) -> Result<RegisteredOutcome, Error> {
        self.write(move |conn| Box::pin(async move { registered(conn, &model, &because, at).await })).await
    }

    /// Keeps points of metrics of logged models, each once.
    ///
    /// # Errors
    /// When there is no such logged model or the database refuses.
    pub async fn import_model_metrics(&self, metrics: Vec<ModelMetric>) -> Result<(), Error> {
        let mut script = Script::on(rusqlite::types::Null);
        for metric in &metrics {
            log_model_metric(&mut script, metric.clone());
        }
        match self.script(script).await {
            Err(Error::Database(error)) if error.misses_a_row() => {
                let models = metrics.iter().map(|metric| metric.model.as_str());
                Err(self.missing_model(models).await.unwrap_or(Error::Database(error)))
            }
            done => done.map(drop),
        }
    }

    /// Puts files among the artifacts of an owner.
    ///
    /// # Errors
    /// When the database refuses; then none is put.
    pub async fn put_artifacts(&self, owner: &str, files: Vec<Artifact>) -> Result<(), Error> {
        let owner = owner.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                for files in files.chunks(ROWS) {
                    let mut insert: QueryBuilder<Sqlite> =
                        QueryBuilder::new("INSERT INTO run_artifact (owner, path, digest, size, at) ");
                    insert.push_values(files, |mut row, file| {
                        row.push_bind(&owner)
                            .push_bind(&file.path)
                            .push_bind(file.digest.hex())
                            .push_bind(i64::try_from(file.size).unwrap_or(i64::MAX))
                            .push_bind(file.at.millis());
                    });
                    insert.build().persistent(false).execute(&mut *conn).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

async fn insert_run(conn: &mut SqliteConnection, row: &RunRow) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO run (id, experiment, kind, parent, name, step, state, user_name, started, ended, deleted,
         detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, state = excluded.state, ended = excluded.ended,
         deleted = excluded.deleted",
    )
    .bind(row.id.hex())
    .bind(row.experiment)
    .bind(row.kind.text())
    .bind(row.parent.map(|parent| parent.hex()))
    .bind(&row.name)
    .bind(&row.step)
    .bind(row.state.status())
    .bind(&row.user)
    .bind(row.started.millis())
    .bind(row.ended.map(Timestamp::millis))
    .bind(row.deleted)
    .bind(encode("run", &row.id.hex(), &row.detail)?)
    .execute(conn)
    .await?;
    Ok(())
}

async fn registered(
    conn: &mut SqliteConnection,
    model: &ImportedRegistered,
    because: &Because,
    at: Timestamp,
) -> Result<RegisteredOutcome, Error> {
    let record = encode("model", &model.name, &ModelRecord { description: model.description.clone() })?;
    let made = sqlx::query(
        "INSERT INTO model (name, created, updated, record) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(&model.name)
    .bind(model.created.millis())
    .bind(model.updated.millis())
    .bind(&record)
    .execute(&mut *conn)
    .await?;
    let mut outcome = RegisteredOutcome { made: made.rows_affected() == 1, ..RegisteredOutcome::default() };
    let keep = "ON CONFLICT (model, key) DO NOTHING";
    let tags: Vec<Triple> = owned(&model.name, &model.tags).collect();
    insert_rows(conn, "model_tag (model, key, value)", &tags, keep).await?;
    let mut digests: BTreeMap<i64, Digest> = BTreeMap::new();
    for version in &model.versions {
        match insert_version(conn, &model.name, version).await? {
            (digest, true) => {
                outcome.versions += 1;
                digests.insert(version.number, digest);
            }
            (digest, false) if holds_version(conn, &model.name, version.number, digest).await? => {
                digests.insert(version.number, digest);
            }
            (_, false) => outcome.taken.push(version.number),
        }
    }
    // The numbers of versions that were deleted there are not given again here either.
    sqlx::query(
        "INSERT INTO setting (name, value) VALUES ('model/' || $1 || '/versions', CAST($2 AS TEXT))
         ON CONFLICT (name) DO UPDATE SET value =
         CAST(MAX(CAST(setting.value AS INTEGER), CAST(excluded.value AS INTEGER)) AS TEXT)",
    )
    .bind(&model.name)
    .bind(model.last)
    .execute(&mut *conn)
    .await?;
    for (alias, number) in &model.aliases {
        let Some(digest) = digests.get(number) else { continue };
        let name = alias_ref(&model.name, alias);
        match move_ref(conn, &name, Expect::Absent, Some(*digest), because, at).await {
            Ok(_) => outcome.aliases += 1,
            Err(Error::RefMoved { .. }) => {
                let there = sqlx::query("SELECT 1 FROM ref WHERE name = $1 AND target = $2")
                    .bind(&name)
                    .bind(digest.hex())
                    .fetch_optional(&mut *conn)
                    .await?;
                if there.is_none() {
                    outcome.elsewhere.push(alias.clone());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(outcome)
}

/// Makes a version's row where its number is free; the digest that it has or would have.
async fn insert_version(
    conn: &mut SqliteConnection,
    model: &str,
    version: &ImportedVersion,
) -> Result<(Digest, bool), Error> {
    let number = version.number;
    let mut record = json!({ "origin": "mlflow", "model": model, "version": number });
    if let (Value::Object(record), Ok(Value::Object(said))) =
        (&mut record, serde_json::to_value(&version.said))
    {
        record.extend(said);
    }
    let body = canonical(CLIENT_VERSION, &record)?;
    let digest = Digest::of(body.as_bytes());
    let made = sqlx::query(
        "INSERT INTO model_version (model, version, digest, run, created, updated, record)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (model, version) DO NOTHING",
    )
    .bind(model)
    .bind(number)
    .bind(digest.hex())
    .bind(&version.said.run)
    .bind(version.created.millis())
    .bind(version.updated.millis())
    .bind(&body)
    .execute(&mut *conn)
    .await?;
    if made.rows_affected() == 0 {
        return Ok((digest, false));
    }
    put_record(conn, CLIENT_VERSION, &body).await?;
    sqlx::query(
        "INSERT INTO model_version_note (model, version, description, stage) VALUES ($1, $2, $3, $4)
         ON CONFLICT (model, version) DO NOTHING",
    )
    .bind(model)
    .bind(number)
    .bind(&version.description)
    .bind(&version.stage)
    .execute(&mut *conn)
    .await?;
    for (key, value) in &version.tags {
        sqlx::query(
            "INSERT INTO model_version_tag (model, version, key, value) VALUES ($1, $2, $3, $4)
             ON CONFLICT (model, version, key) DO NOTHING",
        )
        .bind(model)
        .bind(number)
        .bind(key)
        .bind(value)
        .execute(&mut *conn)
        .await?;
    }
    Ok((digest, true))
}

async fn holds_version(
    conn: &mut SqliteConnection,
    model: &str,
    number: i64,
    digest: Digest,
) -> Result<bool, Error> {
    let row = sqlx::query("SELECT 1 FROM model_version WHERE model = $1 AND version = $2 AND digest = $3")
        .bind(model)
        .bind(number)
        .bind(digest.hex())
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

async fn mark(conn: &mut SqliteConnection, kind: &'static str, marks: &Pairs) -> Result<(), Error> {
    let rows: Vec<Triple> = owned(kind, marks).collect();
    let set = "ON CONFLICT (kind, id) DO UPDATE SET mark = excluded.mark";
    insert_rows(conn, "imported (kind, id, mark)", &rows, set).await
}

/// A row of three texts.
type Triple = (String, String, String);

fn owned<'a>(owner: &'a str, pairs: &'a Pairs) -> impl Iterator<Item = Triple> + 'a {
    pairs.iter().map(|(key, value)| (owner.to_owned(), key.clone(), value.clone()))
}

/// Inserts rows, many with one statement. `into` and `on` are this module's own words.
async fn insert_rows(
    conn: &mut SqliteConnection,
    into: &'static str,
    rows: &[Triple],
    on: &'static str,
) -> Result<(), Error> {
    for rows in rows.chunks(ROWS) {
        let mut insert: QueryBuilder<Sqlite> = QueryBuilder::new(format!("INSERT INTO {into} "));
        insert.push_values(rows, |mut row, (owner, key, value)| {
            row.push_bind(owner).push_bind(key).push_bind(value);
        });
        insert.push(" ").push(on);
        insert.build().persistent(false).execute(&mut *conn).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
