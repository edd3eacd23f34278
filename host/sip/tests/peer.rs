//! One endpoint and a peer whose every message the test writes: what a user agent has to answer to what (RFC 3261 §8,
//! §12, §14, §15 and its extensions).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lab;

use bytes::Bytes;
use callbox_sip::SipLimits;
use callbox_sip::ua::{DialogEvent, Flow, Transport};
use callbox_sip::wire::Uri;
use lab::{ANSWER, Bench, LIFE, OFFER, SDP, header, invite, request, response, to_tag};
use std::time::Duration;

const BODY: &str = "v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nc=IN IP4 10.0.0.1\nt=0 0\nm=audio 4000 RTP/AVP 0\n";

/// The same, changed.
const HOLD: &str = "v=0\no=- 1 2 IN IP4 10.0.0.1\ns=-\nc=IN IP4 10.0.0.1\nt=0 0\nm=audio 4000 RTP/AVP 0\na=sendonly\n";

fn offer() -> Bytes {
    Bytes::from_static(OFFER)
}

/// An INVITE that rings; gives the To tag.
fn ringing(bench: &mut Bench) -> String {
    bench.put(&request("INVITE", 1, "inv", None, SDP, BODY));
    let leg = bench.calls[0].0;
    bench.act(|end, now| end.ring(now, leg)).unwrap();
    let tag = to_tag(bench.last()).unwrap();
    bench.take();
    tag
}

/// A call that is up; gives the To tag.
fn up(bench: &mut Bench) -> String {
    let tag = ringing(bench);
    let leg = bench.calls[0].0;
    bench.act(|end, now| end.answer(now, leg, Bytes::from_static(ANSWER))).unwrap();
    bench.put(&request("ACK", 1, "ack", Some(&tag), "", ""));
    assert_eq!(bench.events, [DialogEvent::Confirmed { sdp: None }]);
    bench.events.clear();
    bench.take();
    tag
}

/// Our call to the scripted peer; gives the INVITE.
fn placed(bench: &mut Bench) -> String {
    bench.act(|end, now| end.invite(now, invite(1, 0, Some(OFFER)))).unwrap();
    bench.take().pop().unwrap()
}

#[test]
fn outside_of_dialogs() {
    let mut bench = Bench::new();
    for (method, extra, body, answer) in [
        ("OPTIONS", "", "", "200 7 OPTIONS"),
        ("BYE", "", "", "481 7 BYE"),
        ("CANCEL", "", "", "481 7 CANCEL"),
        ("INFO", "", "", "481 7 INFO"),
        ("UPDATE", "", "", "481 7 UPDATE"),
        ("NOTIFY", "", "", "481 7 NOTIFY"),
        ("REFER", "Refer-To: <sip:x@y>\n", "", "603 7 REFER"),
        ("REGISTER", "", "", "405 7 REGISTER"),
        ("MESSAGE", "", "", "405 7 MESSAGE"),
        ("SUBSCRIBE", "", "", "405 7 SUBSCRIBE"),
        ("PUBLISH", "Event: presence\n", "", "405 7 PUBLISH"),
        ("PRACK", "RAck: 1 1 INVITE\n", "", "481 7 PRACK"),
        ("NEWMETHOD", "", "", "501 7 NEWMETHOD"),
        ("INVITE", "Require: 100rel, nothere\n", "", "420 7 INVITE"),
        ("INVITE", "Content-Type: text/plain\n", "hello", "415 7 INVITE"),
    ] {
        assert_eq!(bench.ask(&request(method, 7, method, None, extra, body)), [answer]);
        let first = bench.last().to_owned();
        let tag = to_tag(&first).expect("each final response has a tag");
        assert_eq!(bench.ask(&request(method, 7, method, None, extra, body)), [answer]);
        assert_eq!(to_tag(bench.last()).unwrap(), tag, "the same for a repetition");
        match &answer[..3] {
            "405" => assert!(header(&first, "Allow").unwrap().contains("INVITE")),
            "420" => assert_eq!(header(&first, "Unsupported"), Some("100rel, nothere")),
            "415" => assert!(header(&first, "Accept").unwrap().contains("application/sdp")),
            _ => {}
        }
    }
    let options = request("OPTIONS", 8, "o8", None, "", "");
    bench.put(&options);
    for name in ["Allow", "Accept", "Supported"] {
        assert!(header(bench.last(), name).is_some(), "{name}");
    }
    assert_eq!(bench.ask(&options.replace("sip:robot@10.0.0.2 SIP/2.0", "mailto:a@b SIP/2.0")), ["416 8 OPTIONS"]);
    assert_eq!(bench.ask(&options.replace("SIP/2.0\nVia", "SIP/3.0\nVia")), ["505 8 OPTIONS"]);
    assert_eq!(
        bench.ask(&options.replace("Max-Forwards: 70", "Max-Forwards: 0")),
        ["200 8 OPTIONS"],
        "RFC 4475 §3.3.11"
    );
    assert_eq!(bench.ask(&request("ACK", 7, "a", Some("x"), "", "")), [""; 0], "an ACK is never answered");
    assert_eq!(bench.end.remembered(), (0, 0, 0), "none of it leaves a trace");
    assert!(bench.calls.is_empty());
}

