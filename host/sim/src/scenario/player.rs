//! The far end of a scenario: does its steps one after the other, and sees whether what comes is what was expected.
//!
//! A step is done or waits; only what the call's end leaves behind is looked at afterwards, in [`Player::finish`].

mod ending;

pub(crate) use ending::is_failure;

use super::matching::{Wanted, contains, text_diff};
use super::order::needs_the_caller;
use super::problem::Place;
use super::seen::{Fetch, Seen, take_once};
use super::setting::{hearing, model_plans, source_plan, transfer_plan};
use super::span::Span;
use super::step::{Expect, Heard, Interrupt, Say, Silence, Step, TransferExpected};
use super::suite::{PlacedStep, Run};
use super::verdict::Failure;
use crate::far_end::{Act, FarEnd, Hearing, KEY_PACE, Move, REACTION, Saying, Sight};
use crate::situation::WORDS_A_MINUTE;
use crate::words::spoken;
use callbox_dialogue::Time;
use std::future::{Future, ready};

/// How long a caller waits for somebody to say something before it acts all the same.
const PATIENCE: u64 = 10_000;
/// How long it waits for a sign that its words were understood.
const UNDERSTANDING: u64 = 1_500;
/// How long it stays after its last step when the robot waits for it.
const FAREWELL: u64 = 1_000;
/// When an outbound call is picked up where a step says only that it is.
const PICK_UP: u64 = 3_000;

/// Plays the steps of one call.
pub(super) struct Player<'a> {
    run: &'a Run,
    /// The step that is played.
    step: usize,
    doing: Doing,
    since: Since,
    seen: Seen,
    /// When the caller has stopped speaking.
    speaks_until: Time,
    failure: Option<Failure>,
}

/// When the step before was done.
#[derive(Clone, Copy, Debug)]
enum Since {
    At(Time),
    /// When this prompt is over.
    EndOf(usize),
}

/// How far the step is that is played.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Nothing,
    /// So many keys were pressed; the next at this time.
    Keys(usize, Time),
    /// The act is done; the step is, at this time.
    Acted(Time),
    /// It waits for the prompt with this index.
    Prompt(usize),
}

/// What becomes of a step.
enum Played {
    Done(Since),
    Act(Time, Act),
    Wait,
    Failed(Box<Failure>),
}

impl FarEnd for Player<'_> {
    fn saw(&mut self, at: Time, sight: &Sight) {
        self.seen.saw(at, sight);
    }

    fn next(&mut self, now: Time, next: Option<Time>) -> impl Future<Output = Move> + Send {
        ready(self.decide(now, next))
    }
}

impl<'a> Player<'a> {
    pub(super) fn new(run: &'a Run) -> Self {
        Self {
            run,
            step: 0,
            doing: Doing::Nothing,
            since: Since::At(Time::ZERO),
            seen: Seen::default(),
            speaks_until: Time::ZERO,
            failure: None,
        }
    }

    fn decide(&mut self, now: Time, next: Option<Time>) -> Move {
        let run = self.run;
        loop {
            let Some(PlacedStep { step, place }) = run.steps.get(self.step) else { return self.leave(now, next) };
            let played = match self.doing {
                // Nobody notices when a source changes.
                Doing::Acted(_) if matches!(step, Step::Source(_) | Step::Model(_)) => Played::Done(self.since),
                Doing::Acted(at) => Played::Done(Since::At(at)),
                _ => self.play(step, *place, now, next),
            };
            match played {
                Played::Done(since) => {
                    self.since = since;
                    self.step += 1;
                    self.doing = Doing::Nothing;
                }
                // What comes first may change what the caller does.
                Played::Act(at, _) if next.is_some_and(|next| next < at) => return Move::Pass,
                Played::Act(at, act) => {
                    self.acts(at.max(now), step, &act);
                    return Move::Act { at, act };
                }
                Played::Wait => return Move::Pass,
                Played::Failed(failure) => {
                    let why = failure.message.clone();
                    self.failure = Some(*failure);
                    return Move::Abandon { why };
                }
            }
        }
    }

