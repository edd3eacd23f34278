//! What the API answers when it does not do what was asked: a problem document
//! (RFC 9457) with a stable code.

use axum::Json;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use callbox_call::{LiveError, PlaceError, Quota, TollRefusal};
use callbox_script::AdmissionError;
use callbox_store::{FieldError, StoreError};
use serde::Serialize;
use utoipa::ToSchema;

/// The content type of a problem document.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// A problem document (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemDocument {
    /// `about:blank`: `code` tells what it is.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// What the status means.
    #[schema(example = "Unprocessable Entity")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 422, minimum = 400, maximum = 599)]
    status: u16,
    /// What went wrong, for a person.
    detail: String,
    /// Stable, for programs.
    #[schema(example = "invalid_input")]
    code: String,
    /// The name of the request in the host's log; also in `X-Request-Id`.
    request_id: String,
    /// For bad input: everything that was found wrong.
    errors: Vec<FieldError>,
}

/// Why a request was not served. The edge makes the document of it.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: String,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<u64>,
    /// For the log alone.
    cause: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { status, code: code.to_owned(), detail, errors: Vec::new(), retry_after: None, cause: None }
    }

    /// No key, or not one that is valid. The same for every reason.
    pub(crate) fn unauthorized() -> Self {
        let detail = "send a valid API key as `Authorization: Bearer cbk_…`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub(crate) fn conflict(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// Input that was read but is not right.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let all: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.path, e.message)).collect();
        let detail = format!("the input is not valid: {}", all.join("; "));
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_input", detail) }
    }

    /// One wrong field.
    pub(crate) fn field(path: &str, code: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(path, code, message)])
    }

    /// Try the same again after so many seconds.
    pub(crate) fn unavailable(code: &str, detail: impl Into<String>, retry_after: u64) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail) }
    }

    /// The tenant may use no more of this. What passes with time is a 429 with `Retry-After`, the rest a 403.
    pub(crate) fn quota(quota: Quota, detail: impl Into<String>, retry_in_ms: u64) -> Self {
        let code = match quota {
            Quota::ConcurrentCalls => "calls_exceeded",
            Quota::CallsPerSecond => "call_rate_exceeded",
            Quota::Scripts => "scripts_exceeded",
            Quota::Versions => "versions_exceeded",
            Quota::Storage => "storage_exceeded",
            Quota::OutboundPrefixes => "destination_not_allowed",
            Quota::OutboundConcurrent => "outbound_calls_exceeded",
            Quota::OutboundRate => "outbound_rate_exceeded",
            Quota::OutboundMinutes => "outbound_minutes_exceeded",
        };
        match quota {
            Quota::Scripts | Quota::Versions | Quota::Storage | Quota::OutboundPrefixes => {
                Self::new(StatusCode::FORBIDDEN, code, detail)
            }
            _ => {
                let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail);
                problem.retry_after(retry_in_ms.div_ceil(1_000).max(1))
            }
        }
    }

    /// Our fault; the cause is for the log alone.
    pub(crate) fn internal(cause: impl std::fmt::Display) -> Self {
        let detail = "something went wrong on our side; the request id finds it in the host's log";
        let problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail);
        Self { cause: Some(cause.to_string()), ..problem }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The response with its document; a cause goes into the log.
    pub(crate) fn render(self, request_id: &str, allow: Option<HeaderValue>) -> Response {
        if let Some(cause) = &self.cause {
            tracing::error!(request_id, code = self.code, cause, "a request failed");
        }
        let document = ProblemDocument {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code,
            request_id: request_id.to_owned(),
            errors: self.errors,
        };
        let mut response = (self.status, Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = allow {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

impl IntoResponse for Problem {
    /// Status alone; the edge knows the request's id and writes the document.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let (code, text) = (error.code(), error.to_string());
        match error {
            StoreError::NotFound { .. } => Self::not_found(text),
            StoreError::Conflict { .. } => Self::conflict(code, text),
            StoreError::Invalid(errors) => Self::invalid(errors),
            StoreError::Unbound(names) => {
                let error = |name: String| FieldError::new("bindings", "unbound", format!("{name} is not bound"));
                Self::conflict(code, text).errors(names.into_iter().map(error).collect())
            }
            StoreError::InvalidCursor => Self::new(StatusCode::BAD_REQUEST, code, text),
            // Paths and figures of the machine are not for customers.
            transient if transient.is_transient() => {
                let problem = Self::unavailable(code, "the database cannot do this now; try again soon", 5);
                Self { cause: Some(text), ..problem }
            }
            StoreError::Closed => Self::unavailable("shutting_down", "the host is going down", 5),
            _ => Self::internal(text),
        }
    }
}

impl From<LiveError> for Problem {
    fn from(error: LiveError) -> Self {
        match error {
            LiveError::NotRunning => Self::conflict("call_not_active", error.to_string()),
            LiveError::Busy => Self::unavailable("call_busy", error.to_string(), 1),
        }
    }
}

impl From<PlaceError> for Problem {
    fn from(error: PlaceError) -> Self {
        let text = error.to_string();
        match error {
            PlaceError::Unavailable(_) => Self::unavailable("unavailable", text, 5),
            PlaceError::NotReady(_) => Self::conflict("number_not_ready", text),
            PlaceError::Busy => Self::conflict("number_busy", text),
            PlaceError::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "target_not_allowed", text)
                .errors(vec![FieldError::new("to", "not_allowed", "no trunk is for this number, there is no such SIP account, or the operator does not allow this target")]),
            PlaceError::Quota { quota, retry_in_ms } => Self::quota(quota, text, retry_in_ms.unwrap_or(1_000)),
            PlaceError::Barred(TollRefusal::Prefix) => Self::new(StatusCode::FORBIDDEN, "destination_not_allowed", text)
                .errors(vec![FieldError::new("to", "not_allowed", "this tenant or number may not call numbers that begin so")]),
            PlaceError::Barred(TollRefusal::Concurrent) => Self::quota(Quota::OutboundConcurrent, text, 1_000),
            PlaceError::Barred(TollRefusal::Rate { retry_in_ms }) => Self::quota(Quota::OutboundRate, text, retry_in_ms),
            PlaceError::Barred(TollRefusal::Spent) => Self::quota(Quota::OutboundMinutes, text, 3_600_000),
            PlaceError::Barred(TollRefusal::Unknown(error)) => error.into(),
            PlaceError::Trunk(_) => Self::field("trunk_id", "not_found", text),
            PlaceError::TrunkBusy => Self::conflict("trunk_busy", text),
            PlaceError::NotRegistered(_) => Self::conflict("account_not_registered", text),
            // What is missing is named in the body, not in the path.
            PlaceError::Store(StoreError::NotFound { kind, .. }) => {
                let path = match kind {
                    "version" => "version",
                    "script" => "script_id",
                    _ => "number_id",
                };
                Self::field(path, "not_found", text)
            }
            PlaceError::Store(error) => error.into(),
            PlaceError::Sip(_) => {
                let problem = Self::new(StatusCode::BAD_GATEWAY, "call_not_begun", "the call could not be begun");
                Self { cause: Some(text), ..problem }
            }
        }
    }
}

impl From<AdmissionError> for Problem {
    fn from(error: AdmissionError) -> Self {
        let (code, text) = (error.code(), error.to_string());
        match error {
            AdmissionError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, code, text),
            AdmissionError::Busy => Self::unavailable(code, text, 5),
            AdmissionError::Host(_) => Self { code: code.to_owned(), ..Self::internal(text) },
            _ => Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, text),
        }
    }
}
