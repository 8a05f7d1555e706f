//! The one writer of a process: group commit.
//!
//! Pieces of work wait in a queue. The writer takes all that have gathered, does each in a savepoint of
//! one transaction, commits (one sync of the disk for all of them) and then answers everyone. A piece of
//! work that fails is rolled back alone.

use std::future::Future;
use std::pin::Pin;

use futures::FutureExt;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use crate::Error;

/// A piece of work on the connection, under way.
pub type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'c>>;

/// How many pieces of work one transaction takes at most: keeps transactions short.
const GROUP: usize = 256;

/// The queue's near end. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    /// Starts the task that writes on this connection.
    pub(super) fn start(connection: SqliteConnection) -> Self {
        let (queue, jobs) = mpsc::channel(4096);
        tokio::spawn(serve(connection, jobs));
        Self { queue }
    }

    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Typed { work: Some(work), outcome: None, reply };
        self.queue.send(Box::new(job)).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.queue.send(Box::new(Close { reply })).await.is_ok() {
            // An error means that it is closed already.
            let _ = answer.await;
        }
    }
}

trait Job: Send {
    /// Does the work; whether its changes should stand.
    fn run<'a>(&'a mut self, connection: &'a mut SqliteConnection) -> futures::future::BoxFuture<'a, bool>;

    /// Answers, after the commit or its failure.
    fn answer(self: Box<Self>, committed: Result<(), Error>);

    /// Whether the writer should end after it.
    fn ends(&self) -> bool {
        false
    }
}

struct Typed<F, T> {
    work: Option<F>,
    outcome: Option<Result<T, Error>>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Job for Typed<F, T>
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T> + Send + 'static,
{
    fn run<'a>(&'a mut self, connection: &'a mut SqliteConnection) -> futures::future::BoxFuture<'a, bool> {
        async move {
            let Some(work) = self.work.take() else { return false };
            let outcome = work(connection).await;
            let stands = outcome.is_ok();
            self.outcome = Some(outcome);
            stands
        }
        .boxed()
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        let outcome = match (self.outcome, committed) {
            (Some(Err(error)), _) | (Some(Ok(_)), Err(error)) | (None, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(Error::Closed),
        };
        // Whoever asked may have gone; the write stands all the same.
        let _ = self.reply.send(outcome);
    }
}

struct Close {
    reply: oneshot::Sender<()>,
}

impl Job for Close {
    fn run<'a>(&'a mut self, _: &'a mut SqliteConnection) -> futures::future::BoxFuture<'a, bool> {
        futures::future::ready(true).boxed()
    }

    fn answer(self: Box<Self>, _: Result<(), Error>) {
        // Whoever asked may have gone.
        let _ = self.reply.send(());
    }

    fn ends(&self) -> bool {
        true
    }
}

async fn serve(mut connection: SqliteConnection, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    let mut group = Vec::new();
    while jobs.recv_many(&mut group, GROUP).await > 0 {
        let last = group.iter().any(|job| job.ends());
        let committed = commit(&mut connection, &mut group).await;
        let failed = committed.err().map(|error| error.to_string());
        for job in group.drain(..) {
            job.answer(match &failed {
                None => Ok(()),
                Some(text) => Err(Error::Database(sqlx::Error::Protocol(text.clone()))),
            });
        }
        if last {
            jobs.close();
            break;
        }
    }
    // Nothing is lost if this fails: the write-ahead log is read at the next start.
    let _ = connection.close().await;
}

async fn commit(connection: &mut SqliteConnection, group: &mut [Box<dyn Job>]) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if let [only] = group {
        return if only.run(&mut transaction).await {
            transaction.commit().await
        } else {
            transaction.rollback().await
        };
    }
    for job in group {
        sqlx::raw_sql("SAVEPOINT job").execute(&mut *transaction).await?;
        let stands = job.run(&mut transaction).await;
        let end = if stands { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
        sqlx::raw_sql(end).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}
