//! One test per race: two endpoints, a network that loses or delays exactly the message in question, virtual time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lab;

use bytes::Bytes;
use callbox_sip::ua::{DialogEvent, SipError};
use lab::{ANSWER, HOLD, LIFE, OFFER, Pair, invite};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

fn answer() -> Bytes {
    Bytes::from_static(ANSWER)
}

/// Loses the first `n` packets with this sender and headline.
fn lose(pair: &mut Pair, from: usize, name: &'static str, n: usize) {
    let lost = Rc::new(RefCell::new(HashMap::<String, usize>::new()));
    pair.censor = Box::new(move |end, seen| {
        let mut lost = lost.borrow_mut();
        let count = lost.entry(seen.to_owned()).or_default();
        let hit = end == from && seen == name && *count < n;
        *count += usize::from(hit);
        hit
    });
}

#[test]
fn a_call_from_invite_to_bye() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.answered();
    assert_eq!(pair.of(0, caller), [DialogEvent::Ringing, DialogEvent::Answered { sdp: Some(ANSWER.to_vec()) }]);
    pair.ends[0].hang_up(pair.now, caller, Some((16, "done".into()))).unwrap();
    pair.run_ms(50);
    assert_eq!(pair.ended(0, caller), Some((false, None)));
    let DialogEvent::Ended { by_remote: true, q850: Some(16), reason: Some(text), .. } =
        pair.of(1, callee).pop().unwrap()
    else {
        panic!("{:?}", pair.of(1, callee));
    };
    assert_eq!(text, "done");
    assert_eq!(pair.ends[0].remembered().0, 0, "the leg goes with the answer to its BYE");
    assert!(matches!(pair.ends[0].hang_up(pair.now, caller, None), Err(SipError::Ended)));
    assert_eq!(pair.ends[0].stats().retransmissions_sent + pair.ends[1].stats().retransmissions_sent, 0);
    pair.must_be_clean();
}

#[test]
fn a_call_that_is_refused() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.call(Some(OFFER));
    pair.ends[1].reject(pair.now, callee, 486, None, Vec::new()).unwrap();
    pair.run_ms(50);
    assert_eq!(pair.ended(0, caller), Some((true, Some(486))));
    assert_eq!(pair.ended(1, callee), Some((false, Some(486))));
    assert_eq!(pair.seen(0, "ACK 1"), 1);
    pair.must_be_clean();
}

#[test]
fn the_caller_gives_up_while_it_rings() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.call(Some(OFFER));
    pair.ends[1].ring(pair.now, callee).unwrap();
    pair.run_ms(50);
    pair.ends[0].hang_up(pair.now, caller, Some((16, "gave up".into()))).unwrap();
    pair.run_ms(50);
    assert_eq!(pair.ended(0, caller), Some((false, Some(487))));
    assert_eq!(pair.ended(1, callee), Some((true, Some(487))));
    assert_eq!(pair.seen(1, "200 1 CANCEL"), 1);
    assert_eq!(pair.seen(1, "487 1 INVITE"), 1);
    assert!(matches!(pair.ends[1].answer(pair.now, callee, answer()), Err(SipError::Ended)));
    pair.must_be_clean();
}

#[test]
fn cancel_waits_for_a_sign_of_life() {
    let mut pair = Pair::new(1);
    lose(&mut pair, 0, "INVITE 1", 2);
    let leg = pair.ends[0].invite(pair.now, invite(0, 1, Some(OFFER))).unwrap();
    pair.run_ms(100);
    pair.ends[0].hang_up(pair.now, leg, None).unwrap();
    pair.run_ms(1_000);
    assert_eq!(pair.seen(0, "CANCEL 1"), 0);
    assert_eq!(pair.ended(0, leg), Some((false, Some(487))), "its user need not wait");
    pair.run_ms(1_000);
    assert_eq!(pair.seen(0, "CANCEL 1"), 1);
    let callee = pair.calls[1][0].0;
    assert_eq!(pair.ended(1, callee), Some((true, Some(487))));
    pair.must_be_clean();
}

