//! SIP over WebSocket (RFC 7118) with a client that is nothing but a socket; keep-alives of streams and datagrams.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_sip::{DialogEvent, IncomingCall, PublicAddress, SipConfig, SipStack, Transport};
use futures_util::{SinkExt as _, StreamExt as _};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

const ANSWER: &[u8] =
    b"v=0\r\no=- 2 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\n";
const OFFER: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

type Calls = mpsc::Receiver<IncomingCall>;
type Socket = WebSocketStream<TcpStream>;

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn start(config: SipConfig) -> (SipStack, Calls) {
    SipStack::start(config).await.unwrap()
}

fn address(stack: &SipStack, transport: Transport) -> SocketAddr {
    stack.local_addrs().into_iter().find(|(t, _)| *t == transport).unwrap().1
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("in time")
}

/// Opens a WebSocket; an error is the status of the refusal.
async fn open(to: SocketAddr, protocol: Option<&str>, origin: Option<&str>) -> Result<Socket, u16> {
    let mut request = format!("ws://{to}/sip").into_client_request().unwrap();
    let headers = request.headers_mut();
    if let Some(protocol) = protocol {
        headers.insert("sec-websocket-protocol", protocol.parse().unwrap());
    }
    if let Some(origin) = origin {
        headers.insert("origin", origin.parse().unwrap());
    }
    let stream = TcpStream::connect(to).await.unwrap();
    match within(tokio_tungstenite::client_async(request, stream)).await {
        Ok((socket, response)) => {
            assert_eq!(response.headers()["sec-websocket-protocol"], "sip");
            Ok(socket)
        }
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn hear(socket: &mut Socket) -> String {
    loop {
        match within(socket.next()).await.unwrap().unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn request(method: &str, cseq: u32, to_tag: &str, body: &str) -> String {
    let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{method} sip:robot@callbox.example SIP/2.0\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK{method}{cseq}\r\n\
         From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:robot@callbox.example>{to_tag}\r\nCall-ID: ws-1\r\n\
         CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:alice@df7jal23ls0d.invalid;transport=ws;ob>\r\n{content}\r\n{body}"
    )
}

fn to_tag(message: &str) -> String {
    let to = message.lines().find(|line| line.starts_with("To:")).unwrap();
    format!(";tag={}", to.rsplit_once(";tag=").unwrap().1)
}

#[tokio::test]
async fn a_browser_calls() {
    let (stack, mut calls) = start(SipConfig { ws: vec![any()], ..SipConfig::default() }).await;
    let mut socket = open(address(&stack, Transport::Ws), Some("sip"), None).await.unwrap();
    // No Content-Length: a message is as long as its frame (RFC 7118 §5.1).
    socket.send(Message::text(request("INVITE", 1, "", OFFER))).await.unwrap();
    let mut call = within(calls.recv()).await.unwrap();
    assert_eq!(call.invite.transport, Transport::Ws);
    assert_eq!(call.invite.offer.as_deref(), Some(OFFER.as_bytes()));
    assert!(hear(&mut socket).await.starts_with("SIP/2.0 100"));
    call.dialog.answer(ANSWER.to_vec()).await.unwrap();
    let answer = hear(&mut socket).await;
    assert!(answer.starts_with("SIP/2.0 200") && answer.contains("transport=ws"), "{answer}");
    assert!(answer.contains("Via: SIP/2.0/WS df7jal23ls0d.invalid"), "{answer}");
    let ack = request("ACK", 1, &to_tag(&answer), "");
    socket.send(Message::binary(ack.into_bytes())).await.unwrap();
    assert!(matches!(within(call.events.recv()).await.unwrap(), DialogEvent::Confirmed { .. }));
    // Its Contact cannot be resolved and is not: the request comes by the socket.
    call.dialog.hangup(None).await.unwrap();
    let bye = hear(&mut socket).await;
    assert!(bye.starts_with("BYE sip:alice@df7jal23ls0d.invalid"), "{bye}");
    assert!(bye.contains("Via: SIP/2.0/WS "), "{bye}");
    let lines = bye.lines().filter(|line| ["Via", "From", "To:", "Call", "CSeq"].iter().any(|n| line.starts_with(n)));
    let answer = format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", lines.collect::<Vec<_>>().join("\r\n"));
    socket.send(Message::text(answer)).await.unwrap();
    assert!(matches!(within(call.events.recv()).await.unwrap(), DialogEvent::Ended { by_remote: false, .. }));
    socket.send(Message::text("\r\n\r\n")).await.unwrap();
    assert_eq!(hear(&mut socket).await, "\r\n");
    stack.shutdown().await;
}

#[tokio::test]
async fn a_request_to_a_web_socket_that_is_gone_fails() {
    let (stack, mut calls) = start(SipConfig { ws: vec![any()], ..SipConfig::default() }).await;
    let mut socket = open(address(&stack, Transport::Ws), Some("sip"), None).await.unwrap();
    socket.send(Message::text(request("INVITE", 1, "", OFFER))).await.unwrap();
    let mut call = within(calls.recv()).await.unwrap();
    call.dialog.answer(ANSWER.to_vec()).await.unwrap();
    while !hear(&mut socket).await.starts_with("SIP/2.0 200") {}
    drop(socket);
    while stack.stats().connections > 0 {
        stack.draining(false);
        tokio::task::yield_now().await;
    }
    call.dialog.hangup(None).await.unwrap();
    assert!(matches!(within(call.events.recv()).await.unwrap(), DialogEvent::Ended { .. }));
    within(stack.shutdown()).await;
}

#[tokio::test]
async fn only_sip_and_only_known_pages() {
    let ws_origins = vec!["https://phone.example".to_owned()];
    let (stack, _calls) = start(SipConfig { ws: vec![any()], ws_origins, ..SipConfig::default() }).await;
    let to = address(&stack, Transport::Ws);
    assert_eq!(open(to, None, None).await.unwrap_err(), 400);
    assert_eq!(open(to, Some("chat"), None).await.unwrap_err(), 400);
    assert_eq!(open(to, Some("sip"), Some("https://evil.example")).await.unwrap_err(), 403);
    open(to, Some("sip"), Some("https://phone.example")).await.unwrap();
    let mut socket = open(to, Some("chat, sip"), None).await.unwrap();
    socket.send(Message::text("x".repeat(70_000))).await.unwrap();
    loop {
        match within(socket.next()).await {
            None | Some(Err(_) | Ok(Message::Close(_))) => break,
            Some(Ok(_)) => {}
        }
    }
}

#[tokio::test]
async fn a_web_socket_is_pinged() {
    let keepalive = Duration::from_millis(200);
    let (stack, _calls) = start(SipConfig { ws: vec![any()], keepalive, ..SipConfig::default() }).await;
    let mut socket = open(address(&stack, Transport::Ws), Some("sip"), None).await.unwrap();
    for _ in 0..3 {
        // Reading answers it.
        assert!(matches!(within(socket.next()).await.unwrap().unwrap(), Message::Ping(_)));
    }
    assert_eq!(stack.stats().connections_refused, 0);
    // Whoever does not read does not answer, and is closed.
    let mut raw = socket.into_inner();
    let mut rest = Vec::new();
    within(raw.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test]
async fn our_connections_are_pinged_and_given_up_when_dead() {
    let keepalive = Duration::from_millis(300);
    let config = SipConfig { udp: vec![any()], keepalive, ..SipConfig::default() };
    let (stack, _calls) = start(config).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("sip:a@{};transport=tcp", listener.local_addr().unwrap());
    let call = callbox_sip::OutgoingCall { target, ..callbox_sip::OutgoingCall::default() };
    let (_dialog, _events) = stack.call(call).await.unwrap();
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    for _ in 0..2 {
        while !heard.ends_with(b"\r\n\r\n\r\n\r\n") {
            let length = within(stream.read(&mut buffer)).await.unwrap();
            assert!(length > 0, "an answered ping keeps the connection");
            heard.extend_from_slice(&buffer[..length]);
        }
        assert!(heard.starts_with(b"INVITE "));
        heard.truncate(heard.len() - 4);
        stream.write_all(b"\r\n").await.unwrap();
    }
    // No answer any more.
    while within(stream.read(&mut buffer)).await.unwrap() > 0 {}
}

#[tokio::test]
async fn stun_on_the_sip_port_and_line_breaks() {
    let (stack, _calls) = start(SipConfig { udp: vec![any()], ..SipConfig::default() }).await;
    let phone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    phone.connect(address(&stack, Transport::Udp)).await.unwrap();
    phone.send(b"\r\n\r\n").await.unwrap();
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], b"abcdefghijkl"].concat();
    phone.send(&request).await.unwrap();
    let mut buffer = [0; 200];
    let length = within(phone.recv(&mut buffer)).await.unwrap();
    assert_eq!(buffer[..4], [1, 1, 0, 12]);
    assert_eq!(buffer[8..20], *b"abcdefghijkl");
    let port = u16::from_be_bytes([buffer[26] ^ 0x21, buffer[27] ^ 0x12]);
    assert_eq!((length, port), (32, phone.local_addr().unwrap().port()));
    assert_eq!(stack.stats().endpoint.messages_received, 0, "none of it is SIP");
}

#[tokio::test]
async fn each_listener_has_a_public_address_of_its_own() {
    let v6: SocketAddr = "[::1]:0".parse().unwrap();
    let public =
        |listener, host: &str, port| PublicAddress { transport: Transport::Udp, listener, host: host.into(), port };
    let config = SipConfig {
        udp: vec![any(), v6],
        public: vec![public(any(), "198.51.100.7", Some(15_060)), public(v6, "2001:db8::7", None)],
        advertise: Some("203.0.113.5".into()),
        tcp: vec![any(), v6],
        ..SipConfig::default()
    };
    let (stack, _calls) = start(config).await;
    for (transport, family, says) in [
        (Transport::Udp, "127.0.0.1:0", "198.51.100.7:15060".to_owned()),
        (Transport::Udp, "[::1]:0", format!("[2001:db8::7]:{}", stack.local_addrs()[1].1.port())),
        (Transport::Tcp, "127.0.0.1:0", format!("203.0.113.5:{}", stack.local_addrs()[2].1.port())),
        // An IPv4 address means nothing to an IPv6 peer.
        (Transport::Tcp, "[::1]:0", format!("[::1]:{}", stack.local_addrs()[3].1.port())),
    ] {
        let (text, far) = match transport {
            Transport::Udp => {
                let far = UdpSocket::bind(family).await.unwrap();
                let target = format!("sip:a@{}", far.local_addr().unwrap());
                let call = callbox_sip::OutgoingCall { target, ..callbox_sip::OutgoingCall::default() };
                let _dialog = stack.call(call).await.unwrap();
                let mut buffer = [0; 4096];
                let length = within(far.recv(&mut buffer)).await.unwrap();
                (String::from_utf8_lossy(&buffer[..length]).into_owned(), far.local_addr().unwrap())
            }
            _ => {
                let far = TcpListener::bind(family).await.unwrap();
                let target = format!("sip:a@{};transport=tcp", far.local_addr().unwrap());
                let call = callbox_sip::OutgoingCall { target, ..callbox_sip::OutgoingCall::default() };
                let _dialog = stack.call(call).await.unwrap();
                let (mut stream, _) = within(far.accept()).await.unwrap();
                let mut buffer = [0; 4096];
                let length = within(stream.read(&mut buffer)).await.unwrap();
                (String::from_utf8_lossy(&buffer[..length]).into_owned(), far.local_addr().unwrap())
            }
        };
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(line("Via: ").contains(&format!(" {says};")), "{text}");
        assert!(line("Contact: ").contains(&format!("@{says}")), "{text}");
        let host = says.rsplit_once(':').unwrap().0.trim_matches(['[', ']']).parse().unwrap();
        if transport == Transport::Udp {
            let local = stack.local_addrs()[usize::from(far.is_ipv6())].1;
            assert_eq!(stack.media_address_at(transport, local, far.ip()), Some(host));
            assert_eq!(stack.media_address(far.ip()), Some(host));
        }
    }
}
