//! What can be wrong with a message, and what to answer.

use super::{Field, HeaderName, Headers, Message, Method, StartLine, reason_phrase};

/// Why one value does not read as what its field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueFault {
    /// Nothing where a value belongs.
    #[error("empty")]
    Empty,
    /// Longer than [`MAX_VALUE`](super::MAX_VALUE).
    #[error("too long")]
    TooLong,
    /// A quoted string that does not end.
    #[error("quoted string does not end")]
    OpenQuote,
    /// `<` without `>` or the reverse.
    #[error("angle brackets do not match")]
    Brackets,
    /// A comma, quote or bracket in a display name without quotes.
    #[error("display name needs quotes")]
    DisplayName,
    /// A `;name=value` that is none.
    #[error("bad parameter")]
    Parameter,
    /// No `scheme:` at the front.
    #[error("no URI scheme")]
    Scheme,
    /// Blanks, control characters, quotes or brackets inside a URI.
    #[error("character not allowed in a URI")]
    UriCharacter,
    /// A host that is no name, IPv4 address or bracketed IPv6 address.
    #[error("bad host")]
    Host,
    /// A port that is no number below 65536.
    #[error("bad port")]
    Port,
    /// Headers in a URI where the field forbids them.
    #[error("URI headers not allowed here")]
    UriHeaders,
    /// No number, or one out of range.
    #[error("bad number")]
    Number,
    /// No token where one belongs.
    #[error("bad token")]
    Token,
    /// A protocol other than SIP/2.0.
    #[error("not SIP/2.0")]
    Protocol,
    /// More than one value where one belongs.
    #[error("more than one value")]
    Several,
    /// Line breaks or NUL in a value that we were asked to write.
    #[error("line break or NUL not allowed")]
    Injection,
}

/// A field that is missing or does not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The field is not there.
    #[error("{0} is missing")]
    Missing(Field),
    /// The field is there and does not read.
    #[error("{0}: {1}")]
    Invalid(HeaderName, ValueFault),
}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing but line breaks.
    #[error("empty message")]
    Empty,
    /// Larger than [`MAX_MESSAGE`](super::MAX_MESSAGE).
    #[error("message larger than {} bytes", super::MAX_MESSAGE)]
    TooLarge,
    /// No request line and no status line.
    #[error("bad start line")]
    StartLine,
    /// A SIP version other than 2.0.
    #[error("SIP version not supported")]
    Version,
    /// A status code outside 100 to 699.
    #[error("bad status code")]
    Status,
    /// The request URI does not read.
    #[error("bad request URI: {0}")]
    RequestUri(ValueFault),
    /// A line that is no `Name: value`.
    #[error("line that is no header field")]
    HeaderLine,
    /// A carriage return without line feed, which some peers would read as the end of a line.
    #[error("bare carriage return")]
    BareCr,
    /// More than [`MAX_HEADERS`](super::MAX_HEADERS).
    #[error("more than {} header fields", super::MAX_HEADERS)]
    TooManyHeaders,
    /// More than [`MAX_VIAS`](super::MAX_VIAS) hops.
    #[error("more than {} Via values", super::MAX_VIAS)]
    TooManyVias,
    /// A field that must be there once is there twice.
    #[error("{0} is there more than once")]
    Duplicate(Field),
    /// A field that must be there is missing or does not read.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The method in `CSeq` is not the method of the request.
    #[error("CSeq names another method")]
    MethodMismatch,
    /// `Content-Length` promises more bytes than came.
    #[error("body shorter than Content-Length")]
    ShortBody,
}

/// A message that was not taken: what is wrong, where, and what to answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{fault} (at byte {at})")]
pub struct ParseError {
    /// What is wrong.
    pub fault: Fault,
    /// Offset of the line in question.
    pub at: usize,
    /// What to answer; `None` for responses, ACK, and what has no `Via` to answer to.
    pub rejection: Option<Box<Rejection>>,
}

/// A final answer to a request that goes no further, with what is needed to send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Status code, 400 to 699.
    pub status: u16,
    /// Reason phrase.
    pub reason: String,
    /// `Via`, `From`, `To`, `Call-ID`, `CSeq` of the request as far as it had them, and fields that belong
    /// to the answer (`Unsupported`, `Allow`, `Accept`).
    pub headers: Headers,
}

impl Rejection {
    /// A rejection with the fields of `request` that an answer repeats; `None` for an ACK, which is never
    /// answered, and for a request without `Via`.
    pub fn of(request: &Headers, method: Option<&Method>, status: u16, reason: impl Into<String>) -> Option<Self> {
        if method == Some(&Method::Ack) || !request.contains(Field::Via) {
            return None;
        }
        let mut headers = Headers::default();
        for field in [Field::Via, Field::From, Field::To, Field::CallId, Field::CSeq] {
            headers.copy(field, request);
        }
        Some(Self { status, reason: reason.into(), headers })
    }

    /// The response, with `to_tag` added to `To` where that has none (RFC 3261 §8.2.6.2).
    pub fn response(&self, to_tag: &str) -> Message {
        let mut response = Message {
            start: StartLine::Response { status: self.status, reason: self.reason.clone() },
            headers: self.headers.clone(),
            body: bytes::Bytes::new(),
        };
        response.add_to_tag(to_tag);
        response
    }
}

impl Fault {
    /// The status code that answers a request with this fault.
    pub fn status(&self) -> u16 {
        match self {
            Self::Version => 505,
            Self::TooLarge => 513,
            _ => 400,
        }
    }

    pub(crate) fn rejection(&self, headers: &Headers, method: Option<&Method>) -> Option<Rejection> {
        let status = match (self, method) {
            // RFC 4475 §3.1.2.18: we would not know the method even if CSeq agreed.
            (Self::MethodMismatch, Some(Method::Other(_))) => 501,
            _ => self.status(),
        };
        let reason = match status {
            400 => format!("Bad Request ({self})"),
            _ => reason_phrase(status).to_owned(),
        };
        Rejection::of(headers, method, status, reason)
    }
}
