//! The single writer of an SQLite file. Instead of many connections that fight for the lock, one task owns the only
//! connection that writes and commits all that wait in one transaction. Each job has a savepoint, so that one that fails
//! takes nothing of the others with it; one flush to disk serves the whole batch.

use super::{Db, Job, Message};
use crate::dialect::Dialect;
use crate::error::StoreError;
use sqlx::any::AnyConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::sync::mpsc;

/// Jobs in one transaction at most, so that the first does not wait long.
const BATCH: usize = 128;

pub(super) async fn serve(connection: Db, options: AnyConnectOptions, mut jobs: mpsc::Receiver<Message>) {
    let mut connection = Some(connection);
    let mut closing = None;
    while closing.is_none() {
        let Some(first) = jobs.recv().await else { break };
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Job(_, job) => batch.push(job),
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
            None => connect(&options).await,
        };
        match db {
            Ok(mut db) => {
                if run_batch(&mut db, batch).await {
                    connection = Some(db);
                } else {
                    // In doubt: closing it rolls back whatever was open.
                    let _ = db.close().await;
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

async fn connect(options: &AnyConnectOptions) -> Result<Db, StoreError> {
    let mut db = options.connect().await?;
    super::execute(&mut db, Dialect::Sqlite.for_writing()).await?;
    Ok(db)
}

fn fail(batch: Vec<Box<dyn Job>>, error: &StoreError) {
    for job in batch {
        job.done(Err(error.clone()));
    }
}

/// Whether the connection may be used again.
async fn run_batch(db: &mut Db, batch: Vec<Box<dyn Job>>) -> bool {
    if let Err(error) = execute(db, Dialect::Sqlite.begin_alone()).await {
        tracing::warn!(code = error.code(), %error, "a write could not begin");
        fail(batch, &error);
        return false;
    }
    let mut waiting = batch.into_iter();
    let mut written: Vec<Box<dyn Job>> = Vec::new();
    let mut broken = None;
    for mut job in waiting.by_ref() {
        let outcome = match execute(db, "SAVEPOINT job").await {
            Ok(()) => job.run(db, false).await,
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

/// Prepared, and kept so: these come with every batch.
async fn execute(db: &mut Db, sql: &'static str) -> Result<(), StoreError> {
    sqlx::query(sql).execute(db).await?;
    Ok(())
}
