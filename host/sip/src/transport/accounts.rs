//! Registrations, OPTIONS and the registrar at the edge: handles, and the look-ups that the endpoint asks for.

use super::Control;
use super::driver::{Command, Driver};
use super::stack::{OutgoingCall, SipStack, sip_uri};
use crate::digest::Credentials;
use crate::registrar::{Account, Accounts, AccountsUnavailable, BoundContact};
use crate::ua::{
    Flow, Line, LookupId, NextHop, Output, Pong, Probe, ProbeId, Register, RegistrationId, RegistrationState, SipError,
};
use crate::wire::{Scheme, Uri};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// Accounts that are looked up at the same time. What has to wait longer than [`ACCOUNT_LIMIT`] for its turn is given up
/// with the rest.
const ACCOUNT_LOOKUPS: usize = 64;
/// How long a look-up may take, its waiting included.
const ACCOUNT_LIMIT: Duration = Duration::from_secs(2);

/// An account at a carrier or PBX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationConfig {
    /// The address of record: `sip:user@domain`.
    pub aor: String,
    /// The registrar's URI, which is the request URI; by default the domain of `aor`.
    pub registrar: Option<String>,
    /// Where to send it instead of the registrar's host: tried in this order, each with all addresses it has.
    pub outbound_proxies: Vec<NextHop>,
    /// For challenges; the user name may differ from the user in `aor`.
    pub credentials: Option<Credentials>,
    /// The user in our `Contact`, which calls that come by it ask for; by default the one in `aor`.
    pub contact_user: Option<String>,
    /// How long to register for, in seconds. The registrar may grant less; it is refreshed after 50 to 90 % of that.
    pub expires_s: u32,
    /// A URN that names this host to the registrar, so that it knows it again after a restart (RFC 5626):
    /// `urn:uuid:…`. By default one made of `aor` and our addresses. Two hosts with the same one take each other's calls.
    pub instance: Option<String>,
}

impl Default for RegistrationConfig {
    fn default() -> Self {
        Self {
            aor: String::new(),
            registrar: None,
            outbound_proxies: Vec::new(),
            credentials: None,
            contact_user: None,
            expires_s: 600,
            instance: None,
        }
    }
}

/// A registration that is kept up. Clones are the same one; when the last is dropped, it is removed from the registrar.
#[derive(Clone, Debug)]
pub struct Registration(Arc<Held>);

#[derive(Debug)]
struct Held {
    id: RegistrationId,
    state: watch::Receiver<RegistrationState>,
    /// At most one message for each.
    released: mpsc::UnboundedSender<RegistrationId>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.released.send(self.id);
    }
}

impl Registration {
    /// What calls by it are placed with ([`OutgoingCall::registration`]), and calls that it brought are marked with
    /// ([`InviteInfo::registration`](crate::InviteInfo)).
    #[must_use]
    pub fn id(&self) -> RegistrationId {
        self.0.id
    }

    /// How it stands, now and from now on. Closed after [`RegistrationState::Gone`].
    #[must_use]
    pub fn state(&self) -> watch::Receiver<RegistrationState> {
        self.0.state.clone()
    }
}

/// An OPTIONS to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Whom it is for: a SIP URI, by default the one of the hop.
    pub target: Option<String>,
    /// How long to wait for an answer; longer than 32 s means nothing.
    pub timeout: Duration,
}

impl Default for Ping {
    fn default() -> Self {
        Self { target: None, timeout: Duration::from_secs(5) }
    }
}

/// What the handles ask.
#[derive(Debug)]
pub(crate) enum AccountCommand {
    Register(Box<Register>, oneshot::Sender<Registration>),
    Line(RegistrationId, oneshot::Sender<Option<Line>>),
    Options(Box<Probe>, oneshot::Sender<Option<Pong>>),
    Contacts(String, oneshot::Sender<Vec<BoundContact>>),
}

/// What the driver keeps for them.
pub(crate) struct Registrations {
    watched: HashMap<RegistrationId, watch::Sender<RegistrationState>>,
    probes: HashMap<ProbeId, oneshot::Sender<Option<Pong>>>,
    accounts: Option<Arc<dyn Accounts>>,
    places: Arc<Semaphore>,
    released: mpsc::UnboundedSender<RegistrationId>,
}

