//! Purging: what was deleted long enough ago leaves the metadata for good.
//!
//! Deleting is soft, so that it can be taken back; this is the end of that time. What something living
//! still needs is kept, however long ago it was deleted: a run behind a model version, or named in a
//! record that a ref or a version stands on. A purge goes in short transactions, each whole, so that it
//! can stop anywhere and go on another time. Objects are not looked at here: see [`crate::upkeep`].

use std::collections::HashSet;

use rondo_core::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::{Meta, encode};
use crate::Error;

/// How many owners one transaction purges.
const GROUP: usize = 100;

/// What a purge would take, or has taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purge {
    /// Ids of runs.
    pub runs: Vec<String>,
    /// Ids of logged models.
    pub logged_models: Vec<String>,
    /// Ids of experiments that have nothing left in them.
    pub experiments: Vec<i64>,
    /// Deleted runs and logged models that stay, since a model version or another record needs them.
    pub needed: Vec<String>,
}

impl Meta {
    /// What was deleted before a moment and is needed by nothing.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn purgeable(&self, before: Timestamp) -> Result<Purge, Error> {
        let needed = self.needed().await?;
        let mut purge = Purge::default();
        let runs =
            sqlx::query("SELECT id FROM run WHERE deleted = 1 AND COALESCE(deleted_at, 0) <= $1 ORDER BY id");
        for row in runs.bind(before.millis()).fetch_all(self.readers()).await? {
            let id: String = row.try_get("id")?;
            if needed.contains(&id) {
                purge.needed.push(id);
            } else {
                purge.runs.push(id);
            }
        }
        let models =
            sqlx::query("SELECT id FROM logged_model WHERE deleted = 1 AND updated <= $1 ORDER BY id");
        for row in models.bind(before.millis()).fetch_all(self.readers()).await? {
            let id: String = row.try_get("id")?;
            if needed.contains(id.trim_start_matches("m-")) {
                purge.needed.push(id);
            } else {
                purge.logged_models.push(id);
            }
        }
        // An experiment goes when all that is in it goes.
        let experiments = sqlx::query(
            "SELECT e.id FROM experiment e WHERE e.deleted = 1 AND e.updated <= $1
             AND NOT EXISTS (SELECT 1 FROM run r WHERE r.experiment = e.id
                             AND r.id NOT IN (SELECT value FROM json_each($2)))
             AND NOT EXISTS (SELECT 1 FROM logged_model m WHERE m.experiment = e.id
                             AND m.id NOT IN (SELECT value FROM json_each($3)))
             ORDER BY e.id",
        )
        .bind(before.millis())
        .bind(encode("purge", "runs", &purge.runs)?)
        .bind(encode("purge", "logged models", &purge.logged_models)?);
        for row in experiments.fetch_all(self.readers()).await? {
            purge.experiments.push(row.try_get("id")?);
        }
        Ok(purge)
    }

    /// Takes what [`Meta::purgeable`] found. What was brought back or registered meanwhile stays.
    ///
    /// # Errors
    /// When the database refuses; what went before is gone.
    pub async fn purge(&self, purge: &Purge) -> Result<(), Error> {
        for group in purge.runs.chunks(GROUP) {
            let ids = encode("purge", "runs", &group)?;
            self.write(move |conn| Box::pin(async move { purge_runs(conn, &ids).await })).await?;
        }
        for group in purge.logged_models.chunks(GROUP) {
            let ids = encode("purge", "logged models", &group)?;
            self.write(move |conn| Box::pin(async move { purge_models(conn, &ids).await })).await?;
        }
        for id in purge.experiments.iter().copied() {
            // An experiment has as many traces as its application had calls: they go in parts.
            while self.write(move |conn| Box::pin(async move { purge_traces(conn, id).await })).await? {}
            self.write(move |conn| Box::pin(async move { purge_experiment(conn, id).await })).await?;
        }
        Ok(())
    }

    /// Forgets artifacts that were overwritten or deleted before a moment. How many.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn purge_overwritten(&self, before: Timestamp) -> Result<u64, Error> {
        self.write(move |conn| {
            Box::pin(async move {
                let overwritten = sqlx::query(
                    "DELETE FROM run_artifact WHERE EXISTS (SELECT 1 FROM run_artifact n
                     WHERE n.owner = run_artifact.owner AND n.path = run_artifact.path
                     AND n.seq > run_artifact.seq AND n.at <= $1)",
                )
                .bind(before.millis())
                .execute(&mut *conn)
                .await?
                .rows_affected();
                // What is left of a deleted path is the line that says so.
                sqlx::query("DELETE FROM run_artifact WHERE digest IS NULL AND at <= $1")
                    .bind(before.millis())
                    .execute(conn)
                    .await?;
                Ok(overwritten)
            })
        })
        .await
    }

    /// The ids (32 hex characters) that versions, records, datasets and retraining requests name.
    async fn needed(&self) -> Result<HashSet<String>, Error> {
        let mut needed = HashSet::new();
        for text in [
            "SELECT run AS id, record AS text FROM model_version",
            "SELECT NULL AS id, body AS text FROM record",
            "SELECT NULL AS id, record AS text FROM dataset_version",
            "SELECT NULL AS id, record AS text FROM retrain_request",
            "SELECT run AS id, id AS text FROM logged_model WHERE deleted = 0",
        ] {
            for row in sqlx::query(text).fetch_all(self.readers()).await? {
                needed.extend(row.try_get::<Option<String>, _>("id")?);
                let text: String = row.try_get("text")?;
                needed.extend(super::marks::hex_words(&text, 32).map(str::to_owned));
            }
        }
        Ok(needed)
    }
}

