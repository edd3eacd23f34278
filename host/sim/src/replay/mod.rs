//! Replay: a script runs again, and what it asks is answered from the tape of a call.
//!
//! A script sees nothing but what its host calls return, so the same component that gets the same answers asks the same
//! questions. [`run`] proves that for one tape, call by call, or shows the first [`Difference`]. Run with another
//! component it tells whether that one would have led the same call.
//!
//! What cannot be proven is said and never guessed ([`Verdict`]):
//!
//! * What the caller gave in confidence is not on the tape. The script gets [`MASK`](callbox_script::tape::MASK) in its
//!   place, so a difference behind that may be of our making.
//! * CPU time is not the same twice: here the script has plenty. Where the live call's script was stopped for it, the
//!   tape just ends. All other limits are those of the tape ([`limits`]).
//! * A tape that was full, or of a host that did not write down the end, ends before the script did.
//!
//! [`mod@scenario`] makes a scenario out of a tape.

mod report;
pub mod scenario;
mod session;

use self::session::{Progress, TapeSession};
use callbox_dialogue::{CallId, HostCall, ScriptEnd};
use callbox_script::tape::Entry;
use callbox_script::{Recording, RunReason, Script, ScriptHost, ScriptLimits, Usage};
use std::sync::Arc;

/// CPU time of a turn in a replay, where the tape does not give it more: nobody waits on the line.
const CPU_PER_TURN_MS: u32 = 20_000;
/// CPU time of all of a replay.
const CPU_PER_CALL_MS: u32 = 120_000;

/// Differences that are looked past: these calls are answered as the tape has them, and are no difference where the tape
/// does not have them. They tell the script nothing, so nothing else depends on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookPast {
    /// Lines of log.
    pub logs: bool,
    /// What the script writes into the call's record: fields, disposition, intent, tags, opt-out, breadcrumbs. Not what
    /// it pushes: that goes to somebody.
    pub results: bool,
}

impl LookPast {
    const fn covers(self, call: &HostCall) -> bool {
        match call {
            HostCall::Log { .. } => self.logs,
            HostCall::SetField { .. }
            | HostCall::SetDisposition { .. }
            | HostCall::SetIntent { .. }
            | HostCall::AddTag { .. }
            | HostCall::SetOptOut
            | HostCall::EnterNode { .. } => self.results,
            _ => false,
        }
    }
}

/// What came of a replay.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Whether it is the same.
    pub verdict: Verdict,
    /// Calls that are the same.
    pub same: u32,
    /// Calls that only the tape has and that were looked past.
    pub only_on_tape: u32,
    /// Calls that only this script made and that were looked past.
    pub only_asked: u32,
    /// The first masked answer that the script got.
    pub masked: Option<u32>,
    /// What the script used.
    pub usage: Usage,
    /// What was asked, in order.
    steps: Vec<Step>,
    recording: Arc<Recording>,
}

/// One call of a replay.
#[derive(Clone, Debug)]
enum Step {
    /// As on the tape, by index.
    Same(usize),
    /// Looked past: only on the tape.
    OnlyOnTape(usize),
    /// Looked past: only asked.
    OnlyAsked(HostCall),
}

/// Whether a script does what a tape has.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Every call is the same byte for byte, and so is the end.
    Same,
    /// Every call on the tape is the same; what followed is not on it.
    Open(Open),
    /// The script does something else.
    Different(Difference),
    /// The script does something else, but after it got a masked answer: what it would have done with the true one
    /// nobody can tell from this tape.
    Unprovable {
        /// The masked entry.
        masked: u32,
        /// What it did with the mask.
        difference: Difference,
    },
}

/// Why a tape does not have the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Open {
    /// A limit of bytes or entries was reached.
    Full,
    /// It is of a host that did not write down the end.
    NoEnd,
    /// The script was stopped while it computed.
    Stopped,
    /// The live call's script had spent a budget here, as this says. Here it goes on.
    Budget(String),
    /// The live call's script could not be started, as this says.
    NotStarted(String),
}

/// The first point at which a script does something else than the tape has.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Entries of the tape before it.
    pub after: u32,
    /// What the tape has.
    pub tape: Point,
    /// What the script did.
    pub script: Point,
    /// Where the script was, its functions with the innermost first.
    pub place: Option<String>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Point {
    /// A call.
    Call(HostCall),
    /// A call in which the script was stopped before it was answered.
    Unanswered(HostCall),
    /// The script's end.
    End(ScriptEnd),
}

