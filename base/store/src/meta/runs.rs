//! Runs: their rows, parameters, tags and inputs.

use std::collections::BTreeMap;

use rondo_core::run::{RunDetail, RunKind, RunRow, RunState};
use rondo_core::{Code, RunId, Timestamp};
use rusqlite::types::Value as Column;
use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::batch::set_tags;
use super::cache::parse_run;
use super::script::{self, Columns, Script};
use super::{Meta, cards, decode, encode};
use crate::Error;

/// The tag that is a run's name.
pub(super) const RUN_NAME: &str = "mlflow.runName";

/// What may change in a run's row; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct RunChange {
    /// The name.
    pub name: Option<String>,
    /// The experiment.
    pub experiment: Option<i64>,
    /// The state.
    pub state: Option<RunState>,
    /// The end.
    pub ended: Option<Timestamp>,
    /// Everything that Rondo knows beside.
    pub detail: Option<RunDetail>,
}

impl Meta {
    /// Makes a run's row.
    ///
    /// # Errors
    /// When one of that id exists or the database refuses.
    pub async fn create_run(&self, run: &RunRow) -> Result<(), Error> {
        self.create_tagged_run(run, &[]).await.map(|_| ())
    }

    /// Makes a run's row together with its tags; where the artifacts of its experiment go.
    ///
    /// # Errors
    /// When one of that id exists, its experiment does not or is deleted, or the database refuses.
    pub async fn create_tagged_run(&self, run: &RunRow, tags: &[(String, String)]) -> Result<String, Error> {
        made(run, self.scribe.send(creation(run, tags)?).await)
    }

    /// As [`Meta::create_tagged_run`], for who can do nothing before the row is there: it is written on this
    /// thread, which the disk holds up meanwhile, where nobody else writes.
    ///
    /// # Errors
    /// As there.
    pub async fn begin_run(&self, run: &RunRow, tags: &[(String, String)]) -> Result<String, Error> {
        made(run, self.scribe.send_here(creation(run, tags)?).await)
    }

    /// Changes a run's row.
    ///
    /// # Errors
    /// When there is no such run or the database refuses.
    pub async fn update_run(&self, id: RunId, change: RunChange) -> Result<(), Error> {
        let rows = self.script(alteration(id, &change)?).await?;
        rows.first().map(drop).ok_or_else(|| missing(id))
    }

    /// As [`Meta::update_run`], for who can do nothing before it is written: on this thread, which the disk
    /// holds up meanwhile, where nobody else writes.
    ///
    /// # Errors
    /// As there.
    pub async fn end_run(&self, id: RunId, change: RunChange) -> Result<(), Error> {
        let rows = self.scribe.send_here(alteration(id, &change)?).await?;
        rows.first().map(drop).ok_or_else(|| missing(id))
    }

    /// Changes a run's row; the row as it is then, and where the artifacts of its experiment go.
    ///
    /// # Errors
    /// When there is no such run or the database refuses.
    pub async fn changed_run(&self, id: RunId, change: RunChange) -> Result<(RunRow, String), Error> {
        let rows = self.script(alteration(id, &change)?).await?;
        let row = rows.first().ok_or_else(|| missing(id))?;
        Ok((read(row)?, row.get("artifact_location")?))
    }

