//! Uploaded components, by digest, where files are kept.

use crate::{Store, StoreError};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use sha2::{Digest, Sha256};

/// `sha256:` and 64 hex digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Its name: `ab/abcdef…`. None for a text that is no digest.
fn name(digest: &str) -> Option<String> {
    let hex = digest.strip_prefix("sha256:")?;
    let right = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    right.then(|| format!("{}/{hex}", &hex[..2]))
}

impl Store {
    /// Keeps these bytes and answers with their digest. Keeping the same again is free.
    pub async fn put_blob(&self, bytes: impl Into<Bytes>) -> Result<String, StoreError> {
        let bytes = bytes.into();
        let hashed = bytes.clone();
        let digest = tokio::task::spawn_blocking(move || digest(&hashed))
            .await
            .map_err(|error| StoreError::Internal(error.to_string()))?;
        let name = name(&digest).ok_or_else(|| self.artefact_error(&digest))?;
        let objects = &self.inner.artefacts;
        if objects.size(&name).await? != Some(bytes.len() as u64) {
            objects.put(&name, bytes).await?;
        }
        Ok(digest)
    }

    /// The bytes of this digest, checked.
    pub async fn blob(&self, digest: &str) -> Result<Vec<u8>, StoreError> {
        let missing = || self.artefact_error(digest);
        let bytes = self.inner.artefacts.get(&name(digest).ok_or_else(missing)?).await?.ok_or_else(missing)?;
        let bytes = Vec::from(bytes);
        let (found, bytes) = tokio::task::spawn_blocking(move || (self::digest(&bytes), bytes))
            .await
            .map_err(|error| StoreError::Internal(error.to_string()))?;
        if found == digest { Ok(bytes) } else { Err(missing()) }
    }

    /// The bytes of this digest, a piece at a time, and how many there are. They are not checked.
    pub async fn read_blob(
        &self,
        digest: &str,
    ) -> Result<(u64, BoxStream<'static, std::io::Result<Bytes>>), StoreError> {
        let missing = || self.artefact_error(digest);
        let name = name(digest).ok_or_else(missing)?;
        let size = self.inner.artefacts.size(&name).await?.ok_or_else(missing)?;
        Ok((size, self.inner.artefacts.read(&name, 0..size).await?.ok_or_else(missing)?))
    }

    /// Whether there is such a blob.
    pub async fn has_blob(&self, digest: &str) -> Result<bool, StoreError> {
        match name(digest) {
            Some(name) => Ok(self.inner.artefacts.size(&name).await?.is_some()),
            None => Ok(false),
        }
    }

    pub(crate) fn artefact_error(&self, digest: &str) -> StoreError {
        StoreError::Artefact {
            digest: digest.chars().take(100).collect(),
            folder: self.inner.artefacts.place().to_owned(),
        }
    }
}
