//! The registrar and calls of accounts: an endpoint, a phone whose messages the test writes, and a store of accounts.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lab;

use callbox_sip::digest::{Challenge, Client, Credentials};
use callbox_sip::ua::{ConnectionId, Flow, LookupId, Output, Transport};
use callbox_sip::wire::{self, Field, Method};
use callbox_sip::{Account, AccountsUnavailable, RegistrarRules};
use lab::{Bench, SDP, address, flow, header};
use std::time::Duration;

const CONTACT: &str = "Contact: <sip:alice@10.0.0.1:5060>\n";
const BODY: &str = "v=0\n";

/// An endpoint with a registrar that knows alice.
struct Lab {
    bench: Bench,
    digest: Client,
    cseq: u32,
}

impl Lab {
    fn new() -> Self {
        Self::with(RegistrarRules::default(), "secret")
    }

    fn with(rules: RegistrarRules, password: &str) -> Self {
        let mut bench = Bench::new();
        bench.end.serve_accounts(rules);
        let credentials = Credentials { username: "alice".into(), password: password.into(), realm: None };
        Self { bench, digest: Client::new(credentials), cseq: 0 }
    }

    /// A request of alice's phone, with credentials where it was challenged before.
    fn request(&mut self, method: &Method, extra: &str, body: &str) -> String {
        self.cseq += 1;
        let cseq = self.cseq;
        let lines = self.digest.authorize(method, b"sip:callbox", "c0ffee00c0ffee00");
        let auth: String = lines
            .iter()
            .map(|(field, line)| format!("{}: {}\n", field.name(), std::str::from_utf8(line).unwrap()))
            .collect();
        format!(
            "{method} sip:callbox SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bKr{cseq}\nMax-Forwards: 70\n\
             From: <sip:alice@callbox>;tag=p{cseq}\nTo: <sip:alice@callbox>\nCall-ID: phone@lab\nCSeq: {cseq} {method}\n\
             {extra}{auth}Content-Length: {}\n\n{body}",
            body.replace('\n', "\r\n").len()
        )
    }

    /// Takes the challenge in the last answer.
    fn take_challenge(&mut self) -> Result<(), callbox_sip::digest::DigestError> {
        let answer = wire::parse(self.bench.last().as_bytes()).unwrap();
        assert_eq!(answer.status(), Some(401), "{}", self.bench.last());
        self.digest.challenged(&answer)
    }

    /// The account that is being looked up.
    fn asked(&mut self) -> Option<(LookupId, String)> {
        let asks = |o: &Output| matches!(o, Output::FindAccount { .. });
        let at = self.bench.others.iter().position(asks)?;
        let Output::FindAccount { lookup, username, realm } = self.bench.others.remove(at) else { unreachable!() };
        assert_eq!(realm, "callbox");
        Some((lookup, username))
    }

    fn find(&mut self) {
        let (lookup, username) = self.asked().expect("an account is looked up");
        let found = (username == "alice").then(|| Account::with_password("A1", "alice", "callbox", "secret"));
        self.bench.act(|end, now| end.account_found(now, lookup, Ok(found)));
    }

    /// Sends a REGISTER and, challenged, another; gives the last answer.
    fn register(&mut self, extra: &str) -> String {
        let first = self.request(&Method::Register, extra, "");
        self.bench.put(&first);
        if self.asked_nothing() {
            self.take_challenge().unwrap();
            let second = self.request(&Method::Register, extra, "");
            self.bench.put(&second);
        }
        self.find();
        self.bench.take().pop().unwrap()
    }

    fn asked_nothing(&self) -> bool {
        !self.bench.others.iter().any(|o| matches!(o, Output::FindAccount { .. }))
    }

    fn uris(&self) -> Vec<String> {
        self.bench.end.contacts(self.bench.now, "A1").into_iter().map(|contact| contact.uri).collect()
    }
}

#[test]
fn without_a_registrar_register_is_not_allowed() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(&lab::request("REGISTER", 1, "x", None, "", "")), ["405 1 REGISTER"]);
}

