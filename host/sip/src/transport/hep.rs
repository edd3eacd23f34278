//! A copy of every SIP message for a Homer server: HEP version 3 over UDP (github.com/sipcapture/HEP).
//!
//! Credentials, SRTP keys and digits are taken out first, as in a ladder. A datagram that the system does not take at
//! once is lost: nobody waits for a monitor.

use crate::ladder::redact;
use crate::ua::{Flow, Transport};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Where copies go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Homer {
    /// The server's address; 9060 is its usual port.
    pub address: SocketAddr,
    /// The number by which it knows this host (`capture id`).
    pub id: u32,
    /// What it asks for as proof that we may, where it does (`capture password`).
    pub password: Option<String>,
}

/// The way to a Homer server.
#[derive(Debug)]
pub(crate) struct Hep {
    socket: UdpSocket,
    homer: Homer,
    packet: Vec<u8>,
}

/// No datagram holds more; what is longer is cut off.
const LONGEST: usize = 60_000;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// The kind of protocol that is copied.
const SIP: u8 = 1;

/// Chunks by their numbers, all of the generic vendor.
#[derive(Clone, Copy)]
#[repr(u16)]
enum Chunk {
    Family = 1,
    Protocol = 2,
    SourceV4 = 3,
    DestinationV4 = 4,
    SourceV6 = 5,
    DestinationV6 = 6,
    SourcePort = 7,
    DestinationPort = 8,
    Seconds = 9,
    Microseconds = 10,
    Kind = 11,
    Id = 12,
    Password = 14,
    Payload = 15,
    Correlation = 17,
}

