//! The dialogue engine.
//!
//! [`Engine::handle`] takes an input; everything else follows from the state.
//! After each input the engine moves on as far as it goes (`settle`): the
//! prompt queue, the listening, a transfer, the way out, and at last the answer
//! to the script's pending call. Because each of these looks at the state and
//! not at the event, no order of events can lose one.
//!
//! | module | what it owns |
//! |---|---|
//! | `calls` | every import of a script |
//! | `arguments` | what may be handed in |
//! | `waits` | the pending call and its answer |
//! | `handles` | what a script waits for |
//! | `prompts` | the prompt queue |
//! | `wording` | the words of a prompt, and how many were heard |
//! | `writer` | text that is spoken while it is written |
//! | `listening` | what is listened for, keys, results |
//! | `turns` | speech: what it does to prompts, when it is over, what it means |
//! | `backchannel` | words that do not interrupt |
//! | `latency` | how long a caller waits for an answer |
//! | `transfers` | giving the call away |
//! | `fetches` | context sources |
//! | `models` | conversations with language models |
//! | `line` | ringing, early media, answer, end of the leg |
//! | `ending` | hang-up, grace, fallback, limits |
//! | `journal` | the record |
//! | `timers` | what is due when |

mod arguments;
mod backchannel;
mod calls;
mod ending;
mod fetches;
mod handles;
mod journal;
mod latency;
mod line;
mod listening;
mod models;
mod prompts;
mod timers;
mod transfers;
mod turns;
mod waits;
mod wording;
mod writer;

pub use self::wording::{is_wide, places_without_tags, without_tags};

use self::calls::Step;
use self::ending::Course;
use self::fetches::Fetches;
use self::handles::Handles;
use self::journal::Journal;
use self::latency::Unanswered;
use self::line::{Audio, Line};
use self::listening::{Key, Listening};
use self::models::Models;
use self::prompts::Prompts;
use self::timers::{Timer, Timers};
use self::transfers::Giving;
use self::turns::Sound;
use self::waits::Pending;
use crate::call::{EndCause, EndReason};
use crate::leg::{LegCommand, LegEvent, TransferId, VoiceSettings};
use crate::llm;
use crate::record::{CallRecord, EndedBy};
use crate::script::{Event, Handle, HostCall, HostError, LogLevel, Reply, ScriptEnd};
use crate::setup::Setup;
use crate::time::{Millis, Time};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::VecDeque;

/// Events kept for a script that does not read them.
const EVENTS: usize = 256;
/// Far more steps than a state can take without an input.
const STEPS: usize = 1_000;

/// What goes in.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The script calls an import. One at a time: the next only after the
    /// [`Output::Reply`].
    Script(HostCall),
    /// The script came to its end.
    ScriptEnded(ScriptEnd),
    /// The leg reports.
    Leg(LegEvent),
    /// A context source answered, with JSON text, or failed. The error is for
    /// the script: `TimedOut`, `Unavailable`, `NotFound`.
    Fetched {
        /// As given in [`Output::Fetch`].
        fetch: Handle,
        /// What came.
        result: Result<String, HostError>,
    },
    /// A language model does something.
    Model {
        /// As given in [`Output::Model`].
        run: Handle,
        /// What.
        event: llm::Event,
    },
    /// JSON for the script, through the API.
    Message(String),
    /// End the call now: the operator, the API.
    Hangup {
        /// For the record.
        reason: EndReason,
        /// For the script.
        why: String,
    },
    /// The host is going down; the call has so long.
    Drain {
        /// Then it ends through its fallback.
        within: Millis,
    },
    /// Only the time.
    Tick,
}

/// What comes out.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// For the leg.
    Leg(LegCommand),
    /// The answer to the script's pending call.
    Reply {
        /// The answer.
        reply: Reply,
        /// It holds what the caller gave in confidence: mask it on the tape.
        sensitive: bool,
    },
    /// Ask a context source. Answered by [`Input::Fetched`]; the engine keeps
    /// its time limit itself.
    Fetch {
        /// Names the request.
        fetch: Handle,
        /// By the manifest's name.
        source: String,
        /// Name and value.
        parameters: Vec<(String, String)>,
    },
    /// Ask a language model. Answered by [`Input::Model`]s; the engine keeps the
    /// time limits itself.
    Model {
        /// Names the request.
        run: Handle,
        /// What.
        request: Box<llm::Request>,
    },
    /// Nobody waits for this model's answer any more: break off at once.
    StopModel {
        /// The request.
        run: Handle,
    },
    /// A message for a destination; to be committed with the call's record at
    /// the latest, and delivered.
    Push {
        /// Unique within the call, counting from 1. The id the receiver sees is
        /// made of it and the call's.
        seq: u32,
        /// By the manifest's name.
        destination: String,
        /// JSON text.
        body: String,
    },
    /// A line of the script's log.
    Log {
        /// How much it matters.
        level: LogLevel,
        /// Secrets are the script's own business here.
        message: String,
    },
    /// The script's time is over: drop the instance, wherever it is.
    StopScript,
    /// The call is over and its record final. Nothing follows.
    Finished,
}

