//! Runs: their rows, parameters, tags, inputs and artifacts.

use std::collections::BTreeMap;

use rondo_core::run::{RunDetail, RunKind, RunRow, RunState};
use rondo_core::{Code, Digest, RunId, Timestamp};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::cache::parse_run;
use super::{Meta, decode, encode};
use crate::Error;

/// What may change in a run's row; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct RunChange {
    /// The name.
    pub name: Option<String>,
    /// The experiment.
    pub experiment: Option<i64>,
    /// The state.
    pub state: Option<RunState>,
    /// The end.
    pub ended: Option<Timestamp>,
    /// Everything that Rondo knows beside.
    pub detail: Option<RunDetail>,
}

/// A file among a run's or a logged model's artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its path, with slashes, relative to the owner's root.
    pub path: String,
    /// The object.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// When it was put there.
    pub at: Timestamp,
}

impl Meta {
    /// Makes a run's row.
    ///
    /// # Errors
    /// When one of that id exists or the database refuses.
    pub async fn create_run(&self, run: &RunRow) -> Result<(), Error> {
        self.create_tagged_run(run, Vec::new()).await
    }

    /// Makes a run's row together with its tags.
    ///
    /// # Errors
    /// When one of that id exists or the database refuses.
    pub async fn create_tagged_run(&self, run: &RunRow, tags: Vec<(String, String)>) -> Result<(), Error> {
        let detail = encode("run", &run.id.hex(), &run.detail)?;
        let run = run.clone();
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO run (id, experiment, kind, parent, name, step, state, user_name, started,
                     ended, deleted, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
                )
                .bind(run.id.hex())
                .bind(run.experiment)
                .bind(run.kind.text())
                .bind(run.parent.map(|parent| parent.hex()))
                .bind(&run.name)
                .bind(&run.step)
                .bind(run.state.status())
                .bind(&run.user)
                .bind(run.started.millis())
                .bind(run.ended.map(Timestamp::millis))
                .bind(run.deleted)
                .bind(&detail)
                .execute(&mut *conn)
                .await?;
                for (key, value) in &tags {
                    set_run_tag(conn, run.id, key, value).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Changes a run's row.
    ///
    /// # Errors
    /// When there is no such run or the database refuses.
    pub async fn update_run(&self, id: RunId, change: RunChange) -> Result<(), Error> {
        let detail = change.detail.map(|detail| encode("run", &id.hex(), &detail)).transpose()?;
        self.write(move |conn| {
            Box::pin(async move {
                let updated = sqlx::query(
                    "UPDATE run SET name = COALESCE($2, name), experiment = COALESCE($3, experiment),
                     state = COALESCE($4, state), ended = COALESCE($5, ended),
                     detail = COALESCE($6, detail) WHERE id = $1",
                )
                .bind(id.hex())
                .bind(&change.name)
                .bind(change.experiment)
                .bind(change.state.map(RunState::status))
                .bind(change.ended.map(Timestamp::millis))
                .bind(&detail)
                .execute(conn)
                .await?;
                if updated.rows_affected() == 1 { Ok(()) } else { Err(missing(id)) }
            })
        })
        .await
    }

    /// Deletes a run (softly), or brings it back.
    ///
    /// # Errors
    /// When there is no such run or the database refuses.
    pub async fn delete_run(&self, id: RunId, deleted: bool, at: Timestamp) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                let updated = sqlx::query("UPDATE run SET deleted = $2, deleted_at = $3 WHERE id = $1")
                    .bind(id.hex())
                    .bind(deleted)
                    .bind(deleted.then_some(at.millis()))
                    .execute(conn)
                    .await?;
                if updated.rows_affected() == 1 { Ok(()) } else { Err(missing(id)) }
            })
        })
        .await
    }

    /// A run's row.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn run(&self, id: RunId) -> Result<Option<RunRow>, Error> {
        let row = sqlx::query("SELECT * FROM run WHERE id = $1")
            .bind(id.hex())
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// A run's row.
    ///
    /// # Errors
    /// When there is no such run or the database cannot be read.
    pub async fn require_run(&self, id: RunId) -> Result<RunRow, Error> {
        self.run(id).await?.ok_or_else(|| missing(id))
    }

    /// Whether a run is deleted; nothing where there is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn run_is_deleted(&self, id: RunId) -> Result<Option<bool>, Error> {
        let row = sqlx::query("SELECT deleted FROM run WHERE id = $1")
            .bind(id.hex())
            .fetch_optional(self.readers())
            .await?;
        row.map(|row| Ok(row.try_get("deleted")?)).transpose()
    }

    /// The runs of experiments, newest first (by start, then id), all that are not deleted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn runs(&self, experiment: i64, limit: i64) -> Result<Vec<RunRow>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM run WHERE experiment = $1 AND deleted = 0 ORDER BY started DESC, id LIMIT $2",
        )
        .bind(experiment)
        .bind(limit)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(read).collect()
    }

    /// The runs of a kind, newest first; with a step's name only that step's.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn runs_of_kind(
        &self,
        kind: RunKind,
        step: Option<&str>,
        limit: i64,
    ) -> Result<Vec<RunRow>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM run WHERE kind = $1 AND ($2 IS NULL OR step = $2) AND deleted = 0
             ORDER BY started DESC, id LIMIT $3",
        )
        .bind(kind.text())
        .bind(step)
        .bind(limit)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(read).collect()
    }

    /// The runs below a run, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn children(&self, parent: RunId) -> Result<Vec<RunRow>, Error> {
        let rows = sqlx::query("SELECT * FROM run WHERE parent = $1 ORDER BY started, id")
            .bind(parent.hex())
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(read).collect()
    }

    /// The runs that are scheduled or under way.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn live_runs(&self) -> Result<Vec<RunRow>, Error> {
        let rows =
            sqlx::query("SELECT * FROM run WHERE state IN ('RUNNING', 'SCHEDULED') ORDER BY started, id")
                .fetch_all(self.readers())
                .await?;
        rows.iter().map(read).collect()
    }

    /// The runs whose id begins so, at most 10: for people who type the first characters.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn runs_by_prefix(&self, prefix: &str) -> Result<Vec<RunRow>, Error> {
        let rows = sqlx::query("SELECT * FROM run WHERE substr(id, 1, $2) = $1 ORDER BY id LIMIT 10")
            .bind(prefix)
            .bind(prefix.len() as i64)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(read).collect()
    }

    /// Logs parameters. One that stands with the same value is left; all or none are logged.
    ///
    /// # Errors
    /// When one stands with another value, there is no such run, or the database refuses.
    pub async fn log_params(&self, id: RunId, params: Vec<(String, String)>) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                for (key, value) in params {
                    log_param(conn, id, key, value).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Sets tags.
    ///
    /// # Errors
    /// When there is no such run or the database refuses.
    pub async fn set_run_tags(&self, id: RunId, tags: Vec<(String, String)>) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                for (key, value) in &tags {
                    set_run_tag(conn, id, key, value).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Takes a tag away; whether it was there.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete_run_tag(&self, id: RunId, key: &str) -> Result<bool, Error> {
        let key = key.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let gone = sqlx::query("DELETE FROM run_tag WHERE run = $1 AND key = $2")
                    .bind(id.hex())
                    .bind(&key)
                    .execute(conn)
                    .await?;
                Ok(gone.rows_affected() == 1)
            })
        })
        .await
    }

    /// The parameters of a run.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn run_params(&self, id: RunId) -> Result<BTreeMap<String, String>, Error> {
        let rows = sqlx::query("SELECT key, value FROM run_param WHERE run = $1")
            .bind(id.hex())
            .fetch_all(self.readers())
            .await?;
        pairs(&rows)
    }

    /// The tags of a run.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn run_tags(&self, id: RunId) -> Result<BTreeMap<String, String>, Error> {
        let rows = sqlx::query("SELECT key, value FROM run_tag WHERE run = $1")
            .bind(id.hex())
            .fetch_all(self.readers())
            .await?;
        pairs(&rows)
    }

    /// Keeps a record under (run, kind, key), such as a dataset input of MLflow's.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_run_input(&self, id: RunId, kind: &str, key: &str, record: &Value) -> Result<(), Error> {
        let record = encode("run input", key, record)?;
        let (kind, key) = (kind.to_owned(), key.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO run_input (run, kind, key, record) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (run, kind, key) DO UPDATE SET record = excluded.record",
                )
                .bind(id.hex())
                .bind(&kind)
                .bind(&key)
                .bind(&record)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// The records kept under (run, kind), by key.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn run_inputs(&self, id: RunId, kind: &str) -> Result<Vec<Value>, Error> {
        let rows = sqlx::query("SELECT key, record FROM run_input WHERE run = $1 AND kind = $2 ORDER BY key")
            .bind(id.hex())
            .bind(kind)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(|row| decode("run input", kind, row.try_get("record")?)).collect()
    }

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
        self.insert_artifact(owner, path, Some(digest), size, at).await
    }

    /// Takes a file, or all files of a folder, away from an owner's artifacts; how many there were.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete_artifacts(&self, owner: &str, path: &str, at: Timestamp) -> Result<usize, Error> {
        let below = format!("{path}/");
        let mut gone = 0;
        for artifact in self.artifacts(owner).await? {
            if path.is_empty() || artifact.path == path || artifact.path.starts_with(&below) {
                self.insert_artifact(owner, &artifact.path, None, 0, at).await?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    async fn insert_artifact(
        &self,
        owner: &str,
        path: &str,
        digest: Option<Digest>,
        size: u64,
        at: Timestamp,
    ) -> Result<(), Error> {
        let (owner, path) = (owner.to_owned(), path.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO run_artifact (owner, path, digest, size, at) VALUES ($1, $2, $3, $4, $5)",
                )
                .bind(&owner)
                .bind(&path)
                .bind(digest.map(|digest| digest.hex()))
                .bind(i64::try_from(size).unwrap_or(i64::MAX))
                .bind(at.millis())
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// All artifacts of an owner, by path.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn artifacts(&self, owner: &str) -> Result<Vec<Artifact>, Error> {
        let rows = sqlx::query(
            "SELECT path, digest, size, at FROM run_artifact WHERE owner = $1 AND seq IN
             (SELECT MAX(seq) FROM run_artifact WHERE owner = $1 GROUP BY path)
             AND digest IS NOT NULL ORDER BY path",
        )
        .bind(owner)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(read_artifact).collect()
    }

    /// One artifact of an owner.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn artifact(&self, owner: &str, path: &str) -> Result<Option<Artifact>, Error> {
        let row = sqlx::query(
            "SELECT path, digest, size, at FROM run_artifact WHERE owner = $1 AND path = $2
             ORDER BY seq DESC LIMIT 1",
        )
        .bind(owner)
        .bind(path)
        .fetch_optional(self.readers())
        .await?;
        match row {
            Some(row) if row.try_get::<Option<String>, _>("digest")?.is_some() => {
                Ok(Some(read_artifact(&row)?))
            }
            Some(_) | None => Ok(None),
        }
    }
}

