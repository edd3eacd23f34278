//! SSML from scripts: a small part of SSML 1.1, read strictly and written anew.
//!
//! No byte of a script's markup reaches an engine. What is understood is
//! checked and written again with values within bounds; text is normalised
//! like any other. Everything else is an error that names it: an engine would
//! drop it in silence, or, for `<audio>`, open files and run programs.
//!
//! | element | attributes |
//! |---|---|
//! | `speak` | the root; its attributes are ignored |
//! | `p`, `s` | |
//! | `break` | `time` (`500ms`, `1.5s`, at most 10 s), `strength` |
//! | `prosody` | `rate` and `pitch` (names, or percentages), `volume` (names) |
//! | `emphasis` | `level` |
//! | `say-as` | `interpret-as`: `characters`, `digits`, `telephone`, `cardinal`, `ordinal`; `date`, `time`, `currency` and the like are read as plain text is |
//! | `sub` | `alias` |
//! | `mark` | is passed over |

mod xml;

use crate::error::SpeechError;
use crate::normalise::{SayAs, normalise, say_as};
use crate::sentences::is_speakable;
use callbox_dialogue::time::Millis;
use std::fmt::Write as _;
use xml::{Event, Reader, Tag};

/// Elements inside of each other.
const MAX_DEPTH: usize = 16;
/// Longest pause of one `break`.
const MAX_BREAK: Millis = 10_000;
/// All pauses of a document.
const MAX_BREAKS: Millis = 60_000;
/// Percent of the usual rate.
const RATES: std::ops::RangeInclusive<u32> = 25..=400;
/// Percent of the usual pitch.
const PITCHES: std::ops::RangeInclusive<u32> = 50..=200;

/// A document in the words of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Silence before the first word, which engines leave out.
    pub lead: Millis,
    /// The markup; empty where nothing is to be said.
    pub markup: String,
}

/// Reads SSML in a language (BCP 47) and writes it anew.
///
/// # Errors
/// `BadSsml`: not well-formed, or something that is not in the table above,
/// with its place.
pub fn rewrite(text: &str, language: &str) -> Result<Document, SpeechError> {
    let mut writer =
        Writer { language, open: Vec::new(), out: String::from("<speak>"), lead: 0, breaks: 0, said: false };
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
                    writer.open.push(Element::new("speak"));
                }
            }
            Event::Open(tag) => writer.open(at, &tag)?,
            Event::Close(name) => writer.close(at, &name)?,
            Event::Text(text) if writer.open.is_empty() => {
                if !text.trim().is_empty() {
                    return Err(bad(at, "text outside of `speak`"));
                }
            }
            Event::Text(text) => writer.text(&text),
        }
    }
    if !rooted {
        return Err(bad(text.len(), "no element `speak`"));
    }
    if let Some(element) = writer.open.last() {
        return Err(bad(text.len(), &format!("`{}` is not closed", element.name)));
    }
    writer.out.push_str("</speak>");
    let markup = if writer.said { writer.out } else { String::new() };
    Ok(Document { lead: writer.lead, markup })
}

/// An element that is open.
struct Element {
    name: &'static str,
    /// How its text is read.
    say_as: Option<SayAs>,
    /// Its text is replaced by something else.
    silent: bool,
}

impl Element {
    const fn new(name: &'static str) -> Self {
        Self { name, say_as: None, silent: false }
    }
}

struct Writer<'a> {
    language: &'a str,
    open: Vec<Element>,
    out: String,
    lead: Millis,
    breaks: Millis,
    /// Something was said.
    said: bool,
}

