//! What was logged on many runs at once: metrics, parameters, tags and inputs of a whole page of runs in
//! a handful of queries, so that the cost of a listing is that of its rows.

use std::collections::{BTreeMap, HashMap};

use rondo_core::RunId;
use serde_json::Value;
use sqlx::Row;

use super::cache::parse_run;
use super::metrics::{self, Latest};
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
            "SELECT run, key, timestamp, step, value, is_nan FROM metric_latest
             WHERE run IN (SELECT value FROM json_each($1)) ORDER BY run, key",
        )
        .bind(&list)
        .fetch_all(self.readers())
        .await?;
        for row in &rows {
            let latest = Latest { key: row.try_get("key")?, point: metrics::point(row)? };
            facts.entry(parse_run(row.try_get("run")?)?).or_default().metrics.push(latest);
        }
        let rows = sqlx::query(
            "SELECT run, key, value FROM run_param WHERE run IN (SELECT value FROM json_each($1))",
        )
        .bind(&list)
        .fetch_all(self.readers())
        .await?;
        for row in &rows {
            let of = facts.entry(parse_run(row.try_get("run")?)?).or_default();
            of.params.insert(row.try_get("key")?, row.try_get("value")?);
        }
        let rows =
            sqlx::query("SELECT run, key, value FROM run_tag WHERE run IN (SELECT value FROM json_each($1))")
                .bind(&list)
                .fetch_all(self.readers())
                .await?;
        for row in &rows {
            let of = facts.entry(parse_run(row.try_get("run")?)?).or_default();
            of.tags.insert(row.try_get("key")?, row.try_get("value")?);
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
}
