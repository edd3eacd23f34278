//! Deliveries: one event on its way to one endpoint, with every attempt.
//!
//! The delivery room leases what is due ([`Store::lease`]), asks where it goes
//! ([`Store::delivery_target`]), and reports ([`Store::finish_attempt`]). A lease
//! that ends without a report, because its holder died, is due again. The endpoint
//! is a webhook's id, or `SCRIPT/DESTINATION`; it names no URL and holds no secret:
//! both are looked up when the request is made.

use crate::dialect::Dialect;
use crate::secrets::{Secret, name};
use crate::statement::Statement;
use crate::writer::Db;
use crate::{NOTHING_IS_LATER_MS, Page, PageRequest, Store, StoreError, TenantId, UnixMs, columns, id, webhooks};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waits for its next attempt.
    Pending,
    /// An attempt is under way.
    Leased,
    /// The receiver took it.
    Delivered,
    /// All attempts failed; can be redelivered.
    Failed,
    /// Given up because the endpoint is gone, off or deleted; can be redelivered.
    Dead,
}

/// A delivery as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// `dlv_…`
    pub id: String,
    /// `evt_…`: the `webhook-id` of every attempt.
    pub event_id: String,
    /// `call.completed` …
    pub event_type: String,
    /// The call it is about.
    pub call_id: Option<String>,
    /// A webhook's id, or `SCRIPT/DESTINATION`.
    pub endpoint: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// How many were made.
    pub attempts: u32,
    /// When the next one is due.
    pub next_attempt_at: Option<UnixMs>,
    /// HTTP status of the last one.
    pub last_status: Option<u16>,
    /// What was wrong with the last one.
    pub last_error: Option<String>,
    /// When it was queued.
    pub created_at: UnixMs,
    /// When it came to its end.
    pub finished_at: Option<UnixMs>,
}

/// A delivery with all of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeliveryDetail {
    /// As it is listed.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// Every attempt, in order.
    pub history: Vec<Attempt>,
    /// What is sent.
    #[schema(value_type = Object)]
    pub body: Box<RawValue>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// 1, 2, 3 …
    pub number: u32,
    /// When it began.
    pub at: UnixMs,
    /// HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// To the answer, or to the failure.
    pub latency_ms: u32,
    /// What was wrong: `timeout`, `connect`, `blocked_address` …, with words.
    pub error: Option<String>,
    /// The beginning of the answer.
    pub response: Option<String>,
}

/// Which deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// To this endpoint.
    pub endpoint: Option<String>,
    /// In this state.
    pub state: Option<DeliveryState>,
}

/// What the worker asks for.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// Who asks; [`Store::start_host`] of the same name frees it after a crash.
    pub host: String,
    /// What is due by then.
    pub now: UnixMs,
    /// How long it may keep them.
    pub lease_for_ms: i64,
    /// How many at most.
    pub limit: usize,
    /// How many at most for one endpoint that is not in `busy`.
    pub per_endpoint: usize,
    /// Endpoints with requests under way: how many more each may get (0 for none).
    pub busy: BTreeMap<String, usize>,
}

/// A delivery in the worker's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// `dlv_…`
    pub delivery_id: String,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// `evt_…`: the `webhook-id`.
    pub event_id: String,
    /// A webhook's id, or `SCRIPT/DESTINATION`.
    pub endpoint: String,
    /// `call.completed` …
    pub event_type: String,
    /// For the logs.
    pub call_id: Option<String>,
    /// Attempts since it was queued or queued again: the step of the ladder, from 0.
    pub tries: u32,
    /// Proof of the lease.
    pub lease: String,
    /// What is sent, byte by byte.
    pub body: Vec<u8>,
}

/// What [`Store::lease`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// To be sent now.
    pub items: Vec<Leased>,
    /// When the next one of an endpoint that may get more is due; a moment that has
    /// come when `limit` cut the list short.
    pub next_due: Option<UnixMs>,
}

/// What is open in the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxState {
    /// Endpoints that something is for.
    pub endpoints: usize,
    /// How long that which waits longest has been due; 0 where nothing is.
    pub overdue_ms: u64,
}

