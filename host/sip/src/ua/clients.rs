//! Client transactions with what they need: the request as sent, the way it went, the ACKs that repeated finals ask for.

use super::core::Core;
use super::flow::{Flow, LegId, TransactionId, Transmit, Transport};
use super::reply::{put, serialise};
use super::schedule::Due;
use crate::transaction::{ClientReaction, ClientTransaction, Expiry};
use crate::wire::{Field, Headers, Message, Method, StartLine, Via};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

/// Whom the outcome of a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) leg: LegId,
    pub(crate) purpose: Purpose,
}

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Invite,
    Reinvite,
    Update,
    /// An UPDATE that refreshes the session and changes nothing.
    Refresh,
    Prack,
    Cancel,
    Bye,
    Info,
    Refer,
    Notify,
    /// Of a registration; `leg` is its number.
    Register,
    /// An OPTIONS outside of dialogs; `leg` is its number.
    Probe,
    /// The BYE for a branch of a fork that nobody wants; its outcome is nobody's.
    Forked,
}

/// How a request can reach its next hop, best first.
#[derive(Clone, Debug)]
pub(crate) struct Ways {
    pub(crate) flow: Flow,
    /// TCP may be taken for a large message, the transport being our choice.
    pub(crate) or_tcp: bool,
    /// Tried one after the other when the first fails (RFC 3263 §4.3).
    pub(crate) others: Vec<Flow>,
}

impl From<Flow> for Ways {
    fn from(flow: Flow) -> Self {
        Self { flow, or_tcp: false, others: Vec::new() }
    }
}

/// Ways that one request tries.
const MAX_WAYS: usize = 8;

/// Branches of a fork that we acknowledge; what answers beyond them is left to time out.
const MAX_FORKS: usize = 8;

/// One client transaction.
#[derive(Debug)]
pub(crate) struct Client {
    machine: ClientTransaction,
    key: (String, bool),
    pub(crate) owner: Owner,
    /// As sent, with our Via on top.
    pub(crate) request: Message,
    bytes: Bytes,
    pub(crate) flow: Flow,
    /// Sent instead when the transport fails, on the same branch: TCP was tried only for the size of the message
    /// (RFC 3261 §18.1.1), or the connection of the dialog was gone and another may be opened.
    fallback: Option<Flow>,
    /// Other servers of the next hop; each gets a branch of its own.
    others: VecDeque<Flow>,
    /// Branches that servers before this one got. One of them may yet answer.
    left: Vec<String>,
    /// The ACK for each 2xx by its To tag, or under no tag the one for a refusal.
    acks: Vec<(Option<String>, Bytes, Flow)>,
    /// To be forgotten as soon as its owner has looked at the response.
    finished: bool,
    armed: Option<Instant>,
}

/// All client transactions.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    by_id: HashMap<TransactionId, Client>,
    /// By branch, and whether it is the CANCEL that shares it with its INVITE.
    by_key: HashMap<(String, bool), TransactionId>,
}

impl Clients {
    /// What is remembered, in whichever table is the larger: a leak in one of them is a leak.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len().max(self.by_key.len())
    }

    pub(crate) fn get(&self, id: TransactionId) -> Option<&Client> {
        self.by_id.get(&id)
    }

    pub(crate) fn find(&self, branch: String, cancel: bool) -> Option<TransactionId> {
        self.by_key.get(&(branch, cancel)).copied()
    }

    /// Whether the request went to another server since it had this branch.
    pub(crate) fn has_left(&self, id: TransactionId, branch: &str) -> bool {
        self.by_id.get(&id).is_some_and(|client| client.left.iter().any(|left| left == branch))
    }

    /// Whether a 2xx with this tag can be acknowledged for the first time.
    fn takes_another(&self, id: TransactionId, tag: Option<&str>) -> bool {
        self.by_id.get(&id).is_some_and(|client| {
            client.acks.len() < MAX_FORKS && !client.acks.iter().any(|(of, _, _)| of.as_deref() == tag)
        })
    }

    /// Whether no response has come yet.
    pub(crate) fn unanswered(&self, id: TransactionId) -> bool {
        self.by_id.get(&id).is_some_and(|client| client.machine.unanswered())
    }

    fn remove(&mut self, id: TransactionId) {
        if let Some(client) = self.by_id.remove(&id) {
            self.by_key.remove(&client.key);
            for branch in client.left {
                self.by_key.remove(&(branch, client.key.1));
            }
        }
    }
}

