//! The task that owns the endpoint: it alone hands it messages, commands and time, and carries out what it wants.

use super::accounts::{AccountCommand, Registrations};
use super::connections::{Connections, Outgoing};
use super::ingress::{Arrival, Ingress};
use super::reach::Reach;
use super::stack::{IncomingCall, SipStats};
use super::trace::Traces;
use super::{Control, Dialog, udp};
use crate::overload::SourcePolicy;
use crate::ua::{
    DialogEvent, Endpoint, Flow, Incoming, Invite, InviteInfo, LegId, NextHop, Output, RegistrationId, SipError,
    Transmit, Transport,
};
use crate::wire::{HeaderName, Uri};
use bytes::Bytes;
use std::collections::HashMap;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

/// Messages handed to the endpoint before its outputs are carried out and others get their turn.
const BATCH: usize = 64;
/// Events that one call may leave unread; a user that falls this far behind loses the call.
const EVENTS: usize = 64;
/// Names that are looked up at the same time; the system's resolver has a thread for each.
const LOOKUPS: usize = 32;
/// How long a shutdown waits for the answers to its BYEs.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the handles ask.
#[derive(Debug)]
pub(crate) enum Command {
    Call(Box<Invite>, oneshot::Sender<Result<(Dialog, mpsc::Receiver<DialogEvent>), SipError>>),
    Leg { leg: LegId, command: LegCommand, reply: oneshot::Sender<Result<(), SipError>> },
    ReplacesValue(LegId, oneshot::Sender<Result<String, SipError>>),
    Account(AccountCommand),
    Drain(bool),
    Sources(Arc<SourcePolicy>),
    Shutdown(oneshot::Sender<()>),
}

/// What a [`Dialog`] asks.
#[derive(Debug)]
pub(crate) enum LegCommand {
    Ring,
    Progress(Vec<u8>),
    Answer(Vec<u8>),
    Reject { status: u16, reason: Option<String>, headers: Vec<(String, String)> },
    HangUp(Option<(u8, String)>),
    Ack(Vec<u8>),
    Reinvite(Vec<u8>),
    Update(Vec<u8>),
    AnswerReinvite(Result<Vec<u8>, u16>),
    Refer { target: String, headers: Vec<(String, String)> },
    ReferReplacing { other: LegId, headers: Vec<(String, String)> },
    AnswerRefer(Result<(), u16>),
    ReferProgress { status: u16, reason: String },
    InfoDigit { digit: char, duration_ms: u32 },
}

/// The way to the user of one leg.
struct Listening {
    events: mpsc::Sender<DialogEvent>,
    /// Room kept for the last event, so that it arrives however far behind the user is.
    last: Option<mpsc::OwnedPermit<DialogEvent>>,
    call_id: String,
}

/// See the module.
pub(crate) struct Driver {
    pub(crate) endpoint: Endpoint,
    pub(crate) ingress: Arc<Ingress>,
    /// By listener index; `None` for those with connections.
    pub(crate) sockets: Vec<Option<UdpSocket>>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// For the handles that the driver makes. Weak, so that the last handle ends the driver.
    pub(crate) to_commands: mpsc::WeakSender<Command>,
    pub(crate) dropped: mpsc::UnboundedReceiver<LegId>,
    pub(crate) to_dropped: mpsc::UnboundedSender<LegId>,
    pub(crate) control: mpsc::Receiver<Control>,
    pub(crate) to_control: mpsc::Sender<Control>,
    pub(crate) incoming: mpsc::Sender<IncomingCall>,
    pub(crate) stats: Arc<Mutex<SipStats>>,
    /// Readers, acceptors, dialled connections, look-ups: they end with the driver.
    pub(crate) tasks: JoinSet<()>,
    pub(crate) legs: Legs,
    pub(crate) registrations: Registrations,
    /// Registrations whose last handle is gone.
    pub(crate) released: mpsc::UnboundedReceiver<RegistrationId>,
    pub(crate) traces: Traces,
    pub(crate) reach: Arc<Reach>,
}

