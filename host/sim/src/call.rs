//! One simulated call: drives the engine as the actor of a live call does, on a clock that stands still while the
//! script computes and jumps to the next thing that happens while it waits.

use crate::far_end::{Act, FarEnd, LogLine, Move, Push, Sight};
use crate::leg::SimLeg;
use crate::model::SimModels;
use crate::situation::{Situation, SourceAnswer, SourcePlan};
use crate::stage::Stage;
use crate::told::{Exchange, KEPT, Told};
use callbox_dialogue::call::EndReason;
use callbox_dialogue::engine::{Engine, Input, Output};
use callbox_dialogue::leg::{LegEvent, PromptId};
use callbox_dialogue::record::Role;
use callbox_dialogue::script::{Handle, HostCall, HostError, ScriptEnd};
use callbox_dialogue::{Reply, Setup, Time};
use callbox_script::{Answered, ScriptRun, Session};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// Acts of one far end at one moment; beyond, time goes on all the same.
const ACTS_AT_ONCE: u32 = 1_000;

/// Plays one call to its end.
pub(crate) async fn play<F: FarEnd>(stage: &Stage, situation: &Situation, setup: Setup, far_end: &mut F) -> Told {
    let desk = Desk::default();
    let host = stage.host();
    let id = setup.info.id.clone();
    let run = async {
        let (session, script) = (DeskSession(desk.clone()), stage.script().clone());
        match host.reserve() {
            Some(seat) => host.run_until(seat, script, id, session, situation.tape, desk.stopped()).await,
            // Says that no instance is free.
            None => host.run(script, id, session, situation.tape).await,
        }
    };
    let run = pin!(run);
    let language = setup.info.language.clone();
    let mut call = Call {
        now: Time::ZERO,
        engine: Engine::new(setup),
        leg: SimLeg::new(situation, stage.assets(), language),
        sources: situation.sources.clone(),
        models: SimModels::new(&situation.models),
        fetches: BTreeMap::new(),
        order: 0,
        script: Script { run, desk: &desk, computes: true, ended: None },
        far_end,
        seen: Seen::default(),
        acts: 0,
        outputs: VecDeque::new(),
        finished: false,
        abandoned: None,
    };
    call.through().await;
    call.close().await
}

struct Call<'a, R, F> {
    now: Time,
    engine: Engine,
    leg: SimLeg<'a>,
    sources: BTreeMap<String, SourcePlan>,
    models: SimModels,
    /// Answers of sources on their way.
    fetches: BTreeMap<(Time, u32), Fetched>,
    order: u32,
    script: Script<'a, R>,
    far_end: &'a mut F,
    seen: Seen,
    /// Acts at this moment.
    acts: u32,
    /// Taken from the engine and not carried out yet.
    outputs: VecDeque<Output>,
    finished: bool,
    abandoned: Option<String>,
}

/// The answer of a source.
struct Fetched {
    fetch: Handle,
    source: String,
    result: Result<String, HostError>,
}

/// What is kept for [`Told`].
#[derive(Default)]
struct Seen {
    sights: Vec<(Time, Sight)>,
    trace: Vec<Exchange>,
    pushes: Vec<Push>,
    logs: Vec<LogLine>,
    dropped: u64,
    /// The call that waits for its answer.
    pending: Option<(Time, HostCall)>,
    /// Turns of the transcript that were looked at.
    turns: usize,
    sounding: Option<Sounding>,
    ended: bool,
}

/// The prompt that sounds.
struct Sounding {
    prompt: PromptId,
    /// Its turn of the transcript.
    turn: Option<usize>,
    /// Bytes of its text that were told.
    told: usize,
}