#[test]
fn cancel_and_answer_cross() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.call(Some(OFFER));
    pair.ends[1].ring(pair.now, callee).unwrap();
    pair.run_ms(50);
    pair.ends[1].answer(pair.now, callee, answer()).unwrap();
    pair.ends[0].hang_up(pair.now, caller, None).unwrap();
    pair.run_ms(100);
    assert_eq!(pair.seen(1, "200 1 CANCEL"), 1, "a CANCEL is answered 200 even when it is too late");
    assert_eq!(pair.seen(1, "487 1 INVITE"), 0);
    assert_eq!(pair.seen(0, "ACK 1"), 1);
    assert_eq!(pair.seen(0, "BYE 2"), 1);
    assert_eq!(pair.ended(0, caller), Some((false, Some(487))));
    assert_eq!(pair.ended(1, callee), Some((true, None)));
    assert!(!pair.of(0, caller).iter().any(|event| matches!(event, DialogEvent::Answered { .. })));
    pair.must_be_clean();
}

#[test]
fn a_cancelled_call_whose_end_never_comes_is_forgotten() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.call(Some(OFFER));
    pair.ends[1].ring(pair.now, callee).unwrap();
    pair.run_ms(50);
    pair.loss = 100;
    pair.ends[0].hang_up(pair.now, caller, None).unwrap();
    pair.run(LIFE + Duration::from_millis(1));
    assert_eq!(pair.ends[0].remembered(), (0, 0, 0), "64·T1 after the CANCEL (RFC 3261 §9.1)");
    pair.run(Duration::from_secs(180));
    assert_eq!(pair.ended(1, callee), Some((false, Some(480))));
    pair.must_be_clean();
}

#[test]
fn a_lost_ack_is_asked_for_again() {
    let mut pair = Pair::new(1);
    lose(&mut pair, 0, "ACK 1", 2);
    let (caller, callee) = pair.call(Some(OFFER));
    pair.ends[1].answer(pair.now, callee, answer()).unwrap();
    pair.run_ms(3_000);
    assert_eq!(pair.seen(1, "200 1 INVITE"), 3);
    assert_eq!(pair.seen(0, "ACK 1"), 3);
    assert_eq!(pair.of(1, callee), [DialogEvent::Confirmed { sdp: None }]);
    assert_eq!(pair.of(0, caller).len(), 1, "told once");
    pair.ends[1].hang_up(pair.now, callee, None).unwrap();
    pair.must_be_clean();
}

#[test]
fn an_answer_that_nobody_acknowledges_ends_in_bye_after_32_seconds() {
    let mut pair = Pair::new(1);
    lose(&mut pair, 0, "ACK 1", usize::MAX);
    let (caller, callee) = pair.call(Some(OFFER));
    pair.ends[1].answer(pair.now, callee, answer()).unwrap();
    pair.run(LIFE - Duration::from_millis(100));
    assert_eq!(pair.seen(1, "BYE 1"), 0);
    assert_eq!(pair.seen(1, "200 1 INVITE"), 11, "0.5, 1, 2, 4, 4 … seconds apart");
    pair.run_ms(300);
    assert_eq!(pair.ended(1, callee), Some((true, Some(408))));
    assert_eq!(pair.ended(0, caller), Some((true, None)));
    pair.must_be_clean();
}

#[test]
fn a_bye_overtakes_the_ack() {
    let mut pair = Pair::new(1);
    lose(&mut pair, 0, "ACK 1", 1);
    let (caller, callee) = pair.call(Some(OFFER));
    pair.ends[1].answer(pair.now, callee, answer()).unwrap();
    pair.run_ms(50);
    pair.ends[0].hang_up(pair.now, caller, None).unwrap();
    pair.run_ms(2_000);
    assert_eq!(pair.ended(1, callee), Some((true, None)));
    assert_eq!(pair.seen(1, "200 1 INVITE"), 1, "the answer is not repeated after the BYE");
    pair.must_be_clean();
}