    /// Deletes a run (softly), or brings it back.
    ///
    /// # Errors
    /// When there is no such run or the database refuses.
    pub async fn delete_run(&self, id: RunId, deleted: bool, at: Timestamp) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                let updated = sqlx::query("UPDATE run SET deleted = $2, deleted_at = $3 WHERE id = $1")
                    .bind(id.hex())
                    .bind(deleted)
                    .bind(deleted.then_some(at.millis()))
                    .execute(conn)
                    .await?;
                if updated.rows_affected() == 1 { Ok(()) } else { Err(missing(id)) }
            })
        })
        .await
    }

    /// A run's row.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn run(&self, id: RunId) -> Result<Option<RunRow>, Error> {
        let row = self.finder().glance(|connection| {
            script::rows(&mut *connection.prepare_cached("SELECT * FROM run WHERE id = ?1")?, [id.hex()])
        })?;
        row.first().map(read).transpose()
    }

    /// A run's row.
    ///
    /// # Errors
    /// When there is no such run or the database cannot be read.
    pub async fn require_run(&self, id: RunId) -> Result<RunRow, Error> {
        self.run(id).await?.ok_or_else(|| missing(id))
    }

    /// Whether a run is deleted; nothing where there is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn run_is_deleted(&self, id: RunId) -> Result<Option<bool>, Error> {
        let row = sqlx::query("SELECT deleted FROM run WHERE id = $1")
            .bind(id.hex())
            .fetch_optional(self.readers())
            .await?;
        row.map(|row| Ok(row.try_get("deleted")?)).transpose()
    }

    /// The runs of experiments, newest first (by start, then id), all that are not deleted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn runs(&self, experiment: i64, limit: i64) -> Result<Vec<RunRow>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM run WHERE experiment = $1 AND deleted = 0 ORDER BY started DESC, id LIMIT $2",
        )
        .bind(experiment)
        .bind(limit)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(read).collect()
    }

    /// The runs of pipelines or of steps, newest first; with a step's name only that step's. Runs that
    /// clients made have their experiments for that.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn runs_of_kind(
        &self,
        kind: RunKind,
        step: Option<&str>,
        limit: i64,
    ) -> Result<Vec<RunRow>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM run WHERE kind = $1 AND kind <> 'client' AND ($2 IS NULL OR step = $2) AND deleted = 0
             ORDER BY started DESC, id LIMIT $3",
        )
        .bind(kind.text())
        .bind(step)
        .bind(limit)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(read).collect()
    }

    /// The runs below a run, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn children(&self, parent: RunId) -> Result<Vec<RunRow>, Error> {
        let rows = sqlx::query("SELECT * FROM run WHERE parent = $1 ORDER BY started, id")
            .bind(parent.hex())
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(read).collect()
    }

    /// The runs that are scheduled or under way.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn live_runs(&self) -> Result<Vec<RunRow>, Error> {
        let rows = self.finder().glance(|connection| {
            let live = "SELECT * FROM run WHERE state IN ('RUNNING', 'SCHEDULED') ORDER BY started, id";
            script::rows(&mut *connection.prepare_cached(live)?, [])
        })?;
        rows.iter().map(read).collect()
    }

    /// The runs whose id begins so, at most 10: for people who type the first characters.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn runs_by_prefix(&self, prefix: &str) -> Result<Vec<RunRow>, Error> {
        // Every hex digit comes before `g`.
        let rows = sqlx::query("SELECT * FROM run WHERE id >= $1 AND id < $1 || 'g' ORDER BY id LIMIT 10")
            .bind(prefix)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(read).collect()
    }

    /// Takes a tag away; whether it was there. A run keeps its name without the tag that it also is.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete_run_tag(&self, id: RunId, key: &str) -> Result<bool, Error> {
        let key = key.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let gone = sqlx::query("DELETE FROM run_tag WHERE run = $1 AND key = $2")
                    .bind(id.hex())
                    .bind(&key)
                    .execute(&mut *conn)
                    .await?;
                if key != RUN_NAME {
                    return Ok(gone.rows_affected() == 1);
                }
                let gone = sqlx::query("UPDATE run SET untagged = 1 WHERE id = $1 AND untagged = 0")
                    .bind(id.hex())
                    .execute(conn)
                    .await?;
                Ok(gone.rows_affected() == 1)
            })
        })
        .await
    }

    /// The parameters of a run.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn run_params(&self, id: RunId) -> Result<BTreeMap<String, String>, Error> {
        let rows = sqlx::query("SELECT key, value FROM run_param WHERE run = $1")
            .bind(id.hex())
            .fetch_all(self.readers())
            .await?;
        pairs(&rows)
    }

    /// The tags of a run.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn run_tags(&self, id: RunId) -> Result<BTreeMap<String, String>, Error> {
        let rows = sqlx::query("SELECT key, value FROM run_tag WHERE run = $1")
            .bind(id.hex())
            .fetch_all(self.readers())
            .await?;
        pairs(&rows)
    }

    /// The records kept under (run, kind), by key.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn run_inputs(&self, id: RunId, kind: &str) -> Result<Vec<Value>, Error> {
        let rows = sqlx::query("SELECT key, record FROM run_input WHERE run = $1 AND kind = $2 ORDER BY key")
            .bind(id.hex())
            .bind(kind)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(|row| decode("run input", kind, row.try_get("record")?)).collect()
    }
}

fn creation(run: &RunRow, tags: &[(String, String)]) -> Result<Script, Error> {
    let mut script = Script::on(run.id.hex());
    // A deleted experiment takes nothing: the column refuses that it be nothing.
    script
        .statement("UPDATE experiment SET deleted = NULL WHERE deleted <> 0 AND id = ")
        .value(run.experiment);
    script.statement(
        "INSERT INTO run (id, experiment, kind, parent, name, step, state, user_name, started, ended,
         deleted, detail) VALUES ($1, ",
    );
    script.value(run.experiment).sql(", ").value(run.kind.text().to_owned()).sql(", ");
    script.value(run.parent.map(|parent| parent.hex())).sql(", ").value(run.name.clone()).sql(", ");
    script.value(run.step.clone()).sql(", ").value(run.state.status().to_owned()).sql(", ");
    script.value(run.user.clone()).sql(", ").value(run.started.millis()).sql(", ");
    script.value(run.ended.map(Timestamp::millis)).sql(", ").value(run.deleted).sql(", ");
    script.value(encode("run", &run.id.hex(), &run.detail)?).sql(")");
    set_tags(&mut script, tags);
    script.statement("SELECT artifact_location FROM experiment WHERE id = ").value(run.experiment);
    Ok(script)
}

