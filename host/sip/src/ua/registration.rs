//! Registering with a carrier or PBX (RFC 3261 §10.2, RFC 3608, RFC 5626): one machine per account.
//!
//! It asks, answers challenges, refreshes in time, tries the next server when one fails, waits longer after each round
//! that failed, and says goodbye. One `Call-ID` and a growing `CSeq` all its life.

use super::Endpoint;
use super::clients::{Owner, Purpose};
use super::core::{Core, Output};
use super::flow::{ConnectionId, Flow, LegId, TransactionId, Transport};
use super::local::phrase;
use super::next_hop::NextHop;
use super::reply::{ALLOW, put};
use super::schedule::Due;
use super::uac::{again, authorise};
use crate::digest::{self, Credentials};
use crate::wire::{Field, Message, Method, NameAddr, Scheme, StartLine, Uri};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How often one REGISTER is sent again with an answer to a challenge: a proxy's, the server's, a stale nonce.
const MAX_CHALLENGES: u8 = 4;
/// Redirects followed in one round.
const MAX_REDIRECTS: u8 = 3;
/// The longest registration that a 423 can make us ask for.
const MAX_EXPIRES: Duration = Duration::from_secs(7 * 86_400);
/// RFC 5626 §4.5: the first wait after all servers failed, doubled with each round, and the longest.
const FAILED_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(1_800);
/// The first wait after a server said no: what is wrong has to be put right by a person, and who asks too often is shut out.
const REFUSED_WAIT: Duration = Duration::from_secs(300);
/// The longest `Retry-After` that is obeyed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// How long a look-up of names may take.
const LOCATING: Duration = Duration::from_secs(15);
/// Service routes taken from one answer.
const MAX_ROUTES: usize = 8;

/// Names a registration inside one stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistrationId(pub u64);

/// An account to register.
#[derive(Clone, Debug)]
pub struct Register {
    /// The address of record: `To` and `From`.
    pub aor: Uri,
    /// The request URI: the registrar's domain.
    pub registrar: Uri,
    /// Where to send it: tried in this order.
    pub hops: Vec<NextHop>,
    /// The user in our `Contact`, which calls to us will ask for.
    pub contact_user: Option<String>,
    /// For challenges.
    pub credentials: Option<Credentials>,
    /// How long to register for; the registrar may grant less.
    pub expires: Duration,
    /// `urn:uuid:…` of this device, without brackets; the same after a restart.
    pub instance: Option<String>,
}

/// How a registration stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrationState {
    /// Being asked for, for the first time or after its connection was lost.
    Trying,
    /// Calls reach us.
    Registered {
        /// When it would run out; it is refreshed long before.
        until: Instant,
    },
    /// Calls do not reach us. It is tried again.
    Failed {
        /// What the registrar said; none when nothing answered.
        status: Option<u16>,
        /// Its reason phrase, or what went wrong.
        reason: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// Given up by its user, and forgotten.
    Gone,
}

/// How calls that use a registration go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The way to the server we are registered with.
    pub flow: Flow,
    /// Preloaded `Route` values (`Service-Route`, RFC 3608).
    pub routes: Vec<Bytes>,
    /// The address of record.
    pub aor: Uri,
    /// What the registrar's challenges were answered with.
    pub credentials: Option<Credentials>,
}

#[derive(Debug)]
enum Phase {
    /// The next hop is being looked up; if it takes too long, it failed.
    Locating(Instant),
    /// A REGISTER is on its way; where another server could be asked, for so long.
    Asking(TransactionId, Option<Instant>),
    /// Nothing to do until then: to refresh, or to try again.
    Waiting(Instant),
    /// A REGISTER that removes our contact is on its way.
    Leaving(TransactionId),
    /// Nothing is left to do.
    Over,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Registration {
    id: RegistrationId,
    config: Register,
    call_id: Bytes,
    tag: String,
    cseq: u32,
    expires: Duration,
    digest: Option<digest::Client>,
    phase: Phase,
    /// The hops not tried in this round, and the ways to the one that is being tried.
    hops: VecDeque<NextHop>,
    ways: VecDeque<Flow>,
    /// Where a redirect sent us, for this round.
    redirected: Option<Uri>,
    redirects: u8,
    challenges: u8,
    /// The way by which we are registered, or last asked.
    flow: Option<Flow>,
    until: Option<Instant>,
    routes: Vec<Bytes>,
    /// Rounds that failed in a row.
    failures: u32,
    leaving: bool,
    /// When the NAT is to be kept open.
    ping: Option<Instant>,
    armed: Option<Instant>,
}

/// How a client keeps a NAT open for datagrams (RFC 5626 §4.4.2 asks for 24 to 29 seconds).
const PING_EVERY: u32 = 24_000;
const PING_JITTER: u32 = 5_000;

impl Registration {
    fn new(core: &mut Core, now: Instant, id: RegistrationId, config: Register) -> Self {
        Self {
            id,
            call_id: core.names.call_id().into(),
            tag: core.names.tag(),
            cseq: 0,
            expires: config.expires.max(Duration::from_secs(1)),
            digest: config.credentials.clone().map(digest::Client::new),
            phase: Phase::Waiting(now),
            hops: VecDeque::new(),
            ways: VecDeque::new(),
            redirected: None,
            redirects: 0,
            challenges: 0,
            flow: None,
            until: None,
            routes: Vec::new(),
            failures: 0,
            leaving: false,
            ping: None,
            armed: None,
            config,
        }
    }

