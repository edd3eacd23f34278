//! Server transactions with what they need to answer: the fields that responses repeat, the last response, the way back.

use super::core::Core;
use super::flow::{Flow, LegId, TransactionId, Transmit};
use super::reply::Reply;
use super::schedule::Due;
use crate::transaction::{Expiry, ServerReaction, ServerTransaction};
use crate::wire::{Field, Headers, Message, Method};
use bytes::Bytes;
use std::collections::HashMap;
use std::time::Instant;

/// One server transaction.
#[derive(Debug)]
pub(crate) struct Server {
    machine: ServerTransaction,
    key: Box<[u8]>,
    merged: Option<Box<[u8]>>,
    /// The leg that the request belongs to, for CANCEL.
    pub(crate) leg: Option<LegId>,
    /// Via, From, To, Call-ID, CSeq, Record-Route, Timestamp of the request.
    request: Headers,
    to_tag: Option<String>,
    flow: Flow,
    last: Option<Bytes>,
    armed: Option<Instant>,
}

/// All server transactions.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    by_id: HashMap<TransactionId, Server>,
    by_key: HashMap<Box<[u8]>, TransactionId>,
    /// INVITEs outside of dialogs by Call-ID, From tag and CSeq: the same by another path is merged (§8.2.2.2).
    merged: HashMap<Box<[u8]>, TransactionId>,
}

impl Server {
    /// The tag that its responses carry.
    pub(crate) fn to_tag(&self) -> Option<String> {
        self.to_tag.clone()
    }
}

impl Servers {
    /// What is remembered, in whichever table is the largest: a leak in one of them is a leak.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len().max(self.by_key.len()).max(self.merged.len())
    }

    pub(crate) fn find(&self, key: &[u8]) -> Option<TransactionId> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn is_merged(&self, key: &[u8]) -> bool {
        self.merged.contains_key(key)
    }

    pub(crate) fn get(&self, id: TransactionId) -> Option<&Server> {
        self.by_id.get(&id)
    }

    pub(crate) fn pending(&self, id: TransactionId) -> bool {
        self.by_id.get(&id).is_some_and(|server| server.machine.pending())
    }

    fn remove(&mut self, id: TransactionId) {
        let Some(server) = self.by_id.remove(&id) else { return };
        self.by_key.remove(&server.key);
        if let Some(merged) = server.merged {
            self.merged.remove(&merged);
        }
    }
}

/// What a new server transaction begins with.
pub(crate) struct Request<'a> {
    pub(crate) message: &'a Message,
    pub(crate) method: Method,
    pub(crate) key: Box<[u8]>,
    pub(crate) merged: Option<Box<[u8]>>,
    pub(crate) flow: Flow,
}

impl Core {
    /// Begins a transaction for a request that matched none.
    pub(crate) fn serve(&mut self, request: Request<'_>, leg: Option<LegId>, to_tag: Option<String>) -> TransactionId {
        let id = self.next_transaction();
        let Request { message, method, key, merged, flow } = request;
        let mut headers = Headers::default();
        for field in
            [Field::Via, Field::From, Field::To, Field::CallId, Field::CSeq, Field::RecordRoute, Field::Timestamp]
        {
            headers.copy(field, &message.headers);
        }
        let invite = method == Method::Invite;
        let machine = ServerTransaction::start(invite, flow.transport.reliable(), self.config.timing);
        self.servers.by_key.insert(key.clone(), id);
        if let Some(merged) = &merged {
            self.servers.merged.insert(merged.clone(), id);
        }
        let server = Server { machine, key, merged, leg, request: headers, to_tag, flow, last: None, armed: None };
        self.servers.by_id.insert(id, server);
        id
    }

    /// Sends a response; nothing when a final one went before. Returns the bytes, which a 2xx to INVITE is repeated from.
    pub(crate) fn respond(&mut self, now: Instant, id: TransactionId, reply: Reply) -> Option<(Bytes, Flow)> {
        let status = reply.status;
        let server = self.servers.by_id.get_mut(&id)?;
        if !server.machine.respond(now, status) {
            return None;
        }
        let bytes = reply.write(&server.request, server.to_tag.as_deref(), &self.config.user_agent);
        server.last = Some(bytes.clone());
        let flow = server.flow;
        self.schedule.arm(&mut server.armed, server.machine.deadline(), Due::Server(id));
        self.transmit(Transmit { flow, bytes: bytes.clone(), transaction: None });
        if status >= 200 && server_finished_at_once(&mut self.servers, id, now) {
            self.servers.remove(id);
        }
        Some((bytes, flow))
    }

    /// The request came again.
    pub(crate) fn request_repeated(&mut self, id: TransactionId) {
        self.stats.retransmissions_received += 1;
        let Some(server) = self.servers.by_id.get_mut(&id) else { return };
        if server.machine.repeated() == ServerReaction::Resend {
            self.resend_last(id);
        }
    }

    /// Sends the last response once more, for repetitions and to keep proxies from giving up while it rings.
    pub(crate) fn resend_last(&mut self, id: TransactionId) {
        let Some(server) = self.servers.by_id.get(&id) else { return };
        if let Some(bytes) = server.last.clone() {
            self.stats.retransmissions_sent += 1;
            let flow = server.flow;
            self.transmit(Transmit { flow, bytes, transaction: None });
        }
    }

    /// An ACK that carries the branch of an INVITE; says whether it belongs to the dialog after all.
    pub(crate) fn request_acknowledged(&mut self, now: Instant, id: TransactionId) -> bool {
        let Some(server) = self.servers.by_id.get_mut(&id) else { return true };
        let reaction = server.machine.acknowledged(now);
        self.schedule.arm(&mut server.armed, server.machine.deadline(), Due::Server(id));
        reaction == ServerReaction::PassToDialog
    }

    pub(crate) fn server_due(&mut self, now: Instant, id: TransactionId) {
        let Some(server) = self.servers.by_id.get_mut(&id) else { return };
        server.armed = None;
        match server.machine.expired(now) {
            Expiry::Finished | Expiry::TimedOut => return self.servers.remove(id),
            Expiry::Retransmit => self.resend_last(id),
            Expiry::Nothing => {}
        }
        if let Some(server) = self.servers.by_id.get_mut(&id) {
            self.schedule.arm(&mut server.armed, server.machine.deadline(), Due::Server(id));
        }
    }
}

/// Over a reliable transport nothing waits for repetitions: the entry goes with the response.
fn server_finished_at_once(servers: &mut Servers, id: TransactionId, now: Instant) -> bool {
    servers.by_id.get_mut(&id).is_some_and(|server| {
        server.machine.deadline().is_some_and(|at| at <= now) && server.machine.expired(now) == Expiry::Finished
    })
}
