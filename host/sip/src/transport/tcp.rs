//! Streams: accepting, dialling, framing, keep-alive, and reuse by flow (RFC 3261 §18, RFC 5626 §4.4.1).

use super::Control;
use super::ingress::{Arrival, Ingress};
use super::local::LocalAddresses;
use crate::overload::SipLimits;
use crate::ua::{ConnectionId, Flow, TransactionId, Transport};
use crate::wire::{Frame, Framer};
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Messages that may wait to be written to one peer; one more counts as not sent.
const WRITE_QUEUE: usize = 256;
/// How long one message may take to be written, and a connection to be opened.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the bytes of one message may trickle in.
const TRICKLE: Duration = Duration::from_secs(30);

/// A message on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) bytes: Bytes,
    pub(crate) transaction: Option<TransactionId>,
}

/// The open connections, found by their id or by the peer's address.
#[derive(Debug)]
pub(crate) struct Connections {
    table: Mutex<Table>,
    last: AtomicU64,
    refused: AtomicU64,
    limits: SipLimits,
    ingress: Arc<Ingress>,
    control: mpsc::Sender<Control>,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<ConnectionId, mpsc::Sender<Outgoing>>,
    by_remote: HashMap<SocketAddr, ConnectionId>,
    by_source: HashMap<IpAddr, usize>,
}

/// A connection that is being served.
pub(crate) struct Slot {
    id: ConnectionId,
    remote: SocketAddr,
    queue: mpsc::Receiver<Outgoing>,
    connections: Arc<Connections>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.connections.lock();
        table.by_id.remove(&self.id);
        if table.by_remote.get(&self.remote) == Some(&self.id) {
            table.by_remote.remove(&self.remote);
        }
        if let Some(count) = table.by_source.get_mut(&self.remote.ip()) {
            *count -= 1;
            if *count == 0 {
                table.by_source.remove(&self.remote.ip());
            }
        }
        drop(table);
        // What was never written did not go out, and its transactions should know.
        self.queue.close();
        while let Ok(unsent) = self.queue.try_recv() {
            self.connections.unsent(unsent);
        }
    }
}

impl Connections {
    pub(crate) fn new(limits: SipLimits, ingress: Arc<Ingress>, control: mpsc::Sender<Control>) -> Self {
        Self { table: Mutex::default(), last: AtomicU64::new(0), refused: AtomicU64::new(0), limits, ingress, control }
    }

