//! The table of bindings: pure, bounded, with its own deadlines.

use super::request::AskedContact;
use super::{Asked, RegistrarRules, Wanted};
use crate::ua::flow::hidden;
use crate::ua::{ConnectionId, Flow, Transport};
use crate::wire::{Uri, lex};
use bytes::Bytes;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// One phone of an account, as it is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundContact {
    /// Whose.
    pub account: String,
    /// What it wants to be called by: the request URI of calls to it.
    pub uri: String,
    /// Its wish to be called before others, from 0 to 1.
    pub q: f32,
    /// How long it stays registered unless it asks again.
    pub expires_in: Duration,
    /// Where its REGISTER came from.
    pub source: SocketAddr,
    /// How.
    pub transport: Transport,
    /// The device, the same after it was switched off and on (`+sip.instance`).
    pub instance: Option<String>,
    /// What it says it is.
    pub user_agent: Option<String>,
    /// The way to it.
    pub(crate) flow: Flow,
    /// The proxies in between.
    pub(crate) path: Vec<Bytes>,
}

/// One binding.
#[derive(Debug)]
struct Binding {
    id: u64,
    /// What its account logs in by.
    username: String,
    uri: Uri,
    instance: Option<String>,
    reg_id: Option<u32>,
    q: u16,
    call_id: Bytes,
    cseq: u32,
    path: Vec<Bytes>,
    user_agent: Option<String>,
    /// Whether the phone itself is at `source`, and not a proxy, behind which others are as well.
    direct: bool,
    /// Where its REGISTER came from; counted against the limit of that address.
    source: SocketAddr,
    flow: Flow,
    expires: Instant,
    /// When the next empty datagram is due, behind a NAT.
    ping: Option<Instant>,
}

impl Binding {
    fn due(&self) -> Instant {
        self.ping.map_or(self.expires, |ping| ping.min(self.expires))
    }

    /// Whether this contact is the same phone (RFC 5626 §6: by instance and flow, where it has them).
    fn is(&self, contact: &AskedContact) -> bool {
        match (&self.instance, &contact.instance) {
            (Some(ours), Some(theirs)) => ours == theirs && self.reg_id == contact.reg_id,
            _ => same(&self.uri, &contact.uri),
        }
    }
}

/// RFC 3261 §19.1.4 as far as it matters for contacts: what decides where a request goes.
fn same(a: &Uri, b: &Uri) -> bool {
    let transport = |uri: &Uri| uri.param("transport").map(|name| name.to_ascii_lowercase());
    a.as_bytes() == b.as_bytes()
        || (a.scheme() == b.scheme()
            && a.user_text() == b.user_text()
            && a.host().eq_ignore_ascii_case(b.host())
            && a.port() == b.port()
            && transport(a) == transport(b))
}

fn count_off<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// Why nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// 423.
    TooBrief,
    /// An older REGISTER came late (RFC 3261 §10.3 step 7).
    OutOfOrder,
    /// The table is full.
    Full,
    /// The address has too many phones.
    Source,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    accounts: HashMap<String, Vec<Binding>>,
    /// Whose a binding is, by when something is due for it.
    due: BTreeSet<(Instant, u64)>,
    owners: HashMap<u64, String>,
    /// Phones by their address; and those without a proxy in between by address and port.
    sources: HashMap<IpAddr, usize>,
    peers: HashMap<SocketAddr, usize>,
    connections: HashMap<ConnectionId, Vec<u64>>,
    /// Accounts by user name, as long as they have phones.
    logins: HashMap<String, String>,
    last: u64,
}

/// A REGISTER with whose it is and where it came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registering<'a> {
    pub(crate) account: &'a str,
    pub(crate) username: &'a str,
    pub(crate) max_contacts: usize,
    pub(crate) asked: &'a Asked,
    /// The way it came.
    pub(crate) flow: Flow,
    /// Whether its sender takes datagrams where it sends them from (RFC 3581).
    pub(crate) symmetric: bool,
}

impl Bindings {
    pub(crate) fn len(&self) -> usize {
        self.owners.len()
    }

