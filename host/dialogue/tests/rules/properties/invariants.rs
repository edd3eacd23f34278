//! What holds for every call, read off its log.

use crate::rig::Entry;
use callbox_dialogue::leg::{LegCommand, LegEvent, PromptId, RecognitionId};
use callbox_dialogue::record::Role;
use callbox_dialogue::script::{
    BargeIn, Event, Handle, Heard, HostCall, HostReply, ListenOptions, Playout, PlayoutEnd, Prompt, Reply, Segment,
};
use callbox_dialogue::{CallRecord, Input, Output};
use callbox_grammar::{Grammar, Understanding};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Only pressed and said while a listening is sensitive.
pub(super) const SECRET_KEYS: [char; 4] = ['A', 'B', 'C', 'D'];
pub(super) const SECRET_WORDS: &str = "sesame";

/// Said, it neither interrupts nor answers.
pub(super) const BACK_CHANNEL: &str = "uh-huh";
/// No pause is longer.
const LONGEST_PAUSE: u64 = 30_000;

type Checked = Result<(), TestCaseError>;

/// Reads a log from its beginning to its end.
#[derive(Default)]
pub(super) struct Reader {
    now: u64,
    /// What is being handled, and what came of it.
    cause: Option<Input>,
    effects: Vec<Output>,
    up: bool,
    /// It is heard before it is answered.
    early: bool,
    /// The script has asked for something that only an answered call has.
    to_be_answered: bool,
    closing: bool,
    over: bool,
    finished: usize,
    stopped: usize,
    calls: usize,
    replies: usize,
    script_over: bool,
    pending: Option<HostCall>,
    barge_ins: BTreeMap<PromptId, BargeIn>,
    prepared: BTreeSet<PromptId>,
    playing: Option<PromptId>,
    /// When the line was last told to be quiet: the answer, or the end of a prompt.
    quiet_since: u64,
    playbacks: BTreeMap<Handle, BargeIn>,
    listenings: BTreeMap<Handle, ListenOptions>,
    listening_since: u64,
    speech: bool,
    speaking: bool,
    recognising: Option<RecognitionId>,
    /// How it was told to listen, and whether it was told that the caller is done.
    listens: Option<ListenOptions>,
    ending: bool,
    /// It has heard words that are more than a back-channel.
    words: bool,
    /// The recogniser that ran when the last input came, and what it had heard.
    before: Option<(ListenOptions, bool)>,
    /// Since when the caller makes a sound, at the earliest.
    sounds_since: Option<u64>,
    /// The prompt that plays was told to stop.
    stopping: bool,
    paused: Option<u64>,
    pauses: BTreeMap<PromptId, u8>,
    /// The longest that any listening waits for words.
    patience: u64,
    masked: bool,
}

/// The barge-in that a prompt of the model script carries in its text.
pub(super) fn tagged(name: &str, barge_in: BargeIn) -> String {
    format!("{name} {}{}", if barge_in.speech { "speech" } else { "-" }, if barge_in.digits { "digits" } else { "-" })
}

fn tag(segments: &[Segment]) -> BargeIn {
    let has = |what: &str| segments.iter().any(|segment| matches!(segment, Segment::Text(text) if text.contains(what)));
    BargeIn { speech: has("speech"), digits: has("digits") }
}

impl Reader {
    pub(super) fn read(log: &[(u64, Entry)]) -> Result<Self, TestCaseError> {
        let mut reader = Self::default();
        for (at, entry) in log {
            match entry {
                Entry::In(input) => {
                    reader.settle()?;
                    reader.now = *at;
                    reader.take(input)?;
                }
                Entry::Out(output) => reader.effects.push(output.clone()),
            }
        }
        reader.settle()?;
        Ok(reader)
    }

