//! Redirects of our INVITE (RFC 3261 §8.1.3.4, §13.2.2.2): followed where the user of the stack allows it, in order of
//! `q`, one at a time, each at most once.

use super::clients::Ways;
use super::core::Core;
use super::flow::{Flow, TransactionId, Transport};
use super::leg::{Ending, Leg, Phase};
use super::next_hop::NextHop;
use super::policy::Redirects;
use super::uac::Again;
use crate::wire::{Field, Message, Method, NameAddr, Scheme, StartLine, Uri};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Contacts of one redirect that are looked at.
const MAX_CONTACTS: usize = 16;
/// How long a host name may be looked up.
const LOOKUP: Duration = Duration::from_secs(5);

/// Where a call may go, and where it has been.
#[derive(Debug, Default)]
pub(crate) struct Redirect {
    allowed: Redirects,
    by_proxy: bool,
    targets: VecDeque<Uri>,
    tried: Vec<Uri>,
    lookup: Option<Lookup>,
}

/// A target whose host is being looked up, and the INVITE that is sent to it again.
#[derive(Debug)]
struct Lookup {
    target: Uri,
    again: Box<Again>,
    until: Instant,
}

impl Redirect {
    pub(crate) fn new(allowed: Redirects, by_proxy: bool, first: Uri) -> Self {
        Self { allowed, by_proxy, tried: vec![first], ..Self::default() }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lookup.as_ref().map(|lookup| lookup.until)
    }

    /// The next target that may be tried.
    fn next(&mut self) -> Option<Uri> {
        if self.tried.len() > usize::from(self.allowed.max) {
            return None;
        }
        let target = std::iter::from_fn(|| self.targets.pop_front()).find(|target| {
            matches!(target.scheme(), Scheme::Sip | Scheme::Sips)
                && self.allowed.hosts.iter().any(|host| host.eq_ignore_ascii_case(target.host()))
                && !self.tried.contains(target)
        })?;
        self.tried.push(target.clone());
        Some(target)
    }
}

/// The targets of a redirect, the best first (`q`, RFC 3261 §20.10).
pub(crate) fn targets(response: &Message) -> Vec<Uri> {
    let contacts = response.addresses(Field::Contact).unwrap_or_default();
    let mut weighed: Vec<(u16, Uri)> =
        contacts.iter().take(MAX_CONTACTS).map(|contact| (weight(contact), contact.uri.clone())).collect();
    // Stable: equals stay in the order of their author.
    weighed.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    weighed.into_iter().map(|(_, uri)| uri).collect()
}

/// `q` in thousandths; 1 where there is none.
fn weight(contact: &NameAddr) -> u16 {
    let q = contact.params.text("q").and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
    // The cast saturates, and has nothing to do with a value that is no number.
    (q.clamp(0.0, 1.0) * 1_000.0) as u16
}

impl Leg {
    /// A final response that is no success: says whether the call goes on to another target.
    pub(crate) fn redirected(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        response: &Message,
        status: u16,
    ) -> bool {
        if self.over() || self.redirect.allowed.max == 0 {
            return false;
        }
        match status {
            300..=399 => {
                let found = targets(response).into_iter().map(|uri| uri.as_request_target());
                // A redirect of a redirect takes the place of the target it came from.
                let rest = std::mem::take(&mut self.redirect.targets);
                self.redirect.targets = found.chain(rest).take(MAX_CONTACTS).collect();
            }
            // Nobody else will take the call either (RFC 3261 §21.6).
            600.. => return false,
            _ => {}
        }
        let Some(again) = Again::of(core, transaction) else { return false };
        self.go_on(core, now, Box::new(again))
    }

    fn go_on(&mut self, core: &mut Core, now: Instant, again: Box<Again>) -> bool {
        while let Some(target) = self.redirect.next() {
            if self.redirect.by_proxy {
                let flow = again.ways.flow;
                self.redirect_to(core, now, *again, target, vec![flow]);
                return true;
            }
            // A transport that we do not speak leads nowhere.
            let Ok(hop) = NextHop::of(&target) else { continue };
            if let Some(ip) = hop.ip() {
                let transport = hop.transport.unwrap_or(Transport::Udp);
                let remote = SocketAddr::new(ip, hop.port.unwrap_or(transport.default_port()));
                let flow = Flow { transport, remote, connection: None, redial: None, name: None, ..again.ways.flow };
                self.redirect_to(core, now, *again, target, vec![flow]);
            } else {
                self.redirect.lookup = Some(Lookup { target, again, until: now + LOOKUP });
                core.outputs.push_back(super::Output::Resolve { leg: self.id, hop });
            }
            return true;
        }
        false
    }

    fn redirect_to(&mut self, core: &mut Core, now: Instant, mut again: Again, target: Uri, ways: Vec<Flow>) {
        let mut ways = ways.into_iter();
        let Some(flow) = ways.next() else { return };
        tracing::debug!(sip_call = %self.name(), "a redirect is followed");
        again.message.start = StartLine::Request { method: Method::Invite, uri: target };
        // What answered the first server's challenge is not for the second.
        for field in [Field::Authorization, Field::ProxyAuthorization] {
            again.message.headers.remove(field);
        }
        again.ways = Ways { flow: core.settle_listener(flow), or_tcp: false, others: ways.collect() };
        self.invite_once_more(core, now, again);
    }

    /// The ways to the host that was looked up; none where it was not found.
    pub(crate) fn redirect_resolved(&mut self, core: &mut Core, now: Instant, ways: Vec<Flow>) {
        let Some(Lookup { target, again, .. }) = self.redirect.lookup.take() else { return };
        if !matches!(self.phase, Phase::Calling(_)) || self.over() {
            return;
        }
        if ways.is_empty() {
            self.redirect_lost(core, now, again);
        } else {
            self.redirect_to(core, now, *again, target, ways);
        }
    }

    /// The look-up takes too long, or failed: the next target, then.
    pub(crate) fn redirect_due(&mut self, core: &mut Core, now: Instant) {
        let Some(lookup) = self.redirect.lookup.take_if(|lookup| lookup.until <= now) else { return };
        self.redirect_lost(core, now, lookup.again);
    }

    fn redirect_lost(&mut self, core: &mut Core, now: Instant, again: Box<Again>) {
        if !self.go_on(core, now, again) {
            self.phase = Phase::Down;
            let reason = Some("the host of the redirect was not found".to_owned());
            self.end(core, now, Ending { by_remote: true, status: Some(404), reason, ..Ending::default() });
        }
    }

    /// The call is given up while no INVITE is on its way.
    pub(crate) fn redirect_given_up(&mut self) -> bool {
        let looking = self.redirect.lookup.take().is_some();
        if looking {
            self.phase = Phase::Down;
        }
        looking
    }
}
