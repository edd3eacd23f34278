//! The person at the far end of a chat: told what happens, asked what to do.
//!
//! Everything that was done is kept with its virtual time. To take a turn back the call is played again with the acts
//! before it, which brings it to the very same place, because nothing else decides how a simulated call goes.

use super::Pace;
use super::command::{Entry, HELP, Voice, parse};
use super::input::{Line, Lines};
use super::save::Saver;
use super::screen::Screen;
use callbox_dialogue::llm::Request;
use callbox_dialogue::script::Handle;
use callbox_dialogue::time::Millis;
use callbox_dialogue::{HostCall, HostReply, Time};
use callbox_sim::model::ModelPlan;
use callbox_sim::trace::{Renderer, clock, span};
use callbox_sim::{Act, Exchange, FarEnd, KEPT, KEY_PACE, Move, Saying, Sight, SourcePlan, awaits_the_caller, spoken};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Something the person did.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    /// Where the call is to be again when this is taken back.
    back_to: Time,
    /// As it was typed.
    line: String,
    /// What came of it.
    acts: Vec<(Time, Act)>,
}

impl Turn {
    /// As it was typed.
    pub(super) fn line(&self) -> &str {
        &self.line
    }
}

/// What a call repeats of one before.
#[derive(Default)]
pub(super) struct Past {
    /// What was done.
    pub(super) turns: Vec<Turn>,
    /// Up to when.
    pub(super) to: Time,
    /// What language models were asked, and what they did.
    pub(super) answers: Vec<(Request, ModelPlan)>,
}

/// Why a call ended before it was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// The call is to be played again with these turns, up to this moment.
    Back { turns: usize, to: Time },
    /// A new call.
    Again,
    /// Enough.
    Home,
}

/// The person at the far end.
pub(super) struct Person<'a> {
    pub(super) lines: &'a mut Lines,
    pub(super) screen: &'a mut Screen,
    pub(super) saver: &'a Saver,
    pace: Pace,
    reaction: u64,
    words_a_minute: u16,
    /// What was done so far, in this call and in those it repeats.
    pub(super) turns: Vec<Turn>,
    /// What is going to be done.
    planned: VecDeque<(Time, Act)>,
    /// Nobody is asked before.
    floor: Time,
    /// No more lines come: the caller has hung up, or is about to.
    gone: bool,
    /// The caller waits until the robot goes on.
    silent: bool,
    /// The caller speaks until then.
    speaks_until: Time,
    /// To be done so long after the next prompt begins.
    break_in: Option<(Millis, Voice)>,
    /// When real time and the call's met.
    met: Option<(Instant, Time)>,
    robot: Robot,
    pub(super) leaving: Option<Leaving>,
    /// A command did not do what it should.
    pub(super) failed: bool,
    pub(super) sights: Vec<(Time, Sight)>,
    /// What sources were told to do.
    pub(super) world: Vec<(String, SourcePlan)>,
    /// What language models were asked in the call that is repeated, and did.
    repeated: VecDeque<(Request, ModelPlan)>,
    /// The same of this call, so far.
    pub(super) answers: Vec<(Request, ModelPlan)>,
}

/// What is known of the other side.
#[derive(Debug, Default)]
struct Robot {
    /// When the prompt that sounds began.
    speaks_since: Option<Time>,
    /// When the last prompt began.
    spoke_at: Option<Time>,
    /// What it was.
    words: String,
    /// What the script waits for.
    waits: Option<(Time, HostCall)>,
    /// Handles that bring nothing the caller says: timers, requests, transfers, playbacks.
    deaf: BTreeSet<Handle>,
    node: Option<String>,
    pushes: usize,
    answered: bool,
    over: bool,
}

impl Robot {
    fn saw(&mut self, at: Time, sight: &Sight) {
        match sight {
            Sight::PromptStarted { text, .. } => {
                (self.speaks_since, self.spoke_at) = (Some(at), Some(at));
                self.words.clone_from(text);
            }
            Sight::PromptGrew { text, .. } => {
                self.words.push(' ');
                self.words.push_str(text);
            }
            Sight::PromptEnded { .. } => self.speaks_since = None,
            Sight::Asked { call } => self.waits = Some((at, call.clone())),
            Sight::Replied { reply, .. } => {
                if let (Some((_, call)), Ok(HostReply::Handle(handle))) = (self.waits.take(), reply)
                    && !matches!(call, HostCall::StartListen { .. })
                    && self.deaf.len() < 10_000
                {
                    self.deaf.insert(*handle);
                }
            }
            Sight::Node { name } => self.node = Some(name.clone()),
            Sight::Pushed(_) => self.pushes += 1,
            Sight::Answered => self.answered = true,
            Sight::Ended { .. } => self.over = true,
            _ => {}
        }
    }