impl Writer<'_> {
    fn open(&mut self, at: usize, tag: &Tag) -> Result<(), SpeechError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(bad(at, &format!("elements are nested deeper than {MAX_DEPTH}")));
        }
        let mut element = Element::new("");
        let mut attributes = String::new();
        match tag.name.as_str() {
            "p" => element.name = "p",
            "s" => element.name = "s",
            "break" => {
                element.name = "break";
                self.pause(pause(at, tag)?);
            }
            "mark" => element.name = "mark",
            "emphasis" => {
                element.name = "emphasis";
                let levels = ["strong", "moderate", "reduced", "none"];
                let level = named(at, tag, "level", &levels)?.unwrap_or("moderate");
                let _ = write!(attributes, " level=\"{level}\"");
            }
            "prosody" => {
                element.name = "prosody";
                let rates = ["x-slow", "slow", "medium", "fast", "x-fast", "default"];
                let pitches = ["x-low", "low", "medium", "high", "x-high", "default"];
                let volumes = ["silent", "x-soft", "soft", "medium", "loud", "x-loud", "default"];
                if let Some(rate) = named_or_percent(at, tag, "rate", &rates, &RATES)? {
                    let _ = write!(attributes, " rate=\"{rate}\"");
                }
                if let Some(pitch) = named_or_percent(at, tag, "pitch", &pitches, &PITCHES)? {
                    let _ = write!(attributes, " pitch=\"{pitch}\"");
                }
                if let Some(volume) = named(at, tag, "volume", &volumes)? {
                    let _ = write!(attributes, " volume=\"{volume}\"");
                }
            }
            "say-as" => {
                element.name = "say-as";
                let how = tag.attribute("interpret-as").ok_or_else(|| bad(at, "`say-as` needs `interpret-as`"))?;
                element.say_as =
                    Some(SayAs::named(how).ok_or_else(|| bad(at, &format!("`say-as` cannot be `{}`", shorten(how))))?);
            }
            "sub" => {
                element.name = "sub";
                let alias = tag.attribute("alias").ok_or_else(|| bad(at, "`sub` needs `alias`"))?.to_owned();
                self.text(&alias);
                element.silent = true;
            }
            other => {
                let known = "p, s, break, prosody, emphasis, say-as, sub, mark";
                return Err(bad(at, &format!("the element `{}` is not read here; {known} are", shorten(other))));
            }
        }
        if matches!(element.name, "p" | "s" | "emphasis" | "prosody") && !self.silent() {
            let _ = write!(self.out, "<{}{attributes}{}>", element.name, if tag.empty { "/" } else { "" });
        }
        if !tag.empty {
            self.open.push(element);
        }
        Ok(())
    }

    fn close(&mut self, at: usize, name: &str) -> Result<(), SpeechError> {
        match self.open.pop() {
            Some(element) if element.name == name => {
                if matches!(element.name, "p" | "s" | "emphasis" | "prosody") && !self.silent() {
                    let _ = write!(self.out, "</{}>", element.name);
                }
                Ok(())
            }
            Some(element) => Err(bad(at, &format!("`{}` is closed where `{}` is open", shorten(name), element.name))),
            None => Err(bad(at, &format!("`{}` is closed and not open", shorten(name)))),
        }
    }

    fn text(&mut self, text: &str) {
        if self.silent() {
            return;
        }
        let said = match self.open.iter().rev().find_map(|element| element.say_as) {
            Some(how) => say_as(text, how, self.language),
            None => normalise(text, self.language).text().to_owned(),
        };
        self.said = self.said || is_speakable(&said);
        let mut space = self.out.ends_with(' ');
        for c in said.chars() {
            let blank = c.is_whitespace() || c.is_control();
            if blank && space {
                continue;
            }
            space = blank;
            match c {
                _ if blank => self.out.push(' '),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '&' => self.out.push_str("&amp;"),
                c => self.out.push(c),
            }
        }
    }

    fn pause(&mut self, length: Millis) {
        let length = length.min(MAX_BREAKS - self.breaks);
        if self.silent() || length == 0 {
            return;
        }
        self.breaks += length;
        if self.said {
            let _ = write!(self.out, "<break time=\"{length}ms\"/>");
        } else {
            self.lead += length;
        }
    }

    fn silent(&self) -> bool {
        self.open.iter().any(|element| element.silent)
    }
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

