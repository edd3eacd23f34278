//! What a folder holds that somebody unpacked.
//!
//! Models are published as folders whose files have names by habit: `encoder-epoch-99-avg-1.int8.onnx`, `model.onnx`,
//! `tokens.txt`. What a `model.onnx` is, it says itself: the properties that every exporter writes are at the end of the
//! file, and are read here without the rest.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// Where the properties of a model are: this much of its end.
const TAIL: u64 = 512 << 10;
/// Bytes of a property that are looked at.
const MAX_VALUE: usize = 200;
/// Bytes of a list of tokens that are looked at.
const MAX_TOKENS: u64 = 4 << 20;
/// Files of a folder that are looked at.
const MAX_FILES: usize = 2_000;

/// The kinds of models that hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EarKind {
    /// Streaming Zipformer, Conformer, LSTM or NeMo transducers: encoder, decoder, joiner.
    StreamingTransducer,
    /// Streaming Paraformer: encoder, decoder.
    StreamingParaformer,
    /// Streaming Zipformer2 CTC: one model.
    StreamingZipformerCtc,
    /// Streaming NeMo CTC: one model.
    StreamingNemoCtc,
    /// Transducers for whole utterances.
    Transducer,
    /// Paraformer: one model.
    Paraformer,
    /// NeMo CTC: one model.
    NemoCtc,
    /// Zipformer CTC: one model.
    ZipformerCtc,
    /// SenseVoice: one model.
    SenseVoice,
    /// Whisper: encoder, decoder.
    Whisper,
    /// FireRedASR: encoder, decoder.
    FireRedAsr,
}

impl EarKind {
    const ALL: [(&'static str, Self); 11] = [
        ("streaming-transducer", Self::StreamingTransducer),
        ("streaming-paraformer", Self::StreamingParaformer),
        ("streaming-zipformer-ctc", Self::StreamingZipformerCtc),
        ("streaming-nemo-ctc", Self::StreamingNemoCtc),
        ("transducer", Self::Transducer),
        ("paraformer", Self::Paraformer),
        ("nemo-ctc", Self::NemoCtc),
        ("zipformer-ctc", Self::ZipformerCtc),
        ("sense-voice", Self::SenseVoice),
        ("whisper", Self::Whisper),
        ("fire-red-asr", Self::FireRedAsr),
    ];

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
    }

    /// Its name, as it is in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Whether it hears while the caller speaks.
    #[must_use]
    pub const fn is_streaming(self) -> bool {
        matches!(
            self,
            Self::StreamingTransducer
                | Self::StreamingParaformer
                | Self::StreamingZipformerCtc
                | Self::StreamingNemoCtc
        )
    }

    /// Whether hints can make words likelier.
    const fn takes_hints(self) -> bool {
        matches!(self, Self::StreamingTransducer | Self::Transducer)
    }
}

/// The kinds of models that speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VoiceKind {
    /// VITS, of which Piper and MeloTTS are: one model.
    Vits,
    /// Matcha: one model and a vocoder.
    Matcha,
    /// Kokoro: one model and its voices.
    Kokoro,
}

impl VoiceKind {
    const ALL: [(&'static str, Self); 3] = [("vits", Self::Vits), ("matcha", Self::Matcha), ("kokoro", Self::Kokoro)];

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
    }

    /// Its name, as it is in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// A model that hears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EarModel {
    pub(crate) kind: EarKind,
    /// The encoder, or the only file.
    pub(crate) first: PathBuf,
    pub(crate) decoder: Option<PathBuf>,
    pub(crate) joiner: Option<PathBuf>,
    pub(crate) tokens: PathBuf,
    /// How words become tokens, where hints can be: `cjkchar`, `bpe`, `cjkchar+bpe`.
    pub(crate) unit: Option<String>,
    /// The pieces of words, for the units that have them.
    pub(crate) pieces: Option<PathBuf>,
    /// Its tokens have capitals only.
    pub(crate) capitals: bool,
    /// The characters that are tokens, where hints can be.
    #[serde(skip)]
    pub(crate) letters: BTreeSet<char>,
}

impl EarModel {
    /// A hint as the model can spell it; none where it cannot, since the library gives up all of them for one.
    pub(crate) fn spelt(&self, hint: &str) -> Option<String> {
        let unit = self.unit.as_deref()?;
        let hint = if self.capitals { hint.to_uppercase() } else { hint.to_owned() };
        let mut characters = hint.chars().filter(|c| !c.is_whitespace()).peekable();
        characters.peek()?;
        // Without pieces of words, a word of letters would have to be a token as a whole.
        let fits = |c: char| self.letters.contains(&c) && (unit != "cjkchar" || !c.is_ascii());
        characters.all(fits).then_some(hint)
    }
}

/// A model that speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoiceModel {
    pub(crate) kind: VoiceKind,
    pub(crate) model: PathBuf,
    /// The vocoder of Matcha, the voices of Kokoro.
    pub(crate) second: Option<PathBuf>,
    pub(crate) tokens: PathBuf,
    /// Dictionaries; none for a model that takes phonemes or letters.
    pub(crate) lexicons: Vec<PathBuf>,
    /// Rules for figures and the like.
    pub(crate) rules: Vec<PathBuf>,
    /// The voice of espeak-ng that makes phonemes for it; none for one that reads text.
    pub(crate) phonemes: Option<String>,
}

