//! Finding a way to compile a script on this machine.
//!
//! The ordinary way is a Rust toolchain with the target. Where rustup can
//! download nothing, a toolchain with the source of the standard library does
//! too: it builds the library for the target on first use.

use miette::Diagnostic;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// What scripts are compiled for. It has no system to import anything from.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// The oldest compiler that knows the edition of scripts.
const OLDEST: (u32, u32) = (1, 85);

/// One pair of `cargo` and `rustc`, and what it has.
#[derive(Clone, Debug)]
pub(super) struct Toolchain {
    pub(super) cargo: PathBuf,
    pub(super) rustc: PathBuf,
    /// 1.95 as (1, 95).
    pub(super) version: (u32, u32),
    /// The target's standard library is there.
    pub(super) target: bool,
    /// The standard library's source is there.
    pub(super) source: bool,
    pub(super) linker: Linker,
}

/// What links for the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Linker {
    /// The toolchain's own.
    Own,
    /// This one.
    Other(PathBuf),
    Missing,
}

/// How to compile.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) toolchain: Toolchain,
    /// Whether the standard library is built from source too.
    pub(super) builds_std: bool,
}

/// Why there is no way to compile.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("nothing on this machine compiles Rust to {TARGET}{}", .found.iter().map(|line| format!("\n  {line}")).collect::<String>())]
#[diagnostic(
    code(callbox::script::toolchain),
    help(
        "with rustup:  rustup target add {TARGET}\non Debian:    apt-get install rustc-web cargo-web rust-web-src lld\nThen build \
         again; nothing else needs to be set up."
    )
)]
pub(super) struct NoToolchain {
    /// What was looked at, and what it lacks.
    found: Vec<String>,
}

/// Looks at the toolchain in the path, then at the system's own.
///
/// # Errors
/// None of them can; says what each lacks.
pub(super) async fn find(project: &Path) -> Result<Recipe, NoToolchain> {
    let mut found: Vec<Toolchain> = Vec::new();
    let in_path = in_path("rustc").zip(in_path("cargo"));
    for (rustc, cargo) in in_path.into_iter().chain([("/usr/bin/rustc".into(), "/usr/bin/cargo".into())]) {
        if cargo.is_file() && !found.iter().any(|known| known.rustc == rustc) {
            found.extend(examine(&rustc, &cargo, project).await);
        }
    }
    choose(&found)
}

/// The first that has the target, else the first that can build it.
fn choose(found: &[Toolchain]) -> Result<Recipe, NoToolchain> {
    let usable = || found.iter().filter(|tools| tools.version >= OLDEST && tools.linker != Linker::Missing);
    let ready = usable().find(|tools| tools.target).map(|tools| (tools, false));
    match ready.or_else(|| usable().find(|tools| tools.source).map(|tools| (tools, true))) {
        Some((tools, builds_std)) => Ok(Recipe { toolchain: tools.clone(), builds_std }),
        None if found.is_empty() => Err(NoToolchain { found: vec!["there is no Rust at all".into()] }),
        None => Err(NoToolchain { found: found.iter().map(lack).collect() }),
    }
}

fn lack(tools: &Toolchain) -> String {
    let (major, minor) = tools.version;
    let lacks = if tools.version < OLDEST {
        format!("is older than {}.{}", OLDEST.0, OLDEST.1)
    } else if !tools.target && !tools.source {
        "has neither the target nor the source of the standard library".into()
    } else {
        "has no linker for it (wasm-ld, in Debian's package lld)".into()
    };
    format!("{} ({major}.{minor}) {lacks}", tools.rustc.display())
}

