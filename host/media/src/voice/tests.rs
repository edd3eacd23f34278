//! Voices on telephone lines: what is told of them, and what is not told of anything else.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use super::*;
use crate::codec::Law;
use crate::halfband::Upsampler;
use crate::noise::Noise;
use crate::wav;
use std::process::Command;
use std::sync::LazyLock;

/// Samples in a millisecond, as the telephone has them.
const MS: usize = 8;

/// Who calls.
const CALLERS: [&str; 3] = ["slt", "rms", "awb"];

/// What a caller says, at 8 kHz, without the silence around it.
pub(crate) fn says(caller: &str, text: &str) -> Vec<i16> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let done = Command::new("flite").args(["-voice", caller, "-t", text, "-o"]).arg(file.path()).status();
    assert!(done.expect("flite is installed, see tools/setup").success());
    let samples = wav::read_samples(&std::fs::read(file.path()).unwrap()).unwrap();
    let loud = |part: &[i16]| decibels(part) > -45.0;
    let parts: Vec<_> = samples.chunks(5 * MS).collect();
    let first = parts.iter().position(|part| loud(part)).unwrap();
    let last = parts.iter().rposition(|part| loud(part)).unwrap();
    parts[first..=last].concat()
}

static SENTENCES: LazyLock<Vec<Vec<i16>>> = LazyLock::new(|| {
    let texts = ["I would like to book a table for two", "no, thank you", "four seven one nine"];
    CALLERS.iter().flat_map(|caller| texts.map(|text| says(caller, text))).collect()
});

static YES: LazyLock<Vec<Vec<i16>>> = LazyLock::new(|| CALLERS.iter().map(|caller| says(caller, "yes")).collect());

fn silence(ms: usize) -> Vec<i16> {
    vec![0; ms * MS]
}

/// The sum of both, as long as the longer one.
fn mixed(one: &[i16], other: &[i16]) -> Vec<i16> {
    let at = |samples: &[i16], n: usize| samples.get(n).copied().unwrap_or(0);
    (0..one.len().max(other.len())).map(|n| at(one, n).saturating_add(at(other, n))).collect()
}

/// As loud as that, in dBov over all of it.
fn at_level(samples: &[i16], level: f32) -> Vec<i16> {
    let gain = 10_f32.powf((level - decibels(samples)) / 20.0);
    samples.iter().map(|sample| (f32::from(*sample) * gain) as i16).collect()
}

fn noise(level: f32, ms: usize) -> Vec<i16> {
    let mut noise = Noise::default();
    noise.like(1_000.0);
    let mut samples = silence(ms);
    noise.fill(&mut samples);
    at_level(&samples, level)
}

fn tones(hertz: &[f32], level: f32, ms: usize) -> Vec<i16> {
    let sample = |n: usize| hertz.iter().map(|f| (n as f32 * f * std::f32::consts::TAU / 8_000.0).sin()).sum::<f32>();
    let samples: Vec<i16> = (0..ms * MS).map(|n| (sample(n) * 3_000.0) as i16).collect();
    at_level(&samples, level)
}

/// What G.711 makes of it.
fn on_the_line(samples: &[i16]) -> Vec<i16> {
    samples.iter().map(|sample| Law::Mu.decode_sample(Law::Mu.encode_sample(*sample))).collect()
}

/// From when to when somebody speaks, in milliseconds, and when that was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spoken {
    from: i64,
    told: i64,
    to: i64,
    over: i64,
}

/// All that is told of a line, on which we say this meanwhile.
fn told_over(voice: &mut Voice, said: &[i16], heard: &[i16]) -> Vec<Spoken> {
    let (mut up, mut spoken) = (Upsampler::default(), Vec::new());
    let mut wide = vec![0; 2 * heard.len()];
    for (narrow, wide) in heard.chunks(160).zip(wide.chunks_mut(320)) {
        up.push(narrow, wide);
    }
    for (n, window) in wide.as_chunks::<WINDOW>().0.iter().enumerate() {
        let now = (n as i64 + 1) * i64::from(WINDOW_MS);
        let at = n * WINDOW / 2;
        let ours = said.get(at..(at + WINDOW / 2).min(said.len())).unwrap_or_default();
        match voice.judge(window, false, ours) {
            Some(Turn::Began(ago)) => {
                spoken.push(Spoken { from: now - i64::from(ago), told: now, to: i64::MAX, over: i64::MAX });
            }
            Some(Turn::Ceased(ago)) => {
                let last = spoken.last_mut().expect("a beginning");
                (last.to, last.over) = (now - i64::from(ago), now);
            }
            None => {}
        }
    }
    spoken
}

