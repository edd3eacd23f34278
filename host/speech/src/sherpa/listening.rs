//! Recognisers of sherpa-onnx, behind safe types. They run in the process of [`crate::recogniser::worker`] only.

#![allow(unsafe_code, reason = "calls into a C library; each has its proof")]

use super::ffi::{Functions, OfflineConfig, OfflineRecognizer, OfflineResult, OfflineStream, Zero as _, text_of};
use super::ffi::{OnlineConfig, OnlineRecognizer, OnlineStream, Text};
use super::folder::{EarKind, EarModel};
use super::words::{Token, said};
use super::{Strings, load};
use crate::recogniser::worker::frames::{Fault, Job, Said};
use crate::recogniser::worker::{Engine, Listener};
use std::path::Path;
use std::ptr::NonNull;

/// Samples a second, and bands, of the models; NeMo's and others' say so themselves and are believed.
const MODEL_RATE: i32 = 16_000;
const BANDS: i32 = 80;
/// Silence after the end of an utterance: what is still inside a streaming model comes out.
const TAIL_MS: usize = 660;
/// Audio of one utterance for a model that wants all of it: two minutes at 16 kHz. What follows is not listened to.
const LONGEST: usize = 120 * 16_000;
/// How much likelier a hint makes its tokens (their logarithm), and paths that are looked at with hints.
const HINT_SCORE: f32 = 1.5;
const PATHS: i32 = 4;
/// Bytes of all hints.
const MAX_HINTS: usize = 8 << 10;

/// The library with its model.
pub(crate) struct SherpaEar {
    functions: Functions,
    model: Model,
    kind: EarKind,
    hints: bool,
}

enum Model {
    Streaming(NonNull<OnlineRecognizer>),
    Whole(NonNull<OfflineRecognizer>),
}

// SAFETY: a recogniser of the library is made to serve the streams of several threads: nothing in it changes after it
// was made, and onnxruntime's sessions may be run by several at once. Each stream is used by one thread.
unsafe impl Send for SherpaEar {}
// SAFETY: as above.
unsafe impl Sync for SherpaEar {}

impl SherpaEar {
    /// Loads the library and the model. The model stays for as long as the process does.
    pub(crate) fn open(library: &Path, model: &EarModel, threads: i32) -> Result<Self, Fault> {
        let functions = load(library)?;
        let hints = model.unit.is_some();
        let opened = if model.kind.is_streaming() {
            streaming(&functions, model, threads)?.map(Model::Streaming)
        } else {
            whole(&functions, model, threads)?.map(Model::Whole)
        };
        let opened = opened.ok_or_else(|| Fault::Broken { what: "its model cannot be loaded".to_owned() })?;
        Ok(Self { functions, model: opened, kind: model.kind, hints })
    }
}

/// A method of decoding: with hints more than one path is looked at.
const fn method(model: &EarModel) -> &'static str {
    if model.unit.is_some() { "modified_beam_search" } else { "greedy_search" }
}

/// Fills what the configurations of both kinds of recognisers have alike. The library declares them as structures that
/// have nothing to do with each other, so that no function can take both.
macro_rules! fill {
    ($config:ident, $text:ident, $model:ident, $threads:ident) => {
        $config.feat_config.sample_rate = MODEL_RATE;
        $config.feat_config.feature_dim = BANDS;
        $config.decoding_method = $text.text(method($model))?;
        $config.max_active_paths = PATHS;
        $config.hotwords_score = HINT_SCORE;
        let files = &mut $config.model_config;
        files.tokens = $text.path(&$model.tokens)?;
        files.num_threads = $threads;
        files.provider = $text.text("cpu")?;
        if let Some(unit) = &$model.unit {
            files.modeling_unit = $text.text(unit)?;
            files.bpe_vocab = $text.maybe($model.pieces.as_deref())?;
        }
    };
}

fn streaming(
    functions: &Functions,
    model: &EarModel,
    threads: i32,
) -> Result<Option<NonNull<OnlineRecognizer>>, Fault> {
    let mut text = Strings::default();
    let mut config = OnlineConfig::zero();
    fill!(config, text, model, threads);
    let (first, decoder) = (text.path(&model.first)?, text.maybe(model.decoder.as_deref())?);
    let files = &mut config.model_config;
    match model.kind {
        EarKind::StreamingParaformer => (files.paraformer.encoder, files.paraformer.decoder) = (first, decoder),
        EarKind::StreamingZipformerCtc => files.zipformer2_ctc = first,
        EarKind::StreamingNemoCtc => files.nemo_ctc = first,
        _ => {
            files.transducer.encoder = first;
            files.transducer.decoder = decoder;
            files.transducer.joiner = text.maybe(model.joiner.as_deref())?;
        }
    }
    // SAFETY: a structure of the library's own version, whose texts live until the end of this function; the library
    // copies them.
    Ok(NonNull::new(unsafe { (functions.create_online)(&raw const config) }.cast_mut()))
}