#[test]
fn allow_names_register_where_accounts_are_served() {
    let mut lab = Lab::new();
    for (method, status) in [("OPTIONS", "200"), ("SUBSCRIBE", "489"), ("MESSAGE", "405")] {
        let event = if method == "SUBSCRIBE" { "Event: presence\n" } else { "" };
        let names = lab.bench.ask(&lab::request(method, 1, method, None, event, ""));
        assert_eq!(names, [format!("{status} 1 {method}")]);
        let allow = header(lab.bench.last(), "Allow").unwrap_or("REGISTER");
        assert!(allow.contains("REGISTER"), "{}", lab.bench.last());
    }
    let mut bench = Bench::new();
    bench.put(&lab::request("OPTIONS", 1, "o", None, "", ""));
    assert!(!header(bench.last(), "Allow").unwrap().contains("REGISTER"));
}

#[test]
fn a_phone_registers_and_is_found() {
    let mut lab = Lab::new();
    let first = lab.request(&Method::Register, CONTACT, "");
    lab.bench.put(&first);
    let answer = wire::parse(lab.bench.last().as_bytes()).unwrap();
    let offered: Vec<&str> = Challenge::all(&answer).iter().map(|c| c.algorithm.name()).collect();
    assert_eq!(offered, ["SHA-256", "MD5"]);
    assert_eq!(lab.bench.end.remembered(), (0, 0, 0), "a challenge leaves no trace");
    let answer = lab.register(CONTACT);
    assert!(answer.starts_with("SIP/2.0 200 OK"), "{answer}");
    assert_eq!(header(&answer, "Contact"), Some("<sip:alice@10.0.0.1:5060>;expires=3600"));
    assert_eq!(lab.uris(), ["sip:alice@10.0.0.1:5060"]);
    let stats = lab.bench.end.registrar_stats();
    assert_eq!((stats.bindings, stats.registered, stats.failures), (1, 1, 0));
    // The second time its credentials come at once, and count on.
    let again = lab.register("");
    assert!(again.starts_with("SIP/2.0 200 OK") && header(&again, "Contact").is_some(), "a query: {again}");
    let gone = lab.register("Contact: *\nExpires: 0\n");
    assert!(gone.starts_with("SIP/2.0 200 OK") && header(&gone, "Contact").is_none(), "{gone}");
    assert!(lab.uris().is_empty());
    lab.bench.must_be_clean();
}

#[test]
fn a_registration_runs_out() {
    let mut lab = Lab::new();
    lab.register("Contact: <sip:alice@10.0.0.1:5060>;expires=90\n");
    lab.bench.run(Duration::from_secs(89));
    assert_eq!(lab.uris().len(), 1);
    lab.bench.run(Duration::from_secs(2));
    assert!(lab.uris().is_empty());
    lab.bench.must_be_clean();
    assert_eq!(lab.bench.end.deadline(), None, "no timer is left");
}

#[test]
fn what_is_asked_for_is_checked() {
    for (extra, answer) in [
        ("Contact: <sip:alice@10.0.0.1>;expires=10\n", "SIP/2.0 423"),
        ("Contact: <tel:+441632960001>\n", "SIP/2.0 400"),
        ("Contact: *\n", "SIP/2.0 400"),
    ] {
        let mut lab = Lab::new();
        let text = lab.register(extra);
        assert!(text.starts_with(answer), "{extra}: {text}");
        assert_eq!(header(&text, "Min-Expires").is_some(), answer.ends_with("423"));
    }
    let mut lab = Lab::new();
    let text = lab.request(&Method::Register, CONTACT, "");
    lab.bench.put(&text.replace(CONTACT, "Require: gruu\nContact: <sip:alice@h>\n"));
    assert!(lab.bench.last().starts_with("SIP/2.0 420"), "{}", lab.bench.last());
    // Somebody else's address.
    let mut lab = Lab::new();
    let first = lab.request(&Method::Register, CONTACT, "");
    lab.bench.put(&first);
    lab.take_challenge().unwrap();
    let text = lab.request(&Method::Register, CONTACT, "").replace("To: <sip:alice@", "To: <sip:bob@");
    lab.bench.put(&text);
    lab.find();
    assert!(lab.bench.last().starts_with("SIP/2.0 403"), "{}", lab.bench.last());
}

