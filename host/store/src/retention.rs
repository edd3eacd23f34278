//! How long things are kept: a rule per tenant, and per number where one has its own; without a rule, for ever. What is
//! older is swept away in small steps, so that calls and deliveries do not notice; several hosts may sweep at once.
//!
//! A rule's time counts from the beginning of a call. What a rule takes away: *recordings* with their files, *tapes*
//! with the SIP messages, *deliveries* with their attempts, or *calls* with everything about them. Captures of packets are
//! kept as long as recordings; they lie with the host that made them, which asks ([`Store::is_outlived`]).

use crate::dialect::Dialect;
use crate::writer::Db;
use crate::{Actor, FieldError, Store, StoreError, TenantId, UnixMs, audit, columns};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Calls in one step, which is one transaction.
const STEP: i64 = 200;
/// The shortest that deliveries and whole calls are kept: the ladder of attempts is over by then.
const MIN_DELIVERIES_DAYS: u32 = 7;
const MAX_DAYS: u32 = 36_500;
const DAY_MS: i64 = 86_400_000;

/// Days that things are kept; none is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Recordings and captures of packets, 1 or more.
    pub recordings_days: Option<u32>,
    /// Tapes of scripts and SIP messages, 1 or more.
    pub tapes_days: Option<u32>,
    /// Deliveries with their attempts, 7 or more.
    pub deliveries_days: Option<u32>,
    /// Calls with everything about them, 7 or more.
    pub calls_days: Option<u32>,
}

/// A rule and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetentionRule {
    /// `num_…`; none for all numbers without a rule of their own.
    pub number_id: Option<String>,
    /// How long.
    #[serde(flatten)]
    pub keep: Retention,
}

/// What a sweep took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Calls that lost something, or everything.
    pub calls: u64,
    /// Events without a call.
    pub events: u64,
    /// Whether something is left for the next sweep.
    pub more: bool,
}

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Recordings,
    Tapes,
    Deliveries,
    Calls,
}

impl Purpose {
    /// Calls first: nothing is done for one that goes as a whole.
    const ALL: [Self; 4] = [Self::Calls, Self::Recordings, Self::Tapes, Self::Deliveries];

    const fn name(self) -> &'static str {
        match self {
            Self::Recordings => "recordings",
            Self::Tapes => "tapes",
            Self::Deliveries => "deliveries",
            Self::Calls => "calls",
        }
    }

    const fn days(self, keep: &Retention) -> Option<u32> {
        match self {
            Self::Recordings => keep.recordings_days,
            Self::Tapes => keep.tapes_days,
            Self::Deliveries => keep.deliveries_days,
            Self::Calls => keep.calls_days,
        }
    }

    const fn takes_recordings(self) -> bool {
        matches!(self, Self::Recordings | Self::Calls)
    }
}

impl Retention {
    fn check(&self) -> Result<(), StoreError> {
        let mut wrong = Vec::new();
        for (path, days, least) in [
            ("recordings_days", self.recordings_days, 1),
            ("tapes_days", self.tapes_days, 1),
            ("deliveries_days", self.deliveries_days, MIN_DELIVERIES_DAYS),
            ("calls_days", self.calls_days, MIN_DELIVERIES_DAYS),
        ] {
            if days.is_some_and(|days| !(least..=MAX_DAYS).contains(&days)) {
                wrong.push(FieldError::new(path, "out_of_range", format!("{least} to {MAX_DAYS} days")));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(StoreError::Invalid(wrong)) }
    }
}

/// A rule at work for one purpose.
#[derive(Clone, Debug)]
struct Broom {
    tenant: TenantId,
    /// Empty for all numbers without a rule of their own.
    number: String,
    purpose: Purpose,
    /// What began before goes.
    before: UnixMs,
}

/// How far a broom has come.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    at: UnixMs,
    call: String,
}

impl Mark {
    fn start() -> Self {
        Self { at: UnixMs(i64::MIN), call: String::new() }
    }
}

/// The next calls of a broom, by time.
const OF_NUMBER: &str = "SELECT id, created_at FROM calls
    WHERE tenant_id = $1 AND number_id = $2 AND (created_at, id) > ($3, $4) AND created_at < $5
    ORDER BY created_at, id LIMIT $6";
