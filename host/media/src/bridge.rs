//! Two sessions joined: what one hears, the other says. They may live on different workers, so frames and digits cross
//! by bounded channels; a session whose other end is gone notices and speaks for itself again.

use crate::FRAME;
use crate::halfband::{Downsampler, Upsampler};
use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};
use std::collections::VecDeque;

/// Frames and digits under way in one direction.
const CAPACITY: usize = 16;
/// Samples, at 8 kHz, that are gathered before the first is said: the two workers' wheels are not in step.
const PRIME: usize = 2 * FRAME;
/// More than this is delay for nothing; the oldest goes.
const MOST: usize = 5 * FRAME;

/// What crosses. Frames are of 20 ms, at the rate at which they were heard: between two wideband calls nothing is lost,
/// and between two of the same law of G.711 each byte comes out as it went in.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all are frames, and a box would be an allocation per frame")]
pub enum Carried {
    /// At 8 kHz.
    Narrow([i16; FRAME]),
    /// At 16 kHz.
    Wide([i16; 2 * FRAME]),
    /// A key that came as an event.
    Digit(char),
    /// A key that was heard as a tone in the audio, which crosses with it.
    Tone(char),
}

/// A key, and how it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// As an event.
    Event(char),
    /// As a tone.
    Tone(char),
}

/// One session's end of a bridge.
#[derive(Debug)]
pub struct Bridge {
    to_peer: Sender<Carried>,
    from_peer: Receiver<Carried>,
    /// At the rate at which this side speaks.
    samples: VecDeque<i16>,
    wide: bool,
    primed: bool,
    up: Upsampler,
    down: Downsampler,
}

impl Bridge {
    /// Both ends of a new bridge.
    #[must_use]
    pub fn pair() -> (Self, Self) {
        let (one, other) = (bounded(CAPACITY), bounded(CAPACITY));
        (Self::new(one.0, other.1), Self::new(other.0, one.1))
    }

    fn new(to_peer: Sender<Carried>, from_peer: Receiver<Carried>) -> Self {
        Self {
            to_peer,
            from_peer,
            samples: VecDeque::with_capacity(2 * (MOST + FRAME)),
            wide: false,
            primed: false,
            up: Upsampler::default(),
            down: Downsampler::default(),
        }
    }

    /// Hands something over; what the other side has no room for is lost. False when the other side is gone.
    pub fn give(&self, carried: Carried) -> bool {
        !matches!(self.to_peer.try_send(carried), Err(TrySendError::Disconnected(_)))
    }

    /// Takes in what has come, for a side that speaks at 16 kHz or not, calling `key` for keys. False when the other
    /// side is gone.
    pub fn collect(&mut self, wide: bool, mut key: impl FnMut(Key)) -> bool {
        if std::mem::replace(&mut self.wide, wide) != wide {
            // A change of codec in mid-call; what waits is a few frames.
            self.convert();
        }
        // Bounded, so that a fast other side cannot hold this one up.
        for _ in 0..CAPACITY {
            match self.from_peer.try_recv() {
                Ok(Carried::Narrow(frame)) if wide => {
                    let mut doubled = [0; 2 * FRAME];
                    self.up.push(&frame, &mut doubled);
                    self.take(&doubled);
                }
                Ok(Carried::Wide(frame)) if !wide => {
                    let mut halved = [0; FRAME];
                    self.down.push(&frame, &mut halved);
                    self.take(&halved);
                }
                Ok(Carried::Narrow(frame)) => self.take(&frame),
                Ok(Carried::Wide(frame)) => self.take(&frame),
                Ok(Carried::Digit(digit)) => key(Key::Event(digit)),
                Ok(Carried::Tone(digit)) => key(Key::Tone(digit)),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    const fn scale(&self) -> usize {
        if self.wide { 2 } else { 1 }
    }

    fn take(&mut self, frame: &[i16]) {
        if self.samples.len() + frame.len() > MOST * self.scale() {
            self.samples.drain(..frame.len().min(self.samples.len()));
        }
        self.samples.extend(frame);
    }

    /// What waits, at the new rate.
    fn convert(&mut self) {
        if self.wide {
            for _ in 0..self.samples.len() {
                if let Some(sample) = self.samples.pop_front() {
                    self.samples.extend([sample; 2]);
                }
            }
        } else {
            let mut odd = true;
            self.samples.retain(|_| {
                odd = !odd;
                !odd
            });
        }
    }

    /// What to say next, all of `out`, at the rate given to [`Self::collect`]. False, and silence, where there is not
    /// enough, or where that rate is another.
    pub fn say(&mut self, out: &mut [i16], wide: bool) -> bool {
        self.primed |= self.samples.len() >= (PRIME * self.scale()).max(out.len());
        self.primed &= self.samples.len() >= out.len() && wide == self.wide;
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
            assert!(one.give(Carried::Narrow([n; FRAME])));
        }
        one.give(Carried::Digit('5'));
        one.give(Carried::Tone('6'));
        let mut keys = Vec::new();
        assert!(other.collect(false, |key| keys.push(key)));
        assert_eq!(keys, [Key::Event('5'), Key::Tone('6')]);
        let mut out = [9; 480];
        assert!(other.say(&mut out, false));
        assert_eq!((out[0], out[160], out[479]), (0, 1, 2));
        assert!(!other.say(&mut out, false));
        assert_eq!(out, [0; 480]);
    }

    #[test]
    fn delay_is_bounded_and_the_end_is_noticed() {
        let (one, mut other) = Bridge::pair();
        for _ in 0..10 {
            for _ in 0..20 {
                one.give(Carried::Narrow([1; FRAME]));
            }
            other.collect(false, |_| ());
            assert!(other.samples.len() <= MOST);
        }
        drop(one);
        while other.collect(false, |_| ()) {}
        assert!(!other.give(Carried::Digit('1')));
    }

    #[test]
    fn rates_meet_in_the_middle() {
        for (from, to) in [(false, true), (true, false), (true, true)] {
            let (one, mut other) = Bridge::pair();
            let tone = |n: usize, rate: f64| ((n as f64 * 500.0 * std::f64::consts::TAU / rate).sin() * 8_000.0) as i16;
            let mut heard = Vec::new();
            for frame in 0..20 {
                one.give(if from {
                    Carried::Wide(std::array::from_fn(|n| tone(frame * 2 * FRAME + n, 16_000.0)))
                } else {
                    Carried::Narrow(std::array::from_fn(|n| tone(frame * FRAME + n, 8_000.0)))
                });
                assert!(other.collect(to, |_| ()));
                let mut out = vec![0; if to { 2 * FRAME } else { FRAME }];
                if other.say(&mut out, to) {
                    heard.extend(out);
                }
            }
            // A tone of that frequency: each half period has its peak.
            let half = if to { 16 } else { 8 };
            assert!(heard[200..].chunks(half).all(|part| part.iter().any(|sample| sample.abs() > 7_300)));
            assert!(heard.iter().all(|sample| sample.abs() < 8_300), "{from} {to}");
        }
    }
}
