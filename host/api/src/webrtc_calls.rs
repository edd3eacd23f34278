//! Calls from web pages and apps by one HTTP exchange, in the manner of WHIP (RFC 9725): an offer is posted and answered,
//! the resource that comes of it is patched when the network changes, and deleted to hang up.
//!
//! The URL of a call is no secret and opens nothing: each request carries the token that the call began with, also when
//! that has been spent or has expired since. So nothing that could be misused is in a URL, a log, or a `Referer`.

use crate::Api;
use crate::extract::{Path, body, media_type};
use crate::problem::Problem;
use crate::webrtc_guard::Visitor;
use crate::webrtc_ice::{IceServer, links};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, LINK, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use callbox_call::webrtc::{IfMatch, Renewal, RenewalError, Renewed, Visit, VisitError};
use callbox_dialogue::CallId;
use callbox_media::webrtc::{IceAnswer, OfferError};
use callbox_store::UnixMs;
use serde::Serialize;
use utoipa::ToSchema;

/// The type of a session description.
const SDP: &str = "application/sdp";
/// The type of a fragment of one (RFC 8840 §9).
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

impl From<OfferError> for Problem {
    fn from(error: OfferError) -> Self {
        let text = error.to_string();
        match error {
            OfferError::NotSdp | OfferError::Line { .. } => Self::new(StatusCode::BAD_REQUEST, "sdp_invalid", text),
            OfferError::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "sdp_too_large", text),
            _ => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "offer_not_acceptable", text),
        }
    }
}

impl From<VisitError> for Problem {
    fn from(error: VisitError) -> Self {
        let text = error.to_string();
        match error {
            VisitError::Unavailable(_) => Self::unavailable("unavailable", text, 5),
            VisitError::Off => Self::conflict("webrtc_off", text),
            VisitError::NumberGone => Self::new(StatusCode::GONE, "number_gone", text),
            VisitError::NumberClosed(_) => Self::conflict("number_not_ready", text),
            VisitError::Busy => Self::unavailable("number_busy", text, 5),
            VisitError::Token(error) => error.into(),
            VisitError::Offer(error) => error.into(),
            VisitError::Store(error) => error.into(),
        }
    }
}

impl From<RenewalError> for Problem {
    fn from(error: RenewalError) -> Self {
        let text = error.to_string();
        match error {
            RenewalError::Over => Self::not_found(text),
            RenewalError::Stale => Self::new(StatusCode::PRECONDITION_FAILED, "ice_session_changed", text),
            RenewalError::Busy => Self::unavailable("call_busy", text, 1),
            RenewalError::Offer(error) => error.into(),
            RenewalError::Media(_) => Self::unavailable("media_unavailable", text, 1),
        }
    }
}

/// The body as text, of one of these types.
async fn description(request: Request, types: &[&str]) -> Result<(String, String), Problem> {
    let kind = media_type(&request).filter(|kind| types.contains(&kind.as_str())).ok_or_else(|| {
        let detail = format!("the body must be sent with `Content-Type: {}`", types.join("` or `"));
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    })?;
    let text = String::from_utf8(body(request).await?.into())
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "sdp_invalid", "the description is not UTF-8"))?;
    Ok((kind, text))
}

fn etag(ice_session: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(&format!("\"{ice_session}\"")).map_err(Problem::internal)
}

fn typed(status: StatusCode, kind: &'static str, text: String, ice_session: &str) -> Result<Response, Problem> {
    let mut response = (status, text).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(ETAG, etag(ice_session)?);
    Ok(response)
}

/// Call
///
/// From a web page or an app: an offer with audio, and an SDP answer to it. Audio flows as soon as ICE and DTLS are done.
/// A data channel named `callbox`, where the offer has one, carries captions, states, keys and messages. Where the operator
/// traces, the call's trace is linked to the span that the header `traceparent` names.
#[utoipa::path(post, path = "/v1/webrtc/calls", tag = "webrtc", security(("webrtc_token" = [])),
    request_body(content = String, content_type = "application/sdp", description = "The offer"),
    responses(
        (status = 201, description = "The answer. `Location` is the call, `ETag` its session of ICE, `Link` names STUN and TURN servers", body = String, content_type = "application/sdp",
            headers(("Location" = String), ("ETag" = String), ("Link" = String))),
        (status = 400, description = "`sdp_invalid`: the body is no session description"),
        (status = 409, description = "`number_not_ready`, `webrtc_off`"),
        (status = 410, description = "`number_gone`: the number of the token was taken away"),
        (status = 413, description = "`body_too_large`, `sdp_too_large`: more than 32 media sections"),
        (status = 422, description = "`offer_not_acceptable`: no audio, no codec in common, no ICE, no DTLS fingerprint"),
        (status = 503, description = "`number_busy`, `unavailable`: try again after `Retry-After` seconds")))]
