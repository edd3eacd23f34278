//! The author's commands, as a person types them: the binary, real projects, the
//! compiler of this machine.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where `make` builds guests too, so that libraries are built once.
fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests/build")
}

fn callbox(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_callbox"))
        .args(arguments)
        .current_dir(folder)
        .env("CALLBOX_SCRIPT_TARGET_DIR", target_dir())
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn told(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_new_project_builds_and_is_admitted_and_asks_for_nothing_but_the_dialogue() {
    let folder = tempfile::tempdir().unwrap();
    let new = callbox(folder.path(), &["script", "new", "hello"]);
    assert!(new.status.success(), "{:?}", told(&new));
    assert_eq!(told(&new).0, "hello\n");

    let project = folder.path().join("hello");
    let build = callbox(&project, &["script", "build"]);
    assert!(build.status.success(), "{:?}", told(&build));
    let (file, _) = told(&build);
    let wasm = PathBuf::from(file.trim_end());
    assert!(wasm.ends_with("hello/target/hello.wasm"), "standard output is the path and nothing else: {file:?}");
    assert!(std::fs::metadata(&wasm).unwrap().len() < 150_000);

    let check = callbox(folder.path(), &["script", "check", wasm.to_str().unwrap()]);
    let (report, _) = told(&check);
    assert!(check.status.success(), "{:?}", told(&check));
    let imports: Vec<_> = report
        .lines()
        .skip_while(|line| *line != "may use")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .collect();
    assert!(imports.len() >= 3 && imports.iter().all(|line| line.trim().starts_with("callbox:dialogue/")), "{report}");
}

#[test]
fn the_example_carries_its_sound() {
    let folder = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/appointment");
    let output = folder.path().join("out/a.wasm");
    let build = callbox(folder.path(), &["script", "build", example.to_str().unwrap(), "-o", output.to_str().unwrap()]);
    assert!(build.status.success(), "{:?}", told(&build));
    let package = callbox_script::package::read(&std::fs::read(&output).unwrap().into(), 8).unwrap();
    assert_eq!(package.manifest.name, "appointment");
    assert_eq!(package.assets["chime.wav"], std::fs::read(example.join("assets/chime.wav")).unwrap());
}

#[test]
fn projects_of_one_name_are_not_taken_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    for place in ["a", "b"] {
        let path = folder.path().join(place);
        let new = callbox(folder.path(), &["script", "new", "twin", "--path", path.to_str().unwrap()]);
        assert!(new.status.success(), "{:?}", told(&new));
        let code = path.join("src/lib.rs");
        let text = std::fs::read_to_string(&code).unwrap();
        std::fs::write(&code, text.replace("Goodbye.", &format!("Goodbye from {place}."))).unwrap();
    }
    for place in ["a", "b", "a"] {
        let path = folder.path().join(place);
        let output = path.join("target/twin.wasm");
        let build = callbox(&path, &["script", "build", "-o", output.to_str().unwrap()]);
        assert!(build.status.success(), "{:?}", told(&build));
        let wasm = std::fs::read(output).unwrap();
        let said = format!("Goodbye from {place}.");
        assert!(wasm.windows(said.len()).any(|part| part == said.as_bytes()), "{place} was built from other code");
    }
}

#[test]
fn mistakes_are_pointed_at_before_anything_is_compiled() {
    let folder = tempfile::tempdir().unwrap();
    callbox(folder.path(), &["script", "new", "hello"]);
    let manifest = folder.path().join("hello/callbox.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("languages", "lanuages")).unwrap();
    let build = callbox(&folder.path().join("hello"), &["script", "build"]);
    let (data, talk) = told(&build);
    assert!(!build.status.success());
    assert!(data.is_empty(), "{data}");
    assert!(talk.contains("callbox.toml:5:1") && talk.contains("lanuages"), "{talk}");
    assert!(!talk.contains("building"), "{talk}");
}

#[test]
fn what_the_server_would_refuse_is_refused_here() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let check = callbox(folder.path(), &["script", "check", "core.wasm"]);
    assert!(!check.status.success());
    assert!(told(&check).1.contains("script_core_module"), "{:?}", told(&check));
}
