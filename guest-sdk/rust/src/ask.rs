//! Asking and listening.

use crate::bindings::callbox::dialogue::voice as raw;
use crate::error::Result;
use crate::voice::{BargeIn, Playout, Prompt, start_say};
use crate::wait::{Pollable, millis};
use serde::Serialize;
use std::ops::RangeInclusive;
use std::time::Duration;

pub use raw::{Heard, Utterance};

/// Asks the caller something: the usual turn of a dialogue. What the caller is
/// asked for (keys, speech) also cuts the question off, unless
/// [`barge_in`](Ask::barge_in) says otherwise.
///
/// Say what counts as an answer – [`digits`](Ask::digits),
/// [`speech`](Ask::speech) or both; speech where nothing is said – and end with
/// [`once`](Ask::once), [`choice`](Ask::choice), [`yes_no`](Ask::yes_no),
/// [`number`](Ask::number), [`collect`](Ask::collect), [`accept`](Ask::accept) or
/// [`check`](Ask::check).
///
/// ```no_run
/// use callbox_guest::{ask, secs, Heard};
///
/// match ask("Press 1 to go on.").digits(1..=1).start_timeout(secs(4)).once()? {
///     Heard::Digits(keys) if keys == "1" => {}
///     Heard::Nothing => callbox_guest::info!("nobody there?"),
///     other => callbox_guest::info!("not what was asked for: {other:?}"),
/// }
/// # Ok::<(), callbox_guest::Error>(())
/// ```
pub fn ask(question: impl Into<Prompt>) -> Ask {
    Ask { question: Some(question.into()), ..listen() }
}

/// Listens without saying anything first.
///
/// ```no_run
/// use callbox_guest::{listen, secs};
///
/// let pin = listen().digits(4..=6).terminator('#').sensitive().start_timeout(secs(10)).once()?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
pub fn listen() -> Ask {
    Ask {
        question: None,
        barge_in: None,
        digits: None,
        terminator: None,
        digit_timeout: Duration::from_secs(3),
        speech: false,
        languages: Vec::new(),
        hints: Vec::new(),
        start_timeout: None,
        end_silence: None,
        max_length: None,
        type_ahead: false,
        sensitive: false,
        interruption: None,
        partials: false,
        extra: Vec::new(),
        tries: 3,
        on_silence: Ladder::default(),
        on_no_match: Ladder::default(),
        reworded: Ladder::default(),
        zone: None,
        grammar: None,
        help: None,
        operator: false,
    }
}

/// A question that is being put together; see [`ask`] and [`listen`].
#[derive(Clone, Debug)]
#[must_use = "nothing is asked before `once`, `choice`, `number`, `accept`, `start` or the like"]
pub struct Ask {
    question: Option<Prompt>,
    barge_in: Option<BargeIn>,
    digits: Option<RangeInclusive<u8>>,
    terminator: Option<char>,
    digit_timeout: Duration,
    speech: bool,
    languages: Vec<String>,
    hints: Vec<String>,
    start_timeout: Option<Duration>,
    end_silence: Option<Duration>,
    max_length: Option<Duration>,
    type_ahead: bool,
    sensitive: bool,
    interruption: Option<(Duration, u8)>,
    partials: bool,
    extra: Vec<(String, String)>,
    pub(crate) tries: u8,
    on_silence: Ladder,
    on_no_match: Ladder,
    reworded: Ladder,
    zone: Option<String>,
    /// What the contract's `set-grammar` takes.
    pub(crate) grammar: Option<String>,
    pub(crate) help: Option<Prompt>,
    pub(crate) operator: bool,
}

/// What came of a question that was asked until it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// An answer that counts.
    Got(T),
    /// The last try ended in silence.
    Silence,
    /// The last try brought something else: the keys or the words.
    NoMatch(String),
    /// The caller wants to talk to somebody; only where
    /// [`operator`](Ask::operator) offers it.
    Operator,
}

