//! `callbox script build`: from a project to one component.

use super::project::Project;
use super::toolchain::{self, Recipe};
use super::{data, talk};
use indicatif::{ProgressBar, ProgressStyle};
use miette::{Context, IntoDiagnostic, miette};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// Compile a project into one component with its manifest and audio.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    /// The project's folder.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Write the component here; PROJECT/target/NAME.wasm by default.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Keep what cargo builds here. One folder for all scripts, so that the libraries are built once: by default
    /// callbox/script-target in $XDG_CACHE_HOME or ~/.cache.
    #[arg(long, value_name = "DIR", env = "CALLBOX_SCRIPT_TARGET_DIR")]
    target_dir: Option<PathBuf>,
    /// Do not use the network: everything must have been downloaded before.
    #[arg(long)]
    offline: bool,
}

/// Builds the project and prints the component's path.
///
/// # Errors
/// No project, no compiler, code that does not compile, a wrong manifest or asset.
pub(super) async fn run(args: &BuildArgs) -> miette::Result<()> {
    // Cheap mistakes first: the manifest is read before anything is compiled.
    let project = Project::open(&args.path)?;
    let name = project.manifest.name.clone();
    let recipe = toolchain::find(&project.root).await?;
    let target_dir = args.target_dir.clone().or_else(default_target_dir);
    let target_dir = target_dir.unwrap_or_else(|| project.root.join("target"));
    let target_dir = std::path::absolute(&target_dir).into_diagnostic()?;

    talk(format_args!("building {name} with {}", recipe.describe()));
    let module = compile(&recipe, &project, &target_dir, args.offline).await?;
    let module = std::fs::read(&module).into_diagnostic().wrap_err_with(|| module.display().to_string())?;
    let component = encode(&module)?;
    let packed = callbox_script::package::embed(&component, &project.manifest, &project.assets)
        .map_err(|error| miette!(code = "callbox::script::package", "{error}"))?;

    let output = args.output.clone().unwrap_or_else(|| project.root.join("target").join(format!("{name}.wasm")));
    write_whole(&output, &packed).into_diagnostic().wrap_err_with(|| output.display().to_string())?;
    let audio: usize = project.assets.values().map(Vec::len).sum();
    talk(format_args!(
        "built {name}: {} kB, of which {} kB are audio",
        packed.len().div_ceil(1000),
        audio.div_ceil(1000)
    ));
    data(output.display())
}

/// Nobody who reads the file sees half of it.
fn write_whole(output: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut part = output.as_os_str().to_owned();
    part.push(".part");
    std::fs::write(&part, bytes)?;
    std::fs::rename(&part, output)
}

fn default_target_dir() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("callbox/script-target"))
}

/// Runs cargo; returns the core module it made of the project.
async fn compile(recipe: &Recipe, project: &Project, target_dir: &Path, offline: bool) -> miette::Result<PathBuf> {
    let mut command = recipe.cargo_build();
    command.arg("--message-format=json-render-diagnostics").arg("--target-dir").arg(target_dir);
    if offline {
        command.arg("--offline");
    }
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}").into_diagnostic()?);
    bar.enable_steady_tick(TICK);
    if !bar.is_hidden() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command.env("CARGO_TERM_PROGRESS_WHEN", "never");
    let mut cargo = command
        .current_dir(&project.root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot run {}", recipe.toolchain.cargo.display()))?;

    let manifest = project.root.join("Cargo.toml");
    let mut module = None;
    let (messages, words) = (cargo.stdout.take(), cargo.stderr.take());
    let artefacts = each_line(messages, |line| module = artefact(line, &manifest).or_else(|| module.take()));
    let progress = each_line(words, |line| match status(line) {
        Some(doing) => bar.set_message(doing),
        None => bar.suspend(|| talk(line)),
    });
    let (artefacts, progress) = tokio::join!(artefacts, progress);
    let ended = cargo.wait().await;
    bar.finish_and_clear();
    artefacts.and(progress).into_diagnostic()?;

    if !ended.into_diagnostic()?.success() {
        return Err(miette!(
            code = "callbox::script::compile",
            "cargo could not build {}; it says why above",
            project.root.display()
        ));
    }
    module.ok_or_else(|| {
        miette!(
            code = "callbox::script::crate_type",
            help = "put this into Cargo.toml:\n[lib]\ncrate-type = [\"cdylib\"]",
            "{} does not make a WebAssembly module",
            manifest.display()
        )
    })
}

