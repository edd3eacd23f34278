//! A whole message and its typed fields.

use std::net::SocketAddr;

use bytes::Bytes;

use super::value::{CSeq, MediaType};
use super::{Field, HeaderError, Headers, Method, NameAddr, Uri, ValueFault, Via, lex, reason_phrase};

/// A SIP request or response. Header values are the bytes that were received; typed accessors read them on demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The first line.
    pub start: StartLine,
    /// The header fields, without `Content-Length`.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

/// The first line of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartLine {
    /// A request line.
    Request {
        /// What is asked.
        method: Method,
        /// Of whom.
        uri: Uri,
    },
    /// A status line.
    Response {
        /// 100 to 699.
        status: u16,
        /// The reason phrase, for people; bytes that were no UTF-8 are replaced.
        reason: String,
    },
}

impl Message {
    /// A request without any header.
    pub fn request(method: Method, uri: Uri) -> Self {
        Self { start: StartLine::Request { method, uri }, headers: Headers::default(), body: Bytes::new() }
    }

    /// A response to this request: `Via`, `From`, `To`, `Call-ID` and `CSeq` are repeated byte for byte
    /// (RFC 3261 §8.2.6.2), `Record-Route` in what may make a dialog (§12.1.1), `Timestamp` in a 100. A `to_tag` is
    /// added where `To` has none and the status is not 100. Without `reason`, the RFC's phrase is used.
    pub fn respond(&self, status: u16, reason: Option<&str>, to_tag: Option<&str>) -> Self {
        let mut headers = Headers::with_capacity(12);
        headers.copy(Field::Via, &self.headers);
        if (101..300).contains(&status) {
            headers.copy(Field::RecordRoute, &self.headers);
        }
        for field in [Field::From, Field::To, Field::CallId, Field::CSeq] {
            headers.copy(field, &self.headers);
        }
        if status == 100 {
            headers.copy(Field::Timestamp, &self.headers);
        }
        let reason = reason.unwrap_or_else(|| reason_phrase(status)).to_owned();
        let mut response = Self { start: StartLine::Response { status, reason }, headers, body: Bytes::new() };
        if let Some(tag) = to_tag.filter(|_| status > 100) {
            response.add_to_tag(tag);
        }
        response
    }

    /// Adds a tag to `To` where it has none; everything else of the value stays as it is.
    pub fn add_to_tag(&mut self, tag: &str) {
        let Some(value) = self.headers.get(Field::To) else { return };
        if !lex::is_token(tag.as_bytes()) || NameAddr::parse(value).is_ok_and(|to| to.params.contains("tag")) {
            return;
        }
        // Some end the value with a semicolon already.
        let separator: &[u8] = if value.ends_with(b";") { b"tag=" } else { b";tag=" };
        let value = [value.as_ref(), separator, tag.as_bytes()].concat();
        self.headers.set_checked(Field::To, value.into());
    }

    /// Sets the body and its `Content-Type`.
    ///
    /// # Errors
    /// A type with a line break in it.
    pub fn set_body(&mut self, content_type: &str, body: impl Into<Bytes>) -> Result<(), HeaderError> {
        self.headers.set(Field::ContentType, Bytes::copy_from_slice(content_type.as_bytes()))?;
        self.body = body.into();
        Ok(())
    }