    fn tell(&self, core: &mut Core, state: RegistrationState) {
        core.outputs.push_back(Output::Registration { registration: self.id, state });
    }

    /// Begins a round: first the way that served before, then every hop.
    fn begin(&mut self, core: &mut Core, now: Instant) {
        self.hops = self.config.hops.iter().cloned().collect();
        self.ways = self.flow.into_iter().collect();
        self.redirected = None;
        self.redirects = 0;
        self.next_way(core, now, None, "no server to register with");
    }

    /// Asks by the next way; without one the round is over, for the reason given.
    fn next_way(&mut self, core: &mut Core, now: Instant, status: Option<(u16, Option<u32>)>, reason: &str) {
        self.challenges = 0;
        if let Some(flow) = self.ways.pop_front() {
            let message = self.compose(core, &flow, self.expires);
            return self.ask(core, now, message, flow);
        }
        if let Some(hop) = self.hops.pop_front() {
            self.phase = Phase::Locating(now + LOCATING);
            core.outputs.push_back(Output::Locate { registration: self.id, hop });
            return;
        }
        let (status, after) = status.map_or((None, None), |(status, after)| (Some(status), after));
        self.failed(core, now, FAILED_WAIT, status, reason, after);
    }

    fn ask(&mut self, core: &mut Core, now: Instant, message: Message, flow: Flow) {
        let owner = Owner { leg: LegId(self.id.0), purpose: Purpose::Register };
        let transaction = core.request(now, message, flow, false, owner);
        // The one that keeps silent is not waited for to the end while others may answer (RFC 3263 §4.3).
        let others = !self.ways.is_empty() || !self.hops.is_empty();
        self.phase = Phase::Asking(transaction, others.then(|| now + 8 * core.config.timing.t1));
    }

    fn compose(&mut self, core: &mut Core, flow: &Flow, expires: Duration) -> Message {
        self.cseq += 1;
        let uri = self.redirected.as_ref().unwrap_or(&self.config.registrar).as_request_target();
        let mut message = Message::request(Method::Register, uri);
        let headers = &mut message.headers;
        put(headers, Field::Via, Bytes::new());
        put(headers, Field::MaxForwards, "70");
        put(headers, Field::From, NameAddr::new(None, self.config.aor.clone()).with_tag(&self.tag).to_bytes());
        put(headers, Field::To, NameAddr::new(None, self.config.aor.clone()).to_bytes());
        put(headers, Field::CallId, self.call_id.clone());
        put(headers, Field::CSeq, format!("{} REGISTER", self.cseq));
        put(headers, Field::Contact, self.contact(core, flow));
        put(headers, Field::Expires, expires.as_secs().to_string());
        put(headers, Field::Supported, "path, outbound");
        put(headers, Field::Allow, ALLOW);
        if !core.config.user_agent.is_empty() {
            put(headers, Field::UserAgent, core.config.user_agent.clone());
        }
        if let Some(digest) = &mut self.digest {
            authorise(core, digest, &mut message);
        }
        message
    }

    /// Our contact, with what tells this device from others of the account (RFC 5626 §4.2).
    fn contact(&self, core: &Core, flow: &Flow) -> Bytes {
        let user = self.config.contact_user.clone().or_else(|| self.config.aor.user_text());
        let ours = Uri::sip(user.as_deref(), flow.local, None);
        let mut value = core.contact(flow, &ours).to_vec();
        if let Some(instance) = &self.config.instance {
            value.extend_from_slice(format!(";+sip.instance=\"<{instance}>\";reg-id=1").as_bytes());
        }
        value.into()
    }

