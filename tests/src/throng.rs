//! Many who use a deployment at once while its hosts come and go: callers, and somebody who uploads and publishes. What they
//! were promised is written down ([`Promised`]); what broke off is not.

use crate::books::{Books, Version};
use crate::{SOON, guest, raw};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Silence after which a caller looks around: its host may be gone, or have heard nothing.
const SILENCE: Duration = Duration::from_millis(250);

/// After which a caller hangs up who was not told when.
const LONG_CALL: Duration = Duration::from_secs(20);

/// After which a caller gives a call up of which nothing is heard.
const GIVES_UP: Duration = Duration::from_secs(40);

/// Where a host that runs is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its SIP over UDP.
    pub sip: SocketAddr,
    /// Its API.
    pub http: SocketAddr,
}

/// What was promised, as books.
pub type Promised = Arc<Mutex<Books>>;

/// See the module.
#[derive(Debug)]
pub struct Throng {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Throng {
    /// So many callers, who call these numbers one time after the other on the hosts that are `up`, and a publisher of one
    /// version after the other of `script`.
    #[must_use]
    pub fn start(
        up: &watch::Receiver<Vec<Site>>,
        (numbers, callers): (&'static [&'static str], u64),
        (key, script): (&str, &str),
        seed: u64,
        promised: &Promised,
    ) -> Self {
        let (stop, stopping) = watch::channel(false);
        let mut tasks: Vec<_> = (0..callers)
            .map(|caller| {
                let (up, stopping, promised) = (up.clone(), stopping.clone(), promised.clone());
                tokio::spawn(calls(up, stopping, numbers, raw::Dice::new(seed ^ (caller + 1)), caller, promised))
            })
            .collect();
        let api = Api { up: up.clone(), key: key.to_owned(), client: reqwest::Client::new() };
        tasks.push(tokio::spawn(publishes(api, stopping, script.to_owned(), promised.clone())));
        Self { stop, tasks }
    }

    /// Nobody begins anything more; waits until all that was begun has come to an end.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

fn noted(promised: &Promised, note: impl FnOnce(&mut Books) -> bool) {
    note(&mut promised.lock().unwrap_or_else(PoisonError::into_inner));
}

/// One that runs now, as the dice fall.
async fn somewhere(up: &mut watch::Receiver<Vec<Site>>, dice: &mut raw::Dice) -> Site {
    let sites = up.wait_for(|sites| !sites.is_empty()).await.unwrap();
    sites[dice.roll(sites.len())]
}

async fn calls(
    mut up: watch::Receiver<Vec<Site>>,
    stopping: watch::Receiver<bool>,
    numbers: &[&str],
    mut dice: raw::Dice,
    caller: u64,
    promised: Promised,
) {
    for call in 0.. {
        if *stopping.borrow() {
            return;
        }
        let site = somewhere(&mut up, &mut dice).await;
        let (mode, hang_up) = match dice.roll(5) {
            0 => ("X-Probe-Mode: hello\r\nX-Probe-Text: Hi.\r\n", None),
            1 => ("X-Probe-Mode: tone\r\n", None),
            2 => ("X-Probe-Mode: silent\r\n", Some(Duration::from_millis(dice.roll(600) as u64))),
            _ => ("X-Probe-Mode: push\r\nX-Probe-Text: Hi.\r\n", None),
        };
        let relation = format!("{caller}-{call}");
        let one = OneCall { site, number: numbers[dice.roll(numbers.len())], relation: &relation, mode, hang_up };
        if one.place(&up).await {
            noted(&promised, |books| books.accepted.insert(relation));
        }
    }
}

/// A call of somebody who does not mind what becomes of it.
struct OneCall<'a> {
    site: Site,
    number: &'a str,
    relation: &'a str,
    /// Headers, each with its line's end.
    mode: &'a str,
    /// So long after the answer; none to wait for the host to do it.
    hang_up: Option<Duration>,
}