#[test]
fn unknown_users_and_wrong_passwords_look_alike() {
    let answer = |user: &str, password: &str| {
        let mut lab = Lab::with(RegistrarRules::default(), "");
        lab.digest = Client::new(Credentials { username: user.into(), password: password.into(), realm: None });
        let mut answer = lab.register(CONTACT);
        assert!(answer.starts_with("SIP/2.0 401"), "{answer}");
        assert!(!answer.contains("stale"));
        // Only the nonce differs.
        while let Some(at) = answer.find("nonce=\"") {
            let end = answer[at + 7..].find('"').unwrap();
            answer.replace_range(at..at + 8 + end, "");
        }
        answer
    };
    assert_eq!(answer("alice", "wrong"), answer("mallory", "secret"));
}

#[test]
fn credentials_are_good_for_one_request_from_one_place() {
    let mut lab = Lab::new();
    let first = lab.request(&Method::Register, CONTACT, "");
    lab.bench.put(&first);
    lab.take_challenge().unwrap();
    let good = lab.request(&Method::Register, CONTACT, "");
    lab.bench.put(&good);
    lab.find();
    assert!(lab.bench.last().starts_with("SIP/2.0 200"));
    // Overheard and sent again as a new request.
    let replayed = good.replace("z9hG4bKr2", "z9hG4bKevil").replace("CSeq: 2", "CSeq: 9");
    lab.bench.put(&replayed);
    lab.find();
    assert!(lab.bench.last().starts_with("SIP/2.0 401") && lab.bench.last().contains("stale=true"));
    // From another address not even the nonce is good.
    lab.bench.way = Flow { remote: address(8), ..flow(1, 0) };
    lab.bench.put(&replayed.replace("evil", "evil2"));
    assert!(lab.asked().is_none() && lab.bench.last().contains("stale=true"));
    // A repetition gets the answer of the first.
    lab.bench.way = flow(1, 0);
    let before = lab.bench.end.registrar_stats().registered;
    lab.bench.take();
    lab.bench.put(&good);
    assert!(lab.bench.last().starts_with("SIP/2.0 200"));
    assert_eq!(lab.bench.end.registrar_stats().registered, before);
}

#[test]
fn a_nonce_grows_old() {
    let mut lab = Lab::new();
    lab.register(CONTACT);
    lab.bench.run(Duration::from_secs(601));
    let late = lab.request(&Method::Register, CONTACT, "");
    lab.bench.put(&late);
    assert!(lab.bench.last().contains("stale=true"));
    lab.take_challenge().unwrap();
    let again = lab.request(&Method::Register, CONTACT, "");
    lab.bench.put(&again);
    lab.find();
    assert!(lab.bench.last().starts_with("SIP/2.0 200"));
}

#[test]
fn who_guesses_waits_and_who_is_registered_does_not() {
    let mut lab = Lab::new();
    lab.register(CONTACT);
    // Wrong passwords for alice from elsewhere.
    let mut guesser = Client::new(Credentials { username: "alice".into(), password: "guess".into(), realm: None });
    std::mem::swap(&mut lab.digest, &mut guesser);
    lab.bench.way = Flow { remote: "203.0.113.66:5060".parse().unwrap(), ..flow(1, 0) };
    let mut answers = Vec::new();
    for _ in 0..40 {
        lab.bench.take();
        let text = lab.request(&Method::Register, CONTACT, "");
        lab.bench.put(&text);
        if !lab.asked_nothing() {
            lab.find();
        }
        let answer = lab.bench.take().pop().map(|text| text[8..11].to_owned());
        // A guesser asks for a new nonce each time.
        lab.digest = Client::new(Credentials { username: "alice".into(), password: "guess".into(), realm: None });
        let text = lab.request(&Method::Register, CONTACT, "");
        lab.bench.put(&text);
        if lab.bench.sent.is_empty() {
            answers.push(None);
            continue;
        }
        if lab.bench.last().starts_with("SIP/2.0 401") {
            lab.take_challenge().unwrap();
        }
        answers.push(answer);
    }
    let stats = lab.bench.end.registrar_stats();
    assert_eq!(stats.failures, 6, "six were looked at: {answers:?}");
    assert!(stats.refused > 0, "{stats:?}");
    assert_eq!(answers[10].as_deref(), Some("403"), "{answers:?}");
    // The phone itself goes on.
    std::mem::swap(&mut lab.digest, &mut guesser);
    lab.bench.way = flow(1, 0);
    lab.bench.take();
    let answer = lab.register("");
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
}

