//! WebRTC without I/O: offer and answer, ICE, DTLS, the keys of SRTP, and a data channel.
//!
//! A [`Peer`] is one caller in a browser or an app. It is made of an [`Offer`], gives an answer, and is then told what
//! came and what time it is; what it wants sent, and what there is to tell, comes out of it. It carries no audio: what
//! DTLS gives are keys ([`Keys`]), with which whoever drives it protects and opens RTP by itself. So a call by WebRTC
//! costs in each packet what a call by SRTP costs, and str0m, which does DTLS and SCTP here, is asked about the few
//! datagrams that are neither RTP nor RTCP.
//!
//! * `offer`, `answer`, [`codec`] – what a browser offers, what we answer (RFC 8829, RFC 8839, RFC 8842, RFC 9143)
//! * [`stun`], `ice` – the far end's checks: whose they are, and the way that it chooses (RFC 8445)
//! * `keys` – what DTLS gives (RFC 5764)
//! * `channel` – the data channel `callbox` (RFC 8831): messages of text, bounded in size and number
//! * `peer` – all of the above for one caller
//! * [`frame`] – datagrams in a TCP stream (RFC 4571)
//! * [`caller`] – the other side, as a browser is one: for tests and for load
//!
//! What this room never does: open a socket, read a clock, draw a random number but for DTLS and its certificate,
//! remember anything of a stranger.

mod answer;
pub mod caller;
mod channel;
pub mod codec;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
mod ice;
mod keys;
mod offer;
mod peer;
mod rate;
pub mod stun;

pub use channel::LABEL;
pub use ice::Path;
pub use keys::{Keys, Profile, fingerprint, generate_certificate};
pub use peer::{Answered, Identity, Output, Peer, PeerConfig};
pub use str0m::config::DtlsCert as Certificate;

pub use answer::{Agreement, Candidate, Policy};
pub use codec::Codec;
pub use offer::{Direction, IceCredentials, IceFragment, LONGEST_OFFER, Offer, OfferError};