    /// Notes that the step's act takes place now.
    fn acts(&mut self, at: Time, step: &Step, act: &Act) {
        let over = match act {
            Act::Say(saying) => {
                let rate = saying.rate.or(self.run.given.words_a_minute).unwrap_or(WORDS_A_MINUTE);
                self.seen.unheard = true;
                at.max(self.speaks_until) + u64::from(spoken(&saying.text, rate))
            }
            Act::Noise { length } => at.max(self.speaks_until) + u64::from(*length),
            _ => at,
        };
        self.speaks_until = self.speaks_until.max(over);
        let keys = match step {
            Step::Press(press) => Some((press.keys.chars().count(), press.pace)),
            Step::Interrupt(Interrupt { press: Some(keys), .. }) => Some((keys.chars().count(), None)),
            _ => None,
        };
        self.doing = match (keys, self.doing) {
            (Some((count, pace)), doing) => {
                let pressed = 1 + if let Doing::Keys(pressed, _) = doing { pressed } else { 0 };
                let next = at + pace.unwrap_or(Span(KEY_PACE)).millis();
                if pressed < count { Doing::Keys(pressed, next) } else { Doing::Acted(at) }
            }
            (None, _) => Doing::Acted(over),
        };
    }

    /// After the last step the caller goes, once the robot waits for it or has nothing to say.
    fn leave(&self, now: Time, next: Option<Time>) -> Move {
        let stays = matches!(self.run.steps.last().map(|last| &last.step), Some(Step::Ended(_)));
        if stays || self.seen.ended.is_some() || self.seen.transferring || self.seen.sounding.is_some() {
            return Move::Pass;
        }
        let patience = if self.seen.awaited { FAREWELL } else { PATIENCE };
        let at = (self.calm(now) + patience).max(now);
        if next.is_some_and(|next| next < at) { Move::Pass } else { Move::Act { at, act: Act::HangUp } }
    }

    /// When the step before was done; now, where its prompt still sounds.
    fn reference(&self, now: Time) -> Time {
        match self.since {
            Since::At(at) => at,
            Since::EndOf(prompt) => self.seen.prompts.get(prompt).and_then(|prompt| prompt.ended).unwrap_or(now),
        }
    }

    /// Since when nobody speaks and nothing is done.
    fn calm(&self, now: Time) -> Time {
        self.reference(now).max(self.seen.quiet_since).max(self.speaks_until)
    }

    /// When a polite caller acts, so long after the robot has finished; none while that cannot be told.
    fn politely(&self, after: Option<Span>, now: Time, next: Option<Time>) -> Option<Time> {
        let reaction = self.run.given.reaction.unwrap_or(Span(REACTION)).millis();
        let after = after.map(Span::millis);
        if next.is_none() {
            // Nothing happens unless the caller makes it happen.
            return Some(now);
        }
        let up = self.seen.up?;
        if self.seen.sounding.is_some() {
            return None;
        }
        let calm = self.calm(now).max(up);
        let wait = match after {
            Some(after) => after,
            None if self.seen.unheard => reaction.max(UNDERSTANDING),
            None => reaction,
        };
        let patience = if self.seen.turn { 0 } else { PATIENCE };
        Some((calm + wait.max(patience)).max(now))
    }

