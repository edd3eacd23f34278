//! Which of our addresses a peer sees.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Peers whose route is remembered.
const MAX_REMEMBERED: usize = 4_096;

/// The local address of a listener, made concrete where it is bound to all addresses.
#[derive(Debug)]
pub(crate) struct LocalAddresses {
    bound: SocketAddr,
    routes: HashMap<IpAddr, IpAddr>,
}

impl LocalAddresses {
    pub(crate) fn new(bound: SocketAddr) -> Self {
        Self { bound, routes: HashMap::new() }
    }

    /// The address that packets to `remote` leave from.
    pub(crate) fn towards(&mut self, remote: SocketAddr) -> SocketAddr {
        if !self.bound.ip().is_unspecified() {
            return self.bound;
        }
        let known = self.routes.get(&remote.ip()).copied();
        let ip = known.unwrap_or_else(|| {
            // Interfaces change; starting over once in a while is cheap and keeps the map bounded.
            if self.routes.len() >= MAX_REMEMBERED {
                self.routes.clear();
            }
            let ip = route(remote).unwrap_or(self.bound.ip());
            self.routes.insert(remote.ip(), ip);
            ip
        });
        SocketAddr::new(ip, self.bound.port())
    }
}

/// Asks the system which source address it would use. Connecting a UDP socket sends nothing.
pub(crate) fn route(remote: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((remote.ip(), remote.port().max(1))).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_made_concrete() {
        let mut any = LocalAddresses::new("0.0.0.0:5060".parse().unwrap());
        assert_eq!(any.towards("127.0.0.1:9".parse().unwrap()), "127.0.0.1:5060".parse().unwrap());
        let mut one = LocalAddresses::new("127.0.0.1:5060".parse().unwrap());
        assert_eq!(one.towards("192.0.2.1:9".parse().unwrap()), "127.0.0.1:5060".parse().unwrap());
    }
}
