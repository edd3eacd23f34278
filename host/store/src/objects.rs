//! Where files are kept: uploaded components, recordings. A folder, or a bucket of S3 and whatever speaks like it, by URL.
//!
//! A file is there whole or not at all, and stays: in a folder it is written beside its place, flushed and renamed into
//! it. Names are relative paths of ours; what a stranger chose is never one.

use crate::StoreError;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, Checksum};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig, WriteMultipart};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// What is sent of a large file at a time, at least what S3 takes as a part.
const PART: usize = 8 << 20;
/// Parts on their way at once.
const PARTS: usize = 4;
/// How long one request is tried again before it has failed: whoever asked has a schedule of its own.
const PATIENCE: Duration = Duration::from_secs(10);

/// A place for files. Cloning gives another handle.
#[derive(Clone)]
pub struct Objects {
    objects: Arc<dyn ObjectStore>,
    /// For messages; never with credentials.
    place: String,
    /// The folder, where it is one.
    local: Option<PathBuf>,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Objects").field(&self.place).finish()
    }
}

impl Objects {
    /// In this folder, which is made.
    ///
    /// # Errors
    /// It cannot be made or used.
    pub fn folder(folder: &Path) -> Result<Self, StoreError> {
        let place = folder.display().to_string();
        std::fs::create_dir_all(folder).map_err(|error| StoreError::io(&format!("creating {place}"), &error))?;
        let objects = LocalFileSystem::new_with_prefix(folder).map_err(|error| failed(&place, &error))?;
        Ok(Self { objects: Arc::new(objects.with_fsync(true)), place, local: Some(folder.to_path_buf()) })
    }

    /// At `file:///folder`, or at `s3://bucket/prefix`. Region, endpoint and credentials are those of the environment, by the names that S3's own
    /// tools have (`AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_SESSION_TOKEN`), or of the machine's role.
    ///
    /// # Errors
    /// `BadObjects` where the URL is none of these.
    pub fn at(url: &str) -> Result<Self, StoreError> {
        let bad = |reason: String| StoreError::BadObjects { reason };
        let parsed = url::Url::parse(url).map_err(|error| bad(error.to_string()))?;
        let (bucket, prefix) = match (parsed.scheme(), parsed.host_str()) {
            ("s3", Some(bucket)) if parsed.username().is_empty() && parsed.password().is_none() => {
                (bucket.to_owned(), Key::from_url_path(parsed.path()).map_err(|error| bad(error.to_string()))?)
            }
            ("file", None) if parsed.query().is_none() => {
                let folder = parsed.to_file_path().map_err(|()| bad("a folder is file:///FOLDER".into()))?;
                return Self::folder(&folder);
            }
            ("s3", _) => {
                return Err(bad("an S3 URL is s3://BUCKET/PREFIX, its credentials are in the environment".into()));
            }
            (scheme, _) => {
                return Err(bad(format!("{scheme}: is not known, s3://BUCKET/PREFIX and file:///FOLDER are")));
            }
        };
        let retry = RetryConfig { retry_timeout: PATIENCE, ..RetryConfig::default() };
        let objects = AmazonS3Builder::from_env()
            .with_bucket_name(&bucket)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(retry)
            .build()
            .map_err(|error| bad(error.to_string()))?;
        let place = format!("s3://{bucket}/{prefix}");
        Ok(Self { objects: Arc::new(PrefixStore::new(objects, prefix)), place, local: None })
    }

    /// A part of this place.
    #[must_use]
    pub fn under(&self, prefix: &str) -> Self {
        let objects = Arc::new(PrefixStore::new(self.objects.clone(), Key::from(prefix)));
        let local = self.local.as_ref().map(|folder| folder.join(prefix));
        Self { objects, place: format!("{}/{prefix}", self.place), local }
    }

    /// Where it is, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The folder, where it is one.
    pub(crate) fn local(&self) -> Option<&Path> {
        self.local.as_deref()
    }