#[test]
fn cancel_is_answered_with_the_tag_of_the_call() {
    let mut bench = Bench::new();
    let tag = ringing(&mut bench);
    bench.put(&request("CANCEL", 1, "inv", None, "Reason: SIP;cause=200;text=\"elsewhere\"\n", ""));
    assert_eq!(bench.names(), ["200 1 CANCEL", "487 1 INVITE"]);
    for message in bench.take() {
        assert_eq!(to_tag(&message), Some(tag.clone()));
    }
    let DialogEvent::Ended { by_remote: true, status: Some(487), reason: Some(text), .. } = &bench.events[0] else {
        panic!("{:?}", bench.events);
    };
    assert_eq!(text, "elsewhere");
    assert_eq!(bench.ask(&request("CANCEL", 1, "inv", None, "", "")), ["200 1 CANCEL"], "a repetition");
    assert_eq!(bench.ask(&request("ACK", 1, "inv", Some(&tag), "", "")), [""; 0]);
    bench.must_be_clean();
}

#[test]
fn repeated_requests_get_the_last_response() {
    let mut bench = Bench::new();
    let invite = request("INVITE", 1, "inv", None, SDP, BODY);
    assert_eq!(bench.ask(&invite), ["100 1 INVITE"]);
    assert_eq!(bench.ask(&invite), ["100 1 INVITE"]);
    let leg = bench.calls[0].0;
    bench.act(|end, now| end.ring(now, leg)).unwrap();
    let first = bench.last().to_owned();
    assert_eq!(bench.ask(&invite), ["180 1 INVITE"]);
    assert_eq!(bench.last(), first, "byte for byte");
    bench.act(|end, now| end.answer(now, leg, Bytes::from_static(ANSWER))).unwrap();
    assert_eq!(bench.ask(&invite), [""; 0], "RFC 6026: the 200 has its own timer");
    assert_eq!(bench.calls.len(), 1);
    assert_eq!(bench.end.stats().retransmissions_received, 3);
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    bench.run(LIFE * 2);
    bench.must_be_clean();
}

#[test]
fn the_same_call_by_another_path_is_merged() {
    let mut bench = Bench::new();
    let tag = ringing(&mut bench);
    assert_eq!(bench.ask(&request("INVITE", 1, "other", None, SDP, BODY)), ["482 1 INVITE"]);
    assert_ne!(to_tag(bench.last()), Some(tag));
    assert_eq!(bench.calls.len(), 1);
    bench.put(&request("CANCEL", 1, "inv", None, "", ""));
    bench.must_be_clean();
}

