//! Packets that wait for their turn undecoded, because their decoder has a memory and must see them in order.

use crate::codec::Codec;

/// Packets that wait at most: 512 ms of 10 ms each.
const SLOTS: usize = 52;
/// Bytes that they have together: 512 ms of G.722, and half a second of Opus at its usual rates many times over.
const BYTES: usize = 8_192;

/// One that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    /// The place of its first sample.
    pub(crate) place: u32,
    /// In samples, at the rate of the places.
    pub(crate) length: u32,
    pub(crate) sequence: u16,
    pub(crate) codec: Codec,
    start: u16,
    bytes: u16,
}

/// All that wait, in no order.
pub(crate) struct Waiting {
    slots: [Option<Packet>; SLOTS],
    count: usize,
    /// Payloads, one behind the other, round and round.
    bytes: [u8; BYTES],
    at: usize,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { slots: [None; SLOTS], count: 0, bytes: [0; BYTES], at: 0 }
    }
}

impl Waiting {
    /// Takes a packet; false where its bytes are more than there is room for. Where there is no room for another, the
    /// ones that have waited longest are lost.
    pub(crate) fn push(&mut self, place: u32, length: u32, sequence: u16, codec: Codec, payload: &[u8]) -> bool {
        if payload.len() > BYTES / 2 {
            return false;
        }
        if self.at + payload.len() > BYTES {
            self.at = 0;
        }
        let range = self.at..self.at + payload.len();
        for slot in &mut self.slots {
            let overwritten = |packet: &mut Packet| {
                let start = usize::from(packet.start);
                start < range.end && range.start < start + usize::from(packet.bytes)
            };
            if slot.take_if(overwritten).is_some() {
                self.count -= 1;
            }
        }
        if self.count == SLOTS
            && let Some(first) = self.first()
        {
            self.remove(first);
        }
        let Some(free) = self.slots.iter_mut().find(|slot| slot.is_none()) else { return false };
        self.bytes[range.clone()].copy_from_slice(payload);
        let (start, bytes) = (range.start as u16, payload.len() as u16);
        *free = Some(Packet { place, length, sequence, codec, start, bytes });
        self.count += 1;
        self.at = range.end;
        true
    }

    /// The one with the earliest place.
    pub(crate) fn first(&self) -> Option<Packet> {
        if self.count == 0 {
            return None;
        }
        // Places wrap; those that wait are close to each other.
        self.slots.iter().flatten().copied().min_by(|a, b| (a.place.wrapping_sub(b.place) as i32).cmp(&0))
    }

    /// Its payload.
    pub(crate) fn payload(&self, packet: Packet) -> &[u8] {
        let start = usize::from(packet.start);
        &self.bytes[start..start + usize::from(packet.bytes)]
    }

    /// It has had its turn. The payload stays readable until the next [`Self::push`].
    pub(crate) fn remove(&mut self, packet: Packet) {
        for slot in &mut self.slots {
            if slot.take_if(|other| other.start == packet.start && other.place == packet.place).is_some() {
                self.count -= 1;
            }
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.slots = [None; SLOTS];
        self.count = 0;
    }

    /// All places and lengths double.
    pub(crate) fn widen(&mut self) {
        for packet in self.slots.iter_mut().flatten() {
            packet.place = packet.place.wrapping_mul(2);
            packet.length *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn come_back_in_order_with_their_bytes() {
        let mut waiting = Waiting::default();
        for place in [640_u32, 0, 320, u32::MAX - 319] {
            assert!(waiting.push(place, 320, 1, Codec::Opus, &place.to_be_bytes()));
        }
        for place in [u32::MAX - 319, 0, 320, 640] {
            let packet = waiting.first().expect("one waits");
            assert_eq!((packet.place, waiting.payload(packet)), (place, &place.to_be_bytes()[..]));
            waiting.remove(packet);
        }
        assert!(waiting.first().is_none());
    }

    #[test]
    fn the_oldest_make_room() {
        let mut waiting = Waiting::default();
        for n in 0..200 {
            assert!(waiting.push(n * 160, 160, n as u16, Codec::G722, &[n as u8; 20]));
        }
        assert_eq!(waiting.first().map(|packet| packet.place), Some((200 - SLOTS as u32) * 160));
        waiting.clear();
        for n in 0..30 {
            assert!(waiting.push(n * 160, 160, n as u16, Codec::G722, &[n as u8; 1_000]));
        }
        let first = waiting.first().expect("some");
        assert!(first.place >= 22 * 160);
        assert_eq!(waiting.payload(first)[0], first.sequence as u8);
        assert!(!waiting.push(0, 1, 0, Codec::G722, &[0; 5_000]));
    }

    proptest! {
        #[test]
        fn no_payload_is_ever_mixed_with_another(steps in prop::collection::vec((0_usize..1_500, any::<bool>()), 0..300)) {
            let mut waiting = Waiting::default();
            for (n, (length, take)) in steps.into_iter().enumerate() {
                waiting.push(n as u32 * 160, 160, n as u16, Codec::Opus, &vec![n as u8; length]);
                let count = waiting.slots.iter().flatten().count();
                prop_assert_eq!(count, waiting.count);
                for packet in waiting.slots.iter().flatten() {
                    prop_assert!(waiting.payload(*packet).iter().all(|byte| *byte == packet.sequence as u8));
                }
                if take && let Some(first) = waiting.first() {
                    waiting.remove(first);
                }
            }
        }
    }
}
