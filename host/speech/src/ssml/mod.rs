//! SSML from scripts: a small part of SSML 1.1, read strictly.
//!
//! No byte of a script's markup reaches an engine. What is understood becomes
//! text, with who says it and how, pauses, and boundaries: plain things that
//! every engine can be given. Everything else is an error that names it: an
//! engine would drop it in silence, or, for `<audio>`, open files and run
//! programs.
//!
//! | element | attributes | what becomes of it |
//! |---|---|---|
//! | `speak` | ignored | the root |
//! | `p`, `s` | `xml:lang` | a pause around it |
//! | `break` | `time` (`500ms`, `1.5s`, at most 10 s), `strength` | silence |
//! | `prosody` | `rate` and `pitch` (names, or percentages), `volume` (names, or `+6dB`) | rate and pitch where the engine can, volume always |
//! | `emphasis` | `level` | a little louder and slower, or softer |
//! | `say-as` | `interpret-as`: `characters`, `digits`, `telephone`, `cardinal`, `ordinal`, `date` (with `format`), `time`, `currency`, `unit`, `fraction`, `address` | words |
//! | `sub` | `alias` | the alias |
//! | `lang` | `xml:lang` | another voice of that language |
//! | `mark` | `name` | passed over |

mod xml;

use crate::error::SpeechError;
use crate::normalise::{SayAs, Spoken, normalise, say_as};
use crate::sentences::is_speakable;
use crate::synthesiser::PITCHES;
use callbox_dialogue::time::Millis;
use xml::{Event, Reader, Tag, Text};

/// Elements inside of each other.
const MAX_DEPTH: usize = 16;
/// Longest pause of one `break`.
const MAX_BREAK: Millis = 10_000;
/// All pauses of a document.
const MAX_BREAKS: Millis = 60_000;
/// Percent of the usual rate.
const RATES: std::ops::RangeInclusive<u32> = 25..=400;
/// Tenths of a decibel.
const VOLUMES: std::ops::RangeInclusive<i32> = -400..=120;

/// What a document says, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Words.
    Say(Run),
    /// Silence.
    Pause(Millis),
    /// The end of a sentence or a paragraph, unless a pause is there anyhow.
    Boundary,
}

/// Words that are said in one manner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The words; their source is the document.
    pub spoken: Spoken,
    /// BCP 47, where it is another than that of the document.
    pub language: Option<String>,
    /// How they are said.
    pub manner: Manner,
}

/// How something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Percent of the usual rate.
    pub rate: u32,
    /// Percent of the usual pitch.
    pub pitch: u16,
    /// Tenths of a decibel louder than usual; none for silence.
    pub volume: Option<i32>,
}

impl Default for Manner {
    fn default() -> Self {
        Self { rate: 100, pitch: 100, volume: Some(0) }
    }
}

impl Manner {
    /// This manner within another.
    fn within(self, outer: Self) -> Self {
        let pitch = u32::from(self.pitch) * u32::from(outer.pitch) / 100;
        let volume = self.volume.zip(outer.volume).map(|(inner, outer)| inner + outer);
        Self {
            rate: (self.rate * outer.rate / 100).clamp(*RATES.start(), *RATES.end()),
            pitch: u16::try_from(pitch).unwrap_or(u16::MAX).clamp(*PITCHES.start(), *PITCHES.end()),
            volume: volume.map(|volume| volume.clamp(*VOLUMES.start(), *VOLUMES.end())),
        }
    }
}

/// Reads SSML in a language (BCP 47).
///
/// # Errors
/// `BadSsml`: not well-formed, or something that is not in the table above,
/// with its place.
pub fn read(text: &str, language: &str) -> Result<Vec<Piece>, SpeechError> {
    let mut writer = Writer::new(language);
    let mut reader = Reader::new(text);
    let mut rooted = false;
    while let Some((at, event)) = reader.next()? {
        match event {
            Event::Open(tag) if writer.open.is_empty() => {
                if rooted || tag.name != "speak" {
                    return Err(bad(at, "one element `speak` must hold all others"));
                }
                rooted = true;
                if !tag.empty {
                    writer.open.push(Element::root());
                }
            }
            Event::Open(tag) => writer.open(at, &tag)?,
            Event::Close(name) => writer.close(at, &name)?,
            Event::Text(text) if writer.open.is_empty() => {
                if !text.text.trim().is_empty() {
                    return Err(bad(at, "text outside of `speak`"));
                }
            }
            Event::Text(text) => writer.text(text),
        }
    }
    if !rooted {
        return Err(bad(text.len(), "no element `speak`"));
    }
    if let Some(element) = writer.open.last() {
        return Err(bad(text.len(), &format!("`{}` is not closed", element.name)));
    }
    writer.flush();
    Ok(writer.pieces)
}

