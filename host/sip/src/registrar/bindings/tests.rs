//! The table in virtual time.

#![allow(clippy::disallowed_methods, reason = "virtual time needs a first moment")]

use super::*;
use crate::wire;
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

fn flow(source: &str) -> Flow {
    Flow::new(Transport::Udp, 0, "192.0.2.1:5060".parse().unwrap(), source.parse().unwrap())
}

fn stream(source: &str, connection: u64) -> Flow {
    Flow {
        connection: Some(ConnectionId(connection)),
        ..Flow::new(Transport::Tcp, 0, "192.0.2.1:5060".parse().unwrap(), source.parse().unwrap())
    }
}

fn asked(call_id: &str, cseq: u32, lines: &str) -> Asked {
    let text = format!(
        "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
         To: <sip:a@h>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n{lines}Content-Length: 0\r\n\r\n"
    );
    Asked::read(&wire::parse(text.as_bytes()).unwrap()).unwrap()
}

struct Table {
    bindings: Bindings,
    rules: RegistrarRules,
    now: Instant,
}

impl Table {
    fn new() -> Self {
        Self { bindings: Bindings::default(), rules: RegistrarRules::default(), now: Instant::now() }
    }

    fn register(&mut self, account: &str, asked: &Asked, flow: Flow) -> Result<(), Refused> {
        let max_contacts = self.rules.max_contacts;
        let by = Registering { account, username: account, max_contacts, asked, flow, symmetric: true };
        self.bindings.register(self.now, &self.rules, &by)
    }

    fn uris(&self, account: &str) -> Vec<String> {
        self.bindings.of(self.now, account).into_iter().map(|contact| contact.uri).collect()
    }

    fn wait(&mut self, time: Duration) -> Vec<Flow> {
        let until = self.now + time;
        let mut pings = Vec::new();
        while let Some(at) = self.bindings.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            pings.extend(self.bindings.expire(self.now, self.rules.keep_alive));
        }
        self.now = until;
        pings
    }
}

#[test]
fn a_connection_speaks_for_the_one_account_that_is_registered_by_it() {
    let mut table = Table::new();
    let way = stream("198.51.100.7:40000", 1);
    let line = |n: u32| asked(&format!("c{n}"), 1, &format!("Contact: <sip:{n}@198.51.100.7:40000;transport=tcp>\r\n"));
    table.register("a", &line(1), way).unwrap();
    table.register("a", &line(2), way).unwrap();
    assert_eq!(table.bindings.by_connection(ConnectionId(1)), Some("a"));
    table.register("b", &line(3), way).unwrap();
    assert_eq!(table.bindings.by_connection(ConnectionId(1)), None, "a phone with two accounts says which");
    assert!(table.bindings.is_peer(way.remote));
    table.register("b", &asked("c3", 2, "Contact: *\r\nExpires: 0\r\n"), way).unwrap();
    assert_eq!(table.bindings.by_connection(ConnectionId(1)), Some("a"));
    let proxied = asked("c4", 1, "Path: <sip:198.51.100.7;lr>\r\nContact: <sip:4@10.0.0.4>\r\n");
    table.register("c", &proxied, stream("198.51.100.8:40000", 2)).unwrap();
    assert_eq!(table.bindings.by_connection(ConnectionId(2)), None);
    assert!(!table.bindings.is_peer("198.51.100.8:40000".parse().unwrap()));
    table.bindings.disconnected(ConnectionId(2));
    assert!(table.uris("c").is_empty(), "reached by nothing else");
}

