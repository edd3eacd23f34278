//! Running cargo in a folder that all scripts share.
//!
//! Cargo tells packages of a path apart by where they stand in their workspace.
//! Two projects of one name, or with copies of the SDK, are the same to it: it
//! would take what one built for what the other needs. So only one project
//! builds at a time, and whatever is not from a registry is forgotten when
//! another project comes. The libraries, which take the time, stay.

use super::talk;
use super::toolchain::{Recipe, TARGET};
use indicatif::{ProgressBar, ProgressStyle};
use miette::{Context, IntoDiagnostic, miette};
use serde::Deserialize;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// One project, and how it is built.
pub(super) struct Cargo<'a> {
    pub(super) recipe: &'a Recipe,
    /// Where its `Cargo.toml` stands; absolute.
    pub(super) project: &'a Path,
    /// Shared with other projects; absolute.
    pub(super) target_dir: &'a Path,
    pub(super) offline: bool,
    /// With the lines of the project's own code, for traps.
    pub(super) lines: bool,
}

/// What puts lines into a build, whatever the project says: those of its own packages, which is what a trap's
/// reader wants to know, and so that no library is built twice.
const LINES: [&str; 6] = [
    "--config",
    "profile.release.debug=\"line-tables-only\"",
    "--config",
    "profile.release.strip=\"none\"",
    "--config",
    "profile.release.package.\"*\".debug=false",
];

/// What `cargo metadata` says, as far as it matters.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: String,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    /// The registry; none for a path.
    source: Option<String>,
}

impl Cargo<'_> {
    /// Builds the project's core module.
    ///
    /// # Errors
    /// Code that does not compile – cargo has said why by then –, or a project
    /// that makes no module.
    pub(super) async fn module(&self) -> miette::Result<Vec<u8>> {
        let turn = self.turn().await?;
        self.forget_others().await?;
        let path = self.build().await?;
        let module = fs::read(&path).into_diagnostic().wrap_err_with(|| path.display().to_string())?;
        drop(turn);
        Ok(module)
    }

    /// Waits until nobody else builds here; lasts until it is dropped.
    async fn turn(&self) -> miette::Result<File> {
        let path = self.target_dir.join("callbox-lock");
        let open = || {
            fs::create_dir_all(self.target_dir)?;
            File::options().create(true).append(true).open(&path)
        };
        let file = open().into_diagnostic().wrap_err_with(|| path.display().to_string())?;
        if file.try_lock().is_ok() {
            return Ok(file);
        }
        talk("waiting for another script that is being built");
        let waiting = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
        waiting.await.into_diagnostic()?.into_diagnostic().wrap_err_with(|| path.display().to_string())
    }

    /// Makes cargo build anew what another project may have left here under the
    /// same names.
    async fn forget_others(&self) -> miette::Result<()> {
        let mut command = self.recipe.cargo("metadata");
        command.args(["--format-version", "1", "--filter-platform", TARGET]);
        let mut answer = String::new();
        let ended = self.run(command, |line| answer.push_str(line)).await?;
        if !ended.success() {
            return Err(self.failed());
        }
        let metadata: Metadata = serde_json::from_str(&answer).into_diagnostic().wrap_err("cargo metadata")?;

        let owner = self.target_dir.join("callbox-owner");
        if fs::read_to_string(&owner).is_ok_and(|last| last == metadata.workspace_root) {
            return Ok(());
        }
        if self.target_dir.join(TARGET).exists() {
            let mut command = self.recipe.cargo("clean");
            command.args(["--quiet", "--release", "--target", TARGET, "--target-dir"]).arg(self.target_dir);
            for package in metadata.packages.iter().filter(|package| package.source.is_none()) {
                command.args(["--package", &package.id]);
            }
            if !self.run(command, |_| ()).await?.success() {
                return Err(self.failed());
            }
        }
        fs::write(&owner, metadata.workspace_root).into_diagnostic().wrap_err_with(|| owner.display().to_string())
    }

    /// Compiles; returns where the module is.
    async fn build(&self) -> miette::Result<PathBuf> {
        let mut command = self.recipe.cargo("build");
        command.args(["--release", "--target", TARGET, "--message-format=json-render-diagnostics", "--target-dir"]);
        command.arg(self.target_dir).args(self.recipe.build_arguments());
        if self.lines {
            command.args(LINES);
        }
        let manifest = self.project.join("Cargo.toml");
        let mut module = None;
        let ended = self.run(command, |line| module = artefact(line, &manifest).or_else(|| module.take())).await?;
        if !ended.success() {
            return Err(self.failed());
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

    fn failed(&self) -> miette::Report {
        miette!(
            code = "callbox::script::compile",
            "cargo could not build {}; it says why above",
            self.project.display()
        )
    }

    /// Runs one command in the project: progress turns a spinner, what the author
    /// must read is passed on, and each line of output is handed to `then`.
    async fn run(&self, mut command: Command, then: impl FnMut(&str)) -> miette::Result<ExitStatus> {
        if self.offline {
            command.arg("--offline");
        }
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}").into_diagnostic()?);
        bar.enable_steady_tick(TICK);
        if !bar.is_hidden() {
            command.env("CARGO_TERM_COLOR", "always");
        }
        let mut cargo = command
            .env("CARGO_TERM_PROGRESS_WHEN", "never")
            .current_dir(self.project)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot run {}", self.recipe.toolchain.cargo.display()))?;
        let (output, words) = (cargo.stdout.take(), cargo.stderr.take());
        let progress = each_line(words, |line| match status(line) {
            Some(doing) => bar.set_message(doing),
            None => bar.suspend(|| talk(line)),
        });
        let (output, progress) = tokio::join!(each_line(output, then), progress);
        let ended = cargo.wait().await;
        bar.finish_and_clear();
        output.and(progress).into_diagnostic()?;
        ended.into_diagnostic()
    }
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

/// What cargo is doing, if this is one of its lines about that: a verb, then
/// what. All else is for the author.
fn status(line: &str) -> Option<String> {
    let verbs =
        "Adding Blocking Checking Compiling Downloaded Downloading Finished Fresh Locking Unpacking Updating Waiting";
    let plain = without_colour(line);
    let doing = plain.trim();
    let verb = doing.split(' ').next()?;
    verbs.split(' ').any(|known| known == verb).then(|| doing.to_owned())
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

#[cfg(test)]
mod tests {
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
}