/// An element that is open.
#[derive(Clone)]
struct Element {
    name: &'static str,
    /// How its text is read, and for a date in which order.
    say_as: Option<(SayAs, Option<DateOrder>)>,
    /// Its text is replaced by something else.
    silent: bool,
    /// What its text is in, where that is another language than the document's.
    language: Option<String>,
    manner: Manner,
}

impl Element {
    fn root() -> Self {
        Self { name: "speak", say_as: None, silent: false, language: None, manner: Manner::default() }
    }
}

/// In which order the figures of a date stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DateOrder {
    DayMonthYear,
    MonthDayYear,
    YearMonthDay,
}

struct Writer<'a> {
    language: &'a str,
    open: Vec<Element>,
    /// Words that wait for more of the same manner.
    run: Spoken,
    /// Manner and language of these.
    of: (Manner, Option<String>),
    pieces: Vec<Piece>,
    breaks: Millis,
}

impl<'a> Writer<'a> {
    fn new(language: &'a str) -> Self {
        let of = (Manner::default(), None);
        Self { language, open: Vec::new(), run: Spoken::nothing(), of, pieces: Vec::new(), breaks: 0 }
    }

    fn open(&mut self, at: usize, tag: &Tag) -> Result<(), SpeechError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(bad(at, &format!("elements are nested deeper than {MAX_DEPTH}")));
        }
        let mut element = self.open.last().cloned().unwrap_or_else(Element::root);
        let manner = match tag.name.as_str() {
            "p" | "s" => {
                element.name = if tag.name == "p" { "p" } else { "s" };
                if let Some(language) = spoken_language(at, tag)? {
                    element.language = self.other_than_ours(language);
                }
                self.boundary();
                None
            }
            "lang" => {
                element.name = "lang";
                let language = spoken_language(at, tag)?.ok_or_else(|| bad(at, "`lang` needs `xml:lang`"))?;
                element.language = self.other_than_ours(language);
                None
            }
            "break" => {
                element.name = "break";
                self.pause(pause(at, tag)?);
                None
            }
            "mark" => {
                element.name = "mark";
                tag.attribute("name").ok_or_else(|| bad(at, "`mark` needs `name`"))?;
                None
            }
            "emphasis" => {
                element.name = "emphasis";
                Some(match named(at, tag, "level", &["strong", "moderate", "reduced", "none"])? {
                    Some("strong") => Manner { rate: 90, pitch: 105, volume: Some(40) },
                    Some("reduced") => Manner { volume: Some(-30), ..Manner::default() },
                    Some("none") => Manner::default(),
                    _ => Manner { rate: 95, pitch: 103, volume: Some(20) },
                })
            }
            "prosody" => {
                element.name = "prosody";
                Some(Manner { rate: rate(at, tag)?, pitch: pitch(at, tag)?, volume: volume(at, tag)? })
            }
            "say-as" => {
                element.name = "say-as";
                element.say_as = Some(interpretation(at, tag)?);
                None
            }
            "sub" => {
                element.name = "sub";
                let alias = tag.attribute("alias").ok_or_else(|| bad(at, "`sub` needs `alias`"))?;
                if !self.silent() {
                    let words = self.words(alias);
                    self.tune();
                    self.run.add_words(&words, at);
                }
                element.silent = true;
                None
            }
            other => {
                let known = "p, s, break, prosody, emphasis, say-as, sub, lang, mark";
                return Err(bad(at, &format!("the element `{}` is not read here; {known} are", shorten(other))));
            }
        };
        if let Some(manner) = manner {
            element.manner = manner.within(element.manner);
        }
        if tag.empty {
            self.ended(element.name, at);
        } else {
            self.open.push(element);
        }
        Ok(())
    }

    fn close(&mut self, at: usize, name: &str) -> Result<(), SpeechError> {
        match self.open.pop() {
            Some(element) if element.name == name => {
                self.ended(element.name, at);
                Ok(())
            }
            Some(element) => Err(bad(at, &format!("`{}` is closed where `{}` is open", shorten(name), element.name))),
            None => Err(bad(at, &format!("`{}` is closed and not open", shorten(name)))),
        }
    }

    /// An element ends at a place.
    fn ended(&mut self, name: &str, at: usize) {
        match name {
            "p" | "s" => self.boundary(),
            // The alias stood for what was inside.
            "sub" if !self.silent() => self.run.jump(at),
            _ => {}
        }
    }

    fn text(&mut self, mut text: Text) {
        if self.silent() || text.text.is_empty() {
            return;
        }
        // A line's end is no sentence's end in markup. These are one byte each.
        text.text = text.text.replace(['\n', '\r', '\t'], " ");
        self.tune();
        let how = self.open.last().and_then(|element| element.say_as);
        if how.is_some_and(|(how, _)| how != SayAs::Text) || how.is_some_and(|(_, order)| order.is_some()) {
            let words = self.words(&text.text);
            self.run.jump(text.place(0));
            self.run.add_words(&words, text.place(text.text.len()));
            return;
        }
        let spoken = normalise(&text.text, self.spoken_in());
        self.run.add(&spoken, |at| text.place(at), text.places.iter().map(|&(at, _)| at));
    }

    /// The words of a text, as the elements that are open want it read.
    fn words(&self, text: &str) -> String {
        match self.open.last().and_then(|element| element.say_as) {
            Some((_, Some(order))) => say_as(&iso_date(text, order), SayAs::Text, self.spoken_in()),
            Some((how, None)) => say_as(text, how, self.spoken_in()),
            None => normalise(text, self.spoken_in()).text().to_owned(),
        }
    }

    fn spoken_in(&self) -> &str {
        self.open.last().and_then(|element| element.language.as_deref()).unwrap_or(self.language)
    }

    fn other_than_ours(&self, language: &str) -> Option<String> {
        (!language.eq_ignore_ascii_case(self.language)).then(|| language.to_owned())
    }

    /// Begins a new run where the manner or the language is another.
    fn tune(&mut self) {
        let now = self.open.last().map(|element| (element.manner, element.language.clone())).unwrap_or_default();
        if self.of != now {
            self.flush();
            self.of = now;
        }
    }

    fn flush(&mut self) {
        let spoken = std::mem::replace(&mut self.run, Spoken::nothing());
        if is_speakable(spoken.text()) {
            let (manner, language) = self.of.clone();
            self.pieces.push(Piece::Say(Run { spoken, language, manner }));
        }
    }

    fn boundary(&mut self) {
        self.flush();
        if matches!(self.pieces.last(), Some(Piece::Say(_))) {
            self.pieces.push(Piece::Boundary);
        }
    }

    fn pause(&mut self, length: Millis) {
        if self.silent() {
            return;
        }
        self.flush();
        let length = length.min(MAX_BREAKS - self.breaks);
        self.breaks += length;
        match self.pieces.last_mut() {
            Some(Piece::Pause(so_far)) => *so_far += length,
            // Who wrote a pause knows how long it is to be.
            Some(last @ Piece::Boundary) => *last = Piece::Pause(length),
            _ => self.pieces.push(Piece::Pause(length)),
        }
    }

    fn silent(&self) -> bool {
        self.open.last().is_some_and(|element| element.silent)
    }
}

