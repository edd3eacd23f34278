//! Port pairs: an even one for RTP, the odd one above it for RTCP (RFC 3550 §11).

use crate::error::MediaError;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

/// Bytes of the socket buffers: more than a second of a call, whatever a stranger sends.
const BUFFER: usize = 64 * 1_024;
/// Expedited forwarding (RFC 4594 §4.1), as the TOS byte.
const TOS: u32 = 46 << 2;
/// Tries to find a free pair where the system chooses the ports.
const TRIES: usize = 256;

/// A bound pair.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) port: u16,
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
    /// The same ports in the other family of addresses, where it is served too.
    pub(crate) other: Option<[UdpSocket; 2]>,
}

/// Which pairs of the range are ours.
#[derive(Debug)]
pub(crate) struct Ports {
    bind: IpAddr,
    other: Option<IpAddr>,
    range: RangeInclusive<u16>,
    /// The first even port.
    first: u16,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    /// One for each pair: taken by us.
    taken: Vec<bool>,
    /// Where to look next, so that a port that was given back is the last to be used again.
    next: usize,
    free: usize,
}

impl Ports {
    /// The pairs of a range; `0..=0` stands for whatever the system has.
    ///
    /// # Errors
    /// [`MediaError::Config`] for a range without a pair.
    pub(crate) fn new(bind: IpAddr, range: RangeInclusive<u16>) -> Result<Self, MediaError> {
        let first = range.start().checked_next_multiple_of(2).unwrap_or(u16::MAX);
        let pairs = (usize::from(*range.end()) + 1).saturating_sub(usize::from(first)) / 2;
        if pairs == 0 && range != (0..=0) {
            let (start, end) = (range.start(), range.end());
            return Err(MediaError::Config(format!(
                "the port range {start}-{end} holds no pair of an even and an odd port"
            )));
        }
        let pairs = if range == (0..=0) { 0 } else { pairs };
        if first == 0 && pairs > 0 {
            return Err(MediaError::Config("the port range must not begin with 0".into()));
        }
        let table = Mutex::new(Table { taken: vec![false; pairs], next: 0, free: pairs });
        Ok(Self { bind, other: None, range, first, table })
    }

    /// Binds every pair to an address of the other family too.
    pub(crate) fn and_on(self, other: Option<IpAddr>) -> Self {
        Self { other, ..self }
    }

    /// How many pairs the range has, and how many of them are not ours now. Both 0 where the system chooses.
    pub(crate) fn count(&self) -> (usize, usize) {
        let table = self.table();
        (table.taken.len(), table.free)
    }

    /// Binds a pair. Ports that other programs hold are passed over.
    ///
    /// # Errors
    /// [`MediaError::PortsExhausted`] when none is left, [`MediaError::Bind`] when the address itself is the problem.
    pub(crate) fn open(&self) -> Result<Pair, MediaError> {
        let (pairs, _) = self.count();
        for _ in 0..pairs.max(if pairs == 0 { TRIES } else { 0 }) {
            let attempt = if pairs == 0 {
                self.any()
            } else {
                let Some(port) = self.claim() else { break };
                self.pair(port).inspect_err(|_| self.release(port))
            };
            match attempt {
                Ok(pair) => return Ok(pair),
                // In use, or kept for somebody else.
                Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {}
                Err(source) => return Err(MediaError::Bind { address: self.bind, source }),
            }
        }
        Err(MediaError::PortsExhausted { range: self.range.clone(), pairs })
    }

    /// Whether sockets can be bound to the address at all.
    ///
    /// # Errors
    /// [`MediaError::Bind`] when it is not an address of this machine.
    pub(crate) fn check_address(&self) -> Result<(), MediaError> {
        for address in [Some(self.bind), self.other].into_iter().flatten() {
            bind(address, 0).map_err(|source| MediaError::Bind { address, source })?;
        }
        Ok(())
    }

    /// Gives a pair back; its sockets must be closed.
    pub(crate) fn release(&self, port: u16) {
        let mut table = self.table();
        let at = usize::from(port.saturating_sub(self.first)) / 2;
        if let Some(taken) = table.taken.get_mut(at)
            && std::mem::take(taken)
        {
            table.free += 1;
        }
    }

    fn claim(&self) -> Option<u16> {
        let mut table = self.table();
        let pairs = table.taken.len();
        let at = (table.next..table.next + pairs).map(|at| at % pairs).find(|at| !table.taken[*at])?;
        table.taken[at] = true;
        table.free -= 1;
        table.next = (at + 1) % pairs;
        u16::try_from(at * 2).ok()?.checked_add(self.first)
    }

