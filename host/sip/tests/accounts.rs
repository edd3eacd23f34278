//! Registering and calling by it over real sockets: one stack as registrar, another as its phone.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_sip::digest::Client;
use callbox_sip::wire::{self, Method};
use callbox_sip::{
    Account, AccountLookup, Accounts, Credentials, DialogEvent, NextHop, OutgoingCall, Ping, RegistrarConfig,
    RegistrarRules, Registration, RegistrationConfig, RegistrationState, SipConfig, SipError, SipStack, Transport,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const OFFER: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
const ANSWER: &[u8] =
    b"v=0\r\no=- 2 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\n";

/// Knows alice, and takes its time.
struct Store;

impl Accounts for Store {
    fn find<'a>(&'a self, username: &'a str, realm: &'a str) -> AccountLookup<'a> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok((username == "alice").then(|| Account::with_password("account-1", "alice", realm, "secret")))
        })
    }
}

type Calls = mpsc::Receiver<callbox_sip::IncomingCall>;

async fn registrar() -> (SipStack, Calls) {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let registrar = RegistrarConfig { accounts: Arc::new(Store), rules: RegistrarRules::default() };
    let config = SipConfig { udp: vec![any], tcp: vec![any], registrar: Some(registrar), ..SipConfig::default() };
    SipStack::start(config).await.unwrap()
}

async fn phone() -> (SipStack, Calls) {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    SipStack::start(SipConfig { udp: vec![any], tcp: vec![any], ..SipConfig::default() }).await.unwrap()
}

fn at(stack: &SipStack, transport: Transport) -> SocketAddr {
    stack.local_addrs().into_iter().find(|(t, _)| *t == transport).unwrap().1
}

fn hop(stack: &SipStack, transport: Transport) -> NextHop {
    NextHop { transport: Some(transport), ..at(stack, transport).into() }
}

