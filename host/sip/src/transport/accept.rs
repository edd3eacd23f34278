//! Listeners of the transports with connections: taking on, shaking hands, serving.

use super::connections::{Connections, Slot};
use super::{stream, tls, ws};
use crate::ua::{Flow, Transport};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;

/// How long a peer may take for the handshakes of TLS and WebSocket together.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes that may be under way at the same time: each costs a public-key operation and some memory before
/// anybody has said who they are.
const HANDSHAKES: usize = 512;
/// The same from one address.
const HANDSHAKES_PER_SOURCE: usize = 64;

/// Handshakes that are under way, by address.
#[derive(Debug, Default)]
pub(crate) struct Handshakes(Mutex<HashMap<IpAddr, usize>>);

/// One of them.
struct Handshake {
    of: Arc<Handshakes>,
    source: IpAddr,
}

impl Handshakes {
    fn begin(self: &Arc<Self>, source: IpAddr) -> Option<Handshake> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = table.get(&source).copied().unwrap_or_default();
        if here >= HANDSHAKES_PER_SOURCE || table.values().sum::<usize>() >= HANDSHAKES {
            return None;
        }
        table.insert(source, here + 1);
        Some(Handshake { of: self.clone(), source })
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut table = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = table.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                table.remove(&self.source);
            }
        }
    }
}

/// What a listener needs to serve those who come.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) transport: Transport,
    /// Which listener it is.
    pub(crate) index: usize,
    pub(crate) connections: Arc<Connections>,
    pub(crate) handshakes: Arc<Handshakes>,
    /// Web pages that may come by WebSocket; empty for all.
    pub(crate) origins: Arc<[String]>,
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
pub(crate) async fn accept(listener: TcpListener, door: Door) {
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
        };
        match accepted {
            Ok((stream, remote)) => {
                if !door.connections.ingress.connection(super::now(), remote.ip()) {
                    continue;
                }
                let Some(slot) = door.connections.accepted(door.transport, remote) else {
                    tracing::debug!(%remote, "a connection above the limit was closed");
                    continue;
                };
                let Ok(local) = stream.local_addr() else { continue };
                let flow = Flow { connection: Some(slot.id), ..Flow::new(door.transport, door.index, local, remote) };
                if door.transport == Transport::Tcp {
                    let _ = stream.set_nodelay(true);
                    let (reader, writer) = stream.into_split();
                    tasks.spawn(stream::serve(slot, reader, writer, flow));
                    continue;
                }
                let Some(handshake) = door.handshakes.begin(remote.ip()) else {
                    door.connections.refuse();
                    tracing::debug!(%remote, "a handshake above the limit was refused");
                    continue;
                };
                tasks.spawn(welcome(slot, stream, flow, door.clone(), handshake));
            }
            Err(error) => {
                // Out of file descriptors, most likely: give them time to come back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What the handshakes made of a connection.
enum Shaken {
    Tls(Box<TlsStream<TcpStream>>),
    Ws(Box<WebSocketStream<TcpStream>>),
    Wss(Box<WebSocketStream<TlsStream<TcpStream>>>),
}

/// Shakes hands within the time for it, then serves.
async fn welcome(slot: Slot, stream: TcpStream, flow: Flow, door: Door, handshake: Handshake) {
    // Messages are written whole; waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let shaken = timeout(HANDSHAKE, shake(&slot, stream, &door)).await;
    drop(handshake);
    let remote = flow.remote;
    match shaken {
        Ok(Ok(Shaken::Tls(stream))) => {
            let (reader, writer) = tokio::io::split(*stream);
            stream::serve(slot, reader, writer, flow).await;
        }
        Ok(Ok(Shaken::Ws(socket))) => ws::serve(slot, *socket, flow).await,
        Ok(Ok(Shaken::Wss(socket))) => ws::serve(slot, *socket, flow).await,
        Ok(Err(error)) => tracing::debug!(%remote, transport = %door.transport, %error, "a handshake failed"),
        Err(_) => tracing::debug!(%remote, transport = %door.transport, "a handshake took too long"),
    }
}

async fn shake(slot: &Slot, stream: TcpStream, door: &Door) -> io::Result<Shaken> {
    if door.transport == Transport::Ws {
        return Ok(Shaken::Ws(Box::new(ws::upgrade(stream, &door.origins).await?)));
    }
    let acceptor = door.connections.tls.acceptor();
    let acceptor = acceptor.ok_or_else(|| io::Error::other("there is no certificate of ours"))?;
    let stream = acceptor.accept(stream).await?;
    slot.identify(tls::identities(stream.get_ref().1.peer_certificates()));
    if door.transport == Transport::Wss {
        return Ok(Shaken::Wss(Box::new(ws::upgrade(stream, &door.origins).await?)));
    }
    Ok(Shaken::Tls(Box::new(stream)))
}