/// A name, `120%`, `+20%` or `-20%`; the percentage of the usual.
fn named_or_percent(
    at: usize,
    tag: &Tag,
    attribute: &str,
    names: &[&'static str],
    bounds: &std::ops::RangeInclusive<u32>,
) -> Result<Option<String>, SpeechError> {
    let Some(value) = tag.attribute(attribute) else { return Ok(None) };
    if let Some(name) = names.iter().find(|name| **name == value) {
        return Ok(Some((*name).to_owned()));
    }
    let percent = value.strip_suffix('%').and_then(|number| {
        let number = number.split_once('.').map_or(number, |(whole, _)| whole);
        match number.strip_prefix(['+', '-']) {
            Some(change) if change.len() <= 4 => {
                let change = change.parse::<u32>().ok()?;
                Some(if number.starts_with('+') { 100 + change } else { 100_u32.saturating_sub(change) })
            }
            _ => number.parse::<u32>().ok(),
        }
    });
    match percent {
        // Engines take a percentage of the rate, and a change of the pitch.
        Some(percent) => {
            let percent = percent.clamp(*bounds.start(), *bounds.end());
            Ok(Some(if attribute == "rate" {
                format!("{percent}%")
            } else if percent >= 100 {
                format!("+{}%", percent - 100)
            } else {
                format!("-{}%", 100 - percent)
            }))
        }
        None => Err(unknown_value(at, tag, attribute, value, names)),
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
    use proptest::prelude::*;

    fn markup(text: &str) -> String {
        rewrite(&format!("<speak>{text}</speak>"), "en").unwrap().markup
    }

    #[test]
    fn writes_what_it_knows_anew() {
        for (written, anew) in [
            ("Hello.", "Hello."),
            ("It costs $5.", "It costs five dollars."),
            ("a\n  \t b", "a b"),
            ("<p>One.</p><s>Two.</s>", "<p>One.</p><s>Two.</s>"),
            ("a<break/>b", "a<break time=\"400ms\"/>b"),
            ("a<break time='1.5s'/>b", "a<break time=\"1500ms\"/>b"),
            ("a<break time=\"250ms\" strength=\"strong\"></break>b", "a<break time=\"250ms\"/>b"),
            ("a<break strength=\"x-strong\"/>b", "a<break time=\"1000ms\"/>b"),
            ("a<break time=\"9000s\"/>b", "a<break time=\"10000ms\"/>b"),
            ("<emphasis>now</emphasis>", "<emphasis level=\"moderate\">now</emphasis>"),
            (
                "<prosody rate=\"slow\" pitch=\"+10%\" volume=\"loud\">x</prosody>",
                "<prosody rate=\"slow\" pitch=\"+10%\" volume=\"loud\">x</prosody>",
            ),
            ("<prosody rate=\"9999%\">x</prosody>", "<prosody rate=\"400%\">x</prosody>"),
            ("<prosody rate=\"-20%\" pitch=\"-90.5%\">x</prosody>", "<prosody rate=\"80%\" pitch=\"-50%\">x</prosody>"),
            ("<say-as interpret-as=\"digits\">1024</say-as>", "one zero two four"),
            ("<say-as interpret-as=\"characters\">AB1</say-as>", "A, B one"),
            ("<say-as interpret-as=\"ordinal\">3</say-as>", "third"),
            (
                "<say-as interpret-as=\"date\" format=\"ymd\">2026-11-21</say-as>",
                "the twenty-first of November, twenty twenty-six",
            ),
            ("<sub alias=\"World Health Organization\">WHO<break/></sub>!", "World Health Organization!"),
            ("a <mark name=\"here\"/>b", "a b"),
            ("a &lt;b&gt; &amp;amp; &#65;&#x42;", "a &lt;b&gt; and amp; AB"),
            ("a<!-- <audio/> -->b", "ab"),
        ] {
            assert_eq!(markup(written), format!("<speak>{anew}</speak>"), "{written}");
        }
    }

    #[test]
    fn keeps_the_silence_before_the_first_word() {
        let document = rewrite("<speak><break time=\"2s\"/> <p><break time=\"500ms\"/>Hi</p></speak>", "en").unwrap();
        assert_eq!((document.lead, document.markup.as_str()), (2_500, "<speak> <p>Hi</p></speak>"));
        let nothing = Document { lead: 1_000, markup: String::new() };
        assert_eq!(rewrite("<speak> <break time=\"1s\"/> . </speak>", "en"), Ok(nothing));
        assert_eq!(rewrite("<speak/>", "en"), Ok(Document { lead: 0, markup: String::new() }));
        let long = format!("<speak>{}</speak>", "<break time=\"10s\"/>".repeat(100));
        assert_eq!(rewrite(&long, "en").unwrap().lead, MAX_BREAKS);
    }

    #[test]
    fn takes_a_whole_document() {
        let text = "\u{feff}<?xml version=\"1.0\"?>\n<!-- hi -->\n<speak version=\"1.1\" xmlns=\"http://www.w3.org/2001/10/synthesis\" xml:lang=\"en-US\">Hello.</speak>\n";
        assert_eq!(rewrite(text, "en").unwrap().markup, "<speak>Hello.</speak>");
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
            ("<speak><prosody volume=\"+600dB\">x</prosody></speak>", 7, "cannot be"),
            ("<speak><say-as>x</say-as></speak>", 7, "needs `interpret-as`"),
            ("<speak><say-as interpret-as=\"song\">x</say-as></speak>", 7, "cannot be `song`"),
            ("<speak><sub>x</sub></speak>", 7, "needs `alias`"),
            ("<!DOCTYPE speak><speak/>", 0, "no document type"),
            ("<speak>&unknown;</speak>", 7, "unknown entity"),
            ("<speak a=b/>", 9, "quotation mark"),
            ("<speak", 6, "ends in the middle"),
            ("<speak><break time=\"1s\" time=\"2s\"/></speak>", 24, "twice"),
        ] {
            match rewrite(text, "en") {
                Err(SpeechError::BadSsml { at: place, what: words }) => {
                    assert!(place == at && words.contains(what), "{text}: {place} {words}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        let deep = format!("<speak>{}{}</speak>", "<p>".repeat(100), "</p>".repeat(100));
        assert!(rewrite(&deep, "en").unwrap_err().to_string().contains("deeper than 16"));
    }

    #[test]
    fn lets_no_command_through() {
        let text = "<speak>a&#1;80S b \u{7f} [[x]] &#60;audio src=&#34;x&#34;/&#62;</speak>";
        let markup = rewrite(text, "zz").unwrap().markup;
        assert!(!markup.chars().any(char::is_control));
        assert!(!markup.contains("<audio"), "{markup}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn writes_only_what_it_may(
            parts in prop::collection::vec(prop_oneof![
                Just("<speak>"), Just("</speak>"), Just("<p>"), Just("</p>"), Just("<s>"), Just("</s>"),
                Just("<break time='1s'/>"), Just("<break/>"), Just("<emphasis>"), Just("</emphasis>"),
                Just("<prosody rate='fast'>"), Just("</prosody>"), Just("<sub alias='x y'>"), Just("</sub>"),
                Just("<say-as interpret-as='digits'>"), Just("</say-as>"), Just("text 5 "), Just("&lt;"), Just("<"),
                Just(">"), Just("&"), Just("<!--"), Just("-->"), Just("<?x?>"), Just("'"), Just("\""), Just("\u{1}"),
                Just("你好"), Just("<audio/>"),
            ], 0..16),
            whole in any::<bool>(),
        ) {
            let text = if whole { format!("<speak>{}</speak>", parts.concat()) } else { parts.concat() };
            if let Ok(Document { markup, lead }) = rewrite(&text, "en") {
                prop_assert!(lead <= MAX_BREAKS);
                // What it writes it can read, and writes the same again.
                if !markup.is_empty() {
                    prop_assert_eq!(rewrite(&markup, "en").unwrap().markup, markup);
                }
            }
        }
    }
}
