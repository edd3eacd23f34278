//! The outbox, as whoever fills it sees it: an event is written in the transaction
//! of what it tells about, with the bytes every receiver will get and one delivery
//! per endpoint. The delivery room takes it from there (see [`crate::deliveries`]).

use crate::dialect::Dialect;
use crate::writer::Db;
use crate::{API_VERSION, FieldError, Store, StoreError, TenantId, UnixMs, id, webhooks};
use callbox_dialogue::CallId;
use serde::Serialize;
use serde_json::value::RawValue;

/// Longest body of a script's push, bytes.
pub const MAX_PUSH: usize = 256 * 1024;

/// What every request to a customer's system has around its data: webhooks, pushes
/// and context requests alike.
#[derive(Clone, Debug, Serialize)]
pub struct Envelope<'a> {
    /// `evt_…`, the same on every attempt.
    pub id: &'a str,
    /// `call.completed` …
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// [`API_VERSION`].
    pub api_version: &'a str,
    /// When it happened.
    pub created_at: UnixMs,
    /// Whose it is.
    pub tenant_id: &'a TenantId,
    /// The call it is about.
    pub call_id: Option<&'a str>,
    /// Rises by one per call.
    pub sequence: Option<i64>,
    /// What happened.
    pub data: &'a RawValue,
}

impl Envelope<'_> {
    /// The bytes to sign and send.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(|error| StoreError::Internal(error.to_string()))
    }
}

/// A push of a script, on its way to a destination of its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPush {
    /// Whose call it is.
    pub tenant_id: TenantId,
    /// `call_…`
    pub call_id: String,
    /// `scr_…`, whose bindings say where the destination is.
    pub script_id: String,
    /// Unique within the call, counting from 1.
    pub push_seq: u32,
    /// The id the script was told; none for [`CallId::push_id`].
    pub event_id: Option<String>,
    /// By the manifest's name.
    pub destination: String,
    /// JSON text.
    pub body: String,
}

/// The endpoint of a destination, as deliveries name it.
#[must_use]
pub fn destination_endpoint(script: &str, destination: &str) -> String {
    format!("{script}/{destination}")
}

pub(crate) struct NewEvent<'a> {
    pub(crate) id: String,
    pub(crate) tenant: &'a TenantId,
    pub(crate) call: Option<&'a str>,
    pub(crate) sequence: Option<i64>,
    pub(crate) push_seq: Option<u32>,
    pub(crate) kind: &'a str,
    /// JSON text.
    pub(crate) data: &'a str,
    pub(crate) at: UnixMs,
}

