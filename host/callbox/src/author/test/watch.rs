//! `--watch`: tests again whenever a file changes.

use super::gather::project_of;
use super::{TestArgs, once, told};
use crate::author::talk;
use callbox_sim::Theatre;
use miette::{IntoDiagnostic, WrapErr};
use notify::{Event, EventKind, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::mpsc;

/// Editors write a file in several steps; this long after the last of them it is whole.
const QUIET: Duration = Duration::from_millis(150);

/// Tests now, and after every change, until it is interrupted.
///
/// # Errors
/// The system does not tell of changes.
pub(super) async fn run(args: &TestArgs, theatre: &Theatre) -> miette::Result<ExitCode> {
    // One place: what comes while a run is under way is one change.
    let (send, mut changes) = mpsc::channel(1);
    let folders = folders(args)?;
    let watched = folders.clone();
    // A component that is named counts also where builds write.
    let component = args.component.as_ref().and_then(|path| path.canonicalize().ok());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| matters(&event, &watched, component.as_deref())) {
            let _ = send.try_send(());
        }
    })
    .into_diagnostic()
    .wrap_err("the system does not tell of changes")?;
    for folder in &folders {
        let watching = watcher.watch(folder, RecursiveMode::Recursive);
        watching.into_diagnostic().wrap_err_with(|| folder.display().to_string())?;
    }
    loop {
        if let Err(report) = once(args, theatre).await {
            told(&report);
        }
        talk("\nwaiting for changes; Ctrl-C ends");
        if changes.recv().await.is_none() {
            return Ok(ExitCode::SUCCESS);
        }
        while tokio::time::timeout(QUIET, changes.recv()).await.is_ok_and(|change| change.is_some()) {}
        talk("");
    }
}

/// Folders in which something may change: projects, and where files stand that were named.
fn folders(args: &TestArgs) -> miette::Result<BTreeSet<PathBuf>> {
    let here = [PathBuf::from(".")];
    let paths = if args.paths.is_empty() { &here } else { args.paths.as_slice() };
    let mut folders = BTreeSet::new();
    for path in paths.iter().chain(&args.component) {
        let real = path.canonicalize().into_diagnostic().wrap_err_with(|| path.display().to_string())?;
        // A file is replaced by editors: its folder stays.
        let own = if real.is_dir() { real.clone() } else { real.parent().unwrap_or(&real).to_owned() };
        folders.insert(project_of(&real).unwrap_or(own));
    }
    Ok(folders)
}

/// Whether a change can change what comes of a test: not what a build writes, and nothing hidden.
fn matters(event: &Event, folders: &BTreeSet<PathBuf>, component: Option<&Path>) -> bool {
    let changed = matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_));
    let passed_over = |path: &Path| {
        let inside = folders.iter().find_map(|folder| path.strip_prefix(folder).ok()).unwrap_or(path);
        inside.components().any(|part| {
            let name = part.as_os_str().to_string_lossy();
            name == "target" || name.starts_with('.') || name.ends_with('~')
        })
    };
    changed && event.paths.iter().any(|path| component == Some(path) || !passed_over(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{AccessKind, CreateKind};

    #[test]
    fn what_a_build_writes_is_no_change() {
        let folders = BTreeSet::from([PathBuf::from("/home/a/.work/target/p")]);
        let event = |path: &str| Event::new(EventKind::Create(CreateKind::File)).add_path(PathBuf::from(path));
        for (path, counts) in [
            ("/home/a/.work/target/p/src/lib.rs", true),
            ("/home/a/.work/target/p/scenarios/a.yaml", true),
            ("/home/a/.work/target/p/target/p.wasm", false),
            ("/home/a/.work/target/p/src/.lib.rs.swp", false),
            ("/home/a/.work/target/p/src/lib.rs~", false),
        ] {
            assert_eq!(matters(&event(path), &folders, None), counts, "{path}");
        }
        let read = Event::new(EventKind::Access(AccessKind::Read)).add_path(PathBuf::from("/home/a/.work/target/p/x"));
        assert!(!matters(&read, &folders, None));
        let component = "/home/a/.work/target/p/target/p.wasm";
        assert!(matters(&event(component), &folders, Some(Path::new(component))), "it is what is tested");
    }
}