    /// Something became of a REGISTER.
    fn outcome(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        outcome: Result<(&Message, u16, Flow), u16>,
    ) {
        let leaving = match self.phase {
            Phase::Asking(asked, _) if asked == transaction => false,
            Phase::Leaving(asked) if asked == transaction => true,
            _ => return,
        };
        match outcome {
            Ok((_, ..=199, _)) => {}
            Ok((response, 401 | 407, _)) if self.challenged(core, now, transaction, response, leaving) => {}
            _ if leaving => self.gone(core),
            Ok((response, 200..=299, flow)) => self.registered(core, now, response, flow),
            _ if self.leaving => self.gone(core),
            Ok((response, 423, _)) if self.too_brief(response) => {
                let Some(flow) = self.asked_by(core, transaction) else { return };
                let message = self.compose(core, &flow, self.expires);
                self.ask(core, now, message, flow);
            }
            Ok((response, 300..=399, _)) if self.redirected_by(response) => {
                self.ways.clear();
                self.next_way(core, now, Some((300, None)), "moved");
            }
            Ok((response, status @ (408 | 430 | 480 | 500..=599), _)) => {
                self.flow = None;
                self.next_way(core, now, Some((status, response.retry_after())), &phrase(response));
            }
            Ok((response, status, _)) => {
                self.flow = None;
                self.failed(core, now, REFUSED_WAIT, Some(status), &phrase(response), response.retry_after());
            }
            Err(status) => {
                self.flow = None;
                let reason = if status == 408 { "no answer" } else { "the server cannot be reached" };
                self.next_way(core, now, None, reason);
            }
        }
    }

    fn asked_by(&self, core: &Core, transaction: TransactionId) -> Option<Flow> {
        core.clients.get(transaction).map(|client| client.flow)
    }

    /// Answers a challenge; false when there is no answer, or the one given was wrong.
    fn challenged(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: TransactionId,
        response: &Message,
        leaving: bool,
    ) -> bool {
        let Some((request, flow)) = core.clients.get(transaction).map(|c| (c.request.clone(), c.flow)) else {
            return false;
        };
        let Some(digest) = &mut self.digest else { return false };
        if self.challenges >= MAX_CHALLENGES {
            return false;
        }
        let Some(message) = again(core, digest, request, self.cseq + 1, response) else {
            // The realm is asked anew next time: the password may have been put right on the other side.
            self.digest = self.config.credentials.clone().map(digest::Client::new);
            return false;
        };
        self.cseq += 1;
        self.challenges += 1;
        if leaving {
            let owner = Owner { leg: LegId(self.id.0), purpose: Purpose::Register };
            self.phase = Phase::Leaving(core.request(now, message, flow, false, owner));
        } else {
            self.ask(core, now, message, flow);
        }
        true
    }

    /// Takes the least that a 423 asks for.
    fn too_brief(&mut self, response: &Message) -> bool {
        let least = response.headers.text(Field::MinExpires).and_then(|text| text.trim().parse().ok());
        let least = least.map(Duration::from_secs).filter(|least| *least > self.expires && *least <= MAX_EXPIRES);
        self.expires = least.unwrap_or(self.expires);
        least.is_some()
    }

    fn redirected_by(&mut self, response: &Message) -> bool {
        self.redirects += 1;
        let contacts = response.addresses(Field::Contact).unwrap_or_default();
        let fits = |c: &NameAddr| matches!(c.uri.scheme(), Scheme::Sip | Scheme::Sips);
        let Some(target) = contacts.into_iter().find(fits).filter(|_| self.redirects <= MAX_REDIRECTS) else {
            return false;
        };
        let Ok(hop) = NextHop::of(&target.uri) else { return false };
        self.hops.push_front(hop);
        self.redirected = Some(target.uri);
        true
    }

    fn registered(&mut self, core: &mut Core, now: Instant, response: &Message, flow: Flow) {
        let granted = self.granted(core, response, &flow);
        self.flow = Some(flow);
        self.failures = 0;
        self.challenges = 0;
        let routes = response.headers.get_all(Field::ServiceRoute);
        self.routes = routes.filter(|route| NameAddr::parse(route).is_ok()).take(MAX_ROUTES).collect();
        if self.leaving {
            return self.leave(core, now);
        }
        let until = now + granted;
        self.until = Some(until);
        // Half of it is the earliest, nine tenths the latest: phones that registered together part ways.
        let part = 50 + core.names.below(41);
        self.phase = Phase::Waiting(now + (granted * part / 100).max(Duration::from_secs(1)));
        self.ping = (flow.transport == Transport::Udp).then(|| now + ping_in(core));
        self.tell(core, RegistrationState::Registered { until });
    }

