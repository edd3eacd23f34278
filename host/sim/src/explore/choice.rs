//! Deciding what a caller does: at random but plausibly, or as it was done before.

use super::caller::{Answer, Choose, View};
use super::knowledge::Knowledge;
use super::turn::{Deed, Does, Turn};
use crate::situation::{TransferGoes, TransferPlan};
use callbox_dialogue::script::{DigitOptions, ListenOptions};
use callbox_dialogue::time::Millis;
use callbox_grammar::Answer as Asked;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use std::collections::VecDeque;
use std::sync::Arc;

/// What callers say everywhere.
const PHRASES: [&str; 14] = [
    "yes",
    "no",
    "yes please",
    "no thank you",
    "I don't know",
    "what did you say",
    "I would like to speak to somebody",
    "an agent please",
    "uh-huh",
    "hello",
    "one",
    "two",
    "tomorrow",
    "that is wrong",
];
/// How numbers are said in prompts.
const NUMBERS: [(&str, char); 13] = [
    ("zero", '0'),
    ("one", '1'),
    ("two", '2'),
    ("three", '3'),
    ("four", '4'),
    ("five", '5'),
    ("six", '6'),
    ("seven", '7'),
    ("eight", '8'),
    ("nine", '9'),
    ("star", '*'),
    ("hash", '#'),
    ("pound", '#'),
];

/// Randomness of one call.
#[derive(Debug)]
pub(super) struct Dice(pub(super) ChaCha8Rng);

impl Dice {
    /// 0 to below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.0.next_u64() % n).unwrap_or(0)
    }

    /// True so many times in a hundred.
    pub(super) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub(super) fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }
}

/// Does again what was done before, then nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Again {
    left: VecDeque<Turn>,
    taken: Option<Turn>,
}

impl Again {
    pub(super) fn new(turns: &[Turn]) -> Self {
        Self { left: turns.iter().cloned().collect(), taken: None }
    }

    pub(super) fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether what has to be said before has been said.
    fn is_due(turn: &Turn, view: &View) -> bool {
        turn.expects.as_ref().is_none_or(|text| view.said.contains(text))
    }
}

impl Choose for Again {
    fn interrupts(&mut self, view: &View, text: &str) -> Option<(Millis, Deed)> {
        let turn = self.left.front().filter(|turn| Self::is_due(turn, view))?;
        let Does::Interrupt { during, after, act } = &turn.does else { return None };
        let wanted = (during == text).then(|| (*after, act.clone()))?;
        self.left.pop_front();
        Some(wanted)
    }

    fn answers(&mut self, view: &View) -> Option<Answer> {
        let turn = self.left.front().filter(|turn| Self::is_due(turn, view))?;
        let answer = match &turn.does {
            Does::Silence => Answer::Silence,
            Does::Politely { after, act } => Answer::Does(Some(*after), act.clone()),
            Does::Interrupt { .. } | Does::Transfer { .. } => return None,
        };
        self.taken = self.left.pop_front();
        Some(answer)
    }

    fn too_late(&mut self) {
        if let Some(turn) = self.taken.take() {
            self.left.push_front(turn);
        }
    }

    fn transfer(&mut self, _view: &View, target: &str) -> TransferPlan {
        let wanted = |turn: &Turn| matches!(&turn.does, Does::Transfer { target: planned, .. } if planned == target);
        let place = self.left.iter().position(wanted);
        match place.and_then(|place| self.left.remove(place)).map(|turn| turn.does) {
            Some(Does::Transfer { plan, .. }) => plan,
            _ => TransferPlan::default(),
        }
    }
}

/// Does what was done before, then what comes to its mind.
pub(super) struct Fuzz {
    again: Again,
    dice: Dice,
    knows: Arc<Knowledge>,
    /// Turns it takes before it says nothing any more.
    turns: usize,
    /// How often it breaks in, says something else than it is asked for, stays silent: in a hundred.
    breaks_in: usize,
    stubborn: usize,
    silent: usize,
}

impl Fuzz {
    pub(super) fn new(before: &[Turn], mut dice: Dice, knows: Arc<Knowledge>) -> Self {
        let turns = before.len() + 1 + dice.below(24);
        let breaks_in = if dice.percent(60) { 0 } else { 20 };
        let (stubborn, silent) = (5 + dice.below(25), 3 + dice.below(15));
        Self { again: Again::new(before), dice, knows, turns, breaks_in, stubborn, silent }
    }

    fn keys(&mut self, options: DigitOptions, said: &str) -> String {
        let Self { dice, knows, stubborn, .. } = self;
        let (min, max) = (usize::from(options.min), usize::from(options.max));
        let offered = offered(said);
        let fits: Vec<&String> = knows.keys.iter().filter(|keys| (min..=max).contains(&keys.chars().count())).collect();
        let any = |dice: &mut Dice| char::from(*dice.pick(b"0123456789*#").unwrap_or(&b'0'));
        let mut keys = if dice.percent(*stubborn) {
            let length = dice.below(max.min(24) + 2);
            (0..length.max(1)).map(|_| any(dice)).collect()
        } else if max == 1 {
            let offer = dice.pick(&offered).copied();
            offer.unwrap_or_else(|| any(dice)).to_string()
        } else if let (Some(known), true) = (dice.pick(&fits), dice.percent(70)) {
            (*known).clone()
        } else {
            let length = min + dice.below(max.min(24).saturating_sub(min) + 1);
            (0..length).map(|_| char::from(b'0' + u8::try_from(dice.below(10)).unwrap_or(0))).collect::<String>()
        };
        if let Some(terminator) = options.terminator.filter(|_| keys.chars().count() < max)
            && dice.percent(85)
        {
            keys.push(terminator);
        }
        keys
    }

