//! Two stacks on one machine, over real sockets.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_sip::{DialogEvent, IncomingCall, OutgoingCall, SipConfig, SipError, SipLimits, SipStack, Transport};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;

const OFFER: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
const ANSWER: &[u8] =
    b"v=0\r\no=- 2 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\n";

type Calls = mpsc::Receiver<IncomingCall>;
type Events = mpsc::Receiver<DialogEvent>;

async fn start(address: &str) -> (SipStack, Calls) {
    let any: SocketAddr = format!("{address}:0").parse().unwrap();
    SipStack::start(SipConfig { udp: vec![any], tcp: vec![any], ..SipConfig::default() }).await.unwrap()
}

fn target(stack: &SipStack, transport: Transport) -> String {
    let address = stack.local_addrs().into_iter().find(|(t, _)| *t == transport).unwrap().1;
    format!("sip:+441632960001@{address};transport={transport}")
}

async fn next(events: &mut Events) -> DialogEvent {
    tokio::time::timeout(Duration::from_secs(60), events.recv()).await.expect("an event in time").expect("an event")
}

/// Shuts a stack down; the answers to its BYEs leave nothing behind.
async fn close(stack: SipStack) {
    stack.clone().shutdown().await;
    let stats = stack.stats();
    assert_eq!((stats.calls, stats.legs), (0, 0), "{stats:?}");
    assert_eq!((stats.send_failures, stats.endpoint.retransmissions_sent), (0, 0), "nothing got lost: {stats:?}");
}

async fn call(address: &str, transport: Transport) {
    let (caller, _) = start(address).await;
    let (callee, mut calls) = start(address).await;
    let placed = OutgoingCall {
        target: target(&callee, transport),
        from: "bob".into(),
        display_name: Some("Bob \"B\"".into()),
        headers: vec![("X-Account".into(), "42".into())],
        offer: Some(OFFER.to_vec()),
        ..OutgoingCall::default()
    };
    let (outgoing, mut heard) = caller.call(placed).await.unwrap();
    let mut incoming = tokio::time::timeout(Duration::from_secs(60), calls.recv()).await.unwrap().unwrap();
    assert_eq!(incoming.dialog.id(), outgoing.id());
    assert_eq!(incoming.invite.request_user.as_deref(), Some("+441632960001"));
    assert_eq!(incoming.invite.from.display_name.as_deref(), Some("Bob \"B\""));
    assert_eq!(incoming.invite.from.user.as_deref(), Some("bob"));
    assert_eq!(incoming.invite.offer.as_deref(), Some(OFFER));
    assert_eq!(incoming.invite.transport, transport);
    assert!(incoming.invite.headers.contains(&("x-account".to_owned(), "42".to_owned())));

    incoming.dialog.ring().await.unwrap();
    assert_eq!(next(&mut heard).await, DialogEvent::Ringing);
    incoming.dialog.answer(ANSWER.to_vec()).await.unwrap();
    assert_eq!(next(&mut heard).await, DialogEvent::Answered { sdp: Some(ANSWER.to_vec()) });
    assert_eq!(next(&mut incoming.events).await, DialogEvent::Confirmed { sdp: None });

    outgoing.info_digit('5', 160).await.unwrap();
    assert_eq!(next(&mut incoming.events).await, DialogEvent::Digit { digit: '5', duration_ms: 160 });

    incoming.dialog.hangup(Some((16, "bye".into()))).await.unwrap();
    let DialogEvent::Ended { by_remote, q850, .. } = next(&mut heard).await else { panic!() };
    assert_eq!((by_remote, q850), (true, Some(16)));
    assert!(matches!(next(&mut incoming.events).await, DialogEvent::Ended { by_remote: false, .. }));
    assert_eq!(heard.recv().await, None);
    close(caller).await;
    close(callee).await;
}

#[tokio::test]
async fn a_call_over_udp() {
    call("127.0.0.1", Transport::Udp).await;
}

#[tokio::test]
async fn a_call_over_tcp() {
    call("127.0.0.1", Transport::Tcp).await;
}

