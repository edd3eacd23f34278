//! Admission: which new requests are served, which are refused cheaply, which are dropped.
//!
//! Rejecting must cost a small part of serving, or a flood wins (RFC 7339 §1). So the verdict comes right after
//! parsing, before any state exists, and the refusal is stateless. What belongs to something that exists –
//! retransmissions, in-dialog requests, responses – never comes here. Everything refused is counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How much the stack takes on.
#[derive(Clone, Debug, PartialEq)]
pub struct SipLimits {
    /// Calls at the same time, in both directions; an INVITE above it gets 503.
    pub max_calls: usize,
    /// New inbound calls per second, with a burst of one second; an INVITE above it gets 503.
    pub invites_per_second: u32,
    /// New requests per second from one IPv4 address or IPv6 /64; what is above it is dropped unanswered, so that a
    /// flood is not doubled by our answers. 0 means no limit.
    pub requests_per_source: u32,
    /// Messages waiting between the sockets and the stack, for each of its two classes (new requests; the rest).
    pub ingress_queue: usize,
    /// An INVITE that waited longer than this many milliseconds in that queue gets 503: its caller will have sent it
    /// again, and what is served late is served twice.
    pub max_age_ms: u64,
    /// What `Retry-After` says on those 503, in seconds.
    pub retry_after_s: u32,
    /// Open TCP connections; one more is closed at once.
    pub tcp_connections: usize,
    /// Open TCP connections from one address.
    pub tcp_connections_per_source: usize,
    /// A TCP connection without traffic for this long is closed.
    pub tcp_idle: Duration,
    /// An inbound call that nobody answers or refuses ends after this long.
    pub max_ringing: Duration,
}

impl Default for SipLimits {
    fn default() -> Self {
        Self {
            max_calls: 2_000,
            invites_per_second: 500,
            requests_per_source: 5_000,
            ingress_queue: 4_096,
            max_age_ms: 200,
            retry_after_s: 2,
            tcp_connections: 1_024,
            tcp_connections_per_source: 256,
            tcp_idle: Duration::from_secs(600),
            max_ringing: Duration::from_secs(180),
        }
    }
}

/// Why a new request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The host is shutting down.
    Draining,
    /// It waited too long in the ingress queue.
    Stale,
    /// Too many calls at the same time.
    Calls,
    /// Too many new calls per second.
    Rate,
}

/// A bucket that begins full, fills at a constant rate and holds one second's worth.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokenBucket {
    /// What is in it, and since when that is true; none before its first use.
    level: Option<(f64, Instant)>,
}

impl TokenBucket {
    /// What is in it now.
    fn fill(&mut self, now: Instant, rate: u32) -> f64 {
        let capacity = f64::from(rate).max(1.0);
        let tokens = self.level.map_or(capacity, |(tokens, at)| {
            let elapsed = now.saturating_duration_since(at).as_secs_f64();
            elapsed.mul_add(f64::from(rate), tokens).min(capacity)
        });
        self.level = Some((tokens, now));
        tokens
    }

    /// Takes a token, if `at_least` would have been there.
    fn take_above(&mut self, now: Instant, rate: u32, at_least: f64) -> bool {
        let tokens = self.fill(now, rate);
        let enough = tokens >= at_least.max(1.0);
        if enough {
            self.level = Some((tokens - 1.0, now));
        }
        enough
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant, rate: u32) -> bool {
        self.take_above(now, rate, 1.0)
    }
}

/// What one address used up.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    requests: TokenBucket,
    calls: TokenBucket,
}

/// The part of the call rate that each address is sure of.
const SHARE: u32 = 4;

/// Sources with a bucket of their own. Above it (a flood from forged addresses) all further ones share one bucket.
const MAX_SOURCES: usize = 4_096;

/// The state behind the limits.
#[derive(Debug)]
pub struct Admission {
    limits: SipLimits,
    draining: bool,
    calls: TokenBucket,
    sources: HashMap<IpAddr, Source>,
    others: Source,
    swept: Option<Instant>,
}

impl Admission {
    /// Begins with full buckets.
    #[must_use]
    pub fn new(limits: SipLimits) -> Self {
        Self {
            limits,
            draining: false,
            calls: TokenBucket::default(),
            sources: HashMap::new(),
            others: Source::default(),
            swept: None,
        }
    }

    /// The limits it keeps.
    #[must_use]
    pub fn limits(&self) -> &SipLimits {
        &self.limits
    }

    /// New calls are refused while on.
    pub fn drain(&mut self, on: bool) {
        self.draining = on;
    }

