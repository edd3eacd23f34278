//! Questions that are answered in words as well as by keys.

use crate::ask::{Ask, Failed, Failures, Heard, Outcome, ask};
use crate::bindings::callbox::dialogue::voice as raw;
use crate::calendar::{Date, TimeOfDay};
use crate::error::Result;
use crate::voice::Prompt;
use serde_json::{Value, json};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How often the caller may have a question said again, or explained, before that
/// counts as no answer.
const MOST_ASIDES: u8 = 4;
/// Digits of the longest telephone number, with what is dialled before it.
const LONGEST_PHONE: u8 = 19;

/// A question whose answer is understood: what the caller means becomes a value,
/// whether it is said or pressed. The methods of [`Ask`] that begin with `for_` make
/// one:
///
/// | answer | asked by | keys | value |
/// |---|---|---|---|
/// | one of several | [`for_choice`](Ask::for_choice) | of each choice | what stands beside it |
/// | yes or no | [`for_yes_no`](Ask::for_yes_no) | 1 and 2 | `bool` |
/// | digits | [`for_digits`](Ask::for_digits) | themselves | `String` |
/// | a number | [`for_number`](Ask::for_number) | and the hash key | `u32` |
/// | money | [`for_amount`](Ask::for_amount) | and the hash key; the star is the point | [`Money`] |
/// | a day | [`for_date`](Ask::for_date), [`for_past_date`](Ask::for_past_date) | day and month, two each, and the year of four if it matters; the hash key | [`Date`] |
/// | a time | [`for_time`](Ask::for_time) | hours and minutes, and the hash key | [`TimeOfDay`] |
/// | a telephone number | [`for_phone`](Ask::for_phone) | as it is dialled, and the hash key | `String` in E.164 |
/// | anything | [`for_text`](Ask::for_text) | – | `String` |
///
/// There are words for it in English, Mandarin, German, Spanish and French; in others
/// phrases of choices and free text are understood. Where there is no recogniser, the
/// keys are what is left, so let the question name them.
///
/// ```no_run
/// use callbox_guest::{Outcome, ask, choice, say};
///
/// #[derive(Clone)]
/// enum Wish { Book, Cancel }
///
/// let wish = ask("Would you like to book an appointment or to cancel one? You can also press 1 or 2.")
///     .on_silence("I did not hear you.")
///     .on_no_match(["I am sorry, I did not understand that.", "Please say: book, or: cancel."])
///     .help("I can book an appointment for you, or cancel the one you have.")
///     .operator()
///     .for_choice([
///         choice(Wish::Book).say(["book", "make an appointment"]).key('1'),
///         choice(Wish::Cancel).say(["cancel", "call it off"]).key('2'),
///     ])
///     .answer()?;
/// match wish {
///     Outcome::Got(Wish::Book) => {
///         let day = ask("For which day?")
///             .in_zone("Europe/Berlin")
///             .for_date()
///             .confirm(|day| format!("On {}, {} {}. Is that right?", day.weekday(), day.day(), day.month_name()))
///             .answer()?;
///         if let Outcome::Got(day) = day {
///             callbox_guest::results::set("day", &day)?;
///         }
///     }
///     Outcome::Got(Wish::Cancel) => { /* … */ }
///     Outcome::Operator => callbox_guest::call::transfer("sip:desk@example.com").connect().map(drop)?,
///     Outcome::Silence | Outcome::NoMatch(_) => say("Goodbye.").map(drop)?,
/// }
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// "Repeat" has the question said again, also where nothing else is offered. Neither
/// that nor help uses up a try.
#[must_use = "nothing is asked before `answer`"]
pub struct Question<'a, T> {
    ask: Ask,
    /// The answer as the contract's grammar has it.
    answer: Value,
    /// One key is an answer, so others are free for the star and for 0.
    one_key: bool,
    read: Read<'a, T>,
    check: Option<Check<'a, T>>,
    confirm: Option<(Confirm, SayBack<'a, T>)>,
}

/// From a meaning to the value.
type Read<'a, T> = Box<dyn Fn(&Value) -> Option<T> + 'a>;
/// What is said to have a value confirmed.
type SayBack<'a, T> = Box<dyn Fn(&T) -> Prompt + 'a>;
/// What there is to say against a value.
type Check<'a, T> = Box<dyn Fn(&T) -> std::result::Result<(), Prompt> + 'a>;

