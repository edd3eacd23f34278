//! How many calls at once, and how many a second: counted per trunk and per direction.

use crate::settings::Limits;

/// Which way a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// It came in.
    Inbound,
    /// We placed it.
    Outbound,
}

/// Why a call may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// As many calls at once as there may be.
    Channels,
    /// Too many began just now.
    Rate {
        /// Then one may.
        retry_in_ms: u64,
    },
}

/// The gate of one trunk. Every call that [`Gate::enter`] let in must [`Gate::leave`].
#[derive(Clone, Debug, Default)]
pub struct Gate {
    limits: Limits,
    inbound: Lane,
    outbound: Lane,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    calls: u32,
    /// The moment up to which what began is paid for, in microseconds (GCRA).
    paid: u64,
}

impl Gate {
    /// A gate without calls.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Other limits; the calls that are in stay.
    pub const fn change(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Calls that are in.
    #[must_use]
    pub const fn calls(&self, direction: Direction) -> u32 {
        match direction {
            Direction::Inbound => self.inbound.calls,
            Direction::Outbound => self.outbound.calls,
        }
    }

    /// Lets a call in. `now_ms` counts from any moment and does not go back.
    ///
    /// # Errors
    /// Why not; nothing is counted then.
    pub fn enter(&mut self, direction: Direction, now_ms: u64) -> Result<(), Closed> {
        let Limits { channels, inbound_channels, outbound_channels, calls_per_second } = self.limits;
        let all = self.inbound.calls.saturating_add(self.outbound.calls);
        let (lane, own) = match direction {
            Direction::Inbound => (&mut self.inbound, inbound_channels),
            Direction::Outbound => (&mut self.outbound, outbound_channels),
        };
        if channels.is_some_and(|most| all >= most) || own.is_some_and(|most| lane.calls >= most) {
            return Err(Closed::Channels);
        }
        if let Some(rate) = calls_per_second {
            let (now, each) = (now_ms.saturating_mul(1_000), 1_000_000 / u64::from(rate.max(1)));
            // A second's worth may come at once.
            let paid = lane.paid.max(now);
            let ahead = (paid - now).saturating_sub(1_000_000 - each);
            if ahead > 0 {
                return Err(Closed::Rate { retry_in_ms: ahead.div_ceil(1_000) });
            }
            lane.paid = paid.saturating_add(each);
        }
        lane.calls += 1;
        Ok(())
    }

    /// A call is over.
    pub const fn leave(&mut self, direction: Direction) {
        let lane = match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        };
        lane.calls = lane.calls.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Inbound, Outbound};
    use proptest::prelude::*;

    #[test]
    fn channels_are_counted_both_ways_and_given_back() {
        let limits = Limits { channels: Some(3), outbound_channels: Some(1), ..Limits::default() };
        let mut gate = Gate::new(limits);
        assert_eq!(gate.enter(Outbound, 0), Ok(()));
        assert_eq!(gate.enter(Outbound, 0), Err(Closed::Channels));
        assert_eq!((gate.enter(Inbound, 0), gate.enter(Inbound, 0)), (Ok(()), Ok(())));
        assert_eq!(gate.enter(Inbound, 0), Err(Closed::Channels));
        gate.leave(Outbound);
        assert_eq!(gate.enter(Inbound, 0), Ok(()));
        gate.change(Limits::default());
        assert_eq!((gate.enter(Inbound, 0), gate.calls(Inbound), gate.calls(Outbound)), (Ok(()), 4, 0));
    }

    #[test]
    fn a_seconds_worth_at_once_then_one_by_one() {
        let mut gate = Gate::new(Limits { calls_per_second: Some(2), ..Limits::default() });
        assert_eq!((gate.enter(Inbound, 1_000), gate.enter(Inbound, 1_000)), (Ok(()), Ok(())));
        assert_eq!(gate.enter(Inbound, 1_000), Err(Closed::Rate { retry_in_ms: 500 }));
        assert_eq!(gate.enter(Outbound, 1_000), Ok(()), "each way for itself");
        assert_eq!(gate.enter(Inbound, 1_499), Err(Closed::Rate { retry_in_ms: 1 }));
        assert_eq!(gate.enter(Inbound, 1_500), Ok(()));
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_twice_the_rate_and_no_moment_more_calls(
            rate in 1_u32..50, most in 1_u32..20, steps in prop::collection::vec((0_u64..200, any::<bool>()), 1..300),
        ) {
            let mut gate = Gate::new(Limits { channels: Some(most), calls_per_second: Some(rate), ..Limits::default() });
            let (mut now, mut let_in) = (0, Vec::new());
            for (pause, leave) in steps {
                now += pause;
                if leave && gate.calls(Inbound) > 0 {
                    gate.leave(Inbound);
                }
                match gate.enter(Inbound, now) {
                    Ok(()) => let_in.push(now),
                    Err(Closed::Rate { retry_in_ms }) => {
                        prop_assert!(retry_in_ms > 0);
                        let mut later = gate.clone();
                        prop_assert_eq!(later.enter(Inbound, now + retry_in_ms), Ok(()));
                    }
                    Err(Closed::Channels) => prop_assert_eq!(gate.calls(Inbound), most),
                }
                prop_assert!(gate.calls(Inbound) <= most);
                let recent = let_in.iter().filter(|at| **at + 1_000 > now).count();
                prop_assert!(recent <= 2 * rate as usize);
            }
        }
    }
}
