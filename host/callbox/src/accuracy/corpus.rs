//! What is said for the report, by whom, and what becomes of it on the way.

use callbox_media::Law;
use callbox_media::halfband::Upsampler;
use miette::{Context, IntoDiagnostic, miette};
use std::path::Path;
use std::process::Command;

/// A question, answers to it, and how it is put to the recogniser.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// JSON.
    pub(super) grammar: &'static str,
    pub(super) answers: &'static [&'static str],
}

/// The shipped kinds of answers.
pub(super) const KINDS: [Kind; 6] = [
    Kind {
        name: "yes or no",
        grammar: r#"{"answer": {"kind": "yes-no"}}"#,
        answers: &["yes", "no", "yes please", "no thank you", "that's right", "correct"],
    },
    Kind {
        name: "menu",
        grammar: r#"{"answer": {"kind": "choices", "choices": [
            {"value": "book", "phrases": ["make an appointment", "book"]},
            {"value": "cancel", "phrases": ["cancel my appointment", "cancel"]},
            {"value": "hours", "phrases": ["opening hours", "when are you open"]},
            {"value": "prescription", "phrases": ["prescription"]},
            {"value": "billing", "phrases": ["billing"]}]}, "universals": ["repeat", "help", "operator"]}"#,
        answers: &[
            "make an appointment",
            "cancel my appointment",
            "opening hours",
            "when are you open",
            "prescription",
            "operator",
        ],
    },
    Kind {
        name: "four digits",
        grammar: r#"{"answer": {"kind": "digits", "min": 4, "max": 4}}"#,
        answers: &[
            "one two three four",
            "four seven one one",
            "zero nine five six",
            "eight eight two three",
            "six six zero one",
            "five three seven four",
        ],
    },
    Kind {
        name: "number to 100",
        grammar: r#"{"answer": {"kind": "number", "min": 1, "max": 100}}"#,
        answers: &["seven", "twelve", "twenty one", "forty five", "ninety nine", "one hundred"],
    },
    Kind {
        name: "day",
        grammar: r#"{"answer": {"kind": "date"}}"#,
        answers: &[
            "tomorrow",
            "next monday",
            "the third of may",
            "december the twenty first",
            "on friday",
            "in two weeks",
        ],
    },
    Kind {
        name: "time of day",
        grammar: r#"{"answer": {"kind": "time"}}"#,
        answers: &[
            "half past two",
            "nine o'clock",
            "quarter to five",
            "three thirty in the afternoon",
            "noon",
            "eleven in the morning",
        ],
    },
];

/// What is an answer to none of them.
pub(super) const OTHERS: [&str; 12] = [
    "what was the question",
    "my dog ate my homework",
    "can you hear me",
    "the weather is nice in spring",
    "banana",
    "hold on a second",
    "chicken soup",
    "where is my parcel",
    "let me think about it",
    "purple elephants dance",
    "who is this",
    "turn left at the bridge",
];

/// What a voice passes before it is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// As a wideband codec has it.
    Wide,
    /// G.711.
    Telephone,
    /// G.711, with noise so many decibels below the voice.
    Noise(u8),
}

impl Channel {
    pub(super) const ALL: [Self; 4] = [Self::Wide, Self::Telephone, Self::Noise(20), Self::Noise(10)];

    /// What it is called on the command line.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        match name {
            "wide" => Ok(Self::Wide),
            "g711" => Ok(Self::Telephone),
            "noise20" => Ok(Self::Noise(20)),
            "noise10" => Ok(Self::Noise(10)),
            _ => Err("one of wide, g711, noise20, noise10".to_owned()),
        }
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Wide => "16 kHz".to_owned(),
            Self::Telephone => "G.711".to_owned(),
            Self::Noise(below) => format!("G.711, noise at {below} dB"),
        }
    }

    pub(super) const fn rate_hz(self) -> u32 {
        if matches!(self, Self::Wide) { 16_000 } else { 8_000 }
    }

    /// What comes out of it, with 400 ms before and 500 ms after.
    pub(super) fn carry(self, clip: &Clip, seed: u64) -> Vec<i16> {
        let rate = self.rate_hz() as usize;
        let said = if self == Self::Wide { &clip.wide } else { &clip.narrow };
        let around = |ms: usize| std::iter::repeat_n(0, rate * ms / 1_000);
        let mut samples: Vec<i16> = around(400).chain(said.iter().copied()).chain(around(500)).collect();
        if let Self::Noise(below) = self {
            let loud = said.iter().filter(|sample| sample.unsigned_abs() > 50);
            let (count, energy) =
                loud.fold((0_u32, 0.0), |(count, sum), &sample| (count + 1, sum + f64::from(sample).powi(2)));
            let deviation = (energy / f64::from(count.max(1)) / 10_f64.powf(f64::from(below) / 10.0)).sqrt();
            let mut noise = Noise(seed);
            for sample in &mut samples {
                *sample = (f64::from(*sample) + deviation * noise.next()).round() as i16;
            }
        }
        if self != Self::Wide {
            for sample in &mut samples {
                *sample = Law::Mu.decode_sample(Law::Mu.encode_sample(*sample));
            }
        }
        samples
    }
}

/// Normal noise, the same every time.
struct Noise(u64);

impl Noise {
    /// The sum of twelve uniform numbers, less six.
    fn next(&mut self) -> f64 {
        let mut sum = -6.0;
        for _ in 0..12 {
            // Knuth's linear congruential generator.
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sum += (self.0 >> 11) as f64 / (1_u64 << 53) as f64;
        }
        sum
    }
}

/// Something said.
pub(super) struct Clip {
    /// At 8 kHz.
    narrow: Vec<i16>,
    /// At 16 kHz.
    wide: Vec<i16>,
}

/// Has flite say it.
pub(super) fn say(flite: &Path, voice: &str, text: &str) -> miette::Result<Clip> {
    let folder = tempfile::tempdir().into_diagnostic()?;
    let file = folder.path().join("said.wav");
    let done = Command::new(flite)
        .args(["-voice", voice, "-t", text, "-o"])
        .arg(&file)
        .output()
        .into_diagnostic()
        .wrap_err_with(|| format!("`{}` does not start: apt-get install flite", flite.display()))?;
    if !done.status.success() {
        return Err(miette!("flite does not say `{text}`: {}", done.status));
    }
    let bytes = std::fs::read(&file).into_diagnostic()?;
    let narrow = callbox_media::wav::read_samples(&bytes).map_err(|error| miette!("what flite wrote: {error}"))?;
    let mut reader = hound::WavReader::new(bytes.as_slice()).into_diagnostic()?;
    let wide = if reader.spec().sample_rate == 16_000 {
        reader.samples().collect::<Result<_, _>>().into_diagnostic()?
    } else {
        doubled(&narrow)
    };
    Ok(Clip { narrow, wide })
}

fn doubled(narrow: &[i16]) -> Vec<i16> {
    let mut upsampler = Upsampler::default();
    let mut wide = Vec::with_capacity(2 * narrow.len());
    for part in narrow.chunks(160) {
        let mut out = [0; 320];
        let made = upsampler.push(part, &mut out);
        wide.extend_from_slice(&out[..made]);
    }
    wide
}