    fn take(&mut self, input: &Input) -> Checked {
        self.cause = Some(input.clone());
        self.before = self.recognising.and(self.listens.clone()).map(|options| (options, self.words));
        match input {
            Input::Script(call) => {
                self.calls += 1;
                self.pending = Some(call.clone());
                self.to_be_answered |= matches!(
                    call,
                    HostCall::Answer
                        | HostCall::SendDigits { .. }
                        | HostCall::Transfer { .. }
                        | HostCall::StartTransfer { .. }
                );
                match call {
                    HostCall::Ask { .. } | HostCall::Listen { .. } | HostCall::StartListen { .. } => {
                        self.listening_since = self.now;
                        self.speech = self.speaking;
                    }
                    _ => {}
                }
            }
            Input::ScriptEnded(_) => self.script_over = true,
            Input::Leg(LegEvent::Answered) if !self.over && !self.up && !self.closing => {
                self.up = true;
                if !self.early {
                    self.quiet_since = self.now;
                }
            }
            Input::Leg(LegEvent::EarlyMedia) if !self.over && !self.up && !self.closing => {
                self.early = true;
                self.quiet_since = self.now;
            }
            Input::Leg(LegEvent::Ended { .. }) => {
                self.over = true;
                self.paused = None;
            }
            Input::Leg(LegEvent::Prepared { prompt }) => {
                self.prepared.insert(*prompt);
            }
            Input::Leg(LegEvent::PrepareFailed { .. }) => self.quiet_since = self.now,
            Input::Leg(LegEvent::PromptEnded { prompt, .. }) if self.playing == Some(*prompt) => {
                self.playing = None;
                self.paused = None;
                self.stopping = false;
                self.quiet_since = self.now;
            }
            Input::Leg(
                LegEvent::SpeechStarted { .. }
                | LegEvent::Partial { .. }
                | LegEvent::Recognised { .. }
                | LegEvent::SpeechEnded { .. },
            ) => {
                self.speech = true;
                match input {
                    Input::Leg(LegEvent::SpeechStarted { ago }) => {
                        self.speaking = true;
                        let since = self.now.saturating_sub(u64::from(*ago));
                        self.sounds_since.get_or_insert(since);
                    }
                    Input::Leg(LegEvent::SpeechEnded { .. }) => {
                        self.speaking = false;
                        self.sounds_since = None;
                    }
                    Input::Leg(LegEvent::Partial { recognition, utterance })
                        if self.recognising == Some(*recognition) =>
                    {
                        self.words = !matches!(utterance.text.as_str(), "" | BACK_CHANNEL);
                    }
                    Input::Leg(LegEvent::Recognised { recognition, .. }) => {
                        self.recognising.take_if(|run| run == recognition);
                    }
                    _ => {}
                }
            }
            Input::Leg(LegEvent::RecogniseFailed { .. }) => self.recognising = None,
            _ => {}
        }
        Ok(())
    }

    /// Looks at what came of the last input.
    fn settle(&mut self) -> Checked {
        let effects = std::mem::take(&mut self.effects);
        for output in &effects {
            prop_assert_eq!(self.finished, 0, "after the end: {:?}", output);
            match output {
                Output::Leg(command) => self.command(command, &effects)?,
                Output::Reply { reply, sensitive } => self.reply(reply, *sensitive)?,
                Output::StopScript => {
                    self.stopped += 1;
                    self.script_over = true;
                    self.pending = None;
                }
                Output::Finished => {
                    prop_assert!(self.script_over, "the script is still there");
                    self.finished += 1;
                }
                Output::Fetch { .. }
                | Output::Model { .. }
                | Output::StopModel { .. }
                | Output::Push { .. }
                | Output::Log { .. } => {}
            }
        }
        prop_assert!(self.replies <= self.calls);
        prop_assert!(self.stopped <= 1);
        if let Some(since) = self.paused {
            let longest = (3 * self.patience).min(LONGEST_PAUSE);
            prop_assert!(self.now <= since + longest, "paused since {} at {}", since, self.now);
        }
        Ok(())
    }

