//! What every leg of an endpoint shares: configuration, names, time, transactions, and the way out.

use super::accounts::LookupId;
use super::clients::Clients;
use super::event::{DialogEvent, InviteInfo};
use super::flow::{Flow, LegId, TransactionId, Transmit, Transport, host_of};
use super::names::Names;
use super::next_hop::NextHop;
use super::policy::DialogPolicy;
use super::probe::{Pong, ProbeId};
use super::registration::{RegistrationId, RegistrationState};
use super::schedule::Schedule;
use super::servers::Servers;
use crate::overload::{Admission, SipLimits};
use crate::transaction::Timing;
use crate::wire::{Scheme, Uri};
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// One of our addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What arrives there.
    pub transport: Transport,
    /// The bound address; its port is what we name in `Via` and `Contact`.
    pub address: SocketAddr,
    /// How peers reach it where that differs: `host` or `host:port`, an IPv6 address in brackets.
    pub public: Option<String>,
}

impl Listener {
    /// A listener that peers reach by its own address.
    #[must_use]
    pub fn new(transport: Transport, address: SocketAddr) -> Self {
        Self { transport, address, public: None }
    }
}

/// What an [`Endpoint`](super::Endpoint) is made with.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Our addresses. [`Flow::listener`] points into it.
    pub listeners: Vec<Listener>,
    /// The host that peers are told instead of the local address: an address or a name.
    pub advertise: Option<String>,
    /// `User-Agent` and `Server`; empty says nothing.
    pub user_agent: String,
    /// How much it takes on.
    pub limits: SipLimits,
    /// The base timers.
    pub timing: Timing,
    /// What every dialog keeps to.
    pub policy: DialogPolicy,
    /// Seed of tags, branches, Call-IDs and waits.
    pub seed: [u8; 32],
}

/// What the endpoint wants done or tells.
#[derive(Debug)]
pub enum Output {
    /// Send this.
    Transmit(Transmit),
    /// A call came in. It is answered or refused by its leg.
    Incoming {
        /// Names it.
        leg: LegId,
        /// What its INVITE says.
        invite: Box<InviteInfo>,
    },
    /// Something happened in a leg.
    Event {
        /// Which.
        leg: LegId,
        /// What.
        event: DialogEvent,
    },
    /// Look this next hop up, and tell [`Endpoint::resolved`](super::Endpoint::resolved).
    Resolve {
        /// For whom.
        leg: LegId,
        /// What its dialog names.
        hop: NextHop,
    },
    /// Look an account up, and tell [`Endpoint::account_found`](super::Endpoint::account_found).
    FindAccount {
        /// Names the question.
        lookup: LookupId,
        /// Its user name.
        username: String,
        /// Our realm.
        realm: String,
    },
    /// Look this next hop up, and tell [`Endpoint::located`](super::Endpoint::located).
    Locate {
        /// For which registration.
        registration: RegistrationId,
        /// Where it is to be sent.
        hop: NextHop,
    },
    /// A registration stands differently now. [`RegistrationState::Gone`] is the last.
    Registration {
        /// Which.
        registration: RegistrationId,
        /// How.
        state: RegistrationState,
    },
    /// What became of an OPTIONS.
    Probed {
        /// Which.
        probe: ProbeId,
        /// The answer; none when nothing came, or it could not be sent.
        pong: Option<Pong>,
    },
    /// Send the empty message of a keep-alive this way (RFC 5626 §4.4).
    KeepAlive {
        /// To a peer behind a NAT.
        flow: Flow,
    },
    /// The peer of this TLS connection takes requests by it, as the server at `port` of its address (`alias` in its
    /// `Via`, RFC 5923).
    Alias {
        /// The connection's flow.
        flow: Flow,
        /// The port of its `sent-by`.
        port: u16,
    },
    /// The leg is forgotten; no event follows.
    Gone {
        /// Which.
        leg: LegId,
    },
}

/// What went by, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointStats {
    /// Messages that arrived.
    pub messages_received: u64,
    /// Messages handed out for sending, repetitions included.
    pub messages_sent: u64,
    /// Requests and finals that arrived again.
    pub retransmissions_received: u64,
    /// Requests and responses that we sent again.
    pub retransmissions_sent: u64,
    /// Messages that did not parse.
    pub parse_errors: u64,
    /// Responses and ACKs that belong to nothing.
    pub strays: u64,
    /// Inbound calls taken on.
    pub calls_in: u64,
    /// Outbound calls placed.
    pub calls_out: u64,
    /// INVITEs refused with 503 while shutting down.
    pub shed_draining: u64,
    /// INVITEs refused with 503 for having waited too long in the queue.
    pub shed_stale: u64,
    /// INVITEs refused with 503 for too many calls at once.
    pub shed_calls: u64,
    /// INVITEs refused with 503 for too many calls per second.
    pub shed_rate: u64,
    /// Requests dropped unanswered because their source sends too many.
    pub dropped_source: u64,
    /// Requests dropped unanswered because their dialog sends too many.
    pub dropped_dialog: u64,
    /// New requests dropped because their source is blocked.
    pub dropped_blocked: u64,
    /// New requests dropped because their source names itself as a scanner.
    pub dropped_scanner: u64,
    /// New requests dropped because their source is a stranger and strangers are not served.
    pub dropped_stranger: u64,
    /// Messages dropped because nothing of their source is read.
    pub dropped_denied: u64,
    /// Messages dropped because their source may be forged and had as many answers as such a one gets.
    pub dropped_answers: u64,
    /// Sources that were blocked, each time counted.
    pub sources_blocked: u64,
    /// Sources that something is known of now.
    pub sources: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: EndpointConfig,
    pub(crate) names: Names,
    pub(crate) schedule: Schedule,
    pub(crate) clients: Clients,
    pub(crate) servers: Servers,
    pub(crate) admission: Admission,
    pub(crate) stats: EndpointStats,
    pub(crate) outputs: VecDeque<Output>,
    transactions: u64,
}

