//! Reliable provisional responses (RFC 3262) and UPDATE (RFC 3311), before the answer and after, from both sides.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lab;

use bytes::Bytes;
use callbox_sip::ua::{DialogEvent, LegId, SipError};
use callbox_sip::{DialogPolicy, Reliable, SipLimits};
use lab::{ANSWER, Bench, HOLD, LIFE, OFFER, PLAIN, Pair, SDP, header, invite, request, response, to_tag};
use std::time::Duration;

const RELIABLE: DialogPolicy = DialogPolicy { reliable: Reliable::Supported, ..PLAIN };
const REQUIRED: DialogPolicy = DialogPolicy { reliable: Reliable::Required, ..PLAIN };
const KNOWS: &str = "Supported: 100rel\nAllow: INVITE, ACK, BYE, CANCEL, PRACK, UPDATE\n";

fn text(sdp: &'static [u8]) -> &'static str {
    std::str::from_utf8(sdp).unwrap()
}

fn bench(policy: DialogPolicy) -> Bench {
    Bench::with_policy(SipLimits::default(), policy)
}

/// An INVITE with an offer, or none; gives its leg.
fn called(bench: &mut Bench, extra: &str, offer: Option<&'static [u8]>) -> LegId {
    let extra = if offer.is_some() { format!("{SDP}{extra}") } else { extra.to_owned() };
    bench.put(&request("INVITE", 1, "inv", None, &extra, offer.map_or("", text)));
    bench.calls.last().expect("the call arrived").0
}

fn progress(bench: &mut Bench, leg: LegId, sdp: &'static [u8]) {
    bench.act(|end, now| end.progress(now, leg, Bytes::from_static(sdp))).unwrap();
}

fn answer(bench: &mut Bench, leg: LegId, sdp: &'static [u8]) {
    bench.act(|end, now| end.answer(now, leg, Bytes::from_static(sdp))).unwrap();
}

/// The PRACK for the last response.
fn prack(bench: &Bench, cseq: u32, extra: &str, body: &str) -> String {
    let last = bench.last();
    let (tag, rseq) = (to_tag(last).unwrap(), header(last, "RSeq").expect("it is reliable"));
    let extra = format!("RAck: {rseq} 1 INVITE\n{extra}");
    request("PRACK", cseq, &format!("prack{cseq}"), Some(&tag), &extra, body)
}

#[test]
fn early_media_is_sent_until_it_is_acknowledged_and_the_answer_waits() {
    let mut bench = bench(RELIABLE);
    let leg = called(&mut bench, KNOWS, Some(OFFER));
    progress(&mut bench, leg, ANSWER);
    let first = bench.last().to_owned();
    assert_eq!((header(&first, "Require"), header(&first, "Contact").is_some()), (Some("100rel"), true));
    let rseq: u32 = header(&first, "RSeq").unwrap().parse().unwrap();
    assert!((1..1 << 31).contains(&rseq));
    bench.take();
    bench.run(Duration::from_millis(3_600));
    assert_eq!(bench.names(), ["183 1 INVITE"; 3], "after 0.5, 1.5 and 3.5 s");
    bench.take();
    answer(&mut bench, leg, ANSWER);
    assert!(bench.names().is_empty(), "a 2xx waits for the PRACK of a description (§3)");
    bench.put(&request("INVITE", 1, "inv", None, &format!("{SDP}{KNOWS}"), text(OFFER)));
    assert_eq!(bench.last(), first, "a repetition of the INVITE gets the same");
    // What acknowledges nothing of ours.
    for (n, rack) in
        [format!("{} 1 INVITE", rseq + 1), format!("{rseq} 2 INVITE"), format!("{rseq} 1 OPTIONS")].iter().enumerate()
    {
        let cseq = 2 + u32::try_from(n).unwrap();
        let tag = to_tag(&first).unwrap();
        let wrong = request("PRACK", cseq, &format!("w{n}"), Some(&tag), &format!("RAck: {rack}\n"), "");
        assert_eq!(bench.ask(&wrong), [format!("481 {cseq} PRACK")]);
    }
    let tag = to_tag(&first).unwrap();
    assert_eq!(bench.ask(&request("PRACK", 5, "w5", Some(&tag), "RAck: hello\n", "")), ["400 5 PRACK"]);
    let right = request("PRACK", 6, "p6", Some(&tag), &format!("RAck: {rseq} 1 INVITE\n"), "");
    assert_eq!(bench.ask(&right), ["200 6 PRACK", "200 1 INVITE"]);
    assert!(header(bench.last(), "Content-Type").is_none(), "the answer is given already (RFC 6337 §2.2)");
    assert_eq!(bench.ask(&right), ["200 6 PRACK"], "a repetition is absorbed");
    let again = request("PRACK", 7, "p7", Some(&tag), &format!("RAck: {rseq} 1 INVITE\n"), "");
    assert_eq!(bench.ask(&again), ["481 7 PRACK"], "once");
    bench.put(&request("ACK", 1, "ack", Some(&tag), "", ""));
    assert_eq!(bench.events, [DialogEvent::Confirmed { sdp: None }]);
    bench.put(&request("BYE", 8, "bye", Some(&tag), "", ""));
    bench.must_be_clean();
}

#[test]
fn plain_ringing_is_reliable_only_where_that_is_required() {
    for (policy, extra, reliable, described) in [
        (RELIABLE, KNOWS, false, true),
        (RELIABLE, "Require: 100rel\n", true, true),
        (RELIABLE, "", false, false),
        (PLAIN, KNOWS, false, false),
        (REQUIRED, KNOWS, true, true),
    ] {
        for (sdp, expected) in [(None, reliable), (Some(ANSWER), described)] {
            let mut bench = bench(policy);
            let leg = called(&mut bench, extra, Some(OFFER));
            match sdp {
                Some(sdp) => progress(&mut bench, leg, sdp),
                None => bench.act(|end, now| end.ring(now, leg)).unwrap(),
            }
            assert_eq!(header(bench.last(), "RSeq").is_some(), expected, "{policy:?} {extra} {sdp:?}");
        }
    }
    let mut refusing = bench(PLAIN);
    assert_eq!(refusing.ask(&request("INVITE", 1, "i", None, "Require: 100rel\n", "")), ["420 1 INVITE"]);
    assert_eq!(header(refusing.last(), "Unsupported"), Some("100rel"));
    let mut insisting = bench(REQUIRED);
    assert_eq!(insisting.ask(&request("INVITE", 1, "i", None, "", "")), ["421 1 INVITE"]);
    assert_eq!(header(insisting.last(), "Require"), Some("100rel"));
    let mut ims = bench(RELIABLE);
    assert_eq!(ims.ask(&request("INVITE", 1, "i", None, "Require: precondition, 100rel\n", "")), ["420 1 INVITE"]);
    assert_eq!(header(ims.last(), "Unsupported"), Some("precondition"));
    ims.must_be_clean();
}

#[test]
fn one_at_a_time_and_in_order() {
    let mut bench = bench(RELIABLE);
    let leg = called(&mut bench, "Require: 100rel\n", Some(OFFER));
    bench.act(|end, now| end.ring(now, leg)).unwrap();
    let first: u32 = header(bench.last(), "RSeq").unwrap().parse().unwrap();
    bench.act(|end, now| end.progress(now, leg, Bytes::from_static(ANSWER))).unwrap();
    bench.act(|end, now| end.ring(now, leg)).unwrap();
    assert_eq!(bench.names(), ["100 1 INVITE", "180 1 INVITE"], "the others wait (§3)");
    let confirm = prack(&bench, 2, "", "");
    assert_eq!(bench.ask(&confirm), ["200 2 PRACK", "183 1 INVITE"]);
    assert_eq!(header(bench.last(), "RSeq"), Some((first + 1).to_string().as_str()));
    let confirm = prack(&bench, 3, "", "");
    assert_eq!(bench.ask(&confirm), ["200 3 PRACK", "180 1 INVITE"]);
    assert_eq!(header(bench.last(), "RSeq"), Some((first + 2).to_string().as_str()));
    // One without a description holds nothing back.
    bench.take();
    answer(&mut bench, leg, ANSWER);
    assert_eq!(bench.names(), ["200 1 INVITE"]);
    bench.take();
    bench.run(Duration::from_millis(600));
    assert_eq!(bench.names(), ["200 1 INVITE"], "nothing provisional is repeated after the answer");
}

#[test]
fn a_prack_and_the_answer_cross() {
    let mut bench = bench(RELIABLE);
    let leg = called(&mut bench, "Require: 100rel\n", Some(OFFER));
    bench.act(|end, now| end.ring(now, leg)).unwrap();
    let confirm = prack(&bench, 2, "", "");
    let tag = to_tag(bench.last()).unwrap();
    let rack = header(&confirm.replace('\n', "\r\n"), "RAck").unwrap().to_owned();
    answer(&mut bench, leg, ANSWER);
    assert_eq!(bench.ask(&confirm), ["200 2 PRACK"], "a 481 would end the call");
    let again = request("PRACK", 3, "again", Some(&tag), &format!("RAck: {rack}\n"), "");
    assert_eq!(bench.ask(&again), ["481 3 PRACK"], "once");
    bench.put(&request("ACK", 1, "ack", Some(&tag), "", ""));
    assert_eq!(bench.events, [DialogEvent::Confirmed { sdp: None }]);
    bench.put(&request("BYE", 4, "bye", Some(&tag), "", ""));
    bench.must_be_clean();
}

#[test]
fn nobody_acknowledges() {
    let mut bench = bench(RELIABLE);
    let leg = called(&mut bench, KNOWS, Some(OFFER));
    progress(&mut bench, leg, ANSWER);
    answer(&mut bench, leg, ANSWER);
    bench.take();
    bench.run(LIFE + Duration::from_millis(10));
    let names = bench.names();
    assert_eq!(names.iter().filter(|name| *name == "183 1 INVITE").count(), 6, "{names:?}");
    assert!(names.contains(&"504 1 INVITE".to_owned()), "{names:?}");
    assert!(matches!(bench.events[..], [DialogEvent::Ended { by_remote: true, status: Some(504), .. }]));
    bench.must_be_clean();
}

#[test]
fn our_offer_goes_out_early_and_the_prack_answers_it() {
    let mut bench = bench(RELIABLE);
    let leg = called(&mut bench, KNOWS, None);
    progress(&mut bench, leg, OFFER);
    let confirm = prack(&bench, 2, SDP, text(ANSWER));
    let tag = to_tag(bench.last()).unwrap();
    assert_eq!(bench.ask(&confirm), ["200 2 PRACK"]);
    assert_eq!(bench.events, [DialogEvent::EarlyAnswer { sdp: ANSWER.to_vec() }]);
    bench.take();
    answer(&mut bench, leg, OFFER);
    assert!(header(bench.last(), "Content-Type").is_none(), "all is said");
    bench.put(&request("ACK", 1, "ack", Some(&tag), "", ""));
    assert_eq!(bench.events.last(), Some(&DialogEvent::Confirmed { sdp: None }));
    bench.put(&request("BYE", 3, "bye", Some(&tag), "", ""));
    bench.must_be_clean();
}

#[test]
fn an_early_offer_without_its_answer_ends_the_call() {
    let mut bench = bench(RELIABLE);
    let leg = called(&mut bench, KNOWS, None);
    progress(&mut bench, leg, OFFER);
    let confirm = prack(&bench, 2, "", "");
    assert_eq!(bench.ask(&confirm), ["200 2 PRACK", "488 1 INVITE"]);
    assert!(matches!(bench.events[..], [DialogEvent::Ended { by_remote: false, status: Some(488), .. }]));
    // And to a caller that knows nothing of it, an offer cannot go early at all.
    let mut plain = Bench::with_policy(SipLimits::default(), RELIABLE);
    let leg = called(&mut plain, "", None);
    let refused = plain.act(|end, now| end.progress(now, leg, Bytes::from_static(OFFER)));
    assert!(matches!(refused, Err(SipError::NotNow(_))));
}

#[test]
fn an_offer_in_the_prack_is_answered_in_its_200() {
    let mut bench = bench(RELIABLE);
    let leg = called(&mut bench, KNOWS, Some(OFFER));
    progress(&mut bench, leg, ANSWER);
    let tag = to_tag(bench.last()).unwrap();
    let confirm = prack(&bench, 2, SDP, text(HOLD));
    assert_eq!(bench.ask(&confirm), [""; 0], "its user answers");
    assert_eq!(bench.events, [DialogEvent::Reinvite { sdp: Some(HOLD.to_vec()) }]);
    answer(&mut bench, leg, ANSWER);
    assert!(bench.names().is_empty(), "the 2xx waits for that, too");
    bench.act(|end, now| end.answer_reinvite(now, leg, Ok(Bytes::from_static(ANSWER)))).unwrap();
    assert_eq!(bench.names(), ["200 2 PRACK", "200 1 INVITE"]);
    assert!(bench.sent[0].1.ends_with(text(ANSWER)));
    bench.put(&request("ACK", 1, "ack", Some(&tag), "", ""));
    bench.put(&request("BYE", 3, "bye", Some(&tag), "", ""));
    bench.must_be_clean();
}

#[test]
fn an_update_before_the_answer() {
    let mut bench = bench(RELIABLE);
    let leg = called(&mut bench, KNOWS, Some(OFFER));
    progress(&mut bench, leg, ANSWER);
    let tag = to_tag(bench.last()).unwrap();
    let sdp = |bench: &mut Bench| bench.act(|end, now| end.update(now, leg, Bytes::from_static(OFFER)));
    assert!(matches!(sdp(&mut bench), Err(SipError::NotNow(_))), "not before the PRACK");
    let confirm = prack(&bench, 2, "", "");
    bench.put(&confirm);
    assert_eq!(bench.ask(&request("UPDATE", 3, "u3", Some(&tag), SDP, text(HOLD))), [""; 0]);
    assert_eq!(bench.events, [DialogEvent::Reinvite { sdp: Some(HOLD.to_vec()) }]);
    assert_eq!(bench.ask(&request("UPDATE", 4, "u4", Some(&tag), SDP, text(HOLD))), ["500 4 UPDATE"]);
    assert!(header(bench.last(), "Retry-After").is_some(), "RFC 3311 §5.2");
    bench.act(|end, now| end.answer_reinvite(now, leg, Ok(Bytes::from_static(ANSWER)))).unwrap();
    assert_eq!(bench.ask(&request("UPDATE", 5, "u5", Some(&tag), "", "")), ["200 5 UPDATE"], "a mere refresh");
    assert_eq!(bench.ask(&request("UPDATE", 6, "u6", Some(&tag), SDP, text(HOLD))), ["200 6 UPDATE"], "nothing new");
    assert!(bench.last().ends_with(text(ANSWER)));
    // And one of ours.
    bench.take();
    sdp(&mut bench).unwrap();
    let update = bench.last().to_owned();
    assert!(update.starts_with("UPDATE sip:alice@10.0.0.1:5060 SIP/2.0") && update.ends_with(text(OFFER)));
    assert_eq!(bench.ask(&request("UPDATE", 7, "u7", Some(&tag), SDP, text(OFFER))), ["491 7 UPDATE"], "ours is open");
    bench.put(&response(&update, "200 OK", "", &format!("Contact: <sip:alice@10.0.0.1:5061>\n{SDP}"), text(HOLD)));
    assert_eq!(bench.events.last(), Some(&DialogEvent::ReinviteAnswered { sdp: Some(HOLD.to_vec()) }));
    answer(&mut bench, leg, ANSWER);
    bench.put(&request("ACK", 1, "ack", Some(&tag), "", ""));
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    let bye = bench.last().to_owned();
    assert!(bye.starts_with("BYE sip:alice@10.0.0.1:5061"), "the 200 moved the target");
    bench.put(&response(&bye, "200 OK", "", "", ""));
    bench.must_be_clean();
}

#[test]
fn an_update_that_comes_too_early() {
    let mut bench = bench(RELIABLE);
    let leg = called(&mut bench, KNOWS, Some(OFFER));
    bench.act(|end, now| end.ring(now, leg)).unwrap();
    let tag = to_tag(bench.last()).unwrap();
    assert_eq!(bench.ask(&request("UPDATE", 2, "u2", Some(&tag), SDP, text(HOLD))), ["500 2 UPDATE"]);
    assert_eq!(bench.ask(&request("UPDATE", 3, "u3", Some(&tag), "", "")), ["200 3 UPDATE"]);
    // Our early offer is open.
    let mut late = Bench::with_policy(SipLimits::default(), RELIABLE);
    let leg = called(&mut late, KNOWS, None);
    progress(&mut late, leg, OFFER);
    let tag = to_tag(late.last()).unwrap();
    assert_eq!(late.ask(&request("UPDATE", 2, "u2", Some(&tag), SDP, text(HOLD))), ["491 2 UPDATE"]);
}

/// Our call to the scripted peer; gives the leg and the INVITE.
fn placed(bench: &mut Bench, offer: Option<&[u8]>) -> (LegId, String) {
    let leg = bench.act(|end, now| end.invite(now, invite(1, 0, offer))).unwrap();
    (leg, bench.take().pop().unwrap())
}

fn early(invite: &str, status: &str, tag: &str, rseq: u32, body: Option<&'static [u8]>) -> String {
    let mut extra =
        format!("Contact: <sip:{tag}@10.0.0.1:5060>\nRequire: 100rel\nRSeq: {rseq}\nAllow: UPDATE, PRACK\n");
    if body.is_some() {
        extra.push_str(SDP);
    }
    response(invite, status, tag, &extra, body.map_or("", text))
}

#[test]
fn each_reliable_response_is_acknowledged_once_and_in_order() {
    let mut bench = bench(RELIABLE);
    let (leg, invite) = placed(&mut bench, Some(OFFER));
    assert!(header(&invite, "Supported").unwrap().contains("100rel") && header(&invite, "Require").is_none());
    assert_eq!(bench.ask(&early(&invite, "183 Session Progress", "bob", 7, Some(ANSWER))), ["PRACK 2"]);
    let prack = bench.last().to_owned();
    assert_eq!(header(&prack, "RAck"), Some("7 1 INVITE"));
    assert!(prack.starts_with("PRACK sip:bob@10.0.0.1:5060 SIP/2.0"));
    assert_eq!(bench.ask(&early(&invite, "183 Session Progress", "bob", 7, Some(ANSWER))), [""; 0], "a repetition");
    assert_eq!(bench.ask(&early(&invite, "180 Ringing", "bob", 9, None)), [""; 0], "8 was overtaken");
    assert_eq!(bench.ask(&early(&invite, "180 Ringing", "bob", 8, None)), ["PRACK 3"]);
    // Another branch counts for itself, in its own dialog.
    assert_eq!(bench.ask(&early(&invite, "180 Ringing", "eve", 100, None)), ["PRACK 2"]);
    assert_eq!(header(bench.last(), "RAck"), Some("100 1 INVITE"));
    assert!(header(bench.last(), "To").unwrap().contains("tag=eve"));
    assert_eq!(
        bench.events,
        [DialogEvent::Progress { sdp: Some(ANSWER.to_vec()), branch: 0 }, DialogEvent::Ringing, DialogEvent::Ringing]
    );
    // The 2xx says nothing new, and goes on from the counters of its branch.
    bench.put(&response(&invite, "200 OK", "bob", "Contact: <sip:bob@10.0.0.1:5060>\n", ""));
    assert_eq!(bench.events.last(), Some(&DialogEvent::Answered { sdp: Some(ANSWER.to_vec()) }));
    // The other branch answers as well: its BYE goes on from its own PRACK.
    bench.take();
    bench.put(&response(&invite, "200 OK", "eve", "Contact: <sip:eve@10.0.0.1:5060>\n", ""));
    assert_eq!(bench.names(), ["ACK 1", "BYE 3"]);
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    assert_eq!(header(bench.last(), "CSeq"), Some("4 BYE"));
    bench.run(LIFE);
    bench.must_be_clean();
}

#[test]
fn a_challenged_prack_is_sent_again() {
    let mut bench = bench(RELIABLE);
    let mut call = invite(1, 0, Some(OFFER));
    call.credentials = Some(callbox_sip::ua::Credentials { username: "u".into(), password: "p".into(), realm: None });
    bench.act(|end, now| end.invite(now, call)).unwrap();
    let invite = bench.take().pop().unwrap();
    bench.put(&early(&invite, "183 Session Progress", "bob", 1, Some(ANSWER)));
    let prack = bench.last().to_owned();
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\n";
    bench.put(&response(&prack, "401 Unauthorized", "", challenge, ""));
    assert_eq!(header(bench.last(), "CSeq"), Some("3 PRACK"));
    assert_eq!(header(bench.last(), "RAck"), Some("1 1 INVITE"));
    assert!(header(bench.last(), "Authorization").is_some());
}

#[test]
fn challenges_without_end_are_answered_a_few_times() {
    let mut bench = bench(PLAIN);
    let mut call = invite(1, 0, Some(OFFER));
    call.credentials = Some(callbox_sip::ua::Credentials { username: "u".into(), password: "p".into(), realm: None });
    let leg = bench.act(|end, now| end.invite(now, call)).unwrap();
    let invite = bench.take().pop().unwrap();
    let contact = format!("Contact: <sip:bob@10.0.0.1:5060>\n{SDP}");
    bench.put(&response(&invite, "200 OK", "bob", &contact, text(ANSWER)));
    bench.take();
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    let mut byes = 0;
    // Each realm by itself looks as if its nonce had run out in between.
    while let Some(bye) = bench.take().pop() {
        byes += 1;
        assert!(byes < 10, "for ever");
        let challenge = format!("WWW-Authenticate: Digest realm=\"r{}\", nonce=\"n{byes}\"\n", byes % 2);
        bench.put(&response(&bye, "401 Unauthorized", "", &challenge, ""));
    }
    assert_eq!(byes, 4);
    bench.must_be_clean();
}

#[test]
fn an_offer_in_a_provisional_response_is_answered_in_the_prack() {
    let mut bench = bench(RELIABLE);
    let (leg, invite) = placed(&mut bench, None);
    assert_eq!(bench.ask(&early(&invite, "183 Session Progress", "bob", 1, Some(OFFER))), [""; 0]);
    assert_eq!(bench.events, [DialogEvent::EarlyOffer { sdp: OFFER.to_vec() }]);
    bench.act(|end, now| end.ack(now, leg, Bytes::from_static(ANSWER))).unwrap();
    assert_eq!(bench.names(), ["PRACK 2"]);
    assert!(bench.last().ends_with(text(ANSWER)));
    bench.put(&response(&invite, "200 OK", "bob", "Contact: <sip:bob@10.0.0.1:5060>\n", ""));
    assert_eq!(bench.events.last(), Some(&DialogEvent::Answered { sdp: None }), "all is said");
    assert_eq!(bench.names().last().map(String::as_str), Some("ACK 1"));
    // An UPDATE of ours goes out where the far end allows it.
    bench.act(|end, now| end.update(now, leg, Bytes::from_static(HOLD))).unwrap();
    assert!(bench.last().starts_with("UPDATE "));
}

#[test]
fn an_update_to_a_branch_that_agreed() {
    let mut bench = bench(RELIABLE);
    let (leg, invite) = placed(&mut bench, Some(OFFER));
    let update = |bench: &mut Bench| bench.act(|end, now| end.update(now, leg, Bytes::from_static(HOLD)));
    assert!(matches!(update(&mut bench), Err(SipError::NotNow(_))));
    bench.put(&early(&invite, "183 Session Progress", "bob", 1, Some(ANSWER)));
    bench.take();
    update(&mut bench).unwrap();
    assert_eq!(bench.names(), ["UPDATE 3"]);
    let sent = bench.last().to_owned();
    assert!(header(&sent, "To").unwrap().contains("tag=bob"));
    bench.put(&response(&sent, "491 Request Pending", "", "", ""));
    bench.run(Duration::from_secs(4));
    assert_eq!(bench.names().last().map(String::as_str), Some("UPDATE 4"), "again after 2.1 to 4 s");
    let sent = bench.last().to_owned();
    bench.put(&response(&sent, "200 OK", "", SDP, text(ANSWER)));
    assert!(matches!(bench.events.last(), Some(DialogEvent::ReinviteAnswered { .. })));
    let theirs = |cseq: u32, sdp: &str| {
        let (from, to) = (header(&sent, "To").unwrap(), header(&sent, "From").unwrap());
        request("UPDATE", cseq, &format!("u{cseq}"), None, SDP, sdp)
            .replace("\"A\" <sip:alice@10.0.0.1>;tag=peer", from)
            .replace(
                "<sip:robot@10.0.0.2>\nCall-ID: bench@lab",
                &format!("{to}\nCall-ID: {}", header(&sent, "Call-ID").unwrap()),
            )
    };
    assert_eq!(bench.ask(&theirs(1, text(OFFER))), [""; 0]);
    assert_eq!(bench.events.last(), Some(&DialogEvent::Reinvite { sdp: Some(OFFER.to_vec()) }));
    assert_eq!(bench.ask(&theirs(2, text(OFFER))), ["500 2 UPDATE"]);
    bench.act(|end, now| end.answer_reinvite(now, leg, Ok(Bytes::from_static(HOLD)))).unwrap();
    bench.put(&response(&invite, "486 Busy Here", "bob", "", ""));
    assert!(matches!(bench.events.last(), Some(DialogEvent::Ended { status: Some(486), .. })));
    bench.must_be_clean();
}

#[test]
fn the_answer_repeats_what_was_agreed_last() {
    for (updated, said, told) in [
        (false, None, Some(ANSWER)),
        (false, Some(ANSWER), Some(ANSWER)),
        (false, Some(HOLD), Some(HOLD)),
        (true, None, Some(OFFER)),
        // A copy of the early answer is not news.
        (true, Some(ANSWER), Some(OFFER)),
    ] {
        let mut bench = bench(RELIABLE);
        let (leg, invite) = placed(&mut bench, Some(OFFER));
        bench.put(&early(&invite, "183 Session Progress", "bob", 1, Some(ANSWER)));
        if updated {
            bench.act(|end, now| end.update(now, leg, Bytes::from_static(HOLD))).unwrap();
            let update = bench.last().to_owned();
            bench.put(&response(&update, "200 OK", "", SDP, text(OFFER)));
        }
        let extra = format!("Contact: <sip:bob@10.0.0.1:5060>\n{}", if said.is_some() { SDP } else { "" });
        bench.put(&response(&invite, "200 OK", "bob", &extra, said.map_or("", text)));
        let told: Option<&[u8]> = told;
        assert_eq!(bench.events.last(), Some(&DialogEvent::Answered { sdp: told.map(<[u8]>::to_vec) }));
    }
}

#[test]
fn two_of_us_with_everything_switched_on() {
    for loss in [0, 20] {
        let mut pair = Pair::with(9, REQUIRED);
        pair.loss = loss;
        let caller = pair.ends[0].invite(pair.now, invite(0, 1, Some(OFFER))).unwrap();
        pair.run(Duration::from_secs(4));
        let callee = pair.calls[1][0].0;
        pair.ends[1].ring(pair.now, callee).unwrap();
        pair.ends[1].progress(pair.now, callee, Bytes::from_static(ANSWER)).unwrap();
        pair.ends[1].answer(pair.now, callee, Bytes::from_static(ANSWER)).unwrap();
        pair.run(Duration::from_secs(30));
        let events = pair.of(0, caller);
        assert_eq!(events.last(), Some(&DialogEvent::Answered { sdp: Some(ANSWER.to_vec()) }), "{:#?}", pair.trace);
        assert_eq!(pair.of(1, callee), [DialogEvent::Confirmed { sdp: None }]);
        assert!(pair.seen(0, "PRACK 2") >= 1);
        pair.ends[1].hang_up(pair.now, callee, None).unwrap();
        pair.run(LIFE);
        pair.must_be_clean();
    }
}

#[test]
fn a_cancel_meets_a_prack() {
    let mut pair = Pair::with(1, RELIABLE);
    let (caller, callee) = pair.call(Some(OFFER));
    pair.ends[1].progress(pair.now, callee, Bytes::from_static(ANSWER)).unwrap();
    pair.run_ms(10);
    // The 183 arrived and its PRACK is on its way.
    pair.ends[0].hang_up(pair.now, caller, None).unwrap();
    pair.run_ms(100);
    assert_eq!((pair.seen(0, "PRACK 2"), pair.seen(0, "CANCEL 1")), (1, 1));
    assert_eq!(pair.ended(0, caller), Some((false, Some(487))));
    assert_eq!(pair.ended(1, callee), Some((true, Some(487))));
    pair.must_be_clean();
}

#[test]
fn an_update_and_a_reinvite_cross() {
    let mut pair = Pair::with(1, RELIABLE);
    let (caller, callee) = pair.answered();
    pair.ends[0].update(pair.now, caller, Bytes::from_static(HOLD)).unwrap();
    pair.ends[1].reinvite(pair.now, callee, Bytes::from_static(OFFER)).unwrap();
    pair.run_ms(50);
    assert_eq!((pair.seen(1, "491 2 UPDATE"), pair.seen(0, "491 1 INVITE")), (1, 1));
    for _ in 0..100 {
        pair.run_ms(50);
        for (end, leg) in [(0, caller), (1, callee)] {
            // Refused where there is none.
            let _ = pair.ends[end].answer_reinvite(pair.now, leg, Ok(Bytes::from_static(ANSWER)));
        }
    }
    for (end, leg) in [(0, caller), (1, callee)] {
        assert!(pair.of(end, leg).contains(&DialogEvent::ReinviteAnswered { sdp: Some(ANSWER.to_vec()) }));
    }
    pair.ends[0].hang_up(pair.now, caller, None).unwrap();
    pair.must_be_clean();
}