#[test]
fn a_phone_comes_stays_and_goes() {
    let mut table = Table::new();
    let phone = "Contact: <sip:a@198.51.100.7:5060>;expires=120\r\n";
    table.register("a", &asked("c", 1, phone), flow("198.51.100.7:5060")).unwrap();
    let found = table.bindings.of(table.now, "a");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].expires_in, found[0].source), (2 * MINUTE, "198.51.100.7:5060".parse().unwrap()));
    assert!(table.bindings.knows("a", "198.51.100.7".parse().unwrap()));
    assert!(table.wait(MINUTE).is_empty(), "no NAT is between us");
    table.register("a", &asked("c", 2, phone), flow("198.51.100.7:5060")).unwrap();
    table.wait(MINUTE + Duration::from_secs(30));
    assert_eq!(table.uris("a").len(), 1, "it was refreshed");
    table.wait(MINUTE);
    assert!(table.uris("a").is_empty());
    assert_eq!((table.bindings.len(), table.bindings.deadline()), (0, None));
    assert!(!table.bindings.knows("a", "198.51.100.7".parse().unwrap()));
}

#[test]
fn removal_by_zero_and_by_star() {
    let mut table = Table::new();
    let two = asked("c", 1, "Contact: <sip:a@198.51.100.7>, <sip:a@198.51.100.8>;q=0.5\r\n");
    table.register("a", &two, flow("198.51.100.7:5060")).unwrap();
    assert_eq!(table.uris("a"), ["sip:a@198.51.100.7", "sip:a@198.51.100.8"]);
    let one = asked("c", 2, "Contact: <sip:a@198.51.100.7>;expires=0\r\n");
    table.register("a", &one, flow("198.51.100.7:5060")).unwrap();
    assert_eq!(table.uris("a"), ["sip:a@198.51.100.8"]);
    let old = asked("c", 1, "Contact: *\r\nExpires: 0\r\n");
    assert_eq!(table.register("a", &old, flow("198.51.100.7:5060")), Err(Refused::OutOfOrder));
    let star = asked("other", 1, "Contact: *\r\nExpires: 0\r\n");
    table.register("a", &star, flow("198.51.100.7:5060")).unwrap();
    assert_eq!(table.bindings.len(), 0);
}

#[test]
fn an_older_request_changes_nothing() {
    let mut table = Table::new();
    let phone = |cseq, q| asked("c", cseq, &format!("Contact: <sip:a@198.51.100.7>;q={q}, <sip:a@198.51.100.9>\r\n"));
    table.register("a", &phone(5, "0.9"), flow("198.51.100.7:5060")).unwrap();
    for cseq in [5, 4] {
        assert_eq!(table.register("a", &phone(cseq, "0.1"), flow("198.51.100.7:5060")), Err(Refused::OutOfOrder));
    }
    assert!((table.bindings.of(table.now, "a")[1].q - 0.9).abs() < 1e-6);
}

#[test]
fn a_device_takes_its_own_place() {
    let mut table = Table::new();
    let device = |uri: &str, n| {
        let line = format!("Contact: <{uri}>;+sip.instance=\"<urn:uuid:7>\";reg-id={n}\r\n");
        asked(uri, 1, &line)
    };
    table.register("a", &device("sip:a@10.0.0.1:1001", 1), stream("203.0.113.1:1001", 1)).unwrap();
    table.register("a", &device("sip:a@10.0.0.1:1002", 1), stream("203.0.113.1:1002", 2)).unwrap();
    assert_eq!(table.uris("a"), ["sip:a@10.0.0.1:1002"], "restarted, it has another port");
    table.register("a", &device("sip:a@10.0.0.1:1003", 2), stream("203.0.113.1:1003", 3)).unwrap();
    assert_eq!(table.uris("a").len(), 2, "another flow of the same device is another way to it");
    let same = asked("x", 1, "Contact: <sip:A@H.example;transport=TCP>\r\n");
    table.register("b", &same, flow("203.0.113.1:5")).unwrap();
    let again = asked("y", 1, "Contact: <sip:A@h.Example;transport=tcp;x=1>\r\n");
    table.register("b", &again, flow("203.0.113.1:5")).unwrap();
    assert_eq!(table.uris("b").len(), 1);
}

