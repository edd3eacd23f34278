//! What the caller says, and the recogniser that listens to it: perfect, unless it is told otherwise.
//!
//! It tells each word when it is over, and gives its result when it is told that the caller is done: when that is, the
//! engine decides.

use crate::far_end::{Hearing, Saying};
use crate::words::{Pace, words};
use callbox_dialogue::leg::{LegEvent, RecognitionId};
use callbox_dialogue::script::{ListenOptions, Utterance};
use callbox_dialogue::time::Millis;
use callbox_dialogue::{HostError, Time};
use std::collections::VecDeque;

/// Things to say that wait for the one being said; more are not said at all.
const QUEUE: usize = 256;
/// Words of one thing that is said; more are not said.
const WORDS: usize = 2_048;

/// The caller's voice and whoever listens to it.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    /// What is being said, and what comes after.
    voice: VecDeque<Speech>,
    run: Option<Run>,
}

/// One thing that is said, or a noise.
#[derive(Debug)]
struct Speech {
    began: Option<Time>,
    /// When each word is over, since the beginning.
    words: Vec<Millis>,
    length: Millis,
    /// How many words are over.
    said: usize,
    hypotheses: Vec<Hypothesis>,
    noise: bool,
}

/// What the recogniser could make of a thing that is said.
#[derive(Clone, Debug)]
struct Hypothesis {
    text: String,
    /// Where each of its words begins and ends.
    words: Vec<(usize, usize)>,
    confidence: Option<f32>,
}

/// One run of the recogniser.
#[derive(Debug)]
struct Run {
    id: RecognitionId,
    since: Time,
    language: String,
    /// What it has heard: for each hypothesis of each speech.
    heard: Vec<Part>,
    /// When the first word began, and the last was over.
    span: Option<(Time, Time)>,
}

/// What was heard of one speech.
#[derive(Debug)]
struct Part {
    hypotheses: Vec<Hypothesis>,
    /// Words that were said before the recogniser listened.
    missed: usize,
    /// Words that are over.
    said: usize,
    /// Words of the speech.
    of: usize,
}

impl Ear {
    /// The caller says something, behind what it is saying.
    pub(crate) fn say(&mut self, saying: &Saying, rate: u16) {
        let mut pace = Pace::new(saying.rate.unwrap_or(rate));
        let ends: Vec<Millis> = words(&saying.text).into_iter().take(WORDS).map(|word| pace.say(word)).collect();
        let hypotheses = match &saying.heard {
            Hearing::Perfect => vec![Hypothesis::new(&saying.text, Some(1.0))],
            Hearing::As(all) => all.iter().map(|(text, confidence)| Hypothesis::new(text, *confidence)).collect(),
            Hearing::Nothing => Vec::new(),
        };
        let length = ends.last().copied().unwrap_or(0);
        self.push(Speech { began: None, words: ends, length, said: 0, hypotheses, noise: false });
    }

    /// Something sounds like speech.
    pub(crate) fn noise(&mut self, length: Millis) {
        let (words, hypotheses) = (Vec::new(), Vec::new());
        self.push(Speech { began: None, words, length, said: 0, hypotheses, noise: true });
    }

    fn push(&mut self, speech: Speech) {
        if self.voice.len() < QUEUE && (speech.noise || speech.length > 0) {
            self.voice.push_back(speech);
        }
    }

    /// The caller is not there any more.
    pub(crate) fn clear(&mut self) {
        self.voice.clear();
        self.run = None;
    }

    /// The recogniser starts.
    pub(crate) fn listen(&mut self, now: Time, id: RecognitionId, options: &ListenOptions, language: &str) {
        let language = options.languages.first().map_or_else(|| language.to_owned(), Clone::clone);
        self.run = Some(Run { id, since: now, language, heard: Vec::new(), span: None });
    }

    /// The caller is done: the result for what was heard.
    pub(crate) fn end(&mut self, id: RecognitionId) -> Option<LegEvent> {
        self.run.take_if(|run| run.id == id).map(Run::result)
    }

    /// The recogniser stops; its result is not wanted.
    pub(crate) fn stop(&mut self, id: RecognitionId) {
        self.run.take_if(|run| run.id == id);
    }

    /// The recogniser fails, if it runs.
    pub(crate) fn fail(&mut self, error: HostError) -> Option<LegEvent> {
        let run = self.run.take()?;
        Some(LegEvent::RecogniseFailed { recognition: run.id, error })
    }

