//! The runs below a run, in the order in which they began, a page at a time.

use rondo_core::run::RunKind;
use rondo_core::{RunId, Timestamp};
use sqlx::Row;

use super::Meta;
use super::cache::parse_run;
use crate::Error;

/// A place among the runs below a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kin {
    /// When the run there began.
    pub started: Timestamp,
    /// The run.
    pub run: RunId,
}

impl Meta {
    /// Runs of steps below a run and in one experiment that began after another, at most so many.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn step_runs_after(
        &self,
        parent: RunId,
        experiment: i64,
        after: Option<Kin>,
        limit: i64,
    ) -> Result<Vec<Kin>, Error> {
        let text = "SELECT id, started FROM run WHERE parent = $1 AND experiment = $2 AND kind = $3 \
                    AND (started > $4 OR (started = $4 AND id > $5)) ORDER BY started, id LIMIT $6";
        let rows = sqlx::query(text)
            .bind(parent.hex())
            .bind(experiment)
            .bind(RunKind::Step.text())
            .bind(after.map_or(i64::MIN, |after| after.started.millis()))
            .bind(after.map(|after| after.run.hex()).unwrap_or_default())
            .bind(limit)
            .fetch_all(self.readers())
            .await?;
        let kin = |row: &sqlx::sqlite::SqliteRow| {
            let run = parse_run(&row.try_get::<String, _>("id")?)?;
            Ok(Kin { started: Timestamp(row.try_get("started")?), run })
        };
        rows.iter().map(kin).collect()
    }
}
