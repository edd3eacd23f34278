//! The books of every call: begun at the INVITE, listed, read.

use crate::document::{ScriptUsed, address};
use crate::statement::Statement;
use crate::writer::Db;
use crate::{Page, PageRequest, Store, StoreError, TenantId, UnixMs, columns, outbox, webhooks};
use callbox_dialogue::call::{Direction, Party, Transport};
use callbox_dialogue::record::TimelineEntry;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Whether a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// Ringing or talking.
    Active,
    /// Over; its record is final.
    Completed,
}

/// What is known when a call begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallStart {
    /// `call_…`, from [`crate::id::new`].
    pub id: String,
    /// Whose call it is.
    pub tenant_id: TenantId,
    /// The host that runs it; [`Store::start_host`] of the same name closes it
    /// when it is left over.
    pub host: String,
    /// Who placed it.
    pub direction: Direction,
    /// How the other party is connected.
    pub transport: Transport,
    /// Who calls.
    pub caller: Party,
    /// Who is called.
    pub callee: Party,
    /// `num_…`
    pub number_id: Option<String>,
    /// `trk_…`: by which trunk it came, or is placed first.
    #[serde(default)]
    pub trunk_id: Option<String>,
    /// Where of the trunk: the source of the INVITE, or the address it is sent to.
    #[serde(default)]
    pub trunk_address: Option<String>,
    /// What is to talk.
    pub script: Option<ScriptUsed>,
    /// Ties calls together.
    pub relation_id: Option<String>,
    /// The customer's own name for the call.
    pub external_id: Option<String>,
    /// The `Call-ID` header.
    pub sip_call_id: Option<String>,
    /// JSON given by whoever placed it.
    pub parameters: Option<Value>,
    /// When.
    pub created_at: UnixMs,
}

/// A call as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallSummary {
    /// `call_…`
    pub id: String,
    /// Whether it runs.
    pub state: CallState,
    /// `inbound` or `outbound`.
    #[schema(value_type = String)]
    pub direction: Direction,
    /// The caller's number or URI.
    pub from: String,
    /// The callee's number or URI.
    pub to: String,
    /// `num_…`
    pub number_id: Option<String>,
    /// `scr_…`
    pub script_id: Option<String>,
    /// 1, 2, 3 …
    pub script_version: Option<u32>,
    /// Ties calls together.
    pub relation_id: Option<String>,
    /// The customer's own name for the call.
    pub external_id: Option<String>,
    /// It came in, or was placed.
    pub created_at: UnixMs,
    /// It was answered.
    pub answered_at: Option<UnixMs>,
    /// It was over.
    pub ended_at: Option<UnixMs>,
    /// What came of it.
    pub outcome: Option<String>,
    /// Why it ended.
    pub end_reason: Option<String>,
    /// In the tenant's words.
    pub disposition: Option<String>,
}

/// One call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Call {
    /// As it is listed.
    #[serde(flatten)]
    pub summary: CallSummary,
    /// What was known when it began ([`CallStart`]).
    #[schema(value_type = Object)]
    pub start: Value,
    /// The document of `call.completed` ([`crate::document::CallDocument`]), once
    /// it is over.
    #[schema(value_type = Option<Object>)]
    pub record: Option<Box<RawValue>>,
}

/// Which calls. All given conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Of this number.
    pub number_id: Option<String>,
    /// With this script.
    pub script_id: Option<String>,
    /// Placed by them or by us.
    pub direction: Option<Direction>,
    /// Running or over.
    pub state: Option<CallState>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Tied to this.
    pub relation_id: Option<String>,
    /// With the customer's own name.
    pub external_id: Option<String>,
    /// Created then or later.
    pub created_from: Option<UnixMs>,
    /// Created before.
    pub created_to: Option<UnixMs>,
}

/// Something that happened in a call, as it was or will be delivered.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CallEvent {
    /// `evt_…`
    pub id: String,
    /// Rises by one per call.
    pub sequence: Option<i64>,
    /// `call.completed` …
    #[serde(rename = "type")]
    pub kind: String,
    /// When.
    pub created_at: UnixMs,
    /// The whole envelope, as receivers get it.
    #[schema(value_type = Object)]
    pub body: Box<RawValue>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    state: String,
    direction: String,
    from_address: String,
    to_address: String,
    number_id: Option<String>,
    script_id: Option<String>,
    script_version: Option<i64>,
    relation_id: Option<String>,
    external_id: Option<String>,
    created_at: UnixMs,
    answered_at: Option<UnixMs>,
    ended_at: Option<UnixMs>,
    outcome: Option<String>,
    end_reason: Option<String>,
    disposition: Option<String>,
}

