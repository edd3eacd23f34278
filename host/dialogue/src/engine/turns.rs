//! Speech: what it does to the prompt that sounds, when it is over, and what it means.
//!
//! # Barge-in
//!
//! | the prompt gives way to speech, and | then |
//! |---|---|
//! | a sound passes the threshold | it is paused |
//! | words come, enough of them and no mere back-channel, or an answer under the grammar | it is cut |
//! | the recogniser makes nothing of it, or a back-channel | it goes on where it stopped |
//! | no words have come for a while | likewise |
//! | no recogniser takes part | the sound itself cuts it |
//!
//! A prompt is paused a few times at most, and no pause is longer than [`LONGEST_PAUSE`]: noise cannot silence the
//! robot for good. Words that come while it sounds cut it all the same.
//!
//! # The end of an utterance
//!
//! A leg reports sounds, by the time of their audio, and a recogniser words; when the caller is done is decided here:
//! after the silence that the listening asks for, which is shorter where what was heard is a whole answer under its
//! grammar and cannot go on. Then the recogniser has a limited time to give its result. One that knows better when
//! somebody is done may give it before.

use super::backchannel::{is_back_channel, same_words};
use super::listening::Listening;
use super::wording::{count_words, floor};
use super::{Engine, Timer};
use crate::leg::{LegCommand, RecognitionId};
use crate::script::{BargeIn, Event, Heard, HostError, ListenOptions, PlayoutEnd, Utterance};
use crate::time::{Millis, Time};
use callbox_grammar::{Answer, Understanding};

/// Speech threshold where nobody listens.
const MIN_SPEECH: u32 = 200;
/// Pauses of one prompt.
const PAUSES: u8 = 3;
/// While the caller makes a sound and no words come of it, a pause lasts so many times as long as after it.
const PATIENCE: u64 = 3;
/// No pause is longer.
const LONGEST_PAUSE: u64 = 30_000;
/// The least that an utterance may be limited to.
const SHORTEST_UTTERANCE: u64 = 100;
/// A sound as short as this, of which the recogniser makes nothing, is a cough and no answer.
const COUGH: u64 = 500;
/// Words that stand still for so long, while something goes on sounding, were the last ones.
const STANDING: u64 = 3_000;
/// Longest wait for the result after the end of the utterance.
const FINAL_LIMIT: u64 = 3_000;
/// A sound is never older when it is reported: whoever says so is not believed.
const OLDEST: Millis = 2_000;
/// Hypotheses kept of one result.
const ALTERNATIVES: usize = 16;
/// Bytes kept of one hypothesis.
const HYPOTHESIS: usize = 8 * 1_024;

/// The caller's voice, by the time of its audio.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sound {
    /// Since when it sounds.
    since: Option<Time>,
    /// When it was last over.
    over: Time,
}

/// One run of the recogniser: one utterance.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: RecognitionId,
    /// The first sign of speech: a sound, or words.
    pub(super) speaking: Option<Time>,
    /// The last one.
    last_sign: Time,
    /// When its first sound began.
    began: Option<Time>,
    /// When its last sound was over; none while one sounds, or where none was reported.
    quiet: Option<Time>,
    /// The words so far, since when they are so, and what they are under the grammar.
    words: Option<(Utterance, Time, Option<Understanding>)>,
    /// When it was told to give its result.
    asked: Option<Time>,
}

/// When somebody was done, for the latency of the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    /// The end of the speech, by the time of its audio; or the deciding key.
    pub(super) ended: Time,
    /// When it was clear that nothing more would come.
    pub(super) decided: Time,
}

/// A result that came during a prompt that gives way to nothing.
#[derive(Debug)]
pub(super) struct HeldSpeech {
    alternatives: Vec<Utterance>,
    /// When it came.
    at: Time,
    done: Done,
}

impl Engine {
    // ---- what a leg reports

