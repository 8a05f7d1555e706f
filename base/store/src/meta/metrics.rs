//! Metrics: the newest value of each key, and its series.
//!
//! The newest value stands in a row of its own, by (step, timestamp, value) as MLflow has it, so that a
//! search or a listing never reads a series. A series is a list of chunks of [frames](points); what is
//! logged goes to the end of the last chunk, and once that is [`CHUNK`] long, to a new one: an append
//! writes about one page, however long the series is. Nothing is ever repacked.

mod pages;
pub(super) mod points;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rondo_core::RunId;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::Meta;
pub use super::batch::Batch;
use super::script::Script;
use crate::Error;
pub use pages::{Page, Place};

/// Bytes at which a chunk is full: with its neighbours it still shares a page of the database.
const CHUNK: &str = "1024";

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

impl Point {
    /// The order of a series: by timestamp, step and value.
    pub fn order(&self, other: &Self) -> Ordering {
        (self.timestamp, self.step)
            .cmp(&(other.timestamp, other.step))
            .then_with(|| self.value.total_cmp(&other.value))
    }
}

/// What a metric was measured of and on. An empty text means that it was not said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Context {
    /// The logged model.
    pub model: String,
    /// The dataset's name.
    pub dataset_name: String,
    /// The dataset's digest.
    pub dataset_digest: String,
}

/// The newest value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// The metric.
    pub key: String,
    /// Its newest point.
    pub point: Point,
    /// What it was measured of, where that was said.
    pub context: Option<Arc<Context>>,
}

/// The whole series of a metric.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// By (timestamp, step, value), exact duplicates once.
    pub points: Vec<Point>,
    /// What each point was measured of; empty where that was never said.
    pub contexts: Vec<Option<Arc<Context>>>,
}

/// A point as it is stored, with the number of its context or 0.
#[derive(Clone, Copy)]
struct Logged {
    point: Point,
    context: i64,
}

/// Points of one metric and context.
pub(super) struct Group<'b> {
    key: &'b str,
    context: i64,
    points: Vec<Point>,
}

impl Meta {
    /// The newest value of each metric of a run.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn latest_metrics(&self, id: RunId) -> Result<Vec<Latest>, Error> {
        let rows = sqlx::query("SELECT * FROM metric_latest WHERE run = $1 ORDER BY key")
            .bind(id.hex())
            .fetch_all(self.readers())
            .await?;
        let contexts = self.contexts(rows.iter().map(|row| row.try_get("context"))).await?;
        let latest = |row: &SqliteRow| {
            let context = contexts.get(&row.try_get("context")?).cloned();
            Ok(Latest { key: row.try_get("key")?, point: point(row)?, context })
        };
        rows.iter().map(latest).collect()
    }

    /// The points of a metric by (timestamp, step, value), exact duplicates once.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn metric_history(&self, id: RunId, key: &str) -> Result<Vec<Point>, Error> {
        Ok(self.metric_series(id, key).await?.points)
    }

    /// The series of a metric, with what each point was measured of.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn metric_series(&self, id: RunId, key: &str) -> Result<Series, Error> {
        Ok(self.metric_page(id, key, None, usize::MAX).await?.series)
    }

    /// The numbers of contexts, given where they are new.
    pub(super) async fn numbers<'c>(
        &self,
        contexts: BTreeSet<&'c Context>,
    ) -> Result<BTreeMap<&'c Context, i64>, Error> {
        let mut numbers = BTreeMap::new();
        let mut new = Vec::new();
        for context in contexts {
            let known = sqlx::query_scalar(
                "SELECT id FROM metric_context WHERE model = $1 AND dataset_name = $2 AND dataset_digest = $3",
            )
            .bind(&context.model)
            .bind(&context.dataset_name)
            .bind(&context.dataset_digest)
            .fetch_optional(self.readers());
            match known.await? {
                Some(number) => drop(numbers.insert(context, number)),
                None => new.push(context),
            }
        }
        if new.is_empty() {
            return Ok(numbers);
        }
        let mut script = Script::on(rusqlite::types::Null);
        for context in &new {
            script.statement("INSERT INTO metric_context (model, dataset_name, dataset_digest) VALUES (");
            script.value(context.model.clone()).sql(", ").value(context.dataset_name.clone()).sql(", ");
            // Setting what another has just set gives its number back too.
            script.value(context.dataset_digest.clone()).sql(
                ") ON CONFLICT (model, dataset_name, dataset_digest) DO UPDATE SET model = excluded.model
                 RETURNING id",
            );
        }
        for (context, row) in new.into_iter().zip(self.script(script).await?) {
            numbers.insert(context, row.get("id")?);
        }
        Ok(numbers)
    }

    /// The contexts of these numbers; 0 is none.
    pub(super) async fn contexts(
        &self,
        numbers: impl Iterator<Item = Result<i64, sqlx::Error>>,
    ) -> Result<HashMap<i64, Arc<Context>>, Error> {
        let mut wanted = Vec::new();
        for number in numbers {
            let number = number?;
            if number != 0 && wanted.last() != Some(&number) {
                wanted.push(number);
            }
        }
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        wanted.sort_unstable();
        wanted.dedup();
        let rows = sqlx::query("SELECT * FROM metric_context WHERE id IN (SELECT value FROM json_each($1))")
            .bind(super::encode("contexts", "list", &wanted)?)
            .fetch_all(self.readers())
            .await?;
        let context = |row: &SqliteRow| {
            let context = Context {
                model: row.try_get("model")?,
                dataset_name: row.try_get("dataset_name")?,
                dataset_digest: row.try_get("dataset_digest")?,
            };
            Ok((row.try_get("id")?, Arc::new(context)))
        };
        rows.iter().map(context).collect()
    }
}