    /// How long the registrar keeps us: what it wrote behind our contact, else `Expires`, else what we asked for.
    fn granted(&self, core: &Core, response: &Message, flow: &Flow) -> Duration {
        let contacts = response.addresses(Field::Contact).unwrap_or_default();
        let ours = NameAddr::parse(&self.contact(core, flow)).ok();
        let instance = self.config.instance.as_ref().map(|instance| format!("<{instance}>"));
        let is_ours = |c: &&NameAddr| {
            ours.as_ref().is_some_and(|ours| ours.uri == c.uri)
                || (instance.is_some() && c.params.text("+sip.instance") == instance)
        };
        // Registrars behind NATs rewrite contacts: one alone is ours whatever it says.
        let found = contacts.iter().find(is_ours).or(if let [one] = &contacts[..] { Some(one) } else { None });
        let own = found.and_then(|c| c.params.number("expires"));
        let seconds = own.or_else(|| response.expires().map(u64::from)).unwrap_or(self.expires.as_secs());
        Duration::from_secs(seconds).clamp(Duration::from_secs(1), MAX_EXPIRES)
    }

    fn failed(
        &mut self,
        core: &mut Core,
        now: Instant,
        base: Duration,
        status: Option<u16>,
        reason: &str,
        after: Option<u32>,
    ) {
        if self.leaving {
            return self.gone(core);
        }
        let most = base.saturating_mul(1 << self.failures.min(10)).min(LONGEST_WAIT);
        let wait = most * (50 + core.names.below(51)) / 100;
        let wait = after.map_or(wait, |s| wait.max(Duration::from_secs(s.into()).min(MAX_RETRY_AFTER)));
        self.failures = self.failures.saturating_add(1);
        self.until = None;
        self.ping = None;
        self.routes.clear();
        self.phase = Phase::Waiting(now + wait);
        let reason = reason.to_owned();
        self.tell(core, RegistrationState::Failed { status, reason, retry_in: wait });
    }

    /// The connection by which calls would come is gone: another is opened soon, but not by all clients at once.
    fn disconnected(&mut self, core: &mut Core, now: Instant, connection: ConnectionId) {
        let Some(flow) = self.flow.filter(|flow| flow.connection == Some(connection)) else { return };
        self.flow = Some(Flow { connection: None, ..flow });
        if self.until.take().is_some() && matches!(self.phase, Phase::Waiting(_)) {
            self.phase = Phase::Waiting(now + Duration::from_millis((500 + core.names.below(2_500)).into()));
            self.tell(core, RegistrationState::Trying);
        }
    }

    /// Its user has no use for it any more: the contact is removed, then all is forgotten.
    fn leave(&mut self, core: &mut Core, now: Instant) {
        self.leaving = true;
        if matches!(self.phase, Phase::Asking(..) | Phase::Leaving(_)) && self.until.is_none() && self.flow.is_none() {
            // What becomes of the request on its way decides whether there is something to remove.
            return;
        }
        match self.flow {
            Some(flow) if !matches!(self.phase, Phase::Leaving(_)) => {
                self.challenges = 0;
                let message = self.compose(core, &flow, Duration::ZERO);
                let owner = Owner { leg: LegId(self.id.0), purpose: Purpose::Register };
                self.phase = Phase::Leaving(core.request(now, message, flow, false, owner));
            }
            Some(_) => {}
            None => self.gone(core),
        }
    }

    fn gone(&mut self, core: &mut Core) {
        self.leaving = true;
        self.flow = None;
        self.until = None;
        self.ping = None;
        self.phase = Phase::Over;
        self.tell(core, RegistrationState::Gone);
    }

    fn deadline(&self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Locating(at) | Phase::Waiting(at) => Some(at),
            Phase::Asking(_, at) => at,
            Phase::Leaving(_) | Phase::Over => None,
        };
        [own, self.ping].into_iter().flatten().min()
    }

    fn due(&mut self, core: &mut Core, now: Instant) {
        self.armed = None;
        if self.ping.is_some_and(|at| at <= now)
            && let Some(flow) = self.flow
        {
            self.ping = Some(now + ping_in(core));
            core.outputs.push_back(Output::KeepAlive { flow });
        }
        match self.phase {
            Phase::Waiting(at) if at <= now => self.begin(core, now),
            Phase::Locating(at) if at <= now => self.next_way(core, now, None, "the server's name cannot be found"),
            Phase::Asking(transaction, Some(at)) if at <= now => {
                // A first sign of life is reason enough to stay.
                if core.clients.unanswered(transaction) {
                    self.flow = None;
                    self.next_way(core, now, None, "no answer");
                } else {
                    self.phase = Phase::Asking(transaction, None);
                }
            }
            _ => {}
        }
    }

