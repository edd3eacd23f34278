//! From written text to words: numbers, dates, times, money and the like, in
//! English and Mandarin, before any engine sees them.
//!
//! Engines differ in what they make of `$1,234.56` or `400-800-1234`, and are
//! mostly wrong; here it is done once, by rules
//! that can be tested. The rules are sparing: prose without figures comes out
//! as it went in, and what no rule knows is passed on. Other languages pass
//! untouched.
//!
//! A [`Spoken`] text remembers where each part of it comes from, so that the
//! times of spoken words become places in the text that the script wrote.

mod english;
mod english_dates;
mod english_names;
mod english_numbers;
mod mandarin;
mod mandarin_numbers;
mod scan;

use scan::Source;
use std::ops::Range;

/// Text as it is to be spoken, with its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    text: String,
    /// Ascending and without gaps, in both texts.
    pieces: Vec<Piece>,
}

/// A part of the spoken text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    spoken_end: usize,
    source_end: usize,
    /// Byte for byte what was written.
    verbatim: bool,
}

/// What a rule reads at a place.
struct Reading {
    /// Where the reading goes on, in characters.
    end: usize,
    words: String,
}

/// A word, or a Chinese character, with what stands for it in the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Where it ends in the source, with its punctuation, in bytes.
    pub source_end: usize,
    /// How long it takes to say, relative to the others.
    pub weight: u32,
    /// How long the pause after it is, in the same measure.
    pub pause: u32,
}

/// Makes words of `text`, by the rules of `language` (BCP 47).
#[must_use]
pub fn normalise(text: &str, language: &str) -> Spoken {
    let mut tags = language.split(['-', '_']);
    let first = tags.next().unwrap_or_default().to_ascii_lowercase();
    // Without anything to read, there is nothing to copy either.
    match first.as_str() {
        "en" => {
            let american = tags.any(|tag| tag.eq_ignore_ascii_case("us") || tag.eq_ignore_ascii_case("ph"));
            let source = Source::new(text);
            write(text, &source, true, |at| english::read(&source, at, american))
        }
        "zh" | "cmn" => {
            let source = Source::new(text);
            write(text, &source, false, |at| mandarin::read(&source, at))
        }
        _ => Spoken::verbatim(text),
    }
}

/// How a text is to be read (`say-as` of SSML).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SayAs {
    /// By the rules.
    Text,
    /// Character by character.
    Characters,
    /// Figure by figure.
    Digits,
    /// Figure by figure, as telephone numbers are.
    Telephone,
    /// As a quantity, whatever it looks like.
    Cardinal,
    /// As a rank.
    Ordinal,
}

impl SayAs {
    /// By the name that SSML and its users have for it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "characters" | "spell-out" | "verbatim" => Self::Characters,
            "digits" => Self::Digits,
            "telephone" => Self::Telephone,
            "cardinal" | "number" => Self::Cardinal,
            "ordinal" => Self::Ordinal,
            "date" | "time" | "currency" | "unit" | "fraction" | "address" => Self::Text,
            _ => return None,
        })
    }
}

/// Reads a text in a given way. Without rules for the language it stays as it
/// is, with its characters apart where that was asked for.
#[must_use]
pub fn say_as(text: &str, how: SayAs, language: &str) -> String {
    let first = language.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    let english = first == "en";
    let mandarin = first == "zh" || first == "cmn";
    let source = Source::new(text);
    let number = || {
        let start = (0..source.len()).find(|&at| source.at(at) != ' ')?;
        let numeral = source.numeral(start)?;
        let rest = source.text(numeral.end, source.len());
        (rest.trim().is_empty() && numeral.whole.len() <= 15).then_some(numeral)
    };
    let one_by_one = |digit: fn(&str) -> String| {
        let mut words: Vec<String> = Vec::new();
        for c in (0..source.len()).map(|at| source.at(at)) {
            if c.is_ascii_digit() {
                words.push(digit(&c.to_string()));
            } else if c.is_alphanumeric() {
                // "A one" is heard as "a one".
                let spelled = c.to_uppercase().to_string();
                words.push(if english && spelled == "A" { "A,".to_owned() } else { spelled });
            } else if matches!(c, '.' | '-' | '/' | '(' | ')') {
                words.push(",".to_owned());
            }
        }
        let words = words.join(" ").replace(" ,", ",");
        words.trim_matches([' ', ',']).to_owned()
    };
    match how {
        SayAs::Characters | SayAs::Digits | SayAs::Telephone if english => one_by_one(english_numbers::digits),
        SayAs::Telephone if mandarin => one_by_one(mandarin_numbers::telephone),
        SayAs::Characters | SayAs::Digits if mandarin => one_by_one(mandarin_numbers::digits),
        SayAs::Characters | SayAs::Digits | SayAs::Telephone => one_by_one(str::to_owned),
        SayAs::Cardinal | SayAs::Ordinal => match number() {
            Some(numeral) if english => {
                let american = language.to_ascii_lowercase().contains("-us");
                match (how, &numeral.fraction, numeral.whole.parse()) {
                    (SayAs::Ordinal, None, Ok(n)) => english_numbers::ordinal(n, american),
                    _ => english_numbers::number(&scan::Numeral { grouped: true, ..numeral }, american),
                }
            }
            Some(numeral) if mandarin => {
                let rank = if how == SayAs::Ordinal { "第" } else { "" };
                format!("{rank}{}", mandarin_numbers::number(&scan::Numeral { grouped: true, ..numeral }))
            }
            _ => normalise(text, language).text,
        },
        SayAs::Text => normalise(text, language).text,
    }
}

