//! Calls that run on another host of the deployment: what is asked about them is passed on to it, so that any host serves
//! the API.
//!
//! The other host asks for the key again, reads the body, and remembers an `Idempotency-Key`, as if it had been asked
//! itself. What it may be asked is passed on once: a host that is no longer who it was meant to be says so.

use crate::Api;
use crate::edge::{REQUEST_ID, RequestName};
use crate::guard::Caller;
use crate::intake::IDEMPOTENCY_KEY;
use crate::problem::Problem;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, RANGE, TRANSFER_ENCODING};
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
const WITH_IT: [HeaderName; 5] = [AUTHORIZATION, CONTENT_TYPE, ACCEPT, RANGE, IDEMPOTENCY_KEY];
/// The paths of calls.
const CALL: &str = "/v1/calls/{call}";
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
    let Some(asked) = Asked::about_a_call(&api, &request) else { return next.run(request).await };
    // Where the database does not answer, the operation itself says so.
    let Ok(Some(runner)) = api.store().runner(&asked.tenant, &asked.call).await else { return next.run(request).await };
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

/// What is asked about a call that does not run here.
struct Asked {
    tenant: TenantId,
    call: String,
    /// Path and query.
    target: String,
    /// For files that stay with their host.
    captures: bool,
}

impl Asked {
    fn about_a_call(api: &Api, request: &Request) -> Option<Self> {
        let path = request.extensions().get::<MatchedPath>()?.as_str();
        if !path.starts_with(CALL) {
            return None;
        }
        let tenant = request.extensions().get::<Caller>()?.tenant.clone();
        let call = request.uri().path().split('/').nth(3)?.to_owned();
        let target = request.uri().path_and_query()?.as_str().to_owned();
        let open = api.platform().is_open(&tenant, &CallId(call.clone()));
        (!open).then_some(Self { tenant, call, target, captures: path == CAPTURES })
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