impl Row {
    fn read(self) -> Result<CallSummary, StoreError> {
        Ok(CallSummary {
            id: self.id,
            state: columns::word("calls.state", &self.state)?,
            direction: columns::word("calls.direction", &self.direction)?,
            from: self.from_address,
            to: self.to_address,
            number_id: self.number_id,
            script_id: self.script_id,
            script_version: self.script_version.map(columns::count32),
            relation_id: self.relation_id,
            external_id: self.external_id,
            created_at: self.created_at,
            answered_at: self.answered_at,
            ended_at: self.ended_at,
            outcome: self.outcome,
            end_reason: self.end_reason,
            disposition: self.disposition,
        })
    }
}

const SUMMARY: &str = "SELECT id, state, direction, from_address, to_address, number_id, script_id, script_version,
    relation_id, external_id, created_at, answered_at, ended_at, outcome, end_reason, disposition FROM calls
    WHERE tenant_id = ";

/// Long things that callers choose are kept whole in `start`; columns are bounded.
fn bounded(text: &str) -> &str {
    let end = text.char_indices().map(|(at, _)| at).nth(255).unwrap_or(text.len());
    &text[..end]
}

/// Writes the row of a call that begins. Doing it again changes nothing; true when
/// the row is new.
pub(crate) async fn insert(db: &mut Db, start: &CallStart) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO calls (id, tenant_id, host, state, direction, from_address, to_address, number_id, script_id,
                            script_version, relation_id, external_id, created_at, last_sequence, start)
         VALUES ($1, $2, $3, 'active', $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, $13)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(&start.id)
    .bind(&start.tenant_id)
    .bind(&start.host)
    .bind(columns::as_word(&start.direction)?)
    .bind(bounded(address(&start.caller)))
    .bind(bounded(address(&start.callee)))
    .bind(&start.number_id)
    .bind(start.script.as_ref().map(|s| s.id.as_str()))
    .bind(start.script.as_ref().map(|s| i64::from(s.version)))
    .bind(&start.relation_id)
    .bind(&start.external_id)
    .bind(start.created_at)
    .bind(columns::to_json(start)?)
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The `data` of `call.started` and `call.answered`.
fn brief(start: &CallStart, answered_at: Option<UnixMs>) -> Value {
    serde_json::json!({
        "call_id": start.id,
        "relation_id": start.relation_id,
        "external_id": start.external_id,
        "direction": start.direction,
        "transport": start.transport,
        "from": address(&start.caller),
        "to": address(&start.callee),
        "number_id": start.number_id,
        "trunk_id": start.trunk_id,
        "script": start.script,
        "times": { "created": start.created_at, "answered": answered_at },
    })
}

/// The query of a list.
pub(crate) fn search(tenant: &TenantId, filter: &CallFilter, page: &PageRequest) -> Result<Statement, StoreError> {
    let mut sql = Statement::new("");
    sql.with(SUMMARY, tenant.as_str());
    let words = [
        (" AND number_id = ", filter.number_id.clone()),
        (" AND script_id = ", filter.script_id.clone()),
        (" AND direction = ", filter.direction.map(|d| columns::as_word(&d)).transpose()?),
        (" AND outcome = ", filter.outcome.clone()),
        (" AND relation_id = ", filter.relation_id.clone()),
        (" AND external_id = ", filter.external_id.clone()),
    ];
    match filter.state {
        // Written out: there is an index of these alone.
        Some(CallState::Active) => _ = sql.and(" AND state = 'active'"),
        Some(CallState::Completed) => _ = sql.and(" AND state = 'completed'"),
        None => {}
    }
    for (condition, value) in words {
        if let Some(value) = value {
            sql.with(condition, value.as_str());
        }
    }
    if let Some(from) = filter.created_from {
        sql.with(" AND created_at >= ", from);
    }
    if let Some(to) = filter.created_to {
        sql.with(" AND created_at < ", to);
    }
    if let Some(cursor) = &page.cursor {
        let (at, id) = read_cursor(cursor)?;
        sql.with(" AND (created_at, id) < (", at).with(", ", id.as_str()).and(")");
    }
    sql.with(" ORDER BY created_at DESC, id DESC LIMIT ", page.rows());
    Ok(sql)
}