/// When an answer is confirmed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Confirm {
    Always,
    /// What was said, where the recogniser is less sure of it than this, or does not
    /// know how sure it is.
    Below(f32),
}

/// One of several things to choose from; see [`choice`].
#[derive(Clone, Debug)]
pub struct Choice<T> {
    value: T,
    phrases: Vec<String>,
    key: Option<char>,
}

/// A choice that means `value`; say how it is [said](Choice::say), or by which
/// [key](Choice::key) it is chosen, or both.
///
/// ```no_run
/// use callbox_guest::{ask, choice};
///
/// let size = ask("Small or large?")
///     .for_choice([choice(1).say(["small"]).key('1'), choice(2).say(["large", "big"]).key('2')])
///     .answer()?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
pub const fn choice<T>(value: T) -> Choice<T> {
    Choice { value, phrases: Vec::new(), key: None }
}

impl<T> Choice<T> {
    /// The ways to say it, in all the languages that are listened for. What is said
    /// around them does not matter, nor do articles. "The second one" and the like are
    /// understood without being listed.
    #[must_use]
    pub fn say<I: IntoIterator<Item: AsRef<str>>>(mut self, phrases: I) -> Self {
        self.phrases.extend(phrases.into_iter().map(|phrase| phrase.as_ref().to_owned()));
        self
    }

    /// The key that chooses it.
    #[must_use]
    pub fn key(mut self, key: char) -> Self {
        self.key = Some(key);
        self
    }
}

/// An amount of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Money {
    /// With as many places as the currency has: `12.50`.
    pub amount: String,
    /// ISO 4217: `EUR`.
    pub currency: String,
}

impl Money {
    /// In the smallest parts of the currency: cents, yen.
    ///
    /// ```
    /// let price = callbox_guest::Money { amount: "12.50".into(), currency: "EUR".into() };
    /// assert_eq!(price.in_cents(), 1_250);
    /// assert_eq!(price.to_string(), "12.50 EUR");
    /// ```
    #[must_use]
    pub fn in_cents(&self) -> u64 {
        self.amount.bytes().filter(u8::is_ascii_digit).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

/// Which answers are in words: see [`Question`].
impl Ask {
    /// Asks for one of several things, by words or by keys; see [`choice`].
    pub fn for_choice<'a, T: Clone + 'a>(self, choices: impl IntoIterator<Item = Choice<T>>) -> Question<'a, T> {
        let choices: Vec<Choice<T>> = choices.into_iter().collect();
        let listed: Vec<Value> = choices
            .iter()
            .enumerate()
            .map(|(index, choice)| {
                let mut listed = json!({ "value": index.to_string(), "phrases": choice.phrases });
                if let Some(key) = choice.key {
                    listed["key"] = json!(key);
                }
                listed
            })
            .collect();
        let keys = choices.iter().any(|choice| choice.key.is_some()).then_some(1..=1);
        let values: Vec<T> = choices.into_iter().map(|choice| choice.value).collect();
        let read = move |meaning: &Value| {
            let index: usize = meaning.get("choice")?.as_str()?.parse().ok()?;
            values.get(index).cloned()
        };
        self.in_words(json!({ "kind": "choices", "choices": listed }), keys, read)
    }

    /// Asks for a yes, which is key 1, or a no, key 2.
    ///
    /// ```no_run
    /// use callbox_guest::{Outcome, ask};
    ///
    /// let comes = ask("Will you come? Say yes or no, or press 1 or 2.").for_yes_no().answer()?;
    /// # let _: Outcome<bool> = comes;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    pub fn for_yes_no<'a>(self) -> Question<'a, bool> {
        self.in_words(json!({ "kind": "yes-no" }), Some(1..=1), |meaning| meaning.get("yes")?.as_bool())
    }