impl<R, F> Call<'_, R, F>
where
    R: Future<Output = ScriptRun>,
    F: FarEnd,
{
    async fn through(&mut self) {
        loop {
            self.settle().await;
            if self.finished {
                return;
            }
            let next = self.next();
            if next.is_some_and(|at| at <= self.now) {
                self.happen();
                continue;
            }
            let wanted = if self.acts < ACTS_AT_ONCE { self.far_end.next(self.now, next).await } else { Move::Pass };
            match wanted {
                Move::Act { at, act } if next.is_none_or(|next| at <= next) => {
                    self.go_to(at);
                    self.acts += 1;
                    self.act(act);
                }
                Move::Act { .. } | Move::Pass => match next {
                    Some(at) => self.go_to(at),
                    // The engine always has a limit that ends a call. Should it not, this does.
                    None => self.abandoned = Some("nothing will ever happen any more".into()),
                },
                Move::Abandon { why } => self.abandoned = Some(why),
            }
            if self.abandoned.is_some() {
                return;
            }
        }
    }

    /// When something happens by itself.
    fn next(&self) -> Option<Time> {
        let fetched = self.fetches.keys().next().map(|(at, _)| *at);
        [self.leg.next(self.now), fetched, self.models.next(), self.engine.deadline()].into_iter().flatten().min()
    }

    fn go_to(&mut self, at: Time) {
        if at > self.now {
            self.now = at;
            self.acts = 0;
        }
    }

    /// Lets one thing happen that is due now: in the order in which an actor looks at them.
    fn happen(&mut self) {
        let now = self.now;
        if self.leg.next(now).is_some_and(|at| at <= now) {
            self.leg.fire(now);
        } else if let Some(entry) = self.fetches.first_entry().filter(|entry| entry.key().0 <= now) {
            let Fetched { fetch, source, result } = entry.remove();
            self.see(Sight::Fetched { source, result: result.clone() });
            self.give(Input::Fetched { fetch, result });
        } else if let Some((run, event)) = self.models.fire(now) {
            self.give(Input::Model { run, event });
        } else {
            self.give(Input::Tick);
        }
    }

    /// Carries everything out, and lets the script compute, until only time can bring something new.
    async fn settle(&mut self) {
        loop {
            self.drain().await;
            if self.finished || !self.script.computes {
                return;
            }
            match self.script.goes_on().await {
                Does::Calls(call) => self.asked(call),
                Does::Ends => self.script_ended(),
            }
        }
    }

    /// Carries out all outputs, and hands in all reports of the leg, until both are empty.
    async fn drain(&mut self) {
        loop {
            while let Some(output) = self.outputs.pop_front().or_else(|| self.engine.poll_output()) {
                self.carry_out(output).await;
            }
            while let Some(sight) = self.leg.sight() {
                self.see(sight);
            }
            let Some(report) = self.leg.report() else { return };
            self.reported(report);
        }
    }

    async fn carry_out(&mut self, output: Output) {
        match output {
            Output::Leg(command) => self.leg.command(self.now, command),
            Output::Reply { reply, sensitive } => {
                self.replied(&reply, sensitive);
                self.script.answer(Answered { reply, sensitive, at: self.now });
            }
            Output::Fetch { fetch, source, parameters } => self.fetch(fetch, source, parameters),
            Output::Model { run, request } => {
                let plan = match self.models.planned(&request) {
                    Some(plan) => Some(plan),
                    None => self.far_end.model(&request).await,
                };
                if plan.is_none() {
                    let text =
                        format!("nobody says what the model `{}` answers, so it is not available", request.model);
                    self.see(Sight::Hint { text });
                }
                self.models.ask(self.now, run, &request.model, plan);
                self.see(Sight::AsksModel { request });
            }
            Output::StopModel { run } => self.models.stop(run),
            Output::Push { seq, destination, body } => {
                let push = Push { at: self.now, seq, destination, body };
                self.seen.pushes.push(push.clone());
                self.see(Sight::Pushed(push));
            }
            Output::Log { level, message } => {
                let line = LogLine { at: self.now, level, message };
                self.seen.logs.push(line.clone());
                self.see(Sight::Logged(line));
            }
            Output::StopScript => self.script.stop().await,
            Output::Finished => self.finished = true,
        }
    }

    fn fetch(&mut self, fetch: Handle, source: String, parameters: Vec<(String, String)>) {
        self.see(Sight::Fetch { source: source.clone(), parameters });
        let (after, result) = match self.sources.get(&source) {
            Some(SourcePlan { answer: SourceAnswer::Never, .. }) => return,
            Some(SourcePlan { answer: SourceAnswer::Value(value), after, .. }) if value.is_object() => {
                (*after, Ok(value.to_string()))
            }
            // The host takes no other, however well it is formed.
            Some(SourcePlan { answer: SourceAnswer::Value(_), after, .. }) => {
                let error = format!("source {source}: the answer is JSON but not an object");
                (*after, Err(HostError::Unavailable(error)))
            }
            Some(SourcePlan { answer: SourceAnswer::Failure(error), after, .. }) => (*after, Err(error.clone())),
            None => {
                let text = format!("nobody says what the source `{source}` answers, so it is not available");
                self.see(Sight::Hint { text });
                let error = format!("source {source}: the simulation has no answer for it");
                (0, Err(HostError::Unavailable(error)))
            }
        };
        self.order = self.order.wrapping_add(1);
        self.fetches.insert((self.now + u64::from(after), self.order), Fetched { fetch, source, result });
    }

    fn act(&mut self, act: Act) {
        self.see(Sight::Did { act: act.clone() });
        self.leg.act(self.now, &act);
        match act {
            Act::Source { name, plan } => {
                self.sources.insert(name, plan);
            }
            Act::Model { name, plans } => self.models.change(name, plans),
            Act::Message { json } => self.give(Input::Message(json)),
            Act::OperatorHangUp { why } => self.give(Input::Hangup { reason: EndReason::OperatorHangup, why }),
            Act::Drain { within } => self.give(Input::Drain { within }),
            _ => {}
        }
    }

    // ---- the engine, and what shows of it

    fn give(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        self.look();
    }

    /// What the transcript and the record show since they were last looked at.
    fn look(&mut self) {
        let record = self.engine.record();
        let turns = record.transcript.get(self.seen.turns..).unwrap_or_default();
        let heard = turns.iter().filter(|turn| turn.role == Role::Caller);
        let mut sights: Vec<Sight> =
            heard.map(|turn| Sight::Heard { text: turn.text.clone(), digits: turn.digits.clone() }).collect();
        self.seen.turns = record.transcript.len();
        if let Some(sounding) = &mut self.seen.sounding
            && let Some(turn) = sounding.turn.and_then(|turn| record.transcript.get(turn))
            && let Some(more) = turn.text.get(sounding.told..).filter(|more| !more.is_empty())
        {
            sounding.told = turn.text.len();
            sights.push(Sight::PromptGrew { prompt: sounding.prompt, text: more.trim_start().to_owned() });
        }
        // Where the script has failed the reason is there at once, but the fallback speaks before anybody ends the call.
        let over = record.ended_by.is_some() || record.ended.is_some();
        if let Some(reason) = record.end_reason.filter(|_| over && !self.seen.ended) {
            self.seen.ended = true;
            sights.push(Sight::Ended { by: record.ended_by, reason });
        }
        for sight in sights {
            self.see(sight);
        }
    }

    fn reported(&mut self, report: LegEvent) {
        let turns = self.engine.record().transcript.len();
        let shown = match &report {
            LegEvent::Ringing => Some(Sight::Ringing),
            LegEvent::EarlyMedia => Some(Sight::EarlyMedia),
            LegEvent::Answered => Some(Sight::Answered),
            LegEvent::TransferEnded { transfer, result } => {
                Some(Sight::TransferEnded { transfer: *transfer, result: result.clone() })
            }
            _ => None,
        };
        if let Some(sight) = shown {
            self.see(sight);
        }
        let (started, over) = match &report {
            LegEvent::PromptStarted { prompt } => (Some(*prompt), None),
            LegEvent::PromptEnded { prompt, played, complete } => (None, Some((*prompt, *played, *complete))),
            // The engine ends what sounds by itself.
            LegEvent::Ended { .. } => (None, self.seen.sounding.as_ref().map(|it| (it.prompt, 0, false))),
            _ => (None, None),
        };
        if let Some((prompt, played, complete)) = over {
            self.engine.handle(self.now, Input::Leg(report));
            self.prompt_ended(prompt, played, complete);
            return self.look();
        }
        self.give(Input::Leg(report));
        if let Some(prompt) = started {
            let transcript = &self.engine.record().transcript;
            let turn = (transcript.len() > turns).then(|| transcript.len() - 1);
            let text = turn.and_then(|turn| transcript.get(turn)).map(|turn| turn.text.clone()).unwrap_or_default();
            self.seen.sounding = Some(Sounding { prompt, turn, told: text.len() });
            self.see(Sight::PromptStarted { prompt, text });
        }
    }

    fn prompt_ended(&mut self, prompt: PromptId, played: u32, complete: bool) {
        let Some(sounding) = self.seen.sounding.take_if(|sounding| sounding.prompt == prompt) else { return };
        let turn = sounding.turn.and_then(|turn| self.engine.record().transcript.get(turn));
        let sight = Sight::PromptEnded {
            prompt,
            text: turn.map(|turn| turn.text.clone()).unwrap_or_default(),
            heard_text: turn.and_then(|turn| turn.heard_text.clone()).unwrap_or_default(),
            played: if played > 0 || complete {
                played
            } else {
                turn.map_or(0, |turn| u32::try_from(turn.end_ms.saturating_sub(turn.start_ms)).unwrap_or(u32::MAX))
            },
            interrupted_by: turn.and_then(|turn| turn.interrupted_by.clone()),
            complete,
        };
        self.see(sight);
    }

    // ---- the script

    fn asked(&mut self, call: HostCall) {
        let listens = match &call {
            HostCall::Ask { options, .. }
            | HostCall::AskModel { options, .. }
            | HostCall::Listen { options }
            | HostCall::StartListen { options } => Some(options.clone()),
            _ => None,
        };
        self.see(Sight::Asked { call: call.clone() });
        self.seen.pending = Some((self.now, call.clone()));
        self.give(Input::Script(call));
        if let Some(options) = listens {
            self.outputs.extend(std::iter::from_fn(|| self.engine.poll_output()));
            // What cannot be listened to is refused at once.
            if !self.outputs.iter().any(|output| matches!(output, Output::Reply { reply: Err(_), .. })) {
                self.see(Sight::Listening { options });
            }
        }
    }

    fn replied(&mut self, reply: &Reply, sensitive: bool) {
        let pending = self.seen.pending.take();
        if let (Some((_, HostCall::EnterNode { name })), Ok(_)) = (&pending, reply) {
            self.see(Sight::Node { name: name.clone() });
        }
        self.see(Sight::Replied { reply: reply.clone(), sensitive });
        if let Some((asked, call)) = pending {
            self.seen.keep(Exchange { asked, answered: Some(self.now), call, reply: Some(reply.clone()), sensitive });
        }
    }

    fn script_ended(&mut self) {
        let end = self.script.ended.as_ref().map_or(ScriptEnd::Returned, |run| run.end.clone());
        self.see(Sight::ScriptEnded { end: end.clone() });
        self.give(Input::ScriptEnded(end));
    }

    // ---- the far end

    fn see(&mut self, sight: Sight) {
        self.far_end.saw(self.now, &sight);
        if self.seen.sights.len() < KEPT {
            self.seen.sights.push((self.now, sight));
        } else {
            self.seen.dropped += 1;
        }
    }

    async fn close(self) -> Told {
        let Seen { sights, mut trace, pushes, logs, dropped, pending, .. } = self.seen;
        if let Some((asked, call)) = pending {
            trace.push(Exchange { asked, answered: None, call, reply: None, sensitive: false });
        }
        Told {
            record: self.engine.record().clone(),
            run: self.script.into_run().await,
            pushes,
            logs,
            trace,
            sights,
            dropped,
            ended: self.now,
            abandoned: self.abandoned,
        }
    }
}