/// Why a folder is no model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FolderError {
    #[error("the folder `{}` cannot be read: {what}", folder.display())]
    Unreadable { folder: PathBuf, what: String },
    #[error("the folder `{}` has no {wanted}; it has {has}", folder.display())]
    Without { folder: PathBuf, wanted: String, has: String },
    #[error(
        "nobody knows what the model in `{}` is ({told}): name it, model = {kinds}", folder.display()
    )]
    Unknown { folder: PathBuf, told: String, kinds: &'static str },
}

/// A folder that was looked into.
struct Folder {
    path: PathBuf,
    name: String,
    files: BTreeSet<String>,
}

impl Folder {
    fn open(path: &Path) -> Result<Self, FolderError> {
        let unreadable =
            |error: io::Error| FolderError::Unreadable { folder: path.to_owned(), what: error.to_string() };
        let mut files = BTreeSet::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)?.take(MAX_FILES) {
            if let Ok(name) = entry.map_err(unreadable)?.file_name().into_string() {
                files.insert(name);
            }
        }
        // The library wants whole paths: it runs elsewhere.
        let path = path.canonicalize().map_err(unreadable)?;
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().to_lowercase());
        Ok(Self { path, name, files })
    }

    /// The model with one of these in its name, before its first dot; of several the quantised one, or the other.
    fn onnx(&self, stems: &[&str], quantised: bool) -> Option<PathBuf> {
        let models = self.files.iter().filter(|name| name.ends_with(".onnx"));
        let fits = models.filter(|name| stems.iter().any(|stem| name.contains(stem)));
        let best = fits.min_by_key(|name| (name.contains("int8") != quantised, name.contains("fp16"), name.len()));
        best.map(|name| self.path.join(name))
    }

    /// The file of this name.
    fn file(&self, name: &str) -> Option<PathBuf> {
        self.files.contains(name).then(|| self.path.join(name))
    }

    fn tokens(&self) -> Result<PathBuf, FolderError> {
        let other = || self.files.iter().find(|name| name.ends_with("-tokens.txt")).map(|name| self.path.join(name));
        self.file("tokens.txt").or_else(other).ok_or_else(|| self.without("`tokens.txt`"))
    }

    fn without(&self, wanted: &str) -> FolderError {
        let mut has: Vec<&str> = self.files.iter().take(12).map(String::as_str).collect();
        if has.is_empty() {
            has.push("nothing");
        }
        let has = has.join(", ").chars().filter(|c| !c.is_control()).collect();
        FolderError::Without { folder: self.path.clone(), wanted: wanted.to_owned(), has }
    }

    fn unknown(&self, properties: &Properties, kinds: &'static str) -> FolderError {
        let told = match properties.get("model_type") {
            Some(kind) => format!("its `model_type` is `{kind}`"),
            None => "it has no `model_type`".to_owned(),
        };
        FolderError::Unknown { folder: self.path.clone(), told, kinds }
    }
}

/// What a model says of itself.
struct Properties(Vec<u8>);

impl Properties {
    fn read(model: &Path) -> io::Result<Self> {
        let mut file = File::open(model)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut tail = Vec::new();
        file.take(TAIL).read_to_end(&mut tail)?;
        Ok(Self(tail))
    }