/// Copies the text, replacing what `read` reads. `spaced` languages keep words
/// apart by a space.
fn write(text: &str, source: &Source, spaced: bool, read: impl Fn(usize) -> Option<Reading>) -> Spoken {
    let mut out = Spoken { text: String::with_capacity(text.len() + text.len() / 4), pieces: Vec::new() };
    // The last thing written is a reading: what follows is kept apart from it.
    let mut apart = false;
    let mut at = 0;
    while at < source.len() {
        if let Some(reading) = read(at).filter(|reading| reading.end > at) {
            if needs_space(&out.text, &reading.words, spaced) {
                out.text.push(' ');
            }
            out.text.push_str(&reading.words);
            out.close(source.byte(reading.end), false);
            at = reading.end;
            apart = true;
        } else {
            let written = &text[source.byte(at)..source.byte(at + 1)];
            if apart && needs_space(&out.text, written, spaced) {
                out.text.push(' ');
                out.close(source.byte(at), false);
            }
            out.text.push_str(written);
            out.close(source.byte(at + 1), true);
            at += 1;
            apart = false;
        }
    }
    out
}

/// Whether two texts would run into one word.
fn needs_space(before: &str, after: &str, spaced: bool) -> bool {
    let word = |c: char| c.is_alphanumeric() && (spaced || c.is_ascii());
    before.chars().next_back().is_some_and(word) && after.chars().next().is_some_and(word)
}

impl Spoken {
    /// A text that is spoken as it is written.
    #[must_use]
    pub fn verbatim(text: &str) -> Self {
        let mut spoken = Self { text: text.to_owned(), pieces: Vec::new() };
        spoken.close(text.len(), true);
        spoken
    }

    /// The words.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Ends a piece at the end of the text so far.
    fn close(&mut self, source_end: usize, verbatim: bool) {
        let spoken_end = self.text.len();
        match self.pieces.last_mut() {
            Some(last) if last.verbatim && verbatim => {
                last.spoken_end = spoken_end;
                last.source_end = source_end;
            }
            _ if spoken_end == 0 && source_end == 0 => {}
            _ => self.pieces.push(Piece { spoken_end, source_end, verbatim }),
        }
    }

    /// A text without anything in it, for [`Spoken::add`].
    pub(crate) const fn nothing() -> Self {
        Self { text: String::new(), pieces: Vec::new() }
    }

    /// Adds a text that comes from a part of our source. `place` says where in
    /// ours a byte of its source is; it is straight but for `bends`, ascending
    /// bytes of its source.
    pub(crate) fn add(&mut self, other: &Self, place: impl Fn(usize) -> usize, bends: impl Iterator<Item = usize>) {
        self.jump(place(0));
        let mut bends = bends.peekable();
        let (mut spoken, mut source) = (0, 0);
        for piece in &other.pieces {
            while let Some(bend) = bends.next_if(|&bend| bend < piece.source_end) {
                if piece.verbatim && bend > source {
                    let end = spoken + (bend - source);
                    self.text.push_str(&other.text[spoken..end]);
                    self.close(place(bend), place(bend) - place(source) == bend - source);
                    (spoken, source) = (end, bend);
                }
            }
            self.text.push_str(&other.text[spoken..piece.spoken_end]);
            let straight = place(piece.source_end) - place(source) == piece.source_end - source;
            self.close(place(piece.source_end), piece.verbatim && straight);
            (spoken, source) = (piece.spoken_end, piece.source_end);
        }
    }