/// Above this a request goes by TCP where that is possible, not to be cut into fragments (RFC 3261 §18.1.1).
const MAX_DATAGRAM: usize = 1_300;

/// What became of a response or of time.
#[derive(Debug)]
pub(crate) enum Outcome {
    Nothing,
    /// For the owner. `Err` is a status of our own making: 408 for silence, 503 for a transport that failed.
    Tell(Owner, Result<(), u16>),
    /// The server said no, and another one is tried for the owner.
    Elsewhere(Owner),
}

impl Core {
    /// Starts a transaction: puts our `Via` on top and sends. `or_tcp` allows TCP for a large message.
    pub(crate) fn request(
        &mut self,
        now: Instant,
        message: Message,
        flow: Flow,
        or_tcp: bool,
        owner: Owner,
    ) -> TransactionId {
        self.request_by(now, message, Ways { or_tcp, ..Ways::from(flow) }, owner)
    }

    /// The same with several ways to go: the next is taken when one cannot be reached, keeps silent for 8·T1, or
    /// answers 503 (RFC 3263 §4.3). The owner hears of the last alone.
    pub(crate) fn request_by(&mut self, now: Instant, message: Message, ways: Ways, owner: Owner) -> TransactionId {
        let branch = self.names.branch();
        self.start_client(now, message, ways, owner, branch)
    }

    fn start_client(
        &mut self,
        now: Instant,
        mut message: Message,
        ways: Ways,
        owner: Owner,
        branch: String,
    ) -> TransactionId {
        let Ways { flow, or_tcp, others } = ways;
        let id = self.next_transaction();
        let cancel = owner.purpose == Purpose::Cancel;
        let invite = matches!(owner.purpose, Purpose::Invite | Purpose::Reinvite);
        let via = self.via(&flow, &branch);
        message.headers.set_first(Field::Via, via);
        let mut bytes = serialise(&message);
        let (mut flow, mut fallback) = (flow, None);
        if or_tcp && bytes.len() > MAX_DATAGRAM && flow.transport == Transport::Udp {
            let stream = self.over_tcp(&flow);
            if let Some(stream) = stream {
                fallback = Some(flow);
                flow = stream;
                let via = self.via(&flow, &branch);
                message.headers.set_first(Field::Via, via);
                bytes = serialise(&message);
            }
        }
        if flow.transport.reliable() && flow.connection.is_some() && !flow.transport.web_socket() {
            fallback = Some(Flow { connection: None, ..flow });
        }
        let mut others: VecDeque<Flow> = others.into_iter().take(MAX_WAYS).collect();
        others.retain(|other| (other.transport, other.remote) != (flow.transport, flow.remote));
        let mut machine = ClientTransaction::start(now, invite, flow.transport.reliable(), self.config.timing);
        if !others.is_empty() {
            machine.hurry(now);
        }
        let key = (branch, cancel);
        let mut client = Client {
            machine,
            key,
            owner,
            request: message,
            bytes,
            flow,
            fallback,
            others,
            left: Vec::new(),
            acks: Vec::new(),
            finished: false,
            armed: None,
        };
        self.schedule.arm(&mut client.armed, client.machine.deadline(), Due::Client(id));
        let transmit = Transmit { flow, bytes: client.bytes.clone(), transaction: Some(id) };
        self.clients.by_key.insert(client.key.clone(), id);
        self.clients.by_id.insert(id, client);
        self.transmit(transmit);
        id
    }

