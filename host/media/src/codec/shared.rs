//! Packets of Opus that calls share: what one of them has encoded of a clip, the others that play it send too.
//!
//! A decoder that remembers must have heard what the encoder of a packet had seen before it. So a packet is kept only
//! where a call came from the frame of the clip that goes before it, or, at the beginning of a clip, from silence or
//! from the end of another clip; and only a call that comes from there too takes it. What the memories of two such
//! encoders differ in is less than what a lost packet makes of them.

use crate::FRAME;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// Words of 8 bytes that are kept of a packet: two and a half times what is usual at our bitrate. With the length it is a
/// byte for each sample.
const WORDS: usize = 19;
/// A length that says that somebody writes the packet.
const WRITING: u16 = u16::MAX;
/// What has not been agreed on yet.
const OPEN: u64 = 0;
/// Silence, among the names of clips.
const SILENCE: u64 = 1;

/// What the last packet of a call said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Before {
    /// Something that no other call says.
    Unique,
    /// Nothing.
    #[default]
    Silence,
    /// A frame of a clip.
    Frame {
        /// The name of the clip's packets.
        clip: u64,
        number: usize,
        /// It ends with this.
        last: bool,
    },
}

/// The packets of a clip, each there as soon as some call has sent it. Nothing here waits for anybody.
pub(crate) struct Packets {
    name: u64,
    /// The name of what went before the first packet, once there is one.
    behind: AtomicU64,
    /// Whether they repeat each other (FEC): 1 for no, 2 for yes.
    fec: AtomicU64,
    places: Box<[Place]>,
    /// The clip ends with a whole frame.
    is_even: bool,
}

/// The place of one packet.
pub(crate) struct Place {
    /// 0 where there is none yet.
    length: AtomicU16,
    words: [AtomicU64; WORDS],
}

impl Packets {
    /// Room for the packets of a clip of so many samples.
    pub(crate) fn new(samples: usize) -> Self {
        static NAMES: AtomicU64 = AtomicU64::new(SILENCE + 1);
        let place = |_| Place { length: AtomicU16::new(0), words: [const { AtomicU64::new(0) }; WORDS] };
        Self {
            name: NAMES.fetch_add(1, Ordering::Relaxed),
            behind: AtomicU64::new(OPEN),
            fec: AtomicU64::new(OPEN),
            places: (0..samples / FRAME).map(place).collect(),
            is_even: samples.is_multiple_of(FRAME),
        }
    }

    /// Who has said this frame comes from here.
    pub(crate) const fn frame(&self, number: usize) -> Before {
        Before::Frame { clip: self.name, number, last: self.is_even && number + 1 == self.places.len() }
    }

    /// The place of the packet of this frame, for who comes from `before`; none where that is not what goes before it, or
    /// other calls are not encoded the same way.
    pub(crate) fn place(&self, number: usize, before: Before, fec: bool) -> Option<&Place> {
        let place = self.places.get(number).filter(|_| agree(&self.fec, 1 + u64::from(fec)))?;
        let fits = match before {
            Before::Unique => false,
            Before::Frame { clip, number: last, .. } if number > 0 => clip == self.name && last + 1 == number,
            Before::Silence => number == 0 && agree(&self.behind, SILENCE),
            Before::Frame { clip, last, .. } => last && agree(&self.behind, clip),
        };
        fits.then_some(place)
    }
}

/// Whether all want the same: the first one decides.
fn agree(what: &AtomicU64, wanted: u64) -> bool {
    match what.load(Ordering::Relaxed) {
        OPEN => match what.compare_exchange(OPEN, wanted, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => true,
            Err(agreed) => agreed == wanted,
        },
        agreed => agreed == wanted,
    }
}

impl Place {
    /// Copies the packet, where there is one; tells its length.
    pub(crate) fn read(&self, out: &mut [u8]) -> Option<usize> {
        let length = Some(self.length.load(Ordering::Acquire)).filter(|length| !matches!(*length, 0 | WRITING))?;
        let out = out.get_mut(..usize::from(length))?;
        for (bytes, word) in out.chunks_mut(8).zip(&self.words) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes()[..bytes.len()]);
        }
        Some(out.len())
    }

    /// Keeps a packet, unless there is one, or it is far longer than usual.
    pub(crate) fn keep(&self, packet: &[u8]) {
        let length = packet.len() as u16;
        if packet.is_empty()
            || packet.len() > 8 * WORDS
            || self.length.compare_exchange(0, WRITING, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        for (bytes, word) in packet.chunks(8).zip(&self.words) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(whole), Ordering::Relaxed);
        }
        self.length.store(length, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_packet_is_for_those_who_come_from_where_its_encoder_came_from() {
        let (one, other) = (Packets::new(3 * FRAME), Packets::new(2 * FRAME + 1));
        let end = one.frame(2);
        assert!(one.place(0, Before::Silence, true).is_some());
        assert!(one.place(0, Before::Silence, false).is_none(), "the first one decides about FEC");
        assert!(one.place(0, end, true).is_none(), "and about what goes before");
        assert!(one.place(1, one.frame(0), true).is_some());
        for before in [Before::Silence, Before::Unique, one.frame(1), one.frame(2), other.frame(0)] {
            assert!(one.place(1, before, true).is_none(), "{before:?}");
        }
        assert!(one.place(3, end, true).is_none(), "there are three");
        assert!(other.place(0, one.frame(1), true).is_none(), "the clip before was cut off");
        assert!(other.place(0, end, true).is_some());
        assert!(other.place(0, Before::Silence, true).is_none());
        assert!(one.place(0, other.frame(1), true).is_none(), "half a frame more followed");
    }

    #[test]
    fn a_packet_is_kept_once_and_whole() {
        let packets = Packets::new(FRAME);
        let place = packets.place(0, Before::Silence, false).unwrap();
        let mut out = [0; 200];
        assert_eq!(place.read(&mut out), None);
        place.keep(&[9; 8 * WORDS + 1]);
        place.keep(&[]);
        assert_eq!(place.read(&mut out), None, "too long, and nothing");
        let packet: Vec<u8> = (1..=61).collect();
        place.keep(&packet);
        place.keep(&[7; 20]);
        assert_eq!(place.read(&mut out), Some(61));
        assert_eq!(out[..61], packet);
        assert_eq!(place.read(&mut out[..60]), None, "no room");
    }

    #[test]
    fn who_reads_while_another_writes_gets_all_or_nothing() {
        for round in 0..200_u8 {
            let packets = Packets::new(FRAME);
            let place = packets.place(0, Before::Silence, false).unwrap();
            std::thread::scope(|scope| {
                for n in [1, 2] {
                    scope.spawn(move || place.keep(&[n + round % 100; 100]));
                }
                let mut out = [0; 100];
                while place.read(&mut out).is_none() {
                    std::hint::spin_loop();
                }
                assert!(out.iter().all(|byte| *byte == out[0] && *byte > 0), "{out:?}");
            });
        }
    }
}
