//! What is listened for, and what came of it.
//!
//! One listening at a time. It runs from the moment it is asked for, also
//! while a prompt sounds:
//!
//! * A key that a prompt gives way to cuts it and counts, also while it is
//!   paused. While a prompt that does not give way to keys is the head of the
//!   queue, keys are kept and counted once it is over.
//! * Speech is the business of `turns`. During a prompt that gives way to
//!   nothing it is transcribed and counts once the prompt is over; during one
//!   that gives way to keys only it is ignored.
//! * The first key decides for digits: the recogniser stops. When words have
//!   cut the prompt, keys are kept; they count when the speech is no answer,
//!   else for the next listening.
//! * Where speech and digits are asked for and no recogniser is configured, or
//!   it fails, digits go on alone.

use super::handles::Item;
use super::journal::MASK;
use super::prompts::Stage;
use super::turns::{Done, HeldSpeech, Run};
use super::{Engine, Timer, arguments};
use crate::leg::{LegCommand, PromptId};
use crate::record::Role;
use crate::script::{BargeIn, Event, Handle, Heard, HostError, ListenOptions, PlayoutEnd, Utterance};
use crate::time::Time;
use callbox_grammar::Understanding;
use std::collections::VecDeque;

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
    pub(super) item: Handle,
    /// The prompt of the same `ask`.
    ask: Option<PromptId>,
    pub(super) options: Box<ListenOptions>,
    /// The language of the call, where nothing else is said.
    pub(super) language: String,
    /// A recogniser takes part.
    pub(super) speech: bool,
    pub(super) started: Time,
    node: Option<String>,
    /// Keys that do not count yet.
    pub(super) kept: VecDeque<(char, Time)>,
    /// Keys that count.
    pub(super) digits: String,
    first_key: Time,
    last_key: Time,
    /// A prompt that does not give way to keys is in front.
    gated: bool,
    pub(super) run: Option<Run>,
    /// Words have cut the prompt.
    pub(super) won: bool,
    /// What sounds was no interruption, as far as it was heard.
    pub(super) dismissed: bool,
    /// A result that came during a prompt that gives way to nothing.
    pub(super) held: Option<HeldSpeech>,
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
        if let Some(zone) = &options.zone {
            self.local(zone)?;
        }
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
            language: self.setup.info.language.clone(),
            speech,
            started: self.now,
            node: self.journal.node.clone(),
            kept,
            digits: String::new(),
            first_key: self.now,
            last_key: self.now,
            gated: false,
            run: None,
            won: false,
            dismissed: false,
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
        if self.give_way() || self.take_held_speech() || self.take_keys() {
            return true;
        }
        self.run_recogniser();
        self.point_the_end();
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
        let done = Done { ended: listening.last_key, decided: self.now };
        let meaning = self.meaning_of_keys(&heard);
        self.decide(Ok(heard), Some(PlayoutEnd::CutByDigits), Vec::new(), meaning, Some(done));
    }

    /// What keys that are a result mean under the grammar.
    fn meaning_of_keys(&self, heard: &Heard) -> Option<String> {
        match heard {
            Heard::Digits(keys) => self.understand_keys(keys),
            _ => None,
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
        let speaking = listening.run.as_ref().is_some_and(|run| run.speaking.is_some());
        let start =
            (quiet && listening.digits.is_empty() && !speaking).then(|| since + u64::from(options.start_timeout));
        let gap = options.digits.filter(|_| !gated && !listening.digits.is_empty());
        let gap = gap.map(|digits| listening.last_key + u64::from(digits.digit_timeout));
        self.timers.put(Timer::Start, start);
        self.timers.put(Timer::DigitGap, gap);
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

    /// Nobody spoke or dialled in time.
    pub(super) fn on_start_limit(&mut self) {
        self.decide(Ok(Heard::Nothing), None, Vec::new(), None, None);
    }

    /// No further key came.
    pub(super) fn on_digit_gap(&mut self) {
        self.finish_digits();
    }

    /// Ends the listening under way where it is this one, with what has been
    /// heard so far.
    pub(super) fn stop_listening(&mut self, item: Handle) {
        let Some(listening) = self.listening.as_ref().filter(|listening| listening.item == item) else { return };
        let words = listening.words().filter(|words| !words.text.trim().is_empty()).cloned();
        let (heard, meaning) = match words {
            _ if !listening.digits.is_empty() => {
                let heard = listening.digits_so_far();
                let meaning = self.meaning_of_keys(&heard);
                (heard, meaning)
            }
            Some(words) => match self.understand(&words) {
                None => (Heard::Speech(words), None),
                Some(Understanding::Whole { value, .. }) => (Heard::Speech(words), Some(value.to_string())),
                Some(Understanding::Begun | Understanding::Nothing) => (Heard::NoMatch(words.text), None),
            },
            None => (Heard::Nothing, None),
        };
        self.decide(Ok(heard), None, Vec::new(), meaning, None);
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
        if self.listening.as_ref().is_none_or(|listening| listening.item != item) {
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
        if let Some(run) = listening.run.take() {
            self.leg(LegCommand::StopRecognising { recognition: run.id });
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
    /// cut by now, `done` when the caller was, where it was the caller's turn.
    pub(super) fn decide(
        &mut self,
        result: Result<Heard, HostError>,
        way: Option<PlayoutEnd>,
        alternatives: Vec<Utterance>,
        meaning: Option<String>,
        done: Option<Done>,
    ) {
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
            self.speech_turn(&listening, &result, alternatives.first());
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
        if let Some(Done { ended, decided }) = done {
            self.turn_taken(ended, decided);
        }
        self.handles.heard(listening.item, result, alternatives, meaning);
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

    fn speech_turn(&mut self, listening: &Listening, result: &Result<Heard, HostError>, said: Option<&Utterance>) {
        let secret = listening.options.sensitive;
        let (text, span, confidence) = match result {
            Ok(Heard::Speech(best)) => (best.text.as_str(), Some((best.start, best.end)), best.confidence),
            Ok(Heard::NoMatch(text)) if !text.is_empty() => {
                (text.as_str(), said.map(|said| (said.start, said.end)), said.and_then(|said| said.confidence))
            }
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
    /// The keys so far, as a result.
    fn digits_so_far(&self) -> Heard {
        let least = self.options.digits.map_or(1, |digits| usize::from(digits.min));
        if self.digits.len() < least { Heard::NoMatch(self.digits.clone()) } else { Heard::Digits(self.digits.clone()) }
    }
}
