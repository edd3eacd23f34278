//! From bytes to a message: one pass over the lines, then the checks that every message must pass.

use bytes::Bytes;

use super::message::typed;
use super::value::CSeq;
use super::{
    Fault, Field, HeaderError, HeaderName, Headers, MAX_HEADERS, MAX_MESSAGE, MAX_NAME, MAX_VALUE, MAX_VIAS, Message,
    Method, ParseError, StartLine, Uri, ValueFault, lex, name_addr, via,
};

/// Reads one message from a datagram, or from a frame of a stream.
///
/// Takes what the network really sends: LF for CRLF, folded lines, blanks around separators, compact names, unknown
/// methods, bytes that are no UTF-8, no `Content-Length` (the datagram ends the body), line breaks in front.
///
/// # Errors
/// What cannot be understood safely, with the answer to send, see [`ParseError`]. In a message that passes, `Via`
/// (all hops), `From`, `To`, `Call-ID`, `CSeq`, `Max-Forwards` and `Contact` are readable and agree.
pub fn parse(datagram: &[u8]) -> Result<Message, ParseError> {
    // The copy is cut here already, so that a huge input costs no more than a large one.
    parse_bytes(Bytes::copy_from_slice(&datagram[..datagram.len().min(MAX_MESSAGE + 1)]))
}

/// As [`parse`], without the copy: header values and body are slices of `bytes`.
///
/// # Errors
/// As [`parse`].
pub fn parse_bytes(bytes: Bytes) -> Result<Message, ParseError> {
    let mut lexer = Lexer { bytes, at: 0, headers: Headers::with_capacity(24), length: None, fault: None };
    let line = lexer.first_line();
    let start = lexer.start_line(line.clone());
    lexer.header_lines();
    lexer.finish(start, line.start)
}

struct Lexer {
    bytes: Bytes,
    at: usize,
    headers: Headers,
    /// `Content-Length` and the offset of its line.
    length: Option<(u64, usize)>,
    /// The first thing that was wrong. Reading goes on after it, to find what an answer must repeat.
    fault: Option<(Fault, usize)>,
}

/// What the start line says, or as much of it as tells whether and how to answer.
enum Start {
    Read(StartLine),
    /// A request line that does not read, with its method when that does.
    BadRequest(Option<Method>),
    BadResponse,
}

/// A line without its end; `bare_cr` when a carriage return stands inside.
#[derive(Clone)]
struct Line {
    start: usize,
    end: usize,
    bare_cr: bool,
}

impl Lexer {
    fn fail(&mut self, fault: Fault, at: usize) {
        self.fault.get_or_insert((fault, at));
    }

    fn line(&mut self) -> Line {
        let (bytes, start) = (&self.bytes[..], self.at);
        let end = lex::find(bytes, start, b'\n').unwrap_or(bytes.len());
        self.at = (end + 1).min(bytes.len());
        let text = match bytes[start..end].strip_suffix(b"\r") {
            Some(text) if end < bytes.len() => text,
            _ => &bytes[start..end],
        };
        Line { start, end: start + text.len(), bare_cr: text.contains(&b'\r') }
    }

    fn first_line(&mut self) -> Line {
        if self.bytes.len() > MAX_MESSAGE {
            self.fail(Fault::TooLarge, MAX_MESSAGE);
        }
        while matches!(self.bytes.get(self.at), Some(b'\r' | b'\n')) {
            self.at += 1;
        }
        self.line()
    }

