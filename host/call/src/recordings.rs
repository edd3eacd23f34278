//! Recordings: made in a folder of this host, brought to where files are kept in the background, and shown by links that
//! need no API key.
//!
//! What a dead process left in the folder is found at the next start and goes the same way: a file is valid at any moment
//! of its making, short by little more than a second.

use bytes::Bytes;
use callbox_dialogue::CallId;
use callbox_store::completion::NewRecording;
use callbox_store::objects::Objects;
use callbox_store::recordings::{DueRecording, Found, RecordingRow, RecordingState};
use callbox_store::{Store, StoreError, UnixMs};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Recordings on their way at once.
const AT_ONCE: usize = 8;
/// Recordings looked at in one go.
const STEP: u32 = 64;
/// The first pause after a failure, ms; each is four times the one before.
const PAUSE_MS: u64 = 5_000;
/// The longest pause, ms.
const LONGEST_PAUSE_MS: u64 = 3_600_000;
/// After so long a recording is lost, ms.
const GIVEN_UP_MS: u64 = 3 * 24 * 3_600_000;
/// But not before so many attempts: a clock that jumps is no reason.
const FEWEST_ATTEMPTS: u32 = 20;
/// How often work is looked for that nobody has told of.
const LOOK: Duration = Duration::from_secs(30);
/// Bytes of a WAV file before its samples.
const HEADER: usize = 44;
/// Bytes of a millisecond: two channels of 8,000 samples a second.
const MILLISECOND: u64 = 32;

/// Where recordings are made and kept.
#[derive(Clone, Debug)]
pub struct RecordingPolicy {
    /// The folder of this host in which they are made.
    pub folder: PathBuf,
    /// The same, to read from.
    pub here: Objects,
    /// Where they are brought; none where they stay in their folder.
    pub kept: Option<Objects>,
    /// How long a link to one is good, ms.
    pub link_ms: u64,
}

impl RecordingPolicy {
    /// They stay in this folder; links are good for a week.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn here(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let folder = folder.into();
        Ok(Self { here: Objects::folder(&folder)?, folder, kept: None, link_ms: 7 * 24 * 3_600_000 })
    }
}

/// The recordings of a host. Cloning gives another handle.
#[derive(Clone)]
pub struct Recordings {
    inner: Arc<Inner>,
}

struct Inner {
    policy: RecordingPolicy,
    store: Store,
    host: String,
    public_url: String,
    made: Notify,
}

impl Recordings {
    pub(crate) fn new(policy: RecordingPolicy, store: Store, host: String, public_url: String) -> Self {
        Self { inner: Arc::new(Inner { policy, store, host, public_url, made: Notify::new() }) }
    }