/// Where a delivery goes, looked up for each attempt. Not to be kept.
#[derive(Clone, Debug)]
pub enum Target {
    /// Send it there.
    Send {
        /// The receiver.
        url: String,
        /// Sign with each.
        signing: Vec<Secret>,
        /// Extra headers.
        headers: Vec<(String, Secret)>,
    },
    /// Nobody is there for now: the binding is missing. Try again later.
    Missing(&'static str),
    /// Nobody will be: deleted or switched off. Give up.
    Gone(&'static str),
}

/// What an attempt comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver took it.
    Delivered,
    /// Again then.
    Retry {
        /// When.
        at: UnixMs,
    },
    /// The ladder is at its end.
    Failed,
    /// The receiver is gone for good (410): this delivery ends, and a webhook is
    /// switched off.
    Gone,
    /// There is no receiver any more.
    Dead,
}

/// An attempt to be reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptReport {
    /// When it began.
    pub at: UnixMs,
    /// HTTP status.
    pub status: Option<u16>,
    /// To the answer or the failure.
    pub latency_ms: u32,
    /// What was wrong.
    pub error: Option<String>,
    /// The beginning of the answer.
    pub response: Option<String>,
    /// What it comes to.
    pub verdict: Verdict,
}

const MAX_RESPONSE: usize = 4_096;
const MAX_ERROR: usize = 1_024;

fn cut(text: &str, max: usize) -> String {
    let end = (0..=max.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    // PostgreSQL's text holds no NUL.
    text[..end].replace('\0', "\u{fffd}")
}

/// Ended at once when an endpoint goes: what more waits for it ends when its turn comes, with [`Target::Gone`].
const GIVEN_UP: i64 = 500;

/// Ends what is under way to an endpoint.
pub(crate) async fn give_up_all(
    db: &mut Db,
    tenant: &TenantId,
    endpoint: &str,
    error: &str,
    now: UnixMs,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE deliveries SET state = 'dead', due_at = NULL, lease = NULL, leased_by = NULL, last_error = $1, finished_at = $2
         WHERE id IN (SELECT id FROM deliveries WHERE endpoint = $3 AND tenant_id = $4 AND due_at IS NOT NULL
                      ORDER BY due_at LIMIT $5)",
    )
    .bind(error)
    .bind(now)
    .bind(endpoint)
    .bind(tenant)
    .bind(GIVEN_UP)
    .execute(db)
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    event_id: String,
    event_type: String,
    call_id: Option<String>,
    endpoint: String,
    state: String,
    attempts: i64,
    due_at: Option<UnixMs>,
    last_status: Option<i64>,
    last_error: Option<String>,
    created_at: UnixMs,
    finished_at: Option<UnixMs>,
}

type AttemptRow = (i64, UnixMs, Option<i64>, i64, Option<String>, Option<String>);

fn status(value: Option<i64>) -> Option<u16> {
    value.and_then(|v| u16::try_from(v).ok())
}

impl Row {
    fn read(self) -> Result<Delivery, StoreError> {
        let state = columns::word("deliveries.state", &self.state)?;
        Ok(Delivery {
            id: self.id,
            event_id: self.event_id,
            event_type: self.event_type,
            call_id: self.call_id,
            endpoint: self.endpoint,
            state,
            attempts: columns::count32(self.attempts),
            // While leased it is the end of the lease, which is nobody's business.
            next_attempt_at: self.due_at.filter(|_| state == DeliveryState::Pending),
            last_status: status(self.last_status),
            last_error: self.last_error,
            created_at: self.created_at,
            finished_at: self.finished_at,
        })
    }
}

const COLUMNS: &str = "SELECT d.id, d.event_id, e.type AS event_type, e.call_id, d.endpoint, d.state, d.attempts,
    d.due_at, d.last_status, d.last_error, d.created_at, d.finished_at
    FROM deliveries d JOIN events e ON e.id = d.event_id WHERE d.tenant_id = ";

#[derive(sqlx::FromRow)]
struct LeasedRow {
    id: String,
    tenant_id: TenantId,
    event_id: String,
    endpoint: String,
    tries: i64,
}

