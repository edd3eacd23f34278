//! The context request: asked at the INVITE, answered with what the customer knows
//! of the caller. Signed like a webhook, one attempt, bounded in time and size.

use crate::egress::{Egress, EgressError, Post};
use crate::guard::Refused;
use crate::signing::{SignError, sign};
use bytes::Bytes;
use callbox_store::bindings::Credentials;
use callbox_store::outbox::Envelope;
use callbox_store::{API_VERSION, TenantId, UnixMs, id};
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::Duration;

/// Longest answer of a context source, bytes.
pub const MAX_CONTEXT: usize = 256 * 1024;

/// What to ask, and whom.
#[derive(Debug)]
pub struct ContextRequest<'a> {
    /// Of the binding.
    pub url: &'a str,
    /// Of [`callbox_store::Store::source_credentials`].
    pub credentials: &'a Credentials,
    /// Whose call it is.
    pub tenant_id: &'a TenantId,
    /// The call.
    pub call_id: &'a str,
    /// Now: it is signed.
    pub created_at: UnixMs,
    /// The header of its trace, where the call is traced.
    pub traceparent: Option<String>,
    /// `{source, parameters, call: {direction, from, to, caller, callee, headers, relation_id …}}`
    pub data: Value,
}

/// Why there is no context. No text holds the URL or the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The binding's time is over.
    #[error("no answer in time")]
    TimedOut,
    /// The URL leads where requests may not go.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Nobody there, or the exchange broke.
    #[error("{0}")]
    Unreachable(String),
    /// The answer is not a success. Redirects are not followed.
    #[error("the answer has status {0}")]
    Status(u16),
    /// Longer than [`MAX_CONTEXT`].
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// Not JSON.
    #[error("the answer is not JSON: {0}")]
    NotJson(String),
    /// JSON, but not an object.
    #[error("the answer is JSON but not an object")]
    NotAnObject,
    /// The request could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl From<EgressError> for FetchError {
    fn from(error: EgressError) -> Self {
        match error {
            EgressError::TimedOut => Self::TimedOut,
            EgressError::Refused(refused) => Self::Refused(refused),
            EgressError::TooLarge(limit) => Self::TooLarge(limit),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

/// Asks once, within `timeout` from the first packet to the last byte. The answer
/// is the text of a JSON object.
pub async fn fetch_context(
    egress: &Egress,
    request: ContextRequest<'_>,
    timeout: Duration,
) -> Result<String, FetchError> {
    let event_id = id::new("evt");
    let data =
        serde_json::value::to_raw_value(&request.data).map_err(|error| FetchError::NotJson(error.to_string()))?;
    let envelope = Envelope {
        id: &event_id,
        kind: "context.request",
        api_version: API_VERSION,
        created_at: request.created_at,
        tenant_id: request.tenant_id,
        call_id: Some(request.call_id),
        sequence: None,
        data: &data,
    };
    let body = serde_json::to_vec(&envelope).map_err(|error| FetchError::NotJson(error.to_string()))?;
    let credentials = request.credentials;
    let mut headers: Vec<_> =
        credentials.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    headers.extend(sign(&credentials.signing, &event_id, request.created_at, &body)?);
    headers.extend(request.traceparent.map(|trace| ("traceparent".to_owned(), trace)));
    let post = Post { url: request.url, headers, body: Bytes::from(body), timeout };
    let (status, body) = egress
        .exchange(post, async |answer| {
            let status = answer.status;
            // A refusal is not worth reading.
            let body = if (200..300).contains(&status) { answer.body(MAX_CONTEXT).await? } else { Vec::new() };
            Ok((status, body))
        })
        .await?;
    if !(200..300).contains(&status) {
        return Err(FetchError::Status(status));
    }
    object(body)
}

/// The text, where it is a JSON object.
pub(crate) fn object(body: Vec<u8>) -> Result<String, FetchError> {
    let text = String::from_utf8(body).map_err(|_| FetchError::NotJson("not UTF-8".to_owned()))?;
    // The position, but never the words: they may be personal.
    let place =
        |error: serde_json::Error| FetchError::NotJson(format!("line {} column {}", error.line(), error.column()));
    let value: &RawValue = serde_json::from_str(&text).map_err(place)?;
    if value.get().starts_with('{') { Ok(text) } else { Err(FetchError::NotAnObject) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_pass() {
        assert_eq!(object(b" {\"a\": [1, {}]} ".to_vec()), Ok(" {\"a\": [1, {}]} ".to_owned()));
        for other in ["[]", "1", "null", "\"{}\""] {
            assert_eq!(object(other.into()), Err(FetchError::NotAnObject), "{other}");
        }
        for broken in ["", "{", "{} {}", "{'a':1}", "\u{feff}{}"] {
            assert!(matches!(object(broken.into()), Err(FetchError::NotJson(_))), "{broken}");
        }
        assert!(matches!(object(vec![b'{', 0xff, b'}']), Err(FetchError::NotJson(_))));
        assert!(matches!(object("[".repeat(100_000).into()), Err(FetchError::NotJson(_))));
    }
}
