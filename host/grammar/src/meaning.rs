//! From words and keys to what they mean.

use crate::answer::{Meaning, amount};
use crate::lex::{self, Kind, Token};
use crate::matching::{matched, spotted};
use crate::rule::Rule;
use crate::tag::{Tag, as_day};
use crate::tongue::{Tongue, tongue};
use crate::{Answer, Grammar, date, phone, time, written};
use jiff::civil::Date;
use serde_json::{Value, json};

/// What words are under a grammar.
#[derive(Clone, Debug, PartialEq)]
pub enum Understanding {
    /// No answer, and no beginning of one.
    Nothing,
    /// The beginning of an answer: "the third of".
    Begun,
    /// An answer.
    Whole {
        /// What it means; [`Grammar`] has the shapes.
        value: Value,
        /// More words may change it: "twenty" may become "twenty one", a PIN of four digits may not become anything.
        may_go_on: bool,
    },
}

impl Grammar {
    /// What `text` means to somebody who was asked for this, in `language` (a BCP 47 tag), on the day `today`. Never
    /// fails: what cannot be understood is [`Nothing`](Understanding::Nothing).
    ///
    /// Whatever is said on the way to an answer is [`Begun`](Understanding::Begun) or
    /// [`Whole`](Understanding::Whole), word by word. An answer may also be found among words that are none; then more
    /// may come.
    ///
    /// ```
    /// # use callbox_grammar::{Answer, Grammar, Towards, Understanding};
    /// # use jiff::civil::date;
    /// let when = Grammar::new(Answer::Date { towards: Towards::Future });
    /// let today = date(2026, 11, 21);
    /// assert_eq!(when.understand("on the third of", "en", today), Understanding::Begun);
    /// let understood = when.understand("on the third of may please", "en", today);
    /// assert!(matches!(understood, Understanding::Whole { value, .. } if value["date"] == "2027-05-03"));
    /// ```
    #[must_use]
    pub fn understand(&self, text: &str, language: &str, today: Date) -> Understanding {
        let tongue = tongue(language);
        if self.answer == Answer::Text {
            return self.written_down(text, tongue);
        }
        let Some(mut tokens) = lex::tokens(text, tongue).filter(|tokens| !tokens.is_empty()) else {
            return Understanding::Nothing;
        };
        let universal = matched(&self.universal_rule(tongue), &tokens);
        if let (Answer::Choices { .. }, Some(tongue)) = (&self.answer, tongue) {
            for token in &mut tokens {
                token.idle |= tongue.articles().contains(&token.text.as_str());
            }
        }
        let (rule, core) = self.rules(tongue);
        let answer = matched(&rule, &tokens);
        match self.one_meaning(&answer.whole, today) {
            Meant::One(meaning) => {
                let may_go_on = answer.may_go_on && !meaning.complete;
                return Understanding::Whole { value: meaning.value, may_go_on };
            }
            Meant::Several => return Understanding::Nothing,
            Meant::None => {}
        }
        if let Some(value) = universal.whole.first().and_then(|tags| universal_value(tags)) {
            return Understanding::Whole { value, may_go_on: universal.may_go_on };
        }
        if answer.begun || universal.begun {
            return Understanding::Begun;
        }
        match self.among(&core, &tokens, tongue, today) {
            Some(value) => Understanding::Whole { value, may_go_on: true },
            None => Understanding::Nothing,
        }
    }

