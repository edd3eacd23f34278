//! What browsers ask before a page may talk to another origin than its own (CORS), for what pages talk to.
//!
//! Any origin is told yes. Whether a page may call is said by its token, which a preflight does not carry, and is looked
//! at with every request: a page that may not is refused then, and reads why. There is nothing else that it could
//! misuse: no cookie counts here, and whoever has no token gets nothing.

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, ORIGIN, VARY,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Where calls begin.
pub(crate) const CALLS: &str = "/v1/webrtc/calls";
/// Where a page learns what its token is good for.
pub(crate) const TOKEN: &str = "/v1/webrtc/token";

/// Whether this is the path of a call that has begun.
pub(crate) fn is_call(path: &str) -> bool {
    path.strip_prefix(CALLS).is_some_and(|rest| rest.starts_with('/'))
}

const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// Around everything, the log line included, so that problems can be read by pages, too.
pub(crate) async fn cors(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let resource = is_call(path);
    if !resource && path != CALLS && path != TOKEN {
        return next.run(request).await;
    }
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        // RFC 9725 §4.2 and RFC 5789 §3.1: what can be sent here.
        if resource {
            headers.insert(ALLOW, HeaderValue::from_static("OPTIONS, PATCH, DELETE"));
            headers.insert(ACCEPT_PATCH, HeaderValue::from_static("application/trickle-ice-sdpfrag, application/sdp"));
        } else if path == CALLS {
            headers.insert(ALLOW, HeaderValue::from_static("OPTIONS, POST"));
            headers.insert(ACCEPT_POST, HeaderValue::from_static("application/sdp"));
        } else {
            headers.insert(ALLOW, HeaderValue::from_static("OPTIONS, GET"));
        }
        if origin.is_some() {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PATCH, DELETE"));
            headers.insert(
                ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static("Authorization, Content-Type, If-Match, X-Request-Id, Traceparent"),
            );
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
        }
        response
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Location, ETag, Link, Retry-After, X-Request-Id"),
        );
    }
    response
}