    /// A short value. In the file an entry is a key (field 1) and a value (field 2), both with their length before.
    fn get(&self, key: &str) -> Option<String> {
        let entry: Vec<u8> = [&[0x0a, u8::try_from(key.len()).ok()?], key.as_bytes(), &[0x12]].concat();
        let at = self.0.windows(entry.len()).rposition(|part| part == entry)? + entry.len();
        let length = usize::from(*self.0.get(at)?);
        // One byte for the length is enough for 127.
        let value = self.0.get(at + 1..at + 1 + length).filter(|_| length < 128)?;
        let value = String::from_utf8_lossy(value);
        Some(value.chars().filter(|c| !c.is_control()).take(MAX_VALUE).collect())
    }

    fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn kind(&self) -> String {
        self.get("model_type").unwrap_or_default().to_lowercase()
    }
}

const EAR_KINDS: &str = "streaming-transducer, streaming-paraformer, streaming-zipformer-ctc, streaming-nemo-ctc, \
                         transducer, paraformer, nemo-ctc, zipformer-ctc, sense-voice, whisper or fire-red-asr";
const VOICE_KINDS: &str = "vits, matcha or kokoro";

/// The model in a folder, of this kind or of the one that it looks like.
pub(crate) fn ear(path: &Path, named: Option<EarKind>) -> Result<EarModel, FolderError> {
    let folder = Folder::open(path)?;
    let unreadable = |error: io::Error| FolderError::Unreadable { folder: path.to_owned(), what: error.to_string() };
    let encoder = folder.onnx(&["encoder"], true);
    let decoder = folder.onnx(&["decoder"], false);
    let joiner = folder.onnx(&["joiner"], true);
    let single = folder.onnx(&["model", "ctc"], true);
    let Some(first) = encoder.clone().or_else(|| single.clone()) else {
        return Err(folder.without("`encoder*.onnx`, `model*.onnx` or `ctc*.onnx`"));
    };
    let properties = Properties::read(&first).map_err(unreadable)?;
    let kind = match named {
        Some(kind) => kind,
        None => {
            let parts = (encoder.is_some(), decoder.is_some(), joiner.is_some());
            looks_like(&folder.name, parts, &properties).ok_or_else(|| folder.unknown(&properties, EAR_KINDS))?
        }
    };
    let part = |part: Option<PathBuf>, wanted: &str| part.ok_or_else(|| folder.without(wanted));
    let transducer = matches!(kind, EarKind::StreamingTransducer | EarKind::Transducer);
    let pair = matches!(kind, EarKind::StreamingParaformer | EarKind::Whisper | EarKind::FireRedAsr);
    let first = match transducer || pair {
        true => part(encoder, "`encoder*.onnx`")?,
        false => part(single, "`model*.onnx` or `ctc*.onnx`")?,
    };
    let tokens = folder.tokens()?;
    let pieces = folder.file("bpe.vocab");
    let Spelling { unit, capitals, letters } =
        if kind.takes_hints() { Spelling::read(&tokens, pieces.is_some()) } else { Spelling::default() };
    Ok(EarModel {
        kind,
        first,
        decoder: if transducer || pair { Some(part(decoder, "`decoder*.onnx`")?) } else { None },
        joiner: if transducer { Some(part(joiner, "`joiner*.onnx`")?) } else { None },
        tokens,
        unit,
        pieces,
        capitals,
        letters,
    })
}

/// What a model with these parts – encoder, decoder, joiner – is, by what it says and by the name of its folder.
fn looks_like(folder: &str, parts: (bool, bool, bool), properties: &Properties) -> Option<EarKind> {
    let kind = properties.kind();
    let streaming = folder.contains("streaming") || properties.has("decode_chunk_len") || properties.has("chunk_shift");
    let says = |word: &str| kind.contains(word) || kind.is_empty() && folder.contains(word);
    Some(match parts {
        (true, true, true) if streaming => EarKind::StreamingTransducer,
        (true, true, true) => EarKind::Transducer,
        (true, true, false) if says("whisper") => EarKind::Whisper,
        (true, true, false) if says("paraformer") => EarKind::StreamingParaformer,
        (true, true, false) if says("fire") => EarKind::FireRedAsr,
        (true, true, false) if folder.contains("fire-red") => EarKind::FireRedAsr,
        (true, ..) => return None,
        _ if says("sense_voice") || says("sense-voice") => EarKind::SenseVoice,
        _ if says("paraformer") => EarKind::Paraformer,
        _ if says("zipformer") && streaming => EarKind::StreamingZipformerCtc,
        _ if says("zipformer") => EarKind::ZipformerCtc,
        _ if (kind.starts_with("encdec") || says("nemo")) && streaming => EarKind::StreamingNemoCtc,
        _ if kind.starts_with("encdec") || says("nemo") => EarKind::NemoCtc,
        _ => return None,
    })
}