    /// What these keys mean to somebody who was asked for this; a key that ended them is none of them. `language` says
    /// whether the month goes before the day.
    #[must_use]
    pub fn understand_keys(&self, keys: &str, language: &str, today: Date) -> Option<Value> {
        let digits = || (!keys.is_empty() && keys.bytes().all(|key| key.is_ascii_digit())).then_some(keys);
        match &self.answer {
            Answer::Choices { choices } => {
                let mut pressed = keys.chars();
                let key = pressed.next().filter(|_| pressed.next().is_none())?;
                let choice = choices.iter().find(|choice| choice.key == Some(key))?;
                Some(json!({ "choice": choice.value }))
            }
            Answer::YesNo => match keys {
                "1" => Some(json!({ "yes": true })),
                "2" => Some(json!({ "yes": false })),
                _ => None,
            },
            Answer::Digits { min, max } => {
                let digits = digits()?;
                (usize::from(*min)..=usize::from(*max)).contains(&digits.len()).then(|| json!({ "digits": digits }))
            }
            Answer::Number { min, max } => {
                let number = digits()?.parse::<u32>().ok()?;
                (min..=max).contains(&&number).then(|| json!({ "number": number }))
            }
            Answer::Amount { currency, max } => {
                let (units, cents) = keys.split_once('*').map_or((keys, None), |(units, cents)| (units, Some(cents)));
                let mut tags = vec![Tag::Units(units.parse().ok()?)];
                if let Some(cents) = cents {
                    let number: u32 = cents.parse().ok().filter(|_| cents.bytes().all(|key| key.is_ascii_digit()))?;
                    tags.push(Tag::Cents(match cents.len() {
                        1 => number * 10,
                        2 => number,
                        _ => return None,
                    }));
                }
                amount(&tags, currency, *max)
            }
            Answer::Date { towards } => {
                let month_first = tongue(language).is_some_and(Tongue::month_first);
                let number = |from: usize, to: usize| digits()?.get(from..to)?.parse::<u32>().ok();
                let (day, month) = if month_first { (2, 0) } else { (0, 2) };
                let mut tags = vec![as_day(&[Tag::Add(number(day, day + 2)?)])?, Tag::Month(number(month, month + 2)?)];
                match keys.len() {
                    4 => {}
                    8 => tags.push(Tag::Year(number(4, 8)?)),
                    _ => return None,
                }
                Some(json!({ "date": date::meant(&tags, today, *towards)?.to_string() }))
            }
            Answer::Time { from } => {
                let tags = match digits()?.len() {
                    1 | 2 => vec![Tag::Hour(keys.parse().ok()?)],
                    _ => written::read(crate::rule::Written::Clock, keys)?,
                };
                let time = time::meant(&tags, *from)?;
                Some(json!({ "time": format!("{:02}:{:02}", time.hour(), time.minute()) }))
            }
            Answer::Phone { country } => {
                let digits = digits().filter(|digits| digits.len() <= phone::LONGEST)?;
                Some(json!({ "phone": phone::of(country)?.e164(digits, false)?.0 }))
            }
            Answer::Text => None,
        }
    }

    /// Free text: anything but a universal.
    fn written_down(&self, text: &str, tongue: Option<&dyn Tongue>) -> Understanding {
        let text = text.trim();
        if text.is_empty() {
            return Understanding::Nothing;
        }
        let universal = lex::tokens(text, tongue).map(|tokens| matched(&self.universal_rule(tongue), &tokens));
        if let Some(universal) = universal
            && let Some(value) = universal.whole.first().and_then(|tags| universal_value(tags))
        {
            return Understanding::Whole { value, may_go_on: true };
        }
        Understanding::Whole { value: json!({ "text": text }), may_go_on: true }
    }

    /// What the ways through a text mean, if it is one thing. Choices by a phrase go before those by their place; of
    /// other kinds, the rules say what goes before what.
    fn one_meaning(&self, ways: &[Vec<Tag>], today: Date) -> Meant {
        let meanings = |ways: &mut dyn Iterator<Item = &Vec<Tag>>| {
            let mut found: Vec<Meaning> = Vec::new();
            for meaning in ways.filter_map(|tags| self.answer.meaning(tags, today)) {
                if found.iter().all(|other| other.value != meaning.value) {
                    found.push(meaning);
                }
            }
            found
        };
        let mut found = match self.answer {
            Answer::Choices { .. } => {
                let (places, phrases): (Vec<_>, Vec<_>) =
                    ways.iter().partition(|tags| tags.iter().any(|tag| matches!(tag, Tag::Place(_))));
                let by_phrase = meanings(&mut phrases.into_iter());
                if by_phrase.is_empty() { meanings(&mut places.into_iter()) } else { by_phrase }
            }
            _ => meanings(&mut ways.iter()),
        };
        match (found.len(), &self.answer) {
            (0, _) => Meant::None,
            (1, _) => Meant::One(found.swap_remove(0)),
            (_, Answer::Choices { .. }) => Meant::Several,
            _ => Meant::One(found.swap_remove(0)),
        }
    }