    /// The caller began to make a sound.
    pub(super) fn on_speech_started(&mut self, ago: Millis) {
        if self.ended.is_some() || !self.line.has_audio() || self.sound.since.is_some() {
            return;
        }
        let began = (self.now - u64::from(ago.min(OLDEST))).max(self.sound.over);
        self.sound.since = Some(began);
        self.event(Event::SpeechStarted);
        let now = self.now;
        let Some(listening) = &mut self.listening else { return };
        listening.dismissed = false;
        if let Some(run) = listening.run.as_mut().filter(|run| run.asked.is_none()) {
            run.speaking.get_or_insert(began);
            run.began.get_or_insert(began);
            run.quiet = None;
            run.last_sign = now;
        }
    }

    /// The sound is over.
    pub(super) fn on_speech_ended(&mut self, ago: Millis) {
        let Some(since) = self.sound.since.take_if(|_| self.ended.is_none()) else { return };
        self.sound.over = (self.now - u64::from(ago.min(OLDEST))).max(since);
        self.event(Event::SpeechEnded);
        let (over, now) = (self.sound.over, self.now);
        if let Some(run) = self.listening.as_mut().and_then(|listening| listening.run.as_mut())
            && run.asked.is_none()
        {
            run.quiet = Some(over);
            run.last_sign = now;
        }
    }

    /// Words so far.
    pub(super) fn on_partial(&mut self, recognition: RecognitionId, utterance: Utterance) {
        if !self.runs(recognition) {
            return;
        }
        let utterance = bounded(utterance);
        let understood = self.understand(&utterance);
        let now = self.now;
        let Some(listening) = &mut self.listening else { return };
        let Some(run) = &mut listening.run else { return };
        let since = match &run.words {
            Some((words, since, _)) if words.text == utterance.text => *since,
            _ => now,
        };
        run.words = Some((utterance.clone(), since, understood));
        run.speaking.get_or_insert(now);
        run.last_sign = now;
        if listening.options.partials {
            let (item, sensitive) = (listening.item, listening.options.sensitive);
            self.handles.partial(item, utterance.clone());
            if !sensitive {
                self.event(Event::Partial(utterance));
            }
        }
    }

    /// The result of a run.
    pub(super) fn on_recognised(&mut self, recognition: RecognitionId, mut alternatives: Vec<Utterance>) {
        if !self.runs(recognition) {
            return;
        }
        let Some(run) = self.listening.as_mut().and_then(|listening| listening.run.take()) else { return };
        alternatives.truncate(ALTERNATIVES);
        self.conclude(run, alternatives.into_iter().map(bounded).collect(), false);
    }

    /// The recogniser failed: the keys go on alone, where there are any.
    pub(super) fn on_recognise_failed(&mut self, recognition: RecognitionId, error: HostError) {
        if !self.runs(recognition) {
            return;
        }
        let Some(listening) = &mut self.listening else { return };
        listening.run = None;
        listening.won = false;
        self.journal.note(self.now, "recogniser_failed", error.to_string());
        if listening.options.digits.is_some() {
            listening.speech = false;
        } else {
            self.decide(Err(error), None, Vec::new(), None, None);
        }
    }

    /// The recogniser owes its result: a whole answer so far is the answer, other words are no match; without any it
    /// was noise, and the start timeout goes on where it would be.
    pub(super) fn on_recogniser_late(&mut self) {
        let Some(run) = self.listening.as_mut().and_then(|listening| listening.run.take()) else { return };
        self.journal.note(self.now, "recogniser_failed", "no result in time");
        self.leg(LegCommand::StopRecognising { recognition: run.id });
        let whole = match &run.words {
            Some((words, _, Some(Understanding::Whole { .. }))) => vec![words.clone()],
            _ => Vec::new(),
        };
        self.conclude(run, whole, true);
    }

    fn runs(&self, recognition: RecognitionId) -> bool {
        let run = self.listening.as_ref().and_then(|listening| listening.run.as_ref());
        run.is_some_and(|run| run.id == recognition)
    }

    // ---- barge-in

