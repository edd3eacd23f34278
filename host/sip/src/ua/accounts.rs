//! The registrar within the endpoint: lets requests of accounts in, and answers REGISTER.
//!
//! A request without credentials is challenged without leaving a trace. One with a fresh nonce becomes a transaction
//! and waits, in a place of a limited number, until the edge has looked its account up.

use super::Endpoint;
use super::core::{Core, Output};
use super::flow::{Flow, LegId, TransactionId};
use super::reply::Reply;
use super::schedule::Due;
use super::servers::Request;
use crate::digest::{Presented, Replays, Server, Signed};
use crate::overload::Offence;
use crate::registrar::{
    Account, AccountsUnavailable, Asked, Bindings, BoundContact, Guard, Hearing, Refused, Registering, RegistrarRules,
    Toll,
};
use crate::wire::{self, Field, Message, Method, Support, Uri};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Requests that may wait for their account; one more gets 503.
const MAX_WAITING: usize = 1_024;
/// Requests of one address that may wait.
const MAX_WAITING_PER_SOURCE: usize = 128;
/// How long the edge may take: longer than its own limit, so that this is only the last resort.
const PATIENCE: Duration = Duration::from_secs(5);
/// Nonces remembered, twice: the phones of a large registrar within a minute or two.
const NONCES: usize = 16_384;
/// What REGISTER may require of us.
const SUPPORT: Support<'static> =
    Support { methods: &[Method::Register], extensions: &["path", "outbound"], session: "application/sdp" };

/// Names one account look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupId(pub u64);

/// A request whose account is being looked up.
#[derive(Debug)]
struct Waiting {
    signed: Box<Signed>,
    message: Message,
    flow: Flow,
    transaction: TransactionId,
    /// The leg that an INVITE will be.
    leg: Option<(LegId, String)>,
    until: Instant,
}

/// A request that is to wait for its account.
pub(super) struct Pending<'a> {
    pub(super) signed: Box<Signed>,
    pub(super) message: &'a Message,
    /// The way it came.
    pub(super) flow: Flow,
    pub(super) transaction: TransactionId,
    /// The leg, and our tag in it, that an INVITE will be.
    pub(super) leg: Option<(LegId, String)>,
}

/// What the registrar did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegistrarStats {
    /// Phones registered now.
    pub bindings: usize,
    /// REGISTERs that were accepted.
    pub registered: u64,
    /// Requests answered with a challenge.
    pub challenged: u64,
    /// Wrong user names or passwords.
    pub failures: u64,
    /// Requests with credentials refused unlooked at, for too many failures before.
    pub refused: u64,
    /// The same, not even answered.
    pub silenced: u64,
    /// Requests refused because too many waited for their account, or it could not be looked up.
    pub unavailable: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Registrar {
    pub(crate) rules: RegistrarRules,
    server: Server,
    replays: Replays,
    guard: Guard,
    hearing: Hearing,
    pub(crate) bindings: Bindings,
    waiting: BTreeMap<LookupId, Waiting>,
    waiting_by_source: HashMap<IpAddr, usize>,
    lookups: u64,
    /// What nonces count their seconds from: the first request.
    epoch: Option<Instant>,
    pub(crate) stats: RegistrarStats,
    armed: Option<Instant>,
}

/// What is to become of a request that may be of an account.
enum Admitted {
    /// It is of none, and needs none.
    Stranger,
    /// It is of this one.
    Account(String),
    /// That has to be seen.
    Signed(Box<Signed>),
    /// It is answered with this.
    Refused(Reply),
    /// It is not answered.
    Silenced,
}

impl Registrar {
    pub(crate) fn new(rules: RegistrarRules, key: [u8; 32]) -> Self {
        let lifetime = rules.nonce_lifetime.as_secs().max(1);
        Self {
            server: Server::new(&rules.realm, key, lifetime),
            rules,
            replays: Replays::new(NONCES),
            guard: Guard::new(),
            hearing: Hearing::default(),
            bindings: Bindings::default(),
            waiting: BTreeMap::new(),
            waiting_by_source: HashMap::new(),
            lookups: 0,
            epoch: None,
            stats: RegistrarStats::default(),
            armed: None,
        }
    }

    fn seconds(&mut self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_insert(now);
        now.saturating_duration_since(epoch).as_secs()
    }

