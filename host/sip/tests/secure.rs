//! TLS with real certificates: calls, mutual TLS, names that do not fit, reload, slow and half-open handshakes, framing,
//! a connection that drops in mid-call.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "real time passes here")]

use callbox_sip::{
    ClientCertificates, DialogEvent, IncomingCall, OutgoingCall, Pem, SipConfig, SipError, SipLimits, SipStack,
    TlsConfig, TlsIdentity, Transport,
};
use futures_util::{SinkExt as _, StreamExt as _};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

const OFFER: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
const ANSWER: &[u8] =
    b"v=0\r\no=- 2 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\n";

/// An authority of its own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> Pem {
        Pem::Text(self.0.pem().into_bytes())
    }

    /// A certificate for these names: DNS names, addresses, or `sip:` URIs.
    fn identity(&self, names: &[&str]) -> TlsIdentity {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) if name.starts_with("sip:") => SanType::URI((*name).try_into().unwrap()),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        TlsIdentity {
            certificates: Pem::Text(certificate.pem().into_bytes()),
            key: Pem::Text(key.serialize_pem().into_bytes()),
        }
    }

    fn config(&self, names: &[&str]) -> TlsConfig {
        TlsConfig {
            identity: (!names.is_empty()).then(|| self.identity(names)),
            extra_roots: vec![self.pem()],
            platform_roots: false,
            ..TlsConfig::default()
        }
    }

    /// A raw client that believes this authority.
    async fn connect(&self, to: SocketAddr, name: &str) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.0.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(to).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

type Calls = mpsc::Receiver<IncomingCall>;

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn start(tls_config: TlsConfig) -> (SipStack, Calls) {
    let tls = tls_config.identity.iter().map(|_| any()).collect();
    SipStack::start(SipConfig { udp: vec![any()], tls, tls_config, ..SipConfig::default() }).await.unwrap()
}

fn address(stack: &SipStack, transport: Transport) -> SocketAddr {
    stack.local_addrs().into_iter().find(|(t, _)| *t == transport).unwrap().1
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("in time")
}

fn placed(target: String) -> OutgoingCall {
    OutgoingCall { target, from: "bob".into(), offer: Some(OFFER.to_vec()), ..OutgoingCall::default() }
}

/// How a call ends that cannot be placed.
async fn outcome(caller: &SipStack, target: String) -> Option<u16> {
    let (_dialog, mut events) = caller.call(placed(target)).await.unwrap();
    match within(events.recv()).await.unwrap() {
        DialogEvent::Ended { status, .. } => status,
        other => panic!("{other:?}"),
    }
}

/// A call to `target`, to its end.
async fn talk(caller: &SipStack, calls: &mut Calls, target: String) -> IncomingCall {
    let (outgoing, mut heard) = caller.call(placed(target)).await.unwrap();
    let mut incoming = within(calls.recv()).await.unwrap();
    incoming.dialog.answer(ANSWER.to_vec()).await.unwrap();
    assert!(matches!(within(heard.recv()).await.unwrap(), DialogEvent::Answered { .. }));
    assert!(matches!(within(incoming.events.recv()).await.unwrap(), DialogEvent::Confirmed { .. }));
    incoming.dialog.hangup(None).await.unwrap();
    assert!(matches!(within(heard.recv()).await.unwrap(), DialogEvent::Ended { by_remote: true, .. }));
    assert!(matches!(within(incoming.events.recv()).await.unwrap(), DialogEvent::Ended { .. }));
    drop(outgoing);
    incoming
}

#[tokio::test]
async fn a_call_by_tls_and_one_by_sips() {
    let authority = Authority::new();
    let (callee, mut calls) = start(authority.config(&["127.0.0.1", "localhost"])).await;
    let (caller, _) = start(authority.config(&[])).await;
    let port = address(&callee, Transport::Tls).port();
    for target in [
        format!("sip:a@127.0.0.1:{port};transport=tls"),
        format!("sips:a@127.0.0.1:{port}"),
        format!("sips:a@localhost:{port}"),
    ] {
        let incoming = talk(&caller, &mut calls, target.clone()).await;
        assert_eq!(incoming.invite.transport, Transport::Tls);
        assert_eq!(incoming.invite.tls_identity, None, "nobody asked for a certificate");
        let header = |name: &str| incoming.invite.headers.iter().find(|(n, _)| n == name).unwrap().1.clone();
        assert!(header("via").starts_with("SIP/2.0/TLS "), "{}", header("via"));
        let contact = header("contact");
        assert!(contact.contains("transport=tls"), "{contact}");
        assert_eq!(contact.starts_with("<sips:"), target.starts_with("sips:"), "{contact}");
    }
    assert_eq!(caller.stats().connections, 2, "one for each name, used again");
    callee.shutdown().await;
    caller.shutdown().await;
}