#[tokio::test]
async fn a_call_over_udp_in_ipv6() {
    call("[::1]", Transport::Udp).await;
}

/// Early media that is acknowledged, an UPDATE before the answer and one after it.
#[tokio::test]
async fn a_session_is_agreed_on_and_changed_before_the_answer() {
    let changed = |n: u8| [OFFER, format!("a=x-version:{n}\r\n").as_bytes()].concat();
    let (caller, _) = start("127.0.0.1").await;
    let (callee, mut calls) = start("127.0.0.1").await;
    let (outgoing, mut heard) = caller.call(placed(target(&callee, Transport::Udp))).await.unwrap();
    let mut incoming = within(calls.recv()).await.unwrap();
    assert!(matches!(outgoing.update(changed(1)).await, Err(SipError::NotNow(_))), "nothing is agreed on yet");
    incoming.dialog.progress(ANSWER.to_vec()).await.unwrap();
    assert_eq!(next(&mut heard).await, DialogEvent::Progress { sdp: Some(ANSWER.to_vec()), branch: 0 });
    outgoing.update(changed(1)).await.unwrap();
    assert_eq!(next(&mut incoming.events).await, DialogEvent::Reinvite { sdp: Some(changed(1)) });
    incoming.dialog.answer_reinvite(Ok(ANSWER.to_vec())).await.unwrap();
    assert_eq!(next(&mut heard).await, DialogEvent::ReinviteAnswered { sdp: Some(ANSWER.to_vec()) });
    incoming.dialog.answer(ANSWER.to_vec()).await.unwrap();
    assert_eq!(next(&mut heard).await, DialogEvent::Answered { sdp: Some(ANSWER.to_vec()) }, "as agreed early");
    assert_eq!(next(&mut incoming.events).await, DialogEvent::Confirmed { sdp: None });
    incoming.dialog.update(changed(2)).await.unwrap();
    assert_eq!(next(&mut heard).await, DialogEvent::Reinvite { sdp: Some(changed(2)) });
    outgoing.answer_reinvite(Err(488)).await.unwrap();
    assert!(matches!(next(&mut incoming.events).await, DialogEvent::ReinviteFailed { status: 488, .. }));
    outgoing.hangup(None).await.unwrap();
    assert!(matches!(next(&mut incoming.events).await, DialogEvent::Ended { by_remote: true, .. }));
    close(caller).await;
    close(callee).await;
}

/// A call from one stack to another that was answered.
struct Talk {
    caller: SipStack,
    callee: SipStack,
    outgoing: callbox_sip::Dialog,
    heard: Events,
    incoming: IncomingCall,
}

async fn talk(transport: Transport) -> Talk {
    let (caller, _) = start("127.0.0.1").await;
    let (callee, mut calls) = start("127.0.0.1").await;
    let (outgoing, mut heard) = caller.call(placed(target(&callee, transport))).await.unwrap();
    let mut incoming = within(calls.recv()).await.unwrap();
    incoming.dialog.answer(ANSWER.to_vec()).await.unwrap();
    assert!(matches!(next(&mut heard).await, DialogEvent::Answered { .. }));
    assert!(matches!(next(&mut incoming.events).await, DialogEvent::Confirmed { .. }));
    Talk { caller, callee, outgoing, heard, incoming }
}

fn placed(target: String) -> OutgoingCall {
    OutgoingCall { target, offer: Some(OFFER.to_vec()), ..OutgoingCall::default() }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
}

fn ended(event: &DialogEvent) -> Option<(bool, Option<u16>)> {
    match event {
        DialogEvent::Ended { by_remote, status, .. } => Some((*by_remote, *status)),
        _ => None,
    }
}

#[tokio::test]
async fn the_last_handle_ends_the_call() {
    let mut talk = talk(Transport::Udp).await;
    let clone = talk.outgoing.clone();
    drop(talk.outgoing);
    clone.info_digit('1', 100).await.unwrap();
    assert!(matches!(next(&mut talk.incoming.events).await, DialogEvent::Digit { digit: '1', .. }));
    drop(clone);
    assert_eq!(ended(&next(&mut talk.incoming.events).await), Some((true, None)));
    assert_eq!(ended(&next(&mut talk.heard).await), Some((false, None)));
    assert!(matches!(talk.incoming.dialog.hangup(None).await, Err(SipError::Ended)));
    close(talk.caller).await;
    close(talk.callee).await;
}

