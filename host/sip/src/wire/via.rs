//! The Via header: where a request came through and where the response goes.

use std::net::IpAddr;

use bytes::Bytes;

use super::lex::{self, Span};
use super::uri::{host_ip, scan_host_port};
use super::{MAX_VALUE, Params, ValueFault, params};

/// One hop (RFC 3261 §20.42).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    raw: Bytes,
    transport: Span,
    host: Span,
    port: Option<u16>,
    /// Everything after `host:port`.
    pub params: Params,
}

pub(crate) struct Spans {
    transport: Span,
    host: Span,
    port: Option<u16>,
    params: (usize, usize),
}

impl Via {
    /// Reads one hop.
    pub fn parse(raw: &Bytes) -> Result<Self, ValueFault> {
        let spans = scan(raw)?;
        Ok(Self {
            transport: spans.transport,
            host: spans.host,
            port: spans.port,
            params: Params::checked(raw.slice(spans.params.0..spans.params.1)),
            raw: raw.clone(),
        })
    }

    /// The value of a hop of our own: it asks for `rport` (RFC 3581). `sent_by` is `host` or `host:port`.
    pub fn value(transport: &str, sent_by: &str, branch: &str) -> Result<Bytes, ValueFault> {
        let raw = Bytes::from(format!("SIP/2.0/{transport} {sent_by};rport;branch={branch}"));
        scan(&raw)?;
        Ok(raw)
    }

    /// `UDP`, `TCP`, `TLS`, `WS` … as received.
    pub fn transport(&self) -> &str {
        std::str::from_utf8(self.transport.of(&self.raw)).unwrap_or_default()
    }

    /// The host of `sent-by`, an IPv6 address with its brackets.
    pub fn host(&self) -> &str {
        std::str::from_utf8(self.host.of(&self.raw)).unwrap_or_default()
    }

    /// The host of `sent-by` when it is an address.
    pub fn ip(&self) -> Option<IpAddr> {
        host_ip(self.host.of(&self.raw))
    }

    /// The port of `sent-by` when one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// `host:port` in lower case with the default port 5060 (5061 for TLS and WSS) filled in, for comparison in the
    /// transaction key.
    pub fn sent_by(&self) -> String {
        let secure = matches!(self.transport().to_ascii_uppercase().as_str(), "TLS" | "WSS");
        let default = if secure { 5061 } else { 5060 };
        format!("{}:{}", self.host().to_ascii_lowercase(), self.port.unwrap_or(default))
    }

    /// The branch as text.
    pub fn branch(&self) -> Option<String> {
        self.params.text("branch").filter(|branch| !branch.is_empty())
    }

    /// The branch when it names the transaction by itself: it starts with the magic cookie and goes on
    /// (RFC 3261 §8.1.1.7; RFC 4475 §3.2.1 sends the cookie alone).
    pub fn transaction_branch(&self) -> Option<String> {
        const COOKIE: usize = "z9hG4bK".len();
        self.branch()
            .filter(|branch| branch.len() > COOKIE && branch.as_bytes()[..COOKIE].eq_ignore_ascii_case(b"z9hG4bK"))
    }

    /// The address that the next hop saw, with or without brackets (RFC 5118 §4.5).
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.text("received")?;
        text.parse().ok().or_else(|| host_ip(text.as_bytes()))
    }

    /// `rport`: `Some(None)` asks for the source port, `Some(Some(port))` tells it (RFC 3581).
    pub fn rport(&self) -> Option<Option<u16>> {
        let value = self.params.get("rport")?;
        Some(lex::number(&value).and_then(|port| u16::try_from(port).ok()))
    }
}

