//! Who tried wrong passwords: each further one makes its source, and its account, wait longer.
//!
//! A pair of source and account that is known to be good ([`Bindings`](super::Bindings) holds it) is never asked here,
//! so that neither a stranger who guesses at an account nor a forgotten phone in the same office locks anybody out.

use crate::overload::prefix;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Wrong passwords without consequence: a person who types.
const FREE: u32 = 5;
/// From this many on, the source is not even answered.
const SILENT: u32 = 15;
/// The longest wait; the first is one second, and each is twice the one before.
const LONGEST: Duration = Duration::from_secs(900);
/// After this long without a failure, all is forgotten.
const FORGET: Duration = Duration::from_secs(3_600);
/// Sources, and accounts, with a count of their own. What comes beyond them shares one.
const MAX_ENTRIES: usize = 4_096;

/// What becomes of a request with credentials before they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toll {
    /// They are checked.
    Free,
    /// 403, unchecked.
    Refuse,
    /// No answer.
    Silence,
}

/// Failures of one source or account.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
    until: Instant,
}

impl Failures {
    fn toll(&self, now: Instant) -> Toll {
        match () {
            () if self.until <= now => Toll::Free,
            () if self.count >= SILENT => Toll::Silence,
            () => Toll::Refuse,
        }
    }
}

/// The failures by one kind of key.
#[derive(Debug)]
struct Book<K> {
    entries: HashMap<K, Failures>,
    others: Option<Failures>,
    swept: Option<Instant>,
}

impl<K: Hash + Eq> Book<K> {
    fn new() -> Self {
        Self { entries: HashMap::new(), others: None, swept: None }
    }

    fn toll(&self, now: Instant, key: &K) -> Toll {
        let full = self.entries.len() >= MAX_ENTRIES;
        let known = self.entries.get(key).or(self.others.as_ref().filter(|_| full));
        known.map_or(Toll::Free, |failures| failures.toll(now))
    }

    /// Counts a failure; gives the count.
    fn failed(&mut self, now: Instant, key: K) -> u32 {
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&key) {
            self.sweep(now);
        }
        let fresh = Failures { count: 0, last: now, until: now };
        let failures = if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&key) {
            self.others.get_or_insert(fresh)
        } else {
            self.entries.entry(key).or_insert(fresh)
        };
        if now.saturating_duration_since(failures.last) >= FORGET {
            *failures = fresh;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        if let Some(over) = failures.count.checked_sub(FREE + 1) {
            failures.until = now + Duration::from_secs(1 << over.min(20)).min(LONGEST);
        }
        failures.count
    }

    /// Drops what is forgotten by now; once per second at most, for a flood has no use for it.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|at| now.saturating_duration_since(at) < Duration::from_secs(1)) {
            return;
        }
        self.swept = Some(now);
        self.entries.retain(|_, failures| now.saturating_duration_since(failures.last) < FORGET);
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Guard {
    sources: Book<IpAddr>,
    accounts: Book<Box<str>>,
}

impl Guard {
    pub(crate) fn new() -> Self {
        Self { sources: Book::new(), accounts: Book::new() }
    }

    /// Whether credentials of this user are looked at when they come from there; no source for one behind which are
    /// many.
    pub(crate) fn toll(&self, now: Instant, source: Option<IpAddr>, username: &str) -> Toll {
        match source.map_or(Toll::Free, |source| self.sources.toll(now, &prefix(source))) {
            Toll::Free => match self.accounts.toll(now, &Box::from(username)) {
                Toll::Free => Toll::Free,
                // Its owner may be among those who ask: an answer, at least.
                Toll::Refuse | Toll::Silence => Toll::Refuse,
            },
            toll => toll,
        }
    }

    /// Counts wrong credentials; says whether it is time for a line in the log: when waiting begins, and when
    /// silence does.
    pub(crate) fn failed(&mut self, now: Instant, source: Option<IpAddr>, username: &str) -> bool {
        let count = source.map_or(0, |source| self.sources.failed(now, prefix(source)));
        self.accounts.failed(now, username.into());
        count == FREE + 1 || count == SILENT
    }

    /// The password was right: whoever has one is no guesser.
    pub(crate) fn succeeded(&mut self, source: IpAddr, username: &str) {
        self.accounts.entries.remove(username);
        if let Some(failures) = self.sources.entries.get_mut(&prefix(source)) {
            failures.count /= 2;
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "virtual time needs a first moment")]
mod tests {
    use super::*;

    fn ip(n: u32) -> Option<IpAddr> {
        Some(IpAddr::V4((0x0a00_0000 + n).into()))
    }

    #[test]
    fn waiting_grows_and_ends_in_silence() {
        let (mut guard, mut now) = (Guard::new(), Instant::now());
        let mut lines = 0;
        for n in 1..=FREE {
            assert_eq!(guard.toll(now, ip(1), "a"), Toll::Free);
            lines += u32::from(guard.failed(now, ip(1), &format!("user {n}")));
        }
        assert_eq!(guard.toll(now, ip(1), "a"), Toll::Free, "the fifth is still free");
        let mut waits = Vec::new();
        for n in 0..12 {
            lines += u32::from(guard.failed(now, ip(1), &format!("other {n}")));
            let from = now;
            while guard.toll(now, ip(1), "a") != Toll::Free {
                now += Duration::from_millis(500);
            }
            waits.push(now.duration_since(from).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert_eq!(lines, 2);
        guard.failed(now, ip(1), "x");
        assert_eq!(guard.toll(now, ip(1), "a"), Toll::Silence);
        assert_eq!(guard.toll(now, ip(2), "a"), Toll::Free, "others are not meant");
        now += FORGET;
        guard.failed(now, ip(1), "x");
        assert_eq!(guard.toll(now, ip(1), "a"), Toll::Free);
    }

    #[test]
    fn an_account_that_many_guess_at_is_refused_and_answered() {
        let (mut guard, now) = (Guard::new(), Instant::now());
        for n in 0..40 {
            guard.failed(now, ip(n), "alice");
        }
        assert_eq!(guard.toll(now, ip(99), "alice"), Toll::Refuse);
        assert_eq!(guard.toll(now, ip(99), "bob"), Toll::Free);
        guard.succeeded(ip(7).unwrap(), "alice");
        assert_eq!(guard.toll(now, ip(99), "alice"), Toll::Free);
    }

    #[test]
    fn it_stays_small_and_what_overflows_shares_one_count() {
        let (mut guard, now) = (Guard::new(), Instant::now());
        for n in 0..3 * u32::try_from(MAX_ENTRIES).unwrap() {
            guard.failed(now, ip(n), &n.to_string());
        }
        assert_eq!((guard.sources.entries.len(), guard.accounts.entries.len()), (MAX_ENTRIES, MAX_ENTRIES));
        assert_eq!(guard.toll(now, ip(999_999), "x"), Toll::Silence);
        assert_eq!(guard.toll(now, ip(1), "1"), Toll::Free);
    }
}
