//! What we send, sealed.

use super::cipher::SessionKeys;
use super::index::{INDICES, near};
use super::keys::{SrtpKeys, SrtpSuite};
use super::{SrtpError, rtp_header};

/// Packets of RTCP that a key may seal (RFC 3711 §9.2).
const RTCP_INDICES: u32 = 1 << 31;

/// The sending direction of one stream. No index is ever used twice under one key.
pub struct Protector {
    suite: SrtpSuite,
    keys: SessionKeys,
    /// The index of the last packet.
    rtp: Option<u64>,
    /// The next index of RTCP.
    rtcp: u32,
}

impl std::fmt::Debug for Protector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Protector").field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl Protector {
    /// Seals with this key from the next packet on.
    #[must_use]
    pub fn new(keys: &SrtpKeys) -> Self {
        Self { suite: keys.suite(), keys: SessionKeys::derive(keys), rtp: None, rtcp: 1 }
    }

    /// Another key. The rollover counter goes on (RFC 3711 §3.3.1), and so does the index of RTCP (§3.4).
    pub fn rekey(&mut self, keys: &SrtpKeys) {
        *self = Self { rtp: self.rtp, rtcp: self.rtcp, ..Self::new(keys) };
    }

    /// How packets are sealed.
    #[must_use]
    pub const fn suite(&self) -> SrtpSuite {
        self.suite
    }

    /// Seals the RTP packet in the first `length` bytes of the buffer, which has room for [`super::OVERHEAD`] more.
    /// Returns its new length.
    ///
    /// # Errors
    /// [`SrtpError::Malformed`]; [`SrtpError::Exhausted`] where its sequence number is not behind the last one.
    pub fn rtp(&mut self, packet: &mut [u8], length: usize) -> Result<usize, SrtpError> {
        rtp_header(packet.get(..length).ok_or(SrtpError::Malformed)?)?;
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        let index = self.rtp.map_or(u64::from(sequence), |last| near(last, sequence));
        if self.rtp.is_some_and(|last| index <= last) || index >= INDICES {
            return Err(SrtpError::Exhausted);
        }
        let length = self.keys.seal_rtp(packet, length, index)?;
        self.rtp = Some(index);
        Ok(length)
    }

    /// Seals the compound RTCP packet in the first `length` bytes likewise.
    ///
    /// # Errors
    /// [`SrtpError::Malformed`], [`SrtpError::Exhausted`].
    pub fn rtcp(&mut self, packet: &mut [u8], length: usize) -> Result<usize, SrtpError> {
        if self.rtcp >= RTCP_INDICES {
            return Err(SrtpError::Exhausted);
        }
        let length = self.keys.seal_rtcp(packet, length, self.rtcp)?;
        self.rtcp += 1;
        Ok(length)
    }
}
