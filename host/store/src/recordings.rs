//! Recordings: written down with the end of their call, brought to where files are kept in the background, and told of
//! by `call.recording.ready` or `call.recording.failed`, one of which always follows.
//!
//! A recording is *pending* while only the host that made it has its file, *ready* once it is where files are kept, and
//! *failed* when it never got there.

use crate::completion::NewRecording;
use crate::writer::Db;
use crate::{NOTHING_IS_LATER_MS, Store, StoreError, TenantId, UnixMs, columns, outbox};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

/// How far a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingState {
    /// On its way: only the host that made it has it.
    Pending,
    /// Kept.
    Ready,
    /// Lost; why is in the event.
    Failed,
}

/// A recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecordingRow {
    /// `rec_…`
    pub id: String,
    /// `call_…`
    pub call_id: String,
    /// How far it is.
    pub state: RecordingState,
    /// The name of its file; not for customers.
    #[serde(skip)]
    pub location: String,
    /// The host that has the file while it is pending.
    #[serde(skip)]
    pub host: Option<String>,
    /// Bytes.
    pub size: u64,
    /// How long it sounds.
    pub duration_ms: u64,
    /// Of the file, hex.
    pub sha256: String,
    /// When it was stored.
    pub created_at: UnixMs,
}

/// A recording whose turn it is to be brought away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRecording {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is.
    pub row: RecordingRow,
    /// How often it was tried.
    pub attempts: u32,
}

/// What is known of the recording of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The call is closed, and has none.
    Missing,
    /// It is on its way.
    Pending,
    /// What became of it is settled.
    Settled,
    /// There is no such call, or it runs.
    Nobodys,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    tenant_id: TenantId,
    call_id: String,
    state: String,
    location: String,
    host: Option<String>,
    size: i64,
    duration_ms: i64,
    sha256: String,
    attempts: i64,
    created_at: UnixMs,
}

impl Row {
    fn read(self) -> Result<RecordingRow, StoreError> {
        Ok(RecordingRow {
            state: columns::word("recordings.state", &self.state)?,
            id: self.id,
            call_id: self.call_id,
            location: self.location,
            host: self.host,
            size: columns::count64(self.size),
            duration_ms: columns::count64(self.duration_ms),
            sha256: self.sha256,
            created_at: self.created_at,
        })
    }
}

const SELECT: &str =
    "SELECT id, tenant_id, call_id, state, location, host, size, duration_ms, sha256, attempts, created_at
     FROM recordings";

/// Writes a recording down within the transaction at hand, to be brought away by `host` at once.
pub(crate) async fn insert(
    db: &mut Db,
    tenant: &TenantId,
    call: &str,
    host: &str,
    recording: &NewRecording,
    now: UnixMs,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO recordings (id, tenant_id, call_id, location, size, duration_ms, sha256, created_at, state, host,
                                 due_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'pending', $9, $8)",
    )
    .bind(&recording.id)
    .bind(tenant)
    .bind(call)
    .bind(&recording.location)
    .bind(columns::column(recording.size))
    .bind(columns::column(recording.duration_ms))
    .bind(&recording.sha256)
    .bind(now)
    .bind(host)
    .execute(db)
    .await?;
    Ok(())
}

/// Tells that there is no recording where there should be one.
pub(crate) async fn tell_lost(
    db: &mut Db,
    tenant: &TenantId,
    call: &str,
    recording: Option<&str>,
    why: &str,
    now: UnixMs,
) -> Result<(), StoreError> {
    let data = json!({ "call_id": call, "recording_id": recording, "error": why }).to_string();
    outbox::tell(db, tenant, call, "call.recording.failed", &data, now).await.map(drop)
}

impl Store {
    /// The recordings of a call.
    pub async fn recordings(&self, tenant: &TenantId, call: &str) -> Result<Vec<RecordingRow>, StoreError> {
        let sql = format!("{SELECT} WHERE tenant_id = $1 AND call_id = $2 ORDER BY id");
        let rows: Vec<Row> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(tenant).bind(call).fetch_all(self.readers()).await?;
        rows.into_iter().map(Row::read).collect()
    }

    /// One recording.
    pub async fn recording(&self, tenant: &TenantId, recording: &str) -> Result<RecordingRow, StoreError> {
        let sql = format!("{SELECT} WHERE tenant_id = $1 AND id = $2");
        let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(tenant)
            .bind(recording)
            .fetch_optional(self.readers())
            .await?;
        row.ok_or_else(|| StoreError::not_found("recording", recording))?.read()
    }

    /// A recording of whichever tenant, for whoever shows a link to it that we have signed ([`crate::links`]).
    pub async fn linked_recording(&self, recording: &str) -> Result<RecordingRow, StoreError> {
        let sql = format!("{SELECT} WHERE id = $1");
        let row: Option<Row> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(recording).fetch_optional(self.readers()).await?;
        row.ok_or_else(|| StoreError::not_found("recording", recording))?.read()
    }

    /// Recordings that `host` is to bring away now, those that wait longest first; and when the next is due.
    pub async fn due_recordings(
        &self,
        host: &str,
        limit: u32,
    ) -> Result<(Vec<DueRecording>, Option<UnixMs>), StoreError> {
        let now = self.now();
        let sql = format!(
            "{SELECT} WHERE host = $1 AND state = 'pending' AND (due_at <= $2 OR due_at > $3) ORDER BY due_at LIMIT $4"
        );
        let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(host)
            .bind(now)
            .bind(now.plus(NOTHING_IS_LATER_MS))
            .bind(i64::from(limit))
            .fetch_all(self.readers())
            .await?;
        let next: Option<UnixMs> = sqlx::query_scalar(
            "SELECT due_at FROM recordings WHERE host = $1 AND state = 'pending' AND due_at > $2 ORDER BY due_at LIMIT 1",
        )
        .bind(host)
        .bind(now)
        .fetch_optional(self.readers())
        .await?;
        let due = rows.into_iter().map(|row| {
            let (tenant, attempts) = (row.tenant_id.clone(), columns::count32(row.attempts));
            Ok(DueRecording { tenant, attempts, row: row.read()? })
        });
        Ok((due.collect::<Result<_, StoreError>>()?, next))
    }

