//! A scenario drafted from a simulated call: what was said, what the caller did and when, what came of it.
//!
//! For whoever has seen a call and wants to keep it: the chat. What is drafted here has been played, so it is exact; a scenario out of the tape of a live call is [`crate::replay`]'s.

use crate::far_end::{Act, Hearing, KEY_PACE, REACTION, Saying, Sight};
use crate::scenario::{
    Drain, Ended, Expect, HangUp, Interrupt, Message, ModelAnswer, ModelChange, Moves, Press, Pushed, Refuse,
    ResultExpected, Say, Scenario, Silence, SourceAnswer, SourceChange, Span, Step, TransferAnswer, TransferExpected,
};
use crate::scenario::{Given, IntentExpected};
use crate::situation::WORDS_A_MINUTE;
use crate::words::spoken;
use callbox_dialogue::leg::{TransferId, TransferResult};
use callbox_dialogue::script::{Heard, TransferMode};
use callbox_dialogue::time::Millis;
use callbox_dialogue::{HostCall, HostReply, Time};
use serde_json::Value;

/// Drafts a scenario of what was seen: of a whole call, or of its beginning.
#[must_use]
pub fn draft(name: &str, given: &Given, sights: &[(Time, Sight)]) -> Scenario {
    let mut writer = Writer {
        reaction: given.reaction.unwrap_or(Span(REACTION)).millis(),
        rate: given.words_a_minute.unwrap_or(WORDS_A_MINUTE),
        ..Writer::default()
    };
    for (at, sight) in sights {
        writer.saw(*at, sight);
    }
    writer.close();
    Scenario { name: name.to_owned(), given: given.clone(), steps: writer.steps, cases: Vec::new() }.literally()
}

#[derive(Default)]
struct Writer {
    steps: Vec<Step>,
    reaction: u64,
    rate: u16,
    /// When the prompt that sounds began.
    speaks_since: Option<Time>,
    /// From when on a polite caller acts: the robot has finished, the caller itself too.
    quiet: Time,
    /// There was audio.
    up: bool,
    /// The caller has spoken, and the script was not told yet.
    speech_pending: bool,
    /// Keys that were pressed one after the other, and when.
    keys: Vec<(Time, char)>,
    /// The script was told that nobody spoke.
    unheard: bool,
    asked: Option<HostCall>,
    transfers: Vec<(TransferId, Time, usize)>,
    /// The caller is on its way to somebody else: what it says and presses is for them.
    given_away: bool,
    result: ResultExpected,
}

impl Writer {
    fn saw(&mut self, at: Time, sight: &Sight) {
        match sight {
            Sight::Did { act } => self.did(at, act),
            Sight::EarlyMedia | Sight::Answered if !self.up => {
                self.up = true;
                self.quiet = self.quiet.max(at);
            }
            Sight::Heard { .. } => self.speech_pending = false,
            Sight::PromptStarted { text, .. } => {
                self.pressed();
                self.speech_pending = false;
                if std::mem::take(&mut self.unheard) {
                    self.steps.push(Step::Silence(Silence::UntilRobot));
                }
                self.speaks_since = Some(at);
                if !text.trim().is_empty() {
                    self.steps.push(Step::Expect(Expect::contains(text.trim().to_owned())));
                }
            }
            Sight::PromptEnded { .. } => {
                // Keys that cut the prompt are written as what they did to it.
                self.pressed();
                self.speaks_since = None;
                self.quiet = self.quiet.max(at);
            }
            Sight::Asked { call } => self.asked = Some(call.clone()),
            Sight::Replied { reply, .. } => {
                if matches!(
                    reply,
                    Ok(HostReply::Heard(Heard::Nothing) | HostReply::Answer { heard: Heard::Nothing, .. })
                ) {
                    self.unheard = true;
                }
                if let (Some(call), true) = (self.asked.take(), reply.is_ok()) {
                    self.left(call);
                }
            }
            Sight::Digits { digits } => self.push(Step::DigitsSent(digits.clone())),
            Sight::Transfer { transfer, target, mode, .. } => {
                self.pressed();
                self.transfers.push((*transfer, at, self.steps.len()));
                self.given_away = true;
                let mode = (*mode == TransferMode::Bridge).then_some(TransferMode::Bridge);
                let expected = TransferExpected { to: target.clone(), mode, ..TransferExpected::default() };
                self.steps.push(Step::Transfer(expected));
            }
            Sight::Joined { transfer } => {
                if let Some((began, expected)) = self.transfer(*transfer) {
                    expected.after = Some(between(began, at));
                }
            }
            Sight::TransferEnded { transfer, result } => self.transferred(at, *transfer, result),
            Sight::Node { name } => self.push(Step::Node(name.clone())),
            Sight::Pushed(push) => {
                let body = serde_json::from_str(&push.body).ok();
                self.push(Step::Pushed(Pushed { to: push.destination.clone(), body, within: None }));
            }
            Sight::Ended { by, reason } => {
                self.pressed();
                self.steps.push(Step::Ended(Ended { by: *by, reason: Some(*reason), ..Ended::default() }));
            }
            _ => {}
        }
    }