    fn words(&mut self, options: &ListenOptions) -> String {
        if let Some(grammar) = options.grammar.as_ref().filter(|_| self.dice.percent(60)) {
            return self.answer_to(&grammar.answer);
        }
        let knows = self.knows.clone();
        let meant = match self.dice.below(10) {
            0..=3 => self.dice.pick(&options.hints).map(String::as_str),
            4..=6 => self.dice.pick(&knows.phrases).map(String::as_str),
            _ => None,
        };
        let meant = meant.or_else(|| self.dice.pick(&PHRASES).copied());
        meant.unwrap_or("yes").to_owned()
    }

    /// Something that is an answer, or nearly one.
    fn answer_to(&mut self, asked: &Asked) -> String {
        let some: &[&str] = match asked {
            Asked::Choices { choices } => {
                let phrase = self.dice.pick(choices).and_then(|choice| self.dice.pick(&choice.phrases));
                return phrase.map_or("the first one", String::as_str).to_owned();
            }
            Asked::Digits { max, .. } => {
                let digits = 1 + self.dice.below(usize::from(*max));
                return (0..digits).map(|_| self.dice.below(10).to_string()).collect::<Vec<_>>().join(" ");
            }
            Asked::YesNo => &["yes", "no", "of course", "rather not"],
            Asked::Number { .. } => &["one", "twelve", "three hundred and five"],
            Asked::Amount { .. } => &["twelve fifty", "a hundred", "nine ninety-nine"],
            Asked::Date { .. } => &["tomorrow", "next Monday", "the third of May"],
            Asked::Time { .. } => &["half past two", "nine in the morning", "noon"],
            Asked::Phone { .. } => &["030 1234567", "zero one five two"],
            Asked::Text => &["I would like to know more", "never mind"],
        };
        self.dice.pick(some).copied().unwrap_or("yes").to_owned()
    }

    /// Something to press or to say, as the script wants it.
    fn deed(&mut self, options: &ListenOptions, said: &str) -> Deed {
        match options.digits {
            Some(digits) if !options.speech || self.dice.percent(60) => Deed::Press(self.keys(digits, said)),
            _ if !options.speech => Deed::Press("1".into()),
            _ => Deed::Say(self.words(options)),
        }
    }

    /// Something nobody asked for.
    fn anything(&mut self, said: &str) -> Deed {
        let knows = self.knows.clone();
        match self.dice.below(10) {
            0..=3 => Deed::Press(self.dice.pick(&offered(said)).copied().unwrap_or('1').to_string()),
            4..=6 => Deed::Say(self.words(&ListenOptions::default())),
            7 => Deed::Noise(200 + self.dice.below(2_000) as Millis),
            8 => match self.dice.pick(&knows.messages) {
                Some(message) => Deed::Message(message.clone()),
                None => Deed::Press("#".into()),
            },
            _ => Deed::HangUp,
        }
    }
}

impl Choose for Fuzz {
    fn interrupts(&mut self, view: &View, text: &str) -> Option<(Millis, Deed)> {
        if !self.again.is_over() {
            return self.again.interrupts(view, text);
        }
        if view.turns >= self.turns || !self.dice.percent(self.breaks_in) {
            return None;
        }
        let after = 100 * (2 + self.dice.below(40)) as Millis;
        let deed = match view.listening.clone() {
            Some(options) => self.deed(&options, text),
            None => self.anything(text),
        };
        Some((after, deed))
    }

    fn answers(&mut self, view: &View) -> Option<Answer> {
        if !self.again.is_over() {
            return self.again.answers(view);
        }
        if view.turns >= self.turns {
            return None;
        }
        let said = view.said.join(" ");
        let Some(options) = view.listening.clone() else {
            // Nobody listens: people wait, mostly.
            return self.dice.percent(3).then(|| Answer::Does(None, self.anything(&said)));
        };
        if self.dice.percent(self.silent) {
            return Some(Answer::Silence);
        }
        let deed = match self.dice.below(100) {
            0..=4 => self.anything(&said),
            _ => self.deed(&options, &said),
        };
        // A few take their time.
        let after = self.dice.percent(5).then(|| 500 * (2 + self.dice.below(12)) as Millis);
        Some(Answer::Does(after, deed))
    }

    fn too_late(&mut self) {
        self.again.too_late();
    }

    fn transfer(&mut self, view: &View, target: &str) -> TransferPlan {
        if !self.again.is_over() {
            return self.again.transfer(view, target);
        }
        let goes = match self.dice.below(8) {
            0..=2 => TransferGoes::Connected,
            3 => TransferGoes::Returned,
            4 => TransferGoes::Never,
            5 => TransferGoes::Failed { status: 603, reason: "Decline".into() },
            _ => TransferGoes::busy(),
        };
        TransferPlan { goes, after: 500 * (1 + self.dice.below(10)) as Millis, talk: 10_000 }
    }
}

/// The keys a prompt speaks of.
fn offered(said: &str) -> Vec<char> {
    let mut keys: Vec<char> = said.chars().filter(char::is_ascii_digit).collect();
    for word in said.split(|c: char| !c.is_alphanumeric()) {
        keys.extend(NUMBERS.iter().filter(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, key)| *key));
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}
