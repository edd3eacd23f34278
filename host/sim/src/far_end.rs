//! The far end of a simulated call: what it may do, what it sees, and who decides.

use crate::model::ModelPlan;
use crate::situation::{SourcePlan, TransferPlan};
use callbox_dialogue::call::EndReason;
use callbox_dialogue::leg::{PromptId, TransferId, TransferResult};
use callbox_dialogue::llm::Request;
use callbox_dialogue::record::EndedBy;
use callbox_dialogue::script::{ListenOptions, LogLevel, TransferMode};
use callbox_dialogue::time::Millis;
use callbox_dialogue::{HostCall, HostError, Reply, ScriptEnd, Time};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::future::{Future, ready};

/// How long a caller thinks where nothing else is given, in milliseconds.
pub const REACTION: Millis = 300;
/// From one key to the next where nothing else is given, in milliseconds.
pub const KEY_PACE: Millis = 200;

/// Whoever plays the world around a script: the caller, the customer's systems, the operator.
pub trait FarEnd: Send {
    /// Something happened at `at`. Told in order; what is told was so when it was told.
    fn saw(&mut self, at: Time, sight: &Sight);

    /// Nothing more happens at `now`; the next thing by itself is at `next`, none where the call waits for the far
    /// end alone. What does the far end do first? Asked again after every move and every thing that happened.
    fn next(&mut self, now: Time, next: Option<Time>) -> impl Future<Output = Move> + Send;

    /// A language model is asked, and the situation has no answer of it. What does it do, where the far end knows?
    /// The call's clock stands still meanwhile.
    fn model(&mut self, _request: &Request) -> impl Future<Output = Option<ModelPlan>> + Send {
        ready(None)
    }
}

/// What a far end decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Move {
    /// It acts at this time: now where that is past. Where something else happens before, it is asked again.
    Act {
        /// When.
        at: Time,
        /// What.
        act: Act,
    },
    /// It lets the time go on to what comes next.
    Pass,
    /// It ends the simulation: an expectation has failed, somebody goes home.
    Abandon {
        /// Why, for [`crate::Told::abandoned`].
        why: String,
    },
}

/// What happens to a call from outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Act {
    /// The caller presses a key.
    Press {
        /// `0`-`9`, `*`, `#`, `A`-`D`.
        digit: char,
    },
    /// The caller speaks; behind what it is saying already.
    Say(Saying),
    /// Something that sounds like speech and is none: a cough, a door.
    Noise {
        /// How long.
        length: Millis,
    },
    /// The recogniser that runs fails.
    FailRecogniser {
        /// With what.
        error: HostError,
    },
    /// The caller hangs up, or gives up while it rings.
    HangUp,
    /// The callee of an outbound call rings.
    Ring,
    /// The callee of an outbound call answers.
    Answer,
    /// The callee of an outbound call does not take it.
    Refuse {
        /// SIP status: 486 busy, 480 no answer, 603 declined, 404 unknown.
        status: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// From now on a source answers like this.
    Source {
        /// By the manifest's name.
        name: String,
        /// How.
        plan: SourcePlan,
    },
    /// From now on a language model answers so, in this order.
    Model {
        /// By the manifest's name.
        name: String,
        /// Its answers.
        plans: Vec<ModelPlan>,
    },
    /// What becomes of the transfer that is under way, from now on; without one, of the next.
    Transfer(TransferPlan),
    /// JSON for the script, through the API.
    Message {
        /// JSON text.
        json: String,
    },
    /// Somebody ends the call through the API.
    OperatorHangUp {
        /// For the script.
        why: String,
    },
    /// The host is going down.
    Drain {
        /// The call has so long.
        within: Millis,
    },
}

/// What a caller says, and what the recogniser makes of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saying {
    /// The words.
    pub text: String,
    /// Words a minute; none for the situation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u16>,
    /// What the recogniser makes of it.
    #[serde(default)]
    pub heard: Hearing,
}

