//! Listening: keys and speech, their timers, and how they cut a prompt.
//!
//! One listening at a time. It runs from the moment it is asked for, also
//! while a prompt sounds:
//!
//! * A key that a prompt gives way to cuts it and counts. While a prompt that
//!   does not give way to keys is the head of the queue, keys are kept and
//!   counted once it is over.
//! * Speech cuts a prompt that gives way to it past the thresholds of the
//!   listening; below them the prompt goes on and what was said is no answer.
//!   During a prompt that gives way to nothing it is transcribed and counts
//!   once the prompt is over. During one that gives way to keys only it is
//!   ignored.
//! * The first key decides for digits: the recogniser stops. When speech has
//!   cut the prompt, keys are kept; they count when the speech could not be
//!   made out, else for the next listening.
//! * Where speech and digits are asked for and no recogniser is configured, or
//!   it fails, digits go on alone.

use super::handles::Item;
use super::journal::MASK;
use super::prompts::Stage;
use super::wording::{count_words, floor};
use super::{Engine, Timer, arguments};
use crate::leg::{LegCommand, PromptId, RecognitionId};
use crate::record::Role;
use crate::script::{BargeIn, Event, Handle, Heard, HostError, ListenOptions, PlayoutEnd, Utterance};
use crate::time::{Millis, Time};
use std::collections::VecDeque;

/// Speech threshold where nobody listens.
const MIN_SPEECH: u32 = 200;
/// How much longer than asked for a recogniser may take for the longest utterance.
const UTTERANCE_SLACK: u64 = 2_000;
/// Longest wait for the result after the end of the speech and its silence.
const FINAL_LIMIT: u64 = 3_000;
/// Hypotheses kept of one result.
const ALTERNATIVES: usize = 16;
/// Bytes kept of one hypothesis.
const HYPOTHESIS: usize = 8 * 1_024;

/// A key that was pressed while nobody listened for keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    digit: char,
    at: Time,
    /// It cut off a prompt: the next listening counts it. Others count only
    /// with type-ahead.
    cut: bool,
}

/// The listening under way.
#[derive(Debug)]
pub(super) struct Listening {
    item: Handle,
    /// The prompt of the same `ask`.
    ask: Option<PromptId>,
    options: Box<ListenOptions>,
    /// A recogniser takes part.
    speech: bool,
    started: Time,
    node: Option<String>,
    /// Keys that do not count yet.
    kept: VecDeque<(char, Time)>,
    /// Keys that count.
    digits: String,
    first_key: Time,
    last_key: Time,
    /// A prompt that does not give way to keys is in front.
    gated: bool,
    recognition: Option<RecognitionId>,
    /// The first sign of speech of this run of the recogniser.
    speaking: Option<Time>,
    /// The last one.
    last_sign: Time,
    partial: Option<Utterance>,
    /// Speech has cut the prompt.
    won: bool,
    /// A result that came during a prompt that gives way to nothing.
    held: Option<(Vec<Utterance>, Time)>,
}

/// How far a listening may go.
pub(super) struct Plan {
    options: Box<ListenOptions>,
    speech: bool,
}

impl Engine {
    /// Checks everything about a listening, before anything is said.
    pub(super) fn plan_listening(&self, mut options: Box<ListenOptions>) -> Result<Plan, HostError> {
        arguments::listening(&mut options, &self.setup.info.language)?;
        if self.listening.is_some() {
            return Err(HostError::LimitExceeded("a listening is under way; stop it or wait for it".into()));
        }
        let speech = options.speech && self.setup.speech_recognition;
        if options.speech && !speech && options.digits.is_none() {
            return Err(HostError::Unavailable(
                "no speech recogniser is configured; listen for digits, or configure one".into(),
            ));
        }
        Ok(Plan { options, speech })
    }

