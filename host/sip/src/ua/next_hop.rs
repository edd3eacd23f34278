//! Where a request is to go, before names are looked up (RFC 3263 §4).

use super::flow::{Transport, host_of};
use crate::wire::{Scheme, Uri};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A SIP server by address or name. What is left open is found by RFC 3263: NAPTR where no transport is given, SRV
/// where no port is given, then A and AAAA; several addresses are tried one after the other.
///
/// As text: `host`, `host:port`, `[v6]:port`, or a SIP URI without user: `sip:host;transport=tls`, `sips:host`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// A name or an address; an IPv6 address without brackets. With TLS the certificate has to prove it.
    pub host: String,
    /// None finds the port by SRV, or takes the one of the transport.
    pub port: Option<u16>,
    /// None finds the transport by NAPTR and SRV, or takes UDP.
    pub transport: Option<Transport>,
}

/// What is wrong with the text of a [`NextHop`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no next hop: give a host, host:port, or a URI such as sip:host;transport=tls")]
pub struct NextHopError(pub String);

impl NextHop {
    /// The server that a URI names (its host, not who sits there). `sips:` means TLS, or `wss` with `transport=ws`.
    ///
    /// # Errors
    /// A `transport` that we do not speak, by its name.
    pub fn of(uri: &Uri) -> Result<Self, String> {
        let named = uri.param("transport");
        let named =
            named.map(|name| Transport::named(&name).ok_or_else(|| String::from_utf8_lossy(&name).into_owned()));
        let transport = match (uri.scheme(), named.transpose()?) {
            (Scheme::Sips, Some(Transport::Ws | Transport::Wss)) => Some(Transport::Wss),
            (Scheme::Sips, _) => Some(Transport::Tls),
            (_, transport) => transport,
        };
        let host = uri.ip().map_or_else(|| uri.host().to_owned(), |ip| ip.to_string());
        Ok(Self { host, port: uri.port(), transport })
    }

    /// The host where it is an address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether the host is one that means nothing to others (RFC 2606): what a WebSocket client writes, which does not
    /// know its address (RFC 7118 §5). It is never looked up.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        let host = self.host.trim_end_matches('.');
        host.is_empty() || host.eq_ignore_ascii_case("invalid") || {
            let tail = host.len().checked_sub(".invalid".len()).and_then(|at| host.get(at..));
            tail.is_some_and(|tail| tail.eq_ignore_ascii_case(".invalid"))
        }
    }
}

impl From<SocketAddr> for NextHop {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_canonical().to_string(), port: Some(address.port()), transport: None }
    }
}

impl FromStr for NextHop {
    type Err = NextHopError;

    fn from_str(text: &str) -> Result<Self, NextHopError> {
        let trimmed = text.trim();
        let bad = || NextHopError(text.to_owned());
        if let Ok(IpAddr::V6(v6)) = trimmed.parse() {
            return Ok(Self { host: v6.to_string(), port: None, transport: None });
        }
        let start = |scheme: &str| trimmed.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
        let full = if start("sip:") || start("sips:") { trimmed.to_owned() } else { format!("sip:{trimmed}") };
        let uri = Uri::from_text(&full).map_err(|_| bad())?;
        if uri.user().is_some() || uri.host().is_empty() {
            return Err(bad());
        }
        Self::of(&uri).map_err(|_| bad())
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip() {
            Some(ip) => write!(f, "sip:{}", host_of(ip))?,
            None => write!(f, "sip:{}", self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.transport {
            Some(transport) => write!(f, ";transport={transport}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(text: &str) -> NextHop {
        text.parse().unwrap()
    }

    #[test]
    fn next_hops_are_read_and_written() {
        for (text, host, port, transport, written) in [
            ("carrier.example", "carrier.example", None, None, "sip:carrier.example"),
            ("192.0.2.1:5070", "192.0.2.1", Some(5070), None, "sip:192.0.2.1:5070"),
            ("2001:db8::1", "2001:db8::1", None, None, "sip:[2001:db8::1]"),
            ("[2001:db8::1]:5061", "2001:db8::1", Some(5061), None, "sip:[2001:db8::1]:5061"),
            ("sip:a.example;transport=TCP", "a.example", None, Some(Transport::Tcp), "sip:a.example;transport=tcp"),
            ("SIPS:a.example:5071", "a.example", Some(5071), Some(Transport::Tls), "sip:a.example:5071;transport=tls"),
            ("sips:a.example;transport=ws", "a.example", None, Some(Transport::Wss), "sip:a.example;transport=wss"),
        ] {
            let found = hop(text);
            assert_eq!(found, NextHop { host: host.into(), port, transport }, "{text}");
            assert_eq!(found.to_string(), written);
            assert_eq!(hop(written), found, "what is written is read again");
        }
        for text in ["", "user@host", "tel:+49", "a b", "host:99999", "sip:host;transport=sctp", "sip:"] {
            assert!(text.parse::<NextHop>().is_err(), "{text}");
        }
    }

    #[test]
    fn invalid_hosts_are_known() {
        for host in ["invalid", "df7jal23ls0d.invalid", "a.INVALID.", ""] {
            assert!(NextHop { host: host.into(), port: None, transport: None }.is_invalid(), "{host}");
        }
        assert!(!hop("notinvalid").is_invalid());
        assert!(!hop("192.0.2.1").is_invalid());
    }
}
