//! Bodies of the fuzz targets: what must hold for any bytes at all.
//! `fuzz/fuzz_targets` feeds them from libFuzzer, `tests/fuzz_corpus.rs` from
//! the corpora and their mutations.

#![allow(clippy::panic, reason = "a broken promise is what a fuzzer looks for")]

use crate::cache;
use crate::espeak;
use crate::marks;
use crate::normalise::{SayAs, normalise, say_as};
use crate::pipe_wav::PipeWav;
use crate::remote;
use crate::resample::Resampler;
use crate::sentences::{is_speakable, sentences};
use crate::ssml;
use callbox_dialogue::engine::{places_without_tags, without_tags};

/// A text in a language that its first byte names: it becomes words of bounded
/// length, cut into sentences, with marks that ascend within the text.
pub fn text(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    let language = ["en", "en-US", "zh-CN", "fr"][usize::from(choice) % 4];
    let spoken = normalise(&text, language);
    assert!(spoken.text().len() <= 24 * text.len() + 16, "it grows too much");
    if language != "fr" {
        assert!(!spoken.text().contains(|c: char| c.is_ascii_digit()), "a figure is left: {}", spoken.text());
    }
    assert_eq!(spoken.source_at(spoken.text().len()), text.len());
    let (mut end, mut said) = (0, 0);
    for range in sentences(spoken.text()) {
        assert!(range.start >= end && is_speakable(&spoken.text()[range.clone()]));
        assert!(!is_speakable(&spoken.text()[end..range.start]), "something is left out");
        end = range.end;
        let marks = marks::estimate(&spoken.words(range), 1_000);
        for mark in &marks {
            assert!(mark.text_end > said || said == 0, "marks do not ascend");
            assert!(mark.at <= 1_000 && text.is_char_boundary(mark.text_end as usize));
            said = mark.text_end;
        }
        assert!(marks.last().is_none_or(|mark| mark.at == 1_000));
    }
    assert!(!is_speakable(&spoken.text()[end..]), "the end is left out");
    for how in [SayAs::Characters, SayAs::Telephone, SayAs::Cardinal, SayAs::Ordinal] {
        assert!(say_as(&text, how, language).len() <= 24 * text.len() + 16);
    }
}

/// A document: refused with a place in it, or made of words whose marks ascend
/// within its text without tags, and of bounded pauses.
pub fn ssml(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let pieces = match ssml::read(&text, "en") {
        Ok(pieces) => pieces,
        Err(crate::SpeechError::BadSsml { at, .. }) => return assert!(at <= text.len()),
        Err(other) => panic!("{other}"),
    };
    let places = places_without_tags(&text);
    assert_eq!(places.last().map(|end| *end as usize), Some(without_tags(&text).len()));
    let (mut paused, mut said) = (0, 0);
    for piece in pieces {
        match piece {
            ssml::Piece::Pause(length) => paused += length,
            ssml::Piece::Boundary => {}
            ssml::Piece::Say(run) => {
                let spoken = run.spoken.text();
                assert!(is_speakable(spoken) && !spoken.contains('\n'));
                assert!((25..=400).contains(&run.manner.rate) && (50..=200).contains(&run.manner.pitch));
                for range in sentences(spoken) {
                    for mark in marks::estimate(&run.spoken.words(range), 1_000) {
                        let end = mark.text_end as usize;
                        assert!(end >= said && end <= text.len(), "marks do not ascend");
                        assert!(text.is_char_boundary(end) && places[end] >= places[said]);
                        said = end;
                    }
                }
            }
        }
    }
    assert!(paused <= 60_000, "pauses of {paused} ms");
}

/// A stream from an engine, in two pieces: the same as in one, and never more
/// samples than bytes.
pub fn pipe_wav(data: &[u8]) {
    let read = |pieces: &[&[u8]]| {
        let (mut wav, mut samples) = (PipeWav::new(), Vec::new());
        for piece in pieces {
            wav.push(piece, &mut samples)?;
        }
        let rate = wav.rate();
        wav.finish().map(|()| (rate, samples))
    };
    let whole = read(&[data]);
    let (head, tail) = data.split_at(data.len() / 3);
    assert_eq!(read(&[head, tail]), whole);
    if let Ok((rate, samples)) = whole {
        assert!(samples.len() * 2 <= data.len());
        if let Some(mut resampler) = rate.and_then(Resampler::new) {
            let mut out = Vec::new();
            resampler.push(&samples, &mut out);
            resampler.finish(&mut out);
            assert_eq!(out.len(), (samples.len() * 8_000).div_ceil(rate.unwrap_or(8_000) as usize));
        }
    }
}

/// Lists of an engine's voices: whatever they hold, what is chosen from them is
/// no option of the command line.
pub fn voice_list(data: &[u8]) {
    espeak::fuzz_voices(&String::from_utf8_lossy(data));
}

/// A file of the cache: whole, or nothing.
pub fn cache_file(data: &[u8]) {
    cache::fuzz_file(data);
}

/// A provider's message, as each of the protocols reads it: refused with a
/// short reason, or understood.
pub fn messages(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for refusal in remote::fuzz_messages(&text) {
        let words = refusal.to_string();
        assert!(words.len() <= 1_024 && !words.contains(char::is_control), "{words:?}");
    }
}
