//! Traces: a row each, with its tags and metadata, and its spans in rows that only their readers read.
//!
//! Spans come in exports, before or after the trace's own row, and a trace whose row is missing gets one
//! from its spans; what the client says of the whole trace overrules that. An export's spans of one trace
//! are one row. What a span is, and what a trace's row should say for it, is the tracking stage's to know.
//! SQL that only SQLite has: `json_each` and `json_patch` (a merge after RFC 7396).

mod measure;
mod search;

use std::collections::{BTreeMap, HashMap};

use rondo_core::{Code, RunId, Timestamp};
use serde_json::{Map, Value};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Meta, decode, encode};
use crate::Error;

pub use measure::{Figure, Measure, Measured, Part, View};
pub use search::{Condition, Field, Order, Query};

/// A trace, without its spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Its id; `tr-` and 32 hex characters where a client of ours made it.
    pub id: String,
    /// The experiment it is filed under.
    pub experiment: i64,
    /// When it began.
    pub started: Timestamp,
    /// How many milliseconds it took, once that is known.
    pub duration: Option<i64>,
    /// `OK`, `ERROR`, `IN_PROGRESS` or `STATE_UNSPECIFIED`.
    pub state: String,
    /// The id that the caller's own system has for it.
    pub client_request: Option<String>,
    /// The beginning of what was asked.
    pub request_preview: Option<String>,
    /// The beginning of what was answered.
    pub response_preview: Option<String>,
    /// May change.
    pub tags: BTreeMap<String, String>,
    /// Set when the trace is logged.
    pub metadata: BTreeMap<String, String>,
}

/// Spans of one trace that came together, and what they tell of it.
#[derive(Debug, Clone)]
pub struct Export {
    /// The trace as far as these spans tell. Where a trace is there, its earliest start and latest end
    /// count, its previews stand where it has them, and its state stands unless it is under way.
    pub trace: Trace,
    /// Whether the span that ends the trace is among these.
    pub ends: bool,
    /// Counts by metadata key and name, such as tokens: added up over exports.
    pub sums: BTreeMap<String, BTreeMap<String, f64>>,
    /// The spans, a JSON list.
    pub spans: String,
}

/// The metadata key that says that the client has given the whole trace: its word then stands.
pub const FINALIZED: &str = "mlflow.trace.infoFinalized";
/// The metadata key of the run under which a trace was made.
pub const SOURCE_RUN: &str = "mlflow.sourceRun";

macro_rules! put {
    ($set:literal) => {
        concat!(
            "INSERT INTO trace (id, experiment, started, duration, state, client_request, request_preview,
             response_preview, tags, metadata) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (id) DO UPDATE SET started = excluded.started, duration = excluded.duration,
             state = excluded.state, ",
            $set,
            " RETURNING *"
        )
    };
}

/// What a client says of a trace, over what is known of it.
const PUT_OVER: &str = put!(
    "client_request = excluded.client_request,
     request_preview = COALESCE(excluded.request_preview, request_preview),
     response_preview = COALESCE(excluded.response_preview, response_preview),
     tags = json_patch(tags, excluded.tags), metadata = json_patch(metadata, excluded.metadata)"
);
/// A trace in place of the one that was read before.
pub(super) const PUT_WHOLE: &str = put!(
    "request_preview = excluded.request_preview, response_preview = excluded.response_preview,
     tags = excluded.tags, metadata = excluded.metadata"
);

impl Meta {
    /// Keeps a trace as its client describes it. Over one that is there, tags and metadata are merged and
    /// previews that are not given stand.
    ///
    /// # Errors
    /// When its experiment does not exist, it is there under another one, or the database refuses.
    pub async fn put_trace(&self, trace: Trace) -> Result<Trace, Error> {
        self.write(move |conn| {
            Box::pin(async move {
                let known = sqlx::query("SELECT 1 FROM trace WHERE id = $1 AND experiment <> $2")
                    .bind(&trace.id)
                    .bind(trace.experiment)
                    .fetch_optional(&mut *conn);
                if known.await?.is_some() {
                    return Err(Error::TraceElsewhere { id: trace.id });
                }
                let kept = put(conn, PUT_OVER, &trace).await?;
                if let Some(run) = trace.metadata.get(SOURCE_RUN) {
                    link(conn, run, &trace.id).await?;
                }
                Ok(kept)
            })
        })
        .await
    }

