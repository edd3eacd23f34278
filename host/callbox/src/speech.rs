//! Voices and recognisers: what the operator settles about them, and the engines that are made of it.
//!
//! `[speech]` has what is embedded. `[[speech.synthesisers]]` and `[[speech.recognisers]]` are lists in the order of
//! preference; an empty one stands for the embedded engine alone.

use crate::config::{Config, Secret};
use callbox_speech::recogniser::{Ear, EarLimits, Pocketsphinx, PocketsphinxConfig};
use callbox_speech::remote::{
    CustomEar, CustomVoice, DeepgramEar, DeepgramVoice, Dialer, Key, OpenAiEar, OpenAiVoice, Patience, Provider,
    RemoteEar, RemoteVoice,
};
use callbox_speech::sherpa::{EarKind, SherpaEar, SherpaEarConfig, SherpaVoice, SherpaVoiceConfig, VoiceKind};
use callbox_speech::{
    BreakerConfig, Ears, Espeak, EspeakConfig, Flite, FliteConfig, Languages, Recogniser, Speaker, SpeechConfig,
    Synthesiser, resample,
};
use miette::{Context, IntoDiagnostic, miette};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// The voice, and the ear.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Speech {
    /// The espeak-ng program.
    pub(crate) espeak: PathBuf,
    /// Rendered prompts kept in memory.
    pub(crate) cache_mb: usize,
    /// A folder where rendered prompts are kept over a restart. What was said lies there as plain audio, names
    /// and amounts included: off unless it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Who speaks, in the order of preference; espeak-ng where nobody is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) synthesisers: Vec<Engine>,
    /// Who listens, likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) recognisers: Vec<Engine>,
}

/// One engine. Which values it takes depends on its kind; one that its kind does not know is refused.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Engine {
    /// What it is called: in logs, and before its voices (`house/anna`). Letters, digits, `-`, `_`.
    pub(crate) name: String,
    /// `espeak`, `flite`, `pocketsphinx`, `sherpa`, `openai`, `deepgram` or `custom`.
    pub(crate) kind: Kind,
    /// Where its server is: `https://api.openai.com/v1`, `wss://api.deepgram.com/v1`, the address of a custom vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// What its server asks for; better given by `key_env`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Secret>,
    /// The variable of the environment that has the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_env: Option<String>,
    /// The server's model; at `sherpa` what its model is (`sense-voice`, `vits`), where the folder does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// The voice where neither the script nor the language names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) voice: Option<String>,
    /// Voices by language: `{ de = "anna" }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) voices: BTreeMap<String, String>,
    /// Languages it is used for (`en`, `en-GB`); empty for all that it has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) languages: Vec<String>,
    /// Samples a second of raw audio, where the server does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sample_rate: Option<u32>,
    /// The program, where it is not the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) program: Option<PathBuf>,
    /// The library, where it is not the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) library: Option<PathBuf>,
    /// The folder of its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<PathBuf>,
    /// Threads of one recognition or render.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threads: Option<u16>,
    /// How long connecting may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connect_ms: Option<u64>,
    /// How long the first piece of an answer may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_ms: Option<u64>,
    /// How long each further piece may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stall_ms: Option<u64>,
}

/// What an engine is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Not given, which is an error.
    #[default]
    #[serde(skip)]
    None,
    /// espeak-ng, a process: about 100 languages, functional.
    Espeak,
    /// flite, a process: English.
    Flite,
    /// pocketsphinx, a library: English, closed grammars.
    Pocketsphinx,
    /// sherpa-onnx, a library with a model of the operator's.
    Sherpa,
    /// A server that speaks OpenAI's HTTP protocol.
    Openai,
    /// A server that speaks Deepgram's WebSocket protocol.
    Deepgram,
    /// A server for jambonz's custom speech.
    Custom,
}

impl Kind {
    const fn is_remote(self) -> bool {
        matches!(self, Self::Openai | Self::Deepgram | Self::Custom)
    }

    /// Schemes of its URLs.
    const fn schemes(self, speaks: bool) -> &'static [&'static str] {
        match self {
            Self::Openai => &["https", "http"],
            Self::Custom if speaks => &["https", "http", "wss", "ws"],
            _ => &["wss", "ws"],
        }
    }
}

