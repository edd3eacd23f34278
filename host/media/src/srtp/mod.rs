//! Secure RTP: what protects the packets of a call once both sides have a key (RFC 3711, RFC 7714).
//!
//! Keys come from the SDP ([`SrtpKeys::from_inline`], RFC 4568) or from a DTLS handshake (RFC 5764). Nothing here
//! knows a socket, a clock or where a packet came from; nothing here allocates per packet.

mod keys;

pub use keys::{SrtpKeyError, SrtpKeys, SrtpSuite};
