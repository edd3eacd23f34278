//! SIP messages on the wire: reading, typed values, writing, and framing on streams.
//!
//! Bytes from the network become a [`Message`] by [`parse`]. Header values stay the bytes that came; typed accessors
//! read them on demand, and what is echoed is echoed byte for byte. Reading is generous where a generous reader and a
//! strict one see the same thing, and refuses where two readers could see two. What is refused carries its own
//! answer ([`Rejection`]).
//!
//! What it never does: read a clock, allocate beyond the size of its input times a small factor, panic, or write a
//! line break that was not its own.

mod body;
mod fault;
mod field;
mod frame;
mod headers;
pub(crate) mod lex;
mod message;
mod method;
mod name_addr;
mod params;
mod parse;
mod screen;
mod status;
mod uri;
mod value;
mod via;
mod write;

pub use body::Body;
pub use fault::{Fault, HeaderError, ParseError, Rejection, ValueFault};
pub use field::{Field, HeaderName, Key};
pub use frame::{Frame, Framer, frame};
pub use headers::{Header, Headers};
pub use message::{Message, StartLine};
pub use method::{Method, Token};
pub use name_addr::NameAddr;
pub use params::Params;
pub use parse::{parse, parse_bytes};
pub use screen::{Support, screen};
pub use status::reason_phrase;
pub use uri::{Scheme, Uri};
pub use value::{CSeq, MediaType, RAck, Reason, Refresher, Replaces, SessionExpires};
pub use via::Via;

/// The largest message in bytes; no UDP datagram is larger.
pub const MAX_MESSAGE: usize = 65_536;
/// Header lines in a message. Real ones have 10 to 40.
pub const MAX_HEADERS: usize = 256;
/// Bytes of one header name. RFC 4475 §3.1.1.7 has one of 90.
pub const MAX_NAME: usize = 256;
/// Bytes of one header value or URI. An `Identity` with a certificate chain stays below.
pub const MAX_VALUE: usize = 16_384;
/// Hops in all `Via` lines of a message. `Max-Forwards` allows 70 on the way; RFC 4475 §3.1.1.7 has 34.
pub const MAX_VIAS: usize = 70;
