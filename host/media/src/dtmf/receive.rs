//! From packets to keys: each press once, with its first packet, whatever the network does to the others.
//!
//! A press is named by its stream and the timestamp at which it began (RFC 4733 §2.3.2): all packets of one press
//! carry the same, the three end packets included. So loss and repetition need no further thought; only senders that
//! cut long presses into segments, pack several presses into one packet, or move the timestamp within one press do.

use super::Event;

/// Presses that are remembered, so that their late packets are known.
const MEMORY: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Press {
    ssrc: u32,
    /// When it began; moved to the newest segment of a long one.
    start: u32,
    code: u8,
    duration: u16,
    ended: bool,
}

/// The state of one call's receiver.
#[derive(Debug, Default)]
pub struct Receiver {
    /// A ring; the newest is at `next - 1`.
    presses: [Option<Press>; MEMORY],
    next: usize,
}

impl Receiver {
    /// Takes the payload of a telephone-event packet and calls `press` for each key that begins with it.
    ///
    /// A payload may hold several events, one after the other in time (RFC 4733 §2.5.1.5); what is not a multiple of
    /// four bytes, and codes that are not keys, are ignored.
    pub fn packet(&mut self, ssrc: u32, timestamp: u32, marker: bool, payload: &[u8], mut press: impl FnMut(char)) {
        let mut start = timestamp;
        // More events than this do not come together; more bytes are an attack.
        for bytes in payload.chunks_exact(4).take(MEMORY) {
            let event = Event::read([bytes[0], bytes[1], bytes[2], bytes[3]]);
            if let Some(key) = event.key()
                && self.begins(ssrc, start, marker, event)
            {
                press(key);
            }
            start = start.wrapping_add(u32::from(event.duration));
        }
    }

    /// Whether this is the first we see of a press.
    fn begins(&mut self, ssrc: u32, start: u32, marker: bool, event: Event) -> bool {
        if let Some(known) = self.presses.iter_mut().flatten().find(|press| press.ssrc == ssrc && press.start == start)
        {
            known.duration = known.duration.max(event.duration);
            known.ended |= event.end;
            return false;
        }
        let newest = &mut self.presses[(self.next + MEMORY - 1) % MEMORY];
        if let Some(newest) = newest
            && newest.continues_with(ssrc, start, marker, event)
        {
            newest.start = start;
            newest.duration = event.duration;
            newest.ended = event.end;
            return false;
        }
        self.presses[self.next] =
            Some(Press { ssrc, start, code: event.code, duration: event.duration, ended: event.end });
        self.next = (self.next + 1) % MEMORY;
        true
    }
}

