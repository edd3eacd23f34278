//! Transfers: REFER of the peer, and calls that take the place of others.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lab;

use callbox_sip::SipError;
use callbox_sip::ua::{DialogEvent, LegId};
use callbox_sip::wire::Uri;
use lab::{ANSWER, Bench, OFFER, Pair, SDP, header, request, response, to_tag};
use std::time::Duration;

const BODY: &str = "v=0\n";
const REFER: &str = "Refer-To: <sip:carol@example.org;x=1>\nReferred-By: <sip:alice@10.0.0.1>\n";

/// A call of the scripted peer that is up; our tag in it.
fn up(bench: &mut Bench) -> (LegId, String) {
    bench.put(&request("INVITE", 1, "inv", None, SDP, BODY));
    let leg = bench.calls[0].0;
    bench.act(|end, now| end.answer(now, leg, ANSWER.into())).unwrap();
    let tag = to_tag(bench.last()).unwrap();
    bench.put(&request("ACK", 1, "ack", Some(&tag), "", ""));
    bench.take();
    bench.events.clear();
    (leg, tag)
}

fn requested(replaces: Option<&str>) -> DialogEvent {
    DialogEvent::ReferRequested {
        target: "sip:carol@example.org;x=1".into(),
        replaces: replaces.map(str::to_owned),
        referred_by: Some("<sip:alice@10.0.0.1>".into()),
    }
}

/// The one NOTIFY that was sent: its subscription state and body.
fn notify(bench: &mut Bench) -> (String, String, String) {
    let sent = bench.take();
    assert_eq!(sent.len(), 1, "{sent:?}");
    let text = sent.into_iter().next().unwrap();
    assert!(text.starts_with("NOTIFY sip:alice@10.0.0.1:5060 SIP/2.0"), "{text}");
    assert_eq!(header(&text, "Content-Type"), Some("message/sipfrag;version=2.0"));
    assert!(header(&text, "Contact").is_some());
    let body = text.split("\r\n\r\n").nth(1).unwrap().trim_end().to_owned();
    (header(&text, "Subscription-State").unwrap().to_owned(), body, text)
}

#[test]
fn a_transfer_is_accepted_and_its_course_is_told() {
    let mut bench = Bench::new();
    let (leg, tag) = up(&mut bench);
    assert!(bench.ask(&request("REFER", 2, "r", Some(&tag), REFER, "")).is_empty(), "the user decides");
    assert_eq!(bench.events, [requested(None)]);
    bench.act(|end, now| end.answer_refer(now, leg, Ok(()))).unwrap();
    assert!(bench.sent[0].1.starts_with("SIP/2.0 202"));
    bench.sent.remove(0);
    let (state, body, text) = notify(&mut bench);
    assert_eq!((state.as_str(), body.as_str()), ("active;expires=240", "SIP/2.0 100 Trying"));
    assert_eq!(header(&text, "Event"), Some("refer"));
    // The next waits for the answer, and only the newest of them is told.
    for status in [180, 183] {
        bench.act(|end, now| end.refer_progress(now, leg, status, String::new())).unwrap();
    }
    assert!(bench.take().is_empty());
    bench.put(&response(&text, "200 OK", "", "", ""));
    let (state, body, text) = notify(&mut bench);
    assert!(state.starts_with("active"), "{state}");
    assert_eq!(body, "SIP/2.0 183 Session Progress");
    bench.put(&response(&text, "200 OK", "", "", ""));
    bench.act(|end, now| end.refer_progress(now, leg, 200, "Fine".into())).unwrap();
    let (state, body, text) = notify(&mut bench);
    assert_eq!((state.as_str(), body.as_str()), ("terminated;reason=noresource", "SIP/2.0 200 Fine"));
    bench.put(&response(&text, "200 OK", "", "", ""));
    let after = bench.act(|end, now| end.refer_progress(now, leg, 200, String::new()));
    assert!(matches!(after, Err(SipError::NotNow(_))));
    // The next REFER in the dialog is told apart by its number.
    bench.put(&request("REFER", 3, "r2", Some(&tag), REFER, ""));
    bench.act(|end, now| end.answer_refer(now, leg, Ok(()))).unwrap();
    bench.sent.retain(|(_, text)| text.starts_with("NOTIFY"));
    assert_eq!(header(&notify(&mut bench).2, "Event"), Some("refer;id=3"));
    bench.put(&request("BYE", 4, "b", Some(&tag), "", ""));
    bench.run(Duration::from_secs(300));
    bench.must_be_clean();
}

