//! A caller who can be asked afterwards what it did: watches the call, and asks somebody what to do at each turn.

use super::turn::{Deed, Does, Turn};
use super::watch::Watch;
use crate::far_end::{Act, FarEnd, Move, REACTION, Sight};
use crate::situation::TransferPlan;
use callbox_dialogue::Time;
use callbox_dialogue::script::{HostReply, ListenOptions};
use callbox_dialogue::time::Millis;
use std::collections::VecDeque;

/// Turns of one call.
const TURNS: usize = 200;

/// Decides what a caller does.
pub(super) trait Choose: Send {
    /// The robot begins to say this. How long to wait before breaking in, and with what?
    fn interrupts(&mut self, view: &View, text: &str) -> Option<(Millis, Deed)>;
    /// The robot has finished. None lets time pass.
    fn answers(&mut self, view: &View) -> Option<Answer>;
    /// What was answered last did not come to pass: the robot spoke again before.
    fn too_late(&mut self);
    /// The script gives the call away.
    fn transfer(&mut self, view: &View, target: &str) -> TransferPlan;
}

/// What a caller does when it is its turn.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Silence,
    /// So long after the robot has finished; now where that is past.
    Does(Option<Millis>, Deed),
}

/// What a caller knows.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// The script listens.
    pub(super) listening: Option<Box<ListenOptions>>,
    /// The prompts that were over since the last turn.
    pub(super) said: Vec<String>,
    /// Turns so far.
    pub(super) turns: usize,
}

pub(super) struct Caller<C> {
    chooser: C,
    watch: Watch,
    pub(super) turns: Vec<Turn>,
    view: View,
    /// What is yet to be done.
    todo: VecDeque<(Time, Act)>,
    /// The prompt that sounds.
    sounding: Option<String>,
    /// Its interruption, once its time comes.
    interruption: Option<(Time, Millis, Deed)>,
    /// The answer to what the robot has said, once its time comes.
    answer: Option<(Time, Millis, Deed)>,
    /// When the robot has last finished, or the caller.
    quiet_since: Time,
    /// The caller was asked what it does now.
    decided: bool,
    /// It decided to wait for the robot.
    silent: bool,
}

impl<C: Choose> Caller<C> {
    pub(super) fn new(chooser: C, dead_after: Millis) -> Self {
        Self {
            chooser,
            watch: Watch::new(dead_after),
            turns: Vec::new(),
            view: View::default(),
            todo: VecDeque::new(),
            sounding: None,
            interruption: None,
            answer: None,
            quiet_since: Time::ZERO,
            decided: false,
            silent: false,
        }
    }

    fn turn(&mut self, does: Does) {
        let expects = self.view.said.last().cloned();
        self.turns.push(Turn { expects, does });
        self.view.said.clear();
        self.view.turns += 1;
    }

    fn prompt_started(&mut self, at: Time, text: &str) {
        self.silent = false;
        self.decided = false;
        if self.answer.take().is_some() {
            self.chooser.too_late();
        }
        self.sounding = Some(text.to_owned());
        if self.turns.len() < TURNS && self.todo.is_empty() {
            let wanted = self.chooser.interrupts(&self.view, text);
            self.interruption = wanted.map(|(after, act)| (at + u64::from(after), after, act));
        }
    }
}

impl<C: Choose> FarEnd for Caller<C> {
    fn saw(&mut self, at: Time, sight: &Sight) {
        self.watch.saw(at, sight);
        match sight {
            Sight::Answered | Sight::EarlyMedia | Sight::TransferEnded { .. } => self.quiet_since = at,
            Sight::PromptStarted { text, .. } => self.prompt_started(at, text),
            Sight::PromptEnded { text, .. } => {
                self.sounding = None;
                self.interruption = None;
                self.quiet_since = at;
                self.decided = false;
                self.view.said.push(text.clone());
            }
            Sight::Listening { options } => {
                self.view.listening = Some(options.clone());
                self.decided = false;
            }
            Sight::Transfer { target, .. } => {
                let plan = self.chooser.transfer(&self.view, target);
                self.todo.push_back((at, Act::Transfer(plan.clone())));
                self.turn(Does::Transfer { target: target.clone(), plan });
            }
            Sight::Replied { reply: Ok(HostReply::Heard(_) | HostReply::Answer { .. }) | Err(_), .. } => {
                self.view.listening = None;
            }
            _ => {}
        }
    }

    async fn next(&mut self, now: Time, next: Option<Time>) -> Move {
        if self.watch.finding(next).is_some() {
            return Move::Abandon { why: "something was found".into() };
        }
        if self.watch.over {
            return Move::Pass;
        }
        if let Some((at, _)) = self.todo.front() {
            return if next.is_none_or(|next| (*at).max(now) <= next) { self.first(now) } else { Move::Pass };
        }
        if let Some((at, during)) = self.interruption.as_ref().map(|(at, ..)| *at).zip(self.sounding.clone()) {
            if next.is_some_and(|next| next < at) {
                return Move::Pass;
            }
            if let Some((at, after, act)) = self.interruption.take() {
                self.todo.extend(act.acts(at));
                self.turn(Does::Interrupt { during, after, act });
            }
            return self.first(now);
        }
        // A transfer is nobody's turn.
        let my_turn = self.watch.up && !self.watch.busy && self.sounding.is_none() && !self.silent;
        let my_turn = my_turn && self.turns.len() < TURNS;
        if my_turn && !self.decided {
            self.decided = true;
            match self.chooser.answers(&self.view) {
                None => {}
                Some(Answer::Silence) => {
                    self.silent = true;
                    self.turn(Does::Silence);
                }
                Some(Answer::Does(after, act)) => {
                    let soonest = Millis::try_from(now.since(self.quiet_since)).unwrap_or(Millis::MAX);
                    // Somebody who answers a question that came later thinks about it, too.
                    let after = after.unwrap_or(soonest.saturating_add(REACTION)).max(soonest);
                    self.answer = Some((self.quiet_since + u64::from(after), after, act));
                }
            }
        }
        match self.answer.take_if(|(at, ..)| next.is_none_or(|next| *at <= next)) {
            None => Move::Pass,
            Some((at, after, act)) => {
                self.todo.extend(act.acts(at));
                self.turn(Does::Politely { after, act });
                self.decided = false;
                self.first(now)
            }
        }
    }
}

impl<C> Caller<C> {
    /// The first thing that is yet to be done.
    fn first(&mut self, now: Time) -> Move {
        match self.todo.pop_front() {
            Some((at, act)) => {
                self.quiet_since = self.quiet_since.max(at);
                Move::Act { at: at.max(now), act }
            }
            None => Move::Pass,
        }
    }
}
