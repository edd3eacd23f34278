//! The SIP user agent: wire, transactions, dialogs, offer/answer, transports.

pub mod digest;
pub mod sdp;
pub mod wire;
