//! Audio that has been rendered: kept, and rendered once for all who ask.
//!
//! Whoever asks for an utterance follows its [`Flight`]: the audio is fetched
//! from the directory or rendered by one task, however many follow. When the
//! last follower goes away before the end, the task stops, and with it the
//! engine. Only a complete render is kept.

mod disk;
mod lru;

pub(crate) use disk::Disk;

use crate::error::SpeechError;
use crate::order::{Attempt, Post};
use crate::synthesiser::{Chunk, EngineInfo, Part, Utterance};
use callbox_dialogue::time::Millis;
use callbox_media::Clip;
pub(crate) use lru::Lru;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// What an entry costs besides its samples.
const BYTES_PER_ENTRY: usize = 512;

/// Where rendered audio is kept.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// Bytes of audio in memory; half an hour of speech is 72 MB.
    pub memory_bytes: usize,
    /// Also here, across restarts. Several hosts may share it.
    pub directory: Option<PathBuf>,
    /// Bytes of audio in the directory.
    pub directory_bytes: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { memory_bytes: 64 << 20, directory: None, directory_bytes: 512 << 20 }
    }
}

/// How the cache does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Utterances answered from memory, those that another call had just asked
    /// for included.
    pub hits: u64,
    /// Utterances read from the directory.
    pub disk_hits: u64,
    /// Utterances that were rendered.
    pub renders: u64,
    /// Bytes in memory.
    pub bytes: usize,
}

/// The name of an utterance's audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(pub(crate) [u8; 32]);

impl Key {
    /// All that decides about the samples.
    pub(crate) fn of(engine: &str, info: &EngineInfo, what: &Utterance) -> Self {
        let mut hash = Sha256::new();
        let rate = what.voice.rate.map(|rate| rate.to_string());
        let pitch = what.pitch.to_string();
        for field in [
            "callbox-speech 2",
            engine,
            &info.version,
            what.voice.voice.as_deref().unwrap_or_default(),
            &what.voice.language.to_ascii_lowercase(),
            rate.as_deref().unwrap_or_default(),
            &pitch,
            &what.text,
        ] {
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field);
        }
        Self(hash.finalize().into())
    }
}

/// A complete render.
#[derive(Debug, Default)]
pub(crate) struct Rendered {
    pub(crate) chunks: Vec<Chunk>,
}

impl Rendered {
    pub(crate) fn duration_ms(&self) -> Millis {
        self.chunks.iter().map(|chunk| chunk.clip.duration_ms()).sum()
    }

    fn bytes(&self) -> usize {
        let samples: usize = self.chunks.iter().map(|chunk| chunk.clip.samples().len()).sum();
        samples * Clip::BYTES_PER_SAMPLE + BYTES_PER_ENTRY
    }
}

/// The cache.
pub(crate) struct Renders {
    state: Mutex<State>,
    disk: Option<Arc<Disk>>,
}

struct State {
    ready: Lru<Key, Arc<Rendered>>,
    flights: HashMap<Key, watch::Sender<Flight>>,
    stats: CacheStats,
}

/// How far a render has come.
#[derive(Default)]
pub(crate) struct Flight {
    chunks: Vec<Chunk>,
    end: Option<Result<Arc<Rendered>, SpeechError>>,
}

impl Renders {
    pub(crate) fn new(memory_bytes: usize, disk: Option<Disk>) -> Arc<Self> {
        let state = State { ready: Lru::new(memory_bytes), flights: HashMap::new(), stats: CacheStats::default() };
        Arc::new(Self { state: Mutex::new(state), disk: disk.map(Arc::new) })
    }

    pub(crate) fn stats(&self) -> CacheStats {
        let state = self.lock();
        CacheStats { bytes: state.ready.weight(), ..state.stats }
    }

    /// The audio of an utterance, from wherever it is soonest; none where the
    /// engine would have to make it and is left alone for now. Who insists is
    /// not told so.
    pub(crate) fn fetch(
        self: &Arc<Self>,
        post: &Arc<Post>,
        info: &EngineInfo,
        what: Utterance,
        insist: bool,
    ) -> Option<Follower> {
        let key = Key::of(post.engine().name(), info, &what);
        let mut state = self.lock();
        if let Some(rendered) = state.ready.get(&key) {
            let follower = Follower::Ready { rendered: rendered.clone(), next: 0 };
            state.stats.hits += 1;
            return Some(follower);
        }
        if let Some(flight) = state.flights.get(&key) {
            let flight = flight.subscribe();
            state.stats.hits += 1;
            return Some(Follower::Flying { flight, next: 0 });
        }
        let attempt = if insist { post.insist() } else { post.admit().ok()? };
        let (sender, flight) = watch::channel(Flight::default());
        state.flights.insert(key, sender.clone());
        drop(state);
        tokio::spawn(self.clone().fly(key, sender, post.clone(), attempt, what));
        Some(Follower::Flying { flight, next: 0 })
    }

