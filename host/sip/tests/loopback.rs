//! Two stacks on one machine, over real sockets.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_sip::{DialogEvent, IncomingCall, OutgoingCall, SipConfig, SipStack, Transport};
use std::net::SocketAddr;
use std::time::Duration;
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
    tokio::time::timeout(Duration::from_secs(10), events.recv()).await.expect("an event in time").expect("an event")
}

/// Until nothing is remembered, as the driver publishes it.
async fn until_idle(stack: &SipStack) {
    for _ in 0..200 {
        if stack.stats().calls == 0 && stack.stats().legs == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("legs are left: {:?}", stack.stats());
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
    let mut incoming = tokio::time::timeout(Duration::from_secs(10), calls.recv()).await.unwrap().unwrap();
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
    until_idle(&caller).await;
    until_idle(&callee).await;
    caller.shutdown().await;
    callee.shutdown().await;
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