impl OneCall<'_> {
    /// Calls until it is over, or its host is gone. Whether it was answered.
    async fn place(&self, up: &watch::Receiver<Vec<Site>>) -> bool {
        let to = self.site.sip;
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let from = socket.local_addr().unwrap();
        let more = format!("Max-Forwards: 70\r\nX-Call-Relation-Id: {}\r\n{}", self.relation, self.mode);
        let name = format!("{}-{}", from.port(), self.relation);
        let invite = raw::invite(to, self.number, from, &name).replacen("Max-Forwards: 70\r\n", &more, 1);
        let request = |method: &str, number: u32, head: &str| {
            let to_header = line(head, "To:");
            format!(
                "{method} sip:{}@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{method}{name};rport\r\nMax-Forwards: 70\r\n\
                 From: <sip:raw@127.0.0.1>;tag={name}\r\n{to_header}\r\nCall-ID: {name}@raw\r\nCSeq: {number} {method}\r\n\
                 Content-Length: 0\r\n\r\n",
                self.number
            )
        };
        let send = async |text: &str| drop(socket.send_to(text.as_bytes(), to).await);
        send(&invite).await;
        // The 200, and when it is time to hang up.
        let mut answer: Option<(String, Instant)> = None;
        let begun = Instant::now();
        let mut packet = [0; 4_096];
        loop {
            let late = answer.as_ref().is_some_and(|(_, bye)| *bye <= Instant::now());
            let Ok(received) = timeout(SILENCE, socket.recv_from(&mut packet)).await else {
                // All that came has been read.
                if !up.borrow().contains(&self.site) || begun.elapsed() > GIVES_UP {
                    return answer.is_some();
                }
                match &answer {
                    None => send(&invite).await,
                    Some((head, _)) if late => send(&request("BYE", 2, head)).await,
                    Some(_) => {}
                }
                continue;
            };
            // What was sent to a host that is gone may come back as an error.
            let Ok((length, _)) = received else { continue };
            let text = String::from_utf8_lossy(&packet[..length]).into_owned();
            let of_invite = line(&text, "CSeq:").ends_with("INVITE");
            match text.split_whitespace().nth(1).unwrap_or_default() {
                _ if text.starts_with("BYE ") => {
                    let kept = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].map(|name| line(&text, name).to_owned());
                    send(&format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", kept.join("\r\n"))).await;
                    return answer.is_some();
                }
                _ if !text.starts_with("SIP/2.0 ") => {}
                status if status.starts_with('1') => {}
                status if status.starts_with('2') && of_invite => {
                    send(&request("ACK", 1, &text)).await;
                    let until = self.hang_up.unwrap_or(LONG_CALL);
                    answer.get_or_insert_with(|| (text, Instant::now() + until));
                }
                _ if of_invite => {
                    // Of the same transaction, whose branch is the INVITE's.
                    send(&request("ACK", 1, &text).replacen("z9hG4bKACK", "z9hG4bK", 1)).await;
                    return false;
                }
                // Our BYE is answered.
                _ => return answer.is_some(),
            }
        }
    }
}

/// A line of a message, by how it begins.
fn line<'t>(text: &'t str, name: &str) -> &'t str {
    text.lines().find(|line| line.starts_with(name)).unwrap_or_default()
}

/// The API, wherever it is served.
struct Api {
    up: watch::Receiver<Vec<Site>>,
    key: String,
    client: reqwest::Client,
}

impl Api {
    /// What was answered with a 2xx; none for whatever else.
    async fn post(&mut self, path: &str, kind: &str, body: Vec<u8>, dice: &mut raw::Dice) -> Option<Value> {
        let site = somewhere(&mut self.up, dice).await;
        let request = self.client.post(format!("http://{}{path}", site.http)).bearer_auth(&self.key);
        let sent = request.timeout(SOON).header("content-type", kind).body(body).send().await;
        let answer = sent.ok()?.error_for_status().ok()?.bytes().await.ok()?;
        serde_json::from_slice(&answer).ok()
    }
}

async fn publishes(mut api: Api, stopping: watch::Receiver<bool>, script: String, promised: Promised) {
    let (mut dice, component) = (raw::Dice::new(1), guest("bench"));
    for number in 0_u32.. {
        if *stopping.borrow() {
            return;
        }
        let path = format!("/v1/scripts/{script}/versions");
        let uploaded = api.post(&path, "application/wasm", numbered(&component, number), &mut dice).await;
        if let Some(uploaded) = uploaded {
            let version = uploaded["version"].as_u64().unwrap();
            let digest = uploaded["digest"].as_str().unwrap().to_owned();
            let accepted = Version { script: script.clone(), version, digest };
            noted(&promised, |books| books.uploaded.insert(accepted));
            let body = json!({ "version": version }).to_string().into_bytes();
            let path = format!("/v1/scripts/{script}/publish");
            if api.post(&path, "application/json", body, &mut dice).await.is_some() {
                noted(&promised, |books| books.published.insert((script.clone(), version)));
            }
        }
        // Compiling takes a processor; callers need some of it.
        sleep(SILENCE).await;
    }
}

/// The same component with a section that makes another version of it.
#[must_use]
pub fn numbered(component: &[u8], number: u32) -> Vec<u8> {
    let name = b"number";
    let mut section = vec![u8::try_from(name.len()).unwrap()];
    section.extend(name);
    section.extend(number.to_le_bytes());
    let mut bytes = component.to_vec();
    bytes.extend([0, u8::try_from(section.len()).unwrap()]);
    bytes.extend(section);
    bytes
}
