//! Symmetric RTP: whom to listen to and whom to answer.
//!
//! Signalling names an address for the far end's audio, but behind a NAT the packets come from another one. So the
//! source of the first packets that can be believed is locked on, and answered; everybody else is a stranger, whose
//! packets are never heard and who never gets a packet (RTP bleed and injection).
//!
//! What can be believed:
//! * the very address of the SDP: at once, and for good while it talks;
//! * another port of the SDP's host, or of the host the signalling comes from: at once, while the lock is open;
//! * any other host: after three packets of one stream in a row, while the lock is open;
//! * the stream that is locked on, going on from another address after its own fell silent (a NAT that changed its
//!   mapping): after three packets that carry its SSRC and continue its sequence.
//!
//! The lock is open before the first packet, for three seconds after an offer/answer exchange that moves the far end or
//! finds it silent, and after two seconds of silence; it closes with the first packet that is believed. While the locked
//! source talks nobody takes its place, whatever is exchanged: a refresh of the session is no moment for an injector.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long the lock is open after an offer/answer exchange.
const OPEN_AFTER_ANSWER: Duration = Duration::from_secs(3);
/// A silence of the locked source that opens the lock.
const SILENCE: Duration = Duration::from_secs(2);
/// A silence of the locked source after which its stream may go on elsewhere.
const MOVED: Duration = Duration::from_millis(300);
/// Packets in a row before an unknown host is believed.
const PROOF: u8 = 3;
/// How far ahead the sequence may be when a stream goes on elsewhere: two seconds of packets.
const MOVED_AHEAD: u16 = 100;

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// From the far end.
    Accept,
    /// From the far end, which is somewhere else now: answer there.
    Moved,
    /// From a stranger, or not believed yet.
    Reject,
}

/// A valid RTP packet, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    /// Where it came from.
    pub source: SocketAddr,
    /// Its stream.
    pub ssrc: u32,
    /// Its place in the stream.
    pub sequence: u16,
}

#[derive(Clone, Copy, Debug)]
struct Lock {
    source: SocketAddr,
    ssrc: u32,
    sequence: u16,
    heard: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    source: SocketAddr,
    ssrc: u32,
    sequence: u16,
    packets: u8,
}

/// The state of one call.
#[derive(Debug)]
pub struct Latch {
    remote: SocketAddr,
    signalling: IpAddr,
    lock: Option<Lock>,
    candidate: Option<Candidate>,
    open_until: Duration,
    /// Of before a hold: the address of the SDP, and the source that was locked on.
    resting: Option<(SocketAddr, Option<Lock>)>,
}

impl Latch {
    /// Waits for packets from `remote`, or from the host of the signalling.
    #[must_use]
    pub fn new(remote: SocketAddr, signalling: IpAddr, now: Duration) -> Self {
        Self { remote, signalling, lock: None, candidate: None, open_until: now + OPEN_AFTER_ANSWER, resting: None }
    }

    /// Another offer/answer exchange: opens the lock for a while. Where the far end names another address, packets go
    /// there from now on.
    pub fn renew(&mut self, remote: SocketAddr, signalling: IpAddr, now: Duration) {
        let hold = remote.ip().is_unspecified();
        if hold && !self.remote.ip().is_unspecified() {
            self.resting = Some((self.remote, self.lock));
        }
        if self.remote != remote {
            self.lock = None;
        }
        // An unspecified address is a hold (RFC 2543): where the far end is when it comes back is where it was.
        if !hold
            && let Some((before, lock)) = self.resting.take()
            && before == remote
        {
            self.lock = lock;
        }
        self.remote = remote;
        self.signalling = signalling;
        self.candidate = None;
        self.open_until = now + OPEN_AFTER_ANSWER;
    }