    fn command(&mut self, command: &LegCommand, effects: &[Output]) -> Checked {
        prop_assert!(!self.over, "told a leg that is gone: {:?}", command);
        prop_assert!(!self.closing, "told a leg that ends: {:?}", command);
        match command {
            LegCommand::Prepare { prompt, segments, .. } | LegCommand::Append { prompt, segments } => {
                let (known, more) = (self.barge_ins.entry(*prompt).or_default(), tag(segments));
                *known = BargeIn { speech: known.speech || more.speech, digits: known.digits || more.digits };
            }
            LegCommand::Play { prompt, .. } => {
                prop_assert!(self.up || self.early, "played to nobody");
                prop_assert_eq!(self.playing, None, "two voices at once");
                prop_assert!(self.prepared.contains(prompt), "played before it is ready");
                self.playing = Some(*prompt);
            }
            LegCommand::Stop { prompt } if self.playing == Some(*prompt) => {
                self.stop_is_allowed(*prompt, effects)?;
                self.stopping = true;
                self.paused = None;
            }
            LegCommand::Pause { prompt } => self.pause_is_allowed(*prompt)?,
            LegCommand::Resume { prompt } => {
                prop_assert_eq!(self.playing, Some(*prompt));
                prop_assert!(self.paused.take().is_some(), "resumed and not paused");
            }
            LegCommand::Recognise { recognition, options } => {
                prop_assert_eq!(self.recognising, None, "two recognisers at once");
                self.recognising = Some(*recognition);
                self.patience = self.patience.max(options.resume_after.into());
                self.listens = Some((**options).clone());
                self.ending = false;
                self.words = false;
            }
            LegCommand::EndUtterance { recognition } => {
                prop_assert_eq!(self.recognising, Some(*recognition));
                prop_assert!(!std::mem::replace(&mut self.ending, true), "told twice that the caller is done");
            }
            LegCommand::StopRecognising { recognition } => {
                prop_assert_eq!(self.recognising, Some(*recognition));
                self.recognising = None;
            }
            LegCommand::Mask { on } => {
                prop_assert_ne!(self.masked, *on);
                self.masked = *on;
            }
            LegCommand::Hangup | LegCommand::Reject { .. } => {
                self.closing = true;
                self.paused = None;
            }
            LegCommand::Answer => {
                prop_assert!(!self.up);
                prop_assert!(!self.early || self.to_be_answered || self.script_over, "answered unasked");
            }
            LegCommand::Ring | LegCommand::EarlyMedia => prop_assert!(!self.up && !self.early),
            _ => {}
        }
        Ok(())
    }

    /// Only a prompt that gives way to speech is paused, by a sound past the threshold that a recogniser hears.
    fn pause_is_allowed(&mut self, prompt: PromptId) -> Checked {
        prop_assert_eq!(self.playing, Some(prompt));
        prop_assert!(!self.stopping && self.paused.is_none(), "paused twice, or while it is stopped");
        prop_assert!(self.barge_ins[&prompt].speech);
        let Some(options) = self.listens.as_ref().filter(|_| self.recognising.is_some() || self.before.is_some())
        else {
            return Err(TestCaseError::fail("paused, and nobody listens for words"));
        };
        let Some(since) = self.sounds_since else { return Err(TestCaseError::fail("paused by silence")) };
        prop_assert!(self.now >= since + u64::from(options.min_speech), "paused below the threshold");
        let pauses = self.pauses.entry(prompt).or_default();
        *pauses += 1;
        prop_assert!(*pauses <= 3, "paused for the {}th time", pauses);
        self.paused = Some(self.now);
        Ok(())
    }

    /// Where a recogniser listens for words, a sound alone does not cut.
    fn words_have_come(&self, over: bool) -> bool {
        match (&self.before, &self.cause) {
            (Some((options, _)), _) if over || options.resume_after == 0 => true,
            (Some(_), Some(Input::Leg(LegEvent::Recognised { alternatives, .. }))) => !alternatives.is_empty(),
            (Some(_), Some(Input::Leg(LegEvent::Partial { .. }))) => self.words,
            (Some((_, words)), _) => *words,
            (None, _) => true,
        }
    }

