//! How much each endpoint may be sent now: so many requests at once, one while it fails, and so many in a second, however
//! much waits for it. What finds no place waits in the outbox, in its order: nothing is lost.
//!
//! Pure: time is a parameter, so that a flood of an hour is tested in a moment.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// Failing endpoints that are remembered while nothing runs.
const MAX_REMEMBERED: usize = 10_000;

/// What an endpoint may be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// Requests under way.
    pub(crate) at_once: usize,
    /// Requests that begin in a second; 0 for as many as there are.
    pub(crate) per_second: u32,
}

impl Share {
    /// Requests that may begin together: what is due every few milliseconds is looked for in one go.
    fn burst(self) -> u32 {
        (self.per_second / 10).max(1)
    }

    /// The time of one request.
    fn each(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }
}

/// The requests of one endpoint.
#[derive(Debug)]
struct Load {
    running: usize,
    failing: bool,
    /// All that it was sent has had its time by then: the theoretical arrival time of a leaky bucket.
    settled: Instant,
}

impl Load {
    /// How many may begin now by the pace alone.
    fn paced(&self, share: Share, now: Instant) -> usize {
        if share.per_second == 0 {
            return usize::MAX;
        }
        let ahead = self.settled.saturating_duration_since(now).as_nanos();
        let used = ahead.div_ceil(share.each().as_nanos().max(1));
        usize::try_from(u128::from(share.burst()).saturating_sub(used)).unwrap_or(0)
    }
}

/// The requests of all endpoints that have some, or had.
#[derive(Debug)]
pub(crate) struct Loads {
    share: Share,
    by_endpoint: HashMap<String, Load>,
}

impl Loads {
    pub(crate) fn new(share: Share) -> Self {
        Self { share, by_endpoint: HashMap::new() }
    }

    /// How many requests an endpoint gets at most of which nothing is known.
    pub(crate) fn fresh(&self) -> usize {
        match self.share.per_second {
            0 => self.share.at_once,
            _ => self.share.at_once.min(usize::try_from(self.share.burst()).unwrap_or(usize::MAX)),
        }
    }

    /// How many more each of the others may get.
    pub(crate) fn room(&mut self, now: Instant) -> BTreeMap<String, usize> {
        let share = self.share;
        self.by_endpoint.retain(|_, load| load.running > 0 || load.failing || load.settled > now);
        let room = |load: &Load| {
            let at_once = if load.failing { 1 } else { share.at_once };
            at_once.saturating_sub(load.running).min(load.paced(share, now))
        };
        self.by_endpoint.iter().map(|(endpoint, load)| (endpoint.clone(), room(load))).collect()
    }

    /// When there is room again for those that have none for their pace; none where nobody waits for that.
    pub(crate) fn next(&self, now: Instant) -> Option<Duration> {
        let share = self.share;
        let held = self.by_endpoint.values().filter(|load| load.paced(share, now) == 0);
        // Half of what may come together, so that a backlog is not fetched one by one.
        let wanted = share.burst().div_ceil(2);
        let free = held.map(|load| load.settled - share.each() * (share.burst() - wanted));
        free.min().map(|at| at.saturating_duration_since(now))
    }

    /// A request begins.
    pub(crate) fn begins(&mut self, endpoint: &str, now: Instant) {
        let each = if self.share.per_second == 0 { Duration::ZERO } else { self.share.each() };
        match self.by_endpoint.get_mut(endpoint) {
            Some(load) => {
                load.running += 1;
                load.settled = load.settled.max(now) + each;
            }
            None => {
                let load = Load { running: 1, failing: false, settled: now + each };
                self.by_endpoint.insert(endpoint.to_owned(), load);
            }
        }
    }

    /// A request is over.
    pub(crate) fn ends(&mut self, endpoint: &str, good: bool) {
        let remembered = self.by_endpoint.len() <= MAX_REMEMBERED;
        if let Some(load) = self.by_endpoint.get_mut(endpoint) {
            load.running = load.running.saturating_sub(1);
            load.failing = !good && remembered;
        }
    }