    /// Waits until nothing is being rendered, but not for longer than `most`.
    pub(crate) async fn idle(&self, most: Duration) {
        let step = Duration::from_millis(20);
        let mut left = most;
        while !self.lock().flights.is_empty() && !left.is_zero() {
            tokio::time::sleep(step).await;
            left = left.saturating_sub(step);
        }
    }

    async fn fly(
        self: Arc<Self>,
        key: Key,
        flight: watch::Sender<Flight>,
        post: Arc<Post>,
        attempt: Attempt,
        what: Utterance,
    ) {
        // However this task ends, nobody is to follow it any more.
        let landing = Landing { renders: &self, key };
        let stored = match &self.disk {
            Some(disk) => disk.clone().read(key).await,
            None => None,
        };
        if let Some(rendered) = stored {
            self.land(landing, &flight, Ok(rendered), |stats| stats.disk_hits += 1);
            return;
        }
        let engine = post.engine();
        let mut parts = engine.speak(what);
        let end = loop {
            tokio::select! {
                () = flight.closed() => {
                    let mut state = self.lock();
                    // Somebody may have come back in the meantime; with the lock held nobody does.
                    if flight.receiver_count() == 0 {
                        state.flights.remove(&key);
                        drop(state);
                        std::mem::forget(landing);
                        return;
                    }
                }
                part = parts.recv() => match part {
                    Some(Ok(Part::Audio(chunk))) => flight.send_modify(|flight| flight.chunks.push(chunk)),
                    Some(Ok(Part::End)) => break Ok(Rendered { chunks: flight.borrow().chunks.clone() }),
                    Some(Err(error)) => break Err(error),
                    None => break Err(SpeechError::CutShort { engine: engine.name().to_owned() }),
                }
            }
        };
        attempt.ended(&end);
        self.land(landing, &flight, end, |stats| stats.renders += 1);
    }

    /// Keeps what is complete and tells all who follow.
    fn land(
        &self,
        landing: Landing<'_>,
        flight: &watch::Sender<Flight>,
        end: Result<Rendered, SpeechError>,
        count: impl FnOnce(&mut CacheStats),
    ) {
        let key = landing.key;
        std::mem::forget(landing);
        let mut fresh = None;
        let end = end.map(Arc::new);
        let mut state = self.lock();
        if let Ok(rendered) = &end {
            state.ready.insert(key, rendered.clone(), rendered.bytes());
        }
        count(&mut state.stats);
        state.flights.remove(&key);
        drop(state);
        flight.send_modify(|flight| {
            // What came from the directory has no pieces yet.
            if let (true, Ok(rendered)) = (flight.chunks.is_empty(), &end) {
                flight.chunks.clone_from(&rendered.chunks);
            } else {
                fresh = end.as_ref().ok().cloned();
            }
            flight.end = Some(end);
        });
        if let (Some(disk), Some(rendered)) = (&self.disk, fresh) {
            disk.clone().write(key, rendered);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under this lock leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a flight off the list when its task ends early.
struct Landing<'a> {
    renders: &'a Renders,
    key: Key,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.renders.lock().flights.remove(&self.key);
    }
}

/// One of those who wait for an utterance. Dropping the last one stops its
/// render.
pub(crate) enum Follower {
    Ready { rendered: Arc<Rendered>, next: usize },
    Flying { flight: watch::Receiver<Flight>, next: usize },
}

impl Follower {
    /// The next chunk as soon as it exists; none after the last.
    pub(crate) async fn next(&mut self) -> Option<Result<Chunk, SpeechError>> {
        match self {
            Self::Ready { rendered, next } => {
                let chunk = rendered.chunks.get(*next)?.clone();
                *next += 1;
                Some(Ok(chunk))
            }
            Self::Flying { flight, next } => {
                let seen = flight.wait_for(|flight| flight.chunks.len() > *next || flight.end.is_some()).await;
                let Ok(flight) = seen else { return Some(Err(gone())) };
                if let Some(chunk) = flight.chunks.get(*next) {
                    *next += 1;
                    return Some(Ok(chunk.clone()));
                }
                match &flight.end {
                    Some(Err(error)) => Some(Err(error.clone())),
                    _ => None,
                }
            }
        }
    }

    /// How long it is, where all of it is there.
    pub(crate) fn complete_ms(&self) -> Option<Millis> {
        match self {
            Self::Ready { rendered, .. } => Some(rendered.duration_ms()),
            Self::Flying { flight, .. } => match &flight.borrow().end {
                Some(Ok(rendered)) => Some(rendered.duration_ms()),
                _ => None,
            },
        }
    }
}

/// The task of the flight is gone: the runtime is shutting down.
fn gone() -> SpeechError {
    SpeechError::EngineBroken { engine: "host", what: "the render was given up".to_owned() }
}

/// See [`crate::fuzz::cache_file`].
pub(crate) fn fuzz_file(data: &[u8]) {
    let key = Key(data.get(8..40).and_then(|key| key.try_into().ok()).unwrap_or_default());
    if let Some(rendered) = disk::decode(data, key) {
        assert!(rendered.duration_ms() as usize <= data.len() && !rendered.chunks.is_empty());
    }
}