    /// What sounds gives way to the caller's voice, or goes on after it. True where it was cut.
    pub(super) fn give_way(&mut self) -> bool {
        self.timers.clear(Timer::Barge);
        let Some(head) = self.prompts.head().filter(|head| head.barge_in.speech && !head.is_stopping()) else {
            return false;
        };
        if !head.is_playing() {
            // Words stop a model that has not begun to speak, so that it answers what was said last.
            return head.model && self.interrupted_by_words();
        }
        let heard_by_recogniser = self.listening.as_ref().is_some_and(Listening::takes_speech);
        let sounding = head.sounding_since().unwrap_or(self.now);
        if let Some(paused) = head.paused {
            return self.confirm_or_resume(paused, heard_by_recogniser);
        }
        let pauses = head.pauses;
        // Somebody who was speaking before has to go on over the prompt.
        let min_speech = self.listening.as_ref().map_or(MIN_SPEECH, |listening| listening.options.min_speech);
        let due = self.sound.since.map(|since| since.max(sounding) + u64::from(min_speech));
        let long_enough = due.is_some_and(|due| self.now >= due);
        let words = self.listening.as_ref().and_then(|listening| listening.words_since(sounding));
        if !long_enough && words.is_none_or(|words| length(words) < min_speech) {
            self.timers.put(Timer::Barge, due);
            return false;
        }
        let Some(listening) = self.listening.as_mut().filter(|_| heard_by_recogniser) else {
            self.cut(PlayoutEnd::CutBySpeech);
            return true;
        };
        if listening.has_interrupted() {
            listening.won = true;
            self.cut(PlayoutEnd::CutBySpeech);
            return true;
        }
        if listening.options.resume_after > 0 && long_enough && !listening.dismissed && pauses < PAUSES {
            self.pause();
            // Whoever waits for words waits for so long only.
            return true;
        }
        false
    }

    /// Cuts what is in front where words have come that interrupt it.
    fn interrupted_by_words(&mut self) -> bool {
        let heard = |listening: &&mut Listening| listening.takes_speech() && listening.words().is_some();
        let Some(listening) = self.listening.as_mut().filter(heard) else { return false };
        if !listening.has_interrupted() {
            return false;
        }
        listening.won = true;
        self.cut(PlayoutEnd::CutBySpeech);
        true
    }

    /// A paused prompt is cut by words, and goes on where there are none.
    fn confirm_or_resume(&mut self, paused: Time, heard_by_recogniser: bool) -> bool {
        let speaking = self.sound.since.is_some();
        let Some(listening) = self.listening.as_mut().filter(|_| heard_by_recogniser) else {
            // Nobody can tell any more what was said: the sound alone decides, as if nobody had listened for words.
            if speaking {
                self.cut(PlayoutEnd::CutBySpeech);
            } else {
                self.resume("nobody listens for words");
            }
            return speaking;
        };
        if listening.has_interrupted() {
            listening.won = true;
            self.cut(PlayoutEnd::CutBySpeech);
            return true;
        }
        let after = u64::from(listening.options.resume_after);
        let longest = paused + after.saturating_mul(PATIENCE).min(LONGEST_PAUSE);
        let due = if speaking { longest } else { (paused.max(self.sound.over) + after).min(longest) };
        let why = if listening.dismissed {
            "it was nothing"
        } else if !speaking && listening.has_backchannelled() {
            "the caller only agreed"
        } else if self.now >= due {
            "no words came"
        } else {
            self.timers.set(Timer::Barge, due);
            return false;
        };
        listening.dismissed = true;
        self.resume(why);
        false
    }

    // ---- the end of an utterance

    /// The recogniser runs while its result could count.
    pub(super) fn run_recogniser(&mut self) {
        let ignored = self
            .prompts
            .head()
            .is_some_and(|head| head.barge_in == BargeIn { digits: true, speech: false } && !head.is_stopping());
        let (now, sounds) = (self.now, self.sound.since.is_some());
        let Some(listening) = &mut self.listening else { return };
        let wanted = listening.takes_speech() && listening.held.is_none() && !ignored;
        match (wanted, &listening.run) {
            (true, None) => {
                self.recognitions = self.recognitions.wrapping_add(1);
                let recognition = RecognitionId(self.recognitions);
                let already = sounds.then_some(now);
                listening.run = Some(Run {
                    id: recognition,
                    speaking: already,
                    last_sign: now,
                    began: already,
                    quiet: None,
                    words: None,
                    asked: None,
                });
                let options = listening.options.clone();
                self.leg(LegCommand::Recognise { recognition, options });
            }
            (false, Some(run)) => {
                let recognition = run.id;
                listening.run = None;
                listening.won = false;
                self.leg(LegCommand::StopRecognising { recognition });
            }
            _ => {}
        }
    }

