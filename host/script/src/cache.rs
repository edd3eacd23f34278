//! Compiled scripts on disk, authenticated. Whatever is wrong with an entry, the
//! answer is to compile again.

use crate::artefact::{Key, Trusted};
use crate::engine::Tier;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Ending of an artefact's file.
const ARTEFACT: &str = "cwasm";
/// Ending of a file that is being written.
const PARTIAL: &str = "partial";
/// The key's file.
const KEY: &str = "key";

/// Counts the files this process writes, so that two hosts on one folder do not write the same.
static PARTIALS: AtomicU64 = AtomicU64::new(0);

/// A folder of artefacts that only this host writes.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    key: Key,
    /// Bytes of one artefact.
    max_artefact: u64,
    /// Bytes of all.
    max_total: u64,
}

impl Cache {
    /// Opens the folder, and makes it and its key when they are not there. Entries
    /// of other engines and half-written files are removed.
    pub(crate) fn open(folder: &Path, compatibilities: &[String], max_artefact: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        let key = key(folder)?;
        let cache = Self { folder: folder.to_owned(), key, max_artefact, max_total: max_artefact.saturating_mul(32) };
        cache.clear_stale(compatibilities)?;
        Ok(cache)
    }

    /// The name of an artefact: which component, which engine, which tier.
    pub(crate) fn name(digest: &str, compatibility: &str, tier: Tier) -> String {
        let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
        format!("{digest}-{compatibility}-{tier}")
    }

    /// The artefact of this name, when it is there and ours.
    pub(crate) fn load(&self, name: &str) -> Option<Trusted> {
        let path = self.path(name);
        let sealed = match read_bounded(&path, self.max_artefact + 64) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read a compiled script; it is compiled again");
                return None;
            }
        };
        let trusted = Trusted::open(&self.key, name, sealed);
        if trusted.is_none() {
            tracing::warn!(path = %path.display(), "a compiled script is not what this host stored; it is compiled again");
            let _ = fs::remove_file(&path);
        }
        trusted
    }

    /// Keeps an artefact. It appears whole or not at all.
    pub(crate) fn store(&self, name: &str, artefact: &Trusted) -> io::Result<()> {
        let n = PARTIALS.fetch_add(1, Ordering::Relaxed);
        let partial = self.folder.join(format!("{}-{n}.{PARTIAL}", std::process::id()));
        let write = || {
            let mut file = private(&partial)?;
            file.write_all(&artefact.seal(&self.key, name))?;
            file.write_all(artefact.bytes())?;
            fs::rename(&partial, self.path(name))
        };
        let written = write();
        if written.is_err() {
            let _ = fs::remove_file(&partial);
        }
        written.and_then(|()| self.make_room())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{ARTEFACT}"))
    }

    /// Removes what a former version of this host left, unless another process does just now.
    fn clear_stale(&self, compatibilities: &[String]) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            let stale = match path.extension().and_then(|ending| ending.to_str()) {
                Some(ARTEFACT) => !compatibilities.iter().any(|compatibility| name.contains(compatibility.as_str())),
                // Another process may be writing one; ours are gone with us.
                Some(PARTIAL) => !name.split_once('-').is_some_and(|(pid, _)| Path::new("/proc").join(pid).exists()),
                _ => false,
            };
            if stale {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes the oldest while there is too much.
    fn make_room(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|ending| ending == ARTEFACT)
                && let Ok(data) = entry.metadata()
            {
                files.push((data.modified()?, data.len(), entry.path()));
            }
        }
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        files.sort();
        for (_, bytes, path) in files {
            if total <= self.max_total {
                break;
            }
            remove(&path)?;
            total = total.saturating_sub(bytes);
        }
        Ok(())
    }
}

/// A new file that nobody else can read.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    if size > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{size} bytes")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The key, when there is one that nobody else could have read.
fn read_key(path: &Path) -> io::Result<Option<Key>> {
    let bytes = match read_bounded(path, 64) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge) => return Ok(None),
        Err(error) => return Err(error),
    };
    let private = fs::metadata(path)?.permissions().mode().trailing_zeros() >= 6;
    let Ok(bytes) = <[u8; 32]>::try_from(bytes) else { return Ok(None) };
    if !private {
        tracing::warn!(path = %path.display(), "others could read the key of compiled scripts; a new one is made");
        return Ok(None);
    }
    Ok(Some(Key::new(bytes)))
}