#[test]
fn a_transfer_is_refused_by_the_user_or_by_time() {
    let mut bench = Bench::new();
    let (leg, tag) = up(&mut bench);
    bench.put(&request("REFER", 2, "r", Some(&tag), REFER, ""));
    bench.act(|end, now| end.answer_refer(now, leg, Err(603))).unwrap();
    assert_eq!(bench.names(), ["603 2 REFER"]);
    bench.take();
    bench.put(&request("REFER", 3, "s", Some(&tag), REFER, ""));
    assert_eq!(bench.ask(&request("REFER", 4, "t", Some(&tag), REFER, "")), ["491 4 REFER"], "one at a time");
    bench.take();
    bench.run(Duration::from_secs(11));
    assert_eq!(bench.names(), ["603 3 REFER"]);
    assert!(matches!(bench.act(|end, now| end.answer_refer(now, leg, Ok(()))), Err(SipError::NotNow(_))));
    for (n, bad) in ["", "Refer-To: <sip:a@h>\nRefer-To: <sip:b@h>\n"].iter().enumerate() {
        let cseq = 5 + u32::try_from(n).unwrap();
        assert_eq!(
            bench.ask(&request("REFER", cseq, &format!("x{n}"), Some(&tag), bad, "")),
            [format!("400 {cseq} REFER")]
        );
    }
    // The end of the call is the end of the question.
    bench.put(&request("REFER", 8, "u", Some(&tag), REFER, ""));
    let names = bench.ask(&request("BYE", 9, "b", Some(&tag), "", ""));
    assert!(names.contains(&"603 8 REFER".to_owned()) && names.contains(&"200 9 BYE".to_owned()), "{names:?}");
    bench.must_be_clean();
}

#[test]
fn an_attended_transfer_says_whom_to_replace() {
    let mut bench = Bench::new();
    let (_, tag) = up(&mut bench);
    let refer = "Refer-To: <sip:carol@example.org;x=1?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2>\n\
                 Referred-By: <sip:alice@10.0.0.1>\n";
    bench.put(&request("REFER", 2, "r", Some(&tag), refer, ""));
    assert_eq!(bench.events, [requested(Some("a@b;to-tag=1;from-tag=2"))]);
}

#[test]
fn who_wants_no_reports_gets_none() {
    let mut bench = Bench::new();
    let (leg, tag) = up(&mut bench);
    bench.put(&request("REFER", 2, "r", Some(&tag), &format!("{REFER}Refer-Sub: false\n"), ""));
    bench.act(|end, now| end.answer_refer(now, leg, Ok(()))).unwrap();
    assert_eq!(bench.names(), ["202 2 REFER"]);
    assert_eq!(header(bench.last(), "Refer-Sub"), Some("false"));
    bench.act(|end, now| end.refer_progress(now, leg, 200, String::new())).unwrap();
    assert_eq!(bench.names().len(), 1);
}

#[test]
fn whoever_transferred_hangs_up_and_is_told_all_the_same() {
    let mut bench = Bench::new();
    let (leg, tag) = up(&mut bench);
    bench.put(&request("REFER", 2, "r", Some(&tag), REFER, ""));
    bench.act(|end, now| end.answer_refer(now, leg, Ok(()))).unwrap();
    bench.sent.retain(|(_, text)| text.starts_with("NOTIFY"));
    let (_, _, text) = notify(&mut bench);
    bench.put(&response(&text, "200 OK", "", "", ""));
    assert_eq!(bench.ask(&request("BYE", 3, "b", Some(&tag), "", "")), ["200 3 BYE"]);
    assert!(matches!(bench.events.last(), Some(DialogEvent::Ended { by_remote: true, .. })));
    bench.take();
    bench.act(|end, now| end.refer_progress(now, leg, 486, String::new())).unwrap();
    let (state, body, text) = notify(&mut bench);
    assert_eq!((state.as_str(), body.as_str()), ("terminated;reason=noresource", "SIP/2.0 486 Busy Here"));
    bench.put(&response(&text, "481 Gone", "", "", ""));
    bench.must_be_clean();
}

#[test]
fn a_peer_that_does_not_know_the_subscription_keeps_its_call() {
    let mut bench = Bench::new();
    let (leg, tag) = up(&mut bench);
    bench.put(&request("REFER", 2, "r", Some(&tag), REFER, ""));
    bench.act(|end, now| end.answer_refer(now, leg, Ok(()))).unwrap();
    bench.sent.retain(|(_, text)| text.starts_with("NOTIFY"));
    let (_, _, text) = notify(&mut bench);
    bench.put(&response(&text, "481 No Subscription", "", "", ""));
    assert!(!bench.events.iter().any(|event| matches!(event, DialogEvent::Ended { .. })));
    assert!(bench.act(|end, now| end.refer_progress(now, leg, 200, String::new())).is_err());
    // A subscription that nobody brings to an end has one.
    bench.put(&request("REFER", 3, "s", Some(&tag), REFER, ""));
    bench.act(|end, now| end.answer_refer(now, leg, Ok(()))).unwrap();
    bench.sent.retain(|(_, text)| text.starts_with("NOTIFY"));
    let (_, _, text) = notify(&mut bench);
    bench.put(&response(&text, "200 OK", "", "", ""));
    bench.run(Duration::from_millis(240_100));
    assert_eq!(notify(&mut bench).0, "terminated;reason=timeout");
}