    /// A prompt that may not be cut is not cut.
    fn stop_is_allowed(&self, prompt: PromptId, effects: &[Output]) -> Checked {
        let barge_in = self.barge_ins[&prompt];
        let over = effects.iter().any(|output| {
            matches!(output, Output::StopScript | Output::Leg(LegCommand::Hangup | LegCommand::Reject { .. }))
        });
        let allowed = match &self.cause {
            Some(Input::Leg(LegEvent::Digit { .. })) => barge_in.digits || over,
            // The threshold of speech is passed by the clock or by words; keys kept so far count
            // when speech turns out to be noise.
            Some(Input::Leg(
                LegEvent::SpeechStarted { .. }
                | LegEvent::SpeechEnded { .. }
                | LegEvent::Partial { .. }
                | LegEvent::Recognised { .. },
            )) => (barge_in.speech && self.words_have_come(over)) || barge_in.digits || over,
            Some(Input::Tick) => {
                (barge_in.speech && self.words_have_come(over)) || barge_in.digits || self.script_over || over
            }
            // A prompt in front is over: keys kept so far count; without a threshold, so does speech.
            Some(Input::Leg(LegEvent::PromptEnded { .. } | LegEvent::PrepareFailed { .. })) => {
                barge_in.speech || barge_in.digits || over
            }
            _ => true,
        };
        prop_assert!(allowed, "{:?} cut a prompt that gives way to {:?}", self.cause, barge_in);
        Ok(())
    }

    fn reply(&mut self, reply: &Reply, sensitive: bool) -> Checked {
        self.replies += 1;
        let Some(call) = self.pending.take() else {
            return Err(TestCaseError::fail("a reply to nothing"));
        };
        let secret = format!("{reply:?}").contains(SECRET_WORDS)
            || matches!(reply, Ok(HostReply::MaybeEvent(Some(Event::Digit(key)))) if SECRET_KEYS.contains(key));
        prop_assert!(!secret || sensitive, "told a secret in the open: {:?}", reply);
        match (&call, reply) {
            (HostCall::OpenWriter { barge_in }, Ok(HostReply::Handle(handle))) => {
                self.playbacks.insert(*handle, *barge_in);
            }
            (HostCall::StartSay { prompt }, Ok(HostReply::Handle(handle))) => {
                self.playbacks.insert(*handle, prompt.barge_in);
            }
            (HostCall::StartListen { options }, Ok(HostReply::Handle(handle))) => {
                self.listenings.insert(*handle, (**options).clone());
            }
            (HostCall::Say { prompt }, Ok(HostReply::Playout(playout))) => played(playout, prompt.barge_in)?,
            (
                HostCall::AwaitPlayback { handle } | HostCall::StopPlayback { handle },
                Ok(HostReply::Playout(playout)),
            ) => {
                played(playout, self.playbacks[handle])?;
            }
            (HostCall::Write { handle, .. }, Ok(HostReply::MaybePlayout(Some(playout)))) => {
                played(playout, self.playbacks[handle])?;
            }
            (HostCall::Ask { prompt: Prompt { barge_in, .. }, options }, Ok(HostReply::Answer { heard, prompt })) => {
                played(prompt, *barge_in)?;
                self.heard(heard, options, true)?;
                prop_assert_eq!(sensitive, options.sensitive);
            }
            (HostCall::Listen { options }, Ok(HostReply::Heard(heard))) => {
                self.heard(heard, options, true)?;
                prop_assert_eq!(sensitive, options.sensitive);
            }
            (HostCall::AwaitListening { handle }, Ok(HostReply::Heard(heard))) => {
                let options = self.listenings[handle].clone();
                self.heard(heard, &options, false)?;
                prop_assert_eq!(sensitive, options.sensitive);
            }
            _ => {}
        }
        Ok(())
    }

