//! The single writer. SQLite lets one connection write at a time; instead of
//! many connections that fight for the lock, one task owns the only connection
//! that writes, takes jobs from a bounded queue, and commits all that wait in
//! one transaction. Each job has a savepoint, so that one that fails takes
//! nothing of the others with it; one flush to disk serves the whole batch.
//!
//! A job is done when its `await` returns: by then it is on the disk. A caller
//! that stops waiting does not undo its job.

use crate::error::StoreError;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The connection type; PostgreSQL joins here.
pub(crate) type Db = sqlx::SqliteConnection;

/// What a job does with the connection.
pub(crate) type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'c>>;

/// Jobs that wait at most; more wait outside, then are told `Overloaded`.
const QUEUE: usize = 1_024;
/// Jobs in one transaction at most, so that the first does not wait long.
const BATCH: usize = 128;
/// Longest wait for a place in the queue.
const PATIENCE: Duration = Duration::from_secs(10);

trait Job: Send {
    fn run<'c>(&'c mut self, db: &'c mut Db) -> Work<'c, ()>;
    fn done(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Task<F, T> {
    work: Option<F>,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Job for Task<F, T>
where
    F: for<'c> FnOnce(&'c mut Db) -> Work<'c, T> + Send,
    T: Send,
{
    fn run<'c>(&'c mut self, db: &'c mut Db) -> Work<'c, ()> {
        Box::pin(async move {
            if let Some(work) = self.work.take() {
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
    Job(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// The way to the writer task.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Message>,
}

impl Writer {
    /// Takes the connection over.
    pub(crate) fn start(connection: Db, options: SqliteConnectOptions) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        tokio::spawn(serve(connection, options, jobs));
        Self { queue }
    }

    /// Runs `work` in a transaction and returns once it is committed.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Db) -> Work<'c, T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Message::Job(Box::new(Task { work: Some(work), value: None, reply }));
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
        F: for<'c> FnOnce(&'c mut Db) -> Work<'c, ()> + Send + 'static,
    {
        let (reply, _) = oneshot::channel();
        let _ = self.queue.try_send(Message::Job(Box::new(Task { work: Some(work), value: None, reply })));
    }

    /// Finishes what is queued and closes the connection.
    pub(crate) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.queue.send(Message::Close(reply)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

async fn serve(connection: Db, options: SqliteConnectOptions, mut jobs: mpsc::Receiver<Message>) {
    let mut connection = Some(connection);
    let mut closing = None;
    while closing.is_none() {
        let Some(first) = jobs.recv().await else { break };
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Job(job) => batch.push(job),
                Message::Close(reply) => {
                    closing = Some(reply);
                    break;
                }
            }
            next = if batch.len() < BATCH { jobs.try_recv().ok() } else { None };
        }
        if batch.is_empty() {
            continue;
        }
        let db = match connection.take() {
            Some(db) => Ok(db),
            None => options.connect().await.map_err(StoreError::from),
        };
        match db {
            Ok(mut db) => {
                if run_batch(&mut db, batch).await {
                    connection = Some(db);
                } else {
                    // In doubt: closing it rolls back whatever was open.
                    let _ = db.close_hard().await;
                }
            }
            Err(error) => fail(batch, &error),
        }
    }
    if let Some(db) = connection {
        let _ = db.close().await;
    }
    if let Some(reply) = closing {
        let _ = reply.send(());
    }
}

fn fail(batch: Vec<Box<dyn Job>>, error: &StoreError) {
    for job in batch {
        job.done(Err(error.clone()));
    }
}

/// Whether the connection may be used again.
async fn run_batch(db: &mut Db, batch: Vec<Box<dyn Job>>) -> bool {
    if let Err(error) = execute(db, "BEGIN IMMEDIATE").await {
        tracing::warn!(code = error.code(), %error, "a write could not begin");
        fail(batch, &error);
        return false;
    }
    let mut waiting = batch.into_iter();
    let mut written: Vec<Box<dyn Job>> = Vec::new();
    let mut broken = None;
    for mut job in waiting.by_ref() {
        let outcome = match execute(db, "SAVEPOINT job").await {
            Ok(()) => job.run(db).await,
            Err(error) => Err(error),
        };
        let Err(error) = outcome else {
            match execute(db, "RELEASE job").await {
                Ok(()) => written.push(job),
                Err(error) => {
                    job.done(Err(error.clone()));
                    broken = Some(error);
                    break;
                }
            }
            continue;
        };
        job.done(Err(error.clone()));
        // A full disk or a broken file ends the transaction behind our back.
        let undone = match execute(db, "ROLLBACK TO job").await {
            Ok(()) => execute(db, "RELEASE job").await,
            Err(error) => Err(error),
        };
        if undone.is_err() {
            broken = Some(error);
            break;
        }
    }
    let committed = match broken {
        None => execute(db, "COMMIT").await,
        Some(error) => Err(error),
    };
    match committed {
        Ok(()) => {
            for job in written {
                job.done(Ok(()));
            }
            true
        }
        Err(error) => {
            tracing::error!(code = error.code(), %error, lost = written.len(), "a batch of writes was not committed");
            let error = if error.is_transient() { error } else { StoreError::Unavailable(error.to_string()) };
            let _ = execute(db, "ROLLBACK").await;
            fail(written, &error);
            fail(waiting.collect(), &error);
            false
        }
    }
}

async fn execute(db: &mut Db, sql: &'static str) -> Result<(), StoreError> {
    sqlx::query(sql).execute(db).await?;
    Ok(())
}