fn told(heard: &[i16]) -> Vec<Spoken> {
    told_over(&mut Voice::default(), &[], heard)
}

/// A sentence as loud as most callers are, with a second of nothing on either side, on a line with so much noise.
fn call(sentence: &[i16], snr: Option<f32>) -> Vec<i16> {
    let line = [silence(1_000), at_level(sentence, LOUD), silence(1_000)].concat();
    let background = noise(snr.map_or(-75.0, |snr| LOUD - snr), line.len() / MS);
    on_the_line(&mixed(&line, &background))
}

const LOUD: f32 = -22.0;

#[test]
fn a_voice_is_told_soon_and_when_it_began_and_ended_on_any_line() {
    for snr in [None, Some(20.0), Some(15.0), Some(10.0)] {
        for (n, sentence) in SENTENCES.iter().chain(YES.iter()).enumerate() {
            let end = 1_000 + (sentence.len() / MS) as i64;
            let told = told(&call(sentence, snr));
            let (first, last) = (told.first().expect("a voice"), told.last().unwrap());
            assert!((940..1_150).contains(&first.from) && first.told < 1_200, "{snr:?} {n}: {told:?}");
            // Noise hides the ends of soft words.
            let hidden = if snr.is_some_and(|snr| snr <= 15.0) { 250 } else { 80 };
            assert!((end - hidden..end + 40).contains(&last.to), "{snr:?} {n}, to {end}: {told:?}");
            assert!(last.over < end + 200, "{snr:?} {n}, to {end}: {told:?}");
        }
    }
}

#[test]
fn noise_is_nobody() {
    let floors = [noise(-65.0, 3_000), noise(-50.0, 5_000), noise(-45.0, 5_000), noise(-70.0, 3_000)].concat();
    assert_eq!(told(&on_the_line(&floors)), []);
    // One that sets in at once is taken for somebody, for less than a script waits before it minds.
    let told = told(&on_the_line(&[noise(-60.0, 3_000), noise(-30.0, 10_000)].concat()));
    assert!(told.iter().map(|spoken| spoken.to - spoken.from).sum::<i64>() < 400, "{told:?}");
}

#[test]
fn comfort_noise_between_words_is_a_pause() {
    let mut comfort = Noise::default();
    comfort.describe(&[45, 100, 140, 120]);
    let mut pause = silence(2_000);
    comfort.fill(&mut pause);
    let word = at_level(&YES[0], LOUD);
    let told = told(&on_the_line(&[&pause[..], &word, &pause, &word, &pause].concat()));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|spoken| spoken.to - spoken.from < 300), "{told:?}");
}

#[test]
fn a_cough_and_a_key_are_short() {
    for sound in [noise(-18.0, 120), tones(&[770.0, 1_336.0], -15.0, 150)] {
        let line = [silence(1_000), sound, silence(1_000)].concat();
        let told = told(&on_the_line(&line));
        assert!(told.iter().all(|spoken| spoken.to - spoken.from < 200), "{told:?}");
    }
}