async fn each_line(from: Option<impl AsyncRead + Unpin>, mut then: impl FnMut(&str)) -> std::io::Result<()> {
    let Some(from) = from else { return Ok(()) };
    let mut lines = BufReader::new(from).split(b'\n');
    while let Some(line) = lines.next_segment().await? {
        then(&String::from_utf8_lossy(&line));
    }
    Ok(())
}

/// The module, if this message of cargo's says that it was made of the project.
fn artefact(message: &str, manifest: &Path) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message["reason"] != "compiler-artifact" || Path::new(message["manifest_path"].as_str()?) != manifest {
        return None;
    }
    let files = message["filenames"].as_array()?.iter().filter_map(Value::as_str).map(PathBuf::from);
    files.into_iter().find(|file| file.extension().is_some_and(|end| end == "wasm"))
}

/// What cargo is doing, if this is one of its lines about that: a verb in a
/// column of twelve, then what. All else is for the author.
fn status(line: &str) -> Option<String> {
    const VERBS: [&str; 12] = [
        "Adding",
        "Blocking",
        "Checking",
        "Compiling",
        "Downloaded",
        "Downloading",
        "Finished",
        "Fresh",
        "Locking",
        "Unpacking",
        "Updating",
        "Waiting",
    ];
    let plain = without_colour(line);
    let doing = plain.trim();
    VERBS.contains(&doing.split(' ').next()?).then(|| doing.to_owned())
}

/// Without the escape sequences of a terminal.
fn without_colour(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.find(|c: char| c.is_ascii_alphabetic()).map_or("", |end| &part[end + 1..]));
    }
    plain
}

/// A component of a core module that was built against the contract.
fn encode(module: &[u8]) -> miette::Result<Vec<u8>> {
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| {
            miette!(
                code = "callbox::script::encode",
                help = "a script imports nothing but callbox:dialogue: look for a dependency that wants a browser or WASI, and for a \
                        missing callbox_guest::script!(run)",
                "the module cannot be made a component: {error:#}"
            )
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn progress_is_told_from_what_the_author_must_read() {
        assert_eq!(status("   Compiling serde v1.0.229").as_deref(), Some("Compiling serde v1.0.229"));
        assert_eq!(status("\u{1b}[1m\u{1b}[92m    Blocking\u{1b}[0m waiting").as_deref(), Some("Blocking waiting"));
        for line in ["error: expected `;`", " --> src/lib.rs:3:5", "3 |     Compiling", "", "warning: unused variable"]
        {
            assert_eq!(status(line), None, "{line}");
        }
    }

    #[test]
    fn the_project_s_own_module_is_found_among_cargo_s_messages() {
        let manifest = Path::new("/p/Cargo.toml");
        let message = |manifest: &str, file: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{manifest}","filenames":["/t/x.rlib","{file}"]}}"#
            )
        };
        assert_eq!(artefact(&message("/p/Cargo.toml", "/t/hello.wasm"), manifest), Some("/t/hello.wasm".into()));
        assert_eq!(artefact(&message("/q/Cargo.toml", "/t/hello.wasm"), manifest), None);
        assert_eq!(artefact(&message("/p/Cargo.toml", "/t/libhello.so"), manifest), None);
        assert_eq!(artefact(r#"{"reason":"build-finished","success":true}"#, manifest), None);
        assert_eq!(artefact("not JSON", manifest), None);
    }

    #[test]
    fn what_is_not_a_script_says_so() {
        let error = encode(b"\0asm\x01\0\0\0").map(|component| component.len());
        // An empty module is an empty component; the server refuses it for what it does not export.
        assert!(error.is_ok(), "{error:?}");
        assert!(encode(b"hello").unwrap_err().to_string().contains("cannot be made a component"));
    }

    #[test]
    fn a_file_appears_whole_in_a_folder_that_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("a/b/c.wasm");
        write_whole(&output, b"one").unwrap();
        write_whole(&output, b"two").unwrap();
        assert_eq!(std::fs::read(&output).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(output.parent().unwrap()).unwrap().count(), 1);
    }
}