    /// Where a recording of that name is made.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.inner.policy.folder.join(name)
    }

    /// Something new is to be brought away.
    pub(crate) fn wake(&self) {
        self.inner.made.notify_one();
    }

    /// Where a recording is got with a key.
    pub(crate) fn address(&self, call: &CallId, recording: &str) -> String {
        format!("{}/v1/calls/{call}/recordings/{recording}", self.inner.public_url)
    }

    /// A link to a recording that needs no key, and until when it is good.
    ///
    /// # Errors
    /// What the store says where the key of links has never been read.
    pub async fn link(&self, recording: &str) -> Result<(String, UnixMs), StoreError> {
        let store = &self.inner.store;
        let lifetime = i64::try_from(self.inner.policy.link_ms).unwrap_or(i64::MAX);
        let expires = UnixMs(store.now().0.saturating_add(lifetime) / 1_000 * 1_000);
        let link = store.link_key().await?.link(recording, expires);
        Ok((format!("{}{link}", self.inner.public_url), expires))
    }

    /// How long the file of a recording is; none where it is not here (any more).
    ///
    /// # Errors
    /// Transient ones, where the place does not answer.
    pub async fn size(&self, row: &RecordingRow) -> Result<Option<u64>, StoreError> {
        match self.objects(row) {
            Some(objects) if is_plain(&row.location) => objects.size(&row.location).await,
            _ => Ok(None),
        }
    }

    /// These bytes of a recording, a piece at a time; none where it is not here (any more).
    ///
    /// # Errors
    /// Transient ones, where the place does not answer.
    pub async fn read(
        &self,
        row: &RecordingRow,
        range: Range<u64>,
    ) -> Result<Option<BoxStream<'static, io::Result<Bytes>>>, StoreError> {
        match self.objects(row) {
            Some(objects) if is_plain(&row.location) => objects.read(&row.location, range).await,
            _ => Ok(None),
        }
    }

    /// Takes a file away, wherever it is; whether it is gone.
    pub async fn remove(&self, location: &str) -> bool {
        let policy = &self.inner.policy;
        if !is_plain(location) {
            // Whatever the row says, nothing outside of the folder is touched.
            return true;
        }
        for objects in policy.kept.iter().chain([&policy.here]) {
            if let Err(error) = objects.remove(location).await {
                tracing::error!(location, %error, "a recording cannot be removed");
                return false;
            }
        }
        true
    }

    fn objects(&self, row: &RecordingRow) -> Option<&Objects> {
        let policy = &self.inner.policy;
        match row.state {
            RecordingState::Pending => Some(&policy.here),
            RecordingState::Ready => Some(policy.kept.as_ref().unwrap_or(&policy.here)),
            RecordingState::Failed => None,
        }
    }

    /// Brings recordings away, for ever; those that a process before this one left first.
    pub(crate) async fn run(self) {
        if let Err(error) = self.find_left().await {
            tracing::error!(%error, "recordings that the last run left behind could not be looked for");
        }
        loop {
            let pause = match self.inner.store.due_recordings(&self.inner.host, STEP).await {
                Ok((due, next)) if due.is_empty() => {
                    let now = self.inner.store.now();
                    next.map_or(LOOK, |next| Duration::from_millis(next.since(now).try_into().unwrap_or(0)).min(LOOK))
                }
                Ok((due, _)) => {
                    futures_util::stream::iter(due).for_each_concurrent(AT_ONCE, |due| self.bring(due)).await;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "recordings wait to be brought away");
                    LOOK
                }
            };
            let _ = tokio::time::timeout(pause, self.inner.made.notified()).await;
        }
    }

    /// Brings one recording away, or says when it is tried again.
    async fn bring(&self, due: DueRecording) {
        let Inner { policy, store, .. } = &*self.inner;
        let file = policy.folder.join(&due.row.location);
        let outcome = match (&policy.kept, is_plain(&due.row.location)) {
            (_, false) => {
                Err(StoreError::Internal(format!("a recording's name is no plain one: {:?}", due.row.location)))
            }
            (Some(kept), true) => brought(kept, &due.row, &file).await,
            (None, true) => present(&policy.here, &due.row).await,
        };
        let (call, recording) = (due.row.call_id.as_str(), due.row.id.as_str());
        let written = match outcome {
            Ok(()) => match self.link(recording).await {
                Ok((url, expires)) => store.recording_is_ready(&due, &url, expires).await,
                Err(error) => Err(error),
            },
            Err(error) => {
                let now = store.now();
                let age = u64::try_from(now.since(due.row.created_at)).unwrap_or(0);
                tracing::warn!(call, recording, %error, attempts = due.attempts, "a recording does not get away");
                if error.is_transient() && (age < GIVEN_UP_MS || due.attempts < FEWEST_ATTEMPTS) {
                    let pause = pause_ms(due.attempts);
                    let until = UnixMs(now.0.saturating_add(i64::try_from(pause).unwrap_or(i64::MAX)));
                    store.recording_waits(&due, until, &error.to_string()).await
                } else {
                    store.recording_is_lost(&due, &error.to_string()).await
                }
            }
        };
        match written {
            // Kept elsewhere and written down so: the file has done its duty. One that stays is found at the next start.
            Ok(()) if policy.kept.is_some() && self.is_kept(&due).await => {
                if let Err(error) = tokio::fs::remove_file(&file).await {
                    tracing::warn!(call, recording, %error, "a recording that is kept elsewhere stays here, too");
                }
            }
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(call, recording, %error, "what became of a recording is not written down yet");
                tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
            }
        }
    }

    async fn is_kept(&self, due: &DueRecording) -> bool {
        let row = self.inner.store.recording(&due.tenant, &due.row.id).await;
        row.is_ok_and(|row| row.state == RecordingState::Ready)
    }

    /// Gives the files that a dead process left to their calls.
    async fn find_left(&self) -> Result<(), StoreError> {
        let Inner { policy, store, host, .. } = &*self.inner;
        let folder = policy.folder.clone();
        let left = tokio::task::spawn_blocking(move || left_in(&folder))
            .await
            .map_err(|error| StoreError::Internal(error.to_string()))?
            .map_err(|error| StoreError::Unavailable(format!("{}: {error}", policy.folder.display())))?;
        for (call, file) in left {
            match store.recording_of(&call).await? {
                Found::Settled if policy.kept.is_some() => {
                    tokio::fs::remove_file(&file).await.unwrap_or_else(|error| {
                        tracing::warn!(call, %error, "a recording that is kept elsewhere stays here, too");
                    });
                }
                Found::Missing => {
                    let path = file.clone();
                    let read = tokio::task::spawn_blocking(move || describe(&path)).await;
                    match read.map_err(io::Error::other).flatten() {
                        Ok(recording) => {
                            store.add_recording(&call, host, recording).await?;
                            tracing::warn!(call, "a recording that a dead process left behind is its call's again");
                        }
                        // Killed before there was a sound in it.
                        Err(error) => {
                            tracing::warn!(call, %error, "a recording that a dead process left behind is of no use");
                            store.no_recording(&call, "the host died before it had recorded anything").await?;
                            tokio::fs::remove_file(&file).await.unwrap_or_else(|error| {
                                tracing::warn!(call, %error, "it stays where it is");
                            });
                        }
                    }
                }
                Found::Settled | Found::Pending | Found::Nobodys => {}
            }
        }
        Ok(())
    }
}