/// How a model spells words.
#[derive(Default)]
struct Spelling {
    /// By their Chinese characters, and by pieces of words where those are known.
    unit: Option<String>,
    capitals: bool,
    letters: BTreeSet<char>,
}

impl Spelling {
    fn read(tokens: &Path, pieces: bool) -> Self {
        let mut bytes = Vec::new();
        if File::open(tokens).and_then(|file| file.take(MAX_TOKENS).read_to_end(&mut bytes)).is_err() {
            return Self::default();
        }
        let text = String::from_utf8_lossy(&bytes);
        // A token and its number; `<blk>` and the like are no words.
        let tokens = || text.lines().filter_map(|line| line.split_whitespace().next()).filter(|t| !t.starts_with('<'));
        let mut letters = BTreeSet::new();
        for token in tokens() {
            let mut characters = token.trim_start_matches('▁').chars();
            if let (Some(only), None) = (characters.next(), characters.next()) {
                letters.insert(only);
            }
        }
        let hanzi = letters.iter().any(|c| matches!(c, '\u{4e00}'..='\u{9fff}'));
        let unit = match (hanzi, pieces) {
            (true, true) => Some("cjkchar+bpe"),
            (true, false) => Some("cjkchar"),
            (false, true) => Some("bpe"),
            (false, false) => None,
        };
        let capitals = tokens().any(|token| token.contains(|c: char| c.is_ascii_uppercase()))
            && !tokens().any(|token| token.contains(|c: char| c.is_ascii_lowercase()));
        Self { unit: unit.map(str::to_owned), capitals, letters }
    }
}

/// The voice in a folder, of this kind or of the one that it looks like.
pub(crate) fn voice(path: &Path, named: Option<VoiceKind>) -> Result<VoiceModel, FolderError> {
    let folder = Folder::open(path)?;
    let unreadable = |error: io::Error| FolderError::Unreadable { folder: path.to_owned(), what: error.to_string() };
    let vocoder = folder.onnx(&["vocos", "hifigan", "vocoder"], false);
    let others = folder.files.iter().filter(|name| name.ends_with(".onnx"));
    let mut others: Vec<&String> = others.filter(|name| vocoder.as_ref() != Some(&folder.path.join(name))).collect();
    others.sort_by_key(|name| (name.contains("int8"), name.len()));
    let Some(model) = others.first().map(|name| folder.path.join(name)) else {
        return Err(folder.without("`*.onnx`"));
    };
    let properties = Properties::read(&model).map_err(unreadable)?;
    let says = properties.kind();
    let kind = match named {
        Some(kind) => kind,
        None if says.contains("kokoro") => VoiceKind::Kokoro,
        None if says.contains("matcha") => VoiceKind::Matcha,
        None if says.contains("vits") || says.contains("melo") => VoiceKind::Vits,
        None if says.is_empty() && folder.file("voices.bin").is_some() => VoiceKind::Kokoro,
        None if says.is_empty() && vocoder.is_some() => VoiceKind::Matcha,
        None if says.is_empty() && properties.has("n_speakers") => VoiceKind::Vits,
        None => return Err(folder.unknown(&properties, VOICE_KINDS)),
    };
    let second = match kind {
        VoiceKind::Vits => None,
        VoiceKind::Matcha => Some(vocoder.ok_or_else(|| folder.without("vocoder: `vocos*.onnx` or `hifigan*.onnx`"))?),
        VoiceKind::Kokoro => Some(folder.file("voices.bin").ok_or_else(|| folder.without("`voices.bin`"))?),
    };
    // Kokoro has its English twice, and the first that has a word is believed.
    let twice = |name: &str| name == "lexicon-gb-en.txt" && folder.files.contains("lexicon-us-en.txt");
    let lexicons = folder.files.iter().filter(|name| name.starts_with("lexicon") && name.ends_with(".txt"));
    let lexicons = lexicons.filter(|name| !twice(name));
    let lexicons: Vec<PathBuf> = lexicons.map(|name| folder.path.join(name)).collect();
    // Figures, then words that are read in more than one way.
    let rules = ["phone.fst", "date.fst", "number.fst", "new_heteronym.fst"];
    let letters = properties.get("frontend").is_some_and(|frontend| frontend == "characters");
    let phonemes = (lexicons.is_empty() && !letters)
        .then(|| properties.get("voice").filter(|voice| is_voice(voice)).unwrap_or_else(|| "en-us".to_owned()));
    Ok(VoiceModel {
        kind,
        model,
        second,
        tokens: folder.tokens()?,
        lexicons,
        rules: rules.into_iter().filter_map(|name| folder.file(name)).collect(),
        phonemes,
    })
}

