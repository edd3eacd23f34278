//! From a grammar to the rules of a language, and from what they matched to what it means.

use crate::lex::{self, Kind};
use crate::phone;
use crate::rule::{Rule, Written, any, aside, fold, nothing, opt, pattern, rare, seq, words};
use crate::tag::{Tag, as_units, sum};
use crate::tongue::{Tongue, number};
use crate::{Answer, Choice, Grammar, Universal, date, money, time};
use jiff::civil::Date;
use serde_json::{Value, json};
use std::borrow::Cow;

impl Grammar {
    /// The rule of an answer in a language, with what may stand around it; and without.
    pub(crate) fn rules(&self, tongue: Option<&dyn Tongue>) -> (Rule, Rule) {
        let core = self.answer.rule(tongue);
        let Some(tongue) = tongue else { return (core.clone(), core) };
        let kind = self.answer.kind();
        let frame = tongue.frame();
        let lead_of = || opt(rare(aside(words(tongue.lead_of(kind)))));
        let lead = match self.answer {
            // "Yes" leads in much, but not a "no".
            Answer::YesNo => nothing(),
            _ => {
                let wish = tongue.wish(kind);
                let told = (!wish.is_empty()).then(|| words(wish));
                let lead = opt(aside(any(told.into_iter().chain([Rule::Known(&frame.lead)]))));
                seq([lead, lead_of(), lead_of()])
            }
        };
        // Among digits a recogniser would take "please" for one.
        let untold = usize::from(matches!(self.answer, Answer::Digits { .. } | Answer::Phone { .. }));
        let whole = seq([lead, core.clone(), Rule::Known(&frame.tail[untold])]);
        (whole, core)
    }

    /// The rule of the universals.
    pub(crate) fn universal_rule(&self, tongue: Option<&dyn Tongue>) -> Rule {
        let Some(tongue) = tongue else { return any([]) };
        let universals = &tongue.frame().universals;
        let wanted = Universal::ALL.iter().zip(universals).filter(|(which, _)| self.universals.contains(which));
        any(wanted.map(|(_, rule)| Rule::Known(rule)))
    }
}

impl Answer {
    fn rule(&self, tongue: Option<&dyn Tongue>) -> Rule {
        if let Self::Choices { choices } = self {
            return choice_rule(choices, tongue);
        }
        let Some(tongue) = tongue else {
            // Without words there are figures.
            return match self {
                Self::Digits { min, max } => run(&FIGURES, *min, *max),
                Self::Number { min, max } => Rule::Written(Written::Whole(*min, *max)),
                _ => any([]),
            };
        };
        match self {
            Self::Choices { .. } | Self::Text => any([]),
            Self::YesNo => Rule::Known(&tongue.frame().yes_no),
            Self::Digits { min, max } => run(tongue.digit_groups(), *min, *max),
            Self::Number { min, max } => tongue.number(*min, *max),
            Self::Amount { max, .. } => tongue.amount(fold(tongue.number(0, *max), as_units)),
            Self::Date { .. } => tongue.date(),
            Self::Time { .. } => tongue.time(),
            Self::Phone { country } => {
                let plus = any([words(tongue.plus()), Rule::Written(Written::Sign("+"))]);
                let digits = |min, max| Rule::Run { units: tongue.digit_groups(), min, max };
                let any_number = digits(phone::SHORTEST, phone::LONGEST);
                let national = phone::of(country).map(|plan| plan.dialled());
                let told = national.map(|(fewest, most)| digits(fewest, most));
                let abroad = [rare(any_number.clone()), rare(seq([plus, Rule::Means(Tag::Plus), any_number]))];
                any(told.into_iter().chain(abroad))
            }
        }
    }

    /// What the tags of a whole answer mean; `None` where it is none after all.
    pub(crate) fn meaning(&self, tags: &[Tag], today: Date) -> Option<Meaning> {
        let plain = |value: Value| Some(Meaning { value, complete: false });
        match self {
            Self::Choices { choices } => {
                let choice = tags.iter().find_map(|tag| match tag {
                    Tag::Choice(index) | Tag::Place(index) => choices.get(*index),
                    _ => None,
                })?;
                plain(json!({ "choice": choice.value }))
            }
            Self::YesNo => {
                let yes = tags.iter().find_map(|tag| if let Tag::Yes(yes) = tag { Some(*yes) } else { None })?;
                plain(json!({ "yes": yes }))
            }
            Self::Digits { .. } => plain(json!({ "digits": digits(tags) })),
            Self::Number { .. } => plain(json!({ "number": sum(tags) })),
            Self::Amount { currency, max } => amount(tags, currency, *max).and_then(plain),
            Self::Date { towards } => plain(json!({ "date": date::meant(tags, today, *towards)?.to_string() })),
            Self::Time { from } => {
                let time = time::meant(tags, *from)?;
                plain(json!({ "time": format!("{:02}:{:02}", time.hour(), time.minute()) }))
            }
            Self::Phone { country } => {
                let (number, complete) = phone::of(country)?.e164(&digits(tags), tags.contains(&Tag::Plus))?;
                Some(Meaning { value: json!({ "phone": number }), complete })
            }
            Self::Text => None,
        }
    }
}

