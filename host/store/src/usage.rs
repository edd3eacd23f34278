//! What a tenant has used: counted by day (UTC) when a call is over, and when a leg to the telephone network is.

use crate::calls::CallStart;
use crate::dialect::Dialect;
use crate::document::CallDocument;
use crate::writer::Db;
use crate::{FieldError, Store, StoreError, TenantId, UnixMs, columns};
use callbox_dialogue::call::Direction;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;
/// Days in one answer at most.
const MAX_DAYS: i64 = 366;

/// Days since 1970-01-01 (UTC).
#[must_use]
pub const fn day(at: UnixMs) -> i64 {
    at.0.div_euclid(DAY_MS)
}

/// What was used in a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TenantUsage)]
pub struct Usage {
    /// The beginning of its first day.
    pub from: UnixMs,
    /// The end of its last day.
    pub to: UnixMs,
    /// Calls that came in and are over.
    pub calls_in: u64,
    /// Calls that were placed and are over.
    pub calls_out: u64,
    /// Of both, those that were answered.
    pub answered: u64,
    /// Talk of calls that came in.
    pub talk_ms_in: u64,
    /// Talk of calls that were placed.
    pub talk_ms_out: u64,
    /// Legs to the telephone network, those of transfers included.
    pub outbound_legs: u64,
    /// From their answer to their end.
    pub outbound_ms: u64,
    /// CPU time of scripts, µs.
    pub script_us: u64,
    /// What is kept now.
    pub storage: Storage,
}

/// What is kept now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Storage {
    /// Scripts.
    pub scripts: u64,
    /// Bytes of the components of their versions; one that several versions share counts once for each.
    pub component_bytes: u64,
    /// Bytes of recordings.
    pub recording_bytes: u64,
}

impl Storage {
    /// Bytes of all of it.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.component_bytes.saturating_add(self.recording_bytes)
    }
}

/// Rows over which the calls of a host are spread on a server, where several end at the same time: whoever counts in a
/// row waits until whoever did so before has committed.
const ROWS: u32 = 32;

/// In whose row a call counts.
fn row(dialect: Dialect, start: &CallStart) -> String {
    match dialect {
        Dialect::Sqlite => start.host.clone(),
        Dialect::Postgres => {
            let row = start.id.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % ROWS;
            format!("{}/{row}", start.host)
        }
    }
}

/// Counts a call that is over, in the transaction that closes it.
pub(crate) async fn count(
    db: &mut Db,
    start: &CallStart,
    document: &CallDocument,
    ended: UnixMs,
) -> Result<(), StoreError> {
    let talk = i64::from(document.durations.talk_ms.unwrap_or(0));
    let script = document.usage.as_ref().map_or(0, |usage| columns::column(usage.script_us));
    let (came_in, placed) = match start.direction {
        Direction::Inbound => (1, 0),
        Direction::Outbound => (0, 1),
    };
    sqlx::query(
        "INSERT INTO usage (tenant_id, day, host, calls_in, calls_out, answered, talk_ms_in, talk_ms_out, script_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (tenant_id, day, host) DO UPDATE SET
             calls_in = usage.calls_in + excluded.calls_in, calls_out = usage.calls_out + excluded.calls_out,
             answered = usage.answered + excluded.answered, talk_ms_in = usage.talk_ms_in + excluded.talk_ms_in,
             talk_ms_out = usage.talk_ms_out + excluded.talk_ms_out, script_us = usage.script_us + excluded.script_us",
    )
    .bind(&start.tenant_id)
    .bind(day(ended))
    .bind(row(Dialect::of(db), start))
    .bind(came_in)
    .bind(placed)
    .bind(i64::from(document.times.answered.is_some()))
    .bind(came_in * talk)
    .bind(placed * talk)
    .bind(script)
    .execute(db)
    .await?;
    Ok(())
}

#[derive(Default, sqlx::FromRow)]
struct CallSums {
    calls_in: Option<i64>,
    calls_out: Option<i64>,
    answered: Option<i64>,
    talk_ms_in: Option<i64>,
    talk_ms_out: Option<i64>,
    script_us: Option<i64>,
}

/// A leg to the telephone network that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TollLeg {
    /// Whose it was.
    pub tenant_id: TenantId,
    /// `num_…`, where a number placed it, or took the call that was transferred.
    pub number_id: Option<String>,
    /// Which host.
    pub host: String,
    /// From its answer to its end; 0 where nobody answered.
    pub ms: u64,
}