    fn play(&mut self, step: &Step, place: Place, now: Time, next: Option<Time>) -> Played {
        if self.seen.ended.is_some() && !outlives_the_call(step) {
            return Played::Failed(Box::new(self.missed(step, place)));
        }
        match step {
            Step::Expect(expect) => self.expect(expect, place),
            Step::Heard(heard) => self.heard(heard, place),
            Step::Press(press) => self.press(&press.keys, |player| player.politely(press.after, now, next)),
            Step::Say(say) => match self.politely(say.after, now, next) {
                Some(at) => Played::Act(at, Act::Say(saying(say))),
                None => Played::Wait,
            },
            Step::Noise(length) => match self.politely(None, now, next) {
                Some(at) => Played::Act(at, Act::Noise { length: length.0 }),
                None => Played::Wait,
            },
            Step::Silence(Silence::For(length)) => match self.politely(Some(Span(0)), now, next) {
                Some(at) => Played::Done(Since::At(at + length.millis())),
                None => Played::Wait,
            },
            Step::Silence(Silence::UntilRobot) => self.until_robot(),
            Step::Interrupt(interrupt) => self.interrupt(interrupt, place, now),
            Step::HangUp(hang_up) => self.hang_up(hang_up.after, now, next),
            Step::PickUp(moves) => {
                let at = self.reference(now) + moves.after.map_or(PICK_UP, Span::millis);
                Played::Act(at, Act::Answer)
            }
            Step::Refuse(refuse) => {
                let at = self.reference(now) + refuse.after.map_or(PICK_UP, Span::millis);
                let reason = refuse.reason.clone().unwrap_or_else(|| phrase(refuse.status).to_owned());
                Played::Act(at, Act::Refuse { status: refuse.status, reason })
            }
            Step::Message(message) => Played::Act(self.reference(now), Act::Message { json: message.0.to_string() }),
            Step::Wait(length) => match self.since {
                Since::EndOf(_) if self.seen.sounding.is_some() => Played::Wait,
                _ => Played::Done(Since::At(self.reference(now) + length.millis())),
            },
            Step::Source(change) => {
                let plan = source_plan(&change.answer());
                Played::Act(self.reference(now), Act::Source { name: change.name.clone(), plan })
            }
            Step::Model(change) => {
                let plans = model_plans(&change.answers);
                Played::Act(self.reference(now), Act::Model { name: change.name.clone(), plans })
            }
            Step::OperatorHangUp(moves) => {
                let at = self.reference(now) + moves.after.map_or(0, Span::millis);
                Played::Act(at, Act::OperatorHangUp { why: "the scenario's operator".into() })
            }
            Step::Drain(drain) => Played::Act(self.reference(now), Act::Drain { within: drain.within.0 }),
            Step::Transfer(transfer) => self.transfer(transfer, place, now),
            _ => self.look(step, place).unwrap_or(Played::Wait),
        }
    }

    // ---- what the caller does

    fn press(&self, keys: &str, first: impl FnOnce(&Self) -> Option<Time>) -> Played {
        let (pressed, at) = match self.doing {
            Doing::Keys(pressed, at) => (pressed, at),
            _ => match first(self) {
                Some(at) => (0, at),
                None => return Played::Wait,
            },
        };
        match keys.chars().nth(pressed) {
            Some(digit) => Played::Act(at, Act::Press { digit }),
            None => Played::Done(Since::At(at)),
        }
    }

    fn until_robot(&mut self) -> Played {
        let Doing::Prompt(index) = self.doing else {
            self.doing = Doing::Prompt(self.seen.prompts.len());
            return Played::Wait;
        };
        match self.seen.prompts.get(index) {
            Some(prompt) => Played::Done(Since::At(prompt.started)),
            None if self.seen.transferring || self.seen.ended.is_some() => Played::Done(self.since),
            None => Played::Wait,
        }
    }

