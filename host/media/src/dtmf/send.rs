//! From keys to packets: what to send in each packet time while digits are being sent.

use super::Event;
use std::collections::VecDeque;

/// Samples a key lasts at least: 100 ms. Some switches miss what is shorter.
const PRESS: u32 = 800;
/// Silence behind a key: 60 ms, so that two equal keys are two.
const GAP: u32 = 480;
/// A comma.
const PAUSE: u32 = 4_000;
/// Times the end of an event is sent (RFC 4733 §2.5.1.4).
const ENDS: u8 = 3;
/// -10 dBm0, what telephones use.
const VOLUME: u8 = 10;
/// Digits that may wait, of several commands.
const QUEUE: usize = 256;

/// What goes out in one packet time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing to do with digits.
    Idle,
    /// Silence, between digits. `done` counts commands whose last digit is out.
    Silence,
    /// An event packet; all packets of an event carry the timestamp of its first one.
    Packet {
        /// The payload.
        event: Event,
        /// The first of this event: the marker bit is set.
        first: bool,
    },
    /// A tone in the audio, where no events were agreed.
    Tone {
        /// The key.
        code: u8,
        /// Samples of it that went before.
        at: u32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Key(u8),
    Pause,
    /// The end of a command, and whether anybody waits for it.
    Done(bool),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Idle,
    /// Samples of the key that went before, and how often its end did.
    Key {
        code: u8,
        at: u32,
        ends: u8,
        tone: bool,
    },
    /// Samples of silence that are left.
    Wait {
        left: u32,
    },
}

/// The state of one call's sender.
#[derive(Debug)]
pub struct Sender {
    queue: VecDeque<Item>,
    state: State,
}

impl Default for Sender {
    fn default() -> Self {
        Self { queue: VecDeque::with_capacity(16), state: State::Idle }
    }
}

impl Sender {
    /// Queues digits; those that are none are left out. With `report`, [`Self::step`] tells when they are out.
    pub fn queue(&mut self, digits: impl Iterator<Item = char>, report: bool) {
        for digit in digits {
            let item = if digit == ',' { Some(Item::Pause) } else { super::code(digit).map(Item::Key) };
            // What does not fit is lost; 256 digits are 40 s of tones.
            if let Some(item) = item.filter(|_| self.queue.len() < QUEUE) {
                self.queue.push_back(item);
            }
        }
        self.queue.push_back(Item::Done(report));
    }

    /// Whether something is being sent or waits.
    #[must_use]
    pub fn busy(&self) -> bool {
        !matches!(self.state, State::Idle) || !self.queue.is_empty()
    }

    /// The next packet time of `samples`. Calls `done` for each command that is out with the packet before. Without
    /// `events` keys are tones.
    pub fn step(&mut self, samples: u32, events: bool, mut done: impl FnMut()) -> Step {
        if matches!(self.state, State::Idle) {
            loop {
                match self.queue.pop_front() {
                    None => return Step::Idle,
                    Some(Item::Done(report)) => {
                        if report {
                            done();
                        }
                    }
                    Some(Item::Pause) => {
                        self.state = State::Wait { left: PAUSE };
                        break;
                    }
                    Some(Item::Key(code)) => {
                        self.state = State::Key { code, at: 0, ends: 0, tone: !events };
                        break;
                    }
                }
            }
        }
        match self.state {
            State::Idle => Step::Idle,
            State::Wait { left } => {
                self.state = if left > samples { State::Wait { left: left - samples } } else { State::Idle };
                Step::Silence
            }
            State::Key { code, at, tone: true, .. } => {
                let next = at + samples;
                self.state = if next < PRESS {
                    State::Key { code, at: next, ends: 0, tone: true }
                } else {
                    State::Wait { left: GAP }
                };
                Step::Tone { code, at }
            }
            State::Key { code, at, ends, tone: false } => {
                // The event ends with the packet that reaches its length; its end is then repeated in the packet
                // times that follow, which are part of the gap.
                let end = at + samples >= PRESS;
                let length = if ends == 0 { at + samples } else { PRESS.div_ceil(samples) * samples };
                let event = Event { code, end, volume: VOLUME, duration: u16::try_from(length).unwrap_or(u16::MAX) };
                let ends = ends + u8::from(end);
                self.state = if ends < ENDS {
                    State::Key { code, at: at + samples, ends, tone: false }
                } else {
                    State::Wait { left: GAP.saturating_sub(u32::from(ENDS - 1) * samples).max(1) }
                };
                Step::Packet { event, first: at == 0 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Receiver;
    use super::*;
    use proptest::prelude::*;

    fn run(digits: &str, samples: u32, events: bool) -> Vec<(u32, Step)> {
        let mut sender = Sender::default();
        sender.queue(digits.chars(), true);
        let (mut steps, mut time, mut done) = (Vec::new(), 0, 0);
        while sender.busy() {
            steps.push((time, sender.step(samples, events, || done += 1)));
            time += samples;
            assert!(steps.len() < 10_000);
        }
        assert_eq!(done, 1);
        steps
    }

    #[test]
    fn a_key_is_five_packets_of_which_the_last_is_sent_three_times() {
        let packets: Vec<_> = run("1", 160, true)
            .into_iter()
            .filter_map(|(_, step)| match step {
                Step::Packet { event, first } => Some((event, first)),
                _ => None,
            })
            .collect();
        assert_eq!(
            packets.iter().map(|(event, _)| event.duration).collect::<Vec<_>>(),
            [160, 320, 480, 640, 800, 800, 800]
        );
        assert_eq!(packets.iter().filter(|(event, _)| event.end).count(), 3);
        assert!(packets.iter().enumerate().all(|(n, (_, first))| *first == (n == 0)));
    }

    #[test]
    fn pauses_and_gaps_are_silence() {
        let silent = |digits| run(digits, 160, true).iter().filter(|(_, step)| *step == Step::Silence).count();
        assert_eq!(silent(","), 25);
        assert_eq!(silent(",,"), 50);
        // The two repetitions of the end are part of the 60 ms.
        assert_eq!(silent("1"), 1);
    }

    #[test]
    fn tones_last_and_pause() {
        let steps = run("12", 160, false);
        assert_eq!(steps.iter().filter(|(_, step)| matches!(step, Step::Tone { .. })).count(), 10);
        assert_eq!(steps[5].1, Step::Silence);
        assert_eq!(steps[4].1, Step::Tone { code: 1, at: 640 });
    }

    proptest! {
        #[test]
        fn the_receiver_hears_what_the_sender_says(digits in "[0-9A-D*#,]{0,40}", ptime in 1_u32..7, start: u32) {
            let mut receiver = Receiver::default();
            let mut heard = String::new();
            let mut began = start;
            let mut last = None;
            for (time, step) in run(&digits, ptime * 80, true) {
                if let Step::Packet { event, first } = step {
                    if first {
                        began = start.wrapping_add(time);
                        if let Some(before) = last.replace(began) {
                            prop_assert!(began.wrapping_sub(before) >= PRESS + 400, "a gap of 50 ms at least");
                        }
                    }
                    receiver.packet(9, began, first, &event.write(), |key| heard.push(key));
                }
            }
            prop_assert_eq!(heard, digits.replace(',', ""));
        }
    }
}
