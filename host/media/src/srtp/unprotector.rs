//! What comes, opened: only what is authentic and did not come before.

use super::cipher::SessionKeys;
use super::index::{INDICES, Seen, near};
use super::keys::{SrtpKeys, SrtpSuite};
use super::{SrtpError, rtp_header, word};

/// Streams that a far end may have at a time. It changes its SSRC when it transfers the call or plays music, and its
/// events may have one of their own; who is not authentic gets no place at all.
const STREAMS: usize = 8;

/// What is known of one SSRC.
#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    rtp: Seen,
    /// The first packet under this key has come, and with it the rollover counter is certain.
    certain: bool,
    rtcp: Seen,
    /// When it was heard last, in packets of all.
    heard: u64,
}

/// The receiving direction.
pub struct Unprotector {
    suite: SrtpSuite,
    keys: SessionKeys,
    sources: [Option<Source>; STREAMS],
    packets: u64,
}

impl std::fmt::Debug for Unprotector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unprotector").field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl Unprotector {
    /// Opens with this key.
    #[must_use]
    pub fn new(keys: &SrtpKeys) -> Self {
        Self { suite: keys.suite(), keys: SessionKeys::derive(keys), sources: [None; STREAMS], packets: 0 }
    }

    /// Opens with another key, from where the streams of this one are: their rollover counters go on (RFC 3711
    /// §3.3.1). Far ends that begin at 0 again are understood too.
    #[must_use]
    pub fn successor(&self, keys: &SrtpKeys) -> Self {
        let go_on = |source: Source| Source {
            rtp: Seen::about(source.rtp.newest()),
            certain: false,
            rtcp: Seen::default(),
            ..source
        };
        Self { sources: self.sources.map(|source| source.map(go_on)), packets: self.packets, ..Self::new(keys) }
    }

    /// How packets are sealed.
    #[must_use]
    pub const fn suite(&self) -> SrtpSuite {
        self.suite
    }

    /// Opens an RTP packet in place; returns its length without what protected it.
    ///
    /// # Errors
    /// [`SrtpError`]; then the packet is as it was, and nothing is remembered of it.
    pub fn rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        rtp_header(packet)?;
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = word(packet, 8)?;
        let known = self.place(ssrc);
        let source = known.and_then(|at| self.sources[at]);
        let certain = source.is_some_and(|source| source.certain);
        let expected = source.map_or(u64::from(sequence), |source| near(source.rtp.newest(), sequence));
        if certain && source.is_some_and(|source| !source.rtp.is_new(expected)) || expected >= INDICES {
            return Err(SrtpError::Replayed);
        }
        let mut opened = self.keys.open_rtp(packet, expected).map(|length| (length, expected));
        // The first of a stream under this key: the counter may have rolled over before we heard of it, and some begin
        // to count anew with a new key. Two more guesses, until one was right.
        for guess in [u64::from(sequence), 1 << 16 | u64::from(sequence)] {
            if opened == Err(SrtpError::Unauthentic) && !certain && guess != expected {
                opened = self.keys.open_rtp(packet, guess).map(|length| (length, guess));
            }
        }
        let (length, index) = opened?;
        let source = self.source(known, ssrc);
        if !std::mem::replace(&mut source.certain, true) {
            source.rtp = Seen::about(index);
        }
        source.rtp.mark(index);
        Ok(length)
    }

    /// Opens a compound RTCP packet likewise.
    ///
    /// # Errors
    /// [`SrtpError`], likewise.
    pub fn rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        if packet.first().is_none_or(|byte| byte >> 6 != 2) {
            return Err(SrtpError::Malformed);
        }
        let ssrc = word(packet, 4)?;
        let index = u64::from(self.keys.rtcp_index(packet)?);
        let known = self.place(ssrc);
        if known.and_then(|at| self.sources[at]).is_some_and(|source| !source.rtcp.is_new(index)) {
            return Err(SrtpError::Replayed);
        }
        let length = self.keys.open_rtcp(packet)?;
        self.source(known, ssrc).rtcp.mark(index);
        Ok(length)
    }

    fn place(&self, ssrc: u32) -> Option<usize> {
        self.sources.iter().position(|source| source.is_some_and(|source| source.ssrc == ssrc))
    }

    /// The state of an SSRC from which an authentic packet has come. A new one takes the place of the one that was
    /// silent for longest.
    fn source(&mut self, known: Option<usize>, ssrc: u32) -> &mut Source {
        self.packets += 1;
        let longest = || (0..STREAMS).min_by_key(|at| self.sources[*at].map_or(0, |source| source.heard));
        let at = known.or_else(longest).unwrap_or_default();
        let fresh = Source { ssrc, rtp: Seen::default(), certain: false, rtcp: Seen::default(), heard: self.packets };
        let slot = &mut self.sources[at];
        if known.is_none() {
            *slot = None;
        }
        let source = slot.get_or_insert(fresh);
        source.heard = self.packets;
        source
    }
}