    /// Starts to listen.
    pub(super) fn begin_listening(&mut self, plan: Plan, ask: Option<PromptId>, held: bool) -> Handle {
        let Plan { options, speech } = plan;
        let sensitive = options.sensitive;
        let item = self.handles.add(
            Item::Listening {
                sensitive,
                result: None,
                partials: VecDeque::new(),
                alternatives: Vec::new(),
                meaning: None,
            },
            held,
        );
        if options.speech && !speech {
            self.journal.note(self.now, "listening", "no recogniser is configured: keys only");
        }
        let keys = std::mem::take(&mut self.keys);
        let kept: VecDeque<(char, Time)> = keys
            .into_iter()
            .filter(|key| options.digits.is_some() && (key.cut || options.type_ahead))
            .map(|key| (key.digit, key.at))
            .collect();
        if sensitive {
            if !kept.is_empty() {
                // These keys have become secret: nobody reads them as events any more.
                self.events.retain(|event| !matches!(event, Event::Digit(_)));
            }
            self.leg(LegCommand::Mask { on: true });
        }
        self.listening = Some(Listening {
            item,
            ask,
            options,
            speech,
            started: self.now,
            node: self.journal.node.clone(),
            kept,
            digits: String::new(),
            first_key: self.now,
            last_key: self.now,
            gated: false,
            recognition: None,
            speaking: None,
            last_sign: self.now,
            partial: None,
            won: false,
            held: None,
        });
        item
    }

    /// Moves the listening on. True where a prompt or the listening itself
    /// changed.
    pub(super) fn advance_listening(&mut self) -> bool {
        if self.ended.is_some() || !self.line.has_audio() {
            return false;
        }
        if self.cut_by_speech() || self.take_held_speech() || self.take_keys() {
            return true;
        }
        self.run_recogniser();
        self.arm_listening_timers();
        false
    }

    /// Whether the caller is answering already, so that a prompt that gives
    /// way to that does not begin at all.
    pub(super) fn already_interrupted(&self, barge_in: BargeIn) -> Option<PlayoutEnd> {
        let listening = self.listening.as_ref()?;
        if barge_in.digits && !listening.digits.is_empty() {
            Some(PlayoutEnd::CutByDigits)
        } else if barge_in.speech && listening.won {
            Some(PlayoutEnd::CutBySpeech)
        } else {
            None
        }
    }

    /// Speech past the thresholds cuts the prompt that sounds.
    fn cut_by_speech(&mut self) -> bool {
        self.timers.clear(Timer::Barge);
        let Some(since) = self.speech_since else { return false };
        let Some(head) = self.prompts.head() else { return false };
        if !head.barge_in.speech || !matches!(head.stage, Stage::Playing { .. }) {
            return false;
        }
        // Somebody who was speaking before has to go on over the prompt.
        let since = since.max(head.sounding_since().unwrap_or(since));
        let (min_speech, enough_words) = match &self.listening {
            Some(listening) => (listening.options.min_speech, listening.enough_words(listening.partial.as_ref())),
            None => (MIN_SPEECH, true),
        };
        let due = since + u64::from(min_speech);
        if self.now < due {
            self.timers.set(Timer::Barge, due);
            return false;
        }
        if !enough_words {
            return false;
        }
        self.cut(PlayoutEnd::CutBySpeech);
        if let Some(listening) = &mut self.listening {
            listening.won = listening.recognition.is_some();
        }
        true
    }

    /// What was said during a prompt that gives way to nothing counts now,
    /// unless a key came first.
    fn take_held_speech(&mut self) -> bool {
        let Some(listening) = &mut self.listening else { return false };
        let Some((_, at)) = &listening.held else { return false };
        if self.prompts.head().is_some_and(|head| !head.barge_in.speech) {
            return false;
        }
        if listening.options.digits.is_some() && listening.kept.front().is_some_and(|(_, key)| key < at) {
            listening.held = None;
            return true;
        }
        let alternatives = listening.held.take().map(|(alternatives, _)| alternatives).unwrap_or_default();
        self.hear_speech(alternatives);
        true
    }

    /// Keys count, unless a prompt that does not give way to them is in front.
    fn take_keys(&mut self) -> bool {
        let mut changed = false;
        loop {
            match &self.listening {
                Some(listening) if !listening.won && !listening.kept.is_empty() => {}
                _ => return changed,
            }
            match self.prompts.head() {
                Some(head) if !head.barge_in.digits => return changed,
                Some(_) => self.cut(PlayoutEnd::CutByDigits),
                None => {}
            }
            if let Some((key, at)) = self.listening.as_mut().and_then(|listening| listening.kept.pop_front()) {
                self.take_key(key, at);
                changed = true;
            }
        }
    }