    fn challenge(&mut self, core: &mut Core, now: Instant, flow: &Flow, stale: bool) -> Reply {
        self.stats.challenged += 1;
        let (seconds, number) = (self.seconds(now), core.names.below(u32::MAX));
        let md5_alone = self.hearing.is_deaf(flow.remote);
        let lines = self.server.challenge(seconds, number, flow.remote.ip(), stale, md5_alone);
        lines.into_iter().fold(Reply::new(401), |reply, line| reply.header(Field::WwwAuthenticate, line))
    }

    /// Looks at credentials as far as that is possible without the account.
    fn read(&mut self, core: &mut Core, now: Instant, request: &Message, flow: &Flow) -> Admitted {
        let source = flow.remote.ip();
        let seconds = self.seconds(now);
        let signed = match self.server.read(request, seconds, source) {
            Presented::Missing => {
                self.hearing.unanswered(flow.remote, request);
                return Admitted::Refused(self.challenge(core, now, flow, false));
            }
            Presented::Stale => return Admitted::Refused(self.challenge(core, now, flow, true)),
            Presented::Signed(signed) => signed,
        };
        self.hearing.answered(flow.remote);
        // A nonce goes nowhere but to its source: that one is not forged.
        core.admission.reached(now, source);
        // Where the phone is registered from, a stranger who guesses at its account does not lock it out.
        let toll = match self.bindings.knows(&signed.username, source) {
            true => Toll::Free,
            false => self.guard.toll(now, suspect(core, source), &signed.username),
        };
        match toll {
            Toll::Silence => {
                self.stats.silenced += 1;
                Admitted::Silenced
            }
            Toll::Refuse => {
                self.stats.refused += 1;
                Admitted::Refused(Reply::new(403))
            }
            Toll::Free if !self.has_room(source) => {
                self.stats.unavailable += 1;
                Admitted::Refused(unavailable(core))
            }
            Toll::Free => Admitted::Signed(signed),
        }
    }

    fn has_room(&self, source: IpAddr) -> bool {
        self.waiting.len() < MAX_WAITING
            && self.waiting_by_source.get(&source).is_none_or(|count| *count < MAX_WAITING_PER_SOURCE)
    }

    /// Whether an INVITE has to be of an account, by the rules of [`RegistrarRules::require_for_realm`].
    fn admit_call(&mut self, core: &mut Core, now: Instant, invite: &Message, flow: &Flow) -> Admitted {
        let bound = flow.connection.and_then(|connection| self.bindings.by_connection(connection));
        if let Some(account) = bound {
            // One connection, one phone: what it registered as is who calls.
            return Admitted::Account(account.to_owned());
        }
        let from = invite.from().ok();
        let ours = |uri: &Uri| {
            let names = [&self.rules.realm].into_iter().chain(&self.rules.domains);
            names.into_iter().any(|name| uri.host().eq_ignore_ascii_case(name))
        };
        let claimed = self.rules.require_for_realm && from.is_some_and(|from| ours(&from.uri));
        let phone = self.bindings.is_peer(flow.remote);
        if claimed || phone || self.server.addressed(invite) {
            self.read(core, now, invite, flow)
        } else {
            Admitted::Stranger
        }
    }

    /// Keeps a request until its account is known.
    fn wait(&mut self, core: &mut Core, now: Instant, pending: Pending<'_>) {
        self.lookups += 1;
        let lookup = LookupId(self.lookups);
        let Pending { signed, message, flow, transaction, leg } = pending;
        let username = signed.username.clone();
        *self.waiting_by_source.entry(flow.remote.ip()).or_default() += 1;
        let message = message.clone();
        let waiting = Waiting { signed, message, flow, transaction, leg, until: now + PATIENCE };
        self.waiting.insert(lookup, waiting);
        self.arm(core);
        core.outputs.push_back(Output::FindAccount { lookup, username, realm: self.server.realm().to_owned() });
    }

    fn overdue(&self, now: Instant) -> Option<LookupId> {
        self.waiting.first_key_value().filter(|(_, waiting)| waiting.until <= now).map(|(lookup, _)| *lookup)
    }