    /// Adds words that stand for the source up to a byte of it.
    pub(crate) fn add_words(&mut self, words: &str, source_end: usize) {
        self.text.push_str(words);
        self.close(source_end, false);
    }

    /// What comes next begins at a byte of the source further on.
    pub(crate) fn jump(&mut self, source: usize) {
        let last = self.pieces.last().map_or(0, |last| last.source_end);
        if source > last {
            self.pieces.push(Piece { spoken_end: self.text.len(), source_end: source, verbatim: false });
        }
    }

    /// How much of the source has been said at `spoken` bytes of the spoken
    /// text. Of something that was rewritten, nothing has been said before all
    /// of it has.
    #[must_use]
    pub fn source_at(&self, spoken: usize) -> usize {
        let index = self.pieces.partition_point(|piece| piece.spoken_end <= spoken);
        let before = index.checked_sub(1).map_or((0, 0), |i| (self.pieces[i].spoken_end, self.pieces[i].source_end));
        match self.pieces.get(index) {
            Some(piece) if piece.verbatim => before.1 + (spoken - before.0),
            _ => before.1,
        }
    }

    /// The words of a part of the spoken text, in order. A number that became
    /// many words counts as one: that is what the script wrote. Punctuation
    /// belongs to the word it touches, the earlier one where it touches two.
    #[must_use]
    pub fn words(&self, range: Range<usize>) -> Vec<Word> {
        let Some(text) = self.text.get(range.clone()) else { return Vec::new() };
        let mut words: Vec<Word> = Vec::new();
        // Whether the next letter begins a new word, and whether there was space before it.
        let (mut over, mut spaced) = (true, true);
        let mut end_of_text = 0;
        let mut index = self.pieces.partition_point(|piece| piece.spoken_end <= range.start);
        for (offset, c) in text.char_indices() {
            let start = range.start + offset;
            let end = start + c.len_utf8();
            while self.pieces.get(index).is_some_and(|piece| piece.spoken_end <= start) {
                index += 1;
                over = over || is_ideograph(c);
            }
            let Some(piece) = self.pieces.get(index) else { break };
            let (weight, pause) = weigh(c);
            let apart = piece.verbatim && (c.is_whitespace() || is_ideograph(c));
            if weight > 0 && (over || apart) {
                words.push(Word::default());
                (over, spaced) = (false, false);
            }
            if let Some(word) = words.last_mut() {
                word.weight += weight;
                // A pause inside of a number is part of it.
                let pauses = if piece.verbatim { &mut word.pause } else { &mut word.weight };
                *pauses += pause;
                if !c.is_whitespace() && (!piece.verbatim || !spaced) {
                    word.source_end = word.source_end.max(self.source_at(end));
                }
            }
            if !c.is_whitespace() {
                end_of_text = self.source_at(end);
            }
            over = over || apart || piece.verbatim && c.is_whitespace();
            spaced = spaced || piece.verbatim && c.is_whitespace();
        }
        if let Some(last) = words.last_mut() {
            last.source_end = last.source_end.max(end_of_text);
        }
        // Where the range cuts a reading, nothing of it has been said before the part that ends it.
        let mut kept: Vec<Word> = Vec::with_capacity(words.len());
        let mut said = self.source_at(range.start);
        for word in words {
            if word.source_end > said {
                said = word.source_end;
                kept.push(word);
            } else if let Some(last) = kept.last_mut() {
                last.pause += word.weight + word.pause;
            }
        }
        kept
    }
}

/// A character that is a syllable.
pub(crate) fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// How long a character takes to say and how long it pauses, in 10 ms, as
/// espeak-ng speaks at its own pace. A fit over 119 English sentences: 64 ms a
/// letter and 257 ms a comma, with an error of 9 % of the sentence; Mandarin
/// takes 245 to 285 ms a character.
fn weigh(c: char) -> (u32, u32) {
    match c {
        _ if is_ideograph(c) => (26, 0),
        ',' | '，' | '、' | ';' | '；' | ':' | '：' | '–' | '—' => (0, 25),
        '.' | '。' | '!' | '！' | '?' | '？' | '…' | '\n' => (0, 30),
        // A figure that no rule has read is a word.
        _ if c.is_numeric() => (35, 0),
        _ if c.is_alphabetic() => (if c.is_ascii() || c.len_utf8() < 3 { 6 } else { 18 }, 0),
        _ => (0, 0),
    }
}
