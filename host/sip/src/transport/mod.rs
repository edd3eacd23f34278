//! The edge: sockets, the one task that drives the endpoint, and the handles that the call room holds.

mod dialog;
mod driver;
mod ingress;
mod local;
mod stack;
mod tcp;
mod trace;
mod udp;

pub use dialog::Dialog;
pub use stack::{IncomingCall, OutgoingCall, SipConfig, SipStack, SipStats};

use crate::ua::{LegId, TransactionId};
use std::net::SocketAddr;
use std::time::Instant;

/// What tasks of the edge tell the driver.
#[derive(Debug)]
enum Control {
    /// The transport of a request failed.
    Unsendable(TransactionId),
    /// A name was looked up.
    Resolved(LegId, SocketAddr),
}

/// The clock of the edge.
#[allow(clippy::disallowed_methods, reason = "this is the edge: everything below takes the time as a parameter")]
fn now() -> Instant {
    Instant::now()
}
