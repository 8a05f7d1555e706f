//! What monitoring remembers: windows, alerts, retraining requests.

use rondo_core::handoff::{RequestState, RetrainRequest};
use rondo_core::{Code, Timestamp};
use serde_json::Value;
use sqlx::Row;

use super::{Meta, decode, encode};
use crate::Error;

/// The record of one window of a deployment's traffic.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowRow {
    /// The deployment.
    pub deployment: String,
    /// Event time at which it begins (inclusive).
    pub start: Timestamp,
    /// Event time at which it ends (exclusive).
    pub end: Timestamp,
    /// Whether all its ground truth has come or will not come any more.
    pub last: bool,
    /// What was computed.
    pub record: Value,
}

/// A stored alert.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRow {
    /// The same for the same cause, so that looking twice raises it once.
    pub id: String,
    /// `<monitor>.drift.<column>`, `.quality.<rule>` or `.objective.<n>`.
    pub name: String,
    /// The model.
    pub model: String,
    /// The end of the window it was found in.
    pub event_time: Timestamp,
    /// When it was raised, by the wall clock.
    pub at: Timestamp,
    /// What moved, by how much.
    pub record: Value,
}

impl Meta {
    /// Keeps a window's record; a later one takes its place.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_window(&self, window: WindowRow) -> Result<(), Error> {
        let record = encode("window", &window.deployment, &window.record)?;
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO monitor_window (deployment, start_at, end_at, final, record)
                     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (deployment, start_at, end_at)
                     DO UPDATE SET final = excluded.final, record = excluded.record",
                )
                .bind(&window.deployment)
                .bind(window.start.millis())
                .bind(window.end.millis())
                .bind(window.last)
                .bind(&record)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// The windows of a deployment, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn windows(&self, deployment: &str) -> Result<Vec<WindowRow>, Error> {
        let rows =
            sqlx::query("SELECT * FROM monitor_window WHERE deployment = $1 ORDER BY start_at, end_at")
                .bind(deployment)
                .fetch_all(self.readers())
                .await?;
        rows.iter().map(|row| window(deployment, row)).collect()
    }

    /// The newest window of a deployment.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn newest_window(&self, deployment: &str) -> Result<Option<WindowRow>, Error> {
        let row = sqlx::query(
            "SELECT * FROM monitor_window WHERE deployment = $1 ORDER BY start_at DESC, end_at DESC LIMIT 1",
        )
        .bind(deployment)
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| window(deployment, &row)).transpose()
    }

    /// Raises an alert; whether it is new.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn raise_alert(&self, alert: AlertRow) -> Result<bool, Error> {
        let record = encode("alert", &alert.id, &alert.record)?;
        self.write(move |conn| {
            Box::pin(async move {
                let added = sqlx::query(
                    "INSERT INTO alert (id, name, model, event_time, at, record)
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING",
                )
                .bind(&alert.id)
                .bind(&alert.name)
                .bind(&alert.model)
                .bind(alert.event_time.millis())
                .bind(alert.at.millis())
                .bind(&record)
                .execute(conn)
                .await?;
                Ok(added.rows_affected() == 1)
            })
        })
        .await
    }

    /// The alerts of a model, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn alerts(&self, model: &str) -> Result<Vec<AlertRow>, Error> {
        let rows = sqlx::query("SELECT * FROM alert WHERE model = $1 ORDER BY event_time, name")
            .bind(model)
            .fetch_all(self.readers())
            .await?;
        rows.iter()
            .map(|row| {
                Ok(AlertRow {
                    id: row.try_get("id")?,
                    name: row.try_get("name")?,
                    model: row.try_get("model")?,
                    event_time: Timestamp(row.try_get("event_time")?),
                    at: Timestamp(row.try_get("at")?),
                    record: decode("alert", model, row.try_get("record")?)?,
                })
            })
            .collect()
    }

    /// Writes a retraining request; whether it is new (one of the same id is left as it is).
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn request_retraining(&self, request: &RetrainRequest) -> Result<bool, Error> {
        let record = encode("retraining request", &request.id, request)?;
        let request = request.clone();
        self.write(move |conn| {
            Box::pin(async move {
                let added = sqlx::query(
                    "INSERT INTO retrain_request (id, model, state, until, created, record)
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING",
                )
                .bind(&request.id)
                .bind(&request.model)
                .bind(state(request.state))
                .bind(request.until.millis())
                .bind(request.created.millis())
                .bind(&record)
                .execute(conn)
                .await?;
                Ok(added.rows_affected() == 1)
            })
        })
        .await
    }

    /// Keeps a request's new state.
    ///
    /// # Errors
    /// When there is no such request or the database refuses.
    pub async fn update_request(&self, request: &RetrainRequest) -> Result<(), Error> {
        let record = encode("retraining request", &request.id, request)?;
        let request = request.clone();
        self.write(move |conn| {
            Box::pin(async move {
                let updated = sqlx::query("UPDATE retrain_request SET state = $2, record = $3 WHERE id = $1")
                    .bind(&request.id)
                    .bind(state(request.state))
                    .bind(&record)
                    .execute(conn)
                    .await?;
                if updated.rows_affected() == 1 {
                    return Ok(());
                }
                let code = Code::RunNotFound;
                Err(Error::NotFound { kind: "retraining request", name: request.id.clone(), code })
            })
        })
        .await
    }

    /// The requests for a model, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn requests(&self, model: &str) -> Result<Vec<RetrainRequest>, Error> {
        let rows =
            sqlx::query("SELECT record FROM retrain_request WHERE model = $1 ORDER BY until, created, id")
                .bind(model)
                .fetch_all(self.readers())
                .await?;
        rows.iter().map(|row| decode("retraining request", model, row.try_get("record")?)).collect()
    }

    /// The requests that wait for the worker or were being worked on, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn open_requests(&self) -> Result<Vec<RetrainRequest>, Error> {
        let rows = sqlx::query(
            "SELECT record FROM retrain_request WHERE state IN ('open', 'running') ORDER BY until, created, id",
        )
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(|row| decode("retraining request", "open", row.try_get("record")?)).collect()
    }
}

fn window(deployment: &str, row: &sqlx::sqlite::SqliteRow) -> Result<WindowRow, Error> {
    Ok(WindowRow {
        deployment: row.try_get("deployment")?,
        start: Timestamp(row.try_get("start_at")?),
        end: Timestamp(row.try_get("end_at")?),
        last: row.try_get("final")?,
        record: decode("window", deployment, row.try_get("record")?)?,
    })
}

const fn state(state: RequestState) -> &'static str {
    match state {
        RequestState::Open => "open",
        RequestState::Running => "running",
        RequestState::Pending => "pending",
        RequestState::Promoted => "promoted",
        RequestState::Kept => "kept",
        RequestState::Failed => "failed",
    }
}
