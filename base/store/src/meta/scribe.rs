//! The thread that sends scripts: what clients send most, in as few steps as there can be.
//!
//! It has a connection of its own, and waits for nobody between two statements (measured for a metric of
//! one point: through the driver that the rest of the store uses, the server took nearly twice as long,
//! handing statements and rows from thread to thread). Scripts that have gathered are done in one
//! transaction, each in a savepoint, and answered after its one sync of the disk; one that fails is
//! undone alone.
//!
//! A script that nobody is held up by waits on a tray for the next one, and so costs no transaction of its
//! own. All are done in the order in which they were given. A savepoint has each page copied that a script
//! changes: a few scripts are tried without, since it is seldom that one fails.

use std::path::PathBuf;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::script::{Row, Script};
use super::writer::GROUP;
use crate::Error;
use crate::error::DatabaseError;

type Outcome = Result<Vec<Row>, DatabaseError>;

/// How many scripts are tried without savepoints.
const FEW: usize = 4;

/// The queue's near end. Cheap to clone.
#[derive(Clone)]
pub(super) struct Scribe {
    queue: mpsc::Sender<Vec<Order>>,
    /// What goes with the next order.
    tray: Arc<Lock<Vec<Order>>>,
}

/// A script that has its place in the queue and goes with the next one.
#[must_use]
pub(super) struct Later {
    scribe: Scribe,
    answer: oneshot::Receiver<Outcome>,
}

struct Order {
    /// Nothing where the thread shall end.
    script: Option<Script>,
    reply: oneshot::Sender<Outcome>,
}

/// What a connection is opened with.
pub(super) struct Desk {
    /// The database.
    pub(super) path: PathBuf,
    /// How long to wait for a writer of another process.
    pub(super) wait: Duration,
    /// Pages of the write-ahead log at which it is written back.
    pub(super) checkpoint: &'static str,
    /// Held by whoever of this process is in a transaction that writes.
    pub(super) turn: Arc<Mutex<()>>,
}

impl Scribe {
    /// Starts the thread. The database is opened when the first script comes.
    pub(super) fn start(desk: Desk) -> Result<Self, Error> {
        let (queue, orders) = mpsc::channel(4096);
        let path = desk.path.clone();
        std::thread::Builder::new()
            .name("rondo-scribe".to_owned())
            .spawn(move || serve(&desk, orders))
            .map_err(Error::io("start a thread that writes to", &path))?;
        Ok(Self { queue, tray: Arc::default() })
    }

    /// Sends a script; the rows of all its statements.
    pub(super) async fn send(&self, script: Script) -> Result<Vec<Row>, Error> {
        Ok(self.order(Some(script)).await??)
    }

    /// Ends the thread, after all that was sent before.
    pub(super) async fn close(&self) {
        // An error means that it has ended already.
        let _ = self.order(None).await;
    }

    /// Takes a script that may wait for the next one.
    pub(super) fn later(&self, script: Script) -> Later {
        let (reply, answer) = oneshot::channel();
        self.tray().push(Order { script: Some(script), reply });
        Later { scribe: self.clone(), answer }
    }

    async fn order(&self, script: Option<Script>) -> Result<Outcome, Error> {
        let (reply, answer) = oneshot::channel();
        self.hand_over(Some(Order { script, reply })).await?;
        answer.await.map_err(|_| Error::Closed)
    }

    /// Puts what is on the tray into the queue, and an order behind it.
    async fn hand_over(&self, order: Option<Order>) -> Result<(), Error> {
        let place = self.queue.reserve().await.map_err(|_| Error::Closed)?;
        // Held until they stand in the queue, so that nothing that comes later overtakes them.
        let mut tray = self.tray();
        place.send(tray.drain(..).chain(order).collect());
        Ok(())
    }

