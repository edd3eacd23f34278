//! Secure RTP: what protects the packets of a call once both sides have a key (RFC 3711, RFC 7714).
//!
//! Keys come from the SDP ([`SrtpKeys::from_inline`], RFC 4568) or from a DTLS handshake (RFC 5764). A [`Protector`]
//! seals what we send and an [`Unprotector`] opens what comes, in place; neither knows a socket, a clock or where a
//! packet came from, and neither allocates per packet.
//!
//! * `keys` – master keys, and how SDP writes them
//! * `cipher` – session keys, and one packet with its index
//! * `index` – from 16 bits of sequence number to the index, and what came before
//! * `protector`, `unprotector` – the state of a direction

mod cipher;
mod index;
mod keys;
mod protector;
mod unprotector;

#[cfg(test)]
mod tests;

pub use cipher::OVERHEAD;
pub use keys::{SrtpKeyError, SrtpKeys, SrtpSuite};
pub use protector::Protector;
pub use unprotector::Unprotector;

/// Why a packet was not protected or not believed. The packet is to be dropped; the stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Not RTP or RTCP, or too short for what it should carry; or the buffer has no room for what is added.
    #[error("not a packet of this kind")]
    Malformed,
    /// Not sealed with our key: plaintext, a forgery, a stranger, or damage on the way.
    #[error("not authentic")]
    Unauthentic,
    /// It came before, or is too old to tell.
    #[error("it came before")]
    Replayed,
    /// The key has sealed as many packets as it may, or one of this index (RFC 3711 §9.1).
    #[error("the key is used up")]
    Exhausted,
}

/// The length of an RTP header with its CSRC list and extension: what stays readable.
fn rtp_header(packet: &[u8]) -> Result<usize, SrtpError> {
    let short = SrtpError::Malformed;
    if packet.first().is_none_or(|byte| byte >> 6 != 2) {
        return Err(short);
    }
    let mut length = crate::rtp::HEADER + usize::from(packet[0] & 0x0F) * 4;
    if packet[0] & 0x10 != 0 {
        let words = packet.get(length + 2..length + 4).ok_or(short)?;
        length += 4 + usize::from(u16::from_be_bytes([words[0], words[1]])) * 4;
    }
    if packet.len() < length { Err(short) } else { Ok(length) }
}

/// The big-endian number at a place that is there.
fn word(packet: &[u8], at: usize) -> Result<u32, SrtpError> {
    let bytes = packet.get(at..).and_then(|rest| rest.first_chunk()).ok_or(SrtpError::Malformed)?;
    Ok(u32::from_be_bytes(*bytes))
}
