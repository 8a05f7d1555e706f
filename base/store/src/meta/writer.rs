//! The one writer of a process: group commit.
//!
//! Pieces of work wait in a queue. The writer takes all that have gathered, does each in a savepoint of
//! one transaction, commits (one sync of the disk for all of them) and then answers everyone. A piece of
//! work that fails is rolled back alone. Scripts have a queue and a thread of their own (see
//! [`scribe`](super::scribe)); the two take turns.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::Error;
use crate::error::DatabaseError;

/// A piece of work on the connection, under way.
pub type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'c>>;

/// How many pieces of work one transaction takes at most: keeps transactions short.
pub(super) const GROUP: usize = 256;

const BEGIN: &str = "BEGIN IMMEDIATE";
const SAVE: &str = "SAVEPOINT job";
const KEEP: &str = "RELEASE job";
const UNDO: &str = "ROLLBACK TO job; RELEASE job";

/// The queue's near end. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    /// Starts the task that writes in its turn: on this connection, else on one that is opened for the first
    /// piece of work.
    pub(super) fn start(
        connection: Option<SqliteConnection>,
        options: SqliteConnectOptions,
        turn: Arc<Mutex<()>>,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(4096);
        tokio::spawn(serve(connection, options, turn, jobs));
        Self { queue }
    }

    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.wait(Worked { work: Some(work), outcome: None, reply }, answer).await
    }

    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        // An error means that it is closed already.
        let _ = self.wait(Close { reply }, answer).await;
    }

    async fn wait<T>(
        &self,
        job: impl Job + 'static,
        answer: oneshot::Receiver<Result<T, Error>>,
    ) -> Result<T, Error> {
        self.queue.send(Box::new(job)).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

/// What the writer does: an error is one of the transaction, not of the work, which keeps its own.
type Done<'a> = BoxFuture<'a, Result<(), sqlx::Error>>;

trait Job: Send {
    /// Does the work in a transaction of its own.
    fn alone<'a>(&'a mut self, connection: &'a mut SqliteConnection) -> Done<'a>;

    /// Does the work within the transaction of a group, so that nothing stays of what fails.
    fn within<'a>(&'a mut self, connection: &'a mut SqliteConnection) -> Done<'a>;

    /// Answers, after the commit or its failure.
    fn answer(self: Box<Self>, committed: Result<(), Error>);

    /// Whether the writer should end after it.
    fn ends(&self) -> bool {
        false
    }
}

struct Worked<F, T> {
    work: Option<F>,
    outcome: Option<Result<T, Error>>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Worked<F, T>
where
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T> + Send + 'static,
{
    /// Does the work; whether its changes should stand.
    async fn run(&mut self, connection: &mut SqliteConnection) -> bool {
        let Some(work) = self.work.take() else { return false };
        let outcome = work(connection).await;
        let stands = outcome.is_ok();
        self.outcome = Some(outcome);
        stands
    }
}

impl<T, F> Job for Worked<F, T>
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T> + Send + 'static,
{
    fn alone<'a>(&'a mut self, connection: &'a mut SqliteConnection) -> Done<'a> {
        async move {
            let mut transaction = connection.begin_with(BEGIN).await?;
            if self.run(&mut transaction).await {
                transaction.commit().await
            } else {
                transaction.rollback().await
            }
        }
        .boxed()
    }

    fn within<'a>(&'a mut self, connection: &'a mut SqliteConnection) -> Done<'a> {
        async move {
            sqlx::raw_sql(SAVE).execute(&mut *connection).await?;
            let end = if self.run(connection).await { KEEP } else { UNDO };
            sqlx::raw_sql(end).execute(connection).await?;
            Ok(())
        }
        .boxed()
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        // Whoever asked may have gone; the write stands all the same.
        let _ = self.reply.send(settle(self.outcome, committed));
    }
}

struct Close {
    reply: oneshot::Sender<Result<(), Error>>,
}

impl Job for Close {
    fn alone<'a>(&'a mut self, _: &'a mut SqliteConnection) -> Done<'a> {
        ready(Ok(())).boxed()
    }

    fn within<'a>(&'a mut self, _: &'a mut SqliteConnection) -> Done<'a> {
        ready(Ok(())).boxed()
    }

    fn answer(self: Box<Self>, _: Result<(), Error>) {
        // Whoever asked may have gone.
        let _ = self.reply.send(Ok(()));
    }

    fn ends(&self) -> bool {
        true
    }
}

/// What to answer: the work's own error, else the transaction's, else what the work gave.
fn settle<T>(outcome: Option<Result<T, Error>>, committed: Result<(), Error>) -> Result<T, Error> {
    match (outcome, committed) {
        (Some(Err(error)), _) | (Some(Ok(_)) | None, Err(error)) => Err(error),
        (Some(Ok(value)), Ok(())) => Ok(value),
        (None, Ok(())) => Err(Error::Closed),
    }
}

async fn serve(
    mut connection: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    turn: Arc<Mutex<()>>,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
) {
    let mut group = Vec::new();
    while jobs.recv_many(&mut group, GROUP).await > 0 {
        let last = group.iter().any(|job| job.ends());
        // Everyone of the group is told the same, with the database's own code.
        let held = turn.lock().await;
        let committed = commit(&mut connection, &options, &mut group).await.map_err(DatabaseError::from);
        drop(held);
        let answer = |job: Box<dyn Job>| job.answer(committed.clone().map_err(Error::Database));
        if last {
            jobs.close();
            // Nothing is lost if this fails: the write-ahead log is read at the next start.
            if let Some(connection) = connection {
                let _ = connection.close().await;
            }
            return group.drain(..).for_each(answer);
        }
        group.drain(..).for_each(answer);
    }
}

async fn commit(
    connection: &mut Option<SqliteConnection>,
    options: &SqliteConnectOptions,
    group: &mut [Box<dyn Job>],
) -> Result<(), sqlx::Error> {
    if group.iter().all(|job| job.ends()) {
        return Ok(());
    }
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(SqliteConnection::connect_with(options).await?),
    };
    if let [only] = group {
        return only.alone(connection).await;
    }
    let mut transaction = connection.begin_with(BEGIN).await?;
    for job in group {
        job.within(&mut transaction).await?;
    }
    transaction.commit().await
}