    /// Tells the recogniser when the caller is done.
    pub(super) fn point_the_end(&mut self) {
        let (now, sounds) = (self.now, self.sound.since.is_some());
        let run = self.listening.as_mut().and_then(|listening| {
            let Listening { run, options, .. } = listening;
            run.as_mut().map(|run| (run, &**options))
        });
        let Some((run, options)) = run else {
            self.timers.clear(Timer::Utterance);
            self.timers.clear(Timer::Final);
            return;
        };
        let ends = run.ends(options, sounds);
        if ends.is_some_and(|ends| ends <= now) {
            run.asked = Some(now);
            let recognition = run.id;
            self.leg(LegCommand::EndUtterance { recognition });
        }
        let run = self.listening.as_ref().and_then(|listening| listening.run.as_ref());
        let asked = run.and_then(|run| run.asked);
        self.timers.put(Timer::Utterance, ends.filter(|_| asked.is_none()));
        self.timers.put(Timer::Final, asked.map(|asked| asked + FINAL_LIMIT));
    }

    // ---- what it means

    /// A run is over. `late`: because it gave no result.
    fn conclude(&mut self, run: Run, alternatives: Vec<Utterance>, late: bool) {
        let now = self.now;
        let best = alternatives.first().filter(|best| !best.text.trim().is_empty());
        let sounding_since = self.prompts.head().and_then(super::prompts::Prompt::sounding_since).unwrap_or(now);
        let head = self.prompts.head().filter(|head| !head.is_stopping());
        let head = head.map(|head| (head.barge_in.speech, head.paused.is_some()));
        let Some(listening) = &self.listening else { return };
        let done = run.done(best, listening.started, now);
        let min_speech = listening.options.min_speech;
        let Some(best) = best else {
            let words = run.words.as_ref().map(|(words, ..)| words.text.clone()).unwrap_or_default();
            let cough = words.trim().is_empty() && (late || run.is_cough(now));
            if head.is_some() || cough {
                self.dismiss();
            } else {
                self.hear_noise(words, alternatives, done);
            }
            return;
        };
        let taken = self.is_taken(best);
        let only_agreed = !taken && listening.is_back_channel(best);
        // The time over the prompt that sounds, or that of the words where nobody has told of a sound.
        let spoken = done.ended.since(run.began.unwrap_or(now).max(sounding_since));
        let enough = !only_agreed && (taken || listening.enough_words(best));
        match head {
            // Quiet, or the prompt is being stopped: this is the answer.
            None if only_agreed && !listening.won && done.ended < self.prompts.quiet_since => self.dismiss(),
            None => self.hear_speech(alternatives, done),
            Some((true, paused)) if enough && (paused || spoken.max(length(best).into()) >= u64::from(min_speech)) => {
                if let Some(listening) = &mut self.listening {
                    listening.won = true;
                }
                self.cut(PlayoutEnd::CutBySpeech);
                self.hear_speech(alternatives, done);
            }
            Some((false, _)) if !only_agreed => {
                if let Some(listening) = &mut self.listening {
                    listening.held = Some(HeldSpeech { alternatives, at: now, done });
                }
            }
            // A back-channel, or too little: the prompt goes on, and so does the recogniser.
            Some(_) => self.dismiss(),
        }
        self.active();
    }

    /// What has sounded was neither an answer nor an interruption.
    fn dismiss(&mut self) {
        if let Some(listening) = &mut self.listening {
            listening.won = false;
            listening.dismissed = true;
        }
    }

