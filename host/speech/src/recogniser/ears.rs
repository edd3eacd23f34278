//! The recognisers of a deployment.

use super::relay::relay;
use super::{Languages, Listening, Recogniser, RecogniserError, Run};
use crate::breaker::{Admission, Breaker, BreakerConfig, BreakerState};
use crate::synthesiser::EngineInfo;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Hints of one listening, and bytes of one.
const MAX_HINTS: usize = 1_000;
const MAX_HINT: usize = 200;
/// Languages of one listening.
const MAX_LANGUAGES: usize = 16;

/// What a recogniser may take.
#[derive(Clone, Debug)]
pub struct EarLimits {
    /// Recognitions at once.
    pub at_once: usize,
    /// Recognitions that may wait for one of those places; more are refused.
    pub waiting: usize,
    /// Longest wait for a place. The caller speaks meanwhile; nothing is lost.
    pub wait: Duration,
    /// The result has to be there so long after the end of the utterance.
    pub result: Duration,
    /// Audio that waits has to be taken within this.
    pub stall: Duration,
    /// When it is left alone.
    pub breaker: BreakerConfig,
}

impl Default for EarLimits {
    fn default() -> Self {
        Self {
            at_once: 64,
            waiting: 64,
            wait: Duration::from_secs(1),
            // What is in time takes a tenth of a second. On a machine that is overloaded a late answer is better than none.
            result: Duration::from_secs(10),
            stall: Duration::from_secs(10),
            breaker: BreakerConfig::default(),
        }
    }
}

/// A recogniser and what it may take.
#[derive(Clone)]
pub struct Ear {
    /// The engine.
    pub engine: Arc<dyn Recogniser>,
    /// Languages it is used for, of those that it has.
    pub languages: Languages,
    /// Its limits.
    pub limits: EarLimits,
}

/// How a recogniser does, for figures and `callbox doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarState {
    /// Its name.
    pub name: String,
    /// Whether it is used.
    pub breaker: BreakerState,
    /// Recognitions that run.
    pub running: usize,
    /// Recognitions that wait for a place.
    pub waiting: usize,
    /// Recognitions that began since the start of the host.
    pub started: u64,
    /// Those of them that the engine failed.
    pub failed: u64,
}

/// The recognisers of a deployment, in their order of preference. Cheap to
/// clone; shared by all calls.
#[derive(Clone)]
pub struct Ears {
    posts: Arc<[Arc<Post>]>,
}

impl Ears {
    /// These recognisers; who comes first is asked first. Without any, every
    /// listening fails with `UnknownLanguage`.
    #[must_use]
    pub fn new(ears: impl IntoIterator<Item = Ear>) -> Self {
        let began = Instant::now();
        let posts = ears.into_iter().map(|ear| Arc::new(Post::new(ear, began))).collect();
        Self { posts }
    }

    /// Has every recogniser begin what takes it long – a process, a model –, and tells the log which ones work. Until one
    /// has, a recognition that it is too slow for is not held against it. Returns at once; to be called once, and within
    /// a tokio runtime.
    pub fn wake(&self) {
        for post in self.posts.iter().cloned() {
            post.waking.store(true, Ordering::Relaxed);
            tokio::spawn(async move {
                let recogniser = post.engine.name();
                let checked = post.engine.describe().await;
                post.waking.store(false, Ordering::Relaxed);
                match checked {
                    Ok(info) => tracing::info!(recogniser, version = info.version, "a recogniser works"),
                    Err(error) => tracing::warn!(recogniser, %error, "a recogniser does not work"),
                }
            });
        }
    }

    /// Whether some recogniser can recognise this.
    ///
    /// # Errors
    /// `UnknownLanguage`; `Unable` where the language is heard, but not so;
    /// `TooMuch` for too many hints or languages.
    pub fn can(&self, what: &Listening) -> Result<(), RecogniserError> {
        self.able(what).map(drop)
    }

    /// Recognises by the first recogniser that can. Where one fails before
    /// there is a result, the next gets all of the audio again. To be called
    /// within a tokio runtime.
    #[must_use]
    pub fn listen(&self, what: Listening) -> Run {
        match self.able(&what) {
            Ok(posts) => {
                let (run, work) = Run::new();
                tokio::spawn(relay(posts, what, work));
                run
            }
            Err(error) => Run::failed(error),
        }
    }

    /// Asks every recogniser whether it works.
    pub async fn check(&self) -> Vec<(String, Result<EngineInfo, RecogniserError>)> {
        let mut all = Vec::with_capacity(self.posts.len());
        for post in self.posts.iter() {
            all.push((post.engine.name().to_owned(), post.engine.describe().await));
        }
        all
    }

    /// How each does.
    #[must_use]
    pub fn states(&self) -> Vec<EarState> {
        self.posts.iter().map(|post| post.state()).collect()
    }