#[test]
fn the_callee_hangs_up_before_the_ack_and_waits_for_it() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.call(Some(OFFER));
    pair.ends[1].answer(pair.now, callee, answer()).unwrap();
    pair.ends[1].hang_up(pair.now, callee, Some((16, String::new()))).unwrap();
    pair.drain();
    assert_eq!(pair.seen(1, "BYE 1"), 0, "RFC 3261 §15: not before the ACK");
    assert_eq!(pair.ended(1, callee), Some((false, None)));
    pair.run_ms(100);
    assert_eq!(pair.seen(1, "BYE 1"), 1);
    assert_eq!(pair.ended(0, caller), Some((true, None)));
    pair.must_be_clean();
}

#[test]
fn both_hang_up_at_once() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.answered();
    pair.ends[0].hang_up(pair.now, caller, None).unwrap();
    pair.ends[1].hang_up(pair.now, callee, None).unwrap();
    pair.run_ms(100);
    assert_eq!(pair.ended(0, caller), Some((false, None)));
    assert_eq!(pair.ended(1, callee), Some((false, None)));
    assert_eq!((pair.seen(0, "200 1 BYE"), pair.seen(1, "200 2 BYE")), (1, 1));
    pair.must_be_clean();
}

#[test]
fn a_late_offer_and_its_answer_in_the_ack() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.call(None);
    assert_eq!(pair.calls[1][0].1.offer, None);
    pair.ends[1].answer(pair.now, callee, Bytes::from_static(OFFER)).unwrap();
    pair.run_ms(700);
    assert_eq!(
        pair.of(0, caller),
        [DialogEvent::Answered { sdp: Some(OFFER.to_vec()) }],
        "told once, though it came twice"
    );
    assert_eq!(pair.seen(0, "ACK 1"), 0);
    pair.ends[0].ack(pair.now, caller, answer()).unwrap();
    pair.run_ms(50);
    assert_eq!(pair.of(1, callee), [DialogEvent::Confirmed { sdp: Some(ANSWER.to_vec()) }]);
    assert!(matches!(pair.ends[0].ack(pair.now, caller, answer()), Err(SipError::NotNow(_))));
    pair.ends[0].hang_up(pair.now, caller, None).unwrap();
    pair.must_be_clean();
}

#[test]
fn hanging_up_on_a_late_offer_acknowledges_it_first() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.call(None);
    pair.ends[1].answer(pair.now, callee, Bytes::from_static(OFFER)).unwrap();
    pair.run_ms(50);
    pair.ends[0].hang_up(pair.now, caller, None).unwrap();
    pair.run_ms(100);
    assert_eq!((pair.seen(0, "ACK 1"), pair.seen(0, "BYE 2")), (1, 1));
    assert_eq!(pair.seen(1, "200 1 INVITE"), 1);
    assert!(pair.ended(1, callee).is_some());
    pair.must_be_clean();
}

#[test]
fn hold_and_resume_by_either_side() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.answered();
    for (asks, leg, other, leg_there) in [(0, caller, 1, callee), (1, callee, 0, caller)] {
        pair.ends[asks].reinvite(pair.now, leg, Bytes::from_static(HOLD)).unwrap();
        assert!(matches!(pair.ends[asks].reinvite(pair.now, leg, Bytes::from_static(HOLD)), Err(SipError::NotNow(_))));
        pair.run_ms(50);
        assert_eq!(pair.of(other, leg_there).last(), Some(&DialogEvent::Reinvite { sdp: Some(HOLD.to_vec()) }));
        pair.ends[other].answer_reinvite(pair.now, leg_there, Ok(answer())).unwrap();
        pair.run_ms(50);
        assert_eq!(pair.of(asks, leg).last(), Some(&DialogEvent::ReinviteAnswered { sdp: Some(ANSWER.to_vec()) }));
        assert_eq!(pair.of(other, leg_there).last(), Some(&DialogEvent::Confirmed { sdp: None }));
    }
    pair.ends[0].reinvite(pair.now, caller, Bytes::from_static(OFFER)).unwrap();
    pair.run_ms(50);
    pair.ends[1].answer_reinvite(pair.now, callee, Err(488)).unwrap();
    pair.run_ms(50);
    assert!(matches!(pair.of(0, caller).last(), Some(DialogEvent::ReinviteFailed { status: 488, .. })));
    assert_eq!(pair.ended(0, caller), None, "the session stays as it was");
    pair.ends[0].hang_up(pair.now, caller, None).unwrap();
    pair.must_be_clean();
}

