//! Calls that run on another host of the deployment: what is asked about them is passed on to it, so that any host serves
//! the API.
//!
//! The other host asks for the key or the token again, reads the body, and remembers an `Idempotency-Key`, as if it had
//! been asked itself. What it may be asked is passed on once: a host that is no longer who it was meant to be says so.

use crate::Api;
use crate::edge::{REQUEST_ID, RequestName};
use crate::guard::{Caller, bearer};
use crate::intake::IDEMPOTENCY_KEY;
use crate::problem::Problem;
use crate::webrtc_guard::{FORWARDED_FOR, Visitor};
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, IF_MATCH, RANGE, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use callbox_dialogue::CallId;
use callbox_store::TenantId;
use callbox_store::hosts::Runner;
use reqwest::Client;
use reqwest::redirect::Policy;
use std::time::Duration;

/// For which host it is meant.
const FOR: HeaderName = HeaderName::from_static("x-callbox-host");
/// What goes with a request. The name of the request goes, too, so that both logs know it by the same.
const WITH_IT: [HeaderName; 6] = [AUTHORIZATION, CONTENT_TYPE, ACCEPT, RANGE, IF_MATCH, IDEMPOTENCY_KEY];
/// The paths of calls.
const CALL: &str = "/v1/calls/{call}";
/// The path of a call to the page that made it.
const PAGE: &str = "/v1/webrtc/calls/{call}";
/// Files that stay with the host that made them.
const CAPTURES: &str = "/v1/calls/{call}/pcap";
/// The longest wait for a host that is not there.
const CONNECT: Duration = Duration::from_secs(2);
/// The longest wait for one that is, and says nothing.
const SILENCE: Duration = Duration::from_secs(8);

/// The way to the other hosts.
#[derive(Debug)]
pub(crate) struct Others(Option<Client>);

impl Others {
    pub(crate) fn new() -> Self {
        // The operator's own machines: no proxy stands between them.
        let client = Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE);
        let client = client.redirect(Policy::none()).no_proxy().build();
        if let Err(error) = &client {
            tracing::error!(%error, "other hosts cannot be asked about their calls");
        }
        Self(client.ok())
    }
}

/// Passes on what is about a call of another host.
pub(crate) async fn elsewhere(State(api): State<Api>, request: Request, next: Next) -> Response {
    if let Some(meant) = request.headers().get(FOR) {
        let here = api.store().host_name();
        if here.is_none_or(|here| meant.as_bytes() != here.as_bytes()) {
            return Problem::new(StatusCode::MISDIRECTED_REQUEST, "other_host", "this host has another name")
                .into_response();
        }
        return next.run(request).await;
    }
    let Some(asked) = Asked::about(&request) else { return next.run(request).await };
    let Some(tenant) = asked.by.elsewhere(&api, &asked.call).await else { return next.run(request).await };
    // Where the database does not answer, the operation itself says so.
    let Ok(Some(runner)) = api.store().runner(&tenant, &asked.call.0).await else { return next.run(request).await };
    if !runner.active && !asked.captures {
        return next.run(request).await;
    }
    match pass_on(&api, &runner, &asked.target, request).await {
        Ok(answer) => answer,
        // What the database knows is better than nothing.
        Err(Unreached { why, request: Some(request) }) => {
            tracing::warn!(host = runner.host, why, "a call of another host is told of from the books alone");
            next.run(*request).await
        }
        Err(Unreached { why, request: None }) => {
            tracing::warn!(host = runner.host, why, "a call of another host cannot be reached");
            let detail = "the call runs on another host, which cannot be reached";
            Problem::unavailable("host_unreachable", detail, 2).into_response()
        }
    }
}

/// What is asked about a call.
struct Asked {
    by: By,
    call: CallId,
    /// Path and query.
    target: String,
    /// For files that stay with their host.
    captures: bool,
}

/// Who asks.
enum By {
    /// Somebody with a key of this tenant.
    Key(TenantId),
    /// A page, by this token; what the host keeps of it.
    Page { token: String, holder: [u8; 32] },
}