    fn take_key(&mut self, key: char, at: Time) {
        let Some(listening) = &mut self.listening else { return };
        let Some(options) = listening.options.digits else { return };
        let noted = if listening.options.sensitive { MASK.to_owned() } else { key.to_string() };
        self.journal.note(self.now, "digit", noted);
        if listening.digits.is_empty() {
            listening.first_key = at;
        }
        listening.last_key = self.now;
        if options.terminator == Some(key) {
            self.finish_digits();
            return;
        }
        listening.digits.push(key);
        if listening.digits.len() >= usize::from(options.max) {
            self.finish_digits();
        }
    }

    /// The collection is over: enough keys, the terminator, or a pause.
    fn finish_digits(&mut self) {
        let Some(listening) = &self.listening else { return };
        let heard = listening.digits_so_far();
        self.decide(Ok(heard), Some(PlayoutEnd::CutByDigits), Vec::new());
    }

    /// The recogniser runs while its result could count.
    fn run_recogniser(&mut self) {
        let ignored = self.prompts.head().is_some_and(|head| {
            head.barge_in == BargeIn { digits: true, speech: false } && !matches!(head.stage, Stage::Stopping { .. })
        });
        let Some(listening) = &mut self.listening else { return };
        let wanted = listening.speech && listening.digits.is_empty() && listening.held.is_none() && !ignored;
        match (wanted, listening.recognition) {
            (true, None) => {
                self.recognitions = self.recognitions.wrapping_add(1);
                let recognition = RecognitionId(self.recognitions);
                listening.recognition = Some(recognition);
                listening.speaking = self.speech_since.map(|_| self.now);
                listening.last_sign = self.now;
                listening.partial = None;
                let options = listening.options.clone();
                self.leg(LegCommand::Recognise { recognition, options });
            }
            (false, Some(recognition)) => {
                listening.recognition = None;
                listening.speaking = None;
                listening.partial = None;
                listening.won = false;
                self.leg(LegCommand::StopRecognising { recognition });
            }
            _ => {}
        }
    }

    fn arm_listening_timers(&mut self) {
        let Some(listening) = &mut self.listening else { return };
        let head = self.prompts.head();
        let quiet = head.is_none();
        let gated = head.is_some_and(|head| !head.barge_in.digits);
        if listening.gated && !gated {
            // The pause between keys does not run while a prompt holds them back.
            listening.last_key = self.now;
        }
        listening.gated = gated;
        let since = listening.started.max(self.prompts.quiet_since);
        let options = &listening.options;
        let nothing_yet = listening.digits.is_empty() && listening.speaking.is_none();
        let start = (quiet && nothing_yet).then(|| since + u64::from(options.start_timeout));
        let gap = options.digits.filter(|_| !gated && !listening.digits.is_empty());
        let gap = gap.map(|digits| listening.last_key + u64::from(digits.digit_timeout));
        let end_silence = u64::from(options.end_silence);
        let speaking = listening.speaking.filter(|_| quiet);
        let utterance =
            speaking.map(|first| first.max(since) + u64::from(options.max_length) + end_silence + UTTERANCE_SLACK);
        let owed =
            speaking.filter(|_| self.speech_since.is_none()).map(|_| listening.last_sign + end_silence + FINAL_LIMIT);
        self.timers.put(Timer::Start, start);
        self.timers.put(Timer::DigitGap, gap);
        self.timers.put(Timer::Utterance, utterance);
        self.timers.put(Timer::Final, owed);
    }

