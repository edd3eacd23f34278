//! A web page calls: SIP over WebSocket (RFC 7118), message by message, as JsSIP writes it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::web_caller::{Offering, token};
use callbox_tests::{Host, Options, SOON, eventually};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

/// What a page writes as its own address: it has none.
const PAGE: &str = "df7jal23ls0d.invalid";

struct Page {
    socket: WebSocketStream<TcpStream>,
    /// Calls so far: each has a name of its own.
    calls: u32,
}

impl Page {
    async fn open(host: &Host) -> Self {
        let mut request = format!("ws://{}", host.listener("ws")).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "sip".parse().unwrap());
        let stream = TcpStream::connect(host.listener("ws")).await.unwrap();
        let (socket, response) = client_async(request, stream).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "sip");
        Self { socket, calls: 0 }
    }

    async fn says(&mut self, message: String) {
        self.socket.send(Message::text(message)).await.unwrap();
    }

    /// Begins a call, as JsSIP writes it.
    async fn invites(&mut self, target: &str, headers: &str, offer: &str) {
        self.calls += 1;
        let call = self.calls;
        self.says(format!(
            "INVITE {target} SIP/2.0\r\nVia: SIP/2.0/WS {PAGE};branch=z9hG4bKinvite{call}\r\nMax-Forwards: 69\r\n\
             To: <{target}>\r\nFrom: <sip:page@page.invalid>;tag=page\r\nCall-ID: browser{call}\r\nCSeq: 1 INVITE\r\n\
             {CONTACT}{headers}Content-Type: application/sdp\r\nSession-Expires: 90\r\n\
             Supported: timer,ice,replaces,outbound\r\nUser-Agent: JsSIP 3.10.1\r\nContent-Length: {}\r\n\r\n{offer}",
            offer.len()
        ))
        .await;
    }

    /// Calls with these headers, and is told 403.
    async fn is_refused(&mut self, headers: &str) -> String {
        let offering = Offering::new().await;
        self.invites("sip:2000@example.com", headers, &offering.offer).await;
        let answer = self.hears("SIP/2.0 403").await;
        self.says(ack_of(&answer)).await;
        answer
    }

    /// A request of the call that was begun last.
    async fn sends(&mut self, method: &str, number: u32, to: &str, headers: &str, body: &str) {
        let call = self.calls;
        self.says(format!(
            "{method} sip:2000@example.com SIP/2.0\r\nVia: SIP/2.0/WS {PAGE};branch=z9hG4bK{method}{number}-{call}\r\n\
             Max-Forwards: 69\r\nTo: {to}\r\nFrom: <sip:page@page.invalid>;tag=page\r\nCall-ID: browser{call}\r\n\
             CSeq: {number} {method}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    }

    /// The next message that begins like this.
    async fn hears(&mut self, start: &str) -> String {
        let next = async {
            loop {
                let message = self.socket.next().await.expect("the connection stays").unwrap();
                if message.is_text() || message.is_binary() {
                    let text = String::from_utf8(message.into_data().to_vec()).unwrap();
                    if text.starts_with(start) {
                        return text;
                    }
                }
            }
        };
        timeout(SOON, next).await.unwrap_or_else(|_| panic!("{start} did not come"))
    }
}

/// A field of a message.
fn field<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)));
    line.unwrap_or_else(|| panic!("no {name}: {message}")).1
}

/// The header by which a page is reached: by its connection alone.
const CONTACT: &str = "Contact: <sip:page@df7jal23ls0d.invalid;transport=ws;ob>\r\n";

/// The ACK of a refusal (RFC 3261 §17.1.1.3).
fn ack_of(refusal: &str) -> String {
    let [via, from, to, call, cseq] = ["Via", "From", "To", "Call-ID", "CSeq"].map(|name| field(refusal, name));
    let number = cseq.split(' ').next().unwrap();
    format!(
        "ACK sip:2000@example.com SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 69\r\nFrom: {from}\r\nTo: {to}\r\n\
         Call-ID: {call}\r\nCSeq: {number} ACK\r\nContent-Length: 0\r\n\r\n"
    )
}

