//! Finding servers by name (RFC 3263) with a name server of our own, fail-over between them, and unreachable peers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "real time passes here")]

use callbox_sip::{
    Account, AccountLookup, Accounts, Credentials, DialogEvent, Dns, IncomingCall, NextHop, OutgoingCall, Ping,
    RegistrarConfig, RegistrarRules, RegistrationConfig, RegistrationState, SipConfig, SipError, SipStack, Transport,
};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, NAPTR, SRV};
use hickory_proto::rr::{Name, RData, Record};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

type Calls = mpsc::Receiver<IncomingCall>;

const OFFER: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

/// What a name server answers; and what it was asked.
#[derive(Clone, Default)]
struct Zone {
    records: Arc<Vec<Record>>,
    asked: Arc<Mutex<Vec<String>>>,
}

fn name(text: &str) -> Name {
    Name::from_utf8(format!("{text}.")).unwrap()
}

fn a(host: &str, ip: Ipv4Addr) -> Record {
    Record::from_rdata(name(host), 60, RData::A(A(ip)))
}

fn aaaa(host: &str, ip: Ipv6Addr) -> Record {
    Record::from_rdata(name(host), 60, RData::AAAA(AAAA(ip)))
}

fn srv(service: &str, priority: u16, port: u16, target: &str) -> Record {
    Record::from_rdata(name(service), 60, RData::SRV(SRV::new(priority, 0, port, name(target))))
}

fn naptr(host: &str, order: u16, service: &str, to: &str) -> Record {
    let bytes = |text: &str| text.as_bytes().to_vec().into_boxed_slice();
    let naptr = NAPTR::new(order, 1, bytes("s"), bytes(service), bytes(""), name(to));
    Record::from_rdata(name(host), 60, RData::NAPTR(naptr))
}

impl Zone {
    /// Serves the records until the test ends.
    async fn serve(records: Vec<Record>) -> (Self, Dns) {
        let zone = Self { records: records.into(), asked: Arc::default() };
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let serving = zone.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let Ok(mut message) = Message::from_vec(&buffer[..length]) else { continue };
                message.metadata.message_type = MessageType::Response;
                let query = message.queries[0].clone();
                serving.asked.lock().unwrap().push(format!("{} {}", query.query_type(), query.name()));
                let of_name = |record: &&Record| record.name.to_lowercase() == query.name().to_lowercase();
                let known: Vec<&Record> = serving.records.iter().filter(of_name).collect();
                if known.is_empty() {
                    message.metadata.response_code = ResponseCode::NXDomain;
                }
                for record in known.into_iter().filter(|record| record.record_type() == query.query_type()) {
                    message.add_answer(record.clone());
                }
                socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
            }
        });
        (zone, Dns::Servers(vec![address]))
    }

    fn asked(&self, question: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.eq_ignore_ascii_case(question)).count()
    }
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn start(dns: Dns) -> (SipStack, Calls) {
    let config = SipConfig { udp: vec![any()], tcp: vec![any()], dns, ..SipConfig::default() };
    SipStack::start(config).await.unwrap()
}

fn port(stack: &SipStack, transport: Transport) -> u16 {
    stack.local_addrs().into_iter().find(|(t, _)| *t == transport).unwrap().1.port()
}

/// A port where nobody listens: the kernel hands none of these out, as it would one that was free a moment ago.
fn dead() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("in time")
}

fn placed(target: &str) -> OutgoingCall {
    OutgoingCall { target: target.into(), offer: Some(OFFER.to_vec()), ..OutgoingCall::default() }
}

/// Calls, and gives what the callee sees.
async fn reaches(caller: &SipStack, calls: &mut Calls, target: &str) -> IncomingCall {
    let (_outgoing, mut heard) = caller.call(placed(target)).await.unwrap();
    let incoming = within(calls.recv()).await.unwrap();
    incoming.dialog.reject(486, None, Vec::new()).await.unwrap();
    loop {
        if let DialogEvent::Ended { status, .. } = within(heard.recv()).await.unwrap() {
            assert_eq!(status, Some(486));
            return incoming;
        }
    }
}

const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;

