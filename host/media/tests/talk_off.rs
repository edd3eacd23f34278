//! Speech is no key: minutes of espeak-ng in many voices, as Bellcore's tapes are not to be had.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_media::{dtmf::Detector, wav};
use std::process::Command;

const TEXT: &str = "You have reached the service desk. Please hold the line, and one of our colleagues will be with you \
    in a moment. The account number is nine nine five, two oh seven, eleven forty three. Would you like to hear it again? \
    Oh no, no no no, I would rather not! Well, all right, we owe you an hour of our own. Aaah. Oooh. Eeee. \
    She sells sea shells by the sea shore; you and I were away in May, and nobody knew how long a way it was to row.";

#[test]
fn minutes_of_speech_press_nothing() {
    let (mut seconds, mut false_keys) = (0.0, Vec::new());
    for voice in ["en", "de", "fr", "it"] {
        for variant in ["m3", "f2", "croak"] {
            let name = format!("{voice}+{variant}");
            let output = Command::new("espeak-ng")
                .args(["--stdout", "-v", &name, TEXT])
                .output()
                .expect("espeak-ng is installed, see tools/setup");
            let samples = wav::read_samples(&output.stdout).unwrap();
            seconds += samples.len() as f64 / 8_000.0;
            let mut detector = Detector::default();
            for (n, frame) in samples.chunks(160).enumerate() {
                detector.push(frame, |key| false_keys.push(format!("{key} in {name} at {} ms", n * 20)));
            }
        }
    }
    assert!(seconds > 240.0, "{seconds} s of speech");
    assert!(false_keys.is_empty(), "{} in {seconds} s: {false_keys:?}", false_keys.len());
}
