//! The columns that a table of runs can have: which keys the newest runs of an experiment were logged with.

use sqlx::Row;

use super::Meta;
use crate::Error;

/// Runs that are looked at, the newest.
pub const RUNS: i64 = 2_000;
/// Rows of keys that are looked at, over all those runs.
const ROWS: i64 = 200_000;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The newest value of a metric.
    Metric,
    /// A parameter.
    Param,
    /// A tag.
    Tag,
}

/// A key, and on how many of the runs that were looked at it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The key.
    pub key: String,
    /// Runs.
    pub runs: i64,
}

impl Meta {
    /// The keys of one kind on the newest [`RUNS`] runs of an experiment that are not deleted, by key,
    /// those that contain a text (whatever its case) and come after a key. Bounded in what it reads
    /// however many runs and keys there are.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn columns(
        &self,
        experiment: i64,
        kind: Kind,
        containing: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<Column>, Error> {
        let table = match kind {
            Kind::Metric => "metric_latest",
            Kind::Param => "run_param",
            Kind::Tag => "run_tag",
        };
        // The table's name is this module's own.
        let text = sqlx::AssertSqlSafe(format!(
            "SELECT key, COUNT(*) AS runs FROM (
               SELECT k.key AS key FROM (
                 SELECT id FROM run WHERE experiment = $1 AND deleted = 0 ORDER BY started DESC, id LIMIT {RUNS}
               ) r CROSS JOIN {table} k ON k.run = r.id LIMIT {ROWS}
             ) keys WHERE key > $3 AND instr(LOWER(key), LOWER($2)) > 0 GROUP BY key ORDER BY key LIMIT $4"
        ));
        let rows = sqlx::query(text)
            .bind(experiment)
            .bind(containing)
            .bind(after)
            .bind(limit)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(|row| Ok(Column { key: row.try_get("key")?, runs: row.try_get("runs")? })).collect()
    }
}
