//! Admission: which new requests are served, which are refused cheaply, which are dropped.
//!
//! Rejecting must cost a small part of serving, or a flood wins (RFC 7339 §1). So the verdict comes right after
//! parsing, before any state exists, and the refusal is stateless. What belongs to something that exists –
//! retransmissions, in-dialog requests, responses – never comes here. Everything refused is counted.
//!
//! Each source – an IPv4 address or an IPv6 /64 – has limits of its own. One that looks for numbers, passwords or
//! victims is not answered any more, for a time that grows with each offence. An address that nobody has proved to be
//! real yet gets a bounded number of answers, so that nobody's flood is aimed at a third party through us. All of it is
//! kept in a table of a fixed size.

mod gate;
mod policy;
mod table;

pub(crate) use gate::{Gate, GateCounts, Pass};
pub use policy::{SourcePolicy, Strangers, Treatment};
pub(crate) use table::prefix;

use crate::wire::Method;
use policy::Known;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use table::Table;

/// How much the stack takes on. Limits per source are for an IPv4 address or an IPv6 /64, and not for what the
/// [`SourcePolicy`] trusts; 0 means no limit.
#[derive(Clone, Debug, PartialEq)]
pub struct SipLimits {
    /// Calls at the same time, in both directions; an INVITE above it gets 503.
    pub max_calls: usize,
    /// New inbound calls per second, with a burst of one second; an INVITE above it gets 503.
    pub invites_per_second: u32,
    /// Messages per second from one source, of whatever kind; what is above it is dropped unread. A connection is read
    /// more slowly instead.
    pub messages_per_source: u32,
    /// New requests per second from one source; what is above it is dropped unanswered, so that a flood is not doubled
    /// by our answers.
    pub requests_per_source: u32,
    /// Datagrams per second in answer to a source that has not shown yet that they arrive there: it may be forged, and
    /// they would hit somebody else. A call counts for as many as its refusal may need.
    pub answers_per_source: u32,
    /// New connections per second from one source; one more is closed at once.
    pub connections_per_source: u32,
    /// Numbers that do not exist, or wrong passwords, that one source may try per minute before it is blocked. A
    /// message that cannot be read counts for a fifth of one.
    pub offences_per_minute: u32,
    /// How long a source is blocked at first; four times as long each further time.
    pub block_first: Duration,
    /// How long at most, and how long without offence it takes until the next time is a first one again.
    pub block_longest: Duration,
    /// Messages waiting between the sockets and the stack, for each of its two classes (new requests; the rest).
    pub ingress_queue: usize,
    /// An INVITE that waited longer than this many milliseconds in that queue gets 503: its caller will have sent it
    /// again, and what is served late is served twice.
    pub max_age_ms: u64,
    /// What `Retry-After` says at least on those 503, in seconds. What it says is spread over the threefold, so that those
    /// who were refused together do not come again together.
    pub retry_after_s: u32,
    /// Open connections; one more is closed at once.
    pub tcp_connections: usize,
    /// Open connections from one source. This holds for trusted ones, too.
    pub tcp_connections_per_source: usize,
    /// A connection without traffic for this long is closed; one that we opened, after six times as long without a
    /// message.
    pub tcp_idle: Duration,
    /// An inbound call that nobody answers or refuses ends after this long.
    pub max_ringing: Duration,
}

impl Default for SipLimits {
    fn default() -> Self {
        Self {
            max_calls: 2_000,
            invites_per_second: 500,
            messages_per_source: 5_000,
            requests_per_source: 500,
            answers_per_source: 200,
            connections_per_source: 50,
            offences_per_minute: 20,
            block_first: Duration::from_secs(60),
            block_longest: Duration::from_secs(3_600),
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

/// The calls that are up, by what their limits count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// All of them.
    pub all: usize,
    /// Those that came by datagrams from addresses that may be forged, and have not been acknowledged.
    pub unproven: usize,
}

/// Why a new request is not even answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Its source is blocked for what it did before.
    Blocked,
    /// Its source names itself as a tool that looks for victims.
    Scanner,
    /// Its source is a stranger, and such requests of strangers are not served.
    Stranger,
    /// Its source sends too many.
    Source,
}

/// What a source does that honest ones do rarely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// It names itself as a scanner.
    Scanner,
    /// It calls, or registers as, somebody who does not exist.
    UnknownUser,
    /// It tries a wrong password.
    WrongCredentials,
    /// It sends what cannot be read.
    Unreadable,
}

