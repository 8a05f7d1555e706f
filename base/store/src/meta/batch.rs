//! Batches: what one request logs on a run, all of it or nothing, in one trip to the database.

use std::collections::BTreeSet;

use rondo_core::RunId;

use super::Meta;
use super::logged_models::{ModelMetric, log_model_metric};
use super::metrics::{Context, Point, grouped, log_points};
use super::runs::missing;
use super::script::Script;
use crate::Error;

/// So many rows go in one statement: SQLite takes 32,766 arguments.
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
        let points = self.numbered(&batch).await?;
        let done = match self.script(script(id, &batch, &points)).await {
            Ok(rows) if rows.is_empty() => Err(missing(id)),
            done => done.map(drop),
        };
        match done {
            Ok(()) => Ok(()),
            Err(error) => Err(self.why(error, id, &batch).await),
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

    /// The points of a batch, each with the number of its context. A context that is new gets a number
    /// first; alone it says nothing.
    async fn numbered<'b>(&self, batch: &'b Batch) -> Result<Vec<(&'b str, i64, Point)>, Error> {
        let mut points: Vec<_> = batch.metrics.iter().map(|(key, point)| (key.as_str(), 0, *point)).collect();
        let contexts: BTreeSet<&Context> = batch.measured.iter().map(|(context, ..)| context).collect();
        let numbers = self.numbers(contexts).await?;
        points.extend(batch.measured.iter().map(|(context, key, point)| {
            (key.as_str(), numbers.get(context).copied().unwrap_or_default(), *point)
        }));
        Ok(points)
    }

    /// What a refusal of the database means, where a run was logged on.
    async fn why(&self, error: Error, id: RunId, batch: &Batch) -> Error {
        let Error::Database(refused) = &error else { return error };
        if !refused.misses_a_row() && !refused.misses_a_value() {
            return error;
        }
        match self.run_is_deleted(id).await {
            Ok(Some(true)) => return Error::Deleted { kind: "run", name: id.hex() },
            Ok(Some(false)) => {}
            Ok(None) => return missing(id),
            Err(error) => return error,
        }
        if refused.misses_a_row() {
            let models = batch.measured.iter().map(|(context, ..)| context.model.as_str());
            return self.missing_model(models).await.unwrap_or(error);
        }
        let known = match self.run_params(id).await {
            Ok(known) => known,
            Err(error) => return error,
        };
        let changed = batch.params.iter().find_map(|(key, new)| {
            let old = known.get(key).filter(|old| *old != new)?;
            let (run, key, old, new) = (id.hex(), key.clone(), old.clone(), new.clone());
            Some(Error::ParameterChanged { run, key, old, new })
        });
        changed.unwrap_or(error)
    }
}

/// A batch as one script. Its last statement gives one row where there is such a run.
fn script(id: RunId, batch: &Batch, points: &[(&str, i64, Point)]) -> Script {
    let mut script = Script::on(id.hex());
    // A deleted run takes nothing: the column refuses that it be nothing.
    script.statement("UPDATE run SET deleted = NULL WHERE id = $1 AND deleted <> 0");
    if let Some(name) = &batch.name {
        script.statement("UPDATE run SET untagged = 0, name = ").value(name.clone()).sql(" WHERE id = $1");
    }
    for params in batch.params.chunks(ROWS) {
        // Written once: the column refuses to be nothing, which is what another value would make it.
        script.statement("INSERT INTO run_param (run, key, value) VALUES ").pairs(params).sql(
            " ON CONFLICT (run, key) DO UPDATE SET value = NULL WHERE run_param.value <> excluded.value",
        );
    }
    set_tags(&mut script, &batch.tags);
    for points in points.chunks(ROWS) {
        log_points(&mut script, &grouped(points.iter().copied()));
    }
    let of_models = batch.measured.iter().filter(|(context, ..)| !context.model.is_empty());
    for (context, key, point) in of_models {
        let (dataset_name, dataset_digest) = (context.dataset_name.clone(), context.dataset_digest.clone());
        let (model, key, point) = (context.model.clone(), key.clone(), *point);
        log_model_metric(
            &mut script,
            ModelMetric { model, run: id, key, dataset_name, dataset_digest, point },
        );
    }
    script.statement("SELECT 1 FROM run WHERE id = $1");
    script
}

/// Adds to a script on a run that it has these tags.
pub(super) fn set_tags(script: &mut Script, tags: &[(String, String)]) {
    for tags in tags.chunks(ROWS) {
        script
            .statement("INSERT INTO run_tag (run, key, value) VALUES ")
            .pairs(tags)
            .sql(" ON CONFLICT (run, key) DO UPDATE SET value = excluded.value");
    }
}
