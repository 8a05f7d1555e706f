//! Series of metrics as they are brought in: packed before the writer is asked, many runs in one transaction.
//!
//! A series that comes whole needs none of what logging point by point does: its frames are made at once, each
//! a chunk of its own, and its newest point is known.

use std::collections::HashMap;

use rondo_core::RunId;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::Error;
use crate::meta::Meta;
use crate::meta::metrics::{Point, newer, points, shown, stored};
use crate::meta::runs::missing;

/// Points of a chunk: with the page that such a row spills over to, it is well filled.
const CHUNK: usize = 400;
/// Rows of one statement, so that few different texts are prepared.
const ROWS: usize = 64;

/// A series of a run, or what is new of one.
#[derive(Debug, Clone)]
pub struct ImportedSeries {
    /// The run.
    pub run: RunId,
    /// The metric.
    pub key: String,
    /// Its points in the order of arrival.
    pub points: Vec<Point>,
}

/// A series on its way in.
struct Packed {
    key: String,
    newest: Point,
    chunks: Vec<Vec<u8>>,
}

impl Meta {
    /// Logs series on runs, also on deleted ones: all or nothing.
    ///
    /// # Errors
    /// When there is no such run or the database refuses.
    pub async fn import_series(&self, series: Vec<ImportedSeries>) -> Result<(), Error> {
        let packed = tokio::task::spawn_blocking(move || packed(series)).await.map_err(|_| Error::Closed)?;
        self.write(move |conn| {
            Box::pin(async move {
                for (run, series) in &packed {
                    log(conn, *run, series).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

/// The series of each run, in frames.
fn packed(series: Vec<ImportedSeries>) -> Vec<(RunId, Vec<Packed>)> {
    let mut runs: Vec<(RunId, Vec<Packed>)> = Vec::new();
    for ImportedSeries { run, key, points } in series {
        let Some(newest) = points.iter().copied().max_by(newer) else { continue };
        let chunks = points.chunks(CHUNK).map(|points| points::frame(points, 0)).collect();
        let packed = Packed { key, newest, chunks };
        match runs.last_mut() {
            Some((last, of)) if *last == run => of.push(packed),
            Some(_) | None => runs.push((run, vec![packed])),
        }
    }
    runs
}

async fn log(conn: &mut SqliteConnection, run: RunId, series: &[Packed]) -> Result<(), Error> {
    let hex = run.hex();
    let found = sqlx::query("SELECT experiment FROM run WHERE id = $1").bind(&hex).fetch_optional(&mut *conn);
    let experiment: i64 = found.await?.ok_or_else(|| missing(run))?.try_get(0)?;
    for series in series.chunks(ROWS) {
        let mut insert: QueryBuilder<Sqlite> = QueryBuilder::new(
            "INSERT INTO metric_latest (run, experiment, key, value, is_nan, shown, timestamp, step, context) ",
        );
        insert.push_values(series, |mut row, Packed { key, newest, .. }| {
            row.push_bind(&hex).push_bind(experiment).push_bind(key).push_bind(stored(newest.value));
            row.push_bind(newest.value.is_nan()).push_bind(shown(newest.value));
            row.push_bind(newest.timestamp).push_bind(newest.step).push_bind(0i64);
        });
        insert.push(
            " ON CONFLICT (run, key) DO UPDATE SET value = excluded.value, is_nan = excluded.is_nan,
             shown = excluded.shown, timestamp = excluded.timestamp, step = excluded.step, context = 0
             WHERE (excluded.step, excluded.timestamp, excluded.value)
             > (metric_latest.step, metric_latest.timestamp, metric_latest.value)",
        );
        insert.build().execute(&mut *conn).await?;
    }
    let rows = sqlx::query("SELECT key, series FROM metric_latest WHERE run = $1")
        .bind(&hex)
        .fetch_all(&mut *conn)
        .await?;
    let mut numbers: HashMap<&str, i64> = HashMap::with_capacity(rows.len());
    for row in &rows {
        numbers.insert(row.try_get(0)?, row.try_get(1)?);
    }
    let mut chunks = Vec::new();
    for Packed { key, chunks: of, .. } in series {
        let Some(number) = numbers.get(key.as_str()) else { continue };
        chunks.extend(of.iter().map(|chunk| (*number, chunk)));
    }
    for chunks in chunks.chunks(ROWS) {
        append(conn, chunks).await?;
    }
    Ok(())
}

/// Adds chunks behind those that their series have. A statement sees the table as it was before it.
async fn append(conn: &mut SqliteConnection, chunks: &[(i64, &Vec<u8>)]) -> Result<(), Error> {
    let mut places: HashMap<i64, i64> = HashMap::new();
    let mut insert: QueryBuilder<Sqlite> = QueryBuilder::new(
        "INSERT INTO metric_chunk (series, seq, points) SELECT v.column1, v.column2 + COALESCE((SELECT c.seq + 1
         FROM metric_chunk c WHERE c.series = v.column1 ORDER BY c.seq DESC LIMIT 1), 0), v.column3 FROM (",
    );
    insert.push_values(chunks, |mut row, (series, chunk)| {
        let place = places.entry(*series).or_default();
        row.push_bind(*series).push_bind(*place).push_bind(chunk.as_slice());
        *place += 1;
    });
    insert.push(") v");
    insert.build().execute(conn).await?;
    Ok(())
}