#[tokio::test]
async fn a_call_that_nobody_wants_is_refused_and_one_given_up_is_cancelled() {
    let (caller, _) = start("127.0.0.1").await;
    let (callee, mut calls) = start("127.0.0.1").await;
    let (_outgoing, mut heard) = caller.call(placed(target(&callee, Transport::Udp))).await.unwrap();
    drop(within(calls.recv()).await.unwrap());
    assert_eq!(ended(&next(&mut heard).await), Some((true, Some(480))));

    let (outgoing, _) = caller.call(placed(target(&callee, Transport::Udp))).await.unwrap();
    let mut incoming = within(calls.recv()).await.unwrap();
    drop(outgoing);
    assert_eq!(ended(&next(&mut incoming.events).await), Some((true, Some(487))));
    close(caller).await;
    close(callee).await;
}

#[tokio::test]
async fn a_shutdown_ends_the_calls() {
    let mut talk = talk(Transport::Tcp).await;
    talk.callee.clone().shutdown().await;
    assert_eq!(ended(&next(&mut talk.heard).await), Some((true, None)));
    assert_eq!(ended(&next(&mut talk.incoming.events).await), Some((false, None)));
    assert_eq!(talk.callee.stats().legs, 0, "its BYE was answered");
    assert!(matches!(talk.incoming.dialog.ring().await, Err(SipError::Closed | SipError::Ended)));
    assert!(matches!(talk.callee.call(placed("sip:a@127.0.0.1".into())).await, Err(SipError::Closed)));
}