    /// An answer among words that are none, if there is but one and nothing turns it round.
    fn among(&self, core: &Rule, tokens: &[Token], tongue: Option<&dyn Tongue>, today: Date) -> Option<Value> {
        match self.answer {
            Answer::YesNo | Answer::Text => return None,
            // A word here and there is a digit without being meant as one.
            Answer::Digits { min, .. } if min < 3 => return None,
            _ => {}
        }
        let mut found: Vec<(usize, usize, Value)> = Vec::new();
        for (from, to, tags) in spotted(core, tokens) {
            // A small number is a day or an hour only where it is said to be one.
            let enough = match self.answer {
                Answer::Date { .. } => tags.iter().any(|tag| !matches!(tag, Tag::Day(_))),
                Answer::Time { .. } => to - from > 1,
                // A character of Chinese is in many words that mean something else.
                Answer::Choices { .. } => {
                    let lone = to - from == 1 && tokens[from].text.chars().all(lex::is_whole);
                    !lone && !tags.iter().any(|tag| matches!(tag, Tag::Place(_)))
                }
                _ => true,
            };
            if !enough {
                continue;
            }
            let beside = [from.checked_sub(1), Some(to)].into_iter().flatten().filter_map(|at| tokens.get(at));
            let cut = tongue.is_some_and(|tongue| beside.into_iter().any(|token| is_numeral(token, tongue)));
            if cut && !matches!(self.answer, Answer::Choices { .. }) {
                continue;
            }
            if let Some(meaning) = self.answer.meaning(&tags, today) {
                let first_here = found.iter().all(|(other, ..)| *other != from);
                if first_here || matches!(self.answer, Answer::Choices { .. }) {
                    found.push((from, to, meaning.value));
                }
            }
        }
        // What is part of something longer is not meant by itself.
        let longer = |one: &(usize, usize, Value), other: &(usize, usize, Value)| {
            let overlap = one.0 < other.1 && other.0 < one.1;
            overlap && other.1 - other.0 > one.1 - one.0
        };
        let kept: Vec<_> = found.iter().filter(|one| !found.iter().any(|other| longer(one, other))).collect();
        let (_, _, value) = kept.first()?;
        if kept.iter().any(|(_, _, other)| other != value) {
            return None;
        }
        let inside = |index: usize| kept.iter().any(|(from, to, _)| (*from..*to).contains(&index));
        let turning = tongue.map_or(&[][..], Tongue::turning);
        let turned =
            tokens.iter().enumerate().any(|(index, token)| !inside(index) && turning.iter().any(|word| token.is(word)));
        (!turned).then(|| value.clone())
    }
}

/// Whether a word is of a number.
fn is_numeral(token: &Token, tongue: &dyn Tongue) -> bool {
    let small = tongue.number(0, 99);
    token.kind == Kind::Figures
        || tongue.scales().iter().any(|word| token.is(word))
        || !matched(&small, std::slice::from_ref(token)).whole.is_empty()
}

enum Meant {
    None,
    One(Meaning),
    Several,
}

fn universal_value(tags: &[Tag]) -> Option<Value> {
    tags.iter()
        .find_map(|tag| if let Tag::Universal(which) = tag { Some(json!({ "universal": which.name() })) } else { None })
}
