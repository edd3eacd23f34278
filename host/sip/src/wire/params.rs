//! `;name=value` parameters of a header value.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::{ValueFault, lex};

/// The parameters of a header value or a URI, as received; read on demand.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Params(Bytes);

impl Params {
    /// Takes parameters in header syntax, with or without the first semicolon.
    pub fn parse(raw: Bytes) -> Result<Self, ValueFault> {
        let (start, end) = lex::trimmed(&raw, 0, raw.len());
        check(&raw[start..end])?;
        Ok(Self(raw.slice(start..end)))
    }

    /// Takes what has been checked already.
    pub(crate) fn checked(raw: Bytes) -> Self {
        Self(raw)
    }

    /// The parameters exactly as received.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Names and values in order, quotes and escapes kept. A flag has no value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        iter(&self.0)
    }

    /// The value of a parameter without quotes; empty for a flag, `None` when it is not there.
    /// Names compare without regard to case.
    pub fn get(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        find(&self.0, name).map(|value| lex::unquoted(value.unwrap_or_default()))
    }

    /// The value of a parameter as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// The value of a parameter as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        lex::number(&self.get(name)?)
    }

    /// Whether a parameter is there, with or without value.
    pub fn contains(&self, name: &str) -> bool {
        find(&self.0, name).is_some()
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Names and values in raw parameters.
pub(crate) fn iter(raw: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    lex::Split::new(raw, b';').map(|(start, end)| pair(&raw[start..end])).filter(|(name, _)| !name.is_empty())
}

/// The value of one parameter: `None` not there, `Some(None)` a flag.
pub(crate) fn find<'a>(raw: &'a [u8], name: &str) -> Option<Option<&'a [u8]>> {
    iter(raw).find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
}

fn pair(piece: &[u8]) -> (&[u8], Option<&[u8]>) {
    match piece.iter().position(|&b| b == b'=') {
        Some(at) => (lex::trim(&piece[..at]), Some(lex::trim(&piece[at + 1..]))),
        None => (piece, None),
    }
}

/// Checks parameters in header syntax (RFC 3261 `generic-param`). One empty piece at the front (the first
/// semicolon) and one at the end (phones that end a value with `;`) pass.
pub(crate) fn check(raw: &[u8]) -> Result<(), ValueFault> {
    let mut empty = 0;
    for (index, (start, end)) in lex::Split::new(raw, b';').enumerate() {
        if start == end {
            empty += usize::from(index > 0);
            continue;
        }
        if empty > 0 {
            return Err(ValueFault::Parameter);
        }
        let (name, value) = pair(&raw[start..end]);
        if !lex::is_token(name) {
            return Err(ValueFault::Parameter);
        }
        match value {
            Some([b'"', ..]) => match value.and_then(|value| Some((lex::quoted_end(value, 0)?, value.len()))) {
                None => return Err(ValueFault::OpenQuote),
                Some((end, len)) if end != len => return Err(ValueFault::Parameter),
                Some(_) => {}
            },
            Some(value) if value.iter().any(|&b| matches!(b, 0..=b' ' | 0x7f | b',' | b'<' | b'>' | b'"')) => {
                return Err(ValueFault::Parameter);
            }
            _ => {}
        }
    }
    if empty > 1 { Err(ValueFault::Parameter) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(raw: &'static str) -> Result<Params, ValueFault> {
        Params::parse(Bytes::from_static(raw.as_bytes()))
    }

    #[test]
    fn reads_what_senders_write() {
        let p = params(";tag = 1 ; text=\"a;b \\\"c\\\"\";lr; Received=[2001:db8::1];").unwrap();
        assert_eq!(p.text("TAG").as_deref(), Some("1"));
        assert_eq!(p.text("text").as_deref(), Some("a;b \"c\""));
        assert_eq!(p.get("lr").as_deref(), Some(&b""[..]));
        assert_eq!(p.text("received").as_deref(), Some("[2001:db8::1]"));
        assert_eq!(p.get("absent"), None);
        assert!(!p.contains("l"));
        assert_eq!(p.iter().count(), 4);
        assert_eq!(params("").unwrap().iter().count(), 0);
    }

    #[test]
    fn refuses_what_no_one_can_read() {
        for (raw, fault) in [
            (";;", ValueFault::Parameter),
            (";a=1;;b=2", ValueFault::Parameter),
            (";a=\"open", ValueFault::OpenQuote),
            (";a=\"x\"y", ValueFault::Parameter),
            (";=1", ValueFault::Parameter),
            (";a=1 b=2", ValueFault::Parameter),
            (";a=1, <sip:x@y>", ValueFault::Parameter),
            (";na me=1", ValueFault::Parameter),
        ] {
            assert_eq!(params(raw), Err(fault), "{raw}");
        }
    }
}
