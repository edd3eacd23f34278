//! `callbox script build`: from a project to one component.

use super::cargo::Cargo;
use super::project::Project;
use super::toolchain;
use super::{data, talk};
use miette::{Context, IntoDiagnostic, miette};
use std::path::{Path, PathBuf};

/// Compile a project into one component with its manifest and audio.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    /// The project's folder.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Write the component here; PROJECT/target/NAME.wasm by default, NAME-debug.wasm with --debug.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Keep the lines of the project's sources, so that a trap says in which one it was. The component is larger by a
    /// quarter to a half; functions' names are kept in any case.
    #[arg(long)]
    debug: bool,
    #[command(flatten)]
    how: HowToBuild,
}

/// How projects are compiled on this machine.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct HowToBuild {
    /// Keep what cargo builds here. One folder for all scripts, so that the libraries are built once: by default
    /// callbox/script-target in $XDG_CACHE_HOME or ~/.cache.
    #[arg(long, value_name = "DIR", env = "CALLBOX_SCRIPT_TARGET_DIR")]
    target_dir: Option<PathBuf>,
    /// Do not use the network: everything must have been downloaded before.
    #[arg(long)]
    offline: bool,
}

/// A project, compiled.
pub(super) struct Built {
    /// What the manifest calls it.
    pub(super) name: String,
    /// Its folder, absolute.
    pub(super) root: PathBuf,
    /// The component, with manifest and audio.
    pub(super) wasm: Vec<u8>,
    /// Bytes of audio in it.
    audio: usize,
}

/// Compiles a project; with the lines of its sources where traps shall tell them.
///
/// # Errors
/// No project, no compiler, code that does not compile, a wrong manifest or asset.
pub(super) async fn build(path: &Path, how: &HowToBuild, lines: bool) -> miette::Result<Built> {
    // Cheap mistakes first: the manifest is read before anything is compiled.
    let project = Project::open(path)?;
    let name = project.manifest.name.clone();
    let recipe = toolchain::find(&project.root).await?;
    let target_dir = how.target_dir.clone().or_else(default_target_dir);
    let target_dir = target_dir.unwrap_or_else(|| project.root.join("target"));
    let target_dir = std::path::absolute(&target_dir).into_diagnostic()?;

    talk(format_args!("building {name} with {}", recipe.describe()));
    let cargo = Cargo { recipe: &recipe, project: &project.root, target_dir: &target_dir, offline: how.offline, lines };
    let module = cargo.module().await?;
    let component = encode(&module)?;
    let wasm = callbox_script::package::embed(&component, &project.manifest, &project.assets)
        .map_err(|error| miette!(code = "callbox::script::package", "{error}"))?;
    Ok(Built { name, wasm, audio: project.assets.values().map(Vec::len).sum(), root: project.root })
}

/// Builds the project and prints the component's path.
///
/// # Errors
/// As [`build`]; a folder that cannot be written to.
pub(super) async fn run(args: &BuildArgs) -> miette::Result<()> {
    let Built { name, root, wasm, audio } = build(&args.path, &args.how, args.debug).await?;
    let file = if args.debug { format!("{name}-debug.wasm") } else { format!("{name}.wasm") };
    let output = args.output.clone().unwrap_or_else(|| root.join("target").join(file));
    write_whole(&output, &wasm).into_diagnostic().wrap_err_with(|| output.display().to_string())?;
    talk(format_args!(
        "built {name}: {} kB, of which {} kB are audio",
        wasm.len().div_ceil(1000),
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
    Some(callbox_sim::cache_home()?.join("callbox/script-target"))
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