/// Takes what is due of one endpoint, the longest due first; what another host is taking is left to it.
pub(crate) fn lease_sql(dialect: Dialect) -> String {
    format!(
        "WITH due AS MATERIALIZED (
             SELECT id FROM deliveries WHERE endpoint = $4 AND due_at <= $5 ORDER BY due_at LIMIT $6 {}
         )
         UPDATE deliveries SET state = 'leased', due_at = $1, lease = $2, leased_by = $3
         WHERE id IN (SELECT id FROM due)
         RETURNING id, tenant_id, event_id, endpoint, tries",
        dialect.skip_locked()
    )
}

/// How much is under way to an endpoint from other hosts: all of them together load it no more than one would.
pub(crate) const ELSEWHERE: &str = "SELECT COUNT(*) FROM deliveries
    WHERE endpoint = $1 AND leased_by IS NOT NULL AND leased_by <> $2 AND due_at > $3";

async fn elsewhere(db: &mut Db, request: &LeaseRequest, endpoint: &str) -> Result<i64, StoreError> {
    if Dialect::of(db) == Dialect::Sqlite {
        return Ok(0);
    }
    let count =
        sqlx::query_scalar(ELSEWHERE).bind(endpoint).bind(&request.host).bind(request.now).fetch_one(db).await?;
    Ok(count)
}

/// An endpoint whose turn it is.
#[derive(Clone)]
struct Due {
    endpoint: String,
    /// How many it may get.
    room: usize,
    /// What is due by then.
    until: UnixMs,
}

/// Leases up to so many due deliveries of one endpoint, the longest due first.
async fn lease_endpoint(
    db: &mut Db,
    request: &LeaseRequest,
    Due { endpoint, room: count, until }: &Due,
    left: usize,
) -> Result<Vec<Leased>, StoreError> {
    let count = (*count).min(left);
    let under_way = elsewhere(db, request, endpoint).await?;
    let count = i64::try_from(count).unwrap_or(i64::MAX).saturating_sub(under_way);
    if count <= 0 {
        return Ok(Vec::new());
    }
    let lease = id::new("lse");
    let rows: Vec<LeasedRow> = sqlx::query_as(sqlx::AssertSqlSafe(lease_sql(Dialect::of(db))))
        .bind(request.now.plus(request.lease_for_ms))
        .bind(&lease)
        .bind(&request.host)
        .bind(endpoint)
        .bind(until)
        .bind(count)
        .fetch_all(&mut *db)
        .await?;
    let mut leased = Vec::with_capacity(rows.len());
    for row in rows {
        let (event_type, call_id, body): (String, Option<String>, Vec<u8>) =
            sqlx::query_as("SELECT type, call_id, body FROM events WHERE id = $1")
                .bind(&row.event_id)
                .fetch_one(&mut *db)
                .await?;
        leased.push(Leased {
            delivery_id: row.id,
            tenant_id: row.tenant_id,
            event_id: row.event_id,
            endpoint: row.endpoint,
            event_type,
            call_id,
            tries: columns::count32(row.tries),
            lease: lease.clone(),
            body,
        });
    }
    Ok(leased)
}

/// Every endpoint with something open, and when the first of it is due. Hops from
/// endpoint to endpoint along the index of what is open, so that the backlog of one
/// costs the others nothing.
pub(crate) const OPEN: &str = "WITH RECURSIVE open (endpoint) AS (
        SELECT MIN(endpoint) FROM deliveries WHERE due_at IS NOT NULL
        UNION ALL
        SELECT (SELECT MIN(d.endpoint) FROM deliveries d WHERE d.due_at IS NOT NULL AND d.endpoint > open.endpoint)
        FROM open WHERE open.endpoint IS NOT NULL
    )
    SELECT endpoint, (SELECT MIN(d.due_at) FROM deliveries d WHERE d.due_at IS NOT NULL AND d.endpoint = open.endpoint)
    FROM open WHERE endpoint IS NOT NULL";

/// Leases for these endpoints, the longest due first, up to the limit.
async fn lease_all(db: &mut Db, request: &LeaseRequest, due: Vec<Due>) -> Result<Vec<Leased>, StoreError> {
    let mut items = Vec::new();
    for due in due {
        let left = request.limit.saturating_sub(items.len());
        if left == 0 {
            break;
        }
        items.extend(lease_endpoint(db, request, &due, left).await?);
    }
    Ok(items)
}

