//! A browser without a window: it calls by HTTP as a page does, with the caller of `callbox-webrtc` (str0m) for a body.
//! A task carries its packets; what it heard and was told is looked at from outside.

use crate::{Host, SOON, compress, expand, handset};
use callbox_webrtc::Codec;
use callbox_webrtc::caller::{Caller, Heard, Wishes};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};

/// A frame of 20 ms in which something sounds.
const LOUD: i16 = 500;

/// What a caller has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// DTLS is done.
    pub connected: bool,
    /// The data channel is open.
    pub channel: bool,
    /// What came on it.
    pub messages: Vec<Value>,
    /// Packets of audio.
    pub packets: usize,
    /// Those in which something sounds.
    pub loud: usize,
    /// Packets of audio before DTLS was done.
    pub early: usize,
    /// The host has ended the media.
    pub closed: bool,
}

impl Seen {
    /// The texts of captions that are final, in their order.
    #[must_use]
    pub fn said(&self, role: &str) -> Vec<String> {
        let of = |message: &&Value| message["type"] == "caption" && message["final"] == true && message["role"] == role;
        self.messages.iter().filter(of).filter_map(|message| Some(message["text"].as_str()?.to_owned())).collect()
    }

    /// The states that were told.
    #[must_use]
    pub fn states(&self) -> Vec<&str> {
        let of = |message: &&Value| message["type"] == "state";
        self.messages.iter().filter(of).filter_map(|message| message["state"].as_str()).collect()
    }
}

enum Order {
    Accept(String),
    /// Another network, and the offer that follows from it.
    Move(UdpSocket, oneshot::Sender<String>),
    Direct(bool, bool, oneshot::Sender<String>),
    Say(String),
    Press(u8),
    Speak(Vec<i16>),
    Quiet,
    Close,
}

/// A caller and its call. Dropping it makes it vanish.
pub struct WebCaller {
    client: Client,
    host: SocketAddr,
    token: String,
    /// The path of its call.
    pub path: String,
    /// The name of its session of ICE.
    pub etag: String,
    /// What its call was answered with.
    pub answer: String,
    seen: Arc<Mutex<Seen>>,
    media: Media,
}

/// A browser that has an offer and no answer yet.
pub struct Offering {
    /// What it offers.
    pub offer: String,
    caller: Caller,
    socket: UdpSocket,
    start: Instant,
}

impl Offering {
    /// On a free port of this machine, with a data channel.
    pub async fn new() -> Self {
        // So that what is heard can be looked at without a decoder.
        Self::with(Wishes { codecs: vec![Codec::Pcmu], ..Wishes::default() }).await
    }

    /// The same with other wishes.
    pub async fn with(wishes: Wishes) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let start = tokio::time::Instant::now().into_std();
        let local = [(socket.local_addr().unwrap(), false)];
        let (caller, offer) = Caller::new(start, &local, &wishes).unwrap();
        Self { offer, caller, socket, start }
    }

    /// Takes the answer and begins to talk.
    #[must_use]
    pub fn answered(self, answer: &str) -> (Arc<Mutex<Seen>>, Media) {
        let seen = Arc::<Mutex<Seen>>::default();
        let (orders, receiver) = mpsc::channel(16);
        orders.try_send(Order::Accept(answer.to_owned())).expect("an empty queue");
        let (caller, socket, start) = (self.caller, self.socket, self.start);
        let told = seen.clone();
        let pump = handset::live(socket, move |socket| {
            Body { caller, socket, start, seen: told, words: VecDeque::new() }.live(receiver)
        });
        (seen, Media { orders, pump })
    }
}

/// The media of a browser that calls by other means than HTTP. Dropping it makes it vanish.
pub struct Media {
    orders: mpsc::Sender<Order>,
    pump: JoinHandle<()>,
}

impl Drop for Media {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Media {
    /// Offers to hold, or to go on.
    pub async fn direct(&self, sends: bool, receives: bool) -> String {
        let (reply, offer) = oneshot::channel();
        self.orders.send(Order::Direct(sends, receives, reply)).await.expect("it lives");
        offer.await.unwrap()
    }

