//! The edge: sockets, the one task that drives the endpoint, and the handles that the call room holds.

mod accept;
mod accounts;
mod connections;
mod dial;
mod dialog;
mod driver;
mod hep;
mod icmp;
mod ingress;
mod keepalive;
mod listen;
mod local;
mod names;
mod reach;
mod resolve;
mod stack;
mod stream;
pub(crate) mod stun;
mod tls;
mod trace;
mod udp;
mod ws;

pub use accounts::{Ping, Registration, RegistrationConfig};
pub use dialog::Dialog;
pub use hep::Homer;
pub use stack::{Dns, IncomingCall, OutgoingCall, PublicAddress, SipConfig, SipStack, SipStats};
pub use tls::{ClientCertificates, Pem, TlsConfig, TlsIdentity};
pub use trace::DialogTrace;

use crate::ua::{ConnectionId, Flow, LegId, SipError, TransactionId, host_of};
use crate::wire::Uri;
use std::net::IpAddr;
use std::time::Instant;

/// What tasks of the edge tell the driver.
#[derive(Debug)]
enum Control {
    /// A look-up for an account or a registration ended.
    Account(accounts::AccountControl),
    /// A connection is gone.
    Disconnected(ConnectionId),
    /// The transport of a request failed.
    Unsendable(TransactionId),
    /// The network says that the request with this branch did not arrive.
    Unreachable(String),
    /// The next hop of a dialog was looked up.
    Resolved(LegId, Vec<Flow>),
}

/// The clock of the edge.
#[allow(clippy::disallowed_methods, reason = "this is the edge: everything below takes the time as a parameter")]
fn now() -> Instant {
    Instant::now()
}

/// A host that peers are told: an address, an IPv6 one with or without brackets, or a name.
fn public_host(host: &str) -> Result<String, SipError> {
    let host = host.trim();
    let host = host.trim_matches(['[', ']']).parse::<IpAddr>().map_or_else(|_| host.to_owned(), host_of);
    let fits = Uri::from_text(&format!("sip:{host}")).is_ok_and(|uri| uri.host() == host);
    if fits {
        Ok(host)
    } else {
        Err(SipError::Target { uri: host, why: "the advertised host is neither an address nor a name".to_owned() })
    }
}
