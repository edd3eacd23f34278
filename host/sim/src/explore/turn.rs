//! What a caller did in one call, turn by turn: enough to do it again, and to write it down as a scenario.

use crate::far_end::{Act, KEY_PACE, REACTION, Saying};
use crate::scenario::{
    Expect, HangUp, Interrupt, Message, Press, Say, Silence, Span, Step, TransferAnswer, TransferExpected,
};
use crate::situation::{TransferGoes, TransferPlan};
use callbox_dialogue::Time;
use callbox_dialogue::time::Millis;
use serde_json::Value;

/// Characters of a prompt that a scenario expects; enough to know it by.
const SHOWN: usize = 60;

/// One thing a caller did.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Turn {
    /// The last prompt that was over before.
    pub(super) expects: Option<String>,
    pub(super) does: Does,
}

/// What a caller does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Does {
    /// So long after the robot has finished.
    Politely { after: Millis, act: Deed },
    /// Nothing, until the robot goes on by itself.
    Silence,
    /// So long after this prompt began.
    Interrupt { during: String, after: Millis, act: Deed },
    /// What becomes of the transfer that the script asks for.
    Transfer { target: String, plan: TransferPlan },
}

/// What a caller can do at any time.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Deed {
    Press(String),
    Say(String),
    Noise(Millis),
    HangUp,
    Message(Value),
}

impl Deed {
    /// The acts it takes, and when.
    pub(super) fn acts(&self, at: Time) -> Vec<(Time, Act)> {
        match self {
            Self::Press(keys) => {
                let times = (0..).map(|n| at + n * u64::from(KEY_PACE));
                times.zip(keys.chars()).map(|(at, digit)| (at, Act::Press { digit })).collect()
            }
            Self::Say(text) => vec![(at, Act::Say(Saying::words(text.clone())))],
            Self::Noise(length) => vec![(at, Act::Noise { length: *length })],
            Self::HangUp => vec![(at, Act::HangUp)],
            Self::Message(json) => vec![(at, Act::Message { json: json.to_string() })],
        }
    }
}

/// The turns as steps of a scenario. With `exact` times, the caller acts when it did, and not when a polite caller would.
pub(super) fn steps(turns: &[Turn], exact: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    for turn in turns {
        steps.extend(turn.expects.as_deref().and_then(expect));
        steps.push(match &turn.does {
            Does::Silence => Step::Silence(Silence::UntilRobot),
            Does::Politely { after, act } => {
                let after = (exact || *after != REACTION).then_some(Span(*after));
                match act {
                    Deed::Press(keys) => Step::Press(Press { after, ..Press::keys(keys.clone()) }),
                    Deed::Say(text) => Step::Say(Say { after, ..Say::text(text.clone()) }),
                    Deed::Noise(length) => Step::Noise(Span(*length)),
                    Deed::HangUp => Step::HangUp(HangUp { after }),
                    Deed::Message(value) => Step::Message(Message(value.clone())),
                }
            }
            Does::Interrupt { after, act, .. } => match act {
                Deed::Press(keys) => {
                    Step::Interrupt(Interrupt { after: Span(*after), press: Some(keys.clone()), say: None })
                }
                Deed::Say(text) => {
                    Step::Interrupt(Interrupt { after: Span(*after), say: Some(text.clone()), press: None })
                }
                Deed::Noise(length) => Step::Noise(Span(*length)),
                Deed::HangUp => Step::HangUp(HangUp { after: Some(Span(0)) }),
                Deed::Message(value) => Step::Message(Message(value.clone())),
            },
            Does::Transfer { target, plan } => Step::Transfer(expected(target, plan)),
        });
    }
    steps
}

/// The robot says this.
pub(super) fn expect(prompt: &str) -> Option<Step> {
    let text = shown(prompt);
    (!text.is_empty()).then(|| Step::Expect(Expect::contains(text)))
}

fn expected(target: &str, plan: &TransferPlan) -> TransferExpected {
    let answers = match &plan.goes {
        TransferGoes::Connected => TransferAnswer::Connected,
        TransferGoes::Returned => TransferAnswer::Returned,
        TransferGoes::Failed { status: 486, .. } => TransferAnswer::Busy,
        TransferGoes::Failed { status, reason } => {
            TransferAnswer::Status { status: *status, reason: Some(reason.clone()) }
        }
        TransferGoes::Never => TransferAnswer::NoAnswer,
    };
    let talks = matches!(plan.goes, TransferGoes::Returned);
    TransferExpected {
        to: target.to_owned(),
        answers: Some(answers),
        after: Some(Span(plan.after)),
        talk: talks.then_some(Span(plan.talk)),
        ..TransferExpected::default()
    }
}

/// The beginning of a prompt, to the end of a word.
fn shown(text: &str) -> String {
    let mut words = String::new();
    for word in text.split_whitespace() {
        if !words.is_empty() && words.chars().count() + word.chars().count() > SHOWN {
            break;
        }
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    // A text without spaces.
    words.chars().take(SHOWN * 2).collect()
}
