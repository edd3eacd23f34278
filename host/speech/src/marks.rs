//! When each word of a prompt sounds.

use crate::normalise::{Spoken, Word};
use callbox_dialogue::leg::WordMark;
use callbox_dialogue::time::Millis;
use std::ops::Range;

/// Times of words for an engine that does not tell them: each word takes its
/// share of the whole. Ascending; the last word ends with the audio.
pub(crate) fn estimate(words: &[Word], duration: Millis) -> Vec<WordMark> {
    let Some((last, _)) = words.split_last() else { return Vec::new() };
    // What comes after the last word is cut off by the engine.
    let all = words.iter().map(|word| u64::from(word.weight) + u64::from(word.pause)).sum::<u64>();
    let all = all.saturating_sub(u64::from(last.pause)).max(1);
    let mut said = 0;
    words
        .iter()
        .map(|word| {
            said += u64::from(word.weight);
            let share = u64::from(duration) * said.min(all) / all;
            said += u64::from(word.pause);
            WordMark { at: Millis::try_from(share).unwrap_or(duration), text_end: to_u32(word.source_end) }
        })
        .collect()
}

/// Turns marks within an utterance into marks within the text it comes from.
pub(crate) fn in_source(marks: &mut Vec<WordMark>, spoken: &Spoken, utterance: &Range<usize>) {
    for mark in marks {
        let at = utterance.start.saturating_add(mark.text_end as usize).min(utterance.end);
        mark.text_end = to_u32(spoken.source_at(at));
    }
}

fn to_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::normalise;
    use proptest::prelude::*;

    fn estimated(text: &str, language: &str, duration: Millis) -> Vec<(Millis, String)> {
        let spoken = normalise(text, language);
        let marks = estimate(&spoken.words(0..spoken.text().len()), duration);
        marks.into_iter().map(|mark| (mark.at, text[..mark.text_end as usize].to_owned())).collect()
    }

    #[test]
    fn gives_each_word_its_share() {
        let want = [(500, "good"), (1_000, "good  tree.")].map(|(at, text)| (at, text.to_owned()));
        assert_eq!(estimated("good  tree. ", "en", 1_000), want);
        // A pause is after the word before it.
        let marks = estimated("one, two", "en", 1_000);
        assert_eq!(marks[0], (295, "one,".to_owned()));
        assert_eq!(marks[1], (1_000, "one, two".to_owned()));
        assert!(estimated("", "en", 1_000).is_empty());
        assert!(estimated(" . ", "en", 1_000).is_empty());
        assert_eq!(estimated("x", "en", 0), [(0, "x".to_owned())]);
    }

    #[test]
    fn points_into_what_the_script_wrote() {
        let marks = estimated("You owe $1,234.56 today.", "en", 4_000);
        let texts: Vec<&str> = marks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["You", "You owe", "You owe $1,234.56", "You owe $1,234.56 today."]);
        let times: Vec<Millis> = marks.iter().map(|(at, _)| *at).collect();
        assert!(times[2] - times[1] > 2_000, "the amount takes most of the time: {times:?}");
        let marks = estimated("您好，张先生。", "zh", 2_000);
        let texts: Vec<&str> = marks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["您", "您好，", "您好，张", "您好，张先", "您好，张先生。"]);
        let marks = estimated("今天是2026年11月21日，请来", "zh", 2_000);
        let texts: Vec<&str> = marks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts[2..5], ["今天是", "今天是2026年", "今天是2026年11"]);
    }

    proptest! {
        #[test]
        fn ascends_to_the_end(
            text in "([a-z]{1,8}|[0-9,.:/$%-]{1,8}|[ .,!]|好|。){0,60}",
            duration in 0_u32..100_000,
            language in prop::sample::select(vec!["en-US", "zh", "fr"]),
        ) {
            let spoken = normalise(&text, language);
            let marks = estimate(&spoken.words(0..spoken.text().len()), duration);
            prop_assert!(marks.windows(2).all(|w| w[0].at <= w[1].at && w[0].text_end < w[1].text_end), "{:?}", marks);
            prop_assert!(marks.iter().all(|m| text.is_char_boundary(m.text_end as usize)));
            if let Some(last) = marks.last() {
                prop_assert_eq!(last.at, duration);
            }
        }
    }
}
