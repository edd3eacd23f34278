//! Text that is spoken while it is being written: sentence by sentence, with
//! back-pressure.

use super::arguments::{self, PROMPT_TEXT};
use super::handles::Item;
use super::waits::unknown;
use super::wording::{floor, spoken_ms};
use super::{Engine, Timer};
use crate::leg::PromptId;
use crate::script::{Handle, HostError, HostReply, Reply, Segment};

/// Speech that may wait to be spoken before the writer has to wait.
const AHEAD: u64 = 30_000;
/// Bytes after which a piece is spoken although no sentence ends.
const LONGEST_SENTENCE: usize = 600;

impl Engine {
    /// More text for a writer. The wait for room comes after.
    pub(super) fn write_text(&mut self, handle: Handle, text: &str) -> Result<(), HostError> {
        arguments::text("text", text)?;
        let Some(Item::Playback { prompt, writer: true, result }) = self.handles.get(handle) else {
            return Err(HostError::NotFound(format!("writer {}: unknown, dropped or finished", handle.0)));
        };
        let prompt = *prompt;
        if result.is_some() {
            return Ok(());
        }
        let Some(state) = self.prompts.get_mut(prompt).filter(|prompt| prompt.open) else {
            return Err(HostError::NotFound(format!("writer {}: is finished", handle.0)));
        };
        let all = state.wording.len() + state.unfinished.len() + text.len();
        if all > PROMPT_TEXT {
            return Err(HostError::LimitExceeded(format!("text of the writer: {all} bytes, at most {PROMPT_TEXT}")));
        }
        self.feed(prompt, text);
        Ok(())
    }

    /// More text for an open prompt: what makes a sentence is spoken.
    pub(super) fn feed(&mut self, prompt: PromptId, text: &str) {
        let Some(state) = self.prompts.get_mut(prompt).filter(|prompt| prompt.open) else { return };
        state.unfinished.push_str(text);
        let mut sentences = Vec::new();
        while let Some(end) = sentence_end(&state.unfinished) {
            let rest = state.unfinished.split_off(end);
            let sentence = std::mem::replace(&mut state.unfinished, rest);
            if !sentence.trim().is_empty() {
                sentences.push(Segment::Text(sentence.trim().to_owned()));
            }
        }
        if !sentences.is_empty() {
            self.append(prompt, sentences);
        }
    }

    /// Speaks what does not make a sentence.
    pub(super) fn flush_writer(&mut self, id: PromptId) {
        let Some(prompt) = self.prompts.get_mut(id).filter(|prompt| prompt.open) else { return };
        let rest = std::mem::take(&mut prompt.unfinished);
        if !rest.trim().is_empty() {
            self.append(id, vec![Segment::Text(rest.trim().to_owned())]);
        }
    }

    /// Whether a write may return: the prompt is over, or little enough of it
    /// waits to be spoken.
    pub(super) fn outcome_of_write(&mut self, handle: Handle) -> Option<(Reply, bool)> {
        let Some(Item::Playback { prompt, result, .. }) = self.handles.get(handle) else { return unknown(handle) };
        if let Some(result) = result.clone() {
            return Some((result.map(|playout| HostReply::MaybePlayout(Some(playout))), false));
        }
        let id = *prompt;
        let more = Some((Ok(HostReply::MaybePlayout(None)), false));
        let Some(prompt) = self.prompts.get_mut(id) else { return more };
        if prompt.is_stopping() {
            // Cut off: what was heard of it is known in a moment.
            return None;
        }
        let ahead = prompt.wording.estimate() + spoken_ms(&prompt.unfinished);
        if ahead <= AHEAD {
            return more;
        }
        let room = prompt.will_have_sounded(ahead - AHEAD);
        if room.is_some_and(|room| room <= self.now) {
            return more;
        }
        self.timers.put(Timer::Writer, room);
        None
    }
}

/// Where the first sentence ends, if one does.
fn sentence_end(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let end = at + c.len_utf8();
        let next = chars.peek().map(|(_, next)| *next);
        let ends = match c {
            '\n' | '。' | '！' | '？' | '；' => true,
            '!' | '?' | '…' | ';' => next.is_some_and(char::is_whitespace),
            '.' => next.is_some_and(char::is_whitespace) && !is_abbreviation(&text[..at]),
            _ => false,
        };
        if end > LONGEST_SENTENCE {
            break;
        }
        if ends {
            return Some(end);
        }
    }
    if text.len() < LONGEST_SENTENCE {
        return None;
    }
    let most = floor(text, LONGEST_SENTENCE);
    let head = &text[..most];
    let pause =
        head.rfind([',', '，', '、', ':', '：']).map(|at| at + head[at..].chars().next().map_or(1, char::len_utf8));
    Some(pause.filter(|end| *end > most / 4).or_else(|| head.rfind(' ').filter(|end| *end > 0)).unwrap_or(most))
}

/// Whether the full stop after this text belongs to its last word.
fn is_abbreviation(before: &str) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace()).next().unwrap_or_default();
    let single = word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
    single || matches!(word, "Dr" | "Mr" | "Mrs" | "Ms" | "St" | "Prof" | "No" | "vs" | "e.g" | "i.e" | "a.m" | "p.m")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sentences(text: &str) -> Vec<String> {
        let (mut rest, mut sentences) = (text.to_owned(), Vec::new());
        while let Some(end) = sentence_end(&rest) {
            let after = rest.split_off(end);
            sentences.push(std::mem::replace(&mut rest, after));
        }
        sentences.push(rest);
        sentences
    }

    #[test]
    fn a_sentence_ends_where_a_reader_would_end_it() {
        for (text, parts) in [
            ("Hello. And", &["Hello.", " And"][..]),
            ("Hello.", &["Hello."]),
            ("It is 3.50 now. Yes", &["It is 3.50 now.", " Yes"]),
            ("Dr. Who met J. Doe. Fine", &["Dr. Who met J. Doe.", " Fine"]),
            ("Really?! Yes", &["Really?!", " Yes"]),
            ("您好。请问", &["您好。", "请问"]),
            ("one\ntwo", &["one\n", "two"]),
        ] {
            assert_eq!(sentences(text), parts, "{text}");
        }
    }

    #[test]
    fn a_sentence_without_end_is_cut_at_a_pause() {
        let text = format!("{}, {}", "word ".repeat(60), "word ".repeat(100));
        let parts = sentences(&text);
        assert!(parts[0].ends_with(','));
        let parts = sentences(&"word ".repeat(300));
        assert!(parts.iter().all(|part| part.len() <= LONGEST_SENTENCE && !part.ends_with("wor")));
        let parts = sentences(&"字".repeat(500));
        assert!(parts.iter().all(|part| part.len() <= LONGEST_SENTENCE));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_is_lost_and_no_piece_is_empty(text in "[a-zé。.!? \n,字]{0,1500}") {
            let parts = sentences(&text);
            prop_assert_eq!(parts.concat(), text);
            prop_assert!(parts.split_last().is_none_or(|(_, before)| before.iter().all(|part| !part.is_empty())));
            prop_assert!(parts.iter().all(|part| part.len() <= LONGEST_SENTENCE + 4));
        }
    }
}
