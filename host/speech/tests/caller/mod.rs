//! Somebody who speaks on the telephone: flite's voices, at 8 kHz.

#![allow(dead_code, clippy::unwrap_used, reason = "shared by several tests, each of which uses a part and may panic")]

use callbox_speech::recogniser::{Listening, PocketsphinxConfig};
use std::path::Path;
use std::process::Command;

/// What a voice says, with 400 ms of silence before and 500 ms after.
pub(crate) fn says(voice: &str, text: &str) -> Vec<i16> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("said.wav");
    let done = Command::new("flite").args(["-voice", voice, "-t", text, "-o"]).arg(&file).status();
    assert!(done.expect("flite is there: tools/setup test").success());
    let samples = callbox_media::wav::read_samples(&std::fs::read(file).unwrap()).unwrap();
    let law = callbox_media::Law::Mu;
    let over_the_line = samples.iter().map(|&sample| law.decode_sample(law.encode_sample(sample)));
    std::iter::repeat_n(0, 3_200).chain(over_the_line).chain(std::iter::repeat_n(0, 4_000)).collect()
}

/// Debian's pocketsphinx, in the worker of these tests.
pub(crate) fn pocketsphinx() -> PocketsphinxConfig {
    PocketsphinxConfig::new(Path::new(env!("CARGO_BIN_EXE_recogniser_worker")).to_owned())
}

/// A listening for this grammar, JSON.
pub(crate) fn listening(grammar: &str) -> Listening {
    let grammar = callbox_grammar::Grammar::read(grammar).unwrap();
    Listening { grammar: Some(grammar.into()), ..Listening::default() }
}