    /// Whether this is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start, StartLine::Request { .. })
    }

    /// The method of a request.
    pub fn method(&self) -> Option<&Method> {
        match &self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// The target of a request.
    pub fn request_uri(&self) -> Option<&Uri> {
        match &self.start {
            StartLine::Request { uri, .. } => Some(uri),
            StartLine::Response { .. } => None,
        }
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Response { status, .. } => Some(status),
            StartLine::Request { .. } => None,
        }
    }

    /// `Call-ID`. There, once, and not empty in every message that was read.
    pub fn call_id(&self) -> Result<&Bytes, HeaderError> {
        self.headers.need(Field::CallId)
    }

    /// `From`. Readable in every message that was read.
    pub fn from(&self) -> Result<NameAddr, HeaderError> {
        typed(Field::From, NameAddr::parse(self.headers.need(Field::From)?))
    }

    /// `To`. Readable in every message that was read.
    pub fn to(&self) -> Result<NameAddr, HeaderError> {
        typed(Field::To, NameAddr::parse(self.headers.need(Field::To)?))
    }

    /// `CSeq`. Readable in every message that was read.
    pub fn cseq(&self) -> Result<CSeq, HeaderError> {
        typed(Field::CSeq, CSeq::parse(self.headers.need(Field::CSeq)?))
    }

    /// The hop the message came from last. Readable in every message that was read.
    pub fn top_via(&self) -> Result<Via, HeaderError> {
        let first = self.headers.get_all(Field::Via).next().ok_or(HeaderError::Missing(Field::Via))?;
        typed(Field::Via, Via::parse(&first))
    }

    /// All hops, the last first. A client drops a response that holds more than its own (RFC 3261 §8.1.3.3).
    pub fn vias(&self) -> Result<Vec<Via>, HeaderError> {
        typed(Field::Via, self.headers.get_all(Field::Via).map(|value| Via::parse(&value)).collect())
    }

    /// The first `Contact`; `None` when there is none or it is `*`.
    pub fn contact(&self) -> Result<Option<NameAddr>, HeaderError> {
        match self.headers.get_all(Field::Contact).next() {
            None => Ok(None),
            Some(value) if value.as_ref() == b"*" => Ok(None),
            Some(value) => typed(Field::Contact, NameAddr::parse(&value).map(Some)),
        }
    }

    /// All addresses of a field that lists them: `Contact`, `Route`, `Record-Route`, `P-Asserted-Identity`,
    /// `Diversion` and the like, in order. `Contact: *` gives none.
    pub fn addresses(&self, field: Field) -> Result<Vec<NameAddr>, HeaderError> {
        let values = self.headers.get_all(field).filter(|value| value.as_ref() != b"*");
        typed(field, values.map(|value| NameAddr::parse(&value)).collect())
    }

    /// `Max-Forwards`.
    pub fn max_forwards(&self) -> Result<Option<u8>, HeaderError> {
        let Some(value) = self.headers.get(Field::MaxForwards) else { return Ok(None) };
        let hops = lex::number(value).and_then(|hops| u8::try_from(hops).ok());
        typed(Field::MaxForwards, hops.map(Some).ok_or(ValueFault::Number))
    }

    /// `Expires` in seconds; a number too large becomes the largest (RFC 4475 §3.1.2.4), anything else is as if it
    /// were not there.
    pub fn expires(&self) -> Option<u32> {
        seconds(self.headers.get(Field::Expires)?)
    }

    /// `Content-Type`.
    pub fn content_type(&self) -> Result<Option<MediaType>, HeaderError> {
        let Some(value) = self.headers.get(Field::ContentType) else { return Ok(None) };
        typed(Field::ContentType, MediaType::parse(value).map(Some))
    }

    /// Notes where a request really came from in its top Via: `received` where that differs from `sent-by`
    /// (RFC 3261 §18.2.1), and `rport` where it was asked for (RFC 3581). A `received` of the sender is not believed.
    pub fn stamp_source(&mut self, source: SocketAddr) {
        let Some(line) = self.headers.get(Field::Via) else { return };
        let Some((start, end)) = lex::Split::new(line, b',').find(|(start, end)| start < end) else { return };
        let hop = line.slice(start..end);
        let Ok(via) = Via::parse(&hop) else { return };
        let (wants_port, ip) = (via.rport().is_some(), source.ip().to_canonical());
        if !wants_port && !via.params.contains("received") && via.ip() == Some(ip) {
            return;
        }
        let head = hop.len() - via.params.as_bytes().len();
        let mut value = [&line[..start], lex::trim(&hop[..head])].concat();
        for (name, content) in via.params.iter() {
            if name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport") {
                continue;
            }
            value.push(b';');
            value.extend_from_slice(name);
            if let Some(content) = content {
                value.push(b'=');
                value.extend_from_slice(content);
            }
        }
        if wants_port || via.ip() != Some(ip) {
            value.extend_from_slice(format!(";received={ip}").as_bytes());
        }
        if wants_port {
            value.extend_from_slice(format!(";rport={}", source.port()).as_bytes());
        }
        value.extend_from_slice(&line[end..]);
        self.headers.set_first(Field::Via, value.into());
    }
}