impl<T> Outcome<T> {
    /// The answer, where there is one.
    ///
    /// ```
    /// use callbox_guest::Outcome;
    ///
    /// assert_eq!(Outcome::Got(4).got(), Some(4));
    /// assert_eq!(Outcome::<u8>::Silence.got(), None);
    /// ```
    pub fn got(self) -> Option<T> {
        match self {
            Self::Got(answer) => Some(answer),
            Self::Silence | Self::NoMatch(_) | Self::Operator => None,
        }
    }
}

impl Ask {
    /// Accepts keys: so many of them, 1 to 64. Alone it means keys only; add
    /// [`speech`](Self::speech) to accept both.
    pub const fn digits(mut self, count: RangeInclusive<u8>) -> Self {
        self.digits = Some(count);
        self
    }

    /// A key that ends the digits and is not one of them, usually `#`.
    pub const fn terminator(mut self, key: char) -> Self {
        self.terminator = Some(key);
        self
    }

    /// Longest pause between two keys (3 s by default); then the digits are
    /// complete.
    pub const fn digit_timeout(mut self, limit: Duration) -> Self {
        self.digit_timeout = limit;
        self
    }

    /// Accepts speech. `once` and the like return
    /// [`Error::Unavailable`](crate::Error::Unavailable) where no recogniser is
    /// configured for the language.
    pub const fn speech(mut self) -> Self {
        self.speech = true;
        self
    }

    /// Words and phrases to expect in speech.
    pub fn hints<I: IntoIterator<Item: Into<String>>>(mut self, phrases: I) -> Self {
        self.hints = phrases.into_iter().map(Into::into).collect();
        self
    }

    /// Languages to expect (BCP 47 tags), the likeliest first; the call's
    /// language by default.
    pub fn languages<I: IntoIterator<Item: Into<String>>>(mut self, tags: I) -> Self {
        self.languages = tags.into_iter().map(Into::into).collect();
        self
    }

    /// What may cut the question off; what is asked for, by default.
    pub const fn barge_in(mut self, by: BargeIn) -> Self {
        self.barge_in = Some(by);
        self
    }

    /// Longest silence before an answer begins, from the end of the question
    /// (5 s by default).
    pub const fn start_timeout(mut self, limit: Duration) -> Self {
        self.start_timeout = Some(limit);
        self
    }

    /// Silence that ends an utterance (700 ms by default).
    pub const fn end_silence(mut self, span: Duration) -> Self {
        self.end_silence = Some(span);
        self
    }

    /// Longest utterance (30 s by default).
    pub const fn max_length(mut self, limit: Duration) -> Self {
        self.max_length = Some(limit);
        self
    }

    /// Keys pressed before the question count too. Otherwise only those pressed
    /// during it do, and those that cut off what was said just before.
    pub const fn type_ahead(mut self) -> Self {
        self.type_ahead = true;
        self
    }

    /// What is heard is secret: masked in the transcript, the recording, the
    /// logs and the webhooks. Only the script sees it – keep it that way.
    pub const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// Speech cuts the question off only past this long and this many words.
    pub const fn interruption(mut self, min_speech: Duration, min_words: u8) -> Self {
        self.interruption = Some((min_speech, min_words));
        self
    }

    /// Delivers interim hypotheses to [`Listening::next_partial`].
    pub const fn partials(mut self) -> Self {
        self.partials = true;
        self
    }

