//! What is drafted of a call passes, and is the same call.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod guests;

use callbox_dialogue::{HostCall, Time};
use callbox_script::DestinationDeclaration;
use callbox_sim::draft::draft;
use callbox_sim::scenario::{Given, ScenarioFile, SourceAnswer, Suite};
use callbox_sim::{Act, FarEnd, Move, Saying, Sight, SourcePlan, Stage, TransferGoes, TransferPlan};
use guests::{BOTH, Cut, KEY, Listen, SPEECH, Script, stage};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;

/// A caller as one sits at a terminal: acts when it is asked, after some thought, or breaks in.
struct Caller {
    random: ChaCha8Rng,
    turns: u32,
    speaks: Option<Time>,
    waits: bool,
    /// What it is about to do.
    planned: Vec<(Time, Act)>,
}

impl Caller {
    fn below(&mut self, n: u64) -> u64 {
        self.random.next_u64() % n
    }

    fn plans(&mut self, now: Time) {
        self.waits = false;
        self.turns += 1;
        let at = now + [300, 300, 1_100, 2_345][self.below(4) as usize];
        let press = |digit| Act::Press { digit };
        let chosen = self.below(3) as usize;
        let what = self.below(12);
        self.planned = match what {
            _ if self.turns > 6 => vec![(at, Act::HangUp)],
            0..=3 => vec![(at, press(char::from(b"123"[chosen])))],
            4 => vec![(at, press('1')), (at + 200, press('2')), (at + 400, press('#'))],
            5 => vec![(at, press('4')), (at + 900, press('7'))],
            6 | 7 => vec![(at, Act::Say(Saying::words(["yes", "I would rather not", "no"][chosen])))],
            8 => vec![(now, Act::Message { json: r#"{"costs": "${5}"}"#.into() })],
            9 => vec![(now, Act::Source { name: "crm".into(), plan: SourcePlan::answers(json!({"a": 1}), 700) })],
            10 => {
                let goes = [TransferGoes::busy(), TransferGoes::Returned, TransferGoes::Connected][chosen].clone();
                vec![(now, Act::Transfer(TransferPlan { goes, after: 900, talk: 4_000 }))]
            }
            // Silence.
            _ => Vec::new(),
        };
        self.planned.reverse();
    }
}

impl FarEnd for Caller {
    fn saw(&mut self, at: Time, sight: &Sight) {
        match sight {
            Sight::PromptStarted { .. } => self.speaks = Some(at),
            Sight::PromptEnded { .. } => self.speaks = None,
            Sight::Asked { call } => self.waits = matches!(call, HostCall::Ask { .. } | HostCall::Listen { .. }),
            _ => {}
        }
    }

    async fn next(&mut self, now: Time, next: Option<Time>) -> Move {
        if self.planned.is_empty() && self.waits {
            let (speaks, breaks_in) = (self.speaks, self.below(4) == 0);
            match speaks {
                None => self.plans(now),
                Some(began) if breaks_in && now == began => {
                    self.waits = false;
                    let after = 200 + self.below(900);
                    let with = if self.below(2) == 0 {
                        Act::Press { digit: '1' }
                    } else {
                        Act::Say(Saying::words("stop it please I have heard enough"))
                    };
                    self.planned = vec![(now + after, with)];
                }
                Some(_) => {}
            }
        }
        match self.planned.last() {
            Some((at, _)) if next.is_none_or(|next| *at <= next) => {
                let (at, act) = self.planned.pop().unwrap();
                Move::Act { at: at.max(now), act }
            }
            _ => Move::Pass,
        }
    }
}

/// Questions of all kinds, round and round until the call is over.
fn questions(script: &mut Script) {
    script.manifest(|manifest| {
        manifest.destinations.insert("outcome".into(), DestinationDeclaration::default());
    });
    script.source("crm", true).fetch("crm").on_call("answer").say("Good morning. This costs ${5}.", Cut::Nothing);
    script.code("(block").forever(|script| {
        script.node("menu").ask("Press one, two or say what you want.", Cut::Both, BOTH);
        script.on_key('1', |script| {
            script.node("one").transfer("sip:agent@example.com", true, 15_000);
        });
        script.on_key('2', |script| {
            script.node("two").fetch("crm").push("outcome", r#"{"two": "${2}"}"#);
        });
        script.ask("Your number?", Cut::Digits, Listen { digits: Some((1, 3)), ..KEY });
        script.ask("What is it about?", Cut::Speech, SPEECH).say("I see.", Cut::Both);
        // What was said last failed: nobody is there any more.
        script.code("(br_if 1 (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 1)))");
    });
    script.code(")");
}

fn given() -> Given {
    let mut given = Given::default();
    given.sources.insert("crm".into(), SourceAnswer::value(json!({"name": "Ada", "owes": "${12}"})));
    given
}

fn prompts(sights: &[(Time, Sight)]) -> Vec<&str> {
    sights
        .iter()
        .filter_map(|(_, sight)| if let Sight::PromptStarted { text, .. } = sight { Some(text.as_str()) } else { None })
        .collect()
}

async fn redone(stage: &Stage, seed: u64) {
    let random = ChaCha8Rng::seed_from_u64(seed);
    let mut caller = Caller { random, turns: 0, speaks: None, waits: false, planned: Vec::new() };
    let told = stage.play(&given().situation(), &mut caller).await;
    let scenario = draft("drafted", &given(), &told.sights);
    let text = ScenarioFile { scenarios: vec![scenario], ..ScenarioFile::default() }.to_yaml();
    let suite = Suite::read("drafted.yaml", &text).unwrap_or_else(|problems| panic!("{seed}: {problems:?}\n{text}"));
    let verdict = suite.runs[0].play(stage).await;
    assert_eq!(verdict.failure, None, "{seed}\n{text}");
    assert_eq!(prompts(&verdict.told.sights), prompts(&told.sights), "{seed}\n{text}");
    assert_eq!(verdict.told.record.end_reason, told.record.end_reason, "{seed}\n{text}");
}

#[tokio::test]
async fn what_is_drafted_passes_and_is_the_same_call() {
    let stage = stage(questions).await;
    for seed in 0..50 {
        redone(&stage, seed).await;
    }
}