#[tokio::test]
async fn a_name_is_looked_up_and_a_bad_target_explained() {
    let (caller, _) = start("127.0.0.1").await;
    let (callee, mut calls) = start("127.0.0.1").await;
    let port = callee.local_addrs()[0].1.port();
    let (_outgoing, _heard) = caller.call(placed(format!("someone@localhost:{port}"))).await.unwrap();
    assert_eq!(within(calls.recv()).await.unwrap().invite.request_user.as_deref(), Some("someone"));
    for (target, says) in [
        ("sips:a@127.0.0.1;transport=ws", "wss"),
        ("tel:+441632960001", "trunk"),
        ("sip:a b@127.0.0.1", "character"),
        ("sip:a@127.0.0.1;transport=sctp", "sctp"),
        ("sip:a@[::1]", "address family"),
    ] {
        let error = caller.call(placed(target.into())).await.unwrap_err();
        assert!(error.to_string().contains(says), "{target}: {error}");
    }
    let mut call = placed("sip:a@127.0.0.1".into());
    for (name, value) in [("Via", "x"), ("Contact", "x"), ("X Y", "x"), ("X-A", "a\r\nVia: b")] {
        call.headers = vec![(name.into(), value.into())];
        assert!(matches!(caller.call(call.clone()).await, Err(SipError::Header { .. })), "{name}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let (stack, _calls) = start("127.0.0.1").await;
    for (transport, address) in stack.local_addrs() {
        let mut config = SipConfig::default();
        match transport {
            Transport::Udp => config.udp.push(address),
            _ => config.tcp.push(address),
        }
        let error = SipStack::start(config).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("in use"), "{error}");
    }
    assert!(matches!(SipStack::start(SipConfig::default()).await, Err(SipError::NoListener)));
    let config = SipConfig {
        udp: vec!["127.0.0.1:0".parse().unwrap()],
        advertise: Some("no host".into()),
        ..SipConfig::default()
    };
    assert!(SipStack::start(config).await.is_err());
}

// --- A peer whose bytes the test writes ---

/// When the refused shall come again, in seconds.
fn retry_after(answer: &str) -> u32 {
    let line = answer.lines().find_map(|line| line.strip_prefix("Retry-After: "));
    line.unwrap_or_else(|| panic!("no Retry-After: {answer}")).parse().unwrap()
}

fn request(method: &str, n: u32, via: &str, extra: &str) -> String {
    format!(
        "{method} sip:robot@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{via};rport;branch=z9hG4bK{method}{n}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:robot@127.0.0.1>\r\nCall-ID: call{n}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:a@127.0.0.1:9>\r\n{extra}Content-Length: 0\r\n\r\n"
    )
}

async fn read(stream: &mut TcpStream, until: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4_096];
    while !text.contains(until) {
        let length = within(stream.read(&mut buffer)).await.unwrap();
        assert!(length > 0, "closed after {text:?} before {until:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    text
}

#[tokio::test]
async fn a_stream_is_framed_and_kept_alive_and_used_both_ways() {
    let (stack, mut calls) = start("127.0.0.1").await;
    let address = stack.local_addrs()[1].1;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"\r\n\r\n").await.unwrap();
    assert_eq!(read(&mut stream, "\r\n").await, "\r\n");
    // Two messages in one piece, then one in three.
    let both = format!("{}\r\n{}", request("OPTIONS", 1, "TCP x", ""), request("OPTIONS", 2, "TCP x", ""));
    stream.write_all(both.as_bytes()).await.unwrap();
    assert!(read(&mut stream, "Call-ID: call2").await.contains("Call-ID: call1"));
    let invite = request("INVITE", 3, "TCP 127.0.0.1:9", "");
    let incoming = {
        let (first, rest) = invite.split_at(40);
        let (second, third) = rest.split_at(rest.len() - 3);
        for piece in [first, second, third] {
            stream.write_all(piece.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        within(calls.recv()).await.unwrap()
    };
    incoming.dialog.answer(OFFER.to_vec()).await.unwrap();
    let answer = read(&mut stream, "m=audio 4000").await;
    assert!(answer.contains(";transport=tcp>"), "{answer}");
    let tag = answer.split("200 OK").nth(1).unwrap().split("To: ").nth(1).unwrap().split(";tag=").nth(1).unwrap();
    let tag = tag.split("\r\n").next().unwrap();
    let ack = request("ACK", 3, "TCP x", "")
        .replace("To: <sip:robot@127.0.0.1>", &format!("To: <sip:robot@127.0.0.1>;tag={tag}"));
    // The ACK has no answer to our offer: the call ends, and the BYE comes by this connection, not to port 9.
    stream.write_all(ack.as_bytes()).await.unwrap();
    assert!(read(&mut stream, "BYE sip:a@127.0.0.1:9 SIP/2.0").await.contains("BYE"));
    assert_eq!(stack.stats().connections, 1);
}

#[tokio::test]
async fn a_stream_that_cannot_be_framed_is_told_and_closed() {
    let (stack, _calls) = start("127.0.0.1").await;
    let mut stream = TcpStream::connect(stack.local_addrs()[1].1).await.unwrap();
    let bad = request("OPTIONS", 1, "TCP x", "").replace("Content-Length: 0", "Content-Length: 99999999999");
    stream.write_all(bad.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    within(stream.read_to_end(&mut text)).await.unwrap();
    assert!(String::from_utf8_lossy(&text).starts_with("SIP/2.0 "), "{}", String::from_utf8_lossy(&text));
}

#[tokio::test]
async fn connections_are_limited_and_idle_ones_closed() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let limits =
        SipLimits { tcp_connections_per_source: 2, tcp_idle: Duration::from_millis(300), ..SipLimits::default() };
    let (stack, _calls) = SipStack::start(SipConfig { tcp: vec![any], limits, ..SipConfig::default() }).await.unwrap();
    let address = stack.local_addrs()[0].1;
    let mut streams = Vec::new();
    for n in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request("OPTIONS", n, "TCP x", "").as_bytes()).await.unwrap();
        read(&mut stream, "200 OK").await;
        streams.push(stream);
    }
    let mut third = TcpStream::connect(address).await.unwrap();
    assert_eq!(within(third.read(&mut [0; 16])).await.unwrap_or_default(), 0, "closed at once");
    for stream in &mut streams {
        assert_eq!(within(stream.read(&mut [0; 16])).await.unwrap(), 0, "closed when idle");
    }
    let mut again = TcpStream::connect(address).await.unwrap();
    again.write_all(request("OPTIONS", 9, "TCP x", "").as_bytes()).await.unwrap();
    read(&mut again, "200 OK").await;
}

#[tokio::test]
async fn a_refused_connection_fails_the_call_at_once() {
    let (caller, _) = start("127.0.0.1").await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (_outgoing, mut heard) = caller.call(placed(format!("sip:a@{gone};transport=tcp"))).await.unwrap();
    assert_eq!(ended(&next(&mut heard).await), Some((true, Some(503))));
}

#[tokio::test]
async fn while_draining_pings_and_calls_are_refused() {
    let (stack, _calls) = start("127.0.0.1").await;
    let address = stack.local_addrs()[0].1;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stack.draining(true);
    let mut buffer = [0; 2_048];
    let mut answer = String::new();
    // The order and the datagram travel by different ways; repeat until the order is there.
    for n in 0..100 {
        peer.send_to(request("OPTIONS", n, "UDP 127.0.0.1", "").as_bytes(), address).await.unwrap();
        let length = within(peer.recv(&mut buffer)).await.unwrap();
        answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if answer.starts_with("SIP/2.0 503") {
            break;
        }
    }
    assert!(answer.starts_with("SIP/2.0 503") && (2..=6).contains(&retry_after(&answer)), "{answer}");
    assert!(matches!(stack.call(placed("sip:a@127.0.0.1".into())).await, Err(SipError::Closed)));
}

#[tokio::test]
async fn the_advertised_host_is_what_peers_are_told() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let config = SipConfig { udp: vec![any], advertise: Some("203.0.113.5".into()), ..SipConfig::default() };
    let (stack, _calls) = SipStack::start(config).await.unwrap();
    let port = stack.local_addrs()[0].1.port();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let call = placed(format!("sip:a@{}", peer.local_addr().unwrap()));
    let (_outgoing, _heard) = stack.call(call).await.unwrap();
    let mut buffer = [0; 2_048];
    let length = within(peer.recv(&mut buffer)).await.unwrap();
    let invite = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(invite.contains(&format!("\r\nVia: SIP/2.0/UDP 203.0.113.5:{port};rport;branch=")), "{invite}");
    assert!(invite.contains(&format!("\r\nContact: <sip:callbox@203.0.113.5:{port}>")), "{invite}");
    assert_eq!(stack.media_address("127.0.0.1".parse().unwrap()), Some("203.0.113.5".parse().unwrap()));
}

