//! After a crash: calls that a dead process left behind are closed, so that each
//! has its `call.completed`, and deliveries it had in hand are free again.

use crate::calls::CallStart;
use crate::completion::{CallCompletion, Closing, Completed, close};
use crate::document::CallDocument;
use crate::writer::Db;
use crate::{Store, StoreError, UnixMs, columns, hosts};
use callbox_dialogue::call::{Direction, EndReason};
use callbox_dialogue::record::{EndedBy, Outcome, TimelineEntry};
use callbox_dialogue::time::Time;
use std::fs::{File, TryLockError};

/// What a start found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Calls that were closed.
    pub calls: usize,
    /// Deliveries that were freed.
    pub deliveries: u64,
}

/// Why a call of a dead process ended.
const HOST_GONE: &str = "the host that ran the call is gone; closed at its next start";

/// How often a start tries again to take its name, where each time it waits as long as the server lets it.
const TRIES: u32 = 3;

/// Calls closed in one transaction.
const STEP: i64 = 100;

/// The document of a call whose host died.
fn orphan(start: CallStart, answered: Option<UnixMs>, now: UnixMs, why: &str) -> CallCompletion {
    let mut document = CallDocument::begin(&start);
    document.times.answered = answered;
    document.times.ended = Some(now);
    document.outcome = Some(match (answered, start.direction) {
        (Some(_), _) => Outcome::Answered,
        (None, Direction::Inbound) => Outcome::Cancelled,
        (None, Direction::Outbound) => Outcome::NetworkError,
    });
    document.ended_by = Some(EndedBy::Platform);
    document.end_reason = Some(EndReason::PlatformError);
    let at = Time(columns::count64(now.since(start.created_at)));
    let timeline = vec![TimelineEntry { at, kind: "ended".to_owned(), detail: why.to_owned() }];
    CallCompletion {
        start,
        document,
        timeline,
        tape: None,
        signalling: None,
        recordings: Vec::new(),
        lost_recording: None,
        pushes: Vec::new(),
    }
}

/// Closes some of the calls a host left behind; how many, and where to go on.
pub(crate) async fn close_some(
    db: &mut Db,
    host: &str,
    after: String,
    now: UnixMs,
    why: &str,
) -> Result<(usize, Option<String>), StoreError> {
    let rows: Vec<(String, String, Option<UnixMs>)> = sqlx::query_as(
        "SELECT id, start, answered_at FROM calls WHERE host = $1 AND state = 'active' AND id > $2 ORDER BY id LIMIT $3",
    )
    .bind(host)
    .bind(after)
    .bind(STEP)
    .fetch_all(&mut *db)
    .await?;
    let last = rows.last().map(|(id, ..)| id.clone());
    let mut closed = 0;
    for (call, start, answered) in rows {
        // One row that cannot be read does not keep the host from starting.
        match columns::from_json::<CallStart>("calls.start", &start) {
            Ok(start) => {
                tracing::warn!(call, "closing a call that a dead host left behind");
                close(db, Closing::prepare(orphan(start, answered, now, why))?, now).await?;
                closed += 1;
            }
            Err(error) => tracing::error!(call, %error, "a call that a dead host left behind cannot be closed"),
        }
    }
    Ok((closed, last))
}

/// Lets others have the deliveries that a host had in hand; how many.
pub(crate) async fn free(db: &mut Db, host: &str, now: UnixMs) -> Result<u64, StoreError> {
    let freed = sqlx::query(
        "UPDATE deliveries SET state = 'pending', due_at = $1, lease = NULL, leased_by = NULL WHERE leased_by = $2",
    )
    .bind(now)
    .bind(host)
    .execute(db)
    .await?;
    Ok(freed.rows_affected())
}

impl Store {
    /// To be called once by the process that is going to run calls as `host`, before the first of them: takes the name,
    /// makes sure that no other process has it or uses this SQLite file for calls, closes the calls that the last run
    /// of this host left behind (`end_reason: platform_error`), and frees the deliveries it had leased. Where the last
    /// run did not say goodbye on a server, that takes two heartbeats and a half.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another process has the name or the file.
    pub async fn start_host(&self, host: &str) -> Result<Recovered, StoreError> {
        self.start_host_at(host, None).await
    }

    /// The same, with where others reach its API.
    ///
    /// # Errors
    /// As [`Store::start_host`].
    pub async fn start_host_at(&self, host: &str, address: Option<&str>) -> Result<Recovered, StoreError> {
        self.claim()?;
        if self.is_alive(host).await? {
            return Err(StoreError::InUse(format!("the host name {host:?} on this database")));
        }
        let (taken, now) = (Self::new_run(host), self.now());
        let mut tries = 0;
        loop {
            let (run, address) = (taken.clone(), address.map(ToOwned::to_owned));
            let took =
                self.write(move |db| Box::pin(async move { hosts::take(db, &run, address.as_deref(), now).await }));
            match took.await {
                Ok(()) => break,
                // A host that was frozen in the middle of a transaction holds on to its name until the server ends that.
                Err(error) if error.is_transient() && tries < TRIES => {
                    tracing::warn!(%error, "the name of this host cannot be taken yet");
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
        *self.inner.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(taken);
        let mut recovered = Recovered::default();
        let mut after = String::new();
        loop {
            let (owner, start, now) = (host.to_owned(), after, self.now());
            let step = self
                .write_beside(move |db| Box::pin(async move { close_some(db, &owner, start, now, HOST_GONE).await }))
                .await?;
            recovered.calls += step.0;
            match step.1 {
                Some(last) => after = last,
                None => break,
            }
        }
        let (owner, now) = (host.to_owned(), self.now());
        recovered.deliveries =
            self.write_beside(move |db| Box::pin(async move { free(db, &owner, now).await })).await?;
        self.wake_outbox();
        Ok(recovered)
    }

    /// Closes one call that nobody runs any more in a process that goes on (`end_reason: platform_error`), with the tape
    /// of its script where that was saved. Waits for a database that does not answer, as
    /// [`Store::complete_call_at_last`].
    pub async fn close_orphan(
        &self,
        start: &CallStart,
        why: &str,
        tape: Option<Vec<u8>>,
    ) -> Result<Completed, StoreError> {
        let answered: Option<Option<UnixMs>> =
            sqlx::query_scalar("SELECT answered_at FROM calls WHERE tenant_id = $1 AND id = $2")
                .bind(&start.tenant_id)
                .bind(&start.id)
                .fetch_optional(self.readers())
                .await
                .unwrap_or_default();
        let orphan = orphan(start.clone(), answered.flatten(), self.now(), why);
        self.complete_call_at_last(CallCompletion { tape, ..orphan }).await
    }

    /// One process per SQLite file runs calls: two would close each other's.
    fn claim(&self) -> Result<(), StoreError> {
        let Some(path) = &self.inner.file else { return Ok(()) };
        let mut claim = self.inner.claim.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if claim.is_some() {
            return Ok(());
        }
        let mut lock = path.clone().into_os_string();
        lock.push(".lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .map_err(|error| StoreError::io("opening the lock file", &error))?;
        match file.try_lock() {
            Ok(()) => {
                *claim = Some(file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.display().to_string())),
            Err(TryLockError::Error(error)) => Err(StoreError::io("locking the database", &error)),
        }
    }
}