/// The legs that somebody listens to, and what the edge counts.
pub(crate) struct Legs {
    by_id: HashMap<LegId, Listening>,
    lookups: Arc<Semaphore>,
    send_failures: u64,
    calls_unclaimed: u64,
    calls_unread: u64,
}

impl Default for Legs {
    fn default() -> Self {
        Self {
            by_id: HashMap::new(),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            send_failures: 0,
            calls_unclaimed: 0,
            calls_unread: 0,
        }
    }
}

impl Driver {
    /// Runs until a shutdown, or until nobody holds a handle any more.
    pub(crate) async fn run(mut self) {
        let mut arrivals = Vec::with_capacity(BATCH);
        let mut open = true;
        let mut closing: Option<(Instant, Vec<oneshot::Sender<()>>)> = None;
        loop {
            let deadline = self.endpoint.deadline();
            let left = self.ingress.take(BATCH, &mut arrivals);
            if arrivals.is_empty() {
                let closed_at = closing.as_ref().map(|(at, _)| *at);
                let wake = deadline.into_iter().chain(closed_at).min();
                tokio::select! {
                    () = self.ingress.filled() => {}
                    command = self.commands.recv(), if open => match command {
                        Some(command) => self.command(command, &mut closing),
                        // Every handle is gone: nothing to wait for but the answers to our BYEs.
                        None => {
                            open = false;
                            self.close(&mut closing, None);
                        }
                    },
                    Some(leg) = self.dropped.recv() => self.abandoned(leg),
                    Some(registration) = self.released.recv() => self.released(registration),
                    Some(control) = self.control.recv() => self.control(control),
                    () = sleep_until(wake) => {}
                }
            }
            let now = super::now();
            self.receive(now, &mut arrivals);
            while let Some((source, until)) = self.endpoint.new_block() {
                self.ingress.block(now, source, until);
            }
            self.flush(now);
            for _ in 0..BATCH {
                match self.commands.try_recv() {
                    Ok(command) => self.command(command, &mut closing),
                    Err(_) => break,
                }
            }
            while let Ok(leg) = self.dropped.try_recv() {
                self.abandoned(leg);
            }
            while let Ok(registration) = self.released.try_recv() {
                self.released(registration);
            }
            while let Ok(control) = self.control.try_recv() {
                self.control(control);
            }
            self.endpoint.timeout(now);
            self.flush(now);
            while self.tasks.try_join_next().is_some() {}
            self.publish();
            if let Some((until, _)) = &closing
                && ((self.endpoint.remembered().0 == 0 && self.endpoint.registrations() == 0) || *until <= now)
            {
                break;
            }
            if left {
                tokio::task::yield_now().await;
            }
        }
        self.tasks.shutdown().await;
        for done in closing.map(|(_, waiting)| waiting).unwrap_or_default() {
            let _ = done.send(());
        }
    }

    fn receive(&mut self, now: Instant, arrivals: &mut Vec<Arrival>) {
        for Arrival { bytes, flow, at } in arrivals.drain(..) {
            let age = now.saturating_duration_since(at);
            self.traces.received(&flow, &bytes);
            self.endpoint.receive(now, Incoming { bytes, flow, age });
            self.flush(now);
            self.traces.handled();
        }
    }

    fn command(&mut self, command: Command, closing: &mut Option<(Instant, Vec<oneshot::Sender<()>>)>) {
        let now = super::now();
        match command {
            Command::Call(invite, reply) => {
                let placed = self.endpoint.invite(now, *invite).map(|leg| {
                    let (dialog, events) = self.listen(leg);
                    (dialog, events)
                });
                // An unread reply drops its handle, which ends the call.
                let _ = reply.send(placed);
            }
            Command::Leg { leg, command, reply } => {
                let _ = reply.send(self.leg_command(now, leg, command));
            }
            Command::ReplacesValue(leg, reply) => {
                let _ = reply.send(self.endpoint.replaces_value(leg));
            }
            Command::Account(command) => self.account_command(command),
            Command::Drain(on) => self.endpoint.drain(on),
            Command::Sources(policy) => self.endpoint.set_sources(&policy),
            Command::Shutdown(done) => self.close(closing, Some(done)),
        }
        self.flush(now);
    }