/// A user that does not read its events must not hold up anybody, nor may a peer fill memory through it.
#[tokio::test]
async fn a_call_whose_events_nobody_reads_is_ended() {
    let (stack, _calls) = start("127.0.0.1").await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let call = placed(format!("sip:a@{}", peer.local_addr().unwrap()));
    let (outgoing, mut heard) = stack.call(call).await.unwrap();
    let mut buffer = [0; 2_048];
    let (length, from) = within(peer.recv_from(&mut buffer)).await.unwrap();
    let invite = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let echoed: Vec<&str> = invite
        .lines()
        .filter(|line| ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)))
        .collect();
    let ringing = format!("SIP/2.0 180 Ringing\r\n{}\r\nContent-Length: 0\r\n\r\n", echoed.join("\r\n"));
    for _ in 0..100 {
        peer.send_to(ringing.as_bytes(), from).await.unwrap();
    }
    // The CANCEL shows that the stack gave the call up.
    loop {
        let length = within(peer.recv(&mut buffer)).await.unwrap();
        if buffer[..length].starts_with(b"CANCEL ") {
            break;
        }
    }
    let mut rings = 0;
    loop {
        match next(&mut heard).await {
            DialogEvent::Ringing => rings += 1,
            event => {
                assert_eq!(ended(&event), Some((false, Some(487))));
                break;
            }
        }
    }
    assert_eq!(rings, 64);
    assert_eq!(stack.stats().calls_unread, 1);
    assert!(matches!(outgoing.hangup(None).await, Err(SipError::Ended)));
}

