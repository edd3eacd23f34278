//! SIP in the open: the messages of a call as they went over the wire.

use crate::Api;
use crate::calls::find;
use crate::extract::{Path, Query};
use crate::guard::Caller;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use callbox_call::SignallingRecord;
use callbox_dialogue::CallId;
use callbox_sip::ladder::{Ladder, Rung};
use callbox_store::{TenantId, UnixMs};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// How it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// Data.
    #[default]
    Json,
    /// A ladder for a terminal.
    Text,
}

/// How it is written.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SipQuery {
    /// `json`, or `text` for a ladder that people read.
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

/// A SIP message.
#[derive(Serialize, ToSchema)]
pub(crate) struct SipMessage {
    /// When it was sent or received.
    at: UnixMs,
    /// Microseconds since the first message of the call.
    offset_us: u64,
    /// `sent` by Callbox, or `received`.
    #[schema(example = "received")]
    direction: &'static str,
    /// `udp`, `tcp`, `tls`, `ws`, `wss`.
    transport: String,
    /// Our address.
    #[schema(example = "192.0.2.1:5060")]
    local: String,
    /// The far end's.
    #[schema(example = "192.0.2.2:5060")]
    remote: String,
    /// The `Call-ID`: a call that was bridged to a second leg has two.
    call_id: String,
    /// Method and URI, or status and reason.
    #[schema(example = "INVITE sip:+493012345@192.0.2.1")]
    start: String,
    /// Number and method, which tie a response to its request.
    #[schema(example = "1 INVITE")]
    cseq: String,
    /// All of it. Credentials, SRTP keys and digits in a body are `…`.
    message: String,
}

/// The SIP messages of a call.
#[derive(Serialize, ToSchema)]
pub(crate) struct SipMessages {
    /// In the order of time.
    messages: Vec<SipMessage>,
    /// Messages that were not kept, from the middle of a very long dialog.
    omitted: u64,
}

impl From<Ladder> for SipMessages {
    fn from(ladder: Ladder) -> Self {
        let first = ladder.messages.first().map_or(0, |rung| rung.at_us);
        let message = |rung: Rung| SipMessage {
            at: UnixMs(i64::try_from(rung.at_us / 1_000).unwrap_or(i64::MAX)),
            offset_us: rung.at_us.saturating_sub(first),
            direction: if rung.sent { "sent" } else { "received" },
            transport: rung.transport,
            local: rung.local.to_string(),
            remote: rung.remote.to_string(),
            call_id: rung.call_id,
            start: rung.start,
            cseq: rung.cseq,
            message: rung.message,
        };
        Self { messages: ladder.messages.into_iter().map(message).collect(), omitted: ladder.omitted }
    }
}

/// The SIP messages of a call
///
/// With their times and addresses, also while the call runs; those of the second leg of a transfer are among them.
#[utoipa::path(get, path = "/v1/calls/{call}/sip", tag = "calls", security(("api_key" = ["calls:read"])),
    params(("call" = String, Path, description = "`call_…`"), SipQuery),
    responses(
        (status = 200, description = "All of them", content(
            (SipMessages = "application/json"), (String = "text/plain"))),
        (status = 404, description = "There is no such call, or its messages were not kept (`sip.keep_messages`)")))]
pub(crate) async fn sip(
    State(api): State<Api>,
    caller: Caller,
    Path(call): Path<String>,
    Query(query): Query<SipQuery>,
) -> Result<Response, Problem> {
    let record = kept(&api, &caller.tenant, &call).await?;
    let SignallingRecord { ladder, .. } =
        record.ok_or_else(|| Problem::not_found("the SIP messages of this call were not kept"))?;
    Ok(match query.format {
        Format::Json => Json(SipMessages::from(ladder)).into_response(),
        Format::Text => ([(CONTENT_TYPE, "text/plain; charset=utf-8")], ladder.to_text()).into_response(),
    })
}

/// From the call while it runs, else from the books; none where they were not kept.
pub(crate) async fn kept(api: &Api, tenant: &TenantId, call: &str) -> Result<Option<SignallingRecord>, Problem> {
    if find(api, tenant, call).await?.1.is_some()
        && let Ok(record) = api.platform().signalling(tenant, &CallId(call.to_owned())).await
    {
        return Ok(record);
    }
    // Over, perhaps in this moment.
    stored(api, tenant, call).await
}

async fn stored(api: &Api, tenant: &TenantId, call: &str) -> Result<Option<SignallingRecord>, Problem> {
    // Once more by way of the books, which are complete when this returns.
    find(api, tenant, call).await?;
    let text = api.store().signalling(tenant, call).await?;
    text.map(|text| serde_json::from_str(&text).map_err(Problem::internal)).transpose()
}