#[tokio::test]
async fn who_cannot_prove_the_name_is_not_called() {
    let authority = Authority::new();
    let (callee, _calls) = start(authority.config(&["sip.carrier.example"])).await;
    let port = address(&callee, Transport::Tls).port();
    let (caller, _) = start(authority.config(&[])).await;
    assert_eq!(outcome(&caller, format!("sips:a@127.0.0.1:{port}")).await, Some(503), "another name");
    let (stranger, _) = start(Authority::new().config(&[])).await;
    assert_eq!(outcome(&stranger, format!("sips:a@127.0.0.1:{port}")).await, Some(503), "another authority");
    let udp = address(&callee, Transport::Udp);
    let proxy = Some(format!("sip:{udp};transport=udp").parse().unwrap());
    let call = OutgoingCall { proxy, ..placed("sips:a@127.0.0.1".into()) };
    assert!(matches!(caller.call(call).await, Err(SipError::Target { .. })), "sips never goes in the clear");
}

#[tokio::test]
async fn mutual_tls() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let config = |client_certificates| TlsConfig {
        client_certificates,
        client_ca: Some(theirs.pem()),
        ..ours.config(&["127.0.0.1"])
    };
    let (callee, mut calls) = start(config(ClientCertificates::Required)).await;
    let target = format!("sips:a@{}", address(&callee, Transport::Tls));
    let known = |names: &[&str]| TlsConfig { identity: Some(theirs.identity(names)), ..ours.config(&[]) };
    let (carrier, _) = start(known(&["Carrier.example", "sip:sip.carrier.example", "sip:user@carrier.example"])).await;
    let incoming = talk(&carrier, &mut calls, target.clone()).await;
    assert_eq!(incoming.invite.tls_identity.as_deref(), Some("sip.carrier.example"), "a SIP URI before DNS names");
    assert_eq!(incoming.invite.tls_identities, ["sip.carrier.example"]);
    let (other, _) = start(known(&["A.example", "b.example"])).await;
    let incoming = talk(&other, &mut calls, target.clone()).await;
    assert_eq!(incoming.invite.tls_identities, ["a.example", "b.example"]);
    let (bare, _) = start(ours.config(&[])).await;
    assert_eq!(outcome(&bare, target.clone()).await, Some(503), "without a certificate");
    let (forged, _) =
        start(TlsConfig { identity: Some(Authority::new().identity(&["carrier.example"])), ..ours.config(&[]) }).await;
    assert_eq!(outcome(&forged, target).await, Some(503), "of another authority");

    let (lenient, mut calls) = start(config(ClientCertificates::Requested)).await;
    let target = format!("sips:a@{}", address(&lenient, Transport::Tls));
    assert_eq!(talk(&bare, &mut calls, target.clone()).await.invite.tls_identity, None);
    assert!(talk(&carrier, &mut calls, target.clone()).await.invite.tls_identity.is_some());
    assert_eq!(outcome(&forged, target).await, Some(503), "one that is shown has to be good");
}

#[tokio::test]
async fn a_certificate_is_renewed_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let (callee, mut calls) = start(old.config(&["127.0.0.1"])).await;
    let target = format!("sips:a@{}", address(&callee, Transport::Tls));
    let (before, _) = start(old.config(&[])).await;
    let (after, _) = start(new.config(&[])).await;
    talk(&before, &mut calls, target.clone()).await;
    assert_eq!(outcome(&after, target.clone()).await, Some(503));
    let nonsense =
        TlsConfig { client_ca: None, client_certificates: ClientCertificates::Required, ..new.config(&["x.y"]) };
    let error = callee.reload_tls(nonsense).await.unwrap_err().to_string();
    assert!(error.contains("client_ca"), "{error}");
    assert!(callee.reload_tls(new.config(&[])).await.is_err(), "the listener needs one");
    callee.reload_tls(new.config(&["127.0.0.1"])).await.unwrap();
    talk(&after, &mut calls, target.clone()).await;
    talk(&before, &mut calls, target).await;
    assert_eq!(before.stats().connections, 1, "the connection that was up stays up");
}

