//! A scenario out of a tape: what was given, what the caller did and when, what was said and what came of it.
//!
//! The tape has the script's side of a call. The caller's is read from it: a key is in the answer to the question it
//! answered; when it was pressed, in the answer's time and in how long the prompt before it sounded. That is near enough
//! for a script to take the same way. It is not the same call: another voice takes another time for the same words, and
//! the script's random numbers are others. So whoever makes a scenario runs it at once, and sees whether it holds.

mod caller;
mod model;
mod world;

use crate::scenario::{
    Drain, Ended, Expect, Given, HangUp, Heard as HeardStep, Message, Moves, ResultExpected, Scenario, ScenarioFile,
    Span, Step,
};
use crate::situation::WORDS_A_MINUTE;
use crate::words::spoken;
use callbox_dialogue::call::EndReason;
use callbox_dialogue::engine::without_tags;
use callbox_dialogue::record::EndedBy;
use callbox_dialogue::script::{Event, Handle, ListenOptions, Playout, PlayoutEnd, Segment};
use callbox_dialogue::time::Millis;
use callbox_dialogue::{Direction, EndCause, HostCall, HostError, HostReply, Reply, ScriptEnd, Time};
use callbox_script::tape::{Entry, MASK};
use callbox_script::{Manifest, Recording, RunReason, import_name};
use std::collections::{BTreeMap, VecDeque};

/// A scenario that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct FromTape {
    /// The file, with one scenario.
    pub file: ScenarioFile,
    /// For each step the entry of the tape it comes from.
    pub entries: Vec<u32>,
    /// What whoever uses it should know: what could not be read from the tape, what is masked.
    pub notes: Vec<String>,
}

/// Makes a scenario of a tape. The manifest is that of the script, which says what it is given before the call.
#[must_use]
pub fn from_tape(recording: &Recording, manifest: &Manifest, name: &str) -> FromTape {
    let mut maker = Maker::new(manifest, recording);
    for (index, entry) in recording.entries.iter().enumerate() {
        maker.index = index;
        maker.entry(entry);
        maker.at = maker.at.max(entry.at);
    }
    maker.close(recording);
    let scenario = Scenario { name: name.to_owned(), steps: maker.steps, ..Scenario::default() };
    let file = ScenarioFile { given: maker.given, scenarios: vec![scenario], ..ScenarioFile::default() };
    FromTape { file: file.literally(), entries: maker.origins, notes: maker.notes }
}

/// A prompt, as far as the tape tells.
#[derive(Clone, Copy, Debug)]
struct Sound {
    played: Millis,
    /// What cut it, until that has become a step.
    cut: Option<PlayoutEnd>,
}

struct Maker<'a> {
    manifest: &'a Manifest,
    entries: &'a [Entry],
    /// Of the entry that is read.
    index: usize,
    /// When it was asked: when the one before was answered.
    at: Time,
    given: Given,
    steps: Vec<Step>,
    origins: Vec<u32>,
    notes: Vec<String>,
    /// What became of the prompts that were waited for later.
    playouts: BTreeMap<Handle, Playout>,
    listenings: BTreeMap<Handle, (Time, ListenOptions)>,
    sound: Option<Sound>,
    /// When the robot has, or will have, finished.
    quiet: Time,
    /// When the caller did the last thing.
    acted: Time,
    /// Keys that became a step before the script was told of them.
    ahead: VecDeque<char>,
    /// Keys that the script collected and may see as events yet.
    collected: VecDeque<char>,
    world: world::World,
    /// Text of open writers.
    written: BTreeMap<Handle, String>,
    /// Models, by the conversations and replies that are theirs.
    models: model::Names,
    picked_up: bool,
    /// How long the robot's words took, and how long they would take here.
    spoken: (u64, u64),
    /// How the call ended, once that is known.
    ended: Option<Ended>,
    result: ResultExpected,
}

impl<'a> Maker<'a> {
    fn new(manifest: &'a Manifest, recording: &'a Recording) -> Self {
        let mut playouts = BTreeMap::new();
        for entry in &recording.entries {
            if let (
                HostCall::AwaitPlayback { handle } | HostCall::StopPlayback { handle },
                Ok(HostReply::Playout(playout)),
            )
            | (HostCall::Write { handle, .. }, Ok(HostReply::MaybePlayout(Some(playout)))) =
                (&entry.call, &entry.reply)
            {
                playouts.insert(*handle, playout.clone());
            }
        }
        Self {
            manifest,
            entries: &recording.entries,
            index: 0,
            at: Time::ZERO,
            given: Given::default(),
            steps: Vec::new(),
            origins: Vec::new(),
            notes: Vec::new(),
            playouts,
            listenings: BTreeMap::new(),
            sound: None,
            quiet: Time::ZERO,
            acted: Time::ZERO,
            ahead: VecDeque::new(),
            collected: VecDeque::new(),
            world: world::World::default(),
            written: BTreeMap::new(),
            models: model::Names::new(),
            picked_up: false,
            spoken: (0, 0),
            ended: None,
            result: ResultExpected::default(),
        }
    }