/// Asks a compiler what it has; nothing when it does not run.
async fn examine(rustc: &Path, cargo: &Path, project: &Path) -> Option<Toolchain> {
    let about = ask(rustc, &["-vV"], project).await?;
    let field = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let mut numbers = field("release:")?.split('.').map_while(|part| part.parse().ok());
    let version = (numbers.next()?, numbers.next()?);
    let rustlib = PathBuf::from(ask(rustc, &["--print", "sysroot"], project).await?.trim()).join("lib/rustlib");
    let own_linker = rustlib.join(field("host:")?).join("bin/rust-lld").is_file();
    Some(Toolchain {
        cargo: cargo.to_owned(),
        rustc: rustc.to_owned(),
        version,
        target: has_core(&rustlib.join(TARGET).join("lib")),
        source: rustlib.join("src/rust/library/std/Cargo.toml").is_file(),
        linker: if own_linker { Linker::Own } else { wasm_ld().map_or(Linker::Missing, Linker::Other) },
    })
}

async fn ask(rustc: &Path, arguments: &[&str], project: &Path) -> Option<String> {
    let output = Command::new(rustc).args(arguments).current_dir(project).stdin(Stdio::null()).output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn has_core(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

/// `wasm-ld`, or the newest `wasm-ld-NN`.
fn wasm_ld() -> Option<PathBuf> {
    in_path("wasm-ld").or_else(|| (14..40).rev().find_map(|version| in_path(&format!("wasm-ld-{version}"))))
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

impl Recipe {
    /// In words, for whoever waits.
    pub(super) fn describe(&self) -> String {
        let (major, minor) = self.toolchain.version;
        let how = if self.builds_std { ", which builds the standard library first where it has not yet" } else { "" };
        format!("{} ({major}.{minor}){how}", self.toolchain.rustc.display())
    }

    /// What `cargo build` needs besides the target.
    pub(super) const fn build_arguments(&self) -> &'static [&'static str] {
        if self.builds_std { &["-Zbuild-std=std,panic_abort"] } else { &[] }
    }

    /// A command of this toolchain's cargo, ready to be given arguments.
    pub(super) fn cargo(&self, what: &str) -> Command {
        let mut command = Command::new(&self.toolchain.cargo);
        command.arg(what);
        // When we run under cargo ourselves, what it told us is not meant for ours.
        for name in ["CARGO", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR", "RUSTC", "RUSTC_WORKSPACE_WRAPPER"] {
            command.env_remove(name);
        }
        if let Linker::Other(linker) = &self.toolchain.linker {
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        if self.builds_std {
            command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", &self.toolchain.rustc);
            // Whatever cargo looks for by name must come from the same toolchain.
            if let (Some(folder), Some(path)) = (self.toolchain.cargo.parent(), std::env::var_os("PATH")) {
                let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
                if let Ok(path) = std::env::join_paths(folders) {
                    command.env("PATH", path);
                }
            }
        }
        command
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn tools(name: &str, version: (u32, u32), target: bool, source: bool) -> Toolchain {
        let rustc = Path::new("/").join(name).join("rustc");
        Toolchain { cargo: rustc.with_file_name("cargo"), rustc, version, target, source, linker: Linker::Own }
    }

    #[test]
    fn a_ready_target_is_preferred_to_building_it() {
        let recipe = choose(&[tools("a", (1, 95), false, true), tools("b", (1, 90), true, false)]).unwrap();
        assert!(!recipe.builds_std);
        assert!(recipe.toolchain.rustc.starts_with("/b"));
        let recipe = choose(&[tools("a", (1, 95), false, false), tools("b", (1, 96), false, true)]).unwrap();
        assert!(recipe.builds_std);
        assert!(recipe.toolchain.rustc.starts_with("/b"));
    }

    #[test]
    fn what_is_missing_is_named_with_both_remedies() {
        let no_linker = Toolchain { linker: Linker::Missing, ..tools("c", (1, 96), false, true) };
        let error =
            choose(&[tools("a", (1, 63), true, true), tools("b", (1, 95), false, false), no_linker]).unwrap_err();
        let message = error.to_string();
        for part in
            ["/a/rustc (1.63) is older than 1.85", "/b/rustc (1.95) has neither", "/c/rustc (1.96) has no linker"]
        {
            assert!(message.contains(part), "{message}");
        }
        let help = error.help().unwrap().to_string();
        assert!(help.contains("rustup target add") && help.contains("apt-get install rustc-web"), "{help}");
        assert!(choose(&[]).unwrap_err().to_string().contains("no Rust at all"));
    }
}
