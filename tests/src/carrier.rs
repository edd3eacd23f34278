//! A carrier by hand: a UDP socket that answers what it gets as it is told to, keeps what it got, and calls.

use crate::{SOON, eventually, raw};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How a carrier answers.
#[derive(Clone, Debug)]
pub struct Manners {
    /// To OPTIONS; 0 for silence.
    pub options: u16,
    /// To INVITE; 200 takes the call.
    pub invite: u16,
    /// To REGISTER, once it knows who asks; 0 for silence.
    pub register: u16,
    /// The user who has to sign in: INVITE and REGISTER without credentials are challenged.
    pub user: Option<&'static str>,
}

impl Default for Manners {
    fn default() -> Self {
        Self { options: 200, invite: 200, register: 200, user: None }
    }
}

/// A carrier on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct Carrier {
    /// Where it is.
    pub address: SocketAddr,
    socket: Arc<UdpSocket>,
    manners: watch::Sender<Manners>,
    got: Arc<Mutex<Vec<String>>>,
    answers: JoinHandle<()>,
}

impl Carrier {
    /// One with these manners.
    pub async fn start(manners: Manners) -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        let (manners, seen) = watch::channel(manners);
        let got = Arc::new(Mutex::new(Vec::new()));
        let answers = tokio::spawn(serve(socket.clone(), seen, got.clone()));
        Self { address, socket, manners, got, answers }
    }

    /// From now on it answers otherwise.
    pub fn change(&self, change: impl FnOnce(&mut Manners)) {
        self.manners.send_modify(change);
    }

    /// The requests of a method so far, repetitions left out.
    #[must_use]
    pub fn got(&self, method: &str) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for message in self.got.lock().unwrap().iter().filter(|message| message.starts_with(&format!("{method} "))) {
            if !all.iter().any(|known| header(known, "Via") == header(message, "Via")) {
                all.push(message.clone());
            }
        }
        all
    }

    /// The last request of a method, once there are so many.
    pub async fn gets(&self, method: &str, count: usize) -> String {
        eventually(&format!("{count} {method}"), async || {
            let all = self.got(method);
            (all.len() >= count).then(|| all[all.len() - 1].clone())
        })
        .await
    }

    /// Calls `uri`, with another number in `To`: the final answer, acknowledged.
    pub async fn call(&self, host: SocketAddr, uri: &str, to: &str, name: &str) -> String {
        let mut invite = raw::invite(host, "x", self.address, name);
        invite = invite.replacen(&format!("INVITE sip:x@{host}"), &format!("INVITE {uri}"), 1);
        invite = invite.replacen(&format!("To: <sip:x@{host}>"), &format!("To: <sip:{to}@127.0.0.1>"), 1);
        self.socket.send_to(invite.as_bytes(), host).await.unwrap();
        let id = format!("{name}@raw");
        let answered = eventually("an answer to the carrier", async || {
            let got = self.got.lock().unwrap();
            let is = |text: &&String| {
                text.starts_with("SIP/2.0 ") && !text.starts_with("SIP/2.0 1") && header(text, "Call-ID") == id
            };
            got.iter().find(is).cloned()
        });
        let answer = timeout(SOON, answered).await.unwrap();
        let ack = format!(
            "ACK {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{name}a\r\nMax-Forwards: 70\r\n\
             From: <sip:raw@127.0.0.1>;tag={name}\r\nTo: {}\r\nCall-ID: {id}\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
            self.address,
            header(&answer, "To"),
        );
        self.socket.send_to(ack.as_bytes(), host).await.unwrap();
        answer
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

/// The first value of a header field.
#[must_use]
pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let lines = message.split("\r\n\r\n").next().unwrap_or_default().lines();
    let value = |line: &'a str| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    };
    lines.skip(1).find_map(value).unwrap_or_default()
}

async fn serve(socket: Arc<UdpSocket>, manners: watch::Receiver<Manners>, got: Arc<Mutex<Vec<String>>>) {
    let mut packet = vec![0; 8_192];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut packet).await else { continue };
        let message = String::from_utf8_lossy(&packet[..length]).into_owned();
        got.lock().unwrap().push(message.clone());
        let manners = manners.borrow().clone();
        if let Some(answer) = answer(&message, &manners, socket.local_addr().unwrap()) {
            socket.send_to(answer.as_bytes(), from).await.unwrap();
        }
    }
}

fn answer(request: &str, manners: &Manners, address: SocketAddr) -> Option<String> {
    let method = request.split(' ').next()?;
    let mut more = format!("Contact: <sip:carrier@{address}>\r\n");
    let mut body = String::new();
    let signed = manners.user.is_none_or(|user| header(request, "Authorization").contains(&format!("\"{user}\"")));
    let status = match method {
        "INVITE" | "REGISTER" if !signed => {
            more.push_str(
                "WWW-Authenticate: Digest realm=\"carrier.test\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n",
            );
            401
        }
        "INVITE" => {
            if manners.invite == 200 {
                more.push_str("Content-Type: application/sdp\r\n");
                body =
                    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"
                        .into();
            }
            manners.invite
        }
        "REGISTER" => {
            // What was asked for is granted.
            more = format!("Contact: {}\r\nExpires: {}\r\n", header(request, "Contact"), header(request, "Expires"));
            manners.register
        }
        "OPTIONS" => manners.options,
        "BYE" | "CANCEL" => 200,
        _ => return None,
    };
    let vias = request.lines().filter(|line| line.to_ascii_lowercase().starts_with("via:")).collect::<Vec<_>>();
    (status != 0).then(|| {
        format!(
            "SIP/2.0 {status} As told\r\n{}\r\nFrom: {}\r\nTo: {};tag=carrier\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}\
             Content-Length: {}\r\n\r\n{body}",
            vias.join("\r\n"),
            header(request, "From"),
            header(request, "To").split(";tag=").next().unwrap_or_default(),
            header(request, "Call-ID"),
            header(request, "CSeq"),
            body.len(),
        )
    })
}