impl Registrations {
    /// Dropped handles come by the receiver.
    pub(crate) fn new(accounts: Option<Arc<dyn Accounts>>) -> (Self, mpsc::UnboundedReceiver<RegistrationId>) {
        let (released, dropped) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(ACCOUNT_LOOKUPS));
        (Self { watched: HashMap::new(), probes: HashMap::new(), accounts, places, released }, dropped)
    }
}

impl SipStack {
    /// Registers an account and keeps it registered until the handle is dropped.
    ///
    /// # Errors
    /// [`SipError::Target`] for an `aor` or registrar that is no SIP URI, [`SipError::Closed`].
    pub async fn register(&self, config: RegistrationConfig) -> Result<Registration, SipError> {
        let aor = sip_uri(&config.aor)?;
        if aor.user().is_none() {
            let why = "it names no user".to_owned();
            return Err(SipError::Target { uri: config.aor, why });
        }
        let (scheme, host) = (if aor.scheme() == Scheme::Sips { "sips" } else { "sip" }, aor.host());
        let registrar = match &config.registrar {
            Some(text) => sip_uri(text)?,
            None => sip_uri(&format!("{scheme}:{host}{}", aor.port().map(|p| format!(":{p}")).unwrap_or_default()))?,
        };
        let mut hops = config.outbound_proxies;
        if hops.is_empty() {
            let unknown = |name| SipError::Target {
                uri: registrar.text().into_owned(),
                why: format!("transport {name} is not supported"),
            };
            hops.push(NextHop::of(&registrar).map_err(unknown)?);
        }
        let instance = config.instance.unwrap_or_else(|| self.instance(&config.aor));
        let instance =
            Some(instance).filter(|urn| urn.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"\\".contains(&b)));
        let register = Register {
            aor,
            registrar,
            hops,
            contact_user: config.contact_user,
            credentials: config.credentials,
            expires: Duration::from_secs(config.expires_s.into()),
            instance,
        };
        self.ask(|reply| AccountCommand::Register(Box::new(register), reply)).await
    }

    /// Asks a server whether it is there (OPTIONS). Any final answer says that it is. Where a name leads to several, they
    /// are asked in turn as a call would try them: the first that answers counts.
    ///
    /// # Errors
    /// [`SipError::Unanswered`] when nothing came in time, [`SipError::Resolve`], [`SipError::Target`],
    /// [`SipError::Closed`].
    pub async fn options(&self, hop: &NextHop, ping: Ping) -> Result<Pong, SipError> {
        let target = sip_uri(&ping.target.unwrap_or_else(|| hop.to_string()))?;
        let mut ways = self.ways(hop).await?;
        let flow = ways.remove(0);
        let from = Uri::sip(None, flow.local, None);
        let probe = Probe { target, from, flow, others: ways };
        let asked = self.ask(|reply| AccountCommand::Options(Box::new(probe), reply));
        let pong = tokio::time::timeout(ping.timeout, asked).await.unwrap_or(Ok(None))?;
        pong.ok_or_else(|| SipError::Unanswered(hop.to_string()))
    }

    /// The phones that an account ([`Account::id`](crate::Account)) is registered with, the most wanted first, for
    /// [`OutgoingCall::contact`]. None where there is no registrar, and none after a restart until they come again.
    pub async fn contacts(&self, account: &str) -> Vec<BoundContact> {
        self.ask(|reply| AccountCommand::Contacts(account.to_owned(), reply)).await.unwrap_or_default()
    }

    /// A call by a registration or to a registered phone, with the way that it takes.
    pub(crate) async fn by_account(&self, mut call: OutgoingCall) -> Result<OutgoingCall, SipError> {
        if let Some(contact) = &call.contact {
            call.target.clone_from(&contact.uri);
            call.flow = Some(contact.flow);
            call.routes = contact.path.iter().map(|route| String::from_utf8_lossy(route).into_owned()).collect();
        } else if let Some(registration) = call.registration {
            let line = self.ask(|reply| AccountCommand::Line(registration, reply)).await?;
            let line = line.ok_or(SipError::NotRegistered)?;
            call.flow = Some(line.flow);
            call.routes = line.routes.iter().map(|route| String::from_utf8_lossy(route).into_owned()).collect();
            call.credentials = call.credentials.or(line.credentials);
        }
        Ok(call)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> AccountCommand) -> Result<T, SipError> {
        let (reply, outcome) = oneshot::channel();
        self.send(Command::Account(command(reply))).await?;
        outcome.await.map_err(|_| SipError::Closed)
    }

    /// A name that stays the same as long as account and addresses do: a UUID by the rules of version 8 (RFC 9562).
    fn instance(&self, aor: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(aor.as_bytes());
        for (transport, address) in self.local_addrs() {
            hash.update(format!("\0{transport} {address}").as_bytes());
        }
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&hash.finalize()[..16]);
        uuid[6] = uuid[6] & 0x0f | 0x80;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        let text = hex::encode(uuid);
        format!("urn:uuid:{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
    }
}