#[test]
fn what_a_dialog_answers() {
    let mut bench = Bench::new();
    let tag = up(&mut bench);
    let tag = Some(tag.as_str());
    let relay = "Content-Type: application/dtmf-relay\n";
    for (n, (cseq, method, extra, body, answer)) in [
        (2, "OPTIONS", "", "", "200 2 OPTIONS"),
        (3, "INFO", "", "", "200 3 INFO"),
        (4, "INFO", relay, "Signal=7\nDuration=120\n", "200 4 INFO"),
        (5, "INFO", "Content-Type: application/dtmf\n", "#", "200 5 INFO"),
        (6, "INFO", "Content-Type: text/plain\n", "x", "415 6 INFO"),
        (7, "INFO", "Info-Package: foo\n", "", "469 7 INFO"),
        (8, "UPDATE", "", "", "200 8 UPDATE"),
        (9, "REFER", "", "", "400 9 REFER"),
        (10, "NOTIFY", "Event: refer\nSubscription-State: active\n", "", "481 10 NOTIFY"),
        (11, "NOTIFY", "Event: presence\n", "", "489 11 NOTIFY"),
        (12, "FOO", "", "", "501 12 FOO"),
        (13, "PRACK", "RAck: 1 1 INVITE\n", "", "481 13 PRACK"),
        (14, "SUBSCRIBE", "Event: presence\n", "", "489 14 SUBSCRIBE"),
        (15, "MESSAGE", "", "", "405 15 MESSAGE"),
        (3, "INFO", "", "", "500 3 INFO"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(bench.ask(&request(method, cseq, &format!("d{n}"), tag, extra, body)), [answer]);
    }
    assert_eq!(
        bench.events,
        [DialogEvent::Digit { digit: '7', duration_ms: 120 }, DialogEvent::Digit { digit: '#', duration_ms: 0 },]
    );
    // Another tag on either side is another dialog.
    assert_eq!(bench.ask(&request("BYE", 20, "b1", Some("zz"), "", "")), ["481 20 BYE"]);
    let foreign = request("BYE", 20, "b2", tag, "", "").replace("tag=peer", "tag=other");
    assert_eq!(bench.ask(&foreign), ["481 20 BYE"]);
    assert_eq!(bench.ask(&request("BYE", 20, "b3", tag, "Reason: Q.850;cause=16\n", "")), ["200 20 BYE"]);
    assert!(matches!(bench.events.last(), Some(DialogEvent::Ended { by_remote: true, q850: Some(16), .. })));
    assert_eq!(bench.ask(&request("BYE", 20, "b3", tag, "", "")), ["200 20 BYE"], "a repetition");
    assert_eq!(bench.ask(&request("INFO", 21, "i", tag, "", "")), ["481 21 INFO"]);
    bench.must_be_clean();
}

#[test]
fn a_second_invite_before_the_first_is_answered() {
    let mut bench = Bench::new();
    let tag = ringing(&mut bench);
    assert_eq!(bench.ask(&request("INVITE", 2, "i2", Some(&tag), SDP, BODY)), ["500 2 INVITE"]);
    let wait: u32 = header(bench.last(), "Retry-After").unwrap().parse().unwrap();
    assert!(wait <= 10);
    assert_eq!(bench.ask(&request("UPDATE", 3, "u", Some(&tag), SDP, BODY)), ["500 3 UPDATE"]);
    assert_eq!(bench.ask(&request("INFO", 4, "n", Some(&tag), "", "")), ["200 4 INFO"], "an early dialog answers INFO");
    assert_eq!(bench.ask(&request("BYE", 5, "b", Some(&tag), "", "")), ["200 5 BYE", "487 1 INVITE"]);
    bench.must_be_clean();
}

#[test]
fn a_reinvite_moves_the_target_and_may_be_cancelled() {
    let mut bench = Bench::new();
    let tag = up(&mut bench);
    let leg = bench.calls[0].0;
    let moved = request("INVITE", 2, "i2", Some(&tag), SDP, HOLD)
        .replace("<sip:alice@10.0.0.1:5060>", "<sip:a%2B@10.0.0.7:6000;ob>");
    assert_eq!(bench.ask(&moved), ["100 2 INVITE"]);
    assert_eq!(bench.ask(&request("INVITE", 3, "i3", Some(&tag), SDP, BODY)), ["500 3 INVITE"], "one at a time");
    bench.act(|end, now| end.answer_reinvite(now, leg, Ok(Bytes::from_static(ANSWER)))).unwrap();
    bench.put(&request("ACK", 2, "a2", Some(&tag), "", ""));
    assert_eq!(bench.events.last(), Some(&DialogEvent::Confirmed { sdp: None }));
    // A re-INVITE that its sender takes back.
    bench.put(
        &request("INVITE", 4, "i4", Some(&tag), SDP, BODY)
            .replace("<sip:alice@10.0.0.1:5060>", "<sip:a%2B@10.0.0.7:6000;ob>"),
    );
    assert_eq!(bench.ask(&request("CANCEL", 4, "i4", Some(&tag), "", "")), ["200 4 CANCEL", "487 4 INVITE"]);
    // Without a description it asks for ours, and the ACK brings the answer.
    bench.put(
        &request("INVITE", 5, "i5", Some(&tag), "", "")
            .replace("<sip:alice@10.0.0.1:5060>", "<sip:a%2B@10.0.0.7:6000;ob>"),
    );
    assert_eq!(bench.events.last(), Some(&DialogEvent::Reinvite { sdp: None }));
    bench.act(|end, now| end.answer_reinvite(now, leg, Ok(offer()))).unwrap();
    bench.put(&request("ACK", 5, "a5", Some(&tag), SDP, BODY));
    assert!(matches!(bench.events.last(), Some(DialogEvent::Confirmed { sdp: Some(_) })));
    bench.take();
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    assert!(bench.last().starts_with("BYE sip:a%2B@10.0.0.7:6000;ob SIP/2.0"), "bytes kept: {}", bench.last());
    assert_eq!(bench.sent.last().unwrap().0.remote, "10.0.0.7:6000".parse().unwrap());
    let bye = bench.last().to_owned();
    bench.put(&response(&bye, "200 OK", "", "", ""));
    bench.must_be_clean();
}

#[test]
fn a_reinvite_overtakes_the_ack() {
    let mut bench = Bench::new();
    let tag = ringing(&mut bench);
    let leg = bench.calls[0].0;
    bench.act(|end, now| end.answer(now, leg, Bytes::from_static(ANSWER))).unwrap();
    assert_eq!(bench.ask(&request("INVITE", 2, "i2", Some(&tag), SDP, HOLD)), ["100 2 INVITE"]);
    assert_eq!(bench.events[0], DialogEvent::Confirmed { sdp: None }, "it shows that the 200 arrived");
    assert_eq!(bench.ask(&request("ACK", 1, "a1", Some(&tag), "", "")), [""; 0]);
    bench.act(|end, now| end.answer_reinvite(now, leg, Err(488))).unwrap();
    assert_eq!(bench.names(), ["488 2 INVITE"]);
    bench.put(&request("ACK", 2, "i2", Some(&tag), "", ""));
    bench.put(&request("BYE", 3, "b", Some(&tag), "", ""));
    bench.must_be_clean();
}

#[test]
fn our_offer_must_be_answered() {
    let mut bench = Bench::new();
    bench.put(&request("INVITE", 1, "inv", None, "", ""));
    let leg = bench.calls[0].0;
    bench.act(|end, now| end.answer(now, leg, offer())).unwrap();
    let tag = to_tag(bench.last()).unwrap();
    assert_eq!(bench.ask(&request("INVITE", 2, "i2", Some(&tag), SDP, BODY)), ["491 2 INVITE"], "our offer is open");
    assert_eq!(bench.ask(&request("ACK", 1, "a1", Some(&tag), "", "")), ["BYE 1"]);
    assert!(header(bench.last(), "Reason").unwrap().starts_with("SIP;cause=488"));
    assert!(matches!(bench.events.last(), Some(DialogEvent::Ended { by_remote: false, status: Some(488), .. })));
    let bye = bench.last().to_owned();
    bench.put(&response(&bye, "200 OK", "", "", ""));
    bench.must_be_clean();
}

#[test]
fn an_update_changes_the_session_too() {
    let mut bench = Bench::new();
    let tag = up(&mut bench);
    let leg = bench.calls[0].0;
    assert_eq!(bench.ask(&request("UPDATE", 2, "u2", Some(&tag), SDP, HOLD)), [""; 0]);
    assert!(matches!(bench.events.last(), Some(DialogEvent::Reinvite { sdp: Some(_) })));
    assert_eq!(bench.ask(&request("UPDATE", 3, "u3", Some(&tag), SDP, HOLD)), ["500 3 UPDATE"]);
    bench.act(|end, now| end.answer_reinvite(now, leg, Ok(Bytes::from_static(ANSWER)))).unwrap();
    assert!(bench.last().ends_with(std::str::from_utf8(ANSWER).unwrap()));
    bench.put(&request("BYE", 9, "b", Some(&tag), "", ""));
    bench.must_be_clean();
}

#[test]
fn routes_are_kept_and_come_back() {
    let mut bench = Bench::new();
    let extra = format!("Record-Route: <sip:10.0.0.5;lr;x=%41>, <sip:10.0.0.6:5070;lr>\n{SDP}");
    bench.put(&request("INVITE", 1, "inv", None, &extra, BODY));
    let leg = bench.calls[0].0;
    bench.act(|end, now| end.answer(now, leg, Bytes::from_static(ANSWER))).unwrap();
    assert_eq!(header(bench.last(), "Record-Route"), Some("<sip:10.0.0.5;lr;x=%41>, <sip:10.0.0.6:5070;lr>"));
    let tag = to_tag(bench.last()).unwrap();
    bench.put(&request("ACK", 1, "a1", Some(&tag), "", ""));
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    let bye = bench.last().to_owned();
    assert!(bye.starts_with("BYE sip:alice@10.0.0.1:5060 SIP/2.0"));
    let routes: Vec<&str> = bye.lines().filter_map(|line| line.strip_prefix("Route: ")).collect();
    assert_eq!(routes, ["<sip:10.0.0.5;lr;x=%41>", "<sip:10.0.0.6:5070;lr>"]);
    assert_eq!(bench.sent.last().unwrap().0.remote, "10.0.0.5:5060".parse().unwrap());
    bench.put(&response(&bye, "200 OK", "", "", ""));
    bench.must_be_clean();
}

#[test]
fn a_strict_router_gets_itself_in_the_request_line() {
    let mut bench = Bench::new();
    let invite = placed(&mut bench);
    let extra =
        format!("Contact: <sip:bob@10.0.0.8>\nRecord-Route: <sip:10.0.0.6;lr>\nRecord-Route: <sip:10.0.0.5>\n{SDP}");
    bench.put(&response(&invite, "200 OK", "bob", &extra, BODY));
    let ack = bench.last().to_owned();
    assert!(ack.starts_with("ACK sip:10.0.0.5 SIP/2.0"), "{ack}");
    let routes: Vec<&str> = ack.lines().filter_map(|line| line.strip_prefix("Route: ")).collect();
    assert_eq!(routes, ["<sip:10.0.0.6;lr>", "<sip:bob@10.0.0.8>"]);
    assert_eq!(bench.sent.last().unwrap().0.remote, "10.0.0.5:5060".parse().unwrap());
    assert_eq!(header(&ack, "CSeq"), Some("1 ACK"));
    assert_ne!(header(&ack, "Via"), header(&invite, "Via"), "the ACK of a 2xx has a branch of its own");
}

#[test]
fn a_named_next_hop_is_looked_up_and_used() {
    let mut bench = Bench::new();
    bench.put(&request("INVITE", 1, "inv", None, &format!("Record-Route: <sip:edge.example.org;lr>\n{SDP}"), BODY));
    let leg = bench.calls[0].0;
    assert!(bench.lookups.is_empty(), "an INVITE alone makes no work for the resolver");
    bench.act(|end, now| end.answer(now, leg, Bytes::from_static(ANSWER))).unwrap();
    assert_eq!(bench.lookups, [(leg, "edge.example.org".parse().unwrap())]);
    let tag = to_tag(bench.last()).unwrap();
    bench.put(&request("ACK", 1, "a1", Some(&tag), "", ""));
    bench.act(|end, now| end.info_digit(now, leg, '1', 10)).unwrap();
    assert_eq!(bench.sent.last().unwrap().0.remote, "10.0.0.1:5060".parse().unwrap(), "until it is known");
    bench.act(|end, now| end.resolved(now, leg, vec![lab::flow(0, 4)]));
    bench.act(|end, now| end.info_digit(now, leg, '2', 10)).unwrap();
    assert_eq!(bench.sent.last().unwrap().0.remote, "10.0.0.5:5060".parse().unwrap());
    assert_eq!(bench.lookups.len(), 1);
}

#[test]
fn responses_go_where_the_via_and_the_source_say() {
    let source: std::net::SocketAddr = "203.0.113.9:40000".parse().unwrap();
    for (via, remote, stamp) in [
        (
            "10.0.0.1:5060;rport",
            "203.0.113.9:40000",
            "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKo;received=203.0.113.9;rport=40000",
        ),
        ("198.51.100.1:5070", "203.0.113.9:5070", "SIP/2.0/UDP 198.51.100.1:5070;branch=z9hG4bKo;received=203.0.113.9"),
        // Behind a NAT, whose outside has another port than the inside that the client knows.
        ("10.0.0.1:5070", "203.0.113.9:40000", "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKo;received=203.0.113.9"),
        ("host.example.org", "203.0.113.9:5060", "SIP/2.0/UDP host.example.org;branch=z9hG4bKo;received=203.0.113.9"),
        (
            "198.51.100.1;maddr=192.0.2.66",
            "203.0.113.9:5060",
            "SIP/2.0/UDP 198.51.100.1;maddr=192.0.2.66;branch=z9hG4bKo;received=203.0.113.9",
        ),
    ] {
        let mut bench = Bench::new();
        bench.way.remote = source;
        let options = request("OPTIONS", 1, "o", None, "", "").replace("10.0.0.1:5060;rport;", &format!("{via};"));
        bench.put(&options);
        assert_eq!(bench.sent[0].0.remote, remote.parse().unwrap(), "{via}");
        assert_eq!(header(bench.last(), "Via"), Some(stamp));
    }
}

#[test]
fn behind_a_nat_requests_go_to_where_packets_came_from() {
    let mut bench = Bench::new();
    bench.way.remote = "203.0.113.9:40000".parse().unwrap();
    up(&mut bench);
    let leg = bench.calls[0].0;
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    assert!(bench.last().starts_with("BYE sip:alice@10.0.0.1:5060 SIP/2.0"));
    assert_eq!(bench.sent.last().unwrap().0.remote, "203.0.113.9:40000".parse().unwrap());
}

#[test]
fn a_nat_that_gives_another_port_is_followed() {
    let mut bench = Bench::new();
    bench.way.remote = "203.0.113.9:40000".parse().unwrap();
    let tag = up(&mut bench);
    bench.way.remote = "203.0.113.9:41111".parse().unwrap();
    assert_eq!(bench.ask(&request("INFO", 2, "i", Some(&tag), "", "")), ["200 2 INFO"]);
    let leg = bench.calls[0].0;
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    assert_eq!(bench.sent.last().unwrap().0.remote, "203.0.113.9:41111".parse().unwrap());
}

#[test]
fn a_peer_of_rfc_2543_without_branches() {
    let mut bench = Bench::new();
    let old = |message: String| message.replace(";rport;branch=z9hG4bKx", "").replace(";tag=peer", "");
    let invite = old(request("INVITE", 1, "x", None, SDP, BODY));
    assert_eq!(bench.ask(&invite), ["100 1 INVITE"]);
    assert_eq!(bench.ask(&invite), ["100 1 INVITE"]);
    assert_eq!(bench.calls.len(), 1);
    let leg = bench.calls[0].0;
    bench.act(|end, now| end.reject(now, leg, 486, None, Vec::new())).unwrap();
    let tag = to_tag(bench.last()).unwrap();
    bench.put(&old(request("ACK", 1, "x", Some(&tag), "", "")));
    bench.take();
    bench.run(Duration::from_secs(4));
    assert_eq!(bench.names(), [""; 0], "the ACK stopped the repetitions");
    bench.must_be_clean();
}

// --- Calls that we place ---

#[test]
fn a_fork_is_picked_up_twice() {
    let mut bench = Bench::new();
    let invite = placed(&mut bench);
    let contact = |n: u8| format!("Contact: <sip:bob@10.0.0.{n}>\n{SDP}");
    bench.put(&response(&invite, "180 Ringing", "first", &contact(8), ""));
    bench.put(&response(&invite, "180 Ringing", "second", &contact(9), ""));
    bench.put(&response(&invite, "200 OK", "second", &contact(9), BODY));
    assert_eq!(bench.names(), ["ACK 1"]);
    bench.take();
    bench.put(&response(&invite, "200 OK", "first", &contact(8), BODY));
    assert_eq!(bench.names(), ["ACK 1", "BYE 2"], "one unit");
    for (flow, message) in &bench.sent {
        assert_eq!(to_tag(message).as_deref(), Some("first"));
        assert_eq!(flow.remote, "10.0.0.8:5060".parse().unwrap());
    }
    let bye = bench.take().pop().unwrap();
    bench.put(&response(&bye, "200 OK", "", "", ""));
    for tag in ["first", "second"] {
        let again = response(&invite, "200 OK", tag, &contact(9), BODY);
        assert_eq!(bench.ask(&again), ["ACK 1"], "each is acknowledged each time");
        assert_eq!(to_tag(bench.last()).as_deref(), Some(tag));
    }
    let answers = bench.events.iter().filter(|event| matches!(event, DialogEvent::Answered { .. })).count();
    assert_eq!(answers, 1);
}

#[test]
fn redirects_and_refusals_are_reported() {
    for (status, extra, contacts, text, q850) in [
        (
            "302 Moved Temporarily",
            "Contact: <sip:carol@example.org;x=%41>, <sip:dave@example.org>;q=0.1\n",
            2,
            "Moved Temporarily",
            None,
        ),
        ("486 Busy Here", "Reason: Q.850;cause=17;text=\"user busy\"\n", 0, "user busy", Some(17)),
        ("603 Decline", "Contact: <sip:carol@example.org>\n", 0, "Decline", None),
    ] {
        let mut bench = Bench::new();
        let invite = placed(&mut bench);
        let refusal = response(&invite, status, "bob", extra, "");
        assert_eq!(bench.ask(&refusal), ["ACK 1"]);
        assert_eq!(header(bench.last(), "Via"), header(&invite, "Via"), "part of the transaction");
        assert_eq!(bench.ask(&refusal), ["ACK 1"], "and again");
        let [DialogEvent::Ended { by_remote: true, status: code, reason, q850: cause, contacts: found }] =
            &bench.events[..]
        else {
            panic!("{:?}", bench.events)
        };
        assert_eq!(code.unwrap().to_string(), status[..3]);
        assert_eq!((reason.as_deref(), *cause, found.len()), (Some(text), q850, contacts));
        assert_eq!(found.first().map_or("sip:carol@example.org;x=%41", String::as_str), "sip:carol@example.org;x=%41");
        bench.must_be_clean();
    }
}

fn with_credentials(bench: &mut Bench) -> String {
    let mut call = invite(1, 0, Some(OFFER));
    call.credentials =
        Some(callbox_sip::Credentials { username: "alice".into(), password: "secret".into(), realm: None });
    bench.act(|end, now| end.invite(now, call)).unwrap();
    bench.take().pop().unwrap()
}

#[test]
fn challenges_are_answered_by_proxy_and_server() {
    let mut bench = Bench::new();
    let first = with_credentials(&mut bench);
    let proxy = "Proxy-Authenticate: Digest realm=\"proxy\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256\n";
    assert_eq!(
        bench.ask(&response(&first, "407 Proxy Authentication Required", "p", proxy, "")),
        ["ACK 1", "INVITE 2"]
    );
    let second = bench.last().to_owned();
    assert_eq!(header(&second, "Call-ID"), header(&first, "Call-ID"));
    assert_eq!(header(&second, "From"), header(&first, "From"));
    assert_ne!(header(&second, "Via"), header(&first, "Via"));
    assert!(header(&second, "Proxy-Authorization").unwrap().contains("nonce=\"n1\""));
    let server = "WWW-Authenticate: Digest realm=\"server\", nonce=\"n2\", qop=\"auth\"\n";
    assert_eq!(bench.ask(&response(&second, "401 Unauthorized", "s", server, "")), ["ACK 2", "INVITE 3"]);
    let third = bench.last().to_owned();
    assert!(header(&third, "Authorization").is_some() && header(&third, "Proxy-Authorization").is_some());
    bench.put(&response(&third, "200 OK", "bob", &format!("Contact: <sip:bob@10.0.0.1>\n{SDP}"), BODY));
    assert_eq!(header(bench.last(), "CSeq"), Some("3 ACK"));
    assert_eq!(header(bench.last(), "Authorization"), header(&third, "Authorization"), "RFC 3261 §22.1");
    let leg = callbox_sip::ua::LegId(1);
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    assert_eq!(header(bench.last(), "CSeq"), Some("4 BYE"));
    assert!(header(bench.last(), "Authorization").unwrap().contains("nc=00000002"), "counted on, without being asked");
    let bye = bench.last().to_owned();
    let stale = "WWW-Authenticate: Digest realm=\"server\", nonce=\"n3\", qop=\"auth\", stale=true\n";
    assert_eq!(bench.ask(&response(&bye, "401 Unauthorized", "", stale, "")), ["BYE 5"]);
    assert!(header(bench.last(), "Authorization").unwrap().contains("nonce=\"n3\""));
    let bye = bench.last().to_owned();
    bench.put(&response(&bye, "200 OK", "", "", ""));
    bench.must_be_clean();
}

#[test]
fn wrong_credentials_are_not_tried_for_ever() {
    let mut bench = Bench::new();
    let mut request = with_credentials(&mut bench);
    for n in 0..5 {
        let challenge = format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"n{n}\", qop=\"auth\"\n");
        bench.put(&response(&request, "401 Unauthorized", "s", &challenge, ""));
        request = bench.last().to_owned();
        if !request.starts_with("INVITE") {
            break;
        }
    }
    assert!(matches!(bench.events[..], [DialogEvent::Ended { status: Some(401), .. }]), "{:?}", bench.events);
    bench.must_be_clean();
}

