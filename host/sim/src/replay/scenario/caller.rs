//! What the caller did: pressed, said, or did not.

use super::{Maker, round};
use crate::far_end::{KEY_PACE, REACTION};
use crate::scenario::{Interrupt, Press, Say, Silence, Span, Step};
use callbox_dialogue::script::{Event, Heard, ListenOptions, PlayoutEnd};
use callbox_dialogue::time::Millis;
use callbox_dialogue::{HostCall, HostReply, Time};
use callbox_script::tape::MASK;

/// So near to how long a scenario's caller thinks, in milliseconds, it need not be written down.
const NEAR: Millis = 100;
/// Keys remembered until the script asks for them; it hears of no more at once.
const KEYS: usize = 256;
/// The voice has to sound as long before it cuts a prompt, where nobody says else.
const MIN_SPEECH: Millis = 200;
/// Stands for words that are not on the tape.
const WORDS: &str = "excuse me";

impl Maker<'_> {
    /// What the script was told of the caller, who was listened to `since`.
    pub(super) fn heard(&mut self, heard: &Heard, options: &ListenOptions, since: Time, now: Time, masked: bool) {
        // It may be the robot's words that are masked, and not the caller's.
        let masked = masked
            && match heard {
                Heard::Digits(text) | Heard::NoMatch(text) => text == MASK,
                Heard::Speech(utterance) => utterance.text == MASK,
                Heard::Nothing => false,
            };
        match heard {
            Heard::Digits(_) | Heard::NoMatch(_) if masked && options.digits.is_some() => {
                self.masked_keys(options, now)
            }
            Heard::Digits(keys) => self.keys(keys, true, options, now),
            Heard::NoMatch(text) if text.is_empty() || masked => {
                self.says_words(WORDS, Some(String::new()), None, since, now, options);
            }
            Heard::NoMatch(keys) if options.digits.is_some() && keys.chars().all(is_key) => {
                self.keys(keys, false, options, now);
            }
            // Words that are no answer under the grammar.
            Heard::NoMatch(words) => self.says_words(words, None, None, since, now, options),
            Heard::Nothing => self.silence(now),
            Heard::Speech(utterance) => {
                if masked {
                    let entry = self.index + 1;
                    self.note(format!("entry {entry} is masked: what the caller said there is not on the tape"));
                }
                let began = since + u64::from(utterance.start);
                self.says_words(&utterance.text, None, utterance.confidence, began, now, options);
            }
        }
    }

    /// Nothing came from the caller, until the robot spoke again or the script listened anew. Behind the last such pause
    /// the caller just stays.
    fn silence(&mut self, now: Time) {
        let next = self.entries.iter().skip(self.index + 1).find_map(|entry| match &entry.call {
            HostCall::Say { .. } | HostCall::Ask { .. } | HostCall::StartSay { .. } | HostCall::OpenWriter { .. } => {
                Some(Silence::UntilRobot)
            }
            HostCall::Listen { .. } | HostCall::StartListen { .. } | HostCall::NextEvent { .. } => {
                Some(Silence::For(round(now.since(self.calm()))))
            }
            _ => None,
        });
        if let Some(silence) = next {
            self.step(Step::Silence(silence));
            self.acted = now;
        }
    }

    fn masked_keys(&mut self, options: &ListenOptions, now: Time) {
        let wanted = options.digits.map_or(1, |digits| usize::from(digits.min.max(1)));
        let keys = "0".repeat(wanted);
        let entry = self.index + 1;
        self.note(format!("entry {entry} is masked: the keys are not on the tape; the scenario presses {keys}"));
        self.keys(&keys, true, options, now);
    }

    /// Keys that were collected.
    fn keys(&mut self, keys: &str, matched: bool, options: &ListenOptions, now: Time) {
        let digits = options.digits;
        let mut fresh = String::new();
        for key in keys.chars() {
            if self.ahead.front() == Some(&key) {
                self.ahead.pop_front();
            } else {
                fresh.push(key);
                if self.collected.len() < KEYS {
                    self.collected.push_back(key);
                }
            }
        }
        if fresh.is_empty() {
            return;
        }
        // How the collection ended: it was full, or the caller said so with a key, or a pause did.
        let full = digits.is_some_and(|digits| keys.chars().count() >= usize::from(digits.max));
        let pause = digits.map_or(0, |digits| u64::from(digits.digit_timeout));
        let waited = now.since(self.calm());
        let mut spent = u64::from(KEY_PACE) * (fresh.chars().count() as u64 - 1);
        match digits.and_then(|digits| digits.terminator) {
            _ if full => {}
            Some(terminator) if matched && waited < pause => {
                fresh.push(terminator);
                spent += u64::from(KEY_PACE);
            }
            _ => spent += pause,
        }
        let after = round(waited.saturating_sub(spent));
        self.press(fresh, after);
        self.acted = now;
    }

    /// A key that the script saw as an event.
    pub(super) fn key(&mut self, key: char, now: Time, masked: bool) {
        if masked {
            let entry = self.index + 1;
            self.note(format!("entry {entry} is masked: the key is not on the tape"));
            return;
        }
        for known in [&mut self.ahead, &mut self.collected] {
            if known.front() == Some(&key) {
                known.pop_front();
                return;
            }
        }
        let after = round(now.since(self.calm()));
        self.press(key.to_string(), after);
        self.acted = now;
        if self.ahead.len() < KEYS {
            self.ahead.push_back(key);
        }
    }

    /// The caller presses keys: over the prompt that they cut, else so long after it.
    fn press(&mut self, keys: String, after: Span) {
        match self.cut(PlayoutEnd::CutByDigits) {
            Some(played) => {
                self.step(Step::Interrupt(Interrupt { after: Span(played), say: None, press: Some(keys) }));
                self.was_cut();
            }
            None => self.step(Step::Press(Press { keys, after: unusual(after), pace: None })),
        }
    }

    fn says_words(
        &mut self,
        text: &str,
        understood_as: Option<String>,
        confidence: Option<f32>,
        began: Time,
        now: Time,
        options: &ListenOptions,
    ) {
        if let Some(played) = self.cut(PlayoutEnd::CutBySpeech) {
            let after = Span(played.saturating_sub(options.min_speech));
            self.step(Step::Interrupt(Interrupt { after, say: Some(text.to_owned()), press: None }));
            self.was_cut();
            return;
        }
        let after = unusual(round(began.min(now).since(self.calm())));
        self.acted = now;
        let say = Say { text: text.to_owned(), after, understood_as, confidence, ..Say::default() };
        self.step(Step::Say(say));
    }

    /// How far the last prompt got that was cut like this, once.
    fn cut(&mut self, by: PlayoutEnd) -> Option<Millis> {
        let sound = self.sound.as_mut().filter(|sound| sound.cut == Some(by))?;
        sound.cut = None;
        Some(sound.played)
    }

    /// A prompt was cut that nobody asks an answer to: by a key that the script may ask for later, or by words.
    pub(super) fn cut_ahead(&mut self) {
        match self.sound.and_then(|sound| sound.cut) {
            Some(PlayoutEnd::CutByDigits) => {
                let key = self.next_key().unwrap_or('1');
                self.press(key.to_string(), Span(0));
                self.ahead.push_back(key);
            }
            Some(PlayoutEnd::CutBySpeech) => {
                let options = ListenOptions { min_speech: MIN_SPEECH, ..ListenOptions::default() };
                self.says_words(WORDS, None, None, self.quiet, self.quiet, &options);
            }
            _ => {}
        }
    }

    /// The next key that the script is told of.
    fn next_key(&self) -> Option<char> {
        self.entries.iter().skip(self.index + 1).filter(|entry| !entry.masked).find_map(|entry| match &entry.reply {
            Ok(
                HostReply::Heard(Heard::Digits(keys) | Heard::NoMatch(keys))
                | HostReply::Answer { heard: Heard::Digits(keys) | Heard::NoMatch(keys), .. },
            ) => keys.chars().next(),
            Ok(HostReply::MaybeEvent(Some(Event::Digit(key)))) => Some(*key),
            _ => None,
        })
    }
}

/// Whether this is a key of a telephone.
const fn is_key(c: char) -> bool {
    matches!(c, '0'..='9' | '*' | '#' | 'A'..='D')
}

/// What need be written down.
fn unusual(after: Span) -> Option<Span> {
    (after.0.abs_diff(REACTION) > NEAR).then_some(after)
}
