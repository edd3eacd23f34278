//! The real sherpa-onnx, and tiny models made by hand: no trained one can be had here.

#![allow(dead_code, clippy::unwrap_used, reason = "shared by several tests, each of which uses a part and may panic")]

use callbox_speech::recogniser::Languages;
use callbox_speech::sherpa::{SherpaEarConfig, SherpaVoiceConfig};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A worker for the library.
pub(crate) fn worker() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_recogniser_worker")).to_owned()
}

/// The library, and the folder with the models' folders; made once.
pub(crate) fn models() -> &'static (PathBuf, PathBuf) {
    static MADE: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    MADE.get_or_init(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hand-made-models");
        let python = here.join("../../target/python/bin/python");
        let made = Command::new(python).arg(here.join("tests/hand_made/models.py")).arg(&folder).output();
        let made = made.expect("Python is there: tools/setup test");
        assert!(made.status.success(), "tools/setup test? {}", String::from_utf8_lossy(&made.stderr));
        (PathBuf::from(String::from_utf8(made.stdout).unwrap().trim()), folder)
    })
}

fn languages(tags: &[&str]) -> Languages {
    Languages::Some(tags.iter().map(|&tag| tag.to_owned()).collect())
}

/// A recogniser with one of the models.
pub(crate) fn ear(model: &str) -> SherpaEarConfig {
    let (library, folder) = models();
    SherpaEarConfig {
        name: model.to_owned(),
        library: Some(library.clone()),
        folder: folder.join(model),
        languages: languages(&["en", "zh"]),
        worker: worker(),
        ..SherpaEarConfig::default()
    }
}

/// A voice with one of the models. Patient, for machines that do much else.
pub(crate) fn voice(model: &str) -> SherpaVoiceConfig {
    let (library, folder) = models();
    SherpaVoiceConfig {
        name: model.to_owned(),
        library: Some(library.clone()),
        folder: folder.join(model),
        languages: languages(&["en"]),
        patience: std::time::Duration::from_secs(120),
        worker: worker(),
        ..SherpaVoiceConfig::default()
    }
}