/// The folder's key; a new one where there is none that nobody else could have read.
fn key(folder: &Path) -> io::Result<Key> {
    let path = folder.join(KEY);
    if let Some(key) = read_key(&path)? {
        return Ok(key);
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let n = PARTIALS.fetch_add(1, Ordering::Relaxed);
    let partial = folder.join(format!("{}-{n}.{PARTIAL}", std::process::id()));
    let mut file = private(&partial)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    // Of hosts that start at once on one folder the first makes the key of all.
    let first = fs::hard_link(&partial, &path);
    if first.is_ok() {
        remove(&partial)?;
        return Ok(Key::new(bytes));
    }
    if let Some(key) = read_key(&path)? {
        remove(&partial)?;
        return Ok(key);
    }
    // One that cannot be used; what it authenticated is compiled again.
    fs::rename(&partial, &path)?;
    Ok(Key::new(bytes))
}

/// Removes a file that another process may have removed already.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn open(folder: &Path) -> Cache {
        Cache::open(folder, &["engine".into()], 1_000).unwrap()
    }

    fn code(bytes: usize) -> Trusted {
        Trusted::from_compiler(vec![7; bytes])
    }

    fn name(n: u8) -> String {
        Cache::name(&format!("sha256:{n:02x}"), "engine", Tier::Winch)
    }

    #[test]
    fn what_was_stored_is_found_also_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let cache = open(folder.path());
        assert!(cache.load(&name(1)).is_none());
        cache.store(&name(1), &code(100)).unwrap();
        for cache in [cache, open(folder.path())] {
            assert_eq!(cache.load(&name(1)).unwrap().bytes(), [7; 100]);
            assert!(cache.load(&name(2)).is_none());
        }
        let mode = |file: &str| fs::metadata(folder.path().join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode("key"), mode(&format!("{}.cwasm", name(1)))), (0o700, 0o600, 0o600));
    }

    #[test]
    fn hosts_that_start_at_once_on_one_folder_share_what_they_compile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::thread::scope(|scope| {
            for n in 0..8 {
                scope.spawn(move || open(path).store(&name(n), &code(10)).unwrap());
            }
        });
        let cache = open(path);
        assert!((0..8).all(|n| cache.load(&name(n)).is_some()));
        assert_eq!(fs::read_dir(path).unwrap().count(), 9, "the key and what was compiled");
    }

    #[test]
    fn a_changed_moved_cut_or_foreign_file_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let cache = open(folder.path());
        let file = |n| folder.path().join(format!("{}.cwasm", name(n)));
        cache.store(&name(1), &code(100)).unwrap();
        let good = fs::read(file(1)).unwrap();

        fs::write(file(2), &good).unwrap(); // another's name
        fs::write(file(3), &good[..50]).unwrap();
        fs::write(file(4), b"").unwrap();
        fs::write(file(5), vec![0; 5_000]).unwrap();
        let mut changed = good.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(file(6), &changed).unwrap();
        for n in 2..=6 {
            assert!(cache.load(&name(n)).is_none(), "{n}");
        }
        assert!(!file(6).exists(), "what is not ours is removed");
        assert!(cache.load(&name(1)).is_some());
    }

    #[test]
    fn a_lost_or_exposed_key_only_costs_a_compilation() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let damages: [&dyn Fn(); 4] = [
            &|| fs::remove_file(&key).unwrap(),
            &|| fs::write(&key, b"short").unwrap(),
            &|| fs::write(&key, [0; 200]).unwrap(),
            &|| fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap(),
        ];
        for damage in damages {
            let cache = open(folder.path());
            cache.store(&name(1), &code(10)).unwrap();
            damage();
            let cache = open(folder.path());
            assert!(cache.load(&name(1)).is_none());
            cache.store(&name(1), &code(10)).unwrap();
            assert!(open(folder.path()).load(&name(1)).is_some());
        }
    }

    #[test]
    fn other_engines_leftovers_and_the_oldest_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("00-other-winch.cwasm"), b"x").unwrap();
        fs::write(folder.path().join("999999999-1.partial"), b"x").unwrap();
        let cache = open(folder.path());
        let count = || fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(count(), 1, "only the key is left");
        for n in 0..40 {
            cache.store(&name(n), &code(950)).unwrap();
        }
        assert!(count() <= 34, "32 of the largest artefacts fit");
        assert!(cache.load(&name(39)).is_some());
    }
}
