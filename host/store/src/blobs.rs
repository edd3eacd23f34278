//! Uploaded components in a folder, by digest. A blob is written beside its place,
//! flushed, and renamed into it: it is there whole or not at all.

use crate::{Store, StoreError};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// `sha256:` and 64 hex digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Where it lies: `ab/abcdef…` under the folder. None for a text that is no digest.
fn place(folder: &Path, digest: &str) -> Option<PathBuf> {
    let hex = digest.strip_prefix("sha256:")?;
    let right = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    right.then(|| folder.join(&hex[..2]).join(hex))
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let beside = folder.join(format!(".{}", crate::id::new("tmp")));
    let written = File::create_new(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(folder)?.sync_all()
    });
    if written.is_err() {
        // Best effort: what matters is the first error.
        let _ = fs::remove_file(&beside);
    }
    written
}

async fn off_thread<T, F>(work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, StoreError> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Internal(error.to_string()))?
}

impl Store {
    /// Keeps these bytes and answers with their digest. Keeping the same again is free.
    pub async fn put_blob(&self, bytes: impl AsRef<[u8]> + Send + 'static) -> Result<String, StoreError> {
        let folder = self.inner.artefacts.clone();
        off_thread(move || {
            let digest = digest(bytes.as_ref());
            let path = place(&folder, &digest).ok_or(StoreError::Closed)?;
            write(&path, bytes.as_ref()).map_err(|e| StoreError::io(&format!("writing {}", path.display()), &e))?;
            Ok(digest)
        })
        .await
    }

    /// The bytes of this digest, checked.
    pub async fn blob(&self, digest: &str) -> Result<Vec<u8>, StoreError> {
        let (folder, wanted, missing) = (self.inner.artefacts.clone(), digest.to_owned(), self.artefact_error(digest));
        off_thread(move || {
            let Some(path) = place(&folder, &wanted) else { return Err(missing) };
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing),
                Err(error) => return Err(StoreError::io(&format!("reading {}", path.display()), &error)),
            };
            if self::digest(&bytes) == wanted { Ok(bytes) } else { Err(missing) }
        })
        .await
    }

    /// Where the blob of this digest lies, for whoever sends it on piece by piece. What is read there is not checked.
    ///
    /// # Errors
    /// When the text is no digest.
    pub fn blob_path(&self, digest: &str) -> Result<PathBuf, StoreError> {
        place(&self.inner.artefacts, digest).ok_or_else(|| self.artefact_error(digest))
    }

    /// Whether there is such a blob.
    pub async fn has_blob(&self, digest: &str) -> Result<bool, StoreError> {
        let (folder, digest) = (self.inner.artefacts.clone(), digest.to_owned());
        off_thread(move || Ok(place(&folder, &digest).is_some_and(|path| path.is_file()))).await
    }

    pub(crate) fn artefact_error(&self, digest: &str) -> StoreError {
        StoreError::Artefact {
            digest: digest.chars().take(100).collect(),
            folder: self.inner.artefacts.display().to_string(),
        }
    }
}