pub(crate) async fn create(
    State(api): State<Api>,
    mut visitor: Visitor,
    request: Request,
) -> Result<Response, Problem> {
    let traceparent = request.headers().get("traceparent").and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    let (_, offer) = description(request, &[SDP]).await?;
    let token = visitor.take_token()?;
    let Visitor { holder, from, client, .. } = visitor;
    let servers = api.ice_servers(&token.id);
    let welcome = api.platform().answer_webrtc(Visit { token, holder, offer, from, client, traceparent }).await?;
    let mut response = typed(StatusCode::CREATED, SDP, welcome.answer.sdp, &welcome.answer.ice_session)?;
    let headers = response.headers_mut();
    let location = format!("{}/{}", crate::webrtc_cors::CALLS, welcome.call);
    headers.insert(LOCATION, HeaderValue::from_str(&location).map_err(Problem::internal)?);
    for link in links(&servers) {
        headers.append(LINK, link);
    }
    Ok(response)
}

fn if_match(headers: &HeaderMap) -> Result<IfMatch, Problem> {
    let given = headers.get(IF_MATCH).ok_or_else(|| {
        let detail = "send `If-Match` with the ETag of the call's session of ICE, or `*` to begin anew (RFC 9725 §4.3)";
        Problem::new(StatusCode::PRECONDITION_REQUIRED, "if_match_required", detail)
    })?;
    let text = given.to_str().unwrap_or_default().trim();
    Ok(match text {
        "*" => IfMatch::Any,
        quoted => IfMatch::Session(quoted.trim_matches('"').to_owned()),
    })
}

/// Renew the way of a call
///
/// After the network of the browser has changed: a fragment with new credentials of ICE, or a whole offer of
/// `createOffer({iceRestart: true})`. Candidates that are trickled are taken and not needed: the host finds the browser
/// by its checks.
#[utoipa::path(patch, path = "/v1/webrtc/calls/{call}", tag = "webrtc", security(("webrtc_token" = [])),
    params(("call" = String, Path, description = "`call_…`"), ("If-Match" = String, Header, description = "The `ETag` of the session of ICE, or `*` to begin a new one")),
    request_body(content((String = "application/trickle-ice-sdpfrag"), (String = "application/sdp"))),
    responses(
        (status = 200, description = "Our side: a fragment to a fragment, an answer to an offer", content(
            (String = "application/trickle-ice-sdpfrag"), (String = "application/sdp")), headers(("ETag" = String))),
        (status = 204, description = "Candidates were taken"),
        (status = 400, description = "`sdp_invalid`"),
        (status = 404, description = "There is no such call of this token, or it is over"),
        (status = 412, description = "`ice_session_changed`: the session of ICE is another by now"),
        (status = 413, description = "`body_too_large`, `sdp_too_large`: more than 32 media sections"),
        (status = 422, description = "`offer_not_acceptable`: it would be another call"),
        (status = 428, description = "`if_match_required`"),
        (status = 503, description = "`call_busy`, `media_unavailable`: try again after `Retry-After` seconds")))]
pub(crate) async fn renew(
    State(api): State<Api>,
    visitor: Visitor,
    Path(call): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let if_match = if_match(request.headers())?;
    let (kind, text) = description(request, &[FRAGMENT, SDP]).await?;
    let renewal = if kind == SDP { Renewal::offer(text) } else { Renewal::ice(text) }?;
    match api.platform().renew_webrtc(&CallId(call), &visitor.holder, renewal, if_match).await? {
        Renewed::Answer(answer) => typed(StatusCode::OK, SDP, answer.sdp, &answer.ice_session),
        Renewed::Ice(IceAnswer::Restarted { fragment, ice_session }) => {
            typed(StatusCode::OK, FRAGMENT, fragment, &ice_session)
        }
        Renewed::Ice(IceAnswer::Unchanged) => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// Hang up
///
/// As the caller does.
#[utoipa::path(delete, path = "/v1/webrtc/calls/{call}", tag = "webrtc", security(("webrtc_token" = [])),
    params(("call" = String, Path, description = "`call_…`")),
    responses(
        (status = 200, description = "It ends"),
        (status = 404, description = "There is no such call of this token, or it is over"),
        (status = 503, description = "`call_busy`: try again after `Retry-After` seconds")))]
pub(crate) async fn hang_up(
    State(api): State<Api>,
    visitor: Visitor,
    Path(call): Path<String>,
) -> Result<StatusCode, Problem> {
    api.platform().hang_up_webrtc(&CallId(call), &visitor.holder).map_err(RenewalError::from)?;
    Ok(StatusCode::OK)
}

/// What a token is good for just now.
#[derive(Serialize, ToSchema)]
#[schema(as = WebTokenStanding)]
pub(crate) struct Standing {
    /// From then on it is refused.
    expires_at: UnixMs,
    /// Calls that may yet be made with it.
    uses_left: u32,
    /// For `new RTCPeerConnection({iceServers})`.
    ice_servers: Vec<IceServer>,
}

/// What a token is good for
///
/// For the page that holds it: before it asks for the microphone, and for the STUN and TURN servers. Nothing is spent.
#[utoipa::path(get, path = "/v1/webrtc/token", tag = "webrtc", security(("webrtc_token" = [])),
    responses((status = 200, description = "So", body = Standing)))]
pub(crate) async fn standing(State(api): State<Api>, mut visitor: Visitor) -> Result<Json<Standing>, Problem> {
    let token = visitor.take_token()?;
    let ice_servers = api.ice_servers(&token.id);
    Ok(Json(Standing { expires_at: token.expires_at, uses_left: token.uses.saturating_sub(token.used), ice_servers }))
}