    /// A setting of the recogniser, passed on as it is.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn extra(mut self, name: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        self.extra.push((name.into(), serde_json::to_string(value)?));
        Ok(self)
    }

    /// How often a question is asked before it is given up – by all that return an
    /// [`Outcome`] –: 3 times by default, at least once.
    pub const fn tries(mut self, count: u8) -> Self {
        self.tries = count;
        self
    }

    /// Said before the question is asked again after a silence; of several, the second
    /// after the second silence, and the last after all that follow.
    ///
    /// ```no_run
    /// let ask = callbox_guest::ask("Which day?")
    ///     .on_silence(["I did not hear you.", "I still do not hear you. You can also use the keys."])
    ///     .on_no_match("I did not understand that.");
    /// ```
    pub fn on_silence(mut self, words: impl Into<Ladder>) -> Self {
        self.on_silence = words.into();
        self
    }

    /// Said before the question is asked again after an answer that is none; of
    /// several, one after the other.
    pub fn on_no_match(mut self, words: impl Into<Ladder>) -> Self {
        self.on_no_match = words.into();
        self
    }

    /// The question in other words, from the second try on; of several, one after the
    /// other.
    ///
    /// ```no_run
    /// let ask = callbox_guest::ask("When shall we call?").reworded("On which day? Say tomorrow, or the third of May.");
    /// ```
    pub fn reworded(mut self, question: impl Into<Ladder>) -> Self {
        self.reworded = question.into();
        self
    }

    /// The IANA time zone in which the caller says "tomorrow": `Europe/Berlin`. UTC by
    /// default.
    pub fn in_zone(mut self, name: impl Into<String>) -> Self {
        self.zone = Some(name.into());
        self
    }

    /// Said to who asks for help – "help", "what can I say?", or the star key where one
    /// key is expected –; the question follows. Questions [in words](crate::Question)
    /// alone have it.
    pub fn help(mut self, words: impl Into<Prompt>) -> Self {
        self.help = Some(words.into());
        self
    }

    /// Who asks for a person – "operator", "I want to talk to somebody", or key 0
    /// where one key is expected – gets one: [`Outcome::Operator`]. Questions [in
    /// words](crate::Question) alone have it.
    pub const fn operator(mut self) -> Self {
        self.operator = true;
        self
    }

    /// Asks once.
    ///
    /// # Errors
    /// The call is over; speech is asked for and there is no recogniser; the
    /// number of digits is not 1 to 64.
    pub fn once(self) -> Result<Heard> {
        let options = self.options();
        self.turn(&options, self.prompt(None, 0)).map(|(heard, _)| heard)
    }

    /// Asks once and also tells what the caller got of the question, where one
    /// was asked.
    ///
    /// ```no_run
    /// let (heard, playout) = callbox_guest::ask("How may I help you?").once_with_playout()?;
    /// if let Some(playout) = playout {
    ///     callbox_guest::info!("they answered after: {}", playout.heard_text);
    /// }
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`once`](Self::once).
    pub fn once_with_playout(self) -> Result<(Heard, Option<Playout>)> {
        let options = self.options();
        self.turn(&options, self.prompt(None, 0))
    }

    /// A menu: asks for one key until it is one of those given, and returns what
    /// stands beside it.
    ///
    /// ```no_run
    /// use callbox_guest::{ask, Outcome};
    ///
    /// #[derive(Clone)]
    /// enum Wish { Sales, Support }
    ///
    /// let wish = ask("For sales press 1, for support press 2.")
    ///     .on_silence("I did not hear a key.")
    ///     .on_no_match("That key has no meaning here.")
    ///     .choice(&[('1', Wish::Sales), ('2', Wish::Support)])?;
    /// match wish {
    ///     Outcome::Got(Wish::Sales) => { /* … */ }
    ///     Outcome::Got(Wish::Support) => { /* … */ }
    ///     _ => callbox_guest::say("Goodbye.").map(drop)?,
    /// }
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`once`](Self::once).
    pub fn choice<T: Clone>(mut self, choices: &[(char, T)]) -> Result<Outcome<T>> {
        self.digits = Some(1..=1);
        self.accept(|given| picked(choices, given))
    }

    /// Asks for a yes, which is key 1, or a no, key 2; say so in the question.
    ///
    /// ```no_run
    /// use callbox_guest::{ask, Outcome};
    ///
    /// let right = ask("You entered the first of December. If this is right press 1, if not press 2.").yes_no()?;
    /// if right == Outcome::Got(true) {
    ///     callbox_guest::results::disposition("promised")?;
    /// }
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`once`](Self::once).
    pub fn yes_no(self) -> Result<Outcome<bool>> {
        self.choice(&[('1', true), ('2', false)])
    }

    /// Asks for a number of that range, by keys. A number of one key is complete at
    /// once; where there are longer ones the hash key ends it, or a pause.
    ///
    /// ```no_run
    /// use callbox_guest::ask;
    ///
    /// let score = ask("From 0 to 10: how likely is it that you would recommend us? Then press the hash key.")
    ///     .on_no_match("That is not a number from 0 to 10.")
    ///     .number(0..=10)?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`once`](Self::once).
    pub fn number(mut self, range: RangeInclusive<u32>) -> Result<Outcome<u32>> {
        let longest = length(*range.end());
        if longest == 1 {
            self.digits = Some(1..=1);
        } else {
            // One more than it needs: else the longest would be complete without its hash key, which would then run
            // into what is asked next.
            self.digits = Some(1..=longest + 1);
            self.terminator = self.terminator.or(Some('#'));
        }
        self.accept(|keys| keys.parse().ok().filter(|number| range.contains(number)))
    }

    /// Asks for an answer – the keys, or the words where speech is accepted –
    /// until there is one.
    ///
    /// ```no_run
    /// use callbox_guest::{ask, Outcome};
    ///
    /// let number = ask("Please enter your customer number, then the hash key.").digits(4..=8).terminator('#').collect()?;
    /// if let Outcome::Got(number) = number {
    ///     callbox_guest::results::set("customer", &number)?;
    /// }
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`once`](Self::once).
    pub fn collect(self) -> Result<Outcome<String>> {
        self.accept(|given| Some(given.to_owned()))
    }

    /// Asks until `accept` makes something of the answer.
    ///
    /// ```no_run
    /// use callbox_guest::ask;
    ///
    /// let hour = ask("At which hour shall we call? Enter 9 to 17.")
    ///     .digits(1..=2)
    ///     .on_no_match("We can call between 9 and 17.")
    ///     .accept(|keys| keys.parse::<u8>().ok().filter(|hour| (9..=17).contains(hour)))?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`once`](Self::once).
    pub fn accept<T>(self, mut accept: impl FnMut(&str) -> Option<T>) -> Result<Outcome<T>> {
        self.asked(|given| accept(given).ok_or(None))
    }

    /// Asks until `check` takes the answer. What it has to say against one is said
    /// before the question is asked again, in place of
    /// [`on_no_match`](Self::on_no_match).
    ///
    /// ```no_run
    /// use callbox_guest::{ask, calendar::Date, clock};
    ///
    /// let today = clock::local("Europe/Berlin")?.date();
    /// let day = ask("When will you pay? Enter the day and the month, two keys each.").digits(4..=4).check(|keys| {
    ///     let number = |part: &str| part.parse().unwrap_or(0);
    ///     let date = today.coming(number(&keys[2..]), number(&keys[..2])).ok_or("There is no such day.")?;
    ///     if today.days_until(date) > 14 { Err("That is more than two weeks from now.") } else { Ok(date) }
    /// })?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`once`](Self::once).
    pub fn check<T, P: Into<Prompt>>(
        self,
        mut check: impl FnMut(&str) -> std::result::Result<T, P>,
    ) -> Result<Outcome<T>> {
        self.asked(|given| check(given).map_err(|why| Some(why.into())))
    }

    fn asked<T>(&self, judge: impl FnMut(&str) -> std::result::Result<T, Option<Prompt>>) -> Result<Outcome<T>> {
        let options = self.options();
        let turn = |failed, tried| self.turn(&options, self.prompt(failed, tried)).map(|(heard, _)| heard);
        climb(self.tries, turn, judge)
    }

    /// Says the question without waiting, and listens without waiting.
    ///
    /// ```no_run
    /// use callbox_guest::{context, ask, wait};
    ///
    /// let key = ask("Press 1 to give up waiting.").digits(1..=1).start()?;
    /// let order = context::start_fetch("order", &[])?;
    /// let (pressed, found) = (key.subscribe(), order.subscribe());
    /// wait::select(&[&pressed, &found], None);
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`once`](Self::once); also when a listening is under way already.
    pub fn start(self) -> Result<Listening> {
        let options = self.options();
        if let Some(question) = self.prompt(None, 0) {
            start_say(question)?;
        }
        Ok(Listening(raw::start_listen(&options)?))
    }

    pub(crate) fn turn(
        &self,
        options: &raw::ListenOptions,
        prompt: Option<Prompt>,
    ) -> Result<(Heard, Option<Playout>)> {
        let Some(prompt) = prompt else {
            return Ok((raw::listen(options)?, None));
        };
        let barge_in = prompt.barge_in.unwrap_or_default().raw();
        let answer = raw::ask(prompt.segments(), barge_in, options)?;
        Ok((answer.heard, Some(answer.prompt)))
    }

    /// What is said after so many tries: the reason for asking again, if any, and
    /// the question.
    pub(crate) fn prompt(&self, failed: Option<Failed>, tried: u8) -> Option<Prompt> {
        let lead = match failed {
            None | Some(Failed::Unsaid) => None,
            Some(Failed::Silence(times)) => self.on_silence.rung(times).cloned(),
            Some(Failed::NoMatch(times)) => self.on_no_match.rung(times).cloned(),
            Some(Failed::Because(why)) => Some(why),
        };
        let mut prompt = match (lead, self.reworded.rung(tried).or(self.question.as_ref()).cloned()) {
            (Some(lead), Some(question)) => lead.silence(Duration::from_millis(300)).then(question),
            (lead, question) => lead.or(question)?,
        };
        let own = self.question.as_ref().and_then(|question| question.barge_in);
        prompt.barge_in = Some(self.barge_in.or(own).unwrap_or_else(|| self.expected()));
        Some(prompt)
    }

    /// Whether a number of keys has been said.
    pub(crate) const fn has_digits(&self) -> bool {
        self.digits.is_some()
    }

    /// The same manner for another question: who is listened to, for how long, and
    /// what is said to silence. Other words are about the question.
    pub(crate) fn in_the_manner_of(mut self, other: &Self) -> Self {
        self.languages.clone_from(&other.languages);
        self.start_timeout = other.start_timeout;
        self.end_silence = other.end_silence;
        self.sensitive = other.sensitive;
        self.interruption = other.interruption;
        self.on_silence.clone_from(&other.on_silence);
        self.operator = other.operator;
        self
    }

    /// What the caller is asked for is also what may cut the question off.
    const fn expected(&self) -> BargeIn {
        match (self.digits.is_some(), self.speech) {
            (true, true) => BargeIn::Both,
            (true, false) => BargeIn::Digits,
            (false, _) => BargeIn::Speech,
        }
    }

    /// What may cut off whatever is said while this is listened for.
    pub(crate) fn cut_off_by(&self) -> BargeIn {
        self.barge_in.unwrap_or_else(|| self.expected())
    }

    pub(crate) fn options(&self) -> raw::ListenOptions {
        let options = raw::ListenOptions::new();
        if let Some(count) = &self.digits {
            options.set_digits(*count.start(), *count.end(), self.terminator, millis(self.digit_timeout));
            if !self.speech {
                options.set_digits_only();
            }
        }
        if !self.languages.is_empty() {
            options.set_languages(&self.languages);
        }
        if !self.hints.is_empty() {
            options.set_hints(&self.hints);
        }
        if let Some(limit) = self.start_timeout {
            options.set_start_timeout(millis(limit));
        }
        if let Some(span) = self.end_silence {
            options.set_end_silence(millis(span));
        }
        if let Some(limit) = self.max_length {
            options.set_max_length(millis(limit));
        }
        if self.type_ahead {
            options.set_type_ahead(true);
        }
        if self.sensitive {
            options.set_sensitive(true);
        }
        if let Some((min_speech, min_words)) = self.interruption {
            options.set_interruption(millis(min_speech), min_words);
        }
        if self.partials {
            options.set_partials(true);
        }
        if let Some(grammar) = &self.grammar {
            options.set_grammar(grammar);
        }
        if let Some(name) = &self.zone {
            options.set_zone(name);
        }
        for (name, value) in &self.extra {
            options.set_extra(name, value);
        }
        options
    }
}

