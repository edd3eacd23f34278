//! What all synthesisers that are somebody's service share.

use super::Provider;
use crate::chunks::ChunkError;
use crate::error::SpeechError;
use crate::recogniser::Languages;
use crate::remote::ProviderFailure;
use crate::synthesiser::{EngineInfo, check_rate, named};
use callbox_dialogue::leg::VoiceSettings;
use std::collections::BTreeMap;

/// Words a minute that a provider's usual pace is taken to be.
const PACE: f64 = 175.0;

/// A provider's voices.
#[derive(Clone, Debug)]
pub struct RemoteVoice {
    /// Whom we ask.
    pub provider: Provider,
    /// The voice where neither the script nor the language names one.
    pub voice: Option<String>,
    /// Voices by language (BCP 47).
    pub voices: BTreeMap<String, String>,
    /// What it speaks.
    pub languages: Languages,
    /// Samples a second that it is asked for, or that its raw audio has.
    pub rate_hz: u32,
}

impl RemoteVoice {
    /// The voice for these settings, in the provider's words.
    pub(super) fn named<'a>(&'a self, settings: &'a VoiceSettings) -> Option<&'a str> {
        named(settings, &self.voices, self.voice.as_deref())
    }

    /// Whether it is for these settings: a voice has to be one that the operator named.
    pub(super) fn supports(&self, settings: &VoiceSettings) -> Result<(), SpeechError> {
        check_rate(settings)?;
        if !self.languages.has(&settings.language) {
            return Err(SpeechError::UnknownLanguage { language: settings.language.chars().take(64).collect() });
        }
        let known = |name: &str| self.voice.iter().chain(self.voices.values()).any(|voice| voice == name);
        match settings.voice.as_deref().map(str::trim) {
            Some(name) if !name.is_empty() && !known(name) => Err(SpeechError::UnknownVoice {
                voice: name.chars().filter(|c| !c.is_control()).take(64).collect(),
                remedy: "the configuration names a provider's voices; another one of it is `PROVIDER/VOICE`",
            }),
            _ => Ok(()),
        }
    }

    /// What it is, without asking it: a change of anything that changes its audio changes this.
    pub(super) fn info(&self, kind: &str) -> EngineInfo {
        let model = self.provider.model.as_deref().unwrap_or("its own model");
        let usual = self.voice.as_deref().unwrap_or("its own voice");
        let mut version = format!("{kind}, {model}, {usual}");
        for (language, voice) in &self.voices {
            version.push_str(&format!(", {language} {voice}"));
        }
        version.push_str(&format!(", {} Hz, at {}", self.rate_hz, self.provider.place()));
        EngineInfo { version, voices: self.voices.len().max(1) }
    }

    /// How fast, relative to the usual pace; none for the usual.
    pub(super) fn speed(&self, settings: &VoiceSettings) -> Option<f64> {
        settings.rate.map(|rate| (f64::from(rate) / PACE * 100.0).round() / 100.0)
    }

    /// An error of this provider's audio.
    pub(super) fn unusable(&self, error: ChunkError) -> SpeechError {
        error.explained(|what| self.provider.failed(ProviderFailure::Rubbish(format!("audio with {what}"))))
    }
}

/// Raw 16-bit samples, little-endian, in pieces of any length.
#[derive(Debug, Default)]
pub(super) struct Pcm {
    odd: Option<u8>,
}

impl Pcm {
    /// The samples that these bytes complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<i16> {
        let mut samples = Vec::with_capacity(bytes.len() / 2 + 1);
        let mut rest = bytes;
        if let (Some(low), Some((&high, later))) = (self.odd, rest.split_first()) {
            samples.push(i16::from_le_bytes([low, high]));
            self.odd = None;
            rest = later;
        }
        let (pairs, left) = rest.as_chunks::<2>();
        samples.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
        if let Some(&byte) = left.first() {
            self.odd = Some(byte);
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_do_not_matter(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1_usize..20) {
            let whole = Pcm::default().push(&bytes);
            let mut pcm = Pcm::default();
            let pieces: Vec<i16> = bytes.chunks(cut).flat_map(|piece| pcm.push(piece)).collect();
            prop_assert_eq!(pieces, whole);
        }
    }
}