/// The language of an element, if it names one.
fn spoken_language(at: usize, tag: &Tag) -> Result<Option<&str>, SpeechError> {
    let Some(language) = tag.attribute("xml:lang") else { return Ok(None) };
    let part = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_alphanumeric());
    if language.len() > 35 || !language.split('-').all(part) {
        let what = format!(
            "`xml:lang` of `{}` cannot be `{}`; write for example `fr` or `en-GB`",
            tag.name,
            shorten(language)
        );
        return Err(bad(at, &what));
    }
    Ok(Some(language))
}

fn interpretation(at: usize, tag: &Tag) -> Result<(SayAs, Option<DateOrder>), SpeechError> {
    let how = tag.attribute("interpret-as").ok_or_else(|| bad(at, "`say-as` needs `interpret-as`"))?;
    let read = SayAs::named(how).ok_or_else(|| bad(at, &format!("`say-as` cannot be `{}`", shorten(how))))?;
    if how != "date" {
        return Ok((read, None));
    }
    let formats = ["dmy", "mdy", "ymd", "dm", "md", "my", "ym", "y", "m", "d"];
    let order = named(at, tag, "format", &formats)?.and_then(|format| match format {
        "dmy" => Some(DateOrder::DayMonthYear),
        "mdy" => Some(DateOrder::MonthDayYear),
        "ymd" => Some(DateOrder::YearMonthDay),
        // What is not a whole date is read as plain text is.
        _ => None,
    });
    Ok((read, order))
}

