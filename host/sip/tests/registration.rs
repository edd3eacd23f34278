//! The client of a registrar, whose part the test plays.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lab;

use callbox_sip::digest::{Credentials, Presented, Server};
use callbox_sip::ua::{
    ConnectionId, Endpoint, Flow, Incoming, NextHop, Output, Probe, Register, RegistrationId, RegistrationState,
    Transport,
};
use callbox_sip::wire::{self, Uri};
use lab::{Bench, address, flow, header, response};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn uri(text: &str) -> Uri {
    Uri::from_text(text).unwrap()
}

fn hop(text: &str) -> NextHop {
    text.parse().unwrap()
}

fn config() -> Register {
    Register {
        aor: uri("sip:trunk@carrier.example"),
        registrar: uri("sip:carrier.example"),
        hops: vec![hop("carrier.example")],
        contact_user: None,
        credentials: Some(Credentials { username: "u1".into(), password: "secret".into(), realm: None }),
        expires: Duration::from_secs(600),
        instance: Some("urn:uuid:00000000-0000-8000-8000-000000000001".into()),
    }
}

/// The endpoint under test with one registration, and the registrar that the test is.
struct Lab {
    bench: Bench,
    id: RegistrationId,
}

impl Lab {
    fn new(config: Register) -> Self {
        let mut bench = Bench::new();
        let id = bench.act(|end, now| end.register(now, config));
        Self { bench, id }
    }

    /// A registration whose first REGISTER is on its way.
    fn asking(config: Register) -> Self {
        let mut lab = Self::new(config);
        lab.locate(&[flow(1, 0)]);
        lab
    }

    /// The hop asked for, answered with these ways.
    fn locate(&mut self, ways: &[Flow]) -> NextHop {
        let at = self.bench.others.iter().position(|o| matches!(o, Output::Locate { .. })).expect("it asks for a hop");
        let Output::Locate { registration, hop } = self.bench.others.remove(at) else { unreachable!() };
        assert_eq!(registration, self.id);
        let ways = ways.to_vec();
        self.bench.act(|end, now| end.located(now, registration, ways));
        hop
    }

    /// The one REGISTER sent since the last look.
    fn register(&mut self) -> String {
        let sent = self.bench.take();
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert!(sent[0].starts_with("REGISTER "), "{}", sent[0]);
        sent.into_iter().next().unwrap()
    }

    fn answer(&mut self, register: &str, status: &str, extra: &str) {
        self.bench.put(&response(register, status, "r", extra, ""));
    }

    /// The states told since the last look.
    fn states(&mut self) -> Vec<RegistrationState> {
        let mut states = Vec::new();
        self.bench.others.retain(|output| match output {
            Output::Registration { state, .. } => {
                states.push(state.clone());
                false
            }
            _ => true,
        });
        states
    }

    fn registered(&mut self, register: &str, seconds: u32) {
        self.answer(
            register,
            "200 OK",
            &format!("Contact: {};expires={seconds}\n", header(register, "Contact").unwrap()),
        );
        let until = self.bench.now + SECOND * seconds;
        assert_eq!(self.states(), [RegistrationState::Registered { until }]);
    }

    /// Lets time pass until something is sent; how long that took.
    fn until_sent(&mut self) -> Duration {
        let from = self.bench.now;
        while self.bench.sent.iter().all(|(_, m)| m.trim().is_empty()) && self.bench.now - from < 4_000 * SECOND {
            self.bench.sent.clear();
            self.bench.run(Duration::from_millis(100));
        }
        self.bench.now - from
    }
}

fn failed(states: &[RegistrationState]) -> (Option<u16>, Duration) {
    match states {
        [RegistrationState::Failed { status, retry_in, .. }] => (*status, *retry_in),
        other => panic!("{other:?}"),
    }
}

/// A registrar that knows `u1` with the password `secret`.
fn server() -> Server {
    Server::new("carrier", [9; 32], 300)
}