/// A number of seconds, parameters and comments after it ignored.
pub(crate) fn seconds(value: &[u8]) -> Option<u32> {
    let end = value.iter().position(|b| !b.is_ascii_digit()).unwrap_or(value.len());
    lex::number(&value[..end]).map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX))
}

pub(crate) fn typed<T>(field: Field, value: Result<T, ValueFault>) -> Result<T, HeaderError> {
    value.map_err(|fault| HeaderError::Invalid(field.into(), fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(via: &'static str) -> Message {
        let mut request = Message::request(Method::Options, Uri::from_text("sip:a@h").unwrap());
        request.headers.push(Field::Via, via).unwrap();
        request.headers.push(Field::Via, "SIP/2.0/UDP second").unwrap();
        request.headers.push(Field::To, "\"A, b\" <sip:%2B44@h;x=%3b>").unwrap();
        request.headers.push(Field::From, "sip:c@h;tag=7").unwrap();
        request.headers.push(Field::CallId, "1@h").unwrap();
        request.headers.push(Field::CSeq, "0009 OPTIONS").unwrap();
        request.headers.push(Field::RecordRoute, "<sip:p;lr>, <sip:q;lr>").unwrap();
        request
    }

    #[test]
    fn responses_repeat_the_request_byte_for_byte() {
        let request = options("SIP/2.0/UDP h , SIP/2.0/TCP i");
        let response = request.respond(200, None, Some("t1"));
        assert_eq!(response.headers.get(Field::To).unwrap().as_ref(), b"\"A, b\" <sip:%2B44@h;x=%3b>;tag=t1");
        for field in [Field::Via, Field::From, Field::CallId, Field::CSeq, Field::RecordRoute] {
            assert_eq!(
                response.headers.lines(field).collect::<Vec<_>>(),
                request.headers.lines(field).collect::<Vec<_>>()
            );
        }
        assert!(!request.respond(486, None, None).headers.contains(Field::RecordRoute));
        assert_eq!(request.respond(100, None, Some("t1")).to().unwrap().tag(), None);
        let mut again = response;
        again.add_to_tag("t2");
        assert_eq!(again.to().unwrap().tag().as_deref(), Some("t1"));
        again.headers.set(Field::To, "<sip:a@h>;").unwrap();
        again.add_to_tag("t3");
        assert_eq!(again.headers.get(Field::To).unwrap().as_ref(), b"<sip:a@h>;tag=t3");
        again.headers.set(Field::To, "<sip:a@h>").unwrap();
        again.add_to_tag("x\r\nVia: y");
        assert_eq!(again.to().unwrap().tag(), None);
    }

    #[test]
    fn the_source_is_stamped_on_the_top_hop_only() {
        for (via, source, expected) in [
            ("SIP/2.0/UDP 192.0.2.1;branch=b", "192.0.2.1:5060", "SIP/2.0/UDP 192.0.2.1;branch=b"),
            (
                "SIP/2.0/UDP 192.0.2.1 ; rport ;branch=b",
                "192.0.2.1:9",
                "SIP/2.0/UDP 192.0.2.1;branch=b;received=192.0.2.1;rport=9",
            ),
            ("SIP/2.0/UDP h;branch=b", "192.0.2.1:9", "SIP/2.0/UDP h;branch=b;received=192.0.2.1"),
            (
                "SIP/2.0/UDP h;received=1.1.1.1;branch=b",
                "[::ffff:192.0.2.1]:9",
                "SIP/2.0/UDP h;branch=b;received=192.0.2.1",
            ),
            (
                "SIP/2.0/UDP h;rport, SIP/2.0/UDP i;rport",
                "[2001:db8::1]:9",
                "SIP/2.0/UDP h;received=2001:db8::1;rport=9, SIP/2.0/UDP i;rport",
            ),
        ] {
            let mut request = options(via);
            request.stamp_source(source.parse().unwrap());
            assert_eq!(request.headers.text(Field::Via).as_deref(), Some(expected));
            assert_eq!(request.headers.lines(Field::Via).nth(1).unwrap().as_ref(), b"SIP/2.0/UDP second");
            request.top_via().unwrap();
        }
    }
}
