//! Voices of sherpa-onnx, behind safe types. They run in the process of [`crate::recogniser::worker`] only.

#![allow(unsafe_code, reason = "calls into a C library; each has its proof")]

use super::ffi::{Audio, Functions, Generation, OfflineTts, TtsConfig, Zero as _};
use super::folder::{VoiceKind, VoiceModel};
use super::{Strings, load};
use crate::recogniser::worker::Voice;
use crate::recogniser::worker::frames::{Fault, SpeakJob};
use std::ffi::c_void;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::ptr::NonNull;

/// Silence that the library puts between sentences, of what the model has.
const SILENCE: f32 = 0.2;
/// Its own pace, and within what it can be changed.
const SPEEDS: std::ops::RangeInclusive<f32> = 0.25..=4.0;

/// The library with its voice.
pub(crate) struct SherpaVoice {
    functions: Functions,
    voice: NonNull<OfflineTts>,
    kind: VoiceKind,
    rate: u32,
    speakers: u32,
}

// SAFETY: nothing in a voice of the library changes after it was made, and onnxruntime's sessions may be run by several
// threads at once.
unsafe impl Send for SherpaVoice {}
// SAFETY: as above.
unsafe impl Sync for SherpaVoice {}

impl SherpaVoice {
    /// Loads the library and the voice, which stays for as long as the process does.
    pub(crate) fn open(library: &Path, model: &VoiceModel, threads: i32) -> Result<Self, Fault> {
        let functions = load(library)?;
        let mut text = Strings::default();
        let mut config = TtsConfig::zero();
        let (file, second) = (text.path(&model.model)?, text.maybe(model.second.as_deref())?);
        let (tokens, lexicon) = (text.path(&model.tokens)?, text.list(&model.lexicons)?);
        match model.kind {
            VoiceKind::Vits => {
                let vits = &mut config.model.vits;
                (vits.model, vits.tokens, vits.lexicon) = (file, tokens, lexicon);
            }
            VoiceKind::Matcha => {
                let matcha = &mut config.model.matcha;
                (matcha.acoustic_model, matcha.vocoder) = (file, second);
                (matcha.tokens, matcha.lexicon) = (tokens, lexicon);
            }
            VoiceKind::Kokoro => {
                let kokoro = &mut config.model.kokoro;
                (kokoro.model, kokoro.voices) = (file, second);
                (kokoro.tokens, kokoro.lexicon) = (tokens, lexicon);
            }
        }
        config.model.num_threads = threads;
        config.model.provider = text.text("cpu")?;
        config.rule_fsts = text.list(&model.rules)?;
        // Each sentence is heard, and may be stopped, by itself.
        config.max_num_sentences = 1;
        config.silence_scale = SILENCE;
        // SAFETY: a structure of the library's own version, whose texts live until the end of this function; the library
        // copies them.
        let voice = NonNull::new(unsafe { (functions.create_tts)(&raw const config) }.cast_mut());
        let voice = voice.ok_or_else(|| Fault::Broken { what: "its model cannot be loaded".to_owned() })?;
        // SAFETY: a valid voice.
        let (rate, speakers) =
            unsafe { ((functions.tts_rate)(voice.as_ptr()), (functions.tts_speakers)(voice.as_ptr())) };
        let rate = u32::try_from(rate).map_err(|_| Fault::Broken { what: format!("{rate} samples a second") })?;
        // A model with one speaker may say none.
        let speakers = u32::try_from(speakers).unwrap_or(0).max(1);
        Ok(Self { functions, voice, kind: model.kind, rate, speakers })
    }
}

/// What the library's callback is given: who takes samples, and whether they still do.
struct Hearer<'a> {
    take: &'a mut dyn FnMut(&[f32]) -> bool,
    heard: bool,
    gone: bool,
}

/// Gives a piece of audio on. 0 stops the work.
extern "C" fn piece(samples: *const f32, count: i32, _progress: f32, hearer: *mut c_void) -> i32 {
    // SAFETY: the one that was given to `generate` below, by which nobody else has it while that runs.
    let hearer = unsafe { &mut *hearer.cast::<Hearer<'_>>() };
    let count = usize::try_from(count).unwrap_or(0);
    if samples.is_null() || count == 0 || hearer.gone {
        return i32::from(!hearer.gone);
    }
    // SAFETY: as many samples as are told are there, for as long as this call.
    let samples = unsafe { std::slice::from_raw_parts(samples, count) };
    hearer.heard = true;
    // A panic must not pass through the library.
    let wanted = std::panic::catch_unwind(AssertUnwindSafe(|| (hearer.take)(samples))).unwrap_or(false);
    hearer.gone = !wanted;
    i32::from(wanted)
}

impl Voice for SherpaVoice {
    fn version(&self) -> String {
        format!("sherpa-onnx {}, {}, {} Hz", self.functions.version, self.kind.name(), self.rate)
    }

    fn speakers(&self) -> u32 {
        self.speakers
    }

    fn rate(&self) -> u32 {
        self.rate
    }

    fn speak(&self, job: &SpeakJob, take: &mut dyn FnMut(&[f32]) -> bool) -> Result<(), Fault> {
        let mut text = Strings::default();
        let phonemes: Option<Vec<i32>> =
            job.phonemes.as_ref().map(|all| all.chars().filter_map(|c| i32::try_from(u32::from(c)).ok()).collect());
        let mut how = Generation::zero();
        how.silence_scale = SILENCE;
        how.speed = if job.speed.is_finite() { job.speed.clamp(*SPEEDS.start(), *SPEEDS.end()) } else { 1.0 };
        how.sid = i32::try_from(job.speaker.min(self.speakers - 1)).unwrap_or(0);
        let length = phonemes.as_ref().map_or(0, |phonemes| i32::try_from(phonemes.len()).unwrap_or(0));
        let words = match &phonemes {
            Some(phonemes) => {
                if length == 0 {
                    return Err(unspeakable());
                }
                (how.phoneme_codepoints, how.phoneme_codepoints_lens) = (phonemes.as_ptr(), &raw const length);
                how.phoneme_codepoints_num_sentences = 1;
                text.text("")?
            }
            None => text.text(&job.text)?,
        };
        let mut hearer = Hearer { take, heard: false, gone: false };
        // SAFETY: a valid voice; texts, phonemes and their length live until the end of this function; the callback gets
        // the one pointer to `hearer`, and only while this call runs.
        let audio = unsafe {
            let hearer = (&raw mut hearer).cast::<c_void>();
            (self.functions.generate)(self.voice.as_ptr(), words, &raw const how, Some(piece), hearer)
        };
        if let Some(audio) = NonNull::new(audio.cast_mut()) {
            // Kinds that do not call back have it all here.
            if !hearer.heard && !hearer.gone {
                // SAFETY: the audio is ours until it is given back, with as many samples as it tells.
                unsafe {
                    let Audio { samples, n, .. } = audio.as_ref();
                    piece(*samples, *n, 1.0, (&raw mut hearer).cast());
                }
            }
            // SAFETY: given back once.
            unsafe { (self.functions.destroy_audio)(audio.as_ptr()) };
        }
        if hearer.heard || hearer.gone { Ok(()) } else { Err(unspeakable()) }
    }
}

fn unspeakable() -> Fault {
    Fault::Broken { what: "the model knows none of the words".to_owned() }
}
