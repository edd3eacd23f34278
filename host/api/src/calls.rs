//! Calls: placed, listed, read, ended.

use crate::Api;
use crate::extract::{AnyJson, Json, Path, Query, limit};
use crate::guard::Caller;
use crate::problem::Problem;
use crate::shapes;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use callbox_call::{LiveError, PlaceCall, Snapshot, Talker};
use callbox_dialogue::CallId;
use callbox_dialogue::call::Direction;
use callbox_store::calls::{Call, CallFilter, CallStart, CallState, CallSummary};
use callbox_store::document::CallDocument;
use callbox_store::{Page, PageRequest, StoreError, TenantId, UnixMs};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use utoipa::{IntoParams, ToSchema};

/// How long an answer waits for a call between two states: begun but not in the books yet, or over but not yet written down.
const BETWEEN: Duration = Duration::from_secs(5);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(15);
/// Longest target and names.
const TEXT: usize = 255;

/// A call to be placed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"to": "+4915112345678", "number_id": "num_…", "parameters": {"name": "Ada"}, "external_id": "order-42"}))]
pub(crate) struct Place {
    /// A number, for the tenant's trunks (where there is none, for the operator's SIP server); the user name of a SIP
    /// account, also as `sip:NAME@REALM`, for its telephones; or a SIP URI whose host the operator allows.
    #[schema(max_length = 255)]
    to: String,
    /// The number that calls: its script, fallback and recording; it is shown to the callee. This or `script_id`.
    #[serde(default)]
    number_id: Option<String>,
    /// The script that talks, without a number.
    #[serde(default)]
    script_id: Option<String>,
    /// That version of `script_id`; none for the published one.
    #[serde(default)]
    version: Option<u32>,
    /// By this trunk and no other, `trk_…`; none for the number's own, else the tenant's in their order.
    #[serde(default)]
    trunk_id: Option<String>,
    /// Any JSON, for the script.
    #[serde(default)]
    parameters: Option<Value>,
    /// Your own name for the call.
    #[serde(default)]
    #[schema(max_length = 255)]
    external_id: Option<String>,
    /// Ties calls together.
    #[serde(default)]
    #[schema(max_length = 255)]
    relation_id: Option<String>,
    /// Capture its packets, whatever its number says: `GET /v1/calls/{call}/pcap`.
    #[serde(default)]
    capture: bool,
}

impl Place {
    pub(crate) fn checked(self) -> Result<PlaceCall, Problem> {
        for (path, text) in [
            ("to", Some(&self.to)),
            ("external_id", self.external_id.as_ref()),
            ("relation_id", self.relation_id.as_ref()),
        ] {
            let Some(text) = text else { continue };
            if text.is_empty() || text.len() > TEXT || text.chars().any(char::is_control) {
                return Err(Problem::field(path, "invalid", format!("1 to {TEXT} bytes without control characters")));
            }
        }
        let by = match (self.number_id, self.script_id, self.version) {
            (Some(number), None, None) => Talker::Number(number),
            (None, Some(script), version) => Talker::Script(script, version),
            (Some(_), None, Some(_)) => {
                return Err(Problem::field("version", "invalid", "a version goes with script_id"));
            }
            (Some(_), Some(_), _) => {
                return Err(Problem::field("script_id", "invalid", "number_id or script_id, not both"));
            }
            (None, None, _) => return Err(Problem::field("number_id", "required", "number_id or script_id")),
        };
        Ok(PlaceCall {
            to: self.to,
            by,
            trunk: self.trunk_id,
            parameters: self.parameters.filter(|value| !value.is_null()),
            external_id: self.external_id,
            relation_id: self.relation_id,
            capture: self.capture,
            traceparent: None,
        })
    }
}

/// A call.
#[derive(Serialize, ToSchema)]
#[schema(as = Call)]
pub(crate) struct CallView {
    #[serde(flatten)]
    summary: CallSummary,
    /// What was known when it began, with the `parameters` it was placed with.
    #[schema(value_type = Object)]
    start: Value,
    /// What is known so far, and once the call is over the `data` of `call.completed`.
    #[schema(value_type = Option<shapes::CallRecord>)]
    record: Option<Box<RawValue>>,
}

impl From<Call> for CallView {
    fn from(call: Call) -> Self {
        Self { summary: call.summary, start: call.start, record: call.record }
    }
}