fn challenges(now: u64, stale: bool) -> String {
    let lines = server().challenge(now, 7, address(1).ip(), stale, false);
    lines.iter().map(|line| format!("WWW-Authenticate: {}\n", std::str::from_utf8(line).unwrap())).collect()
}

fn proves(register: &str, now: u64) -> Option<&'static str> {
    let message = wire::parse(register.as_bytes()).unwrap();
    let Presented::Signed(signed) = server().read(&message, now, address(1).ip()) else { return None };
    let secret = signed.algorithm().secret("u1", "carrier", "secret");
    signed.proves(Some(&secret)).then(|| signed.algorithm().name())
}

#[test]
fn it_asks_answers_the_strongest_challenge_and_is_registered() {
    let mut lab = Lab::new(config());
    assert!(lab.bench.sent.is_empty(), "the name comes first");
    assert_eq!(lab.locate(&[flow(1, 0)]), hop("carrier.example"));
    let first = lab.register();
    assert!(first.starts_with("REGISTER sip:carrier.example SIP/2.0\r\n"));
    assert_eq!(header(&first, "To"), Some("<sip:trunk@carrier.example>"));
    assert_eq!(header(&first, "Expires"), Some("600"));
    let contact =
        "<sip:trunk@10.0.0.2:5060>;+sip.instance=\"<urn:uuid:00000000-0000-8000-8000-000000000001>\";reg-id=1";
    assert_eq!(header(&first, "Contact"), Some(contact));
    assert!(header(&first, "Authorization").is_none());
    lab.answer(&first, "401 Unauthorized", &challenges(1, false));
    let second = lab.register();
    assert_eq!(proves(&second, 1), Some("SHA-256"));
    assert_eq!(header(&second, "Call-ID"), header(&first, "Call-ID"));
    assert_eq!((header(&first, "CSeq"), header(&second, "CSeq")), (Some("1 REGISTER"), Some("2 REGISTER")));
    lab.registered(&second, 600);
    let line = lab.bench.end.line(lab.id).unwrap();
    assert_eq!(line.flow.remote, address(0));
}

#[test]
fn it_refreshes_between_half_and_nine_tenths_with_credentials_at_once() {
    let mut lab = Lab::asking(config());
    let first = lab.register();
    lab.answer(&first, "401 Unauthorized", &challenges(1, false));
    let second = lab.register();
    lab.registered(&second, 120);
    let mut waits = Vec::new();
    for n in 3..9 {
        waits.push(lab.until_sent());
        let refresh = lab.register();
        assert_eq!(proves(&refresh, 1), Some("SHA-256"), "no challenge is waited for");
        assert_eq!(header(&refresh, "CSeq"), Some(&*format!("{n} REGISTER")));
        assert!(refresh.contains(&format!("nc={:08x}", n - 1)), "{refresh}");
        lab.registered(&refresh, 120);
    }
    assert!(waits.iter().all(|wait| (60 * SECOND..=109 * SECOND).contains(wait)), "{waits:?}");
    assert!(waits.windows(2).any(|pair| pair[0].abs_diff(pair[1]) > SECOND), "{waits:?}");
}

#[test]
fn a_stale_nonce_is_not_a_wrong_password() {
    let mut lab = Lab::asking(config());
    let first = lab.register();
    lab.answer(&first, "401 Unauthorized", &challenges(1, false));
    let second = lab.register();
    lab.answer(&second, "401 Unauthorized", &challenges(400, true));
    let third = lab.register();
    assert_eq!(proves(&third, 400), Some("SHA-256"));
    lab.registered(&third, 600);
}

#[test]
fn a_wrong_password_is_not_tried_again_soon() {
    let mut lab = Lab::asking(config());
    let first = lab.register();
    lab.answer(&first, "401 Unauthorized", &challenges(1, false));
    let second = lab.register();
    lab.answer(&second, "401 Unauthorized", &challenges(2, false));
    let (status, wait) = failed(&lab.states());
    assert_eq!(status, Some(401));
    assert!(wait >= 150 * SECOND, "{wait:?}");
    assert!(lab.bench.take().is_empty());
    let waited = lab.until_sent_or_located();
    assert!(waited.abs_diff(wait) <= SECOND, "{waited:?} {wait:?}");
}

