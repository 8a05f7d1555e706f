//! What clients of the tracking protocol named as inputs of their runs: datasets and models.

use rondo_core::RunId;
use serde_json::Value;
use sqlx::Row;

use super::{Meta, encode};
use crate::Error;

/// A dataset among the inputs of an experiment's runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetInput {
    /// The experiment.
    pub experiment: i64,
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: String,
    /// What it was used for, such as `training`.
    pub context: Option<String>,
}

impl Meta {
    /// Keeps records of a run under (kind, key), all of them or none. One that has the key goes.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_run_inputs(
        &self,
        run: RunId,
        inputs: Vec<(&'static str, String, Value)>,
    ) -> Result<(), Error> {
        let mut rows = Vec::with_capacity(inputs.len());
        for (kind, key, record) in inputs {
            let record = encode("run input", &key, &record)?;
            rows.push((kind, key, record));
        }
        self.write(move |conn| {
            Box::pin(async move {
                for (kind, key, record) in &rows {
                    sqlx::query(
                        "INSERT INTO run_input (run, kind, key, record) VALUES ($1, $2, $3, $4)
                         ON CONFLICT (run, kind, key) DO UPDATE SET record = excluded.record",
                    )
                    .bind(run.hex())
                    .bind(*kind)
                    .bind(key)
                    .bind(record)
                    .execute(&mut *conn)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Each dataset, with each of its uses, once an experiment; at most so many.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dataset_inputs(&self, experiments: &[i64], limit: u32) -> Result<Vec<DatasetInput>, Error> {
        // SQL that only SQLite has: json_extract, json_each.
        let rows = sqlx::query(
            "SELECT DISTINCT r.experiment, json_extract(i.record, '$.dataset.name') AS name,
             json_extract(i.record, '$.dataset.digest') AS digest, json_extract(i.record, '$.context') AS context
             FROM run_input i JOIN run r ON r.id = i.run
             WHERE i.kind = 'dataset' AND r.experiment IN (SELECT value FROM json_each($1))
             ORDER BY r.experiment, name, digest, context LIMIT $2",
        )
        .bind(encode("experiments", "list", &experiments)?)
        .bind(limit)
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(DatasetInput {
                    experiment: row.try_get("experiment")?,
                    name: row.try_get("name")?,
                    digest: row.try_get("digest")?,
                    context: row.try_get("context")?,
                })
            })
            .collect()
    }
}