    fn step(&mut self, step: Step) {
        // What the script reads of the caller once the call is over was done before, and nobody knows when.
        if self.ended.is_some() && !matches!(step, Step::Node(_) | Step::Pushed(_) | Step::Result(_) | Step::Ended(_)) {
            return;
        }
        self.steps.push(step);
        self.origins.push(u32::try_from(self.index + 1).unwrap_or(u32::MAX));
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn entry(&mut self, entry: &Entry) {
        let (call, reply, now) = (&entry.call, &entry.reply, entry.at);
        match (call, reply) {
            // It was not said: the call was over already.
            (HostCall::Say { .. } | HostCall::Ask { .. }, Err(HostError::Ended(cause)))
                if now.since(self.at) < SOUNDS =>
            {
                self.over(cause, self.at);
            }
            // Nor was this: the caller had answered before it began.
            (HostCall::Say { .. }, Ok(HostReply::Playout(playout))) if unheard(playout) => self.sound = None,
            (HostCall::Ask { options, .. }, Ok(HostReply::Answer { heard, prompt: playout })) if unheard(playout) => {
                self.sound = None;
                self.heard(heard, options, self.at, now, entry.masked);
            }
            (HostCall::Say { prompt }, reply) => {
                let begun = self.says(&prompt_text(&prompt.segments));
                match reply {
                    Ok(HostReply::Playout(playout)) => {
                        self.up(now - u64::from(playout.played));
                        self.played(begun.max(self.quiet), playout, &prompt.segments);
                        self.cut_ahead();
                    }
                    reply => self.failed(reply, now),
                }
            }
            (HostCall::Ask { prompt, options }, reply) => {
                let begun = self.says(&prompt_text(&prompt.segments));
                match reply {
                    Ok(HostReply::Answer { heard, prompt: playout }) => {
                        self.up(self.at);
                        self.played(begun, playout, &prompt.segments);
                        self.heard(heard, options, self.at, now, entry.masked);
                    }
                    reply => self.failed(reply, now),
                }
            }
            (HostCall::StartSay { prompt }, Ok(HostReply::Handle(handle))) => {
                let begun = self.says(&prompt_text(&prompt.segments));
                self.up(self.at);
                if let Some(playout) = self.playouts.get(handle).cloned() {
                    self.played(begun, &playout, &prompt.segments);
                }
            }
            (HostCall::OpenWriter { .. }, Ok(HostReply::Handle(handle))) => {
                self.written.insert(*handle, String::new());
            }
            (HostCall::Write { handle, text }, reply) => self.writes(*handle, text, reply, now),
            (HostCall::Listen { options }, Ok(HostReply::Heard(heard))) => {
                self.heard(heard, options, self.at, now, entry.masked);
            }
            (HostCall::StartListen { options }, Ok(HostReply::Handle(handle))) => {
                self.listenings.insert(*handle, (now, (**options).clone()));
            }
            (HostCall::AwaitListening { handle } | HostCall::StopListening { handle }, Ok(HostReply::Heard(heard))) => {
                if let Some((since, options)) = self.listenings.remove(handle) {
                    self.heard(heard, &options, since, now, entry.masked);
                }
            }
            (HostCall::NextEvent { .. }, Ok(HostReply::MaybeEvent(Some(event)))) => {
                self.event(event, now, entry.masked);
            }
            (HostCall::Answer, Ok(HostReply::Done)) => self.up(now),
            (HostCall::Reject { status, .. }, Ok(HostReply::Done)) => {
                self.ended = Some(Ended { status: Some(*status), ..ended(EndedBy::Script, EndReason::Rejected) });
            }
            (HostCall::Hangup, Ok(HostReply::Done)) => {
                self.ended = Some(ended(EndedBy::Script, EndReason::ScriptHangup));
            }
            (HostCall::SendDigits { digits }, Ok(_)) => self.step(Step::DigitsSent(digits.clone())),
            (HostCall::EnterNode { name }, Ok(_)) => self.step(Step::Node(name.clone())),
            (call, reply) if self.models(call, reply, now, entry.masked) => {}
            (call, reply) if self.gives(call, reply, now) => {}
            (_, Err(error)) => self.failed(&Err(error.clone()), now),
            _ => {}
        }
    }

    /// The robot begins to say something. When: behind what it says already.
    fn says(&mut self, text: &str) -> Time {
        // What was given in confidence and is said back is another thing in the scenario.
        let text = text.split(MASK).map(str::trim).max_by_key(|part| part.len()).unwrap_or_default();
        if !text.is_empty() {
            self.step(Step::Expect(Expect { contains: Some(text.to_owned()), ..Expect::default() }));
        }
        self.at.max(self.quiet)
    }

    fn played(&mut self, begun: Time, playout: &Playout, segments: &[Segment]) {
        let cut = matches!(playout.end, PlayoutEnd::CutBySpeech | PlayoutEnd::CutByDigits).then_some(playout.end);
        self.quiet = begun + u64::from(playout.played);
        self.sound = Some(Sound { played: playout.played, cut });
        let only_text = segments.iter().all(|segment| matches!(segment, Segment::Text(_)));
        if playout.end == PlayoutEnd::Finished && only_text && !segments.is_empty() {
            self.spoken.0 += u64::from(playout.played);
            self.spoken.1 += u64::from(spoken(&prompt_text(segments), WORDS_A_MINUTE));
        }
    }

    fn writes(&mut self, handle: Handle, text: &str, reply: &Reply, now: Time) {
        let Some(written) = self.written.get_mut(&handle) else { return };
        let first = written.is_empty();
        written.push_str(text);
        if first {
            // Of a text that grows, the beginning is what is expected.
            let begun = self.says(text);
            self.up(self.at);
            if let Some(playout) = self.playouts.get(&handle).cloned() {
                self.played(begun, &playout, &[]);
            }
        }
        if reply.is_err() {
            self.failed(reply, now);
        }
    }

    /// An outbound call was taken at this time at the latest.
    fn up(&mut self, at: Time) {
        if self.picked_up || self.given.direction != Some(Direction::Outbound) {
            return;
        }
        self.picked_up = true;
        let moves = Moves { after: Some(round(at.0)) };
        self.steps.insert(0, Step::PickUp(moves));
        self.origins.insert(0, u32::try_from(self.index + 1).unwrap_or(u32::MAX));
    }

    /// A call that failed: mostly because the call had ended meanwhile.
    fn failed(&mut self, reply: &Reply, now: Time) {
        match reply {
            Err(HostError::Ended(cause)) => self.over(cause, now),
            Err(HostError::Unavailable(why)) if why.contains("recogniser") => {
                self.given.speech_recognition = Some(false);
            }
            Err(HostError::Unavailable(why)) => {
                let entry = self.index + 1;
                self.note(format!("entry {entry} failed on the line ({why}); in the simulator it does not"));
            }
            _ => {}
        }
    }

    fn event(&mut self, event: &Event, now: Time, masked: bool) {
        match event {
            Event::Digit(digit) => self.key(*digit, now, masked),
            Event::Message(json) => {
                self.pause(now);
                let value = serde_json::from_str(json).unwrap_or_default();
                self.step(Step::Message(Message(value)));
            }
            Event::Draining(within) => {
                self.pause(now);
                self.step(Step::Drain(Drain { within: Span(*within) }));
            }
            Event::Ended(cause) => self.over(cause, now),
            Event::SpeechStarted | Event::SpeechEnded | Event::Partial(_) | Event::Other(..) => {}
        }
    }

    /// Since when nobody speaks and the caller does nothing.
    fn calm(&self) -> Time {
        self.quiet.max(self.acted)
    }

    /// Lets as much time go by as did.
    fn pause(&mut self, now: Time) {
        let gone = round(now.since(self.calm()));
        self.acted = now;
        if gone.0 > 0 {
            self.step(Step::Wait(gone));
        }
    }

    /// The call is over.
    fn over(&mut self, cause: &EndCause, now: Time) {
        if self.ended.is_some() {
            return;
        }
        // While the robot speaks a scenario's caller hangs up at once: how far it had come is not on the tape.
        let speaking = match self.entries.get(self.index).map(|entry| &entry.call) {
            Some(HostCall::Say { .. } | HostCall::Ask { .. }) => true,
            _ => now < self.quiet && self.sound.is_some_and(|sound| sound.cut.is_none()),
        };
        let gone = round(now.since(self.calm().max(self.at)));
        self.ended = match cause {
            EndCause::RemoteHangup | EndCause::NetworkFailure => {
                if *cause == EndCause::NetworkFailure {
                    self.note("the line broke; in the scenario the caller hangs up there".into());
                }
                let after = if speaking { Span(0) } else { gone };
                self.step(Step::HangUp(HangUp { after: Some(after) }));
                Some(ended(EndedBy::Caller, EndReason::CallerHangup))
            }
            EndCause::LocalHangup => Some(ended(EndedBy::Script, EndReason::ScriptHangup)),
            EndCause::Transferred => Some(Ended { reason: Some(EndReason::TransferCompleted), ..Ended::default() }),
            EndCause::Operator(why) if self.limit(why) => self.ended.take(),
            EndCause::Operator(why) => {
                self.note(format!("the platform ended the call ({why}); in the scenario the operator does"));
                self.step(Step::OperatorHangUp(Moves { after: Some(gone) }));
                Some(ended(EndedBy::Platform, EndReason::OperatorHangup))
            }
            EndCause::Other(why) => {
                self.note(format!("the call ended in a way that the scenario does not have: {why}"));
                Some(Ended::default())
            }
        };
    }

    /// Whether a limit of the deployment ended the call; then it is given, and the end known.
    fn limit(&mut self, why: &str) -> bool {
        let ms = why.strip_suffix(" ms").and_then(|why| why.rsplit(' ').next()).and_then(|ms| ms.parse().ok());
        let Some(span) = ms.map(Span) else { return false };
        let limits = self.given.limits.get_or_insert_default();
        let reason = if why.starts_with("a call may last") {
            limits.max_duration = Some(span);
            EndReason::MaxDuration
        } else if why.starts_with("nothing was heard") {
            limits.silence_timeout = Some(span);
            EndReason::SilenceTimeout
        } else {
            return false;
        };
        self.ended = Some(ended(EndedBy::Platform, reason));
        true
    }

    /// What is left to say at the end.
    fn close(&mut self, recording: &Recording) {
        if self.result != ResultExpected::default() {
            let result = std::mem::take(&mut self.result);
            self.step(Step::Result(result));
        }
        if self.spoken.0 > 0 && self.spoken.1 > 0 {
            let rate = u64::from(WORDS_A_MINUTE) * self.spoken.1 / self.spoken.0;
            let rate = u16::try_from(rate.clamp(80, 400)).unwrap_or(WORDS_A_MINUTE);
            self.given.words_a_minute = (rate != WORDS_A_MINUTE).then_some(rate);
        }
        self.world.close(&mut self.given);
        if !recording.header.complete {
            let last = recording.entries.len();
            self.note(format!("the tape was full after entry {last}, and so the scenario ends there"));
            return;
        }
        let own = match recording.ending.as_ref().filter(|ending| ending.reason == RunReason::Own) {
            Some(ending) => match ending.end {
                ScriptEnd::Returned => Some(ended(EndedBy::Script, EndReason::ScriptReturned)),
                ScriptEnd::Failed { .. } | ScriptEnd::Trapped { .. } => {
                    Some(ended(EndedBy::Script, EndReason::ScriptTrap))
                }
                ScriptEnd::Budget { .. } | ScriptEnd::NotStarted { .. } => None,
            },
            None => None,
        };
        match (self.ended.take().or(own), &recording.ending) {
            (Some(end), _) => self.step(Step::Ended(end)),
            (None, Some(ending)) if ending.reason == RunReason::Stopped => {
                let place = ending.pending.as_ref().map_or("while it computed", import_name);
                self.note(format!("the host stopped the script ({place}); why is not on the tape"));
            }
            (None, _) => self.step(Step::Ended(Ended::default())),
        }
    }

    /// The last prompt was cut off.
    fn was_cut(&mut self) {
        self.step(Step::Heard(HeardStep { complete: Some(false), ..HeardStep::default() }));
    }
}

/// A prompt that fails sooner than this was not heard at all.
const SOUNDS: u64 = 50;

const fn ended(by: EndedBy, reason: EndReason) -> Ended {
    Ended { by: Some(by), reason: Some(reason), outcome: None, status: None, within: None }
}

/// Whether a prompt was cut before it began.
fn unheard(playout: &Playout) -> bool {
    playout.played == 0 && playout.end != PlayoutEnd::Finished
}

/// A prompt as the transcript has it.
fn prompt_text(segments: &[Segment]) -> String {
    let mut texts = Vec::new();
    let mut assets = Vec::new();
    for segment in segments {
        match segment {
            Segment::Text(text) => texts.push(text.clone()),
            Segment::Ssml(ssml) => texts.push(without_tags(ssml)),
            Segment::Asset(path) => assets.push(format!("[{path}]")),
            Segment::Silence(_) => {}
        }
    }
    let text = texts.join(" ");
    if text.is_empty() { assets.join(" ") } else { text }
}

/// To a tenth of a second: nobody waits more exactly than that.
fn round(ms: u64) -> Span {
    Span(Millis::try_from(ms.saturating_add(50) / 100 * 100).unwrap_or(Millis::MAX))
}
