//! A web page calls: SIP over WebSocket (RFC 7118), message by message, as JsSIP writes it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Host, Options, SOON};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

/// What a page writes as its own address: it has none.
const PAGE: &str = "df7jal23ls0d.invalid";

struct Page(WebSocketStream<TcpStream>);

impl Page {
    async fn open(host: &Host) -> Self {
        let mut request = format!("ws://{}", host.listener("ws")).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "sip".parse().unwrap());
        let stream = TcpStream::connect(host.listener("ws")).await.unwrap();
        let (socket, response) = client_async(request, stream).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "sip");
        Self(socket)
    }

    async fn says(&mut self, message: String) {
        self.0.send(Message::text(message)).await.unwrap();
    }

    /// The next message that begins like this.
    async fn hears(&mut self, start: &str) -> String {
        let next = async {
            loop {
                let message = self.0.next().await.expect("the connection stays").unwrap();
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