#[test]
fn without_credentials_a_challenge_is_a_refusal() {
    let mut bench = Bench::new();
    let request = placed(&mut bench);
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\n";
    assert_eq!(bench.ask(&response(&request, "401 Unauthorized", "s", challenge, "")), ["ACK 1"]);
    assert!(matches!(bench.events[..], [DialogEvent::Ended { status: Some(401), .. }]));
    bench.must_be_clean();
}

/// A call of ours that is up; gives its leg.
fn talking(bench: &mut Bench) -> callbox_sip::ua::LegId {
    let leg = bench.act(|end, now| end.invite(now, invite(1, 0, Some(OFFER)))).unwrap();
    let invite = bench.take().pop().unwrap();
    bench.put(&response(&invite, "200 OK", "bob", &format!("Contact: <sip:bob@10.0.0.1:5060>\n{SDP}"), BODY));
    bench.take();
    bench.events.clear();
    leg
}

/// A request of the callee in the dialog that an INVITE of ours made.
fn from_callee(ours: &str, method: &str, cseq: u32, extra: &str, body: &str) -> String {
    let (from, to) = (header(ours, "To").unwrap(), header(ours, "From").unwrap());
    format!(
        "{method} sip:alice@10.0.0.2 SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bK{method}{cseq}\nFrom: {from}\n\
         To: {to}\nCall-ID: {}\nCSeq: {cseq} {method}\nMax-Forwards: 70\n{extra}Content-Length: {}\n\n{body}",
        header(ours, "Call-ID").unwrap(),
        body.len()
    )
}