/// Logs one parameter within a transaction.
pub(crate) async fn log_param(
    conn: &mut SqliteConnection,
    id: RunId,
    key: String,
    value: String,
) -> Result<(), Error> {
    let added = sqlx::query(
        "INSERT INTO run_param (run, key, value) VALUES ($1, $2, $3) ON CONFLICT (run, key) DO NOTHING",
    )
    .bind(id.hex())
    .bind(&key)
    .bind(&value)
    .execute(&mut *conn)
    .await
    .map_err(|error| no_run(error, id))?;
    if added.rows_affected() == 1 {
        return Ok(());
    }
    let row = sqlx::query("SELECT value FROM run_param WHERE run = $1 AND key = $2")
        .bind(id.hex())
        .bind(&key)
        .fetch_one(conn)
        .await?;
    let old: String = row.try_get("value")?;
    if old == value {
        return Ok(());
    }
    Err(Error::ParameterChanged { run: id.hex(), key, old, new: value })
}

/// Sets one tag within a transaction.
pub(crate) async fn set_run_tag(
    conn: &mut SqliteConnection,
    id: RunId,
    key: &str,
    value: &str,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO run_tag (run, key, value) VALUES ($1, $2, $3)
         ON CONFLICT (run, key) DO UPDATE SET value = excluded.value",
    )
    .bind(id.hex())
    .bind(key)
    .bind(value)
    .execute(conn)
    .await
    .map_err(|error| no_run(error, id))?;
    Ok(())
}