impl Store {
    /// Opens the books of a call: the row, and `call.started` for whoever wants it; whether anybody wants its turns
    /// (`call.turn`). Until this succeeds the call is not accepted: answer an error with 503.
    ///
    /// # Errors
    /// What the database says.
    pub async fn start_call(&self, start: CallStart) -> Result<bool, StoreError> {
        if !crate::id::is("call", &start.id) {
            return Err(StoreError::Internal(format!("not a call id: {:?}", start.id)));
        }
        let (told, turns) = self
            .write_beside(move |db| {
                Box::pin(async move {
                    const STARTED: &str = "call.started";
                    let (tenant, call, at) = (&start.tenant_id, start.id.as_str(), start.created_at);
                    let begun = insert(db, &start).await?;
                    let [started, turns] = webhooks::subscribers_of(db, tenant, [STARTED, "call.turn"]).await?;
                    let told = if begun {
                        let data = brief(&start, None).to_string();
                        outbox::tell_them(db, tenant, call, STARTED, &data, at, &started).await?
                    } else {
                        None
                    };
                    Ok((told.is_some(), !turns.is_empty()))
                })
            })
            .await?;
        if told {
            self.wake_outbox();
        }
        Ok(turns)
    }

    /// The call was answered: the row, and `call.answered` for whoever wants it.
    pub async fn mark_answered(&self, start: &CallStart, at: UnixMs) -> Result<(), StoreError> {
        let start = start.clone();
        let wake = self
            .write_beside(move |db| {
                Box::pin(async move {
                    let changed = sqlx::query(
                        "UPDATE calls SET answered_at = $1
                         WHERE tenant_id = $2 AND id = $3 AND answered_at IS NULL AND state = 'active'",
                    )
                    .bind(at)
                    .bind(&start.tenant_id)
                    .bind(&start.id)
                    .execute(&mut *db)
                    .await?;
                    if changed.rows_affected() == 0 {
                        return Ok(false);
                    }
                    let data = brief(&start, Some(at)).to_string();
                    Ok(outbox::tell(db, &start.tenant_id, &start.id, "call.answered", &data, at).await?.is_some())
                })
            })
            .await?;
        if wake {
            self.wake_outbox();
        }
        Ok(())
    }

    /// Another event of a call (`call.transferred`, `call.turn`,
    /// `call.recording.ready` …) for whoever wants it. The id, or none when nobody does.
    pub async fn emit_call_event(
        &self,
        tenant: &TenantId,
        call: &str,
        kind: &'static str,
        data: &Value,
    ) -> Result<Option<String>, StoreError> {
        let (t, c, data, now) = (tenant.clone(), call.to_owned(), data.to_string(), self.now());
        let id = self
            .write_beside(move |db| Box::pin(async move { outbox::tell(db, &t, &c, kind, &data, now).await }))
            .await?;
        if id.is_some() {
            self.wake_outbox();
        }
        Ok(id)
    }

