//! Classic pcap files of raw IP packets: written, read, merged by time.
//!
//! Addresses and ports stand in headers of IP and UDP that are made here, as they will have been on the wire. Messages
//! that travelled over a stream are written as datagrams too: whoever looks wants the messages.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Records begin with a time and two lengths.
pub const RECORD: usize = 16;
/// The longest headers: IPv6 and UDP.
pub const HEADERS: usize = 48;
/// The longest packet that is written and read.
const LONGEST: usize = 65_535;
/// The protocol number of UDP.
const UDP: u8 = 17;
/// Microseconds, in the order of bytes of this machine's kind.
const MAGIC: u32 = 0xA1B2_C3D4;
/// LINKTYPE_RAW: packets begin with the header of IP.
const RAW_IP: u32 = 101;

/// The head of a file: microseconds, packets of IP (LINKTYPE_RAW).
#[must_use]
pub fn file_header() -> [u8; 24] {
    let mut header = [0; 24];
    header[..4].copy_from_slice(&MAGIC.to_le_bytes());
    header[4..6].copy_from_slice(&2_u16.to_le_bytes());
    header[6..8].copy_from_slice(&4_u16.to_le_bytes());
    header[16..20].copy_from_slice(&(LONGEST as u32).to_le_bytes());
    header[20..].copy_from_slice(&RAW_IP.to_le_bytes());
    header
}

/// Writes one datagram as a record. Of its bytes those from `shown` on are written as zeros; what is longer than a
/// packet can be is cut off. `unix` is the time since 1970.
pub fn record(
    out: &mut Vec<u8>,
    unix: Duration,
    from: SocketAddr,
    to: SocketAddr,
    datagram: &[u8],
    shown: usize,
    identification: u16,
) {
    let datagram = &datagram[..datagram.len().min(LONGEST - HEADERS)];
    let headers = if from.is_ipv4() { 28 } else { HEADERS };
    let length = (headers + datagram.len()) as u32;
    out.extend((unix.as_secs() as u32).to_le_bytes());
    out.extend(unix.subsec_micros().to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(length.to_le_bytes());
    let (shown, hidden) = datagram.split_at(shown.min(datagram.len()));
    let at = out.len();
    ip_header(out, from, to, datagram.len(), identification);
    out.extend_from_slice(shown);
    out.extend(hidden.iter().map(|_| 0));
    if from.is_ipv6() {
        checksum_udp(&mut out[at..]);
    }
}

/// Writes the headers of IP and UDP as they will have been on the wire.
fn ip_header(out: &mut Vec<u8>, from: SocketAddr, to: SocketAddr, payload: usize, identification: u16) {
    let udp = (payload + 8) as u16;
    match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let at = out.len();
            out.extend([0x45, 46 << 2]);
            out.extend((udp + 20).to_be_bytes());
            out.extend(identification.to_be_bytes());
            // May not be cut, 64 hops; the checksum follows.
            out.extend([0x40, 0, 64, UDP, 0, 0]);
            out.extend(source.octets());
            out.extend(destination.octets());
            let sum = checksum(0, &out[at..]);
            out[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
        }
        (source, destination) => {
            let [source, destination] = [source, destination].map(|ip| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            });
            out.extend([0x60, 0, 0, 0]);
            out.extend(udp.to_be_bytes());
            out.extend([UDP, 64]);
            out.extend(source.octets());
            out.extend(destination.octets());
        }
    }
    out.extend(from.port().to_be_bytes());
    out.extend(to.port().to_be_bytes());
    out.extend(udp.to_be_bytes());
    // None over IPv4, where none is needed.
    out.extend([0, 0]);
}

/// Puts the checksum into a UDP packet over IPv6, where one is needed (RFC 8200 §8.1).
fn checksum_udp(packet: &mut [u8]) {
    let length = (packet.len() - 40) as u64;
    let sum = checksum(length + u64::from(UDP), &packet[8..]);
    let sum = if sum == 0 { 0xFFFF } else { sum };
    packet[46..48].copy_from_slice(&sum.to_be_bytes());
}

/// The checksum of the Internet (RFC 1071), over `before` too.
fn checksum(before: u64, bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum = before + words.sum::<u64>();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

/// The records of a file of ours, one after the other. A file that ends in the middle of one ends before it.
#[derive(Debug)]
pub struct Records<R> {
    from: R,
}

/// A record as it stands in a file, and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Since 1970.
    pub at: Duration,
    /// Its head and its packet.
    pub bytes: Vec<u8>,
}

