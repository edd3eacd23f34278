//! `--watch`: tests again whenever a file changes.

use super::gather::project_of;
use super::{TestArgs, once, told};
use crate::author::changes::{Changes, Watched};
use crate::author::talk;
use callbox_sim::Theatre;
use miette::{IntoDiagnostic, WrapErr};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

/// Tests now, and after every change, until it is interrupted.
///
/// # Errors
/// The system does not tell of changes.
pub(super) async fn run(args: &TestArgs, theatre: &Theatre) -> miette::Result<ExitCode> {
    // A component that is named counts also where builds write.
    let file = args.component.as_ref().and_then(|path| path.canonicalize().ok());
    let mut changes = Changes::of(Watched { folders: folders(args)?, file })?;
    loop {
        if let Err(report) = once(args, theatre).await {
            told(&report);
        }
        talk("\nwaiting for changes; Ctrl-C ends");
        if !changes.next().await {
            return Ok(ExitCode::SUCCESS);
        }
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