impl Hep {
    /// Opens a socket towards it.
    pub(crate) fn open(homer: Homer) -> io::Result<Self> {
        let any: IpAddr = if homer.address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(homer.address)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, homer, packet: Vec::new() })
    }

    /// Copies a message. `at` is the time since 1970.
    pub(crate) fn copy(&mut self, at: Duration, sent: bool, flow: &Flow, call_id: &[u8], message: &[u8]) {
        self.write(at, sent, flow, call_id, message);
        // Lost, if nobody takes it: the next one may arrive.
        let _ = self.socket.send(&self.packet);
    }

    fn write(&mut self, at: Duration, sent: bool, flow: &Flow, call_id: &[u8], message: &[u8]) {
        let (source, destination) = if sent { (flow.local, flow.remote) } else { (flow.remote, flow.local) };
        let text = redact(message);
        let payload = &text.as_bytes()[..text.len().min(LONGEST)];
        let password = self.homer.password.clone();
        let id = self.homer.id;
        self.packet.clear();
        self.packet.extend_from_slice(b"HEP3\0\0");
        match (source.ip().to_canonical(), destination.ip().to_canonical()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                self.chunk(Chunk::Family, &[IPV4]);
                self.chunk(Chunk::SourceV4, &from.octets());
                self.chunk(Chunk::DestinationV4, &to.octets());
            }
            (from, to) => {
                let v6 = |ip: IpAddr| match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                    IpAddr::V6(ip) => ip.octets(),
                };
                self.chunk(Chunk::Family, &[IPV6]);
                self.chunk(Chunk::SourceV6, &v6(from));
                self.chunk(Chunk::DestinationV6, &v6(to));
            }
        }
        // The numbers of the Internet's registry: UDP, TCP.
        self.chunk(Chunk::Protocol, &[if flow.transport == Transport::Udp { 17 } else { 6 }]);
        self.chunk(Chunk::SourcePort, &source.port().to_be_bytes());
        self.chunk(Chunk::DestinationPort, &destination.port().to_be_bytes());
        self.chunk(Chunk::Seconds, &(at.as_secs() as u32).to_be_bytes());
        self.chunk(Chunk::Microseconds, &at.subsec_micros().to_be_bytes());
        self.chunk(Chunk::Kind, &[SIP]);
        self.chunk(Chunk::Id, &id.to_be_bytes());
        if let Some(password) = password {
            self.chunk(Chunk::Password, password.as_bytes());
        }
        self.chunk(Chunk::Correlation, call_id);
        self.chunk(Chunk::Payload, payload);
        let length = self.packet.len().min(usize::from(u16::MAX)) as u16;
        self.packet[4..6].copy_from_slice(&length.to_be_bytes());
    }

    fn chunk(&mut self, chunk: Chunk, value: &[u8]) {
        // What does not fit any more is left out rather than the lengths be wrong.
        let Some(room) = usize::from(u16::MAX).checked_sub(self.packet.len() + 6) else { return };
        let value = &value[..value.len().min(room)];
        self.packet.extend_from_slice(&[0, 0]);
        self.packet.extend_from_slice(&(chunk as u16).to_be_bytes());
        self.packet.extend_from_slice(&(value.len() as u16 + 6).to_be_bytes());
        self.packet.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn read(packet: &[u8]) -> HashMap<u16, Vec<u8>> {
        assert_eq!(&packet[..4], b"HEP3");
        assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])), packet.len());
        let (mut chunks, mut rest) = (HashMap::new(), &packet[6..]);
        while !rest.is_empty() {
            let word = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
            let length = usize::from(word(4));
            chunks.insert(word(2), rest[6..length].to_vec());
            rest = &rest[length..];
        }
        chunks
    }

    fn flow(local: &str, remote: &str) -> Flow {
        Flow::new(Transport::Tcp, 0, local.parse().unwrap(), remote.parse().unwrap())
    }

    #[test]
    fn homer_gets_every_message_without_its_secrets() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let homer = Homer { address: server.local_addr().unwrap(), id: 2_001, password: Some("pass".into()) };
        let mut hep = Hep::open(homer).unwrap();
        let message = b"REGISTER sip:x SIP/2.0\r\nCall-ID: a\r\nAuthorization: Digest response=\"0a\"\r\n\r\n";
        let at = Duration::new(1_795_000_000, 123_456_000);
        hep.copy(at, false, &flow("192.0.2.1:5060", "192.0.2.2:6000"), b"a", message);
        let mut buffer = [0; 2_048];
        let length = server.recv(&mut buffer).unwrap();
        let chunks = read(&buffer[..length]);
        assert_eq!(chunks[&1], [IPV4]);
        assert_eq!(chunks[&2], [6]);
        assert_eq!((&chunks[&3][..], &chunks[&4][..]), (&[192, 0, 2, 2][..], &[192, 0, 2, 1][..]));
        assert_eq!(chunks[&7], 6_000_u16.to_be_bytes());
        assert_eq!(chunks[&9], 1_795_000_000_u32.to_be_bytes());
        assert_eq!(chunks[&10], 123_456_u32.to_be_bytes());
        assert_eq!(chunks[&12], 2_001_u32.to_be_bytes());
        assert_eq!(chunks[&14], b"pass");
        assert_eq!(chunks[&17], b"a");
        let text = String::from_utf8(chunks[&15].clone()).unwrap();
        assert!(text.starts_with("REGISTER sip:x SIP/2.0\r\n") && !text.contains("0a"), "{text}");
    }

    #[test]
    fn lengths_are_right_whatever_is_copied() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let homer = Homer { address: server.local_addr().unwrap(), id: 1, password: None };
        let mut hep = Hep::open(homer).unwrap();
        for (length, call_id) in [(0, 0), (64_999, 10), (70_000, 300), (65_000, 70_000)] {
            let message = vec![b'x'; length];
            hep.write(
                Duration::ZERO,
                true,
                &flow("[2001:db8::1]:1", "[2001:db8::2]:2"),
                &vec![b'c'; call_id],
                &message,
            );
            let chunks = read(&hep.packet);
            assert_eq!(chunks[&1], [IPV6]);
            assert!(chunks.get(&15).is_none_or(|payload| payload.len() <= LONGEST));
        }
    }
}
