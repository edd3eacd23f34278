//! Rendered audio in a directory, one file for an utterance.
//!
//! A file is written under another name and renamed, and verified when it is
//! read: a broken one is removed and rendered again. The directory is a
//! convenience: no failure of it fails a render.

use super::lru::Lru;
use super::{Key, Rendered};
use crate::error::SpeechError;
use crate::synthesiser::Chunk;
use callbox_dialogue::leg::WordMark;
use callbox_media::{Clip, FRAME};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

const MAGIC: &[u8; 8] = b"cbspeech";
/// Magic, key, number of samples, number of words, digest of the rest.
const HEADER: usize = 8 + 32 + 4 + 4 + 32;
/// More than the longest utterance: six minutes and its words.
const MAX_FILE: u64 = 8 << 20;
const EXTENSION: &str = "pcm";
/// Written and not renamed: left over by a program that was killed.
const UNFINISHED: &str = "part";
const UNFINISHED_AFTER: Duration = Duration::from_secs(3_600);
/// Files that are being written at once; what is over is not stored.
const WRITERS: usize = 4;
/// Samples of a chunk that comes from a file: 240 ms.
const CHUNK: usize = 12 * FRAME;

/// The directory.
pub(crate) struct Disk {
    directory: PathBuf,
    /// What is there, by its size. None is opened to find out more.
    index: Mutex<Lru<Key, ()>>,
    writers: Arc<Semaphore>,
    /// A full disk is told once, not once a sentence.
    complained: AtomicBool,
}

impl Disk {
    /// Opens the directory, creating it, and looks at what is there.
    pub(crate) fn open(directory: &Path, limit: u64) -> Result<Self, SpeechError> {
        let unusable =
            |error: &io::Error| SpeechError::CacheDirectory { path: directory.to_owned(), what: error.to_string() };
        fs::create_dir_all(directory).map_err(|error| unusable(&error))?;
        // Also finds out whether it can be written to.
        tempfile::Builder::new().suffix(".part").tempfile_in(directory).map_err(|error| unusable(&error))?;
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).map_err(|error| unusable(&error))? {
            let Ok(entry) = entry else { continue };
            let path = entry.path();
            let Ok(metadata) = entry.metadata() else { continue };
            let Ok(modified) = metadata.modified() else { continue };
            match (key_of(&path), path.extension().is_some_and(|e| e == UNFINISHED)) {
                (Some(key), _) => found.push((modified, key, metadata.len())),
                (None, true) if modified.elapsed().is_ok_and(|age| age > UNFINISHED_AFTER) => {
                    let _ = fs::remove_file(&path);
                }
                (None, _) => {}
            }
        }
        found.sort_by_key(|&(modified, _, _)| modified);
        let disk = Self {
            directory: directory.to_owned(),
            index: Mutex::new(Lru::new(usize::try_from(limit).unwrap_or(usize::MAX))),
            writers: Arc::new(Semaphore::new(WRITERS)),
            complained: AtomicBool::new(false),
        };
        for (_, key, size) in found {
            disk.enter(key, size);
        }
        Ok(disk)
    }

    /// The audio, where it is there and whole.
    pub(crate) async fn read(self: Arc<Self>, key: Key) -> Option<Rendered> {
        // Looked up in the directory, not in the index: another host may have put it there.
        tokio::task::spawn_blocking(move || match load(&self.path(key), key) {
            Ok(rendered) => {
                let _ = self.lock().get(&key);
                Some(rendered)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %self.path(key).display(), %error, "a file of the audio cache is broken; rendering anew");
                self.remove(key);
                None
            }
        })
        .await
        .ok()
        .flatten()
    }

    /// Stores the audio, in the background.
    pub(crate) fn write(self: Arc<Self>, key: Key, rendered: Arc<Rendered>) {
        let Ok(place) = self.writers.clone().try_acquire_owned() else { return };
        tokio::task::spawn_blocking(move || {
            let _place = place;
            match self.store(key, &rendered) {
                Ok(size) => {
                    self.complained.store(false, Ordering::Relaxed);
                    self.enter(key, size);
                }
                Err(error) if !self.complained.swap(true, Ordering::Relaxed) => {
                    tracing::warn!(path = %self.directory.display(), %error, "the audio cache cannot be written to");
                }
                Err(_) => {}
            }
        });
    }

    fn store(&self, key: Key, rendered: &Rendered) -> io::Result<u64> {
        let bytes = encode(key, rendered).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut file = tempfile::Builder::new().suffix(".part").tempfile_in(&self.directory)?;
        file.write_all(&bytes)?;
        file.persist(self.path(key))?;
        Ok(bytes.len() as u64)
    }

    /// Counts a file and removes those that it pushes out.
    fn enter(&self, key: Key, size: u64) {
        let gone = self.lock().insert(key, (), usize::try_from(size).unwrap_or(usize::MAX));
        for key in gone {
            let _ = fs::remove_file(self.path(key));
        }
    }

    fn remove(&self, key: Key) {
        self.lock().remove(&key);
        let _ = fs::remove_file(self.path(key));
    }

    fn path(&self, key: Key) -> PathBuf {
        self.directory.join(hex::encode(key.0)).with_extension(EXTENSION)
    }

    fn lock(&self) -> MutexGuard<'_, Lru<Key, ()>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(path: &Path) -> Option<Key> {
    if path.extension()? != EXTENSION {
        return None;
    }
    let mut key = [0; 32];
    hex::decode_to_slice(path.file_stem()?.to_str()?, &mut key).ok()?;
    Some(Key(key))
}

