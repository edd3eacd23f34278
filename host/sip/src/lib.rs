//! The SIP user agent: wire, transactions, dialogs, offer/answer, transports.

pub mod wire;
