//! The simulated leg: carries out the engine's commands on nothing but time, and reports what a SIP leg would.
//!
//! As every leg it holds no rule of the dialogue. Its audio is as long as its words; its far end is there at once.

use crate::far_end::{Act, Sight};
use crate::hearing::Ear;
use crate::situation::{CalleeThen, Situation, TransferGoes, TransferPlan};
use crate::speech::{Assets, Audio};
use callbox_dialogue::Time;
use callbox_dialogue::call::{Direction, EndCause, Evidence};
use callbox_dialogue::leg::{LegCommand, LegEvent, PromptId, TransferId, TransferResult, is_caller_id};
use callbox_dialogue::script::{HostError, Segment, TransferMode};
use callbox_dialogue::time::Millis;
use std::collections::{BTreeMap, VecDeque};

/// What a key takes that we send, and the pause behind it; what a comma takes. As the media plane does it.
const KEY: u64 = 160;
const COMMA: u64 = 500;

/// A leg without a telephone.
pub(crate) struct SimLeg<'a> {
    situation: &'a Situation,
    assets: &'a Assets,
    language: String,
    inbound: bool,
    answered: bool,
    ended: bool,
    prompts: BTreeMap<PromptId, Prompt>,
    playing: Option<Playing>,
    /// What is going to happen by itself, in order.
    due: BTreeMap<(Time, u32), Due>,
    order: u32,
    ear: Ear,
    transfer: Option<Transfer>,
    /// For the next transfer, whatever its target.
    next_transfer: Option<TransferPlan>,
    reports: VecDeque<LegEvent>,
    sights: VecDeque<Sight>,
}

#[derive(Debug)]
struct Prompt {
    audio: Audio,
    rate: u16,
    /// More may come.
    open: bool,
    broken: bool,
}

#[derive(Debug)]
struct Playing {
    prompt: PromptId,
    since: Time,
    /// Time in which there was nothing to play, or it was paused.
    starved: u64,
    /// Since when it is paused.
    paused: Option<Time>,
}

impl Playing {
    /// How much of it has sounded, starving included where nobody has counted that yet.
    fn sounded(&self, now: Time) -> u64 {
        self.paused.unwrap_or(now).since(self.since).saturating_sub(self.starved)
    }
}

#[derive(Debug)]
enum Due {
    Rings,
    Answers,
    Refuses(u16, String),
    DigitsSent,
    Transfer(TransferId, Leads),
}

/// What a transfer leads to, in the end or in between.
#[derive(Debug)]
enum Leads {
    /// The target of a bridge is there; then so long after.
    Joined { talk: Millis, returned: bool },
    /// Its end.
    Ends(TransferResult),
    /// The caller hangs up on the target.
    CallerLeaves,
}

#[derive(Debug)]
struct Transfer {
    id: TransferId,
    mode: TransferMode,
    joined: bool,
    ring_timeout: Millis,
}

impl<'a> SimLeg<'a> {
    pub(crate) fn new(situation: &'a Situation, assets: &'a Assets, language: String) -> Self {
        let mut leg = Self {
            situation,
            assets,
            language,
            inbound: situation.direction == Direction::Inbound,
            answered: false,
            ended: false,
            prompts: BTreeMap::new(),
            playing: None,
            due: BTreeMap::new(),
            order: 0,
            ear: Ear::default(),
            transfer: None,
            next_transfer: None,
            reports: VecDeque::new(),
            sights: VecDeque::new(),
        };
        if !leg.inbound {
            let plan = &situation.callee_plan;
            if let Some(rings) = plan.rings {
                leg.later(Time::ZERO + u64::from(rings), Due::Rings);
            }
            let after = Time::ZERO + u64::from(plan.after);
            match &plan.then {
                CalleeThen::Answers => leg.later(after, Due::Answers),
                CalleeThen::Refuses { status, reason } => leg.later(after, Due::Refuses(*status, reason.clone())),
                CalleeThen::Nothing => {}
            }
        }
        leg
    }

    /// What the engine is to be told, in order.
    pub(crate) fn report(&mut self) -> Option<LegEvent> {
        self.reports.pop_front()
    }

    /// What the far end is to be told that is no report.
    pub(crate) fn sight(&mut self) -> Option<Sight> {
        self.sights.pop_front()
    }

    /// When something happens next.
    pub(crate) fn next(&self, now: Time) -> Option<Time> {
        if self.ended {
            return None;
        }
        let due = self.due.keys().next().map(|(at, _)| *at);
        [due, self.playing_ends(), self.ear.next(now)].into_iter().flatten().min()
    }