    fn arm(&mut self, core: &mut Core) {
        let deadline = self.deadline();
        core.schedule.arm(&mut self.armed, deadline, Due::Registration(self.id));
    }
}

fn ping_in(core: &mut Core) -> Duration {
    Duration::from_millis((PING_EVERY + core.names.below(PING_JITTER)).into())
}

impl Endpoint {
    /// Registers an account and keeps it registered; [`Output::Registration`] tells how it stands.
    pub fn register(&mut self, now: Instant, register: Register) -> RegistrationId {
        let id = RegistrationId(self.next_leg().0);
        let registration = Registration::new(&mut self.core, now, id, register);
        self.registrations.insert(id, registration);
        self.with_registration(id, |registration, core| registration.begin(core, now));
        id
    }

    /// Removes the contact of a registration, then forgets it; the last state is [`RegistrationState::Gone`].
    pub fn unregister(&mut self, now: Instant, id: RegistrationId) {
        self.with_registration(id, |registration, core| registration.leave(core, now));
    }

    /// The same for all.
    pub fn unregister_all(&mut self, now: Instant) {
        let all: Vec<RegistrationId> = self.registrations.keys().copied().collect();
        all.into_iter().for_each(|id| self.unregister(now, id));
    }

    /// The ways to the hop asked for by [`Output::Locate`], best first; none where it was not found.
    pub fn located(&mut self, now: Instant, id: RegistrationId, ways: Vec<Flow>) {
        self.with_registration(id, |registration, core| {
            if matches!(registration.phase, Phase::Locating(_)) {
                registration.ways = ways.into();
                registration.next_way(core, now, None, "the server's name cannot be found");
            }
        });
    }

    /// How calls by this registration go out, while it stands.
    #[must_use]
    pub fn line(&self, id: RegistrationId) -> Option<Line> {
        let registration = self.registrations.get(&id)?;
        registration.until?;
        Some(Line {
            flow: registration.flow?,
            routes: registration.routes.clone(),
            aor: registration.config.aor.clone(),
            credentials: registration.config.credentials.clone(),
        })
    }

    /// Registrations that are not forgotten.
    #[must_use]
    pub fn registrations(&self) -> usize {
        self.registrations.len()
    }

    /// A connection of the edge is gone.
    pub fn disconnected(&mut self, now: Instant, connection: ConnectionId) {
        if let Some(registrar) = &mut self.registrar {
            registrar.bindings.disconnected(connection);
        }
        let of = |r: &Registration| r.flow.is_some_and(|flow| flow.connection == Some(connection));
        let ids: Vec<RegistrationId> = self.registrations.iter().filter(|(_, r)| of(r)).map(|(id, _)| *id).collect();
        for id in ids {
            self.with_registration(id, |registration, core| registration.disconnected(core, now, connection));
        }
    }

    /// The registration that brought a request here: by its connection, or from its server to its contact.
    pub(super) fn registration_of(&self, request: &Message, flow: &Flow) -> Option<RegistrationId> {
        let StartLine::Request { uri, .. } = &request.start else { return None };
        let user = uri.user_text();
        let brings = |r: &&Registration| {
            let contact = r.config.contact_user.clone().or_else(|| r.config.aor.user_text());
            r.flow.is_some_and(|ours| match ours.connection {
                Some(connection) if flow.connection == Some(connection) => contact == user,
                _ => contact == user && ours.remote == flow.remote,
            })
        };
        self.registrations.values().filter(|r| r.until.is_some()).find(brings).map(|r| r.id)
    }

    pub(super) fn registration_outcome(
        &mut self,
        now: Instant,
        id: RegistrationId,
        transaction: TransactionId,
        outcome: Result<(&Message, u16, Flow), u16>,
    ) {
        self.with_registration(id, |registration, core| registration.outcome(core, now, transaction, outcome));
    }

    pub(super) fn registration_due(&mut self, now: Instant, id: RegistrationId) {
        self.with_registration(id, |registration, core| registration.due(core, now));
    }

    fn with_registration(&mut self, id: RegistrationId, act: impl FnOnce(&mut Registration, &mut Core)) {
        let Some(registration) = self.registrations.get_mut(&id) else { return };
        act(registration, &mut self.core);
        registration.arm(&mut self.core);
        if matches!(registration.phase, Phase::Over) {
            self.registrations.remove(&id);
        }
    }
}