    /// A key was pressed.
    pub(super) fn on_digit(&mut self, given: char) {
        let Some(digit) = arguments::key(given) else { return };
        if self.ended.is_some() || !self.line.has_audio() {
            return;
        }
        self.active();
        let (now, secret) = (self.now, self.is_secret());
        if !secret {
            self.event(Event::Digit(digit));
        }
        if let Some(listening) = self.listening.as_mut().filter(|listening| listening.options.digits.is_some()) {
            if listening.kept.len() < arguments::DIGITS {
                listening.kept.push_back((digit, now));
            }
            return;
        }
        // Which key it was stays open: it may turn out to be the first of a PIN typed ahead.
        self.journal.note(now, "digit", "a key that nobody listens for");
        let cut = match self.prompts.head().map(|head| (head.stage, head.barge_in.digits, head.model)) {
            // A model that has not begun to speak is told at once, too.
            Some((Stage::Playing { .. }, true, _)) | Some((_, true, true)) => {
                self.cut(PlayoutEnd::CutByDigits);
                true
            }
            Some((Stage::Stopping { end, .. }, ..)) => end == PlayoutEnd::CutByDigits,
            _ => false,
        };
        if !secret {
            self.keep_key(digit, now, cut);
        }
    }

    fn keep_key(&mut self, digit: char, at: Time, cut: bool) {
        if self.keys.len() >= arguments::DIGITS {
            self.keys.pop_front();
        }
        self.keys.push_back(Key { digit, at, cut });
    }

    /// Whether what the caller gives is secret now.
    pub(super) fn is_secret(&self) -> bool {
        self.listening.as_ref().is_some_and(|listening| listening.options.sensitive)
    }

    /// The caller began to speak.
    pub(super) fn on_speech_started(&mut self, _ago: Millis) {
        if self.ended.is_some() || !self.line.has_audio() || self.speech_since.is_some() {
            return;
        }
        self.speech_since = Some(self.now);
        self.event(Event::SpeechStarted);
        self.sign_of_speech();
    }

    /// The caller stopped.
    pub(super) fn on_speech_ended(&mut self, _ago: Millis) {
        if self.ended.is_some() || self.speech_since.take().is_none() {
            return;
        }
        self.event(Event::SpeechEnded);
        if let Some(listening) = &mut self.listening {
            listening.last_sign = self.now;
        }
    }

    fn sign_of_speech(&mut self) {
        if let Some(listening) = self.listening.as_mut().filter(|listening| listening.recognition.is_some()) {
            listening.speaking.get_or_insert(self.now);
            listening.last_sign = self.now;
        }
    }

    pub(super) fn on_partial(&mut self, recognition: RecognitionId, utterance: Utterance) {
        let Some(listening) = self.listening.as_mut().filter(|listening| listening.recognition == Some(recognition))
        else {
            return;
        };
        let utterance = bounded(utterance);
        listening.partial = Some(utterance.clone());
        if listening.options.partials {
            let (item, sensitive) = (listening.item, listening.options.sensitive);
            self.handles.partial(item, utterance.clone());
            if !sensitive {
                self.event(Event::Partial(utterance));
            }
        }
        self.sign_of_speech();
    }

    pub(super) fn on_recognised(&mut self, recognition: RecognitionId, mut alternatives: Vec<Utterance>) {
        let Some(listening) = self.listening.as_mut().filter(|listening| listening.recognition == Some(recognition))
        else {
            return;
        };
        alternatives.truncate(ALTERNATIVES);
        let alternatives: Vec<Utterance> = alternatives.into_iter().map(bounded).collect();
        let text = listening.partial.take();
        listening.recognition = None;
        listening.speaking = None;
        let said = alternatives.first().filter(|best| !best.text.trim().is_empty());
        let enough = said.is_some_and(|best| {
            best.end.saturating_sub(best.start) >= listening.options.min_speech && listening.enough_words(Some(best))
        });
        let something = said.is_some();
        let head = self.prompts.head().filter(|head| !matches!(head.stage, Stage::Stopping { .. }));
        match head.map(|head| head.barge_in.speech) {
            // Quiet, or the prompt is being stopped: this is the answer.
            None if something => self.hear_speech(alternatives),
            None => self.hear_noise(text.map(|partial| partial.text).unwrap_or_default()),
            Some(true) if enough => {
                listening.won = true;
                self.cut(PlayoutEnd::CutBySpeech);
                self.hear_speech(alternatives);
            }
            Some(false) if something => listening.held = Some((alternatives, self.now)),
            // A back-channel, or noise: the prompt goes on, and so does the recogniser.
            Some(_) => {}
        }
        if something {
            self.active();
        }
    }

