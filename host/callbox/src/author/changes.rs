//! When the files of a script change.

use miette::{IntoDiagnostic, WrapErr};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Editors write a file in several steps; this long after the last of them it is whole.
const QUIET: Duration = Duration::from_millis(150);

/// What is watched, by real paths.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// With all below them, but for what a build writes and what is hidden.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Itself, also where builds write.
    pub(super) file: Option<PathBuf>,
}

/// Tells of changes, as long as it lives.
pub(super) struct Changes {
    changes: mpsc::Receiver<()>,
    #[expect(dead_code, reason = "held for its drop")]
    watcher: RecommendedWatcher,
}

impl Changes {
    /// Begins to watch.
    ///
    /// # Errors
    /// The system does not tell of changes.
    pub(super) fn of(watched: Watched) -> miette::Result<Self> {
        let mut places: Vec<_> =
            watched.folders.iter().map(|folder| (folder.clone(), RecursiveMode::Recursive)).collect();
        // A file is replaced by editors and builds: its folder stays.
        let beside = watched.file.as_deref().and_then(Path::parent);
        if let Some(beside) = beside.filter(|beside| !watched.folders.iter().any(|folder| beside.starts_with(folder))) {
            places.push((beside.to_owned(), RecursiveMode::NonRecursive));
        }
        // One place: what comes while somebody is at work is one change.
        let (sender, changes) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| watched.concerns(&event)) {
                let _ = sender.try_send(());
            }
        })
        .into_diagnostic()
        .wrap_err("the system does not tell of changes")?;
        for (place, mode) in places {
            watcher.watch(&place, mode).into_diagnostic().wrap_err_with(|| place.display().to_string())?;
        }
        Ok(Self { changes, watcher })
    }

    /// Waits for a change, and until it is complete. False when none will be told any more.
    pub(super) async fn next(&mut self) -> bool {
        if self.changes.recv().await.is_none() {
            return false;
        }
        while timeout(QUIET, self.changes.recv()).await.is_ok_and(|change| change.is_some()) {}
        true
    }
}

impl Watched {
    fn concerns(&self, event: &Event) -> bool {
        let changed = matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_));
        let passed_over = |name: &str| name == "target" || name.starts_with('.') || name.ends_with('~');
        let ours = |path: &PathBuf| {
            self.file.as_ref() == Some(path)
                || self.folders.iter().find_map(|folder| path.strip_prefix(folder).ok()).is_some_and(|inside| {
                    !inside.components().any(|part| passed_over(&part.as_os_str().to_string_lossy()))
                })
        };
        changed && event.paths.iter().any(ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{AccessKind, CreateKind, ModifyKind};

    #[test]
    fn what_a_build_writes_changes_nothing() {
        let event = |path: &str| Event::new(EventKind::Modify(ModifyKind::Any)).add_path(path.into());
        let made = |path: &str| Event::new(EventKind::Create(CreateKind::File)).add_path(path.into());
        let read = |path: &str| Event::new(EventKind::Access(AccessKind::Read)).add_path(path.into());
        let project = Watched { folders: BTreeSet::from(["/home/a/.work/target/p".into()]), file: None };
        for path in ["src/lib.rs", "callbox.toml", "assets/hello.wav", "scenarios/a.yaml"] {
            let path = format!("/home/a/.work/target/p/{path}");
            assert!(project.concerns(&event(&path)) && project.concerns(&made(&path)), "{path}");
            assert!(!project.concerns(&read(&path)), "{path}");
        }
        for path in ["target/p.wasm", ".git/index", "src/.lib.rs.swp", "src/lib.rs~"] {
            let path = format!("/home/a/.work/target/p/{path}");
            assert!(!project.concerns(&event(&path)) && !project.concerns(&made(&path)), "{path}");
        }
        let file = Watched { folders: BTreeSet::new(), file: Some("/p/target/a.wasm".into()) };
        assert!(file.concerns(&event("/p/target/a.wasm")) && file.concerns(&made("/p/target/a.wasm")));
        assert!(!file.concerns(&event("/p/target/b.wasm")) && !file.concerns(&read("/p/target/a.wasm")));
        let both = Watched { file: Some("/home/a/.work/target/p/target/p.wasm".into()), ..project };
        assert!(both.concerns(&made("/home/a/.work/target/p/target/p.wasm")), "it is what is tested");
    }
}