impl Lab {
    fn until_sent_or_located(&mut self) -> Duration {
        let from = self.bench.now;
        let asks = |o: &Output| matches!(o, Output::Locate { .. });
        while !self.bench.others.iter().any(asks) && self.bench.now - from < 4_000 * SECOND {
            self.bench.run(Duration::from_millis(100));
        }
        self.bench.now - from
    }
}

#[test]
fn endless_challenges_come_to_an_end() {
    let mut lab = Lab::asking(config());
    let mut asked = 0;
    loop {
        let sent = lab.bench.take();
        let Some(register) = sent.first() else { break };
        asked += 1;
        assert!(asked < 20, "it is sent round in circles");
        // Each nonce is new, and stale at once.
        lab.answer(register, "401 Unauthorized", &challenges(asked, true));
    }
    assert_eq!(failed(&lab.states()).0, Some(401));
}

#[test]
fn too_brief_asks_for_longer() {
    let mut lab = Lab::asking(Register { expires: Duration::from_secs(60), ..config() });
    let first = lab.register();
    lab.answer(&first, "423 Interval Too Brief", "Min-Expires: 1800\n");
    let second = lab.register();
    assert_eq!(header(&second, "Expires"), Some("1800"));
    lab.answer(&second, "423 Interval Too Brief", "Min-Expires: 1800\n");
    assert_eq!(failed(&lab.states()).0, Some(423), "once is enough");
}

#[test]
fn what_was_granted_is_read_from_our_contact() {
    for (extra, seconds) in [
        ("Contact: <sip:other@h>;expires=5, <sip:trunk@10.0.0.2:5060>;expires=77\n", 77),
        ("Contact: <sip:rewritten@203.0.113.1:999>;expires=90\n", 90),
        ("Expires: 300\n", 300),
        ("", 600),
        ("Contact: <sip:trunk@10.0.0.2:5060>\nExpires: 44\n", 44),
    ] {
        let mut lab = Lab::asking(config());
        let register = lab.register();
        lab.answer(&register, "200 OK", extra);
        let until = lab.bench.now + SECOND * seconds;
        assert_eq!(lab.states(), [RegistrationState::Registered { until }], "{extra}");
    }
}

#[test]
fn the_next_address_and_the_next_server_are_tried() {
    let two = Register { hops: vec![hop("one.example"), hop("two.example")], ..config() };
    let mut lab = Lab::new(two);
    let second = Flow { remote: address(5), ..flow(1, 0) };
    assert_eq!(lab.locate(&[flow(1, 0), second]), hop("one.example"));
    let first = lab.register();
    lab.answer(&first, "503 Service Unavailable", "");
    assert_eq!(lab.bench.sent.last().unwrap().0.remote, address(5));
    lab.bench.take();
    // That one keeps silent: after four seconds it is the other server's turn.
    let from = lab.bench.now;
    assert!((3 * SECOND..5 * SECOND).contains(&lab.until_sent_or_located()), "{:?}", lab.bench.now - from);
    lab.bench.take();
    let third = Flow { remote: address(6), ..flow(1, 0) };
    assert_eq!(lab.locate(&[third]), hop("two.example"));
    let register = lab.register();
    lab.registered(&register, 600);
    assert_eq!(lab.bench.end.line(lab.id).unwrap().flow.remote, address(0), "where the answer came from");
}