    fn tray(&self) -> std::sync::MutexGuard<'_, Vec<Order>> {
        // A list of orders is whole whatever a thread that held it did.
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Later {
    /// Waits until it is on the disk: so long for another script, then no more.
    pub(super) async fn written(mut self, within: Duration) -> Result<Vec<Row>, Error> {
        let outcome = match tokio::time::timeout(within, &mut self.answer).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.scribe.hand_over(None).await?;
                self.answer.await
            }
        };
        Ok(outcome.map_err(|_| Error::Closed)??)
    }
}

fn serve(desk: &Desk, mut orders: mpsc::Receiver<Vec<Order>>) {
    let mut connection = None;
    let mut handed = Vec::new();
    while orders.blocking_recv_many(&mut handed, GROUP) > 0 {
        let group: Vec<Order> = handed.drain(..).flatten().collect();
        let scripts: Vec<&Script> = group.iter().filter_map(|order| order.script.as_ref()).collect();
        let last = scripts.len() < group.len();
        let mut outcomes = done(desk, &mut connection, &scripts).into_iter();
        for order in group {
            let outcome = if order.script.is_some() { outcomes.next() } else { None };
            // Whoever asked may have gone; the write stands all the same.
            let _ = order.reply.send(outcome.unwrap_or_else(|| Ok(Vec::new())));
        }
        if last {
            return;
        }
    }
}

/// What became of each script.
fn done(desk: &Desk, connection: &mut Option<Connection>, scripts: &[&Script]) -> Vec<Outcome> {
    if scripts.is_empty() {
        return Vec::new();
    }
    let all = |error: rusqlite::Error| {
        // Everyone is told the same, with the database's own code.
        let error = DatabaseError::from(error);
        scripts.iter().map(|_| Err(error.clone())).collect()
    };
    let connection = match connection {
        Some(connection) => connection,
        None => match desk.sit() {
            Ok(opened) => connection.insert(opened),
            Err(error) => return all(error),
        },
    };
    let turn = desk.turn.blocking_lock();
    let committed = commit(connection, scripts);
    if committed.is_err() && !connection.is_autocommit() {
        // SQLite rolls back itself where this fails too.
        let _ = now(connection, "ROLLBACK");
    }
    drop(turn);
    committed.unwrap_or_else(all)
}

fn commit(connection: &Connection, scripts: &[&Script]) -> rusqlite::Result<Vec<Outcome>> {
    if scripts.len() <= FEW {
        now(connection, "BEGIN IMMEDIATE")?;
        let rows: rusqlite::Result<Vec<_>> = scripts.iter().map(|script| script.send(connection)).collect();
        match rows {
            Ok(rows) => {
                now(connection, "COMMIT")?;
                return Ok(rows.into_iter().map(Ok).collect());
            }
            Err(error) if scripts.len() == 1 => return Err(error),
            Err(_) if connection.is_autocommit() => {}
            Err(_) => now(connection, "ROLLBACK")?,
        }
    }
    apart(connection, scripts)
}

/// Does each script in a savepoint.
fn apart(connection: &Connection, scripts: &[&Script]) -> rusqlite::Result<Vec<Outcome>> {
    now(connection, "BEGIN IMMEDIATE")?;
    let mut outcomes = Vec::with_capacity(scripts.len());
    for script in scripts {
        now(connection, "SAVEPOINT job")?;
        let outcome = script.send(connection);
        if outcome.is_err() {
            now(connection, "ROLLBACK TO job")?;
        }
        now(connection, "RELEASE job")?;
        outcomes.push(outcome.map_err(DatabaseError::from));
    }
    now(connection, "COMMIT")?;
    Ok(outcomes)
}

fn now(connection: &Connection, text: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(text)?.raw_execute().map(|_| ())
}

impl Desk {
    fn sit(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(self.wait)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        connection.pragma_update(None, "wal_autocheckpoint", self.checkpoint)?;
        // What undoes a script: some dozen pages, of which SQLite keeps sixteen in memory by itself and puts
        // more into a file that it makes and removes. Here alone: other work may have to undo a great deal.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.set_prepared_statement_cache_capacity(256);
        Ok(connection)
    }
}
