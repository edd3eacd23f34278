//! Two sessions joined: what one hears, the other says. They may live on different workers, so frames and digits cross
//! by bounded channels; a session whose other end is gone notices and speaks for itself again.

use crate::FRAME;
use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};
use std::collections::VecDeque;

/// Frames and digits under way in one direction.
const CAPACITY: usize = 16;
/// Samples that are gathered before the first is said: the two workers' wheels are not in step.
const PRIME: usize = 2 * FRAME;
/// More than this is delay for nothing; the oldest goes.
const MOST: usize = 5 * FRAME;

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all are frames, and a box would be an allocation per frame")]
enum Carried {
    Frame([i16; FRAME]),
    Digit(char),
}

/// One session's end of a bridge.
#[derive(Debug)]
pub struct Bridge {
    to_peer: Sender<Carried>,
    from_peer: Receiver<Carried>,
    samples: VecDeque<i16>,
    primed: bool,
}

impl Bridge {
    /// Both ends of a new bridge.
    #[must_use]
    pub fn pair() -> (Self, Self) {
        let (one, other) = (bounded(CAPACITY), bounded(CAPACITY));
        (Self::new(one.0, other.1), Self::new(other.0, one.1))
    }

    fn new(to_peer: Sender<Carried>, from_peer: Receiver<Carried>) -> Self {
        Self { to_peer, from_peer, samples: VecDeque::with_capacity(MOST + FRAME), primed: false }
    }

    /// Hands over a frame; one that the other side has no room for is lost. False when the other side is gone.
    pub fn give(&self, frame: [i16; FRAME]) -> bool {
        !matches!(self.to_peer.try_send(Carried::Frame(frame)), Err(TrySendError::Disconnected(_)))
    }

    /// Hands over a digit. False when the other side is gone.
    pub fn give_digit(&self, digit: char) -> bool {
        !matches!(self.to_peer.try_send(Carried::Digit(digit)), Err(TrySendError::Disconnected(_)))
    }

    /// Takes in what has come, calling `digit` for digits. False when the other side is gone.
    pub fn collect(&mut self, mut digit: impl FnMut(char)) -> bool {
        // Bounded, so that a fast other side cannot hold this one up.
        for _ in 0..CAPACITY {
            match self.from_peer.try_recv() {
                Ok(Carried::Frame(frame)) => {
                    if self.samples.len() + FRAME > MOST {
                        self.samples.drain(..FRAME);
                    }
                    self.samples.extend(frame);
                }
                Ok(Carried::Digit(key)) => digit(key),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    /// What to say next, all of `out`. False, and silence, where there is not enough.
    pub fn say(&mut self, out: &mut [i16]) -> bool {
        self.primed |= self.samples.len() >= PRIME.max(out.len());
        self.primed &= self.samples.len() >= out.len();
        if !self.primed {
            out.fill(0);
            return false;
        }
        let length = out.len();
        for (sample, said) in out.iter_mut().zip(self.samples.drain(..length)) {
            *sample = said;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_frames_in_order_and_digits() {
        let (one, mut other) = Bridge::pair();
        for n in 0..3 {
            assert!(one.give([n; FRAME]));
        }
        one.give_digit('5');
        let mut digits = String::new();
        assert!(other.collect(|digit| digits.push(digit)));
        assert_eq!(digits, "5");
        let mut out = [9; 480];
        assert!(other.say(&mut out));
        assert_eq!((out[0], out[160], out[479]), (0, 1, 2));
        assert!(!other.say(&mut out));
        assert_eq!(out, [0; 480]);
    }

    #[test]
    fn delay_is_bounded_and_the_end_is_noticed() {
        let (one, mut other) = Bridge::pair();
        for _ in 0..10 {
            for _ in 0..20 {
                one.give([1; FRAME]);
            }
            other.collect(|_| ());
            assert!(other.samples.len() <= MOST);
        }
        drop(one);
        while other.collect(|_| ()) {}
        assert!(!other.give([0; FRAME]));
    }
}