async fn purge_runs(conn: &mut SqliteConnection, ids: &str) -> Result<(), Error> {
    let doomed = "SELECT r.id FROM run r WHERE r.deleted = 1 AND r.id IN (SELECT value FROM json_each($1))
                  AND NOT EXISTS (SELECT 1 FROM model_version v WHERE v.run = r.id)";
    super::plain::note(conn, ids).await?;
    let series = format!("SELECT m.series FROM metric_latest m WHERE m.run IN ({doomed})");
    delete(conn, "metric_chunk", "series", &series, ids).await?;
    for (table, column) in [
        ("metric_latest", "run"),
        ("run_param", "run"),
        ("run_tag", "run"),
        ("run_input", "run"),
        ("run_artifact", "owner"),
        ("step_cache", "run"),
        ("trace_run", "run"),
        ("run", "id"),
    ] {
        delete(conn, table, column, doomed, ids).await?;
    }
    Ok(())
}

async fn purge_models(conn: &mut SqliteConnection, ids: &str) -> Result<(), Error> {
    let doomed =
        "SELECT m.id FROM logged_model m WHERE m.deleted = 1 AND m.id IN (SELECT value FROM json_each($1))";
    super::plain::note(conn, ids).await?;
    for (table, column) in [
        ("logged_model_param", "model"),
        ("logged_model_tag", "model"),
        ("logged_model_metric", "model"),
        ("run_artifact", "owner"),
        ("logged_model", "id"),
    ] {
        delete(conn, table, column, doomed, ids).await?;
    }
    Ok(())
}

/// Deletes the rows of a table that belong to what a query finds.
async fn delete(
    conn: &mut SqliteConnection,
    table: &str,
    column: &str,
    doomed: &str,
    ids: &str,
) -> Result<(), Error> {
    // All of the text is this module's own.
    let text = sqlx::AssertSqlSafe(format!("DELETE FROM {table} WHERE {column} IN ({doomed})"));
    sqlx::query(text).bind(ids).execute(conn).await?;
    Ok(())
}

/// Whether an experiment is deleted still, and all that kept it is gone.
async fn is_empty(conn: &mut SqliteConnection, id: i64) -> Result<bool, Error> {
    let empty = sqlx::query(
        "SELECT 1 FROM experiment e WHERE e.id = $1 AND e.deleted = 1
         AND NOT EXISTS (SELECT 1 FROM run WHERE experiment = e.id)
         AND NOT EXISTS (SELECT 1 FROM logged_model WHERE experiment = e.id)",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(empty.is_some())
}

/// Takes some of the traces of an experiment that goes; whether there were any.
async fn purge_traces(conn: &mut SqliteConnection, id: i64) -> Result<bool, Error> {
    if !is_empty(conn, id).await? {
        return Ok(false);
    }
    let gone = super::traces::delete(conn, id, None, None, GROUP as u32).await?;
    Ok(gone > 0)
}

async fn purge_experiment(conn: &mut SqliteConnection, id: i64) -> Result<(), Error> {
    if !is_empty(conn, id).await? {
        return Ok(());
    }
    sqlx::query("DELETE FROM experiment_tag WHERE experiment = $1").bind(id).execute(&mut *conn).await?;
    sqlx::query("DELETE FROM pack WHERE experiment = $1").bind(id).execute(&mut *conn).await?;
    sqlx::query("DELETE FROM experiment_dataset WHERE experiment = $1").bind(id).execute(&mut *conn).await?;
    sqlx::query("DELETE FROM experiment WHERE id = $1").bind(id).execute(conn).await?;
    Ok(())
}
