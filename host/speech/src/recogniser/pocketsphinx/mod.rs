//! The recogniser that a fresh Debian machine has: pocketsphinx with its
//! English model, for closed grammars.
//!
//! What it cannot do it says by its abilities: free speech (a third of the
//! words would be wrong) and other languages (there is no other model in
//! Debian). Library and model are found when they are first needed; without
//! them every recognition fails with `Missing` and the packages' names.
//!
//! The library itself runs in [`super::worker`]'s process. Here is what needs
//! no C: the sentences of the grammar, how its words are pronounced, and the
//! audio's way there.

mod clean;
mod confidence;
pub(crate) mod decoder;
mod dictionary;
mod features;
mod ffi;
mod letters;
mod passage;

use super::process::{Process, Program};
use super::worker::Setting;
use super::worker::frames::{Job, Sounds};
use super::{Abilities, Confidence, Heard, Languages, Listening, Recogniser, RecogniserError, Run, Work};
use crate::synthesiser::{EngineInfo, Pending};
use callbox_grammar::{Grammar, Jsgf};
use dictionary::{Dictionary, is_pronunciation};
use letters::Letters;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

const NAME: &str = "pocketsphinx";
/// Words of one grammar.
const MAX_WORDS: usize = 5_000;

/// How pocketsphinx is run.
#[derive(Clone, Debug)]
pub struct PocketsphinxConfig {
    /// Its name in logs and figures.
    pub name: String,
    /// The library; a bare name is looked for where the system has its libraries.
    pub library: PathBuf,
    /// The folder with the acoustic model, the dictionary and the model of phones.
    pub model: PathBuf,
    /// A program whose `recogniser-worker` is [`super::recogniser_worker`]: our own.
    pub worker: PathBuf,
    /// espeak-ng, for words that are in no dictionary.
    pub espeak: PathBuf,
}

impl PocketsphinxConfig {
    /// Debian's packages, and this program.
    #[must_use]
    pub fn new(worker: PathBuf) -> Self {
        Self {
            name: NAME.to_owned(),
            library: "libpocketsphinx.so.3".into(),
            model: "/usr/share/pocketsphinx/model/en-us".into(),
            worker,
            espeak: "espeak-ng".into(),
        }
    }
}

/// The recogniser.
pub struct Pocketsphinx {
    engine: Arc<Engine>,
}

struct Engine {
    config: PocketsphinxConfig,
    process: Process,
    dictionary: OnceLock<Dictionary>,
    letters: Letters,
}

impl Pocketsphinx {
    /// Starts nothing yet: what is missing is found out by
    /// [`Recogniser::describe`] and by the first recognition.
    #[must_use]
    pub fn new(config: PocketsphinxConfig) -> Self {
        let setting = Setting::Pocketsphinx { library: config.library.clone(), model: config.model.clone() };
        let program = Program { path: config.worker.clone(), engine: config.name.clone(), setting };
        let letters = Letters::new(&config.espeak);
        let engine = Engine { config, process: Process::new(program), dictionary: OnceLock::new(), letters };
        Self { engine: Arc::new(engine) }
    }

    /// The number of the process that the library runs in, once it has been
    /// started: to see what it takes, and for tests to end it.
    pub async fn process_id(&self) -> Option<u32> {
        self.engine.process.id().await
    }
}

impl Recogniser for Pocketsphinx {
    fn name(&self) -> &str {
        &self.engine.config.name
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            languages: Languages::Some(vec!["en".to_owned()]),
            dictation: false,
            grammars: true,
            partials: true,
            alternatives: false,
            word_times: true,
            own_end_pointing: false,
            confidence: Some(Confidence::Measured),
        }
    }

    fn start(&self, what: Listening) -> Run {
        let engine = self.engine.clone();
        Run::spawn(|work| async move { engine.recognise(what, work).await })
    }

    fn describe(&self) -> Pending<'_, Result<EngineInfo, RecogniserError>> {
        Box::pin(async {
            let version = self.engine.process.version().await?;
            let words = blocking(&self.engine, |engine| Ok(engine.dictionary()?.len())).await?;
            Ok(EngineInfo { version: format!("{version}, {words} words"), voices: 0 })
        })
    }
}

