//! What clients of the tracking protocol named as inputs of their runs: datasets and models.

use rondo_core::RunId;
use serde_json::Value;
use sqlx::{Row, SqliteConnection};

use super::{Meta, decode, encode};
use crate::Error;

/// The kind of input that a dataset is.
pub(super) const DATASET: &str = "dataset";

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
    /// Keeps records of a run under (kind, key), all of them or none. One that has the key goes, but for a
    /// dataset: the first one of its name and digest stands, in the run with its tags and in the run's
    /// experiment with what it is.
    ///
    /// # Errors
    /// When there is no such run or the database refuses.
    pub async fn put_run_inputs(
        &self,
        run: RunId,
        inputs: Vec<(&'static str, String, Value)>,
    ) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                for (kind, key, record) in inputs {
                    if kind == DATASET {
                        put_dataset(conn, run, &key, record).await?;
                        continue;
                    }
                    sqlx::query(
                        "INSERT INTO run_input (run, kind, key, record) VALUES ($1, $2, $3, $4)
                         ON CONFLICT (run, kind, key) DO UPDATE SET record = excluded.record",
                    )
                    .bind(run.hex())
                    .bind(kind)
                    .bind(&key)
                    .bind(encode("run input", &key, &record)?)
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

/// Keeps a dataset among the inputs of a run that has it not, as its experiment knows it.
pub(super) async fn put_dataset(
    conn: &mut SqliteConnection,
    run: RunId,
    key: &str,
    mut record: Value,
) -> Result<(), Error> {
    if let Some(dataset) = record.get_mut("dataset") {
        let known = sqlx::query(
            "SELECT d.dataset FROM run r JOIN experiment_dataset d ON d.experiment = r.experiment AND d.key = $2
             WHERE r.id = $1",
        )
        .bind(run.hex())
        .bind(key)
        .fetch_optional(&mut *conn);
        match known.await? {
            Some(row) => *dataset = decode(DATASET, key, row.try_get("dataset")?)?,
            None => {
                sqlx::query(
                    "INSERT INTO experiment_dataset (experiment, key, dataset)
                     SELECT experiment, $2, $3 FROM run WHERE id = $1",
                )
                .bind(run.hex())
                .bind(key)
                .bind(encode(DATASET, key, dataset)?)
                .execute(&mut *conn)
                .await?;
            }
        }
    }
    sqlx::query(
        "INSERT INTO run_input (run, kind, key, record) VALUES ($1, $2, $3, $4)
         ON CONFLICT (run, kind, key) DO NOTHING",
    )
    .bind(run.hex())
    .bind(DATASET)
    .bind(key)
    .bind(encode("run input", key, &record)?)
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rondo_core::Timestamp;
    use rondo_core::run::{RunDetail, RunKind, RunRow, RunState};
    use serde_json::json;

    use super::*;
    use crate::Store;

    async fn run(meta: &Meta, experiment: i64) -> RunId {
        let row = RunRow {
            id: RunId::random(),
            experiment,
            kind: RunKind::Client,
            parent: None,
            name: "r".into(),
            step: None,
            state: RunState::Running,
            user: String::new(),
            started: Timestamp(1),
            ended: None,
            deleted: false,
            untagged: false,
            detail: RunDetail::default(),
        };
        meta.create_run(&row).await.unwrap();
        row.id
    }

    fn used(source: &str, context: &str) -> (&'static str, String, Value) {
        let dataset = json!({ "name": "n", "digest": "d", "source": source });
        (DATASET, "d/n".to_owned(), json!({ "dataset": dataset, "context": context }))
    }

    #[tokio::test]
    async fn the_first_of_a_dataset_stands_in_its_experiment_and_its_tags_in_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let meta = store.meta();
        meta.ensure_default_experiment(Timestamp(1)).await.unwrap();
        let elsewhere = meta.create_experiment("e", None, BTreeMap::new(), Timestamp(1)).await.unwrap();
        let (one, two, other) = (run(meta, 0).await, run(meta, 0).await, run(meta, elsewhere).await);
        meta.put_run_inputs(one, vec![used("first", "a"), used("second", "b")]).await.unwrap();
        meta.put_run_inputs(one, vec![used("third", "c")]).await.unwrap();
        meta.put_run_inputs(two, vec![used("fourth", "d")]).await.unwrap();
        meta.put_run_inputs(other, vec![used("fifth", "e")]).await.unwrap();
        for (run, source, context) in [(one, "first", "a"), (two, "first", "d"), (other, "fifth", "e")] {
            let kept = meta.run_inputs(run, DATASET).await.unwrap();
            assert_eq!(kept.len(), 1);
            assert_eq!(
                (&kept[0]["dataset"]["source"], &kept[0]["context"]),
                (&json!(source), &json!(context))
            );
        }
    }
}
