//! URIs: raw bytes with a map of their parts.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use bytes::Bytes;

use super::lex::{self, Span};
use super::{MAX_VALUE, ValueFault, params};

/// What kind of URI it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:` (RFC 3966)
    Tel,
    /// Any other, `urn:` among them; only [`Uri::scheme_name`] tells which.
    Other,
}

/// A URI as received or built. It prints the very bytes it was read from, escapes and all: a peer
/// compares what it sent with what comes back.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Uri {
    raw: Bytes,
    parts: Parts,
}

/// Where the parts lie in the raw bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Parts {
    scheme: Scheme,
    scheme_end: u16,
    user: Option<Span>,
    host: Span,
    port: Option<u16>,
    params: Span,
    headers: Option<Span>,
}

impl Uri {
    /// Reads a URI. Unknown schemes pass as opaque; `sip:` and `sips:` must have a host.
    pub fn parse(raw: &Bytes) -> Result<Self, ValueFault> {
        Ok(Self { parts: scan(raw)?, raw: raw.clone() })
    }

    /// Takes what has been scanned already.
    pub(crate) fn scanned(raw: Bytes, parts: Parts) -> Self {
        Self { raw, parts }
    }

    /// Reads a URI from text.
    pub fn from_text(text: &str) -> Result<Self, ValueFault> {
        Self::parse(&Bytes::copy_from_slice(text.as_bytes()))
    }

    /// `sip:user@address`, the user escaped as RFC 3261 §25.1 asks. `transport` becomes a parameter when given.
    pub fn sip(user: Option<&str>, address: SocketAddr, transport: Option<&str>) -> Self {
        let mut raw = String::from("sip:");
        if let Some(user) = user.filter(|user| !user.is_empty()) {
            escape_user(user, &mut raw);
            raw.push('@');
        }
        raw.push_str(&address.to_string());
        if let Some(transport) = transport.filter(|transport| lex::is_token(transport.as_bytes())) {
            raw.push_str(";transport=");
            raw.push_str(transport);
        }
        let raw = Bytes::from(raw);
        let parts = scan(&raw).unwrap_or(Parts::opaque(3));
        Self { raw, parts }
    }

    /// The bytes the URI was read from.
    pub fn as_bytes(&self) -> &Bytes {
        &self.raw
    }

    /// The URI as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.raw)
    }

    /// The kind of URI.
    pub fn scheme(&self) -> Scheme {
        self.parts.scheme
    }

    /// The name of the scheme as received.
    pub fn scheme_name(&self) -> &str {
        std::str::from_utf8(&self.raw[..usize::from(self.parts.scheme_end)]).unwrap_or_default()
    }

    /// What stands before `@` (with a password, if someone sends one), escapes kept; for `tel:` the number.
    pub fn user(&self) -> Option<&[u8]> {
        self.parts.user.map(|span| span.of(&self.raw))
    }

    /// The user without password, parameters (`;`) and escapes, as text. This is what a number is found by.
    pub fn user_text(&self) -> Option<String> {
        let user = self.user()?;
        let end = user.iter().position(|&b| matches!(b, b':' | b';')).unwrap_or(user.len());
        Some(String::from_utf8_lossy(&unescape(&user[..end])).into_owned())
    }

    /// The host as received, an IPv6 address with its brackets; empty for URIs that have none.
    pub fn host(&self) -> &str {
        std::str::from_utf8(self.parts.host.of(&self.raw)).unwrap_or_default()
    }

    /// The host when it is an address.
    pub fn ip(&self) -> Option<IpAddr> {
        host_ip(self.parts.host.of(&self.raw))
    }

    /// The port when one is written.
    pub fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// Names and values of the URI's own parameters, escapes kept.
    pub fn params(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        params::iter(self.parts.params.of(&self.raw))
    }

    /// The value of a parameter without escapes; empty for a flag, `None` when it is not there.
    pub fn param(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        params::find(self.parts.params.of(&self.raw), name).map(|value| unescape(value.unwrap_or_default()))
    }

    /// Whether the URI, as a route, asks for loose routing (RFC 3261 §16.12).
    pub fn is_loose(&self) -> bool {
        self.param("lr").is_some()
    }

    /// What stands after `?`, escapes kept.
    pub fn headers(&self) -> Option<&[u8]> {
        self.parts.headers.map(|span| span.of(&self.raw))
    }

    /// The value of one URI header without escapes, as `Replaces` in the target of a REFER.
    pub fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let headers = self.headers()?;
        headers.split(|&b| b == b'&').find_map(|piece| {
            let at = piece.iter().position(|&b| b == b'=')?;
            unescape(&piece[..at]).eq_ignore_ascii_case(name.as_bytes()).then(|| unescape(&piece[at + 1..]))
        })
    }

    /// The URI without headers, and without the parameters that RFC 3261 §19.1.1 keeps out of a request URI.
    pub fn as_request_target(&self) -> Self {
        let Some(headers) = self.parts.headers else { return self.clone() };
        let raw = self.raw.slice(..usize::from(headers.start).saturating_sub(1));
        Self { parts: Parts { headers: None, ..self.parts }, raw }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.raw, f)
    }
}