    fn pair(&self, port: u16) -> io::Result<Pair> {
        Ok(Pair { port, rtp: bind(self.bind, port)?, rtcp: bind(self.bind, port + 1)?, other: self.others(port)? })
    }

    fn others(&self, port: u16) -> io::Result<Option<[UdpSocket; 2]>> {
        self.other.map(|address| Ok([bind(address, port)?, bind(address, port + 1)?])).transpose()
    }

    /// A pair around a port that the system chooses.
    fn any(&self) -> io::Result<Pair> {
        let one = bind(self.bind, 0)?;
        let port = one.local_addr()?.port();
        if port.is_multiple_of(2) {
            Ok(Pair { port, rtp: one, rtcp: bind(self.bind, port + 1)?, other: self.others(port)? })
        } else {
            Ok(Pair { port: port - 1, rtp: bind(self.bind, port - 1)?, rtcp: one, other: self.others(port - 1)? })
        }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        // The table is consistent between any two statements that could panic: there are none.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bind(address: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(SocketAddr::new(address, port)), Type::DGRAM, Some(Protocol::UDP))?;
    // Without SO_REUSEADDR: Linux would share the port with another program silently.
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SocketAddr::new(address, port).into())?;
    socket.set_nonblocking(true)?;
    // Neither size nor marking is worth failing a call for.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    let _ = if address.is_ipv4() { socket.set_tos_v4(TOS) } else { socket.set_tclass_v6(TOS) };
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use std::net::Ipv4Addr;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn ranges_hold_whole_pairs_only() {
        let pairs = |range| Ports::new(HOST, range).map(|ports| ports.count().0).ok();
        assert_eq!(pairs(10_000..=10_003), Some(2));
        assert_eq!(pairs(10_001..=10_003), Some(1));
        assert_eq!(pairs(10_000..=10_002), Some(1));
        assert_eq!(pairs(10_001..=10_002), None);
        assert_eq!(pairs(65_534..=65_535), Some(1));
        assert_eq!(pairs(65_535..=65_535), None);
        assert_eq!(pairs(0..=0), Some(0));
        assert_eq!(pairs(0..=100), None);
        assert_eq!(Ports::new(HOST, RangeInclusive::new(5, 4)).ok().map(|ports| ports.count()), None);
    }

    #[test]
    fn pairs_are_even_and_odd_and_given_back_ones_come_last() {
        // A range around a pair that the system says is free.
        let free = Ports::new(HOST, 0..=0).unwrap().open().unwrap();
        assert!(free.port.is_multiple_of(2));
        assert_eq!(free.rtp.local_addr().unwrap().port() + 1, free.rtcp.local_addr().unwrap().port());
        let base = free.port;
        drop(free);
        let ports = Ports::new(HOST, base..=base + 1).unwrap();
        let pair = ports.open().unwrap();
        assert_eq!(pair.port, base);
        assert_eq!(ports.count(), (1, 0));
        assert!(matches!(ports.open(), Err(MediaError::PortsExhausted { pairs: 1, .. })));
        drop(pair);
        ports.release(base);
        ports.release(base);
        assert_eq!(ports.count(), (1, 1));
        assert_eq!(ports.open().unwrap().port, base);
    }

    #[test]
    fn ports_of_other_programs_are_passed_over() {
        // Somebody holds every other RTCP port; where that is so, the pair is not taken in half.
        let mut squatted = 0;
        let base = (20_000..28_000).step_by(100).find(|base| bind(HOST, *base).is_ok()).unwrap();
        let held: Vec<_> = (0..20).step_by(2).filter_map(|n| bind(HOST, base + n * 2 + 1).ok()).collect();
        let ports = Ports::new(HOST, base..=base + 39).unwrap();
        let mut pairs = Vec::new();
        while let Ok(pair) = ports.open() {
            assert_eq!((pair.port - base) / 2 % 2, 1, "not beside a port that is held");
            pairs.push(pair);
            squatted += 1;
        }
        assert!(squatted >= 8, "{squatted} of the 10 free pairs, {} held", held.len());
        assert!(matches!(ports.open(), Err(MediaError::PortsExhausted { .. })));
    }

    #[test]
    fn an_address_that_is_not_ours_is_named() {
        let ports = Ports::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 20_000..=20_999).unwrap();
        let error = ports.open().unwrap_err();
        assert!(error.to_string().contains("192.0.2.1"), "{error}");
    }
}