#[test]
fn the_store_may_fail_or_keep_silent() {
    let mut lab = Lab::new();
    let first = lab.request(&Method::Register, CONTACT, "");
    lab.bench.put(&first);
    lab.take_challenge().unwrap();
    let text = lab.request(&Method::Register, CONTACT, "");
    lab.bench.put(&text);
    let (lookup, _) = lab.asked().unwrap();
    lab.bench.act(|end, now| end.account_found(now, lookup, Err(AccountsUnavailable("no database".into()))));
    assert!(lab.bench.last().starts_with("SIP/2.0 503") && header(lab.bench.last(), "Retry-After").is_some());
    let text = lab.request(&Method::Register, CONTACT, "");
    lab.bench.put(&text);
    let (late, _) = lab.asked().unwrap();
    lab.bench.take();
    lab.bench.run(Duration::from_secs(6));
    assert!(lab.bench.last().starts_with("SIP/2.0 503"));
    let found = Account::with_password("A1", "alice", "callbox", "secret");
    lab.bench.act(|end, now| end.account_found(now, late, Ok(Some(found))));
    assert!(lab.uris().is_empty(), "too late");
    assert_eq!(lab.bench.end.registrar_stats().unavailable, 2);
    lab.bench.must_be_clean();
}

#[test]
fn what_waits_for_the_store_is_limited() {
    let mut lab = Lab::new();
    let first = lab.request(&Method::Register, CONTACT, "");
    lab.bench.put(&first);
    lab.take_challenge().unwrap();
    lab.bench.take();
    for _ in 0..200 {
        let text = lab.request(&Method::Register, CONTACT, "");
        lab.bench.put(&text);
    }
    let lookups = lab.bench.others.iter().filter(|o| matches!(o, Output::FindAccount { .. })).count();
    assert_eq!(lookups, 128, "of one address");
    assert!(lab.bench.last().starts_with("SIP/2.0 503"));
}

#[test]
fn path_and_outbound() {
    let mut lab = Lab::new();
    let device = "Contact: <sip:alice@10.0.0.1>;+sip.instance=\"<urn:uuid:1>\";reg-id=1\nSupported: path, outbound\n";
    let answer = lab.register(device);
    assert_eq!(header(&answer, "Require"), Some("outbound"), "{answer}");
    assert!(header(&answer, "Contact").unwrap().contains(";+sip.instance=\"<urn:uuid:1>\";reg-id=1"), "{answer}");
    let path = format!("Path: <sip:edge.example;lr>\n{CONTACT}");
    let answer = lab.register(&path);
    assert_eq!(header(&answer, "Path"), Some("<sip:edge.example;lr>"));
    assert_eq!(header(&answer, "Require"), None);
}

#[test]
fn calls_from_the_realm_have_to_be_of_an_account() {
    let mut lab = Lab::new();
    let call = lab.request(&Method::Invite, &format!("{CONTACT}{SDP}"), BODY);
    lab.bench.put(&call);
    lab.take_challenge().unwrap();
    assert_eq!(lab.bench.end.remembered(), (0, 0, 0));
    let call = lab.request(&Method::Invite, &format!("{CONTACT}{SDP}"), BODY);
    lab.bench.put(&call);
    assert!(lab.bench.last().starts_with("SIP/2.0 100"), "{}", lab.bench.last());
    assert!(lab.bench.calls.is_empty(), "not before the account is known");
    lab.find();
    let (leg, info) = lab.bench.calls[0].clone();
    assert_eq!(info.account.as_deref(), Some("A1"));
    assert!(!info.headers.iter().any(|(name, _)| name == "authorization"));
    lab.bench.act(|end, now| end.answer(now, leg, "v=0\r\n".into())).unwrap();
    let answer = lab.bench.last().to_owned();
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    let trying = lab.bench.take().into_iter().find(|text| text.starts_with("SIP/2.0 100")).unwrap();
    assert_eq!(header(&trying, "Call-ID"), header(&answer, "Call-ID"));
    let ack = lab::request("ACK", 2, "ack", lab::to_tag(&answer).as_deref(), "", "").replace("tag=peer", "tag=p2");
    lab.bench.put(&ack.replace("bench@lab", "phone@lab"));
    assert!(matches!(lab.bench.events.last(), Some(callbox_sip::DialogEvent::Confirmed { .. })));
}