    fn interrupt(&mut self, interrupt: &Interrupt, place: Place, now: Time) -> Played {
        let index = match self.doing {
            Doing::Prompt(index) => index,
            Doing::Keys(..) => usize::MAX,
            _ => self.seen.sounding.unwrap_or(self.seen.prompts.len()),
        };
        if index != usize::MAX {
            self.doing = Doing::Prompt(index);
            let Some(prompt) = self.seen.prompts.get(index) else { return Played::Wait };
            let at = prompt.started + interrupt.after.millis();
            if let Some(ended) = prompt.ended.filter(|ended| *ended < at) {
                let took = duration(ended.since(prompt.started));
                let message = format!("the caller could not break in after {}", interrupt.after);
                let failure =
                    Failure::new(place, now, message).came(format!("\"{}\" was over after {took}", prompt.text));
                return Played::Failed(Box::new(failure));
            }
            let at = at.max(now);
            return match (&interrupt.say, &interrupt.press) {
                (Some(text), _) => Played::Act(at, Act::Say(Saying::words(text.as_str()))),
                (None, Some(keys)) => self.press(keys, |_| Some(at)),
                (None, None) => Played::Done(Since::At(at)),
            };
        }
        self.press(interrupt.press.as_deref().unwrap_or_default(), |_| None)
    }

    fn hang_up(&self, after: Option<Span>, now: Time, next: Option<Time>) -> Played {
        match after {
            Some(Span(0)) => Played::Act(now, Act::HangUp),
            // Also before anybody has answered.
            Some(after) if self.seen.up.is_none() => {
                Played::Act((self.reference(now) + after.millis()).max(now), Act::HangUp)
            }
            _ => match self.politely(after, now, next) {
                Some(at) => Played::Act(at, Act::HangUp),
                None => Played::Wait,
            },
        }
    }

    // ---- what is expected

    fn expect(&mut self, expect: &Expect, place: Place) -> Played {
        // Asked again whenever anything happens: mostly it is no prompt.
        let from = self.seen.prompts_taken;
        if from >= self.seen.prompts.len() {
            return Played::Wait;
        }
        let wanted = Wanted::prompt(expect);
        let found = (self.seen.prompts.iter().enumerate().skip(from)).find(|(_, prompt)| wanted.is(&prompt.text));
        let Some((index, prompt)) = found else { return Played::Wait };
        let started = prompt.started;
        if let Some(late) = self.late(expect.within, started, place, &format!("the robot to say {wanted}")) {
            return late;
        }
        self.seen.prompts_taken = index + 1;
        Played::Done(Since::EndOf(index))
    }

    /// The failure of what came too late.
    fn late(&self, within: Option<Span>, at: Time, place: Place, what: &str) -> Option<Played> {
        let took = at.since(self.reference(at));
        let within = within.filter(|within| took > within.millis())?;
        let failure = Failure::new(place, at, format!("expected {what} within {within}"));
        Some(Played::Failed(Box::new(failure.came(format!("it took {}", duration(took))))))
    }

    fn heard(&self, heard: &Heard, place: Place) -> Played {
        let last = self.seen.prompts_taken.checked_sub(1).and_then(|index| self.seen.prompts.get(index));
        let Some((prompt, at)) = last.and_then(|prompt| Some((prompt, prompt.ended?))) else { return Played::Wait };
        let wanted = Wanted::heard(heard);
        if !wanted.is(&prompt.heard) {
            let failure = Failure::new(place, at, format!("expected that the caller heard {wanted}"))
                .came(format!("it heard \"{}\"", prompt.heard))
                .diff(text_diff(&wanted, std::iter::once(prompt.heard.as_str())));
            return Played::Failed(Box::new(failure));
        }
        match heard.complete {
            Some(complete) if complete != prompt.complete => {
                let (wanted, was) =
                    if complete { ("to its end", "it was cut off") } else { ("in part", "all of it was") };
                let message = format!("expected that the prompt was played {wanted}");
                Played::Failed(Box::new(Failure::new(place, at, message).came(was)))
            }
            _ => Played::Done(self.since),
        }
    }

