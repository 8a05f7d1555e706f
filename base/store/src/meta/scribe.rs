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
//!
//! Who has nothing else to do than to wait for a script may do it at the desk itself, where nobody writes just
//! then: to wake a thread and to be woken by it costs more than a short script, most of all where the two run on
//! different processors of a virtual machine.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
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
    /// How many orders have been put into the queue and are not done yet.
    queued: Arc<AtomicUsize>,
    /// The queue's far end, until the thread has it.
    orders: Arc<Lock<Option<mpsc::Receiver<Vec<Order>>>>>,
    desk: Arc<Desk>,
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
    /// The connection, opened when the first script comes. Only who has the turn sits there.
    pub(super) seat: Lock<Option<Connection>>,
}

impl Scribe {
    /// A scribe whose thread starts with the first script that is not done where it was given, and whose
    /// database is opened for the first one.
    pub(super) fn new(desk: Desk) -> Self {
        let (queue, orders) = mpsc::channel(4096);
        let (tray, queued) = Default::default();
        Self { queue, tray, queued, orders: Arc::new(Lock::new(Some(orders))), desk: Arc::new(desk) }
    }

    /// Starts the thread, once.
    fn start(&self) -> Result<(), Error> {
        let Some(orders) = self.orders().take() else { return Ok(()) };
        let (desk, queued) = (Arc::clone(&self.desk), Arc::clone(&self.queued));
        std::thread::Builder::new()
            .name("rondo-scribe".to_owned())
            .spawn(move || serve(&desk, orders, &queued))
            .map(drop)
            .map_err(Error::io("start a thread that writes to", &self.desk.path))
    }

    /// Sends a script; the rows of all its statements.
    pub(super) async fn send(&self, script: Script) -> Result<Vec<Row>, Error> {
        Ok(self.order(Some(script)).await??)
    }

    /// Sends a script and does it on this thread, which is held up for a sync of the disk, where nobody else
    /// writes just now; else as [`Scribe::send`].
    pub(super) async fn send_here(&self, script: Script) -> Result<Vec<Row>, Error> {
        match self.do_here(script) {
            Ok(outcome) => Ok(outcome?),
            Err(script) => self.send(script).await,
        }
    }

    /// What became of a script and what was on the tray; the script itself where somebody else writes.
    fn do_here(&self, script: Script) -> Result<Outcome, Script> {
        let Ok(_turn) = self.desk.turn.try_lock() else { return Err(script) };
        let mut seat = self.desk.seat();
        let mut tray = self.tray();
        // What is in the queue was given before.
        if self.queued.load(Ordering::Acquire) > 0 || !self.desk.begins_at_once(&mut seat) {
            return Err(script);
        }
        let before = std::mem::take(&mut *tray);
        drop(tray);
        let scripts: Vec<&Script> =
            before.iter().filter_map(|order| order.script.as_ref()).chain([&script]).collect();
        let mut outcomes = self.desk.finish(&mut seat, &scripts);
        let outcome = outcomes.pop().unwrap_or_else(|| Ok(Vec::new()));
        answer(before, outcomes);
        Ok(outcome)
    }

    /// Ends the thread and closes its connection, after all that was sent before.
    pub(super) async fn close(&self) {
        if self.tray().is_empty() && self.orders().take().is_some() {
            return drop(self.desk.seat().take());
        }
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
        self.start()?;
        let place = self.queue.reserve().await.map_err(|_| Error::Closed)?;
        // Held until they stand in the queue, so that nothing that comes later overtakes them.
        let mut tray = self.tray();
        let orders: Vec<Order> = tray.drain(..).chain(order).collect();
        self.queued.fetch_add(orders.len(), Ordering::Release);
        place.send(orders);
        Ok(())
    }