#[tokio::test]
async fn a_bad_configuration_is_explained() {
    let authority = Authority::new();
    let good = authority.config(&["127.0.0.1"]);
    let key = good.identity.clone().unwrap().key;
    let other = authority.identity(&["127.0.0.1"]);
    let missing = Pem::File("/nowhere/cert.pem".into());
    for (config, says) in [
        (TlsConfig::default(), "certificate"),
        (
            TlsConfig { identity: Some(TlsIdentity { certificates: missing, key: key.clone() }), ..good.clone() },
            "/nowhere",
        ),
        (
            TlsConfig { identity: Some(TlsIdentity { certificates: key.clone(), key: key.clone() }), ..good.clone() },
            "no certificate",
        ),
        (
            TlsConfig {
                identity: Some(TlsIdentity { key: Pem::Text(b"secret".to_vec()), ..other.clone() }),
                ..good.clone()
            },
            "private key",
        ),
        (TlsConfig { identity: Some(TlsIdentity { key, ..other }), ..good.clone() }, "identity"),
        (TlsConfig { client_certificates: ClientCertificates::Requested, ..good.clone() }, "client_ca"),
    ] {
        assert!(!format!("{config:?}").contains("secret"), "keys stay out of logs");
        let config = SipConfig { tls: vec![any()], tls_config: config, ..SipConfig::default() };
        let error = SipStack::start(config).await.unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("secret"), "{says}: {error}");
    }
}

const OPTIONS: &str = "OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bK-N\r\nFrom: <sip:b@c>;tag=1\r\nTo: <sip:a@c>\r\nCall-ID: N\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";

async fn read_until(stream: &mut (impl AsyncRead + Unpin), count: usize, needle: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while text.matches(needle).count() < count {
        let length = within(stream.read(&mut buffer)).await.unwrap();
        assert!(length > 0, "closed after {text}");
        text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    text
}

#[tokio::test]
async fn messages_in_one_piece_and_in_many() {
    let authority = Authority::new();
    let (stack, _calls) = start(authority.config(&["127.0.0.1"])).await;
    let mut stream = authority.connect(address(&stack, Transport::Tls), "127.0.0.1").await;
    stream.write_all(b"\r\n\r\n").await.unwrap();
    assert_eq!(read_until(&mut stream, 1, "\r\n").await, "\r\n", "the ping has its pong");
    let both = format!("{}{}", OPTIONS.replace("-N", "-1"), OPTIONS.replace("-N", "-2"));
    stream.write_all(both.as_bytes()).await.unwrap();
    read_until(&mut stream, 2, "SIP/2.0 200").await;
    for piece in OPTIONS.replace("-N", "-3").as_bytes().chunks(7) {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
    }
    read_until(&mut stream, 1, "z9hG4bK-3").await;
}

#[tokio::test]
async fn half_open_handshakes_are_bounded_and_end() {
    let authority = Authority::new();
    let limits = SipLimits { tcp_connections_per_source: 1_000, ..SipLimits::default() };
    let tls_config = authority.config(&["127.0.0.1"]);
    let config = SipConfig { tls: vec![any()], tls_config, limits, ..SipConfig::default() };
    let (stack, _calls) = SipStack::start(config).await.unwrap();
    let to = address(&stack, Transport::Tls);
    let mut silent = Vec::new();
    for _ in 0..80 {
        silent.push(TcpStream::connect(to).await.unwrap());
    }
    // Those above the limit of 64 for one address are closed at once, the others after five seconds.
    for stream in &mut silent {
        let _ = within(stream.read(&mut [0; 64])).await;
    }
    let mut stream = authority.connect(to, "127.0.0.1").await;
    stream.write_all(OPTIONS.as_bytes()).await.unwrap();
    read_until(&mut stream, 1, "SIP/2.0 200").await;
    assert!(stack.stats().connections_refused >= 16, "{:?}", stack.stats());
}

#[tokio::test]
async fn ipv6_from_end_to_end() {
    let authority = Authority::new();
    let any: SocketAddr = "[::1]:0".parse().unwrap();
    let config = |names: &[&str]| SipConfig {
        udp: vec![any],
        tcp: vec![any],
        tls: vec![any],
        tls_config: authority.config(names),
        ..SipConfig::default()
    };
    let (callee, mut calls) = SipStack::start(config(&["::1"])).await.unwrap();
    let (caller, _) = SipStack::start(config(&["::1"])).await.unwrap();
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let target = format!("sip:a@{};transport={transport}", address(&callee, transport));
        let incoming = talk(&caller, &mut calls, target).await;
        assert_eq!(incoming.invite.transport, transport);
        assert!(incoming.invite.source.is_ipv6());
        let header = |name: &str| incoming.invite.headers.iter().find(|(n, _)| n == name).unwrap().1.clone();
        assert!(header("contact").contains("@[::1]:") && header("via").contains(" [::1]:"));
        assert_eq!(header("via").contains(";alias;"), transport == Transport::Tls, "{}", header("via"));
    }
    assert!(callee.media_address("2001:db8::1".parse().unwrap()).is_none_or(|ip| ip.is_ipv6()));
}