    /// Takes the answer to a later offer.
    pub async fn accept(&self, answer: &str) {
        self.orders.send(Order::Accept(answer.to_owned())).await.expect("it lives");
    }
}

/// A token for a number with these members.
pub async fn token(host: &Host, number: &str, more: Value) -> String {
    let mut body = json!({ "number": number });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let made = host.post("/v1/webrtc/tokens", &body).await;
    made["token"].as_str().unwrap().to_owned()
}

/// A request of a page at the host.
pub fn request(host: &Host, method: Method, path: &str, token: &str) -> RequestBuilder {
    Client::new().request(method, format!("http://{}{path}", host.http)).bearer_auth(token)
}

/// What a page posts to call.
pub async fn post(host: &Host, token: &str, offer: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = request(host, Method::POST, "/v1/webrtc/calls", token).header("content-type", "application/sdp");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(offer.to_owned()).send().await.unwrap()
}

impl WebCaller {
    /// Calls the probe in a mode, with these variables besides.
    pub async fn probe(host: &Host, mode: &str, more: &[(&str, &str)]) -> Self {
        let named = [("X-Probe-Mode", mode)].into_iter().chain(more.iter().copied());
        let variables: Value = named.map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        let token = token(host, "2000", json!({ "variables": variables })).await;
        Self::call(host, &token, Offering::new().await).await
    }

    /// Calls with a token.
    pub async fn call(host: &Host, token: &str, offering: Offering) -> Self {
        Self::call_with(host, token, offering, &[]).await
    }

    /// The same with these headers.
    pub async fn call_with(host: &Host, token: &str, offering: Offering, headers: &[(&str, &str)]) -> Self {
        let response = post(host, token, &offering.offer, headers).await;
        let status = response.status();
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (path, etag) = (header("location"), header("etag"));
        let answer = response.text().await.unwrap();
        assert_eq!(status, 201, "{answer}");
        let (seen, media) = offering.answered(&answer);
        Self {
            client: Client::new(),
            host: host.http,
            token: token.to_owned(),
            path: path.expect("a Location"),
            etag: etag.expect("an ETag"),
            answer,
            seen,
            media,
        }
    }