/// The change of a run's row, which gives the row as it is then, and its card where it has ended.
fn alteration(id: RunId, change: &RunChange) -> Result<Script, Error> {
    const PLACE: &str = "*, (SELECT e.artifact_location FROM experiment e WHERE e.id = run.experiment)
                         AS artifact_location";
    let (mut script, changes) = set(id, change)?;
    if changes {
        script.sql(" RETURNING ").sql(PLACE);
    } else {
        script.statement("SELECT ").sql(PLACE).sql(" FROM run WHERE id = $1");
    }
    if change.state.is_some_and(RunState::ended) {
        script.statement(cards::OF_RUN);
    }
    Ok(script)
}

/// Sets what changes in a run's row, and whether anything does. Only that is named: a column that is set to
/// what it was costs its indexes and triggers all the same.
pub(super) fn set(id: RunId, change: &RunChange) -> Result<(Script, bool), Error> {
    let detail = change.detail.as_ref().map(|detail| encode("run", &id.hex(), detail)).transpose()?;
    let columns: [(&str, Option<Column>); 6] = [
        ("name", change.name.clone().map(Column::from)),
        // Who gives a run a name gives it the tag too.
        ("untagged", change.name.as_ref().map(|_| Column::from(false))),
        ("experiment", change.experiment.map(Column::from)),
        ("state", change.state.map(|state| state.status().to_owned().into())),
        ("ended", change.ended.map(|at| at.millis().into())),
        ("detail", detail.map(Column::from)),
    ];
    let mut script = Script::on(id.hex());
    let mut changes = false;
    for (column, value) in columns.into_iter().filter_map(|(column, value)| Some((column, value?))) {
        if changes {
            script.sql(", ");
        } else {
            script.statement("UPDATE run SET ");
        }
        changes = true;
        script.sql(column).sql(" = ").value(value);
    }
    if changes {
        script.sql(" WHERE id = $1");
    }
    Ok((script, changes))
}

/// What came of making a run: where the artifacts of its experiment go.
fn made(run: &RunRow, rows: Result<Vec<script::Row>, Error>) -> Result<String, Error> {
    let experiment = |code| Error::NotFound { kind: "experiment", name: run.experiment.to_string(), code };
    let rows = match rows {
        Err(Error::Database(error)) if error.misses_a_row() => {
            return Err(experiment(Code::ExperimentNotFound));
        }
        Err(Error::Database(error)) if error.misses_a_value() => {
            return Err(Error::Deleted { kind: "experiment", name: run.experiment.to_string() });
        }
        made => made?,
    };
    let row = rows.first().ok_or_else(|| experiment(Code::ExperimentNotFound))?;
    row.get("artifact_location")
}

pub(super) fn missing(id: RunId) -> Error {
    Error::NotFound { kind: "run", name: id.hex(), code: Code::RunNotFound }
}

fn pairs(rows: &[SqliteRow]) -> Result<BTreeMap<String, String>, Error> {
    rows.iter().map(|row| Ok((row.try_get("key")?, row.try_get("value")?))).collect()
}

/// A run's row from the columns of its table.
pub(super) fn read(row: &impl Columns) -> Result<RunRow, Error> {
    let id = row.text("id")?;
    let (kind, state) = (row.text("kind")?, row.text("state")?);
    let corrupt = || Error::NotFound { kind: "run", name: id.clone(), code: Code::Corrupt };
    Ok(RunRow {
        id: parse_run(&id)?,
        experiment: row.number("experiment")?,
        kind: [RunKind::Pipeline, RunKind::Step, RunKind::Client]
            .into_iter()
            .find(|known| known.text() == kind)
            .ok_or_else(corrupt)?,
        parent: row.text_if("parent")?.as_deref().map(parse_run).transpose()?,
        name: row.text("name")?,
        step: row.text_if("step")?,
        state: RunState::from_status(&state).ok_or_else(corrupt)?,
        user: row.text("user_name")?,
        started: Timestamp(row.number("started")?),
        ended: row.number_if("ended")?.map(Timestamp),
        deleted: row.number("deleted")? != 0,
        untagged: row.number("untagged")? != 0,
        detail: decode("run", &id, &row.text("detail")?)?,
    })
}
