//! sherpa-onnx: models that the operator brings, for ears and for voices.
//!
//! The library is loaded when it is first needed, and only in a process of its own
//! ([`crate::recogniser::recogniser_worker`]): what a model does to it harms the recognitions and renders of that one
//! model, and they go to the next engine. What the folder of a model holds is found out by [`folder`]; which library
//! fits is checked before anything is passed to it ([`ffi`]).

mod ear;
mod ffi;
mod folder;
mod listening;
mod phonemes;
mod speaking;
mod voice;
mod words;

pub use ear::{SherpaEar, SherpaEarConfig};
pub use folder::{EarKind, VoiceKind};
pub use voice::{SherpaVoice, SherpaVoiceConfig};

pub(crate) use folder::{EarModel, VoiceModel};
pub(crate) use listening::SherpaEar as EarEngine;
pub(crate) use speaking::SherpaVoice as VoiceEngine;

use crate::recogniser::worker::frames::Fault;
use ffi::{Functions, LoadError, SPOKEN, Text};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::ptr::null;

/// What it is called where nobody named it.
const NAME: &str = "sherpa-onnx";
/// The library's file.
const LIBRARY: &str = "libsherpa-onnx-c-api.so";

/// Where the library is: as configured, or beside the model, or where somebody who unpacked it by hand puts it; else
/// wherever the system has its libraries.
fn library(configured: Option<&Path>, folder: &Path) -> PathBuf {
    if let Some(path) = configured {
        return path.to_owned();
    }
    let beside = [folder.to_owned(), folder.join("lib"), folder.join("..").join("lib"), folder.join("..")];
    let usual = ["/opt/sherpa-onnx/lib", "/usr/local/lib/sherpa-onnx", "/usr/local/lib"].map(PathBuf::from);
    let found = beside.into_iter().chain(usual).map(|place| place.join(LIBRARY)).find(|path| path.is_file());
    // Another place than this one is where the worker runs: a path has to be whole.
    found.and_then(|path| path.canonicalize().ok()).unwrap_or_else(|| PathBuf::from(LIBRARY))
}

/// Loads the library; within the worker.
fn load(path: &Path) -> Result<Functions, Fault> {
    Functions::load(path.as_os_str()).map_err(|error| match error {
        LoadError::Missing(what) => {
            Fault::Missing { what: format!("the library `{}`: {what}", path.display()), remedy: remedy() }
        }
        LoadError::Other(what) => Fault::Broken { what: format!("`{}`: {what}", path.display()) },
    })
}

fn remedy() -> String {
    format!(
        "`pip download --no-deps sherpa-onnx-core=={SPOKEN}.1`, unpack it, and give the path of `{LIBRARY}` in it as `library`"
    )
}

/// Texts that a structure of the library points to.
#[derive(Default)]
struct Strings(Vec<CString>);

impl Strings {
    fn text(&mut self, text: &str) -> Result<Text, Fault> {
        let text = CString::new(text).map_err(|_| Fault::Broken { what: "a zero byte in a text".to_owned() })?;
        // What it points to stays where it is when the list grows.
        let pointer = text.as_ptr();
        self.0.push(text);
        Ok(pointer)
    }

    fn path(&mut self, path: &Path) -> Result<Text, Fault> {
        let text = path.to_str();
        let text = text.ok_or_else(|| Fault::Broken { what: format!("`{}` is not UTF-8", path.display()) })?;
        self.text(text)
    }

    fn maybe(&mut self, path: Option<&Path>) -> Result<Text, Fault> {
        path.map_or(Ok(null()), |path| self.path(path))
    }

    /// Several, as the library takes them.
    fn list(&mut self, paths: &[PathBuf]) -> Result<Text, Fault> {
        if paths.is_empty() {
            return Ok(null());
        }
        let mut all = String::new();
        for path in paths {
            let text = path.to_str().filter(|text| !text.contains(','));
            let text = text.ok_or_else(|| Fault::Broken {
                what: format!("`{}` cannot be given to the library: a comma, or not UTF-8", path.display()),
            })?;
            if !all.is_empty() {
                all.push(',');
            }
            all.push_str(text);
        }
        self.text(&all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_found_beside_the_model() {
        let root = tempfile::tempdir().unwrap();
        let model = root.path().join("model");
        std::fs::create_dir_all(root.path().join("lib")).unwrap();
        std::fs::create_dir(&model).unwrap();
        assert_eq!(library(Some(Path::new("/x/y.so")), &model), Path::new("/x/y.so"));
        std::fs::write(root.path().join("lib").join(LIBRARY), b"").unwrap();
        assert_eq!(library(None, &model), root.path().join("lib").join(LIBRARY).canonicalize().unwrap());
    }
}