const OF_OTHERS: &str = "SELECT id, created_at FROM calls
    WHERE tenant_id = $1 AND (created_at, id) > ($3, $4) AND created_at < $5
      AND (number_id IS NULL OR number_id NOT IN
           (SELECT number_id FROM retention WHERE tenant_id = $1 AND number_id <> $2))
    ORDER BY created_at, id LIMIT $6";

/// What of a call goes, in this order. The tenant is `$1`, the call `$2`.
const DELIVERIES: [&str; 2] = [
    "DELETE FROM attempts WHERE tenant_id = $1 AND delivery_id IN (SELECT id FROM deliveries WHERE tenant_id = $1
         AND event_id IN (SELECT id FROM events WHERE tenant_id = $1 AND call_id = $2))",
    "DELETE FROM deliveries WHERE tenant_id = $1
         AND event_id IN (SELECT id FROM events WHERE tenant_id = $1 AND call_id = $2)",
];
const RECORDINGS: &str = "DELETE FROM recordings WHERE tenant_id = $1 AND call_id = $2";
const TAPE: &str = "UPDATE call_details SET tape = NULL, signalling = NULL WHERE tenant_id = $1 AND call_id = $2";
const REST: [&str; 3] = [
    "DELETE FROM events WHERE tenant_id = $1 AND call_id = $2",
    "DELETE FROM call_details WHERE tenant_id = $1 AND call_id = $2",
    "DELETE FROM calls WHERE tenant_id = $1 AND id = $2 AND state = 'completed'",
];

/// Takes from one call what the purpose says.
async fn take(db: &mut Db, tenant: &TenantId, call: &str, purpose: Purpose) -> Result<(), StoreError> {
    let mut statements = Vec::new();
    if matches!(purpose, Purpose::Deliveries | Purpose::Calls) {
        statements.extend(DELIVERIES);
    }
    if purpose.takes_recordings() {
        statements.push(RECORDINGS);
    }
    match purpose {
        Purpose::Tapes => statements.push(TAPE),
        Purpose::Calls => statements.extend(REST),
        Purpose::Recordings | Purpose::Deliveries => {}
    }
    for sql in statements {
        sqlx::query(sql).bind(tenant).bind(call).execute(&mut *db).await?;
    }
    Ok(())
}

/// Whether the call is over and nothing of it is on its way.
async fn settled(db: &mut Db, tenant: &TenantId, call: &str) -> Result<(), StoreError> {
    let state: Option<String> = sqlx::query_scalar("SELECT state FROM calls WHERE tenant_id = $1 AND id = $2")
        .bind(tenant)
        .bind(call)
        .fetch_optional(&mut *db)
        .await?;
    let state = state.ok_or_else(|| StoreError::not_found("call", call))?;
    if state != "completed" {
        let message = "the call runs: end it first (POST /v1/calls/{call}/hangup)".to_owned();
        return Err(StoreError::Conflict { code: "call_active", message });
    }
    for (what, sql) in [
        (
            "a delivery",
            "SELECT d.id FROM events e JOIN deliveries d ON d.tenant_id = e.tenant_id AND d.event_id = e.id
             WHERE e.tenant_id = $1 AND e.call_id = $2 AND d.finished_at IS NULL LIMIT 1",
        ),
        (
            "a recording",
            "SELECT id FROM recordings WHERE tenant_id = $1 AND call_id = $2 AND state = 'pending' LIMIT 1",
        ),
    ] {
        let found: Option<String> = sqlx::query_scalar(sql).bind(tenant).bind(call).fetch_optional(&mut *db).await?;
        if let Some(id) = found {
            let message = format!("{what} of the call, {id}, is on its way: try again when it has ended");
            return Err(StoreError::Conflict { code: "call_unsettled", message });
        }
    }
    Ok(())
}