/// The connection of a call may be gone when we have something to say: then a new one leads to the peer's `Contact`.
#[tokio::test]
async fn a_lost_connection_is_opened_again_to_the_contact() {
    let (stack, mut calls) = start("127.0.0.1").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let contact = format!("<sip:a@{};transport=tcp>", listener.local_addr().unwrap());
    let mut stream = TcpStream::connect(stack.local_addrs()[1].1).await.unwrap();
    let ours = |method: &str, tag: &str| {
        request(method, 1, "TCP x", "")
            .replace("<sip:a@127.0.0.1:9>", &contact)
            .replace("To: <sip:robot@127.0.0.1>", &format!("To: <sip:robot@127.0.0.1>{tag}"))
            .replace(
                "Content-Length: 0\r\n\r\n",
                &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n", OFFER.len()),
            )
            + std::str::from_utf8(OFFER).unwrap()
    };
    stream.write_all(ours("INVITE", "").as_bytes()).await.unwrap();
    let mut incoming = within(calls.recv()).await.unwrap();
    incoming.dialog.answer(ANSWER.to_vec()).await.unwrap();
    let answer = read(&mut stream, "m=audio 5000").await;
    let tag = answer.rsplit("robot@127.0.0.1>").next().unwrap().split("\r\n").next().unwrap().to_owned();
    assert!(tag.starts_with(";tag="), "{answer}");
    stream.write_all(ours("ACK", &tag).as_bytes()).await.unwrap();
    assert!(matches!(next(&mut incoming.events).await, DialogEvent::Confirmed { .. }));
    drop(stream);
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for n in 0.. {
        if stack.stats().connections == 0 {
            break;
        }
        // Each message wakes the driver, which then publishes what it holds.
        let options = request("OPTIONS", n, "UDP 127.0.0.1", "");
        peer.send_to(options.as_bytes(), stack.local_addrs()[0].1).await.unwrap();
        within(peer.recv(&mut [0; 2_048])).await.unwrap();
    }
    incoming.dialog.hangup(None).await.unwrap();
    let (mut again, _) = within(listener.accept()).await.unwrap();
    assert!(read(&mut again, "BYE ").await.contains("sip:a@127.0.0.1"));
}

/// Twice a hundred calls at a limit of ten: ten are served, each other one is refused, and the ten notice nothing.
#[tokio::test]
async fn above_the_limit_each_call_is_refused_and_none_of_the_others_suffers() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let limits = SipLimits { max_calls: 10, ..SipLimits::default() };
    let (stack, mut calls) =
        SipStack::start(SipConfig { udp: vec![any], limits, ..SipConfig::default() }).await.unwrap();
    let address = stack.local_addrs()[0].1;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; 2_048];
    let (mut trying, mut refused) = (0, 0);
    for n in 0..200 {
        peer.send_to(request("INVITE", n, "UDP 127.0.0.1", "").as_bytes(), address).await.unwrap();
        let length = within(peer.recv(&mut buffer)).await.unwrap();
        let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(answer.contains(&format!("Call-ID: call{n}\r\n")), "{answer}");
        if answer.starts_with("SIP/2.0 503 ") {
            assert!((2..=6).contains(&retry_after(&answer)), "{answer}");
            refused += 1;
        } else {
            assert!(answer.starts_with("SIP/2.0 100 "), "{answer}");
            trying += 1;
        }
    }
    assert_eq!((trying, refused), (10, 190));
    for _ in 0..10 {
        let call = within(calls.recv()).await.unwrap();
        call.dialog.ring().await.unwrap();
        let length = within(peer.recv(&mut buffer)).await.unwrap();
        assert!(buffer[..length].starts_with(b"SIP/2.0 180 "));
        call.dialog.reject(486, None, Vec::new()).await.unwrap();
        let length = within(peer.recv(&mut buffer)).await.unwrap();
        assert!(buffer[..length].starts_with(b"SIP/2.0 486 "));
    }
    assert_eq!(stack.stats().endpoint.shed_calls, 190);
}
