//! `"Display" <uri>;params` – the value of From, To, Contact, Route and their kin.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::lex;
use super::uri::{self, Uri};
use super::{MAX_VALUE, Params, ValueFault, params};

/// A display name, a URI and parameters (RFC 3261 §20.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name as received, with its quotes; empty when there is none.
    pub display: Bytes,
    /// The URI, without angle brackets.
    pub uri: Uri,
    /// Parameters of the field, after the URI.
    pub params: Params,
}

impl NameAddr {
    /// Reads one value.
    pub fn parse(raw: &Bytes) -> Result<Self, ValueFault> {
        let spans = scan(raw)?;
        Ok(Self {
            display: raw.slice(spans.display),
            uri: Uri::scanned(raw.slice(spans.uri), spans.parts),
            params: Params::checked(raw.slice(spans.params)),
        })
    }

    /// A value of our own.
    pub fn new(display: Option<&str>, uri: Uri) -> Self {
        let display = display.filter(|name| !name.is_empty()).map(|name| Bytes::from(lex::quoted(name)));
        Self { display: display.unwrap_or_default(), uri, params: Params::default() }
    }

    /// The same with a tag; tags are tokens, anything else in it is left out.
    pub fn with_tag(mut self, tag: &str) -> Self {
        let tag: String = tag.chars().filter(|&c| c.is_ascii() && lex::is_token_byte(c as u8)).collect();
        if tag.is_empty() {
            return self;
        }
        let mut raw = self.params.as_bytes().to_vec();
        if !raw.is_empty() && !raw.starts_with(b";") {
            raw.insert(0, b';');
        }
        raw.extend_from_slice(if raw.ends_with(b";") { b"tag=" } else { b";tag=" });
        raw.extend_from_slice(tag.as_bytes());
        self.params = Params::checked(raw.into());
        self
    }

    /// The display name without quotes; bytes that are no UTF-8 are replaced.
    pub fn display_text(&self) -> String {
        String::from_utf8_lossy(&lex::unquoted(&self.display)).into_owned()
    }

    /// The tag that names one end of a dialog.
    pub fn tag(&self) -> Option<String> {
        self.params.text("tag").filter(|tag| !tag.is_empty())
    }

