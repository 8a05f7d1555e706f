//! Metrics: the newest value of each key, and its series.
//!
//! A series is a tail of rows in the order of arrival; once the tail has [`TAIL`] points it is packed into
//! a chunk (16 + 8 bytes a point, little endian) and removed, so that a long series is a few hundred rows.
//! The newest value is the one with the greatest (step, timestamp, value), as MLflow has it.

use std::collections::BTreeMap;

use rondo_core::RunId;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::Meta;
use super::runs::{log_param, no_run, set_run_tag};
use crate::Error;

/// How long a tail grows before it is packed.
const TAIL: i64 = 1024;

const POINT: usize = 24;

/// One point of a metric's series.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    /// Client's clock, milliseconds since the epoch.
    pub timestamp: i64,
    /// The client's own count, such as the epoch of training.
    pub step: i64,
    /// The value; may be NaN.
    pub value: f64,
}

/// The newest value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// The metric.
    pub key: String,
    /// Its newest point.
    pub point: Point,
}

/// What one batch logs on a run: all of it or nothing.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Points with their keys.
    pub metrics: Vec<(String, Point)>,
    /// Parameters.
    pub params: Vec<(String, String)>,
    /// Tags.
    pub tags: Vec<(String, String)>,
}

impl Meta {
    /// Logs a batch on a run.
    ///
    /// # Errors
    /// When a parameter stands with another value, there is no such run, or the database refuses.
    pub async fn log_batch(&self, id: RunId, batch: Batch) -> Result<(), Error> {
        self.write(move |conn| {
            Box::pin(async move {
                for (key, value) in batch.params {
                    log_param(conn, id, key, value).await?;
                }
                for (key, value) in &batch.tags {
                    set_run_tag(conn, id, key, value).await?;
                }
                let mut by_key: BTreeMap<String, Vec<Point>> = BTreeMap::new();
                for (key, point) in batch.metrics {
                    by_key.entry(key).or_default().push(point);
                }
                for (key, points) in &by_key {
                    append(conn, id, key, points).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The newest value of each metric of a run.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn latest_metrics(&self, id: RunId) -> Result<Vec<Latest>, Error> {
        let rows = sqlx::query(
            "SELECT key, timestamp, step, value, is_nan FROM metric_latest WHERE run = $1 ORDER BY key",
        )
        .bind(id.hex())
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(|row| Ok(Latest { key: row.try_get("key")?, point: point(row)? })).collect()
    }

    /// The whole series of a metric, in the order of arrival, exact duplicates once.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn metric_history(&self, id: RunId, key: &str) -> Result<Vec<Point>, Error> {
        let chunks = sqlx::query("SELECT points FROM metric_chunk WHERE run = $1 AND key = $2 ORDER BY seq")
            .bind(id.hex())
            .bind(key)
            .fetch_all(self.readers())
            .await?;
        let tail = sqlx::query(
            "SELECT timestamp, step, value, is_nan FROM metric_tail WHERE run = $1 AND key = $2 ORDER BY seq",
        )
        .bind(id.hex())
        .bind(key)
        .fetch_all(self.readers())
        .await?;
        let mut points = Vec::new();
        for row in &chunks {
            points.extend(unpack(row.try_get("points")?));
        }
        for row in &tail {
            points.push(point(row)?);
        }
        let mut seen = std::collections::HashSet::with_capacity(points.len());
        points.retain(|p| seen.insert((p.timestamp, p.step, p.value.to_bits())));
        Ok(points)
    }
}

async fn append(conn: &mut SqliteConnection, id: RunId, key: &str, points: &[Point]) -> Result<(), Error> {
    let Some(newest) = points.iter().copied().max_by(newer) else { return Ok(()) };
    let run = id.hex();
    let row = sqlx::query(
        "INSERT INTO metric_latest (run, key, experiment, value, is_nan, timestamp, step, points, tail, shown)
         VALUES ($1, $2, (SELECT experiment FROM run WHERE id = $1), $3, $4, $5, $6, $7, $7, $8)
         ON CONFLICT (run, key) DO UPDATE SET points = points + $7, tail = tail + $7
         RETURNING value, is_nan, timestamp, step, points, tail",
    )
    .bind(&run)
    .bind(key)
    .bind(stored(newest.value))
    .bind(newest.value.is_nan())
    .bind(newest.timestamp)
    .bind(newest.step)
    .bind(points.len() as i64)
    .bind(shown(newest.value))
    .fetch_one(&mut *conn)
    .await
    .map_err(|error| no_run(error, id))?;
    if newer(&newest, &point(&row)?).is_gt() {
        sqlx::query(
            "UPDATE metric_latest SET value = $3, is_nan = $4, timestamp = $5, step = $6, shown = $7
             WHERE run = $1 AND key = $2",
        )
        .bind(&run)
        .bind(key)
        .bind(stored(newest.value))
        .bind(newest.value.is_nan())
        .bind(newest.timestamp)
        .bind(newest.step)
        .bind(shown(newest.value))
        .execute(&mut *conn)
        .await?;
    }
    let total: i64 = row.try_get("points")?;
    let tail: i64 = row.try_get("tail")?;
    let first = total - points.len() as i64;
    for (offset, point) in points.iter().enumerate() {
        sqlx::query(
            "INSERT INTO metric_tail (run, key, seq, timestamp, step, value, is_nan)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&run)
        .bind(key)
        .bind(first + offset as i64)
        .bind(point.timestamp)
        .bind(point.step)
        .bind(stored(point.value))
        .bind(point.value.is_nan())
        .execute(&mut *conn)
        .await?;
    }
    if tail >= TAIL { pack(conn, &run, key, total).await } else { Ok(()) }
}

async fn pack(conn: &mut SqliteConnection, run: &str, key: &str, seq: i64) -> Result<(), Error> {
    let rows = sqlx::query(
        "DELETE FROM metric_tail WHERE run = $1 AND key = $2 RETURNING seq, timestamp, step, value, is_nan",
    )
    .bind(run)
    .bind(key)
    .fetch_all(&mut *conn)
    .await?;
    let mut points: Vec<(i64, Point)> =
        rows.iter().map(|row| Ok((row.try_get("seq")?, point(row)?))).collect::<Result<_, Error>>()?;
    points.sort_by_key(|(seq, _)| *seq);
    let mut bytes = Vec::with_capacity(points.len() * POINT);
    for (_, point) in points {
        bytes.extend_from_slice(&point.timestamp.to_le_bytes());
        bytes.extend_from_slice(&point.step.to_le_bytes());
        bytes.extend_from_slice(&point.value.to_le_bytes());
    }
    sqlx::query("INSERT INTO metric_chunk (run, key, seq, points) VALUES ($1, $2, $3, $4)")
        .bind(run)
        .bind(key)
        .bind(seq)
        .bind(bytes)
        .execute(&mut *conn)
        .await?;
    sqlx::query("UPDATE metric_latest SET tail = 0 WHERE run = $1 AND key = $2")
        .bind(run)
        .bind(key)
        .execute(conn)
        .await?;
    Ok(())
}

fn unpack(bytes: &[u8]) -> impl Iterator<Item = Point> + '_ {
    bytes.chunks_exact(POINT).map(|chunk| {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&chunk[at..at + 8]);
            word
        };
        Point {
            timestamp: i64::from_le_bytes(word(0)),
            step: i64::from_le_bytes(word(8)),
            value: f64::from_le_bytes(word(16)),
        }
    })
}

fn newer(a: &Point, b: &Point) -> std::cmp::Ordering {
    (a.step, a.timestamp).cmp(&(b.step, b.timestamp)).then(a.value.total_cmp(&b.value))
}

/// SQLite turns NaN into NULL, so it is kept as 0 and a flag.
pub(super) const fn stored(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

/// A value as JSON shows it: NaN as text, infinities as the greatest finite numbers.
fn shown(value: f64) -> String {
    if value.is_nan() { "\"NaN\"".to_owned() } else { format!("{:?}", value.clamp(f64::MIN, f64::MAX)) }
}

pub(super) fn point(row: &SqliteRow) -> Result<Point, Error> {
    let nan: bool = row.try_get("is_nan")?;
    let value = if nan { f64::NAN } else { row.try_get("value")? };
    Ok(Point { timestamp: row.try_get("timestamp")?, step: row.try_get("step")?, value })
}