#[test]
fn a_transfer_is_reported_until_its_end() {
    let mut bench = Bench::new();
    let leg = talking(&mut bench);
    let target = Uri::from_text("sip:carol@example.org?Replaces=a%3Bto-tag%3D1").unwrap();
    bench.act(|end, now| end.refer(now, leg, &target, Vec::new())).unwrap();
    let refer = bench.last().to_owned();
    assert_eq!(header(&refer, "Refer-To"), Some("<sip:carol@example.org?Replaces=a%3Bto-tag%3D1>"));
    assert!(bench.act(|end, now| end.refer(now, leg, &target, Vec::new())).is_err(), "one at a time");
    let fragment = |n: u32, state: &str, body: &str| {
        let extra = format!("Event: refer;id=2\nSubscription-State: {state}\nContent-Type: message/sipfrag\n");
        from_callee(&refer, "NOTIFY", n, &extra, body)
    };
    // The first report may overtake the 202.
    assert_eq!(bench.ask(&fragment(11, "active", "SIP/2.0 100 Trying\r\n")), ["200 11 NOTIFY"]);
    bench.put(&response(&refer, "202 Accepted", "", "", ""));
    assert_eq!(bench.ask(&fragment(12, "active", "SIP/2.0 180 Ringing\r\n")), ["200 12 NOTIFY"]);
    // The transferee hangs up with us, and reports afterwards.
    assert_eq!(bench.ask(&from_callee(&refer, "BYE", 13, "", "")), ["200 13 BYE"]);
    assert_eq!(bench.ask(&fragment(14, "terminated;reason=noresource", "SIP/2.0 200 OK\r\n")), ["200 14 NOTIFY"]);
    assert_eq!(bench.ask(&fragment(15, "terminated", "SIP/2.0 200 OK\r\n")), ["481 15 NOTIFY"], "now it is over");
    let progress: Vec<u16> = bench
        .events
        .iter()
        .filter_map(|event| match event {
            DialogEvent::ReferProgress { status, .. } => Some(*status),
            _ => None,
        })
        .collect();
    assert_eq!(progress, [100, 180, 200], "the end of the call waited for it");
    assert!(matches!(bench.events.last(), Some(DialogEvent::Ended { by_remote: true, .. })));
    bench.must_be_clean();
}