    fn take(&mut self, lookup: LookupId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&lookup)?;
        let source = waiting.flow.remote.ip();
        if let Some(count) = self.waiting_by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.waiting_by_source.remove(&source);
            }
        }
        Some(waiting)
    }

    /// Whether the credentials of a request that waited are right.
    fn check(
        &mut self,
        core: &mut Core,
        now: Instant,
        waiting: &Waiting,
        found: Option<&Account>,
    ) -> Result<(), Reply> {
        let (signed, source) = (&waiting.signed, waiting.flow.remote.ip());
        let secret = found.and_then(|account| account.secret(signed.algorithm()));
        if !signed.proves(secret) {
            self.stats.failures += 1;
            if self.guard.failed(now, suspect(core, source), &signed.username) {
                tracing::warn!(%source, "too many wrong passwords from this address: it has to wait");
            }

            core.admission.offence(now, source, Offence::WrongCredentials);
            return Err(self.challenge(core, now, &waiting.flow, false));
        }
        if !self.replays.take(signed.nonce, signed.count) {
            // A count that was used: two requests overtook each other, or somebody repeats what he overheard.
            return Err(self.challenge(core, now, &waiting.flow, true));
        }
        self.guard.succeeded(source, &signed.username);
        core.admission.vouch(now, source, self.rules.max_expires);
        Ok(())
    }

    /// Carries out a REGISTER of an account.
    fn register(&mut self, now: Instant, waiting: &Waiting, account: &Account) -> Reply {
        let request = &waiting.message;
        // Who may write whose bindings: the account its own, nobody else's (RFC 3261 §10.3 step 4).
        let to = request.to().ok().and_then(|to| to.uri.user_text());
        if to.as_deref() != Some(waiting.signed.username.as_str()) {
            return Reply::new(403).reason(Some("Not Your Address".to_owned()));
        }
        let asked = match Asked::read(request) {
            Ok(asked) => asked,
            Err((status, phrase)) => return Reply::new(status).reason(Some(phrase.to_owned())),
        };
        let symmetric = request.top_via().is_ok_and(|via| via.rport().is_some());
        let max = account.max_contacts.unwrap_or(usize::MAX).min(self.rules.max_contacts);
        let by = Registering {
            account: &account.id,
            username: &waiting.signed.username,
            max_contacts: max,
            asked: &asked,
            flow: waiting.flow,
            symmetric,
        };
        let outcome = self.bindings.register(now, &self.rules, &by);
        match outcome {
            Err(Refused::TooBrief) => {
                let least = self.rules.min_expires.as_secs().to_string();
                return Reply::new(423).header(Field::MinExpires, least);
            }
            Err(Refused::OutOfOrder) => return Reply::new(500).reason(Some("Out Of Order".to_owned())),
            Err(Refused::Full) => return Reply::new(503).text(Field::RetryAfter, "60"),
            Err(Refused::Source) => return Reply::new(403).reason(Some("Too Many Registrations".to_owned())),
            Ok(()) => {}
        }
        self.stats.registered += 1;
        let mut reply = Reply::new(200);
        for contact in self.bindings.written(now, &account.id) {
            reply = reply.header(Field::Contact, contact);
        }
        // Both sides know that later requests go by the flow only if we say so (RFC 5626 §6).
        if asked.binds_flow() {
            reply = reply.text(Field::Require, "outbound");
        }
        for path in asked.path {
            reply = reply.header(Field::Path, path);
        }
        reply.text(Field::Supported, "path, outbound")
    }

    fn arm(&mut self, core: &mut Core) {
        let waiting = self.waiting.first_key_value().map(|(_, waiting)| waiting.until);
        let deadline = [waiting, self.bindings.deadline()].into_iter().flatten().min();
        core.schedule.arm(&mut self.armed, deadline, Due::Registrar);
    }
}

/// Whose wrong passwords count against the address: not those that a trusted proxy passes on.
fn suspect(core: &Core, source: IpAddr) -> Option<IpAddr> {
    (!core.admission.trusts(source)).then_some(source)
}

/// 503 for want of room.
fn unavailable(core: &mut Core) -> Reply {
    let chance = core.names.below(u32::MAX);
    Reply::new(503).header(Field::RetryAfter, core.admission.retry_after(chance).to_string())
}

/// What the accounts make of an INVITE.
pub(super) enum Verdict {
    /// It goes on, of this account or of none.
    Passes(Option<String>),
    /// It goes on when its account is known.
    Waits(Box<Signed>),
    /// It has its answer, or gets none.
    Over,
}

impl Endpoint {
    /// Begins to serve accounts: REGISTER, and calls from them. Without this, REGISTER gets 405 and every call is a
    /// stranger's.
    pub fn serve_accounts(&mut self, rules: RegistrarRules) {
        let key = self.core.names.key();
        self.registrar = Some(Box::new(Registrar::new(rules, key)));
    }

