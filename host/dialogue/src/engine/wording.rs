//! The words of a prompt, how long they take, and how many of them were heard.

use crate::leg::WordMark;
use crate::script::Segment;
use crate::time::Millis;

/// What a prompt says, as far as it can be written down.
#[derive(Clone, Debug, Default)]
pub(super) struct Wording {
    /// The text segments joined by a space; SSML without its tags.
    text: String,
    /// How many pieces of text it is made of.
    pieces: usize,
    /// Stands for audio files in the transcript of a prompt without text.
    assets: String,
    /// Some segment makes sound, or takes time.
    audible: bool,
    /// How long it takes to say, by a rule of thumb.
    estimate: u64,
}

impl Wording {
    /// Takes in what comes next.
    pub(super) fn add(&mut self, segments: &[Segment]) {
        for segment in segments {
            match segment {
                Segment::Text(text) => self.add_text(text),
                Segment::Ssml(ssml) => {
                    self.add_text(&without_tags(ssml));
                    self.audible = true;
                }
                Segment::Asset(path) => {
                    self.audible = true;
                    if !self.assets.is_empty() {
                        self.assets.push(' ');
                    }
                    self.assets.push('[');
                    self.assets.push_str(path);
                    self.assets.push(']');
                }
                Segment::Silence(span) => {
                    self.audible |= *span > 0;
                    self.estimate += u64::from(*span);
                }
            }
        }
    }

    fn add_text(&mut self, text: &str) {
        if self.pieces > 0 {
            self.text.push(' ');
        }
        self.pieces += 1;
        self.estimate += spoken_ms(text);
        self.text.push_str(text);
        self.audible |= !text.trim().is_empty();
    }

    /// Whether there is anything to play.
    pub(super) const fn is_audible(&self) -> bool {
        self.audible
    }

    /// Bytes of text, for limits.
    pub(super) const fn len(&self) -> usize {
        self.text.len()
    }

    /// For the transcript.
    pub(super) fn shown(&self) -> &str {
        if self.text.is_empty() { &self.assets } else { &self.text }
    }

    /// How long it takes to say, by a rule of thumb.
    pub(super) const fn estimate(&self) -> u64 {
        self.estimate
    }

    /// The text up to the last word that is over after `played` of audio: by
    /// the synthesiser's word times, else by proportion.
    pub(super) fn heard(&self, played: Millis, marks: &[WordMark], duration: Option<Millis>) -> &str {
        if !marks.is_empty() {
            let end = marks.iter().take_while(|mark| mark.at <= played).last().map_or(0, |mark| mark.text_end);
            let end = usize::try_from(end).unwrap_or(usize::MAX).min(self.text.len());
            return self.text[..floor(&self.text, end)].trim_end();
        }
        let total = duration.map_or(self.estimate, u64::from).max(1);
        if u64::from(played) >= total {
            return &self.text;
        }
        let weight = spoken_ms(&self.text);
        let mut left = u64::from(played).saturating_mul(weight) / total;
        let mut end = 0;
        for c in self.text.chars() {
            let cost = estimate(c);
            if cost > left {
                break;
            }
            left -= cost;
            end += c.len_utf8();
        }
        self.text[..word_boundary(&self.text, end)].trim_end()
    }

    /// All of it, for a prompt that was played to its end.
    pub(super) fn all(&self) -> &str {
        &self.text
    }
}

/// How long a text takes to say.
pub(super) fn spoken_ms(text: &str) -> u64 {
    text.chars().map(estimate).sum()
}

/// How long a character takes to say: about 160 words a minute of a Latin
/// script, 270 syllables a minute of a Chinese one.
fn estimate(c: char) -> u64 {
    if is_wide(c) {
        220
    } else if c.is_alphanumeric() {
        65
    } else {
        50
    }
}