/// What an answer means.
pub(crate) struct Meaning {
    pub(crate) value: Value,
    /// Nothing can be added, though the rules would take more.
    pub(crate) complete: bool,
}

fn digits(tags: &[Tag]) -> String {
    let digits = tags.iter().filter_map(|tag| if let Tag::Digit(digit) = tag { Some(*digit) } else { None });
    digits.filter_map(|digit| char::from_digit(digit.into(), 10)).collect()
}

/// An amount, where it is one of the expected currency or of the one that was said.
pub(crate) fn amount(tags: &[Tag], expected: &str, max: u32) -> Option<Value> {
    let expected = money::code(expected)?;
    let (mut units, mut cents, mut currency) = (0, 0, expected);
    for tag in tags {
        match tag {
            Tag::Units(n) => units = *n,
            Tag::Cents(n) => cents += n,
            Tag::Currency(said) => currency = money::resolved(said, expected),
            _ => {}
        }
    }
    if units > max {
        return None;
    }
    Some(json!({ "amount": money::written(units, cents, currency)?, "currency": currency }))
}

/// Digits where there are no words for them.
static FIGURES: [(usize, Rule); 1] = [(1, Rule::Written(Written::Digits))];

const fn run(units: &'static [(usize, Rule)], min: u8, max: u8) -> Rule {
    Rule::Run { units, min: min as usize, max: max as usize }
}

/// The phrases of the choices; and their places in the list and their keys, unless a phrase says the same.
fn choice_rule(choices: &[Choice], tongue: Option<&dyn Tongue>) -> Rule {
    let by_phrase = |(index, choice): (usize, &Choice)| {
        let phrases = choice.phrases.iter().map(|phrase| phrase_rule(phrase, tongue));
        seq([any(phrases), Rule::Means(Tag::Choice(index))])
    };
    let mut all: Vec<Rule> = choices.iter().enumerate().map(by_phrase).collect();
    let Some(tongue) = tongue else { return any(all) };
    let keyed = choices.iter().any(|choice| choice.key.is_some());
    for (index, choice) in choices.iter().enumerate() {
        let number = match choice.key {
            Some(key) => key.to_digit(10),
            None if keyed => None,
            None => u32::try_from(index + 1).ok().filter(|n| *n < 10),
        };
        let place = Rule::Means(Tag::Place(index));
        if let Some(number) = number {
            let n = tongue.number(number, number);
            let spoken = pattern(tongue.numbered(), &|name| (name == "n").then(|| n.clone()));
            all.push(seq([spoken, place.clone()]));
        }
        let mut places = vec![];
        places.extend(tongue.places().get(index).copied().map(words));
        if index > 0 && index + 1 == choices.len() {
            places.push(words(tongue.last()));
        }
        if choices.len() > 1 && !places.is_empty() {
            all.push(seq([any(places), place]));
        }
    }
    any(all)
}

/// A phrase as it is spoken: articles may be left out, figures are numbers.
pub(crate) fn phrase_rule(phrase: &str, tongue: Option<&dyn Tongue>) -> Rule {
    // A phrase that is too long was found by `check`; nothing fits it.
    let Some(tokens) = lex::tokens(phrase, tongue) else { return any([]) };
    if tokens.is_empty() {
        return any([]);
    }
    let word = |token: lex::Token| {
        let article = tongue.is_some_and(|tongue| tongue.articles().contains(&token.text.as_str()));
        match token.kind {
            Kind::Figures => figures_rule(&token.text, tongue),
            Kind::Sign => opt(Rule::Word(Cow::Owned(token.text))),
            Kind::Word if article => opt(Rule::Word(Cow::Owned(token.text))),
            Kind::Word => Rule::Word(Cow::Owned(token.text)),
        }
    };
    if tokens.iter().all(|token| token.kind == Kind::Word) {
        let all_articles =
            tongue.is_some_and(|tongue| tokens.iter().all(|token| tongue.articles().contains(&token.text.as_str())));
        if all_articles {
            return seq(tokens.into_iter().map(|token| Rule::Word(Cow::Owned(token.text))));
        }
    }
    seq(tokens.into_iter().map(word))
}

/// Figures in a phrase: spoken as a number or digit by digit, or written down as they are.
fn figures_rule(figures: &str, tongue: Option<&dyn Tongue>) -> Rule {
    let digits: Vec<usize> = figures.chars().filter_map(|c| c.to_digit(10)).map(|digit| digit as usize).collect();
    let mut all = Vec::new();
    let plain = digits.len() == figures.len();
    if let Ok(number) = figures.parse::<u32>()
        && plain
    {
        // What it adds up to is no part of the choice.
        let silent = |rule: Rule| fold(rule, |_| Some(Tag::Add(0)));
        match tongue {
            Some(tongue) if number <= number::GREATEST => all.push(silent(tongue.number(number, number))),
            _ => all.push(silent(Rule::Written(Written::Whole(number, number)))),
        }
    }
    if let Some(tongue) = tongue {
        all.push(seq(digits.iter().map(|digit| words(tongue.digit(*digit)))));
    }
    if all.is_empty() { nothing() } else { any(all) }
}
