//! The stack as the host starts and uses it.

use super::accounts::Registrations;
use super::connections::{Connections, Parts};
use super::driver::{Command, Driver, Legs, checked_headers};
use super::hep::{Hep, Homer};
use super::ingress::Ingress;
use super::listen::{self, Listening};
use super::local::route;
use super::names::PeerNames;
use super::reach::Reach;
use super::resolve::Resolver;
use super::tls::{CurrentTls, Tls, TlsConfig};
use super::trace::Traces;
use super::{Dialog, public_host};
use crate::overload::{SipLimits, SourcePolicy};
use crate::registrar::{BoundContact, RegistrarConfig};
use crate::transaction::Timing;
use crate::ua::sent_by;
use crate::ua::{
    Credentials, DialogEvent, DialogPolicy, Endpoint, EndpointConfig, EndpointStats, Flow, Invite, InviteInfo,
    Listener, NextHop, Redirects, RegistrarStats, RegistrationId, SipError, Transport,
};
use crate::wire::{NameAddr, Scheme, Uri};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Commands that may wait for the driver; whoever sends one more waits.
const COMMANDS: usize = 1_024;
/// New calls that the host may leave waiting: about as many as can come within the 200 ms that an INVITE may wait. One
/// more gets 503.
const INCOMING: usize = 128;

/// Which name servers are asked for NAPTR, SRV, A and AAAA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Dns {
    /// Those of the system (`/etc/resolv.conf`, `/etc/hosts`).
    #[default]
    System,
    /// These.
    Servers(Vec<SocketAddr>),
}

/// How peers reach one listener: a public address before a NAT or a load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicAddress {
    /// The listener's transport.
    pub transport: Transport,
    /// Its address as configured.
    pub listener: SocketAddr,
    /// The host that peers are told: an address or a name. A public IP address also stands in session descriptions.
    pub host: String,
    /// The port that peers are told, where it is not the listener's.
    pub port: Option<u16>,
}

/// How the stack is set up.
#[derive(Clone, Debug)]
pub struct SipConfig {
    /// Addresses to take datagrams on; port 0 lets the system choose.
    pub udp: Vec<SocketAddr>,
    /// Addresses to take connections on.
    pub tcp: Vec<SocketAddr>,
    /// Addresses to take TLS connections on; needs an identity in `tls_config`.
    pub tls: Vec<SocketAddr>,
    /// Addresses to take WebSocket connections on (RFC 7118).
    pub ws: Vec<SocketAddr>,
    /// Addresses to take WebSocket connections inside TLS on; needs an identity in `tls_config`.
    pub wss: Vec<SocketAddr>,
    /// Who we are in TLS, and whom we believe.
    pub tls_config: TlsConfig,
    /// Web pages that may open WebSockets to us, by their `Origin` (`https://phone.example`). Empty allows all; a
    /// client that names no origin is no browser and is always allowed.
    pub ws_origins: Vec<String>,
    /// Which name servers to ask.
    pub dns: Dns,
    /// How often a connection that we opened is asked whether the peer is still there (RFC 5626 §4.4.1), less up to a
    /// fifth; WebSockets at least every 30 s.
    pub keepalive: Duration,
    /// How single listeners are reached where that differs from their address and from `advertise`.
    pub public: Vec<PublicAddress>,
    /// The host that peers are told, where it is not the local address: a public IP address or a name.
    pub advertise: Option<String>,
    /// `User-Agent` and `Server`.
    pub user_agent: String,
    /// Accounts that may register here and call. Without one REGISTER is refused.
    pub registrar: Option<RegistrarConfig>,
    /// Where every message is copied to (HEP), without its secrets.
    pub homer: Option<Homer>,
    /// How much it takes on.
    pub limits: SipLimits,
    /// The base timers; the RFC's by default.
    pub timing: Timing,
    /// Whom it serves, to begin with; see [`SipStack::sources`].
    pub sources: SourcePolicy,
    /// What every dialog keeps to: reliable provisional responses, session timers.
    pub policy: DialogPolicy,
}