/// Whether this may be given to espeak-ng as a voice.
fn is_voice(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name.len() <= 40
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that ends as a model does.
    fn model(properties: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = vec![7; 100];
        for (key, value) in properties {
            let (k, v) = (u8::try_from(key.len()).unwrap(), u8::try_from(value.len()).unwrap());
            bytes.extend([0x72, k + v + 4, 0x0a, k]);
            bytes.extend(key.bytes());
            bytes.extend([0x12, v]);
            bytes.extend(value.bytes());
        }
        bytes
    }

    fn folder(name: &str, files: &[(&str, Vec<u8>)]) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(name);
        std::fs::create_dir(&path).unwrap();
        for (name, bytes) in files {
            std::fs::write(path.join(name), bytes).unwrap();
        }
        (root, path)
    }

    fn named(path: &Option<PathBuf>) -> Option<String> {
        path.as_ref().map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
    }

    /// Folders laid out as they are published.
    #[test]
    fn published_folders_are_known() {
        let tokens = || ("tokens.txt", "<blk> 0\n好 1\n".as_bytes().to_vec());
        let zipformer = || model(&[("model_type", "zipformer"), ("decode_chunk_len", "32")]);
        for (name, files, kind) in [
            (
                "sherpa-onnx-streaming-zipformer-bilingual-zh-en-2023-02-20",
                vec![
                    ("encoder-epoch-99-avg-1.onnx", zipformer()),
                    ("encoder-epoch-99-avg-1.int8.onnx", zipformer()),
                    ("decoder-epoch-99-avg-1.onnx", vec![]),
                    ("decoder-epoch-99-avg-1.int8.onnx", vec![]),
                    ("joiner-epoch-99-avg-1.int8.onnx", vec![]),
                ],
                EarKind::StreamingTransducer,
            ),
            (
                "sherpa-onnx-streaming-paraformer-bilingual-zh-en",
                vec![("encoder.int8.onnx", model(&[("model_type", "paraformer")])), ("decoder.int8.onnx", vec![])],
                EarKind::StreamingParaformer,
            ),
            (
                "anywhere",
                vec![("ctc-epoch-20-avg-1-chunk-16-left-128.onnx", zipformer())],
                EarKind::StreamingZipformerCtc,
            ),
            (
                "sherpa-onnx-sense-voice-zh-en-ja-ko-yue-2024-07-17",
                vec![("model.onnx", vec![]), ("model.int8.onnx", model(&[("model_type", "sense_voice_ctc")]))],
                EarKind::SenseVoice,
            ),
            ("sherpa-onnx-paraformer-zh-2023-09-14", vec![("model.int8.onnx", vec![])], EarKind::Paraformer),
            (
                "sherpa-onnx-nemo-ctc-en-citrinet-512",
                vec![("model.onnx", model(&[("model_type", "EncDecCTCModelBPE")]))],
                EarKind::NemoCtc,
            ),
            (
                "sherpa-onnx-nemo-parakeet-tdt-0.6b-v2-int8",
                vec![
                    ("encoder.int8.onnx", model(&[("model_type", "EncDecRNNTBPEModel")])),
                    ("decoder.int8.onnx", vec![]),
                    ("joiner.int8.onnx", vec![]),
                ],
                EarKind::Transducer,
            ),
            (
                "sherpa-onnx-whisper-tiny.en",
                vec![
                    ("tiny.en-encoder.int8.onnx", model(&[("model_type", "whisper-tiny.en")])),
                    ("tiny.en-decoder.int8.onnx", vec![]),
                ],
                EarKind::Whisper,
            ),
        ] {
            let (_root, path) = folder(name, &[&files[..], &[tokens()]].concat());
            assert_eq!(ear(&path, None).map(|found| found.kind), Ok(kind), "{name}");
        }
    }

    #[test]
    fn of_two_files_the_one_for_a_processor_is_taken() {
        let (_root, path) = folder(
            "streaming",
            &[
                ("encoder-epoch-99-avg-1.onnx", vec![]),
                ("encoder-epoch-99-avg-1.int8.onnx", vec![]),
                ("decoder-epoch-99-avg-1.onnx", vec![]),
                ("decoder-epoch-99-avg-1.int8.onnx", vec![]),
                ("joiner-epoch-99-avg-1.int8.onnx", vec![]),
                ("tokens.txt", "<blk> 0\n▁THE 1\nA 2\n▁B 3\n".into()),
                ("bpe.vocab", vec![]),
            ],
        );
        let found = ear(&path, None).unwrap();
        assert_eq!(named(&Some(found.first.clone())).as_deref(), Some("encoder-epoch-99-avg-1.int8.onnx"));
        assert_eq!(named(&found.decoder).as_deref(), Some("decoder-epoch-99-avg-1.onnx"));
        assert_eq!((found.unit.as_deref(), found.capitals), (Some("bpe"), true));
        assert_eq!(found.spelt("ab ba").as_deref(), Some("AB BA"));
        assert_eq!([found.spelt("abc"), found.spelt(" "), found.spelt("你")], [None, None, None]);
    }

    #[test]
    fn an_error_names_what_was_looked_for() {
        let (_root, path) = folder("empty", &[("readme.md", vec![])]);
        let error = ear(&path, None).unwrap_err().to_string();
        assert!(error.contains("`encoder*.onnx`") && error.contains("readme.md"), "{error}");
        let (_root, path) = folder("odd", &[("model.onnx", model(&[("model_type", "tea-pot")]))]);
        let error = ear(&path, None).unwrap_err().to_string();
        assert!(error.contains("tea-pot") && error.contains("sense-voice"), "{error}");
        let error = ear(&path, EarKind::named("sense-voice")).unwrap_err().to_string();
        assert!(error.contains("`tokens.txt`"), "{error}");
        let error = ear(&path, EarKind::named("whisper")).unwrap_err().to_string();
        assert!(error.contains("`encoder*.onnx`"), "{error}");
        let error = voice(Path::new("/nowhere"), None).unwrap_err().to_string();
        assert!(error.contains("/nowhere"), "{error}");
    }

    #[test]
    fn voices_are_known() {
        let tokens = || ("tokens.txt", vec![]);
        let (_root, path) = folder(
            "vits-piper-en_US-amy-low",
            &[("en_US-amy-low.onnx", model(&[("model_type", "vits"), ("voice", "en-us")])), tokens()],
        );
        let found = voice(&path, None).unwrap();
        assert_eq!((found.kind, found.phonemes.as_deref()), (VoiceKind::Vits, Some("en-us")));
        let (_root, path) = folder(
            "vits-melo-tts-zh_en",
            &[
                ("model.onnx", model(&[("model_type", "melo-vits"), ("comment", "melo")])),
                ("lexicon.txt", vec![]),
                ("number.fst", vec![]),
                tokens(),
            ],
        );
        let found = voice(&path, None).unwrap();
        assert_eq!((found.kind, found.phonemes, found.rules.len()), (VoiceKind::Vits, None, 1));
        let (_root, path) = folder(
            "kokoro-multi-lang-v1_1",
            &[
                ("model.onnx", model(&[("model_type", "kokoro")])),
                ("voices.bin", vec![]),
                ("lexicon-gb-en.txt", vec![]),
                ("lexicon-us-en.txt", vec![]),
                ("lexicon-zh.txt", vec![]),
                tokens(),
            ],
        );
        let found = voice(&path, None).unwrap();
        assert_eq!((found.kind, found.lexicons.len()), (VoiceKind::Kokoro, 2));
        let (_root, path) = folder("matcha-icefall-zh-baker", &[("model-steps-3.onnx", vec![]), tokens()]);
        let error = voice(&path, VoiceKind::named("matcha")).unwrap_err().to_string();
        assert!(error.contains("vocos*.onnx"), "{error}");
    }

    #[test]
    fn every_kind_has_a_name() {
        for (name, kind) in EarKind::ALL {
            assert_eq!((EarKind::named(name), kind.name()), (Some(kind), name));
            assert!(EAR_KINDS.contains(name));
        }
        for (name, kind) in VoiceKind::ALL {
            assert_eq!((VoiceKind::named(name), kind.name()), (Some(kind), name));
            assert!(VOICE_KINDS.contains(name));
        }
    }
}