impl Asked {
    fn about(request: &Request) -> Option<Self> {
        let (extensions, uri) = (request.extensions(), request.uri());
        let path = extensions.get::<MatchedPath>()?.as_str();
        let (by, place) = if path == PAGE {
            let token = bearer(request.headers())?.to_owned();
            (By::Page { token, holder: extensions.get::<Visitor>()?.holder }, 4)
        } else if path.starts_with(CALL) {
            (By::Key(extensions.get::<Caller>()?.tenant.clone()), 3)
        } else {
            return None;
        };
        let call = CallId(uri.path().split('/').nth(place)?.to_owned());
        Some(Self { by, call, target: uri.path_and_query()?.as_str().to_owned(), captures: path == CAPTURES })
    }
}

impl By {
    /// Whose call it is, unless it runs here. A token that is none is refused by the operation itself.
    async fn elsewhere(&self, api: &Api, call: &CallId) -> Option<TenantId> {
        match self {
            Self::Key(tenant) => (!api.platform().is_open(tenant, call)).then(|| tenant.clone()),
            Self::Page { holder, .. } if api.platform().is_held(call, holder) => None,
            Self::Page { token, .. } => Some(api.store().webrtc_token_of(token).await.ok()?.tenant_id),
        }
    }
}

/// Why another host did not answer.
struct Unreached {
    why: String,
    /// What can still be served here: requests that read.
    request: Option<Box<Request>>,
}

/// What the other host answers.
async fn pass_on(api: &Api, runner: &Runner, target: &str, request: Request) -> Result<Response, Unreached> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let url = runner.address.as_ref().map(|address| format!("{}{target}", address.trim_end_matches('/')));
    let (Some(client), Some(url)) = (&api.inner.others.0, url) else {
        let why = "it has not said where it is reached: http.peer_url".to_owned();
        return Err(Unreached { why, request: reads.then(|| Box::new(request)) });
    };
    let mut headers = HeaderMap::new();
    for name in WITH_IT {
        if let Some(value) = request.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let named = request.extensions().get::<RequestName>().and_then(|name| HeaderValue::from_str(&name.0).ok());
    headers.extend(named.map(|name| (REQUEST_ID, name)));
    let Ok(meant) = HeaderValue::from_bytes(runner.host.as_bytes()) else {
        let why = "its name cannot be sent".to_owned();
        return Err(Unreached { why, request: reads.then(|| Box::new(request)) });
    };
    headers.insert(FOR, meant);
    // For its paces, where the operator says that the hosts are to be believed (`http.trusted_proxies`).
    let visitor = request.extensions().get::<Visitor>().map(|visitor| visitor.from.to_string());
    headers.extend(visitor.and_then(|from| HeaderValue::try_from(from).ok()).map(|from| (FORWARDED_FOR, from)));
    let (parts, body) = request.into_parts();
    let asked = client.request(parts.method.clone(), url).headers(headers);
    // What reads has no body: it can still be served here.
    let (asked, whole) = if reads {
        (asked, Some(Box::new(Request::from_parts(parts, Body::empty()))))
    } else {
        (asked.body(reqwest::Body::wrap_stream(body.into_data_stream())), None)
    };
    let answer = match asked.send().await {
        Ok(answer) if answer.status() == StatusCode::MISDIRECTED_REQUEST => {
            let why = "another host answers at its address: http.peer_url".to_owned();
            return Err(Unreached { why, request: whole });
        }
        Ok(answer) => answer,
        // Without the URL, in which there may be anything.
        Err(error) => return Err(Unreached { why: error.without_url().to_string(), request: whole }),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    let between_us = |name: &HeaderName| *name == CONNECTION || *name == TRANSFER_ENCODING;
    let told = answer.headers().iter().filter(|(name, _)| !between_us(name));
    response.headers_mut().extend(told.map(|(name, value)| (name.clone(), value.clone())));
    *response.body_mut() = Body::from_stream(answer.bytes_stream());
    Ok(response)
}