    /// Where to send: to the locked source, else to the address of the SDP.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        self.lock.map_or(self.remote, |lock| lock.source)
    }

    /// The source that is locked on.
    #[must_use]
    pub fn locked(&self) -> Option<SocketAddr> {
        self.lock.map(|lock| lock.source)
    }

    /// Whether RTCP from this host may be the far end's.
    #[must_use]
    pub fn knows_host(&self, host: IpAddr) -> bool {
        self.lock.is_some_and(|lock| lock.source.ip() == host) || self.is_named(host)
    }

    /// Judges a packet.
    pub fn judge(&mut self, packet: Sighting, now: Duration) -> Verdict {
        if let Some(lock) = &mut self.lock
            && lock.source == packet.source
        {
            lock.ssrc = packet.ssrc;
            lock.sequence = packet.sequence;
            lock.heard = now;
            self.candidate = None;
            // The far end has shown that it is still there: no need for another.
            if packet.source == self.remote {
                self.open_until = Duration::ZERO;
            }
            return Verdict::Accept;
        }
        let silence = self.lock.map(|lock| now.saturating_sub(lock.heard));
        let open = silence.is_none_or(|silence| silence >= SILENCE || (silence >= MOVED && now < self.open_until));
        // The SDP's own address is where packets go anyway before anything is locked on.
        let believed = packet.source == self.remote || (open && self.is_named(packet.source.ip()));
        let moved = self.lock.is_some_and(|lock| {
            silence >= Some(MOVED)
                && lock.ssrc == packet.ssrc
                && packet.sequence.wrapping_sub(lock.sequence).wrapping_sub(1) < MOVED_AHEAD
        });
        if believed || ((open || moved) && self.proven(packet)) {
            self.lock = Some(Lock { source: packet.source, ssrc: packet.ssrc, sequence: packet.sequence, heard: now });
            self.candidate = None;
            self.open_until = Duration::ZERO;
            return Verdict::Moved;
        }
        Verdict::Reject
    }

    /// Counts packets of one stream in a row from an unknown source.
    fn proven(&mut self, packet: Sighting) -> bool {
        let packets = match self.candidate {
            Some(seen)
                if (seen.source, seen.ssrc) == (packet.source, packet.ssrc)
                    && packet.sequence == seen.sequence.wrapping_add(1) =>
            {
                seen.packets + 1
            }
            _ => 1,
        };
        self.candidate =
            Some(Candidate { source: packet.source, ssrc: packet.ssrc, sequence: packet.sequence, packets });
        packets >= PROOF
    }

    /// Signalling has named this host.
    fn is_named(&self, host: IpAddr) -> bool {
        !host.is_unspecified() && (host == self.remote.ip() || host == self.signalling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], port))
    }

    fn packet(source: SocketAddr, ssrc: u32, sequence: u16) -> Sighting {
        Sighting { source, ssrc, sequence }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The SDP says 10.0.0.1:4000, signalling comes from 10.0.0.2.
    fn latch() -> Latch {
        Latch::new(at(1, 4_000), at(2, 0).ip(), ms(0))
    }

    #[test]
    fn named_hosts_are_believed_at_once() {
        for source in [at(1, 4_000), at(1, 9_999), at(2, 1_234)] {
            let mut latch = latch();
            assert_eq!(latch.target(), at(1, 4_000));
            assert_eq!(latch.judge(packet(source, 5, 1), ms(10)), Verdict::Moved);
            assert_eq!(latch.target(), source);
            assert_eq!(latch.judge(packet(source, 5, 2), ms(30)), Verdict::Accept);
        }
    }

    #[test]
    fn an_unknown_host_needs_three_packets_in_a_row() {
        let mut latch = latch();
        assert_eq!(latch.judge(packet(at(9, 1), 5, 10), ms(10)), Verdict::Reject);
        assert_eq!(latch.judge(packet(at(9, 1), 5, 12), ms(20)), Verdict::Reject, "not in a row");
        assert_eq!(latch.judge(packet(at(9, 1), 5, 13), ms(30)), Verdict::Reject);
        assert_eq!(latch.target(), at(1, 4_000));
        assert_eq!(latch.judge(packet(at(9, 1), 5, 14), ms(40)), Verdict::Moved);
        assert_eq!(latch.target(), at(9, 1));
    }

    #[test]
    fn a_stranger_is_ignored_once_locked_on_even_while_the_call_is_young() {
        let mut latch = latch();
        latch.judge(packet(at(1, 4_000), 5, 0), ms(10));
        for n in 1..100 {
            assert_eq!(latch.judge(packet(at(1, 4_001), 6, n), ms(u64::from(n) * 10)), Verdict::Reject, "same host");
            assert_eq!(latch.judge(packet(at(9, 1), 6, n), ms(u64::from(n) * 10)), Verdict::Reject, "other host");
            latch.judge(packet(at(1, 4_000), 5, n), ms(u64::from(n) * 10));
        }
        assert_eq!(latch.target(), at(1, 4_000));
    }

    #[test]
    fn the_address_of_the_sdp_wins_over_a_guess() {
        let mut latch = latch();
        assert_eq!(latch.judge(packet(at(1, 666), 6, 0), ms(10)), Verdict::Moved);
        assert_eq!(latch.judge(packet(at(1, 4_000), 5, 0), ms(500)), Verdict::Moved);
        assert_eq!(latch.judge(packet(at(1, 666), 6, 1), ms(510)), Verdict::Reject);
    }

    #[test]
    fn nobody_takes_the_place_of_one_who_talks_when_the_session_is_refreshed() {
        let mut latch = latch();
        // Behind a NAT: the address of the SDP never sends.
        assert_eq!(latch.judge(packet(at(2, 1_000), 5, 0), ms(10)), Verdict::Moved);
        for n in 1..200_u16 {
            let now = ms(u64::from(n) * 20);
            if n == 20 {
                latch.renew(at(1, 4_000), at(2, 0).ip(), now);
            }
            assert_eq!(latch.judge(packet(at(2, 1_000), 5, n), now), Verdict::Accept);
            for more in 0..5 {
                let sequence = n * 5 + more;
                assert_eq!(latch.judge(packet(at(9, 1), 6, sequence), now + ms(1)), Verdict::Reject, "injected");
                assert_eq!(latch.judge(packet(at(2, 1_001), 7, sequence), now + ms(1)), Verdict::Reject, "beside it");
            }
        }
        // Who falls silent may have gone elsewhere.
        latch.renew(at(1, 4_000), at(2, 0).ip(), ms(4_000));
        assert_eq!(latch.judge(packet(at(2, 1_001), 7, 9_000), ms(4_300)), Verdict::Moved);
    }

    #[test]
    fn a_stream_that_goes_on_elsewhere_is_followed_within_a_second() {
        let mut latch = latch();
        latch.judge(packet(at(2, 1_000), 5, 65_534), ms(10));
        let verdicts: Vec<_> = (0..4_u16)
            .map(|n| latch.judge(packet(at(7, 2_000), 5, 65_535_u16.wrapping_add(n)), ms(330 + u64::from(n) * 20)))
            .collect();
        assert_eq!(verdicts, [Verdict::Reject, Verdict::Reject, Verdict::Moved, Verdict::Accept]);
        let mut latch = self::latch();
        latch.judge(packet(at(2, 1_000), 5, 100), ms(10));
        for n in 0..20 {
            assert_eq!(
                latch.judge(packet(at(7, 2_000), 6, 101 + n), ms(400 + u64::from(n) * 20)),
                Verdict::Reject,
                "another SSRC"
            );
        }
    }

    #[test]
    fn silence_and_a_new_answer_open_the_lock() {
        let mut latch = latch();
        latch.judge(packet(at(2, 1_000), 5, 0), ms(10));
        assert_eq!(latch.judge(packet(at(2, 1_001), 6, 0), ms(1_900)), Verdict::Reject);
        assert_eq!(latch.judge(packet(at(2, 1_001), 6, 1), ms(2_010)), Verdict::Moved, "two seconds of silence");
        latch.renew(at(1, 4_000), at(2, 0).ip(), ms(2_100));
        assert_eq!(latch.target(), at(2, 1_001), "the same address: where it was heard is still right");
        assert_eq!(latch.judge(packet(at(2, 1_002), 7, 0), ms(2_350)), Verdict::Moved, "after a re-INVITE");
        latch.renew(at(3, 5_000), at(2, 0).ip(), ms(9_000));
        assert_eq!(latch.target(), at(3, 5_000), "another address: sent to at once");
    }

    #[test]
    fn after_a_hold_without_an_address_it_is_where_it_was() {
        let mut latch = latch();
        latch.judge(packet(at(2, 1_000), 5, 0), ms(10));
        latch.renew(SocketAddr::from(([0, 0, 0, 0], 4_000)), at(2, 0).ip(), ms(1_000));
        latch.renew(at(1, 4_000), at(2, 0).ip(), ms(60_000));
        assert_eq!(latch.target(), at(2, 1_000), "behind its NAT");
        assert_eq!(latch.judge(packet(at(2, 1_000), 5, 3_000), ms(60_010)), Verdict::Accept);
        latch.renew(SocketAddr::from(([0, 0, 0, 0], 0)), at(2, 0).ip(), ms(61_000));
        latch.renew(at(3, 4_000), at(2, 0).ip(), ms(62_000));
        assert_eq!(latch.target(), at(3, 4_000), "unless it names another one");
    }

    #[test]
    fn an_unspecified_address_names_nobody() {
        let mut latch = Latch::new(SocketAddr::from(([0, 0, 0, 0], 0)), at(2, 0).ip(), ms(0));
        assert!(!latch.knows_host([0, 0, 0, 0].into()));
        assert_eq!(latch.judge(packet(at(9, 1), 5, 1), ms(1)), Verdict::Reject);
    }

    proptest! {
        /// Whatever strangers send, in whatever order, while the far end talks: never heard, never answered.
        #[test]
        fn an_attacker_never_gets_in_while_the_far_end_talks(
            attacks in prop::collection::vec((0_u8..4, 1_u16..5, 0_u32..3, any::<u16>(), 0_u64..20), 1..300),
            named in any::<bool>(),
        ) {
            let far_end = if named { at(1, 4_000) } else { at(1, 40_000) };
            let mut latch = latch();
            let mut now = 0;
            latch.judge(packet(far_end, 7, 0), ms(now));
            for (sequence, (host, port, ssrc, guess, later)) in attacks.into_iter().enumerate() {
                now += later;
                // Hosts 1 and 2 are named; the port of the SDP itself could only be the far end.
                let stranger = packet(at(host, port), ssrc + if guess % 2 == 0 { 7 } else { 0 }, if guess % 3 == 0 { sequence as u16 + 1 } else { guess });
                prop_assert_eq!(latch.judge(stranger, ms(now)), Verdict::Reject);
                prop_assert_eq!(latch.target(), far_end);
                prop_assert_eq!(latch.judge(packet(far_end, 7, sequence as u16 + 1), ms(now)), Verdict::Accept);
            }
        }
    }
}
