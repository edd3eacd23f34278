//! What becomes of an exchange with a provider.

use super::shorten;
use std::error::Error as _;
use std::io;
use tokio_tungstenite::tungstenite;

/// Why a provider gave no result. No text of it holds a key or a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderFailure {
    /// Its name does not resolve, nobody listens, or TLS failed.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("{what} took longer than {limit_ms} ms")]
    TimedOut {
        /// `connecting`, `the first piece`, `the next piece`.
        what: &'static str,
        /// What it was allowed.
        limit_ms: u64,
    },
    /// The key is missing or not good (401, 403).
    #[error("it refuses the key (status {status}){}", said(message))]
    Unauthorised {
        /// Of HTTP.
        status: u16,
        /// In its words, shortened.
        message: String,
    },
    /// More was asked of it than it serves (429).
    #[error("too many requests (status 429){}{}", after(*retry_after_s), said(message))]
    Throttled {
        /// When it may be asked again, in seconds.
        retry_after_s: Option<u32>,
        /// In its words, shortened.
        message: String,
    },
    /// Any other status that is no success, redirects among them.
    #[error("status {status}{}", said(message))]
    Status {
        /// Of HTTP.
        status: u16,
        /// In its words, shortened.
        message: String,
    },
    /// It said in a message that it failed.
    #[error("it reports an error{}", said(.0))]
    Reported(String),
    /// The connection ended before the result.
    #[error("it closed the connection{}", said(.0))]
    Closed(String),
    /// What it sent is not what its protocol has.
    #[error("it sent what its protocol does not have: {0}")]
    Rubbish(String),
    /// It sent more than it may.
    #[error("it sent more than {limit} bytes of {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// What it was allowed.
        limit: usize,
    },
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn after(seconds: Option<u32>) -> String {
    seconds.map_or_else(String::new, |seconds| format!(", again in {seconds} s"))
}

impl ProviderFailure {
    /// A stable word for logs, metrics and the API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "speech_provider_unreachable",
            Self::TimedOut { .. } => "speech_provider_timed_out",
            Self::Unauthorised { .. } => "speech_provider_unauthorised",
            Self::Throttled { .. } => "speech_provider_throttled",
            Self::Status { .. } => "speech_provider_status",
            Self::Reported(_) => "speech_provider_reported",
            Self::Closed(_) => "speech_provider_closed",
            Self::Rubbish(_) => "speech_provider_rubbish",
            Self::TooMuch { .. } => "speech_provider_too_much",
        }
    }

    /// By a status that is no success, and what came with it.
    pub(super) fn of_status(status: u16, retry_after: Option<&str>, body: &str) -> Self {
        let message = words_of(body);
        match status {
            401 | 403 => Self::Unauthorised { status, message },
            429 => Self::Throttled { retry_after_s: retry_after.and_then(|s| s.trim().parse().ok()), message },
            _ => Self::Status { status, message },
        }
    }

    pub(super) fn of_http(error: reqwest::Error, limit_ms: u64) -> Self {
        let error = error.without_url();
        if error.is_timeout() {
            return Self::TimedOut { what: "connecting", limit_ms };
        }
        let mut parts = Vec::new();
        let mut cause = error.source();
        while let Some(inner) = cause {
            parts.push(inner.to_string());
            cause = inner.source();
        }
        let words = shorten(&if parts.is_empty() { error.to_string() } else { parts.join(": ") });
        if error.is_connect() { Self::Unreachable(words) } else { Self::Closed(words) }
    }

    pub(super) fn of_websocket(error: tungstenite::Error) -> Self {
        use tungstenite::Error;
        match error {
            Error::Http(answer) => {
                let retry = answer.headers().get("retry-after").and_then(|v| v.to_str().ok());
                let body = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                Self::of_status(answer.status().as_u16(), retry, &body)
            }
            Error::Capacity(error) => Self::Rubbish(shorten(&error.to_string())),
            Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Self::Unreachable(shorten(&error.to_string()))
            }
            Error::ConnectionClosed | Error::AlreadyClosed => Self::Closed(String::new()),
            Error::Io(error) => Self::Closed(shorten(&error.to_string())),
            other => Self::Rubbish(shorten(&other.to_string())),
        }
    }
}

/// What an error's body says: the message of the usual JSON, else the beginning of the text.
fn words_of(body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let told = json.as_ref().and_then(|json| {
        let places = ["/error/message", "/err_msg", "/message", "/error", "/detail"];
        places.iter().find_map(|place| json.pointer(place)?.as_str())
    });
    shorten(told.unwrap_or(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_status_and_what_was_said() {
        let failure = ProviderFailure::of_status;
        for (made, said) in [
            (
                failure(401, None, r#"{"error":{"message":"Incorrect key"}}"#),
                "it refuses the key (status 401): Incorrect key",
            ),
            (failure(403, None, ""), "it refuses the key (status 403)"),
            (
                failure(429, Some("7"), r#"{"err_msg":"slow\ndown"}"#),
                "too many requests (status 429), again in 7 s: slow down",
            ),
            (failure(429, Some("soon"), ""), "too many requests (status 429)"),
            (failure(503, None, "<html>"), "status 503: <html>"),
            (failure(302, None, ""), "status 302"),
        ] {
            assert_eq!(made.to_string(), said);
        }
        assert_eq!(failure(500, None, &"x".repeat(9_999)).to_string().len(), "status 500: ".len() + 200);
    }
}