impl Engine {
    async fn recognise(self: &Arc<Self>, what: Listening, work: Work) -> Result<Heard, RecogniserError> {
        let job = self.job(what).await?;
        self.process.recognise(&job, work).await
    }

    async fn job(self: &Arc<Self>, what: Listening) -> Result<Job, RecogniserError> {
        let (rate_hz, partials) = (what.rate_hz, what.partials);
        if !matches!(rate_hz, 8_000 | 16_000) {
            return Err(self.setting(format!("{rate_hz} samples a second")));
        }
        let abilities = Languages::Some(vec!["en".to_owned()]);
        let language = what.languages.into_iter().find(|tag| abilities.has(tag)).unwrap_or_else(|| "en".to_owned());
        let grammar = what.grammar.ok_or_else(|| self.bad_grammar("there is none"))?;
        let asked = language.clone();
        let (text, mut words) = blocking(self, move |engine| engine.words(&grammar, &asked)).await?;
        let unknown: Vec<String> =
            words.iter().filter(|(_, ways)| ways.is_empty()).map(|(word, _)| word.clone()).collect();
        let mut found = self.letters.pronounce(&unknown).await.into_iter();
        for (word, ways) in words.iter_mut().filter(|(_, ways)| ways.is_empty()) {
            let way = found.next().flatten();
            ways.push(way.ok_or_else(|| RecogniserError::Unpronounceable {
                engine: self.config.name.clone(),
                word: word.clone(),
            })?);
        }
        Ok(Job { rate_hz, partials, language, jsgf: Some(text), words, hints: Vec::new() })
    }

    /// The sentences of a grammar, and its words with what is known of their pronunciation.
    fn words(&self, grammar: &Grammar, language: &str) -> Result<(String, Sounds), RecogniserError> {
        let Jsgf { text, words, pronunciations } =
            grammar.jsgf(language).map_err(|error| self.bad_grammar(&error.to_string()))?;
        if words.len() > MAX_WORDS {
            return Err(RecogniserError::TooMuch { what: "words of a grammar", limit: MAX_WORDS as u64 });
        }
        let dictionary = self.dictionary()?;
        let known = words.into_iter().map(|word| {
            let ways = match pronunciations.get(&word) {
                Some(given) if is_pronunciation(given) => vec![given.clone()],
                Some(given) => {
                    let what = format!("the pronunciation `{given}` of `{word}` is no ARPABET without stress");
                    return Err(self.bad_grammar(&what));
                }
                None => dictionary.pronunciations(&word),
            };
            Ok((word, ways))
        });
        Ok((text, known.collect::<Result<_, _>>()?))
    }

    /// The dictionary, read once.
    fn dictionary(&self) -> Result<&Dictionary, RecogniserError> {
        if let Some(dictionary) = self.dictionary.get() {
            return Ok(dictionary);
        }
        let path = self.config.model.join("cmudict-en-us.dict");
        let read = Dictionary::read(&path).map_err(|error| RecogniserError::Missing {
            engine: self.config.name.clone(),
            what: format!("the dictionary `{}`: {error}", path.display()),
            remedy: "`apt-get install pocketsphinx-en-us`".to_owned(),
        })?;
        // Two may read it at the same time, once.
        Ok(self.dictionary.get_or_init(|| read))
    }

    fn bad_grammar(&self, what: &str) -> RecogniserError {
        RecogniserError::BadGrammar { engine: self.config.name.clone(), what: what.to_owned() }
    }

    fn setting(&self, what: String) -> RecogniserError {
        RecogniserError::InvalidSetting { engine: self.config.name.clone(), what }
    }
}

/// Work that takes longer than a poll should.
async fn blocking<T: Send + 'static>(
    engine: &Arc<Engine>,
    work: impl FnOnce(&Engine) -> Result<T, RecogniserError> + Send + 'static,
) -> Result<T, RecogniserError> {
    let (name, engine) = (engine.config.name.clone(), engine.clone());
    match tokio::task::spawn_blocking(move || work(&engine)).await {
        Ok(done) => done,
        Err(error) => Err(RecogniserError::Broken { engine: name, what: error.to_string() }),
    }
}
