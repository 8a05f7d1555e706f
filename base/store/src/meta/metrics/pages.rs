//! Pages of a series: each decodes the chunks that its points are in, and what has come since the first.
//!
//! A series may have come in any order, so the first page looks at all of it, and learns up to which chunk
//! the points are in order as they came. Chunks but the last never change; so the next page begins with the
//! first chunk that has a later point, and passes over the rest of what is in order as soon as it is full.
//! What stands behind that is always read: it may belong anywhere.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Logged, Point, Series, order, points};
use crate::Error;
use crate::meta::Meta;
use crate::meta::search::PATIENCE;
use rondo_core::RunId;

/// Where a page ended, and what is known of the chunks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The page's last point.
    pub point: Point,
    /// All points of the chunks before this one are on pages before.
    pub chunk: i64,
    /// The points of the chunks up to this one are in order as they came; -1 for none.
    pub ordered: i64,
}

/// Some points of a series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// They.
    pub series: Series,
    /// Where it ended, where more comes.
    pub next: Option<Place>,
}

impl Meta {
    /// So many points of a metric from a place on, by (timestamp, step, value), exact duplicates once.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn metric_page(
        &self,
        id: RunId,
        key: &str,
        after: Option<Place>,
        size: usize,
    ) -> Result<Page, Error> {
        let (run, metric) = (id.hex(), key.to_owned());
        let read = move |connection: &Connection| read(connection, &run, &metric, after, size);
        let (logged, next) = self.finder().read(PATIENCE, read).await?;
        let known = self.contexts(logged.iter().map(|logged| Ok(logged.context))).await?;
        let contexts: Vec<Option<Arc<_>>> = match known.is_empty() {
            true => Vec::new(),
            false => logged.iter().map(|logged| known.get(&logged.context).cloned()).collect(),
        };
        let points = logged.iter().map(|logged| logged.point).collect();
        Ok(Page { series: Series { points, contexts }, next })
    }
}

fn read(
    connection: &Connection,
    run: &str,
    key: &str,
    after: Option<Place>,
    size: usize,
) -> Result<(Vec<Logged>, Option<Place>), Error> {
    let state = connection.unchecked_transaction()?;
    let mut series = state.prepare_cached("SELECT series FROM metric_latest WHERE run = ?1 AND key = ?2")?;
    let series: Option<i64> = series.query_row([run, key], |row| row.get(0)).optional()?;
    let Some(series) = series else { return Ok((Vec::new(), None)) };
    let mut chunks = state.prepare_cached(
        "SELECT seq, points FROM metric_chunk WHERE series = ?1 AND seq >= ?2 ORDER BY seq",
    )?;
    let mut reading = Reading::new(after);
    let mut from = after.map_or(0, |after| after.chunk);
    loop {
        let mut rows = chunks.query(params![series, from])?;
        let mut passed_over = None;
        while let Some(row) = rows.next()? {
            let (seq, bytes) = (row.get(0)?, row.get_ref(1)?.as_blob().unwrap_or_default());
            reading
                .add(seq, bytes)
                .ok_or_else(|| Error::Series { run: run.to_owned(), key: key.to_owned() })?;
            if seq < reading.ordered() && reading.logged.len() > size {
                passed_over = Some(reading.ordered().saturating_add(1));
                break;
            }
        }
        match passed_over {
            Some(next) => from = next,
            None => break,
        }
    }
    Ok(reading.page(size))
}

/// The chunks that were read so far.
struct Reading {
    after: Option<Place>,
    /// Points after the place, without those that are the same as the one before.
    logged: Vec<Logged>,
    /// Each chunk with its greatest point.
    chunks: Vec<(i64, Point)>,
    /// Whether what was read so far is in order as it came, and of which chunks that was so.
    sorted: bool,
    ordered: i64,
    chunk: Vec<Logged>,
}

impl Reading {
    const fn new(after: Option<Place>) -> Self {
        Self { after, logged: Vec::new(), chunks: Vec::new(), sorted: true, ordered: -1, chunk: Vec::new() }
    }

    /// Up to which chunk the series is known to be in order; the first page does not know it yet.
    fn ordered(&self) -> i64 {
        self.after.map_or(-1, |after| after.ordered)
    }

    fn add(&mut self, seq: i64, bytes: &[u8]) -> Option<()> {
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.clear();
        points::unframe(bytes, &mut chunk)?;
        let after = self.after.map(|after| after.point);
        let mut greatest: Option<Point> = None;
        for logged in &chunk {
            if greatest.is_none_or(|known| logged.point.order(&known).is_gt()) {
                greatest = Some(logged.point);
            }
            if after.is_some_and(|after| logged.point.order(&after).is_le()) {
                continue;
            }
            if let Some(last) = self.logged.last() {
                self.sorted &= order(last, logged).is_le();
                if self.sorted && last.point.order(&logged.point).is_eq() {
                    continue;
                }
            }
            self.logged.push(*logged);
        }
        if self.sorted {
            self.ordered = seq;
        }
        self.chunks.extend(greatest.map(|greatest| (seq, greatest)));
        self.chunk = chunk;
        Some(())
    }

    fn page(mut self, size: usize) -> (Vec<Logged>, Option<Place>) {
        // Of equal points the one that says most is first, and stays.
        if !self.sorted {
            self.logged.sort_by(order);
            self.logged.dedup_by(|b, a| a.point.order(&b.point).is_eq());
        }
        let more = self.logged.len() > size;
        self.logged.truncate(size);
        let Some(last) = self.logged.last().filter(|_| more) else { return (self.logged, None) };
        let point = last.point;
        let later = self.chunks.iter().find(|(_, greatest)| greatest.order(&point).is_gt());
        // The last chunk is not full yet: it may get points that belong elsewhere.
        let full = self.chunks.last().map_or(-1, |(seq, _)| seq - 1);
        let ordered = match self.after {
            Some(after) => after.ordered,
            None => self.ordered.min(full),
        };
        let chunk = later.map_or(0, |(seq, _)| *seq);
        (self.logged, Some(Place { point, chunk, ordered }))
    }
}
