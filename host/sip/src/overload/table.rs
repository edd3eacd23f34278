//! A table of sources that cannot grow: who is new takes the place of somebody who came only once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

/// One subscriber: an IPv4 address, or the /64 that one subscriber has of IPv6 addresses.
pub(crate) fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

/// Places looked at for one to give away.
const LOOKS: usize = 64;

/// What is known of each source. Its places are given away like pages of memory ("clock"): who came again, at another
/// moment, since the hand passed keeps his, so that a flood from forged addresses, each seen once, does not push honest
/// ones out.
#[derive(Debug)]
pub(crate) struct Table<T> {
    index: HashMap<IpAddr, usize>,
    places: Vec<Place<T>>,
    hand: usize,
    most: usize,
}

#[derive(Debug)]
struct Place<T> {
    key: IpAddr,
    since: Instant,
    /// Came again since the hand passed.
    again: bool,
    value: T,
}

impl<T: Default> Table<T> {
    /// A table for so many sources.
    pub(crate) fn new(most: usize) -> Self {
        Self { index: HashMap::new(), places: Vec::new(), hand: 0, most: most.max(1) }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn full(&self) -> bool {
        self.places.len() >= self.most
    }

    /// What is known of an address.
    pub(crate) fn get(&self, address: IpAddr) -> Option<&T> {
        Some(&self.places[*self.index.get(&prefix(address))?].value)
    }

    /// What is known of an address, from now on. Whom `keep` says yes for is not pushed out while others are there.
    pub(crate) fn entry(&mut self, now: Instant, address: IpAddr, keep: impl Fn(&T) -> bool) -> &mut T {
        let key = prefix(address);
        let at = match self.index.get(&key) {
            Some(&at) => {
                self.places[at].again |= self.places[at].since < now;
                at
            }
            None => {
                let place = Place { key, since: now, again: false, value: T::default() };
                let at = if self.full() {
                    let at = self.vacate(keep);
                    self.index.remove(&self.places[at].key);
                    self.places[at] = place;
                    at
                } else {
                    self.places.push(place);
                    self.places.len() - 1
                };
                self.index.insert(key, at);
                at
            }
        };
        &mut self.places[at].value
    }

    fn vacate(&mut self, keep: impl Fn(&T) -> bool) -> usize {
        let mut found = None;
        for _ in 0..LOOKS {
            let at = self.hand % self.places.len();
            self.hand = at + 1;
            let place = &mut self.places[at];
            let again = std::mem::take(&mut place.again);
            if keep(&place.value) {
                continue;
            }
            if !again {
                return at;
            }
            found.get_or_insert(at);
        }
        // All of them came again, or are worth keeping: the table's bound counts more.
        found.unwrap_or(self.hand % self.places.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some first moment")]
    use super::*;
    use std::time::Duration;

    #[test]
    fn who_comes_again_stays_and_who_came_once_goes() {
        let mut table: Table<u32> = Table::new(100);
        let start = Instant::now();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..50 {
            *table.entry(start, address(n), |_| false) = n + 1;
        }
        for n in 1_000..5_000 {
            let now = start + Duration::from_millis(n.into());
            // Several times within one moment is still once.
            table.entry(now, address(n), |_| false);
            table.entry(now, address(n), |_| false);
            // The honest ones come, too.
            assert_eq!(*table.entry(now, address(n % 50), |_| false), n % 50 + 1, "{n}");
        }
        assert_eq!((table.len(), table.index.len()), (100, 100));
    }

    #[test]
    fn what_is_kept_stays_until_there_is_nothing_else() {
        let mut table: Table<bool> = Table::new(10);
        let now = Instant::now();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..5 {
            *table.entry(now, address(n), |kept| *kept) = true;
        }
        for n in 100..1_000 {
            table.entry(now, address(n), |kept| *kept);
        }
        assert!((0..5).all(|n| table.get(address(n)).is_some()));
        for n in 2_000..3_000 {
            *table.entry(now, address(n), |kept| *kept) = true;
        }
        assert_eq!(table.len(), 10);
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_source() {
        let same = ["2001:db8::1", "2001:db8::ffff:1:2:3"].map(|text| prefix(text.parse().unwrap()));
        assert_eq!(same[0], same[1]);
        assert_ne!(same[0], prefix("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(prefix("::ffff:192.0.2.1".parse().unwrap()), prefix("192.0.2.1".parse().unwrap()));
    }
}
