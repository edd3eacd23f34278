//! The checks that a user agent server makes before it looks at what a request wants (RFC 3261 §8.2).

use bytes::Bytes;

use super::{Body, Field, Message, Method, Rejection, Scheme, lex, reason_phrase};

/// What this user agent can do.
#[derive(Clone, Copy, Debug)]
pub struct Support<'a> {
    /// Methods that are served.
    pub methods: &'a [Method],
    /// Option tags that may stand in `Require`.
    pub extensions: &'a [&'a str],
    /// The content type of session descriptions.
    pub session: &'a str,
}

impl Support<'_> {
    /// `Allow` for responses.
    pub fn allow(&self) -> Bytes {
        self.methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ").into()
    }
}

/// Checks a request that was read: method, URI scheme, required extensions, content. Responses, ACK and CANCEL of
/// known extensions pass. `Max-Forwards: 0` passes, for the end of the way is reached (RFC 4475 §3.3.11).
///
/// # Errors
/// The answer to send: 501, 405 with `Allow`, 416, 420 with `Unsupported`, 415 with `Accept`, 406.
pub fn screen(request: &Message, support: &Support<'_>) -> Result<(), Box<Rejection>> {
    let (Some(method), Some(uri)) = (request.method(), request.request_uri()) else { return Ok(()) };
    if *method == Method::Ack {
        return Ok(());
    }
    let refuse = |status: u16, extra: Option<(Field, Bytes)>| -> Result<(), Box<Rejection>> {
        let Some(mut rejection) = Rejection::of(&request.headers, Some(method), status, reason_phrase(status)) else {
            return Ok(());
        };
        if let Some((field, value)) = extra {
            rejection.headers.push_checked(field.into(), value);
        }
        Err(Box::new(rejection))
    };
    if !support.methods.contains(method) {
        let status = if matches!(method, Method::Other(_)) { 501 } else { 405 };
        return refuse(status, Some((Field::Allow, support.allow())));
    }
    if uri.scheme() == Scheme::Other {
        return refuse(416, None);
    }
    if *method != Method::Cancel {
        let unknown: Vec<Bytes> = request
            .headers
            .get_all(Field::Require)
            .filter(|tag| !support.extensions.iter().any(|known| tag.eq_ignore_ascii_case(known.as_bytes())))
            .collect();
        if !unknown.is_empty() {
            return refuse(420, Some((Field::Unsupported, unknown.join(&b", "[..]).into())));
        }
    }
    if matches!(method, Method::Invite | Method::Update | Method::Prack) {
        if request.body_of(support.session) == Body::Unsupported {
            let accept = format!("{}, multipart/mixed", support.session);
            return refuse(415, Some((Field::Accept, accept.into())));
        }
        if *method == Method::Invite && !accepts(request, support.session) {
            return refuse(406, None);
        }
    }
    Ok(())
}

/// Whether the sender takes answers of that type. An empty `Accept` would forbid all (RFC 3261 §20.1), but what
/// sends it means none such.
fn accepts(request: &Message, wanted: &str) -> bool {
    let mut ranges = request.headers.get_all(Field::Accept).peekable();
    ranges.peek().is_none()
        || ranges.any(|range| {
            let end = range.iter().position(|&b| b == b';').unwrap_or(range.len());
            let range = lex::trim(&range[..end]);
            let kind = wanted.split('/').next().unwrap_or_default();
            range == b"*/*"
                || range.eq_ignore_ascii_case(wanted.as_bytes())
                || range.strip_suffix(b"/*").is_some_and(|prefix| prefix.eq_ignore_ascii_case(kind.as_bytes()))
        })
}
