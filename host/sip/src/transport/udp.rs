//! Datagram sockets.

use super::Control;
use super::icmp;
use super::ingress::{Arrival, Ingress};
use super::local::LocalAddresses;
use super::stun;
use crate::overload::{Admission, SipLimits, SourcePolicy};
use crate::ua::{Flow, Transport};
use crate::wire::Method;
use bytes::Bytes;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// Room for what arrives while the reader waits for the processor: some thousand messages.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Datagrams read per wake-up before others get their turn.
const BATCH: usize = 64;
/// How often a datagram is handed to the system: each try may first have to take the news of an earlier one.
const TRIES: usize = 3;

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
    icmp::ask_for(&socket, address.is_ipv4());
    socket.bind(&address.into())?;
    let sender = socket.try_clone()?.into();
    Ok((UdpSocket::from_std(socket.into())?, sender))
}

/// Sends one datagram. An error that the system has kept since an earlier datagram is not this one's.
pub(crate) fn send(socket: &std::net::UdpSocket, bytes: &[u8], remote: SocketAddr) -> io::Result<()> {
    let mut last = Ok(());
    for _ in 0..TRIES {
        last = match socket.send_to(bytes, remote) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            Err(error) => Err(error),
        };
    }
    last
}

/// The reading side of a listener.
pub(crate) struct Reader {
    pub(crate) socket: UdpSocket,
    pub(crate) listener: usize,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) locals: LocalAddresses,
    pub(crate) limits: SipLimits,
    pub(crate) sources: SourcePolicy,
    pub(crate) control: mpsc::Sender<Control>,
}

impl Reader {
    /// Moves what arrives into the queue, until it is aborted.
    pub(crate) async fn run(mut self) {
        let mut buffer = vec![0; 65_536];
        let mut batch = Vec::with_capacity(BATCH);
        // Its own, since what it lets through never reaches the endpoint.
        let mut stun = Admission::new(self.limits.clone());
        stun.set_policy(&self.sources);
        loop {
            match self.socket.ready(Interest::READABLE | Interest::ERROR).await {
                Ok(ready) if ready.is_error() => self.read_errors(),
                Ok(_) => {}
                Err(error) => {
                    let listener = self.listener;
                    tracing::error!(%error, listener, "a UDP listener stopped");
                    return;
                }
            }
            let at = super::now();
            while batch.len() < BATCH {
                match self.socket.try_recv_from(&mut buffer) {
                    Ok((length, remote)) => {
                        let datagram = &buffer[..length];
                        if stun::is_stun(datagram) {
                            self.answer_stun(datagram, remote, at, &mut stun);
                        } else if let Some(bytes) = message(datagram) {
                            batch.push(self.arrival(bytes, remote, at));
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // The news of an earlier datagram, which the error queue tells better; the socket is fine.
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
                self.ingress.push(batch.drain(..));
            }
            tokio::task::yield_now().await;
        }
    }

    /// Tells the driver which requests did not arrive.
    fn read_errors(&self) {
        for _ in 0..BATCH {
            let read = self.socket.try_io(Interest::ERROR, || icmp::read(&self.socket));
            match read {
                Ok(Some(branch)) => {
                    let _ = self.control.try_send(Control::Unreachable(branch));
                }
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }

    fn answer_stun(&self, datagram: &[u8], remote: SocketAddr, at: Instant, admission: &mut Admission) {
        if !admission.denied(remote.ip())
            && admission.answer(at, remote.ip(), &Method::Options)
            && let Some(answer) = stun::answer(datagram, remote)
        {
            // Lost where the buffer is full: the phone asks again.
            let _ = self.socket.try_send_to(&answer, remote);
        }
    }

    fn arrival(&mut self, bytes: Bytes, remote: SocketAddr, at: Instant) -> Arrival {
        let local = self.locals.towards(remote);
        Arrival { bytes, flow: Flow::new(Transport::Udp, self.listener, local, remote), at }
    }
}

/// A copy of what is more than a keep-alive (RFC 5626 sends line breaks, some phones zeros).
fn message(datagram: &[u8]) -> Option<Bytes> {
    let empty = datagram.iter().all(|&b| matches!(b, b'\r' | b'\n' | 0));
    (!empty).then(|| Bytes::copy_from_slice(datagram))
}