/// A date of three numbers, written so that it can be read in one way only; any
/// other text as it is.
fn iso_date(text: &str, order: DateOrder) -> String {
    let numbers: Vec<u32> = text
        .trim()
        .split(['-', '/', '.', ' '])
        .map_while(|part| if part.len() <= 4 { part.parse().ok() } else { None })
        .collect();
    let &[first, second, third] = numbers.as_slice() else { return text.to_owned() };
    let (year, month, day) = match order {
        DateOrder::DayMonthYear => (third, second, first),
        DateOrder::MonthDayYear => (third, first, second),
        DateOrder::YearMonthDay => (first, second, third),
    };
    if !(1_000..=9_999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return text.to_owned();
    }
    format!("{year:04}-{month:02}-{day:02}")
}

fn rate(at: usize, tag: &Tag) -> Result<u32, SpeechError> {
    let names = [("x-slow", 50), ("slow", 75), ("medium", 100), ("default", 100), ("fast", 125), ("x-fast", 160)];
    Ok(percent(at, tag, "rate", &names)?.unwrap_or(100).clamp(*RATES.start(), *RATES.end()))
}

fn pitch(at: usize, tag: &Tag) -> Result<u16, SpeechError> {
    let names = [("x-low", 70), ("low", 85), ("medium", 100), ("default", 100), ("high", 115), ("x-high", 135)];
    let pitch = percent(at, tag, "pitch", &names)?.unwrap_or(100);
    Ok(u16::try_from(pitch).unwrap_or(u16::MAX).clamp(*PITCHES.start(), *PITCHES.end()))
}

