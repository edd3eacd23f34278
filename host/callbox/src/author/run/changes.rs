//! When the files of a script change.

use super::super::subject::Subject;
use miette::{IntoDiagnostic, WrapErr};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Editors write a file in several steps; this long after the last of them it is whole.
const QUIET: Duration = Duration::from_millis(150);

/// Tells of changes, as long as it lives.
pub(super) struct Changes {
    changes: mpsc::Receiver<()>,
    #[expect(dead_code, reason = "held for its drop")]
    watcher: RecommendedWatcher,
}

impl Changes {
    /// Of a component's file, or of a project's folder.
    ///
    /// # Errors
    /// The system does not tell of changes.
    pub(super) fn of(subject: &Subject) -> miette::Result<Self> {
        // One place: what comes while somebody is at work is one change.
        let (sender, changes) = mpsc::channel(1);
        let origin = subject.origin.canonicalize().into_diagnostic()?;
        // A file is replaced by editors and builds: its folder stays.
        let (folder, mode) = if subject.is_project {
            (origin.clone(), RecursiveMode::Recursive)
        } else {
            (origin.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned), RecursiveMode::NonRecursive)
        };
        let is_project = subject.is_project;
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| matters(&event, &origin, is_project)) {
                let _ = sender.try_send(());
            }
        })
        .into_diagnostic()
        .wrap_err("the system does not tell of changes")?;
        watcher.watch(&folder, mode).into_diagnostic().wrap_err_with(|| folder.display().to_string())?;
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

/// Whether an event is about the script: the file itself; of a project anything but what a build writes and what is
/// hidden.
fn matters(event: &Event, origin: &Path, is_project: bool) -> bool {
    let changed = matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_));
    let ours = |path: &PathBuf| {
        if !is_project {
            return path == origin;
        }
        let inside = path.strip_prefix(origin).unwrap_or(path);
        let passed_over = |name: &str| name == "target" || name.starts_with('.') || name.ends_with('~');
        !inside.components().any(|part| passed_over(&part.as_os_str().to_string_lossy()))
    };
    changed && event.paths.iter().any(ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{AccessKind, CreateKind, ModifyKind};

    #[test]
    fn what_a_build_writes_changes_nothing() {
        let event = |path: &str| Event::new(EventKind::Modify(ModifyKind::Any)).add_path(path.into());
        let project = |path: &str| matters(&event(path), Path::new("/p"), true);
        for path in ["/p/src/lib.rs", "/p/callbox.toml", "/p/assets/hello.wav"] {
            assert!(project(path), "{path}");
        }
        for path in ["/p/target/x.wasm", "/p/.git/index", "/p/src/.lib.rs.swp", "/p/src/lib.rs~"] {
            assert!(!project(path), "{path}");
        }
        let file = |event: Event| matters(&event, Path::new("/p/a.wasm"), false);
        assert!(file(event("/p/a.wasm")));
        assert!(file(Event::new(EventKind::Create(CreateKind::File)).add_path("/p/a.wasm".into())));
        assert!(!file(event("/p/b.wasm")));
        assert!(!file(Event::new(EventKind::Access(AccessKind::Any)).add_path("/p/a.wasm".into())));
    }
}