    fn leg_command(&mut self, now: Instant, leg: LegId, command: LegCommand) -> Result<(), SipError> {
        let endpoint = &mut self.endpoint;
        match command {
            LegCommand::Ring => endpoint.ring(now, leg),
            LegCommand::Progress(sdp) => endpoint.progress(now, leg, sdp.into()),
            LegCommand::Answer(sdp) => endpoint.answer(now, leg, sdp.into()),
            LegCommand::Reject { status, reason, headers } => {
                let headers = checked_headers(headers, (300..400).contains(&status))?;
                endpoint.reject(now, leg, status, reason, headers)
            }
            LegCommand::HangUp(reason) => endpoint.hang_up(now, leg, reason),
            LegCommand::Ack(sdp) => endpoint.ack(now, leg, sdp.into()),
            LegCommand::Reinvite(sdp) => endpoint.reinvite(now, leg, sdp.into()),
            LegCommand::Update(sdp) => endpoint.update(now, leg, sdp.into()),
            LegCommand::AnswerReinvite(result) => endpoint.answer_reinvite(now, leg, result.map(Bytes::from)),
            LegCommand::Refer { target, headers } => {
                let uri = Uri::from_text(&target)
                    .map_err(|fault| SipError::Target { uri: target.clone(), why: fault.to_string() })?;
                endpoint.refer(now, leg, &uri, checked_headers(headers, false)?)
            }
            LegCommand::ReferReplacing { other, headers } => {
                endpoint.refer_replacing(now, leg, other, checked_headers(headers, false)?)
            }
            LegCommand::AnswerRefer(decision) => endpoint.answer_refer(now, leg, decision),
            LegCommand::ReferProgress { status, reason } => endpoint.refer_progress(now, leg, status, reason),
            LegCommand::InfoDigit { digit, duration_ms } => endpoint.info_digit(now, leg, digit, duration_ms),
        }
    }

    /// Nobody holds a handle of the leg any more.
    fn abandoned(&mut self, leg: LegId) {
        let now = super::now();
        // An error says that it is over already.
        let _ = self.endpoint.hang_up(now, leg, None);
        self.flush(now);
    }

    fn control(&mut self, control: Control) {
        let now = super::now();
        match control {
            Control::Account(control) => self.account_control(control),
            Control::Disconnected(connection) => self.endpoint.disconnected(now, connection),
            Control::Unsendable(transaction) => self.endpoint.unsendable(now, transaction),
            Control::Unreachable(branch) => self.endpoint.unreachable(now, branch),
            Control::Resolved(leg, ways) => self.endpoint.resolved(now, leg, ways),
        }
        self.flush(now);
    }

    /// Begins to end: no new calls, a BYE for those that are up.
    fn close(&mut self, closing: &mut Option<(Instant, Vec<oneshot::Sender<()>>)>, done: Option<oneshot::Sender<()>>) {
        let now = super::now();
        let (_, waiting) = closing.get_or_insert_with(|| (now + FAREWELL, Vec::new()));
        waiting.extend(done);
        self.endpoint.drain(true);
        self.endpoint.unregister_all(now);
        let legs: Vec<LegId> = self.legs.by_id.keys().copied().collect();
        for leg in legs {
            let _ = self.endpoint.hang_up(now, leg, None);
        }
        self.flush(now);
    }