#[test]
fn tones_and_music_are_nobody_for_long() {
    for (hertz, most) in [
        (&[425.0][..], 0),
        (&[1_000.0], 0),
        (&[350.0, 440.0], 400),
        (&[480.0, 620.0], 400),
        (&[440.0, 480.0], 400),
        (&[261.0, 329.0, 392.0, 523.0, 659.0], 400),
    ] {
        let told = told(&on_the_line(&[silence(1_000), tones(hertz, -20.0, 4_000), silence(500)].concat()));
        assert!(told.iter().map(|spoken| spoken.to - spoken.from).sum::<i64>() <= most, "{hertz:?}: {told:?}");
    }
    // Plucked strings without end: nobody has so much breath.
    let pluck = |n: usize| {
        let time = n as f32 / 8_000.0;
        let note = [0_u8, 4, 7, 12, 7, 4, 5, 9, 12, 9][(time * 4.0) as usize % 10];
        let hertz = 220.0 * (f32::from(note) / 12.0).exp2();
        let strings = |k: u8| (time * hertz * f32::from(k) * std::f32::consts::TAU).sin() / f32::from(k);
        (1..8).map(strings).sum::<f32>() * 5_000.0 * (-(time * 4.0).fract() * 2.0).exp()
    };
    let music: Vec<i16> = (0..40 * 8_000).map(|n| pluck(n) as i16).collect();
    let told = told(&on_the_line(&music));
    let all: i64 = told.iter().map(|spoken| spoken.over.min(40_000) - spoken.told).sum();
    assert!(all < 21_000, "{told:?}");
}

#[test]
fn what_the_jitter_buffer_makes_up_is_no_voice_and_ends_one() {
    let mut voice = Voice::default();
    let sentence = call(&SENTENCES[0], None);
    let mut wide = vec![0; 2 * sentence.len()];
    let mut up = Upsampler::default();
    for (narrow, wide) in sentence.chunks(160).zip(wide.chunks_mut(320)) {
        up.push(narrow, wide);
    }
    let windows = wide.as_chunks::<WINDOW>().0;
    assert!(windows.iter().all(|window| voice.judge(window, true, &[]).is_none()), "nobody");
    let mut voice = Voice::default();
    let speaks = windows.iter().position(|window| voice.judge(window, false, &[]).is_some()).unwrap();
    let ends = windows[speaks..].iter().position(|window| voice.judge(window, true, &[]).is_some());
    assert_eq!(ends, Some(ENDED as usize - 1), "the line is dead");
}

#[test]
fn our_own_prompt_that_comes_back_is_nobody_and_a_caller_over_it_is_somebody() {
    let prompt = at_level(&SENTENCES.concat(), -20.0);
    for (softer, later) in [(-20.0, 40), (-20.0, 200), (-30.0, 120)] {
        let echo = [silence(later), at_level(&prompt, -20.0 + softer)].concat();
        let line = on_the_line(&mixed(&echo, &noise(-65.0, echo.len() / MS)));
        let mut voice = Voice::default();
        assert_eq!(told_over(&mut voice, &prompt, &line), [], "{softer} dB after {later} ms");
        for (n, word) in YES.iter().enumerate() {
            let caller = [silence(2_000), at_level(word, -22.0)].concat();
            let told = told_over(&mut voice, &prompt, &on_the_line(&mixed(&line, &caller)));
            assert!(told.len() == 1 && (1_950..2_150).contains(&told[0].from), "{softer} dB, {n}: {told:?}");
        }
    }
}

#[test]
fn a_soft_caller_is_heard_over_the_prompt_of_a_line_without_echo() {
    let prompt = at_level(&SENTENCES.concat(), -20.0);
    let mut voice = Voice::default();
    told_over(&mut voice, &prompt, &on_the_line(&noise(-60.0, prompt.len() / MS)));
    let caller = [silence(2_000), at_level(&YES[1], -38.0)].concat();
    let line = mixed(&caller, &noise(-60.0, prompt.len() / MS));
    let told = told_over(&mut voice, &prompt, &on_the_line(&line));
    assert!(told.len() == 1 && (1_950..2_200).contains(&told[0].from), "{told:?}");
}

#[test]
fn what_was_not_heard_ends_a_voice() {
    let mut voice = Voice::default();
    let sentence = call(&SENTENCES[0], None);
    told_over(&mut voice, &[], &sentence[..1_500 * MS]);
    assert!(voice.speaking());
    assert_eq!(voice.begin_anew().map(|ago| ago < 100), Some(true));
    assert!(!voice.speaking() && voice.begin_anew().is_none());
}
