//! What the robot says: how long a prompt sounds, and which word is over when.

use crate::words::{Pace, words};
use callbox_dialogue::HostError;
use callbox_dialogue::engine::without_tags;
use callbox_dialogue::leg::WordMark;
use callbox_dialogue::script::Segment;
use callbox_dialogue::time::Millis;
use std::collections::BTreeMap;

/// Lengths of the component's audio files.
pub(crate) type Assets = BTreeMap<String, Result<Millis, String>>;

/// Longest pause of SSML, as the synthesiser has it.
const LONGEST_BREAK: Millis = 10_000;

/// The audio of one prompt, as far as it is there.
#[derive(Debug, Default)]
pub(crate) struct Audio {
    /// When each word of its plain text is over.
    pub(crate) marks: Vec<WordMark>,
    /// Its length.
    pub(crate) length: Millis,
    /// Bytes of plain text before the next segment.
    text_bytes: usize,
    /// Something of it was rendered.
    pub(crate) begun: bool,
}

impl Audio {
    /// Renders what comes next, at so many words a minute.
    ///
    /// # Errors
    /// An audio file that is none.
    pub(crate) fn add(&mut self, segment: &Segment, rate: u16, assets: &Assets) -> Result<(), HostError> {
        let base = self.length;
        match segment {
            Segment::Text(text) => self.say(text, rate),
            Segment::Ssml(ssml) => {
                let text = without_tags(ssml);
                self.say(&text, rate);
                // As if all pauses were at the end: when the words are over is about right.
                self.length = self.length.saturating_add(breaks(ssml));
            }
            Segment::Asset(path) => {
                let length = match assets.get(path) {
                    Some(Ok(length)) => *length,
                    Some(Err(what)) => {
                        return Err(HostError::Unavailable(format!("the asset {path} cannot be played: {what}")));
                    }
                    None => return Err(HostError::NotFound(format!("the component has no asset {path}"))),
                };
                self.length = base.saturating_add(length);
            }
            Segment::Silence(span) => self.length = base.saturating_add(*span),
        }
        self.begun = true;
        Ok(())
    }

    fn say(&mut self, text: &str, rate: u16) {
        let base = self.length;
        let mut pace = Pace::new(rate);
        for word in words(text) {
            self.length = base.saturating_add(pace.say(word));
            let text_end = u32::try_from(self.text_bytes + word.end).unwrap_or(u32::MAX);
            self.marks.push(WordMark { at: self.length, text_end });
        }
        // Texts are joined by a space.
        self.text_bytes = self.text_bytes.saturating_add(text.len()).saturating_add(1);
    }
}

/// The pauses of an SSML document: `<break time="500ms"/>`, `1.5s`, or by their strength.
fn breaks(ssml: &str) -> Millis {
    let tags = ssml.split("<break").skip(1).filter_map(|rest| rest.split('>').next());
    let pause = |tag: &str| match (attribute(tag, "time"), attribute(tag, "strength")) {
        (Some(time), _) => span(time),
        (None, Some("none")) => 0,
        (None, Some("x-weak")) => 100,
        (None, Some("weak")) => 250,
        (None, Some("strong")) => 750,
        (None, Some("x-strong")) => 1_000,
        (None, _) => 500,
    };
    tags.map(|tag| pause(tag).min(LONGEST_BREAK)).fold(0, Millis::saturating_add)
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let rest = tag.split_once(name)?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    rest[1..].split(quote).next()
}

fn span(text: &str) -> Millis {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1.0),
        None => (text.strip_suffix('s').unwrap_or(text), 1_000.0),
    };
    // A cast of a float saturates; not a number is nothing.
    number.trim().parse::<f64>().map_or(0, |n| (n * unit) as Millis)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn audio(segments: &[Segment]) -> Audio {
        let assets = Assets::from([("tone.wav".into(), Ok(500)), ("text.wav".into(), Err("not a WAV file".into()))]);
        let mut audio = Audio::default();
        for segment in segments {
            audio.add(segment, 160, &assets).unwrap();
        }
        audio
    }

    #[test]
    fn words_are_marked_where_the_engine_counts_them() {
        let text = |text: &str| Segment::Text(text.into());
        let audio = audio(&[text("Press one,"), Segment::Asset("tone.wav".into()), text("or two.")]);
        let marks: Vec<(u32, u32)> = audio.marks.iter().map(|mark| (mark.at, mark.text_end)).collect();
        // In "Press one, or two.".
        assert_eq!(marks, [(375, 5), (750, 10), (1_625, 13), (2_000, 18)]);
        assert_eq!(audio.length, 2_000);
    }

    #[test]
    fn ssml_lasts_as_its_words_and_pauses() {
        let ssml = |ssml: &str| audio(&[Segment::Ssml(ssml.into())]).length;
        assert_eq!(ssml("<speak>Good <emphasis>morning</emphasis></speak>"), 750);
        assert_eq!(ssml("<speak>Good<break time=\"1.5s\"/> morning <break time='250ms'/><break/></speak>"), 3_000);
        assert_eq!(
            ssml("<speak><break time=\"9999999s\"/><break strength='strong'/><break time='x'/></speak>"),
            10_750
        );
    }

    #[test]
    fn an_asset_that_is_none_fails_the_prompt() {
        let assets = Assets::from([("text.wav".into(), Err("not a WAV file".into()))]);
        for (path, code) in [("text.wav", "not a WAV file"), ("other.wav", "no asset")] {
            let error = Audio::default().add(&Segment::Asset(path.into()), 160, &assets).unwrap_err();
            assert!(error.to_string().contains(code), "{error}");
        }
    }
}