#[test]
fn a_reinvite_that_nobody_answers_is_refused_for_them() {
    let mut pair = Pair::new(1);
    let (caller, _) = pair.answered();
    pair.ends[0].reinvite(pair.now, caller, Bytes::from_static(HOLD)).unwrap();
    pair.run_ms(10_100);
    assert!(matches!(pair.of(0, caller).last(), Some(DialogEvent::ReinviteFailed { status: 500, .. })));
    pair.ends[0].hang_up(pair.now, caller, None).unwrap();
    pair.must_be_clean();
}

#[test]
fn two_reinvites_cross_and_both_get_through_in_the_end() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.answered();
    pair.ends[0].reinvite(pair.now, caller, Bytes::from_static(OFFER)).unwrap();
    pair.ends[1].reinvite(pair.now, callee, Bytes::from_static(OFFER)).unwrap();
    pair.run_ms(50);
    assert_eq!((pair.seen(0, "491 1 INVITE"), pair.seen(1, "491 2 INVITE")), (1, 1));
    for _ in 0..100 {
        pair.run_ms(50);
        for (end, leg) in [(0, caller), (1, callee)] {
            if pair.of(end, leg).last() == Some(&DialogEvent::Reinvite { sdp: Some(OFFER.to_vec()) }) {
                pair.ends[end].answer_reinvite(pair.now, leg, Ok(answer())).unwrap();
            }
        }
    }
    for (end, leg) in [(0, caller), (1, callee)] {
        let events = pair.of(end, leg);
        assert!(events.contains(&DialogEvent::ReinviteAnswered { sdp: Some(ANSWER.to_vec()) }), "{events:?}");
        assert!(!events.iter().any(|event| matches!(event, DialogEvent::ReinviteFailed { .. })));
    }
    pair.ends[0].hang_up(pair.now, caller, None).unwrap();
    pair.must_be_clean();
}

#[test]
fn a_bye_meets_an_open_reinvite() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.answered();
    pair.ends[0].reinvite(pair.now, caller, Bytes::from_static(HOLD)).unwrap();
    pair.run_ms(50);
    pair.ends[1].hang_up(pair.now, callee, None).unwrap();
    pair.run_ms(50);
    assert_eq!(pair.ended(0, caller), Some((true, None)));
    assert_eq!(pair.seen(1, "487 2 INVITE"), 1);
    assert!(matches!(pair.ends[1].answer_reinvite(pair.now, callee, Ok(answer())), Err(SipError::Ended)));
    pair.must_be_clean();
}

#[test]
fn nobody_is_there() {
    let mut pair = Pair::new(1);
    pair.loss = 100;
    let leg = pair.ends[0].invite(pair.now, invite(0, 1, Some(OFFER))).unwrap();
    pair.run(LIFE + Duration::from_millis(1));
    assert_eq!(pair.seen(0, "INVITE 1"), 7);
    assert_eq!(pair.ended(0, leg), Some((true, Some(408))));
    pair.must_be_clean();
}

#[test]
fn the_peer_vanishes_during_the_call() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.answered();
    pair.loss = 100;
    pair.ends[0].info_digit(pair.now, caller, '1', 100).unwrap();
    pair.ends[1].hang_up(pair.now, callee, None).unwrap();
    pair.run(LIFE + Duration::from_millis(100));
    assert_eq!(pair.ended(0, caller), Some((true, Some(408))));
    pair.run(LIFE);
    pair.must_be_clean();
}

#[test]
fn it_rings_too_long() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.call(Some(OFFER));
    pair.ends[1].ring(pair.now, callee).unwrap();
    pair.run(Duration::from_secs(61));
    assert_eq!(pair.ended(0, caller), Some((false, Some(408))));
    assert_eq!(pair.ended(1, callee), Some((true, Some(487))));
    assert_eq!(pair.seen(0, "CANCEL 1"), 1);
    pair.must_be_clean();
}