#[test]
fn a_wrong_password_makes_no_call() {
    let mut lab = Lab::with(RegistrarRules::default(), "wrong");
    let call = lab.request(&Method::Invite, &format!("{CONTACT}{SDP}"), BODY);
    lab.bench.put(&call);
    lab.take_challenge().unwrap();
    let call = lab.request(&Method::Invite, &format!("{CONTACT}{SDP}"), BODY);
    lab.bench.put(&call);
    lab.find();
    assert!(lab.bench.last().starts_with("SIP/2.0 401"));
    assert!(lab.bench.calls.is_empty());
    lab.bench.must_be_clean();
}

#[test]
fn strangers_pass_without_an_account() {
    let mut lab = Lab::new();
    lab.bench.put(&lab::request("INVITE", 1, "x", None, SDP, BODY));
    assert_eq!(lab.bench.calls[0].1.account, None);
    // What claims to come from us does not, unless the rules say so.
    let claimed = lab::request("INVITE", 1, "y", None, SDP, BODY).replace("alice@10.0.0.1>;tag", "alice@Callbox>;tag");
    lab.bench.put(&claimed.replace("bench@lab", "b"));
    assert!(lab.bench.last().starts_with("SIP/2.0 401"), "{}", lab.bench.last());
    let mut lab = Lab::with(RegistrarRules { require_for_realm: false, ..RegistrarRules::default() }, "secret");
    lab.bench.put(&claimed);
    assert_eq!(lab.bench.calls[0].1.account, None);
}

#[test]
fn a_registered_phone_is_challenged_over_udp_and_known_by_its_connection() {
    let mut lab = Lab::new();
    lab.register(CONTACT);
    lab.bench.put(&lab::request("INVITE", 1, "x", None, SDP, BODY));
    assert!(lab.bench.last().starts_with("SIP/2.0 401"), "datagrams can be forged");
    let mut lab = Lab::new();
    let stream = Flow { transport: Transport::Tcp, listener: 1, connection: Some(ConnectionId(5)), ..flow(1, 0) };
    lab.bench.way = stream;
    lab.register("Contact: <sip:alice@hidden.invalid;transport=tcp>\n");
    lab.bench.put(&lab::request("INVITE", 1, "x", None, SDP, BODY));
    assert_eq!(lab.bench.calls[0].1.account.as_deref(), Some("A1"));
    // A call to it goes by that connection.
    let contact = lab.bench.end.contacts(lab.bench.now, "A1").remove(0);
    assert_eq!((contact.transport, contact.source), (Transport::Tcp, address(0)));
    // Gone with it.
    lab.bench.act(|end, now| end.disconnected(now, ConnectionId(5)));
    assert!(lab.uris().is_empty());
    lab.bench.put(&lab::request("INVITE", 1, "y", None, SDP, BODY).replace("bench@lab", "b"));
    assert_eq!(lab.bench.calls[1].1.account, None);
}

#[test]
fn who_calls_through_the_proxy_of_a_phone_is_not_that_phone() {
    let stream = Flow { transport: Transport::Tcp, listener: 1, connection: Some(ConnectionId(5)), ..flow(1, 0) };
    let behind = "Via: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKphone\n";
    let path = "Path: <sip:10.0.0.1;lr>\n";
    for way in [flow(1, 0), stream] {
        for proxied in [behind.to_owned(), path.to_owned(), format!("{behind}{path}")] {
            let mut lab = Lab::new();
            lab.bench.way = way;
            lab.register(&format!("{CONTACT}{proxied}"));
            assert_eq!(lab.uris().len(), 1);
            lab.bench.put(&lab::request("INVITE", 1, "x", None, &format!("{behind}{SDP}"), BODY));
            let (_, info) = lab.bench.calls.first().expect("a call from elsewhere is not challenged");
            assert_eq!(info.account, None, "and not taken for the phone's: {way:?}");
        }
    }
}