    /// Carries out a REGISTER of an account, all of it or nothing.
    pub(crate) fn register(
        &mut self,
        now: Instant,
        rules: &RegistrarRules,
        by: &Registering<'_>,
    ) -> Result<(), Refused> {
        let Registering { account, max_contacts, asked, flow, .. } = *by;
        let contacts = match &asked.wanted {
            Wanted::Query => return Ok(()),
            Wanted::Clear => &[][..],
            Wanted::Bind(contacts) => contacts,
        };
        let clear = matches!(asked.wanted, Wanted::Clear);
        let known = self.accounts.get(account).map_or(&[][..], Vec::as_slice);
        let late = |b: &Binding| b.call_id == asked.call_id && b.cseq >= asked.cseq;
        let touched = |b: &&Binding| clear || contacts.iter().any(|contact| b.is(contact));
        if known.iter().filter(touched).any(late) {
            return Err(Refused::OutOfOrder);
        }
        let brief = |c: &AskedContact| c.expires.is_some_and(|e| !e.is_zero() && e < rules.min_expires);
        if contacts.iter().any(brief) {
            return Err(Refused::TooBrief);
        }
        let leaving = |c: &&AskedContact| c.expires.is_some_and(|e| e.is_zero());
        let source = flow.remote.ip();
        let staying = contacts.iter().filter(|c| !leaving(c));
        let new = staying.clone().filter(|c| !known.iter().any(|b| b.is(c))).count();
        if new > 0 && self.owners.len() + new > rules.max_bindings {
            return Err(Refused::Full);
        }
        // A phone that was at another address is one more at this one.
        let came = staying.filter(|c| !known.iter().any(|b| b.is(c) && b.source.ip() == source)).count();
        if came > 0 && self.sources.get(&source).copied().unwrap_or(0) + came > rules.max_per_source {
            return Err(Refused::Source);
        }
        let gone: Vec<u64> = known.iter().filter(touched).map(|b| b.id).collect();
        for id in gone {
            self.remove(id);
        }
        for contact in contacts.iter().filter(|c| !leaving(c)) {
            // The one registered the longest time ago is most likely a phone that is no more.
            let oldest = self.accounts.get(account).filter(|all| all.len() >= max_contacts.max(1));
            if let Some(oldest) = oldest.and_then(|all| all.iter().map(|b| b.id).min()) {
                self.remove(oldest);
            }
            let granted = contact.expires.unwrap_or(rules.default_expires).min(rules.max_expires);
            self.add(now, rules, by, contact, granted);
        }
        Ok(())
    }

    fn add(
        &mut self,
        now: Instant,
        rules: &RegistrarRules,
        by: &Registering<'_>,
        contact: &AskedContact,
        granted: Duration,
    ) {
        let Registering { account, username, asked, flow, symmetric, .. } = *by;
        self.last += 1;
        let id = self.last;
        let (way, behind_nat) = reached(&contact.uri, &asked.path, flow, symmetric);
        let binding = Binding {
            id,
            username: username.to_owned(),
            uri: contact.uri.clone(),
            instance: contact.instance.clone(),
            reg_id: contact.reg_id,
            q: contact.q,
            call_id: asked.call_id.clone(),
            cseq: asked.cseq,
            path: asked.path.clone(),
            user_agent: asked.user_agent.clone(),
            direct: asked.direct,
            source: flow.remote,
            flow: way,
            expires: now + granted,
            ping: behind_nat.then(|| now + rules.keep_alive),
        };
        self.due.insert((binding.due(), id));
        self.owners.insert(id, account.to_owned());
        *self.sources.entry(binding.source.ip()).or_default() += 1;
        if binding.direct {
            *self.peers.entry(binding.source).or_default() += 1;
        }
        if let Some(connection) = way.connection {
            self.connections.entry(connection).or_default().push(id);
        }
        self.logins.insert(username.to_owned(), account.to_owned());
        self.accounts.entry(account.to_owned()).or_default().push(binding);
    }