/// Points by their metric, in the order of arrival.
pub(super) fn grouped<'b>(points: impl Iterator<Item = (&'b str, i64, Point)>) -> Vec<Group<'b>> {
    let mut places: BTreeMap<(&str, i64), usize> = BTreeMap::new();
    let mut groups: Vec<Group<'b>> = Vec::new();
    for (key, context, point) in points {
        let place = *places.entry((key, context)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.points.push(point),
            None => groups.push(Group { key, context, points: vec![point] }),
        }
    }
    groups
}

/// Adds to a script on a run that these points are logged.
pub(super) fn log_points(script: &mut Script, groups: &[Group<'_>]) {
    if !groups.is_empty() {
        set_latest(script, groups);
        append(script, groups);
    }
}

/// The newest value of each metric.
fn set_latest(script: &mut Script, groups: &[Group<'_>]) {
    script.statement(
        "INSERT INTO metric_latest (run, experiment, key, value, is_nan, shown, timestamp, step, context) VALUES ",
    );
    for (index, group) in groups.iter().enumerate() {
        let Some(newest) = group.points.iter().max_by(|a, b| newer(a, b)) else { continue };
        let run = "($1, (SELECT experiment FROM run WHERE id = $1), ";
        script.sql(if index == 0 { "" } else { ", " }).sql(run);
        script.value(group.key.to_owned()).sql(", ").value(stored(newest.value)).sql(", ");
        script.value(newest.value.is_nan()).sql(", ").value(shown(newest.value)).sql(", ");
        script.value(newest.timestamp).sql(", ").value(newest.step).sql(", ").value(group.context).sql(")");
    }
    script.sql(
        " ON CONFLICT (run, key) DO UPDATE SET value = excluded.value, is_nan = excluded.is_nan,
         shown = excluded.shown, timestamp = excluded.timestamp, step = excluded.step, context = excluded.context
         WHERE (excluded.step, excluded.timestamp, excluded.value, excluded.context)
         > (metric_latest.step, metric_latest.timestamp, metric_latest.value, metric_latest.context)",
    );
}

/// A frame at the end of each series. (PostgreSQL joins bytes without the cast.)
fn append(script: &mut Script, groups: &[Group<'_>]) {
    // A metric's frames of several contexts are one row: a statement sees the last chunk once.
    let mut frames: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for group in groups {
        frames.entry(group.key).or_default().extend(points::frame(&group.points, group.context));
    }
    script
        .statement(
            "INSERT INTO metric_chunk (series, seq, points) SELECT m.series, COALESCE((SELECT
         c.seq + CASE WHEN length(c.points) < ",
        )
        .sql(CHUNK)
        .sql(
            " THEN 0 ELSE 1 END FROM metric_chunk c
         WHERE c.series = m.series ORDER BY c.seq DESC LIMIT 1), 0), v.column2 FROM (VALUES ",
        );
    for (index, (key, frame)) in frames.into_iter().enumerate() {
        script.sql(if index == 0 { "(" } else { ", (" });
        script.value(key.to_owned()).sql(", ").value(frame).sql(")");
    }
    script.sql(
        ") v CROSS JOIN metric_latest m WHERE m.run = $1 AND m.key = v.column1
         ON CONFLICT (series, seq) DO UPDATE
         SET points = CAST(metric_chunk.points || excluded.points AS BLOB)",
    );
}

pub(super) fn newer(a: &Point, b: &Point) -> Ordering {
    (a.step, a.timestamp).cmp(&(b.step, b.timestamp)).then(stored(a.value).total_cmp(&stored(b.value)))
}

/// Of equal points the one whose context is known comes first.
fn order(a: &Logged, b: &Logged) -> Ordering {
    a.point.order(&b.point).then_with(|| b.context.cmp(&a.context))
}

/// SQLite turns NaN into NULL, so it is kept as 0 and a flag.
pub(super) const fn stored(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

/// A value as JSON shows it: NaN as text, infinities as the greatest finite numbers.
pub(super) fn shown(value: f64) -> String {
    if value.is_nan() { "\"NaN\"".to_owned() } else { format!("{:?}", value.clamp(f64::MIN, f64::MAX)) }
}

pub(super) fn point(row: &SqliteRow) -> Result<Point, Error> {
    let nan: bool = row.try_get("is_nan")?;
    let value = if nan { f64::NAN } else { row.try_get("value")? };
    Ok(Point { timestamp: row.try_get("timestamp")?, step: row.try_get("step")?, value })
}

#[cfg(test)]
mod tests;
