//! One request and several servers to take it (RFC 3263 §4.3): who is tried when, and what becomes of those left behind.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lab;

use callbox_sip::ua::{DialogEvent, LegId};
use lab::{ANSWER, Bench, LIFE, OFFER, SDP, flow, header, invite, response};
use std::net::SocketAddr;
use std::time::Duration;

/// Calls with servers 10.0.0.1, then .5, then .6 to try.
fn placed(bench: &mut Bench) -> LegId {
    let mut call = invite(1, 0, Some(OFFER));
    call.others = vec![flow(1, 4), flow(1, 5)];
    bench.act(|end, now| end.invite(now, call)).unwrap()
}

/// What was sent last: whereto, and the text.
fn last(bench: &Bench) -> (SocketAddr, String) {
    let (flow, text) = bench.sent.last().unwrap();
    (flow.remote, text.clone())
}

fn server(n: usize) -> SocketAddr {
    lab::address(n)
}

fn branch(message: &str) -> String {
    header(message, "Via").unwrap().split("branch=").nth(1).unwrap().to_owned()
}

fn ended(bench: &Bench) -> Vec<Option<u16>> {
    let status = |event: &DialogEvent| match event {
        DialogEvent::Ended { status, .. } => Some(*status),
        _ => None,
    };
    bench.events.iter().filter_map(status).collect()
}

#[test]
fn a_silent_server_has_eight_t1_and_may_not_come_back() {
    let mut bench = Bench::new();
    placed(&mut bench);
    let (to, first) = last(&bench);
    assert_eq!(to, server(0));
    bench.run(Duration::from_millis(3_990));
    assert_eq!(last(&bench).0, server(0));
    bench.run(Duration::from_millis(20));
    let (to, second) = last(&bench);
    assert_eq!(to, server(4), "after four seconds");
    assert_ne!(branch(&first), branch(&second));
    assert_eq!(header(&first, "Call-ID"), header(&second, "Call-ID"));
    assert_eq!(header(&first, "CSeq"), header(&second, "CSeq"));
    bench.put(&response(&second, "180 Ringing", "two", "Contact: <sip:two@10.0.0.5>\n", ""));
    assert_eq!(bench.events, [DialogEvent::Ringing]);
    bench.take();
    // The first one picks up, too late: it is acknowledged and told to hang up, once.
    let answer = std::str::from_utf8(ANSWER).unwrap();
    let late = response(&first, "200 OK", "one", &format!("Contact: <sip:one@10.0.0.1>\n{SDP}"), answer);
    bench.put(&late);
    let names = bench.names();
    assert_eq!(names, ["ACK", "BYE"].map(|m| names.iter().find(|n| n.starts_with(m)).unwrap().clone()), "{names:?}");
    bench.put(&late);
    assert_eq!(bench.names().iter().filter(|name| name.starts_with("BYE")).count(), 1);
    assert_eq!(bench.events.len(), 1, "the call that rings knows nothing of it");
    let answered = response(&second, "200 OK", "two", &format!("Contact: <sip:two@10.0.0.5>\n{SDP}"), answer);
    bench.put(&answered);
    assert!(matches!(bench.events[..], [_, DialogEvent::Answered { .. }]), "{:?}", bench.events);
}

#[test]
fn a_full_server_is_acknowledged_and_passed_over() {
    let mut bench = Bench::new();
    placed(&mut bench);
    let (_, first) = last(&bench);
    bench.take();
    bench.put(&response(&first, "503 Service Unavailable", "one", "", ""));
    let sent: Vec<(SocketAddr, String)> = bench.sent.iter().map(|(flow, text)| (flow.remote, text.clone())).collect();
    let [(ack_to, ack), (to, second)] = &sent[..] else { panic!("{sent:?}") };
    assert!(ack.starts_with("ACK ") && *ack_to == server(0) && branch(ack) == branch(&first));
    assert!(second.starts_with("INVITE ") && *to == server(4));
    assert!(bench.events.is_empty());
    bench.put(&response(second, "486 Busy Here", "two", "", ""));
    assert_eq!(ended(&bench), [Some(486)], "any other answer is the answer");
    bench.run(LIFE * 2);
    bench.must_be_clean();
}

#[test]
fn when_none_can_be_reached_the_last_failure_is_told() {
    let mut bench = Bench::new();
    placed(&mut bench);
    for n in [4, 5] {
        let transaction = bench.unsent.iter().rev().find_map(|id| *id).unwrap();
        bench.act(|end, now| end.unsendable(now, transaction));
        assert_eq!(last(&bench).0, server(n));
        assert!(bench.events.is_empty());
    }
    let (_, third) = last(&bench);
    bench.act(|end, now| end.unreachable(now, branch(&third)));
    assert_eq!(ended(&bench), [Some(503)]);
    bench.run(LIFE * 2);
    bench.must_be_clean();
}

#[test]
fn a_server_that_agreed_and_refused_is_forgotten() {
    let mut bench = Bench::new();
    let mut call = invite(1, 0, None);
    call.others = vec![flow(1, 4)];
    let leg = bench.act(|end, now| end.invite(now, call)).unwrap();
    let offers = |tag: &str| format!("Contact: <sip:{tag}@10.0.0.1>\nRequire: 100rel\nRSeq: 1\n{SDP}");
    let text = |sdp| std::str::from_utf8(sdp).unwrap();
    let (_, first) = last(&bench);
    bench.put(&response(&first, "183 Session Progress", "one", &offers("one"), text(OFFER)));
    bench.act(|end, now| end.ack(now, leg, ANSWER.into())).unwrap();
    bench.put(&response(&first, "503 Service Unavailable", "one", "", ""));
    let (to, second) = last(&bench);
    assert_eq!(to, server(4));
    bench.put(&response(&second, "183 Session Progress", "two", &offers("two"), text(OFFER)));
    let asked = bench.events.iter().filter(|event| matches!(event, DialogEvent::EarlyOffer { .. })).count();
    assert_eq!(asked, 2, "the offer of the second is heard");
    bench.act(|end, now| end.ack(now, leg, ANSWER.into())).unwrap();
    assert!(last(&bench).1.starts_with("PRACK ") && last(&bench).1.contains("tag=two"));
    bench.put(&response(&second, "200 OK", "two", "Contact: <sip:two@10.0.0.5>\n", ""));
    assert_eq!(bench.events.last(), Some(&DialogEvent::Answered { sdp: None }));
}

#[test]
fn the_news_of_a_stranger_changes_nothing() {
    let mut bench = Bench::new();
    placed(&mut bench);
    let (_, first) = last(&bench);
    bench.act(|end, now| end.unreachable(now, "z9hG4bKforged".to_owned()));
    assert_eq!(last(&bench).0, server(0));
    // After an answer it is too late for such news.
    bench.put(&response(&first, "100 Trying", "", "", ""));
    bench.act(|end, now| end.unreachable(now, branch(&first)));
    assert_eq!(last(&bench).0, server(0));
    assert!(bench.events.is_empty());
}

#[test]
fn a_call_that_is_given_up_tries_nobody_else() {
    let mut bench = Bench::new();
    let leg = placed(&mut bench);
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    bench.run(LIFE * 2);
    assert!(bench.sent.iter().all(|(flow, _)| flow.remote == server(0)));
    bench.must_be_clean();
}
