//! Datagram sockets.

use super::ingress::{Arrival, Ingress};
use super::local::LocalAddresses;
use crate::ua::{Flow, Transport};
use bytes::Bytes;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::UdpSocket;

/// Room for what arrives while the reader waits for the processor: some thousand messages.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Datagrams read per wake-up before others get their turn.
const BATCH: usize = 64;

/// Opens a socket, once to read with and once to send with. Sending goes to the system directly: the runtime would
/// have the first datagrams wait until it has asked whether the socket takes any. No address is shared: two programs on one port would each get half of the calls.
pub(crate) fn bind(address: SocketAddr) -> io::Result<(UdpSocket, std::net::UdpSocket)> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // The system may give less; that is its business.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let _ = socket.set_send_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    let sender = socket.try_clone()?.into();
    Ok((UdpSocket::from_std(socket.into())?, sender))
}

/// Moves what arrives into the queue, until it is aborted.
pub(crate) async fn read(socket: UdpSocket, listener: usize, ingress: Arc<Ingress>, mut locals: LocalAddresses) {
    let mut buffer = vec![0; 65_536];
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if let Err(error) = socket.readable().await {
            tracing::error!(%error, listener, "a UDP listener stopped");
            return;
        }
        let at = super::now();
        while batch.len() < BATCH {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, remote)) => {
                    if let Some(bytes) = message(&buffer[..length]) {
                        batch.push(arrival(bytes, listener, remote, at, &mut locals));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error of an earlier datagram; the socket is fine.
                Err(error) => {
                    tracing::debug!(%error, "a datagram was refused by its destination");
                    if batch.is_empty() {
                        tokio::task::yield_now().await;
                    }
                    break;
                }
            }
        }
        if !batch.is_empty() {
            ingress.push(batch.drain(..));
            tokio::task::yield_now().await;
        }
    }
}

/// A copy of what is more than a keep-alive (RFC 5626 sends line breaks, some phones zeros).
fn message(datagram: &[u8]) -> Option<Bytes> {
    let empty = datagram.iter().all(|&b| matches!(b, b'\r' | b'\n' | 0));
    (!empty).then(|| Bytes::copy_from_slice(datagram))
}

fn arrival(bytes: Bytes, listener: usize, remote: SocketAddr, at: Instant, locals: &mut LocalAddresses) -> Arrival {
    let local = locals.towards(remote);
    let flow = Flow::new(Transport::Udp, listener, local, remote);
    Arrival { bytes, flow, at }
}
