//! One actor per call: it drives the engine with what the script, the leg, the
//! context sources and the operator say, and carries out what the engine wants.
//!
//! The actor owns everything of its call, so nothing here is shared or locked.
//! It never waits for a slow party: fetches, store writes and prompts run in
//! tasks of their own and report back.

use crate::completion;
use crate::context::ContextFetcher;
use crate::ledger::{Begun, Ledger, Rescue};
use crate::legs::{Happening, Leg};
use crate::live::{CallCommand, Snapshot};
use crate::models::Models;
use crate::observer::Observer;
use crate::orphan::{Heir, ScriptTask};
use crate::recordings::Recordings;
use callbox_dialogue::engine::{Engine, Input, Output};
use callbox_dialogue::leg::LegCommand;
use callbox_dialogue::llm::Event;
use callbox_dialogue::script::{Handle, HostCall, HostError, LogLevel, ScriptEnd};
use callbox_dialogue::{CallId, EndCause, Setup, Time};
use callbox_script::{Answered, Script, ScriptHost, Seat, Session};
use callbox_store::calls::CallStart;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// What an actor is made of.
pub(crate) struct CallParts {
    pub(crate) setup: Setup,
    pub(crate) leg: Leg,
    /// Why there is none, for the record, where it could not be loaded.
    pub(crate) script: Result<(Seat, Arc<Script>), String>,
    pub(crate) scripts: ScriptHost,
    pub(crate) fetcher: ContextFetcher,
    pub(crate) ledger: Ledger,
    pub(crate) observer: Observer,
    pub(crate) commands: mpsc::Receiver<CallCommand>,
    /// The call's [`Time::ZERO`].
    pub(crate) began: Instant,
    /// Dropped when the script first asks for something, or ends.
    pub(crate) begins: Option<oneshot::Sender<()>>,
}

struct Actor {
    id: CallId,
    engine: Engine,
    leg: Leg,
    began: Instant,
    begins: Option<oneshot::Sender<()>>,
    calls: mpsc::Receiver<HostCall>,
    answers: mpsc::Sender<Answered>,
    script: ScriptTask,
    fetcher: ContextFetcher,
    fetches: JoinSet<(Handle, Result<String, HostError>)>,
    models: Models,
    commands: mpsc::Receiver<CallCommand>,
    ledger: Ledger,
    begun: Begun,
    /// The answer, and what is to be done after it: they wait until the call is in the books.
    held: VecDeque<LegCommand>,
    observer: Observer,
    finished: bool,
}

/// What woke the actor.
enum Wake {
    Leg(Happening),
    Script(HostCall),
    ScriptEnded(Result<(), JoinError>),
    Fetched(Handle, Result<String, HostError>),
    Model(Handle, Event),
    Command(CallCommand),
    Begun,
    Deadline,
}

/// A call under way.
pub(crate) struct Running {
    call: JoinHandle<()>,
    rescue: Rescue,
    heir: Heir,
}

/// Begins a call, which runs to its end and is written down.
pub(crate) fn start(parts: CallParts, recordings: &Recordings) -> Running {
    let rescue = parts.ledger.rescue();
    let (script, heir) = ScriptTask::new();
    // In a box: a task is as large as the most it ever holds, for as long as the call lasts.
    let call = tokio::spawn(drive(Box::new(parts), script, recordings.clone()));
    Running { call, rescue, heir }
}

impl Running {
    /// Returns when the call's record is kept.
    pub(crate) async fn over(self) {
        if let Err(error) = self.call.await {
            // A bug of ours: what the call held is given back by now, and its books are closed all the same.
            let tape = self.heir.tape().await;
            Box::pin(self.rescue.close(&error.to_string(), tape)).await;
        }
    }
}

async fn drive(parts: Box<CallParts>, script: ScriptTask, recordings: Recordings) {
    let mut actor = Actor::begin(*parts, script);
    actor.drain().await;
    while !actor.finished {
        let wake = actor.wait().await;
        actor.handle(wake).await;
        actor.drain().await;
    }
    Box::pin(actor.close(&recordings)).await;
}