impl Parts {
    fn opaque(scheme_end: u16) -> Self {
        Self {
            scheme: Scheme::Other,
            scheme_end,
            user: None,
            host: Span::default(),
            port: None,
            params: Span::default(),
            headers: None,
        }
    }

    pub(crate) fn has_headers(&self) -> bool {
        self.headers.is_some()
    }
}

/// Finds the parts of a URI and checks the characters.
pub(crate) fn scan(raw: &[u8]) -> Result<Parts, ValueFault> {
    if raw.len() > MAX_VALUE {
        return Err(ValueFault::TooLong);
    }
    let colon = raw.iter().position(|&b| b == b':').ok_or(ValueFault::Scheme)?;
    let name = &raw[..colon];
    let scheme = match name {
        name if name.eq_ignore_ascii_case(b"sip") => Scheme::Sip,
        name if name.eq_ignore_ascii_case(b"sips") => Scheme::Sips,
        name if name.eq_ignore_ascii_case(b"tel") => Scheme::Tel,
        [first, rest @ ..]
            if first.is_ascii_alphabetic()
                && rest.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')) =>
        {
            Scheme::Other
        }
        _ => return Err(ValueFault::Scheme),
    };
    // Bytes above 127 are no URI characters either, but they pass: senders of Latin-1 users exist.
    if raw.iter().fold(false, |bad, &b| bad | matches!(b, 0..=b' ' | 0x7f | b'<' | b'>' | b'"')) {
        return Err(ValueFault::UriCharacter);
    }
    let start = colon + 1;
    if start == raw.len() {
        return Err(ValueFault::Empty);
    }
    let mut parts = Parts { scheme, ..Parts::opaque(colon as u16) };
    match scheme {
        Scheme::Sip | Scheme::Sips => scan_sip(raw, start, &mut parts)?,
        Scheme::Tel => {
            let end = raw[start..].iter().position(|&b| b == b';').map_or(raw.len(), |at| start + at);
            if start == end {
                return Err(ValueFault::Empty);
            }
            parts.user = Some(Span::new(start, end));
            parts.params = Span::new((end + 1).min(raw.len()), raw.len());
        }
        Scheme::Other => {}
    }
    Ok(parts)
}

fn scan_sip(raw: &[u8], start: usize, parts: &mut Parts) -> Result<(), ValueFault> {
    // The first `@` ends the user: a user may hold `;`, `?` and `/`, but never a bare `@`.
    let mut at = start;
    if let Some(sign) = raw[start..].iter().position(|&b| b == b'@') {
        if sign == 0 {
            return Err(ValueFault::Empty);
        }
        parts.user = Some(Span::new(start, start + sign));
        at = start + sign + 1;
    }
    let (host, port, end) = scan_host_port(raw, at)?;
    parts.host = host;
    parts.port = port;
    match raw.get(end) {
        None => return Ok(()),
        Some(b';' | b'?') => {}
        Some(b':') => return Err(ValueFault::Port),
        Some(_) => return Err(ValueFault::Host),
    }
    let question = raw[end..].iter().position(|&b| b == b'?').map_or(raw.len(), |offset| end + offset);
    if raw[end] == b';' {
        parts.params = Span::new(end + 1, question);
    }
    if question < raw.len() {
        parts.headers = Some(Span::new(question + 1, raw.len()));
    }
    Ok(())
}

/// Reads `host[:port]` at `at`; blanks around the colon pass (RFC 3261 `COLON` in `sent-by`; URIs hold no blanks).
/// Gives the host, the port and the offset after them.
pub(crate) fn scan_host_port(raw: &[u8], at: usize) -> Result<(Span, Option<u16>, usize), ValueFault> {
    let end = match raw.get(at) {
        Some(b'[') => {
            let close = raw[at..].iter().position(|&b| b == b']').ok_or(ValueFault::Host)?;
            let end = at + close + 1;
            host_ip(&raw[at..end]).ok_or(ValueFault::Host)?;
            end
        }
        _ => raw[at..].iter().position(|&b| !lex::is_host_byte(b)).map_or(raw.len(), |len| at + len),
    };
    if end == at {
        return Err(ValueFault::Host);
    }
    let host = Span::new(at, end);
    let colon = lex::skip_blanks(raw, end);
    if raw.get(colon) != Some(&b':') {
        return Ok((host, None, end));
    }
    let digits = lex::skip_blanks(raw, colon + 1);
    let after = raw[digits..].iter().position(|b| !b.is_ascii_digit()).map_or(raw.len(), |len| digits + len);
    let port = lex::number(&raw[digits..after]).and_then(|port| u16::try_from(port).ok()).ok_or(ValueFault::Port)?;
    Ok((host, Some(port), after))
}