/// Tenths of a decibel: by name, or `+6dB`.
fn volume(at: usize, tag: &Tag) -> Result<Option<i32>, SpeechError> {
    let names: [(&'static str, Option<i32>); 7] = [
        ("silent", None),
        ("x-soft", Some(-120)),
        ("soft", Some(-60)),
        ("medium", Some(0)),
        ("default", Some(0)),
        ("loud", Some(40)),
        ("x-loud", Some(80)),
    ];
    let Some(value) = tag.attribute("volume") else { return Ok(Some(0)) };
    if let Some((_, volume)) = names.iter().find(|(name, _)| *name == value) {
        return Ok(*volume);
    }
    let decibels = value.strip_suffix("dB").filter(|number| number.starts_with(['+', '-'])).and_then(decimal);
    match decibels {
        #[allow(clippy::cast_possible_truncation, reason = "clamped first")]
        Some(decibels) => Ok(Some((decibels * 10.0).round().clamp(-400.0, 120.0) as i32)),
        None => Err(unknown_value(at, tag, "volume", value, &names.map(|(name, _)| name))),
    }
}

/// A number with at most three figures on either side of the point.
fn decimal(number: &str) -> Option<f64> {
    let digits = number.trim_start_matches(['+', '-']);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let good = |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
    (number.len() - digits.len() <= 1 && good(whole) && good(fraction)).then(|| number.parse().ok())?
}

fn pause(at: usize, tag: &Tag) -> Result<Millis, SpeechError> {
    let strengths =
        [("none", 0), ("x-weak", 100), ("weak", 200), ("medium", 400), ("strong", 700), ("x-strong", 1_000)];
    if let Some(time) = tag.attribute("time") {
        let length = milliseconds(time)
            .ok_or_else(|| bad(at, &format!("`break` cannot last `{}`; write `500ms` or `1.5s`", shorten(time))))?;
        return Ok(length.min(MAX_BREAK));
    }
    let names = strengths.map(|(name, _)| name);
    let name = named(at, tag, "strength", &names)?.unwrap_or("medium");
    Ok(strengths.iter().find(|(strength, _)| *strength == name).map_or(0, |(_, length)| *length))
}

/// `500ms`, `1.5s`; at most three digits after the point.
fn milliseconds(time: &str) -> Option<Millis> {
    let (number, unit) = match time.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (time.strip_suffix('s')?, 1_000),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 9 && text.bytes().all(|c| c.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let thousandths = format!("{fraction:0<3}").parse::<u64>().ok()?;
    let exact = (whole.parse::<u64>().ok()? * 1_000 + thousandths) * unit / 1_000;
    Some(Millis::try_from(exact).unwrap_or(Millis::MAX))
}

fn named(at: usize, tag: &Tag, attribute: &str, names: &[&'static str]) -> Result<Option<&'static str>, SpeechError> {
    let Some(value) = tag.attribute(attribute) else { return Ok(None) };
    match names.iter().find(|name| **name == value) {
        Some(name) => Ok(Some(name)),
        None => Err(unknown_value(at, tag, attribute, value, names)),
    }
}

/// A name, `120%`, `+20%` or `-20%`; in percent of the usual.
fn percent(at: usize, tag: &Tag, attribute: &str, names: &[(&str, u32)]) -> Result<Option<u32>, SpeechError> {
    let Some(value) = tag.attribute(attribute) else { return Ok(None) };
    if let Some((_, percent)) = names.iter().find(|(name, _)| *name == value) {
        return Ok(Some(*percent));
    }
    let number = value.strip_suffix('%').and_then(decimal);
    let percent = number.map(|number| if value.starts_with(['+', '-']) { 100.0 + number } else { number });
    match percent {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped first")]
        Some(percent) => Ok(Some(percent.round().clamp(0.0, 100_000.0) as u32)),
        None => {
            let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            Err(unknown_value(at, tag, attribute, value, &names))
        }
    }
}

fn unknown_value(at: usize, tag: &Tag, attribute: &str, value: &str, names: &[&str]) -> SpeechError {
    let value = shorten(value);
    bad(at, &format!("`{attribute}` of `{}` cannot be `{value}`; known: {}", tag.name, names.join(", ")))
}

fn bad(at: usize, what: &str) -> SpeechError {
    SpeechError::BadSsml { at, what: what.to_owned() }
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use callbox_dialogue::engine::{places_without_tags, without_tags};
    use proptest::prelude::*;

    /// The pieces of a document, written down: words, `(400)` for a pause, `|` for a boundary, and before words what is
    /// not usual about them.
    fn shown(text: &str) -> String {
        let pieces = read(&format!("<speak>{text}</speak>"), "en").unwrap();
        let piece = |piece: &Piece| match piece {
            Piece::Pause(length) => format!("({length})"),
            Piece::Boundary => "|".to_owned(),
            Piece::Say(Run { spoken, language, manner }) => {
                let usual = Manner::default();
                let mut shown = language.as_ref().map_or_else(String::new, |language| format!("{language}:"));
                if manner.rate != usual.rate {
                    shown.push_str(&format!("rate {}:", manner.rate));
                }
                if manner.pitch != usual.pitch {
                    shown.push_str(&format!("pitch {}:", manner.pitch));
                }
                match manner.volume {
                    Some(0) => {}
                    Some(volume) => shown.push_str(&format!("volume {volume}:")),
                    None => shown.push_str("silent:"),
                }
                shown + spoken.text()
            }
        };
        pieces.iter().map(piece).collect::<Vec<_>>().join(";")
    }

    #[test]
    fn becomes_words_pauses_and_boundaries() {
        for (written, pieces) in [
            ("Hello.", "Hello."),
            ("It costs $5.", "It costs five dollars."),
            ("a\n\t b", "a   b"),
            ("<p>One.</p><s>Two.</s>", "One.;|;Two.;|"),
            ("<p><s>One.</s> <s>Two.</s></p>", "One.;|;Two.;|"),
            ("a<break/>b", "a;(400);b"),
            ("a<break time='1.5s'/>b", "a;(1500);b"),
            ("a<break time=\"250ms\" strength=\"strong\"></break>b", "a;(250);b"),
            ("a<break time=\"1s\"/> <break strength='none'/><break time='2s'/>b", "a;(3000);b"),
            ("<s>a</s><break time='100ms'/><s>b</s>", "a;(100);b;|"),
            ("<s>a</s><break strength='none'/><s>b</s>", "a;(0);b;|"),
            ("a<break time=\"9000s\"/>b", "a;(10000);b"),
            ("<break time=\"2s\"/> <p><break time=\"500ms\"/>Hi</p>", "(2500);Hi;|"),
            ("now <emphasis>now</emphasis>", "now ;rate 95:pitch 103:volume 20:now"),
            ("<emphasis level='reduced'>x</emphasis>", "volume -30:x"),
            ("<prosody rate=\"slow\" pitch=\"+10%\" volume=\"loud\">x</prosody>", "rate 75:pitch 110:volume 40:x"),
            (
                "<prosody rate=\"50%\">x<prosody rate=\"50%\" volume=\"-6dB\">y</prosody></prosody>",
                "rate 50:x;rate 25:volume -60:y",
            ),
            ("<prosody rate=\"9999%\">x</prosody>", "rate 400:x"),
            ("<prosody rate=\"-20%\" pitch=\"-90.5%\">x</prosody>", "rate 80:pitch 50:x"),
            ("<prosody volume=\"silent\">x</prosody>", "silent:x"),
            ("<say-as interpret-as=\"digits\">1024</say-as>", "one zero two four"),
            ("<say-as interpret-as=\"characters\">AB1</say-as>", "A, B one"),
            ("<say-as interpret-as=\"ordinal\">3</say-as>", "third"),
            ("<say-as interpret-as=\"cardinal\">1024</say-as>", "one thousand and twenty-four"),
            ("<say-as interpret-as=\"telephone\">555-0199</say-as>", "five five five, zero one nine nine"),
            ("<say-as interpret-as=\"currency\">$3.50</say-as>", "three dollars and fifty cents"),
            ("<say-as interpret-as=\"time\">14:30</say-as>", "fourteen thirty"),
            (
                "<say-as interpret-as=\"date\" format=\"ymd\">2026-11-21</say-as>",
                "the twenty-first of November, twenty twenty-six",
            ),
            ("<say-as interpret-as=\"date\" format=\"mdy\">4/5/2026</say-as>", "the fifth of April, twenty twenty-six"),
            ("<say-as interpret-as=\"date\" format=\"dmy\">4.5.2026</say-as>", "the fourth of May, twenty twenty-six"),
            ("<sub alias=\"World Health Organization\">WHO<break/></sub>!", "World Health Organization!"),
            ("say <lang xml:lang=\"fr\">bonjour</lang> now", "say ;fr:bonjour; now"),
            ("<lang xml:lang=\"EN\">same</lang>", "same"),
            ("<s xml:lang=\"de\">Hallo</s> you", "de:Hallo;|; you"),
            ("a <mark name=\"here\"/>b", "a b"),
            ("a &lt;b&gt; &amp;amp; &#65;&#x42;", "a <b> and amp; AB"),
            ("a<!-- <audio/> -->b", "ab"),
            (" . ", ""),
        ] {
            assert_eq!(shown(written), pieces, "{written}");
        }
        let long = "<break time=\"10s\"/>".repeat(100);
        assert_eq!(shown(&long), format!("({MAX_BREAKS})"));
        assert_eq!(read("<speak/>", "en"), Ok(Vec::new()));
    }

    #[test]
    fn remembers_where_words_come_from() {
        let text = "<speak>A &lt;B&gt; costs <say-as interpret-as=\"cardinal\">12</say-as> \
            <sub alias=\"or so much\">euro</sub>, &amp; <emphasis>more</emphasis> now.</speak>";
        let (plain, places) = (without_tags(text), places_without_tags(text));
        let mut said = Vec::new();
        for piece in read(text, "en").unwrap() {
            let Piece::Say(run) = piece else { continue };
            let words = run.spoken.words(0..run.spoken.text().len());
            said.extend(words.into_iter().map(|word| plain[..places[word.source_end] as usize].trim_end().to_owned()));
        }
        // An entity's mark is taken for a part of the word before it.
        let mut want = vec!["A &lt;".to_owned(), "A &lt;B&gt;".to_owned()];
        for word in ["costs", "12", "euro,", "&amp;", "more", "now."] {
            want.push(format!("{} {word}", want[want.len() - 1]));
        }
        assert_eq!(said, want);
    }

    #[test]
    fn takes_a_whole_document() {
        let text = "\u{feff}<?xml version=\"1.0\"?>\n<!-- hi -->\n<speak version=\"1.1\" xmlns=\"http://www.w3.org/2001/10/synthesis\" xml:lang=\"en-US\">Hello.</speak>\n";
        let pieces = read(text, "en").unwrap();
        assert!(matches!(&pieces[..], [Piece::Say(run)] if run.spoken.text() == "Hello."), "{pieces:?}");
    }
    #[test]
    fn says_where_it_is_wrong() {
        for (text, at, what) in [
            ("", 0, "no element"),
            ("hello", 0, "outside of `speak`"),
            ("<p>x</p>", 0, "`speak` must hold"),
            ("<speak>x</speak><speak/>", 16, "`speak` must hold"),
            ("<speak>x", 8, "`speak` is not closed"),
            ("<speak><p>x</speak>", 11, "closed where `p` is open"),
            ("<speak></p></speak>", 7, "closed where `speak` is open"),
            ("<speak></speak></speak>", 15, "not open"),
            ("<speak><audio src=\"/etc/passwd\"/></speak>", 7, "`audio` is not read here"),
            ("<speak><voice name=\"x\">y</voice></speak>", 7, "`voice` is not read here"),
            ("<speak><break time=\"soon\"/></speak>", 7, "cannot last `soon`"),
            ("<speak><break time=\"-1s\"/></speak>", 7, "cannot last `-1s`"),
            ("<speak><prosody rate=\"1e9%\">x</prosody></speak>", 7, "cannot be `1e9%`"),
            ("<speak><prosody volume=\"6dB\">x</prosody></speak>", 7, "cannot be"),
            ("<speak><say-as>x</say-as></speak>", 7, "needs `interpret-as`"),
            ("<speak><say-as interpret-as=\"song\">x</say-as></speak>", 7, "cannot be `song`"),
            ("<speak><sub>x</sub></speak>", 7, "needs `alias`"),
            ("<speak>Hi <lang>x</lang></speak>", 10, "`lang` needs `xml:lang`"),
            ("<speak><lang xml:lang=\"no such\">x</lang></speak>", 7, "cannot be `no such`"),
            ("<speak><mark/></speak>", 7, "needs `name`"),
            ("<speak><say-as interpret-as=\"date\" format=\"dutch\">x</say-as></speak>", 7, "`format` of `say-as`"),
            ("<!DOCTYPE speak><speak/>", 0, "no document type"),
            ("<speak>&unknown;</speak>", 7, "unknown entity"),
            ("<speak a=b/>", 9, "quotation mark"),
            ("<speak", 6, "ends in the middle"),
            ("<speak><break time=\"1s\" time=\"2s\"/></speak>", 24, "twice"),
        ] {
            match read(text, "en") {
                Err(SpeechError::BadSsml { at: place, what: words }) => {
                    assert!(place == at && words.contains(what), "{text}: {place} {words}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        let deep = format!("<speak>{}{}</speak>", "<p>".repeat(100), "</p>".repeat(100));
        assert!(read(&deep, "en").unwrap_err().to_string().contains("deeper than 16"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn takes_anything(
            parts in prop::collection::vec(prop_oneof![
                Just("<speak>"), Just("</speak>"), Just("<p>"), Just("</p>"), Just("<s>"), Just("</s>"),
                Just("<break time='1s'/>"), Just("<break/>"), Just("<emphasis>"), Just("</emphasis>"),
                Just("<prosody rate='fast'>"), Just("</prosody>"), Just("<sub alias='x y'>"), Just("</sub>"),
                Just("<say-as interpret-as='digits'>"), Just("</say-as>"), Just("text 5 "), Just("&lt;"), Just("<"),
                Just(">"), Just("&"), Just("<!--"), Just("-->"), Just("<?x?>"), Just("'"), Just("\""), Just("\u{1}"),
                Just("你好"), Just("<audio/>"), Just("<lang xml:lang='zh'>"), Just("</lang>"), Just("&#20320;"),
            ], 0..16),
            whole in any::<bool>(),
        ) {
            let text = if whole { format!("<speak>{}</speak>", parts.concat()) } else { parts.concat() };
            crate::fuzz::ssml(text.as_bytes());
        }
    }
}
