//! How a call by WebRTC was set up: offer and answer with their times, and what became of them.

use crate::Api;
use crate::extract::Path;
use crate::guard::Caller;
use crate::problem::Problem;
use crate::signalling::kept;
use axum::Json;
use axum::extract::State;
use callbox_call::webrtc::{Exchange, Step};
use callbox_store::UnixMs;
use serde::Serialize;
use utoipa::ToSchema;

/// One step.
#[derive(Serialize, ToSchema)]
#[schema(as = WebRtcStep)]
pub(crate) struct StepView {
    /// When.
    at: UnixMs,
    /// Microseconds since the first step.
    offset_us: u64,
    /// `offer`, `answer`, `ice`, `ice_answer`, `refused`, `connected`, `failed`, `channel_open`, `channel_closed`,
    /// `hung_up`, `lost`.
    #[schema(example = "offer")]
    what: &'static str,
    /// Where the request came from.
    from: Option<String>,
    /// The page's origin, and the browser as it names itself.
    client: Option<String>,
    /// The description, without the passwords of ICE; or a few words.
    text: String,
}

/// The signalling of a call by WebRTC.
#[derive(Serialize, ToSchema)]
#[schema(as = WebRtcExchange)]
pub(crate) struct ExchangeView {
    /// In the order of time.
    steps: Vec<StepView>,
    /// Steps that were not kept.
    omitted: u64,
}

impl From<Exchange> for ExchangeView {
    fn from(exchange: Exchange) -> Self {
        let first = exchange.steps.first().map_or(0, |step| step.at_us);
        let step = |step: Step| StepView {
            at: UnixMs(i64::try_from(step.at_us / 1_000).unwrap_or(i64::MAX)),
            offset_us: step.at_us.saturating_sub(first),
            what: step.what.as_str(),
            from: step.from.map(|from| from.to_string()),
            client: step.client,
            text: step.text,
        };
        Self { steps: exchange.steps.into_iter().map(step).collect(), omitted: exchange.omitted }
    }
}

/// The WebRTC signalling of a call
///
/// Offers and answers with their times, when ICE and DTLS were done, how the far end left; also while the call runs. The
/// SIP messages of a second leg are at `/v1/calls/{call}/sip`, as are those of a page that calls by SIP over WebSocket.
#[utoipa::path(get, path = "/v1/calls/{call}/webrtc", tag = "calls", security(("api_key" = ["calls:read"])),
    params(("call" = String, Path, description = "`call_…`")),
    responses(
        (status = 200, description = "All of it", body = ExchangeView),
        (status = 404, description = "There is no such call, it did not come by HTTP, or its signalling was not kept (`sip.keep_messages`)")))]
pub(crate) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(call): Path<String>,
) -> Result<Json<ExchangeView>, Problem> {
    let exchange = kept(&api, &caller.tenant, &call).await?.and_then(|record| record.webrtc);
    let exchange = exchange.ok_or_else(|| Problem::not_found("this call has no WebRTC signalling that was kept"))?;
    Ok(Json(exchange.into()))
}