    /// Cancels an INVITE that has a provisional response and no final one (RFC 3261 §9.1).
    pub(crate) fn cancel(&mut self, now: Instant, invite: TransactionId, reason: Option<Bytes>) {
        let Some(client) = self.clients.by_id.get_mut(&invite) else { return };
        client.machine.cancelled(now);
        self.schedule.arm(&mut client.armed, client.machine.deadline(), Due::Client(invite));
        let StartLine::Request { uri, .. } = &client.request.start else { return };
        let start = StartLine::Request { method: Method::Cancel, uri: uri.clone() };
        let mut headers = Headers::default();
        put(&mut headers, Field::Via, Bytes::new());
        for field in [Field::MaxForwards, Field::Route, Field::From, Field::To, Field::CallId] {
            headers.copy(field, &client.request.headers);
        }
        let Ok(cseq) = client.request.cseq() else { return };
        put(&mut headers, Field::CSeq, format!("{} CANCEL", cseq.seq));
        if let Some(reason) = reason {
            put(&mut headers, Field::Reason, reason);
        }
        let (flow, branch) = (client.flow, client.key.0.clone());
        let owner = Owner { purpose: Purpose::Cancel, ..client.owner };
        let message = Message { start, headers, body: Bytes::new() };
        self.start_client(now, message, flow.into(), owner, branch);
    }

    /// A response with the branch of this transaction came.
    pub(crate) fn response_for(&mut self, now: Instant, id: TransactionId, response: &Message, status: u16) -> Outcome {
        let Some(client) = self.clients.by_id.get_mut(&id) else { return Outcome::Nothing };
        let invite = matches!(client.owner.purpose, Purpose::Invite | Purpose::Reinvite);
        // RFC 3263 §4.3: this server is there, but has no room; another may have.
        let owner = client.owner;
        let full = status == 503 && client.machine.pending() && !client.others.is_empty();
        let reaction = client.machine.response(now, status);
        if full {
            if matches!(reaction, ClientReaction::DeliverAndAck | ClientReaction::DeliverAckAndFinish) {
                self.acknowledge_refusal(id, response);
            }
            self.next_way(now, id);
            return Outcome::Elsewhere(owner);
        }
        self.schedule.arm(&mut client.armed, client.machine.deadline(), Due::Client(id));
        if invite && (200..300).contains(&status) && reaction == ClientReaction::Deliver {
            // A 2xx that was acknowledged before is acknowledged again, whatever became of the leg.
            let tag = response.to().ok().and_then(|to| to.tag());
            if let Some((_, bytes, flow)) = client.acks.iter().find(|(of, _, _)| *of == tag) {
                let transmit = Transmit { flow: *flow, bytes: bytes.clone(), transaction: None };
                self.stats.retransmissions_received += 1;
                self.transmit(transmit);
                return Outcome::Nothing;
            }
            if client.acks.len() >= MAX_FORKS {
                return Outcome::Nothing;
            }
        }
        match reaction {
            ClientReaction::Deliver => Outcome::Tell(owner, Ok(())),
            ClientReaction::Absorb => Outcome::Nothing,
            ClientReaction::DeliverAndFinish => {
                client.finished = true;
                Outcome::Tell(owner, Ok(()))
            }
            ClientReaction::DeliverAndAck => {
                self.acknowledge_refusal(id, response);
                Outcome::Tell(owner, Ok(()))
            }
            ClientReaction::DeliverAckAndFinish => {
                client.finished = true;
                self.acknowledge_refusal(id, response);
                Outcome::Tell(owner, Ok(()))
            }
            ClientReaction::AckAgain => {
                self.stats.retransmissions_received += 1;
                if let Some((_, bytes, flow)) = client.acks.iter().find(|(tag, _, _)| tag.is_none()) {
                    let transmit = Transmit { flow: *flow, bytes: bytes.clone(), transaction: None };
                    self.transmit(transmit);
                }
                Outcome::Nothing
            }
        }
    }