    /// Requests of nobody knows which endpoints are over.
    pub(crate) fn forget(&mut self) {
        self.by_endpoint.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// A receiver that answers after so long, and what waits for it in the order of the outbox.
    fn flood(share: Share, waiting: u32, answers_after: Duration) -> Vec<(u32, Duration)> {
        let zero = Instant::now();
        let (mut now, mut loads) = (zero, Loads::new(share));
        let mut outbox: VecDeque<u32> = (0..waiting).collect();
        let mut running: VecDeque<Instant> = VecDeque::new();
        let mut sent = Vec::new();
        while !outbox.is_empty() || !running.is_empty() {
            while running.front().is_some_and(|over| *over <= now) {
                running.pop_front();
                loads.ends("whk", true);
            }
            let room = loads.room(now).get("whk").copied().unwrap_or_else(|| loads.fresh());
            for _ in 0..room.min(outbox.len()) {
                loads.begins("whk", now);
                running.push_back(now + answers_after);
                sent.extend(outbox.pop_front().map(|n| (n, now - zero)));
            }
            assert!(running.len() <= share.at_once);
            // As the worker sleeps: to the next answer, or to where there is room again.
            let answer = running.front().map(|over| over.saturating_duration_since(now));
            let room = loads.next(now).filter(|_| !outbox.is_empty());
            now += [answer, room].into_iter().flatten().min().unwrap_or_default().max(Duration::from_nanos(1));
        }
        sent
    }

    #[test]
    fn a_flood_of_an_hour_reaches_its_receiver_at_the_pace_in_order_and_whole() {
        let share = Share { at_once: 8, per_second: 20 };
        let sent = flood(share, 72_000, Duration::from_millis(3));
        assert!(sent.iter().enumerate().all(|(at, (n, _))| at == *n as usize), "in order, nothing lost");
        assert_eq!(sent.len(), 72_000);
        let last = sent.last().unwrap().1.as_secs();
        assert!((3_599..=3_601).contains(&last), "as quick as it may: {last} s");
    }

    #[test]
    fn a_slow_receiver_is_held_by_its_requests_and_not_by_the_pace() {
        let share = Share { at_once: 2, per_second: 1_000 };
        let sent = flood(share, 10, Duration::from_secs(1));
        assert_eq!(sent.last().unwrap().1.as_secs(), 4, "two at a time, a second each");
        assert_eq!(
            flood(Share { at_once: 8, per_second: 0 }, 80, Duration::from_secs(1)).last().unwrap().1.as_secs(),
            9
        );
    }

    #[test]
    fn one_that_fails_gets_one_at_a_time_and_others_do_not_notice() {
        let now = Instant::now();
        let mut loads = Loads::new(Share { at_once: 4, per_second: 40 });
        assert_eq!(loads.fresh(), 4);
        loads.begins("bad", now);
        loads.ends("bad", false);
        loads.begins("good", now);
        let later = now + Duration::from_secs(1);
        assert_eq!(loads.room(later), BTreeMap::from([("bad".to_owned(), 1), ("good".to_owned(), 3)]));
        loads.begins("bad", later);
        assert_eq!(loads.room(later)["bad"], 0);
        loads.ends("bad", true);
        loads.ends("good", true);
        assert_eq!(loads.room(later + Duration::from_secs(1)), BTreeMap::new(), "nothing is kept of those that rest");
    }

    proptest! {
        /// In no second more begin than the pace and one burst; nothing is lost, nothing overtakes.
        #[test]
        fn no_second_has_more_than_it_may(
            per_second in 1_u32..400, at_once in 1_usize..10, waiting in 0_u32..600, answer in 0_u64..200
        ) {
            let share = Share { at_once, per_second };
            let sent = flood(share, waiting, Duration::from_millis(answer));
            prop_assert_eq!(sent.len(), waiting as usize);
            prop_assert!(sent.iter().enumerate().all(|(at, (n, _))| at == *n as usize));
            let most = (per_second + share.burst()) as usize;
            for (at, (_, from)) in sent.iter().enumerate() {
                let within = sent[at..].iter().take_while(|(_, then)| *then < *from + Duration::from_secs(1)).count();
                prop_assert!(within <= most, "{within} of {most} from {from:?}");
            }
        }
    }
}
