//! Assessments: what people and judges say of a trace.
//!
//! One that overrides another makes that one invalid for as long as it is there itself.

use std::collections::HashMap;

use rondo_core::{Code, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::traces::no_trace;
use super::{Meta, decode, encode};
use crate::Error;

/// An assessment.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// `a-` and 32 hex characters.
    pub id: String,
    /// The trace that it is of.
    pub trace: String,
    /// `feedback`, `expectation` or `issue`.
    pub kind: String,
    /// Its name; several may have one.
    pub name: String,
    /// Its value as filters compare it: a text itself, anything else as JSON.
    pub text: String,
    /// The session that it is of, where it is of a whole one.
    pub session: Option<String>,
    /// Whether it counts: what is overridden does not.
    pub valid: bool,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// The rest.
    pub record: AssessmentRecord,
}

/// What of an assessment is never searched.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AssessmentRecord {
    /// Who or what judged, in the words of the protocol.
    pub source: Map<String, Value>,
    /// The value with what belongs to it (an error, a form), in the words of the protocol.
    pub value: Map<String, Value>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rationale: Option<String>,
    /// More, by key.
    #[serde(skip_serializing_if = "Map::is_empty", default)]
    pub metadata: Map<String, Value>,
    /// The span that it is of, where it is of one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub span: Option<String>,
    /// The assessment that it overrides.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub overrides: Option<String>,
}

impl Meta {
    /// Keeps new assessments, and marks those that they override.
    ///
    /// # Errors
    /// When a trace or an overridden assessment does not exist, an id is taken, or the database refuses.
    pub async fn create_assessments(&self, assessments: Vec<Assessment>) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                for assessment in &assessments {
                    if let Some(other) = &assessment.record.overrides
                        && !mark(conn, &assessment.trace, other, false).await?
                    {
                        return Err(missing(other));
                    }
                    insert(conn, assessment).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// An assessment of a trace.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn assessment(&self, trace: &str, id: &str) -> Result<Option<Assessment>, Error> {
        let row = sqlx::query("SELECT * FROM trace_assessment WHERE trace = $1 AND id = $2")
            .bind(trace)
            .bind(id)
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// The assessments of traces, each trace's in the order in which they were made.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn assessments(&self, traces: &[String]) -> Result<HashMap<String, Vec<Assessment>>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM trace_assessment WHERE trace IN (SELECT value FROM json_each($1))
             ORDER BY trace, created, id",
        )
        .bind(encode("traces", "list", &traces)?)
        .fetch_all(self.readers())
        .await?;
        let mut by_trace: HashMap<String, Vec<Assessment>> = HashMap::new();
        for row in &rows {
            let assessment = read(row)?;
            by_trace.entry(assessment.trace.clone()).or_default().push(assessment);
        }
        Ok(by_trace)
    }

    /// Changes an assessment in place, by what the change makes of it as it stands; the changed one.
    ///
    /// # Errors
    /// When it does not exist, the change refuses, or the database does.
    pub async fn change_assessment<E, F>(
        &self,
        trace: &str,
        id: &str,
        change: F,
    ) -> Result<Result<Assessment, E>, Error>
    where
        E: Send + 'static,
        F: FnOnce(Assessment) -> Result<Assessment, E> + Send + 'static,
    {
        let (trace, id) = (trace.to_owned(), id.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                let row = sqlx::query("SELECT * FROM trace_assessment WHERE trace = $1 AND id = $2")
                    .bind(&trace)
                    .bind(&id)
                    .fetch_optional(&mut *conn)
                    .await?;
                let found = read(&row.ok_or_else(|| missing(&id))?)?;
                let changed = match change(found) {
                    Ok(changed) => changed,
                    Err(refused) => return Ok(Err(refused)),
                };
                sqlx::query(
                    "UPDATE trace_assessment SET name = $3, text = $4, session = $5, valid = $6,
                     updated = $7, record = $8 WHERE trace = $1 AND id = $2",
                )
                .bind(&trace)
                .bind(&id)
                .bind(&changed.name)
                .bind(&changed.text)
                .bind(&changed.session)
                .bind(changed.valid)
                .bind(changed.updated.millis())
                .bind(encode("assessment", &id, &changed.record)?)
                .execute(conn)
                .await?;
                Ok(Ok(changed))
            })
        })
        .await
    }

    /// Deletes an assessment and lets the one that it overrode count again. One that is not there is as
    /// good as deleted.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete_assessment(&self, trace: &str, id: &str) -> Result<(), Error> {
        let (trace, id) = (trace.to_owned(), id.to_owned());
        self.write(move |conn| {
            Box::pin(async move {
                let row =
                    sqlx::query("DELETE FROM trace_assessment WHERE trace = $1 AND id = $2 RETURNING *")
                        .bind(&trace)
                        .bind(&id)
                        .fetch_optional(&mut *conn)
                        .await?;
                if let Some(row) = row
                    && let Some(other) = read(&row)?.record.overrides
                {
                    mark(conn, &trace, &other, true).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

/// Says whether an assessment counts; whether there is one.
async fn mark(conn: &mut SqliteConnection, trace: &str, id: &str, valid: bool) -> Result<bool, Error> {
    let marked = sqlx::query("UPDATE trace_assessment SET valid = $3 WHERE trace = $1 AND id = $2")
        .bind(trace)
        .bind(id)
        .bind(valid)
        .execute(conn)
        .await?;
    Ok(marked.rows_affected() == 1)
}

async fn insert(conn: &mut SqliteConnection, assessment: &Assessment) -> Result<(), Error> {
    let made = sqlx::query(
        "INSERT INTO trace_assessment (id, trace, kind, name, text, session, valid, created, updated, record)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&assessment.id)
    .bind(&assessment.trace)
    .bind(&assessment.kind)
    .bind(&assessment.name)
    .bind(&assessment.text)
    .bind(&assessment.session)
    .bind(assessment.valid)
    .bind(assessment.created.millis())
    .bind(assessment.updated.millis())
    .bind(encode("assessment", &assessment.id, &assessment.record)?)
    .execute(conn)
    .await
    .map_err(|error| no_trace(error, &assessment.trace))?;
    if made.rows_affected() == 1 {
        return Ok(());
    }
    Err(Error::Exists { kind: "assessment", name: assessment.id.clone(), code: Code::ValueInvalid })
}

fn missing(id: &str) -> Error {
    Error::NotFound { kind: "assessment", name: id.to_owned(), code: Code::ObjectNotFound }
}

fn read(row: &SqliteRow) -> Result<Assessment, Error> {
    let id: String = row.try_get("id")?;
    Ok(Assessment {
        trace: row.try_get("trace")?,
        kind: row.try_get("kind")?,
        name: row.try_get("name")?,
        text: row.try_get("text")?,
        session: row.try_get("session")?,
        valid: row.try_get("valid")?,
        created: Timestamp(row.try_get("created")?),
        updated: Timestamp(row.try_get("updated")?),
        record: decode("assessment", &id, row.try_get("record")?)?,
        id,
    })
}