    /// A recording is where files are kept: whoever wants to know is told. Doing it again changes nothing.
    pub async fn recording_is_ready(&self, due: &DueRecording, url: &str, expires: UnixMs) -> Result<(), StoreError> {
        let (tenant, row, now) = (due.tenant.clone(), due.row.clone(), self.now());
        let data = json!({
            "call_id": row.call_id, "recording_id": row.id, "url": url, "expires_at": expires, "size": row.size,
            "duration_ms": row.duration_ms, "sha256": row.sha256,
        });
        self.write(move |db| {
            Box::pin(async move {
                let changed = settle(db, &tenant, &row.id, "ready", None).await?;
                if changed {
                    outbox::tell(db, &tenant, &row.call_id, "call.recording.ready", &data.to_string(), now).await?;
                }
                Ok(())
            })
        })
        .await?;
        self.wake_outbox();
        Ok(())
    }

    /// A recording did not get away; it is tried again then.
    pub async fn recording_waits(&self, due: &DueRecording, until: UnixMs, why: &str) -> Result<(), StoreError> {
        let (tenant, id, why) = (due.tenant.clone(), due.row.id.clone(), why.to_owned());
        self.write(move |db| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE recordings SET attempts = attempts + 1, due_at = $1, error = $2
                     WHERE tenant_id = $3 AND id = $4 AND state = 'pending'",
                )
                .bind(until)
                .bind(why)
                .bind(tenant)
                .bind(id)
                .execute(db)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// A recording is lost: whoever wants to know is told.
    pub async fn recording_is_lost(&self, due: &DueRecording, why: &str) -> Result<(), StoreError> {
        let (tenant, row, why, now) = (due.tenant.clone(), due.row.clone(), why.to_owned(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                if settle(db, &tenant, &row.id, "failed", Some(&why)).await? {
                    tell_lost(db, &tenant, &row.call_id, Some(&row.id), &why, now).await?;
                }
                Ok(())
            })
        })
        .await?;
        self.wake_outbox();
        Ok(())
    }

    /// What is known of the recording of a call, for the host that has a file of it.
    pub async fn recording_of(&self, call: &str) -> Result<Found, StoreError> {
        let row: Option<(String, Option<String>)> = sqlx::query_as(
            "SELECT c.state, r.state FROM calls c LEFT JOIN recordings r ON r.call_id = c.id WHERE c.id = $1 LIMIT 1",
        )
        .bind(call)
        .fetch_optional(self.readers())
        .await?;
        Ok(match row.as_ref().map(|(call, recording)| (call.as_str(), recording.as_deref())) {
            Some((_, Some("pending"))) => Found::Pending,
            Some((_, Some(_))) => Found::Settled,
            Some(("completed", None)) => Found::Missing,
            Some(_) | None => Found::Nobodys,
        })
    }

    /// Tells that what a host found on its disk after a crash is no recording of a call that is closed and has none. Doing
    /// it again changes nothing.
    pub async fn no_recording(&self, call: &str, why: &str) -> Result<(), StoreError> {
        let (call, why, now) = (call.to_owned(), why.to_owned(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                let tenant: Option<TenantId> = sqlx::query_scalar(
                    "SELECT tenant_id FROM calls WHERE id = $1 AND state = 'completed'
                     AND NOT EXISTS (SELECT 1 FROM recordings WHERE recordings.call_id = calls.id)
                     AND NOT EXISTS (SELECT 1 FROM events WHERE events.call_id = calls.id
                                     AND events.type = 'call.recording.failed')",
                )
                .bind(&call)
                .fetch_optional(&mut *db)
                .await?;
                match tenant {
                    Some(tenant) => tell_lost(db, &tenant, &call, None, &why, now).await,
                    None => Ok(()),
                }
            })
        })
        .await?;
        self.wake_outbox();
        Ok(())
    }

    /// Adds what a host found on its disk after a crash to the call it belongs to, where that is closed and has no
    /// recording yet. Whether it does.
    pub async fn add_recording(&self, call: &str, host: &str, recording: NewRecording) -> Result<bool, StoreError> {
        let (call, host, now) = (call.to_owned(), host.to_owned(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                let tenant: Option<TenantId> = sqlx::query_scalar(
                    "SELECT tenant_id FROM calls WHERE id = $1 AND state = 'completed'
                     AND NOT EXISTS (SELECT 1 FROM recordings WHERE recordings.call_id = calls.id)",
                )
                .bind(&call)
                .fetch_optional(&mut *db)
                .await?;
                let Some(tenant) = tenant else { return Ok(false) };
                insert(db, &tenant, &call, &host, &recording, now).await?;
                Ok(true)
            })
        })
        .await
    }
}

/// A pending recording is so from now on. Whether it was pending.
async fn settle(
    db: &mut Db,
    tenant: &TenantId,
    id: &str,
    state: &'static str,
    error: Option<&str>,
) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "UPDATE recordings SET state = $1, host = NULL, due_at = NULL, error = $2
         WHERE tenant_id = $3 AND id = $4 AND state = 'pending'",
    )
    .bind(state)
    .bind(error)
    .bind(tenant)
    .bind(id)
    .execute(db)
    .await?;
    Ok(changed.rows_affected() > 0)
}