impl Default for SipConfig {
    fn default() -> Self {
        Self {
            udp: Vec::new(),
            tcp: Vec::new(),
            tls: Vec::new(),
            ws: Vec::new(),
            wss: Vec::new(),
            tls_config: TlsConfig::default(),
            ws_origins: Vec::new(),
            dns: Dns::default(),
            keepalive: Duration::from_secs(120),
            public: Vec::new(),
            advertise: None,
            user_agent: concat!("Callbox/", env!("CARGO_PKG_VERSION")).to_owned(),
            registrar: None,
            homer: None,
            limits: SipLimits::default(),
            timing: Timing::default(),
            sources: SourcePolicy::default(),
            policy: DialogPolicy::default(),
        }
    }
}

/// A call to place.
#[derive(Clone, Debug)]
pub struct OutgoingCall {
    /// A SIP URI, or `user@host`.
    pub target: String,
    /// Who calls: a SIP URI, or only its user.
    pub from: String,
    /// The name shown to the callee.
    pub display_name: Option<String>,
    /// Where to send the INVITE instead of the target's host.
    pub proxy: Option<NextHop>,
    /// A registered phone to call ([`SipStack::contacts`]). Takes the place of `target` and `flow`.
    pub contact: Option<BoundContact>,
    /// The registration to call by: through the server it is registered with, with its credentials where none are given
    /// here ([`Registration::id`](crate::Registration::id)). Takes the place of `flow`.
    pub registration: Option<RegistrationId>,
    /// Preloaded `Route` values, nearest first. `flow` or `proxy` has to lead to the first.
    pub routes: Vec<String>,
    /// The way to a peer that can only be reached where it came from: a registered phone behind a NAT or a WebSocket.
    /// Nothing is looked up then.
    pub flow: Option<Flow>,
    /// For digest challenges.
    pub credentials: Option<Credentials>,
    /// Further header fields.
    pub headers: Vec<(String, String)>,
    /// Our session description; none asks for the callee's.
    pub offer: Option<Vec<u8>>,
    /// How long it may ring before it is cancelled.
    pub ring_timeout: Duration,
    /// Which redirects of the far end are followed; none by default.
    pub redirects: Redirects,
}

impl Default for OutgoingCall {
    fn default() -> Self {
        Self {
            target: String::new(),
            from: "callbox".to_owned(),
            display_name: None,
            proxy: None,
            contact: None,
            registration: None,
            routes: Vec::new(),
            flow: None,
            credentials: None,
            headers: Vec::new(),
            offer: None,
            ring_timeout: Duration::from_secs(60),
            redirects: Redirects::default(),
        }
    }
}

/// A call that came in.
#[derive(Debug)]
pub struct IncomingCall {
    /// To answer or refuse it with. Dropped, it is refused with 480.
    pub dialog: Dialog,
    /// What happens in it; ends after [`DialogEvent::Ended`].
    pub events: mpsc::Receiver<DialogEvent>,
    /// What its INVITE says.
    pub invite: InviteInfo,
}

/// What the stack has done, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SipStats {
    /// Messages, repetitions, refusals.
    pub endpoint: EndpointStats,
    /// Calls that are not over.
    pub calls: usize,
    /// Legs remembered: calls, and those whose BYE is not yet answered.
    pub legs: usize,
    /// Client transactions remembered.
    pub client_transactions: usize,
    /// Server transactions remembered.
    pub server_transactions: usize,
    /// Messages of known calls dropped because the ingress queue was full.
    pub ingress_dropped_known: u64,
    /// New requests dropped because the ingress queue was full.
    pub ingress_dropped_new: u64,
    /// Messages dropped unread because their source is blocked, or nothing of it is read.
    pub ingress_dropped_blocked: u64,
    /// Messages dropped unread, or made to wait on their connection, because their source sends too many.
    pub ingress_dropped_source: u64,
    /// Datagrams that the system did not take.
    pub send_failures: u64,
    /// New calls refused with 503 because the host did not take them fast enough.
    pub calls_unclaimed: u64,
    /// Calls ended because their user did not read its events.
    pub calls_unread: u64,
    /// Open TCP connections.
    pub connections: usize,
    /// Connections refused for a limit, or for where they came from.
    pub connections_refused: u64,
    /// What the registrar did.
    pub registrar: RegistrarStats,
    /// Accounts of ours at other registrars.
    pub registrations: usize,
}

