//! The synthesisers of a deployment: who speaks, and who steps in.

use crate::breaker::{Admission, Breaker, BreakerConfig, Resting};
use crate::error::SpeechError;
use crate::recogniser::Languages;
use crate::synthesiser::Synthesiser;
use callbox_dialogue::leg::VoiceSettings;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A synthesiser and its place among the others.
#[derive(Clone)]
pub struct Speaker {
    /// What scripts call it: a voice `NAME/voice` is a voice of this one and
    /// of no other, and the voice `NAME` its usual one.
    pub name: String,
    /// The engine.
    pub engine: Arc<dyn Synthesiser>,
    /// Languages it is used for, of those that it speaks.
    pub languages: Languages,
    /// When it is left alone.
    pub breaker: BreakerConfig,
}

impl Speaker {
    /// An engine under its own name, for all it speaks.
    #[must_use]
    pub fn new(engine: Arc<dyn Synthesiser>) -> Self {
        let name = engine.name().to_owned();
        Self { name, engine, languages: Languages::All, breaker: BreakerConfig::default() }
    }
}

/// A speaker at work.
pub(crate) struct Post {
    pub(crate) speaker: Speaker,
    breaker: Mutex<Breaker>,
    began: Instant,
}

impl Post {
    fn new(speaker: Speaker) -> Self {
        let breaker = Mutex::new(Breaker::new(speaker.breaker));
        Self { speaker, breaker, began: Instant::now() }
    }

    pub(crate) fn engine(&self) -> &Arc<dyn Synthesiser> {
        &self.speaker.engine
    }

    /// Asks to use the engine once.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Attempt, Resting> {
        let admission = self.breaker().admit(self.now())?;
        Ok(Attempt { post: self.clone(), admission: Some(admission) })
    }

    /// The same where there is nobody else to ask.
    pub(crate) fn insist(self: &Arc<Self>) -> Attempt {
        self.admit().unwrap_or_else(|_| Attempt { post: self.clone(), admission: None })
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One use of an engine. What is dropped without a word was abandoned.
pub(crate) struct Attempt {
    post: Arc<Post>,
    admission: Option<Admission>,
}

impl Attempt {
    /// It ended so.
    pub(crate) fn ended<T>(mut self, end: &Result<T, SpeechError>) {
        let Some(admission) = self.admission.take() else { return };
        let now = self.post.now();
        match end {
            Ok(_) => self.post.breaker().succeeded(admission),
            // There it is, and serves as many as it may.
            Err(SpeechError::Overloaded { .. }) => self.post.breaker().abandoned(admission),
            Err(error) if error.is_the_engines() => self.post.breaker().failed(admission, now),
            Err(_) => self.post.breaker().succeeded(admission),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            self.post.breaker().abandoned(admission);
        }
    }
}

/// Somebody who can say it, and with which settings.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub(crate) post: Arc<Post>,
    pub(crate) voice: VoiceSettings,
}

/// The speakers in their order of preference.
pub(crate) struct Order {
    posts: Vec<Arc<Post>>,
}

impl Order {
    pub(crate) fn new(speakers: Vec<Speaker>) -> Self {
        Self { posts: speakers.into_iter().map(|speaker| Arc::new(Post::new(speaker))).collect() }
    }

    pub(crate) fn posts(&self) -> &[Arc<Post>] {
        &self.posts
    }

    /// Asks engines for their voices, which some know only then: where there is a choice, it is to be the right one.
    pub(crate) async fn wake(&self) {
        if self.posts.len() > 1 {
            for post in &self.posts {
                // What is wrong with it shows when it is to speak.
                let _ = post.engine().describe().await;
            }
        }
    }

    /// Who can speak so, the best first; at least one.
    ///
    /// Who has the voice comes before who only has the language, and would
    /// speak with another voice.
    ///
    /// # Errors
    /// Nobody has the voice, the language, or the rate.
    pub(crate) fn candidates(&self, wanted: &VoiceSettings) -> Result<Vec<Candidate>, SpeechError> {
        let usual = VoiceSettings { voice: None, ..wanted.clone() };
        let mut found: Vec<Candidate> = Vec::new();
        let mut refusal = None;
        for post in &self.posts {
            let speaker = &post.speaker;
            let asked = match wanted.voice.as_deref().and_then(|voice| own(voice, &speaker.name)) {
                // By its name, with any voice the engine may know.
                Some(voice) => VoiceSettings { voice, ..wanted.clone() },
                None => wanted.clone(),
            };
            let named = asked.voice != wanted.voice;
            let has = match speaker.engine.supports(&asked) {
                Ok(()) => named || speaker.languages.has(&wanted.language) || wanted.voice.is_some(),
                // The operator need not have listed every voice of a provider.
                Err(SpeechError::UnknownVoice { .. }) if named && asked.voice.is_some() => {
                    speaker.engine.takes_any_voice()
                }
                Err(error) => {
                    refusal.get_or_insert(error);
                    false
                }
            };
            if has {
                found.push(Candidate { post: post.clone(), voice: asked });
            }
        }
        if found.is_empty() {
            return Err(refusal.unwrap_or_else(|| SpeechError::UnknownLanguage {
                language: wanted.language.chars().take(64).collect(),
            }));
        }
        for post in &self.posts {
            if !found.iter().any(|candidate| Arc::ptr_eq(&candidate.post, post))
                && post.speaker.languages.has(&usual.language)
                && post.speaker.engine.supports(&usual).is_ok()
            {
                found.push(Candidate { post: post.clone(), voice: usual.clone() });
            }
        }
        Ok(found)
    }
}

/// What follows the name of a speaker in a voice: `Some(None)` for the name
/// alone.
fn own(voice: &str, name: &str) -> Option<Option<String>> {
    let rest = voice.trim().strip_prefix(name)?;
    if rest.is_empty() {
        return Some(None);
    }
    rest.strip_prefix('/').map(|voice| (!voice.is_empty()).then(|| voice.to_owned()))
}
