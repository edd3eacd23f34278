//! When each session is served: a wheel of 5 ms slots on an absolute schedule.
//!
//! New sessions go where the fewest are, so that the work of a period is spread over it. A session is put back by
//! counting from the slot it was due in, never from the time it was served: lateness does not add up.

use std::time::Duration;

/// The length of a slot.
pub const SLOT: Duration = Duration::from_millis(5);
/// More slots than the longest packet time (60 ms) has.
const BUCKETS: usize = 16;
/// Slots in 20 ms: where a new session may begin.
const SPREAD: u64 = 4;

/// The wheel of one worker.
#[derive(Debug, Default)]
pub struct Wheel {
    buckets: [Vec<(usize, u64)>; BUCKETS],
    /// The first slot that has not been served.
    position: u64,
    count: usize,
}

/// The slot that a moment lies in.
#[must_use]
pub fn slot_at(now: Duration) -> u64 {
    (now.as_micros() / SLOT.as_micros()) as u64
}

/// The beginning of a slot.
#[must_use]
pub fn time_of(slot: u64) -> Duration {
    Duration::from_micros(slot * SLOT.as_micros() as u64)
}

impl Wheel {
    /// Puts a new session into the emptiest of the next slots; returns which.
    pub fn join(&mut self, key: usize, now: Duration) -> u64 {
        if self.count == 0 {
            self.position = self.position.max(slot_at(now) + 1);
        }
        let from = self.position.max(slot_at(now) + 1);
        let slot = (from..from + SPREAD)
            .min_by_key(|slot| {
                // The sessions of this phase, wherever in their period they are.
                (0..BUCKETS as u64 / SPREAD).map(|n| self.bucket(slot + n * SPREAD).len()).sum::<usize>()
            })
            .unwrap_or(from);
        self.put(key, slot);
        slot
    }

    /// Puts a session into a slot.
    pub fn put(&mut self, key: usize, slot: u64) {
        let slot = slot.max(self.position);
        self.buckets[slot as usize % BUCKETS].push((key, slot));
        self.count += 1;
    }

    /// Takes a session out of the slot it is in.
    pub fn leave(&mut self, key: usize) {
        for bucket in &mut self.buckets {
            if let Some(at) = bucket.iter().position(|(other, _)| *other == key) {
                bucket.swap_remove(at);
                self.count -= 1;
                return;
            }
        }
    }

    /// The time at which the next session is due.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let soon = (self.position..self.position + BUCKETS as u64)
            .find(|slot| self.bucket(*slot).iter().any(|(_, due)| due == slot));
        Some(time_of(soon.unwrap_or(self.position + BUCKETS as u64)))
    }

    /// Moves the sessions of the next slot that is due by `now` into `due`, and returns the slot. None when all due
    /// slots have been served.
    pub fn turn(&mut self, now: Duration, due: &mut Vec<usize>) -> Option<u64> {
        due.clear();
        let last = slot_at(now);
        while self.position <= last && self.count > 0 {
            let slot = self.position;
            self.position += 1;
            let bucket = &mut self.buckets[slot as usize % BUCKETS];
            bucket.retain(|(key, at)| {
                if *at == slot {
                    due.push(*key);
                }
                *at != slot
            });
            if !due.is_empty() {
                self.count -= due.len();
                return Some(slot);
            }
        }
        self.position = self.position.max(last + 1);
        None
    }

    fn bucket(&self, slot: u64) -> &[(usize, u64)] {
        &self.buckets[slot as usize % BUCKETS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn new_sessions_are_spread() {
        let mut wheel = Wheel::default();
        for key in 0..400 {
            wheel.join(key, Duration::from_millis(7));
        }
        let mut due = Vec::new();
        for ms in [10, 15, 20, 25] {
            wheel.turn(Duration::from_millis(ms), &mut due).expect("sessions");
            assert_eq!(due.len(), 100);
        }
    }

    #[test]
    fn a_late_turn_serves_every_slot_it_missed() {
        let mut wheel = Wheel::default();
        wheel.join(1, Duration::ZERO);
        wheel.join(2, Duration::ZERO);
        assert_eq!(wheel.next(), Some(Duration::from_millis(5)));
        let (mut due, mut served) = (Vec::new(), Vec::new());
        let now = Duration::from_millis(52);
        while let Some(slot) = wheel.turn(now, &mut due) {
            for key in &due {
                served.push((slot, *key));
                wheel.put(*key, slot + 4);
            }
        }
        assert_eq!(served, [(1, 1), (2, 2), (5, 1), (6, 2), (9, 1), (10, 2)]);
        assert_eq!(wheel.next(), Some(Duration::from_millis(65)));
    }

    #[test]
    fn an_empty_wheel_does_not_count_slots() {
        let mut wheel = Wheel::default();
        assert_eq!(wheel.next(), None);
        assert_eq!(wheel.turn(Duration::from_secs(1 << 30), &mut Vec::new()), None);
        wheel.join(1, Duration::from_secs(1 << 30));
        wheel.leave(1);
        wheel.leave(1);
        assert_eq!(wheel.next(), None);
    }

    proptest! {
        /// Sessions of any period come and go, the worker is late by any time: each is served in exactly its slots.
        #[test]
        fn each_session_is_served_in_its_slots(
            steps in prop::collection::vec((0_u64..60, 0_u8..4, 0_usize..8, 1_u64..7), 1..300),
        ) {
            let mut wheel = Wheel::default();
            let mut expected: Vec<Option<(u64, u64)>> = vec![None; 8];
            let (mut now, mut due) = (Duration::ZERO, Vec::new());
            for (later, what, key, period) in steps {
                now += Duration::from_millis(later);
                match (what, expected[key]) {
                    (0, Some(_)) => {
                        wheel.leave(key);
                        expected[key] = None;
                    }
                    (1, None) => expected[key] = Some((wheel.join(key, now), period * 2)),
                    _ => {}
                }
                while let Some(slot) = wheel.turn(now, &mut due) {
                    for key in &due {
                        let (at, period) = expected[*key].expect("a session");
                        prop_assert_eq!(slot, at);
                        expected[*key] = Some((slot + period, period));
                        wheel.put(*key, slot + period);
                    }
                }
                for (at, _) in expected.iter().flatten() {
                    prop_assert!(time_of(*at) > now, "nobody is left behind");
                }
                prop_assert_eq!(wheel.next().is_some(), expected.iter().any(Option::is_some));
            }
        }
    }
}