fn whole(functions: &Functions, model: &EarModel, threads: i32) -> Result<Option<NonNull<OfflineRecognizer>>, Fault> {
    let mut text = Strings::default();
    let mut config = OfflineConfig::zero();
    fill!(config, text, model, threads);
    let (first, decoder) = (text.path(&model.first)?, text.maybe(model.decoder.as_deref())?);
    let files = &mut config.model_config;
    match model.kind {
        EarKind::Paraformer => files.paraformer = first,
        EarKind::NemoCtc => files.nemo_ctc = first,
        EarKind::ZipformerCtc => files.zipformer_ctc = first,
        EarKind::SenseVoice => {
            files.sense_voice.model = first;
            files.sense_voice.language = text.text("auto")?;
        }
        EarKind::Whisper => {
            // Without a language it finds out.
            (files.whisper.encoder, files.whisper.decoder) = (first, decoder);
            files.whisper.task = text.text("transcribe")?;
        }
        EarKind::FireRedAsr => (files.fire_red_asr.encoder, files.fire_red_asr.decoder) = (first, decoder),
        _ => {
            files.transducer.encoder = first;
            files.transducer.decoder = decoder;
            files.transducer.joiner = text.maybe(model.joiner.as_deref())?;
        }
    }
    // SAFETY: as in `streaming`.
    Ok(NonNull::new(unsafe { (functions.create_offline)(&raw const config) }.cast_mut()))
}

impl Engine for SherpaEar {
    type Listener<'a> = Recognition<'a>;

    fn version(&self) -> String {
        format!("sherpa-onnx {}, {}", self.functions.version, self.kind.name())
    }

    fn listen(&self, job: &Job) -> Result<Recognition<'_>, Fault> {
        let rate = i32::try_from(job.rate_hz).map_err(|_| broken("a rate out of bounds"))?;
        let mut text = Strings::default();
        let hints = if self.hints { hints(&job.hints) } else { String::new() };
        let hints = if hints.is_empty() { None } else { Some(text.text(&hints)?) };
        let functions = &self.functions;
        // SAFETY: valid recognisers, and a text that lives until the end of this function; the library copies it.
        let stream = unsafe {
            match (&self.model, hints) {
                (Model::Streaming(model), None) => (functions.online_stream)(model.as_ptr()).cast_mut().cast(),
                (Model::Streaming(model), Some(hints)) => {
                    (functions.online_stream_with_hotwords)(model.as_ptr(), hints).cast_mut().cast()
                }
                (Model::Whole(model), None) => (functions.offline_stream)(model.as_ptr()).cast_mut().cast(),
                (Model::Whole(model), Some(hints)) => {
                    (functions.offline_stream_with_hotwords)(model.as_ptr(), hints).cast_mut().cast()
                }
            }
        };
        let stream: NonNull<()> = NonNull::new(stream).ok_or_else(|| broken("it begins no recognition"))?;
        let stream = match self.model {
            Model::Streaming(model) => Stream::Streaming { model, stream: stream.cast() },
            Model::Whole(model) => Stream::Whole { model, stream: stream.cast(), samples: Vec::new() },
        };
        Ok(Recognition { functions, stream, rate })
    }
}

/// Phrases to expect, a line each. A slash would begin the next, and a colon a weight.
fn hints(all: &[String]) -> String {
    let mut lines = String::new();
    for hint in all {
        let words = hint.split(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '#' | '@'));
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let line = words.join(" ");
        if line.is_empty() || lines.len() + line.len() > MAX_HINTS {
            continue;
        }
        if !lines.is_empty() {
            lines.push('/');
        }
        lines.push_str(&line);
    }
    lines
}

/// One recognition.
pub(crate) struct Recognition<'a> {
    functions: &'a Functions,
    stream: Stream,
    rate: i32,
}

enum Stream {
    Streaming { model: NonNull<OnlineRecognizer>, stream: NonNull<OnlineStream> },
    Whole { model: NonNull<OfflineRecognizer>, stream: NonNull<OfflineStream>, samples: Vec<f32> },
}

impl Drop for Recognition<'_> {
    fn drop(&mut self) {
        // SAFETY: valid streams, which nobody else has.
        unsafe {
            match &self.stream {
                Stream::Streaming { stream, .. } => (self.functions.destroy_online_stream)(stream.as_ptr()),
                Stream::Whole { stream, .. } => (self.functions.destroy_offline_stream)(stream.as_ptr()),
            }
        }
    }
}