    /// The value for a header; a URI that was not built here keeps its bytes.
    pub fn to_bytes(&self) -> Bytes {
        let params = self.params.as_bytes();
        let mut out = Vec::with_capacity(self.display.len() + self.uri.as_bytes().len() + params.len() + 4);
        if !self.display.is_empty() {
            out.extend_from_slice(&self.display);
            out.push(b' ');
        }
        out.push(b'<');
        out.extend_from_slice(self.uri.as_bytes());
        out.push(b'>');
        if !params.is_empty() && !params.starts_with(b";") {
            out.push(b';');
        }
        out.extend_from_slice(params);
        out.into()
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

/// Where the parts of a name-addr lie.
pub(crate) struct Spans {
    pub(crate) display: Range<usize>,
    pub(crate) uri: Range<usize>,
    pub(crate) parts: uri::Parts,
    pub(crate) params: Range<usize>,
}

/// Finds the parts of one value and checks them.
pub(crate) fn scan(raw: &[u8]) -> Result<Spans, ValueFault> {
    if raw.len() > MAX_VALUE {
        return Err(ValueFault::TooLong);
    }
    let start = lex::skip_blanks(raw, 0);
    let (display, open) = match raw.get(start) {
        None => return Err(ValueFault::Empty),
        Some(b'"') => {
            let end = lex::quoted_end(raw, start).ok_or(ValueFault::OpenQuote)?;
            let open = lex::skip_blanks(raw, end);
            if raw.get(open) != Some(&b'<') {
                return Err(ValueFault::Brackets);
            }
            (start..end, open)
        }
        Some(_) => match raw[start..].iter().position(|&b| matches!(b, b'<' | b':' | b'"' | b',' | b';')) {
            Some(offset) if raw[start + offset] == b'<' => {
                let open = start + offset;
                let (from, to) = lex::trimmed(raw, start, open);
                (from..to, open)
            }
            Some(offset) if raw[start + offset] == b':' => return scan_bare(raw, start),
            Some(_) => return Err(ValueFault::DisplayName),
            None => return Err(ValueFault::Scheme),
        },
    };
    let close = raw[open..].iter().position(|&b| b == b'>').ok_or(ValueFault::Brackets)? + open;
    // RFC 4475 §3.1.2.14: blanks inside the brackets are wrong and harmless.
    let (from, to) = lex::trimmed(raw, open + 1, close);
    let parts = uri::scan(&raw[from..to])?;
    Ok(Spans { display, uri: from..to, parts, params: scan_params(raw, close + 1)? })
}

/// A URI without brackets: it ends at the first semicolon, and may hold no comma or question mark.
fn scan_bare(raw: &[u8], start: usize) -> Result<Spans, ValueFault> {
    let end = raw[start..].iter().position(|&b| b == b';' || lex::is_blank(b)).map_or(raw.len(), |len| start + len);
    let target = &raw[start..end];
    let parts = uri::scan(target)?;
    if parts.has_headers() || target.contains(&b'?') {
        return Err(ValueFault::UriHeaders);
    }
    if target.contains(&b',') {
        return Err(ValueFault::Several);
    }
    Ok(Spans { display: start..start, uri: start..end, parts, params: scan_params(raw, end)? })
}

fn scan_params(raw: &[u8], at: usize) -> Result<Range<usize>, ValueFault> {
    let (start, end) = lex::trimmed(raw, at, raw.len());
    match raw.get(start) {
        _ if start == end => {}
        Some(b';') => params::check(&raw[start..end])?,
        Some(b',') => return Err(ValueFault::Several),
        _ => return Err(ValueFault::Parameter),
    }
    Ok(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<NameAddr, ValueFault> {
        NameAddr::parse(&Bytes::copy_from_slice(raw.as_bytes()))
    }

    #[test]
    fn reads() {
        for (raw, display, uri, tag) in [
            ("<sip:a@h>;tag=1", "", "sip:a@h", Some("1")),
            ("sip:a@h;tag=1", "", "sip:a@h", Some("1")),
            ("caller<sip:a@h>;tag=323", "caller", "sip:a@h", Some("323")),
            ("\"A \\\"B\\\" <x>\"   <sip:a@h;lr> ; tag = 9", "A \"B\" <x>", "sip:a@h;lr", Some("9")),
            ("A. Bell (Sales) <sip:a@h>", "A. Bell (Sales)", "sip:a@h", None),
            ("< sip:a@h >", "", "sip:a@h", None),
            ("<tel:+44;x=y>;tag=1", "", "tel:+44;x=y", Some("1")),
            ("<urn:service:sos>", "", "urn:service:sos", None),
            ("<sip:a,b;c?d@h?X=y>", "", "sip:a,b;c?d@h?X=y", None),
            ("<sip:a@h>;+sip.instance=\"<urn:uuid:1>\";tag=2", "", "sip:a@h", Some("2")),
            ("<sip:a@h>;tag=2;", "", "sip:a@h", Some("2")),
        ] {
            let parsed = parse(raw).unwrap_or_else(|fault| panic!("{raw}: {fault}"));
            assert_eq!(parsed.display_text(), display, "{raw}");
            assert_eq!(parsed.uri.text(), uri, "{raw}");
            assert_eq!(parsed.tag().as_deref(), tag, "{raw}");
            assert_eq!(NameAddr::parse(&parsed.to_bytes()).unwrap(), parsed);
        }
    }

    #[test]
    fn refuses() {
        for (raw, fault) in [
            ("", ValueFault::Empty),
            ("\"Mr. J. User <sip:j@h>", ValueFault::OpenQuote),
            ("Bell, Alexander <sip:a@h>", ValueFault::DisplayName),
            ("<sip:a@h", ValueFault::Brackets),
            ("\"a\" sip:a@h", ValueFault::Brackets),
            ("<sip:a@h>;;;;", ValueFault::Parameter),
            ("<sip:a@h> x", ValueFault::Parameter),
            ("<sip:a@h>, <sip:b@h>", ValueFault::Several),
            ("sip:a@h, sip:b@h", ValueFault::Host),
            ("sip:user@example.com?Route=%3Csip:sip.example.com%3E", ValueFault::UriHeaders),
            ("nothing", ValueFault::Scheme),
            ("<sip:a@h\0>", ValueFault::UriCharacter),
        ] {
            assert_eq!(parse(raw), Err(fault), "{raw}");
        }
    }

    #[test]
    fn builds_without_room_for_another_line() {
        let uri = Uri::from_text("sip:a@h").unwrap();
        let value = NameAddr::new(Some("x\"\r\nVia: y"), uri).with_tag("a;b\r\nc");
        assert_eq!(value.to_string(), "\"x\\\"  Via: y\" <sip:a@h>;tag=abc");
    }
}