    /// Carries out what the endpoint wants.
    fn flush(&mut self, now: Instant) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit(transmit) => self.transmit(transmit),
                Output::Incoming { leg, invite } => self.incoming(now, leg, *invite),
                Output::Event { leg, event } => self.event(now, leg, event),
                Output::Alias { flow, port } => self.connections.alias(&flow, port),
                Output::Resolve { leg, hop } => self.resolve(leg, hop),
                Output::KeepAlive { flow } => self.keep_alive(flow),
                other @ (Output::FindAccount { .. }
                | Output::Locate { .. }
                | Output::Registration { .. }
                | Output::Probed { .. }) => self.account_output(other),
                Output::Gone { leg } => {
                    if let Some(listening) = self.legs.by_id.remove(&leg) {
                        self.traces.end(leg, &listening.call_id);
                    }
                }
            }
        }
    }

    fn transmit(&mut self, transmit: Transmit) {
        let Transmit { flow, bytes, transaction } = transmit;
        self.traces.sent(&flow, &bytes);
        match flow.transport {
            Transport::Udp => {
                let Some(Some(socket)) = self.sockets.get(flow.listener) else {
                    self.unsendable(transaction);
                    return;
                };
                if let Err(error) = udp::send(socket, &bytes, flow.remote) {
                    // A full buffer is a lost packet: timers repeat what matters. Anything else will not get better.
                    self.legs.send_failures += 1;
                    if error.kind() != std::io::ErrorKind::WouldBlock {
                        tracing::debug!(remote = %flow.remote, %error, "a datagram could not be sent");
                        self.unsendable(transaction);
                    }
                }
            }
            _ => self.connections.send(&flow, Outgoing { bytes, transaction }, &mut self.tasks),
        }
    }

    /// An empty message for a NAT on the way (RFC 5626 §4.4.1); nobody waits for an answer.
    fn keep_alive(&mut self, flow: Flow) {
        self.transmit(Transmit { flow, bytes: Bytes::from_static(b"\r\n\r\n"), transaction: None });
    }

    fn unsendable(&self, transaction: Option<crate::ua::TransactionId>) {
        if let Some(transaction) = transaction {
            let _ = self.to_control.try_send(Control::Unsendable(transaction));
        }
    }

    fn listen(&mut self, leg: LegId) -> (Dialog, mpsc::Receiver<DialogEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS + 1);
        let last = events.clone().try_reserve_owned().ok();
        let call_id = self.endpoint.call_id(leg).unwrap_or_default();
        let trace = self.traces.begin(leg, &call_id);
        self.legs.by_id.insert(leg, Listening { events, last, call_id: call_id.clone() });
        // Where the last handle is gone already, a channel that leads nowhere does: every command fails.
        let commands = self.to_commands.upgrade().unwrap_or_else(|| mpsc::channel(1).0);
        (Dialog::new(leg, call_id, trace, commands, self.to_dropped.clone()), receiver)
    }

    fn incoming(&mut self, now: Instant, leg: LegId, mut invite: InviteInfo) {
        let incoming = self.incoming.clone();
        let Ok(place) = incoming.try_reserve() else {
            // Cheaply, and without a line of log for each: under a flood there is no end of them.
            self.legs.calls_unclaimed += 1;
            tracing::debug!(sip_call = %invite.call_id, "nobody takes new calls fast enough: one is refused");
            let retry = self.endpoint.retry_after();
            let _ = self.endpoint.reject(now, leg, 503, None, vec![retry]);
            return;
        };
        tracing::info!(sip_call = %invite.call_id, source = %invite.source, "a call came in");
        let connection = self.endpoint.made_on(leg).and_then(|flow| flow.connection);
        if let Some(connection) = connection {
            invite.tls_identities = self.connections.identities(connection).to_vec();
            invite.tls_identity = invite.tls_identities.first().cloned();
        }
        let (dialog, events) = self.listen(leg);
        place.send(IncomingCall { dialog, events, invite });
    }

    fn event(&mut self, now: Instant, leg: LegId, event: DialogEvent) {
        let Some(listening) = self.legs.by_id.get_mut(&leg) else { return };
        if tracing::enabled!(tracing::Level::DEBUG) {
            let sip_call = self.endpoint.call_id(leg).unwrap_or_default();
            tracing::debug!(%sip_call, event = event.name(), "event");
        }
        if let DialogEvent::Ended { status, q850, by_remote, .. } = &event {
            let sip_call = self.endpoint.call_id(leg).unwrap_or_default();
            tracing::info!(%sip_call, by_remote, status, q850, "a call ended");
            if let Some(permit) = listening.last.take() {
                permit.send(event);
            }
            return;
        }
        // Several may find no room before the first has ended the call.
        if let Err(mpsc::error::TrySendError::Full(_)) = listening.events.try_send(event)
            && self.endpoint.hang_up(now, leg, Some((41, "internal error".to_owned()))).is_ok()
        {
            self.legs.calls_unread += 1;
            let sip_call = self.endpoint.call_id(leg).unwrap_or_default();
            tracing::error!(%sip_call, "the call does not read its events: it is ended");
        }
    }

    fn resolve(&mut self, leg: LegId, hop: NextHop) {
        // Without a free place the way the dialog was made goes on to serve.
        let Ok(place) = self.legs.lookups.clone().try_acquire_owned() else { return };
        let control = self.to_control.clone();
        let reach = self.reach.clone();
        self.tasks.spawn(async move {
            let _place = place;
            match reach.ways(&hop).await {
                Ok(ways) => {
                    let _ = control.send(Control::Resolved(leg, ways)).await;
                }
                Err(error) => tracing::debug!(%hop, %error, "a next hop was not found"),
            }
        });
    }

    fn publish(&self) {
        let (legs, clients, servers) = self.endpoint.remembered();
        let (ingress_known, ingress_new) = self.ingress.dropped();
        let gate = self.ingress.gate();
        let (connections, connections_refused) = self.connections.counts();
        let stats = SipStats {
            endpoint: self.endpoint.stats(),
            calls: self.endpoint.calls(),
            legs,
            client_transactions: clients,
            server_transactions: servers,
            ingress_dropped_known: ingress_known,
            ingress_dropped_new: ingress_new,
            send_failures: self.legs.send_failures,
            calls_unclaimed: self.legs.calls_unclaimed,
            calls_unread: self.legs.calls_unread,
            connections,
            connections_refused: connections_refused + gate.connections,
            registrar: self.endpoint.registrar_stats(),
            registrations: self.endpoint.registrations(),
            ingress_dropped_blocked: gate.blocked,
            ingress_dropped_source: gate.source,
        };
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Fields that the stack writes itself.
const RESERVED: [&str; 21] = [
    "via",
    "from",
    "to",
    "call-id",
    "cseq",
    "contact",
    "max-forwards",
    "route",
    "record-route",
    "content-length",
    "content-type",
    "authorization",
    "proxy-authorization",
    "require",
    "proxy-require",
    "supported",
    "allow",
    "session-expires",
    "min-se",
    "rseq",
    "rack",
];

/// Header fields that a user wants to send. A redirect is the one message whose `Contact` its author chooses.
pub(crate) fn checked_headers(
    headers: Vec<(String, String)>,
    redirect: bool,
) -> Result<Vec<(HeaderName, Bytes)>, SipError> {
    headers
        .into_iter()
        .map(|(name, value)| {
            let refused = |why| SipError::Header { name: name.clone(), why };
            let parsed = HeaderName::parse(&Bytes::copy_from_slice(name.as_bytes())).ok_or(refused("not a token"))?;
            let canonical = parsed.as_str().to_ascii_lowercase();
            if RESERVED.contains(&canonical.as_str()) && !(redirect && canonical == "contact") {
                return Err(refused("the stack writes it itself"));
            }
            if value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
                return Err(refused("line break in the value"));
            }
            Ok((parsed, Bytes::from(value.trim().to_owned())))
        })
        .collect()
}