/// Why nothing can be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The component does not start.
    #[error("the script could not be started: {0}")]
    NotStarted(String),
}

/// The limits a replay of this tape runs under: those of the live call, with more CPU time.
#[must_use]
pub fn limits(recording: &Recording) -> ScriptLimits {
    let mut limits = recording.header.limits.clone().unwrap_or_default();
    limits.cpu_per_turn_ms = limits.cpu_per_turn_ms.max(CPU_PER_TURN_MS);
    limits.cpu_per_call_ms = limits.cpu_per_call_ms.max(CPU_PER_CALL_MS).max(limits.cpu_per_turn_ms);
    limits
}

/// Runs a script against a tape. The host is one with the tape's [`limits`].
///
/// # Errors
/// When the script does not start at all.
pub async fn run(
    host: &ScriptHost,
    script: Arc<Script>,
    recording: Arc<Recording>,
    past: LookPast,
) -> Result<Replayed, ReplayError> {
    let session = TapeSession::new(recording.clone(), past);
    let progress = session.progress();
    let run = host.run(script, CallId("replay".into()), session, false).await;
    if let ScriptEnd::NotStarted { message } = &run.end {
        return Err(ReplayError::NotStarted(message.clone()));
    }
    let progress = session::take(&progress);
    let place = run.left_in().map(str::to_owned);
    let masked = progress.masked(&recording);
    let rest = &recording.entries[progress.next..];
    let (passed, rest) = rest.split_at(rest.iter().take_while(|entry| past.covers(&entry.call)).count());
    let verdict = judge(&recording, rest.first(), &progress, &run.end, place, past);
    let verdict = match (verdict, masked) {
        (Verdict::Different(difference), Some(masked)) => Verdict::Unprovable { masked, difference },
        (verdict, _) => verdict,
    };
    let mut steps = progress.steps;
    steps.extend((progress.next..).take(passed.len()).map(Step::OnlyOnTape));
    let count = |kind: fn(&Step) -> bool| u32::try_from(steps.iter().filter(|step| kind(step)).count()).unwrap_or(0);
    Ok(Replayed {
        verdict,
        same: count(|step| matches!(step, Step::Same(_))),
        only_on_tape: count(|step| matches!(step, Step::OnlyOnTape(_))),
        only_asked: count(|step| matches!(step, Step::OnlyAsked(_))),
        masked,
        usage: run.usage,
        steps,
        recording,
    })
}

/// Compares what the tape has next with what the script did last.
fn judge(
    recording: &Recording,
    next: Option<&Entry>,
    progress: &Progress,
    end: &ScriptEnd,
    place: Option<String>,
    past: LookPast,
) -> Verdict {
    let script = match &progress.left {
        Some(asked) => Point::Call(asked.clone()),
        None => Point::End(end.clone()),
    };
    let different = |tape: Point| {
        let after = next.map_or(recording.entries.len(), |entry| entry.seq as usize - 1);
        let after = u32::try_from(after).unwrap_or(u32::MAX);
        Verdict::Different(Difference { after, tape, script: script.clone(), place: place.clone() })
    };
    if let Some(entry) = next {
        return different(Point::Call(entry.call.clone()));
    }
    if !recording.header.complete {
        return Verdict::Open(Open::Full);
    }
    let Some(ending) = &recording.ending else {
        // It came to its end by itself, and nothing is left on the tape.
        return if progress.left.is_none() { Verdict::Same } else { Verdict::Open(Open::NoEnd) };
    };
    match (&ending.pending, &ending.end) {
        (Some(pending), _) if progress.left.as_ref() == Some(pending) => Verdict::Same,
        (Some(pending), _) if past.covers(pending) => Verdict::Open(Open::Stopped),
        (Some(pending), _) => different(Point::Unanswered(pending.clone())),
        (None, live) if progress.left.is_none() && alike(live, end) => Verdict::Same,
        (None, _) if ending.reason == RunReason::Stopped => Verdict::Open(Open::Stopped),
        (None, ScriptEnd::Budget { message }) => Verdict::Open(Open::Budget(message.clone())),
        (None, ScriptEnd::NotStarted { message }) => Verdict::Open(Open::NotStarted(message.clone())),
        (None, live) => different(Point::End(live.clone())),
    }
}

/// Whether two ends are the same. How a host describes a trap may change from version to version; that it was one does
/// not.
fn alike(one: &ScriptEnd, other: &ScriptEnd) -> bool {
    match (one, other) {
        (ScriptEnd::Failed { message: one }, ScriptEnd::Failed { message: other }) => one == other,
        (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}