    pub(super) fn on_recognise_failed(&mut self, recognition: RecognitionId, error: HostError) {
        let Some(listening) = self.listening.as_mut().filter(|listening| listening.recognition == Some(recognition))
        else {
            return;
        };
        listening.recognition = None;
        listening.speaking = None;
        listening.won = false;
        self.journal.note(self.now, "recogniser_failed", error.to_string());
        if listening.options.digits.is_some() {
            listening.speech = false;
        } else {
            self.decide(Err(error), None, Vec::new());
        }
    }

    fn hear_speech(&mut self, alternatives: Vec<Utterance>) {
        if let Some(best) = alternatives.first().cloned() {
            self.decide(Ok(Heard::Speech(best)), Some(PlayoutEnd::CutBySpeech), alternatives);
        }
    }

    /// The recogniser made nothing of it. Keys that were kept have their turn.
    fn hear_noise(&mut self, text: String) {
        let Some(listening) = &mut self.listening else { return };
        listening.won = false;
        if listening.kept.is_empty() {
            self.decide(Ok(Heard::NoMatch(text)), None, Vec::new());
        }
    }

    /// Nobody spoke or dialled in time.
    pub(super) fn on_start_limit(&mut self) {
        self.decide(Ok(Heard::Nothing), None, Vec::new());
    }

    /// No further key came.
    pub(super) fn on_digit_gap(&mut self) {
        self.finish_digits();
    }

    /// The recogniser owes its result: the words so far are no match; without
    /// any it was noise, and the start timeout goes on where it would be.
    pub(super) fn on_recogniser_late(&mut self) {
        let Some(listening) = &mut self.listening else { return };
        listening.speaking = None;
        listening.won = false;
        match listening.partial.take() {
            Some(partial) if !partial.text.trim().is_empty() => self.hear_noise(partial.text),
            _ => {}
        }
    }

    /// Ends the listening under way where it is this one, with what has been
    /// heard so far.
    pub(super) fn stop_listening(&mut self, item: Handle) {
        let Some(listening) = self.listening.as_ref().filter(|listening| listening.item == item) else { return };
        let heard = match &listening.partial {
            _ if !listening.digits.is_empty() => listening.digits_so_far(),
            Some(partial) if !partial.text.trim().is_empty() => Heard::Speech(partial.clone()),
            _ => Heard::Nothing,
        };
        self.decide(Ok(heard), None, Vec::new());
    }

    /// Ends the listening under way where it is this one; nobody wants to know
    /// what was heard.
    pub(super) fn drop_listening(&mut self, item: Handle) {
        if self.listening.as_ref().is_some_and(|listening| listening.item == item) {
            self.close_listening();
        }
    }

    /// The same, and the keys that did not count yet are kept for the next one.
    pub(super) fn leave_listening(&mut self, item: Handle) {
        if !self.listening.as_ref().is_some_and(|listening| listening.item == item) {
            return;
        }
        let Some(mut listening) = self.close_listening().filter(|listening| !listening.options.sensitive) else {
            return;
        };
        for (digit, at) in std::mem::take(&mut listening.kept) {
            self.keep_key(digit, at, false);
        }
    }

    /// Ends the listening under way, if any. What the caller has pressed so
    /// far stays in the transcript.
    pub(super) fn close_listening(&mut self) -> Option<Listening> {
        let mut listening = self.listening.take()?;
        if let Some(recognition) = listening.recognition.take() {
            self.leg(LegCommand::StopRecognising { recognition });
        }
        if listening.options.sensitive {
            self.leg(LegCommand::Mask { on: false });
        }
        for timer in [Timer::Start, Timer::DigitGap, Timer::Utterance, Timer::Final, Timer::Barge] {
            self.timers.clear(timer);
        }
        if !listening.digits.is_empty() {
            let digits = std::mem::take(&mut listening.digits);
            self.digits_turn(&listening, digits);
        }
        Some(listening)
    }

