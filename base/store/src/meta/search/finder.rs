//! The connections that search runs, and the clock that ends what takes too long.
//!
//! A page of runs is many small values. The driver that the rest of the store uses copies each value and
//! sends each row from a thread of its own (measured: a page of 1,000 runs took 98 ms); here the rows are
//! read where the query runs, on a thread that may block. Nothing is written through these connections.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql};
use tokio::sync::Semaphore;

use super::Scalar;
use crate::Error;
use crate::meta::frozen;

/// How many searches run at once; more wait.
const AT_ONCE: usize = 6;
/// How many of their connections stay open.
const IDLE: usize = 3;
/// How much each keeps of what it has read, in KiB below zero: in a large store the inner pages of the trees
/// alone are more than SQLite's usual 2 MiB.
const CACHE: i64 = -12_288;
/// After how many of SQLite's instructions the clock is looked at: some microseconds.
const TICK: i32 = 200;

/// Connections for searches.
pub(crate) struct Finder {
    path: PathBuf,
    frozen: bool,
    wait: Duration,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    cards: AtomicBool,
    packs: AtomicBool,
    /// How many runs of an experiment were left when it was packed last.
    unpacked: Mutex<HashMap<i64, usize>>,
}

impl Finder {
    /// Of the database at a path, which is taken for one that does not change where it is `frozen`.
    pub(crate) fn new(path: PathBuf, frozen: bool, wait: Duration) -> Self {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        Self {
            path,
            frozen,
            wait,
            idle: Mutex::default(),
            permits,
            cards: AtomicBool::new(false),
            packs: AtomicBool::new(false),
            unpacked: Mutex::default(),
        }
    }

    /// Does a piece of reading on a thread that may block. It ends when its time is over, and also when
    /// nobody waits for it any more.
    pub(crate) async fn read<T, F>(self: &Arc<Self>, limit: Duration, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Error::Closed)?;
        let alone = Arc::new(AtomicBool::new(false));
        let waiting = Waiting(Arc::clone(&alone));
        let finder = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            finder.on_connection(limit, alone, work)
        });
        let done = reading.await.map_err(|_| Error::Closed)?;
        drop(waiting);
        done
    }

    /// Reads rows by their keys, on this thread: that takes less than to wake another.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) fn glance<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let connection = match self.idle().pop() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let found = work(&connection)?;
        self.keep(connection);
        Ok(found)
    }

    /// The format of a database that is there, whole and with a write-ahead log; nothing of another.
    pub(crate) fn format(&self) -> Option<i64> {
        let found = self.glance(|connection| {
            let word = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, Value>(0));
            Ok((word("journal_mode")?, word("user_version")?))
        });
        match found {
            Ok((Value::Text(mode), Value::Integer(format))) if self.frozen || mode == "wal" => Some(format),
            Ok(_) | Err(_) => None,
        }
    }

    fn on_connection<T>(
        &self,
        limit: Duration,
        alone: Arc<AtomicBool>,
        work: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let connection = match self.idle().pop() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let end = Instant::now() + limit;
        connection
            .progress_handler(TICK, Some(move || alone.load(Ordering::Relaxed) || Instant::now() >= end))?;
        let done = work(&connection);
        connection.progress_handler(0, None::<fn() -> bool>)?;
        self.keep(connection);
        match done {
            Err(Error::Database(error)) if error.interrupted() => Err(Error::TooLong { limit }),
            done => done,
        }
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() < IDLE {
            idle.push(connection);
        }
    }

    fn connect(&self) -> Result<Connection, Error> {
        let connection = if self.frozen {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
            let address = frozen::address(&self.path);
            Connection::open_with_flags(address, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?
        } else {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            Connection::open_with_flags(&self.path, flags)?
        };
        connection.busy_timeout(self.wait)?;
        connection.pragma_update(None, "query_only", "ON")?;
        connection.pragma_update(None, "cache_size", CACHE)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // A list of connections is whole whatever a thread that held it did.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what is idle.
    pub(crate) fn close(&self) {
        self.idle().clear();
    }

    /// Whether cards may be made now: one at a time does it.
    pub(crate) fn begin_cards(&self) -> bool {
        !self.cards.swap(true, Ordering::AcqRel)
    }

    /// Whether packs of some of these experiments may be made now, and of which. One that was packed is left
    /// alone until it has a pack more: what is left of it may be runs that have not ended.
    pub(crate) fn begin_packs(&self, experiments: Vec<(i64, usize)>, pack: usize) -> Vec<i64> {
        let mut unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |experiment| unpacked.get(&experiment).copied();
        let wanted = |(experiment, count): &(i64, usize)| {
            left(*experiment).is_none_or(|left| *count < left || *count >= left + pack)
        };
        let mut experiments: Vec<(i64, usize)> = experiments.into_iter().filter(wanted).collect();
        if experiments.is_empty() || self.packs.swap(true, Ordering::AcqRel) {
            experiments.clear();
        }
        for (experiment, _) in &experiments {
            unpacked.remove(experiment);
        }
        experiments.into_iter().map(|(experiment, _)| experiment).collect()
    }

    /// That packs have been made, and how many runs are left in each experiment.
    pub(crate) fn end_packs(&self, left: impl IntoIterator<Item = (i64, usize)>) {
        self.unpacked.lock().unwrap_or_else(PoisonError::into_inner).extend(left);
        self.packs.store(false, Ordering::Release);
    }

    /// That cards have been made.
    pub(crate) fn end_cards(&self) {
        self.cards.store(false, Ordering::Release);
    }
}

/// That somebody waits for an answer.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl ToSql for Scalar {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
        }))
    }
}

/// The text with its places numbered as SQLite numbers them: `$1` is a name there, `?1` a place.
pub(crate) fn numbered(text: &str) -> String {
    let mut numbered = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        numbered.push_str(before);
        numbered.push(if after.starts_with(|c: char| c.is_ascii_digit()) { '?' } else { '$' });
        rest = after;
    }
    numbered.push_str(rest);
    numbered
}