    /// Writes what does not depend on the caller's keys being complete.
    fn push(&mut self, step: Step) {
        self.pressed();
        self.steps.push(step);
    }

    fn did(&mut self, at: Time, act: &Act) {
        self.unheard = false;
        if self.given_away && matches!(act, Act::Press { .. } | Act::Say(_) | Act::Noise { .. }) {
            return;
        }
        if let Act::Press { digit } = act {
            let follows = self.keys.last().is_none_or(|(last, _)| at.since(*last) == u64::from(KEY_PACE));
            if !follows {
                self.pressed();
            }
            self.keys.push((at, *digit));
            return;
        }
        self.pressed();
        match act {
            Act::Say(saying) => self.said(at, saying),
            Act::Noise { length } => {
                if self.after(at).is_some() {
                    self.pause(at - self.reaction);
                }
                self.steps.push(Step::Noise(Span(*length)));
                self.quiet = at + u64::from(*length);
            }
            Act::HangUp => {
                // While the robot speaks there is only at once.
                let after = if self.speaks_since.is_some() { Some(Span(0)) } else { self.after(at) };
                self.steps.push(Step::HangUp(HangUp { after }));
            }
            Act::Answer => self.steps.push(Step::PickUp(Moves { after: Some(between(self.quiet, at)) })),
            Act::Refuse { status, reason } => self.steps.push(Step::Refuse(Refuse {
                status: *status,
                reason: Some(reason.clone()),
                after: Some(between(self.quiet, at)),
            })),
            Act::Source { name, plan } => {
                self.pause(at);
                self.steps.push(Step::Source(SourceChange::new(name, SourceAnswer::of(plan))));
            }
            Act::Model { name, plans } => {
                let answers = plans.iter().map(ModelAnswer::of).collect();
                self.steps.push(Step::Model(ModelChange { name: name.clone(), answers }));
            }
            Act::Message { json } => {
                self.pause(at);
                let value = serde_json::from_str(json).unwrap_or_default();
                self.steps.push(Step::Message(Message(value)));
            }
            Act::OperatorHangUp { .. } => {
                self.pause(at);
                self.steps.push(Step::OperatorHangUp(Moves { after: Some(Span(0)) }));
            }
            Act::Drain { within } => {
                self.pause(at);
                self.steps.push(Step::Drain(Drain { within: Span(*within) }));
            }
            // How a transfer goes is written where it is asked for. The others have no step.
            _ => {}
        }
    }

    fn said(&mut self, at: Time, saying: &Saying) {
        let text = saying.text.clone();
        let length = spoken(&saying.text, saying.rate.unwrap_or(self.rate));
        if let Some(began) = self.speaks_since {
            let after = between(began, at);
            self.steps.push(Step::Interrupt(Interrupt { after, say: Some(text), press: None }));
        } else {
            let (understood_as, confidence) = match &saying.heard {
                Hearing::Perfect => (None, None),
                Hearing::Nothing => (Some(String::new()), None),
                Hearing::As(all) => {
                    all.first().map_or((None, None), |(text, confidence)| (Some(text.clone()), *confidence))
                }
            };
            let after = self.after(at);
            let words_a_minute = saying.rate;
            self.steps.push(Step::Say(Say { text, after, words_a_minute, understood_as, confidence }));
        }
        self.quiet = at + u64::from(length);
        self.speech_pending = true;
    }