    fn heard(&self, heard: &Heard, options: &ListenOptions, blocking: bool) -> Checked {
        let accepts = options.digits;
        match heard {
            Heard::Digits(digits) => {
                let Some(accepts) = accepts else { return Err(TestCaseError::fail("digits nobody asked for")) };
                let count = digits.chars().count();
                prop_assert!((usize::from(accepts.min)..=usize::from(accepts.max)).contains(&count));
                prop_assert!(accepts.terminator.is_none_or(|terminator| !digits.contains(terminator)));
            }
            Heard::NoMatch(text) => {
                if let Some(terminator) = accepts.and_then(|accepts| accepts.terminator) {
                    prop_assert!(!text.contains(terminator));
                }
            }
            // A listening that starts with the call counts from the end of the last prompt.
            Heard::Nothing if blocking => {
                let begin = self.quiet_since.max(self.listening_since);
                let due = begin + u64::from(options.start_timeout);
                if self.speech {
                    prop_assert!(self.now >= due, "gave up {} ms early", due - self.now);
                } else {
                    prop_assert_eq!(self.now, due);
                }
            }
            Heard::Nothing => {}
            Heard::Speech(said) => {
                prop_assert!(options.speech);
                let understood = |grammar: &Grammar| grammar.understand(&said.text, "en", jiff::civil::Date::ZERO);
                let understood = options.grammar.as_ref().map(understood);
                prop_assert!(
                    !matches!(understood, Some(Understanding::Nothing | Understanding::Begun)),
                    "{}",
                    said.text
                );
            }
        }
        Ok(())
    }

    /// What holds once everything has come to its end.
    pub(super) fn at_the_end(&self, record: &CallRecord) -> Checked {
        prop_assert_eq!(self.finished, 1, "the call does not end");
        prop_assert!(self.replies == self.calls || self.script_over, "a call without an answer");
        prop_assert!(record.outcome.is_some() && record.end_reason.is_some() && record.ended_by.is_some());
        prop_assert!(record.ended.is_some());
        prop_assert!(record.timeline.len() <= 2_000);
        prop_assert!(record.timeline.is_sorted_by_key(|entry| entry.at));
        prop_assert!(record.transfer.as_ref().is_none_or(|transfer| transfer.outcome.is_some()));
        for (seq, turn) in (1..).zip(&record.transcript) {
            prop_assert_eq!(turn.seq, seq);
            prop_assert!(turn.start_ms <= turn.end_ms);
            if let Some(heard) = &turn.heard_text {
                prop_assert!(turn.text.starts_with(heard.as_str()), "heard {:?} of {:?}", heard, turn.text);
            }
            prop_assert!(turn.role == Role::Robot || turn.heard_text.is_none());
            if let Some(it) = turn.latency {
                let parts = [it.endpointing_ms, it.recognition_ms, it.script_ms, it.synthesis_ms, it.playout_ms];
                prop_assert_eq!(parts.iter().sum::<u32>(), it.total_ms, "{}", it);
                prop_assert!(turn.role == Role::Robot && u64::from(it.total_ms) <= turn.start_ms);
            }
            prop_assert!(!turn.text.contains(SECRET_WORDS));
            prop_assert!(turn.digits.as_ref().is_none_or(|digits| !digits.contains(SECRET_KEYS)));
        }
        for entry in &record.timeline {
            prop_assert!(!entry.detail.contains(SECRET_WORDS));
            let keys = matches!(&*entry.kind, "digit" | "heard");
            prop_assert!(!keys || !entry.detail.contains(SECRET_KEYS), "{:?}", entry);
        }
        Ok(())
    }
}

fn played(playout: &Playout, barge_in: BargeIn) -> Checked {
    match playout.end {
        PlayoutEnd::CutByDigits => prop_assert!(barge_in.digits),
        PlayoutEnd::CutBySpeech => prop_assert!(barge_in.speech),
        PlayoutEnd::Finished | PlayoutEnd::Stopped => {}
    }
    Ok(())
}