/// A listening under way; see [`Ask::start`]. Dropping it ends it.
#[derive(Debug)]
pub struct Listening(raw::Listening);

impl Listening {
    /// Ready when [`wait`](Self::wait) would return at once.
    #[must_use]
    pub fn subscribe(&self) -> Pollable {
        self.0.subscribe()
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// The call is over, or the recogniser failed.
    pub fn wait(&self) -> Result<Heard> {
        Ok(self.0.wait()?)
    }

    /// Waits for the next interim hypothesis; none once the result is there.
    ///
    /// # Errors
    /// The call is over, or the recogniser failed.
    pub fn next_partial(&self) -> Result<Option<Utterance>> {
        Ok(self.0.next_partial()?)
    }

    /// All hypotheses of the final result, the best first.
    #[must_use]
    pub fn alternatives(&self) -> Vec<Utterance> {
        self.0.alternatives()
    }

    /// Ends it now and returns what has been heard so far.
    ///
    /// # Errors
    /// The call is over.
    pub fn stop(&self) -> Result<Heard> {
        Ok(self.0.stop()?)
    }
}

/// What is said time after time: the first the first time, and the last whenever there
/// is no other. One prompt, or several in an array.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ladder(Vec<Prompt>);

impl Ladder {
    /// What is said at that time, from 1.
    fn rung(&self, time: u8) -> Option<&Prompt> {
        let index = usize::from(time).checked_sub(1)?;
        self.0.get(index).or(self.0.last())
    }
}

impl<P: Into<Prompt>, const N: usize> From<[P; N]> for Ladder {
    fn from(words: [P; N]) -> Self {
        Self(words.into_iter().map(Into::into).collect())
    }
}

impl From<&str> for Ladder {
    fn from(words: &str) -> Self {
        Self(vec![words.into()])
    }
}

impl From<String> for Ladder {
    fn from(words: String) -> Self {
        Self(vec![words.into()])
    }
}

impl From<&String> for Ladder {
    fn from(words: &String) -> Self {
        Self(vec![words.into()])
    }
}

impl From<Prompt> for Ladder {
    fn from(words: Prompt) -> Self {
        Self(vec![words])
    }
}

/// Why a question is asked again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failed {
    /// For so many times.
    Silence(u8),
    /// For so many times.
    NoMatch(u8),
    /// The caller knows why.
    Unsaid,
    /// The answer is none, for this reason.
    Because(Prompt),
}

