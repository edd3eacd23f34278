//! What sequence numbers and arrival times say about a received stream (RFC 3550 appendix A).

use std::time::Duration;

/// A forward jump of more than this is another stream, not loss; so is one back behind the window below.
const MAX_DROPOUT: u16 = 1_000;
/// Sequence numbers behind the newest for which we know whether they came.
const WINDOW: u16 = 64;

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to the stream.
    Accept,
    /// It belongs to a stream that begins anew: another SSRC or a jump of the sequence, confirmed by a second packet.
    Restart,
    /// It came before.
    Duplicate,
    /// It could begin another stream; the next packet tells.
    Probation,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    /// Extended sequence numbers of the first and the newest packet.
    first: u64,
    newest: u64,
    received: u64,
    /// Bit n: `newest - n` came.
    seen: u64,
    /// At the last report.
    expected_before: u64,
    received_before: u64,
}

/// What a receiver knows about the stream it hears.
#[derive(Debug, Default)]
pub struct Reception {
    source: Option<Source>,
    /// SSRC and sequence number that would confirm another stream.
    probation: Option<(u32, u16)>,
    /// Interarrival jitter in ticks, times 16 (A.8).
    jitter: u32,
    /// Ticks a second.
    clock: u32,
    transit: Option<u32>,
    /// Of streams that are over.
    lost_before: u64,
    expected_total: u64,
    duplicates: u64,
}

/// The figures of an RTCP report block (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportFigures {
    /// Whom it is about.
    pub ssrc: u32,
    /// Of the packets expected since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Since the beginning of the stream.
    pub cumulative_lost: u32,
    /// Highest sequence number with its wraps.
    pub extended_sequence: u32,
    /// In samples.
    pub jitter: u32,
}

impl Reception {
    /// Judges a packet by its SSRC and sequence number.
    pub fn receive(&mut self, ssrc: u32, sequence: u16) -> Verdict {
        let Some(source) = &mut self.source else {
            self.begin(ssrc, sequence);
            return Verdict::Accept;
        };
        let ahead = sequence.wrapping_sub(source.newest as u16);
        let behind = (source.newest as u16).wrapping_sub(sequence);
        if source.ssrc == ssrc && (1..=MAX_DROPOUT).contains(&ahead) {
            source.newest += u64::from(ahead);
            source.seen = if ahead < WINDOW { source.seen << ahead | 1 } else { 1 };
            source.received += 1;
        } else if source.ssrc == ssrc && behind < WINDOW {
            if source.seen >> behind & 1 == 1 {
                self.duplicates += 1;
                return Verdict::Duplicate;
            }
            source.seen |= 1 << behind;
            source.received += 1;
            // A packet from before the one we began with: the stream began there.
            source.first = source.first.min(source.newest - u64::from(behind));
        } else if self.probation == Some((ssrc, sequence)) {
            self.end_source();
            // Its predecessor was held back.
            self.begin(ssrc, sequence);
            self.transit = None;
            return Verdict::Restart;
        } else {
            self.probation = Some((ssrc, sequence.wrapping_add(1)));
            return Verdict::Probation;
        }
        self.probation = None;
        Verdict::Accept
    }

