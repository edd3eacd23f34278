//! The open connections of every transport that has them: their limits, and which of them a message goes by
//! (RFC 3261 §18, RFC 5923).

use super::Control;
use super::dial;
use super::ingress::Ingress;
use super::names::PeerNames;
use super::tls::CurrentTls;
use crate::overload::{SipLimits, prefix};
use crate::ua::{ConnectionId, Flow, PeerName, TransactionId, Transport};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Messages that may wait to be written to one peer; one more counts as not sent.
const WRITE_QUEUE: usize = 256;

/// Requests that a connection remembers to have written.
const WRITTEN: usize = 64;

/// A message on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) bytes: Bytes,
    pub(crate) transaction: Option<TransactionId>,
}

/// The open connections, found by their id or by whom they lead to.
#[derive(Debug)]
pub(crate) struct Connections {
    table: Mutex<Table>,
    last: AtomicU64,
    refused: AtomicU64,
    pub(crate) limits: SipLimits,
    /// How often a connection that we opened is asked whether the peer is there.
    pub(crate) keepalive: Duration,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) tls: CurrentTls,
    pub(crate) names: Arc<PeerNames>,
    control: mpsc::Sender<Control>,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<ConnectionId, Entry>,
    by_peer: HashMap<Peer, ConnectionId>,
    /// A subscriber of IPv6 with all his addresses is one source.
    by_source: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Entry {
    queue: mpsc::Sender<Outgoing>,
    /// Whom the peer proved to be by a certificate that we asked for.
    identities: Arc<[String]>,
    /// The address and name by which further requests find it (RFC 5923 §5).
    alias: Option<Peer>,
}

/// Whom a connection leads to. One of TLS that we opened serves the name that was proved, and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Peer {
    transport: Transport,
    address: SocketAddr,
    name: Option<PeerName>,
}

/// A connection that is being served.
pub(crate) struct Slot {
    pub(crate) id: ConnectionId,
    pub(crate) remote: SocketAddr,
    pub(crate) queue: mpsc::Receiver<Outgoing>,
    pub(crate) connections: Arc<Connections>,
    /// Whether we opened it.
    pub(crate) ours: bool,
    /// The last requests that were written to it. Should it break, those without any answer are tried another way: a
    /// TLS server that wants a certificate, say, refuses only after we have begun to write.
    pub(crate) written: VecDeque<TransactionId>,
    peer: Peer,
}

impl Slot {
    /// What the peer proved by its certificate.
    pub(crate) fn identify(&self, identities: Vec<String>) {
        if let Some(entry) = self.connections.lock().by_id.get_mut(&self.id) {
            entry.identities = identities.into();
        }
    }
}

fn is_ping(out: &Outgoing) -> bool {
    out.bytes.iter().all(|&b| matches!(b, b'\r' | b'\n'))
}

/// Takes note of a message that was written.
pub(crate) fn wrote(written: &mut VecDeque<TransactionId>, out: &Outgoing) {
    if let Some(transaction) = out.transaction {
        if written.len() >= WRITTEN {
            written.pop_front();
        }
        written.push_back(transaction);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.connections.lock();
        let alias = table.by_id.remove(&self.id).and_then(|entry| entry.alias);
        for peer in alias.into_iter().chain([self.peer]) {
            if table.by_peer.get(&peer) == Some(&self.id) {
                table.by_peer.remove(&peer);
            }
        }
        if let Some(count) = table.by_source.get_mut(&prefix(self.remote.ip())) {
            *count -= 1;
            if *count == 0 {
                table.by_source.remove(&prefix(self.remote.ip()));
            }
        }
        drop(table);
        // What was never written did not go out, and its transactions should know.
        self.queue.close();
        while let Ok(unsent) = self.queue.try_recv() {
            self.connections.unsent(unsent);
        }
        for transaction in self.written.drain(..) {
            self.connections.unsendable(transaction);
        }
        // Phones that registered by it cannot be reached any more. Where the word gets lost, calls to them find out.
        let _ = self.connections.control.try_send(Control::Disconnected(self.id));
    }
}

/// What the connections are made with.
pub(crate) struct Parts {
    pub(crate) limits: SipLimits,
    pub(crate) keepalive: Duration,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) tls: CurrentTls,
    pub(crate) names: Arc<PeerNames>,
    pub(crate) control: mpsc::Sender<Control>,
}