#[test]
fn waits_grow_while_nobody_answers_and_retry_after_is_heard() {
    let mut lab = Lab::asking(config());
    let mut waits = Vec::new();
    for _ in 0..9 {
        let register = lab.register();
        lab.answer(&register, "500 Broken", "");
        let (status, wait) = failed(&lab.states());
        assert_eq!(status, Some(500));
        waits.push(wait.as_secs());
        lab.until_sent_or_located();
        lab.locate(&[flow(1, 0)]);
    }
    let bounds = [30, 60, 120, 240, 480, 960, 1_800, 1_800, 1_800];
    assert!(waits.iter().zip(bounds).all(|(wait, most)| (most / 2..=most).contains(wait)), "{waits:?}");
    let mut lab = Lab::asking(config());
    let register = lab.register();
    lab.answer(&register, "503 Busy", "Retry-After: 700\n");
    assert_eq!(failed(&lab.states()).1, 700 * SECOND);
}

#[test]
fn a_name_that_is_not_found_is_a_failure() {
    let mut lab = Lab::new(config());
    lab.locate(&[]);
    assert_eq!(failed(&lab.states()).0, None);
    let mut lab = Lab::new(config());
    lab.bench.run(20 * SECOND);
    assert_eq!(failed(&lab.states()).0, None, "a look-up without end");
}

#[test]
fn a_redirect_is_followed_and_not_for_ever() {
    let mut lab = Lab::asking(config());
    for n in 0..3 {
        let register = lab.register();
        lab.answer(&register, "302 Moved", "Contact: <sip:other.example:5070;transport=udp>\n");
        let to = NextHop { host: "other.example".into(), port: Some(5070), transport: Some(Transport::Udp) };
        assert_eq!(lab.locate(&[flow(1, 0)]), to, "{n}");
    }
    let register = lab.register();
    assert!(register.starts_with("REGISTER sip:other.example:5070;transport=udp SIP/2.0"), "{register}");
    lab.answer(&register, "302 Moved", "Contact: <sip:other.example:5070>\n");
    assert_eq!(failed(&lab.states()).0, Some(302));
}

#[test]
fn service_routes_are_for_the_calls_by_it() {
    let mut lab = Lab::asking(config());
    let register = lab.register();
    lab.answer(&register, "200 OK", "Service-Route: <sip:edge.example;lr>, <sip:core.example;lr>\n");
    let line = lab.bench.end.line(lab.id).unwrap();
    assert_eq!(line.routes, ["<sip:edge.example;lr>", "<sip:core.example;lr>"]);
    let mut call = lab::invite(1, 0, None);
    (call.flow, call.routes) = (line.flow, line.routes);
    lab.bench.act(|end, now| end.invite(now, call)).unwrap();
    let routes: Vec<_> = lab.bench.last().lines().filter(|line| line.starts_with("Route: ")).collect();
    assert_eq!(routes, ["Route: <sip:edge.example;lr>", "Route: <sip:core.example;lr>"]);
}

#[test]
fn calls_that_it_brings_are_marked() {
    let mut lab = Lab::asking(Register { contact_user: Some("robot".into()), ..config() });
    let register = lab.register();
    assert!(header(&register, "Contact").unwrap().starts_with("<sip:robot@"));
    lab.registered(&register, 600);
    lab.bench.put(&lab::request("INVITE", 1, "a", None, lab::SDP, "v=0\n"));
    assert_eq!(lab.bench.calls[0].1.registration, Some(lab.id));
    lab.bench.way = Flow { remote: address(7), ..flow(1, 0) };
    lab.bench.put(&lab::request("INVITE", 1, "b", None, lab::SDP, "v=0\n").replace("bench@lab", "other@lab"));
    assert_eq!(lab.bench.calls[1].1.registration, None, "from elsewhere");
}

