//! Series of metrics: by far the most rows of a database, read where they are, without a trip for each.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::super::Series;
use super::{MlflowDb, WAIT};
use crate::Error;
use crate::meta::metrics::Point;

impl MlflowDb {
    /// The whole series of a run's metrics.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn history(&mut self, run: &str) -> Result<Vec<Series>, Error> {
        let step = if self.has_column("metrics", "step") { "step" } else { "0" };
        let nan = if self.has_column("metrics", "is_nan") { "is_nan" } else { "0" };
        let statement = format!(
            "SELECT key, timestamp, {step}, value, {nan} FROM metrics WHERE run_uuid = ?1 ORDER BY rowid"
        );
        let (path, run, connection) = (self.path.clone(), run.to_owned(), self.series.take());
        let reading = tokio::task::spawn_blocking(move || {
            let connection = connection.map_or_else(|| open(&path), Ok)?;
            let series = read(&connection, &statement, &run)?;
            Ok::<_, rusqlite::Error>((connection, series))
        });
        let read = reading.await.map_err(|_| Error::Closed)?;
        let (connection, series) =
            read.map_err(|error| Error::Foreign { path: self.path.clone(), source: error.into() })?;
        self.series = Some(connection);
        Ok(series)
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(WAIT)?;
    Ok(connection)
}

fn read(connection: &Connection, statement: &str, run: &str) -> rusqlite::Result<Vec<Series>> {
    let mut statement = connection.prepare_cached(statement)?;
    let mut rows = statement.query([run])?;
    let mut series: BTreeMap<String, Vec<Point>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        // A key that is no text is taken for the empty one.
        let key = row.get_ref(0)?.as_str().unwrap_or_default();
        let nan = whole(row.get_ref(4)?) != 0;
        let value = match row.get_ref(3)? {
            ValueRef::Real(value) if !nan => value,
            ValueRef::Integer(value) if !nan => value as f64,
            _ => f64::NAN,
        };
        let point = Point { timestamp: whole(row.get_ref(1)?), step: whole(row.get_ref(2)?), value };
        match series.get_mut(key) {
            Some(points) => points.push(point),
            None => {
                series.insert(key.to_owned(), vec![point]);
            }
        }
    }
    Ok(series.into_iter().map(|(key, points)| Series { key, points }).collect())
}

/// A whole number, whatever the column holds.
fn whole(value: ValueRef<'_>) -> i64 {
    match value {
        ValueRef::Integer(value) => value,
        ValueRef::Real(value) => value as i64,
        ValueRef::Text(text) => {
            std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
        }
        ValueRef::Null | ValueRef::Blob(_) => 0,
    }
}
