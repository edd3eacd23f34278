//! A far end made of a plain socket, so that nothing is tested against itself alone.

use callbox_media::{Codec, MediaPlan, dtmf, rtp};
use std::future::Future;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// Longer than anything takes on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A plan for a far end at this address, signalling from the same host.
pub(crate) fn plan(codec: Codec, remote: SocketAddr) -> MediaPlan {
    let payload_type = codec.static_payload_type().unwrap_or(96);
    MediaPlan { dtmf: Some(101), ..MediaPlan::new(codec, payload_type, remote) }
}

/// Fails the test where something never happens.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it takes too long")
}

/// A packet as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) struct Peer {
    socket: UdpSocket,
}

impl Peer {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn receive(&self) -> Option<Received> {
        let mut buffer = [0; 2_000];
        let length = self.socket.recv(&mut buffer).ok()?;
        let packet = rtp::parse(&buffer[..length]).unwrap();
        Some(Received {
            marker: packet.marker,
            payload_type: packet.payload_type,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
            payload: packet.payload.to_vec(),
        })
    }

    /// Packets until `enough`, which sees all of them each time.
    pub(crate) fn until(&self, mut enough: impl FnMut(&[Received]) -> bool) -> Vec<Received> {
        let mut packets = Vec::new();
        while !enough(&packets) {
            packets.push(self.receive().expect("a packet in time"));
            assert!(packets.len() < 10_000, "it never happens");
        }
        packets
    }

    /// So many packets, all of which must be audio.
    pub(crate) fn audio(&self, count: usize) -> Vec<Received> {
        self.audio_until(|packets| packets.len() == count)
    }

    pub(crate) fn audio_until(&self, enough: impl FnMut(&[Received]) -> bool) -> Vec<Received> {
        let packets = self.until(enough);
        assert!(packets.iter().all(|packet| packet.payload_type == 0 || packet.payload_type == 8));
        packets
    }

    /// What has come so far.
    pub(crate) fn take(&self) -> Vec<Received> {
        self.socket.set_nonblocking(true).unwrap();
        let packets = std::iter::from_fn(|| self.receive()).collect();
        self.socket.set_nonblocking(false).unwrap();
        packets
    }

    /// Nothing has come at all.
    pub(crate) fn nothing(&self) -> bool {
        self.take().is_empty()
    }

    /// Takes packets until none has come for so long.
    pub(crate) fn drain_until_quiet(&self, quiet: Duration) {
        self.socket.set_read_timeout(Some(quiet)).unwrap();
        let packets = std::iter::from_fn(|| self.receive()).take(1_000).count();
        assert!(packets < 1_000, "it never becomes quiet");
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    fn send(&self, to: SocketAddr, payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) {
        let mut header = [0; rtp::HEADER];
        let ssrc = u32::from(self.address().port());
        rtp::write_header(&mut header, false, payload_type, sequence, timestamp, ssrc);
        self.socket.send_to(&[&header, payload].concat(), to).unwrap();
    }

    pub(crate) fn send_audio(&self, to: SocketAddr, sequence: u16, timestamp: u32, payload: &[u8]) {
        self.send(to, 0, sequence, timestamp, payload);
    }

    pub(crate) fn send_event(&self, to: SocketAddr, sequence: u16, timestamp: u32, event: dtmf::Event) {
        self.send(to, 101, sequence, timestamp, &event.write());
    }
}