#[tokio::test]
async fn a_web_page_calls_a_script() {
    let env = vec![("CALLBOX_SIP__WS", "[\"127.0.0.1:0\"]".to_owned())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(None).await;
    let mut page = Page::open(&host).await;
    let request = |method: &str, to: &str, more: &str, body: &str| {
        format!(
            "{method} sip:2000@example.com SIP/2.0\r\nVia: SIP/2.0/WS {PAGE};branch=z9hG4bK{method}\r\n\
             Max-Forwards: 69\r\nTo: {to}\r\nFrom: <sip:page@example.com>;tag=page\r\nCall-ID: page@web\r\n\
             CSeq: 1 {method}\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
    let contact = format!(
        "Contact: <sip:page@{PAGE};transport=ws;ob>\r\nX-Probe-Mode: hello\r\nContent-Type: application/sdp\r\n"
    );
    page.says(request("INVITE", "<sip:2000@example.com>", &contact, offer)).await;
    let answer = page.hears("SIP/2.0 200").await;
    assert!(field(&answer, "Contact").contains("transport=ws"), "{answer}");
    page.says(request("ACK", field(&answer, "To"), "", "")).await;
    // The robot's BYE comes by the same connection: there is no other way to a page.
    let bye = page.hears("BYE ").await;
    assert!(bye.starts_with(&format!("BYE sip:page@{PAGE}")), "{bye}");
    let [via, from, to, call, cseq] = ["Via", "From", "To", "Call-ID", "CSeq"].map(|name| field(&bye, name));
    page.says(format!(
        "SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq}\r\nContent-Length: 0\r\n\r\n"
    ))
    .await;
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["end_reason"], "script_returned", "{record}");
}

/// What JsSIP writes: a browser's media by SIP over WebSocket, with the headers that its page gives, a key by INFO, a hold,
/// and no BYE at the end.
#[tokio::test]
async fn a_browser_calls_by_sip_over_websocket_as_its_library_writes_it() {
    let env =
        vec![("CALLBOX_SIP__WS", "[\"127.0.0.1:0\"]".to_owned()), ("CALLBOX_MEDIA__TIMEOUT_MS", "2000".to_owned())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(None).await;
    let mut page = Page::open(&host).await;
    let offering = Offering::new().await;
    let headers = "X-Probe-Mode: echo\r\nX-Call-Relation-Id: r-9\r\nX-Probe-Count: 2\r\n";
    page.invites("sip:2000@example.com", headers, &offering.offer).await;
    let answer = page.hears("SIP/2.0 200").await;
    let (head, sdp) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        sdp.contains("UDP/TLS/RTP/SAVPF") && sdp.contains("a=ice-lite") && sdp.contains("a=setup:passive"),
        "{sdp}"
    );
    let to = field(head, "To").to_owned();
    page.sends("ACK", 1, &to, "", "").await;
    let (seen, media) = offering.answered(sdp);
    eventually("a prompt", async || (seen.lock().unwrap().loud > 10).then_some(())).await;
    assert_eq!(seen.lock().unwrap().early, 0, "nothing is sent before DTLS is done");
    // A key as JsSIP sends it, and the terminator.
    for (number, key) in [(2, "6"), (3, "#")] {
        let body = format!("Signal={key}\r\nDuration=160\r\n");
        page.sends("INFO", number, &to, "Content-Type: application/dtmf-relay\r\n", &body).await;
        page.hears("SIP/2.0 200").await;
    }
    // A hold, and back.
    for (number, (sends, wanted)) in [(4, (false, "a=inactive")), (5, (true, "a=sendrecv"))] {
        let offer = media.direct(sends, sends).await;
        page.sends("INVITE", number, &to, &format!("{CONTACT}Content-Type: application/sdp\r\n"), &offer).await;
        let answer = page.hears("SIP/2.0 200").await;
        let sdp = answer.split_once("\r\n\r\n").unwrap().1;
        assert!(sdp.contains(wanted), "{sdp}");
        page.sends("ACK", number, &to, "", "").await;
        media.accept(sdp).await;
    }
    // What is asked for without an offer cannot be had.
    page.sends("INVITE", 6, &to, CONTACT, "").await;
    page.hears("SIP/2.0 488").await;
    page.sends("ACK", 6, &to, "", "").await;
    // The page is closed: its media ends, and no BYE comes.
    drop((media, page));
    let call = host.finished_call().await;
    let record = &call["record"];
    assert_eq!((&record["transport"], &record["relation_id"]), (&json!("webrtc"), &json!("r-9")), "{record}");
    assert_eq!(record["fields"]["digits"][0], "6", "{record}");
    assert_eq!(record["sip"]["transport"], "ws", "{record}");
    let sip = host.get(&format!("/v1/calls/{}/sip", call["id"].as_str().unwrap())).await.to_string();
    assert!(sip.contains("a=ice-pwd:…") && !sip.contains("Signal=6"), "{sip}");
    host.runs(0).await;
}

/// Where only trunks and telephones may call, a page does with a token: the number of the token, whatever it dialled.
#[tokio::test]
async fn a_token_lets_a_page_call_by_sip_where_strangers_may_not() {
    let env =
        vec![("CALLBOX_SIP__WS", "[\"127.0.0.1:0\"]".to_owned()), ("CALLBOX_TRUNKS__INBOUND", "known".to_owned())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(None).await;
    let mut page = Page::open(&host).await;
    page.is_refused("").await;
    let invalid = page.is_refused("X-Callbox-Token: cbt_nonsense\r\n").await;
    assert!(field(&invalid, "Warning").contains("token_invalid"), "{invalid}");
    let bound = token(&host, "2000", json!({ "origins": ["https://shop.example"] })).await;
    let elsewhere = page.is_refused(&format!("X-Callbox-Token: {bound}\r\n")).await;
    assert!(field(&elsewhere, "Warning").contains("origin_not_allowed"), "{elsewhere}");
    let good = token(&host, "2000", json!({ "variables": { "X-Probe-Mode": "hello", "customer": 7 } })).await;
    let offering = Offering::new().await;
    // What the token says counts, not what the page writes besides.
    let headers = format!("X-Probe-Mode: reject\r\nX-Callbox-Token: {good}\r\n");
    page.invites("sip:anybody@example.com", &headers, &offering.offer).await;
    let answer = page.hears("SIP/2.0 200").await;
    let (head, sdp) = answer.split_once("\r\n\r\n").unwrap();
    page.sends("ACK", 1, field(head, "To"), "", "").await;
    let (_seen, _media) = offering.answered(sdp);
    let call = host.finished_call().await;
    assert_eq!(call["start"]["parameters"]["customer"], 7, "{call}");
    assert_eq!(call["record"]["disposition"], "said", "{call}");
    let spent = page.is_refused(&format!("X-Callbox-Token: {good}\r\n")).await;
    assert!(field(&spent, "Warning").contains("token_spent"), "{spent}");
    let sip = host.get(&format!("/v1/calls/{}/sip", call["id"].as_str().unwrap())).await.to_string();
    assert!(!sip.contains(&good) && !host.log().contains(&good) && sip.contains("X-Callbox-Token: …"), "{sip}");
}