    /// Writes the keys that were pressed.
    fn pressed(&mut self) {
        let keys = std::mem::take(&mut self.keys);
        let (Some((first, _)), Some((last, _))) = (keys.first(), keys.last()) else { return };
        let text: String = keys.iter().map(|(_, key)| *key).collect();
        match self.speaks_since {
            Some(began) => {
                let after = between(began, *first);
                self.steps.push(Step::Interrupt(Interrupt { after, say: None, press: Some(text) }));
            }
            None => {
                let after = self.after(*first);
                self.steps.push(Step::Press(Press { keys: text, after, pace: None }));
            }
        }
        self.quiet = self.quiet.max(*last);
    }

    /// When a polite caller acts, where that is not by itself the time. It waits longer by itself for a sign that its
    /// words were understood.
    fn after(&self, at: Time) -> Option<Span> {
        let after = between(self.quiet, at);
        (self.speech_pending || after.millis() != self.reaction).then_some(after)
    }

    /// Lets the time go by that went by: until the robot has finished, and on from there. While it speaks nothing can
    /// be waited for: what is done then is done when it begins.
    fn pause(&mut self, at: Time) {
        if self.speaks_since.is_some() {
            return;
        }
        let last =
            self.steps.iter().rev().find(|step| !matches!(step, Step::Node(_) | Step::Pushed(_) | Step::DigitsSent(_)));
        let gone = between(self.quiet, at);
        if gone.0 > 0 || matches!(last, Some(Step::Expect(_))) {
            self.steps.push(Step::Wait(gone));
        }
        self.quiet = self.quiet.max(at);
    }

    fn transfer(&mut self, id: TransferId) -> Option<(Time, &mut TransferExpected)> {
        let (_, began, step) = self.transfers.iter().find(|(transfer, ..)| *transfer == id).copied()?;
        match self.steps.get_mut(step) {
            Some(Step::Transfer(expected)) => Some((began, expected)),
            _ => None,
        }
    }

    fn transferred(&mut self, at: Time, id: TransferId, result: &TransferResult) {
        self.given_away = false;
        let Some((began, expected)) = self.transfer(id) else { return };
        let answers = match result {
            TransferResult::Connected => TransferAnswer::Connected,
            TransferResult::Returned => TransferAnswer::Returned,
            // Cancelled by the script: how it would have gone is not known.
            TransferResult::Failed { status: 487, .. } => return,
            TransferResult::Failed { status: 486, .. } => TransferAnswer::Busy,
            TransferResult::Failed { status: 480 | 408, .. } => TransferAnswer::NoAnswer,
            TransferResult::Failed { status, reason } => {
                TransferAnswer::Status { status: *status, reason: Some(reason.clone()) }
            }
        };
        match expected.after {
            // It was joined then, and they talked since.
            Some(joined) if *result == TransferResult::Returned => {
                expected.talk = Some(between(began + joined.millis(), at));
            }
            Some(_) => {}
            None if answers != TransferAnswer::NoAnswer => expected.after = Some(between(began, at)),
            None => {}
        }
        expected.answers = Some(answers);
    }

    /// What the script wrote down.
    fn left(&mut self, call: HostCall) {
        match call {
            HostCall::SetField { name, value } => {
                self.result.fields.insert(name, serde_json::from_str(&value).unwrap_or(Value::Null));
            }
            HostCall::SetDisposition { disposition } => self.result.disposition = Some(disposition),
            HostCall::SetIntent { name, grade } => {
                self.result.intent = Some(IntentExpected { name, grade });
            }
            HostCall::AddTag { tag } if !self.result.tags.contains(&tag) => self.result.tags.push(tag),
            HostCall::SetOptOut => self.result.opt_out = Some(true),
            _ => {}
        }
    }

    /// Puts what is looked at in the end where it belongs: before `ended`, which is the last step.
    fn close(&mut self) {
        self.pressed();
        let end = self.steps.iter().position(|step| matches!(step, Step::Ended(_)));
        // What the script did after the end is expected before it is said that it was the end.
        let end = end.map(|at| self.steps.remove(at));
        if end.is_some() && self.result != ResultExpected::default() {
            self.steps.push(Step::Result(std::mem::take(&mut self.result)));
        }
        self.steps.extend(end);
    }
}

fn between(from: Time, to: Time) -> Span {
    Span(Millis::try_from(to.since(from)).unwrap_or(Millis::MAX))
}