impl Press {
    /// Whether what begins at `start` is still this press under another timestamp.
    fn continues_with(&self, ssrc: u32, start: u32, marker: bool, event: Event) -> bool {
        if self.ssrc != ssrc || self.code != event.code || self.ended || marker {
            return false;
        }
        let ahead = start.wrapping_sub(self.start);
        // A press longer than the duration field goes on in a new segment (RFC 4733 §2.5.1.3).
        let segment = ahead == u32::from(u16::MAX);
        // Some gateways move the timestamp with every packet and count the duration on, both by the same step. A new
        // press would have to lose its first packets, and the last ones of its predecessor, to look like that.
        let moved = ahead > 0 && Some(ahead) == u32::from(event.duration).checked_sub(u32::from(self.duration));
        segment || moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payload(key: char, end: bool, duration: u16) -> [u8; 4] {
        Event { code: super::super::code(key).expect("a key"), end, volume: 10, duration }.write()
    }

    fn feed(receiver: &mut Receiver, packets: &[(u32, bool, char, bool, u16)]) -> String {
        let mut keys = String::new();
        for (timestamp, marker, key, end, duration) in packets {
            receiver.packet(1, *timestamp, *marker, &payload(*key, *end, *duration), |key| keys.push(key));
        }
        keys
    }

    #[test]
    fn is_reported_with_its_first_packet_and_only_then() {
        let mut receiver = Receiver::default();
        assert_eq!(feed(&mut receiver, &[(100, true, '5', false, 160)]), "5");
        assert_eq!(
            feed(
                &mut receiver,
                &[(100, false, '5', false, 320), (100, false, '5', true, 480), (100, false, '5', true, 480)]
            ),
            ""
        );
        assert_eq!(feed(&mut receiver, &[(2_000, true, '5', false, 160)]), "5", "the same key again");
    }

    #[test]
    fn an_end_packet_alone_is_a_press() {
        assert_eq!(feed(&mut Receiver::default(), &[(100, false, '#', true, 800)]), "#");
    }

    #[test]
    fn late_packets_of_an_old_press_are_known() {
        let keys = feed(
            &mut Receiver::default(),
            &[
                (100, true, '1', false, 160),
                (2_000, true, '2', false, 160),
                (100, false, '1', true, 800),
                (2_000, false, '2', true, 800),
                (100, false, '1', true, 800),
            ],
        );
        assert_eq!(keys, "12");
    }

    #[test]
    fn a_long_press_in_segments_is_one() {
        let long = u16::MAX;
        let keys = feed(
            &mut Receiver::default(),
            &[
                (100, true, '9', false, long),
                (100 + u32::from(long), false, '9', false, 160),
                (100 + u32::from(long), false, '9', true, 800),
                (100 + u32::from(long), false, '9', true, 800),
            ],
        );
        assert_eq!(keys, "9");
    }

    #[test]
    fn a_sender_that_moves_the_timestamp_is_understood() {
        let keys = feed(
            &mut Receiver::default(),
            &[
                (0, true, '7', false, 160),
                (160, false, '7', false, 320),
                (320, false, '7', false, 480),
                (480, false, '7', true, 640),
                // The same key again, its first packet and all ends of the one before lost.
                (2_000, false, '7', false, 320),
            ],
        );
        assert_eq!(keys, "77");
    }

    #[test]
    fn several_events_in_one_packet_follow_each_other() {
        let mut receiver = Receiver::default();
        let mut keys = String::new();
        let both = [payload('1', true, 800), payload('2', false, 160)].concat();
        receiver.packet(1, 1_000, true, &both, |key| keys.push(key));
        receiver.packet(1, 1_000, true, &both, |key| keys.push(key));
        receiver.packet(1, 1_800, false, &payload('2', true, 800), |key| keys.push(key));
        assert_eq!(keys, "12");
    }

    #[test]
    fn what_is_no_key_is_ignored() {
        let mut receiver = Receiver::default();
        receiver.packet(1, 0, true, &[16, 10, 0, 160, 200, 0x80, 0, 160], |key| panic!("{key}"));
        receiver.packet(1, 0, true, &[1, 10, 0], |key| panic!("{key}"));
        receiver.packet(1, 0, true, &[], |key| panic!("{key}"));
    }

    /// One press as a sender packs it: updates of 20 ms, three end packets.
    fn press(key: char, start: u32, updates: u16) -> Vec<(u32, bool, char, bool, u16)> {
        let mut packets: Vec<_> = (1..=updates).map(|n| (start, n == 1, key, false, n * 160)).collect();
        packets.extend([(start, false, key, true, updates * 160); 3]);
        packets
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        /// Loss (never of all packets of a press), repetition, and reordering by up to two packets within a press and
        /// of old packets into later presses: the keys are exactly those that were pressed.
        #[test]
        fn the_keys_are_exactly_those_pressed(
            keys in prop::collection::vec((0_usize..16, 2_u16..6, any::<u16>(), 400_u32..4_000), 1..12),
            first in any::<u32>(),
            shuffle in prop::collection::vec((0_usize..3, any::<bool>(), 0_usize..8), 200),
        ) {
            let mut expected = String::new();
            let mut sent = Vec::new();
            let mut stragglers = Vec::new();
            let mut start = first;
            let mut chance = shuffle.into_iter().cycle();
            for (key, updates, lost, gap) in keys {
                let key = super::super::KEYS[key];
                expected.push(key);
                let mut packets: Vec<_> = press(key, start, updates)
                    .into_iter()
                    .enumerate()
                    .filter(|(n, _)| lost >> n & 1 == 0)
                    .map(|(_, packet)| packet)
                    .collect();
                if packets.is_empty() {
                    packets.push((start, false, key, true, updates * 160));
                }
                for at in 0..packets.len() {
                    let (swap, again, late) = chance.next().expect("endless");
                    if at + swap < packets.len() {
                        packets.swap(at, at + swap);
                    }
                    if again {
                        packets.push(packets[at]);
                    }
                    if late == 0 {
                        stragglers.push(packets[at]);
                    }
                }
                sent.extend(packets);
                // Repetitions from presses before, once this one has begun.
                sent.append(&mut stragglers);
                start = start.wrapping_add(u32::from(updates) * 160 + gap);
            }
            prop_assert_eq!(feed(&mut Receiver::default(), &sent), expected);
        }

        #[test]
        fn any_bytes_are_survived(packets in prop::collection::vec((any::<u32>(), any::<u32>(), any::<bool>(), any::<Vec<u8>>()), 0..40)) {
            let mut receiver = Receiver::default();
            for (ssrc, timestamp, marker, payload) in packets {
                let mut count = 0;
                receiver.packet(ssrc, timestamp, marker, &payload, |_| count += 1);
                prop_assert!(count <= payload.len() / 4);
            }
        }
    }
}