    /// When something happens next.
    pub(crate) fn next(&self, now: Time) -> Option<Time> {
        self.voice.front().map(|speech| match speech.began {
            None => now,
            Some(began) => {
                let word = speech.words.get(speech.said).copied();
                began + u64::from(word.unwrap_or(speech.length))
            }
        })
    }

    /// The next thing that happens by `now`.
    pub(crate) fn fire(&mut self, now: Time) -> Option<LegEvent> {
        match self.voice.front_mut() {
            Some(speech) if speech.began.is_none() => {
                speech.began = Some(now);
                Some(LegEvent::SpeechStarted { ago: 0 })
            }
            Some(speech) if speech.is_due(now) => {
                if speech.said < speech.words.len() {
                    speech.said += 1;
                    return match self.run.as_mut().and_then(|run| run.hears(speech, now)) {
                        Some(event) => Some(event),
                        None => self.fire(now),
                    };
                }
                self.voice.pop_front();
                Some(LegEvent::SpeechEnded { ago: 0 })
            }
            _ => None,
        }
    }
}

impl Speech {
    fn is_due(&self, now: Time) -> bool {
        let next = self.words.get(self.said).copied().unwrap_or(self.length);
        self.began.is_some_and(|began| began + u64::from(next) <= now)
    }
}

impl Run {
    /// A word is over.
    fn hears(&mut self, speech: &Speech, now: Time) -> Option<LegEvent> {
        let began = speech.began?;
        let before = speech.said.checked_sub(2).and_then(|word| speech.words.get(word)).copied().unwrap_or(0);
        let start = began + u64::from(before);
        if start < self.since {
            // Its beginning was not heard, and of a word that is half of it.
            return None;
        }
        let first = speech.said - 1;
        let part = match self.heard.last_mut() {
            // Words are missed only before the first that is heard.
            Some(part) if first > 0 && part.said == first => part,
            _ => {
                let hypotheses = speech.hypotheses.clone();
                self.heard.push(Part { hypotheses, missed: first, said: first, of: speech.words.len() });
                self.heard.last_mut()?
            }
        };
        part.said = speech.said;
        self.span = Some((self.span.map_or(start, |(start, _)| start), now));
        let utterance = self.utterance(0)?;
        Some(LegEvent::Partial { recognition: self.id, utterance })
    }

    /// The nth hypothesis of all that was heard; none where that is nothing.
    fn utterance(&self, nth: usize) -> Option<Utterance> {
        let (start, end) = self.span?;
        let mut text = String::new();
        let mut confidence = Some(1.0_f32);
        for part in &self.heard {
            // A speech with fewer hypotheses is heard in its best in all of them.
            let Some(hypothesis) = part.hypotheses.get(nth).or_else(|| part.hypotheses.first()) else { continue };
            let words = hypothesis.between(part.missed, part.said, part.of);
            if !words.is_empty() {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(words);
            }
            confidence = confidence.zip(hypothesis.confidence).map(|(a, b)| a.min(b));
        }
        let ms = |at: Time| Millis::try_from(at.since(self.since)).unwrap_or(Millis::MAX);
        let language = self.language.clone();
        (!text.is_empty()).then(|| Utterance { text, confidence, language, start: ms(start), end: ms(end) })
    }

    fn result(self) -> LegEvent {
        let count = self.heard.iter().map(|part| part.hypotheses.len()).max().unwrap_or(0);
        let alternatives = (0..count).filter_map(|nth| self.utterance(nth)).collect();
        LegEvent::Recognised { recognition: self.id, alternatives }
    }
}

impl Hypothesis {
    fn new(text: &str, confidence: Option<f32>) -> Self {
        let mut begin = 0;
        let words = words(text).into_iter().map(|word| (std::mem::replace(&mut begin, word.end), word.end)).collect();
        Self { text: text.to_owned(), words, confidence }
    }

    /// What is heard of it between two words of those that were said, by proportion.
    fn between(&self, from: usize, to: usize, of: usize) -> &str {
        let place = |said: usize| (said * self.words.len()).div_ceil(of.max(1));
        let (from, to) = (place(from), place(to));
        match (self.words.get(from), to.checked_sub(1).and_then(|last| self.words.get(last))) {
            (Some((start, _)), Some((_, end))) if start < end => self.text[*start..*end].trim(),
            _ => "",
        }
    }
}