impl Offence {
    /// How much it counts.
    fn points(self) -> f64 {
        match self {
            Self::Scanner => f64::INFINITY,
            Self::UnknownUser | Self::WrongCredentials => 1.0,
            Self::Unreadable => 0.2,
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::Scanner => "it names itself as a scanner",
            Self::UnknownUser => "it tries one number after the other",
            Self::WrongCredentials => "it tries one password after the other",
            Self::Unreadable => "it sends what cannot be read",
        }
    }
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

    /// Takes so many tokens, if they are there, or if all that fit are.
    fn take_many(&mut self, now: Instant, rate: u32, count: u32) -> bool {
        let tokens = self.fill(now, rate);
        let count = f64::from(count).min(f64::from(rate).max(1.0));
        let enough = tokens >= count;
        if enough {
            self.level = Some((tokens - count, now));
        }
        enough
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant, rate: u32) -> bool {
        self.take_above(now, rate, 1.0)
    }
}

/// What one source used up, and what is known of it.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    requests: TokenBucket,
    calls: TokenBucket,
    answers: TokenBucket,
    /// Points of offences that are not forgotten, and since when that is true.
    offences: Option<(f64, Instant)>,
    blocked_until: Option<Instant>,
    /// How often it was blocked, as far as that is not forgotten.
    blocks: u32,
    /// What we send to it arrives: it sent back what only we could have told it.
    reached_until: Option<Instant>,
    /// It has authenticated.
    vouched_until: Option<Instant>,
    /// When the log last spoke of it, and what was dropped since.
    told: Option<Instant>,
    untold: u64,
}

impl Source {
    fn blocked(&self, now: Instant) -> bool {
        self.blocked_until.is_some_and(|until| until > now)
    }

    fn reached(&self, now: Instant) -> bool {
        self.reached_until.is_some_and(|until| until > now) || self.vouched(now)
    }

    fn vouched(&self, now: Instant) -> bool {
        self.vouched_until.is_some_and(|until| until > now)
    }
}

/// The part of the call rate that each address is sure of.
const SHARE: u32 = 4;
/// Sources with an entry of their own.
const MAX_SOURCES: usize = 16_384;
/// New sources per second that all others share once the table is full: then the addresses are forged, most likely.
const CROWD: u32 = 500;
/// The part of all calls that those may have that come from nobody, perhaps: each of them is there until the end of 64·T1.
const UNPROVEN: usize = 4;
/// How long a source is believed to be real.
const REACHED: Duration = Duration::from_secs(600);
/// What a call may need to be refused with over UDP: 100, and the refusal until its ACK or the end of 64·T1.
const ANSWERS_TO_A_CALL: u32 = 12;
/// Lines of log about sources per second.
const LINES: u32 = 5;
/// How often the log speaks of one source.
const LINE_EVERY: Duration = Duration::from_secs(60);
/// Blocks that wait to be told to the edge. One that is lost there is kept here.
const TOLD_BLOCKS: usize = 64;
/// What an answered call takes off the points of its source: who has calls also has some to wrong numbers.
const GOOD_CALL: f64 = 5.0;

/// The state behind the limits.
#[derive(Debug)]
pub struct Admission {
    limits: SipLimits,
    known: Known,
    draining: bool,
    calls: TokenBucket,
    sources: Table<Source>,
    crowd: TokenBucket,
    lines: TokenBucket,
    blocks: u64,
    new_blocks: VecDeque<(IpAddr, Instant)>,
}

impl Admission {
    /// Begins with full buckets and the policy of a host that nobody has told anything.
    #[must_use]
    pub fn new(limits: SipLimits) -> Self {
        Self {
            limits,
            known: Known::new(&SourcePolicy::default()),
            draining: false,
            calls: TokenBucket::default(),
            sources: Table::new(MAX_SOURCES),
            crowd: TokenBucket::default(),
            lines: TokenBucket::default(),
            blocks: 0,
            new_blocks: VecDeque::new(),
        }
    }

    /// The limits it keeps.
    #[must_use]
    pub fn limits(&self) -> &SipLimits {
        &self.limits
    }