/// Asks by `turn` until `judge` takes the answer, `tries` times at most. Against one it
/// may have something to say.
fn climb<T>(
    tries: u8,
    mut turn: impl FnMut(Option<Failed>, u8) -> Result<Heard>,
    mut judge: impl FnMut(&str) -> std::result::Result<T, Option<Prompt>>,
) -> Result<Outcome<T>> {
    let mut failed = None;
    let mut failures = Failures::default();
    loop {
        let heard = turn(failed, failures.all())?;
        let last = failures.all() + 1 >= tries.max(1);
        failed = Some(match heard {
            Heard::Nothing if last => return Ok(Outcome::Silence),
            Heard::Nothing => failures.silence(),
            Heard::NoMatch(given) if last => return Ok(Outcome::NoMatch(given)),
            Heard::NoMatch(_) => failures.no_match(None),
            Heard::Digits(given) | Heard::Speech(Utterance { text: given, .. }) => match judge(&given) {
                Ok(answer) => return Ok(Outcome::Got(answer)),
                Err(_) if last => return Ok(Outcome::NoMatch(given)),
                Err(why) => failures.no_match(why),
            },
        });
    }
}

/// What went wrong so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Failures {
    silences: u8,
    no_matches: u8,
}

impl Failures {
    /// Tries that came to nothing.
    pub(crate) const fn all(self) -> u8 {
        self.silences.saturating_add(self.no_matches)
    }