#[test]
fn a_provisional_response_is_repeated_each_minute() {
    let mut pair = Pair::new(1);
    let mut call = invite(0, 1, Some(OFFER));
    call.ring_timeout = Duration::from_secs(1_000);
    let caller = pair.ends[0].invite(pair.now, call).unwrap();
    pair.run_ms(50);
    let callee = pair.calls[1][0].0;
    pair.ends[1].ring(pair.now, callee).unwrap();
    pair.run(Duration::from_secs(200));
    assert_eq!(pair.seen(1, "180 1 INVITE"), 3);
    assert_eq!(pair.ended(1, callee), Some((false, Some(480))), "three minutes are enough");
    assert_eq!(pair.ended(0, caller), Some((true, Some(480))));
    pair.must_be_clean();
}

#[test]
fn early_media_and_the_answer() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.call(Some(OFFER));
    pair.ends[1].progress(pair.now, callee, answer()).unwrap();
    pair.ends[1].ring(pair.now, callee).unwrap();
    pair.run_ms(50);
    pair.ends[1].answer(pair.now, callee, answer()).unwrap();
    pair.run_ms(50);
    assert_eq!(
        pair.of(0, caller),
        [
            DialogEvent::Progress { sdp: Some(ANSWER.to_vec()), branch: 0 },
            DialogEvent::Ringing,
            DialogEvent::Answered { sdp: Some(ANSWER.to_vec()) }
        ]
    );
    pair.ends[0].hang_up(pair.now, caller, None).unwrap();
    pair.must_be_clean();
}

#[test]
fn digits_arrive_in_order_even_when_doubled() {
    let mut pair = Pair::new(1);
    pair.doubled = 50;
    let (caller, callee) = pair.answered();
    for digit in "19*#AD".chars() {
        pair.ends[0].info_digit(pair.now, caller, digit, 90).unwrap();
        pair.run_ms(30);
    }
    let digits: String = pair
        .of(1, callee)
        .into_iter()
        .filter_map(|event| match event {
            DialogEvent::Digit { digit, duration_ms: 90 } => Some(digit),
            _ => None,
        })
        .collect();
    assert_eq!(digits, "19*#AD");
    pair.ends[1].hang_up(pair.now, callee, None).unwrap();
    pair.must_be_clean();
}

/// What the peer of a process that was restarted sees: its own requests are of no call, and that ends it cleanly.
#[test]
fn one_side_is_restarted() {
    let mut pair = Pair::new(1);
    let (caller, _) = pair.answered();
    pair.ends[1] = lab::endpoint(1, 99, callbox_sip::SipLimits::default());
    pair.ends[0].reinvite(pair.now, caller, Bytes::from_static(HOLD)).unwrap();
    pair.run_ms(100);
    assert_eq!(pair.seen(1, "481 2 INVITE"), 1);
    assert_eq!(pair.ended(0, caller), Some((true, Some(481))));
    pair.must_be_clean();
}

/// An INVITE that is repeated after the restart is a new call to the new process, with a tag of its own.
#[test]
fn an_invite_is_repeated_after_a_restart() {
    let mut pair = Pair::new(1);
    lose(&mut pair, 1, "100 1 INVITE", usize::MAX);
    let caller = pair.ends[0].invite(pair.now, invite(0, 1, Some(OFFER))).unwrap();
    pair.run_ms(100);
    assert_eq!(pair.calls[1].len(), 1);
    pair.ends[1] = lab::endpoint(1, 99, callbox_sip::SipLimits::default());
    pair.run_ms(500);
    assert_eq!((pair.seen(0, "INVITE 1"), pair.calls[1].len()), (2, 2));
    let callee = pair.calls[1][1].0;
    pair.ends[1].answer(pair.now, callee, answer()).unwrap();
    pair.run_ms(100);
    assert_eq!(pair.of(0, caller), [DialogEvent::Answered { sdp: Some(ANSWER.to_vec()) }]);
    pair.ends[0].hang_up(pair.now, caller, None).unwrap();
    pair.run_ms(100);
    assert_eq!(pair.ended(1, callee), Some((true, None)));
    pair.must_be_clean();
}

