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

/// A bucket that fills at a constant rate and holds one second's worth.
#[derive(Clone, Copy, Debug)]
struct TokenBucket {
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    fn full(now: Instant, rate: u32) -> Self {
        Self { tokens: f64::from(rate).max(1.0), filled: now }
    }

    fn fill(&mut self, now: Instant, rate: u32) {
        let capacity = f64::from(rate).max(1.0);
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = elapsed.mul_add(f64::from(rate), self.tokens).min(capacity);
        self.filled = now;
    }

    fn take(&mut self, now: Instant, rate: u32) -> bool {
        self.fill(now, rate);
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// Sources with a bucket of their own. Above it (a flood from forged addresses) all further ones share one bucket.
const MAX_SOURCES: usize = 4_096;

/// The state behind the limits.
#[derive(Debug)]
pub struct Admission {
    limits: SipLimits,
    draining: bool,
    calls: Option<TokenBucket>,
    sources: HashMap<IpAddr, TokenBucket>,
    others: Option<TokenBucket>,
    swept: Option<Instant>,
}

impl Admission {
    /// Begins with full buckets.
    #[must_use]
    pub fn new(limits: SipLimits) -> Self {
        Self { limits, draining: false, calls: None, sources: HashMap::new(), others: None, swept: None }
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
        let source = prefix(address);
        if let Some(bucket) = self.sources.get_mut(&source) {
            return bucket.take(now, rate);
        }
        if self.sources.len() >= MAX_SOURCES {
            self.sweep(now);
        }
        if self.sources.len() >= MAX_SOURCES {
            return self.others.get_or_insert_with(|| TokenBucket::full(now, rate)).take(now, rate);
        }
        self.sources.entry(source).or_insert_with(|| TokenBucket::full(now, rate)).take(now, rate)
    }

    /// Whether one more inbound call may begin, `calls` being up and this INVITE having waited for `age`.
    ///
    /// # Errors
    /// The reason for its 503.
    pub fn invite(&mut self, now: Instant, age: Duration, calls: usize) -> Result<(), Refusal> {
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
        if self.calls.get_or_insert_with(|| TokenBucket::full(now, rate)).take(now, rate) {
            Ok(())
        } else {
            Err(Refusal::Rate)
        }
    }

    /// Forgets sources whose bucket is full again: they are as good as new. At most once a second, so that a flood
    /// cannot make this the work it was to save.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|at| now.saturating_duration_since(at) < Duration::from_secs(1)) {
            return;
        }
        self.swept = Some(now);
        let rate = self.limits.requests_per_source;
        self.sources.retain(|_, bucket| {
            bucket.fill(now, rate);
            bucket.tokens < f64::from(rate)
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

    #[test]
    fn calls_above_the_rate_are_refused_and_the_bucket_fills_again() {
        let (mut admission, now) = admission(SipLimits { invites_per_second: 10, ..SipLimits::default() });
        let served = (0..25).filter(|_| admission.invite(now, Duration::ZERO, 0).is_ok()).count();
        assert_eq!(served, 10);
        let later = now + Duration::from_millis(500);
        let served = (0..25).filter(|_| admission.invite(later, Duration::ZERO, 0).is_ok()).count();
        assert_eq!(served, 5);
    }

    #[test]
    fn the_reason_is_named() {
        let (mut admission, now) = admission(SipLimits { max_calls: 3, ..SipLimits::default() });
        assert_eq!(admission.invite(now, Duration::ZERO, 3), Err(Refusal::Calls));
        assert_eq!(admission.invite(now, Duration::from_millis(201), 0), Err(Refusal::Stale));
        assert_eq!(admission.invite(now, Duration::from_millis(200), 2), Ok(()));
        admission.drain(true);
        assert_eq!(admission.invite(now, Duration::ZERO, 0), Err(Refusal::Draining));
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