    fn transfer(&mut self, wanted: &TransferExpected, place: Place, now: Time) -> Played {
        let Some((at, (target, mode))) = self.seen.transfers.rest().first() else { return Played::Wait };
        let (at, mode) = (*at, *mode);
        let by = wanted.mode.map(|mode| format!(" by {}", mode.as_str())).unwrap_or_default();
        if *target != wanted.to || wanted.mode.is_some_and(|wanted| wanted != mode) {
            let message = format!("expected a transfer to {}{by}", wanted.to);
            let failure = Failure::new(place, at, message)
                .came(format!("the script transferred to {target} by {}", mode.as_str()))
                .diff(text_diff(&Wanted::Exact(wanted.to.clone()), std::iter::once(target.as_str())));
            return Played::Failed(Box::new(failure));
        }
        if let Some(late) = self.late(wanted.within, at, place, &format!("a transfer to {}", wanted.to)) {
            return late;
        }
        self.seen.transfers.taken += 1;
        let given = self.run.given.transfers.get(&wanted.to);
        let says_how = wanted.answers.is_some() || wanted.after.is_some() || wanted.talk.is_some();
        if says_how && self.seen.transferring {
            return Played::Act(now, Act::Transfer(transfer_plan(&wanted.plan(given))));
        }
        Played::Done(Since::At(at))
    }

    /// Steps that look for something the script does beside the conversation; none while it is not there.
    fn look(&mut self, step: &Step, place: Place) -> Option<Played> {
        let seen = &mut self.seen;
        let at = match step {
            Step::Node(name) => seen.nodes.take(|node| node == name),
            Step::DigitsSent(digits) => seen.digits.take(|sent| sent == digits),
            Step::Fetched(fetched) => take_once(&mut seen.fetches, |(source, parameters): &Fetch| {
                let has = |(name, value): (&String, &String)| parameters.iter().any(|(n, v)| n == name && v == value);
                *source == fetched.source && fetched.parameters.iter().all(has)
            }),
            Step::Asked(asked) => take_once(&mut seen.asks, |(model, said)| asked.is(model, said)),
            Step::Pushed(pushed) => take_once(&mut seen.pushes, |(to, body)| {
                *to == pushed.to && pushed.body.as_ref().is_none_or(|wanted| contains(wanted, body))
            }),
            Step::Logged(logged) => {
                let wanted = Wanted::logged(logged);
                take_once(&mut seen.logs, |(level, message)| {
                    logged.level.is_none_or(|wanted| wanted == *level) && wanted.is(message)
                })
            }
            // Looked at when the call is over.
            Step::Result(_) => return Some(Played::Done(self.since)),
            _ => return None,
        }?;
        let within = if let Step::Pushed(pushed) = step { pushed.within } else { None };
        if let Some(late) = self.late(within, at, place, "a message") {
            return Some(late);
        }
        // Beside the conversation: what the next step counts from stays.
        Some(Played::Done(self.since))
    }
}

/// Whether a step can still be done once the call is over: also one that needs a caller and looks at what was before.
const fn outlives_the_call(step: &Step) -> bool {
    !needs_the_caller(step) || matches!(step, Step::Silence(_) | Step::DigitsSent(_) | Step::Transfer(_))
}

fn saying(say: &Say) -> Saying {
    let heard = match (&say.understood_as, say.confidence) {
        (None, None) => Hearing::Perfect,
        (Some(text), _) if text.trim().is_empty() => Hearing::Nothing,
        (text, confidence) => hearing(text.as_ref().unwrap_or(&say.text), confidence),
    };
    Saying { text: say.text.clone(), rate: say.words_a_minute, heard }
}

fn duration(ms: u64) -> String {
    Span(u32::try_from(ms).unwrap_or(u32::MAX)).to_string()
}

/// The usual reason phrase of a SIP status (RFC 3261 section 21).
pub(super) const fn phrase(status: u16) -> &'static str {
    match status {
        404 => "Not Found",
        480 => "Temporarily Unavailable",
        486 => "Busy Here",
        503 => "Service Unavailable",
        600 => "Busy Everywhere",
        603 => "Decline",
        _ => "Refused",
    }
}