/// Place a call
///
/// Answers once the INVITE is on its way. What comes of it is in the call's record and in `call.completed`. Send an
/// `Idempotency-Key`, so that a request repeated after a broken connection does not call twice. Where the host sends
/// traces, that of the call is linked to the span that the header `traceparent` names.
#[utoipa::path(post, path = "/v1/calls", tag = "calls", security(("api_key" = ["calls:write"])),
    request_body = Place,
    responses(
        (status = 201, description = "On its way", body = CallView),
        (status = 403, description = "The key lacks the scope, or `target_not_allowed`: no trunk is for this number, there is no such \
            SIP account, or the operator does not allow this target; or `destination_not_allowed`: the tenant or the number may not call \
            numbers that begin so"),
        (status = 429, description = "The key asks too often, or the tenant may use no more: `calls_exceeded`, `call_rate_exceeded`, \
            `outbound_calls_exceeded`, `outbound_rate_exceeded`, `outbound_minutes_exceeded`; try again after `Retry-After` seconds"),
        (status = 409, description = "`number_busy`, `number_not_ready`, `trunk_busy`, `account_not_registered`, `not_published`, `unbound_names`, or the first request \
            with this Idempotency-Key still runs"),
        (status = 502, description = "`call_not_begun`: the network did not take it")))]
pub(crate) async fn place(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<Place>,
) -> Result<impl IntoResponse, Problem> {
    let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    let id = api.platform().place(&caller.tenant, PlaceCall { traceparent, ..body.checked()? }).await?;
    let call = find(&api, &caller.tenant, &id.0).await?.0;
    Ok((StatusCode::CREATED, [(LOCATION, format!("/v1/calls/{id}"))], Json(CallView::from(call))))
}

/// Which calls: all given conditions hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CallsQuery {
    /// Of this number.
    #[serde(default)]
    number_id: Option<String>,
    /// With this script.
    #[serde(default)]
    script_id: Option<String>,
    /// `inbound` or `outbound`.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    direction: Option<Direction>,
    /// Running or over.
    #[serde(default)]
    #[param(inline)]
    state: Option<CallState>,
    /// With this outcome: `answered`, `busy`, `no_answer` …
    #[serde(default)]
    outcome: Option<String>,
    /// Tied to this.
    #[serde(default)]
    relation_id: Option<String>,
    /// With your own name.
    #[serde(default)]
    external_id: Option<String>,
    /// Created then or later.
    #[serde(default)]
    created_from: Option<UnixMs>,
    /// Created before.
    #[serde(default)]
    created_to: Option<UnixMs>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// Rows of a page.
    #[serde(default, deserialize_with = "limit")]
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// List calls
#[utoipa::path(get, path = "/v1/calls", tag = "calls", security(("api_key" = ["calls:read"])),
    params(CallsQuery),
    responses((status = 200, description = "A page", body = Page<CallSummary>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<CallsQuery>,
) -> Result<Json<Page<CallSummary>>, Problem> {
    let filter = CallFilter {
        number_id: query.number_id,
        script_id: query.script_id,
        direction: query.direction,
        state: query.state,
        outcome: query.outcome,
        relation_id: query.relation_id,
        external_id: query.external_id,
        created_from: query.created_from,
        created_to: query.created_to,
    };
    let page = PageRequest { cursor: query.cursor, limit: query.limit };
    Ok(Json(api.store().calls(&caller.tenant, &filter, &page).await?))
}

/// Read a call
///
/// While it runs (`state: active`), `record` is what is known so far; once it is over, it is the `data` of `call.completed`.
#[utoipa::path(get, path = "/v1/calls/{call}", tag = "calls", security(("api_key" = ["calls:read"])),
    params(("call" = String, Path, description = "`call_…`")),
    responses((status = 200, description = "It", body = CallView)))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(call): Path<String>,
) -> Result<Json<CallView>, Problem> {
    Ok(Json(find(&api, &caller.tenant, &call).await?.0.into()))
}

/// Erase a call
///
/// It and everything about it, its recordings and captures too, once nothing of it is on its way; for a person who asks for
/// it. Captures that another host made go within minutes. Its events that were delivered stay with whoever received them.
/// The audit log keeps that it was done.
#[utoipa::path(delete, path = "/v1/calls/{call}", tag = "calls", security(("api_key" = ["retention:write"])),
    params(("call" = String, Path, description = "`call_…`")),
    responses(
        (status = 204, description = "Gone"),
        (status = 409, description = "`call_active`: it runs; `call_unsettled`: a delivery or a recording of it is on its way")))]