async fn finish(db: &mut Db, leased: &Leased, report: &AttemptReport, now: UnixMs) -> Result<(), StoreError> {
    let error = report.error.as_deref().map(|e| cut(e, MAX_ERROR));
    let number: Option<i64> =
        sqlx::query_scalar("UPDATE deliveries SET attempts = attempts + 1 WHERE id = $1 RETURNING attempts")
            .bind(&leased.delivery_id)
            .fetch_optional(&mut *db)
            .await?;
    let Some(number) = number else { return Ok(()) };
    sqlx::query(
        "INSERT INTO attempts (delivery_id, number, tenant_id, at, status, latency_ms, error, response)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&leased.delivery_id)
    .bind(number)
    .bind(&leased.tenant_id)
    .bind(report.at)
    .bind(report.status.map(i64::from))
    .bind(i64::from(report.latency_ms))
    .bind(&error)
    .bind(report.response.as_deref().map(|r| cut(r, MAX_RESPONSE)))
    .execute(&mut *db)
    .await?;
    let (state, due, finished) = match report.verdict {
        Verdict::Delivered => ("delivered", None, Some(now)),
        Verdict::Retry { at } => ("pending", Some(at), None),
        Verdict::Failed => ("failed", None, Some(now)),
        Verdict::Gone | Verdict::Dead => ("dead", None, Some(now)),
    };
    // What a receiver took is delivered, whoever holds the lease by now. Everything
    // else only counts from the holder.
    let took = i64::from(report.verdict == Verdict::Delivered);
    sqlx::query(
        "UPDATE deliveries SET state = $1, due_at = $2, finished_at = $3, tries = tries + 1, last_status = $4,
                last_error = $5, lease = NULL, leased_by = NULL
         WHERE id = $6 AND (lease = $7 OR ($8 = 1 AND state <> 'delivered'))",
    )
    .bind(state)
    .bind(due)
    .bind(finished)
    .bind(report.status.map(i64::from))
    .bind(&error)
    .bind(&leased.delivery_id)
    .bind(&leased.lease)
    .bind(took)
    .execute(&mut *db)
    .await?;
    if report.verdict == Verdict::Gone && id::is("whk", &leased.endpoint) {
        webhooks::disable(db, &leased.tenant_id, &leased.endpoint, "gone", now).await?;
    }
    Ok(())
}

/// The query of a list.
pub(crate) fn search(tenant: &TenantId, filter: &DeliveryFilter, page: &PageRequest) -> Result<Statement, StoreError> {
    let mut sql = Statement::new("");
    sql.with(COLUMNS, tenant.as_str()).with(" AND d.id < ", page.below_id("dlv")?.as_str());
    if let Some(endpoint) = &filter.endpoint {
        sql.with(" AND d.endpoint = ", endpoint.as_str());
    }
    if let Some(state) = filter.state {
        sql.with(" AND d.state = ", columns::as_word(&state)?.as_str());
    }
    sql.with(" ORDER BY d.id DESC LIMIT ", page.rows());
    Ok(sql)
}

impl Store {
    /// What is open in the outbox of the deployment.
    pub async fn outbox_state(&self) -> Result<OutboxState, StoreError> {
        let open: Vec<(String, UnixMs)> = sqlx::query_as(OPEN).fetch_all(self.readers()).await?;
        let first = open.iter().map(|(_, due)| *due).min();
        let overdue_ms = first.map_or(0, |due| u64::try_from(self.now().since(due)).unwrap_or(0));
        Ok(OutboxState { endpoints: open.len(), overdue_ms })
    }

    /// Takes what is due into the worker's hands. Writes nothing when nothing is.
    pub async fn lease(&self, request: LeaseRequest) -> Result<Leases, StoreError> {
        let mut open: Vec<(String, UnixMs)> = sqlx::query_as(OPEN).fetch_all(self.readers()).await?;
        open.sort_by_key(|(_, due)| *due);
        let room = |endpoint: &str| request.busy.get(endpoint).copied().unwrap_or(request.per_endpoint);
        let open =
            open.into_iter().map(|(endpoint, due)| (room(&endpoint), endpoint, due)).filter(|(room, ..)| *room > 0);
        let farthest = request.now.plus(NOTHING_IS_LATER_MS);
        let (due, later): (Vec<_>, Vec<_>) = open.partition(|(.., due)| *due <= request.now || *due > farthest);
        let mut next_due = later.first().map(|(.., due)| *due);
        if due.is_empty() {
            return Ok(Leases { items: Vec::new(), next_due });
        }
        let (limit, now) = (request.limit, request.now);
        // Of one whose first is too far ahead all are.
        let until = |first: UnixMs| if first > now { UnixMs(i64::MAX) } else { now };
        let due = due.into_iter().map(|(room, endpoint, first)| Due { endpoint, room, until: until(first) }).collect();
        let items = self.write_beside(move |db| Box::pin(async move { lease_all(db, &request, due).await })).await?;
        if items.len() >= limit {
            next_due = Some(now);
        }
        Ok(Leases { items, next_due })
    }

    /// Where a leased delivery goes now, with its secrets.
    pub async fn delivery_target(&self, leased: &Leased) -> Result<Target, StoreError> {
        let tenant = &leased.tenant_id;
        if let Some((script, destination)) = leased.endpoint.split_once('/') {
            let bindings = match self.bindings(tenant, script).await {
                Ok(bindings) => bindings,
                Err(StoreError::NotFound { .. }) => return Ok(Target::Gone("endpoint_deleted")),
                Err(error) => return Err(error),
            };
            let Some(binding) = bindings.destinations.get(destination) else { return Ok(Target::Missing("not_bound")) };
            let credentials = self.destination_credentials(tenant, script, destination).await?;
            let (url, signing, headers) = (binding.url.clone(), credentials.signing, credentials.headers);
            return Ok(Target::Send { url, signing, headers });
        }
        let webhook = match self.webhook(tenant, &leased.endpoint).await {
            Ok(webhook) => webhook,
            Err(StoreError::NotFound { .. }) => return Ok(Target::Gone("endpoint_deleted")),
            Err(error) => return Err(error),
        };
        if !webhook.enabled {
            return Ok(Target::Gone("endpoint_disabled"));
        }
        let signing = self.held_secret(tenant, &leased.endpoint, name::SIGNING).await?;
        Ok(Target::Send { url: webhook.url, signing, headers: Vec::new() })
    }

    /// Writes down an attempt and what it comes to.
    pub async fn finish_attempt(&self, leased: &Leased, report: AttemptReport) -> Result<(), StoreError> {
        let mut leased = leased.clone();
        leased.body = Vec::new();
        let now = self.now();
        self.write_beside(move |db| Box::pin(async move { finish(db, &leased, &report, now).await })).await
    }

    /// Deliveries, the newest first.
    pub async fn deliveries(
        &self,
        tenant: &TenantId,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, StoreError> {
        let rows: Vec<Row> = search(tenant, filter, page)?.fetch_all(self.readers()).await?;
        let deliveries = rows.into_iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(page, deliveries, |d| d.id.clone()))
    }

    /// One delivery with its attempts and what is sent.
    pub async fn delivery(&self, tenant: &TenantId, delivery: &str) -> Result<DeliveryDetail, StoreError> {
        let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(format!("{COLUMNS}$1 AND d.id = $2")))
            .bind(tenant)
            .bind(delivery)
            .fetch_optional(self.readers())
            .await?;
        let row = row.ok_or_else(|| StoreError::not_found("delivery", delivery))?.read()?;
        let body: Vec<u8> = sqlx::query_scalar("SELECT body FROM events WHERE tenant_id = $1 AND id = $2")
            .bind(tenant)
            .bind(&row.event_id)
            .fetch_one(self.readers())
            .await?;
        let attempts: Vec<AttemptRow> = sqlx::query_as(
            "SELECT number, at, status, latency_ms, error, response FROM attempts
             WHERE tenant_id = $1 AND delivery_id = $2 ORDER BY number DESC LIMIT 200",
        )
        .bind(tenant)
        .bind(delivery)
        .fetch_all(self.readers())
        .await?;
        let attempt = |(number, at, code, latency_ms, error, response): AttemptRow| Attempt {
            number: columns::count32(number),
            at,
            status: status(code),
            latency_ms: columns::count32(latency_ms),
            error,
            response,
        };
        let body = String::from_utf8(body)
            .map_err(|error| StoreError::unreadable("events.body", error))
            .and_then(|t| RawValue::from_string(t).map_err(|error| StoreError::unreadable("events.body", error)))?;
        Ok(DeliveryDetail { delivery: row, history: attempts.into_iter().rev().map(attempt).collect(), body })
    }

    /// Sends it again, with the same id and the same bytes, whatever came of it
    /// before. One that is under way or waits is sent now.
    pub async fn redeliver(&self, tenant: &TenantId, delivery: &str) -> Result<Delivery, StoreError> {
        let (t, d, now) = (tenant.clone(), delivery.to_owned(), self.now());
        self.write_beside(move |db| {
            Box::pin(async move {
                let changed = sqlx::query(
                    "UPDATE deliveries SET state = 'pending', tries = 0, due_at = $1, finished_at = NULL
                     WHERE tenant_id = $2 AND id = $3 AND state <> 'leased'",
                )
                .bind(now)
                .bind(&t)
                .bind(&d)
                .execute(db)
                .await?;
                tracing::info!(delivery = %d, queued = changed.rows_affected() > 0, "redelivery asked for");
                Ok(())
            })
        })
        .await?;
        self.wake_outbox();
        Ok(self.delivery(tenant, delivery).await?.delivery)
    }

    /// Sends a webhook everything of a period (from inclusive, to exclusive) that it
    /// asks for, also what it already got or was never queued for it. How many events
    /// were queued.
    pub async fn replay(&self, tenant: &TenantId, webhook: &str, from: UnixMs, to: UnixMs) -> Result<u64, StoreError> {
        let hook = self.webhook(tenant, webhook).await?;
        if !hook.enabled {
            return Err(StoreError::conflict("webhook_disabled", "the webhook is switched off; switch it on first"));
        }
        let mut after = (from, String::new());
        let mut queued = 0;
        loop {
            let (t, hook, now, start) = (tenant.clone(), hook.clone(), self.now(), after.clone());
            let (count, last) = self
                .write_beside(move |db| Box::pin(async move { replay_some(db, &t, &hook, start, to, now).await }))
                .await?;
            queued += count;
            self.wake_outbox();
            match last {
                Some(last) => after = last,
                None => return Ok(queued),
            }
        }
    }
}

