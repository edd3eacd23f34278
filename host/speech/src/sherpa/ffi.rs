//! The functions of `libsherpa-onnx-c-api.so` that we call, found when the process starts, and the structures they take.
//!
//! The structures are those of `c-api.h` of version 2.0. They have grown in the middle from one minor version to the
//! next, so that a library of any other is refused before one of them is passed. What we leave alone in them is zero,
//! which the header documents as "the usual".

#![allow(unsafe_code, reason = "a C library is loaded and its functions are looked up; each use has its proof")]

use libloading::Library;
use std::ffi::{CStr, OsStr, c_char, c_void};

/// The version of the library whose structures these are.
pub(super) const SPOKEN: &str = "2.0";

/// Something of the library's own.
macro_rules! opaque {
    ($($(#[$about:meta])* $name:ident;)*) => {
        $($(#[$about])* #[repr(C)] pub(super) struct $name { _opaque: [u8; 0] })*
    };
}

opaque! {
    /// A recogniser that listens as the audio comes.
    OnlineRecognizer;
    /// One recognition of it.
    OnlineStream;
    /// A recogniser of whole utterances.
    OfflineRecognizer;
    /// One recognition of it.
    OfflineStream;
    /// A voice.
    OfflineTts;
}

/// Text of ours that the library copies; null for none.
pub(super) type Text = *const c_char;

/// A structure of the library, to be filled: all zero, which its header asks for.
pub(super) trait Zero: Sized {
    fn zero() -> Self {
        // SAFETY: implemented for structures of pointers, integers and floats only (below), of which all zero is a value.
        unsafe { std::mem::zeroed() }
    }
}

/// Structures of pointers and numbers, as the library has them.
macro_rules! structures {
    ($($(#[$about:meta])* $name:ident { $($(#[$field_about:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$about])*
            #[repr(C)]
            #[allow(dead_code, reason = "the library reads them, and what it writes is not all of use")]
            pub(super) struct $name { $($(#[$field_about])* pub(super) $field: $type,)* }

            impl Zero for $name {}
        )*
    };
}

structures! {
    /// Encoder, decoder, joiner.
    Transducer { encoder: Text, decoder: Text, joiner: Text, }
    /// Encoder and decoder.
    Pair { encoder: Text, decoder: Text, }

    /// What audio is made of for a model.
    FeatureConfig { sample_rate: i32, feature_dim: i32, }

    OnlineModelConfig {
        transducer: Transducer,
        paraformer: Pair,
        zipformer2_ctc: Text,
        tokens: Text,
        num_threads: i32,
        provider: Text,
        debug: i32,
        model_type: Text,
        modeling_unit: Text,
        bpe_vocab: Text,
        tokens_buf: Text,
        tokens_buf_size: i32,
        nemo_ctc: Text,
        t_one_ctc: Text,
    }

    OnlineConfig {
        feat_config: FeatureConfig,
        model_config: OnlineModelConfig,
        decoding_method: Text,
        max_active_paths: i32,
        enable_endpoint: i32,
        endpoint_rules: [f32; 3],
        hotwords_file: Text,
        hotwords_score: f32,
        /// A graph and its limit, rules, a penalty, more hotwords, homophones.
        rest: [u64; 10],
    }

    OnlineResult {
        text: Text,
        tokens: Text,
        tokens_arr: *const Text,
        /// Seconds; null where there are none.
        timestamps: *const f32,
        count: i32,
        json: Text,
    }

    Whisper {
        encoder: Text,
        decoder: Text,
        language: Text,
        task: Text,
        tail_paddings: i32,
        enable_token_timestamps: i32,
        enable_segment_timestamps: i32,
    }

    SenseVoice { model: Text, language: Text, use_itn: i32, }

    OfflineModelConfig {
        transducer: Transducer,
        paraformer: Text,
        nemo_ctc: Text,
        whisper: Whisper,
        tdnn: Text,
        tokens: Text,
        num_threads: i32,
        debug: i32,
        provider: Text,
        model_type: Text,
        modeling_unit: Text,
        bpe_vocab: Text,
        telespeech_ctc: Text,
        sense_voice: SenseVoice,
        moonshine: [Text; 5],
        fire_red_asr: Pair,
        dolphin: Text,
        zipformer_ctc: Text,
        /// Other kinds of models.
        rest: [u64; 32],
    }

    OfflineConfig {
        feat_config: FeatureConfig,
        model_config: OfflineModelConfig,
        /// A language model and its weight.
        language_model: [u64; 2],
        decoding_method: Text,
        max_active_paths: i32,
        hotwords_file: Text,
        hotwords_score: f32,
        /// Rules, a penalty, homophones, a graph and its limit.
        rest: [u64; 8],
    }

    /// The beginning of the structure; what follows is of no use to us.
    OfflineResult {
        text: Text,
        timestamps: *const f32,
        count: i32,
        tokens: Text,
        tokens_arr: *const Text,
        json: Text,
        /// `<|zh|>`, of a model that finds out; empty or null otherwise.
        lang: Text,
    }

    Vits {
        model: Text,
        lexicon: Text,
        tokens: Text,
        data_dir: Text,
        noise_scale: f32,
        noise_scale_w: f32,
        length_scale: f32,
        dict_dir: Text,
    }

    Matcha {
        acoustic_model: Text,
        vocoder: Text,
        lexicon: Text,
        tokens: Text,
        data_dir: Text,
        noise_scale: f32,
        length_scale: f32,
        dict_dir: Text,
    }

    Kokoro {
        model: Text,
        voices: Text,
        tokens: Text,
        data_dir: Text,
        length_scale: f32,
        dict_dir: Text,
        lexicon: Text,
        lang: Text,
    }

    TtsModelConfig {
        vits: Vits,
        num_threads: i32,
        debug: i32,
        provider: Text,
        matcha: Matcha,
        kokoro: Kokoro,
        /// Other kinds of models.
        rest: [u64; 29],
    }

    TtsConfig {
        model: TtsModelConfig,
        rule_fsts: Text,
        max_num_sentences: i32,
        rule_fars: Text,
        silence_scale: f32,
    }

    Generation {
        silence_scale: f32,
        speed: f32,
        sid: i32,
        reference_audio: *const f32,
        reference_audio_len: i32,
        reference_sample_rate: i32,
        reference_text: Text,
        num_steps: i32,
        extra: Text,
        phoneme_codepoints: *const i32,
        phoneme_codepoints_lens: *const i32,
        phoneme_codepoints_num_sentences: i32,
        tokens: *const Text,
        tokens_lens: *const i32,
        tokens_num_sentences: i32,
    }

    Audio { samples: *const f32, n: i32, sample_rate: i32, }
}

/// Called with each piece of audio: samples, their number, how far it is, whatever was given. 0 stops the work.
pub(super) type Progress = extern "C" fn(*const f32, i32, f32, *mut c_void) -> i32;

/// Declares the table of functions, with the C prototype of each as a type.
macro_rules! functions {
    ($($(#[$about:meta])* $name:ident = $symbol:literal: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions; valid for as long as this value lives, as it owns the library.
        pub(super) struct Functions {
            $($(#[$about])* pub(super) $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
            /// Its version.
            pub(super) version: String,
            _library: Library,
        }

        impl Functions {
            /// Loads the library.
            ///
            /// # Errors
            /// What the system's loader says, which version it is that we do not speak, which function is missing.
            pub(super) fn load(path: &OsStr) -> Result<Self, LoadError> {
                // SAFETY: the operator's own library; its initialisers, and those of onnxruntime, set up tables.
                let library = unsafe { Library::new(path) }.map_err(|error| LoadError::Missing(whole(&error)))?;
                let version = version(&library)?;
                $(
                    // SAFETY: the type is that of the header of this version, and the pointer is kept with its library.
                    let $name = unsafe { library.get(concat!($symbol, "\0").as_bytes()) }
                        .map(|symbol| *symbol)
                        .map_err(|error| LoadError::Other(whole(&error)))?;
                )*
                Ok(Self { $($name,)* version, _library: library })
            }
        }
    };
}

/// Why there is no library.
#[derive(Debug)]
pub(super) enum LoadError {
    /// It is not there.
    Missing(String),
    /// It is not what it should be.
    Other(String),
}

/// What the system's loader says.
fn whole(error: &libloading::Error) -> String {
    let why = std::error::Error::source(error).map_or_else(String::new, |why| format!(": {why}"));
    format!("{error}{why}")
}

/// Which version it is; an error where it is not one that we speak.
fn version(library: &Library) -> Result<String, LoadError> {
    type Tell = unsafe extern "C" fn() -> Text;
    // SAFETY: the one function whose type has been the same in all versions; it returns a text of the library's own.
    let text = unsafe {
        let tell = library.get::<Tell>(b"SherpaOnnxGetVersionStr\0");
        let tell = tell.map_err(|_| LoadError::Other(format!("it is no sherpa-onnx {SPOKEN}: it tells no version")))?;
        text_of(tell())
    };
    if is_spoken(&text) { Ok(text) } else { Err(LoadError::Other(refusal(&text))) }
}

/// Whether its structures are those above.
fn is_spoken(version: &str) -> bool {
    version.strip_prefix(SPOKEN).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn refusal(version: &str) -> String {
    let version: String = version.chars().filter(|c| !c.is_control()).take(40).collect();
    format!("it is sherpa-onnx {version}, and this host speaks {SPOKEN}, whose structures are others")
}

/// A copy of a text; empty for null.
///
/// # Safety
/// Null, or a valid C string.
pub(super) unsafe fn text_of(text: Text) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

functions! {
    /// Loads a model; null where it cannot.
    create_online = "SherpaOnnxCreateOnlineRecognizer": fn(*const OnlineConfig) -> *const OnlineRecognizer;
    /// Begins a recognition.
    online_stream = "SherpaOnnxCreateOnlineStream": fn(*const OnlineRecognizer) -> *const OnlineStream;
    /// The same, with phrases to expect, a line each.
    online_stream_with_hotwords = "SherpaOnnxCreateOnlineStreamWithHotwords":
        fn(*const OnlineRecognizer, Text) -> *const OnlineStream;
    /// Ends one.
    destroy_online_stream = "SherpaOnnxDestroyOnlineStream": fn(*const OnlineStream);
    /// Takes samples from -1 to 1, of any rate.
    online_accept = "SherpaOnnxOnlineStreamAcceptWaveform": fn(*const OnlineStream, i32, *const f32, i32);
    /// That was all.
    online_finished = "SherpaOnnxOnlineStreamInputFinished": fn(*const OnlineStream);
    /// Whether there is enough to decode; 1 or 0.
    is_online_ready = "SherpaOnnxIsOnlineStreamReady": fn(*const OnlineRecognizer, *const OnlineStream) -> i32;
    /// Decodes some.
    decode_online = "SherpaOnnxDecodeOnlineStream": fn(*const OnlineRecognizer, *const OnlineStream);
    /// What was heard so far.
    online_result = "SherpaOnnxGetOnlineStreamResult":
        fn(*const OnlineRecognizer, *const OnlineStream) -> *const OnlineResult;
    /// Gives a result back.
    destroy_online_result = "SherpaOnnxDestroyOnlineRecognizerResult": fn(*const OnlineResult);

    /// Loads a model; null where it cannot.
    create_offline = "SherpaOnnxCreateOfflineRecognizer": fn(*const OfflineConfig) -> *const OfflineRecognizer;
    /// Begins a recognition.
    offline_stream = "SherpaOnnxCreateOfflineStream": fn(*const OfflineRecognizer) -> *const OfflineStream;
    /// The same, with phrases to expect, a line each.
    offline_stream_with_hotwords = "SherpaOnnxCreateOfflineStreamWithHotwords":
        fn(*const OfflineRecognizer, Text) -> *const OfflineStream;
    /// Ends one.
    destroy_offline_stream = "SherpaOnnxDestroyOfflineStream": fn(*const OfflineStream);
    /// Takes all samples, once.
    offline_accept = "SherpaOnnxAcceptWaveformOffline": fn(*const OfflineStream, i32, *const f32, i32);
    /// Decodes all.
    decode_offline = "SherpaOnnxDecodeOfflineStream": fn(*const OfflineRecognizer, *const OfflineStream);
    /// What was heard.
    offline_result = "SherpaOnnxGetOfflineStreamResult": fn(*const OfflineStream) -> *const OfflineResult;
    /// Gives a result back.
    destroy_offline_result = "SherpaOnnxDestroyOfflineRecognizerResult": fn(*const OfflineResult);

    /// Loads a voice; null where it cannot.
    create_tts = "SherpaOnnxCreateOfflineTts": fn(*const TtsConfig) -> *const OfflineTts;
    /// Samples a second.
    tts_rate = "SherpaOnnxOfflineTtsSampleRate": fn(*const OfflineTts) -> i32;
    /// How many speakers it has.
    tts_speakers = "SherpaOnnxOfflineTtsNumSpeakers": fn(*const OfflineTts) -> i32;
    /// Speaks; null where it cannot.
    generate = "SherpaOnnxOfflineTtsGenerateWithConfig":
        fn(*const OfflineTts, Text, *const Generation, Option<Progress>, *mut c_void) -> *const Audio;
    /// Gives audio back.
    destroy_audio = "SherpaOnnxDestroyOfflineTtsGeneratedAudio": fn(*const Audio);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    /// Against what a C compiler says of the header of 2.0.1.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_structures_are_those_of_the_header() {
        let sizes = [
            size_of::<OnlineConfig>(),
            size_of::<OnlineModelConfig>(),
            size_of::<OfflineConfig>(),
            size_of::<OfflineModelConfig>(),
            size_of::<TtsConfig>(),
            size_of::<TtsModelConfig>(),
            size_of::<Generation>(),
            size_of::<OnlineResult>(),
        ];
        assert_eq!(sizes, [272, 136, 624, 504, 456, 424, 104, 48]);
        let online = [
            offset_of!(OnlineConfig, decoding_method),
            offset_of!(OnlineConfig, hotwords_score),
            offset_of!(OnlineModelConfig, tokens),
            offset_of!(OnlineModelConfig, modeling_unit),
            offset_of!(OnlineModelConfig, nemo_ctc),
        ];
        assert_eq!(online, [144, 184, 48, 88, 120]);
        let offline = [
            offset_of!(OfflineConfig, decoding_method),
            offset_of!(OfflineConfig, hotwords_score),
            offset_of!(OfflineModelConfig, tokens),
            offset_of!(OfflineModelConfig, modeling_unit),
            offset_of!(OfflineModelConfig, sense_voice),
            offset_of!(OfflineModelConfig, fire_red_asr),
            offset_of!(OfflineModelConfig, zipformer_ctc),
            offset_of!(OfflineResult, tokens_arr),
            offset_of!(OfflineResult, lang),
        ];
        assert_eq!(offline, [528, 552, 96, 128, 152, 216, 240, 32, 48]);
        let voices = [
            offset_of!(TtsConfig, rule_fsts),
            offset_of!(TtsConfig, rule_fars),
            offset_of!(TtsConfig, silence_scale),
            offset_of!(TtsModelConfig, num_threads),
            offset_of!(TtsModelConfig, matcha),
            offset_of!(TtsModelConfig, kokoro),
            offset_of!(Generation, sid),
            offset_of!(Generation, phoneme_codepoints),
            offset_of!(Generation, tokens_num_sentences),
        ];
        assert_eq!(voices, [424, 440, 448, 56, 72, 128, 8, 56, 96]);
    }

    #[test]
    fn another_version_is_refused_by_its_name() {
        for (version, spoken) in [("2.0.1", true), ("2.0", true), ("2.1.0", false), ("1.12.13", false), ("2.01", false)]
        {
            assert_eq!(is_spoken(version), spoken, "{version}");
        }
        assert!(refusal("1.12.13").contains("1.12.13") && refusal("1.12.13").contains("2.0"));
    }
}
