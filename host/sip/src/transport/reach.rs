//! From a next hop to flows: its addresses, and for each the listener and the address of ours to use.

use super::local::LocalAddresses;
use crate::ua::{Flow, Listener, NextHop, SipError, Transport};
use std::net::{IpAddr, SocketAddr};

/// What we can reach, and from where.
#[derive(Debug)]
pub(crate) struct Reach {
    pub(crate) listeners: Vec<Listener>,
}

impl Reach {
    /// The ways to a next hop, best first, never none.
    pub(crate) async fn ways(&self, hop: &NextHop) -> Result<Vec<Flow>, SipError> {
        let transport = hop.transport.unwrap_or_else(|| self.preferred());
        let port = hop.port.unwrap_or(transport.default_port());
        let addresses: Vec<SocketAddr> = match hop.ip() {
            Some(ip) => vec![SocketAddr::new(ip, port)],
            None => {
                let failed = |why: String| SipError::Resolve { host: hop.host.clone(), why };
                let found = tokio::net::lookup_host((hop.host.as_str(), port)).await;
                found.map_err(|error| failed(error.to_string()))?.collect()
            }
        };
        let ways: Vec<Flow> = addresses.iter().filter_map(|remote| self.flow(transport, *remote)).collect();
        if ways.is_empty() {
            let why = format!("no {transport} listener of its address family");
            return Err(SipError::Target { uri: hop.to_string(), why });
        }
        Ok(ways)
    }

    /// The way to an address.
    pub(crate) fn flow(&self, transport: Transport, remote: SocketAddr) -> Option<Flow> {
        // Peers behind a WebSocket are reached by the connection that they opened; TLS comes with the next change.
        if transport.web_socket() || transport.secure() {
            return None;
        }
        // A connection can be opened without a listener of its kind; what comes back comes by it.
        let stands_in = |t: Transport| t.reliable().then(|| self.any_listener(remote.ip())).flatten();
        let listener = self.listener(transport, remote.ip()).or_else(|| stands_in(transport))?;
        let local = LocalAddresses::new(self.listeners[listener].address).towards(remote);
        Some(Flow::new(transport, listener, local, remote))
    }

    /// Where nothing says how: UDP, else what there is a listener for.
    fn preferred(&self) -> Transport {
        let listens = |t: &Transport| !t.web_socket() && self.listeners.iter().any(|l| l.transport == *t);
        Transport::ALL.into_iter().find(listens).unwrap_or(Transport::Tcp)
    }

    fn listener(&self, transport: Transport, remote: IpAddr) -> Option<usize> {
        self.best(remote, |l| l.transport == transport)
    }

    fn any_listener(&self, remote: IpAddr) -> Option<usize> {
        self.best(remote, |_| true)
    }

    fn best(&self, remote: IpAddr, fits: impl Fn(&Listener) -> bool) -> Option<usize> {
        let listeners = self.listeners.iter();
        let fits = |l: &Listener| fits(l) && l.address.is_ipv4() == remote.is_ipv4();
        // A listener on loopback reaches only loopback.
        let best = |l: &Listener| fits(l) && l.address.ip().is_loopback() == remote.is_loopback();
        listeners.clone().position(best).or_else(|| listeners.clone().position(fits))
    }
}