impl Actor {
    fn begin(parts: CallParts, task: ScriptTask) -> Box<Self> {
        let CallParts { setup, leg, script, scripts, fetcher, ledger, observer, commands, began, begins } = parts;
        let id = setup.info.id.clone();
        let (call_sender, calls) = mpsc::channel(1);
        let (answers, answer_receiver) = mpsc::channel(1);
        let mut actor = Box::new(Self {
            engine: Engine::new(setup),
            leg,
            began,
            begins,
            calls,
            answers,
            script: task,
            models: Models::new(fetcher.clone()),
            fetcher,
            fetches: JoinSet::new(),
            commands,
            begun: ledger.begun(),
            ledger,
            held: VecDeque::new(),
            observer,
            finished: false,
            id,
        });
        match script {
            Ok((seat, script)) => {
                let session = EngineSession { calls: call_sender, answers: answer_receiver };
                let (id, stop) = (actor.id.clone(), actor.script.stop().clone());
                let run = async move { scripts.run_until(seat, script, id, session, true, stop.cancelled()).await };
                actor.script.begin(tokio::spawn(run));
            }
            Err(message) => {
                actor.begins = None;
                let end = ScriptEnd::NotStarted { message };
                actor.engine.handle(actor.now(), Input::ScriptEnded(end));
            }
        }
        actor
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Waits for the first of everything. Every branch is cancel-safe.
    async fn wait(&mut self) -> Wake {
        let deadline = self.engine.deadline().map(|at| self.began + std::time::Duration::from_millis(at.0));
        tokio::select! {
            biased;
            happening = self.leg.next() => Wake::Leg(happening),
            Some(command) = self.commands.recv() => Wake::Command(command),
            Some(call) = self.calls.recv() => Wake::Script(call),
            end = self.script.join() => Wake::ScriptEnded(end),
            Some(done) = self.fetches.join_next() => match done {
                Ok((fetch, result)) => Wake::Fetched(fetch, result),
                // An aborted or panicked fetch: the engine's own time limit answers the script.
                Err(_) => Wake::Deadline,
            },
            (run, event) = self.models.next() => Wake::Model(run, event),
            () = self.begun.written(), if !self.held.is_empty() => Wake::Begun,
            () = sleep_until(deadline.unwrap_or(self.began)), if deadline.is_some() => Wake::Deadline,
        }
    }

    async fn handle(&mut self, wake: Wake) {
        let now = self.now();
        match wake {
            Wake::Leg(happening) => {
                self.leg.handle(happening).await;
            }
            Wake::Script(call) => {
                self.begins = None;
                self.observer.asks(&call, now);
                self.engine.handle(now, Input::Script(call));
            }
            Wake::ScriptEnded(run) => self.script_ended(now, run),
            Wake::Fetched(fetch, result) => self.engine.handle(now, Input::Fetched { fetch, result }),
            Wake::Model(run, event) => self.engine.handle(now, Input::Model { run, event }),
            Wake::Command(CallCommand::Web(command)) => self.leg.web(command).await,
            Wake::Command(command) => self.command(now, command),
            Wake::Begun => {
                for command in std::mem::take(&mut self.held) {
                    self.leg.command(command).await;
                }
            }
            Wake::Deadline => self.engine.handle(now, Input::Tick),
        }
    }

    fn script_ended(&mut self, now: Time, joined: Result<(), JoinError>) {
        self.begins = None;
        let end = match (joined, self.script.run()) {
            (Ok(()), Some(run)) => run.end.clone(),
            // A panic of the host's own code: the call goes on to its fallback.
            (Err(error), _) => ScriptEnd::NotStarted { message: format!("the script host failed: {error}") },
            (Ok(()), None) => return,
        };
        if !matches!(end, ScriptEnd::Returned) {
            tracing::warn!(call = %self.id, ?end, "the script did not return");
        }
        self.engine.handle(now, Input::ScriptEnded(end));
    }

    fn command(&mut self, now: Time, command: CallCommand) {
        match command {
            CallCommand::Hangup { reason, why } => self.engine.handle(now, Input::Hangup { reason, why }),
            CallCommand::Message(json) => self.engine.handle(now, Input::Message(json)),
            CallCommand::Drain { within } => self.engine.handle(now, Input::Drain { within }),
            CallCommand::Capture => self.leg.capture(),
            // Carried out by the leg.
            CallCommand::Web(_) => {}
            CallCommand::Ladder(reply) => {
                let _ = reply.send(self.leg.signalling().record());
            }
            CallCommand::Snapshot(reply) => {
                // Nobody waiting any more is fine.
                let _ = reply.send(Snapshot { at: now, record: self.engine.record().clone() });
            }
        }
    }

    /// Carries out all outputs, and hands in all reports of the leg, until both are empty.
    async fn drain(&mut self) {
        loop {
            while let Some(output) = self.engine.poll_output() {
                self.carry_out(output).await;
            }
            let now = self.now();
            if let Some(report) = self.leg.report() {
                self.ledger.saw(&report, now);
                self.engine.handle(now, Input::Leg(report));
            } else if let Some(json) = self.leg.message() {
                self.engine.handle(now, Input::Message(json));
            } else {
                break;
            }
        }
        let record = self.engine.record();
        self.leg.tell(record);
        self.ledger.hear(&record.transcript);
    }

    async fn carry_out(&mut self, output: Output) {
        match output {
            Output::Leg(command) => self.tell_leg(command).await,
            Output::Reply { reply, sensitive } => {
                let at = self.now();
                self.observer.answered(at);
                let answered = Answered { reply, sensitive, at };
                // The channel is empty: a script asks once and waits. It is closed when the script
                // has just been dropped.
                let _ = self.answers.try_send(answered);
            }
            Output::Fetch { fetch, source, parameters } => {
                let request = self.fetcher.fetch(source, parameters);
                self.fetches.spawn(async move { (fetch, request.await) });
            }
            Output::Model { run, request } => self.models.ask(run, *request),
            Output::StopModel { run } => self.models.stop(run),
            Output::Push { seq, destination, body } => self.ledger.push(seq, destination, body),
            Output::Log { level, message } => self.log(level, &message),
            Output::StopScript => self.script.stop().cancel(),
            Output::Finished => self.finished = true,
        }
    }

    /// Nobody is answered before the call is in the books, and nothing overtakes that but the end of the call: who has
    /// not been answered yet is refused then.
    async fn tell_leg(&mut self, command: LegCommand) {
        match command {
            LegCommand::Hangup | LegCommand::Reject { .. } => self.held.clear(),
            LegCommand::Answer if !self.begun.is_written() => return self.held.push_back(command),
            _ if !self.held.is_empty() => return self.held.push_back(command),
            _ => {}
        }
        self.leg.command(command).await;
    }

    fn log(&self, level: LogLevel, message: &str) {
        let call = &self.id;
        match level {
            // As a field its line breaks are escaped: no script writes lines of ours.
            LogLevel::Debug => tracing::debug!(target: "script", %call, said = message),
            LogLevel::Info => tracing::info!(target: "script", %call, said = message),
            LogLevel::Warn => tracing::warn!(target: "script", %call, said = message),
            LogLevel::Error => tracing::error!(target: "script", %call, said = message),
        }
    }

    async fn close(mut self, recordings: &Recordings) {
        // Nobody waits for an answer any more.
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        self.script.stop().cancel();
        if self.script.runs()
            && let Err(error) = self.script.join().await
        {
            tracing::error!(call = %self.id, %error, "the script host failed");
        }
        let signalling = self.leg.signalling();
        let closing = self.leg.close().await;
        let recorded = completion::recorded(&self.id, &closing, recordings).await;
        let record = self.engine.record();
        tracing::info!(
            call = %self.id,
            outcome = ?record.outcome,
            end_reason = record.end_reason.map(|reason| reason.as_str()),
            talk_ms = record.talk_ms(),
            "call over"
        );
        let trunk = closing.trunk.as_ref().map(|used| used.trunk.as_str());
        self.observer.over(self.ledger.start(), trunk, record);
        let run = self.script.take();
        let fill = |start: &CallStart| completion::of(start, record, run, closing, recorded, &signalling);
        self.ledger.complete(&record.transcript, fill).await;
        recordings.wake();
    }
}

/// The script's side of the call: one question at a time.
struct EngineSession {
    calls: mpsc::Sender<HostCall>,
    answers: mpsc::Receiver<Answered>,
}

impl Session for EngineSession {
    async fn call(&mut self, call: HostCall) -> Answered {
        let answered = match self.calls.send(call).await {
            Ok(()) => self.answers.recv().await,
            Err(_) => None,
        };
        // The actor is gone: the host is going down.
        answered.unwrap_or_else(|| Answered {
            reply: Err(HostError::Ended(EndCause::Operator("the call's host is gone".into()))),
            sensitive: false,
            at: Time::ZERO,
        })
    }
}