    /// Whether the script waits for what the caller does.
    fn listens(&self) -> bool {
        match &self.waits {
            // The model thinks first; then it has its say.
            Some((since, HostCall::AskModel { .. })) => self.spoke_at.is_some_and(|spoke| spoke >= *since),
            Some((_, HostCall::Select { handles, .. })) => handles.iter().any(|handle| !self.deaf.contains(handle)),
            Some((_, call)) => awaits_the_caller(call),
            None => false,
        }
    }
}

impl<'a> Person<'a> {
    pub(super) fn new(
        lines: &'a mut Lines,
        screen: &'a mut Screen,
        saver: &'a Saver,
        pace: Pace,
        Past { turns, to: floor, answers }: Past,
    ) -> Self {
        let planned = turns.iter().flat_map(|turn| turn.acts.iter().cloned()).collect();
        screen.begin();
        screen.muted = floor > Time::ZERO;
        Self {
            pace,
            reaction: saver.reaction(),
            words_a_minute: saver.words_a_minute(),
            lines,
            screen,
            saver,
            turns,
            planned,
            floor,
            gone: false,
            silent: false,
            speaks_until: Time::ZERO,
            break_in: None,
            met: None,
            robot: Robot::default(),
            leaving: None,
            failed: false,
            sights: Vec::new(),
            world: Vec::new(),
            repeated: answers.into(),
            answers: Vec::new(),
        }
    }

    /// What was done, and where the call was when the last of it was begun.
    pub(super) fn without_last(&self) -> Option<Leaving> {
        let last = self.turns.last()?;
        Some(Leaving::Back { turns: self.turns.len() - 1, to: last.back_to })
    }

    /// Whether it is the caller's turn.
    fn is_asked(&self, now: Time) -> bool {
        !self.silent
            && !self.robot.over
            && self.robot.speaks_since.is_none()
            && now >= self.speaks_until
            && self.robot.listens()
    }

    /// The virtual moment that it is really.
    fn really(&self, base: Time) -> Time {
        match self.met {
            Some((met, at)) => (at + u64::try_from(met.elapsed().as_millis()).unwrap_or(u64::MAX)).max(base),
            None => base,
        }
    }

    /// When a virtual moment comes really.
    fn wall(&self, at: Time) -> Option<Instant> {
        self.met.map(|(met, since)| met + Duration::from_millis(at.since(since)))
    }