/// Writes an event and its deliveries, all due at once.
pub(crate) async fn put(db: &mut Db, event: &NewEvent<'_>, endpoints: &[String]) -> Result<(), StoreError> {
    let data: &RawValue = serde_json::from_str(event.data).map_err(|error| StoreError::unreadable("event", error))?;
    let envelope = Envelope {
        id: &event.id,
        kind: event.kind,
        api_version: API_VERSION,
        created_at: event.at,
        tenant_id: event.tenant,
        call_id: event.call,
        sequence: event.sequence,
        data,
    };
    sqlx::query(
        "INSERT INTO events (id, tenant_id, call_id, sequence, push_seq, type, body, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&event.id)
    .bind(event.tenant)
    .bind(event.call)
    .bind(event.sequence)
    .bind(event.push_seq.map(i64::from))
    .bind(event.kind)
    .bind(envelope.to_bytes()?)
    .bind(event.at)
    .execute(&mut *db)
    .await?;
    for endpoint in endpoints {
        sqlx::query(
            "INSERT INTO deliveries (id, tenant_id, event_id, endpoint, state, tries, attempts, due_at, created_at)
             VALUES ($1, $2, $3, $4, 'pending', 0, 0, $5, $5)",
        )
        .bind(id::new("dlv"))
        .bind(event.tenant)
        .bind(&event.id)
        .bind(endpoint)
        .bind(event.at)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// Whatever else is to be written about a call waits until this transaction ends: what is read about it stays so.
pub(crate) async fn lock(db: &mut Db, tenant: &TenantId, call: &str) -> Result<(), StoreError> {
    let dialect = Dialect::of(db);
    if dialect == Dialect::Sqlite {
        return Ok(());
    }
    let sql = format!("SELECT id FROM calls WHERE tenant_id = $1 AND id = $2 {}", dialect.for_update());
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(tenant).bind(call).fetch_optional(db).await?;
    Ok(())
}

/// The next sequence number of a call; none when there is no such call.
pub(crate) async fn next_sequence(db: &mut Db, tenant: &TenantId, call: &str) -> Result<i64, StoreError> {
    sqlx::query_scalar(
        "UPDATE calls SET last_sequence = last_sequence + 1 WHERE tenant_id = $1 AND id = $2 RETURNING last_sequence",
    )
    .bind(tenant)
    .bind(call)
    .fetch_optional(db)
    .await?
    .ok_or_else(|| StoreError::not_found("call", call))
}

/// An event of a call, written only when a webhook wants it.
pub(crate) async fn tell(
    db: &mut Db,
    tenant: &TenantId,
    call: &str,
    kind: &str,
    data: &str,
    at: UnixMs,
) -> Result<Option<String>, StoreError> {
    let endpoints = webhooks::subscribers(db, tenant, kind).await?;
    tell_them(db, tenant, call, kind, data, at, &endpoints).await
}

/// The same, where it is known who wants it.
pub(crate) async fn tell_them(
    db: &mut Db,
    tenant: &TenantId,
    call: &str,
    kind: &str,
    data: &str,
    at: UnixMs,
    endpoints: &[String],
) -> Result<Option<String>, StoreError> {
    if endpoints.is_empty() {
        return Ok(None);
    }
    let sequence = Some(next_sequence(db, tenant, call).await?);
    let event = NewEvent { id: id::new("evt"), tenant, call: Some(call), sequence, push_seq: None, kind, data, at };
    put(db, &event, endpoints).await?;
    Ok(Some(event.id))
}

/// An event of the tenant, without a call.
pub(crate) async fn announce(
    db: &mut Db,
    tenant: &TenantId,
    kind: &str,
    data: &str,
    at: UnixMs,
) -> Result<(), StoreError> {
    let endpoints = webhooks::subscribers(db, tenant, kind).await?;
    let event = NewEvent { id: id::new("evt"), tenant, call: None, sequence: None, push_seq: None, kind, data, at };
    put(db, &event, &endpoints).await
}

/// An event of the tenant without a call, written only when a webhook wants it: for what can happen often.
pub(crate) async fn announce_to_subscribers(
    db: &mut Db,
    tenant: &TenantId,
    kind: &str,
    data: &str,
    at: UnixMs,
) -> Result<Option<String>, StoreError> {
    let endpoints = webhooks::subscribers(db, tenant, kind).await?;
    if endpoints.is_empty() {
        return Ok(None);
    }
    let event = NewEvent { id: id::new("evt"), tenant, call: None, sequence: None, push_seq: None, kind, data, at };
    put(db, &event, &endpoints).await?;
    Ok(Some(event.id))
}

/// A push that was looked at: its body is JSON of a fair size.
#[derive(Clone)]
pub(crate) struct CheckedPush {
    push: NewPush,
    data: String,
}

pub(crate) fn check(push: NewPush) -> Result<CheckedPush, StoreError> {
    #[derive(Serialize)]
    struct Data<'a> {
        destination: &'a str,
        body: &'a RawValue,
    }
    if push.body.len() > MAX_PUSH {
        return Err(StoreError::invalid("body", "too_long", format!("at most {MAX_PUSH} bytes")));
    }
    let body: &RawValue = serde_json::from_str(&push.body)
        .map_err(|error| StoreError::Invalid(vec![FieldError::new("body", "invalid", error.to_string())]))?;
    let data = crate::columns::to_json(&Data { destination: &push.destination, body })?;
    Ok(CheckedPush { push, data })
}

/// Writes a push once; the id it has.
pub(crate) async fn push(db: &mut Db, checked: CheckedPush, now: UnixMs) -> Result<String, StoreError> {
    let CheckedPush { push, data } = checked;
    lock(db, &push.tenant_id, &push.call_id).await?;
    let known: Option<String> =
        sqlx::query_scalar("SELECT id FROM events WHERE tenant_id = $1 AND call_id = $2 AND push_seq = $3")
            .bind(&push.tenant_id)
            .bind(&push.call_id)
            .bind(i64::from(push.push_seq))
            .fetch_optional(&mut *db)
            .await?;
    if let Some(id) = known {
        return Ok(id);
    }
    let event = NewEvent {
        id: push.event_id.unwrap_or_else(|| CallId(push.call_id.clone()).push_id(push.push_seq)),
        tenant: &push.tenant_id,
        call: Some(&push.call_id),
        sequence: Some(next_sequence(db, &push.tenant_id, &push.call_id).await?),
        push_seq: Some(push.push_seq),
        kind: "call.push",
        data: &data,
        at: now,
    };
    put(db, &event, &[destination_endpoint(&push.script_id, &push.destination)]).await?;
    Ok(event.id)
}

impl Store {
    /// Accepts a script's push: when this returns, it will be delivered. The same
    /// push again changes nothing. The event's type is `call.push`, its data
    /// `{destination, body}`.
    pub async fn enqueue_push(&self, push: NewPush) -> Result<String, StoreError> {
        let (checked, now) = (check(push)?, self.now());
        let id = self.write_beside(move |db| Box::pin(self::push(db, checked, now))).await?;
        self.wake_outbox();
        Ok(id)
    }
}