/// None for more than a file may hold.
fn encode(key: Key, rendered: &Rendered) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    let (mut samples, mut words) = (0_u32, 0_u32);
    for chunk in &rendered.chunks {
        samples = samples.checked_add(u32::try_from(chunk.clip.samples().len()).ok()?)?;
        body.extend(chunk.clip.samples().iter().flat_map(|sample| sample.to_le_bytes()));
    }
    let mut start = 0;
    for chunk in &rendered.chunks {
        for word in &chunk.words {
            body.extend((start + word.at).to_le_bytes());
            body.extend(word.text_end.to_le_bytes());
            words += 1;
        }
        start += chunk.clip.duration_ms();
    }
    let mut out = Vec::with_capacity(HEADER + body.len());
    out.extend(MAGIC);
    out.extend(key.0);
    out.extend(samples.to_le_bytes());
    out.extend(words.to_le_bytes());
    out.extend(digest(&out, &body));
    out.append(&mut body);
    (out.len() as u64 <= MAX_FILE).then_some(out)
}

fn digest(header: &[u8], body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(header).chain_update(body).finalize().into()
}

fn load(path: &Path, key: Key) -> io::Result<Rendered> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    decode(&bytes, key).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Takes no byte on trust: what it cannot verify it does not return.
pub(crate) fn decode(bytes: &[u8], key: Key) -> Option<Rendered> {
    let (header, body) = bytes.split_at_checked(HEADER)?;
    let (named, sum) = header.split_at_checked(HEADER - 32)?;
    if !named.starts_with(MAGIC) || named.get(8..40)? != key.0 || digest(named, body) != sum {
        return None;
    }
    let samples = u32::from_le_bytes(*named.get(40..)?.first_chunk()?) as usize;
    let words = u32::from_le_bytes(*named.get(44..)?.first_chunk()?) as usize;
    let (audio, marks) = body.split_at_checked(samples.checked_mul(2)?)?;
    if marks.len() != words.checked_mul(8)? || samples == 0 {
        return None;
    }
    let (pairs, _) = audio.as_chunks::<2>();
    let samples: Vec<i16> = pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
    let mut chunks: Vec<Chunk> =
        samples.chunks(CHUNK).map(|s| Chunk { clip: Clip::from_pcm(s.to_vec()), words: Vec::new() }).collect();
    let (marks, _) = marks.as_chunks::<8>();
    let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
    chunks.first_mut()?.words =
        marks.iter().map(|m| WordMark { at: number(&m[..4]), text_end: number(&m[4..]) }).collect();
    Some(Rendered { chunks })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(samples: usize) -> Rendered {
        let clip = |n: usize| Clip::from_pcm((0..n).map(|i| i16::try_from(i % 1_000).unwrap()).collect());
        let words = |at| vec![WordMark { at, text_end: at + 3 }];
        Rendered {
            chunks: vec![Chunk { clip: clip(samples), words: words(5) }, Chunk { clip: clip(160), words: words(7) }],
        }
    }

    fn samples(rendered: &Rendered) -> Vec<i16> {
        rendered.chunks.iter().flat_map(|c| c.clip.samples().to_vec()).collect()
    }

    #[test]
    fn reads_what_it_wrote() {
        let key = Key([7; 32]);
        let original = rendered(4_000);
        let read = decode(&encode(key, &original).unwrap(), key).unwrap();
        assert_eq!(samples(&read), samples(&original));
        let words = [WordMark { at: 5, text_end: 8 }, WordMark { at: 507, text_end: 10 }];
        assert_eq!(read.chunks[0].words, words);
    }

    #[test]
    fn takes_nothing_broken() {
        let key = Key([7; 32]);
        let good = encode(key, &rendered(20)).unwrap();
        assert!(decode(&good, Key([8; 32])).is_none());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(decode(&bad, key).is_none(), "byte {at}");
            assert!(decode(&good[..at], key).is_none(), "cut at {at}");
        }
    }

    #[tokio::test]
    async fn keeps_to_its_size_and_survives_rubbish() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        fs::write(file("notes.txt"), b"not ours").unwrap();
        fs::write(file("zz.pcm"), b"not ours either").unwrap();
        let size = encode(Key([0; 32]), &rendered(4_000)).unwrap().len() as u64;
        let disk = Arc::new(Disk::open(directory.path(), size * 2).unwrap());
        for n in 1..=3 {
            let stored = disk.store(Key([n; 32]), &rendered(4_000)).unwrap();
            disk.enter(Key([n; 32]), stored);
        }
        assert!(disk.clone().read(Key([1; 32])).await.is_none(), "the oldest had to go");
        assert!(disk.clone().read(Key([3; 32])).await.is_some());
        // A broken file is removed.
        let path = disk.path(Key([3; 32]));
        fs::write(&path, b"cbspeech and then rubbish").unwrap();
        assert!(disk.clone().read(Key([3; 32])).await.is_none());
        assert!(!path.exists());
        // A new start finds what is left, and keeps to a smaller size.
        drop(disk);
        let disk = Arc::new(Disk::open(directory.path(), size * 2).unwrap());
        assert!(disk.clone().read(Key([2; 32])).await.is_some());
        drop(Disk::open(directory.path(), size - 1).unwrap());
        assert!(disk.read(Key([2; 32])).await.is_none());
        assert!(file("notes.txt").exists() && file("zz.pcm").exists());
    }

    #[test]
    fn says_that_a_directory_cannot_be_used() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Disk::open(file.path(), 1).err().unwrap();
        assert_eq!(error.code(), "speech_cache_directory");
    }
}
