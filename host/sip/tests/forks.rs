//! One INVITE that rings in several places, and calls that are sent elsewhere (RFC 3261 §13.2.2, §8.1.3.4).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lab;

use callbox_sip::ua::{DialogEvent, LegId, Redirects};
use lab::{ANSWER, Bench, HOLD, LIFE, OFFER, SDP, header, invite, response};
use std::time::Duration;

fn text(sdp: &'static [u8]) -> &'static str {
    std::str::from_utf8(sdp).unwrap()
}

fn placed(bench: &mut Bench) -> (LegId, String) {
    let leg = bench.act(|end, now| end.invite(now, invite(1, 0, Some(OFFER)))).unwrap();
    (leg, bench.take().pop().unwrap())
}

/// A response of one branch, with a description or without.
fn of(invite: &str, status: &str, tag: &str, sdp: Option<&'static [u8]>) -> String {
    let extra = format!("Contact: <sip:{tag}@10.0.0.1:5060>\n{}", if sdp.is_some() { SDP } else { "" });
    response(invite, status, tag, &extra, sdp.map_or("", text))
}

#[test]
fn each_branch_has_its_number_and_the_answer_is_that_of_its_own() {
    let mut bench = Bench::new();
    let (leg, invite) = placed(&mut bench);
    bench.put(&of(&invite, "180 Ringing", "a", None));
    bench.put(&of(&invite, "183 Session Progress", "b", Some(ANSWER)));
    bench.put(&of(&invite, "183 Session Progress", "a", Some(HOLD)));
    bench.put(&of(&invite, "180 Ringing", "b", None));
    // The branch that said its answer early answers without one; the other early answer is not its.
    bench.put(&of(&invite, "200 OK", "b", None));
    assert_eq!(
        bench.events,
        [
            DialogEvent::Ringing,
            DialogEvent::Progress { sdp: Some(ANSWER.to_vec()), branch: 1 },
            DialogEvent::Progress { sdp: Some(HOLD.to_vec()), branch: 0 },
            DialogEvent::Ringing,
            DialogEvent::Answered { sdp: Some(ANSWER.to_vec()) },
        ]
    );
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    bench.run(LIFE);
    bench.must_be_clean();
}

#[test]
fn a_later_answer_takes_the_place_of_the_early_one() {
    let mut bench = Bench::new();
    let (_, invite) = placed(&mut bench);
    bench.put(&of(&invite, "183 Session Progress", "a", Some(ANSWER)));
    bench.put(&of(&invite, "183 Session Progress", "a", Some(HOLD)));
    bench.put(&of(&invite, "200 OK", "a", Some(OFFER)));
    let described = |event: &DialogEvent| match event {
        DialogEvent::Progress { sdp, branch: 0 } | DialogEvent::Answered { sdp } => sdp.clone(),
        other => panic!("{other:?}"),
    };
    let told: Vec<_> = bench.events.iter().map(described).collect();
    assert_eq!(told, [Some(ANSWER.to_vec()), Some(HOLD.to_vec()), Some(OFFER.to_vec())]);
}

#[test]
fn several_answer() {
    let mut bench = Bench::new();
    let (leg, invite) = placed(&mut bench);
    bench.put(&of(&invite, "200 OK", "a", Some(ANSWER)));
    bench.put(&of(&invite, "200 OK", "b", Some(ANSWER)));
    bench.put(&of(&invite, "200 OK", "c", Some(ANSWER)));
    assert_eq!(bench.names(), ["ACK 1", "ACK 1", "BYE 2", "ACK 1", "BYE 2"], "the first is kept, in order");
    let byes: Vec<String> = bench.take().into_iter().filter(|message| message.starts_with("BYE")).collect();
    assert!(byes[0].contains("tag=b") && byes[1].contains("tag=c"));
    assert_eq!(bench.ask(&of(&invite, "200 OK", "b", Some(ANSWER))), ["ACK 1"], "its ACK was lost");
    assert_eq!(bench.events.len(), 1);
    // A request of a branch that lost is of no dialog of ours.
    let stray = lab::request("UPDATE", 1, "u", Some("x"), "", "");
    assert_eq!(bench.ask(&stray), ["481 1 UPDATE"]);
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    bench.run(LIFE);
    bench.must_be_clean();
}

#[test]
fn the_number_of_a_bye_is_above_that_of_the_prack_before() {
    let mut bench = Bench::new();
    let (leg, invite) = placed(&mut bench);
    let reliable = "Contact: <sip:a@10.0.0.1:5060>\nRequire: 100rel\nRSeq: 1\n";
    bench.put(&response(&invite, "180 Ringing", "a", reliable, ""));
    assert_eq!(bench.names(), ["PRACK 2"]);
    // The branch that answers has not rung before.
    assert_eq!(bench.ask(&of(&invite, "200 OK", "b", Some(ANSWER))), ["ACK 1"]);
    assert_eq!(bench.ask(&of(&invite, "200 OK", "a", Some(ANSWER))), ["ACK 1", "BYE 3"]);
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    bench.run(LIFE);
    bench.must_be_clean();
}

#[test]
fn two_branches_agree_and_the_second_answers() {
    for repeats in [None, Some(HOLD)] {
        let mut bench = Bench::new();
        let (leg, invite) = placed(&mut bench);
        for (tag, sdp) in [("a", ANSWER), ("b", HOLD)] {
            let extra = format!("Contact: <sip:{tag}@10.0.0.1:5060>\nRequire: 100rel\nRSeq: 1\n{SDP}");
            bench.put(&response(&invite, "183 Session Progress", tag, &extra, text(sdp)));
        }
        assert_eq!(bench.names(), ["PRACK 2", "PRACK 2"]);
        bench.put(&of(&invite, "200 OK", "b", repeats));
        let told = DialogEvent::Answered { sdp: Some(HOLD.to_vec()) };
        assert_eq!(bench.events.last(), Some(&told), "its own description, not that of the other branch");
        bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
        bench.run(LIFE);
        bench.must_be_clean();
    }
}

#[test]
fn a_branch_that_gives_up_is_no_news() {
    let mut bench = Bench::new();
    let (_, invite) = placed(&mut bench);
    assert!(header(&invite, "Supported").unwrap().contains("199"));
    bench.put(&of(&invite, "180 Ringing", "a", None));
    bench.put(&of(&invite, "199 Early Dialog Terminated", "a", None));
    assert_eq!(bench.events, [DialogEvent::Ringing]);
    bench.put(&of(&invite, "486 Busy Here", "b", None));
    assert!(matches!(bench.events.last(), Some(DialogEvent::Ended { status: Some(486), .. })));
    bench.must_be_clean();
}

#[test]
fn more_branches_than_we_keep_ring_unseen() {
    let mut bench = Bench::new();
    let (leg, invite) = placed(&mut bench);
    for n in 0..50 {
        bench.put(&of(&invite, "183 Session Progress", &format!("t{n}"), Some(ANSWER)));
    }
    assert_eq!(bench.events.len(), 8);
    assert!(matches!(bench.events[7], DialogEvent::Progress { branch: 7, .. }));
    bench.put(&of(&invite, "200 OK", "t49", Some(ANSWER)));
    assert!(matches!(bench.events.last(), Some(DialogEvent::Answered { sdp: Some(_) })));
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    bench.run(LIFE);
    bench.must_be_clean();
}

#[test]
fn an_answer_long_after_the_cancel() {
    let mut bench = Bench::new();
    let (leg, invite) = placed(&mut bench);
    bench.put(&of(&invite, "183 Session Progress", "a", Some(ANSWER)));
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    let cancel = bench.take().pop().unwrap();
    bench.put(&response(&cancel, "200 OK", "", "", ""));
    bench.run(Duration::from_secs(20));
    assert_eq!(bench.ask(&of(&invite, "200 OK", "a", Some(ANSWER))), ["ACK 1", "BYE 2"]);
    assert!(header(bench.last(), "Reason").unwrap().starts_with("SIP;cause=487"));
    assert_eq!(bench.ask(&of(&invite, "200 OK", "b", Some(ANSWER))), ["ACK 1", "BYE 2"]);
    assert!(matches!(
        bench.events[..],
        [DialogEvent::Progress { .. }, DialogEvent::Ended { by_remote: false, status: Some(487), .. }]
    ));
    bench.run(LIFE);
    bench.must_be_clean();
}

// --- redirects

fn redirected(bench: &mut Bench, redirects: Redirects, contacts: &str) -> LegId {
    let mut call = invite(1, 0, Some(OFFER));
    call.redirects = redirects;
    let leg = bench.act(|end, now| end.invite(now, call)).unwrap();
    let invite = bench.take().pop().unwrap();
    bench.put(&response(&invite, "302 Moved Temporarily", "a", contacts, ""));
    leg
}

fn to(hosts: &[&str], max: u8) -> Redirects {
    Redirects { max, hosts: hosts.iter().map(|host| (*host).to_owned()).collect() }
}

const CONTACTS: &str = "Contact: <sip:low@10.0.0.3>;q=0.1, <sip:best@10.0.0.4:5070>;q=0.9\n\
                        Contact: <sip:evil@10.0.0.66>, <sip:named@Elsewhere.example>;q=0.5\n";

#[test]
fn redirects_are_reported_unless_they_are_allowed() {
    let ordered = ["sip:evil@10.0.0.66", "sip:best@10.0.0.4:5070", "sip:named@Elsewhere.example", "sip:low@10.0.0.3"];
    for redirects in [Redirects::default(), to(&["10.0.0.9"], 5), to(&["10.0.0.4"], 0)] {
        let mut bench = Bench::new();
        redirected(&mut bench, redirects, CONTACTS);
        assert_eq!(bench.names(), ["ACK 1"]);
        let Some(DialogEvent::Ended { status: Some(302), contacts, .. }) = bench.events.last() else { panic!() };
        assert_eq!(contacts, &ordered);
        bench.must_be_clean();
    }
}

#[test]
fn redirects_are_followed_in_order_to_allowed_hosts() {
    let mut bench = Bench::new();
    let leg = redirected(&mut bench, to(&["10.0.0.3", "10.0.0.4", "elsewhere.example"], 5), CONTACTS);
    assert_eq!(bench.names(), ["ACK 1", "INVITE 2"]);
    let (way, second) = bench.sent.last().cloned().unwrap();
    assert!(second.starts_with("INVITE sip:best@10.0.0.4:5070 SIP/2.0"), "the best that is allowed");
    assert_eq!(way.remote, "10.0.0.4:5070".parse().unwrap());
    assert!(second.ends_with(text(OFFER)) && !header(&second, "To").unwrap().contains("tag="));
    // The next after a failure; its name is looked up first.
    assert_eq!(bench.ask(&response(&second, "503 Service Unavailable", "b", "", "")), ["ACK 2"]);
    assert_eq!(
        bench.lookups,
        [(leg, "elsewhere.example".parse().unwrap())].map(|(leg, mut hop): (LegId, callbox_sip::ua::NextHop)| {
            hop.host = "Elsewhere.example".into();
            (leg, hop)
        })
    );
    bench.take();
    bench.act(|end, now| end.resolved(now, leg, vec![lab::flow(1, 7)]));
    let (way, third) = bench.sent.last().cloned().unwrap();
    assert!(third.starts_with("INVITE sip:named@Elsewhere.example SIP/2.0"));
    assert_eq!((way.remote, header(&third, "CSeq")), (lab::address(7), Some("3 INVITE")));
    bench.put(&of(&third, "200 OK", "c", Some(ANSWER)));
    assert_eq!(bench.events, [DialogEvent::Answered { sdp: Some(ANSWER.to_vec()) }]);
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    assert!(bench.last().starts_with("BYE sip:c@10.0.0.1:5060"));
    bench.run(LIFE);
    bench.must_be_clean();
}

#[test]
fn a_name_that_leads_nowhere_is_passed_over() {
    for answered in [true, false] {
        let mut bench = Bench::new();
        let leg = redirected(&mut bench, to(&["elsewhere.example", "10.0.0.3"], 5), CONTACTS);
        assert_eq!((bench.names(), bench.lookups.len()), (vec!["ACK 1".to_owned()], 1));
        bench.take();
        if answered {
            bench.act(|end, now| end.resolved(now, leg, Vec::new()));
        } else {
            bench.run(Duration::from_secs(5));
        }
        assert!(bench.last().starts_with("INVITE sip:low@10.0.0.3 SIP/2.0"));
        let last = bench.last().to_owned();
        bench.put(&response(&last, "404 Not Found", "b", "", ""));
        assert!(matches!(bench.events.last(), Some(DialogEvent::Ended { status: Some(404), .. })));
        bench.must_be_clean();
    }
}

#[test]
fn circles_and_endless_chains_end() {
    let mut bench = Bench::new();
    redirected(&mut bench, to(&["10.0.0.3", "10.0.0.1"], 100), "Contact: <sip:x0@10.0.0.3>\n");
    let second = bench.last().to_owned();
    // To itself, and to where it began.
    bench.put(&response(&second, "302 Moved", "b", "Contact: <sip:x0@10.0.0.3>, <sip:robot@10.0.0.1:5060>\n", ""));
    assert!(matches!(bench.events.last(), Some(DialogEvent::Ended { status: Some(302), .. })));
    let mut endless = Bench::new();
    redirected(&mut endless, to(&["10.0.0.3"], 3), "Contact: <sip:x@10.0.0.3>\n");
    for n in 0..10 {
        let Some(again) = endless.take().into_iter().rev().find(|message| message.starts_with("INVITE")) else {
            assert_eq!(n, 3);
            break;
        };
        endless.put(&response(&again, "302 Moved", "b", &format!("Contact: <sip:x{n}@10.0.0.3>\n"), ""));
    }
    assert!(matches!(endless.events.last(), Some(DialogEvent::Ended { status: Some(302), .. })));
    endless.must_be_clean();
}

#[test]
fn a_redirected_call_can_be_given_up() {
    // While its new target is looked up: there is nothing to cancel.
    let mut bench = Bench::new();
    let leg = redirected(&mut bench, to(&["elsewhere.example"], 5), CONTACTS);
    bench.take();
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    assert!(bench.names().is_empty());
    bench.act(|end, now| end.resolved(now, leg, vec![lab::flow(1, 7)]));
    assert!(bench.names().is_empty(), "too late");
    assert!(matches!(bench.events[..], [DialogEvent::Ended { by_remote: false, status: Some(487), .. }]));
    bench.must_be_clean();
    // While it rings there.
    let mut ringing = Bench::new();
    let leg = redirected(&mut ringing, to(&["10.0.0.4"], 5), CONTACTS);
    let second = ringing.last().to_owned();
    ringing.put(&of(&second, "180 Ringing", "b", None));
    ringing.take();
    ringing.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    assert!(ringing.last().starts_with("CANCEL sip:best@10.0.0.4:5070"));
    ringing.put(&response(&second, "302 Moved", "b", "Contact: <sip:y@10.0.0.4>\n", ""));
    assert_eq!(ringing.names(), ["CANCEL 2", "ACK 2"], "nobody wants it any more");
    ringing.run(LIFE);
    ringing.must_be_clean();
}