    /// What the far end does first.
    async fn decides(&mut self, now: Time, next: Option<Time>) -> Move {
        loop {
            if let Some(leaving) = self.leaving {
                return Move::Abandon { why: format!("{leaving:?}") };
            }
            if let Some((at, act)) = self.planned.front() {
                if next.is_some_and(|next| next < *at) {
                    return Move::Pass;
                }
                let (at, act) = (*at, act.clone());
                self.planned.pop_front();
                return Move::Act { at: at.max(now), act };
            }
            if next.is_some_and(|next| next <= self.floor) {
                return Move::Pass;
            }
            let base = now.max(self.floor);
            self.unmute();
            let asked = self.is_asked(now);
            let running = match self.pace {
                Pace::Step => false,
                Pace::Fast => asked,
                Pace::Real => true,
            };
            if running {
                self.met.get_or_insert_with(|| (Instant::now(), base));
            } else {
                self.met = None;
            }
            let stands = self.gone || (!running && !asked && next.is_some());
            if stands {
                match next {
                    Some(_) => return Move::Pass,
                    None => return Move::Abandon { why: "nothing happens any more".into() },
                }
            }
            let line = if running {
                let shown = self.screen.spoken_until(self.really(base));
                let until = [next, shown].into_iter().flatten().min().and_then(|at| self.wall(at));
                tokio::select! {
                    biased;
                    line = self.lines.next() => line,
                    () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                        if next.is_some_and(|next| self.really(base) >= next) {
                            return Move::Pass;
                        }
                        continue;
                    }
                }
            } else {
                self.lines.next().await
            };
            let at = self.really(base);
            self.typed(line, at).await;
        }
    }

    fn unmute(&mut self) {
        if std::mem::take(&mut self.screen.muted)
            && let Some(at) = self.robot.spoke_at
        {
            let words = std::mem::take(&mut self.robot.words);
            self.screen.again(at, &words);
        }
    }

    async fn typed(&mut self, line: Line, at: Time) {
        match line {
            Line::Interrupted => self.leaving = Some(Leaving::Home),
            Line::Ended => {
                self.gone = true;
                self.turn(at, "(no more lines)", |person, at| vec![(at + person.reaction(), Act::HangUp)]);
            }
            Line::Text(text) => match parse(&text) {
                Ok(entry) => self.does(entry, &text, at).await,
                Err(mistake) => self.mistake(&mistake),
            },
        }
    }

    /// How long the caller thinks: in real time the thinking was done.
    const fn reaction(&self) -> u64 {
        match self.pace {
            Pace::Step => self.reaction,
            Pace::Fast | Pace::Real => 0,
        }
    }

    pub(super) fn mistake(&mut self, mistake: &str) {
        self.failed = true;
        self.screen.say(&format!("  {mistake}"));
    }

    /// Does what makes a turn: plans it, and remembers how to take it back.
    fn turn(&mut self, at: Time, line: &str, acts: impl FnOnce(&Self, Time) -> Vec<(Time, Act)>) {
        let before = self.turns.iter().flat_map(|turn| turn.acts.last()).map(|(at, _)| *at).max().unwrap_or(Time::ZERO);
        let back_to = match (self.pace, self.robot.spoke_at) {
            // Time runs: back to where the robot began to speak last, so that there is time to act.
            (Pace::Real, Some(spoke)) if spoke > before && spoke <= at => spoke - 1,
            // Back to where the wait began.
            (Pace::Fast, _) => self.met.map_or(at, |(_, since)| since),
            _ => at,
        };
        let acts = acts(self, at);
        self.planned.extend(acts);
        // What is done is added when it has been done: see `saw`.
        self.turns.push(Turn { back_to, line: line.to_owned(), acts: Vec::new() });
    }

    async fn does(&mut self, entry: Entry, line: &str, at: Time) {
        match entry {
            Entry::Say(text) => {
                self.speaks_until = at + self.reaction() + u64::from(spoken(&text, self.words_a_minute));
                self.silent = self.pace != Pace::Real;
                self.turn(at, line, |person, at| vec![(at + person.reaction(), Act::Say(Saying::words(text)))]);
            }
            Entry::Keys(keys) => {
                self.silent = self.pace != Pace::Real;
                self.turn(at, line, |person, at| pressed(&keys, at + person.reaction()));
            }
            Entry::Silence => {
                if self.pace != Pace::Real {
                    self.silent = true;
                    self.turn(at, "(silence)", |_, _| Vec::new());
                }
            }
            Entry::Interrupt { after, with } => {
                self.break_in = Some((after, with));
                self.silent = self.pace != Pace::Real;
                self.turn(at, line, |_, _| Vec::new());
            }
            Entry::HangUp => self.turn(at, line, |person, at| vec![(at + person.reaction(), Act::HangUp)]),
            Entry::Wait(ms) => match self.pace {
                Pace::Real => self.mistake("time goes by itself here"),
                Pace::Step | Pace::Fast => {
                    self.turn(at, line, |_, _| Vec::new());
                    self.floor = at + u64::from(ms);
                    self.met = None;
                }
            },
            Entry::Transfer(plan) => self.turn(at, line, |_, at| vec![(at, Act::Transfer(plan))]),
            Entry::Source { name, plan } => {
                self.world.push((name.clone(), plan.clone()));
                self.turn(at, line, |_, at| vec![(at, Act::Source { name, plan })]);
            }
            Entry::Message(json) => self.turn(at, line, |_, at| vec![(at, Act::Message { json })]),
            Entry::Undo => match self.without_last() {
                Some(leaving) => self.leaving = Some(leaving),
                None => self.mistake("there is nothing to take back"),
            },
            Entry::Again => self.leaving = Some(Leaving::Again),
            Entry::Quit => self.leaving = Some(Leaving::Home),
            Entry::Status => self.status(at),
            other => self.looks(other).await,
        }
    }

    /// What can be done after the call, too.
    pub(super) async fn looks(&mut self, entry: Entry) {
        match entry {
            Entry::Trace(Some(on)) => self.screen.trace = on,
            Entry::Trace(None) => {
                for line in trace(&self.sights) {
                    let line = self.screen.paper.trace(&line);
                    self.screen.say(&line);
                }
            }
            Entry::Save { file, name } => {
                match self.saver.save(&file, name.as_deref(), &self.sights, &self.answers).await {
                    Ok(told) => self.screen.say(&format!("  {told}")),
                    Err(why) => self.mistake(&why),
                }
            }
            Entry::Source { name, plan } => {
                self.world.push((name, plan));
                self.screen.say("  from the next call on: /again");
            }
            Entry::Help => self.screen.say(HELP),
            _ => self
                .mistake("the call is over; /undo takes your last turn back, /again begins a new call, /quit leaves"),
        }
    }

    fn status(&mut self, at: Time) {
        let mut lines = vec![format!("  {} into the call", clock(at))];
        lines.push(match (&self.robot.waits, self.robot.speaks_since) {
            (Some((since, call)), _) => {
                format!("  the script waits since {} in {}", clock(*since), self.screen.asked(call))
            }
            (None, _) => "  the script computes".into(),
        });
        if let Some(since) = self.robot.speaks_since {
            lines.push(format!("  the robot speaks since {}", span(at.since(since))));
        }
        if !self.robot.answered {
            lines.push("  the call is not answered".into());
        }
        if let Some(node) = &self.robot.node {
            lines.push(format!("  last breadcrumb: {node}"));
        }
        let turns = self.turns.len();
        lines.push(format!("  {turns} turns of yours, {} pushed", self.robot.pushes));
        self.screen.say(&lines.join("\n"));
    }
}