async fn mark(db: &mut Db, broom: &Broom, tail: &str) -> Result<Option<Mark>, StoreError> {
    let sql = format!("SELECT at, call_id FROM sweeps WHERE tenant_id = $1 AND number_id = $2 AND purpose = $3 {tail}");
    let row: Option<(UnixMs, String)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(&broom.tenant)
        .bind(&broom.number)
        .bind(broom.purpose.name())
        .fetch_optional(db)
        .await?;
    Ok(row.map(|(at, call)| Mark { at, call }))
}

/// Takes the step from one mark to the next, unless another host has taken it or is taking it.
async fn step(db: &mut Db, broom: &Broom, from: &Mark, to: &Mark, calls: &[String]) -> Result<bool, StoreError> {
    let (tenant, number, purpose) = (&broom.tenant, &broom.number, broom.purpose.name());
    let begin = Mark::start();
    sqlx::query(
        "INSERT INTO sweeps (tenant_id, number_id, purpose, at, call_id) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
    )
    .bind(tenant)
    .bind(number)
    .bind(purpose)
    .bind(begin.at)
    .bind(begin.call)
    .execute(&mut *db)
    .await?;
    let skip = Dialect::of(db).skip_locked();
    if mark(db, broom, skip).await?.as_ref() != Some(from) {
        return Ok(false);
    }
    for call in calls {
        take(db, tenant, call, broom.purpose).await?;
    }
    sqlx::query("UPDATE sweeps SET at = $1, call_id = $2 WHERE tenant_id = $3 AND number_id = $4 AND purpose = $5")
        .bind(to.at)
        .bind(&to.call)
        .bind(tenant)
        .bind(number)
        .bind(purpose)
        .execute(db)
        .await?;
    Ok(true)
}

/// Takes away events without a call; how many.
async fn take_alone(db: &mut Db, tenant: &TenantId, before: UnixMs) -> Result<u64, StoreError> {
    let events: Vec<String> = sqlx::query_scalar(
        "SELECT id FROM events WHERE tenant_id = $1 AND call_id IS NULL AND created_at < $2
         ORDER BY created_at, id LIMIT $3",
    )
    .bind(tenant)
    .bind(before)
    .bind(STEP)
    .fetch_all(&mut *db)
    .await?;
    for event in &events {
        for sql in [
            "DELETE FROM attempts WHERE tenant_id = $1 AND delivery_id IN
                 (SELECT id FROM deliveries WHERE tenant_id = $1 AND event_id = $2)",
            "DELETE FROM deliveries WHERE tenant_id = $1 AND event_id = $2",
            "DELETE FROM events WHERE tenant_id = $1 AND id = $2",
        ] {
            sqlx::query(sql).bind(tenant).bind(event).execute(&mut *db).await?;
        }
    }
    Ok(events.len() as u64)
}

type RuleRow = (TenantId, String, String);

impl Store {
    /// The rules of a tenant.
    ///
    /// # Errors
    /// What the database says.
    pub async fn retention(&self, tenant: &TenantId) -> Result<Vec<RetentionRule>, StoreError> {
        let rows: Vec<RuleRow> = sqlx::query_as(
            "SELECT tenant_id, number_id, rule FROM retention WHERE tenant_id = $1 ORDER BY number_id LIMIT 10000",
        )
        .bind(tenant)
        .fetch_all(self.readers())
        .await?;
        let rule = |(_, number, rule): RuleRow| {
            let number_id = Some(number).filter(|number| !number.is_empty());
            Ok(RetentionRule { number_id, keep: columns::from_json("retention.rule", &rule)? })
        };
        rows.into_iter().map(rule).collect()
    }

