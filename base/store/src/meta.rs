//! The metadata: one database, many rooms.
//!
//! Reads go to a pool of connections and see the last commit. Writes of this process queue up for one
//! writer (see [`writer`]), which commits what has gathered in one transaction and only then answers, so
//! that many small writes share one sync of the disk. Writers of several processes wait for each other.
//! Searches of runs have connections of their own (see [`search`]), so that a long one delays nobody.
//! Each connection is opened for the first who needs it: it costs more than many a question. What cannot be
//! written is read all the same, where that is safe (see [`frozen`]).

pub mod access;
pub mod artifacts;
pub mod assessments;
pub mod batch;
pub mod cache;
mod cards;
pub mod columns;
pub mod dataset_inputs;
pub mod datasets;
pub mod experiments;
pub mod facts;
mod frozen;
pub mod import;
pub mod journal;
mod kin;
pub mod leases;
pub mod listing;
pub mod live;
pub mod logged_models;
pub mod marks;
pub mod metrics;
pub mod models;
pub mod monitors;
pub mod needs;
pub mod outdated;
mod packs;
mod plain;
pub mod purge;
pub mod registered;
pub mod runs;
mod scribe;
mod script;
pub mod search;
pub mod traces;
pub mod webhooks;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};
use tokio::sync::{Mutex, Notify};

use crate::Error;
use scribe::{Desk, Scribe};
use script::Script;
use search::Finder;
pub use writer::Work;
use writer::Writer;

/// The migrations, in order; a database's format is how many of them it has seen.
const MIGRATIONS: [&str; 11] = [
    include_str!("../migrations/0001_house.sql"),
    include_str!("../migrations/0002_models.sql"),
    include_str!("../migrations/0003_upkeep.sql"),
    include_str!("../migrations/0004_artifacts.sql"),
    include_str!("../migrations/0005_traces.sql"),
    include_str!("../migrations/0006_import.sql"),
    include_str!("../migrations/0007_webhooks.sql"),
    include_str!("../migrations/0008_access.sql"),
    include_str!("../migrations/0009_packs.sql"),
    include_str!("../migrations/0010_wire.sql"),
    include_str!("../migrations/0011_versions.sql"),
];

/// How long a writer of this process waits for one of another process.
const WAIT: Duration = Duration::from_secs(60);

/// Pages (of 4 KiB) of the write-ahead log at which it is written back: pages that change often are then
/// written back once for many commits, and the log stays small enough to be read at once at a start.
const CHECKPOINT: &str = "4000";

/// The metadata of a store. Cheap to clone.
#[derive(Clone)]
pub struct Meta {
    readers: SqlitePool,
    finder: Arc<Finder>,
    writer: Writer,
    scribe: Scribe,
    /// Rung when webhooks may have something to be told.
    bell: Arc<Notify>,
}