    /// Asks for so many digits, 1 to 32: a PIN, a customer number. Where there is only
    /// one length, it is complete with its last digit; else a pause ends it, or the
    /// hash key.
    ///
    /// ```no_run
    /// let pin = callbox_guest::ask("Please say or enter your PIN.").sensitive().for_digits(4..=4).answer()?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    pub fn for_digits<'a>(self, count: RangeInclusive<u8>) -> Question<'a, String> {
        let answer = json!({ "kind": "digits", "min": count.start(), "max": count.end() });
        let ends = count.start() < count.end();
        let ask = if ends { self.ended_by_hash() } else { self };
        ask.in_words(answer, Some(count), |meaning| text(meaning, "digits"))
    }

    /// Asks for a number of that range, at most 999,999,999.
    ///
    /// ```no_run
    /// let guests = callbox_guest::ask("For how many people?").for_number(1..=8).answer()?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    pub fn for_number<'a>(self, range: RangeInclusive<u32>) -> Question<'a, u32> {
        let answer = json!({ "kind": "number", "min": range.start(), "max": range.end() });
        let longest = range.end().checked_ilog10().map_or(1, |tens| tens as u8 + 1);
        // One more than it needs: else the longest would be complete without its hash key, which would then run into
        // what is asked next.
        let (ask, keys) = if longest == 1 { (self, 1..=1) } else { (self.ended_by_hash(), 1..=longest + 1) };
        ask.in_words(answer, Some(keys), |meaning| u32::try_from(meaning.get("number")?.as_u64()?).ok())
    }

    /// Asks for an amount of money, below a million. `currency` (ISO 4217) is what is
    /// meant where the caller names none.
    ///
    /// ```no_run
    /// let sum = callbox_guest::ask("How much would you like to pay?").for_amount("EUR").answer()?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    pub fn for_amount<'a>(self, currency: &str) -> Question<'a, Money> {
        let answer = json!({ "kind": "amount", "currency": currency });
        self.ended_by_hash().in_words(answer, Some(1..=10), |meaning| {
            Some(Money { amount: text(meaning, "amount")?, currency: text(meaning, "currency")? })
        })
    }

    /// Asks for a day, today or ahead; say in which [zone](Self::in_zone) the caller is.
    ///
    /// ```no_run
    /// let day = callbox_guest::ask("When shall we come?").in_zone("Europe/Berlin").for_date().answer()?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    pub fn for_date<'a>(self) -> Question<'a, Date> {
        self.for_day("future")
    }

    /// Asks for a day that is past: when something happened, a birthday.
    pub fn for_past_date<'a>(self) -> Question<'a, Date> {
        self.for_day("past")
    }

    fn for_day<'a>(self, towards: &str) -> Question<'a, Date> {
        let answer = json!({ "kind": "date", "towards": towards });
        self.ended_by_hash().in_words(answer, Some(4..=9), |meaning| text(meaning, "date")?.parse().ok())
    }

    /// Asks for a time of day. Who says neither morning nor evening means the time
    /// within twelve hours after `from`: with 7:00, "half past two" is in the afternoon.
    ///
    /// ```no_run
    /// use callbox_guest::calendar::TimeOfDay;
    ///
    /// let opening = TimeOfDay::new(7, 0).unwrap_or(TimeOfDay::MIDNIGHT);
    /// let at = callbox_guest::ask("At what time?").for_time(opening).answer()?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    pub fn for_time<'a>(self, from: TimeOfDay) -> Question<'a, TimeOfDay> {
        let answer = json!({ "kind": "time", "from": format!("{:02}:{:02}:00", from.hour() % 24, from.minute()) });
        self.ended_by_hash().in_words(answer, Some(1..=5), |meaning| text(meaning, "time")?.parse().ok())
    }

    /// Asks for a telephone number, as it is dialled in that country (ISO 3166, two
    /// letters), or with the code of another.
    ///
    /// ```no_run
    /// let number = callbox_guest::ask("On which number can we reach you?").for_phone("DE").answer()?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    pub fn for_phone<'a>(self, country: &str) -> Question<'a, String> {
        let answer = json!({ "kind": "phone", "country": country });
        self.ended_by_hash().in_words(answer, Some(5..=LONGEST_PHONE + 1), |meaning| text(meaning, "phone"))
    }

    /// Asks for anything, which a recogniser with dictation writes down. Without one it
    /// is [`Error::Unavailable`](crate::Error::Unavailable).
    ///
    /// ```no_run
    /// let message = callbox_guest::ask("What may we do for you?").for_text().answer()?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    pub fn for_text<'a>(self) -> Question<'a, String> {
        self.in_words(json!({ "kind": "text" }), None, |meaning| text(meaning, "text"))
    }

    fn ended_by_hash(self) -> Self {
        if self.has_digits() { self } else { self.terminator('#') }
    }

    /// An answer of that kind in words, and by so many keys unless their number has
    /// been said.
    fn in_words<'a, T>(
        self,
        answer: Value,
        keys: Option<RangeInclusive<u8>>,
        read: impl Fn(&Value) -> Option<T> + 'a,
    ) -> Question<'a, T> {
        let one_key = keys == Some(1..=1);
        let ask = match keys {
            Some(count) if !self.has_digits() => self.digits(count),
            _ => self,
        };
        Question { ask: ask.speech(), answer, one_key, read: Box::new(read), check: None, confirm: None }
    }
}