    /// The ACK for a 300–699, which is part of the transaction: same branch, same way (RFC 3261 §17.1.1.3).
    fn acknowledge_refusal(&mut self, id: TransactionId, response: &Message) {
        let Some(client) = self.clients.by_id.get_mut(&id) else { return };
        let StartLine::Request { uri, .. } = &client.request.start else { return };
        let Ok(cseq) = client.request.cseq() else { return };
        let mut headers = Headers::default();
        headers.copy(Field::Via, &client.request.headers);
        for field in [Field::MaxForwards, Field::Route, Field::From] {
            headers.copy(field, &client.request.headers);
        }
        headers.copy(Field::To, &response.headers);
        headers.copy(Field::CallId, &client.request.headers);
        put(&mut headers, Field::CSeq, format!("{} ACK", cseq.seq));
        let start = StartLine::Request { method: Method::Ack, uri: uri.clone() };
        let bytes = serialise(&Message { start, headers, body: Bytes::new() });
        client.acks.push((None, bytes.clone(), client.flow));
        let flow = client.flow;
        self.transmit(Transmit { flow, bytes, transaction: None });
    }

    /// Sends the ACK of a 2xx, which is a request of its own with a branch of its own (§13.2.2.4), and keeps it for
    /// when the 2xx comes again.
    pub(crate) fn acknowledge(&mut self, invite: TransactionId, tag: Option<String>, mut ack: Message, flow: Flow) {
        let branch = self.names.branch();
        let via = self.via(&flow, &branch);
        ack.headers.set_first(Field::Via, via);
        let bytes = serialise(&ack);
        if let Some(client) = self.clients.by_id.get_mut(&invite) {
            client.acks.push((tag, bytes.clone(), flow));
        }
        self.transmit(Transmit { flow, bytes, transaction: None });
    }

    /// A server that was given up answers after all: a call that it takes is acknowledged and ended.
    pub(crate) fn answered_late(&mut self, now: Instant, id: TransactionId, response: &Message, flow: Flow) {
        self.stats.strays += 1;
        let tag = response.to().ok().and_then(|to| to.tag());
        let Some(owner) = self.clients.get(id).map(|client| client.owner) else { return };
        if matches!(response.status(), Some(200..=299))
            && matches!(owner.purpose, Purpose::Invite | Purpose::Reinvite)
            && self.clients.takes_another(id, tag.as_deref())
        {
            self.acknowledge_and_leave(now, id, owner.leg, response, flow, 0);
        }
    }

    /// Forgets a transaction that its last response finished.
    pub(crate) fn forget_finished(&mut self, id: TransactionId) {
        if self.clients.get(id).is_some_and(|client| client.finished) {
            self.clients.remove(id);
        }
    }

    pub(crate) fn client_due(&mut self, now: Instant, id: TransactionId) -> Outcome {
        let Some(client) = self.clients.by_id.get_mut(&id) else { return Outcome::Nothing };
        client.armed = None;
        match client.machine.expired(now) {
            Expiry::Nothing => {}
            Expiry::Retransmit => {
                let transmit = Transmit { flow: client.flow, bytes: client.bytes.clone(), transaction: Some(id) };
                self.stats.retransmissions_sent += 1;
                self.transmit(transmit);
            }
            Expiry::Finished => {
                self.clients.remove(id);
                return Outcome::Nothing;
            }
            Expiry::TimedOut if !client.others.is_empty() => {
                self.next_way(now, id);
                return Outcome::Nothing;
            }
            Expiry::TimedOut => {
                let owner = client.owner;
                self.clients.remove(id);
                return Outcome::Tell(owner, Err(408));
            }
        }
        if let Some(client) = self.clients.by_id.get_mut(&id) {
            self.schedule.arm(&mut client.armed, client.machine.deadline(), Due::Client(id));
        }
        Outcome::Nothing
    }