    /// Calls, the newest first.
    pub async fn calls(
        &self,
        tenant: &TenantId,
        filter: &CallFilter,
        page: &PageRequest,
    ) -> Result<Page<CallSummary>, StoreError> {
        let rows: Vec<Row> = search(tenant, filter, page)?.fetch_all(self.readers()).await?;
        let calls = rows.into_iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(page, calls, |c| format!("{}.{}", c.created_at.0, c.id)))
    }

    /// One call, with its record once it is over.
    pub async fn call(&self, tenant: &TenantId, call: &str) -> Result<Call, StoreError> {
        let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(format!("{SUMMARY}$1 AND id = $2")))
            .bind(tenant)
            .bind(call)
            .fetch_optional(self.readers())
            .await?;
        let summary = row.ok_or_else(|| StoreError::not_found("call", call))?.read()?;
        let (start, record): (String, Option<String>) = sqlx::query_as(
            "SELECT c.start, d.record FROM calls c LEFT JOIN call_details d ON d.call_id = c.id
             WHERE c.tenant_id = $1 AND c.id = $2",
        )
        .bind(tenant)
        .bind(call)
        .fetch_one(self.readers())
        .await?;
        let record = record.map(RawValue::from_string).transpose();
        Ok(Call {
            summary,
            start: columns::from_json("calls.start", &start)?,
            record: record.map_err(|error| StoreError::unreadable("call_details.record", error))?,
        })
    }

    /// What happened in a finished call, in order; empty while it runs.
    pub async fn timeline(&self, tenant: &TenantId, call: &str) -> Result<Vec<TimelineEntry>, StoreError> {
        let text: Option<String> = self.detail(tenant, call, "d.timeline").await?;
        text.map_or_else(|| Ok(Vec::new()), |text| columns::from_json("call_details.timeline", &text))
    }

    /// The transcript of a finished call, as in its record; empty while it runs.
    pub async fn transcript(
        &self,
        tenant: &TenantId,
        call: &str,
    ) -> Result<Vec<callbox_dialogue::record::Turn>, StoreError> {
        #[derive(Deserialize)]
        struct Part {
            transcript: Vec<callbox_dialogue::record::Turn>,
        }
        let text: Option<String> = self.detail(tenant, call, "d.record").await?;
        let Some(text) = text else { return Ok(Vec::new()) };
        Ok(columns::from_json::<Part>("call_details.record", &text)?.transcript)
    }

    /// The tape of a finished call: every host call and its answer.
    pub async fn tape(&self, tenant: &TenantId, call: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.detail(tenant, call, "d.tape").await
    }

    /// The SIP messages of a finished call, JSON, where they were kept.
    pub async fn signalling(&self, tenant: &TenantId, call: &str) -> Result<Option<String>, StoreError> {
        self.detail(tenant, call, "d.signalling").await
    }

    async fn detail<T>(&self, tenant: &TenantId, call: &str, column: &'static str) -> Result<Option<T>, StoreError>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any> + Send + Unpin,
    {
        let sql = format!(
            "SELECT {column} FROM calls c LEFT JOIN call_details d ON d.call_id = c.id WHERE c.tenant_id = $1 AND c.id = $2"
        );
        sqlx::query_scalar::<_, Option<T>>(sqlx::AssertSqlSafe(sql))
            .bind(tenant)
            .bind(call)
            .fetch_optional(self.readers())
            .await?
            .ok_or_else(|| StoreError::not_found("call", call))
    }

    /// The events of a call, in order, with the bytes that receivers get.
    pub async fn call_events(&self, tenant: &TenantId, call: &str) -> Result<Vec<CallEvent>, StoreError> {
        let rows: Vec<EventRow> = sqlx::query_as(
            "SELECT id, sequence, type, created_at, body FROM events
             WHERE tenant_id = $1 AND call_id = $2 ORDER BY sequence LIMIT 1000",
        )
        .bind(tenant)
        .bind(call)
        .fetch_all(self.readers())
        .await?;
        rows.into_iter()
            .map(|(id, sequence, kind, created_at, body)| {
                let body =
                    String::from_utf8(body).map_err(|error| StoreError::unreadable("events.body", error)).and_then(
                        |t| RawValue::from_string(t).map_err(|error| StoreError::unreadable("events.body", error)),
                    )?;
                Ok(CallEvent { id, sequence, kind, created_at, body })
            })
            .collect()
    }

    /// Calls that run now, of one tenant.
    pub async fn active_calls(&self, tenant: &TenantId) -> Result<u32, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM calls WHERE state = 'active' AND tenant_id = $1")
            .bind(tenant)
            .fetch_one(self.readers())
            .await?;
        Ok(columns::count32(count))
    }
}

type EventRow = (String, Option<i64>, String, UnixMs, Vec<u8>);

fn read_cursor(cursor: &str) -> Result<(UnixMs, String), StoreError> {
    let (at, id) = cursor.split_once('.').ok_or(StoreError::InvalidCursor)?;
    let at = at.parse::<i64>().map_err(|_| StoreError::InvalidCursor)?;
    if crate::id::is("call", id) { Ok((UnixMs(at), id.to_owned())) } else { Err(StoreError::InvalidCursor) }
}