    /// Sets a rule: of a number, or of all that have none; none takes the rule away. What it says counts from the next
    /// sweep, for what is there already too.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for times that are too short or too long, [`StoreError::NotFound`] for the number.
    pub async fn put_retention(
        &self,
        tenant: &TenantId,
        number: Option<&str>,
        keep: Option<Retention>,
        actor: &Actor,
    ) -> Result<(), StoreError> {
        if let Some(keep) = &keep {
            keep.check()?;
        }
        let rule = keep.map(|keep| columns::to_json(&keep)).transpose()?;
        let (t, n, actor, now) = (tenant.clone(), number.unwrap_or("").to_owned(), actor.clone(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                if !n.is_empty() {
                    sqlx::query("SELECT id FROM numbers WHERE tenant_id = $1 AND id = $2")
                        .bind(&t)
                        .bind(&n)
                        .fetch_optional(&mut *db)
                        .await?
                        .ok_or_else(|| StoreError::not_found("number", &n))?;
                }
                match &rule {
                    Some(rule) => {
                        sqlx::query(
                            "INSERT INTO retention (tenant_id, number_id, rule, updated_at) VALUES ($1, $2, $3, $4)
                             ON CONFLICT (tenant_id, number_id) DO UPDATE
                             SET rule = excluded.rule, updated_at = excluded.updated_at",
                        )
                        .bind(&t)
                        .bind(&n)
                        .bind(rule)
                        .bind(now)
                        .execute(&mut *db)
                        .await?;
                    }
                    None => {
                        sqlx::query("DELETE FROM retention WHERE tenant_id = $1 AND number_id = $2")
                            .bind(&t)
                            .bind(&n)
                            .execute(&mut *db)
                            .await?;
                    }
                }
                // Whose calls a rule is for may have changed for the others too.
                sqlx::query("DELETE FROM sweeps WHERE tenant_id = $1").bind(&t).execute(&mut *db).await?;
                let target = if n.is_empty() { t.as_str() } else { n.as_str() };
                let detail = serde_json::json!({ "keep": keep });
                audit::record(db, &t, now, &actor, "retention.changed", target, detail).await
            })
        })
        .await
    }

    /// Takes away one call that is over, with everything about it, because somebody asks for it (GDPR, article 17).
    /// `remove` is as in [`Store::sweep`]. The audit log keeps that it was done, and by whom.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] while it runs (`call_active`) or while a delivery or a
    /// recording of it is on its way (`call_unsettled`); [`StoreError::Unavailable`] when a file cannot be removed: the
    /// call is still there then.
    pub async fn erase_call<F, R>(
        &self,
        tenant: &TenantId,
        call: &str,
        mut remove: F,
        actor: &Actor,
    ) -> Result<(), StoreError>
    where
        F: FnMut(String) -> R + Send,
        R: Future<Output = bool> + Send,
    {
        settled(&mut *self.readers().acquire().await?, tenant, call).await?;
        for recording in self.recordings(tenant, call).await? {
            if !remove(recording.location).await {
                return Err(StoreError::Unavailable(format!("the recording {} cannot be removed", recording.id)));
            }
        }
        let (tenant, call, actor, now) = (tenant.clone(), call.to_owned(), actor.clone(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                // Somebody may have asked for a delivery again meanwhile.
                settled(db, &tenant, &call).await?;
                take(db, &tenant, &call, Purpose::Calls).await?;
                audit::record(db, &tenant, now, &actor, "call.erased", &call, serde_json::json!({})).await
            })
        })
        .await
    }

    /// Sweeps away what the rules of all tenants say, up to about so many calls. `remove` takes a recording's file away
    /// by its location and says whether it is gone; while one is not, its call waits. Call it every few minutes, sooner
    /// when there is more.
    ///
    /// # Errors
    /// What the database says; what was swept before stays so.
    pub async fn sweep<F, R>(&self, most: u64, mut remove: F) -> Result<Swept, StoreError>
    where
        F: FnMut(String) -> R + Send,
        R: Future<Output = bool> + Send,
    {
        let rules: Vec<RuleRow> =
            sqlx::query_as("SELECT tenant_id, number_id, rule FROM retention ORDER BY tenant_id, number_id")
                .fetch_all(self.readers())
                .await?;
        let mut swept = Swept::default();
        for (tenant, number, rule) in rules {
            let keep: Retention = columns::from_json("retention.rule", &rule)?;
            for purpose in Purpose::ALL {
                let Some(days) = purpose.days(&keep) else { continue };
                let before = self.now().plus(-i64::from(days) * DAY_MS);
                let broom = Broom { tenant: tenant.clone(), number: number.clone(), purpose, before };
                let (calls, more) = self.sweep_with(&broom, most.saturating_sub(swept.calls), &mut remove).await?;
                swept.calls += calls;
                swept.more |= more;
                let days = [keep.deliveries_days, keep.calls_days].into_iter().flatten().min();
                if let (Purpose::Deliveries, "", Some(days)) = (purpose, number.as_str(), days) {
                    let (t, before) = (tenant.clone(), self.now().plus(-i64::from(days) * DAY_MS));
                    let gone =
                        self.write_beside(move |db| Box::pin(async move { take_alone(db, &t, before).await })).await?;
                    swept.events += gone;
                    swept.more |= gone >= STEP.unsigned_abs();
                }
                self.note_sweep(&broom, calls).await?;
            }
        }
        Ok(swept)
    }

    /// Whether what was recorded of a call, by whatever means, is not to be kept any longer: because of its age, or because
    /// no such call is in the books (any more).
    ///
    /// # Errors
    /// What the database says.
    pub async fn is_outlived(&self, call: &str) -> Result<bool, StoreError> {
        let row: Option<(TenantId, Option<String>, UnixMs, String)> =
            sqlx::query_as("SELECT tenant_id, number_id, created_at, state FROM calls WHERE id = $1")
                .bind(call)
                .fetch_optional(self.readers())
                .await?;
        let Some((tenant, number, created_at, state)) = row else { return Ok(true) };
        let rules = self.retention(&tenant).await?;
        let own = rules.iter().find(|rule| rule.number_id.is_some() && rule.number_id == number);
        let rule = own.or_else(|| rules.iter().find(|rule| rule.number_id.is_none()));
        let days = rule.and_then(|rule| [rule.keep.recordings_days, rule.keep.calls_days].into_iter().flatten().min());
        let before = |days| created_at < self.now().plus(-i64::from(days) * DAY_MS);
        Ok(state == "completed" && days.is_some_and(before))
    }

    /// Up to so many calls of one rule; how many, and whether more are left.
    async fn sweep_with<F, R>(&self, broom: &Broom, most: u64, remove: &mut F) -> Result<(u64, bool), StoreError>
    where
        F: FnMut(String) -> R + Send,
        R: Future<Output = bool> + Send,
    {
        let mut done = 0;
        loop {
            let from = mark(&mut *self.readers().acquire().await?, broom, "").await?.unwrap_or_else(Mark::start);
            let rows: Vec<(String, UnixMs)> =
                sqlx::query_as(if broom.number.is_empty() { OF_OTHERS } else { OF_NUMBER })
                    .bind(&broom.tenant)
                    .bind(&broom.number)
                    .bind(from.at)
                    .bind(&from.call)
                    .bind(broom.before)
                    .bind(STEP)
                    .fetch_all(self.readers())
                    .await?;
            let Some((last, at)) = rows.last() else { return Ok((done, false)) };
            if done >= most {
                return Ok((done, true));
            }
            let to = Mark { at: *at, call: last.clone() };
            let calls: Vec<String> = rows.into_iter().map(|(call, _)| call).collect();
            if broom.purpose.takes_recordings() {
                for call in &calls {
                    for recording in self.recordings(&broom.tenant, call).await? {
                        if !remove(recording.location).await {
                            return Ok((done, true));
                        }
                    }
                }
            }
            let (count, own) = (calls.len() as u64, broom.clone());
            let taken =
                self.write_beside(move |db| Box::pin(async move { step(db, &own, &from, &to, &calls).await })).await?;
            if !taken {
                // Another host is at it.
                return Ok((done, false));
            }
            done += count;
        }
    }

    async fn note_sweep(&self, broom: &Broom, calls: u64) -> Result<(), StoreError> {
        if calls == 0 {
            return Ok(());
        }
        let (broom, now) = (broom.clone(), self.now());
        self.write_beside(move |db| {
            Box::pin(async move {
                let target = if broom.number.is_empty() { broom.tenant.as_str() } else { broom.number.as_str() };
                let detail = serde_json::json!({
                    "what": broom.purpose.name(), "calls": calls, "before": broom.before,
                });
                audit::record(db, &broom.tenant, now, &Actor::system(), "retention.swept", target, detail).await
            })
        })
        .await
    }
}