fn config(registrar: &SipStack, transport: Transport, password: &str) -> RegistrationConfig {
    RegistrationConfig {
        aor: "sip:alice@callbox".into(),
        outbound_proxies: vec![hop(registrar, transport)],
        credentials: Some(Credentials { username: "alice".into(), password: password.into(), realm: None }),
        ..RegistrationConfig::default()
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it happens in time")
}

async fn stands(registration: &Registration) -> RegistrationState {
    let mut state = registration.state();
    within(state.wait_for(|state| *state != RegistrationState::Trying)).await.unwrap().clone()
}

async fn both_ways(transport: Transport) {
    let (server, mut at_server) = registrar().await;
    let (client, mut at_client) = phone().await;
    let registration = client.register(config(&server, transport, "secret")).await.unwrap();
    assert!(matches!(stands(&registration).await, RegistrationState::Registered { .. }));
    let contacts = server.contacts("account-1").await;
    assert_eq!((contacts.len(), contacts[0].transport), (1, transport));
    assert!(contacts[0].instance.as_deref().is_some_and(|urn| urn.starts_with("<urn:uuid:")), "{contacts:?}");

    // To the phone, by the way it registered.
    let call = OutgoingCall { contact: contacts.into_iter().next(), offer: Some(OFFER.to_vec()), ..Default::default() };
    let (outgoing, mut heard) = server.call(call).await.unwrap();
    let incoming = within(at_client.recv()).await.unwrap();
    assert_eq!(incoming.invite.request_user.as_deref(), Some("alice"));
    assert_eq!(incoming.invite.registration, Some(registration.id()));
    assert_eq!(incoming.invite.transport, transport);
    incoming.dialog.answer(ANSWER.to_vec()).await.unwrap();
    assert!(matches!(within(heard.recv()).await, Some(DialogEvent::Answered { .. })));
    outgoing.hangup(None).await.unwrap();
    drop(incoming);

    // From the phone, which proves who it is.
    let call = OutgoingCall {
        target: "sip:100@callbox".into(),
        from: "sip:alice@callbox".into(),
        registration: Some(registration.id()),
        offer: Some(OFFER.to_vec()),
        ..Default::default()
    };
    let (outgoing, mut heard) = client.call(call).await.unwrap();
    let incoming = within(at_server.recv()).await.unwrap();
    assert_eq!(incoming.invite.account.as_deref(), Some("account-1"));
    incoming.dialog.answer(ANSWER.to_vec()).await.unwrap();
    assert!(matches!(within(heard.recv()).await, Some(DialogEvent::Answered { .. })));
    outgoing.hangup(None).await.unwrap();

    // The handle gone, so is the phone.
    let mut state = registration.state();
    drop(registration);
    within(state.wait_for(|state| *state == RegistrationState::Gone)).await.unwrap();
    assert!(server.contacts("account-1").await.is_empty());
    let stats = server.stats().registrar;
    assert_eq!((stats.registered, stats.failures), (2, 0), "{stats:?}");
    client.shutdown().await;
    server.shutdown().await;
}

#[tokio::test]
async fn both_ways_over_udp() {
    both_ways(Transport::Udp).await;
}

#[tokio::test]
async fn both_ways_over_tcp() {
    both_ways(Transport::Tcp).await;
}

#[tokio::test]
async fn a_shutdown_takes_the_registration_with_it() {
    let (server, _calls) = registrar().await;
    let (client, _) = phone().await;
    let registration = client.register(config(&server, Transport::Udp, "secret")).await.unwrap();
    assert!(matches!(stands(&registration).await, RegistrationState::Registered { .. }));
    client.shutdown().await;
    assert!(server.contacts("account-1").await.is_empty());
    server.shutdown().await;
}

/// A phone of our own making, by TCP from behind a NAT.
#[tokio::test]
async fn a_phone_is_gone_with_its_connection() {
    let (server, mut calls) = registrar().await;
    let mut stream = TcpStream::connect(at(&server, Transport::Tcp)).await.unwrap();
    let mut digest = Client::new(Credentials { username: "alice".into(), password: "secret".into(), realm: None });
    let mut buffer = vec![0; 8_192];
    for cseq in 1..=2 {
        let authorization = digest.authorize(&Method::Register, b"sip:callbox", "c0ffeec0ffeec0ff");
        let lines =
            authorization.iter().map(|(_, line)| format!("Authorization: {}\r\n", String::from_utf8_lossy(line)));
        let register = format!(
            "REGISTER sip:callbox SIP/2.0\r\nVia: SIP/2.0/TCP phone.invalid;branch=z9hG4bK{cseq}\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@callbox>;tag=1\r\nTo: <sip:alice@callbox>\r\nCall-ID: raw\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: <sip:alice@phone.invalid;transport=tcp>\r\n{}Content-Length: 0\r\n\r\n",
            lines.collect::<String>()
        );
        stream.write_all(register.as_bytes()).await.unwrap();
        let length = within(stream.read(&mut buffer)).await.unwrap();
        let answer = wire::parse(&buffer[..length]).unwrap();
        match cseq {
            1 => digest.challenged(&answer).unwrap(),
            _ => assert_eq!(answer.status(), Some(200)),
        }
    }
    assert_eq!(server.contacts("account-1").await.len(), 1);
    // What it calls now is a call of the account, without another challenge.
    let invite = format!(
        "INVITE sip:100@callbox SIP/2.0\r\nVia: SIP/2.0/TCP phone.invalid;branch=z9hG4bKinv\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@callbox>;tag=2\r\nTo: <sip:100@callbox>\r\nCall-ID: raw-call\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:alice@phone.invalid;transport=tcp>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n",
        OFFER.len()
    );
    stream.write_all(&[invite.as_bytes(), OFFER].concat()).await.unwrap();
    let call = within(calls.recv()).await.unwrap();
    assert_eq!(call.invite.account.as_deref(), Some("account-1"));
    drop((stream, call));
    let gone = async {
        while !server.contacts("account-1").await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    within(gone).await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_wrong_password_is_told() {
    let (server, _calls) = registrar().await;
    let (client, _) = phone().await;
    let registration = client.register(config(&server, Transport::Udp, "wrong")).await.unwrap();
    assert!(matches!(stands(&registration).await, RegistrationState::Failed { status: Some(401), .. }));
    let call = OutgoingCall { registration: Some(registration.id()), target: "sip:1@h".into(), ..Default::default() };
    assert!(matches!(client.call(call).await, Err(SipError::NotRegistered)));
    assert_eq!(server.stats().registrar.bindings, 0);
}

#[tokio::test]
async fn pings() {
    let (server, _calls) = registrar().await;
    let (client, _) = phone().await;
    for transport in [Transport::Udp, Transport::Tcp] {
        let pong = client.options(&hop(&server, transport), Ping::default()).await.unwrap();
        assert_eq!(pong.status, 200);
    }
    server.draining(true);
    let busy =
        async { while client.options(&hop(&server, Transport::Udp), Ping::default()).await.unwrap().status != 503 {} };
    within(busy).await;
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let ping = Ping { timeout: Duration::from_millis(50), ..Ping::default() };
    let answer = client.options(&silent.local_addr().unwrap().into(), ping).await;
    assert!(matches!(answer, Err(SipError::Unanswered(_))), "{answer:?}");
}

#[tokio::test]
async fn what_is_no_account_is_said_at_once() {
    let (client, _) = phone().await;
    for aor in ["", "sip:host-only", "tel:+441632960001", "no uri at all"] {
        let config = RegistrationConfig { aor: aor.into(), ..RegistrationConfig::default() };
        assert!(matches!(client.register(config).await, Err(SipError::Target { .. })), "{aor}");
    }
}
