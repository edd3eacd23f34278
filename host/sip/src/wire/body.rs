//! Finding the part of a body that is wanted, alone or inside a multipart.

use bytes::Bytes;

use super::value::MediaType;
use super::{Field, Message, lex};

/// More parts than this are not looked at.
const MAX_PARTS: usize = 16;

/// The result of looking for one kind of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is no body.
    Empty,
    /// The content.
    Found(Bytes),
    /// There is a body, and nothing in it is of that kind: 415 where it was needed.
    Unsupported,
}

impl Body {
    /// The content if it was found.
    pub fn found(self) -> Option<Bytes> {
        match self {
            Self::Found(bytes) => Some(bytes),
            Self::Empty | Self::Unsupported => None,
        }
    }
}

impl Message {
    /// Finds content of the given type, `application/sdp` above all, in the body or in a part of a multipart body
    /// (RFC 5621). SDP without a `Content-Type` is recognised by its first line.
    pub fn body_of(&self, kind: &str) -> Body {
        if self.body.is_empty() {
            return Body::Empty;
        }
        if self.headers.get(Field::ContentEncoding).is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
            return Body::Unsupported;
        }
        match self.content_type() {
            Ok(Some(found)) => find(&found, &self.body, kind, 0).map_or(Body::Unsupported, Body::Found),
            Ok(None) if kind == "application/sdp" && self.body.starts_with(b"v=0") => Body::Found(self.body.clone()),
            _ => Body::Unsupported,
        }
    }

    /// Finds the SDP of this message.
    pub fn sdp(&self) -> Body {
        self.body_of("application/sdp")
    }
}

fn find(found: &MediaType, body: &Bytes, wanted: &str, depth: u8) -> Option<Bytes> {
    if found.is(wanted) {
        return Some(body.clone());
    }
    // One multipart inside another is all that is seen in the wild.
    if !found.is_kind("multipart") || depth > 1 {
        return None;
    }
    let boundary = found.params.get("boundary").filter(|boundary| !boundary.is_empty() && boundary.len() <= 70)?;
    let delimiter = [b"--", boundary.as_ref()].concat();
    parts(body, &delimiter).find_map(|part| {
        let (kind, content) = open(&part)?;
        find(&kind, &content, wanted, depth + 1)
    })
}

/// The parts between the delimiter lines (RFC 2046 §5.1.1).
fn parts(body: &Bytes, delimiter: &[u8]) -> impl Iterator<Item = Bytes> {
    let mut at = 0;
    let mut starts: Vec<(usize, usize)> = Vec::new();
    while at < body.len() && starts.len() <= MAX_PARTS {
        let end = body[at..].iter().position(|&b| b == b'\n').map_or(body.len(), |len| at + len + 1);
        if body[at..end].strip_prefix(delimiter).is_some_and(|rest| matches!(rest.trim_ascii(), b"" | b"--")) {
            starts.push((at, end));
        }
        at = end;
    }
    let ends: Vec<usize> = starts.iter().skip(1).map(|&(at, _)| at).chain([body.len()]).collect();
    starts.into_iter().zip(ends).map(move |((_, start), end)| {
        // The line break before a delimiter belongs to the delimiter.
        let part = &body[start.min(end)..end];
        let part = part.strip_suffix(b"\n").unwrap_or(part);
        let part = part.strip_suffix(b"\r").unwrap_or(part);
        body.slice_ref(part)
    })
}

/// Splits a part into its type and its content; `None` when it is encoded in a way we do not undo.
fn open(part: &Bytes) -> Option<(MediaType, Bytes)> {
    let mut kind = None;
    let mut at = 0;
    loop {
        let end = at + part[at..].iter().position(|&b| b == b'\n')? + 1;
        let line = part[at..end].trim_ascii_end();
        at = end;
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        let value = line[colon + 1..].trim_ascii();
        match lex::trim(&line[..colon]) {
            name if Field::find(name) == Some(Field::ContentType) => {
                kind = Some(MediaType::parse(&part.slice_ref(value)).ok()?);
            }
            name if name.eq_ignore_ascii_case(b"Content-Transfer-Encoding") && !is_plain(value) => return None,
            _ => {}
        }
    }
    Some((kind?, part.slice(at..)))
}

fn is_plain(encoding: &[u8]) -> bool {
    [&b"binary"[..], b"8bit", b"7bit"].iter().any(|plain| encoding.eq_ignore_ascii_case(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Method, Uri};

    fn message(kind: &'static str, body: &'static str) -> Message {
        let mut message = Message::request(Method::Invite, Uri::from_text("sip:a@h").unwrap());
        message.set_body(kind, body).unwrap();
        message
    }

    const MIXED: &str = "preamble\r\n--b 1\r\nContent-Type: application/isup\r\n\r\nv=0 not\r\n--b 1\r\n\
        C: application/SDP\r\nContent-Disposition: session\r\n\r\nv=0\r\ns=-\r\n\r\n--b 1--\r\nafter";

    #[test]
    fn finds_sdp() {
        for (kind, body, expected) in [
            ("application/sdp", "v=0", Some("v=0")),
            ("APPLICATION/sdp;charset=utf-8", "v=0", Some("v=0")),
            ("multipart/mixed;boundary=\"b 1\"", MIXED, Some("v=0\r\ns=-\r\n")),
            ("multipart/mixed", MIXED, None),
            ("multipart/mixed;boundary=c", MIXED, None),
            ("multipart/mixed;boundary=c", "--c\nc:application/sdp\n\nv=0\n--c--", Some("v=0")),
            ("multipart/mixed;boundary=c", "--c\nc:application/sdp\n\nv=0", Some("v=0")),
            ("multipart/mixed;boundary=c", "--c", None),
            (
                "multipart/mixed;boundary=c",
                "--c\nContent-Transfer-Encoding: base64\nc:application/sdp\n\ndj0w\n--c--",
                None,
            ),
            ("text/plain", "v=0", None),
        ] {
            let found = message(kind, body).sdp().found();
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{kind}");
        }
        let mut bare = message("text/plain", "v=0\r\n");
        bare.headers.remove(Field::ContentType);
        assert!(matches!(bare.sdp(), Body::Found(_)));
        bare.body = Bytes::new();
        assert_eq!(bare.sdp(), Body::Empty);
    }
}