impl Connections {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { limits, keepalive, ingress, tls, names, control } = parts;
        Self {
            table: Mutex::default(),
            last: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            limits,
            keepalive,
            ingress,
            tls,
            names,
            control,
        }
    }

    /// Open connections, and those refused for a limit.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (self.lock().by_id.len(), self.refused.load(Ordering::Relaxed))
    }

    /// Whom the peer of a connection proved to be by its certificate, the best name first.
    pub(crate) fn identities(&self, id: ConnectionId) -> Arc<[String]> {
        self.lock().by_id.get(&id).map(|entry| entry.identities.clone()).unwrap_or_default()
    }

    /// The peer takes requests by the connection that it opened (`alias`, RFC 5923 §5), as the server at `port` of
    /// its address. Only believed of one whose certificate proves a name: that name finds the connection.
    pub(crate) fn alias(&self, flow: &Flow, port: u16) {
        let (Some(id), Transport::Tls) = (flow.connection, flow.transport) else { return };
        let mut table = self.lock();
        let table = &mut *table;
        let Some(entry) = table.by_id.get_mut(&id) else { return };
        let Some(proved) = entry.identities.first().filter(|_| entry.alias.is_none()) else { return };
        let name = self.names.intern(proved);
        let peer =
            Peer { transport: Transport::Tls, address: SocketAddr::new(flow.remote.ip(), port), name: Some(name) };
        // The first one keeps it: a later connection takes over when that is gone.
        if table.by_peer.get(&peer).is_none_or(|id| !table.by_id.contains_key(id)) {
            table.by_peer.insert(peer, id);
            if let Some(entry) = table.by_id.get_mut(&id) {
                entry.alias = Some(peer);
            }
        }
    }

    /// Sends over the flow's connection, over one that leads to the same peer, or over a new one, which `tasks` runs.
    pub(crate) fn send(self: &Arc<Self>, flow: &Flow, out: Outgoing, tasks: &mut JoinSet<()>) {
        let peer = Peer {
            transport: flow.transport,
            address: flow.redial.unwrap_or(flow.remote),
            name: flow.name.filter(|_| flow.transport.secure()),
        };
        let found = {
            let table = self.lock();
            let by_id = flow.connection.and_then(|id| table.by_id.get(&id));
            let found = by_id.or_else(|| {
                let same = Peer { address: flow.remote, ..peer };
                let id = table.by_peer.get(&peer).or_else(|| table.by_peer.get(&same))?;
                table.by_id.get(id)
            });
            found.map(|entry| entry.queue.clone())
        };
        let queue = match found {
            Some(queue) => queue,
            // Whoever came by WebSocket cannot be called back.
            None if flow.transport.web_socket() => {
                self.unsent(out);
                return;
            }
            // Nor is a keep-alive worth a connection, nor a response brought after a TLS client that left: it is known
            // by no name that it could prove.
            None if is_ping(&out) || (flow.transport.secure() && out.bytes.starts_with(b"SIP/2.0 ")) => {
                self.unsent(out);
                return;
            }
            None => {
                let Some((slot, queue)) = self.open(peer, true) else {
                    self.unsent(out);
                    return;
                };
                tasks.spawn(dial::run(slot, *flow));
                queue
            }
        };
        if let Err(error) = queue.try_send(out) {
            self.unsent(error.into_inner());
        }
    }

    /// Makes room for a connection that a peer opened; `None` when a limit is reached.
    pub(crate) fn accepted(self: &Arc<Self>, transport: Transport, remote: SocketAddr) -> Option<Slot> {
        self.open(Peer { transport, address: remote, name: None }, false).map(|(slot, _)| slot)
    }

    fn open(self: &Arc<Self>, peer: Peer, ours: bool) -> Option<(Slot, mpsc::Sender<Outgoing>)> {
        let remote = peer.address;
        let mut table = self.lock();
        let from_source = table.by_source.get(&prefix(remote.ip())).copied().unwrap_or_default();
        if table.by_id.len() >= self.limits.tcp_connections || from_source >= self.limits.tcp_connections_per_source {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let id = ConnectionId(self.last.fetch_add(1, Ordering::Relaxed));
        let (queue, receiver) = mpsc::channel(WRITE_QUEUE);
        table.by_id.insert(id, Entry { queue: queue.clone(), identities: Arc::default(), alias: None });
        table.by_peer.insert(peer, id);
        *table.by_source.entry(prefix(remote.ip())).or_default() += 1;
        drop(table);
        Some((
            Slot { id, remote, queue: receiver, connections: self.clone(), ours, written: VecDeque::new(), peer },
            queue,
        ))
    }

    /// Counts a connection that was closed for a limit of its own.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unsent(&self, out: Outgoing) {
        if let Some(transaction) = out.transaction {
            self.unsendable(transaction);
        }
    }

    fn unsendable(&self, transaction: TransactionId) {
        // When even this finds no room, the transaction's own timer tells.
        let _ = self.control.try_send(Control::Unsendable(transaction));
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