impl<T> Question<'_, T> {
    /// Asks until there is an answer, and it is confirmed where it should be; as often
    /// as the question has [tries](Ask::tries).
    ///
    /// # Errors
    /// The call is over; free text is asked for and there is no recogniser;
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) where the question makes
    /// no sense: two choices of the same words, a language without words for the kind.
    pub fn answer(mut self) -> Result<Outcome<T>> {
        self.ask.grammar = Some(self.grammar());
        let options = self.ask.options();
        let turn = |say: Say, tried| {
            let (heard, _) = self.ask.turn(&options, self.prompt(say, tried))?;
            let meaning = raw::meaning().and_then(|json| serde_json::from_str(&json).ok());
            Ok(Turn { heard, meaning })
        };
        let confirmed = |value: &T, sure: Option<f32>| match &self.confirm {
            Some((when, words)) if when.asks(sure) => self.confirmed(words(value)),
            _ => Ok(Outcome::Got(true)),
        };
        self.climb(turn, confirmed)
    }

    fn grammar(&self) -> String {
        let mut universals = vec!["repeat"];
        if self.ask.help.is_some() {
            universals.push("help");
        }
        if self.ask.operator {
            universals.push("operator");
        }
        json!({ "answer": self.answer, "universals": universals }).to_string()
    }

    /// What is said now.
    fn prompt(&self, say: Say, tried: u8) -> Option<Prompt> {
        match say {
            Say::Question(failed) => self.ask.prompt(failed, tried),
            Say::Help => {
                let question = self.ask.prompt(None, tried);
                let Some(help) = self.ask.help.clone() else { return question };
                let Some(question) = question else { return Some(help) };
                let barge_in = question.barge_in;
                let mut prompt = help.silence(Duration::from_millis(300)).then(question);
                prompt.barge_in = barge_in;
                Some(prompt)
            }
        }
    }

    /// Asks whether that is right.
    fn confirmed(&self, words: Prompt) -> Result<Outcome<bool>> {
        ask(words).in_the_manner_of(&self.ask).for_yes_no().answer()
    }

    /// Asks by `turn` until an answer is `confirmed`.
    fn climb(
        &self,
        mut turn: impl FnMut(Say, u8) -> Result<Turn>,
        mut confirmed: impl FnMut(&T, Option<f32>) -> Result<Outcome<bool>>,
    ) -> Result<Outcome<T>> {
        let (mut failures, mut asides) = (Failures::default(), 0);
        let mut say = Say::Question(None);
        loop {
            let (failed, given) = match self.judged(turn(say, failures.all())?) {
                Judged::Operator => return Ok(Outcome::Operator),
                Judged::Aside(again, _) if asides < MOST_ASIDES => {
                    asides += 1;
                    say = again;
                    continue;
                }
                Judged::Silence => (failures.silence(), None),
                Judged::Aside(_, given) => (failures.no_match(None), Some(given)),
                Judged::NoMatch(why, given) => (failures.no_match(why), Some(given)),
                Judged::Value(value, sure, given) => match confirmed(&value, sure)? {
                    Outcome::Got(true) => return Ok(Outcome::Got(value)),
                    Outcome::Silence => return Ok(Outcome::Silence),
                    Outcome::Operator => return Ok(Outcome::Operator),
                    // The caller knows why.
                    Outcome::Got(false) | Outcome::NoMatch(_) => {
                        failures.no_match(None);
                        (Failed::Unsaid, Some(given))
                    }
                },
            };
            if failures.all() >= self.ask.tries.max(1) {
                return Ok(given.map_or(Outcome::Silence, Outcome::NoMatch));
            }
            say = Say::Question(Some(failed));
        }
    }

    /// What was heard, and what it means.
    fn judged(&self, turn: Turn) -> Judged<T> {
        let (given, sure) = match turn.heard {
            Heard::Nothing => return Judged::Silence,
            Heard::NoMatch(given) => return Judged::NoMatch(None, given),
            Heard::Digits(keys) => (keys, Some(1.0)),
            Heard::Speech(utterance) => (utterance.text, utterance.confidence),
        };
        let Some(meaning) = turn.meaning else {
            return match given.as_str() {
                "0" if self.one_key && self.ask.operator => Judged::Operator,
                "*" if self.one_key && self.ask.help.is_some() => Judged::Aside(Say::Help, given),
                _ => Judged::NoMatch(None, given),
            };
        };
        match meaning.get("universal").and_then(Value::as_str) {
            Some("operator") => return Judged::Operator,
            Some("help") => return Judged::Aside(Say::Help, given),
            Some("repeat") => return Judged::Aside(Say::Question(None), given),
            _ => {}
        }
        let Some(value) = (self.read)(&meaning) else { return Judged::NoMatch(None, given) };
        match self.check.as_ref().map_or(Ok(()), |check| check(&value)) {
            Ok(()) => Judged::Value(value, sure, given),
            Err(why) => Judged::NoMatch(Some(why), given),
        }
    }
}