    /// Ends a trace that was kept when it began, and merges tags and metadata.
    ///
    /// # Errors
    /// When it does not exist or the database refuses.
    pub async fn end_trace(
        &self,
        id: &str,
        ended: Timestamp,
        state: &str,
        tags: BTreeMap<String, String>,
        metadata: BTreeMap<String, String>,
    ) -> Result<Trace, Error> {
        let (id, state) = (id.to_owned(), state.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                let row = sqlx::query(
                    "UPDATE trace SET duration = $2 - started, state = $3, tags = json_patch(tags, $4),
                     metadata = json_patch(metadata, $5) WHERE id = $1 RETURNING *",
                )
                .bind(&id)
                .bind(ended.millis())
                .bind(&state)
                .bind(encode("tags", &id, &tags)?)
                .bind(encode("metadata", &id, &metadata)?)
                .fetch_optional(conn)
                .await?;
                row.as_ref().map_or_else(|| Err(missing(&id)), read)
            })
        })
        .await
    }

    /// Keeps exports of spans, each with its trace, all or none.
    ///
    /// # Errors
    /// When an experiment does not exist or the database refuses.
    pub async fn put_spans(&self, exports: Vec<Export>) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                for export in &exports {
                    put_export(conn, export).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// A trace.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn trace(&self, id: &str) -> Result<Option<Trace>, Error> {
        let row =
            sqlx::query("SELECT * FROM trace WHERE id = $1").bind(id).fetch_optional(self.readers()).await?;
        row.as_ref().map(read).transpose()
    }

    /// Those of these traces that are there, in any order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn traces(&self, ids: &[String]) -> Result<Vec<Trace>, Error> {
        let rows = sqlx::query("SELECT * FROM trace WHERE id IN (SELECT value FROM json_each($1))")
            .bind(encode("traces", "list", &ids)?)
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(read).collect()
    }

    /// The exports of spans of these traces, each a JSON list, in the order in which they came.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn spans(&self, ids: &[String]) -> Result<HashMap<String, Vec<String>>, Error> {
        let rows = sqlx::query(
            "SELECT trace, spans FROM trace_spans WHERE trace IN (SELECT value FROM json_each($1))
             ORDER BY trace, seq",
        )
        .bind(encode("traces", "list", &ids)?)
        .fetch_all(self.readers())
        .await?;
        let mut spans: HashMap<String, Vec<String>> = HashMap::new();
        for row in &rows {
            spans.entry(row.try_get("trace")?).or_default().push(row.try_get("spans")?);
        }
        Ok(spans)
    }

    /// Sets a tag of a trace, or takes it away; whether it was there or is now.
    ///
    /// # Errors
    /// When the trace does not exist or the database refuses.
    pub async fn tag_trace(&self, id: &str, key: &str, value: Option<&str>) -> Result<bool, Error> {
        let patch = Value::Object(Map::from_iter([(key.to_owned(), Value::from(value))])).to_string();
        let (id, key) = (id.to_owned(), key.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                let before = sqlx::query(
                    "SELECT EXISTS (SELECT 1 FROM json_each(tags) t WHERE t.key = $2) AS had
                     FROM trace WHERE id = $1",
                )
                .bind(&id)
                .bind(&key)
                .fetch_optional(&mut *conn)
                .await?;
                let had: bool = before.ok_or_else(|| missing(&id))?.try_get("had")?;
                sqlx::query("UPDATE trace SET tags = json_patch(tags, $2) WHERE id = $1")
                    .bind(&id)
                    .bind(&patch)
                    .execute(conn)
                    .await?;
                Ok(had)
            })
        })
        .await
    }

    /// Deletes traces of an experiment for good, with all that belongs to them: these, or at most so many
    /// that began until then, oldest first. How many there were.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete_traces(
        &self,
        experiment: i64,
        ids: Option<&[String]>,
        until: Option<Timestamp>,
        limit: u32,
    ) -> Result<u64, Error> {
        let ids = ids.map(|ids| encode("traces", "list", &ids)).transpose()?;
        self.write(move |conn| {
            Box::pin(async move { delete(conn, experiment, ids.as_deref(), until, limit).await })
        })
        .await
    }

    /// Links those of these traces that are there to a run.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn link_traces(&self, run: RunId, ids: Vec<String>) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                for id in &ids {
                    link(conn, &run.hex(), id).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Links a trace to versions of prompts.
    ///
    /// # Errors
    /// When the trace does not exist or the database refuses.
    pub async fn link_prompts(&self, id: &str, prompts: Vec<(String, String)>) -> Result<(), Error> {
        let id = id.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                for (name, version) in &prompts {
                    sqlx::query(
                        "INSERT INTO trace_prompt (prompt, version, trace) VALUES ($1, $2, $3)
                         ON CONFLICT DO NOTHING",
                    )
                    .bind(name)
                    .bind(version)
                    .bind(&id)
                    .execute(&mut *conn)
                    .await
                    .map_err(|error| no_trace(error, &id))?;
                }
                Ok(())
            })
        })
        .await
    }
}

