//! From a next hop to flows: its addresses, and for each the listener and the address of ours to use.

use super::local::LocalAddresses;
use super::names::PeerNames;
use super::resolve::{Resolver, Usable};
use crate::ua::{Flow, Listener, NextHop, SipError, Transport};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What we can reach, and from where.
#[derive(Debug)]
pub(crate) struct Reach {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) resolver: Resolver,
    pub(crate) names: Arc<PeerNames>,
}

impl Reach {
    /// The ways to a next hop, best first, never none.
    pub(crate) async fn ways(&self, hop: &NextHop) -> Result<Vec<Flow>, SipError> {
        let refused = |why| SipError::Target { uri: hop.to_string(), why };
        if hop.is_invalid() {
            return Err(refused("this host is a placeholder and leads nowhere".to_owned()));
        }
        if hop.transport.is_some_and(Transport::web_socket) {
            return Err(refused(
                "who speaks SIP by WebSocket (ws, wss) connects to us and cannot be called".to_owned(),
            ));
        }
        let random = |most: u32| getrandom::u32().map_or(0, |n| n % most.saturating_add(1).max(1));
        let servers = self.resolver.servers(hop, &self.usable(), random).await;
        let servers = servers.map_err(|why| SipError::Resolve { host: hop.host.clone(), why })?;
        let ways = servers.iter().filter_map(|server| {
            let flow = self.flow(server.transport, server.address)?;
            // The certificate has to prove what was asked for, not what DNS made of it (RFC 5922 §4).
            let name = server.transport.secure().then(|| self.names.intern(&hop.host));
            Some(Flow { name, ..flow })
        });
        let ways: Vec<Flow> = ways.collect();
        if ways.is_empty() {
            let transport = servers.first().map_or("SIP", |server| server.transport.via());
            return Err(refused(format!("no {transport} listener of its address family")));
        }
        Ok(ways)
    }

    /// The way to an address.
    fn flow(&self, transport: Transport, remote: SocketAddr) -> Option<Flow> {
        // A connection can be opened without a listener of its kind; what comes back comes by it.
        let stands_in = |t: Transport| t.reliable().then(|| self.any_listener(remote.ip())).flatten();
        let listener = self.listener(transport, remote.ip()).or_else(|| stands_in(transport))?;
        let local = LocalAddresses::new(self.listeners[listener].address).towards(remote);
        Some(Flow::new(transport, listener, local, remote))
    }

    /// What of DNS answers is of use: transports with a listener before those that we can only dial.
    fn usable(&self) -> Usable {
        let listens = |t: &Transport| self.listeners.iter().any(|l| l.transport == *t);
        let mut transports: Vec<Transport> = [Transport::Udp, Transport::Tcp, Transport::Tls].into();
        transports.retain(|t| t.reliable() || listens(t));
        transports.sort_by_key(|t| !listens(t));
        let family = |v4| self.listeners.iter().any(|l| l.address.is_ipv4() == v4);
        Usable { transports, v4: family(true), v6: family(false) }
    }

    /// The listener that a peer at this address would be called from.
    pub(crate) fn listener_towards(&self, remote: IpAddr) -> Option<&Listener> {
        self.any_listener(remote).and_then(|index| self.listeners.get(index))
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