/// A host that is an IPv4 address, or an IPv6 address in brackets.
pub(crate) fn host_ip(host: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(host).ok()?;
    let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return text.parse().ok().filter(|ip: &IpAddr| ip.is_ipv4());
    };
    // RFC 5118 §4.9: the grammar of RFC 3261 wrote three colons before an embedded IPv4 address; old stacks send it.
    inner.parse::<Ipv6Addr>().or_else(|_| inner.replacen(":::", "::", 1).parse()).ok().map(IpAddr::V6)
}

/// Undoes `%41`; a percent sign without two hex digits stays as it is.
pub(crate) fn unescape(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'%') {
        return raw.into();
    }
    let hex = |b: u8| char::from(b).to_digit(16).map(|digit| digit as u8);
    let mut out = Vec::with_capacity(raw.len());
    let mut i = 0;
    while i < raw.len() {
        if raw[i] == b'%'
            && let Some(&[high, low]) = raw.get(i + 1..i + 3)
            && let (Some(high), Some(low)) = (hex(high), hex(low))
        {
            out.push(high << 4 | low);
            i += 3;
        } else {
            out.push(raw[i]);
            i += 1;
        }
    }
    out.into()
}

/// Appends `user` with everything escaped that RFC 3261 §25.1 does not allow in a user.
fn escape_user(user: &str, out: &mut String) {
    for b in user.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Result<Uri, ValueFault> {
        Uri::from_text(text)
    }

    #[test]
    fn parts() {
        type Row = (&'static str, Option<&'static str>, &'static str, Option<u16>);
        const ROWS: &[Row] = &[
            ("sip:host", None, "host", None),
            ("SIP:a@host:5070;transport=tcp?Subject=x", Some("a"), "host", Some(5070)),
            ("sips:alice:secret@h", Some("alice:secret"), "h", None),
            ("sip:+44%32@[2001:db8::1]:5060;lr", Some("+44%32"), "[2001:db8::1]", Some(5060)),
            ("sip:user;par=u%40example.net@example.com", Some("user;par=u%40example.net"), "example.com", None),
            ("sip:a?b/c@h", Some("a?b/c"), "h", None),
            ("sip:a@1.2.3.4;transport=udp", Some("a"), "1.2.3.4", None),
            ("sip:[2001:db8:::192.0.2.1]", None, "[2001:db8:::192.0.2.1]", None),
            ("tel:+441632960001;phone-context=x", Some("+441632960001"), "", None),
            ("urn:service:sos", None, "", None),
        ];
        for &(text, user, host, port) in ROWS {
            let parsed = uri(text).unwrap();
            assert_eq!(parsed.user(), user.map(str::as_bytes), "{text}");
            assert_eq!(parsed.host(), host, "{text}");
            assert_eq!(parsed.port(), port, "{text}");
            assert_eq!(parsed.as_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn refused() {
        for (text, fault) in [
            ("host", ValueFault::Scheme),
            ("1sip:h", ValueFault::Scheme),
            ("sip:", ValueFault::Empty),
            ("tel:", ValueFault::Empty),
            ("sip:@h", ValueFault::Empty),
            ("sip:a@", ValueFault::Host),
            ("sip:a b@h", ValueFault::UriCharacter),
            ("sip:a@h\r\nX: y", ValueFault::UriCharacter),
            ("sip:a@h@proxy", ValueFault::Host),
            ("sip:2001:db8::10", ValueFault::Port),
            ("sip:[::1", ValueFault::Host),
            ("sip:[zz]", ValueFault::Host),
            ("sip:h:65536", ValueFault::Port),
            ("sip:h:", ValueFault::Port),
            ("sip:h:5060:5061", ValueFault::Port),
            ("sip:h/path", ValueFault::Host),
        ] {
            assert_eq!(uri(text), Err(fault), "{text}");
        }
    }

    #[test]
    fn values_lose_their_escapes_only_for_the_reader() {
        let parsed = uri("sip:%2B44;x=1:pw@h;n%61me=v%2541;lr?Replaces=a%40b%3Bto-tag%3D1").unwrap();
        assert_eq!(parsed.user_text().as_deref(), Some("+44"));
        assert_eq!(parsed.param("n%61me").as_deref(), Some(&b"v%41"[..]));
        assert!(parsed.is_loose());
        assert_eq!(parsed.header("replaces").as_deref(), Some(&b"a@b;to-tag=1"[..]));
        assert_eq!(parsed.as_request_target().text(), "sip:%2B44;x=1:pw@h;n%61me=v%2541;lr");
    }

    #[test]
    fn built() {
        let built = Uri::sip(Some("a b@\r\n"), "[::1]:5060".parse().unwrap(), Some("tcp"));
        assert_eq!(built.text(), "sip:a%20b%40%0D%0A@[::1]:5060;transport=tcp");
        assert_eq!(built.user_text().as_deref(), Some("a b@\r\n"));
        assert_eq!(built.ip(), Some("::1".parse().unwrap()));
        assert_eq!(Uri::sip(None, "192.0.2.1:5060".parse().unwrap(), None).text(), "sip:192.0.2.1:5060");
    }
}
