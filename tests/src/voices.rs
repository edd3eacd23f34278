//! People who speak, and what their lines do to them: flite's voices, as no espeak-ng's are heard well at 8 kHz.

use callbox_dialogue::leg::VoiceSettings;
use callbox_dialogue::script::Segment;
use callbox_media::wav;
use callbox_speech::{Speech, SpeechConfig};
use std::process::Command;

/// How loud everybody speaks, root mean square: -22 dBov.
const LOUD: f64 = 2_600.0;
/// Samples in a millisecond.
const MS: usize = 8;

/// Somebody who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// A woman from the United States.
    Slt,
    /// A man from the United States.
    Rms,
    /// A man from Scotland.
    Awb,
}

impl Voice {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Slt, Self::Rms, Self::Awb];

    /// What it is called by flite.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slt => "slt",
            Self::Rms => "rms",
            Self::Awb => "awb",
        }
    }

    /// Says something: samples at 8 kHz, without silence around them.
    #[must_use]
    pub fn says(self, text: &str) -> Vec<i16> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let done = Command::new("flite").args(["-voice", self.name(), "-t", text, "-o"]).arg(file.path()).status();
        assert!(done.expect("flite is installed, see tools/setup").success());
        let samples = wav::read_samples(&std::fs::read(file.path()).unwrap()).unwrap();
        let loud = |sample: &i16| sample.unsigned_abs() > 150;
        let first = samples.iter().position(loud).unwrap();
        let last = samples.iter().rposition(loud).unwrap();
        let samples = &samples[first..=last];
        let gain = LOUD / rms(samples);
        samples.iter().map(|sample| to_i16(f64::from(*sample) * gain)).collect()
    }
}

/// What the host's own voice makes of a text in English, where nothing is configured.
pub async fn of_the_host(text: &str) -> Vec<i16> {
    let speech = Speech::new(SpeechConfig::default()).unwrap();
    let voice = VoiceSettings { voice: None, language: "en".into(), rate: None };
    let mut chunks = speech.render(&Segment::Text(text.into()), &voice, |_| None);
    let mut samples = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        samples.extend_from_slice(chunk.unwrap().clip.samples());
    }
    samples
}

/// So many milliseconds of nothing.
#[must_use]
pub fn silence(ms: usize) -> Vec<i16> {
    vec![0; ms * MS]
}

/// What comes out of somebody who clears his throat for so long: noise as loud as a voice.
#[must_use]
pub fn noise(ms: usize) -> Vec<i16> {
    noise_of(LOUD, ms * MS)
}

/// The same with noise beneath it, so many decibels softer than a voice, for as long as it lasts.
#[must_use]
pub fn with_noise(samples: &[i16], decibels: f64) -> Vec<i16> {
    let noise = noise_of(LOUD / 10_f64.powf(decibels / 20.0), samples.len());
    samples.iter().zip(noise).map(|(sample, noise)| sample.saturating_add(noise)).collect()
}

/// White noise that is the same each time.
fn noise_of(rms: f64, samples: usize) -> Vec<i16> {
    let mut state = 0x2F6E_2B1D_u32;
    let mut roll = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f64::from(state) / f64::from(u32::MAX) - 0.5
    };
    // Two even distributions together have a variance of a sixth.
    (0..samples).map(|_| to_i16((roll() + roll()) * rms * 6_f64.sqrt())).collect()
}

fn rms(samples: &[i16]) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a few seconds of samples")]
    let count = samples.len().max(1) as f64;
    (samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / count).sqrt()
}

#[allow(clippy::cast_possible_truncation, reason = "it saturates")]
fn to_i16(sample: f64) -> i16 {
    sample as i16
}