impl Driver {
    pub(crate) fn account_command(&mut self, command: AccountCommand) {
        let now = super::now();
        match command {
            AccountCommand::Register(register, reply) => {
                let id = self.endpoint.register(now, *register);
                let (watched, state) = watch::channel(RegistrationState::Trying);
                self.registrations.watched.insert(id, watched);
                // An unread reply drops its handle, which ends the registration.
                let released = self.registrations.released.clone();
                let _ = reply.send(Registration(Arc::new(Held { id, state, released })));
            }
            AccountCommand::Line(id, reply) => {
                let _ = reply.send(self.endpoint.line(id));
            }
            AccountCommand::Options(probe, reply) => {
                let id = self.endpoint.options(now, *probe);
                self.registrations.probes.insert(id, reply);
            }
            AccountCommand::Contacts(account, reply) => {
                let _ = reply.send(self.endpoint.contacts(now, &account));
            }
        }
    }

    pub(crate) fn account_control(&mut self, control: AccountControl) {
        let now = super::now();
        match control {
            AccountControl::Found(lookup, found) => self.endpoint.account_found(now, lookup, found),
            AccountControl::Located(id, ways) => self.endpoint.located(now, id, ways),
        }
    }

    pub(crate) fn released(&mut self, id: RegistrationId) {
        let now = super::now();
        self.endpoint.unregister(now, id);
    }

    /// Carries out what the endpoint wants for registrations and the registrar.
    pub(crate) fn account_output(&mut self, output: Output) {
        match output {
            Output::FindAccount { lookup, username, realm } => self.find_account(lookup, username, realm),
            Output::Locate { registration, hop } => self.locate(registration, hop),
            Output::Registration { registration, state } => {
                tracing::debug!(registration = registration.0, ?state, "a registration stands differently");
                if let Some(watched) = self.registrations.watched.get(&registration) {
                    watched.send_replace(state.clone());
                }
                if state == RegistrationState::Gone {
                    self.registrations.watched.remove(&registration);
                }
            }
            Output::Probed { probe, pong } => {
                if let Some(reply) = self.registrations.probes.remove(&probe) {
                    let _ = reply.send(pong);
                }
            }
            _ => {}
        }
    }

    fn find_account(&mut self, lookup: LookupId, username: String, realm: String) {
        let Some(accounts) = self.registrations.accounts.clone() else { return };
        let (places, control) = (self.registrations.places.clone(), self.to_control.clone());
        self.tasks.spawn(async move {
            let find = async {
                let _place = places.acquire().await;
                accounts.find(&username, &realm).await
            };
            let found = tokio::time::timeout(ACCOUNT_LIMIT, find).await;
            let late = || Err(AccountsUnavailable("the look-up takes too long".to_owned()));
            let found = found.unwrap_or_else(|_| late());
            let _ = control.send(Control::Account(AccountControl::Found(lookup, found))).await;
        });
    }

    fn locate(&mut self, registration: RegistrationId, hop: NextHop) {
        let (reach, control) = (self.reach.clone(), self.to_control.clone());
        self.tasks.spawn(async move {
            let ways = reach.ways(&hop).await.unwrap_or_else(|error| {
                tracing::debug!(%hop, %error, "a registrar was not found");
                Vec::new()
            });
            let _ = control.send(Control::Account(AccountControl::Located(registration, ways))).await;
        });
    }
}

/// What look-ups tell the driver.
#[derive(Debug)]
pub(crate) enum AccountControl {
    Found(LookupId, Result<Option<Account>, AccountsUnavailable>),
    Located(RegistrationId, Vec<Flow>),
}
