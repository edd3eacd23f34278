//! SIP by hand, for what no peer would send, and the answers as they came.

use crate::SOON;
use std::net::SocketAddr;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// A description with these media lines.
#[must_use]
pub fn description(media: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n{media}")
}

/// A whole INVITE with a good description.
#[must_use]
pub fn invite(to: SocketAddr, number: &str, from: SocketAddr, name: &str) -> String {
    offering(&description("m=audio 9 RTP/AVP 0\r\n"), to, number, from, name)
}

fn offering(body: &str, to: SocketAddr, number: &str, from: SocketAddr, name: &str) -> String {
    format!(
        "INVITE sip:{number}@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{name};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:raw@127.0.0.1>;tag={name}\r\nTo: <sip:{number}@{to}>\r\nCall-ID: {name}@raw\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:raw@{from}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A whole OPTIONS.
#[must_use]
pub fn options(to: SocketAddr, from: SocketAddr, name: &str) -> String {
    format!(
        "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{name};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:raw@127.0.0.1>;tag={name}\r\nTo: <sip:{to}>\r\nCall-ID: {name}@raw\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// Sends a request and waits for its final response.
pub async fn ask(socket: &UdpSocket, to: SocketAddr, request: &str) -> String {
    socket.send_to(request.as_bytes(), to).await.unwrap();
    let mut packet = [0; 4_096];
    let answer = async {
        loop {
            let (length, _) = socket.recv_from(&mut packet).await.unwrap();
            let text = String::from_utf8_lossy(&packet[..length]).into_owned();
            if text.starts_with("SIP/2.0 ") && !text.starts_with("SIP/2.0 1") {
                return text;
            }
        }
    };
    timeout(SOON, answer).await.expect("a response in time")
}

/// The response to one INVITE: what refuses a call.
pub async fn ask_invite(to: SocketAddr, number: &str, name: &str) -> String {
    ask_offer(to, number, name, "m=audio 9 RTP/AVP 0\r\n").await
}

/// The response to one INVITE that offers these media lines.
pub async fn ask_offer(to: SocketAddr, number: &str, name: &str, media: &str) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let from = socket.local_addr().unwrap();
    let response = ask(&socket, to, &offering(&description(media), to, number, from, name)).await;
    let tag = response.lines().find(|line| line.starts_with("To:")).unwrap_or_default();
    // Acknowledged, so that it is not sent again.
    let ack = format!(
        "ACK sip:{number}@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{name};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:raw@127.0.0.1>;tag={name}\r\n{tag}\r\nCall-ID: {name}@raw\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
    );
    socket.send_to(ack.as_bytes(), to).await.unwrap();
    response
}

/// Whether OPTIONS is answered.
pub async fn is_alive(to: SocketAddr, name: &str) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let from = socket.local_addr().unwrap();
    ask(&socket, to, &options(to, from, name)).await.starts_with("SIP/2.0 200")
}

/// Numbers that look random and are the same in every run.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// A sequence of its own for each seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number below `below`.
    pub fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % below.max(1)
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| u8::try_from(self.roll(256)).unwrap()).collect()
    }

    /// A message with a few bytes changed, taken away, doubled or put in.
    #[must_use]
    pub fn mutated(&mut self, message: &[u8]) -> Vec<u8> {
        let mut bytes = message.to_vec();
        for _ in 0..=self.roll(6) {
            let at = self.roll(bytes.len());
            match self.roll(5) {
                0 => bytes[at] = u8::try_from(self.roll(256)).unwrap(),
                1 => bytes.truncate(at.max(1)),
                2 => {
                    let piece = bytes[at..(at + self.roll(200)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
                3 => drop(bytes.drain(at..(at + 1 + self.roll(8)).min(bytes.len()).max(at))),
                _ => {
                    let count = self.roll(16);
                    let piece = self.bytes(count);
                    bytes.splice(at..at, piece);
                }
            }
            if bytes.is_empty() {
                bytes.push(b' ');
            }
        }
        bytes.truncate(60_000);
        bytes
    }
}