    /// What was said during a prompt that gives way to nothing counts now,
    /// unless a key came first.
    pub(super) fn take_held_speech(&mut self) -> bool {
        let Some(listening) = &mut self.listening else { return false };
        let Some(held) = &listening.held else { return false };
        if self.prompts.head().is_some_and(|head| !head.barge_in.speech) {
            return false;
        }
        if listening.options.digits.is_some() && listening.kept.front().is_some_and(|(_, key)| *key < held.at) {
            listening.held = None;
            return true;
        }
        let Some(HeldSpeech { alternatives, done, .. }) = listening.held.take() else { return false };
        // Nobody could have answered while the prompt sounded.
        let quiet = if self.prompts.is_empty() { self.prompts.quiet_since } else { self.now };
        self.hear_speech(alternatives, Done { ended: done.ended.max(quiet), decided: done.decided.max(quiet) });
        true
    }

    /// This was said. Where there is a grammar, the best hypothesis that is an answer under it is the answer.
    fn hear_speech(&mut self, alternatives: Vec<Utterance>, done: Done) {
        let has_grammar = self.listening.as_ref().is_some_and(|listening| listening.options.grammar.is_some());
        if !has_grammar {
            if let Some(best) = alternatives.first().cloned() {
                self.decide(Ok(Heard::Speech(best)), Some(PlayoutEnd::CutBySpeech), alternatives, None, Some(done));
            }
            return;
        }
        let answer = alternatives.iter().find_map(|said| match self.understand(said) {
            Some(Understanding::Whole { value, .. }) => Some((said.clone(), value.to_string())),
            _ => None,
        });
        match answer {
            Some((said, meaning)) => {
                let way = Some(PlayoutEnd::CutBySpeech);
                self.decide(Ok(Heard::Speech(said)), way, alternatives, Some(meaning), Some(done));
            }
            None => {
                let text = alternatives.first().map(|best| best.text.clone()).unwrap_or_default();
                self.hear_noise(text, alternatives, done);
            }
        }
    }

    /// It is no answer. Keys that were kept have their turn.
    fn hear_noise(&mut self, text: String, alternatives: Vec<Utterance>, done: Done) {
        let Some(listening) = &mut self.listening else { return };
        listening.won = false;
        if listening.kept.is_empty() {
            self.decide(Ok(Heard::NoMatch(text)), None, alternatives, None, Some(done));
        }
    }

    /// What words are under the grammar of the listening; none where it has none.
    pub(super) fn understand(&self, said: &Utterance) -> Option<Understanding> {
        let options = &self.listening.as_ref()?.options;
        let grammar = options.grammar.as_ref()?;
        Some(grammar.understand(&said.text, self.language_of(said, options), self.today(options)))
    }

    /// What keys mean under the grammar of the listening, as JSON text.
    pub(super) fn understand_keys(&self, keys: &str) -> Option<String> {
        let options = &self.listening.as_ref()?.options;
        let grammar = options.grammar.as_ref()?;
        let language = options.languages.first().unwrap_or(&self.setup.info.language);
        grammar.understand_keys(keys, language, self.today(options)).map(|meaning| meaning.to_string())
    }

    fn is_taken(&self, said: &Utterance) -> bool {
        matches!(self.understand(said), Some(Understanding::Whole { .. }))
    }

    fn language_of<'a>(&'a self, said: &'a Utterance, options: &'a ListenOptions) -> &'a str {
        if said.language.is_empty() {
            options.languages.first().unwrap_or(&self.setup.info.language)
        } else {
            &said.language
        }
    }

    /// Where the caller is, it is this day.
    fn today(&self, options: &ListenOptions) -> jiff::civil::Date {
        let zone = options.zone.as_deref().unwrap_or("UTC");
        self.local(zone).map_or(jiff::civil::Date::ZERO, |local| local.date())
    }
}

impl Listening {
    /// Whether a recogniser hears what is said now, and counts.
    pub(super) const fn takes_speech(&self) -> bool {
        self.speech && self.digits.is_empty()
    }