    /// Whether new calls are refused because the host shuts down.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining
    }

    /// Whether a new request from this address may be answered at all.
    pub fn source(&mut self, now: Instant, address: IpAddr) -> bool {
        let rate = self.limits.requests_per_source;
        if rate == 0 {
            return true;
        }
        self.of(now, address).requests.take(now, rate)
    }

    /// The buckets of an address.
    fn of(&mut self, now: Instant, address: IpAddr) -> &mut Source {
        let source = prefix(address);
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&source) {
            self.sweep(now);
            if self.sources.len() >= MAX_SOURCES {
                return &mut self.others;
            }
        }
        self.sources.entry(source).or_default()
    }

    /// Whether one more inbound call may begin, `calls` being up and this INVITE having waited for `age`.
    ///
    /// Half of the burst is kept for addresses that stay below a quarter of the rate, so that a flood from one address
    /// does not shut out the others; while nobody else calls, one address can have the whole rate.
    ///
    /// # Errors
    /// The reason for its 503.
    pub fn invite(&mut self, now: Instant, age: Duration, calls: usize, source: IpAddr) -> Result<(), Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        if age > Duration::from_millis(self.limits.max_age_ms) {
            return Err(Refusal::Stale);
        }
        if calls >= self.limits.max_calls {
            return Err(Refusal::Calls);
        }
        let rate = self.limits.invites_per_second;
        let modest = self.of(now, source).calls.take(now, rate / SHARE);
        let reserve = if modest { 0.0 } else { f64::from(rate) / 2.0 };
        if self.calls.take_above(now, rate, reserve) { Ok(()) } else { Err(Refusal::Rate) }
    }

    /// Forgets sources whose bucket is full again: they are as good as new. At most once a second, so that a flood
    /// cannot make this the work it was to save.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|at| now.saturating_duration_since(at) < Duration::from_secs(1)) {
            return;
        }
        self.swept = Some(now);
        let (requests, calls) = (self.limits.requests_per_source, self.limits.invites_per_second / SHARE);
        self.sources.retain(|_, source| {
            let idle = |bucket: &mut TokenBucket, rate: u32| bucket.fill(now, rate) >= f64::from(rate).max(1.0);
            // A rate of 0 never fills again, and its bucket says nothing.
            !(idle(&mut source.requests, requests.max(1)) && idle(&mut source.calls, calls.max(1)))
        });
    }
}

/// One subscriber has a whole /64 of IPv6 addresses.
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some first moment")]
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn admission(limits: SipLimits) -> (Admission, Instant) {
        (Admission::new(limits), Instant::now())
    }

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn served(admission: &mut Admission, now: Instant, source: IpAddr, tries: usize) -> usize {
        (0..tries).filter(|_| admission.invite(now, Duration::ZERO, 0, source).is_ok()).count()
    }

    #[test]
    fn calls_above_the_rate_are_refused_and_one_source_can_have_all_of_it() {
        let (mut admission, now) = admission(SipLimits { invites_per_second: 100, ..SipLimits::default() });
        let mut total = 0;
        for tick in 0..100_u64 {
            total += served(&mut admission, now + Duration::from_millis(tick * 100), HERE, 40);
        }
        // 10 s at the rate, and what of the first second's burst is for one alone.
        assert!((1_000..=1_080).contains(&total), "{total}");
    }

    #[test]
    fn a_flood_of_calls_from_one_source_leaves_room_for_others() {
        let (mut admission, now) = admission(SipLimits { invites_per_second: 100, ..SipLimits::default() });
        let other = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
        for tick in 0..50_u64 {
            let now = now + Duration::from_millis(tick * 100);
            served(&mut admission, now, HERE, 1_000);
            assert_eq!(served(&mut admission, now, other, 2), 2, "tick {tick}");
        }
    }

    #[test]
    fn the_reason_is_named() {
        let (mut admission, now) = admission(SipLimits { max_calls: 3, ..SipLimits::default() });
        assert_eq!(admission.invite(now, Duration::ZERO, 3, HERE), Err(Refusal::Calls));
        assert_eq!(admission.invite(now, Duration::from_millis(201), 0, HERE), Err(Refusal::Stale));
        assert_eq!(admission.invite(now, Duration::from_millis(200), 2, HERE), Ok(()));
        admission.drain(true);
        assert_eq!(admission.invite(now, Duration::ZERO, 0, HERE), Err(Refusal::Draining));
    }

    #[test]
    fn one_source_cannot_use_up_the_share_of_another() {
        let (mut admission, now) = admission(SipLimits { requests_per_source: 5, ..SipLimits::default() });
        let loud = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!((0..50).filter(|_| admission.source(now, loud)).count(), 5);
        assert!(admission.source(now, Ipv4Addr::new(127, 0, 0, 2).into()));
        // The same address in IPv6 clothes is the same source.
        assert!(!admission.source(now, Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()));
    }

    #[test]
    fn a_flood_of_forged_sources_stays_bounded() {
        let (mut admission, now) = admission(SipLimits { requests_per_source: 5, ..SipLimits::default() });
        for n in 0..100_000_u128 {
            admission.source(now, Ipv6Addr::from_bits(n << 64).into());
        }
        assert_eq!(admission.sources.len(), MAX_SOURCES);
        let later = now + Duration::from_secs(2);
        assert!(admission.source(later, Ipv4Addr::LOCALHOST.into()));
        assert!(admission.sources.len() < 10, "idle sources are forgotten");
    }
}