    /// Lets the next thing happen that is due by `now`.
    pub(crate) fn fire(&mut self, now: Time) {
        if self.ended {
            return;
        }
        if self.playing_ends().is_some_and(|at| at <= now) {
            self.end_playing(now, true);
        } else if let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= now) {
            let due = entry.remove();
            self.happens(now, due);
        } else if let Some(event) = self.ear.fire(now) {
            self.reports.push_back(event);
        }
    }

    fn later(&mut self, at: Time, due: Due) {
        self.order = self.order.wrapping_add(1);
        self.due.insert((at, self.order), due);
    }

    fn happens(&mut self, now: Time, due: Due) {
        match due {
            Due::Rings => self.rings(),
            Due::Answers => self.answers(),
            Due::Refuses(status, reason) => self.refuses(status, reason),
            Due::DigitsSent => self.reports.push_back(LegEvent::DigitsSent),
            Due::Transfer(id, leads) => self.transfer_goes_on(now, id, leads),
        }
    }

    // ---- what the engine wants

    /// Carries out a command of the engine.
    pub(crate) fn command(&mut self, now: Time, command: LegCommand) {
        if self.ended {
            return;
        }
        match command {
            LegCommand::Ring => self.sights.push_back(Sight::Ringing),
            LegCommand::EarlyMedia if self.situation.early_media => self.reports.push_back(LegEvent::EarlyMedia),
            LegCommand::EarlyMedia => {
                let error = HostError::Unavailable("no audio before the answer: the far end has none".into());
                self.reports.push_back(LegEvent::EarlyMediaFailed { error });
            }
            LegCommand::Answer => self.up(),
            LegCommand::Reject { status, reason } => {
                let evidence = Evidence { sip_status: Some(status), sip_reason: reason, q850: None };
                self.over(EndCause::LocalHangup, evidence);
            }
            LegCommand::Hangup => {
                let sip_status = (!self.answered).then_some(487);
                self.over(EndCause::LocalHangup, Evidence { sip_status, ..Evidence::default() });
            }
            LegCommand::Prepare { prompt, segments, voice, open } => {
                let rate = voice.rate.unwrap_or(self.situation.words_a_minute);
                self.prompts.insert(prompt, Prompt { audio: Audio::default(), rate, open, broken: false });
                self.render(now, prompt, &segments);
            }
            LegCommand::Append { prompt, segments } => self.render(now, prompt, &segments),
            LegCommand::Complete { prompt } => {
                if let Some(known) = self.prompts.get_mut(&prompt) {
                    known.open = false;
                }
                self.render(now, prompt, &[]);
            }
            LegCommand::Play { prompt, .. } => self.play(now, prompt),
            LegCommand::Stop { prompt } => {
                if self.playing.as_ref().is_some_and(|playing| playing.prompt == prompt) {
                    self.end_playing(now, false);
                } else {
                    self.prompts.remove(&prompt);
                }
            }
            LegCommand::Pause { prompt } => {
                if let Some(playing) = self.playing.as_mut().filter(|playing| playing.prompt == prompt) {
                    playing.paused.get_or_insert(now);
                }
            }
            LegCommand::Resume { prompt } => {
                if let Some(playing) = self.playing.as_mut().filter(|playing| playing.prompt == prompt) {
                    playing.starved += playing.paused.take().map_or(0, |paused| now.since(paused));
                }
            }
            LegCommand::SendDigits { digits } => {
                let took = digits.chars().map(|digit| if digit == ',' { COMMA } else { KEY }).sum::<u64>();
                self.sights.push_back(Sight::Digits { digits });
                self.later(now + took, Due::DigitsSent);
            }
            LegCommand::Recognise { recognition, options } => {
                self.ear.listen(now, recognition, &options, &self.language);
            }
            LegCommand::EndUtterance { recognition } => self.reports.extend(self.ear.end(recognition)),
            LegCommand::StopRecognising { recognition } => self.ear.stop(recognition),
            LegCommand::Mask { on } => self.sights.push_back(Sight::Masked { on }),
            LegCommand::Transfer { transfer, target, mode, ring_timeout, caller_id, headers } => {
                if caller_id.as_deref().is_none_or(is_caller_id) {
                    self.begin_transfer(now, transfer, mode, &target, ring_timeout);
                } else {
                    self.refuse_transfer(transfer, 403, "the caller id is neither a number nor a plain name");
                }
                self.sights.push_back(Sight::Transfer { transfer, target, mode, caller_id, headers });
            }
            LegCommand::CancelTransfer { transfer } => self.cancel_transfer(transfer),
        }
    }

    // ---- prompts

    fn render(&mut self, now: Time, id: PromptId, segments: &[Segment]) {
        let Some(prompt) = self.prompts.get_mut(&id).filter(|prompt| !prompt.broken) else { return };
        if let Some(playing) = self.playing.as_mut().filter(|playing| playing.prompt == id) {
            // What comes now sounds now, not when it would have sounded.
            playing.starved += playing.sounded(now).saturating_sub(u64::from(prompt.audio.length));
        }
        let had = prompt.audio.begun;
        for segment in segments {
            if let Err(error) = prompt.audio.add(segment, prompt.rate, self.assets) {
                prompt.broken = true;
                self.reports.push_back(LegEvent::PrepareFailed { prompt: id, error });
                return;
            }
        }
        let complete = !prompt.open;
        if !had && (prompt.audio.begun || complete) {
            prompt.audio.begun = true;
            self.reports.push_back(LegEvent::Prepared { prompt: id });
        }
        let (marks, duration) = (prompt.audio.marks.clone(), complete.then_some(prompt.audio.length));
        self.reports.push_back(LegEvent::Words { prompt: id, marks, duration });
    }

    fn play(&mut self, now: Time, prompt: PromptId) {
        if self.prompts.get(&prompt).is_none_or(|known| known.broken) {
            // Without a word the engine would wait for its end.
            let error = HostError::Unavailable("the prompt is not there".into());
            return self.reports.push_back(LegEvent::PrepareFailed { prompt, error });
        }
        self.playing = Some(Playing { prompt, since: now, starved: 0, paused: None });
        self.reports.push_back(LegEvent::PromptStarted { prompt });
    }

    /// When what plays has been played; not while more may come, or while it is paused.
    fn playing_ends(&self) -> Option<Time> {
        let playing = self.playing.as_ref().filter(|playing| playing.paused.is_none())?;
        let prompt = self.prompts.get(&playing.prompt).filter(|prompt| !prompt.open)?;
        Some(playing.since + playing.starved + u64::from(prompt.audio.length))
    }

    fn end_playing(&mut self, now: Time, complete: bool) {
        let Some(playing) = self.playing.take() else { return };
        let length = self.prompts.remove(&playing.prompt).map_or(0, |prompt| prompt.audio.length);
        let played = Millis::try_from(playing.sounded(now)).unwrap_or(Millis::MAX).min(length);
        self.reports.push_back(LegEvent::PromptEnded { prompt: playing.prompt, played, complete });
    }

    // ---- what the far end does

    /// Does what the far end wants; what is no business of a leg is not for it. Nothing where it makes no sense.
    pub(crate) fn act(&mut self, now: Time, act: &Act) {
        if self.ended {
            return;
        }
        match act {
            Act::Press { digit } => self.reports.push_back(LegEvent::Digit { digit: *digit }),
            Act::Say(saying) => self.ear.say(saying, self.situation.words_a_minute),
            Act::Noise { length } => self.ear.noise(*length),
            Act::FailRecogniser { error } => self.reports.extend(self.ear.fail(error.clone())),
            Act::HangUp => self.caller_hangs_up(),
            Act::Ring => self.rings(),
            Act::Answer => self.answers(),
            Act::Refuse { status, reason } => self.refuses(*status, reason.clone()),
            Act::Transfer(plan) => self.plan_transfer(now, plan),
            Act::Source { .. }
            | Act::Model { .. }
            | Act::Message { .. }
            | Act::OperatorHangUp { .. }
            | Act::Drain { .. } => {}
        }
    }

    fn rings(&mut self) {
        if !self.inbound && !self.answered {
            self.reports.push_back(LegEvent::Ringing);
        }
    }

    fn answers(&mut self) {
        if !self.inbound {
            self.up();
        }
    }

    fn refuses(&mut self, status: u16, reason: String) {
        if !self.inbound && !self.answered {
            let evidence = Evidence { sip_status: Some(status), sip_reason: Some(reason), q850: None };
            self.over(EndCause::RemoteHangup, evidence);
        }
    }

    fn up(&mut self) {
        if !self.answered {
            self.answered = true;
            self.due.retain(|_, due| !matches!(due, Due::Rings | Due::Answers | Due::Refuses(..)));
            self.reports.push_back(LegEvent::Answered);
        }
    }

    /// A CANCEL where the call was not answered yet.
    fn caller_hangs_up(&mut self) {
        let sip_status = (self.inbound && !self.answered).then_some(487);
        self.over(EndCause::RemoteHangup, Evidence { sip_status, ..Evidence::default() });
    }

    /// The call is over: nothing follows.
    fn over(&mut self, cause: EndCause, evidence: Evidence) {
        self.ended = true;
        if let Some(Transfer { id, mode: TransferMode::Bridge, joined, .. }) = self.transfer.take() {
            // A caller who leaves a bridge has been served by the target.
            let result = if joined {
                TransferResult::Connected
            } else {
                TransferResult::Failed { status: 487, reason: "the caller hung up".into() }
            };
            self.reports.push_back(LegEvent::TransferEnded { transfer: id, result });
        }
        self.reports.push_back(LegEvent::Ended { cause, evidence, reason: None });
        self.due.clear();
        self.ear.clear();
    }

    // ---- transfers

    fn begin_transfer(&mut self, now: Time, id: TransferId, mode: TransferMode, target: &str, ring_timeout: Millis) {
        if self.transfer.is_some() {
            return self.refuse_transfer(id, 491, "another transfer is under way");
        }
        self.transfer = Some(Transfer { id, mode, joined: false, ring_timeout });
        let planned = self.next_transfer.take().or_else(|| self.situation.transfers.get(target).cloned());
        let plan = planned.unwrap_or_else(|| self.situation.other_transfers.clone());
        self.plan(now, &plan);
    }

    fn refuse_transfer(&mut self, transfer: TransferId, status: u16, reason: &str) {
        let result = TransferResult::Failed { status, reason: reason.to_owned() };
        self.reports.push_back(LegEvent::TransferEnded { transfer, result });
    }

    fn plan_transfer(&mut self, now: Time, plan: &TransferPlan) {
        if self.transfer.is_some() {
            self.due.retain(|_, due| !matches!(due, Due::Transfer(..)));
            self.plan(now, plan);
        } else {
            self.next_transfer = Some(plan.clone());
        }
    }

    /// What becomes of the transfer under way, from now on.
    fn plan(&mut self, now: Time, plan: &TransferPlan) {
        let Some(transfer) = &self.transfer else { return };
        let (id, talk) = (transfer.id, plan.talk);
        let bridge = transfer.mode == TransferMode::Bridge;
        let after = now + u64::from(plan.after);
        let returned = plan.goes == TransferGoes::Returned;
        // A bridge that rings for too long is given up by the host; a REFER is the far end's own affair.
        let rings_until = now + u64::from(transfer.ring_timeout);
        let (at, leads) = match &plan.goes {
            _ if transfer.joined => (after, Leads::Joined { talk, returned }),
            TransferGoes::Never if !bridge => return,
            _ if bridge && (after > rings_until || plan.goes == TransferGoes::Never) => {
                let reason = "nobody answered".to_owned();
                (rings_until, Leads::Ends(TransferResult::Failed { status: 408, reason }))
            }
            TransferGoes::Failed { status, reason } => {
                let (status, reason) = (*status, reason.clone());
                (after, Leads::Ends(TransferResult::Failed { status, reason }))
            }
            _ if bridge => (after, Leads::Joined { talk, returned }),
            _ => (after, Leads::Ends(TransferResult::Connected)),
        };
        self.later(at, Due::Transfer(id, leads));
    }

    fn transfer_goes_on(&mut self, now: Time, id: TransferId, leads: Leads) {
        let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.id == id) else { return };
        match leads {
            Leads::Joined { talk, returned } => {
                if !std::mem::replace(&mut transfer.joined, true) {
                    self.sights.push_back(Sight::Joined { transfer: id });
                }
                let end = if returned { Leads::Ends(TransferResult::Returned) } else { Leads::CallerLeaves };
                self.later(now + u64::from(talk), Due::Transfer(id, end));
            }
            Leads::Ends(result) => self.end_transfer(result),
            Leads::CallerLeaves => self.caller_hangs_up(),
        }
    }

    fn cancel_transfer(&mut self, id: TransferId) {
        let Some(transfer) = self.transfer.as_ref().filter(|transfer| transfer.id == id) else { return };
        self.end_transfer(if transfer.joined {
            // It has taken place: the caller is back as if the target had left.
            TransferResult::Returned
        } else {
            TransferResult::Failed { status: 487, reason: "cancelled".into() }
        });
    }

    fn end_transfer(&mut self, result: TransferResult) {
        let Some(transfer) = self.transfer.take() else { return };
        self.due.retain(|_, due| !matches!(due, Due::Transfer(..)));
        self.reports.push_back(LegEvent::TransferEnded { transfer: transfer.id, result });
    }
}