/// Finds the parts of one hop and checks them.
pub(crate) fn scan(raw: &[u8]) -> Result<Spans, ValueFault> {
    if raw.len() > MAX_VALUE {
        return Err(ValueFault::TooLong);
    }
    let mut at = lex::skip_blanks(raw, 0);
    let mut piece = |last: bool| -> Result<(usize, usize), ValueFault> {
        let start = at;
        while raw.get(at).is_some_and(|&b| lex::is_token_byte(b)) {
            at += 1;
        }
        let found = (start, at);
        if start == at {
            return Err(if at == raw.len() { ValueFault::Empty } else { ValueFault::Token });
        }
        let next = lex::skip_blanks(raw, at);
        if last {
            // Blanks must part the transport from the host.
            if next == at {
                return Err(ValueFault::Host);
            }
            at = next;
        } else {
            if raw.get(next) != Some(&b'/') {
                return Err(ValueFault::Protocol);
            }
            at = lex::skip_blanks(raw, next + 1);
        }
        Ok(found)
    };
    let (protocol, version, transport) = (piece(false)?, piece(false)?, piece(true)?);
    if !raw[protocol.0..protocol.1].eq_ignore_ascii_case(b"SIP") || &raw[version.0..version.1] != b"2.0" {
        return Err(ValueFault::Protocol);
    }
    let (host, port, end) = scan_host_port(raw, at)?;
    let (start, end) = lex::trimmed(raw, end, raw.len());
    match raw.get(start) {
        _ if start == end => {}
        Some(b';') => params::check(&raw[start..end])?,
        Some(b',') => return Err(ValueFault::Several),
        _ => return Err(ValueFault::Host),
    }
    Ok(Spans { transport: Span::new(transport.0, transport.1), host, port, params: (start, end) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(raw: &str) -> Result<Via, ValueFault> {
        Via::parse(&Bytes::copy_from_slice(raw.as_bytes()))
    }

    #[test]
    fn reads() {
        for (raw, transport, sent_by, branch) in [
            ("SIP/2.0/UDP h;branch=z9hG4bK1", "UDP", "h:5060", Some("z9hG4bK1")),
            (
                "SIP  / 2.0  / TCP     Spindle.example.com   ; branch = z9hG4bK9 ",
                "TCP",
                "spindle.example.com:5060",
                Some("z9hG4bK9"),
            ),
            ("SIP/2.0/TLS [2001:db8::1]:5070;branch=z9hG4bK", "TLS", "[2001:db8::1]:5070", None),
            ("SIP/2.0/TLS h", "TLS", "h:5061", None),
            ("SIP/2.0/UDP h :5060;branch=390skdjuw", "UDP", "h:5060", None),
        ] {
            let hop = via(raw).unwrap_or_else(|fault| panic!("{raw}: {fault}"));
            assert_eq!(hop.transport(), transport);
            assert_eq!(hop.sent_by(), sent_by);
            assert_eq!(hop.transaction_branch().as_deref(), branch);
        }
    }

    #[test]
    fn refuses() {
        for (raw, fault) in [
            ("", ValueFault::Empty),
            ("SIP/2.0/UDP 192.0.2.15;;,;,,", ValueFault::Parameter),
            ("SIP/7.0/UDP h", ValueFault::Protocol),
            ("HTTP/2.0/UDP h", ValueFault::Protocol),
            ("SIP/2.0/UDP", ValueFault::Host),
            ("SIP/2.0/UDP h:x", ValueFault::Port),
            ("SIP/2.0/UDP h x", ValueFault::Host),
            ("SIP/2.0/UDP h;a=1, SIP/2.0/UDP i", ValueFault::Parameter),
        ] {
            assert_eq!(via(raw).map(|hop| hop.sent_by()), Err(fault), "{raw}");
        }
    }

    #[test]
    fn source() {
        let hop = via("SIP/2.0/UDP h;received=2001:db8::9;rport=5080").unwrap();
        assert_eq!(hop.received(), Some("2001:db8::9".parse().unwrap()));
        assert_eq!(hop.rport(), Some(Some(5080)));
        assert_eq!(via("SIP/2.0/UDP h;received=[2001:db8::9];rport").unwrap().rport(), Some(None));
        assert_eq!(via("SIP/2.0/UDP h").unwrap().rport(), None);
        assert!(Via::value("UDP", "h:5060\r\nX", "z9hG4bK1").is_err());
        assert!(Via::value("UDP", "[::1]:5060", "z9hG4bK1").is_ok());
    }
}