impl FarEnd for Person<'_> {
    fn saw(&mut self, at: Time, sight: &Sight) {
        self.robot.saw(at, sight);
        let (screen, rate) = (&mut *self.screen, self.words_a_minute);
        screen.saw(at, sight, rate);
        match sight {
            // While the call is repeated, the acts are in their turns already.
            Sight::Did { act } => {
                let repeated = self.turns.iter().any(|turn| turn.acts.contains(&(at, act.clone())));
                if let Some(turn) = self.turns.last_mut().filter(|_| !repeated) {
                    turn.acts.push((at, act.clone()));
                }
            }
            Sight::PromptStarted { .. } => {
                self.silent = false;
                if let Some((after, with)) = self.break_in.take() {
                    let from = at + u64::from(after);
                    self.planned.extend(match with {
                        Voice::Words(text) => vec![(from, Act::Say(Saying::words(text)))],
                        Voice::Keys(keys) => pressed(&keys, from),
                    });
                }
            }
            // A question of its own, and not the one that was answered.
            Sight::Asked { .. } if self.planned.is_empty() && self.robot.listens() => {
                self.silent = false;
            }
            _ => {}
        }
        if self.sights.len() < KEPT {
            self.sights.push((at, sight.clone()));
        }
    }

    async fn next(&mut self, now: Time, next: Option<Time>) -> Move {
        self.decides(now, next).await
    }

    async fn model(&mut self, request: &Request) -> Option<ModelPlan> {
        // A call that is repeated is the same as long as the same is asked.
        let plan = match self.repeated.pop_front().filter(|(asked, _)| asked == request) {
            Some((_, plan)) => plan,
            None => {
                self.repeated.clear();
                self.saver.models.answer(request).await?
            }
        };
        self.answers.push((request.clone(), plan.clone()));
        Some(plan)
    }
}

fn pressed(keys: &str, from: Time) -> Vec<(Time, Act)> {
    keys.chars().zip(0u64..).map(|(digit, n)| (from + n * u64::from(KEY_PACE), Act::Press { digit })).collect()
}

/// The host calls among what was seen.
fn trace(sights: &[(Time, Sight)]) -> Vec<String> {
    let mut renderer = Renderer::default();
    let mut pending: Option<(Time, HostCall)> = None;
    let mut lines = Vec::new();
    for (at, sight) in sights {
        match sight {
            Sight::Asked { call } => pending = Some((*at, call.clone())),
            Sight::Replied { reply, sensitive } => {
                if let Some((asked, call)) = pending.take() {
                    lines.push(renderer.line(asked, *at, &call, reply, *sensitive));
                }
            }
            _ => {}
        }
    }
    if let Some((asked, call)) = pending {
        let exchange = Exchange { asked, answered: None, call, reply: None, sensitive: false };
        lines.push(renderer.exchange(&exchange));
    }
    lines
}