impl<'a, T> Question<'a, T> {
    /// Takes only answers that `check` does. What it has to say against one is said
    /// before the question is asked again.
    ///
    /// ```no_run
    /// use callbox_guest::{ask, clock};
    ///
    /// let today = clock::local("Europe/Berlin")?.date();
    /// let day = ask("When will you pay?")
    ///     .in_zone("Europe/Berlin")
    ///     .for_date()
    ///     .check(move |day| if today.days_until(*day) > 14 { Err("That is too far away.") } else { Ok(()) })
    ///     .answer()?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    pub fn check<P: Into<Prompt>>(mut self, check: impl Fn(&T) -> std::result::Result<(), P> + 'a) -> Self {
        self.check = Some(Box::new(move |value| check(value).map_err(Into::into)));
        self
    }

    /// Says the answer back and asks whether it is right. After a no the question is
    /// asked again.
    pub fn confirm<P: Into<Prompt>>(mut self, words: impl Fn(&T) -> P + 'a) -> Self {
        self.confirm = Some((Confirm::Always, Box::new(move |value| words(value).into())));
        self
    }

    /// Does so only where the recogniser is less sure than this, 0 to 1, of what was
    /// said, or cannot tell how sure it is; never with keys.
    ///
    /// ```no_run
    /// let guests = callbox_guest::ask("For how many people?")
    ///     .for_number(1..=8)
    ///     .confirm_below(0.7, |guests| format!("Did you say {guests}?"))
    ///     .answer()?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    pub fn confirm_below<P: Into<Prompt>>(mut self, confidence: f32, words: impl Fn(&T) -> P + 'a) -> Self {
        self.confirm = Some((Confirm::Below(confidence), Box::new(move |value| words(value).into())));
        self
    }
}

impl Confirm {
    fn asks(self, sure: Option<f32>) -> bool {
        match self {
            Self::Always => true,
            Self::Below(limit) => sure.is_none_or(|sure| sure < limit),
        }
    }
}

/// What is said in a turn.
#[derive(Clone, Debug, PartialEq)]
enum Say {
    Question(Option<Failed>),
    Help,
}

/// What came of a turn.
struct Turn {
    heard: Heard,
    meaning: Option<Value>,
}

/// What an answer amounts to; with what was given.
enum Judged<T> {
    Value(T, Option<f32>, String),
    Operator,
    /// Something else is said, and the question asked again.
    Aside(Say, String),
    Silence,
    /// For a reason, where there is one to be told.
    NoMatch(Option<Prompt>, String),
}

fn text(meaning: &Value, member: &str) -> Option<String> {
    Some(meaning.get(member)?.as_str()?.to_owned())
}

