//! Around every request: its name, its time limit, its line in the log, and the
//! document of a problem. A panic of ours is a 500 and nothing more.

use crate::guard::KeyId;
use crate::problem::Problem;
use axum::extract::{MatchedPath, Request};
use axum::http::header::{ALLOW, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tracing::Instrument;

/// The name of a request, in and out.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest time for an answer, its body aside.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same where a component is compiled.
const COMPILING: Duration = Duration::from_secs(240);
/// The path of uploads.
pub(crate) const UPLOAD: &str = "/v1/scripts/{script}/versions";

/// The name that was given, where it is harmless, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let harmless = |text: &&str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            // Somebody's key, sent in the wrong place, does not go into the log.
            && !text.contains("cbk_")
            && !text.contains("cbt_")
    };
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(harmless);
    given.map_or_else(|| callbox_store::id::new("req"), ToOwned::to_owned)
}

/// The name of a request, for whoever writes down who did something.
#[derive(Clone, Debug)]
pub(crate) struct RequestName(pub(crate) String);

pub(crate) async fn edge(mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestName(id.clone()));
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    // Paths nobody asked us to serve may hold anything.
    let path = if matched.is_some() { request.uri().path().to_owned() } else { String::new() };
    let patience = if matched.as_deref() == Some(UPLOAD) { COMPILING } else { PATIENCE };
    let span = tracing::info_span!("request", id);
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span);
    let mut response = match timeout(patience, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => Problem::internal(said(&*panic)).into_response(),
        Err(_) => Problem::unavailable("timeout", "the request took too long", 5).into_response(),
    };
    let key = response.extensions_mut().remove::<KeyId>();
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let allow = response.headers_mut().remove(ALLOW);
        response = problem.render(&id, allow);
    }
    let status = response.status().as_u16();
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let key = key.as_ref().map(|key| key.0.as_str());
    tracing::info!(target: "callbox_api::access", request_id = id, %method, path, status, ms, key, "served");
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The text of a panic.
pub(crate) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("without words"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use serde_json::Value;
    use std::sync::{Arc, Mutex};
    use tower::ServiceExt;

    async fn panicking() {
        panic!("with a secret");
    }

    /// Collects what is logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_request_is_one_line_without_what_may_be_secret() {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let _guard = tracing::subscriber::set_default(log);
        let router = Router::new().route("/here/{id}", get(async || "x")).fallback(async || "y");
        let router = router.layer(axum::middleware::from_fn(edge));
        for path in ["/here/1?key=cbk_5ecret", "/cbk_5ecret?a=cbk_5ecret", "/here/%0Aforged"] {
            let request = Request::get(path).header("authorization", "Bearer cbk_5ecret").header(REQUEST_ID, "r\u{fc}");
            router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        }
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(!text.contains("5ecret"), "{text}");
        assert!(text.lines().next().unwrap().contains("path=\"/here/1\" status=200"), "{text}");
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_without_details() {
        let router = Router::new().route("/", get(panicking)).layer(axum::middleware::from_fn(edge));
        let request = Request::get("/").header(REQUEST_ID, "r-1").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers()[REQUEST_ID].to_str().unwrap()), (500, "r-1"));
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&problem["code"], &problem["request_id"]), (&"internal".into(), &"r-1".into()));
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
}