#[test]
fn a_transfer_that_is_refused_or_stops_reporting() {
    let mut bench = Bench::new();
    let leg = talking(&mut bench);
    let target = Uri::from_text("sip:carol@example.org").unwrap();
    bench.act(|end, now| end.refer(now, leg, &target, Vec::new())).unwrap();
    let refer = bench.last().to_owned();
    bench.put(&response(&refer, "405 Method Not Allowed", "", "", ""));
    assert!(matches!(bench.events.pop(), Some(DialogEvent::ReferProgress { status: 405, .. })));
    bench.act(|end, now| end.refer(now, leg, &target, Vec::new())).unwrap();
    let refer = bench.last().to_owned();
    bench.put(&response(&refer, "200 OK", "", "Refer-Sub: false\n", ""));
    assert!(matches!(bench.events.pop(), Some(DialogEvent::ReferProgress { status: 200, .. })));
    bench.act(|end, now| end.refer(now, leg, &target, Vec::new())).unwrap();
    let refer = bench.last().to_owned();
    bench.put(&response(&refer, "202 Accepted", "", "", ""));
    let stop = from_callee(&refer, "NOTIFY", 30, "Event: refer\nSubscription-State: terminated;reason=timeout\n", "");
    assert_eq!(bench.ask(&stop), ["200 30 NOTIFY"]);
    assert!(matches!(bench.events.pop(), Some(DialogEvent::ReferProgress { status: 500, .. })));
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    bench.run(LIFE);
    bench.must_be_clean();
}

