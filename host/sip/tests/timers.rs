//! Session timers (RFC 4028) in both roles.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lab;

use bytes::Bytes;
use callbox_sip::ua::{DialogEvent, LegId};
use callbox_sip::{DialogPolicy, SipLimits};
use lab::{ANSWER, Bench, HOLD, LIFE, OFFER, PLAIN, Pair, SDP, header, invite, request, response, to_tag};
use std::time::Duration;

const TIMED: DialogPolicy = DialogPolicy { session_expires_s: 1_800, ..PLAIN };
const ALLOWS: &str = "Allow: INVITE, ACK, BYE, UPDATE\n";

fn text(sdp: &'static [u8]) -> &'static str {
    std::str::from_utf8(sdp).unwrap()
}

fn bench() -> Bench {
    Bench::with_policy(SipLimits::default(), TIMED)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A call of the peer's that is up; gives its leg, the tag and our 200.
fn up(bench: &mut Bench, extra: &str) -> (LegId, String, String) {
    bench.put(&request("INVITE", 1, "inv", None, &format!("{SDP}{extra}"), text(OFFER)));
    let leg = bench.calls.last().unwrap().0;
    bench.act(|end, now| end.answer(now, leg, Bytes::from_static(ANSWER))).unwrap();
    let ok = bench.last().to_owned();
    let tag = to_tag(&ok).unwrap();
    bench.put(&request("ACK", 1, "ack", Some(&tag), "", ""));
    bench.take();
    bench.events.clear();
    (leg, tag, ok)
}

/// Our call that is up with what the 200 says; gives its leg, the INVITE and what was sent last.
fn placed(bench: &mut Bench, extra: &str) -> (LegId, String) {
    let leg = bench.act(|end, now| end.invite(now, invite(1, 0, Some(OFFER)))).unwrap();
    let invite = bench.take().pop().unwrap();
    let extra = format!("Contact: <sip:bob@10.0.0.1:5060>\n{extra}{SDP}");
    bench.put(&response(&invite, "200 OK", "bob", &extra, text(ANSWER)));
    bench.take();
    bench.events.clear();
    (leg, invite)
}

#[test]
fn what_a_caller_is_granted() {
    let timer = "Supported: timer\n";
    for (asked, granted, require) in [
        (timer.to_owned(), Some("1800;refresher=uac"), true),
        (format!("{timer}Session-Expires: 600\n"), Some("600;refresher=uac"), true),
        (format!("{timer}Session-Expires: 600;refresher=uas\n"), Some("600;refresher=uas"), false),
        (format!("{timer}Session-Expires: 7200\n"), Some("1800;refresher=uac"), true),
        (format!("{timer}Session-Expires: 7200\nMin-SE: 3600\n"), Some("3600;refresher=uac"), true),
        (format!("{timer}Min-SE: 3600\n"), Some("3600;refresher=uac"), true),
        (format!("{timer}x: 90;refresher=uac\n"), Some("90;refresher=uac"), true),
        ("Require: timer\nSession-Expires: 600\n".to_owned(), Some("600;refresher=uac"), true),
        // A proxy asked; the caller knows nothing of timers, and so it is for us to refresh.
        ("Session-Expires: 600;refresher=uac\n".to_owned(), Some("600;refresher=uas"), false),
        ("Session-Expires: 30\n".to_owned(), Some("90;refresher=uas"), false),
        (String::new(), None, false),
        ("Session-Expires: soon\n".to_owned(), None, false),
    ] {
        let mut bench = bench();
        let (_, _, ok) = up(&mut bench, &asked);
        assert_eq!(header(&ok, "Session-Expires"), granted, "{asked}");
        assert_eq!(header(&ok, "Require"), require.then_some("timer"), "{asked}");
    }
}

#[test]
fn too_short_a_timer_is_refused() {
    let mut bench = bench();
    let short = format!("{SDP}Supported: timer\nSession-Expires: 60\n");
    assert_eq!(bench.ask(&request("INVITE", 1, "inv", None, &short, text(OFFER))), ["422 1 INVITE"]);
    assert_eq!(header(bench.last(), "Min-SE"), Some("90"));
    assert_eq!(bench.end.remembered(), (0, 0, 0), "it leaves no trace");
    let (_, tag, _) = up(&mut bench, "Supported: timer\n");
    let short = short.replace(SDP, "");
    assert_eq!(bench.ask(&request("UPDATE", 2, "u", Some(&tag), &short, "")), ["422 2 UPDATE"]);
    assert_eq!(bench.ask(&request("INVITE", 3, "i", Some(&tag), &short, "")), ["422 3 INVITE"]);
}

#[test]
fn a_caller_that_stops_refreshing_is_hung_up_on() {
    let mut bench = bench();
    let (_, tag, _) = up(&mut bench, "Supported: timer\nSession-Expires: 600\n");
    bench.run(seconds(500));
    // An UPDATE without a word starts it anew, and nobody is disturbed.
    assert_eq!(
        bench.ask(&request(
            "UPDATE",
            2,
            "u2",
            Some(&tag),
            "Supported: timer\nSession-Expires: 600;refresher=uac\n",
            ""
        )),
        ["200 2 UPDATE"]
    );
    assert_eq!(header(bench.last(), "Session-Expires"), Some("600;refresher=uac"));
    bench.run(seconds(500));
    // So does a re-INVITE that repeats its description; its 200 repeats ours.
    let again =
        request("INVITE", 3, "i3", Some(&tag), &format!("{SDP}Supported: timer\nSession-Expires: 600\n"), text(OFFER));
    assert_eq!(bench.ask(&again), ["100 3 INVITE", "200 3 INVITE"]);
    assert!(bench.last().ends_with(text(ANSWER)));
    assert_eq!(bench.ask(&request("ACK", 3, "a3", Some(&tag), "", "")), [""; 0]);
    assert!(bench.events.is_empty(), "{:?}", bench.events);
    bench.run(seconds(567));
    assert!(bench.names().is_empty());
    bench.run(Duration::from_millis(1_100));
    assert_eq!(bench.names(), ["BYE 1"], "at 600 s less 32");
    assert!(header(bench.last(), "Reason").unwrap().starts_with("SIP;cause=408"));
    assert!(matches!(bench.events[..], [DialogEvent::Ended { by_remote: true, status: Some(408), .. }]));
    bench.run(LIFE);
    bench.must_be_clean();
}

#[test]
fn we_refresh_by_update_where_the_peer_takes_it() {
    let mut bench = bench();
    let (_, tag, _) = up(&mut bench, &format!("{ALLOWS}Supported: timer\nSession-Expires: 100;refresher=uas\n"));
    for n in 1..4 {
        bench.run(seconds(51));
        let update = bench.take().pop().expect("at half of the interval");
        assert_eq!(header(&update, "CSeq"), Some(format!("{n} UPDATE").as_str()));
        assert_eq!(header(&update, "Session-Expires"), Some("100;refresher=uac"));
        assert!(header(&update, "Content-Type").is_none() && header(&update, "Supported").unwrap().contains("timer"));
        bench.put(&response(&update, "200 OK", "", "Session-Expires: 100;refresher=uac\nRequire: timer\n", ""));
    }
    assert!(bench.events.is_empty());
    // Now it refuses, and then keeps silent: once more, and then that is that.
    bench.run(seconds(51));
    let update = bench.take().pop().unwrap();
    bench.put(&response(&update, "500 Server Error", "", "", ""));
    bench.run(Duration::from_millis(17_100));
    let mut names = bench.names();
    names.dedup();
    assert_eq!(names, ["UPDATE 5", "BYE 6"]);
    assert!(matches!(bench.events[..], [DialogEvent::Ended { by_remote: true, status: Some(408), .. }]));
    let _ = tag;
    bench.run(LIFE * 2);
    bench.must_be_clean();
}

#[test]
fn else_by_a_reinvite_with_the_same_description() {
    let mut bench = bench();
    let (leg, invite) = placed(&mut bench, "Session-Expires: 100;refresher=uac\nRequire: timer\n");
    assert_eq!(header(&invite, "Session-Expires"), Some("1800"));
    assert!(header(&invite, "Min-SE").is_none() && header(&invite, "Supported").unwrap().contains("timer"));
    bench.run(seconds(51));
    let again = bench.take().pop().unwrap();
    assert_eq!(header(&again, "CSeq"), Some("2 INVITE"));
    assert!(again.ends_with(text(OFFER)), "the same, version and all");
    // Its user wants something meanwhile, and need not know.
    bench.act(|end, now| end.reinvite(now, leg, Bytes::from_static(HOLD))).unwrap();
    assert!(bench.names().is_empty(), "after the refresh");
    let ok = "Session-Expires: 100;refresher=uac\nContact: <sip:bob@10.0.0.1:5060>\n";
    bench.put(&response(&again, "200 OK", "", &format!("{ok}{SDP}"), text(ANSWER)));
    assert_eq!(bench.names(), ["ACK 2", "INVITE 3"]);
    assert!(bench.events.is_empty(), "a refresh is no news");
    let held = bench.last().to_owned();
    assert!(held.ends_with(text(HOLD)));
    assert_eq!(header(&held, "Session-Expires"), Some("100;refresher=uac"));
    bench.put(&response(&held, "200 OK", "", &format!("{ok}{SDP}"), text(ANSWER)));
    assert_eq!(bench.events, [DialogEvent::ReinviteAnswered { sdp: Some(ANSWER.to_vec()) }]);
    bench.events.clear();
    bench.take();
    bench.run(seconds(51));
    let again = bench.take().pop().unwrap();
    assert!(again.ends_with(text(HOLD)), "what was agreed last");
    // An answer that says something new is news, though.
    bench.put(&response(&again, "200 OK", "", &format!("{ok}{SDP}"), text(OFFER)));
    assert_eq!(bench.events, [DialogEvent::ReinviteAnswered { sdp: Some(OFFER.to_vec()) }]);
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    bench.run(LIFE);
    bench.must_be_clean();
}

#[test]
fn a_far_end_that_does_not_take_update_after_all() {
    let mut bench = bench();
    placed(&mut bench, &format!("{ALLOWS}Session-Expires: 100;refresher=uac\n"));
    bench.run(seconds(51));
    let update = bench.take().pop().unwrap();
    assert_eq!(header(&update, "CSeq"), Some("2 UPDATE"));
    assert_eq!(bench.ask(&response(&update, "501 Not Implemented", "", "", "")), ["INVITE 3"]);
}

#[test]
fn a_far_end_that_wants_it_longer() {
    let mut bench = bench();
    bench.act(|end, now| end.invite(now, invite(1, 0, Some(OFFER)))).unwrap();
    let first = bench.take().pop().unwrap();
    assert_eq!(
        bench.ask(&response(&first, "422 Session Interval Too Small", "x", "Min-SE: 3600\n", "")),
        ["ACK 1", "INVITE 2"]
    );
    let second = bench.last().to_owned();
    assert_eq!((header(&second, "Session-Expires"), header(&second, "Min-SE")), (Some("3600"), Some("3600")));
    assert_eq!(header(&first, "Call-ID"), header(&second, "Call-ID"));
    assert!(bench.events.is_empty());
    // One that says nothing new is not asked again.
    assert_eq!(bench.ask(&response(&second, "422 Session Interval Too Small", "y", "Min-SE: 3600\n", "")), ["ACK 2"]);
    assert!(matches!(bench.events[..], [DialogEvent::Ended { status: Some(422), .. }]));
    bench.must_be_clean();
    // And one that wants more each time is not followed for ever.
    let mut endless = Bench::with_policy(SipLimits::default(), TIMED);
    endless.act(|end, now| end.invite(now, invite(1, 0, Some(OFFER)))).unwrap();
    for n in 1..10 {
        let Some(again) = endless.take().into_iter().find(|message| message.starts_with("INVITE")) else {
            assert_eq!(n, 5, "three times more");
            break;
        };
        endless.put(&response(&again, "422 Session Interval Too Small", "x", &format!("Min-SE: {}\n", 2_000 + n), ""));
    }
    assert!(matches!(endless.events[..], [DialogEvent::Ended { status: Some(422), .. }]));
}

#[test]
fn a_refresh_that_is_refused_for_being_too_short() {
    let mut bench = bench();
    placed(&mut bench, &format!("{ALLOWS}Session-Expires: 100;refresher=uac\n"));
    bench.run(seconds(51));
    let update = bench.take().pop().unwrap();
    assert_eq!(bench.ask(&response(&update, "422 Session Interval Too Small", "", "Min-SE: 200\n", "")), ["UPDATE 3"]);
    assert_eq!(
        (header(bench.last(), "Session-Expires"), header(bench.last(), "Min-SE")),
        (Some("200;refresher=uac"), Some("200"))
    );
}

#[test]
fn a_200_without_a_word_means_no_timer() {
    let mut bench = bench();
    let (leg, _) = placed(&mut bench, ALLOWS);
    bench.run(seconds(7_200));
    assert!(bench.names().is_empty() && bench.events.is_empty());
    bench.act(|end, now| end.hang_up(now, leg, None)).unwrap();
    bench.run(LIFE);
    bench.must_be_clean();
}

#[test]
fn two_of_us_keep_a_call_alive_and_notice_when_one_is_gone() {
    let policy = DialogPolicy { session_expires_s: 90, ..DialogPolicy::default() };
    let mut pair = Pair::with(3, policy);
    pair.loss = 10;
    let caller = pair.ends[0].invite(pair.now, invite(0, 1, Some(OFFER))).unwrap();
    pair.run(seconds(10));
    let callee = pair.calls[1][0].0;
    pair.ends[1].answer(pair.now, callee, Bytes::from_static(ANSWER)).unwrap();
    pair.run(seconds(10));
    pair.run(seconds(3_600));
    assert_eq!((pair.ended(0, caller), pair.ended(1, callee)), (None, None));
    assert_eq!((pair.of(0, caller).len(), pair.of(1, callee).len()), (1, 1), "80 refreshes, and nobody knows");
    let refreshes = pair.trace.iter().filter(|(_, name)| name.starts_with("UPDATE")).count();
    assert!((75..200).contains(&refreshes), "{refreshes}");
    pair.loss = 100;
    pair.run(seconds(91));
    assert_eq!(pair.ended(0, caller), Some((true, Some(408))));
    assert_eq!(pair.ended(1, callee), Some((true, Some(408))));
    pair.run(LIFE * 2);
    pair.must_be_clean();
}

#[test]
fn a_refresh_meets_a_bye() {
    let mut pair = Pair::with(1, DialogPolicy { session_expires_s: 90, ..DialogPolicy::default() });
    let (caller, callee) = pair.answered();
    let until = pair.now + seconds(60);
    while pair.seen(0, "UPDATE 2") == 0 && pair.step(until) {}
    pair.ends[1].hang_up(pair.now, callee, None).unwrap();
    pair.run_ms(100);
    assert_eq!((pair.seen(0, "UPDATE 2"), pair.seen(1, "BYE 1"), pair.seen(0, "200 1 BYE")), (1, 1, 1));
    assert_eq!(pair.seen(1, "481 2 UPDATE"), 1);
    assert_eq!(pair.ended(0, caller), Some((true, None)));
    assert_eq!(pair.ended(1, callee), Some((false, None)));
    pair.must_be_clean();
}