impl<R: Read> Records<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// It is no file of this kind, or cannot be read.
    pub fn new(mut from: R) -> io::Result<Self> {
        let mut header = [0; 24];
        from.read_exact(&mut header)?;
        if header[..4] != MAGIC.to_le_bytes() || header[20..] != RAW_IP.to_le_bytes() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a capture of IP packets that was made here"));
        }
        Ok(Self { from })
    }
}

impl<R: Read> Iterator for Records<R> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let mut head = [0; RECORD];
        self.from.read_exact(&mut head).ok()?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = word(8) as usize;
        if length > LONGEST {
            return None;
        }
        let mut bytes = vec![0; RECORD + length];
        bytes[..RECORD].copy_from_slice(&head);
        self.from.read_exact(&mut bytes[RECORD..]).ok()?;
        let at = Duration::from_secs(word(0).into()) + Duration::from_micros(word(4).into());
        Some(Record { at, bytes })
    }
}

/// Writes a file with the records of all, by their times.
///
/// # Errors
/// The file cannot be written.
pub fn merge(sources: Vec<Box<dyn Iterator<Item = Record> + '_>>, out: &mut impl Write) -> io::Result<()> {
    out.write_all(&file_header())?;
    let mut sources: Vec<_> = sources.into_iter().map(Iterator::peekable).collect();
    loop {
        let times = sources.iter_mut().enumerate().filter_map(|(n, source)| Some((source.peek()?.at, n)));
        // A call has few sources: looking at all of them is cheap. Of two at one time the first goes first.
        let Some((_, first)) = times.min() else { return Ok(()) };
        if let Some(record) = sources[first].next() {
            out.write_all(&record.bytes)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(ms: u64, payload: &[u8], v6: bool) -> Record {
        let [from, to] =
            if v6 { ["[2001:db8::1]:5060", "[2001:db8::2]:6000"] } else { ["192.0.2.1:5060", "192.0.2.2:6000"] };
        let at = Duration::from_millis(ms);
        let mut bytes = Vec::new();
        record(&mut bytes, at, from.parse().unwrap(), to.parse().unwrap(), payload, usize::MAX, 7);
        Record { at, bytes }
    }

    #[test]
    fn files_are_merged_by_time() {
        let signalling = vec![one(10, b"INVITE", false), one(40, b"BYE", false)];
        let mut file = file_header().to_vec();
        for record in [one(20, b"rtp 1", true), one(30, b"rtp 2", false)] {
            file.extend(record.bytes);
        }
        // Killed in the middle of a record.
        file.extend([1, 2, 3]);
        let mut out = Vec::new();
        let records = Records::new(&file[..]).unwrap();
        merge(vec![Box::new(signalling.into_iter()), Box::new(records)], &mut out).unwrap();
        let times: Vec<u128> = Records::new(&out[..]).unwrap().map(|record| record.at.as_millis()).collect();
        assert_eq!(times, [10, 20, 30, 40]);
    }

    #[test]
    fn what_is_hidden_is_zeros() {
        let address = "192.0.2.1:5060".parse().unwrap();
        let mut out = Vec::new();
        record(&mut out, Duration::ZERO, address, address, b"headersecret", 6, 0);
        assert!(out.ends_with(b"header\0\0\0\0\0\0"));
    }

    #[test]
    fn what_is_no_file_of_ours_is_told() {
        assert!(Records::new(&b"RIFF"[..]).is_err());
        assert!(Records::new(&[0; 24][..]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_behind_a_head_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut file = file_header().to_vec();
            file.extend(bytes);
            let read: usize = Records::new(&file[..]).unwrap().map(|record| record.bytes.len()).sum();
            prop_assert!(read <= file.len());
        }

        #[test]
        fn headers_of_both_families_add_up(payload in proptest::collection::vec(any::<u8>(), 0..100), v6 in any::<bool>()) {
            let packet = &one(1, &payload, v6).bytes[RECORD..];
            if v6 {
                // Over a packet with its checksum, the sum is zero.
                let sum = checksum((packet.len() - 40) as u64 + u64::from(UDP), &packet[8..]);
                prop_assert_eq!(sum, 0);
            } else {
                prop_assert_eq!(checksum(0, &packet[..20]), 0);
                prop_assert_eq!(usize::from(packet[2]) << 8 | usize::from(packet[3]), packet.len());
            }
        }
    }
}