impl Saying {
    /// Words that are recognised as they are.
    #[must_use]
    pub fn words(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// What the recogniser makes of speech.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hearing {
    /// It hears what was said.
    #[default]
    Perfect,
    /// It hears this: hypotheses and their confidences, the best first.
    As(Vec<(String, Option<f32>)>),
    /// It hears that somebody spoke, and no words.
    Nothing,
}

/// What a person at the far end, or whoever holds a stop-watch, sees.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sight {
    /// The caller hears ringing; the callee's telephone rings.
    Ringing,
    /// An inbound call has its audio and is not answered.
    EarlyMedia,
    /// The call is up.
    Answered,
    /// The robot begins to say something.
    PromptStarted {
        /// The prompt.
        prompt: PromptId,
        /// All that it is to say, as far as known: SSML without its tags, `[path]` of an asset without text. The rest
        /// comes as [`Sight::PromptGrew`].
        text: String,
    },
    /// What the robot is saying has become longer: a language model, or the script, writes while it is spoken.
    PromptGrew {
        /// The prompt.
        prompt: PromptId,
        /// What has been added.
        text: String,
    },
    /// The robot has stopped.
    PromptEnded {
        /// The prompt.
        prompt: PromptId,
        /// All that it was to say.
        text: String,
        /// What the caller got of it.
        heard_text: String,
        /// Audio that reached the line.
        played: Millis,
        /// `speech` or `digits` where the caller cut it off.
        interrupted_by: Option<String>,
        /// All of it was played.
        complete: bool,
    },
    /// The script listens from now on, also while it speaks.
    Listening {
        /// For what.
        options: Box<ListenOptions>,
    },
    /// The script was told something: a caller's turn of the transcript, masked where it is secret.
    Heard {
        /// The words; empty for keys.
        text: String,
        /// The keys.
        digits: Option<String>,
    },
    /// What the caller gives is secret from now on, or is not any more.
    Masked {
        /// Whether it is.
        on: bool,
    },
    /// The robot presses keys.
    Digits {
        /// `,` is a pause.
        digits: String,
    },
    /// The robot gives the call away.
    Transfer {
        /// The transfer.
        transfer: TransferId,
        /// SIP URI or number.
        target: String,
        /// REFER or bridge.
        mode: TransferMode,
        /// What the target sees as the caller.
        caller_id: Option<String>,
        /// Extra headers of the new leg.
        headers: Vec<(String, String)>,
    },
    /// The target of a bridge has answered: the two talk.
    Joined {
        /// The transfer.
        transfer: TransferId,
    },
    /// A transfer is over.
    TransferEnded {
        /// The transfer.
        transfer: TransferId,
        /// How.
        result: TransferResult,
    },
    /// A source is asked.
    Fetch {
        /// By the manifest's name.
        source: String,
        /// Name and value.
        parameters: Vec<(String, String)>,
    },
    /// A source has answered, or failed by itself.
    Fetched {
        /// By the manifest's name.
        source: String,
        /// JSON text.
        result: Result<String, HostError>,
    },
    /// A language model is asked.
    AsksModel {
        /// What, and which.
        request: Box<Request>,
    },
    /// A message for a destination.
    Pushed(Push),
    /// A line of the script's log.
    Logged(LogLine),
    /// The script passed a breadcrumb.
    Node {
        /// Its name.
        name: String,
    },
    /// The script calls an import.
    Asked {
        /// Which.
        call: HostCall,
    },
    /// It has its answer.
    Replied {
        /// The answer.
        reply: Reply,
        /// It holds what the caller gave in confidence: show it to nobody.
        sensitive: bool,
    },
    /// The far end did something.
    Did {
        /// What.
        act: Act,
    },
    /// Something that whoever wrote the situation wants to know.
    Hint {
        /// In words.
        text: String,
    },
    /// The script came to its end.
    ScriptEnded {
        /// How.
        end: ScriptEnd,
    },
    /// The call is over; the script may have its grace yet.
    Ended {
        /// Who ended it.
        by: Option<EndedBy>,
        /// Why.
        reason: EndReason,
    },
}

/// A message for a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// When.
    pub at: Time,
    /// Counts from 1.
    pub seq: u32,
    /// By the manifest's name.
    pub destination: String,
    /// JSON text.
    pub body: String,
}

/// A line of a script's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When.
    pub at: Time,
    /// How much it matters.
    pub level: LogLevel,
    /// What.
    pub message: String,
}

/// Whether nothing happens in this call unless the caller does something, or its time is over.
#[must_use]
pub const fn awaits_the_caller(call: &HostCall) -> bool {
    matches!(
        call,
        HostCall::Ask { .. }
            | HostCall::AskModel { .. }
            | HostCall::Listen { .. }
            | HostCall::AwaitListening { .. }
            | HostCall::NextPartial { .. }
            | HostCall::NextEvent { .. }
    )
}

/// A far end that does what is written down for it and never looks: acts and their times, ascending. Empty, it is a
/// caller who says nothing and stays.
#[derive(Clone, Debug, Default)]
pub struct Timetable {
    acts: VecDeque<(Time, Act)>,
}

impl Timetable {
    /// Acts and their times.
    #[must_use]
    pub fn new(acts: impl IntoIterator<Item = (Time, Act)>) -> Self {
        Self { acts: acts.into_iter().collect() }
    }
}

impl FarEnd for Timetable {
    fn saw(&mut self, _at: Time, _sight: &Sight) {}

    fn next(&mut self, now: Time, next: Option<Time>) -> impl Future<Output = Move> + Send {
        let due = |at: &Time| next.is_none_or(|next| (*at).max(now) <= next);
        let first = self.acts.front().is_some_and(|(at, _)| due(at)).then(|| self.acts.pop_front()).flatten();
        ready(first.map_or(Move::Pass, |(at, act)| Move::Act { at, act }))
    }
}