#[test]
fn goodbye_removes_the_contact_and_leaves_nothing() {
    let mut lab = Lab::asking(config());
    let register = lab.register();
    lab.registered(&register, 600);
    let id = lab.id;
    lab.bench.act(|end, now| end.unregister(now, id));
    let goodbye = lab.register();
    assert_eq!(header(&goodbye, "Expires"), Some("0"));
    lab.answer(&goodbye, "401 Unauthorized", &challenges(1, false));
    let goodbye = lab.register();
    assert_eq!(proves(&goodbye, 1), Some("SHA-256"));
    lab.answer(&goodbye, "200 OK", "");
    assert_eq!(lab.states(), [RegistrationState::Gone]);
    assert_eq!(lab.bench.end.registrations(), 0);
    lab.bench.must_be_clean();
    // Before an answer came, it is the answer that decides.
    let mut lab = Lab::asking(config());
    let register = lab.register();
    let id = lab.id;
    lab.bench.act(|end, now| end.unregister(now, id));
    assert!(lab.bench.take().is_empty());
    lab.answer(&register, "200 OK", "");
    let goodbye = lab.register();
    assert_eq!(header(&goodbye, "Expires"), Some("0"));
    lab.bench.run(40 * SECOND);
    assert_eq!(lab.states(), [RegistrationState::Gone], "nobody answers the goodbye");
    lab.bench.must_be_clean();
    // And where nothing was sent, nothing is.
    let mut lab = Lab::new(config());
    let id = lab.id;
    lab.bench.act(|end, now| end.unregister(now, id));
    assert_eq!(lab.states(), [RegistrationState::Gone]);
}

#[test]
fn a_lost_connection_is_replaced_soon() {
    let mut lab = Lab::new(config());
    let stream = Flow { transport: Transport::Tcp, listener: 1, ..flow(1, 0) };
    lab.locate(&[stream]);
    let register = lab.register();
    let way = Flow { connection: Some(ConnectionId(3)), ..stream };
    let answer = response(&register, "200 OK", "r", "", "").replace('\n', "\r\n");
    lab.bench.act(|end: &mut Endpoint, now: Instant| {
        end.receive(now, Incoming { bytes: answer.into(), flow: way, age: Duration::ZERO });
    });
    assert!(matches!(lab.states()[..], [RegistrationState::Registered { .. }]));
    lab.bench.act(|end, now| end.disconnected(now, ConnectionId(4)));
    assert!(lab.states().is_empty());
    lab.bench.act(|end, now| end.disconnected(now, ConnectionId(3)));
    assert_eq!(lab.states(), [RegistrationState::Trying]);
    assert!(lab.bench.end.line(lab.id).is_none());
    assert!(lab.until_sent() <= 3 * SECOND);
    assert_eq!(lab.bench.sent.last().unwrap().0.connection, None);
    let again = lab.register();
    assert!(header(&again, "Contact").unwrap().contains(";transport=tcp>"));
}

#[test]
fn a_nat_is_kept_open() {
    let mut lab = Lab::asking(config());
    let register = lab.register();
    lab.registered(&register, 3_600);
    lab.bench.run(1_000 * SECOND);
    let pings = lab.bench.others.iter().filter(|o| matches!(o, Output::KeepAlive { .. })).count();
    assert!((34..=42).contains(&pings), "{pings}");
}

#[test]
fn a_ping_tells_status_and_time() {
    let mut bench = Bench::new();
    let probe = || Probe { target: uri("sip:10.0.0.1"), from: uri("sip:10.0.0.2"), flow: flow(1, 0), others: vec![] };
    let id = bench.act(|end, now| end.options(now, probe()));
    let options = bench.take().pop().unwrap();
    assert!(options.starts_with("OPTIONS sip:10.0.0.1 SIP/2.0"));
    bench.run(Duration::from_millis(40));
    bench.put(&response(&options, "404 Not Found", "x", "", ""));
    let [Output::Probed { probe: of, pong: Some(pong) }] = &bench.others[..] else { panic!("{:?}", bench.others) };
    assert_eq!((*of, pong.status, pong.rtt), (id, 404, Duration::from_millis(40)));
    bench.others.clear();
    bench.act(|end, now| end.options(now, probe()));
    bench.run(40 * SECOND);
    assert!(matches!(bench.others[..], [Output::Probed { pong: None, .. }]), "{:?}", bench.others);
    bench.must_be_clean();
}