    fn orders(&self) -> MutexGuard<'_, Option<mpsc::Receiver<Vec<Order>>>> {
        // It is there or not whatever a thread that held it did.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tray(&self) -> MutexGuard<'_, Vec<Order>> {
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

fn serve(desk: &Desk, mut orders: mpsc::Receiver<Vec<Order>>, queued: &AtomicUsize) {
    let mut handed = Vec::new();
    while orders.blocking_recv_many(&mut handed, GROUP) > 0 {
        let group: Vec<Order> = handed.drain(..).flatten().collect();
        let scripts: Vec<&Script> = group.iter().filter_map(|order| order.script.as_ref()).collect();
        let last = scripts.len() < group.len();
        let outcomes = desk.write(&scripts);
        queued.fetch_sub(group.len(), Ordering::Release);
        if last {
            drop(desk.seat().take());
            return answer(group, outcomes);
        }
        answer(group, outcomes);
    }
}

/// Tells those who gave them what became of their scripts.
fn answer(orders: Vec<Order>, outcomes: Vec<Outcome>) {
    let mut outcomes = outcomes.into_iter();
    for order in orders {
        let outcome = if order.script.is_some() { outcomes.next() } else { None };
        // Whoever asked may have gone; the write stands all the same.
        let _ = order.reply.send(outcome.unwrap_or_else(|| Ok(Vec::new())));
    }
}

/// Does scripts in the transaction that has begun.
fn commit(connection: &Connection, scripts: &[&Script]) -> rusqlite::Result<Vec<Outcome>> {
    if scripts.len() <= FEW {
        let rows: rusqlite::Result<Vec<_>> = scripts.iter().map(|script| script.send(connection)).collect();
        match rows {
            Ok(rows) => {
                now(connection, "COMMIT")?;
                return Ok(rows.into_iter().map(Ok).collect());
            }
            Err(error) if scripts.len() == 1 => return Err(error),
            Err(_) => begin(connection)?,
        }
    }
    apart(connection, scripts)
}

/// Does each script in a savepoint.
fn apart(connection: &Connection, scripts: &[&Script]) -> rusqlite::Result<Vec<Outcome>> {
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

/// The same for everyone, with the database's own code.
fn to_all(scripts: &[&Script], error: rusqlite::Error) -> Vec<Outcome> {
    let error = DatabaseError::from(error);
    scripts.iter().map(|_| Err(error.clone())).collect()
}

fn begin(connection: &Connection) -> rusqlite::Result<()> {
    if !connection.is_autocommit() {
        now(connection, "ROLLBACK")?;
    }
    now(connection, "BEGIN IMMEDIATE")
}

fn now(connection: &Connection, text: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(text)?.raw_execute().map(|_| ())
}

impl Desk {
    fn seat(&self) -> MutexGuard<'_, Option<Connection>> {
        // What a thread that sat there left half done is undone before the next one begins.
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of each script, as soon as it is this process's turn.
    fn write(&self, scripts: &[&Script]) -> Vec<Outcome> {
        if scripts.is_empty() {
            return Vec::new();
        }
        let _turn = self.turn.blocking_lock();
        let mut seat = self.seat();
        match self.sit(&mut seat).and_then(begin) {
            Ok(()) => self.finish(&mut seat, scripts),
            Err(error) => to_all(scripts, error),
        }
    }

    /// Begins a transaction, where no other process is in one.
    fn begins_at_once(&self, seat: &mut Option<Connection>) -> bool {
        let Ok(connection) = self.sit(seat) else { return false };
        let begun = connection.busy_timeout(Duration::ZERO).and_then(|()| begin(connection));
        connection.busy_timeout(self.wait).and(begun).is_ok()
    }

    /// Does scripts in the transaction that has begun; what became of each.
    fn finish(&self, seat: &mut Option<Connection>, scripts: &[&Script]) -> Vec<Outcome> {
        let connection = match self.sit(seat) {
            Ok(connection) => connection,
            Err(error) => return to_all(scripts, error),
        };
        let committed = commit(connection, scripts);
        if committed.is_err() && !connection.is_autocommit() {
            // SQLite rolls back itself where this fails too.
            let _ = now(connection, "ROLLBACK");
        }
        committed.unwrap_or_else(|error| to_all(scripts, error))
    }

    fn sit<'s>(&self, seat: &'s mut Option<Connection>) -> rusqlite::Result<&'s Connection> {
        match seat {
            Some(connection) => Ok(connection),
            None => Ok(seat.insert(self.open()?)),
        }
    }

    fn open(&self) -> rusqlite::Result<Connection> {
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