    /// The edge could not send a request: tries the other way where there is one, else the request failed (§17.1.4).
    pub(crate) fn unsendable(&mut self, now: Instant, id: TransactionId) -> Outcome {
        let Some(client) = self.clients.by_id.get_mut(&id) else { return Outcome::Nothing };
        if !client.machine.unanswered() {
            return Outcome::Nothing;
        }
        let Some(flow) = client.fallback.take() else {
            if !client.others.is_empty() {
                self.next_way(now, id);
                return Outcome::Nothing;
            }
            let owner = client.owner;
            self.clients.remove(id);
            return Outcome::Tell(owner, Err(503));
        };
        let branch = client.key.0.clone();
        let via = self.via(&flow, &branch);
        if let Some(client) = self.clients.by_id.get_mut(&id) {
            client.flow = flow;
            client.request.headers.set_first(Field::Via, via);
            client.bytes = serialise(&client.request);
            client.machine.restart(now, flow.transport.reliable());
            self.schedule.arm(&mut client.armed, client.machine.deadline(), Due::Client(id));
            let transmit = Transmit { flow, bytes: client.bytes.clone(), transaction: Some(id) };
            self.transmit(transmit);
        }
        Outcome::Nothing
    }

    /// Sends the request to the next server, as a new transaction in all but its owner's eyes.
    fn next_way(&mut self, now: Instant, id: TransactionId) {
        let branch = self.names.branch();
        let Some(client) = self.clients.by_id.get_mut(&id) else { return };
        let Some(flow) = client.others.pop_front() else { return };
        let was = client.flow;
        let via = self.via(&flow, &branch);
        let (before, after) = match self.clients.get(id).map(|client| client.request.from()) {
            Some(Ok(from)) => (self.contact(&was, &from.uri), self.contact(&flow, &from.uri)),
            _ => (Bytes::new(), Bytes::new()),
        };
        let Some(client) = self.clients.by_id.get_mut(&id) else { return };
        // Our address may be another one towards this server.
        if client.request.headers.get(Field::Contact).is_some_and(|contact| *contact == before) {
            client.request.headers.set_checked(Field::Contact, after);
        }
        let key = (branch, client.key.1);
        let left = std::mem::replace(&mut client.key, key.clone());
        client.left.push(left.0);
        tracing::debug!(was = %was.remote, next = %flow.remote, "the next server is tried");
        client.flow = flow;
        client.fallback = None;
        client.acks.retain(|(tag, _, _)| tag.is_some());
        client.finished = false;
        client.request.headers.set_first(Field::Via, via);
        client.bytes = serialise(&client.request);
        client.machine.restart(now, flow.transport.reliable());
        if !client.others.is_empty() {
            client.machine.hurry(now);
        }
        self.schedule.arm(&mut client.armed, client.machine.deadline(), Due::Client(id));
        let transmit = Transmit { flow, bytes: client.bytes.clone(), transaction: Some(id) };
        self.clients.by_key.insert(key, id);
        self.transmit(transmit);
    }

    /// The user gave the request up: no further server is to get it.
    pub(crate) fn give_up(&mut self, id: TransactionId) {
        if let Some(client) = self.clients.by_id.get_mut(&id) {
            client.others.clear();
        }
    }

    fn via(&self, flow: &Flow, branch: &str) -> Bytes {
        let sent_by = self.sent_by(flow);
        // Where we are a TLS server, too, the peer may send its requests by the connection of this one (RFC 5923).
        let serves = self.config.listeners.get(flow.listener).is_some_and(|l| l.transport == Transport::Tls);
        let alias = if flow.transport == Transport::Tls && serves { ";alias" } else { "" };
        Via::value(flow.transport.via(), &sent_by, &format!("{branch}{alias}"))
            // An advertised host that is no host is refused at start, so this cannot be reached.
            .unwrap_or_else(|_| Bytes::from(format!("SIP/2.0/{} invalid;rport;branch={branch}", flow.transport.via())))
    }
}
