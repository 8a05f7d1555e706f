//! What was logged on many runs at once: metrics, parameters, tags and inputs of a whole page of runs in
//! a handful of queries, so that the cost of a listing is that of its rows.

use std::collections::{BTreeMap, HashMap};

use rondo_core::RunId;
use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::cache::parse_run;
use super::metrics::{Latest, Point};
use super::{Meta, decode};
use crate::Error;

/// What was logged on a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The newest value of each metric.
    pub metrics: Vec<Latest>,
    /// Parameters.
    pub params: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Records of inputs and outputs, by their kind, such as `dataset`.
    pub inputs: BTreeMap<String, Vec<Value>>,
}

const PARAMS: &str = "SELECT run, json_group_object(key, value) FROM run_param
     WHERE run IN (SELECT value FROM json_each($1)) GROUP BY run";
const TAGS: &str = "SELECT run, json_group_object(key, value) FROM run_tag
     WHERE run IN (SELECT value FROM json_each($1)) GROUP BY run";

impl Meta {
    /// What was logged on each of these runs; every one of them is in the answer.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn facts(&self, ids: &[RunId]) -> Result<HashMap<RunId, Facts>, Error> {
        let mut facts: HashMap<RunId, Facts> = ids.iter().map(|id| (*id, Facts::default())).collect();
        let hex: Vec<String> = ids.iter().map(RunId::hex).collect();
        let list = super::encode("runs", "list", &hex)?;
        let rows = sqlx::query(
            "SELECT run, key, timestamp, step, value, is_nan, context FROM metric_latest
             WHERE run IN (SELECT value FROM json_each($1)) ORDER BY run, key",
        )
        .bind(&list)
        .fetch_all(self.readers())
        .await?;
        let contexts = self.contexts(rows.iter().map(|row| row.try_get(6))).await?;
        // Columns by their place and ids parsed once a run: there may be many thousand rows.
        for of_run in rows.chunk_by(|a, b| a.try_get::<&str, _>(0).ok() == b.try_get::<&str, _>(0).ok()) {
            let Some(first) = of_run.first() else { continue };
            let of = facts.entry(parse_run(first.try_get(0)?)?).or_default();
            of.metrics.reserve(of_run.len());
            for row in of_run {
                let nan: bool = row.try_get(5)?;
                let value = if nan { f64::NAN } else { row.try_get(4)? };
                let point = Point { timestamp: row.try_get(2)?, step: row.try_get(3)?, value };
                let context = contexts.get(&row.try_get(6)?).cloned();
                of.metrics.push(Latest { key: row.try_get(1)?, point, context });
            }
        }
        for (run, params) in self.gathered(PARAMS, &list).await? {
            facts.entry(run).or_default().params = params;
        }
        for (run, tags) in self.gathered(TAGS, &list).await? {
            facts.entry(run).or_default().tags = tags;
        }
        let rows = sqlx::query(
            "SELECT run, kind, key, record FROM run_input
             WHERE run IN (SELECT value FROM json_each($1)) ORDER BY run, kind, key",
        )
        .bind(&list)
        .fetch_all(self.readers())
        .await?;
        for row in &rows {
            let of = facts.entry(parse_run(row.try_get("run")?)?).or_default();
            let record = decode("run input", row.try_get("key")?, row.try_get("record")?)?;
            of.inputs.entry(row.try_get("kind")?).or_default().push(record);
        }
        Ok(facts)
    }

    /// Keys and values, gathered to one row a run: that is a tenth of the rows to carry over.
    async fn gathered(
        &self,
        statement: &'static str,
        list: &str,
    ) -> Result<Vec<(RunId, BTreeMap<String, String>)>, Error> {
        let rows = sqlx::query(statement).bind(list).fetch_all(self.readers()).await?;
        let pair =
            |row: &SqliteRow| Ok((parse_run(row.try_get(0)?)?, decode("run", "page", row.try_get(1)?)?));
        rows.iter().map(pair).collect()
    }
}
