//! Where messages come from and go to.

use bytes::Bytes;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// How SIP messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream, framed by `Content-Length`.
    Tcp,
    /// The same inside TLS.
    Tls,
    /// WebSocket (RFC 7118), one message in each of its own.
    Ws,
    /// WebSocket inside TLS.
    Wss,
}

impl Transport {
    /// All of them, in the order in which one is taken where nothing else decides.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// Whether the transport itself repeats what is lost. It then has connections, too.
    #[must_use]
    pub fn reliable(self) -> bool {
        self != Self::Udp
    }

    /// Whether it is encrypted: what `sips:` asks for.
    #[must_use]
    pub fn secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Whether it is a WebSocket: its peers can only be reached by the connection that they opened.
    #[must_use]
    pub fn web_socket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// As it stands in `Via`.
    #[must_use]
    pub fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// As it stands in the `transport` parameter of a URI; RFC 7118 §5.4 knows only `ws` there.
    #[must_use]
    pub fn parameter(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws | Self::Wss => "ws",
        }
    }

    /// The port of a peer that names none (RFC 3261 §19.1.2, RFC 7118 §5.5 with the ports of HTTP).
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// Reads the value of a `transport` parameter or of `Via`, in any case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.via().as_bytes().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        })
    }
}

/// Stands for the name that the certificate of a peer has to prove, in the table of the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerName(pub u32);

/// One connection of the edge; never used again after it closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

/// The path of a message between one of our listeners and a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// How it travels.
    pub transport: Transport,
    /// Which of our listeners it belongs to: an index into [`EndpointConfig::listeners`](super::EndpointConfig).
    pub listener: usize,
    /// Our address on it, as a peer can reach it where nothing else is to be advertised.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The connection, where the transport has connections.
    pub connection: Option<ConnectionId>,
    /// Where to open a new connection when this one is gone; else `remote`.
    pub redial: Option<SocketAddr>,
    /// Whom a new connection has to lead to: the host that was looked up, for TLS. Without it the peer's address.
    pub name: Option<PeerName>,
}

impl Flow {
    /// The way to a peer that has no connection yet, or needs none.
    #[must_use]
    pub fn new(transport: Transport, listener: usize, local: SocketAddr, remote: SocketAddr) -> Self {
        Self { transport, listener, local, remote, connection: None, redial: None, name: None }
    }
}

/// A message for the edge to send.
#[derive(Clone, Debug)]
pub struct Transmit {
    /// Where to.
    pub flow: Flow,
    /// The whole message.
    pub bytes: Bytes,
    /// The client transaction that wants to hear when it cannot be sent
    /// ([`Endpoint::unsendable`](super::Endpoint::unsendable)).
    pub transaction: Option<TransactionId>,
}

/// Names a transaction inside one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub u64);

/// Names a leg – one INVITE and what grows from it – inside one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u64);

/// Whether an address that a peer wrote about itself can be reached, seen that its packets come from `source`:
/// a private address written by a peer with a public one is behind a NAT, and a peer that comes by loopback is reached
/// there, whatever address of this machine it names (a listener on loopback could not send to that).
pub(crate) fn hidden(written: IpAddr, source: IpAddr) -> bool {
    let (written, source) = (written.to_canonical(), source.to_canonical());
    written.is_unspecified()
        || (source.is_loopback() && !written.is_loopback())
        || (inner(written) && !inner(source) && written != source)
}

fn inner(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// An address as the host part of a URI or `Via`.
pub(crate) fn host_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_address_of_a_public_peer_is_hidden() {
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        assert!(hidden(ip("192.168.1.4"), ip("203.0.113.5")));
        assert!(hidden(ip("100.64.0.1"), ip("203.0.113.5")));
        assert!(hidden(ip("fd00::1"), ip("2001:db8::1")));
        assert!(hidden(ip("0.0.0.0"), ip("10.0.0.1")));
        assert!(!hidden(ip("10.0.0.2"), ip("10.0.0.1")), "a proxy in the same network");
        assert!(!hidden(ip("198.51.100.1"), ip("203.0.113.5")));
        assert!(!hidden(ip("127.0.0.1"), ip("127.0.0.1")));
        assert!(!hidden(ip("127.0.0.2"), ip("127.0.0.1")));
        assert!(hidden(ip("192.0.2.2"), ip("127.0.0.1")), "a peer on this machine");
    }

    #[test]
    fn hosts_are_written_for_uris() {
        assert_eq!(host_of("::ffff:127.0.0.1".parse().unwrap()), "127.0.0.1");
        assert_eq!(host_of("2001:db8::1".parse().unwrap()), "[2001:db8::1]");
    }
}