/// Longest time that may be configured.
const MAX_MS: u64 = 60_000;
/// Threads of one recognition or render.
const MAX_THREADS: u16 = 64;
/// Engines of a list.
const MAX_ENGINES: usize = 32;

impl Default for Speech {
    fn default() -> Self {
        Self {
            espeak: "espeak-ng".into(),
            cache_mb: 64,
            cache_dir: None,
            synthesisers: Vec::new(),
            recognisers: Vec::new(),
        }
    }
}

impl Speech {
    /// Whether every engine can be made of what is given.
    pub(crate) fn check(&self) -> miette::Result<()> {
        for (list, engines, speaks) in
            [("speech.synthesisers", &self.synthesisers, true), ("speech.recognisers", &self.recognisers, false)]
        {
            if engines.len() > MAX_ENGINES {
                return Err(miette!("{list} has {} entries; at most {MAX_ENGINES}", engines.len()));
            }
            let mut names = BTreeSet::new();
            for (i, engine) in engines.iter().enumerate() {
                let place = if engine.name.is_empty() {
                    format!("{list}[{i}]")
                } else {
                    format!("{list}[{i}] ({})", shown(&engine.name))
                };
                engine.check(speaks).map_err(|wrong| miette!(help = wrong.help, "{place}: {}", wrong.what))?;
                if !names.insert(engine.name.as_str()) {
                    return Err(miette!(
                        help = "names tell engines and their voices apart",
                        "{place}: the name is there twice"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Without its secrets, to be shown.
    pub(crate) fn without_secrets(mut self) -> Self {
        for engine in self.synthesisers.iter_mut().chain(&mut self.recognisers) {
            engine.key = None;
        }
        self
    }
}

/// What is wrong with an entry.
struct Wrong {
    what: String,
    help: &'static str,
}

impl Engine {
    fn check(&self, speaks: bool) -> Result<(), Wrong> {
        let wrong = |what: String, help| Err(Wrong { what, help });
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if self.name.is_empty() || self.name.len() > 32 || !self.name.chars().all(plain) {
            return wrong("it needs a name".into(), "1 to 32 letters, digits, `-`, `_`: name = \"house\"");
        }
        let kinds = if speaks {
            "kind = \"espeak\", \"flite\", \"sherpa\", \"openai\", \"deepgram\" or \"custom\""
        } else {
            "kind = \"pocketsphinx\", \"sherpa\", \"openai\", \"deepgram\" or \"custom\""
        };
        match self.kind {
            Kind::None => return wrong("it needs a kind".into(), kinds),
            Kind::Espeak | Kind::Flite if !speaks => return wrong("that kind cannot listen".into(), kinds),
            Kind::Pocketsphinx if speaks => return wrong("that kind cannot speak".into(), kinds),
            _ => {}
        }
        let remote = self.kind.is_remote();
        let given = [
            ("url", self.url.is_some(), remote),
            ("key", self.key.is_some(), remote),
            ("key_env", self.key_env.is_some(), remote),
            ("model", self.model.is_some(), remote || self.kind == Kind::Sherpa),
            ("voice", self.voice.is_some(), speaks && (remote || matches!(self.kind, Kind::Flite | Kind::Sherpa))),
            ("voices", !self.voices.is_empty(), speaks && (remote || self.kind == Kind::Sherpa)),
            ("sample_rate", self.sample_rate.is_some(), speaks && remote),
            ("program", self.program.is_some(), matches!(self.kind, Kind::Espeak | Kind::Flite)),
            ("library", self.library.is_some(), matches!(self.kind, Kind::Pocketsphinx | Kind::Sherpa)),
            ("folder", self.folder.is_some(), matches!(self.kind, Kind::Pocketsphinx | Kind::Sherpa)),
            ("threads", self.threads.is_some(), self.kind == Kind::Sherpa),
            ("connect_ms", self.connect_ms.is_some(), remote),
            ("first_ms", self.first_ms.is_some(), remote),
            ("stall_ms", self.stall_ms.is_some(), remote),
        ];
        for (name, given, fits) in given {
            if given && !fits {
                return wrong(format!("`{name}` is not for this kind"), "docs/speech.md has what each kind takes");
            }
        }
        for language in self.languages.iter().chain(self.voices.keys()) {
            let part = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_alphanumeric());
            if language.len() > 35 || !language.split('-').all(part) {
                return wrong(format!("`{}` is no language", shown(language)), "for example `en`, `en-GB`, `zh-CN`");
            }
        }
        for (name, given) in [("connect_ms", self.connect_ms), ("first_ms", self.first_ms), ("stall_ms", self.stall_ms)]
        {
            if given.is_some_and(|given| given == 0 || given > MAX_MS) {
                return wrong(format!("`{name}` is out of bounds"), "1 to 60000, in milliseconds");
            }
        }
        if let Some(rate) = self.sample_rate
            && resample::Resampler::new(rate).is_none()
        {
            return wrong(
                format!("{rate} samples a second are not possible"),
                "8000, 16000, 22050, 24000, 44100, 48000",
            );
        }
        match self.kind {
            Kind::Sherpa => self.check_sherpa(speaks),
            _ if remote => self.check_remote(speaks),
            _ => Ok(()),
        }
    }

    fn check_sherpa(&self, speaks: bool) -> Result<(), Wrong> {
        let wrong = |what: String, help| Err(Wrong { what, help });
        if self.folder.as_ref().is_none_or(|folder| !folder.is_absolute()) {
            return wrong("it needs the `folder` of its model".into(), "its whole path: folder = \"/srv/models/…\"");
        }
        if self.languages.is_empty() {
            return wrong(
                "it needs `languages`: no model tells what it was trained with".into(),
                "languages = [\"en\"]",
            );
        }
        if self.threads.is_some_and(|threads| threads == 0 || threads > MAX_THREADS) {
            return wrong("`threads` is out of bounds".into(), "1 to 64");
        }
        let known = |kind: &str| if speaks { VoiceKind::named(kind).is_some() } else { EarKind::named(kind).is_some() };
        match &self.model {
            Some(kind) if !known(kind) => {
                wrong(format!("`{}` is no kind of model", shown(kind)), "docs/speech.md lists the kinds")
            }
            _ => Ok(()),
        }
    }

    fn check_remote(&self, speaks: bool) -> Result<(), Wrong> {
        let wrong = |what: String, help| Err(Wrong { what, help });
        let help = match self.kind {
            Kind::Openai => "for example url = \"https://api.openai.com/v1\"",
            Kind::Deepgram => "for example url = \"wss://api.deepgram.com/v1\"",
            _ => "for example url = \"wss://speech.example.com/stt\"",
        };
        let Some(url) = &self.url else { return wrong("it needs a `url`".into(), help) };
        let url = match Url::parse(url) {
            Ok(url) => url,
            Err(error) => return wrong(format!("its `url` is none: {error}"), help),
        };
        if !self.kind.schemes(speaks).contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
            return wrong(format!("its `url` cannot begin with `{}:`", shown(url.scheme())), help);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("its `url` holds a name or a password".into(), "give the key as `key_env` or `key`");
        }
        if self.key.is_some() && self.key_env.is_some() {
            return wrong("`key` and `key_env` are both given".into(), "one of them is enough");
        }
        match self.secret() {
            Ok(Some(key)) if !key.bytes().all(|c| c.is_ascii_graphic()) || key.is_empty() => {
                wrong("its key is empty, or has characters that no header carries".into(), "ASCII without spaces")
            }
            Ok(_) => Ok(()),
            Err(name) => {
                wrong(format!("the variable {} has no key", shown(name)), "set it, or name another by `key_env`")
            }
        }
    }

    /// Its key; the name of the variable that should have it and has not.
    fn secret(&self) -> Result<Option<String>, &str> {
        match (&self.key, &self.key_env) {
            (Some(key), _) => Ok(Some(key.0.clone())),
            (None, Some(name)) => std::env::var(name).map(Some).map_err(|_| name.as_str()),
            (None, None) => Ok(None),
        }
    }

    fn provider(&self) -> miette::Result<Provider> {
        let usual = Patience::default();
        let ms = |given: Option<u64>, usual| given.map_or(usual, Duration::from_millis);
        let url = self.url.as_deref().and_then(|url| Url::parse(url).ok());
        let url = url.ok_or_else(|| miette!("the engine {} has no url", self.name))?;
        if self.key.is_some() || self.key_env.is_some() {
            let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
            let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
            if matches!(url.scheme(), "http" | "ws") && !here {
                tracing::warn!(engine = self.name, "its key and what callers say go over the network in the clear");
            }
        }
        let key = self.secret().map_err(|name| miette!("the variable {name} has no key"))?;
        Ok(Provider {
            name: self.name.as_str().into(),
            url,
            key: key.as_deref().map(Key::new),
            model: self.model.clone(),
            patience: Patience {
                connect: ms(self.connect_ms, usual.connect),
                first: ms(self.first_ms, usual.first),
                stall: ms(self.stall_ms, usual.stall),
            },
        })
    }
}

/// A piece of the configuration, for an error.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// How speech is made.
pub(crate) fn config(config: &Config) -> SpeechConfig {
    let mut speech = SpeechConfig {
        espeak: EspeakConfig { program: config.speech.espeak.clone(), ..EspeakConfig::default() },
        ..SpeechConfig::default()
    };
    speech.cache.memory_bytes = config.speech.cache_mb << 20;
    speech.cache.directory.clone_from(&config.speech.cache_dir);
    speech
}

/// What reaches providers, with the authorities of `[tls]`.
pub(crate) fn dialer_of(config: &Config) -> miette::Result<Dialer> {
    Dialer::new(config.tls.platform_roots, &config.tls.extra_roots).into_diagnostic()
}

/// The voices, in the operator's order.
pub(crate) fn voices(config: &Config) -> miette::Result<callbox_speech::Speech> {
    let values = &config.speech;
    let speech = self::config(config);
    if values.synthesisers.is_empty() {
        return callbox_speech::Speech::new(speech).into_diagnostic();
    }
    let mut speakers = Vec::with_capacity(values.synthesisers.len());
    let mut dialled = None;
    for engine in &values.synthesisers {
        let mut dialer = || -> miette::Result<Dialer> {
            if dialled.is_none() {
                dialled = Some(dialer_of(config)?);
            }
            dialled.clone().ok_or_else(|| miette!("no connection can be made"))
        };
        let made: Arc<dyn Synthesiser> = match engine.kind {
            Kind::Openai => Arc::new(OpenAiVoice::new(engine.remote_voice(24_000)?, dialer()?)),
            Kind::Deepgram => Arc::new(DeepgramVoice::new(engine.remote_voice(8_000)?, dialer()?)),
            Kind::Custom => Arc::new(CustomVoice::new(engine.remote_voice(8_000)?, dialer()?)),
            Kind::Espeak => {
                let program = engine.program.clone().unwrap_or_else(|| values.espeak.clone());
                Arc::new(Espeak::new(EspeakConfig { program, ..EspeakConfig::default() }))
            }
            Kind::Flite => {
                let usual = FliteConfig::default();
                Arc::new(Flite::new(FliteConfig {
                    program: engine.program.clone().unwrap_or(usual.program),
                    voice: engine.voice.clone().unwrap_or(usual.voice),
                    ..FliteConfig::default()
                }))
            }
            Kind::Sherpa => Arc::new(SherpaVoice::new(engine.sherpa_voice(config)?)),
            Kind::None | Kind::Pocketsphinx => {
                return Err(miette!("speech.synthesisers ({}): this build has no such voice", engine.name));
            }
        };
        speakers.push(Speaker {
            name: engine.name.clone(),
            engine: made,
            languages: engine.languages(),
            breaker: BreakerConfig::default(),
        });
    }
    callbox_speech::Speech::with_speakers(speech, speakers).into_diagnostic()
}

/// The recognisers, in the operator's order; Debian's pocketsphinx where none is named. Nothing is started yet: one that
/// is not installed says so when it is needed, and to `callbox doctor`.
pub(crate) fn ears(config: &Config) -> miette::Result<Ears> {
    ears_within(config, &EarLimits::default())
}

/// The same, with other limits.
pub(crate) fn ears_within(config: &Config, limits: &EarLimits) -> miette::Result<Ears> {
    let embedded = Engine { name: "pocketsphinx".to_owned(), kind: Kind::Pocketsphinx, ..Engine::default() };
    let engines = match config.speech.recognisers.as_slice() {
        [] => std::slice::from_ref(&embedded),
        engines => engines,
    };
    let mut ears = Vec::with_capacity(engines.len());
    let mut dialled: Option<Dialer> = None;
    for engine in engines {
        let dialer = match &dialled {
            Some(dialer) => dialer.clone(),
            None => dialled.insert(dialer_of(config)?).clone(),
        };
        let remote = || -> miette::Result<RemoteEar> {
            Ok(RemoteEar { provider: engine.provider()?, languages: engine.languages() })
        };
        let made: Arc<dyn Recogniser> = match engine.kind {
            Kind::Openai => Arc::new(OpenAiEar::new(remote()?, dialer)),
            Kind::Deepgram => Arc::new(DeepgramEar::new(remote()?, dialer)),
            Kind::Custom => Arc::new(CustomEar::new(remote()?, dialer)),
            Kind::Pocketsphinx => Arc::new(Pocketsphinx::new(engine.pocketsphinx(config)?)),
            Kind::Sherpa => Arc::new(SherpaEar::new(engine.sherpa_ear()?)),
            Kind::None | Kind::Espeak | Kind::Flite => {
                return Err(miette!("speech.recognisers ({}): this build has no such recogniser", engine.name));
            }
        };
        ears.push(Ear { engine: made, languages: engine.languages(), limits: limits.clone() });
    }
    Ok(Ears::new(ears))
}

/// This very program: libraries run in it, started once more.
fn worker() -> miette::Result<PathBuf> {
    std::env::current_exe().into_diagnostic().wrap_err("where this program is")
}

impl Engine {
    /// What it is used for.
    pub(crate) fn languages(&self) -> Languages {
        if self.languages.is_empty() { Languages::All } else { Languages::Some(self.languages.clone()) }
    }

    /// Debian's, where nothing else is said.
    fn pocketsphinx(&self, config: &Config) -> miette::Result<PocketsphinxConfig> {
        let usual = PocketsphinxConfig::new(worker()?);
        Ok(PocketsphinxConfig {
            name: self.name.clone(),
            library: self.library.clone().unwrap_or(usual.library),
            model: self.folder.clone().unwrap_or(usual.model),
            espeak: config.speech.espeak.clone(),
            worker: usual.worker,
        })
    }

    fn sherpa_ear(&self) -> miette::Result<SherpaEarConfig> {
        Ok(SherpaEarConfig {
            name: self.name.clone(),
            library: self.library.clone(),
            folder: self.folder.clone().unwrap_or_default(),
            kind: self.model.as_deref().and_then(EarKind::named),
            languages: self.languages(),
            threads: self.threads.unwrap_or(1),
            worker: worker()?,
        })
    }

    fn sherpa_voice(&self, config: &Config) -> miette::Result<SherpaVoiceConfig> {
        Ok(SherpaVoiceConfig {
            name: self.name.clone(),
            library: self.library.clone(),
            folder: self.folder.clone().unwrap_or_default(),
            kind: self.model.as_deref().and_then(VoiceKind::named),
            languages: self.languages(),
            voice: self.voice.clone(),
            voices: self.voices.clone(),
            threads: self.threads.unwrap_or(1),
            worker: worker()?,
            espeak: config.speech.espeak.clone(),
            ..SherpaVoiceConfig::default()
        })
    }

    fn remote_voice(&self, rate_hz: u32) -> miette::Result<RemoteVoice> {
        Ok(RemoteVoice {
            provider: self.provider()?,
            voice: self.voice.clone(),
            voices: self.voices.clone(),
            languages: self.languages(),
            rate_hz: self.sample_rate.unwrap_or(rate_hz),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn checked(toml: &str) -> Result<Speech, String> {
        let speech: Speech = toml::from_str(toml).map_err(|error| error.to_string())?;
        match speech.check() {
            Ok(()) => Ok(speech),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn takes_engines_in_their_order() {
        let speech = checked(
            r#"
            [[synthesisers]]
            name = "house"
            kind = "openai"
            url = "https://tts.example.com/v1"
            key = "sk-secret"
            model = "kokoro"
            voice = "af_sky"
            voices = { de = "anna" }
            languages = ["en", "de"]
            first_ms = 1500
            [[synthesisers]]
            name = "plain"
            kind = "espeak"
            [[recognisers]]
            name = "dg"
            kind = "deepgram"
            url = "wss://api.deepgram.com/v1"
            "#,
        )
        .unwrap();
        let names: Vec<&str> = speech.synthesisers.iter().map(|engine| engine.name.as_str()).collect();
        assert_eq!(names, ["house", "plain"]);
        let provider = speech.synthesisers[0].provider().unwrap();
        assert_eq!(provider.patience.first, Duration::from_millis(1_500));
        for shown in
            [format!("{speech:?}"), format!("{provider:?}"), toml::to_string(&speech.without_secrets()).unwrap()]
        {
            assert!(!shown.contains("sk-secret"), "{shown}");
        }
    }

    #[test]
    fn an_error_names_the_entry() {
        let entry =
            |body: &str| format!("[[synthesisers]]\nname = \"ok\"\nkind = \"espeak\"\n[[synthesisers]]\n{body}");
        for (body, said) in [
            ("kind = \"espeak\"", "speech.synthesisers[1]: it needs a name"),
            ("name = \"a b\"\nkind = \"espeak\"", "speech.synthesisers[1] (a b): it needs a name"),
            ("name = \"x\"", "speech.synthesisers[1] (x): it needs a kind"),
            ("name = \"ok\"\nkind = \"espeak\"", "(ok): the name is there twice"),
            ("name = \"x\"\nkind = \"pocketsphinx\"", "that kind cannot speak"),
            ("name = \"x\"\nkind = \"sherpa\"", "it needs the `folder`"),
            ("name = \"x\"\nkind = \"sherpa\"\nfolder = \"m\"", "it needs the `folder`"),
            ("name = \"x\"\nkind = \"sherpa\"\nfolder = \"/m\"", "it needs `languages`"),
            (
                "name = \"x\"\nkind = \"sherpa\"\nfolder = \"/m\"\nlanguages = [\"en\"]\nmodel = \"whisper\"",
                "`whisper` is no kind of model",
            ),
            ("name = \"x\"\nkind = \"espeak\"\nthreads = 2", "`threads` is not for this kind"),
            ("name = \"x\"\nkind = \"openai\"", "it needs a `url`"),
            ("name = \"x\"\nkind = \"openai\"\nurl = \"wss://x/\"", "cannot begin with `wss:`"),
            ("name = \"x\"\nkind = \"deepgram\"\nurl = \"https://x/\"", "cannot begin with `https:`"),
            ("name = \"x\"\nkind = \"custom\"\nurl = \"https://u:hunter2@x/\"", "holds a name or a password"),
            ("name = \"x\"\nkind = \"espeak\"\nurl = \"https://x/\"", "`url` is not for this kind"),
            (
                "name = \"x\"\nkind = \"openai\"\nurl = \"https://x/\"\nlanguages = [\"no such\"]",
                "`no such` is no language",
            ),
            ("name = \"x\"\nkind = \"openai\"\nurl = \"https://x/\"\nstall_ms = 0", "`stall_ms` is out of bounds"),
            ("name = \"x\"\nkind = \"openai\"\nurl = \"https://x/\"\nsample_rate = 9", "9 samples a second"),
            ("name = \"x\"\nkind = \"openai\"\nurl = \"https://x/\"\nkey = \"a b\"", "its key is empty, or has"),
            ("name = \"x\"\nkind = \"openai\"\nurl = \"https://x/\"\nkey = \"a\"\nkey_env = \"B\"", "both given"),
            (
                "name = \"x\"\nkind = \"openai\"\nurl = \"https://x/\"\nkey_env = \"CALLBOX_TEST_NOWHERE\"",
                "the variable CALLBOX_TEST_NOWHERE has no key",
            ),
        ] {
            let error = checked(&entry(body)).unwrap_err();
            assert!(error.contains(said) && !error.contains("hunter2"), "{body}: {error}");
        }
        let sherpa = "[[recognisers]]\nname = \"x\"\nkind = \"sherpa\"\nfolder = \"/m\"\nlanguages = [\"zh\"]";
        assert!(checked(sherpa).is_ok() && checked(&format!("{sherpa}\nmodel = \"sense-voice\"")).is_ok());
        assert!(checked(&format!("{sherpa}\nvoice = \"1\"")).unwrap_err().contains("`voice` is not for this kind"));
        let error = checked("[[recognisers]]\nname = \"x\"\nkind = \"espeak\"").unwrap_err();
        assert_eq!(error, "speech.recognisers[0] (x): that kind cannot listen");
        assert!(checked("[[synthesisers]]\nname = \"x\"\nkind = \"mystery\"").unwrap_err().contains("mystery"));
    }
}