/// Queues one stretch of events again; how many, and where to go on.
async fn replay_some(
    db: &mut Db,
    tenant: &TenantId,
    hook: &webhooks::Webhook,
    after: (UnixMs, String),
    to: UnixMs,
    now: UnixMs,
) -> Result<(u64, Option<(UnixMs, String)>), StoreError> {
    let rows: Vec<(String, String, UnixMs)> = sqlx::query_as(
        "SELECT id, type, created_at FROM events
         WHERE tenant_id = $1 AND (created_at, id) > ($2, $3) AND created_at < $4 ORDER BY created_at, id LIMIT 200",
    )
    .bind(tenant)
    .bind(after.0)
    .bind(after.1)
    .bind(to)
    .fetch_all(&mut *db)
    .await?;
    let last = rows.last().map(|(id, _, at)| (*at, id.clone()));
    let mut count = 0;
    // Pushes belong to their destination alone.
    let wanted = |kind: &str| kind != "call.push" && webhooks::wants(&hook.event_types, kind);
    for (event, _, _) in rows.iter().filter(|(_, kind, _)| wanted(kind)) {
        let done = sqlx::query(
            "INSERT INTO deliveries (id, tenant_id, event_id, endpoint, state, tries, attempts, due_at, created_at)
             VALUES ($1, $2, $3, $4, 'pending', 0, 0, $5, $5)
             ON CONFLICT (event_id, endpoint) DO UPDATE
             SET state = 'pending', tries = 0, due_at = excluded.due_at, finished_at = NULL
             WHERE deliveries.state <> 'leased'",
        )
        .bind(id::new("dlv"))
        .bind(tenant)
        .bind(event)
        .bind(&hook.id)
        .bind(now)
        .execute(&mut *db)
        .await?;
        count += done.rows_affected();
    }
    Ok((count, last))
}