#[test]
fn the_caller_may_give_up_while_it_is_looked_up() {
    let mut lab = Lab::new();
    let call = lab.request(&Method::Invite, &format!("{CONTACT}{SDP}"), BODY);
    lab.bench.put(&call);
    lab.take_challenge().unwrap();
    let call = lab.request(&Method::Invite, &format!("{CONTACT}{SDP}"), BODY);
    lab.bench.put(&call);
    let (lookup, _) = lab.asked().unwrap();
    lab.bench.take();
    let cancel: String = call
        .lines()
        .filter(|line| !["Contact", "Content-Type", "v=0", "Authoriz"].iter().any(|start| line.starts_with(start)))
        .map(|line| format!("{line}\n"))
        .collect();
    let cancel = cancel.replace("INVITE", "CANCEL").replace("Content-Length: 5", "Content-Length: 0");
    assert_eq!(lab.bench.ask(&cancel), ["200 2 CANCEL", "487 2 INVITE"]);
    let found = Account::with_password("A1", "alice", "callbox", "secret");
    lab.bench.act(|end, now| end.account_found(now, lookup, Ok(Some(found))));
    assert!(lab.bench.calls.is_empty());
    lab.bench.must_be_clean();
}

#[test]
fn draining_takes_no_registrations() {
    let mut lab = Lab::new();
    lab.bench.end.drain(true);
    let text = lab.request(&Method::Register, CONTACT, "");
    lab.bench.put(&text);
    assert!(lab.bench.last().starts_with("SIP/2.0 503"));
}

#[test]
fn a_phone_behind_a_nat_is_kept_reachable() {
    let mut lab = Lab::new();
    lab.bench.way = Flow { remote: "203.0.113.5:40000".parse().unwrap(), ..flow(1, 0) };
    lab.register("Contact: <sip:alice@192.168.1.20:5060>;expires=100\n");
    lab.bench.run(Duration::from_secs(200));
    let pings: Vec<_> = lab
        .bench
        .others
        .iter()
        .filter_map(|o| if let Output::KeepAlive { flow } = o { Some(flow.remote) } else { None })
        .collect();
    assert_eq!(pings, ["203.0.113.5:40000".parse().unwrap(); 3]);
}

#[test]
fn algorithms_are_the_phones_choice() {
    for line in [0, 1] {
        let mut lab = Lab::new();
        let first = lab.request(&Method::Register, CONTACT, "");
        lab.bench.put(&first);
        let mut answer = wire::parse(lab.bench.last().as_bytes()).unwrap();
        let lines: Vec<_> = answer.headers.lines(Field::WwwAuthenticate).cloned().collect();
        answer.headers.remove(Field::WwwAuthenticate);
        answer.headers.push(Field::WwwAuthenticate, lines[line].clone()).unwrap();
        lab.digest.challenged(&answer).unwrap();
        let text = lab.request(&Method::Register, CONTACT, "");
        lab.bench.put(&text);
        lab.find();
        assert!(lab.bench.last().starts_with("SIP/2.0 200"), "{line}");
    }
}

#[test]
fn a_phone_that_cannot_stand_sha_256_is_offered_md5_alone() {
    let mut lab = Lab::new();
    let offered = |lab: &Lab| {
        let answer = wire::parse(lab.bench.last().as_bytes()).unwrap();
        Challenge::all(&answer).iter().map(|c| c.algorithm.name()).collect::<Vec<_>>()
    };
    for expected in [&["SHA-256", "MD5"][..], &["MD5"], &["MD5"]] {
        let text = lab.request(&Method::Register, CONTACT, "");
        lab.bench.put(&text);
        assert_eq!(offered(&lab), expected);
    }
    lab.take_challenge().unwrap();
    let text = lab.request(&Method::Register, CONTACT, "");
    lab.bench.put(&text);
    lab.find();
    assert!(lab.bench.last().starts_with("SIP/2.0 200"));
    lab.bench.run(Duration::from_secs(700));
    let text = lab.request(&Method::Register, CONTACT, "");
    lab.bench.put(&text);
    assert!(lab.bench.last().contains("stale=true"));
    assert_eq!(offered(&lab), ["MD5"]);
}