#[test]
fn a_peer_that_forgot_the_call_ends_it() {
    let mut bench = Bench::new();
    let leg = talking(&mut bench);
    bench.act(|end, now| end.reinvite(now, leg, offer())).unwrap();
    let reinvite = bench.last().to_owned();
    assert_eq!(bench.ask(&response(&reinvite, "481 Call/Transaction Does Not Exist", "", "", "")), ["ACK 2"]);
    assert!(matches!(bench.events.last(), Some(DialogEvent::Ended { by_remote: true, status: Some(481), .. })));
    bench.must_be_clean();
}

#[test]
fn a_colliding_reinvite_waits_longer_on_the_side_that_made_the_call() {
    let mut bench = Bench::new();
    let leg = talking(&mut bench);
    bench.act(|end, now| end.reinvite(now, leg, offer())).unwrap();
    let reinvite = bench.take().pop().unwrap();
    bench.put(&response(&reinvite, "491 Request Pending", "", "", ""));
    bench.take();
    bench.run(Duration::from_millis(2_099));
    assert_eq!(bench.names(), [""; 0]);
    bench.run(Duration::from_millis(1_901));
    assert!(bench.names().contains(&"INVITE 3".to_owned()), "{:?}", bench.names());
}

#[test]
fn a_large_invite_goes_by_tcp_and_falls_back() {
    let mut bench = Bench::new();
    let mut call = invite(1, 0, Some(OFFER));
    call.or_tcp = true;
    call.headers = vec![("X-Big".as_bytes().to_vec(), vec![b'x'; 1_500])]
        .into_iter()
        .map(|(name, value)| (callbox_sip::wire::HeaderName::parse(&name.into()).unwrap(), value.into()))
        .collect();
    bench.act(|end, now| end.invite(now, call)).unwrap();
    let (flow, first): (Flow, String) = bench.sent.pop().unwrap();
    assert_eq!(flow.transport, Transport::Tcp);
    assert!(header(&first, "Via").unwrap().starts_with("SIP/2.0/TCP"));
    let transaction = bench.unsent.pop().unwrap().unwrap();
    bench.act(|end, now| end.unsendable(now, transaction));
    let (flow, second) = bench.sent.pop().unwrap();
    assert_eq!(flow.transport, Transport::Udp);
    assert!(header(&second, "Via").unwrap().starts_with("SIP/2.0/UDP"));
    bench.act(|end, now| end.unsendable(now, transaction));
    assert!(matches!(bench.events[..], [DialogEvent::Ended { status: Some(503), .. }]));
    bench.must_be_clean();
}