/// How long to wait after so many failures.
fn pause_ms(attempts: u32) -> u64 {
    4u64.saturating_pow(attempts).saturating_mul(PAUSE_MS).min(LONGEST_PAUSE_MS)
}

/// Puts the file where files are kept, and looks whether all of it came.
async fn brought(kept: &Objects, row: &RecordingRow, file: &Path) -> Result<(), StoreError> {
    if !file.exists() {
        // Brought before, when it could not be written down.
        return present(kept, row).await;
    }
    kept.put_file(&row.location, file).await?;
    present(kept, row).await
}

async fn present(objects: &Objects, row: &RecordingRow) -> Result<(), StoreError> {
    match objects.size(&row.location).await? {
        Some(size) if size == row.size => Ok(()),
        Some(size) => Err(StoreError::Unavailable(format!("{} has {size} bytes, not {}", row.location, row.size))),
        None => Err(StoreError::Internal(format!("{} is not in {} any more", row.location, objects.place()))),
    }
}

/// Whether it is a plain name, which leads out of no folder.
fn is_plain(location: &str) -> bool {
    let mut parts = Path::new(location).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) && !location.ends_with('/')
}

/// The recordings in a folder, with the calls they are named after.
fn left_in(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut left = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let call = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| callbox_store::id::is("call", stem));
        if let (Some(call), Some("wav")) = (call, path.extension().and_then(|name| name.to_str())) {
            left.push((call.to_owned(), path));
        }
    }
    Ok(left)
}

/// What there is to know of a file.
///
/// # Errors
/// It cannot be read, or is no WAV file.
pub(crate) fn describe(path: &Path) -> io::Result<NewRecording> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut file = std::fs::File::open(path)?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => {
                hash.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
    let samples = size.checked_sub(HEADER as u64).ok_or_else(|| io::Error::other(format!("{name} is no WAV file")))?;
    Ok(NewRecording {
        id: callbox_store::id::new("rec"),
        location: name,
        size,
        duration_ms: samples / MILLISECOND,
        sha256: hex::encode(hash.finalize()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_cannot_leave_the_folder() {
        assert!(is_plain("a.wav"));
        for bad in ["", "..", "../a", "/etc/passwd", "a/b", ".", "a/"] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }

    #[test]
    fn pauses_grow_and_end() {
        assert_eq!([0, 1, 2, 5, 40, u32::MAX].map(pause_ms), [5_000, 20_000, 80_000, 3_600_000, 3_600_000, 3_600_000]);
    }
}
