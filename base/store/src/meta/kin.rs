//! The runs below a run, in the order in which their rows came, a page at a time.

use rondo_core::RunId;
use rondo_core::run::RunKind;
use sqlx::Row;

use super::Meta;
use super::cache::parse_run;
use crate::Error;

impl Meta {
    /// Runs of steps below a run and in one experiment whose rows came after that of another, at most so many.
    ///
    /// Rows that began at one time may come one after the other; whoever goes on after the last one that it was
    /// given misses none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn step_runs_after(
        &self,
        parent: RunId,
        experiment: i64,
        after: Option<RunId>,
        limit: i64,
    ) -> Result<Vec<RunId>, Error> {
        let text = "SELECT id FROM run WHERE parent = $1 AND experiment = $2 AND kind = $3 \
                    AND ($4 IS NULL OR rowid > (SELECT rowid FROM run WHERE id = $4)) ORDER BY rowid LIMIT $5";
        let rows = sqlx::query(text)
            .bind(parent.hex())
            .bind(experiment)
            .bind(RunKind::Step.text())
            .bind(after.map(|run| run.hex()))
            .bind(limit)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(|row| parse_run(&row.try_get::<String, _>("id")?)).collect()
    }
}
