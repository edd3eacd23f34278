//! `callbox script new`: a project that builds as it is.
//!
//! The project gets its own copy of the SDK and of the contract, out of this
//! binary: it builds the same on a machine that has never seen our source, and
//! it does not change when the binary does. `--sdk` takes the SDK from a
//! checkout instead. The lock file names the versions the SDK was tested with.

use super::{data, talk};
use miette::{Context, IntoDiagnostic, miette};
use std::fs;
use std::path::{Path, PathBuf};

/// Make a new project.
#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// The script's name, which is also the folder: letters, digits, `-` and `_`.
    name: String,
    /// Make the project in this folder instead; it must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// Take the SDK from this folder (guest-sdk/rust of a checkout) instead of copying it.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

/// Where the copy stands in a project; inside, as in a checkout.
const COPY: &str = "vendor/callbox";
/// The SDK's folder in a checkout and in the copy.
const SDK: &str = "guest-sdk/rust";

/// Files of a checkout that are copied, by their path in it.
macro_rules! embedded {
    ($($path:literal),+ $(,)?) => {
        [$(($path, include_str!(concat!("../../../../", $path)))),+]
    };
}

static COPIED: [(&str, &str); 23] = embedded![
    "LICENSE",
    "wit/dialogue.wit",
    "guest-sdk/rust/Cargo.toml",
    "guest-sdk/rust/README.md",
    "guest-sdk/rust/src/ask.rs",
    "guest-sdk/rust/src/bindings.rs",
    "guest-sdk/rust/src/calendar.rs",
    "guest-sdk/rust/src/call.rs",
    "guest-sdk/rust/src/clock.rs",
    "guest-sdk/rust/src/context.rs",
    "guest-sdk/rust/src/error.rs",
    "guest-sdk/rust/src/events.rs",
    "guest-sdk/rust/src/hours.rs",
    "guest-sdk/rust/src/lib.rs",
    "guest-sdk/rust/src/llm.rs",
    "guest-sdk/rust/src/log.rs",
    "guest-sdk/rust/src/question.rs",
    "guest-sdk/rust/src/random.rs",
    "guest-sdk/rust/src/results.rs",
    "guest-sdk/rust/src/settings.rs",
    "guest-sdk/rust/src/start.rs",
    "guest-sdk/rust/src/voice.rs",
    "guest-sdk/rust/src/wait.rs",
];

static LOCK: &str = include_str!("../../../../guest-sdk/rust/Cargo.lock");

/// The project's own files; `{{name}}` and `{{sdk}}` are filled in.
static TEMPLATE: [(&str, &str); 6] = [
    ("Cargo.toml", include_str!("template/Cargo.toml.txt")),
    ("callbox.toml", include_str!("template/callbox.toml.txt")),
    ("src/lib.rs", include_str!("template/lib.rs.txt")),
    ("scenarios/first.yaml", include_str!("template/first.yaml.txt")),
    ("README.md", include_str!("template/README.md.txt")),
    (".gitignore", include_str!("template/gitignore.txt")),
];

/// Makes the project and prints its folder.
///
/// # Errors
/// A name cargo would not take, a folder that is not empty, a disk that is full.
pub(super) fn run(args: &NewArgs) -> miette::Result<()> {
    check(&args.name)?;
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
        return Err(miette!(code = "callbox::script::exists", "{} is there already", folder.display()));
    }
    let sdk = match &args.sdk {
        None => format!("{COPY}/{SDK}"),
        Some(sdk) if sdk.join("Cargo.toml").is_file() => sdk.canonicalize().into_diagnostic()?.display().to_string(),
        Some(sdk) => {
            return Err(miette!(
                code = "callbox::script::sdk",
                "{} is not the SDK: it has no Cargo.toml",
                sdk.display()
            ));
        }
    };
    for (path, text) in TEMPLATE {
        write(&folder.join(path), &text.replace("{{name}}", &args.name).replace("{{sdk}}", &sdk))?;
    }
    write(&folder.join("Cargo.lock"), &lock(&args.name))?;
    if args.sdk.is_none() {
        for (path, text) in COPIED {
            write(&folder.join(COPY).join(path), text)?;
        }
    }
    talk(format_args!(
        "made {}; src/lib.rs is where it begins. Next: callbox script test {}",
        args.name,
        folder.display()
    ));
    data(folder.display())
}

