//! The dialogue engine.

use crate::leg::{LegCommand, LegEvent};
use crate::record::CallRecord;
use crate::script::{Handle, HostCall, LogLevel, Reply, ScriptEnd};
use crate::setup::Setup;
use crate::time::{Millis, Time};

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
        result: Result<String, crate::script::HostError>,
    },
    /// JSON for the script, through the API.
    Message(String),
    /// End the call now: the operator, the API.
    Hangup {
        /// For the record.
        reason: crate::call::EndReason,
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
    record: CallRecord,
}

impl Engine {
    /// A call that has just come in, or is about to be placed, at
    /// [`Time::ZERO`]. Prefetches are in the outputs at once.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self { setup, record: CallRecord::default() }
    }

    /// Takes an input. Never panics; an input that makes no sense in the
    /// present state is ignored.
    pub fn handle(&mut self, now: Time, input: Input) {
        let _ = (now, input);
    }

    /// The next output, in order. Drain it after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When [`Input::Tick`] is due, unless something else comes first.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        None
    }

    /// What is known so far; final after [`Output::Finished`].
    #[must_use]
    pub const fn record(&self) -> &CallRecord {
        &self.record
    }

    /// What the call started from.
    #[must_use]
    pub const fn setup(&self) -> &Setup {
        &self.setup
    }
}
