//! Messages out of a byte stream (RFC 3261 §18.3, RFC 5626 §4.4.1).

use bytes::{Buf, Bytes, BytesMut};

use super::parse::reject_head;
use super::{Fault, Field, MAX_MESSAGE, ParseError, lex};

/// What a stream yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The bytes of one message, for [`parse_bytes`](super::parse_bytes).
    Message(Bytes),
    /// A keep-alive (two empty lines), to be answered with one: `\r\n`.
    Ping,
}

/// Cuts a stream into messages. It remembers how far it has looked, so that a sender of single bytes costs no more
/// than a sender of whole messages. Never holds more than one message of [`MAX_MESSAGE`] back.
#[derive(Debug, Default)]
pub struct Framer {
    /// Bytes of the buffer that hold no end of the header part.
    scanned: usize,
    /// Length of the message at the front of the buffer, once its header part is whole.
    total: Option<usize>,
}

impl Framer {
    /// A framer for a fresh stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next frame off the front of `buffer`; `None` when more bytes are needed. A message without
    /// `Content-Length` is taken as one without body.
    ///
    /// # Errors
    /// A `Content-Length` that cannot be believed, or a message that is too large. Where the next message begins is
    /// then unknown: send the rejection, if there is one, and close the connection.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, ParseError> {
        let total = match self.total {
            Some(total) => total,
            None => {
                match skip_breaks(buffer) {
                    Breaks::Ping => return Ok(Some(Frame::Ping)),
                    Breaks::Unclear => return Ok(None),
                    Breaks::Done => {}
                }
                let Some(head) = self.head_end(buffer) else {
                    if buffer.len() > MAX_MESSAGE {
                        return Err(reject_head(&buffer[..MAX_MESSAGE], Fault::TooLarge));
                    }
                    return Ok(None);
                };
                let length = content_length(&buffer[..head]).map_err(|fault| reject_head(&buffer[..head], fault))?;
                match usize::try_from(length).ok().and_then(|length| head.checked_add(length)) {
                    Some(total) if total <= MAX_MESSAGE => *self.total.insert(total),
                    _ => return Err(reject_head(&buffer[..head.min(MAX_MESSAGE)], Fault::TooLarge)),
                }
            }
        };
        if buffer.len() < total {
            return Ok(None);
        }
        *self = Self::default();
        Ok(Some(Frame::Message(buffer.split_to(total).freeze())))
    }

    /// The offset after the empty line that ends the header part.
    fn head_end(&mut self, buffer: &[u8]) -> Option<usize> {
        let limit = buffer.len().min(MAX_MESSAGE + 1);
        let mut at = self.scanned;
        while let Some(lf) = lex::find(&buffer[..limit], at, b'\n') {
            match (buffer.get(lf + 1), buffer.get(lf + 2)) {
                (Some(b'\n'), _) => return Some(lf + 2),
                (Some(b'\r'), Some(b'\n')) => return Some(lf + 3),
                (None, _) | (Some(b'\r'), None) => {
                    self.scanned = lf;
                    return None;
                }
                _ => at = lf + 1,
            }
        }
        self.scanned = limit;
        None
    }
}

/// Takes the next frame off `buffer` as a fresh [`Framer`] would.
///
/// # Errors
/// As [`Framer::next`].
pub fn frame(buffer: &mut BytesMut) -> Result<Option<Frame>, ParseError> {
    Framer::new().next(buffer)
}

enum Breaks {
    Ping,
    Unclear,
    Done,
}

/// Drops line breaks in front of a message. One empty line is the answer to a ping, two are a ping.
fn skip_breaks(buffer: &mut BytesMut) -> Breaks {
    loop {
        match &buffer[..buffer.len().min(4)] {
            b"\r\n\r\n" => {
                buffer.advance(4);
                return Breaks::Ping;
            }
            [] | b"\r" | b"\r\n" | b"\r\n\r" => return Breaks::Unclear,
            [b'\r', b'\n', ..] => buffer.advance(2),
            [b'\r' | b'\n', ..] => buffer.advance(1),
            _ => return Breaks::Done,
        }
    }
}