#[tokio::test]
async fn naptr_leads_to_srv_and_to_an_address() {
    let (callee, mut calls) = start(Dns::System).await;
    let (tcp, udp) = (port(&callee, Transport::Tcp), port(&callee, Transport::Udp));
    let (zone, dns) = Zone::serve(vec![
        naptr("carrier.test", 10, "SIP+D2T", "_sip._tcp.carrier.test"),
        naptr("carrier.test", 20, "SIP+D2U", "_sip._udp.carrier.test"),
        srv("_sip._tcp.carrier.test", 1, tcp, "edge.carrier.test"),
        srv("_sip._udp.carrier.test", 1, udp, "edge.carrier.test"),
        a("edge.carrier.test", HOME),
        srv("_sip._udp.plain.test", 1, udp, "edge.carrier.test"),
        a("bare.test", HOME),
    ])
    .await;
    let (caller, _) = start(dns).await;
    let incoming = reaches(&caller, &mut calls, "sip:x@carrier.test").await;
    assert_eq!(incoming.invite.transport, Transport::Tcp, "as NAPTR orders");
    assert_eq!(incoming.invite.request_uri, "sip:x@carrier.test", "the request keeps its URI");
    let incoming = reaches(&caller, &mut calls, "sip:x@carrier.test;transport=udp").await;
    assert_eq!(incoming.invite.transport, Transport::Udp, "as the URI says");
    let incoming = reaches(&caller, &mut calls, "sip:x@plain.test").await;
    assert_eq!(incoming.invite.transport, Transport::Udp, "SRV without NAPTR");
    let incoming = reaches(&caller, &mut calls, &format!("sip:x@bare.test:{tcp};transport=tcp")).await;
    assert_eq!(incoming.invite.transport, Transport::Tcp, "a port needs no SRV");
    assert_eq!(zone.asked("NAPTR bare.test."), 0);
    reaches(&caller, &mut calls, "sip:x@carrier.test").await;
    assert_eq!(zone.asked("NAPTR carrier.test."), 1, "answers are kept");
    let error = caller.call(placed("sip:x@nowhere.test")).await.unwrap_err();
    assert!(matches!(error, SipError::Resolve { .. }), "{error}");
    let error = caller.call(placed("sip:x@client.invalid")).await.unwrap_err();
    assert!(matches!(error, SipError::Target { .. }), "{error}");
    assert!(zone.asked.lock().unwrap().iter().all(|asked| !asked.contains("invalid")));
}

#[tokio::test]
async fn a_refused_port_is_passed_over_at_once() {
    let (callee, mut calls) = start(Dns::System).await;
    let (_zone, dns) = Zone::serve(vec![
        srv("_sip._udp.carrier.test", 1, dead(), "edge.carrier.test"),
        srv("_sip._udp.carrier.test", 2, port(&callee, Transport::Udp), "edge.carrier.test"),
        a("edge.carrier.test", HOME),
    ])
    .await;
    let (caller, _) = start(dns).await;
    reaches(&caller, &mut calls, "sip:x@carrier.test").await;
    // ICMP tells, not a timer.
    assert_eq!(caller.stats().endpoint.retransmissions_sent, 0);
    let (_dialog, mut events) = caller.call(placed(&format!("sip:x@127.0.0.1:{}", dead()))).await.unwrap();
    let Some(DialogEvent::Ended { status: Some(503), .. }) = within(events.recv()).await else { panic!() };
}

#[tokio::test]
async fn a_refused_connection_is_passed_over_at_once() {
    let (callee, mut calls) = start(Dns::System).await;
    let (_zone, dns) = Zone::serve(vec![
        srv("_sip._tcp.carrier.test", 1, dead(), "edge.carrier.test"),
        srv("_sip._tcp.carrier.test", 2, port(&callee, Transport::Tcp), "edge.carrier.test"),
        a("edge.carrier.test", HOME),
    ])
    .await;
    let (caller, _) = start(dns).await;
    let incoming = reaches(&caller, &mut calls, "sip:x@carrier.test;transport=tcp").await;
    assert_eq!(incoming.invite.transport, Transport::Tcp);
}

#[tokio::test]
async fn a_silent_server_and_a_full_one_are_passed_over() {
    let (callee, mut calls) = start(Dns::System).await;
    let (full, mut full_calls) = start(Dns::System).await;
    full.draining(true);
    // It takes datagrams and says nothing.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (_zone, dns) = Zone::serve(vec![
        srv("_sip._udp.carrier.test", 1, silent.local_addr().unwrap().port(), "edge.carrier.test"),
        srv("_sip._udp.carrier.test", 2, port(&full, Transport::Udp), "edge.carrier.test"),
        srv("_sip._udp.carrier.test", 3, port(&callee, Transport::Udp), "edge.carrier.test"),
        a("edge.carrier.test", HOME),
    ])
    .await;
    let timing = callbox_sip::transaction::Timing { t1: Duration::from_millis(50), ..Default::default() };
    let config = SipConfig { udp: vec![any()], dns, timing, ..SipConfig::default() };
    let (caller, _) = SipStack::start(config).await.unwrap();
    let began = Instant::now();
    reaches(&caller, &mut calls, "sip:x@carrier.test").await;
    assert!(began.elapsed() >= Duration::from_millis(400), "8·T1 for the silent one");
    assert!(full_calls.try_recv().is_err());
    assert_eq!(caller.stats().endpoint.calls_out, 1, "one call, three servers");
}