/// The transferee hangs up before it told the outcome, and the report is lost twice: the end waits for it, but not for
/// ever.
#[test]
fn a_transfer_is_settled_after_the_bye() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.answered();
    let target = callbox_sip::wire::Uri::from_text("sip:carol@10.0.0.9").unwrap();
    pair.ends[0].refer(pair.now, caller, &target, Vec::new()).unwrap();
    // The far end refuses; its 603 is lost, and its BYE comes first.
    let told = |pair: &Pair| pair.of(0, caller).split_off(2);
    lose(&mut pair, 1, "603 2 REFER", 2);
    pair.run_ms(50);
    pair.ends[1].answer_refer(pair.now, callee, Err(603)).unwrap();
    pair.ends[1].hang_up(pair.now, callee, None).unwrap();
    pair.run_ms(50);
    assert_eq!(told(&pair), [], "not yet");
    pair.run_ms(4_000);
    let events = told(&pair);
    assert!(
        matches!(
            events[..],
            [DialogEvent::ReferProgress { status: 603, .. }, DialogEvent::Ended { by_remote: true, .. }]
        ),
        "{events:?}"
    );
    // And one whose outcome never comes.
    let (caller, callee) = pair.answered();
    lose(&mut pair, 1, "603 2 REFER", usize::MAX);
    pair.ends[0].refer(pair.now, caller, &target, Vec::new()).unwrap();
    pair.run_ms(50);
    pair.ends[1].answer_refer(pair.now, callee, Err(603)).unwrap();
    pair.ends[1].hang_up(pair.now, callee, None).unwrap();
    pair.run_ms(5_100);
    assert!(matches!(pair.of(0, caller).last(), Some(DialogEvent::Ended { by_remote: true, status: None, .. })));
    pair.run(LIFE);
    pair.must_be_clean();
}

/// While it waits, its user may be done with it.
#[test]
fn an_end_that_waits_is_told_at_once_to_who_hangs_up() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.answered();
    let target = callbox_sip::wire::Uri::from_text("sip:carol@10.0.0.9").unwrap();
    lose(&mut pair, 1, "603 2 REFER", usize::MAX);
    pair.ends[0].refer(pair.now, caller, &target, Vec::new()).unwrap();
    pair.run_ms(50);
    pair.ends[1].answer_refer(pair.now, callee, Err(603)).unwrap();
    pair.ends[1].hang_up(pair.now, callee, None).unwrap();
    pair.run_ms(50);
    assert_eq!(pair.ended(0, caller), None);
    pair.ends[0].hang_up(pair.now, caller, None).unwrap();
    pair.drain();
    assert_eq!(pair.ended(0, caller), Some((true, None)));
    assert!(matches!(pair.ends[0].hang_up(pair.now, caller, None), Err(SipError::Ended)));
    pair.run(LIFE);
    pair.must_be_clean();
}

#[test]
fn a_repeated_offer_is_answered_as_before_and_a_new_one_is_not() {
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.answered();
    let told = pair.of(1, callee).len();
    pair.ends[0].reinvite(pair.now, caller, Bytes::from_static(OFFER)).unwrap();
    pair.run_ms(100);
    assert_eq!(pair.of(1, callee).len(), told, "nobody is disturbed, not even by the ACK");
    assert_eq!(pair.of(0, caller).last(), Some(&DialogEvent::ReinviteAnswered { sdp: Some(ANSWER.to_vec()) }));
    // The callee's own offer is the last word: what the caller said before is new again.
    pair.ends[1].reinvite(pair.now, callee, answer()).unwrap();
    pair.run_ms(50);
    pair.ends[0].answer_reinvite(pair.now, caller, Ok(Bytes::from_static(OFFER))).unwrap();
    pair.run_ms(50);
    pair.ends[0].reinvite(pair.now, caller, Bytes::from_static(OFFER)).unwrap();
    pair.run_ms(50);
    assert_eq!(pair.of(1, callee).last(), Some(&DialogEvent::Reinvite { sdp: Some(OFFER.to_vec()) }));
    pair.ends[1].hang_up(pair.now, callee, None).unwrap();
    pair.must_be_clean();
}