    pub(crate) const fn silence(&mut self) -> Failed {
        self.silences = self.silences.saturating_add(1);
        Failed::Silence(self.silences)
    }

    /// An answer that is none, for a reason if there is one to be told.
    pub(crate) fn no_match(&mut self, why: Option<Prompt>) -> Failed {
        self.no_matches = self.no_matches.saturating_add(1);
        why.map_or(Failed::NoMatch(self.no_matches), Failed::Because)
    }
}

/// What stands beside the one key that was given.
fn picked<T: Clone>(choices: &[(char, T)], given: &str) -> Option<T> {
    let mut keys = given.chars();
    let key = keys.next().filter(|_| keys.next().is_none())?;
    choices.iter().find(|(known, _)| *known == key).map(|(_, choice)| choice.clone())
}

/// Keys that a number takes.
const fn length(number: u32) -> u8 {
    match number.checked_ilog10() {
        Some(tens) => tens as u8 + 1,
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::error::EndCause;
    use crate::voice::text;

    const MENU: &[(char, u8)] = &[('1', 10), ('2', 20)];

    /// Climbs with a caller who answers `heard`, and tells the outcome and why
    /// each further try was made.
    fn with_caller(tries: u8, heard: &[Heard]) -> (Outcome<u8>, Vec<Failed>) {
        let mut answers = heard.iter().cloned();
        let mut reasons = Vec::new();
        let turn = |failed: Option<Failed>, _| {
            reasons.extend(failed);
            Ok(answers.next().expect("asked more often than there are answers"))
        };
        let outcome = climb(tries, turn, |given| picked(MENU, given).ok_or(None)).expect("no error was given");
        assert_eq!(answers.next(), None, "asked less often than expected");
        (outcome, reasons)
    }

    fn keys(keys: &str) -> Heard {
        Heard::Digits(keys.into())
    }

    #[test]
    fn the_first_good_answer_ends_the_asking() {
        assert_eq!(with_caller(3, &[keys("2")]), (Outcome::Got(20), vec![]));
        assert_eq!(
            with_caller(3, &[Heard::Nothing, keys("9"), keys("1")]),
            (Outcome::Got(10), vec![Failed::Silence(1), Failed::NoMatch(1)])
        );
    }

    #[test]
    fn the_last_try_tells_what_went_wrong() {
        assert_eq!(with_caller(2, &[keys("9"), Heard::Nothing]), (Outcome::Silence, vec![Failed::NoMatch(1)]));
        assert_eq!(
            with_caller(2, &[Heard::Nothing, keys("7")]),
            (Outcome::NoMatch("7".into()), vec![Failed::Silence(1)])
        );
        assert_eq!(
            with_caller(2, &[Heard::NoMatch("12".into()), Heard::NoMatch("1".into())]),
            (Outcome::NoMatch("1".into()), vec![Failed::NoMatch(1)])
        );
        assert_eq!(with_caller(0, &[Heard::Nothing]), (Outcome::Silence, vec![]), "asked once even with no tries");
    }

    #[test]
    fn the_end_of_the_call_ends_the_asking() {
        let ended = Error::Ended(EndCause::RemoteHangup);
        let outcome = climb(3, |_, _| Err(ended.clone()), |given| picked(MENU, given).ok_or(None));
        assert_eq!(outcome, Err(ended));
    }

    #[test]
    fn a_reason_against_an_answer_is_told_and_the_next_one_is_another() {
        let mut answers = ["9", "7", "1"].into_iter().map(keys);
        let mut reasons = Vec::new();
        let turn = |failed: Option<Failed>, _| {
            reasons.extend(failed);
            Ok(answers.next().expect("asked more often than there are answers"))
        };
        let judge = |given: &str| picked(MENU, given).ok_or_else(|| Some(format!("Not {given}.").into()));
        assert_eq!(climb(3, turn, judge), Ok(Outcome::Got(10)));
        assert_eq!(reasons, ["Not 9.", "Not 7."].map(|why| Failed::Because(why.into())));
    }

    #[test]
    fn a_number_has_as_many_keys_as_the_longest() {
        for (number, keys) in [(0, 1), (5, 1), (9, 1), (10, 2), (99, 2), (100, 3), (u32::MAX, 10)] {
            assert_eq!(length(number), keys, "{number}");
        }
    }

    #[test]
    fn only_one_known_key_is_a_choice() {
        assert_eq!(picked(MENU, "1"), Some(10));
        for given in ["", "3", "11", "12", "one"] {
            assert_eq!(picked(MENU, given), None, "{given:?}");
        }
    }

    #[test]
    fn a_question_is_cut_off_by_what_it_asks_for_unless_told_otherwise() {
        let cut_by = |ask: Ask| ask.prompt(None, 0).expect("there is a question").barge_in;
        assert_eq!(cut_by(ask("?").digits(1..=1)), Some(BargeIn::Digits));
        assert_eq!(cut_by(ask("?").digits(1..=1).speech()), Some(BargeIn::Both));
        assert_eq!(cut_by(ask("?")), Some(BargeIn::Speech));
        assert_eq!(cut_by(ask("?").digits(1..=1).barge_in(BargeIn::Nothing)), Some(BargeIn::Nothing));
        assert_eq!(cut_by(ask(text("?").barge_in(BargeIn::Nothing)).digits(1..=1)), Some(BargeIn::Nothing));
    }

    #[test]
    fn each_try_has_its_own_words_as_long_as_there_are_some() {
        let ask = ask("First?").digits(1..=1).on_silence(["One.", "Two."]).reworded("Second?");
        let said = |failed, tried| {
            let prompt = ask.prompt(failed, tried).expect("there is a question");
            prompt
                .segments()
                .iter()
                .filter_map(|segment| match segment {
                    crate::Segment::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(said(None, 0), "First?");
        assert_eq!(said(Some(Failed::Silence(1)), 1), "One. Second?");
        assert_eq!(said(Some(Failed::Silence(2)), 2), "Two. Second?");
        assert_eq!(said(Some(Failed::Silence(3)), 3), "Two. Second?");
        assert_eq!(said(Some(Failed::NoMatch(1)), 2), "Second?");
    }

    #[test]
    fn asking_again_begins_with_the_reason() {
        let ask = ask("Well?").on_silence("Hello?").digits(1..=1);
        let again = ask.prompt(Some(Failed::Silence(1)), 1).expect("there is a question");
        assert_eq!(again, text("Hello?").silence(Duration::from_millis(300)).text("Well?").barge_in(BargeIn::Digits));
        assert_eq!(ask.prompt(Some(Failed::NoMatch(1)), 1), ask.prompt(None, 0), "no words for it: the question alone");
        let told =
            ask.on_no_match("What?").prompt(Some(Failed::Because("Too late.".into())), 1).expect("there is a question");
        assert_eq!(
            told.segments().first(),
            text("Too late.").segments().first(),
            "the reason given, not the usual one"
        );
        assert_eq!(listen().prompt(None, 0), None);
    }
}