    fn start_line(&mut self, line: Line) -> Start {
        // RFC 4475 §3.1.2.10: blanks after the version are wrong and harmless.
        let (start, end) = (line.start, lex::trimmed(&self.bytes, line.start, line.end).1);
        let text = self.bytes.slice(start..end);
        if text.is_empty() {
            self.fail(Fault::Empty, start);
            return Start::BadRequest(None);
        }
        if line.bare_cr {
            self.fail(Fault::BareCr, start);
        }
        if text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case(b"SIP/")) {
            return match status_line(&text) {
                Ok(start) => Start::Read(start),
                Err(fault) => {
                    self.fail(fault, start);
                    Start::BadResponse
                }
            };
        }
        let space = text.iter().position(|&b| b == b' ').unwrap_or(text.len());
        let method = Method::known(&text[..space]).map_or_else(|| Method::parse(&text.slice(..space)), Ok);
        let Ok(method) = method else {
            self.fail(Fault::StartLine, start);
            return Start::BadRequest(None);
        };
        match request_target(&text, space) {
            Ok(uri) => Start::Read(StartLine::Request { method, uri }),
            Err(fault) => {
                self.fail(fault, start);
                Start::BadRequest(Some(method))
            }
        }
    }

    fn header_lines(&mut self) {
        while self.at < self.bytes.len() {
            let mut line = self.line();
            if line.start == line.end {
                return;
            }
            let mut folded = false;
            while self.bytes.get(self.at).is_some_and(|&b| lex::is_blank(b)) {
                let next = self.line();
                line = Line { start: line.start, end: next.end, bare_cr: line.bare_cr || next.bare_cr };
                folded = true;
            }
            if line.bare_cr {
                self.fail(Fault::BareCr, line.start);
            } else if let Err(fault) = self.header(&line, folded) {
                let stop = fault == Fault::TooManyHeaders;
                self.fail(fault, line.start);
                if stop {
                    return;
                }
            }
        }
    }

    fn header(&mut self, line: &Line, folded: bool) -> Result<(), Fault> {
        let text = &self.bytes[line.start..line.end];
        let colon = text.iter().position(|&b| b == b':').ok_or(Fault::HeaderLine)?;
        // `Header :` is the header (CVE-2020-28361); a name never spans lines or begins with a blank.
        let name_end = lex::trimmed(text, 0, colon).1;
        if name_end > MAX_NAME {
            return Err(Fault::HeaderLine);
        }
        let name = match Field::find(&text[..name_end]) {
            Some(field) => HeaderName::Known(field),
            None => HeaderName::parse(&self.bytes.slice(line.start..line.start + name_end)).ok_or(Fault::HeaderLine)?,
        };
        let (start, end) = lex::trimmed(text, colon + 1, text.len());
        if end - start > MAX_VALUE {
            return Err(HeaderError::Invalid(name, ValueFault::TooLong).into());
        }
        let value = match folded {
            true => unfold(&text[start..end]),
            false => self.bytes.slice(line.start + start..line.start + end),
        };
        match name {
            HeaderName::Known(Field::ContentLength) => {
                let length = lex::number(&value).filter(|&length| length <= u64::from(u32::MAX));
                let length = typed(Field::ContentLength, length.ok_or(ValueFault::Number))?;
                match self.length {
                    Some((known, _)) if known != length => Err(Fault::Duplicate(Field::ContentLength)),
                    _ => {
                        self.length = Some((length, line.start));
                        Ok(())
                    }
                }
            }
            _ if self.headers.len() >= MAX_HEADERS => Err(Fault::TooManyHeaders),
            name => {
                self.headers.push_checked(name, value);
                Ok(())
            }
        }
    }

    fn finish(mut self, start: Start, first: usize) -> Result<Message, ParseError> {
        let method = match &start {
            Start::Read(StartLine::Request { method, .. }) | Start::BadRequest(Some(method)) => Some(method),
            _ => None,
        };
        if self.fault.is_none()
            && let Err(fault) = check(&self.headers, method)
        {
            self.fail(fault, first);
        }
        let rest = self.bytes.len() - self.at;
        let length = match self.length {
            Some((length, at)) => {
                if length > rest as u64 {
                    self.fail(Fault::ShortBody, at);
                }
                rest.min(usize::try_from(length).unwrap_or(rest))
            }
            None => rest,
        };
        let Some((fault, at)) = self.fault else {
            if let Start::Read(start) = start {
                let body = self.bytes.slice(self.at..self.at + length);
                return Ok(Message { start, headers: self.headers, body });
            }
            // Not reached: a start line that does not read has left a fault.
            return Err(ParseError { fault: Fault::StartLine, at: first, rejection: None });
        };
        let answerable = match &start {
            Start::BadResponse | Start::Read(StartLine::Response { .. }) => false,
            // A method that does not read may still be an ACK gone wrong.
            Start::BadRequest(None) => !self.headers.get(Field::CSeq).is_some_and(|cseq| cseq.ends_with(b"ACK")),
            Start::BadRequest(Some(_)) | Start::Read(StartLine::Request { .. }) => true,
        };
        let rejection = answerable.then(|| fault.rejection(&self.headers, method)).flatten().map(Box::new);
        Err(ParseError { fault, at, rejection })
    }
}

/// The target of a request line whose method ends at `space`. Exactly one blank parts the three words
/// (RFC 3261 §7.1): a second one would let two parsers see two targets (RFC 4475 §3.1.2.9).
fn request_target(text: &Bytes, space: usize) -> Result<Uri, Fault> {
    let Some(rest) = text.get(space + 1..) else { return Err(Fault::StartLine) };
    let end = rest.iter().rposition(|&b| b == b' ').ok_or(Fault::StartLine)?;
    let version = &rest[end + 1..];
    if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        let is_version = version.get(..4).is_some_and(|head| head.eq_ignore_ascii_case(b"SIP/"));
        return Err(if is_version { Fault::Version } else { Fault::StartLine });
    }
    let uri = Uri::parse(&text.slice(space + 1..space + 1 + end)).map_err(Fault::RequestUri)?;
    // RFC 3261 §19.1.1: no headers in a request URI; with them anyone could make us add a Route.
    if uri.headers().is_some() {
        return Err(Fault::RequestUri(ValueFault::UriHeaders));
    }
    Ok(uri)
}

