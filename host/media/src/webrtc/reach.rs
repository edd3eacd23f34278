//! The ports by which browsers reach a plane, and what all its workers share of them.

use crate::error::MediaError;
use crate::webrtc::WebRtcConfig;
use callbox_webrtc::{Candidate, PeerConfig};
use crossbeam_channel::{Receiver, Sender, bounded};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of the buffers of a socket that all calls share: a quarter of a second of a thousand calls.
const BUFFER: usize = 4 << 20;
/// Expedited forwarding (RFC 4594 §4.1), as the TOS byte.
const TOS: u32 = 46 << 2;
/// Connections that wait to be taken.
const BACKLOG: i32 = 256;
/// Buffers for datagrams on their way from one worker to another that are kept for the next.
const POOL: usize = 4_096;
/// No datagram is longer.
pub(crate) const DATAGRAM: usize = 2_048;

/// Room for a datagram.
pub(crate) type Buffer = Box<[u8; DATAGRAM]>;

/// What the workers share.
pub(crate) struct Reach {
    pub(crate) config: WebRtcConfig,
    /// What every peer is made with.
    pub(crate) peers: PeerConfig,
    /// As they are bound.
    pub(crate) udp: Vec<SocketAddr>,
    pub(crate) tcp: Vec<SocketAddr>,
    /// Empty buffers.
    spare: (Sender<Buffer>, Receiver<Buffer>),
    connections: AtomicUsize,
    /// Connections of which it is not known whose call they are, by address. Looked at when one comes or goes.
    strangers: Mutex<HashMap<IpAddr, usize>>,
}

/// The sockets of a plane.
#[derive(Default)]
pub(crate) struct Bound {
    /// For each worker, one for each address.
    pub(crate) udp: Vec<Vec<UdpSocket>>,
    pub(crate) tcp: Vec<TcpListener>,
}

impl Reach {
    /// Binds the ports. `peers` says everything but the candidates.
    ///
    /// All workers have a socket on each UDP port: the system gives each far end to one of them, always the same.
    ///
    /// # Errors
    /// [`MediaError::Config`], [`MediaError::BindWebRtc`].
    pub(crate) fn bind(config: WebRtcConfig, workers: usize, peers: PeerConfig) -> Result<(Self, Bound), MediaError> {
        if config.udp.is_empty() {
            return Err(MediaError::Config("WebRTC needs a UDP port".into()));
        }
        let mut bound = Bound { udp: (0..workers).map(|_| Vec::new()).collect(), tcp: Vec::new() };
        let (mut udp, mut tcp) = (Vec::new(), Vec::new());
        for address in &config.udp {
            let failed = |source| MediaError::BindWebRtc { address: *address, source };
            // Alone first: a port that another program shares would give it half of the calls.
            let alone = bind_udp(*address, false).map_err(failed)?;
            let actual = alone.local_addr().map_err(failed)?;
            udp.push(actual);
            if workers == 1 {
                bound.udp[0].push(alone);
                continue;
            }
            drop(alone);
            for sockets in &mut bound.udp {
                sockets.push(bind_udp(actual, true).map_err(failed)?);
            }
        }
        for address in &config.tcp {
            let failed = |source| MediaError::BindWebRtc { address: *address, source };
            let listener = bind_tcp(*address).map_err(failed)?;
            tcp.push(listener.local_addr().map_err(failed)?);
            bound.tcp.push(listener);
        }
        let candidates = candidates(&config, &udp, &tcp)?;
        let peers = PeerConfig { candidates, ..peers };
        let reach = Self {
            config,
            peers,
            udp,
            tcp,
            spare: bounded(POOL),
            connections: AtomicUsize::new(0),
            strangers: Mutex::new(HashMap::new()),
        };
        Ok((reach, bound))
    }

    /// Our addresses as far ends see them, one of each family: for captures.
    pub(crate) fn hosts(&self) -> [Option<IpAddr>; 2] {
        let of = |v4: bool| self.peers.candidates.iter().map(|one| one.address.ip()).find(|ip| ip.is_ipv4() == v4);
        [of(true), of(false)]
    }

    /// A buffer for a datagram that another worker is to have.
    pub(crate) fn buffer(&self) -> Buffer {
        self.spare.1.try_recv().unwrap_or_else(|_| Box::new([0; DATAGRAM]))
    }

    /// Gives one back.
    pub(crate) fn done(&self, buffer: Buffer) {
        // Where there are enough it has served.
        let _ = self.spare.0.try_send(buffer);
    }

    /// A place for a connection from there; none where there are too many already.
    pub(crate) fn admit(self: &Arc<Self>, from: IpAddr) -> Option<Ticket> {
        if self.connections.fetch_add(1, Ordering::Relaxed) >= self.config.max_tcp {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let network = network_of(from);
        let mut ticket = Ticket { reach: Arc::clone(self), stranger: None };
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        // It has as many entries as there are connections, at most.
        let count = strangers.entry(network).or_default();
        if *count >= self.config.max_tcp_strangers {
            return None;
        }
        *count += 1;
        ticket.stranger = Some(network);
        Some(ticket)
    }
}

/// The place of a connection; dropping it gives it back.
pub(crate) struct Ticket {
    reach: Arc<Reach>,
    stranger: Option<IpAddr>,
}

impl Ticket {
    /// It is known whose call it is: others from there may come.
    pub(crate) fn recognise(&mut self) {
        let Some(network) = self.stranger.take() else { return };
        let mut strangers = self.reach.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = strangers.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                strangers.remove(&network);
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.recognise();
        self.reach.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who counts as one: an address, of IPv6 a network of 64 bits, which is what one customer has (RFC 6177).
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// Every advertised address with the ports of its family, UDP before TCP.
fn candidates(config: &WebRtcConfig, udp: &[SocketAddr], tcp: &[SocketAddr]) -> Result<Vec<Candidate>, MediaError> {
    let own: Vec<IpAddr> = udp.iter().map(SocketAddr::ip).collect();
    let hosts = if config.advertise.is_empty() { &own } else { &config.advertise };
    if hosts.iter().any(IpAddr::is_unspecified) {
        return Err(MediaError::Config("WebRTC needs an address to name: advertise one, or bind to one".into()));
    }
    let mut candidates = Vec::new();
    for (ports, tcp) in [(udp, false), (tcp, true)] {
        for host in hosts {
            let family = ports.iter().filter(|bound| bound.is_ipv4() == host.is_ipv4());
            candidates.extend(family.map(|bound| Candidate { address: SocketAddr::new(*host, bound.port()), tcp }));
        }
    }
    match candidates.first() {
        Some(Candidate { tcp: false, .. }) => Ok(candidates),
        _ => Err(MediaError::Config("no advertised address of WebRTC is of the family of its UDP port".into())),
    }
}

fn bind_udp(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    // Neither size nor marking is worth failing for.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    let _ = if address.is_ipv4() { socket.set_tos_v4(TOS) } else { socket.set_tclass_v6(TOS) };
    Ok(socket.into())
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // What remains of connections before a restart does not keep the port.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
