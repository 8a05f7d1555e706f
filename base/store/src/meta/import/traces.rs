//! Traces of another store, each with its spans and all that is said of it.

use sqlx::SqliteConnection;

use super::mark;
use crate::Error;
use crate::meta::assessments::Assessment;
use crate::meta::traces::{self, Trace};
use crate::meta::{Meta, encode};

/// A trace with all that is written with it.
#[derive(Debug, Clone)]
pub struct ImportedTrace {
    /// The trace.
    pub trace: Trace,
    /// Its spans, a JSON list; empty for none.
    pub spans: String,
    /// What is said of it.
    pub assessments: Vec<Assessment>,
    /// Runs that it is linked to.
    pub runs: Vec<String>,
    /// Versions of prompts that it is linked to.
    pub prompts: Vec<(String, String)>,
}

impl Meta {
    /// Makes traces with their ids, or puts what is given in the place of those that are here; marks them as
    /// under way.
    ///
    /// # Errors
    /// When an experiment does not exist or the database refuses; then none is made.
    pub async fn import_traces(&self, traces: Vec<ImportedTrace>) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                for trace in &traces {
                    put(conn, trace).await?;
                }
                let marks = traces.iter().map(|trace| (trace.trace.id.clone(), String::new())).collect();
                mark(conn, "trace", &marks).await
            })
        })
        .await
    }
}

async fn put(conn: &mut SqliteConnection, given: &ImportedTrace) -> Result<(), Error> {
    let id = &given.trace.id;
    traces::put(conn, traces::PUT_WHOLE, &given.trace).await?;
    sqlx::query("DELETE FROM trace_spans WHERE trace = $1").bind(id).execute(&mut *conn).await?;
    if !given.spans.is_empty() {
        sqlx::query("INSERT INTO trace_spans (trace, seq, spans) VALUES ($1, 1, $2)")
            .bind(id)
            .bind(&given.spans)
            .execute(&mut *conn)
            .await?;
    }
    for Assessment { id: own, kind, name, text, session, valid, created, updated, record, .. } in
        &given.assessments
    {
        sqlx::query(
            "INSERT INTO trace_assessment (id, trace, kind, name, text, session, valid, created, updated, record)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO UPDATE
             SET name = excluded.name, text = excluded.text, session = excluded.session,
             valid = excluded.valid, updated = excluded.updated, record = excluded.record
             WHERE trace_assessment.trace = excluded.trace",
        )
        .bind(own)
        .bind(id)
        .bind(kind)
        .bind(name)
        .bind(text)
        .bind(session)
        .bind(valid)
        .bind(created.millis())
        .bind(updated.millis())
        .bind(encode("assessment", own, record)?)
        .execute(&mut *conn)
        .await?;
    }
    for run in given.runs.iter().chain(given.trace.metadata.get(traces::SOURCE_RUN)) {
        traces::link(conn, run, id).await?;
    }
    for (name, version) in &given.prompts {
        sqlx::query(
            "INSERT INTO trace_prompt (prompt, version, trace) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(name)
        .bind(version)
        .bind(id)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