    /// From now on this is known of the sources.
    pub fn set_policy(&mut self, policy: &SourcePolicy) {
        self.known = Known::new(policy);
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

    /// Sources remembered, and how often one was blocked since the start.
    #[must_use]
    pub fn counts(&self) -> (usize, u64) {
        (self.sources.len(), self.blocks)
    }

    /// Whether the operator trusts this address: a proxy, behind which many are.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.known.trusts(address)
    }

    /// Whether nothing from this address is read at all.
    #[must_use]
    pub fn denied(&self, address: IpAddr) -> bool {
        self.known.denies(address)
    }

    /// Whether a new request – of no call that is up, no repetition – is served. `names` are what its sender calls
    /// itself: `User-Agent`, the display name.
    ///
    /// # Errors
    /// Why it is to be dropped without a word.
    pub fn request<'a>(
        &mut self,
        now: Instant,
        address: IpAddr,
        method: &Method,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Silence> {
        if self.known.trusts(address) {
            return Ok(());
        }
        let treatment = match method {
            Method::Invite => self.known.strangers.calls,
            Method::Register => self.known.strangers.registrations,
            _ => self.known.strangers.others,
        };
        let rate = self.limits.requests_per_source;
        let Some(source) = self.of(now, address) else { return Err(Silence::Source) };
        if source.blocked(now) {
            return Err(Silence::Blocked);
        }
        if treatment == Treatment::Drop && !source.vouched(now) {
            return Err(Silence::Stranger);
        }
        if rate > 0 && !source.requests.take(now, rate) {
            source.untold += 1;
            if source.told.is_none_or(|told| now.saturating_duration_since(told) >= LINE_EVERY) {
                source.told = Some(now);
                let dropped = std::mem::take(&mut source.untold);
                if self.lines.take(now, LINES) {
                    let source = named(address);
                    tracing::warn!(%source, dropped, rate, "a source sends more new requests per second than it may");
                }
            }
            return Err(Silence::Source);
        }
        if names.into_iter().any(|name| self.known.names_scanner(name)) {
            self.offence(now, address, Offence::Scanner);
            return Err(Silence::Scanner);
        }
        Ok(())
    }

    /// Whether a message of this address that is of nothing we know, or a repetition, may be answered over a transport
    /// that does not prove where it came from.
    pub fn answer(&mut self, now: Instant, address: IpAddr, method: &Method) -> bool {
        let rate = self.limits.answers_per_source;
        if rate == 0 || self.known.trusts(address) {
            return true;
        }
        let Some(source) = self.of(now, address) else { return false };
        if source.blocked(now) {
            return false;
        }
        let count = if *method == Method::Invite { ANSWERS_TO_A_CALL } else { 1 };
        source.reached(now) || source.answers.take_many(now, rate, count)
    }

    /// This address sent what only we can have told it: a tag, a branch. So it is not forged.
    pub fn reached(&mut self, now: Instant, address: IpAddr) {
        if !self.known.trusts(address)
            && let Some(source) = self.of(now, address)
        {
            source.reached_until = Some(now + REACHED);
        }
    }

    /// A call of this address was answered, and it said so.
    pub fn good_call(&mut self, now: Instant, address: IpAddr) {
        if let Some(source) = self.of(now, address)
            && let Some((points, _)) = &mut source.offences
        {
            *points = (*points - GOOD_CALL).max(0.0);
        }
    }

    /// Somebody at this address has authenticated: for so long it is no stranger, and only wrong passwords count
    /// against it.
    pub fn vouch(&mut self, now: Instant, address: IpAddr, time: Duration) {
        if let Some(source) = self.of(now, address) {
            source.vouched_until = source.vouched_until.max(Some(now + time));
            source.offences = None;
        }
    }