/// The state of one call. See the crate's documentation.
#[derive(Debug)]
pub struct Engine {
    setup: Setup,
    journal: Journal,
    now: Time,
    outputs: VecDeque<Output>,
    timers: Timers,
    line: Line,
    /// Why there is no early media, until the script has been told.
    no_early_media: Option<HostError>,
    course: Course,
    /// The script's instance is there.
    running: bool,
    pending: Option<Pending>,
    handles: Handles,
    prompts: Prompts,
    voice: VoiceSettings,
    listening: Option<Listening>,
    recognitions: u32,
    /// What the last answer of a blocking listening means, and whether it is secret.
    meaning: Option<(String, bool)>,
    /// Pressed while nobody listened for keys.
    keys: VecDeque<Key>,
    /// The caller's voice.
    sound: Sound,
    /// The caller's turn that has no answer yet.
    unanswered: Option<Unanswered>,
    events: VecDeque<Event>,
    transfer: Option<Giving>,
    /// The transfer that was under way when the call ended: the leg knows whether the two talked.
    parted: Option<TransferId>,
    transfers: u32,
    fetches: Fetches,
    models: Models,
    random: ChaCha20Rng,
    pushes: u32,
    /// Times that digits were given to the leg, were sent, were late.
    digits_ordered: u32,
    digits_done: u32,
    digits_late: u32,
    /// The last prompt, key or transcript.
    last_active: Time,
    /// When the host goes down.
    drain: Option<Time>,
    /// Why the call is over for the script.
    ended: Option<EndCause>,
    /// Why the fallback runs, and the status that refuses a call.
    blame: (EndReason, EndedBy, u16),
    refused_with: Option<u16>,
    no_answer: bool,
    finished: bool,
}