    /// Open connections, and those refused for a limit.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (self.lock().by_id.len(), self.refused.load(Ordering::Relaxed))
    }

    /// Sends over the flow's connection, over one that leads to the same peer, or over a new one, which `tasks` runs.
    pub(crate) fn send(self: &Arc<Self>, flow: &Flow, out: Outgoing, tasks: &mut JoinSet<()>) {
        let dial = flow.redial.unwrap_or(flow.remote);
        let found = {
            let table = self.lock();
            let by_id = flow.connection.and_then(|id| table.by_id.get(&id));
            let found = by_id.or_else(|| {
                let id = table.by_remote.get(&dial).or_else(|| table.by_remote.get(&flow.remote))?;
                table.by_id.get(id)
            });
            found.cloned()
        };
        let queue = match found {
            Some(queue) => queue,
            None => {
                let Some((slot, queue)) = self.open(dial) else {
                    self.unsent(out);
                    return;
                };
                tasks.spawn(dialled(slot, *flow));
                queue
            }
        };
        if let Err(error) = queue.try_send(out) {
            self.unsent(error.into_inner());
        }
    }

    /// Makes room for a connection; `None` when a limit is reached.
    fn open(self: &Arc<Self>, remote: SocketAddr) -> Option<(Slot, mpsc::Sender<Outgoing>)> {
        let mut table = self.lock();
        let from_source = table.by_source.get(&remote.ip()).copied().unwrap_or_default();
        if table.by_id.len() >= self.limits.tcp_connections || from_source >= self.limits.tcp_connections_per_source {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let id = ConnectionId(self.last.fetch_add(1, Ordering::Relaxed));
        let (queue, receiver) = mpsc::channel(WRITE_QUEUE);
        table.by_id.insert(id, queue.clone());
        table.by_remote.insert(remote, id);
        *table.by_source.entry(remote.ip()).or_default() += 1;
        drop(table);
        Some((Slot { id, remote, queue: receiver, connections: self.clone() }, queue))
    }

    fn unsent(&self, out: Outgoing) {
        if let Some(transaction) = out.transaction {
            // When even this finds no room, the transaction's own timer tells.
            let _ = self.control.try_send(Control::Unsendable(transaction));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a listener.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of the process before us may still be in TIME_WAIT; two listeners on one port remain impossible.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    TcpListener::from_std(socket.into())
}

/// Takes connections on, until it is aborted; its connections end with it.
pub(crate) async fn accept(listener: TcpListener, index: usize, connections: Arc<Connections>) {
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
        };
        match accepted {
            Ok((stream, remote)) => {
                if !connections.ingress.connection(super::now(), remote.ip()) {
                    continue;
                }
                let Some((slot, _)) = connections.open(remote) else {
                    tracing::debug!(%remote, "a connection above the limit was closed");
                    continue;
                };
                let Ok(local) = stream.local_addr() else { continue };
                tasks.spawn(serve(slot, stream, index, local));
            }
            Err(error) => {
                // Out of file descriptors, most likely: give them time to come back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn dialled(slot: Slot, flow: Flow) {
    match timeout(PATIENCE, TcpStream::connect(slot.remote)).await {
        Ok(Ok(stream)) => {
            let mut locals = LocalAddresses::new(flow.local);
            let local = stream.local_addr().map_or(locals.towards(slot.remote), |local| {
                // Our listener's port, not the one the system chose for this connection.
                SocketAddr::new(local.ip(), flow.local.port())
            });
            serve(slot, stream, flow.listener, local).await;
        }
        Ok(Err(error)) => tracing::debug!(remote = %slot.remote, %error, "no connection"),
        Err(_) => tracing::debug!(remote = %slot.remote, "no connection in time"),
    }
}

/// Reads and writes until either side has enough.
async fn serve(mut slot: Slot, stream: TcpStream, listener: usize, local: SocketAddr) {
    // Messages are written whole; waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.into_split();
    let (pong, mut pongs) = mpsc::channel::<Bytes>(4);
    let idle = slot.connections.limits.tcp_idle;
    let connections = slot.connections.clone();
    let remote = slot.remote;
    let flow = Flow { connection: Some(slot.id), ..Flow::new(Transport::Tcp, listener, local, remote) };
    // What is being written when the connection breaks.
    let mut writing = None;
    let write = async {
        loop {
            let out = tokio::select! {
                out = slot.queue.recv() => out,
                Some(bytes) = pongs.recv() => Some(Outgoing { bytes, transaction: None }),
            };
            let Some(out) = out else { return };
            let bytes = writing.insert(out).bytes.clone();
            if !matches!(timeout(PATIENCE, writer.write_all(&bytes)).await, Ok(Ok(()))) {
                return;
            }
            writing = None;
        }
    };
    let read = async {
        let mut buffer = BytesMut::with_capacity(4_096);
        let mut framer = Framer::new();
        let mut heard = Instant::now();
        let mut begun: Option<Instant> = None;
        loop {
            loop {
                match framer.next(&mut buffer) {
                    Ok(Some(Frame::Message(bytes))) => {
                        begun = None;
                        connections.ingress.push_or_wait(Arrival { bytes, flow, at: super::now() }).await;
                    }
                    Ok(Some(Frame::Ping)) => {
                        let _ = pong.try_send(Bytes::from_static(b"\r\n"));
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(%remote, %error, "a stream cannot be framed");
                        if let Some(rejection) = &error.rejection {
                            let _ = pong.try_send(rejection.response("unframed").to_vec().into());
                            // The writer gets its turn before the connection goes.
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                        return;
                    }
                }
            }
            let until = match begun {
                _ if buffer.is_empty() => heard + idle,
                Some(begun) => begun + TRICKLE,
                None => *begun.insert(heard) + TRICKLE,
            };
            buffer.reserve(4_096);
            match tokio::time::timeout_at(until, reader.read_buf(&mut buffer)).await {
                Ok(Ok(1..)) => heard = Instant::now(),
                Ok(Ok(0) | Err(_)) | Err(_) => return,
            }
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
    // First out of the table, so that whoever tries again does not find this connection.
    drop(slot);
    if let Some(unsent) = writing {
        connections.unsent(unsent);
    }
}