    /// The name of its call.
    #[must_use]
    pub fn id(&self) -> &str {
        self.path.rsplit('/').next().unwrap()
    }

    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until it has seen something.
    pub async fn sees(&self, what: &str, mut is: impl FnMut(&Seen) -> bool) -> Seen {
        let begun = tokio::time::Instant::now();
        loop {
            let seen = self.seen();
            if is(&seen) {
                return seen;
            }
            assert!(begun.elapsed() < SOON, "{what} did not happen within {SOON:?}: {seen:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until audio and messages pass.
    pub async fn is_up(&self) {
        self.sees("an open channel", |seen| seen.connected && seen.channel).await;
    }

    async fn order(&self, order: Order) {
        self.media.orders.send(order).await.expect("it lives");
    }

    /// Says something on the data channel.
    pub async fn say(&self, message: &Value) {
        self.order(Order::Say(message.to_string())).await;
    }

    /// Says something aloud, behind what is being said: samples at 8 kHz.
    pub async fn speak(&self, samples: Vec<i16>) {
        self.order(Order::Speak(samples)).await;
    }

    /// Presses a key, in its audio.
    pub async fn press(&self, key: char) {
        let event = "0123456789*#ABCD".find(key).expect("a key") as u8;
        self.order(Order::Press(event)).await;
    }

    /// Says nothing any more, and hears nothing, as a browser whose network is gone.
    pub async fn falls_silent(&self) {
        self.order(Order::Quiet).await;
    }

    /// Ends DTLS, as a browser does whose page is closed.
    pub async fn closes(&self) {
        self.order(Order::Close).await;
    }

    /// Goes to another network; what is then to be offered.
    pub async fn moves(&self) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (reply, offer) = oneshot::channel();
        self.order(Order::Move(socket, reply)).await;
        offer.await.unwrap()
    }

    /// Takes the answer to that.
    pub async fn accepts(&self, answer: &str) {
        self.order(Order::Accept(answer.to_owned())).await;
    }

    /// From now on it asks another host about its call.
    pub fn asks(&mut self, host: &Host) {
        self.host = host.http;
    }

    /// Patches its call.
    pub async fn patch(&self, kind: &str, if_match: Option<&str>, body: String) -> Response {
        let mut request = self.request(Method::PATCH).header("content-type", kind).body(body);
        if let Some(value) = if_match {
            request = request.header("if-match", value);
        }
        request.send().await.unwrap()
    }

    /// Deletes its call.
    pub async fn delete(&self) -> Response {
        self.request(Method::DELETE).send().await.unwrap()
    }

    fn request(&self, method: Method) -> RequestBuilder {
        self.client.request(method, format!("http://{}{}", self.host, self.path)).bearer_auth(&self.token)
    }
}

struct Body {
    caller: Caller,
    socket: UdpSocket,
    start: Instant,
    seen: Arc<Mutex<Seen>>,
    /// What is still to be said.
    words: VecDeque<i16>,
}

impl Body {
    async fn live(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut frames = interval(Duration::from_millis(20));
        // As a browser that was busy: what was said meanwhile follows, and nothing is missing.
        frames.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut buffer = vec![0; 2_048];
        let mut quiet = false;
        loop {
            let next = tokio::time::Instant::from_std(self.start + self.caller.next().min(Duration::from_secs(3_600)));
            let mut out = Vec::new();
            tokio::select! {
                order = orders.recv() => match order {
                    None => return,
                    Some(Order::Quiet) => quiet = true,
                    Some(order) => self.obey(order, &mut out),
                },
                came = self.socket.recv_from(&mut buffer) => {
                    let Ok((length, from)) = came else { continue };
                    let to = self.socket.local_addr().unwrap();
                    if !quiet {
                        let (seen, now) = (self.seen.clone(), self.start.elapsed());
                        self.caller.take(now, from, to, false, &buffer[..length], &mut |heard| note(&seen, heard, &mut out));
                    }
                }
                _ = frames.tick() => {
                    let (seen, now) = (self.seen.clone(), self.start.elapsed());
                    let frame: [u8; 160] = std::array::from_fn(|_| self.words.pop_front().map_or(0xFF, compress));
                    self.caller.audio(now, &frame, &mut |heard| note(&seen, heard, &mut out));
                }
                () = sleep_until(next) => {
                    let (seen, now) = (self.seen.clone(), self.start.elapsed());
                    self.caller.tick(now, &mut |heard| note(&seen, heard, &mut out));
                }
            }
            for (to, bytes) in out {
                if !quiet {
                    // A port that is closed already says so.
                    let _ = self.socket.send_to(&bytes, to).await;
                }
            }
        }
    }

    fn obey(&mut self, order: Order, out: &mut Vec<(SocketAddr, Vec<u8>)>) {
        let (seen, now) = (self.seen.clone(), self.start.elapsed());
        let hear = &mut |heard: Heard<'_>| note(&seen, heard, out);
        match order {
            Order::Accept(answer) => {
                self.caller.accept(&answer).unwrap();
                self.caller.tick(now, hear);
            }
            Order::Move(socket, reply) => {
                let _ = reply.send(self.caller.restart(socket.local_addr().unwrap(), false).unwrap());
                self.socket = socket;
            }
            Order::Direct(sends, receives, reply) => {
                let _ = reply.send(self.caller.direct(sends, receives).unwrap());
            }
            Order::Say(text) => assert!(self.caller.say(now, &text, hear), "there is a channel"),
            Order::Speak(samples) => self.words.extend(samples),
            Order::Press(event) => self.caller.press(now, event, hear),
            Order::Close => self.caller.close(now, hear),
            Order::Quiet => {}
        }
    }
}

fn note(seen: &Mutex<Seen>, heard: Heard<'_>, out: &mut Vec<(SocketAddr, Vec<u8>)>) {
    let mut seen = seen.lock().unwrap();
    match heard {
        Heard::Send { to, bytes, .. } => out.push((to, bytes.to_vec())),
        Heard::Connected => seen.connected = true,
        Heard::Channel => seen.channel = true,
        Heard::Message(text) => seen.messages.push(serde_json::from_str(&text).expect("JSON of the host")),
        Heard::Rtp { payload_type, payload, .. } => {
            seen.packets += 1;
            seen.early += usize::from(!seen.connected);
            let loud =
                payload_type == 0 && payload.iter().any(|byte| expand(*byte).unsigned_abs() > LOUD.unsigned_abs());
            seen.loud += usize::from(loud);
        }
        Heard::Closed => seen.closed = true,
    }
}