impl Engine {
    /// A call that has just come in, or is about to be placed, at
    /// [`Time::ZERO`]. Prefetches are in the outputs at once.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let mut engine = Self {
            journal: Journal::default(),
            now: Time::ZERO,
            outputs: VecDeque::new(),
            timers: Timers::default(),
            line: Line::Early { answering: false, ringing: false, audio: Audio::Closed },
            no_early_media: None,
            course: Course::Script,
            running: true,
            pending: None,
            handles: Handles::new(),
            prompts: Prompts::default(),
            voice: setup.voice.clone(),
            listening: None,
            recognitions: 0,
            meaning: None,
            keys: VecDeque::new(),
            sound: Sound::default(),
            unanswered: None,
            events: VecDeque::new(),
            transfer: None,
            parted: None,
            transfers: 0,
            fetches: Fetches::default(),
            models: Models::default(),
            random: ChaCha20Rng::from_seed(setup.seed),
            pushes: 0,
            digits_ordered: 0,
            digits_done: 0,
            digits_late: 0,
            last_active: Time::ZERO,
            drain: None,
            ended: None,
            blame: (EndReason::PlatformError, EndedBy::Platform, 503),
            refused_with: None,
            no_answer: false,
            finished: false,
            setup,
        };
        engine.journal.note(Time::ZERO, "created", engine.setup.info.id.0.clone());
        engine.timers.set(Timer::Ring, Time::ZERO + u64::from(engine.setup.limits.ring_timeout));
        if engine.is_inbound() {
            engine.timers.set(Timer::AutoRing, Time::ZERO + u64::from(engine.setup.limits.auto_ring));
        }
        engine.prefetch();
        engine.fire(Time::ZERO);
        engine
    }

    /// Takes an input. Never panics; an input that makes no sense in the
    /// present state is ignored. What was due before `now` happens before the
    /// input, at its own time; what is due at `now`, after it.
    pub fn handle(&mut self, now: Time, input: Input) {
        if self.finished {
            return;
        }
        let now = now.max(self.now);
        if now > self.now {
            self.fire(now - 1);
        }
        if self.finished {
            return;
        }
        self.now = now;
        self.take(input);
        self.settle();
        self.fire(now);
    }

    /// The next output, in order. Drain it after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due, unless something else comes first. Always
    /// later than the last time handled; none after [`Output::Finished`].
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// What is known so far; final after [`Output::Finished`].
    #[must_use]
    pub const fn record(&self) -> &CallRecord {
        &self.journal.record
    }

    /// What the call started from.
    #[must_use]
    pub const fn setup(&self) -> &Setup {
        &self.setup
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Script(call) => self.on_call(call),
            Input::ScriptEnded(end) => self.on_script_ended(end),
            Input::Leg(event) => self.on_leg(event),
            Input::Fetched { fetch, result } => self.on_fetched(fetch, result),
            Input::Model { run, event } => self.on_model(run, event),
            Input::Message(json) => {
                if self.ended.is_none() && arguments::json("message", &json).is_ok() {
                    self.journal.note(self.now, "message", "through the API");
                    self.event(Event::Message(json));
                }
            }
            Input::Hangup { reason, why } => {
                self.part(EndCause::Operator(why), reason, EndedBy::Platform, 480);
            }
            Input::Drain { within } => self.on_drain(within),
            Input::Tick => {}
        }
    }

    fn on_call(&mut self, call: HostCall) {
        if !self.running || self.pending.is_some() {
            return;
        }
        let reply = match self.call(call) {
            Ok(Step::Wait(pending)) => return self.wait(pending),
            Ok(Step::Done(reply)) => Ok(reply),
            Err(error) => Err(error),
        };
        self.outputs.push_back(Output::Reply { reply, sensitive: false });
    }

    fn on_leg(&mut self, event: LegEvent) {
        if self.line == Line::Over {
            return;
        }
        match event {
            LegEvent::Ringing => self.on_ringing(),
            LegEvent::EarlyMedia => self.on_early_media(),
            LegEvent::EarlyMediaFailed { error } => self.on_early_media_failed(error),
            LegEvent::Answered => self.on_answered(),
            LegEvent::Ended { cause, evidence, reason } => self.on_leg_ended(cause, evidence, reason),
            LegEvent::Prepared { prompt } => self.on_prepared(prompt),
            LegEvent::PrepareFailed { prompt, error } => self.on_prepare_failed(prompt, error),
            LegEvent::Words { prompt, marks, duration } => self.on_words(prompt, marks, duration),
            LegEvent::PromptStarted { prompt } => self.on_prompt_started(prompt),
            LegEvent::PromptEnded { prompt, played, complete } => self.on_prompt_ended(prompt, played, complete),
            LegEvent::Digit { digit } => self.on_digit(digit),
            LegEvent::DigitsSent => self.on_digits_sent(),
            LegEvent::SpeechStarted { ago } => self.on_speech_started(ago),
            LegEvent::SpeechEnded { ago } => self.on_speech_ended(ago),
            LegEvent::Partial { recognition, utterance } => self.on_partial(recognition, utterance),
            LegEvent::Recognised { recognition, alternatives } => self.on_recognised(recognition, alternatives),
            LegEvent::RecogniseFailed { recognition, error } => self.on_recognise_failed(recognition, error),
            LegEvent::TransferEnded { transfer, result } => self.on_transfer_ended(transfer, result),
        }
    }

    /// Lets everything happen that is due by `until`, each at its own time.
    fn fire(&mut self, until: Time) {
        while let Some((at, timer)) = self.timers.pop(until) {
            self.now = self.now.max(at);
            self.on_timer(timer);
            self.settle();
        }
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            // The pending call looks at the clock itself.
            Timer::Wait | Timer::After(_) | Timer::Writer => {}
            // What is due shows when everything moves on.
            Timer::Barge | Timer::Utterance => {}
            Timer::Start => self.on_start_limit(),
            Timer::DigitGap => self.on_digit_gap(),
            Timer::Final => self.on_recogniser_late(),
            Timer::Prepare => self.on_prepare_limit(),
            Timer::Stopping => self.on_stop_limit(),
            Timer::Digits => self.on_digits_limit(),
            Timer::Fetch(fetch) => self.on_fetched(fetch, Err(HostError::TimedOut)),
            Timer::Model(run) => self.on_model_late(run),
            Timer::Transfer => self.on_transfer_limit(),
            Timer::AutoRing => self.ring(),
            Timer::Ring => self.on_ring_limit(),
            Timer::Silence => self.on_silence(),
            Timer::Drain => self.on_drain_limit(),
            Timer::MaxDuration => self.on_max_duration(),
            Timer::Fallback => self.on_fallback_limit(),
            Timer::Grace => self.on_grace_limit(),
            Timer::Hangup => self.on_hangup_limit(),
        }
    }

    /// Moves everything on as far as it goes.
    fn settle(&mut self) {
        // Each step that reports a change has used up a prompt, a key, a
        // hypothesis or a part of the way out: there are few.
        for _ in 0..STEPS {
            let steered = self.steer();
            self.advance_transfer();
            let models = self.advance_models();
            let prompts = self.advance_prompts();
            let listening = self.advance_listening();
            if !(steered || models || prompts || listening) {
                break;
            }
        }
        self.arm_silence();
        self.answer_pending();
        if self.line == Line::Over && !self.running {
            self.finish();
        }
    }

    /// Once: nothing is handled and nothing is due afterwards.
    fn finish(&mut self) {
        self.finished = true;
        self.settle_outcome();
        self.timers = Timers::default();
        self.outputs.push_back(Output::Finished);
    }

    /// Something happened that the script may want to know. The oldest events
    /// go first.
    fn event(&mut self, event: Event) {
        if !self.running {
            return;
        }
        if self.events.len() >= EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}