#[test]
fn ways_to_phones() {
    let way = |contact: &str, path: &[Bytes], flow: Flow, symmetric| {
        let (way, nat) = reached(&Uri::from_text(contact).unwrap(), path, flow, symmetric);
        (way.remote.to_string(), nat)
    };
    let home = flow("203.0.113.1:40000");
    assert_eq!(way("sip:a@192.168.1.5:5060", &[], home, true), ("203.0.113.1:40000".into(), true));
    assert_eq!(way("sip:a@192.168.1.5:5060", &[], home, false), ("203.0.113.1:40000".into(), true));
    assert_eq!(way("sip:a@203.0.113.1:40000", &[], home, true), ("203.0.113.1:40000".into(), false));
    assert_eq!(way("sip:a@203.0.113.1:5060", &[], home, true), ("203.0.113.1:40000".into(), true));
    assert_eq!(way("sip:a@203.0.113.1:5060", &[], home, false), ("203.0.113.1:5060".into(), false));
    assert_eq!(way("sip:a@203.0.113.9", &[], home, true), ("203.0.113.9:5060".into(), false), "another machine");
    let proxy = [Bytes::from_static(b"<sip:proxy;lr>")];
    assert_eq!(way("sip:a@203.0.113.9", &proxy, home, true), ("203.0.113.1:40000".into(), false));
    assert_eq!(way("sip:a@xyz.invalid", &[], stream("203.0.113.1:7", 1), false), ("203.0.113.1:7".into(), false));
}

#[test]
fn a_nat_is_kept_open_until_the_phone_is_gone() {
    let mut table = Table::new();
    let phone = asked("c", 1, "Contact: <sip:a@192.168.1.5>;expires=120\r\n");
    table.register("a", &phone, flow("203.0.113.1:40000")).unwrap();
    let pings = table.wait(10 * MINUTE);
    assert_eq!(pings.len(), 4, "every 25 s of two minutes");
    assert!(pings.iter().all(|flow| flow.remote == "203.0.113.1:40000".parse().unwrap()));
    assert_eq!(table.bindings.len(), 0);
}

#[test]
fn a_lost_connection_takes_what_nothing_else_reaches() {
    let mut table = Table::new();
    let hidden = asked("c", 1, "Contact: <sip:a@192.168.1.5;transport=tcp>\r\n");
    table.register("a", &hidden, stream("203.0.113.1:40000", 1)).unwrap();
    let open = asked("d", 1, "Contact: <sip:b@203.0.113.2:5070;transport=tcp>\r\n");
    table.register("b", &open, stream("203.0.113.2:40000", 2)).unwrap();
    assert_eq!(table.bindings.by_connection(ConnectionId(1)), Some("a"));
    for connection in 1..=3 {
        table.bindings.disconnected(ConnectionId(connection));
        assert_eq!(table.bindings.by_connection(ConnectionId(connection)), None);
    }
    assert!(table.uris("a").is_empty());
    let found = &table.bindings.of(table.now, "b")[0];
    assert_eq!((found.flow.remote, found.flow.connection), ("203.0.113.2:5070".parse().unwrap(), None));
}

