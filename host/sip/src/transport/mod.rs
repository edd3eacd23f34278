//! The edge: sockets, the one task that drives the endpoint, and the handles that the call room holds.

mod accounts;
mod dialog;
mod driver;
mod ingress;
mod local;
mod reach;
mod stack;
mod tcp;
mod tls;
mod trace;
mod udp;

pub use accounts::{Ping, Registration, RegistrationConfig};
pub use dialog::Dialog;
pub use stack::{Dns, IncomingCall, OutgoingCall, PublicAddress, SipConfig, SipStack, SipStats};
pub use tls::{ClientCertificates, Pem, TlsConfig, TlsIdentity};
pub use trace::DialogTrace;

use crate::ua::{Flow, LegId, TransactionId};
use std::time::Instant;

/// What tasks of the edge tell the driver.
#[derive(Debug)]
enum Control {
    /// A look-up for an account or a registration ended.
    Account(accounts::AccountControl),
    /// The transport of a request failed.
    Unsendable(TransactionId),
    /// The next hop of a dialog was looked up.
    Resolved(LegId, Vec<Flow>),
}

/// The clock of the edge.
#[allow(clippy::disallowed_methods, reason = "this is the edge: everything below takes the time as a parameter")]
fn now() -> Instant {
    Instant::now()
}
