//! Many telephones that register at a host: each with an account and a UDP socket of its own.
//!
//! `callbox-load phones HOST:PORT COUNT PASSWORD` takes the accounts `phone-0`, `phone-1`, … It prints a line of JSON when
//! its sockets are open, then obeys lines on standard input: `register MS` lets all of them begin anew within so many
//! milliseconds, with a `Call-ID` of their own and without credentials, as after a power cut; `refresh MS` lets them
//! register once more, with the nonce that they have. When every phone has its answer, or has given up, a line of JSON
//! says how that went. The end of input ends it.
//!
//! A phone does what RFC 3261 asks of it: it repeats what is not answered after 0.5, 1, 2, 4 … seconds (§17.1.2.2), answers
//! a challenge (§22.2), and where it gets 503 comes again after the time in `Retry-After`. Phones are ten to an
//! address, as behind the NAT of a small office: 127.1.0.1, 127.1.0.2, …

use md5::{Digest, Md5};
use serde_json::{Value, json};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// Phones of one address.
const HOUSEHOLD: u32 = 10;
/// Between the first two sendings of a request.
const T1: Duration = Duration::from_millis(500);
/// Between two sendings at most.
const T2: Duration = Duration::from_secs(4);
/// A request that has no final answer after so long has failed.
const PATIENCE: Duration = Duration::from_secs(32);
/// Refusals until a phone gives up.
const REFUSALS: u64 = 10;

/// Registers phones as standard input says.
pub(crate) fn run(mut arguments: impl Iterator<Item = String>) -> io::Result<()> {
    let usage = || io::Error::other("usage: callbox-load phones HOST:PORT COUNT PASSWORD");
    let host: SocketAddrV4 = arguments.next().and_then(|text| text.parse().ok()).ok_or_else(usage)?;
    let count: u32 = arguments.next().and_then(|text| text.parse().ok()).ok_or_else(usage)?;
    let password = arguments.next().ok_or_else(usage)?;
    let orders = crate::orders();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut phones = Vec::new();
        for n in 0..count {
            phones.push(Phone::new(n, host, &password).await?);
        }
        crate::tell(&json!({ "phones": count }))?;
        // Nothing else is to be done while an order is awaited.
        while let Ok(order) = orders.recv() {
            let (word, ms) = order.split_once(' ').ok_or_else(usage)?;
            let within = Duration::from_millis(ms.parse().map_err(|_| usage())?);
            let anew = match word {
                "register" => true,
                "refresh" => false,
                _ => return Err(usage()),
            };
            let told;
            (phones, told) = all(phones, anew, within).await?;
            crate::tell(&told)?;
        }
        Ok(())
    })
}

/// Lets all phones register within a span.
async fn all(phones: Vec<Phone>, anew: bool, within: Duration) -> io::Result<(Vec<Phone>, Value)> {
    let (began, count) = (Instant::now(), phones.len());
    let mut tasks = JoinSet::new();
    for (n, mut phone) in phones.into_iter().enumerate() {
        let at = began + within.mul_f64(n as f64 / count as f64);
        tasks.spawn(async move {
            if !within.is_zero() {
                tokio::time::sleep_until(at).await;
            }
            let seen = phone.register(anew).await;
            (phone, seen)
        });
    }
    let (mut phones, mut total) = (Vec::with_capacity(count), Seen::default());
    let (mut registered_ms, mut done_ms, mut answer_ms) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(done) = tasks.join_next().await {
        let (phone, seen) = done.map_err(io::Error::other)?;
        let seen = seen?;
        total.sent += seen.sent;
        total.repeated += seen.repeated;
        total.challenged += seen.challenged;
        total.refused += seen.refused;
        total.failed += seen.failed;
        answer_ms.extend(seen.answer_ms);
        if let (Some(from), Some(until)) = (seen.began, seen.registered) {
            registered_ms.push((until - from).as_secs_f64() * 1e3);
            done_ms.push((until - began).as_secs_f64() * 1e3);
        }
        phones.push(phone);
    }
    let told = json!({
        "phones": count, "registered": done_ms.len(), "failed": total.failed, "sent": total.sent,
        "repeated": total.repeated, "challenged": total.challenged, "refused": total.refused,
        "answer": told(answer_ms), "registered_after": told(registered_ms), "done": told(done_ms),
    });
    Ok((phones, told))
}

/// Some times in milliseconds.
fn told(mut times: Vec<f64>) -> Value {
    times.sort_unstable_by(f64::total_cmp);
    let at = |permille: usize| times.get((times.len() * permille).div_ceil(1_000).max(1) - 1).copied();
    json!({ "count": times.len(), "p50_ms": at(500), "p90_ms": at(900), "p99_ms": at(990), "max_ms": at(1_000) })
}

/// How one phone's registration went.
#[derive(Default)]
struct Seen {
    /// Requests, the repeated ones not counted.
    sent: u64,
    repeated: u64,
    challenged: u64,
    refused: u64,
    failed: u64,
    began: Option<Instant>,
    registered: Option<Instant>,
    /// From the first sending of each request to its final answer.
    answer_ms: Vec<f64>,
}

/// A challenge, and how often it was answered.
struct Challenge {
    realm: String,
    nonce: String,
    count: u32,
}