impl<T> fmt::Debug for Question<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("ask", &self.ask).field("answer", &self.answer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Utterance;

    fn said(text: &str, confidence: Option<f32>, meaning: Value) -> Turn {
        let utterance = Utterance { text: text.into(), confidence, language: "en".into(), start: 0, end: 0 };
        Turn { heard: Heard::Speech(utterance), meaning: Some(meaning) }
    }

    fn nothing() -> Turn {
        Turn { heard: Heard::Nothing, meaning: None }
    }

    fn none(text: &str) -> Turn {
        Turn { heard: Heard::NoMatch(text.into()), meaning: None }
    }

    fn keys(keys: &str, meaning: Option<Value>) -> Turn {
        Turn { heard: Heard::Digits(keys.into()), meaning }
    }

    /// Asks a caller who answers so; tells the outcome and what was said each time.
    fn with_caller<T>(
        question: &Question<'_, T>,
        turns: Vec<Turn>,
        confirmations: Vec<Outcome<bool>>,
    ) -> (Outcome<T>, Vec<String>) {
        let (mut turns, mut confirmations) = (turns.into_iter(), confirmations.into_iter());
        let mut heard = Vec::new();
        let turn = |say: Say, tried| {
            let prompt = question.prompt(say, tried).expect("there is a question");
            let texts = prompt.segments().iter().filter_map(|segment| match segment {
                crate::Segment::Text(text) => Some(text.as_str()),
                _ => None,
            });
            heard.push(texts.collect::<Vec<_>>().join(" "));
            Ok(turns.next().expect("asked more often than there are answers"))
        };
        let confirmed = |_: &T, sure| match &question.confirm {
            Some((when, _)) if when.asks(sure) => Ok(confirmations.next().expect("confirmed too often")),
            _ => Ok(Outcome::Got(true)),
        };
        let outcome = question.climb(turn, confirmed).expect("no error was given");
        assert!(turns.next().is_none() && confirmations.next().is_none(), "asked less often than expected");
        (outcome, heard)
    }

    fn menu<'a>() -> Question<'a, &'static str> {
        ask("Book or cancel?")
            .on_silence("Hello?")
            .on_no_match(["What?", "Pardon?"])
            .reworded("Say book, or cancel.")
            .help("I can do both.")
            .operator()
            .for_choice([choice("b").say(["book"]).key('1'), choice("c").say(["cancel"])])
    }

    #[test]
    fn a_meaning_becomes_what_stands_beside_the_choice() {
        let (outcome, said) = with_caller(&menu(), vec![said("cancel it", None, json!({ "choice": "1" }))], vec![]);
        assert_eq!((outcome, said), (Outcome::Got("c"), vec!["Book or cancel?".to_owned()]));
        let (outcome, _) = with_caller(&menu(), vec![keys("1", Some(json!({ "choice": "0" })))], vec![]);
        assert_eq!(outcome, Outcome::Got("b"));
    }

    #[test]
    fn each_try_is_said_in_its_own_words_and_the_last_tells_what_was_wrong() {
        let (outcome, said) = with_caller(&menu(), vec![none("x"), none("y"), nothing()], vec![]);
        assert_eq!(outcome, Outcome::Silence);
        assert_eq!(said, ["Book or cancel?", "What? Say book, or cancel.", "Pardon? Say book, or cancel."]);
        let (outcome, said) = with_caller(&menu(), vec![nothing(), nothing(), none("z")], vec![]);
        assert_eq!(outcome, Outcome::NoMatch("z".into()));
        assert_eq!(said[1..], ["Hello? Say book, or cancel.", "Hello? Say book, or cancel."]);
    }

    #[test]
    fn asking_back_uses_up_no_try_but_has_an_end() {
        let universal = |which: &str| said(which, Some(0.9), json!({ "universal": which }));
        let turns = vec![universal("repeat"), universal("help"), none("x"), none("y"), none("z")];
        let (outcome, said) = with_caller(&menu(), turns, vec![]);
        assert_eq!(outcome, Outcome::NoMatch("z".into()));
        assert_eq!(said[..3], ["Book or cancel?", "Book or cancel?", "I can do both. Book or cancel?"]);
        let forever = (0..7).map(|_| universal("repeat")).collect();
        assert_eq!(with_caller(&menu(), forever, vec![]).0, Outcome::NoMatch("repeat".into()));
    }

    #[test]
    fn an_operator_is_an_outcome_by_word_and_by_key() {
        let by_word = said("operator", None, json!({ "universal": "operator" }));
        assert_eq!(with_caller(&menu(), vec![by_word], vec![]).0, Outcome::Operator);
        assert_eq!(with_caller(&menu(), vec![keys("0", None)], vec![]).0, Outcome::Operator);
        let helped = with_caller(&menu(), vec![keys("*", None), keys("0", None)], vec![]);
        assert_eq!(helped.1[1], "I can do both. Book or cancel?");
        // Where several keys are an answer, 0 is one of them.
        let number = ask("How many?").operator().tries(1).for_number(1..=20);
        assert_eq!(with_caller(&number, vec![keys("0", None)], vec![]).0, Outcome::NoMatch("0".into()));
    }

    #[test]
    fn a_no_to_the_confirmation_asks_again_without_a_reason() {
        let number = || ask("How many?").on_no_match("What?").tries(2).for_number(1..=6).confirm(|n| format!("{n}?"));
        let four = || said("four", Some(0.9), json!({ "number": 4 }));
        let (outcome, said) =
            with_caller(&number(), vec![four(), four()], vec![Outcome::Got(false), Outcome::Got(true)]);
        assert_eq!((outcome, said), (Outcome::Got(4), vec!["How many?".to_owned(), "How many?".to_owned()]));
        let (outcome, _) =
            with_caller(&number(), vec![four(), four()], vec![Outcome::Got(false), Outcome::NoMatch("hm".into())]);
        assert_eq!(outcome, Outcome::NoMatch("four".into()));
        let (outcome, _) = with_caller(&number(), vec![four()], vec![Outcome::Operator]);
        assert_eq!(outcome, Outcome::Operator);
    }

    #[test]
    fn only_what_is_unsure_is_confirmed_where_that_was_asked() {
        let number = || ask("How many?").for_number(1..=6).confirm_below(0.6, |n| format!("{n}?"));
        let four = |sure| said("four", sure, json!({ "number": 4 }));
        assert_eq!(with_caller(&number(), vec![four(Some(0.7))], vec![]).0, Outcome::Got(4));
        assert_eq!(with_caller(&number(), vec![four(Some(0.5))], vec![Outcome::Got(true)]).0, Outcome::Got(4));
        assert_eq!(with_caller(&number(), vec![four(None)], vec![Outcome::Got(true)]).0, Outcome::Got(4));
        assert_eq!(with_caller(&number(), vec![keys("4", Some(json!({ "number": 4 })))], vec![]).0, Outcome::Got(4));
    }

    #[test]
    fn what_the_script_does_not_take_is_told_why() {
        let day = ask("When?").for_date().check(|day| if day.day() > 5 { Err("Too late.") } else { Ok(()) });
        let on = |day: &str| said(day, None, json!({ "date": day }));
        let (outcome, said) = with_caller(&day, vec![on("2026-12-06"), on("2026-12-05")], vec![]);
        assert_eq!(outcome, Outcome::Got("2026-12-05".parse().expect("a date")));
        assert_eq!(said[1], "Too late. When?");
    }

    #[test]
    fn every_kind_becomes_its_value_and_has_its_grammar() {
        fn got<T>(question: &Question<'_, T>, meaning: Value) -> Outcome<T> {
            with_caller(question, vec![said("…", Some(1.0), meaning)], vec![]).0
        }
        let ask = || super::ask("?");
        assert_eq!(got(&ask().for_yes_no(), json!({ "yes": false })), Outcome::Got(false));
        assert_eq!(got(&ask().for_digits(4..=4), json!({ "digits": "0123" })), Outcome::Got("0123".into()));
        let price = Money { amount: "12.50".into(), currency: "EUR".into() };
        assert_eq!(got(&ask().for_amount("EUR"), json!({ "amount": "12.50", "currency": "EUR" })), Outcome::Got(price));
        let half_past_two = TimeOfDay::new(14, 30).expect("a time");
        assert_eq!(got(&ask().for_time(TimeOfDay::MIDNIGHT), json!({ "time": "14:30" })), Outcome::Got(half_past_two));
        assert_eq!(got(&ask().for_phone("DE"), json!({ "phone": "+4930" })), Outcome::Got("+4930".into()));
        assert_eq!(got(&ask().for_text(), json!({ "text": "a tap" })), Outcome::Got("a tap".into()));
        // What has another shape is no answer.
        assert_eq!(got(&ask().tries(1).for_yes_no(), json!({ "number": 1 })), Outcome::NoMatch("…".into()));
        assert_eq!(
            serde_json::from_str::<Value>(&ask().help("!").for_past_date().grammar()).expect("JSON"),
            json!({ "answer": { "kind": "date", "towards": "past" }, "universals": ["repeat", "help"] })
        );
    }
}
