//! The packets of one call in files, on request: each media session has one of its own.

use callbox_dialogue::CallId;
use callbox_media::{MediaCommand, Session};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{fs, io};

/// Files of one call; sessions of further transfers are not captured.
const FILES: usize = 16;

/// Whether and where the packets of a call are captured. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Packets(Arc<State>);

#[derive(Debug)]
struct State {
    folder: PathBuf,
    call: CallId,
    on: AtomicBool,
    files: AtomicUsize,
}

impl Packets {
    /// Of a new call: none are captured yet.
    pub(crate) fn new(folder: &Path, call: &CallId) -> Self {
        let (folder, call) = (folder.to_path_buf(), call.clone());
        Self(Arc::new(State { folder, call, on: AtomicBool::new(false), files: AtomicUsize::new(0) }))
    }

    /// From now on, those of this session among them; nothing where they are captured already.
    pub(crate) fn begin_with(&self, session: &Session) {
        if self.begin() {
            self.of(session);
        }
    }

    fn begin(&self) -> bool {
        !self.0.on.swap(true, Ordering::Relaxed)
    }

    /// Captures what a session sends and receives, where the call is captured.
    pub(crate) fn of(&self, session: &Session) {
        if !self.0.on.load(Ordering::Relaxed) {
            return;
        }
        let number = self.0.files.fetch_add(1, Ordering::Relaxed);
        if number >= FILES {
            return;
        }
        let path = file(&self.0.folder, &self.0.call, number);
        // In the clear: whoever asks for it wants to hear what is wrong. What the script calls secret is not in it.
        if let Err(error) = session.send(MediaCommand::Capture { path, decrypted: true }) {
            tracing::warn!(call = %self.0.call, %error, "packets are not captured");
        }
    }
}

/// The files of a call that exist.
pub(crate) fn files(folder: &Path, call: &CallId) -> Vec<PathBuf> {
    (0..FILES).map(|number| file(folder, call, number)).filter(|path| path.is_file()).collect()
}

/// The calls that have files.
pub(crate) fn calls(folder: &Path) -> io::Result<BTreeSet<String>> {
    let mut calls = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let named = name.to_str().and_then(|name| name.strip_suffix(".pcap")?.rsplit_once('-'));
        calls.extend(named.map(|(call, _)| call.to_owned()).filter(|call| callbox_store::id::is("call", call)));
    }
    Ok(calls)
}

/// Takes the files of a call away.
pub(crate) fn remove(folder: &Path, call: &CallId) -> io::Result<()> {
    files(folder, call).into_iter().try_for_each(fs::remove_file)
}

fn file(folder: &Path, call: &CallId, number: usize) -> PathBuf {
    folder.join(format!("{call}-{number}.pcap"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_call_are_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (CallId("call_1".into()), CallId("call_11".into()));
        for (call, number) in [(&one, 0), (&one, 1), (&other, 0)] {
            fs::write(file(folder.path(), call, number), b"").unwrap();
        }
        assert_eq!(files(folder.path(), &one).len(), 2);
        assert_eq!(files(folder.path(), &other).len(), 1);
        let packets = Packets::new(folder.path(), &one);
        assert!(packets.begin() && !packets.begin());
        let known = CallId(callbox_store::id::new("call"));
        for name in [file(folder.path(), &known, 0), file(folder.path(), &known, 15), folder.path().join("a.pcap")] {
            fs::write(name, b"").unwrap();
        }
        assert_eq!(calls(folder.path()).unwrap(), BTreeSet::from([known.0.clone()]), "what others put there stays");
        remove(folder.path(), &known).unwrap();
        assert!(files(folder.path(), &known).is_empty() && calls(folder.path()).unwrap().is_empty());
        assert_eq!(files(folder.path(), &one).len(), 2);
    }
}