    fn remove(&mut self, id: u64) {
        let Some(account) = self.owners.remove(&id) else { return };
        let Some(all) = self.accounts.get_mut(&account) else { return };
        let Some(at) = all.iter().position(|binding| binding.id == id) else { return };
        let binding = all.remove(at);
        if all.is_empty() {
            self.accounts.remove(&account);
            self.logins.remove(&binding.username);
        }
        self.due.remove(&(binding.due(), id));
        count_off(&mut self.sources, binding.source.ip());
        if binding.direct {
            count_off(&mut self.peers, binding.source);
        }
        if let Some(connection) = binding.flow.connection
            && let Some(ids) = self.connections.get_mut(&connection)
        {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.connections.remove(&connection);
            }
        }
    }

    /// A connection is gone, and with it the phones that are reached by nothing else.
    pub(crate) fn disconnected(&mut self, connection: ConnectionId) {
        for id in self.connections.remove(&connection).unwrap_or_default() {
            let Some(binding) = self.get_mut(id) else { continue };
            let dialled = binding.uri.ip().filter(|ip| !hidden(*ip, binding.source.ip()));
            let stays = !binding.flow.transport.web_socket() && binding.path.is_empty();
            match dialled.filter(|_| stays) {
                Some(ip) => {
                    let port = binding.uri.port().unwrap_or(binding.flow.transport.default_port());
                    binding.flow =
                        Flow { remote: SocketAddr::new(ip, port), connection: None, redial: None, ..binding.flow };
                }
                None => self.remove(id),
            }
        }
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Binding> {
        let account = self.owners.get(&id)?;
        self.accounts.get_mut(account)?.iter_mut().find(|binding| binding.id == id)
    }

    /// When [`Self::expire`] wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Forgets what ran out; gives the ways that want an empty datagram.
    pub(crate) fn expire(&mut self, now: Instant, keep_alive: Duration) -> Vec<Flow> {
        let mut pings = Vec::new();
        while let Some((at, id)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, id));
            let Some(binding) = self.get_mut(id) else { continue };
            if binding.expires <= now {
                self.remove(id);
                continue;
            }
            pings.push(binding.flow);
            binding.ping = Some(now + keep_alive);
            let due = binding.due();
            self.due.insert((due, id));
        }
        pings
    }

    /// The phones of an account, the most wanted first, then the one registered last.
    pub(crate) fn of(&self, now: Instant, account: &str) -> Vec<BoundContact> {
        let mut all: Vec<&Binding> = self.accounts.get(account).into_iter().flatten().collect();
        all.sort_by_key(|binding| (std::cmp::Reverse(binding.q), std::cmp::Reverse(binding.id)));
        let bound = |binding: &&Binding| BoundContact {
            account: account.to_owned(),
            uri: binding.uri.text().into_owned(),
            q: f32::from(binding.q) / 1_000.0,
            expires_in: binding.expires.saturating_duration_since(now),
            source: binding.source,
            transport: binding.flow.transport,
            instance: binding.instance.clone(),
            user_agent: binding.user_agent.clone(),
            flow: binding.flow,
            path: binding.path.clone(),
        };
        all.iter().map(bound).collect()
    }

    /// The account whose phone is at the other end of a connection. None where a proxy is, or a phone with several
    /// accounts: what comes by it may be of any.
    pub(crate) fn by_connection(&self, connection: ConnectionId) -> Option<&str> {
        let ids = self.connections.get(&connection)?;
        let account = self.owners.get(ids.first()?)?;
        let alone = |id: &u64| self.owners.get(id) == Some(account) && self.get(*id).is_some_and(|b| b.direct);
        ids.iter().all(alone).then_some(account)
    }

    fn get(&self, id: u64) -> Option<&Binding> {
        self.accounts.get(self.owners.get(&id)?)?.iter().find(|binding| binding.id == id)
    }

    /// Whether a phone with that user name is registered from that address, without a proxy in between: what is behind
    /// a proxy comes from one address.
    pub(crate) fn knows(&self, username: &str, source: IpAddr) -> bool {
        self.logins
            .get(username)
            .and_then(|account| self.accounts.get(account))
            .is_some_and(|all| all.iter().any(|binding| binding.direct && binding.source.ip() == source))
    }

    /// Whether any phone is registered from exactly there, without a proxy in between.
    pub(crate) fn is_peer(&self, source: SocketAddr) -> bool {
        self.peers.contains_key(&source)
    }

    /// The `Contact` values for the response to a REGISTER.
    pub(crate) fn written(&self, now: Instant, account: &str) -> Vec<Bytes> {
        let all = self.accounts.get(account).into_iter().flatten();
        let line = |binding: &Binding| {
            let seconds = binding.expires.saturating_duration_since(now).as_secs();
            let mut value = Vec::with_capacity(128);
            value.push(b'<');
            value.extend_from_slice(binding.uri.as_bytes());
            value.push(b'>');
            if binding.q != 1_000 {
                value.extend_from_slice(format!(";q=0.{:03}", binding.q).as_bytes());
            }
            value.extend_from_slice(format!(";expires={seconds}").as_bytes());
            if let Some(instance) = &binding.instance {
                value.extend_from_slice(b";+sip.instance=");
                value.extend_from_slice(lex::quoted(instance).as_bytes());
            }
            if let Some(reg_id) = binding.reg_id {
                value.extend_from_slice(format!(";reg-id={reg_id}").as_bytes());
            }
            Bytes::from(value)
        };
        all.map(line).collect()
    }
}

/// The way to a phone, and whether a NAT between us has to be kept open. What came by a connection is reached by it,
/// what came by a proxy through that proxy, and what sends datagrams where they come from, unless the phone says that
/// it can be reached elsewhere (RFC 3581: who asks for `rport` is symmetric).
fn reached(contact: &Uri, path: &[Bytes], flow: Flow, symmetric: bool) -> (Flow, bool) {
    if flow.transport.reliable() || !path.is_empty() {
        return (flow, false);
    }
    let port = contact.port().unwrap_or(5060);
    match contact.ip() {
        Some(ip) if hidden(ip, flow.remote.ip()) => (flow, true),
        Some(ip) if SocketAddr::new(ip, port) == flow.remote => (flow, false),
        // Behind a NAT with a public address in Contact (STUN, an ALG): packets come from another port than it says.
        Some(ip) if ip == flow.remote.ip() && symmetric => (flow, true),
        Some(ip) => (Flow { remote: SocketAddr::new(ip, port), ..flow }, false),
        None => (flow, symmetric),
    }
}

#[cfg(test)]
mod tests;
