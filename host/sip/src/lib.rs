//! The SIP user agent: wire, transactions, dialogs, offer/answer, transports.
//!
//! Bytes become messages in [`wire`]; the four machines of [`transaction`] know when something is sent again; [`ua`]
//! holds all calls of a host in one state machine without I/O, behind the admission of [`overload`]; [`sdp`] negotiates
//! sessions and [`digest`] answers challenges as pure functions. Only the edge has sockets and tasks: [`SipStack`]
//! starts it, a [`Dialog`] commands one call, [`DialogEvent`]s tell what happens in it.
//!
//! What it never does: re-encode what a peer wrote, keep state for a request that is refused, queue without a bound,
//! let one slow user hold up the others, write credentials or whole messages to the log.

mod dialog;
pub mod digest;
#[doc(hidden)]
pub mod fuzz;
pub mod ladder;
pub mod overload;
pub mod registrar;
pub mod sdp;
pub mod transaction;
mod transport;
pub mod ua;
pub mod wire;

pub use overload::{SipLimits, SourcePolicy, Strangers, Treatment};
pub use registrar::{
    Account, AccountLookup, Accounts, AccountsUnavailable, BoundContact, RegistrarConfig, RegistrarRules,
};
pub use transport::{
    ClientCertificates, Dialog, DialogTrace, Dns, Homer, IncomingCall, OutgoingCall, Pem, Ping, PublicAddress,
    Registration, RegistrationConfig, SipConfig, SipStack, SipStats, TlsConfig, TlsIdentity,
};
pub use ua::{
    Credentials, DialogEvent, DialogPolicy, Flow, Identity, InviteInfo, LegId, NextHop, NextHopError, Pong, Redirects,
    RegistrarStats, RegistrationId, RegistrationState, Reliable, Replaced, SipError, Transport, cause_for_status,
    status_for_cause,
};