    /// Those that can, in their order.
    fn able(&self, what: &Listening) -> Result<Vec<Arc<Post>>, RecogniserError> {
        for (name, got, limit) in
            [("languages", what.languages.len(), MAX_LANGUAGES), ("hints", what.hints.len(), MAX_HINTS)]
        {
            if got > limit {
                return Err(RecogniserError::TooMuch { what: name, limit: limit as u64 });
            }
        }
        if what.hints.iter().any(|hint| hint.len() > MAX_HINT) {
            return Err(RecogniserError::TooMuch { what: "bytes of a hint", limit: MAX_HINT as u64 });
        }
        let mut refusal = RecogniserError::UnknownLanguage { languages: what.languages.join(", ") };
        let mut able = Vec::new();
        for post in self.posts.iter().filter(|post| what.languages.iter().any(|tag| post.languages.has(tag))) {
            match post.engine.can(what) {
                Ok(()) => able.push(post.clone()),
                // That it cannot do this tells more than that another does not know the language.
                Err(RecogniserError::UnknownLanguage { .. }) => {}
                Err(error) => refusal = error,
            }
        }
        if able.is_empty() { Err(refusal) } else { Ok(able) }
    }
}

/// One recogniser, as all calls share it.
pub(super) struct Post {
    pub(super) engine: Arc<dyn Recogniser>,
    languages: Languages,
    pub(super) limits: EarLimits,
    /// What the breaker's time counts from.
    began: Instant,
    breaker: Mutex<Breaker>,
    /// It has been told to get ready, and is not yet.
    waking: AtomicBool,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    running: AtomicUsize,
    started: AtomicU64,
    failed: AtomicU64,
}

impl Post {
    fn new(ear: Ear, began: Instant) -> Self {
        let Ear { engine, languages, limits } = ear;
        Self {
            engine,
            languages,
            began,
            breaker: Mutex::new(Breaker::new(limits.breaker)),
            waking: AtomicBool::new(false),
            places: Arc::new(Semaphore::new(limits.at_once.clamp(1, Semaphore::MAX_PERMITS))),
            limits,
            waiting: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            started: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    fn state(&self) -> EarState {
        EarState {
            name: self.engine.name().to_owned(),
            breaker: self.with_breaker(|breaker, now| breaker.state(now)),
            running: self.running.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            started: self.started.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    fn with_breaker<T>(&self, act: impl FnOnce(&mut Breaker, Duration) -> T) -> T {
        // A breaker is whole between any two of its methods.
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut breaker, self.began.elapsed())
    }

    /// A place at this recogniser: waits for one, and not for long.
    pub(super) async fn enter(self: &Arc<Self>) -> Result<Turn, RecogniserError> {
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => self.queue().await?,
        };
        let admission = self.with_breaker(Breaker::admit).map_err(|resting| RecogniserError::Resting {
            engine: self.engine.name().to_owned(),
            failures: resting.failures,
            retry_ms: u32::try_from(resting.retry.as_millis()).unwrap_or(u32::MAX),
        })?;
        self.started.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        Ok(Turn { post: self.clone(), admission: Some(admission), _place: place })
    }

    async fn queue(&self) -> Result<OwnedSemaphorePermit, RecogniserError> {
        let _waiting = Waiting::take(&self.waiting, self.limits.waiting).ok_or_else(|| self.overloaded())?;
        match tokio::time::timeout(self.limits.wait, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(self.overloaded()),
        }
    }

    fn overloaded(&self) -> RecogniserError {
        RecogniserError::Overloaded {
            engine: self.engine.name().to_owned(),
            running: self.running.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }
}

/// One of those who wait for a place.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let taken = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < most).then_some(taken)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One use of a recogniser. Dropped without a verdict, it tells the breaker
/// that nobody waited.
pub(super) struct Turn {
    post: Arc<Post>,
    admission: Option<Admission>,
    _place: OwnedSemaphorePermit,
}

impl Turn {
    /// It gave a result.
    pub(super) fn succeeded(mut self) {
        if let Some(admission) = self.admission.take() {
            self.post.with_breaker(|breaker, _| breaker.succeeded(admission));
        }
    }

    /// It gave none. Whether that is its own fault is in the error.
    pub(super) fn failed(mut self, error: &RecogniserError) {
        // Of one that is still waking up nothing is known; the turn is given back as if nobody had waited.
        if error.is_fault()
            && !self.post.waking.load(Ordering::Relaxed)
            && let Some(admission) = self.admission.take()
        {
            self.post.failed.fetch_add(1, Ordering::Relaxed);
            self.post.with_breaker(|breaker, now| breaker.failed(admission, now));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.post.running.fetch_sub(1, Ordering::Relaxed);
        if let Some(admission) = self.admission.take() {
            self.post.with_breaker(|breaker, _| breaker.abandoned(admission));
        }
    }
}