    /// The listening has its result. `way` tells what its own prompt may be
    /// cut by now.
    fn decide(&mut self, result: Result<Heard, HostError>, way: Option<PlayoutEnd>, alternatives: Vec<Utterance>) {
        let keys = way == Some(PlayoutEnd::CutByDigits)
            || self.listening.as_ref().is_some_and(|listening| !listening.digits.is_empty());
        let Some(mut listening) = self.close_listening() else { return };
        let speech = matches!(result, Ok(Heard::Speech(_)));
        if !listening.options.sensitive {
            for (digit, at) in std::mem::take(&mut listening.kept) {
                self.keep_key(digit, at, speech);
            }
        }
        if !keys {
            self.speech_turn(&listening, &result);
        }
        let cuts = |barge_in: BargeIn| match way {
            Some(PlayoutEnd::CutByDigits) => barge_in.digits,
            Some(PlayoutEnd::CutBySpeech) => barge_in.speech,
            _ => false,
        };
        if let (Some(id), Some(end)) = (listening.ask, way)
            && self.prompts.get_mut(id).is_some_and(|prompt| cuts(prompt.barge_in))
        {
            self.stop_prompt(id, end);
        }
        self.handles.heard(listening.item, result, alternatives, None);
    }

    fn digits_turn(&mut self, listening: &Listening, digits: String) {
        let secret = listening.options.sensitive;
        let digits = if secret { MASK.to_owned() } else { digits };
        self.journal.note(self.now, "heard", format!("keys {digits}"));
        let turn = self.journal.turn(Role::Caller, "", listening.first_key, listening.node.clone());
        if let Some(turn) = self.journal.turn_mut(turn) {
            turn.digits = Some(digits);
            turn.end_ms = listening.last_key.0.max(turn.start_ms);
        }
    }

    fn speech_turn(&mut self, listening: &Listening, result: &Result<Heard, HostError>) {
        let secret = listening.options.sensitive;
        let (text, span, confidence) = match result {
            Ok(Heard::Speech(best)) => (best.text.as_str(), Some((best.start, best.end)), best.confidence),
            Ok(Heard::NoMatch(text)) if !text.is_empty() => (text.as_str(), None, None),
            Ok(Heard::NoMatch(_)) => {
                self.journal.note(self.now, "heard", "no match");
                return;
            }
            Ok(Heard::Nothing) => {
                self.journal.note(self.now, "heard", "nothing");
                return;
            }
            Ok(Heard::Digits(_)) | Err(_) => return,
        };
        let text = if secret { MASK } else { text };
        let now = self.now;
        let (start, end) = span.map_or((now, now), |(start, end)| {
            let start = (listening.started + u64::from(start)).min(now);
            (start, (listening.started + u64::from(end)).clamp(start, now))
        });
        self.journal.note(now, "heard", text);
        let turn = self.journal.turn(Role::Caller, text, start, listening.node.clone());
        if let Some(turn) = self.journal.turn_mut(turn) {
            turn.end_ms = end.0;
            turn.confidence = confidence.filter(|_| !secret);
        }
    }
}

impl Listening {
    /// Whether a hypothesis has enough words to cut a prompt. Without a
    /// recogniser nobody counts words.
    fn enough_words(&self, utterance: Option<&Utterance>) -> bool {
        let words = utterance.map_or(0, |utterance| count_words(&utterance.text));
        !self.speech || words >= usize::from(self.options.min_words)
    }

    /// The keys so far, as a result.
    fn digits_so_far(&self) -> Heard {
        let least = self.options.digits.map_or(1, |digits| usize::from(digits.min));
        if self.digits.len() < least { Heard::NoMatch(self.digits.clone()) } else { Heard::Digits(self.digits.clone()) }
    }
}

/// A hypothesis of a size that can be kept.
fn bounded(mut utterance: Utterance) -> Utterance {
    utterance.text.truncate(floor(&utterance.text, HYPOTHESIS));
    utterance.language.truncate(floor(&utterance.language, 64));
    utterance.confidence = utterance.confidence.filter(|confidence| confidence.is_finite());
    utterance
}