    /// Keeps these bytes by this name, over what was there.
    ///
    /// # Errors
    /// Transient ones, where the place does not take it now.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let done = self.objects.put(&Key::from(name), PutPayload::from_bytes(bytes)).await;
        done.map(drop).map_err(|error| failed(&self.place, &error))
    }

    /// Keeps what is in a file by this name, a piece at a time.
    ///
    /// # Errors
    /// `Unavailable` where the file cannot be read; transient ones, where the place does not take it now.
    pub async fn put_file(&self, name: &str, file: &Path) -> Result<(), StoreError> {
        let unreadable = |error: std::io::Error| StoreError::io(&format!("reading {}", file.display()), &error);
        let mut file = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let first = read_piece(&mut file).await.map_err(unreadable)?;
        if first.len() < PART {
            return self.put(name, first).await;
        }
        let error = |error| failed(&self.place, &error);
        let begun = self.objects.put_multipart(&Key::from(name)).await.map_err(error)?;
        let mut parts = WriteMultipart::new_with_chunk_size(begun, PART);
        let sent = async {
            let mut piece = first;
            while !piece.is_empty() {
                parts.wait_for_capacity(PARTS).await.map_err(error)?;
                parts.put(piece);
                piece = read_piece(&mut file).await.map_err(unreadable)?;
            }
            parts.wait_for_capacity(0).await.map_err(error)
        };
        if let Err(error) = sent.await {
            // Parts that nothing came of would be paid for until somebody looks: the first error counts.
            let _ = parts.abort().await;
            return Err(error);
        }
        parts.finish().await.map(drop).map_err(error)
    }

    /// All bytes of a file; none where there is no such file.
    ///
    /// # Errors
    /// Transient ones, where the place does not answer.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let read = async { self.objects.get(&Key::from(name)).await?.bytes().await };
        found(&self.place, read.await)
    }

    /// How many bytes a file has; none where there is no such file.
    ///
    /// # Errors
    /// Transient ones, where the place does not answer.
    pub async fn size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        Ok(found(&self.place, self.objects.head(&Key::from(name)).await)?.map(|meta| meta.size))
    }

    /// These bytes of a file, a piece at a time; none where there is no such file.
    ///
    /// # Errors
    /// Transient ones, where the place does not answer.
    pub async fn read(
        &self,
        name: &str,
        range: Range<u64>,
    ) -> Result<Option<BoxStream<'static, std::io::Result<Bytes>>>, StoreError> {
        if range.is_empty() {
            return Ok(Some(futures_util::stream::empty().boxed()));
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let read = found(&self.place, self.objects.get_opts(&Key::from(name), options).await)?;
        Ok(read.map(|read| read.into_stream().map_err(std::io::Error::other).boxed()))
    }

    /// Takes a file away. That there is none is no error.
    ///
    /// # Errors
    /// Transient ones, where the place does not answer.
    pub async fn remove(&self, name: &str) -> Result<(), StoreError> {
        found(&self.place, self.objects.delete(&Key::from(name)).await).map(drop)
    }
}

/// A part's worth of bytes, fewer at the end.
async fn read_piece(file: &mut tokio::fs::File) -> std::io::Result<Bytes> {
    let mut piece = Vec::new();
    file.take(PART as u64).read_to_end(&mut piece).await?;
    Ok(piece.into())
}

fn found<T>(place: &str, outcome: Result<T, object_store::Error>) -> Result<Option<T>, StoreError> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(failed(place, &error)),
    }
}

/// What went wrong, by the I/O error at the bottom where there is one: a full disk is a full disk.
fn failed(place: &str, error: &object_store::Error) -> StoreError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(deeper) = source {
        if let Some(io) = deeper.downcast_ref::<std::io::Error>() {
            return StoreError::io(&format!("files in {place}"), io);
        }
        source = deeper.source();
    }
    StoreError::Unavailable(format!("files in {place}: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[tokio::test]
    async fn files_come_back_whole_and_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::folder(folder.path()).unwrap().under("recordings");
        assert_eq!(objects.get("a.wav").await.unwrap(), None);
        assert_eq!(objects.size("a.wav").await.unwrap(), None);
        objects.put("a.wav", Bytes::from_static(b"0123456789")).await.unwrap();
        assert_eq!(objects.size("a.wav").await.unwrap(), Some(10));
        let part = objects.read("a.wav", 2..5).await.unwrap().unwrap();
        let part: Vec<Bytes> = part.try_collect().await.unwrap();
        assert_eq!(part.concat(), b"234");
        assert!(folder.path().join("recordings/a.wav").is_file());
        objects.remove("a.wav").await.unwrap();
        objects.remove("a.wav").await.unwrap();
        assert!(objects.read("a.wav", 0..1).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn large_files_go_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::folder(&folder.path().join("kept")).unwrap();
        for size in [0, 1, PART, PART + 1, 2 * PART] {
            let file = folder.path().join("file");
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            std::fs::write(&file, &bytes).unwrap();
            objects.put_file("large", &file).await.unwrap();
            assert!(objects.get("large").await.unwrap().unwrap() == bytes, "{size}");
        }
        assert!(objects.put_file("none", Path::new("/nowhere/at/all")).await.unwrap_err().is_transient());
    }

    #[test]
    fn a_folder_has_a_url_too() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("all hosts have it");
        let url = url::Url::from_file_path(&kept).unwrap();
        assert_eq!(Objects::at(url.as_str()).unwrap().local(), Some(&*kept));
        assert!(kept.is_dir());
    }

    #[test]
    fn a_place_that_is_none_is_told_and_holds_no_secret() {
        for bad in ["", "recordings", "ftp://a/b", "s3:///b", "s3://user:secret@bucket/b", "file://nas/b"] {
            let error = Objects::at(bad).unwrap_err();
            assert_eq!(error.code(), "store_bad_objects", "{bad}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
