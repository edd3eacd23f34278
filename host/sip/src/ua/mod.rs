//! The user agent core: one state machine that holds all transactions and dialogs of a host.
//!
//! Whoever drives an [`Endpoint`] hands in messages and commands with the time, drains [`Endpoint::poll_output`] until
//! nothing is left, and calls [`Endpoint::timeout`] at [`Endpoint::deadline`]. Nothing here reads a clock, draws
//! randomness from the system, opens a socket, spawns or blocks; two endpoints and a simulated network between them
//! make every race of the protocol a test.

pub(crate) mod accounts;
mod agreed;
mod clients;
mod commands;
mod core;
mod digits;
mod error;
mod event;
pub(crate) mod flow;
mod forks;
#[doc(hidden)]
pub mod fuzz;
mod leg;
mod local;
mod names;
mod next_hop;
mod policy;
mod probe;
mod reason;
mod redirect;
mod refer;
mod referred;
mod registration;
mod reliable;
mod replaces;
mod reply;
mod schedule;
mod servers;
mod session;
mod timers;
mod uac;
mod uas;

pub use self::core::{EndpointConfig, EndpointStats, Listener, Output};
pub use crate::digest::Credentials;
pub use accounts::{LookupId, RegistrarStats};
pub use error::SipError;
pub use event::{DialogEvent, Identity, InviteInfo, Replaced};
pub(crate) use flow::host_of;
pub use flow::{ConnectionId, Flow, LegId, PeerName, TransactionId, Transmit, Transport};
pub use next_hop::{NextHop, NextHopError};
pub use policy::{DialogPolicy, Redirects, Reliable};
pub use probe::{Pong, Probe, ProbeId};
pub use reason::{cause_for_status, status_for_cause};
pub use registration::{Line, Register, RegistrationId, RegistrationState};
pub use uac::Invite;

use self::core::Core;
pub(crate) use self::core::sent_by;
use crate::dialog::DialogState;
use crate::overload::{Calls, Offence, Refusal, Silence, SourcePolicy};
use crate::wire::{self, Body, Field, HeaderName, Message, Method, Support};
use accounts::{Pending, Registrar, Verdict};
use bytes::Bytes;
use clients::{Outcome, Owner, Purpose};
use leg::Leg;
use registration::Registration;
pub(crate) use reply::put;
use reply::{Reply, serialise, server_key};
use schedule::Due;
use servers::Request;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// A message from the network.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The datagram, or one frame of a stream.
    pub bytes: Bytes,
    /// The way it came; `remote` is its source.
    pub flow: Flow,
    /// How long it waited before it was handed in.
    pub age: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct Endpoint {
    core: Core,
    legs: HashMap<LegId, Leg>,
    /// By Call-ID and our tag.
    dialogs: HashMap<(Bytes, String), LegId>,
    last_leg: u64,
    /// Legs whose user has not been told of an end.
    active: usize,
    /// Those of them whose INVITE may have a forged source: it came by a datagram from somebody unknown, and nothing
    /// that we sent was acknowledged yet.
    unproven: HashSet<LegId>,
    registrar: Option<Box<Registrar>>,
    registrations: HashMap<RegistrationId, Registration>,
    /// OPTIONS without an answer, and when they were sent.
    probes: HashMap<ProbeId, Instant>,
}

impl Endpoint {
    /// An endpoint without calls.
    #[must_use]
    pub fn new(config: EndpointConfig) -> Self {
        Self {
            core: Core::new(config),
            legs: HashMap::new(),
            dialogs: HashMap::new(),
            last_leg: 0,
            active: 0,
            unproven: HashSet::new(),
            registrar: None,
            registrations: HashMap::new(),
            probes: HashMap::new(),
        }
    }