/// The running stack. Clones are the same stack; when the last clone and the last [`Dialog`] are gone, it ends.
#[derive(Clone, Debug)]
pub struct SipStack(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    commands: mpsc::Sender<Command>,
    reach: Arc<Reach>,
    connections: Arc<Connections>,
    advertise: Option<String>,
    stats: Arc<Mutex<SipStats>>,
    ingress: Arc<Ingress>,
}

impl SipStack {
    /// Opens the listeners and begins to serve. New calls come by the receiver.
    ///
    /// # Errors
    /// [`SipError::Bind`] naming the address that is taken or not ours, [`SipError::NoListener`],
    /// [`SipError::Target`] for an advertised host that is none, [`SipError::Tls`] for certificates that cannot be
    /// used.
    pub async fn start(config: SipConfig) -> Result<(Self, mpsc::Receiver<IncomingCall>), SipError> {
        let advertise = config.advertise.as_deref().map(public_host).transpose()?;
        let tls = load_tls(config.tls_config.clone()).await?;
        let secure = !config.tls.is_empty() || !config.wss.is_empty();
        if secure && !tls.accepts() {
            let why = "listeners of tls and wss need a certificate with its key".to_owned();
            return Err(SipError::Tls { part: "identity", why });
        }
        let hep = match config.homer.clone() {
            Some(homer) => {
                let address = homer.address;
                Some(Hep::open(homer).map_err(|source| SipError::Homer { address, source })?)
            }
            None => None,
        };
        let (to_control, control) = mpsc::channel(COMMANDS);
        let ingress = Arc::new(Ingress::new(&config.limits));
        let names = Arc::new(PeerNames::default());
        let connections = Arc::new(Connections::new(Parts {
            limits: config.limits.clone(),
            keepalive: config.keepalive,
            ingress: ingress.clone(),
            tls: CurrentTls::new(tls),
            names: names.clone(),
            control: to_control.clone(),
        }));
        let Listening { listeners, sockets, tasks } = listen::open(&config, &connections, &to_control)?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| SipError::Randomness(std::io::Error::other(error.to_string())))?;
        let mut endpoint = Endpoint::new(EndpointConfig {
            listeners: listeners.clone(),
            advertise: advertise.clone(),
            user_agent: config.user_agent.chars().filter(|c| !c.is_control()).collect(),
            limits: config.limits,
            timing: config.timing,
            policy: config.policy,
            seed,
        });
        endpoint.set_sources(&config.sources);
        ingress.set_sources(&config.sources);
        let reach = Arc::new(Reach { listeners, resolver: Resolver::new(&config.dns), names });
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (to_dropped, dropped) = mpsc::unbounded_channel();
        let (incoming, calls) = mpsc::channel(INCOMING);
        let stats = Arc::new(Mutex::new(SipStats::default()));
        let (accounts, rules) = config.registrar.map(|r| (r.accounts, r.rules)).unzip();
        if let Some(rules) = rules {
            endpoint.serve_accounts(rules);
        }
        let (registrations, released) = Registrations::new(accounts);
        let driver = Driver {
            endpoint,
            ingress: ingress.clone(),
            sockets,
            connections: connections.clone(),
            commands: receiver,
            to_commands: commands.downgrade(),
            dropped,
            to_dropped,
            control,
            to_control,
            incoming,
            stats: stats.clone(),
            tasks,
            legs: Legs::default(),
            registrations,
            released,
            traces: Traces::new(hep),
            reach: reach.clone(),
        };
        tokio::spawn(driver.run());
        for listener in &reach.listeners {
            tracing::info!(transport = %listener.transport, address = %listener.address, "listening for SIP");
        }
        Ok((Self(Arc::new(Shared { commands, reach, connections, advertise, stats, ingress })), calls))
    }

    /// The listeners, with the ports that the system chose.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<(Transport, SocketAddr)> {
        self.0.reach.listeners.iter().map(|listener| (listener.transport, listener.address)).collect()
    }

    /// The address to put into a session description for a peer at `remote`: the public one of the listener that
    /// it would be called from, where that is an address of its family, else the one that packets to it leave from.
    #[must_use]
    pub fn media_address(&self, remote: IpAddr) -> Option<IpAddr> {
        self.media_address_by(self.0.reach.listener_towards(remote), remote)
    }

    /// The same for a call that came in at `local` ([`InviteInfo::local`]) by `transport`.
    #[must_use]
    pub fn media_address_at(&self, transport: Transport, local: SocketAddr, remote: IpAddr) -> Option<IpAddr> {
        let mut listeners = self.0.reach.listeners.iter();
        let came_by = listeners.find(|listener| {
            let address = listener.address;
            listener.transport == transport
                && address.port() == local.port()
                && (address.ip() == local.ip()
                    || (address.ip().is_unspecified() && address.is_ipv4() == local.is_ipv4()))
        });
        self.media_address_by(came_by, remote)
    }

    fn media_address_by(&self, listener: Option<&Listener>, remote: IpAddr) -> Option<IpAddr> {
        let remote = remote.to_canonical();
        let public = listener.and_then(|listener| listener.public.as_deref());
        let address = |host: &str| {
            let ip = host.parse::<SocketAddr>().map(|address| address.ip());
            let ip = ip.or_else(|_| host.trim_matches(['[', ']']).parse()).ok();
            ip.filter(|ip| ip.is_ipv4() == remote.is_ipv4())
        };
        let told = public.and_then(address).or_else(|| self.0.advertise.as_deref().and_then(address));
        told.or_else(|| route(SocketAddr::new(remote, 5060)))
    }

    /// Takes another TLS configuration, or the same with its files read again: certificates are renewed without a
    /// restart. It counts for the connections that follow; those that are up stay.
    ///
    /// # Errors
    /// [`SipError::Tls`]; what was in force stays then.
    pub async fn reload_tls(&self, config: TlsConfig) -> Result<(), SipError> {
        let tls = load_tls(config).await?;
        let needed = self.0.reach.listeners.iter().any(|listener| listener.transport.secure());
        if needed && !tls.accepts() {
            let why = "the listeners of tls and wss would be left without a certificate".to_owned();
            return Err(SipError::Tls { part: "identity", why });
        }
        self.0.connections.tls.replace(tls);
        tracing::info!("the TLS configuration was read again");
        Ok(())
    }

    /// Places a call. The host of the target is looked up first; then the INVITE is on its way and the events tell
    /// how it goes.
    ///
    /// # Errors
    /// [`SipError::Target`], [`SipError::Resolve`], [`SipError::Header`], [`SipError::TooManyCalls`],
    /// [`SipError::Closed`].
    pub async fn call(&self, call: OutgoingCall) -> Result<(Dialog, mpsc::Receiver<DialogEvent>), SipError> {
        let call = self.by_account(call).await?;
        let target = sip_uri(&call.target)?;
        let routes = call.routes.iter().map(|route| checked_route(route)).collect::<Result<_, _>>()?;
        let headers = checked_headers(call.headers, false)?;
        let named = || {
            let why = |name: String| SipError::Target {
                uri: call.target.clone(),
                why: format!("transport {name} is not supported"),
            };
            NextHop::of(&target).map_err(why)
        };
        let secure = target.scheme() == Scheme::Sips;
        let (mut ways, open) = match (call.flow, &call.proxy) {
            (Some(flow), _) => (vec![flow], false),
            (None, proxy) => {
                let hop = match proxy {
                    // Every hop of sips is encrypted, the first one above all (RFC 3261 §26.2.2).
                    Some(proxy) if secure => {
                        NextHop { transport: proxy.transport.or(Some(Transport::Tls)), ..proxy.clone() }
                    }
                    Some(proxy) => proxy.clone(),
                    None => named()?,
                };
                (self.0.reach.ways(&hop).await?, hop.transport.is_none())
            }
        };
        if secure && !ways.iter().all(|way| way.transport.secure()) {
            let why = "sips needs TLS on the way to the next hop".to_owned();
            return Err(SipError::Target { uri: call.target, why });
        }
        let flow = ways.remove(0);
        let from = match Uri::from_text(&call.from) {
            Ok(uri) if matches!(uri.scheme(), Scheme::Sip | Scheme::Sips | Scheme::Tel) => uri,
            _ => our_uri(&call.from, &sent_by(&self.0.reach.listeners, self.0.advertise.as_deref(), &flow), secure)?,
        };
        let invite = Invite {
            target,
            from,
            display_name: call.display_name,
            flow,
            or_tcp: open && flow.transport == Transport::Udp,
            others: ways,
            routes,
            credentials: call.credentials,
            headers,
            offer: call.offer,
            ring_timeout: call.ring_timeout,
            redirects: call.redirects,
            by_proxy: call.proxy.is_some() || call.registration.is_some(),
        };
        let (reply, outcome) = oneshot::channel();
        self.0.commands.send(Command::Call(Box::new(invite), reply)).await.map_err(|_| SipError::Closed)?;
        outcome.await.unwrap_or(Err(SipError::Closed))
    }

    pub(crate) async fn send(&self, command: Command) -> Result<(), SipError> {
        self.0.commands.send(command).await.map_err(|_| SipError::Closed)
    }

    /// The ways to a next hop, best first, never none.
    pub(crate) async fn ways(&self, hop: &NextHop) -> Result<Vec<Flow>, SipError> {
        self.0.reach.ways(hop).await
    }

    /// While on, new INVITEs and OPTIONS get 503 with `Retry-After`; calls that are up go on.
    pub fn draining(&self, on: bool) {
        // A full queue is emptied within moments; the order must not get lost.
        self.order(Command::Drain(on));
    }

    /// From now on these sources are trusted, those are not served, and this becomes of strangers. Takes effect within
    /// moments; calls that are up go on, but nothing more is read from a network that is denied.
    pub fn sources(&self, policy: SourcePolicy) {
        let policy = Arc::new(policy);
        self.0.ingress.set_sources(&policy);
        self.order(Command::Sources(policy));
    }

    fn order(&self, command: Command) {
        let commands = self.0.commands.clone();
        if let Err(mpsc::error::TrySendError::Full(command)) = commands.try_send(command) {
            tokio::spawn(async move {
                let _ = commands.send(command).await;
            });
        }
    }

    /// What it has done, and what it holds.
    #[must_use]
    pub fn stats(&self) -> SipStats {
        *self.0.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every call with a BYE, waits two seconds at most for the answers, and closes the listeners.
    pub async fn shutdown(self) {
        let (done, finished) = oneshot::channel();
        if self.0.commands.send(Command::Shutdown(done)).await.is_ok() {
            let _ = finished.await;
        }
    }
}