#[test]
fn limits() {
    let mut table = Table::new();
    table.rules = RegistrarRules { max_contacts: 2, max_bindings: 4, max_per_source: 3, ..table.rules };
    let phone = |n: u32| asked(&n.to_string(), 1, &format!("Contact: <sip:p{n}@203.0.113.9>\r\n"));
    for n in 0..3 {
        table.register("a", &phone(n), flow("203.0.113.1:5")).unwrap();
    }
    assert_eq!(table.uris("a"), ["sip:p2@203.0.113.9", "sip:p1@203.0.113.9"], "the oldest made room");
    table.register("b", &phone(3), flow("203.0.113.1:5")).unwrap();
    assert_eq!(table.register("b", &phone(4), flow("203.0.113.1:5")), Err(Refused::Source));
    table.register("c", &phone(5), flow("203.0.113.2:5")).unwrap();
    let moved = asked("5", 3, "Contact: <sip:p5@203.0.113.9>\r\n");
    assert_eq!(table.register("c", &moved, flow("203.0.113.1:5")), Err(Refused::Source), "it was elsewhere before");
    assert_eq!(table.register("d", &phone(6), flow("203.0.113.3:5")), Err(Refused::Full));
    let brief = asked("z", 1, "Contact: <sip:z@203.0.113.9>;expires=10\r\n");
    assert_eq!(table.register("c", &brief, flow("203.0.113.2:5")), Err(Refused::TooBrief));
    let long = asked("5", 2, "Contact: <sip:p5@203.0.113.9>;expires=4000000000\r\n");
    table.register("c", &long, flow("203.0.113.2:5")).unwrap();
    assert_eq!(table.bindings.of(table.now, "c")[0].expires_in, table.rules.max_expires);
}

#[derive(Clone, Debug)]
enum Step {
    Register { account: u8, phone: u8, expires: u16, source: u8, stream: bool },
    Clear(u8),
    Disconnect(u8),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, 0..6_u8, prop_oneof![Just(0_u16), 60..400_u16], 0..4_u8, any::<bool>())
            .prop_map(|(account, phone, expires, source, stream)| Step::Register { account, phone, expires, source, stream }),
        1 => (0..3_u8).prop_map(Step::Clear),
        1 => (0..4_u8).prop_map(Step::Disconnect),
        2 => (0..300_u16).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever happens, the indices tell the same story, and in the end nothing is left of it.
    #[test]
    fn the_indices_agree(steps in prop::collection::vec(step(), 1..60)) {
        let mut table = Table::new();
        table.rules = RegistrarRules { max_contacts: 3, max_bindings: 7, max_per_source: 4, ..table.rules };
        for (cseq, step) in (1..).zip(steps) {
            match step {
                Step::Register { account, phone, expires, source, stream: by_stream } => {
                    let host = if phone % 2 == 0 { "192.168.0.1" } else { "203.0.113.9" };
                    let line = format!("Contact: <sip:p{phone}@{host}:5060>;expires={expires}\r\n");
                    let from = format!("203.0.113.{source}:5060");
                    let way = if by_stream { stream(&from, source.into()) } else { flow(&from) };
                    let _ = table.register(&account.to_string(), &asked("c", cseq, &line), way);
                }
                Step::Clear(account) => {
                    let star = asked("s", cseq, "Contact: *\r\nExpires: 0\r\n");
                    let _ = table.register(&account.to_string(), &star, flow("203.0.113.1:5060"));
                }
                Step::Disconnect(connection) => table.bindings.disconnected(ConnectionId(connection.into())),
                Step::Wait(seconds) => drop(table.wait(Duration::from_secs(seconds.into()))),
            }
            let b = &table.bindings;
            let all: usize = b.accounts.values().map(Vec::len).sum();
            prop_assert!(all <= 7 && b.accounts.values().all(|phones| !phones.is_empty() && phones.len() <= 3));
            prop_assert_eq!((all, all, all), (b.owners.len(), b.due.len(), b.sources.values().sum()));
            prop_assert_eq!(all, b.peers.values().sum::<usize>());
            prop_assert!(b.sources.values().all(|count| (1..=4).contains(count)));
            let by_stream = b.accounts.values().flatten().filter(|x| x.flow.connection.is_some()).count();
            prop_assert_eq!(by_stream, b.connections.values().map(Vec::len).sum::<usize>());
            prop_assert_eq!(b.logins.len(), b.accounts.len());
        }
        table.wait(Duration::from_secs(8_000));
        prop_assert!(table.bindings.len() == 0 && table.bindings.accounts.is_empty() && table.bindings.due.is_empty());
        prop_assert!(table.bindings.sources.is_empty() && table.bindings.connections.is_empty());
    }
}