struct Phone {
    username: String,
    password: String,
    host: SocketAddrV4,
    here: SocketAddr,
    socket: UdpSocket,
    /// How often it began anew: part of its `Call-ID`.
    life: u32,
    cseq: u32,
    challenge: Option<Challenge>,
}

impl Phone {
    async fn new(n: u32, host: SocketAddrV4, password: &str) -> io::Result<Self> {
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + n / HOUSEHOLD);
        let socket = UdpSocket::bind((address, 0)).await?;
        socket.connect(host).await?;
        let here = socket.local_addr()?;
        let (username, password) = (format!("phone-{n}"), password.to_owned());
        Ok(Self { username, password, host, here, socket, life: 0, cseq: 0, challenge: None })
    }

    /// Registers, whatever that takes.
    async fn register(&mut self, anew: bool) -> io::Result<Seen> {
        let mut seen = Seen { began: Some(Instant::now()), ..Seen::default() };
        if anew {
            self.life += 1;
            self.challenge = None;
        }
        loop {
            let Some(answer) = self.ask(&mut seen).await? else {
                seen.failed += 1;
                return Ok(seen);
            };
            match status(&answer) {
                200 => {
                    seen.registered = Some(Instant::now());
                    return Ok(seen);
                }
                401 if seen.challenged <= REFUSALS => {
                    seen.challenged += 1;
                    self.challenge = challenge(&answer);
                }
                503 if seen.refused < REFUSALS => {
                    seen.refused += 1;
                    let seconds = header(&answer, "Retry-After").and_then(|text| text.trim().parse().ok());
                    sleep(Duration::from_secs(seconds.unwrap_or(1))).await;
                }
                _ => {
                    seen.failed += 1;
                    return Ok(seen);
                }
            }
        }
    }

    /// Sends one REGISTER until it has its final answer; none where that never comes.
    async fn ask(&mut self, seen: &mut Seen) -> io::Result<Option<String>> {
        self.cseq += 1;
        let request = self.request();
        let began = Instant::now();
        let (mut again, mut pause) = (began + T1, T1);
        self.send(&request).await?;
        seen.sent += 1;
        let mut buffer = [0; 2_048];
        loop {
            match timeout_at(again, self.socket.recv(&mut buffer)).await {
                Ok(length) => {
                    // An error is the host's port being closed; what is sent again shows whether it stays so.
                    let Ok(length) = length else { continue };
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    let ours =
                        header(&text, "CSeq").is_some_and(|cseq| cseq.trim().starts_with(&format!("{} ", self.cseq)));
                    if ours && status(&text) >= 200 {
                        seen.answer_ms.push(began.elapsed().as_secs_f64() * 1e3);
                        return Ok(Some(text.into_owned()));
                    }
                }
                Err(_) if began.elapsed() >= PATIENCE => return Ok(None),
                Err(_) => {
                    self.send(&request).await?;
                    seen.repeated += 1;
                    pause = (2 * pause).min(T2);
                    again = Instant::now() + pause;
                }
            }
        }
    }

    async fn send(&self, request: &str) -> io::Result<()> {
        match self.socket.send(request.as_bytes()).await {
            // Of a datagram before.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            sent => sent.map(drop),
        }
    }

    fn request(&mut self) -> String {
        let Self { username, host, here, life, cseq, .. } = self;
        let uri = format!("sip:{host}");
        let credentials = self.challenge.as_mut().map(|challenge| challenge.answer(username, &self.password, &uri));
        let credentials = credentials.unwrap_or_default();
        format!(
            "REGISTER {uri} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {here};branch=z9hG4bK{username}-{life}-{cseq};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:{username}@{host}>;tag={life}\r\n\
             To: <sip:{username}@{host}>\r\n\
             Call-ID: {life}-{username}@{here}\r\n\
             CSeq: {cseq} REGISTER\r\n\
             Contact: <sip:{username}@{here}>\r\n\
             Expires: 3600\r\n\
             User-Agent: callbox-load\r\n\
             {credentials}Content-Length: 0\r\n\r\n"
        )
    }
}

impl Challenge {
    /// The line that answers it (RFC 7616 §3.4, MD5, `qop=auth`), as most phones do.
    fn answer(&mut self, username: &str, password: &str, uri: &str) -> String {
        self.count += 1;
        let Self { realm, nonce, count } = self;
        let hash = |text: String| hex::encode(Md5::digest(text));
        let (ha1, ha2) = (hash(format!("{username}:{realm}:{password}")), hash(format!("REGISTER:{uri}")));
        let response = hash(format!("{ha1}:{nonce}:{count:08x}:c0ffee:auth:{ha2}"));
        format!(
            "Authorization: Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm=MD5, qop=auth, nc={count:08x}, cnonce=\"c0ffee\"\r\n"
        )
    }
}

fn status(answer: &str) -> u16 {
    answer.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or_default()
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer
        .lines()
        .find_map(|line| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)))
        .map(|(_, value)| value)
}

/// The challenge for MD5 among those in an answer.
fn challenge(answer: &str) -> Option<Challenge> {
    let line = answer.lines().find(|line| line.starts_with("WWW-Authenticate:") && line.contains("algorithm=MD5"))?;
    let quoted = |name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    Some(Challenge { realm: quoted("realm")?, nonce: quoted("nonce")?, count: 0 })
}