    /// The account asked for by [`Output::FindAccount`].
    pub fn account_found(
        &mut self,
        now: Instant,
        lookup: LookupId,
        found: Result<Option<Account>, AccountsUnavailable>,
    ) {
        let Some(registrar) = &mut self.registrar else { return };
        let Some(waiting) = registrar.take(lookup) else { return };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "a request of an account is refused");
                registrar.stats.unavailable += 1;
                let reply = unavailable(&mut self.core);
                self.core.respond(now, waiting.transaction, reply);
                return;
            }
        };
        if let Err(reply) = registrar.check(&mut self.core, now, &waiting, found.as_ref()) {
            self.core.respond(now, waiting.transaction, reply);
            return;
        }
        let Some(account) = found else { return };
        match waiting.leg {
            None => {
                let reply = registrar.register(now, &waiting, &account);
                registrar.arm(&mut self.core);
                self.core.respond(now, waiting.transaction, reply);
            }
            Some((id, tag)) => {
                let Waiting { message, transaction, flow, .. } = waiting;
                self.call_begins(now, &message, (id, tag), transaction, flow, Some(account.id));
            }
        }
    }

    /// The phones registered by an account.
    #[must_use]
    pub fn contacts(&self, now: Instant, account: &str) -> Vec<BoundContact> {
        self.registrar.as_ref().map(|registrar| registrar.bindings.of(now, account)).unwrap_or_default()
    }

    /// What the registrar did; nothing where there is none.
    #[must_use]
    pub fn registrar_stats(&self) -> RegistrarStats {
        let Some(registrar) = &self.registrar else { return RegistrarStats::default() };
        RegistrarStats { bindings: registrar.bindings.len(), ..registrar.stats }
    }

    pub(super) fn registrar_due(&mut self, now: Instant) {
        let Some(registrar) = &mut self.registrar else { return };
        registrar.armed = None;
        for flow in registrar.bindings.expire(now, registrar.rules.keep_alive) {
            self.core.outputs.push_back(Output::KeepAlive { flow });
        }
        while let Some(lookup) = registrar.overdue(now) {
            if let Some(waiting) = registrar.take(lookup) {
                registrar.stats.unavailable += 1;
                let reply = unavailable(&mut self.core);
                self.core.respond(now, waiting.transaction, reply);
            }
        }
        registrar.arm(&mut self.core);
    }

    /// REGISTER; `flow` is the way it came.
    pub(super) fn register_came(&mut self, now: Instant, message: &Message, request: Request<'_>, flow: Flow) {
        let back = request.flow;
        if let Err(rejection) = wire::screen(message, &SUPPORT) {
            return self.refuse_unread(&rejection, back);
        }
        if self.core.admission.draining() {
            let reply = self.unavailable(message);
            return self.reply_stateless(message, reply, back);
        }
        let Some(registrar) = &mut self.registrar else { return };
        match registrar.read(&mut self.core, now, message, &flow) {
            Admitted::Signed(signed) => {
                let tag = self.core.names.tag();
                let transaction = self.core.serve(request, None, Some(tag));
                registrar.wait(&mut self.core, now, Pending { signed, message, flow, transaction, leg: None });
            }
            Admitted::Refused(reply) => self.reply_stateless(message, reply, back),
            Admitted::Stranger | Admitted::Account(_) | Admitted::Silenced => {}
        }
    }

    /// Whose call an INVITE is; a challenge or refusal is sent here, `back` where it came from.
    pub(super) fn whose_call(&mut self, now: Instant, invite: &Message, flow: Flow, back: Flow) -> Verdict {
        let Some(registrar) = &mut self.registrar else { return Verdict::Passes(None) };
        match registrar.admit_call(&mut self.core, now, invite, &flow) {
            Admitted::Stranger => Verdict::Passes(None),
            Admitted::Account(account) => Verdict::Passes(Some(account)),
            Admitted::Signed(signed) => Verdict::Waits(signed),
            Admitted::Refused(reply) => {
                self.reply_stateless(invite, reply, back);
                Verdict::Over
            }
            Admitted::Silenced => Verdict::Over,
        }
    }

    /// Keeps an INVITE until its account is known.
    pub(super) fn call_waits(&mut self, now: Instant, pending: Pending<'_>) {
        if let Some(registrar) = &mut self.registrar {
            registrar.wait(&mut self.core, now, pending);
        }
    }

    /// The caller gave up while its account was looked up.
    pub(super) fn waiting_cancelled(&mut self, now: Instant, invite: TransactionId) {
        let Some(registrar) = &mut self.registrar else { return };
        let found = registrar.waiting.iter().find(|(_, waiting)| waiting.transaction == invite);
        if let Some(lookup) = found.map(|(lookup, _)| *lookup) {
            registrar.take(lookup);
            self.core.respond(now, invite, Reply::new(487));
        }
    }
}
