//! The script a command is about: a component, or a project that is built first.

use super::build::{HowToBuild, build};
use super::changes::Watched;
use super::check::read;
use bytes::Bytes;
use callbox_sim::{Stage, StageOptions};
use miette::{IntoDiagnostic, WrapErr, miette};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The script a command is about.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SubjectArgs {
    /// The script: a component, or a project's folder, which is built first, with lines. The project in this folder by
    /// default.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    how: HowToBuild,
}

/// A script's component.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// What the manifest calls it.
    pub(super) name: String,
    /// The component.
    pub(super) wasm: Bytes,
    /// The file itself, or the folder of the project.
    pub(super) origin: PathBuf,
    /// Whether `origin` is a project's folder.
    pub(super) is_project: bool,
}

impl Subject {
    /// Makes it ready to be played on this machine.
    ///
    /// # Errors
    /// What the server would refuse it for.
    pub(super) async fn stage(&self) -> miette::Result<Stage> {
        let compiler = std::env::current_exe().into_diagnostic().wrap_err("where this program is")?;
        let staged = Stage::load(&StageOptions::at_home(compiler), self.wasm.clone()).await;
        staged.map_err(|error| miette!(code = error.code(), "{} cannot be played: {error}", self.origin.display()))
    }

    /// What changes it when it changes.
    ///
    /// # Errors
    /// It is not there any more.
    pub(super) fn watched(&self) -> miette::Result<Watched> {
        let origin = self.origin.canonicalize().into_diagnostic()?;
        Ok(if self.is_project {
            Watched { folders: BTreeSet::from([origin]), file: None }
        } else {
            Watched { folders: BTreeSet::new(), file: Some(origin) }
        })
    }
}

impl SubjectArgs {
    /// Reads the component, or builds the project.
    ///
    /// # Errors
    /// There is none, it is no package, or it does not build.
    pub(super) async fn component(&self) -> miette::Result<Subject> {
        let path = self.file.as_deref().unwrap_or_else(|| Path::new("."));
        if path.is_dir() {
            let built = build(path, &self.how, true).await?;
            return Ok(Subject { name: built.name, wasm: built.wasm.into(), origin: built.root, is_project: true });
        }
        let wasm = Bytes::from(read(path)?);
        let package = callbox_script::package::read(&wasm, u32::MAX).map_err(|error| {
            miette!(
                code = "callbox::script::package",
                help = "name a component that `callbox script build` made, or a project's folder",
                "{} is no script: {error}",
                path.display()
            )
        })?;
        Ok(Subject { name: package.manifest.name, wasm, origin: path.to_owned(), is_project: false })
    }
}