impl Meta {
    /// Opens the database in a store's folder, making or upgrading it as needed.
    ///
    /// # Errors
    /// When the file cannot be read, has to be made or upgraded and cannot be written, or a newer version of
    /// Rondo wrote it.
    pub async fn open(root: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(root.join("metadata.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(WAIT)
            .foreign_keys(true)
            .statement_cache_capacity(256)
            .pragma("wal_autocheckpoint", CHECKPOINT)
            .disable_statement_logging();
        let path = root.join("metadata.db");
        let frozen = frozen::is_frozen(root);
        let finder = Arc::new(Finder::new(path.clone(), frozen, WAIT));
        // Who only reads, or sends scripts, needs no other connection.
        let connection = match finder.format() {
            Some(format) if format == MIGRATIONS.len() as i64 => None,
            Some(_) | None => {
                // What has looked at an older format knows the old columns.
                finder.close();
                Some(opened(&options, root).await?)
            }
        };
        let turn = Arc::new(Mutex::new(()));
        let writer = Writer::start(connection, options.clone().create_if_missing(false), Arc::clone(&turn));
        let reading = match frozen {
            true => SqliteConnectOptions::new().filename(&path).read_only(true).immutable(true),
            false => options,
        };
        let readers = SqlitePoolOptions::new()
            .min_connections(0)
            .max_connections(4)
            // A file does not hang up: to ask before each use would cost a trip to the driver's thread.
            .test_before_acquire(false)
            .connect_lazy_with(reading.with_regexp().pragma("query_only", "ON"));
        let scribe =
            Scribe::new(Desk { path, wait: WAIT, checkpoint: CHECKPOINT, turn, seat: Default::default() });
        Ok(Self { readers, finder, writer, scribe, bell: Arc::default() })
    }

    /// Does a piece of work in a transaction and answers when it is on the disk.
    ///
    /// # Errors
    /// What the work gives, and then nothing of it stands; or what the database gives.
    pub async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T> + Send + 'static,
    {
        self.writer.run(work).await
    }

    /// Wakes who tells webhooks, after a commit.
    fn ring(&self) {
        self.bell.notify_one();
    }

    /// Sends a script and answers when it is on the disk, with the rows of all its statements.
    async fn script(&self, script: Script) -> Result<Vec<script::Row>, Error> {
        self.scribe.send(script).await
    }

    /// The pool that reads.
    pub(crate) const fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Writes a copy of the database as of one moment; writers go on meanwhile.
    ///
    /// # Errors
    /// When the file is there already or cannot be written.
    pub(crate) async fn copy_to(&self, file: &Path) -> Result<(), Error> {
        let mut connection = self.readers.acquire().await?.detach();
        sqlx::raw_sql("PRAGMA query_only = OFF").execute(&mut connection).await?;
        sqlx::query("VACUUM INTO $1").bind(file.to_string_lossy()).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    /// What searches runs.
    pub(crate) const fn finder(&self) -> &Arc<Finder> {
        &self.finder
    }

    /// Closes all connections, the one that writes last: whoever is last of all processes writes the
    /// write-ahead log back, else the next one to open the database would have to read it whole.
    pub(crate) async fn close(&self) {
        self.finder.close();
        self.readers.close().await;
        self.scribe.close().await;
        self.writer.close().await;
    }
}

/// The first connection, to a database that has all migrations. Where several processes make the same new
/// database at once, SQLite refuses all but one without asking how long they would wait: they try again.
async fn opened(options: &SqliteConnectOptions, root: &Path) -> Result<SqliteConnection, Error> {
    let end = Instant::now() + WAIT;
    loop {
        let made = async {
            let mut connection = SqliteConnection::connect_with(options).await?;
            migrate(&mut connection, root).await?;
            Ok(connection)
        };
        match made.await {
            Err(Error::Database(error)) if error.is_busy() && Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            made => return made,
        }
    }
}

async fn migrate(connection: &mut SqliteConnection, root: &Path) -> Result<(), Error> {
    let known = MIGRATIONS.len() as i64;
    let format: i64 = sqlx::query("PRAGMA user_version").fetch_one(&mut *connection).await?.get(0);
    if format == known {
        return Ok(());
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let format: i64 = sqlx::query("PRAGMA user_version").fetch_one(&mut *transaction).await?.get(0);
    if format > known {
        return Err(Error::Newer { path: root.to_owned(), found: format, known });
    }
    for migration in MIGRATIONS.iter().skip(format as usize) {
        sqlx::raw_sql(*migration).execute(&mut *transaction).await?;
    }
    // Its argument is a number that this program made.
    let set = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {known}"));
    sqlx::raw_sql(set).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// The JSON text of a record.
pub(crate) fn encode<T: Serialize>(kind: &'static str, name: &str, record: &T) -> Result<String, Error> {
    serde_json::to_string(record).map_err(|source| Error::Record { kind, name: name.to_owned(), source })
}

/// A record from its JSON text.
pub(crate) fn decode<T: DeserializeOwned>(kind: &'static str, name: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|source| Error::Record { kind, name: name.to_owned(), source })
}

#[cfg(test)]
mod tests;