/// `sip.test` by UDP: a port where nobody listens, and after it `port`.
async fn second_best(port: u16) -> (Zone, Dns) {
    Zone::serve(vec![
        srv("_sip._udp.sip.test", 1, dead(), "edge.sip.test"),
        srv("_sip._udp.sip.test", 2, port, "edge.sip.test"),
        a("edge.sip.test", HOME),
    ])
    .await
}

#[tokio::test]
async fn a_ping_asks_the_servers_of_a_name_in_turn() {
    let (up, _) = start(Dns::System).await;
    let (_zone, dns) = second_best(port(&up, Transport::Udp)).await;
    let (asking, _) = start(dns).await;
    let hop: NextHop = "sip.test".parse().unwrap();
    let pong = within(asking.options(&hop, Ping::default())).await.unwrap();
    assert_eq!(pong.status, 200);
    // One that has no room says so, and the next is asked; what the last says counts.
    let (full, _) = start(Dns::System).await;
    full.draining(true);
    let (_zone, dns) = Zone::serve(vec![
        srv("_sip._udp.sip.test", 1, port(&full, Transport::Udp), "edge.sip.test"),
        srv("_sip._udp.sip.test", 2, port(&up, Transport::Udp), "edge.sip.test"),
        srv("_sip._udp.full.test", 1, port(&full, Transport::Udp), "edge.sip.test"),
        a("edge.sip.test", HOME),
    ])
    .await;
    let (asking, _) = start(dns).await;
    assert_eq!(within(asking.options(&hop, Ping::default())).await.unwrap().status, 200);
    let full: NextHop = "full.test".parse().unwrap();
    assert_eq!(within(asking.options(&full, Ping::default())).await.unwrap().status, 503);
}

/// Every name is an account, with one password for all.
struct Everybody;

impl Accounts for Everybody {
    fn find<'a>(&'a self, username: &'a str, realm: &'a str) -> AccountLookup<'a> {
        Box::pin(async move { Ok(Some(Account::with_password(username, username, realm, "secret"))) })
    }
}

#[tokio::test]
async fn a_registration_asks_the_servers_of_a_name_in_turn() {
    let registrar = Some(RegistrarConfig { accounts: Arc::new(Everybody), rules: RegistrarRules::default() });
    let config = SipConfig { udp: vec![any()], registrar, ..SipConfig::default() };
    let (server, _calls) = SipStack::start(config).await.unwrap();
    let (_zone, dns) = second_best(port(&server, Transport::Udp)).await;
    let (client, _) = start(dns).await;
    let registration = client
        .register(RegistrationConfig {
            aor: "sip:alice@sip.test".into(),
            credentials: Some(Credentials { username: "alice".into(), password: "secret".into(), realm: None }),
            ..RegistrationConfig::default()
        })
        .await
        .unwrap();
    let mut state = registration.state();
    let known = within(state.wait_for(|state| *state != RegistrationState::Trying)).await.unwrap().clone();
    assert!(matches!(known, RegistrationState::Registered { .. }), "{known:?}");
    assert_eq!(server.contacts("alice").await.len(), 1);
}

#[tokio::test]
async fn both_families_in_turn() {
    let v6: SocketAddr = "[::1]:0".parse().unwrap();
    let (callee, mut calls) = SipStack::start(SipConfig { udp: vec![any()], ..SipConfig::default() }).await.unwrap();
    let port = port(&callee, Transport::Udp);
    let (_zone, dns) = Zone::serve(vec![
        a("both.test", HOME),
        aaaa("both.test", Ipv6Addr::LOCALHOST),
        aaaa("six.test", Ipv6Addr::LOCALHOST),
    ])
    .await;
    let config = SipConfig { udp: vec![any(), v6], dns: dns.clone(), ..SipConfig::default() };
    let (caller, _) = SipStack::start(config).await.unwrap();
    // The callee listens on IPv4 alone: IPv6 comes first, is refused, and IPv4 gets the call with an address of its own.
    let incoming = reaches(&caller, &mut calls, &format!("sip:x@both.test:{port}")).await;
    assert!(incoming.invite.source.is_ipv4());
    let contact = incoming.invite.headers.iter().find(|(name, _)| name == "contact").unwrap().1.clone();
    assert!(contact.contains("127.0.0.1"), "{contact}");
    let (four, _) = start(dns).await;
    let error = four.call(placed("sip:x@six.test:5060")).await.unwrap_err();
    assert!(error.to_string().contains("family"), "{error}");
}
