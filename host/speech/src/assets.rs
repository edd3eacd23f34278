//! Audio files that a script carries, decoded once.

use crate::cache::Lru;
use crate::error::SpeechError;
use bytes::Bytes;
use callbox_media::{Clip, wav};
use sha2::{Digest as _, Sha256};
use std::sync::{Arc, Mutex, PoisonError};

/// Decoded files by their digest: the same jingle in ten versions of ten
/// scripts is one clip.
pub(crate) struct Assets {
    clips: Mutex<Lru<[u8; 32], Arc<Clip>>>,
    /// One file at a time, so that a hundred calls at once decode it once.
    decoding: Mutex<()>,
}

impl Assets {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { clips: Mutex::new(Lru::new(bytes)), decoding: Mutex::new(()) }
    }

    pub(crate) async fn decode(self: Arc<Self>, path: String, file: Bytes) -> Result<Arc<Clip>, SpeechError> {
        let name = path.clone();
        let work = move || {
            let digest: [u8; 32] = Sha256::digest(&file).into();
            if let Some(clip) = self.known(&digest) {
                return Ok(clip);
            }
            let _one = self.decoding.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(clip) = self.known(&digest) {
                return Ok(clip);
            }
            let clip = wav::read(&file).map_err(|error| SpeechError::BadAsset { path, what: error.to_string() })?;
            let bytes = clip.samples().len() * Clip::BYTES_PER_SAMPLE;
            self.clips.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, clip.clone(), bytes);
            Ok(clip)
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|error| Err(SpeechError::BadAsset { path: name, what: error.to_string() }))
    }

    fn known(&self, digest: &[u8; 32]) -> Option<Arc<Clip>> {
        self.clips.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }
}