// --- Overload ---

#[test]
fn calls_above_the_limit_get_503_and_leave_nothing() {
    let mut bench = Bench::with(SipLimits { max_calls: 1, ..SipLimits::default() });
    let tag = ringing(&mut bench);
    let second = request("INVITE", 1, "two", None, SDP, BODY).replace("bench@lab", "second@lab");
    assert_eq!(bench.ask(&second), ["503 1 INVITE"]);
    let wait: u32 = header(bench.last(), "Retry-After").unwrap().parse().unwrap();
    assert!((2..=6).contains(&wait), "{wait}");
    assert_eq!(bench.end.remembered(), (1, 0, 1));
    assert_eq!(bench.end.stats().shed_calls, 1);
    assert!(bench.act(|end, now| end.invite(now, invite(1, 0, None))).is_err(), "the limit holds for both directions");
    // What is up goes on.
    assert_eq!(bench.ask(&request("INFO", 2, "i", Some(&tag), "", "")), ["200 2 INFO"]);
    bench.put(&request("CANCEL", 1, "inv", None, "", ""));
    assert_eq!(bench.ask(&second), ["100 1 INVITE"], "there is room again");
}

#[test]
fn what_waited_too_long_is_refused_unless_it_is_known() {
    let mut bench = Bench::new();
    let old = Duration::from_millis(300);
    bench.put_aged(&request("INVITE", 1, "inv", None, SDP, BODY), old);
    assert_eq!(bench.names(), ["503 1 INVITE"]);
    bench.take();
    bench.put(&request("INVITE", 1, "inv", None, SDP, BODY));
    bench.take();
    bench.put_aged(&request("INVITE", 1, "inv", None, SDP, BODY), old);
    assert_eq!(bench.names(), ["100 1 INVITE"], "a repetition is served however old");
    assert_eq!(bench.end.stats().shed_stale, 1);
}

#[test]
fn while_draining_new_calls_and_pings_get_503() {
    let mut bench = Bench::new();
    let tag = up(&mut bench);
    bench.act(|end, _| end.drain(true));
    assert_eq!(bench.ask(&request("OPTIONS", 1, "o", None, "", "")), ["503 1 OPTIONS"]);
    let second = request("INVITE", 1, "two", None, SDP, BODY).replace("bench@lab", "second@lab");
    assert_eq!(bench.ask(&second), ["503 1 INVITE"]);
    assert_eq!(bench.ask(&request("INFO", 2, "i", Some(&tag), "", "")), ["200 2 INFO"]);
    bench.act(|end, _| end.drain(false));
    assert_eq!(bench.ask(&request("OPTIONS", 1, "o", None, "", "")), ["200 1 OPTIONS"]);
}

#[test]
fn a_flood_from_one_source_is_dropped_and_others_are_served() {
    let mut bench = Bench::with(SipLimits { requests_per_source: 10, ..SipLimits::default() });
    for n in 0..1_000 {
        bench.put(&request("OPTIONS", n, &format!("o{n}"), None, "", ""));
    }
    assert_eq!(bench.sent.len(), 10);
    assert_eq!(bench.end.stats().dropped_source, 990);
    bench.take();
    bench.way.remote = "10.0.0.77:5060".parse().unwrap();
    assert_eq!(bench.ask(&request("OPTIONS", 1, "x", None, "", "")), ["200 1 OPTIONS"]);
}

#[test]
fn a_peer_in_a_call_cannot_fill_our_memory_with_requests() {
    let mut bench = Bench::new();
    let tag = up(&mut bench);
    for n in 2..2_000 {
        bench.put(&request("INFO", n, &format!("i{n}"), Some(&tag), "", ""));
    }
    assert_eq!(bench.sent.len(), 50);
    assert_eq!(bench.end.stats().dropped_dialog, 1_948);
    bench.run(Duration::from_secs(1));
    bench.put(&request("BYE", 5_000, "b", Some(&tag), "", ""));
    bench.must_be_clean();
}

#[test]
fn an_invite_that_expires_ends_with_487() {
    let mut bench = Bench::new();
    bench.put(&request("INVITE", 1, "inv", None, &format!("Expires: 20\n{SDP}"), BODY));
    bench.take();
    bench.run(Duration::from_secs(21));
    assert!(bench.names().contains(&"487 1 INVITE".to_owned()), "{:?}", bench.names());
    bench.must_be_clean();
}

#[test]
fn a_response_that_lists_another_hop_is_not_ours() {
    let mut bench = Bench::new();
    let invite = placed(&mut bench);
    let ringing = response(&invite, "180 Ringing", "bob", "", "");
    bench.put(&ringing.replace("From:", "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\nFrom:"));
    assert_eq!((bench.events.len(), bench.end.stats().strays), (0, 1));
    bench.put(&ringing);
    assert_eq!(bench.events, [DialogEvent::Ringing]);
}
