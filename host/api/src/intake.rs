//! Bodies: read once, within a limit of size and time, after the key was looked
//! at. And `Idempotency-Key`: the same POST twice does its work once.

use crate::Api;
use crate::edge::{UPLOAD, said};
use crate::guard::Caller;
use crate::problem::Problem;
use crate::webrtc_guard::Visitor;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use callbox_store::TenantId;
use callbox_store::idempotency::Begin;
use futures_util::{FutureExt, StreamExt};
use sha2::{Digest, Sha256};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// Largest body of JSON.
pub(crate) const JSON_BYTES: usize = 128 * 1024;
/// Largest session description.
const SDP_BYTES: usize = callbox_media::webrtc::LONGEST_OFFER;
/// Longest time for a body of JSON to arrive.
const JSON_TIME: Duration = Duration::from_secs(10);
/// Longest time for a component to arrive.
const UPLOAD_TIME: Duration = Duration::from_secs(60);
/// Requests with a key between two cleanings of the table.
const PURGE_EVERY: u32 = 1_000;

/// The header.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is the one of an earlier request.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What is to be remembered in place of an answer that shows a secret.
#[derive(Clone, Debug)]
pub(crate) struct Remembered(pub(crate) Bytes);

pub(crate) async fn intake(State(api): State<Api>, request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) {
        return next.run(request).await;
    }
    let path = request.extensions().get::<MatchedPath>();
    let upload = request.method() == Method::POST && path.is_some_and(|path| path.as_str() == UPLOAD);
    // Components are held in memory while they are looked at: a few at a time.
    let _turn = if upload {
        match timeout(UPLOAD_TIME, api.inner.uploads.acquire()).await {
            Ok(Ok(turn)) => Some(turn),
            _ => return Problem::unavailable("uploads_busy", "too many uploads at once", 5).into_response(),
        }
    } else {
        None
    };
    // Whoever holds a token is nobody's customer.
    let visits = request.extensions().get::<Visitor>().is_some();
    let (limit, within) = match (upload, visits) {
        (true, _) => (api.upload_bytes(), UPLOAD_TIME),
        (false, true) => (SDP_BYTES, JSON_TIME),
        (false, false) => (JSON_BYTES, JSON_TIME),
    };
    let (parts, body) = request.into_parts();
    let announced = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return too_large(limit).into_response();
    }
    let bytes = match timeout(within, collect(body, limit)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(problem)) => return problem.into_response(),
        Err(_) => {
            let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", "the body did not arrive in time");
            return problem.into_response();
        }
    };
    let keyed = parts.method == Method::POST && parts.headers.contains_key(IDEMPOTENCY_KEY);
    let request = Request::from_parts(parts, Body::from(bytes.clone()));
    let caller = request.extensions().get::<Caller>().cloned();
    let Some(caller) = caller.filter(|_| keyed) else { return next.run(request).await };
    // On its own, so that it is finished and remembered when the client has gone away.
    let work = tokio::spawn(once(api.clone(), caller.tenant, request, bytes, next));
    work.await.map_err(Problem::internal).and_then(|answer| answer).into_response()
}

fn too_large(limit: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", format!("at most {limit} bytes are taken here"))
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let mut stream = body.into_data_stream();
    let mut all = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let broken = |_| Problem::new(StatusCode::BAD_REQUEST, "body_broken", "the body broke off");
        let chunk = chunk.map_err(broken)?;
        if all.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}

/// Of method, path, query, type and body.
fn fingerprint(request: &Request, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    for part in [request.method().as_str(), target] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(body);
    hex::encode(hash.finalize())
}

async fn once(api: Api, tenant: TenantId, request: Request, body: Bytes, next: Next) -> Result<Response, Problem> {
    let bad =
        || Problem::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", "1 to 255 printable ASCII characters");
    let mut given = request.headers().get_all(IDEMPOTENCY_KEY).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return Err(bad()) };
    let key = value.to_str().map_err(|_| bad())?.to_owned();
    if key.is_empty() || key.len() > 255 || !key.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(bad());
    }
    match api.store().idempotency_begin(&tenant, &key, &fingerprint(&request, &body)).await? {
        Begin::Mismatch => {
            let detail = "this Idempotency-Key was used for another request";
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail))
        }
        Begin::Running => {
            let detail = "the first request with this Idempotency-Key is still being served";
            Err(Problem::conflict("idempotency_key_in_use", detail).retry_after(1))
        }
        Begin::Replay { status, body } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            let mut response = (status, body).into_response();
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            Ok(response)
        }
        Begin::New => {
            if api.inner.keyed.fetch_add(1, Ordering::Relaxed).is_multiple_of(PURGE_EVERY) {
                let store = api.store().clone();
                tokio::spawn(async move { store.idempotency_purge().await });
            }
            let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            let response = answer.unwrap_or_else(|panic| Problem::internal(said(&*panic)).into_response());
            settle(&api, &tenant, &key, response).await
        }
    }
}

/// Remembers what was done; what was not done may be tried again with the same key.
async fn settle(api: &Api, tenant: &TenantId, key: &str, response: Response) -> Result<Response, Problem> {
    if !response.status().is_success() {
        api.store().idempotency_abandon(tenant, key).await?;
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.map_err(Problem::internal)?;
    let remembered = parts.extensions.remove::<Remembered>().map_or_else(|| bytes.clone(), |kept| kept.0);
    let kept = api.store().idempotency_finish(tenant, key, parts.status.as_u16(), remembered.to_vec()).await;
    if let Err(error) = kept {
        // It was done all the same, and is said to be running for a while.
        tracing::error!(%error, "an answer could not be remembered for its Idempotency-Key");
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}