/// The versions the SDK was tested with, for a project that uses it: its own
/// entry among them, where cargo would put it.
fn lock(name: &str) -> String {
    const ENTRY: &str = "[[package]]\nname = \"";
    let own = format!("{ENTRY}{name}\"\nversion = \"0.1.0\"\ndependencies = [\n \"callbox-guest\",\n]\n\n");
    let later = |(at, _): &(usize, &str)| LOCK[at + ENTRY.len()..].split('"').next().is_some_and(|other| other > name);
    match LOCK.match_indices(ENTRY).find(later) {
        Some((at, _)) => format!("{}{own}{}", &LOCK[..at], &LOCK[at..]),
        None => format!("{LOCK}\n{}\n", own.trim_end()),
    }
}

fn check(name: &str) -> miette::Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let taken = ["callbox-guest", "test", "core", "std", "alloc", "serde", "self", "super", "crate"];
    if name.len() > 64 || !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(good) {
        return Err(miette!(
            code = "callbox::script::name",
            "`{name}` cannot be a script's name: begin with a letter, go on with letters, digits, `-` and `_`, 64 at most"
        ));
    }
    if taken.contains(&name) {
        return Err(miette!(
            code = "callbox::script::name",
            "`{name}` means something else to Rust: take another name"
        ));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> miette::Result<()> {
    let make = || {
        fs::create_dir_all(path.parent().unwrap_or_else(|| Path::new(".")))?;
        fs::write(path, text)
    };
    make().into_diagnostic().wrap_err_with(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::author::project::Project;

    fn args(folder: &Path, name: &str) -> NewArgs {
        NewArgs { name: name.into(), path: Some(folder.join(name)), sdk: None }
    }

    #[test]
    fn a_new_project_has_a_valid_manifest_and_all_of_the_sdk() {
        let folder = tempfile::tempdir().unwrap();
        run(&args(folder.path(), "hello-world")).unwrap();
        let root = folder.path().join("hello-world");
        assert_eq!(Project::open(&root).unwrap().manifest.name, "hello-world");
        let copied = |at: &Path| {
            let entries = fs::read_dir(at.join("guest-sdk/rust/src")).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(copied(&root.join(COPY)), copied(&checkout), "a file of the SDK is not embedded");
        for (path, text) in TEMPLATE {
            let written = fs::read_to_string(root.join(path)).unwrap();
            assert!(!written.contains("{{"), "{path}: {text}");
        }
    }

    #[test]
    fn the_lock_file_is_as_cargo_would_write_it() {
        for name in ["a", "hello", "zzz"] {
            let lock = lock(name);
            let names: Vec<_> =
                lock.split("[[package]]\nname = \"").skip(1).filter_map(|entry| entry.split('"').next()).collect();
            assert!(names.is_sorted() && names.contains(&name), "{names:?}");
            assert_eq!(lock.matches("\n\n[[package]]").count(), names.len(), "{lock}");
            assert!(lock.ends_with("\n") && !lock.ends_with("\n\n"));
        }
    }

    #[test]
    fn nothing_that_is_there_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        run(&args(folder.path(), "hello")).unwrap();
        assert!(run(&args(folder.path(), "hello")).unwrap_err().to_string().contains("is there already"));
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(run(&args(folder.path(), "file")).unwrap_err().to_string().contains("is there already"));
    }

    #[test]
    fn names_that_cargo_refuses_are_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "1st", "a b", "a/b", "../a", "é", "std", &"x".repeat(65)] {
            assert!(run(&args(folder.path(), name)).is_err(), "{name}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
