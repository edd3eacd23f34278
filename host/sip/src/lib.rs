//! The SIP user agent: wire, transactions, dialogs, offer/answer, transports.

mod dialog;
pub mod digest;
#[doc(hidden)]
pub mod fuzz;
pub mod overload;
pub mod sdp;
pub mod transaction;
mod transport;
pub mod ua;
pub mod wire;

pub use overload::SipLimits;
pub use transport::{Dialog, IncomingCall, OutgoingCall, SipConfig, SipStack, SipStats};
pub use ua::{Credentials, DialogEvent, Identity, InviteInfo, SipError, Transport};