/// A broken foreign key means that there is no such run.
pub(crate) fn no_run(error: sqlx::Error, id: RunId) -> Error {
    let foreign = error.as_database_error().is_some_and(|error| error.is_foreign_key_violation());
    if foreign { missing(id) } else { error.into() }
}

fn missing(id: RunId) -> Error {
    Error::NotFound { kind: "run", name: id.hex(), code: Code::RunNotFound }
}

fn pairs(rows: &[SqliteRow]) -> Result<BTreeMap<String, String>, Error> {
    rows.iter().map(|row| Ok((row.try_get("key")?, row.try_get("value")?))).collect()
}

fn read_artifact(row: &SqliteRow) -> Result<Artifact, Error> {
    let digest: String = row.try_get("digest")?;
    let size: i64 = row.try_get("size")?;
    let path: String = row.try_get("path")?;
    let corrupt = || Error::NotFound { kind: "artifact", name: path.clone(), code: Code::Corrupt };
    Ok(Artifact {
        digest: digest.parse().map_err(|_| corrupt())?,
        size: u64::try_from(size).map_err(|_| corrupt())?,
        at: Timestamp(row.try_get("at")?),
        path,
    })
}

pub(super) fn read(row: &SqliteRow) -> Result<RunRow, Error> {
    let id: String = row.try_get("id")?;
    let kind: String = row.try_get("kind")?;
    let state: String = row.try_get("state")?;
    let corrupt = || Error::NotFound { kind: "run", name: id.clone(), code: Code::Corrupt };
    let parent: Option<String> = row.try_get("parent")?;
    let ended: Option<i64> = row.try_get("ended")?;
    Ok(RunRow {
        id: parse_run(&id)?,
        experiment: row.try_get("experiment")?,
        kind: [RunKind::Pipeline, RunKind::Step, RunKind::Client]
            .into_iter()
            .find(|known| known.text() == kind)
            .ok_or_else(corrupt)?,
        parent: parent.as_deref().map(parse_run).transpose()?,
        name: row.try_get("name")?,
        step: row.try_get("step")?,
        state: RunState::from_status(&state).ok_or_else(corrupt)?,
        user: row.try_get("user_name")?,
        started: Timestamp(row.try_get("started")?),
        ended: ended.map(Timestamp),
        deleted: row.try_get("deleted")?,
        detail: decode("run", &id, row.try_get("detail")?)?,
    })
}