/// Whether each character is a word of its own.
#[must_use]
pub const fn is_wide(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// How many words a hypothesis has.
pub(super) fn count_words(text: &str) -> usize {
    text.split_whitespace()
        .map(|word| {
            let wide = word.chars().filter(|c| is_wide(*c)).count();
            let other = word.chars().any(|c| c.is_alphanumeric() && !is_wide(c));
            wide + usize::from(other)
        })
        .sum()
}

/// The character boundary at or before `end`.
pub(super) fn floor(text: &str, end: usize) -> usize {
    let mut end = end.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// The last boundary between words at or before `end`, itself a character
/// boundary.
fn word_boundary(text: &str, end: usize) -> usize {
    let Some(next) = text[end..].chars().next() else {
        return end;
    };
    let part_of_word = |c: char| !is_wide(c) && (c.is_alphanumeric() || c == '\'' || c == '’' || c == '-');
    if !part_of_word(next) {
        return end;
    }
    text[..end].char_indices().rev().take_while(|(_, c)| part_of_word(*c)).last().map_or(end, |(at, _)| at)
}

/// SSML as it sounds: its text without the tags.
#[must_use]
pub fn without_tags(ssml: &str) -> String {
    let mut text = String::with_capacity(ssml.len());
    strip(ssml, &mut text, |_, _| {});
    text.truncate(text.trim_end().len());
    text
}

/// How much of [`without_tags`] there is before each byte of the SSML, and
/// before its end: what a word's place in the one is in the other.
#[must_use]
pub fn places_without_tags(ssml: &str) -> Vec<u32> {
    let mut text = String::with_capacity(ssml.len());
    let mut places = Vec::with_capacity(ssml.len() + 1);
    strip(ssml, &mut text, |before, bytes| {
        places.extend(std::iter::repeat_n(u32::try_from(before).unwrap_or(u32::MAX), bytes));
    });
    let end = u32::try_from(text.trim_end().len()).unwrap_or(u32::MAX);
    places.push(end);
    places.iter_mut().for_each(|place| *place = end.min(*place));
    places
}

/// Takes the tags off; tells how long the text was before each character, and
/// how many bytes that has.
fn strip(ssml: &str, text: &mut String, mut told: impl FnMut(usize, usize)) {
    let mut inside = false;
    for c in ssml.chars() {
        told(text.len(), c.len_utf8());
        match c {
            '<' => inside = true,
            '>' if inside => inside = false,
            _ if inside => {}
            c if c.is_whitespace() => {
                if !text.is_empty() && !text.ends_with(' ') {
                    text.push(' ');
                }
            }
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wording(segments: &[Segment]) -> Wording {
        let mut wording = Wording::default();
        wording.add(segments);
        wording
    }

    fn of(text: &str) -> Wording {
        wording(&[Segment::Text(text.into())])
    }

    fn mark(at: Millis, text_end: u32) -> WordMark {
        WordMark { at, text_end }
    }

    #[test]
    fn word_times_tell_exactly_what_was_heard() {
        let words = of("good morning everyone");
        let marks = [mark(300, 4), mark(700, 12), mark(1_200, 21)];
        for (played, heard) in
            [(0, ""), (299, ""), (300, "good"), (699, "good"), (700, "good morning"), (9_999, "good morning everyone")]
        {
            assert_eq!(words.heard(played, &marks, Some(1_300)), heard);
        }
    }

    #[test]
    fn word_times_that_make_no_sense_do_no_harm() {
        let words = of("né");
        assert_eq!(words.heard(5, &[mark(1, 2)], None), "n", "in the middle of a character");
        assert_eq!(words.heard(5, &[mark(1, 99)], None), "né");
    }

    #[test]
    fn without_word_times_the_proportion_decides_on_whole_words() {
        let words = of("one two three four");
        assert_eq!(words.heard(0, &[], Some(1_000)), "");
        assert_eq!(words.heard(500, &[], Some(1_000)), "one two");
        assert_eq!(words.heard(990, &[], Some(1_000)), "one two three");
        assert_eq!(words.heard(1_000, &[], Some(1_000)), "one two three four");
        // Each Chinese character is a word; punctuation is none.
        assert_eq!(of("早上好，王先生").heard(500, &[], Some(1_000)), "早上好");
    }

    #[test]
    fn ssml_counts_without_its_tags_and_assets_are_named() {
        let words = wording(&[Segment::Ssml("<speak>Good <b>morning</b>\n  all</speak>".into())]);
        assert_eq!(words.shown(), "Good morning all");
        assert_eq!(words.heard(500, &[mark(1, 4), mark(600, 12)], Some(1_000)), "Good");
        let words = wording(&[Segment::Asset("a.wav".into()), Segment::Silence(100), Segment::Asset("b.wav".into())]);
        assert_eq!(words.shown(), "[a.wav] [b.wav]");
        assert!(words.is_audible());
        assert!(!wording(&[Segment::Text(" ".into()), Segment::Silence(0)]).is_audible());
    }

    #[test]
    fn a_place_in_ssml_is_one_in_its_text() {
        let ssml = "<speak> Good <b>mor</b>ning\n </speak>";
        let places = places_without_tags(ssml);
        assert_eq!(places.len(), ssml.len() + 1);
        let before = |part: &str| places[ssml.find(part).unwrap()];
        assert_eq!(
            [before("Good"), before("<b>"), before("mor"), before("ning"), before("</speak>")],
            [0, 5, 5, 8, 12]
        );
        assert_eq!(places[ssml.len()], 12);
        assert_eq!(places_without_tags(""), [0]);
    }

    #[test]
    fn text_segments_are_joined_by_a_space() {
        let words = wording(&[Segment::Text(String::new()), Segment::Text("a".into()), Segment::Text("b".into())]);
        assert_eq!(words.all(), " a b");
    }

    #[test]
    fn words_are_counted_in_every_script() {
        for (text, count) in [("", 0), ("uh-huh", 1), ("no, wait!", 2), ("…", 0), ("早上好", 3), ("ok 好", 2)] {
            assert_eq!(count_words(text), count, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_was_heard_is_a_growing_beginning_of_the_text(
            text in "\\PC{0,60}",
            duration in prop::option::of(0_u32..5_000),
            marks in prop::collection::vec((0_u32..3_000, 0_u32..80), 0..6),
            played in prop::collection::vec(0_u32..6_000, 1..8),
        ) {
            let words = of(&text);
            let mut marks: Vec<WordMark> = marks.into_iter().map(|(at, end)| mark(at, end)).collect();
            marks.sort_by_key(|mark| mark.at);
            marks.iter_mut().fold(0, |so_far, mark| { mark.text_end = mark.text_end.max(so_far); mark.text_end });
            let mut played = played;
            played.sort_unstable();
            let mut before = 0;
            for played in played {
                let heard = words.heard(played, &marks, duration);
                prop_assert!(text.starts_with(heard));
                prop_assert!(heard.len() >= before);
                before = heard.len();
            }
        }
    }
}