    /// What it wants done next. To be drained after every call of another function.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.core.outputs.pop_front()
    }

    /// When [`timeout`](Self::timeout) wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.core.schedule.next()
    }

    /// Fires every timer that is due.
    pub fn timeout(&mut self, now: Instant) {
        while let Some(due) = self.core.schedule.pop(now) {
            match due {
                Due::Client(id) => {
                    let outcome = self.core.client_due(now, id);
                    self.outcome(now, id, outcome, None);
                }
                Due::Server(id) => self.core.server_due(now, id),
                Due::Leg(id) => self.with(id, |leg, core| leg.due(core, now)).unwrap_or_default(),
                Due::Registration(id) => self.registration_due(now, id),
                Due::Registrar => self.registrar_due(now),
            }
        }
    }

    /// Takes a message from the network.
    pub fn receive(&mut self, now: Instant, incoming: Incoming) {
        let Incoming { bytes, flow, age } = incoming;
        self.core.stats.messages_received += 1;
        let source = flow.remote.ip();
        if self.core.admission.denied(source) {
            self.core.stats.dropped_denied += 1;
            return;
        }
        match wire::parse_bytes(bytes) {
            Ok(message) if message.is_request() => self.request(now, message, flow, age),
            Ok(message) => self.response(now, &message, flow),
            Err(error) => {
                self.core.stats.parse_errors += 1;
                tracing::debug!(source = %flow.remote, %error, "a message does not parse");
                self.core.admission.offence(now, source, Offence::Unreadable);
                if let Some(rejection) = error.rejection
                    && self.may_answer(now, &flow, &Method::Options)
                {
                    self.refuse_unread(&rejection, flow);
                }
            }
        }
    }

    /// The edge could not send a request ([`Transmit::transaction`]): its transport failed.
    pub fn unsendable(&mut self, now: Instant, transaction: TransactionId) {
        let outcome = self.core.unsendable(now, transaction);
        self.outcome(now, transaction, outcome, None);
    }

    /// The network said that the request with this branch did not reach its destination.
    pub fn unreachable(&mut self, now: Instant, branch: String) {
        // A CANCEL has the branch of its INVITE, which the destination had answered when it was sent.
        if let Some(transaction) = self.core.clients.find(branch, false) {
            self.unsendable(now, transaction);
        }
    }

    /// The ways to the next hop of this leg, best first, asked for by [`Output::Resolve`]. None says that the name
    /// leads nowhere: requests go the way the dialog was made.
    pub fn resolved(&mut self, now: Instant, leg: LegId, ways: Vec<Flow>) {
        self.with(leg, |leg, core| match &mut leg.dialog {
            Some(dialog) => dialog.resolved(ways),
            None => leg.redirect_resolved(core, now, ways),
        });
    }

    /// The way by which the dialog of a leg was made.
    #[must_use]
    pub fn made_on(&self, leg: LegId) -> Option<Flow> {
        Some(self.legs.get(&leg)?.dialog.as_ref()?.made_on())
    }

    /// Places a call; its leg's events tell how it goes.
    ///
    /// # Errors
    /// [`SipError::TooManyCalls`], [`SipError::Closed`] while draining.
    pub fn invite(&mut self, now: Instant, invite: Invite) -> Result<LegId, SipError> {
        let max = self.core.admission.limits().max_calls;
        if self.core.admission.draining() {
            return Err(SipError::Closed);
        }
        if self.active >= max {
            return Err(SipError::TooManyCalls(max));
        }
        self.core.stats.calls_out += 1;
        let id = self.next_leg();
        let leg = Leg::outgoing(&mut self.core, now, id, invite);
        tracing::debug!(sip_call = %leg.name(), "calling");
        self.add(leg);
        Ok(id)
    }

    /// From now on this is known of the sources of messages.
    pub fn set_sources(&mut self, policy: &SourcePolicy) {
        self.core.admission.set_policy(policy);
    }

    /// A source that was blocked, and until when; each once. The edge drops its new requests unread then.
    pub fn new_block(&mut self) -> Option<(IpAddr, Instant)> {
        self.core.admission.new_block()
    }

    /// While on, new calls and OPTIONS get 503.
    pub fn drain(&mut self, on: bool) {
        self.core.admission.drain(on);
    }

    /// The `Call-ID` of a leg.
    #[must_use]
    pub fn call_id(&self, leg: LegId) -> Option<String> {
        self.legs.get(&leg).map(|leg| leg.name().into_owned())
    }

    /// What refusals for want of room carry.
    pub fn retry_after(&mut self) -> (HeaderName, Bytes) {
        let chance = self.core.names.below(u32::MAX);
        (Field::RetryAfter.into(), Bytes::from(self.core.admission.retry_after(chance).to_string()))
    }

    /// Calls that are not over.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.active
    }

    /// What it still remembers: legs, client and server transactions.
    #[must_use]
    pub fn remembered(&self) -> (usize, usize, usize) {
        (self.legs.len().max(self.dialogs.len()), self.core.clients.len(), self.core.servers.len())
    }

    /// What went by.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        let (sources, sources_blocked) = self.core.admission.counts();
        EndpointStats { sources, sources_blocked, ..self.core.stats }
    }

    // --- Requests ---

    fn request(&mut self, now: Instant, mut message: Message, flow: Flow, age: Duration) {
        let (Some(method), Ok(via)) = (message.method().cloned(), message.top_via()) else { return };
        let invite_key = server_key(&message, &via, &Method::Invite);
        if method == Method::Ack {
            return self.ack_came(now, &message, flow.remote.ip(), invite_key.as_deref());
        }
        let key = if method == Method::Invite { invite_key.clone() } else { server_key(&message, &via, &method) };
        let Some(key) = key else { return };
        if let Some(transaction) = self.core.servers.find(&key) {
            if self.may_answer(now, &flow, &Method::Options) {
                self.core.request_repeated(transaction);
            }
            return;
        }
        // Where responses go (RFC 3261 §18.2.2, RFC 3581): to the source where rport asks for it, else to the source's
        // address at the port of sent-by; over a stream by the same connection. A client that names a private address of
        // its own is behind a NAT, where nothing but the source's port leads in, asked for or not. maddr is ignored: it
        // would let anybody aim our answers.
        let named = SocketAddr::new(flow.remote.ip(), via.port().unwrap_or(flow.transport.default_port()));
        let back = match flow.transport {
            Transport::Udp if via.rport().is_some() => flow,
            Transport::Udp if via.ip().is_some_and(|ip| flow::hidden(ip, flow.remote.ip())) => flow,
            Transport::Udp => Flow { remote: named, ..flow },
            _ => Flow { redial: Some(named), ..flow },
        };
        if flow.transport == Transport::Tls && via.params.get("alias").is_some() {
            self.core.outputs.push_back(Output::Alias { flow, port: named.port() });
        }
        message.stamp_source(flow.remote);
        let Ok(to) = message.to() else { return };
        if method == Method::Cancel {
            let invite = invite_key.and_then(|key| self.core.servers.find(&key));
            return self.cancel_came(
                now,
                &message,
                Request { message: &message, method, key, merged: None, flow: back },
                invite,
            );
        }
        if let Some(tag) = to.tag() {
            return self.in_dialog(
                now,
                &message,
                Request { message: &message, method, key, merged: None, flow: back },
                flow,
                tag,
            );
        }
        if !self.takes_on(now, &message, &method, &flow) {
            return;
        }
        if let Some(reply) = session::outside(&message, &method) {
            return self.reply_stateless(&message, reply, back);
        }
        if method == Method::Register && self.registrar.is_some() {
            let request = Request { message: &message, method, key, merged: None, flow: back };
            return self.register_came(now, &message, request, flow);
        }
        let registrar = self.registrar.is_some();
        if let Err(rejection) = wire::screen(&message, &self.support(registrar)) {
            self.refuse_unread(&rejection, back);
            return;
        }
        match method {
            Method::Invite => {
                self.call_came(
                    now,
                    &message,
                    Request { message: &message, method, key, merged: None, flow: back },
                    flow,
                    age,
                );
            }
            Method::Options if self.core.admission.draining() => {
                let reply = self.unavailable(&message);
                self.reply_stateless(&message, reply, back);
            }
            Method::Options => {
                let allow = if registrar { reply::ALLOW_OF_REGISTRAR } else { reply::ALLOW };
                let reply = session::capabilities(self.core.config.policy.reliable, allow);
                self.reply_stateless(&message, reply, back);
            }
            Method::Refer => self.reply_stateless(&message, Reply::new(603), back),
            // BYE, INFO, UPDATE, NOTIFY without a dialog.
            _ => self.reply_stateless(&message, Reply::new(481), back),
        }
    }

    /// Whether a request that belongs to nothing is looked at, or dropped without a word.
    fn takes_on(&mut self, now: Instant, message: &Message, method: &Method, flow: &Flow) -> bool {
        let agent = message.headers.text(Field::UserAgent);
        let name = message.from().map(|from| from.display_text()).ok();
        let names = [agent.as_deref(), name.as_deref()].into_iter().flatten();
        let Err(silence) = self.core.admission.request(now, flow.remote.ip(), method, names) else {
            return self.may_answer(now, flow, method);
        };
        let stats = &mut self.core.stats;
        *match silence {
            Silence::Blocked => &mut stats.dropped_blocked,
            Silence::Scanner => &mut stats.dropped_scanner,
            Silence::Stranger => &mut stats.dropped_stranger,
            Silence::Source => &mut stats.dropped_source,
        } += 1;
        false
    }

    /// Whether a message may be answered that proves nothing about its source; `method` says how much is sent.
    fn may_answer(&mut self, now: Instant, flow: &Flow, method: &Method) -> bool {
        let may = flow.transport.reliable() || self.core.admission.answer(now, flow.remote.ip(), method);
        if !may {
            self.core.stats.dropped_answers += 1;
        }
        may
    }

    fn ack_came(&mut self, now: Instant, ack: &Message, source: IpAddr, invite_key: Option<&[u8]>) {
        if let Some(transaction) = invite_key.and_then(|key| self.core.servers.find(key))
            && !self.core.request_acknowledged(now, transaction)
        {
            return;
        }
        match self.leg_of(ack) {
            Some(leg) => {
                self.core.admission.reached(now, source);
                self.unproven.remove(&leg);
                if self.legs.get(&leg).is_some_and(|leg| leg.accepted.is_some()) {
                    self.core.admission.good_call(now, source);
                }
                self.with(leg, |leg, core| leg.acknowledged(core, now, ack)).unwrap_or_default();
            }
            None => self.core.stats.strays += 1,
        }
    }

    fn cancel_came(&mut self, now: Instant, cancel: &Message, request: Request<'_>, invite: Option<TransactionId>) {
        let Some(invite) = invite.filter(|invite| self.core.servers.get(*invite).is_some()) else {
            if self.may_answer(now, &request.flow, &Method::Cancel) {
                self.reply_stateless(cancel, Reply::new(481), request.flow);
            }
            return;
        };
        // The same tag as in the responses to the INVITE (RFC 3261 §9.2, and 8.2.6.2).
        let (leg, tag) = self.core.servers.get(invite).map(|s| (s.leg, s.to_tag())).unwrap_or_default();
        let transaction = self.core.serve(request, leg, tag);
        self.core.respond(now, transaction, Reply::new(200));
        if let Some(leg) = leg
            && self.core.servers.pending(invite)
            && self.with(leg, |leg, core| leg.cancelled(core, now, invite, cancel)).is_none()
        {
            self.waiting_cancelled(now, invite);
        }
    }

    fn in_dialog(&mut self, now: Instant, message: &Message, request: Request<'_>, flow: Flow, tag: String) {
        let Some(leg) = self.leg_of(message) else {
            if self.may_answer(now, &flow, &request.method) {
                let reply = session::outside(message, &request.method).unwrap_or_else(|| Reply::new(481));
                self.reply_stateless(message, reply, request.flow);
            }
            return;
        };
        self.core.admission.reached(now, flow.remote.ip());
        // Each request below costs memory for 32 s, so a peer in a call has its limit, too.
        if self.legs.get_mut(&leg).is_some_and(|leg| !leg.pace.take(now, REQUESTS_PER_LEG)) {
            self.core.stats.dropped_dialog += 1;
            return;
        }
        if request.method != Method::Subscribe
            && let Err(rejection) = wire::screen(message, &self.support(false))
        {
            return self.refuse_unread(&rejection, request.flow);
        }
        let method = request.method.clone();
        let transaction = self.core.serve(request, Some(leg), Some(tag));
        self.with(leg, |leg, core| leg.requested(core, now, transaction, &method, message, flow));
    }

    /// An INVITE outside of any dialog.
    fn call_came(&mut self, now: Instant, invite: &Message, mut request: Request<'_>, flow: Flow, age: Duration) {
        let merged = merge_key(invite);
        if self.core.servers.is_merged(&merged) {
            return self.reply_stateless(invite, Reply::new(482), request.flow);
        }
        let verdict = match self.whose_call(now, invite, flow, request.flow) {
            Verdict::Over => return,
            verdict => verdict,
        };
        if let Err(refusal) = self.core.admission.invite(now, age, self.calls_for(&flow), flow.remote.ip()) {
            let counter = match refusal {
                Refusal::Draining => &mut self.core.stats.shed_draining,
                Refusal::Stale => &mut self.core.stats.shed_stale,
                Refusal::Calls => &mut self.core.stats.shed_calls,
                Refusal::Rate => &mut self.core.stats.shed_rate,
            };
            *counter += 1;
            let reply = self.unavailable(invite);
            return self.reply_stateless(invite, reply, request.flow);
        }
        if invite.sdp() == Body::Unsupported {
            let reply = Reply::new(415).text(Field::Accept, reply::ACCEPT);
            return self.reply_stateless(invite, reply, request.flow);
        }
        let policy = self.core.config.policy;
        let knows = |field| invite.headers.lists(field, "100rel");
        if policy.reliable == Reliable::Required && !knows(Field::Supported) && !knows(Field::Require) {
            return self.reply_stateless(invite, Reply::new(421).text(Field::Require, "100rel"), request.flow);
        }
        if let Err(reply) = timers::grant(&policy, invite, None) {
            return self.reply_stateless(invite, reply, request.flow);
        }
        let tag = self.core.names.tag();
        request.merged = Some(merged);
        let id = self.next_leg();
        let back = request.flow;
        // The dialog is made first: an INVITE that makes none is refused without leaving a trace.
        if let Err(error) = DialogState::from_invite(invite, tag.clone(), flow) {
            let reply = Reply::new(400).reason(Some(format!("Bad Request ({error})")));
            return self.reply_stateless(invite, reply, back);
        }
        let transaction = self.core.serve(request, Some(id), Some(tag.clone()));
        self.core.respond(now, transaction, Reply::new(100));
        match verdict {
            Verdict::Waits(signed) => {
                let leg = Some((id, tag));
                self.call_waits(now, Pending { signed, message: invite, flow, transaction, leg });
            }
            Verdict::Passes(account) => self.call_begins(now, invite, (id, tag), transaction, flow, account),
            Verdict::Over => {}
        }
    }

    /// An INVITE that nothing speaks against, and whose transaction has begun, becomes a leg.
    fn call_begins(
        &mut self,
        now: Instant,
        invite: &Message,
        (id, tag): (LegId, String),
        transaction: TransactionId,
        flow: Flow,
        account: Option<String>,
    ) {
        let replaces = match self.replaced_by(invite) {
            Ok(replaces) => replaces,
            Err(reply) => {
                self.core.respond(now, transaction, reply);
                return;
            }
        };
        // Both were seen to be well before the transaction began.
        let Ok(dialog) = DialogState::from_invite(invite, tag, flow) else { return };
        let Ok(grant) = timers::grant(&self.core.config.policy, invite, None) else { return };
        let offer = invite.sdp().found();
        self.core.stats.calls_in += 1;
        if !flow.transport.reliable() && !self.core.admission.proven(now, flow.remote.ip()) {
            self.unproven.insert(id);
        }
        let mut leg = Leg::incoming(&self.core, now, id, invite, dialog, offer.clone(), transaction);
        leg.grant = grant;
        tracing::debug!(sip_call = %leg.name(), source = %flow.remote, "a call came in");
        self.add(leg);
        let registration = self.registration_of(invite, &flow);
        let invite = uas::describe(invite, offer, flow);
        let invite = Box::new(InviteInfo { account, registration, replaces, ..invite });
        self.core.outputs.push_back(Output::Incoming { leg: id, invite });
    }

    /// What we serve; with REGISTER only outside of dialogs, where accounts are served.
    fn support(&self, registrar: bool) -> Support<'static> {
        let extensions = reply::extensions(self.core.config.policy.reliable);
        Support { methods: reply::methods(registrar), extensions, session: reply::ACCEPT }
    }

    /// The calls that are up, as those count them who would admit one more of this path.
    fn calls_for(&self, flow: &Flow) -> Calls {
        // Nobody forges a connection.
        let unproven = if flow.transport.reliable() { 0 } else { self.unproven.len() };
        Calls { all: self.active, unproven }
    }

    /// 503 with a time to come again, the same for each repetition of one request.
    fn unavailable(&self, request: &Message) -> Reply {
        let tag = self.stateless_tag(&request.headers);
        let chance = tag.get(..8).and_then(|part| u32::from_str_radix(part, 16).ok()).unwrap_or_default();
        Reply::new(503).header(Field::RetryAfter, self.core.admission.retry_after(chance).to_string())
    }

    /// Answers without remembering: the same request gets the same answer, tag included (RFC 3261 §8.2.7).
    fn reply_stateless(&mut self, request: &Message, reply: Reply, flow: Flow) {
        let tag = self.stateless_tag(&request.headers);
        let bytes = reply.write(&request.headers, Some(&tag), &self.core.config.user_agent);
        self.core.transmit(Transmit { flow, bytes, transaction: None });
    }

    /// Answers what the checks of the wire refused.
    fn refuse_unread(&mut self, rejection: &wire::Rejection, flow: Flow) {
        let tag = self.stateless_tag(&rejection.headers);
        let mut response = rejection.response(&tag);
        response.stamp_source(flow.remote);
        self.core.transmit(Transmit { flow, bytes: serialise(&response), transaction: None });
    }

    fn stateless_tag(&self, headers: &wire::Headers) -> String {
        let part = |field| headers.get(field).map(|value| value.as_ref()).unwrap_or_default();
        self.core.names.stateless_tag(&[part(Field::Via), part(Field::From), part(Field::CallId), part(Field::CSeq)])
    }

    fn leg_of(&self, request: &Message) -> Option<LegId> {
        let call_id = request.call_id().ok()?.clone();
        let tag = request.to().ok()?.tag()?;
        let id = *self.dialogs.get(&(call_id, tag))?;
        let from = request.from().ok()?.tag();
        self.legs.get(&id)?.is_with(from.as_deref()).then_some(id)
    }

    // --- Responses ---

    fn response(&mut self, now: Instant, message: &Message, flow: Flow) {
        let (Some(status), Ok(via), Ok(cseq)) = (message.status(), message.top_via(), message.cseq()) else { return };
        // RFC 3261 §8.1.3.3: what lists another hop besides us went astray.
        if message.headers.get_all(Field::Via).nth(1).is_some() {
            self.core.stats.strays += 1;
            return;
        }
        let cancel = cseq.method == Method::Cancel;
        let Some(id) = via.branch().and_then(|branch| self.core.clients.find(branch, cancel)) else {
            self.core.stats.strays += 1;
            return;
        };
        // The method has to agree, too (RFC 3261 §17.1.3); the branch of an INVITE is not that of its ACK here.
        if self.core.clients.get(id).and_then(|client| client.request.method()) != Some(&cseq.method) {
            self.core.stats.strays += 1;
            return;
        }
        if via.branch().is_some_and(|branch| self.core.clients.has_left(id, &branch)) {
            return self.core.answered_late(now, id, message, flow);
        }
        let outcome = self.core.response_for(now, id, message, status);
        self.outcome(now, id, outcome, Some((message, status, flow)));
        self.core.forget_finished(id);
    }

    fn outcome(&mut self, now: Instant, id: TransactionId, outcome: Outcome, response: Option<(&Message, u16, Flow)>) {
        let (Owner { leg, purpose }, result) = match outcome {
            Outcome::Nothing => return,
            Outcome::Elsewhere(Owner { leg, purpose }) => {
                if purpose == Purpose::Invite {
                    self.with(leg, |leg, _| leg.tried_elsewhere());
                }
                return;
            }
            Outcome::Tell(owner, result) => (owner, result),
        };
        let result = match (result, response) {
            (Ok(()), Some(response)) => Ok(response),
            (Err(status), _) => Err(status),
            (Ok(()), None) => return,
        };
        match purpose {
            Purpose::Register => return self.registration_outcome(now, RegistrationId(leg.0), id, result),
            Purpose::Probe => return self.probe_outcome(now, ProbeId(leg.0), result.map(|(_, status, _)| status)),
            _ => {}
        }
        let told = self.with(leg, |leg, core| {
            // An answer by TCP tells which connection leads to the peer.
            match purpose {
                Purpose::Invite => leg.invite_outcome(core, now, id, result),
                _ => {
                    let result = result.map(|(message, status, _)| (message, status));
                    leg.request_outcome(core, now, id, purpose, result);
                }
            }
        });
        if told.is_none()
            && matches!(purpose, Purpose::Invite | Purpose::Reinvite)
            && let Ok((message, 200..=299, flow)) = result
        {
            self.core.acknowledge_and_leave(now, id, leg, message, flow, 0);
        }
    }

    // --- Legs ---

    fn next_leg(&mut self) -> LegId {
        self.last_leg += 1;
        LegId(self.last_leg)
    }

    fn add(&mut self, leg: Leg) {
        let id = leg.id;
        self.dialogs.insert((leg.call_id.clone(), leg.local_tag.clone()), id);
        self.active += 1;
        self.legs.insert(id, leg);
        self.with(id, |_, _| ());
    }

    /// Lets something happen to a leg, then sets its timers and forgets it when nothing is left of it.
    fn with<T>(&mut self, id: LegId, act: impl FnOnce(&mut Leg, &mut Core) -> T) -> Option<T> {
        let leg = self.legs.get_mut(&id)?;
        let was_active = !leg.ended;
        let result = act(leg, &mut self.core);
        leg.look_up(&mut self.core);
        leg.arm(&mut self.core);
        if was_active && leg.ended {
            self.active -= 1;
            self.unproven.remove(&id);
        }
        if leg.done() {
            let key = (leg.call_id.clone(), leg.local_tag.clone());
            tracing::debug!(sip_call = %leg.name(), "forgotten");
            self.dialogs.remove(&key);
            self.legs.remove(&id);
            self.core.outputs.push_back(Output::Gone { leg: id });
        }
        Some(result)
    }
}

/// New requests per second, and at once, within one dialog. A person presses five keys a second.
const REQUESTS_PER_LEG: u32 = 50;

/// Call-ID, From tag and CSeq: what tells one request that came by two paths (RFC 3261 §8.2.2.2).
fn merge_key(message: &Message) -> Box<[u8]> {
    let mut key = Vec::with_capacity(96);
    let from = message.from().ok().and_then(|from| from.tag()).unwrap_or_default();
    let cseq = message.cseq().map(|cseq| cseq.seq).unwrap_or_default();
    key.extend_from_slice(message.call_id().map(|id| id.as_ref()).unwrap_or_default());
    key.push(0);
    key.extend_from_slice(from.as_bytes());
    key.push(0);
    key.extend_from_slice(&cseq.to_be_bytes());
    key.into()
}