    /// Counts against an address; too much of it blocks it.
    pub fn offence(&mut self, now: Instant, address: IpAddr, offence: Offence) {
        let most = f64::from(self.limits.offences_per_minute);
        if most <= 0.0 || self.known.trusts(address) {
            return;
        }
        let (first, longest) = (self.limits.block_first, self.limits.block_longest);
        let Some(source) = self.of(now, address) else { return };
        if source.blocked(now) || (source.vouched(now) && offence != Offence::WrongCredentials) {
            return;
        }
        let points = source.offences.map_or(0.0, |(points, at)| {
            let forgotten = now.saturating_duration_since(at).as_secs_f64() * most / 60.0;
            (points - forgotten).max(0.0)
        });
        let points = points + offence.points();
        source.offences = Some((points, now));
        if points <= most {
            return;
        }
        if source.blocked_until.is_some_and(|until| now.saturating_duration_since(until) > longest) {
            source.blocks = 0;
        }
        // One that may be forged is blocked for the shortest time, each time: nobody is to shut others out for long in
        // their name.
        let proven = source.reached(now);
        let times = if proven { source.blocks } else { 0 };
        let time = first.saturating_mul(4_u32.saturating_pow(times)).min(longest);
        source.blocks += u32::from(proven);
        source.offences = None;
        source.blocked_until = Some(now + time);
        source.told = Some(now);
        let dropped = std::mem::take(&mut source.untold);
        self.blocks += 1;
        if self.new_blocks.len() == TOLD_BLOCKS {
            self.new_blocks.pop_front();
        }
        self.new_blocks.push_back((address, now + time));
        if self.lines.take(now, LINES) {
            let (source, seconds) = (named(address), time.as_secs());
            tracing::warn!(%source, seconds, dropped, why = offence.why(), "a source is not served for a while");
        }
    }

    /// A source that was blocked, and until when, once: for the edge, which then need not hand in what it sends.
    pub fn new_block(&mut self) -> Option<(IpAddr, Instant)> {
        self.new_blocks.pop_front()
    }

    /// What is known of an address; nothing where the table is full and too many new ones come.
    fn of(&mut self, now: Instant, address: IpAddr) -> Option<&mut Source> {
        if self.sources.full() && self.sources.get(address).is_none() && !self.crowd.take(now, CROWD) {
            return None;
        }
        // Whoever was found to be real or hostile is remembered before those who only came by.
        Some(self.sources.entry(now, address, |source| source.blocked(now) || source.reached(now)))
    }

    /// Whether messages from this address come from there: it is trusted, or has shown it.
    pub fn proven(&self, now: Instant, address: IpAddr) -> bool {
        self.known.trusts(address) || self.sources.get(address).is_some_and(|source| source.reached(now))
    }

    /// Whether one more inbound call may begin, `calls` being up and this INVITE having waited for `age`.
    ///
    /// Half of the burst is kept for addresses that stay below a quarter of the rate, so that a flood from one address
    /// does not shut out the others; half of that for those of them that are not forged, so that a flood from a thousand
    /// addresses does not either. While nobody else calls, anybody can have the whole rate. `unproven` is how many calls
    /// are up that may be from nobody: they get [a part](UNPROVEN) of the room.
    ///
    /// # Errors
    /// The reason for its 503.
    pub fn invite(&mut self, now: Instant, age: Duration, calls: Calls, source: IpAddr) -> Result<(), Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        if age > Duration::from_millis(self.limits.max_age_ms) {
            return Err(Refusal::Stale);
        }
        let max = self.limits.max_calls;
        let proven = self.proven(now, source);
        if calls.all >= max || (!proven && calls.unproven >= (max / UNPROVEN).max(1)) {
            return Err(Refusal::Calls);
        }
        let rate = self.limits.invites_per_second;
        let modest = self.of(now, source).is_some_and(|source| source.calls.take(now, rate / SHARE));
        let reserve = match (modest, proven) {
            (true, true) => 0.0,
            (true, false) => f64::from(rate) / 4.0,
            (false, _) => f64::from(rate) / 2.0,
        };
        if self.calls.take_above(now, rate, reserve) { Ok(()) } else { Err(Refusal::Rate) }
    }

    /// What `Retry-After` says: between once and three times the limit, chosen by `chance`.
    #[must_use]
    pub fn retry_after(&self, chance: u32) -> u32 {
        let least = self.limits.retry_after_s;
        least.saturating_add(chance % least.saturating_mul(2).saturating_add(1))
    }
}

