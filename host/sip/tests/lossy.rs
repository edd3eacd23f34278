//! Whatever the network loses, doubles and reorders, and whatever the users do meanwhile: each call that began reaches
//! a definite end on both sides, and nothing of it is left.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lab;

use bytes::Bytes;
use callbox_sip::ua::{DialogEvent, LegId};
use callbox_sip::wire::Uri;
use callbox_sip::{DialogPolicy, Reliable};
use lab::{ANSWER, HOLD, LIFE, OFFER, Pair, invite};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::time::Duration;

/// What a user does at a moment of its own choosing.
#[derive(Clone, Copy, Debug)]
enum Move {
    Ring,
    Progress,
    Answer,
    Reject,
    HangUp,
    Reinvite,
    Update,
    AnswerReinvite,
    RefuseReinvite,
    Info,
    Refer,
    Ack,
}

const MOVES: [Move; 12] = [
    Move::Ring,
    Move::Progress,
    Move::Answer,
    Move::Reject,
    Move::HangUp,
    Move::Reinvite,
    Move::Update,
    Move::AnswerReinvite,
    Move::RefuseReinvite,
    Move::Info,
    Move::Refer,
    Move::Ack,
];

/// Another offer than the first, so that it is more than a refresh.
fn changed(end: usize) -> Bytes {
    Bytes::from_static(if end == 0 { HOLD } else { OFFER })
}

fn make(pair: &mut Pair, end: usize, leg: LegId, play: Move) {
    let (now, sdp) = (pair.now, Bytes::from_static(if end == 0 { OFFER } else { ANSWER }));
    let side = &mut pair.ends[end];
    let target = Uri::from_text("sip:person@10.0.0.9").unwrap();
    // What is not possible at the moment is refused, which is the point of trying.
    let _ = match play {
        Move::Ring => side.ring(now, leg),
        Move::Progress => side.progress(now, leg, sdp),
        Move::Answer => side.answer(now, leg, sdp),
        Move::Reject => side.reject(now, leg, 486, None, Vec::new()),
        Move::HangUp => side.hang_up(now, leg, None),
        Move::Reinvite => side.reinvite(now, leg, changed(end)),
        Move::Update => side.update(now, leg, changed(end)),
        Move::AnswerReinvite => side.answer_reinvite(now, leg, Ok(sdp)),
        Move::RefuseReinvite => side.answer_reinvite(now, leg, Err(488)),
        Move::Info => side.info_digit(now, leg, '5', 100),
        Move::Refer => side.refer(now, leg, &target, Vec::new()),
        Move::Ack => side.ack(now, leg, sdp),
    };
    pair.drain();
}

/// Everything a leg was told is in an order that makes sense, and the end comes once and last.
fn check_story(events: &[DialogEvent]) {
    let ends = events.iter().filter(|event| matches!(event, DialogEvent::Ended { .. })).count();
    assert_eq!(ends, 1, "{events:?}");
    assert!(matches!(events.last(), Some(DialogEvent::Ended { .. })), "{events:?}");
    let answers = events.iter().filter(|event| matches!(event, DialogEvent::Answered { .. })).count();
    assert!(answers <= 1, "{events:?}");
}

fn story(seed: u64, policies: [DialogPolicy; 2], loss: u64, late_offer: bool, moves: &[(u16, bool, u8)]) {
    let mut pair = Pair::with_policies(seed, policies);
    pair.loss = loss;
    pair.doubled = 10;
    pair.delay = (1, 300);
    let offer = (!late_offer).then_some(OFFER);
    let caller = pair.ends[0].invite(pair.now, invite(0, 1, offer)).unwrap();
    for (wait, by_callee, play) in moves {
        pair.run(Duration::from_millis((*wait).into()));
        let play = MOVES[usize::from(*play) % MOVES.len()];
        match (by_callee, pair.calls[1].first()) {
            (true, Some(&(callee, _))) => make(&mut pair, 1, callee, play),
            (true, None) => {}
            (false, _) => make(&mut pair, 0, caller, play),
        }
    }
    // Users who do nothing more: the callee answers nothing, both hang up.
    pair.run(Duration::from_secs(5));
    make(&mut pair, 0, caller, Move::HangUp);
    pair.run(Duration::from_secs(5));
    let callees: Vec<LegId> = pair.calls[1].iter().map(|(leg, _)| *leg).collect();
    for callee in &callees {
        make(&mut pair, 1, *callee, Move::HangUp);
    }
    // A lost ACK costs 64·T1 until its BYE, and that BYE as much again.
    pair.run(LIFE * 3);
    pair.must_be_clean();
    assert!(callees.len() <= 1, "a repeated INVITE made a second call");
    check_story(&pair.of(0, caller));
    for callee in callees {
        check_story(&pair.of(1, callee));
    }
}

/// With or without each extension; session timers short enough to run out within a story.
fn policy() -> impl Strategy<Value = DialogPolicy> {
    let reliable = prop_oneof![1 => Just(Reliable::Off), 3 => Just(Reliable::Supported), 1 => Just(Reliable::Required)];
    let timer = prop_oneof![Just((0, 5)), Just((10, 5)), Just((30, 20)), Just((1_800, 90))];
    (reliable, timer).prop_map(|(reliable, (session_expires_s, min_se_s))| DialogPolicy {
        reliable,
        session_expires_s,
        min_se_s,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_call_comes_to_an_end(
        seed in any::<u64>(),
        caller in policy(),
        callee in policy(),
        loss in 0_u64..=20,
        late_offer in any::<bool>(),
        moves in proptest::collection::vec((0_u16..3_000, any::<bool>(), any::<u8>()), 0..16),
    ) {
        story(seed, [caller, callee], loss, late_offer, &moves);
    }
}

/// The ordinary call, a thousand times at 20 % loss: it must succeed, not only end.
#[test]
fn an_ordinary_call_survives_twenty_percent_loss() {
    let mut connected = 0;
    for seed in 0..1_000 {
        let mut pair = Pair::new(seed);
        pair.loss = 20;
        pair.doubled = 5;
        pair.delay = (5, 60);
        let caller = pair.ends[0].invite(pair.now, invite(0, 1, Some(OFFER))).unwrap();
        while pair.calls[1].is_empty() && pair.now - pair.start < LIFE {
            pair.run_ms(100);
        }
        let Some(&(callee, _)) = pair.calls[1].first() else { continue };
        pair.ends[1].ring(pair.now, callee).unwrap();
        pair.run_ms(200);
        pair.ends[1].answer(pair.now, callee, Bytes::from_static(ANSWER)).unwrap();
        pair.run(LIFE);
        let answered = pair.of(0, caller).contains(&DialogEvent::Answered { sdp: Some(ANSWER.to_vec()) });
        let confirmed = pair.of(1, callee).contains(&DialogEvent::Confirmed { sdp: None });
        connected += usize::from(answered && confirmed);
        pair.ends[0].hang_up(pair.now, caller, None).unwrap();
        pair.run(LIFE);
        assert!(pair.ended(1, callee).is_some());
        pair.run(LIFE);
        pair.must_be_clean();
    }
    assert!(connected >= 995, "only {connected} of 1000 calls came up");
}
