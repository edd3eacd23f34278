//! Signatures as Standard Webhooks 1.0 has them: HMAC-SHA256 over
//! `id.timestamp.body`, one signature per secret.

use callbox_store::UnixMs;
use callbox_store::secrets::Secret;
use standardwebhooks::Webhook;

/// A request cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// No secret is stored.
    #[error("there is no signing secret; store the bindings or the webhook again")]
    NoSecret,
    /// The secret is not `whsec_` and base64.
    #[error("the signing secret cannot be used; rotate it")]
    BadSecret,
    /// The body is not UTF-8.
    #[error("the body is not text")]
    BadBody,
}

/// The three headers of a signed request: `webhook-id`, `webhook-timestamp`,
/// `webhook-signature`. With two secrets there are two signatures, so that the
/// receiver can change over.
pub fn sign(secrets: &[Secret], id: &str, now: UnixMs, body: &[u8]) -> Result<[(String, String); 3], SignError> {
    if secrets.is_empty() {
        return Err(SignError::NoSecret);
    }
    let timestamp = now.0.div_euclid(1_000);
    let mut signatures = Vec::with_capacity(secrets.len());
    for secret in secrets {
        let signer = Webhook::new(secret.expose()).map_err(|_| SignError::BadSecret)?;
        signatures.push(signer.sign(id, timestamp, body).map_err(|_| SignError::BadBody)?);
    }
    Ok([
        (standardwebhooks::HEADER_WEBHOOK_ID.to_owned(), id.to_owned()),
        (standardwebhooks::HEADER_WEBHOOK_TIMESTAMP.to_owned(), timestamp.to_string()),
        (standardwebhooks::HEADER_WEBHOOK_SIGNATURE.to_owned(), signatures.join(" ")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the specification's own libraries.
    #[test]
    fn the_known_signature() {
        let secret = Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned());
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let [_, at, signature] =
            sign(&[secret], "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", UnixMs(1_649_367_553_999), body).unwrap();
        assert_eq!(at.1, "1649367553");
        assert_eq!(signature.1, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn what_cannot_be_signed_says_why() {
        assert_eq!(sign(&[], "evt_1", UnixMs(0), b""), Err(SignError::NoSecret));
        let broken = Secret::new("whsec_!".to_owned());
        assert_eq!(sign(&[broken], "evt_1", UnixMs(0), b""), Err(SignError::BadSecret));
    }
}