impl Core {
    pub(crate) fn new(mut config: EndpointConfig) -> Self {
        // Waits of nothing would fire for ever.
        let timing = &mut config.timing;
        for wait in [&mut timing.t1, &mut timing.t2, &mut timing.t4] {
            *wait = (*wait).max(Duration::from_millis(1));
        }
        Self {
            names: Names::new(config.seed),
            schedule: Schedule::default(),
            clients: Clients::default(),
            servers: Servers::default(),
            admission: Admission::new(config.limits.clone()),
            stats: EndpointStats::default(),
            outputs: VecDeque::new(),
            transactions: 0,
            config,
        }
    }

    pub(crate) fn next_transaction(&mut self) -> TransactionId {
        self.transactions += 1;
        TransactionId(self.transactions)
    }

    pub(crate) fn transmit(&mut self, transmit: Transmit) {
        self.stats.messages_sent += 1;
        self.outputs.push_back(Output::Transmit(transmit));
    }

    pub(crate) fn emit(&mut self, leg: LegId, event: DialogEvent) {
        self.outputs.push_back(Output::Event { leg, event });
    }

    /// `host:port` by which the peer of this flow reaches us.
    pub(crate) fn sent_by(&self, flow: &Flow) -> String {
        sent_by(&self.config.listeners, self.config.advertise.as_deref(), flow)
    }

    /// Our `Contact` on this flow, with the user (still escaped) of the URI that stands for us.
    pub(crate) fn contact(&self, flow: &Flow, ours: &Uri) -> Bytes {
        // Who was called by `sips:` has to stay reachable that way (RFC 5630 §4).
        let secure = flow.transport.secure() && ours.scheme() == Scheme::Sips;
        let mut value = if secure { b"<sips:".to_vec() } else { b"<sip:".to_vec() };
        if let Some(user) = ours.user() {
            value.extend_from_slice(user);
            value.push(b'@');
        }
        value.extend_from_slice(self.sent_by(flow).as_bytes());
        if flow.transport.reliable() {
            value.extend_from_slice(b";transport=");
            value.extend_from_slice(flow.transport.parameter().as_bytes());
        }
        value.push(b'>');
        value.into()
    }

    /// The same way by TCP, where we listen on that too and so can name an address for it.
    pub(crate) fn over_tcp(&self, flow: &Flow) -> Option<Flow> {
        self.listener(Transport::Tcp, flow.remote).map(|listener| Flow {
            transport: Transport::Tcp,
            listener,
            connection: None,
            redial: None,
            ..*flow
        })
    }

    /// A listener from which this peer can be reached.
    pub(crate) fn listener(&self, transport: Transport, remote: SocketAddr) -> Option<usize> {
        let listeners = self.config.listeners.iter();
        let fits = |l: &Listener| l.transport == transport && l.address.is_ipv4() == remote.is_ipv4();
        // Loopback speaks only to loopback.
        let best = |l: &Listener| fits(l) && l.address.ip().is_loopback() == remote.ip().is_loopback();
        listeners.clone().position(best).or_else(|| listeners.clone().position(fits))
    }

    /// The flow with a listener that fits its transport and the peer's address family.
    pub(crate) fn settle_listener(&self, flow: Flow) -> Flow {
        let fits = |l: &Listener| l.transport == flow.transport && l.address.is_ipv4() == flow.remote.is_ipv4();
        if self.config.listeners.get(flow.listener).is_some_and(fits) {
            return flow;
        }
        match self.listener(flow.transport, flow.remote) {
            Some(listener) => Flow { listener, ..flow },
            // A stream can be opened without a listener of its kind; a datagram cannot be sent without a socket.
            None => flow,
        }
    }

    /// 64·T1.
    pub(crate) fn life(&self) -> Duration {
        self.config.timing.transaction_life()
    }
}

/// `host:port` by which the peer of this flow reaches us: what is told of its listener, else what is told of all,
/// where that is of the peer's address family, else our address.
pub(crate) fn sent_by(listeners: &[Listener], advertise: Option<&str>, flow: &Flow) -> String {
    let listener = listeners.get(flow.listener);
    let port = listener.map_or(flow.local.port(), |l| l.address.port());
    let other_family = |host: &str| {
        let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
        ip.is_ok_and(|ip| ip.is_ipv4() != flow.local.ip().to_canonical().is_ipv4())
    };
    match (listener.and_then(|l| l.public.as_deref()), advertise.filter(|host| !other_family(host))) {
        (Some(public), _) if has_port(public) => public.to_owned(),
        (Some(host), _) | (None, Some(host)) => format!("{host}:{port}"),
        (None, None) => format!("{}:{port}", host_of(flow.local.ip())),
    }
}

/// Whether `host:port` has its port; the colons of an IPv6 address stand in brackets.
fn has_port(public: &str) -> bool {
    public.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'))
}