pub(crate) async fn erase(
    State(api): State<Api>,
    caller: Caller,
    Path(call): Path<String>,
) -> Result<StatusCode, Problem> {
    let recordings = api.platform().recordings();
    let remove = async |location: String| recordings.remove(&location).await;
    api.store().erase_call(&caller.tenant, &call, remove, &caller.actor).await?;
    if let Err(error) = api.platform().remove_captured(&CallId(call)).await {
        tracing::warn!(%error, "captures of a call that was erased are left to the sweep");
    }
    Ok(StatusCode::NO_CONTENT)
}

/// End a call
///
/// Its script is told, and has its grace time to finish what it wants to leave behind.
#[utoipa::path(post, path = "/v1/calls/{call}/hangup", tag = "calls", security(("api_key" = ["calls:write"])),
    params(("call" = String, Path, description = "`call_…`")),
    responses(
        (status = 202, description = "It ends", body = Accepted),
        (status = 409, description = "`call_not_active`: it is over; or the first request with this Idempotency-Key still runs")))]
pub(crate) async fn hangup(
    State(api): State<Api>,
    caller: Caller,
    Path(call): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let told = api.platform().hangup(&caller.tenant, &CallId(call.clone()));
    reached(&api, &caller.tenant, &call, told).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { call_id: call })))
}

/// Send the script a message
///
/// Any JSON. The script gets it as an event.
#[utoipa::path(post, path = "/v1/calls/{call}/messages", tag = "calls", security(("api_key" = ["calls:write"])),
    params(("call" = String, Path, description = "`call_…`")),
    request_body(content = Value, description = "Any JSON", example = json!({"agent": "ready"})),
    responses(
        (status = 202, description = "It is on its way", body = Accepted),
        (status = 409, description = "`call_not_active`: it is over; or the first request with this Idempotency-Key still runs")))]
pub(crate) async fn send(
    State(api): State<Api>,
    caller: Caller,
    Path(call): Path<String>,
    AnyJson(message): AnyJson,
) -> Result<impl IntoResponse, Problem> {
    let told = api.platform().message(&caller.tenant, &CallId(call.clone()), message.get().to_owned());
    reached(&api, &caller.tenant, &call, told).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { call_id: call })))
}

/// The call was told.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// `call_…`
    pub(crate) call_id: String,
}

/// A call that is over is a conflict; one that never was is not found.
pub(crate) async fn reached(
    api: &Api,
    tenant: &TenantId,
    call: &str,
    told: Result<(), LiveError>,
) -> Result<(), Problem> {
    if told == Err(LiveError::NotRunning) && !api.platform().is_open(tenant, &CallId(call.to_owned())) {
        api.store().call(tenant, call).await?;
    }
    Ok(told?)
}

/// A call: from the books when it is over; from the books and from itself while it runs. Between the two, an answer
/// waits, so that nobody ever sees less than before.
pub(crate) async fn find(api: &Api, tenant: &TenantId, call: &str) -> Result<(Call, Option<Snapshot>), Problem> {
    let id = CallId(call.to_owned());
    let until = Instant::now() + BETWEEN;
    loop {
        // First the call itself: when its books are closed, the store has all of it.
        let open = api.platform().is_open(tenant, &id);
        let live = if open { api.platform().snapshot(tenant, &id).await.ok() } else { None };
        match (api.store().call(tenant, call).await, live) {
            (Ok(call), _) if call.summary.state == CallState::Completed => return Ok((call, None)),
            (Ok(call), Some(snapshot)) => return Ok((so_far(call, &snapshot)?, Some(snapshot))),
            // Left behind: it is closed at the next start of its host.
            (Ok(call), None) if !open => return Ok((call, None)),
            (Err(StoreError::NotFound { .. }), _) if open => {}
            (Err(error), _) => return Err(error.into()),
            (Ok(_), None) => {}
        }
        if Instant::now() >= until {
            return Err(Problem::unavailable("call_between_states", "the call is just being written down", 1));
        }
        sleep(LOOK).await;
    }
}

/// What is known of a running call.
fn so_far(mut call: Call, snapshot: &Snapshot) -> Result<Call, Problem> {
    let start: CallStart = serde_json::from_value(call.start.clone()).map_err(Problem::internal)?;
    let document = CallDocument::from_record(&start, &snapshot.record);
    call.summary.answered_at = document.times.answered.or(call.summary.answered_at);
    call.summary.disposition.clone_from(&document.disposition);
    call.record = Some(serde_json::value::to_raw_value(&document).map_err(Problem::internal)?);
    Ok(call)
}