/// A source as the log names it.
fn named(address: IpAddr) -> String {
    match prefix(address) {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("{v6}/64"),
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
        (0..tries).filter(|_| admission.invite(now, Duration::ZERO, Calls::default(), source).is_ok()).count()
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
    fn a_flood_of_calls_leaves_room_for_others() {
        let (mut admission, mut now) = admission(SipLimits { invites_per_second: 100, ..SipLimits::default() });
        let (loud, known, newcomer) = (STRANGER, IpAddr::from([192, 0, 2, 7]), IpAddr::from([192, 0, 2, 8]));
        admission.reached(now, known);
        // From one address: even somebody new gets through.
        for tick in 0..50_u64 {
            now += Duration::from_millis(100);
            served(&mut admission, now, loud, 1_000);
            assert_eq!(served(&mut admission, now, newcomer, 2), 2, "tick {tick}");
        }
        // From a thousand forged ones: at least those who are known do.
        for tick in 0..50_u8 {
            now += Duration::from_millis(100);
            for n in 0..200 {
                served(&mut admission, now, IpAddr::from([10, tick, n, 1]), 5);
            }
            assert_eq!(served(&mut admission, now, known, 2), 2, "tick {tick}");
        }
    }

    #[test]
    fn the_reason_is_named() {
        let (mut admission, now) = admission(SipLimits { max_calls: 3, ..SipLimits::default() });
        let up = |all| Calls { all, unproven: 0 };
        assert_eq!(admission.invite(now, Duration::ZERO, up(3), HERE), Err(Refusal::Calls));
        assert_eq!(admission.invite(now, Duration::from_millis(201), up(0), HERE), Err(Refusal::Stale));
        assert_eq!(admission.invite(now, Duration::from_millis(200), up(2), HERE), Ok(()));
        // Calls from nobody have only a part of the room, and leave the rest to those who are somebody.
        let forged = Calls { all: 1, unproven: 1 };
        assert_eq!(admission.invite(now, Duration::ZERO, forged, [192, 0, 2, 66].into()), Err(Refusal::Calls));
        assert_eq!(admission.invite(now, Duration::ZERO, forged, HERE), Ok(()));
        admission.drain(true);
        assert_eq!(admission.invite(now, Duration::ZERO, up(0), HERE), Err(Refusal::Draining));
    }

    const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 66));
    const NOBODY: [&str; 0] = [];

    /// How many of so many requests are looked at.
    fn looked_at(admission: &mut Admission, now: Instant, source: IpAddr, tries: usize) -> usize {
        (0..tries).filter(|_| admission.request(now, source, &Method::Options, NOBODY).is_ok()).count()
    }

    #[test]
    fn one_source_cannot_use_up_the_share_of_another() {
        let (mut admission, now) = admission(SipLimits { requests_per_source: 5, ..SipLimits::default() });
        assert_eq!(looked_at(&mut admission, now, STRANGER, 50), 5);
        assert_eq!(looked_at(&mut admission, now, Ipv4Addr::new(192, 0, 2, 67).into(), 3), 3);
        // The same address in IPv6 clothes is the same source.
        let IpAddr::V4(v4) = STRANGER else { unreachable!() };
        assert_eq!(looked_at(&mut admission, now, v4.to_ipv6_mapped().into(), 3), 0);
        // The machine itself is trusted.
        assert_eq!(looked_at(&mut admission, now, HERE, 50), 50);
    }

    #[test]
    fn a_flood_of_forged_sources_stays_bounded_and_leaves_those_that_are_known_alone() {
        let (mut admission, now) = admission(SipLimits::default());
        admission.reached(now, STRANGER);
        let mut looked = 0;
        for n in 0..200_000_u128 {
            looked += looked_at(&mut admission, now, Ipv6Addr::from_bits(n << 64).into(), 1);
        }
        assert_eq!(admission.sources.len(), MAX_SOURCES);
        // Those that fill the table, and the second's worth of all others.
        assert!(looked <= MAX_SOURCES + CROWD as usize, "{looked}");
        assert!(admission.answer(now, STRANGER, &Method::Invite));
        assert_eq!(looked_at(&mut admission, now, STRANGER, 10), 10);
    }

    #[test]
    fn a_scanner_is_dropped_for_a_growing_time() {
        let (mut admission, mut now) = admission(SipLimits::default());
        for minutes in [1, 4, 16, 60, 60] {
            admission.reached(now, STRANGER);
            let named = admission.request(now, STRANGER, &Method::Register, ["x", "Friendly-Scanner 1.0"]);
            assert_eq!(named, Err(Silence::Scanner));
            let (source, until) = admission.new_block().unwrap();
            assert_eq!((source, until - now), (STRANGER, Duration::from_secs(60 * minutes)));
            now = until - Duration::from_secs(1);
            assert_eq!(admission.request(now, STRANGER, &Method::Options, NOBODY), Err(Silence::Blocked));
            assert!(!admission.answer(now, STRANGER, &Method::Options));
            now = until;
            assert_eq!(admission.request(now, STRANGER, &Method::Options, NOBODY), Ok(()));
        }
        // Forgotten after as long a time without offence.
        now += Duration::from_secs(3_601);
        admission.offence(now, STRANGER, Offence::Scanner);
        assert_eq!(admission.new_block().unwrap().1 - now, Duration::from_secs(60));
        assert_eq!(admission.counts().1, 6);
    }

    #[test]
    fn who_may_be_forged_is_never_shut_out_for_long() {
        let (mut admission, mut now) = admission(SipLimits::default());
        for _ in 0..10 {
            admission.offence(now, STRANGER, Offence::Scanner);
            let (_, until) = admission.new_block().unwrap();
            assert_eq!(until - now, Duration::from_secs(60));
            now = until;
        }
    }

    #[test]
    fn probing_blocks_and_living_does_not() {
        let (mut admission, mut now) = admission(SipLimits { offences_per_minute: 20, ..SipLimits::default() });
        // A wrong number now and then.
        for _ in 0..1_000 {
            now += Duration::from_secs(4);
            admission.offence(now, STRANGER, Offence::UnknownUser);
        }
        assert_eq!(admission.new_block(), None);
        // Twice as many, and calls in between.
        for _ in 0..1_000 {
            now += Duration::from_secs(2);
            admission.offence(now, STRANGER, Offence::UnknownUser);
            admission.good_call(now, STRANGER);
        }
        assert_eq!(admission.new_block(), None);
        for _ in 0..21 {
            admission.offence(now, STRANGER, Offence::UnknownUser);
        }
        assert!(admission.new_block().is_some());
        // Who has authenticated may be wrong about numbers, but not about passwords.
        let phone = IpAddr::from([192, 0, 2, 5]);
        admission.vouch(now, phone, Duration::from_secs(600));
        for _ in 0..1_000 {
            admission.offence(now, phone, Offence::UnknownUser);
            admission.offence(now, phone, Offence::Scanner);
        }
        assert_eq!(admission.new_block(), None);
        for _ in 0..21 {
            admission.offence(now, phone, Offence::WrongCredentials);
        }
        assert!(admission.new_block().is_some());
        // And a trunk may do all of it.
        for _ in 0..1_000 {
            admission.offence(now, HERE, Offence::WrongCredentials);
        }
        assert_eq!(admission.new_block(), None);
    }

    #[test]
    fn a_source_that_may_be_forged_gets_few_answers() {
        let (mut admission, now) = admission(SipLimits { answers_per_source: 24, ..SipLimits::default() });
        let answers = |admission: &mut Admission, method: &Method| {
            (0..1_000).filter(|_| admission.answer(now, STRANGER, method)).count()
        };
        assert_eq!(answers(&mut admission, &Method::Invite), 2);
        assert_eq!(answers(&mut admission, &Method::Options), 0);
        admission.reached(now, STRANGER);
        assert_eq!(answers(&mut admission, &Method::Options), 1_000);
    }

    #[test]
    fn strangers_are_served_as_the_policy_says() {
        let (mut admission, now) = admission(SipLimits::default());
        let trunk = IpAddr::from([203, 0, 113, 9]);
        admission.set_policy(&SourcePolicy {
            trusted: vec!["203.0.113.0/24".parse().unwrap()],
            strangers: Strangers { registrations: Treatment::Serve, ..Strangers::DROP },
            ..SourcePolicy::default()
        });
        let served = |admission: &mut Admission, source| {
            [Method::Invite, Method::Register, Method::Options]
                .map(|m| admission.request(now, source, &m, NOBODY).is_ok())
        };
        assert_eq!(served(&mut admission, trunk), [true; 3]);
        assert_eq!(served(&mut admission, STRANGER), [false, true, false]);
        admission.vouch(now, STRANGER, Duration::from_secs(60));
        assert_eq!(served(&mut admission, STRANGER), [true; 3]);
    }

    #[test]
    fn those_who_are_refused_together_come_again_apart() {
        let (admission, _) = admission(SipLimits { retry_after_s: 2, ..SipLimits::default() });
        let waits: Vec<u32> = (0..100).map(|chance| admission.retry_after(chance * 7_919)).collect();
        assert!(waits.iter().all(|wait| (2..=6).contains(wait)));
        assert!((2..=6).all(|wait| waits.contains(&wait)), "{waits:?}");
    }
}