/// Deletes traces of an experiment with all that belongs to them; `ids` is a JSON list. How many there were.
pub(super) async fn delete(
    conn: &mut SqliteConnection,
    experiment: i64,
    ids: Option<&str>,
    until: Option<Timestamp>,
    limit: u32,
) -> Result<u64, Error> {
    let rows = sqlx::query(
        "SELECT id FROM trace WHERE experiment = $1
         AND ($2 IS NULL OR id IN (SELECT value FROM json_each($2)))
         AND ($3 IS NULL OR started <= $3) ORDER BY started, id LIMIT $4",
    )
    .bind(experiment)
    .bind(ids)
    .bind(until.map(Timestamp::millis))
    .bind(i64::from(limit))
    .fetch_all(&mut *conn)
    .await?;
    let gone: Vec<String> = rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
    let list = encode("traces", "list", &gone)?;
    super::plain::note(conn, &list).await?;
    // What was uploaded for a trace is its own; spans, links and assessments go by their keys.
    for text in [
        "DELETE FROM run_artifact WHERE owner IN (SELECT value FROM json_each($1))",
        "DELETE FROM trace WHERE id IN (SELECT value FROM json_each($1))",
    ] {
        sqlx::query(text).bind(&list).execute(&mut *conn).await?;
    }
    Ok(gone.len() as u64)
}

async fn put_export(conn: &mut SqliteConnection, export: &Export) -> Result<(), Error> {
    let given = &export.trace;
    let found = sqlx::query("SELECT * FROM trace WHERE id = $1").bind(&given.id).fetch_optional(&mut *conn);
    let mut trace = match found.await? {
        Some(row) => grown(read(&row)?, export),
        None => given.clone(),
    };
    add(&mut trace.metadata, &export.sums);
    put(conn, PUT_WHOLE, &trace).await?;
    sqlx::query(
        "INSERT INTO trace_spans (trace, seq, spans)
         SELECT $1, COALESCE(MAX(seq), 0) + 1, $2 FROM trace_spans WHERE trace = $1",
    )
    .bind(&given.id)
    .bind(&export.spans)
    .execute(conn)
    .await?;
    Ok(())
}

/// A trace that is there, with what further spans tell of it.
fn grown(mut trace: Trace, export: &Export) -> Trace {
    let Export { trace: given, ends, .. } = export;
    if !trace.metadata.contains_key(FINALIZED) {
        let end = |trace: &Trace| trace.duration.map(|took| trace.started.millis().saturating_add(took));
        let ended = end(&trace).max(end(given));
        trace.started = trace.started.min(given.started);
        trace.duration = ended.map(|ended| ended.saturating_sub(trace.started.millis()));
    }
    if *ends && matches!(trace.state.as_str(), "IN_PROGRESS" | "STATE_UNSPECIFIED") {
        trace.state.clone_from(&given.state);
    }
    trace.request_preview = trace.request_preview.or_else(|| given.request_preview.clone());
    trace.response_preview = trace.response_preview.or_else(|| given.response_preview.clone());
    for (key, value) in &given.tags {
        trace.tags.insert(key.clone(), value.clone());
    }
    for (key, value) in &given.metadata {
        trace.metadata.entry(key.clone()).or_insert_with(|| value.clone());
    }
    trace
}