impl Listener for Recognition<'_> {
    fn hear(&mut self, samples: &[i16]) -> Result<(), Fault> {
        let samples = samples.iter().map(|&sample| f32::from(sample) / 32_768.0);
        match &mut self.stream {
            Stream::Whole { samples: kept, .. } => {
                let room = LONGEST.saturating_sub(kept.len());
                kept.extend(samples.take(room));
            }
            &mut Stream::Streaming { model, stream } => {
                let samples: Vec<f32> = samples.collect();
                self.decode(model, stream, &samples)?;
            }
        }
        Ok(())
    }

    fn partial(&mut self) -> Result<Option<Said>, Fault> {
        match self.stream {
            Stream::Streaming { model, stream } => {
                let said = self.so_far(model, stream);
                Ok((!said.text.is_empty()).then_some(said))
            }
            Stream::Whole { .. } => Ok(None),
        }
    }

    fn finish(&mut self) -> Result<Vec<Said>, Fault> {
        let said = match &mut self.stream {
            &mut Stream::Streaming { model, stream } => {
                let tail = vec![0.0; usize::try_from(self.rate).unwrap_or(0) * TAIL_MS / 1_000];
                self.decode(model, stream, &tail)?;
                // SAFETY: a valid stream.
                unsafe { (self.functions.online_finished)(stream.as_ptr()) };
                self.decode(model, stream, &[])?;
                self.so_far(model, stream)
            }
            Stream::Whole { model, stream, samples } => {
                let (model, stream, samples) = (*model, *stream, std::mem::take(samples));
                if samples.is_empty() { Said::default() } else { self.all_of(model, stream, &samples)? }
            }
        };
        Ok(if said.text.is_empty() { Vec::new() } else { vec![said] })
    }
}

impl Recognition<'_> {
    /// Takes samples and decodes what can be.
    fn decode(
        &self,
        model: NonNull<OnlineRecognizer>,
        stream: NonNull<OnlineStream>,
        samples: &[f32],
    ) -> Result<(), Fault> {
        let count = i32::try_from(samples.len()).map_err(|_| broken("too much audio at once"))?;
        let functions = self.functions;
        // SAFETY: a valid stream of a valid recogniser, used by this thread only; as many samples as are told are there,
        // and copied.
        unsafe {
            if count > 0 {
                (functions.online_accept)(stream.as_ptr(), self.rate, samples.as_ptr(), count);
            }
            while (functions.is_online_ready)(model.as_ptr(), stream.as_ptr()) == 1 {
                (functions.decode_online)(model.as_ptr(), stream.as_ptr());
            }
        }
        Ok(())
    }

    fn so_far(&self, model: NonNull<OnlineRecognizer>, stream: NonNull<OnlineStream>) -> Said {
        // SAFETY: a valid stream of a valid recogniser; the result is ours until it is given back, and copied before.
        unsafe {
            let Some(result) = NonNull::new((self.functions.online_result)(model.as_ptr(), stream.as_ptr()).cast_mut())
            else {
                return Said::default();
            };
            let heard = result.as_ref();
            let tokens = tokens(heard.tokens_arr, heard.timestamps, heard.count);
            let said = said(&text_of(heard.text), &tokens, "");
            (self.functions.destroy_online_result)(result.as_ptr());
            said
        }
    }

    fn all_of(
        &self,
        model: NonNull<OfflineRecognizer>,
        stream: NonNull<OfflineStream>,
        samples: &[f32],
    ) -> Result<Said, Fault> {
        let count = i32::try_from(samples.len()).map_err(|_| broken("too much audio"))?;
        // SAFETY: a valid stream of a valid recogniser, used by this thread only, that has been given nothing yet; as
        // many samples as are told are there, and copied; the result is ours until it is given back.
        unsafe {
            (self.functions.offline_accept)(stream.as_ptr(), self.rate, samples.as_ptr(), count);
            (self.functions.decode_offline)(model.as_ptr(), stream.as_ptr());
            let result: *const OfflineResult = (self.functions.offline_result)(stream.as_ptr());
            let Some(result) = NonNull::new(result.cast_mut()) else { return Ok(Said::default()) };
            let heard = result.as_ref();
            let tokens = tokens(heard.tokens_arr, heard.timestamps, heard.count);
            let said = said(&text_of(heard.text), &tokens, &text_of(heard.lang));
            (self.functions.destroy_offline_result)(result.as_ptr());
            Ok(said)
        }
    }
}

/// The tokens of a result.
///
/// # Safety
/// Null, or as many texts, and as many times or null, as `count` says.
unsafe fn tokens(texts: *const Text, times: *const f32, count: i32) -> Vec<Token> {
    if texts.is_null() {
        return Vec::new();
    }
    let count = usize::try_from(count).unwrap_or(0);
    let token = |place: usize| {
        // SAFETY: the caller's promise; `place` is below `count`.
        let (text, at) =
            unsafe { (text_of(*texts.add(place)), if times.is_null() { None } else { Some(*times.add(place)) }) };
        // A cast of a float saturates, and makes nothing of what is no number.
        Token { text, at: at.map(|seconds| (seconds * 1_000.0) as u32) }
    };
    (0..count).map(token).collect()
}

fn broken(what: &str) -> Fault {
    Fault::Broken { what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_phrases_and_no_weights() {
        let all = ["Anna Schmidt", " a/b :9.0 ", "\n", "是"].map(str::to_owned);
        assert_eq!(hints(&all), "Anna Schmidt/a b 9.0/是");
        assert!(hints(&vec!["word".repeat(40); 1_000]).len() <= MAX_HINTS + 1_000);
    }
}