impl Store {
    /// Counts a leg to the telephone network.
    pub async fn count_toll(&self, leg: TollLeg) -> Result<(), StoreError> {
        let today = day(self.now());
        self.write_beside(move |db| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO tolls (tenant_id, day, number_id, host, legs, ms) VALUES ($1, $2, $3, $4, 1, $5)
                     ON CONFLICT (tenant_id, day, number_id, host) DO UPDATE
                     SET legs = tolls.legs + 1, ms = tolls.ms + excluded.ms",
                )
                .bind(&leg.tenant_id)
                .bind(today)
                .bind(leg.number_id.unwrap_or_default())
                .bind(&leg.host)
                .bind(columns::column(leg.ms))
                .execute(db)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Milliseconds of talk to the telephone network today, of the whole tenant and of one number.
    pub async fn tolls_today(&self, tenant: &TenantId, number: Option<&str>) -> Result<(u64, u64), StoreError> {
        let (all, own): (Option<i64>, Option<i64>) = sqlx::query_as(
            "SELECT CAST(SUM(ms) AS BIGINT), CAST(SUM(CASE WHEN number_id = $3 THEN ms ELSE 0 END) AS BIGINT)
             FROM tolls WHERE tenant_id = $1 AND day = $2",
        )
        .bind(tenant)
        .bind(day(self.now()))
        .bind(number.unwrap_or_default())
        .fetch_one(self.readers())
        .await?;
        let sum = |value: Option<i64>| columns::count64(value.unwrap_or(0));
        Ok((sum(all), sum(own)))
    }

    /// What a tenant has used from the day of `from` to the day of `to`, both included; at most a year.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] where the times do not fit.
    pub async fn usage(&self, tenant: &TenantId, from: UnixMs, to: UnixMs) -> Result<Usage, StoreError> {
        let (first, last) = (day(from), day(to));
        if last < first {
            return Err(StoreError::Invalid(vec![FieldError::new("to", "out_of_range", "must not be before from")]));
        }
        if last - first >= MAX_DAYS {
            let message = format!("at most {MAX_DAYS} days at a time");
            return Err(StoreError::Invalid(vec![FieldError::new("from", "out_of_range", message)]));
        }
        let calls = sqlx::query_as::<_, CallSums>(
            "SELECT CAST(SUM(calls_in) AS BIGINT) AS calls_in, CAST(SUM(calls_out) AS BIGINT) AS calls_out,
                    CAST(SUM(answered) AS BIGINT) AS answered, CAST(SUM(talk_ms_in) AS BIGINT) AS talk_ms_in,
                    CAST(SUM(talk_ms_out) AS BIGINT) AS talk_ms_out, CAST(SUM(script_us) AS BIGINT) AS script_us
             FROM usage WHERE tenant_id = $1 AND day >= $2 AND day <= $3",
        )
        .bind(tenant)
        .bind(first)
        .bind(last)
        .fetch_one(self.readers())
        .await?;
        let tolls: (Option<i64>, Option<i64>) = sqlx::query_as(
            "SELECT CAST(SUM(legs) AS BIGINT), CAST(SUM(ms) AS BIGINT) FROM tolls
             WHERE tenant_id = $1 AND day >= $2 AND day <= $3",
        )
        .bind(tenant)
        .bind(first)
        .bind(last)
        .fetch_one(self.readers())
        .await?;
        let sum = |value: Option<i64>| columns::count64(value.unwrap_or(0));
        Ok(Usage {
            from: UnixMs(first * DAY_MS),
            to: UnixMs((last + 1) * DAY_MS),
            calls_in: sum(calls.calls_in),
            calls_out: sum(calls.calls_out),
            answered: sum(calls.answered),
            talk_ms_in: sum(calls.talk_ms_in),
            talk_ms_out: sum(calls.talk_ms_out),
            outbound_legs: sum(tolls.0),
            outbound_ms: sum(tolls.1),
            script_us: sum(calls.script_us),
            storage: self.storage(tenant).await?,
        })
    }

    /// What a tenant keeps now.
    pub async fn storage(&self, tenant: &TenantId) -> Result<Storage, StoreError> {
        let one = async |sql: &'static str| -> Result<u64, StoreError> {
            let value: Option<i64> = sqlx::query_scalar(sql).bind(tenant).fetch_one(self.readers()).await?;
            Ok(columns::count64(value.unwrap_or(0)))
        };
        Ok(Storage {
            scripts: one("SELECT COUNT(*) FROM scripts WHERE tenant_id = $1 AND deleted_at IS NULL").await?,
            component_bytes: one("SELECT CAST(SUM(size) AS BIGINT) FROM versions WHERE tenant_id = $1").await?,
            recording_bytes: one("SELECT CAST(SUM(size) AS BIGINT) FROM recordings WHERE tenant_id = $1").await?,
        })
    }
}