/// `Content-Length` of a header part, read with the same eyes as [`parse_bytes`](super::parse_bytes) does; zero when
/// it is not there.
fn content_length(head: &[u8]) -> Result<u64, Fault> {
    use super::{HeaderError, ValueFault};

    let mut found = None;
    let mut at = lex::find(head, 0, b'\n').map_or(head.len(), |lf| lf + 1);
    while at < head.len() {
        let start = at;
        loop {
            at = lex::find(head, at, b'\n').map_or(head.len(), |lf| lf + 1);
            if !head.get(at).is_some_and(|&b| lex::is_blank(b)) {
                break;
            }
        }
        let line = &head[start..at];
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        if Field::find(&line[..lex::trimmed(line, 0, colon).1]) != Some(Field::ContentLength) {
            continue;
        }
        let digits = line[colon + 1..].trim_ascii();
        let length = lex::number(digits).filter(|&length| length <= u64::from(u32::MAX));
        let length = length.ok_or(HeaderError::Invalid(Field::ContentLength.into(), ValueFault::Number))?;
        if found.is_some_and(|known| known != length) {
            return Err(Fault::Duplicate(Field::ContentLength));
        }
        found = Some(length);
    }
    Ok(found.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;

    const FIRST: &str = "OPTIONS sip:a@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
        To: <sip:a@h>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length : 4\r\n\r\nbody";
    const SECOND: &str = "SIP/2.0 200 OK\nv: SIP/2.0/TCP h;branch=z9hG4bK1\nf: <sip:a@h>;tag=1\nt: <sip:a@h>;tag=2\n\
        i: 1\nCSeq: 1 OPTIONS\nL:\n 3\n\nxyz";

    fn frames(stream: &[u8], chunk: usize) -> Result<Vec<Frame>, ParseError> {
        let (mut framer, mut buffer, mut found) = (Framer::new(), BytesMut::new(), Vec::new());
        for piece in stream.chunks(chunk) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = framer.next(&mut buffer)? {
                found.push(frame);
            }
        }
        Ok(found)
    }

    #[test]
    fn every_chunking_gives_the_same() {
        let stream = format!("\r\n{FIRST}\r\n\r\n\r\n{SECOND}\r\n\r\n{FIRST}");
        let message = |text: &'static str| Frame::Message(Bytes::from_static(text.as_bytes()));
        let expected = [message(FIRST), Frame::Ping, message(SECOND), Frame::Ping, message(FIRST)];
        for chunk in 1..stream.len() {
            assert_eq!(frames(stream.as_bytes(), chunk).unwrap(), expected, "chunks of {chunk}");
        }
        assert_eq!(parse(FIRST.as_bytes()).unwrap().body, "body");
        assert_eq!(parse(SECOND.as_bytes()).unwrap().body, "xyz");
    }

    #[test]
    fn lengths_that_cannot_be_believed() {
        for (length, status) in [
            ("-1", 400),
            ("4294967296", 400),
            ("18446744073709551617", 400),
            ("x", 400),
            ("", 400),
            ("1\r\nl: 2", 400),
            ("4294967295", 513),
            ("70000", 513),
        ] {
            let stream = FIRST.replace("Content-Length : 4", &format!("Content-Length: {length}"));
            let error = frames(stream.as_bytes(), 100).unwrap_err();
            assert_eq!(error.rejection.unwrap().status, status, "{length}");
        }
        let twice = FIRST.replace("Content-Length : 4", "Content-Length: 4\r\nl:4");
        assert_eq!(frames(twice.as_bytes(), 100).unwrap().len(), 1);
    }

    #[test]
    fn a_header_part_without_end_is_cut_off() {
        let mut buffer = BytesMut::from(&b"OPTIONS sip:a@h SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n"[..]);
        let mut framer = Framer::new();
        let error = loop {
            buffer.extend_from_slice(&[b'x'; 1000]);
            match framer.next(&mut buffer) {
                Ok(None) => assert!(buffer.len() <= MAX_MESSAGE),
                Ok(Some(frame)) => panic!("{frame:?}"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.fault, Fault::TooLarge);
        assert_eq!(error.rejection.unwrap().status, 513);
    }
}