/// Adds counts to those in the metadata. A count that the client has given for the whole trace stands.
fn add(metadata: &mut BTreeMap<String, String>, sums: &BTreeMap<String, BTreeMap<String, f64>>) {
    for (key, counts) in sums {
        if metadata.contains_key(FINALIZED) && metadata.contains_key(key) {
            continue;
        }
        let old = metadata.get(key).and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
        let mut all = old.unwrap_or_default();
        for (name, count) in counts {
            let sum = all.get(name).and_then(Value::as_f64).unwrap_or_default() + count;
            // Tokens are whole and are shown so.
            let whole = sum.fract() == 0.0 && sum.abs() < 9.0e15 && !name.ends_with("_cost");
            all.insert(name.clone(), if whole { Value::from(sum as i64) } else { Value::from(sum) });
        }
        // As clients write it, with blanks.
        let parts: Vec<String> =
            all.iter().map(|(name, count)| format!("{}: {count}", Value::from(name.as_str()))).collect();
        metadata.insert(key.clone(), format!("{{{}}}", parts.join(", ")));
    }
}

pub(super) async fn put(
    conn: &mut SqliteConnection,
    statement: &'static str,
    trace: &Trace,
) -> Result<Trace, Error> {
    let row = sqlx::query(statement)
        .bind(&trace.id)
        .bind(trace.experiment)
        .bind(trace.started.millis())
        .bind(trace.duration)
        .bind(&trace.state)
        .bind(&trace.client_request)
        .bind(&trace.request_preview)
        .bind(&trace.response_preview)
        .bind(encode("tags", &trace.id, &trace.tags)?)
        .bind(encode("metadata", &trace.id, &trace.metadata)?)
        .fetch_one(conn)
        .await
        .map_err(|error| no_experiment(error, trace.experiment))?;
    read(&row)
}

pub(super) async fn link(conn: &mut SqliteConnection, run: &str, id: &str) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO trace_run (run, trace) SELECT $1, id FROM trace WHERE id = $2 ON CONFLICT DO NOTHING",
    )
    .bind(run)
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

/// A broken foreign key means that there is no such experiment.
fn no_experiment(error: sqlx::Error, id: i64) -> Error {
    let foreign = error.as_database_error().is_some_and(|error| error.is_foreign_key_violation());
    if foreign {
        return Error::NotFound { kind: "experiment", name: id.to_string(), code: Code::ExperimentNotFound };
    }
    error.into()
}

/// A broken foreign key means that there is no such trace.
pub(super) fn no_trace(error: sqlx::Error, id: &str) -> Error {
    let foreign = error.as_database_error().is_some_and(|error| error.is_foreign_key_violation());
    if foreign { missing(id) } else { error.into() }
}

fn missing(id: &str) -> Error {
    Error::NotFound { kind: "trace", name: id.to_owned(), code: Code::ObjectNotFound }
}

fn read(row: &SqliteRow) -> Result<Trace, Error> {
    let id: String = row.try_get("id")?;
    Ok(Trace {
        experiment: row.try_get("experiment")?,
        started: Timestamp(row.try_get("started")?),
        duration: row.try_get("duration")?,
        state: row.try_get("state")?,
        client_request: row.try_get("client_request")?,
        request_preview: row.try_get("request_preview")?,
        response_preview: row.try_get("response_preview")?,
        tags: decode("tags of trace", &id, row.try_get("tags")?)?,
        metadata: decode("metadata of trace", &id, row.try_get("metadata")?)?,
        id,
    })
}

#[cfg(test)]
mod tests;
