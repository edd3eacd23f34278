//! What the edge drops before anybody has read it, so that a flood costs one look-up per message and cannot fill the
//! queues that calls in progress need.

use super::policy::{Known, SourcePolicy};
use super::table::Table;
use super::{SipLimits, TokenBucket};
use std::net::IpAddr;
use std::time::Instant;

/// Sources with an entry of their own.
const MAX_SOURCES: usize = 16_384;
/// What all sources without one share, once the table is full, in messages per second.
const CROWD: u32 = 5_000;

/// What one source sends.
#[derive(Clone, Copy, Debug, Default)]
struct Sender {
    messages: TokenBucket,
    connections: TokenBucket,
    blocked_until: Option<Instant>,
}

impl Sender {
    fn blocked(&self, now: Instant) -> bool {
        self.blocked_until.is_some_and(|until| until > now)
    }
}

/// What it dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GateCounts {
    /// Messages of sources that are not served at all, and new requests of blocked ones.
    pub(crate) blocked: u64,
    /// Messages of sources that send too many.
    pub(crate) source: u64,
    /// Connections of either.
    pub(crate) connections: u64,
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Hand it on.
    On,
    /// Drop it.
    Not,
    /// It comes too early: drop a datagram, wait with a stream.
    Later,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate {
    known: Known,
    senders: Table<Sender>,
    crowd: TokenBucket,
    messages: u32,
    connections: u32,
    pub(crate) counts: GateCounts,
}

impl Gate {
    pub(crate) fn new(limits: &SipLimits) -> Self {
        Self {
            known: Known::new(&SourcePolicy::default()),
            senders: Table::new(MAX_SOURCES),
            crowd: TokenBucket::default(),
            messages: limits.messages_per_source,
            connections: limits.connections_per_source,
            counts: GateCounts::default(),
        }
    }

    pub(crate) fn set_policy(&mut self, policy: &SourcePolicy) {
        self.known = Known::new(policy);
    }

    /// From now on new requests of this address are dropped.
    pub(crate) fn block(&mut self, now: Instant, address: IpAddr, until: Instant) {
        self.senders.entry(now, address, |sender| sender.blocked(now)).blocked_until = Some(until);
    }

    /// Whether a message goes on; `new` when it asks for something new.
    pub(crate) fn message(&mut self, now: Instant, address: IpAddr, new: bool) -> Pass {
        if self.known.trusts(address) {
            return Pass::On;
        }
        let (denied, rate) = (self.known.denies(address), self.messages);
        let pass = match self.of(now, address) {
            _ if denied => Pass::Not,
            // Others may be behind the same address: their calls go on.
            Some(sender) if new && sender.blocked(now) => Pass::Not,
            Some(sender) => {
                if rate == 0 || sender.messages.take(now, rate) {
                    Pass::On
                } else {
                    Pass::Later
                }
            }
            None => Pass::Later,
        };
        match pass {
            Pass::On => {}
            Pass::Not => self.counts.blocked += 1,
            Pass::Later => self.counts.source += 1,
        }
        pass
    }

    /// Whether a connection from this address is taken on.
    pub(crate) fn connection(&mut self, now: Instant, address: IpAddr) -> bool {
        if self.known.trusts(address) {
            return true;
        }
        let rate = self.connections;
        let taken = !self.known.denies(address)
            && self
                .of(now, address)
                .is_some_and(|sender| !sender.blocked(now) && (rate == 0 || sender.connections.take(now, rate)));
        if !taken {
            self.counts.connections += 1;
        }
        taken
    }

    fn of(&mut self, now: Instant, address: IpAddr) -> Option<&mut Sender> {
        if self.senders.full() && self.senders.get(address).is_none() && !self.crowd.take(now, CROWD) {
            return None;
        }
        Some(self.senders.entry(now, address, |sender| sender.blocked(now)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some first moment")]
    use super::*;
    use std::time::Duration;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_source_has_its_rate_and_trusted_ones_have_none() {
        let now = Instant::now();
        let mut gate = Gate::new(&SipLimits { messages_per_source: 10, ..SipLimits::default() });
        let passed = |gate: &mut Gate, from| (0..100).filter(|_| gate.message(now, from, true) == Pass::On).count();
        assert_eq!(passed(&mut gate, ip("192.0.2.1")), 10);
        assert_eq!(passed(&mut gate, ip("192.0.2.2")), 10);
        assert_eq!(passed(&mut gate, ip("127.0.0.1")), 100);
        assert_eq!(gate.counts.source, 180);
    }

    #[test]
    fn a_blocked_source_keeps_its_calls_and_a_denied_one_keeps_nothing() {
        let now = Instant::now();
        let mut gate = Gate::new(&SipLimits::default());
        let bad = ip("192.0.2.1");
        gate.block(now, bad, now + Duration::from_secs(60));
        assert_eq!(gate.message(now, bad, true), Pass::Not);
        assert_eq!(gate.message(now, bad, false), Pass::On);
        assert!(!gate.connection(now, bad));
        let later = now + Duration::from_secs(61);
        assert_eq!(gate.message(later, bad, true), Pass::On);
        assert!(gate.connection(later, bad));
        gate.set_policy(&SourcePolicy { denied: vec!["192.0.2.0/24".parse().unwrap()], ..SourcePolicy::default() });
        assert_eq!(gate.message(later, bad, false), Pass::Not);
    }

    #[test]
    fn forged_sources_share_what_is_left_and_fill_nothing() {
        let now = Instant::now();
        let mut gate = Gate::new(&SipLimits::default());
        for n in 0..200_000_u32 {
            gate.message(now, IpAddr::from((n | 0x0b00_0000).to_be_bytes()), true);
        }
        assert_eq!(gate.senders.len(), MAX_SOURCES);
        assert!(gate.counts.source > 150_000);
    }
}