fn checked_route(text: &str) -> Result<Bytes, SipError> {
    let raw = Bytes::copy_from_slice(text.as_bytes());
    match NameAddr::parse(&raw) {
        Ok(route) => Ok(route.to_bytes()),
        Err(fault) => Err(SipError::Target { uri: text.to_owned(), why: format!("as a route: {fault}") }),
    }
}

/// Reads certificates, which waits for the disk.
async fn load_tls(config: TlsConfig) -> Result<Tls, SipError> {
    let loaded = tokio::task::spawn_blocking(move || Tls::load(&config)).await;
    loaded.unwrap_or_else(|error| Err(SipError::Tls { part: "identity", why: error.to_string() }))
}

/// `sip:` in front where only `user@host` was given.
pub(crate) fn sip_uri(text: &str) -> Result<Uri, SipError> {
    let bad = |why: String| SipError::Target { uri: text.to_owned(), why };
    let trimmed = text.trim();
    let has_scheme = ["sip:", "sips:", "tel:"]
        .iter()
        .any(|s| trimmed.get(..s.len()).is_some_and(|start| start.eq_ignore_ascii_case(s)));
    let full = if has_scheme { trimmed.to_owned() } else { format!("sip:{trimmed}") };
    let uri = Uri::from_text(&full).map_err(|fault| bad(fault.to_string()))?;
    match uri.scheme() {
        Scheme::Sip | Scheme::Sips => Ok(uri),
        Scheme::Tel | Scheme::Other => Err(bad("only sip: URIs can be called without a trunk".to_owned())),
    }
}

/// Us, as a user of ours: `sips:` where the call is one.
fn our_uri(user: &str, sent_by: &str, secure: bool) -> Result<Uri, SipError> {
    // Escaped by a URI on a throw-away address.
    let escaped = Uri::sip(Some(user), SocketAddr::from(([127, 0, 0, 1], 1)), None);
    let user = String::from_utf8_lossy(escaped.user().unwrap_or_default()).into_owned();
    let scheme = if secure { "sips" } else { "sip" };
    let text = if user.is_empty() { format!("{scheme}:{sent_by}") } else { format!("{scheme}:{user}@{sent_by}") };
    Uri::from_text(&text).map_err(|fault| SipError::Target { uri: text.clone(), why: fault.to_string() })
}