    /// Takes an accepted packet of audio into the jitter estimate. `clock` is that of its timestamps, in ticks a
    /// second; another than before begins the estimate anew.
    pub fn arrived(&mut self, timestamp: u32, clock: u32, now: Duration) {
        if std::mem::replace(&mut self.clock, clock) != clock {
            self.transit = None;
            self.jitter = 0;
        }
        let arrival = (now.as_micros() * u128::from(clock) / 1_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(before) as i32).unsigned_abs();
            // A pause or a jump of the sender's clock is no jitter.
            if difference < clock {
                self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
            }
        }
    }

    /// The SSRC that is heard.
    #[must_use]
    pub fn ssrc(&self) -> Option<u32> {
        self.source.map(|source| source.ssrc)
    }

    /// Packets that never came.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost_before + self.source.map_or(0, |source| source.lost())
    }

    /// Packets that should have come.
    #[must_use]
    pub fn expected(&self) -> u64 {
        self.expected_total + self.source.map_or(0, |source| source.expected())
    }

    /// Packets that came again.
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Interarrival jitter in milliseconds.
    #[must_use]
    pub fn jitter_ms(&self) -> f32 {
        self.jitter as f32 / 16.0 / (self.clock.max(1_000) / 1_000) as f32
    }

    /// Of the packets expected, in percent.
    #[must_use]
    pub fn loss_pct(&self) -> f32 {
        match self.expected() {
            0 => 0.0,
            expected => self.lost() as f32 * 100.0 / expected as f32,
        }
    }

    /// The figures for a report block; the next fraction counts from here.
    pub fn report(&mut self) -> Option<ReportFigures> {
        let jitter = self.jitter >> 4;
        let source = self.source.as_mut()?;
        let expected = source.expected() - source.expected_before;
        let lost = expected.saturating_sub(source.received - source.received_before);
        source.expected_before = source.expected();
        source.received_before = source.received;
        Some(ReportFigures {
            ssrc: source.ssrc,
            fraction_lost: (lost * 256).checked_div(expected).unwrap_or(0).min(255) as u8,
            // 24 bits, signed; we never report less than none.
            cumulative_lost: source.lost().min(0x7F_FFFF) as u32,
            extended_sequence: source.newest as u32,
            jitter,
        })
    }

    fn begin(&mut self, ssrc: u32, sequence: u16) {
        // One wrap ahead, so that packets before the first have a number too.
        let first = (1 << 16) | u64::from(sequence);
        self.source =
            Some(Source { ssrc, first, newest: first, received: 1, seen: 1, expected_before: 0, received_before: 0 });
        self.probation = None;
    }

    fn end_source(&mut self) {
        if let Some(source) = self.source.take() {
            self.lost_before += source.lost();
            self.expected_total += source.expected();
        }
    }
}

impl Source {
    const fn expected(&self) -> u64 {
        self.newest - self.first + 1
    }

    const fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_loss_duplicates_and_reordering() {
        let mut reception = Reception::default();
        for sequence in [65_533, 65_534, 0, 65_535, 65_535, 3] {
            reception.receive(7, sequence);
        }
        assert_eq!(reception.lost(), 2);
        assert_eq!(reception.duplicates(), 1);
        assert_eq!(reception.expected(), 7);
        let report = reception.report().expect("a source");
        assert_eq!((report.cumulative_lost, report.fraction_lost), (2, (2 * 256 / 7) as u8));
        assert_eq!(report.extended_sequence & 0xFFFF, 3);
        reception.receive(7, 4);
        assert_eq!(reception.report().map(|report| report.fraction_lost), Some(0), "counts since the last report");
    }

    #[test]
    fn another_stream_needs_two_packets_in_a_row() {
        let mut reception = Reception::default();
        assert_eq!(reception.receive(1, 10), Verdict::Accept);
        assert_eq!(reception.receive(2, 500), Verdict::Probation);
        assert_eq!(reception.receive(1, 11), Verdict::Accept, "one stray packet changes nothing");
        assert_eq!(reception.receive(2, 501), Verdict::Probation, "the confirmation was interrupted");
        assert_eq!(reception.receive(2, 502), Verdict::Restart);
        assert_eq!(reception.receive(2, 503), Verdict::Accept);
        assert_eq!(reception.receive(2, 30_000), Verdict::Probation);
        assert_eq!(reception.receive(2, 30_001), Verdict::Restart);
        assert_eq!(reception.receive(2, 29_800), Verdict::Probation, "a little back is a jump too");
        assert_eq!(reception.receive(2, 29_801), Verdict::Restart);
        assert_eq!(reception.ssrc(), Some(2));
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn jitter_follows_a8() {
        let mut reception = Reception::default();
        for n in 0..1_000_u32 {
            // Every other packet is 10 ms late: |D| is always 80 samples.
            let now = Duration::from_millis(u64::from(n) * 20 + u64::from(n % 2) * 10);
            reception.arrived(n.wrapping_mul(160).wrapping_sub(80_000), 8_000, now);
        }
        assert!((reception.jitter_ms() - 10.0).abs() < 0.6, "{}", reception.jitter_ms());
    }

    proptest! {
        #[test]
        fn figures_are_sane_whatever_comes(packets in prop::collection::vec((0_u32..3, any::<u16>(), any::<u32>()), 0..400)) {
            let mut reception = Reception::default();
            for (n, (ssrc, sequence, timestamp)) in packets.into_iter().enumerate() {
                if reception.receive(ssrc, sequence % 3_000) == Verdict::Accept {
                    reception.arrived(timestamp, 8_000, Duration::from_millis(n as u64));
                }
                prop_assert!(reception.lost() <= reception.expected());
                prop_assert!((0.0..=100.0).contains(&reception.loss_pct()));
                if n % 50 == 0 { reception.report(); }
            }
        }
    }
}
