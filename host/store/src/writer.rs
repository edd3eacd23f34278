//! The way of every write. A job is a transaction: it goes into a bounded queue, and is done when its `await` returns:
//! by then it is on the disk. A caller that stops waiting does not undo its job.
//!
//! Who takes the jobs differs. SQLite lets one connection write at a time, so one task owns it and commits all that wait
//! together ([`sqlite`]). PostgreSQL has a few tasks with a connection each, beside those of other hosts
//! ([`postgres`]); a job that collides with another's is run again, which is why its work can be cloned.

mod postgres;
mod sqlite;

use crate::error::StoreError;
use sqlx::any::AnyConnectOptions;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A connection to either database. `Any` takes the same text, integers and bytes for both, and the same statements
/// with `$1`; what it copies more than a connection of one kind is nothing beside the disk.
pub(crate) type Db = sqlx::AnyConnection;

/// What a job does with the connection.
pub(crate) type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'c>>;

/// Jobs that wait at most; more wait outside, then are told `Overloaded`.
const QUEUE: usize = 1_024;
/// Longest wait for a place in the queue.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a job may have beside it. SQLite has one writer: there it is always alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// No other job of this kind, of whichever host: what it reads stays so until it has written. For settings.
    Alone,
    /// Others at the same time: its statements are right by the rows they lock or the keys they insert. For what comes
    /// with every call and every delivery.
    Beside,
}

trait Job: Send {
    /// Does the work; with `keep` it can be done again.
    fn run<'c>(&'c mut self, db: &'c mut Db, keep: bool) -> Work<'c, ()>;
    fn done(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Task<F, T> {
    work: Option<F>,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Job for Task<F, T>
where
    F: for<'c> FnOnce(&'c mut Db) -> Work<'c, T> + Clone + Send,
    T: Send,
{
    fn run<'c>(&'c mut self, db: &'c mut Db, keep: bool) -> Work<'c, ()> {
        Box::pin(async move {
            let work = if keep { self.work.clone() } else { self.work.take() };
            if let Some(work) = work {
                self.value = Some(work(db).await?);
            }
            Ok(())
        })
    }

    fn done(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { value, reply, .. } = *self;
        let answer = outcome.and_then(|()| value.ok_or(StoreError::Closed));
        // Nobody waits any more: the work is done all the same.
        let _ = reply.send(answer);
    }
}

enum Message {
    Job(Turn, Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// The way to whoever writes.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Message>,
}

impl Writer {
    /// The one writer of an SQLite file. Takes the connection over; `options` are for another when that one breaks.
    pub(crate) fn sqlite(connection: Db, options: AnyConnectOptions) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        tokio::spawn(sqlite::serve(connection, options, jobs));
        Self { queue }
    }

    /// So many connections to a PostgreSQL, made when they are needed; a job waits so long for one that cannot be made.
    pub(crate) fn postgres(options: AnyConnectOptions, connections: u32, patience: Duration) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        tokio::spawn(postgres::serve(postgres::Reach { options, patience }, connections, jobs));
        Self { queue }
    }

    /// Runs `work` in a transaction and returns once it is committed.
    pub(crate) async fn run<T, F>(&self, turn: Turn, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Db) -> Work<'c, T> + Clone + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Message::Job(turn, Box::new(Task { work: Some(work), value: None, reply }));
        self.queue.send_timeout(job, PATIENCE).await.map_err(|error| match error {
            mpsc::error::SendTimeoutError::Timeout(_) => StoreError::Overloaded(format!("{QUEUE} writes are waiting")),
            mpsc::error::SendTimeoutError::Closed(_) => StoreError::Closed,
        })?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Does the work some time, or drops it when the queue is full: for what may
    /// be lost, such as when a key was last used.
    pub(crate) fn try_run<F>(&self, work: F)
    where
        F: for<'c> FnOnce(&'c mut Db) -> Work<'c, ()> + Clone + Send + 'static,
    {
        let (reply, _) = oneshot::channel();
        let job = Box::new(Task { work: Some(work), value: None, reply });
        let _ = self.queue.try_send(Message::Job(Turn::Beside, job));
    }

    /// Finishes what is queued and closes the connections.
    pub(crate) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.queue.send(Message::Close(reply)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

async fn execute(db: &mut Db, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sql).execute(db).await?;
    Ok(())
}