#[tokio::test]
async fn a_proven_peer_is_called_by_the_connection_it_opened() {
    let authority = Authority::new();
    let config = |names: &[&str]| TlsConfig {
        client_certificates: ClientCertificates::Requested,
        client_ca: Some(authority.pem()),
        ..authority.config(names)
    };
    let (host, mut calls) = start(config(&["localhost"])).await;
    let (carrier, mut back) = start(config(&["localhost"])).await;
    talk(&carrier, &mut calls, format!("sips:a@localhost:{}", address(&host, Transport::Tls).port())).await;
    let before = host.stats().connections;
    // The same server by its name: no second connection is made.
    talk(&host, &mut back, format!("sips:b@localhost:{}", address(&carrier, Transport::Tls).port())).await;
    assert_eq!((before, host.stats().connections, carrier.stats().connections), (1, 1, 1));
}

#[tokio::test]
async fn a_web_socket_inside_tls() {
    let authority = Authority::new();
    let tls_config = authority.config(&["localhost"]);
    let (stack, _calls) =
        SipStack::start(SipConfig { wss: vec![any()], tls_config, ..SipConfig::default() }).await.unwrap();
    let to = address(&stack, Transport::Wss);
    let stream = authority.connect(to, "localhost").await;
    let mut request = format!("wss://localhost:{}/", to.port()).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "sip".parse().unwrap());
    let (mut socket, _) = within(tokio_tungstenite::client_async(request, stream)).await.unwrap();
    socket.send(Message::text(OPTIONS.replace("/TLS", "/WSS"))).await.unwrap();
    let Message::Text(answer) = within(socket.next()).await.unwrap().unwrap() else { panic!() };
    assert!(answer.starts_with("SIP/2.0 200") && answer.contains("Via: SIP/2.0/WSS "), "{answer}");
}

#[tokio::test]
async fn a_connection_that_drops_in_mid_call_is_opened_again() {
    let authority = Authority::new();
    let (callee, mut calls) = start(authority.config(&["127.0.0.1"])).await;
    let (caller, _) = start(authority.config(&[])).await;
    let to = address(&callee, Transport::Tls);
    // A wire in between that can be cut.
    let wire = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let between = wire.local_addr().unwrap();
    let (cut, mut cutting) = mpsc::channel::<()>(1);
    let (carried, mut carrying) = mpsc::channel::<()>(4);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = wire.accept().await {
            let mut far = TcpStream::connect(to).await.unwrap();
            let _ = carried.send(()).await;
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _ = cutting.recv() => {}
            }
        }
    });
    let (outgoing, mut heard) = caller.call(placed(format!("sips:a@{between}"))).await.unwrap();
    let mut incoming = within(calls.recv()).await.unwrap();
    // The Contact of the callee leads to its own listener, which is where a new connection goes.
    incoming.dialog.answer(ANSWER.to_vec()).await.unwrap();
    assert!(matches!(within(heard.recv()).await.unwrap(), DialogEvent::Answered { .. }));
    assert!(matches!(within(incoming.events.recv()).await.unwrap(), DialogEvent::Confirmed { .. }));
    within(carrying.recv()).await.unwrap();
    cut.send(()).await.unwrap();
    while caller.stats().connections > 0 {
        // The driver counts when it is woken; a command wakes it.
        caller.draining(false);
        tokio::task::yield_now().await;
    }
    outgoing.info_digit('7', 100).await.unwrap();
    assert_eq!(within(incoming.events.recv()).await.unwrap(), DialogEvent::Digit { digit: '7', duration_ms: 100 });
    outgoing.hangup(None).await.unwrap();
    assert!(matches!(within(incoming.events.recv()).await.unwrap(), DialogEvent::Ended { by_remote: true, .. }));
}