fn status_line(text: &[u8]) -> Result<StartLine, Fault> {
    let mut words = text.splitn(3, |&b| b == b' ');
    let (version, code, reason) = (words.next().unwrap_or_default(), words.next(), words.next().unwrap_or_default());
    if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        return Err(Fault::Version);
    }
    let status = match code {
        Some(code @ [_, _, _]) => lex::number(code).and_then(|status| u16::try_from(status).ok()),
        _ => None,
    };
    let status = status.filter(|status| (100..700).contains(status)).ok_or(Fault::Status)?;
    // Control characters would not be written back either.
    let reason = String::from_utf8_lossy(reason).replace(|c: char| c.is_ascii_control(), " ");
    Ok(StartLine::Response { status, reason: reason.trim_matches(' ').to_owned() })
}

/// The checks that make a message one that can be answered and matched.
fn check(headers: &Headers, method: Option<&Method>) -> Result<(), Fault> {
    let mut seen = Seen::default();
    let mut vias = 0;
    for header in headers.iter() {
        let HeaderName::Known(field) = header.name else { continue };
        let value = header.value();
        match field {
            Field::Via => {
                for (start, end) in lex::Split::new(value, b',').filter(|(start, end)| start < end) {
                    vias += 1;
                    if vias > MAX_VIAS {
                        return Err(Fault::TooManyVias);
                    }
                    typed(field, via::scan(&value[start..end]))?;
                }
            }
            Field::From => {
                seen.once(&field, 0)?;
                typed(field, name_addr::scan(value))?;
            }
            Field::To => {
                seen.once(&field, 1)?;
                typed(field, name_addr::scan(value))?;
            }
            Field::CallId => {
                seen.once(&field, 2)?;
                call_id(value)?;
            }
            Field::CSeq => {
                seen.once(&field, 3)?;
                if !typed(field, CSeq::agrees(value, method))? {
                    return Err(Fault::MethodMismatch);
                }
            }
            Field::MaxForwards => {
                seen.once(&field, 4)?;
                let hops = lex::number(value).filter(|&hops| hops <= 255);
                typed(field, hops.ok_or(ValueFault::Number))?;
            }
            Field::ContentType => seen.once(&field, 5)?,
            Field::Contact if value.as_ref() != b"*" => {
                for (start, end) in lex::Split::new(value, b',').filter(|(start, end)| start < end) {
                    typed(field, name_addr::scan(&value[start..end]))?;
                }
            }
            _ => {}
        }
    }
    if vias == 0 {
        return Err(HeaderError::Missing(Field::Via).into());
    }
    for (field, bit) in [(Field::From, 0), (Field::To, 1), (Field::CallId, 2), (Field::CSeq, 3)] {
        if seen.0 & 1 << bit == 0 {
            return Err(HeaderError::Missing(field).into());
        }
    }
    Ok(())
}

fn call_id(value: &[u8]) -> Result<(), Fault> {
    let fault = match value {
        [] => ValueFault::Empty,
        _ if value.iter().any(|&b| lex::is_blank(b)) => ValueFault::Several,
        _ => return Ok(()),
    };
    Ok(typed(Field::CallId, Err(fault))?)
}

/// Which fields that may be there once were there.
#[derive(Default)]
struct Seen(u8);

impl Seen {
    fn once(&mut self, field: &Field, bit: u8) -> Result<(), Fault> {
        let mask = 1 << bit;
        if self.0 & mask != 0 {
            return Err(Fault::Duplicate(*field));
        }
        self.0 |= mask;
        Ok(())
    }
}

/// Each line break with the blanks around it becomes one blank (RFC 3261 §7.3.1).
fn unfold(value: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(value.len());
    let mut lines = value.split(|&b| b == b'\n').map(|line| lex::trim(line.strip_suffix(b"\r").unwrap_or(line)));
    out.extend_from_slice(lines.next().unwrap_or_default());
    for line in lines {
        out.push(b' ');
        out.extend_from_slice(line);
    }
    let (start, end) = lex::trimmed(&out, 0, out.len());
    Bytes::from(out).slice(start..end)
}

/// The error for a header part that a stream cannot go on after, with the answer its lines allow.
pub(crate) fn reject_head(head: &[u8], fault: Fault) -> ParseError {
    let mut lexer = Lexer {
        bytes: Bytes::copy_from_slice(head),
        at: 0,
        headers: Headers::with_capacity(24),
        length: None,
        fault: Some((fault, 0)),
    };
    let line = lexer.first_line();
    let start = lexer.start_line(line.clone());
    lexer.header_lines();
    match lexer.finish(start, line.start) {
        Err(error) => error,
        // Not reached: the fault was there from the start.
        Ok(_) => ParseError { fault: Fault::StartLine, at: 0, rejection: None },
    }
}
