//! Batches: what one request logs on a run, all of it or nothing, in one trip to the database.

use std::collections::BTreeMap;

use rondo_core::RunId;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::Meta;
use super::logged_models::{ModelMetric, set_model_metrics};
use super::metrics::{Context, Point, grouped, intern, log_points};
use super::runs::missing;
use super::script::Script;
use crate::Error;

/// So many rows go in one script: SQLite takes 32,766 arguments.
const ROWS: usize = 1000;

/// What one batch logs on a run: all of it or nothing.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Points with their keys.
    pub metrics: Vec<(String, Point)>,
    /// Points that were measured of a model or on a dataset, with their keys.
    pub measured: Vec<(Context, String, Point)>,
    /// Parameters.
    pub params: Vec<(String, String)>,
    /// Tags.
    pub tags: Vec<(String, String)>,
    /// The run's new name.
    pub name: Option<String>,
}

impl Meta {
    /// Logs a batch on a run. A parameter that stands with the same value is left.
    ///
    /// # Errors
    /// When a parameter stands with another value, there is no such run or it is deleted, or the database
    /// refuses.
    pub async fn log_batch(&self, id: RunId, batch: Batch) -> Result<(), Error> {
        let points: Vec<_> = batch.metrics.iter().map(|(key, point)| (key.as_str(), 0, *point)).collect();
        let short = batch.params.len() + batch.tags.len() + points.len() <= ROWS;
        let done = if short && batch.measured.is_empty() {
            let script = script(id, batch.name.as_deref(), &batch.params, &batch.tags, &points)?;
            self.script(script).await.and_then(|rows| there(&rows, id))
        } else {
            let batch = batch.clone();
            self.write(move |conn| Box::pin(async move { log_long(conn, id, &batch).await })).await
        };
        match done {
            Ok(()) => Ok(()),
            Err(error) => Err(self.why(error, id, &batch.params).await),
        }
    }

    /// Logs parameters, as [`Meta::log_batch`].
    ///
    /// # Errors
    /// As [`Meta::log_batch`].
    pub async fn log_params(&self, id: RunId, params: Vec<(String, String)>) -> Result<(), Error> {
        self.log_batch(id, Batch { params, ..Batch::default() }).await
    }

    /// Sets tags.
    ///
    /// # Errors
    /// As [`Meta::log_batch`].
    pub async fn set_run_tags(&self, id: RunId, tags: Vec<(String, String)>) -> Result<(), Error> {
        self.log_batch(id, Batch { tags, ..Batch::default() }).await
    }

    /// What a refusal of the database means, where a run was logged on.
    async fn why(&self, error: Error, id: RunId, params: &[(String, String)]) -> Error {
        let Error::Database(refused) = &error else { return error };
        if refused.misses_a_row() {
            return missing(id);
        }
        if !refused.misses_a_value() {
            return error;
        }
        match self.run_is_deleted(id).await {
            Ok(Some(true)) => return Error::Deleted { kind: "run", name: id.hex() },
            Ok(Some(false)) => {}
            Ok(None) => return missing(id),
            Err(error) => return error,
        }
        let known = match self.run_params(id).await {
            Ok(known) => known,
            Err(error) => return error,
        };
        let changed = params.iter().find_map(|(key, new)| {
            let old = known.get(key).filter(|old| *old != new)?;
            let (run, key, old, new) = (id.hex(), key.clone(), old.clone(), new.clone());
            Some(Error::ParameterChanged { run, key, old, new })
        });
        changed.unwrap_or(error)
    }
}

/// A batch as one script. Its last statement gives one row where there is such a run.
fn script(
    id: RunId,
    name: Option<&str>,
    params: &[(String, String)],
    tags: &[(String, String)],
    points: &[(&str, i64, Point)],
) -> Result<Script, sqlx::Error> {
    let mut script = Script::on(id.hex())?;
    // A deleted run takes nothing: the column refuses that it be nothing.
    script.sql("UPDATE run SET deleted = NULL WHERE id = $1 AND deleted <> 0; ");
    if let Some(name) = name {
        script.sql("UPDATE run SET name = ").value(name)?.sql(" WHERE id = $1; ");
    }
    if !params.is_empty() {
        // Written once: the column refuses to be nothing, which is what another value would make it.
        script.sql("INSERT INTO run_param (run, key, value) VALUES ").pairs(params)?.sql(
            " ON CONFLICT (run, key) DO UPDATE SET value = NULL WHERE run_param.value <> excluded.value; ",
        );
    }
    set_tags(&mut script, tags)?;
    log_points(&mut script, &grouped(points.iter().copied()))?;
    script.sql("SELECT 1 FROM run WHERE id = $1");
    Ok(script)
}

/// Adds to a script on a run that it has these tags.
pub(super) fn set_tags(script: &mut Script, tags: &[(String, String)]) -> Result<(), sqlx::Error> {
    if !tags.is_empty() {
        script
            .sql("INSERT INTO run_tag (run, key, value) VALUES ")
            .pairs(tags)?
            .sql(" ON CONFLICT (run, key) DO UPDATE SET value = excluded.value; ");
    }
    Ok(())
}

fn there(rows: &[SqliteRow], id: RunId) -> Result<(), Error> {
    if rows.is_empty() { Err(missing(id)) } else { Ok(()) }
}

/// A batch that is too long for one script, or whose contexts may be new.
async fn log_long(conn: &mut SqliteConnection, id: RunId, batch: &Batch) -> Result<(), Error> {
    let mut points: Vec<_> = batch.metrics.iter().map(|(key, point)| (key.as_str(), 0, *point)).collect();
    let mut numbers: BTreeMap<&Context, i64> = BTreeMap::new();
    for (context, key, point) in &batch.measured {
        let number = match numbers.get(context) {
            Some(number) => *number,
            None => intern(conn, context).await?,
        };
        numbers.insert(context, number);
        points.push((key, number, *point));
    }
    let mut scripts = vec![script(id, batch.name.as_deref(), &[], &[], &[])?];
    for params in batch.params.chunks(ROWS) {
        scripts.push(script(id, None, params, &[], &[])?);
    }
    for tags in batch.tags.chunks(ROWS) {
        scripts.push(script(id, None, &[], tags, &[])?);
    }
    for points in points.chunks(ROWS) {
        scripts.push(script(id, None, &[], &[], points)?);
    }
    for mut script in scripts {
        there(&script.send(conn, "", "").await?, id)?;
    }
    let of_models = batch.measured.iter().filter(|(context, ..)| !context.model.is_empty());
    let of_models = of_models.map(|(context, key, point)| ModelMetric {
        model: context.model.clone(),
        run: id,
        key: key.clone(),
        dataset_name: context.dataset_name.clone(),
        dataset_digest: context.dataset_digest.clone(),
        point: *point,
    });
    set_model_metrics(conn, &of_models.collect::<Vec<_>>()).await
}
