//! Whatever a far end does, and whenever: no panic, an end, and the same again for the same.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod guests;

use callbox_dialogue::{Direction, HostError, Time};
use callbox_script::DestinationDeclaration;
use callbox_sim::situation::{CalleePlan, CalleeThen};
use callbox_sim::{
    Act, FarEnd, Hearing, Move, Saying, Sight, Situation, SourcePlan, Stage, Told, TransferGoes, TransferPlan,
};
use guests::{BOTH, Cut, KEY, Listen, SPEECH, Script, stage, wav};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;

/// Does anything at any time, and remembers the order of what it saw.
struct Anybody {
    random: ChaCha8Rng,
    last: Time,
}

impl Anybody {
    fn below(&mut self, n: u64) -> u64 {
        self.random.next_u64() % n
    }

    fn act(&mut self) -> Act {
        let words = ["yes", "no thank you", "I would like to speak to somebody please", "uh-huh", "早上好", "…"];
        match self.below(24) {
            0..=7 => Act::Press { digit: char::from(b"0123456789*#AD1122"[self.below(18) as usize]) },
            8..=12 => Act::Say(Saying {
                text: words[self.below(6) as usize].into(),
                rate: [None, Some(0), Some(400)][self.below(3) as usize],
                heard: match self.below(4) {
                    0 => Hearing::As(vec![
                        ("something else".into(), None),
                        ("and more of it than that".into(), Some(0.1)),
                    ]),
                    1 => Hearing::Nothing,
                    _ => Hearing::Perfect,
                },
            }),
            13 => Act::Noise { length: self.below(3_000) as u32 },
            14 => Act::FailRecogniser { error: HostError::TimedOut },
            15 if self.below(4) == 0 => Act::HangUp,
            16 => Act::Message { json: ["{}", "nonsense"][self.below(2) as usize].into() },
            17 if self.below(8) == 0 => Act::OperatorHangUp { why: "enough".into() },
            18 if self.below(4) == 0 => Act::Drain { within: self.below(20_000) as u32 },
            19 => {
                Act::Source { name: "crm".into(), plan: SourcePlan::answers(json!({"a": 1}), self.below(3_000) as u32) }
            }
            20 => Act::Source { name: "crm".into(), plan: SourcePlan::never() },
            21 => Act::Transfer(TransferPlan {
                goes: [TransferGoes::Connected, TransferGoes::Returned, TransferGoes::busy(), TransferGoes::Never]
                    [self.below(4) as usize]
                    .clone(),
                after: self.below(30_000) as u32,
                talk: self.below(10_000) as u32,
            }),
            22 => Act::Answer,
            _ => Act::Ring,
        }
    }
}

impl FarEnd for Anybody {
    fn saw(&mut self, at: Time, _sight: &Sight) {
        assert!(at >= self.last, "time goes forward");
        self.last = at;
    }

    async fn next(&mut self, now: Time, next: Option<Time>) -> Move {
        assert!(next.is_none_or(|next| next > now), "what is due now has happened");
        match self.below(3) {
            0 => {
                let at = now + self.below(4_000);
                Move::Act { at, act: self.act() }
            }
            _ => Move::Pass,
        }
    }
}

/// A bit of everything, for ever.
fn everything(script: &mut Script) {
    script.manifest(|manifest| {
        manifest.destinations.insert("outcome".into(), DestinationDeclaration::default());
    });
    script
        .source("crm", true)
        .with_asset("tone.wav", wav(300))
        .with_asset("broken.wav", b"RIFF\x04\0\0\0WAVE".to_vec());
    script.fetch("crm").on_call("early_media").say("before the answer", Cut::Both).on_call("answer");
    script.forever(|script| {
        script.node("menu").random();
        script.ask("Press one, two or say what you want.", Cut::Both, BOTH);
        script.on_key('1', |script| {
            script.node("one").transfer("sip:agent@example.com", true, 15_000);
        });
        script.on_key('2', |script| {
            script.node("two").transfer("+4930123", false, 5_000).on_call("hangup");
        });
        script.ask("Your secret?", Cut::Digits, Listen { digits: Some((2, 4)), sensitive: true, ..KEY });
        script.listen(Listen { min_words: 2, partials: true, type_ahead: true, max_length: Some(1_000), ..SPEECH });
        script.start_say("a prompt that is replaced", Cut::Speech, false).start_say("by another", Cut::Nothing, true);
        script
            .say_all(&[("asset", "tone.wav"), ("ssml", "<speak>a<break/>b</speak>"), ("silence", "100")], Cut::Speech);
        script.say_all(&[("asset", "broken.wav")], Cut::Nothing);
        script.write(&["One sentence. ", "Another, "], 700, Cut::Both).wait_until_quiet();
        script.with("send_digits", "12,#").fetch("crm").push("outcome", "{}").next_event(Some(500)).log("round");
    });
}

fn situation(seed: u64) -> Situation {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Situation {
        seed: bytes,
        direction: if seed.is_multiple_of(3) { Direction::Outbound } else { Direction::Inbound },
        callee_plan: CalleePlan {
            rings: Some(700),
            then: if seed.is_multiple_of(2) { CalleeThen::Answers } else { CalleeThen::Nothing },
            after: 5_000,
        },
        early_media: !seed.is_multiple_of(5),
        speech_recognition: !seed.is_multiple_of(7),
        // So that a caller who stays costs the test little.
        limits: callbox_dialogue::setup::Limits { max_duration: 300_000, ..Default::default() },
        ..Situation::default()
    }
}

async fn call(stage: &Stage, seed: u64) -> Told {
    let mut anybody = Anybody { random: ChaCha8Rng::seed_from_u64(seed), last: Time::ZERO };
    stage.play(&situation(seed), &mut anybody).await
}

/// All of a call that is not CPU time.
fn written(told: &Told) -> String {
    format!(
        "{}\n{}\n{:?}\n{:?}\n{:?}\n{:?}",
        serde_json::to_string(&told.record).unwrap(),
        told.run.tape.to_json_lines(),
        told.trace,
        told.sights,
        told.run.end,
        told.ended,
    )
}

#[test]
fn any_far_end_has_an_end_and_the_same_one_again() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stage = runtime.block_on(stage(everything));
    let config = Config { cases: 96, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&any::<u64>(), |seed| {
            let first = runtime.block_on(call(&stage, seed));
            prop_assert!(first.abandoned.is_none());
            prop_assert!(first.record.ended.is_some() && first.record.outcome.is_some());
            prop_assert!(first.record.end_reason.is_some() && first.record.ended_by.is_some());
            prop_assert_eq!(written(&first), written(&runtime.block_on(call(&stage, seed))));
            Ok(())
        })
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_once_are_the_same_as_one_after_the_other() {
    let stage = stage(everything).await;
    // More than there are places for.
    let calls: Vec<_> = (0..48)
        .map(|seed| {
            tokio::spawn({
                let stage = stage.clone();
                async move { call(&stage, seed).await }
            })
        })
        .collect();
    for (seed, told) in (0..).zip(calls) {
        assert_eq!(written(&told.await.unwrap()), written(&call(&stage, seed).await));
    }
}