impl Seen {
    fn keep(&mut self, exchange: Exchange) {
        if self.trace.len() < KEPT {
            self.trace.push(exchange);
        } else {
            self.dropped += 1;
        }
    }
}

/// The script's run: a part of the call's own task, so that nothing but the two of them decides what comes first.
struct Script<'a, R> {
    run: Pin<&'a mut R>,
    desk: &'a Desk,
    /// It was answered, or has just begun: it calls again, or ends, before time goes on.
    computes: bool,
    ended: Option<ScriptRun>,
}

/// What a script that computes comes to.
enum Does {
    Calls(HostCall),
    Ends,
}

impl<R: Future<Output = ScriptRun>> Script<'_, R> {
    async fn goes_on(&mut self) -> Does {
        let does = poll_fn(|cx| match self.run.as_mut().poll(cx) {
            Poll::Ready(run) => {
                self.ended = Some(run);
                Poll::Ready(Does::Ends)
            }
            // Without a call it has only given way to others.
            Poll::Pending => self.desk.lock().call.take().map_or(Poll::Pending, |call| Poll::Ready(Does::Calls(call))),
        });
        let does = does.await;
        self.computes = false;
        does
    }

    fn answer(&mut self, answered: Answered) {
        self.desk.lock().answer = Some(answered);
        self.computes = self.ended.is_none();
    }

    /// Drops the instance, wherever it is.
    async fn stop(&mut self) {
        if self.ended.is_none() {
            self.desk.lock().stop = true;
            self.ended = Some(self.run.as_mut().await);
        }
        self.computes = false;
    }

    async fn into_run(self) -> ScriptRun {
        self.desk.lock().stop = true;
        match self.ended {
            Some(run) => run,
            None => self.run.await,
        }
    }
}

/// Where the script puts its questions and finds the answers. Both sides are polled by one task, so nobody is woken.
#[derive(Clone, Debug, Default)]
struct Desk(Arc<Mutex<Slot>>);

#[derive(Debug, Default)]
struct Slot {
    call: Option<HostCall>,
    answer: Option<Answered>,
    stop: bool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn stopped(&self) {
        poll_fn(|_| if self.lock().stop { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

struct DeskSession(Desk);

impl Session for DeskSession {
    async fn call(&mut self, call: HostCall) -> Answered {
        self.0.lock().call = Some(call);
        poll_fn(|_| self.0.lock().answer.take().map_or(Poll::Pending, Poll::Ready)).await
    }
}