    /// The words so far, where they came since then.
    fn words_since(&self, since: Time) -> Option<&Utterance> {
        let (words, at, _) = self.run.as_ref()?.words.as_ref()?;
        (*at >= since).then_some(words)
    }

    /// The words so far.
    pub(super) fn words(&self) -> Option<&Utterance> {
        self.run.as_ref()?.words.as_ref().map(|(words, ..)| words)
    }

    /// Whether what was said so far interrupts the robot. Where the sound alone is to do that, it does.
    fn has_interrupted(&self) -> bool {
        let min_words = self.options.min_words;
        let Some((words, _, understood)) = self.run.as_ref().and_then(|run| run.words.as_ref()) else {
            return self.options.resume_after == 0 && min_words == 0;
        };
        if self.options.resume_after == 0 {
            return count_words(&words.text) >= usize::from(min_words);
        }
        let taken = matches!(understood, Some(Understanding::Whole { .. }));
        taken || self.enough_words(words) && !self.is_back_channel(words)
    }

    /// Whether the caller has said something so far, and no more than "go on".
    fn has_backchannelled(&self) -> bool {
        let words = self.run.as_ref().and_then(|run| run.words.as_ref());
        words.is_some_and(|(words, _, understood)| {
            !matches!(understood, Some(Understanding::Whole { .. })) && self.is_back_channel(words)
        })
    }

    fn enough_words(&self, said: &Utterance) -> bool {
        count_words(&said.text) >= usize::from(self.options.min_words.max(1))
    }

    fn is_back_channel(&self, said: &Utterance) -> bool {
        let language = if said.language.is_empty() { &self.language } else { &said.language };
        is_back_channel(&said.text, language) && !self.options.hints.iter().any(|hint| same_words(hint, &said.text))
    }
}

impl Run {
    /// When the caller is done, as things are; none while nothing was said, and once it was told so.
    fn ends(&self, options: &ListenOptions, sounds: bool) -> Option<Time> {
        let first = self.speaking.filter(|_| self.asked.is_none())?;
        let longest = first + u64::from(options.max_length).max(SHORTEST_UTTERANCE);
        let (complete, at_once) = match (&self.words, &options.grammar) {
            (Some((_, _, Some(Understanding::Whole { value, may_go_on: false }))), Some(grammar)) => {
                (true, matches!(grammar.answer, Answer::Digits { .. }) && value.get("digits").is_some())
            }
            _ => (false, false),
        };
        let silence = if complete { options.end_silence.min(options.complete_silence) } else { options.end_silence };
        let ends = match (&self.words, self.quiet) {
            (Some((_, since, _)), _) if at_once => *since,
            (Some((_, since, _)), _) if sounds => *since + STANDING.max(silence.into()),
            (None, _) if sounds => longest,
            (_, quiet) => quiet.unwrap_or(self.last_sign) + u64::from(silence),
        };
        Some(ends.min(longest))
    }

    /// When the caller was done.
    fn done(&self, best: Option<&Utterance>, listening_since: Time, now: Time) -> Done {
        let by_words = || best.map(|best| (listening_since + u64::from(best.end)).min(self.last_sign));
        let decided = self.asked.unwrap_or(now);
        let ended = self.quiet.or_else(by_words).unwrap_or(self.last_sign);
        Done { ended: ended.min(decided), decided }
    }

    /// Whether what it made nothing of was too short to be anything. A recogniser that gives its result by itself
    /// has heard somebody speak.
    fn is_cough(&self, now: Time) -> bool {
        let sound = self.began.map_or(0, |began| self.quiet.unwrap_or(now).since(began));
        self.asked.is_some() && sound < COUGH
    }
}

/// How long somebody spoke.
const fn length(said: &Utterance) -> Millis {
    said.end.saturating_sub(said.start)
}

/// A hypothesis of a size that can be kept.
fn bounded(mut utterance: Utterance) -> Utterance {
    utterance.text.truncate(floor(&utterance.text, HYPOTHESIS));
    utterance.language.truncate(floor(&utterance.language, 64));
    utterance.confidence = utterance.confidence.filter(|confidence| confidence.is_finite());
    utterance
}