/// An INVITE with `Replaces` from elsewhere.
fn replacing(value: &str, branch: &str) -> String {
    request("INVITE", 1, branch, None, &format!("Replaces: {value}\n{SDP}"), BODY)
        .replace("Call-ID: bench@lab", &format!("Call-ID: new-{branch}@lab"))
        .replace(">;tag=peer", ">;tag=other")
}

#[test]
fn a_call_takes_the_place_of_another() {
    let mut bench = Bench::new();
    let (leg, tag) = up(&mut bench);
    bench.put(&replacing(&format!("bench@lab;to-tag={tag};from-tag=peer"), "a"));
    let replaced = bench.calls[1].1.replaces.clone().unwrap();
    assert_eq!((replaced.leg, replaced.call_id.as_str(), replaced.early), (leg, "bench@lab", false));
    for (value, status) in [
        (format!("bench@lab;to-tag={tag};from-tag=stranger"), "481"),
        (format!("bench@lab;to-tag=peer;from-tag={tag}"), "481"),
        (format!("other@lab;to-tag={tag};from-tag=peer"), "481"),
        (format!("bench@lab;to-tag={tag};from-tag=peer;early-only"), "486"),
        ("bench@lab;to-tag=1".to_owned(), "400"),
        (format!("bench@lab;to-tag={tag};from-tag=peer\nReplaces: a@b;to-tag=1;from-tag=2"), "400"),
    ] {
        let branch = format!("z{status}{}", value.len());
        let names = bench.ask(&replacing(&value, &branch));
        assert_eq!(names.last(), Some(&format!("{status} 1 INVITE")), "{value}: {names:?}");
    }
    assert_eq!(bench.calls.len(), 2);
    // A call that rings here cannot be replaced: the other one is of the same user.
    let ringing = bench.calls[1].0;
    bench.act(|end, now| end.ring(now, ringing)).unwrap();
    let tag = to_tag(bench.last()).unwrap();
    let names = bench.ask(&replacing(&format!("new-a@lab;to-tag={tag};from-tag=other"), "early"));
    assert_eq!(names.last().map(String::as_str), Some("481 1 INVITE"));
}

#[test]
fn a_call_that_is_over_is_not_replaced() {
    let mut bench = Bench::new();
    let (leg, tag) = up(&mut bench);
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    let names = bench.ask(&replacing(&format!("bench@lab;to-tag={tag};from-tag=peer"), "a"));
    assert_eq!(names.last().map(String::as_str), Some("603 1 INVITE"), "its BYE is on the way");
}

/// The whole of an attended transfer between two hosts: what one writes into REFER and INVITE, the other understands.
#[test]
fn an_attended_transfer_end_to_end() {
    let mut pair = Pair::new(1);
    // Two calls from host 0 to host 1: the one to be moved, and the consultation.
    let (caller, callee) = pair.answered();
    let second = pair.ends[0].invite(pair.now, lab::invite(0, 1, Some(OFFER))).unwrap();
    pair.run_ms(50);
    let consulted = pair.calls[1].last().unwrap().0;
    pair.ends[1].answer(pair.now, consulted, ANSWER.into()).unwrap();
    pair.run_ms(50);
    // Host 0 asks the far end of the first to call the far end of the second in its place.
    let wanted = pair.ends[0].replaces_value(second).unwrap();
    pair.ends[0].refer_replacing(pair.now, caller, second, Vec::new()).unwrap();
    pair.run_ms(50);
    let Some(DialogEvent::ReferRequested { target, replaces: Some(replaces), .. }) = pair.of(1, callee).pop() else {
        panic!("{:?}", pair.of(1, callee));
    };
    assert_eq!(replaces, wanted);
    assert_eq!(target, "sip:robot@10.0.0.2:5060");
    pair.ends[1].answer_refer(pair.now, callee, Ok(())).unwrap();
    pair.run_ms(50);
    assert_eq!(pair.of(0, caller).pop(), Some(DialogEvent::ReferProgress { status: 100, reason: "Trying".into() }));
    // Seen from host 1 that value names its own leg; from host 0, where nobody has such a dialog, it does not.
    let mut call = lab::invite(0, 1, Some(OFFER));
    call.headers.push((callbox_sip::wire::Field::Replaces.into(), replaces.into()));
    call.target = Uri::from_text(&target).unwrap();
    pair.ends[0].invite(pair.now, call).unwrap();
    pair.run_ms(50);
    assert_eq!(pair.calls[1].last().unwrap().1.replaces.as_ref().map(|r| r.leg), Some(consulted));
    pair.ends[1].refer_progress(pair.now, callee, 200, "OK".into()).unwrap();
    pair.run_ms(50);
    assert_eq!(pair.of(0, caller).pop(), Some(DialogEvent::ReferProgress { status: 200, reason: "OK".into() }));
}
